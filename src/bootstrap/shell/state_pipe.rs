//! The pipe through which bash shows its state.
//!
//! bash writes each line of it by itself. Into a pipe that nobody polls that takes half of what it takes into a
//! file, so that it is looked at when all is there, and before only if it takes long: then it may be full.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coshell_process::response_pipe;

/// More than this is no state: a process that the handler started writes to the pipe.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// Our end, and what has come out of it.
#[derive(Debug)]
pub(crate) struct StatePipe {
    /// The end itself.
    pub pipe: File,
    shown: Vec<u8>,
    /// Nobody can write to it any more: polling it would return at once.
    is_closed: bool,
}

impl StatePipe {
    /// Our end, and bash's.
    ///
    /// # Errors
    /// The system's, when there is no descriptor left.
    pub(crate) fn open() -> io::Result<(Self, OwnedFd)> {
        let (pipe, theirs) = response_pipe()?;
        let state = Self {
            pipe,
            shown: Vec::new(),
            is_closed: false,
        };
        Ok((state, theirs))
    }

    /// What is readable when bash has written to it.
    pub(crate) fn source(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_closed).then(|| self.pipe.as_fd())
    }

    /// Makes room for more.
    pub(crate) fn take_more(&mut self) {
        // It does not block.
        self.is_closed = self.pipe.read_to_end(&mut self.shown).is_ok();
        if self.shown.len() > MAX_BYTES {
            self.shown.clear();
        }
    }

    /// All that was shown since the last time.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.take_more();
        std::mem::take(&mut self.shown)
    }
}
