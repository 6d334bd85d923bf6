//! `application/vnd.amazon.eventstream` taken apart by hand, as a streamed response comes to its caller.
//!
//! ```text
//! total length, headers length, CRC of both | headers | payload | CRC of all before it
//! ```
//! Numbers are big-endian, four bytes each; <https://smithy.io/2.0/aws/amazon-eventstream.html>.

use std::collections::BTreeMap;

/// One message.
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

/// All messages of a body; fails if there is anything else in it.
#[track_caller]
pub fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (total, of_headers) = (number(bytes), number(&bytes[4..]));
        assert!((16..=bytes.len()).contains(&total), "{total} bytes");
        assert_eq!(crc32(&bytes[..8]), number(&bytes[8..]), "CRC of lengths");
        let (message, rest) = bytes.split_at(total);
        let (content, crc) = message.split_at(total - 4);
        assert_eq!(crc32(content), number(crc), "CRC of a message");
        messages.push(Message {
            headers: headers(&content[12..12 + of_headers]),
            payload: content[12 + of_headers..].to_vec(),
        });
        bytes = rest;
    }
    messages
}

/// A streamed response: the payload of all chunks, and what `InvokeComplete` says.
#[track_caller]
pub fn response_of(body: &[u8]) -> (Vec<u8>, serde_json::Value) {
    let mut messages = messages(body);
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

/// Name and text, each after its length; between them the type, of which 7 is text.
fn headers(mut bytes: &[u8]) -> BTreeMap<String, String> {
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
