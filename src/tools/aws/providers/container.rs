//! The endpoint that SnapStart and containers have for credentials.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::{Credentials, Ending, MAX_ANSWER_BYTES, read_document};
use crate::aws::AwsError;
use crate::aws::session::Session;
use crate::http::{Body, Limits, Request, Route};

/// For the endpoint, which is on this machine.
const LIMIT: Duration = Duration::from_secs(5);
const TRIES: usize = 3;
/// The host that the relative variable of ECS is about.
const RELATIVE_HOST: &str = "http://169.254.170.2";

/// The credentials of the endpoint that the variables name, if they do.
pub(super) fn find(session: &Session<'_>) -> Result<Option<Credentials>, AwsError> {
    let url = match (
        session
            .settings
            .variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        session
            .settings
            .variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ) {
        (Some(path), _) => format!("{RELATIVE_HOST}{path}"),
        (None, Some(url)) => url.to_owned(),
        (None, None) => return Ok(None),
    };
    let failed = |cause| {
        let cause = format!("Error when retrieving credentials from container-role: {cause}");
        AwsError::Settings(cause)
    };
    let token = token(session).map_err(failed)?;
    // Another token may be that of another caller.
    let key = format!("{url} {token:?}");
    let cache = &session.kept().credentials;
    let found = cache.get_or_renew(&key, || ask(session, &url, token.clone()).map_err(failed));
    found.map(Some)
}

/// What the endpoint wants to see.
fn token(session: &Session<'_>) -> Result<Option<String>, String> {
    let variable = |name| session.settings.variable(name);
    let Some(path) = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") else {
        let token = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
        return Ok(token.map(ToOwned::to_owned));
    };
    let text = session.settings.place().read(Path::new(path));
    let text = text.map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(Some(String::from_utf8_lossy(&text).trim().to_owned()))
}

fn ask(session: &Session<'_>, url: &str, token: Option<String>) -> Result<Ending, String> {
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
    let client = &session.kept().client;
    let mut last = String::new();
    for _ in 0..TRIES {
        let response = match client.send(&request, &Route::default(), limits) {
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
        match response.body.take(MAX_ANSWER_BYTES).read_to_end(&mut text) {
            Ok(_) => {
                let read = read_document(&text, "Token");
                return read.map_err(|cause| format!("the endpoint's answer {cause}"));
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
