//! Lambda's side of the Runtime API, on this machine: opens the doors, starts sandboxes.
//!
//! ```text
//! invoke_api, function_url -> pool -> exchange -> runtime_api <- bootstrap in its sandbox
//!                              |         |
//!                  which sandbox      answer: from the bootstrap, from its end, or from
//!                                     the deadline
//! ```
//!
//! Everything runs on one thread of tokio's: what takes time are the functions, and those are
//! processes. `cli` uses this; this uses [`wire`](crate::runtime_api::wire), and of
//! [`child`](crate::child) how processes are found.

pub mod asynchronous;
pub mod body;
pub mod exchange;
pub(crate) mod extension_api;
pub mod extensions;
pub mod faults;
pub mod function_url;
pub mod gateway;
pub mod host;
mod http_answer;
pub mod init;
pub mod invoke_api;
pub mod logs;
pub mod memory;
pub mod pool;
pub(crate) mod qualifier;
pub mod queue;
pub(crate) mod refusal;
pub mod reload;
pub mod report;
pub mod run;
pub mod runtime_api;
pub mod sandbox;
pub mod service;
pub(crate) mod telemetry;
pub mod turns;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

/// What is invoked, and where.
#[derive(Debug, Clone)]
pub struct Function {
    /// `_HANDLER`: for a bash function `[dir/]file[.sh].function`.
    pub handler: OsString,
    /// Where the code lies; absolute.
    pub task_root: PathBuf,
    /// The program to start, absolute, and its arguments; empty for the bootstrap in this program.
    pub bootstrap: Vec<OsString>,
    /// For an invocation.
    pub timeout: Duration,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`: told, and not enforced.
    pub memory_mb: u32,
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub name: String,
    /// `AWS_LAMBDA_FUNCTION_VERSION`.
    pub version: String,
    /// `AWS_REGION`.
    pub region: String,
    /// Variables that are added to our own environment.
    pub environment: Vec<(OsString, OsString)>,
    /// How many invocations at a time, in how many sandboxes.
    pub scale: Scale,
    /// Where the first sandbox has its Runtime API; port 0 is any.
    pub runtime_api: SocketAddr,
    /// The folder whose programs are started as extensions.
    pub extensions: PathBuf,
}

/// How many invocations at a time, in how many sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Up to so many sandboxes, each with one invocation at a time.
    OnDemand(usize),
    /// The same, each restored from a snapshot that was taken after its init.
    SnapStart(usize),
    /// One sandbox, with so many invocations at a time.
    ManagedInstance(usize),
}

impl Scale {
    /// How many invocations one sandbox takes at a time.
    pub(crate) fn capacity(self) -> usize {
        match self {
            Self::OnDemand(_) | Self::SnapStart(_) => 1,
            Self::ManagedInstance(count) => count,
        }
    }

    /// How many invocations there are at a time.
    pub fn concurrency(self) -> usize {
        match self {
            Self::OnDemand(count) | Self::SnapStart(count) | Self::ManagedInstance(count) => count,
        }
    }

    /// `AWS_LAMBDA_INITIALIZATION_TYPE`.
    pub(crate) fn initialization_type(self) -> &'static str {
        match self {
            Self::OnDemand(_) => "on-demand",
            Self::SnapStart(_) => "snap-start",
            Self::ManagedInstance(_) => "lambda-managed-instances",
        }
    }
}

impl Function {
    /// A function with the settings that AWS's own emulator has, and the bootstrap in this program.
    pub fn new(handler: OsString, task_root: PathBuf) -> Self {
        Self {
            handler,
            task_root,
            bootstrap: Vec::new(),
            timeout: Duration::from_secs(300),
            memory_mb: 3008,
            name: "test_function".to_owned(),
            version: "$LATEST".to_owned(),
            region: "us-east-1".to_owned(),
            environment: Vec::new(),
            scale: Scale::OnDemand(1),
            runtime_api: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            extensions: PathBuf::from("/opt/extensions"),
        }
    }

    /// The ARN, in the account that AWS's own emulator shows.
    pub fn arn(&self) -> String {
        format!(
            "arn:aws:lambda:{}:012345678912:function:{}",
            self.region, self.name
        )
    }

    /// The program that is started, for a text.
    pub fn program(&self) -> PathBuf {
        let program = self.bootstrap.first().map(PathBuf::from);
        program.unwrap_or_else(|| "/proc/self/exe".into())
    }

    /// How the bootstrap is started. This program is found through `/proc`, so that a file that was
    /// replaced meanwhile does not matter.
    fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        match self.bootstrap.split_first() {
            Some((_, arguments)) => command.args(arguments),
            None => command.arg0("coshell").arg("bootstrap").arg(&self.handler),
        };
        command
    }
}

/// A step of the emulator that failed. Displays as `cannot <do what> <to what>: <cause>`.
#[derive(Debug)]
pub enum Error {
    /// Nobody can call at this address.
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        cause: io::Error,
    },
    /// There is no port.
    OpenRuntimeApi(io::Error),
    /// There is no pipe, or our output is closed.
    OpenLog(io::Error),
    /// The bootstrap cannot be executed, or an extension.
    StartBootstrap {
        /// Which program.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
    /// The system does not tell how the bootstrap ended.
    WatchBootstrap(io::Error),
    /// A pattern makes no sense.
    IgnoreFiles {
        /// The library's words.
        cause: ignore::Error,
    },
    /// The system does not tell what changes in the task root.
    WatchFiles {
        /// Which folder.
        path: PathBuf,
        /// The library's words.
        cause: notify::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, cause } => {
                write!(f, "cannot listen at {address}: {cause}")?;
                match cause.kind() {
                    io::ErrorKind::AddrInUse => write!(f, "; take another port: --port"),
                    _ => Ok(()),
                }
            }
            Self::OpenRuntimeApi(cause) => write!(f, "cannot open Runtime API: {cause}"),
            Self::OpenLog(cause) => write!(f, "cannot open log: {cause}"),
            Self::StartBootstrap { path, cause } => {
                write!(f, "cannot start bootstrap {}: {cause}", path.display())
            }
            Self::WatchBootstrap(cause) => write!(f, "cannot wait for bootstrap: {cause}"),
            Self::IgnoreFiles { cause } => write!(f, "cannot use --watch-ignore: {cause}"),
            Self::WatchFiles { path, cause } => {
                write!(f, "cannot watch {}: {cause}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {}
