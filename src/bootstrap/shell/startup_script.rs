//! Builds what bash reads when it starts: the parts of the driver, and the lines that load the handler's file.
//!
//! ```text
//! driver.bash      at the start, with the functions that the file calls
//! the file
//! invocation.bash  then, while we ask for the first event; before the file in a standby shell
//! rare.bash        when it is first needed
//! ```

use std::fmt::Write;

use super::observers::TextTraits;
use super::to_shell::{Shown, ToShell};
use crate::calls;
use crate::config::Isolation;
use coshell_driver::{fd, is_own_function, names, script};
use coshell_handler::Delivery;
use coshell_handler::bash::quote;

/// The functions for handlers that need no answer of the host, and what they do.
const OFFERED: [(&str, &str); 4] = [
    ("log", names::LOG),
    ("http_response", names::HTTP_RESPONSE),
    ("stream_response", names::STREAM_RESPONSE),
    ("keep", names::KEEP),
];

/// Whether a handler cannot have this name, since a function of ours has it.
pub(crate) fn is_reserved(function: &str) -> bool {
    let is_offered = |name: &str| {
        calls::FUNCTIONS.contains(&name) || OFFERED.iter().any(|(offered, _)| *offered == name)
    };
    is_own_function(function)
        || function == "exit"
        || function.strip_prefix("lambda_").is_some_and(is_offered)
}

/// What the part that bash reads when it starts depends on: settings and the handler, which no shell of this process has
/// another of.
#[derive(Debug)]
pub(crate) struct DriverText<'a> {
    /// What becomes `$0`.
    pub argument_zero: &'a str,
    pub function: &'a str,
    /// The text of the handler's file.
    pub file: &'a [u8],
    pub traits: TextTraits,
    /// The host answers calls.
    pub has_calls: bool,
    /// The functions that its second program does.
    pub commands: &'a [calls::Command],
    /// bash is older than 4.4.
    pub is_older: bool,
}

impl DriverText<'_> {
    /// The text. It has those of our functions for handlers that the file may call.
    pub(crate) fn build(&self) -> String {
        // No file defines a function without a name, so bash reports that this one is not there.
        let function = if is_reserved(self.function) {
            ""
        } else {
            self.function
        };
        let mut text = format!(
            "{}={} BASH_ARGV0={}\n",
            names::FUNCTION,
            quote(function),
            quote(self.argument_zero)
        );
        // The last line of the driver reports that bash has read everything. What comes behind it may end bash, and is not
        // our fault.
        let older = self.is_older.then(|| script::older::DRIVER.text());
        let driver = older.as_deref().unwrap_or(script::DRIVER);
        let (most, last) = driver
            .rsplit_once("\nbuiltin printf")
            .unwrap_or((driver, ""));
        text.push_str(most);
        text.push('\n');
        if self.traits.defines_builtin {
            text.push_str(script::HIDE_BUILTIN);
        }
        self.push_stubs(&mut text);
        if !self.commands.is_empty() {
            let older = self.is_older.then(|| script::older::COMMAND.text());
            text.push_str(older.as_deref().unwrap_or(script::COMMAND));
            for command in self.commands {
                if self.is_older {
                    push_older_stub(&mut text, command.function, &command.call());
                } else {
                    calls::push_command(&mut text, *command, self.quiet());
                }
            }
        }
        let _ = write!(text, "builtin printf{last}");
        text
    }

    /// The options that a function of ours switches off. Switching off what cannot be on would double the time of a call.
    fn quiet(&self) -> &'static str {
        let traits = self.traits;
        let may_be_on = calls::runs_other_code(self.file) || traits.may_show_commands;
        if may_be_on || traits.names_err_trap {
            "+xkTE"
        } else {
            ""
        }
    }

    fn push_stubs(&self, text: &mut String) {
        let runs_other_code = calls::runs_other_code(self.file);
        let may_call = |function| runs_other_code || calls::names_function(self.file, function);
        for (function, name) in OFFERED {
            if self.is_older && may_call(function) {
                push_older_stub(text, &format!("lambda_{function}"), name);
            } else if may_call(function) {
                // `||` keeps `set -e` out of what is ours.
                let end = match function {
                    "log" => "",
                    _ => " || builtin return \"$?\"",
                };
                calls::push_stub(text, function, self.quiet(), name, end);
            }
        }
        for function in calls::FUNCTIONS {
            let is_answered = self.has_calls || calls::WITHOUT_HOST.contains(&function);
            if is_answered && may_call(function) {
                if function == "error" {
                    push_error_stub(text);
                    continue;
                }
                // `||` would keep `set -e` out of the function that lambda_each calls.
                let (quiet, end) = match (function, self.quiet()) {
                    ("each", "") => ("+eE", ""),
                    ("each", _) => ("+xkTeE", ""),
                    (_, quiet) => (quiet, " || builtin return \"$?\""),
                };
                let call = calls::command_for(function);
                if self.is_older {
                    push_older_stub(text, &format!("lambda_{function}"), &call);
                } else {
                    calls::push_call_stub(text, function, quiet, &call, end);
                }
            }
        }
    }
}

/// `lambda_error` always ends the handler, so that it need not restore the options. It is like the function `exit`.
fn push_error_stub(text: &mut String) {
    use names::{ERROR, EXIT, RARE};
    let _ = writeln!(
        text,
        "lambda_error() {{\n\
         {{ builtin set +xkT; }} 2>/dev/null\n\
         builtin local {EXIT}=1\n\
         {RARE} {ERROR} \"$@\" || {EXIT}=2\n\
         if [[ ${{BASH_SUBSHELL-}} != 0 || ${{BASHPID-}} != \"$$\" ]]; then builtin exit \"${EXIT}\"; fi\n\
         {RARE} {EXIT} \"${EXIT}\"\n\
         }}"
    );
}

/// A function that a handler calls, for an older bash, which has no `local -`. `lambda_each` sets the options of the handler for the function that it
/// calls, and `-e` holds there.
fn push_older_stub(text: &mut String, function: &str, call: &str) {
    use names::{LETTERS, LINE, RARE, SET_LETTERS};
    let _ = writeln!(
        text,
        "{function}() {{ {{ {LINE}=${{BASH_LINENO[0]}} && builtin local \"{LETTERS}=${{-//[!euvxT]/}}\" && builtin set +euvxT; }} 2>/dev/null; \
         {RARE} {call} \"$@\"; \
         {{ {SET_LETTERS} \"$?\" || builtin return \"$?\"; }} 2>/dev/null; }}"
    );
}

/// What decides how the handler is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallForm {
    pub isolation: Isolation,
    pub delivery: Delivery,
    /// bash is older than 4.4.
    pub is_older: bool,
    /// The file names the ERR trap.
    pub names_err_trap: bool,
}

/// The part that takes invocations. It passes the event to the handler if that is an argument.
pub(crate) fn invocation_text(form: CallForm) -> String {
    let text = match form.isolation {
        _ if form.is_older => script::older::INVOCATION.text() + &script::older::KEEP.text(),
        Isolation::Restore => [script::INVOCATION, script::RESTORE].concat(),
        Isolation::None | Isolation::Subshell | Isolation::Process => {
            [script::INVOCATION, script::KEEP].concat()
        }
    };
    let text = for_delivery(text, form.delivery);
    for_err_trap(text, form)
}

/// Lets the handler inherit an ERR trap of the file, where both are in the live shell. If the handler fails, that runs the trap
/// in the function which calls the handler. So this function succeeds, or the trap would run once more around it.
fn for_err_trap(text: String, form: CallForm) -> String {
    use names::{ERR_TRAP, STATUS};
    // Only a function that calls the handler begins and ends like this.
    const BEGIN: &str = "builtin local -\nbuiltin mapfile";
    let has_forks = matches!(form.isolation, Isolation::Restore | Isolation::Subshell);
    if has_forks || form.is_older || !form.names_err_trap {
        return text;
    }
    let end = fd::RESPONSE;
    let begin = format!("\"${{{ERR_TRAP}[@]}}\"\n{BEGIN}");
    let with_status = format!(">&{end}\n{{ {STATUS}=${{{STATUS}:-$?}}; }} 2>/dev/null\n}}\n");
    text.replace(BEGIN, &begin)
        .replace(&format!(">&{end}\n}}\n"), &with_status)
}

/// Takes the event out of the calls of the handler, unless it is an argument.
fn for_delivery(mut text: String, delivery: Delivery) -> String {
    if !delivery.is_argument() {
        let (function, arguments) = (names::FUNCTION, names::ARGUMENTS);
        for call in coshell_driver::CALLS {
            let with_event = format!(
                "\"${function}\" \"${{{arguments}[{}]}}\" <&{}",
                call.field_count,
                fd::EVENT
            );
            text = text.replace(&with_event, &format!("\"${function}\" <&{}", fd::EVENT));
        }
    }
    text
}

/// The part that bash reads when it first needs it.
pub(crate) fn rare_text(function: &str, form: CallForm) -> String {
    let text = if form.is_older {
        use script::older::{CALLS, LAMBDA, RARE, SUBSHELL};
        [RARE, LAMBDA, CALLS, SUBSHELL]
            .map(|text| text.text())
            .concat()
    } else {
        use script::{CALLS, LAMBDA, RARE, SUBSHELL};
        [RARE, LAMBDA, CALLS, SUBSHELL].concat()
    };
    let text = for_err_trap(for_delivery(text, form.delivery), form);
    // The call looks as a user would write it, for a trap that shows its command.
    let variable = format!("\"${}\"", names::FUNCTION);
    let name = if is_plain_name(function) {
        function
    } else {
        &variable
    };
    let argument = if form.delivery.is_argument() {
        " \"$1\""
    } else {
        ""
    };
    let call = format!("{name}{argument}");
    let text = text.replace(&format!("{variable} \"$1\""), &call);
    body_to_variable(&text, names::FORK)
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

/// The lines that make bash read the driver. `lambda_log` marks messages with `log_nonce`. bash reads its script a byte at a
/// time, so they are short.
pub(crate) fn startup_lines(log_nonce: Option<&str>, call_paths: Option<&str>) -> String {
    let mut lines = String::new();
    if let Some(nonce) = log_nonce {
        let _ = writeln!(lines, "{}={nonce}", names::LOG_NONCE);
    }
    if let Some(paths) = call_paths {
        let _ = writeln!(lines, "{}=({paths})", names::CALLS);
    }
    let _ = writeln!(lines, ". /dev/fd/{}", fd::INHERITED_DRIVER);
    lines
}

/// The line that makes bash read how to take invocations, which stands in the file of the arguments.
pub(crate) fn read_invocation_line() -> String {
    format!("\\{} {}\n", names::READ, fd::ARGUMENTS)
}

/// The nonces of the two records that loading a file brings.
#[derive(Debug)]
pub(crate) struct LoadNonces {
    pub load_report: String,
    pub first_state: String,
}

/// The lines that load the handler's file.
///
/// The options of the shell, which are arguments of `set`, stand right before the file, so that a standby shell has none
/// while it reads what is ours. If the file names the ERR trap, functions inherit one only if the file says so. If the file may
/// show each command, the output of that is discarded until the file is loaded.
pub(crate) fn load_lines(
    file: &str,
    options: &[String],
    isolation: Isolation,
    traits: TextTraits,
    nonces: &LoadNonces,
) -> String {
    let mut lines = String::new();
    if traits.names_err_trap {
        let _ = writeln!(lines, "{}=1\nbuiltin set +E", names::NAMES_ERR_TRAP);
    }
    if !options.is_empty() {
        let options: Vec<_> = options.iter().map(|option| quote(option)).collect();
        let (options, rare, refuse) = (options.join(" "), names::RARE, names::REFUSE_OPTIONS);
        let _ = write!(lines, "builtin set {options} || {rare} {refuse}; ");
    }
    // `set -v` does not show the rest of the line on which it is switched on.
    let end = if traits.may_show_commands { ";" } else { "\n" };
    let _ = write!(lines, ". {}{end}", quote(file));
    // What reports is a function, and would not see an ERR trap that functions do not inherit.
    let show_traps = if traits.names_err_trap {
        format!("\\builtin trap -p ERR >&{}; ", fd::STATE)
    } else {
        String::new()
    };
    let hide = names::HIDE_BUILTIN;
    let hide_builtin = match isolation {
        _ if !traits.defines_builtin => String::new(),
        Isolation::Restore | Isolation::Subshell => format!("\\{hide}; "),
        Isolation::None | Isolation::Process => format!("\\{hide} no-forks; "),
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
    let (status, report) = (names::EXIT, names::REPORT_LOAD);
    let before = format!("{hide_builtin}{show_traps}");
    let _ = if before.is_empty() && discard.is_empty() {
        writeln!(lines, "\\{report} {load_report} \"$?\"")
    } else {
        writeln!(
            lines,
            "{{ {status}=$?; {before}\\{report} {load_report} \"${status}\"; }}{discard}"
        )
    };
    let show = ToShell::ShowState {
        nonce: first_state,
        what: Shown::Everything,
    };
    // It is there unless the file does not define the handler: then the shell is about to be ended.
    lines + &format!("[[ ! ${{{}-}} ]] || {show}", names::CAN_INVOKE)
}
