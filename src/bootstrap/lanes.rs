//! Several invocations at a time, on Managed Instances: one lane for each.
//!
//! A lane is a thread with its own connection, shell and log, which runs the loop of `runtime.rs`. Lanes share nothing that one
//! of them could break for the others: a shell that dies or is stopped is replaced in its own lane. The lanes load the handler
//! in parallel, and none requests an event before all of them have loaded it, so that an init error is posted once and ends all
//! lanes. The first thread starts the lanes, and reaps the orphans of all of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, scope};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::child::LaneContext;
use crate::config::{Config, STOP_GRACE};
use crate::error::{Error, Result};
use crate::runner;
use crate::runtime::{Prepared, connect_and_load, post_init_error, register_extension, serve};
use crate::runtime_api::Client;
use crate::wait::Signals;
use coshell_process::processes;

/// Enough for the deepest call of a lane. Pages that are not used take no memory.
const STACK_BYTES: usize = 1024 * 1024;

/// Loads the handler in `config.max_concurrency` lanes and serves invocations until we have to shut down, or until no lane can
/// go on.
///
/// # Errors
/// What ended the last lane. An init error has been posted to the Runtime API already. [`Error::Stopped`] if we had to shut
/// down while the handler was loading.
pub(crate) fn run(config: &Config, signals: &Arc<Signals>) -> Result<()> {
    let results = match serve_all(config, signals) {
        Ok(results) => results,
        Err(Error::Stopped) => return Err(Error::Stopped),
        Err(error) => {
            let mut client = Client::open(&config.runtime_api, signals);
            return Err(post_init_error(config, &mut client, error));
        }
    };
    let has_any_succeeded = results.iter().any(Result::is_ok);
    let mut errors = results.into_iter().filter_map(Result::err);
    match errors.find(|error| !has_any_succeeded || ends_all_lanes(error)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Runs all lanes, and returns how each of them ended.
///
/// # Errors
/// An init error, which is not posted yet.
fn serve_all(config: &Config, signals: &Arc<Signals>) -> Result<Vec<Result<()>>> {
    let start_error = |error: io::Error| Error::start_shell(&config.bash, &error);
    let prepared = Prepared::new(config, config.max_concurrency)?;
    let lane_signals = Arc::new(signals.without_children().map_err(start_error)?);
    let (all_ended, lane_alive) = LaneAlive::new().map_err(start_error)?;
    let init = InitBarrier::default();
    let results = scope(|scope| {
        let mut lanes = Vec::new();
        let started = (0..config.max_concurrency).try_for_each(|number| {
            let cx = prepared.lane(config, number, &lane_signals);
            let (init, lane_alive) = (&init, lane_alive.try_clone()?);
            let lane = Builder::new()
                .name(format!("lane {number}"))
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, move || {
                    let result = run_lane(cx, init);
                    drop(lane_alive);
                    result
                })?;
            lanes.push(lane);
            Ok(())
        });
        drop(lane_alive);
        let loaded = init.wait_for_lanes(lanes.len());
        let loaded = started.map_err(start_error).and(loaded);
        if let Ok(true) = loaded {
            register_extension(config, &mut Client::open(&config.runtime_api, signals));
        }
        init.release(loaded.is_ok());
        loaded?;
        signals.wait_readable(all_ended.as_fd());
        let panicked = |_| Err(start_error(io::ErrorKind::Other.into()));
        let results = lanes.into_iter();
        Ok(results
            .map(|lane| lane.join().unwrap_or_else(panicked))
            .collect())
    });
    processes::stop(processes::our_descendants, STOP_GRACE);
    prepared.drain_logs();
    results
}

/// Held by each lane while it runs: the write end of a pipe, whose read end is closed when the last lane has ended.
struct LaneAlive(OwnedFd);

impl LaneAlive {
    /// Returns the read end, too.
    fn new() -> io::Result<(OwnedFd, Self)> {
        let (all_ended, lane_alive) = pipe2(OFlag::O_CLOEXEC)?;
        Ok((all_ended, Self(lane_alive)))
    }

    fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

/// Makes the lanes wait for each other while they load the handler.
#[derive(Default)]
struct InitBarrier {
    state: Mutex<InitState>,
    changed: Condvar,
}

#[derive(Default)]
struct InitState {
    /// How many lanes have loaded the handler, or failed to.
    finished: usize,
    /// Whether the handler's file defines `lambda_shutdown`.
    has_shutdown: bool,
    /// The first error of a lane.
    error: Option<Error>,
    /// Whether the lanes may request events; `None` until that is decided.
    may_serve: Option<bool>,
}

impl InitBarrier {
    fn lock(&self) -> MutexGuard<'_, InitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut InitState)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait_until(&self, condition: impl Fn(&InitState) -> bool) -> MutexGuard<'_, InitState> {
        let state = self
            .changed
            .wait_while(self.lock(), |state| !condition(state));
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until `lanes` inits are over. Returns whether the handler's file defines `lambda_shutdown`.
    fn wait_for_lanes(&self, lanes: usize) -> Result<bool> {
        let mut state = self.wait_until(|state| state.finished == lanes);
        state.error.take().map_or(Ok(state.has_shutdown), Err)
    }

    /// Lets the lanes go on, or end if they may not serve.
    fn release(&self, may_serve: bool) {
        self.change(|state| state.may_serve = Some(may_serve));
    }

    /// Blocks until [`InitBarrier::release`]. Returns whether this lane may serve.
    fn wait_for_release(&self) -> bool {
        self.wait_until(|state| state.may_serve.is_some()).may_serve == Some(true)
    }
}

/// Runs one lane to its end.
///
/// # Errors
/// Why it cannot go on. An error while the handler loads goes to `init` instead.
fn run_lane(cx: LaneContext, init: &InitBarrier) -> Result<()> {
    let (mut client, loaded) = connect_and_load(cx);
    let mut runner = match loaded {
        Ok(runner) => runner,
        Err(error) => {
            // The init has failed: the other lanes can stop loading.
            cx.signals.request_stop();
            init.change(|state| {
                state.finished += 1;
                state.error.get_or_insert(error);
            });
            return Ok(());
        }
    };
    let has_shutdown = runner.has_shutdown();
    init.change(|state| {
        state.finished += 1;
        state.has_shutdown |= has_shutdown;
    });
    if !init.wait_for_release() {
        return Ok(());
    }
    let served = serve(cx, &mut client, &mut *runner);
    let result = runner::shut_down(cx, &mut *runner, served);
    if let Err(error) = &result {
        if ends_all_lanes(error) {
            cx.signals.request_stop();
        } else {
            let lane = cx.lane.unwrap_or_default();
            cx.config.log.error(format_args!(
                "lane {lane} has stopped, the other lanes go on: {error}"
            ));
        }
    }
    result
}

/// Whether the Runtime API failed, so that no lane can go on.
fn ends_all_lanes(error: &Error) -> bool {
    matches!(
        error,
        Error::NextInvocation { .. } | Error::PostAnswer { .. }
    )
}
