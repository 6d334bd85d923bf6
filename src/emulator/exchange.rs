//! One invocation between the doors: waiting, running, answered.
//!
//! ```text
//! waiting --next--> running --response, error, init error--> answered
//!                      \-- the sandbox ends, the deadline --> answered
//! ```
//!
//! An [`Exchange`] is opened by whoever has an event (`coshell invoke`), which keeps the
//! receiving end of its answer; [`runtime_api`](super::runtime_api) hands it to the bootstrap and
//! answers it once. The platform's own error documents are worded here too.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use tokio::sync::oneshot;

use crate::runtime_api::wire;

/// What the caller gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The response, byte for byte.
    Response(Bytes),
    /// A function error or an init error: its error document, JSON unless the runtime sent
    /// something else.
    Error(Bytes),
}

impl Answer {
    /// The deadline passed first: what Lambda says then.
    #[must_use]
    pub fn timed_out(request_id: &str, timeout: Duration) -> Self {
        let seconds = timeout.as_secs_f64();
        let what = format!("Task timed out after {seconds:.2} seconds");
        Self::of_sandbox("Sandbox.Timedout", request_id, &what)
    }

    /// The bootstrap ended first: what Lambda says then. The status is worded as Go words it,
    /// which Lambda is written in.
    #[must_use]
    pub fn exited(request_id: &str, status: ExitStatus) -> Self {
        let what = match (status.code(), status.signal()) {
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
        };
        Self::of_sandbox("Runtime.ExitError", request_id, &what)
    }

    /// The response was larger than [`wire::MAX_RESPONSE_BYTES`]: what Lambda says then.
    #[must_use]
    pub fn response_too_large() -> Self {
        let limit = wire::MAX_RESPONSE_BYTES;
        let what =
            format!("Response payload size exceeded maximum allowed payload size ({limit} bytes).");
        Self::Error(platform_document("Function.ResponseSizeTooLarge", &what).into())
    }

    fn of_sandbox(error_type: &str, request_id: &str, what: &str) -> Self {
        let message = format!("RequestId: {request_id} Error: {what}");
        Self::Error(platform_document(error_type, &message).into())
    }
}

/// An error document as the platform itself writes it: two keys in this order, and no stack, in
/// contrast to a runtime's [`wire::ErrorDocument`].
#[must_use]
pub fn platform_document(error_type: &str, message: &str) -> String {
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
pub struct Exchange {
    /// Names the invocation: a random UUID.
    pub request_id: String,
    /// Names the attempt: a random UUID, which the answer has to bring back if it brings any.
    pub invocation_id: String,
    /// The X-Ray trace header; made here, not sampled.
    pub trace_id: String,
    /// The ARN that was invoked.
    pub function_arn: String,
    /// When the invocation times out: milliseconds since the epoch.
    pub deadline_ms: u128,
    /// The event, byte for byte.
    pub event: Bytes,
    /// Where the answer goes; gone once it is given.
    answer: Option<oneshot::Sender<Answer>>,
}

impl Exchange {
    /// An exchange whose time starts to run now, and where its answer will arrive.
    ///
    /// # Errors
    /// When `/dev/urandom`, which the ids are made from, cannot be read.
    pub fn open(
        event: Bytes,
        function_arn: &str,
        timeout: Duration,
    ) -> io::Result<(Self, oneshot::Receiver<Answer>)> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let (answer, receiver) = oneshot::channel();
        let exchange = Self {
            request_id: uuid(random_bytes()?),
            invocation_id: uuid(random_bytes()?),
            trace_id: trace_id(now.as_secs(), &random_bytes::<20>()?),
            function_arn: function_arn.to_owned(),
            deadline_ms: now.saturating_add(timeout).as_millis(),
            event,
            answer: Some(answer),
        };
        Ok((exchange, receiver))
    }

    /// Whether the caller has its answer.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.answer.is_none()
    }

    /// Gives the caller its answer; does nothing if it has one, or no longer waits.
    pub fn answer(&mut self, answer: Answer) {
        if let Some(sender) = self.answer.take() {
            // An error means that the caller has gone.
            let _ = sender.send(answer);
        }
    }
}

fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A version 4 UUID, RFC 9562, from random bytes.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
    format!("{a}-{b}-{c}-{}-{}", &digits[16..20], &digits[20..])
}

/// `Root=1-<seconds>-<24 digits>;Parent=<16 digits>;Sampled=0`, in hexadecimal digits:
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>.
fn trace_id(seconds: u64, random: &[u8; 20]) -> String {
    let (root, parent) = random.split_at(12);
    format!(
        "Root=1-{seconds:08x}-{};Parent={};Sampled=0",
        hex(root),
        hex(parent)
    )
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &Answer) -> &str {
        match answer {
            Answer::Response(bytes) | Answer::Error(bytes) => {
                std::str::from_utf8(bytes).unwrap_or("not UTF-8")
            }
        }
    }

    #[test]
    fn timeout_is_told_as_lambda_tells_it() {
        assert_eq!(
            text(&Answer::timed_out("8476a536", Duration::from_secs(3))),
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 8476a536 Error: Task timed out after 3.00 seconds"}"#
        );
    }

    #[test]
    fn end_of_bootstrap_is_told_as_lambda_tells_it() {
        let told = |raw| {
            let answer = Answer::exited("8476a536", ExitStatus::from_raw(raw));
            let message = text(&answer).split("Error: ").nth(1).unwrap_or_default();
            message.trim_end_matches("\"}").to_owned()
        };
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
    fn uuid_has_version_and_variant() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn trace_id_has_the_parts_that_x_ray_wants() {
        assert_eq!(
            trace_id(0x5759_e988, &[0xab; 20]),
            "Root=1-5759e988-abababababababababababab;Parent=abababababababab;Sampled=0"
        );
    }

    #[test]
    fn exchange_is_answered_once() -> io::Result<()> {
        let (mut exchange, mut receiver) =
            Exchange::open(Bytes::new(), "arn", Duration::from_secs(1))?;
        assert!(!exchange.is_answered());
        exchange.answer(Answer::Response(Bytes::from_static(b"first")));
        exchange.answer(Answer::Response(Bytes::from_static(b"second")));
        assert!(exchange.is_answered());
        assert_eq!(
            receiver.try_recv(),
            Ok(Answer::Response(Bytes::from_static(b"first")))
        );
        Ok(())
    }
}
