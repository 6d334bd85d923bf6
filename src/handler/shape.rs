//! Files whose contents do not suit their name in the handler setting.
//!
//! A file of functions that is named as a whole script runs nothing and answers every event with an empty response. A
//! function's file that calls its handler in its last line runs it at init, before there is an event. Both are common in
//! scripts that were written to be run by hand.

use std::path::Path;
use std::process::{Command, Stdio};

/// The functions of a file that defines some and runs no command; empty if it runs one, or may run one. Starts bash,
/// which prints the file as it parsed it, and runs nothing of it.
pub fn library_functions(bash: &Path, file: &Path, text: &[u8]) -> Vec<String> {
    if !may_be_library(text) {
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
            parse_library(&String::from_utf8_lossy(&printed.stdout)).unwrap_or_default()
        }
        // bash has this option since version 5.0.
        _ => Vec::new(),
    }
}

/// Whether bash has to parse the file. Most scripts need not be parsed: they end in a command at the start of a line.
fn may_be_library(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    if !text.contains("()") && !text.contains("function ") {
        return false;
    }
    let Some(last) = last_line(&text) else {
        return false;
    };
    // The last line may be the end of a here-document.
    text.contains("<<")
        || last.starts_with([' ', '\t', '}', ')'])
        || last.contains("()")
        || last.starts_with("function ")
        || is_setup(last.split(" #").next().unwrap_or_default())
}

/// The names of the functions in the output of `bash --pretty-print`; `None` if there is also a command that does more
/// than setup, or a line that this does not understand. Only the braces of functions begin a line.
fn parse_library(printed: &str) -> Option<Vec<String>> {
    let mut functions = Vec::new();
    let mut lines = printed.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_suffix(" () ") {
            let name = name.strip_prefix("function ").unwrap_or(name);
            if name.contains(char::is_whitespace) || has_operator(name) {
                return None;
            }
            functions.push(name.to_owned());
            if lines.next()?.trim_end() != "{" {
                return None;
            }
            // What follows on the line of the brace belongs to the file, as in `}; main "$@"`.
            let end = lines.by_ref().find(|line| line.starts_with('}'))?;
            if end.trim_end() != "}" {
                return None;
            }
        } else if !line.trim().is_empty() && !is_setup(line) {
            return None;
        }
    }
    (!functions.is_empty()).then_some(functions)
}

/// Whether the command on this line only changes the shell. False if in doubt.
fn is_setup(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let rest: Vec<_> = words.collect();
    let has_name = || rest.iter().any(|word| !word.starts_with(['-', '+']));
    let assigns = |word: &&str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    !has_operator(line)
        && match first {
            ":" | "true" | "[[" | "lambda_keep" | "unalias" | "unset" => true,
            "set" => rest.first().is_some_and(|option| *option != "+o") && rest != ["-o"],
            "shopt" => matches!(rest[..], ["-s" | "-u", _, ..]),
            "declare" | "typeset" | "readonly" | "export" => {
                has_name()
                    && !rest
                        .iter()
                        .any(|word| word.starts_with('-') && word.contains(['p', 'f', 'F']))
            }
            "alias" => rest.first().is_some_and(assigns),
            _ => is_assignment(line.trim_end()),
        }
}

/// Whether a line, in a string or not, has what could be another command or a redirection.
fn has_operator(line: &str) -> bool {
    line.contains("$(") || line.contains(['`', '|', ';', '&', '<', '>'])
}

/// Whether a line is one assignment with no command behind it: `X=1 main` runs `main`.
fn is_assignment(line: &str) -> bool {
    let Some((name, value)) = line.split_once('=') else {
        return false;
    };
    let name = name.split('[').next().unwrap_or_default();
    let is_quoted = |start: &str, end: &str| {
        let inner = value
            .strip_prefix(start)
            .and_then(|inner| inner.strip_suffix(end));
        inner.is_some_and(|inner| !inner.contains(['"', '\'', '\\', ')']))
    };
    is_name(name.trim_end_matches('+'))
        && (!value.contains(char::is_whitespace)
            || is_quoted("\"", "\"")
            || is_quoted("'", "'")
            || is_quoted("(", ")"))
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_start = |first: char| !first.is_ascii_digit();
    text.bytes().all(is_part) && text.starts_with(is_start)
}

/// The one of a file's functions that is most likely the handler.
pub fn likely_handler(functions: &[String]) -> &str {
    let named = |name: &str| functions.iter().find(|one| *one == name);
    let likely = named("handler").or_else(|| named("main"));
    likely
        .or(functions.last())
        .map_or("handler", String::as_str)
}

/// The last command of a function's file, if it calls a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalCall {
    /// Counted from 1.
    pub line: u32,
    /// The call as it is in the file.
    pub text: String,
}

impl FinalCall {
    pub fn advice(&self) -> String {
        format!(
            "remove the line, or let it run only by hand: [[ $0 != \"$BASH_SOURCE\" ]] || {}",
            self.text
        )
    }
}

/// The last command of a function's file, if it calls the handler `function`, or passes the file's arguments to another
/// function: a file that is sourced has none.
pub fn find_final_call(text: &[u8], function: &str) -> Option<FinalCall> {
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
    let runs_handler = name == function || passes_on && is_function();
    (is_call && runs_handler).then(|| {
        let above = &text.as_bytes()[..last.as_ptr() as usize - text.as_ptr() as usize];
        let above = memchr::memchr_iter(b'\n', above).count();
        FinalCall {
            line: u32::try_from(above).unwrap_or(u32::MAX).saturating_add(1),
            text: last.trim_end().to_owned(),
        }
    })
}

/// The last line that is neither empty nor a comment.
fn last_line(text: &str) -> Option<&str> {
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    text.lines().rev().find(is_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_functions_differs_from_a_script_with_functions() {
        let parse = |text: &str| parse_library(text);
        let both = "\nset -eu\nX=1\na () \n{ \n    echo\n}\nb () \n{ \n    cat <<E\nrun\nE\n\n}\n";
        assert_eq!(parse(both), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(parse(&format!("{both}\nmain \"$@\"\n")), None);
        assert_eq!(parse(&format!("{both}x=$(b)\n")), None);
        assert_eq!(parse(&format!("{both}[[ -n $1 ]] && a\n")), None);
        assert_eq!(parse(&format!("{both}. ./lib.sh\n")), None);
        assert_eq!(
            parse(&format!("{both}X='a b'\nY=(1 2)\ndeclare -r z=3\n")),
            parse(both)
        );
        for more in [
            "LC_ALL=C a",
            "umask",
            "set -o",
            "shopt",
            "declare -p X",
            "export -p",
            ": >x",
            "X=1 a & wait",
            "c () ",
        ] {
            assert_eq!(parse(&format!("{both}{more}\n")), None, "{more}");
        }
        assert_eq!(parse("a () \n{ \n    echo\n}; a \"$@\"\n"), None);
        assert_eq!(parse("a () \n{ \n    echo\n} && a\n"), None);
        assert_eq!(parse("echo; a () \n{ \n    echo\n}\n"), None);
        assert_eq!(parse("set -eu\n"), None);
        assert_eq!(parse(""), None);
    }

    /// bash is the oracle: a file that prints something runs a command.
    #[test]
    fn no_script_that_does_something_counts_as_a_file_of_functions() {
        let bash = Path::new("/bin/bash");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("job.sh");
        let (mut silent, mut found) = (0, 0);
        for definition in [
            "main() { echo \"ran $*\"; }",
            "main() (\n  echo ran\n)",
            "main() {\n  cat <<E\n}\nE\n}",
            "function main { echo ran; }",
            "X=1 Y='a b'\nset -u\nmain() { echo ran; }",
        ] {
            for separator in ["\n", "; ", " && ", " # main\n", " & "] {
                for end in [
                    "main",
                    "main \"$@\"",
                    "LC_ALL=C main",
                    "X=1 Y=2 main",
                    "X='a b' main",
                    "X=(1 2)",
                    "X='a b' # main",
                    "[[ 1 ]] && main",
                    "if :; then main; fi",
                    "X=1 main & wait",
                    "umask",
                    "ulimit -n",
                    "set -o",
                    "shopt -p",
                    "declare -p PATH",
                    "export -p",
                    "alias a=b; alias",
                    "declare -f",
                    "f() { :; }",
                    "main; f() { :; }",
                    "f() { :; }; main",
                    "set -e",
                    "export X=1",
                ] {
                    let text = format!("{definition}{separator}{end}\n");
                    std::fs::write(&file, &text).expect("a file");
                    let run = Command::new(bash).arg(&file).output();
                    let is_silent = run.expect("bash runs").stdout.is_empty();
                    let functions = library_functions(bash, &file, text.as_bytes());
                    assert!(is_silent || functions.is_empty(), "{text}");
                    silent += usize::from(is_silent);
                    found += usize::from(!functions.is_empty());
                }
            }
        }
        // That it finds none is right, too, but of no use.
        assert!(found > silent / 10, "{found} of {silent}");
    }

    #[test]
    fn bash_parses_only_files_that_may_be_libraries() {
        for text in [
            "f() { :; }\n",
            "function f {\n:\n}\nX=1 # x\n",
            "f() (\n:\n)\n\n# end\n",
        ] {
            assert!(may_be_library(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "echo\n",
            "f() { :; }\nf \"$1\"\n",
            "f() { :; }\nx=$(f)\n",
        ] {
            assert!(!may_be_library(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_final_call_names_the_handler_or_passes_arguments_on() {
        let line = |text: &str| find_final_call(text.as_bytes(), "handler").map(|call| call.line);
        assert_eq!(line("handler() { :; }\nhandler \"$@\"\n# end\n\n"), Some(2));
        assert_eq!(line("handler() { :; }\nhandler\n"), Some(2));
        assert_eq!(line("main() { :; }\nhandler() { :; }\nmain $@"), Some(3));
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
            assert_eq!(line(text), None, "{text}");
        }
    }
}
