//! The state of a shell, as the driver's `,,,` shows it.
//!
//! Fields end in NUL. What bash prints so that it can read it again (variables, traps, aliases) comes
//! as one text, which is taken apart at newlines outside of quotes. Twin of
//! `restore.bash` and `live_on.bash` in `runtime-scripts`. Neighbour: `restore.rs` compares two states.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use memchr::memmem;

/// The word that a state begins with.
const STATE: &[u8] = b"state\0";

/// What a shell showed of itself; `bytes` is all of it, the rest says where what is.
#[derive(Debug, Clone)]
pub(crate) struct State {
    bytes: Vec<u8>,
    /// When it was read.
    pub taken: Instant,
    /// The names that `lambda_keep` was given.
    pub kept: Vec<String>,
    last_job: Range<usize>,
    argument_zero: Range<usize>,
    options: Range<usize>,
    separators: Range<usize>,
    computed: Range<usize>,
    context: Range<usize>,
    umask: Range<usize>,
    traps: Vec<Range<usize>>,
    /// What is shown before the first state: the traps that the file left, which are taken away.
    traps_of_file: Vec<Range<usize>>,
    aliases: Vec<Range<usize>>,
    variables: Vec<Variable>,
    functions: Range<usize>,
    bodies: Range<usize>,
    /// What is shown the first time alone.
    first: Option<First>,
}

/// Where a variable is: `declare -ax NAME=(...)`.
#[derive(Debug, Clone)]
struct Variable {
    attributes: Range<usize>,
    name: Range<usize>,
    all: Range<usize>,
}

/// What `__driver_reset` resets, and the bodies of all functions.
#[derive(Debug, Clone)]
struct First {
    bodies: Range<usize>,
    hashed: Range<usize>,
    directories: Range<usize>,
    completions: Range<usize>,
    history: Range<usize>,
}

/// A variable, as bash prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown<'a> {
    /// `ax`, or `-` if there are none.
    pub attributes: &'a [u8],
    /// The name.
    pub name: &'a [u8],
    /// The command that makes it what it is.
    pub command: &'a [u8],
}

impl Shown<'_> {
    /// The lines that make it what it is. bash does not take `builtin declare -a x=(...)`, and `declare` alone may
    /// be a function.
    pub(crate) fn lines(&self) -> Vec<u8> {
        let at = memchr::memchr(b'=', self.command).unwrap_or(self.command.len());
        let (declaration, value) = self.command.split_at(at);
        if value.starts_with(b"=(") {
            [b"builtin ", declaration, b"\n", self.name, value, b"\n"].concat()
        } else {
            [b"builtin ", self.command, b"\n"].concat()
        }
    }
    /// Whether it has the attribute.
    pub(crate) fn has(&self, attribute: u8) -> bool {
        self.attributes.contains(&attribute)
    }
}

/// What a file had changed before the first event, of what `__driver_reset` resets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Resettable<'a> {
    /// `hash -l`.
    pub hashed: &'a [u8],
    /// `dirs -p -l`.
    pub directories: &'a [u8],
    /// `complete -p`.
    pub completions: &'a [u8],
    /// `history`.
    pub history: &'a [u8],
}

impl State {
    /// Reads what `,,,` wrote; `None` if it is not whole.
    pub(crate) fn read(bytes: Vec<u8>) -> Option<Self> {
        // A DEBUG trap of the handler's may have printed something before.
        let start = memmem::find(&bytes, STATE)?;
        let mut fields = Fields {
            bytes: &bytes,
            at: start + STATE.len(),
        };
        let mut kept = Vec::new();
        loop {
            let name = fields.next()?;
            if name.is_empty() {
                break;
            }
            kept.push(String::from_utf8_lossy(&bytes[name]).into_owned());
        }
        let [
            last_job,
            argument_zero,
            options,
            separators,
            computed,
            context,
        ] = [
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        ];
        let commands = fields.next()?;
        // What no function of the file can change is not shown.
        let functions = fields.next().unwrap_or_default();
        let bodies = fields.next().unwrap_or_default();
        let first = fields.next().map(|bodies| First {
            bodies,
            hashed: fields.next().unwrap_or_default(),
            directories: fields.next().unwrap_or_default(),
            completions: fields.next().unwrap_or_default(),
            history: fields.next().unwrap_or_default(),
        });
        let mut state = Self {
            taken: Instant::now(),
            kept,
            last_job,
            argument_zero,
            options,
            separators,
            computed,
            context,
            umask: 0..0,
            traps: Vec::new(),
            traps_of_file: lines(&bytes[..start]).collect(),
            aliases: Vec::new(),
            variables: Vec::new(),
            functions,
            bodies,
            first,
            bytes: Vec::new(),
        };
        for line in lines(&bytes[commands.clone()]) {
            let line = commands.start + line.start..commands.start + line.end;
            let text = &bytes[line.clone()];
            if text.starts_with(b"declare -") {
                state.variables.extend(variable(&bytes, line));
            } else if text.starts_with(b"trap ") {
                state.traps.push(line);
            } else if text.starts_with(b"alias ") {
                state.aliases.push(line);
            } else if text.iter().all(u8::is_ascii_digit) {
                state.umask = line;
            }
        }
        state.bytes = bytes;
        Some(state)
    }

    /// How much bash has to show for it.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn text(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// The process id that `$!` gives; empty if there is none.
    pub(crate) fn last_job(&self) -> &[u8] {
        self.text(&self.last_job)
    }

    /// `$0`.
    pub(crate) fn argument_zero(&self) -> &[u8] {
        self.text(&self.argument_zero)
    }

    /// `$-`.
    pub(crate) fn options(&self) -> &[u8] {
        self.text(&self.options)
    }

    /// `IFS`, or the word `unset`.
    pub(crate) fn separators(&self) -> &[u8] {
        self.text(&self.separators)
    }

    /// What variables give that bash computes: `$SECONDS $EPOCHSECONDS ... $RANDOM $RANDOM`.
    pub(crate) fn computed(&self) -> &[u8] {
        self.text(&self.computed)
    }

    /// What the variables of the context hold; see [`Context::shown`](super::protocol::Context::shown).
    pub(crate) fn context(&self) -> &[u8] {
        self.text(&self.context)
    }

    /// The umask, in octal.
    pub(crate) fn umask(&self) -> &[u8] {
        self.text(&self.umask)
    }

    /// Each trap: its signal, and the `trap` command that sets it.
    pub(crate) fn traps(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.traps.iter().filter_map(|range| {
            let command = self.text(range);
            let signal = command.rsplit(|byte| *byte == b' ').next()?;
            is_signal(signal).then_some((signal, command))
        })
    }

    /// The first time: the DEBUG, ERR and RETURN traps that the file left.
    pub(crate) fn traps_of_file(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.traps_of_file.iter().filter_map(|range| {
            let command = self.text(range);
            let signal = command.rsplit(|byte| *byte == b' ').next()?;
            let is_ours = memmem::find(command, b"__driver_on_error").is_some();
            (command.starts_with(b"trap ") && !is_ours).then_some((signal, command))
        })
    }

    /// The command of the trap for `signal`, if there is one.
    pub(crate) fn trap(&self, signal: &[u8]) -> Option<&[u8]> {
        let mut traps = self.traps();
        traps.find_map(|(known, command)| (known == signal).then_some(command))
    }

    /// The `alias` commands.
    pub(crate) fn aliases(&self) -> impl Iterator<Item = &[u8]> {
        self.aliases.iter().map(|range| self.text(range))
    }

    /// The variables, in the order of their names.
    pub(crate) fn variables(&self) -> impl Iterator<Item = Shown<'_>> {
        self.variables.iter().map(|variable| Shown {
            attributes: self.text(&variable.attributes),
            name: self.text(&variable.name),
            command: self.text(&variable.all),
        })
    }

    /// The variable `name`, if it is there.
    pub(crate) fn variable(&self, name: &[u8]) -> Option<Shown<'_>> {
        self.variables().find(|variable| variable.name == name)
    }

    /// The options of `shopt` that are on.
    pub(crate) fn shell_options(&self) -> impl Iterator<Item = &[u8]> {
        let shown = self.variable(b"BASHOPTS");
        let value = shown.and_then(|shown| shown.command.split(|byte| *byte == b'"').nth(1));
        value.unwrap_or_default().split(|byte| *byte == b':')
    }

    /// The lines `enable -n NAME` of builtins that are off.
    pub(crate) fn disabled(&self) -> impl Iterator<Item = &[u8]> {
        self.function_lines()
            .filter_map(|line| line.strip_prefix(b"enable -n "))
    }

    /// The functions, in the order of their names: attributes, `f` among them, and name.
    pub(crate) fn functions(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.function_lines().filter_map(|line| {
            let line = line.strip_prefix(b"declare -")?;
            let space = line.iter().position(|byte| *byte == b' ')?;
            Some((&line[..space], &line[space + 1..]))
        })
    }

    /// Where variables and functions live on: the function `exit`.
    pub(crate) fn exit(&self) -> &[u8] {
        self.text(&self.functions)
    }

    fn function_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text(&self.functions).split(|byte| *byte == b'\n')
    }

    /// What is shown beside the names of functions: their bodies and the builtins, or nothing.
    pub(crate) fn bodies(&self) -> &[u8] {
        self.text(&self.bodies)
    }

    /// The first time: the bodies of all functions, one after the other.
    pub(crate) fn all_bodies(&self) -> Option<&[u8]> {
        Some(self.text(&self.first.as_ref()?.bodies))
    }

    /// The first time: what `__driver_reset` resets.
    pub(crate) fn resettable(&self) -> Option<Resettable<'_>> {
        let first = self.first.as_ref()?;
        Some(Resettable {
            hashed: self.text(&first.hashed),
            directories: self.text(&first.directories),
            completions: self.text(&first.completions),
            history: self.text(&first.history),
        })
    }
}

/// The lines that make variables what they are, by their names.
pub(crate) type Commands = BTreeMap<String, Vec<u8>>;

/// The variables that a fork shows at its end: the names of all that `lambda_keep` was given, and
/// the command that makes each what it is. The last of them counts.
pub(crate) fn read_kept(bytes: &[u8]) -> Option<(Vec<String>, Commands)> {
    let mut fields = Fields { bytes, at: 0 };
    let mut found = None;
    while let Some(word) = fields.next() {
        if &bytes[word] != b"kept" {
            continue;
        }
        let mut names = Vec::new();
        let commands = loop {
            let name = fields.next()?;
            if name.is_empty() {
                break fields.next()?;
            }
            names.push(String::from_utf8_lossy(&bytes[name]).into_owned());
        };
        let text = &bytes[commands];
        let shown = lines(text).filter_map(|line| {
            let variable = variable(text, line)?;
            let shown = Shown {
                attributes: &text[variable.attributes],
                name: &text[variable.name],
                command: &text[variable.all],
            };
            let name = String::from_utf8_lossy(shown.name).into_owned();
            Some((name, shown.lines()))
        });
        found = Some((names, shown.collect()));
    }
    found
}

/// Fields, each with a NUL behind it.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn next(&mut self) -> Option<Range<usize>> {
        let rest = self.bytes.get(self.at..)?;
        // The last field of all may have no NUL behind it.
        let length = match memchr::memchr(b'\0', rest) {
            Some(length) => length,
            None if rest.is_empty() => return None,
            None => rest.len(),
        };
        let field = self.at..self.at + length;
        self.at += length + 1;
        Some(field)
    }
}

/// Splits what bash printed into lines: at newlines outside of quotes.
fn lines(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        if start >= text.len() {
            return None;
        }
        // What ends the quotes that we are in, and whether a backslash escapes what follows it.
        let mut quotes: Option<(u8, bool)> = None;
        while at < text.len() {
            let byte = text[at];
            match quotes {
                Some((_, true)) if byte == b'\\' => at += 1,
                Some((end, _)) if byte == end => quotes = None,
                Some(_) => {}
                None => match byte {
                    b'\\' => at += 1,
                    b'"' => quotes = Some((b'"', true)),
                    b'\'' => {
                        let is_ansi = at > start && text[at - 1] == b'$';
                        quotes = Some((b'\'', is_ansi));
                    }
                    b'\n' => {
                        at += 1;
                        return Some(start..at - 1);
                    }
                    _ => {}
                },
            }
            at += 1;
        }
        Some(start..text.len())
    })
}

/// Reads `declare -ax NAME=(...)`, which is at `all` in `bytes`.
fn variable(bytes: &[u8], all: Range<usize>) -> Option<Variable> {
    let text = &bytes[all.clone()];
    let rest = text.strip_prefix(b"declare -")?;
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let start = all.start + text.len() - rest.len();
    let name = &rest[space + 1..];
    let length = name.iter().position(|byte| *byte == b'=');
    let name_start = start + space + 1;
    Some(Variable {
        attributes: start..start + space,
        name: name_start..name_start + length.unwrap_or(name.len()),
        all,
    })
}

/// The name of a signal goes back to bash: nothing but a name may.
fn is_signal(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_outside_of_quotes() {
        let text = b"alias a='x\ny'\ndeclare -- b=\"1\n2\\\"\n3\"\ndeclare -- c=$'\\'\n'\ntrap -- 'it'\\''s\n' INT\nlast";
        let split: Vec<_> = lines(text)
            .map(|line| String::from_utf8_lossy(&text[line]).into_owned())
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
        let found = variable(text, 0..text.len()).map(|variable| {
            let word = |range: Range<usize>| String::from_utf8_lossy(&text[range]).into_owned();
            (word(variable.attributes), word(variable.name))
        });
        assert_eq!(found, Some(("ax".to_owned(), "list".to_owned())));
        let text = b"declare -- empty";
        let found = variable(text, 0..text.len()).map(|variable| variable.name);
        assert_eq!(found, Some(11..16));
    }

    #[test]
    fn kept_variables_of_a_fork_are_the_last_that_it_showed() {
        let bytes = b"kept\0a\0\0declare -- a=\"1\"\n\0kept\0a\0b\0\0declare -- a=\"2\"\ndeclare -A b=([x]=\"y\" )\n\0";
        let (names, shown) = read_kept(bytes).unwrap_or_default();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(shown["a"], b"builtin declare -- a=\"2\"\n");
        assert_eq!(shown.len(), 2);
    }
}
