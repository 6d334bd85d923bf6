//! Why a command, or the transfer of one file, fails.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::aws::AwsError;

/// Why one file or object could not be transferred.
#[derive(Debug)]
pub(super) enum Failure {
    Aws(AwsError),
    /// The text, as the AWS CLI has it.
    Local(String),
    /// The AWS CLI finds this before it begins, so that the whole command fails.
    Fatal(AwsError),
    /// The object lies in an archive.
    Archived,
}

impl Failure {
    /// What the system says about a file, in the words of Python.
    pub(super) fn of_file(error: &io::Error, path: &str) -> Self {
        Self::Local(format!("{}: '{path}'", words_of(error)))
    }

    /// What the system says about standard input or output.
    pub(super) fn of_stream(error: &io::Error) -> Self {
        Self::Local(words_of(error))
    }
}

/// An error of the system, as Python writes it: `[Errno 2] No such file or directory`.
fn words_of(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("[Errno {number}] {}", Errno::from_raw(number).desc()),
        None => error.to_string(),
    }
}

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        Self::Aws(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What to do about it is for a whole command.
            Self::Aws(AwsError::Settings(text)) | Self::Fatal(AwsError::Settings(text)) => {
                let cause = text.split(". You can").next().unwrap_or_default();
                f.write_str(cause)
            }
            Self::Aws(error) | Self::Fatal(error) => write!(f, "{error}"),
            Self::Archived => f.write_str("the object lies in an archive"),
            Self::Local(text) => f.write_str(text),
        }
    }
}

/// Why a whole command has no result: the text, and the exit status.
#[derive(Debug)]
pub(super) struct Stop {
    pub status: i32,
    pub text: String,
}

impl Stop {
    /// The command line asks for what cannot be.
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self {
            status: 252,
            text: text.into(),
        }
    }

    pub(super) fn other(text: impl Into<String>) -> Self {
        Self {
            status: 255,
            text: text.into(),
        }
    }
}

impl From<AwsError> for Stop {
    fn from(error: AwsError) -> Self {
        Self {
            status: error.exit_status(),
            text: error.to_string(),
        }
    }
}
