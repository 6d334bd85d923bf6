//! IAM Identity Center: `aws sso login` leaves a token in a file, which stands for a role of an account.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha1::{Digest as _, Sha1};
use time::OffsetDateTime;

use super::{Credentials, Ending, ask, read_time, unusable};
use crate::aws::AwsError;
use crate::aws::endpoint::Target;
use crate::aws::profile::Profile;
use crate::aws::session::{Operation, Session};
use crate::aws::sign::hex;

const PORTAL: Target<'static> = Target {
    endpoint_prefix: "portal.sso",
    signing_name: "awsssoportal",
    endpoint_variable: "SSO",
};

/// The credentials of a profile with `sso_account_id`, if it has one.
pub(super) fn of_profile(
    session: &Session<'_>,
    profile: &Profile,
) -> Result<Option<Credentials>, AwsError> {
    let names = [
        "sso_start_url",
        "sso_session",
        "sso_account_id",
        "sso_role_name",
    ];
    if names.iter().all(|name| profile.get(name).is_none()) {
        return Ok(None);
    }
    let setting = |name: &str| {
        let missing = || unusable(profile, &format!("it has no {name}"));
        profile.get(name).ok_or_else(missing)
    };
    let start_url = setting("sso_start_url")?;
    let (account, role) = (setting("sso_account_id")?, setting("sso_role_name")?);
    let region = setting("sso_region")?;
    let path = token_path(session, profile.get("sso_session").unwrap_or(start_url));
    let token = token(session, &path).ok_or_else(|| {
        AwsError::Settings(format!(
            "The SSO session of the profile {name} has ended, or there is none. `aws sso login --profile {name}` with the AWS CLI begins one",
            name = profile.name
        ))
    })?;
    let operation = Operation {
        name: "GetRoleCredentials".to_owned(),
        method: "GET".to_owned(),
        path: "/federation/credentials".to_owned(),
        query: vec![
            ("account_id".to_owned(), account.to_owned()),
            ("role_name".to_owned(), role.to_owned()),
        ],
        headers: vec![("x-amz-sso_bearer_token".to_owned(), token.clone())],
        ..Operation::default()
    };
    let portal = session.for_credentials(None, region);
    // Another token may be that of another user.
    let key = format!("{account} {role} {:?} {token}", portal.server(&PORTAL));
    let cache = &session.kept().credentials;
    let found = cache.get_or_renew(&key, || ask(&portal, &PORTAL, &operation, read));
    found.map(Some)
}

/// Where the AWS CLI keeps the token of a session.
fn token_path(session: &Session<'_>, name: &str) -> PathBuf {
    let file = format!("{}.json", hex(&Sha1::digest(name.as_bytes())));
    let folder = match (
        session.settings.variable("HOME"),
        session.settings.variable("AWS_CONFIG_FILE"),
    ) {
        // Lambda has no HOME, and so neither has a handler under `coshell serve`.
        (None, Some(path)) => Path::new(path).with_file_name(""),
        (home, _) => Path::new(home.unwrap_or("/")).join(".aws"),
    };
    folder.join("sso/cache").join(file)
}

/// The token, unless it has ended.
fn token(session: &Session<'_>, path: &Path) -> Option<String> {
    let text = session.settings.place().read(path).ok()?;
    let document: Value = serde_json::from_slice(&text).ok()?;
    // Older versions of the AWS CLI write UTC for Z.
    let end = read_time(&document["expiresAt"].as_str()?.replace("UTC", "Z"))?;
    (OffsetDateTime::now_utc() < end)
        .then(|| document["accessToken"].as_str().map(ToOwned::to_owned))?
}

fn read(text: &str) -> Option<Ending> {
    let document: Value = serde_json::from_str(text).ok()?;
    let found = &document["roleCredentials"];
    let field = |name: &str| found[name].as_str().map(ToOwned::to_owned);
    let credentials = Credentials {
        id: field("accessKeyId")?,
        secret: field("secretAccessKey")?,
        token: field("sessionToken"),
    };
    let milliseconds = i128::from(found["expiration"].as_i64()?);
    let end = OffsetDateTime::from_unix_timestamp_nanos(milliseconds * 1_000_000).ok()?;
    Some((credentials, end))
}
