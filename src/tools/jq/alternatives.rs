//! Alternatives of patterns: `. as [$a] ?// {$b} | f`. jaq's parser does not know them.
//!
//! So the first pattern stays in the text, blanks take the place of the others, and those are parsed on their own. The rewriter
//! then finds them by the place of the first one:
//!
//! ```text
//! l as P ?// Q | f      l as $x | . as $in | try (null as $vars of Q | $x as P | f)
//!                                            catch ($in | null as $vars of P | $x as Q | f)
//! ```

use std::ops::Range;

use jaq_core::load::parse::{BinaryOp, Pattern, Term};

const MARK: &str = "?//";

/// The patterns of a text that have alternatives.
#[derive(Debug, Default)]
pub(crate) struct Alternatives {
    /// The text without the others.
    pub text: String,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    first: Range<usize>,
    /// A filter for each of the others, which has it as its only pattern.
    others: Vec<String>,
}

impl Alternatives {
    pub(crate) fn find(text: &str) -> Self {
        let mut found = Self {
            text: text.to_owned(),
            places: Vec::new(),
        };
        let mut at = 0;
        while let Some(next) = next_pattern(text, at) {
            let Some(first) = pattern_at(text, next) else {
                break;
            };
            at = first.end;
            let mut others = Vec::new();
            while text[at..].trim_start().starts_with(MARK) {
                let mark = text.len() - text[at..].trim_start().len();
                let start = text.len() - text[mark + MARK.len()..].trim_start().len();
                let Some(other) = pattern_at(text, start) else {
                    break;
                };
                others.push(format!("null as {} | .", &text[other.clone()]));
                let blanks = text[mark..other.end].bytes();
                let blanks: String = blanks.map(|_| ' ').collect();
                found.text.replace_range(mark..other.end, &blanks);
                at = other.end;
            }
            if !others.is_empty() {
                found.places.push(Place { first, others });
            }
        }
        found
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The alternatives of `pattern`, a pattern of the text.
    pub(crate) fn of<'s>(&'s self, pattern: &Pattern<&'s str>) -> Vec<Pattern<&'s str>> {
        let mut names = Vec::new();
        push_variables(pattern, &mut names);
        let at = names
            .first()
            .and_then(|name| (name.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize));
        let is_here = |place: &&Place| at.is_some_and(|at| place.first.contains(&at));
        let place = self.places.iter().find(is_here);
        let others = place.map_or(&[][..], |place| &place.others).iter();
        others.filter_map(|other| parse_pattern(other)).collect()
    }
}

fn parse_pattern(filter: &str) -> Option<Pattern<&str>> {
    match jaq_core::load::parse(filter, |parser| parser.term())? {
        Term::BinOp(_, BinaryOp::Pipe(pattern), _) => pattern,
        _ => None,
    }
}

/// The variables of a pattern, in their order.
pub(crate) fn push_variables<'s>(pattern: &Pattern<&'s str>, names: &mut Vec<&'s str>) {
    match pattern {
        Pattern::Var(name) => names.push(name),
        Pattern::Arr(patterns) => {
            for pattern in patterns {
                push_variables(pattern, names);
            }
        }
        Pattern::Obj(members) => {
            for (_, pattern) in members {
                push_variables(pattern, names);
            }
        }
    }
}

/// Where the next pattern begins: behind a word `as` outside of texts and comments.
fn next_pattern(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_text(bytes, at)?,
            b'#' => at += text[at..].find('\n').unwrap_or(text.len() - at),
            byte if is_part(byte) => {
                let end = bytes[at..].iter().position(|byte| !is_part(*byte));
                let end = end.map_or(bytes.len(), |length| at + length);
                let is_member = at > 0 && b".$@".contains(&bytes[at - 1]);
                if &text[at..end] == "as" && !is_member {
                    return Some(text.len() - text[end..].trim_start().len());
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    None
}

/// The pattern that begins at `start`. `None` if none does, or it has texts with filters in them.
fn pattern_at(text: &str, start: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = start;
    if bytes.get(at) == Some(&b'$') {
        let length = bytes[at + 1..].iter().position(|byte| !is_part(*byte));
        return Some(start..length.map_or(bytes.len(), |length| at + 1 + length));
    }
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth = depth.checked_sub(1)?,
            b'"' => at = end_of_text(bytes, at)? - 1,
            b'#' => return None,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return (at > start + 1).then_some(start..at);
        }
    }
}

/// Where the text that begins at `start` ends. `None` if it has a filter in it.
fn end_of_text(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if bytes.get(at + 1) == Some(&b'(') => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_are_taken_out_of_the_text() {
        let text = r#". as [$a] ?// {a: $b, "x]": [$c]} ?//$d | .a?//1 # as $x ?// $y"#;
        let found = Alternatives::find(text);
        let blanks = " ".repeat(r#"?// {a: $b, "x]": [$c]} ?//$d"#.len());
        let expected = format!(". as [$a] {blanks} | .a?//1 # as $x ?// $y");
        assert_eq!(found.text.len(), text.len());
        assert_eq!(found.text.replace("  ", ""), expected.replace("  ", ""));
        let others = [r#"null as {a: $b, "x]": [$c]} | ."#, "null as $d | ."];
        assert_eq!(found.len(), 1);
        assert_eq!(found.places[0].others, others);
    }

    #[test]
    fn a_text_without_them_stays_as_it_is() {
        for text in [
            ".",
            ". as $x | $x?//2",
            "\"as $x ?// $y\"",
            ".as?//$x",
            "as",
            "as [",
            "as [\"\\(",
        ] {
            let found = Alternatives::find(text);
            assert_eq!((found.text.as_str(), found.len()), (text, 0));
        }
    }
}
