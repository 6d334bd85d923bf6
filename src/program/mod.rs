//! A process for each event: a whole script, or an executable.
//!
//! The event is its standard input, its standard output is the response, its exit status decides.
//! An executable is started when its event is there. A script's bash was started before
//! (`script.rs`), so that nobody waits for that. Nothing lives on from one event to the next.

mod script;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use nix::sys::wait::WaitStatus;

use crate::child::leftovers::Leftovers;
use crate::child::{
    Child, KEPT_BYTES, RESPONSE_AFTER, Surroundings, arguments, memory_file, processes,
    response_pipe,
};
use crate::error::{Error, Result};
use crate::failure::{failure, of_overrun, status_text};
use crate::handler::Kind;
use crate::invocation::{Failure, Frame, Invocation, Outcome};
use crate::response::Response;
use crate::sys;
use crate::wait::{Limit, Overrun, ready};
use script::Script;

/// How long an answer waits for processes that hold its pipe when the handler has ended.
const OTHERS_LIMIT: Duration = Duration::from_millis(100);

/// A handler that is a process for each event.
#[derive(Debug)]
pub struct Program<'a> {
    around: Surroundings<'a>,
    environment: Vec<CString>,
    /// How its bash is started ahead of time; `None` for an executable.
    script: Option<Script<'a>>,
    leftovers: Leftovers<'a>,
    /// The last response's pipe, which a leftover may hold.
    response: Option<File>,
}

/// One that runs.
struct Running {
    child: Child,
    response: File,
    /// Where bash tells in which command the script ended.
    words: Option<File>,
}

/// In which command a script ended, and where.
#[derive(Debug, Default)]
struct Words {
    command: Option<String>,
    stack: Vec<Frame>,
}

impl<'a> Program<'a> {
    /// Starts a script's first bash, and checks the script's syntax; an executable needs nothing.
    ///
    /// # Errors
    /// [`Error::LoadHandler`] for a script that bash does not take, [`Error::StartShell`] without
    /// a bash, [`Error::Stopped`].
    pub fn start(around: Surroundings<'a>) -> Result<Self> {
        // What was found as a file there can be entered.
        let _ = std::env::set_current_dir(&around.config.task_root);
        let script = match &around.handler.kind {
            Kind::Script(interpreter) => Some(Script::start(around, interpreter)?),
            Kind::Program | Kind::Function(_) => None,
        };
        Ok(Self {
            around,
            environment: around.environment(),
            script,
            leftovers: Leftovers::watch(around, None),
            response: None,
        })
    }

    /// Runs one invocation to its end, or to that of `limit`. The response is drained, and so is
    /// the log.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Outcome> {
        self.around.logs.begin(invocation.origin());
        let started = match &mut self.script {
            Some(script) => script.run(invocation),
            None => self.execute(invocation).map_err(|cause| cause.to_string()),
        };
        let mut running = match started {
            Ok(running) => running,
            Err(_) if self.around.signals.is_stop_requested() => return Err(Error::Stopped),
            Err(cause) => return Ok(Outcome::Failure(self.start_failure(&cause))),
        };
        let ended = running.wait(response, limit);
        let outcome = match ended {
            Ok(WaitStatus::Exited(_, 0)) => {
                self.around.logs.drain();
                response.succeed(limit, |output| self.around.config.trim(output))
            }
            Ok(status) => {
                self.around.logs.drain();
                Outcome::Failure(self.failure(status, running.words()))
            }
            Err(overrun) => Outcome::Failure(self.stop(&mut running, overrun)),
        };
        self.response = Some(running.response);
        Ok(outcome)
    }

    /// Parts from what the last process left running, and starts the next script's bash. Waits for
    /// that: an event that comes now would wait for it too.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn settle(&mut self, invocation: &Invocation) -> Result<()> {
        if invocation.event.len() > KEPT_BYTES {
            sys::return_free_memory();
        }
        let response = self.response.take();
        let left = self.leftovers.part(invocation, |_| false);
        if let Some(response) = response
            && processes::hold(left, &response, None)
        {
            self.around.logs.carry_leftover(response.into());
        }
        match &mut self.script {
            Some(script) if self.around.config.keeps_spare => script.prepare(),
            _ => Ok(()),
        }
    }

    /// Starts the bash that waits for a script's event anew.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn renew(&mut self) -> Result<()> {
        match &mut self.script {
            Some(script) => {
                script.forget();
                script.prepare()
            }
            None => Ok(()),
        }
    }

    fn execute(&self, invocation: &Invocation) -> io::Result<Running> {
        let mut event = memory_file(c"event")?;
        arguments::put(&mut event, &[&invocation.event])?;
        let (response, response_in) = response_pipe()?;
        let log = self.around.logs.pipe();
        let descriptors = [(event.as_fd(), 0), (response_in.as_fd(), 1), (log, 2)];
        let mut environment = self.environment.clone();
        let variables = invocation.variables();
        environment.extend(
            variables.filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok()),
        );
        let words = [CString::new(
            self.around.handler.file.as_os_str().as_bytes(),
        )?];
        Ok(Running {
            child: Child::start(&words, &environment, &descriptors)?,
            response,
            words: None,
        })
    }

    fn start_failure(&self, cause: &str) -> Failure {
        Failure {
            error_type: "Function.HandlerNotStarted",
            message: format!("cannot start {}: {cause}", self.around.handler.label()),
            stack: Vec::new(),
            quoted_bytes: 0,
        }
    }

    fn failure(&self, status: WaitStatus, words: Words) -> Failure {
        let label = self.around.handler.label();
        let after = match &words.command {
            Some(command) => format!(" after `{command}`"),
            None => String::new(),
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
        failure(error_type, &what, words.stack, &self.around.logs.tail())
    }

    /// Ends the process wherever it is, with all that it started.
    fn stop(&mut self, running: &mut Running, overrun: Overrun) -> Failure {
        running.ask_for_words();
        let (config, child) = (self.around.config, running.child.pid());
        let find = || self.leftovers.of_handler(Some(child));
        let mut names: Vec<_> = find().into_iter().map(|(_, program)| program).collect();
        names.dedup();
        processes::stop(find, config.stop_grace(overrun));
        running.child.kill();
        self.around.logs.drain();
        let words = running.words();
        of_overrun(
            self.around.handler,
            overrun,
            config.deadline_margin,
            words.command.as_deref(),
            words.stack,
            &names,
            &self.around.logs.tail(),
        )
    }
}

impl Running {
    /// Waits for its end, and takes what it writes if that is more than its pipe holds, or takes
    /// long. What a process that it leaves running writes later is not of the response.
    fn wait(
        &mut self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> std::result::Result<WaitStatus, Overrun> {
        let mut since = Instant::now();
        let (mut alone, mut is_closed) = (!response.is_streamed(), false);
        loop {
            let takes_output = !alone && !is_closed;
            let sources = [
                Some(self.child.ended()),
                takes_output.then(|| self.response.as_fd()),
            ];
            let look = alone.then(|| RESPONSE_AFTER.saturating_sub(since.elapsed()));
            let [has_ended, has_output] = limit.ready(sources, look)?;
            if has_ended && let Some(status) = self.child.status() {
                self.take_rest(response, limit)?;
                return Ok(status);
            }
            if has_output {
                // A pipe that is ready and empty has no writer any more.
                is_closed = response.take(&self.response, limit, <[u8]>::len)? == 0;
                since = Instant::now();
            }
            // Let more of it come before it is read, unless it is waited for.
            alone = has_output && !response.is_streamed();
        }
    }

    /// Takes what is left of the response, and waits a little while others still can write to it:
    /// `exec > >(tee log)` leaves a process that is just about to.
    fn take_rest(
        &self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> std::result::Result<(), Overrun> {
        let until = Instant::now() + OTHERS_LIMIT;
        loop {
            let taken = response.take(&self.response, limit, <[u8]>::len)?;
            let left = until.saturating_duration_since(Instant::now());
            let is_ready = ready([Some(self.response.as_fd())], Some(left)) == [true];
            // Nobody can write to a pipe that is ready and empty; one that is never empty is left.
            if !is_ready || left.is_zero() || (taken == 0 && sys::bytes_ready(&self.response) == 0)
            {
                return Ok(());
            }
        }
    }

    /// Makes a script that is about to be stopped tell where it is.
    fn ask_for_words(&mut self) {
        if let Some(words) = &mut self.words {
            // Without them the answer is less precise.
            let _ = arguments::put(words, &[script::ASKED]);
        }
    }

    fn words(&self) -> Words {
        self.words.as_ref().map(script::words).unwrap_or_default()
    }
}
