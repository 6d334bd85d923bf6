//! Runs hooks: functions of the handler's file that belong to no invocation.
//!
//! `lambda_before_snapshot` and `lambda_after_restore` belong to the init. Whatever they change, open or start is
//! there for every event, and is restored after each one. `lambda_shutdown` runs last, and has little time.

use std::time::{Duration, Instant};

use super::report_wait::WaitOutcome;
use super::to_shell::ToShell;
use super::{CleanUp, Shell, failure};
use crate::child::leftovers::Leftovers;
use crate::config::STOP_GRACE;
use crate::error::{Error, Result};
use crate::log::Origin;
use crate::response::Response;
use crate::wait::{Limit, Overrun, wait_readable};
use coshell_driver::Kind;
use coshell_handler::Failure;
use coshell_process::processes;

/// How long `lambda_shutdown` may take.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(200);

impl Shell<'_> {
    /// Runs `function`, if the file defines it, without a time limit. Returns why it failed, if it did.
    ///
    /// Its standard input is empty, and its output goes to the log. If the shell has ended before, a fresh one runs the
    /// function. Fails with [`Error::Stopped`] if SIGTERM comes meanwhile, and if no fresh shell starts.
    pub(crate) fn run_hook(&mut self, function: &str) -> Result<Option<Failure>> {
        if !self.is_usable() {
            self.replace()?;
            if !self.is_usable() {
                return Ok(Some(failure::shell_lost(function, &self.cx.logs.tail())));
            }
        }
        self.cx.logs.begin_invocation(Origin::default());
        let mut limit = Limit::new(self.cx.signals, None);
        let outcome = self.call_hook(function, &mut limit);
        self.is_damaged = !matches!(outcome, WaitOutcome::Report(_));
        if let WaitOutcome::Overrun(overrun) = outcome {
            self.stop_hook(overrun);
        }
        self.cx.logs.drain();
        let tail = self.cx.logs.tail();
        let failure = match outcome {
            WaitOutcome::Report(report) if report.kind == Kind::Idle => return Ok(None),
            WaitOutcome::Report(report) if report.status == 0 => {
                self.make_current_state_initial();
                return Ok(None);
            }
            WaitOutcome::Report(report) => failure::handler_failed(function, &report, None, &tail),
            WaitOutcome::Ended(status) => {
                let trace = self.channel.take_exit_trace().unwrap_or_default();
                failure::shell_ended(function, status, trace, &tail)
            }
            WaitOutcome::LastReport(_) | WaitOutcome::Lost | WaitOutcome::Overrun(_) => {
                failure::shell_lost(function, &tail)
            }
        };
        // The signal that stops us may have gone to bash too, so that its end is no failure of the function.
        if self.cx.signals.is_stop_requested() {
            return Err(Error::Stopped);
        }
        Ok(Some(failure))
    }

    /// True if the file defines `lambda_shutdown`.
    pub(crate) fn has_shutdown(&self) -> bool {
        self.has_shutdown
    }

    /// Runs `lambda_shutdown`, if the file defines it, and lets bash end by itself: in at most a quarter of a second.
    pub(crate) fn shut_down(&mut self) {
        self.cx.logs.begin_invocation(Origin::default());
        if self.has_shutdown
            && let Err(cause) = self.run_shutdown()
        {
            let log = self.cx.config.log;
            log.warn(format_args!("lambda_shutdown {cause}"));
        }
        self.end_fork();
        // If this fails, bash has ended, and the wait returns at once.
        let _ = self.channel.send(ToShell::End);
        let _ = wait_readable([Some(self.channel.process.child.pidfd())], Some(STOP_GRACE));
    }

    fn run_shutdown(&mut self) -> std::result::Result<(), String> {
        let mut limit = Limit::until(Instant::now() + SHUTDOWN_LIMIT);
        if self.clean_up == CleanUp::Due && self.is_forked() && !self.is_damaged {
            // The signal came while the last event ran. If this fails, that event has changed nothing.
            self.keep_from_fork();
        }
        // The last event may have ended the shell, or left what bash cannot undo.
        if !self.is_usable() {
            let replaced = self.replace_within(&mut limit);
            if replaced.is_err() || !self.is_usable() || !self.give_kept() {
                return Err(
                    "does not run: its shell has ended, and no other is ready in time".to_owned(),
                );
            }
        }
        self.guard_exit();
        match self.call_hook("lambda_shutdown", &mut limit) {
            WaitOutcome::Report(report) if report.status == 0 => Ok(()),
            WaitOutcome::Report(report) => Err(format!("ended with status {}", report.status)),
            WaitOutcome::Overrun(_) => Err(format!("was stopped after {SHUTDOWN_LIMIT:?}")),
            WaitOutcome::LastReport(_) | WaitOutcome::Ended(_) | WaitOutcome::Lost => {
                Err("ended its shell".to_owned())
            }
        }
    }

    fn call_hook(&mut self, function: &str, limit: &mut Limit) -> WaitOutcome {
        let nonce = self.channel.new_nonce();
        // If this fails, bash has ended, and the wait below reports that.
        let (run, report) = (
            ToShell::RunHook { function },
            ToShell::Report { nonce: &nonce },
        );
        let _ = self.channel.write_lines(&format!("{run}{report}"));
        self.channel
            .wait_for_report(&nonce, &mut Response::discarded(), limit)
    }

    /// Reseeds bash's RANDOM and our nonces, which would be the same in every copy of a snapshot.
    pub(crate) fn renew_random(&mut self) {
        let seed = self.channel.renew_nonces();
        self.end_fork();
        // bash opens descriptors while it runs the line below, and these must not count among the initial ones.
        self.is_damaged |= !self.is_in_initial_state();
        // If this fails, bash has ended. The shell that replaces it has a seed of its own.
        let _ = self.channel.send(ToShell::Reseed(seed));
    }

    /// Whether the shell can run a hook. Ends a waiting fork, so that the shell itself reads its script.
    fn is_usable(&mut self) -> bool {
        self.end_fork();
        self.channel.process.child.status().is_none()
            && !self.is_damaged
            && self.is_in_initial_state()
    }

    /// Makes the changes of a hook permanent: every event starts from the state that the shell has now.
    fn make_current_state_initial(&mut self) {
        // With the state that bash shows now come its descriptors: until then they may be those of our lines.
        self.initial_state = None;
        // A shell that has ended is replaced before the next call.
        self.is_damaged = self.channel.request_first_state().is_err();
        let shell = self.channel.process.child.pid();
        self.leftovers = Some(Leftovers::watch(self.cx, Some(shell)));
    }

    fn stop_hook(&mut self, overrun: Overrun) {
        let shell = self.channel.process.child.pid();
        if let Some(leftovers) = &self.leftovers {
            let grace = self.cx.config.stop_grace(overrun);
            processes::stop(|| leftovers.handler_processes(Some(shell)), grace);
        }
        self.channel.process.child.kill();
    }
}
