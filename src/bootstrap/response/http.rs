//! Responses over HTTP: status, headers and cookies, and the JSON document in which function URLs, API Gateway and load balancers
//! expect them together with the body.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memchr::memchr;
use serde_json::{Map, Value, json};

use coshell_calls::AnswerForm;
use coshell_wire::MAX_RESPONSE_BYTES;

/// Status, headers and cookies of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prelude {
    status: u16,
    headers: Vec<(String, String)>,
    cookies: Vec<String>,
}

impl Prelude {
    /// Parses the arguments of `lambda_http_response`: a status, and `Name: value` for each header. The values of a repeated
    /// header are joined. Each `Set-Cookie` becomes a cookie, because cookies cannot be joined.
    ///
    /// # Errors
    /// The cause, with the argument that cannot be used.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let (status, headers) = arguments.split_first().ok_or("there is no status")?;
        let code = status.parse().ok().filter(|_| status.len() == 3);
        let code = code.filter(|code| (200..=599).contains(code));
        let mut prelude = Self {
            status: code.ok_or_else(|| {
                format!("cannot use status {}: expected 200 to 599", visible(status))
            })?,
            ..Self::default()
        };
        for header in headers {
            let (name, value) = header
                .split_once(':')
                .filter(|(name, _)| is_token(name))
                .ok_or_else(|| {
                    format!(
                        "cannot use header {}: expected Name: value",
                        visible(header)
                    )
                })?;
            let value = visible(value);
            if name.eq_ignore_ascii_case(SET_COOKIE) {
                prelude.cookies.push(value);
                continue;
            }
            let mut earlier = prelude.headers.iter_mut();
            match earlier.find(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                Some((_, values)) => values.extend([", ", &value]),
                None => prelude.headers.push((name.to_owned(), value)),
            }
        }
        Ok(prelude)
    }

    pub(crate) fn into_json(self, form: AnswerForm) -> Map<String, Value> {
        let has_lists = form == AnswerForm::Lists;
        let mut json = Map::new();
        // Headers with one value, and those with a list.
        let (mut headers, mut lists) = (Map::new(), Map::new());
        for (name, value) in self.headers {
            let value = Value::String(value);
            if has_lists {
                lists.insert(name, Value::Array(vec![value]));
            } else {
                headers.insert(name, value);
            }
        }
        let mut cookies = Vec::new();
        for (index, cookie) in self.cookies.into_iter().enumerate() {
            let cookie = Value::String(cookie);
            if form == AnswerForm::Single {
                headers.insert(cookie_name(index), cookie);
            } else {
                cookies.push(cookie);
            }
        }
        // Not every caller of Lambda supports these keys.
        if !cookies.is_empty() {
            let (place, name) = match form {
                AnswerForm::Cookies => (&mut json, "cookies"),
                _ => (&mut lists, SET_COOKIE),
            };
            place.insert(name.to_owned(), Value::Array(cookies));
        }
        if has_lists || !lists.is_empty() {
            json.insert("multiValueHeaders".to_owned(), Value::Object(lists));
        }
        if !has_lists {
            json.insert("headers".to_owned(), Value::Object(headers));
        }
        json.insert("statusCode".to_owned(), json!(self.status));
        json
    }

    /// The JSON document of which the service in front of the function makes an HTTP response. It is built in the memory of `body`,
    /// because there may be no room for a second copy.
    ///
    /// # Errors
    /// The length that the document would have, if it is larger than Lambda accepts.
    pub(crate) fn into_document(self, body: Vec<u8>, form: AnswerForm) -> Result<Vec<u8>, usize> {
        // Binary data can be UTF-8, but then it has NULs, which would become six bytes each.
        let is_base64 = str::from_utf8(&body).is_err() || memchr(0, &body).is_some();
        let mut json = self.into_json(form);
        json.insert("isBase64Encoded".to_owned(), Value::Bool(is_base64));
        let mut head = Value::Object(json).to_string();
        // END has the closing brace.
        head.pop();
        head.push_str(",\"body\":\"");
        let value = if is_base64 {
            body.len().div_ceil(3) * 4
        } else {
            body.iter().map(|byte| escaped_length(*byte)).sum()
        };
        let length = head.len() + value + END.len();
        if length > MAX_RESPONSE_BYTES {
            return Err(length);
        }
        let mut document = body;
        let body_length = document.len();
        document.reserve_exact(length - body_length);
        document.resize(length, 0);
        let end = length - END.len();
        document[end..].copy_from_slice(END);
        let area = &mut document[..end];
        if is_base64 {
            encode_from_end(area, body_length);
        } else {
            escape_from_end(area, body_length);
        }
        document[..head.len()].copy_from_slice(head.as_bytes());
        Ok(document)
    }
}

/// What follows the value of the body.
const END: &[u8] = b"\"}";

const SET_COOKIE: &str = "Set-Cookie";

/// A name of the header for the cookie of this index. An object has each name once, but HTTP does not distinguish their case: there
/// are 512, and a browser keeps fewer cookies of one site.
fn cookie_name(index: usize) -> String {
    // A bit for each letter, and none for the hyphen at 3.
    let changed = index & 7 | (index & !7) << 1;
    let mut name = SET_COOKIE.as_bytes().to_vec();
    for (at, byte) in name.iter_mut().enumerate() {
        if changed >> at & 1 == 1 {
            *byte ^= 0x20;
        }
    }
    String::from_utf8_lossy(&name).into_owned()
}

/// The length of a byte of text in a JSON string.
fn escaped_length(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

/// Escapes the first `length` bytes of `area` for JSON, and writes the result to the end of `area`. Nothing is overwritten
/// before it is read, because each byte becomes at least one.
fn escape_from_end(area: &mut [u8], length: usize) {
    let mut end = area.len();
    for index in (0..length).rev() {
        let byte = area[index];
        let start = end - escaped_length(byte);
        match end - start {
            1 => area[start] = byte,
            2 => {
                let letter = match byte {
                    b'\n' => b'n',
                    b'\r' => b'r',
                    b'\t' => b't',
                    8 => b'b',
                    12 => b'f',
                    other => other,
                };
                area[start..end].copy_from_slice(&[b'\\', letter]);
            }
            _ => {
                let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
                let text = [b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)];
                area[start..end].copy_from_slice(&text);
            }
        }
        end = start;
    }
}

/// Encodes the first `length` bytes of `area` in base64, and writes the result to the end of `area`.
fn encode_from_end(area: &mut [u8], length: usize) {
    const PIECE: usize = 3 * 1024;
    let mut end = area.len();
    let mut piece = [0; PIECE];
    for start in (0..length).step_by(PIECE).rev() {
        let count = PIECE.min(length - start);
        piece[..count].copy_from_slice(&area[start..start + count]);
        let output_start = end - count.div_ceil(3) * 4;
        // It cannot fail: the output has the right length.
        let _ = BASE64_STANDARD.encode_slice(&piece[..count], &mut area[output_start..end]);
        end = output_start;
    }
}

/// `text` without the characters that a header value must not contain.
pub(crate) fn visible(text: &str) -> String {
    let visible = text
        .chars()
        .filter(|character| matches!(character, ' '..='~'));
    visible.collect::<String>().trim().to_owned()
}

/// Whether `name` can be the name of a header (RFC 9110, 5.6.2).
fn is_token(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Prelude, String> {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        Prelude::parse(&arguments)
    }

    #[test]
    fn headers_are_joined_and_cookies_are_not() {
        let prelude = parse(&[
            "200",
            "Vary: a",
            "vary:b",
            "Set-Cookie: c=1",
            "set-cookie: d=2",
        ]);
        let json = prelude.map(|prelude| prelude.into_json(AnswerForm::Cookies));
        let json = json.unwrap_or_default();
        let wanted =
            json!({"statusCode": 200, "headers": {"Vary": "a, b"}, "cookies": ["c=1", "d=2"]});
        assert_eq!(Value::Object(json), wanted);
    }

    #[test]
    fn header_value_is_visible_ascii() {
        let prelude = parse(&["200", "X-Odd: \u{1}a\r\nSet-Cookie: b\0\u{e4}\u{7f} "]);
        let headers = prelude.unwrap_or_default().headers;
        assert_eq!(headers, [("X-Odd".to_owned(), "aSet-Cookie: b".to_owned())]);
    }

    #[test]
    fn status_and_names_are_checked() {
        for status in ["", "99", "600", "0200", "+20", "2e2", "20\0"] {
            assert!(parse(&[status]).is_err(), "{status}");
        }
        for header in [
            "",
            ":",
            ": value",
            "no colon",
            "a b: c",
            "\u{e4}: c",
            "a\n: c",
        ] {
            assert!(parse(&["200", header]).is_err(), "{header}");
        }
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn body_is_text_or_base64() {
        let document = |body: &[u8]| -> Value {
            let prelude = parse(&["404"]).unwrap_or_default();
            let document = prelude
                .into_document(body.to_vec(), AnswerForm::Cookies)
                .unwrap_or_default();
            serde_json::from_slice(&document).unwrap_or_default()
        };
        let text = document("\"ä\"\\\u{1}".as_bytes());
        assert_eq!(
            text,
            json!({"statusCode": 404, "headers": {}, "body": "\"ä\"\\\u{1}", "isBase64Encoded": false})
        );
        // In an archive, zeros are UTF-8 too, and in a text each of them is six characters.
        for (body, expected) in [(&b"\xff\0"[..], "/wA="), (b"a\0", "YQA=")] {
            let bytes = document(body);
            assert_eq!(
                (&bytes["body"], &bytes["isBase64Encoded"]),
                (&json!(expected), &json!(true))
            );
        }
    }

    #[test]
    fn body_of_any_length_can_be_read_back() {
        let every: Vec<u8> = (0..=127).collect();
        for length in [0, 1, 2, 3, 127, 3071, 3072, 3073, 6144, 10_000] {
            let text: Vec<u8> = every.iter().copied().cycle().take(length).collect();
            let mut bytes = text.clone();
            bytes.push(0xff);
            for body in [text, bytes] {
                let prelude = parse(&["200", "A: b"]).unwrap_or_default();
                let document = prelude
                    .into_document(body.clone(), AnswerForm::Cookies)
                    .unwrap_or_default();
                let document: Value = serde_json::from_slice(&document).unwrap_or_default();
                let value = document["body"].as_str().unwrap_or_default();
                let decoded = match document["isBase64Encoded"].as_bool() {
                    Some(true) => BASE64_STANDARD.decode(value).unwrap_or_default(),
                    _ => value.as_bytes().to_vec(),
                };
                assert_eq!(
                    (decoded == body, &document["statusCode"]),
                    (true, &json!(200)),
                    "{length}"
                );
            }
        }
    }

    #[test]
    fn document_that_is_too_large_is_not_built() {
        let document = |length| {
            let prelude = parse(&["200"]).unwrap_or_default();
            prelude
                .into_document(vec![1; length], AnswerForm::Cookies)
                .map(|document| document.len())
        };
        let rest = document(0).unwrap_or_default();
        let max = (MAX_RESPONSE_BYTES - rest) / 6;
        assert_eq!(document(max), Ok(rest + 6 * max));
        assert_eq!(document(max + 1), Err(rest + 6 * max + 6));
    }
}
