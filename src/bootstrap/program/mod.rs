//! Handlers that run as a process for each event: whole scripts and executables.
//!
//! The event is the process's standard input, its standard output is the response, and its exit status decides whether the
//! invocation succeeded. An executable starts when its event arrives. For a script, a standby bash has been started before
//! (`script.rs`), so that no event waits for it. No state is kept from one event to the next.

mod event_process;
mod script;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::child::late_output::{EndedHandler, take_late_output};
use crate::child::leftovers::Leftovers;
use crate::child::{LARGE_EVENT_BYTES, LaneContext, arguments};
use crate::error::{Error, Result};
use crate::failure::{describe_failed_part, failure_with_log, limit_exceeded, status_text};
use crate::invocation::{Invocation, Outcome};
use crate::response::Response;
use crate::wait::{Limit, Overrun};
use coshell_handler::Failure;
use coshell_handler::Kind;
use coshell_process::sys;
use coshell_process::{Child, ExitStatus, memory_file, processes, response_pipe};
use event_process::{EventProcess, ExitTrace};
use script::Script;

/// The longest argument that Linux allows (`MAX_ARG_STRLEN`), with the NUL at its end.
const MAX_ARGUMENT_BYTES: usize = 128 * 1024;
/// How long a response waits for background jobs that hold its pipe: many programs leave a child that still writes something.
const JOB_WAIT: Duration = Duration::from_millis(100);

/// A handler that runs as a process for each event.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    cx: LaneContext<'a>,
    environment: Vec<CString>,
    /// `None` for an executable.
    script: Option<Script<'a>>,
    leftovers: Leftovers<'a>,
    /// The pipe of the last response, if a leftover holds it.
    shared_response: Option<File>,
}

impl<'a> Program<'a> {
    /// Prepares the handler. For a script that means to check its syntax and to start the first bash.
    ///
    /// # Errors
    /// [`Error::LoadHandler`] if bash cannot parse the script, [`Error::StartShell`] if bash does not start, and
    /// [`Error::Stopped`].
    pub(crate) fn start(cx: LaneContext<'a>) -> Result<Self> {
        // The handler was found there, so this does not fail.
        let _ = std::env::set_current_dir(&cx.config.task_root);
        let script = match &cx.handler.kind {
            Kind::Script(interpreter) => Some(Script::start(cx, interpreter)?),
            Kind::Program | Kind::Function(_) => None,
        };
        Ok(Self {
            cx,
            environment: cx.environment(),
            script,
            leftovers: Leftovers::watch(cx, None),
            shared_response: None,
        })
    }

    /// Runs one invocation until it ends, or until `limit`. Then the response and the log are drained.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub(crate) fn invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Outcome> {
        self.cx.logs.begin_invocation(invocation.origin());
        let started = match &mut self.script {
            Some(script) => script.run(invocation),
            None => (self.execute(invocation)).map_err(|cause| start_error(&cause, invocation)),
        };
        let mut process = match started {
            Ok(process) => process,
            Err(_) if self.cx.signals.is_stop_requested() => return Err(Error::Stopped),
            Err(cause) => return Ok(Outcome::Failure(self.start_failure(&cause))),
        };
        let end = process.wait(response, limit).and_then(|status| {
            let is_shared = take_late_output(
                EndedHandler {
                    response: &process.response,
                    event: &process.event,
                    job_wait: JOB_WAIT,
                    is_runner_exiting: &|| false,
                },
                limit,
                || self.leftovers.new_processes(),
                |limit| process.read_response(response, limit).map(drop),
            )?;
            Ok((status, is_shared))
        });
        let is_shared = !matches!(end, Ok((_, false)));
        let outcome = match end.map(|(status, _)| status) {
            Ok(ExitStatus::Exited(0)) => {
                self.cx.logs.drain();
                response.finish(limit, self.cx.config.keep_trailing_newlines)
            }
            Ok(status) => {
                self.cx.logs.drain();
                Outcome::Failure(self.failure(status, process.exit_trace()))
            }
            Err(overrun) => Outcome::Failure(self.stop(&mut process, overrun)),
        };
        self.shared_response = is_shared.then_some(process.response);
        Ok(outcome)
    }

    /// Separates the next invocation from what the last one left running, and starts the standby bash of a script. Waits for
    /// the bash to get ready: an event that arrives now would wait for it too.
    ///
    /// # Errors
    /// [`Error::StartShell`] if there is no descriptor left for a new log pipe, and [`Error::Stopped`].
    pub(crate) fn clean_up(&mut self, invocation: &Invocation) -> Result<()> {
        if invocation.event.len() > LARGE_EVENT_BYTES {
            sys::return_free_memory();
        }
        let left = self.leftovers.log_or_kill(invocation, |_| false);
        let logs = self.cx.logs;
        if let Some(response) = self.shared_response.take() {
            logs.forward_leftover(response);
        }
        // Without a new pipe, leftover output would be logged as that of the next invocation.
        if processes::any_has_open(left, &*logs.pipe(), None) && logs.open_new_pipe().is_err() {
            return Err(Error::start_shell(
                &self.cx.config.bash,
                &io::ErrorKind::Other.into(),
            ));
        }
        logs.drain();
        match &mut self.script {
            Some(script) if self.cx.config.keeps_standby => script.start_standby(),
            _ => Ok(()),
        }
    }

    /// Replaces the standby bash of a script.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub(crate) fn restart_standby(&mut self) -> Result<()> {
        match &mut self.script {
            Some(script) => {
                script.stop_standby();
                script.start_standby()
            }
            None => Ok(()),
        }
    }

    fn execute(&self, invocation: &Invocation) -> io::Result<EventProcess> {
        let mut event = memory_file(c"event")?;
        arguments::write_at_start(&mut event, &[invocation.stdin_bytes()])?;
        let (response, response_in) = response_pipe()?;
        let log = self.cx.logs.pipe();
        let descriptors = [
            (event.as_fd(), 0),
            (response_in.as_fd(), 1),
            (log.as_fd(), 2),
        ];
        let mut environment = self.environment.clone();
        let variables = invocation.variables();
        environment.extend(
            variables.filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok()),
        );
        let handler = self.cx.handler;
        let mut argv = vec![CString::new(handler.file.as_os_str().as_bytes())?];
        for argument in &handler.arguments {
            argv.push(CString::new(argument.as_bytes())?);
        }
        if invocation.delivery.is_argument() {
            argv.push(CString::new(&*invocation.argument())?);
        }
        Ok(EventProcess {
            child: Child::start(&argv, &environment, &descriptors)?,
            response,
            event,
            exit_trace: None,
        })
    }

    fn start_failure(&self, cause: &str) -> Failure {
        Failure::new(
            "Function.HandlerNotStarted",
            format!("cannot start {}: {cause}", self.cx.handler.label()),
        )
    }

    fn failure(&self, status: ExitStatus, trace: ExitTrace) -> Failure {
        if let (ExitStatus::Exited(status), Some(calls)) = (status, self.cx.calls)
            && let Some(error) = calls.own_error(status)
        {
            return error.to_failure();
        }
        let label = self.cx.handler.label();
        let command = trace.command.as_deref();
        let part = describe_failed_part(&trace.parts, trace.stack.first(), command);
        let after_command = match (part, command) {
            (Some(part), _) => format!(" after {}", part.trim_end_matches(',')),
            (None, Some(command)) => format!(" after `{command}`"),
            (None, None) => String::new(),
        };
        let (error_type, what) = match status {
            ExitStatus::Killed(signal) => (
                "Function.HandlerKilled",
                format!("{label} killed by {signal}"),
            ),
            ExitStatus::Exited(status) => (
                "Function.HandlerExited",
                format!("{label} exited with {}{after_command}", status_text(status)),
            ),
        };
        failure_with_log(error_type, &what, trace.stack, &self.cx.logs.tail())
    }

    /// Stops the process and everything that it started.
    fn stop(&mut self, process: &mut EventProcess, overrun: Overrun) -> Failure {
        process.request_exit_trace();
        let (config, child) = (self.cx.config, process.child.pid());
        let find_processes = || self.leftovers.handler_processes(Some(child));
        let names = processes::program_names(find_processes());
        processes::stop_with_exit_trace(find_processes, config.stop_grace(overrun), Some(child));
        process.child.kill();
        self.cx.logs.drain();
        let trace = process.exit_trace();
        limit_exceeded(
            self.cx.handler.label(),
            overrun,
            config.deadline_margin,
            trace.command.as_deref(),
            trace.stack,
            &names,
            &self.cx.logs.tail(),
        )
    }
}

/// Why the program was not started. For an event that is too long for an argument, the system's message says only that the
/// argument list is too long.
fn start_error(cause: &io::Error, invocation: &Invocation) -> String {
    let bytes = invocation.argument().len();
    if cause.raw_os_error() == Some(nix::errno::Errno::E2BIG as i32) && bytes >= MAX_ARGUMENT_BYTES
    {
        return format!(
            "{cause}: an argument can have at most {} bytes, and the event has {bytes}; \
             to pass it on standard input, set COSHELL_EVENT=stdin",
            MAX_ARGUMENT_BYTES - 1
        );
    }
    cause.to_string()
}
