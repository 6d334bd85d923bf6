//! Stops the processes that a handler left.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

use super::status::{can_report_place, has_our_trap, parent};
use crate::sys;

/// The time between two looks at which processes are left.
const STEP: Duration = Duration::from_micros(300);
/// How long to wait for a process after SIGKILL: one that hangs in the kernel must not keep us.
const KILL_LIMIT: Duration = Duration::from_millis(500);

/// Like [`stop_with_exit_trace`], without a bash that reports its place.
pub fn stop(find: impl FnMut() -> Vec<(Pid, String)>, grace: Duration) {
    stop_with_exit_trace(find, grace, None);
}

/// Ends the processes that `find` returns: by SIGTERM, and after `grace` by SIGKILL. Blocks until `find` returns none,
/// for half a second longer than `grace` at most.
///
/// `bash` first gets the signal by which it reports its place, if it [can do that now](can_report_place), and then ends
/// itself by SIGTERM. Later rounds send SIGTERM only to orphans: what a process starts in its trap on SIGTERM may finish.
pub fn stop_with_exit_trace(
    mut find: impl FnMut() -> Vec<(Pid, String)>,
    grace: Duration,
    bash: Option<Pid>,
) {
    let started = Instant::now();
    let mut signalled: Vec<Pid> = Vec::new();
    let mut bash_is_late = false;
    loop {
        let left = find();
        let elapsed = started.elapsed();
        if left.is_empty() || elapsed > grace + KILL_LIMIT {
            return;
        }
        let is_first_round = signalled.is_empty();
        for (pid, _) in left {
            // A signal fails if the process has ended meanwhile.
            if elapsed >= grace {
                let _ = kill(pid, Signal::SIGKILL);
            } else if bash == Some(pid) && !bash_is_late && elapsed >= grace / 4 {
                // The process that bash waits for does not end, so bash cannot run its trap.
                bash_is_late = true;
                if has_our_trap(pid) {
                    let _ = kill(pid, Signal::SIGTERM);
                }
            } else if !signalled.contains(&pid) && (is_first_round || parent(pid) == Some(getpid()))
            {
                if bash == Some(pid) && can_report_place(pid) {
                    sys::send_signal(pid, sys::last_realtime_signal());
                } else {
                    let _ = kill(pid, Signal::SIGTERM);
                }
                // A stopped process only gets the signal when it continues.
                let _ = kill(pid, Signal::SIGCONT);
                signalled.push(pid);
            }
        }
        thread::sleep(STEP);
    }
}
