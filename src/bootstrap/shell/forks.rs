//! Runs events in forks of the shell: with `COSHELL_ISOLATION=subshell`, and with `restore` for handlers that bash
//! cannot undo.
//!
//! The fork is made after an answer, so that no event waits for it. It waits at a `read` until its event arrives. Every
//! change that the handler makes ends with the fork. `runtime-scripts/subshell.bash` is the other side.

use nix::unistd::Pid;

use super::Shell;
use super::to_shell::{ToFork, ToShell};
use crate::config::Isolation;

/// After this many events in a row that bash could not undo, events run in forks.
const MAX_REPLACED_IN_A_ROW: u32 = 3;

/// Whether events run in forks of a shell, and the fork that waits for the next event.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Forks {
    /// bash cannot undo what the handler does, or only slowly.
    pub are_needed: bool,
    /// The code of a fork runs in a function, and not in `eval`.
    pub run_in_function: bool,
    /// The file defines a function `exit` of its own.
    pub has_own_exit: bool,
    /// The shell has opened the pipe at which forks wait.
    is_prepared: bool,
    /// The fork that waits for the next event.
    waiting: Option<Pid>,
    /// How many events in a row bash could not undo. Each of them cost a shell.
    replaced_in_a_row: u32,
}

impl Forks {
    /// The part that a fresh shell takes over from the one that it replaces.
    pub(crate) fn for_another_shell(&self) -> Self {
        Self {
            are_needed: self.are_needed,
            has_own_exit: self.has_own_exit,
            run_in_function: self.run_in_function,
            replaced_in_a_row: self.replaced_in_a_row,
            ..Self::default()
        }
    }

    /// Counts an event that bash could undo.
    pub(crate) fn count_restored(&mut self) {
        self.replaced_in_a_row = 0;
    }

    /// Counts an event that bash could not undo. Returns true if events run in forks from now on; otherwise bash
    /// would source the file again for every event.
    pub(crate) fn count_replaced(&mut self) -> bool {
        self.replaced_in_a_row += 1;
        self.are_needed = self.replaced_in_a_row >= MAX_REPLACED_IN_A_ROW;
        self.are_needed
    }
}

impl Shell<'_> {
    /// Whether events run in forks of this shell.
    pub(super) fn is_forked(&self) -> bool {
        self.isolation() == Isolation::Subshell
            || self.forks.are_needed
            || self.channel.process.is_older
    }

    /// The isolation of this shell. A bash before 4.4 cannot undo what a handler does.
    pub(super) fn isolation(&self) -> Isolation {
        match self.cx.config.isolation {
            Isolation::Restore | Isolation::None if self.channel.process.is_older => {
                Isolation::Subshell
            }
            isolation => isolation,
        }
    }

    /// Makes the fork for the next event, unless it is there. Returns false if there is none.
    pub(super) fn make_fork(&mut self) -> bool {
        if self.forks.waiting.is_some() {
            return true;
        }
        if !self.forks.is_prepared {
            self.forks.is_prepared = self.channel.prepare_forks(self.forks.has_own_exit).is_ok();
        }
        let end_nonce = self.channel.new_nonce();
        let make = ToShell::MakeFork {
            end_nonce: &end_nonce,
            shows_kept: !self.kept_variables.is_empty(),
            in_function: self.forks.run_in_function,
        };
        if self.channel.reopen().is_err() || self.channel.send(make).is_err() {
            return false;
        }
        self.forks.waiting = self.channel.wait_for_fork(&end_nonce);
        self.channel.fork_end = Some(end_nonce);
        if let (Some(fork), Some(leftovers)) = (self.forks.waiting, &mut self.leftovers) {
            leftovers.add_waiting_fork(fork);
        }
        self.forks.waiting.is_some()
    }

    /// Hands the waiting fork over to the event that has arrived.
    pub(super) fn take_fork(&mut self) {
        if let (Some(fork), Some(leftovers)) = (self.forks.waiting.take(), &mut self.leftovers) {
            leftovers.set_running_fork(fork);
        }
    }

    /// Ends the waiting fork, so that the shell reads its script again.
    pub(super) fn end_fork(&mut self) {
        if self.forks.waiting.is_some() {
            // If this fails, the fork has ended already.
            let _ = self.channel.send_to_fork(ToFork::End);
            self.take_fork();
            self.channel.fork_end = None;
        }
    }

    /// Makes `exit` leave a function of the file, and not the shell. A shell whose events run in forks has the builtin.
    pub(super) fn guard_exit(&mut self) {
        if self.is_forked() {
            // If this fails, bash has ended, and the wait for its report says so.
            let _ = self.channel.send(ToShell::GuardExit);
        }
    }

    /// Waits for the end of the fork, and gives the shell the kept variables of the fork. Returns false if that fails.
    pub(super) fn keep_from_fork(&mut self) -> bool {
        // An event that was not started has left its fork waiting.
        if self.forks.waiting.is_some() {
            return true;
        }
        let has_ended = self.channel.wait_for_fork_end() && self.channel.empty_go_ahead().is_ok();
        let shown = self.channel.take_shown();
        self.kept_variables.remember_shown(&shown);
        if !has_ended || shown.is_empty() {
            return has_ended;
        }
        let commands = self.kept_variables.commands(self.initial_state.as_ref());
        self.channel.run_commands(&commands).is_ok()
    }
}
