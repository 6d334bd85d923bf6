//! The processes that a handler started: found in `/proc`, ended, told of.
//!
//! Every process that a handler starts is a descendant of the child that runs it, or, once its
//! parents have ended, a child of ours, since we are a subreaper. Whatever is a child of ours and
//! was not started by us is such an orphan, and ours to reap.

use std::fs::{self, DirEntry, File};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::fstat;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};

use crate::started::is_started;
use crate::sys;

/// Between two looks whether a process has ended.
const STEP: Duration = Duration::from_micros(300);
/// How long after SIGKILL a process is waited for: one that hangs in the kernel must not keep us.
const KILL_LIMIT: Duration = Duration::from_millis(500);
/// A tree that is deeper than this is not looked through.
const MAX_DEPTH: usize = 64;

/// Our own children, kept open: reading an open file costs a fourth of what opening it does.
#[derive(Debug, Clone, Copy)]
pub struct Orphans(&'static File);

impl Orphans {
    /// `None` where /proc does not show our children. Orphans become children of the first thread, whichever
    /// thread had started their parents.
    pub fn watch() -> Option<Self> {
        static CHILDREN: OnceLock<Option<File>> = OnceLock::new();
        let open = || File::open(format!("/proc/self/task/{}/children", getpid())).ok();
        CHILDREN.get_or_init(open).as_ref().map(Self)
    }

    /// The children that we did not start, without those that have ended, which are reaped.
    pub fn living(&self) -> Vec<Pid> {
        loop {
            let mut orphans = pids_in(self.0);
            orphans.retain(|pid| !is_started(*pid));
            let count = orphans.len();
            orphans.retain(|pid| !is_reaped(*pid));
            // What one that has ended had started has become ours since we read.
            if orphans.len() == count {
                return orphans;
            }
        }
    }
}

/// Whether the child `pid` has ended; takes its exit status.
fn is_reaped(pid: Pid) -> bool {
    let ended = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    !matches!(ended, Ok(status) if status.pid().is_none())
}

/// Reaps the orphans that have ended.
pub fn reap_orphans() {
    let _ = are_orphans_left();
}

/// Reaps the orphans that have ended; whether there are others.
pub fn are_orphans_left() -> bool {
    Orphans::watch().is_some_and(|orphans| !orphans.living().is_empty())
}

/// The pids in a file like `/proc/<pid>/task/<tid>/children`.
///
/// The kernel passes over a child if the one before it ends while the list is read, so that a list
/// counts when it has been read twice. An empty one is always right.
pub fn pids_in(children: &File) -> Vec<Pid> {
    let mut pids = read_pids(children);
    while !pids.is_empty() {
        let again = read_pids(children);
        if again == pids {
            break;
        }
        pids = again;
    }
    pids
}

fn read_pids(children: &File) -> Vec<Pid> {
    let mut text = Vec::new();
    let mut piece = [0; 512];
    while let Ok(count) = children.read_at(&mut piece, text.len() as u64) {
        if count == 0 {
            break;
        }
        text.extend_from_slice(&piece[..count]);
        if count < piece.len() {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let pids = text
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok());
    pids.map(Pid::from_raw).collect()
}

/// The children of `pid`, whichever of its threads started them.
pub fn children(pid: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    threads
        .filter_map(|thread| File::open(thread.path().join("children")).ok())
        .flat_map(|file| pids_in(&file))
        .collect()
}

/// `roots` and all that they started, parents first; without `spared` and what those started.
pub fn trees(roots: Vec<Pid>, spared: &[Pid]) -> Vec<Pid> {
    let mut found: Vec<Pid> = Vec::new();
    let mut level = roots;
    for _ in 0..MAX_DEPTH {
        level.retain(|pid| !spared.contains(pid) && !found.contains(pid));
        if level.is_empty() {
            break;
        }
        found.extend(&level);
        level = level.into_iter().flat_map(children).collect();
    }
    found
}

/// All that descends from us, and has not ended.
pub fn all_of_ours() -> Vec<(Pid, String)> {
    living(|| trees(children(getpid()), &[]))
}

/// Those of the processes that `list` gives which have not ended, with the names of their programs. It
/// is asked again if one has ended: what that one had started is another's child since.
pub fn living(mut list: impl FnMut() -> Vec<Pid>) -> Vec<(Pid, String)> {
    let mut ended = Vec::new();
    loop {
        let known = ended.len();
        let mut found = Vec::new();
        for pid in list() {
            match program(pid) {
                Some(program) => found.push((pid, program)),
                // One that waits for its parent to take notice is there for long.
                None if ended.contains(&pid) => {}
                None => ended.push(pid),
            }
        }
        if ended.len() == known {
            return found;
        }
    }
}

/// The programs that they run.
pub fn names(found: Vec<(Pid, String)>) -> Vec<String> {
    let mut names: Vec<_> = found.into_iter().map(|(_, program)| program).collect();
    names.dedup();
    names
}

/// As [`stop_handler`], where nobody is asked.
pub fn stop(find: impl FnMut() -> Vec<(Pid, String)>, grace: Duration) {
    stop_handler(find, grace, None);
}

/// Ends the processes that `find` gives, which is asked again until it gives none: by SIGTERM, and
/// after `grace` by SIGKILL. `bash` is asked where it is before, if it [can say](says_where_it_is), and ends itself by
/// SIGTERM then. What one that has got SIGTERM starts, in a trap, is left to it; an orphan
/// is not. Blocks until they have ended, for half a second longer at most.
pub fn stop_handler(
    mut find: impl FnMut() -> Vec<(Pid, String)>,
    grace: Duration,
    bash: Option<Pid>,
) {
    let begun = Instant::now();
    let mut asked: Vec<Pid> = Vec::new();
    let mut is_late = false;
    loop {
        let left = find();
        let elapsed = begun.elapsed();
        if left.is_empty() || elapsed > grace + KILL_LIMIT {
            return;
        }
        let is_first = asked.is_empty();
        for (pid, _) in left {
            // It may have ended by itself meanwhile.
            if elapsed >= grace {
                let _ = kill(pid, Signal::SIGKILL);
            } else if bash == Some(pid) && !is_late && elapsed >= grace / 4 {
                // What it waits for does not end.
                is_late = true;
                if has_trap(pid) {
                    let _ = kill(pid, Signal::SIGTERM);
                }
            } else if !asked.contains(&pid) && (is_first || parent(pid) == Some(getpid())) {
                if bash == Some(pid) && says_where_it_is(pid) {
                    sys::send_signal(pid, sys::last_realtime_signal());
                } else {
                    let _ = kill(pid, Signal::SIGTERM);
                }
                // One that is stopped takes no notice before it goes on.
                let _ = kill(pid, Signal::SIGCONT);
                asked.push(pid);
            }
        }
        thread::sleep(STEP);
    }
}

/// Whether the process `pid` is a bash of ours that says where it is as soon as what it waits for has ended, and before it
/// does anything else. While it reads what a substitution prints it would go on with a part of that: then it is no more
/// than asked to end. `proc_pid_syscall(5)`.
fn says_where_it_is(pid: Pid) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let call = call.split_ascii_whitespace().next();
    let wait = libc::SYS_wait4.to_string();
    has_trap(pid) && call.is_some_and(|call| call == "running" || call == wait)
}

/// Whether the process `pid` has a trap for the last realtime signal, and none for the one before: some programs take
/// all. `proc_pid_status(5)`.
fn has_trap(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| {
        let has = |signal: i32| mask >> (signal - 1) & 1 == 1;
        has(sys::last_realtime_signal()) && !has(sys::last_realtime_signal() - 1)
    })
}

/// The state and the parent of a process, and the name of its program; `proc_pid_stat(5)`.
fn stat(pid: Pid) -> Option<(char, Pid, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let program = start.split_once(" (")?.1.to_owned();
    Some((state, Pid::from_raw(parent), program))
}

/// Whether the process `pid` runs, or would if there were a processor for it.
pub fn is_runnable(pid: Pid) -> bool {
    stat(pid).is_some_and(|(state, ..)| state == 'R')
}

/// Whether a signal has stopped the process `pid`.
pub fn is_stopped(pid: Pid) -> bool {
    stat(pid).is_some_and(|(state, ..)| matches!(state, 'T' | 't'))
}

fn parent(pid: Pid) -> Option<Pid> {
    stat(pid).map(|(_, parent, _)| parent)
}

/// The name of the program that the process `pid` runs, without arguments, which may hold the
/// event; `None` if it is gone, or has ended and waits for its parent to take notice.
pub fn program(pid: Pid) -> Option<String> {
    let (state, _, program) = stat(pid)?;
    let is_visible = |character: &char| !character.is_control();
    (!matches!(state, 'Z' | 'X')).then(|| program.chars().filter(is_visible).collect())
}

/// The processes with `mark`, a whole `NAME=VALUE`, in their environment, but for this one; `environ` of
/// `proc(5)`. A zombie has none, and one of another user cannot be read.
pub fn marked(mark: &[u8]) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_other = |pid: &Pid| *pid != Pid::this() && is_marked(*pid, mark);
    pids.map(Pid::from_raw).filter(is_other).collect()
}

/// Whether `pid` has `mark`, a whole `NAME=VALUE`, in the environment that its program was started with.
pub fn is_marked(pid: Pid, mark: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ"));
    environment.is_ok_and(|environment| has_entry(&environment, mark))
}

/// Whether `pid` shows an environment that is not empty.
pub fn shows_environment(pid: Pid) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ"));
    environment.is_ok_and(|environment| !environment.is_empty())
}

/// Whether an environment, a NUL after each entry, has the entry `mark`.
fn has_entry(environment: &[u8], mark: &[u8]) -> bool {
    environment
        .split(|&byte| byte == 0)
        .any(|entry| entry == mark)
}

/// The peak memory of one process; `None` when it has ended.
///
/// Memory is counted as the kernel shares it out, by proportional set size: what several processes
/// map is counted once. The kernel remembers a process's own peak; what it had above what it has
/// now is added. `proc_pid_smaps(5)`, `proc_pid_status(5)`.
pub fn peak_kib(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = field(&status, "VmRSS:")?;
    let most = field(&status, "VmHWM:")?;
    // Where the kernel has none, as under gVisor, resident memory is the next best.
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let shared_out = rollup.and_then(|rollup| field(&rollup, "Pss:"));
    Some(shared_out.unwrap_or(resident) + most.saturating_sub(resident))
}

/// The number in the line that starts with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether one of `pids`, or of what they started, has `file` open under a number that is not one
/// of `besides`; yes, where that is hidden.
pub fn hold(pids: Vec<Pid>, file: impl AsFd, besides: Option<&RangeInclusive<i32>>) -> bool {
    let Ok(wanted) = fstat(file) else {
        return !pids.is_empty();
    };
    trees(pids, &[])
        .into_iter()
        .any(|pid| holds(pid, (wanted.st_dev, wanted.st_ino), besides))
}

/// Whether one of `pids`, or of what they started, has one of `files` open; yes, where that is hidden.
pub fn hold_any(pids: &[Pid], files: &[BorrowedFd]) -> bool {
    let found = files.iter().filter_map(|file| fstat(file).ok());
    let wanted: Vec<_> = found.map(|file| (file.st_dev, file.st_ino)).collect();
    let all = trees(pids.to_vec(), &[]);
    all.into_iter().any(|pid| holds_one(pid, &wanted, |_| true))
}

/// Those of `pids`, and of what they started, that have `file` open; or hide what they have open.
pub fn holders(pids: Vec<Pid>, file: impl AsFd) -> Vec<Pid> {
    let mut found = trees(pids, &[]);
    if let Ok(wanted) = fstat(file) {
        found.retain(|pid| holds(*pid, (wanted.st_dev, wanted.st_ino), None));
    }
    found
}

/// Those of `pids`, and of what they started, that can write to `pipe`; or hide what they have open.
pub fn writers(pids: Vec<Pid>, pipe: impl AsFd) -> Vec<Pid> {
    let mut found = trees(pids, &[]);
    if let Ok(wanted) = fstat(pipe) {
        let wanted = (wanted.st_dev, wanted.st_ino);
        found.retain(|pid| {
            has_open(*pid, wanted, |entry| {
                // The mode of the link is that in which the file is open.
                let link = entry.metadata();
                link.is_ok_and(|link| link.mode() & 0o200 != 0)
            })
        });
    }
    found
}

fn holds(pid: Pid, wanted: (u64, u64), besides: Option<&RangeInclusive<i32>>) -> bool {
    has_open(pid, wanted, |entry| {
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        !number.is_some_and(|number| besides.is_some_and(|besides| besides.contains(&number)))
    })
}

/// Whether `pid` has the file `wanted` open by an entry of its folder `fd` that `counts`; yes, where that is hidden.
fn has_open(pid: Pid, wanted: (u64, u64), counts: impl Fn(&DirEntry) -> bool) -> bool {
    holds_one(pid, &[wanted], counts)
}

fn holds_one(pid: Pid, wanted: &[(u64, u64)], counts: impl Fn(&DirEntry) -> bool) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return program(pid).is_some();
    };
    entries.flatten().any(|entry| {
        counts(&entry)
            && fs::metadata(entry.path())
                .is_ok_and(|open| wanted.contains(&(open.dev(), open.ino())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_compared_by_whole_entries() {
        let environment = b"PATH=/bin\0COSHELL_SANDBOX=1234\0";
        assert!(has_entry(environment, b"COSHELL_SANDBOX=1234"));
        assert!(!has_entry(environment, b"COSHELL_SANDBOX=123"));
    }
}
