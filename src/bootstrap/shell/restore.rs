//! What leads a shell back from the state after an event to the state that the file left.
//!
//! The result is a text of commands for bash, or the reason why bash cannot undo it: a variable that
//! has been made readonly stays so, a special variable that has been unset is an ordinary one for good,
//! a function that has been redefined could be made again but not at its place in its file, by which
//! `BASH_SOURCE` and line numbers are known. Then another shell has to take the place of this one.
//! Neighbours: `state.rs` reads states, `clean_up.rs` asks for them and runs the commands.

use std::collections::BTreeMap;

use memchr::memmem;

use super::protocol::is_own_function;
use super::state::{Shown, State};
use crate::invocation::variable;

/// Variables that bash computes when they are read, or sets itself: their values are no state. If one is
/// unset it is an ordinary variable for good.
const COMPUTED: [&[u8]; 22] = [
    b"BASHPID",
    b"BASH_ALIASES",
    b"BASH_ARGC",
    b"BASH_ARGV",
    b"BASH_ARGV0",
    b"BASH_CMDS",
    b"BASH_COMMAND",
    b"BASH_LINENO",
    b"BASH_MONOSECONDS",
    b"BASH_SOURCE",
    b"BASH_SUBSHELL",
    b"BASH_TRAPSIG",
    b"DIRSTACK",
    b"EPOCHREALTIME",
    b"EPOCHSECONDS",
    b"FUNCNAME",
    b"GROUPS",
    b"HISTCMD",
    b"LINENO",
    b"RANDOM",
    b"SECONDS",
    b"SRANDOM",
];
/// Variables that every command sets.
const PASSING: [&[u8]; 3] = [b"_", b"PIPESTATUS", b"OPTIND"];

/// What a shell has to do to be what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Restoration {
    /// Nothing.
    None,
    /// Run these lines, and then these commands. A file that is sourced has its own DEBUG and RETURN traps, so that
    /// they cannot be changed in one.
    Commands {
        /// For the script of the shell.
        lines: Vec<u8>,
        /// For a file.
        commands: Vec<u8>,
    },
    /// It cannot be done, because of this.
    Impossible(String),
}

/// Compares `now` with `base`; `keeps` says of a variable whether it lives on.
pub(crate) fn restoration(base: &State, now: &State, keeps: impl Fn(&[u8]) -> bool) -> Restoration {
    if let Some(first) = first_of_all(base, now) {
        return first;
    }
    let mut commands = Commands::default();
    let result = restore_all(base, now, &keeps, &mut commands);
    match result {
        Err(cause) => Restoration::Impossible(cause),
        Ok(()) => finish(base, now, commands),
    }
}

/// The same where variables and functions live on: options of `shopt`, traps, aliases, IFS, umask and the
/// function `exit` alone.
pub(crate) fn restoration_of_few(base: &State, now: &State) -> Restoration {
    if let Some(first) = first_of_all(base, now) {
        return first;
    }
    let mut commands = Commands::default();
    restore_words(base, now, &mut commands);
    if base.separators() != now.separators() {
        match base.separators() {
            b"unset" => commands.add(&[b"unset -v IFS"]),
            value => {
                let value = quoted(value);
                commands.add(&[b"eval ", &quoted(&[b"IFS=", &value[..]].concat())]);
            }
        }
    }
    if base.exit() != now.exit() {
        // The one that the file defines, or ours.
        commands.add(&[b"eval ", &quoted(base.exit())]);
    }
    finish(base, now, commands)
}

/// What a DEBUG trap of the handler's prints stands in the state, which cannot be read then: first the trap has to
/// go.
fn first_of_all(base: &State, now: &State) -> Option<Restoration> {
    let is_new = |signal: &[u8]| {
        now.trap(signal)
            .is_some_and(|now| base.trap(signal) != Some(now))
    };
    let lines = match base.trap(b"DEBUG") {
        None => b"\\builtin trap - DEBUG RETURN\n".to_vec(),
        Some(command) => [b"\\builtin ", command, b"\n"].concat(),
    };
    (is_new(b"DEBUG") || is_new(b"RETURN")).then_some(Restoration::Commands {
        lines,
        commands: Vec::new(),
    })
}

fn finish(base: &State, now: &State, mut commands: Commands) -> Restoration {
    let mut lines = Commands::default();
    restore_traps(base, now, &mut lines, &mut commands);
    if commands.text.is_empty() && lines.text.is_empty() {
        return Restoration::None;
    }
    Restoration::Commands {
        lines: lines.text,
        commands: without_aliases(&commands.text, has_aliases(now), has_aliases(base)),
    }
}

/// Whether bash expands aliases.
pub(super) fn has_aliases(state: &State) -> bool {
    state.shell_options().any(|name| name == b"expand_aliases")
}

/// `commands` for a shell that expands aliases or not, `before` them and after them: theirs are no aliases.
pub(super) fn without_aliases(commands: &[u8], before: bool, after: bool) -> Vec<u8> {
    let switch = |is_on: bool, line: &'static [u8]| if is_on { line } else { b"" };
    [
        switch(before, b"\\builtin shopt -u expand_aliases\n"),
        commands,
        switch(after, b"\\builtin shopt -s expand_aliases\n"),
    ]
    .concat()
}

/// Commands for bash, a line each.
#[derive(Debug, Default)]
struct Commands {
    text: Vec<u8>,
}

impl Commands {
    fn add(&mut self, parts: &[&[u8]]) {
        // With a backslash bash would not take `declare -a x=(...)`; there are no aliases here.
        self.text.extend_from_slice(b"builtin ");
        for part in parts {
            self.text.extend_from_slice(part);
        }
        self.text.push(b'\n');
    }
}

pub(super) fn quoted(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in text {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn restore_all(
    base: &State,
    now: &State,
    keeps: &impl Fn(&[u8]) -> bool,
    commands: &mut Commands,
) -> Result<(), String> {
    if base.last_job() != now.last_job() {
        return Err(
            "a background job or process substitution, whose process id stays in $!".to_owned(),
        );
    }
    if base.options() != now.options() {
        return Err(format!(
            "options that set cannot switch off: $- is {}",
            lossy(now.options())
        ));
    }
    restore_variables(base, now, keeps, commands)?;
    restore_computed(base, now, commands)?;
    restore_functions(base, now, commands)?;
    restore_words(base, now, commands);
    if base.argument_zero() != now.argument_zero() {
        let zero = quoted(base.argument_zero());
        commands.add(&[b"eval ", &quoted(&[b"BASH_ARGV0=", &zero[..]].concat())]);
    }
    for name in base.disabled() {
        if !now.disabled().any(|known| known == name) {
            commands.add(&[b"enable -n ", &quoted(name)]);
        }
    }
    for name in now.disabled() {
        if !base.disabled().any(|known| known == name) {
            commands.add(&[b"enable ", &quoted(name)]);
        }
    }
    Ok(())
}

/// Both lists are in the order of the names.
fn restore_variables(
    base: &State,
    now: &State,
    keeps: &impl Fn(&[u8]) -> bool,
    commands: &mut Commands,
) -> Result<(), String> {
    let is_compared = |shown: &Shown| {
        !shown.name.starts_with(b"__driver_")
            && !PASSING.contains(&shown.name)
            && shown.name != b"BASHOPTS"
            && !keeps(shown.name)
    };
    let mut old = base.variables().filter(is_compared).peekable();
    let mut new = now.variables().filter(is_compared).peekable();
    loop {
        let (before, after) = match (old.peek(), new.peek()) {
            (None, None) => return Ok(()),
            (Some(before), Some(after)) if before.name == after.name => (old.next(), new.next()),
            (Some(before), Some(after)) if before.name < after.name => (old.next(), None),
            (Some(_), None) => (old.next(), None),
            (_, Some(_)) => (None, new.next()),
        };
        restore_variable(before, after, commands)?;
    }
}

fn restore_variable(
    before: Option<Shown>,
    after: Option<Shown>,
    commands: &mut Commands,
) -> Result<(), String> {
    let Some(name) = before.or(after).map(|shown| shown.name) else {
        return Ok(());
    };
    let is_alike = match (before, after) {
        (Some(before), Some(after)) if COMPUTED.contains(&name) => {
            before.attributes == after.attributes
        }
        (Some(before), Some(after)) if is_context(name) => before.attributes == after.attributes,
        (None, Some(after)) if is_context(name) => {
            after.attributes == b"x" && value(after.command) != b"=\"\""
        }
        (Some(before), Some(after)) => before.command == after.command,
        _ => false,
    };
    if is_alike {
        return Ok(());
    }
    if COMPUTED.contains(&name) {
        return match before {
            Some(_) => Err(format!("the special variable {}", lossy(name))),
            // Made by being looked at.
            None => Ok(()),
        };
    }
    let was_readonly = before.is_some_and(|before| before.has(b'r'));
    let is_readonly = after.is_some_and(|after| after.has(b'r'));
    if was_readonly && let (Some(before), Some(after)) = (before, after) {
        // It has been exported, or is exported no more: nothing else can be done to it.
        let is_exported = before.has(b'x');
        if value(before.command) == value(after.command) && is_exported != after.has(b'x') {
            let flag: &[u8] = if is_exported {
                b"declare -x "
            } else {
                b"declare +x "
            };
            commands.add(&[flag, name]);
            return Ok(());
        }
        return Err(format!("the readonly variable {}", lossy(name)));
    }
    if is_readonly {
        return Err(format!("readonly {}", lossy(name)));
    }
    if let Some(after) = after {
        // With -n a reference itself, and not what it refers to.
        let flag: &[u8] = if after.has(b'n') { b"-n " } else { b"-v " };
        commands.add(&[b"unset ", flag, name]);
    }
    if let Some(before) = before {
        if is_context(name) {
            // Its value comes with each invocation.
            commands.add(&[value_less(before.command)]);
        } else {
            commands.text.extend_from_slice(&before.lines());
        }
    }
    Ok(())
}

fn is_context(name: &[u8]) -> bool {
    let names = variable::CONTEXT.iter().chain(&variable::TRACE);
    let mut names = names.chain([&variable::REQUEST_ID, &variable::DEADLINE]);
    names.any(|known| known.as_bytes() == name)
}

/// What follows the name in a `declare` command.
pub(super) fn value(command: &[u8]) -> &[u8] {
    let at = memchr::memchr(b'=', command).unwrap_or(command.len());
    &command[at..]
}

fn value_less(command: &[u8]) -> &[u8] {
    &command[..command.len() - value(command).len()]
}

/// A special variable that was unset and set again looks as before, and has lost its meaning. Shown are
/// `$SECONDS`, `$EPOCHSECONDS`, five that are always the same at that place, and `$RANDOM` twice.
fn restore_computed(base: &State, now: &State, commands: &mut Commands) -> Result<(), String> {
    const FIXED: [&str; 5] = [
        "LINENO",
        "BASHPID",
        "BASH_SUBSHELL",
        "FUNCNAME",
        "BASH_SOURCE",
    ];
    let (then, now_shown) = (lossy(base.computed()), lossy(now.computed()));
    let then: Vec<_> = then.split(' ').collect();
    let shown: Vec<_> = now_shown.split(' ').collect();
    let (
        [
            then_seconds,
            then_clock,
            then_fixed @ ..,
            then_random,
            then_other,
        ],
        [seconds, clock, fixed @ .., random, other],
    ) = (&then[..], &shown[..])
    else {
        return Ok(());
    };
    let mut pairs = FIXED.iter().zip(then_fixed.iter().zip(fixed));
    if let Some((name, _)) = pairs.find(|(_, (then, now))| then != now) {
        return Err(format!("the special variable {name}"));
    }
    // It never gives a number twice in a row.
    if random == other && then_random != then_other {
        return Err("the special variable RANDOM".to_owned());
    }
    let elapsed = now.taken.duration_since(base.taken).as_secs();
    let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
    let expected = |then: &str| Some(then.parse::<i64>().ok()?.saturating_add(elapsed));
    let is_off = |then: &str, now: &str| match (expected(then), now.parse::<i64>()) {
        (Some(expected), Ok(now)) => expected.abs_diff(now) > 1,
        (expected, now) => expected.is_some() || now.is_ok(),
    };
    // Somebody may set the system's clock, but it never stands still.
    if is_off(then_clock, clock) && elapsed > 1 && then_clock == clock {
        return Err("the special variable EPOCHSECONDS".to_owned());
    }
    if is_off(then_seconds, seconds)
        && let Some(expected) = expected(then_seconds)
    {
        commands.add(&[b"eval ", format!("SECONDS={expected}").as_bytes()]);
    }
    Ok(())
}

fn restore_functions(base: &State, now: &State, commands: &mut Commands) -> Result<(), String> {
    let is_compared = |(_, name): &(&[u8], &[u8])| !is_own(name);
    let old: BTreeMap<_, _> = (base.functions().filter(is_compared))
        .map(|(attributes, name)| (name, attributes))
        .collect();
    let mut seen = 0;
    for (attributes, name) in now.functions().filter(is_compared) {
        match old.get(name) {
            Some(before) if *before == attributes => seen += 1,
            Some(_) if attributes == b"fx" || attributes == b"f" => {
                seen += 1;
                let flag: &[u8] = if attributes == b"fx" {
                    b"export -nf "
                } else {
                    b"export -f "
                };
                commands.add(&[flag, &quoted(name)]);
            }
            Some(_) => return Err(format!("the attributes of function {}", lossy(name))),
            None if attributes.contains(&b'r') => {
                return Err(format!("readonly -f {}", lossy(name)));
            }
            None => commands.add(&[b"unset -f -- ", &quoted(name)]),
        }
    }
    let is_ours = memmem::find(base.bodies(), b"__driver_seldom __driver_exit ").is_some();
    if seen < old.len() {
        let left: Vec<_> = now.functions().map(|(_, name)| name).collect();
        let gone = old.keys().find(|name| !left.contains(name));
        match gone {
            Some(name) if *name == b"exit" && is_ours => {}
            Some(name) => return Err(format!("unset -f {}", lossy(name))),
            None => {}
        }
        commands.add(&[b"eval __driver_guard_exit"]);
    } else if base.bodies() != now.bodies() {
        match changed(base.bodies(), now.bodies()) {
            name if name == b"exit" && is_ours => commands.add(&[b"eval __driver_guard_exit"]),
            name => return Err(format!("a new definition of {}", lossy(&name))),
        }
    }
    Ok(())
}

/// Whether a function of this name is the driver's, and cannot be changed.
pub(super) fn is_own(name: &[u8]) -> bool {
    str::from_utf8(name).is_ok_and(is_own_function)
}

/// The name of the first function that differs; or else it is a builtin.
fn changed(before: &[u8], after: &[u8]) -> Vec<u8> {
    let same = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let text = &before[..same];
    let mut lines = text.split(|byte| *byte == b'\n').rev();
    let header = lines.find_map(|line| {
        if line.starts_with(b"enable ") {
            return Some(&b"a builtin"[..]);
        }
        line.strip_suffix(b" () ")
    });
    header.unwrap_or(b"a function").to_vec()
}

fn restore_words(base: &State, now: &State, commands: &mut Commands) {
    if !base.aliases().eq(now.aliases()) {
        commands.add(&[b"unalias -a"]);
        for alias in base.aliases() {
            commands.add(&[alias]);
        }
    }
    if !base.shell_options().eq(now.shell_options()) {
        for name in base.shell_options() {
            if !now.shell_options().any(|known| known == name) {
                commands.add(&[b"shopt -s ", &quoted(name)]);
            }
        }
        for name in now.shell_options() {
            if !base.shell_options().any(|known| known == name) {
                commands.add(&[b"shopt -u ", &quoted(name)]);
            }
        }
        // `shopt -u extdebug` unsets this one, without which our ERR trap sees nothing.
        if base.options().contains(&b'E') {
            commands.add(&[b"set -E"]);
        }
    }
    let is_exported = |state: &State| state.variable(b"BASHOPTS").is_some_and(|one| one.has(b'x'));
    if is_exported(base) != is_exported(now) {
        let flag: &[u8] = if is_exported(base) {
            b"declare -x"
        } else {
            b"declare +x"
        };
        commands.add(&[flag, b" BASHOPTS"]);
    }
    if base.umask() != now.umask() {
        commands.add(&[b"umask ", base.umask()]);
    }
}

fn restore_traps(base: &State, now: &State, lines: &mut Commands, commands: &mut Commands) {
    let mut add = |signal: &[u8], parts: &[&[u8]]| {
        let is_of_file = matches!(signal, b"DEBUG" | b"RETURN");
        if is_of_file {
            &mut *lines
        } else {
            &mut *commands
        }
        .add(parts);
    };
    for (signal, _) in now.traps() {
        if base.trap(signal).is_none() {
            add(signal, &[b"trap - ", signal]);
        }
    }
    for (signal, command) in base.traps() {
        if now.trap(signal) != Some(command) {
            add(signal, &[command]);
        }
    }
}
