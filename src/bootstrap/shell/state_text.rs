//! Takes apart what bash prints of itself: fields, commands and variables.

use std::ops::Range;

use memchr::memchr;

/// Reads fields, each with a NUL behind it.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    index: usize,
}

impl<'a> Fields<'a> {
    /// Reads `bytes` from `index` on.
    pub(super) fn new(bytes: &'a [u8], index: usize) -> Self {
        Self { bytes, index }
    }

    /// Reads a field. Returns `None` if the NUL is missing: then the field is not complete.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        let length = memchr(b'\0', self.bytes.get(self.index..)?)?;
        let field = self.index..self.index + length;
        self.index += length + 1;
        Some(field)
    }

    /// Reads a field that may be the very last one, which has no NUL behind it.
    pub(super) fn next_or_last(&mut self) -> Option<Range<usize>> {
        let rest = self.index..self.bytes.len();
        self.next().or_else(|| {
            self.index = rest.end;
            (!rest.is_empty()).then_some(rest)
        })
    }

    /// Reads names up to an empty field.
    pub(super) fn names(&mut self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        loop {
            let name = self.next()?;
            if name.is_empty() {
                return Some(names);
            }
            names.push(String::from_utf8_lossy(&self.bytes[name]).into_owned());
        }
    }
}

/// A variable, as `declare -p` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShellVariable<'a> {
    /// The letters of its attributes, such as `ax`; `-` if it has none.
    pub attributes: &'a [u8],
    pub name: &'a [u8],
    /// The whole command: `declare -ax NAME=(...)`.
    pub declaration: &'a [u8],
}

impl ShellVariable<'_> {
    /// The lines that set the variable again. bash does not accept `builtin declare -a x=(...)`, and `declare` alone
    /// may be a function.
    pub(crate) fn set_lines(&self) -> Vec<u8> {
        let index = memchr(b'=', self.declaration).unwrap_or(self.declaration.len());
        let value = &self.declaration[index..];
        let changes_values = |letter: &u8| b"iluc".contains(letter);
        let is_scalar = !value.starts_with(b"=(");
        if !value.is_empty() && (!is_scalar || self.attributes.iter().any(changes_values)) {
            // The other attributes come last: they may change or refuse a value, and did not exist when this one was set.
            let kind: &[u8] = match () {
                () if is_scalar => b"-",
                () if self.has_attribute(b'A') => b"A",
                () => b"a",
            };
            let declare =
                |letters: &[u8]| [b"builtin declare -", letters, b" ", self.name, b"\n"].concat();
            let assign = [self.name, value, b"\n"].concat();
            [declare(kind), assign, declare(self.attributes)].concat()
        } else {
            [b"builtin ", self.declaration, b"\n"].concat()
        }
    }

    pub(crate) fn has_attribute(&self, letter: u8) -> bool {
        self.attributes.contains(&letter)
    }
}

/// Where the parts of a variable are in a text.
#[derive(Debug, Clone)]
pub(super) struct VariableRanges {
    attributes: Range<usize>,
    name: Range<usize>,
    declaration: Range<usize>,
}

impl VariableRanges {
    /// Finds the parts of `declare -ax NAME=(...)`, which is at `declaration` in `bytes`.
    pub(super) fn find(bytes: &[u8], declaration: Range<usize>) -> Option<Self> {
        let text = &bytes[declaration.clone()];
        let rest = text.strip_prefix(b"declare -")?;
        let space = memchr(b' ', rest)?;
        let start = declaration.start + text.len() - rest.len();
        let name = &rest[space + 1..];
        let name_length = memchr(b'=', name).unwrap_or(name.len());
        let name_start = start + space + 1;
        Some(Self {
            attributes: start..start + space,
            name: name_start..name_start + name_length,
            declaration,
        })
    }

    pub(super) fn of<'a>(&self, bytes: &'a [u8]) -> ShellVariable<'a> {
        ShellVariable {
            attributes: &bytes[self.attributes.clone()],
            name: &bytes[self.name.clone()],
            declaration: &bytes[self.declaration.clone()],
        }
    }
}

/// Splits what bash printed into commands: at newlines outside of quotes.
pub(super) fn split_commands(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut index = 0;
    std::iter::from_fn(move || {
        let start = index;
        if start >= text.len() {
            return None;
        }
        // The byte that ends the current quotes, and whether a backslash escapes the next byte in them.
        let mut quotes: Option<(u8, bool)> = None;
        while index < text.len() {
            let byte = text[index];
            match quotes {
                Some((_, true)) if byte == b'\\' => index += 1,
                Some((end, _)) if byte == end => quotes = None,
                Some(_) => {}
                None => match byte {
                    b'\\' => index += 1,
                    b'"' => quotes = Some((b'"', true)),
                    b'\'' => {
                        let is_ansi = index > start && text[index - 1] == b'$';
                        quotes = Some((b'\'', is_ansi));
                    }
                    b'\n' => {
                        index += 1;
                        return Some(start..index - 1);
                    }
                    _ => {}
                },
            }
            index += 1;
        }
        Some(start..text.len())
    })
}

/// Whether `name` looks like the name of a signal. It goes back to bash as a part of a command.
pub(super) fn is_signal_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_end_outside_of_quotes() {
        let text = b"alias a='x\ny'\ndeclare -- b=\"1\n2\\\"\n3\"\ndeclare -- c=$'\\'\n'\ntrap -- 'it'\\''s\n' INT\nlast";
        let split: Vec<_> = split_commands(text)
            .map(|command| String::from_utf8_lossy(&text[command]).into_owned())
            .collect();
        assert_eq!(
            split,
            [
                "alias a='x\ny'",
                "declare -- b=\"1\n2\\\"\n3\"",
                "declare -- c=$'\\'\n'",
                "trap -- 'it'\\''s\n' INT",
                "last"
            ]
        );
    }

    #[test]
    fn variables_have_attributes_and_names() {
        let text = b"declare -ax list=([0]=\"a=b\")";
        let found = VariableRanges::find(text, 0..text.len());
        let found = found.as_ref().map(|ranges| ranges.of(text));
        let found = found.map(|variable| (variable.attributes, variable.name));
        assert_eq!(found, Some((&b"ax"[..], &b"list"[..])));
        let text = b"declare -- empty";
        let found = VariableRanges::find(text, 0..text.len()).map(|ranges| ranges.name);
        assert_eq!(found, Some(11..16));
    }
}
