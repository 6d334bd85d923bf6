//! Bootstrap's own failures, their wording, their errorType.
//!
//! A handler that fails is an [`Outcome`](crate::invocation::Outcome) and not an [`Error`]:
//! what is here ends the process or the init. Variants are named by the step that failed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use coshell_handler::{Failure, LoadError};

/// The result of every step of ours that can fail.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A step of ours that failed. Displays as `cannot <do what> <to what>: <cause>`.
#[derive(Debug)]
pub(crate) enum Error {
    /// A setting is missing or makes no sense.
    ReadConfig {
        /// Which environment variable.
        variable: &'static str,
        /// What is the matter with it.
        cause: String,
    },
    /// The handler cannot be loaded: told to the platform as the init error.
    LoadHandler(Failure),
    /// bash cannot be started, or does not answer when it was.
    StartShell {
        /// Which bash.
        bash: PathBuf,
        /// The system's words, or ours.
        cause: String,
    },
    /// The system does not let us take signals.
    TakeSignals(io::Error),
    /// We were asked to end, by SIGTERM or SIGINT, before there was anything to end in order.
    Stopped,
    /// `lambda_before_snapshot` failed: told to the platform as the init error.
    BeforeSnapshot(Failure),
    /// The Runtime API does not say that we are restored from the snapshot.
    Restore {
        /// Where the Runtime API is: `host:port`.
        api: String,
        /// What happened.
        cause: String,
    },
    /// `lambda_after_restore` failed: told to the platform as the error of the restore.
    AfterRestore(Failure),
    /// The Runtime API gives no next invocation.
    NextInvocation {
        /// Where the Runtime API is: `host:port`.
        api: String,
        /// What happened.
        cause: String,
    },
    /// The Runtime API does not take an answer, and says that it is broken itself.
    PostAnswer {
        /// `response`, `error`, `init error` or `restore error`.
        answer: &'static str,
        /// What happened.
        cause: String,
    },
}

impl Error {
    /// A [`Error::StartShell`] from the system's words.
    pub(crate) fn start_shell(bash: &std::path::Path, cause: &io::Error) -> Self {
        Self::StartShell {
            bash: bash.to_owned(),
            cause: cause.to_string(),
        }
    }

    /// What `bootstrap` exits with: the two of `SnapStart` as AWS's runtime for Python has them.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::BeforeSnapshot(_) => 64,
            Self::AfterRestore(_) => 65,
            _ => 1,
        }
    }

    /// What the platform is told when this ends the init.
    pub(crate) fn to_failure(&self) -> Failure {
        let error_type = match self {
            Self::LoadHandler(failure)
            | Self::BeforeSnapshot(failure)
            | Self::AfterRestore(failure) => return failure.clone(),
            Self::ReadConfig { .. } => "Runtime.InvalidSetting",
            Self::StartShell { .. } => "Runtime.ShellNotStarted",
            Self::TakeSignals(_) => "Runtime.SignalsNotTaken",
            Self::Stopped => "Runtime.Stopped",
            Self::Restore { .. } | Self::NextInvocation { .. } | Self::PostAnswer { .. } => {
                "Runtime.ApiFailure"
            }
        };
        let message = self.to_string();
        let told = message.lines().next().unwrap_or_default().len();
        Failure {
            error_type,
            // What bash said when it did not start stands below the first line.
            quoted_bytes: message.len() - told,
            message,
            stack: Vec::new(),
        }
    }
}

impl From<LoadError> for Error {
    fn from(LoadError(failure): LoadError) -> Self {
        Self::LoadHandler(failure)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadConfig { variable, cause } => write!(f, "cannot use {variable}: {cause}"),
            Self::LoadHandler(failure)
            | Self::BeforeSnapshot(failure)
            | Self::AfterRestore(failure) => f.write_str(&failure.message),
            Self::StartShell { bash, cause } => {
                write!(f, "cannot start shell {}: {cause}", bash.display())
            }
            Self::TakeSignals(cause) => write!(f, "cannot take signals: {cause}"),
            Self::Stopped => f.write_str("stopped while the handler was loaded"),
            Self::Restore { api, cause } => {
                write!(f, "cannot wait for the restore at {api}: {cause}")
            }
            Self::NextInvocation { api, cause } => {
                write!(f, "cannot read next invocation from {api}: {cause}")
            }
            Self::PostAnswer { answer, cause } => write!(f, "cannot post {answer}: {cause}"),
        }
    }
}

impl std::error::Error for Error {}
