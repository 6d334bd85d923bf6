//! What is said of a failure: status or signal, command, place, and the end of what was logged.
//!
//! What `shell/` and `program/` have to say in the same words.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::error::Error;
use crate::handler::{Handler, Kind};
use crate::invocation::{Failure, Frame};
use crate::wait::Overrun;

/// A list of functions in an error message names at most so many.
const MAX_NAMED: usize = 20;

/// The handler was stopped. `running` are the programs that it had started, which stand for the
/// command where bash does not tell it.
#[must_use]
pub fn of_overrun(
    handler: &Handler,
    overrun: Overrun,
    margin: Option<Duration>,
    command: Option<&str>,
    stack: Vec<Frame>,
    running: &[String],
    tail: &str,
) -> Failure {
    let label = handler.label();
    let (error_type, what) = match overrun {
        Overrun::Deadline => {
            let margin = margin.unwrap_or_default().as_millis();
            (
                "Function.Timeout",
                format!("{label} was stopped {margin} ms before its deadline"),
            )
        }
        Overrun::Stop => (
            "Function.Stopped",
            format!("{label} was stopped: the sandbox is to end"),
        ),
    };
    let during = match command {
        Some(command) => format!(" during `{command}`"),
        None if running.is_empty() => String::new(),
        None => format!(" with {} running", running.join(", ")),
    };
    failure(error_type, &format!("{what}{during}"), stack, tail)
}

/// The handler was not started: its time is up already.
#[must_use]
pub fn of_no_time(handler: &Handler, margin: Duration, left: Duration) -> Failure {
    Failure {
        error_type: "Function.Timeout",
        message: format!(
            "{} was not started: it is to be stopped {} ms before its deadline, which is in {} ms",
            handler.label(),
            margin.as_millis(),
            left.as_millis()
        ),
        stack: Vec::new(),
        quoted_bytes: 0,
    }
}

/// bash does not know the line of the innermost frame when it ends. It is the one that holds the
/// command, if no other line of the file does.
pub fn find_line(stack: &mut [Frame], command: Option<&str>) {
    let (Some(frame), Some(command)) = (stack.first_mut(), command) else {
        return;
    };
    let wanted = without_blanks(command.lines().next().unwrap_or_default());
    if frame.line > 0 || wanted.is_empty() {
        return;
    }
    let text = fs::read(&frame.file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().zip(1..);
    let mut found = lines.filter(|(line, _)| without_blanks(line).contains(&wanted));
    if let (Some((_, line)), None) = (found.next(), found.next()) {
        frame.line = line;
    }
}

/// bash prints a command with blanks of its own.
fn without_blanks(text: &str) -> String {
    text.split_whitespace().collect()
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
    let (file, function) = (handler.file.display(), handler.label());
    let cause = format!("{file} defines no function {function}; it defines {defined}");
    handler.fault("Runtime.HandlerNotFound", &cause)
}

/// What `bash -n` finds wrong with the file. For a function's file asked only when something is
/// wrong, for a whole script before it runs.
#[must_use]
pub fn syntax_error(bash: &Path, handler: &Handler) -> Option<Error> {
    let parse = |options: &[&str]| {
        let mut command = Command::new(bash);
        if matches!(&handler.kind, Kind::Script(interpreter) if interpreter.is_posix) {
            command.arg("--posix");
        }
        command
            .args(options)
            .arg("-n")
            .arg(&handler.file)
            .env_remove("BASH_ENV")
            .stdin(Stdio::null())
            .output()
    };
    let checked = parse(&[]).ok()?;
    if checked.status.success() {
        return None;
    }
    // `shopt -s extglob` changes the grammar, but not here, where nothing is run.
    let file = fs::read(&handler.file).unwrap_or_default();
    if memchr::memmem::find(&file, b"extglob").is_some()
        && parse(&["-O", "extglob"]).is_ok_and(|checked| checked.status.success())
    {
        return None;
    }
    let text = String::from_utf8_lossy(&checked.stderr);
    let text = text.trim_end();
    let mut stack = Vec::new();
    if let Some((file, line)) = place_in(text) {
        if matches!(handler.kind, Kind::Script(_)) && ends_before(handler, line) {
            return None;
        }
        stack.push(Frame {
            function: "source".to_owned(),
            file,
            line,
        });
    }
    Some(handler.fault_at("Runtime.UserCodeSyntaxError", text, stack, ""))
}

/// Whether a script leaves before `line`: what stands behind an `exit` at the start of a line may be
/// anything, such as an archive that the script unpacks.
fn ends_before(handler: &Handler, line: u32) -> bool {
    let text = fs::read(&handler.file).unwrap_or_default();
    let mut lines = text.split(|byte| *byte == b'\n').zip(1..line);
    lines.any(|(text, _)| text == b"exit" || text.starts_with(b"exit "))
}

/// What happened, where, and the end of the log.
#[must_use]
pub fn failure(error_type: &'static str, what: &str, stack: Vec<Frame>, tail: &str) -> Failure {
    let place = match stack.first() {
        Some(frame) => format!(" in {frame}"),
        None => String::new(),
    };
    let quoted = quoted(tail);
    Failure {
        error_type,
        message: format!("{what}{place}{quoted}"),
        stack,
        quoted_bytes: quoted.len(),
    }
}

/// The end of the log, on lines of its own.
#[must_use]
pub fn quoted(tail: &str) -> String {
    let tail = tail.trim_end();
    if tail.is_empty() {
        String::new()
    } else {
        format!("\n{tail}")
    }
}

/// `status 3`; `status 137 (SIGKILL)` where a signal is meant, as the shell tells it.
#[must_use]
pub fn status_text(status: i32) -> String {
    match Signal::try_from(status - 128) {
        Ok(signal) if status > 128 => format!("status {status} ({signal})"),
        _ => format!("status {status}"),
    }
}

/// The place that bash itself names last: `file: line N: ...`.
#[must_use]
pub fn place_in(text: &str) -> Option<(String, u32)> {
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
    fn line_is_found_if_there_is_but_one() {
        let frame = |file: &str| Frame {
            function: "main".to_owned(),
            file: file.to_owned(),
            line: 0,
        };
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/echo/function.sh");
        let mut stack = [frame(file)];
        find_line(&mut stack, Some("echo "));
        assert_eq!(stack[0].line, 0, "two lines have it");
        find_line(&mut stack, Some("echo $response"));
        assert!(stack[0].line > 0);
        find_line(&mut [frame("/no/such/file")], Some("x"));
    }

    #[test]
    fn status_above_128_names_its_signal() {
        assert_eq!(status_text(137), "status 137 (SIGKILL)");
        assert_eq!(status_text(3), "status 3");
        assert_eq!(status_text(255), "status 255");
    }
}
