//! The state of a shell, as the driver's `,,,` shows it.
//!
//! Fields end in NUL. One field holds everything that bash prints as commands: variables, traps and aliases.
//! `restore.bash` and `keep.bash` in `runtime-scripts` write the state; `restore.rs` compares two states.

use std::ops::Range;
use std::time::Instant;

use memchr::memmem;

use super::state_text::{Fields, ShellVariable, VariableRanges, is_signal_name, split_commands};
use coshell_driver::names::ON_ERROR;
use coshell_driver::state_field;

/// The field with which a state begins.
const STATE: &[u8] = coshell_driver::record::STATE_FIELD;

/// What a shell showed of itself. The ranges are parts of `bytes`.
#[derive(Debug, Clone)]
pub(crate) struct ShellState {
    bytes: Vec<u8>,
    /// When the state was read.
    pub taken: Instant,
    /// The names that `lambda_keep` got.
    pub kept_names: Vec<String>,
    /// The fields of [`state_field`].
    fields: [Range<usize>; state_field::COUNT],
    umask: Range<usize>,
    traps: Vec<Range<usize>>,
    /// The traps that the file left. The driver shows them before the first state, and removes them.
    traps_of_file: Vec<Range<usize>>,
    aliases: Vec<Range<usize>>,
    variables: Vec<VariableRanges>,
    functions: Range<usize>,
    bodies: Range<usize>,
    first: Option<FirstDetails>,
}

/// What only the first state has.
#[derive(Debug, Clone)]
struct FirstDetails {
    bodies: Range<usize>,
    hashed: Range<usize>,
    interactive_lists: Range<usize>,
}

/// A trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trap<'a> {
    pub signal: &'a [u8],
    /// The `trap` command that sets it.
    pub command: &'a [u8],
}

/// A function, as `declare -F` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShellFunction<'a> {
    /// The letters of its attributes, `f` among them.
    pub attributes: &'a [u8],
    pub name: &'a [u8],
}

impl ShellState {
    /// Reads what `,,,` wrote. Returns `None` if a part is missing.
    pub(crate) fn read(bytes: Vec<u8>) -> Option<Self> {
        // A DEBUG trap of the handler may have printed something before the state.
        let start = memmem::find(&bytes, STATE)?;
        let mut fields = Fields::new(&bytes, start + STATE.len());
        let kept_names = fields.names()?;
        let mut first_fields = [const { 0..0 }; state_field::COUNT];
        for field in &mut first_fields {
            *field = fields.next()?;
        }
        let commands = fields.next_or_last()?;
        // The driver does not show what no function of the file can change.
        let functions = fields.next_or_last().unwrap_or_default();
        let bodies = fields.next_or_last().unwrap_or_default();
        let first = fields.next_or_last().map(|bodies| FirstDetails {
            bodies,
            hashed: fields.next_or_last().unwrap_or_default(),
            interactive_lists: fields.next_or_last().unwrap_or_default(),
        });
        let mut state = Self {
            taken: Instant::now(),
            kept_names,
            fields: first_fields,
            umask: 0..0,
            traps: Vec::new(),
            traps_of_file: split_commands(&bytes[..start]).collect(),
            aliases: Vec::new(),
            variables: Vec::new(),
            functions,
            bodies,
            first,
            bytes: Vec::new(),
        };
        for command in split_commands(&bytes[commands.clone()]) {
            let command = commands.start + command.start..commands.start + command.end;
            let text = &bytes[command.clone()];
            if text.starts_with(b"declare -") {
                let ranges = VariableRanges::find(&bytes, command);
                state.variables.extend(ranges);
            } else if text.starts_with(b"trap ") {
                state.traps.push(command);
            } else if text.starts_with(b"alias ") {
                state.aliases.push(command);
            } else if text.iter().all(u8::is_ascii_digit) {
                state.umask = command;
            }
        }
        state.bytes = bytes;
        Some(state)
    }

    /// The size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn text(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// `$!`; empty if there is none.
    pub(crate) fn last_job(&self) -> &[u8] {
        self.text(&self.fields[state_field::LAST_JOB])
    }

    /// `$0`.
    pub(crate) fn argument_zero(&self) -> &[u8] {
        self.text(&self.fields[state_field::ARGUMENT_ZERO])
    }

    /// `$-`.
    pub(crate) fn options(&self) -> &[u8] {
        self.text(&self.fields[state_field::OPTIONS])
    }

    /// The values of variables that bash computes: `$SECONDS $EPOCHSECONDS ... $RANDOM $RANDOM`.
    pub(crate) fn computed(&self) -> &[u8] {
        self.text(&self.fields[state_field::COMPUTED])
    }

    /// The values of the context; see [`Context::state_field`](super::context::Context::state_field).
    pub(crate) fn context(&self) -> &[u8] {
        self.text(&self.fields[state_field::CONTEXT])
    }

    /// The umask, in octal.
    pub(crate) fn umask(&self) -> &[u8] {
        self.text(&self.umask)
    }

    pub(crate) fn traps(&self) -> impl Iterator<Item = Trap<'_>> {
        self.traps.iter().filter_map(|range| {
            let command = self.text(range);
            let signal = command.rsplit(|byte| *byte == b' ').next()?;
            is_signal_name(signal).then_some(Trap { signal, command })
        })
    }

    /// In the first state: the DEBUG, ERR and RETURN traps that the file left.
    pub(crate) fn traps_of_file(&self) -> impl Iterator<Item = Trap<'_>> {
        self.traps_of_file.iter().filter_map(|range| {
            let command = self.text(range);
            let signal = command.rsplit(|byte| *byte == b' ').next()?;
            let is_ours = memmem::find(command, ON_ERROR.as_bytes()).is_some();
            (command.starts_with(b"trap ") && !is_ours).then_some(Trap { signal, command })
        })
    }

    /// The `trap` command for `signal`, if there is a trap.
    pub(crate) fn trap(&self, signal: &[u8]) -> Option<&[u8]> {
        let mut traps = self.traps();
        let trap = traps.find(|trap| trap.signal == signal)?;
        Some(trap.command)
    }

    /// The `alias` commands.
    pub(crate) fn aliases(&self) -> impl Iterator<Item = &[u8]> {
        self.aliases.iter().map(|range| self.text(range))
    }

    /// The variables, in the order of their names.
    pub(crate) fn variables(&self) -> impl Iterator<Item = ShellVariable<'_>> {
        self.variables.iter().map(|ranges| ranges.of(&self.bytes))
    }

    pub(crate) fn variable(&self, name: &[u8]) -> Option<ShellVariable<'_>> {
        self.variables().find(|variable| variable.name == name)
    }

    /// The options of `shopt` that are on.
    pub(crate) fn shell_options(&self) -> impl Iterator<Item = &[u8]> {
        let variable = self.variable(b"BASHOPTS");
        let value =
            variable.and_then(|variable| variable.declaration.split(|byte| *byte == b'"').nth(1));
        value.unwrap_or_default().split(|byte| *byte == b':')
    }

    /// Whether the option of `shopt` is on.
    pub(crate) fn has_shell_option(&self, option: &[u8]) -> bool {
        self.shell_options().any(|name| name == option)
    }

    /// The builtins that are switched off.
    pub(crate) fn disabled_builtins(&self) -> impl Iterator<Item = &[u8]> {
        self.function_lines()
            .filter_map(|line| line.strip_prefix(b"enable -n "))
    }

    /// The functions, in the order of their names.
    pub(crate) fn functions(&self) -> impl Iterator<Item = ShellFunction<'_>> {
        self.function_lines().filter_map(|line| {
            let line = line.strip_prefix(b"declare -")?;
            let space = line.iter().position(|byte| *byte == b' ')?;
            Some(ShellFunction {
                attributes: &line[..space],
                name: &line[space + 1..],
            })
        })
    }

    /// The definition of the function `exit`, which the driver shows in this field unless the isolation is `restore`.
    pub(crate) fn exit_function(&self) -> &[u8] {
        self.text(&self.functions)
    }

    fn function_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text(&self.functions).split(|byte| *byte == b'\n')
    }

    /// The bodies of the file's functions, and the builtins; empty if no function of the file can change them.
    pub(crate) fn bodies(&self) -> &[u8] {
        self.text(&self.bodies)
    }

    /// In the first state: the bodies of all functions, one after the other.
    pub(crate) fn all_bodies(&self) -> Option<&[u8]> {
        Some(self.text(&self.first.as_ref()?.bodies))
    }

    /// In the first state: what `hash -l` prints.
    pub(crate) fn hashed(&self) -> &[u8] {
        let first = self.first.as_ref();
        first.map_or(b"", |first| self.text(&first.hashed))
    }

    /// In the first state: the completions, the history and the second entry of the directory stack. Few files have any.
    pub(crate) fn interactive_lists(&self) -> &[u8] {
        let first = self.first.as_ref();
        first.map_or(b"", |first| self.text(&first.interactive_lists))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_without_all_of_its_fields_is_none() {
        let fields = b"state\0n\0\0job\0zero\0ehuBE\0computed\0context\0";
        for length in 0..=fields.len() {
            assert!(ShellState::read(fields[..length].to_vec()).is_none());
        }
        let whole = [&fields[..], b"declare -- n=\"1\"\n"].concat();
        let state = ShellState::read(whole);
        let variable = state.as_ref().and_then(|state| state.variable(b"n"));
        assert!(variable.is_some());
    }
}
