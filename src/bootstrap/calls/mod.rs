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
//! The shell itself gets [descriptors](shell_slot) for its calls when it has made one, and then needs no ticket.
//! What the functions do is the crate `coshell-calls`; `runtime-scripts/calls.bash` is the other side.
//!
//! One thread serves the slots of a lane. It is started only if the handler's file may call one of the functions.

mod answer;
mod caller;
mod command;
mod commands;
mod functions;
mod late_reply;
mod prepared;
mod reply_text;
mod request;
mod server;
mod shell_reply;
mod shell_slot;
mod slot;
mod tools;
mod values;

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use memchr::memmem;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::invocation::Invocation;
use crate::response::OwnError;
pub(crate) use commands::Command;
use coshell_calls::Document;
use coshell_handler::{Handler, Kind};
use coshell_process::sys;
pub(crate) use functions::{command_for, push_call_stub, push_command, push_stub, script_text};
use nix::unistd::Pid;
pub(crate) use prepared::Prepared;
use server::{SLOTS, Server, ShellCalls};
pub(crate) use shell_slot::ShellEnds;
use shell_slot::ShellSlot;

pub(crate) use tools::set_own_argument as set_own_tools_argument;

/// The functions that are there if the handler's file may call them.
pub(crate) const FUNCTIONS: [&str; 11] = [
    "get",
    "json",
    "request",
    "each",
    "encode",
    "decode",
    "hash",
    "metric",
    "tempdir",
    "error",
    "remaining_ms",
];
/// Those of them that bash answers itself.
pub(crate) const WITHOUT_HOST: [&str; 2] = ["error", "remaining_ms"];
/// The environment variable with the path of the file that a whole script sources to have them.
pub(crate) const FUNCTIONS_VARIABLE: &str = "COSHELL_FUNCTIONS";
/// So much of a whole script is searched for the variable.
const MAX_SCRIPT_BYTES: u64 = 1024 * 1024;
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
    /// The server, until its thread is started.
    server: Mutex<Option<Server>>,
    commands: Vec<Command>,
    shell: Arc<ShellCalls>,
}

/// What belongs to the invocation that is running.
#[derive(Default)]
struct Current {
    /// The last error that a whole script gave `lambda_error`.
    error: Option<OwnError>,
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
    /// Opens the pipes, if the handler is a function whose file may call one of those that it answers, or a whole script that
    /// names the variable with the file of the functions. `commands` is what `COSHELL_COMMANDS` names.
    pub(crate) fn open_for(handler: &Handler, commands: &[String]) -> io::Result<Option<Self>> {
        let mut defined = Vec::new();
        let is_needed = match handler.kind {
            Kind::Function(_) => {
                let text = fs::read(&handler.file).unwrap_or_default();
                defined = commands::defined_for(&text, commands);
                !defined.is_empty() || runs_other_code(&text) || needs_host(&text)
            }
            Kind::Script(_) => {
                let text = beginning(handler).unwrap_or_default();
                let is_needed = memmem::find(&text, FUNCTIONS_VARIABLE.as_bytes()).is_some();
                if is_needed {
                    defined = commands::defined_for(&text, commands);
                }
                is_needed
            }
            // A program may be large, and has none of them.
            Kind::Program => false,
        };
        if !is_needed {
            return Ok(None);
        }
        let current = Arc::new(Mutex::new(Current::default()));
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let wake = Arc::new(wake);
        let server = Server::new(Arc::clone(&current), Arc::clone(&wake))?;
        let (paths, tickets) = (server.paths(), server.tickets());
        let shell = server.shell_calls();
        Ok(Some(Self {
            current,
            tickets,
            wake,
            paths,
            server: Mutex::new(Some(server)),
            commands: defined,
            shell,
        }))
    }

    /// Starts the thread that answers. A call that is made before waits for it.
    ///
    /// # Errors
    /// The system's, if there is no thread left.
    pub(crate) fn start_thread(&self) -> io::Result<()> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut server) = server.take() {
            thread::Builder::new()
                .name("calls".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || server.run())?;
        }
        Ok(())
    }

    /// The list of paths that the driver gets as `__driver_calls`.
    pub(crate) fn paths(&self) -> &str {
        &self.paths
    }

    /// The error that a whole script has named before it ended with `status`.
    pub(crate) fn own_error(&self, status: i32) -> Option<OwnError> {
        let error = self.lock().error.clone();
        error.filter(|_| status == OwnError::STATUS)
    }

    /// The functions of the second program that the handler gets.
    pub(crate) fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Opens descriptors for the calls of `shell`, if it makes calls and has none yet. What is returned is for the shell to
    /// open.
    pub(crate) fn open_for_shell(&self, shell: Pid) -> Option<ShellEnds> {
        if !self.shell.are_missing(shell) {
            return None;
        }
        let (slot, ends) = ShellSlot::open().ok()?;
        self.shell.put(slot);
        // If this fails the counter is full, and the thread wakes up all the same.
        let _ = self.wake.write(1);
        Some(ends)
    }

    /// Calls are about `invocation` from now on.
    pub(crate) fn begin(&self, invocation: &Invocation) {
        let mut current = self.lock();
        current.request_id.clone_from(&invocation.request_id);
        current.event = Some(Arc::clone(&invocation.event));
        drop(current);
        self.shell.usual().begin();
        if sys::bytes_ready(&*self.tickets) < SLOTS {
            // If this fails the counter is full, and the thread wakes up all the same.
            let _ = self.wake.write(1);
        }
    }

    /// The reply to the call with which the present invocation will begin, if it begins like those before it.
    pub(crate) fn prepare(&self) -> Option<Prepared> {
        self.shell.usual().prepare(&self.current)
    }

    /// The invocation has ended: forgets its event, and removes its folders.
    pub(crate) fn end(&self) {
        let ended = std::mem::take(&mut *self.lock());
        self.shell.end();
        for folder in ended.folders {
            // A process that the event left may still write there; what it writes is its own loss.
            let _ = fs::remove_dir_all(folder);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        lock(&self.current)
    }
}

/// Forgets what must not outlive a snapshot: connections, which are dead after it, and values, whose time does not pass meanwhile.
pub(crate) fn forget_before_restore() {
    values::Values::lock().forget_all();
    tools::end_idle();
}

/// Each change of what a mutex guards is complete by itself, so a panic elsewhere does no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text of a whole script. It may have an archive behind it, so that only its beginning is read.
fn beginning(handler: &Handler) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = fs::File::open(&handler.file)?;
    file.take(MAX_SCRIPT_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// Whether a file names one of the functions that need the host.
fn needs_host(text: &[u8]) -> bool {
    let mut functions = FUNCTIONS.iter();
    functions.any(|function| !WITHOUT_HOST.contains(function) && names_function(text, function))
        || names_function(text, "http_response") && memmem::find(text, b"--json").is_some()
}

/// Whether a file names `lambda_FUNCTION`. A file that does not may call it only if it [runs other code](runs_other_code).
pub(crate) fn names_function(text: &[u8], function: &str) -> bool {
    memmem::find(text, format!("lambda_{function}").as_bytes()).is_some()
}

/// Whether a file runs code that is not in it: it sources another file, or has `eval`.
pub(crate) fn runs_other_code(text: &[u8]) -> bool {
    let names = |needle: &[u8]| memmem::find(text, needle).is_some();
    names(b"source ")
        || names(b"eval ")
        || text
            .split(|byte| matches!(byte, b'\n' | b';' | b'&' | b'|'))
            .any(|command| command.trim_ascii_start().starts_with(b". "))
}
