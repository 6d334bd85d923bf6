//! Calls of the functions that coshell offers: names that are none of them, and options that they do not have.

use crate::finding::{FUNCTIONS_VARIABLE, Finding, Source};
use crate::reader::Command;
use coshell_handler::{Handler, Kind, nearest};

/// The options of a function.
struct Options {
    function: &'static str,
    flags: &'static [&'static str],
    /// Those that take a value.
    values: &'static [&'static str],
    /// What follows the first word that is no option may begin with a hyphen.
    come_first: bool,
}

const fn options(
    function: &'static str,
    flags: &'static [&'static str],
    values: &'static [&'static str],
    come_first: bool,
) -> Options {
    Options {
        function,
        flags,
        values,
        come_first,
    }
}

/// For the functions that have options; `src/calls` and `runtime-scripts` read them.
const OPTIONS: [Options; 12] = [
    options(
        "lambda_aws",
        &["--no-sign-request"],
        &[
            "--method",
            "-X",
            "--path",
            "--query",
            "-q",
            "--header",
            "-H",
            "--output",
            "-o",
            "--variable",
            "-v",
            "--region",
            "--profile",
            "--endpoint-url",
        ],
        false,
    ),
    options("lambda_decode", &[], &["-v"], true),
    options("lambda_each", &["--unwrap", "--decode"], &[], false),
    options("lambda_encode", &[], &["-v"], true),
    options(
        "lambda_get",
        &["--array", "--map"],
        &["--json", "--file", "--in"],
        false,
    ),
    options(
        "lambda_hash",
        &["--base64"],
        &["-v", "--file", "--key", "--key-hex", "--key-file"],
        true,
    ),
    // What follows --json belongs to lambda_json.
    options(
        "lambda_http_response",
        &["--stream"],
        &["--cookie", "--file", "--redirect"],
        false,
    ),
    options("lambda_json", &["--array", "--quote"], &["-v"], true),
    options(
        "lambda_parameter",
        &["--no-decryption"],
        &["--ttl", "--region", "--profile", "--endpoint-url"],
        false,
    ),
    options("lambda_metric", &[], &["--namespace"], true),
    options(
        "lambda_secret",
        &[],
        &[
            "--ttl",
            "--field",
            "--version-id",
            "--version-stage",
            "--region",
            "--profile",
            "--endpoint-url",
        ],
        false,
    ),
    options(
        "lambda_request",
        &["--body-file"],
        &["--prefix", "--join", "--json", "--file", "--in"],
        false,
    ),
];

/// Whether a whole script sources the functions: the runtime looks for the variable's name in the handler's file.
pub(crate) fn has_opted_in(handler: &Handler, sources: &[Source]) -> bool {
    let mut own = sources.iter().filter(|source| source.path == handler.file);
    matches!(handler.kind, Kind::Script(_))
        && own.any(|source| source.text.contains(FUNCTIONS_VARIABLE))
}

/// The finding for a call in a whole script that does not source the functions.
pub(crate) fn needs_opt_in(name: &str) -> Finding {
    let message = format!("a whole script has {name} only if it sources the functions of coshell");
    Finding::warning("command", message).suggest(format!(
        ". \"${{{FUNCTIONS_VARIABLE}:?this script needs coshell}}\", above the first call"
    ))
}

/// Finds options that the functions do not have.
pub(crate) fn check_options(source: &Source, command: &Command) -> Option<Finding> {
    let name = command.name()?;
    let options = OPTIONS.iter().find(|one| one.function == name)?;
    let mut arguments = command.arguments().iter();
    while let Some(word) = arguments.next() {
        let option = word.text.as_str();
        if !word.is_literal || !option.starts_with('-') {
            if options.come_first {
                return None;
            }
            continue;
        }
        // What follows is text, or belongs to lambda_json.
        let ends_options = match name {
            "lambda_json" => matches!(option, "--array" | "--quote"),
            "lambda_http_response" => option == "--json",
            _ => false,
        };
        if ends_options || matches!(option, "--" | "-") {
            return None;
        }
        if options.values.contains(&option) {
            arguments.next();
        } else if !options.flags.contains(&option) {
            return Some(unknown_option(source, command, options, option));
        }
    }
    None
}

fn unknown_option(source: &Source, command: &Command, options: &Options, option: &str) -> Finding {
    let known = options.flags.iter().chain(options.values).copied();
    let mut known: Vec<_> = known.collect();
    if options.function == "lambda_http_response" {
        known.push("--json");
    }
    let message = format!("{} has no option {option}", options.function);
    let suggestion = match nearest(option, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("it has {}", known.join(", ")),
    };
    Finding::warning("command", message)
        .at(&source.path, command.line)
        .suggest(suggestion)
}

/// The finding for a function that neither coshell nor the script has.
pub(crate) fn unknown_function<'a>(
    name: &str,
    offered: impl Iterator<Item = &'a str>,
) -> Option<Finding> {
    if !name.starts_with("lambda_") {
        return None;
    }
    let message = format!("there is no function {name}");
    let finding = Finding::warning("command", message);
    let offered: Vec<_> = offered.collect();
    Some(match nearest(name, offered.iter().copied()) {
        Some(near) => finding.suggest(format!("did you mean {near}?")),
        None => finding.suggest(format!("coshell has {}", offered.join(", "))),
    })
}
