//! What the Runtime API answers.

use std::io::Read;

use ureq::http::{HeaderMap, StatusCode};

use coshell_wire::ErrorDocument;

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

/// An empty value is as good as none: the platform sends a header only when it has a value.
pub(crate) fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

/// The body of an answer to us: short, and read to its end so that the connection is kept.
pub(crate) fn read_text(mut body: impl std::borrow::BorrowMut<ureq::Body>) -> String {
    let mut bytes = Vec::new();
    let reader = body.borrow_mut().as_reader();
    // What cannot be read is left out: the status alone decides.
    let _ = reader.take(64 * 1024).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn refusal(status: StatusCode, text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_names_status_and_reason() {
        let text = r#"{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}"#;
        assert_eq!(
            refusal(StatusCode::BAD_REQUEST, text),
            "the Runtime API answered 400: InvalidRequestID: Invalid request ID"
        );
    }
}
