//! The response of one invocation: kept until its handler has ended, or sent while it is made.
//!
//! What stands between those who run a handler and the Runtime API, which never meet: `shell` and
//! `program` take bytes out of the handler's pipe, an [`ResponseSink`] of the Runtime API's sends them. Here it
//! is decided which of the two, by the setting or by what the handler asks for; and here is the HTTP
//! that a handler wants its response to be: a document around a kept one, a prelude before a
//! streamed one (`response/http.rs`). What is kept is `response/kept.rs`.

mod http;
mod kept;

use std::fmt::Debug;
use std::fs::File;

use serde_json::Value;

use crate::invocation::Outcome;
use crate::wait::{Limit, Overrun};
use coshell_handler::Failure;
use coshell_process::sys;
use http::{Prelude, visible};
use kept::Kept;

use coshell_wire::MAX_RESPONSE_BYTES;

/// The content of a streamed response, unless the handler names another.
const ANY_CONTENT: &str = "application/octet-stream";

/// What a streamed response begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Head {
    /// Bytes of this content type.
    Content(String),
    /// Status, headers and cookies, as JSON without NULs.
    Http(String),
}

/// Where a response goes that is sent while the handler makes it. What cannot be sent any more is
/// dropped: the handler is not to suffer, and the end of the outlet tells why.
pub(crate) trait ResponseSink: Debug {
    /// Begins the response, with its first bytes.
    ///
    /// # Errors
    /// When the time is up before they are sent.
    fn open(&mut self, head: Head, first: Vec<u8>, limit: &mut Limit) -> Result<(), Overrun>;

    /// Sends more of it. Returns when all is with the system: who reads slowly makes us wait.
    ///
    /// # Errors
    /// When the time is up before.
    fn send(&mut self, bytes: Vec<u8>, limit: &mut Limit) -> Result<(), Overrun>;
}

/// What a handler asks of its response, in its own words: any process that has the control pipe can
/// write them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResponseRequest {
    /// The invocation that it belongs to.
    pub request_id: String,
    /// `file:line` of the call.
    pub place: String,
    /// `stream`, `http`, or `http-stream`.
    pub kind: String,
    /// The content type; or the status, and `Name: value` for each header.
    pub arguments: Vec<String>,
    /// How many words there are to be; more than can be sent are not taken.
    pub argument_count: usize,
}

/// The response of one invocation.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    request_id: &'a str,
    sink: Option<&'a mut dyn ResponseSink>,
    /// What was taken, and is not sent.
    kept: Kept,
    is_streamed: bool,
    has_begun: bool,
    prelude: Option<Prelude>,
    content_type: Option<String>,
    fault: Option<String>,
}

impl<'a> Response<'a> {
    /// The response to the invocation `request_id`; `is_streamed` unless the handler says otherwise.
    pub(crate) fn new(
        request_id: &'a str,
        is_streamed: bool,
        sink: &'a mut dyn ResponseSink,
    ) -> Self {
        Self {
            sink: Some(sink),
            is_streamed,
            ..Self::discarded(request_id)
        }
    }

    /// One that nobody waits for.
    pub(crate) fn discarded(request_id: &'a str) -> Self {
        Self {
            request_id,
            sink: None,
            kept: Kept::default(),
            is_streamed: false,
            has_begun: false,
            prelude: None,
            content_type: None,
            fault: None,
        }
    }

    /// Whether its bytes are sent as they come.
    pub(crate) fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// How many bytes were taken, and are not sent.
    pub(crate) fn unsent_len(&self) -> usize {
        self.kept.len()
    }

    /// The last `count` of the bytes that were taken and are not sent, or those that are there of them.
    pub(crate) fn unsent_end(&self, count: usize) -> &[u8] {
        let bytes = self.kept.bytes();
        &bytes[bytes.len().saturating_sub(count)..]
    }

    /// Leaves out the last `count` of them.
    pub(crate) fn remove_end(&mut self, count: usize) {
        self.kept.cut_end(count);
    }

    /// Takes what is in the pipe now, and no more: what a background job writes later is not of this
    /// response. How many bytes that were. If they are sent, all but what `sure` leaves out: it tells
    /// how many of the kept bytes are of the response for certain.
    ///
    /// # Errors
    /// When the time is up before they are sent.
    pub(crate) fn read_from(
        &mut self,
        pipe: &File,
        limit: &mut Limit,
        sure: impl Fn(&[u8]) -> usize,
    ) -> Result<usize, Overrun> {
        let ready = sys::bytes_ready(pipe);
        let mut taken = 0;
        while taken < ready {
            let count = self.kept.take(pipe, ready - taken, !self.is_streamed);
            if count == 0 {
                break;
            }
            taken += count;
            if self.is_streamed {
                self.send(sure(self.kept.bytes()), limit)?;
            }
        }
        Ok(taken)
    }

    /// Does what the handler asks for, unless it asks for another invocation's response: a process that
    /// outlives its own may.
    ///
    /// # Errors
    /// When the time is up before the response has begun.
    pub(crate) fn apply_request(
        &mut self,
        response_request: &ResponseRequest,
        limit: &mut Limit,
    ) -> Result<(), Overrun> {
        if response_request.request_id != self.request_id {
            return Ok(());
        }
        let is_plain = response_request.kind == "stream";
        let function = if is_plain {
            "lambda_stream_response"
        } else {
            "lambda_http_response"
        };
        let mut fail = |cause: &str| {
            let text = format!("{function} in {}: {cause}", response_request.place);
            self.fault.get_or_insert(text);
        };
        if self.has_begun {
            fail("the response has begun already");
            return Ok(());
        }
        if self.kept.is_cut() {
            // It is too large, whatever comes; and what it began with is gone.
            return Ok(());
        }
        if response_request.argument_count > response_request.arguments.len() {
            fail(&format!(
                "cannot send {} headers: they are too many",
                response_request.argument_count.saturating_sub(1)
            ));
            return Ok(());
        }
        if is_plain {
            self.prelude = None;
            let named = response_request.arguments.first().map(|text| visible(text));
            self.content_type = named.filter(|text| !text.is_empty());
        } else {
            match Prelude::read(&response_request.arguments) {
                Ok(prelude) => self.prelude = Some(prelude),
                Err(cause) => fail(&cause),
            }
        }
        self.is_streamed |= response_request.kind != "http";
        if self.is_streamed && self.fault.is_none() {
            self.begin(Vec::new(), limit)?;
            self.send(self.kept.bytes().len(), limit)?;
        }
        Ok(())
    }

    /// What becomes of the invocation of a handler that has succeeded. Newlines at the end of an output that
    /// was kept are of its response if there are to be such.
    pub(crate) fn finish(&mut self, limit: &mut Limit, with_newlines: bool) -> Outcome {
        if let Some(message) = self.fault.take() {
            return Outcome::Failure(Failure {
                error_type: "Function.InvalidResponse",
                message,
                stack: Vec::new(),
                quoted_bytes: 0,
            });
        }
        if self.is_streamed {
            let sent = if self.has_begun {
                self.send(self.kept.bytes().len(), limit)
            } else {
                let first = self.kept.split(usize::MAX);
                self.begin(first, limit)
            };
            // If the time is up the end of the outlet tells that not all was taken.
            let _ = sent;
            return Outcome::Response(Vec::new());
        }
        let body = std::mem::take(&mut self.kept).into_bytes(with_newlines);
        let made = match (body, self.prelude.take()) {
            (Ok(body), Some(prelude)) => prelude.document(body),
            (body, _) => body,
        };
        made.map_or_else(of_large_response, Outcome::Response)
    }

    fn send(&mut self, count: usize, limit: &mut Limit) -> Result<(), Overrun> {
        if count == 0 {
            return Ok(());
        }
        let piece = self.kept.split(count);
        if !self.has_begun {
            return self.begin(piece, limit);
        }
        match &mut self.sink {
            Some(sink) => sink.send(piece, limit),
            None => Ok(()),
        }
    }

    fn begin(&mut self, first: Vec<u8>, limit: &mut Limit) -> Result<(), Overrun> {
        // A response that cannot be told of is an error, as long as none has begun.
        if self.fault.is_some() {
            return Ok(());
        }
        let Some(sink) = &mut self.sink else {
            return Ok(());
        };
        self.has_begun = true;
        let head = match self.prelude.take() {
            Some(prelude) => Head::Http(Value::Object(prelude.into_json()).to_string()),
            None => Head::Content(self.content_type.take().unwrap_or(ANY_CONTENT.to_owned())),
        };
        sink.open(head, first, limit)
    }
}

/// A response that Lambda would not take is an error that says so.
fn of_large_response(length: usize) -> Outcome {
    Outcome::Failure(Failure {
        error_type: "Function.ResponseSizeTooLarge",
        message: format!(
            "response of {length} bytes is larger than the {MAX_RESPONSE_BYTES} bytes that Lambda takes"
        ),
        stack: Vec::new(),
        quoted_bytes: 0,
    })
}
