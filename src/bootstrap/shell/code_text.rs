//! Takes apart bash code, from `declare -f` or from a file. The result is just good enough for looking for words.

use memchr::memmem;

/// The words of a text: letters, digits and underscores, whatever stands between them.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.split(move |byte| !is_part(byte))
        .filter(|word| !word.is_empty())
}

/// The places in a text where a statement may begin: lines, and what follows a semicolon or a brace.
pub(super) fn statements(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = text.split(|byte| matches!(byte, b'\n' | b';' | b'{'));
    parts.map(<[u8]>::trim_ascii_start)
}

/// The text that follows each `name` that stands alone and has something behind it.
pub(super) fn text_after<'a>(
    text: &'a [u8],
    name: &'static [u8],
) -> impl Iterator<Item = &'a [u8]> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./".contains(byte);
    memmem::find_iter(text, name).filter_map(move |index| {
        let is_whole = !text[..index].last().is_some_and(is_part);
        let rest = &text[index + name.len()..];
        (is_whole && matches!(rest.first(), Some(b' ' | b'\t'))).then_some(rest)
    })
}

/// A part of a text as bash reads its quotes.
enum Part {
    /// A quotation mark or a backslash, which goes.
    Mark,
    Quoted(u8),
    Plain(u8),
}

fn parts(text: &[u8]) -> impl Iterator<Item = Part> {
    let mut quote = None;
    let mut is_escaped = false;
    text.iter().map(move |&byte| match (quote, byte) {
        _ if is_escaped => {
            is_escaped = false;
            Part::Quoted(byte)
        }
        (Some(end), byte) if byte == end => {
            quote = None;
            Part::Mark
        }
        (Some(b'\''), byte) => Part::Quoted(byte),
        (_, b'\\') => {
            is_escaped = true;
            Part::Mark
        }
        (None, b'\'' | b'"') => {
            quote = Some(byte);
            Part::Mark
        }
        (Some(_), byte) => Part::Quoted(byte),
        (None, byte) => Part::Plain(byte),
    })
}

/// The arguments of a command, without quotes, up to the end of the command.
pub(super) fn arguments(text: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    for part in parts(text) {
        match part {
            Part::Mark => {
                word.get_or_insert_default();
            }
            Part::Plain(b' ' | b'\t') => found.extend(word.take()),
            Part::Plain(b';' | b'&' | b'|' | b')' | b'\n') => break,
            Part::Quoted(byte) | Part::Plain(byte) => word.get_or_insert_default().push(byte),
        }
    }
    found.extend(word);
    found
}

/// A word without its quotes.
pub(super) fn unquoted(word: &[u8]) -> Vec<u8> {
    let character = |part| match part {
        Part::Mark => None,
        Part::Quoted(byte) | Part::Plain(byte) => Some(byte),
    };
    parts(word).filter_map(character).collect()
}

/// Whether a command may start behind `before`, even one in quotes.
pub(super) fn starts_command(before: &[u8]) -> bool {
    const WORDS: [&[u8]; 13] = [
        b"if", b"then", b"elif", b"else", b"while", b"until", b"do", b"builtin", b"command",
        b"eval", b"time", b" -p", b" --",
    ];
    let line = before.rsplit(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default().trim_ascii_end();
    line.last()
        .is_none_or(|byte| b";&|({!)'\"`\\".contains(byte))
        || WORDS.iter().any(|word| line.ends_with(word))
}
