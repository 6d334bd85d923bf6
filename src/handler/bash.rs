//! Which bash, text for it, and text from it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Which bash runs: the one that `COSHELL_BASH` names, if it does.
pub fn named_or_found(named: Option<OsString>) -> PathBuf {
    match named.filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None if Path::new("/bin/bash").exists() => PathBuf::from("/bin/bash"),
        None => PathBuf::from("bash"),
    }
}

/// What bash need not read.
pub fn without_comments(script: &str) -> String {
    let lines = script.lines().map(str::trim_start);
    lines
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// A word that bash reads back as `text`, whatever it holds.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Reads `5.2`.
pub fn version(text: &str) -> (u32, u32) {
    let (major, minor) = text.split_once('.').unwrap_or_default();
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}
