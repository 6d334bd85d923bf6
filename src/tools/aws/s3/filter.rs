//! `--exclude` and `--include`: which files and objects a command is about.

/// The filters of a command line. The last one that matches decides; without any, all is in.
#[derive(Debug, Default)]
pub(super) struct Filters(Vec<Filter>);

#[derive(Debug)]
struct Filter {
    includes: bool,
    /// The pattern below the source, and the one below the target: full paths.
    patterns: [Vec<char>; 2],
}

impl Filters {
    /// `filters` has whether each one includes, and its pattern, which is about paths below the two roots.
    pub(super) fn new<'a>(
        filters: impl Iterator<Item = (bool, &'a str)>,
        source: &str,
        target: &str,
    ) -> Self {
        let filter = |(includes, pattern): (bool, &str)| Filter {
            includes,
            patterns: [source, target].map(|root| below(root, pattern).chars().collect()),
        };
        Self(filters.map(filter).collect())
    }

    /// Whether a path, such as `/folder/file` or `bucket/key`, is in.
    pub(super) fn include(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        let mut filters = self.0.iter().rev();
        let decisive = filters.find(|filter| {
            let mut patterns = filter.patterns.iter();
            patterns.any(|pattern| matches(pattern, &path))
        });
        decisive.is_none_or(|filter| filter.includes)
    }
}

fn below(root: &str, pattern: &str) -> String {
    if pattern.starts_with('/') {
        pattern.to_owned()
    } else if root.ends_with('/') || root.is_empty() {
        format!("{root}{pattern}")
    } else {
        format!("{root}/{pattern}")
    }
}

/// Whether all of `text` matches a pattern of the shell, where `*` and `?` stand for slashes, too.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where to go on if what follows the last `*` does not match.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(at) {
            Some('*') => {
                retry = Some((at + 1, from));
                at += 1;
                continue;
            }
            None if from == text.len() => return true,
            None => None,
            Some(_) => text
                .get(from)
                .and_then(|character| match_one(&pattern[at..], *character)),
        };
        match (step, retry) {
            (Some(length), _) => (at, from) = (at + length, from + 1),
            (None, Some((next, start))) if start < text.len() => {
                retry = Some((next, start + 1));
                (at, from) = (next, start + 1);
            }
            (None, _) => return false,
        }
    }
}

/// How many characters of the pattern stand for this one, or `None` if it does not match.
fn match_one(pattern: &[char], character: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match set(pattern) {
            Some((length, is_negated, members)) => {
                (contains(members, character) != is_negated).then_some(length)
            }
            None => (character == '[').then_some(1),
        },
        other => (*other == character).then_some(1),
    }
}

/// The set that a pattern begins with, such as `[!a-z]`: its length, whether `!` negates it, and what is inside.
fn set(pattern: &[char]) -> Option<(usize, bool, &[char])> {
    let is_negated = pattern.get(1) == Some(&'!');
    let start = 1 + usize::from(is_negated);
    // A bracket at the beginning is a member.
    let rest = pattern.get(start + 1..)?;
    let end = start + 1 + rest.iter().position(|character| *character == ']')?;
    Some((end + 1, is_negated, &pattern[start..end]))
}

fn contains(members: &[char], character: char) -> bool {
    let mut rest = members;
    while let Some(first) = rest.first() {
        if let [first, '-', last, ..] = rest {
            if (first..=last).contains(&&character) {
                return true;
            }
            rest = &rest[3..];
        } else {
            if *first == character {
                return true;
            }
            rest = &rest[1..];
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, text: &str) -> bool {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        matches(&characters(pattern), &characters(text))
    }

    #[test]
    fn patterns_match_as_those_of_the_shell() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "a/b"),
            ("a*c", "abbc"),
            ("a*b*c", "a/b/bc"),
            ("?é", "aé"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]]", "]"),
            ("[!]]", "a"),
            ("[a", "[a"),
            ("[a-]", "-"),
            ("*.txt", ".txt"),
        ] {
            assert!(is_match(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a*c", "abd"),
            ("?", ""),
            ("[a-c]", "d"),
            ("[!a-c]", "b"),
            ("[]]", "["),
            ("*.txt", "a.txt2"),
            ("**a*", "bbb"),
        ] {
            assert!(!is_match(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn last_filter_that_matches_decides() {
        let filters = [(false, "*"), (true, "*.txt"), (false, "b/*")];
        let filters = Filters::new(filters.into_iter(), "/from", "bucket/to/");
        assert!(filters.include("/from/a.txt"));
        assert!(!filters.include("/from/a.png"));
        assert!(!filters.include("/from/b/a.txt"));
        assert!(!filters.include("bucket/to/b/a.txt"));
        assert!(filters.include("bucket/to/a.txt"));
        assert!(filters.include("bucket/elsewhere"));
        assert!(Filters::default().include("x"));
    }
}
