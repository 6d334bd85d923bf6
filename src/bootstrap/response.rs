//! The response of one invocation: buffered until its handler has ended, or streamed while the handler writes it.
//!
//! `shell` and `program` read the response from the handler's pipe, and a [`ResponseSink`] of the Runtime API's client sends a
//! streamed one; neither side uses the other. Which of the two modes applies is decided here, by the setting or by what the
//! handler requests with `lambda_stream_response` or `lambda_http_response`. So is the HTTP form of a response
//! (`response/http.rs`): a JSON document around a buffered body, or a prelude before a streamed one. The buffer is
//! `response/body_buffer.rs`.

mod body_buffer;
mod http;

use std::fmt::Debug;
use std::fs::File;

use serde_json::Value;

use crate::config::ResponseMode;
use crate::failure::parse_frame;
use crate::invocation::{Invocation, Outcome};
use crate::wait::{Limit, Overrun};
use body_buffer::BodyBuffer;
use coshell_calls::AnswerForm;
use coshell_handler::Failure;
use coshell_process::sys;
use coshell_wire::MAX_RESPONSE_BYTES;
use http::{Prelude, visible};

/// The content type of a streamed response, unless the handler sets one.
const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// What a streamed response begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Head {
    /// A content type.
    Content(String),
    /// Status, headers and cookies, as JSON without NULs.
    Http(String),
}

/// Sends a response while the handler writes it. If sending fails the sink drops the rest, because that must not disturb the
/// handler, and reports the failure when the stream is closed.
pub(crate) trait ResponseSink: Debug {
    /// Opens the stream, and sends the first bytes.
    ///
    /// # Errors
    /// If `limit` is reached before they are sent.
    fn open(&mut self, head: Head, first: Vec<u8>, limit: &mut Limit) -> Result<(), Overrun>;

    /// Sends more bytes. Blocks until the system has taken them: a slow reader slows the handler down.
    ///
    /// # Errors
    /// If `limit` is reached before they are sent.
    fn send(&mut self, bytes: Vec<u8>, limit: &mut Limit) -> Result<(), Overrun>;
}

/// What a handler requests for its response. It is not trusted: any process that has the control pipe can write it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResponseRequest {
    /// The invocation that it belongs to.
    pub request_id: String,
    /// `file:line` of the call.
    pub place: String,
    /// `stream`, `http`, `http-stream`, or `http-exact`, whose body keeps newlines at its end; `error` for an error of the handler's own.
    pub kind: String,
    /// The content type; or the status, and `Name: value` for each header; or type, message and frames of the error.
    pub arguments: Vec<String>,
    /// How many arguments the handler gave. If they are too many, `arguments` is empty.
    pub argument_count: usize,
}

/// The response of one invocation.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    request_id: &'a str,
    event: &'a [u8],
    /// `None`: nobody wants the response.
    sink: Option<&'a mut dyn ResponseSink>,
    /// What was read and not sent yet.
    body: BodyBuffer,
    mode: Mode,
    /// What is wrong with a request of the handler. The invocation fails with it.
    fault: Option<String>,
    /// Newlines at the end of the body belong to it.
    is_exact: bool,
    /// The last error that the handler gave `lambda_error`.
    error: Option<OwnError>,
}

/// An error that the handler names itself. It counts only if the handler fails as `lambda_error` makes it fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnError {
    error_type: String,
    message: String,
    /// The functions that were running, as bash wrote them.
    frames: Vec<String>,
}

impl OwnError {
    /// The status of a handler that `lambda_error` has ended.
    pub(crate) const STATUS: i32 = 1;
    const MAX_TYPE_BYTES: usize = 128;

    /// `None` if the type is none that a header can have.
    pub(crate) fn from_arguments(arguments: &[String]) -> Option<Self> {
        let [error_type, message, frames @ ..] = arguments else {
            return None;
        };
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        let is_type = error_type.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && error_type.len() <= Self::MAX_TYPE_BYTES
            && error_type.bytes().all(is_allowed);
        is_type.then(|| Self {
            error_type: error_type.clone(),
            message: message.clone(),
            frames: frames.to_vec(),
        })
    }

    pub(crate) fn to_failure(&self) -> Failure {
        Failure {
            error_type: self.error_type.clone().into(),
            message: self.message.clone(),
            stack: self.frames.iter().map(|text| parse_frame(text)).collect(),
            quoted_bytes: 0,
        }
    }
}

#[derive(Debug)]
enum Mode {
    /// Posted after the handler has ended: as it is, or as an HTTP document.
    Buffered(Option<Prelude>),
    /// Streamed from the first byte on, with this head.
    StreamPending(Head),
    /// The stream is open.
    Streaming,
}

impl<'a> Response<'a> {
    /// The response to `invocation`. The handler can choose another mode.
    pub(crate) fn new(
        invocation: &'a Invocation,
        mode: ResponseMode,
        sink: &'a mut dyn ResponseSink,
    ) -> Self {
        Self {
            sink: Some(sink),
            mode: match mode {
                ResponseMode::Buffered => Mode::Buffered(None),
                ResponseMode::Streaming => {
                    Mode::StreamPending(Head::Content(DEFAULT_CONTENT_TYPE.to_owned()))
                }
            },
            request_id: &invocation.request_id,
            event: &invocation.event,
            ..Self::discarded()
        }
    }

    /// A response that is read and thrown away.
    pub(crate) fn discarded() -> Self {
        Self {
            request_id: "",
            event: &[],
            sink: None,
            body: BodyBuffer::default(),
            mode: Mode::Buffered(None),
            fault: None,
            is_exact: false,
            error: None,
        }
    }

    /// The error that the handler named before it ended with `status`.
    pub(crate) fn own_error(&self, status: i32) -> Option<&OwnError> {
        self.error.as_ref().filter(|_| status == OwnError::STATUS)
    }

    /// Whether bytes are sent as they come.
    pub(crate) fn is_streamed(&self) -> bool {
        !matches!(self.mode, Mode::Buffered(_))
    }

    /// How many bytes were read and not sent.
    pub(crate) fn unsent_len(&self) -> usize {
        self.body.len()
    }

    /// The last `count` bytes that were read and not sent, or fewer if there are not that many.
    pub(crate) fn unsent_end(&self, count: usize) -> &[u8] {
        let bytes = self.body.bytes();
        &bytes[bytes.len().saturating_sub(count)..]
    }

    /// Removes the last `count` bytes that were read and not sent.
    pub(crate) fn remove_end(&mut self, count: usize) {
        self.body.remove_last(count);
    }

    /// Drops what was read and not sent.
    pub(crate) fn drop_unsent(&mut self) {
        self.body = BodyBuffer::default();
    }

    /// Reads what is in the pipe now, and returns how many bytes that were. What a background job writes later does not belong
    /// to this response. Of a streamed response, as many of the unsent bytes are sent as `sendable_len` returns.
    ///
    /// # Errors
    /// If `limit` is reached before they are sent.
    pub(crate) fn read_from(
        &mut self,
        pipe: &File,
        limit: &mut Limit,
        sendable_len: impl Fn(&[u8]) -> usize,
    ) -> Result<usize, Overrun> {
        let ready = sys::bytes_ready(pipe);
        let mut total = 0;
        while total < ready {
            let count = self
                .body
                .read_from(pipe, ready - total, !self.is_streamed());
            if count == 0 {
                break;
            }
            total += count;
            if self.is_streamed() {
                self.send(sendable_len(self.body.bytes()), limit)?;
            }
        }
        Ok(total)
    }

    /// Applies a request of the handler. A request for another invocation's response is ignored: a process that is still
    /// running after its invocation may write one.
    ///
    /// # Errors
    /// If `limit` is reached before the stream is open.
    pub(crate) fn apply_request(
        &mut self,
        request: &ResponseRequest,
        limit: &mut Limit,
    ) -> Result<(), Overrun> {
        if request.kind == "error" && request.request_id == self.request_id {
            let error = OwnError::from_arguments(&request.arguments);
            self.error = error.or(self.error.take());
            return Ok(());
        }
        // A truncated body is too large in any case, and its beginning cannot be sent any more.
        if request.request_id != self.request_id || self.body.is_truncated() {
            return Ok(());
        }
        let mode = match self.requested_mode(request) {
            Ok(mode) => mode,
            Err(cause) => {
                let function = match request.kind.as_str() {
                    "stream" => "lambda_stream_response",
                    _ => "lambda_http_response",
                };
                let fault = format!("{function} in {}: {cause}", request.place);
                self.fault.get_or_insert(fault);
                return Ok(());
            }
        };
        self.mode = mode;
        self.is_exact = request.kind == "http-exact";
        if self.is_streamed() && self.fault.is_none() {
            self.open_stream(Vec::new(), limit)?;
            self.send(self.body.bytes().len(), limit)?;
        }
        Ok(())
    }

    fn requested_mode(&self, request: &ResponseRequest) -> Result<Mode, String> {
        if matches!(self.mode, Mode::Streaming) {
            return Err("the response has already started".to_owned());
        }
        if request.argument_count > request.arguments.len() {
            let count = request.argument_count.saturating_sub(1);
            return Err(format!("cannot send {count} headers: too many"));
        }
        if request.kind == "stream" {
            let content_type = request.arguments.first().map(|text| visible(text));
            let content_type = content_type.filter(|text| !text.is_empty());
            let content_type = content_type.unwrap_or(DEFAULT_CONTENT_TYPE.to_owned());
            return Ok(Mode::StreamPending(Head::Content(content_type)));
        }
        let prelude = Prelude::parse(&request.arguments)?;
        let is_buffered = matches!(request.kind.as_str(), "http" | "http-exact");
        Ok(if self.is_streamed() || !is_buffered {
            let json = Value::Object(prelude.into_json(AnswerForm::of(self.event))).to_string();
            Mode::StreamPending(Head::Http(json))
        } else {
            Mode::Buffered(Some(prelude))
        })
    }

    /// The outcome of a handler that has succeeded; what is left of a streamed response is sent. Newlines at the end of a
    /// buffered response are removed unless `keep_newlines`.
    pub(crate) fn finish(&mut self, limit: &mut Limit, keep_newlines: bool) -> Outcome {
        if let Some(message) = self.fault.take() {
            return Outcome::Failure(Failure {
                error_type: "Function.InvalidResponse".into(),
                message,
                stack: Vec::new(),
                quoted_bytes: 0,
            });
        }
        let prelude = match &mut self.mode {
            Mode::Buffered(prelude) => prelude.take(),
            Mode::StreamPending(_) | Mode::Streaming => {
                // If the limit is reached, the sink reports that the response is not complete.
                let _ = self.send_rest(limit);
                return Outcome::Response(Vec::new());
            }
        };
        let body = std::mem::take(&mut self.body).into_bytes(keep_newlines || self.is_exact);
        let response = match (body, prelude) {
            (Ok(body), Some(prelude)) => prelude.into_document(body, AnswerForm::of(self.event)),
            (body, _) => body,
        };
        response.map_or_else(response_too_large, Outcome::Response)
    }

    /// Sends the first `count` unsent bytes.
    fn send(&mut self, count: usize, limit: &mut Limit) -> Result<(), Overrun> {
        if count == 0 {
            return Ok(());
        }
        let bytes = self.body.take_first(count);
        match (&self.mode, &mut self.sink) {
            (Mode::Streaming, Some(sink)) => sink.send(bytes, limit),
            _ => self.open_stream(bytes, limit),
        }
    }

    /// Sends all unsent bytes. Opens the stream even if there are none: the response is empty then.
    fn send_rest(&mut self, limit: &mut Limit) -> Result<(), Overrun> {
        if matches!(self.mode, Mode::Streaming) {
            return self.send(self.body.bytes().len(), limit);
        }
        let bytes = self.body.take_first(usize::MAX);
        self.open_stream(bytes, limit)
    }

    fn open_stream(&mut self, first: Vec<u8>, limit: &mut Limit) -> Result<(), Overrun> {
        // After an invalid request nothing is sent: `finish` returns Function.InvalidResponse.
        let (Mode::StreamPending(head), Some(sink), None) =
            (&self.mode, &mut self.sink, &self.fault)
        else {
            return Ok(());
        };
        let head = head.clone();
        self.mode = Mode::Streaming;
        sink.open(head, first, limit)
    }
}

fn response_too_large(length: usize) -> Outcome {
    Outcome::Failure(Failure::new(
        "Function.ResponseSizeTooLarge",
        format!(
            "response of {length} bytes is larger than the {MAX_RESPONSE_BYTES} bytes that Lambda accepts"
        ),
    ))
}
