//! A process for each event: a whole script, or an executable.
//!
//! The event is its standard input, its standard output is the response, its exit status decides.
//! An executable is started when its event is there. A script's bash was started before
//! (`script.rs`), so that nobody waits for that. Nothing lives on from one event to the next.

mod running;
mod script;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::sys::wait::WaitStatus;

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
use coshell_process::{Child, memory_file, processes, response_pipe};
use running::{EventProcess, ExitTrace};
use script::Script;

/// What Linux allows for one argument, with the NUL at its end.
const MAX_ARGUMENT_BYTES: usize = 128 * 1024;
/// How long an answer waits for processes that hold its pipe when the handler has ended, and are no filters:
/// many programs leave a child that has something left to say.
const JOB_WAIT: Duration = Duration::from_millis(100);

/// A handler that is a process for each event.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    cx: LaneContext<'a>,
    environment: Vec<CString>,
    /// How its bash is started ahead of time; `None` for an executable.
    script: Option<Script<'a>>,
    leftovers: Leftovers<'a>,
    /// The last response's pipe, if a process that was left holds it.
    shared_response: Option<File>,
}

impl<'a> Program<'a> {
    /// Starts a script's first bash, and checks the script's syntax; an executable needs nothing.
    ///
    /// # Errors
    /// [`Error::LoadHandler`] for a script that bash does not take, [`Error::StartShell`] without
    /// a bash, [`Error::Stopped`].
    pub(crate) fn start(cx: LaneContext<'a>) -> Result<Self> {
        // What was found as a file there can be entered.
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

    /// Runs one invocation to its end, or to that of `limit`. The response is drained, and so is
    /// the log.
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
            None => (self.execute(invocation)).map_err(|cause| why_not_started(&cause, invocation)),
        };
        let mut running = match started {
            Ok(running) => running,
            Err(_) if self.cx.signals.is_stop_requested() => return Err(Error::Stopped),
            Err(cause) => return Ok(Outcome::Failure(self.start_failure(&cause))),
        };
        let ended = running.wait(response, limit).and_then(|status| {
            let is_shared = take_late_output(
                EndedHandler {
                    response: &running.response,
                    event: &running.event,
                    job_wait: JOB_WAIT,
                    is_runner_exiting: &|| false,
                },
                limit,
                || self.leftovers.new_processes(),
                |limit| running.take_more(response, limit),
            )?;
            Ok((status, is_shared))
        });
        let is_shared = !matches!(ended, Ok((_, false)));
        let ended = ended.map(|(status, _)| status);
        let outcome = match ended {
            Ok(WaitStatus::Exited(_, 0)) => {
                self.cx.logs.drain();
                response.finish(limit, self.cx.config.keep_trailing_newlines)
            }
            Ok(status) => {
                self.cx.logs.drain();
                Outcome::Failure(self.failure(status, running.exit_trace()))
            }
            Err(overrun) => Outcome::Failure(self.stop(&mut running, overrun)),
        };
        self.shared_response = is_shared.then_some(running.response);
        Ok(outcome)
    }

    /// Parts from what the last process left running, and starts the next script's bash. Waits for
    /// that: an event that comes now would wait for it too.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub(crate) fn clean_up(&mut self, invocation: &Invocation) -> Result<()> {
        if invocation.event.len() > LARGE_EVENT_BYTES {
            sys::return_free_memory();
        }
        let left = self.leftovers.log_or_kill(invocation, |_| false);
        let logs = self.cx.logs;
        if let Some(response) = self.shared_response.take() {
            logs.forward_leftover(response);
        }
        // Without another pipe its lines are taken for those of the next invocation.
        if processes::hold(left, &*logs.pipe(), None) && logs.open_new_pipe().is_err() {
            return Err(Error::start_shell(
                &self.cx.config.bash,
                &io::ErrorKind::Other.into(),
            ));
        }
        logs.drain();
        match &mut self.script {
            Some(script) if self.cx.config.keeps_standby => script.prepare(),
            _ => Ok(()),
        }
    }

    /// Starts the bash that waits for a script's event anew.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub(crate) fn renew(&mut self) -> Result<()> {
        match &mut self.script {
            Some(script) => {
                script.forget();
                script.prepare()
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
        Failure {
            error_type: "Function.HandlerNotStarted",
            message: format!("cannot start {}: {cause}", self.cx.handler.label()),
            stack: Vec::new(),
            quoted_bytes: 0,
        }
    }

    fn failure(&self, status: WaitStatus, trace: ExitTrace) -> Failure {
        let label = self.cx.handler.label();
        let command = trace.command.as_deref();
        let part = describe_failed_part(&trace.parts, trace.stack.first(), command);
        let after = match (part, command) {
            (Some(part), _) => format!(" after {}", part.trim_end_matches(',')),
            (None, Some(command)) => format!(" after `{command}`"),
            (None, None) => String::new(),
        };
        let (error_type, what) = match status {
            WaitStatus::Signaled(_, signal, _) => (
                "Function.HandlerKilled",
                format!("{label} killed by {signal}"),
            ),
            WaitStatus::Exited(_, status) => (
                "Function.HandlerExited",
                format!("{label} exited with {}{after}", status_text(status)),
            ),
            _ => ("Function.HandlerExited", format!("{label} ended{after}")),
        };
        failure_with_log(error_type, &what, trace.stack, &self.cx.logs.tail())
    }

    /// Ends the process wherever it is, with all that it started.
    fn stop(&mut self, running: &mut EventProcess, overrun: Overrun) -> Failure {
        running.request_exit_trace();
        let (config, child) = (self.cx.config, running.child.pid());
        let find = || self.leftovers.handler_processes(Some(child));
        let names = processes::names(find());
        processes::stop_handler(find, config.stop_grace(overrun), Some(child));
        running.child.kill();
        self.cx.logs.drain();
        let trace = running.exit_trace();
        limit_exceeded(
            self.cx.handler,
            overrun,
            config.deadline_margin,
            trace.command.as_deref(),
            trace.stack,
            &names,
            &self.cx.logs.tail(),
        )
    }
}

/// Linux allows an argument less than an event may have, and says no more than that something is too long.
fn why_not_started(cause: &io::Error, invocation: &Invocation) -> String {
    let bytes = invocation.argument().len();
    if cause.raw_os_error() == Some(nix::errno::Errno::E2BIG as i32) && bytes >= MAX_ARGUMENT_BYTES
    {
        return format!(
            "{cause}: an argument of a program has at most {} bytes, and the event has {bytes}; \
             give it on standard input: COSHELL_EVENT=stdin",
            MAX_ARGUMENT_BYTES - 1
        );
    }
    cause.to_string()
}
