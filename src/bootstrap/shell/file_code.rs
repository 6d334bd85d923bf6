//! The code of a file that may run during an event, as far as its functions and traps show it.
//!
//! The search looks for words and not for meanings. It may take a line for opaque that is not, which only costs time.

use memchr::{memchr_iter, memmem};

use super::restore::is_driver_function;
use super::state::ShellState;
use coshell_driver::names::{self, PREFIX};

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
        code.is_opaque =
            code.contains(&[b"eval", b"source", b"enable", b"function ", b" -C", b"fc "])
                || code.lines().any(is_opaque_line);
        code
    }

    pub(super) fn contains(&self, words: &[&[u8]]) -> bool {
        let mut pieces = self.pieces.iter();
        pieces.any(|code| words.iter().any(|word| memmem::find(code, word).is_some()))
    }

    /// Whether the code may run a command that contains one of the words.
    pub(super) fn may_run(&self, words: &[&[u8]]) -> bool {
        self.is_opaque || self.contains(words)
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
    let is_ours = |name: &[u8], body: &[u8]| {
        is_driver_function(name)
            || is_offered(name)
            // The file may have a function jq of its own.
            || (name == b"jq" || name == b"aws")
                && memmem::find(body, names::COMMAND.as_bytes()).is_some()
    };
    both.filter(move |((start, _, name), end)| !is_ours(name, &bodies[*start..*end]))
        .map(|((_, body, _), end)| &bodies[body..end])
}

/// Whether the driver offers a function of this name to handlers.
fn is_offered(name: &[u8]) -> bool {
    name == b"exit" || name.starts_with(b"lambda_")
}

/// Whether a line may run code that is not in it: from a variable, a sourced file, or a function that it defines.
fn is_opaque_line(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let before = |index: usize| index.checked_sub(1).map(|index| line[index]);
    let starts_command = |index: usize| {
        const WORDS: [&[u8]; 10] = [
            b"then", b"do", b"else", b"builtin", b"command", b"if", b"while", b"until", b"time",
            b"trap",
        ];
        let before = line[..index].trim_ascii_end();
        ends_in_assignments(&line[..index])
            || before.is_empty()
            || matches!(
                before.last(),
                Some(b';' | b'&' | b'|' | b'(' | b'{' | b'!' | b')')
            )
            || WORDS
                .iter()
                .any(|word| without_options(before).ends_with(word))
    };
    memmem::find_iter(line, b"()").any(|index| before(index) != Some(b'='))
        || memmem::find_iter(line, b". ").any(starts_command)
        || memchr_iter(b'$', line).any(|index| {
            let is_quoted = before(index) == Some(b'"');
            starts_command(if is_quoted { index - 1 } else { index })
        })
}

/// Whether a command follows that has assignments before it, as in `LC_ALL=C "$@"`.
fn ends_in_assignments(before: &[u8]) -> bool {
    let start = before
        .iter()
        .rposition(|byte| b";&|({!".contains(byte))
        .map_or(0, |index| index + 1);
    let segment = before[start..].trim_ascii_start();
    let name = segment.split(|byte| *byte == b'=').next();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_[]+".contains(byte);
    let is_closed = |quote| memchr_iter(quote, segment).count().is_multiple_of(2);
    segment.ends_with(b" ")
        && name.is_some_and(|name| name.len() < segment.len() && name.iter().all(is_name))
        && is_closed(b'"')
        && is_closed(b'\'')
}

/// `before` without options at its end, such as those of `command -p --`.
fn without_options(mut before: &[u8]) -> &[u8] {
    while let Some(space) = before.iter().rposition(u8::is_ascii_whitespace)
        && before[space + 1..].starts_with(b"-")
    {
        before = before[..space].trim_ascii_end();
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_opaque(line: &str) -> bool {
        is_opaque_line(line.as_bytes())
    }

    #[test]
    fn command_in_a_variable_makes_a_line_opaque() {
        for line in [
            "    $command x;",
            "    \"$@\";",
            "    if \"$1\"; then",
            "    true && ${hook};",
            "    . ./lib.sh;",
            "    case $1 in a) $2 ;;",
            "    trap 'f(){ :; }' EXIT;",
            "    trap \"$cleanup\" EXIT;",
            "    LC_ALL=C \"$@\"",
            "    IFS=: x='' $command",
            "    time -p $command",
            "    command -- \"$1\"",
            "    helper () ",
        ] {
            assert!(is_opaque(line), "{line}");
        }
    }

    #[test]
    fn argument_in_a_variable_does_not() {
        for line in [
            "    local x=() y=$1;",
            "    echo \"$1\" $2;",
            "    x+=();",
            "    echo -n \"$1\"",
            "    if [[ -n $x ]]; then",
            "    text=\"a $b\"",
            "    local a=1 b=$2",
            "    value=$1 other=\"$2\"",
            "    grep -q -- \"$pattern\"",
            "    echo \"a. b\";",
            "    printf '%s' \"${a[@]}\"",
            "    x=$(date)",
        ] {
            assert!(!is_opaque(line), "{line}");
        }
    }

    #[test]
    fn functions_of_the_driver_are_left_out() {
        let bodies = b", () \n{ \n    eval x\n}\nlambda_log () \n{ \n    eval\n}\nown () \n{ \n    function f () \n    echo\n}\n";
        let found: Vec<_> = user_functions(bodies).collect();
        assert_eq!(found, [&b"\n{ \n    function f () \n    echo\n}\n"[..]]);
    }
}
