//! What the Runtime API replies to our requests.

use std::io::Read;

use ureq::http::{HeaderMap, StatusCode};

use coshell_wire::ErrorDocument;

const MAX_REPLY_BYTES: u64 = 64 * 1024;

/// What happened to an answer that was posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PostOutcome {
    /// The platform has it.
    Accepted,
    /// The platform does not want it, or not any more, for this reason. The invocation is over.
    Rejected(String),
    /// The connection broke, for this cause, after the answer was sent. The answer has not arrived if the platform sends the
    /// same invocation again.
    Unknown(String),
}

impl PostOutcome {
    /// Why `answer` did not arrive, or may not have arrived; `None` if Lambda has accepted it.
    pub(crate) fn describe_failure(&self, answer: &str) -> Option<String> {
        match self {
            Self::Accepted => None,
            Self::Rejected(reason) => Some(format!("Lambda rejected the {answer}: {reason}")),
            Self::Unknown(cause) => Some(format!(
                "cannot tell whether Lambda received the {answer}: {cause}"
            )),
        }
    }
}

/// The value of a header; `None` if it is absent or empty.
pub(crate) fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

/// The body of a reply, which is short. It is read to its end, so that the connection can be used again.
pub(crate) fn read_text(mut body: impl std::borrow::BorrowMut<ureq::Body>) -> String {
    let mut bytes = Vec::new();
    let reader = body.borrow_mut().as_reader();
    // A failure to read it does not matter: the status decides.
    let _ = reader.take(MAX_REPLY_BYTES).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Describes a reply that is no success.
pub(crate) fn describe_rejection(status: StatusCode, text: &str) -> String {
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
        413 => " (larger than Lambda accepts)",
        _ => "",
    };
    let text = format!("the Runtime API answered {}{meaning}", status.as_u16());
    if reason.is_empty() {
        text
    } else {
        format!("{text}: {}", reason.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejection_has_status_and_reason() {
        let text = r#"{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}"#;
        assert_eq!(
            describe_rejection(StatusCode::BAD_REQUEST, text),
            "the Runtime API answered 400: InvalidRequestID: Invalid request ID"
        );
    }
}
