//! System calls that nix and signal-hook do not wrap; the only file with `unsafe`.
//!
//! Every function takes and returns typed values and owned descriptors, so no caller needs `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Pid;

/// A descriptor that becomes readable when the child `pid` ends; `pidfd_open(2)`.
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

/// How the child `pid` ended, as `waitpid(2)` reports it; `None` while it runs. nix knows no real-time signals.
///
/// # Errors
/// `ECHILD` if there is no such child, `EINTR`.
pub fn wait_child(pid: Pid, flag: libc::c_int) -> nix::Result<Option<libc::c_int>> {
    let mut status = 0;
    // SAFETY: writes one integer, which outlives the call.
    let waited = unsafe { libc::waitpid(pid.as_raw(), &raw mut status, flag) };
    Ok((Errno::result(waited)? != 0).then_some(status))
}

/// A copy of the descriptor `number` of another process, with the same offset and flags; `pidfd_getfd(2)`.
///
/// # Errors
/// `ENOSYS` before Linux 5.6, `EPERM` if we may not trace the process, `EBADF` if it has no such descriptor.
pub fn copy_descriptor(pidfd: BorrowedFd, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: integers in, an integer out; no memory is passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
    let fd = RawFd::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes writing to a descriptor of another process wait again, if one that shares it has switched that off (`O_NONBLOCK`), or
/// has requested signals (`O_ASYNC`).
///
/// # Errors
/// Those of [`copy_descriptor`].
pub fn make_blocking(pidfd: BorrowedFd, number: RawFd) -> io::Result<()> {
    clear_flag(
        copy_descriptor(pidfd, number)?,
        OFlag::O_NONBLOCK | OFlag::O_ASYNC,
    )
}

/// Sets a flag of an open file of another process; `F_SETFL`.
///
/// # Errors
/// Those of [`copy_descriptor`].
pub fn set_flag(pidfd: BorrowedFd, number: RawFd, flag: OFlag) -> io::Result<()> {
    let file = copy_descriptor(pidfd, number)?;
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    fcntl(&file, FcntlArg::F_SETFL(flags | flag))?;
    Ok(())
}

/// Clears flags of an open file, which a process that shares it may have set; `F_SETFL`.
///
/// # Errors
/// The system's.
pub fn clear_flag(file: impl AsFd, flag: OFlag) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    if flags.intersects(flag) {
        fcntl(&file, FcntlArg::F_SETFL(flags - flag))?;
    }
    Ok(())
}

/// Takes the descriptors that came with a message; `unix(7)`.
pub(crate) fn own_received(numbers: &[RawFd]) -> Vec<OwnedFd> {
    // SAFETY: the kernel has just made these descriptors for this message, and nothing else owns them.
    let own = |number: &RawFd| unsafe { OwnedFd::from_raw_fd(*number) };
    numbers.iter().map(own).collect()
}

/// A soft and a hard limit; `getrlimit(2)`.
pub type Limit = (u64, u64);
/// The value of a limit that does not exist.
pub const NO_LIMIT: u64 = libc::RLIM64_INFINITY;
/// How many resources have a limit.
pub const LIMITED_RESOURCES: usize = 16;
/// The number of the limit of processor time, in seconds.
pub const PROCESSOR_TIME: usize = libc::RLIMIT_CPU as usize;
/// The number of the limit of descriptors.
pub const DESCRIPTORS: usize = libc::RLIMIT_NOFILE as usize;

/// A limit of the process `pid`; `prlimit(2)`.
///
/// # Errors
/// `EPERM` if we may not read it.
pub fn limit(pid: Pid, resource: usize) -> io::Result<Limit> {
    prlimit(pid, resource, None)
}

/// Changes a limit of the process `pid`.
///
/// # Errors
/// `EPERM` if that raises the hard limit, and we may not do that.
pub fn set_limit(pid: Pid, resource: usize, limit: Limit) -> io::Result<()> {
    prlimit(pid, resource, Some(limit)).map(drop)
}

fn prlimit(pid: Pid, resource: usize, set: Option<Limit>) -> io::Result<Limit> {
    let new = set.map(|(rlim_cur, rlim_max)| libc::rlimit64 { rlim_cur, rlim_max });
    let mut old = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let resource = u32::try_from(resource).unwrap_or(u32::MAX);
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel reads one structure, if there is a new limit, and writes another; both outlive the call.
    let status = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid.as_raw(),
            resource,
            new,
            &raw mut old,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((old.rlim_cur, old.rlim_max))
}

/// The nice value of the process `pid`, as the system call returns it: from 40 (highest priority) to 1; `getpriority(2)`.
///
/// # Errors
/// `ESRCH` if there is no such process.
pub fn nice(pid: Pid) -> io::Result<i32> {
    // SAFETY: integers in, an integer out. Unlike the C library's function, the system call is only negative on errors.
    let value = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, pid.as_raw()) };
    if value < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(value).unwrap_or(0))
}

/// Sets the nice value of the process `pid` to one that [`nice`] returned.
///
/// # Errors
/// `EACCES` if that raises its priority, and we may not do that.
pub fn set_nice(pid: Pid, value: i32) -> io::Result<()> {
    // SAFETY: integers in, an integer out.
    let status = unsafe {
        libc::syscall(
            libc::SYS_setpriority,
            libc::PRIO_PROCESS,
            pid.as_raw(),
            20 - value,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How many bytes a pipe contains; `FIONREAD` of `pipe(7)`. 0 if that fails.
pub fn bytes_ready(pipe: impl AsFd) -> usize {
    let mut ready: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, to a variable that outlives the call.
    let status = unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut ready) };
    if status < 0 {
        return 0;
    }
    usize::try_from(ready).unwrap_or(0)
}

/// Marks every descriptor above 2 as close-on-exec, so that the shell does not get those that the platform left open.
///
/// # Errors
/// The system's, if `/proc/self/fd` cannot be listed.
pub fn close_inherited_on_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let fd = entry?.file_name().to_string_lossy().parse::<RawFd>();
        if let Ok(fd) = fd
            && fd > 2
        {
            // SAFETY: sets a flag; no memory is passed. A number that is not open fails with EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Duplicates the descriptor `number`, and marks both as close-on-exec.
///
/// # Errors
/// `EBADF` if it is not open.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: integers in, an integer out. A number that is not open fails with EBADF.
    let fd = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sets a flag; no memory is passed.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Fills `bytes` with random bytes of the system; `getrandom(2)`. Copies of a snapshot get different ones.
///
/// # Errors
/// The system's, if the call is not permitted.
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

/// Lets the child that `command` starts write `0` to each of `files` before it executes the program. This moves the child
/// into a control group; `cgroups(7)`.
pub fn write_zero_before_exec(command: &mut std::process::Command, files: Vec<File>) {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    let write = move || files.iter().try_for_each(|mut file| file.write_all(b"0"));
    // SAFETY: between fork and exec this only calls write(2), for descriptors that are open already.
    unsafe { command.pre_exec(write) };
}

/// Starts the child of `command` in a session of its own, without a terminal; `setsid(2)`.
pub fn start_in_own_session(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let begin = || {
        nix::unistd::setsid()
            .map(drop)
            .map_err(std::io::Error::from)
    };
    // SAFETY: between fork and exec this makes one system call, and uses no memory.
    unsafe { command.pre_exec(begin) };
}

/// Duplicates `fd` to a number that is not below `least`. Children do not get the copy.
///
/// # Errors
/// `EMFILE` if there is no descriptor left.
pub(crate) fn duplicate_above(fd: BorrowedFd, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: integers in, an integer out.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Handles signals that would end us, such as SIGHUP and SIGUSR1, by doing nothing: any process that knows our id can send
/// them. Children inherit ignored signals and not handlers, so we do not ignore them; a signal that was ignored before
/// stays so. Signals for faults of our own, and those that other code handles, are left alone.
pub fn outlive_stray_signals() {
    extern "C" fn do_nothing(_: libc::c_int) {}
    let standard = [
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGIO,
        libc::SIGPWR,
        libc::SIGSTKFLT,
        libc::SIGXCPU,
    ];
    for signal in standard
        .into_iter()
        .chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
    {
        // SAFETY: both structures are whole and outlive the calls. The handler does nothing, which is allowed at any
        // moment.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut action);
            if action.sa_sigaction != libc::SIG_DFL {
                continue;
            }
            action.sa_sigaction = do_nothing as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// The last realtime signal. Our bash has a trap on it that reports its place.
pub(crate) fn last_realtime_signal() -> i32 {
    libc::SIGRTMAX()
}

/// Sends a signal that nix has no name for; `kill(2)`. Does nothing if the process has ended.
pub(crate) fn send_signal(pid: Pid, signal: i32) {
    // SAFETY: two integers in, an integer out.
    unsafe { libc::kill(pid.as_raw(), signal) };
}

/// Lets all threads use one heap; `mallopt(3)`. The C library would give each its own, but our threads are few and rarely
/// run at the same time.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two integers; called before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns freed memory to the system, where the C library can; `malloc_trim(3)`.
pub fn return_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer; glibc allows it at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Something that happened to a process or thread that this thread traces; `ptrace(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceEvent {
    /// It has started a process or a thread, and is stopped.
    Started(Pid),
    /// It is stopped before a signal, 0 for none, which it gets when it [is resumed](resume_traced).
    Stopped(Pid, i32),
    /// A signal has stopped it and its threads, as it would without us.
    GroupStopped(Pid),
    /// It has ended, and [can be reaped](reap_traced).
    Ended(Pid),
}

/// Traces the thread `pid` without stopping it, and all that it starts from now on. This thread has to look for
/// [events](next_trace_event), and lets go of everything when it ends.
///
/// # Errors
/// `EPERM` if that is not permitted, or another traces it; `ESRCH` if it is gone.
pub fn trace(pid: Pid) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACECLONE;
    ptrace(libc::PTRACE_SEIZE, pid, options)
}

/// Lets a traced thread go on that is stopped, with `signal` or, if that is 0, without one. One that is gone is left alone.
pub fn resume_traced(pid: Pid, signal: i32) {
    let _ = ptrace(libc::PTRACE_CONT, pid, signal);
}

/// Leaves a thread stopped that a signal has stopped, until another lets it go on.
pub fn leave_stopped(pid: Pid) {
    let _ = ptrace(libc::PTRACE_LISTEN, pid, 0);
}

fn ptrace(request: libc::c_uint, pid: Pid, data: libc::c_int) -> io::Result<()> {
    let data = libc::c_long::from(data);
    // SAFETY: each of these requests takes an integer as data, and ignores the address.
    let status = unsafe { libc::ptrace(request, pid.as_raw(), 0, data) };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The next event of what this thread traces, without waiting for one. It stays the next until the thread is resumed,
/// left stopped or reaped.
pub fn next_trace_event() -> Option<TraceEvent> {
    let flags = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT;
    let info = wait_traced(libc::P_ALL, 0, flags)?;
    // SAFETY: waitid(2) fills both fields in of what it has found.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let pid = (pid != 0).then(|| Pid::from_raw(pid))?;
    if info.si_code != libc::CLD_TRAPPED {
        return Some(TraceEvent::Ended(pid));
    }
    let (signal, event) = (status & 0xff, status >> 8);
    Some(match event {
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
            TraceEvent::Started(pid)
        }
        // At the start of what is traced, the signal is SIGTRAP.
        libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => TraceEvent::GroupStopped(pid),
        0 => TraceEvent::Stopped(pid, signal),
        _ => TraceEvent::Stopped(pid, 0),
    })
}

/// Takes notice of the end of a traced thread, so that its parent can.
pub fn reap_traced(pid: Pid) {
    let number = libc::id_t::try_from(pid.as_raw()).unwrap_or_default();
    let _ = wait_traced(libc::P_PID, number, libc::WEXITED);
}

fn wait_traced(
    kind: libc::idtype_t,
    number: libc::id_t,
    flags: libc::c_int,
) -> Option<libc::siginfo_t> {
    // Of this thread's alone: other threads have children of their own to wait for.
    let flags = flags | libc::WNOHANG | libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: the structure is plain data, for which zeros are a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes one structure, which outlives the call.
    let status = unsafe { libc::waitid(kind, number, &raw mut info, flags) };
    (status == 0).then_some(info)
}
