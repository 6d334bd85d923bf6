//! Runs a whole script in a standby bash, which was started before the event arrived.
//!
//! bash gets runtime-scripts/script.bash as `BASH_ENV`. It reads that before it opens the script, and waits in it for the
//! event. So an event does not wait for bash to start (0.43 ms instead of 1.58, see `bench/README.md`). Then bash runs the
//! script itself, so that `$0`, line numbers and errors are the usual ones, and the file is read again for each event.

use std::borrow::Cow;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::iter;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::thread;

use memchr::memchr;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::event_process::{EventProcess, ExitTracePipe};
use super::start_error;
use crate::calls;
use crate::child::arguments::{self, Arguments, Separator};
use crate::child::{LaneContext, idle_cause};
use crate::error::{Error, Result};
use crate::invocation::Invocation;
use crate::wait::Limit;
use coshell_driver::{fd, names, record, script as driver};
use coshell_handler::Interpreter;
use coshell_handler::bash::{parse_version, quote};
use coshell_handler::{check_runs_commands, check_syntax, quote_log_tail};
use coshell_process::{Child, ExitStatus, memory_file, response_pipe, text_file};

/// The first bash that knows the arguments of its script when it reads `BASH_ENV`, so that script.bash can add one.
const KNOWS_ITS_ARGUMENTS: (u32, u32) = (5, 0);
/// The first bash that does not read fields with NULs a byte at a time.
const READS_NUL_IN_BLOCKS: (u32, u32) = (5, 2);

/// A longer message cannot be the one with which bash reports that it is ready.
const MAX_READY_BYTES: usize = 4096;
const BASH_ENV: &[u8] = b"BASH_ENV=";
/// In POSIX mode bash does not read `BASH_ENV`. Nor does it with some of the options in `SHELLOPTS`, and with others it would
/// show our commands.
const POSIX_MODE: &[u8] = b"POSIXLY_CORRECT=";
const SHELL_OPTIONS: &[u8] = b"SHELLOPTS=";

/// Starts a bash for each event, and keeps the standby one.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    cx: LaneContext<'a>,
    /// bash and its options.
    bash: Vec<CString>,
    /// The file that bash runs.
    file: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// `script.bash`.
    startup_script: OwnedFd,
    /// The functions of coshell, if the script names their file.
    functions: Option<OwnedFd>,
    /// bash's version, major and minor.
    version: (u32, u32),
    standby: Option<StandbyBash>,
}

/// A bash that waits for its event.
#[derive(Debug)]
struct StandbyBash {
    child: Child,
    response: File,
    event: File,
    fields: File,
    go_ahead: File,
    exit_trace: ExitTracePipe,
}

impl<'a> Script<'a> {
    /// Starts the first bash, and checks the syntax of the script meanwhile.
    ///
    /// # Errors
    /// [`Error::LoadHandler`] for a syntax error or a script without commands, [`Error::StartShell`] if bash does not start, and
    /// [`Error::Stopped`].
    pub(crate) fn start(cx: LaneContext<'a>, interpreter: &Interpreter) -> Result<Self> {
        let (config, handler) = (cx.config, cx.handler);
        let failed = |error: io::Error| Error::start_shell(&config.bash, &error);
        let word =
            |word: &OsStr| CString::new(word.as_bytes()).map_err(|error| failed(error.into()));
        let options = interpreter.start_options.iter().map(OsStr::new);
        if let Some(cause) = idle_cause() {
            let bash = config.bash.clone();
            return Err(Error::StartShell { bash, cause });
        }
        let functions = cx.calls.map(|calls| {
            let text = calls::script_text(calls.paths(), calls.commands());
            text_file(c"functions", &text).map_err(failed)
        });
        let mut script = Self {
            cx,
            functions: functions.transpose()?,
            bash: iter::once(config.bash.as_os_str())
                .chain(options)
                .map(word)
                .collect::<Result<_>>()?,
            file: c"/dev/null".to_owned(),
            arguments: (handler.arguments.iter().map(|argument| word(argument)))
                .collect::<Result<_>>()?,
            environment: environment(cx, interpreter),
            startup_script: text_file(c"script", driver::SCRIPT).map_err(failed)?,
            version: (0, 0),
            standby: None,
        };
        // A bash that does not read `BASH_ENV` runs its file at once, without an event. So the first one gets an empty file,
        // and ends when it has reported its version.
        let mut first = script.start_bash(None).map_err(failed)?;
        thread::scope(|scope| -> Result<()> {
            let check = scope.spawn(|| {
                check_syntax(&config.bash, handler)
                    .or_else(|| check_runs_commands(&config.bash, handler))
            });
            script.version = first.wait_until_ready(cx)?;
            script.file = word(handler.file.as_os_str())?;
            script.start_standby()?;
            let error = check.join().unwrap_or_default();
            error.map_or(Ok(()), |error| Err(error.into()))
        })?;
        Ok(script)
    }

    /// Starts the standby bash, if there is none, and waits until it is ready.
    ///
    /// # Errors
    /// [`Error::Stopped`]. If bash does not start, the next event tries again and reports the failure.
    pub(crate) fn start_standby(&mut self) -> Result<()> {
        if self.standby.is_some() || self.has_event_in_argv() {
            return Ok(());
        }
        let Ok(mut bash) = self.start_bash(None) else {
            return Ok(());
        };
        match bash.wait_until_ready(self.cx) {
            Ok(_) => self.standby = Some(bash),
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(_) => {}
        }
        Ok(())
    }

    pub(crate) fn stop_standby(&mut self) {
        self.standby = None;
    }

    /// Gives the event to the standby bash, or to a new one.
    ///
    /// # Errors
    /// The cause, if bash does not start.
    pub(crate) fn run(
        &mut self,
        invocation: &Invocation,
    ) -> std::result::Result<EventProcess, String> {
        // Another process may have killed it.
        let is_alive = |mut bash: StandbyBash| bash.child.status().is_none().then_some(bash);
        let mut bash = if let Some(bash) = self.standby.take().and_then(is_alive) {
            bash
        } else {
            let event = self.has_event_in_argv().then_some(invocation);
            let mut bash = self.start_bash(event).map_err(|error| match event {
                Some(invocation) => start_error(&error, invocation),
                None => error.to_string(),
            })?;
            let ready = bash.wait_until_ready(self.cx);
            ready.map_err(|error| error.to_string())?;
            bash
        };
        bash.send(invocation, self.version)
            .map_err(|error| error.to_string())?;
        Ok(EventProcess {
            child: bash.child,
            response: bash.response,
            event: bash.event,
            exit_trace: Some(bash.exit_trace),
        })
    }

    /// True if bash has to get the event as an argument when it starts. Before 5.0 bash sets the positional parameters after it
    /// has read `BASH_ENV`, so script.bash cannot add one.
    fn has_event_in_argv(&self) -> bool {
        self.version < KNOWS_ITS_ARGUMENTS && self.cx.delivery().is_argument()
    }

    /// Starts a bash that waits for its event, with that of `invocation` as its last argument if there is one.
    fn start_bash(&self, invocation: Option<&Invocation>) -> io::Result<StandbyBash> {
        let (event, fields) = (memory_file(c"event")?, memory_file(c"fields")?);
        // A limit of file sizes (`ulimit -f`) does not hold for a pipe.
        let (reader, writer) = response_pipe()?;
        let exit_trace = ExitTracePipe {
            reader,
            writer,
            switch: UnixDatagram::unbound()?.into(),
        };
        let (response, response_in) = response_pipe()?;
        let (go_ahead_out, go_ahead) = pipe2(OFlag::O_CLOEXEC)?;
        let log = self.cx.logs.pipe();
        let log = log.as_fd();
        let descriptors = [
            (event.as_fd(), 0),
            (response_in.as_fd(), 1),
            (log, 2),
            (fields.as_fd(), fd::INHERITED_ARGUMENTS),
            (self.startup_script.as_fd(), fd::INHERITED_SCRIPT_TEXT),
            (go_ahead_out.as_fd(), fd::INHERITED_SCRIPT_TURN),
        ];
        let mut environment = self.environment.clone();
        // bash opens these through our folder in /proc: the script itself gets no descriptor of ours.
        let folder = format!("/proc/{}/fd", std::process::id());
        let (pipe, switch) = (exit_trace.writer.as_raw_fd(), exit_trace.switch.as_raw_fd());
        environment.push(CString::new(format!(
            "{}={folder} {pipe} {switch}",
            names::EXIT_TRACE
        ))?);
        if let Some(functions) = &self.functions {
            let (name, number) = (calls::FUNCTIONS_VARIABLE, functions.as_raw_fd());
            environment.push(CString::new(format!("{name}={folder}/{number}"))?);
        }
        let mut argv = self.bash.clone();
        argv.push(self.file.clone());
        argv.extend_from_slice(&self.arguments);
        if let Some(invocation) = invocation {
            argv.push(CString::new(&*invocation.argument())?);
        }
        environment.push(CString::new(
            [names::SCRIPT.as_bytes(), b"=", self.file.as_bytes()].concat(),
        )?);
        Ok(StandbyBash {
            child: Child::start(&argv, &environment, &descriptors)?,
            response,
            event,
            fields,
            go_ahead: File::from(go_ahead),
            exit_trace,
        })
    }
}

/// The environment of the standby bash: that of the handler, with the variables that script.bash reads and removes.
fn environment(cx: LaneContext, interpreter: &Interpreter) -> Vec<CString> {
    let (mut is_posix, mut options) = (interpreter.is_posix, interpreter.options.clone());
    let mut commands = String::new();
    let mut environment = Vec::new();
    for pair in cx.environment() {
        let bytes = pair.as_bytes();
        if let Some(value) = bytes.strip_prefix(BASH_ENV) {
            let saved = [names::BASH_ENV.as_bytes(), b"=", value].concat();
            environment.extend(CString::new(saved));
        } else if bytes.starts_with(POSIX_MODE) {
            is_posix = true;
        } else if let Some(value) = bytes.strip_prefix(SHELL_OPTIONS) {
            "builtin export SHELLOPTS;".clone_into(&mut commands);
            for name in String::from_utf8_lossy(value).split(':') {
                match name {
                    "posix" => is_posix = true,
                    "" => {}
                    name => options.extend(["-o", name].map(ToOwned::to_owned)),
                }
            }
        } else {
            environment.push(pair);
        }
    }
    let mut variables = vec![format!(
        "BASH_ENV=/proc/self/fd/{}",
        fd::INHERITED_SCRIPT_TEXT
    )];
    if cx.delivery().is_argument() {
        variables.push(format!("{}=1", names::EVENT));
    }
    if is_posix {
        variables.push(format!("{}=1", names::POSIX));
    }
    if !options.is_empty() {
        let options: Vec<_> = options.iter().map(|option| quote(option)).collect();
        commands.push_str("builtin set ");
        commands.push_str(&options.join(" "));
    }
    if !commands.is_empty() {
        variables.push(format!("{}={commands}", names::OPTIONS));
    }
    let variables = variables.into_iter();
    environment.extend(variables.filter_map(|pair| CString::new(pair).ok()));
    environment
}

impl StandbyBash {
    /// Waits until bash is ready for its event, and returns its version. bash reports that where the response will be.
    fn wait_until_ready(&mut self, cx: LaneContext) -> Result<(u32, u32)> {
        let mut limit = Limit::new(cx.signals, None);
        let mut message = Vec::new();
        while memchr(b'\0', &message).is_none() {
            let sources = [Some(self.response.as_fd()), Some(self.child.pidfd())];
            match limit.wait_readable(sources, None) {
                Err(_) => return Err(Error::Stopped),
                Ok([true, _]) => {
                    let mut piece = [0; 64];
                    match self.response.read(&mut piece) {
                        Ok(count @ 1..) if message.len() < MAX_READY_BYTES => {
                            message.extend_from_slice(&piece[..count]);
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Ok(_) | Err(_) => return Err(self.kill_unready(cx)),
                    }
                }
                Ok(_) => return Err(self.kill_unready(cx)),
            }
        }
        let text = String::from_utf8_lossy(&message);
        let text = text
            .trim_end_matches('\0')
            .trim_start_matches(record::READY)
            .trim_start();
        Ok(parse_version(text))
    }

    /// Kills a bash that does not get ready, and returns the error with what it printed.
    fn kill_unready(&mut self, cx: LaneContext) -> Error {
        self.child.kill();
        cx.logs.drain();
        let cause = match self.child.status() {
            Some(ExitStatus::Exited(0)) => "it does not read its BASH_ENV, /proc/self/fd/76",
            _ => "ended when it started",
        };
        Error::StartShell {
            bash: cx.config.bash.clone(),
            cause: format!("{cause}{}", quote_log_tail(&cx.logs.tail())),
        }
    }

    /// Writes the event where bash reads it, and lets bash of `version` go on.
    fn send(&mut self, invocation: &Invocation, version: (u32, u32)) -> io::Result<()> {
        arguments::write_at_start(&mut self.event, &[invocation.stdin_bytes()])?;
        if version < READS_NUL_IN_BLOCKS {
            let mut arguments = Arguments::event_last(invocation);
            if version < KNOWS_ITS_ARGUMENTS {
                arguments.event = Cow::default();
            }
            arguments.write_to(&mut self.fields)?;
            return self.go_ahead.write_all(b"newlines\n");
        }
        Arguments::event_first(invocation, Separator::Nul).write_to(&mut self.fields)?;
        self.go_ahead.write_all(b"\n")
    }
}
