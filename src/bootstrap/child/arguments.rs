//! What bash reads of an invocation: the event and the variables, in a file without a name.
//!
//! A field ends in NUL, or in a newline where that is faster and the event has none.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IoSlice, Seek};
use std::os::unix::fs::FileExt;

use memchr::memchr;
use nix::sys::uio::pwritev;

use crate::invocation::Invocation;

/// How the fields are separated. bash reads a file that is separated by NUL in blocks from version
/// 5.2 on, before that a byte at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    /// Exact whatever the event holds.
    Nul,
    /// For an event without newlines, where NUL would be slow.
    Newline,
}

impl Separator {
    /// The faster one that is exact, for a bash of `version`, major and minor.
    pub(crate) fn fastest_for(version: (u32, u32), invocation: &Invocation) -> Self {
        let is_exact =
            || !invocation.delivery.is_argument() || memchr(b'\n', &invocation.event).is_none();
        if version < (5, 2) && is_exact() {
            Self::Newline
        } else {
            Self::Nul
        }
    }

    /// The byte.
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Nul => b'\0',
            Self::Newline => b'\n',
        }
    }
}

/// The fields, in pieces, so that the event is not copied.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    /// What comes before the event.
    pub head: Vec<u8>,
    /// The event as `$1`.
    pub event: Cow<'a, [u8]>,
    /// What comes after it.
    pub end: Vec<u8>,
}

impl<'a> Arguments<'a> {
    /// The event first, then request id, deadline and trace header, empty where they are absent,
    /// then each other variable as `name=value`: for a bash that knows the names of the first.
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

    /// How many bytes they have together.
    pub(crate) fn length(&self) -> usize {
        self.head.len() + self.event.len() + self.end.len()
    }

    /// Makes `file` start with the fields, to be read from its start.
    ///
    /// # Errors
    /// The system's, when there is no memory for it.
    pub(crate) fn write_to(&self, file: &mut File) -> io::Result<()> {
        write_at_start(file, &[&self.head, &self.event, &self.end])
    }
}

/// Appends a field. A header value holds neither NUL nor newline when it comes from an HTTP
/// library; a stray one must not shift the fields all the same.
pub(crate) fn push_field(bytes: &mut Vec<u8>, field: &str, end: u8) {
    bytes.extend(field.bytes().filter(|byte| *byte != end));
    bytes.push(end);
}

/// Makes `file` start with the pieces, to be read from its start. Does not cut off what is behind.
///
/// # Errors
/// The system's, when there is no memory for them.
pub(crate) fn write_at_start(file: &mut File, pieces: &[&[u8]]) -> io::Result<()> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let slices: Vec<IoSlice> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let written = pwritev(&*file, &slices, 0)?;
    if written < length {
        file.write_all_at(&pieces.concat()[written..], written as u64)?;
    }
    file.rewind()
}

/// Cuts off what is behind the first `length` bytes, if there is anything.
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
            event: b"a\0b\n\n".to_vec(),
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
