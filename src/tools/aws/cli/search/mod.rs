//! `JMESPath`: what `--query` takes from a result.
//!
//! The crate of this name sorts keys, and follows the specification where Python's package, which the AWS CLI uses, does not.
//! oracle.rs compares this with that package.

mod functions;
mod lexer;
mod parser;

use std::borrow::Cow;
use std::cmp::Ordering;

use self::lexer::Token;
use self::parser::Node;
use super::failure::Failure;
use super::value::Value;

/// A parsed expression.
#[derive(Debug, Clone)]
pub(crate) struct Expression(Node);

/// A value that may be borrowed from the document.
type Found<'a> = Cow<'a, Value>;

/// Why an expression cannot be evaluated.
type SearchError = String;

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let parsed = if text.is_empty() {
            Err("Invalid JMESPath expression: cannot be empty.".to_owned())
        } else {
            parser::parse(text)
        };
        let node = parsed
            .map_err(|cause| Failure::usage(format!("Bad value for --query {text}: {cause}")))?;
        Ok(Self(node))
    }

    /// What the expression finds in a document.
    pub(crate) fn search(&self, document: &Value) -> Result<Value, Failure> {
        let found = evaluate(&self.0, document).map_err(Failure::other)?;
        Ok(found.into_owned())
    }
}

const NULL: Found<'static> = Cow::Owned(Value::Null);

/// Evaluates a part of an expression on a value.
fn evaluate<'a>(node: &Node, value: &'a Value) -> Result<Found<'a>, SearchError> {
    let borrowed = |found: Option<&'a Value>| found.map_or(NULL, Cow::Borrowed);
    match node {
        Node::Current => Ok(Cow::Borrowed(value)),
        Node::Field(name) => Ok(borrowed(value.get(name))),
        Node::Literal(value) => Ok(Cow::Owned(value.clone())),
        Node::Index(index) => {
            let elements = value.elements();
            let at = usize::try_from(*index).ok().or_else(|| {
                let back = usize::try_from(index.unsigned_abs()).ok()?;
                elements.len().checked_sub(back)
            });
            Ok(borrowed(at.and_then(|at| elements.get(at))))
        }
        Node::Slice(bounds) => Ok(Cow::Owned(slice(value, *bounds)?)),
        Node::Chain(nodes) | Node::Indexed(nodes) => {
            let mut found = Cow::Borrowed(value);
            for node in nodes {
                found = match found {
                    Cow::Borrowed(value) => evaluate(node, value)?,
                    Cow::Owned(value) => Cow::Owned(evaluate(node, &value)?.into_owned()),
                };
            }
            Ok(found)
        }
        Node::Or(left, right) => {
            let found = evaluate(left, value)?;
            if is_true(&found) {
                Ok(found)
            } else {
                evaluate(right, value)
            }
        }
        Node::And(left, right) => {
            let found = evaluate(left, value)?;
            if is_true(&found) {
                evaluate(right, value)
            } else {
                Ok(found)
            }
        }
        Node::Not(node) => Ok(Cow::Owned(Value::Bool(!is_true(&*evaluate(node, value)?)))),
        Node::Compare(comparator, left, right) => {
            let (left, right) = (evaluate(left, value)?, evaluate(right, value)?);
            Ok(Cow::Owned(compare(comparator, &left, &right)?))
        }
        Node::Flatten(_) | Node::Projection(..) | Node::Values(..) | Node::Filter(..) => {
            Ok(Cow::Owned(evaluate_list(node, value)?))
        }
        Node::List(_) | Node::Map(_) if matches!(value, Value::Null) => Ok(NULL),
        Node::List(nodes) => {
            let elements = nodes
                .iter()
                .map(|node| Ok(evaluate(node, value)?.into_owned()));
            Ok(Cow::Owned(Value::List(
                elements.collect::<Result<_, SearchError>>()?,
            )))
        }
        Node::Map(pairs) => {
            let mut map = Value::Map(Vec::new());
            for (key, node) in pairs {
                map.set(key, evaluate(node, value)?.into_owned());
            }
            Ok(Cow::Owned(map))
        }
        Node::Function(name, arguments) => functions::call(name, arguments, value).map(Cow::Owned),
        Node::Reference(_) => Err("an expression with & is for functions alone".to_owned()),
    }
}

/// Evaluates what makes a list of another.
fn evaluate_list(node: &Node, value: &Value) -> Result<Value, SearchError> {
    let mut results = Vec::new();
    let mut project = |node: &Node, element: &Value| {
        let result = evaluate(node, element)?;
        if !matches!(*result, Value::Null) {
            results.push(result.into_owned());
        }
        Ok::<_, SearchError>(())
    };
    let (Node::Flatten(source)
    | Node::Projection(source, _)
    | Node::Values(source, _)
    | Node::Filter(source, _, _)) = node
    else {
        return Ok(Value::Null);
    };
    match (node, &*evaluate(source, value)?) {
        (Node::Projection(_, right), Value::List(elements)) => {
            for element in elements {
                project(right, element)?;
            }
        }
        (Node::Values(_, right), Value::Map(entries)) => {
            for (_, element) in entries {
                project(right, element)?;
            }
        }
        (Node::Filter(_, right, condition), Value::List(elements)) => {
            for element in elements {
                if is_true(&*evaluate(condition, element)?) {
                    project(right, element)?;
                }
            }
        }
        (Node::Flatten(_), Value::List(elements)) => {
            for element in elements {
                match element {
                    Value::List(inner) => results.extend(inner.iter().cloned()),
                    other => results.push(other.clone()),
                }
            }
        }
        _ => return Ok(Value::Null),
    }
    Ok(Value::List(results))
}

/// Null, false, and what is empty are not.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Text(text) => !text.is_empty(),
        Value::List(elements) => !elements.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
        _ => true,
    }
}

fn compare(comparator: &Token, left: &Value, right: &Value) -> Result<Value, SearchError> {
    let is_comparable =
        |value: &Value| value.as_text().is_some() || functions::number(value).is_some();
    let is_fulfilled: fn(Ordering) -> bool = match comparator {
        Token::Equal => return Ok(Value::Bool(left == right)),
        Token::NotEqual => return Ok(Value::Bool(left != right)),
        Token::Less => Ordering::is_lt,
        Token::LessOrEqual => Ordering::is_le,
        Token::Greater => Ordering::is_gt,
        _ => Ordering::is_ge,
    };
    if !is_comparable(left) || !is_comparable(right) {
        return Ok(Value::Null);
    }
    let order = order(left, right).ok_or("a number and a string cannot be compared")?;
    Ok(Value::Bool(is_fulfilled(order)))
}

/// The order of two numbers or two texts; dates are compared as texts.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Integer(left), Value::Integer(right)) => Some(left.cmp(right)),
        _ => functions::number(left)?.partial_cmp(&functions::number(right)?),
    }
}

fn slice(value: &Value, [start, end, step]: [Option<i64>; 3]) -> Result<Value, SearchError> {
    let Value::List(elements) = value else {
        return Ok(Value::Null);
    };
    let stride = step.unwrap_or(1);
    if stride == 0 {
        return Err("slice step cannot be zero".to_owned());
    }
    let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    let (lowest, highest) = if stride > 0 {
        (0, length)
    } else {
        (-1, length - 1)
    };
    let bound = |bound: Option<i64>, default: i64| match bound {
        Some(bound) if bound < 0 => bound.saturating_add(length).max(lowest),
        Some(bound) => bound.min(highest),
        None => default,
    };
    let (first, last) = if stride > 0 {
        (lowest, highest)
    } else {
        (highest, lowest)
    };
    let (mut at, end) = (bound(start, first), bound(end, last));
    let mut part = Vec::new();
    while (stride > 0 && at < end) || (stride < 0 && at > end) {
        let element = usize::try_from(at).ok().and_then(|at| elements.get(at));
        part.extend(element.cloned());
        at = at.saturating_add(stride);
    }
    Ok(Value::List(part))
}
