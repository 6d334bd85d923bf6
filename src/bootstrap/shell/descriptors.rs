//! The descriptors and the folder that bash has by rights, and those that a handler left it with.
//!
//! Read from /proc after the answer, when nobody waits.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{readlink, readlinkat};
use nix::sys::stat::fstat;
use nix::unistd::Pid;

/// The control pipe's copy, the log's, the seldom half of the driver, the state, bash's own script: closing
/// one changes the number of descriptors, and nobody opens another file in its place by chance.
const COUNTED: [i32; 5] = [63, 64, 65, 66, 255];

/// Whether the descriptor `fd` of the process `bash` is `file`, be it the other end of the pipe; also where that is
/// not shown.
pub(crate) fn leads_to(bash: Pid, fd: i32, file: impl AsFd) -> bool {
    let Ok(open) = fs::metadata(format!("/proc/{bash}/fd/{fd}")) else {
        return !Path::new(&format!("/proc/{bash}/fd")).exists();
    };
    let wanted = fstat(file);
    wanted.is_ok_and(|wanted| (wanted.st_dev, wanted.st_ino) == (open.dev(), open.ino()))
}

/// How far the process `bash` has read what it has open as `number`; `proc_pid_fdinfo(5)`. `None` where that is not shown.
pub(crate) fn position(bash: Pid, number: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{bash}/fdinfo/{number}")).ok()?;
    let position = text.lines().find_map(|line| line.strip_prefix("pos:"))?;
    position.trim().parse().ok()
}

/// What /proc shows of bash, kept open: an open file costs a fourth of what opening it does.
#[derive(Debug)]
pub(crate) struct Watch {
    bash: Pid,
    descriptors: File,
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
    pub(crate) fn start(bash: Pid) -> Option<Self> {
        let mut watch = Self {
            bash,
            descriptors: File::open(format!("/proc/{bash}/fd")).ok()?,
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
    pub(crate) fn renew(&mut self) {
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
    pub(crate) fn left_directory(&self) -> Option<&OsStr> {
        let was = self.directory.as_deref()?;
        (self.directory_now()? != was).then_some(was)
    }

    /// Whether the stderr of bash leads to where it did.
    pub(crate) fn has_log(&self) -> bool {
        self.link(2) == self.log
    }

    /// The descriptors that bash has beyond those that it has by rights: they can be closed.
    /// `None` if one of the others is closed, or leads elsewhere: that cannot be mended.
    pub(crate) fn added_descriptors(&self) -> Option<Vec<i32>> {
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
}
