//! Init once, then next, invoke, answer; the only file that knows both the Runtime API and what runs
//! the handler.
//!
//! The order within an invocation is what makes it safe: the response and the log are drained,
//! then the answer is posted, then the shell is put in order, and only then the next invocation is
//! asked for, because the sandbox may be frozen from there on.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::child::LaneContext;
use crate::child::logs::Logs;
use crate::config::{Config, ResponseMode, STOP_GRACE};
use crate::error::{Error, Result};
use crate::failure::deadline_too_close;
use crate::invocation::{Invocation, Outcome};
use crate::log::Level;
use crate::program::Program;
use crate::response::{Response, ResponseSink};
use crate::runtime_api::{Client, Posted, WhenSent};
use crate::shell::{Loading, Shell, Starting};
use crate::snapshot::{self, Kept};
use crate::wait::{Limit, Signals};
use coshell_handler::Failure;
use coshell_handler::{Handler, Kind};
use coshell_process::processes;

/// How long a lane waits before it tries again to get a shell.
const CLEAN_UP_RETRY_AFTER: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// What runs the handler.
#[derive(Debug)]
pub(crate) enum Runner<'a> {
    /// A function, in a shell that goes on.
    Shell(Box<Shell<'a>>),
    /// A process for each event.
    Program(Box<Program<'a>>),
}

/// Loads the handler and serves invocations until we are asked to end, or cannot go on.
///
/// # Errors
/// What ended it. An error of the init has been posted to the Runtime API by then.
/// [`Error::Stopped`] if we were asked to end while the handler was loaded.
pub(crate) fn run(config: &Config, signals: &Arc<Signals>) -> Result<()> {
    let (handler, logs) = match prepare(config).and_then(|handler| Ok((handler, logs(config)?))) {
        Ok(prepared) => prepared,
        Err(error) => {
            let mut client = Client::open(&config.runtime_api, signals);
            return Err(post_init_error(config, &mut client, error));
        }
    };
    let cx = LaneContext {
        config,
        handler: &handler,
        logs: &logs,
        signals,
        lane: None,
    };
    let (mut client, loaded) = load(cx);
    let mut runner = match loaded {
        Ok(runner) => runner,
        Err(Error::Stopped) => return Err(Error::Stopped),
        Err(error) => return Err(post_init_error(config, &mut client, error)),
    };
    if runner.has_shutdown() {
        register_extension(config, &mut client);
    }
    let passed = match snapshot::pass(cx, &mut client, &mut runner) {
        Err(error @ (Error::BeforeSnapshot(_) | Error::AfterRestore(_))) => {
            return Err(post_init_error(config, &mut client, error));
        }
        passed => passed,
    };
    let ended = passed.and_then(|()| serve(cx, &mut client, &mut runner));
    runner.end(cx, ended)?;
    processes::stop(processes::all_of_ours, STOP_GRACE);
    logs.drain();
    Ok(())
}

/// What can be said before anything is started: the handler, if settings and handler mean something.
///
/// # Errors
/// [`Error::ReadConfig`], [`Error::LoadHandler`].
pub(crate) fn prepare(config: &Config) -> Result<Handler> {
    for text in config.ignored_platform_settings() {
        config.log.warn(format_args!("{text}"));
    }
    if let Some((variable, cause)) = config.invalid.clone() {
        return Err(Error::ReadConfig { variable, cause });
    }
    Ok(Handler::find(config.handler.as_deref(), &config.task_root)?)
}

/// The log of what one lane starts.
///
/// # Errors
/// [`Error::StartShell`] without a descriptor for it.
pub(crate) fn logs(config: &Config) -> Result<Logs> {
    Logs::start(config.log).map_err(|error| Error::start_shell(&config.bash, &error))
}

/// Connects, and loads the handler meanwhile, without a limit.
pub(crate) fn load(cx: LaneContext) -> (Client, Result<Runner>) {
    // bash starts while we connect.
    let is_function = matches!(cx.handler.kind, Kind::Function(_));
    let loading = is_function.then(|| Starting::start(cx).map(Starting::load));
    let client = Client::open(&cx.config.runtime_api, cx.signals);
    let loaded = match loading {
        Some(loading) => loading
            .and_then(|loading| finish(cx, loading))
            .map(|shell| Runner::Shell(Box::new(shell))),
        None => Program::start(cx).map(|program| Runner::Program(Box::new(program))),
    };
    (client, loaded)
}

/// Waits until the file is sourced, and warns if that has run the handler.
fn finish<'a>(cx: LaneContext<'a>, loading: Loading<'a>) -> Result<Shell<'a>> {
    let call = loading.call.clone();
    let shell = loading.finish()?;
    if let (Some(call), None | Some(0)) = (call, cx.lane) {
        let text = format!(
            "{}:{}: `{}` ran while the file was sourced, when there was no event yet; {}",
            cx.handler.file.display(),
            call.line,
            call.text,
            call.advice()
        );
        let log = cx.config.log;
        log.warn(format_args!("{text}"));
    }
    Ok(shell)
}

/// Lambda sends SIGTERM to those alone who ask for it.
pub(crate) fn register_extension(config: &Config, client: &mut Client) {
    if let Err(error) = client.register_extension() {
        let text = format!("lambda_shutdown will not be called by Lambda: {error}");
        config.log.warn(format_args!("{text}"));
    }
}

/// Posts why the init failed, or the restore, and gives the error back.
pub(crate) fn post_init_error(config: &Config, client: &mut Client, error: Error) -> Error {
    // Whether it arrives or not: the error itself is what ends us.
    let (what, posted) = match &error {
        Error::AfterRestore(failure) => ("restore error", client.post_restore_error(failure)),
        error => ("init error", client.post_init_error(&error.to_failure())),
    };
    let text = match posted {
        Ok(Posted::Accepted) => return error,
        Ok(Posted::Refused(reason)) => format!("{what} not taken: {reason}"),
        Ok(Posted::Unknown(cause)) => {
            format!("cannot tell whether the {what} arrived: {cause}")
        }
        Err(posting) => posting.to_string(),
    };
    config.log.error(format_args!("{text}"));
    error
}

/// Next, invoke, answer, until we are asked to end.
///
/// # Errors
/// What the runner, or the Runtime API, cannot go on after.
pub(crate) fn serve(cx: LaneContext, client: &mut Client, runner: &mut Runner) -> Result<()> {
    let config = cx.config;
    // An answer of which nobody knows whether it arrived.
    let mut unconfirmed: Option<(Attempt, Outcome)> = None;
    let delivery = cx.delivery();
    while let Some(mut invocation) = client.next_invocation()? {
        invocation.delivery = delivery;
        let mut stream = client.stream(&invocation);
        let outcome = match unconfirmed.take() {
            // The platform still waits for it: the handler has run, and must not run again.
            Some((answered, outcome)) if answered == attempt(&invocation) => outcome,
            _ => match invoke(cx, runner, &invocation, &mut stream) {
                Ok(outcome) => outcome,
                // The sandbox goes on without us: so nobody but us tells the caller.
                Err(error) if cx.lane.is_some() => Outcome::Failure(error.to_failure()),
                Err(error) => return Err(error),
            },
        };
        if let Outcome::Failure(failure) = &outcome {
            log_failure(config, &invocation, failure);
        }
        let is_streamed = stream.is_open();
        let posted = match stream.finish(&outcome)? {
            Some(posted) => posted,
            None => client.post_outcome(&invocation, &outcome, runner.begin_clean_up())?,
        };
        match posted {
            Posted::Accepted => {}
            Posted::Refused(reason) => {
                let text = format!("answer not taken: {reason}");
                config
                    .log
                    .error_for(invocation.origin(), format_args!("{text}"));
            }
            Posted::Unknown(cause) => {
                let text = format!("cannot tell whether the answer arrived: {cause}");
                config
                    .log
                    .error_for(invocation.origin(), format_args!("{text}"));
                let again = if is_streamed {
                    stream_broken()
                } else {
                    outcome
                };
                unconfirmed = Some((attempt(&invocation), again));
            }
        }
        if cx.signals.is_stop_requested() {
            break;
        }
        clean_up(cx, runner, &invocation)?;
    }
    Ok(())
}

/// Puts the runner in order. In a lane that is tried again, since no other sandbox takes its place.
fn clean_up(cx: LaneContext, runner: &mut Runner, invocation: &Invocation) -> Result<()> {
    let waits = cx.lane.map_or(&[][..], |_| &CLEAN_UP_RETRY_AFTER);
    for wait in waits {
        match runner.clean_up(invocation) {
            Ok(()) => return Ok(()),
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => {
                let text = format!("no shell, the next try is in {wait:?}: {error}");
                cx.config.log.error(format_args!("{text}"));
            }
        }
        if !cx.signals.pause(*wait) {
            return Err(Error::Stopped);
        }
    }
    runner.clean_up(invocation)
}

fn invoke(
    cx: LaneContext,
    runner: &mut Runner,
    invocation: &Invocation,
    sink: &mut dyn ResponseSink,
) -> Result<Outcome> {
    let deadline = match stop_at(cx.config.deadline_margin, invocation) {
        Ok(deadline) => deadline,
        Err((margin, left)) => {
            return Ok(Outcome::Failure(deadline_too_close(
                cx.handler, margin, left,
            )));
        }
    };
    let is_streamed = cx.config.response_mode == ResponseMode::Streaming;
    let mut response = Response::new(&invocation.request_id, is_streamed, sink);
    let mut limit = Limit::new(cx.signals, deadline);
    runner.invoke(invocation, &mut response, &mut limit)
}

/// When the handler is to be stopped: `margin` before the deadline, if there are both.
///
/// # Errors
/// The margin, and what is left until the deadline, if that is no more.
fn stop_at(
    margin: Option<Duration>,
    invocation: &Invocation,
) -> std::result::Result<Option<Instant>, (Duration, Duration)> {
    let deadline = invocation.deadline_ms.as_deref();
    let deadline = deadline.and_then(|deadline| deadline.parse().ok());
    let (Some(margin), Some(deadline)) = (margin, deadline.map(Duration::from_millis)) else {
        return Ok(None);
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let left = deadline.saturating_sub(now.unwrap_or_default());
    match left.checked_sub(margin) {
        Some(time) if !time.is_zero() => Ok(Instant::now().checked_add(time)),
        _ => Err((margin, left)),
    }
}

impl Runner<'_> {
    fn invoke(
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

    /// What can be done for [`Runner::clean_up`] while the answer is on its way.
    fn begin_clean_up(&mut self) -> Option<WhenSent> {
        match self {
            Self::Shell(shell) => shell.begin_clean_up(),
            Self::Program(_) => None,
        }
    }

    fn clean_up(&mut self, invocation: &Invocation) -> Result<()> {
        match self {
            Self::Shell(shell) => shell.clean_up(invocation),
            Self::Program(program) => program.clean_up(invocation),
        }
    }

    /// Whether there is something to do when the sandbox ends.
    pub(crate) fn has_shutdown(&self) -> bool {
        matches!(self, Self::Shell(shell) if shell.has_shutdown())
    }

    /// What follows `served`: if we were asked to end a shell does what it has to do then, and ends by itself. What
    /// else runs is left to the caller.
    ///
    /// # Errors
    /// That of `served`, if it is what ends us.
    pub(crate) fn end(&mut self, cx: LaneContext, served: Result<()>) -> Result<()> {
        match served {
            Err(error) if !cx.signals.is_stop_requested() => return Err(error),
            Ok(()) | Err(Error::Stopped) => {}
            // Nobody takes the answer any more: that does not change how we end.
            Err(error) => cx.config.log.warn(format_args!("{error}")),
        }
        if let Self::Shell(shell) = self {
            shell.shut_down();
        }
        Ok(())
    }
}

impl Kept for Runner<'_> {
    fn run_hook(&mut self, function: &str) -> Result<Option<Failure>> {
        match self {
            Self::Shell(shell) => shell.run_hook(function),
            Self::Program(_) => Ok(None),
        }
    }

    fn renew(&mut self) -> Result<()> {
        match self {
            Self::Shell(shell) => {
                shell.renew_random();
                Ok(())
            }
            Self::Program(program) => program.renew(),
        }
    }
}

/// A retry of an asynchronous invocation has the same request id, but another invocation id.
type Attempt = (String, Option<String>);

fn attempt(invocation: &Invocation) -> Attempt {
    (
        invocation.request_id.clone(),
        invocation.invocation_id.clone(),
    )
}

/// What is left to say of a streamed response if the platform sends its invocation again.
fn stream_broken() -> Outcome {
    Outcome::Failure(Failure {
        error_type: "Function.StreamBroken",
        message: "the connection to the Runtime API broke while the response was streamed"
            .to_owned(),
        stack: Vec::new(),
        quoted_bytes: 0,
    })
}

fn log_failure(config: &Config, invocation: &Invocation, failure: &Failure) {
    let first = failure.message.lines().next().unwrap_or_default();
    let text = format!("{}: {first}", failure.error_type);
    config
        .log
        .write_failure(Level::Error, invocation.origin(), &text, failure);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_in(milliseconds: u64) -> Invocation {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let deadline = now.unwrap_or_default() + Duration::from_millis(milliseconds);
        Invocation {
            deadline_ms: Some(deadline.as_millis().to_string()),
            ..Invocation::default()
        }
    }

    #[test]
    fn handler_is_stopped_before_its_deadline_if_there_is_one() {
        let margin = Some(Duration::from_secs(1));
        let at = stop_at(margin, &due_in(60_000)).ok().flatten();
        let left = at.map(|at| at.saturating_duration_since(Instant::now()));
        assert!(left.is_some_and(|left| (50..=59).contains(&left.as_secs())));
        assert_eq!(stop_at(None, &due_in(60_000)), Ok(None));
        assert_eq!(stop_at(margin, &Invocation::default()), Ok(None));
        assert!(stop_at(margin, &due_in(900)).is_err());
    }
}
