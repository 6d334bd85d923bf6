//! The response of one invocation: kept until its handler has ended, or sent while it is made.
//!
//! What stands between those who run a handler and the Runtime API, which never meet: `shell` and
//! `program` take bytes out of the handler's pipe, an [`Outlet`] of the Runtime API's sends them. Here it
//! is decided which of the two, by the setting or by what the handler asks for; and here is the HTTP
//! that a handler wants its response to be: a document around a kept one, a prelude before a
//! streamed one.

use std::fmt::Debug;
use std::fs::File;
use std::io::Read;
use std::mem;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::invocation::{Failure, Outcome};
use crate::sys;
use crate::wait::{Limit, Overrun};

/// The content of a streamed response, unless the handler names another.
const ANY_CONTENT: &str = "application/octet-stream";

/// What a streamed response begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// Bytes of this content type.
    Content(String),
    /// Status, headers and cookies, as JSON without NULs.
    Http(String),
}

/// Where a response goes that is sent while the handler makes it. What cannot be sent any more is
/// dropped: the handler is not to suffer, and the end of the outlet tells why.
pub trait Outlet: Debug {
    /// Begins the response, with its first bytes.
    ///
    /// # Errors
    /// When the time is up before they are sent.
    fn open(&mut self, head: Head, first: Vec<u8>, limit: &mut Limit) -> Result<(), Overrun>;

    /// Sends more of it. Returns when all is with the system: who reads slowly makes us wait.
    ///
    /// # Errors
    /// When the time is up before.
    fn send(&mut self, bytes: Vec<u8>, limit: &mut Limit) -> Result<(), Overrun>;
}

/// What a handler asks of its response, in its own words: any process that has the control pipe can
/// write them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The invocation that it belongs to.
    pub request_id: String,
    /// `file:line` of the call.
    pub place: String,
    /// `stream`, `http`, or `http-stream`.
    pub kind: String,
    /// The content type; or the status, and `Name: value` for each header.
    pub words: Vec<String>,
}

/// The response of one invocation.
#[derive(Debug)]
pub struct Response<'a> {
    request_id: &'a str,
    outlet: Option<&'a mut dyn Outlet>,
    /// What was taken, and is not sent.
    bytes: Vec<u8>,
    is_streamed: bool,
    has_begun: bool,
    prelude: Option<Prelude>,
    content_type: Option<String>,
    fault: Option<String>,
}

impl<'a> Response<'a> {
    /// The response to the invocation `request_id`; `is_streamed` unless the handler says otherwise.
    pub fn new(request_id: &'a str, is_streamed: bool, outlet: &'a mut dyn Outlet) -> Self {
        Self {
            outlet: Some(outlet),
            is_streamed,
            ..Self::unwanted(request_id)
        }
    }

    /// One that nobody waits for.
    #[must_use]
    pub fn unwanted(request_id: &'a str) -> Self {
        Self {
            request_id,
            outlet: None,
            bytes: Vec::new(),
            is_streamed: false,
            has_begun: false,
            prelude: None,
            content_type: None,
            fault: None,
        }
    }

    /// Whether its bytes are sent as they come.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// What was taken, and is not sent.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        &self.bytes
    }

    /// Leaves out what was kept from `length` on.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Takes what is in the pipe now, and no more: what a background job writes later is not of this
    /// response. How many bytes that were. If they are sent, all but what `sure` leaves out: it tells
    /// how many of the kept bytes are of the response for certain.
    ///
    /// # Errors
    /// When the time is up before they are sent.
    pub fn take(
        &mut self,
        pipe: &File,
        limit: &mut Limit,
        sure: impl FnOnce(&[u8]) -> usize,
    ) -> Result<usize, Overrun> {
        let before = self.bytes.len();
        let ready = sys::bytes_ready(pipe);
        self.bytes.reserve(ready);
        // It does not block: an error means that there is no more.
        let mut pipe = pipe.take(u64::try_from(ready).unwrap_or(u64::MAX));
        let _ = pipe.read_to_end(&mut self.bytes);
        let taken = self.bytes.len() - before;
        if self.is_streamed && taken > 0 {
            self.send(sure(&self.bytes), limit)?;
        }
        Ok(taken)
    }

    /// Does what the handler asks for, unless it asks for another invocation's response: a process that
    /// outlives its own may.
    ///
    /// # Errors
    /// When the time is up before the response has begun.
    pub fn ask(&mut self, asked: &Asked, limit: &mut Limit) -> Result<(), Overrun> {
        if asked.request_id != self.request_id {
            return Ok(());
        }
        let is_plain = asked.kind == "stream";
        let function = if is_plain {
            "lambda_stream_response"
        } else {
            "lambda_http_response"
        };
        let mut fail = |cause: &str| {
            let text = format!("{function} in {}: {cause}", asked.place);
            self.fault.get_or_insert(text);
        };
        if self.has_begun {
            fail("the response has begun already");
            return Ok(());
        }
        if is_plain {
            self.prelude = None;
            let named = asked.words.first().map(|text| visible(text));
            self.content_type = named.filter(|text| !text.is_empty());
        } else {
            match Prelude::read(&asked.words) {
                Ok(prelude) => self.prelude = Some(prelude),
                Err(cause) => fail(&cause),
            }
        }
        self.is_streamed |= asked.kind != "http";
        if self.is_streamed && self.fault.is_none() {
            self.begin(Vec::new(), limit)?;
            self.send(self.bytes.len(), limit)?;
        }
        Ok(())
    }

    /// What becomes of the invocation of a handler that has succeeded. `trim` makes the response of an
    /// output that was kept.
    pub fn succeed(&mut self, limit: &mut Limit, trim: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Outcome {
        if let Some(message) = self.fault.take() {
            return Outcome::Failure(Failure {
                error_type: "Function.InvalidResponse",
                message,
                stack: Vec::new(),
                quoted_bytes: 0,
            });
        }
        if self.is_streamed {
            let sent = if self.has_begun {
                self.send(self.bytes.len(), limit)
            } else {
                let first = mem::take(&mut self.bytes);
                self.begin(first, limit)
            };
            // If the time is up the end of the outlet tells that not all was taken.
            let _ = sent;
            return Outcome::Response(Vec::new());
        }
        let body = trim(mem::take(&mut self.bytes));
        Outcome::Response(match self.prelude.take() {
            Some(prelude) => prelude.document(body),
            None => body,
        })
    }

    fn send(&mut self, count: usize, limit: &mut Limit) -> Result<(), Overrun> {
        if count == 0 {
            return Ok(());
        }
        let rest = self.bytes.split_off(count);
        let piece = mem::replace(&mut self.bytes, rest);
        if !self.has_begun {
            return self.begin(piece, limit);
        }
        match &mut self.outlet {
            Some(outlet) => outlet.send(piece, limit),
            None => Ok(()),
        }
    }

    fn begin(&mut self, first: Vec<u8>, limit: &mut Limit) -> Result<(), Overrun> {
        // A response that cannot be told of is an error, as long as none has begun.
        if self.fault.is_some() {
            return Ok(());
        }
        let Some(outlet) = &mut self.outlet else {
            return Ok(());
        };
        self.has_begun = true;
        let head = match self.prelude.take() {
            Some(prelude) => Head::Http(Value::Object(prelude.into_json()).to_string()),
            None => Head::Content(self.content_type.take().unwrap_or(ANY_CONTENT.to_owned())),
        };
        outlet.open(head, first, limit)
    }
}

/// Status, headers and cookies of a response over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Prelude {
    status: u16,
    headers: Vec<(String, String)>,
    cookies: Vec<String>,
}

impl Prelude {
    /// From a status and `Name: value` for each header. A repeated header is joined; `Set-Cookie` is a
    /// cookie, which cannot be joined.
    fn read(words: &[String]) -> Result<Self, String> {
        let (status, lines) = words.split_first().ok_or("there is no status")?;
        let number = status.parse().ok().filter(|_| status.len() == 3);
        let number = number.filter(|number| (100..=599).contains(number));
        let mut prelude = Self {
            status: number.ok_or_else(|| {
                format!("cannot use status {}: expected 100 to 599", visible(status))
            })?,
            ..Self::default()
        };
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .filter(|(name, _)| is_token(name))
                .ok_or_else(|| {
                    format!("cannot use header {}: expected Name: value", visible(line))
                })?;
            let value = visible(value);
            if name.eq_ignore_ascii_case("Set-Cookie") {
                prelude.cookies.push(value);
                continue;
            }
            let mut known = prelude.headers.iter_mut();
            match known.find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                Some((_, known)) => known.extend([", ", &value]),
                None => prelude.headers.push((name.to_owned(), value)),
            }
        }
        Ok(prelude)
    }

    fn into_json(self) -> Map<String, Value> {
        let headers = self.headers.into_iter();
        let headers: Map<_, _> = headers
            .map(|(name, value)| (name, Value::String(value)))
            .collect();
        let mut json = Map::new();
        json.insert("statusCode".to_owned(), json!(self.status));
        json.insert("headers".to_owned(), Value::Object(headers));
        // Not every caller of Lambda knows the word.
        if !self.cookies.is_empty() {
            json.insert("cookies".to_owned(), json!(self.cookies));
        }
        json
    }

    /// What function URLs and API Gateway make HTTP of.
    fn document(self, body: Vec<u8>) -> Vec<u8> {
        let (body, is_base64) = match String::from_utf8(body) {
            Ok(text) => (text, false),
            Err(error) => (BASE64_STANDARD.encode(error.as_bytes()), true),
        };
        let mut json = self.into_json();
        json.insert("body".to_owned(), Value::String(body));
        json.insert("isBase64Encoded".to_owned(), Value::Bool(is_base64));
        Value::Object(json).to_string().into_bytes()
    }
}

/// What of a text a header may hold.
fn visible(text: &str) -> String {
    let kept = text.chars().filter(|kept| matches!(kept, ' '..='~'));
    kept.collect::<String>().trim().to_owned()
}

/// Whether `name` can name a header; RFC 9110, 5.6.2.
fn is_token(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Prelude, String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Prelude::read(&words)
    }

    #[test]
    fn headers_are_joined_and_cookies_are_not() {
        let prelude = read(&[
            "200",
            "Vary: a",
            "vary:b",
            "Set-Cookie: c=1",
            "set-cookie: d=2",
        ]);
        let json = prelude.map(Prelude::into_json).unwrap_or_default();
        let wanted =
            json!({"statusCode": 200, "headers": {"Vary": "a, b"}, "cookies": ["c=1", "d=2"]});
        assert_eq!(Value::Object(json), wanted);
    }

    #[test]
    fn value_of_a_header_is_visible_ascii() {
        let prelude = read(&["200", "X-Odd: \u{1}a\r\nSet-Cookie: b\0\u{e4}\u{7f} "]);
        let headers = prelude.unwrap_or_default().headers;
        assert_eq!(headers, [("X-Odd".to_owned(), "aSet-Cookie: b".to_owned())]);
    }

    #[test]
    fn status_and_names_are_checked() {
        for status in ["", "99", "600", "0200", "+20", "2e2", "20\0"] {
            assert!(read(&[status]).is_err(), "{status}");
        }
        for line in [
            "",
            ":",
            ": value",
            "no colon",
            "a b: c",
            "\u{e4}: c",
            "a\n: c",
        ] {
            assert!(read(&["200", line]).is_err(), "{line}");
        }
        assert!(read(&[]).is_err());
    }

    #[test]
    fn body_is_text_or_base64() {
        let document = |body: &[u8]| -> Value {
            let prelude = read(&["404"]).unwrap_or_default();
            serde_json::from_slice(&prelude.document(body.to_vec())).unwrap_or_default()
        };
        let text = document("\"ä\"\\\0".as_bytes());
        assert_eq!(
            text,
            json!({"statusCode": 404, "headers": {}, "body": "\"ä\"\\\0", "isBase64Encoded": false})
        );
        let bytes = document(b"\xff\0");
        assert_eq!(
            (&bytes["body"], &bytes["isBase64Encoded"]),
            (&json!("/wA="), &json!(true))
        );
    }
}
