//! Words that this project does not use, since a plain word says the same: in prose, names and messages.

use std::path::Path;
use std::process::Command;

use support::{repository, repository_file};

/// Each word, or phrase, in lower case.
const BANNED: &[&str] = &[
    "told",
    "tells of",
    "said",
    "asked",
    "whoever",
    "those who",
    "so many",
    "by rights",
    "is nobody s",
    "at each",
    "is led",
];

/// What may keep these words, with the reason.
const EXCEPTED: &[(&str, &str)] = &[
    ("tests/it/words.rs", "lists the words"),
    ("bench/results", "is what earlier programs printed"),
    (
        "docs/compare.schema.json",
        "is made from the comments of src/compare",
    ),
    ("tests/fixtures/idioms", "is written as other people write"),
    (
        "tests/fixtures/handlers",
        "is written as other people write",
    ),
    (
        "tests/fixtures/lambda-logs",
        "is what Lambda and its tools printed",
    ),
];

fn is_in(path: &str, place: &str) -> bool {
    Path::new(path).starts_with(place)
}

/// The parts of a name or a text, with the offset of each: `wasTold`, `was_told` and `was told` have the same two.
fn parts(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = None;
    let mut before = ' ';
    for (offset, letter) in text.char_indices() {
        let is_border = before.is_lowercase() && letter.is_uppercase();
        if let Some(begin) = start.filter(|_| is_border || !letter.is_alphanumeric()) {
            found.push((begin, &text[begin..offset]));
            start = None;
        }
        if letter.is_alphanumeric() && start.is_none() {
            start = Some(offset);
        }
        before = letter;
    }
    found.extend(start.map(|begin| (begin, &text[begin..])));
    found
}

/// Line and word of each banned one in `text`. A phrase may go on in the next line, also of a comment.
fn banned_words(text: &str) -> Vec<(usize, &'static str)> {
    let parts = parts(text);
    let joins = |between: &str| {
        between
            .chars()
            .all(|letter| letter.is_whitespace() || "_-/#!*'’".contains(letter))
    };
    let is_at = |first: usize, words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        let Some(here) = parts.get(first..first + words.len()) else {
            return false;
        };
        let is_same = |((_, part), word): (&(usize, &str), &&str)| part.eq_ignore_ascii_case(word);
        here.iter().zip(&words).all(is_same)
            && here
                .windows(2)
                .all(|pair| joins(&text[pair[0].0 + pair[0].1.len()..pair[1].0]))
    };
    let mut found = Vec::new();
    for (first, (offset, _)) in parts.iter().enumerate() {
        for word in BANNED.iter().filter(|word| is_at(first, word)) {
            found.push((text[..*offset].matches('\n').count() + 1, *word));
        }
    }
    found
}

/// The text files that git has or would add.
fn text_files() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(repository())
        .output()
        .expect("git runs");
    assert!(
        listed.status.success(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let names = String::from_utf8(listed.stdout).expect("names in UTF-8");
    let read = |name: &str| {
        // A file that was removed is listed until that is committed.
        let text = std::fs::read_to_string(repository().join(name)).ok()?;
        (!text.contains('\0')).then(|| (name.to_owned(), text))
    };
    names.split_terminator('\0').filter_map(read).collect()
}

#[test]
fn no_text_has_a_banned_word() {
    let mut found = Vec::new();
    let files = text_files()
        .into_iter()
        .filter(|(name, _)| !EXCEPTED.iter().any(|(place, _)| is_in(name, place)));
    let mut count = 0;
    for (name, text) in files {
        count += 1;
        let lines = banned_words(&text).into_iter();
        found.extend(lines.map(|(line, word)| format!("{name}:{line}: {word}")));
    }
    assert!(count > 100, "only {count} files were read");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_exception_is_there() {
    for (place, _) in EXCEPTED {
        repository_file(place);
    }
}

#[test]
fn banned_words_are_found_in_names_in_any_case_and_across_lines() {
    let text = "fn was_told() {}\nstruct Asked;\nlet wasSaid = 1; // TELLS OF\n// those\n//   who\nit is nobody's\n";
    let expected = [
        (1, "told"),
        (2, "asked"),
        (3, "said"),
        (3, "tells of"),
        (4, "those who"),
        (6, "is nobody s"),
    ];
    assert_eq!(banned_words(text), expected);
    let clean =
        "unasked toldest basked; that is. Led by; look at. Each one; so-called many; HTTPAsk\n";
    assert_eq!(banned_words(clean), []);
}
