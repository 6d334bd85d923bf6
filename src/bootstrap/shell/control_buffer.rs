//! The bytes that bash has written to its control pipe, and that have not been used yet.
//!
//! Any process that has the pipe can write to it, as much as it likes, between the records that we wait for. So each
//! search looks at a byte only once, and the buffer drops bytes that are too old to belong to a new record.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use memchr::memmem;

use coshell_process::sys;

/// More than the longest report or request, with everything that belongs in front of it.
const MAX_BYTES: usize = 1024 * 1024;
/// A read stops after this much, even if the pipe holds more.
const MAX_READ_BYTES: usize = 64 * 1024;
/// How many searches the buffer remembers; the oldest is forgotten first.
const MAX_SEARCHES: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct ControlBuffer {
    bytes: Vec<u8>,
    searches: Vec<Search>,
    has_dropped: bool,
}

/// How far the buffer has been searched for some bytes.
#[derive(Debug)]
struct Search {
    needle: Vec<u8>,
    /// The first index at which they may begin.
    from: usize,
}

impl ControlBuffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether bytes were dropped because there were too many.
    pub(crate) fn has_dropped(&self) -> bool {
        self.has_dropped
    }

    /// Blocks until the pipe has something, and reads it. Returns 0 at the end of the pipe.
    pub(crate) fn read(&mut self, pipe: &mut File) -> io::Result<usize> {
        let mut piece = [0; 4096];
        let mut total = 0;
        loop {
            let count = match pipe.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.push(&piece[..count]);
            total += count;
            if count < piece.len() || total >= MAX_READ_BYTES || sys::bytes_ready(&*pipe) == 0 {
                return Ok(total);
            }
        }
    }

    fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() > MAX_BYTES {
            // Half of the buffer at once: moving the rest for every piece would cost more than reading it.
            self.take(self.bytes.len() - MAX_BYTES / 2);
            self.has_dropped = true;
        }
    }

    /// The index at which `needle` begins for the first time.
    pub(crate) fn find(&mut self, needle: &[u8]) -> Option<usize> {
        let known = self
            .searches
            .iter()
            .position(|search| search.needle == needle);
        let index = known.unwrap_or_else(|| {
            if self.searches.len() == MAX_SEARCHES {
                self.searches.remove(0);
            }
            self.searches.push(Search {
                needle: needle.to_vec(),
                from: 0,
            });
            self.searches.len() - 1
        });
        let search = &mut self.searches[index];
        let found = memmem::find(&self.bytes[search.from..], needle);
        let found = found.map(|found| search.from + found);
        // The last bytes may be the beginning of the needle.
        let end = (self.bytes.len() + 1).saturating_sub(needle.len());
        search.from = found.unwrap_or(search.from.max(end));
        found
    }

    /// Makes further searches for `needle` begin at `index`.
    pub(crate) fn pass(&mut self, needle: &[u8], index: usize) {
        let mut searches = self.searches.iter_mut();
        if let Some(search) = searches.find(|search| search.needle == needle) {
            search.from = index;
        }
    }

    /// Removes the first `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        for search in &mut self.searches {
            search.from = search.from.saturating_sub(count);
        }
        self.bytes.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needle_is_found_however_its_bytes_arrive() {
        let text = b"noise word noise";
        for split in 0..text.len() {
            let mut buffer = ControlBuffer::default();
            buffer.push(&text[..split]);
            let early = buffer.find(b"word");
            assert_eq!(early.is_some(), split >= 10, "{split}");
            buffer.push(&text[split..]);
            assert_eq!(buffer.find(b"word"), Some(6), "{split}");
            assert_eq!(buffer.find(b"nothing"), None);
        }
    }

    #[test]
    fn needle_is_found_behind_what_was_taken_and_passed() {
        let mut buffer = ControlBuffer::default();
        buffer.push(b"one word, two wo");
        assert_eq!(buffer.find(b"word"), Some(4));
        assert_eq!(buffer.take(2), b"on");
        assert_eq!(buffer.find(b"word"), Some(2));
        buffer.pass(b"word", 6);
        assert_eq!(buffer.find(b"word"), None);
        buffer.push(b"rd");
        assert_eq!(buffer.find(b"word"), Some(12));
    }

    #[test]
    fn buffer_is_bounded_and_still_finds_what_comes_last() {
        let mut buffer = ControlBuffer::default();
        for _ in 0..20_000 {
            buffer.push(&[b'x'; 4096]);
            assert_eq!(buffer.find(b"word"), None);
        }
        assert!(buffer.bytes().len() <= MAX_BYTES && buffer.has_dropped());
        buffer.push(b"word");
        assert!(buffer.find(b"word").is_some());
    }
}
