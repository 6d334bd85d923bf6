//! Reads a command line: options with one letter and with words, and their values.

use std::collections::VecDeque;

use coshell_calls::check_name;

/// What the next word of a command line is.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Plain(String),
    /// Its long name.
    Option(String),
}

/// The words of a command line that have not been read.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    words: VecDeque<&'a [u8]>,
    short: &'a [(char, &'a str)],
    /// What follows letters of options in the same word.
    letters: String,
    /// The value behind `=`.
    value: Option<String>,
    /// The option that was read last, as it was spelled.
    last: String,
    /// `--` has come.
    has_ended: bool,
}

impl<'a> Arguments<'a> {
    /// `short` has the letters, and the long names that they stand for.
    pub(crate) fn new(words: &'a [Vec<u8>], short: &'a [(char, &'a str)]) -> Self {
        Self {
            words: words.iter().map(Vec::as_slice).collect(),
            short,
            letters: String::new(),
            value: None,
            last: String::new(),
            has_ended: false,
        }
    }

    /// The next option or word; `None` behind the last one.
    ///
    /// # Errors
    /// A letter stands for no option, or a value belongs to none.
    fn next(&mut self) -> Result<Option<Word>, String> {
        if self.value.is_some() {
            return Err(format!("expected no value for {}", self.last));
        }
        if !self.letters.is_empty() {
            return self.letter().map(Some);
        }
        let Some(word) = self.words.pop_front() else {
            return Ok(None);
        };
        let word = text(word);
        if self.has_ended || word == "-" || !word.starts_with('-') {
            return Ok(Some(Word::Plain(word)));
        }
        if word == "--" {
            self.has_ended = true;
            return self.next();
        }
        let Some(name) = word.strip_prefix("--") else {
            word[1..].clone_into(&mut self.letters);
            return self.letter().map(Some);
        };
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        self.value = value;
        self.last = format!("--{name}");
        Ok(Some(Word::Option(name.to_owned())))
    }

    fn letter(&mut self) -> Result<Word, String> {
        let letter = self.letters.remove(0);
        self.last = format!("-{letter}");
        let mut short = self.short.iter();
        let known = short.find(|(other, _)| *other == letter);
        let (_, name) = known.ok_or_else(|| format!("there is no option -{letter}"))?;
        Ok(Word::Option((*name).to_owned()))
    }

    /// The next option; the words before it go into `plain`.
    ///
    /// # Errors
    /// As those of [`next`](Self::next).
    pub(crate) fn next_option(
        &mut self,
        plain: &mut Vec<String>,
    ) -> Result<Option<String>, String> {
        while let Some(word) = self.next()? {
            match word {
                Word::Plain(word) => plain.push(word),
                Word::Option(name) => return Ok(Some(name)),
            }
        }
        Ok(None)
    }

    /// The value, which is the name of a variable of the caller's.
    ///
    /// # Errors
    /// There is none, or bash or coshell needs that variable.
    pub(crate) fn variable(&mut self) -> Result<String, String> {
        let name = self.value()?;
        check_name(name.as_bytes()).map_err(|error| error.message)?;
        Ok(name)
    }

    /// The value of the option that was read last.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn value(&mut self) -> Result<String, String> {
        if let Some(value) = self.value.take() {
            return Ok(value);
        }
        if !self.letters.is_empty() {
            return Ok(std::mem::take(&mut self.letters));
        }
        let word = self.words.pop_front();
        word.map(text)
            .ok_or_else(|| format!("expected a value for {}", self.last))
    }
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}
