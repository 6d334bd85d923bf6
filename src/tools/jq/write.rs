//! A value as text, as jq writes it.

use std::io::Write as _;

use jaq_json::{Map, Num, Val};

/// How values are written.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    /// What a level is indented by; `None` for one line.
    pub indent: Option<String>,
    pub sorts_keys: bool,
    pub is_ascii: bool,
}

impl Style {
    pub(crate) fn compact() -> Self {
        Self {
            indent: None,
            sorts_keys: false,
            is_ascii: false,
        }
    }

    pub(crate) fn write(&self, text: &mut Vec<u8>, value: &Val) {
        self.write_at(text, value, 0);
    }

    fn write_at(&self, text: &mut Vec<u8>, value: &Val, level: usize) {
        match value {
            Val::Null => text.extend_from_slice(b"null"),
            Val::Bool(true) => text.extend_from_slice(b"true"),
            Val::Bool(false) => text.extend_from_slice(b"false"),
            Val::Num(number) => write_number(text, number),
            Val::TStr(bytes) | Val::BStr(bytes) => self.write_string(text, bytes),
            Val::Arr(values) if values.is_empty() => text.extend_from_slice(b"[]"),
            Val::Arr(values) => {
                text.push(b'[');
                for (index, value) in values.iter().enumerate() {
                    self.begin(text, index, level + 1);
                    self.write_at(text, value, level + 1);
                }
                self.begin(text, 0, level);
                text.push(b']');
            }
            Val::Obj(members) if members.is_empty() => text.extend_from_slice(b"{}"),
            Val::Obj(members) => {
                text.push(b'{');
                if self.sorts_keys {
                    self.write_members(text, sorted(members).into_iter(), level);
                } else {
                    self.write_members(text, members.iter(), level);
                }
                self.begin(text, 0, level);
                text.push(b'}');
            }
        }
    }

    fn write_members<'v>(
        &self,
        text: &mut Vec<u8>,
        members: impl Iterator<Item = (&'v Val, &'v Val)>,
        level: usize,
    ) {
        for (index, (name, value)) in members.enumerate() {
            self.begin(text, index, level + 1);
            self.write_at(text, name, level + 1);
            text.push(b':');
            if self.indent.is_some() {
                text.push(b' ');
            }
            self.write_at(text, value, level + 1);
        }
    }

    /// Writes what is before the part `index` of a container.
    fn begin(&self, text: &mut Vec<u8>, index: usize, level: usize) {
        if index > 0 {
            text.push(b',');
        }
        if let Some(indent) = &self.indent {
            text.push(b'\n');
            for _ in 0..level {
                text.extend_from_slice(indent.as_bytes());
            }
        }
    }

    fn write_string(&self, text: &mut Vec<u8>, bytes: &[u8]) {
        text.push(b'"');
        let string = String::from_utf8_lossy(bytes);
        let mut plain = 0;
        for (at, letter) in string.char_indices() {
            let is_plain = match letter {
                '"' | '\\' | '\u{7f}' => false,
                letter if letter < ' ' => false,
                letter => letter.is_ascii() || !self.is_ascii,
            };
            if is_plain {
                continue;
            }
            text.extend_from_slice(&string.as_bytes()[plain..at]);
            plain = at + letter.len_utf8();
            match letter {
                '"' => text.extend_from_slice(b"\\\""),
                '\\' => text.extend_from_slice(b"\\\\"),
                '\u{8}' => text.extend_from_slice(b"\\b"),
                '\u{c}' => text.extend_from_slice(b"\\f"),
                '\n' => text.extend_from_slice(b"\\n"),
                '\r' => text.extend_from_slice(b"\\r"),
                '\t' => text.extend_from_slice(b"\\t"),
                letter => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        // Writing to a vector does not fail.
                        let _ = write!(text, "\\u{unit:04x}");
                    }
                }
            }
        }
        text.extend_from_slice(&string.as_bytes()[plain..]);
        text.push(b'"');
    }
}

/// What a value is, in jq's words.
pub(crate) fn kind(value: &Val) -> &'static str {
    match value {
        Val::Null => "null",
        Val::Bool(_) => "boolean",
        Val::Num(_) => "number",
        Val::TStr(_) | Val::BStr(_) => "string",
        Val::Arr(_) => "array",
        Val::Obj(_) => "object",
    }
}

/// The bytes of a string.
pub(crate) fn string(value: &Val) -> Option<&[u8]> {
    match value {
        Val::TStr(bytes) | Val::BStr(bytes) => Some(bytes),
        _ => None,
    }
}

fn sorted(members: &Map) -> Vec<(&Val, &Val)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(name, _)| *name);
    members
}

fn write_number(text: &mut Vec<u8>, number: &Num) {
    // Writing to a vector does not fail.
    let _ = match number {
        Num::Int(number) => write!(text, "{number}"),
        Num::BigInt(number) => write!(text, "{number}"),
        Num::Dec(number) => match crate::jq::parse::number(number) {
            Some(Num::Float(number)) => write!(text, "{}", decimal(number)),
            _ => write!(text, "{number}"),
        },
        Num::Float(number) => write!(text, "{}", decimal(*number)),
    };
}

/// A floating-point number: its shortest form, with an exponent where jq writes one.
pub(crate) fn decimal(number: f64) -> String {
    if number.is_nan() {
        return "null".to_owned();
    }
    let number = number.clamp(f64::MIN, f64::MAX);
    let scientific = format!("{:e}", number.abs());
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = digits.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if exponent < -4 || exponent > count + 14 {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let sign_of_exponent = if exponent < 0 { '-' } else { '+' };
        return format!(
            "{sign}{first}{point}{rest}e{sign_of_exponent}{:02}",
            exponent.abs()
        );
    }
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or_default());
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = usize::try_from(exponent + 1).unwrap_or_default();
    match digits.split_at_checked(whole) {
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits}{}", "0".repeat(whole - digits.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_jq_writes_them() {
        let expected = [
            (3.0, "3"),
            (-0.0, "-0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000"),
            (1e16, "1e+16"),
            (1e17, "1e+17"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1e100, "1e+100"),
            (1.5e300, "1.5e+300"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (f64::INFINITY, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-1.7976931348623157e+308"),
            (f64::NAN, "null"),
        ];
        for (number, text) in expected {
            assert_eq!(decimal(number), text);
        }
    }
}
