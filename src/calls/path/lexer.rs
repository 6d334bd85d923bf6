//! jq's words: enough of them to tell a filter that jq may understand from one with a mistake.

/// What is wrong with a filter, and the byte where it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) at: usize,
    pub(crate) message: String,
}

/// The letters, digits and underscores at the start of `text`.
pub(crate) fn word(text: &str) -> &str {
    let ends = |letter: char| !(letter.is_ascii_alphanumeric() || letter == '_');
    text.split(ends).next().unwrap_or_default()
}

/// ASCII that is no letter and no digit.
fn is_plain(letter: char) -> bool {
    letter.is_ascii() && !letter.is_ascii_alphanumeric()
}

/// The name that someone meant who forgot its quotes.
pub(crate) fn likely_name(text: &str) -> String {
    let text = text.trim_start_matches('\'');
    let ends = |letter: char| is_plain(letter) && !matches!(letter, '_' | '-');
    text.split(ends).next().unwrap_or_default().to_owned()
}

/// How long the literal is that `text` begins with: a string, a container or a number; 0 if there is none. What is not
/// closed reaches to the end.
pub(crate) fn literal_length(text: &str) -> usize {
    match text.as_bytes().first() {
        Some(b'"') => string_length(text.as_bytes()),
        Some(b'[' | b'{') => container_length(text.as_bytes()),
        _ => number_length(text.as_bytes()),
    }
}

fn string_length(text: &[u8]) -> usize {
    let mut end = 1;
    while let Some(byte) = text.get(end) {
        match byte {
            b'"' => return end + 1,
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    text.len()
}

fn container_length(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at += string_length(text.get(at..).unwrap_or_default());
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text.len()
}

fn number_length(text: &[u8]) -> usize {
    let mut before = b'e';
    let is_of_number = |byte: &&u8| {
        let is_sign = matches!(byte, b'-' | b'+') && matches!(before, b'e' | b'E');
        before = **byte;
        is_sign || byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_')
    };
    text.iter().take_while(is_of_number).count()
}

/// Whether jq may understand `text`: its strings and brackets are closed, and every character is one of jq's.
pub(crate) fn check(text: &str) -> Result<(), Mistake> {
    // What is open, and where it was opened. `"` is a string, `(` in one an interpolation.
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut letters = text.char_indices();
    let mistake = |at: usize, message: &str| {
        let message = message.to_owned();
        Err(Mistake { at, message })
    };
    while let Some((at, letter)) = letters.next() {
        if matches!(open.last(), Some(('"', _))) {
            match letter {
                '"' => drop(open.pop()),
                '\\' => match letters.next() {
                    Some((at, '(')) => open.push(('(', at)),
                    Some((_, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u')) => {}
                    _ => return mistake(at, "no such escape in a string"),
                },
                _ => {}
            }
            continue;
        }
        match letter {
            '"' | '(' | '[' | '{' => open.push((letter, at)),
            ')' | ']' | '}' => {
                let opening = match letter {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if open.pop().is_none_or(|(opened, _)| opened != opening) {
                    return mistake(at, &format!("nothing is open that {letter} could close"));
                }
            }
            '#' => {
                let is_end = |(_, letter): &(usize, char)| *letter == '\n';
                letters.by_ref().find(is_end);
            }
            '\'' | '‘' | '’' | '“' | '”' => {
                return mistake(at, "strings have double quotes: \"...\"");
            }
            '`' | '~' | '^' | '&' | '\\' => {
                return mistake(at, &format!("{letter} means nothing here"));
            }
            _ if letter.is_ascii_graphic() || letter.is_ascii_whitespace() => {}
            _ => return mistake(at, "characters beyond ASCII need quotes: \"...\""),
        }
    }
    match open.last() {
        Some(('"', at)) => mistake(*at, "a string is not closed"),
        Some((opening, at)) => mistake(*at, &format!("{opening} is not closed")),
        None => Ok(()),
    }
}
