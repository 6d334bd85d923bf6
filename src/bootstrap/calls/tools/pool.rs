//! The processes of the second program.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{self, Sender};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{ToolsError, find};
use coshell_process::{Child, ExitStatus, memory_file, message_sockets};

/// The number of processes up to which a call starts one at once, and the largest number.
const FEW: usize = 8;
const MOST: usize = 256;
/// How long a call waits then. It may itself be what another one waits for: in a pipeline.
const PATIENCE: Duration = Duration::from_millis(50);
/// The number of processes that are kept while there is no call.
const MOST_IDLE: usize = 4;

/// A process of the second program.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    pub socket: OwnedFd,
    /// Its standard error.
    errors: File,
}

#[derive(Debug)]
pub(super) struct Pool {
    state: Mutex<State>,
    is_free: Condvar,
    starter: Mutex<Sender<Sender<Result<Worker, String>>>>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Worker>,
    /// The number of processes that have a call.
    busy: usize,
}

impl State {
    fn take_idle(&mut self) -> Option<Worker> {
        while let Some(mut worker) = self.idle.pop() {
            if worker.child.status().is_none() {
                self.busy += 1;
                return Some(worker);
            }
        }
        None
    }
}

static POOL: OnceLock<Pool> = OnceLock::new();

impl Pool {
    /// The processes of all lanes.
    pub(super) fn get() -> &'static Self {
        POOL.get_or_init(|| {
            let (starter, orders) = mpsc::channel::<Sender<Result<Worker, String>>>();
            // A process ends with the thread that started it (PR_SET_PDEATHSIG), so one thread starts all of them, and stays.
            let thread = thread::Builder::new().name("tools".to_owned());
            let _ = thread.spawn(move || {
                for order in orders {
                    // A caller that no longer waits has no use for it.
                    let _ = order.send(Worker::start());
                }
            });
            Self {
                state: Mutex::default(),
                is_free: Condvar::new(),
                starter: Mutex::new(starter),
            }
        })
    }

    /// Ends the processes that have no call. Others are started when they are needed.
    pub(super) fn end_idle() {
        if let Some(pool) = POOL.get() {
            let idle = std::mem::take(&mut pool.state().idle);
            // Dropping them ends them.
            drop(idle);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that has no call, if there is one.
    pub(super) fn take_idle(&self) -> Option<Worker> {
        self.state().take_idle()
    }

    /// A process that has no call; starts one if there is none.
    pub(super) fn take(&self) -> Result<Worker, ToolsError> {
        let end = Instant::now() + PATIENCE;
        let mut state = self.state();
        loop {
            if let Some(worker) = state.take_idle() {
                return Ok(worker);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.busy < FEW || left.is_zero() {
                break;
            }
            let waited = self.is_free.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.busy >= MOST {
            let cause = format!("{MOST} calls are running already");
            return Err(ToolsError::Start(cause));
        }
        state.busy += 1;
        drop(state);
        self.start().map_err(|cause| {
            self.state().busy -= 1;
            ToolsError::Start(cause)
        })
    }

    fn start(&self) -> Result<Worker, String> {
        let (order, workers) = mpsc::channel();
        let starter = self.starter.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = starter.send(order);
        drop(starter);
        let worker = sent.ok().and_then(|()| workers.recv().ok());
        worker.unwrap_or_else(|| Err("cannot start a thread".to_owned()))
    }

    /// Keeps a process whose call has ended.
    pub(super) fn give_back(&self, worker: Worker) {
        let mut state = self.state();
        state.busy -= 1;
        if state.idle.len() < MOST_IDLE {
            state.idle.push(worker);
            self.is_free.notify_one();
            return;
        }
        drop(state);
        // Dropping it ends the process.
        drop(worker);
    }

    /// Ends a process.
    pub(super) fn discard(&self, worker: Worker) {
        drop(worker);
        self.state().busy -= 1;
        self.is_free.notify_one();
    }
}

impl Worker {
    fn start() -> Result<Self, String> {
        let mut command = find::command()?;
        let program = command.first().cloned().unwrap_or_default();
        if let Some(memory) = find::memory() {
            command.extend(CString::new(format!("--memory={memory}")));
        }
        Self::run(&command).map_err(|error| {
            let program = program.to_string_lossy();
            format!("cannot start {program}: {error}")
        })
    }

    fn run(command: &[CString]) -> io::Result<Self> {
        let (socket, theirs) = message_sockets()?;
        let nothing = File::options().read(true).write(true).open("/dev/null")?;
        let errors = memory_file(c"errors")?;
        let descriptors = [
            (nothing.as_fd(), 0),
            (nothing.as_fd(), 1),
            (errors.as_fd(), 2),
            (theirs.as_fd(), 3),
        ];
        Ok(Self {
            child: Child::start(command, &[], &descriptors)?,
            socket,
            errors,
        })
    }

    /// Why the process has ended; `None` if it did so by itself, between two calls.
    pub(super) fn describe_end(&mut self) -> Option<String> {
        self.child.wait();
        let status = self.child.status();
        if matches!(status, Some(ExitStatus::Exited(0))) {
            return None;
        }
        let mut text = Vec::new();
        // Without the text the status has to do.
        let _ = self.errors.rewind();
        let _ = self.errors.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        if text.contains("memory allocation") || text.contains("capacity overflow") {
            return Some("it needs more memory than there is".to_owned());
        }
        if text.contains("overflowed its stack") {
            return Some("the filter or the document nests too deeply".to_owned());
        }
        let how = match status {
            Some(ExitStatus::Exited(status)) => format!("status {status}"),
            Some(ExitStatus::Killed(signal)) => signal.to_string(),
            None => "an unknown status".to_owned(),
        };
        let line = text.lines().find(|line| !line.is_empty());
        let line = line.map(|line| format!(": {line}")).unwrap_or_default();
        Some(format!("coshell-tools ended with {how}{line}"))
    }
}
