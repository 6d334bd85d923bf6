//! `JMESPath`: what `--query` takes from a result. The crate jmespath parses; this evaluates, because the crate sorts the keys
//! of its objects, and the AWS CLI keeps their order.

use std::borrow::Cow;
use std::cmp::Ordering;

use jmespath::ast::{Ast, Comparator};
use jmespath::{Rcvar, Variable};

use super::failure::Failure;
use super::search_functions as functions;
use super::value::Value;

/// A parsed expression.
#[derive(Debug, Clone)]
pub(crate) struct Expression(Ast);

/// A value that may be borrowed from the document.
pub(super) type Found<'a> = Cow<'a, Value>;

/// Why an expression cannot be evaluated.
pub(super) type SearchError = String;

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let fail = |cause: &str| Failure::usage(format!("Bad value for --query {text}: {cause}"));
        if text.is_empty() {
            return Err(fail(
                "Invalid JMESPath expression: Expression cannot be empty",
            ));
        }
        // The parser recurses.
        if text.matches(['(', '[', '{', '!', '&']).count() > 500 {
            return Err(fail("it nests too deeply"));
        }
        let ast =
            jmespath::parse(&quote_literals(text)).map_err(|error| fail(&error.to_string()))?;
        Ok(Self(ast))
    }

    /// What the expression finds in a document.
    pub(crate) fn search(&self, document: &Value) -> Result<Value, Failure> {
        let found = evaluate(&self.0, document).map_err(Failure::other)?;
        Ok(found.into_owned())
    }
}

/// Puts quotes into literals that are no JSON: `` `running` `` is `` `"running"` ``, as the AWS CLI still reads it.
fn quote_literals(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    let mut rest = text;
    while let Some(at) = rest.find(['`', '\'', '"']) {
        let quote = rest[at..].chars().next().unwrap_or('`');
        let inner = &rest[at + 1..];
        let mut is_escaped = false;
        let end = inner.find(|letter| {
            let ends = letter == quote && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            ends
        });
        let Some(end) = end else { break };
        let content = &inner[..end];
        let unescaped = content.replace("\\`", "`");
        quoted.push_str(&rest[..at]);
        if quote == '`' && Value::from_json(unescaped.trim_start().as_bytes()).is_err() {
            quoted.push_str("`\"");
            quoted.push_str(content.trim_start());
            quoted.push_str("\"`");
        } else {
            quoted.push(quote);
            quoted.push_str(content);
            quoted.push(quote);
        }
        rest = &inner[end + 1..];
    }
    quoted.push_str(rest);
    quoted
}

/// Evaluates a part of an expression on a value.
pub(super) fn evaluate<'a>(ast: &Ast, value: &'a Value) -> Result<Found<'a>, SearchError> {
    let null = || Ok(Cow::Owned(Value::Null));
    match ast {
        Ast::Identity { .. } => Ok(Cow::Borrowed(value)),
        Ast::Field { name, .. } => Ok(value
            .get(name)
            .map_or_else(|| Cow::Owned(Value::Null), Cow::Borrowed)),
        Ast::Subexpr { lhs, rhs, .. } => then(evaluate(lhs, value)?, rhs),
        Ast::Literal { value, .. } => Ok(Cow::Owned(from_literal(value))),
        Ast::Index { idx, .. } => {
            let elements = value.elements();
            let at = usize::try_from(*idx).ok().or_else(|| {
                let back = usize::try_from(idx.unsigned_abs()).ok()?;
                elements.len().checked_sub(back)
            });
            let element = at.and_then(|at| elements.get(at));
            Ok(element.map_or_else(|| Cow::Owned(Value::Null), Cow::Borrowed))
        }
        Ast::Or { lhs, rhs, .. } => {
            let left = evaluate(lhs, value)?;
            if is_truthy(&left) {
                Ok(left)
            } else {
                evaluate(rhs, value)
            }
        }
        Ast::And { lhs, rhs, .. } => {
            let left = evaluate(lhs, value)?;
            if is_truthy(&left) {
                evaluate(rhs, value)
            } else {
                Ok(left)
            }
        }
        Ast::Not { node, .. } => Ok(Cow::Owned(Value::Bool(!is_truthy(&*evaluate(
            node, value,
        )?)))),
        Ast::Condition {
            predicate, then, ..
        } => {
            if is_truthy(&*evaluate(predicate, value)?) {
                evaluate(then, value)
            } else {
                null()
            }
        }
        Ast::Comparison {
            comparator,
            lhs,
            rhs,
            ..
        } => {
            let (left, right) = (evaluate(lhs, value)?, evaluate(rhs, value)?);
            let result = compare(comparator, &left, &right);
            Ok(Cow::Owned(result.map_or(Value::Null, Value::Bool)))
        }
        Ast::ObjectValues { .. } | Ast::Projection { .. } | Ast::Flatten { .. } => {
            Ok(Cow::Owned(evaluate_list(ast, value)?))
        }
        Ast::MultiList { .. } | Ast::MultiHash { .. } if matches!(value, Value::Null) => null(),
        Ast::MultiList { elements, .. } => {
            let results = elements
                .iter()
                .map(|element| Ok(evaluate(element, value)?.into_owned()));
            Ok(Cow::Owned(Value::List(
                results.collect::<Result<_, SearchError>>()?,
            )))
        }
        Ast::MultiHash { elements, .. } => {
            let mut map = Value::Map(Vec::new());
            for pair in elements {
                map.set(&pair.key, evaluate(&pair.value, value)?.into_owned());
            }
            Ok(Cow::Owned(map))
        }
        Ast::Slice {
            start, stop, step, ..
        } => slice(value, *start, *stop, *step),
        Ast::Function { name, args, .. } => functions::call(name, args, value).map(Cow::Owned),
        Ast::Expref { .. } => Err("an expression with & is for functions alone".to_owned()),
    }
}

/// Evaluates what makes a list of another.
fn evaluate_list(ast: &Ast, value: &Value) -> Result<Value, SearchError> {
    let (Ast::ObjectValues { node, .. }
    | Ast::Flatten { node, .. }
    | Ast::Projection { lhs: node, .. }) = ast
    else {
        return Ok(Value::Null);
    };
    let found = evaluate(node, value)?;
    let mut results = Vec::new();
    match (ast, &*found) {
        (Ast::ObjectValues { .. }, Value::Map(entries)) => {
            results.extend(entries.iter().map(|(_, value)| value.clone()));
        }
        (Ast::Projection { rhs, .. }, Value::List(elements)) => {
            for element in elements {
                let result = evaluate(rhs, element)?;
                if !matches!(*result, Value::Null) {
                    results.push(result.into_owned());
                }
            }
        }
        (Ast::Flatten { .. }, Value::List(elements)) => {
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

/// Evaluates `ast` on what was found.
fn then<'a>(found: Found<'a>, ast: &Ast) -> Result<Found<'a>, SearchError> {
    match found {
        Cow::Borrowed(value) => evaluate(ast, value),
        Cow::Owned(value) => Ok(Cow::Owned(evaluate(ast, &value)?.into_owned())),
    }
}

fn from_literal(literal: &Rcvar) -> Value {
    match &**literal {
        Variable::Null | Variable::Expref(_) => Value::Null,
        Variable::String(text) => Value::text(text),
        Variable::Bool(is_true) => Value::Bool(*is_true),
        Variable::Number(number) => {
            let text = number.to_string();
            let integer = text.parse().map(Value::Integer);
            integer.unwrap_or_else(|_| Value::Float(number.as_f64().unwrap_or_default()))
        }
        Variable::Array(elements) => Value::List(elements.iter().map(from_literal).collect()),
        Variable::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), from_literal(value)));
            Value::Map(entries.collect())
        }
    }
}

/// Null, false, and what is empty are not.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Text(text) => !text.is_empty(),
        Value::List(elements) => !elements.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
        _ => true,
    }
}

fn compare(comparator: &Comparator, left: &Value, right: &Value) -> Option<bool> {
    let order = order(left, right);
    match comparator {
        Comparator::Equal => Some(left == right),
        Comparator::NotEqual => Some(left != right),
        Comparator::LessThan => order.map(Ordering::is_lt),
        Comparator::LessThanEqual => order.map(Ordering::is_le),
        Comparator::GreaterThan => order.map(Ordering::is_gt),
        Comparator::GreaterThanEqual => order.map(Ordering::is_ge),
    }
}

/// The order of two numbers or two texts; dates are compared as texts.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Integer(left), Value::Integer(right)) => Some(left.cmp(right)),
        _ => functions::number(left)?.partial_cmp(&functions::number(right)?),
    }
}

fn slice(
    value: &Value,
    start: Option<i32>,
    end_at: Option<i32>,
    stride: i32,
) -> Result<Found<'_>, SearchError> {
    let Value::List(elements) = value else {
        return Ok(Cow::Owned(Value::Null));
    };
    if stride == 0 {
        return Err("a slice cannot have the step 0".to_owned());
    }
    let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    let stride = i64::from(stride);
    let (lowest, highest) = if stride > 0 {
        (0, length)
    } else {
        (-1, length - 1)
    };
    let bound = |bound: Option<i32>, default: i64| match bound.map(i64::from) {
        Some(bound) if bound < 0 => (bound + length).max(lowest),
        Some(bound) => bound.min(highest),
        None => default,
    };
    let (first, last) = if stride > 0 {
        (lowest, highest)
    } else {
        (highest, lowest)
    };
    let (mut at, end) = (bound(start, first), bound(end_at, last));
    let mut part = Vec::new();
    while (stride > 0 && at < end) || (stride < 0 && at > end) {
        let element = usize::try_from(at).ok().and_then(|at| elements.get(at));
        part.extend(element.cloned());
        at += stride;
    }
    Ok(Cow::Owned(Value::List(part)))
}
