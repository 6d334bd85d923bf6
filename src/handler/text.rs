//! Which words the text of a handler has.

use memchr::memmem;

/// Whether `text` has `word` as a whole word of letters, digits and `_`.
#[must_use]
pub fn names_word(text: &[u8], word: &str) -> bool {
    let is_part =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    memmem::find_iter(text, word).any(|start| {
        let before = start.checked_sub(1).and_then(|at| text.get(at));
        !is_part(before) && !is_part(text.get(start + word.len()))
    })
}
