//! Events, and the answers that are expected.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use super::Error;
use coshell_wire::MAX_RESPONSE_BYTES;

/// What the handler of AWS's tutorial puts around an event.
const ECHO: (&[u8], &[u8]) = (b"Echoing request: '", b"'");

/// Reads a file of at most this length.
///
/// # Errors
/// The system's, and if the file is longer.
pub(crate) fn read_at_most(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// The expected answer, as a scenario describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expect {
    /// `Echoing request: '<event>'`, as the tutorial's handler answers.
    Echo,
    /// The same as a JSON string, for runtimes that serialise the value that a handler returns.
    EchoJson,
    /// The event.
    Raw,
    /// JSON of the same value as the event.
    JsonRaw,
    /// These bytes.
    Bytes(Vec<u8>),
    /// Any answer.
    Any,
}

impl Expect {
    /// Reads `echo`, `echo-json`, `raw`, `json-raw`, `any`, `text:TEXT` or `file:PATH`, which is relative to `folder`.
    ///
    /// # Errors
    /// If it is none of these, or the file cannot be read.
    pub(crate) fn read(word: &str, folder: &Path) -> Result<Self, Error> {
        let what = || format!("cannot use expect {word:?}");
        match word {
            "echo" => return Ok(Self::Echo),
            "echo-json" => return Ok(Self::EchoJson),
            "raw" => return Ok(Self::Raw),
            "json-raw" => return Ok(Self::JsonRaw),
            "any" => return Ok(Self::Any),
            _ => {}
        }
        if let Some(text) = word.strip_prefix("text:") {
            return Ok(Self::Bytes(text.as_bytes().to_vec()));
        }
        if let Some(path) = word.strip_prefix("file:") {
            let bytes = read_at_most(&folder.join(path), MAX_RESPONSE_BYTES);
            let bytes = bytes.map_err(|error| Error::new(what(), error))?;
            return Ok(Self::Bytes(bytes));
        }
        let cause = "expected echo, echo-json, raw, json-raw, any, text:TEXT or file:PATH";
        Err(Error::new(what(), cause))
    }

    /// The expected answer to this event.
    ///
    /// # Errors
    /// If the event is not JSON, or no text, and has to be.
    fn answer_to(&self, event: &[u8]) -> Result<Answer, String> {
        let echo = || [ECHO.0, event, ECHO.1].concat();
        Ok(match self {
            Self::Echo => Answer::Bytes(echo()),
            Self::Raw => Answer::Bytes(event.to_vec()),
            Self::Bytes(bytes) => Answer::Bytes(bytes.clone()),
            Self::Any => Answer::Any,
            Self::EchoJson => {
                let text = String::from_utf8(echo()).map_err(|error| error.to_string())?;
                Answer::Bytes(Value::String(text).to_string().into_bytes())
            }
            Self::JsonRaw => {
                Answer::Json(serde_json::from_slice(event).map_err(|error| error.to_string())?)
            }
        })
    }
}

/// An event of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub bytes: Vec<u8>,
    /// Overrides the `expect` of the runtime and of the scenario.
    pub(crate) expect: Option<Expect>,
}

impl Event {
    /// JSON text of exactly `len_bytes` bytes, without newlines. It is compact, and its keys are sorted: a runtime that parses it
    /// and prints it again gives the same bytes.
    ///
    /// # Errors
    /// If there is no such text, or Lambda would not accept it.
    pub(crate) fn of_size(len_bytes: usize) -> Result<Self, String> {
        if !(1..=MAX_RESPONSE_BYTES).contains(&len_bytes) {
            return Err(format!("expected 1 to {MAX_RESPONSE_BYTES} bytes"));
        }
        Ok(Self {
            bytes: json_text(len_bytes).into_bytes(),
            expect: None,
        })
    }
}

fn json_text(len_bytes: usize) -> String {
    const NUMBERED_FROM: usize = 256;
    const LONGEST_RECORD: usize = 160;
    let mut text = String::with_capacity(len_bytes);
    if len_bytes == 1 {
        return "1".to_owned();
    }
    if len_bytes < NUMBERED_FROM {
        let hello = "Hello from Container Lambda!";
        let inner = len_bytes - 2;
        text.push('"');
        text.push_str(&hello[..inner.min(hello.len())]);
        text.push_str(&".".repeat(inner.saturating_sub(hello.len())));
        text.push('"');
        return text;
    }
    text.push_str("{\"items\":[");
    for number in 0_usize.. {
        if text.len() + LONGEST_RECORD >= len_bytes {
            break;
        }
        let size = number * 31;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{{\"key\":\"photos/{number:06}.jpg\",\"note\":\"Hello from Container Lambda!\",\"seen\":true,\"size\":{size}}},"
        );
    }
    text.push_str("{\"size\":0}],\"rest\":\"");
    text.push_str(&"x".repeat((len_bytes - 2).saturating_sub(text.len())));
    text.push_str("\"}");
    text
}

/// An event and the expected answer. An endpoint sends it again and again.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub event: Vec<u8>,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Bytes(Vec<u8>),
    Json(Value),
    Any,
}

impl Exchange {
    /// `event` for a runtime, of which the scenario expects `expect`.
    ///
    /// # Errors
    /// If there is no such answer to this event.
    pub(crate) fn new(event: &Event, expect: &Expect) -> Result<Self, Error> {
        let answer = event
            .expect
            .as_ref()
            .unwrap_or(expect)
            .answer_to(&event.bytes);
        let what = || {
            format!(
                "cannot expect an answer to the event of {} bytes",
                event.bytes.len()
            )
        };
        Ok(Self {
            event: event.bytes.clone(),
            answer: answer.map_err(|cause| Error::new(what(), cause))?,
        })
    }

    /// Checks an answer.
    ///
    /// # Errors
    /// Sizes, and the place of the first difference: a report never shows bytes of an event or an answer.
    pub(crate) fn check(&self, answer: &[u8]) -> Result<(), String> {
        match &self.answer {
            Answer::Any => Ok(()),
            Answer::Bytes(expected) if expected == answer => Ok(()),
            Answer::Bytes(expected) => {
                let pairs = expected.iter().zip(answer);
                let index = pairs.take_while(|(expected, got)| expected == got).count();
                let (got, expected) = (answer.len(), expected.len());
                Err(format!(
                    "{got} bytes instead of {expected}, the first difference at byte {index}"
                ))
            }
            Answer::Json(expected) => match serde_json::from_slice::<Value>(answer) {
                Ok(value) if value == *expected => Ok(()),
                Ok(_) => Err(format!("{} bytes of JSON, of another value", answer.len())),
                Err(error) => {
                    let (got, column) = (answer.len(), error.column());
                    Err(format!(
                        "{got} bytes that are not JSON from column {column} on"
                    ))
                }
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn event_is_json_of_exactly_its_size() {
        for size in (1..600).chain([1024, 102_400, 1_048_576, MAX_RESPONSE_BYTES]) {
            let event = Event::of_size(size).unwrap().bytes;
            assert_eq!(event.len(), size);
            let value: Value = serde_json::from_slice(&event).unwrap();
            assert_eq!(value.to_string().as_bytes(), event, "{size}");
        }
        assert!(Event::of_size(0).is_err() && Event::of_size(MAX_RESPONSE_BYTES + 1).is_err());
    }

    #[test]
    fn difference_is_described_without_bytes_of_the_answer() {
        let event = Event {
            bytes: b"secret".to_vec(),
            expect: None,
        };
        let exchange = Exchange::new(&event, &Expect::Echo).unwrap();
        assert_eq!(exchange.check(b"Echoing request: 'secret'"), Ok(()));
        let wrong = exchange.check(b"Echoing request: 'secreT'").unwrap_err();
        assert_eq!(
            wrong,
            "25 bytes instead of 25, the first difference at byte 23"
        );
        let short = exchange.check(b"Echoing").unwrap_err();
        assert_eq!(
            short,
            "7 bytes instead of 25, the first difference at byte 7"
        );
    }

    #[test]
    fn expectations_are_read() {
        let read = |word| Expect::read(word, Path::new("/"));
        assert_eq!(read("text:a:b"), Ok(Expect::Bytes(b"a:b".to_vec())));
        assert!(read("file:/nowhere").is_err());
        assert_eq!(
            read("ecko").unwrap_err().to_string(),
            "cannot use expect \"ecko\": expected echo, echo-json, raw, json-raw, any, text:TEXT or file:PATH"
        );
        let event = Event::of_size(300).unwrap();
        let json = Exchange::new(&event, &Expect::JsonRaw).unwrap();
        let spaced = String::from_utf8(event.bytes.clone())
            .unwrap()
            .replace(',', ", ");
        assert_eq!(json.check(spaced.as_bytes()), Ok(()));
        assert!(json.check(b"{}").is_err() && json.check(b"{").is_err());
        let echo = Exchange::new(&event, &Expect::EchoJson).unwrap();
        let text = String::from_utf8(event.bytes).unwrap();
        let answer = Value::String(format!("Echoing request: '{text}'")).to_string();
        assert_eq!(echo.check(answer.as_bytes()), Ok(()));
    }
}
