//! One event and its answer, on the way between the caller and the bootstrap.
//!
//! ```text
//! waiting --next--> running --response, error, init error--> answered
//!                      \-- the sandbox ends, or the deadline passes --> answered
//! ```
//!
//! [`invocation`](super::invocation) opens an [`Exchange`] and keeps the [`Receivers`].
//! [`runtime_api`](super::runtime_api) delivers the event to the bootstrap and answers the exchange once.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::failure::Failure;

/// What a caller sends.
#[derive(Debug, Clone, Default)]
pub struct Event {
    /// The event, byte for byte.
    pub body: Bytes,
    /// JSON from a mobile SDK, decoded.
    pub client_context: Option<String>,
    /// A sandbox never serves two tenants.
    pub tenant_id: Option<String>,
    /// The caller's X-Ray trace header. Without one, a new one is made.
    pub trace_id: Option<String>,
    /// The version or alias that was called.
    pub qualifier: Option<String>,
}

/// What the caller gets.
#[derive(Debug)]
pub enum Answer {
    /// The response, byte for byte.
    Response(Bytes),
    /// A response whose bytes are still coming.
    Stream(Stream),
    /// A function error or an init error.
    Error(Failure),
}

/// A streamed response.
#[derive(Debug)]
pub struct Stream {
    pub content_type: String,
    /// The content as it comes. If the channel closes before [`Piece::End`], the response broke off.
    pub pieces: mpsc::Receiver<Piece>,
}

/// A part of a streamed response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Data(Bytes),
    /// The end, with the failure if the handler failed midway.
    End(Option<Failure>),
}

impl Answer {
    /// Waits for the whole response.
    ///
    /// # Errors
    /// The failure, even if a part of the response came before it.
    pub async fn whole(self) -> Result<Bytes, Failure> {
        let mut stream = match self {
            Self::Response(response) => return Ok(response),
            Self::Error(failure) => return Err(failure),
            Self::Stream(stream) => stream,
        };
        let mut response = Vec::new();
        while let Some(piece) = stream.pieces.recv().await {
            match piece {
                Piece::Data(data) => response.extend_from_slice(&data),
                Piece::End(None) => return Ok(response.into()),
                Piece::End(Some(failure)) => return Err(failure),
            }
        }
        Err(Failure::truncated())
    }
}

/// One event until its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// A random UUID.
    pub request_id: String,
    /// Identifies this attempt: a random UUID. A runtime may send it back with the answer, and then it has to match.
    pub invocation_id: String,
    /// The X-Ray trace header: the caller's, or a new one that is not sampled.
    pub trace_id: String,
    /// The ARN that was invoked, with its qualifier.
    pub function_arn: String,
    /// Milliseconds since the epoch; 0 as long as the time does not run.
    pub deadline_ms: u128,
    pub event: Event,
    timeout: Duration,
    /// `None` once the answer is sent.
    answer: Option<oneshot::Sender<Answer>>,
    delivery: Option<oneshot::Sender<Delivery>>,
}

/// The moment at which the bootstrap got the event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    pub at: Instant,
    /// How often the sandbox had been idle by then. The invocation is over when it is idle once more.
    pub idle_count: u64,
}

/// The other ends of an exchange.
#[derive(Debug)]
pub(crate) struct Receivers {
    pub answer: oneshot::Receiver<Answer>,
    /// Closes without a delivery if the exchange is answered before.
    pub delivery: oneshot::Receiver<Delivery>,
}

impl Exchange {
    /// An exchange whose time does not run yet.
    pub(crate) fn open(
        request_id: &str,
        event: Event,
        function_arn: &str,
        timeout: Duration,
    ) -> (Self, Receivers) {
        let (answer, answer_receiver) = oneshot::channel();
        let (delivery, delivery_receiver) = oneshot::channel();
        let function_arn = match &event.qualifier {
            Some(qualifier) => format!("{function_arn}:{qualifier}"),
            None => function_arn.to_owned(),
        };
        let trace_id = event.trace_id.clone();
        let exchange = Self {
            request_id: request_id.to_owned(),
            invocation_id: new_id(),
            trace_id: trace_id.unwrap_or_else(|| new_trace_id(since_epoch().as_secs())),
            function_arn,
            deadline_ms: 0,
            event,
            timeout,
            answer: Some(answer),
            delivery: Some(delivery),
        };
        let receivers = Receivers {
            answer: answer_receiver,
            delivery: delivery_receiver,
        };
        (exchange, receivers)
    }

    /// Sets the deadline, if it is not set yet.
    pub(crate) fn start_clock(&mut self) {
        if self.deadline_ms == 0 {
            self.deadline_ms = since_epoch().saturating_add(self.timeout).as_millis();
        }
    }

    /// Notes that the bootstrap gets the event now, in a sandbox that has been idle `idle_count` times.
    pub(crate) fn mark_delivered(&mut self, idle_count: u64) {
        self.start_clock();
        if let Some(sender) = self.delivery.take() {
            let at = Instant::now();
            // An error means that the receiver is not interested.
            let _ = sender.send(Delivery { at, idle_count });
        }
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answer.is_none()
    }

    /// Sends the answer to the caller. Does nothing if the exchange has been answered, or if the caller has gone.
    pub(crate) fn answer(&mut self, answer: Answer) {
        if let Some(sender) = self.answer.take() {
            // An error means that the caller has gone.
            let _ = sender.send(answer);
        }
        self.delivery = None;
    }
}

pub(super) fn since_epoch() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// A random UUID, for an invocation, an attempt or a sandbox.
pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// `Root=1-<seconds>-<24 digits>;Parent=<16 digits>;Sampled=0`, in hexadecimal digits:
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>.
pub(super) fn new_trace_id(seconds: u64) -> String {
    let (root, parent) = (
        Uuid::new_v4().simple().to_string(),
        Uuid::new_v4().simple().to_string(),
    );
    format!(
        "Root=1-{seconds:08x}-{};Parent={};Sampled=0",
        &root[..24],
        &parent[..16]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_id_has_the_parts_that_x_ray_wants() {
        let trace_id = new_trace_id(0x5759_e988);
        let digits = |text: &str, count| {
            text.len() == count && text.chars().all(|digit| digit.is_ascii_hexdigit())
        };
        let rest = trace_id
            .strip_prefix("Root=1-5759e988-")
            .unwrap_or_default();
        let (root, rest) = rest.split_once(";Parent=").unwrap_or_default();
        let parent = rest.strip_suffix(";Sampled=0").unwrap_or_default();
        assert!(digits(root, 24) && digits(parent, 16), "{trace_id}");
    }

    #[test]
    fn exchange_is_answered_once() {
        let (mut exchange, mut receivers) =
            Exchange::open("id", Event::default(), "arn", Duration::from_secs(1));
        assert!(!exchange.is_answered());
        exchange.answer(Answer::Response(Bytes::from_static(b"first")));
        exchange.answer(Answer::Response(Bytes::from_static(b"second")));
        assert!(exchange.is_answered());
        assert!(
            matches!(receivers.answer.try_recv(), Ok(Answer::Response(bytes)) if bytes.as_ref() == b"first")
        );
    }

    #[test]
    fn arn_ends_in_the_qualifier_that_was_called() {
        let event = Event {
            qualifier: Some("live".to_owned()),
            ..Event::default()
        };
        let (exchange, _) = Exchange::open("id", event, "arn", Duration::from_secs(1));
        assert_eq!(exchange.function_arn, "arn:live");
    }

    #[test]
    fn deadline_and_delivery_are_set_once() {
        let timeout = Duration::from_secs(1);
        let (mut exchange, mut receivers) = Exchange::open("id", Event::default(), "arn", timeout);
        assert_eq!(exchange.deadline_ms, 0);
        exchange.start_clock();
        let deadline_ms = exchange.deadline_ms;
        assert!(deadline_ms > since_epoch().as_millis());
        exchange.mark_delivered(3);
        exchange.mark_delivered(4);
        assert_eq!(exchange.deadline_ms, deadline_ms);
        let delivery = receivers.delivery.try_recv();
        assert!(delivery.is_ok_and(|delivery| delivery.idle_count == 3));
    }
}
