//! Other channels for a shell whose last event left a process that has them.
//!
//! What the handler forks off without another program has all that its shell has: it could read the next event out of the
//! files, answer it, or say how it ended. So the shell is given other files and pipes, when nobody waits. It opens
//! them by our folder in `/proc`. What it opens has a place of its own in the file, which we cannot set: from then on
//! it opens arguments and event anew before each event. A shell from which no such process
//! is left pays for nothing of this.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::Shell;
use super::channel::Channel;
use super::control::ControlBuffer;
use super::descriptors::leads_to;
use super::protocol::{ARGUMENTS, CONTROL, EVENT, LOG, RESPONSE, STATE};
use super::state_pipe::StatePipe;
use coshell_process::sys;
use coshell_process::{memory_file, response_pipe};

/// The line that makes bash open arguments and event anew.
pub(crate) const REOPEN_LINE: &str = "\\__driver_seldom __driver_reopen\n";

impl Channel {
    /// Gives bash other files and pipes for all that it has of us but its script, and `log` for its stderr; the ends
    /// of the old pipes, of the response and of control.
    ///
    /// # Errors
    /// The system's, or `EPIPE` when bash has ended or does not take them.
    pub(crate) fn renew(&mut self, log: &Arc<OwnedFd>) -> io::Result<(File, File)> {
        if self.is_state_pending() {
            // It comes through what bash has now.
            self.wait_for_state().ok_or(io::ErrorKind::BrokenPipe)?;
        }
        let (arguments, event) = (memory_file(c"arguments")?, memory_file(c"event")?);
        let (state, state_in) = StatePipe::open()?;
        let (response, response_in) = response_pipe()?;
        let (control, control_in) = pipe2(OFlag::O_CLOEXEC)?;
        let go_ahead = match &self.go_ahead {
            Some(_) => Some(pipe2(OFlag::O_CLOEXEC)?),
            None => None,
        };
        let mut opened = vec![
            (ARGUMENTS, arguments.as_fd()),
            (EVENT, event.as_fd()),
            (RESPONSE, response_in.as_fd()),
            (CONTROL, control_in.as_fd()),
            (LOG, log.as_fd()),
            (STATE, state_in.as_fd()),
        ];
        let turn_out = go_ahead.as_ref().map(|(go_ahead, _)| go_ahead.as_fd());
        let numbers = opened.iter().map(|(_, fd)| *fd).chain(turn_out);
        let numbers: Vec<_> = numbers.map(|fd| fd.as_raw_fd().to_string()).collect();
        let (host, numbers) = (std::process::id(), numbers.join(" "));
        let line = format!("\\__driver_seldom __driver_renew /proc/{host}/fd {numbers}\n");
        self.write_lines(&line)?;
        // What else is in the old pipe is of nobody who runs.
        let control = sys::file(control);
        let old_control = std::mem::replace(&mut self.process.control, control);
        self.control_buffer = ControlBuffer::default();
        self.ask_for_state_after(b"", b"")?;
        self.process.is_reopened = true;
        self.process.state = state;
        // When bash has shown its state it has opened all: we may close our ends of it.
        self.wait_for_state().ok_or(io::ErrorKind::BrokenPipe)?;
        let bash = self.process.child.pid();
        opened.push((2, log.as_fd()));
        if !opened
            .iter()
            .all(|(number, file)| leads_to(bash, *number, file))
        {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        drop(opened);
        self.process.arguments = arguments;
        self.process.event = event;
        if let Some((_, ours)) = go_ahead {
            self.go_ahead = Some((sys::file(ours), None));
        }
        let old_response = std::mem::replace(&mut self.process.response, response);
        Ok((old_response, old_control))
    }

    /// Makes bash read the next event from its start.
    ///
    /// # Errors
    /// `EPIPE` when bash has ended.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        if self.process.is_reopened {
            self.write_lines(REOPEN_LINE)?;
        }
        Ok(())
    }
}

impl Shell<'_> {
    /// Takes other files and pipes for all that the shell has, and another log.
    pub(super) fn renew_channels(&mut self) -> bool {
        let logs = self.cx.logs;
        if logs.open_new_pipe().is_err() {
            return false;
        }
        // It would write to the log that was.
        self.standby = None;
        let Ok((response, control)) = self.channel.renew(&logs.pipe()) else {
            return false;
        };
        logs.forward_leftover(response);
        logs.discard_leftover(control);
        self.shares_response = false;
        self.watch_descriptors();
        true
    }
}
