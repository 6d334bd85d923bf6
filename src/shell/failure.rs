//! Why a handler failed, or could not be loaded, in words: status or signal, command, place, and
//! the end of what was logged.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::protocol::{Ended, LastWords, Report};
use crate::config::Config;
use crate::error::Error;
use crate::handler::Handler;
use crate::invocation::{Failure, Frame};

/// A list of functions in an error message names at most so many.
const MAX_NAMED: usize = 20;

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
    Failure {
        error_type,
        message: message(&what, &report.stack, tail),
        stack: report.stack.clone(),
    }
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
    Failure {
        error_type,
        message: message(&what, &stack, tail),
        stack,
    }
}

/// The shell runs, but tells nothing any more.
#[must_use]
pub fn of_loss(function: &str, tail: &str) -> Failure {
    let what = format!(
        "shell does not report after {function}: a function or a setting of the handler's hinders \
         the builtin commands that coshell needs"
    );
    let message = message(&what, &[], tail);
    Failure {
        error_type: "Function.ShellLost",
        message,
        stack: Vec::new(),
    }
}

/// The file is sourced, and the function is not there.
#[must_use]
pub fn undefined(handler: &Handler, functions: &[String]) -> Error {
    let mut names: Vec<_> = functions
        .iter()
        .take(MAX_NAMED)
        .map(String::as_str)
        .collect();
    if functions.len() > MAX_NAMED {
        names.push("...");
    }
    let defined = match names.as_slice() {
        [] => "no function at all".to_owned(),
        names => names.join(", "),
    };
    let (file, function) = (handler.file.display(), &handler.function);
    let cause = format!("{file} defines no function {function}; it defines {defined}");
    handler.fault("Runtime.HandlerNotFound", &cause)
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
    if let Some(error) = syntax_error(config, handler) {
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
        let cause = format!(
            "{file} exited with {status} while it was sourced{}",
            quoted(tail)
        );
        return handler.fault_at("Runtime.HandlerFileExited", &cause, words.stack);
    }
    let place = words
        .failed_at
        .filter(|place| !place.starts_with("/dev/fd/"));
    let cause = match place {
        Some(place) => format!("`{command}` ended with {status} at {place}{}", quoted(tail)),
        None => format!(
            "{file} ended with {status} while it was sourced{}",
            quoted(tail)
        ),
    };
    handler.fault_at("Runtime.HandlerFileFailed", &cause, words.stack)
}

/// What `bash -n` finds wrong with the file. Asked only when something is wrong.
#[must_use]
pub fn syntax_error(config: &Config, handler: &Handler) -> Option<Error> {
    let checked = Command::new(&config.bash)
        .arg("-n")
        .arg(&handler.file)
        .env_remove("BASH_ENV")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    if checked.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&checked.stderr);
    let text = text.trim_end();
    let mut stack = Vec::new();
    if let Some((file, line)) = place_in(text) {
        stack.push(Frame {
            function: "source".to_owned(),
            file,
            line,
        });
    }
    Some(handler.fault_at("Runtime.UserCodeSyntaxError", text, stack))
}

fn message(what: &str, stack: &[Frame], tail: &str) -> String {
    let place = match stack.first() {
        Some(frame) => format!(" in {frame}"),
        None => String::new(),
    };
    format!("{what}{place}{}", quoted(tail))
}

/// The end of the log, on lines of its own.
fn quoted(tail: &str) -> String {
    let tail = tail.trim_end();
    if tail.is_empty() {
        String::new()
    } else {
        format!("\n{tail}")
    }
}

/// `status 3`; `status 137 (SIGKILL)` where a signal is meant, as the shell tells it.
fn status_text(status: i32) -> String {
    match Signal::try_from(status - 128) {
        Ok(signal) if status > 128 => format!("status {status} ({signal})"),
        _ => format!("status {status}"),
    }
}

/// The place that bash itself names last: `file: line N: ...`.
fn place_in(text: &str) -> Option<(String, u32)> {
    text.lines().rev().find_map(|line| {
        let (file, rest) = line.split_once(": line ")?;
        if file.starts_with("/dev/fd/") {
            return None;
        }
        let (number, _) = rest.split_once(':')?;
        Some((file.to_owned(), number.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_the_one_bash_named_last() {
        let text = "noise\n/t/a.sh: line 3: x: unbound variable\nafter";
        assert_eq!(place_in(text), Some(("/t/a.sh".to_owned(), 3)));
        assert_eq!(place_in("no place"), None);
    }

    #[test]
    fn status_above_128_names_its_signal() {
        assert_eq!(status_text(137), "status 137 (SIGKILL)");
        assert_eq!(status_text(3), "status 3");
        assert_eq!(status_text(255), "status 255");
    }
}
