//! The reply to a call that may take long. It has a pipe of its own, so that the slot of the call is free for others.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2};

use crate::wait::wait_readable_all;
use coshell_process::sys;

/// How often to look whether the caller has read the reply.
const UNREAD_PERIOD: Duration = Duration::from_millis(1);

pub(super) struct LateReply {
    /// The process that waits.
    pub caller: OwnedFd,
    reader: OwnedFd,
    writer: File,
}

impl LateReply {
    /// # Errors
    /// The caller is gone, or there is no descriptor left.
    pub(super) fn open(caller: i32) -> io::Result<Self> {
        let caller = sys::open_pidfd(Pid::from_raw(caller))?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Self {
            caller,
            reader,
            writer: File::from(writer),
        })
    }

    /// The descriptor of ours from which the caller reads.
    pub(super) fn number(&self) -> i32 {
        self.reader.as_raw_fd()
    }

    /// Writes the reply, and waits until it has been read or nobody is left to read it.
    pub(super) fn send(mut self, line: &[u8]) {
        // If this fails nobody has the pipe.
        let _ = self.writer.write_all(line);
        while sys::bytes_ready(&self.reader) > 0 {
            if wait_readable_all(&[self.caller.as_fd()], Some(UNREAD_PERIOD)) == [true] {
                break;
            }
        }
    }
}
