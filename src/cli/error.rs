//! What a subcommand could not do.

use std::fmt;
use std::io;

/// The exit status of wrong use, as clap has it: nothing was invoked.
pub(crate) const MISUSE: u8 = 2;

/// What a subcommand could not do. Displays as `cannot <do what> <to what>: <cause>`.
#[derive(Debug)]
pub enum Error {
    /// An input or an output fails.
    Io {
        /// `cannot <do what> <to what>`.
        what: String,
        /// The system's words.
        cause: io::Error,
    },
    /// An input makes no sense.
    Misuse {
        /// `cannot <do what> <to what>`.
        what: String,
        /// Why not.
        cause: String,
    },
    /// The emulator fails.
    Emulator(coshell_emulator::Error),
    /// There is no bash to ask.
    Shell(coshell_check::NoBash),
    /// There is no package.
    Package(coshell_package::Error),
    /// There is no comparison.
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
