//! Escapes in the text of a filter that jaq's parser refuses: pairs of surrogates, `"\ud83d\ude00"`.

use std::borrow::Cow;

/// The text with the characters that pairs of surrogates stand for. As in jq, a low surrogate that stands alone is U+FFFD, and a
/// high one stays: it is a mistake.
pub(crate) fn without_surrogates(text: &str) -> Cow<'_, str> {
    let mut plain = String::new();
    // Where the part of the text begins that is not in `plain`.
    let mut start = 0;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &text.as_bytes()[at..]) {
        at += found;
        let first = code_unit(&text[at..]);
        let second = || code_unit(&text[at + ESCAPE_BYTES..]);
        let units: Vec<u16> = match first {
            Some(high @ 0xd800..0xdc00) => match second() {
                Some(low @ 0xdc00..0xe000) => vec![high, low],
                _ => Vec::new(),
            },
            Some(low @ 0xdc00..0xe000) => vec![low],
            _ => Vec::new(),
        };
        if units.is_empty() {
            // What is escaped may be another backslash.
            let escaped = text[at + 1..].chars().next();
            at += 1 + escaped.map_or(0, char::len_utf8);
            continue;
        }
        plain.push_str(&text[start..at]);
        plain.push_str(&String::from_utf16_lossy(&units));
        at += units.len() * ESCAPE_BYTES;
        start = at;
    }
    if start == 0 {
        return Cow::Borrowed(text);
    }
    plain.push_str(&text[start..]);
    Cow::Owned(plain)
}

/// Of `\uXXXX`.
const ESCAPE_BYTES: usize = 6;

/// The number in the escape that `text` begins with.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| are_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_surrogates_in_escapes_are_replaced() {
        for (text, expected) in [
            (r#""\ud83d\uDE00x""#, "\"\u{1f600}x\""),
            (r#""\\\ud83d\ude00""#, "\"\\\\\u{1f600}\""),
            (r#""\ude00""#, "\"\u{fffd}\""),
        ] {
            assert_eq!(without_surrogates(text), expected, "{text}");
        }
        for text in [
            r#""\\ud83d\\ude00""#,
            r#""\ud83d""#,
            r#""\ud83d\u0041""#,
            r#""\u00e9\n\"""#,
            "\\",
            "\\ä\\u\\ud83",
            r"\u+83d",
            "",
        ] {
            assert_eq!(without_surrogates(text), text, "{text}");
        }
    }
}
