//! Encodings of bytes as text, and back.

mod html;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

pub(crate) use html::{html, html_decoded};

/// Reads what others wrote: with padding and without, and whatever the last bits are.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
/// Without padding, as JSON Web Tokens have it.
const BASE64_URL: GeneralPurpose =
    GeneralPurpose::new(&URL_SAFE, LENIENT.with_encode_padding(false));

/// What RFC 3986 does not reserve stands for itself, with jq 1.7 and with Python's `quote` as well.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Base64,
    Base64Url,
    Uri,
    /// As [`Encoding::Uri`], and a blank is `+`: forms, and the keys of S3 events.
    UriPlus,
    Html,
    Hex,
}

impl Encoding {
    pub(crate) const NAMES: &'static str = "base64, base64url, uri, uri_plus, html and hex";

    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"base64" => Self::Base64,
            b"base64url" => Self::Base64Url,
            b"uri" => Self::Uri,
            b"uri_plus" => Self::UriPlus,
            b"html" => Self::Html,
            b"hex" => Self::Hex,
            _ => return None,
        })
    }

    pub(crate) fn encode(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Base64 => BASE64.encode(bytes).into_bytes(),
            Self::Base64Url => BASE64_URL.encode(bytes).into_bytes(),
            Self::Uri => uri(bytes),
            Self::UriPlus => replaced(&uri(bytes), b"%20", b"+"),
            Self::Html => html(bytes),
            Self::Hex => hex(bytes).into_bytes(),
        }
    }

    /// What is no escape in a URI or in HTML stays as it is, as with Python.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn decode(self, text: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Base64 => base64_decoded(&BASE64, text),
            Self::Base64Url => base64_decoded(&BASE64_URL, text),
            Self::Uri => Ok(percent_decode(text).collect()),
            Self::UriPlus => Ok(percent_decode(&replaced(text, b"+", b" ")).collect()),
            Self::Html => Ok(html_decoded(text)),
            Self::Hex => hex_decoded(text),
        }
    }
}

/// Line breaks and blanks are skipped: `base64` wraps its lines.
fn base64_decoded(engine: &GeneralPurpose, text: &[u8]) -> Result<Vec<u8>, String> {
    engine
        .decode(without_blanks(text))
        .map_err(|error| error.to_string())
}

fn without_blanks(text: &[u8]) -> Vec<u8> {
    let bytes = text.iter().copied();
    bytes.filter(|byte| !byte.is_ascii_whitespace()).collect()
}

fn uri(bytes: &[u8]) -> Vec<u8> {
    percent_encode(bytes, RESERVED).to_string().into_bytes()
}

fn replaced(text: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.first() {
        if let Some(behind) = rest.strip_prefix(old) {
            written.extend_from_slice(new);
            rest = behind;
        } else {
            written.push(*first);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    written
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = nibbles.filter_map(|nibble| char::from_digit(u32::from(nibble), 16));
    digits.collect()
}

pub(crate) fn hex_decoded(text: &[u8]) -> Result<Vec<u8>, String> {
    let text = without_blanks(text);
    let digit = |byte: u8| {
        let value = char::from(byte).to_digit(16);
        value.and_then(|value| u8::try_from(value).ok())
    };
    let pairs = text.chunks(2).map(|pair| match pair {
        [high, low] => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Ok(high << 4 | low),
            _ => Err(format!("{} is no byte", String::from_utf8_lossy(pair))),
        },
        _ => Err("the last digit has no second one".to_owned()),
    });
    pairs.collect()
}
