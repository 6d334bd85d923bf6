//! One caller's requests to AWS: region, credentials, endpoint, signature, retries.

use std::collections::HashMap;
use std::time::Duration;

use crate::http::{Body, Response};

/// A service, as its requests name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The first part of the name of its host, such as `email` of SES.
    pub endpoint_prefix: &'a str,
    /// The name in the signature, such as `ses`.
    pub signing_name: &'a str,
    /// How the variable `AWS_ENDPOINT_URL_...` spells it, such as `SES`, `DYNAMODB`.
    pub endpoint_variable: &'a str,
}

/// One operation, not signed yet.
#[derive(Debug, Default)]
pub(crate) struct Operation {
    /// As the API spells it, such as `GetParameter`; errors name it.
    pub name: String,
    pub method: String,
    /// Encoded, from the first slash on.
    pub path: String,
    /// Not encoded.
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum AwsError {
    /// The service refused: its code and its message.
    Service {
        operation: String,
        status: u16,
        code: String,
        message: String,
    },
    /// Credentials or the region are missing, or a setting is wrong: the text to show, and what to do.
    Settings(String),
    /// No answer came.
    Connection(String),
}

/// What all requests of a call have in common.
pub(crate) struct Session<'a> {
    kept: &'a mut Kept,
    environment: HashMap<String, String>,
    region: Option<String>,
    endpoint_url: Option<String>,
}

impl std::fmt::Display for AwsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service {
                operation,
                code,
                message,
                ..
            } => write!(
                f,
                "An error occurred ({code}) when calling the {operation} operation: {message}"
            ),
            Self::Settings(cause) | Self::Connection(cause) => f.write_str(cause),
        }
    }
}

/// Connections and credentials, which outlive a call.
#[derive(Debug, Default)]
pub(crate) struct Kept {}

/// What a caller chooses on its command line.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    pub region: Option<String>,
    pub profile: Option<String>,
    pub endpoint_url: Option<String>,
    pub is_unsigned: bool,
    pub skips_verification: bool,
    pub authorities: Option<String>,
    pub read_timeout: Option<Duration>,
    pub connect_timeout: Option<Duration>,
}

impl Session<'_> {
    /// # Errors
    /// The profile is not there, or a file of settings cannot be read.
    pub(crate) fn new<'a>(
        kept: &'a mut Kept,
        environment: &[(String, String)],
        choices: Choices,
    ) -> Result<Session<'a>, AwsError> {
        todo!()
    }

    /// The region of requests.
    ///
    /// # Errors
    /// None is set.
    pub(crate) fn region(&self) -> Result<&str, AwsError> {
        todo!()
    }

    /// The setting of the profile with this name, such as `output`.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        todo!()
    }

    /// Signs the request, sends it, and tries again as the SDKs do. A refusal of the service is an error; the answer's body
    /// is still to be read.
    ///
    /// # Errors
    /// No credentials, no answer, or the service refuses.
    pub(crate) fn send(
        &mut self,
        target: &Target,
        operation: &Operation,
    ) -> Result<Response, AwsError> {
        todo!()
    }

    /// The URL of the request, signed for `seconds`.
    pub(crate) fn presign(
        &mut self,
        target: &Target,
        operation: &Operation,
        seconds: u32,
    ) -> Result<String, AwsError> {
        todo!()
    }
}
