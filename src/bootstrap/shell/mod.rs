//! Keeps the bash coprocess: start, invoke, settle, replace, shut down.
//!
//! bash is started once and sources the handler's file once. An invocation is two lines on its
//! script (see `protocol.rs`): bash calls the function, and reports. No process is started for it,
//! unless `COSHELL_ISOLATION` asks for one. Whatever a handler does to the shell is either put back
//! in [`Shell::settle`] or costs a new shell there, never an invocation. Neighbours: `process.rs`
//! starts bash, `channel.rs`, `control.rs` and `idle.rs` talk and wait, `asked.rs` is what handlers want of their
//! responses, `settle.rs` puts the shell in order with what `state.rs`, `outlook.rs`, `restore.rs`, `limits.rs` and
//! `descriptors.rs` know, `kept.rs` has the variables that live on, `forks.rs` makes forks ahead, `hook.rs` runs what belongs to
//! no invocation, `failure.rs` puts failures into words; processes are `child/`.

mod asked;
mod channel;
mod control;
mod descriptors;
mod failure;
mod forks;
mod hook;
mod idle;
mod idle_lines;
mod kept;
mod limits;
mod marks;
mod observers;
mod outlook;
mod process;
pub(crate) mod protocol;
mod renew;
mod restore;
mod settle;
mod start;
mod start_lines;
mod state;
mod state_pipe;

use std::io;
use std::time::{Duration, Instant};

use nix::sys::wait::WaitStatus;

use crate::child::Surroundings;
use crate::child::arguments::{Arguments, Separator};
use crate::child::leftovers::Leftovers;
use crate::child::rest::{Finished, take_rest};
use crate::config::STOP_GRACE;
use crate::error::Result;
use crate::invocation::{Invocation, Outcome};
use crate::log::{Level, Origin};
use crate::response::Response;
use crate::wait::{Limit, Overrun, ready};
use channel::{Channel, Told};
use coshell_process::processes;
use descriptors::Watch;
use forks::Forks;
use kept::Kept;
use limits::Limits;
use protocol::{Context, Ended, Report};
pub(crate) use start::{Loading, Starting};
use state::State;

/// How long `lambda_shutdown` may take.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(200);
/// How long a shell whose fork was stopped may take to report that.
const REPORT_LIMIT: Duration = Duration::from_millis(500);

/// A live bash with a handler loaded.
#[derive(Debug)]
pub(crate) struct Shell<'a> {
    around: Surroundings<'a>,
    channel: Channel,
    /// bash's version, major and minor.
    version: (u32, u32),
    /// What the shell was like when the file was sourced; `None` until the first invocation, which
    /// reads it, so that the init need not wait for it.
    state: Option<State>,
    /// What /proc shows of bash; `None` until it has shown its state, and where /proc shows nothing.
    watch: Option<Watch>,
    /// What the system holds of bash when the file has been sourced.
    limits: Option<Limits>,
    /// The variables that live on.
    kept: Kept,
    /// The descriptors that live on.
    kept_descriptors: Vec<i32>,
    /// Whether events run in forks, and the one that waits.
    forks: Forks,
    /// A process that the last invocation left can write to the pipe of its response.
    shares_response: bool,
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
    pub(crate) fn invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Outcome> {
        if self.is_in_base_state()
            && let Some(outcome) = self.try_invoke(invocation, response, limit)
        {
            return Ok(outcome);
        }
        // The handler was not called, so that it can be called now.
        self.replace()?;
        self.warm(invocation);
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
        // A variable that is readonly by now kept the driver from calling the handler; or the fork that
        // was to call it is gone.
        if let Told::Report(report) = &told
            && (report.ended == Ended::NotCalled || self.is_forked() && !self.channel.has_begun())
        {
            return None;
        }
        if let Told::Report(report) = &told
            && report.has_exit_trap
        {
            told = self.run_exit_trap(report.clone(), response, limit);
        }
        if !matches!(told, Told::Overrun(_) | Told::Lost)
            && let Err(overrun) = self.take_rest(response, limit)
        {
            self.is_damaged = true;
            told = Told::Overrun(overrun);
        }
        let mut running = Vec::new();
        if let Told::Overrun(overrun) = told {
            running = self.stop_handler(overrun, &mark);
            // What it has printed is no log.
            self.channel.drop_output();
        }
        self.around.logs.drain();
        Some(self.outcome(told, &running, response, limit))
    }

    /// Takes what the filters that the handler started still write.
    fn take_rest(
        &mut self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> std::result::Result<(), Overrun> {
        let Some(leftovers) = &self.leftovers else {
            return Ok(());
        };
        if !self.is_forked() && !leftovers.new_ones().is_empty() {
            // A filter may wait for the end of what the handler left open.
            self.close_descriptors();
        }
        let Some(leftovers) = &self.leftovers else {
            return Ok(());
        };
        let channel = &self.channel;
        self.shares_response = take_rest(
            Finished {
                response: &channel.process.response,
                event: &channel.process.event,
                patience: Duration::ZERO,
                is_closing: &|| match leftovers.fork() {
                    Some(fork) => processes::program(fork).is_some(),
                    None => processes::is_runnable(channel.process.child.pid()),
                },
            },
            limit,
            || leftovers.new_ones(),
            |limit| channel.take_more(response, limit),
        )?;
        Ok(())
    }

    /// Hands the invocation to bash: the mark of its report, and whether bash has taken the lines.
    fn send(&mut self, invocation: &Invocation) -> Option<(String, io::Result<()>)> {
        if self.is_forked() {
            return self.send_to_fork(invocation);
        }
        let separator = Separator::suited_to(self.version, invocation);
        let mark = self.channel.new_mark();
        let known = self.context.as_ref();
        let with_context = !known.is_some_and(|known| known.fits(invocation));
        if with_context {
            self.context = Some(Context::of(invocation));
        }
        let context = self.context.as_ref().filter(|_| with_context);
        let arguments = protocol::arguments(invocation, context, separator);
        let lines = protocol::invocation_lines(invocation, with_context, separator, &mark);
        self.channel.put(&arguments, invocation.input()).ok()?;
        Some((mark, self.channel.write_lines(&lines)))
    }

    fn send_to_fork(&mut self, invocation: &Invocation) -> Option<(String, io::Result<()>)> {
        if !self.make_fork() {
            return None;
        }
        let separator = Separator::suited_to(self.version, invocation);
        let mark = self.channel.new_mark();
        let arguments = Arguments::fixed(invocation, separator);
        self.channel.put(&arguments, invocation.input()).ok()?;
        self.channel.cut_arguments(&arguments).ok()?;
        // The shell reads this when the fork has ended.
        let end = self.channel.new_mark();
        let sent = self.channel.write_lines(&idle_lines::report_line(&end));
        self.channel.expect_fork_end(end);
        self.take_fork();
        let turn = idle_lines::turn(separator, &mark);
        let taken = self.channel.give_turn(turn.as_bytes());
        Some((mark, sent.and(taken)))
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
    /// trap where it was, unless the handler runs in a fork of it. The programs that ran.
    fn stop_handler(&mut self, overrun: Overrun, mark: &str) -> Vec<String> {
        let mut running = Vec::new();
        let shell = (!self.is_forked()).then(|| self.channel.process.child.pid());
        if self.is_forked() {
            self.channel.ask_for_words();
        }
        if let Some(leftovers) = &self.leftovers {
            let grace = self.around.config.stop_grace(overrun);
            running = processes::names(leftovers.of_handler(None));
            let bash = shell.or(leftovers.fork());
            processes::stop_handler(|| leftovers.of_handler(shell), grace, bash);
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
        running
    }

    fn outcome(
        &mut self,
        told: Told,
        running: &[String],
        response: &mut Response,
        limit: &mut Limit,
    ) -> Outcome {
        let (handler, logs) = (self.around.handler, self.around.logs);
        let config = self.around.config;
        let mut words = || self.channel.last_words().unwrap_or_default();
        Outcome::Failure(match told {
            Told::Report(report) | Told::LastReport(report) => {
                if report.status == 0 && report.ended != Ended::NotCalled {
                    return response.succeed(limit, config.keep_trailing_newlines);
                }
                let report = if self.is_forked() {
                    report.with_words_of_fork(self.channel.last_words())
                } else {
                    report
                };
                failure::of_report(handler.label(), &report, &logs.tail())
            }
            Told::Ended(WaitStatus::Exited(_, 0)) => {
                return response.succeed(limit, config.keep_trailing_newlines);
            }
            Told::Ended(end) => {
                let words = words();
                match Report::of_end(end, &words) {
                    // Its EXIT trap ran where it was, and ended the shell.
                    Some(report) => failure::of_report(handler.label(), &report, &logs.tail()),
                    None => failure::of_end(handler.label(), end, words, &logs.tail()),
                }
            }
            Told::Lost => failure::of_loss(handler.label(), &logs.tail()),
            Told::Overrun(overrun) => failure::of_stop(self.around, overrun, words(), running),
        })
    }

    /// Whether there is something to do when the sandbox ends: the file defines `lambda_shutdown`.
    pub(crate) fn has_shutdown(&self) -> bool {
        self.has_shutdown
    }

    /// Runs `lambda_shutdown`, if the file defines it, and lets bash end by itself. Takes a quarter of
    /// a second at most.
    pub(crate) fn shut_down(&mut self) {
        self.around.logs.begin(Origin::default());
        // As before an invocation.
        self.end_fork();
        let is_in_order = !self.is_damaged && self.is_in_base_state();
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
        self.guard_exit();
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
