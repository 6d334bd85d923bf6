//! One invocation between the doors: waiting, running, answered.
//!
//! ```text
//! waiting --next--> running --response, error, init error--> answered
//!                      \-- the sandbox ends, the deadline --> answered
//! ```
//!
//! An [`Exchange`] is opened by whoever has an [`Event`], which keeps the receiving end of its
//! answer; [`runtime_api`](super::runtime_api) hands it to the bootstrap and answers it once. The
//! platform's own error documents are worded here too.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use coshell_wire as wire;
use coshell_wire::ErrorDocument;

/// What a caller hands in, and what comes with it.
#[derive(Debug, Clone, Default)]
pub struct Event {
    /// The event, byte for byte.
    pub body: Bytes,
    /// JSON from a mobile SDK, decoded.
    pub client_context: Option<String>,
    /// The tenant; a sandbox never serves two.
    pub tenant_id: Option<String>,
    /// The caller's X-Ray trace header; one is made if there is none.
    pub trace_id: Option<String>,
    /// The version or alias that was called.
    pub qualifier: Option<String>,
}

/// What the caller gets.
#[derive(Debug)]
pub enum Answer {
    /// The response, byte for byte.
    Response(Bytes),
    /// A response whose bytes are still coming.
    Stream(Stream),
    /// A function error or an init error.
    Error(Failure),
}

/// The error of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `Runtime.Name`, `Function.Name` or `Sandbox.Name`.
    pub error_type: String,
    /// The error document: JSON unless the runtime sent something else.
    pub document: Bytes,
}

/// A streamed response.
#[derive(Debug)]
pub struct Stream {
    /// What the runtime called its content.
    pub content_type: String,
    /// The content as it comes. A channel that closes before [`Piece::End`] was cut off.
    pub pieces: mpsc::Receiver<Piece>,
}

/// A part of a streamed response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Some bytes of the content.
    Data(Bytes),
    /// The last part; the failure if it failed midway.
    End(Option<Failure>),
}

impl Answer {
    /// The response when it is all there.
    ///
    /// # Errors
    /// The failure, also one that came after a part of the response.
    pub async fn whole(self) -> Result<Bytes, Failure> {
        let mut stream = match self {
            Self::Response(response) => return Ok(response),
            Self::Error(failure) => return Err(failure),
            Self::Stream(stream) => stream,
        };
        let mut response = Vec::new();
        while let Some(piece) = stream.pieces.recv().await {
            match piece {
                Piece::Data(data) => response.extend_from_slice(&data),
                Piece::End(None) => return Ok(response.into()),
                Piece::End(Some(failure)) => return Err(failure),
            }
        }
        Err(Failure::truncated())
    }
}

impl Failure {
    /// An error document of a runtime's, with the type that its header gave.
    pub fn of_runtime(error_type: Option<&str>, document: Bytes) -> Self {
        let error_type = error_type.map_or_else(
            || {
                ErrorDocument::from_json(&document)
                    .unwrap_or_default()
                    .error_type
            },
            ToOwned::to_owned,
        );
        Self {
            error_type,
            document,
        }
    }

    /// The deadline passed first: what Lambda says then.
    pub(crate) fn timed_out(request_id: &str, timeout: Duration) -> Self {
        Self::of_sandbox("Sandbox.Timedout", request_id, &timed_out_text(timeout))
    }

    /// The bootstrap ended first: what Lambda says then.
    pub(crate) fn exited(request_id: &str, status: ExitStatus) -> Self {
        Self::of_sandbox("Runtime.ExitError", request_id, &exited_text(status))
    }

    /// The bootstrap could not be started: what Lambda says then.
    pub(crate) fn not_started(request_id: &str, cause: &str) -> Self {
        Self::of_sandbox("Runtime.InvalidEntrypoint", request_id, cause)
    }

    /// The response was larger than [`wire::MAX_RESPONSE_BYTES`]: what Lambda says then.
    pub(crate) fn response_too_large() -> Self {
        let limit = wire::MAX_RESPONSE_BYTES;
        let what =
            format!("Response payload size exceeded maximum allowed payload size ({limit} bytes).");
        Self::of_platform("Function.ResponseSizeTooLarge", &what)
    }

    /// The runtime asked for a response mode that there is not: what Lambda says then.
    pub(crate) fn response_mode() -> Self {
        let what = "Invalid response mode header";
        Self::of_platform("Runtime.InvalidResponseModeHeader", what)
    }

    /// An extension ended before it had registered: what Lambda says then.
    pub(crate) fn extension_crashed(name: &str, status: ExitStatus) -> Self {
        let what = exited_text(status).replace("Runtime", "Extension");
        Self::of_platform("Extension.Crash", &format!("{name}: {what}"))
    }

    /// A streamed response that was cut off: the sandbox ended, or its time did.
    pub(crate) fn truncated() -> Self {
        Self::of_platform("Runtime.TruncatedResponse", "Response was cut off")
    }

    fn of_sandbox(error_type: &str, request_id: &str, what: &str) -> Self {
        Self::of_platform(
            error_type,
            &format!("RequestId: {request_id} Error: {what}"),
        )
    }

    fn of_platform(error_type: &str, message: &str) -> Self {
        Self {
            error_type: error_type.to_owned(),
            document: platform_document(error_type, message).into(),
        }
    }
}

/// What Lambda says of a deadline that has passed.
pub(crate) fn timed_out_text(timeout: Duration) -> String {
    format!("Task timed out after {:.2} seconds", timeout.as_secs_f64())
}

/// What Lambda says of a bootstrap that has ended. The status is worded as Go words it, which
/// Lambda is written in.
pub(crate) fn exited_text(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "Runtime exited without providing a reason".to_owned(),
        (Some(code), _) => format!("Runtime exited with error: exit status {code}"),
        (None, signal) => {
            let name = signal_name(signal.unwrap_or_default());
            let core = if status.core_dumped() {
                " (core dumped)"
            } else {
                ""
            };
            format!("Runtime exited with error: signal: {name}{core}")
        }
    }
}

/// An error document as the platform itself writes it: two keys in this order, and no stack, in
/// contrast to a runtime's [`wire::ErrorDocument`].
pub(crate) fn platform_document(error_type: &str, message: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        r#"{{"errorType":{},"errorMessage":{}}}"#,
        quoted(error_type),
        quoted(message)
    )
}

/// Signals as Go's `syscall.Signal` names them; `signal(7)` for the numbers.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGILL => "illegal instruction",
        libc::SIGTRAP => "trace/breakpoint trap",
        libc::SIGABRT => "aborted",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "floating point exception",
        libc::SIGKILL => "killed",
        libc::SIGUSR1 => "user defined signal 1",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGUSR2 => "user defined signal 2",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm clock",
        libc::SIGTERM => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// One invocation, from its event to its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Names the invocation: a random UUID.
    pub request_id: String,
    /// Names the attempt: a random UUID, which the answer has to bring back if it brings any.
    pub invocation_id: String,
    /// The X-Ray trace header: the caller's, or made here and not sampled.
    pub trace_id: String,
    /// The ARN that was invoked.
    pub function_arn: String,
    /// When the invocation times out: milliseconds since the epoch; 0 before its time runs.
    pub deadline_ms: u128,
    /// What the caller handed in.
    pub event: Event,
    timeout: Duration,
    /// Where the answer goes; gone once it is given.
    answer: Option<oneshot::Sender<Answer>>,
    handed_out: Option<oneshot::Sender<HandedOut>>,
}

/// The bootstrap has the event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandedOut {
    /// Since when.
    pub at: Instant,
    /// How often the sandbox had been idle by then: the invocation is over when it is once more.
    pub idle_count: u64,
}

/// What the one who opened an exchange waits for.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The answer.
    pub answer: oneshot::Receiver<Answer>,
    /// That the bootstrap has the event.
    pub handed_out: oneshot::Receiver<HandedOut>,
}

impl Exchange {
    /// An exchange whose time does not run yet, and where its answer will arrive.
    pub(crate) fn open(
        request_id: &str,
        event: Event,
        function_arn: &str,
        timeout: Duration,
    ) -> (Self, Opened) {
        let (answer, answer_receiver) = oneshot::channel();
        let (handed_out, handed_out_receiver) = oneshot::channel();
        let function_arn = match &event.qualifier {
            Some(qualifier) => format!("{function_arn}:{qualifier}"),
            None => function_arn.to_owned(),
        };
        let trace_id = event.trace_id.clone();
        let exchange = Self {
            request_id: request_id.to_owned(),
            invocation_id: new_id(),
            trace_id: trace_id.unwrap_or_else(|| new_trace_id(since_epoch().as_secs())),
            function_arn,
            deadline_ms: 0,
            event,
            timeout,
            answer: Some(answer),
            handed_out: Some(handed_out),
        };
        let opened = Opened {
            answer: answer_receiver,
            handed_out: handed_out_receiver,
        };
        (exchange, opened)
    }

    /// Its time starts to run now, if it does not run yet.
    pub(crate) fn begin(&mut self) {
        if self.deadline_ms == 0 {
            self.deadline_ms = since_epoch().saturating_add(self.timeout).as_millis();
        }
    }

    /// The bootstrap gets the event now, in a sandbox that has been idle so often.
    pub(crate) fn hand_out(&mut self, idle_count: u64) {
        self.begin();
        if let Some(sender) = self.handed_out.take() {
            let at = Instant::now();
            // An error means that nobody wants to know.
            let _ = sender.send(HandedOut { at, idle_count });
        }
    }

    /// Whether the caller has its answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.answer.is_none()
    }

    /// Gives the caller its answer; does nothing if it has one, or no longer waits.
    pub(crate) fn answer(&mut self, answer: Answer) {
        if let Some(sender) = self.answer.take() {
            // An error means that the caller has gone.
            let _ = sender.send(answer);
        }
        // Who waits for the event to be handed out need not wait any more.
        self.handed_out = None;
    }
}

/// The time since the epoch.
pub(super) fn since_epoch() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// A random UUID, which names an invocation, an attempt or a sandbox.
pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// `Root=1-<seconds>-<24 digits>;Parent=<16 digits>;Sampled=0`, in hexadecimal digits:
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>.
pub(super) fn new_trace_id(seconds: u64) -> String {
    let (root, parent) = (
        Uuid::new_v4().simple().to_string(),
        Uuid::new_v4().simple().to_string(),
    );
    format!(
        "Root=1-{seconds:08x}-{};Parent={};Sampled=0",
        &root[..24],
        &parent[..16]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(failure: &Failure) -> &str {
        std::str::from_utf8(&failure.document).unwrap_or("not UTF-8")
    }

    #[test]
    fn timeout_is_told_as_lambda_tells_it() {
        assert_eq!(
            text(&Failure::timed_out("8476a536", Duration::from_secs(3))),
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 8476a536 Error: Task timed out after 3.00 seconds"}"#
        );
    }

    #[test]
    fn end_of_bootstrap_is_told_as_lambda_tells_it() {
        let told = |raw| exited_text(ExitStatus::from_raw(raw));
        assert_eq!(told(0), "Runtime exited without providing a reason");
        assert_eq!(told(1 << 8), "Runtime exited with error: exit status 1");
        assert_eq!(told(9), "Runtime exited with error: signal: killed");
        assert_eq!(
            told(0x8b),
            "Runtime exited with error: signal: segmentation fault (core dumped)"
        );
        assert_eq!(told(34), "Runtime exited with error: signal: signal 34");
    }

    #[test]
    fn platform_document_escapes_its_texts() {
        assert_eq!(
            platform_document("A.B", "say \"no\"\n"),
            r#"{"errorType":"A.B","errorMessage":"say \"no\"\n"}"#
        );
    }

    #[test]
    fn failure_has_the_type_of_the_header_or_else_of_the_document() {
        let document = Bytes::from_static(br#"{"errorType":"A.Inner"}"#);
        let of = |header| Failure::of_runtime(header, document.clone()).error_type;
        assert_eq!(of(Some("A.Outer")), "A.Outer");
        assert_eq!(of(None), "A.Inner");
        assert_eq!(Failure::of_runtime(None, Bytes::new()).error_type, "");
    }

    #[test]
    fn trace_id_has_the_parts_that_x_ray_wants() {
        let trace_id = new_trace_id(0x5759_e988);
        let digits = |text: &str, count| {
            text.len() == count && text.chars().all(|digit| digit.is_ascii_hexdigit())
        };
        let rest = trace_id
            .strip_prefix("Root=1-5759e988-")
            .unwrap_or_default();
        let (root, rest) = rest.split_once(";Parent=").unwrap_or_default();
        let parent = rest.strip_suffix(";Sampled=0").unwrap_or_default();
        assert!(digits(root, 24) && digits(parent, 16), "{trace_id}");
    }

    #[test]
    fn exchange_is_answered_once() {
        let (mut exchange, mut opened) =
            Exchange::open("id", Event::default(), "arn", Duration::from_secs(1));
        assert!(!exchange.is_answered());
        exchange.answer(Answer::Response(Bytes::from_static(b"first")));
        exchange.answer(Answer::Response(Bytes::from_static(b"second")));
        assert!(exchange.is_answered());
        assert!(
            matches!(opened.answer.try_recv(), Ok(Answer::Response(bytes)) if bytes.as_ref() == b"first")
        );
    }

    #[test]
    fn arn_ends_in_the_qualifier_that_was_called() {
        let event = Event {
            qualifier: Some("live".to_owned()),
            ..Event::default()
        };
        let (exchange, _) = Exchange::open("id", event, "arn", Duration::from_secs(1));
        assert_eq!(exchange.function_arn, "arn:live");
    }

    #[test]
    fn time_runs_from_the_first_beginning() {
        let timeout = Duration::from_secs(1);
        let (mut exchange, mut opened) = Exchange::open("id", Event::default(), "arn", timeout);
        assert_eq!(exchange.deadline_ms, 0);
        exchange.begin();
        let deadline_ms = exchange.deadline_ms;
        assert!(deadline_ms > since_epoch().as_millis());
        exchange.hand_out(3);
        exchange.hand_out(4);
        assert_eq!(exchange.deadline_ms, deadline_ms);
        let handed_out = opened.handed_out.try_recv();
        assert!(handed_out.is_ok_and(|handed_out| handed_out.idle_count == 3));
    }
}
