//! `bootstrap`: the custom runtime that Lambda runs. It keeps one bash alive and calls a function of it for each event.
//!
//! ```text
//! runtime_api -> invocation -> shell -> driver -> handler -> driver -> shell -> runtime_api
//! ```
//!
//! `config` and `runtime` (with several of it at a time, `lanes`; around a snapshot, `snapshot`) order what happens. Below
//! them are `runtime_api` and what runs a handler, `shell` for functions and `program` for whole files, which never meet;
//! `invocation`, `response`, `failure`, `error`, `log` and `wait` serve all of them, `child` those that run handlers.

mod child;
mod config;
mod error;
mod failure;
mod invocation;
mod lanes;
mod log;
mod program;
mod response;
mod runtime;
mod runtime_api;
mod shell;
mod snapshot;
mod wait;

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
        coshell_process::processes::stop(
            coshell_process::processes::all_of_ours,
            config::STOP_GRACE,
        );
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
    coshell_process::sys::share_one_heap();
    coshell_process::sys::outlive_stray_signals();
    let warn = |what: &str, error: &dyn Display| {
        let text = format!("cannot {what}: {error}");
        config.log.warn(format_args!("{text}"));
    };
    if let Err(error) = coshell_process::sys::close_inherited_on_exec() {
        warn("list /proc/self/fd", &error);
    }
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        warn("adopt orphans", &error);
    }
    Signals::listen(coshell_process::processes::reap_orphans)
        .map(Arc::new)
        .map_err(Error::TakeSignals)
}
