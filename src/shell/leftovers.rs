//! What an invocation left behind: processes, and descriptors of the shell.
//!
//! Read from /proc after the answer, when nobody waits. Every process that a handler starts is a
//! descendant of bash, or, once its parents have ended, a child of ours (we are a subreaper).

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::fcntl::{readlink, readlinkat};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};

use super::protocol::OUR_DESCRIPTORS;

/// A process that outlived its invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its process id.
    pub pid: Pid,
    /// The name of its program; without arguments, which may hold the event.
    pub program: String,
}

impl Leftover {
    /// Whether the process, or one that it started, has `file` open; yes, if that is hidden. The
    /// numbers of our own descriptors do not count: a subshell has them, and makes no use of them.
    #[must_use]
    pub fn holds(&self, file: &File) -> bool {
        let Ok(wanted) = file.metadata() else {
            return true;
        };
        holds(self.pid, (wanted.dev(), wanted.ino()), 0)
    }
}

fn holds(pid: Pid, wanted: (u64, u64), depth: u32) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Leftover::look_up(pid).is_some();
    };
    let found = entries.flatten().any(|entry| {
        !is_ours(&entry.file_name())
            && fs::metadata(entry.path()).is_ok_and(|open| (open.dev(), open.ino()) == wanted)
    });
    // A tree that is deeper than this is not looked through.
    found
        || depth > 32
        || children(pid)
            .into_iter()
            .any(|child| holds(child, wanted, depth + 1))
}

fn is_ours(name: &OsStr) -> bool {
    name.to_str()
        .and_then(|name| name.parse().ok())
        .is_some_and(|fd| OUR_DESCRIPTORS.contains(&fd))
}

/// The control pipe's copy, the log's, the seldom half of the driver, bash's own script: closing
/// one changes the number of descriptors, and nobody opens another file in its place by chance.
const COUNTED: [i32; 4] = [63, 64, 65, 255];

/// What /proc shows of bash, kept open: an open file costs a fourth of what opening it does.
#[derive(Debug)]
pub struct Watch {
    bash: Pid,
    descriptors: File,
    children_of_bash: File,
    children_of_ours: File,
    /// How many descriptors bash has, as the kernel counts them from 6.2 on; 0 before.
    count: u64,
    /// Where its stderr leads to.
    log: Option<OsString>,
    /// The directory that it is in.
    directory: Option<OsString>,
    /// Those of [`COUNTED`] that bash has.
    counted: Vec<i32>,
    /// Each other descriptor that bash has by rights, but 0 and 1, and where it leads to.
    links: Vec<(i32, OsString)>,
}

impl Watch {
    /// Starts from what the process `bash` has now. `None` where /proc does not show it.
    #[must_use]
    pub fn start(bash: Pid) -> Option<Self> {
        let mut watch = Self {
            bash,
            descriptors: File::open(format!("/proc/{bash}/fd")).ok()?,
            children_of_bash: File::open(format!("/proc/{bash}/task/{bash}/children")).ok()?,
            children_of_ours: File::open(format!("/proc/self/task/{}/children", getpid())).ok()?,
            count: 0,
            log: None,
            directory: None,
            counted: Vec::new(),
            links: Vec::new(),
        };
        watch.renew();
        Some(watch)
    }

    /// Takes what bash has now for what it has by rights.
    pub fn renew(&mut self) {
        self.directory = self.directory_now();
        self.log = self.link(2);
        self.count = self.descriptors.metadata().map_or(0, |folder| folder.len());
        let numbers = self
            .numbers()
            .unwrap_or_default()
            .into_iter()
            .filter(|fd| *fd > 2);
        let (counted, linked) = numbers.partition::<Vec<_>, _>(|fd| COUNTED.contains(fd));
        self.counted = counted;
        let link = |fd| (fd, self.link(fd).unwrap_or_default());
        self.links = linked.into_iter().map(link).collect();
    }

    fn numbers(&self) -> Option<Vec<i32>> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.bash)).ok()?;
        let names = entries.flatten().map(|entry| entry.file_name());
        Some(
            names
                .filter_map(|name| name.to_string_lossy().parse().ok())
                .collect(),
        )
    }

    fn link(&self, fd: i32) -> Option<OsString> {
        readlinkat(&self.descriptors, fd.to_string().as_str()).ok()
    }

    fn directory_now(&self) -> Option<OsString> {
        readlink(format!("/proc/{}/cwd", self.bash).as_str()).ok()
    }

    /// The directory that bash was in, if it has left it.
    #[must_use]
    pub fn left_directory(&self) -> Option<&OsStr> {
        let was = self.directory.as_deref()?;
        (self.directory_now()? != was).then_some(was)
    }

    /// Whether the stderr of bash leads to where it did.
    #[must_use]
    pub fn has_log(&self) -> bool {
        self.link(2) == self.log
    }

    /// The descriptors that bash has beyond those that it has by rights: they can be closed.
    /// `None` if one of the others is closed, or leads elsewhere: that cannot be mended.
    #[must_use]
    pub fn added_descriptors(&self) -> Option<Vec<i32>> {
        if self
            .links
            .iter()
            .any(|(fd, link)| self.link(*fd).as_ref() != Some(link))
        {
            return None;
        }
        let count = self.descriptors.metadata().map_or(0, |folder| folder.len());
        if count == self.count && count > 0 {
            return Some(Vec::new());
        }
        let mut numbers = self.numbers()?;
        if self.counted.iter().any(|fd| !numbers.contains(fd)) {
            return None;
        }
        let linked = |fd: i32| self.links.iter().any(|(known, _)| *known == fd);
        numbers.retain(|fd| *fd > 2 && !self.counted.contains(fd) && !linked(*fd));
        Some(numbers)
    }

    /// The processes that are left of what bash ran: its children, and those of ours that are
    /// not bash. Takes the exit status of ours that have ended.
    #[must_use]
    pub fn processes(&self) -> Vec<Pid> {
        let mut pids = pids_in(&self.children_of_bash);
        for child in pids_in(&self.children_of_ours) {
            if child == self.bash {
                continue;
            }
            let ended = waitpid(child, Some(WaitPidFlag::WNOHANG));
            if matches!(ended, Ok(status) if status.pid().is_none()) {
                pids.push(child);
            }
        }
        pids
    }
}

fn pids_in(children: &File) -> Vec<Pid> {
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

fn children(parent: Pid) -> Vec<Pid> {
    File::open(format!("/proc/{parent}/task/{parent}/children"))
        .map(|file| pids_in(&file))
        .unwrap_or_default()
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
        let program = status.split_once(" (")?.1.rsplit_once(") ")?.0;
        let program = program.chars().filter(|character| !character.is_control());
        Some(Self {
            pid,
            program: program.collect(),
        })
    }
}
