//! The words of a command.

use tree_sitter::Node;

use crate::tree::children;

#[derive(Debug, Default, Clone)]
pub(crate) struct Word {
    /// The word without quotes; expansions are as they are in the script.
    pub text: String,
    /// Whether nothing in the word is expanded.
    pub is_literal: bool,
}

impl Word {
    pub(super) fn literal(text: String) -> Self {
        Self {
            text,
            is_literal: true,
        }
    }

    /// The word that `node` is in the script `text`.
    pub(super) fn from_node(node: Node, text: &str) -> Self {
        let source = text.get(node.byte_range()).unwrap_or_default();
        match node.kind() {
            "command_name" => match node.child(0) {
                Some(inner) => Self::from_node(inner, text),
                None => Self::literal(source.to_owned()),
            },
            "word" => Self::literal(unescape(source, |_| true)),
            "raw_string" => Self::literal(strip_quotes(source, '\'').to_owned()),
            "ansi_c_string" => {
                Self::literal(strip_quotes(source.trim_start_matches('$'), '\'').to_owned())
            }
            "string" => {
                let is_literal = children(node)
                    .iter()
                    .all(|child| !child.is_named() || child.kind() == "string_content");
                let inner = strip_quotes(source, '"');
                Self {
                    text: if is_literal {
                        unescape(inner, |letter| "\"\\$`".contains(letter))
                    } else {
                        inner.to_owned()
                    },
                    is_literal,
                }
            }
            "concatenation" => {
                let mut word = Self::literal(String::new());
                for part in children(node) {
                    word.append(&Self::from_node(part, text));
                }
                word
            }
            "simple_expansion"
            | "expansion"
            | "command_substitution"
            | "process_substitution"
            | "arithmetic_expansion"
            | "brace_expression"
            | "translated_string"
            | "array"
            | "subscript" => Self {
                text: source.to_owned(),
                is_literal: false,
            },
            _ => Self::literal(source.to_owned()),
        }
    }

    pub(super) fn append(&mut self, other: &Self) {
        self.text.push_str(&other.text);
        self.is_literal &= other.is_literal;
    }
}

/// The argument that a command runs as code, if the script spells it out.
pub(super) fn code_in(words: &[Word]) -> Option<&str> {
    let name = words.first().filter(|name| name.is_literal)?;
    let index = match name.text.rsplit('/').next()? {
        "eval" if words.len() == 2 => 1,
        "trap" if words.len() > 2 => 1,
        "bash" | "sh" => {
            let option = words.iter().position(|word| word.text == "-c")?;
            option + 1
        }
        _ => return None,
    };
    let code = words.get(index).filter(|code| code.is_literal)?;
    (!code.text.starts_with('-')).then_some(code.text.as_str())
}

fn strip_quotes(text: &str, quote: char) -> &str {
    let text = text.strip_prefix(quote).unwrap_or(text);
    text.strip_suffix(quote).unwrap_or(text)
}

/// Removes the backslashes in front of letters that a backslash can quote.
fn unescape(text: &str, can_be_quoted: impl Fn(char) -> bool) -> String {
    let mut letters = text.chars().peekable();
    let mut plain = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        match letters.peek() {
            Some('\n') if letter == '\\' => {
                letters.next();
            }
            Some(next) if letter == '\\' && can_be_quoted(*next) => {
                plain.extend(letters.next());
            }
            _ => plain.push(letter),
        }
    }
    plain
}
