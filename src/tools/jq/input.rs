//! The inputs of a filter: JSON values, one after the other as they arrive, or lines.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use jaq_json::Val;
use nix::poll::PollFlags;

use super::parse::{MAX_DEPTH, parse};
use super::surroundings::Surroundings;
use crate::call::{Place, wait};

const PIECE_BYTES: usize = 64 * 1024;
/// The file name that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// The bytes of standard input, or of the files, one after the other.
pub(crate) struct Bytes<'a> {
    surroundings: &'a Surroundings,
    place: Place,
    files: std::vec::IntoIter<PathBuf>,
    /// Standard input, until it is read.
    input: Option<File>,
    open: Option<File>,
    /// What has been read and not used.
    text: Vec<u8>,
    /// Where that begins in `text`.
    start: usize,
    is_at_end: bool,
    has_text: bool,
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(
        surroundings: &'a Surroundings,
        place: Place,
        input: Option<File>,
        files: Vec<PathBuf>,
    ) -> Self {
        Self {
            surroundings,
            place,
            files: if files.is_empty() {
                vec![STANDARD_INPUT.into()].into_iter()
            } else {
                files.into_iter()
            },
            input,
            open: None,
            text: Vec::new(),
            start: 0,
            is_at_end: false,
            has_text: false,
        }
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.start..]
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.text[self.start..self.start + length].to_vec();
        self.start += length;
        let lines = memchr::memchr_iter(b'\n', &taken).count();
        let before = self.surroundings.lines.get();
        self.surroundings.lines.set(before + lines);
        taken
    }

    /// Reads more; false at the end of all files. What was written so far is visible before this blocks.
    fn fill(&mut self) -> bool {
        if self.is_at_end {
            return false;
        }
        self.text.drain(..self.start);
        self.start = 0;
        if !self.surroundings.flush() {
            self.is_at_end = true;
            return false;
        }
        loop {
            let Some(file) = &mut self.open else {
                if self.open_next() {
                    continue;
                }
                self.is_at_end = true;
                return false;
            };
            let before = self.text.len();
            self.text.resize(before + PIECE_BYTES, 0);
            let read = file.read(&mut self.text[before..]);
            self.text.truncate(before + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => self.open = None,
                Ok(_) => {
                    if !self.has_text {
                        self.has_text = true;
                        if self.text.starts_with(b"\xef\xbb\xbf") {
                            self.start = 3;
                        }
                    }
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(file, PollFlags::POLLIN);
                }
                Err(error) => {
                    self.surroundings
                        .complain(&format!("error: Input error: {error}"));
                    self.surroundings.has_missing_file.set(true);
                    self.open = None;
                }
            }
        }
    }

    fn open_next(&mut self) -> bool {
        for name in self.files.by_ref() {
            if name.as_os_str() == STANDARD_INPUT {
                self.open = self.input.take();
                if self.open.is_some() {
                    *self.surroundings.file_name.borrow_mut() = Some("<stdin>".to_owned());
                    return true;
                }
                // It has been read to its end, or is closed.
                continue;
            }
            match File::open(self.place.path(&name)) {
                Ok(file) => {
                    let name = name.to_string_lossy().into_owned();
                    *self.surroundings.file_name.borrow_mut() = Some(name);
                    self.open = Some(file);
                    return true;
                }
                Err(error) => {
                    let name = name.display();
                    self.surroundings
                        .complain(&format!("error: Could not open {name}: {error}"));
                    self.surroundings.has_missing_file.set(true);
                }
            }
        }
        false
    }

    /// The whole text.
    pub(crate) fn all(&mut self) -> Val {
        while self.fill() {}
        let length = self.rest().len();
        let text = self.take(length);
        Val::utf8_str(lossy(text))
    }
}

fn lossy(text: Vec<u8>) -> Vec<u8> {
    match String::from_utf8(text) {
        Ok(text) => text.into_bytes(),
        Err(error) => String::from_utf8_lossy(error.as_bytes())
            .into_owned()
            .into_bytes(),
    }
}

/// Lines, without their newlines.
pub(crate) struct Lines<'a>(pub Bytes<'a>);

impl Iterator for Lines<'_> {
    type Item = Result<Val, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut looked = 0;
        let length = loop {
            let rest = &self.0.rest()[looked..];
            if let Some(end) = memchr::memchr(b'\n', rest) {
                break looked + end + 1;
            }
            looked = self.0.rest().len();
            if !self.0.fill() {
                break looked;
            }
        };
        if length == 0 {
            return None;
        }
        let mut line = self.0.take(length);
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Some(Ok(Val::utf8_str(lossy(line))))
    }
}

/// JSON values.
pub(crate) struct Values<'a> {
    bytes: Bytes<'a>,
    has_failed: bool,
}

impl<'a> Values<'a> {
    pub(crate) fn new(bytes: Bytes<'a>) -> Self {
        Self {
            bytes,
            has_failed: false,
        }
    }

    /// The length of the next value, with the blanks before it; `None` if there is none.
    fn find_end(&mut self) -> Option<Result<usize, &'static str>> {
        let mut end = End::default();
        loop {
            let rest = self.bytes.rest();
            match end.look(rest) {
                Some(found) => return Some(found),
                None if self.bytes.fill() => {}
                None => {
                    let length = self.bytes.rest().len();
                    return end.has_begun.then_some(Ok(length));
                }
            }
        }
    }
}

impl Iterator for Values<'_> {
    type Item = Result<Val, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let found = self.find_end()?;
        let parsed = match found {
            Ok(length) => {
                let mut text = self.bytes.take(length);
                // The mark of `--seq` is a blank, and so is the byte order mark.
                for byte in text.iter_mut().take_while(|byte| is_blank(**byte)) {
                    *byte = b' ';
                }
                let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
                let lines = self.bytes.surroundings.lines.get();
                parse(text).map_err(|error| {
                    let line = lines
                        - memchr::memchr_iter(b'\n', &text[error.at.min(text.len())..]).count();
                    let before = &text[..error.at.min(text.len())];
                    let column = error.at - memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
                    format!("{} at line {}, column {column}", error.what, line + 1)
                })
            }
            Err(what) => Err(format!(
                "{what} at line {}",
                self.bytes.surroundings.lines.get() + 1
            )),
        };
        self.has_failed = parsed.is_err();
        Some(parsed)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x1e)
}

/// Looks for the end of a value, in a text that grows.
#[derive(Default)]
struct End {
    looked: usize,
    depth: usize,
    is_in_string: bool,
    /// A number or a word, which ends where something else begins.
    is_in_word: bool,
    has_begun: bool,
}

impl End {
    fn look(&mut self, text: &[u8]) -> Option<Result<usize, &'static str>> {
        while self.looked < text.len() {
            if self.is_in_string {
                let rest = &text[self.looked..];
                let Some(length) = memchr::memchr2(b'"', b'\\', rest) else {
                    self.looked = text.len();
                    return None;
                };
                if rest[length] == b'\\' {
                    if length + 1 == rest.len() {
                        // What is escaped is not there yet.
                        self.looked += length;
                        return None;
                    }
                    self.looked += length + 2;
                    continue;
                }
                self.looked += length + 1;
                self.is_in_string = false;
                if self.depth == 0 {
                    return Some(Ok(self.looked));
                }
                continue;
            }
            let byte = text[self.looked];
            let is_border = is_blank(byte) || b"[]{}\",:".contains(&byte);
            if self.is_in_word && is_border && self.depth == 0 {
                return Some(Ok(self.looked));
            }
            self.looked += 1;
            self.has_begun |= !is_blank(byte);
            match byte {
                b'"' => self.is_in_string = true,
                b'[' | b'{' => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Some(Err("Exceeds depth limit for parsing"));
                    }
                }
                b']' | b'}' if self.depth <= 1 => return Some(Ok(self.looked)),
                b']' | b'}' => self.depth -= 1,
                b',' | b':' if self.depth == 0 => return Some(Ok(self.looked)),
                _ if is_border => {}
                _ => self.is_in_word = true,
            }
        }
        None
    }
}

/// All values in a text, as an array.
pub(crate) fn values_in(text: &[u8]) -> Result<Val, String> {
    let mut values = Vec::new();
    let mut rest = text;
    while !rest.iter().all(|byte| is_blank(*byte)) {
        let found = End::default().look(rest).unwrap_or(Ok(rest.len()));
        let (value, behind) = rest.split_at(found?);
        values.push(parse(value).map_err(|error| error.to_string())?);
        rest = behind;
    }
    Ok(values.into_iter().collect())
}
