//! Finds the bash that runs handlers, and writes and reads text for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The bash to start: the one that `COSHELL_BASH` names if `setting` is not empty, else `/bin/bash`, else the first
/// along `PATH`.
pub fn find_program(setting: Option<OsString>) -> PathBuf {
    match setting.filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None if Path::new("/bin/bash").exists() => PathBuf::from("/bin/bash"),
        None => PathBuf::from("bash"),
    }
}

/// A word in single quotes that bash reads as `text`.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A word for a command that people read and copy: [`quote`]d only if it needs quotes.
pub fn shell_word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_./-+,:@%".contains(letter);
    if text.chars().all(is_plain) && !text.is_empty() {
        text.to_owned()
    } else {
        quote(text)
    }
}

/// Reads a version such as `5.2`; a part that is not a number is 0.
pub fn parse_version(text: &str) -> (u32, u32) {
    let (major, minor) = text.split_once('.').unwrap_or_default();
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}
