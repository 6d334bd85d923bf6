//! Text for bash, and text from it.

/// What bash need not read.
#[must_use]
pub fn without_comments(script: &str) -> String {
    let lines = script.lines().map(str::trim_start);
    lines
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// A word that bash reads back as `text`, whatever it holds.
#[must_use]
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Reads `5.2`.
#[must_use]
pub fn version(text: &str) -> (u32, u32) {
    let (major, minor) = text.split_once('.').unwrap_or_default();
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}
