//! Keeps the bash coprocess: start, invoke, settle, replace, shut down.
//!
//! bash is started once and sources the handler's file once. An invocation is two lines on its
//! script (see `protocol.rs`): bash calls the function, and reports. No process is started for it,
//! unless `COSHELL_ISOLATION` asks for one. Whatever a handler does to the shell is either put back
//! in [`Shell::clean_up`] or costs a new shell there, never an invocation. Neighbours: `process.rs`
//! starts bash, `channel.rs`, `control.rs` and `idle.rs` talk and wait, `response_request.rs` is what handlers want of their
//! responses, `clean_up.rs` puts the shell in order with what `state.rs`, `file_traits.rs`, `restore.rs`, `limits.rs` and
//! `descriptors.rs` know, `kept.rs` has the variables that live on, `forks.rs` makes forks ahead, `hook.rs` runs what belongs to
//! no invocation, `failure.rs` puts failures into words; processes are `child/`.

mod channel;
mod clean_up;
mod control;
mod descriptors;
mod failure;
mod file_traits;
mod forks;
mod hook;
mod idle;
mod idle_lines;
mod kept;
mod limits;
mod nonces;
mod observers;
mod process;
pub(crate) mod protocol;
mod renew;
mod response_request;
mod restore;
mod start;
mod start_lines;
mod state;
mod state_pipe;

use std::io;
use std::time::{Duration, Instant};

use nix::sys::wait::WaitStatus;

use crate::child::LaneContext;
use crate::child::arguments::{Arguments, Separator};
use crate::child::late_output::{EndedHandler, take_late_output};
use crate::child::leftovers::Leftovers;
use crate::error::Result;
use crate::invocation::{Invocation, Outcome};
use crate::response::Response;
use crate::wait::{Limit, Overrun};
use channel::{Channel, WaitOutcome};
use coshell_process::processes;
use descriptors::Watch;
use forks::Forks;
use kept::Kept;
use limits::Limits;
use protocol::{Context, Ended, Report};
pub(crate) use start::{Loading, Starting};
use state::State;

/// How long a shell whose fork was stopped may take to report that.
const REPORT_LIMIT: Duration = Duration::from_millis(500);

/// A live bash with a handler loaded.
#[derive(Debug)]
pub(crate) struct Shell<'a> {
    cx: LaneContext<'a>,
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
    standby: Option<Box<Starting<'a>>>,
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
        self.prime(invocation);
        let outcome = self.try_invoke(invocation, response, limit);
        Ok(outcome.unwrap_or_else(|| {
            let function = self.cx.handler.label();
            Outcome::Failure(failure::shell_lost(function, &self.cx.logs.tail()))
        }))
    }

    /// `None`: bash did not take the invocation, and the handler was not called.
    fn try_invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Option<Outcome> {
        self.cx.logs.begin_invocation(invocation.origin());
        let (nonce, sent) = self.send(invocation)?;
        let mut told = self.channel.wait_for_report(&nonce, response, limit);
        if !matches!(told, WaitOutcome::Report(_)) {
            self.is_damaged = true;
            let is_overrun = matches!(told, WaitOutcome::Overrun(_));
            if !is_overrun && (sent.is_err() || !self.channel.has_begun()) {
                return None;
            }
        }
        // A variable that is readonly by now kept the driver from calling the handler; or the fork that
        // was to call it is gone.
        if let WaitOutcome::Report(report) = &told
            && (report.ended == Ended::NotCalled || self.is_forked() && !self.channel.has_begun())
        {
            return None;
        }
        if let WaitOutcome::Report(report) = &told
            && report.has_exit_trap
        {
            told = self.run_exit_trap(report.clone(), response, limit);
        }
        if !matches!(told, WaitOutcome::Overrun(_) | WaitOutcome::Lost)
            && let Err(overrun) = self.take_late_output(response, limit)
        {
            self.is_damaged = true;
            told = WaitOutcome::Overrun(overrun);
        }
        let mut running = Vec::new();
        if let WaitOutcome::Overrun(overrun) = told {
            running = self.stop_handler(overrun, &nonce);
            // What it has printed is no log.
            self.channel.drop_output();
        }
        self.cx.logs.drain();
        Some(self.outcome(told, &running, response, limit))
    }

    /// Takes what the filters that the handler started still write.
    fn take_late_output(
        &mut self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> std::result::Result<(), Overrun> {
        let Some(leftovers) = &self.leftovers else {
            return Ok(());
        };
        if !self.is_forked() && !leftovers.new_processes().is_empty() {
            // A filter may wait for the end of what the handler left open.
            self.close_descriptors();
        }
        let Some(leftovers) = &self.leftovers else {
            return Ok(());
        };
        let channel = &self.channel;
        self.shares_response = take_late_output(
            EndedHandler {
                response: &channel.process.response,
                event: &channel.process.event,
                job_wait: Duration::ZERO,
                is_runner_exiting: &|| match leftovers.running_fork() {
                    Some(fork) => processes::program(fork).is_some(),
                    None => processes::is_runnable(channel.process.child.pid()),
                },
            },
            limit,
            || leftovers.new_processes(),
            |limit| channel.take_more(response, limit),
        )?;
        Ok(())
    }

    /// Hands the invocation to bash: the mark of its report, and whether bash has taken the lines.
    fn send(&mut self, invocation: &Invocation) -> Option<(String, io::Result<()>)> {
        if self.is_forked() {
            return self.send_to_fork(invocation);
        }
        let separator = Separator::fastest_for(self.version, invocation);
        let nonce = self.channel.new_nonce();
        let known = self.context.as_ref();
        let with_context = !known.is_some_and(|known| known.fits(invocation));
        if with_context {
            self.context = Some(Context::of(invocation));
        }
        let context = self.context.as_ref().filter(|_| with_context);
        let arguments = protocol::arguments(invocation, context, separator);
        let lines = protocol::invocation_lines(invocation, with_context, separator, &nonce);
        self.channel
            .put(&arguments, invocation.stdin_bytes())
            .ok()?;
        Some((nonce, self.channel.write_lines(&lines)))
    }

    fn send_to_fork(&mut self, invocation: &Invocation) -> Option<(String, io::Result<()>)> {
        if !self.make_fork() {
            return None;
        }
        let separator = Separator::fastest_for(self.version, invocation);
        let nonce = self.channel.new_nonce();
        let arguments = Arguments::event_first(invocation, separator);
        self.channel
            .put(&arguments, invocation.stdin_bytes())
            .ok()?;
        self.channel.cut_arguments(&arguments).ok()?;
        // The shell reads this when the fork has ended.
        let end = self.channel.new_nonce();
        let sent = self.channel.write_lines(&idle_lines::report_line(&end));
        self.channel.expect_fork_end(end);
        self.take_fork();
        let go_ahead = idle_lines::go_ahead(separator, &nonce);
        let taken = self.channel.send_go_ahead(go_ahead.as_bytes());
        Some((nonce, sent.and(taken)))
    }

    /// An EXIT trap that the handler set runs at the end of its invocation, as it would at the
    /// end of the tutorial's subshell; once, even if it sets another one.
    fn run_exit_trap(
        &mut self,
        report: Report,
        response: &mut Response,
        limit: &mut Limit,
    ) -> WaitOutcome {
        let nonce = self.channel.new_nonce();
        // If bash has ended the wait tells.
        let _ = self
            .channel
            .write_lines(&protocol::exit_trap_lines(report.status, &nonce));
        match self.channel.wait_for_report(&nonce, response, limit) {
            // The trap went through: the handler's own end counts.
            WaitOutcome::Report(after) if after.ended == Ended::Return => {
                WaitOutcome::Report(report)
            }
            told => {
                self.is_damaged = !matches!(told, WaitOutcome::Report(_));
                told
            }
        }
    }

    /// Ends the handler, wherever it is, with all that it started: bash too, which tells in its EXIT
    /// trap where it was, unless the handler runs in a fork of it. The programs that ran.
    fn stop_handler(&mut self, overrun: Overrun, nonce: &str) -> Vec<String> {
        let mut running = Vec::new();
        let shell = (!self.is_forked()).then(|| self.channel.process.child.pid());
        if self.is_forked() {
            self.channel.request_exit_trace();
        }
        if let Some(leftovers) = &self.leftovers {
            let grace = self.cx.config.stop_grace(overrun);
            running = processes::names(leftovers.handler_processes(None));
            let bash = shell.or(leftovers.running_fork());
            processes::stop_handler(|| leftovers.handler_processes(shell), grace, bash);
        }
        if self.is_forked() {
            let mut limit = Limit::until(Instant::now() + REPORT_LIMIT);
            let mut rest = Response::discarded("");
            let told = self.channel.wait_for_report(nonce, &mut rest, &mut limit);
            self.is_damaged = !matches!(told, WaitOutcome::Report(_));
        } else {
            self.channel.process.child.kill();
            while self.channel.read_control_now() {}
        }
        running
    }

    fn outcome(
        &mut self,
        told: WaitOutcome,
        running: &[String],
        response: &mut Response,
        limit: &mut Limit,
    ) -> Outcome {
        let (handler, logs) = (self.cx.handler, self.cx.logs);
        let config = self.cx.config;
        let mut words = || self.channel.exit_trace().unwrap_or_default();
        Outcome::Failure(match told {
            WaitOutcome::Report(report) | WaitOutcome::LastReport(report) => {
                if report.status == 0 && report.ended != Ended::NotCalled {
                    return response.finish(limit, config.keep_trailing_newlines);
                }
                let report = if self.is_forked() {
                    report.with_trace_of_fork(self.channel.exit_trace())
                } else {
                    report
                };
                failure::handler_failed(handler.label(), &report, &logs.tail())
            }
            WaitOutcome::Ended(WaitStatus::Exited(_, 0)) => {
                return response.finish(limit, config.keep_trailing_newlines);
            }
            WaitOutcome::Ended(end) => {
                let words = words();
                match Report::of_end(end, &words) {
                    // Its EXIT trap ran where it was, and ended the shell.
                    Some(report) => failure::handler_failed(handler.label(), &report, &logs.tail()),
                    None => failure::shell_ended(handler.label(), end, words, &logs.tail()),
                }
            }
            WaitOutcome::Lost => failure::shell_lost(handler.label(), &logs.tail()),
            WaitOutcome::Overrun(overrun) => {
                failure::handler_stopped(self.cx, overrun, words(), running)
            }
        })
    }
}
