//! Finds bytes eight at a time.
//!
//! JSON has strings of a dozen bytes, for which a call of memchr costs more than it saves: this makes the first field
//! of a large event half as dear.

/// The byte 1 in each place.
const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// The first quote or backslash from `at` on.
pub(super) fn quote_or_backslash(text: &[u8], at: usize) -> Option<usize> {
    let is_wanted = |byte: &u8| matches!(byte, b'"' | b'\\');
    first(text, at, is_wanted, |word| {
        zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c))
    })
}

/// The first quote, or bracket of an array or an object, from `at` on.
pub(super) fn quote_or_bracket(text: &[u8], at: usize) -> Option<usize> {
    let is_wanted = |byte: &u8| matches!(byte, b'"' | b'[' | b']' | b'{' | b'}');
    first(text, at, is_wanted, |word| {
        // One bit is between `[` and `{`, and between `]` and `}`.
        let brackets = word | (ONES * 0x20);
        zeros(word ^ (ONES * 0x22))
            | zeros(brackets ^ (ONES * 0x7b))
            | zeros(brackets ^ (ONES * 0x7d))
    })
}

/// `marks` gives a word whose lowest bit that is set is in the first byte that is wanted.
fn first(
    text: &[u8],
    mut at: usize,
    is_wanted: impl Fn(&u8) -> bool,
    marks: impl Fn(u64) -> u64,
) -> Option<usize> {
    let mut rest = text.get(at..)?;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += word.len();
        rest = behind;
    }
    rest.iter().position(is_wanted).map(|found| at + found)
}

/// The highest bit of each byte that is 0. Those above the first may be wrong.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_found_or_passed_at_every_place() {
        for byte in 0..=255 {
            for place in 0..20 {
                let mut text = [b'x'; 20];
                text[place] = byte;
                let expected = |wanted: &[u8]| wanted.contains(&byte).then_some(place);
                assert_eq!(quote_or_backslash(&text, 0), expected(b"\"\\"), "{byte}");
                assert_eq!(quote_or_bracket(&text, 0), expected(b"\"[]{}"), "{byte}");
                assert_eq!(quote_or_bracket(&text, place + 1), None);
            }
        }
        assert_eq!(quote_or_backslash(b"\"\"", 1), Some(1));
        assert_eq!(quote_or_backslash(b"\"", 2), None);
    }
}
