//! The talk with bash: lines to its script, words from its control pipe, the response.
//!
//! Knows how to wait without waking up for nothing, and when to stop waiting for a bash that has
//! ended or will never answer. What the words mean is `protocol.rs`, what is done about them is
//! `mod.rs` and `settle.rs`.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use memchr::memmem;
use nix::sys::wait::WaitStatus;

use super::asked::{MAX_ASKED_BYTES, RESPOND, find_asked};
use super::control::ControlBuffer;
use super::descriptors::position;
use super::marks::Marks;
use super::process::Process;
use super::protocol::{self, Report};
use crate::child::RESPONSE_AFTER;
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
    pub(super) told: ControlBuffer,
    /// What a fork of bash told before the last report.
    words: Option<protocol::LastWords>,
    pub(super) marks: Marks,
    /// By which a fork that was made ahead learns that its event is there; with the end that bash opens until
    /// it has.
    pub(super) turn: Option<(File, Option<OwnedFd>)>,
    /// The mark by which the shell reports the end of a fork that reports itself.
    pub(super) fork_end: Option<String>,
    /// A fork is not believed before its end: it may have killed its shell.
    pub(super) waits_for_fork_end: bool,
    /// The mark of the state that bash still owes us.
    pub(super) owed: Option<String>,
    /// The mark of a state that bash is asked for when the answer is sent, and whether it has been.
    pub(super) asked_later: Option<(String, Arc<AtomicBool>)>,
    /// The EXIT trap that bash has by rights, as it prints it.
    pub(super) own_exit_trap: Vec<u8>,
    /// Nobody can write to the response's pipe any more: polling it would return at once.
    response_closed: bool,
}

/// What came of waiting for a report.
#[derive(Debug)]
pub(crate) enum Told {
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
            told: ControlBuffer::default(),
            words: None,
            marks: Marks::open()?,
            turn: None,
            fork_end: None,
            waits_for_fork_end: false,
            owed: None,
            asked_later: None,
            own_exit_trap: Vec::new(),
            response_closed: false,
        })
    }

    /// A mark that was not used before.
    pub(crate) fn new_mark(&mut self) -> String {
        self.marks.next()
    }

    /// Forgets the random bytes that were read ahead, which are no secret once a snapshot has copied
    /// them; a number from fresh ones.
    pub(crate) fn renew_marks(&mut self) -> u32 {
        self.marks.renew()
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
        arguments.put(&mut self.process.arguments)?;
        arguments::put(&mut self.process.event, &[event])?;
        // Longer also if the handler wrote to it.
        arguments::cut(&self.process.event, event.len())
    }

    /// Cuts off what is left of a longer invocation, for a bash that reads to the end.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn cut_arguments(&self, arguments: &Arguments) -> io::Result<()> {
        arguments::cut(&self.process.arguments, arguments.length())
    }

    /// Makes a fork of bash that is about to be stopped tell where it is.
    pub(crate) fn ask_for_words(&self) {
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

    /// Waits for the report with `mark`, and takes what the handler writes: at once if that is streamed,
    /// or else if it is more than its pipe holds, or takes long. When it returns the response is
    /// complete.
    pub(crate) fn wait_for_report(
        &mut self,
        mark: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Told {
        let told = self.try_wait_for_report(mark, response, limit);
        told.unwrap_or_else(Told::Overrun)
    }

    fn try_wait_for_report(
        &mut self,
        mark: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Told, Overrun> {
        let mut since = Instant::now();
        let (mut alone, mut has_response, mut silent) = (true, false, false);
        self.response_closed = false;
        loop {
            self.pass_on_asked(mark, response, limit)?;
            if let Some((report, end)) = self.find_report(mark) {
                let before = self.told.take(end);
                if report.status != 0 {
                    self.words = protocol::find_last_words(&before);
                }
                self.take_response(mark, response, limit)?;
                // A fork may have killed its shell.
                if self.fork_end.is_some()
                    && let Some(status) = self.process.child.status()
                {
                    return Ok(Told::Ended(status));
                }
                return Ok(Told::Report(report));
            }
            alone &= !response.is_streamed();
            let look = if alone {
                RESPONSE_AFTER.saturating_sub(since.elapsed())
            } else {
                LOOK_EVERY
            };
            let takes_response = !alone && !self.response_closed;
            let sources = [
                Some(self.process.control.as_fd()),
                Some(self.process.child.ended()),
                takes_response.then(|| self.process.response.as_fd()),
                self.process.state.source(),
            ];
            let [has_words, has_ended, has_output, has_state] = limit.ready(sources, Some(look))?;
            if has_state {
                self.process.state.take_more();
                if !has_words && !has_ended && !has_output {
                    continue;
                }
            }
            if has_words {
                if !self.read_control() {
                    return self.wait_for_end(mark, response, limit);
                }
            } else if has_ended {
                return self.wait_for_end(mark, response, limit);
            } else if has_output && response.is_streamed() {
                // What a response begins with is told before its output is written.
                if !self.read_control_now()
                    && let Some(report) = self.take_misled_report(mark, response, limit)?
                {
                    return Ok(Told::LastReport(report));
                }
            } else if has_output {
                // Let more of it come before it is read: bash writes 4 KiB at a time.
                (alone, has_response, since) = (true, true, Instant::now());
            } else if alone {
                if has_response
                    && let Some(report) = self.take_misled_report(mark, response, limit)?
                {
                    return Ok(Told::LastReport(report));
                }
                (alone, has_response) = (false, false);
            } else if self.stays_silent(&mut silent) {
                return Ok(Told::Lost);
            }
        }
    }

    /// The report with `mark`; or that of the shell, if a fork has ended without one.
    fn find_report(&mut self, mark: &str) -> Option<(Report, usize)> {
        let is_of_fork = self.fork_end.is_some() && self.waits_for_fork_end;
        if !is_of_fork && let Some(found) = self.find_report_of(mark) {
            return Some(found);
        }
        let end = self.fork_end.take()?;
        let found = self.find_report_of(&end);
        if found.is_none() {
            self.fork_end = Some(end);
        }
        found
    }

    fn find_report_of(&mut self, mark: &str) -> Option<(Report, usize)> {
        // A DEBUG trap of the handler's may print our lines: there no NUL follows.
        let at = self.told.find(format!("{mark}\0").as_bytes())?;
        let start = at.saturating_sub(self.own_exit_trap.len().max(MAX_TRAP_END));
        let bytes = &self.told.bytes()[start..];
        let (report, end) = protocol::find_report(bytes, mark, &self.own_exit_trap)?;
        Some((report, start + end))
    }

    /// bash has ended, or closed its control descriptor: it became another program (`exec`), or
    /// the handler closed it. Either way its exit status is the outcome.
    fn wait_for_end(
        &mut self,
        mark: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Told, Overrun> {
        // If it is still bash it gets to this line after the handler, and ends as that did.
        let _ = self.write_lines(protocol::LEAVE_LINE);
        let mut silent = false;
        loop {
            if let Some(status) = self.process.child.status() {
                // Its last words may have come with its end.
                while self.read_control_now() {}
                self.pass_on_asked(mark, response, limit)?;
                let report = self.take_misled_report(mark, response, limit)?;
                return Ok(report.map_or(Told::Ended(status), Told::LastReport));
            }
            let sources = [
                Some(self.process.child.ended()),
                (!self.response_closed).then(|| self.process.response.as_fd()),
                self.process.state.source(),
            ];
            let [has_ended, has_output, has_state] = limit.ready(sources, Some(LOOK_EVERY))?;
            if has_state {
                self.process.state.take_more();
            } else if has_output {
                self.take_ready_response(mark, response, limit)?;
            } else if !has_ended && self.stays_silent(&mut silent) {
                return Ok(Told::Lost);
            }
        }
    }

    /// Waits until bash has ended by itself; for one whose control pipe is closed.
    pub(crate) fn wait_for_exit(&mut self, limit: &mut Limit) -> Option<WaitStatus> {
        match self.wait_for_end("", &mut Response::unwanted(""), limit) {
            Ok(Told::Ended(status)) => Some(status),
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
    fn pass_on_asked(
        &mut self,
        mark: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<(), Overrun> {
        // Most handlers ask for nothing.
        while let Some(start) = self.told.find(RESPOND) {
            let rest = &self.told.bytes()[start..];
            let Some((asked, end)) = find_asked(rest, mark) else {
                // What does not come to its end in time is none.
                if rest.len() > MAX_ASKED_BYTES {
                    self.told.pass(RESPOND, start + RESPOND.len());
                    continue;
                }
                break;
            };
            self.told.pass(RESPOND, start + end);
            response.ask(&asked, limit)?;
        }
        Ok(())
    }

    /// Takes what the handler wrote so far. A handler that closed every descriptor has closed the
    /// one that bash keeps its stdout in as well: then the report comes with the response.
    fn take_misled_report(
        &mut self,
        mark: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<Option<Report>, Overrun> {
        let before = response.length();
        self.take_ready_response(mark, response, limit)?;
        if mark.is_empty() {
            return Ok(None);
        }
        // It may have come in two pieces.
        let end = response.end(response.length().saturating_sub(before) + 4096);
        let found = protocol::find_misled_report(end, mark, &self.own_exit_trap);
        let length = end.len();
        Ok(found.map(|(report, start)| {
            response.cut_end(length - start);
            report
        }))
    }

    /// A pipe that is ready and empty has no writer any more.
    fn take_ready_response(
        &mut self,
        mark: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<(), Overrun> {
        self.response_closed = self.take_response(mark, response, limit)? == 0;
        Ok(())
    }

    fn take_response(
        &self,
        mark: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<usize, Overrun> {
        let pipe = &self.process.response;
        response.take(pipe, limit, |bytes| {
            protocol::before_misled_report(bytes, mark, &self.own_exit_trap)
        })
    }

    /// Whether bash got as far as to source the file.
    pub(crate) fn has_started(&self) -> bool {
        self.told.has_dropped() || memmem::find(self.told.bytes(), protocol::STARTED).is_some()
    }

    /// The last words of a bash that has ended, or of its fork that has.
    pub(crate) fn last_words(&mut self) -> Option<protocol::LastWords> {
        protocol::find_last_words(self.told.bytes()).or_else(|| self.words.take())
    }

    pub(super) fn words_or_end(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [
            Some(self.process.control.as_fd()),
            Some(self.process.child.ended()),
        ]
    }

    /// Throws away what is in the response's pipe by now.
    pub(crate) fn drop_output(&self) {
        let mut limit = Limit::until(Instant::now());
        let _ = self.take_more(&mut Response::unwanted(""), &mut limit);
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
        response.take(pipe, limit, <[u8]>::len).map(drop)
    }

    /// Waits for words, once; whether there were any. There are none when bash has ended, or closed
    /// the pipe.
    pub(super) fn read_control(&mut self) -> bool {
        matches!(self.told.read(&mut self.process.control), Ok(1..))
    }

    /// Reads what is in the control pipe now; whether there was anything.
    pub(crate) fn read_control_now(&mut self) -> bool {
        sys::bytes_ready(&self.process.control) > 0 && self.read_control()
    }
}
