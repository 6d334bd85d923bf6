//! Finds its way in JSON that is known to be valid: where a value ends, and what a container has in it.
//!
//! `serde_json` has checked the text, so that no place here can fail; nothing is parsed into values, and nothing recurses.
//! What is not JSON would be read wrongly, but never past its end.

mod words;

use super::Span;

/// What a container has in it.
#[derive(Debug)]
pub(crate) enum Children {
    /// The elements.
    Array(Vec<Span>),
    /// The names, without their quotes, and the values.
    Object(Vec<(Span, Span)>),
}

/// The first place from `at` on that is no blank.
pub(super) fn skip_blanks(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    at
}

/// Where the string ends that opens at `at`: behind its quote.
pub(super) fn end_of_string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(found) = words::quote_or_backslash(text, at) {
        if text.get(found) == Some(&b'"') {
            return found + 1;
        }
        at = found + 2;
    }
    text.len()
}

/// Where the value ends that begins at `at`.
pub(super) fn end_of_value(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        Some(b'"') => end_of_string(text, at),
        Some(b'{' | b'[') => end_of_container(text, at),
        _ => end_of_scalar(text, at),
    }
}

/// Where the number or the word ends that begins at `at`.
pub(super) fn end_of_scalar(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
    rest.iter()
        .position(ends)
        .map_or(text.len(), |length| at + length)
}

fn end_of_container(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(found) = words::quote_or_bracket(text, at) {
        at = found + 1;
        match text.get(found) {
            Some(b'"') => at = end_of_string(text, found),
            Some(b'{' | b'[') => depth += 1,
            _ => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
        }
    }
    text.len()
}

/// The children of the container that begins at `at`; `None` if none does.
pub(super) fn children(text: &[u8], at: usize) -> Option<Children> {
    match text.get(at) {
        Some(b'[') => Some(Children::Array(elements(text, at + 1))),
        Some(b'{') => Some(Children::Object(members(text, at + 1))),
        _ => None,
    }
}

fn elements(text: &[u8], mut at: usize) -> Vec<Span> {
    let mut found = Vec::new();
    loop {
        at = skip_blanks(text, at);
        match text.get(at) {
            Some(b',') => at += 1,
            Some(b']') | None => return found,
            Some(_) => {
                let end = end_of_value(text, at);
                found.push(Span::new(at, end));
                at = end.max(at + 1);
            }
        }
    }
}

fn members(text: &[u8], mut at: usize) -> Vec<(Span, Span)> {
    let mut found = Vec::new();
    loop {
        at = skip_blanks(text, at);
        match text.get(at) {
            Some(b'"') => {
                let name_end = end_of_string(text, at);
                let name = Span::new(at + 1, name_end - 1);
                // The colon lies between two blanks, or none.
                let start = skip_blanks(text, skip_blanks(text, name_end) + 1);
                let end = end_of_value(text, start);
                found.push((name, Span::new(start, end)));
                at = end.max(at + 1);
            }
            Some(b'}') | None => return found,
            Some(_) => at += 1,
        }
    }
}
