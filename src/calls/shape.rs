//! From the values that a filter gives to what bash can hold.

use crate::Variable;
use crate::document::{Children, Kind};
use crate::path::missing::{Failure, with_article};
use crate::path::node::Node;
use crate::path::value::Value;

/// What becomes of the value that a filter gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A string's text, other values as JSON; an array of bash if there are several.
    Text,
    /// An array of bash: the elements of an array, or what the filter gives.
    Array,
    /// An associative array: the members of an object.
    Map,
}

/// What a variable gets for the values of `filter`, which gives a list if `is_list`.
///
/// # Errors
/// A value is missing, which `describe` says, or of another shape.
pub(crate) fn shaped(
    values: Vec<Value<'_>>,
    shape: Shape,
    is_list: bool,
    filter: &str,
    describe: &dyn Fn(Failure<'_>) -> String,
) -> Result<Variable, String> {
    let is_list = is_list || values.len() > 1;
    if shape != Shape::Map && is_list {
        let texts = values.into_iter().map(text).collect::<Result<_, _>>();
        return texts.map(Variable::List).map_err(describe);
    }
    let count = values.len();
    let Some(value) = values.into_iter().next().filter(|_| count == 1) else {
        return if count == 0 {
            Ok(nothing(shape))
        } else {
            Err(format!(
                "{filter} gives {count} values, and --map takes one object"
            ))
        };
    };
    match (value, shape) {
        (value, Shape::Text) => text(value).map(Variable::Text).map_err(describe),
        (Value::Missing(missing), _) if missing.is_allowed => Ok(nothing(shape)),
        (Value::Missing(missing), _) => Err(describe(Failure::Missing(missing))),
        (Value::Node(node), _) => {
            contents(&node, shape).ok_or_else(|| misfit(filter, node.kind(), shape))
        }
        (Value::Bytes(..), _) => Err(misfit(filter, Kind::String, shape)),
    }
}

fn nothing(shape: Shape) -> Variable {
    match shape {
        Shape::Text => Variable::Text(Vec::new()),
        Shape::Array => Variable::List(Vec::new()),
        Shape::Map => Variable::Map(Vec::new()),
    }
}

fn misfit(filter: &str, kind: Kind, shape: Shape) -> String {
    let kind = with_article(kind);
    match shape {
        Shape::Map => format!("{filter} is {kind}, and --map takes an object"),
        _ => format!("{filter} is {kind}, and --array takes an array"),
    }
}

/// A value as a text: null that is allowed is empty.
fn text(value: Value<'_>) -> Result<Vec<u8>, Failure<'_>> {
    match value {
        Value::Node(node) => Ok(node.output().into_owned()),
        Value::Bytes(text, _) => Ok(text),
        Value::Missing(missing) if missing.is_allowed => Ok(Vec::new()),
        Value::Missing(missing) => Err(Failure::Missing(missing)),
    }
}

/// What a container has in it; null in it is empty text.
fn contents(node: &Node<'_>, shape: Shape) -> Option<Variable> {
    let text = |span| {
        let child = node.at(span);
        match child.kind() {
            Kind::Null => Vec::new(),
            _ => child.output().into_owned(),
        }
    };
    match (node.document().children(node.span)?.as_ref(), shape) {
        (Children::Array(elements), Shape::Array) => Some(Variable::List(
            elements.iter().map(|span| text(*span)).collect(),
        )),
        (Children::Object(members), Shape::Map) => {
            let members = node.document().members(members).into_iter();
            let member = |(name, span): (std::borrow::Cow<'_, str>, _)| {
                (name.into_owned().into_bytes(), text(span))
            };
            Some(Variable::Map(members.map(member).collect()))
        }
        _ => None,
    }
}
