//! Buffers the body of a response, up to the size that Lambda accepts.
//!
//! A handler may print without end, and a sandbox has little memory. So a response that is too large is dropped at once, except
//! for its end, because the report of a shell may be there (`shell/channel.rs`). What follows is read, counted and dropped.

use std::fs::File;
use std::io::Read;

use coshell_wire::MAX_RESPONSE_BYTES;

use crate::invocation::trim_trailing_newlines;

/// The largest report that may follow a response.
const MAX_REPORT_BYTES: usize = 64 * 1024;
/// The capacity of a response's pipe.
const PIECE_BYTES: usize = 1024 * 1024;

/// The body of a response, or its end if it is too large.
#[derive(Debug, Default)]
pub(crate) struct BodyBuffer {
    bytes: Vec<u8>,
    /// How many newlines came after `bytes` when there was no more room. If nothing else follows they may not belong to the
    /// response.
    newlines: usize,
    /// How many bytes before `bytes` were dropped.
    dropped: usize,
}

impl BodyBuffer {
    /// How many bytes the response has, with those that were dropped.
    pub(crate) fn len(&self) -> usize {
        self.dropped + self.bytes.len() + self.newlines
    }

    /// Whether bytes were dropped, because the response is larger than Lambda accepts.
    pub(crate) fn is_truncated(&self) -> bool {
        self.dropped > 0
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a piece of at most `ready` bytes from the pipe, and returns its length. `is_bounded`: drops bytes if the response
    /// gets too large.
    pub(crate) fn read_from(&mut self, pipe: &File, ready: usize, is_bounded: bool) -> usize {
        let start = self.bytes.len();
        let wanted = ready.min(PIECE_BYTES);
        self.bytes.reserve(wanted);
        let mut piece = pipe.take(u64::try_from(wanted).unwrap_or(u64::MAX));
        // The pipe is nonblocking: an error means that it is empty.
        let _ = piece.read_to_end(&mut self.bytes);
        let count = self.bytes.len() - start;
        if is_bounded {
            self.drop_excess(start);
        }
        count
    }

    /// Removes and returns the first `count` bytes.
    pub(crate) fn take_first(&mut self, count: usize) -> Vec<u8> {
        let rest = self.bytes.split_off(count.min(self.bytes.len()));
        std::mem::replace(&mut self.bytes, rest)
    }

    /// Removes the last `count` bytes.
    pub(crate) fn remove_last(&mut self, count: usize) {
        let length = self.bytes.len().saturating_sub(count);
        self.bytes.truncate(length);
    }

    /// The whole body. Newlines at its end belong to it only if `keep_newlines`.
    ///
    /// # Errors
    /// The length of the body, if it is larger than Lambda accepts.
    pub(crate) fn into_bytes(self, keep_newlines: bool) -> Result<Vec<u8>, usize> {
        let newlines = if keep_newlines { self.newlines } else { 0 };
        let mut bytes = self.bytes;
        if !keep_newlines {
            bytes.truncate(trim_trailing_newlines(&bytes).len());
        }
        let length = self.dropped + bytes.len() + newlines;
        if length > MAX_RESPONSE_BYTES {
            return Err(length);
        }
        Ok(bytes)
    }

    /// Drops what exceeds the limit, after bytes were appended at `start`.
    fn drop_excess(&mut self, start: usize) {
        let has_room = self.newlines == 0 && self.dropped == 0;
        if has_room && self.bytes.len() <= MAX_RESPONSE_BYTES + MAX_REPORT_BYTES {
            return;
        }
        if self.dropped == 0 {
            let length = trim_trailing_newlines(&self.bytes).len();
            let has_only_newlines = if self.newlines == 0 {
                length <= MAX_RESPONSE_BYTES
            } else {
                length <= start
            };
            if has_only_newlines {
                // Count the newlines: if no other byte follows they need no memory.
                let kept = if self.newlines == 0 { length } else { start };
                self.newlines += self.bytes.len() - kept;
                self.bytes.truncate(kept);
                return;
            }
        }
        self.dropped += std::mem::take(&mut self.newlines);
        let excess = self.bytes.len().saturating_sub(MAX_REPORT_BYTES);
        self.dropped += excess;
        // A new vector, so that the memory of the dropped bytes is freed.
        self.bytes = self.bytes[excess..].to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled_with(pieces: &[&[u8]]) -> BodyBuffer {
        let mut body = BodyBuffer::default();
        for piece in pieces {
            let start = body.bytes.len();
            body.bytes.extend_from_slice(piece);
            body.drop_excess(start);
        }
        body
    }

    #[test]
    fn body_of_the_largest_size_is_kept_and_a_larger_one_is_dropped() {
        let largest = vec![b'x'; MAX_RESPONSE_BYTES];
        let bytes = filled_with(&[&largest]).into_bytes(false);
        assert_eq!(bytes.map(|bytes| bytes.len()), Ok(MAX_RESPONSE_BYTES));
        let bytes = filled_with(&[&largest, b"x"]).into_bytes(false);
        assert_eq!(bytes, Err(MAX_RESPONSE_BYTES + 1));
        let piece = vec![b'x'; PIECE_BYTES];
        let pieces: Vec<&[u8]> = (0..100).map(|_| piece.as_slice()).collect();
        let body = filled_with(&pieces);
        assert_eq!(body.len(), 100 * PIECE_BYTES);
        assert!(body.is_truncated() && body.bytes.capacity() <= PIECE_BYTES);
        assert_eq!(body.into_bytes(true), Err(100 * PIECE_BYTES));
    }

    #[test]
    fn newlines_at_the_end_need_no_memory() {
        let newlines = vec![b'\n'; 3 * MAX_RESPONSE_BYTES];
        let body = filled_with(&[b"a", &newlines, &newlines]);
        assert!(body.bytes.len() == 1 && !body.is_truncated());
        assert_eq!(body.into_bytes(false), Ok(b"a".to_vec()));
        let length = 1 + 6 * MAX_RESPONSE_BYTES;
        let body = filled_with(&[b"a", &newlines, &newlines]);
        assert_eq!(body.into_bytes(true), Err(length));
        let body = filled_with(&[b"a", &newlines, &newlines, b"\nb\n"]);
        assert_eq!(body.into_bytes(false), Err(length + 2));
    }

    #[test]
    fn end_of_a_truncated_body_can_be_read_and_removed() {
        let piece = vec![b'x'; 2 * MAX_RESPONSE_BYTES];
        let mut body = filled_with(&[&piece, b"report"]);
        assert!(body.bytes().ends_with(b"xreport"));
        body.remove_last(6);
        assert_eq!(body.into_bytes(true), Err(2 * MAX_RESPONSE_BYTES));
    }
}
