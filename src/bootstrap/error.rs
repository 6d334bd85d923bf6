//! The failures of `bootstrap` itself, with their messages and their errorTypes.
//!
//! A handler that fails is an [`Outcome`](crate::invocation::Outcome), not an [`Error`]. An [`Error`] ends the init or the
//! process. Its variants are named by the step that failed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use coshell_handler::{Failure, LoadError};

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A step of `bootstrap` that failed. Displays as `cannot <do what> <to what>: <cause>`.
#[derive(Debug)]
pub(crate) enum Error {
    /// A setting is missing or invalid.
    ReadConfig {
        /// The environment variable.
        variable: &'static str,
        cause: String,
    },
    /// The handler cannot be loaded. The Runtime API gets this as the init error.
    LoadHandler(Failure),
    /// bash cannot be started, or does not get ready.
    StartShell { bash: PathBuf, cause: String },
    /// The system does not let us handle signals.
    HandleSignals(io::Error),
    /// SIGTERM or SIGINT came before there was a handler to shut down.
    Stopped,
    /// `lambda_before_snapshot` failed. The Runtime API gets this as the init error.
    BeforeSnapshotHook(Failure),
    /// The Runtime API does not confirm the restore from the snapshot.
    WaitForRestore {
        /// The Runtime API's address, `host:port`.
        api: String,
        cause: String,
    },
    /// `lambda_after_restore` failed. The Runtime API gets this as the restore error.
    AfterRestoreHook(Failure),
    /// The Runtime API sends no next invocation.
    NextInvocation {
        /// The Runtime API's address, `host:port`.
        api: String,
        cause: String,
    },
    /// The Runtime API cannot be reached with an answer, or replies to it with a server error.
    PostAnswer {
        /// `response`, `error`, `init error` or `restore error`.
        answer: &'static str,
        cause: String,
    },
}

impl Error {
    /// An [`Error::StartShell`] with the system's message.
    pub(crate) fn start_shell(bash: &Path, cause: &io::Error) -> Self {
        Self::StartShell {
            bash: bash.to_owned(),
            cause: cause.to_string(),
        }
    }

    /// The exit status of `bootstrap`. For `SnapStart` hooks it is that of AWS's runtime for Python.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::BeforeSnapshotHook(_) => 64,
            Self::AfterRestoreHook(_) => 65,
            _ => 1,
        }
    }

    /// What the Runtime API gets if this error ends the init.
    pub(crate) fn to_failure(&self) -> Failure {
        let error_type = match self {
            Self::LoadHandler(failure)
            | Self::BeforeSnapshotHook(failure)
            | Self::AfterRestoreHook(failure) => return failure.clone(),
            Self::ReadConfig { .. } => "Runtime.InvalidSetting",
            Self::StartShell { .. } => "Runtime.ShellNotStarted",
            Self::HandleSignals(_) => "Runtime.SignalsNotTaken",
            Self::Stopped => "Runtime.Stopped",
            Self::WaitForRestore { .. } | Self::NextInvocation { .. } | Self::PostAnswer { .. } => {
                "Runtime.ApiFailure"
            }
        };
        let message = self.to_string();
        let first_line = message.lines().next().unwrap_or_default();
        Failure {
            error_type: error_type.into(),
            // The lines below the first are what bash printed when it did not start.
            quoted_bytes: message.len() - first_line.len(),
            message,
            stack: Vec::new(),
        }
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        Self::LoadHandler(error.into_failure())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadConfig { variable, cause } => write!(f, "cannot use {variable}: {cause}"),
            Self::LoadHandler(failure)
            | Self::BeforeSnapshotHook(failure)
            | Self::AfterRestoreHook(failure) => f.write_str(&failure.message),
            Self::StartShell { bash, cause } => {
                write!(f, "cannot start shell {}: {cause}", bash.display())
            }
            Self::HandleSignals(cause) => write!(f, "cannot handle signals: {cause}"),
            Self::Stopped => f.write_str("stopped while the handler was loading"),
            Self::WaitForRestore { api, cause } => {
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
