//! Finds out what the functions of a file could change. Only that is shown and compared after an event.
//!
//! Showing a state costs time. A file without the word `trap` in its functions sets no trap, and one without `eval`
//! or a definition defines no function. So we read the bodies of all functions once, and make two functions for this
//! file: `__driver_show` shows only what may have changed, and `__driver_reset` resets what is cheaper to reset than
//! to compare. If the file runs commands in variables, or sources other files, everything is shown. `restore.rs`
//! compares what is shown.

use memchr::memmem;

use super::command_list::quoted;
use super::file_code::{FileCode, user_functions};
use super::observers::{self, Observers};
use super::restore::is_driver_function;
use super::restore_variables::value_part;
use super::state::ShellState;
use coshell_driver::names;

/// What the first state shows about the events to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileTraits {
    /// The commands that define `__driver_show` and `__driver_reset`.
    pub commands: Vec<u8>,
    /// A function may do something that bash cannot undo, or that means something else in a fork. So events run in forks
    /// from the first one on.
    pub needs_forks: bool,
}

impl FileTraits {
    /// Reads the first state of a shell.
    pub(crate) fn of(first: &ShellState) -> Self {
        let code = FileCode::of(first);
        let mut commands = show_function(first, &code);
        commands.extend_from_slice(&reset_function(first, &code));
        // It would change `$!`.
        let starts_job = code.contains(&[b" & ", b"<(", b">(", b"coproc"])
            || code.lines().any(|line| line.ends_with(b" &"));
        // A fork has no jobs, so that `wait` does not wait for those of the file.
        let sees_jobs =
            !first.last_job().is_empty() && code.may_run(&[b"wait", b"jobs", b"disown", b"kill"]);
        // A subshell ends if `exec` fails, whatever this option is.
        let has_execfail = code.contains(&[b"execfail"]) || first.has_shell_option(b"execfail");
        Self {
            commands,
            needs_forks: starts_job
                || sees_jobs
                || code.traps_signal()
                || has_execfail
                || code.contains(&BEYOND_RESTORING)
                || code.calls(b"complete")
                || !first.interactive_lists().is_empty(),
        }
    }
}

/// Commands that set up completions or a history, which a command can neither show nor set again as they were, and files
/// of /proc that only the process itself may write.
const BEYOND_RESTORING: [&[u8]; 9] = [
    b"complete -",
    b"compopt",
    b"history -",
    b"-o history",
    b"/self/comm",
    b"$$/comm",
    b"BASHPID/comm",
    b"coredump_filter",
    b"timerslack_ns",
];

/// The definition of `__driver_show`.
fn show_function(first: &ShellState, code: &FileCode) -> Vec<u8> {
    const ATTRIBUTES: [&[u8]; 7] = [
        b"unset",
        b"export -",
        b"declare -",
        b"declare +",
        b"typeset -",
        b"typeset +",
        b"readonly -",
    ];
    let mut text = format!("{}() {{\n[[ x ]]\n", names::SHOW).into_bytes();
    let mut add_if = |is_shown: bool, command: &[u8]| {
        if is_shown {
            text.extend_from_slice(command);
            text.push(b'\n');
        }
    };
    add_if(code.may_run(&[b"umask"]), b"builtin umask");
    add_if(code.may_run(&[b"trap"]), b"builtin trap -p");
    // An event can set one without the word in the code: `read -r "$1"`, for BASH_ALIASES[name].
    add_if(true, b"builtin alias -p");
    let shows_functions = code.may_run(&ATTRIBUTES) || code.has_option(b"local", b'f');
    add_if(shows_functions, b"builtin printf '\\0'");
    add_if(code.is_opaque, b"builtin enable -n");
    add_if(shows_functions, b"builtin declare -F");
    if code.is_opaque {
        let functions = first.functions();
        let names = functions.filter(|function| !is_driver_function(function.name));
        let names: Vec<_> = names.map(|function| quoted(function.name)).collect();
        let names = names.join(&b' ');
        add_if(true, b"builtin printf '\\0'");
        if !names.is_empty() {
            add_if(true, &[b"builtin declare -f -- ", &names[..]].concat());
            // With extdebug, `declare -F` shows line and file of each function. Switching extdebug off also unsets -E.
            let has_extdebug = first.has_shell_option(b"extdebug");
            add_if(!has_extdebug, b"builtin shopt -s extdebug");
            add_if(true, &[b"builtin declare -F -- ", &names[..]].concat());
            add_if(!has_extdebug, b"builtin shopt -u extdebug\nbuiltin set -E");
        }
        add_if(true, b"builtin enable -a");
    }
    text.extend_from_slice(format!("}}\nbuiltin declare -ft {}\n", names::SHOW).as_bytes());
    text
}

/// The definition of `__driver_reset`, whose argument is a random number.
fn reset_function(first: &ShellState, code: &FileCode) -> Vec<u8> {
    let mut text = format!("{}() {{\n[[ x ]]\n", names::RESET).into_bytes();
    let mut add = |parts: &[&[u8]]| {
        for part in parts {
            text.extend_from_slice(part);
        }
        text.push(b'\n');
    };
    if first.options().contains(&b'h') {
        add(&[b"builtin hash -r"]);
        for line in first.hashed().split(|byte| *byte == b'\n') {
            if line.starts_with(b"builtin hash") {
                add(&[line]);
            }
        }
    } else {
        // Without the option bash would refuse.
        add(&[b"builtin set -h; builtin hash -r; builtin set +h"]);
    }
    // `DIRSTACK[1]=` changes it, too, and an event can choose a name. The file has left nothing there.
    add(&[b"builtin dirs -c"]);
    if code.is_opaque {
        // A bash without readline has neither.
        add(&[b"{ builtin complete -r; builtin history -c; } 2>/dev/null"]);
    }
    if code.may_run(&[b"unset"]) {
        add(&[names::RARE.as_bytes(), b" ", names::FIND_LOST.as_bytes()]);
    }
    // When bash leaves POSIX mode, it expands no aliases, but shows the option as it was.
    if first.has_shell_option(b"expand_aliases") {
        add(&[b"builtin shopt -s expand_aliases"]);
    }
    // bash keeps the number that it gave last, and `set` shows it.
    if code.may_run(&[b"SRANDOM", b"{!"]) {
        add(&[b"[[ x$SRANDOM ]]"]);
    }
    if has_random_numbers(first) {
        add(&[b"RANDOM=$1"]);
    }
    // Setting OPTIND to the same value also makes `getopts` forget its place in a word, which no command shows.
    add(&[&set_optind(first)]);
    text.extend_from_slice(b"}\n");
    text
}

/// The command that sets `OPTIND` as the file left it.
fn set_optind(first: &ShellState) -> Vec<u8> {
    let Some(optind) = first.variable(b"OPTIND") else {
        return Vec::new();
    };
    let attributes = optind.attributes;
    let attributes = attributes.strip_prefix(b"-").unwrap_or(attributes);
    let value = value_part(optind.declaration);
    if optind.has_attribute(b'r') {
        return Vec::new();
    }
    [b"builtin declare -g", attributes, b" OPTIND", value].concat()
}

/// Whether `RANDOM` is still bash's own and can be seeded. bash never gives the same number twice in a row.
fn has_random_numbers(first: &ShellState) -> bool {
    let computed = String::from_utf8_lossy(first.computed());
    let mut last = computed.rsplit(' ');
    let are_random = last.next() != last.next();
    let random = first.variable(b"RANDOM");
    are_random && random.is_some_and(|random| !random.has_attribute(b'r'))
}

/// Whether a function may kill its shell. If a fork does that, it is certain only when both have ended.
pub(crate) fn may_kill(first: &ShellState) -> bool {
    user_functions(first.all_bodies().unwrap_or_default()).any(|body| {
        let words: [&[u8]; 3] = [b"kill", b"eval", b"source"];
        words.iter().any(|word| memmem::find(body, word).is_some())
    })
}

/// Finds the observers in the functions of the file, and in the traps and options that it left.
pub(crate) fn find_observers(first: &ShellState) -> Observers {
    let bodies: Vec<_> = user_functions(first.all_bodies().unwrap_or_default()).collect();
    let options = first.variable(names::OPTIONS.as_bytes());
    let options = options.map_or(&b""[..], |variable| value_part(variable.declaration));
    let found = Observers::in_handler_functions(bodies.into_iter())
        .or(Observers::of_option_letters(options));
    let traps = first.traps_of_file();
    let found = traps
        .map(|trap| Observers::of_signal(trap.signal))
        .fold(found, Observers::or);
    if observers::hides_builtin(first) {
        found.or(Observers::OF_COMMANDS)
    } else {
        found
    }
}
