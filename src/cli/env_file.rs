//! Reads files with variables, in the format of `docker run --env-file` and in that of dotenv.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::error::Error;

/// A name and its value.
pub(crate) type Pair = (OsString, OsString);

/// Reads a file as Docker does. Each line is `NAME=VALUE`; quotes and dollar signs are part of the value. A line with only
/// `NAME` takes the value from the environment of `coshell`, if it has one.
pub(crate) fn read_env_file(path: &Path) -> Result<Vec<Pair>, Error> {
    let mut pairs = Vec::new();
    for (index, line) in read_text(path)?.split('\n').enumerate() {
        let pair = read_line(line.strip_suffix('\r').unwrap_or(line));
        pairs.extend(pair.map_err(|cause| misuse(path, index + 1, &cause))?);
    }
    Ok(pairs)
}

/// A file without its byte order mark.
fn read_text(path: &Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(Error::io(cannot_read(path)))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        check_line(line).map_err(|cause| misuse(path, index + 1, cause))?;
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn check_line(line: &[u8]) -> Result<(), &'static str> {
    if line.contains(&0) {
        return Err("it contains a NUL byte, which no variable can have");
    }
    str::from_utf8(line)
        .map(drop)
        .map_err(|_| "it is not UTF-8")
}

fn read_line(line: &str) -> Result<Option<Pair>, String> {
    let line = line.trim_start_matches([' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(OsString::from(value))),
        None => (line, env::var_os(line)),
    };
    if name.is_empty() {
        return Err(format!("{line:?} has no name before the ="));
    }
    if name.contains([' ', '\t']) {
        return Err(format!("the name {name:?} contains a space"));
    }
    Ok(value.map(|value| (name.into(), value)))
}

/// Reads a file as dotenv does: quotes are removed, and `$NAME` is replaced.
pub(crate) fn read_dotenv(path: &Path) -> Result<Vec<Pair>, Error> {
    let text = with_braces(&read_text(path)?);
    let mut pairs = Vec::new();
    for pair in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = pair.map_err(|error| match error {
            // `rest` is the line from the first character that could not be parsed, or all lines from a quote that has no end.
            dotenvy::Error::LineParse(rest, _) => {
                let first = rest.lines().next().unwrap_or_default();
                let index = text.lines().position(|line| line.ends_with(first));
                let cause = format!("cannot parse {rest:?}");
                misuse(path, index.map_or(1, |index| index + 1), &cause)
            }
            other => Error::Misuse {
                what: cannot_read(path),
                cause: other.to_string(),
            },
        })?;
        pairs.push((name.into(), value.into()));
    }
    Ok(pairs)
}

/// Writes `$NAME` as `${NAME}`. dotenvy 0.15 ends a name at an underscore, and does not read the character behind it.
fn with_braces(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let (mut quote, mut before) = (None, '\n');
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        result.push(letter);
        match (quote, letter) {
            (None, '#') if before.is_whitespace() => {
                while let Some(letter) = letters.next_if(|letter| *letter != '\n') {
                    result.push(letter);
                }
            }
            (None | Some('"'), '\\') => result.extend(letters.next()),
            (None, '"' | '\'') => quote = Some(letter),
            (None | Some('"'), '$') => {
                let is_first = |letter: &char| letter.is_ascii_alphabetic() || *letter == '_';
                if let Some(first) = letters.next_if(is_first) {
                    result.extend(['{', first]);
                    let is_name = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
                    while let Some(letter) = letters.next_if(is_name) {
                        result.push(letter);
                    }
                    result.push('}');
                }
            }
            (Some(open), _) if open == letter => quote = None,
            _ => {}
        }
        before = letter;
    }
    result
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read variables from {}", path.display())
}

fn misuse(path: &Path, line: usize, cause: &str) -> Error {
    Error::Misuse {
        what: cannot_read(path),
        cause: format!("line {line}: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> Result<Option<String>, String> {
        let pair = read_line(line)?;
        Ok(pair.map(|(_, value)| value.to_string_lossy().into_owned()))
    }

    #[test]
    fn values_are_not_changed() {
        for (line, expected) in [
            ("A=one", "one"),
            ("A=hello world", "hello world"),
            ("A=a#b # c", "a#b # c"),
            ("A=pa$word", "pa$word"),
            ("A={\"a\": 1}", "{\"a\": 1}"),
            ("A=\"quoted\"", "\"quoted\""),
            ("A=", ""),
            ("A=a=b=c", "a=b=c"),
            (" \tA= b ", " b "),
            ("A=C:\\new\\dir", "C:\\new\\dir"),
        ] {
            assert_eq!(value(line), Ok(Some(expected.to_owned())));
        }
    }

    #[test]
    fn comments_and_names_of_unset_variables_are_skipped() {
        for line in ["", "   ", "# A=1", "  #A", "NO_SUCH_VARIABLE_IS_SET"] {
            assert_eq!(value(line), Ok(None), "{line}");
        }
        assert!(value("PATH").is_ok_and(|path| path.is_some()));
    }

    #[test]
    fn lines_without_a_valid_name_are_refused() {
        for line in ["=x", " =x", "A B=c", "export A=b", "A =b"] {
            assert!(value(line).is_err(), "{line:?}");
        }
    }
}
