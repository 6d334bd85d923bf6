//! Opens the doors, starts sandboxes.
//!
//! ```text
//! event -> exchange -> runtime_api <- next, response, error -> bootstrap in its sandbox
//!             |
//!             v
//!           answer: from the bootstrap, from its end, or from the deadline
//! ```
//!
//! Everything runs on one thread of tokio's: there is one bootstrap to talk to.
//! `cli` uses this; this uses [`wire`](crate::runtime_api::wire) and nothing else of ours.

pub mod exchange;
pub mod queue;
pub mod runtime_api;
pub mod sandbox;

use std::ffi::OsString;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use exchange::{Answer, Exchange};
use runtime_api::RuntimeApi;
use sandbox::Sandbox;

/// How long an answered bootstrap may take to ask for the next invocation, before it is stopped:
/// it still reads our 202, and passes on the last of its log.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// What is invoked, and where.
#[derive(Debug, Clone)]
pub struct Function {
    /// `_HANDLER`: for a bash function `[dir/]file[.sh].function`.
    pub handler: OsString,
    /// Where the code lies; absolute.
    pub task_root: PathBuf,
    /// The program to start, absolute; `None` for the bootstrap in this program.
    pub bootstrap: Option<PathBuf>,
    /// For init and invocation together.
    pub timeout: Duration,
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub name: String,
    /// `AWS_REGION`.
    pub region: String,
}

impl Function {
    /// The ARN, in the account that AWS's own emulator shows.
    #[must_use]
    pub fn arn(&self) -> String {
        format!(
            "arn:aws:lambda:{}:012345678912:function:{}",
            self.region, self.name
        )
    }
}

/// How an invocation ended; `S` is what the caller stopped it with.
#[derive(Debug)]
pub enum Ending<S> {
    /// There is an answer.
    Answered(Answer),
    /// The caller stopped it first.
    Stopped(S),
}

/// A step of the emulator that failed. Displays as `cannot <do what> <to what>: <cause>`.
#[derive(Debug)]
pub enum Error {
    /// There is no port, or no randomness.
    OpenRuntimeApi(io::Error),
    /// The bootstrap cannot be executed.
    StartBootstrap {
        /// Which program.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
    /// The system does not tell how the bootstrap ended.
    WatchBootstrap(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenRuntimeApi(cause) => write!(f, "cannot open Runtime API: {cause}"),
            Self::StartBootstrap { path, cause } => {
                write!(f, "cannot start bootstrap {}: {cause}", path.display())
            }
            Self::WatchBootstrap(cause) => write!(f, "cannot wait for bootstrap: {cause}"),
        }
    }
}

impl std::error::Error for Error {}

/// Invokes the function once, in a sandbox of its own that is gone when this returns. Takes as
/// long as the function does, but its timeout at most, and up to 2 s for the end of the sandbox.
/// `stop` ends it early.
///
/// # Errors
/// When the Runtime API cannot be opened or the bootstrap cannot be started. A function that
/// fails is an [`Answer::Error`].
pub async fn invoke<S>(
    function: &Function,
    event: Bytes,
    stop: impl Future<Output = S>,
) -> Result<Ending<S>, Error> {
    let (exchange, answer) =
        Exchange::open(event, &function.arn(), function.timeout).map_err(Error::OpenRuntimeApi)?;
    let request_id = exchange.request_id.clone();
    let api = Arc::new(RuntimeApi::default());
    api.push(exchange);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(Error::OpenRuntimeApi)?;
    let address = listener.local_addr().map_err(Error::OpenRuntimeApi)?;
    // Dropped when this returns, and the server with it.
    let mut servers = JoinSet::new();
    servers.spawn(axum::serve(listener, Arc::clone(&api).router()).into_future());

    let mut sandbox = Sandbox::start(function, address).map_err(|cause| {
        let path = function
            .bootstrap
            .clone()
            .unwrap_or_else(|| "/proc/self/exe".into());
        Error::StartBootstrap { path, cause }
    })?;
    let ending = tokio::select! {
        biased; // an answer counts, whatever else has happened by now
        Ok(answer) = answer => {
            settle(&api, &mut sandbox).await;
            Ending::Answered(answer)
        }
        status = sandbox.ended() => {
            let status = status.map_err(Error::WatchBootstrap)?;
            Ending::Answered(Answer::exited(&request_id, status))
        }
        () = sleep(function.timeout) => {
            sandbox.kill().await;
            return Ok(Ending::Answered(Answer::timed_out(&request_id, function.timeout)));
        }
        stopped = stop => Ending::Stopped(stopped),
    };
    sandbox.stop().await;
    Ok(ending)
}

/// Waits until the answered bootstrap would be frozen, or has ended.
async fn settle(api: &RuntimeApi, sandbox: &mut Sandbox) {
    tokio::select! {
        () = api.until_idle() => {}
        _ = sandbox.ended() => {}
        () = sleep(SETTLE_LIMIT) => {}
    }
}
