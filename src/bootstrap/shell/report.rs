//! The records that bash writes to its control pipe: how a handler ended, and where a shell was when it ended.
//!
//! A handler can write to the pipe too. A report is recognised by a nonce that the handler cannot know; an exit trace
//! has none, and is believed only about the place.

use memchr::{memchr, memmem};
use nix::sys::wait::WaitStatus;

use crate::failure::parse_frame;
use coshell_driver::{Kind, fd, is_own_function, record};
use coshell_handler::Frame;

/// A stack keeps this many frames.
const MAX_FRAMES: usize = 100;

/// A record in what bash wrote, and the index behind its last byte.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Located<T> {
    pub record: T,
    pub end: usize,
}

/// A report that came out of the response's pipe, and the index of its first byte.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReportInStdout {
    pub report: Report,
    pub start: usize,
}

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
    /// The report for a handler with an EXIT trap, which bash runs where the handler ends. bash ends there too, so
    /// its exit trace stands in for the report. Returns `None` if the shell ended for another reason.
    pub(crate) fn from_exit_trace(end: WaitStatus, trace: &ExitTrace) -> Option<Self> {
        let WaitStatus::Exited(_, status) = end else {
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

/// Finds the report that starts and ends with `nonce`. Returns `None` while it is not complete.
///
/// The EXIT trap that bash has now stands right before the report. `initial_trap` is the one that bash had at first:
/// any other is the handler's.
pub(crate) fn find_report(
    bytes: &[u8],
    nonce: &str,
    initial_trap: &[u8],
) -> Option<Located<Report>> {
    // A DEBUG trap of the handler may print our lines, nonce included. No NUL follows the nonce there.
    let start = memmem::find(bytes, format!("{nonce}\0").as_bytes())?;
    let fields = fields_between(&bytes[start..], nonce)?;
    let end = start + fields.end;
    let mut fields = fields.record.into_iter();
    let kind = match Kind::parse(&fields.next()?) {
        Some(kind @ (Kind::Exit | Kind::Errexit | Kind::Idle)) => kind,
        // The field is empty if the handler unset the variable.
        _ => Kind::Return,
    };
    let status = fields.next()?.parse().unwrap_or(1);
    let before = &bytes[..start];
    let report = Report {
        kind,
        status,
        command: fields.next().filter(|command| !command.is_empty()),
        parts: statuses(&fields.next().unwrap_or_default()),
        stack: fields
            .take(MAX_FRAMES)
            .map(|text| parse_frame(&text))
            .collect(),
        has_exit_trap: before.ends_with(b" EXIT\n") && !before.ends_with(initial_trap),
    };
    Some(Located {
        record: report,
        end,
    })
}

/// Finds a report in the bytes of a response.
pub(crate) fn find_report_in_stdout(
    bytes: &[u8],
    nonce: &str,
    initial_trap: &[u8],
) -> Option<ReportInStdout> {
    let report = find_report(bytes, nonce, initial_trap)?.record;
    let before = &bytes[..memmem::find(bytes, format!("{nonce}\0").as_bytes())?];
    let start = before.strip_suffix(initial_trap).unwrap_or(before).len();
    Some(ReportInStdout { report, start })
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

/// Finds the last exit trace in what bash wrote.
pub(crate) fn find_exit_trace(bytes: &[u8]) -> Option<ExitTrace> {
    let last = memmem::rfind(bytes, record::DIED_FIELD)?;
    let start = memmem::rfind(&bytes[..last], record::DIED_FIELD)?;
    let fields = fields_between(&bytes[start..], record::DIED)?.record;
    let mut fields = fields.into_iter();
    let kind = Kind::parse(&fields.next()?);
    let failed_at = fields.nth(1).filter(|place| !place.is_empty());
    let command = fields.next().filter(|command| !command.is_empty());
    let parts = statuses(&fields.next().unwrap_or_default());
    let stack = fields
        .map(|text| parse_frame(&text))
        .filter(|frame| {
            let is_end = matches!(frame.function.as_str(), "exit" | "lambda_error");
            !is_bottom(frame) && !is_end && !is_own_function(&frame.function)
        })
        // A trap may run while bash reads this file.
        .filter(|frame| frame.file != format!("/dev/fd/{}", fd::RARE))
        .take(MAX_FRAMES)
        .collect();
    Some(ExitTrace {
        kind,
        failed_at,
        command,
        parts,
        stack,
    })
}

/// Finds the record `waiting NUL PID NUL` of a fork that waits for an event.
pub(crate) fn find_waiting_fork(bytes: &[u8]) -> Option<Located<i32>> {
    let tag = record::WAITING_FIELD;
    let start = memmem::rfind(bytes, tag)? + tag.len();
    let end = start + memchr(b'\0', &bytes[start..])?;
    let pid = str::from_utf8(&bytes[start..end]).ok()?.parse().ok()?;
    Some(Located {
        record: pid,
        end: end + 1,
    })
}

/// Reads a record `tag NUL field NUL ... tag NUL`, and returns its fields.
fn fields_between(bytes: &[u8], tag: &str) -> Option<Located<Vec<String>>> {
    let mut fields = Vec::new();
    let mut index = 0;
    loop {
        let end = index + memchr(b'\0', &bytes[index..])?;
        let field = &bytes[index..end];
        index = end + 1;
        if field == tag.as_bytes() && !fields.is_empty() {
            return Some(Located {
                record: fields.split_off(1),
                end: index,
            });
        }
        fields.push(String::from_utf8_lossy(field).into_owned());
    }
}

/// Reads the statuses of the parts of a pipeline: `0 1 `.
fn statuses(text: &str) -> Vec<i32> {
    let numbers = text.split_ascii_whitespace();
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// Whether this is the frame of our own lines, which bash calls `main`, and not a function `main` of the file.
fn is_bottom(frame: &Frame) -> bool {
    frame.function == "main" && frame.file.starts_with("/dev/fd/")
}
