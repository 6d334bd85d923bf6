//! An invocation (event, request id, deadline, ARN, trace id) and its outcome.
//!
//! This is plain data that passes between the client of the Runtime API and the code that runs handlers, because neither may
//! use the other.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memchr;

use coshell_handler::{Delivery, Failure};

use crate::log::Origin;

/// One event with the headers that came with it. `None` stands for an absent header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// The invocation's id in the path of its answer and in log lines.
    pub request_id: String,
    /// The id of this attempt. If it came with the event it goes back with the answer.
    pub invocation_id: Option<String>,
    /// The deadline in milliseconds since the epoch, as received.
    pub deadline_ms: Option<String>,
    /// The ARN that the caller invoked.
    pub invoked_function_arn: Option<String>,
    /// The X-Ray trace header.
    pub trace_id: Option<String>,
    /// JSON from a mobile SDK, passed on as it came.
    pub client_context: Option<String>,
    /// The caller's Cognito identity as JSON, passed on as it came.
    pub cognito_identity: Option<String>,
    /// The tenant, for a function with tenant isolation.
    pub tenant_id: Option<String>,
    /// The event's bytes, at most 6 MiB.
    pub event: Arc<Vec<u8>>,
    /// How the handler gets the event.
    pub delivery: Delivery,
}

/// The names of the environment variables of an invocation.
pub(crate) mod variable {
    pub(crate) const REQUEST_ID: &str = "LAMBDA_RUNTIME_AWS_REQUEST_ID";
    /// The deadline in milliseconds since the epoch.
    pub(crate) const DEADLINE: &str = "LAMBDA_RUNTIME_DEADLINE_MS";
    /// The ARN, client context, Cognito identity and tenant. They seldom change from one event to the next.
    pub(crate) const CONTEXT: [&str; 4] = [
        "LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN",
        "LAMBDA_RUNTIME_CLIENT_CONTEXT",
        "LAMBDA_RUNTIME_COGNITO_IDENTITY",
        "LAMBDA_RUNTIME_AWS_TENANT_ID",
    ];
    /// The X-Ray trace header: ours, and the name that the SDKs read.
    pub(crate) const TRACE: [&str; 2] = ["LAMBDA_RUNTIME_TRACE_ID", "_X_AMZN_TRACE_ID"];
}

/// `bytes` without newlines at the end, as `$(...)` removes them.
pub(crate) fn trim_trailing_newlines(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|byte| *byte != b'\n')
        .map_or(0, |last| last + 1);
    &bytes[..end]
}

impl Invocation {
    /// The bytes of the handler's standard input.
    pub(crate) fn stdin_bytes(&self) -> &[u8] {
        if self.delivery.is_on_stdin() {
            &self.event
        } else {
            &[]
        }
    }

    /// The event as an argument: without NULs, and without newlines at its end, as `$(...)` would give it. Empty for a
    /// handler that gets no argument.
    pub(crate) fn argument(&self) -> Cow<'_, [u8]> {
        if !self.delivery.is_argument() {
            return Cow::default();
        }
        if memchr(b'\0', &self.event).is_none() {
            return trim_trailing_newlines(&self.event).into();
        }
        let bytes = self.event.iter().copied();
        let kept: Vec<u8> = bytes.filter(|byte| *byte != b'\0').collect();
        trim_trailing_newlines(&kept).to_vec().into()
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

    /// The variables of [`variable::CONTEXT`] that are present.
    pub(crate) fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = variable::CONTEXT.into_iter().zip(self.context_values());
        pairs.filter_map(|(name, value)| Some((name, value?)))
    }

    /// All variables of this invocation that are present.
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

    /// Marks log records as those of this invocation.
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            request_id: Some(&self.request_id),
            tenant_id: self.tenant_id.as_deref(),
        }
    }
}

/// The outcome of an invocation, which is posted as its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The handler's standard output; empty if it was streamed.
    Response(Vec<u8>),
    /// The handler failed. The sandbox goes on.
    Failure(Failure),
}
