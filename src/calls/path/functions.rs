//! The functions that a path may lead through.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;
use std::sync::Arc;

use super::Function;
use super::missing::{Failure, Place, with_article};
use super::node::Node;
use super::value::{Value, element, present};
use crate::document::string::{quote, quote_into};
use crate::document::{Children, Document, Kind};
use crate::encoding::Encoding;
use crate::order::ordered;

/// What `function` makes of `input`, at the place `place`.
pub(crate) fn apply(
    function: Function,
    input: Value<'_>,
    place: Place,
) -> Result<Value<'_>, Failure<'_>> {
    let made = Place {
        steps: Some(0),
        ..place
    };
    if let Value::Missing(missing) = input {
        return match function {
            Function::Type => Ok(Value::Bytes(b"null".to_vec(), missing.found.chosen)),
            _ if !missing.is_allowed => Err(Failure::Missing(missing)),
            Function::Length => Ok(json("0".to_owned(), &missing.found.chosen)),
            Function::ToJson => Ok(Value::Bytes(b"null".to_vec(), missing.found.chosen)),
            _ => Ok(Value::Missing(missing)),
        };
    }
    let chosen = input.chosen().to_vec();
    let result = match function {
        Function::First => input.element(0),
        Function::Last => input.element(-1),
        Function::FromJson => input.parsed(),
        Function::ToNumber => input.number(),
        Function::Length => input.length().map(|length| json(length, &chosen)),
        Function::Keys => input.keys(true).map(|keys| json(keys, &chosen)),
        Function::KeysUnsorted => input.keys(false).map(|keys| json(keys, &chosen)),
        _ => input
            .text_function(function)
            .map(|text| Value::Bytes(text, chosen.clone())),
    };
    match result {
        Ok(Value::Node(node)) => Ok(present(node, made, false)),
        Ok(value) => Ok(value),
        Err(cause) => Err(Failure::Unusable {
            place,
            chosen,
            cause,
        }),
    }
}

/// A value that is written as JSON here.
pub(super) fn json<'d>(text: String, chosen: &[usize]) -> Value<'d> {
    Value::Node(Node::of_document(Document::valid(text), chosen.to_vec()))
}

impl Value<'_> {
    pub(super) fn chosen(&self) -> &[usize] {
        match self {
            Self::Node(node) => &node.chosen,
            Self::Bytes(_, chosen) => chosen,
            Self::Missing(missing) => &missing.found.chosen,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Node(node) => node.kind(),
            Self::Bytes(..) => Kind::String,
            Self::Missing(_) => Kind::Null,
        }
    }

    fn is_no(&self, use_as: &str) -> String {
        format!("is {}, and {use_as}", with_article(self.kind()))
    }

    /// What a string holds.
    fn string(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Bytes(text, _) => Some(Cow::Borrowed(text)),
            Self::Node(node) if node.kind() == Kind::String => Some(node.output()),
            _ => None,
        }
    }

    /// What `tostring` makes of it.
    fn text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Bytes(text, _) => Cow::Borrowed(text),
            Self::Node(node) => node.output(),
            Self::Missing(_) => Cow::Borrowed(b"null"),
        }
    }

    fn children(&self) -> Option<Arc<Children>> {
        match self {
            Self::Node(node) => node.document().children(node.span),
            _ => None,
        }
    }

    fn element(self, index: i64) -> Result<Self, String> {
        let children = self.children();
        match (&self, children.as_deref()) {
            (Self::Node(node), Some(Children::Array(elements))) => {
                let found = element(elements, index).ok_or("is empty")?;
                Ok(Self::Node(node.at(*found)))
            }
            _ => Err(self.is_no("has no elements")),
        }
    }

    fn parsed(self) -> Result<Self, String> {
        let document = match &self {
            Self::Bytes(text, _) => Document::new(text.clone()).map(Arc::new),
            Self::Node(node) if node.kind() == Kind::String => node.document().embedded(node.span),
            _ => return Err(self.is_no("fromjson reads strings")),
        };
        let document = document.map_err(|error| format!("is not JSON: {error}"))?;
        let chosen = self.chosen().to_vec();
        Ok(Self::Node(Node::of_shared(document, chosen)))
    }

    fn number(self) -> Result<Self, String> {
        if self.kind() == Kind::Number {
            return Ok(self);
        }
        let text = self.string().ok_or_else(|| self.is_no("no number"))?;
        let document = Document::new(text.trim_ascii().to_vec());
        let document = document
            .ok()
            .filter(|document| document.kind(document.root()) == Kind::Number);
        let document = document.ok_or("is a string that is not a number")?;
        Ok(Self::Node(Node::of_document(
            document,
            self.chosen().to_vec(),
        )))
    }

    fn length(&self) -> Result<String, String> {
        let count = match (self, self.children().as_deref()) {
            (_, Some(Children::Array(elements))) => elements.len(),
            (Self::Node(node), Some(Children::Object(members))) => {
                node.document().members(members).len()
            }
            (Self::Node(node), _) if node.kind() == Kind::Number => {
                return Ok(node.raw().trim_start_matches('-').to_owned());
            }
            _ => {
                let text = self.string().ok_or_else(|| self.is_no("has no length"))?;
                String::from_utf8_lossy(&text).chars().count()
            }
        };
        Ok(count.to_string())
    }

    fn keys(&self, is_sorted: bool) -> Result<String, String> {
        let mut json = "[".to_owned();
        match (self, self.children().as_deref()) {
            (_, Some(Children::Array(elements))) => {
                for index in 0..elements.len() {
                    let _ = write!(json, "{index},");
                }
            }
            (Self::Node(node), Some(Children::Object(members))) => {
                let members = node.document().members(members);
                let name = |number: usize| members.get(number).map(|(name, _)| name);
                let order = |one, other| {
                    if is_sorted {
                        name(one).cmp(&name(other))
                    } else {
                        Ordering::Equal
                    }
                };
                for number in ordered(members.len(), &order) {
                    quote_into(&mut json, name(number).map_or("", |name| name));
                    json.push(',');
                }
            }
            _ => return Err(self.is_no("has no keys")),
        }
        if json.len() > 1 {
            json.pop();
        }
        json.push(']');
        Ok(json)
    }

    /// The functions that make a string of a value.
    fn text_function(&self, function: Function) -> Result<Vec<u8>, String> {
        let only_string = || self.string().ok_or_else(|| self.is_no("no string"));
        Ok(match function {
            Function::Type => self.kind().name().as_bytes().to_vec(),
            Function::ToJson => {
                let text = self.text();
                if self.kind() == Kind::String {
                    let text = str::from_utf8(&text).map_err(|_| "is not UTF-8")?;
                    quote(text).into_bytes()
                } else {
                    text.into_owned()
                }
            }
            Function::Lowercase => only_string()?.to_ascii_lowercase(),
            Function::Uppercase => only_string()?.to_ascii_uppercase(),
            Function::Base64 => Encoding::Base64.encode(&self.text()),
            Function::Base64Decoded => {
                let decoded = Encoding::Base64.decode(&only_string()?);
                decoded.map_err(|error| format!("is no base64: {error}"))?
            }
            Function::Uri => Encoding::Uri.encode(&self.text()),
            Function::UriDecoded => Encoding::Uri.decode(&only_string()?)?,
            Function::UriPlusDecoded => Encoding::UriPlus.decode(&only_string()?)?,
            Function::Html => Encoding::Html.encode(&self.text()),
            _ => self.text().into_owned(),
        })
    }
}
