//! Splits a handler's name into words as a shell does, with quotes and without expansion.
//!
//! `report.sh -t 80` is a file and two arguments. A `$`, `*` or `;` is an ordinary character, because a setting must
//! not be able to run a command.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Blanks separate words; `'...'`, `"..."` and `\` quote.
///
/// # Errors
/// The quote that is not closed, or the backslash at the end.
pub(crate) fn split(name: &[u8]) -> Result<Vec<OsString>, char> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = name.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte.is_ascii_whitespace() {
            words.extend(word.take().map(OsString::from_vec));
            continue;
        }
        let word = word.get_or_insert_default();
        match byte {
            b'\'' => loop {
                match bytes.next().ok_or('\'')? {
                    b'\'' => break,
                    byte => word.push(byte),
                }
            },
            b'"' => loop {
                match bytes.next().ok_or('"')? {
                    b'"' => break,
                    b'\\' => {
                        let next = bytes.next().ok_or('"')?;
                        if !b"\"\\$`".contains(&next) {
                            word.push(b'\\');
                        }
                        word.push(next);
                    }
                    byte => word.push(byte),
                }
            },
            b'\\' => word.push(bytes.next().ok_or('\\')?),
            byte => word.push(byte),
        }
    }
    words.extend(word.map(OsString::from_vec));
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell_without_its_expansions() {
        for (name, words) in [
            ("report.sh -t 80", &["report.sh", "-t", "80"][..]),
            ("  a\t b\n", &["a", "b"]),
            ("'a b' \"c d\" e\\ f", &["a b", "c d", "e f"]),
            ("a'b'\"c\"d", &["abcd"]),
            ("'' \"\"", &["", ""]),
            (r#""\"\\\$\x" '\'"#, &[r#""\$\x"#, r"\"]),
            (
                "$HOME *;`id` a#b # c",
                &["$HOME", "*;`id`", "a#b", "#", "c"],
            ),
            ("caf\u{e9} \u{6f22}", &["caf\u{e9}", "\u{6f22}"]),
            ("", &[]),
            (" ", &[]),
        ] {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            assert_eq!(split(name.as_bytes()), Ok(words), "{name}");
        }
    }

    #[test]
    fn a_quote_that_is_not_closed_is_an_error() {
        for (name, quote) in [
            ("it's", '\''),
            ("a \"b", '"'),
            ("a\\", '\\'),
            ("\"a\\", '"'),
        ] {
            assert_eq!(split(name.as_bytes()), Err(quote), "{name}");
        }
    }
}
