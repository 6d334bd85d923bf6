//! The talk with bash: lines to its script, words from its control pipe, the response.
//!
//! Knows how to wait without waking up for nothing, and when to stop waiting for a bash that has
//! ended or will never answer. What the words mean is `protocol.rs`, what is done about them is
//! `mod.rs` and `settle.rs`.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use memchr::memmem;
use nix::sys::wait::WaitStatus;

use super::asked::find_asked;
use super::marks::Marks;
use super::process::Process;
use super::protocol::{self, Report};
use super::state::{State, find_state};
use crate::child::arguments::{self, Arguments};
use crate::child::{RESPONSE_AFTER, response_pipe};
use crate::response::Response;
use crate::sys;
use crate::wait::{Limit, Overrun, ready};

/// How often it is looked whether bash still has something to read, while a handler runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long bash may take for what it does between invocations, before it counts as lost.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked whether it is at it.
const SETTLE_STEP: Duration = Duration::from_millis(100);

/// Our side of a running bash.
#[derive(Debug)]
pub struct Channel {
    /// The bash.
    pub process: Process,
    told: Vec<u8>,
    /// What a fork of bash told before the last report.
    words: Option<protocol::LastWords>,
    marks: Marks,
    /// The mark of the state that bash still owes us.
    owed: Option<String>,
    /// The EXIT trap that bash has by rights, as it prints it.
    own_exit_trap: String,
    /// Nobody can write to the response's pipe any more: polling it would return at once.
    response_closed: bool,
}

/// What came of waiting for a report.
#[derive(Debug)]
pub enum Told {
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
    pub fn open(process: Process) -> io::Result<Self> {
        Ok(Self {
            process,
            told: Vec::new(),
            words: None,
            marks: Marks::open()?,
            owed: None,
            own_exit_trap: String::new(),
            response_closed: false,
        })
    }

    /// A mark that was not used before.
    pub fn new_mark(&mut self) -> String {
        self.marks.next()
    }

    /// Forgets the random bytes that were read ahead, which are no secret once a snapshot has copied
    /// them; a number from fresh ones.
    pub fn renew_marks(&mut self) -> u32 {
        self.marks.renew()
    }

    /// Sends lines to the script.
    ///
    /// # Errors
    /// `EPIPE` when bash has ended.
    pub fn write_lines(&mut self, lines: &str) -> io::Result<()> {
        self.process.script.write_all(lines.as_bytes())
    }

    /// Lays an invocation out where bash and the handler read it.
    ///
    /// # Errors
    /// The system's, when there is no memory for it.
    pub fn put(&mut self, arguments: &Arguments, event: &[u8]) -> io::Result<()> {
        arguments.put(&mut self.process.arguments)?;
        arguments::put(&mut self.process.event, &[event])?;
        // Longer also if the handler wrote to it.
        arguments::cut(&self.process.event, event.len())
    }

    /// Cuts off what is left of a longer invocation, for a bash that reads to the end.
    ///
    /// # Errors
    /// The system's.
    pub fn cut_arguments(&self, arguments: &Arguments) -> io::Result<()> {
        arguments::cut(&self.process.arguments, arguments.length())
    }

    /// Makes a fork of bash that is about to be stopped tell where it is.
    pub fn ask_for_words(&self) {
        // Without them the answer is less precise.
        let _ = self.process.arguments.set_len(0);
    }

    /// Whether bash has read anything of the invocation. If not, the handler was not called.
    pub fn has_begun(&mut self) -> bool {
        self.process
            .arguments
            .stream_position()
            .map_or(true, |position| position > 0)
    }

    /// Gives back the memory of an event that was large.
    pub fn forget_event(&mut self) {
        // What is not given back is used by the next one.
        let _ = self.process.event.set_len(0);
        let _ = self.process.arguments.set_len(0);
    }

    /// Waits for the report with `mark`, and takes what the handler writes: at once if that is streamed,
    /// or else if it is more than its pipe holds, or takes long. When it returns the response is
    /// complete.
    pub fn wait_for_report(
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
            if let Some((report, end)) =
                protocol::find_report(&self.told, mark, &self.own_exit_trap)
            {
                let before = self.told.drain(..end);
                if report.status != 0 {
                    self.words = protocol::find_last_words(before.as_slice());
                }
                drop(before);
                self.take_response(mark, response, limit)?;
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
            ];
            let [has_words, has_ended, has_output] = limit.ready(sources, Some(look))?;
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
            ];
            let [has_ended, has_output] = limit.ready(sources, Some(LOOK_EVERY))?;
            if has_output {
                self.take_ready_response(mark, response, limit)?;
            } else if !has_ended && self.stays_silent(&mut silent) {
                return Ok(Told::Lost);
            }
        }
    }

    /// Waits until bash has ended by itself; for one whose control pipe is closed.
    pub fn wait_for_exit(&mut self, limit: &mut Limit) -> Option<WaitStatus> {
        match self.wait_for_end("", &mut Response::unwanted(""), limit) {
            Ok(Told::Ended(status)) => Some(status),
            _ => None,
        }
    }

    /// Whether bash waits for more of its script, and did so when it was last looked: then it
    /// has passed all that was sent, and has said nothing.
    fn stays_silent(&self, was_silent: &mut bool) -> bool {
        let is_silent = sys::bytes_ready(&self.process.script) == 0;
        std::mem::replace(was_silent, is_silent) && is_silent
    }

    /// Does what the handler asked of its response so far.
    fn pass_on_asked(
        &mut self,
        mark: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> Result<(), Overrun> {
        while let Some((asked, place)) = find_asked(&self.told, mark) {
            self.told.drain(place);
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
        let before = response.kept().len();
        self.take_ready_response(mark, response, limit)?;
        if mark.is_empty() {
            return Ok(None);
        }
        // It may have come in two pieces.
        let from = before.saturating_sub(4096).min(response.kept().len());
        let kept = &response.kept()[from..];
        let found = protocol::find_misled_report(kept, mark, &self.own_exit_trap);
        Ok(found.map(|(report, start)| {
            response.truncate(from + start);
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
    #[must_use]
    pub fn has_started(&self) -> bool {
        memmem::find(&self.told, protocol::STARTED).is_some()
    }

    /// The last words of a bash that has ended, or of its fork that has.
    pub fn last_words(&mut self) -> Option<protocol::LastWords> {
        protocol::find_last_words(&self.told).or_else(|| self.words.take())
    }

    /// Waits until the file is sourced; `None` if bash ended before.
    ///
    /// # Errors
    /// When it is not waited for any longer.
    pub fn wait_until_loaded(
        &mut self,
        mark: &str,
        limit: &mut Limit,
    ) -> Result<Option<protocol::Loaded>, Overrun> {
        loop {
            if let Some((loaded, end)) = protocol::find_loaded(&self.told, mark) {
                self.told.drain(..end);
                return Ok(Some(loaded));
            }
            let [has_words, _] = limit.ready(self.words_or_end(), None)?;
            if !has_words || !self.read_control() {
                return Ok(None);
            }
        }
    }

    fn words_or_end(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [
            Some(self.process.control.as_fd()),
            Some(self.process.child.ended()),
        ]
    }

    /// The EXIT trap of `state` is the one that bash has by rights.
    pub fn adopt_exit_trap(&mut self, state: &State) {
        self.own_exit_trap = state.exit_trap();
    }

    /// Makes bash run `lines` and then show its state, which it owes us from then on.
    ///
    /// # Errors
    /// `EPIPE` when bash has ended, also if it ends before it has shown what it owed before.
    pub fn ask_for_state_after(&mut self, lines: &str) -> io::Result<()> {
        if self.owed.is_some() {
            // One state at a time: the one before `lines` is of no use.
            self.wait_for_state().ok_or(io::ErrorKind::BrokenPipe)?;
        }
        let mark = self.marks.next();
        self.write_lines(&format!("{lines}{}", protocol::state_lines(&mark)))?;
        self.owed = Some(mark);
        Ok(())
    }

    /// Expects the state with `mark`, which lines that were sent ask for.
    pub fn expect_state(&mut self, mark: String) {
        self.owed = Some(mark);
    }

    /// Whether bash owes us a state.
    #[must_use]
    pub fn is_owed_state(&self) -> bool {
        self.owed.is_some()
    }

    /// Whether the state that bash owes us is here, without waiting for it.
    pub fn has_told_state(&mut self) -> bool {
        self.read_control_now();
        let Some(mark) = &self.owed else { return false };
        memmem::find(&self.told, format!("{mark}\0").as_bytes()).is_some()
    }

    /// Waits for the state that bash owes us; `None` if it ends, or takes longer than it may.
    pub fn wait_for_state(&mut self) -> Option<(State, String)> {
        let mark = self.owed.take()?;
        let begun = Instant::now();
        let mut silent = false;
        loop {
            if let Some((state, context, end)) = find_state(&self.told, &mark) {
                self.told.drain(..end);
                return Some((state, context));
            }
            let [has_words, has_ended] = ready(self.words_or_end(), Some(SETTLE_STEP));
            // It takes a millisecond; a handler can make it impossible.
            if !has_words
                && !has_ended
                && (self.stays_silent(&mut silent) || begun.elapsed() > SETTLE_LIMIT)
            {
                return None;
            }
            if has_words {
                if !self.read_control() {
                    return None;
                }
            } else if has_ended {
                return None;
            }
        }
    }

    /// Gives bash another pipe for the handler's stdout; the old one's end.
    ///
    /// # Errors
    /// The system's, or `EPIPE` when bash has ended.
    pub fn renew_response(&mut self) -> io::Result<OwnedFd> {
        let (ours, theirs) = response_pipe()?;
        self.ask_for_state_after(&protocol::renew_response_lines(std::process::id(), &theirs))?;
        // When bash has shown its state it has opened the pipe: we may close our end of it.
        self.ask_for_state_after("")?;
        Ok(std::mem::replace(&mut self.process.response, ours).into())
    }

    /// Waits for words, once; whether there were any. There are none when bash has ended, or closed
    /// the pipe.
    fn read_control(&mut self) -> bool {
        matches!(
            read_available(&mut self.process.control, &mut self.told),
            Ok(1..)
        )
    }

    /// Reads what is in the control pipe now; whether there was anything.
    pub fn read_control_now(&mut self) -> bool {
        sys::bytes_ready(&self.process.control) > 0 && self.read_control()
    }
}

/// One read of what is there, appended.
fn read_available(file: &mut File, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 4096];
    loop {
        match file.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(count) => {
                bytes.extend_from_slice(&piece[..count]);
                return Ok(count);
            }
            Err(error) => return Err(error),
        }
    }
}
