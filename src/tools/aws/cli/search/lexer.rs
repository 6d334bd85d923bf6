//! The tokens of an expression.

use crate::aws::cli::value::Value;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    /// A name in double quotes, which cannot be a function.
    QuotedName(String),
    Number(i64),
    Literal(Value),
    Dot,
    Star,
    OpenBracket,
    CloseBracket,
    /// `[]`
    Flatten,
    /// `[?`
    Filter,
    OpenParenthesis,
    CloseParenthesis,
    OpenBrace,
    CloseBrace,
    Comma,
    Colon,
    Current,
    Pipe,
    Or,
    And,
    Reference,
    Not,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    End,
}

/// The tokens of a text, with `End` at the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut rest = text;
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let Some(first) = rest.chars().next() else {
            tokens.push(Token::End);
            return Ok(tokens);
        };
        let (token, length) = match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                let end =
                    rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                let end = end.unwrap_or(rest.len());
                (Token::Name(rest[..end].to_owned()), end)
            }
            '0'..='9' | '-' => {
                let end = rest[1..].find(|letter: char| !letter.is_ascii_digit());
                let end = end.map_or(rest.len(), |end| end + 1);
                let number = rest[..end].parse();
                let number = number.map_err(|_| format!("Unknown token '{}'", &rest[..end]))?;
                (Token::Number(number), end)
            }
            '`' | '\'' | '"' => quoted(first, rest)?,
            _ => symbol(rest).ok_or_else(|| format!("Unknown token {first}"))?,
        };
        tokens.push(token);
        rest = &rest[length..];
    }
}

fn symbol(text: &str) -> Option<(Token, usize)> {
    let tokens = [
        ("[]", Token::Flatten),
        ("[?", Token::Filter),
        ("[", Token::OpenBracket),
        ("]", Token::CloseBracket),
        ("||", Token::Or),
        ("|", Token::Pipe),
        ("&&", Token::And),
        ("&", Token::Reference),
        ("==", Token::Equal),
        ("!=", Token::NotEqual),
        ("!", Token::Not),
        ("<=", Token::LessOrEqual),
        ("<", Token::Less),
        (">=", Token::GreaterOrEqual),
        (">", Token::Greater),
        (".", Token::Dot),
        ("*", Token::Star),
        (",", Token::Comma),
        (":", Token::Colon),
        ("@", Token::Current),
        ("(", Token::OpenParenthesis),
        (")", Token::CloseParenthesis),
        ("{", Token::OpenBrace),
        ("}", Token::CloseBrace),
    ];
    let mut tokens = tokens.into_iter();
    let (symbol, token) = tokens.find(|(symbol, _)| text.starts_with(symbol))?;
    Some((token, symbol.len()))
}

/// A literal in backquotes or single quotes, or a name in double quotes.
fn quoted(quote: char, text: &str) -> Result<(Token, usize), String> {
    let mut is_escaped = false;
    let end = text[1..].find(|letter| {
        let ends = letter == quote && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        ends
    });
    let end = end.ok_or_else(|| format!("Unclosed {quote} delimiter"))? + 1;
    let content = &text[1..end];
    let token = match quote {
        '\'' => Token::Literal(Value::Text(content.replace("\\'", "'"))),
        '"' => match Value::from_json(&text.as_bytes()[..=end]) {
            Ok(Value::Text(name)) => Token::QuotedName(name),
            _ => return Err(format!("Bad name {}", &text[..=end])),
        },
        _ => {
            let content = content.replace("\\`", "`");
            // What is no JSON is a text, as the AWS CLI still reads it.
            let quoted = || format!("\"{}\"", content.trim_start());
            let value = Value::from_json(content.as_bytes());
            let value = value.or_else(|_| Value::from_json(quoted().as_bytes()));
            let value = value.map_err(|_| format!("Bad token {content}"))?;
            // A whole number is one in Python at any size, and -0 is 0.
            Token::Literal(match (value, content.trim_ascii().parse()) {
                (Value::Float(_), Ok(integer)) => Value::Integer(integer),
                (value, _) => value,
            })
        }
    };
    Ok((token, end + 1))
}
