//! Builds a list of commands for bash.

use super::state::ShellState;

/// Commands for bash, one on each line.
#[derive(Debug, Default)]
pub(super) struct CommandList {
    pub text: Vec<u8>,
}

impl CommandList {
    /// Adds a command, in parts.
    pub(super) fn add(&mut self, parts: &[&[u8]]) {
        // Without a backslash, since bash does not accept `\builtin declare -a x=(...)`. It expands no aliases here.
        self.text.extend_from_slice(b"builtin ");
        for part in parts {
            self.text.extend_from_slice(part);
        }
        self.text.push(b'\n');
    }
}

/// Quotes `text` for bash.
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

/// Whether bash expands aliases.
pub(super) fn expands_aliases(state: &ShellState) -> bool {
    state.has_shell_option(b"expand_aliases")
}

/// Makes bash expand no aliases in `commands`, if it does so `before` them, and expand them again if it shall `after`.
pub(super) fn without_aliases(commands: &[u8], before: bool, after: bool) -> Vec<u8> {
    let line_if = |is_on: bool, line: &'static [u8]| if is_on { line } else { b"" };
    [
        line_if(before, b"\\builtin shopt -u expand_aliases\n"),
        commands,
        line_if(after, b"\\builtin shopt -s expand_aliases\n"),
    ]
    .concat()
}
