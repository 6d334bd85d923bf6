//! Why there is no package.

use std::fmt;
use std::io;
use std::path::Path;

use coshell_handler::bash::shell_word;

/// Why there is no package. Displays as `cannot <do what> <to what>: <cause>`.
#[derive(Debug)]
pub enum Error {
    /// A file cannot be read or written.
    Io {
        /// `cannot <do what> <to what>`.
        what: String,
        /// The system's words.
        cause: io::Error,
    },
    /// The order makes no sense.
    Misuse {
        /// `cannot <do what> <to what>`.
        what: String,
        /// Why not.
        cause: String,
    },
    /// What is to be packed would not work on Lambda.
    Refused {
        /// `cannot <do what> <to what>`.
        what: String,
        /// Why not, and what to do.
        cause: String,
    },
    /// A signal stopped it.
    Stopped {
        /// By this signal.
        signal: u8,
    },
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            what: what.into(),
            cause,
        }
    }

    pub(crate) fn misuse(what: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::Misuse {
            what: what.into(),
            cause: cause.into(),
        }
    }

    pub(crate) fn refused(what: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::Refused {
            what: what.into(),
            cause: cause.into(),
        }
    }

    /// The folder that something is to be written in cannot be used.
    pub(crate) fn no_folder(what: String, folder: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| match cause.kind() {
            io::ErrorKind::NotFound => {
                let folder = shell_word(&folder.to_string_lossy());
                Self::misuse(what, format!("{cause}; make its folder: mkdir -p {folder}"))
            }
            _ => Self::Io { what, cause },
        }
    }

    /// The refusal of one file.
    pub(crate) fn unfit(path: &Path, cause: impl Into<String>) -> Self {
        Self::refused(format!("cannot package {}", path.display()), cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, cause } => write!(f, "{what}: {cause}"),
            Self::Misuse { what, cause } | Self::Refused { what, cause } => {
                write!(f, "{what}: {cause}")
            }
            Self::Stopped { signal } => write!(f, "cannot go on: signal {signal} has come"),
        }
    }
}

impl std::error::Error for Error {}
