//! Messages within records: what someone sent, without what the services put around it.

use crate::document::string::quote;
use crate::document::{Document, Span};
use crate::encoding::Encoding;

use super::{EventSource, s3_record};

type Event = Result<String, String>;

/// A message of SNS in one of SQS, and an event of S3 in that: more are not opened.
const DEEPEST: usize = 3;

/// The events in a record.
pub(super) fn unwrapped(event: &Document<'_>, record: Span, source: EventSource) -> Vec<Event> {
    let names: &[&str] = match source {
        EventSource::Sqs | EventSource::SqsFifo => &["body"],
        EventSource::Sns => &["Sns", "Message"],
        EventSource::S3 => return vec![Ok(s3_record(event, record))],
        _ => match source.encoded().first() {
            Some(names) => {
                let Some(data) = event.find_string(record, names) else {
                    return vec![Ok("null".to_owned())];
                };
                return match decoded(&data, names) {
                    Ok(text) => opened(text, DEEPEST),
                    Err(cause) => vec![Err(cause)],
                };
            }
            None => return vec![Ok(event.raw(record).to_owned())],
        },
    };
    match event.find_string(record, names) {
        Some(text) => opened(text.into_owned(), DEEPEST),
        None => vec![Err(format!("it has no {}", names.join(".")))],
    }
}

/// The events that a message stands for.
fn opened(text: String, depth: usize) -> Vec<Event> {
    let Ok(message) = Document::borrowed(text.as_bytes()) else {
        // bash has no NUL.
        let has_nul = memchr::memchr(0, text.as_bytes()).is_some();
        return vec![Ok(if has_nul { quote(&text) } else { text })];
    };
    let root = message.root();
    let is_notification = message.find_string(root, &["Type"]).as_deref() == Some("Notification")
        && message.find(root, &["TopicArn"]).is_some();
    if is_notification
        && depth > 1
        && let Some(inner) = message.find_string(root, &["Message"])
    {
        return opened(inner.into_owned(), depth - 1);
    }
    if EventSource::of(&message) == EventSource::S3
        && let Some(records) = message.find_elements(root, &["Records"])
    {
        let records = records.into_iter();
        return records
            .map(|record| Ok(s3_record(&message, record)))
            .collect();
    }
    drop(message);
    vec![Ok(text)]
}

/// What base64 stands for, if that is text: JSON can hold no other bytes.
pub(super) fn decoded(data: &str, names: &[&str]) -> Result<String, String> {
    let name = names.join(".");
    let bytes = Encoding::Base64.decode(data.as_bytes());
    let bytes = bytes.map_err(|error| format!("its {name} is no base64: {error}"))?;
    String::from_utf8(bytes).map_err(|_| {
        format!("its {name} is not UTF-8; read it without --decode and --unwrap, and decode it into a file")
    })
}

/// The key of an object, as S3 encodes it in events.
pub(super) fn key(encoded: &str) -> Option<String> {
    let decoded = Encoding::UriPlus.decode(encoded.as_bytes()).ok()?;
    String::from_utf8(decoded).ok()
}
