//! Environment variables, read once, typed.
//!
//! The README has the same settings as a table. Ours start `COSHELL_`, since Lambda drops
//! names with a leading underscore on some kinds of function.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::log::{Level, Log};

/// What `bootstrap` is told by its environment and its first argument.
#[derive(Debug, Clone)]
pub struct Config {
    /// `AWS_LAMBDA_RUNTIME_API`: `host:port`.
    pub runtime_api: String,
    /// The first argument, or else `_HANDLER`.
    pub handler: Option<OsString>,
    /// `LAMBDA_TASK_ROOT`, or else the current directory: where the code lies.
    pub task_root: PathBuf,
    /// `COSHELL_BASH`: which bash; `/bin/bash`, or else `bash` along `PATH`.
    pub bash: PathBuf,
    /// `COSHELL_SHELL_OPTIONS`: what `set` is given before the file is sourced, in words.
    pub shell_options: Vec<String>,
    /// `COSHELL_TRAILING_NEWLINES=keep`: newlines at the end of a response stay.
    pub keep_trailing_newlines: bool,
    /// `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL`.
    pub log: Log,
}

impl Config {
    /// Reads the environment; `argument` is the program's first one, if it has one.
    ///
    /// # Errors
    /// [`Error::ReadConfig`] when `AWS_LAMBDA_RUNTIME_API` is not set: we are not on Lambda.
    pub fn read(argument: Option<OsString>) -> Result<Self> {
        let runtime_api = text("AWS_LAMBDA_RUNTIME_API").ok_or_else(|| Error::ReadConfig {
            variable: "AWS_LAMBDA_RUNTIME_API",
            cause: "it is not set, so this is not Lambda; to try a handler here, \
                    run: coshell invoke HANDLER"
                .to_owned(),
        })?;
        Ok(Self {
            runtime_api,
            handler: argument
                .or_else(|| env::var_os("_HANDLER"))
                .filter(|name| !name.is_empty()),
            task_root: match env::var_os("LAMBDA_TASK_ROOT").filter(|path| !path.is_empty()) {
                Some(path) => PathBuf::from(path),
                None => env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            },
            bash: bash(env::var_os("COSHELL_BASH")),
            shell_options: shell_options(text_or_empty("COSHELL_SHELL_OPTIONS").as_deref()),
            keep_trailing_newlines: text("COSHELL_TRAILING_NEWLINES")
                .is_some_and(|value| value.eq_ignore_ascii_case("keep")),
            log: log(),
        })
    }

    /// Says which settings have a value that means nothing, one text each.
    #[must_use]
    pub fn misread(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut check = |name: &str, known: &[&str]| {
            if let Some(value) = text(name)
                && !known.iter().any(|known| known.eq_ignore_ascii_case(&value))
            {
                texts.push(format!(
                    "cannot use {name}={value}: expected {}",
                    known.join(" or ")
                ));
            }
        };
        check("COSHELL_TRAILING_NEWLINES", &["strip", "keep"]);
        check("AWS_LAMBDA_LOG_FORMAT", &["Text", "JSON"]);
        if let Some(value) = text("AWS_LAMBDA_LOG_LEVEL")
            && Level::from_name(&value).is_none()
        {
            texts.push(format!(
                "cannot use AWS_LAMBDA_LOG_LEVEL={value}: expected TRACE or DEBUG or INFO or WARN or ERROR or FATAL"
            ));
        }
        texts
    }
}

/// How our lines are written; known before anything else can fail.
#[must_use]
pub fn log() -> Log {
    let json =
        text("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("JSON"));
    let least = text("AWS_LAMBDA_LOG_LEVEL").and_then(|name| Level::from_name(&name));
    Log {
        json,
        least: least.unwrap_or(Level::Info),
    }
}

fn bash(named: Option<OsString>) -> PathBuf {
    match named.filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None if Path::new("/bin/bash").exists() => PathBuf::from("/bin/bash"),
        None => PathBuf::from("bash"),
    }
}

/// Unset: as the tutorial's bootstrap; set but empty: no options.
fn shell_options(setting: Option<&str>) -> Vec<String> {
    let words = setting.unwrap_or("-euo pipefail");
    words
        .split_ascii_whitespace()
        .map(ToOwned::to_owned)
        .collect()
}

fn text(name: &str) -> Option<String> {
    text_or_empty(name).filter(|value| !value.is_empty())
}

fn text_or_empty(name: &str) -> Option<String> {
    env::var_os(name)
        .as_deref()
        .map(OsStr::to_string_lossy)
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_options_are_the_tutorials_unless_set() {
        assert_eq!(shell_options(None), ["-euo", "pipefail"]);
        assert_eq!(shell_options(Some("")), [""; 0]);
        assert_eq!(shell_options(Some("-u")), ["-u"]);
    }
}
