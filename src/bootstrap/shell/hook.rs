//! Functions of the file's that belong to no invocation, and what they leave behind.
//!
//! `lambda_before_snapshot` and `lambda_after_restore` are part of the init: what they change in the
//! shell, open or start is what invocations find, and what is put back after each. `lambda_shutdown`,
//! after which there is nothing, is in `mod.rs`.

use super::channel::Told;
use super::protocol::{self, Ended};
use super::{Shell, failure};
use crate::child::leftovers::Leftovers;
use crate::error::{Error, Result};
use crate::log::Origin;
use crate::response::Response;
use crate::wait::{Limit, Overrun};
use coshell_handler::Failure;
use coshell_process::processes;

impl Shell<'_> {
    /// Runs `function`, if the file defines it, without a limit: with nothing to read, and what it
    /// prints is log. Why it failed, if it did. A shell that has ended before is replaced.
    ///
    /// # Errors
    /// [`Error::Stopped`] if we are asked to end meanwhile; [`Error::StartShell`] or
    /// [`Error::LoadHandler`] if the shell has to be replaced, and cannot be.
    pub(crate) fn run_hook(&mut self, function: &str) -> Result<Option<Failure>> {
        if !self.is_in_order() {
            self.replace()?;
            if !self.is_in_order() {
                return Ok(Some(failure::of_loss(function, &self.around.logs.tail())));
            }
        }
        self.around.logs.begin(Origin::default());
        let mark = self.channel.new_mark();
        // If bash has ended the wait tells.
        let _ = self
            .channel
            .write_lines(&protocol::hook_lines(function, &mark));
        let mut limit = Limit::new(self.around.signals, None);
        let told = self
            .channel
            .wait_for_report(&mark, &mut Response::unwanted(""), &mut limit);
        self.is_damaged = !matches!(told, Told::Report(_));
        if let Told::Overrun(overrun) = told {
            self.stop_hook(overrun);
        }
        self.around.logs.drain();
        let tail = self.around.logs.tail();
        let failure = match told {
            Told::Report(report) if report.ended == Ended::NotCalled => return Ok(None),
            Told::Report(report) if report.status == 0 => {
                self.keep_what_is_there();
                return Ok(None);
            }
            Told::Report(report) => failure::of_report(function, &report, &tail),
            Told::Ended(status) => {
                let words = self.channel.last_words().unwrap_or_default();
                failure::of_end(function, status, words, &tail)
            }
            Told::LastReport(_) | Told::Lost | Told::Overrun(_) => {
                failure::of_loss(function, &tail)
            }
        };
        // Who asks us to end may have asked bash too.
        if self.around.signals.is_stop_requested() {
            return Err(Error::Stopped);
        }
        Ok(Some(failure))
    }

    /// Makes what is random differ from what it is in every other copy of a snapshot: bash's RANDOM,
    /// and our marks.
    pub(crate) fn renew_random(&mut self) {
        let seed = self.channel.renew_marks();
        // A shell that has ended is replaced when it is needed, by one with a seed of its own.
        self.end_fork();
        let _ = self.channel.write_lines(&protocol::reseed_line(seed));
    }

    fn is_in_order(&mut self) -> bool {
        self.end_fork();
        self.channel.process.child.status().is_none() && !self.is_damaged && self.is_in_base_state()
    }

    /// What a hook leaves is not undone: it is what the shell has by rights from now on.
    fn keep_what_is_there(&mut self) {
        self.state = None;
        // A shell that has ended is replaced when it is needed.
        self.is_damaged = self.channel.ask_for_first_state().is_err();
        self.watch_descriptors();
        let shell = self.channel.process.child.pid();
        self.leftovers = Some(Leftovers::watch(self.around, Some(shell)));
    }

    fn stop_hook(&mut self, overrun: Overrun) {
        let shell = self.channel.process.child.pid();
        if let Some(leftovers) = &self.leftovers {
            let grace = self.around.config.stop_grace(overrun);
            processes::stop(|| leftovers.of_handler(Some(shell)), grace);
        }
        self.channel.process.child.kill();
    }
}
