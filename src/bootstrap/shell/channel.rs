//! The talk with bash: lines to its script, words from its control pipe, the response.
//!
//! Knows how to wait without waking up for nothing, and when to stop waiting for a bash that has
//! ended or will never answer. What the words mean is `protocol.rs`, what is done about them is
//! `mod.rs` and `clean_up.rs`.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use memchr::memmem;
use nix::sys::wait::WaitStatus;

use super::control::ControlBuffer;
use super::descriptors::position;
use super::nonces::Nonces;
use super::process::Process;
use super::protocol::{self, Report};
use super::response_request::{MAX_REQUEST_BYTES, RESPOND, find_response_request};
use crate::child::RESPONSE_READ_DELAY;
use crate::child::arguments::{self, Arguments};
use crate::response::Response;
use crate::wait::{Limit, Overrun};
use coshell_process::sys;

/// How often it is looked whether bash still has something to read, while a handler runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The end of what bash prints of a trap.
const MAX_TRAP_END: usize = 16;

/// Our side of a running bash.
#[derive(Debug)]
pub(crate) struct Channel {
    /// The bash.
    pub process: Process,
    pub(super) control_buffer: ControlBuffer,
    /// What a fork of bash told before the last report.
    words: Option<protocol::ExitTrace>,
    pub(super) nonces: Nonces,
    /// By which a fork that was made ahead learns that its event is there; with the end that bash opens until
    /// it has.
    pub(super) go_ahead: Option<(File, Option<OwnedFd>)>,
    /// The mark by which the shell reports the end of a fork that reports itself.
    pub(super) fork_end: Option<String>,
    /// A fork is not believed before its end: it may have killed its shell.
    pub(super) waits_for_fork_end: bool,
    /// The mark of the state that bash still owes us.
    pub(super) pending_state: Option<String>,
    /// The mark of a state that bash is asked for when the answer is sent, and whether it has been.
    pub(super) state_requested_later: Option<(String, Arc<AtomicBool>)>,
    /// The EXIT trap that bash has by rights, as it prints it.
    pub(super) initial_exit_trap: Vec<u8>,
    /// Nobody can write to the response's pipe any more: polling it would return at once.
    response_closed: bool,
}

/// What came of waiting for a report.
#[derive(Debug)]
pub(crate) enum WaitOutcome {
    /// This one, from a shell that goes on.
    Report(Report),
    /// This one, from a shell whose descriptors the handler closed.
    LastReport(Report),
    /// bash ended.
    Ended(WaitStatus),
    /// bash has read all lines, and has not reported: the handler redefined what the driver is
    /// made of.
    Lost,
    /// It is not waited for any longer.
    Overrun(Overrun),
}

impl Channel {
    /// To a bash that was just started.
    ///
    /// # Errors
    /// The system's, when it gives no random bytes.
    pub(crate) fn open(process: Process) -> io::Result<Self> {
        Ok(Self {
            process,
            control_buffer: ControlBuffer::default(),
            words: None,
            nonces: Nonces::open()?,
            go_ahead: None,
            fork_end: None,
            waits_for_fork_end: false,
            pending_state: None,
            state_requested_later: None,
            initial_exit_trap: Vec::new(),
            response_closed: false,
        })
    }

    /// A mark that was not used before.
    pub(crate) fn new_nonce(&mut self) -> String {
        self.nonces.next()
    }

    /// Forgets the random bytes that were read ahead, which are no secret once a snapshot has copied
    /// them; a number from fresh ones.
    pub(crate) fn renew_nonces(&mut self) -> u32 {
        self.nonces.renew()
    }

    /// Sends lines to the script.
    ///
    /// # Errors
    /// `EPIPE` when bash has ended.
    pub(crate) fn write_lines(&mut self, lines: &str) -> io::Result<()> {
        self.process.script.as_ref().write_all(lines.as_bytes())
    }

    /// Lays an invocation out where bash and the handler read it.
    ///
    /// # Errors
    /// The system's, when there is no memory for it.
    pub(crate) fn put(&mut self, arguments: &Arguments, event: &[u8]) -> io::Result<()> {
        arguments.write_to(&mut self.process.arguments)?;
        arguments::write_at_start(&mut self.process.event, &[event])?;
        // Longer also if the handler wrote to it.
        arguments::truncate(&self.process.event, event.len())
    }

    /// Cuts off what is left of a longer invocation, for a bash that reads to the end.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn cut_arguments(&self, arguments: &Arguments) -> io::Result<()> {
        arguments::truncate(&self.process.arguments, arguments.length())
    }

    /// Makes a fork of bash that is about to be stopped tell where it is.
    pub(crate) fn request_exit_trace(&self) {
        // Without them the answer is less precise.
        let _ = self.process.arguments.set_len(0);
    }

    /// Whether bash has read anything of the invocation. If not, the handler was not called.
    pub(crate) fn has_begun(&mut self) -> bool {
        if self.process.is_reopened {
            // Of one that is gone it is not known.
            let bash = self.process.child.pid();
            return position(bash, protocol::ARGUMENTS).is_none_or(|position| position > 0);
        }
        self.process
            .arguments
            .stream_position()
            .map_or(true, |position| position > 0)
    }

    /// Gives back the memory of an event that was large.
    pub(crate) fn forget_event(&mut self) {
        // What is not given back is used by the next one.
        let _ = self.process.event.set_len(0);
        let _ = self.process.arguments.set_len(0);
    }

    /// Waits for the report with `nonce`, and takes what the handler writes: at once if that is streamed,
    /// or else if it is more than its pipe holds, or takes long. When it returns the response is
    /// complete.
    pub(crate) fn wait_for_report(
        &mut self,
        nonce: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> WaitOutcome {
        let control_buffer = self.try_wait_for_report(nonce, response, limit);
        control_buffer.unwrap_or_else(WaitOutcome::Overrun)
    }

    fn try_wait_for_report(
        &mut self,
        nonce: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<WaitOutcome, Overrun> {
        let mut output_started = Instant::now();
        let (mut control_only, mut has_response, mut was_silent) = (true, false, false);
        self.response_closed = false;
        loop {
            self.apply_response_requests(nonce, response, limit)?;
            if let Some((report, end)) = self.find_report(nonce) {
                let before = self.control_buffer.take(end);
                if report.status != 0 {
                    self.words = protocol::find_exit_trace(&before);
                }
                self.take_response(nonce, response, limit)?;
                // A fork may have killed its shell.
                if self.fork_end.is_some()
                    && let Some(status) = self.process.child.status()
                {
                    return Ok(WaitOutcome::Ended(status));
                }
                return Ok(WaitOutcome::Report(report));
            }
            control_only &= !response.is_streamed();
            let poll_timeout = if control_only {
                RESPONSE_READ_DELAY.saturating_sub(output_started.elapsed())
            } else {
                LOOK_EVERY
            };
            let takes_response = !control_only && !self.response_closed;
            let sources = [
                Some(self.process.control.as_fd()),
                Some(self.process.child.ended()),
                takes_response.then(|| self.process.response.as_fd()),
                self.process.state.source(),
            ];
            let [has_words, has_ended, has_output, has_state] =
                limit.wait_readable(sources, Some(poll_timeout))?;
            if has_state {
                self.process.state.take_more();
                if !has_words && !has_ended && !has_output {
                    continue;
                }
            }
            if has_words {
                if !self.read_control() {
                    return self.wait_for_end(nonce, response, limit);
                }
            } else if has_ended {
                return self.wait_for_end(nonce, response, limit);
            } else if has_output && response.is_streamed() {
                // What a response begins with is told before its output is written.
                if !self.read_control_now()
                    && let Some(report) = self.take_report_in_stdout(nonce, response, limit)?
                {
                    return Ok(WaitOutcome::LastReport(report));
                }
            } else if has_output {
                // Let more of it come before it is read: bash writes 4 KiB at a time.
                (control_only, has_response, output_started) = (true, true, Instant::now());
            } else if control_only {
                if has_response
                    && let Some(report) = self.take_report_in_stdout(nonce, response, limit)?
                {
                    return Ok(WaitOutcome::LastReport(report));
                }
                (control_only, has_response) = (false, false);
            } else if self.stays_silent(&mut was_silent) {
                return Ok(WaitOutcome::Lost);
            }
        }
    }

    /// The report with `nonce`; or that of the shell, if a fork has ended without one.
    fn find_report(&mut self, nonce: &str) -> Option<(Report, usize)> {
        let is_of_fork = self.fork_end.is_some() && self.waits_for_fork_end;
        if !is_of_fork && let Some(found) = self.find_report_of(nonce) {
            return Some(found);
        }
        let end = self.fork_end.take()?;
        let found = self.find_report_of(&end);
        if found.is_none() {
            self.fork_end = Some(end);
        }
        found
    }

    fn find_report_of(&mut self, nonce: &str) -> Option<(Report, usize)> {
        // A DEBUG trap of the handler's may print our lines: there no NUL follows.
        let at = self.control_buffer.find(format!("{nonce}\0").as_bytes())?;
        let start = at.saturating_sub(self.initial_exit_trap.len().max(MAX_TRAP_END));
        let bytes = &self.control_buffer.bytes()[start..];
        let (report, end) = protocol::find_report(bytes, nonce, &self.initial_exit_trap)?;
        Some((report, start + end))
    }

    /// bash has ended, or closed its control descriptor: it became another program (`exec`), or
    /// the handler closed it. Either way its exit status is the outcome.
    fn wait_for_end(
        &mut self,
        nonce: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<WaitOutcome, Overrun> {
        // If it is still bash it gets to this line after the handler, and ends as that did.
        let _ = self.write_lines(protocol::LEAVE_LINE);
        let mut was_silent = false;
        loop {
            if let Some(status) = self.process.child.status() {
                // Its last words may have come with its end.
                while self.read_control_now() {}
                self.apply_response_requests(nonce, response, limit)?;
                let report = self.take_report_in_stdout(nonce, response, limit)?;
                return Ok(report.map_or(WaitOutcome::Ended(status), WaitOutcome::LastReport));
            }
            let sources = [
                Some(self.process.child.ended()),
                (!self.response_closed).then(|| self.process.response.as_fd()),
                self.process.state.source(),
            ];
            let [has_ended, has_output, has_state] =
                limit.wait_readable(sources, Some(LOOK_EVERY))?;
            if has_state {
                self.process.state.take_more();
            } else if has_output {
                self.take_ready_response(nonce, response, limit)?;
            } else if !has_ended && self.stays_silent(&mut was_silent) {
                return Ok(WaitOutcome::Lost);
            }
        }
    }

    /// Waits until bash has ended by itself; for one whose control pipe is closed.
    pub(crate) fn wait_for_exit(&mut self, limit: &mut Limit) -> Option<WaitStatus> {
        match self.wait_for_end("", &mut Response::discarded(""), limit) {
            Ok(WaitOutcome::Ended(status)) => Some(status),
            _ => None,
        }
    }

    /// Whether bash waits for more of its script, and did so when it was last looked: then it
    /// has passed all that was sent, and has said nothing.
    pub(super) fn stays_silent(&self, was_silent: &mut bool) -> bool {
        let is_silent = sys::bytes_ready(&*self.process.script) == 0;
        std::mem::replace(was_silent, is_silent) && is_silent
    }

    /// Does what the handler asked of its response so far.
    fn apply_response_requests(
        &mut self,
        nonce: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<(), Overrun> {
        // Most handlers ask for nothing.
        while let Some(start) = self.control_buffer.find(RESPOND) {
            let rest = &self.control_buffer.bytes()[start..];
            let Some((response_request, end)) = find_response_request(rest, nonce) else {
                // What does not come to its end in time is none.
                if rest.len() > MAX_REQUEST_BYTES {
                    self.control_buffer.pass(RESPOND, start + RESPOND.len());
                    continue;
                }
                break;
            };
            self.control_buffer.pass(RESPOND, start + end);
            response.apply_request(&response_request, limit)?;
        }
        Ok(())
    }

    /// Takes what the handler wrote so far. A handler that closed every descriptor has closed the
    /// one that bash keeps its stdout in as well: then the report comes with the response.
    fn take_report_in_stdout(
        &mut self,
        nonce: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Option<Report>, Overrun> {
        let before = response.unsent_len();
        self.take_ready_response(nonce, response, limit)?;
        if nonce.is_empty() {
            return Ok(None);
        }
        // It may have come in two pieces.
        let end = response.unsent_end(response.unsent_len().saturating_sub(before) + 4096);
        let found = protocol::find_report_in_stdout(end, nonce, &self.initial_exit_trap);
        let length = end.len();
        Ok(found.map(|(report, start)| {
            response.remove_end(length - start);
            report
        }))
    }

    /// A pipe that is ready and empty has no writer any more.
    fn take_ready_response(
        &mut self,
        nonce: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<(), Overrun> {
        self.response_closed = self.take_response(nonce, response, limit)? == 0;
        Ok(())
    }

    fn take_response(
        &self,
        nonce: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<usize, Overrun> {
        let pipe = &self.process.response;
        response.read_from(pipe, limit, |bytes| {
            protocol::before_report_in_stdout(bytes, nonce, &self.initial_exit_trap)
        })
    }

    /// Whether bash got as far as to source the file.
    pub(crate) fn has_started(&self) -> bool {
        self.control_buffer.has_dropped()
            || memmem::find(self.control_buffer.bytes(), protocol::STARTED).is_some()
    }

    /// The last words of a bash that has ended, or of its fork that has.
    pub(crate) fn exit_trace(&mut self) -> Option<protocol::ExitTrace> {
        protocol::find_exit_trace(self.control_buffer.bytes()).or_else(|| self.words.take())
    }

    pub(super) fn control_or_exit(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [
            Some(self.process.control.as_fd()),
            Some(self.process.child.ended()),
        ]
    }

    /// Throws away what is in the response's pipe by now.
    pub(crate) fn drop_output(&self) {
        let mut limit = Limit::until(Instant::now());
        let _ = self.take_more(&mut Response::discarded(""), &mut limit);
    }

    /// Takes what is in the response's pipe by now.
    ///
    /// # Errors
    /// When the time is up before it is sent.
    pub(crate) fn take_more(
        &self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<(), Overrun> {
        let pipe = &self.process.response;
        response.read_from(pipe, limit, <[u8]>::len).map(drop)
    }

    /// Waits for words, once; whether there were any. There are none when bash has ended, or closed
    /// the pipe.
    pub(super) fn read_control(&mut self) -> bool {
        matches!(self.control_buffer.read(&mut self.process.control), Ok(1..))
    }

    /// Reads what is in the control pipe now; whether there was anything.
    pub(crate) fn read_control_now(&mut self) -> bool {
        sys::bytes_ready(&self.process.control) > 0 && self.read_control()
    }
}
