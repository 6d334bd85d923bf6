//! Who asks: the variables that Lambda sets, a profile, or the endpoint that SnapStart and containers have.
//!
//! They are looked for in the order of AWS's SDKs, which call each of these a provider.

mod container;
mod process;
mod role;
mod sso;

use std::io::Read;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::AwsError;
use super::credentials::{Credentials, Ending};
use super::endpoint::Target;
use super::profile::Profile;
use super::session::{Kept, Operation, Session};
use super::settings::{Choices, Settings};
use crate::call::Place;

const MAX_ANSWER_BYTES: u64 = 64 * 1024;
/// For roles, if no region is set.
const USUAL_REGION: &str = "us-east-1";

/// Requests for a caller, signed with the credentials that are found for it.
///
/// # Errors
/// The profile is not there, or a file of settings cannot be read.
pub(super) fn session<'a>(
    kept: &'a Kept,
    environment: &[(String, String)],
    choices: Choices,
    place: Place,
) -> Result<Session<'a>, AwsError> {
    let settings = Settings::read(environment, choices, place)?;
    Ok(Session::new(kept, settings, find))
}

/// The first credentials that are found for a caller.
///
/// # Errors
/// There are none, or they are incomplete, or no answer comes from where they are.
fn find(session: &Session<'_>) -> Result<Credentials, AwsError> {
    // `--profile` outweighs the variables.
    let is_profile_chosen = session.settings.choices().profile.is_some();
    if !is_profile_chosen && let Some(credentials) = of_variables(session)? {
        return Ok(credentials);
    }
    if let Some(credentials) = role::of_web_identity_variables(session, is_profile_chosen)? {
        return Ok(credentials);
    }
    if let Some(credentials) = of_profile(session, session.settings.profile(), &mut Vec::new())? {
        return Ok(credentials);
    }
    container::find(session)?.ok_or_else(|| {
        AwsError::Settings(
            "Unable to locate credentials. You can configure credentials by running \"aws configure\"."
                .to_owned(),
        )
    })
}

fn of_variables(session: &Session<'_>) -> Result<Option<Credentials>, AwsError> {
    let Some(id) = session.settings.variable("AWS_ACCESS_KEY_ID") else {
        return Ok(None);
    };
    let Some(secret) = session.settings.variable("AWS_SECRET_ACCESS_KEY") else {
        let cause = "Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY";
        return Err(AwsError::Settings(cause.to_owned()));
    };
    let tokens = ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"];
    let token = tokens
        .into_iter()
        .find_map(|name| session.settings.variable(name));
    Ok(Some(Credentials {
        id: id.to_owned(),
        secret: secret.to_owned(),
        token: token.map(ToOwned::to_owned),
    }))
}

/// What a profile has. `seen` are the profiles of which this one is the source.
fn of_profile(
    session: &Session<'_>,
    profile: &Profile,
    seen: &mut Vec<String>,
) -> Result<Option<Credentials>, AwsError> {
    if let Some(credentials) = role::of_profile(session, profile, seen)? {
        return Ok(Some(credentials));
    }
    if let Some(credentials) = sso::of_profile(session, profile)? {
        return Ok(Some(credentials));
    }
    if let Some(credentials) = fixed(profile) {
        return Ok(Some(credentials));
    }
    process::of_profile(session, profile)
}

/// The keys that a profile holds itself.
fn fixed(profile: &Profile) -> Option<Credentials> {
    Some(Credentials {
        id: profile.get("aws_access_key_id")?.to_owned(),
        secret: profile.get("aws_secret_access_key")?.to_owned(),
        token: profile.get("aws_session_token").map(ToOwned::to_owned),
    })
}

/// Reads a JSON document with credentials. `token` is what it calls the token.
fn read_document(text: &[u8], token: &str) -> Result<Ending, String> {
    let document: Value = serde_json::from_slice(text).map_err(|_| "is no JSON".to_owned())?;
    let field = |name: &str| document[name].as_str().map(ToOwned::to_owned);
    let missing = |name: &str| format!("has no {name}");
    let credentials = Credentials {
        id: field("AccessKeyId").ok_or_else(|| missing("AccessKeyId"))?,
        secret: field("SecretAccessKey").ok_or_else(|| missing("SecretAccessKey"))?,
        token: field(token),
    };
    // What does not say when it ends is used once.
    let end = field("Expiration").and_then(|text| read_time(&text));
    Ok((credentials, end.unwrap_or(OffsetDateTime::UNIX_EPOCH)))
}

/// Sends an operation whose answer has credentials, and reads that.
fn ask(
    session: &Session<'_>,
    target: &Target,
    operation: &Operation,
    read: impl FnOnce(&str) -> Option<Ending>,
) -> Result<Ending, AwsError> {
    let response = session.send(target, operation)?;
    let mut text = String::new();
    let answer = response
        .body
        .take(MAX_ANSWER_BYTES)
        .read_to_string(&mut text);
    let name = &operation.name;
    answer.map_err(|error| {
        AwsError::Connection(format!("cannot read the answer of {name}: {error}"))
    })?;
    read(&text).ok_or_else(|| AwsError::Other(format!("the answer of {name} has no credentials")))
}

fn read_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// Why a profile gives no credentials, and how the AWS CLI still can.
fn unusable(profile: &Profile, cause: &str) -> AwsError {
    AwsError::Settings(format!(
        "cannot use the profile {name}: {cause}. `eval \"$(aws configure export-credentials --profile {name} --format env)\"` \
         with the AWS CLI puts its credentials into variables",
        name = profile.name
    ))
}
