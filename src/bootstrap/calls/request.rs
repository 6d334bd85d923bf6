//! What a caller sends: fields that each end in NUL.
//!
//! ```text
//! count of arguments | caller | request id | 0, or 1 if there is an input, or 2 if it is the event | input
//! | function | argument...
//! ```
//!
//! The caller is its process id. In a call of the shell itself `.` and a number follow, which no other call of that process has:
//! the reply begins with both. A `-` in front says that the shell has descriptors of its own, though this call takes a ticket.
//!
//! The request id is that of the caller's invocation. A process that outlives its invocation must not read the next event.

use memchr::{memchr, memchr_iter};

/// A request larger than this is refused.
const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;
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
    /// The field of the caller.
    pub caller: Vec<u8>,
    pub request_id: Vec<u8>,
    pub input: Input,
    /// The function without `lambda_`, and its arguments; empty if the request was too large.
    pub arguments: Vec<Vec<u8>>,
}

impl Request {
    /// Whether the shell of the caller has descriptors of its own for calls.
    pub(crate) fn has_descriptors(&self) -> bool {
        self.caller.starts_with(b"-")
    }

    /// The number of a call of the shell itself.
    pub(crate) fn number(&self) -> Option<u64> {
        let (_, number) = str::from_utf8(&self.caller).ok()?.split_once('.')?;
        number.parse().ok()
    }

    fn too_large(pid: i32, caller: &[u8]) -> Self {
        Self {
            pid,
            caller: caller.to_vec(),
            request_id: Vec::new(),
            input: Input::None,
            arguments: Vec::new(),
        }
    }
}

/// Puts a request together from the pieces in which it comes.
#[derive(Debug, Default)]
pub(crate) struct RequestReader {
    /// The request, or its beginning if it is too large.
    bytes: Vec<u8>,
    /// The number of fields that have come to their end.
    fields: usize,
    is_too_large: bool,
}

impl RequestReader {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.fields += memchr_iter(b'\0', piece).count();
        self.is_too_large |= self.bytes.len() + piece.len() > MAX_REQUEST_BYTES;
        if !self.is_too_large {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Takes the request, once it is complete.
    pub(crate) fn take(&mut self) -> Option<Request> {
        let (count, pid, caller) = head(&mut fields_of(&self.bytes))?;
        if self.fields < LEADING_FIELDS + count {
            return None;
        }
        let too_large = self.is_too_large.then(|| Request::too_large(pid, caller));
        let complete = std::mem::take(self);
        if too_large.is_some() {
            return too_large;
        }
        parse(&complete.bytes)
    }
}

/// The fields of `bytes` that have come to their end.
fn fields_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let end = memchr(b'\0', rest)?;
        let (field, behind) = rest.split_at(end);
        rest = &behind[1..];
        Some(field)
    })
}

/// Takes the count of arguments and the caller, whose process id is in the middle.
fn head<'a>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<(usize, i32, &'a [u8])> {
    let count = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let caller = fields.next()?;
    let text = str::from_utf8(caller).ok()?;
    let pid = text.trim_start_matches('-').split('.').next()?;
    Some((count, pid.parse().ok()?, caller))
}

fn parse(bytes: &[u8]) -> Option<Request> {
    let mut fields = fields_of(bytes);
    let (count, pid, caller) = head(&mut fields)?;
    let caller = caller.to_vec();
    let mut field = || fields.next().map(<[u8]>::to_vec);
    let (request_id, kind, input) = (field()?, field()?, field()?);
    let arguments: Option<Vec<_>> = (0..count).map(|_| field()).collect();
    Some(Request {
        pid,
        caller,
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

    fn taken(bytes: &[u8]) -> Option<Request> {
        let mut reader = RequestReader::default();
        reader.push(bytes);
        reader.take()
    }

    #[test]
    fn request_is_taken_once_it_is_complete() {
        let bytes = b"3\x0042.7\x00id\x001\x00in put\x00get\x00x\x00.a\x00";
        let expected = Request {
            pid: 42,
            caller: b"42.7".to_vec(),
            request_id: b"id".to_vec(),
            input: Input::Variable(b"in put".to_vec()),
            arguments: vec![b"get".to_vec(), b"x".to_vec(), b".a".to_vec()],
        };
        let mut reader = RequestReader::default();
        for _ in 0..2 {
            for (index, byte) in bytes.iter().enumerate() {
                assert_eq!(reader.take(), None, "{index}");
                reader.push(&[*byte]);
            }
            assert_eq!(reader.take(), Some(expected.clone()));
        }
    }

    #[test]
    fn request_that_is_too_large_is_read_to_its_end() {
        let mut reader = RequestReader::default();
        reader.push(b"2\x0042\x00id\x000\x00\x00json\x00");
        let piece = vec![b'x'; MAX_REQUEST_BYTES / 4];
        for _ in 0..5 {
            reader.push(&piece);
            assert_eq!(reader.take(), None);
        }
        reader.push(b"\0");
        assert_eq!(reader.take(), Some(Request::too_large(42, b"42")));
        reader.push(b"0\x0043\x00id\x000\x00\x00");
        assert_eq!(reader.take().map(|request| request.pid), Some(43));
    }

    #[test]
    fn what_is_no_request_is_none() {
        assert_eq!(taken(b"x\x001\0\x000\0\0"), None);
        assert_eq!(taken(b"-1\x001\0\x000\0\0"), None);
        assert_eq!(taken(b""), None);
    }
}
