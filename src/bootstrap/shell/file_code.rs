//! The code of a file that may run during an event, as far as its functions and traps show it.
//!
//! The search looks for words and not for meanings. It may take code for opaque that is not, which only costs time.

use memchr::memmem;

use super::code_text::{arguments, starts_command, text_after};
use super::hidden_commands::has_hidden_command;
use super::restore::is_driver_function;
use super::state::ShellState;
use coshell_driver::names::PREFIX;

/// All code of a file that may run during an event: its functions and its traps.
pub(super) struct FileCode<'a> {
    pieces: Vec<&'a [u8]>,
    /// It may run code that is not in it, so that it could change anything.
    pub(super) is_opaque: bool,
}

impl<'a> FileCode<'a> {
    pub(super) fn of(first: &'a ShellState) -> Self {
        let bodies = first.all_bodies().unwrap_or_default();
        let mut pieces: Vec<_> = user_functions(bodies).collect();
        let traps = first.traps().map(|trap| trap.command);
        let is_ours = |command: &&[u8]| memmem::find(command, PREFIX.as_bytes()).is_some();
        pieces.extend(traps.filter(|command| !is_ours(command)));
        let mut code = Self {
            pieces,
            is_opaque: false,
        };
        code.is_opaque = code.contains(&[b"eval", b"source", b"enable", b"function ", b" -C", b"fc "])
                || code.pieces.iter().any(|code| has_hidden_command(code))
                // A trap expands them when it runs.
                || first.aliases().next().is_some();
        code
    }

    /// Whether the file has set a trap for a signal. Forks reset such traps, as `$(handler "$event")` does. What a trap ignores
    /// is ignored there too.
    pub(super) fn traps_signal(&self) -> bool {
        self.pieces.iter().any(|code| {
            code.starts_with(b"trap -- ")
                && !code.starts_with(b"trap -- '' ")
                && !code.ends_with(b" EXIT")
        })
    }

    pub(super) fn contains(&self, words: &[&[u8]]) -> bool {
        let mut pieces = self.pieces.iter();
        pieces.any(|code| words.iter().any(|word| memmem::find(code, word).is_some()))
    }

    /// Whether the code may run a command that contains one of the words.
    pub(super) fn may_run(&self, words: &[&[u8]]) -> bool {
        self.is_opaque || self.contains(words)
    }

    /// Whether the code may run `command` with the option `letter`.
    pub(super) fn has_option(&self, command: &'static [u8], letter: u8) -> bool {
        self.pieces.iter().any(|code| {
            text_after(code, command).any(|rest| {
                let options = arguments(rest).into_iter();
                let mut options = options
                    .take_while(|word| b"-+".contains(&word.first().copied().unwrap_or_default()));
                options.any(|word| word.contains(&letter))
            })
        })
    }

    /// Whether `command` with an argument stands in the code where a command may begin.
    pub(super) fn calls(&self, command: &'static [u8]) -> bool {
        self.pieces.iter().any(|code| {
            text_after(code, command)
                .any(|rest| starts_command(&code[..code.len() - rest.len() - command.len()]))
        })
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        self.pieces
            .iter()
            .flat_map(|code| code.split(|byte| *byte == b'\n'))
    }
}

/// The bodies of the functions that do not belong to the driver, without their first lines.
pub(super) fn user_functions(bodies: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut index = 0;
    let mut heads: Vec<(usize, usize, &[u8])> = Vec::new();
    for line in bodies.split(|byte| *byte == b'\n') {
        // bash indents functions within functions.
        if !line.starts_with(b" ")
            && let Some(name) = line.strip_suffix(b" () ")
        {
            heads.push((index, index + line.len(), name));
        }
        index += line.len() + 1;
    }
    let next = heads.iter().skip(1).map(|(start, ..)| *start);
    let ends: Vec<_> = next.chain([bodies.len()]).collect();
    let both = heads.into_iter().zip(ends);
    let is_ours = |name: &[u8], body: &[u8]| is_driver_function(name) || is_offered(name, body);
    both.filter(move |((start, _, name), end)| !is_ours(name, &bodies[*start..*end]))
        .map(|((_, body, _), end)| &bodies[body..end])
}

/// Whether the driver offers this function to handlers: its name may be one of ours, and it calls the driver. The file may have
/// functions of such names, too, as many have a `lambda_handler`.
fn is_offered(name: &[u8], body: &[u8]) -> bool {
    (matches!(name, b"exit" | b"jq" | b"aws") || name.starts_with(b"lambda_"))
        && memmem::find(body, PREFIX.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coshell_driver::names;

    #[test]
    fn functions_of_the_driver_are_left_out() {
        let ours = format!("lambda_log () \n{{ \n    {} x\n}}\n", names::RARE);
        let bodies = [
            ", () \n{ \n    eval x\n}\n",
            &ours,
            "own () \n{ \n    function f () \n    echo\n}\n",
        ];
        let bodies = bodies.concat();
        let found: Vec<_> = user_functions(bodies.as_bytes()).collect();
        assert_eq!(found, [&b"\n{ \n    function f () \n    echo\n}\n"[..]]);
        let handler = b"lambda_handler () \n{ \n    umask 077\n}\n";
        let found: Vec<_> = user_functions(handler).collect();
        assert_eq!(found, [&b"\n{ \n    umask 077\n}\n"[..]]);
    }
}
