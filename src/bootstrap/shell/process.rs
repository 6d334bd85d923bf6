//! The bash process, and our ends of its files and pipes.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::observers::TextTraits;
use super::older;
use super::startup_script::{self, CallForm, DriverText};
use super::state_pipe::StatePipe;
use crate::calls::Calls;
use crate::child::LaneContext;
use crate::child::arguments::write_at_start;
use crate::config::FILE_OPTIONS;
use coshell_driver::fd;
use coshell_process::{Child, empty_text_file, fill_text_file, memory_file, response_pipe};

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
    /// bash is older than 4.4, and has the driver for that.
    pub is_older: bool,
}

/// The parts of the driver, which all shells of this process share: settings and handler, which decide their text, are the
/// same for all of them.
///
/// The files are empty when the first bash inherits them, so that it starts while their texts are built. No shell gets a
/// line of its script before they are filled.
#[derive(Debug)]
struct DriverFiles {
    /// A memory file, sealed when it is filled.
    driver: OwnedFd,
    /// A memory file, sealed when it is filled.
    rare: OwnedFd,
    /// What bash finds in the file of the arguments before its first invocation. It is there when the files are filled.
    invocation: OnceLock<String>,
    /// Held by the lane that fills the files.
    filling: Mutex<()>,
    /// The texts are those for a bash older than 4.4.
    is_older: bool,
}

impl DriverFiles {
    /// Opens the files for the first shell, which may still be empty.
    fn open(is_older: bool) -> io::Result<&'static Self> {
        static FILES: OnceLock<DriverFiles> = OnceLock::new();
        static FOR_OLDER: OnceLock<DriverFiles> = OnceLock::new();
        let once = if is_older { &FOR_OLDER } else { &FILES };
        if let Some(files) = once.get() {
            return Ok(files);
        }
        let files = Self {
            driver: empty_text_file(c"driver")?,
            rare: empty_text_file(c"rare")?,
            invocation: OnceLock::new(),
            filling: Mutex::default(),
            is_older,
        };
        // If another thread was faster, ours are closed.
        Ok(once.get_or_init(|| files))
    }

    /// Fills the files, or waits until another lane has filled them. Returns what goes into the file of the arguments.
    fn fill(&self, cx: LaneContext) -> io::Result<&str> {
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(invocation) = self.invocation.get() {
            return Ok(invocation);
        }
        let (function, is_older) = (cx.handler.label(), self.is_older);
        let file = std::fs::read(&cx.handler.file).unwrap_or_default();
        let traits = TextTraits::of(&file, &cx.config.shell_options);
        let argument_zero = std::env::args().next();
        let driver = DriverText {
            argument_zero: argument_zero.as_deref().unwrap_or("bootstrap"),
            function,
            file: &file,
            traits,
            has_calls: cx.calls.is_some(),
            commands: cx.calls.map_or(&[], Calls::commands),
            is_older,
        };
        fill_text_file(&self.driver, &driver.build())?;
        let form = CallForm {
            isolation: cx.config.isolation,
            delivery: cx.delivery(),
            is_older,
            names_err_trap: traits.names_err_trap,
        };
        fill_text_file(&self.rare, &startup_script::rare_text(function, form))?;
        let invocation = || startup_script::invocation_text(form);
        Ok(self.invocation.get_or_init(invocation))
    }
}

impl Process {
    /// Starts bash, which waits for the first lines of its script. What it reads only then is written while it starts.
    pub(crate) fn start(cx: LaneContext) -> io::Result<Self> {
        let mut arguments = memory_file(c"arguments")?;
        let event = memory_file(c"event")?;
        let (state, state_writer) = StatePipe::open()?;
        let is_older = older::is_older();
        let driver_files = DriverFiles::open(is_older)?;
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
            (arguments.as_fd(), fd::INHERITED_ARGUMENTS),
            (event.as_fd(), fd::INHERITED_EVENT),
            (response_writer.as_fd(), fd::INHERITED_RESPONSE),
            (control_writer.as_fd(), fd::INHERITED_CONTROL),
            (log, fd::INHERITED_LOG),
            (driver_files.rare.as_fd(), fd::INHERITED_RARE),
            (state_writer.as_fd(), fd::INHERITED_STATE),
            (driver_files.driver.as_fd(), fd::INHERITED_DRIVER),
            (script_reader.as_fd(), fd::INHERITED_SCRIPT),
        ];
        let argv = [
            CString::new(cx.config.bash.as_os_str().as_bytes())?,
            CString::new(format!("/dev/fd/{}", fd::INHERITED_SCRIPT))?,
        ];
        let mut environment = cx.environment();
        environment.iter_mut().for_each(remove_file_options);
        let child = Child::start(&argv, &environment, &descriptors)?;
        let invocation = driver_files.fill(cx)?;
        write_at_start(&mut arguments, &[invocation.as_bytes()])?;
        Ok(Self {
            child,
            script: Arc::new(File::from(script)),
            control: File::from(control),
            response,
            arguments,
            event,
            state,
            is_reopened: false,
            is_older,
        })
    }
}

/// Takes the options that bash gets with the file out of `SHELLOPTS=...`.
fn remove_file_options(variable: &mut CString) {
    let Some(names) = variable
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("SHELLOPTS="))
    else {
        return;
    };
    let is_kept = |name: &&str| FILE_OPTIONS.iter().all(|(moved, _)| moved != name);
    let kept: Vec<_> = names.split(':').filter(is_kept).collect();
    *variable = CString::new(format!("SHELLOPTS={}", kept.join(":"))).unwrap_or_default();
}
