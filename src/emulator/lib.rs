//! Lambda on this machine: accepts calls, runs the handler in sandboxes, and answers the calls.
//!
//! ```text
//! caller -> invoke_api, function_url -> invocation -> exchange -> runtime_api <- bootstrap
//!                                           |            |
//!                         pool: lends a sandbox        the answer: from the bootstrap, from its
//!                                                      exit, or from the deadline
//! ```
//!
//! Everything runs on one thread with tokio. That is enough: the work happens in the processes of the sandboxes.

pub mod asynchronous;
mod body;
mod environment;
pub mod exchange;
mod extension_api;
mod extensions;
pub mod failure;
pub mod faults;
pub mod function_url;
pub mod gateway;
pub mod host;
mod http_answer;
mod init;
pub mod invocation;
pub mod invoke_api;
pub mod logs;
mod memory;
mod permits;
pub mod pool;
mod qualifier;
mod queue;
mod refusal;
pub mod report;
pub mod running;
mod runtime_api;
mod sandbox;
pub mod service;
mod telemetry;
pub mod watcher;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use tokio::process::Command;

/// The function that the emulator runs, and its configuration.
#[derive(Debug, Clone)]
pub struct Function {
    /// `_HANDLER`: for a bash function `[dir/]file[.sh].function`.
    pub handler: OsString,
    /// The folder of the code, as an absolute path.
    pub task_root: PathBuf,
    /// The program to start, as an absolute path, and its arguments. Empty for the bootstrap that is part of `coshell`.
    pub bootstrap: Vec<OsString>,
    /// The limit for an invocation.
    pub timeout: Duration,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`. The emulator does not enforce it.
    pub memory_mb: u32,
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub name: String,
    /// `AWS_LAMBDA_FUNCTION_VERSION`.
    pub version: String,
    /// `AWS_REGION`.
    pub region: String,
    /// Variables from the user, which the sandbox gets in addition to the environment of `coshell`.
    pub environment: Vec<(OsString, OsString)>,
    pub scale: Scale,
    /// The address of the Runtime API of the first sandbox. Port 0 means any free port.
    pub runtime_api: SocketAddr,
    /// The folder with the programs of external extensions.
    pub extensions: PathBuf,
}

/// How many sandboxes there may be, and how many invocations each runs at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Up to this many sandboxes, each with one invocation at a time.
    OnDemand(usize),
    /// The same, but each sandbox waits after its init and is restored for its first event.
    SnapStart(usize),
    /// One sandbox, with up to this many invocations at a time.
    ManagedInstance(usize),
}

impl Scale {
    /// The most invocations that one sandbox runs at a time.
    pub(crate) fn capacity(self) -> usize {
        match self {
            Self::OnDemand(_) | Self::SnapStart(_) => 1,
            Self::ManagedInstance(count) => count,
        }
    }

    /// The most invocations that run at a time in all sandboxes together.
    pub(crate) fn concurrency(self) -> usize {
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
    /// A function with the defaults of AWS's emulator, and the bootstrap that is part of `coshell`.
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

    /// The ARN. The account is that of AWS's emulator.
    pub(crate) fn arn(&self) -> String {
        format!(
            "arn:aws:lambda:{}:012345678912:function:{}",
            self.region, self.name
        )
    }

    /// The program that runs as the bootstrap. `/proc/self/exe` is this program, even if its file has been replaced since
    /// the start.
    pub(crate) fn program(&self) -> PathBuf {
        let program = self.bootstrap.first().map(PathBuf::from);
        program.unwrap_or_else(|| "/proc/self/exe".into())
    }

    pub(crate) fn bootstrap_command(&self) -> Command {
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
    Listen {
        address: SocketAddr,
        cause: io::Error,
    },
    OpenRuntimeApi(io::Error),
    OpenLog(io::Error),
    StartBootstrap {
        path: PathBuf,
        cause: io::Error,
    },
    StartExtension {
        path: PathBuf,
        cause: io::Error,
    },
    WatchBootstrap(io::Error),
    UseTaskRoot {
        path: PathBuf,
        cause: io::Error,
    },
    /// A pattern of `--watch-ignore` is invalid.
    IgnoreFiles {
        cause: ignore::Error,
    },
    WatchFiles {
        path: PathBuf,
        cause: notify::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, cause } => {
                write!(f, "cannot listen on {address}: {cause}")?;
                match cause.kind() {
                    io::ErrorKind::AddrInUse => write!(f, "; choose another port with --port"),
                    _ => Ok(()),
                }
            }
            Self::OpenRuntimeApi(cause) => write!(f, "cannot open the Runtime API: {cause}"),
            Self::OpenLog(cause) => write!(f, "cannot open the log: {cause}"),
            Self::StartBootstrap { path, cause } => {
                write!(f, "cannot start bootstrap {}: {cause}", path.display())
            }
            Self::StartExtension { path, cause } => {
                write!(f, "cannot start extension {}: {cause}", path.display())
            }
            Self::WatchBootstrap(cause) => write!(f, "cannot wait for the bootstrap: {cause}"),
            Self::UseTaskRoot { path, cause } => {
                write!(f, "cannot use task root {}: {cause}", path.display())
            }
            Self::IgnoreFiles { cause } => write!(f, "cannot use --watch-ignore: {cause}"),
            Self::WatchFiles { path, cause } => {
                write!(f, "cannot watch {}: {cause}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {}

/// # Errors
/// When the task root does not exist, or is not a folder.
pub fn check_task_root(path: &Path) -> Result<(), Error> {
    let cause = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => Errno::ENOTDIR.into(),
        Err(cause) => cause,
    };
    let path = path.to_owned();
    Err(Error::UseTaskRoot { path, cause })
}
