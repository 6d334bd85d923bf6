//! Finds the part of a pipeline that failed, from the statuses of its parts (`PIPESTATUS`).
//!
//! bash reports the last command of a pipeline, whichever part failed, with the statuses of all parts and the line where the
//! pipeline ends. The text of the failed part is read from the handler's file at that line. If more than one text is possible
//! the failure gives only the part's number.

use super::without_whitespace;

/// The index of the part that gave the pipeline its status: with `pipefail` the last one that failed. `None` if that is the
/// last part, which bash reports itself.
pub(crate) fn failed_part_index(statuses: &[i32]) -> Option<usize> {
    let failed = statuses.iter().rposition(|status| *status != 0)?;
    (failed + 1 < statuses.len()).then_some(failed)
}

/// The text of part `index` in the pipeline of `count` parts whose last command is `last`. If `line` is not 0 the pipeline
/// ends at that line. `None` if there is no such pipeline, or if several differ in that part.
pub(crate) fn part_text(
    text: &str,
    line: usize,
    count: usize,
    index: usize,
    last: &str,
) -> Option<String> {
    let last = normalize(last.lines().next().unwrap_or_default());
    let mut found: Vec<String> = Vec::new();
    for (end, pipeline) in find_pipelines(text) {
        let matches = pipeline.len() == count
            && (line == 0 || line == end)
            && pipeline.last().map(|part| normalize(part)).as_ref() == Some(&last);
        if matches && !found.contains(&pipeline[index]) {
            found.push(pipeline[index].clone());
        }
    }
    match found.as_slice() {
        [part] if !part.is_empty() => Some(part.clone()),
        _ => None,
    }
}

/// Collects the pipelines of a script whose parts are simple commands. It does not understand all of bash: it may take lines of
/// a here document for a pipeline. That does no harm, because such a pipeline does not end with the command that bash reported.
#[derive(Debug)]
struct Pipelines {
    /// The line where each pipeline ends, and its parts.
    found: Vec<(usize, Vec<String>)>,
    /// The parts of the current pipeline.
    parts: Vec<String>,
    /// Whether the last of these parts has a word yet.
    has_word: bool,
    /// The line of the last word.
    end: usize,
}

/// Words before or after a command that are not part of it.
const RESERVED: [&str; 11] = [
    "if", "then", "else", "elif", "while", "until", "do", "time", "!", "{", "}",
];

fn find_pipelines(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut pipelines = Pipelines {
        found: Vec::new(),
        parts: vec![String::new()],
        has_word: false,
        end: 1,
    };
    let (mut offset, mut line) = (0, 1);
    while let Some(character) = text[offset..].chars().next() {
        let (before, rest) = (&text[..offset], &text[offset + character.len_utf8()..]);
        let is_redirection = before.ends_with(['>', '<']);
        let length = match character {
            '\n' => {
                // After `|` the pipeline continues on the next line.
                if pipelines.has_word {
                    pipelines.finish();
                }
                1
            }
            '\\' if rest.starts_with('\n') => 2,
            '#' if !pipelines.has_word || before.ends_with([' ', '\t']) => {
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
            _ if character.is_whitespace() && !pipelines.has_word => character.len_utf8(),
            _ => {
                let length = match character {
                    '\'' | '"' | '`' | '\\' | '(' => quoted_length(&text[offset..]),
                    '$' if rest.starts_with('{') => 1 + quoted_length(rest),
                    _ => character.len_utf8(),
                };
                let word = &text[offset..offset + length];
                pipelines.end = line + word.matches('\n').count();
                let next = text[offset + length..].chars().next();
                pipelines.push(word, next.is_none_or(char::is_whitespace));
                length
            }
        };
        line += text[offset..offset + length].matches('\n').count();
        offset += length;
    }
    pipelines.finish();
    pipelines.found
}

impl Pipelines {
    /// Adds to the last part; `is_word_end` if whitespace follows.
    fn push(&mut self, text: &str, is_word_end: bool) {
        self.has_word = true;
        if let Some(part) = self.parts.last_mut() {
            part.push_str(text);
            if is_word_end && RESERVED.contains(&part.as_str()) {
                part.clear();
                self.has_word = false;
            }
        }
    }

    fn next_part(&mut self) {
        self.parts.push(String::new());
        self.has_word = false;
    }

    fn finish(&mut self) {
        let parts = std::mem::replace(&mut self.parts, vec![String::new()]);
        if parts.len() > 1 {
            let parts = parts.iter().map(|part| on_one_line(part));
            self.found.push((self.end, parts.collect()));
        }
        self.has_word = false;
    }
}

/// The length of the quoted string, substitution or escaped character that `text` begins with.
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
    for (offset, character) in characters {
        if offset < skip {
            continue;
        }
        if character == end {
            return offset + character.len_utf8();
        }
        let is_nested = match first {
            '\'' => false,
            '"' => {
                matches!(character, '\\' | '`')
                    || text[..offset].ends_with('$') && matches!(character, '(' | '{')
            }
            '`' => character == '\\',
            _ => matches!(character, '\\' | '\'' | '"' | '`' | '(' | '{'),
        };
        if is_nested {
            skip = offset + quoted_length(&text[offset..]);
        }
    }
    text.len()
}

/// For comparing commands: bash prints them with other whitespace, and writes the redirected descriptor.
fn normalize(command: &str) -> String {
    without_whitespace(command).replace("1>&", ">&")
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
    fn failed_part_is_the_last_failure_before_the_last_command() {
        assert_eq!(failed_part_index(&[2, 0, 0]), Some(0));
        assert_eq!(failed_part_index(&[2, 141, 0]), Some(1));
        assert_eq!(failed_part_index(&[2, 1]), None);
        assert_eq!(failed_part_index(&[3]), None);
        assert_eq!(failed_part_index(&[0, 0]), None);
    }

    #[test]
    fn text_of_a_part_is_read_from_the_file() {
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
    fn ambiguous_part_has_no_text() {
        assert_eq!(part("a | wc\nb | wc\n", 0, 2, "wc"), None);
        assert_eq!(part("a | wc\na | wc\n", 0, 2, "wc").as_deref(), Some("a"));
        assert_eq!(part("a | while read x; do y; done", 0, 2, "y"), None);
        assert_eq!(part("", 0, 2, "wc"), None);
        assert_eq!(part("a | 'wc", 0, 2, "wc"), None);
    }
}
