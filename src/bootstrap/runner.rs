//! The two ways to run a handler behind one type: a function in a shell, or a process for each event.

use std::time::Duration;

use crate::child::LaneContext;
use crate::error::{Error, Result};
use crate::invocation::{Invocation, Outcome};
use crate::program::Program;
use crate::response::Response;
use crate::shell::{Loading, Shell, Starting};
use crate::snapshot::SnapshotHooks;
use crate::wait::Limit;
use coshell_handler::{Failure, Kind};

/// How long a lane waits before each further try to clean up.
const CLEAN_UP_RETRY_AFTER: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

#[derive(Debug)]
pub(crate) enum Runner<'a> {
    /// A function, in a shell that stays.
    Shell(Box<Shell<'a>>),
    /// A process for each event.
    Program(Box<Program<'a>>),
}

impl<'a> Runner<'a> {
    /// Loads the handler, without a time limit. `meanwhile` is done while bash starts.
    pub(crate) fn load<T>(cx: LaneContext<'a>, meanwhile: impl FnOnce() -> T) -> (Result<Self>, T) {
        if !matches!(cx.handler.kind, Kind::Function(_)) {
            let done = meanwhile();
            let program = Program::start(cx).map(|program| Self::Program(Box::new(program)));
            return (program, done);
        }
        let loading = Starting::start(cx).map(Starting::load);
        let done = meanwhile();
        let shell = loading.and_then(|loading| finish_loading(cx, loading));
        (shell.map(|shell| Self::Shell(Box::new(shell))), done)
    }

    /// Runs one invocation until it ends, or until `limit`.
    pub(crate) fn invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Outcome> {
        match self {
            Self::Shell(shell) => shell.invoke(invocation, response, limit),
            Self::Program(program) => program.invoke(invocation, response, limit),
        }
    }

    /// The part of [`Runner::clean_up`] that can run while the answer is being posted.
    pub(crate) fn begin_clean_up(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        match self {
            Self::Shell(shell) => shell.begin_clean_up(),
            Self::Program(_) => None,
        }
    }

    /// Prepares for the next event. A lane tries again if that fails, because the platform starts no other sandbox for it.
    pub(crate) fn clean_up(&mut self, cx: LaneContext, invocation: &Invocation) -> Result<()> {
        let waits = cx.lane.map_or(&[][..], |_| &CLEAN_UP_RETRY_AFTER);
        for wait in waits {
            match self.try_clean_up(invocation) {
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
        self.try_clean_up(invocation)
    }

    fn try_clean_up(&mut self, invocation: &Invocation) -> Result<()> {
        match self {
            Self::Shell(shell) => shell.clean_up(invocation),
            Self::Program(program) => program.clean_up(invocation),
        }
    }

    /// Whether the handler's file defines `lambda_shutdown`.
    pub(crate) fn has_shutdown(&self) -> bool {
        matches!(self, Self::Shell(shell) if shell.has_shutdown())
    }

    /// Shuts the handler down after the loop has ended with `result`: a shell runs `lambda_shutdown` and exits. The caller stops
    /// the processes that it leaves running.
    ///
    /// # Errors
    /// The one in `result`, unless a signal has requested the shutdown. With an error nothing is shut down.
    pub(crate) fn shut_down(&mut self, cx: LaneContext, result: Result<()>) -> Result<()> {
        match result {
            Err(error) if !cx.signals.is_stop_requested() => return Err(error),
            Ok(()) | Err(Error::Stopped) => {}
            // During a shutdown the Runtime API may be gone already: that is no failure.
            Err(error) => cx.config.log.warn(format_args!("{error}")),
        }
        if let Self::Shell(shell) = self {
            shell.shut_down();
        }
        Ok(())
    }
}

impl SnapshotHooks for Runner<'_> {
    fn run_hook(&mut self, function: &str) -> Result<Option<Failure>> {
        match self {
            Self::Shell(shell) => shell.run_hook(function),
            Self::Program(_) => Ok(None),
        }
    }

    fn make_unique(&mut self) -> Result<()> {
        match self {
            Self::Shell(shell) => {
                shell.renew_random();
                Ok(())
            }
            Self::Program(program) => program.restart_standby(),
        }
    }
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
