//! What only bash can tell of a handler's file: whether it parses, and which functions it defines.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Frame, LoadError};
use crate::suggestion::Suggestion;
use crate::{Handler, Kind, shape};

/// A list of functions in an error message names at most so many.
const MAX_NAMED: usize = 20;

/// The file is sourced, and the function is not there.
pub fn undefined(handler: &Handler, functions: &[String]) -> LoadError {
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
    LoadError {
        suggestion: Suggestion::for_function(handler, functions),
        ..handler.fault("Runtime.HandlerNotFound", &cause)
    }
}

/// What `bash -n` finds wrong with the file. For a function's file asked only when something is
/// wrong, for a whole script before it runs.
pub fn syntax_error(bash: &Path, handler: &Handler) -> Option<LoadError> {
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

/// A whole script with nothing but functions in it: it would answer each event with nothing. Starts bash for that.
pub fn no_commands(bash: &Path, handler: &Handler) -> Option<LoadError> {
    let text = fs::read(&handler.file).ok()?;
    let functions = shape::only_functions(bash, &handler.file, &text);
    if functions.is_empty() {
        return None;
    }
    let file = handler.file.display();
    let named = handler.named_file();
    let meant = shape::likely_meant(&functions);
    let suggestion = match named.strip_suffix(".sh") {
        Some(stem) => Suggestion::Handler(format!("{stem}.{meant}")),
        None => Suggestion::Rename {
            file: named,
            function: meant.to_owned(),
        },
    };
    let cause = format!(
        "{file} defines functions and runs no command, so that as a whole script it does nothing"
    );
    Some(LoadError {
        suggestion: Some(suggestion),
        ..handler.fault("Runtime.HandlerNotFound", &cause)
    })
}

/// Whether a script leaves before `line`: what stands behind an `exit` at the start of a line may be
/// anything, such as an archive that the script unpacks.
fn ends_before(handler: &Handler, line: u32) -> bool {
    let text = fs::read(&handler.file).unwrap_or_default();
    let mut lines = text.split(|byte| *byte == b'\n').zip(1..line);
    lines.any(|(text, _)| text == b"exit" || text.starts_with(b"exit "))
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
}
