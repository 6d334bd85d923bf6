//! Finds what a handler requests for its response, such as a status or streaming, in what comes from the control pipe.
//!
//! `runtime-scripts/lambda.bash` writes the requests, and `response.rs` applies them.

use memchr::{memchr, memchr_iter, memmem};

use super::report::Located;
use crate::response::ResponseRequest;

/// The field with which a request begins.
pub(crate) const RESPOND: &[u8] = coshell_driver::record::RESPOND_FIELD;
/// A request with more fields keeps none of them. A response cannot have this many headers.
const MAX_REQUEST_FIELDS: usize = 4096;
/// No request is longer; `lambda.bash` rejects one at half of this.
pub(crate) const MAX_REQUEST_BYTES: usize = 512 * 1024;
/// The request id, the place and the kind.
const LEADING_FIELDS: usize = 3;

/// Finds a request: `respond NUL count NUL`, and then `count` fields: `request id NUL place NUL kind NUL`, and those
/// that belong to the kind. Returns `None` while it is not complete.
///
/// Any process that has the control pipe can write a request. It never reaches into the report, which starts with
/// `nonce`.
pub(crate) fn find_response_request(bytes: &[u8], nonce: &str) -> Option<Located<ResponseRequest>> {
    let report = format!("{nonce}\0");
    let report = (!nonce.is_empty()).then(|| memmem::find(bytes, report.as_bytes()));
    let bytes = &bytes[..report.flatten().unwrap_or(bytes.len())];
    // The number of fields that end behind `counted`. Counting them again for each `respond` would take long.
    let mut left = count_fields(bytes);
    let mut counted = 0;
    memmem::find_iter(bytes, RESPOND).find_map(|start| {
        let begin = start + RESPOND.len();
        left -= count_fields(&bytes[counted..begin]);
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
        let argument_count = count.checked_sub(LEADING_FIELDS)?;
        let taken = if count > MAX_REQUEST_FIELDS {
            0
        } else {
            argument_count
        };
        if left <= taken + LEADING_FIELDS {
            return None;
        }
        let request = ResponseRequest {
            request_id: text(field()?),
            place: text(field()?),
            kind: text(field()?),
            argument_count,
            arguments: (0..taken)
                .map(|_| field().map(text))
                .collect::<Option<_>>()?,
        };
        Some(Located {
            record: request,
            end,
        })
    })
}

/// The number of fields that end in `bytes`.
fn count_fields(bytes: &[u8]) -> usize {
    memchr_iter(b'\0', bytes).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"respond\x005\0id\0f.sh:3\0http\x00200\0A: b\0";

    fn find(bytes: &[u8], nonce: &str) -> Option<ResponseRequest> {
        find_response_request(bytes, nonce).map(|found| found.record)
    }

    #[test]
    fn request_is_found_among_other_fields() {
        let bytes = [b"died\0respond\0x\0", REQUEST, b"died\0"].concat();
        let end = find_response_request(&bytes, "nonce").map(|found| found.end);
        assert!(bytes[..end.unwrap_or_default()].ends_with(REQUEST));
        let request = find(&bytes, "nonce").unwrap_or_default();
        assert_eq!(
            (request.request_id.as_str(), request.kind.as_str()),
            ("id", "http")
        );
        assert_eq!(
            (request.place.as_str(), request.arguments),
            ("f.sh:3", vec!["200".to_owned(), "A: b".to_owned()])
        );
    }

    #[test]
    fn incomplete_request_is_not_found_and_does_not_reach_into_a_report() {
        for length in 0..REQUEST.len() {
            assert_eq!(find(&REQUEST[..length], "nonce"), None);
        }
        let cut = &REQUEST[..REQUEST.len() - 5];
        let before = [cut, b"nonce\0return\x000\0nonce\0"].concat();
        assert_eq!(find(&before, "nonce"), None);
        assert!(find(&before, "").is_some());
    }

    #[test]
    fn request_with_too_many_fields_keeps_their_number_only() {
        let bytes = b"respond\x009000\0id\0f.sh:3\0http\x00200\0A: b\0";
        let request = find(bytes, "nonce").unwrap_or_default();
        assert_eq!((request.argument_count, request.arguments.len()), (8997, 0));
        for bytes in [
            &b"respond\x002\0id\0f.sh:3\0"[..],
            b"respond\0-1\0id\0f\0http\0",
        ] {
            assert_eq!(find(bytes, "nonce"), None);
        }
    }
}
