//! JSON text as a value, as jq reads it: numbers keep their digits, and what is no UTF-8 becomes U+FFFD.

use std::fmt;

use jaq_json::{Map, Num, Rc, Val};

/// jq 1.7 has the same limit.
pub(crate) const MAX_DEPTH: usize = 10_000;
/// Numbers up to here are the same as integers and as floating-point numbers.
const MAX_INTEGER: u64 = 1 << 53;

/// What is wrong with a text, and where.
#[derive(Debug)]
pub(crate) struct ParseError {
    pub what: &'static str,
    /// The byte at which that was found.
    pub at: usize,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

/// Reads a text that is one value, with blanks around it.
pub(crate) fn parse(text: &[u8]) -> Result<Val, ParseError> {
    let mut parser = Parser { text, at: 0 };
    parser.skip_blanks();
    let value = parser.value(0)?;
    parser.skip_blanks();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.error("Unexpected extra JSON values")),
    }
}

/// The value with which a text begins, and where it ends.
pub(crate) fn parse_first(text: &[u8]) -> Option<(Val, usize)> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0).ok()?;
    Some((value, parser.at))
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
}

impl Parser<'_> {
    fn error(&self, what: &'static str) -> ParseError {
        ParseError { what, at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Val, ParseError> {
        match self.peek() {
            Some(b'[' | b'{') if depth >= MAX_DEPTH => {
                Err(self.error("Exceeds depth limit for parsing"))
            }
            Some(b'"') => Ok(Val::utf8_str(self.string()?)),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
            None => Err(self.error("Unfinished JSON term")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Val, ParseError> {
        self.at += 1;
        let mut values = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Val::Arr(Rc::new(values)));
        }
        loop {
            self.skip_blanks();
            values.push(self.value(depth + 1)?);
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Val::Arr(Rc::new(values)));
                }
                Some(_) => return Err(self.error("Expected separator between values")),
                None => return Err(self.error("Unfinished JSON term")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Val, ParseError> {
        self.at += 1;
        let mut members = Map::default();
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Val::obj(members));
        }
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b'"') => {}
                Some(_) => return Err(self.error("Object keys must be strings")),
                None => return Err(self.error("Unfinished JSON term")),
            }
            let name = Val::utf8_str(self.string()?);
            self.skip_blanks();
            match self.peek() {
                Some(b':') => self.at += 1,
                Some(_) => {
                    return Err(self.error("Objects must consist of key:value pairs"));
                }
                None => return Err(self.error("Unfinished JSON term")),
            }
            self.skip_blanks();
            let value = self.value(depth + 1)?;
            members.insert(name, value);
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Val::obj(members));
                }
                Some(_) => return Err(self.error("Expected separator between values")),
                None => return Err(self.error("Unfinished JSON term")),
            }
        }
    }

    fn word(&mut self) -> Result<Val, ParseError> {
        const WORDS: [(&[u8], Val); 6] = [
            (b"null", Val::Null),
            (b"true", Val::Bool(true)),
            (b"false", Val::Bool(false)),
            (b"nan", Val::Num(Num::Float(f64::NAN))),
            (b"NaN", Val::Num(Num::Float(f64::NAN))),
            (b"Infinity", Val::Num(Num::Float(f64::INFINITY))),
        ];
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !byte.is_ascii_alphanumeric());
        let word = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default();
        let Some((_, value)) = WORDS.iter().find(|(known, _)| *known == word) else {
            return Err(self.error("Invalid literal"));
        };
        self.at += word.len();
        Ok(value.clone())
    }

    fn number(&mut self) -> Result<Val, ParseError> {
        let start = self.at;
        for (word, value) in [
            ("-Infinity", f64::NEG_INFINITY),
            ("-NaN", f64::NAN),
            ("-nan", f64::NAN),
        ] {
            if self.text[start..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(Val::Num(Num::Float(value)));
            }
        }
        let is_part = |byte: u8| matches!(byte, b'-' | b'+' | b'.' | b'0'..=b'9' | b'e' | b'E');
        while self.peek().is_some_and(is_part) {
            self.at += 1;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let invalid = ParseError {
            what: "Invalid numeric literal",
            at: start,
        };
        let Ok(text) = str::from_utf8(text) else {
            return Err(invalid);
        };
        number(text).map(Val::Num).ok_or(invalid)
    }

    fn string(&mut self) -> Result<Vec<u8>, ParseError> {
        self.at += 1;
        let mut string = Vec::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(length) = memchr::memchr2(b'"', b'\\', rest) else {
                return Err(self.error("Unfinished string"));
            };
            if rest[..length].iter().any(|byte| *byte < b' ') {
                return Err(self.error(
                    "Invalid string: control characters from U+0000 through U+001F must be escaped",
                ));
            }
            string.extend_from_slice(&rest[..length]);
            self.at += length + 1;
            if rest[length] == b'"' {
                break;
            }
            let letter = self.peek();
            self.at += 1;
            string.push(match letter {
                Some(plain @ (b'"' | b'\\' | b'/')) => plain,
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'u') => {
                    let letter = self.escaped()?;
                    string.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
                _ => return Err(self.error("Invalid escape")),
            });
        }
        Ok(match String::from_utf8(string) {
            Ok(string) => string.into_bytes(),
            Err(error) => String::from_utf8_lossy(error.as_bytes())
                .into_owned()
                .into_bytes(),
        })
    }

    /// What follows `\u`. A surrogate that has no other beside it becomes U+FFFD.
    fn escaped(&mut self) -> Result<char, ParseError> {
        let first = self.hex()?;
        if let Some(letter) = char::from_u32(first) {
            return Ok(letter);
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        if first < 0xDC00 && rest.starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xDC00..0xE000).contains(&second) {
                let letter = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(letter).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self) -> Result<u32, ParseError> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let value = value.ok_or_else(|| self.error("Invalid escape"))?;
        self.at += 4;
        Ok(value)
    }
}

/// A number in any form that jq takes.
pub(crate) fn number(text: &str) -> Option<Num> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_digits = exponent.map(|text| text.strip_prefix(['-', '+']).unwrap_or(text));
    let is_valid = is_digits(whole)
        && is_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent_digits.is_none_or(|digits| !digits.is_empty() && is_digits(digits));
    if !is_valid {
        return None;
    }
    let is_negative = text.starts_with('-');
    if whole.len() == mantissa.len() && exponent.is_none() {
        let digits = whole.trim_start_matches('0');
        let value = if digits.is_empty() {
            Ok(0)
        } else {
            digits.parse::<u64>()
        };
        if let Ok(value) = value
            && value <= MAX_INTEGER
            && !(is_negative && value == 0)
        {
            let value = isize::try_from(value).ok()?;
            return Some(Num::Int(if is_negative { -value } else { value }));
        }
    }
    // Its digits are kept, if this is how jq would write them.
    let is_plain = exponent.is_none()
        && !text.starts_with('+')
        && !mantissa.ends_with('.')
        && (whole == "0" || !whole.starts_with('0'))
        && !whole.is_empty();
    if is_plain {
        return Some(Num::Dec(Rc::new(text.to_owned())));
    }
    text.parse().ok().map(Num::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Option<String> {
        let value = parse(text.as_bytes()).ok()?;
        let mut written = Vec::new();
        crate::jq::write::Style::compact().write(&mut written, &value);
        String::from_utf8(written).ok()
    }

    #[test]
    fn values_are_written_as_they_were_read() {
        for text in [
            "null",
            "true",
            "[]",
            "{}",
            "-1",
            "0.10",
            "[1,{\"a\":\"b\"}]",
            "100000000000000000001",
            "\"\\u0000\\\"\\\\\\n\"",
            "\"ä\"",
        ] {
            assert_eq!(texts(text).as_deref(), Some(text));
        }
        assert_eq!(texts(" [ 1 , 2 ] ").as_deref(), Some("[1,2]"));
        assert_eq!(
            texts("{\"a\":1,\"b\":2,\"a\":3}").as_deref(),
            Some("{\"a\":3,\"b\":2}")
        );
        assert_eq!(
            texts("[01, .5, 1e2, 1e-5, 1e999, nan]").as_deref(),
            Some("[1,0.5,100,1e-05,1.7976931348623157e+308,null]")
        );
        assert_eq!(
            texts("\"\\ud83d\\ude00 \\ud83d \\ude00 \\ud83d\\u0041\"").as_deref(),
            Some("\"😀 � � �A\"")
        );
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for text in [
            "",
            "[",
            "[1",
            "[1,]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{1:2}",
            "tru",
            "truex",
            "-",
            "1e",
            "1.2.3",
            "\"",
            "\"\\x\"",
            "\"\0\"",
            "\"a\tb\"",
            "{\"a\n\":1}",
            "\"\\u12\"",
            "[1 2]",
            "1 2",
            "]",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let deep = std::thread::Builder::new().stack_size(64 * 1024 * 1024);
        let deep = deep.spawn(|| parse(&vec![b'['; 20_000]).is_err());
        assert!(deep.is_ok_and(|deep| deep.join().unwrap_or_default()));
    }
}
