//! What bash wrote to its control pipe, and nobody has taken yet.
//!
//! Any process that has the pipe can write to it, as much as it likes, and the words that are waited for stand
//! somewhere among that. So each byte is looked through once for each word, and what is too old to belong to a
//! word that comes now is dropped.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use memchr::memmem;

use coshell_process::sys;

/// More than the longest report or request has, the words before it included.
const MAX_BYTES: usize = 1024 * 1024;
/// What is read at once at most, if there is so much.
const MAX_READ_BYTES: usize = 64 * 1024;
/// Words that are looked for at the same time.
const MAX_SEARCHES: usize = 4;

/// The bytes, and how far they have been looked through.
#[derive(Debug, Default)]
pub(crate) struct ControlBuffer {
    bytes: Vec<u8>,
    searches: Vec<Search>,
    has_dropped: bool,
}

/// A word, and where it may begin at the earliest.
#[derive(Debug)]
struct Search {
    word: Vec<u8>,
    from: usize,
}

impl ControlBuffer {
    /// All that is there.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether some was dropped because there was too much.
    pub(crate) fn has_dropped(&self) -> bool {
        self.has_dropped
    }

    /// Waits until there is something, and reads it; 0 if the pipe is closed.
    ///
    /// # Errors
    /// The system's.
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
            // Half of it at once: to move the rest each time would cost more than to read it.
            self.take(self.bytes.len() - MAX_BYTES / 2);
            self.has_dropped = true;
        }
    }

    /// Where `word` is for the first time.
    pub(crate) fn find(&mut self, word: &[u8]) -> Option<usize> {
        let known = self.searches.iter().position(|search| search.word == word);
        let at = known.unwrap_or_else(|| {
            if self.searches.len() == MAX_SEARCHES {
                self.searches.remove(0);
            }
            self.searches.push(Search {
                word: word.to_vec(),
                from: 0,
            });
            self.searches.len() - 1
        });
        let search = &mut self.searches[at];
        let found = memmem::find(&self.bytes[search.from..], word);
        let found = found.map(|found| search.from + found);
        // The beginning of the word may be there by now.
        let end = (self.bytes.len() + 1).saturating_sub(word.len());
        search.from = found.unwrap_or(search.from.max(end));
        found
    }

    /// Looks for `word` from `at` on from now on.
    pub(crate) fn pass(&mut self, word: &[u8], at: usize) {
        let mut searches = self.searches.iter_mut();
        if let Some(search) = searches.find(|search| search.word == word) {
            search.from = at;
        }
    }

    /// Takes out the first `count`.
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
    fn word_is_found_however_it_comes() {
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
    fn word_is_found_behind_what_was_taken_and_passed() {
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
    fn what_is_kept_has_a_bound_and_the_last_word_is_found() {
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
