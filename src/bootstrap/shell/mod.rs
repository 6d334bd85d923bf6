//! The shell: the bash process that runs a handler which is a function.
//!
//! bash starts once and sources the handler's file once. For each invocation we write two lines to bash's script: the
//! first calls the function, the second reports how it ended. This starts no process, unless events run in forks.
//! After the answer, [`Shell::clean_up`] undoes what the handler changed; if bash cannot undo it, a fresh shell takes
//! over before the next event. So no invocation pays for what the one before it did.
//!
//! `start.rs` and `process.rs` start bash. `report_wait.rs` talks to bash while a handler runs, `maintenance.rs` between
//! two invocations; `to_shell.rs` and `startup_script.rs` are what bash reads, and `from_shell.rs` is what bash
//! writes, which `shell_reader.rs` reads.
//! `clean_up.rs` decides what happens after an answer, with what `state.rs`, `file_traits.rs`, `restore.rs`,
//! `process_limits.rs` and `descriptors.rs` know.

mod channel;
mod clean_up;
mod code_text;
mod command_list;
mod context;
mod descriptors;
mod failure;
mod file_code;
mod file_traits;
mod forks;
mod from_shell;
mod hidden_commands;
mod hook;
mod kept_variables;
mod load_report;
mod maintenance;
mod nonces;
mod observers;
mod older;
mod process;
mod process_limits;
mod renew;
mod replacement;
mod report;
mod report_wait;
mod restore;
mod restore_variables;
mod shell_reader;
mod start;
mod startup_script;
mod state;
mod state_pipe;
mod state_text;
mod to_shell;

use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::calls::Calls;
use crate::child::LaneContext;
use crate::child::arguments::{Arguments, Separator};
use crate::child::late_output::{EndedHandler, take_late_output};
use crate::child::leftovers::Leftovers;
use crate::error::{Error, Result};
use crate::invocation::{Invocation, Outcome};
use crate::response::Response;
use crate::wait::{Limit, Overrun};
use channel::Channel;
use context::Context;
use coshell_driver::Kind;
use coshell_process::{ExitStatus, processes};
use descriptors::ProcBaseline;
use forks::Forks;
use kept_variables::KeptVariables;
use process_limits::ProcessLimits;
use report::Report;
use report_wait::WaitOutcome;
pub(crate) use start::{Loading, Starting};
use state::ShellState;
use to_shell::{ToFork, ToShell};

/// How long a shell may take to report that its fork was stopped.
const REPORT_LIMIT: Duration = Duration::from_millis(500);

/// A live bash that has loaded a handler.
#[derive(Debug)]
pub(crate) struct Shell<'a> {
    cx: LaneContext<'a>,
    channel: Channel,
    /// bash's version, major and minor.
    version: (u32, u32),
    /// The state just after bash has sourced the file. `None` until the first invocation reads it, so that the init
    /// does not wait for it.
    initial_state: Option<ShellState>,
    /// The initial descriptors and directory. `None` before the first state, and where /proc does not show bash.
    proc_baseline: Option<ProcBaseline>,
    /// The initial limits of the bash process.
    initial_limits: Option<ProcessLimits>,
    /// The variables that `lambda_keep` carries from one event to the next.
    kept_variables: KeptVariables,
    /// The descriptors that `lambda_keep` leaves open.
    kept_descriptors: Vec<i32>,
    forks: Forks,
    /// A process of the last invocation is still running and can write to the response's pipe.
    leftover_holds_response: bool,
    /// The values that bash's context variables have now; `None` if they are unknown.
    context: Option<Context>,
    /// The processes that handlers left running; `None` until the handler is loaded.
    leftovers: Option<Leftovers<'a>>,
    /// The shell has ended, or cannot be used again.
    is_damaged: bool,
    clean_up: CleanUp,
    /// How many invocations the shell has served.
    served: u64,
    /// The file defines `lambda_shutdown`.
    has_shutdown: bool,
    /// The shell that takes over if this one has to be replaced. It has read the driver, but not the handler's file.
    standby: Option<Box<Starting<'a>>>,
}

/// Whether [`Shell::clean_up`] has to follow, because an invocation has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CleanUp {
    Done,
    Due,
}

/// An invocation that was written to bash.
struct SentInvocation {
    /// The nonce of its report.
    nonce: String,
    /// False if bash had closed a pipe before it took all of the lines.
    is_complete: bool,
}

impl Shell<'_> {
    /// Runs one invocation until it ends or `limit` is reached, and drains its response and its log.
    ///
    /// Fails only if the shell must be replaced before the handler can run, and no new shell starts.
    pub(crate) fn invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Outcome> {
        if self.is_in_initial_state()
            && let Some(outcome) = self.try_invoke(invocation, response, limit)
        {
            return Ok(outcome);
        }
        // The handler was not called, so a second try cannot run it twice, and nothing that was read is its output.
        response.drop_unsent();
        match self.replace_within(limit) {
            Err(Error::Stopped) => return Ok(Outcome::Failure(self.stop_loading())),
            replaced => replaced?,
        }
        self.prime(invocation);
        let outcome = self.try_invoke(invocation, response, limit);
        Ok(outcome.unwrap_or_else(|| {
            let function = self.cx.handler.label();
            Outcome::Failure(failure::shell_lost(function, &self.cx.logs.tail()))
        }))
    }

    /// Runs one invocation. Returns `None` if bash did not call the handler.
    fn try_invoke(
        &mut self,
        invocation: &Invocation,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Option<Outcome> {
        self.clean_up = CleanUp::Due;
        self.cx.logs.begin_invocation(invocation.origin());
        // What is in the pipe before the handler is called belongs to an earlier event.
        self.channel.drop_output();
        self.channel.exit_trace = None;
        let sent = self.send(invocation)?;
        let mut waited = self.channel.wait_for_report(&sent.nonce, response, limit);
        if !matches!(waited, WaitOutcome::Report(_)) {
            self.is_damaged = true;
            let is_overrun = matches!(waited, WaitOutcome::Overrun(_));
            if !is_overrun && (!sent.is_complete || !self.channel.has_begun()) {
                return None;
            }
        }
        // Either a variable that the driver sets is readonly by now, so that the driver did not call the handler; or
        // the fork that was to call it has died.
        if let WaitOutcome::Report(report) = &waited
            && (report.kind == Kind::Idle || self.is_forked() && !self.channel.has_begun())
        {
            return None;
        }
        if let WaitOutcome::Report(report) = &waited
            && report.has_exit_trap
        {
            waited = self.run_exit_trap(report.clone(), response, limit);
        }
        let mut has_reported = false;
        if !matches!(waited, WaitOutcome::Overrun(_) | WaitOutcome::Lost)
            && let Err(overrun) = self.take_late_output(response, limit)
        {
            self.is_damaged = true;
            has_reported = matches!(waited, WaitOutcome::Report(_));
            waited = WaitOutcome::Overrun(overrun);
        }
        let mut running = Vec::new();
        if let WaitOutcome::Overrun(overrun) = waited {
            let awaited = (!has_reported).then_some(&*sent.nonce);
            running = self.stop_handler(overrun, awaited);
            // The output of a handler that was stopped is neither a response nor a log.
            self.channel.drop_output();
        }
        self.cx.logs.drain();
        Some(self.outcome(waited, &running, response, limit))
    }

    /// Reads what filters of the handler still write to the response.
    fn take_late_output(
        &mut self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> std::result::Result<(), Overrun> {
        let Some(leftovers) = &self.leftovers else {
            return Ok(());
        };
        if !self.is_forked() && !leftovers.new_processes().is_empty() {
            // A filter does not end before the last descriptor that leads to it is closed.
            self.close_descriptors();
        }
        let Some(leftovers) = &self.leftovers else {
            return Ok(());
        };
        let channel = &self.channel;
        self.leftover_holds_response = take_late_output(
            EndedHandler {
                response: &channel.process.response,
                event: &channel.process.event,
                job_wait: Duration::ZERO,
                is_runner_exiting: &|| match leftovers.running_fork() {
                    Some(fork) => processes::program_name(fork).is_some(),
                    None => processes::is_runnable(channel.process.child.pid()),
                },
            },
            limit,
            || leftovers.new_processes(),
            |limit| channel.take_more(response, limit),
        )?;
        Ok(())
    }

    /// Writes the invocation to bash. Returns `None` if there is no memory for it or no fork.
    fn send(&mut self, invocation: &Invocation) -> Option<SentInvocation> {
        if self.is_forked() {
            return self.send_to_fork(invocation);
        }
        let separator = Separator::fastest_for(self.version, invocation);
        let nonce = self.channel.new_nonce();
        let known = self.context.as_ref();
        let with_context = !known.is_some_and(|known| known.matches(invocation));
        if with_context {
            self.context = Some(Context::of(invocation));
        }
        let context = self.context.as_ref().filter(|_| with_context);
        let prepared = self.cx.calls.and_then(Calls::prepare);
        let arguments = context::arguments(invocation, context, prepared.as_ref(), separator);
        let call = coshell_driver::call_for(
            invocation.deadline_ms.is_some(),
            invocation.trace_id.is_some(),
            separator == Separator::Newline,
        );
        let reads_rare = call.is_rare && !std::mem::replace(&mut self.channel.has_read_rare, true);
        let lines = [
            reads_rare.then_some(ToShell::ReadRare),
            with_context.then_some(ToShell::SetContext(separator)),
            Some(ToShell::CallHandler(call)),
            Some(ToShell::Report { nonce: &nonce }),
        ];
        let lines: String = lines.iter().flatten().map(ToShell::to_string).collect();
        self.channel
            .put(&arguments, invocation.stdin_bytes())
            .ok()?;
        let is_complete = self.channel.write_lines(&lines).is_ok();
        Some(SentInvocation { nonce, is_complete })
    }

    fn send_to_fork(&mut self, invocation: &Invocation) -> Option<SentInvocation> {
        // A fork that has outlived its shell gets no event.
        if !self.make_fork() || self.channel.process.child.status().is_some() {
            return None;
        }
        let separator = Separator::fastest_for(self.version, invocation);
        let nonce = self.channel.new_nonce();
        let arguments = if self.channel.process.is_older {
            let mut arguments = Arguments::event_last(invocation);
            arguments.end.extend_from_slice(nonce.as_bytes());
            arguments.end.push(b'\n');
            arguments
        } else {
            Arguments::event_first(invocation, separator)
        };
        self.channel
            .put(&arguments, invocation.stdin_bytes())
            .ok()?;
        self.take_fork();
        let taken = self.channel.send_to_fork(ToFork::TakeEvent {
            separator,
            nonce: &nonce,
        });
        let is_complete = taken.is_ok();
        Some(SentInvocation { nonce, is_complete })
    }

    /// Runs the EXIT trap that the handler set, as the end of the tutorial's subshell would: once, even if it sets
    /// another one.
    fn run_exit_trap(
        &mut self,
        report: Report,
        response: &mut Response,
        limit: &mut Limit,
    ) -> WaitOutcome {
        let nonce = self.channel.new_nonce();
        // If bash has ended, the wait below reports that.
        let (status, nonce) = (report.status, &nonce);
        let lines = format!(
            "{}{}",
            ToShell::RunExitTrap { status },
            ToShell::Report { nonce }
        );
        let _ = self.channel.write_lines(&lines);
        match self.channel.wait_for_report(nonce, response, limit) {
            // The trap succeeded, so the way in which the handler itself ended counts.
            WaitOutcome::Report(after) if after.kind == Kind::Return => WaitOutcome::Report(report),
            waited => {
                self.is_damaged = !matches!(waited, WaitOutcome::Report(_));
                waited
            }
        }
    }

    /// Stops the handler and every process that it started, and returns the names of the programs that ran.
    ///
    /// A handler in the live shell takes bash with it, whose exit trace reports where it was. A handler in a fork
    /// takes only the fork, whose report has the nonce `awaited`, unless it has come already.
    fn stop_handler(&mut self, overrun: Overrun, awaited: Option<&str>) -> Vec<String> {
        if !self.is_forked() {
            return self.stop_shell(overrun);
        }
        self.channel.request_exit_trace();
        let running = self.stop_processes(overrun, None);
        if let Some(nonce) = awaited {
            let mut limit = Limit::until(Instant::now() + REPORT_LIMIT);
            let mut discarded = Response::discarded();
            let waited = self
                .channel
                .wait_for_report(nonce, &mut discarded, &mut limit);
            self.is_damaged = !matches!(waited, WaitOutcome::Report(_));
        } else {
            self.is_damaged = false;
        }
        running
    }

    /// Stops bash and every process that it started, and returns the names of the programs that ran.
    fn stop_shell(&mut self, overrun: Overrun) -> Vec<String> {
        let running = self.stop_processes(overrun, Some(self.channel.process.child.pid()));
        self.channel.process.child.kill();
        while self.channel.read_control_now() {}
        running
    }

    /// Stops every process of the invocation, with `shell` if there is one, and lets bash report its place.
    fn stop_processes(&self, overrun: Overrun, shell: Option<Pid>) -> Vec<String> {
        let Some(leftovers) = &self.leftovers else {
            return Vec::new();
        };
        let grace = self.cx.config.stop_grace(overrun);
        let running = processes::program_names(leftovers.handler_processes(None));
        let bash = shell.or(leftovers.running_fork());
        processes::stop_with_exit_trace(|| leftovers.handler_processes(shell), grace, bash);
        running
    }

    fn outcome(
        &mut self,
        waited: WaitOutcome,
        running: &[String],
        response: &mut Response,
        limit: &mut Limit,
    ) -> Outcome {
        let (handler, logs) = (self.cx.handler, self.cx.logs);
        let config = self.cx.config;
        let failed = |report: &Report, response: &Response| {
            let error = response.own_error(report.status);
            failure::handler_failed(handler.label(), report, error, &logs.tail())
        };
        let mut exit_trace = || self.channel.take_exit_trace().unwrap_or_default();
        Outcome::Failure(match waited {
            WaitOutcome::Report(report) | WaitOutcome::LastReport(report) => {
                if report.status == 0 && report.kind != Kind::Idle {
                    return response.finish(limit, config.keep_trailing_newlines);
                }
                let report = if self.is_forked() {
                    report.with_trace_of_fork(self.channel.take_exit_trace())
                } else {
                    report
                };
                failed(&report, response)
            }
            WaitOutcome::Ended(ExitStatus::Exited(0)) => {
                return response.finish(limit, config.keep_trailing_newlines);
            }
            WaitOutcome::Ended(end) => {
                let trace = exit_trace();
                match Report::from_exit_trace(end, &trace) {
                    // The handler's EXIT trap ran in the place where the handler ended, and bash ended with it.
                    Some(report) => failed(&report, response),
                    None => failure::shell_ended(handler.label(), end, trace, &logs.tail()),
                }
            }
            WaitOutcome::Lost => failure::shell_lost(handler.label(), &logs.tail()),
            WaitOutcome::Overrun(overrun) => {
                failure::stopped(self.cx, handler.label(), overrun, exit_trace(), running)
            }
        })
    }
}
