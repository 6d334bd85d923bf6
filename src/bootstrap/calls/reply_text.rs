//! The form of a reply to a call with a ticket, as bash reads it. `shell_reply.rs` has that of a reply to the shell itself.
//!
//! ```text
//! s STATUS (name US value US)... . LF         a short reply: texts of one line for variables; US is a unit separator
//! w PIPE FILE LF                              the call may take long: the reply comes through these descriptors of ours
//! f STATUS LF LF                              a long reply, whose fields are in the file, each followed by NUL:
//!   t NAME VALUE, of all texts | l or n NAME COUNT VALUE... | m NAME COUNT (KEY VALUE)... | o OUTPUT
//! e STATUS MESSAGE LF                         the call failed
//! ```

use crate::log::Escaped;
use coshell_calls::{Reply, Variable};
use coshell_driver::names;

/// bash reads a pipe a byte at a time: from here on the file is faster.
const MAX_SHORT_BYTES: usize = 256;
/// Between the names and values of a short reply. A value that has one goes into the file.
const UNIT_SEPARATOR: u8 = 0x1f;
/// So much of a message is sent: as much as a pipe takes at once.
const MAX_MESSAGE_CHARS: usize = 1000;

pub(crate) fn short_text(reply: &Reply) -> Option<Vec<u8>> {
    if !reply.output.is_empty() {
        return None;
    }
    let mut text = format!("s {} ", reply.status).into_bytes();
    for (name, variable) in &reply.assignments {
        let Variable::Text(value) = variable else {
            return None;
        };
        let is_special = |byte: &u8| matches!(*byte, b'\n' | UNIT_SEPARATOR);
        if text.len() + name.len() + value.len() > MAX_SHORT_BYTES || value.iter().any(is_special) {
            return None;
        }
        text.extend_from_slice(name.as_bytes());
        text.push(UNIT_SEPARATOR);
        text.extend_from_slice(value);
        text.push(UNIT_SEPARATOR);
    }
    // bash would drop an empty value at the end.
    text.extend_from_slice(b".\n");
    Some(text)
}

/// True if a variable takes the value as it is, whatever its attributes are. An integer variable takes other values as arithmetic.
pub(super) fn is_plain(name: &str, value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let is_number = digits.iter().all(u8::is_ascii_digit)
        && (1..=18).contains(&digits.len())
        && (digits[0] != b'0' || digits.len() == 1);
    // bash sets the locale to what these get.
    let is_locale = name.starts_with("LC_") || name == "LANG";
    is_number || is_locale || name.starts_with(names::PREFIX)
}

/// The letter for a list: `n` if all its values are plain, and `l` otherwise.
pub(super) fn list_kind(name: &str, values: &[Vec<u8>]) -> &'static str {
    if values.iter().all(|value| is_plain(name, value)) {
        "n"
    } else {
        "l"
    }
}

pub(crate) fn long_text(reply: &Reply) -> Vec<u8> {
    let mut text = Vec::new();
    let mut push = |field: &[u8]| {
        text.extend_from_slice(field);
        text.push(b'\0');
    };
    // If a text cannot be assigned, no list or map is.
    let is_text = |variable: &Variable| matches!(variable, Variable::Text(_) | Variable::File(_));
    let (texts, others): (Vec<_>, Vec<_>) =
        (reply.assignments.iter()).partition(|(_, variable)| is_text(variable));
    for (name, variable) in texts.into_iter().chain(others) {
        match variable {
            Variable::Text(value) | Variable::File(value) => {
                push(b"t");
                push(name.as_bytes());
                push(value);
            }
            Variable::List(values) => {
                push(list_kind(name, values).as_bytes());
                push(name.as_bytes());
                push(values.len().to_string().as_bytes());
                for value in values {
                    push(value);
                }
            }
            Variable::Map(members) => {
                push(b"m");
                push(name.as_bytes());
                push(members.len().to_string().as_bytes());
                for (key, value) in members {
                    push(key);
                    push(value);
                }
            }
        }
    }
    if !reply.output.is_empty() {
        push(b"o");
        push(&reply.output);
    }
    text
}

pub(crate) fn error_text(status: i32, message: &str) -> Vec<u8> {
    format!("e {status} {}\n", short_message(message)).into_bytes()
}

/// The message as one line.
pub(super) fn short_message(message: &str) -> String {
    let message: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
    Escaped(&message).to_string()
}
