//! The calls of the shell itself, which keeps their pipes open.
//!
//! ```text
//! shell: write the request to 68 -> read a command from 69, and run it -> if that says so, read the reply from 70, a file
//! ```
//!
//! A [slot](super::slot) is for any process, which opens pipes by their paths and has to find a free slot first. In bash each of
//! these steps is five to ten system calls. Most calls come from the shell itself, one at a time. So a shell that has made
//! a call gets descriptors of its own before the next event.
//!
//! A reply begins with the caller and the number of the call. The shell takes no other for its own, whatever a trap, a process that was
//! killed or a handler that reads from 69 has left in the pipe.
//!
//! bash reads a pipe a byte at a time, unless it knows how much comes. So commands have one length, and may say how much
//! follows. What is longer than that is in the file. bash's offset in it is its own, so replies are appended. What has been read is given back to the system from time
//! to time, and when the invocation ends: a reply may be a secret.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex};

use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, fallocate, fcntl};
use nix::unistd::pipe2;

use super::lock;
use super::request::{Request, RequestReader};
use super::shell_reply::ShellReply;
use coshell_driver::REPLY_CALLER_CHARS;
use coshell_process::{memory_file, sys};

/// From this number of bytes on, replies that have been read are removed from the file.
const MAX_READ_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct ShellSlot {
    requests: File,
    request: RequestReader,
    /// What the reply begins with: the caller of the last request.
    caller: Vec<u8>,
    /// Takes back a command that nobody has read.
    command_reader: File,
    commands: File,
    replies: SharedReplies,
}

/// The file of the replies of a shell. Who ends an invocation removes them.
#[derive(Debug)]
pub(crate) struct ReplyFile {
    file: File,
    /// Where the file begins that has not been given back, and its length.
    begin: usize,
    end: usize,
}

pub(crate) type SharedReplies = Arc<Mutex<ReplyFile>>;

/// The ends that the shell opens. They may be closed when it has done so.
#[derive(Debug)]
pub(crate) struct ShellEnds {
    request_writer: OwnedFd,
    command_reader: OwnedFd,
    file: OwnedFd,
}

/// How the bytes of a request ended.
pub(crate) enum ShellRequest {
    Complete(Request),
    Partial,
    /// The shell has ended.
    Ended,
}

impl ShellEnds {
    pub(crate) fn numbers(&self) -> [RawFd; 3] {
        [&self.request_writer, &self.command_reader, &self.file].map(AsRawFd::as_raw_fd)
    }
}

impl ShellSlot {
    pub(crate) fn open() -> io::Result<(Self, ShellEnds)> {
        let (requests, request_writer) = pipe2(OFlag::O_CLOEXEC)?;
        let (command_reader, commands) = pipe2(OFlag::O_CLOEXEC)?;
        for ours in [&requests, &command_reader] {
            fcntl(ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let file = memory_file(c"replies")?;
        let ends = ShellEnds {
            request_writer,
            command_reader: command_reader.try_clone()?,
            file: file.as_fd().try_clone_to_owned()?,
        };
        let slot = Self {
            requests: File::from(requests),
            request: RequestReader::default(),
            caller: Vec::new(),
            command_reader: File::from(command_reader),
            commands: File::from(commands),
            replies: Arc::new(Mutex::new(ReplyFile {
                file,
                begin: 0,
                end: 0,
            })),
        };
        Ok((slot, ends))
    }

    pub(crate) fn replies(&self) -> SharedReplies {
        Arc::clone(&self.replies)
    }

    pub(crate) fn request_pipe(&self) -> BorrowedFd<'_> {
        self.requests.as_fd()
    }

    /// Reads what has come of a request.
    pub(crate) fn read(&mut self) -> ShellRequest {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.requests.read(&mut piece) {
                Ok(0) => return ShellRequest::Ended,
                Ok(count) => self.request.push(&piece[..count]),
                Err(_) => return ShellRequest::Partial,
            }
            if let Some(request) = self.request.take() {
                self.discard_unread();
                self.caller.clone_from(&request.caller);
                return ShellRequest::Complete(request);
            }
        }
    }

    /// A process that shares the descriptors may have been killed before it read its reply.
    fn discard_unread(&mut self) {
        let unread = sys::bytes_ready(&self.command_reader);
        if unread > 0 {
            // If this fails, the shell reads a command that does not begin with its own call, and takes a ticket from then on.
            let _ = self.command_reader.read(&mut vec![0; unread]);
        }
    }

    /// Writes a reply. If there is no memory for its fields, the shell takes a ticket.
    pub(crate) fn write(&mut self, reply: &ShellReply) {
        let written = match reply.file.last() {
            None => true,
            // A file ends with what the command begins with.
            Some(end) => {
                let file = [&*reply.file, &self.caller, &[*end]].concat();
                lock(&self.replies).append(&file).is_ok()
            }
        };
        // If this fails nobody has the pipe.
        let _ = if written {
            self.write_command(&reply.command)
        } else {
            self.write_command(&ShellReply::take_ticket().command)
        };
    }

    fn write_command(&mut self, command: &str) -> io::Result<()> {
        let mut text = self.caller.clone();
        text.resize(REPLY_CALLER_CHARS, b' ');
        text.extend_from_slice(command.as_bytes());
        self.commands.write_all(&text)
    }
}

impl ReplyFile {
    /// Removes the replies of an invocation that has ended.
    pub(crate) fn forget(&mut self) {
        // Most invocations have none.
        if self.begin == self.end {
            return;
        }
        // If this fails they stay for as long as the shell.
        let _ = self.give_back();
    }

    fn give_back(&mut self) -> io::Result<()> {
        let number = |count: usize| i64::try_from(count).map_err(io::Error::other);
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let read = self.end - self.begin;
        fallocate(&self.file, flags, number(self.begin)?, number(read)?)?;
        self.begin = self.end;
        Ok(())
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if self.end - self.begin > MAX_READ_BYTES {
            self.give_back()?;
        }
        // A reply that is cut off would stay in the file, before the next one.
        let written = self.file.write_all(text);
        if written.is_err() {
            let end = u64::try_from(self.end).map_err(io::Error::other)?;
            self.file.set_len(end)?;
            io::Seek::seek(&mut self.file, io::SeekFrom::Start(end))?;
        } else {
            self.end += text.len();
        }
        written
    }
}
