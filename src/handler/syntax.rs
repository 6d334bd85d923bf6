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
    let script = fs::read(&handler.file).unwrap_or_default();
    if memchr::memmem::find(&script, b"extglob").is_some()
        && parse(&["-O", "extglob"]).is_ok_and(|parsed| parsed.status.success())
    {
        return None;
    }
    if has_aliases(handler, &script) {
        return None;
    }
    let text = String::from_utf8_lossy(&parsed.stderr);
    // For a binary file, bash prints the name twice.
    let name = format!("{}: ", handler.file.display());
    let text = text.trim_end();
    let text = text
        .strip_prefix(&name)
        .filter(|rest| rest.starts_with(&name))
        .unwrap_or(text);
    let mut stack = Vec::new();
    if let Some((file, line)) = find_place(text) {
        if matches!(handler.kind, Kind::Script(_)) && ends_before(&script, line) {
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

/// Whether a whole script defines aliases and expands them: they can change the grammar, but `bash -n` defines none.
fn has_aliases(handler: &Handler, text: &[u8]) -> bool {
    let has = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    let Kind::Script(interpreter) = &handler.kind else {
        return false;
    };
    has(b"alias ") && (interpreter.is_posix || has(b"expand_aliases"))
}

/// Whether a script has an `exit`, or an `exec` of a program, at the start of a line before `line`. Behind it may be anything,
/// such as an archive that the script unpacks, or the text of a program in another language.
fn ends_before(text: &[u8], line: u32) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').zip(1..line);
    lines.any(|(text, _)| text == b"exit" || text.starts_with(b"exit ") || runs_another(text))
}

/// Whether a line is `exec` with a program, and not with redirections alone. Quotes before and behind the word are bash's
/// alone, where the other language reads a string: `"exec"`, `''''exec`.
fn runs_another(line: &[u8]) -> bool {
    let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'');
    let quotes = line.iter().take_while(|byte| is_quote(byte)).count();
    let Some(rest) = line[quotes..].strip_prefix(b"exec") else {
        return false;
    };
    let closing = rest.iter().take_while(|byte| is_quote(byte)).count();
    let words = &rest[closing..];
    let word = words.trim_ascii();
    words.first().is_some_and(u8::is_ascii_whitespace)
        && !word.is_empty()
        && !word
            .iter()
            .take_while(|byte| !byte.is_ascii_whitespace())
            .any(|byte| matches!(byte, b'<' | b'>'))
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

    #[test]
    fn nothing_behind_an_exec_of_a_program_is_bash() {
        for line in [
            "exec awk -f \"$0\"",
            "''''exec python3 \"$0\" \"$@\" # '''",
            "\"exec\" \"python3\" \"$0\"",
            "exec\ttclsh x",
        ] {
            assert!(runs_another(line.as_bytes()), "{line}");
        }
        for line in [
            "exec",
            "exec >log",
            "exec 2>&1",
            "exec {fd}<x",
            "executor run",
            "echo exec x",
            "",
        ] {
            assert!(!runs_another(line.as_bytes()), "{line}");
        }
    }
}
