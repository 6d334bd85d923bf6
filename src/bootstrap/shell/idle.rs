//! The talk with a bash that runs no handler: its state, its forks, its pipes.
//!
//! Nobody waits for it then, but it may have been left unable to answer. Neighbour: `channel.rs` is the talk while a
//! handler runs.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2};

use super::channel::Channel;
use super::idle_lines;
use super::renew::REOPEN_LINE;
use super::state::State;
use crate::child::arguments;
use crate::wait::wait_readable;
use coshell_process::sys;
use coshell_process::{processes, response_pipe};

/// How long bash may take for what it does between invocations, before it counts as lost.
const IDLE_LIMIT: Duration = Duration::from_secs(5);
/// For how long it is left alone with its state, which fits into the pipe if it is not very long.
const STATE_AFTER: Duration = Duration::from_millis(5);
/// The same for a state that does not end.
const STATE_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked whether it is at it.
const IDLE_STEP: Duration = Duration::from_millis(100);

impl Channel {
    /// Makes bash run commands, of whatever length and whatever bytes.
    ///
    /// # Errors
    /// `EPIPE` when bash has ended; the system's, when there is no memory for them.
    pub(crate) fn run_commands(&mut self, commands: &[u8]) -> io::Result<()> {
        arguments::write_at_start(&mut self.process.arguments, &[commands])?;
        arguments::truncate(&self.process.arguments, commands.len())?;
        self.write_lines(idle_lines::READ_ARGUMENTS_LINE)
    }

    /// Waits until a fork says that it waits for an event: its process id; `None` if none does.
    pub(crate) fn wait_for_fork(&mut self) -> Option<Pid> {
        let begun = Instant::now();
        loop {
            if let Some((pid, end)) = idle_lines::find_waiting_fork(self.control_buffer.bytes()) {
                self.control_buffer.take(end);
                // It is open in bash now.
                if let Some((_, theirs)) = &mut self.go_ahead {
                    *theirs = None;
                }
                return Some(Pid::from_raw(pid));
            }
            let [has_words, has_ended] = wait_readable(self.control_or_exit(), Some(IDLE_STEP));
            let goes_on = if has_words {
                self.read_control()
            } else {
                !has_ended && begun.elapsed() < IDLE_LIMIT
            };
            if !goes_on {
                return None;
            }
        }
    }

    /// Makes bash able to make forks.
    ///
    /// # Errors
    /// `EPIPE` when bash has ended; the system's, when there is no descriptor left.
    pub(crate) fn prepare_forks(&mut self, has_own_exit: bool) -> io::Result<()> {
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
        let lines =
            idle_lines::run_in_forks_lines(std::process::id(), theirs.as_fd(), has_own_exit);
        self.go_ahead = Some((sys::file(ours), Some(theirs)));
        self.write_lines(&lines)
    }

    /// Lets the fork that waits take the event that was laid out, or end.
    ///
    /// # Errors
    /// `EPIPE` when nobody can read it any more.
    pub(crate) fn send_go_ahead(&mut self, word: &[u8]) -> io::Result<()> {
        let (go_ahead, _) = self.go_ahead.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        go_ahead.write_all(word)
    }

    /// Makes bash show the variables that live on, for [`Channel::take_shown`]; whether it has.
    pub(crate) fn wait_for_kept(&mut self) -> bool {
        let nonce = self.nonces.next();
        let sent = self.write_lines(&idle_lines::kept_line(&nonce));
        sent.is_ok() && self.wait_for_nonce(&nonce)
    }

    /// The variables that live on, as a fork showed them at its end; forgets them.
    pub(crate) fn take_shown(&mut self) -> Vec<u8> {
        self.process.state.take()
    }

    /// Expects the shell to report the end of a fork with `nonce`, if the fork has not reported before.
    pub(crate) fn expect_fork_end(&mut self, nonce: String) {
        self.fork_end = Some(nonce);
    }

    /// Waits until a fork that has reported has ended, too; `false` if the shell ends, or it takes too long.
    pub(crate) fn wait_for_fork_end(&mut self) -> bool {
        match self.fork_end.take() {
            Some(nonce) => self.wait_for_nonce(&nonce) && self.wait_for_nonce(&nonce),
            None => true,
        }
    }

    /// The EXIT trap of `state` is the one that bash has by rights.
    pub(crate) fn set_initial_exit_trap(&mut self, state: &State) {
        let trap = state.trap(b"EXIT");
        self.initial_exit_trap = trap.map_or_else(Vec::new, |command| [command, b"\n"].concat());
    }

    /// Makes bash run `lines`, then `commands`, and then show its state, which it owes us from then on.
    ///
    /// # Errors
    /// `EPIPE` when bash has ended, also if it ends before it has shown what it owed before.
    pub(crate) fn ask_for_state_after(&mut self, lines: &[u8], commands: &[u8]) -> io::Result<()> {
        if self.pending_state.is_some() {
            // One state at a time: the one before `commands` is of no use.
            self.wait_for_state().ok_or(io::ErrorKind::BrokenPipe)?;
        }
        self.process.script.as_ref().write_all(lines)?;
        if !commands.is_empty() {
            self.run_commands(commands)?;
        }
        let nonce = self.nonces.next();
        self.write_lines(&idle_lines::state_line(&nonce))?;
        self.pending_state = Some(nonce);
        Ok(())
    }

    /// The line by which bash resets what costs less to reset than to look at, and shows its state. Before that it opens
    /// again what it has to, so that its descriptors are at rest when its state is there.
    fn reset_lines(&mut self) -> (String, String) {
        let nonce = self.nonces.next();
        let reopening = if self.process.is_reopened {
            REOPEN_LINE
        } else {
            ""
        };
        (
            format!("{reopening}{}", idle_lines::reset_line(&nonce)),
            nonce,
        )
    }

    /// Makes bash reset what costs less to reset than to look at, and show its state, if it has not been asked.
    ///
    /// # Errors
    /// `EPIPE` when bash has ended.
    pub(crate) fn ask_for_state_after_reset(&mut self) -> io::Result<()> {
        if self.is_state_pending() {
            return Ok(());
        }
        let (lines, nonce) = self.reset_lines();
        self.write_lines(&lines)?;
        self.pending_state = Some(nonce);
        Ok(())
    }

    /// What does the same when it is called, as soon as nobody waits for bash any more.
    pub(crate) fn ask_later_for_state_after_reset(&mut self) -> Box<dyn FnOnce() + Send> {
        let (lines, nonce) = self.reset_lines();
        let script = Arc::clone(&self.process.script);
        let was_asked = Arc::new(AtomicBool::new(false));
        self.state_requested_later = Some((nonce, Arc::clone(&was_asked)));
        Box::new(move || {
            let sent = script.as_ref().write_all(lines.as_bytes());
            was_asked.store(sent.is_ok(), Ordering::Relaxed);
        })
    }

    /// Learns whether bash was asked later for its state.
    fn take_state_requested_later(&mut self) {
        if let Some((nonce, was_asked)) = self.state_requested_later.take()
            && was_asked.load(Ordering::Relaxed)
        {
            self.pending_state = Some(nonce);
        }
    }

    /// Makes bash show its state as it does the first time.
    ///
    /// # Errors
    /// `EPIPE` when bash has ended.
    pub(crate) fn ask_for_first_state(&mut self) -> io::Result<()> {
        let nonce = self.nonces.next();
        self.write_lines(&idle_lines::first_state_line(&nonce))?;
        self.pending_state = Some(nonce);
        Ok(())
    }

    /// Expects the state with `nonce`, which lines that were sent ask for.
    pub(crate) fn expect_state(&mut self, nonce: String) {
        self.pending_state = Some(nonce);
    }

    /// Whether bash owes us a state.
    pub(crate) fn is_state_pending(&mut self) -> bool {
        self.take_state_requested_later();
        self.pending_state.is_some()
    }

    /// Waits for the state that bash owes us; `None` if it ends, or takes longer than it may.
    pub(crate) fn wait_for_state(&mut self) -> Option<State> {
        let nonce = self.pending_state.take()?;
        if !self.wait_for_nonce(&nonce) {
            return None;
        }
        State::read(self.process.state.take())
    }

    /// Waits until bash has done all that stands before `nonce`; `false` if it ends, or takes longer than it may.
    fn wait_for_nonce(&mut self, nonce: &str) -> bool {
        // A DEBUG trap of the handler's may print our lines: there no NUL follows.
        let nonce = format!("{nonce}\0");
        let begun = Instant::now();
        let (mut silent, mut is_late) = (false, false);
        loop {
            if let Some(at) = self.control_buffer.find(nonce.as_bytes()) {
                self.control_buffer.take(at + nonce.len());
                return true;
            }
            let [words, end] = self.control_or_exit();
            let state = self.process.state.source().filter(|_| is_late);
            let step = if is_late { IDLE_STEP } else { STATE_AFTER };
            let [has_words, has_ended, has_state] = wait_readable([words, end, state], Some(step));
            let goes_on = if has_words {
                self.read_control()
            } else if has_ended {
                false
            } else if has_state || !is_late {
                // It may be longer than its pipe.
                is_late = true;
                self.process.state.take_more();
                begun.elapsed() < STATE_LIMIT
            } else {
                // It takes a millisecond; a handler can make it impossible.
                let is_over = self.stays_silent(&mut silent) || begun.elapsed() > IDLE_LIMIT;
                !is_over || processes::is_runnable(self.process.child.pid())
            };
            if !goes_on {
                return false;
            }
        }
    }

    /// Gives bash another pipe for the handler's stdout, and `log` for its stderr; the end of the old one.
    ///
    /// # Errors
    /// The system's, or `EPIPE` when bash has ended.
    pub(crate) fn renew_output(&mut self, log: BorrowedFd) -> io::Result<File> {
        let (ours, theirs) = response_pipe()?;
        let lines = idle_lines::renew_output_lines(std::process::id(), &theirs, log);
        self.write_lines(&lines)?;
        self.ask_for_state_after(b"", b"")?;
        let old = std::mem::replace(&mut self.process.response, ours);
        // When bash has shown its state it has opened the pipe: we may close our end of it.
        self.wait_for_state().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(old)
    }
}
