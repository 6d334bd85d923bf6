//! The second program, `coshell-tools`, in a package: beside bootstrap, if the function's files name what needs it. A layer has it
//! always, because it is for functions that nobody knows here.

use std::fs;
use std::path::PathBuf;

use coshell_handler::names_word;

use super::bootstrap::{Architecture, Bootstrap, Source, read_program};
use super::contents::{Contents, Kind};
use super::search;

pub(crate) const NAME: &str = "coshell-tools";
/// A larger file is no script.
const MAX_SCRIPT_BYTES: u64 = 1024 * 1024;

/// The program that belongs to `bootstrap`: beside it, or where a bootstrap would be looked for, static and for the same
/// architecture.
pub(crate) fn find(bootstrap: &Bootstrap) -> Option<PathBuf> {
    let beside = match &bootstrap.source {
        Source::File(path) => Some(path.with_file_name(NAME)),
        Source::Bundled => None,
    };
    let others = search::files(Some(bootstrap.architecture)).into_iter();
    beside
        .into_iter()
        .chain(others.map(|path| path.with_file_name(NAME)))
        .find(|path| is_for(path.clone(), bootstrap.architecture))
}

fn is_for(path: PathBuf, architecture: Architecture) -> bool {
    let program = read_program(&path).ok();
    let read = program.and_then(|program| Bootstrap::new(Source::File(path), program.into()).ok());
    read.is_some_and(|program| program.architecture == architecture)
}

/// What only the program does.
const OWN_WORDS: [&str; 4] = [
    "lambda_aws",
    "lambda_fetch",
    "lambda_parameter",
    "lambda_secret",
];
/// What it can do: `lambda_get` needs it for its filters alone.
const OTHER_WORDS: [&str; 3] = ["jq", "aws", "lambda_get"];

/// Whether a script of the package names one of these words.
pub(crate) fn is_used(contents: &Contents) -> bool {
    files(contents).any(|text| names_it(&text))
}

/// The function that does not work without the program, if a script of the package names one.
pub(crate) fn needed_for(contents: &Contents) -> Option<&'static str> {
    files(contents).find_map(|text| named(&text, &OWN_WORDS))
}

/// The contents of the files that may be scripts.
fn files(contents: &Contents) -> impl Iterator<Item = Vec<u8>> {
    contents.iter().filter_map(|(_, entry)| {
        let is_small =
            matches!(entry.kind, Kind::File { len_bytes, .. } if len_bytes <= MAX_SCRIPT_BYTES);
        is_small.then(|| fs::read(&entry.source).ok()).flatten()
    })
}

fn names_it(text: &[u8]) -> bool {
    named(text, &OWN_WORDS)
        .or_else(|| named(text, &OTHER_WORDS))
        .is_some()
}

/// The first of the words that a script names.
fn named(text: &[u8], words: &[&'static str]) -> Option<&'static str> {
    // A file with NULs is no script.
    let mut words = words.iter().filter(|_| !text.contains(&0));
    words.find(|word| names_word(text, word)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_name_one_of_the_words_need_it() {
        for text in [
            "echo | jq .a",
            "jq",
            "x=$(jq -r .)",
            "lambda_get x '.a | map(.)'",
            "aws s3 ls",
            "lambda_fetch -v x $URL",
        ] {
            assert!(names_it(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "ajq",
            "jq_file=1",
            "jql",
            "laws",
            "lambda_getx",
            "echo\0jq ",
        ] {
            assert!(!names_it(text.as_bytes()), "{text}");
        }
    }
}
