//! Talks to bash between two invocations: requests its state, makes forks, and replaces its pipes.
//!
//! The caller has its answer by then, so these waits delay only the next event. But the handler may have left bash
//! unable to answer, so each of them has a limit. `report_wait.rs` waits while a handler runs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::libc::O_NONBLOCK;
use nix::unistd::{Pid, pipe2};

use super::channel::{Channel, DeferredStateRequest, GoAheadPipe};
use super::from_shell::FromShell;
use super::shell_reader::Awaited;
use super::state::ShellState;
use super::to_shell::{Shown, ToFork, ToShell};
use crate::child::arguments;
use crate::wait::wait_readable;
use coshell_process::{processes, response_pipe, sys};

/// How long bash may take between two invocations before it counts as lost.
const IDLE_LIMIT: Duration = Duration::from_secs(5);
/// The same while it writes its state, which may be long.
const STATE_LIMIT: Duration = Duration::from_secs(30);
/// For how long the state pipe is not read: most states fit into it and cost no wake-up.
const STATE_AFTER: Duration = Duration::from_millis(5);
/// How often we check that a slow bash is still at work.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

impl Channel {
    /// Makes bash run commands of any length, which may contain any bytes. Fails with `EPIPE` if bash has ended.
    pub(crate) fn run_commands(&mut self, commands: &[u8]) -> io::Result<()> {
        arguments::write_at_start(&mut self.process.arguments, &[commands])?;
        arguments::truncate(&self.process.arguments, commands.len())?;
        self.send(ToShell::RunArguments)
    }

    /// Waits until a fork is ready for an event, and returns its process id. Returns `None` if none will be: the shell
    /// reports with `end_nonce` when it has no fork.
    pub(crate) fn wait_for_fork(&mut self, end_nonce: &str) -> Option<Pid> {
        let begun = Instant::now();
        loop {
            while let Some(message) = self.next_message(&[Awaited::Report(end_nonce)]) {
                match message {
                    FromShell::ForkWaits(fork) => {
                        // bash has opened the pipe.
                        if let Some(pipe) = &mut self.go_ahead {
                            pipe.reader = None;
                        }
                        return Some(fork);
                    }
                    FromShell::Report { .. } => return None,
                    _ => {}
                }
            }
            let [has_control, has_ended] =
                wait_readable(self.control_or_exit(), Some(CHECK_INTERVAL));
            let goes_on = if has_control {
                self.read_control()
            } else {
                !has_ended && begun.elapsed() < IDLE_LIMIT
            };
            if !goes_on {
                return None;
            }
        }
    }

    /// Prepares bash for making forks. Fails with `EPIPE` if bash has ended.
    pub(crate) fn prepare_forks(&mut self, has_own_exit: bool) -> io::Result<()> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        let run_in_forks = ToShell::RunInForks {
            host: std::process::id(),
            turn: reader.as_raw_fd(),
            has_own_exit,
        };
        self.go_ahead = Some(GoAheadPipe {
            writer: File::from(writer),
            reader: Some(reader),
        });
        self.send(run_in_forks)
    }

    /// Makes the waiting fork take its event, or end. Fails with `EPIPE` if the fork and its shell have ended.
    pub(crate) fn send_to_fork(&mut self, line: ToFork) -> io::Result<()> {
        let pipe = self.go_ahead.as_mut();
        pipe.ok_or(io::ErrorKind::NotConnected)?
            .writer
            .write_all(line.to_string().as_bytes())
    }

    /// Removes what a fork that has ended has left of the line that was for it. If it was stopped before it had read
    /// that, the next fork would, and run at once, without its event or with that of the fork before. Fails if the pipe
    /// cannot be emptied.
    pub(crate) fn empty_go_ahead(&self) -> io::Result<()> {
        let Some(pipe) = &self.go_ahead else {
            return Ok(());
        };
        let left = sys::bytes_ready(&pipe.writer);
        if left == 0 {
            return Ok(());
        }
        let reader = File::options()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open(format!("/proc/self/fd/{}", pipe.writer.as_raw_fd()))?;
        (&reader).read_exact(&mut vec![0; left])
    }

    /// Makes bash show the kept variables, for [`Channel::take_shown`]. Returns false if bash does not.
    pub(crate) fn wait_for_kept(&mut self) -> bool {
        let nonce = self.nonces.next();
        let sent = self.send(ToShell::ShowKept { nonce: &nonce });
        sent.is_ok() && self.wait_for(Awaited::Done(&nonce))
    }

    /// Takes everything that came through the state pipe: the kept variables that a fork showed when it ended.
    pub(crate) fn take_shown(&mut self) -> Vec<u8> {
        self.process.state.take()
    }

    /// Waits until a fork that has reported has also ended. Returns false if the shell ends, or takes too long.
    pub(crate) fn wait_for_fork_end(&mut self) -> bool {
        match self.fork_end.take() {
            Some(nonce) => self.wait_for(Awaited::Report(&nonce)),
            None => true,
        }
    }

    /// Takes the EXIT trap of `state` for the initial one.
    pub(crate) fn set_initial_exit_trap(&mut self, state: &ShellState) {
        let trap = state.trap(b"EXIT");
        let trap = trap.map_or_else(Vec::new, |command| [command, b"\n"].concat());
        self.reader.set_initial_trap(trap);
    }

    /// Makes bash run `lines`, then `commands`, and then show its state, for [`Channel::wait_for_state`]. Fails with
    /// `EPIPE` if bash has ended.
    pub(crate) fn request_state_after(&mut self, lines: &[u8], commands: &[u8]) -> io::Result<()> {
        if self.pending_state.is_some() {
            // Only one state at a time can be pending, and the commands make this one outdated.
            self.wait_for_state().ok_or(io::ErrorKind::BrokenPipe)?;
        }
        self.process.script.as_ref().write_all(lines)?;
        if !commands.is_empty() {
            self.run_commands(commands)?;
        }
        let nonce = self.nonces.next();
        self.send(ToShell::ShowState {
            nonce: &nonce,
            what: Shown::Changes,
        })?;
        self.pending_state = Some(nonce);
        Ok(())
    }

    /// The lines that make bash reset what is cheaper to reset than to compare, and show its state. A shell that opens
    /// its files anew for every event does so before: when its state has arrived, its descriptors change no more.
    fn reset_lines(&self, nonce: &str) -> String {
        let what = Shown::ChangesAfterReset;
        let show = ToShell::ShowState { nonce, what };
        if self.process.is_reopened {
            format!("{}{show}", ToShell::Reopen)
        } else {
            show.to_string()
        }
    }

    /// Makes bash reset what is cheaper to reset than to compare, and show its state, unless a state is pending
    /// already. Fails with `EPIPE` if bash has ended.
    pub(crate) fn request_state_after_reset(&mut self) -> io::Result<()> {
        if self.is_state_pending() {
            return Ok(());
        }
        let nonce = self.nonces.next();
        let lines = self.reset_lines(&nonce);
        self.write_lines(&lines)?;
        self.pending_state = Some(nonce);
        Ok(())
    }

    /// Returns a function that does the same when it is called, from any thread: while the answer is on its way.
    pub(crate) fn defer_state_request(&mut self) -> Box<dyn FnOnce() + Send> {
        let nonce = self.nonces.next();
        let lines = self.reset_lines(&nonce);
        let script = Arc::clone(&self.process.script);
        let is_sent = Arc::new(AtomicBool::new(false));
        self.deferred_state_request = Some(DeferredStateRequest {
            nonce,
            is_sent: Arc::clone(&is_sent),
        });
        Box::new(move || {
            let written = script.as_ref().write_all(lines.as_bytes());
            is_sent.store(written.is_ok(), Ordering::Relaxed);
        })
    }

    /// Makes a deferred request the pending one, if it was sent.
    fn take_deferred_state_request(&mut self) {
        if let Some(request) = self.deferred_state_request.take()
            && request.is_sent.load(Ordering::Relaxed)
        {
            self.pending_state = Some(request.nonce);
        }
    }

    /// Makes bash show its full state, as it does the first time. Fails with `EPIPE` if bash has ended.
    pub(crate) fn request_first_state(&mut self) -> io::Result<()> {
        let nonce = self.nonces.next();
        self.send(ToShell::ShowState {
            nonce: &nonce,
            what: Shown::Everything,
        })?;
        self.pending_state = Some(nonce);
        Ok(())
    }

    /// Makes the state with `nonce`, which lines that were sent request, the pending one.
    pub(crate) fn expect_state(&mut self, nonce: String) {
        self.pending_state = Some(nonce);
    }

    /// Whether a state was requested and has not been read yet.
    pub(crate) fn is_state_pending(&mut self) -> bool {
        self.take_deferred_state_request();
        self.pending_state.is_some()
    }

    /// Waits for the pending state. Returns `None` if bash ends, or takes too long.
    pub(crate) fn wait_for_state(&mut self) -> Option<ShellState> {
        let nonce = self.pending_state.take()?;
        if !self.wait_for(Awaited::Done(&nonce)) {
            return None;
        }
        ShellState::read(self.process.state.take())
    }

    /// Waits until bash writes what is awaited: then it has run all lines before. Returns false if bash ends or takes too long.
    fn wait_for(&mut self, awaited: Awaited) -> bool {
        let begun = Instant::now();
        let (mut was_silent, mut is_slow) = (false, false);
        loop {
            while let Some(message) = self.next_message(&[awaited]) {
                if let FromShell::Done | FromShell::Report { .. } = message {
                    return true;
                }
            }
            let [control, exit] = self.control_or_exit();
            let state = self.process.state.source().filter(|_| is_slow);
            let timeout = if is_slow { CHECK_INTERVAL } else { STATE_AFTER };
            let [has_control, has_ended, has_state] =
                wait_readable([control, exit, state], Some(timeout));
            let goes_on = if has_control {
                self.read_control()
            } else if has_ended {
                false
            } else if has_state || !is_slow {
                // The state may be longer than its pipe.
                is_slow = true;
                self.process.state.take_more();
                begun.elapsed() < STATE_LIMIT
            } else {
                // bash needs about a millisecond, unless the handler made it impossible.
                let is_over = self.stays_silent(&mut was_silent) || begun.elapsed() > IDLE_LIMIT;
                !is_over || processes::is_runnable(self.process.child.pid())
            };
            if !goes_on {
                return false;
            }
        }
    }

    /// Gives bash a new pipe for the response, and `log` for its stderr. Returns our end of the old response pipe.
    /// Fails with `EPIPE` if bash has ended.
    pub(crate) fn renew_output(&mut self, log: BorrowedFd) -> io::Result<File> {
        let (reader, writer) = response_pipe()?;
        self.send(ToShell::RenewOutput {
            host: std::process::id(),
            response: writer.as_raw_fd(),
            log: log.as_raw_fd(),
        })?;
        self.request_state_after(b"", b"")?;
        let old = std::mem::replace(&mut self.process.response, reader);
        // A bash that shows its state has opened the pipe, so that we may close the writer.
        self.wait_for_state().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(old)
    }
}
