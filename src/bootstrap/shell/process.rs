//! The bash process, and our ends of its files and pipes.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::state_pipe::StatePipe;
use super::{protocol, startup_script};
use crate::calls::Calls;
use crate::child::LaneContext;
use coshell_process::{Child, memory_file, response_pipe, text_file};

/// A running bash. The numbers are those of the descriptors in bash.
#[derive(Debug)]
pub(crate) struct Process {
    pub child: Child,
    /// The pipe from which bash reads its script.
    pub script: Arc<File>,
    /// 63: the pipe of the driver's reports.
    pub control: File,
    /// 62: the pipe of the handler's standard output. Reading does not block.
    pub response: File,
    /// 60: what an invocation brings, or commands.
    pub arguments: File,
    /// 61: the event, which is the handler's standard input.
    pub event: File,
    /// 66: the pipe through which bash shows its state.
    pub state: StatePipe,
    /// bash has opened 60 and 61 itself. Then it has an offset of its own in them, which we cannot set.
    pub is_reopened: bool,
}

/// The two halves of the driver, in sealed memory files, which all shells of this process share.
#[derive(Debug)]
struct DriverFiles {
    driver: OwnedFd,
    rare: OwnedFd,
}

impl DriverFiles {
    /// Makes the files for the first shell. Settings and handler, which decide their text, are the same for all shells.
    fn get(cx: LaneContext) -> io::Result<&'static Self> {
        static FILES: OnceLock<DriverFiles> = OnceLock::new();
        if let Some(files) = FILES.get() {
            return Ok(files);
        }
        let (isolation, function) = (cx.config.isolation, cx.handler.label());
        let delivery = cx.delivery();
        let files = Self {
            driver: text_file(
                c"driver",
                &startup_script::driver_text(
                    isolation,
                    delivery,
                    cx.calls.is_some(),
                    cx.calls.is_some_and(Calls::has_jq),
                ),
            )?,
            rare: text_file(c"rare", &startup_script::rare_text(function, delivery))?,
        };
        // If another thread was faster, ours are closed.
        Ok(FILES.get_or_init(|| files))
    }
}

impl Process {
    /// Starts bash, which waits for the first lines of its script.
    pub(crate) fn start(cx: LaneContext) -> io::Result<Self> {
        let arguments = memory_file(c"arguments")?;
        let event = memory_file(c"event")?;
        let (state, state_writer) = StatePipe::open()?;
        let driver_files = DriverFiles::get(cx)?;
        let (script_reader, script) = pipe2(OFlag::O_CLOEXEC)?;
        let (control, control_writer) = pipe2(OFlag::O_CLOEXEC)?;
        let (response, response_writer) = response_pipe()?;
        let nothing = File::open("/dev/null")?;
        let log = cx.logs.pipe();
        let log = log.as_fd();
        let descriptors: [(BorrowedFd, i32); 12] = [
            (nothing.as_fd(), 0),
            (log, 1),
            (log, 2),
            (arguments.as_fd(), protocol::INHERITED_ARGUMENTS),
            (event.as_fd(), protocol::INHERITED_EVENT),
            (response_writer.as_fd(), protocol::INHERITED_RESPONSE),
            (control_writer.as_fd(), protocol::INHERITED_CONTROL),
            (log, protocol::INHERITED_LOG),
            (driver_files.rare.as_fd(), protocol::INHERITED_RARE),
            (state_writer.as_fd(), protocol::INHERITED_STATE),
            (driver_files.driver.as_fd(), protocol::INHERITED_DRIVER),
            (script_reader.as_fd(), protocol::INHERITED_SCRIPT),
        ];
        let argv = [
            CString::new(cx.config.bash.as_os_str().as_bytes())?,
            CString::new(format!("/dev/fd/{}", protocol::INHERITED_SCRIPT))?,
        ];
        Ok(Self {
            child: Child::start(&argv, &cx.environment(), &descriptors)?,
            script: Arc::new(File::from(script)),
            control: File::from(control),
            response,
            arguments,
            event,
            state,
            is_reopened: false,
        })
    }
}
