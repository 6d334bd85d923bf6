//! Serves the requests of a runtime, and takes their times.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::http::{Connection, Head};
use super::{Fault, InFlight, Shared, TimedAnswer};
use crate::results::ProblemKind;
use coshell_wire as wire;
use coshell_wire::ErrorDocument;

const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:compared";
const TRACE: &str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0";
/// The deadline in the headers of an event. The timeout of a comparison is another matter.
const DEADLINE: Duration = Duration::from_secs(300);
const ACKNOWLEDGED: &[u8] =
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";
const UNKNOWN: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

impl Shared {
    /// Answers the requests of a connection, until it is closed.
    pub(super) fn serve(&self, stream: &Arc<TcpStream>) -> io::Result<()> {
        let mut connection = Connection::new(Arc::clone(stream));
        while let Some(head) = connection.head()? {
            let now = Instant::now();
            if head.is_get && head.path == wire::NEXT {
                self.next(&mut connection, now)?;
            } else if head.is_get {
                // Extensions are not compared: a runtime goes on without them, as on a platform that has none.
                connection.send(UNKNOWN, b"")?;
            } else {
                self.post(&mut connection, &head)?;
            }
            if head.is_last {
                break;
            }
        }
        Ok(())
    }

    fn next(&self, connection: &mut Connection, now: Instant) -> io::Result<()> {
        let mut state = self.state();
        state.moves += 1;
        state.first_next.get_or_insert(now);
        if state.in_flight.take().is_some() {
            let detail = "GET next before the answer to the last event";
            state
                .round
                .faults
                .push(Fault::new(ProblemKind::Protocol, detail));
        }
        if let Some(acknowledged_at) = state.acknowledged_at.take()
            && let Some(answered) = state.round.answers.last_mut()
        {
            answered.turnaround = Some(now.saturating_duration_since(acknowledged_at));
        }
        if !self.gap.is_zero() && state.left > 0 {
            drop(state);
            thread::sleep(self.gap);
            state = self.state();
        }
        if state.until.is_some_and(|until| Instant::now() > until) {
            state.left = 0;
        }
        state.waiting += 1;
        let exchange = loop {
            if state.is_closed {
                return Ok(());
            }
            if state.in_flight.is_none() {
                if state.left > 0
                    && let Some(exchange) = &state.exchange
                {
                    break Arc::clone(exchange);
                }
                state.idle_at.get_or_insert(now);
                self.news.notify_all();
            }
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        state.waiting -= 1;
        state.left -= 1;
        state.sequence += 1;
        let request_id = format!("8476a536-e9f4-11e8-9739-{:012x}", state.sequence);
        let head = next_head(&request_id, exchange.event.len());
        let mut in_flight = InFlight {
            sequence: state.sequence,
            response_path: wire::response_path(&request_id),
            error_path: wire::error_path(&request_id),
            sent_at: now,
            exchange: Arc::clone(&exchange),
        };
        // The answer may come on another connection before `send` returns.
        in_flight.sent_at = Instant::now();
        state.in_flight = Some(in_flight);
        drop(state);
        connection.send(head.as_bytes(), &exchange.event)
    }

    fn post(&self, connection: &mut Connection, head: &Head) -> io::Result<()> {
        let (body, is_failed) = connection.body(head)?;
        let answered_at = Instant::now();
        let mut state = self.state();
        state.moves += 1;
        let is_response = |one: &InFlight| one.response_path == head.path;
        let is_error = |one: &InFlight| one.error_path == head.path;
        let in_flight = state
            .in_flight
            .take_if(|one| is_response(one) || is_error(one));
        let outcome = match &in_flight {
            Some(in_flight) if is_error(in_flight) => {
                Err(Fault::new(ProblemKind::FunctionError, error_type(body)))
            }
            Some(_) if is_failed => {
                let detail = format!("it failed after {} bytes of its response", body.len());
                Err(Fault::new(ProblemKind::FunctionError, detail))
            }
            Some(in_flight) => {
                let checked = in_flight.exchange.check(body);
                checked.map_err(|detail| Fault::new(ProblemKind::WrongAnswer, detail))
            }
            None if head.path == wire::INIT_ERROR => {
                Err(Fault::new(ProblemKind::InitError, error_type(body)))
            }
            None if is_of_extensions(&head.path) => {
                drop(state);
                return connection.send(UNKNOWN, b"");
            }
            None => Err(Fault::new(
                ProblemKind::Protocol,
                "an answer without an event",
            )),
        };
        match (outcome, &in_flight) {
            (Ok(()), Some(in_flight)) => {
                state.round.answers.push(TimedAnswer {
                    sequence: in_flight.sequence,
                    sent_at: in_flight.sent_at,
                    answered_at,
                    turnaround: None,
                });
                // A runtime may request the next event before `send` returns.
                state.acknowledged_at = Some(Instant::now());
            }
            (outcome, _) => {
                state.acknowledged_at = None;
                state.round.faults.extend(outcome.err());
            }
        }
        let last = state.round.answers.last().map(|answered| answered.sequence);
        if state.waiting > 0 {
            self.work.notify_all();
        }
        let is_over = state.left == 0;
        drop(state);
        let sent = connection.send(ACKNOWLEDGED, b"");
        let acknowledged_at = Instant::now();
        let mut state = self.state();
        if state.round.answers.last().map(|answered| answered.sequence) == last
            && let Some(noted) = &mut state.acknowledged_at
        {
            *noted = acknowledged_at;
        }
        if is_over {
            self.news.notify_all();
        }
        sent
    }
}

fn next_head(request_id: &str, len_bytes: usize) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let deadline_ms = (now + DEADLINE).as_millis();
    let mut head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {len_bytes}\r\n",
        wire::JSON
    );
    for (name, value) in [
        (wire::REQUEST_ID, request_id),
        (wire::DEADLINE_MS, &deadline_ms.to_string()),
        (wire::INVOKED_FUNCTION_ARN, FUNCTION_ARN),
        (wire::TRACE_ID, TRACE),
    ] {
        push_capitalised(&mut head, name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head
}

/// Appends the name of a header as Lambda spells it: some runtimes accept no other spelling.
fn push_capitalised(head: &mut String, name: &str) {
    let mut is_first = true;
    for letter in name.chars() {
        head.push(if is_first {
            letter.to_ascii_uppercase()
        } else {
            letter
        });
        is_first = letter == '-';
    }
}

fn is_of_extensions(path: &str) -> bool {
    let version = |path: &str| path.split('/').nth(2).map(ToOwned::to_owned);
    version(path) == version(wire::EXTENSION_REGISTER)
}

/// The error type of an error document, and nothing else of it.
fn error_type(document: &[u8]) -> String {
    let named = ErrorDocument::from_json(document).map(|document| document.error_type);
    let is_name = |name: &String| {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':');
        (1..=100).contains(&name.len()) && name.bytes().all(is_fit)
    };
    let named = named.filter(is_name);
    named.unwrap_or_else(|| format!("a document of {} bytes without a type", document.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn event_comes_with_the_headers_that_lambda_sends() {
        let head = next_head("id-1", 32);
        for line in [
            "Content-Length: 32",
            "Lambda-Runtime-Aws-Request-Id: id-1",
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:compared",
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
        }
        assert!(head.contains("\r\nLambda-Runtime-Deadline-Ms: ") && head.ends_with("\r\n\r\n"));
    }

    #[test]
    fn error_document_gives_its_type_and_nothing_else() {
        assert_eq!(
            error_type(br#"{"errorType":"Function.ExitError","errorMessage":"secret"}"#),
            "Function.ExitError"
        );
        assert_eq!(
            error_type(br#"{"errorType":"a secret"}"#),
            "a document of 24 bytes without a type"
        );
        assert_eq!(
            error_type(b"secret"),
            "a document of 6 bytes without a type"
        );
    }
}
