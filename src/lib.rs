//! coshell runs bash functions on AWS Lambda: a custom runtime that keeps one bash alive.
//!
//! ```text
//! runtime_api -> invocation -> shell -> driver -> handler -> driver -> shell -> runtime_api
//!
//! invoke_api or function_url -> pool -> exchange -> emulator/runtime_api -> (the flow above)
//!                                          \-> answer -> invoke_api or function_url
//! ```
//!
//! `bootstrap` is `config`, `handler`, `runtime` (with several of it at a time, `lanes`; around a
//! snapshot, `snapshot`), and below it `runtime_api` and `shell`, which never meet; `invocation`,
//! `response`, `error` and `log` serve all. The feature `cli` adds `cli`, `emulator`, `check` and
//! `package`, which `bootstrap` does not need; the feature `compare` adds
//! `compare`.

pub mod child;
pub mod config;
pub mod error;
pub mod failure;
pub mod handler;
pub mod invocation;
pub mod lanes;
pub mod log;
pub mod program;
pub mod response;
pub mod runtime;
pub mod runtime_api;
pub mod shell;
pub mod snapshot;
pub mod sys;
pub mod wait;

#[cfg(feature = "cli")]
pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "compare")]
pub mod compare;
#[cfg(feature = "cli")]
pub mod emulator;
#[cfg(feature = "cli")]
pub mod package;

use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;

use config::Config;
use error::Error;
use log::{Level, Log, Origin};
use wait::Signals;

/// The program `bootstrap`: `handler` is its first argument, if it has one. Returns only when the
/// sandbox cannot go on.
#[must_use]
pub fn bootstrap(handler: Option<OsString>) -> ExitCode {
    let log = config::log();
    match run(handler, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = error.to_failure();
            let first = failure.message.lines().next().unwrap_or_default();
            log.write_failure(Level::Fatal, Origin::default(), first, &failure);
            ExitCode::from(error.exit_status())
        }
    }
}

fn run(handler: Option<OsString>, log: Log) -> error::Result<()> {
    let config = Config::read(handler, log)?;
    let signals = prepare_process(&config)?;
    let run = match config.max_concurrency {
        1 => runtime::run,
        _ => lanes::run,
    };
    let ended = run(&config, &signals);
    if ended.is_err() {
        child::processes::stop(child::processes::all_of_ours, config::STOP_GRACE);
    }
    match ended {
        // Asked to end while there was nothing to end in order: that is no failure.
        Err(Error::Stopped) => Ok(()),
        ended => ended,
    }
}

/// What a program in a container owes its parent and its children: an end on request, no
/// descriptor that it did not open, and the orphans adopted.
fn prepare_process(config: &Config) -> error::Result<Arc<Signals>> {
    sys::share_one_heap();
    let warn = |what: &str, error: &dyn Display| {
        let text = format!("cannot {what}: {error}");
        config.log.write(Level::Warn, Origin::default(), &text);
    };
    if let Err(error) = sys::close_inherited_on_exec() {
        warn("list /proc/self/fd", &error);
    }
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        warn("adopt orphans", &error);
    }
    Signals::listen().map(Arc::new).map_err(Error::TakeSignals)
}
