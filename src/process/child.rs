//! A process that we start: with exactly the descriptors that it is given, in a process group of its own; waited for,
//! killed.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::started::{forget, keep};
use crate::sys;

/// Above all numbers that a child is given.
const OUT_OF_THE_WAY: i32 = 128;

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
                let copy = sys::duplicate_above(*fd, OUT_OF_THE_WAY)?;
                source = copy.as_raw_fd();
                moved.push(copy);
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
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable when it has ended.
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
