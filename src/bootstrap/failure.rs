//! The texts of failures: status or signal, command, file and line, and the end of the log.
//!
//! `shell` and `program` build their failures from these functions, so that both use the same words. bash reports neither the
//! line of every command nor the part of a pipeline that failed; both are looked up in the handler's file here.

mod pipeline;

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use coshell_handler::{Failure, Frame, Handler, quote_log_tail};

use crate::wait::Overrun;

/// The handler, or what `label` describes, was stopped because of `overrun`. `running` names the programs that it had started;
/// they are in the message if bash did not report the command. If that is `lambda_each`, they are too, but for the subshell of
/// the records.
pub(crate) fn limit_exceeded(
    label: &str,
    overrun: Overrun,
    margin: Option<Duration>,
    command: Option<&str>,
    stack: Vec<Frame>,
    running: &[String],
    tail: &str,
) -> Failure {
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
            format!("{label} was stopped by the shutdown of the sandbox"),
        ),
    };
    let during = command.map_or_else(String::new, |command| format!(" during `{command}`"));
    let programs: Vec<_> = match command {
        None => running.iter().map(String::as_str).collect(),
        Some("lambda_each") => {
            let names = running.iter().map(String::as_str);
            names.filter(|name| *name != "bash").collect()
        }
        Some(_) => Vec::new(),
    };
    let programs = if programs.is_empty() {
        String::new()
    } else {
        format!(" with {} running", programs.join(", "))
    };
    failure_with_log(
        error_type,
        &format!("{what}{during}{programs}"),
        stack,
        tail,
    )
}

/// The handler was not started, because only `left` remains until its deadline.
pub(crate) fn deadline_too_close(handler: &Handler, margin: Duration, left: Duration) -> Failure {
    Failure::new(
        "Function.Timeout",
        format!(
            "{} was not started: its deadline is in {} ms, and the deadline margin is {} ms",
            handler.label(),
            left.as_millis(),
            margin.as_millis()
        ),
    )
}

/// Sets the line of the innermost frame, which bash does not know when it exits. It is the line that contains `command`, if
/// only one line of the function does.
pub(crate) fn fill_in_line(stack: &mut [Frame], command: Option<&str>) {
    let (Some(frame), Some(command)) = (stack.first_mut(), command) else {
        return;
    };
    let command = without_whitespace(command.lines().next().unwrap_or_default());
    if frame.line > 0 || command.is_empty() {
        return;
    }
    let text = read_text(&frame.file);
    let lines: Vec<_> = text.lines().map(without_whitespace).collect();
    let range = find_function(&text, &frame.function).unwrap_or(0..lines.len());
    let has_command =
        |index: &usize| lines[*index].contains(&command) && !lines[*index].starts_with('#');
    let mut found = range.filter(has_command);
    if let (Some(index), None) = (found.next(), found.next()) {
        frame.line = u32::try_from(index + 1).unwrap_or(0);
    }
}

/// The lines of a function, counted from 0. `None` unless the file defines it once and closes it with a brace that has the
/// indentation of its first line.
fn find_function(text: &str, function: &str) -> Option<std::ops::Range<usize>> {
    let lines: Vec<_> = text.lines().collect();
    let mut starts = (lines.iter().enumerate()).filter(|(_, line)| begins_function(line, function));
    let (Some((start, line)), None) = (starts.next(), starts.next()) else {
        return None;
    };
    let indentation = |line: &str| line.len() - line.trim_start().len();
    if line.trim_end().ends_with(['}', ')']) && !line.trim_end().ends_with("()") {
        return Some(start..start + 1);
    }
    let end = lines.iter().skip(start + 1).position(|other| {
        indentation(other) == indentation(line) && other.trim_start().starts_with(['}', ')'])
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

/// Describes the part of a pipeline that failed. `None` if that is `command`, the last part, which bash reports itself.
/// `place` is the pipeline's file and line.
pub(crate) fn describe_failed_part(
    statuses: &[i32],
    place: Option<&Frame>,
    command: Option<&str>,
) -> Option<String> {
    let index = pipeline::failed_part_index(statuses)?;
    let count = statuses.len();
    let text = place.and_then(|place| {
        let line = usize::try_from(place.line).unwrap_or(0);
        let text = read_text(&place.file);
        pipeline::part_text(&text, line, count, index, command?)
    });
    let part = format!("part {} of {count} of a pipeline", index + 1);
    Some(match text {
        Some(text) => format!("`{text}`, {part},"),
        None => part,
    })
}

/// Reads `function file:line`.
pub(crate) fn parse_frame(text: &str) -> Frame {
    let (function, place) = text.split_once(' ').unwrap_or((text, ""));
    let (file, line) = place.rsplit_once(':').unwrap_or((place, "0"));
    Frame {
        function: function.to_owned(),
        file: file.to_owned(),
        line: line.parse().unwrap_or(0),
    }
}

/// The text of a file; empty if it cannot be read. A function may come from a FIFO, which would have no writer any more.
fn read_text(file: &str) -> String {
    if !Path::new(file).is_file() {
        return String::new();
    }
    let bytes = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// For comparing commands: bash prints them with other whitespace than the file has.
fn without_whitespace(text: &str) -> String {
    text.split_whitespace().collect()
}

/// A failure whose message is `what`, the innermost frame, and the end of the log.
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
    let quoted = quote_log_tail(tail);
    Failure {
        error_type: error_type.into(),
        message: format!("{what}{place}{quoted}"),
        stack,
        quoted_bytes: quoted.len(),
    }
}

/// `status 3`, or `status 137 (SIGKILL)`: above 128 the shell adds 128 to the number of a signal.
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
    fn line_is_found_if_only_one_has_the_command() {
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
        assert_eq!(stack[0].line, 0, "two lines have the command");
        fill_in_line(&mut stack, Some("echo \"$response\""));
        assert!(stack[0].line > 0);
        fill_in_line(&mut [frame("/no/such/file")], Some("x"));
    }

    #[test]
    fn function_is_found_by_its_indentation() {
        let text =
            "one() {\n  x\n}\nfunction two {\n  if y; then\n    x\n  fi\n}\n  three () { x; }\n";
        assert_eq!(find_function(text, "one"), Some(0..3));
        assert_eq!(find_function(text, "two"), Some(3..8));
        assert_eq!(find_function(text, "three"), Some(8..9));
        assert_eq!(find_function(text, "thre"), None);
        assert_eq!(find_function("f() {\n}\nf() {\n}\n", "f"), None);
        assert_eq!(find_function("f() {\n", "f"), None);
    }

    #[test]
    fn status_above_128_names_its_signal() {
        assert_eq!(status_text(137), "status 137 (SIGKILL)");
        assert_eq!(status_text(3), "status 3");
        assert_eq!(status_text(255), "status 255");
    }
}
