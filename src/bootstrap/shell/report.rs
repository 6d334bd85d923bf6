//! Two of the messages that bash writes: how a handler ended, and where a shell was when it ended.
//!
//! A handler can write to the pipe too. A report is recognised by a nonce that the handler cannot know; an exit trace
//! has none, and is believed only about the place.

use std::mem;

use memchr::memmem;

use crate::failure::parse_frame;
use coshell_driver::{Kind, fd, is_own_function, names};
use coshell_handler::Frame;
use coshell_process::ExitStatus;

/// A stack keeps this many frames.
const MAX_FRAMES: usize = 100;

/// How a call of the handler or of a hook ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// `Return`, `Exit` or `Errexit`; `Idle` if the driver could not call the handler, or the file does not define the hook.
    pub kind: Kind,
    /// 0 to 255.
    pub status: i32,
    /// The command that failed, if bash knows it.
    pub command: Option<String>,
    /// The statuses of the parts of the pipeline that failed, if it was one.
    pub parts: Vec<i32>,
    /// Where the handler was, the innermost frame first.
    pub stack: Vec<Frame>,
    /// The handler left an EXIT trap, which has not run yet.
    pub has_exit_trap: bool,
}

impl Report {
    /// Reads the fields between the two nonces: kind, status, command, statuses of the parts of a pipeline, frames. The last
    /// three are absent if the handler returned.
    pub(crate) fn from_fields(fields: Vec<String>, has_exit_trap: bool) -> Self {
        let mut fields = fields.into_iter();
        let kind = match fields.next().and_then(|word| Kind::parse(&word)) {
            Some(kind @ (Kind::Exit | Kind::Errexit | Kind::Idle)) => kind,
            // The field is empty if the handler unset the variable.
            _ => Kind::Return,
        };
        let status = fields.next().and_then(|status| status.parse().ok());
        Self {
            kind,
            status: status.unwrap_or(1),
            command: fields.next().filter(|command| !command.is_empty()),
            parts: statuses(&fields.next().unwrap_or_default()),
            stack: fields
                .take(MAX_FRAMES)
                .map(|text| parse_frame(&text))
                .collect(),
            has_exit_trap,
        }
    }

    /// The report for a handler with an EXIT trap, which bash runs where the handler ends. bash ends there too, so
    /// its exit trace stands in for the report. Returns `None` if the shell ended for another reason.
    pub(crate) fn from_exit_trace(end: ExitStatus, trace: &ExitTrace) -> Option<Self> {
        let ExitStatus::Exited(status) = end else {
            return None;
        };
        let kind = trace.kind;
        let kind = kind.filter(|kind| matches!(kind, Kind::Exit | Kind::Errexit))?;
        let command = trace.command.clone();
        Some(Self {
            kind,
            status,
            command: command.filter(|command| !command.is_empty()),
            parts: trace.parts.clone(),
            stack: trace.stack.clone(),
            has_exit_trap: false,
        })
    }

    /// The report of the shell about its fork, with the place that the fork's exit trace names. A handler can write
    /// an exit trace too, so nothing else of it is believed.
    pub(crate) fn with_trace_of_fork(mut self, trace: Option<ExitTrace>) -> Self {
        // Without a frame the handler has returned, and the status is its own.
        let Some(trace) = trace.filter(|trace| !trace.stack.is_empty()) else {
            return self;
        };
        let command = trace.command.as_deref().unwrap_or_default();
        let is_exit = command == "exit" || command.starts_with("exit ");
        self.kind = if trace.kind == Some(Kind::Return) && is_exit {
            Kind::Exit
        } else {
            Kind::Errexit
        };
        self.command = trace.command;
        self.parts = trace.parts;
        self.stack = trace.stack;
        self
    }
}

/// What bash writes when it is about to end. A handler can write the same, so an exit trace is believed only about
/// where the shell was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExitTrace {
    /// What ran; `None` if the word is unknown.
    pub kind: Option<Kind>,
    /// `file:line` of the command that failed while the file was sourced.
    pub failed_at: Option<String>,
    /// The command that was running.
    pub command: Option<String>,
    /// The statuses of the parts of the pipeline that failed, if it was one.
    pub parts: Vec<i32>,
    /// Where the shell was, the innermost frame first.
    pub stack: Vec<Frame>,
}

impl ExitTrace {
    /// Reads the fields: kind, status, place of the failure, command, statuses of the parts of a pipeline, frames. Fields that
    /// are absent count as empty.
    pub(crate) fn from_fields(fields: &[String]) -> Self {
        let text = |index: usize| fields.get(index).map_or("", String::as_str);
        let filled = |index: usize| Some(text(index).to_owned()).filter(|text| !text.is_empty());
        let mut is_reading = false;
        let frames = fields.iter().skip(5).map(|text| {
            let mut frame = parse_frame(text);
            // A trap of ours was reading a part of the driver. Where it runs, bash counts the lines of the trap.
            if is_own_file(&frame) && frame.function == "source" {
                is_reading = true;
            } else if !is_own_function(&frame.function)
                && mem::take(&mut is_reading)
                && !is_own_file(&frame)
            {
                frame.line = 0;
            }
            frame
        });
        let frames = frames.filter(|frame| {
            let is_end = matches!(frame.function.as_str(), "exit" | "lambda_error");
            !is_bottom(frame) && !is_end && !is_own_function(&frame.function) && !is_own_file(frame)
        });
        Self {
            kind: Kind::parse(text(0)),
            failed_at: filled(2),
            // While the shell waits for a fork, that is a text of ours.
            command: filled(3).filter(|command| !command.contains(names::PREFIX)),
            parts: statuses(text(4)),
            stack: frames.take(MAX_FRAMES).collect(),
        }
    }
}

/// How many of `bytes`, the beginning of a response, come before anything that may be a report. bash writes the trap
/// and the fields of the report in two steps, so that one may be there without the other.
pub(crate) fn before_report_in_stdout(bytes: &[u8], nonce: &str, initial_trap: &[u8]) -> usize {
    if nonce.is_empty() {
        return bytes.len();
    }
    let nonce = memmem::find(bytes, format!("{nonce}\0").as_bytes());
    let before = &bytes[..nonce.unwrap_or(bytes.len())];
    let without_trap = before.strip_suffix(initial_trap);
    without_trap.unwrap_or(before).len()
}

/// Reads the statuses of the parts of a pipeline: `0 1 `.
fn statuses(text: &str) -> Vec<i32> {
    let numbers = text.split_ascii_whitespace();
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// Whether this is a function of coshell, such as `lambda_fetch`, or a part of the driver that bash reads.
fn is_own_file(frame: &Frame) -> bool {
    let number = frame.file.strip_prefix("/dev/fd/");
    let number = number.and_then(|number| number.parse::<i32>().ok());
    number.is_some_and(|number| [fd::INHERITED_DRIVER, fd::ARGUMENTS, fd::RARE].contains(&number))
}

/// Whether this is the frame of our own lines, which bash calls `main`, and not a function `main` of the file.
fn is_bottom(frame: &Frame) -> bool {
    frame.function == "main" && frame.file.starts_with("/dev/fd/")
}

#[cfg(test)]
mod tests {
    use super::{ExitTrace, names};

    #[test]
    fn the_line_of_a_trap_that_reads_the_driver_is_no_line_of_the_file() {
        let read = "source /dev/fd/65:0";
        let reader = format!("{}read /dev/fd/78:99", names::PREFIX);
        let reader = reader.as_str();
        for (frames, line) in [
            (vec![read, reader], 0),
            (vec![read], 0),
            (vec![read, reader, "lambda_json /dev/fd/65:40"], 7),
            (vec![], 7),
        ] {
            let fields = ["load", "0", "", "sleep 601", ""].into_iter();
            let fields = fields
                .chain(frames)
                .chain(["source /var/task/function.sh:7"]);
            let fields: Vec<_> = fields.map(str::to_owned).collect();
            let stack = ExitTrace::from_fields(&fields).stack;
            assert_eq!(stack.len(), 1, "{stack:?}");
            assert_eq!(stack[0].line, line, "{fields:?}");
        }
    }
}
