//! Files and pipes without a path, for a process that we start.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::pwrite;
use nix::unistd::pipe2;

/// So much of a response the handler can write without waiting for us. Linux allows any user this size (`pipe(7)`).
const RESPONSE_PIPE_BYTES: i32 = 1024 * 1024;

/// The most links to descriptors that are followed; `path_resolution(7)` has 40 for all links.
const MAX_LINKS: usize = 8;

/// The path by which this process finds a file that another process names. Names of descriptors are that process's, too, in any
/// spelling, and links to them.
pub fn path_of(pid: i32, name: &Path) -> PathBuf {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let folder = process.join("cwd");
    let mut wanted = name.to_owned();
    for _ in 0..MAX_LINKS {
        if wanted.is_relative()
            && let Ok(present) = fs::read_link(&folder)
        {
            wanted = present.join(wanted);
        }
        if let Some(path) = own_path(&process, &without_dots(&wanted)) {
            return path;
        }
        let Ok(target) = fs::read_link(&wanted) else {
            break;
        };
        wanted = wanted.parent().unwrap_or(Path::new("/")).join(target);
    }
    // An absolute path replaces the folder.
    folder.join(name)
}

/// A path that means another file for each process, as that of this process.
fn own_path(process: &Path, name: &Path) -> Option<PathBuf> {
    for (prefix, folder) in [
        ("/dev/fd", "fd"),
        ("/proc/self", ""),
        ("/proc/thread-self", ""),
        ("/dev/stdin", "fd/0"),
        ("/dev/stdout", "fd/1"),
        ("/dev/stderr", "fd/2"),
    ] {
        if let Ok(rest) = name.strip_prefix(prefix) {
            let path = process.join(folder);
            // A slash at the end would make it a folder.
            let is_whole = rest.as_os_str().is_empty();
            return Some(if is_whole { path } else { path.join(rest) });
        }
    }
    name.starts_with(process.join("fd"))
        .then(|| name.to_owned())
}

/// The same path without `.` and `..`, if it is in `/dev` or `/proc`.
fn without_dots(path: &Path) -> PathBuf {
    if !path.starts_with("/dev") && !path.starts_with("/proc") {
        return path.to_owned();
    }
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// An empty file in memory; `memfd_create(2)`. `name` only shows in `/proc`.
///
/// # Errors
/// The system's, if there is no descriptor left.
pub fn memory_file(name: &CStr) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// A file in memory that contains `text`. It is sealed, because the handler could open it and change it.
///
/// # Errors
/// The system's, if there is no descriptor or memory left.
pub fn text_file(name: &CStr, text: &str) -> io::Result<OwnedFd> {
    let file = empty_text_file(name)?;
    fill_text_file(&file, text)?;
    Ok(file)
}

/// A file in memory that gets its text later, with [`fill_text_file`]: also after a process has inherited it.
///
/// # Errors
/// The system's, if there is no descriptor left.
pub fn empty_text_file(name: &CStr) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    Ok(memfd_create(name, flags)?)
}

/// Writes `text` to an [`empty_text_file`], and seals it. Who has inherited the file reads it from its start.
///
/// # Errors
/// The system's, if there is no memory left.
pub fn fill_text_file(file: &OwnedFd, text: &str) -> io::Result<()> {
    pwrite(file, text.as_bytes(), 0)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
    Ok(())
}

/// A pipe for responses: our end, which does not block, and the handler's end.
///
/// # Errors
/// The system's, if there is no descriptor left.
pub fn response_pipe() -> io::Result<(File, OwnedFd)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // A smaller pipe works too: the handler then waits while we read.
    let _ = fcntl(&ours, FcntlArg::F_SETPIPE_SZ(RESPONSE_PIPE_BYTES));
    Ok((File::from(ours), theirs))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn descriptors_are_those_of_the_other_process_in_any_spelling() {
        let folder = std::env::temp_dir().join(format!("coshell-paths-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let link = |name: &str, target: &str| {
            let path = folder.join(name);
            let _ = fs::remove_file(&path);
            symlink(target, &path).expect("a link");
            path
        };
        let (one, two, far) = (
            link("one", "/dev/stdin"),
            link("two", "one"),
            link("far", "/dev/fd/8"),
        );
        let other = 1;
        for (name, expected) in [
            ("/dev/stdin", "/proc/1/fd/0"),
            ("//dev//stdin", "/proc/1/fd/0"),
            ("/dev/./../dev/stdin", "/proc/1/fd/0"),
            ("/dev/fd/7", "/proc/1/fd/7"),
            ("/proc/self/fd/../fd/7", "/proc/1/fd/7"),
            ("/proc/self/cwd", "/proc/1/cwd"),
            (one.to_str().expect("text"), "/proc/1/fd/0"),
            (two.to_str().expect("text"), "/proc/1/fd/0"),
            (far.to_str().expect("text"), "/proc/1/fd/8"),
            ("/dev/null", "/dev/null"),
            ("/etc/../etc/passwd", "/etc/../etc/passwd"),
        ] {
            assert_eq!(
                path_of(other, Path::new(name)),
                Path::new(expected),
                "{name}"
            );
        }
        fs::remove_dir_all(folder).expect("removed");
    }
}
