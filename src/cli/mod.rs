//! One file a subcommand: check.rs, compare.rs, completions.rs, entrypoint.rs, invoke.rs, man.rs, package.rs,
//! serve.rs.
//!
//! The definitions here and there are the help texts too. A subcommand gives its exit status, or
//! an [`Error`] that `bin/coshell.rs` prints; none of them ends the process itself.

pub mod address;
pub mod check;
#[cfg(feature = "compare")]
pub mod compare;
pub mod completions;
pub mod entrypoint;
pub mod function;
pub mod invoke;
pub mod man;
pub mod outcome;
pub mod package;
pub mod samples;
pub mod serve;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::emulator;

/// The exit status of wrong use, as clap has it: nothing was invoked.
pub const MISUSE: u8 = 2;

/// Run bash functions as AWS Lambda runs them.
#[derive(Debug, clap::Parser)]
#[command(name = "coshell", version, max_term_width = 100)]
#[command(after_help = "Examples:\n  \
        coshell serve function.sh.handler\n  \
        coshell invoke function.sh.handler --event 'Hello'\n  \
        coshell check function.sh.handler\n  \
        coshell package src --handler function.sh.handler -o function.zip\n  \
        coshell man invoke | man -l -")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Serve a handler over HTTP, on this machine, as Lambda would
    ///
    /// Takes the calls that Lambda takes, of the AWS CLI, of the SDKs and of curl, starts sandboxes
    /// for them, and prints what the handler logs, with Lambda's own lines around it, to standard
    /// output.
    Serve(Box<serve::ServeArguments>),
    /// Be the entry point of a container image
    ///
    /// On Lambda this is bootstrap, for the handler that is named. Anywhere else it is serve, at 0.0.0.0:8080, where
    /// AWS's images have their emulator. Where PORT is set, as on Knative and other platforms for HTTP containers, it
    /// serves the function URL alone, at that port.
    Entrypoint(Box<serve::ServeArguments>),
    /// Invoke a handler, on this machine
    ///
    /// Starts a sandbox with the environment that Lambda gives, hands it the event, prints the
    /// response exactly as it is, and stops the sandbox. What the handler writes to standard error
    /// is its log, and goes to standard error.
    Invoke(Box<invoke::InvokeArguments>),
    /// Check a handler before it is deployed
    ///
    /// Tells what would go wrong on Lambda, of what can be seen here: names, syntax, line ends, rights, commands that the
    /// image lacks, variables that are too large, and what shellcheck finds if it is installed. Runs nothing of the handler.
    Check(check::CheckArguments),
    /// Package a function for Lambda: as a zip file, a layer, or a folder for docker build
    ///
    /// Puts bootstrap and the files of a function in a zip file, after it has checked them as `coshell check` does. The
    /// same files give the same bytes, everywhere and at any time.
    Package(Box<package::PackageArguments>),
    /// Compare runtimes: cold starts and warm invocations, side by side
    ///
    /// Runs several runtimes on the same handler and the same events, in turn, checks every answer, and tells which is
    /// faster, by how much, and how sure that is. Or takes the figures from logs of Lambda.
    #[cfg(feature = "compare")]
    Compare(Box<compare::CompareArguments>),
    /// Print a script that completes coshell's command line
    ///
    /// The shell has to read it: see the examples.
    Completions(completions::CompletionsArguments),
    /// Print a manual page
    ///
    /// The page is in roff, as man(1) reads it.
    Man(man::ManArguments),
}

/// Prints what people read, all at once. A reader that has seen enough, as in `| head -1`, is no
/// failure.
///
/// # Errors
/// When standard output takes no more, for another reason.
fn print(text: &[u8]) -> Result<ExitCode, Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write to standard output")(error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
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
    /// There is no bash to ask.
    Shell(crate::error::Error),
    /// There is no package.
    Package(crate::package::Error),
    /// There is no comparison.
    #[cfg(feature = "compare")]
    Compare(crate::compare::Error),
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
            Self::Shell(error) => error.fmt(f),
            Self::Package(error) => error.fmt(f),
            #[cfg(feature = "compare")]
            Self::Compare(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// Completes with the number of the first signal that asks us to end.
fn stop_signal() -> Result<impl Future<Output = u8>, Error> {
    let listen = |kind| signal(kind).map_err(Error::io("cannot listen to signals"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        let kind = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
            _ = hangup.recv() => SignalKind::hangup(),
        };
        u8::try_from(kind.as_raw_value()).unwrap_or_default()
    })
}

/// What takes time are the functions, and those are processes.
fn tokio_of_one_thread() -> Result<Runtime, Error> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let built = builder.enable_all().build();
    built.map_err(Error::io("cannot start tokio"))
}
