//! What passes through a filter.

use super::missing::{Missing, Place};
use super::node::Node;
use crate::document::Kind;

#[derive(Clone)]
pub(crate) enum Value<'d> {
    Node(Node<'d>),
    /// A string that a function made: bytes, since base64 may stand for any.
    Bytes(Vec<u8>, Vec<usize>),
    /// There is nothing, or null.
    Missing(Box<Missing<'d>>),
}

impl Value<'_> {
    /// What jq's `//` takes.
    pub(crate) fn is_truthy(&self) -> bool {
        match self {
            Self::Node(node) => !matches!(node.raw(), "false" | "null"),
            Self::Bytes(..) => true,
            Self::Missing(_) => false,
        }
    }
}

/// The element at `index`, from the end if it is negative.
pub(crate) fn element<T>(elements: &[T], index: i64) -> Option<&T> {
    let from_either_end = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 {
        elements.get(elements.len().checked_sub(from_either_end)?)
    } else {
        elements.get(from_either_end)
    }
}

/// A value that was found; null is missing.
pub(crate) fn present(node: Node<'_>, place: Place, is_allowed: bool) -> Value<'_> {
    if node.kind() != Kind::Null {
        return Value::Node(node);
    }
    Value::Missing(Box::new(Missing {
        found: node,
        place,
        step: None,
        is_allowed,
    }))
}
