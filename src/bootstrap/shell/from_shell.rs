//! What the shell writes to its control pipe: the twin of `to_shell.rs`.
//!
//! bash writes fields, each with a NUL behind it, and `shell_reader.rs` makes messages of them:
//!
//! ```text
//! started ␀                                  bash has read the driver
//! older VERSION ␀                            the driver is not for this bash
//! [enable -n NAME \n]... NONCE WORD ... ␀    bash has sourced the file: see load_report.rs
//! waiting ␀ PID ␀                            a fork waits for its event
//! respond ␀ COUNT ␀ FIELD ␀ x COUNT          a request for the response
//! died ␀ FIELD ␀ ... died ␀                  an exit trace: see report.rs
//! [TRAP \n] NONCE ␀ FIELD ␀ ... NONCE ␀      the report of a call: see report.rs
//! NONCE ␀                                    bash has run all lines before this one
//! ```
//!
//! A handler can write to the pipe too: whenever it likes, whatever it likes, and as much of it. So the reader passes over
//! what is no message, holds no message back for an incomplete one before it, reads each byte once, and keeps a bounded
//! number of bytes. What a handler must not imitate has a nonce that it cannot know.
//!
//! The state and the kept variables come through a pipe of their own, which is read when a message here says that they are
//! complete: see `state_pipe.rs`.

use nix::unistd::Pid;

use super::load_report::LoadReport;
use super::report::{ExitTrace, Report};
use crate::response::ResponseRequest;
use coshell_driver::{Kind, record};

/// No record is longer; `lambda.bash` rejects a request at half of this.
pub(super) const MAX_RECORD_BYTES: usize = 512 * 1024;
/// This many records can be incomplete at a time; the oldest is forgotten first.
pub(super) const MAX_OPEN_RECORDS: usize = 8;
/// A request with more fields keeps none of its arguments. A response cannot have this many headers.
const MAX_REQUEST_FIELDS: usize = 4096;
/// The request id, the place and the kind.
const LEADING_FIELDS: usize = 3;
/// A report has at least the kind and the status.
const REPORT_FIELDS: usize = 2;
/// An exit trace has at least the kind, the status, the place of the failure, the command, and the statuses of its parts.
const TRACE_FIELDS: usize = 5;

/// A message of the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FromShell {
    /// bash has read the driver.
    Started,
    /// bash has this version, which is too old for the driver, and ends.
    Older(String),
    /// bash has sourced the handler's file.
    Loaded(LoadReport),
    /// A fork waits for its event.
    ForkWaits(Pid),
    /// What the handler requests for its response.
    Request(ResponseRequest),
    /// Where the shell or its fork was when it ended.
    ExitTrace(ExitTrace),
    /// How the call with this nonce ended.
    Report { nonce: String, report: Report },
    /// bash has run all lines before the one with the nonce.
    Done,
}

/// The fields of a record, with a limit.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    texts: Vec<String>,
    pub bytes: usize,
}

impl Fields {
    /// Adds a field. Returns false if the record is too long.
    pub(super) fn push(&mut self, field: &[u8]) -> bool {
        self.bytes += field.len() + 1;
        let fits = self.bytes <= MAX_RECORD_BYTES;
        if fits {
            self.texts.push(String::from_utf8_lossy(field).into_owned());
        }
        fits
    }
}

/// A report whose second nonce has not come yet.
#[derive(Debug)]
pub(super) struct OpenReport {
    nonce: String,
    has_exit_trap: bool,
    pub fields: Fields,
}

impl OpenReport {
    /// Begins with a field that has `nonce` at its end, and before it the EXIT trap that bash has now.
    pub(super) fn new(field: &[u8], nonce: &str, initial_trap: &[u8]) -> Self {
        let before = &field[..field.len() - nonce.len()];
        Self {
            nonce: nonce.to_owned(),
            has_exit_trap: before.ends_with(b" EXIT\n") && !before.ends_with(initial_trap),
            fields: Fields::default(),
        }
    }

    /// Whether `field` is the second nonce. It comes after two fields at least.
    pub(super) fn ends_with(&self, field: &[u8]) -> bool {
        field == self.nonce.as_bytes() && self.fields.texts.len() >= REPORT_FIELDS
    }

    pub(super) fn finish(self) -> FromShell {
        FromShell::Report {
            report: Report::from_fields(self.fields.texts, self.has_exit_trap),
            nonce: self.nonce,
        }
    }
}

/// A record that is not complete. Its fields are those behind the word.
#[derive(Debug)]
pub(super) struct OpenRecord {
    kind: RecordKind,
    pub fields: Fields,
}

#[derive(Debug, Clone, Copy)]
enum RecordKind {
    Waiting,
    Request,
    ExitTrace,
}

/// What a field does to a record.
enum Step {
    /// It is a part of it.
    Part,
    /// It completes it.
    Complete(FromShell),
    /// This is no record.
    Invalid,
}

impl OpenRecord {
    fn push(&mut self, field: &[u8]) -> Step {
        let is_trace = matches!(self.kind, RecordKind::ExitTrace);
        // The same word may be the command.
        if is_trace && field == record::DIED.as_bytes() && self.fields.texts.len() >= TRACE_FIELDS {
            let trace = ExitTrace::from_fields(&self.fields.texts);
            return Step::Complete(FromShell::ExitTrace(trace));
        }
        if !self.fields.push(field) {
            return Step::Invalid;
        }
        match self.kind {
            RecordKind::Waiting => match self.fields.texts[0].parse() {
                Ok(pid) => Step::Complete(FromShell::ForkWaits(Pid::from_raw(pid))),
                Err(_) => Step::Invalid,
            },
            RecordKind::ExitTrace => {
                let kind = self.fields.texts[0].as_str();
                if kind.is_empty() || Kind::parse(kind).is_some() {
                    Step::Part
                } else {
                    Step::Invalid
                }
            }
            RecordKind::Request => read_request(&self.fields.texts),
        }
    }
}

/// Reads a request, of which these fields have come: the number of those behind it, request id, place, kind, and arguments.
fn read_request(fields: &[String]) -> Step {
    let count = fields[0].parse().ok();
    let Some(argument_count) = count.and_then(|count: usize| count.checked_sub(LEADING_FIELDS))
    else {
        return Step::Invalid;
    };
    let is_kept = argument_count + LEADING_FIELDS <= MAX_REQUEST_FIELDS;
    let taken = if is_kept { argument_count } else { 0 };
    match fields {
        [_, request_id, place, kind, arguments @ ..] if arguments.len() == taken => {
            Step::Complete(FromShell::Request(ResponseRequest {
                request_id: request_id.clone(),
                place: place.clone(),
                kind: kind.clone(),
                arguments: arguments.to_vec(),
                argument_count,
            }))
        }
        _ => Step::Part,
    }
}

/// Reads a field without a nonce. `open` has the records that have begun; returns the message that the field completes.
pub(super) fn read_record(field: &[u8], open: &mut Vec<OpenRecord>) -> Option<FromShell> {
    let mut message = None;
    open.retain_mut(|record| match record.push(field) {
        Step::Part => true,
        Step::Invalid => false,
        Step::Complete(complete) => {
            message.get_or_insert(complete);
            false
        }
    });
    if message.is_some() {
        // Those that have not been completed by now began around it or within it, and are none.
        open.clear();
        return message;
    }
    // Something without a NUL may stand before the word.
    let kind = if field.ends_with(record::DIED.as_bytes()) {
        RecordKind::ExitTrace
    } else if field.ends_with(record::RESPOND.as_bytes()) {
        RecordKind::Request
    } else if field.ends_with(record::WAITING.as_bytes()) {
        RecordKind::Waiting
    } else if field.ends_with(record::STARTED.as_bytes()) {
        return Some(FromShell::Started);
    } else {
        let version = field.strip_prefix(record::OLDER.as_bytes())?;
        let version = String::from_utf8_lossy(version.strip_prefix(b" ")?);
        return Some(FromShell::Older(version.into_owned()));
    };
    if open.len() == MAX_OPEN_RECORDS {
        open.remove(0);
    }
    open.push(OpenRecord {
        kind,
        fields: Fields::default(),
    });
    None
}
