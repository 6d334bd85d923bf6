//! Files and pipes without a name, for a process that we start.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::pwrite;
use nix::unistd::pipe2;

use crate::sys;

/// How much of a response fits into the pipe while the handler goes on; what Linux allows anyone.
const RESPONSE_PIPE_BYTES: i32 = 1024 * 1024;

/// A file without a name.
///
/// # Errors
/// The system's, when there is no descriptor left.
pub fn memory_file(name: &CStr) -> io::Result<File> {
    Ok(sys::file(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// A file without a name that holds `text`, which nobody can change: the handler could open it.
///
/// # Errors
/// The system's, when there is no descriptor or memory left.
pub fn text_file(name: &CStr, text: &str) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    pwrite(&file, text.as_bytes(), 0)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
    Ok(file)
}

/// A pipe for responses: our end, which does not block, and the handler's.
///
/// # Errors
/// The system's, when there is no descriptor left.
pub fn response_pipe() -> io::Result<(File, OwnedFd)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // A smaller pipe does too: the handler waits then while we read.
    let _ = fcntl(&ours, FcntlArg::F_SETPIPE_SZ(RESPONSE_PIPE_BYTES));
    Ok((sys::file(ours), theirs))
}
