//! Why an invocation or the init failed: an errorType, a message and a stack.

use std::borrow::Cow;
use std::fmt;

use crate::suggestion::Suggestion;

/// A failed invocation or init, as the caller gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `Function.Name` or `Runtime.Name`, with letters only after the dot; or what the handler gave `lambda_error`.
    pub error_type: Cow<'static, str>,
    /// For people; may have several lines.
    pub message: String,
    /// The functions that were running, the innermost first; may be empty.
    pub stack: Vec<Frame>,
    /// The last bytes of the message that quote the log.
    pub quoted_bytes: usize,
}

impl Failure {
    /// A failure without a stack, whose message quotes no log.
    pub fn new(error_type: &'static str, message: impl Into<String>) -> Self {
        Self {
            error_type: error_type.into(),
            message: message.into(),
            stack: Vec::new(),
            quoted_bytes: 0,
        }
    }

    /// The message without the part that quotes the log, for the log itself.
    pub fn without_log(&self) -> &str {
        let end = self.message.len().saturating_sub(self.quoted_bytes);
        self.message.get(..end).unwrap_or(&self.message)
    }

    /// Whether the handler ran out of time or was stopped. There is little time left then.
    pub fn is_overrun(&self) -> bool {
        matches!(&*self.error_type, "Function.Timeout" | "Function.Stopped")
    }
}

/// A shell function that was running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// bash has `source` and `main` here outside of functions.
    pub function: String,
    /// The file that defines the function, by the path with which it was sourced.
    pub file: String,
    /// The line that was running, counted from 1; 0 if bash did not report it.
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
    /// Its message is `cannot load handler <name>: <cause>`.
    pub failure: Failure,
    /// In a box, so that a result is not large.
    pub suggestion: Option<Box<Suggestion>>,
}

impl LoadError {
    pub(crate) fn new(
        error_type: &'static str,
        message: String,
        suggestion: Option<Suggestion>,
    ) -> Self {
        Self {
            failure: Failure::new(error_type, message),
            suggestion: suggestion.map(Box::new),
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

/// The last lines of the log as the end of a message, on lines of their own; empty if there are none.
pub fn quote_log_tail(tail: &str) -> String {
    let tail = tail.trim_end();
    if tail.is_empty() {
        String::new()
    } else {
        format!("\n{tail}")
    }
}
