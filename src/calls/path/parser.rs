//! Reads a filter.

use super::lexer::{self, Mistake};
use super::{Filter, Function, Head, Operand, Stage, Step, StepKind};
use crate::document::Document;

/// Why a filter is none of ours.
#[derive(Debug)]
pub(crate) enum ParseError {
    /// jq may know what it is.
    NeedsJq,
    Syntax(Mistake),
}

impl From<Mistake> for ParseError {
    fn from(mistake: Mistake) -> Self {
        Self::Syntax(mistake)
    }
}

/// Reads `text`.
///
/// # Errors
/// It is jq's, or wrong.
pub(crate) fn parse(text: &str) -> Result<Filter, ParseError> {
    let mut parser = Parser { text, at: 0 };
    match parser.filter() {
        Ok(stages) => Ok(Filter {
            text: text.to_owned(),
            stages,
        }),
        // A mistake of the whole text is the better message: a bracket that is never closed, say.
        Err(ParseError::NeedsJq) => {
            lexer::check(text)?;
            Err(ParseError::NeedsJq)
        }
        Err(error) => Err(error),
    }
}

struct Parser<'f> {
    text: &'f str,
    at: usize,
}

impl<'f> Parser<'f> {
    fn rest(&self) -> &'f str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_ascii_start().len();
    }

    /// Goes beyond `expected`, if it is next.
    fn take(&mut self, expected: &str) -> bool {
        let is_next = self.rest().starts_with(expected);
        if is_next {
            self.at += expected.len();
        }
        is_next
    }

    fn take_word(&mut self) -> &'f str {
        let word = lexer::word(self.rest());
        self.at += word.len();
        word
    }

    fn mistake(&self, message: impl Into<String>) -> ParseError {
        ParseError::Syntax(Mistake {
            at: self.at,
            message: message.into(),
        })
    }

    fn filter(&mut self) -> Result<Vec<Stage>, ParseError> {
        let mut stages = vec![self.stage()?];
        loop {
            self.skip_blanks();
            if self.rest().is_empty() {
                return Ok(stages);
            }
            if self.rest().starts_with("|=") || !self.take("|") {
                return Err(self.unexpected());
            }
            stages.push(self.stage()?);
        }
    }

    /// What is behind an operand, and neither `|` nor `//`.
    fn unexpected(&self) -> ParseError {
        let rest = self.rest();
        let begins_operand = rest.starts_with(['"', '{', '(', '@', '$'])
            || rest.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
        if begins_operand && !matches!(lexer::word(rest), "and" | "or" | "as") {
            return self.mistake("expected |, // or the end");
        }
        ParseError::NeedsJq
    }

    fn stage(&mut self) -> Result<Stage, ParseError> {
        let start = self.at;
        let mut operands = vec![self.operand()?];
        loop {
            self.skip_blanks();
            if self.rest().starts_with("//=") || !self.take("//") {
                return Ok(Stage { start, operands });
            }
            operands.push(self.operand()?);
        }
    }

    fn operand(&mut self) -> Result<Operand, ParseError> {
        self.skip_blanks();
        let start = self.at;
        let mut steps = Vec::new();
        let head = match self.rest().as_bytes() {
            [] if self.text.trim_ascii().is_empty() => {
                return Err(self.mistake("the path is empty; the whole document is ."));
            }
            [] => return Err(self.mistake("expected a path behind it")),
            [b'.', b'.', ..] => return Err(ParseError::NeedsJq),
            [b'.', ..] => Head::Identity,
            [b'"' | b'[' | b'{' | b'-' | b'0'..=b'9', ..] => self.literal()?,
            [b'@', ..] => {
                self.at += 1;
                self.take_word();
                let name = self.text.get(start..self.at).unwrap_or_default();
                let function = Function::named(name).ok_or(ParseError::NeedsJq)?;
                self.skip_blanks();
                if self.rest().starts_with('"') {
                    return Err(ParseError::NeedsJq);
                }
                self.at = start + name.len();
                Head::Function(function)
            }
            _ => match self.take_word() {
                "null" => Head::Literal("null".to_owned()),
                "true" => Head::Literal("true".to_owned()),
                "false" => Head::Literal("false".to_owned()),
                "empty" => Head::Empty,
                name => self.function(name)?,
            },
        };
        let mut head_end = self.at;
        if matches!(head, Head::Identity) {
            head_end += 1;
            self.first_step(&mut steps)?;
        }
        self.steps(&mut steps)?;
        Ok(Operand {
            head,
            steps,
            start,
            head_end,
        })
    }

    fn function(&mut self, name: &str) -> Result<Head, ParseError> {
        let function = Function::named(name).ok_or(ParseError::NeedsJq)?;
        // With arguments it is another function.
        if self.rest().trim_ascii_start().starts_with('(') {
            return Err(ParseError::NeedsJq);
        }
        Ok(Head::Function(function))
    }

    /// JSON, of which jq has the same idea.
    fn literal(&mut self) -> Result<Head, ParseError> {
        let length = lexer::literal_length(self.rest());
        let literal = self.rest().get(..length).unwrap_or_default();
        if Document::borrowed(literal.as_bytes()).is_err() {
            return Err(ParseError::NeedsJq);
        }
        self.at += length;
        Ok(Head::Literal(literal.to_owned()))
    }

    /// What may be behind the dot that a path begins with.
    fn first_step(&mut self, steps: &mut Vec<Step>) -> Result<(), ParseError> {
        let start = self.at;
        self.at += 1;
        match self.rest().as_bytes() {
            // `.[0]` and `.?` are steps without a dot of their own.
            [b'[' | b'?', ..] => Ok(()),
            [b'"', ..] => self.quoted_field(start, steps),
            [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => self.plain_field(start, steps),
            _ => self.no_field(),
        }
    }

    fn steps(&mut self, steps: &mut Vec<Step>) -> Result<(), ParseError> {
        loop {
            let before = self.at;
            self.skip_blanks();
            let start = self.at;
            match self.rest().as_bytes() {
                [b'.', b'.', ..] => return Err(ParseError::NeedsJq),
                [b'.', b'[', ..] => {
                    self.at += 1;
                    self.bracket(start, steps)?;
                }
                [b'.', b'"', ..] => {
                    self.at += 1;
                    self.quoted_field(start, steps)?;
                }
                [b'.', ..] => {
                    self.at += 1;
                    if lexer::word(self.rest()).is_empty() {
                        return Err(self.mistake("expected the name of a field behind the dot"));
                    }
                    self.plain_field(start, steps)?;
                }
                [b'[', ..] => self.bracket(start, steps)?,
                // `?//` is `?` and `//` here.
                [b'?', ..] => {
                    self.at += 1;
                    match steps.last_mut() {
                        Some(step) => step.is_optional = true,
                        // `.?`, and functions whose failure is to be no failure.
                        None => return Err(ParseError::NeedsJq),
                    }
                }
                _ => {
                    self.at = before;
                    return Ok(());
                }
            }
        }
    }

    /// What is behind a dot, and no field: nothing, or a mistake.
    fn no_field(&self) -> Result<(), ParseError> {
        match self.rest().chars().next() {
            Some(letter)
                if letter.is_ascii_alphanumeric() || letter == '\'' || !letter.is_ascii() =>
            {
                let name = lexer::likely_name(self.rest());
                Err(self.mistake(format!("write .\"{name}\"")))
            }
            _ => Ok(()),
        }
    }

    fn plain_field(&mut self, start: usize, steps: &mut Vec<Step>) -> Result<(), ParseError> {
        let name_start = self.at;
        let name = self.take_word();
        // jq would subtract what is behind the hyphen.
        let behind = self.rest().strip_prefix('-');
        if let Some(behind) = behind
            && behind.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        {
            self.at = name_start;
            let name = lexer::likely_name(self.rest());
            return Err(self.mistake(format!("a name with a hyphen needs quotes: .\"{name}\"")));
        }
        if self.rest().starts_with(|letter: char| !letter.is_ascii()) {
            self.at = name_start;
            let name = lexer::likely_name(self.rest());
            return Err(self.mistake(format!("a name beyond ASCII needs quotes: .\"{name}\"")));
        }
        self.push(start, StepKind::Field(name.to_owned()), steps);
        Ok(())
    }

    fn quoted_field(&mut self, start: usize, steps: &mut Vec<Step>) -> Result<(), ParseError> {
        let name = self.string()?;
        self.push(start, StepKind::Field(name), steps);
        Ok(())
    }

    fn string(&mut self) -> Result<String, ParseError> {
        let Head::Literal(literal) = self.literal()? else {
            return Err(ParseError::NeedsJq);
        };
        let document = Document::valid(literal);
        Ok(document.string(document.root()).into_owned())
    }

    /// `[0]`, `[-1]`, `["name"]` or `[]`.
    fn bracket(&mut self, start: usize, steps: &mut Vec<Step>) -> Result<(), ParseError> {
        self.at += 1;
        self.skip_blanks();
        let kind = if self.rest().starts_with(']') {
            StepKind::Each
        } else if self.rest().starts_with('"') {
            StepKind::Field(self.string()?)
        } else {
            let length = lexer::literal_length(self.rest());
            let number = self.rest().get(..length).unwrap_or_default();
            self.at += length;
            StepKind::Index(number.parse().map_err(|_| ParseError::NeedsJq)?)
        };
        self.skip_blanks();
        if !self.take("]") {
            return Err(ParseError::NeedsJq);
        }
        self.push(start, kind, steps);
        Ok(())
    }

    fn push(&self, start: usize, kind: StepKind, steps: &mut Vec<Step>) {
        steps.push(Step {
            kind,
            is_optional: false,
            start,
            end: self.at,
        });
    }
}
