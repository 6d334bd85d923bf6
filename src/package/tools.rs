//! The second program, `coshell-tools`, in a package: beside bootstrap, if the function's files name what needs it. A layer has it
//! always, because it is for functions that nobody knows here.

use std::fs;
use std::path::PathBuf;

use memchr::memmem;

use super::bootstrap::{Architecture, Bootstrap, Source};
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
    let program = fs::read(&path).ok();
    let read = program.and_then(|program| Bootstrap::new(Source::File(path), program.into()).ok());
    read.is_some_and(|program| program.architecture == architecture)
}

/// Whether a script of the package names `jq` or `lambda_get`, whose filters need the program.
pub(crate) fn is_used(contents: &Contents) -> bool {
    contents.iter().any(|(_, entry)| {
        let is_small =
            matches!(entry.kind, Kind::File { len_bytes, .. } if len_bytes <= MAX_SCRIPT_BYTES);
        is_small && fs::read(&entry.source).is_ok_and(|text| names_it(&text))
    })
}

fn names_it(text: &[u8]) -> bool {
    let is_part =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let names_jq = memmem::find_iter(text, b"jq").any(|start| {
        let before = start.checked_sub(1).and_then(|at| text.get(at));
        !is_part(before) && !is_part(text.get(start + 2))
    });
    // A file with NULs is no script.
    !text.contains(&0) && (names_jq || memmem::find(text, b"lambda_get").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_name_jq_or_lambda_get_need_it() {
        for text in [
            "echo | jq .a",
            "jq",
            "x=$(jq -r .)",
            "lambda_get x '.a | map(.)'",
        ] {
            assert!(names_it(text.as_bytes()), "{text}");
        }
        for text in ["", "ajq", "jq_file=1", "jql", "echo\0jq "] {
            assert!(!names_it(text.as_bytes()), "{text}");
        }
    }
}
