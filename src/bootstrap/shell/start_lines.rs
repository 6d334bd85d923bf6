//! What a bash reads when it starts: the driver's two halves, and the lines that source the file.
//!
//! Pure functions over text. Neighbour: `protocol.rs` has what passes afterwards.

use std::fmt::Write;

use super::observers::Watching;
use super::protocol::{INHERITED_DRIVER, INHERITED_SCRIPT};
use crate::config::Isolation;
use coshell_handler::Delivery;
use coshell_handler::bash::{quote, without_comments};

/// The driver, as bash reads it when it starts. It calls the handler with the event, if that is an argument.
pub(crate) fn driver(isolation: Isolation, delivery: Delivery) -> String {
    let state = match isolation {
        Isolation::Restore => include_str!("../../../runtime-scripts/restore.bash"),
        Isolation::None | Isolation::Subshell | Isolation::Process => {
            include_str!("../../../runtime-scripts/live_on.bash")
        }
    };
    let driver = include_str!("../../../runtime-scripts/driver.bash");
    // The last line of the driver says that all has been read.
    let (most, last) = driver
        .rsplit_once("\nbuiltin printf")
        .unwrap_or((driver, ""));
    let mut text = without_comments(&format!("{most}\n{state}\nbuiltin printf{last}"));
    if !delivery.is_argument() {
        for at in 1..=3 {
            let call = |argument: &str| format!("\"$__driver_function\"{argument} <&61");
            let argument = format!(" \"${{__driver_arguments[{at}]}}\"");
            text = text.replace(&call(&argument), &call(""));
        }
    }
    text
}

/// The driver's other half, which bash reads when it first needs it.
pub(crate) fn rare(function: &str, delivery: Delivery) -> String {
    let text = without_comments(concat!(
        include_str!("../../../runtime-scripts/seldom.bash"),
        include_str!("../../../runtime-scripts/lambda.bash"),
        include_str!("../../../runtime-scripts/subshell.bash")
    ));
    // So that a trap that shows its command shows the one that anybody would have written.
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

/// `text` with the body of the function `name` also in a variable of that name, for `eval`.
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

/// Whether bash takes `name` for nothing but the name of a command, wherever it reads it.
fn is_plain_name(name: &str) -> bool {
    const RESERVED: [&str; 20] = [
        "if", "then", "elif", "else", "fi", "time", "for", "in", "until", "while", "do", "done",
        "case", "esac", "coproc", "select", "function", "set", "eval", "exit",
    ];
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_part) && !name.is_empty() && !RESERVED.contains(&name)
}

/// The lines that start the driver. `argument_zero` is what `$0` is, `log_mark` what `lambda_log` puts
/// before its messages.
pub(crate) fn start_lines(argument_zero: &str, function: &str, log_mark: Option<&str>) -> String {
    // `set -x` is for the file.
    let is_traced = std::env::var("SHELLOPTS").is_ok_and(|names| names.contains("xtrace"));
    let quiet = if is_traced {
        "{ \\builtin set +x; } 2>/dev/null\n"
    } else {
        ""
    };
    let nonce = log_mark.map(|nonce| format!("__driver_log_mark={nonce} "));
    format!(
        "{quiet}{}__driver_function={} BASH_ARGV0={}\n\
         . /dev/fd/{INHERITED_DRIVER}\n\
         exec {INHERITED_DRIVER}<&- {INHERITED_SCRIPT}<&-\n",
        nonce.unwrap_or_default(),
        quote(function),
        quote(argument_zero),
    )
}

/// The lines that set the options, and source the file. If it may set an ERR trap, functions inherit one only if it says so;
/// if it may watch each command, what it then shows of ours is thrown away. `nonces` are those of what says that it is
/// loaded, and of the first state.
pub(crate) fn load_lines(
    file: &str,
    isolation: Isolation,
    options: &[String],
    watching: Watching,
    nonces: (&str, &str),
) -> String {
    let mut lines = String::new();
    if watching.errors {
        lines.push_str("__driver_own_errors=1\nbuiltin set +E\n");
    }
    if !options.is_empty() {
        let words: Vec<_> = options.iter().map(|word| quote(word)).collect();
        let _ = writeln!(
            lines,
            "builtin set {} || __driver_seldom __driver_refuse_options",
            words.join(" ")
        );
    }
    let (nonce, state_mark) = nonces;
    // On one line with what follows, `set -v` does not show that.
    let end = if watching.commands { ";" } else { "\n" };
    // For good: what bash sets aside meanwhile, at 10 and up, the file may close.
    let _ = write!(lines, "\\exec >&2\n. {}{end}", quote(file));
    // Functions do not see an ERR trap that they do not inherit.
    let traps = if watching.errors {
        "\\builtin trap -p ERR >&66; "
    } else {
        ""
    };
    let hidden = match isolation {
        _ if !watching.builtin => "",
        Isolation::Restore | Isolation::Subshell => "\\__driver_hide_builtin; ",
        Isolation::None | Isolation::Process => "\\__driver_hide_builtin lives-on; ",
    };
    let nowhere = if watching.commands {
        " >/dev/null 2>&1"
    } else {
        ""
    };
    let _ = writeln!(
        lines,
        "{{ __driver_exit=$?; {hidden}{traps}\\__driver_loaded {nonce} \"$__driver_exit\"; }}{nowhere}\n\
         \\builtin declare -F exec >/dev/null && \\__driver_redirect '>&63' || \\exec >&63\n\
         \\,,, {state_mark} first"
    );
    lines
}
