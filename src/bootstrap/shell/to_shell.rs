//! What is sent to the shell: the lines that bash reads as its script, and those that a waiting fork reads.
//!
//! The backslash at the start of a line keeps bash from taking the first word for an alias. All names are those of
//! `src/driver/protocol.toml`. `from_shell.rs` has what bash writes back.

use std::fmt;
use std::os::fd::RawFd;

use crate::child::arguments::Separator;
use coshell_driver::{Call, fd, names};

/// Lines of bash's script.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ToShell<'a> {
    /// Sets the variables of the context, which stand in the file of the arguments.
    SetContext(Separator),
    /// Reads `rare.bash`, if the shell has not done so.
    ReadRare,
    /// Calls the handler with the fields in the file of the arguments.
    CallHandler(&'static Call),
    /// Reports how the last command ended.
    Report { nonce: &'a str },
    /// Runs a hook: a function of the file that belongs to no invocation. The kind stays
    /// [`Idle`](coshell_driver::Kind::Idle) if the file does not define it.
    RunHook { function: &'a str },
    /// Runs the EXIT trap that a handler left, which ended with `status`.
    RunExitTrap { status: i32 },
    /// Seeds bash's RANDOM.
    Reseed(u32),
    /// Ends an idle bash. The output of its EXIT trap goes to the log.
    End,
    /// Ends bash with the status of the handler, if bash still reads lines.
    EndWithHandler,
    /// Shows the state.
    ShowState { nonce: &'a str, what: Shown },
    /// Makes a bash that is about to be replaced show the kept variables.
    ShowKept { nonce: &'a str },
    /// Runs the commands in the file of the arguments.
    RunArguments,
    /// Prepares the shell for making forks, which wait at `turn`, a descriptor of the process `host`. With
    /// `has_own_exit` the function `exit` belongs to the file, and stays.
    RunInForks {
        host: u32,
        turn: RawFd,
        has_own_exit: bool,
    },
    /// Makes a fork, which waits for an event. With `shows_kept` the fork shows the kept variables when the handler has
    /// returned. Its code runs in a function if `in_function`, and otherwise in `eval`: `set -x` would show the `eval`,
    /// and `FUNCNAME` would show the function.
    ///
    /// The shell reports with `end_nonce` when its fork has ended, or when it could not make one.
    MakeFork {
        end_nonce: &'a str,
        shows_kept: bool,
        in_function: bool,
    },
    /// Makes `exit` leave a function of the file, and not the shell.
    GuardExit,
    /// Redirects bash's stderr to the log again.
    RestoreLog,
    /// Closes a descriptor.
    Close(RawFd),
    /// Opens other pipes for the response and the log: descriptors of the process `host`. Ours are close-on-exec. `exec`
    /// cannot redirect such a descriptor, but it can close one: so the lines close it first.
    RenewOutput {
        host: u32,
        response: RawFd,
        log: RawFd,
    },
    /// Opens other files and pipes: descriptors of the process `host`, those of the arguments, event, response, control,
    /// log and state, and then that where forks wait, if there is one.
    RenewAll { host: u32, numbers: &'a [RawFd] },
    /// Opens the descriptors for calls of the shell itself: a pipe for requests, a pipe and a file for replies.
    OpenCalls { host: u32, numbers: [RawFd; 3] },
    /// Opens the files of arguments and event anew, to read them from their start.
    Reopen,
}

/// What a shell shows of its state.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown {
    /// What may have changed.
    Changes,
    /// The same, when bash has reset what is cheaper to reset than to compare.
    ChangesAfterReset,
    /// Everything.
    Everything,
}

impl fmt::Display for ToShell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use names::{
            CONTEXT, FORK, GUARD_EXIT, RARE, REDIRECT, REOPEN, REPORT, RESEED, RUN_EXIT_TRAP,
            RUN_HOOK, RUN_IN_FORKS, SHOW_ALL_KEPT, SHOW_STATE, STATUS, TAKE_DESCRIPTOR,
        };
        match *self {
            Self::SetContext(Separator::Nul) => writeln!(f, "\\{CONTEXT}"),
            Self::SetContext(Separator::Newline) => writeln!(f, "\\{CONTEXT} $'\\n'"),
            Self::ReadRare => writeln!(f, "\\{RARE} builtin :"),
            Self::CallHandler(call) => writeln!(f, "\\{}", call.name),
            Self::Report { nonce } => writeln!(f, "\\{REPORT} \"$?\" {nonce}"),
            Self::RunHook { function } => writeln!(f, "\\{RARE} {RUN_HOOK} {function}"),
            Self::RunExitTrap { status } => writeln!(f, "\\{RARE} {RUN_EXIT_TRAP} {status}"),
            Self::Reseed(seed) => writeln!(f, "\\{RARE} {RESEED} {seed}"),
            Self::End => {
                // Only a file that defines a function `exec` needs more than `exec`.
                let log = fd::LOG;
                write!(f, "\\builtin declare -F exec >/dev/null && ")?;
                writeln!(f, "\\{RARE} {REDIRECT} '>&{log}' || \\exec >&{log}")?;
                f.write_str("\\builtin exit 0\n")
            }
            Self::EndWithHandler => writeln!(f, "\\builtin exit \"${{{STATUS}:-$?}}\""),
            Self::ShowState { nonce, what } => {
                let what = match what {
                    Shown::Changes => "",
                    Shown::ChangesAfterReset => " reset",
                    Shown::Everything => " first",
                };
                writeln!(f, "\\{SHOW_STATE} {nonce}{what}")
            }
            Self::ShowKept { nonce } => writeln!(f, "\\{SHOW_ALL_KEPT} {nonce}"),
            Self::RunArguments => writeln!(f, "\\builtin . /dev/fd/{}", fd::ARGUMENTS),
            Self::RunInForks {
                host,
                turn,
                has_own_exit,
            } => {
                let (opened, running) = (fd::OPENED_TURN, fd::TURN);
                let own = if has_own_exit { " own" } else { "" };
                writeln!(f, "\\{RARE} {RUN_IN_FORKS}{own}")?;
                writeln!(f, "\\{RARE} {REDIRECT} '{opened}</proc/{host}/fd/{turn}'")?;
                writeln!(f, "\\{RARE} {TAKE_DESCRIPTOR} {opened} {running}")
            }
            Self::MakeFork {
                end_nonce: nonce,
                shows_kept,
                in_function,
            } => {
                let (keeps, base) = (names::KEEPS, names::BASE);
                let kept = if shows_kept { "keep" } else { "" };
                if in_function {
                    writeln!(f, "{keeps}={kept} {base}=2\n\\{FORK}")?;
                } else {
                    writeln!(f, "{keeps}={kept} {base}=1\n\\builtin eval \"${FORK}\"")?;
                }
                write!(f, "{}", ToShell::Report { nonce })
            }
            Self::GuardExit => writeln!(f, "\\{GUARD_EXIT}"),
            Self::RestoreLog => writeln!(f, "\\{RARE} {REDIRECT} '2>&{}'", fd::LOG),
            Self::Close(number) => writeln!(f, "\\{RARE} {REDIRECT} '{number}>&-'"),
            Self::RenewOutput {
                host,
                response,
                log,
            } => {
                for (running, opened, file) in [
                    (fd::RESPONSE, fd::INHERITED_RESPONSE, response),
                    (fd::LOG, fd::INHERITED_LOG, log),
                ] {
                    writeln!(
                        f,
                        "\\{RARE} {REDIRECT} '{running}>&- {opened}>/proc/{host}/fd/{file}'"
                    )?;
                    writeln!(f, "\\{RARE} {TAKE_DESCRIPTOR} {opened} {running}")?;
                }
                write!(f, "{}", ToShell::RestoreLog)
            }
            Self::RenewAll { host, numbers } => {
                write!(f, "\\{RARE} {} /proc/{host}/fd", names::RENEW)?;
                for number in numbers {
                    write!(f, " {number}")?;
                }
                f.write_str("\n")
            }
            Self::OpenCalls { host, numbers } => {
                write!(f, "\\{RARE} {} /proc/{host}/fd", names::OPEN_CALLS)?;
                for number in numbers {
                    write!(f, " {number}")?;
                }
                f.write_str("\n")
            }
            Self::Reopen => writeln!(f, "\\{RARE} {REOPEN}"),
        }
    }
}

/// What a waiting fork reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ToFork<'a> {
    /// Its event has arrived. The nonce is that of its report.
    TakeEvent {
        separator: Separator,
        nonce: &'a str,
    },
    /// It is not needed.
    End,
}

impl fmt::Display for ToFork<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TakeEvent { separator, nonce } => match separator {
                Separator::Nul => writeln!(f, "nul {nonce}"),
                Separator::Newline => writeln!(f, "newlines {nonce}"),
            },
            Self::End => f.write_str("end\n"),
        }
    }
}
