//! One streamed response: a POST whose body is sent while the handler makes it, with trailers.
//!
//! hyper speaks the HTTP, since ureq cannot send what comes after a body. Each response has a connection of its own,
//! which is closed after it, as Lambda wants it. Neighbours: `streaming_post.rs` drives hyper, `wire.rs` has the words.

use std::time::{Duration, Instant};

use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, TRAILER, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};

use super::answer::{Posted, refusal};
use super::connection::{self, RETRY_AFTER};
use super::failure::trailers;
use super::streaming_post::{Answer, StreamingPost};
use crate::error::{Error, Result};
use crate::invocation::{Invocation, Outcome};
use crate::response::{Head, ResponseSink};
use crate::wait::{Limit, Overrun, Signals};
use coshell_wire as wire;

/// How long the end of a response may take whose handler was stopped: there is little time left.
const END_LIMIT: Duration = Duration::from_millis(100);

/// The streamed response of one invocation, if it has one.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    api: &'a str,
    invocation: &'a Invocation,
    signals: &'a Signals,
    state: State,
    sent_bytes: usize,
}

#[derive(Debug)]
enum State {
    Unopened,
    Open(Box<StreamingPost>),
    /// It could not be opened, for this reason.
    Failed(String),
}

impl<'a> Stream<'a> {
    /// One that is not opened yet, and costs nothing.
    pub(super) fn new(api: &'a str, invocation: &'a Invocation, signals: &'a Signals) -> Self {
        Self {
            api,
            invocation,
            signals,
            state: State::Unopened,
            sent_bytes: 0,
        }
    }

    /// Whether the response, or a part of it, may have gone out: the invocation has its answer then.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Ends the response, in trailers if the handler failed, and waits for what the platform says.
    /// `None` if it was never opened: then `outcome` is still to be posted.
    ///
    /// # Errors
    /// [`Error::PostAnswer`] when the Runtime API answers 500 or above, or could not be reached.
    pub(crate) fn finish(self, outcome: &Outcome) -> Result<Option<Posted>> {
        let failed = |cause| Error::PostAnswer {
            answer: "response",
            cause,
        };
        let mut streaming_post = match self.state {
            State::Unopened => return Ok(None),
            State::Failed(cause) => return Err(failed(cause)),
            State::Open(streaming_post) => streaming_post,
        };
        let mut limit = Limit::new(self.signals, None);
        let trailers = match outcome {
            Outcome::Response(_) => None,
            Outcome::Failure(failure) => {
                if failure.is_overrun() {
                    limit = Limit::until(Instant::now() + END_LIMIT);
                }
                Some(trailers(failure))
            }
        };
        streaming_post.end(trailers);
        // If the time is up there is no answer, which is told.
        let _ = streaming_post.drive(&mut limit, StreamingPost::is_answered);
        let count = self.sent_bytes;
        let sent = |cause: String| format!("{cause}; {count} bytes of the response had been sent");
        Ok(Some(match streaming_post.answer {
            Answer::Whole(StatusCode::ACCEPTED, _) => Posted::Accepted,
            Answer::Whole(status, text) => {
                let cause = sent(refusal(status, &String::from_utf8_lossy(&text)));
                if status.is_server_error() {
                    return Err(failed(cause));
                }
                Posted::Refused(cause)
            }
            Answer::Broken(cause) => Posted::Unknown(sent(cause)),
            Answer::Awaited(_) | Answer::Begun(..) => {
                Posted::Unknown(sent("no answer in time".to_owned()))
            }
        }))
    }

    fn head(&self, content_type: &str) -> Builder {
        let path = wire::response_path(&self.invocation.request_id);
        let head = Request::post(path)
            .header(HOST, self.api)
            .header(USER_AGENT, connection::USER_AGENT)
            .header(CONNECTION, "close")
            .header(CONTENT_TYPE, content_type)
            .header(wire::RESPONSE_MODE, wire::STREAMING)
            .header(TRAILER, wire::ERROR_TYPE)
            .header(TRAILER, wire::ERROR_BODY);
        match &self.invocation.invocation_id {
            Some(attempt) => head.header(wire::INVOCATION_ID, attempt),
            None => head,
        }
    }
}

impl ResponseSink for Stream<'_> {
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
                    self.state = State::Failed(error.to_string());
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
        let streaming_post = StreamingPost::begin(socket, self.head(&content_type));
        self.state = match streaming_post {
            Ok(streaming_post) => State::Open(Box::new(streaming_post)),
            Err(cause) => State::Failed(cause),
        };
        self.send(first, limit)
    }

    fn send(&mut self, bytes: Vec<u8>, limit: &mut Limit) -> std::result::Result<(), Overrun> {
        let State::Open(streaming_post) = &mut self.state else {
            return Ok(());
        };
        let count = bytes.len();
        streaming_post.put(bytes);
        streaming_post.drive(limit, |streaming_post| {
            streaming_post.is_flushed() || streaming_post.is_refused()
        })?;
        if !streaming_post.is_refused() {
            self.sent_bytes += count;
        }
        Ok(())
    }
}
