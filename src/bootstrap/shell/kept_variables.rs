//! The variables that `lambda_keep` names, with their values: a fresh shell gets them from the shell that it replaces.

use std::collections::BTreeMap;

use memchr::memmem;

use super::command_list::{expands_aliases, without_aliases};
use super::state::ShellState;
use super::state_text::{Fields, VariableRanges, split_commands};
use coshell_driver::{names as driver, record};
use coshell_handler::bash::quote;

/// `fd:NAME` also keeps the open descriptors whose numbers the variable NAME holds.
const DESCRIPTORS: &str = "fd:";

/// The kept variables, as a shell last showed them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeptVariables {
    /// The arguments of `lambda_keep`.
    names: Vec<String>,
    /// The lines that set each variable. A variable without lines is unset.
    set_lines: BTreeMap<String, Vec<u8>>,
}

impl KeptVariables {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn contains(&self, variable: &[u8]) -> bool {
        let mut names = self.names.iter();
        names.any(|name| without_prefix(name).as_bytes() == variable)
    }

    /// Remembers the values in the state of a live shell.
    pub(crate) fn remember(&mut self, state: &ShellState) {
        if state.kept_names.is_empty() && self.names.is_empty() {
            return;
        }
        self.names = valid_names(&state.kept_names);
        self.set_lines.clear();
        for name in &self.names {
            if let Some(variable) = state.variable(name.as_bytes()) {
                self.set_lines.insert(name.clone(), variable.set_lines());
            }
        }
    }

    /// Remembers the values that a fork showed when it ended, if it did.
    pub(crate) fn remember_shown(&mut self, shown: &[u8]) {
        if let Some(kept) = read_last_record(shown) {
            *self = kept;
        }
    }

    /// The numbers of the descriptors that stay open.
    pub(crate) fn descriptors(&self, state: &ShellState) -> Vec<i32> {
        let names = self.names.iter();
        let names = names.filter_map(|name| name.strip_prefix(DESCRIPTORS));
        names
            .filter_map(|name| state.variable(name.as_bytes()))
            .flat_map(|variable| {
                // `declare -- db="10"`, `declare -a both=([0]="63" [1]="60")`: every second piece stands in quotes.
                let pieces = variable.declaration.split(|byte| *byte == b'"');
                let quoted = pieces.skip(1).step_by(2);
                let texts = quoted.filter_map(|text| str::from_utf8(text).ok());
                texts.filter_map(|text| text.parse().ok())
            })
            .collect()
    }

    /// The commands that set these variables in another shell, whose initial state is `initial`. A variable that its
    /// file has made readonly keeps the file's value.
    pub(crate) fn commands(&self, initial: Option<&ShellState>) -> Vec<u8> {
        // What an event has made readonly keeps its value.
        let mut text = b"{\n".to_vec();
        for name in self
            .names
            .iter()
            .filter(|name| !name.starts_with(DESCRIPTORS))
        {
            let variable = initial.and_then(|state| state.variable(name.as_bytes()));
            if variable.is_some_and(|variable| variable.has_attribute(b'r')) {
                continue;
            }
            // `unset -n` unsets a reference itself, and not the variable that it refers to. Bash 4.2 has neither.
            let unset = format!("\\builtin unset -n {name}\n\\builtin unset -v {name}\n");
            text.extend_from_slice(unset.as_bytes());
            if let Some(lines) = self.set_lines.get(name) {
                text.extend_from_slice(lines);
            }
        }
        // The old shell's descriptors are gone. Only the file of the fresh shell can have opened some again.
        let own = initial.map_or(&[][..], |state| &state.kept_names);
        let names = self.names.iter();
        let names = names.filter(|name| !name.starts_with(DESCRIPTORS) && !own.contains(name));
        let names: Vec<_> = own.iter().chain(names).map(|name| quote(name)).collect();
        let kept = format!("{}=({})\n}} 2>/dev/null\n", driver::KEPT, names.join(" "));
        text.extend_from_slice(kept.as_bytes());
        let has_aliases = initial.is_some_and(expands_aliases);
        without_aliases(&text, has_aliases, has_aliases)
    }
}

/// The names that a variable can have. They become parts of commands, and a handler can put anything among them.
fn valid_names(names: &[String]) -> Vec<String> {
    let is_valid = |name: &&String| {
        let name = without_prefix(name);
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        name.starts_with(|letter: char| is_part(letter) && !letter.is_ascii_digit())
            && name.chars().all(is_part)
    };
    names.iter().filter(is_valid).cloned().collect()
}

fn without_prefix(name: &str) -> &str {
    name.strip_prefix(DESCRIPTORS).unwrap_or(name)
}

/// Reads the last complete one of the records `=kept NUL NAME NUL ... NUL declarations NUL` that a fork wrote.
///
/// A signal can stop the fork within a record, and its EXIT trap may then write another one. A complete record has nothing
/// in it that ends like its first field, and declarations end in a newline.
fn read_last_record(bytes: &[u8]) -> Option<KeptVariables> {
    let mut record = bytes;
    loop {
        let start = memmem::rfind(record, record::KEPT_FIELD)?;
        let mut fields = Fields::new(record, start + record::KEPT_FIELD.len());
        let names = fields.names();
        if let (Some(names), Some(text)) = (names, fields.next())
            && record[text.clone()]
                .last()
                .is_none_or(|byte| *byte == b'\n')
        {
            let text = &record[text];
            let set_lines = split_commands(text).filter_map(|command| {
                let variable = VariableRanges::find(text, command)?;
                let variable = variable.of(text);
                let name = String::from_utf8_lossy(variable.name).into_owned();
                Some((name, variable.set_lines()))
            });
            return Some(KeptVariables {
                names: valid_names(&names),
                set_lines: set_lines.collect(),
            });
        }
        record = &record[..start];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Complete records, some of which look as if another one began in them.
    const RECORDS: [&[u8]; 5] = [
        b"=kept\0a\0\0declare -- a=\"1\"\n\0",
        b"=kept\0a\0b\0\0declare -- a=\"2\"\ndeclare -A b=([x]=\"y\" )\n\0",
        // A variable that is unset.
        b"=kept\0a\0\0\0",
        b"=kept\0kept\0c\0\0declare -- kept=\"=kept\"\ndeclare -- c=\"kept=kept\n=kept\n\"\n\0",
        b"=kept\0unkept\0\0declare -- unkept=\"\"\n\0",
    ];

    #[test]
    fn last_record_of_a_fork_counts() {
        let kept = read_last_record(&RECORDS[..2].concat()).unwrap_or_default();
        assert_eq!(kept.names, ["a", "b"]);
        assert_eq!(kept.set_lines["a"], b"builtin declare -- a=\"2\"\n");
        assert_eq!(kept.set_lines.len(), 2);
    }

    #[test]
    fn part_of_a_record_counts_for_nothing() {
        for cut in RECORDS {
            for length in 0..cut.len() {
                let part = &cut[..length];
                assert_eq!(read_last_record(part), None, "{}", part.escape_ascii());
                for whole in RECORDS {
                    let expected = read_last_record(whole);
                    assert!(expected.is_some());
                    for bytes in [[whole, part], [part, whole]] {
                        let bytes = bytes.concat();
                        assert_eq!(
                            read_last_record(&bytes),
                            expected,
                            "{}",
                            bytes.escape_ascii()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn names_that_no_variable_can_have_are_left_out() {
        let bytes = b"=kept\0a; kill $$\0fd:b_2\0fd:\x002c\0d\n\0_\0\0declare -- a=\"1\"\n\0";
        let kept = read_last_record(bytes).unwrap_or_default();
        assert_eq!(kept.names, ["fd:b_2", "_"]);
    }
}
