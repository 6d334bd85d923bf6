//! The messages of a log, out of whatever it was exported as.
//!
//! | What | Told by |
//! |---|---|
//! | gzip around any of these | its first two bytes |
//! | documents with events in them: `filter-log-events`, Insights, a subscription, `invoke`, Docker's own | the first document |
//! | CSV of the console and of Insights | the first line, which names the columns |
//! | `LogResult` by itself, a line each | the first line, which is base64 of a log |
//! | lines, with what `aws logs tail`, an export or Docker puts before them; platform events among them | none of these |
//!
//! What the first document of a file is, all are: one that a handler printed is never taken for an export.

use std::fmt;
use std::io::Read;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::MultiGzDecoder;
use serde_json::{Deserializer, Value};

/// One message, as the function or Lambda wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Text; or a document, where the export has it taken apart.
    pub body: Value,
    /// The function's name, if the export tells.
    pub function: Option<String>,
    /// The log stream, if the export tells.
    pub stream: Option<String>,
    /// Where it stands.
    pub(crate) place: Place,
}

/// Where a message stands in its file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file of lines.
    Line(usize),
    /// In a file of documents.
    Event(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Event(number) => write!(f, "event {number}"),
        }
    }
}

/// The messages of a file.
///
/// # Errors
/// When it begins as one of the kinds above and does not go on as such: why.
pub fn messages(bytes: &[u8]) -> Result<Vec<Message>, String> {
    let text = text(bytes)?;
    let mut documents = Deserializer::from_str(&text).into_iter::<Value>();
    match documents.next() {
        Some(Ok(first)) if is_export(&first) => {
            let mut found = Events::default();
            found.add_document(&first)?;
            for document in documents {
                found.add_document(&document.map_err(|error| error.to_string())?)?;
            }
            return Ok(found.0);
        }
        Some(Err(error)) if error.is_eof() => return Err(error.to_string()),
        _ => {}
    }
    let head = text.trim_start().lines().next().unwrap_or_default();
    if columns(head).any(|column| is_message_column(column) || column.starts_with('@')) {
        return of_csv(&text);
    }
    if log_result(head).is_ok_and(|log| log.contains("RequestId")) {
        return of_log_results(&text);
    }
    Ok(of_lines(&text))
}

/// Any text: what a handler logged need not be UTF-8, and Windows writes UTF-16 to a file.
fn text(bytes: &[u8]) -> Result<String, String> {
    let mut unpacked = Vec::new();
    let bytes = if bytes.starts_with(b"\x1f\x8b") {
        let read = MultiGzDecoder::new(bytes).read_to_end(&mut unpacked);
        read.map_err(|error| format!("it is gzip, and damaged: {error}"))?;
        &unpacked
    } else {
        bytes
    };
    let units = |bytes: &[u8]| -> Vec<u16> {
        let pairs = bytes.chunks_exact(2);
        pairs
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    };
    Ok(if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        String::from_utf16_lossy(&units(rest))
    } else {
        let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        String::from_utf8_lossy(rest).into_owned()
    })
}

/// Whether documents of this shape hold messages, in place of being one.
fn is_export(document: &Value) -> bool {
    match document {
        Value::Array(all) => all.iter().all(|one| is_event(one) || is_platform(one)),
        Value::String(text) => log_result(text).is_ok(),
        _ => {
            ["events", "logEvents", "results"]
                .iter()
                .any(|name| document[name].is_array())
                || document["LogResult"].is_string()
                || is_event(document)
        }
    }
}

/// An event of CloudWatch's or of Docker's. A document that Lambda's JSON format makes of what a handler printed has
/// a `message` too, and none of the rest.
fn is_event(document: &Value) -> bool {
    let has = |name| document.get(name).is_some();
    has("@message")
        || has("message") && (has("logStreamName") || has("ingestionTime") || has("eventId"))
        || has("log") && has("stream") && has("time")
}

fn is_platform(document: &Value) -> bool {
    document["type"].is_string() && document.get("record").is_some()
}

#[derive(Default)]
struct Events(Vec<Message>);

impl Events {
    fn add(&mut self, body: Value, function: Option<String>, stream: Option<&str>) {
        self.0.push(Message {
            body,
            function: function.or_else(|| function_in_stream(stream?)),
            stream: stream.map(str::to_owned),
            place: Place::Event(self.0.len() + 1),
        });
    }

    fn add_document(&mut self, document: &Value) -> Result<(), String> {
        let list = |name: &str| document[name].as_array();
        if let Value::Array(all) = document {
            for one in all {
                self.add_event(one, None, None);
            }
        } else if let Some(text) = document["LogResult"].as_str().or(document.as_str()) {
            for line in log_result(text)?.lines() {
                self.add(line.into(), None, None);
            }
        } else if let Some(events) = list("logEvents").or_else(|| list("events")) {
            let group = document["logGroup"].as_str();
            let stream = document["logStream"].as_str();
            for event in events {
                self.add_event(event, group, stream);
            }
        } else if let Some(rows) = list("results") {
            if let Some(status) = document["status"].as_str().filter(|it| *it != "Complete") {
                return Err(format!(
                    "it has a part of its results, its status is {status}"
                ));
            }
            for row in rows.iter().filter_map(Value::as_array) {
                let fields = row.iter().filter_map(|field| {
                    Some((field["field"].as_str()?.to_owned(), field["value"].clone()))
                });
                self.add_event(&Value::Object(fields.collect()), None, None);
            }
        } else {
            self.add_event(document, None, None);
        }
        Ok(())
    }

    fn add_event(&mut self, event: &Value, group: Option<&str>, stream: Option<&str>) {
        let of = |names: &[&str]| names.iter().find_map(|name| event[name].as_str());
        let function = of(&["@log", "logGroupName", "logGroup"])
            .or(group)
            .map(function_of_group);
        let stream = of(&["@logStream", "logStreamName", "logStream"]).or(stream);
        let body = ["@message", "message", "log"]
            .iter()
            .find_map(|name| event.get(name));
        self.add(body.unwrap_or(event).clone(), function, stream);
    }
}

/// `/aws/lambda/<name>`, with the account's number before it in Insights; any other group is its own name.
fn function_of_group(group: &str) -> String {
    let group = group
        .split_once(':')
        .map_or(group, |(_account, group)| group);
    group
        .strip_prefix("/aws/lambda/")
        .unwrap_or(group)
        .to_owned()
}

/// `2026/10/08/<name>[<version>]<digits>`, where functions share a group; without a name where they do not.
fn function_in_stream(stream: &str) -> Option<String> {
    let (name, _version) = stream.split('/').nth(3)?.split_once('[')?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// What `LogResult` has: the last 4 KiB of a log, the first line of which may be cut.
fn log_result(text: &str) -> Result<String, String> {
    let bytes = BASE64_STANDARD.decode(text.trim());
    let bytes = bytes.map_err(|error| format!("LogResult is no base64: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn of_log_results(text: &str) -> Result<Vec<Message>, String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let log = log_result(line).map_err(|error| format!("line {number}: {error}"))?;
        found.extend(log.lines().map(|line| Message {
            body: line.into(),
            function: None,
            stream: None,
            place: Place::Line(number),
        }));
    }
    Ok(found)
}

fn columns(head: &str) -> impl Iterator<Item = &str> {
    head.split(',').map(|name| name.trim().trim_matches('"'))
}

fn is_message_column(name: &str) -> bool {
    matches!(name, "@message" | "message" | "Message")
}

fn of_csv(text: &str) -> Result<Vec<Message>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.trim_start().as_bytes());
    let names = reader.headers().map_err(|error| error.to_string())?.clone();
    let column = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.trim()));
    let message = names.iter().position(|name| is_message_column(name.trim()));
    let message = message.ok_or(
        "it has no column @message; the query needs `fields @timestamp, @message, @log, @logStream`",
    )?;
    let (group, stream) = (
        column(&["@log", "logGroup"]),
        column(&["@logStream", "logStreamName", "logStream"]),
    );
    let mut found = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| error.to_string())?;
        let cell = |at: Option<usize>| at.and_then(|at| row.get(at)).filter(|it| !it.is_empty());
        let line = row.position().map_or(0, csv::Position::line);
        let stream = cell(stream);
        found.push(Message {
            body: row.get(message).unwrap_or_default().into(),
            function: cell(group)
                .map(function_of_group)
                .or_else(|| function_in_stream(stream?)),
            stream: stream.map(str::to_owned),
            place: Place::Line(usize::try_from(line).unwrap_or(usize::MAX)),
        });
    }
    Ok(found)
}

fn of_lines(text: &str) -> Vec<Message> {
    let mut found = Vec::new();
    let (mut rest, mut number) = (text, 1);
    while !rest.is_empty() {
        let end = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let (message, stream) = without_prefix(rest[..end].trim());
        // `message` begins somewhere in `rest`; an event goes on as long as it does.
        let at = message.as_ptr() as usize - rest.as_ptr() as usize;
        let (body, end) = match event_at(&rest[at..]) {
            Some((event, length)) => (event, at + length),
            None => (message.into(), end),
        };
        found.push(Message {
            body,
            function: stream.and_then(function_in_stream),
            stream: stream.map(str::to_owned),
            place: Place::Line(number),
        });
        number += rest[..end].matches('\n').count();
        rest = &rest[end..];
    }
    found
}

/// A platform event at the start of `text`, over as many lines as it takes, and its length.
fn event_at(text: &str) -> Option<(Value, usize)> {
    if !text.starts_with('{') {
        return None;
    }
    let mut documents = Deserializer::from_str(text).into_iter::<Value>();
    let event = documents.next()?.ok().filter(is_platform)?;
    let length = documents.byte_offset();
    let end = text[length..]
        .find('\n')
        .map_or(text.len(), |end| length + end + 1);
    Some((event, end))
}

/// A line without what tools put before a message (times, the log stream, a container's name), and
/// that stream.
fn without_prefix(line: &str) -> (&str, Option<&str>) {
    let (mut rest, mut stream) = (line, None);
    loop {
        let Some((word, after)) = rest.split_once([' ', '\t']) else {
            return (rest, stream);
        };
        let after = after.trim_start();
        let is_time = word.starts_with(|first: char| first.is_ascii_digit())
            && word
                .chars()
                .all(|letter| letter.is_ascii_digit() || "-:.,TZ+/".contains(letter));
        if is_stream(word) {
            stream = Some(word);
            rest = after;
        } else if is_time {
            rest = after;
        } else if let Some(line) = after.strip_prefix("| ").filter(|_| rest == line) {
            // docker compose logs: `<container>  | <line>`.
            rest = line;
        } else {
            return (rest, stream);
        }
    }
}

/// `2026/10/08/[$LATEST]<digits>`.
fn is_stream(word: &str) -> bool {
    let starts_as_date = word
        .bytes()
        .zip(*b"0000/00/00/")
        .all(|(found, shape)| found == shape || shape == b'0' && found.is_ascii_digit());
    word.len() > 11 && starts_as_date && word.contains('[') && word.contains(']')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_message_is_taken_off() {
        let stream = "2026/10/08/[$LATEST]60cefc";
        for (line, expected) in [
            ("START RequestId: 1", ("START RequestId: 1", None)),
            ("2026-10-08T07:30:29.470Z START 1", ("START 1", None)),
            ("2026-10-08 07:30:29\tSTART 1", ("START 1", None)),
            (
                "2026-10-08T09:30:29.470000+02:00 2026/10/08/[$LATEST]60cefc START 1",
                ("START 1", Some(stream)),
            ),
            (
                "2026/10/08/[$LATEST]60cefc 2026-10-08T07:30:29.470000 START 1",
                ("START 1", Some(stream)),
            ),
            ("function-1  | START 1", ("START 1", None)),
            ("function-1  | other | START 1", ("other | START 1", None)),
            (
                "2026-10-08T07:30:29.470Z INFO START 1",
                ("INFO START 1", None),
            ),
            ("", ("", None)),
        ] {
            assert_eq!(without_prefix(line), expected, "{line}");
        }
    }

    #[test]
    fn streams_and_groups_name_functions() {
        assert_eq!(
            function_in_stream("2026/10/08/echo[$LATEST]60cefc").as_deref(),
            Some("echo")
        );
        assert_eq!(function_in_stream("2026/10/08/[$LATEST]60cefc"), None);
        assert_eq!(function_in_stream("of-our-own"), None);
        assert_eq!(function_of_group("/aws/lambda/echo"), "echo");
        assert_eq!(function_of_group("123456789012:/aws/lambda/echo"), "echo");
        assert_eq!(function_of_group("shared"), "shared");
    }

    #[test]
    fn text_of_windows_is_read() {
        let line = "REPORT RequestId: 1\tDuration: 1.00 ms\r\n";
        let utf16: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [
            [&b"\xff\xfe"[..], &utf16].concat(),
            [&b"\xef\xbb\xbf"[..], line.as_bytes()].concat(),
        ] {
            let found = messages(&bytes).unwrap();
            assert_eq!(found[0].body, line.trim_end(), "{bytes:?}");
        }
    }

    #[test]
    fn what_begins_as_an_export_and_is_none_is_told() {
        let failure = |text: &str| messages(text.as_bytes()).unwrap_err();
        assert!(failure(r#"{"events":[{"message":"#).contains("EOF"));
        assert!(failure("{\"LogResult\":\"QUJD\"}\n{\"LogResult\":").contains("EOF"));
        assert!(failure(r#"{"LogResult":"*"}"#).starts_with("LogResult is no base64: "));
        assert!(failure(r#"{"results":[],"status":"Running"}"#).contains("its status is Running"));
        assert!(failure("@timestamp,@duration\n1,2\n").contains("no column @message"));
        let result = BASE64_STANDARD.encode("START RequestId: 1");
        assert!(failure(&format!("{result}\n*\n")).starts_with("line 2: LogResult is no base64"));
        assert!(
            messages(b"\x1f\x8bnothing")
                .unwrap_err()
                .starts_with("it is gzip, and damaged: ")
        );
    }

    #[test]
    fn a_message_is_where_it_stands() {
        let text = "one\n\n2026-10-08T07:30:29.470Z\n{\n  \"type\": \"platform.report\",\n  \"record\": {}\n}\nlast";
        let found = messages(text.as_bytes()).unwrap();
        let lines: Vec<_> = found.iter().map(|message| message.place).collect();
        assert_eq!(lines, [1, 2, 3, 4, 8].map(Place::Line));
        assert!(found[3].body.is_object() && found[4].body == "last");
    }
}
