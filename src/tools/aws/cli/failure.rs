//! How a call fails: what to say, and the status that the AWS CLI has for it.

use crate::aws::AwsError;

/// A command line that the AWS CLI does not take either, or that this command does not.
const USAGE: i32 = 252;
pub(super) const OTHER: i32 = 255;

/// Why a call failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub status: i32,
    pub message: String,
    /// The status and the code of a service that refused.
    pub refusal: Option<(u16, String)>,
}

impl Failure {
    /// Wrong arguments.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            status: USAGE,
            message: message.into(),
            refusal: None,
        }
    }

    /// The value of one argument is wrong.
    pub(crate) fn argument(argument: &str, cause: &str) -> Self {
        Self::usage(format!("Error parsing parameter '--{argument}': {cause}"))
    }

    /// Wrong arguments, with what the AWS CLI says of its own usage.
    pub(crate) fn usage_error(message: &str) -> Self {
        Self::usage(format!(
            "usage: aws [options] <command> <subcommand> [<subcommand> ...] [parameters]\n\naws: error: {message}"
        ))
    }

    /// What the AWS CLI has, and this command has not.
    pub(crate) fn missing(what: &str) -> Self {
        Self::usage(format!(
            "aws: {what} is not built in. `lambda_aws` sends any request of AWS's APIs; a layer or an image with the real AWS CLI \
             has everything"
        ))
    }

    /// The call ends with this status, and says nothing.
    pub(crate) fn silent(status: i32) -> Self {
        Self {
            status,
            message: String::new(),
            refusal: None,
        }
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self {
            status: OTHER,
            message: message.into(),
            refusal: None,
        }
    }
}

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        Self {
            status: error.exit_status(),
            message: error.to_string(),
            refusal: match error {
                AwsError::Service { status, code, .. } => Some((status, code)),
                _ => None,
            },
        }
    }
}
