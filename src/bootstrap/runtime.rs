//! The loop of `bootstrap`: init once, and then for each event: get it, run the handler, post the answer, clean up.
//!
//! The order makes it safe. The response and the log are drained before the answer is posted, and the shell is clean before the
//! next event is requested, because the sandbox may be frozen from the request on. Only this file, `lanes.rs` and `snapshot.rs`
//! know both the Runtime API and what runs the handler.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::calls::Calls;
use crate::child::LaneContext;
use crate::child::logs::HandlerLog;
use crate::config::{Config, STOP_GRACE};
use crate::error::{Error, Result};
use crate::failure::deadline_too_close;
use crate::invocation::{Invocation, Outcome};
use crate::log::Level;
use crate::response::{Response, ResponseSink};
use crate::runner::{self, Runner};
use crate::runtime_api::{Client, Unconfirmed};
use crate::snapshot::snapshot_and_restore;
use crate::wait::{Limit, Signals};
use coshell_handler::{Failure, Handler};
use coshell_process::processes;

/// Loads the handler and serves invocations until we have to shut down, or cannot go on.
///
/// # Errors
/// What ended the loop. An init error has been posted to the Runtime API already. [`Error::Stopped`] if we had to shut down
/// while the handler was loading.
pub(crate) fn run(config: &Config, signals: &Arc<Signals>) -> Result<()> {
    let prepared = match Prepared::new(config, 1) {
        Ok(prepared) => prepared,
        Err(error) => {
            let mut client = Client::open(&config.runtime_api, signals);
            return Err(post_init_error(config, &mut client, error));
        }
    };
    let cx = LaneContext {
        lane: None,
        ..prepared.lane(config, 0, signals)
    };
    let (mut client, loaded) = connect_and_load(cx);
    let mut runner = match loaded {
        Ok(runner) => runner,
        Err(Error::Stopped) => return Err(Error::Stopped),
        Err(error) => return Err(post_init_error(config, &mut client, error)),
    };
    if runner.has_shutdown() {
        register_extension(config, &mut client);
    }
    let restored = match snapshot_and_restore(cx, &mut client, &mut *runner) {
        Err(error @ (Error::BeforeSnapshotHook(_) | Error::AfterRestoreHook(_))) => {
            return Err(post_init_error(config, &mut client, error));
        }
        restored => restored,
    };
    let served = restored.and_then(|()| serve(cx, &mut client, &mut *runner));
    runner::shut_down(cx, &mut *runner, served)?;
    processes::stop(processes::our_descendants, STOP_GRACE);
    cx.logs.drain();
    Ok(())
}

/// What all lanes need, and what each of them needs for itself, before any of them is started.
pub(crate) struct Prepared {
    handler: Handler,
    /// Of each lane: its log, and what answers its calls.
    lanes: Vec<(HandlerLog, Option<Calls>)>,
}

impl Prepared {
    /// Checks the settings, finds the handler, and opens the logs. [`runner::load`] starts the threads.
    ///
    /// # Errors
    /// [`Error::ReadConfig`], [`Error::LoadHandler`]; [`Error::StartShell`] if there is no descriptor left.
    pub(crate) fn new(config: &Config, lanes: u32) -> Result<Self> {
        let handler = find_handler(config)?;
        let open = |_| -> std::io::Result<_> {
            let calls = Calls::open_for(&handler, &config.commands)?;
            Ok((HandlerLog::open(config.log)?, calls))
        };
        let lanes = (0..lanes).map(open).collect::<std::io::Result<_>>();
        let lanes = lanes.map_err(|error| Error::start_shell(&config.bash, &error))?;
        Ok(Self { handler, lanes })
    }

    /// What lane `number` works with.
    pub(crate) fn lane<'a>(
        &'a self,
        config: &'a Config,
        number: u32,
        signals: &'a Arc<Signals>,
    ) -> LaneContext<'a> {
        let (logs, calls) = &self.lanes[number as usize];
        LaneContext {
            config,
            handler: &self.handler,
            logs,
            signals,
            calls: calls.as_ref(),
            lane: Some(number),
        }
    }

    pub(crate) fn drain_logs(&self) {
        for (logs, _) in &self.lanes {
            logs.drain();
        }
    }
}

fn find_handler(config: &Config) -> Result<Handler> {
    for text in config.ignored_platform_settings() {
        config.log.warn(format_args!("{text}"));
    }
    if let Some((variable, cause)) = config.invalid.clone() {
        return Err(Error::ReadConfig { variable, cause });
    }
    Ok(Handler::find(config.handler.as_deref(), &config.task_root)?)
}

/// Loads the handler, and connects to the Runtime API meanwhile.
pub(crate) fn connect_and_load(cx: LaneContext) -> (Client, Result<Box<dyn Runner + '_>>) {
    let (loaded, client) = runner::load(cx, || Client::open(&cx.config.runtime_api, cx.signals));
    (client, loaded)
}

/// Lambda sends SIGTERM only to sandboxes with a registered extension.
pub(crate) fn register_extension(config: &Config, client: &mut Client) {
    if let Err(error) = client.register_extension() {
        config.log.warn(format_args!("{error}"));
    }
}

/// Posts why the init, or the restore, failed, and returns the error. If posting fails too that is only logged.
pub(crate) fn post_init_error(config: &Config, client: &mut Client, error: Error) -> Error {
    let (answer, posted) = match &error {
        Error::AfterRestoreHook(failure) => ("restore error", client.post_restore_error(failure)),
        error => ("init error", client.post_init_error(&error.to_failure())),
    };
    match posted {
        Ok(outcome) => {
            if let Some(text) = outcome.describe_failure(answer) {
                config.log.error(format_args!("{text}"));
            }
        }
        Err(post_error) => config.log.error(format_args!("{post_error}")),
    }
    error
}

/// Serves invocations until we have to shut down.
///
/// # Errors
/// What the runner, or the client of the Runtime API, cannot go on after.
pub(crate) fn serve(cx: LaneContext, client: &mut Client, runner: &mut dyn Runner) -> Result<()> {
    let mut unconfirmed = Unconfirmed::default();
    let delivery = cx.delivery();
    while let Some(mut invocation) = client.next_invocation()? {
        invocation.delivery = delivery;
        let end = stop_time(cx.config.deadline_margin, &invocation);
        let mut answer = client.answer(&invocation, end.ok().flatten());
        let outcome = match unconfirmed.take(&invocation) {
            Some(outcome) => outcome,
            None => match invoke(cx, runner, &invocation, answer.sink()) {
                Ok(outcome) => outcome,
                // Other lanes keep the sandbox alive, so that Lambda will not report this failure for us.
                Err(error) if cx.lane.is_some() => Outcome::Failure(error.to_failure()),
                Err(error) => return Err(error),
            },
        };
        if let Outcome::Failure(failure) = &outcome {
            log_failure(cx.config, &invocation, failure);
        }
        let closed = answer.close(outcome, || runner.begin_clean_up())?;
        if let Some(calls) = cx.calls {
            calls.end();
        }
        if let Some(text) = &closed.failure {
            let log = cx.config.log;
            log.error_for(invocation.origin(), format_args!("{text}"));
        }
        unconfirmed = closed.unconfirmed;
        if cx.signals.is_stop_requested() {
            break;
        }
        runner::clean_up(cx, runner, &invocation)?;
    }
    Ok(())
}

fn invoke(
    cx: LaneContext,
    runner: &mut dyn Runner,
    invocation: &Invocation,
    sink: &mut dyn ResponseSink,
) -> Result<Outcome> {
    let margin = cx.config.deadline_margin;
    let stop_time = match stop_time(margin, invocation) {
        Ok(stop_time) => stop_time,
        Err(left) => {
            let margin = margin.unwrap_or_default();
            let failure = deadline_too_close(cx.handler, margin, left);
            return Ok(Outcome::Failure(failure));
        }
    };
    let mut response = Response::new(invocation, cx.config.response_mode, sink);
    let mut limit = Limit::new(cx.signals, stop_time);
    if let Some(calls) = cx.calls {
        calls.begin(invocation);
    }
    runner.invoke(invocation, &mut response, &mut limit)
}

/// When to stop the handler: `margin` before its deadline. `None` without a margin or a deadline.
///
/// # Errors
/// The time that is left until the deadline, if that is not more than the margin.
fn stop_time(
    margin: Option<Duration>,
    invocation: &Invocation,
) -> std::result::Result<Option<Instant>, Duration> {
    let deadline = invocation.deadline_ms.as_deref();
    let deadline = deadline.and_then(|deadline| deadline.parse().ok());
    let (Some(margin), Some(deadline)) = (margin, deadline.map(Duration::from_millis)) else {
        return Ok(None);
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let left = deadline.saturating_sub(now.unwrap_or_default());
    match left.checked_sub(margin) {
        Some(time) if !time.is_zero() => Ok(Instant::now().checked_add(time)),
        _ => Err(left),
    }
}

fn log_failure(config: &Config, invocation: &Invocation, failure: &Failure) {
    let text = format!("{}: {}", failure.error_type, failure.without_log());
    config
        .log
        .write_failure(Level::Error, invocation.origin(), &text, failure);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation_due_in(milliseconds: u64) -> Invocation {
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
        let time = stop_time(margin, &invocation_due_in(60_000)).ok().flatten();
        let left = time.map(|time| time.saturating_duration_since(Instant::now()));
        assert!(left.is_some_and(|left| (50..=59).contains(&left.as_secs())));
        assert_eq!(stop_time(None, &invocation_due_in(60_000)), Ok(None));
        assert_eq!(stop_time(margin, &Invocation::default()), Ok(None));
        assert!(stop_time(margin, &invocation_due_in(900)).is_err());
    }
}
