//! What a handler asks of its response, as its shell tells it; twin of runtime-scripts/lambda.bash.
//!
//! Found among all else that comes from the control pipe. What is done about it is `response.rs`.

use std::ops::Range;

use memchr::{memchr, memmem};

use crate::response::Asked;

/// The word that a handler's wish for its response begins with.
const RESPOND: &[u8] = b"respond\0";
/// More fields than a response can have headers.
const MAX_ASKED_FIELDS: usize = 4096;

/// Finds what a handler asks of its response, and where that is:
/// `respond NUL count NUL`, and then so many fields: `request id NUL place NUL kind NUL` and the words
/// that the kind has. `None` while it is not complete. Any process that has the control pipe can write it, and
/// it never reaches into the report, which bears `mark`.
#[must_use]
pub fn find_asked(bytes: &[u8], mark: &str) -> Option<(Asked, Range<usize>)> {
    // Most handlers ask for nothing, and each report comes by here.
    memmem::find(bytes, RESPOND)?;
    let report = format!("{mark}\0");
    let report = (!mark.is_empty()).then(|| memmem::find(bytes, report.as_bytes()));
    let bytes = &bytes[..report.flatten().unwrap_or(bytes.len())];
    memmem::find_iter(bytes, RESPOND).find_map(|start| {
        let mut end = start + RESPOND.len();
        let mut field = || {
            let length = memchr(b'\0', &bytes[end..])?;
            let text = String::from_utf8_lossy(&bytes[end..end + length]).into_owned();
            end += length + 1;
            Some(text)
        };
        let count: usize = field()?.parse().ok()?;
        let count = (3..=MAX_ASKED_FIELDS).contains(&count).then_some(count)?;
        let asked = Asked {
            request_id: field()?,
            place: field()?,
            kind: field()?,
            words: (3..count).map(|_| field()).collect::<Option<_>>()?,
        };
        Some((asked, start..end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &[u8] = b"respond\x005\0id\0f.sh:3\0http\x00200\0A: b\0";

    #[test]
    fn what_is_asked_is_found_among_other_words() {
        let bytes = [b"died\0respond\0x\0", FRAME, b"died\0"].concat();
        let (asked, place) = find_asked(&bytes, "mark").unwrap_or_default();
        assert_eq!(&bytes[place], FRAME);
        assert_eq!(
            (asked.request_id.as_str(), asked.kind.as_str()),
            ("id", "http")
        );
        assert_eq!(
            (asked.place.as_str(), asked.words),
            ("f.sh:3", vec!["200".to_owned(), "A: b".to_owned()])
        );
    }

    #[test]
    fn what_is_not_complete_is_waited_for_and_reaches_into_no_report() {
        for length in 0..FRAME.len() {
            assert_eq!(find_asked(&FRAME[..length], "mark"), None);
        }
        let before = [&FRAME[..FRAME.len() - 5], b"mark\0return\x000\0mark\0"].concat();
        assert_eq!(find_asked(&before, "mark"), None);
        assert!(find_asked(&before, "").is_some());
    }
}
