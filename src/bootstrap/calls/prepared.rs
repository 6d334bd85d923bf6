//! The reply to the call with which an event usually begins: it goes to the shell with the event, so that the handler need not ask.
//!
//! Most handlers begin each event with the same `lambda_get` or `lambda_request`. The answer depends on the event alone. So once
//! the shell has begun an event with such a call, its reply is made before the next event is sent. If the handler then makes the
//! same call, with the same arguments, the shell has the reply; otherwise it asks, and nothing is lost but the time to make it.

use std::sync::Mutex;

use super::caller::CallingProcess;
use super::request::{Input, Request};
use super::shell_reply::ShellReply;
use super::{Current, answer, lock};
use coshell_calls::{Answer, Call, Variable};

/// Of a larger event no reply is prepared: reading it costs more than asking.
const MAX_EVENT_BYTES: usize = 16 * 1024;
/// Between the arguments of a call.
const UNIT_SEPARATOR: u8 = 0x1f;

/// A call, and the command that is its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// The number of arguments and the arguments, each with a unit separator behind it.
    pub call: Vec<u8>,
    pub reply: String,
}

/// What is known of the calls with which events begin.
#[derive(Debug, Default)]
pub(super) struct UsualCall {
    /// The function and its arguments.
    arguments: Option<Vec<Vec<u8>>>,
    /// The number of the last request. The shell also counts the calls for which it had a reply.
    last_number: u64,
    /// The present event has sent a request.
    has_begun: bool,
}

impl UsualCall {
    pub(super) fn begin(&mut self) {
        self.has_begun = false;
    }

    /// Looks at a request of the shell itself.
    pub(super) fn note(&mut self, request: &Request) {
        let number = request.number().unwrap_or_default();
        // If one is missing, the shell has had the reply to a call before this one.
        let is_first = !self.has_begun && number == self.last_number + 1;
        self.last_number = number;
        self.has_begun = true;
        if (is_first || self.arguments.is_none()) && depends_on_event_alone(request) {
            self.arguments = Some(request.arguments.clone());
        }
    }

    /// The reply to the usual call about the event in `current`. `None` if there is none, or if it does not succeed.
    pub(super) fn prepare(&self, current: &Mutex<Current>) -> Option<Prepared> {
        let arguments = self.arguments.as_ref()?;
        let request_id = {
            let current = lock(current);
            let is_small = |event: &Vec<u8>| event.len() <= MAX_EVENT_BYTES;
            current.event.as_deref().filter(|event| is_small(event))?;
            current.request_id.clone().into_bytes()
        };
        let (function, rest) = arguments.split_first()?;
        let call = Call {
            function: str::from_utf8(function).ok()?,
            arguments: rest.iter().map(Vec::as_slice).collect(),
            input: None,
        };
        let caller = CallingProcess::new(0, request_id, current, None);
        let Ok(Answer::Reply(reply)) = coshell_calls::answer(&call, &caller) else {
            return None;
        };
        for (name, variable) in &reply.assignments {
            if matches!(variable, Variable::File(_)) || variable.check(name).is_err() {
                return None;
            }
        }
        let mut call = arguments.len().to_string().into_bytes();
        call.push(UNIT_SEPARATOR);
        for argument in arguments {
            call.extend_from_slice(argument);
            call.push(UNIT_SEPARATOR);
        }
        let reply = ShellReply::as_assignments(&reply)?;
        Some(Prepared { call, reply })
    }
}

/// Whether the reply to a call is the same each time that it is made about one event.
fn depends_on_event_alone(request: &Request) -> bool {
    let Some((function, arguments)) = request.arguments.split_first() else {
        return false;
    };
    let has_option = |known: &[&[u8]]| {
        arguments
            .iter()
            .all(|argument| !argument.starts_with(b"-") || known.contains(&&argument[..]))
    };
    let is_known = match &function[..] {
        b"get" => has_option(&[b"--array", b"--map"]),
        b"request" => has_option(&[b"--prefix", b"--join"]),
        _ => false,
    };
    let is_plain = |argument: &Vec<u8>| !argument.contains(&UNIT_SEPARATOR);
    is_known
        && request.input == Input::None
        && arguments.iter().all(is_plain)
        && !answer::may_take_long(request)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn request(number: u64, arguments: &[&str]) -> Request {
        let arguments = arguments
            .iter()
            .map(|argument| argument.as_bytes().to_vec());
        Request {
            pid: 7,
            caller: format!("7.{number}").into_bytes(),
            request_id: b"id".to_vec(),
            input: Input::None,
            arguments: arguments.collect(),
        }
    }

    fn prepared(usual: &UsualCall, event: &str) -> Option<Prepared> {
        usual.prepare(&Mutex::new(Current {
            request_id: "id".to_owned(),
            event: Some(Arc::new(event.as_bytes().to_vec())),
            ..Current::default()
        }))
    }

    #[test]
    fn first_call_of_an_event_is_prepared_for_the_next() {
        let mut usual = UsualCall::default();
        assert_eq!(prepared(&usual, "{}"), None);
        usual.note(&request(1, &["get", "a", ".a"]));
        usual.note(&request(2, &["get", "b", ".b"]));
        let found = prepared(&usual, r#"{"a":1,"b":2}"#);
        let call = b"3\x1fget\x1fa\x1f.a\x1f".to_vec();
        let reply = "a='1' ".to_owned();
        assert_eq!(found, Some(Prepared { call, reply }));
        assert_eq!(prepared(&usual, "{}"), None);
        let large = format!(r#"{{"a":1,"b":"{}"}}"#, "x".repeat(MAX_EVENT_BYTES));
        assert_eq!(prepared(&usual, &large), None);
    }

    #[test]
    fn call_that_was_used_stays_prepared() {
        let event = r#"{"a":1,"b":2}"#;
        let reply = |usual: &UsualCall| prepared(usual, event).map(|prepared| prepared.reply);
        let mut usual = UsualCall::default();
        usual.note(&request(1, &["get", "a", ".a"]));
        usual.begin();
        // Number 2 was answered by the shell.
        usual.note(&request(3, &["get", "b", ".b"]));
        assert_eq!(reply(&usual).as_deref(), Some("a='1' "));
        usual.begin();
        usual.note(&request(4, &["get", "b", ".b"]));
        assert_eq!(reply(&usual).as_deref(), Some("b='2' "));
    }

    #[test]
    fn calls_that_depend_on_more_than_the_event_are_not_prepared() {
        for arguments in [
            &["get", "--json", "{}", "a", ".a"][..],
            &["get", "--in", "x", "a", ".a"],
            &["get", "a", ".a | map(.b)"],
            &["get", "a\x1f", ".a"],
            &["request", "--body-file"],
            &["json", "a=1"],
            &["tempdir", "a"],
            &["records"],
            &[],
        ] {
            let mut usual = UsualCall::default();
            usual.note(&request(1, arguments));
            assert!(usual.arguments.is_none(), "{arguments:?}");
        }
    }
}
