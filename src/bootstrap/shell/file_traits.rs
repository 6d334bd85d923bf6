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
    /// A function does what bash cannot undo, or what means something else in a fork.
    pub needs_fork: bool,
}

impl FileTraits {
    /// Reads the first state of a shell.
    pub(crate) fn of(first: &ShellState) -> Self {
        let code = FileCode::of(first);
        let mut commands = show_function(first, &code);
        commands.extend_from_slice(&reset_function(first, &code));
        // This changes `$!`.
        let starts_job = code.contains(&[b" & ", b"<(", b">(", b"coproc"])
            || code.lines().any(|line| line.ends_with(b" &"));
        // A fork has no jobs, so that `wait` does not wait for those of the file.
        let sees_jobs =
            !first.last_job().is_empty() && code.may_run(&[b"wait", b"jobs", b"disown", b"kill"]);
        // A subshell ends if `exec` fails, whatever this option is.
        let has_execfail = code.contains(&[b"execfail"]) || first.has_shell_option(b"execfail");
        Self {
            commands,
            needs_fork: starts_job || sees_jobs || code.traps_signal() || has_execfail,
        }
    }
}

/// The definition of `__driver_show`.
fn show_function(first: &ShellState, code: &FileCode) -> Vec<u8> {
    const ATTRIBUTES: [&[u8]; 5] = [
        b"unset",
        b"export -",
        b"declare -",
        b"typeset -",
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
    add_if(
        code.may_run(&[b"alias", b"BASH_ALIASES"]),
        b"builtin alias -p",
    );
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
    let initial = first.resettable().unwrap_or_default();
    let mut text = format!("{}() {{\n[[ x ]]\n", names::RESET).into_bytes();
    let mut add = |parts: &[&[u8]]| {
        for part in parts {
            text.extend_from_slice(part);
        }
        text.push(b'\n');
    };
    // With `set +h` there is none, and bash would say so.
    if first.options().contains(&b'h') {
        add(&[b"builtin hash -r"]);
        for line in lines_of(initial.hashed).filter(|line| line.starts_with(b"builtin hash")) {
            add(&[line]);
        }
    }
    if code.may_run(&[b"pushd", b"popd", b"dirs"]) {
        add(&[b"builtin dirs -c"]);
        // The first entry is the current directory.
        let directories: Vec<_> = lines_of(initial.directories).skip(1).collect();
        for directory in directories.iter().rev() {
            add(&[b"builtin pushd -n -- ", &quoted(directory), b" >/dev/null"]);
        }
    }
    // A bash without readline has neither completions nor a history.
    if code.may_run(&[b"complete", b"compopt"]) {
        add(&[b"builtin complete -r 2>/dev/null"]);
        for line in lines_of(initial.completions) {
            add(&[b"builtin ", line]);
        }
    }
    if code.may_run(&[b"history", b"fc "]) {
        add(&[b"builtin history -c 2>/dev/null"]);
        for line in lines_of(initial.history) {
            // `    1  command`
            let command = line.trim_ascii_start();
            let digits = command.iter().take_while(|byte| byte.is_ascii_digit());
            let command = command[digits.count()..].trim_ascii_start();
            add(&[b"builtin history -s -- ", &quoted(command)]);
        }
    }
    if has_random_numbers(first) {
        add(&[b"RANDOM=$1"]);
    }
    // Setting OPTIND to the same value also makes `getopts` forget its place in a word, which no command shows.
    add(&[&set_optind(first)]);
    text.extend_from_slice(b"}\n");
    text
}

fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.is_empty())
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
