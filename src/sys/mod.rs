//! The system calls that nix and signal-hook don't wrap; the only room for `unsafe`.
//!
//! Each function hands out owned descriptors and typed values, so that no caller needs
//! an `unsafe` block of its own.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::unistd::Pid;

/// A descriptor that becomes readable when the child `pid` has ended; `pidfd_open(2)`.
///
/// # Errors
/// `ENOSYS` before Linux 5.3, `ESRCH` if there is no such process.
pub fn open_pidfd(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: two integers in, an integer out; no memory is passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = RawFd::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How many bytes can be read from a pipe at once now; `FIONREAD` of `pipe(7)`.
#[must_use]
pub fn bytes_ready(pipe: impl AsFd) -> usize {
    let mut ready: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, to a variable that outlives the call.
    let status = unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut ready) };
    if status < 0 {
        return 0;
    }
    usize::try_from(ready).unwrap_or(0)
}

/// Marks every descriptor above 2 close-on-exec, so that the shell starts with ours alone,
/// whatever the platform left open for us.
///
/// # Errors
/// When `/proc/self/fd` cannot be listed.
pub fn close_inherited_on_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let fd = entry?.file_name().to_string_lossy().parse::<RawFd>();
        if let Ok(fd) = fd
            && fd > 2
        {
            // SAFETY: sets a flag; no memory is passed, and a number that is closed by now is
            // refused with EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// A descriptor of ours for what is open as `number`, and neither of them for what we start.
///
/// # Errors
/// `EBADF` if nothing is.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: integers in, an integer out; a number that is not open is refused.
    let fd = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sets a flag; no memory is passed.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    Ok(owned(fd))
}

/// Fills `bytes` from the system's source of random bytes, which copies of a snapshot do not share; `getrandom(2)`.
///
/// # Errors
/// The system's, where the call is not permitted.
pub fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let rest @ [_, ..] = &mut bytes[filled..] {
        // SAFETY: writes at most the length of `rest`, which outlives the call, to where it is.
        let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => filled += count,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// Has what `command` starts write `0` to each of these, itself and before it is the program: so one enters a
/// control group; `cgroups(7)`.
#[cfg(feature = "compare")]
pub fn write_zero_before_exec(command: &mut std::process::Command, files: Vec<File>) {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    let write = move || files.iter().try_for_each(|mut file| file.write_all(b"0"));
    // SAFETY: between fork and exec this does nothing but write(2), to descriptors that were opened before.
    unsafe { command.pre_exec(write) };
}

/// A file from an owned descriptor; keeps `From` conversions out of the callers' way.
#[must_use]
pub fn file(fd: OwnedFd) -> File {
    File::from(fd)
}

/// Takes ownership of a descriptor that a system call has just made, where nix hands out its number
/// alone.
#[must_use]
pub fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: callers pass what F_DUPFD_CLOEXEC returned, which nothing else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Keeps all threads to one heap, where the C library would give each its own; `mallopt(3)`. Ours
/// are few and seldom run at once, and each shell starts one.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two integers; called before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives memory that was freed back to the system, where the C library can; `malloc_trim(3)`.
pub fn return_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer; glibc allows it at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
