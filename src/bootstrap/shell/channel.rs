//! The connection to a running bash: its script, its files and its pipes.
//!
//! `report_wait.rs` waits on it while a handler runs. `maintenance.rs` uses it between two invocations. What the
//! bytes mean is in `to_shell.rs` and `from_shell.rs`.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::descriptors::offset;
use super::from_shell::FromShell;
use super::nonces::Nonces;
use super::process::Process;
use super::report::ExitTrace;
use super::shell_reader::{Awaited, ShellReader};
use super::to_shell::ToShell;
use crate::child::arguments::{self, Arguments};
use crate::response::Response;
use crate::wait::{Limit, Overrun};
use coshell_driver::fd;
use coshell_process::sys;

/// Our side of a running bash.
#[derive(Debug)]
pub(crate) struct Channel {
    /// The bash process.
    pub process: Process,
    /// Reads the control pipe.
    pub(super) reader: ShellReader,
    /// bash has read the driver, so that it goes on to source the file.
    pub(super) has_started: bool,
    /// The last exit trace that bash or its fork wrote.
    pub(super) exit_trace: Option<ExitTrace>,
    pub(super) nonces: Nonces,
    /// Tells a waiting fork that its event has arrived; `None` until forks are first made.
    pub(super) go_ahead: Option<GoAheadPipe>,
    /// The nonce with which the shell reports that a fork has ended, while that report is expected.
    pub(super) fork_end: Option<String>,
    /// Only the shell's report about a fork counts, not the fork's own: the fork may have killed its shell.
    pub(super) trusts_fork_end_only: bool,
    /// The nonce of a state that bash was requested to show, and that has not been read yet.
    pub(super) pending_state: Option<String>,
    /// A state request that is written when the answer has been sent.
    pub(super) deferred_state_request: Option<DeferredStateRequest>,
    /// bash has read `rare.bash`, because an invocation needed a function of it.
    pub(super) has_read_rare: bool,
}

/// The pipe at which forks wait for their event.
#[derive(Debug)]
pub(crate) struct GoAheadPipe {
    pub writer: File,
    /// Held open until bash has opened it through `/proc`.
    pub reader: Option<OwnedFd>,
}

/// A request that another thread writes to bash's script.
#[derive(Debug)]
pub(crate) struct DeferredStateRequest {
    pub nonce: String,
    pub is_sent: Arc<AtomicBool>,
}

impl Channel {
    /// Opens the channel to a bash that has just been started. Fails if the system gives no random bytes.
    pub(crate) fn open(process: Process) -> io::Result<Self> {
        Ok(Self {
            process,
            reader: ShellReader::default(),
            has_started: false,
            exit_trace: None,
            nonces: Nonces::open()?,
            go_ahead: None,
            fork_end: None,
            trusts_fork_end_only: false,
            pending_state: None,
            deferred_state_request: None,
            has_read_rare: false,
        })
    }

    pub(crate) fn new_nonce(&mut self) -> String {
        self.nonces.next()
    }

    /// Drops the random bytes that were read ahead, which every copy of a snapshot has. Returns a fresh random number.
    pub(crate) fn renew_nonces(&mut self) -> u32 {
        self.nonces.renew()
    }

    /// Writes lines to bash's script. Fails with `EPIPE` if bash has ended.
    pub(crate) fn write_lines(&mut self, lines: &str) -> io::Result<()> {
        self.process.script.as_ref().write_all(lines.as_bytes())
    }

    /// Writes one entry to bash's script. Fails with `EPIPE` if bash has ended.
    pub(crate) fn send(&mut self, lines: ToShell) -> io::Result<()> {
        self.write_lines(&lines.to_string())
    }

    /// Puts an invocation into the memory files that bash and the handler read. Fails if there is no memory for it.
    pub(crate) fn put(&mut self, arguments: &Arguments, event: &[u8]) -> io::Result<()> {
        arguments.write_to(&mut self.process.arguments)?;
        arguments::write_at_start(&mut self.process.event, &[event])?;
        // A file is longer if the event before was longer, or if the handler wrote to the file. A fork reads to the end.
        arguments::truncate(&self.process.arguments, arguments.length())?;
        arguments::truncate(&self.process.event, event.len())
    }

    /// Tells a fork that is about to be stopped that it must write an exit trace: for that, file 60 is empty.
    pub(crate) fn request_exit_trace(&self) {
        // If this fails, the error only says less about the place.
        let _ = self.process.arguments.set_len(0);
    }

    /// Whether bash has read anything of the invocation. If not, the handler was not called.
    pub(crate) fn has_begun(&mut self) -> bool {
        if self.process.is_reopened {
            // If bash is gone, nothing is known, and the handler may have been called.
            let bash = self.process.child.pid();
            return offset(bash, fd::ARGUMENTS).is_none_or(|offset| offset > 0);
        }
        self.process
            .arguments
            .stream_position()
            .map_or(true, |offset| offset > 0)
    }

    /// Frees the memory of a large event.
    pub(crate) fn forget_event(&mut self) {
        let _ = self.process.event.set_len(0);
        let _ = self.process.arguments.set_len(0);
    }

    /// Returns the next message that was read from the control pipe, and keeps those that no caller waits for. Does not
    /// read from the pipe.
    pub(super) fn next_message(&mut self, awaited: &[Awaited]) -> Option<FromShell> {
        loop {
            match self.reader.next(awaited)? {
                FromShell::Started => self.has_started = true,
                FromShell::ExitTrace(trace) => self.exit_trace = Some(trace),
                message => return Some(message),
            }
        }
    }

    /// Takes the exit trace of a bash, or of its fork, that has ended.
    pub(crate) fn take_exit_trace(&mut self) -> Option<ExitTrace> {
        if self.process.child.status().is_some() {
            // Nothing else is expected of this bash.
            while self.next_message(&[]).is_some() {}
        }
        self.exit_trace.take()
    }

    /// What is ready when bash has written to the control pipe, and when it has ended.
    pub(super) fn control_or_exit(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [
            Some(self.process.control.as_fd()),
            Some(self.process.child.pidfd()),
        ]
    }

    /// Discards what is in the response's pipe now.
    pub(crate) fn drop_output(&self) {
        let mut limit = Limit::until(Instant::now());
        let _ = self.take_more(&mut Response::discarded(), &mut limit);
    }

    /// Reads what is in the response's pipe now, after the report. Fails if the time is up before it is sent on.
    pub(crate) fn take_more(
        &self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<(), Overrun> {
        let pipe = &self.process.response;
        response.read_from(pipe, limit, <[u8]>::len).map(drop)
    }

    /// Blocks until it has read something from the control pipe. Returns false at the end of the pipe.
    pub(super) fn read_control(&mut self) -> bool {
        matches!(self.reader.read(&mut self.process.control), Ok(1..))
    }

    /// Reads what is in the control pipe now. Returns false if there is nothing.
    pub(crate) fn read_control_now(&mut self) -> bool {
        sys::bytes_ready(&self.process.control) > 0 && self.read_control()
    }
}
