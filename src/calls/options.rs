//! The arguments of a call, one after the other.

use std::borrow::Cow;

use crate::{Call, CallError, Caller, Document, Source};

/// More letters than any option has.
const LONGEST_OPTION: usize = 20;

/// What is left of a call's arguments.
pub(crate) struct Arguments<'a> {
    rest: std::slice::Iter<'a, &'a [u8]>,
    count: usize,
    function: &'a str,
}

impl<'a> Arguments<'a> {
    pub(crate) fn of(call: &'a Call<'_>) -> Self {
        Self {
            rest: call.arguments.iter(),
            count: call.arguments.len(),
            function: call.function,
        }
    }

    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        self.rest.next().copied()
    }

    /// What belongs to `option`, as text.
    pub(crate) fn value(&mut self, option: &str, what: &str) -> Result<&'a [u8], CallError> {
        let value = self.next();
        value.ok_or_else(|| self.misuse(&format!("{option}: {what} is missing")))
    }

    pub(crate) fn text(&mut self, option: &str, what: &str) -> Result<&'a str, CallError> {
        let value = self.value(option, what)?;
        str::from_utf8(value).map_err(|_| self.misuse(&format!("{option}: {what} is not UTF-8")))
    }

    /// The last argument, or standard input if there is none.
    pub(crate) fn text_or_input(
        &mut self,
        caller: &dyn Caller,
    ) -> Result<Cow<'a, [u8]>, CallError> {
        let Some(text) = self.next() else {
            let read = caller.read(Source::StandardInput);
            let fails = |cause| CallError::failure(format!("cannot read standard input: {cause}"));
            return read.map(Cow::Owned).map_err(fails);
        };
        self.end()?;
        Ok(Cow::Borrowed(text))
    }

    /// Checks that there are no more arguments.
    pub(crate) fn end(&mut self) -> Result<(), CallError> {
        match self.next() {
            // It may be a secret.
            Some(_) => Err(self.misuse("there is one argument too many; quote a text")),
            None => Ok(()),
        }
    }

    /// An error about how the function is called.
    pub(crate) fn misuse(&self, cause: &str) -> CallError {
        CallError::usage(format!("cannot use lambda_{}: {cause}", self.function))
    }

    /// An error about the argument that was read last, which may be a secret unless it looks like an option.
    pub(crate) fn unknown(&self, option: &[u8], known: &str) -> CallError {
        let is_option = match option {
            [b'-', letter] => letter.is_ascii_alphabetic(),
            [b'-', b'-', word @ ..] => {
                let is_letter = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'-';
                word.len() <= LONGEST_OPTION && word.iter().all(is_letter)
            }
            _ => false,
        };
        let option = if is_option {
            String::from_utf8_lossy(option)
        } else {
            format!("like argument {}", self.count - self.rest.len()).into()
        };
        self.misuse(&format!("there is no option {option}; there are {known}"))
    }
}

/// Where JSON is read from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input<'a> {
    Event,
    Text(&'a [u8]),
    File(&'a [u8]),
    /// The variable of this name.
    Variable(&'a [u8]),
}

impl<'a> Input<'a> {
    /// The options that say so.
    pub(crate) const OPTIONS: &'static str = "--json TEXT, --file FILE and --in NAME";

    /// The input that `option` names, with its value.
    pub(crate) fn named(
        option: &[u8],
        arguments: &mut Arguments<'a>,
    ) -> Result<Option<Self>, CallError> {
        Ok(Some(match option {
            b"--json" => Self::Text(arguments.value("--json", "the text")?),
            b"--file" => Self::File(arguments.value("--file", "the name of the file")?),
            b"--in" => Self::Variable(arguments.value("--in", "the name of the variable")?),
            _ => return Ok(None),
        }))
    }

    /// What it is, in a message.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Event => "the event".to_owned(),
            Self::Text(_) => "the text of --json".to_owned(),
            Self::File(b"-") => "standard input".to_owned(),
            Self::File(name) => format!("file {}", String::from_utf8_lossy(name)),
            Self::Variable(name) => format!("variable {}", String::from_utf8_lossy(name)),
        }
    }

    /// The text; `None` if it is the event's.
    pub(crate) fn read(
        self,
        call: &Call<'a>,
        caller: &dyn Caller,
    ) -> Result<Option<Document<'a>>, CallError> {
        let fails =
            |cause: String| CallError::failure(format!("cannot read {}: {cause}", self.describe()));
        let no_json = |error: crate::DocumentError| fails(format!("it is not JSON: {error}"));
        let source = match self {
            Self::Event => return Ok(None),
            Self::Text(text) => return Document::borrowed(text).map(Some).map_err(no_json),
            Self::Variable(_) => {
                let text = call
                    .input
                    .ok_or_else(|| fails("it is not set".to_owned()))?;
                return Document::borrowed(text).map(Some).map_err(no_json);
            }
            Self::File(b"-") => Source::StandardInput,
            Self::File(name) => Source::File(name),
        };
        let text = caller.read(source).map_err(fails)?;
        Document::new(text).map(Some).map_err(no_json)
    }
}
