//! JSON as no one would write it: escapes that need not be, blanks, names twice, numbers beyond a double, deep nesting.

use std::fmt::Write as _;

use crate::random::Random;

/// A document's text, and what it is.
pub(crate) enum Json {
    /// As it is written: a number or a word.
    Word(String),
    Text(String),
    Array(Vec<Json>),
    /// A name may be there twice.
    Object(Vec<(String, Json)>),
}

const NAMES: &[&str] = &[
    "a",
    "b",
    "Records",
    "x-y",
    "",
    "é",
    "a.b",
    "q\"r",
    "_1",
    "two words",
    "😀",
    "\t",
    "\u{7f}",
];

const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1",
    "-1",
    "12",
    "1.0",
    "1.50",
    "-2.5e3",
    "1E2",
    "1e-7",
    "0.1",
    "123456789012345678901234567890",
    "-98765432109876543210",
    "9007199254740993",
    "1e300",
    "5e-324",
    "3.141592653589793238462643",
];

const LETTERS: &[&str] = &[
    "a", "B", "z", "0", " ", "\"", "\\", "/", "\n", "\r", "\t", "\u{8}", "\u{c}", "\u{1}",
    "\u{1f}", "\u{7f}", "é", "ß", "\u{2028}", "\u{fffd}", "\u{ffff}", "😀", "𝄞", "+", "%", "&",
    "<", ">", "'", "=", ";",
];

impl Json {
    pub(crate) fn random(random: &mut Random, depth: usize) -> Self {
        match random.below(if depth == 0 { 7 } else { 12 }) {
            0 => Self::Word("null".to_owned()),
            1 => Self::Word(random.one_of(&["true", "false"]).to_owned()),
            2 | 3 => Self::Word(random.one_of(NUMBERS).to_owned()),
            4 | 5 => Self::Text(random_text(random)),
            6 => {
                // JSON in a string.
                let inner = Self::random(random, depth.min(1));
                Self::Text(inner.write(random))
            }
            7 | 8 => {
                let length = random.below(5);
                Self::Array(
                    (0..length)
                        .map(|_| Self::random(random, depth - 1))
                        .collect(),
                )
            }
            9 if depth > 2 => {
                // Deep, and nothing beside it.
                let levels = random.below(60);
                let inner = Self::random(random, 1);
                (0..levels).fold(inner, |inner, level| {
                    if level % 2 == 0 {
                        Self::Array(vec![inner])
                    } else {
                        Self::Object(vec![("a".to_owned(), inner)])
                    }
                })
            }
            _ => {
                let length = random.below(6);
                let member = |_| {
                    (
                        random.one_of(NAMES).to_owned(),
                        Self::random(random, depth - 1),
                    )
                };
                Self::Object((0..length).map(member).collect())
            }
        }
    }

    pub(crate) fn write(&self, random: &mut Random) -> String {
        let mut text = String::new();
        self.write_into(&mut text, random);
        text
    }

    fn write_into(&self, text: &mut String, random: &mut Random) {
        blanks(text, random);
        match self {
            Self::Word(word) => text.push_str(word),
            Self::Text(string) => write_string(text, string, random),
            Self::Array(elements) => {
                text.push('[');
                for (number, element) in elements.iter().enumerate() {
                    if number > 0 {
                        text.push(',');
                    }
                    element.write_into(text, random);
                }
                blanks(text, random);
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (number, (name, value)) in members.iter().enumerate() {
                    if number > 0 {
                        text.push(',');
                    }
                    blanks(text, random);
                    write_string(text, name, random);
                    blanks(text, random);
                    text.push(':');
                    value.write_into(text, random);
                }
                blanks(text, random);
                text.push('}');
            }
        }
        blanks(text, random);
    }
}

pub(crate) fn random_text(random: &mut Random) -> String {
    let length = random.below(9);
    (0..length).map(|_| random.one_of(LETTERS)).collect()
}

fn blanks(text: &mut String, random: &mut Random) {
    if random.below(6) == 0 {
        text.push_str(random.one_of(&[" ", "\n", "\t", "\r\n", "    "]));
    }
}

/// A string with its characters escaped in one of the ways that there are.
fn write_string(text: &mut String, string: &str, random: &mut Random) {
    text.push('"');
    for letter in string.chars() {
        let short = match letter {
            '"' | '\\' | '/' => Some(letter),
            '\u{8}' => Some('b'),
            '\u{c}' => Some('f'),
            '\n' => Some('n'),
            '\r' => Some('r'),
            '\t' => Some('t'),
            _ => None,
        };
        let must_escape = letter < ' ' || letter == '"' || letter == '\\';
        match (random.below(4), short) {
            (0 | 1, Some(short)) => {
                text.push('\\');
                text.push(short);
            }
            (0, _) => write_units(text, letter, random),
            _ if must_escape => write_units(text, letter, random),
            _ => text.push(letter),
        }
    }
    // jq refuses a high surrogate that stands alone.
    if random.below(30) == 0 {
        text.push_str("\\udc01");
    }
    text.push('"');
}

fn write_units(text: &mut String, letter: char, random: &mut Random) {
    let mut units = [0; 2];
    for unit in letter.encode_utf16(&mut units) {
        let _ = if random.below(2) == 0 {
            write!(text, "\\u{unit:04x}")
        } else {
            write!(text, "\\u{unit:04X}")
        };
    }
}
