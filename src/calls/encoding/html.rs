//! The characters that mean something in HTML.

/// As jq's `@html` and Python's `html.escape` write them, but for `'`, which is `&#39;` here, as in jq's manual: every
/// version of HTML knows that one. jq itself writes `&apos;`, Python `&#x27;`.
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

/// The longest that is looked for: `&#x10ffff;`, and some zeros.
const LONGEST: usize = 16;

/// Undoes what [`html`] does, and numbers. Other names stay as they are: there are two thousand.
pub(crate) fn html_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'&', rest) {
        let (before, entity) = rest.split_at(at);
        decoded.extend_from_slice(before);
        let near = entity.get(..LONGEST).unwrap_or(entity);
        let end = memchr::memchr(b';', near).unwrap_or_default();
        let name = entity.get(1..end).unwrap_or_default();
        if let Some(character) = character(name) {
            let mut bytes = [0; 4];
            decoded.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
            rest = entity.get(end + 1..).unwrap_or_default();
        } else {
            decoded.push(b'&');
            rest = entity.get(1..).unwrap_or_default();
        }
    }
    decoded.extend_from_slice(rest);
    decoded
}

fn character(name: &[u8]) -> Option<char> {
    match name {
        b"amp" => return Some('&'),
        b"lt" => return Some('<'),
        b"gt" => return Some('>'),
        b"quot" => return Some('"'),
        b"apos" => return Some('\''),
        b"nbsp" => return Some('\u{a0}'),
        _ => {}
    }
    let number = str::from_utf8(name.strip_prefix(b"#")?).ok()?;
    // A sign would be read as well.
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    // Neither NUL nor a control character is meant by anyone.
    let character = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
    (!character.is_control() || matches!(character, '\t' | '\n' | '\r')).then_some(character)
}
