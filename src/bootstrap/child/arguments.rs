//! The event and the variables of an invocation, written to a memory file from which bash reads them.
//!
//! Each field ends with NUL, or with a newline if bash reads that faster and the event contains none.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IoSlice, Seek};
use std::os::unix::fs::FileExt;

use memchr::memchr;
use nix::fcntl::OFlag;
use nix::sys::uio::pwritev;

use crate::invocation::Invocation;
use coshell_process::sys;

/// The byte that ends each field. Before version 5.2, bash reads NUL-terminated fields one byte at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    /// Works for every event.
    Nul,
    /// Works for events without newlines.
    Newline,
}

impl Separator {
    /// The fastest separator that works for the event, for a bash of `version` (major, minor).
    pub(crate) fn fastest_for(version: (u32, u32), invocation: &Invocation) -> Self {
        let has_no_newline =
            || !invocation.delivery.is_argument() || memchr(b'\n', &invocation.event).is_none();
        if version < (5, 2) && has_no_newline() {
            Self::Newline
        } else {
            Self::Nul
        }
    }

    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Nul => b'\0',
            Self::Newline => b'\n',
        }
    }
}

/// The fields, in three pieces, so that the event is not copied.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    /// The fields before the event.
    pub head: Vec<u8>,
    /// The event as `$1`.
    pub event: Cow<'a, [u8]>,
    /// The separator after the event, and the fields that follow.
    pub end: Vec<u8>,
}

impl<'a> Arguments<'a> {
    /// The fields for `script.bash` and for forks: the event, the request id, the deadline and the trace header (empty if
    /// absent), and then each other variable that is present as `name=value`.
    pub(crate) fn event_first(invocation: &'a Invocation, separator: Separator) -> Self {
        let byte = separator.byte();
        let mut end = vec![byte];
        let text = |value: &'a Option<String>| value.as_deref().unwrap_or_default();
        push_field(&mut end, &invocation.request_id, byte);
        push_field(&mut end, text(&invocation.deadline_ms), byte);
        push_field(&mut end, text(&invocation.trace_id), byte);
        for (name, value) in invocation.context() {
            end.extend_from_slice(name.as_bytes());
            end.push(b'=');
            push_field(&mut end, value, byte);
        }
        Self {
            head: Vec::new(),
            event: invocation.argument(),
            end,
        }
    }

    /// The fields for scripts before bash 5.2 and for forks before 4.4, each with a newline behind it: the number of the
    /// other variables, request id, deadline, trace header, the other variables, and then the event, which may have
    /// newlines itself.
    pub(crate) fn event_last(invocation: &'a Invocation) -> Self {
        let Self { event, end, .. } = Self::event_first(invocation, Separator::Newline);
        let mut head = invocation.context().count().to_string().into_bytes();
        head.extend_from_slice(&end);
        Self {
            head,
            event,
            end: b"\n".to_vec(),
        }
    }

    /// The length of all fields in bytes.
    pub(crate) fn length(&self) -> usize {
        self.head.len() + self.event.len() + self.end.len()
    }

    /// Writes the fields to the beginning of `file`, and rewinds it.
    ///
    /// # Errors
    /// The system's, if there is not enough memory.
    pub(crate) fn write_to(&self, file: &mut File) -> io::Result<()> {
        write_at_start(file, &[&self.head, &self.event, &self.end])
    }
}

/// Appends a field and the byte that ends it. That byte is removed from the field itself, so that it cannot shift the others;
/// header values from an HTTP library never contain it.
pub(crate) fn push_field(bytes: &mut Vec<u8>, field: &str, end: u8) {
    bytes.extend(field.bytes().filter(|byte| *byte != end));
    bytes.push(end);
}

/// Writes the pieces to the beginning of `file`, and rewinds it. Keeps what the file has after them.
///
/// # Errors
/// The system's, if there is not enough memory.
pub(crate) fn write_at_start(file: &mut File, pieces: &[&[u8]]) -> io::Result<()> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let slices: Vec<IoSlice> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    // The file is the handler's standard input. With this flag, which a program may set, it would keep the earlier events.
    sys::clear_flag(&*file, OFlag::O_APPEND)?;
    let written = pwritev(&*file, &slices, 0)?;
    if written < length {
        file.write_all_at(&pieces.concat()[written..], written as u64)?;
    }
    file.rewind()
}

/// Truncates `file` to `length` bytes, if it is longer.
///
/// # Errors
/// The system's.
pub(crate) fn truncate(file: &File, length: usize) -> io::Result<()> {
    if file.metadata()?.len() > length as u64 {
        file.set_len(length as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_comes_first_and_absent_variables_are_empty_or_left_out() {
        let invocation = Invocation {
            request_id: "id".to_owned(),
            tenant_id: Some("blue".to_owned()),
            event: b"a\0b\n\n".to_vec().into(),
            ..Invocation::default()
        };
        let fields = Arguments::event_first(&invocation, Separator::Nul);
        let text = [fields.head, fields.event.to_vec(), fields.end].concat();
        assert_eq!(
            String::from_utf8_lossy(&text),
            "ab\0id\0\0\0LAMBDA_RUNTIME_AWS_TENANT_ID=blue\0"
        );
    }
}
