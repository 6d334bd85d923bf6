//! Starts a bash, has it source the file, and says why it could not.
//!
//! Neighbours: `process.rs` is the process, `start_lines.rs` what it is given to read, `failure.rs` has the words.

use std::io;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::channel::Channel;
use super::failure;
use super::forks::Forks;
use super::kept::Kept;
use super::observers::Watching;
use super::process::Process;
use super::protocol::{self, ExitTrace, Loaded};
use super::{Shell, start_lines};
use crate::child::LaneContext;
use crate::child::leftovers::Leftovers;
use crate::error::{Error, Result};
use crate::wait::{Limit, Overrun};
use coshell_handler::Handler;
use coshell_handler::shape::{self, Call};
use coshell_handler::{quoted, syntax_error, undefined};
use coshell_process::processes;
use coshell_process::sys;

/// How often it is looked whether a bash that loads its handler has anything to do.
const LOOK_EVERY: Duration = Duration::from_millis(120);
/// After so many looks at which it had nothing to do it never will.
const LOOKS: u32 = 4;

/// A shell that is started, up to where the file is sourced.
#[derive(Debug)]
pub(crate) struct Starting<'a> {
    shell: Shell<'a>,
}

/// A shell that loads its handler.
#[derive(Debug)]
pub(crate) struct Loading<'a> {
    shell: Shell<'a>,
    nonce: String,
    /// The file calls its handler while it is sourced.
    pub call: Option<Call>,
}

impl<'a> Starting<'a> {
    /// Starts bash, which reads the driver meanwhile.
    ///
    /// # Errors
    /// [`Error::StartShell`] when bash cannot be executed.
    pub(crate) fn start(cx: LaneContext<'a>) -> Result<Self> {
        let start = || -> io::Result<Self> {
            let mut channel = Channel::open(Process::start(cx)?)?;
            let argument_zero = std::env::args().next();
            let argument_zero = argument_zero.unwrap_or_else(|| "bootstrap".to_owned());
            let (function, nonce) = (cx.handler.label(), cx.logs.nonce());
            let lines = start_lines::start_lines(&argument_zero, function, nonce);
            // bash may have ended by now, for a reason that is told when it is waited for.
            let _ = channel.write_lines(&lines);
            let shell = Shell {
                cx,
                channel,
                version: (0, 0),
                state: None,
                watch: None,
                limits: None,
                kept: Kept::default(),
                kept_descriptors: Vec::new(),
                forks: Forks::default(),
                shares_response: false,
                context: None,
                leftovers: None,
                is_damaged: false,
                served: 0,
                has_shutdown: false,
                standby: None,
            };
            Ok(Self { shell })
        };
        start().map_err(|error| Error::start_shell(&cx.config.bash, &error))
    }

    /// Whether bash has not ended; lets it go on if somebody has stopped it.
    pub(crate) fn is_alive(&mut self) -> bool {
        let child = &mut self.shell.channel.process.child;
        // If it has ended there is none.
        let _ = kill(child.pid(), Signal::SIGCONT);
        child.status().is_none()
    }

    /// Has bash source the file, until [`Loading::finish`] waits for it.
    pub(crate) fn load(self) -> Loading<'a> {
        let mut shell = self.shell;
        let (nonce, state_mark) = (shell.channel.new_nonce(), shell.channel.new_nonce());
        let (config, handler) = (shell.cx.config, shell.cx.handler);
        let file = handler.file.to_string_lossy();
        let text = std::fs::read(&handler.file).unwrap_or_default();
        let options = &config.shell_options;
        let nonces = (&*nonce, &*state_mark);
        let watching = Watching::of(&text, options);
        let lines = start_lines::load_lines(&file, config.isolation, options, watching, nonces);
        // If bash has ended the wait tells.
        let _ = shell.channel.write_lines(&lines);
        shell.channel.expect_state(state_mark);
        let call = shape::call_at_end(&text, handler.label());
        Loading { shell, nonce, call }
    }
}

impl<'a> Loading<'a> {
    /// Waits until the file is sourced, without a limit, as long as bash has something to do: the platform has one of its
    /// own.
    ///
    /// # Errors
    /// [`Error::LoadHandler`] with what was the matter with the handler; [`Error::Stopped`].
    pub(crate) fn finish(self) -> Result<Shell<'a>> {
        let Self {
            mut shell, nonce, ..
        } = self;
        let (config, handler) = (shell.cx.config, shell.cx.handler);
        let mut limit = Limit::new(shell.cx.signals, None);
        let loaded = match shell.channel.wait_until_loaded(&nonce, &mut limit) {
            Ok(Waited::Loaded(loaded)) => loaded,
            Ok(Waited::Ended) => return Err(shell.load_error()),
            Ok(Waited::Silent) => return Err(shell.silent_error()),
            Err(_) => return Err(Error::Stopped),
        };
        let syntax_error = || syntax_error(&config.bash, handler);
        match loaded {
            Loaded::Ready {
                status,
                version,
                has_shutdown,
            } => {
                // Without `set -e` bash goes on after a syntax error.
                if status != 0
                    && let Some(error) = syntax_error()
                {
                    return Err(error.into());
                }
                shell.version = version;
                shell.has_shutdown = has_shutdown;
            }
            Loaded::Undefined(functions) => {
                return Err(syntax_error()
                    .unwrap_or_else(|| undefined(handler, &functions))
                    .into());
            }
            Loaded::Unusable(cause) => return Err(unusable(handler, &cause)),
        }
        let pid = shell.channel.process.child.pid();
        shell.leftovers = Some(Leftovers::watch(shell.cx, Some(pid)));
        shell.cx.logs.drain();
        Ok(shell)
    }
}

/// What came of waiting for the file to be sourced.
#[derive(Debug)]
enum Waited {
    Loaded(Loaded),
    /// bash ended before.
    Ended,
    /// bash has read all lines, and says nothing.
    Silent,
}

impl Channel {
    fn wait_until_loaded(
        &mut self,
        nonce: &str,
        limit: &mut Limit,
    ) -> std::result::Result<Waited, Overrun> {
        let mut looks = 0;
        loop {
            let told = self.control_buffer.bytes();
            if let Some((loaded, end)) = protocol::find_loaded(told, nonce) {
                self.control_buffer.take(end);
                return Ok(Waited::Loaded(loaded));
            }
            let [has_words, has_ended] =
                limit.wait_readable(self.control_or_exit(), Some(LOOK_EVERY))?;
            if has_words || has_ended {
                if !has_words || !self.read_control() {
                    return Ok(Waited::Ended);
                }
                looks = 0;
            } else if self.has_nothing_to_do() {
                looks += 1;
                if looks == LOOKS {
                    return Ok(Waited::Silent);
                }
            } else {
                looks = 0;
            }
        }
    }

    /// Whether bash waits for another line, or for a signal to go on.
    fn has_nothing_to_do(&self) -> bool {
        let bash = self.process.child.pid();
        let has_read_all = sys::bytes_ready(&self.process.script) == 0;
        processes::is_stopped(bash) || has_read_all && !processes::is_runnable(bash)
    }
}

impl Shell<'_> {
    /// bash takes our lines, and does not do what they say.
    fn silent_error(&mut self) -> Error {
        self.cx.logs.drain();
        let (config, handler) = (self.cx.config, self.cx.handler);
        let tail = self.cx.logs.tail();
        let is_off = |word: &String| {
            word == "noexec"
                || word.starts_with('-') && !word.starts_with("--") && word.contains('n')
        };
        if config.shell_options.iter().any(is_off) {
            return Error::ReadConfig {
                variable: "COSHELL_SHELL_OPTIONS",
                cause: "with -n (noexec) bash runs no command".to_owned(),
            };
        }
        if !self.channel.has_started() {
            let cause = reason_in_environment().unwrap_or_else(|| {
                format!("it does not run what it is given to read{}", quoted(&tail))
            });
            return Error::StartShell {
                bash: config.bash.clone(),
                cause,
            };
        }
        if let Some(cause) = self.known_cause(&tail) {
            return unusable(handler, &cause);
        }
        let file = handler.file.display();
        let cause = if processes::is_stopped(self.channel.process.child.pid()) {
            format!("bash was stopped by a signal while it sourced {file}")
        } else if tail.is_empty() {
            format!("bash runs no command after {file}: does it say `set -n`?")
        } else {
            format!("bash does not run what it is given to read after {file}")
        };
        handler
            .fault_at("Runtime.HandlerFileFailed", &cause, Vec::new(), &tail)
            .into()
    }

    /// What the file has done so that bash cannot do what it is told, by what bash says of that.
    fn known_cause(&self, tail: &str) -> Option<String> {
        const CAUSES: [(&str, &str); 4] = [
            (": restricted", "it restricts its shell (set -r)"),
            (
                "builtin: command not found",
                "it switches off the builtin builtin (enable -n builtin)",
            ),
            (
                "Too many open files",
                "it leaves bash no descriptors (ulimit -n)",
            ),
            (
                "maximum function nesting level exceeded",
                "it allows too few functions within each other (FUNCNEST)",
            ),
        ];
        let said = CAUSES
            .iter()
            .find(|(words, _)| tail.contains("/dev/fd/7") && tail.contains(words));
        let said = said.map(|(_, cause)| (*cause).to_owned());
        protocol::disabled(self.channel.control_buffer.bytes()).or(said)
    }

    fn load_error(&mut self) -> Error {
        let mut limit = Limit::new(self.cx.signals, None);
        let status = self.channel.wait_for_exit(&mut limit);
        self.cx.logs.drain();
        if let Some(cause) = self.known_cause(&self.cx.logs.tail()) {
            return unusable(self.cx.handler, &cause);
        }
        if !self.channel.has_started()
            && let Some(cause) = reason_in_environment()
        {
            let bash = self.cx.config.bash.clone();
            return Error::StartShell { bash, cause };
        }
        // Killed, or another program by now: then it had no last words.
        let silent = ExitTrace {
            kind: "exited".to_owned(),
            ..ExitTrace::default()
        };
        let words = self.channel.exit_trace();
        let words = words.or_else(|| self.channel.has_started().then_some(silent));
        let (config, handler) = (self.cx.config, self.cx.handler);
        failure::load_failed(config, handler, status, words, &self.cx.logs.tail())
    }
}

fn unusable(handler: &Handler, cause: &str) -> Error {
    let cause = format!("{}: {cause}", handler.file.display());
    handler
        .fault_at("Runtime.HandlerFileFailed", &cause, Vec::new(), "")
        .into()
}

/// What in our environment keeps bash from running what it is given to read.
fn reason_in_environment() -> Option<String> {
    std::env::vars_os().find_map(|(name, value)| {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        if name == "SHELLOPTS" && value.split(':').any(|option| option == "noexec") {
            return Some("the environment variable SHELLOPTS has noexec: bash runs no command".to_owned());
        }
        let function = name.strip_prefix("BASH_FUNC_")?.strip_suffix("%%")?;
        Some(format!(
            "the environment exports a function {function} ({name}), which takes the place of the builtin"
        ))
    })
}
