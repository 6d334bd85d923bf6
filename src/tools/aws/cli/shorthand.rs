//! The AWS CLI's short way to write structures: `Key=Name,Values=a,b`, `a={b=1,c=[x,y]}`.
//!
//! ```text
//! structure  key = values [, key = values]...
//! values     word [, word]...  |  list  |  group
//! list       [ value, ... ]
//! group      { key = value, ... }
//! value      word | list | group | "quoted" | 'quoted'
//! ```
//!
//! A word that follows a comma is one more value if no `=` comes behind it; else it is the next key.

use super::table::{Kind, Service, Shape};
use super::value::Value;

/// Parses one structure. Scalars are texts; see [`fit`].
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser {
        letters: text.chars().collect(),
        at: 0,
    };
    parser.structure()
}

/// Makes the texts of a parsed value what its type is: numbers, booleans, and lists of one element.
///
/// Values that do not fit stay as they are. A text that is no number is an error, its message.
pub(crate) fn fit(value: &mut Value, shape: &Shape, service: &Service) -> Result<(), String> {
    match &shape.kind {
        Kind::Structure(name) => {
            if let Value::Map(entries) = value {
                let structure = service.structure(name);
                for (key, member) in entries {
                    if let Some(known) = structure.member(key) {
                        fit_member(member, &known.shape, service)?;
                    }
                }
            }
        }
        Kind::List(list) => {
            if let Value::List(elements) = value {
                for element in elements {
                    fit_member(element, &list.element, service)?;
                }
            }
        }
        Kind::Map(map) => {
            if let Value::Map(entries) = value {
                for (_, member) in entries {
                    fit_member(member, &map.element, service)?;
                }
            }
        }
        _ => fit_scalar(value, &shape.kind)?,
    }
    Ok(())
}

fn fit_member(value: &mut Value, shape: &Shape, service: &Service) -> Result<(), String> {
    if matches!(shape.kind, Kind::List(_)) && !matches!(value, Value::List(_)) {
        // The element stays a text, as with the AWS CLI.
        *value = Value::List(vec![std::mem::take(value)]);
        return Ok(());
    }
    fit(value, shape, service)
}

fn fit_scalar(value: &mut Value, kind: &Kind) -> Result<(), String> {
    let Value::Text(text) = value else {
        return match kind {
            Kind::Integer | Kind::Long | Kind::Float | Kind::Double | Kind::Boolean => {
                Err(format!("a {} is no scalar", value.python_type()))
            }
            _ => Ok(()),
        };
    };
    match kind {
        Kind::Integer | Kind::Long => *value = Value::Integer(integer(text)?),
        Kind::Float | Kind::Double => *value = Value::Float(float(text)?),
        Kind::Boolean if text.eq_ignore_ascii_case("true") => *value = Value::Bool(true),
        Kind::Boolean if text.eq_ignore_ascii_case("false") => *value = Value::Bool(false),
        _ => {}
    }
    Ok(())
}

/// A number as Python's `int` reads it.
pub(crate) fn integer(text: &str) -> Result<i128, String> {
    let trimmed = text.trim();
    let trimmed = trimmed.strip_prefix('+').unwrap_or(trimmed);
    let is_signed_twice = trimmed.starts_with('+') || trimmed.is_empty();
    let parsed = trimmed.parse().ok().filter(|_| !is_signed_twice);
    parsed.ok_or_else(|| format!("invalid literal for int() with base 10: '{text}'"))
}

/// A number as Python's `float` reads it.
pub(crate) fn float(text: &str) -> Result<f64, String> {
    let parsed = text.trim().parse();
    parsed.map_err(|_| format!("could not convert string to float: '{text}'"))
}

struct Parser {
    letters: Vec<char>,
    at: usize,
}

impl Parser {
    fn structure(&mut self) -> Result<Value, String> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        loop {
            let start = self.at;
            let key = self.key();
            self.expect('=', true)?;
            let value = self.values()?;
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(format!(
                    "Second instance of key \"{key}\" encountered for input:\n{}\nThis is often because there is a preceding \",\" \
                     instead of a space.",
                    self.location(start)
                ));
            }
            entries.push((key, value));
            if self.current().is_none() {
                return Ok(Value::Map(entries));
            }
            self.expect(',', true)?;
        }
    }

    fn current(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self
            .current()
            .is_some_and(|letter| matches!(letter, ' ' | '\t'..='\r'))
        {
            self.at += 1;
        }
    }

    fn location(&self, at: usize) -> String {
        let line_start = |at: usize| {
            let newline = self.letters[..at]
                .iter()
                .rposition(|letter| *letter == '\n');
            newline.map_or(0, |newline| newline + 1)
        };
        let at = at.min(self.letters.len());
        let rest = self.letters[at..].iter().position(|letter| *letter == '\n');
        let end = rest.map_or(self.letters.len(), |rest| at + rest);
        let text = |letters: &[char]| letters.iter().collect::<String>();
        format!(
            "{}\n{}^{}",
            text(&self.letters[..end]),
            " ".repeat(at - line_start(at)),
            text(&self.letters[end..])
        )
    }

    fn unexpected(&self, expected: &str, received: &str) -> String {
        let location = self.location(self.at);
        format!("Expected: '{expected}', received: '{received}' for input:\n{location}")
    }

    fn expect(&mut self, letter: char, skips_blanks: bool) -> Result<(), String> {
        if skips_blanks {
            self.skip_blanks();
        }
        match self.current() {
            Some(current) if current == letter => self.at += 1,
            Some(current) => return Err(self.unexpected(&letter.to_string(), &current.to_string())),
            None => return Err(self.unexpected(&letter.to_string(), "EOF")),
        }
        if skips_blanks {
            self.skip_blanks();
        }
        Ok(())
    }

    fn key(&mut self) -> String {
        let is_key = |letter: char| letter.is_ascii_alphanumeric() || "-_.#/:".contains(letter);
        let start = self.at;
        while self.current().is_some_and(is_key) {
            self.at += 1;
        }
        self.letters[start..self.at].iter().collect()
    }

    fn values(&mut self) -> Result<Value, String> {
        match self.current() {
            None => Ok(Value::text("")),
            Some('[') => self.list(0),
            Some('{') => self.group(0),
            Some(_) => self.words(),
        }
    }

    /// `a`, or `a,b,c`: up to the end, or to the comma before the next key.
    fn words(&mut self) -> Result<Value, String> {
        let first = self.first_word()?;
        self.skip_blanks();
        if self.current() != Some(',') {
            return Ok(Value::Text(first));
        }
        let mut words = vec![first];
        self.expect(',', true)?;
        loop {
            let word = self.next_word().and_then(|word| {
                self.skip_blanks();
                if self.current().is_some() {
                    self.expect(',', true)?;
                    return Ok((word, false));
                }
                Ok((word, true))
            });
            match word {
                Ok((word, is_last)) => {
                    words.push(word);
                    if is_last {
                        break;
                    }
                }
                Err(error) if self.current().is_none() => return Err(error),
                Err(_) => {
                    // What follows the last comma is a key.
                    while self.at > 0 && self.current() != Some(',') {
                        self.at -= 1;
                    }
                    break;
                }
            }
        }
        if words.len() > 1 {
            return Ok(Value::List(words.into_iter().map(Value::Text).collect()));
        }
        Ok(Value::Text(words.swap_remove(0)))
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        match self.current() {
            Some('[') => self.list(depth + 1),
            Some('{') => self.group(depth + 1),
            _ => self.first_word().map(Value::Text),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        Self::check_depth(depth)?;
        self.expect('[', true)?;
        let mut elements = Vec::new();
        while self.current() != Some(']') {
            elements.push(self.value(depth)?);
            self.skip_blanks();
            if self.current() != Some(']') {
                self.expect(',', false)?;
                self.skip_blanks();
            }
        }
        self.expect(']', false)?;
        Ok(Value::List(elements))
    }

    fn group(&mut self, depth: usize) -> Result<Value, String> {
        Self::check_depth(depth)?;
        self.expect('{', true)?;
        let mut group = Value::Map(Vec::new());
        while self.current() != Some('}') {
            let key = self.key();
            self.expect('=', true)?;
            let value = self.value(depth)?;
            self.skip_blanks();
            if self.current() != Some('}') {
                self.expect(',', false)?;
                self.skip_blanks();
            }
            group.set(&key, value);
        }
        self.expect('}', false)?;
        Ok(group)
    }

    fn check_depth(depth: usize) -> Result<(), String> {
        if depth > 200 {
            return Err("it nests too deeply".to_owned());
        }
        Ok(())
    }

    fn first_word(&mut self) -> Result<String, String> {
        match self.current() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            _ => Ok(self.word(is_in_first).unwrap_or_default()),
        }
    }

    fn next_word(&mut self) -> Result<String, String> {
        if let Some(quote @ ('\'' | '"')) = self.current() {
            return self.quoted(quote);
        }
        let word = self.word(is_in_next);
        word.ok_or_else(|| self.unexpected("<second>", "<none>"))
    }

    /// A word without quotes, with blanks in it but not at its end; `\,` is a comma. `None` if there is none.
    fn word(&mut self, is_in: fn(char) -> bool) -> Option<String> {
        let start = self.at;
        let mut word = String::new();
        while let Some(letter) = self.current() {
            if letter == '\\' && self.letters.get(self.at + 1) == Some(&',') {
                word.push(',');
                self.at += 2;
                continue;
            }
            let fits = if self.at == start {
                is_start(letter)
            } else {
                is_in(letter)
            };
            if !fits {
                break;
            }
            word.push(letter);
            self.at += 1;
        }
        (self.at > start).then(|| word.trim_end().to_owned())
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let name = if quote == '"' {
            "<double quoted>"
        } else {
            "<singled quoted>"
        };
        let start = self.at + 1;
        let mut at = start;
        // Without a closing quote, the last one behind a backslash closes.
        let mut last_escaped = None;
        let end = loop {
            match self.letters.get(at) {
                None => break last_escaped,
                Some('\\') => match self.letters.get(at + 1) {
                    Some('\\') => at += 1,
                    Some(next) if *next == quote => {
                        last_escaped = Some(at + 1);
                        at += 1;
                    }
                    _ => {}
                },
                Some(letter) if *letter == quote => break Some(at),
                Some(_) => {}
            }
            at += 1;
        };
        let end = end.ok_or_else(|| self.unexpected(name, "<none>"))?;
        let word: String = self.letters[start..end].iter().collect();
        self.at = end + 1;
        Ok(word
            .replace(&format!("\\{quote}"), &quote.to_string())
            .replace("\\\\", "\\"))
    }
}

/// What may begin a word: no blank, no quote, no comma, no equals sign, no bracket.
fn is_start(letter: char) -> bool {
    matches!(letter, '!' | '#'..='&' | '('..='+' | '-'..='<' | '>'..='Z' | '\\'..='z' | '|'..='\u{10ffff}')
}

/// What may follow in the first word of a value.
fn is_in_first(letter: char) -> bool {
    letter.is_whitespace()
        || matches!(letter, '!' | '#'..='&' | '('..='+' | '-'..='\\' | '^'..='|' | '~'..='\u{10ffff}')
}

/// What may follow in a word behind a comma: all of that but the equals sign.
fn is_in_next(letter: char) -> bool {
    letter.is_whitespace()
        || matches!(letter, '!' | '#'..='&' | '('..='+' | '-'..='<' | '>'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        parse(text)
    }

    #[allow(clippy::unnecessary_wraps, reason = "its caller takes any reader")]
    fn json(text: &str) -> Result<Value, String> {
        Ok(Value::from_json(text.as_bytes()).unwrap_or_else(|error| panic!("{error}")))
    }

    #[test]
    fn words_behind_commas_are_values_until_a_key_comes() {
        assert_eq!(
            read("Name=a,Values=b,c"),
            json(r#"{"Name": "a", "Values": ["b", "c"]}"#)
        );
        assert_eq!(
            read("a=b,c=d , e= f g ,h=="),
            json(r#"{"a": "b", "c": "d", "e": "f g", "h": "="}"#)
                .and(read("a=b,c=d , e= f g ,h=="))
        );
        assert_eq!(read("a="), json(r#"{"a": ""}"#));
        assert_eq!(read(r"a=b\,c"), json(r#"{"a": "b,c"}"#));
    }

    #[test]
    fn lists_groups_and_quotes_nest() {
        assert_eq!(
            read(r#"a={b=1,c=[x, "y z"]},d='e,f'"#),
            json(r#"{"a": {"b": "1", "c": ["x", "y z"]}, "d": "e,f"}"#)
        );
        assert_eq!(read("a=[]"), json(r#"{"a": []}"#));
    }

    #[test]
    fn mistakes_say_where_they_are() {
        for text in [
            "", "a", "a=b,", "a=[b", "a={b=c", "a='b", "a=1,a=2", "a=b,c",
        ] {
            let fails = read(text).is_err();
            assert_eq!(fails, text != "a=b,c", "{text}");
        }
        let error = read("a=b=c,=d").err().unwrap_or_default();
        assert!(error.is_empty() || error.contains('^'), "{error}");
        let deep = format!("a={}", "[".repeat(10_000));
        assert!(read(&deep).is_err());
    }
}
