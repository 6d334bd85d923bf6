//! What the functions do that a handler can call, `lambda_get` and its kin: from bytes to bytes.
//!
//! bash sends a call to its host, and gets back what to assign and what to print. Here are no processes, no threads and
//! no global state; what a call needs of where it runs comes through [`Caller`].

mod document;
mod encode;
mod encoding;
mod get;
mod hash;
mod json;
mod metric;
mod options;
mod order;
mod path;
mod records;
mod request;
mod shape;
mod variable;

pub use document::{Document, DocumentError};
pub use get::{JqFilter, Pending, needs_jq};
pub use records::{Batch, EventSource, Record, RecordOptions, batch_failures, records};
pub use request::AnswerForm;
pub use variable::{Variable, check_name};

/// A call of a handler.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// `get`, `json`, ...: the function without `lambda_`.
    pub function: &'a str,
    pub arguments: Vec<&'a [u8]>,
    /// The value of the variable that `--in` names; `None` if it is not set.
    pub input: Option<&'a [u8]>,
}

/// What is read for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// A file, by its path as the caller wrote it.
    File(&'a [u8]),
    StandardInput,
}

/// What a call may need of where it runs.
pub trait Caller {
    /// # Errors
    /// The system's words.
    fn read(&self, source: Source<'_>) -> Result<Vec<u8>, String>;

    /// The event of the invocation, checked at the first call.
    ///
    /// # Errors
    /// It is not JSON, or there is no invocation: in the words of the error.
    fn event(&self) -> Result<&Document<'_>, String>;

    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// The namespace of metrics that name none.
    fn metric_namespace(&self) -> Option<String> {
        None
    }
}

/// What a call comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    pub assignments: Vec<(String, Variable)>,
    /// For the caller's standard output.
    pub output: Vec<u8>,
    pub status: i32,
}

/// Why a call fails: `cannot read .Records[0].s3.objekt: .Records[0].s3 has no field objekt; it has bucket, object`.
/// Nothing is assigned or printed then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// 2 if the call is wrong, as with bash's builtins, and 1 if what it reads is.
    pub status: i32,
    pub message: String,
}

impl CallError {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            status: 2,
            message: message.into(),
        }
    }

    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self {
            status: 1,
            message: message.into(),
        }
    }
}

/// What comes of a call that does not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Reply(Reply),
    /// A filter of it is more than a path: jq has to run it, and [`Pending::finish`] makes the reply.
    NeedsJq(Pending),
}

/// Answers a call.
///
/// # Errors
/// It cannot be done; nothing is assigned then.
pub fn answer(call: &Call<'_>, caller: &dyn Caller) -> Result<Answer, CallError> {
    let reply = match call.function {
        "get" => return get::answer(call, caller),
        "json" => json::answer(call, caller)?,
        "encode" | "decode" => encode::answer(call, caller)?,
        "hash" => hash::answer(call, caller)?,
        "request" => request::answer(call, caller)?,
        "metric" => metric::answer(call, caller)?,
        other => {
            let message = format!("cannot call lambda_{other}: there is no such function");
            return Err(CallError::usage(message));
        }
    };
    Ok(Answer::Reply(reply))
}
