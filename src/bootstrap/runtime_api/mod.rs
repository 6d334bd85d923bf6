//! Speaks to the Runtime API, over ureq.
//!
//! One kept connection, no proxy, no redirects, no timeouts. Each request has its own rules for
//! failures, which the points B, C, E and F of the contract name: what can be asked again is
//! asked again, an answer is never given twice, and nothing is retried without an end.
//! Neighbours: `wire.rs` has the words, `connection.rs` the socket, `restore.rs` what `SnapStart` asks;
//! `stream.rs` is the other way of a response.

mod connection;
mod extension;
mod posting;
mod restore;
mod stream;

use std::fmt::Write;
use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use ureq::Agent;
use ureq::http::{HeaderMap, Response, StatusCode};

use crate::error::{Error, Result};
use crate::invocation::{Invocation, Outcome};
use crate::wait::Signals;
pub(crate) use connection::WhenSent;
use connection::{NoResolver, Progress, RuntimeApiConnector, connect};
use coshell_handler::Failure;
use coshell_wire::{self as wire, ErrorDocument};
use extension::Extension;
use stream::Stream;

/// What `bootstrap` calls itself: Lambda records the first token as the runtime's release.
const USER_AGENT: &str = concat!("coshell/", env!("CARGO_PKG_VERSION"));
/// How long to wait before each further try, when the Runtime API does not answer at all.
const RETRY_AFTER: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
];
/// The event's length is believed, for the buffer's first size, up to this.
const MAX_RESERVED_BYTES: usize = 8 * 1024 * 1024;
/// The X-Ray cause is a header: kept well below the limit for all headers together.
const MAX_CAUSE_BYTES: usize = 48 * 1024;
const MAX_CAUSE_FRAMES: usize = 30;

/// What became of an answer that was posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Posted {
    /// 202: the platform has it.
    Accepted,
    /// The platform no longer waits for it, or does not want it; with the reason. The
    /// invocation is over all the same.
    Refused(String),
    /// The connection broke after the answer was sent: only the next invocation can tell
    /// whether it arrived. With the cause.
    Unknown(String),
}

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
type Asked<T> = std::result::Result<std::result::Result<T, String>, ureq::Error>;

/// A request that got no answer.
enum Broken {
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
        let invocation = self.insist(|| self.try_next());
        invocation.map_err(|cause| Error::NextInvocation {
            api: self.api.clone(),
            cause,
        })
    }

    /// Asks until there is an answer: four times, if it breaks off each time. `None` if we are asked to end.
    ///
    /// # Errors
    /// The cause, in words: the last one that could be tried again, or the first that is final.
    fn insist<T>(
        &self,
        mut ask: impl FnMut() -> Asked<T>,
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

    fn try_next(&self) -> Asked<Invocation> {
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
                Err(Broken::AfterSent(error)) => return Ok(Posted::Unknown(error.to_string())),
                // Bytes that never left can be sent again: that is no second answer.
                Err(Broken::BeforeSent(error)) => match waits.next() {
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
    ) -> std::result::Result<Response<ureq::Body>, Broken> {
        self.progress.reset();
        let mut request = self.agent.post(self.url(path)).content_type(wire::JSON);
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(*name, *value);
            }
        }
        request.send(body).map_err(|error| {
            if self.progress.is_sent() {
                Broken::AfterSent(error)
            } else {
                Broken::BeforeSent(error)
            }
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api)
    }
}

/// Kept connections, no proxy, no redirects, no timeouts. The first one may be `opened` already.
fn agent(
    api: &str,
    opened: Option<TcpStream>,
    progress: &Arc<Progress>,
    signals: &Arc<Signals>,
) -> Agent {
    let config = Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .max_idle_age(Duration::from_secs(24 * 3600))
        .max_response_header_size(64 * 1024)
        .user_agent(USER_AGENT)
        .accept("")
        .accept_encoding("")
        .build();
    let connector =
        RuntimeApiConnector::new(api, opened, Arc::clone(progress), Arc::clone(signals));
    Agent::with_parts(config, connector, NoResolver)
}

/// An empty value is as good as none: the platform sends a header only when it has a value.
fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

/// The body of an answer to us: short, and read to its end so that the connection is kept.
fn read_text(mut body: impl std::borrow::BorrowMut<ureq::Body>) -> String {
    let mut bytes = Vec::new();
    let reader = body.borrow_mut().as_reader();
    // What cannot be read is left out: the status alone decides.
    let _ = reader.take(64 * 1024).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn refusal(status: StatusCode, text: &str) -> String {
    let document = ErrorDocument::from_json(text.as_bytes());
    let reason = match document {
        Some(document) if !document.error_type.is_empty() => {
            format!("{}: {}", document.error_type, document.message)
        }
        _ => text.trim().chars().take(200).collect(),
    };
    let meaning = match status.as_u16() {
        403 => " (the Runtime API does not expect this call now)",
        410 => " (the answer came after the timeout)",
        413 => " (larger than Lambda takes)",
        _ => "",
    };
    let answered = format!("the Runtime API answered {}{meaning}", status.as_u16());
    if reason.is_empty() {
        answered
    } else {
        format!("{answered}: {}", reason.escape_debug())
    }
}

fn document(failure: &Failure) -> String {
    let stack_trace = failure.stack.iter().map(ToString::to_string).collect();
    ErrorDocument {
        message: failure.message.clone(),
        error_type: failure.error_type.to_owned(),
        stack_trace,
    }
    .to_json()
}

/// What X-Ray shows of a failure, as one line of ASCII; `None` if it would be too long.
fn xray_cause(failure: &Failure) -> Option<String> {
    let message: String = failure.message.chars().take(2048).collect();
    let cut = |text: &str| -> String { text.chars().take(200).collect() };
    let frames = failure.stack.iter().take(MAX_CAUSE_FRAMES);
    let stack: Vec<_> = frames
        .clone()
        .map(|frame| json!({"path": cut(&frame.file), "line": frame.line, "label": cut(&frame.function)}))
        .collect();
    let mut paths: Vec<_> = frames.map(|frame| cut(&frame.file)).collect();
    paths.sort_unstable();
    paths.dedup();
    let directory = std::env::current_dir().unwrap_or_default();
    let cause = json!({
        "working_directory": directory.to_string_lossy(),
        "exceptions": [{"message": message, "type": failure.error_type, "stack": stack}],
        "paths": paths,
    });
    let cause = to_ascii(&cause.to_string());
    (cause.len() <= MAX_CAUSE_BYTES).then_some(cause)
}

/// JSON text with every character that a header cannot hold written as `\uXXXX`.
fn to_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xray_cause_is_one_line_of_ascii_json() {
        let failure = Failure {
            error_type: "Function.HandlerFailed",
            message: "größer\n\u{1F600}\u{7f}".to_owned(),
            stack: Vec::new(),
            quoted_bytes: 0,
        };
        let cause = xray_cause(&failure).unwrap_or_default();
        assert!(
            cause.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
            "{cause}"
        );
        let value: serde_json::Value = serde_json::from_str(&cause).unwrap_or_default();
        assert_eq!(value["exceptions"][0]["message"], "größer\n\u{1F600}\u{7f}");
    }

    #[test]
    fn refusal_names_status_and_reason() {
        let text = r#"{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}"#;
        assert_eq!(
            refusal(StatusCode::BAD_REQUEST, text),
            "the Runtime API answered 400: InvalidRequestID: Invalid request ID"
        );
    }
}
