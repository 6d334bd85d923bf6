//! The initial descriptors and directory of bash, and how the present ones differ from them.
//!
//! Read from /proc after an answer. bash itself need not be involved.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coshell_driver::fd;
use coshell_process::sys;
use nix::errno::Errno;
use nix::fcntl::{OFlag, readlink, readlinkat};
use nix::sys::stat::fstat;
use nix::unistd::Pid;

/// Whether the descriptor `fd` of the process `bash` is `file`, or the other end of the same pipe. Also true where
/// /proc does not show descriptors.
pub(crate) fn leads_to(bash: Pid, fd: i32, file: impl AsFd) -> bool {
    let Ok(open) = fs::metadata(format!("/proc/{bash}/fd/{fd}")) else {
        return !Path::new(&format!("/proc/{bash}/fd")).exists();
    };
    let wanted = fstat(file);
    wanted.is_ok_and(|wanted| (wanted.st_dev, wanted.st_ino) == (open.dev(), open.ino()))
}

/// Whether the process `bash` has no descriptor `number`. False where /proc does not show descriptors.
pub(crate) fn is_closed(bash: Pid, number: i32) -> bool {
    let folder = format!("/proc/{bash}/fd");
    match readlink(format!("{folder}/{number}").as_str()) {
        // While bash redirects to 64, it keeps a file at the next free number, which may be that of a file in memory.
        Ok(link) => number == fd::RARE && !link.as_encoded_bytes().starts_with(b"/memfd:"),
        Err(error) => error == Errno::ENOENT && Path::new(&folder).exists(),
    }
}

/// The offset of the descriptor `fd` of the process `bash`; `proc_pid_fdinfo(5)`. `None` where /proc does not show it.
pub(crate) fn offset(bash: Pid, fd: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{bash}/fdinfo/{fd}")).ok()?;
    let offset = text.lines().find_map(|line| line.strip_prefix("pos:"))?;
    offset.trim().parse().ok()
}

/// The descriptors and the directory that bash had initially. The folder in /proc stays open: reading it again then
/// takes a quarter of the time.
#[derive(Debug)]
pub(crate) struct ProcBaseline {
    bash: Pid,
    descriptors: File,
    /// The number of descriptors, which the kernel shows from 6.2 on; 0 before.
    count: u64,
    /// Where stderr leads.
    log: Option<OsString>,
    directory: Option<OsString>,
    /// Every descriptor from 3 on.
    descriptors_had: Vec<Descriptor>,
}

/// A descriptor as /proc shows it.
#[derive(Debug, PartialEq, Eq)]
struct Descriptor {
    number: i32,
    /// Where it leads. A pipe has its number here, but a file only its path.
    link: OsString,
    /// Of a file with a path, which ours do not have: device, inode, and the flags with which it was opened.
    file: Option<(u64, u64, String)>,
}

impl ProcBaseline {
    /// Records what the process `bash` has now. `None` where /proc does not show it.
    pub(crate) fn record(bash: Pid) -> Option<Self> {
        let mut baseline = Self {
            bash,
            descriptors: File::open(format!("/proc/{bash}/fd")).ok()?,
            count: 0,
            log: None,
            directory: None,
            descriptors_had: Vec::new(),
        };
        baseline.update();
        Some(baseline)
    }

    /// Records what bash has now.
    pub(crate) fn update(&mut self) {
        self.directory = self.present_directory();
        self.log = self.link(2);
        self.count = self.present_count();
        let numbers = self
            .present_numbers()
            .unwrap_or_default()
            .into_iter()
            .filter(|fd| *fd > 2);
        self.descriptors_had = numbers.filter_map(|fd| self.descriptor(fd)).collect();
    }

    /// Marks the regular files that bash has open, by a flag that has no effect on such a file. If an event opens one of them
    /// anew, which has a position of its own, the flag is missing.
    pub(crate) fn mark_files(&mut self, pidfd: BorrowedFd) {
        for had in self.descriptors_had.iter().filter(|had| had.file.is_some()) {
            let path = format!("/proc/{}/fd/{}", self.bash, had.number);
            if fs::metadata(path).is_ok_and(|file| file.is_file()) {
                // Where the kernel does not let us, such a file looks the same.
                let _ = sys::set_flag(pidfd, had.number, OFlag::O_NONBLOCK);
            }
        }
        self.update();
    }

    fn present_count(&self) -> u64 {
        self.descriptors.metadata().map_or(0, |folder| folder.len())
    }

    fn present_numbers(&self) -> Option<Vec<i32>> {
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

    fn descriptor(&self, number: i32) -> Option<Descriptor> {
        let link = self.link(number)?;
        let text = link.as_encoded_bytes();
        let file = if text.starts_with(b"/") && !text.starts_with(b"/memfd:") {
            let path = format!("/proc/{}/fd/{number}", self.bash);
            let metadata = fs::metadata(path).ok()?;
            let info = fs::read_to_string(format!("/proc/{}/fdinfo/{number}", self.bash)).ok()?;
            let flags = info.lines().find(|line| line.starts_with("flags:"));
            Some((metadata.dev(), metadata.ino(), flags?.to_owned()))
        } else {
            None
        };
        Some(Descriptor { number, link, file })
    }

    fn present_directory(&self) -> Option<OsString> {
        readlink(format!("/proc/{}/cwd", self.bash).as_str()).ok()
    }

    /// The initial directory, if bash is in another one now.
    pub(crate) fn left_directory(&self) -> Option<&OsStr> {
        let initial = self.directory.as_deref()?;
        (self.present_directory()? != initial).then_some(initial)
    }

    /// Whether stderr leads where it did initially.
    pub(crate) fn has_log(&self) -> bool {
        self.link(2) == self.log
    }

    /// The descriptors that were added, which can be closed. `None` if one of the initial ones is closed or leads
    /// elsewhere, which cannot be undone.
    pub(crate) fn added_descriptors(&self) -> Option<Vec<i32>> {
        let is_same = |had: &Descriptor| self.descriptor(had.number).as_ref() == Some(had);
        if !self.descriptors_had.iter().all(is_same) {
            return None;
        }
        let count = self.present_count();
        if count == self.count && count > 0 {
            return Some(Vec::new());
        }
        let mut numbers = self.present_numbers()?;
        let was_there = |fd: i32| self.descriptors_had.iter().any(|had| had.number == fd);
        numbers.retain(|fd| *fd > 2 && !was_there(*fd));
        Some(numbers)
    }
}
