//! Compares the variables of two states, and finds the commands that restore them.

use std::time::{SystemTime, UNIX_EPOCH};

use super::command_list::CommandList;
use super::state::ShellState;
use super::state_text::ShellVariable;
use crate::invocation::variable;
use coshell_driver::names::PREFIX;

/// Variables that bash computes when they are read, or sets itself. Their values are not state. If one of them is
/// unset, it is an ordinary variable for good.
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

/// Those of them whose values do not change while a shell lives.
const CONSTANT: [&[u8]; 2] = [b"GROUPS", b"HISTCMD"];

/// Those that bash 4 does not have.
const FROM_BASH_5: [&[u8]; 5] = [
    b"BASH_ARGV0",
    b"BASH_MONOSECONDS",
    b"EPOCHREALTIME",
    b"EPOCHSECONDS",
    b"SRANDOM",
];

/// How far the clock of bash may be from ours, since bash has read it a little earlier.
const CLOCK_TOLERANCE_S: u64 = 5;

/// Compares the variables. Both states list them in the order of their names.
pub(super) fn restore_variables(
    initial: &ShellState,
    now: &ShellState,
    is_kept: &impl Fn(&[u8]) -> bool,
    commands: &mut CommandList,
) -> Result<(), String> {
    let is_compared = |variable: &ShellVariable| {
        !variable.name.starts_with(PREFIX.as_bytes())
            && variable.name != b"BASHOPTS"
            && !is_kept(variable.name)
    };
    let mut old = initial.variables().filter(is_compared).peekable();
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

/// Compares a variable, and adds the commands that restore it.
pub(super) fn restore_variable(
    before: Option<ShellVariable>,
    after: Option<ShellVariable>,
    commands: &mut CommandList,
) -> Result<(), String> {
    let Some(name) = before.or(after).map(|variable| variable.name) else {
        return Ok(());
    };
    let is_alike = match (before, after) {
        (Some(before), Some(after))
            if is_set_by_commands(name) || is_context(name) || changes_by_itself(name) =>
        {
            before.attributes == after.attributes
        }
        (None, Some(after)) if is_context(name) => {
            after.attributes == b"x" && value_part(after.declaration) != b"=\"\""
        }
        (Some(before), Some(after)) => before.declaration == after.declaration,
        _ => false,
    };
    if is_alike {
        return Ok(());
    }
    if COMPUTED.contains(&name) {
        match before {
            Some(_) => return Err(format!("the special variable {}", lossy(name))),
            // For this bash, it is an ordinary variable.
            None if FROM_BASH_5.contains(&name) => {}
            // bash creates some of these variables when a handler reads them.
            None => return Ok(()),
        }
    }
    let was_readonly = before.is_some_and(|before| before.has_attribute(b'r'));
    let is_readonly = after.is_some_and(|after| after.has_attribute(b'r'));
    if was_readonly && let (Some(before), Some(after)) = (before, after) {
        // bash can change nothing of a readonly variable but whether it is exported.
        let was_exported = before.has_attribute(b'x');
        let has_same_value = value_part(before.declaration) == value_part(after.declaration);
        if has_same_value && was_exported != after.has_attribute(b'x') {
            let command: &[u8] = if was_exported {
                b"declare -x "
            } else {
                b"declare +x "
            };
            commands.add(&[command, name]);
            return Ok(());
        }
        return Err(format!("the readonly variable {}", lossy(name)));
    }
    if is_readonly {
        return Err(format!("readonly {}", lossy(name)));
    }
    if let Some(after) = after {
        // `unset -n` unsets a reference itself, and not the variable that it refers to.
        let flag: &[u8] = if after.has_attribute(b'n') {
            b"-n "
        } else {
            b"-v "
        };
        commands.add(&[b"unset ", flag, name]);
    }
    if let Some(before) = before {
        if is_context(name) || is_set_by_commands(name) {
            // Its value comes with each invocation, or with each command.
            commands.add(&[without_value(before.declaration)]);
        } else {
            commands.text.extend_from_slice(&before.set_lines());
        }
    }
    Ok(())
}

fn changes_by_itself(name: &[u8]) -> bool {
    COMPUTED.contains(&name) && !CONSTANT.contains(&name)
}

/// Whether every command sets this variable, or every pipeline.
fn is_set_by_commands(name: &[u8]) -> bool {
    matches!(name, b"_" | b"PIPESTATUS")
}

/// Whether this variable comes with an invocation.
fn is_context(name: &[u8]) -> bool {
    let names = variable::CONTEXT.iter().chain(&variable::TRACE);
    let mut names = names.chain([&variable::REQUEST_ID, &variable::DEADLINE]);
    names.any(|known| known.as_bytes() == name)
}

/// The part of a declaration behind the name: `=...`, or nothing.
pub(super) fn value_part(declaration: &[u8]) -> &[u8] {
    let index = memchr::memchr(b'=', declaration).unwrap_or(declaration.len());
    &declaration[index..]
}

fn without_value(declaration: &[u8]) -> &[u8] {
    &declaration[..declaration.len() - value_part(declaration).len()]
}

/// Restores `SECONDS`, and checks that the special variables are still computed by bash. One that was unset and set
/// again looks the same in a declaration, but has lost its meaning.
pub(super) fn restore_computed(
    initial: &ShellState,
    now: &ShellState,
    commands: &mut CommandList,
) -> Result<(), String> {
    // The driver always has these values where it shows them.
    const FIXED: [&str; 8] = [
        "LINENO",
        "BASHPID",
        "BASH_SUBSHELL",
        "FUNCNAME",
        "BASH_SOURCE",
        "BASH_COMMAND",
        "BASH_ARGV0",
        // Its value is the name of another one.
        "",
    ];
    let (initial_values, present_values) = (lossy(initial.computed()), lossy(now.computed()));
    let initial_values: Vec<_> = initial_values.split(' ').collect();
    let present_values: Vec<_> = present_values.split(' ').collect();
    let (
        [
            seconds_then,
            clock_then,
            fine_clock_then,
            fixed_then @ ..,
            random_then,
            next_random_then,
        ],
        [seconds, clock, fine_clock, fixed @ .., random, next_random],
    ) = (&initial_values[..], &present_values[..])
    else {
        return Ok(());
    };
    let mut pairs = FIXED.iter().zip(fixed_then.iter().zip(fixed));
    if let Some((name, (_, now))) = pairs.find(|(_, (then, now))| then != now) {
        let name = if name.is_empty() { now } else { name };
        return Err(format!("the special variable {name}"));
    }
    // bash never gives the same random number twice in a row.
    if random == next_random && random_then != next_random_then {
        return Err("the special variable RANDOM".to_owned());
    }
    let elapsed = now.taken.duration_since(initial.taken).as_secs();
    let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
    let expected = |then: &str| Some(then.parse::<i64>().ok()?.saturating_add(elapsed));
    let is_off = |then: &str, now: &str| match (expected(then), now.parse::<i64>()) {
        (Some(expected), Ok(now)) => expected.abs_diff(now) > 1,
        (expected, now) => expected.is_some() || now.is_ok(),
    };
    // bash has read the system's clock just now. An older bash does not have these.
    let system = SystemTime::now().duration_since(UNIX_EPOCH);
    let system = system.map_or(0, |time| time.as_secs());
    let stands_still = |then: &str, now: &str| {
        then.parse::<u64>().is_ok()
            && (now.parse::<u64>()).map_or(true, |now| now.abs_diff(system) > CLOCK_TOLERANCE_S)
    };
    if stands_still(clock_then, clock) {
        return Err("the special variable EPOCHSECONDS".to_owned());
    }
    if stands_still(fine_clock_then, fine_clock) {
        return Err("the special variable EPOCHREALTIME".to_owned());
    }
    if is_off(seconds_then, seconds)
        && let Some(expected) = expected(seconds_then)
    {
        commands.add(&[b"eval ", format!("SECONDS={expected}").as_bytes()]);
    }
    Ok(())
}

/// `text` for a message.
pub(super) fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
