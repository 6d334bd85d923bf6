//! Waits for the report of a running call, and reads its response.
//!
//! Each wake-up takes processor time from the handler. So a short response is not read until the report has arrived,
//! and a long one is read in large pieces. The wait also notices that a report can never arrive, because bash has
//! ended or cannot run the driver any more.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::channel::Channel;
use super::from_shell::FromShell;
use super::report::{Report, before_report_in_stdout};
use super::shell_reader::{Awaited, ShellReader};
use super::to_shell::ToShell;
use crate::child::RESPONSE_READ_DELAY;
use crate::response::Response;
use crate::wait::{Limit, Overrun};
use coshell_process::{ExitStatus, sys};

/// How often we check, while a handler runs, that bash still has lines to read.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A report in the response may arrive in two pieces. So this much of what came before is searched again.
const SEARCH_OVERLAP: usize = 4096;

/// How waiting for a report ended.
#[derive(Debug)]
pub(crate) enum WaitOutcome {
    /// The report came, and the shell goes on.
    Report(Report),
    /// The report came, but the handler closed the shell's descriptors.
    LastReport(Report),
    /// bash ended.
    Ended(ExitStatus),
    /// bash has read all lines, and has not reported: the handler broke a builtin that the driver needs.
    Lost,
    /// The time is up.
    Overrun(Overrun),
}

/// A call of the handler or of a hook that bash is running.
struct RunningCall<'c, 'r, 'l> {
    /// The nonce of its report, if there will be one.
    nonce: Option<&'c str>,
    response: &'c mut Response<'r>,
    limit: &'c mut Limit<'l>,
    /// No process can write to the response's pipe any more. Polling it would return at once.
    response_closed: bool,
}

/// Why a wait returned.
enum Wake {
    /// The control pipe is readable, or closed.
    Control,
    /// bash has ended.
    Exit,
    /// The response's pipe is readable, or closed.
    Output,
    /// bash wrote to the state pipe, which has been emptied.
    State,
    /// Nothing happened.
    Timeout,
}

/// When the response's pipe is read while a handler runs. Reading it rarely saves wake-ups.
enum OutputReading {
    /// The call has just begun. Most handlers report before [`RESPONSE_READ_DELAY`] has passed.
    NotYet(Instant),
    /// As soon as there is output.
    WhenReady,
    /// There has been output since this time. bash writes 4 KiB at a time, so more of it may collect.
    Collecting(Instant),
}

impl OutputReading {
    /// How long to wait before the next step, and whether output ends the wait.
    fn timeout(&self) -> (Duration, bool) {
        match self {
            Self::NotYet(since) | Self::Collecting(since) => {
                (RESPONSE_READ_DELAY.saturating_sub(since.elapsed()), false)
            }
            Self::WhenReady => (CHECK_INTERVAL, true),
        }
    }
}

impl Channel {
    /// Waits for the report with `nonce`, and reads what the handler writes meanwhile.
    ///
    /// A streamed response is read at once. A buffered one is read when its pipe may become full or the handler takes
    /// long. The response is complete when this returns.
    pub(crate) fn wait_for_report(
        &mut self,
        nonce: &str,
        response: &mut Response,
        limit: &mut Limit,
    ) -> WaitOutcome {
        let mut call = RunningCall {
            nonce: Some(nonce),
            response,
            limit,
            response_closed: false,
        };
        self.try_wait_for_report(&mut call)
            .unwrap_or_else(WaitOutcome::Overrun)
    }

    fn try_wait_for_report(&mut self, call: &mut RunningCall) -> Result<WaitOutcome, Overrun> {
        let mut reading = OutputReading::NotYet(Instant::now());
        let mut was_silent = false;
        loop {
            if let Some(report) = self.take_messages(call)? {
                return self.finish_call(report, call);
            }
            if call.response.is_streamed() {
                reading = OutputReading::WhenReady;
            }
            match self.wait_for_wake(&reading, call)? {
                Wake::Control if self.read_control() => {}
                Wake::Control | Wake::Exit => return self.wait_for_end(call),
                Wake::State => {}
                Wake::Output if call.response.is_streamed() => {
                    // The handler requests the form of its response before it writes the output: so read that first.
                    if !self.read_control_now()
                        && let Some(report) = self.take_report_in_stdout(call)?
                    {
                        return Ok(WaitOutcome::LastReport(report));
                    }
                }
                Wake::Output => reading = OutputReading::Collecting(Instant::now()),
                Wake::Timeout => match std::mem::replace(&mut reading, OutputReading::WhenReady) {
                    OutputReading::NotYet(_) => {}
                    OutputReading::Collecting(_) => {
                        if let Some(report) = self.take_report_in_stdout(call)? {
                            return Ok(WaitOutcome::LastReport(report));
                        }
                    }
                    OutputReading::WhenReady => {
                        if self.stays_silent(&mut was_silent) {
                            return Ok(WaitOutcome::Lost);
                        }
                    }
                },
            }
        }
    }

    /// Waits until something happens that concerns a running call. Empties the state pipe, so that bash does not block.
    fn wait_for_wake(
        &mut self,
        reading: &OutputReading,
        call: &mut RunningCall,
    ) -> Result<Wake, Overrun> {
        let (timeout, reads_output) = reading.timeout();
        let reads_output = reads_output && !call.response_closed;
        let sources = [
            Some(self.process.control.as_fd()),
            Some(self.process.child.pidfd()),
            reads_output.then(|| self.process.response.as_fd()),
            self.process.state.source(),
        ];
        let [has_control, has_ended, has_output, has_state] =
            call.limit.wait_readable(sources, Some(timeout))?;
        if has_state {
            self.process.state.take_more();
        }
        Ok(if has_control {
            Wake::Control
        } else if has_ended {
            Wake::Exit
        } else if has_output {
            Wake::Output
        } else if has_state {
            Wake::State
        } else {
            Wake::Timeout
        })
    }

    /// Reads what is left of the response when the report has arrived.
    fn finish_call(
        &mut self,
        report: Report,
        call: &mut RunningCall,
    ) -> Result<WaitOutcome, Overrun> {
        self.take_response(call)?;
        // A fork may have killed its shell.
        if self.fork_end.is_some()
            && let Some(status) = self.process.child.status()
        {
            return Ok(WaitOutcome::Ended(status));
        }
        Ok(WaitOutcome::Report(report))
    }

    /// Applies what the handler has requested for its response so far. Returns the report of the call, or that of the shell
    /// if its fork ended without one.
    fn take_messages(&mut self, call: &mut RunningCall) -> Result<Option<Report>, Overrun> {
        let fork_end = self.fork_end.clone();
        let own = call.nonce;
        let own = own.filter(|_| fork_end.is_none() || !self.trusts_fork_end_only);
        let awaited = own.into_iter().chain(fork_end.as_deref());
        let awaited: Vec<_> = awaited.map(Awaited::Report).collect();
        while let Some(message) = self.next_message(&awaited) {
            match message {
                FromShell::Request(request) => call.response.apply_request(&request, call.limit)?,
                FromShell::Report { nonce, report } => {
                    if fork_end.is_some_and(|end| end == nonce) {
                        self.fork_end = None;
                    }
                    return Ok(Some(report));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Waits for the end of a bash that has ended or closed its control descriptor. It closes it when it becomes
    /// another program (`exec`), or when the handler does so. Either way its exit status is the outcome.
    fn wait_for_end(&mut self, call: &mut RunningCall) -> Result<WaitOutcome, Overrun> {
        // If the process is still bash, it reads this line after the handler, and ends with the handler's status.
        let _ = self.send(ToShell::EndWithHandler);
        let mut was_silent = false;
        loop {
            if let Some(status) = self.process.child.status() {
                // Its exit trace may have arrived together with its end.
                while self.read_control_now() {}
                self.take_messages(call)?;
                let report = self.take_report_in_stdout(call)?;
                return Ok(report.map_or(WaitOutcome::Ended(status), WaitOutcome::LastReport));
            }
            let sources = [
                Some(self.process.child.pidfd()),
                (!call.response_closed).then(|| self.process.response.as_fd()),
                self.process.state.source(),
            ];
            let [has_ended, has_output, has_state] =
                call.limit.wait_readable(sources, Some(CHECK_INTERVAL))?;
            if has_state {
                self.process.state.take_more();
            } else if has_output {
                self.take_ready_response(call)?;
            } else if !has_ended && self.stays_silent(&mut was_silent) {
                return Ok(WaitOutcome::Lost);
            }
        }
    }

    /// Waits until a bash whose control pipe is closed has ended by itself. Returns `None` if it never will.
    pub(crate) fn wait_for_exit(&mut self, limit: &mut Limit) -> Option<ExitStatus> {
        let mut call = RunningCall {
            nonce: None,
            response: &mut Response::discarded(),
            limit,
            response_closed: false,
        };
        match self.wait_for_end(&mut call) {
            Ok(WaitOutcome::Ended(status)) => Some(status),
            _ => None,
        }
    }

    /// Whether bash has read all of its script, now and at the previous check. Then it has passed every line that we
    /// wrote, and will not report any more.
    pub(super) fn stays_silent(&self, was_silent: &mut bool) -> bool {
        let is_silent = sys::bytes_ready(&*self.process.script) == 0;
        std::mem::replace(was_silent, is_silent) && is_silent
    }

    /// Reads the output of the handler, and finds the report in it. A handler that closes every descriptor also
    /// closes the one where bash keeps its own standard output; bash then reports into the response.
    fn take_report_in_stdout(&mut self, call: &mut RunningCall) -> Result<Option<Report>, Overrun> {
        let before = call.response.unsent_len();
        self.take_ready_response(call)?;
        let Some(nonce) = call.nonce else {
            return Ok(None);
        };
        let new = call.response.unsent_len().saturating_sub(before);
        let end = call.response.unsent_end(new + SEARCH_OVERLAP);
        let initial_trap = self.reader.initial_trap();
        let start = before_report_in_stdout(end, nonce, initial_trap);
        let length = end.len() - start;
        let mut reader = ShellReader::new(initial_trap.to_vec());
        reader.push(&end[start..]);
        Ok(match reader.next(&[Awaited::Report(nonce)]) {
            Some(FromShell::Report { report, .. }) => {
                call.response.remove_end(length);
                Some(report)
            }
            _ => None,
        })
    }

    /// Reads from the response's pipe after a poll. A pipe that is ready but empty has no writer any more.
    fn take_ready_response(&mut self, call: &mut RunningCall) -> Result<(), Overrun> {
        call.response_closed = self.take_response(call)? == 0;
        Ok(())
    }

    /// Reads what is in the response's pipe now, and returns the number of bytes.
    fn take_response(&self, call: &mut RunningCall) -> Result<usize, Overrun> {
        let pipe = &self.process.response;
        let nonce = call.nonce;
        call.response
            .read_from(pipe, call.limit, |bytes| match nonce {
                Some(nonce) => before_report_in_stdout(bytes, nonce, self.reader.initial_trap()),
                None => bytes.len(),
            })
    }
}
