//! Writes a value on one line, as `jq -c` does: no blanks, strings escaped no more than they have to be, and of a name
//! that an object has twice its last value, in the place of the first.
//!
//! Numbers keep their text. Nothing recurses, and each byte is read a fixed number of times, however deep the text.

use super::scan::{end_of_string, skip_blanks};
use super::string::{decode, quote_into};
use super::{Span, slice};
use crate::order::{firsts, ordered};

/// `json`, a valid value, on one line.
pub(super) fn compact(json: &str) -> String {
    let text = json.as_bytes();
    let repeats = repeats(json);
    let mut written = String::with_capacity(json.len());
    // What is still to be written: the innermost last.
    let mut pending = vec![Span::new(0, text.len())];
    while let Some(span) = pending.pop() {
        let (mut at, end) = (span.start(), span.end());
        // From here on it is written as it is.
        let mut from = at;
        while at < end {
            match text.get(at) {
                Some(b' ' | b'\t' | b'\r' | b'\n') => {
                    written.push_str(slice(json, from, at));
                    at = skip_blanks(text, at);
                    from = at;
                }
                Some(b'"') => {
                    let repeat = repeats.binary_search_by_key(&at, |repeat| repeat.name);
                    let repeat = repeat.ok().and_then(|found| repeats.get(found));
                    let string_end = end_of_string(text, at);
                    match repeat {
                        Some(Repeat {
                            after, value: None, ..
                        }) => {
                            written.push_str(slice(json, from, at));
                            // The comma before it.
                            written.pop();
                            at = *after;
                            from = at;
                        }
                        Some(Repeat {
                            after,
                            value: Some(value),
                            ..
                        }) => {
                            written.push_str(slice(json, from, at));
                            quote_into(&mut written, &decode(slice(json, at + 1, string_end - 1)));
                            written.push(':');
                            pending.push(Span::new(*after, end));
                            pending.push(*value);
                            (at, from) = (end, end);
                        }
                        None => {
                            let raw = slice(json, at + 1, string_end - 1);
                            if memchr::memchr2(b'\\', 0x7f, raw.as_bytes()).is_some() {
                                written.push_str(slice(json, from, at));
                                quote_into(&mut written, &decode(raw));
                                from = string_end;
                            }
                            at = string_end;
                        }
                    }
                }
                _ => at += 1,
            }
        }
        written.push_str(slice(json, from, end));
    }
    written
}

/// A member whose name its object has more than once.
#[derive(Clone, Copy)]
struct Repeat {
    /// Where the name begins.
    name: usize,
    /// Where its own value ends.
    after: usize,
    /// The last value, if the name is here for the first time.
    value: Option<Span>,
}

struct Member {
    /// Between the quotes.
    name: Span,
    value: Span,
}

/// The members of `json` whose names are repeated, by where they begin.
fn repeats(json: &str) -> Vec<Repeat> {
    let text = json.as_bytes();
    let mut found = Vec::new();
    let mut members: Vec<Member> = Vec::new();
    // For each open container how many members were there before it; `None` if it is an array.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let name = Span::new(at + 1, end_of_string(text, at) - 1);
                at = skip_blanks(text, name.end() + 1);
                if text.get(at) == Some(&b':') {
                    at = skip_blanks(text, at + 1);
                    let value = Span::new(at, at);
                    members.push(Member { name, value });
                }
                continue;
            }
            b'{' => open.push(Some(members.len())),
            b'[' => open.push(None),
            b']' => drop(open.pop()),
            b',' | b'}' => {
                if let Some(Some(first)) = open.last().copied() {
                    let own = members.get_mut(first..).unwrap_or_default();
                    if let Some(last) = own.last_mut() {
                        last.value = Span::new(last.value.start(), at);
                    }
                    if *byte == b'}' {
                        note_repeats(json, own, &mut found);
                        members.truncate(first);
                        open.pop();
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    let place = |number: usize| found.get(number).map(|repeat: &Repeat| repeat.name);
    let order = ordered(found.len(), &|one, other| place(one).cmp(&place(other)));
    let in_order = order
        .iter()
        .filter_map(|number| found.get(*number).copied());
    in_order.collect()
}

/// Adds those of one object's members whose names are repeated.
fn note_repeats(json: &str, members: &[Member], found: &mut Vec<Repeat>) {
    if members.len() < 2 {
        return;
    }
    let name = |member: &Member| decode(slice(json, member.name.start(), member.name.end()));
    let names: Vec<_> = members.iter().map(name).collect();
    let firsts = firsts(names.len(), &|one, other| {
        names.get(one).cmp(&names.get(other))
    });
    let mut lasts: Vec<_> = members.iter().map(|member| member.value).collect();
    let mut is_repeated = vec![false; members.len()];
    for ((number, first), member) in firsts.iter().enumerate().zip(members) {
        if let (Some(last), Some(is_repeated)) =
            (lasts.get_mut(*first), is_repeated.get_mut(*first))
        {
            *last = member.value;
            *is_repeated |= number != *first;
        }
    }
    for ((number, first), member) in firsts.iter().enumerate().zip(members) {
        if is_repeated.get(*first) == Some(&true) {
            found.push(Repeat {
                name: member.name.start() - 1,
                after: member.value.end(),
                value: lasts.get(number).copied().filter(|_| number == *first),
            });
        }
    }
}
