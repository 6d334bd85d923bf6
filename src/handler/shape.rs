//! Files whose shape does not suit the way they are named.
//!
//! A file of functions that is named as a whole script would run nothing and answer every event with
//! nothing. A function's file that calls its handler at its end runs it at init, before there is an event.
//! Both are what people have who come from scripts that they ran by hand.

use std::path::Path;
use std::process::{Command, Stdio};

/// Builtins that change the shell alone: a file with nothing else has no work of its own.
const PREPARES: [&str; 17] = [
    ":",
    "alias",
    "declare",
    "enable",
    "export",
    "lambda_keep",
    "local",
    "readonly",
    "set",
    "shopt",
    "true",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "[[",
];

/// The functions of a file that defines some and runs no command; empty if it does run one, or where that
/// cannot be seen. Starts bash, which prints what it has read, and runs nothing of the file.
pub fn only_functions(bash: &Path, file: &Path, text: &[u8]) -> Vec<String> {
    if !may_be_functions(text) {
        return Vec::new();
    }
    let printed = Command::new(bash)
        .arg("--pretty-print")
        .arg(file)
        .env_remove("BASH_ENV")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match printed {
        Ok(printed) if printed.status.success() => {
            functions_alone(&String::from_utf8_lossy(&printed.stdout)).unwrap_or_default()
        }
        // bash has that option from version 5.0 on.
        _ => Vec::new(),
    }
}

/// Whether it is worth to ask bash: most scripts end in a command at the start of a line.
fn may_be_functions(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    if !text.contains("()") && !text.contains("function ") {
        return false;
    }
    let Some(last) = last_line(&text) else {
        return false;
    };
    // The end of a here-document may stand there too.
    text.contains("<<")
        || last.starts_with([' ', '\t', '}', ')'])
        || last.contains("()")
        || last.starts_with("function ")
        || prepares(last)
}

/// The names of the functions in what bash prints of a file, if it prints nothing else but what prepares the
/// shell. Only the braces of functions stand at the start of a line.
fn functions_alone(printed: &str) -> Option<Vec<String>> {
    let mut functions = Vec::new();
    let mut lines = printed.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_suffix(" () ") {
            let name = name.strip_prefix("function ").unwrap_or(name);
            functions.push(name.to_owned());
            if lines.next()?.trim_end() != "{" {
                return None;
            }
            lines.by_ref().find(|line| line.starts_with('}'))?;
        } else if !line.trim().is_empty() && !prepares(line) {
            return None;
        }
    }
    (!functions.is_empty()).then_some(functions)
}

/// Whether a command, on a line of its own, does nothing but to prepare the shell.
fn prepares(line: &str) -> bool {
    let runs_more = line.contains("$(") || line.contains(['`', '|', ';']) || line.contains("<(");
    let first = line.split_whitespace().next().unwrap_or_default();
    let is_assignment = first.split_once('=').is_some_and(|(name, _)| {
        let name = name.split('[').next().unwrap_or_default();
        !name.is_empty() && is_name(name.trim_end_matches('+'))
    });
    !runs_more && !line.contains("&&") && (is_assignment || PREPARES.contains(&first))
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(is_part) && !text.starts_with(|first: char| first.is_ascii_digit())
}

/// The handler that was likely meant by a whole file, of the functions that are in it.
pub fn likely_meant(functions: &[String]) -> &str {
    let named = |name: &str| functions.iter().find(|one| *one == name);
    let likely = named("handler").or_else(|| named("main"));
    likely
        .or(functions.last())
        .map_or("handler", String::as_str)
}

/// A call of a function at the end of a file that is sourced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Where it is, from 1.
    pub line: u32,
    /// As the file has it.
    pub text: String,
}

impl Call {
    /// What to do about it.
    pub fn advice(&self) -> String {
        format!(
            "remove the line, or let it run by hand only: [[ $0 != \"$BASH_SOURCE\" ]] || {}",
            self.text
        )
    }
}

/// The line at the end of a function's file that calls the handler, or another function with the file's
/// arguments, of which a file that is sourced has none.
pub fn call_at_end(text: &[u8], function: &str) -> Option<Call> {
    let text = String::from_utf8_lossy(text);
    let last = last_line(&text)?;
    let (name, rest) = match last.split_once([' ', '\t']) {
        Some((name, rest)) => (name, rest.trim_start()),
        None => (last.trim_end_matches(';'), ""),
    };
    let is_call = !rest.starts_with("()") && !rest.starts_with('=');
    let passes_on = rest.starts_with("\"$@\"") || rest.starts_with("$@");
    let defines = |end: &str| text.contains(&format!("{name}{end}"));
    let is_function =
        || defines("()") || defines(" ()") || text.contains(&format!("function {name}"));
    let is_meant = name == function || passes_on && is_function();
    (is_call && is_meant).then(|| {
        let above = &text.as_bytes()[..last.as_ptr() as usize - text.as_ptr() as usize];
        let above = memchr::memchr_iter(b'\n', above).count();
        Call {
            line: u32::try_from(above).unwrap_or(u32::MAX).saturating_add(1),
            text: last.trim_end().to_owned(),
        }
    })
}

/// The last line that is neither empty nor a comment.
fn last_line(text: &str) -> Option<&str> {
    let is_said = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    text.lines().rev().find(is_said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_functions_is_told_from_a_script_with_functions() {
        let of = |text: &str| functions_alone(text);
        let both = "\nset -eu\nX=1\na () \n{ \n    echo\n}\nb () \n{ \n    cat <<E\nrun\nE\n\n}\n";
        assert_eq!(of(both), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(of(&format!("{both}\nmain \"$@\"\n")), None);
        assert_eq!(of(&format!("{both}x=$(b)\n")), None);
        assert_eq!(of(&format!("{both}[[ -n $1 ]] && a\n")), None);
        assert_eq!(of(&format!("{both}. ./lib.sh\n")), None);
        assert_eq!(of("set -eu\n"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn bash_is_asked_only_where_a_file_may_be_functions() {
        for text in [
            "f() { :; }\n",
            "function f {\n:\n}\nX=1 # x\n",
            "f() (\n:\n)\n\n# end\n",
        ] {
            assert!(may_be_functions(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "echo\n",
            "f() { :; }\nf \"$1\"\n",
            "f() { :; }\nx=$(f)\n",
        ] {
            assert!(!may_be_functions(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_call_at_the_end_is_one_of_the_handler_or_passes_arguments_on() {
        let at = |text: &str| call_at_end(text.as_bytes(), "handler").map(|call| call.line);
        assert_eq!(at("handler() { :; }\nhandler \"$@\"\n# end\n\n"), Some(2));
        assert_eq!(at("handler() { :; }\nhandler\n"), Some(2));
        assert_eq!(at("main() { :; }\nhandler() { :; }\nmain $@"), Some(3));
        for text in [
            "handler() { :; }\n",
            "handler() {\n  handler \"$@\"\n}\n",
            "handler () { :; }",
            "connect() { :; }\nhandler() { :; }\nconnect\n",
            "handler() { :; }\nset -- \"$@\"\n",
            "handler=1\n",
            "handler() { :; }\n[[ $0 != \"$BASH_SOURCE\" ]] || handler \"$@\"\n",
            "",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
