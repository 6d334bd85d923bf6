//! Invocation (request id, deadline, event, ARN, trace id) and its Outcome.
//!
//! Plain data that passes between the Runtime API and the shell, which never meet.

use crate::log::Origin;

/// One event, with what the platform says of it. Absent headers are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    /// Names the invocation, in the answer's path and in log lines.
    pub request_id: String,
    /// Which attempt this is; goes back on the answer when it came.
    pub invocation_id: Option<String>,
    /// When the platform gives up: milliseconds since the epoch, as received.
    pub deadline_ms: Option<String>,
    /// The ARN that was invoked.
    pub invoked_function_arn: Option<String>,
    /// The X-Ray trace header.
    pub trace_id: Option<String>,
    /// JSON from a mobile SDK, handed on undecoded.
    pub client_context: Option<String>,
    /// JSON, the caller's Cognito identity, handed on undecoded.
    pub cognito_identity: Option<String>,
    /// The tenant, for a function with tenant isolation.
    pub tenant_id: Option<String>,
    /// The event, byte for byte; at most 6 MiB.
    pub event: Vec<u8>,
}

impl Invocation {
    /// Whose lines of log those about this invocation are.
    #[must_use]
    pub fn origin(&self) -> Origin<'_> {
        Origin {
            request_id: Some(&self.request_id),
            tenant_id: self.tenant_id.as_deref(),
        }
    }
}

/// What became of an invocation: exactly one of these is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The handler's standard output, byte for byte.
    Response(Vec<u8>),
    /// The handler failed; the function lives on.
    Failure(Failure),
}

/// Why an invocation, or the init, failed: what the caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `Function.Name` or `Runtime.Name`, letters only after the dot.
    pub error_type: &'static str,
    /// What went wrong, for a person; may have several lines.
    pub message: String,
    /// Where the handler was, the innermost frame first; may be empty.
    pub stack: Vec<Frame>,
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

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{} ({})", self.function, self.file),
            line => write!(f, "{} ({}:{line})", self.function, self.file),
        }
    }
}
