//! Which part of a pipeline failed, by the statuses of its parts (`PIPESTATUS`).
//!
//! bash names the last command of a pipeline, whichever of them failed. It tells the statuses of all, and the line where
//! the pipeline ends; the text of the part is read from the file there. If that text is not certain the part has a number
//! and no text.

use super::without_blanks;

/// The part that gave the pipeline its status, counted from 0: with `pipefail` the last one that failed. `None` if that is
/// the last part of all, which bash names itself, or if there is but one.
pub(crate) fn failed_part_index(statuses: &[i32]) -> Option<usize> {
    let failed = statuses.iter().rposition(|status| *status != 0)?;
    (failed + 1 < statuses.len()).then_some(failed)
}

/// The part of `number` in a pipeline of `count` parts that ends with `last`, as the text has it; if `line` is known, one
/// that reaches to it. `None` if there is none, or if several differ there.
pub(crate) fn part_text(
    text: &str,
    line: usize,
    count: usize,
    number: usize,
    last: &str,
) -> Option<String> {
    let last = normal(last.lines().next().unwrap_or_default());
    let mut found: Vec<String> = Vec::new();
    for (end, pipeline) in pipelines(text) {
        let matches = pipeline.len() == count
            && (line == 0 || line == end)
            && pipeline.last().map(|part| normal(part)).as_ref() == Some(&last);
        if matches && !found.contains(&pipeline[number]) {
            found.push(pipeline[number].clone());
        }
    }
    match found.as_slice() {
        [one] if !one.is_empty() => Some(one.clone()),
        _ => None,
    }
}

/// The pipelines of a text whose parts are simple commands. What it takes for a pipeline in text that it does not
/// understand (a here document) ends with no command that bash has named.
#[derive(Debug)]
struct Pipelines {
    /// The line where each ends, and its parts.
    found: Vec<(usize, Vec<String>)>,
    /// Of the one that is read.
    parts: Vec<String>,
    /// Whether the last part has begun.
    has_begun: bool,
    /// Where it was at its last word.
    end: usize,
}

/// They begin a command, or end one, and are no part of it.
const RESERVED: [&str; 11] = [
    "if", "then", "else", "elif", "while", "until", "do", "time", "!", "{", "}",
];

fn pipelines(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut pipelines = Pipelines {
        found: Vec::new(),
        parts: vec![String::new()],
        has_begun: false,
        end: 1,
    };
    let (mut at, mut line) = (0, 1);
    while let Some(character) = text[at..].chars().next() {
        let (before, rest) = (&text[..at], &text[at + character.len_utf8()..]);
        let is_redirection = before.ends_with(['>', '<']);
        let length = match character {
            '\n' => {
                // Behind `|` the command goes on.
                if pipelines.has_begun {
                    pipelines.finish();
                }
                1
            }
            '\\' if rest.starts_with('\n') => 2,
            '#' if !pipelines.has_begun || before.ends_with([' ', '\t']) => {
                1 + rest.find('\n').unwrap_or(rest.len())
            }
            '|' if rest.starts_with('|') => {
                pipelines.finish();
                2
            }
            '|' if !before.ends_with('>') => {
                pipelines.next_part();
                1 + usize::from(rest.starts_with('&'))
            }
            '&' if !is_redirection && !rest.starts_with('>') => {
                pipelines.finish();
                1
            }
            ';' | ')' => {
                pipelines.finish();
                1
            }
            '(' if !is_redirection && !before.ends_with(['$', '=']) => {
                pipelines.finish();
                1
            }
            _ if character.is_whitespace() && !pipelines.has_begun => character.len_utf8(),
            _ => {
                let length = match character {
                    '\'' | '"' | '`' | '\\' | '(' => quoted_length(&text[at..]),
                    '$' if rest.starts_with('{') => 1 + quoted_length(rest),
                    _ => character.len_utf8(),
                };
                let word = &text[at..at + length];
                pipelines.end = line + word.matches('\n').count();
                let next = text[at + length..].chars().next();
                pipelines.push(word, next.is_none_or(char::is_whitespace));
                length
            }
        };
        line += text[at..at + length].matches('\n').count();
        at += length;
    }
    pipelines.finish();
    pipelines.found
}

impl Pipelines {
    fn push(&mut self, word: &str, is_word_end: bool) {
        self.has_begun = true;
        if let Some(part) = self.parts.last_mut() {
            part.push_str(word);
            if is_word_end && RESERVED.contains(&part.as_str()) {
                part.clear();
                self.has_begun = false;
            }
        }
    }

    fn next_part(&mut self) {
        self.parts.push(String::new());
        self.has_begun = false;
    }

    fn finish(&mut self) {
        let parts = std::mem::replace(&mut self.parts, vec![String::new()]);
        if parts.len() > 1 {
            let parts = parts.iter().map(|part| on_one_line(part));
            self.found.push((self.end, parts.collect()));
        }
        self.has_begun = false;
    }
}

/// How long the quoted text, the substitution or the escaped character is that `text` begins with.
fn quoted_length(text: &str) -> usize {
    let mut characters = text.char_indices();
    let Some((_, first)) = characters.next() else {
        return 0;
    };
    let end = match first {
        '\\' => return 1 + characters.next().map_or(0, |(_, next)| next.len_utf8()),
        '(' => ')',
        '{' => '}',
        quote => quote,
    };
    let mut skip = 0;
    for (at, character) in characters {
        if at < skip {
            continue;
        }
        if character == end {
            return at + character.len_utf8();
        }
        let is_nested = match first {
            '\'' => false,
            '"' => {
                matches!(character, '\\' | '`')
                    || text[..at].ends_with('$') && matches!(character, '(' | '{')
            }
            '`' => character == '\\',
            _ => matches!(character, '\\' | '\'' | '"' | '`' | '(' | '{'),
        };
        if is_nested {
            skip = at + quoted_length(&text[at..]);
        }
    }
    text.len()
}

/// bash prints a command with blanks of its own, and names what is redirected.
fn normal(command: &str) -> String {
    without_blanks(command).replace("1>&", ">&")
}

fn on_one_line(part: &str) -> String {
    part.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str, number: usize, count: usize, last: &str) -> Option<String> {
        part_text(text, 0, count, number, last)
    }

    #[test]
    fn part_is_the_last_one_that_failed_unless_bash_names_it() {
        assert_eq!(failed_part_index(&[2, 0, 0]), Some(0));
        assert_eq!(failed_part_index(&[2, 141, 0]), Some(1));
        assert_eq!(failed_part_index(&[2, 1]), None);
        assert_eq!(failed_part_index(&[3]), None);
        assert_eq!(failed_part_index(&[0, 0]), None);
    }

    #[test]
    fn part_has_the_text_of_the_file() {
        let text = "f() {\n  dump \"$1 | x\" |\n    gzip -c |  # packs\n    upload 's3://a;b' \"$(date | cut -c1)\"\n}\n";
        let last = "upload 's3://a;b' \"$(date | cut -c1)\"";
        assert_eq!(part(text, 0, 3, last).as_deref(), Some("dump \"$1 | x\""));
        assert_eq!(part(text, 1, 3, last).as_deref(), Some("gzip -c"));
        assert_eq!(part_text(text, 4, 3, 1, last).as_deref(), Some("gzip -c"));
        assert_eq!(part_text(text, 3, 3, 1, last), None);
        assert_eq!(part(text, 0, 2, last), None);
        for text in [
            "if grep x /f|wc -l; then :; fi",
            "f() { grep x /f | wc -l; }",
            "y && ! grep x /f |& wc -l || z",
            "(grep x \\\n /f | wc -l)",
            "x=1; grep x /f | wc -l # | y",
        ] {
            let found = part(text, 0, 2, "wc -l");
            assert_eq!(found.as_deref(), Some("grep x /f"), "{text}");
        }
        assert_eq!(
            part("a 2>&1 >|f | b <(c | d) | wc", 1, 3, "wc").as_deref(),
            Some("b <(c | d)")
        );
    }

    #[test]
    fn part_that_cannot_be_told_has_no_text() {
        assert_eq!(part("a | wc\nb | wc\n", 0, 2, "wc"), None);
        assert_eq!(part("a | wc\na | wc\n", 0, 2, "wc").as_deref(), Some("a"));
        assert_eq!(part("a | while read x; do y; done", 0, 2, "y"), None);
        assert_eq!(part("", 0, 2, "wc"), None);
        assert_eq!(part("a | 'wc", 0, 2, "wc"), None);
    }
}
