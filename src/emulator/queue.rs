//! The exchanges of one sandbox, and where its bootstrap stands.
//!
//! ```text
//! init ---- next ----> ready: hands out the exchange that waits longest, and the same one again
//!   |                         until it is answered; then waits for another
//!   \-- init/error --> failed: everything gets 403
//! ```
//!
//! Only states: [`runtime_api`](super::runtime_api) speaks HTTP around it.
//! Source: the states of <https://github.com/aws/aws-lambda-runtime-interface-emulator>.

use std::collections::VecDeque;

use axum::body::Bytes;
use axum::http::HeaderValue;

use super::exchange::{Answer, Exchange};

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No exchange of that name is under way.
    RequestId,
    /// The answer is one to another attempt.
    InvocationId,
    /// Not now: the answer is given, the init is over, or it has failed.
    State,
    /// The body has more bytes than Lambda takes.
    TooLarge,
    /// The body ended too soon.
    Truncated,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Init,
    Ready,
    Failed,
}

/// The exchanges, and where the bootstrap stands.
#[derive(Debug, Default)]
pub struct Queue {
    phase: Phase,
    waiting: VecDeque<Exchange>,
    /// Handed out last; stays after its answer, to know a second one from a stray one.
    current: Option<Exchange>,
}

impl Queue {
    /// The exchange waits for the bootstrap to ask for it.
    pub fn push(&mut self, exchange: Exchange) {
        self.waiting.push_back(exchange);
    }

    /// What *next* gets; `None` if it has to wait.
    ///
    /// # Errors
    /// After an init error.
    pub fn next_exchange(&mut self) -> Result<Option<&Exchange>, Refusal> {
        if self.phase == Phase::Failed {
            return Err(Refusal::State);
        }
        self.phase = Phase::Ready;
        if self.current.as_ref().is_none_or(Exchange::is_answered) {
            let Some(exchange) = self.waiting.pop_front() else {
                return Ok(None);
            };
            self.current = Some(exchange);
        }
        Ok(self.current.as_ref())
    }

    /// The exchange that an answer is for.
    ///
    /// # Errors
    /// When it may not be answered: it is another one that is under way, or none.
    pub fn running(
        &mut self,
        request_id: &str,
        invocation_id: Option<&HeaderValue>,
    ) -> Result<&mut Exchange, Refusal> {
        if self.phase == Phase::Failed {
            return Err(Refusal::State);
        }
        let exchange = self.current.as_mut().ok_or(Refusal::RequestId)?;
        if exchange.request_id != request_id {
            return Err(Refusal::RequestId);
        }
        if exchange.is_answered() {
            return Err(Refusal::State);
        }
        if invocation_id.is_some_and(|id| id != exchange.invocation_id.as_str()) {
            return Err(Refusal::InvocationId);
        }
        Ok(exchange)
    }

    /// The init error answers the exchange that waits longest.
    ///
    /// # Errors
    /// After the first *next*, or a second time.
    pub fn fail_init(&mut self, document: Bytes) -> Result<(), Refusal> {
        if self.phase != Phase::Init {
            return Err(Refusal::State);
        }
        self.phase = Phase::Failed;
        if let Some(mut exchange) = self.waiting.pop_front() {
            exchange.answer(Answer::Error(document));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    fn queue_of(count: usize) -> io::Result<Queue> {
        let mut queue = Queue::default();
        for _ in 0..count {
            let (exchange, _) = Exchange::open(Bytes::new(), "arn", Duration::from_secs(1))?;
            queue.push(exchange);
        }
        Ok(queue)
    }

    fn next_id(queue: &mut Queue) -> Result<Option<String>, Refusal> {
        Ok(queue
            .next_exchange()?
            .map(|exchange| exchange.request_id.clone()))
    }

    fn respond(queue: &mut Queue, request_id: &str) -> Result<(), Refusal> {
        queue
            .running(request_id, None)?
            .answer(Answer::Response(Bytes::new()));
        Ok(())
    }

    #[test]
    fn next_hands_out_the_same_event_until_it_is_answered() -> io::Result<()> {
        let mut queue = queue_of(2)?;
        let first = next_id(&mut queue).ok().flatten().unwrap_or_default();
        assert_eq!(next_id(&mut queue), Ok(Some(first.clone())));
        assert_eq!(respond(&mut queue, &first), Ok(()));
        assert!(next_id(&mut queue).is_ok_and(|second| second.is_some_and(|id| id != first)));
        Ok(())
    }

    #[test]
    fn second_answer_is_an_invalid_state_transition() -> io::Result<()> {
        let mut queue = queue_of(1)?;
        let id = next_id(&mut queue).ok().flatten().unwrap_or_default();
        assert_eq!(respond(&mut queue, &id), Ok(()));
        assert_eq!(respond(&mut queue, &id), Err(Refusal::State));
        assert_eq!(next_id(&mut queue), Ok(None));
        Ok(())
    }

    #[test]
    fn stray_request_id_is_refused_before_and_after_next() -> io::Result<()> {
        let mut queue = queue_of(1)?;
        assert_eq!(respond(&mut queue, "stray"), Err(Refusal::RequestId));
        assert!(next_id(&mut queue).is_ok());
        assert_eq!(respond(&mut queue, "stray"), Err(Refusal::RequestId));
        Ok(())
    }

    #[test]
    fn invocation_id_may_be_absent_but_not_wrong() -> io::Result<()> {
        let mut queue = queue_of(1)?;
        let id = next_id(&mut queue).ok().flatten().unwrap_or_default();
        let wrong = HeaderValue::from_static("of another attempt");
        assert_eq!(
            queue.running(&id, Some(&wrong)).err(),
            Some(Refusal::InvocationId)
        );
        assert!(queue.running(&id, None).is_ok());
        Ok(())
    }

    #[test]
    fn init_error_ends_everything_and_comes_before_next_only() -> io::Result<()> {
        let mut failed = queue_of(1)?;
        assert_eq!(failed.fail_init(Bytes::new()), Ok(()));
        assert_eq!(failed.fail_init(Bytes::new()), Err(Refusal::State));
        assert_eq!(next_id(&mut failed), Err(Refusal::State));
        let mut ready = queue_of(1)?;
        assert!(next_id(&mut ready).is_ok());
        assert_eq!(ready.fail_init(Bytes::new()), Err(Refusal::State));
        Ok(())
    }
}
