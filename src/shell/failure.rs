//! Why a function failed, or could not be loaded, in words.

use nix::sys::wait::WaitStatus;

use super::protocol::{Ended, LastWords, Report};
use crate::config::Config;
use crate::error::Error;
use crate::failure::{failure, find_line, place_in, quoted, status_text, syntax_error};
use crate::handler::Handler;
use crate::invocation::{Failure, Frame};

/// The handler ended, and the shell lives on.
#[must_use]
pub fn of_report(function: &str, report: &Report, tail: &str) -> Failure {
    let status = status_text(report.status);
    let (error_type, what) = match report.ended {
        Ended::Return => (
            "Function.HandlerFailed",
            format!("{function} returned {status}"),
        ),
        Ended::Exit => (
            "Function.HandlerExited",
            format!("{function} exited with {status}"),
        ),
        Ended::ErrExit => {
            let command = report.command.as_deref().unwrap_or("a command");
            (
                "Function.CommandFailed",
                format!("`{command}` ended with {status}"),
            )
        }
        Ended::NotCalled => (
            "Function.ShellLost",
            format!("shell cannot call {function} any more"),
        ),
    };
    let mut stack = report.stack.clone();
    find_line(&mut stack, report.command.as_deref());
    failure(error_type, &what, stack, tail)
}

/// The shell ended while the handler ran.
#[must_use]
pub fn of_end(function: &str, end: WaitStatus, words: LastWords, tail: &str) -> Failure {
    let mut stack = words.stack;
    // bash does not know the line any more when it ends, and not always the frame, but over an
    // unset variable it has told the place before.
    if let Some((file, line)) = place_in(tail) {
        match stack.first_mut() {
            Some(frame) if frame.file == file => frame.line = line,
            Some(_) => {}
            None => stack.push(Frame {
                function: function.to_owned(),
                file,
                line,
            }),
        }
    }
    find_line(&mut stack, words.command.as_deref());
    let running = words
        .command
        .map_or_else(|| function.to_owned(), |command| format!("`{command}`"));
    let (error_type, what) = match end {
        WaitStatus::Signaled(_, signal, _) => (
            "Function.ShellKilled",
            format!("shell killed by {signal} during {running}"),
        ),
        WaitStatus::Exited(_, status) => {
            let status = status_text(status);
            (
                "Function.ShellExited",
                format!("shell ended with {status} during {running}"),
            )
        }
        _ => (
            "Function.ShellExited",
            format!("shell ended during {running}"),
        ),
    };
    failure(error_type, &what, stack, tail)
}

/// The shell runs, but tells nothing any more.
#[must_use]
pub fn of_loss(function: &str, tail: &str) -> Failure {
    let what = format!(
        "shell does not report after {function}: a function or a setting of the handler's hinders \
         the builtin commands that coshell needs"
    );
    failure("Function.ShellLost", &what, Vec::new(), tail)
}

/// bash ended while it sourced the file.
#[must_use]
pub fn of_load(
    config: &Config,
    handler: &Handler,
    end: Option<WaitStatus>,
    words: Option<LastWords>,
    tail: &str,
) -> Error {
    let Some(words) = words else {
        let cause = match end {
            Some(WaitStatus::Signaled(_, signal, _)) => {
                format!("killed by {signal} when it started")
            }
            _ => format!("ended when it started{}", quoted(tail)),
        };
        return Error::StartShell {
            bash: config.bash.clone(),
            cause,
        };
    };
    if words.kind == "options" {
        return Error::ReadConfig {
            variable: "COSHELL_SHELL_OPTIONS",
            cause: match tail.split_once(": set: ") {
                Some((_, reason)) => format!("set does not take it: {}", reason.trim_end()),
                None => format!("set does not take it{}", quoted(tail)),
            },
        };
    }
    if let Some(error) = syntax_error(&config.bash, handler) {
        return error;
    }
    let file = handler.file.display();
    let status = match end {
        Some(WaitStatus::Signaled(_, signal, _)) => format!("{signal}"),
        Some(WaitStatus::Exited(_, status)) => status_text(status),
        _ => "no status".to_owned(),
    };
    let command = words.command.unwrap_or_default();
    if words.kind == "exited" && !matches!(end, Some(WaitStatus::Signaled(..))) {
        let cause = format!("{file} exited with {status} while it was sourced");
        return handler.fault_at("Runtime.HandlerFileExited", &cause, words.stack, tail);
    }
    let place = words
        .failed_at
        .filter(|place| !place.starts_with("/dev/fd/"));
    let cause = match place {
        Some(place) => format!("`{command}` ended with {status} at {place}"),
        None => format!("{file} ended with {status} while it was sourced"),
    };
    handler.fault_at("Runtime.HandlerFileFailed", &cause, words.stack, tail)
}
