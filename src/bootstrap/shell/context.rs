//! The variables of an invocation that rarely change, and the content of file 60.
//!
//! Setting a variable costs bash time. So the driver sets these only when they have changed.

use crate::calls::Prepared;
use crate::child::arguments::{Arguments, Separator, push_field};
use crate::invocation::Invocation;
use coshell_driver::CONTEXT_VALUES;

/// The variables of an invocation that rarely change, as bash last got them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Context {
    /// The values of the first of [`coshell_driver::CONTEXT`]; empty if the header was absent.
    pub values: [String; CONTEXT_VALUES],
    /// Whether there was a trace header.
    pub has_trace: bool,
    /// Whether there was a deadline.
    pub has_deadline: bool,
}

impl Context {
    /// The context that `invocation` needs.
    pub(crate) fn of(invocation: &Invocation) -> Self {
        let values = invocation.context_values();
        Self {
            values: values.map(|value| value.unwrap_or_default().to_owned()),
            has_trace: invocation.trace_id.is_some(),
            has_deadline: invocation.deadline_ms.is_some(),
        }
    }

    /// The field of the state that the driver writes if the variables have these values.
    pub(crate) fn state_field(&self) -> String {
        coshell_driver::context_field([self.has_deadline, self.has_trace], &self.values)
    }

    /// Whether `invocation` needs the same context, so that it need not be sent. Allocates nothing.
    pub(crate) fn matches(&self, invocation: &Invocation) -> bool {
        let headers = invocation.context_values();
        let same = |(value, header): (&String, Option<&str>)| value == header.unwrap_or_default();
        self.has_trace == invocation.trace_id.is_some()
            && self.has_deadline == invocation.deadline_ms.is_some()
            // `,d` does not set the trace: without a deadline the trace is part of the context.
            && (self.has_deadline || !self.has_trace)
            && self.values.iter().zip(headers).all(same)
    }
}

/// The content of file 60 for one invocation:
/// `[name NUL value NUL]... request id NUL call NUL reply NUL [deadline NUL [trace NUL]] event NUL`.
///
/// Call and reply are the [prepared](crate::calls::Prepared) ones, and empty if there are none.
/// bash reads exactly these fields, so the rest of a longer, earlier invocation behind them does no harm. `context` is
/// there only if it changed.
pub(crate) fn arguments<'a>(
    invocation: &'a Invocation,
    context: Option<&Context>,
    prepared: Option<&Prepared>,
    separator: Separator,
) -> Arguments<'a> {
    let end = separator.byte();
    let mut head = Vec::with_capacity(256);
    if let Some(context) = context {
        push_context(&mut head, context, invocation, end);
    }
    push_field(&mut head, &invocation.request_id, end);
    if let Some(prepared) = prepared.filter(|prepared| !prepared.call.contains(&end)) {
        head.extend_from_slice(&prepared.call);
        head.push(end);
        push_field(&mut head, &prepared.reply, end);
    } else {
        head.extend_from_slice(&[end; 2]);
    }
    if let Some(deadline) = &invocation.deadline_ms {
        push_field(&mut head, deadline, end);
        if let Some(trace) = &invocation.trace_id {
            push_field(&mut head, trace, end);
        }
    }
    Arguments {
        head,
        event: invocation.argument(),
        end: vec![end],
    }
}

/// The content of file 60 for [`SetContext`](super::to_shell::ToShell::SetContext) alone: `[name NUL value NUL]...`.
pub(crate) fn context_arguments<'a>(context: &Context, invocation: &Invocation) -> Arguments<'a> {
    let mut head = Vec::new();
    push_context(&mut head, context, invocation, Separator::Nul.byte());
    Arguments {
        head,
        event: Vec::new().into(),
        end: Vec::new(),
    }
}

fn push_context(head: &mut Vec<u8>, context: &Context, invocation: &Invocation, end: u8) {
    let values = context.values.iter().map(String::as_str);
    let trace = invocation.trace_id.as_deref().unwrap_or_default();
    let deadline = invocation.deadline_ms.as_deref().unwrap_or_default();
    let values = values.chain([trace, trace, deadline]);
    for (name, value) in coshell_driver::CONTEXT.into_iter().zip(values) {
        push_field(head, name, end);
        push_field(head, value, end);
    }
}
