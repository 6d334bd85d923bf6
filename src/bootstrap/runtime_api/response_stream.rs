//! A streamed response: a POST whose body is sent while the handler writes it, and which ends with trailers if the handler fails.
//!
//! hyper does the HTTP, because ureq cannot send trailers. Each streamed response has its own connection, which is closed
//! afterwards, as Lambda requires. `streaming_post.rs` drives hyper.

use std::time::{Duration, Instant};

use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, TRAILER, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};

use super::connection::{self, RETRY_AFTER};
use super::failure::trailers;
use super::reply::{PostOutcome, describe_rejection};
use super::streaming_post::{Reply, StreamingPost};
use crate::error::{Error, Result};
use crate::invocation::{Invocation, Outcome};
use crate::response::{Head, ResponseSink};
use crate::wait::{Limit, Overrun, Signals};
use coshell_wire as wire;

/// How long closing the stream may take if the handler was stopped: there is little time left.
const CLOSE_LIMIT: Duration = Duration::from_millis(100);

/// The streamed response of one invocation. It is opened only if the response is streamed.
#[derive(Debug)]
pub(crate) struct ResponseStream<'a> {
    api: &'a str,
    invocation: &'a Invocation,
    signals: &'a Signals,
    /// When the reader has had enough time.
    end: Option<Instant>,
    state: StreamState,
    sent_bytes: usize,
}

#[derive(Debug)]
enum StreamState {
    Unopened,
    Open(Box<StreamingPost>),
    /// It could not be opened, for this cause.
    Failed(String),
}

impl<'a> ResponseStream<'a> {
    /// A stream that is not opened yet. It has no connection.
    pub(super) fn new(
        api: &'a str,
        invocation: &'a Invocation,
        signals: &'a Signals,
        end: Option<Instant>,
    ) -> Self {
        Self {
            api,
            invocation,
            signals,
            end,
            state: StreamState::Unopened,
            sent_bytes: 0,
        }
    }

    /// Whether a part of the response may have been sent. Then no other answer can be posted.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, StreamState::Open(_))
    }

    /// Closes the stream, with trailers if the handler failed, and waits for the reply. `None` if it was never opened: then
    /// `outcome` still has to be posted.
    ///
    /// # Errors
    /// [`Error::PostAnswer`] if the Runtime API replies with a server error or could not be reached.
    pub(crate) fn finish(self, outcome: &Outcome) -> Result<Option<PostOutcome>> {
        let post_error = |cause| Error::PostAnswer {
            answer: "response",
            cause,
        };
        let mut post = match self.state {
            StreamState::Unopened => return Ok(None),
            StreamState::Failed(cause) => return Err(post_error(cause)),
            StreamState::Open(post) => post,
        };
        let soon = Instant::now() + CLOSE_LIMIT;
        let mut limit = Limit::new(self.signals, self.end.map(|end| end.max(soon)));
        let trailers = match outcome {
            Outcome::Response(_) => None,
            Outcome::Failure(failure) => {
                if failure.is_overrun() {
                    limit = Limit::until(soon);
                }
                Some(trailers(failure))
            }
        };
        post.end_body(trailers);
        // If the limit is reached there is no reply, which is reported below.
        let _ = post.drive(&mut limit, StreamingPost::has_reply);
        let count = self.sent_bytes;
        let with_count =
            |cause: String| format!("{cause}; {count} bytes of the response had been sent");
        Ok(Some(match post.reply {
            Reply::Complete(StatusCode::ACCEPTED, _) => PostOutcome::Accepted,
            Reply::Complete(status, text) => {
                let text = String::from_utf8_lossy(&text);
                let cause = with_count(describe_rejection(status, &text));
                if status.is_server_error() {
                    return Err(post_error(cause));
                }
                PostOutcome::Rejected(cause)
            }
            Reply::Failed(cause) => PostOutcome::Unknown(with_count(cause)),
            Reply::Pending(_) | Reply::Receiving(..) => PostOutcome::Unknown(with_count(
                "the Runtime API did not answer in time".to_owned(),
            )),
        }))
    }

    fn head(&self, content_type: &str) -> Builder {
        let path = wire::response_path(&wire::encode_id(&self.invocation.request_id));
        let head = Request::post(path)
            .header(HOST, self.api)
            .header(USER_AGENT, connection::USER_AGENT)
            .header(CONNECTION, "close")
            .header(CONTENT_TYPE, content_type)
            .header(wire::RESPONSE_MODE, wire::STREAMING)
            .header(TRAILER, wire::ERROR_TYPE)
            .header(TRAILER, wire::ERROR_BODY);
        match &self.invocation.invocation_id {
            Some(id) => head.header(wire::INVOCATION_ID, id),
            None => head,
        }
    }
}

impl ResponseSink for ResponseStream<'_> {
    fn open(
        &mut self,
        head: Head,
        first: Vec<u8>,
        limit: &mut Limit,
    ) -> std::result::Result<(), Overrun> {
        let mut waits = RETRY_AFTER.iter();
        let socket = loop {
            match (connection::connect(self.api), waits.next()) {
                (Ok(socket), _) => break socket,
                (Err(_), Some(wait)) => limit.pause(*wait)?,
                (Err(error), None) => {
                    self.state = StreamState::Failed(error.to_string());
                    return Ok(());
                }
            }
        };
        let (content_type, first) = match head {
            Head::Content(content_type) => (content_type, first),
            Head::Http(json) => {
                let prelude = [json.as_bytes(), &[0; 8], &first].concat();
                (wire::HTTP_INTEGRATION.to_owned(), prelude)
            }
        };
        self.state = match StreamingPost::start(socket, self.head(&content_type)) {
            Ok(post) => StreamState::Open(Box::new(post)),
            Err(cause) => StreamState::Failed(cause),
        };
        self.send(first, limit)
    }

    fn send(&mut self, bytes: Vec<u8>, limit: &mut Limit) -> std::result::Result<(), Overrun> {
        let StreamState::Open(post) = &mut self.state else {
            return Ok(());
        };
        let count = bytes.len();
        post.queue(bytes);
        post.drive(limit, |post| post.is_flushed() || post.is_rejected())?;
        if !post.is_rejected() {
            self.sent_bytes += count;
        }
        Ok(())
    }
}
