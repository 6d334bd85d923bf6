//! JSON text that is checked once and read lazily: an event of 6 MiB costs one pass at the first call.
//!
//! `serde_json` checks the text, which it does without recursion, and says line and column of what is wrong. After that
//! a container's children are found when a path goes through it, as offsets into the text; those of a large container
//! are kept, so that the next path finds them at once. Numbers stay the text that they are, objects keep their order,
//! and of a name that an object has twice the last counts, as with jq.

mod compact;
mod lookup;
mod scan;
pub(crate) mod string;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;

use crate::order::firsts;

pub(crate) use scan::Children;

/// What has less text than this is read again faster than it is found.
const SMALL: usize = 128;
/// What has more text than this is kept in any case.
const LARGE: usize = 4096;
/// The number of others that are kept: an event may have very many.
const MOST_KEPT: usize = 1000;

/// A JSON text.
pub struct Document<'t> {
    text: Cow<'t, str>,
    /// The children of large containers, by where these begin.
    containers: Kept<Children>,
    /// The documents in long strings, by where these begin.
    embedded: Kept<Document<'static>>,
}

/// Part of a document's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// A document is not longer than a `u32` can count.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    fn length(self) -> usize {
        self.end().saturating_sub(self.start())
    }
}

/// Why a text is no document: `expected value at line 1 column 2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentError(String);

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DocumentError {}

/// What a value is, in jq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

impl<'t> Document<'t> {
    /// Checks a text that is kept.
    ///
    /// # Errors
    /// It is empty, no UTF-8, no JSON, or more than one value.
    pub fn new(text: Vec<u8>) -> Result<Document<'static>, DocumentError> {
        match String::from_utf8(text) {
            Ok(text) => Document::checked(Cow::Owned(text)),
            Err(error) => Err(not_utf8(error.as_bytes(), error.utf8_error().valid_up_to())),
        }
    }

    /// Checks a text that the caller keeps.
    ///
    /// # Errors
    /// As [`Document::new`].
    pub fn borrowed(text: &'t [u8]) -> Result<Self, DocumentError> {
        match str::from_utf8(text) {
            Ok(text) => Self::checked(Cow::Borrowed(text)),
            Err(error) => Err(not_utf8(text, error.valid_up_to())),
        }
    }

    /// A record that `lambda_each` handed on. A message that is no JSON is a string.
    pub fn of_record(text: &[u8]) -> Document<'static> {
        let string = |_| Document::valid(string::quote(&String::from_utf8_lossy(text)));
        Document::new(text.to_vec()).unwrap_or_else(string)
    }

    fn checked(text: Cow<'t, str>) -> Result<Self, DocumentError> {
        if u32::try_from(text.len()).is_err() {
            return Err(DocumentError("it is longer than 4 GiB".to_owned()));
        }
        // A byte order mark is no part of it; jq skips it, too.
        let json = text.strip_prefix('\u{feff}').unwrap_or(&text);
        if json.trim_ascii().is_empty() {
            return Err(DocumentError("it is empty".to_owned()));
        }
        let error = |error: serde_json::Error| DocumentError(error.to_string());
        serde_json::from_str::<&RawValue>(json).map_err(error)?;
        Ok(Self::valid(text))
    }

    /// A text that is known to be JSON, since we wrote it.
    pub(crate) fn valid(text: impl Into<Cow<'t, str>>) -> Self {
        Self {
            text: text.into(),
            containers: Mutex::default(),
            embedded: Mutex::default(),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn root(&self) -> Span {
        let mark = if self.text.starts_with('\u{feff}') {
            3
        } else {
            0
        };
        let start = scan::skip_blanks(self.text.as_bytes(), mark);
        Span::new(start, self.text.trim_ascii_end().len())
    }

    pub(crate) fn kind(&self, value: Span) -> Kind {
        match self.text.as_bytes().get(value.start()) {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// The text of a value, or of a name.
    pub(crate) fn raw(&self, span: Span) -> &str {
        slice(&self.text, span.start(), span.end())
    }

    /// What a string holds.
    pub(crate) fn string(&self, value: Span) -> Cow<'_, str> {
        string::decode(slice(
            &self.text,
            value.start() + 1,
            value.end().saturating_sub(1),
        ))
    }

    pub(crate) fn name(&self, name: Span) -> Cow<'_, str> {
        string::decode(self.raw(name))
    }

    /// A value on one line, as `jq -c` writes it.
    pub(crate) fn compact(&self, value: Span) -> String {
        compact::compact(self.raw(value))
    }

    /// What a container has in it; `None` for other values. Of a name that is there twice, both are.
    pub(crate) fn children(&self, value: Span) -> Option<Arc<Children>> {
        let text = self.text.as_bytes();
        if value.length() < SMALL {
            return scan::children(text, value.start()).map(Arc::new);
        }
        if let Some(children) = find(&self.containers, value.start()) {
            return Some(children);
        }
        let children = Arc::new(scan::children(text, value.start())?);
        keep(&self.containers, value, &children);
        Some(children)
    }

    /// The document that a string holds.
    ///
    /// # Errors
    /// It holds none.
    pub(crate) fn embedded(&self, string: Span) -> Result<Arc<Document<'static>>, DocumentError> {
        if let Some(document) = find(&self.embedded, string.start()) {
            return Ok(document);
        }
        let text = self.string(string).into_owned();
        let document = Arc::new(Document::new(text.into_bytes())?);
        keep(&self.embedded, string, &document);
        Ok(document)
    }

    /// The value of this name that counts: the last.
    pub(crate) fn member(&self, members: &[(Span, Span)], wanted: &str) -> Option<Span> {
        let is_wanted = |name: &Span| {
            let raw = self.raw(*name);
            // What is escaped is longer than what it stands for.
            raw == wanted || (raw.len() > wanted.len() && string::decode(raw) == wanted)
        };
        let found = members.iter().rev().find(|(name, _)| is_wanted(name));
        found.map(|(_, value)| *value)
    }

    /// The members of an object, each name once: where it is first, with its last value.
    pub(crate) fn members(&self, members: &[(Span, Span)]) -> Vec<(Cow<'_, str>, Span)> {
        let names: Vec<_> = members.iter().map(|(name, _)| self.name(*name)).collect();
        let firsts = firsts(names.len(), &|one, other| {
            names.get(one).cmp(&names.get(other))
        });
        let mut lasts: Vec<_> = members.iter().map(|(_, value)| *value).collect();
        for (first, (_, value)) in firsts.iter().zip(members) {
            if let Some(last) = lasts.get_mut(*first) {
                *last = *value;
            }
        }
        let all = names.into_iter().zip(lasts).zip(firsts).enumerate();
        let first = all.filter(|(number, (_, first))| number == first);
        first.map(|(_, (member, _))| member).collect()
    }
}

/// Ordered by where the values begin.
type Kept<T> = Mutex<Vec<(usize, Arc<T>)>>;

fn find<T>(kept: &Kept<T>, start: usize) -> Option<Arc<T>> {
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let place = kept.binary_search_by_key(&start, |(known, _)| *known);
    kept.get(place.ok()?).map(|(_, value)| value.clone())
}

fn keep<T>(kept: &Kept<T>, span: Span, value: &Arc<T>) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let place = kept.binary_search_by_key(&span.start(), |(known, _)| *known);
    let is_worth_it = span.length() > LARGE || kept.len() < MOST_KEPT;
    if let Err(place) = place
        && is_worth_it
    {
        kept.insert(place, (span.start(), value.clone()));
    }
}

/// Part of a text; empty where there is none.
fn slice(text: &str, start: usize, end: usize) -> &str {
    text.get(start..end).unwrap_or_default()
}

/// An error that says where, as `serde_json` says it: in lines and bytes.
fn not_utf8(text: &[u8], at: usize) -> DocumentError {
    let before = text.get(..at).unwrap_or_default();
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let column = at - memchr::memrchr(b'\n', before).map_or(0, |end| end + 1) + 1;
    DocumentError(format!("invalid UTF-8 at line {line} column {column}"))
}
