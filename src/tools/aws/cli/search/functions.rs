//! The functions of `JMESPath`.

use std::cmp::Ordering;

use super::parser::Node;
use super::{SearchError, evaluate, order};
use crate::aws::cli::output::json;
use crate::aws::cli::shorthand;
use crate::aws::cli::value::Value;

/// Calls a function on arguments that are still to be evaluated.
pub(super) fn call(name: &str, arguments: &[Node], document: &Value) -> Result<Value, SearchError> {
    let arity = match name {
        "abs" | "avg" | "ceil" | "floor" | "keys" | "length" | "max" | "min" | "reverse"
        | "sort" | "sum" | "to_array" | "to_number" | "to_string" | "type" | "values" => 1..=1,
        "contains" | "ends_with" | "join" | "map" | "max_by" | "min_by" | "sort_by"
        | "starts_with" => 2..=2,
        "merge" | "not_null" => 1..=usize::MAX,
        _ => return Err(format!("Unknown function: {name}()")),
    };
    if !arity.contains(&arguments.len()) {
        return Err(format!(
            "Expected {} arguments for function {name}(), received {}",
            arity.start(),
            arguments.len()
        ));
    }
    let by_expression = match (name, arguments) {
        ("map", [expression, list]) | ("max_by" | "min_by" | "sort_by", [list, expression]) => {
            Some((list, expression))
        }
        _ => None,
    };
    if let Some((list, expression)) = by_expression {
        let Node::Reference(ast) = expression else {
            return Err(format!(
                "In function {name}(), one argument has to be an expression with &"
            ));
        };
        return each(name, list, ast, document);
    }
    let mut values = Vec::with_capacity(arguments.len());
    for argument in arguments {
        values.push(evaluate(argument, document)?.into_owned());
    }
    let fail = |value: &Value| {
        format!(
            "In function {name}(), invalid type for value: {}, received: \"{}\"",
            json::compact(value),
            type_of(value)
        )
    };
    match &values[..] {
        [value] => of_one(name, value, fail),
        [first, second] if arity.end() == &2 => of_two(name, first, second, fail),
        values => of_many(name, values, fail),
    }
}

fn of_one(
    name: &str,
    value: &Value,
    fail: impl Fn(&Value) -> SearchError,
) -> Result<Value, SearchError> {
    let same = |numbers: &[Value]| {
        let are_numbers = numbers.iter().all(|element| number(element).is_some());
        are_numbers || numbers.iter().all(|element| element.as_text().is_some())
    };
    Ok(match (name, value) {
        ("to_array", Value::List(_))
        | ("to_string", Value::Text(_))
        | ("to_number", Value::Integer(_) | Value::Float(_))
        | ("ceil" | "floor", Value::Integer(_))
        | ("merge", Value::Map(_))
        | ("not_null", _) => value.clone(),
        ("to_array", _) => Value::List(vec![value.clone()]),
        ("to_string", _) => Value::Text(json::compact(value)),
        ("type", _) => Value::text(type_of(value)),
        ("to_number", Value::Text(text)) => {
            match (shorthand::integer(text), shorthand::float(text)) {
                (Ok(integer), _) => Value::Integer(integer),
                (_, Ok(float)) => Value::Float(float),
                _ => Value::Null,
            }
        }
        ("to_number", _) => Value::Null,
        ("abs", Value::Integer(integer)) => {
            Value::Integer(integer.checked_abs().unwrap_or(i128::MAX))
        }
        ("abs", Value::Float(float)) => Value::Float(float.abs()),
        ("ceil", Value::Float(float)) => whole(float.ceil()),
        ("floor", Value::Float(float)) => whole(float.floor()),
        ("keys", Value::Map(entries)) => {
            Value::List(entries.iter().map(|(key, _)| Value::text(key)).collect())
        }
        ("values", Value::Map(entries)) => {
            Value::List(entries.iter().map(|(_, value)| value.clone()).collect())
        }
        ("length", Value::Text(text)) => count(text.chars().count()),
        ("length", Value::List(elements)) => count(elements.len()),
        ("length", Value::Map(entries)) => count(entries.len()),
        ("reverse", Value::Text(text)) => Value::Text(text.chars().rev().collect()),
        ("reverse", Value::List(elements)) => Value::List(elements.iter().rev().cloned().collect()),
        ("sum", Value::List(elements)) => sum(elements).ok_or_else(|| fail(value))?,
        ("avg", Value::List(elements)) if elements.is_empty() => Value::Null,
        ("avg", Value::List(elements)) => {
            let sum = sum(elements)
                .as_ref()
                .and_then(number)
                .ok_or_else(|| fail(value))?;
            #[allow(clippy::cast_precision_loss)]
            Value::Float(sum / elements.len() as f64)
        }
        ("max" | "min" | "sort", Value::List(elements)) if same(elements) => {
            let mut sorted = elements.clone();
            sorted.sort_by(|left, right| order(left, right).unwrap_or(Ordering::Equal));
            match name {
                "max" => sorted.pop().unwrap_or_default(),
                "min" => sorted.into_iter().next().unwrap_or_default(),
                _ => Value::List(sorted),
            }
        }
        _ => return Err(fail(value)),
    })
}

fn of_two(
    name: &str,
    first: &Value,
    second: &Value,
    fail: impl Fn(&Value) -> SearchError,
) -> Result<Value, SearchError> {
    Ok(match (name, first, second) {
        ("contains", Value::List(elements), _) => Value::Bool(
            elements
                .iter()
                .any(|element| is_same_in_python(element, second)),
        ),
        ("contains", Value::Text(text), Value::Text(part)) => {
            Value::Bool(text.contains(part.as_str()))
        }
        ("starts_with", Value::Text(text), Value::Text(part)) => {
            Value::Bool(text.starts_with(part.as_str()))
        }
        ("ends_with", Value::Text(text), Value::Text(part)) => {
            Value::Bool(text.ends_with(part.as_str()))
        }
        ("join", Value::Text(glue), Value::List(elements)) => {
            let texts: Option<Vec<_>> = elements.iter().map(Value::as_text).collect();
            Value::Text(texts.ok_or_else(|| fail(second))?.join(glue))
        }
        (_, Value::Text(_), _) => return Err(fail(second)),
        _ => return Err(fail(first)),
    })
}

fn of_many(
    name: &str,
    values: &[Value],
    fail: impl Fn(&Value) -> SearchError,
) -> Result<Value, SearchError> {
    if name == "not_null" {
        let mut values = values.iter();
        let found = values.find(|value| !matches!(value, Value::Null));
        return Ok(found.cloned().unwrap_or_default());
    }
    let mut merged = Value::Map(Vec::new());
    for (at, value) in values.iter().enumerate() {
        match value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    merged.set(key, value.clone());
                }
            }
            // Python's package checks the first alone, and what is empty changes nothing.
            Value::List(elements) if at > 0 && elements.is_empty() => {}
            Value::Text(text) if at > 0 && text.is_empty() => {}
            _ => return Err(fail(value)),
        }
    }
    Ok(merged)
}

/// `map`, and what sorts or chooses by an expression.
fn each(
    name: &str,
    list: &Node,
    expression: &Node,
    document: &Value,
) -> Result<Value, SearchError> {
    let found = evaluate(list, document)?;
    let Value::List(elements) = &*found else {
        return Err(format!(
            "In function {name}(), the list is of type \"{}\"",
            type_of(&found)
        ));
    };
    let mut keyed = Vec::with_capacity(elements.len());
    for element in elements {
        keyed.push((evaluate(expression, element)?.into_owned(), element));
    }
    if name == "map" {
        return Ok(Value::List(keyed.into_iter().map(|(key, _)| key).collect()));
    }
    let are_texts = keyed.iter().all(|(key, _)| key.as_text().is_some());
    if !are_texts && keyed.iter().any(|(key, _)| number(key).is_none()) {
        return Err(format!(
            "In function {name}(), the expression has to give numbers alone or strings alone"
        ));
    }
    let compare = |left: &(Value, &Value), right: &(Value, &Value)| {
        order(&left.0, &right.0).unwrap_or(Ordering::Equal)
    };
    let owned = |found: Option<&(Value, &Value)>| {
        found.map_or(Value::Null, |(_, element)| (*element).clone())
    };
    Ok(match name {
        // The first of several, as Python's max and min.
        "max_by" => owned(
            keyed
                .iter()
                .rev()
                .max_by(|left, right| compare(left, right)),
        ),
        "min_by" => owned(keyed.iter().min_by(|left, right| compare(left, right))),
        _ => {
            keyed.sort_by(compare);
            Value::List(
                keyed
                    .into_iter()
                    .map(|(_, element)| element.clone())
                    .collect(),
            )
        }
    })
}

/// In Python, true is the number 1, and false is 0.
fn is_same_in_python(left: &Value, right: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Bool(is_true) => Some(f64::from(u8::from(*is_true))),
        other => number(other),
    };
    left == right || number(left).is_some_and(|left| number(right) == Some(left))
}

/// The value of a number.
#[allow(clippy::cast_precision_loss)]
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(integer) => Some(*integer as f64),
        Value::Float(float) => Some(*float),
        _ => None,
    }
}

fn sum(elements: &[Value]) -> Option<Value> {
    let mut sum = Value::Integer(0);
    for element in elements {
        sum = match (sum, element) {
            (Value::Integer(sum), Value::Integer(integer)) => {
                Value::Integer(sum.saturating_add(*integer))
            }
            (sum, element) => Value::Float(number(&sum)? + number(element)?),
        };
    }
    Some(sum)
}

#[allow(clippy::cast_possible_truncation)]
fn whole(float: f64) -> Value {
    Value::Integer(float as i128)
}

fn count(count: usize) -> Value {
    Value::Integer(count.try_into().unwrap_or(i128::MAX))
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Integer(_) | Value::Float(_) => "number",
        Value::Text(_) | Value::Bytes(_) | Value::File(..) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
    }
}
