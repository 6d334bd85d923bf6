//! What a handler asks of its response, as its shell tells it; twin of runtime-scripts/lambda.bash.
//!
//! Found among all else that comes from the control pipe. What is done about it is `response.rs`.

use memchr::{memchr, memchr_iter, memmem};

use crate::response::ResponseRequest;

/// The word that a handler's wish for its response begins with.
pub(crate) const RESPOND: &[u8] = b"respond\0";
/// More fields than a response can have headers.
const MAX_REQUEST_FIELDS: usize = 4096;
/// And more bytes than they have; `lambda.bash` refuses half of it.
pub(crate) const MAX_REQUEST_BYTES: usize = 512 * 1024;
/// The request id, the place and the kind.
const OTHER_FIELDS: usize = 3;

/// Finds what a handler asks of its response, and where that ends:
/// `respond NUL count NUL`, and then so many fields: `request id NUL place NUL kind NUL` and the words
/// that the kind has. `None` while it is not complete. Any process that has the control pipe can write it, and
/// it never reaches into the report, which bears `nonce`. Of more words than a response can have there are
/// none.
pub(crate) fn find_response_request(bytes: &[u8], nonce: &str) -> Option<(ResponseRequest, usize)> {
    let report = format!("{nonce}\0");
    let report = (!nonce.is_empty()).then(|| memmem::find(bytes, report.as_bytes()));
    let bytes = &bytes[..report.flatten().unwrap_or(bytes.len())];
    // How many fields end behind `counted`. To read them for each word again would take long if there are many.
    let mut left = fields(bytes);
    let mut counted = 0;
    memmem::find_iter(bytes, RESPOND).find_map(|start| {
        let begin = start + RESPOND.len();
        left -= fields(&bytes[counted..begin]);
        counted = begin;
        let mut end = begin;
        let mut field = || {
            let length = memchr(b'\0', &bytes[end..])?;
            let text = &bytes[end..end + length];
            end += length + 1;
            Some(text)
        };
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        let count: usize = str::from_utf8(field()?).ok()?.parse().ok()?;
        let announced = count.checked_sub(OTHER_FIELDS)?;
        let taken = if count > MAX_REQUEST_FIELDS {
            0
        } else {
            announced
        };
        if left <= taken + OTHER_FIELDS {
            return None;
        }
        let response_request = ResponseRequest {
            request_id: text(field()?),
            place: text(field()?),
            kind: text(field()?),
            argument_count: announced,
            arguments: (0..taken)
                .map(|_| field().map(text))
                .collect::<Option<_>>()?,
        };
        Some((response_request, end))
    })
}

/// How many fields end in `bytes`.
fn fields(bytes: &[u8]) -> usize {
    memchr_iter(b'\0', bytes).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &[u8] = b"respond\x005\0id\0f.sh:3\0http\x00200\0A: b\0";

    #[test]
    fn what_is_asked_is_found_among_other_words() {
        let bytes = [b"died\0respond\0x\0", FRAME, b"died\0"].concat();
        let (response_request, end) = find_response_request(&bytes, "mark").unwrap_or_default();
        assert!(bytes[..end].ends_with(FRAME));
        assert_eq!(
            (
                response_request.request_id.as_str(),
                response_request.kind.as_str()
            ),
            ("id", "http")
        );
        assert_eq!(
            (response_request.place.as_str(), response_request.arguments),
            ("f.sh:3", vec!["200".to_owned(), "A: b".to_owned()])
        );
    }

    #[test]
    fn what_is_not_complete_is_waited_for_and_reaches_into_no_report() {
        for length in 0..FRAME.len() {
            assert_eq!(find_response_request(&FRAME[..length], "mark"), None);
        }
        let before = [&FRAME[..FRAME.len() - 5], b"mark\0return\x000\0mark\0"].concat();
        assert_eq!(find_response_request(&before, "mark"), None);
        assert!(find_response_request(&before, "").is_some());
    }

    #[test]
    fn more_words_than_can_be_are_announced_and_not_there() {
        let bytes = b"respond\x009000\0id\0f.sh:3\0http\x00200\0A: b\0";
        let (response_request, _) = find_response_request(bytes, "mark").unwrap_or_default();
        assert_eq!(
            (
                response_request.argument_count,
                response_request.arguments.len()
            ),
            (8997, 0)
        );
        for bytes in [
            &b"respond\x002\0id\0f.sh:3\0"[..],
            b"respond\0-1\0id\0f\0http\0",
        ] {
            assert_eq!(find_response_request(bytes, "mark"), None);
        }
    }
}
