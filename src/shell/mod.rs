//! Keeps the bash coprocess: start, invoke, settle, replace.
//!
//! bash is started once and sources the handler's file once. An invocation is two lines on its
//! script (see `protocol.rs`): bash calls the function, and reports. No process is started for it.
//! Whatever a handler does to the shell is either put back in [`Shell::settle`] or costs a new
//! shell there, never an invocation. Neighbours: `process.rs` starts and kills, `channel.rs` talks
//! and waits, `settle.rs` puts in order what `state.rs` and `leftovers.rs` know of, `logs.rs`
//! carries stderr, `failure.rs` puts failures into words.

mod channel;
mod failure;
mod leftovers;
mod logs;
mod process;
pub mod protocol;
mod settle;
mod state;

use std::io;

use memchr::memchr;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::handler::Handler;
use crate::invocation::{Invocation, Outcome};
use channel::{Channel, Told};
use leftovers::Watch;
use logs::Logs;
use process::Process;
use protocol::{Context, Ended, LastWords, Loaded, Report, Separator};
use state::State;

/// A live bash with a handler loaded.
#[derive(Debug)]
pub struct Shell<'a> {
    config: &'a Config,
    handler: &'a Handler,
    channel: Channel,
    logs: Logs,
    /// bash's version, major and minor.
    version: (u32, u32),
    /// What the shell was like when the file was sourced; `None` until the first invocation, which
    /// reads it, so that the init need not wait for it.
    state: Option<State>,
    /// What /proc shows of bash; `None` where it shows nothing.
    watch: Option<Watch>,
    /// What the variables that seldom change hold in bash; `None` if that is not known.
    context: Option<Context>,
    /// The shell has ended, or cannot be used again.
    is_damaged: bool,
    /// Processes that were told of already.
    known_leftovers: Vec<Pid>,
}

impl<'a> Shell<'a> {
    /// Starts bash; it loads the handler meanwhile, until [`Starting::finish`] waits for it.
    ///
    /// # Errors
    /// [`Error::StartShell`] when bash cannot be started.
    pub fn start(config: &'a Config, handler: &'a Handler) -> Result<Starting<'a>> {
        let start = || -> io::Result<Starting<'a>> {
            let mut process = Process::start(&config.bash)?;
            let stderr = process.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
            let logs = Logs::start(stderr, config.log);
            let mut channel = Channel::open(process)?;
            let (mark, state_mark) = (channel.new_mark(), channel.new_mark());
            let lines = protocol::start_lines(
                &std::env::args()
                    .next()
                    .unwrap_or_else(|| "bootstrap".to_owned()),
                &handler.file.to_string_lossy(),
                &handler.function,
                &config.shell_options,
                &mark,
                &state_mark,
            );
            // bash may have ended by now, for a reason that is told when it is waited for.
            let _ = channel.write_lines(&lines);
            channel.expect_state(state_mark);
            let shell = Shell {
                config,
                handler,
                channel,
                logs,
                version: (0, 0),
                state: None,
                watch: None,
                context: None,
                is_damaged: false,
                known_leftovers: Vec::new(),
            };
            Ok(Starting { shell, mark })
        };
        start().map_err(|error| Error::start_shell(&config.bash, &error))
    }

    /// Runs one invocation to its end. The response is drained, and so is the log.
    ///
    /// # Errors
    /// [`Error::StartShell`] or [`Error::LoadHandler`] when the shell has to be replaced before the
    /// handler can run, and cannot be.
    pub fn invoke(&mut self, invocation: &Invocation) -> Result<Outcome> {
        if (!self.channel.is_owed_state() || self.put_back())
            && let Some(outcome) = self.try_invoke(invocation)
        {
            return Ok(outcome);
        }
        // The handler was not called, so that it can be called now.
        self.replace()?;
        let outcome = self.try_invoke(invocation);
        Ok(outcome.unwrap_or_else(|| {
            let function = &self.handler.function;
            Outcome::Failure(failure::of_loss(function, &self.logs.tail()))
        }))
    }

    /// `None`: bash did not take the invocation, and the handler was not called.
    fn try_invoke(&mut self, invocation: &Invocation) -> Option<Outcome> {
        self.logs
            .begin(&invocation.request_id, invocation.tenant_id.as_deref());
        let separator = self.separator_for(&invocation.event);
        let with_context = !self
            .context
            .as_ref()
            .is_some_and(|known| known.fits(invocation));
        if with_context {
            self.context = Some(Context::of(invocation));
        }
        let context = self.context.as_ref().filter(|_| with_context);
        let arguments = protocol::arguments(invocation, context, separator);
        self.channel.put(&arguments, &invocation.event).ok()?;
        let mark = self.channel.new_mark();
        let lines = protocol::invocation_lines(invocation, with_context, separator, &mark);
        let sent = self.channel.write_lines(&lines);

        let mut response = Vec::new();
        let mut told = self.channel.wait_for_report(&mark, &mut response);
        if !matches!(told, Told::Report(_)) {
            self.is_damaged = true;
            if sent.is_err() || !self.channel.has_begun() {
                return None;
            }
        }
        // A variable that is readonly by now kept the driver from calling the handler.
        if matches!(&told, Told::Report(report) if report.ended == Ended::NotCalled) {
            return None;
        }
        if let Told::Report(report) = &told
            && report.has_exit_trap
        {
            told = self.run_exit_trap(report.clone(), &mut response);
        }
        self.logs.drain();
        Some(self.outcome(told, response))
    }

    fn separator_for(&self, event: &[u8]) -> Separator {
        if self.version < (5, 2) && memchr(b'\n', event).is_none() {
            Separator::Newline
        } else {
            Separator::Nul
        }
    }

    /// An EXIT trap that the handler set runs at the end of its invocation, as it would at the
    /// end of the tutorial's subshell; once, even if it sets another one.
    fn run_exit_trap(&mut self, report: Report, response: &mut Vec<u8>) -> Told {
        let mark = self.channel.new_mark();
        // If bash has ended the wait tells.
        let _ = self
            .channel
            .write_lines(&protocol::exit_trap_lines(report.status, &mark));
        match self.channel.wait_for_report(&mark, response) {
            // The trap went through: the handler's own end counts.
            Told::Report(after) if after.ended == Ended::Return => Told::Report(report),
            told => {
                self.is_damaged = !matches!(told, Told::Report(_));
                told
            }
        }
    }

    fn outcome(&self, told: Told, response: Vec<u8>) -> Outcome {
        let function = &self.handler.function;
        match told {
            Told::Report(report) | Told::LastReport(report) => {
                if report.status == 0 && report.ended != Ended::NotCalled {
                    return Outcome::Response(self.trim(response));
                }
                Outcome::Failure(failure::of_report(function, &report, &self.logs.tail()))
            }
            Told::Ended(WaitStatus::Exited(_, 0)) => Outcome::Response(self.trim(response)),
            Told::Ended(status) => {
                let words = self.channel.last_words().unwrap_or_default();
                Outcome::Failure(failure::of_end(function, status, words, &self.logs.tail()))
            }
            Told::Lost => Outcome::Failure(failure::of_loss(function, &self.logs.tail())),
        }
    }

    fn trim(&self, mut response: Vec<u8>) -> Vec<u8> {
        if !self.config.keep_trailing_newlines {
            response.truncate(protocol::without_newlines_at_end(&response).len());
        }
        response
    }
}

/// A shell that loads its handler.
#[derive(Debug)]
pub struct Starting<'a> {
    shell: Shell<'a>,
    mark: String,
}

impl<'a> Starting<'a> {
    /// Waits until the file is sourced, without a limit: the platform has one of its own.
    ///
    /// # Errors
    /// [`Error::LoadHandler`] with what was the matter with the handler.
    pub fn finish(self) -> Result<Shell<'a>> {
        let Self { mut shell, mark } = self;
        let Some(loaded) = shell.channel.wait_until_loaded(&mark) else {
            return Err(shell.load_error());
        };
        let syntax_error = || failure::syntax_error(shell.config, shell.handler);
        match loaded {
            Loaded::Ready { status, version } => {
                // Without `set -e` bash goes on after a syntax error.
                if status != 0
                    && let Some(error) = syntax_error()
                {
                    return Err(error);
                }
                shell.version = version;
            }
            Loaded::Undefined(functions) => {
                return Err(
                    syntax_error().unwrap_or_else(|| failure::undefined(shell.handler, &functions))
                );
            }
        }
        shell.watch = Watch::start(shell.channel.process.pid());
        shell.known_leftovers = shell
            .watch
            .as_ref()
            .map(Watch::processes)
            .unwrap_or_default();
        shell.logs.drain();
        Ok(shell)
    }
}

impl Shell<'_> {
    fn load_error(&mut self) -> Error {
        let status = self.channel.wait_for_exit();
        self.logs.drain();
        // Killed, or another program by now: then it had no last words.
        let silent = LastWords {
            kind: "exited".to_owned(),
            ..LastWords::default()
        };
        let words = self.channel.last_words();
        let words = words.or_else(|| self.channel.has_started().then_some(silent));
        failure::of_load(self.config, self.handler, status, words, &self.logs.tail())
    }
}
