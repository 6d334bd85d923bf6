//! The bash coprocess: a child with the descriptors that lead to it.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::state_pipe::StatePipe;
use super::{protocol, start_lines};
use crate::child::LaneContext;
use coshell_process::sys;
use coshell_process::{Child, memory_file, response_pipe, text_file};

/// A running bash and our ends of what leads to it.
#[derive(Debug)]
pub(crate) struct Process {
    /// bash itself.
    pub child: Child,
    /// Our end of its script.
    pub script: Arc<File>,
    /// What the driver tells us.
    pub control: File,
    /// The handler's standard output; not blocking.
    pub response: File,
    /// Descriptor 60: what an invocation brings.
    pub arguments: File,
    /// Descriptor 61: the event, as the handler's standard input.
    pub event: File,
    /// Where it shows its state.
    pub state: StatePipe,
    /// It has opened its files itself: where it is in them we cannot set.
    pub is_reopened: bool,
}

/// What bash reads of ours: the same files for every bash, which nobody can change, and each opens them anew.
#[derive(Debug)]
struct Scripts {
    driver: OwnedFd,
    rare: OwnedFd,
}

impl Scripts {
    fn of(cx: LaneContext) -> io::Result<&'static Self> {
        static MADE: OnceLock<Scripts> = OnceLock::new();
        if let Some(made) = MADE.get() {
            return Ok(made);
        }
        let (isolation, function) = (cx.config.isolation, cx.handler.label());
        let delivery = cx.delivery();
        let scripts = Self {
            driver: text_file(c"driver", &start_lines::driver(isolation, delivery))?,
            rare: text_file(c"seldom", &start_lines::rare(function, delivery))?,
        };
        // Another thread may have been faster: one of the two is closed again.
        Ok(MADE.get_or_init(|| scripts))
    }
}

impl Process {
    /// Starts bash, which reads the driver when the first lines are written to its script.
    ///
    /// # Errors
    /// The system's, when there is no such program, or no descriptor or process left.
    pub(crate) fn start(cx: LaneContext) -> io::Result<Self> {
        let arguments = memory_file(c"arguments")?;
        let event = memory_file(c"event")?;
        let (state, state_in) = StatePipe::open()?;
        let scripts = Scripts::of(cx)?;
        let (script_out, script) = pipe2(OFlag::O_CLOEXEC)?;
        let (control, control_in) = pipe2(OFlag::O_CLOEXEC)?;
        let (response, response_in) = response_pipe()?;
        let nothing = File::open("/dev/null")?;
        let log = cx.logs.pipe();
        let log = log.as_fd();
        let descriptors: [(BorrowedFd, i32); 12] = [
            (nothing.as_fd(), 0),
            (log, 1),
            (log, 2),
            (arguments.as_fd(), protocol::INHERITED_ARGUMENTS),
            (event.as_fd(), protocol::INHERITED_EVENT),
            (response_in.as_fd(), protocol::INHERITED_RESPONSE),
            (control_in.as_fd(), protocol::INHERITED_CONTROL),
            (log, protocol::INHERITED_LOG),
            (scripts.rare.as_fd(), protocol::INHERITED_RARE),
            (state_in.as_fd(), protocol::INHERITED_STATE),
            (scripts.driver.as_fd(), protocol::INHERITED_DRIVER),
            (script_out.as_fd(), protocol::INHERITED_SCRIPT),
        ];
        let words = [
            CString::new(cx.config.bash.as_os_str().as_bytes())?,
            CString::new(format!("/dev/fd/{}", protocol::INHERITED_SCRIPT))?,
        ];
        Ok(Self {
            child: Child::start(&words, &cx.environment(), &descriptors)?,
            script: Arc::new(sys::file(script)),
            control: sys::file(control),
            response,
            arguments,
            event,
            state,
            is_reopened: false,
        })
    }
}
