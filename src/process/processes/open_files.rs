//! Which processes have a file or a pipe open.
//!
//! Each function looks at `pids` and at their descendants. A process that hides its descriptors counts as having the file
//! open.

use std::fs::{self, DirEntry};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use nix::sys::stat::fstat;
use nix::unistd::Pid;

use super::status::program_name;
use super::tree::with_descendants;

/// A device and an inode.
type FileId = (u64, u64);

/// Whether a process has `file` open under a number that is not in `except`.
pub fn any_has_open(pids: Vec<Pid>, file: impl AsFd, except: Option<&RangeInclusive<i32>>) -> bool {
    let Some(wanted) = id_of(file) else {
        return !pids.is_empty();
    };
    let has_other_number = |entry: &DirEntry| {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        !number.is_some_and(|number| except.is_some_and(|except| except.contains(&number)))
    };
    with_descendants(pids, &[])
        .into_iter()
        .any(|pid| has_open(pid, &[wanted], has_other_number))
}

/// Whether a process has one of `files` open.
pub fn any_has_one_open(pids: &[Pid], files: &[BorrowedFd]) -> bool {
    let wanted: Vec<_> = files.iter().filter_map(id_of).collect();
    with_descendants(pids.to_vec(), &[])
        .into_iter()
        .any(|pid| has_open(pid, &wanted, |_| true))
}

/// The processes that have `file` open.
pub fn find_holders(pids: Vec<Pid>, file: impl AsFd) -> Vec<Pid> {
    let mut found = with_descendants(pids, &[]);
    if let Some(wanted) = id_of(file) {
        found.retain(|pid| has_open(*pid, &[wanted], |_| true));
    }
    found
}

/// The processes that can write to `pipe`.
pub fn find_writers(pids: Vec<Pid>, pipe: impl AsFd) -> Vec<Pid> {
    let mut found = with_descendants(pids, &[]);
    if let Some(wanted) = id_of(pipe) {
        let is_writable = |entry: &DirEntry| {
            // The mode of the link is the mode in which the file is open.
            let link = entry.metadata();
            link.is_ok_and(|link| link.mode() & 0o200 != 0)
        };
        found.retain(|pid| has_open(*pid, &[wanted], is_writable));
    }
    found
}

fn id_of(file: impl AsFd) -> Option<FileId> {
    let found = fstat(file).ok()?;
    Some((found.st_dev, found.st_ino))
}

/// Whether `pid` has one of the files `wanted` open, by an entry of its folder `fd` that `counts`.
fn has_open(pid: Pid, wanted: &[FileId], counts: impl Fn(&DirEntry) -> bool) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return program_name(pid).is_some();
    };
    entries.flatten().any(|entry| {
        counts(&entry)
            && fs::metadata(entry.path())
                .is_ok_and(|open| wanted.contains(&(open.dev(), open.ino())))
    })
}
