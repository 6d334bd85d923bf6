//! One bash: started with our descriptors, waited for, killed.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::uio::pwrite;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};

use super::protocol;
use crate::sys;

/// How much of a response fits into the pipe while bash goes on; what Linux allows anyone.
const RESPONSE_PIPE_BYTES: i32 = 1024 * 1024;
/// The platform's own: no business of the handler's, and useless without its protocol.
const WITHHELD_VARIABLES: [&str; 1] = ["_LAMBDA_TELEMETRY_LOG_FD"];

/// A running bash and our ends of what leads to it.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    ended: OwnedFd,
    /// Our end of its script.
    pub script: File,
    /// What the driver tells us.
    pub control: File,
    /// The handler's standard output; not blocking.
    pub response: File,
    /// Descriptor 60: what an invocation brings.
    pub arguments: File,
    /// Descriptor 61: the event, as the handler's standard input.
    pub event: File,
    /// The read end of its stderr, until somebody carries it.
    pub stderr: Option<OwnedFd>,
    status: Option<WaitStatus>,
}

impl Process {
    /// Starts `bash`, which reads the driver when the first lines are written to its script.
    ///
    /// # Errors
    /// The system's, when there is no such program, or no descriptor or process left.
    pub fn start(bash: &Path) -> io::Result<Self> {
        let arguments = memfd_create(c"arguments", MFdFlags::MFD_CLOEXEC)?;
        let event = memfd_create(c"event", MFdFlags::MFD_CLOEXEC)?;
        let driver = text_file(c"driver", &protocol::driver())?;
        let seldom = text_file(c"seldom", &protocol::seldom())?;
        let (script_out, script) = pipe2(OFlag::O_CLOEXEC)?;
        let (control, control_in) = pipe2(OFlag::O_CLOEXEC)?;
        let (response, response_in) = response_pipe()?;
        let (stderr, stderr_in) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&stderr, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;

        let mut actions = PosixSpawnFileActions::init()?;
        let nothing = OwnedFd::from(File::open("/dev/null")?);
        let given: [(&OwnedFd, i32); 11] = [
            (&nothing, 0),
            (&stderr_in, 1),
            (&stderr_in, 2),
            (&arguments, protocol::INHERITED_ARGUMENTS),
            (&event, protocol::INHERITED_EVENT),
            (&response_in, protocol::INHERITED_RESPONSE),
            (&control_in, protocol::INHERITED_CONTROL),
            (&stderr_in, protocol::INHERITED_LOG),
            (&seldom, protocol::INHERITED_SELDOM),
            (&driver, protocol::INHERITED_DRIVER),
            (&script_out, protocol::INHERITED_SCRIPT),
        ];
        for (fd, number) in given {
            actions.add_dup2(fd.as_raw_fd(), number)?;
        }
        let script_path = format!("/dev/fd/{}", protocol::INHERITED_SCRIPT);
        let arguments_of_bash = [bash.as_os_str().as_bytes(), script_path.as_bytes()];
        let pid = posix_spawnp(
            &CString::new(bash.as_os_str().as_bytes())?,
            &actions,
            &attributes()?,
            &arguments_of_bash.map(|word| CString::new(word).unwrap_or_default()),
            &environment(),
        )?;
        Ok(Self {
            pid,
            ended: sys::open_pidfd(pid)?,
            script: sys::file(script),
            control: sys::file(control),
            response: sys::file(response),
            arguments: sys::file(arguments),
            event: sys::file(event),
            stderr: Some(stderr),
            status: None,
        })
    }

    /// The process id; also the id of its process group.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable when bash has ended.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// How bash ended, once it has; `None` while it runs. Never blocks.
    pub fn status(&mut self) -> Option<WaitStatus> {
        if self.status.is_none() {
            self.status = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => None,
                Ok(status) => Some(status),
                Err(_) => Some(WaitStatus::Exited(self.pid, 127)),
            };
        }
        self.status
    }

    /// Kills bash alone, unless it has ended, and waits for its end.
    pub fn kill(&mut self) {
        if self.status().is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        while self.status.is_none() {
            match waitpid(self.pid, None) {
                Err(Errno::EINTR) => {}
                Ok(status) => self.status = Some(status),
                Err(_) => self.status = Some(WaitStatus::Exited(self.pid, 127)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A file without a name that holds `text`, which nobody can change: the handler could open it.
fn text_file(name: &CStr, text: &str) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    pwrite(&file, text.as_bytes(), 0)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
    Ok(file)
}

/// A pipe for responses: our end, which does not block, and bash's.
///
/// # Errors
/// The system's, when there is no descriptor left.
pub fn response_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // A smaller pipe does too: bash waits then while we read.
    let _ = fcntl(&ours, FcntlArg::F_SETPIPE_SZ(RESPONSE_PIPE_BYTES));
    Ok((ours, theirs))
}

/// A process group of its own, so that `kill 0` in a handler does not reach us; and the signals
/// that this program ignores or blocks as bash expects them.
fn attributes() -> io::Result<PosixSpawnAttr> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    let mut defaults = SigSet::empty();
    defaults.add(Signal::SIGPIPE);
    attributes.set_sigdefault(&defaults)?;
    attributes.set_sigmask(&SigSet::empty())?;
    Ok(attributes)
}

fn environment() -> Vec<CString> {
    std::env::vars_os()
        .filter(|(name, _)| !WITHHELD_VARIABLES.iter().any(|withheld| name == withheld))
        .filter_map(|(name, value)| {
            let mut pair = name;
            pair.push("=");
            pair.push(value);
            CString::new(pair.into_vec()).ok()
        })
        .collect()
}
