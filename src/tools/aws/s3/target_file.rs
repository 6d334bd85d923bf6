//! The file that a download becomes: it is put in its place when it is whole.
//!
//! Until then it has no name where the file system can do that, so that nothing is left of it if this process is killed. Elsewhere
//! it is written beside its place.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;

/// The longest name of a file.
const MAX_NAME_BYTES: usize = 255;
/// How many names to try.
const ATTEMPTS: u32 = 16;

/// A file that goes away unless it becomes whole.
#[derive(Debug)]
pub(super) struct TargetFile {
    pub file: File,
    /// Its name until it is whole, once it has one.
    path: PathBuf,
    target: PathBuf,
    is_named: bool,
}

impl TargetFile {
    /// # Errors
    /// The system's.
    pub(super) fn create(target: PathBuf) -> io::Result<Self> {
        if let Ok(file) = without_name(&target) {
            return Ok(Self {
                file,
                path: beside(&target),
                target,
                is_named: false,
            });
        }
        let mut attempt = 1;
        loop {
            let path = beside(&target);
            // Never one that is there, such as a link to elsewhere.
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(Self {
                        file,
                        path,
                        target,
                        is_named: true,
                    });
                }
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What the name has beyond that of the target: `.xxxxxxxx`.
    pub(super) fn suffix(&self) -> String {
        let name = self.path.extension().unwrap_or_default();
        format!(".{}", name.to_string_lossy())
    }

    /// Puts the file in its place, with this time as that of its last change.
    ///
    /// # Errors
    /// The system's: the place is a folder, for example.
    pub(super) fn finish(mut self, modified: Option<SystemTime>) -> io::Result<()> {
        if let Some(time) = modified {
            let times = FileTimes::new().set_modified(time).set_accessed(time);
            // Some file systems have no times.
            let _ = self.file.set_times(times);
        }
        if !self.is_named {
            self.name()?;
        }
        fs::rename(&self.path, &self.target)?;
        self.is_named = false;
        Ok(())
    }
}

impl TargetFile {
    /// Gives the file a name beside its place. No system call puts it into the place of another file at once.
    fn name(&mut self) -> io::Result<()> {
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let mut attempt = 1;
        while let Err(error) = link(&own, &self.path) {
            if error != Errno::EEXIST || attempt == ATTEMPTS {
                return Err(error.into());
            }
            self.path = beside(&self.target);
            attempt += 1;
        }
        self.is_named = true;
        Ok(())
    }
}

impl Drop for TargetFile {
    fn drop(&mut self) {
        if self.is_named {
            // There is nothing else to do about it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file without a name in the folder of the target; `O_TMPFILE` of `open(2)`.
fn without_name(target: &Path) -> io::Result<File> {
    let folder = target.parent().unwrap_or(Path::new("/"));
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(OFlag::O_TMPFILE.bits());
    options.open(folder)
}

fn link(own: &str, path: &Path) -> nix::Result<()> {
    linkat(AT_FDCWD, own, AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)
}

/// A name beside the target that is hardly taken: `NAME.xxxxxxxx`.
fn beside(target: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let clock = clock.map_or(0, |since| since.subsec_nanos());
    let number = clock ^ count.rotate_left(24) ^ std::process::id().rotate_left(12);
    let suffix = format!(".{number:08x}");
    let name = target.file_name().unwrap_or_default().as_bytes();
    let mut name = name[..name.len().min(MAX_NAME_BYTES - suffix.len())].to_vec();
    name.extend_from_slice(suffix.as_bytes());
    target.with_file_name(std::ffi::OsString::from_vec(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_beside_the_target_and_not_too_long() {
        let long = format!("/a/{}", "é".repeat(127));
        for target in ["/a/b", &long] {
            let first = beside(Path::new(target));
            assert_eq!(first.parent(), Some(Path::new("/a")));
            let length = first.file_name().map(|name| name.as_bytes().len());
            assert!(length.is_some_and(|length| length <= MAX_NAME_BYTES));
            assert_ne!(first, beside(Path::new(target)));
        }
    }
}
