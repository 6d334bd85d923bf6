//! What handlers log, carried to where the log goes.
//!
//! A thread reads the pipe at all times, so that a full pipe never stops a handler and nothing
//! waits for the next invocation. The end of an invocation drains the rest itself before the answer
//! is posted, because the sandbox may be frozen right after. Text goes through as it comes, unless
//! a line has to say which invocation it belongs to, or is a frame. For JSON each line becomes an
//! object, unless it is one. No line is too long. What `lambda_log` says is one record, whatever it
//! holds: it comes as
//!
//! ```text
//! <mark> <level> SP <message, with \n and \\ in the place of newline and backslash>
//! ```
//! on a line, or at the end of one that was not finished. The mark is random, so that nothing
//! that a handler prints on behalf of others can have it.
//!
//! A process that outlives its invocation keeps the pipe that it writes to, and the next invocation
//! gets another one ([`Logs::open_new_pipe`]). So what such a process still writes is known to be of its own
//! invocation, and is never a part of another one's log or error.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;

use memchr::{memchr, memmem, memrchr};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::pipe2;

use crate::log::{Level, Log, Origin};
use crate::wait;
use coshell_process::sys;

/// How much of the handler's stderr an error message quotes.
const TAIL_BYTES: usize = 4096;
/// A line longer than this becomes several records.
const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;
const PIECE_BYTES: usize = 16 * 1024;
/// For a piece, and room to format a record.
const STACK_BYTES: usize = 128 * 1024;

/// The log of all that one lane starts.
#[derive(Debug)]
pub(crate) struct Logs {
    carried: Arc<Mutex<Carried>>,
    nonce: Option<String>,
}

/// The logs of all lanes, which one thread reads.
#[derive(Debug)]
struct Carrier {
    lanes: Mutex<Vec<Weak<Mutex<Carried>>>>,
    /// Makes the thread look which pipes there are; `None` if it cannot be told.
    changed: Option<EventFd>,
}

/// All pipes that are read.
#[derive(Debug)]
struct Carried {
    log: Log,
    /// What precedes a message of `lambda_log`.
    nonce: Option<String>,
    /// Of the invocation that runs, or ran last.
    current: Source,
    /// The end of `current` that handlers write to.
    pipe: Arc<OwnedFd>,
    /// Those that processes of earlier invocations still hold.
    left: Vec<Source>,
    tail: Tail,
}

/// A pipe that is read, and the invocation that its lines belong to.
#[derive(Debug)]
struct Source {
    pipe: Arc<File>,
    request_id: String,
    tenant_id: Option<String>,
    /// The beginning of a line that is not finished.
    line: Vec<u8>,
    /// What comes is no log.
    is_dropped: bool,
}

/// The end of what was logged since the invocation began.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Logs {
    /// Carries what is written to [`Logs::pipe`] from now on.
    ///
    /// # Errors
    /// The system's, when there is no descriptor left.
    pub(crate) fn start(log: Log) -> io::Result<Self> {
        let (source, pipe) = Source::open()?;
        let nonce = log.is_by_records().then(new_nonce).transpose()?;
        let carried = Arc::new(Mutex::new(Carried {
            log,
            nonce: nonce.clone(),
            current: source,
            pipe: Arc::new(pipe),
            left: Vec::new(),
            tail: Tail::default(),
        }));
        carrier().add(&carried);
        Ok(Self { carried, nonce })
    }

    /// What is to be the stderr of all that is started from now on.
    pub(crate) fn pipe(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.lock().pipe)
    }

    /// What `lambda_log` has to put before its messages; `None` if they go through as they are.
    pub(crate) fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    fn lock(&self) -> MutexGuard<'_, Carried> {
        lock(&self.carried)
    }

    /// An invocation begins: lines are of this origin from here on. What is in the pipe by now is of the
    /// one before.
    pub(crate) fn begin_invocation(&self, origin: Origin) {
        let mut carried = self.lock();
        carried.carry_current();
        carried.finish_line();
        let current = &mut carried.current;
        current.request_id.clear();
        current
            .request_id
            .push_str(origin.request_id.unwrap_or_default());
        if current.tenant_id.as_deref() != origin.tenant_id {
            current.tenant_id = origin.tenant_id.map(ToOwned::to_owned);
        }
        carried.tail.bytes.clear();
        carried.tail.is_cut = false;
    }

    /// Carries all that has been written up to now.
    pub(crate) fn drain(&self) {
        let mut carried = self.lock();
        carried.carry_current();
        carried.finish_line();
    }

    /// The end of what was logged since the invocation began, in whole characters.
    pub(crate) fn tail(&self) -> String {
        let carried = self.lock();
        let tail = &carried.tail;
        let cut = &tail.bytes[tail.bytes.len().saturating_sub(TAIL_BYTES)..];
        let is_whole = cut.len() == tail.bytes.len() && !tail.is_cut;
        let whole = cut.iter().position(|byte| is_whole || byte & 0xc0 != 0x80);
        String::from_utf8_lossy(&cut[whole.unwrap_or(0)..]).into_owned()
    }

    /// Makes another pipe for what is started from now on. The one before is read for as long as
    /// processes of the last invocation hold it.
    ///
    /// # Errors
    /// The system's, when there is no descriptor left; nothing has changed then.
    pub(crate) fn open_new_pipe(&self) -> io::Result<()> {
        let (source, pipe) = Source::open()?;
        let mut carried = self.lock();
        carried.carry_current();
        let source = Source {
            request_id: carried.current.request_id.clone(),
            tenant_id: carried.current.tenant_id.clone(),
            ..source
        };
        let left = std::mem::replace(&mut carried.current, source);
        carried.left.push(left);
        carried.pipe = Arc::new(pipe);
        drop(carried);
        carrier().wake_thread();
        Ok(())
    }

    /// Forwards what leftovers of the last invocation still write to `pipe`, under the request id of that invocation.
    pub(crate) fn forward_leftover(&self, pipe: File) {
        self.read_leftover(pipe, false);
    }

    /// Reads what leftovers of the last invocation still write to `pipe`, so that they do not block, and discards it.
    pub(crate) fn discard_leftover(&self, pipe: File) {
        self.read_leftover(pipe, true);
    }

    fn read_leftover(&self, pipe: File, is_dropped: bool) {
        let mut carried = self.lock();
        let source = Source {
            pipe: Arc::new(pipe),
            request_id: carried.current.request_id.clone(),
            tenant_id: carried.current.tenant_id.clone(),
            line: Vec::new(),
            is_dropped,
        };
        carried.left.push(source);
        drop(carried);
        carrier().wake_thread();
    }
}

/// The one of this process. Without its thread logs are drained at the end of each invocation all the same.
fn carrier() -> &'static Carrier {
    static CARRIER: OnceLock<Carrier> = OnceLock::new();
    let mut is_new = false;
    let carrier = CARRIER.get_or_init(|| {
        is_new = true;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Carrier {
            lanes: Mutex::default(),
            changed: EventFd::from_flags(flags).ok(),
        }
    });
    if is_new {
        let _ = thread::Builder::new()
            .name("logs".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || carrier.carry());
    }
    carrier
}

impl Carrier {
    fn lanes(&self) -> MutexGuard<'_, Vec<Weak<Mutex<Carried>>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, lane: &Arc<Mutex<Carried>>) {
        self.lanes().push(Arc::downgrade(lane));
        self.wake_thread();
    }

    fn wake_thread(&self) {
        if let Some(changed) = &self.changed {
            // It fails if it has been told as often as can be counted, and has not looked yet.
            let _ = changed.write(1);
        }
    }

    /// The thread: carries whatever there is.
    fn carry(&self) {
        let Some(changed) = &self.changed else { return };
        loop {
            let lanes: Vec<_> = {
                let mut lanes = self.lanes();
                lanes.retain(|lane| lane.strong_count() > 0);
                lanes.iter().filter_map(Weak::upgrade).collect()
            };
            let sources: Vec<_> = (lanes.iter())
                .flat_map(|lane| lock(lane).pipes().into_iter().map(move |pipe| (lane, pipe)))
                .collect();
            let mut pipes = vec![changed.as_fd()];
            pipes.extend(sources.iter().map(|(_, pipe)| pipe.as_fd()));
            let ready = wait::wait_readable_all(&pipes, None);
            if ready[0] {
                // It sets the count to 0.
                let _ = changed.read();
            }
            let ready = sources.iter().zip(&ready[1..]);
            for ((lane, pipe), _) in ready.filter(|(_, ready)| **ready) {
                lock(lane).carry(pipe);
            }
        }
    }
}

fn new_nonce() -> io::Result<String> {
    let mut bytes = [0; 8];
    sys::fill_random(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

fn lock(carried: &Mutex<Carried>) -> MutexGuard<'_, Carried> {
    carried.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Carried {
    fn pipes(&self) -> Vec<Arc<File>> {
        let all = std::iter::once(&self.current).chain(&self.left);
        all.map(|source| Arc::clone(&source.pipe)).collect()
    }

    /// Carries what `pipe` holds now, whichever of them it is.
    fn carry(&mut self, pipe: &Arc<File>) {
        if Arc::ptr_eq(pipe, &self.current.pipe) {
            self.carry_current();
        } else {
            self.carry_left(pipe);
        }
    }

    /// Carries what the current pipe holds now. It never ends: we have its other end, too.
    fn carry_current(&mut self) {
        let (log, nonce) = (self.log, self.nonce.as_deref());
        if sys::bytes_ready(&*self.current.pipe) > 0 {
            self.current.carry(log, nonce, Some(&mut self.tail));
        }
    }

    /// Carries what one of those that are left holds now, and forgets it at its end.
    fn carry_left(&mut self, pipe: &Arc<File>) {
        let Some(at) = self
            .left
            .iter()
            .position(|source| Arc::ptr_eq(&source.pipe, pipe))
        else {
            return;
        };
        // Its lines say which invocation they belong to, also in text: another one runs meanwhile.
        let log = Log {
            is_shared: true,
            ..self.log
        };
        let nonce = self.nonce.as_deref();
        if !self.left[at].carry(log, nonce, None) {
            self.left[at].finish_line(log, nonce, None);
            self.left.swap_remove(at);
        }
    }

    fn finish_line(&mut self) {
        let (log, nonce) = (self.log, self.nonce.as_deref());
        self.current.finish_line(log, nonce, Some(&mut self.tail));
    }
}

impl Source {
    /// A new pipe; the end for handlers.
    fn open() -> io::Result<(Self, OwnedFd)> {
        let (ours, pipe) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let source = Self {
            pipe: Arc::new(sys::file(ours)),
            request_id: String::new(),
            tenant_id: None,
            line: Vec::new(),
            is_dropped: false,
        };
        Ok((source, pipe))
    }

    /// Carries what the pipe holds now; whether it is still open. What is written while we carry
    /// is left for the next time: a process that writes without an end must not keep us here.
    fn carry(&mut self, log: Log, nonce: Option<&str>, mut tail: Option<&mut Tail>) -> bool {
        let mut left = sys::bytes_ready(&*self.pipe);
        let mut piece = [0; PIECE_BYTES];
        loop {
            let wanted = left.clamp(1, PIECE_BYTES);
            match (&*self.pipe).read(&mut piece[..wanted]) {
                Ok(0) => return false,
                Ok(count) => {
                    self.take(log, nonce, tail.as_deref_mut(), &piece[..count]);
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

    fn take(&mut self, log: Log, nonce: Option<&str>, mut tail: Option<&mut Tail>, piece: &[u8]) {
        if self.is_dropped {
            return;
        }
        if !log.is_by_records() {
            if let Some(tail) = &mut tail {
                tail.remember(piece);
            }
            let _ = io::stderr().write_all(piece);
            return;
        }
        let Some(last) = memrchr(b'\n', piece) else {
            self.line.extend_from_slice(piece);
            if self.line.len() > MAX_LINE_BYTES {
                self.finish_line(log, nonce, tail);
            }
            return;
        };
        let mut lines = std::mem::take(&mut self.line);
        lines.extend_from_slice(&piece[..last]);
        self.line.extend_from_slice(&piece[last + 1..]);
        self.write_records(log, nonce, tail, &lines);
    }

    /// A line without a newline at the end of the invocation is a line.
    fn finish_line(&mut self, log: Log, nonce: Option<&str>, tail: Option<&mut Tail>) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
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
        let mut remember = |line: &[u8]| {
            if let Some(tail) = &mut tail {
                tail.remember(line);
                tail.remember(b"\n");
            }
        };
        for line in lines.split(|byte| *byte == b'\n') {
            let marked = memmem::find(line, nonce.as_bytes()).filter(|_| !nonce.is_empty());
            if let Some(at) = marked {
                let (level, message) = message_of(&line[at + nonce.len()..]);
                if at > 0 {
                    remember(&line[..at]);
                    self.push_line(log, &mut records, &line[..at]);
                }
                if log.takes(level) {
                    log.push_message(&mut records, level, self.origin(), &message);
                }
                remember(&message);
            } else {
                remember(line);
                self.push_line(log, &mut records, line);
            }
        }
        log.send(&records);
    }

    fn push_line(&self, log: Log, records: &mut Vec<u8>, line: &[u8]) {
        let (line, level) = if log.json {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            (line, level_of_object(line))
        } else {
            (line, None)
        };
        match level {
            Some(level) => {
                if level.is_none_or(|level| log.takes(level)) {
                    log.push(records, level.unwrap_or(Level::Info), line);
                }
            }
            // Lambda takes it for INFO, but it does not say so itself: it is never dropped.
            None => log.push_message(records, Level::Info, self.origin(), line),
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
    fn remember(&mut self, piece: &[u8]) {
        let kept = &piece[piece.len().saturating_sub(2 * TAIL_BYTES)..];
        self.is_cut |= kept.len() < piece.len();
        self.bytes.extend_from_slice(kept);
        // Cut only now and then: moving bytes at each line would cost more than they do.
        if self.bytes.len() > 4 * TAIL_BYTES {
            self.bytes.drain(..self.bytes.len() - TAIL_BYTES);
            self.is_cut = true;
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
