//! One file a subcommand: invoke.rs.
//!
//! The definitions here and there are the help texts too. A subcommand gives its exit status, or
//! an [`Error`] that `bin/coshell.rs` prints; none of them ends the process itself.

pub mod invoke;

use std::fmt;
use std::io;

use crate::emulator;

/// The exit status of wrong use, as clap has it: nothing was invoked.
pub const MISUSE: u8 = 2;

/// Run bash functions as AWS Lambda runs them.
#[derive(Debug, clap::Parser)]
#[command(name = "coshell", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Invoke a handler once, on this machine
    ///
    /// Starts a sandbox with the environment that Lambda gives, hands it the event, prints the
    /// response exactly as it is, and stops the sandbox. What the handler writes to standard error
    /// is its log, and goes to standard error.
    Invoke(invoke::InvokeArguments),
}

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
    Emulator(emulator::Error),
}

impl Error {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
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
        }
    }
}

impl std::error::Error for Error {}
