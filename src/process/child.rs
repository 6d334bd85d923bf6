//! A process that we start, with no other descriptors than it is given, in a process group of its own.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::registry::{register_child, unregister_child};
use crate::sys;

/// Larger than every descriptor number that a child gets.
const FIRST_SPARE_NUMBER: i32 = 128;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    Exited(i32),
    Killed(SignalNumber),
}

/// A signal. Displays as `SIGKILL`, and as `signal 34` if it has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalNumber(i32);

impl fmt::Display for SignalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}

/// A process of ours. Dropping it kills it, but not the processes that it started.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    status: Option<ExitStatus>,
}

impl Child {
    /// Starts `argv[0]`, along `PATH` if it has no slash. Each of `descriptors` gets the number beside it; the child has
    /// no others.
    ///
    /// # Errors
    /// The system's, if there is no such program, or no descriptor or process left.
    pub fn start(
        argv: &[CString],
        environment: &[CString],
        descriptors: &[(BorrowedFd, i32)],
    ) -> io::Result<Self> {
        let program = argv.first().ok_or(Errno::ENOENT)?;
        let mut actions = PosixSpawnFileActions::init()?;
        // A source whose own number is also a target could be overwritten before it is duplicated.
        let mut moved = Vec::new();
        for (fd, number) in descriptors {
            let mut source = fd.as_raw_fd();
            if descriptors.iter().any(|(_, number)| *number == source) {
                let copy = sys::duplicate_above(*fd, FIRST_SPARE_NUMBER)?;
                source = copy.as_raw_fd();
                moved.push(copy);
            }
            actions.add_dup2(source, *number)?;
        }
        let pid = posix_spawnp(program, &actions, &spawn_attributes()?, argv, environment)?;
        register_child(pid);
        let child = Self {
            pid,
            pidfd: sys::open_pidfd(pid)?,
            status: None,
        };
        Ok(child)
    }

    /// The process id, which is also the id of the process group.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// A descriptor that is readable when the child has ended; `pidfd_open(2)`.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// How the child ended; `None` while it runs. Never blocks.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.look(libc::WNOHANG);
        self.status
    }

    /// Kills the child, and not its process group, and waits for its end.
    pub fn kill(&mut self) {
        if self.status().is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        self.wait();
    }

    /// Waits until the child has ended.
    pub fn wait(&mut self) {
        while self.status.is_none() {
            self.look(0);
        }
    }

    fn look(&mut self, flag: libc::c_int) {
        if self.status.is_some() {
            return;
        }
        self.status = match sys::wait_child(self.pid, flag) {
            Ok(None) | Err(Errno::EINTR) => None,
            Ok(Some(status)) if libc::WIFSIGNALED(status) => {
                Some(ExitStatus::Killed(SignalNumber(libc::WTERMSIG(status))))
            }
            Ok(Some(status)) => Some(ExitStatus::Exited(libc::WEXITSTATUS(status))),
            Err(_) => Some(ExitStatus::Exited(127)),
        };
        if self.status.is_some() {
            unregister_child(self.pid);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The child has a process group of its own, so that `kill 0` in a handler does not reach us, and the signal settings
/// that programs expect, in place of ours.
fn spawn_attributes() -> io::Result<PosixSpawnAttr> {
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
