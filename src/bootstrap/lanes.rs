//! Several invocations at a time, on Managed Instances: a lane for each.
//!
//! A lane is a thread with a connection, a shell and a log of its own, and the loop of `runtime.rs`. Lanes
//! share nothing that one of them could lose for the others: a shell that dies, or is stopped, is replaced in
//! its lane. They load the handler side by side, and none asks for an event before all have: so an error of
//! the init is state once, and ends all. The first thread starts them, and reaps the orphans of all.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, scope};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::child::LaneContext;
use crate::child::logs::Logs;
use crate::config::{Config, STOP_GRACE};
use crate::error::{Error, Result};
use crate::runtime::{load, logs, post_init_error, prepare, register_extension, serve};
use crate::runtime_api::Client;
use crate::wait::Signals;
use coshell_process::processes;

/// For the deepest of what a lane does; only what is used of it is memory.
const STACK_BYTES: usize = 1024 * 1024;

/// Loads the handler `config.max_concurrency` times, and serves as many invocations at a time, until we are
/// asked to end, or no lane can go on.
///
/// # Errors
/// What ended the last of them. An error of the init has been posted to the Runtime API by then.
/// [`Error::Stopped`] if we were asked to end while the handler was loaded.
pub(crate) fn run(config: &Config, signals: &Arc<Signals>) -> Result<()> {
    let ends = match serve_all(config, signals) {
        Ok(ends) => ends,
        Err(Error::Stopped) => return Err(Error::Stopped),
        Err(error) => {
            let mut client = Client::open(&config.runtime_api, signals);
            return Err(post_init_error(config, &mut client, error));
        }
    };
    let is_any_left = ends.iter().any(Result::is_ok);
    let mut failed = ends.into_iter().filter_map(Result::err);
    match failed.find(|error| !is_any_left || is_of_platform(error)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// How each lane ended.
///
/// # Errors
/// Of the init, which is not state yet.
fn serve_all(config: &Config, signals: &Arc<Signals>) -> Result<Vec<Result<()>>> {
    let handler = prepare(config)?;
    let no_lane = |error: io::Error| Error::start_shell(&config.bash, &error);
    let logs: Result<Vec<Logs>> = (0..config.max_concurrency).map(|_| logs(config)).collect();
    let logs = logs?;
    let of_lanes = Arc::new(signals.without_children().map_err(no_lane)?);
    let (ended, open) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| no_lane(errno.into()))?;
    let init = InitBarrier::default();
    let ends = scope(|scope| {
        let mut lanes = Vec::new();
        let begun = (0..).zip(&logs).try_for_each(|(number, logs)| {
            let cx = LaneContext {
                config,
                handler: &handler,
                logs,
                signals: &of_lanes,
                lane: Some(number),
            };
            let (init, open) = (&init, open.try_clone()?);
            let lane = Builder::new()
                .name(format!("lane {number}"))
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, move || lane(cx, init, open))?;
            lanes.push(lane);
            Ok(())
        });
        drop(open);
        let loaded = init.wait_for(lanes.len());
        let loaded = begun.map_err(no_lane).and(loaded);
        if let Ok(true) = loaded {
            register_extension(config, &mut Client::open(&config.runtime_api, signals));
        }
        init.open_gate(loaded.is_ok());
        loaded?;
        signals.wait_readable(ended.as_fd());
        let gone = |_| Err(no_lane(io::ErrorKind::Other.into()));
        let ends = lanes.into_iter();
        Ok(ends.map(|lane| lane.join().unwrap_or_else(gone)).collect())
    });
    processes::stop(processes::all_of_ours, STOP_GRACE);
    for logs in &logs {
        logs.drain();
    }
    ends
}

/// What the lanes and the first thread tell each other while the handler is loaded.
#[derive(Default)]
struct InitBarrier {
    state: Mutex<InitState>,
    changed: Condvar,
}

#[derive(Default)]
struct InitState {
    /// How many lanes have loaded the handler, or failed to.
    count: usize,
    /// There is something to do when the sandbox ends.
    has_shutdown: bool,
    /// Of the first that failed.
    error: Option<Error>,
    /// Whether the lanes may ask for events; `None` while that is not known.
    gate: Option<bool>,
}

impl InitBarrier {
    fn lock(&self) -> MutexGuard<'_, InitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is state, and wakes whoever waits for that.
    fn change(&self, change: impl FnOnce(&mut InitState)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait(&self, is_awaited: impl Fn(&InitState) -> bool) -> MutexGuard<'_, InitState> {
        let waited = self
            .changed
            .wait_while(self.lock(), |state| !is_awaited(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many lanes have loaded the handler; whether there is something to do at the end.
    fn wait_for(&self, lanes: usize) -> Result<bool> {
        let mut state = self.wait(|state| state.count == lanes);
        state.error.take().map_or(Ok(state.has_shutdown), Err)
    }

    fn open_gate(&self, is_open: bool) {
        self.change(|state| state.gate = Some(is_open));
    }

    /// Waits until that is known.
    fn may_go_on(&self) -> bool {
        self.wait(|state| state.gate.is_some()).gate == Some(true)
    }
}

/// One lane, to its end. Does not ask for an event before the gate is open. Holds `_open` for so long.
///
/// # Errors
/// Why it cannot go on.
fn lane(cx: LaneContext, init: &InitBarrier, _open: OwnedFd) -> Result<()> {
    let (mut client, loaded) = load(cx);
    let mut runner = match loaded {
        Ok(runner) => runner,
        Err(error) => {
            // The others need not go on with what one could not do.
            cx.signals.request_stop();
            init.change(|state| {
                state.count += 1;
                state.error.get_or_insert(error);
            });
            return Ok(());
        }
    };
    let has_shutdown = runner.has_shutdown();
    init.change(|state| {
        state.count += 1;
        state.has_shutdown |= has_shutdown;
    });
    if !init.may_go_on() {
        return Ok(());
    }
    let served = serve(cx, &mut client, &mut runner);
    let ended = runner.end(cx, served);
    if let Err(error) = &ended {
        if is_of_platform(error) {
            cx.signals.request_stop();
        } else {
            let lane = cx.lane.unwrap_or_default();
            let text = format!("lane {lane} ends, the others go on: {error}");
            let log = &cx.config.log;
            log.error(format_args!("{text}"));
        }
    }
    ended
}

/// Whether this is none of a lane's own, so that no lane can go on.
fn is_of_platform(error: &Error) -> bool {
    matches!(
        error,
        Error::NextInvocation { .. } | Error::PostAnswer { .. }
    )
}
