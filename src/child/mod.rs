//! Processes that we start, and what they leave behind.
//!
//! [`Child`] is one of them: started with exactly the descriptors that it is given, in a process
//! group of its own, waited for, killed. What all kinds of handler need stands here too: the
//! response's pipe, files without a name, the environment. Neighbours: `arguments.rs` lays an
//! invocation out for bash, `logs.rs` carries stderr, `processes.rs` finds and ends what a handler
//! started, `leftovers.rs` decides what is done about what is left of that.

pub mod arguments;
pub mod bash;
pub mod leftovers;
pub mod logs;
pub mod processes;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::uio::pwrite;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};

use crate::config::{Config, TELEMETRY};
use crate::handler::Handler;
use crate::invocation::variable;
use crate::sys;
use crate::wait::Signals;
use logs::Logs;

/// How much of a response fits into the pipe while the handler goes on; what Linux allows anyone.
const RESPONSE_PIPE_BYTES: i32 = 1024 * 1024;
/// For so long only the end of the handler is waited for: a response that is shorter than its pipe
/// then costs no wake-up of its own, and a longer one costs one a megabyte.
pub const RESPONSE_AFTER: Duration = Duration::from_millis(1);
/// Memory that an invocation needed beyond this is given back after it.
pub const KEPT_BYTES: usize = 256 * 1024;
/// Where each of several runtimes gets a descriptor of its own for its log. We have one for all, and
/// a handler has none.
const TELEMETRY_SOCKET: &str = "_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET";
/// Above all numbers that a child is given.
const OUT_OF_THE_WAY: i32 = 128;

/// Says in a handler's environment in which lane it runs; by it, too, what a lane has started is known.
const LANE_VARIABLE: &str = "COSHELL_LANE";

/// What every handler is run with; one for the life of the sandbox, or of a lane.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The settings.
    pub config: &'a Config,
    /// What is run.
    pub handler: &'a Handler,
    /// Where its stderr goes.
    pub logs: &'a Logs,
    /// What may end it.
    pub signals: &'a Arc<Signals>,
    /// Which of several lanes this is, from 0; `None` if there is but one.
    pub lane: Option<u32>,
}

impl Surroundings<'_> {
    /// What is in the environment of all that this lane starts, and of nothing else; `None` if there are no
    /// others.
    #[must_use]
    pub fn mark(self) -> Option<String> {
        self.lane.map(|lane| format!("{LANE_VARIABLE}={lane}"))
    }

    /// Our environment, as a handler is given it: the variables of an invocation come with it alone.
    #[must_use]
    pub fn environment(self) -> Vec<CString> {
        let mut withheld = vec![
            TELEMETRY,
            TELEMETRY_SOCKET,
            LANE_VARIABLE,
            variable::REQUEST_ID,
            variable::DEADLINE,
        ];
        withheld.extend(variable::CONTEXT.iter().chain(&variable::TRACE));
        let given = std::env::vars_os()
            .filter(|(name, _)| !withheld.iter().any(|withheld| name == withheld))
            .filter_map(|(name, value)| {
                let mut pair = name;
                pair.push("=");
                pair.push(value);
                CString::new(pair.into_vec()).ok()
            });
        let mark = self.mark().and_then(|mark| CString::new(mark).ok());
        given.chain(mark).collect()
    }
}

/// The children that we started and have not reaped. Any other child of ours is an orphan that a
/// handler left.
static STARTED: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn started() -> MutexGuard<'static, Vec<Pid>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// We have started the child `pid`, and will wait for it.
pub fn keep(pid: Pid) {
    started().push(pid);
}

/// The child `pid` has been waited for.
pub fn forget(pid: Pid) {
    started().retain(|known| *known != pid);
}

/// Whether `pid` is a child that we started ourselves.
#[must_use]
pub fn is_started(pid: Pid) -> bool {
    started().contains(&pid)
}

/// A process of ours. Dropping it kills it, and not what it started.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    ended: OwnedFd,
    status: Option<WaitStatus>,
}

impl Child {
    /// Starts `words[0]`, looked for along `PATH` if it has no slash. It has the `descriptors`
    /// under the numbers that stand beside them, and no others.
    ///
    /// # Errors
    /// The system's, when there is no such program, or no descriptor or process left.
    pub fn start(
        words: &[CString],
        environment: &[CString],
        descriptors: &[(BorrowedFd, i32)],
    ) -> io::Result<Self> {
        let program = words.first().ok_or(Errno::ENOENT)?;
        let mut actions = PosixSpawnFileActions::init()?;
        // A descriptor of ours that has the number of one of the child's would be lost before its
        // turn comes.
        let mut moved = Vec::new();
        for (fd, number) in descriptors {
            let mut source = fd.as_raw_fd();
            if descriptors.iter().any(|(_, number)| *number == source) {
                let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(OUT_OF_THE_WAY))?;
                source = copy;
                moved.push(sys::owned(copy));
            }
            actions.add_dup2(source, *number)?;
        }
        let pid = posix_spawnp(program, &actions, &attributes()?, words, environment)?;
        keep(pid);
        let child = Self {
            pid,
            ended: sys::open_pidfd(pid)?,
            status: None,
        };
        Ok(child)
    }

    /// The process id; also the id of its process group.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable when it has ended.
    #[must_use]
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// How it ended, once it has; `None` while it runs. Never blocks.
    pub fn status(&mut self) -> Option<WaitStatus> {
        self.wait(WaitPidFlag::WNOHANG);
        self.status
    }

    /// Kills it alone, unless it has ended, and waits for its end.
    pub fn kill(&mut self) {
        if self.status().is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        while self.status.is_none() {
            self.wait(WaitPidFlag::empty());
        }
    }

    fn wait(&mut self, how: WaitPidFlag) {
        if self.status.is_some() {
            return;
        }
        self.status = match waitpid(self.pid, Some(how)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => None,
            Ok(status) => Some(status),
            Err(_) => Some(WaitStatus::Exited(self.pid, 127)),
        };
        if self.status.is_some() {
            forget(self.pid);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process group of its own, so that `kill 0` in a handler does not reach us; and the signals
/// that this program ignores or blocks as programs expect them.
fn attributes() -> io::Result<PosixSpawnAttr> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    let mut defaults = SigSet::empty();
    defaults.add(Signal::SIGPIPE);
    attributes.set_sigdefault(&defaults)?;
    attributes.set_sigmask(&SigSet::empty())?;
    Ok(attributes)
}

/// A file without a name.
///
/// # Errors
/// The system's, when there is no descriptor left.
pub fn memory_file(name: &CStr) -> io::Result<File> {
    Ok(sys::file(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// A file without a name that holds `text`, which nobody can change: the handler could open it.
///
/// # Errors
/// The system's, when there is no descriptor or memory left.
pub fn text_file(name: &CStr, text: &str) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    pwrite(&file, text.as_bytes(), 0)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
    Ok(file)
}

/// A pipe for responses: our end, which does not block, and the handler's.
///
/// # Errors
/// The system's, when there is no descriptor left.
pub fn response_pipe() -> io::Result<(File, OwnedFd)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // A smaller pipe does too: the handler waits then while we read.
    let _ = fcntl(&ours, FcntlArg::F_SETPIPE_SZ(RESPONSE_PIPE_BYTES));
    Ok((sys::file(ours), theirs))
}
