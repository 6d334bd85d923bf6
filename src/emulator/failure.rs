//! Why an invocation failed: the runtime's own error, or the platform's, worded as Lambda words it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use axum::body::Bytes;

use coshell_wire as wire;
use coshell_wire::ErrorDocument;

/// A failed init or invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `Runtime.Name`, `Function.Name` or `Sandbox.Name`.
    pub error_type: String,
    /// The error document: JSON, unless the runtime sent something else.
    pub document: Bytes,
}

impl Failure {
    /// The error document that a runtime sent. Its type comes from the header, or else from the document.
    pub fn from_runtime(error_type: Option<&str>, document: Bytes) -> Self {
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

    /// The deadline passed before the answer.
    pub(crate) fn timed_out(request_id: &str, timeout: Duration) -> Self {
        Self::with_request_id("Sandbox.Timedout", request_id, &timeout_message(timeout))
    }

    /// The bootstrap exited before the answer.
    pub(crate) fn exited(request_id: &str, status: ExitStatus) -> Self {
        Self::with_request_id("Runtime.ExitError", request_id, &exit_message(status))
    }

    /// The bootstrap could not be started.
    pub(crate) fn not_started(request_id: &str, cause: &str) -> Self {
        Self::with_request_id("Runtime.InvalidEntrypoint", request_id, cause)
    }

    /// The response was larger than [`wire::MAX_RESPONSE_BYTES`].
    pub(crate) fn response_too_large() -> Self {
        let limit = wire::MAX_RESPONSE_BYTES;
        let message =
            format!("Response payload size exceeded maximum allowed payload size ({limit} bytes).");
        Self::from_platform("Function.ResponseSizeTooLarge", &message)
    }

    /// The runtime sent an unknown response mode.
    pub(crate) fn invalid_response_mode() -> Self {
        let message = "Invalid response mode header";
        Self::from_platform("Runtime.InvalidResponseModeHeader", message)
    }

    /// An extension exited before it registered.
    pub(crate) fn extension_crashed(name: &str, status: ExitStatus) -> Self {
        let message = exit_message(status).replace("Runtime", "Extension");
        Self::from_platform("Extension.Crash", &format!("{name}: {message}"))
    }

    /// A streamed response broke off, because the sandbox ended or the deadline passed.
    pub(crate) fn truncated() -> Self {
        Self::from_platform("Runtime.TruncatedResponse", "Response was cut off")
    }

    fn with_request_id(error_type: &str, request_id: &str, message: &str) -> Self {
        let message = format!("RequestId: {request_id} Error: {message}");
        Self::from_platform(error_type, &message)
    }

    fn from_platform(error_type: &str, message: &str) -> Self {
        Self {
            error_type: error_type.to_owned(),
            document: platform_document(error_type, message).into(),
        }
    }
}

pub(crate) fn timeout_message(timeout: Duration) -> String {
    format!("Task timed out after {:.2} seconds", timeout.as_secs_f64())
}

/// Describes the exit of a bootstrap. Lambda is written in Go, so the status is worded as Go words it.
pub(crate) fn exit_message(status: ExitStatus) -> String {
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

/// An error document as the platform writes it: two keys in this order and no stack. A runtime writes a
/// [`wire::ErrorDocument`].
pub(crate) fn platform_document(error_type: &str, message: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        r#"{{"errorType":{},"errorMessage":{}}}"#,
        quoted(error_type),
        quoted(message)
    )
}

/// The name of a signal in Go's `syscall.Signal`. `signal(7)` lists the numbers.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn text(failure: &Failure) -> &str {
        std::str::from_utf8(&failure.document).unwrap_or("not UTF-8")
    }

    #[test]
    fn timeout_has_the_words_of_lambda() {
        assert_eq!(
            text(&Failure::timed_out("8476a536", Duration::from_secs(3))),
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 8476a536 Error: Task timed out after 3.00 seconds"}"#
        );
    }

    #[test]
    fn exit_has_the_words_of_lambda() {
        let message = |wait_status| exit_message(ExitStatus::from_raw(wait_status));
        assert_eq!(message(0), "Runtime exited without providing a reason");
        assert_eq!(message(1 << 8), "Runtime exited with error: exit status 1");
        assert_eq!(message(9), "Runtime exited with error: signal: killed");
        assert_eq!(
            message(0x8b),
            "Runtime exited with error: signal: segmentation fault (core dumped)"
        );
        assert_eq!(message(34), "Runtime exited with error: signal: signal 34");
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
        let error_type = |header| Failure::from_runtime(header, document.clone()).error_type;
        assert_eq!(error_type(Some("A.Outer")), "A.Outer");
        assert_eq!(error_type(None), "A.Inner");
        assert_eq!(Failure::from_runtime(None, Bytes::new()).error_type, "");
    }
}
