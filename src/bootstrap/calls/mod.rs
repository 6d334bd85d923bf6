//! Answers the `lambda_` functions that a handler calls: `lambda_get`, `lambda_json` and their kin.
//!
//! ```text
//! caller: read a ticket -> write the request to that slot's pipe -> read the reply from the slot's other pipe
//! host:   put the tickets  <- read requests, answer them <- when the reply has been read, put the ticket back
//! ```
//!
//! A call needs no process, and any process of the handler can make one: subshells, parts of a pipeline and background jobs
//! call at the same time. So each call has a slot of its own. A ticket is one byte, which only one reader gets, and names the
//! slot. All are pipes of this process that the callers open through `/proc`, so a shell inherits no descriptor for them.
//! What the functions do is the crate `coshell-calls`; `runtime-scripts/calls.bash` is the other side.
//!
//! One thread serves the slots of a lane. It is started only if the handler's file may call one of the functions.

mod answer;
mod caller;
mod commands;
mod jq;
mod request;
mod server;
mod slot;
mod tools;

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use memchr::memmem;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::invocation::Invocation;
use coshell_calls::Document;
use coshell_handler::{Handler, Kind};
use coshell_process::sys;
use server::{SLOTS, Server};

pub(crate) use tools::set_own_argument as set_own_tools_argument;

/// The functions that need the host.
pub(crate) const FUNCTIONS: [&str; 9] = [
    "get", "json", "request", "each", "encode", "decode", "hash", "metric", "tempdir",
];
/// For the deepest call; only what is used of it is memory.
const STACK_BYTES: usize = 1024 * 1024;

/// The server of one lane, as the rest of the runtime sees it.
#[derive(Debug)]
pub(crate) struct Calls {
    current: Arc<Mutex<Current>>,
    /// Has all tickets while no call is made.
    tickets: Arc<OwnedFd>,
    /// Wakes the thread up, so that it looks for tickets to put back.
    wake: Arc<EventFd>,
    /// The paths of the pipes, as a list for bash.
    paths: String,
    has_jq: bool,
}

/// What belongs to the invocation that is running.
#[derive(Default)]
struct Current {
    request_id: String,
    event: Option<Arc<Vec<u8>>>,
    /// The event, once a call has read it: JSON, or why it is not.
    document: Option<Result<Arc<Document<'static>>, String>>,
    /// Folders to be removed when it ends.
    folders: Vec<PathBuf>,
}

impl fmt::Debug for Current {
    /// Without the event, which belongs in no text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current")
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl Calls {
    /// Starts the server, if the handler is a function whose file may call one of those that it answers. `commands` is what
    /// `COSHELL_COMMANDS` names.
    pub(crate) fn start_for(handler: &Handler, commands: &[String]) -> io::Result<Option<Self>> {
        // A program may be large, and has none of them.
        if !matches!(handler.kind, Kind::Function(_)) {
            return Ok(None);
        }
        let text = fs::read(&handler.file).unwrap_or_default();
        let sources = sources_another(&text);
        let has_jq = commands::defines_jq(&text, sources, commands);
        if !sources && !has_jq && !names_function(&text) {
            return Ok(None);
        }
        let current = Arc::new(Mutex::new(Current::default()));
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let wake = Arc::new(wake);
        let mut server = Server::new(Arc::clone(&current), Arc::clone(&wake))?;
        let (paths, tickets) = (server.paths(), server.tickets());
        thread::Builder::new()
            .name("calls".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || server.run())?;
        Ok(Some(Self {
            current,
            tickets,
            wake,
            paths,
            has_jq,
        }))
    }

    /// The list of paths that the driver gets as `__driver_calls`.
    pub(crate) fn paths(&self) -> &str {
        &self.paths
    }

    /// Whether the handler gets a function `jq`.
    pub(crate) fn has_jq(&self) -> bool {
        self.has_jq
    }

    /// Calls are about `invocation` from now on.
    pub(crate) fn begin(&self, invocation: &Invocation) {
        let mut current = self.lock();
        current.request_id.clone_from(&invocation.request_id);
        current.event = Some(Arc::clone(&invocation.event));
        drop(current);
        if sys::bytes_ready(&*self.tickets) < SLOTS {
            // If this fails the counter is full, and the thread wakes up all the same.
            let _ = self.wake.write(1);
        }
    }

    /// The invocation has ended: forgets its event, and removes its folders.
    pub(crate) fn end(&self) {
        let ended = std::mem::take(&mut *self.lock());
        for folder in ended.folders {
            // A process that the event left may still write there; what it writes is its own loss.
            let _ = fs::remove_dir_all(folder);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        lock(&self.current)
    }
}

fn lock(current: &Mutex<Current>) -> MutexGuard<'_, Current> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

fn names_function(text: &[u8]) -> bool {
    let is_named = |function| memmem::find(text, format!("lambda_{function}").as_bytes()).is_some();
    FUNCTIONS.iter().any(is_named)
}

/// Whether a file sources another one, which may call any of the functions.
fn sources_another(text: &[u8]) -> bool {
    memmem::find(text, b"source ").is_some()
        || text
            .split(|byte| matches!(byte, b'\n' | b';' | b'&' | b'|'))
            .any(|command| command.trim_ascii_start().starts_with(b". "))
}
