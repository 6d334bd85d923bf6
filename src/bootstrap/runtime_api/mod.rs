//! Speaks to the Runtime API, over ureq.
//!
//! One kept connection, no proxy, no redirects, no timeouts. Each request has its own rules for
//! failures, which the points B, C, E and F of the contract name: what can be asked again is
//! asked again, an answer is never given twice, and nothing is retried without an end.
//! Neighbours: `wire.rs` has the words, `connection.rs` the socket, `restore.rs` what `SnapStart` asks;
//! `stream.rs` is the other way of a response.

mod answer;
mod connection;
mod extension;
mod failure;
mod restore;
mod stream;
mod streaming_post;

use std::io::Read;
use std::sync::Arc;

use ureq::Agent;
use ureq::http::{Response, StatusCode};

use crate::error::{Error, Result};
use crate::invocation::{Invocation, Outcome};
use crate::wait::Signals;
pub(crate) use answer::Posted;
use answer::{read_text, refusal, text_of};
pub(crate) use connection::WhenSent;
use connection::{Progress, RETRY_AFTER, agent, connect};
use coshell_handler::Failure;
use coshell_wire as wire;
use extension::Extension;
use failure::{document, xray_cause};
use stream::Stream;

/// The event's length is believed, for the buffer's first size, up to this.
const MAX_RESERVED_BYTES: usize = 8 * 1024 * 1024;
/// The Runtime API, as the runtime sees it. All calls block.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    agent: Agent,
    api: String,
    progress: Arc<Progress>,
    signals: &'a Arc<Signals>,
    extension: Option<Extension>,
}

/// The outer error can be tried again, the inner one is final.
type Attempt<T> = std::result::Result<std::result::Result<T, String>, ureq::Error>;

/// A request that got no answer.
enum SendError {
    BeforeSent(ureq::Error),
    AfterSent(ureq::Error),
}

impl<'a> Client<'a> {
    /// For the Runtime API at `api` (`host:port`, from `AWS_LAMBDA_RUNTIME_API`). Connects at
    /// once, for at most a second; if nobody is there the first request says so.
    pub(crate) fn open(api: &str, signals: &'a Arc<Signals>) -> Self {
        let progress = Arc::new(Progress::default());
        Self {
            agent: agent(api, connect(api).ok(), &progress, signals),
            api: api.to_owned(),
            progress,
            signals,
            extension: None,
        }
    }

    /// Waits for the next invocation, without a limit: the sandbox is frozen meanwhile. `None` if
    /// we are asked to end.
    ///
    /// # Errors
    /// [`Error::NextInvocation`] when the Runtime API answers anything but 200, when it sends
    /// no request id, or when it cannot be reached, or breaks off, four times in a row.
    pub(crate) fn next_invocation(&mut self) -> Result<Option<Invocation>> {
        let invocation = self.with_retries(|| self.try_next());
        invocation.map_err(|cause| Error::NextInvocation {
            api: self.api.clone(),
            cause,
        })
    }

    /// Asks until there is an answer: four times, if it breaks off each time. `None` if we are asked to end.
    ///
    /// # Errors
    /// The cause, in words: the last one that could be tried again, or the first that is final.
    fn with_retries<T>(
        &self,
        mut ask: impl FnMut() -> Attempt<T>,
    ) -> std::result::Result<Option<T>, String> {
        let mut waits = RETRY_AFTER.iter();
        while !self.signals.is_stop_requested() {
            self.progress.set_interruptible(true);
            let asked = ask();
            self.progress.set_interruptible(false);
            let cause = match asked {
                Ok(answer) => return answer.map(Some),
                Err(error) => error.to_string(),
            };
            if !self.signals.is_stop_requested() {
                let wait = waits.next().ok_or(cause)?;
                let _ = self.signals.pause(*wait);
            }
        }
        Ok(None)
    }

    /// Makes Lambda tell us by SIGTERM that the sandbox ends, half a second before it does. Only
    /// before the first [`Client::next_invocation`].
    ///
    /// # Errors
    /// Why the Runtime API did not take it, in words.
    pub(crate) fn register_extension(&mut self) -> std::result::Result<(), String> {
        let extension = extension::register(&self.agent, &self.api, self.signals)?;
        self.extension = Some(extension);
        Ok(())
    }

    fn try_next(&self) -> Attempt<Invocation> {
        let response = self.agent.get(self.url(wire::NEXT)).call()?;
        let status = response.status();
        let (head, mut body) = response.into_parts();
        if status != StatusCode::OK {
            return Ok(Err(refusal(status, &read_text(&mut body))));
        }
        let Some(request_id) = text_of(&head.headers, wire::REQUEST_ID) else {
            return Ok(Err(format!("no {} header", wire::REQUEST_ID)));
        };
        let length = body
            .content_length()
            .and_then(|length| usize::try_from(length).ok());
        let mut event = Vec::with_capacity(length.unwrap_or(0).min(MAX_RESERVED_BYTES));
        body.as_reader().read_to_end(&mut event)?;
        Ok(Ok(Invocation {
            request_id,
            invocation_id: text_of(&head.headers, wire::INVOCATION_ID),
            deadline_ms: text_of(&head.headers, wire::DEADLINE_MS),
            invoked_function_arn: text_of(&head.headers, wire::INVOKED_FUNCTION_ARN),
            trace_id: text_of(&head.headers, wire::TRACE_ID),
            client_context: text_of(&head.headers, wire::CLIENT_CONTEXT),
            cognito_identity: text_of(&head.headers, wire::COGNITO_IDENTITY),
            tenant_id: text_of(&head.headers, wire::TENANT_ID),
            event,
            ..Invocation::default()
        }))
    }

    /// Where the response of `invocation` goes if it is streamed.
    pub(crate) fn stream<'s>(&'s self, invocation: &'s Invocation) -> Stream<'s> {
        Stream::new(&self.api, invocation, self.signals)
    }

    /// Posts the one answer of `invocation`. When it is sent, and nothing is left but to wait for the platform's
    /// word, `meanwhile` is called; it is not if the answer cannot be sent.
    ///
    /// # Errors
    /// [`Error::PostAnswer`] when the Runtime API answers 500 or above, or cannot be reached:
    /// the process has to end then.
    pub(crate) fn post_outcome(
        &mut self,
        invocation: &Invocation,
        outcome: &Outcome,
        meanwhile: Option<WhenSent>,
    ) -> Result<Posted> {
        self.progress.set_when_sent(meanwhile);
        let posted = self.try_post_outcome(invocation, outcome);
        self.progress.set_when_sent(None);
        posted
    }

    fn try_post_outcome(&self, invocation: &Invocation, outcome: &Outcome) -> Result<Posted> {
        let id = &invocation.request_id;
        let attempt = invocation.invocation_id.as_deref();
        match outcome {
            Outcome::Response(bytes) => {
                let headers = [(wire::INVOCATION_ID, attempt)];
                self.post("response", &wire::response_path(id), &headers, bytes)
            }
            Outcome::Failure(failure) => {
                let cause = xray_cause(failure);
                let headers = [
                    (wire::INVOCATION_ID, attempt),
                    (wire::ERROR_TYPE, Some(failure.error_type)),
                    (wire::XRAY_ERROR_CAUSE, cause.as_deref()),
                ];
                self.post(
                    "error",
                    &wire::error_path(id),
                    &headers,
                    document(failure).as_bytes(),
                )
            }
        }
    }

    /// Tells why the init failed. Only before the first [`Client::next_invocation`].
    ///
    /// # Errors
    /// As [`Client::post_outcome`].
    pub(crate) fn post_init_error(&mut self, failure: &Failure) -> Result<Posted> {
        let headers = [(wire::ERROR_TYPE, Some(failure.error_type))];
        self.post(
            "init error",
            wire::INIT_ERROR,
            &headers,
            document(failure).as_bytes(),
        )
    }

    fn post(
        &self,
        answer: &'static str,
        path: &str,
        headers: &[(&str, Option<&str>)],
        body: &[u8],
    ) -> Result<Posted> {
        let mut waits = RETRY_AFTER.iter();
        let response = loop {
            match self.try_post(path, headers, body) {
                Ok(response) => break response,
                Err(SendError::AfterSent(error)) => return Ok(Posted::Unknown(error.to_string())),
                // Bytes that never left can be sent again: that is no second answer.
                Err(SendError::BeforeSent(error)) => match waits.next() {
                    Some(wait) if self.signals.pause(*wait) => {}
                    _ => {
                        return Err(Error::PostAnswer {
                            answer,
                            cause: error.to_string(),
                        });
                    }
                },
            }
        };
        let status = response.status();
        let text = read_text(response.into_body());
        if status == StatusCode::ACCEPTED {
            Ok(Posted::Accepted)
        } else if status.is_server_error() {
            Err(Error::PostAnswer {
                answer,
                cause: refusal(status, &text),
            })
        } else {
            Ok(Posted::Refused(refusal(status, &text)))
        }
    }

    fn try_post(
        &self,
        path: &str,
        headers: &[(&str, Option<&str>)],
        body: &[u8],
    ) -> std::result::Result<Response<ureq::Body>, SendError> {
        self.progress.reset();
        let mut request = self.agent.post(self.url(path)).content_type(wire::JSON);
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(*name, *value);
            }
        }
        request.send(body).map_err(|error| {
            if self.progress.is_sent() {
                SendError::AfterSent(error)
            } else {
                SendError::BeforeSent(error)
            }
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api)
    }
}
