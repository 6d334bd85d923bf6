//! Builds what bash reads when it starts: the two halves of the driver, and the lines that load the handler's file.
//!
//! The files in `runtime-scripts` are compiled in. Here they lose their comments, and get the right call of the
//! handler.

use std::fmt::Write;

use super::observers::TextTraits;
use super::protocol::{INHERITED_DRIVER, INHERITED_SCRIPT};
use crate::calls;
use crate::config::Isolation;
use coshell_handler::Delivery;
use coshell_handler::bash::{quote, without_comments};

/// The half of the driver that bash reads when it starts. It passes the event to the handler if that is an argument.
pub(crate) fn driver_text(
    isolation: Isolation,
    delivery: Delivery,
    has_calls: bool,
    has_jq: bool,
) -> String {
    let state = match isolation {
        Isolation::Restore => include_str!("../../../runtime-scripts/restore.bash"),
        Isolation::None | Isolation::Subshell | Isolation::Process => {
            include_str!("../../../runtime-scripts/keep.bash")
        }
    };
    let driver = include_str!("../../../runtime-scripts/driver.bash");
    // The last line of the driver reports that bash has read everything, so it stays the last one.
    let (most, last) = driver
        .rsplit_once("\nbuiltin printf")
        .unwrap_or((driver, ""));
    let mut calls = if has_calls {
        call_stubs()
    } else {
        String::new()
    };
    if has_jq {
        calls.push_str(include_str!("../../../runtime-scripts/jq.bash"));
        calls.push_str(JQ_STUB);
    }
    let mut text = without_comments(&format!("{most}\n{state}\n{calls}builtin printf{last}"));
    if !delivery.is_argument() {
        for index in 1..=3 {
            let call = |argument: &str| format!("\"$__driver_function\"{argument} <&61");
            let argument = format!(" \"${{__driver_arguments[{index}]}}\"");
            text = text.replace(&call(&argument), &call(""));
        }
    }
    text
}

/// The function `jq`. It does not read rare.bash: a subshell would have to read that for each call.
const JQ_STUB: &str = "jq() { \
    { builtin local - && builtin set +xT; } 2>/dev/null; \
    if [[ ${__driver_builtin-} ]]; then __driver_rare __driver_jq \"$@\" || builtin return; \
    else __driver_jq \"$@\" || builtin return; fi; }\n";

/// The functions that a handler calls, by which it comes to calls.bash.
fn call_stubs() -> String {
    let mut text = String::new();
    for function in calls::FUNCTIONS {
        // `||` keeps `set -e` out of what is ours, and would keep it out of the function that lambda_each calls.
        let (quiet, end) = match function {
            "each" => ("+xTe", ""),
            _ => ("+xT", " || builtin return"),
        };
        let _ = writeln!(
            text,
            "lambda_{function}() {{ {{ builtin local - && builtin set {quiet}; }} 2>/dev/null; __driver_rare __driver_call {function} \"$@\"{end}; }}"
        );
    }
    text
}

/// The half of the driver that bash reads when it first needs it.
pub(crate) fn rare_text(function: &str, delivery: Delivery) -> String {
    let text = without_comments(concat!(
        include_str!("../../../runtime-scripts/rare.bash"),
        include_str!("../../../runtime-scripts/lambda.bash"),
        include_str!("../../../runtime-scripts/calls.bash"),
        include_str!("../../../runtime-scripts/subshell.bash")
    ));
    // The call looks as a user would write it, for a trap that shows its command.
    let name = if is_plain_name(function) {
        function
    } else {
        "\"$__driver_function\""
    };
    let argument = if delivery.is_argument() {
        " \"$1\""
    } else {
        ""
    };
    let call = format!("{name}{argument}");
    let text = text.replace("\"$__driver_function\" \"$1\"", &call);
    body_to_variable(&text, "__driver_fork")
}

/// Adds to `text` a variable `name` with the body of the function `name`, for `eval`.
fn body_to_variable(text: &str, name: &str) -> String {
    let parts = text
        .split_once(&format!("\n{name}() {{"))
        .and_then(|(before, rest)| {
            let (body, after) = rest.split_once("\n}\n")?;
            Some((before, body.split_once('\n')?.1, after))
        });
    let Some((before, body, after)) = parts else {
        return text.to_owned();
    };
    let body = quote(body);
    let function = &text[before.len()..text.len() - after.len()];
    format!("{before}{function}builtin readonly {name}={body}\n{after}")
}

/// Whether `name` needs no quotes where a command begins.
fn is_plain_name(name: &str) -> bool {
    const RESERVED: [&str; 20] = [
        "if", "then", "elif", "else", "fi", "time", "for", "in", "until", "while", "do", "done",
        "case", "esac", "coproc", "select", "function", "set", "eval", "exit",
    ];
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_part) && !name.is_empty() && !RESERVED.contains(&name)
}

/// The lines that make bash read the driver. `argument_zero` becomes `$0`. `lambda_log` marks messages with
/// `log_nonce`.
pub(crate) fn startup_lines(
    argument_zero: &str,
    function: &str,
    log_nonce: Option<&str>,
    call_paths: Option<&str>,
) -> String {
    // `set -x` in SHELLOPTS is for the file, and not for the driver.
    let is_traced = std::env::var("SHELLOPTS").is_ok_and(|names| names.contains("xtrace"));
    let quiet = if is_traced {
        "{ \\builtin set +x; } 2>/dev/null\n"
    } else {
        ""
    };
    let log_nonce = log_nonce.map(|nonce| format!("__driver_log_nonce={nonce} "));
    let call_paths = call_paths.map(|paths| format!("__driver_calls=({paths}) "));
    format!(
        "{quiet}{}{}__driver_function={} BASH_ARGV0={}\n\
         . /dev/fd/{INHERITED_DRIVER}\n\
         exec {INHERITED_DRIVER}<&- {INHERITED_SCRIPT}<&-\n",
        log_nonce.unwrap_or_default(),
        call_paths.unwrap_or_default(),
        quote(function),
        quote(argument_zero),
    )
}

/// The nonces of the two records that loading a file brings.
#[derive(Debug)]
pub(crate) struct LoadNonces {
    pub load_report: String,
    pub first_state: String,
}

/// The lines that set the options, and load the handler's file.
///
/// If the file names the ERR trap, functions inherit one only if the file says so. If the file may show each command,
/// the output of that is discarded until the file is loaded.
pub(crate) fn load_lines(
    file: &str,
    isolation: Isolation,
    options: &[String],
    traits: TextTraits,
    nonces: &LoadNonces,
) -> String {
    let mut lines = String::new();
    if traits.names_err_trap {
        lines.push_str("__driver_names_err_trap=1\nbuiltin set +E\n");
    }
    if !options.is_empty() {
        let options: Vec<_> = options.iter().map(|option| quote(option)).collect();
        let _ = writeln!(
            lines,
            "builtin set {} || __driver_rare __driver_refuse_options",
            options.join(" ")
        );
    }
    // `set -v` does not show the rest of the line on which it is switched on.
    let end = if traits.may_show_commands { ";" } else { "\n" };
    // A permanent redirection. For a temporary one bash keeps the old descriptor at 10 or above; the file may close
    // that.
    let _ = write!(lines, "\\exec >&2\n. {}{end}", quote(file));
    // `__driver_report_load` is a function, and would not see an ERR trap that functions do not inherit.
    let show_traps = if traits.names_err_trap {
        "\\builtin trap -p ERR >&66; "
    } else {
        ""
    };
    let hide_builtin = match isolation {
        _ if !traits.defines_builtin => "",
        Isolation::Restore | Isolation::Subshell => "\\__driver_hide_builtin; ",
        Isolation::None | Isolation::Process => "\\__driver_hide_builtin no-forks; ",
    };
    let discard = if traits.may_show_commands {
        " >/dev/null 2>&1"
    } else {
        ""
    };
    let LoadNonces {
        load_report,
        first_state,
    } = nonces;
    let _ = writeln!(
        lines,
        "{{ __driver_exit=$?; {hide_builtin}{show_traps}\\__driver_report_load {load_report} \"$__driver_exit\"; }}{discard}\n\
         \\builtin declare -F exec >/dev/null && \\__driver_redirect '>&63' || \\exec >&63\n\
         \\,,, {first_state} first"
    );
    lines
}
