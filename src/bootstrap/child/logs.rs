//! Forwards what handlers write to stderr to the log.
//!
//! A thread reads the pipe all the time, so that a full pipe never blocks a handler. At the end of an invocation the pipe is
//! drained before the answer is posted, because the sandbox may be frozen right after. `logs/pipe.rs` forwards the output:
//! unchanged, or as records.
//!
//! A process that is still running after its invocation keeps the pipe that it writes to, and the next invocation gets another
//! one ([`HandlerLog::open_new_pipe`]). So its later output is logged with the request id of its own invocation, and never
//! becomes part of another one's log or error.

mod pipe;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::log::{Log, Origin};
use crate::wait;
use coshell_process::sys;
use pipe::{LogPipe, Tail};

/// Room for a piece of output, and for formatting a record.
const STACK_BYTES: usize = 128 * 1024;

/// The log of everything that one lane starts.
#[derive(Debug)]
pub(crate) struct HandlerLog {
    pipes: Arc<Mutex<LanePipes>>,
    nonce: Option<String>,
}

/// The pipes of one lane.
#[derive(Debug)]
struct LanePipes {
    log: Log,
    /// See [`HandlerLog::nonce`].
    nonce: Option<String>,
    /// The pipe of the current invocation, or of the last one.
    current: LogPipe,
    /// The end of `current` that handlers write to.
    write_end: Arc<OwnedFd>,
    /// Pipes that leftovers of earlier invocations still hold.
    leftovers: Vec<LogPipe>,
    /// The end of the output since the invocation began.
    tail: Tail,
}

/// The thread that reads the pipes of all lanes.
#[derive(Debug)]
struct LogThread {
    lanes: Mutex<Vec<Weak<Mutex<LanePipes>>>>,
    /// Tells the thread that the pipes have changed; `None` if the system gave us no descriptor.
    changed: Option<EventFd>,
}

impl HandlerLog {
    /// Opens the pipe. What is written to it waits there until [`HandlerLog::start_thread`].
    ///
    /// # Errors
    /// The system's, if there is no descriptor left.
    pub(crate) fn open(log: Log) -> io::Result<Self> {
        let (current, write_end) = LogPipe::open()?;
        let nonce = log.formats_output().then(new_nonce).transpose()?;
        let pipes = Arc::new(Mutex::new(LanePipes {
            log,
            nonce: nonce.clone(),
            current,
            write_end: Arc::new(write_end),
            leftovers: Vec::new(),
            tail: Tail::default(),
        }));
        Ok(Self { pipes, nonce })
    }

    /// Makes the thread forward the output of this lane, from now on all the time.
    pub(crate) fn start_thread(&self) {
        log_thread().add_lane(&self.pipes);
    }

    /// The stderr of what is started from now on.
    pub(crate) fn pipe(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.lock().write_end)
    }

    /// What `lambda_log` writes before its messages, so that they become records of their own; `None` if output is forwarded
    /// unchanged.
    pub(crate) fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    fn lock(&self) -> MutexGuard<'_, LanePipes> {
        lock(&self.pipes)
    }

    /// Begins an invocation: output is logged as that of `origin` from now on. What is in the pipe already is forwarded as
    /// that of the invocation before.
    pub(crate) fn begin_invocation(&self, origin: Origin) {
        let mut pipes = self.lock();
        pipes.drain_current();
        let current = &mut pipes.current;
        current.request_id.clear();
        current
            .request_id
            .push_str(origin.request_id.unwrap_or_default());
        if current.tenant_id.as_deref() != origin.tenant_id {
            current.tenant_id = origin.tenant_id.map(ToOwned::to_owned);
        }
        pipes.tail.clear();
    }

    /// Forwards everything that has been written up to now.
    pub(crate) fn drain(&self) {
        self.lock().drain_current();
    }

    /// The end of the output since the invocation began.
    pub(crate) fn tail(&self) -> String {
        self.lock().tail.text()
    }

    /// Forgets the output up to now, so that no later error quotes it.
    pub(crate) fn clear_tail(&self) {
        self.lock().tail.clear();
    }

    /// Opens another pipe for what is started from now on. The old one is read until no process holds it.
    ///
    /// # Errors
    /// The system's, if there is no descriptor left. The old pipe stays then.
    pub(crate) fn open_new_pipe(&self) -> io::Result<()> {
        let (new, write_end) = LogPipe::open()?;
        let mut pipes = self.lock();
        pipes.forward_current();
        let new = LogPipe {
            request_id: pipes.current.request_id.clone(),
            tenant_id: pipes.current.tenant_id.clone(),
            ..new
        };
        let old = std::mem::replace(&mut pipes.current, new);
        pipes.leftovers.push(old);
        pipes.write_end = Arc::new(write_end);
        drop(pipes);
        log_thread().wake();
        Ok(())
    }

    /// Forwards what leftovers of the last invocation still write to `pipe`, with the request id of that invocation.
    pub(crate) fn forward_leftover(&self, pipe: File) {
        self.read_leftover(pipe, false);
    }

    /// Reads and discards what leftovers of the last invocation still write to `pipe`, so that they do not block.
    pub(crate) fn discard_leftover(&self, pipe: File) {
        self.read_leftover(pipe, true);
    }

    fn read_leftover(&self, pipe: File, is_discarded: bool) {
        let mut pipes = self.lock();
        let leftover = LogPipe {
            read_end: Arc::new(pipe),
            request_id: pipes.current.request_id.clone(),
            tenant_id: pipes.current.tenant_id.clone(),
            unfinished_line: Vec::new(),
            is_discarded,
        };
        pipes.leftovers.push(leftover);
        drop(pipes);
        log_thread().wake();
    }
}

/// The thread of this process. If it cannot be started, pipes are still drained at the end of each invocation.
fn log_thread() -> &'static LogThread {
    static LOG_THREAD: OnceLock<LogThread> = OnceLock::new();
    let mut is_new = false;
    let log_thread = LOG_THREAD.get_or_init(|| {
        is_new = true;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        LogThread {
            lanes: Mutex::default(),
            changed: EventFd::from_flags(flags).ok(),
        }
    });
    if is_new {
        let _ = thread::Builder::new()
            .name("logs".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || log_thread.run());
    }
    log_thread
}

impl LogThread {
    fn lanes(&self) -> MutexGuard<'_, Vec<Weak<Mutex<LanePipes>>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_lane(&self, lane: &Arc<Mutex<LanePipes>>) {
        self.lanes().push(Arc::downgrade(lane));
        self.wake();
    }

    fn wake(&self) {
        if let Some(changed) = &self.changed {
            // It fails only if the counter is at its maximum: then the thread is about to wake up anyway.
            let _ = changed.write(1);
        }
    }

    /// Forwards output for the life of the process.
    fn run(&self) {
        let Some(changed) = &self.changed else { return };
        loop {
            let lanes: Vec<_> = {
                let mut lanes = self.lanes();
                lanes.retain(|lane| lane.strong_count() > 0);
                lanes.iter().filter_map(Weak::upgrade).collect()
            };
            let pipes: Vec<_> = (lanes.iter())
                .flat_map(|lane| {
                    let read_ends = lock(lane).read_ends();
                    read_ends.into_iter().map(move |read_end| (lane, read_end))
                })
                .collect();
            let mut sources = vec![changed.as_fd()];
            sources.extend(pipes.iter().map(|(_, read_end)| read_end.as_fd()));
            let ready = wait::wait_readable_all(&sources, None);
            if ready[0] {
                // Reading sets the counter to 0.
                let _ = changed.read();
            }
            let ready = pipes.iter().zip(&ready[1..]);
            for ((lane, read_end), _) in ready.filter(|(_, is_ready)| **is_ready) {
                lock(lane).forward(read_end);
            }
        }
    }
}

fn new_nonce() -> io::Result<String> {
    let mut bytes = [0; 8];
    sys::fill_random(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

fn lock(pipes: &Mutex<LanePipes>) -> MutexGuard<'_, LanePipes> {
    pipes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LanePipes {
    fn read_ends(&self) -> Vec<Arc<File>> {
        let all = std::iter::once(&self.current).chain(&self.leftovers);
        all.map(|pipe| Arc::clone(&pipe.read_end)).collect()
    }

    /// Forwards what the pipe with this read end contains now.
    fn forward(&mut self, read_end: &Arc<File>) {
        if Arc::ptr_eq(read_end, &self.current.read_end) {
            self.forward_current();
        } else {
            self.forward_leftover(read_end);
        }
    }

    /// Forwards what the current pipe contains now. It has no end of file, because we hold its write end too.
    fn forward_current(&mut self) {
        let (log, nonce) = (self.log, self.nonce.as_deref());
        if sys::bytes_ready(&*self.current.read_end) > 0 {
            self.current.forward(log, nonce, Some(&mut self.tail));
        }
    }

    /// The same, and a line that is not finished too.
    fn drain_current(&mut self) {
        self.forward_current();
        let (log, nonce) = (self.log, self.nonce.as_deref());
        self.current.finish_line(log, nonce, Some(&mut self.tail));
    }

    /// Forwards what a leftover's pipe contains now, and closes the pipe at its end.
    fn forward_leftover(&mut self, read_end: &Arc<File>) {
        let mut leftovers = self.leftovers.iter();
        let Some(index) = leftovers.position(|pipe| Arc::ptr_eq(&pipe.read_end, read_end)) else {
            return;
        };
        // Another invocation may be running, so that lines of text need their request id.
        let log = Log {
            is_shared: true,
            ..self.log
        };
        let nonce = self.nonce.as_deref();
        if !self.leftovers[index].forward(log, nonce, None) {
            self.leftovers[index].finish_line(log, nonce, None);
            self.leftovers.swap_remove(index);
        }
    }
}
