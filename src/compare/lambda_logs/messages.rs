//! Reads the messages of a log, whatever it was exported as.
//!
//! | What | Known by |
//! |---|---|
//! | gzip around any of these | its first two bytes |
//! | documents with events in them: `filter-log-events`, Insights, a subscription, `invoke`, Docker's own | the first document |
//! | CSV of the console and of Insights | the first line, which names the columns |
//! | `LogResult` by itself, one in each line | the first line, which is base64 of a log |
//! | lines, with what `aws logs tail`, an export or Docker puts before them; platform events among them | none of these |
//!
//! All documents of a file are of the kind of the first: one that a handler printed is never taken for an export.

use std::io::{self, Read};

use serde_json::{Deserializer, Value};

use super::documents::{is_cut_export, is_export, read_documents};
use super::lines::read_lines;
use super::message::{Message, Place, function_in_stream, function_of_group, log_result};
use super::stream::{Elements, LOOK_AHEAD, Window, peek, text_of};

/// Gives each message of a file to `each`.
///
/// # Errors
/// If it begins as one of the kinds above and does not go on as such: why.
pub(super) fn read_messages(input: impl Read, mut each: impl FnMut(Message)) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    let (head, input) = peek(text_of(input).map_err(words)?, LOOK_AHEAD).map_err(words)?;
    let is_whole = head.len() < LOOK_AHEAD;
    let head = String::from_utf8_lossy(&head);
    let mut documents = Deserializer::from_str(&head).into_iter::<Value>();
    let is_documents = match documents.next() {
        Some(Ok(first)) => is_export(&first),
        Some(Err(error)) if error.is_eof() && is_whole => return Err(error.to_string()),
        Some(Err(error)) if error.is_eof() => is_cut_export(&head),
        _ => false,
    };
    if is_documents {
        return read_documents(input, each);
    }
    let first = head.trim_start().lines().next().unwrap_or_default();
    if columns(first).any(|column| is_message_column(column) || column.starts_with('@')) {
        return read_csv(input, each);
    }
    if log_result(first).is_ok_and(|log| log.contains("RequestId")) {
        return read_log_results(input, each);
    }
    read_lines(input, &mut each).map_err(words)
}

fn read_log_results(input: impl Read, mut each: impl FnMut(Message)) -> Result<(), String> {
    let mut window = Window::new(input);
    for number in 1.. {
        let text = window.ahead().map_err(|error| error.to_string())?;
        if text.is_empty() {
            break;
        }
        // A line that is longer than the window is no LogResult.
        let length = text.find('\n').map_or(text.len(), |end| end + 1);
        let line = text[..length].trim();
        if !line.is_empty() {
            let log = log_result(line).map_err(|error| format!("line {number}: {error}"))?;
            for line in log.lines() {
                each(Message {
                    body: line.into(),
                    function: None,
                    stream: None,
                    place: Place::Line(number),
                });
            }
        }
        window.skip(length);
    }
    Ok(())
}

fn columns(head: &str) -> impl Iterator<Item = &str> {
    head.split(',').map(|name| name.trim().trim_matches('"'))
}

fn is_message_column(name: &str) -> bool {
    matches!(name, "@message" | "message" | "Message")
}

fn read_csv(input: impl Read, mut each: impl FnMut(Message)) -> Result<(), String> {
    let input = without_leading_space(input).map_err(|error| error.to_string())?;
    let (input, next) = Elements::new(input);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let names = reader.headers().map_err(csv_words)?.clone();
    let column = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.trim()));
    let message = names.iter().position(|name| is_message_column(name.trim()));
    let message = message.ok_or(
        "it has no column @message; the query needs `fields @timestamp, @message, @log, @logStream`",
    )?;
    let (group, stream) = (
        column(&["@log", "logGroup"]),
        column(&["@logStream", "logStreamName", "logStream"]),
    );
    for row in reader.records() {
        let row = row.map_err(csv_words)?;
        next.begin();
        let cell = |column: Option<usize>| {
            let text = column.and_then(|column| row.get(column));
            text.filter(|text| !text.is_empty())
        };
        let line = row.position().map_or(0, csv::Position::line);
        let stream = cell(stream);
        each(Message {
            body: row.get(message).unwrap_or_default().into(),
            function: cell(group)
                .map(function_of_group)
                .or_else(|| function_in_stream(stream?)),
            stream: stream.map(str::to_owned),
            place: Place::Line(usize::try_from(line).unwrap_or(usize::MAX)),
        });
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "map_err gives it by value")]
fn csv_words(error: csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Io(cause) => cause.to_string(),
        _ => error.to_string(),
    }
}

/// The text without the empty lines at its start.
fn without_leading_space(input: impl Read) -> io::Result<impl Read> {
    let (head, mut input) = peek(input, LOOK_AHEAD)?;
    let space = head.iter().take_while(|byte| byte.is_ascii_whitespace());
    let space = u64::try_from(space.count()).unwrap_or_default();
    io::copy(&mut input.by_ref().take(space), &mut io::sink())?;
    Ok(input)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn messages(bytes: &[u8]) -> Result<Vec<Message>, String> {
        let mut found = Vec::new();
        read_messages(bytes, |message| found.push(message)).map(|()| found)
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
    fn what_begins_as_an_export_and_is_none_is_an_error() {
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

    /// Larger than what is read ahead, so that no document, row or line of it is in memory as a whole.
    #[test]
    fn large_exports_are_read_as_streams() {
        let count = 3 * LOOK_AHEAD / 60;
        let event = r#"{"message":"REPORT RequestId: 1","logStreamName":"s"}"#;
        let events = vec![event; count].join(",\n");
        let rows = vec![r#"[{"field":"@message","value":"REPORT RequestId: 1"}]"#; count].join(",");
        let result = BASE64_STANDARD.encode("REPORT RequestId: 1");
        for text in [
            format!("{{\"events\": [{events}]}}"),
            format!("{{\"searchedLogStreams\": [], \"events\": [{events}]}} {{\"events\": []}}"),
            format!("[{events}]"),
            format!("{{\"results\": [{rows}], \"status\": \"Complete\"}}"),
            format!("{event}\n").repeat(count),
            format!(
                "@timestamp,@message\n{}",
                "1,REPORT RequestId: 1\n".repeat(count)
            ),
            format!("{result}\n").repeat(count),
            "2026-10-08T07:30:29.470Z REPORT RequestId: 1\n".repeat(count),
        ] {
            let mut found = 0;
            let each = |message: Message| {
                assert_eq!(message.body, "REPORT RequestId: 1");
                found += 1;
            };
            read_messages(text.as_bytes(), each).unwrap();
            assert_eq!(found, count, "{}", &text[..100]);
        }
        let failed =
            messages(format!("{{\"results\": [{rows}], \"status\": \"Running\"}}").as_bytes());
        assert!(failed.unwrap_err().contains("its status is Running"));
    }

    /// A document that a handler printed, and a line that has no end.
    #[test]
    fn large_document_that_is_no_export_is_a_line() {
        let long = "x".repeat(2 * LOOK_AHEAD);
        for start in [
            "{\"a\": \"",
            "[\"",
            "[[\"",
            "{\"event\": {\"events\": [1], \"b\": \"",
        ] {
            let text = format!("{start}{long}\nREPORT RequestId: 1\n");
            let found = messages(text.as_bytes()).unwrap();
            assert_eq!(
                (found.len(), &found[1].body),
                (2, &"REPORT RequestId: 1".into()),
                "{start}"
            );
        }
        let endless = |start: &'static str| io::Cursor::new(start).chain(io::repeat(b'x'));
        for (start, expected) in [
            (
                "{\"events\": [{\"message\": \"",
                "an event in it is longer than 16 MiB",
            ),
            ("@message\n", "an event in it is longer than 16 MiB"),
            ("", "a line in it is longer than 64 MiB: it is no log"),
        ] {
            let error = read_messages(endless(start), |_| {}).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
