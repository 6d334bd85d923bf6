//! The errors of all subcommands.

use std::fmt;
use std::io;

/// The exit status of a subcommand that could not do its work. clap exits with the same status after wrong use.
pub(crate) const MISUSE: u8 = 2;

/// Why a subcommand failed. Displays as `cannot <do what> <to what>: <cause>`.
#[derive(Debug)]
pub enum Error {
    Io {
        /// `cannot <do what> <to what>`.
        what: String,
        cause: io::Error,
    },
    /// An argument, a variable or a file from the user is wrong.
    Misuse {
        /// `cannot <do what> <to what>`.
        what: String,
        cause: String,
    },
    Emulator(coshell_emulator::Error),
    /// `coshell check` needs bash and cannot start it.
    Shell(coshell_check::NoBash),
    Package(coshell_package::Error),
    #[cfg(feature = "compare")]
    Compare(coshell_compare::Error),
}

impl Error {
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            what: what.into(),
            cause,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, cause } => write!(f, "{what}: {cause}"),
            Self::Misuse { what, cause } => write!(f, "{what}: {cause}"),
            Self::Emulator(error) => error.fmt(f),
            Self::Shell(error) => error.fmt(f),
            Self::Package(error) => error.fmt(f),
            #[cfg(feature = "compare")]
            Self::Compare(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
