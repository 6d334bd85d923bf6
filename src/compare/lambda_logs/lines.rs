//! Logs of lines. Tools put times, the log stream or the name of a container before each line.

use std::io::{self, Read};

use serde_json::{Deserializer, Value};

use super::documents::is_platform;
use super::message::{Message, Place, function_in_stream};
use super::stream::Window;

/// Gives each line to `each`, and each platform event that takes several lines as one. Of a very long line
/// the first megabytes are given.
///
/// # Errors
/// The system's, and if a line is too long for a log.
pub(super) fn read_lines(input: impl Read, mut each: impl FnMut(Message)) -> io::Result<()> {
    let (mut window, mut number) = (Window::new(input), 1);
    loop {
        let text = window.ahead()?;
        if text.is_empty() {
            return Ok(());
        }
        let end = text.find('\n').map(|end| end + 1);
        let line_end = end.unwrap_or(text.len());
        let (message, stream) = without_prefix(text[..line_end].trim());
        // `message` is a part of `text`.
        let start = message.as_ptr() as usize - text.as_ptr() as usize;
        let event = event_at(&text[start..]).map(|(event, length)| (event, start + length));
        let (body, length) = match event {
            Some((event, length)) => (event, length),
            None => (message.into(), line_end),
        };
        each(Message {
            body,
            function: stream.and_then(function_in_stream),
            stream: stream.map(str::to_owned),
            place: Place::Line(number),
        });
        let lines = text[..length].matches('\n').count();
        let is_cut = lines == 0;
        number += lines;
        window.skip(length);
        if is_cut {
            window.skip_line()?;
            number += 1;
        }
    }
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

/// A line without its prefix of times, log stream or container name; and the log stream.
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
    use super::super::stream::LOOK_AHEAD;
    use super::*;

    #[test]
    fn prefix_of_a_message_is_removed() {
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
    fn long_line_is_cut_and_what_follows_is_read() {
        let long = "é".repeat(3 * LOOK_AHEAD);
        let text = format!("first\n{long}\nREPORT RequestId: 1\n{{\"a\": \"{long}\"}}\nlast");
        let mut found = Vec::new();
        read_lines(text.as_bytes(), |message| found.push(message)).unwrap();
        let lines: Vec<_> = found.iter().map(|message| message.place).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5].map(Place::Line));
        assert!(found[1].body.as_str().unwrap().len() < 3 * LOOK_AHEAD);
        assert_eq!(found[2].body, "REPORT RequestId: 1");
        assert_eq!(found[4].body, "last");
    }
}
