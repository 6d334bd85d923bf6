//! JSON as Python writes it: for people, and for functions of `JMESPath`.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::aws::cli::value::Value;

/// JSON on several lines, indented by four blanks, without escapes for letters beyond ASCII.
pub(crate) fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, Style::PRETTY);
    text
}

/// JSON on one line, without blanks, in ASCII.
pub(crate) fn compact(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, Style::COMPACT);
    text
}

/// JSON on one line, in ASCII, with a blank behind each comma and colon.
pub(crate) fn spaced(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, Style::SPACED);
    text
}

/// JSON for a request: on one line, without blanks.
pub(crate) fn request(value: &Value) -> String {
    let mut text = String::new();
    write(
        &mut text,
        value,
        Style {
            is_ascii: false,
            ..Style::COMPACT
        },
    );
    text
}

#[derive(Clone, Copy)]
struct Style {
    /// How deep this is, if there are several lines.
    indent: Option<usize>,
    is_ascii: bool,
    comma: &'static str,
    colon: &'static str,
}

impl Style {
    const PRETTY: Self = Self {
        indent: Some(0),
        is_ascii: false,
        comma: ",",
        colon: ": ",
    };
    const COMPACT: Self = Self {
        indent: None,
        is_ascii: true,
        comma: ",",
        colon: ":",
    };
    const SPACED: Self = Self {
        indent: None,
        is_ascii: true,
        comma: ", ",
        colon: ": ",
    };
}

fn write(text: &mut String, value: &Value, style: Style) {
    match value {
        Value::Null | Value::File(..) => text.push_str("null"),
        Value::Bool(is_true) => text.push_str(if *is_true { "true" } else { "false" }),
        Value::Integer(integer) => {
            let _ = write!(text, "{integer}");
        }
        Value::Float(float) => text.push_str(&float_text(*float, ["NaN", "Infinity", "-Infinity"])),
        Value::Text(string) => write_string(text, string, style.is_ascii),
        Value::Bytes(bytes) => write_string(text, &STANDARD.encode(bytes), style.is_ascii),
        Value::List(elements) => {
            let elements = elements.iter().map(|element| (None, element));
            write_all(text, ['[', ']'], elements, style);
        }
        Value::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (Some(key.as_str()), value));
            write_all(text, ['{', '}'], entries, style);
        }
    }
}

fn write_all<'a>(
    text: &mut String,
    [open, close]: [char; 2],
    entries: impl Iterator<Item = (Option<&'a str>, &'a Value)>,
    style: Style,
) {
    let line = |text: &mut String, depth: Option<usize>| {
        if let Some(depth) = depth {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', 4 * depth));
        }
    };
    let inner = Style {
        indent: style.indent.map(|depth| depth + 1),
        ..style
    };
    let mut is_empty = true;
    text.push(open);
    for (key, value) in entries {
        if !is_empty {
            text.push_str(style.comma);
        }
        is_empty = false;
        line(text, inner.indent);
        if let Some(key) = key {
            write_string(text, key, style.is_ascii);
            text.push_str(style.colon);
        }
        write(text, value, inner);
    }
    if !is_empty {
        line(text, style.indent);
    }
    text.push(close);
}

fn write_string(text: &mut String, string: &str, is_ascii: bool) {
    text.push('"');
    for letter in string.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            _ if letter < ' ' || (is_ascii && letter > '~') => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
            _ => text.push(letter),
        }
    }
    text.push('"');
}

/// A number as Python writes it: the shortest digits that read back as the same, and an exponent below -4 and from 16 on.
pub(crate) fn float_text(float: f64, [nan, infinity, minus_infinity]: [&str; 3]) -> String {
    if float.is_nan() {
        return nan.to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 {
            infinity
        } else {
            minus_infinity
        }
        .to_owned();
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = format!("{float}");
        return if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_as_python_writes_them() {
        let text = |float| float_text(float, ["nan", "inf", "-inf"]);
        for (float, expected) in [
            (1.0, "1.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e16, "1e+16"),
            (123_456_789.125, "123456789.125"),
            (-1.5e300, "-1.5e+300"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(text(float), expected);
        }
    }

    #[test]
    fn keys_keep_their_order_and_empty_values_stay_on_their_line() {
        let value =
            Value::from_json(r#"{"b": [], "a": {"c": [1, "ä\u0001"]}, "d": {}}"#.as_bytes());
        let value = value.unwrap_or_default();
        let expected = "{\n    \"b\": [],\n    \"a\": {\n        \"c\": [\n            1,\n            \"ä\\u0001\"\n        ]\n    },\n    \"d\": {}\n}";
        assert_eq!(pretty(&value), expected);
        assert_eq!(
            compact(&value),
            r#"{"b":[],"a":{"c":[1,"\u00e4\u0001"]},"d":{}}"#
        );
    }
}
