//! Processes that became our children when their sandbox ended: their end has to be taken notice of.
//!
//! That happens where we are the first process of a container, or its only subreaper. What we
//! started ourselves is tokio's to wait for, and is kept out.

use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use crate::child::processes::pids_in;

static STARTED: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn started() -> MutexGuard<'static, Vec<Pid>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// We have started this process.
pub fn keep_out(pid: Pid) {
    started().push(pid);
}

/// A process that we started has been waited for.
pub fn forget(pid: Pid) {
    started().retain(|known| *known != pid);
}

/// Takes notice of the orphans that have ended; whether there are others.
#[must_use]
pub fn are_left() -> bool {
    let children = File::open(format!("/proc/self/task/{}/children", getpid()));
    let Ok(children) = children else {
        return false;
    };
    let started = started();
    let orphans = pids_in(&children).into_iter();
    let orphans = orphans.filter(|pid| !started.contains(pid));
    orphans.fold(false, |are_left, pid| {
        let status = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        are_left || status == Ok(WaitStatus::StillAlive)
    })
}
