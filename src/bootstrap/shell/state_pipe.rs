//! The pipe through which bash shows its state.
//!
//! bash writes each line with a call of its own. Into a pipe that no process polls, this takes half as long as into a
//! file. So we read the pipe when the state is complete, and earlier only if bash takes long, since the pipe may be
//! full.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coshell_process::response_pipe;

/// Anything larger is not a state: a process that the handler started is writing to the pipe.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// Our end of the pipe, and what we have read from it.
#[derive(Debug)]
pub(crate) struct StatePipe {
    pub pipe: File,
    shown: Vec<u8>,
    /// No process can write to the pipe any more. Polling it would return at once.
    is_closed: bool,
}

impl StatePipe {
    /// Makes the pipe, and returns bash's end of it, too.
    pub(crate) fn open() -> io::Result<(Self, OwnedFd)> {
        let (pipe, writer) = response_pipe()?;
        let state = Self {
            pipe,
            shown: Vec::new(),
            is_closed: false,
        };
        Ok((state, writer))
    }

    /// What a poll for new bytes waits for; `None` if none can come.
    pub(crate) fn source(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_closed).then(|| self.pipe.as_fd())
    }

    /// Empties the pipe, so that bash can go on writing. Does not block.
    pub(crate) fn take_more(&mut self) {
        // The read fails with EAGAIN while a process still has the other end.
        self.is_closed = self.pipe.read_to_end(&mut self.shown).is_ok();
        if self.shown.len() > MAX_BYTES {
            self.shown.clear();
        }
    }

    /// Takes everything that bash wrote since the last time.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.take_more();
        std::mem::take(&mut self.shown)
    }
}
