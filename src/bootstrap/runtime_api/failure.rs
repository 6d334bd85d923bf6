//! Failures in the Runtime API's formats: the error document for the caller, the same as trailers of a streamed response, and a
//! header for X-Ray.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{HeaderMap, HeaderValue};
use serde_json::json;

use coshell_handler::Failure;
use coshell_wire::{self as wire, ErrorDocument};

/// Well below what servers accept.
const MAX_TRAILER_BYTES: usize = 12 * 1024;
/// Well below the limit for all headers together.
const MAX_CAUSE_BYTES: usize = 48 * 1024;
const MAX_CAUSE_FRAMES: usize = 30;

pub(crate) fn error_document(failure: &Failure) -> String {
    let stack_trace = failure.stack.iter().map(ToString::to_string).collect();
    ErrorDocument {
        message: failure.message.clone(),
        error_type: failure.error_type.to_string(),
        stack_trace,
    }
    .to_json()
}

/// What X-Ray shows of a failure: JSON, as one line of ASCII. `None` if it would be too long.
pub(crate) fn xray_cause(failure: &Failure) -> Option<String> {
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

/// Writes every character that a header cannot contain as `\uXXXX`.
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

/// The trailers that report a failure after a part of the response was streamed.
pub(crate) fn trailers(failure: &Failure) -> HeaderMap {
    let mut frames = failure.stack.iter().map(ToString::to_string).collect();
    let mut message: &str = &failure.message;
    let body = loop {
        let document = ErrorDocument {
            message: message.to_owned(),
            error_type: failure.error_type.to_string(),
            stack_trace: frames,
        };
        let body = BASE64_STANDARD.encode(document.to_json());
        frames = document.stack_trace;
        if body.len() <= MAX_TRAILER_BYTES {
            break body;
        }
        // Shorten it: first by the end of the log, then by the outer frames, then by the message.
        match message.split_once('\n') {
            Some((first_line, _)) => message = first_line,
            None if !frames.is_empty() => frames.truncate(frames.len() / 2),
            None => {
                let half = message.len() / 2;
                let end = (0..=half)
                    .rev()
                    .find(|index| message.is_char_boundary(*index));
                message = &message[..end.unwrap_or(0)];
            }
        }
    };
    let mut trailers = HeaderMap::new();
    if let Ok(error_type) = HeaderValue::from_str(&failure.error_type) {
        trailers.insert(wire::ERROR_TYPE, error_type);
    }
    if let Ok(body) = HeaderValue::from_str(&body) {
        trailers.insert(wire::ERROR_BODY, body);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xray_cause_is_one_line_of_ascii_json() {
        let failure = Failure::new(
            "Function.HandlerFailed",
            "größer\n\u{1F600}\u{7f}".to_owned(),
        );
        let cause = xray_cause(&failure).unwrap_or_default();
        assert!(
            cause.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
            "{cause}"
        );
        let value: serde_json::Value = serde_json::from_str(&cause).unwrap_or_default();
        assert_eq!(value["exceptions"][0]["message"], "größer\n\u{1F600}\u{7f}");
    }
}
