//! What an invocation left behind: processes, and descriptors of the shell.
//!
//! Read from /proc after the answer, when nobody waits. Every process that a handler starts is a
//! descendant of bash, or, once its parents have ended, a child of ours (we are a subreaper).

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};

/// A process that outlived its invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its process id.
    pub pid: Pid,
    /// Its command line, cut short; empty if it could not be read.
    pub command: String,
}

impl Leftover {
    /// Whether the process, or one that it started, has `file` open; yes, if that is hidden.
    #[must_use]
    pub fn holds(&self, file: &File) -> bool {
        let Ok(wanted) = file.metadata() else { return true };
        holds(self.pid, (wanted.dev(), wanted.ino()), 0)
    }
}

fn holds(pid: Pid, wanted: (u64, u64), depth: u32) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Leftover::look_up(pid).is_some();
    };
    let found = entries.flatten().any(|entry| {
        fs::metadata(entry.path()).is_ok_and(|open| (open.dev(), open.ino()) == wanted)
    });
    // A tree that is deeper than this is not looked through.
    found
        || depth > 32
        || children(pid).unwrap_or_default().into_iter().any(|child| holds(child, wanted, depth + 1))
}

/// The descriptors of a process and its directory, as links of /proc.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptors {
    links: Vec<(i32, PathBuf)>,
    directory: PathBuf,
}

impl Descriptors {
    /// Reads those of `pid`; `None` where /proc does not show them.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        let folder = format!("/proc/{pid}/fd");
        let mut links = Vec::with_capacity(12);
        for entry in fs::read_dir(&folder).ok()? {
            let Ok(fd) = entry.ok()?.file_name().to_string_lossy().parse::<i32>() else { continue };
            links.push((fd, fs::read_link(format!("{folder}/{fd}")).unwrap_or_default()));
        }
        links.sort_unstable();
        let directory = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        Some(Self { links, directory })
    }

    /// Those that `now` has and this had not: they can be closed.
    #[must_use]
    pub fn added_in(&self, now: &Self) -> Vec<i32> {
        let had = |fd: i32| self.links.iter().any(|(known, _)| *known == fd);
        now.links.iter().map(|(fd, _)| *fd).filter(|fd| !had(*fd)).collect()
    }

    /// Whether one of these is closed in `now`, or leads elsewhere: that cannot be mended.
    #[must_use]
    pub fn lost_in(&self, now: &Self) -> bool {
        self.links.iter().any(|link| !now.links.contains(link))
    }

    /// Takes over where `fd` leads to in `now`.
    pub fn follow(&mut self, now: &Self, fd: i32) {
        self.links.retain(|(known, _)| *known != fd);
        self.links.extend(now.links.iter().filter(|(known, _)| *known == fd).cloned());
        self.links.sort_unstable();
    }

    /// Whether the process is in another directory now, whatever its `$PWD` says.
    #[must_use]
    pub fn moved_in(&self, now: &Self) -> bool {
        self.directory != now.directory
    }
}

/// The processes that are left of what the shell `bash` ran: its children, and those of ours
/// that are not `bash`. Takes the exit status of ours that have ended. `known` are not told
/// again. `None` where /proc does not show children.
#[must_use]
pub fn processes(bash: Pid) -> Option<Vec<Pid>> {
    let mut pids = children(bash)?;
    for child in children(getpid())? {
        if child == bash {
            continue;
        }
        let ended = waitpid(child, Some(WaitPidFlag::WNOHANG));
        if matches!(ended, Ok(status) if status.pid().is_none()) {
            pids.push(child);
        }
    }
    Some(pids)
}

fn children(parent: Pid) -> Option<Vec<Pid>> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let pids = text.split_ascii_whitespace().filter_map(|word| word.parse().ok());
    Some(pids.map(Pid::from_raw).collect())
}

impl Leftover {
    /// Looks `pid` up; `None` if it is gone, or has ended and waits for bash to take notice.
    #[must_use]
    pub fn look_up(pid: Pid) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let state = status.rsplit(") ").next()?.chars().next()?;
        if matches!(state, 'Z' | 'X') {
            return None;
        }
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words: Vec<_> = line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
        let command: String = String::from_utf8_lossy(&words.join(&b' ')).chars().take(80).collect();
        Some(Self { pid, command })
    }
}
