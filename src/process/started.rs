//! The children that we started, which tells them from orphans.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::unistd::Pid;

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
pub(crate) fn is_started(pid: Pid) -> bool {
    started().contains(&pid)
}
