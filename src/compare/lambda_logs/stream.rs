//! Logs as streams of text. At any time a few megabytes are in memory.

use std::cell::Cell;
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use encoding_rs_io::DecodeReaderBytesBuilder;
use flate2::read::MultiGzDecoder;

/// How far is read ahead, to find out the kind of a log, or the end of an event of several lines. CloudWatch accepts no longer
/// event.
pub(super) const LOOK_AHEAD: usize = 1 << 20;
/// The length of an event or a row, at most: no export has longer ones.
const MAX_ELEMENT_BYTES: usize = 16 << 20;
/// The length of a line, at most: a longer one might never end.
const MAX_LINE_BYTES: usize = if cfg!(test) { 64 << 20 } else { 2 << 30 };
/// How much is read at a time.
const PIECE: usize = 64 * 1024;

/// Reads bytes that were read before, and then what follows them.
type Again<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// The first bytes of `input`, at most `count`, and a reader of all bytes, including these.
pub(super) fn peek<R: Read>(mut input: R, count: usize) -> io::Result<(Vec<u8>, Again<R>)> {
    let mut head = Vec::new();
    let limit = u64::try_from(count).unwrap_or(u64::MAX);
    input.by_ref().take(limit).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(input)))
}

/// `input` as UTF-8, unpacked if it is gzip. A handler can log bytes that are not UTF-8, and Windows writes UTF-16 to
/// files.
///
/// # Errors
/// The system's. Reading fails later if the gzip is damaged.
pub(super) fn text_of<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let (head, input) = peek(input, 2)?;
    let input: Box<dyn Read> = if head == b"\x1f\x8b" {
        Box::new(Unpacked(MultiGzDecoder::new(input)))
    } else {
        Box::new(input)
    };
    let decoder = DecodeReaderBytesBuilder::new()
        .encoding(Some(encoding_rs::UTF_8))
        .bom_override(true)
        .build(input);
    Ok(Box::new(decoder))
}

/// gzip, with errors that say so.
struct Unpacked<R>(MultiGzDecoder<R>);

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            io::Error::new(error.kind(), format!("it is gzip, and damaged: {error}"))
        })
    }
}

/// A reader that fails if an element is too long.
pub(super) struct Elements<R> {
    input: R,
    left: Rc<Cell<usize>>,
}

/// Tells the reader where an element ends.
#[derive(Clone)]
pub(super) struct NextElement(Rc<Cell<usize>>);

impl NextElement {
    /// Begins another element, which can have the whole length again.
    pub(super) fn begin(&self) {
        self.0.set(MAX_ELEMENT_BYTES);
    }
}

impl<R: Read> Elements<R> {
    pub(super) fn new(input: R) -> (Self, NextElement) {
        let left = Rc::new(Cell::new(MAX_ELEMENT_BYTES));
        let next = NextElement(Rc::clone(&left));
        (Self { input, left }, next)
    }
}

impl<R: Read> Read for Elements<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buffer.is_empty() {
            let mib = MAX_ELEMENT_BYTES >> 20;
            return Err(io::Error::other(format!(
                "an event in it is longer than {mib} MiB"
            )));
        }
        let room = buffer.len().min(left);
        let count = self.input.read(&mut buffer[..room])?;
        self.left.set(left - count);
        Ok(count)
    }
}

/// A text that is read line by line, with the next megabyte in sight.
pub(super) struct Window<R> {
    input: R,
    text: String,
    /// Where in `text` the next line begins.
    start: usize,
    /// The bytes that were read last, after those of a letter that was not complete.
    piece: Vec<u8>,
    filled: usize,
    is_complete: bool,
}

impl<R: Read> Window<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            text: String::new(),
            start: 0,
            piece: vec![0; PIECE],
            filled: 0,
            is_complete: false,
        }
    }

    /// The text that follows: [`LOOK_AHEAD`] bytes or more, if there are as many.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn ahead(&mut self) -> io::Result<&str> {
        if !self.is_complete && self.text.len() - self.start < LOOK_AHEAD {
            self.text.drain(..self.start);
            self.start = 0;
            while !self.is_complete && self.text.len() < 2 * LOOK_AHEAD {
                self.fill()?;
            }
        }
        Ok(&self.text[self.start..])
    }

    fn fill(&mut self) -> io::Result<()> {
        let count = self.input.read(&mut self.piece[self.filled..])?;
        self.is_complete = count == 0;
        let filled = self.filled + count;
        let text = match std::str::from_utf8(&self.piece[..filled]) {
            Ok(text) => text,
            // The decoder gives UTF-8: only the last letter can be cut.
            Err(error) => {
                std::str::from_utf8(&self.piece[..error.valid_up_to()]).unwrap_or_default()
            }
        };
        self.text.push_str(text);
        let used = text.len();
        self.piece.copy_within(used..filled, 0);
        self.filled = filled - used;
        Ok(())
    }

    /// Skips this number of bytes.
    pub(super) fn skip(&mut self, len_bytes: usize) {
        self.start += len_bytes;
    }

    /// Skips the rest of the line, whatever its length.
    ///
    /// # Errors
    /// The system's, and if the line is too long for a log.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        let mut skipped = 0;
        loop {
            let text = self.ahead()?;
            let end = text.find('\n').map(|end| end + 1);
            let len_bytes = end.unwrap_or(text.len());
            self.skip(len_bytes);
            skipped += len_bytes;
            if end.is_some() || len_bytes == 0 {
                return Ok(());
            }
            if skipped > MAX_LINE_BYTES {
                let mib = MAX_LINE_BYTES >> 20;
                return Err(io::Error::other(format!(
                    "a line in it is longer than {mib} MiB: it is no log"
                )));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn window_shows_what_follows_and_keeps_little() {
        let line = "é".repeat(100) + "\n";
        let count = 5 * LOOK_AHEAD / line.len();
        let text = line.repeat(count);
        let mut window = Window::new(text.as_bytes());
        for number in 0..count {
            let left = (count - number) * line.len();
            let ahead = window.ahead().unwrap();
            assert!(ahead.starts_with(&line) && ahead.len() >= left.min(LOOK_AHEAD));
            assert!(ahead.len() <= 2 * LOOK_AHEAD + PIECE);
            window.skip(line.len());
        }
        assert_eq!(window.ahead().unwrap(), "");
    }

    #[test]
    fn line_without_end_is_no_log() {
        let mut window = Window::new(io::repeat(0));
        let error = window.skip_line().unwrap_err().to_string();
        assert_eq!(error, "a line in it is longer than 64 MiB: it is no log");
    }

    #[test]
    fn element_without_end_is_an_error() {
        let (mut elements, next) = Elements::new(io::repeat(b'x'));
        for _ in 0..3 {
            let read = io::copy(&mut elements.by_ref().take(10 << 20), &mut io::sink());
            assert_eq!(read.unwrap(), 10 << 20);
            next.begin();
        }
        let error = io::copy(&mut elements, &mut io::sink()).unwrap_err();
        assert_eq!(error.to_string(), "an event in it is longer than 16 MiB");
    }
}
