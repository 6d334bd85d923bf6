//! The answer to one invocation: made with it, filled by what runs the handler, and closed once.
//!
//! A handler that streams its response sends it while it runs; then closing only ends it. Otherwise closing posts the outcome.
//! If nobody knows whether the answer has arrived, the platform may send the same attempt again: [`Unconfirmed`] answers that
//! one, so that the handler does not run twice.

use std::time::Instant;

use super::Client;
use super::connection::WhenSent;
use super::reply::PostOutcome;
use super::response_stream::ResponseStream;
use crate::error::Result;
use crate::invocation::{Invocation, Outcome};
use crate::response::ResponseSink;
use coshell_handler::Failure;

#[derive(Debug)]
pub(crate) struct Answer<'a> {
    client: &'a Client<'a>,
    invocation: &'a Invocation,
    stream: ResponseStream<'a>,
}

/// An answer that has been sent as far as possible.
#[derive(Debug)]
pub(crate) struct Closed {
    /// Why Lambda does not have it, or may not have it.
    pub failure: Option<String>,
    pub unconfirmed: Unconfirmed,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        client: &'a Client<'a>,
        invocation: &'a Invocation,
        end: Option<Instant>,
    ) -> Self {
        Self {
            client,
            invocation,
            stream: ResponseStream::new(&client.api, invocation, client.signals, end),
        }
    }

    /// Takes a response that is streamed.
    pub(crate) fn sink(&mut self) -> &mut dyn ResponseSink {
        &mut self.stream
    }

    /// Sends what is left of it. Calls `meanwhile` when the whole request of an outcome that is posted is sent, before it waits
    /// for the reply.
    ///
    /// # Errors
    /// [`Error::PostAnswer`](crate::error::Error::PostAnswer) if the Runtime API replies with a server error or cannot be
    /// reached: the process has to end then.
    pub(crate) fn close(
        self,
        outcome: Outcome,
        meanwhile: impl FnOnce() -> Option<WhenSent>,
    ) -> Result<Closed> {
        let is_streamed = self.stream.is_open();
        let posted = match self.stream.finish(&outcome)? {
            Some(posted) => posted,
            None => self
                .client
                .post_outcome(self.invocation, &outcome, meanwhile())?,
        };
        let name = match outcome {
            Outcome::Failure(_) if !is_streamed => "error",
            _ => "response",
        };
        let again = matches!(posted, PostOutcome::Unknown(_)).then(|| {
            let outcome = if is_streamed {
                broken_stream()
            } else {
                outcome
            };
            (AttemptId::of(self.invocation), outcome)
        });
        Ok(Closed {
            failure: posted.describe_failure(name),
            unconfirmed: Unconfirmed(again),
        })
    }
}

/// The outcome of the last invocation, if we do not know whether Lambda received it.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed(Option<(AttemptId, Outcome)>);

impl Unconfirmed {
    /// The outcome, if Lambda has sent the same attempt again. The handler has run, and must not run twice.
    pub(crate) fn take(&mut self, invocation: &Invocation) -> Option<Outcome> {
        let (attempt, outcome) = self.0.take()?;
        (attempt == AttemptId::of(invocation)).then_some(outcome)
    }
}

/// Identifies one attempt of an invocation: a retry of an asynchronous one has the same request id, but another invocation id.
#[derive(Debug, PartialEq, Eq)]
struct AttemptId {
    request_id: String,
    invocation_id: Option<String>,
}

impl AttemptId {
    fn of(invocation: &Invocation) -> Self {
        Self {
            request_id: invocation.request_id.clone(),
            invocation_id: invocation.invocation_id.clone(),
        }
    }
}

/// The outcome that is posted if Lambda sends an attempt again whose response was streamed.
fn broken_stream() -> Outcome {
    Outcome::Failure(Failure::new(
        "Function.StreamBroken",
        "the connection to the Runtime API broke while the response was streamed".to_owned(),
    ))
}
