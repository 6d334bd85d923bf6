//! The text of the functions, for bash: the short ones by which a handler comes to `calls.bash`, and the file that a whole
//! script sources.

use std::fmt::Write as _;

use super::commands::Command;
use coshell_driver::{names, script};

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

/// The command of the driver that does what one of [`FUNCTIONS`](super::FUNCTIONS) promises.
pub(crate) fn command_for(function: &str) -> String {
    match function {
        "each" => names::EACH.to_owned(),
        "remaining_ms" => names::REMAINING_MS.to_owned(),
        "get" | "request" => format!("{} {function}", names::CALL_ABOUT_EVENT),
        _ => format!("{} {function}", names::CALL),
    }
}

/// A function that a handler calls. It switches the options `quiet` off, if there are any, which would show or run something of
/// ours.
pub(crate) fn push_stub(text: &mut String, function: &str, quiet: &str, command: &str, end: &str) {
    let rare = names::RARE;
    let begin = quiet_begin(quiet);
    let _ = writeln!(
        text,
        "lambda_{function}() {{ {begin}{rare} {command} \"$@\"{end}; }}"
    );
}

/// The same for a function of a handler that the host answers. It need not ask whether rare.bash has been read: that would cost as
/// much as a tenth of a call.
pub(crate) fn push_call_stub(
    text: &mut String,
    function: &str,
    quiet: &str,
    command: &str,
    end: &str,
) {
    use names::{BUILTIN, HAS_RARE, RARE};
    let begin = quiet_begin(quiet);
    let _ = writeln!(
        text,
        "lambda_{function}() {{ {begin}if [[ ${{{HAS_RARE}-}} && ! ${{{BUILTIN}-}} ]]; then {command} \"$@\"{end}; \
         else {RARE} {command} \"$@\"{end}; fi; }}"
    );
}

/// What switches options off for the rest of a function. With -x, bash would show that.
fn quiet_begin(quiet: &str) -> String {
    if quiet.is_empty() {
        return String::new();
    }
    let flags = if quiet.contains('e') {
        // What lambda_each calls gets the options of the call.
        format!("{}=$- && ", names::EACH_FLAGS)
    } else {
        String::new()
    };
    let hiding = if quiet.contains('x') {
        "2>/dev/null"
    } else {
        ""
    };
    format!("{{ {flags}builtin local - && builtin set {quiet}; }} {hiding}; ")
}

/// A function of the second program. It does not read rare.bash: a subshell would have to read that for each call.
pub(crate) fn push_command(text: &mut String, command: Command, quiet: &str) {
    use names::{BUILTIN, RARE};
    let begin = quiet_begin(quiet);
    let (function, call) = (command.function, command.call());
    let _ = writeln!(
        text,
        "{function}() {{ {begin}if [[ ${{{BUILTIN}-}} ]]; then {RARE} {call} \"$@\" || builtin return \"$?\"; \
         else {call} \"$@\" || builtin return \"$?\"; fi; }}"
    );
}

/// The file that a whole script sources. `paths` are those of the server's pipes.
///
/// The functions are those of the driver. What differs is around them: they are there already, the shell is the script's, and
/// its options hold for what `lambda_each` calls.
pub(crate) fn script_text(paths: &str, commands: &[Command]) -> String {
    let mut functions = [
        script::CALLS.to_owned(),
        functions_of(
            script::LAMBDA,
            &[
                names::ERROR,
                names::REMAINING_MS,
                names::REFUSE_CALL,
                names::REFUSE,
            ],
        ),
        functions_of(script::RARE, &[names::JOIN, names::RECORD_PLACE]),
    ]
    .concat();
    for function in OF_BOTH {
        // An ERR trap of the script, with -E, is for its own commands.
        let command = command_for(function);
        push_stub(
            &mut functions,
            function,
            "+xkTE",
            &command,
            " || builtin return \"$?\"",
        );
    }
    if !commands.is_empty() {
        functions.push_str(script::COMMAND);
        for command in commands {
            push_command(&mut functions, *command, "+xkT");
        }
    }
    // A script may source the file twice, and may define functions of these names.
    let is_readonly = |line: &&str| line.starts_with("builtin readonly -f");
    let functions: String = functions
        .lines()
        .filter(|line| !is_readonly(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    let (begin, end) = script::FUNCTIONS
        .split_once(&format!("{}\n", names::FUNCTIONS))
        .unwrap_or((script::FUNCTIONS, ""));
    // The shell may not expand braces.
    let (folder, numbers) = paths.split_once('{').unwrap_or((paths, ""));
    let numbers = numbers.trim_end_matches('}').split(',');
    let paths: Vec<_> = numbers.map(|number| format!("{folder}{number}")).collect();
    format!(
        "{begin}{}=({})\n{functions}{end}",
        names::CALLS,
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
        let command = Command {
            function: "jq",
            name: "jq",
        };
        let text = script_text("/proc/1/fd/{3,4}", &[command]);
        let paths = format!("{}=(/proc/1/fd/3 /proc/1/fd/4)\n", names::CALLS);
        assert!(text.contains(&paths));
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
                    || name.starts_with("lambda_")
                    || name == "jq"
                    // Only the shell of a function has descriptors for its calls.
                    || name == names::TAKE_SHELL_REPLY
                    || name == names::TAKE_LISTS
                    || name == names::ASSIGN
                    || name == names::READ_LONGER,
                "{name}"
            );
        }
        for name in [
            names::CALL,
            names::EACH,
            names::ERROR,
            names::REFUSE,
            names::JOIN,
            names::RECORD_PLACE,
            names::RARE,
        ] {
            assert!(text.contains(&format!("\n{name}() {{")), "{name}");
        }
        assert!(!text.contains("readonly -f"));
    }
}
