//! What was not found, and what is there instead.

use std::fmt::Write as _;

use super::node::Node;
use super::{Filter, Head, Step, StepKind};
use crate::document::{Children, Kind};

/// A value that is missing or null.
#[derive(Clone)]
pub(crate) struct Missing<'d> {
    /// The deepest value that was found.
    pub(crate) found: Node<'d>,
    /// Where its path is in the filter.
    pub(crate) place: Place,
    /// What it has not: the number of the step behind it. `None` if it is null.
    pub(crate) step: Option<usize>,
    /// A `?` says that it may be missing.
    pub(crate) is_allowed: bool,
}

/// Where in a filter a value was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) stage: usize,
    pub(crate) operand: usize,
    /// How many steps lead to it; `None` if it is what the operand got.
    pub(crate) steps: Option<usize>,
}

/// A failure that a filter's text is needed to describe.
pub(crate) enum Failure<'d> {
    Missing(Box<Missing<'d>>),
    /// A value that a step or a function cannot use, and why: `is a string, ...`.
    Unusable {
        place: Place,
        chosen: Vec<usize>,
        cause: String,
    },
}

impl Place {
    /// The text that leads here, with the elements that were chosen for its `[]`.
    fn describe(self, filter: &Filter, chosen: &[usize]) -> String {
        let Some(stage) = filter.stages.get(self.stage) else {
            return filter.text.clone();
        };
        let Some(operand) = stage.operands.get(self.operand) else {
            return filter.text.clone();
        };
        // The dot of a later stage is what came into it.
        let is_dot = matches!(operand.head, Head::Identity);
        let (steps, start, end) = match self.steps.filter(|steps| *steps > 0 || !is_dot) {
            Some(steps) => {
                let steps = operand.steps.get(..steps).unwrap_or_default();
                let is_alone = stage.operands.len() == 1;
                let end = steps.last().map_or(operand.head_end, |step| step.end);
                (steps, if is_alone { 0 } else { operand.start }, end)
            }
            None => (&[] as &[Step], 0, stage.start),
        };
        // The steps with a choice, in the order in which they were chosen.
        let before = filter.stages.get(..self.stage).unwrap_or_default().iter();
        let before = before.filter_map(|stage| stage.operands.first());
        let before = before.flat_map(|operand| &operand.steps);
        let each = before
            .chain(steps)
            .filter(|step| matches!(step.kind, StepKind::Each));
        let (mut text, mut at) = (String::new(), start);
        for (step, index) in each.zip(chosen) {
            if step.start >= at {
                text.push_str(filter.text.get(at..step.start).unwrap_or_default());
                let _ = write!(text, "[{index}]");
                at = step.end;
            }
        }
        text.push_str(filter.text.get(at..end).unwrap_or_default());
        match text.trim_matches([' ', '\t', '\r', '\n', '|']) {
            "" => ".".to_owned(),
            text => text.to_owned(),
        }
    }
}

impl Failure<'_> {
    /// What failed and why: `.Records[0].s3 has no field objekt; it has bucket, object`.
    pub(crate) fn describe(&self, filter: &Filter) -> String {
        match self {
            Self::Missing(missing) => {
                let place = missing.place.describe(filter, &missing.found.chosen);
                let stage = filter.stages.get(missing.place.stage);
                let operand = stage.and_then(|stage| stage.operands.get(missing.place.operand));
                let step = missing.step.and_then(|step| operand?.steps.get(step));
                let lack =
                    step.map_or_else(|| "is null".to_owned(), |step| missing.found.lack(step));
                format!("{place} {lack}")
            }
            Self::Unusable {
                place,
                chosen,
                cause,
            } => format!("{} {cause}", place.describe(filter, chosen)),
        }
    }
}

impl Node<'_> {
    /// What this value has not, and what it has.
    fn lack(&self, step: &Step) -> String {
        let document = self.document();
        match (&step.kind, document.children(self.span).as_deref()) {
            (StepKind::Field(name), Some(Children::Object(members))) => {
                if members.is_empty() {
                    return format!("has no field {name}; it is empty");
                }
                format!(
                    "has no field {name}; it has {}",
                    document.listed_names(self.span)
                )
            }
            (StepKind::Index(index), Some(Children::Array(elements))) => match elements.len() {
                0 => format!("has no element {index}; it is empty"),
                1 => format!("has no element {index}; it has one"),
                count => format!("has no element {index}; it has {count}"),
            },
            _ => format!("is {}", with_article(self.kind())),
        }
    }
}

/// `an object`
pub(crate) fn with_article(kind: Kind) -> String {
    match kind {
        Kind::Null => "null".to_owned(),
        Kind::Array | Kind::Object => format!("an {}", kind.name()),
        _ => format!("a {}", kind.name()),
    }
}
