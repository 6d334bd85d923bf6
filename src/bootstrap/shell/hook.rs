//! The functions of the handler's file that run outside of invocations.
//!
//! `lambda_before_snapshot` and `lambda_after_restore` are part of the init: what they change in the shell, open or start is
//! what invocations find, and what is restored after each. `lambda_shutdown` is the last thing that runs, and has little
//! time.

use std::time::{Duration, Instant};

use super::channel::WaitOutcome;
use super::protocol::{self, Ended};
use super::{Shell, failure};
use crate::child::leftovers::Leftovers;
use crate::config::STOP_GRACE;
use crate::error::{Error, Result};
use crate::log::Origin;
use crate::response::Response;
use crate::wait::{Limit, Overrun, wait_readable};
use coshell_handler::Failure;
use coshell_process::processes;

/// How long `lambda_shutdown` may take.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(200);

impl Shell<'_> {
    /// Runs `function`, if the file defines it, without a time limit. Its standard input is empty, and what it prints goes to
    /// the log. Returns why it failed, if it did. A shell that has ended before is replaced.
    ///
    /// # Errors
    /// [`Error::Stopped`] if we are stopped meanwhile; [`Error::StartShell`] or [`Error::LoadHandler`] if the shell has to be
    /// replaced, and cannot be.
    pub(crate) fn run_hook(&mut self, function: &str) -> Result<Option<Failure>> {
        if !self.is_in_order() {
            self.replace()?;
            if !self.is_in_order() {
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
            WaitOutcome::Report(report) if report.ended == Ended::NotCalled => return Ok(None),
            WaitOutcome::Report(report) if report.status == 0 => {
                self.adopt_current_state();
                return Ok(None);
            }
            WaitOutcome::Report(report) => failure::handler_failed(function, &report, &tail),
            WaitOutcome::Ended(status) => {
                let trace = self.channel.exit_trace().unwrap_or_default();
                failure::shell_ended(function, status, trace, &tail)
            }
            WaitOutcome::LastReport(_) | WaitOutcome::Lost | WaitOutcome::Overrun(_) => {
                failure::shell_lost(function, &tail)
            }
        };
        // A signal that stops us may have gone to bash as well.
        if self.cx.signals.is_stop_requested() {
            return Err(Error::Stopped);
        }
        Ok(Some(failure))
    }

    /// True if the file defines `lambda_shutdown`.
    pub(crate) fn has_shutdown(&self) -> bool {
        self.has_shutdown
    }

    /// Runs `lambda_shutdown`, if the file defines it, and lets bash end by itself. Takes a quarter of a second at most.
    pub(crate) fn shut_down(&mut self) {
        self.cx.logs.begin_invocation(Origin::default());
        self.end_fork();
        if self.has_shutdown
            && let Err(cause) = self.run_shutdown()
        {
            let log = self.cx.config.log;
            log.warn(format_args!("lambda_shutdown {cause}"));
        }
        // If this fails bash has ended, and there is nothing to wait for.
        let _ = self.channel.write_lines(protocol::END_LINES);
        let _ = wait_readable([Some(self.channel.process.child.ended())], Some(STOP_GRACE));
    }

    fn run_shutdown(&mut self) -> std::result::Result<(), String> {
        if !self.is_in_order() {
            return Err("does not run: its shell has ended".to_owned());
        }
        self.guard_exit();
        let mut limit = Limit::until(Instant::now() + SHUTDOWN_LIMIT);
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
        // If this fails bash has ended, and the wait reports that.
        let _ = self
            .channel
            .write_lines(&protocol::hook_lines(function, &nonce));
        self.channel
            .wait_for_report(&nonce, &mut Response::discarded(""), limit)
    }

    /// Reseeds what would be the same in every copy of a snapshot: bash's RANDOM, and our nonces.
    pub(crate) fn renew_random(&mut self) {
        let seed = self.channel.renew_nonces();
        // A shell that has ended is replaced when it is needed, by one with a seed of its own.
        self.end_fork();
        let _ = self.channel.write_lines(&protocol::reseed_line(seed));
    }

    fn is_in_order(&mut self) -> bool {
        self.end_fork();
        self.channel.process.child.status().is_none() && !self.is_damaged && self.is_in_base_state()
    }

    /// What a hook changed is not undone: invocations start from it.
    fn adopt_current_state(&mut self) {
        self.state = None;
        // A shell that has ended is replaced when it is needed.
        self.is_damaged = self.channel.ask_for_first_state().is_err();
        self.watch_descriptors();
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
