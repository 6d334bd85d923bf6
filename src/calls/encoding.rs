//! Encodings of bytes as text, and back.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// Reads what others wrote: with padding and without, and whatever the last bits are.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// What RFC 3986 lets stand: jq 1.7 and Python's `quote(safe="")` keep the same.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Line breaks and blanks are skipped: `base64` wraps its lines.
pub(crate) fn base64_decoded(text: &[u8]) -> Result<Vec<u8>, String> {
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    BASE64.decode(text).map_err(|error| error.to_string())
}

pub(crate) fn uri(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// What is no escape stays as it is.
pub(crate) fn uri_decoded(text: &[u8], plus_is_blank: bool) -> Vec<u8> {
    if plus_is_blank && text.contains(&b'+') {
        let blanks: Vec<u8> = text
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        return percent_decode(&blanks).collect();
    }
    percent_decode(text).collect()
}

/// The five characters that mean something in HTML, as jq's `@html` and Python's `html.escape` name them.
pub(crate) fn html(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        let entity: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            b'\'' => b"&#39;",
            other => std::slice::from_ref(other),
        };
        escaped.extend_from_slice(entity);
    }
    escaped
}
