//! Parses `application/vnd.amazon.eventstream`, the format in which a caller gets a streamed response.
//!
//! ```text
//! total length, headers length, CRC of both | headers | payload | CRC of all before it
//! ```
//! Numbers are big-endian and have four bytes. See <https://smithy.io/2.0/aws/amazon-eventstream.html>.

use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub headers: BTreeMap<String, String>,
    pub payload: Vec<u8>,
}

impl Message {
    /// `PayloadChunk` or `InvokeComplete`.
    pub fn event_type(&self) -> &str {
        &self.headers[":event-type"]
    }
}

/// Parses a body into its messages. Fails if it contains anything else.
#[track_caller]
pub fn parse_messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (total_len, headers_len) = (number(bytes), number(&bytes[4..]));
        assert!((16..=bytes.len()).contains(&total_len), "{total_len} bytes");
        assert_eq!(crc32(&bytes[..8]), number(&bytes[8..]), "CRC of lengths");
        let (message, rest) = bytes.split_at(total_len);
        let (content, crc) = message.split_at(total_len - 4);
        assert_eq!(crc32(content), number(crc), "CRC of a message");
        messages.push(Message {
            headers: parse_headers(&content[12..12 + headers_len]),
            payload: content[12 + headers_len..].to_vec(),
        });
        bytes = rest;
    }
    messages
}

/// Parses a streamed response: the payload of all chunks, and the JSON of `InvokeComplete`.
#[track_caller]
pub fn parse_response(body: &[u8]) -> (Vec<u8>, serde_json::Value) {
    let mut messages = parse_messages(body);
    let complete = messages.pop().expect("a last message");
    assert_eq!(complete.event_type(), "InvokeComplete");
    for chunk in &messages {
        assert_eq!(chunk.event_type(), "PayloadChunk");
    }
    let payload = messages.into_iter().flat_map(|chunk| chunk.payload);
    let complete = serde_json::from_slice(&complete.payload).expect("JSON");
    (payload.collect(), complete)
}

fn number(bytes: &[u8]) -> usize {
    let bytes = bytes[..4].try_into().expect("four bytes");
    u32::from_be_bytes(bytes).try_into().expect("usize")
}

/// Each header is a name after its length (one byte), the type (7 is text), and a value after its length (two bytes).
fn parse_headers(mut bytes: &[u8]) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    while let Some((&length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at(length.into());
        assert_eq!(rest[0], 7, "the type of header {}", text(name));
        let length = u16::from_be_bytes([rest[1], rest[2]]);
        let (value, rest) = rest[3..].split_at(length.into());
        headers.insert(text(name), text(value));
        bytes = rest;
    }
    headers
}

fn crc32(bytes: &[u8]) -> usize {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    (!crc).try_into().expect("usize")
}
