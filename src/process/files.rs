//! Files and pipes without a path, for a process that we start.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::pwrite;
use nix::unistd::pipe2;

/// So much of a response the handler can write without waiting for us. Linux allows any user this size (`pipe(7)`).
const RESPONSE_PIPE_BYTES: i32 = 1024 * 1024;

/// The path by which this process finds a file that another process names. Names of descriptors are that process's, too.
pub fn path_of(pid: i32, name: &Path) -> PathBuf {
    let process = PathBuf::from(format!("/proc/{pid}"));
    for (prefix, folder) in [
        ("/dev/fd", "fd"),
        ("/proc/self", ""),
        ("/proc/thread-self", ""),
    ] {
        if let Ok(rest) = name.strip_prefix(prefix) {
            return process.join(folder).join(rest);
        }
    }
    match name.as_os_str().as_bytes() {
        b"/dev/stdin" => process.join("fd/0"),
        b"/dev/stdout" => process.join("fd/1"),
        b"/dev/stderr" => process.join("fd/2"),
        // An absolute path replaces the folder.
        _ => process.join("cwd").join(name),
    }
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
