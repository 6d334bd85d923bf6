//! Forks of the shell that are made ahead, after the answer, so that no event waits for one.
//!
//! With `COSHELL_ISOLATION=subshell` each event runs in one; with `restore` those of a handler that bash
//! cannot undo, event after event. A fork waits at a `read` until its event is laid out, and takes all that the handler
//! changed with it when it ends. See runtime-scripts/subshell.bash.

use nix::unistd::Pid;

use super::Shell;
use super::idle_lines;
use crate::config::Isolation;

/// After so many events in a row that bash could not undo, events run in forks.
const MAX_REPLACED_IN_A_ROW: u32 = 3;

/// Whether events run in forks of a shell, and the fork that waits for one.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Forks {
    /// Bash cannot undo what the handler does, or not in good time.
    pub are_needed: bool,
    /// They are made by a function, and not by `eval`.
    pub are_called: bool,
    /// The file defines a function `exit` of its own.
    pub has_own_exit: bool,
    /// The shell has read what it needs for that.
    is_prepared: bool,
    /// The fork that waits for the next event.
    waiting: Option<Pid>,
    /// How many events in a row have cost a shell, since bash could not undo them.
    replaced_in_a_row: u32,
}

impl Forks {
    /// What the shell that takes the place of this one has to know.
    pub(crate) fn for_another_shell(&self) -> Self {
        Self {
            are_needed: self.are_needed,
            has_own_exit: self.has_own_exit,
            are_called: self.are_called,
            replaced_in_a_row: self.replaced_in_a_row,
            ..Self::default()
        }
    }

    /// An event could be undone.
    pub(crate) fn count_restored(&mut self) {
        self.replaced_in_a_row = 0;
    }

    /// An event could not be undone, so that its shell is replaced. Whether that has happened so often that
    /// events run in forks from now on: else the file would be sourced for each event.
    pub(crate) fn count_replaced(&mut self) -> bool {
        self.replaced_in_a_row += 1;
        self.are_needed = self.replaced_in_a_row >= MAX_REPLACED_IN_A_ROW;
        self.are_needed
    }
}

impl Shell<'_> {
    /// Whether events run in forks of this shell.
    pub(super) fn is_forked(&self) -> bool {
        self.cx.config.isolation == Isolation::Subshell || self.forks.are_needed
    }

    /// Makes the fork that the next event will run in; whether there is one.
    pub(super) fn make_fork(&mut self) -> bool {
        if self.forks.waiting.is_some() {
            return true;
        }
        if !self.forks.is_prepared {
            self.forks.is_prepared = self.channel.prepare_forks(self.forks.has_own_exit).is_ok();
        }
        let lines = idle_lines::fork_lines(!self.kept.is_empty(), self.forks.are_called);
        if self.channel.reopen().is_err() || self.channel.write_lines(&lines).is_err() {
            return false;
        }
        self.forks.waiting = self.channel.wait_for_fork();
        if let (Some(fork), Some(leftovers)) = (self.forks.waiting, &mut self.leftovers) {
            leftovers.add_waiting_fork(fork);
        }
        self.forks.waiting.is_some()
    }

    /// The fork that was made ahead is of the event that comes now.
    pub(super) fn take_fork(&mut self) {
        if let (Some(fork), Some(leftovers)) = (self.forks.waiting.take(), &mut self.leftovers) {
            leftovers.set_running_fork(fork);
        }
    }

    /// Ends the fork that was made ahead, so that the shell reads its script again.
    pub(super) fn end_fork(&mut self) {
        if self.forks.waiting.is_some() {
            // If nobody is there the shell reads its script already.
            let _ = self.channel.send_go_ahead(idle_lines::NO_EVENT);
            self.take_fork();
        }
    }

    /// Makes `exit` leave a function of the file's, and not the shell: it had the builtin, for its forks.
    pub(super) fn guard_exit(&mut self) {
        if self.is_forked() {
            // If bash has ended the wait for its report ends.
            let _ = self.channel.write_lines(idle_lines::GUARD_EXIT_LINE);
        }
    }

    /// The variables that live on go from the fork into the shell, once it has ended: it reports before.
    pub(super) fn keep_from_fork(&mut self) -> bool {
        let has_ended = self.channel.wait_for_fork_end();
        let shown = self.channel.take_shown();
        self.kept.remember_shown(&shown);
        if !has_ended || shown.is_empty() {
            return has_ended;
        }
        let commands = self.kept.commands(self.state.as_ref());
        self.channel.run_commands(&commands).is_ok()
    }
}
