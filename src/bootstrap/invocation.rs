//! Invocation (request id, deadline, event, ARN, trace id) and its Outcome.
//!
//! Plain data that passes between the Runtime API and the shell, which never meet.

use std::borrow::Cow;

use memchr::memchr;

use coshell_handler::{Delivery, Failure};

use crate::log::Origin;

/// One event, with what the platform says of it. Absent headers are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Invocation {
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
    /// How the handler gets it.
    pub delivery: Delivery,
}

/// The names of the variables of an invocation.
pub(crate) mod variable {
    /// The request id.
    pub(crate) const REQUEST_ID: &str = "LAMBDA_RUNTIME_AWS_REQUEST_ID";
    /// When Lambda gives up, in milliseconds since the epoch.
    pub(crate) const DEADLINE: &str = "LAMBDA_RUNTIME_DEADLINE_MS";
    /// The ARN, client context, Cognito identity and tenant: those that seldom change.
    pub(crate) const CONTEXT: [&str; 4] = [
        "LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN",
        "LAMBDA_RUNTIME_CLIENT_CONTEXT",
        "LAMBDA_RUNTIME_COGNITO_IDENTITY",
        "LAMBDA_RUNTIME_AWS_TENANT_ID",
    ];
    /// The trace header, for us and for the SDKs.
    pub(crate) const TRACE: [&str; 2] = ["LAMBDA_RUNTIME_TRACE_ID", "_X_AMZN_TRACE_ID"];
}

/// What `$(...)` leaves of an output.
pub(crate) fn without_newlines_at_end(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|byte| *byte != b'\n')
        .map_or(0, |last| last + 1);
    &bytes[..end]
}

impl Invocation {
    /// What the handler's standard input holds.
    pub(crate) fn stdin_bytes(&self) -> &[u8] {
        if self.delivery.is_on_stdin() {
            &self.event
        } else {
            &[]
        }
    }

    /// The event as an argument: without NULs and newlines at its end, as `$(...)` gives it; empty for a handler that
    /// gets no argument.
    pub(crate) fn argument(&self) -> Cow<'_, [u8]> {
        if !self.delivery.is_argument() {
            return Cow::default();
        }
        if memchr(b'\0', &self.event).is_none() {
            return without_newlines_at_end(&self.event).into();
        }
        let bytes = self.event.iter().copied();
        let kept: Vec<u8> = bytes.filter(|byte| *byte != b'\0').collect();
        without_newlines_at_end(&kept).to_vec().into()
    }

    /// The values of [`variable::CONTEXT`], in its order.
    pub(crate) fn context_values(&self) -> [Option<&str>; 4] {
        [
            &self.invoked_function_arn,
            &self.client_context,
            &self.cognito_identity,
            &self.tenant_id,
        ]
        .map(Option::as_deref)
    }

    /// The variables that seldom change; those that are absent are left out.
    pub(crate) fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = variable::CONTEXT.into_iter().zip(self.context_values());
        pairs.filter_map(|(name, value)| Some((name, value?)))
    }

    /// What the platform sent with the event, as variables; those that are absent are left out.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
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
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            request_id: Some(&self.request_id),
            tenant_id: self.tenant_id.as_deref(),
        }
    }
}

/// What became of an invocation: exactly one of these is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The handler's standard output, byte for byte; empty if it was streamed.
    Response(Vec<u8>),
    /// The handler failed; the function lives on.
    Failure(Failure),
}
