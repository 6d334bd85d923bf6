//! Paths, the part of jq's language that handlers use most: `.Records[0].s3.object.key`, `.headers["content-type"] // ""`,
//! `.body | fromjson | .order`.
//!
//! A filter is stages with `|` between them, a stage is operands with `//` between them, and an operand is a path, a
//! literal or one of the functions below, with steps behind it. What else jq knows goes to a second program.

pub(crate) mod evaluate;
pub(crate) mod functions;
pub(crate) mod lexer;
pub(crate) mod missing;
pub(crate) mod node;
pub(crate) mod parser;
pub(crate) mod value;

/// A filter that was understood.
#[derive(Debug)]
pub(crate) struct Filter {
    /// As it was written.
    pub(crate) text: String,
    pub(crate) stages: Vec<Stage>,
}

/// One or more operands, of which the first counts that gives anything but null and false.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Where its text begins.
    pub(crate) start: usize,
    pub(crate) operands: Vec<Operand>,
}

#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) head: Head,
    pub(crate) steps: Vec<Step>,
    /// Where its text begins.
    pub(crate) start: usize,
    /// Where the text of its head ends.
    pub(crate) head_end: usize,
}

#[derive(Debug)]
pub(crate) enum Head {
    /// `.`
    Identity,
    /// JSON text.
    Literal(String),
    Function(Function),
    /// `empty`: nothing at all.
    Empty,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) kind: StepKind,
    /// A `?` is behind it.
    pub(crate) is_optional: bool,
    /// Where its text begins and ends.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Debug)]
pub(crate) enum StepKind {
    Field(String),
    Index(i64),
    Each,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    FromJson,
    ToJson,
    ToText,
    ToNumber,
    Length,
    Keys,
    KeysUnsorted,
    Type,
    First,
    Last,
    Lowercase,
    Uppercase,
    Base64,
    Base64Decoded,
    Uri,
    UriDecoded,
    /// As [`Function::UriDecoded`], and `+` is a blank: not jq's, but what keys of S3 events are encoded by.
    UriPlusDecoded,
    Html,
}

impl Function {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "fromjson" => Self::FromJson,
            "tojson" | "@json" => Self::ToJson,
            "tostring" | "@text" => Self::ToText,
            "tonumber" => Self::ToNumber,
            "length" => Self::Length,
            "keys" => Self::Keys,
            "keys_unsorted" => Self::KeysUnsorted,
            "type" => Self::Type,
            "first" => Self::First,
            "last" => Self::Last,
            "ascii_downcase" => Self::Lowercase,
            "ascii_upcase" => Self::Uppercase,
            "@base64" => Self::Base64,
            "@base64d" => Self::Base64Decoded,
            "@uri" => Self::Uri,
            "@urid" => Self::UriDecoded,
            "@urid_plus" => Self::UriPlusDecoded,
            "@html" => Self::Html,
            _ => return None,
        })
    }
}

impl Filter {
    /// Whether it gives a list, however long that is.
    pub(crate) fn iterates(&self) -> bool {
        let operands = self.stages.iter().flat_map(|stage| &stage.operands);
        let mut steps = operands.flat_map(|operand| &operand.steps);
        steps.any(|step| matches!(step.kind, StepKind::Each))
    }
}
