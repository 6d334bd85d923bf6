//! A failure as callers see it: its type, its message, where it was.

use std::fmt;

use crate::suggestion::Suggestion;

/// Why an invocation, or the init, failed: what the caller gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `Function.Name` or `Runtime.Name`, letters only after the dot.
    pub error_type: &'static str,
    /// What went wrong, for a person; may have several lines.
    pub message: String,
    /// Where the handler was, the innermost frame first; may be empty.
    pub stack: Vec<Frame>,
    /// How much of the message, at its end, is the end of the log.
    pub quoted_bytes: usize,
}

impl Failure {
    /// A failure without a stack, whose message quotes no log.
    pub fn new(error_type: &'static str, message: impl Into<String>) -> Self {
        Self {
            error_type,
            message: message.into(),
            stack: Vec::new(),
            quoted_bytes: 0,
        }
    }

    /// The message without the end of the log, which has been written by the time it is logged.
    pub fn without_log(&self) -> &str {
        let end = self.message.len().saturating_sub(self.quoted_bytes);
        self.message.get(..end).unwrap_or(&self.message)
    }

    /// Whether the handler was stopped, so that little time is left.
    pub fn is_overrun(&self) -> bool {
        matches!(self.error_type, "Function.Timeout" | "Function.Stopped")
    }
}

/// A shell function that was running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The function's name; `source` or `main` outside of functions.
    pub function: String,
    /// The file that defines it, as it was sourced.
    pub file: String,
    /// The line it was at, from 1; 0 if bash did not tell.
    pub line: u32,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{} ({})", self.function, self.file),
            line => write!(f, "{} ({}:{line})", self.function, self.file),
        }
    }
}

/// A handler that cannot be loaded: the init error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    pub failure: Failure,
    pub suggestion: Option<Suggestion>,
}

impl LoadError {
    pub(crate) fn new(
        error_type: &'static str,
        message: String,
        suggestion: Option<Suggestion>,
    ) -> Self {
        Self {
            failure: Failure::new(error_type, message),
            suggestion,
        }
    }

    /// The failure with the suggestion in its message.
    pub fn into_failure(self) -> Failure {
        let mut failure = self.failure;
        if let Some(suggestion) = self.suggestion {
            let end = failure.without_log().len();
            failure.message.insert_str(end, &format!("; {suggestion}"));
        }
        failure
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.clone().into_failure().message)
    }
}

impl std::error::Error for LoadError {}

/// The end of the log, on lines of its own.
pub fn quoted(tail: &str) -> String {
    let tail = tail.trim_end();
    if tail.is_empty() {
        String::new()
    } else {
        format!("\n{tail}")
    }
}
