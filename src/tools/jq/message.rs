//! Errors in jq's words: handlers and people know them.

use jaq_json::Val;

use super::parse::parse_first;
use super::write::{Style, kind};

/// jq shows no more of a value.
const MAX_SHOWN: usize = 29;

/// `message` as jq says it; the same if it is no message of jaq's.
pub(crate) fn in_words_of_jq(message: &str) -> String {
    translate(message).unwrap_or_else(|| message.to_owned())
}

fn translate(message: &str) -> Option<String> {
    if let Some(rest) = message.strip_prefix("cannot index ") {
        let (value, rest) = first(rest)?;
        let (index, _) = first(rest.strip_prefix(" with ")?)?;
        let index = match index {
            Val::TStr(_) | Val::Num(_) => described(&index),
            other => kind(&other).to_owned(),
        };
        return Some(format!("Cannot index {} with {index}", kind(&value)));
    }
    if let Some(rest) = message.strip_prefix("cannot calculate ") {
        let (left, rest) = first(rest)?;
        let (operator, rest) = rest.trim_start().split_at_checked(1)?;
        let (right, _) = first(rest.trim_start())?;
        let done = match operator {
            "+" => "added",
            "-" => "subtracted",
            "*" => "multiplied",
            "/" => "divided",
            _ => "divided (remainder)",
        };
        let (left, right) = (described(&left), described(&right));
        return Some(format!("{left} and {right} cannot be {done}"));
    }
    if let Some(rest) = message.strip_prefix("cannot use ") {
        let (value, rest) = first(rest)?;
        return match rest {
            " as iterable (array or object)" if value_is_null(&value) => {
                Some("Cannot iterate over null".to_owned())
            }
            " as iterable (array or object)" => {
                Some(format!("Cannot iterate over {}", described(&value)))
            }
            " as number" => Some(format!("{} cannot be negated", described(&value))),
            _ => None,
        };
    }
    let rest = message.strip_prefix("invalid path expression with input ")?;
    let (value, _) = first(rest)?;
    Some(format!(
        "Invalid path expression with result {}",
        shown(&value)
    ))
}

fn value_is_null(value: &Val) -> bool {
    matches!(value, Val::Null)
}

fn first(text: &str) -> Option<(Val, &str)> {
    let (value, end) = parse_first(text.as_bytes())?;
    Some((value, text.get(end..)?))
}

/// `string ("a")`
pub(crate) fn described(value: &Val) -> String {
    format!("{} ({})", kind(value), shown(value))
}

/// The text of a value, or its beginning.
fn shown(value: &Val) -> String {
    let mut text = Vec::new();
    Style::compact().write(&mut text, value);
    let text = String::from_utf8_lossy(&text).into_owned();
    if text.len() <= MAX_SHOWN {
        return text;
    }
    let end = match text.as_bytes().last() {
        Some(b'"') => "...\"",
        Some(b']') => "...]",
        Some(b'}') => "...}",
        _ => "...",
    };
    let length = (0..=MAX_SHOWN - end.len())
        .rev()
        .find(|at| text.is_char_boundary(*at));
    format!("{}{end}", &text[..length.unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_jaq_are_translated_and_others_are_not() {
        let expected = [
            (
                "cannot index 1 with \"a\"",
                "Cannot index number with string (\"a\")",
            ),
            (
                "cannot index {\"a\":1} with 0",
                "Cannot index object with number (0)",
            ),
            (
                "cannot use 1 as iterable (array or object)",
                "Cannot iterate over number (1)",
            ),
            (
                "cannot use null as iterable (array or object)",
                "Cannot iterate over null",
            ),
            (
                "cannot calculate {} + 1",
                "object ({}) and number (1) cannot be added",
            ),
            (
                "cannot use \"very-long-long-long-long-string\" as number",
                "string (\"very-long-long-long-long...\") cannot be negated",
            ),
            ("cannot index", "cannot index"),
            ("my error", "my error"),
        ];
        for (jaq, jq) in expected {
            assert_eq!(in_words_of_jq(jaq), jq);
        }
    }
}
