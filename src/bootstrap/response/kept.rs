//! What is kept of a response that is not sent while it is made: all of it, up to what Lambda takes.
//!
//! A handler may print without an end, and memory is what a sandbox has least of. So a response that is
//! larger than Lambda takes is let go at once, but for its end: the report of a shell may stand there
//! (`shell/report_wait.rs`). What comes after is read, counted and dropped.

use std::fs::File;
use std::io::Read;

use coshell_wire::MAX_RESPONSE_BYTES;

use crate::invocation::without_newlines_at_end;

/// What a report that stands behind a response may have.
const MAX_END_BYTES: usize = 64 * 1024;
/// As much as a pipe for responses holds.
const PIECE_BYTES: usize = 1024 * 1024;

/// The bytes of a response.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// From the beginning; or, if there were too many, the last ones.
    bytes: Vec<u8>,
    /// How many newlines came behind `bytes`, where there was no room for them: they may be of no account.
    newlines: usize,
    /// How many bytes there were before `bytes` that are gone.
    dropped: usize,
}

impl Kept {
    /// How many there were.
    pub(crate) fn len(&self) -> usize {
        self.dropped + self.bytes.len() + self.newlines
    }

    /// Whether some are gone, since there are more than Lambda takes.
    pub(crate) fn is_cut(&self) -> bool {
        self.dropped > 0
    }

    /// What is there of them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes at most `ready` bytes out of the pipe, and no more than a piece; how many that were. They are kept
    /// within the limit, unless they are to be taken out again.
    pub(crate) fn take(&mut self, pipe: &File, ready: usize, is_bounded: bool) -> usize {
        let start = self.bytes.len();
        let wanted = ready.min(PIECE_BYTES);
        self.bytes.reserve(wanted);
        let mut piece = pipe.take(u64::try_from(wanted).unwrap_or(u64::MAX));
        // It does not block: an error means that there is no more.
        let _ = piece.read_to_end(&mut self.bytes);
        let count = self.bytes.len() - start;
        if is_bounded {
            self.bound(start);
        }
        count
    }

    /// Takes out the first `count`, and keeps the others.
    pub(crate) fn split(&mut self, count: usize) -> Vec<u8> {
        let rest = self.bytes.split_off(count.min(self.bytes.len()));
        std::mem::replace(&mut self.bytes, rest)
    }

    /// Leaves out the last `count`.
    pub(crate) fn cut_end(&mut self, count: usize) {
        let length = self.bytes.len().saturating_sub(count);
        self.bytes.truncate(length);
    }

    /// All of them, without newlines at their end unless those count. How many there are, if Lambda
    /// does not take so many.
    pub(crate) fn into_bytes(self, with_newlines: bool) -> Result<Vec<u8>, usize> {
        let newlines = if with_newlines { self.newlines } else { 0 };
        let mut bytes = self.bytes;
        if !with_newlines {
            bytes.truncate(without_newlines_at_end(&bytes).len());
        }
        let length = self.dropped + bytes.len() + newlines;
        if length > MAX_RESPONSE_BYTES {
            return Err(length);
        }
        Ok(bytes)
    }

    /// Drops what is too much, after bytes were appended from `start` on.
    fn bound(&mut self, start: usize) {
        let has_room = self.newlines == 0 && self.dropped == 0;
        if has_room && self.bytes.len() <= MAX_RESPONSE_BYTES + MAX_END_BYTES {
            return;
        }
        if self.dropped == 0 {
            let length = without_newlines_at_end(&self.bytes).len();
            let is_blank = if self.newlines == 0 {
                length <= MAX_RESPONSE_BYTES
            } else {
                length <= start
            };
            if is_blank {
                // None of them counts, if no other byte follows.
                let kept = if self.newlines == 0 { length } else { start };
                self.newlines += self.bytes.len() - kept;
                self.bytes.truncate(kept);
                return;
            }
        }
        self.dropped += std::mem::take(&mut self.newlines);
        let gone = self.bytes.len().saturating_sub(MAX_END_BYTES);
        self.dropped += gone;
        // Into other memory, so that what is gone is given back.
        self.bytes = self.bytes[gone..].to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(pieces: &[&[u8]]) -> Kept {
        let mut kept = Kept::default();
        for piece in pieces {
            let start = kept.bytes.len();
            kept.bytes.extend_from_slice(piece);
            kept.bound(start);
        }
        kept
    }

    #[test]
    fn all_that_lambda_takes_is_kept_and_nothing_beyond() {
        let largest = vec![b'x'; MAX_RESPONSE_BYTES];
        let bytes = fed(&[&largest]).into_bytes(false);
        assert_eq!(bytes.map(|bytes| bytes.len()), Ok(MAX_RESPONSE_BYTES));
        let bytes = fed(&[&largest, b"x"]).into_bytes(false);
        assert_eq!(bytes, Err(MAX_RESPONSE_BYTES + 1));
        let piece = vec![b'x'; PIECE_BYTES];
        let pieces: Vec<&[u8]> = (0..100).map(|_| piece.as_slice()).collect();
        let kept = fed(&pieces);
        assert_eq!(kept.len(), 100 * PIECE_BYTES);
        assert!(kept.is_cut() && kept.bytes.capacity() <= PIECE_BYTES);
        assert_eq!(kept.into_bytes(true), Err(100 * PIECE_BYTES));
    }

    #[test]
    fn newlines_that_do_not_count_need_no_room() {
        let newlines = vec![b'\n'; 3 * MAX_RESPONSE_BYTES];
        let blank = fed(&[b"a", &newlines, &newlines]);
        assert!(blank.bytes.len() == 1 && !blank.is_cut());
        assert_eq!(blank.into_bytes(false), Ok(b"a".to_vec()));
        let length = 1 + 6 * MAX_RESPONSE_BYTES;
        let blank = fed(&[b"a", &newlines, &newlines]);
        assert_eq!(blank.into_bytes(true), Err(length));
        let more = fed(&[b"a", &newlines, &newlines, b"\nb\n"]);
        assert_eq!(more.into_bytes(false), Err(length + 2));
    }

    #[test]
    fn end_is_there_to_be_looked_at_and_cut_off() {
        let piece = vec![b'x'; 2 * MAX_RESPONSE_BYTES];
        let mut kept = fed(&[&piece, b"report"]);
        assert!(kept.bytes().ends_with(b"xreport"));
        kept.cut_end(6);
        assert_eq!(kept.into_bytes(true), Err(2 * MAX_RESPONSE_BYTES));
    }
}
