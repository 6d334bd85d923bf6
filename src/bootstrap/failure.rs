//! What is said of a failure: status or signal, command, place, and the end of what was logged.
//!
//! What `shell/` and `program/` have to say in the same words.

mod pipeline;

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use coshell_handler::{Failure, Frame, Handler, quoted};

use crate::wait::Overrun;

/// The handler was stopped. `running` are the programs that it had started, which stand for the
/// command where bash does not tell it.
pub(crate) fn limit_exceeded(
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
    failure_with_log(error_type, &format!("{what}{during}"), stack, tail)
}

/// The handler was not started: its time is up already.
pub(crate) fn deadline_too_close(handler: &Handler, margin: Duration, left: Duration) -> Failure {
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
/// command, if no other line of the function does.
pub(crate) fn fill_in_line(stack: &mut [Frame], command: Option<&str>) {
    let (Some(frame), Some(command)) = (stack.first_mut(), command) else {
        return;
    };
    let wanted = without_blanks(command.lines().next().unwrap_or_default());
    if frame.line > 0 || wanted.is_empty() {
        return;
    }
    let text = text_of(&frame.file);
    let lines: Vec<_> = text.lines().map(without_blanks).collect();
    let range = lines_of_function(&text, &frame.function).unwrap_or(0..lines.len());
    let is_found = |at: &usize| lines[*at].contains(&wanted) && !lines[*at].starts_with('#');
    let mut found = range.filter(is_found);
    if let (Some(at), None) = (found.next(), found.next()) {
        frame.line = u32::try_from(at + 1).unwrap_or(0);
    }
}

/// The lines of a function, counted from 0, if the file defines it once and closes it as it begins: with a brace
/// that is indented as much.
fn lines_of_function(text: &str, function: &str) -> Option<std::ops::Range<usize>> {
    let lines: Vec<_> = text.lines().collect();
    let mut starts = (lines.iter().enumerate()).filter(|(_, line)| begins_function(line, function));
    let (Some((start, line)), None) = (starts.next(), starts.next()) else {
        return None;
    };
    let indented = |line: &str| line.len() - line.trim_start().len();
    if line.trim_end().ends_with(['}', ')']) && !line.trim_end().ends_with("()") {
        return Some(start..start + 1);
    }
    let end = lines.iter().skip(start + 1).position(|other| {
        indented(other) == indented(line) && other.trim_start().starts_with(['}', ')'])
    });
    Some(start..start + 1 + end? + 1)
}

fn begins_function(line: &str, function: &str) -> bool {
    let line = line.trim_start();
    let named = line.strip_prefix("function");
    let named = named.filter(|rest| rest.starts_with([' ', '\t']));
    let rest = named.unwrap_or(line).trim_start().strip_prefix(function);
    let rest = rest.map(str::trim_start);
    rest.is_some_and(|rest| {
        let is_body = rest.is_empty() || rest.starts_with(['{', '(']);
        rest.starts_with("()") || named.is_some() && is_body
    })
}

/// What of a pipeline has failed, in words, if it is not `command`, which bash names: its last one. `place` is where
/// that is.
pub(crate) fn describe_failed_part(
    statuses: &[i32],
    place: Option<&Frame>,
    command: Option<&str>,
) -> Option<String> {
    let number = pipeline::failed_part_index(statuses)?;
    let count = statuses.len();
    let text = place.and_then(|place| {
        let line = usize::try_from(place.line).unwrap_or(0);
        let text = text_of(&place.file);
        pipeline::part_text(&text, line, count, number, command?)
    });
    let part = format!("part {} of {count} of a pipeline", number + 1);
    Some(match text {
        Some(text) => format!("`{text}`, {part},"),
        None => part,
    })
}

fn text_of(file: &str) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// bash prints a command with blanks of its own.
fn without_blanks(text: &str) -> String {
    text.split_whitespace().collect()
}

/// What happened, where, and the end of the log.
pub(crate) fn failure_with_log(
    error_type: &'static str,
    what: &str,
    stack: Vec<Frame>,
    tail: &str,
) -> Failure {
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

/// `status 3`; `status 137 (SIGKILL)` where a signal is meant, as the shell tells it.
pub(crate) fn status_text(status: i32) -> String {
    match Signal::try_from(status - 128) {
        Ok(signal) if status > 128 => format!("status {status} ({signal})"),
        _ => format!("status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_found_if_there_is_but_one() {
        let frame = |file: &str| Frame {
            function: "main".to_owned(),
            file: file.to_owned(),
            line: 0,
        };
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/echo/function.sh"
        );
        let mut stack = [frame(file)];
        fill_in_line(&mut stack, Some("echo "));
        assert_eq!(stack[0].line, 0, "two lines have it");
        fill_in_line(&mut stack, Some("echo \"$response\""));
        assert!(stack[0].line > 0);
        fill_in_line(&mut [frame("/no/such/file")], Some("x"));
    }

    #[test]
    fn line_is_one_of_the_function() {
        let text =
            "one() {\n  x\n}\nfunction two {\n  if y; then\n    x\n  fi\n}\n  three () { x; }\n";
        assert_eq!(lines_of_function(text, "one"), Some(0..3));
        assert_eq!(lines_of_function(text, "two"), Some(3..8));
        assert_eq!(lines_of_function(text, "three"), Some(8..9));
        assert_eq!(lines_of_function(text, "thre"), None);
        assert_eq!(lines_of_function("f() {\n}\nf() {\n}\n", "f"), None);
        assert_eq!(lines_of_function("f() {\n", "f"), None);
    }

    #[test]
    fn status_above_128_names_its_signal() {
        assert_eq!(status_text(137), "status 137 (SIGKILL)");
        assert_eq!(status_text(3), "status 3");
        assert_eq!(status_text(255), "status 255");
    }
}
