//! The HTTP that a handler wants its response to be: status, headers and cookies, and the document with them that
//! function URLs and API Gateway take.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use coshell_wire::MAX_RESPONSE_BYTES;

/// Status, headers and cookies of a response over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prelude {
    status: u16,
    headers: Vec<(String, String)>,
    cookies: Vec<String>,
}

impl Prelude {
    /// From a status and `Name: value` for each header. A repeated header is joined; `Set-Cookie` is a
    /// cookie, which cannot be joined.
    pub(crate) fn read(words: &[String]) -> Result<Self, String> {
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

    pub(crate) fn into_json(self) -> Map<String, Value> {
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

    /// What function URLs and API Gateway make HTTP of. It is made in the place of `body`: of one that is large there
    /// is no memory for two. How long it would be, if Lambda does not take so much.
    pub(crate) fn document(self, body: Vec<u8>) -> Result<Vec<u8>, usize> {
        let is_base64 = str::from_utf8(&body).is_err();
        let mut json = self.into_json();
        json.insert("isBase64Encoded".to_owned(), Value::Bool(is_base64));
        let mut head = Value::Object(json).to_string();
        // The brace that ends it comes later.
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

/// Behind the value of the body, which is the last one.
const END: &[u8] = b"\"}";

/// How many bytes JSON needs for one of a text.
fn escaped_length(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

/// Writes the first `length` bytes of `area` as JSON has them to its end; what is written is never before what is
/// still to be read, since each byte becomes at least one.
fn escape_from_end(area: &mut [u8], length: usize) {
    let mut end = area.len();
    for at in (0..length).rev() {
        let byte = area[at];
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

/// Writes the first `length` bytes of `area` in base64 to its end.
fn encode_from_end(area: &mut [u8], length: usize) {
    const PIECE: usize = 3 * 1024;
    let mut end = area.len();
    let mut piece = [0; PIECE];
    for start in (0..length).step_by(PIECE).rev() {
        let count = PIECE.min(length - start);
        piece[..count].copy_from_slice(&area[start..start + count]);
        let begin = end - count.div_ceil(3) * 4;
        // There is as much room as it needs.
        let _ = BASE64_STANDARD.encode_slice(&piece[..count], &mut area[begin..end]);
        end = begin;
    }
}

/// What of a text a header may hold.
pub(crate) fn visible(text: &str) -> String {
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
            let document = prelude.document(body.to_vec()).unwrap_or_default();
            serde_json::from_slice(&document).unwrap_or_default()
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

    #[test]
    fn body_is_the_same_however_long_it_is() {
        let every: Vec<u8> = (0..=127).collect();
        for length in [0, 1, 2, 3, 127, 3071, 3072, 3073, 6144, 10_000] {
            let text: Vec<u8> = every.iter().copied().cycle().take(length).collect();
            let mut bytes = text.clone();
            bytes.push(0xff);
            for body in [text, bytes] {
                let prelude = read(&["200", "A: b"]).unwrap_or_default();
                let document = prelude.document(body.clone()).unwrap_or_default();
                let document: Value = serde_json::from_slice(&document).unwrap_or_default();
                let value = document["body"].as_str().unwrap_or_default();
                let back = match document["isBase64Encoded"].as_bool() {
                    Some(true) => BASE64_STANDARD.decode(value).unwrap_or_default(),
                    _ => value.as_bytes().to_vec(),
                };
                assert_eq!(
                    (back == body, &document["statusCode"]),
                    (true, &json!(200)),
                    "{length}"
                );
            }
        }
    }

    #[test]
    fn document_that_is_too_large_is_not_made() {
        let document = |length| {
            let prelude = read(&["200"]).unwrap_or_default();
            prelude
                .document(vec![1; length])
                .map(|document| document.len())
        };
        let rest = document(0).unwrap_or_default();
        let most = (MAX_RESPONSE_BYTES - rest) / 6;
        assert_eq!(document(most), Ok(rest + 6 * most));
        assert_eq!(document(most + 1), Err(rest + 6 * most + 6));
    }
}
