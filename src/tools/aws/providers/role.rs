//! Roles, which STS gives to a user, or to anybody with a token of another service.

use std::path::Path;

use time::OffsetDateTime;

use super::{
    Credentials, Ending, USUAL_REGION, ask, container, fixed, of_variables, read_time, unusable,
};
use crate::aws::AwsError;
use crate::aws::profile::Profile;
use crate::aws::protocols::{Protocol, Service};
use crate::aws::session::{Operation, Session};
use crate::aws::sign::encode_query;
use crate::aws::xml_text;
use crate::http::Body;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The role of a profile with `role_arn`, if it has one.
pub(super) fn of_profile(
    session: &Session<'_>,
    profile: &Profile,
    seen: &mut Vec<String>,
) -> Result<Option<Credentials>, AwsError> {
    let Some(role) = profile.get("role_arn") else {
        return Ok(None);
    };
    if let Some(path) = profile.get("web_identity_token_file") {
        let name = profile.get("role_session_name");
        return of_web_identity(session, role, path, name).map(Some);
    }
    if profile.get("mfa_serial").is_some() {
        return Err(unusable(
            profile,
            "it has mfa_serial, and coshell cannot ask for a code",
        ));
    }
    let source = source_of(session, profile, seen)?;
    let mut fields = vec![
        ("RoleArn".to_owned(), role.to_owned()),
        (
            "RoleSessionName".to_owned(),
            session_name(profile.get("role_session_name")),
        ),
    ];
    for (setting, field) in [
        ("external_id", "ExternalId"),
        ("duration_seconds", "DurationSeconds"),
    ] {
        if let Some(value) = profile.get(setting) {
            fields.push((field.to_owned(), value.to_owned()));
        }
    }
    let settings = ["role_session_name", "external_id", "duration_seconds"];
    let settings = settings.map(|name| profile.get(name).unwrap_or_default());
    let key = format!("{role} {settings:?} {}", source.id);
    assume(session, Some(source), "AssumeRole", &key, fields).map(Some)
}

/// Who takes the role.
fn source_of(
    session: &Session<'_>,
    profile: &Profile,
    seen: &mut Vec<String>,
) -> Result<Credentials, AwsError> {
    let found = match (
        profile.get("source_profile"),
        profile.get("credential_source"),
    ) {
        (Some(name), None) if name == profile.name => fixed(profile),
        (Some(name), None) => {
            if seen.iter().any(|known| known == name) {
                return Err(unusable(
                    profile,
                    &format!("its source_profile {name} has a role of this profile as its source"),
                ));
            }
            seen.push(profile.name.clone());
            let source = session.settings.read_profile(name)?;
            super::of_profile(session, &source, seen)?
        }
        (None, Some("Environment")) => of_variables(session)?,
        (None, Some("EcsContainer")) => container::find(session)?,
        (None, Some(other)) => {
            let cause = format!("coshell does not know its credential_source {other}");
            return Err(unusable(profile, &cause));
        }
        _ => {
            let cause = "beside role_arn it needs either source_profile or credential_source";
            return Err(unusable(profile, cause));
        }
    };
    found.ok_or_else(|| unusable(profile, "the source of its role has no credentials"))
}

/// The role that the variables of a pod or of a build job name, with the token that is in a file.
pub(super) fn of_web_identity_variables(
    session: &Session<'_>,
    is_profile_chosen: bool,
) -> Result<Option<Credentials>, AwsError> {
    let (Some(path), Some(role), false) = (
        session.settings.variable("AWS_WEB_IDENTITY_TOKEN_FILE"),
        session.settings.variable("AWS_ROLE_ARN"),
        is_profile_chosen,
    ) else {
        return Ok(None);
    };
    let name = session.settings.variable("AWS_ROLE_SESSION_NAME");
    of_web_identity(session, role, path, name).map(Some)
}

fn of_web_identity(
    session: &Session<'_>,
    role: &str,
    path: &str,
    name: Option<&str>,
) -> Result<Credentials, AwsError> {
    let token = session.settings.place().read(Path::new(path));
    let token =
        token.map_err(|error| AwsError::Settings(format!("cannot read {path}: {error}")))?;
    let token = String::from_utf8_lossy(&token).into_owned();
    let key = format!("{role} {name:?} {token}");
    let fields = vec![
        ("RoleArn".to_owned(), role.to_owned()),
        ("RoleSessionName".to_owned(), session_name(name)),
        ("WebIdentityToken".to_owned(), token),
    ];
    assume(session, None, "AssumeRoleWithWebIdentity", &key, fields)
}

fn session_name(chosen: Option<&str>) -> String {
    chosen.map_or_else(
        || format!("coshell-{}", OffsetDateTime::now_utc().unix_timestamp()),
        ToOwned::to_owned,
    )
}

/// Asks STS for a role, unless it is known.
fn assume(
    session: &Session<'_>,
    source: Option<Credentials>,
    action: &str,
    key: &str,
    fields: Vec<(String, String)>,
) -> Result<Credentials, AwsError> {
    let service = Service::find("sts");
    let Some((target, Protocol::Query { version, .. })) =
        service.map(|service| (service.target, service.protocol))
    else {
        return Err(AwsError::Other("STS is not in protocols.txt".to_owned()));
    };
    let mut form = vec![
        ("Action".to_owned(), action.to_owned()),
        ("Version".to_owned(), version.to_owned()),
    ];
    form.extend(fields);
    let operation = Operation {
        name: action.to_owned(),
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: vec![("content-type".to_owned(), FORM.to_owned())],
        body: Body::Bytes(encode_query(&form).into_bytes().into()),
        ..Operation::default()
    };
    let region = session.settings.region().unwrap_or(USUAL_REGION);
    let sts = session.for_credentials(source, region);
    let key = format!("{action} {key} {:?}", sts.server(&target));
    let cache = &session.kept().credentials;
    cache.get_or_renew(&key, || {
        ask(&sts, &target, &operation, |text| read(text, action))
    })
}

/// Reads the answer of STS.
fn read(text: &str, action: &str) -> Option<Ending> {
    let document = xml_text::read(text)?;
    let result = document.child(&format!("{action}Result"))?;
    let found = result.child("Credentials")?;
    let field = |name: &str| found.text_of(name).map(ToOwned::to_owned);
    let credentials = Credentials {
        id: field("AccessKeyId")?,
        secret: field("SecretAccessKey")?,
        token: field("SessionToken"),
    };
    let end = found.text_of("Expiration").and_then(read_time)?;
    Some((credentials, end))
}
