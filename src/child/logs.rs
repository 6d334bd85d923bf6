//! What the handler logs, carried to where the log goes.
//!
//! A thread reads the pipe at all times, so that a full pipe never stops a handler and nothing
//! waits for the next invocation; the invocation's end drains the rest itself, before the answer
//! is posted, because the sandbox may be frozen right after. Text goes through as it comes, unless
//! a line has to say whose it is, or is a frame. For JSON each line becomes an object, unless it is
//! one. No line is too long. What `lambda_log` says is one record, whatever it holds: it comes as
//!
//! ```text
//! <mark> <level> SP <message, with \n and \\ in the place of newline and backslash>
//! ```
//! on a line, or at the end of one that was not finished. The mark is random, so that nothing
//! that a handler prints on behalf of others can have it.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use memchr::{memchr, memmem, memrchr};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use crate::log::{Level, Log, Origin};
use crate::{sys, wait};

/// How much of the handler's stderr an error message quotes.
const TAIL_BYTES: usize = 4096;
/// A line longer than this becomes several records.
const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;
const PIECE_BYTES: usize = 16 * 1024;
/// For a piece, and room to format a record.
const STACK_BYTES: usize = 128 * 1024;

/// The log of all that we start: one pipe for the life of the sandbox.
#[derive(Debug)]
pub struct Logs {
    carrier: Arc<Mutex<Carrier>>,
    pipe: OwnedFd,
    mark: Option<String>,
}

#[derive(Debug)]
struct Carrier {
    pipe: File,
    log: Log,
    /// What precedes a message of `lambda_log`.
    mark: Option<String>,
    request_id: String,
    tenant_id: Option<String>,
    tail: Vec<u8>,
    is_tail_cut: bool,
    line: Vec<u8>,
}

impl Logs {
    /// Carries what is written to [`Logs::pipe`] from now on.
    ///
    /// # Errors
    /// The system's, when there is no descriptor left.
    pub fn start(log: Log) -> io::Result<Self> {
        let (ours, pipe) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let waits_on = ours.try_clone()?;
        let mark = log.is_by_records().then(new_mark).transpose()?;
        let carrier = Carrier {
            mark: mark.clone(),
            ..Carrier::new(ours, log)
        };
        let logs = Self {
            carrier: Arc::new(Mutex::new(carrier)),
            pipe,
            mark,
        };
        let carrier = Arc::clone(&logs.carrier);
        // Without the thread the log is drained at the end of each invocation all the same.
        let _ = thread::Builder::new()
            .name("logs".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                while wait::ready([Some(waits_on.as_fd())], None) == [true]
                    && lock(&carrier).carry()
                {}
            });
        Ok(logs)
    }

    /// What is to be the stderr of all that we start.
    #[must_use]
    pub fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// What `lambda_log` has to put before its messages; `None` if they go through as they are.
    #[must_use]
    pub fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
    }

    fn lock(&self) -> MutexGuard<'_, Carrier> {
        lock(&self.carrier)
    }

    /// An invocation begins: lines are of this origin from here on.
    pub fn begin(&self, origin: Origin) {
        let mut carrier = self.lock();
        carrier.request_id.clear();
        carrier
            .request_id
            .push_str(origin.request_id.unwrap_or_default());
        if carrier.tenant_id.as_deref() != origin.tenant_id {
            carrier.tenant_id = origin.tenant_id.map(ToOwned::to_owned);
        }
        carrier.tail.clear();
        carrier.is_tail_cut = false;
    }

    /// Carries all that has been written up to now.
    pub fn drain(&self) {
        let mut carrier = self.lock();
        carrier.carry();
        carrier.finish_line();
    }

    /// The end of what was logged since the invocation began, in whole characters.
    #[must_use]
    pub fn tail(&self) -> String {
        let carrier = self.lock();
        let cut = &carrier.tail[carrier.tail.len().saturating_sub(TAIL_BYTES)..];
        let is_whole = cut.len() == carrier.tail.len() && !carrier.is_tail_cut;
        let whole = cut.iter().position(|byte| is_whole || byte & 0xc0 != 0x80);
        String::from_utf8_lossy(&cut[whole.unwrap_or(0)..]).into_owned()
    }

    /// Carries what a process that outlived its invocation still writes to its old stdout.
    pub fn carry_leftover(&self, pipe: OwnedFd) {
        let log = self.lock().log;
        let _ = thread::Builder::new()
            .name("leftover".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let mut carrier = Carrier::new(pipe, log);
                let mut piece = vec![0; 4096];
                while let Some(count) = carrier.wait_and_read(&mut piece) {
                    carrier.take(&piece[..count]);
                }
                carrier.finish_line();
            });
    }
}

fn new_mark() -> io::Result<String> {
    let mut bytes = [0; 8];
    sys::fill_random(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

fn lock(carrier: &Mutex<Carrier>) -> MutexGuard<'_, Carrier> {
    carrier.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Carrier {
    fn new(pipe: OwnedFd, log: Log) -> Self {
        Self {
            pipe: sys::file(pipe),
            log,
            mark: None,
            request_id: String::new(),
            tenant_id: None,
            tail: Vec::new(),
            is_tail_cut: false,
            line: Vec::new(),
        }
    }

    /// Carries what the pipe holds now; whether it is still open. What is written while we carry
    /// is left for the next time: a process that writes without an end must not keep us here.
    fn carry(&mut self) -> bool {
        let mut left = sys::bytes_ready(&self.pipe);
        let mut piece = [0; PIECE_BYTES];
        while left > 0 {
            let wanted = left.min(PIECE_BYTES);
            match self.pipe.read(&mut piece[..wanted]) {
                Ok(0) => return false,
                Ok(count) => {
                    self.take(&piece[..count]);
                    left -= count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        true
    }

    fn wait_and_read(&mut self, piece: &mut [u8]) -> Option<usize> {
        let _ = wait::ready([Some(self.pipe.as_fd())], None);
        match self.pipe.read(piece) {
            Ok(0) => None,
            Ok(count) => Some(count),
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) =>
            {
                Some(0)
            }
            Err(_) => None,
        }
    }

    fn take(&mut self, piece: &[u8]) {
        if !self.log.is_by_records() {
            self.remember(piece);
            let _ = io::stderr().write_all(piece);
            return;
        }
        let Some(last) = memrchr(b'\n', piece) else {
            self.line.extend_from_slice(piece);
            if self.line.len() > MAX_LINE_BYTES {
                self.finish_line();
            }
            return;
        };
        let mut lines = std::mem::take(&mut self.line);
        lines.extend_from_slice(&piece[..last]);
        self.line.extend_from_slice(&piece[last + 1..]);
        self.write_records(&lines);
    }

    fn remember(&mut self, piece: &[u8]) {
        let kept = &piece[piece.len().saturating_sub(2 * TAIL_BYTES)..];
        self.is_tail_cut |= kept.len() < piece.len();
        self.tail.extend_from_slice(kept);
        // Cut only now and then: moving bytes at each line would cost more than they do.
        if self.tail.len() > 4 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
            self.is_tail_cut = true;
        }
    }

    /// A line without a newline at the end of the invocation is a line.
    fn finish_line(&mut self) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.write_records(&line);
        }
    }

    fn write_records(&mut self, lines: &[u8]) {
        let mut records = Vec::with_capacity(lines.len() + 128);
        for line in lines.split(|byte| *byte == b'\n') {
            let mark = self.mark.as_deref().unwrap_or_default();
            match memmem::find(line, mark.as_bytes()).filter(|_| !mark.is_empty()) {
                Some(at) => {
                    let (level, message) = message_of(&line[at + mark.len()..]);
                    if at > 0 {
                        self.push_line(&mut records, &line[..at]);
                    }
                    if self.log.takes(level) {
                        self.log
                            .push_message(&mut records, level, self.origin(), &message);
                    }
                    self.remember(&message);
                    self.remember(b"\n");
                }
                None => self.push_line(&mut records, line),
            }
        }
        self.log.send(&records);
    }

    fn push_line(&mut self, records: &mut Vec<u8>, line: &[u8]) {
        self.remember(line);
        self.remember(b"\n");
        let (line, level) = if self.log.json {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            (line, level_of_object(line))
        } else {
            (line, None)
        };
        match level {
            Some(level) => {
                if level.is_none_or(|level| self.log.takes(level)) {
                    self.log.push(records, level.unwrap_or(Level::Info), line);
                }
            }
            // Lambda takes it for INFO, but it does not say so itself: it is never dropped.
            None => self
                .log
                .push_message(records, Level::Info, self.origin(), line),
        }
    }

    fn origin(&self) -> Origin<'_> {
        Origin {
            request_id: Some(self.request_id.as_str()).filter(|id| !id.is_empty()),
            tenant_id: self.tenant_id.as_deref(),
        }
    }
}

/// Reads what `lambda_log` wrote behind the mark.
fn message_of(text: &[u8]) -> (Level, Vec<u8>) {
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

/// `None` if the line is not a JSON object; else the level that it names, if it names one.
#[allow(clippy::option_option)]
fn level_of_object(line: &[u8]) -> Option<Option<Level>> {
    if !line.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let object: serde_json::Map<_, _> = serde_json::from_slice(line).ok()?;
    Some(
        object
            .get("level")
            .and_then(|level| level.as_str())
            .and_then(Level::from_name),
    )
}
