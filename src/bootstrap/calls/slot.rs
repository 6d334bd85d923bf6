//! One call at a time: the pipe of its request, and the pipe and the file of its reply.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{Pid, pipe2};

use super::request::{Request, RequestReader};
use coshell_process::{memory_file, processes, sys};

/// What is known of a slot's ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ticket {
    /// In the pipe of the tickets, or taken by a process that has not sent its request yet; how often it was seen to be taken.
    Out(u8),
    /// A request is being answered, or its reply has not been read yet.
    InUse(Pid),
}

/// Where a reply goes. A call that may take long is answered by a thread of its own.
#[derive(Debug, Clone)]
pub(crate) struct ReplyPipe {
    pipe: Arc<File>,
    file: Arc<File>,
    is_written: Arc<AtomicBool>,
}

#[derive(Debug)]
pub(crate) struct Slot {
    pipe: File,
    /// Keeps the pipe of the requests open while no caller has it.
    request_writer: OwnedFd,
    reply_reader: OwnedFd,
    pub reply: ReplyPipe,
    request: RequestReader,
    pub ticket: Ticket,
}

impl Slot {
    pub(crate) fn open() -> io::Result<Self> {
        let (pipe, request_writer) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let (reply_reader, reply_writer) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Self {
            pipe: File::from(pipe),
            request_writer,
            reply_reader,
            reply: ReplyPipe {
                pipe: Arc::new(File::from(reply_writer)),
                file: Arc::new(memory_file(c"reply")?),
                is_written: Arc::default(),
            },
            request: RequestReader::default(),
            ticket: Ticket::Out(0),
        })
    }

    /// The descriptors that a caller opens: to write the request, to read the reply, and to read a long reply.
    pub(crate) fn numbers(&self) -> [RawFd; 3] {
        [
            self.request_writer.as_raw_fd(),
            self.reply_reader.as_raw_fd(),
            self.reply.file.as_raw_fd(),
        ]
    }

    pub(crate) fn request_pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Reads what has come of a request; returns it once it is complete.
    pub(crate) fn read(&mut self) -> Option<Request> {
        let mut piece = [0; 16 * 1024];
        while let Ok(count @ 1..) = self.pipe.read(&mut piece) {
            self.request.push(&piece[..count]);
        }
        let request = self.request.take()?;
        self.ticket = Ticket::InUse(Pid::from_raw(request.pid));
        self.reply.is_written.store(false, Ordering::Release);
        Some(request)
    }

    /// True from the reply on until [`Slot::is_done`] has been seen.
    pub(crate) fn has_reply(&self) -> bool {
        matches!(self.ticket, Ticket::InUse(_)) && self.reply.is_written.load(Ordering::Acquire)
    }

    /// True if the reply has been read, or nobody is left to read it: then the ticket can be used again.
    pub(crate) fn is_done(&self) -> bool {
        let Ticket::InUse(caller) = self.ticket else {
            return false;
        };
        if !self.has_reply() {
            return false;
        }
        if sys::bytes_ready(&self.reply_reader) == 0 {
            return true;
        }
        if processes::program_name(caller).is_some() {
            return false;
        }
        self.discard_reply();
        true
    }

    fn discard_reply(&self) {
        if let Ok(mut pipe) = self.reply_reader.try_clone().map(File::from) {
            while sys::bytes_ready(&self.reply_reader) > 0 {
                let mut piece = [0; 4096];
                if !pipe.read(&mut piece).is_ok_and(|count| count > 0) {
                    break;
                }
            }
        }
    }

    /// Forgets a request that was not sent to its end.
    pub(crate) fn reset(&mut self) {
        let mut piece = [0; 16 * 1024];
        while let Ok(1..) = self.pipe.read(&mut piece) {}
        self.request = RequestReader::default();
        self.discard_reply();
        self.ticket = Ticket::Out(0);
    }
}

impl ReplyPipe {
    /// Writes a reply that fits into the pipe.
    pub(crate) fn write_short(&self, text: &[u8]) {
        // If this fails nobody has the pipe, and the ticket is found again.
        let _ = (&*self.pipe).write_all(text);
        self.is_written.store(true, Ordering::Release);
    }

    /// Writes a reply to the file, and then the line that says so.
    pub(crate) fn write_long(&self, line: &[u8], text: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        (&*self.file).rewind()?;
        (&*self.file).write_all(text)?;
        self.write_short(line);
        Ok(())
    }
}
