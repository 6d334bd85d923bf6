//! base32, and base64 as jq reads it.

use jaq_core::Error;
use jaq_json::Val;

use super::write::string;

const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(crate) fn decoded(
    value: &Val,
    decode: fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<Val, Error<Val>> {
    let text = string(value).unwrap_or_default();
    let decoded = decode(text).ok_or_else(|| {
        let text = String::from_utf8_lossy(text);
        Error::str(format!("string (\"{text}\") is not valid base64 data"))
    })?;
    let text = String::from_utf8_lossy(&decoded).into_owned();
    Ok(Val::from(text))
}

pub(crate) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let bytes = from_bits(text, BASE64, 6)?;
    // A letter alone has no byte.
    (text.is_empty() || !bytes.is_empty()).then_some(bytes)
}

pub(crate) fn from_base32(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=');
    from_bits(&text[..end.map_or(0, |last| last + 1)], BASE32, 5)
}

/// Puts the bits of letters together, `width` for each. Those that are too few for a byte are left out.
fn from_bits(text: &[u8], letters: &[u8], width: usize) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut bytes) = (0_usize, 0, Vec::new());
    for letter in text {
        let value = letters.iter().position(|known| known == letter)?;
        bits = ((bits << width) | value) & 0xffff;
        count += width;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

pub(crate) fn to_base32(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for group in bytes.chunks(5) {
        let bits = group
            .iter()
            .fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        let bits = bits << (8 * (5 - group.len()));
        let letters = (group.len() * 8).div_ceil(5);
        for index in 0..8 {
            let at = usize::try_from((bits >> (35 - 5 * index)) & 31).unwrap_or_default();
            text.push(if index < letters { BASE32[at] } else { b'=' });
        }
    }
    text
}
