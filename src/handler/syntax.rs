//! Errors that only bash can find in a handler's file: its syntax, and which functions it defines.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Frame, LoadError};
use crate::handler::{Handler, Kind};
use crate::shape;
use crate::suggestion::Suggestion;

/// A message lists at most this many functions.
const MAX_LISTED: usize = 20;

/// The error for a file that was sourced and defines only other `functions`.
pub fn undefined_function(handler: &Handler, functions: &[String]) -> LoadError {
    let mut names: Vec<_> = functions
        .iter()
        .take(MAX_LISTED)
        .map(String::as_str)
        .collect();
    if functions.len() > MAX_LISTED {
        names.push("...");
    }
    let defined = match names.as_slice() {
        [] => "no function at all".to_owned(),
        names => names.join(", "),
    };
    let (file, function) = (&handler.file, handler.label());
    let cause = format!(
        "{} defines no function {function}; it defines {defined}",
        file.display()
    );
    LoadError {
        suggestion: Suggestion::for_function(&handler.name, function, file, functions)
            .map(Box::new),
        ..handler.load_error("Runtime.HandlerNotFound", &cause)
    }
}

/// Lets `bash -n` parse the handler's file, which takes a process: before a whole script runs, and for a function's file
/// only after something else failed. `None` if the syntax is right.
pub fn check_syntax(bash: &Path, handler: &Handler) -> Option<LoadError> {
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
    let parsed = parse(&[]).ok()?;
    if parsed.status.success() {
        return None;
    }
    // `shopt -s extglob` changes the grammar, but `bash -n` does not run it.
    let file = fs::read(&handler.file).unwrap_or_default();
    if memchr::memmem::find(&file, b"extglob").is_some()
        && parse(&["-O", "extglob"]).is_ok_and(|parsed| parsed.status.success())
    {
        return None;
    }
    let text = String::from_utf8_lossy(&parsed.stderr);
    let text = text.trim_end();
    let mut stack = Vec::new();
    if let Some((file, line)) = find_place(text) {
        if matches!(handler.kind, Kind::Script(_)) && exits_before(handler, line) {
            return None;
        }
        stack.push(Frame {
            function: "source".to_owned(),
            file,
            line,
        });
    }
    Some(handler.load_error_at("Runtime.UserCodeSyntaxError", text, stack, ""))
}

/// The error for a whole script that only defines functions: its response to every event would be empty. Starts bash.
pub fn check_runs_commands(bash: &Path, handler: &Handler) -> Option<LoadError> {
    let text = fs::read(&handler.file).ok()?;
    let functions = shape::library_functions(bash, &handler.file, &text);
    if functions.is_empty() {
        return None;
    }
    let name = handler.file_name();
    let function = shape::likely_handler(&functions);
    let suggestion = match name.strip_suffix(".sh") {
        Some(stem) => Suggestion::Handler(format!("{stem}.{function}")),
        None => Suggestion::Rename {
            file: name,
            function: function.to_owned(),
        },
    };
    let cause = format!(
        "{} defines functions and runs no command, so it does nothing as a whole script",
        handler.file.display()
    );
    Some(LoadError {
        suggestion: Some(Box::new(suggestion)),
        ..handler.load_error("Runtime.HandlerNotFound", &cause)
    })
}

/// Whether a script has an `exit` at the start of a line before `line`. Behind it may be anything, such as an archive
/// that the script unpacks.
fn exits_before(handler: &Handler, line: u32) -> bool {
    let text = fs::read(&handler.file).unwrap_or_default();
    let mut lines = text.split(|byte| *byte == b'\n').zip(1..line);
    lines.any(|(text, _)| text == b"exit" || text.starts_with(b"exit "))
}

/// The last place that bash names, as `file: line N: ...`.
fn find_place(text: &str) -> Option<(String, u32)> {
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
        assert_eq!(find_place(text), Some(("/t/a.sh".to_owned(), 3)));
        assert_eq!(find_place("no place"), None);
    }
}
