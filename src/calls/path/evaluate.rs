//! What a filter finds in a document.
//!
//! As with jq a filter gives any number of values, in their order. Where it differs: null that no `?` allows is a
//! failure at the end, and before a function.

use super::functions::apply;
use super::missing::{Failure, Missing, Place, with_article};
use super::node::Node;
use super::value::{Value, element, present};
use super::{Filter, Head, Operand, Step, StepKind};
use crate::document::{Children, Document, Kind};

/// The values that `filter` gives for `document`.
pub(crate) fn evaluate<'d>(
    filter: &Filter,
    document: &'d Document<'d>,
) -> Result<Vec<Value<'d>>, Failure<'d>> {
    let first = Place {
        stage: 0,
        operand: 0,
        steps: Some(0),
    };
    let mut values = vec![present(Node::root(document), first, false)];
    for (number, stage) in filter.stages.iter().enumerate() {
        let mut found = Vec::new();
        for value in values {
            alternatives(number, &stage.operands, value, &mut found)?;
        }
        values = found;
    }
    Ok(values)
}

/// What the first operand gives that gives anything but null and false, or else the last.
fn alternatives<'d>(
    stage: usize,
    operands: &[Operand],
    input: Value<'d>,
    found: &mut Vec<Value<'d>>,
) -> Result<(), Failure<'d>> {
    let place = |operand| Place {
        stage,
        operand,
        steps: None,
    };
    let Some((last, others)) = operands.split_last() else {
        return Ok(());
    };
    for (number, operand) in others.iter().enumerate() {
        let mut given = Vec::new();
        // A value of the wrong kind is a failure here, too: that is no default's business with jq either.
        run(operand, place(number), input.clone(), &mut given)?;
        given.retain(Value::is_truthy);
        if !given.is_empty() {
            found.append(&mut given);
            return Ok(());
        }
    }
    run(last, place(others.len()), input, found)
}

fn run<'d>(
    operand: &Operand,
    place: Place,
    input: Value<'d>,
    found: &mut Vec<Value<'d>>,
) -> Result<(), Failure<'d>> {
    let steps_taken = |steps| Place {
        steps: Some(steps),
        ..place
    };
    let start = match &operand.head {
        Head::Identity => input,
        Head::Empty => return Ok(()),
        Head::Function(function) => apply(*function, input, place)?,
        Head::Literal(json) => {
            let document = Document::valid(json.clone());
            let node = Node::of_document(document, input.chosen().to_vec());
            present(node, steps_taken(0), true)
        }
    };
    let mut pending = vec![(start, 0)];
    while let Some((value, taken)) = pending.pop() {
        let Some(step) = operand.steps.get(taken) else {
            found.push(value);
            continue;
        };
        let next = taken + 1;
        match take(step, value, steps_taken(taken)) {
            Ok(Taken::One(value)) => pending.push((value, next)),
            Ok(Taken::Each(node, children)) => {
                let each = children.into_iter().enumerate().rev();
                pending.extend(each.map(|(index, span)| {
                    let mut child = node.at(span);
                    child.chosen.push(index);
                    (present(child, steps_taken(next), step.is_optional), next)
                }));
            }
            Err(_) if step.is_optional => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

enum Taken<'d> {
    One(Value<'d>),
    Each(Node<'d>, Vec<crate::document::Span>),
}

/// Where `step` leads from `value`, which is at `place`.
fn take<'d>(step: &Step, value: Value<'d>, place: Place) -> Result<Taken<'d>, Failure<'d>> {
    let node = match value {
        Value::Node(node) => node,
        Value::Bytes(_, chosen) => return Err(unusable(step, Kind::String, b"", place, chosen)),
        Value::Missing(mut missing) => {
            missing.is_allowed |= step.is_optional;
            return match step.kind {
                StepKind::Each => Err(Failure::Missing(missing)),
                _ => Ok(Taken::One(Value::Missing(missing))),
            };
        }
    };
    let children = node.document().children(node.span);
    let found = match (&step.kind, children.as_deref()) {
        (StepKind::Each, Some(Children::Array(elements))) => {
            return Ok(Taken::Each(node, elements.clone()));
        }
        (StepKind::Each, Some(Children::Object(members))) => {
            let members = node.document().members(members);
            let values = members.into_iter().map(|(_, value)| value).collect();
            return Ok(Taken::Each(node, values));
        }
        (StepKind::Field(name), Some(Children::Object(members))) => {
            node.document().member(members, name)
        }
        (StepKind::Index(index), Some(Children::Array(elements))) => {
            element(elements, *index).copied()
        }
        _ => {
            let first = node.document().string(node.span);
            let first = first
                .trim_ascii_start()
                .as_bytes()
                .get(..1)
                .unwrap_or_default();
            return Err(unusable(
                step,
                node.kind(),
                first,
                place,
                node.chosen.clone(),
            ));
        }
    };
    let taken = place.steps.unwrap_or_default();
    let place_of_found = Place {
        steps: Some(taken + 1),
        ..place
    };
    Ok(Taken::One(match found {
        Some(span) => present(node.at(span), place_of_found, step.is_optional),
        None => Value::Missing(Box::new(Missing {
            found: node,
            place,
            step: Some(taken),
            is_allowed: step.is_optional,
        })),
    }))
}

fn unusable<'d>(
    step: &Step,
    kind: Kind,
    first: &[u8],
    place: Place,
    chosen: Vec<usize>,
) -> Failure<'d> {
    let lack = match &step.kind {
        StepKind::Field(name) => format!("and has no field {name}"),
        StepKind::Index(index) => format!("and has no element {index}"),
        StepKind::Each => "and has no elements".to_owned(),
    };
    let hint = match (kind, first) {
        (Kind::String, b"{" | b"[") => "; if it holds JSON, put | fromjson | before the rest",
        _ => "",
    };
    Failure::Unusable {
        place,
        chosen,
        cause: format!("is {}, {lack}{hint}", with_article(kind)),
    }
}
