//! Plans how to restore a shell: compares its state after an event with its initial state.
//!
//! The plan is a list of commands for bash, or the reason why bash cannot undo a change. A readonly variable stays
//! readonly. A special variable that was unset is an ordinary variable for good. A function that was redefined could
//! be made again, but not at its place in its file, on which `BASH_SOURCE` and line numbers depend. Then a fresh
//! shell is needed. `clean_up.rs` runs the commands.

use std::collections::BTreeMap;

use memchr::memmem;

use super::command_list::{CommandList, expands_aliases, quoted, without_aliases};
use super::restore_variables::{
    lossy, restore_computed, restore_variable, restore_variables, value_part,
};
use super::state::{ShellFunction, ShellState};
use super::state_text::ShellVariable;
use coshell_driver::{is_own_function, names};

/// How to make a shell what it was initially.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RestorePlan {
    /// The shell is what it was.
    Nothing,
    /// Run `lines` and then `commands`.
    Commands {
        /// Lines for bash's script. They change DEBUG and RETURN traps, since a file that is sourced has its own.
        lines: Vec<u8>,
        /// Commands for a file that bash sources.
        commands: Vec<u8>,
    },
    /// bash cannot undo this change.
    Impossible(String),
}

/// Plans to restore everything but the variables for which `is_kept` is true.
pub(crate) fn plan_full_restore(
    initial: &ShellState,
    now: &ShellState,
    is_kept: impl Fn(&[u8]) -> bool,
) -> RestorePlan {
    if let Some(plan) = plan_trap_removal(initial, now) {
        return plan;
    }
    let mut commands = CommandList::default();
    match restore_all(initial, now, &is_kept, &mut commands) {
        Err(cause) => RestorePlan::Impossible(cause),
        Ok(()) => with_traps(initial, now, commands),
    }
}

/// Plans to restore what every event needs, where variables and functions stay: `COSHELL_ISOLATION=none`.
pub(crate) fn plan_partial_restore(initial: &ShellState, now: &ShellState) -> RestorePlan {
    if let Some(plan) = plan_trap_removal(initial, now) {
        return plan;
    }
    let mut commands = CommandList::default();
    restore_settings(initial, now, &mut commands);
    let (before, after) = (initial.variable(b"IFS"), now.variable(b"IFS"));
    let value = |variable: Option<ShellVariable>| {
        variable.map(|found| value_part(found.declaration).to_vec())
    };
    if let Err(cause) = restore_variable(before, after, &mut commands)
        && value(before) != value(after)
    {
        return RestorePlan::Impossible(cause);
    }
    if initial.exit_function() != now.exit_function() {
        // Either the file defines it, or it is the driver's.
        commands.add(&[b"eval ", &quoted(initial.exit_function())]);
    }
    with_traps(initial, now, commands)
}

/// Plans to remove a DEBUG or RETURN trap of the handler, before anything else. Its output stands in the state, which
/// cannot be compared then.
fn plan_trap_removal(initial: &ShellState, now: &ShellState) -> Option<RestorePlan> {
    let is_new = |signal: &[u8]| {
        now.trap(signal)
            .is_some_and(|command| initial.trap(signal) != Some(command))
    };
    let lines = match initial.trap(b"DEBUG") {
        None => b"\\builtin trap - DEBUG RETURN\n".to_vec(),
        Some(command) => [b"\\builtin ", command, b"\n"].concat(),
    };
    (is_new(b"DEBUG") || is_new(b"RETURN")).then_some(RestorePlan::Commands {
        lines,
        commands: Vec::new(),
    })
}

/// Adds the traps to `commands`, and makes the plan.
fn with_traps(initial: &ShellState, now: &ShellState, mut commands: CommandList) -> RestorePlan {
    let mut lines = CommandList::default();
    restore_traps(initial, now, &mut lines, &mut commands);
    if commands.text.is_empty() && lines.text.is_empty() {
        return RestorePlan::Nothing;
    }
    let (before, after) = (expands_aliases(now), expands_aliases(initial));
    RestorePlan::Commands {
        lines: lines.text,
        commands: without_aliases(&commands.text, before, after),
    }
}

fn restore_all(
    initial: &ShellState,
    now: &ShellState,
    is_kept: &impl Fn(&[u8]) -> bool,
    commands: &mut CommandList,
) -> Result<(), String> {
    if initial.last_job() != now.last_job() {
        return Err(
            "a background job or process substitution, whose process id stays in $!".to_owned(),
        );
    }
    if initial.options() != now.options() {
        return Err(format!(
            "options that set cannot switch off: $- is {}",
            lossy(now.options())
        ));
    }
    restore_directory_name(initial, now, commands);
    restore_variables(initial, now, is_kept, commands)?;
    let path = |state: &ShellState| {
        state
            .variable(b"PATH")
            .map(|path| path.declaration.to_vec())
    };
    if path(initial) != path(now) && !is_kept(b"PATH") {
        // bash has forgotten where the programs are that the file named to `hash`.
        let reset = format!("{} \"${{RANDOM-}}\"", names::RESET);
        commands.add(&[b"eval ", &quoted(reset.as_bytes())]);
    }
    restore_computed(initial, now, commands)?;
    restore_functions(initial, now, commands)?;
    restore_settings(initial, now, commands);
    if initial.argument_zero() != now.argument_zero() {
        let zero = quoted(initial.argument_zero());
        commands.add(&[b"eval ", &quoted(&[b"BASH_ARGV0=", &zero[..]].concat())]);
    }
    for name in initial.disabled_builtins() {
        if !now.disabled_builtins().any(|known| known == name) {
            commands.add(&[b"enable -n ", &quoted(name)]);
        }
    }
    for name in now.disabled_builtins() {
        if !initial.disabled_builtins().any(|known| known == name) {
            commands.add(&[b"enable ", &quoted(name)]);
        }
    }
    Ok(())
}

/// Restores the set of functions and their attributes. Fails if a body differs.
fn restore_functions(
    initial: &ShellState,
    now: &ShellState,
    commands: &mut CommandList,
) -> Result<(), String> {
    let is_compared = |function: &ShellFunction| !is_driver_function(function.name);
    let old: BTreeMap<_, _> = (initial.functions().filter(is_compared))
        .map(|function| (function.name, function.attributes))
        .collect();
    let mut seen = 0;
    for ShellFunction { attributes, name } in now.functions().filter(is_compared) {
        match old.get(name) {
            Some(before) if *before == attributes => seen += 1,
            Some(_) if attributes == b"fx" || attributes == b"f" => {
                seen += 1;
                let command: &[u8] = if attributes == b"fx" {
                    b"export -nf "
                } else {
                    b"export -f "
                };
                commands.add(&[command, &quoted(name)]);
            }
            Some(_) => return Err(format!("the attributes of function {}", lossy(name))),
            None if attributes.contains(&b'r') => {
                return Err(format!("readonly -f {}", lossy(name)));
            }
            None => commands.add(&[b"unset -f -- ", &quoted(name)]),
        }
    }
    let exit_is_ours = memmem::find(
        initial.bodies(),
        format!("{} {} ", names::RARE, names::EXIT).as_bytes(),
    )
    .is_some();
    if seen < old.len() {
        let present: Vec<_> = now.functions().map(|function| function.name).collect();
        let missing = old.keys().find(|name| !present.contains(name));
        match missing {
            Some(name) if *name == b"exit" && exit_is_ours => {}
            Some(name) => return Err(format!("unset -f {}", lossy(name))),
            None => {}
        }
        commands.add(&[b"eval ", names::GUARD_EXIT.as_bytes()]);
    } else if initial.bodies() != now.bodies() {
        match changed_function(initial.bodies(), now.bodies()) {
            name if name == b"exit" && exit_is_ours => {
                commands.add(&[b"eval ", names::GUARD_EXIT.as_bytes()]);
            }
            name => return Err(format!("a new definition of {}", lossy(name))),
        }
    }
    Ok(())
}

/// Whether the driver has a function of this name, which is readonly.
pub(super) fn is_driver_function(name: &[u8]) -> bool {
    str::from_utf8(name).is_ok_and(is_own_function)
}

/// The name of the first function whose body differs, or `a builtin` if one was switched on or off.
fn changed_function<'a>(before: &'a [u8], after: &[u8]) -> &'a [u8] {
    let same = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let text = &before[..same];
    let mut lines = text.split(|byte| *byte == b'\n').rev();
    let header = lines.find_map(|line| {
        if line.starts_with(b"enable ") {
            return Some(&b"a builtin"[..]);
        }
        line.strip_suffix(b" () ")
    });
    header.unwrap_or(b"a function")
}

/// Restores the name by which bash knows its directory. It may be in the same one by another name, through a link, and
/// setting PWD does not change that.
fn restore_directory_name(initial: &ShellState, now: &ShellState, commands: &mut CommandList) {
    let name = |state: &ShellState| {
        let variable = state.variable(b"PWD")?;
        value_part(variable.declaration)
            .strip_prefix(b"=")
            .map(<[u8]>::to_vec)
    };
    match (name(initial), name(now)) {
        (Some(before), Some(after)) if before != after => commands.add(&[b"cd -- ", &before]),
        _ => {}
    }
}

/// Restores aliases, the options of `shopt` and the umask.
fn restore_settings(initial: &ShellState, now: &ShellState, commands: &mut CommandList) {
    if !initial.aliases().eq(now.aliases()) {
        commands.add(&[b"unalias -a"]);
        for alias in initial.aliases() {
            commands.add(&[alias]);
        }
    }
    if !initial.shell_options().eq(now.shell_options()) {
        for name in initial.shell_options() {
            if !now.shell_options().any(|known| known == name) {
                commands.add(&[b"shopt -s ", &quoted(name)]);
            }
        }
        for name in now.shell_options() {
            if !initial.shell_options().any(|known| known == name) {
                commands.add(&[b"shopt -u ", &quoted(name)]);
            }
        }
        // `shopt -u extdebug` switches -E off, and our ERR trap needs it.
        if initial.options().contains(&b'E') {
            commands.add(&[b"set -E"]);
        }
    }
    let is_exported = |state: &ShellState| {
        let variable = state.variable(b"BASHOPTS");
        variable.is_some_and(|variable| variable.has_attribute(b'x'))
    };
    if is_exported(initial) != is_exported(now) {
        let command: &[u8] = if is_exported(initial) {
            b"declare -x"
        } else {
            b"declare +x"
        };
        commands.add(&[command, b" BASHOPTS"]);
    }
    if initial.umask() != now.umask() {
        commands.add(&[b"umask ", initial.umask()]);
    }
}

/// Restores the traps: in `lines` those that a sourced file has for itself, in `commands` the others.
fn restore_traps(
    initial: &ShellState,
    now: &ShellState,
    lines: &mut CommandList,
    commands: &mut CommandList,
) {
    let mut add = |signal: &[u8], parts: &[&[u8]]| match signal {
        b"DEBUG" | b"RETURN" => lines.add(parts),
        _ => commands.add(parts),
    };
    for trap in now.traps() {
        if initial.trap(trap.signal).is_none() {
            add(trap.signal, &[b"trap - ", trap.signal]);
        }
    }
    for trap in initial.traps() {
        if now.trap(trap.signal) != Some(trap.command) {
            add(trap.signal, &[trap.command]);
        }
    }
}
