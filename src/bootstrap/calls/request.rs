//! What a caller sends: fields that each end in NUL.
//!
//! ```text
//! count of arguments | process id | request id | 0, or 1 if there is an input, or 2 if it is the event | input
//! | function | argument...
//! ```
//!
//! The request id is that of the caller's invocation. A process that outlives its invocation must not read the next event.

use memchr::memchr;

/// The fields before the arguments.
const LEADING_FIELDS: usize = 5;

/// What the input of a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    None,
    /// The value of the variable that `--in` names.
    Variable(Vec<u8>),
    /// A record that takes the place of the event.
    Event(Vec<u8>),
}

/// A call of a handler, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub pid: i32,
    pub request_id: Vec<u8>,
    pub input: Input,
    /// The function without `lambda_`, and its arguments; empty if the request was too large.
    pub arguments: Vec<Vec<u8>>,
}

impl Request {
    pub(crate) fn too_large(pid: Option<i32>) -> Self {
        Self {
            pid: pid.unwrap_or_default(),
            request_id: Vec::new(),
            input: Input::None,
            arguments: Vec::new(),
        }
    }
}

/// Returns `None` until the request is complete.
pub(crate) fn parse(bytes: &[u8]) -> Option<Request> {
    if bytes.last() != Some(&b'\0') {
        return None;
    }
    let mut rest = bytes;
    let mut field = || {
        let end = memchr(b'\0', rest)?;
        let (field, behind) = rest.split_at(end);
        rest = &behind[1..];
        Some(field)
    };
    let number = |text: &[u8]| str::from_utf8(text).ok()?.parse::<i32>().ok();
    let count = usize::try_from(number(field()?)?).ok()?;
    let pid = number(field()?)?;
    let request_id = field()?.to_vec();
    let kind = field()?.to_vec();
    let input = field()?.to_vec();
    // Counted first, so that a large request is not copied each time a piece of it comes.
    if memchr::memchr_iter(b'\0', bytes).count() < LEADING_FIELDS + count {
        return None;
    }
    let arguments: Option<Vec<_>> = (0..count).map(|_| field().map(<[u8]>::to_vec)).collect();
    Some(Request {
        pid,
        request_id,
        input: match &kind[..] {
            b"1" => Input::Variable(input),
            b"2" => Input::Event(input),
            _ => Input::None,
        },
        arguments: arguments?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_parsed_once_it_is_complete() {
        let bytes = b"3\x0042\x00id\x001\x00in put\x00get\x00x\x00.a\x00";
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), None, "{end}");
        }
        let request = Request {
            pid: 42,
            request_id: b"id".to_vec(),
            input: Input::Variable(b"in put".to_vec()),
            arguments: vec![b"get".to_vec(), b"x".to_vec(), b".a".to_vec()],
        };
        assert_eq!(parse(bytes), Some(request));
    }

    #[test]
    fn what_is_no_request_is_none() {
        assert_eq!(parse(b"x\x001\0\x000\0\0"), None);
        assert_eq!(parse(b"-1\x001\0\x000\0\0"), None);
        assert_eq!(parse(b""), None);
    }
}
