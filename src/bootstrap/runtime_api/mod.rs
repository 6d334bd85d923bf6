//! The client of Lambda's Runtime API, over ureq.
//!
//! It keeps one connection, and uses no proxy, no redirects and no timeouts. A request for something can be repeated, so it is
//! tried four times if the connection breaks. An answer must arrive at most once, so it is sent again only if the request was
//! not sent completely. Paths and headers are in `src/wire`. `connection.rs` is the socket, `restore.rs` has the requests of
//! `SnapStart`, `extension.rs` those of the Extensions API. `answer.rs` is the answer to an invocation, and `response_stream.rs`
//! sends one that is streamed.

mod answer;
mod connection;
mod extension;
mod failure;
mod reply;
mod response_stream;
mod restore;
mod streaming_post;

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use ureq::Agent;
use ureq::http::{Response, StatusCode};

use crate::error::{Error, Result};
use crate::invocation::{Invocation, Outcome};
use crate::wait::Signals;
pub(crate) use answer::{Answer, Unconfirmed};
use connection::{Progress, RETRY_AFTER, WhenSent, agent, connect};
use coshell_handler::Failure;
use coshell_wire as wire;
use extension::Extension;
use failure::{error_document, xray_cause};
pub(crate) use reply::PostOutcome;
use reply::{describe_rejection, header_text, read_text};

/// The largest buffer that is allocated because a Content-Length says so.
const MAX_RESERVED_BYTES: usize = 8 * 1024 * 1024;

/// The client of the Runtime API. All calls block.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    agent: Agent,
    api: String,
    progress: Arc<Progress>,
    signals: &'a Arc<Signals>,
    extension: Option<Extension>,
}

/// The result of one try of a request. The outer error can be tried again, the inner one is final.
type Attempt<T> = std::result::Result<std::result::Result<T, String>, ureq::Error>;

/// A request that got no reply, and whether it may have arrived.
enum SendError {
    BeforeSent(ureq::Error),
    AfterSent(ureq::Error),
}

impl<'a> Client<'a> {
    /// A client of the Runtime API at `api`, which is `host:port`. It connects at once, for at most a second. A failure to
    /// connect is reported by the first request.
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

    /// Waits for the next invocation, without a limit: the sandbox may be frozen meanwhile. `None` if we have to shut down.
    ///
    /// # Errors
    /// [`Error::NextInvocation`] if the Runtime API replies with a status other than 200 or without a request id, or if the
    /// connection fails four times in a row.
    pub(crate) fn next_invocation(&mut self) -> Result<Option<Invocation>> {
        let invocation = self.with_retries(|| self.try_next());
        invocation.map_err(|cause| Error::NextInvocation {
            api: self.api.clone(),
            cause,
        })
    }

    /// Tries a request until it gets a reply, at most four times. `None` if we have to shut down.
    ///
    /// # Errors
    /// The cause that is final, or the one of the fourth try.
    fn with_retries<T>(
        &self,
        mut attempt: impl FnMut() -> Attempt<T>,
    ) -> std::result::Result<Option<T>, String> {
        let mut waits = RETRY_AFTER.iter();
        while !self.signals.is_stop_requested() {
            self.progress.set_interruptible(true);
            let result = attempt();
            self.progress.set_interruptible(false);
            let cause = match result {
                Ok(reply) => return reply.map(Some),
                Err(error) => error.to_string(),
            };
            if !self.signals.is_stop_requested() {
                let wait = waits.next().ok_or(cause)?;
                let _ = self.signals.pause(*wait);
            }
        }
        Ok(None)
    }

    /// Registers an internal extension, so that Lambda sends SIGTERM half a second before it kills the sandbox. Allowed only
    /// before the first [`Client::next_invocation`].
    ///
    /// # Errors
    /// A message for the log.
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
            return Ok(Err(describe_rejection(status, &read_text(&mut body))));
        }
        let Some(request_id) = header_text(&head.headers, wire::REQUEST_ID) else {
            return Ok(Err(format!("the reply has no {} header", wire::REQUEST_ID)));
        };
        let length = body
            .content_length()
            .and_then(|length| usize::try_from(length).ok());
        let mut event = Vec::with_capacity(length.unwrap_or(0).min(MAX_RESERVED_BYTES));
        body.as_reader().read_to_end(&mut event)?;
        Ok(Ok(Invocation {
            request_id,
            invocation_id: header_text(&head.headers, wire::INVOCATION_ID),
            deadline_ms: header_text(&head.headers, wire::DEADLINE_MS),
            invoked_function_arn: header_text(&head.headers, wire::INVOKED_FUNCTION_ARN),
            trace_id: header_text(&head.headers, wire::TRACE_ID),
            client_context: header_text(&head.headers, wire::CLIENT_CONTEXT),
            cognito_identity: header_text(&head.headers, wire::COGNITO_IDENTITY),
            tenant_id: header_text(&head.headers, wire::TENANT_ID),
            event: Arc::new(event),
            ..Invocation::default()
        }))
    }

    /// The answer to `invocation`, of which nothing is sent yet. After `end` nobody waits for the reader of a streamed response.
    pub(crate) fn answer<'s>(
        &'s self,
        invocation: &'s Invocation,
        end: Option<Instant>,
    ) -> Answer<'s> {
        Answer::new(self, invocation, end)
    }

    /// Posts the answer of `invocation`: its response or its error. Calls `meanwhile` when the whole request is sent, before it
    /// waits for the reply.
    ///
    /// # Errors
    /// [`Error::PostAnswer`] if the Runtime API replies with a server error or cannot be reached: the process has to end then.
    fn post_outcome(
        &self,
        invocation: &Invocation,
        outcome: &Outcome,
        meanwhile: Option<WhenSent>,
    ) -> Result<PostOutcome> {
        self.progress.set_when_sent(meanwhile);
        let result = self.try_post_outcome(invocation, outcome);
        self.progress.set_when_sent(None);
        result
    }

    fn try_post_outcome(&self, invocation: &Invocation, outcome: &Outcome) -> Result<PostOutcome> {
        let id = &wire::encode_id(&invocation.request_id);
        let invocation_id = invocation.invocation_id.as_deref();
        match outcome {
            Outcome::Response(bytes) => {
                let headers = [(wire::INVOCATION_ID, invocation_id)];
                self.post("response", &wire::response_path(id), &headers, bytes)
            }
            Outcome::Failure(failure) => {
                let cause = xray_cause(failure);
                let headers = [
                    (wire::INVOCATION_ID, invocation_id),
                    (wire::ERROR_TYPE, Some(&*failure.error_type)),
                    (wire::XRAY_ERROR_CAUSE, cause.as_deref()),
                ];
                self.post(
                    "error",
                    &wire::error_path(id),
                    &headers,
                    error_document(failure).as_bytes(),
                )
            }
        }
    }

    /// Posts why the init failed. Allowed only before the first [`Client::next_invocation`].
    ///
    /// # Errors
    /// As [`Client::post_outcome`].
    pub(crate) fn post_init_error(&mut self, failure: &Failure) -> Result<PostOutcome> {
        let headers = [(wire::ERROR_TYPE, Some(&*failure.error_type))];
        self.post(
            "init error",
            wire::INIT_ERROR,
            &headers,
            error_document(failure).as_bytes(),
        )
    }

    fn post(
        &self,
        answer: &'static str,
        path: &str,
        headers: &[(&str, Option<&str>)],
        body: &[u8],
    ) -> Result<PostOutcome> {
        let mut waits = RETRY_AFTER.iter();
        let response = loop {
            match self.try_post(path, headers, body) {
                Ok(response) => break response,
                Err(SendError::AfterSent(error)) => {
                    return Ok(PostOutcome::Unknown(error.to_string()));
                }
                // The request was not sent completely, so that the platform cannot get the answer twice.
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
            Ok(PostOutcome::Accepted)
        } else if status.is_server_error() {
            Err(Error::PostAnswer {
                answer,
                cause: describe_rejection(status, &text),
            })
        } else {
            Ok(PostOutcome::Rejected(describe_rejection(status, &text)))
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
