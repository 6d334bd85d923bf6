//! Starts a shell: starts bash, makes it load the handler's file, and finds out why that failed.
//!
//! The three stages are types: [`Starting`] has read the driver and may wait as a standby shell, [`Loading`] is
//! sourcing the file, and [`Shell`] is ready. `startup_script.rs` has the lines that bash reads.

use std::io;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::channel::Channel;
use super::descriptors;
use super::failure;
use super::forks::Forks;
use super::from_shell::FromShell;
use super::kept_variables::KeptVariables;
use super::load_report::{LoadReport, disabled_cause, needed_builtin};
use super::observers::TextTraits;
use super::older;
use super::process::Process;
use super::report::ExitTrace;
use super::shell_reader::Awaited;
use super::startup_script::{
    LoadNonces, is_reserved, load_lines, read_invocation_line, startup_lines,
};
use super::{CleanUp, Shell};
use crate::calls::Calls;
use crate::child::leftovers::Leftovers;
use crate::child::{LaneContext, idle_cause};
use crate::error::{Error, Result};
use crate::wait::{Limit, Overrun};
use coshell_driver::{Kind, fd};
use coshell_handler::Handler;
use coshell_handler::shape::{self, FinalCall};
use coshell_handler::{check_syntax, quote_log_tail, undefined_function};
use coshell_process::processes;
use coshell_process::sys;

/// How often we check that a bash that sources the file has something to do.
const CHECK_INTERVAL: Duration = Duration::from_millis(120);
/// A bash that has nothing to do at this many checks in a row will never report.
const IDLE_CHECKS: u32 = 4;
const TOO_FEW_DESCRIPTORS: &str = "it leaves bash too few descriptors (ulimit -n)";

/// A bash that reads the driver, and then waits for the lines that load the file.
#[derive(Debug)]
pub(crate) struct Starting<'a> {
    shell: Shell<'a>,
}

/// A shell that is sourcing the file.
#[derive(Debug)]
pub(crate) struct Loading<'a> {
    pub(super) shell: Shell<'a>,
    /// The nonce of the load report.
    nonce: String,
    /// The last line of the file, if it calls the handler.
    pub call: Option<FinalCall>,
}

impl<'a> Starting<'a> {
    /// Starts bash, and does not wait for it.
    pub(crate) fn start(cx: LaneContext<'a>) -> Result<Self> {
        Self::start_with(cx, false)
    }

    /// Starts a bash that waits for long, so that it can read everything of ours before it waits.
    pub(crate) fn start_standby(cx: LaneContext<'a>) -> Result<Self> {
        Self::start_with(cx, true)
    }

    fn start_with(cx: LaneContext<'a>, reads_invocation: bool) -> Result<Self> {
        let start = || -> io::Result<Self> {
            let mut channel = Channel::open(Process::start(cx)?)?;
            let mut lines = startup_lines(cx.logs.nonce(), cx.calls.map(Calls::paths));
            if reads_invocation {
                lines.push_str(&read_invocation_line());
            }
            // If bash has ended, the wait for its load report finds out why.
            let _ = channel.write_lines(&lines);
            let shell = Shell {
                cx,
                channel,
                version: (0, 0),
                initial_state: None,
                proc_baseline: None,
                initial_limits: None,
                kept_variables: KeptVariables::default(),
                kept_descriptors: Vec::new(),
                forks: Forks::default(),
                leftover_holds_response: false,
                context: None,
                leftovers: None,
                is_damaged: false,
                served: 0,
                has_shutdown: false,
                clean_up: CleanUp::Done,
                standby: None,
            };
            Ok(Self { shell })
        };
        start().map_err(|error| Error::start_shell(&cx.config.bash, &error))
    }

    /// Whether bash is alive. A bash that a signal has stopped goes on.
    pub(crate) fn is_alive(&mut self) -> bool {
        let child = &mut self.shell.channel.process.child;
        // If this fails, bash has ended.
        let _ = kill(child.pid(), Signal::SIGCONT);
        child.status().is_none()
    }

    /// Makes bash source the file. [`Loading::finish`] waits for that.
    pub(crate) fn load(self) -> Loading<'a> {
        let mut shell = self.shell;
        let nonces = LoadNonces {
            load_report: shell.channel.new_nonce(),
            first_state: shell.channel.new_nonce(),
        };
        let (config, handler) = (shell.cx.config, shell.cx.handler);
        let file = handler.file.to_string_lossy();
        let text = std::fs::read(&handler.file).unwrap_or_default();
        let options = &config.shell_options;
        let traits = TextTraits::of(&text, options);
        let lines = load_lines(&file, options, shell.isolation(), traits, &nonces);
        // If bash has ended, the wait for its load report finds out why.
        let _ = shell.channel.write_lines(&lines);
        shell.channel.expect_state(nonces.first_state);
        let call = shape::find_final_call(&text, handler.label());
        Loading {
            shell,
            nonce: nonces.load_report,
            call,
        }
    }
}

impl<'a> Loading<'a> {
    /// Waits until bash has sourced the file. There is no limit as long as bash has something to do: the platform has
    /// a limit of its own. Fails with the fault of the file, or with [`Error::Stopped`].
    pub(crate) fn finish(mut self) -> Result<Shell<'a>> {
        let mut limit = Limit::new(self.shell.cx.signals, None);
        self.wait(&mut limit).map(|()| self.shell)
    }

    /// The same until `limit` is reached, which is [`Error::Stopped`], too. Then bash goes on, and the shell is still there.
    pub(super) fn wait(&mut self, limit: &mut Limit) -> Result<()> {
        let Self { shell, nonce, .. } = self;
        let (config, handler) = (shell.cx.config, shell.cx.handler);
        let refused = config.shell_options.iter().find_map(|it| refuse_option(it));
        if let Some(cause) = refused {
            return Err(Error::ReadConfig {
                variable: "COSHELL_SHELL_OPTIONS",
                cause: cause.to_owned(),
            });
        }
        let report = match shell.channel.wait_until_loaded(nonce, limit) {
            Ok(LoadOutcome::Report(report)) => report,
            Ok(LoadOutcome::Ended) => return Err(shell.load_error()),
            Ok(LoadOutcome::Older(version)) => {
                let cx = shell.cx;
                older::set_older(&version, cx.config);
                *self = Starting::start(cx)?.load();
                return self.wait(limit);
            }
            Ok(LoadOutcome::Silent) => return Err(shell.silent_error()),
            Err(_) => return Err(Error::Stopped),
        };
        let syntax_error = || check_syntax(&config.bash, handler);
        match report {
            LoadReport::Ready {
                status,
                version,
                has_shutdown,
            } => {
                // Without `set -e`, bash goes on after a syntax error.
                if status != 0
                    && let Some(error) = syntax_error()
                {
                    return Err(error.into());
                }
                if let Some(number) = shell.closed_descriptor() {
                    return Err(unusable(handler, &closed_cause(number)));
                }
                if shell.has_too_few_descriptors() {
                    return Err(unusable(handler, TOO_FEW_DESCRIPTORS));
                }
                shell.version = version;
                shell.has_shutdown = has_shutdown;
            }
            LoadReport::Undefined(mut functions) => {
                functions.retain(|name| !is_reserved(name));
                return Err(syntax_error()
                    .unwrap_or_else(|| undefined_function(handler, &functions))
                    .into());
            }
            LoadReport::Unusable(cause) => return Err(unusable(handler, &cause)),
        }
        let pid = shell.channel.process.child.pid();
        shell.leftovers = Some(Leftovers::watch(shell.cx, Some(pid)));
        shell.cx.logs.drain();
        Ok(())
    }
}

/// How waiting for the load report ended.
#[derive(Debug)]
enum LoadOutcome {
    Report(LoadReport),
    /// bash ended before.
    Ended,
    /// bash has this version, and ended because the driver is not for it.
    Older(String),
    /// bash has read all lines and does not report.
    Silent,
}

impl Channel {
    fn wait_until_loaded(
        &mut self,
        nonce: &str,
        limit: &mut Limit,
    ) -> std::result::Result<LoadOutcome, Overrun> {
        let mut idle_checks = 0;
        loop {
            while let Some(message) = self.next_message(&[Awaited::Load(nonce)]) {
                match message {
                    FromShell::Loaded(report) => return Ok(LoadOutcome::Report(report)),
                    // The file could write the same, but bash reads the driver first.
                    FromShell::Older(version) if !self.has_started => {
                        return Ok(LoadOutcome::Older(version));
                    }
                    _ => {}
                }
            }
            let [has_control, has_ended] =
                limit.wait_readable(self.control_or_exit(), Some(CHECK_INTERVAL))?;
            if has_control || has_ended {
                if !has_control || !self.read_control() {
                    return Ok(LoadOutcome::Ended);
                }
                idle_checks = 0;
            } else if self.has_nothing_to_do() {
                idle_checks += 1;
                if idle_checks == IDLE_CHECKS {
                    return Ok(LoadOutcome::Silent);
                }
            } else {
                idle_checks = 0;
            }
        }
    }

    /// Whether bash waits for another line, or is stopped and waits for a signal.
    fn has_nothing_to_do(&self) -> bool {
        let bash = self.process.child.pid();
        let has_read_all = sys::bytes_ready(&self.process.script) == 0;
        processes::is_stopped(bash) || has_read_all && !processes::is_runnable(bash)
    }
}

impl Shell<'_> {
    /// Why bash reads our lines but does not run them.
    fn silent_error(&mut self) -> Error {
        self.cx.logs.drain();
        let (config, handler) = (self.cx.config, self.cx.handler);
        let tail = self.cx.logs.tail();
        if !self.channel.has_started {
            let cause = reason_in_environment().unwrap_or_else(|| {
                format!(
                    "it does not run the lines that coshell writes to it{}",
                    quote_log_tail(&tail)
                )
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
            format!("bash runs no command after {file}: does the file use `set -n`?")
        } else {
            format!("bash runs no command after {file}")
        };
        handler
            .load_error_at("Runtime.HandlerFileFailed", &cause, Vec::new(), &tail)
            .into()
    }

    /// A descriptor that the file has closed, and without which no event can run.
    fn closed_descriptor(&self) -> Option<i32> {
        let bash = self.channel.process.child.pid();
        let used = [
            fd::ARGUMENTS,
            fd::EVENT,
            fd::RESPONSE,
            fd::CONTROL,
            fd::RARE,
            fd::STATE,
        ];
        used.into_iter()
            .find(|number| descriptors::is_closed(bash, *number))
    }

    /// Whether the file has lowered the soft limit below the highest descriptor that we may use.
    fn has_too_few_descriptors(&self) -> bool {
        let limit = sys::limit(self.channel.process.child.pid(), sys::DESCRIPTORS);
        limit.is_ok_and(|(soft, _)| soft <= fd::OPENED_RECORDS_LOG as u64)
    }

    /// What the file has done to make its shell unusable, if a message of bash in the log shows it.
    fn known_cause(&self, tail: &str) -> Option<String> {
        const CAUSES: [(&str, &str); 4] = [
            (": restricted", "it restricts its shell (set -r)"),
            (
                "builtin: command not found",
                "it switches off the builtin builtin (enable -n builtin)",
            ),
            ("Too many open files", TOO_FEW_DESCRIPTORS),
            (
                "maximum function nesting level exceeded",
                "it sets FUNCNEST too low",
            ),
        ];
        // The messages are about our lines and the driver, which bash reads as /dev/fd/77 and /dev/fd/78.
        let logged = CAUSES
            .iter()
            .find(|(message, _)| tail.contains("/dev/fd/7") && tail.contains(message));
        let logged = logged.map(|(_, cause)| (*cause).to_owned());
        // Both are used before the load report.
        let closed = [fd::CONTROL, fd::STATE];
        let is_closed = |number: &i32| tail.contains(&format!(": {number}: Bad file descriptor"));
        let closed = closed.into_iter().find(is_closed).map(closed_cause);
        let logged = logged.or(closed);
        let disabled = self.channel.reader.disabled_builtin();
        disabled.map(disabled_cause).or(logged)
    }

    /// Why bash ended while it started or sourced the file.
    fn load_error(&mut self) -> Error {
        let mut limit = Limit::new(self.cx.signals, None);
        let status = self.channel.wait_for_exit(&mut limit);
        self.cx.logs.drain();
        if !self.channel.has_started
            && let Some(cause) = reason_in_environment()
        {
            let bash = self.cx.config.bash.clone();
            return Error::StartShell { bash, cause };
        }
        if let Some(cause) = self.known_cause(&self.cx.logs.tail()) {
            return unusable(self.cx.handler, &cause);
        }
        // Without an exit trace, bash was killed, or became another program.
        let no_place = ExitTrace {
            kind: Some(Kind::Exited),
            ..ExitTrace::default()
        };
        let trace = self.channel.take_exit_trace();
        let trace = trace.or_else(|| self.channel.has_started.then_some(no_place));
        let (config, handler) = (self.cx.config, self.cx.handler);
        failure::load_failed(config, handler, status, trace, &self.cx.logs.tail())
    }
}

/// Why no event can run in a shell with this argument of `set`.
fn refuse_option(option: &str) -> Option<&'static str> {
    const CAUSES: [(&str, char, &str); 3] = [
        ("noexec", 'n', "with -n (noexec) bash runs no command"),
        ("onecmd", 't', "with -t (onecmd) bash ends after a command"),
        ("-r", 'r', "with -r (restricted) bash cannot write to files"),
    ];
    let has_letter = |letter| {
        let letters = option.strip_prefix('-').unwrap_or_default();
        !letters.starts_with('-') && letters.contains(letter)
    };
    let mut causes = CAUSES.iter();
    let found = causes.find(|(name, letter, _)| option == *name || has_letter(*letter));
    found.map(|(_, _, cause)| *cause)
}

fn unusable(handler: &Handler, cause: &str) -> Error {
    let cause = format!("{}: {cause}", handler.file.display());
    handler
        .load_error_at("Runtime.HandlerFileFailed", &cause, Vec::new(), "")
        .into()
}

fn closed_cause(number: i32) -> String {
    format!("it closes descriptor {number} (exec {number}>&-), which belongs to coshell")
}

/// What in our environment keeps bash from running its script.
fn reason_in_environment() -> Option<String> {
    let exported = std::env::vars_os().find_map(|(name, _)| {
        let name = name.to_string_lossy();
        let function = name.strip_prefix("BASH_FUNC_")?.strip_suffix("%%")?;
        let function = needed_builtin(function.as_bytes())?;
        Some(format!(
            "the environment exports a function {function} ({name}), which replaces the builtin"
        ))
    });
    idle_cause().or(exported)
}
