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
use std::os::unix::fs::FileExt;

use memchr::memchr;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::{Running, Words};
use crate::child::Surroundings;
use crate::child::arguments::{self, Arguments, Separator};
use crate::error::{Error, Result};
use crate::failure::find_line;
use crate::invocation::Invocation;
use crate::wait::Limit;
use coshell_handler::Frame;
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
    around: Surroundings<'a>,
    /// The name of bash, its options, and the script.
    words: Vec<CString>,
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
    words: File,
}

impl<'a> Script<'a> {
    /// Starts the first bash, and checks the syntax of the script meanwhile.
    ///
    /// # Errors
    /// [`Error::LoadHandler`] for a syntax error, [`Error::StartShell`] without a bash,
    /// [`Error::Stopped`].
    pub(crate) fn start(around: Surroundings<'a>, interpreter: &Interpreter) -> Result<Self> {
        let (config, handler) = (around.config, around.handler);
        let failed = |error: io::Error| Error::start_shell(&config.bash, &error);
        let text = without_comments(include_str!("../../../runtime-scripts/script.bash"));
        let end = without_comments(include_str!("../../../runtime-scripts/script_end.bash"));
        let words = || -> io::Result<Vec<CString>> {
            let mut words = vec![CString::new(config.bash.as_os_str().as_bytes())?];
            for option in &interpreter.start_options {
                words.push(CString::new(option.as_str())?);
            }
            words.push(CString::new(handler.file.as_os_str().as_bytes())?);
            for argument in &handler.arguments {
                words.push(CString::new(argument.as_bytes())?);
            }
            Ok(words)
        };
        let mut script = Self {
            around,
            words: words().map_err(failed)?,
            environment: environment(around, interpreter),
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
        script.version = waiting.until_ready(around)?;
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
        match waiting.until_ready(self.around) {
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
    pub(crate) fn run(&mut self, invocation: &Invocation) -> std::result::Result<Running, String> {
        // Somebody may have killed it.
        let alive = |mut waiting: Waiting| waiting.child.status().is_none().then_some(waiting);
        let mut waiting = if let Some(waiting) = self.waiting.take().and_then(alive) {
            waiting
        } else {
            let mut waiting = self.begin().map_err(|error| error.to_string())?;
            let ready = waiting.until_ready(self.around);
            ready.map_err(|error| error.to_string())?;
            waiting
        };
        let separator = Separator::suited_to(self.version, invocation);
        waiting
            .give(invocation, separator)
            .map_err(|error| error.to_string())?;
        Ok(Running {
            child: waiting.child,
            response: waiting.response,
            event: waiting.event,
            words: Some(waiting.words),
        })
    }

    fn begin(&self) -> io::Result<Waiting> {
        let (event, fields) = (memory_file(c"event")?, memory_file(c"fields")?);
        let words = memory_file(c"words")?;
        let (response, response_in) = response_pipe()?;
        let (word_out, word) = pipe2(OFlag::O_CLOEXEC)?;
        let log = self.around.logs.pipe();
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
        let place = format!("/proc/{}/fd/{}", std::process::id(), words.as_raw_fd());
        environment.push(CString::new(format!("__driver_words={place}"))?);
        let place = format!("/proc/{}/fd/{}", std::process::id(), self.end.as_raw_fd());
        environment.push(CString::new(format!("__driver_end={place}"))?);
        let script = self.around.handler.file.as_os_str().as_bytes();
        environment.push(CString::new([b"__driver_script=", script].concat())?);
        Ok(Waiting {
            child: Child::start(&self.words, &environment, &descriptors)?,
            response,
            event,
            fields,
            word: sys::file(word),
            words,
        })
    }
}

/// The environment, with what script.bash is told.
fn environment(around: Surroundings, interpreter: &Interpreter) -> Vec<CString> {
    let mut is_posix = interpreter.is_posix;
    let mut environment = Vec::new();
    for pair in around.environment() {
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
    if around.delivery().is_argument() {
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
    fn until_ready(&mut self, around: Surroundings) -> Result<(u32, u32)> {
        let mut limit = Limit::new(around.signals, None);
        let mut told = Vec::new();
        while memchr(b'\0', &told).is_none() {
            let sources = [Some(self.response.as_fd()), Some(self.child.ended())];
            match limit.ready(sources, None) {
                Err(_) => return Err(Error::Stopped),
                Ok([true, _]) => {
                    let mut piece = [0; 64];
                    match self.response.read(&mut piece) {
                        Ok(count @ 1..) if told.len() < MAX_READY_BYTES => {
                            told.extend_from_slice(&piece[..count]);
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Ok(_) | Err(_) => return Err(self.not_ready(around)),
                    }
                }
                Ok(_) => return Err(self.not_ready(around)),
            }
        }
        let text = String::from_utf8_lossy(&told);
        let text = text.trim_end_matches('\0').trim_start_matches("ready ");
        Ok(version(text))
    }

    fn not_ready(&mut self, around: Surroundings) -> Error {
        self.child.kill();
        around.logs.drain();
        Error::StartShell {
            bash: around.config.bash.clone(),
            cause: format!("ended when it started{}", quoted(&around.logs.tail())),
        }
    }

    /// Lays the event out, and lets bash go on.
    fn give(&mut self, invocation: &Invocation, separator: Separator) -> io::Result<()> {
        arguments::put(&mut self.event, &[invocation.input()])?;
        Arguments::fixed(invocation, separator).put(&mut self.fields)?;
        self.word.write_all(match separator {
            Separator::Nul => b"\n",
            Separator::Newline => b"newlines\n",
        })
    }
}
