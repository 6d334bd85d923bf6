//! Invocation (request id, deadline, event, ARN, trace id) and its Outcome.
//!
//! Plain data that passes between the Runtime API and the shell, which never meet.

use std::borrow::Cow;

use memchr::memchr;

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

/// The names of the variables of an invocation.
pub mod variable {
    /// The request id.
    pub const REQUEST_ID: &str = "LAMBDA_RUNTIME_AWS_REQUEST_ID";
    /// When Lambda gives up, in milliseconds since the epoch.
    pub const DEADLINE: &str = "LAMBDA_RUNTIME_DEADLINE_MS";
    /// The ARN, client context, Cognito identity and tenant: those that seldom change.
    pub const CONTEXT: [&str; 4] = [
        "LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN",
        "LAMBDA_RUNTIME_CLIENT_CONTEXT",
        "LAMBDA_RUNTIME_COGNITO_IDENTITY",
        "LAMBDA_RUNTIME_AWS_TENANT_ID",
    ];
    /// The trace header, for us and for the SDKs.
    pub const TRACE: [&str; 2] = ["LAMBDA_RUNTIME_TRACE_ID", "_X_AMZN_TRACE_ID"];
}

/// What `$(...)` leaves of an output.
#[must_use]
pub fn without_newlines_at_end(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|byte| *byte != b'\n')
        .map_or(0, |last| last + 1);
    &bytes[..end]
}

impl Invocation {
    /// The event as `$1`: without NULs and newlines at its end, as `$(...)` gives it.
    #[must_use]
    pub fn argument(&self) -> Cow<'_, [u8]> {
        if memchr(b'\0', &self.event).is_none() {
            return without_newlines_at_end(&self.event).into();
        }
        let bytes = self.event.iter().copied();
        let kept: Vec<u8> = bytes.filter(|byte| *byte != b'\0').collect();
        without_newlines_at_end(&kept).to_vec().into()
    }

    /// The values of [`variable::CONTEXT`], in its order.
    #[must_use]
    pub fn context_values(&self) -> [Option<&str>; 4] {
        [
            &self.invoked_function_arn,
            &self.client_context,
            &self.cognito_identity,
            &self.tenant_id,
        ]
        .map(Option::as_deref)
    }

    /// The variables that seldom change; those that are absent are left out.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = variable::CONTEXT.into_iter().zip(self.context_values());
        pairs.filter_map(|(name, value)| Some((name, value?)))
    }

    /// What the platform sent with the event, as variables; those that are absent are left out.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let id = [(variable::REQUEST_ID, self.request_id.as_str())];
        let deadline = self.deadline_ms.as_deref();
        let deadline = deadline.map(|deadline| (variable::DEADLINE, deadline));
        let trace = self.trace_id.as_deref().into_iter();
        let trace = trace.flat_map(|trace| variable::TRACE.map(|name| (name, trace)));
        id.into_iter()
            .chain(deadline)
            .chain(trace)
            .chain(self.context())
    }

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
    /// The handler's standard output, byte for byte; empty if it was streamed.
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
    /// How much of the message, at its end, is the end of the log.
    pub quoted_bytes: usize,
}

impl Failure {
    /// The message without the end of the log, which has been written by the time it is logged.
    #[must_use]
    pub fn told(&self) -> &str {
        let end = self.message.len().saturating_sub(self.quoted_bytes);
        self.message.get(..end).unwrap_or(&self.message)
    }

    /// Whether the handler was stopped, so that little time is left.
    #[must_use]
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

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{} ({})", self.function, self.file),
            line => write!(f, "{} ({}:{line})", self.function, self.file),
        }
    }
}
