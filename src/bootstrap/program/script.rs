//! A whole script, in a bash that was started before its event came.
//!
//! bash gets runtime-scripts/script.bash as `BASH_ENV`, which it reads before it opens the script:
//! there it waits. So starting bash is paid while nobody waits (`bench/README.md`: 0.43 ms in place
//! of 1.58), and what runs then is the script itself: its `$0`, its line numbers, `return` outside of
//! functions refused, and its text read anew for each event. Neighbour: `mod.rs` waits for the end.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use memchr::memchr;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::running::EventProcess;
use crate::child::LaneContext;
use crate::child::arguments::{self, Arguments, Separator};
use crate::error::{Error, Result};
use crate::invocation::Invocation;
use crate::wait::Limit;
use coshell_handler::Interpreter;
use coshell_handler::bash::{quote, version, without_comments};
use coshell_handler::{no_commands, quoted, syntax_error};
use coshell_process::sys;
use coshell_process::{Child, memory_file, response_pipe, text_file};

/// Descriptors of the bash that waits; script.bash closes them.
const FIELDS: i32 = 70;
const TEXT: i32 = 76;
const WORD: i32 = 77;

/// What a bash that is there says has fewer.
const MAX_READY_BYTES: usize = 4096;
/// Variables that keep bash from reading `BASH_ENV`, or that are `BASH_ENV`: script.bash gives
/// them back.
const WITHHELD: [&[u8]; 2] = [b"BASH_ENV=", b"POSIXLY_CORRECT="];

/// How the bash of each event is started, and the one that waits.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    cx: LaneContext<'a>,
    /// The name of bash, its options, and the script.
    argv: Vec<CString>,
    environment: Vec<CString>,
    text: OwnedFd,
    /// What the script tells at its end.
    end: OwnedFd,
    version: (u32, u32),
    waiting: Option<Waiting>,
}

/// A bash that waits for its event.
#[derive(Debug)]
struct Waiting {
    child: Child,
    response: File,
    event: File,
    fields: File,
    word: File,
    exit_trace: File,
}

impl<'a> Script<'a> {
    /// Starts the first bash, and checks the syntax of the script meanwhile.
    ///
    /// # Errors
    /// [`Error::LoadHandler`] for a syntax error, [`Error::StartShell`] without a bash,
    /// [`Error::Stopped`].
    pub(crate) fn start(cx: LaneContext<'a>, interpreter: &Interpreter) -> Result<Self> {
        let (config, handler) = (cx.config, cx.handler);
        let failed = |error: io::Error| Error::start_shell(&config.bash, &error);
        let text = without_comments(include_str!("../../../runtime-scripts/script.bash"));
        let end = without_comments(include_str!("../../../runtime-scripts/script_end.bash"));
        let argv = || -> io::Result<Vec<CString>> {
            let mut argv = vec![CString::new(config.bash.as_os_str().as_bytes())?];
            for option in &interpreter.start_options {
                argv.push(CString::new(option.as_str())?);
            }
            argv.push(CString::new(handler.file.as_os_str().as_bytes())?);
            for argument in &handler.arguments {
                argv.push(CString::new(argument.as_bytes())?);
            }
            Ok(argv)
        };
        let mut script = Self {
            cx,
            argv: argv().map_err(failed)?,
            environment: environment(cx, interpreter),
            text: text_file(c"script", &text).map_err(failed)?,
            end: text_file(c"script_end", &end).map_err(failed)?,
            version: (0, 0),
            waiting: None,
        };
        let mut waiting = script.begin().map_err(failed)?;
        if let Some(error) =
            syntax_error(&config.bash, handler).or_else(|| no_commands(&config.bash, handler))
        {
            return Err(error.into());
        }
        script.version = waiting.until_ready(cx)?;
        script.waiting = Some(waiting);
        Ok(script)
    }

    /// Starts the next bash, and waits until it can take an event.
    ///
    /// # Errors
    /// [`Error::Stopped`]. If bash does not come up it is tried again when the event is there, and
    /// told of then.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        if self.waiting.is_some() {
            return Ok(());
        }
        let Ok(mut waiting) = self.begin() else {
            return Ok(());
        };
        match waiting.until_ready(self.cx) {
            Ok(_) => self.waiting = Some(waiting),
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(_) => {}
        }
        Ok(())
    }

    /// Ends the bash that waits.
    pub(crate) fn forget(&mut self) {
        self.waiting = None;
    }

    /// Gives the event to the bash that waits, or to a new one.
    ///
    /// # Errors
    /// Why there is no bash, in words.
    pub(crate) fn run(
        &mut self,
        invocation: &Invocation,
    ) -> std::result::Result<EventProcess, String> {
        // Somebody may have killed it.
        let alive = |mut waiting: Waiting| waiting.child.status().is_none().then_some(waiting);
        let mut waiting = if let Some(waiting) = self.waiting.take().and_then(alive) {
            waiting
        } else {
            let mut waiting = self.begin().map_err(|error| error.to_string())?;
            let ready = waiting.until_ready(self.cx);
            ready.map_err(|error| error.to_string())?;
            waiting
        };
        let separator = Separator::fastest_for(self.version, invocation);
        waiting
            .give(invocation, separator)
            .map_err(|error| error.to_string())?;
        Ok(EventProcess {
            child: waiting.child,
            response: waiting.response,
            event: waiting.event,
            exit_trace: Some(waiting.exit_trace),
        })
    }

    fn begin(&self) -> io::Result<Waiting> {
        let (event, fields) = (memory_file(c"event")?, memory_file(c"fields")?);
        let exit_trace = memory_file(c"exit-trace")?;
        let (response, response_in) = response_pipe()?;
        let (word_out, word) = pipe2(OFlag::O_CLOEXEC)?;
        let log = self.cx.logs.pipe();
        let log = log.as_fd();
        let descriptors = [
            (event.as_fd(), 0),
            (response_in.as_fd(), 1),
            (log, 2),
            (fields.as_fd(), FIELDS),
            (self.text.as_fd(), TEXT),
            (word_out.as_fd(), WORD),
        ];
        let mut environment = self.environment.clone();
        // By our own folder: the script has no descriptor of ours.
        let place = format!("/proc/{}/fd/{}", std::process::id(), exit_trace.as_raw_fd());
        environment.push(CString::new(format!("__driver_words={place}"))?);
        let place = format!("/proc/{}/fd/{}", std::process::id(), self.end.as_raw_fd());
        environment.push(CString::new(format!("__driver_end={place}"))?);
        let script = self.cx.handler.file.as_os_str().as_bytes();
        environment.push(CString::new([b"__driver_script=", script].concat())?);
        Ok(Waiting {
            child: Child::start(&self.argv, &environment, &descriptors)?,
            response,
            event,
            fields,
            word: sys::file(word),
            exit_trace,
        })
    }
}

/// The environment, with what script.bash is told.
fn environment(cx: LaneContext, interpreter: &Interpreter) -> Vec<CString> {
    let mut is_posix = interpreter.is_posix;
    let mut environment = Vec::new();
    for pair in cx.environment() {
        let bytes = pair.as_bytes();
        if let Some(value) = bytes.strip_prefix(WITHHELD[0]) {
            let kept = [b"__driver_bash_env=", value].concat();
            environment.extend(CString::new(kept));
        } else if bytes.starts_with(WITHHELD[1]) {
            is_posix = true;
        } else {
            environment.push(pair);
        }
    }
    let mut told = vec![format!("BASH_ENV=/dev/fd/{TEXT}")];
    if cx.delivery().is_argument() {
        told.push("__driver_event=1".to_owned());
    }
    if is_posix {
        told.push("__driver_posix=1".to_owned());
    }
    if !interpreter.options.is_empty() {
        let options = interpreter.options.iter().map(|word| quote(word));
        let options: Vec<_> = options.collect();
        told.push(format!("__driver_options={}", options.join(" ")));
    }
    environment.extend(told.into_iter().filter_map(|pair| CString::new(pair).ok()));
    environment
}

impl Waiting {
    /// Waits until bash waits; its version. It says so where the response will be.
    fn until_ready(&mut self, cx: LaneContext) -> Result<(u32, u32)> {
        let mut limit = Limit::new(cx.signals, None);
        let mut told = Vec::new();
        while memchr(b'\0', &told).is_none() {
            let sources = [Some(self.response.as_fd()), Some(self.child.ended())];
            match limit.wait_readable(sources, None) {
                Err(_) => return Err(Error::Stopped),
                Ok([true, _]) => {
                    let mut piece = [0; 64];
                    match self.response.read(&mut piece) {
                        Ok(count @ 1..) if told.len() < MAX_READY_BYTES => {
                            told.extend_from_slice(&piece[..count]);
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Ok(_) | Err(_) => return Err(self.not_ready(cx)),
                    }
                }
                Ok(_) => return Err(self.not_ready(cx)),
            }
        }
        let text = String::from_utf8_lossy(&told);
        let text = text.trim_end_matches('\0').trim_start_matches("ready ");
        Ok(version(text))
    }

    fn not_ready(&mut self, cx: LaneContext) -> Error {
        self.child.kill();
        cx.logs.drain();
        Error::StartShell {
            bash: cx.config.bash.clone(),
            cause: format!("ended when it started{}", quoted(&cx.logs.tail())),
        }
    }

    /// Lays the event out, and lets bash go on.
    fn give(&mut self, invocation: &Invocation, separator: Separator) -> io::Result<()> {
        arguments::write_at_start(&mut self.event, &[invocation.stdin_bytes()])?;
        Arguments::event_first(invocation, separator).write_to(&mut self.fields)?;
        self.word.write_all(match separator {
            Separator::Nul => b"\n",
            Separator::Newline => b"newlines\n",
        })
    }
}
