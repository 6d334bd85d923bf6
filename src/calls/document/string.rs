//! Strings of JSON: what they hold, and how they are written.

use std::borrow::Cow;

/// What the string holds whose text between the quotes is `raw`.
///
/// A surrogate that stands alone becomes U+FFFD. jq, up to 1.8, reads a low one so and refuses a high one.
pub(crate) fn decode(raw: &str) -> Cow<'_, str> {
    let Some((mut plain, mut rest)) = raw.split_once('\\') else {
        return Cow::Borrowed(raw);
    };
    let mut text = String::with_capacity(raw.len());
    loop {
        text.push_str(plain);
        let mut letters = rest.chars();
        let letter = letters.next();
        rest = letters.as_str();
        match letter {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let (found, after) = code_point(rest);
                text.push(found);
                rest = after;
            }
            Some(other) => text.push(other),
            None => {}
        }
        let Some(next) = rest.split_once('\\') else {
            text.push_str(rest);
            return Cow::Owned(text);
        };
        (plain, rest) = next;
    }
}

/// The character whose escape, without `\u`, is at the start of `rest`, and what is behind it.
fn code_point(rest: &str) -> (char, &str) {
    let Some((unit, after)) = code_unit(rest) else {
        return (char::REPLACEMENT_CHARACTER, rest);
    };
    if (0xd800..0xdc00).contains(&unit)
        && let Some((low, after)) = after.strip_prefix("\\u").and_then(code_unit)
        && (0xdc00..0xe000).contains(&low)
    {
        let point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        return (
            char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER),
            after,
        );
    }
    (
        char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER),
        after,
    )
}

fn code_unit(text: &str) -> Option<(u32, &str)> {
    let (digits, after) = text.split_at_checked(4)?;
    Some((u32::from_str_radix(digits, 16).ok()?, after))
}

/// Writes `text` as a string, with its quotes, as jq does: DEL is escaped, other characters beyond ASCII are not.
pub(crate) fn quote_into(json: &mut String, text: &str) {
    json.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            8 => "\\b",
            12 => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=31 | 127 => "\\u00",
            _ => continue,
        };
        json.push_str(&text[plain..at]);
        json.push_str(escape);
        if escape.len() > 2 {
            for digit in [byte >> 4, byte & 15] {
                json.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
            }
        }
        plain = at + 1;
    }
    json.push_str(&text[plain..]);
    json.push('"');
}

/// `text` as a string of JSON, with its quotes.
pub(crate) fn quote(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    quote_into(&mut json, text);
    json
}
