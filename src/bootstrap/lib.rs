//! `bootstrap`: the custom runtime that Lambda runs. It keeps one bash alive and calls a function in it for each event.
//!
//! ```text
//! runtime_api -> invocation -> shell -> driver -> handler -> driver -> shell -> runtime_api
//! ```
//!
//! `runtime` is the loop over the events. `lanes` runs several of these loops at a time, and `snapshot` is the pause between
//! init and the first event under `SnapStart`. Below them are the client of the Runtime API (`runtime_api`) and the two ways
//! to run a handler, `shell` for functions and `program` for whole files, which `runner` puts behind one type. `runtime_api`,
//! `shell` and `program` never use each other. They share `invocation`, `response`, `failure`, `error`, `log`, `config` and
//! `wait`, and `child` has what only `shell` and `program` need.

mod calls;
mod child;
mod config;
mod error;
mod failure;
mod invocation;
mod lanes;
mod log;
mod program;
mod response;
mod runner;
mod runtime;
mod runtime_api;
mod shell;
mod snapshot;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use config::Config;
use error::Error;
use log::{Level, Log, Origin};
use wait::Signals;

/// Runs `bootstrap` until the sandbox shuts down or cannot go on. `handler` is the program's first argument, if there is one.
/// A program that contains the second program, too, names the argument with which it is that one.
pub fn bootstrap(handler: Option<OsString>, own_tools: Option<&'static str>) -> ExitCode {
    if let Some(argument) = own_tools {
        calls::set_own_tools_argument(argument);
    }
    let log = config::read_log();
    match run(handler, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = error.to_failure();
            let text = failure.without_log();
            log.write_failure(Level::Fatal, Origin::default(), text, &failure);
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
    let result = run(&config, &signals);
    if result.is_err() {
        coshell_process::processes::stop(
            coshell_process::processes::our_descendants,
            config::STOP_GRACE,
        );
    }
    match result {
        // A signal during init is a normal shutdown.
        Err(Error::Stopped) => Ok(()),
        result => result,
    }
}

/// Prepares the process for its role as the first one in a container: it handles signals, passes no inherited descriptor on
/// to its children, and adopts orphans.
fn prepare_process(config: &Config) -> error::Result<Arc<Signals>> {
    coshell_process::sys::share_one_heap();
    coshell_process::sys::outlive_stray_signals();
    let log = config.log;
    if let Err(error) = coshell_process::sys::close_inherited_on_exec() {
        log.warn(format_args!("cannot list /proc/self/fd: {error}"));
    }
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        log.warn(format_args!("cannot adopt orphans: {error}"));
    }
    Signals::listen(coshell_process::processes::reap_orphans)
        .map(Arc::new)
        .map_err(Error::HandleSignals)
}
