//! Who asks: the variables that Lambda sets, a profile, or the endpoint that SnapStart and containers have.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::AwsError;
use super::profile::Profile;
use crate::call::Place;
use crate::http::{Body, Client, Limits, Request, Route};

/// Credentials of the endpoint are renewed this long before they end.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);
/// For the endpoint, which is on this machine.
const LIMIT: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: u64 = 64 * 1024;
/// The host that the relative variable of ECS is about.
const RELATIVE_HOST: &str = "http://169.254.170.2";

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

impl fmt::Debug for Credentials {
    /// Without the secrets, which belong in no text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Credentials of the endpoint, by its URL, and when they end.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<String, (Credentials, OffsetDateTime)>>);

/// Where credentials are looked for.
pub(crate) struct Sources<'a> {
    pub environment: &'a HashMap<String, String>,
    pub profile: &'a Profile,
    /// `--profile` was given, which outweighs the variables.
    pub is_profile_chosen: bool,
    pub place: Place,
    pub client: &'a Client,
    pub cache: &'a Cache,
}

impl Sources<'_> {
    /// The first credentials that are found.
    ///
    /// # Errors
    /// There are none, or they are incomplete, or the endpoint does not answer.
    pub(crate) fn find(&self) -> Result<Credentials, AwsError> {
        if !self.is_profile_chosen
            && let Some(id) = self.variable("AWS_ACCESS_KEY_ID")
        {
            let Some(secret) = self.variable("AWS_SECRET_ACCESS_KEY") else {
                let cause = "Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY";
                return Err(AwsError::Settings(cause.to_owned()));
            };
            let tokens = ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"];
            return Ok(Credentials {
                id: id.to_owned(),
                secret: secret.to_owned(),
                token: tokens
                    .into_iter()
                    .find_map(|name| self.variable(name))
                    .map(ToOwned::to_owned),
            });
        }
        if let (Some(id), Some(secret)) = (
            self.profile.get("aws_access_key_id"),
            self.profile.get("aws_secret_access_key"),
        ) {
            return Ok(Credentials {
                id: id.to_owned(),
                secret: secret.to_owned(),
                token: self.profile.get("aws_session_token").map(ToOwned::to_owned),
            });
        }
        for unknown in [
            "role_arn",
            "sso_session",
            "sso_start_url",
            "credential_process",
        ] {
            if self.profile.get(unknown).is_some() {
                return Err(AwsError::Settings(format!(
                    "cannot use the profile {}: it has {unknown}, which coshell does not know. `eval \"$(aws configure \
                     export-credentials --profile {} --format env)\"` with the AWS CLI puts its credentials into variables",
                    self.profile.name, self.profile.name
                )));
            }
        }
        match self.container()? {
            Some(credentials) => Ok(credentials),
            None => Err(AwsError::Settings(
                "Unable to locate credentials. You can configure credentials by running \"aws configure\"."
                    .to_owned(),
            )),
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    /// The credentials of the endpoint that the variables name, if they do.
    fn container(&self) -> Result<Option<Credentials>, AwsError> {
        let url = match (
            self.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
            self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ) {
            (Some(path), _) => format!("{RELATIVE_HOST}{path}"),
            (None, Some(url)) => url.to_owned(),
            (None, None) => return Ok(None),
        };
        let now = OffsetDateTime::now_utc();
        let mut known = self.cache.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((credentials, end)) = known.get(&url)
            && now + REFRESH_BEFORE < *end
        {
            return Ok(Some(credentials.clone()));
        }
        match self.ask(&url) {
            Ok((credentials, end)) => {
                known.insert(url, (credentials.clone(), end));
                Ok(Some(credentials))
            }
            // They hold for some minutes still.
            Err(cause) => match known.get(&url) {
                Some((credentials, end)) if now < *end => Ok(Some(credentials.clone())),
                _ => Err(AwsError::Settings(format!(
                    "Error when retrieving credentials from container-role: {cause}"
                ))),
            },
        }
    }

    fn ask(&self, url: &str) -> Result<(Credentials, OffsetDateTime), String> {
        let token = match self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(path) => {
                let text = self.place.read(Path::new(path));
                let text = text.map_err(|error| format!("cannot read {path}: {error}"))?;
                Some(String::from_utf8_lossy(&text).trim().to_owned())
            }
            None => self
                .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
                .map(ToOwned::to_owned),
        };
        let headers = [
            ("accept", Some("application/json".to_owned())),
            ("authorization", token),
        ];
        let request = Request {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: headers
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect(),
            body: Body::None,
        };
        let limits = Limits {
            total: Some(LIMIT),
            ..Limits::default()
        };
        let mut last = String::new();
        for _ in 0..3 {
            let response = match self.client.send(&request, &Route::default(), limits) {
                Ok(response) => response,
                Err(error) => {
                    last = error.to_string();
                    continue;
                }
            };
            if response.status != 200 {
                last = format!("the endpoint answered with status {}", response.status);
                continue;
            }
            let mut text = Vec::new();
            let read = response.body.take(MAX_ANSWER_BYTES).read_to_end(&mut text);
            match read {
                Ok(_) => return parse(&text),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }
}

/// Reads the endpoint's answer.
fn parse(text: &[u8]) -> Result<(Credentials, OffsetDateTime), String> {
    let document: Value =
        serde_json::from_slice(text).map_err(|_| "the endpoint's answer is no JSON".to_owned())?;
    let field = |name: &str| document[name].as_str().map(ToOwned::to_owned);
    let missing = |name: &str| format!("the endpoint's answer has no {name}");
    let credentials = Credentials {
        id: field("AccessKeyId").ok_or_else(|| missing("AccessKeyId"))?,
        secret: field("SecretAccessKey").ok_or_else(|| missing("SecretAccessKey"))?,
        token: field("Token"),
    };
    let end = field("Expiration").and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok());
    // What does not say when it ends is used once.
    Ok((credentials, end.unwrap_or(OffsetDateTime::UNIX_EPOCH)))
}
