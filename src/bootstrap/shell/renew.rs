//! Replaces all files and pipes of a shell, because a process of its last event has them too.
//!
//! A background job that runs no other program, such as `(sleep 9; :) &`, is a fork of the shell and inherits
//! everything that the shell has open. It could read the next event, answer it, or report how it ended. So the shell
//! gets new files and pipes, which it opens through our folder in `/proc`. A file that bash opens has an offset of
//! its own, which we cannot set: from then on bash opens 60 and 61 anew before every event. A shell without such a
//! process does none of this.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::Shell;
use super::channel::{Channel, GoAheadPipe};
use super::descriptors::leads_to;
use super::shell_reader::ShellReader;
use super::state_pipe::StatePipe;
use super::to_shell::ToShell;
use coshell_driver::fd;
use coshell_process::{memory_file, response_pipe};

/// Our ends of the pipes that a shell had before.
pub(crate) struct OldPipes {
    pub response: File,
    pub control: File,
}

impl Channel {
    /// Gives bash other files and pipes for everything but its script, and `log` for its stderr. Fails with `EPIPE`
    /// if bash has ended or does not open them.
    pub(crate) fn renew(&mut self, log: &Arc<OwnedFd>) -> io::Result<OldPipes> {
        if self.is_state_pending() {
            // It comes through the old pipes.
            self.wait_for_state().ok_or(io::ErrorKind::BrokenPipe)?;
        }
        let (arguments, event) = (memory_file(c"arguments")?, memory_file(c"event")?);
        let (state, state_writer) = StatePipe::open()?;
        let (response, response_writer) = response_pipe()?;
        let (control, control_writer) = pipe2(OFlag::O_CLOEXEC)?;
        let go_ahead = match &self.go_ahead {
            Some(_) => Some(pipe2(OFlag::O_CLOEXEC)?),
            None => None,
        };
        let mut renewed = vec![
            (fd::ARGUMENTS, arguments.as_fd()),
            (fd::EVENT, event.as_fd()),
            (fd::RESPONSE, response_writer.as_fd()),
            (fd::CONTROL, control_writer.as_fd()),
            (fd::LOG, log.as_fd()),
            (fd::STATE, state_writer.as_fd()),
        ];
        let go_ahead_reader = go_ahead.as_ref().map(|(reader, _)| reader.as_fd());
        let numbers = renewed.iter().map(|(_, fd)| *fd).chain(go_ahead_reader);
        let numbers: Vec<_> = numbers.map(|fd| fd.as_raw_fd()).collect();
        self.send(ToShell::RenewAll {
            host: std::process::id(),
            numbers: &numbers,
        })?;
        // Everything that was read from the old control pipe belongs to the event that has ended.
        let old_control = std::mem::replace(&mut self.process.control, File::from(control));
        self.reader = ShellReader::new(self.reader.initial_trap().to_vec());
        self.request_state_after(b"", b"")?;
        self.process.is_reopened = true;
        self.process.state = state;
        // A bash that shows its state has opened all of them, so that we may close its ends.
        self.wait_for_state().ok_or(io::ErrorKind::BrokenPipe)?;
        let bash = self.process.child.pid();
        renewed.push((2, log.as_fd()));
        if !renewed
            .iter()
            .all(|(number, file)| leads_to(bash, *number, file))
        {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        drop(renewed);
        self.process.arguments = arguments;
        self.process.event = event;
        if let Some((_, writer)) = go_ahead {
            self.go_ahead = Some(GoAheadPipe {
                writer: File::from(writer),
                reader: None,
            });
        }
        Ok(OldPipes {
            response: std::mem::replace(&mut self.process.response, response),
            control: old_control,
        })
    }

    /// Makes a bash that has opened 60 and 61 itself read them from their start. Fails with `EPIPE` if bash has ended.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        if self.process.is_reopened {
            self.send(ToShell::Reopen)?;
        }
        Ok(())
    }
}

impl Shell<'_> {
    /// Gives the shell other files and pipes for everything that it has, and a new log. Returns false if that fails.
    pub(super) fn renew_channels(&mut self) -> bool {
        let logs = self.cx.logs;
        if logs.open_new_pipe().is_err() {
            return false;
        }
        // The standby shell has the old log pipe.
        self.standby = None;
        let Ok(old) = self.channel.renew(&logs.pipe()) else {
            return false;
        };
        logs.forward_leftover(old.response);
        logs.discard_leftover(old.control);
        self.leftover_holds_response = false;
        self.update_proc_baseline();
        true
    }
}
