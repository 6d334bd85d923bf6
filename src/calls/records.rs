//! The records of an event: one for each message, object or change that AWS hands over in it.

mod source;
mod unwrap;

use std::fmt::Write as _;

use crate::CallError;
use crate::document::string::quote;
use crate::document::{Document, Span};
use crate::order::{firsts, ordered};

pub use source::EventSource;

/// How records are handed on.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordOptions {
    /// A record is the message that is in it: the body of SQS, the message of SNS, the data of Kinesis, Kafka and MQ. In
    /// SQS a message of SNS is opened as well, and in both an event
    /// of S3, whose records are handed on.
    pub unwrap: bool,
    /// The data of Kinesis, Kafka and MQ are text instead of base64.
    pub decode: bool,
}

/// The records of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub source: EventSource,
    pub records: Vec<Record>,
}

/// What a function is called with for one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// JSON, or a message that is none and has no NUL; or why this record cannot be read: then it fails, and the others do not.
    /// [`Document::of_record`] reads both.
    ///
    /// The key of an S3 object is decoded; as it came it is in `s3.object.urlEncodedKey`.
    pub event: Result<String, String>,
    /// What `itemIdentifier` is for this record, as JSON. Records that came in one message share it.
    pub identifier: Option<String>,
}

/// The records of `event`, in their order.
///
/// # Errors
/// It has none.
pub fn records(event: &Document<'_>, options: RecordOptions) -> Result<Batch, CallError> {
    let source = EventSource::of(event);
    let spans = source.records(event).ok_or_else(|| {
        let has = event.listed_names(event.root());
        let cause = match has.as_str() {
            "" => "it has no fields".to_owned(),
            has => format!("it is of no source with records; it has {has}"),
        };
        CallError::failure(format!("cannot read the records of the event: {cause}"))
    })?;
    let mut records = Vec::with_capacity(spans.len());
    for span in spans {
        let identifier = source.identifier(event, span);
        let events = if options.unwrap {
            unwrap::unwrapped(event, span, source)
        } else {
            vec![whole(event, span, source, options.decode)]
        };
        records.extend(events.into_iter().map(|event| Record {
            event,
            identifier: identifier.clone(),
        }));
    }
    Ok(Batch { source, records })
}

/// The answer that says which records of a batch failed, by their identifiers.
pub fn batch_failures<'a>(identifiers: impl IntoIterator<Item = &'a str>) -> String {
    let identifiers: Vec<&str> = identifiers.into_iter().collect();
    let compare = |one, other| identifiers.get(one).cmp(&identifiers.get(other));
    let firsts = firsts(identifiers.len(), &compare);
    let mut json = r#"{"batchItemFailures":["#.to_owned();
    for ((number, first), identifier) in firsts.into_iter().enumerate().zip(&identifiers) {
        if number == first {
            let comma = if number > 0 { "," } else { "" };
            let _ = write!(json, r#"{comma}{{"itemIdentifier":{identifier}}}"#);
        }
    }
    json.push_str("]}");
    json
}

/// A record with what is encoded in it decoded.
fn whole(
    event: &Document<'_>,
    record: Span,
    source: EventSource,
    is_decoding: bool,
) -> Result<String, String> {
    if source == EventSource::S3 {
        return Ok(s3_record(event, record));
    }
    let mut changes = Vec::new();
    if is_decoding {
        for names in source.encoded() {
            if let Some(data) = event.find(record, names) {
                let text = unwrap::decoded(&event.string(data), names)?;
                changes.push((data, quote(&text)));
            }
        }
    }
    Ok(changed(event, record, &changes))
}

/// A record of S3 with its key decoded.
fn s3_record(event: &Document<'_>, record: Span) -> String {
    let mut changes = Vec::new();
    if let Some(key) = event.find(record, &["s3", "object", "key"])
        && let Some(decoded) = unwrap::key(&event.string(key))
    {
        let key_and_original = format!("{},\"urlEncodedKey\":{}", quote(&decoded), event.raw(key));
        changes.push((key, key_and_original));
    }
    changed(event, record, &changes)
}

/// The text of `record`, with other values for some of those in it.
fn changed(event: &Document<'_>, record: Span, changes: &[(Span, String)]) -> String {
    let place = |number: usize| changes.get(number).map(|(span, _)| span.start());
    let order = ordered(changes.len(), &|one, other| place(one).cmp(&place(other)));
    let mut text = String::with_capacity(record.end() - record.start() + 64);
    let mut at = record.start();
    for (span, new) in order.into_iter().filter_map(|number| changes.get(number)) {
        text.push_str(event.raw(Span::new(at, span.start())));
        text.push_str(new);
        at = span.end();
    }
    text.push_str(event.raw(Span::new(at, record.end())));
    text
}
