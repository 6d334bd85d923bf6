//! coshell runs bash functions on AWS Lambda: a custom runtime that keeps one bash alive.
//!
//! ```text
//! runtime_api -> invocation -> shell -> driver -> handler -> driver -> shell -> runtime_api
//! ```
//!
//! `bootstrap` is `config`, `handler`, `runtime`, and below it `runtime_api` and `shell`, which
//! never meet; `invocation`, `error` and `log` serve all. The feature `cli` adds `cli` and
//! `emulator`, which `bootstrap` does not need.

pub mod config;
pub mod error;
pub mod handler;
pub mod invocation;
pub mod log;
pub mod runtime;
pub mod runtime_api;
pub mod shell;
pub mod sys;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod emulator;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use config::Config;
use log::{Level, Origin};

/// The program `bootstrap`: `handler` is its first argument, if it has one. Returns only when the
/// sandbox cannot go on.
#[must_use]
pub fn bootstrap(handler: Option<OsString>) -> ExitCode {
    match run(handler) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The rest of the text is the end of the log, which is there already.
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            config::log().write(Level::Fatal, Origin::default(), &first);
            ExitCode::FAILURE
        }
    }
}

fn run(handler: Option<OsString>) -> error::Result<()> {
    let config = Config::read(handler)?;
    prepare_process(&config);
    runtime::run(&config)
}

/// What a program in a container owes its parent and its children: an end on request (PID 1 has
/// no default for signals), no descriptor that it did not open, and the orphans adopted.
fn prepare_process(config: &Config) {
    sys::share_one_heap();
    let yes = Arc::new(AtomicBool::new(true));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        if let Err(error) =
            signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::clone(&yes))
        {
            config.log.write(
                Level::Warn,
                Origin::default(),
                &format!("cannot take signals: {error}"),
            );
        }
    }
    if let Err(error) = sys::close_inherited_on_exec() {
        config.log.write(
            Level::Warn,
            Origin::default(),
            &format!("cannot list /proc/self/fd: {error}"),
        );
    }
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        config.log.write(
            Level::Warn,
            Origin::default(),
            &format!("cannot adopt orphans: {error}"),
        );
    }
}
