//! The text of the functions, for bash: the short ones by which a handler comes to `calls.bash`, and for whole scripts the file
//! that has all of them.

use std::fmt::Write as _;

use coshell_handler::bash::without_comments;

/// Those that are the same for functions and for whole scripts.
const OF_BOTH: [&str; 9] = [
    "get",
    "json",
    "request",
    "encode",
    "decode",
    "hash",
    "metric",
    "tempdir",
    "remaining_ms",
];

/// `lambda_error` always ends the handler, so that it need not restore the options. It is like the function `exit`.
const ERROR: &str = "lambda_error() {
{ builtin set +xT; } 2>/dev/null
builtin local __driver_exit=1
__driver_rare __driver_error \"$@\" || __driver_exit=2
if [[ ${BASH_SUBSHELL-} != 0 || ${BASHPID-} != \"$$\" ]]; then builtin exit \"$__driver_exit\"; fi
__driver_rare __driver_exit \"$__driver_exit\"
}
";

/// The functions that a handler calls.
pub(crate) fn stubs(functions: &[&str]) -> String {
    let mut text = String::new();
    for function in functions {
        // `||` keeps `set -e` out of what is ours, and would keep it out of the function that lambda_each calls.
        let (quiet, end) = match *function {
            "error" => {
                text.push_str(ERROR);
                continue;
            }
            "each" => ("+xTe", ""),
            _ => ("+xT", " || builtin return"),
        };
        let target = match *function {
            "remaining_ms" => "__driver_remaining_ms".to_owned(),
            other => format!("__driver_call {other}"),
        };
        let _ = writeln!(
            text,
            "lambda_{function}() {{ {{ builtin local - && builtin set {quiet}; }} 2>/dev/null; __driver_rare {target} \"$@\"{end}; }}"
        );
    }
    text
}

/// The file that a whole script sources. `paths` are those of the server's pipes.
///
/// The functions are those of the driver. What differs is around them: they are there already, the shell is the script's, and
/// its options hold for what `lambda_each` calls.
pub(crate) fn script_text(paths: &str) -> String {
    let parts = [
        include_str!("../../../runtime-scripts/calls.bash").to_owned(),
        functions_of(
            include_str!("../../../runtime-scripts/lambda.bash"),
            &[
                "__driver_error",
                "__driver_remaining_ms",
                "__driver_refuse_call",
                "__driver_refuse",
            ],
        ),
        functions_of(
            include_str!("../../../runtime-scripts/rare.bash"),
            &["__driver_record_place"],
        ),
        stubs(&OF_BOTH),
    ];
    // A script may source the file twice, and may define functions of these names.
    let is_readonly = |line: &&str| line.starts_with("builtin readonly -f");
    let text = without_comments(&parts.concat());
    let functions: String = text
        .lines()
        .filter(|line| !is_readonly(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    let begin = without_comments(include_str!("../../../runtime-scripts/functions.bash"));
    let (begin, end) = begin
        .split_once("__driver_functions\n")
        .unwrap_or((&begin, ""));
    // An ERR trap of the script, with -E, is for its own commands.
    let functions = functions.replace("builtin set +xT;", "builtin set +xTE;");
    // The shell may not expand braces.
    let (folder, numbers) = paths.split_once('{').unwrap_or((paths, ""));
    let numbers = numbers.trim_end_matches('}').split(',');
    let paths: Vec<_> = numbers.map(|number| format!("{folder}{number}")).collect();
    format!(
        "{begin}__driver_calls=({})\n{functions}{end}",
        paths.join(" ")
    )
}

/// The functions of these names, as `text` defines them at the start of a line.
fn functions_of(text: &str, names: &[&str]) -> String {
    let mut found = String::new();
    for name in names {
        let begin = text.find(&format!("\n{name}() {{"));
        let end = begin.and_then(|begin| Some(begin + text[begin..].find("\n}\n")? + 3));
        if let (Some(begin), Some(end)) = (begin, end) {
            found.push_str(&text[begin + 1..end]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_for_scripts_has_what_its_functions_call() {
        let text = script_text("/proc/1/fd/{3,4}");
        assert!(text.contains("__driver_calls=(/proc/1/fd/3 /proc/1/fd/4)\n"));
        let words = |text: &str| -> Vec<String> {
            let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            let words = text.split(|letter| !is_part(letter));
            words.map(ToOwned::to_owned).collect()
        };
        for function in super::super::FUNCTIONS {
            assert!(
                text.contains(&format!("\nlambda_{function}() {{")),
                "{function}"
            );
        }
        for line in text.lines().filter(|line| line.contains("() {")) {
            let name = line.split('(').next().unwrap_or_default();
            assert!(
                words(&text).iter().filter(|word| *word == name).count() > 1
                    || name.starts_with("lambda_"),
                "{name}"
            );
        }
        for name in [
            "__driver_call",
            "__driver_each",
            "__driver_error",
            "__driver_refuse",
            "__driver_record_place",
            "__driver_rare",
        ] {
            assert!(text.contains(&format!("\n{name}() {{")), "{name}");
        }
        assert!(!text.contains("readonly -f"));
    }
}
