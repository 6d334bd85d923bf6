//! Replaces a shell that has ended or cannot be restored.
//!
//! A standby shell shortens this: it is started early and has read the driver, so it only sources the handler's file.
//! The fresh shell gets the kept variables of the old one; all others start anew.

use super::clean_up::RestoreOutcome;
use super::context::{Context, context_arguments};
use super::to_shell::ToShell;
use super::{Shell, Starting, failure};
use crate::child::arguments::Separator;
use crate::error::Result;
use crate::invocation::Invocation;
use crate::wait::{Limit, Overrun};
use coshell_handler::Failure;
use coshell_process::sys;

impl Shell<'_> {
    /// Ends the shell, and puts a fresh one in its place. Fails if none starts.
    pub(super) fn replace(&mut self) -> Result<()> {
        let mut limit = Limit::new(self.cx.signals, None);
        self.replace_within(&mut limit)
    }

    /// The same until `limit` is reached, which is [`Error::Stopped`](crate::error::Error::Stopped). After any error
    /// `self` is a shell that has to be replaced again.
    pub(super) fn replace_within(&mut self, limit: &mut Limit) -> Result<()> {
        // Leftover processes go on without their shell. What they print belongs to their own invocation.
        let has_leftovers = self
            .leftovers
            .as_ref()
            .is_some_and(|leftovers| !leftovers.all().is_empty());
        self.channel.process.child.kill();
        self.cx.logs.drain();
        // Output that came after the response was read is from a process that may have ended by now.
        if (has_leftovers || sys::bytes_ready(&self.channel.process.response) > 0)
            && let Ok(pipe) = self.channel.process.response.try_clone()
        {
            self.cx.logs.forward_leftover(pipe);
        }
        // A fork that outlives its shell still reports how it ended.
        if has_leftovers && let Ok(pipe) = self.channel.process.control.try_clone() {
            self.cx.logs.discard_leftover(pipe);
        }
        // With the same log pipe, their lines would count as lines of the next invocation.
        if has_leftovers && self.cx.logs.open_new_pipe().is_ok() {
            self.standby = None;
        }
        // If the file cannot be sourced, the error quotes only what it printed this time.
        self.cx.logs.clear_tail();
        let standby = self.standby.take();
        let standby = standby.and_then(|mut standby| standby.is_alive().then_some(standby));
        let starting = match standby {
            Some(standby) => *standby,
            None => Starting::start(self.cx)?,
        };
        let mut loading = starting.load();
        let loaded = loading.wait(limit);
        let old = std::mem::replace(self, loading.shell);
        self.kept_variables = old.kept_variables;
        self.forks = old.forks.for_another_shell();
        if loaded.is_err() {
            self.is_damaged = true;
            self.has_shutdown = old.has_shutdown;
            self.leftovers = old.leftovers;
        }
        loaded
    }

    /// Stops a shell that is still sourcing the file when the time of its event is up, with all that the file has started.
    pub(super) fn stop_loading(&mut self) -> Failure {
        let overrun = if self.cx.signals.is_stop_requested() {
            Overrun::Stop
        } else {
            Overrun::Deadline
        };
        let running = self.stop_shell(overrun);
        self.cx.logs.drain();
        let trace = self.channel.take_exit_trace().unwrap_or_default();
        let handler = self.cx.handler;
        let (label, file) = (handler.label(), handler.file.display());
        let label = format!("{label} was not started: loading {file}");
        failure::stopped(self.cx, &label, overrun, trace, &running)
    }

    /// Makes a fresh shell do everything that the next invocation would have to wait for: it shows its state, gets
    /// the kept variables and those of the context, or makes a fork.
    pub(super) fn prime(&mut self, invocation: &Invocation) {
        let is_ready = self.is_in_initial_state() && self.give_kept();
        if !self.is_forked() && is_ready {
            let context = Context::of(invocation);
            let arguments = context_arguments(&context, invocation);
            let sent = self
                .channel
                .put(&arguments, b"")
                .and_then(|()| self.channel.send(ToShell::SetContext(Separator::Nul)))
                .and_then(|()| self.channel.request_state_after(b"", b""));
            self.context = sent.ok().map(|()| context);
        }
        // A shell that cannot show its state still serves one invocation, and is replaced again.
        self.is_damaged = !is_ready
            || if self.is_forked() {
                !self.make_fork()
            } else {
                !matches!(self.restore_state(), RestoreOutcome::Restored)
            };
    }

    /// Starts a standby shell. This happens after an answer, so that the init does not pay for it, and never while
    /// another shell is starting.
    pub(super) fn start_standby(&mut self) {
        let config = self.cx.config;
        if !config.keeps_standby || self.standby.is_some() {
            return;
        }
        match Starting::start_standby(self.cx) {
            Ok(standby) => self.standby = Some(Box::new(standby)),
            Err(error) => {
                config
                    .log
                    .warn(format_args!("cannot start the standby shell: {error}"));
            }
        }
    }

    /// Remembers the kept variables of a shell that is about to be replaced.
    pub(super) fn remember_kept(&mut self) {
        let is_pending =
            self.channel.is_state_pending() || self.channel.request_state_after(b"", b"").is_ok();
        if is_pending && let Some(now) = self.channel.wait_for_state() {
            self.kept_variables.remember(&now);
        }
    }

    /// Gives a fresh shell the kept variables.
    pub(super) fn give_kept(&mut self) -> bool {
        if self.kept_variables.is_empty() {
            return true;
        }
        let commands = self.kept_variables.commands(self.initial_state.as_ref());
        // A shell that has shown its state has read the commands, so file 60 may be written again.
        self.channel.request_state_after(b"", &commands).is_ok() && self.is_in_initial_state()
    }
}
