//! The ways to run a handler behind one trait: a function in a shell (`shell/`), or a process for each event (`program/`).

use std::time::Duration;

use crate::child::LaneContext;
use crate::error::{Error, Result};
use crate::invocation::{Invocation, Outcome};
use crate::program::Program;
use crate::response::Response;
use crate::shell::{Loading, Shell, Starting};
use crate::wait::Limit;
use coshell_handler::{Failure, Kind};

/// How long a lane waits before each further try to clean up.
const CLEAN_UP_RETRY_AFTER: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// What runs the handler. The caller does not know whether that is a function, a script or an executable.
pub(crate) trait Runner {
    /// Runs one invocation until it ends, or until `limit`.
    ///
    /// # Errors
    /// Why the handler could not be called.
    fn invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Outcome>;

    /// The part of [`Runner::clean_up`] that can run while the answer is being posted.
    fn begin_clean_up(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        None
    }

    /// Prepares for the next event.
    ///
    /// # Errors
    /// Why there is nothing that could run it.
    fn clean_up(&mut self, invocation: &Invocation) -> Result<()>;

    /// Whether the handler's file defines `lambda_shutdown`.
    fn has_shutdown(&self) -> bool {
        false
    }

    /// Runs `lambda_shutdown`. The caller stops the processes that it leaves running.
    fn shut_down(&mut self) {}

    /// Runs `function` of the handler's file, if the file defines it. Returns why it failed, if it did.
    ///
    /// # Errors
    /// [`Error::Stopped`], or why the shell for it cannot be started.
    fn run_hook(&mut self, _function: &str) -> Result<Option<Failure>> {
        Ok(None)
    }

    /// Replaces what must not be the same in every copy of a snapshot.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    fn make_unique(&mut self) -> Result<()>;
}

/// A function, in a shell that stays.
impl Runner for Shell<'_> {
    fn invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Outcome> {
        self.invoke(invocation, response, limit)
    }

    fn begin_clean_up(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        self.begin_clean_up()
    }

    fn clean_up(&mut self, invocation: &Invocation) -> Result<()> {
        self.clean_up(invocation)
    }

    fn has_shutdown(&self) -> bool {
        self.has_shutdown()
    }

    fn shut_down(&mut self) {
        self.shut_down();
    }

    fn run_hook(&mut self, function: &str) -> Result<Option<Failure>> {
        self.run_hook(function)
    }

    fn make_unique(&mut self) -> Result<()> {
        self.renew_random();
        Ok(())
    }
}

/// A script or an executable, in a process for each event.
impl Runner for Program<'_> {
    fn invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Outcome> {
        self.invoke(invocation, response, limit)
    }

    fn clean_up(&mut self, invocation: &Invocation) -> Result<()> {
        self.clean_up(invocation)
    }

    fn make_unique(&mut self) -> Result<()> {
        self.restart_standby()
    }
}

/// Loads the handler, without a time limit, and starts the threads of the lane. `meanwhile` is done while bash starts.
pub(crate) fn load<'a, T>(
    cx: LaneContext<'a>,
    meanwhile: impl FnOnce() -> T,
) -> (Result<Box<dyn Runner + 'a>>, T) {
    let start_threads = || {
        let started = cx.start_threads();
        started.map_err(|error| Error::start_shell(&cx.config.bash, &error))
    };
    if !matches!(cx.handler.kind, Kind::Function(_)) {
        let started = start_threads();
        let done = meanwhile();
        let program = started.and_then(|()| Program::start(cx));
        return (program.map(|program| Box::new(program) as _), done);
    }
    let loading = Starting::start(cx).map(Starting::load);
    // After bash, which starts meanwhile. Also if bash has failed: its output is logged all the same.
    let loading = start_threads().and(loading);
    let done = meanwhile();
    let shell = loading.and_then(|loading| finish_loading(cx, loading));
    (shell.map(|shell| Box::new(shell) as _), done)
}

/// Prepares for the next event. A lane tries again if that fails, because the platform starts no other sandbox for it.
pub(crate) fn clean_up(
    cx: LaneContext,
    runner: &mut dyn Runner,
    invocation: &Invocation,
) -> Result<()> {
    let waits = cx.lane.map_or(&[][..], |_| &CLEAN_UP_RETRY_AFTER);
    for wait in waits {
        match runner.clean_up(invocation) {
            Ok(()) => return Ok(()),
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => cx.config.log.error(format_args!(
                "cannot restart the shell, retrying in {wait:?}: {error}"
            )),
        }
        if !cx.signals.pause(*wait) {
            return Err(Error::Stopped);
        }
    }
    runner.clean_up(invocation)
}

/// Shuts the handler down after the loop has ended with `result`. The caller stops the processes that it leaves running.
///
/// # Errors
/// The one in `result`, unless a signal has requested the shutdown. With an error nothing is shut down.
pub(crate) fn shut_down(
    cx: LaneContext,
    runner: &mut dyn Runner,
    result: Result<()>,
) -> Result<()> {
    match result {
        Err(error) if !cx.signals.is_stop_requested() => return Err(error),
        Ok(()) | Err(Error::Stopped) => {}
        // During a shutdown the Runtime API may be gone already: that is no failure.
        Err(error) => cx.config.log.warn(format_args!("{error}")),
    }
    runner.shut_down();
    Ok(())
}

/// Waits until the file is sourced, and warns if that ran the handler. With several lanes, only the first one warns.
fn finish_loading<'a>(cx: LaneContext<'a>, loading: Loading<'a>) -> Result<Shell<'a>> {
    let call = loading.call.clone();
    let shell = loading.finish()?;
    if let (Some(call), None | Some(0)) = (call, cx.lane) {
        cx.config.log.warn(format_args!(
            "{}:{}: `{}` ran while the file was sourced, when there was no event yet; {}",
            cx.handler.file.display(),
            call.line,
            call.text,
            call.advice()
        ));
    }
    Ok(shell)
}
