//! One pipe that handlers write their stderr to, and how its output becomes log records.
//!
//! As text, output goes to our stderr unchanged, unless each line needs its request id or the platform wants frames. As JSON,
//! each line becomes an object, unless it is one already. A message of `lambda_log` is one record, whatever it contains. It
//! comes as
//!
//! ```text
//! <nonce> <level> SP <message, with \n and \\ in the place of newline and backslash>
//! ```
//! on a line, or at the end of an unfinished one. The nonce is random, so that data which a handler prints cannot imitate it.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use memchr::{memchr, memmem, memrchr};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use crate::log::{Level, Log, Origin, write_unchanged};
use coshell_process::sys;

/// How much of the handler's stderr an error message quotes.
const TAIL_BYTES: usize = 4096;
/// A longer line becomes several records.
const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;
const PIECE_BYTES: usize = 16 * 1024;

/// A pipe, and the invocation that its output belongs to.
#[derive(Debug)]
pub(super) struct LogPipe {
    /// Our end. Nonblocking.
    pub read_end: Arc<File>,
    pub request_id: String,
    pub tenant_id: Option<String>,
    pub unfinished_line: Vec<u8>,
    /// The output is not logged.
    pub is_discarded: bool,
}

/// The end of the output since the invocation began, for error messages.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// Whether there was more output before `bytes`.
    is_cut: bool,
}

/// Whether a line is a JSON object, and whether it names its level.
enum LineFormat {
    Plain,
    Object { level: Option<Level> },
}

impl LogPipe {
    /// Opens a pipe; the descriptor is its write end.
    pub(super) fn open() -> io::Result<(Self, OwnedFd)> {
        let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&read_end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let pipe = Self {
            read_end: Arc::new(File::from(read_end)),
            request_id: String::new(),
            tenant_id: None,
            unfinished_line: Vec::new(),
            is_discarded: false,
        };
        Ok((pipe, write_end))
    }

    /// Forwards what the pipe contains now, and returns whether it is still open. Output that comes meanwhile is left for the
    /// next call: a process that never stops writing must not keep us here.
    pub(super) fn forward(
        &mut self,
        log: Log,
        nonce: Option<&str>,
        mut tail: Option<&mut Tail>,
    ) -> bool {
        let mut left = sys::bytes_ready(&*self.read_end);
        let mut piece = [0; PIECE_BYTES];
        loop {
            let wanted = left.clamp(1, PIECE_BYTES);
            match (&*self.read_end).read(&mut piece[..wanted]) {
                Ok(0) => return false,
                Ok(count) => {
                    self.forward_piece(log, nonce, tail.as_deref_mut(), &piece[..count]);
                    left = left.saturating_sub(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
            if left == 0 {
                return true;
            }
        }
    }

    fn forward_piece(
        &mut self,
        log: Log,
        nonce: Option<&str>,
        mut tail: Option<&mut Tail>,
        piece: &[u8],
    ) {
        if self.is_discarded {
            return;
        }
        if !log.formats_output() {
            if let Some(tail) = &mut tail {
                tail.push(piece);
            }
            write_unchanged(piece);
            return;
        }
        let Some(last_newline) = memrchr(b'\n', piece) else {
            self.unfinished_line.extend_from_slice(piece);
            if self.unfinished_line.len() > MAX_LINE_BYTES {
                self.finish_line(log, nonce, tail);
            }
            return;
        };
        let mut lines = std::mem::take(&mut self.unfinished_line);
        lines.extend_from_slice(&piece[..last_newline]);
        self.unfinished_line
            .extend_from_slice(&piece[last_newline + 1..]);
        self.write_records(log, nonce, tail, &lines);
    }

    /// Logs an unfinished line as a line, at the end of the invocation.
    pub(super) fn finish_line(&mut self, log: Log, nonce: Option<&str>, tail: Option<&mut Tail>) {
        if !self.unfinished_line.is_empty() {
            let line = std::mem::take(&mut self.unfinished_line);
            self.write_records(log, nonce, tail, &line);
        }
    }

    fn write_records(
        &self,
        log: Log,
        nonce: Option<&str>,
        mut tail: Option<&mut Tail>,
        lines: &[u8],
    ) {
        let mut records = Vec::with_capacity(lines.len() + 128);
        let nonce = nonce.unwrap_or_default();
        let mut push_to_tail = |line: &[u8]| {
            if let Some(tail) = &mut tail {
                tail.push(line);
                tail.push(b"\n");
            }
        };
        for line in lines.split(|byte| *byte == b'\n') {
            let message_start = memmem::find(line, nonce.as_bytes()).filter(|_| !nonce.is_empty());
            if let Some(start) = message_start {
                let (level, message) = parse_message(&line[start + nonce.len()..]);
                if start > 0 {
                    push_to_tail(&line[..start]);
                    self.push_line(log, &mut records, &line[..start]);
                }
                if log.is_enabled(level) {
                    log.push_message(&mut records, level, self.origin(), &message);
                }
                push_to_tail(&message);
            } else {
                push_to_tail(line);
                self.push_line(log, &mut records, line);
            }
        }
        log.write_records(&records);
    }

    fn push_line(&self, log: Log, records: &mut Vec<u8>, line: &[u8]) {
        let (line, format) = if log.is_json {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            (line, line_format(line))
        } else {
            (line, LineFormat::Plain)
        };
        match format {
            LineFormat::Object { level } => {
                if level.is_none_or(|level| log.is_enabled(level)) {
                    log.push(records, level.unwrap_or(Level::Info), line);
                }
            }
            // Lambda treats it as INFO, but the line does not say so itself: it is logged at every level.
            LineFormat::Plain => log.push_message(records, Level::Info, self.origin(), line),
        }
    }

    fn origin(&self) -> Origin<'_> {
        Origin {
            request_id: Some(self.request_id.as_str()).filter(|id| !id.is_empty()),
            tenant_id: self.tenant_id.as_deref(),
        }
    }
}

impl Tail {
    fn push(&mut self, piece: &[u8]) {
        let end = &piece[piece.len().saturating_sub(2 * TAIL_BYTES)..];
        self.is_cut |= end.len() < piece.len();
        self.bytes.extend_from_slice(end);
        // Cut only now and then: moving the bytes for every line would cost more than they do.
        if self.bytes.len() > 4 * TAIL_BYTES {
            self.bytes.drain(..self.bytes.len() - TAIL_BYTES);
            self.is_cut = true;
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.is_cut = false;
    }

    /// The last [`TAIL_BYTES`] bytes, without a character that is cut at their beginning.
    pub(super) fn text(&self) -> String {
        let end = &self.bytes[self.bytes.len().saturating_sub(TAIL_BYTES)..];
        let is_whole = end.len() == self.bytes.len() && !self.is_cut;
        let start = end.iter().position(|byte| is_whole || byte & 0xc0 != 0x80);
        String::from_utf8_lossy(&end[start.unwrap_or(0)..]).into_owned()
    }
}

/// Parses what `lambda_log` wrote after the nonce.
fn parse_message(text: &[u8]) -> (Level, Vec<u8>) {
    let end = memchr(b' ', text).unwrap_or(text.len());
    let level = str::from_utf8(&text[..end]).ok().and_then(Level::from_name);
    let mut message = Vec::with_capacity(text.len());
    let mut rest = text.get(end + 1..).unwrap_or_default().iter();
    while let Some(byte) = rest.next() {
        message.push(match (byte, rest.as_slice().first()) {
            (b'\\', Some(escaped)) => {
                rest.next();
                if *escaped == b'n' { b'\n' } else { *escaped }
            }
            _ => *byte,
        });
    }
    (level.unwrap_or(Level::Info), message)
}

fn line_format(line: &[u8]) -> LineFormat {
    if !line.trim_ascii_start().starts_with(b"{") {
        return LineFormat::Plain;
    }
    match serde_json::from_slice::<serde_json::Map<_, _>>(line) {
        Ok(object) => LineFormat::Object {
            level: object
                .get("level")
                .and_then(|level| level.as_str())
                .and_then(Level::from_name),
        },
        Err(_) => LineFormat::Plain,
    }
}
