//! Keeps the bash coprocess: start, invoke, settle, replace, shut down.
//!
//! bash is started once and sources the handler's file once. An invocation is two lines on its
//! script (see `protocol.rs`): bash calls the function, and reports. No process is started for it,
//! unless `COSHELL_ISOLATION` asks for one. Whatever a handler does to the shell is either put back
//! in [`Shell::settle`] or costs a new shell there, never an invocation. Neighbours: `process.rs`
//! starts bash, `channel.rs` talks and waits, `asked.rs` is what handlers want of their responses,
//! `settle.rs` puts in order what `state.rs` and `descriptors.rs` know of, `hook.rs` runs what belongs to
//! no invocation, `failure.rs` puts failures into words; processes are `child/`.

mod asked;
mod channel;
mod descriptors;
mod failure;
mod hook;
mod marks;
mod process;
pub mod protocol;
mod settle;
mod state;

use std::io;
use std::time::{Duration, Instant};

use nix::sys::wait::WaitStatus;

use crate::child::arguments::{Arguments, Separator};
use crate::child::leftovers::Leftovers;
use crate::child::{Surroundings, processes};
use crate::config::{Isolation, STOP_GRACE};
use crate::error::{Error, Result};
use crate::failure::{find_line, of_overrun, syntax_error, undefined};
use crate::invocation::{Invocation, Outcome};
use crate::log::{Level, Origin};
use crate::response::Response;
use crate::wait::{Limit, Overrun, ready};
use channel::{Channel, Told};
use descriptors::Watch;
use process::Process;
use protocol::{Context, Ended, LastWords, Loaded, Report};
use state::State;

/// How long `lambda_shutdown` may take.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(200);
/// How long a shell whose fork was stopped may take to report that.
const REPORT_LIMIT: Duration = Duration::from_millis(500);

/// A live bash with a handler loaded.
#[derive(Debug)]
pub struct Shell<'a> {
    around: Surroundings<'a>,
    channel: Channel,
    /// bash's version, major and minor.
    version: (u32, u32),
    /// What the shell was like when the file was sourced; `None` until the first invocation, which
    /// reads it, so that the init need not wait for it.
    state: Option<State>,
    /// What /proc shows of bash; `None` where it shows nothing.
    watch: Option<Watch>,
    /// What the variables that seldom change hold in bash; `None` if that is not known.
    context: Option<Context>,
    /// The processes that it left running; `None` until it is loaded.
    leftovers: Option<Leftovers<'a>>,
    /// The shell has ended, or cannot be used again.
    is_damaged: bool,
    /// How many invocations it has served.
    served: u64,
    /// The file defines `lambda_shutdown`.
    has_shutdown: bool,
    /// The next one, up to where the file is sourced.
    spare: Option<Box<Starting<'a>>>,
}

impl Shell<'_> {
    /// Runs one invocation to its end, or to that of `limit`. The response is drained, and so is
    /// the log.
    ///
    /// # Errors
    /// [`Error::StartShell`] or [`Error::LoadHandler`] when the shell has to be replaced before the
    /// handler can run, and cannot be.
    pub fn invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Outcome> {
        if (!self.channel.is_owed_state() || self.put_back())
            && let Some(outcome) = self.try_invoke(invocation, response, limit)
        {
            return Ok(outcome);
        }
        // The handler was not called, so that it can be called now.
        self.replace()?;
        let outcome = self.try_invoke(invocation, response, limit);
        Ok(outcome.unwrap_or_else(|| {
            let function = self.around.handler.label();
            Outcome::Failure(failure::of_loss(function, &self.around.logs.tail()))
        }))
    }

    /// `None`: bash did not take the invocation, and the handler was not called.
    fn try_invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Option<Outcome> {
        self.around.logs.begin(invocation.origin());
        let (mark, sent) = self.send(invocation)?;
        let mut told = self.channel.wait_for_report(&mark, response, limit);
        if !matches!(told, Told::Report(_)) {
            self.is_damaged = true;
            let is_overrun = matches!(told, Told::Overrun(_));
            if !is_overrun && (sent.is_err() || !self.channel.has_begun()) {
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
            told = self.run_exit_trap(report.clone(), response, limit);
        }
        if let Told::Overrun(overrun) = told {
            self.stop_handler(overrun, &mark);
        }
        self.around.logs.drain();
        Some(self.outcome(told, response, limit))
    }

    /// Hands the invocation to bash: the mark of its report, and whether bash has taken the lines.
    fn send(&mut self, invocation: &Invocation) -> Option<(String, io::Result<()>)> {
        let separator = Separator::suited_to(self.version, &invocation.event);
        let mark = self.channel.new_mark();
        let (arguments, lines) = if self.is_forked() {
            (
                Arguments::fixed(invocation, separator),
                protocol::subshell_lines(separator, &mark),
            )
        } else {
            let known = self.context.as_ref();
            let with_context = !known.is_some_and(|known| known.fits(invocation));
            if with_context {
                self.context = Some(Context::of(invocation));
            }
            let context = self.context.as_ref().filter(|_| with_context);
            (
                protocol::arguments(invocation, context, separator),
                protocol::invocation_lines(invocation, with_context, separator, &mark),
            )
        };
        self.channel.put(&arguments, &invocation.event).ok()?;
        if self.is_forked() {
            self.channel.cut_arguments(&arguments).ok()?;
        }
        Some((mark, self.channel.write_lines(&lines)))
    }

    fn is_forked(&self) -> bool {
        self.around.config.isolation == Isolation::Subshell
    }

    /// An EXIT trap that the handler set runs at the end of its invocation, as it would at the
    /// end of the tutorial's subshell; once, even if it sets another one.
    fn run_exit_trap(
        &mut self,
        report: Report,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Told {
        let mark = self.channel.new_mark();
        // If bash has ended the wait tells.
        let _ = self
            .channel
            .write_lines(&protocol::exit_trap_lines(report.status, &mark));
        match self.channel.wait_for_report(&mark, response, limit) {
            // The trap went through: the handler's own end counts.
            Told::Report(after) if after.ended == Ended::Return => Told::Report(report),
            told => {
                self.is_damaged = !matches!(told, Told::Report(_));
                told
            }
        }
    }

    /// Ends the handler, wherever it is, with all that it started: bash too, which tells in its EXIT
    /// trap where it was, unless the handler runs in a fork of it.
    fn stop_handler(&mut self, overrun: Overrun, mark: &str) {
        let shell = (!self.is_forked()).then(|| self.channel.process.child.pid());
        if self.is_forked() {
            self.channel.ask_for_words();
        }
        if let Some(leftovers) = &self.leftovers {
            let grace = self.around.config.stop_grace(overrun);
            processes::stop(|| leftovers.of_handler(shell), grace);
        }
        if self.is_forked() {
            let mut limit = Limit::until(Instant::now() + REPORT_LIMIT);
            let mut rest = Response::unwanted("");
            let told = self.channel.wait_for_report(mark, &mut rest, &mut limit);
            self.is_damaged = !matches!(told, Told::Report(_));
        } else {
            self.channel.process.child.kill();
            while self.channel.read_control_now() {}
        }
    }

    fn outcome(&mut self, told: Told, response: &mut Response, limit: &mut Limit) -> Outcome {
        let (handler, logs) = (self.around.handler, self.around.logs);
        let config = self.around.config;
        let mut words = || self.channel.last_words().unwrap_or_default();
        Outcome::Failure(match told {
            Told::Report(report) | Told::LastReport(report) => {
                if report.status == 0 && report.ended != Ended::NotCalled {
                    return response.succeed(limit, |output| config.trim(output));
                }
                let report = if self.is_forked() {
                    report.with_words_of_fork(self.channel.last_words())
                } else {
                    report
                };
                failure::of_report(handler.label(), &report, &logs.tail())
            }
            Told::Ended(WaitStatus::Exited(_, 0)) => {
                return response.succeed(limit, |output| config.trim(output));
            }
            Told::Ended(status) => failure::of_end(handler.label(), status, words(), &logs.tail()),
            Told::Lost => failure::of_loss(handler.label(), &logs.tail()),
            Told::Overrun(overrun) => {
                let mut words = words();
                let command = words.command.as_deref();
                find_line(&mut words.stack, command);
                let margin = self.around.config.deadline_margin;
                of_overrun(
                    handler,
                    overrun,
                    margin,
                    command,
                    words.stack,
                    &[],
                    &logs.tail(),
                )
            }
        })
    }

    /// Whether there is something to do when the sandbox ends: the file defines `lambda_shutdown`.
    #[must_use]
    pub fn has_shutdown(&self) -> bool {
        self.has_shutdown
    }

    /// Runs `lambda_shutdown`, if the file defines it, and lets bash end by itself. Takes a quarter of
    /// a second at most.
    pub fn shut_down(&mut self) {
        self.around.logs.begin(Origin::default());
        // As before an invocation.
        let is_in_order = !self.is_damaged && (!self.channel.is_owed_state() || self.put_back());
        if self.has_shutdown
            && let Err(cause) = self.run_shutdown(is_in_order)
        {
            let log = &self.around.config.log;
            log.write(
                Level::Warn,
                Origin::default(),
                &format!("lambda_shutdown {cause}"),
            );
        }
        // If bash has ended there is nothing to wait for.
        let _ = self.channel.write_lines(protocol::END_LINES);
        let _ = ready([Some(self.channel.process.child.ended())], Some(STOP_GRACE));
    }

    fn run_shutdown(&mut self, is_in_order: bool) -> std::result::Result<(), String> {
        if !is_in_order {
            return Err("is not run: its shell was stopped".to_owned());
        }
        let mark = self.channel.new_mark();
        // If bash has ended the wait tells.
        let _ = self
            .channel
            .write_lines(&protocol::hook_lines("lambda_shutdown", &mark));
        let mut limit = Limit::until(Instant::now() + SHUTDOWN_LIMIT);
        let mut output = Response::unwanted("");
        match self.channel.wait_for_report(&mark, &mut output, &mut limit) {
            Told::Report(report) if report.status == 0 => Ok(()),
            Told::Report(report) => Err(format!("ended with status {}", report.status)),
            Told::Overrun(_) => Err(format!("is stopped after {SHUTDOWN_LIMIT:?}")),
            Told::LastReport(_) | Told::Ended(_) | Told::Lost => Err("ended its shell".to_owned()),
        }
    }
}

/// A shell that is started, up to where the file is sourced.
#[derive(Debug)]
pub struct Starting<'a> {
    shell: Shell<'a>,
}

/// A shell that loads its handler.
#[derive(Debug)]
pub struct Loading<'a> {
    shell: Shell<'a>,
    mark: String,
}

impl<'a> Starting<'a> {
    /// Starts bash, which reads the driver meanwhile.
    ///
    /// # Errors
    /// [`Error::StartShell`] when bash cannot be executed.
    pub fn start(around: Surroundings<'a>) -> Result<Self> {
        let start = || -> io::Result<Self> {
            let mut channel = Channel::open(Process::start(around)?)?;
            let argument_zero = std::env::args().next();
            let argument_zero = argument_zero.unwrap_or_else(|| "bootstrap".to_owned());
            let (function, mark) = (around.handler.label(), around.logs.mark());
            let lines = protocol::start_lines(&argument_zero, function, mark);
            // bash may have ended by now, for a reason that is told when it is waited for.
            let _ = channel.write_lines(&lines);
            let shell = Shell {
                around,
                channel,
                version: (0, 0),
                state: None,
                watch: None,
                context: None,
                leftovers: None,
                is_damaged: false,
                served: 0,
                has_shutdown: false,
                spare: None,
            };
            Ok(Self { shell })
        };
        start().map_err(|error| Error::start_shell(&around.config.bash, &error))
    }

    /// Whether bash has not ended.
    pub fn is_alive(&mut self) -> bool {
        self.shell.channel.process.child.status().is_none()
    }

    /// Has bash source the file, until [`Loading::finish`] waits for it.
    #[must_use]
    pub fn load(self) -> Loading<'a> {
        let mut shell = self.shell;
        let (mark, state_mark) = (shell.channel.new_mark(), shell.channel.new_mark());
        let (config, handler) = (shell.around.config, shell.around.handler);
        let file = handler.file.to_string_lossy();
        let lines = protocol::load_lines(&file, &config.shell_options, &mark, &state_mark);
        // If bash has ended the wait tells.
        let _ = shell.channel.write_lines(&lines);
        shell.channel.expect_state(state_mark);
        Loading { shell, mark }
    }
}

impl<'a> Loading<'a> {
    /// Waits until the file is sourced, without a limit: the platform has one of its own.
    ///
    /// # Errors
    /// [`Error::LoadHandler`] with what was the matter with the handler; [`Error::Stopped`].
    pub fn finish(self) -> Result<Shell<'a>> {
        let Self { mut shell, mark } = self;
        let (config, handler) = (shell.around.config, shell.around.handler);
        let mut limit = Limit::new(shell.around.signals, None);
        let loaded = match shell.channel.wait_until_loaded(&mark, &mut limit) {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Err(shell.load_error()),
            Err(_) => return Err(Error::Stopped),
        };
        let syntax_error = || syntax_error(&config.bash, handler);
        match loaded {
            Loaded::Ready {
                status,
                version,
                has_shutdown,
            } => {
                // Without `set -e` bash goes on after a syntax error.
                if status != 0
                    && let Some(error) = syntax_error()
                {
                    return Err(error);
                }
                shell.version = version;
                shell.has_shutdown = has_shutdown;
            }
            Loaded::Undefined(functions) => {
                return Err(syntax_error().unwrap_or_else(|| undefined(handler, &functions)));
            }
        }
        let pid = shell.channel.process.child.pid();
        if config.isolation == Isolation::None {
            shell.watch = Watch::start(pid);
        }
        shell.leftovers = Some(Leftovers::watch(shell.around, Some(pid)));
        shell.around.logs.drain();
        Ok(shell)
    }
}

impl Shell<'_> {
    fn load_error(&mut self) -> Error {
        let mut limit = Limit::new(self.around.signals, None);
        let status = self.channel.wait_for_exit(&mut limit);
        self.around.logs.drain();
        // Killed, or another program by now: then it had no last words.
        let silent = LastWords {
            kind: "exited".to_owned(),
            ..LastWords::default()
        };
        let words = self.channel.last_words();
        let words = words.or_else(|| self.channel.has_started().then_some(silent));
        let (config, handler) = (self.around.config, self.around.handler);
        failure::of_load(config, handler, status, words, &self.around.logs.tail())
    }
}
