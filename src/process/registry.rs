//! The children that we started and have not reaped.
//!
//! Any other child of this process is an orphan that a handler left: its parent ended, and we are a subreaper. Orphans
//! are reaped wherever one is found, a registered child only by its owner, who needs the exit status.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::unistd::Pid;

static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn children() -> MutexGuard<'static, Vec<Pid>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Call this when the child `pid` has been started. The caller waits for it.
pub fn register_child(pid: Pid) {
    children().push(pid);
}

/// Call this when the child `pid` has been waited for.
pub fn unregister_child(pid: Pid) {
    children().retain(|known| *known != pid);
}

pub(crate) fn is_registered(pid: Pid) -> bool {
    children().contains(&pid)
}
