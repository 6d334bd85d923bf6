//! The exchanges of one sandbox, and the state of its bootstrap.
//!
//! ```text
//! init ---- next ----> ready: delivers the exchange that has waited longest, and delivers the same
//!   |                         one again until it is answered; then waits for another
//!   \-- init/error --> failed: every call gets 403
//! ```
//!
//! A sandbox of Managed Instances has up to `capacity` running exchanges, and delivers none of them twice.
//! This file has only the states; [`runtime_api`](super::runtime_api) puts HTTP around them.
//! Source: the states of <https://github.com/aws/aws-lambda-runtime-interface-emulator>.

use std::collections::VecDeque;

use axum::http::HeaderValue;

use super::exchange::{Answer, Exchange};
use super::failure::Failure;
use super::refusal::Refusal;

/// How many expired request ids to remember, to recognize answers that come too late.
const MAX_EXPIRED: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Init,
    Ready,
    Failed,
}

/// The exchanges of one sandbox.
#[derive(Debug)]
pub(crate) struct Queue {
    phase: Phase,
    capacity: usize,
    waiting: VecDeque<Exchange>,
    /// Delivered. With a capacity of 1 the last one stays here after its answer, to distinguish a second answer from one
    /// with an unknown request id.
    running: Vec<Exchange>,
    /// Why the init failed.
    failure: Option<Failure>,
    /// Request ids whose callers no longer wait.
    expired: VecDeque<String>,
}

impl Queue {
    /// An empty queue. The bootstrap may have up to `capacity` exchanges at a time.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            phase: Phase::Init,
            capacity,
            waiting: VecDeque::new(),
            running: Vec::new(),
            failure: None,
            expired: VecDeque::new(),
        }
    }

    /// Whether the bootstrap has not called *next* yet.
    pub(crate) fn is_init(&self) -> bool {
        self.phase == Phase::Init
    }

    /// Queues an exchange until the bootstrap calls *next*. After an init error, answers it with that error.
    pub(crate) fn push(&mut self, mut exchange: Exchange) {
        match &self.failure {
            Some(failure) => exchange.answer(Answer::Error(failure.clone())),
            None => self.waiting.push_back(exchange),
        }
    }

    /// Begins a call of *next*. Returns the running exchange if it has to be delivered again.
    ///
    /// # Errors
    /// After an init error.
    pub(crate) fn begin_next(&mut self) -> Result<Option<&Exchange>, Refusal> {
        if self.phase == Phase::Failed {
            return Err(Refusal::STATE);
        }
        self.phase = Phase::Ready;
        let is_single = self.capacity == 1;
        Ok(self
            .running
            .last()
            .filter(|last| is_single && !last.is_answered()))
    }

    /// Delivers the exchange that has waited longest, if there is one.
    pub(crate) fn deliver_next(&mut self, idle_count: u64) -> Option<&Exchange> {
        let mut exchange = self.waiting.pop_front()?;
        exchange.mark_delivered(idle_count);
        self.running.retain(|running| !running.is_answered());
        self.running.push(exchange);
        self.running.last()
    }

    /// Finds the exchange that an answer is for.
    ///
    /// # Errors
    /// When no running exchange has these ids, or when it has been answered or has expired.
    pub(crate) fn find_running(
        &mut self,
        request_id: &str,
        invocation_id: Option<&HeaderValue>,
    ) -> Result<&mut Exchange, Refusal> {
        if self.phase == Phase::Failed {
            return Err(Refusal::STATE);
        }
        if self.expired.iter().any(|expired| expired == request_id) {
            return Err(Refusal::LATE);
        }
        let found = self
            .running
            .iter_mut()
            .find(|exchange| exchange.request_id == request_id);
        let exchange = found.ok_or(Refusal::REQUEST_ID)?;
        if exchange.is_answered() {
            return Err(if self.capacity == 1 {
                Refusal::STATE
            } else {
                Refusal::REQUEST_ID
            });
        }
        if invocation_id.is_some_and(|id| id != exchange.invocation_id.as_str()) {
            return Err(Refusal::INVOCATION_ID);
        }
        Ok(exchange)
    }

    /// Forgets an exchange whose caller no longer waits. An answer to it comes too late.
    pub(crate) fn expire(&mut self, request_id: &str) {
        let is_other = |exchange: &Exchange| exchange.request_id != request_id;
        self.waiting.retain(is_other);
        self.running.retain(is_other);
        self.expired.push_back(request_id.to_owned());
        if self.expired.len() > MAX_EXPIRED {
            self.expired.pop_front();
        }
    }

    /// Takes an exchange out that has not been delivered yet, for another sandbox.
    pub(crate) fn withdraw(&mut self, request_id: &str) -> Option<Exchange> {
        let found = self
            .waiting
            .iter()
            .position(|exchange| exchange.request_id == request_id);
        self.waiting.remove(found?)
    }

    /// Records an init error, which also answers the waiting exchanges.
    ///
    /// # Errors
    /// After the first *next*, or after another init error.
    pub(crate) fn fail_init(&mut self, failure: &Failure) -> Result<(), Refusal> {
        if self.phase != Phase::Init {
            return Err(Refusal::STATE);
        }
        self.fail(failure);
        Ok(())
    }

    /// Records that the sandbox cannot continue, and answers the waiting exchanges with the failure.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        self.phase = Phase::Failed;
        self.failure = Some(failure.clone());
        for mut exchange in self.waiting.drain(..) {
            exchange.answer(Answer::Error(failure.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Bytes;

    use super::super::exchange::Event;
    use super::*;

    fn queue_of(capacity: usize, ids: &[&str]) -> Queue {
        let mut queue = Queue::new(capacity);
        for id in ids {
            let (exchange, _) = Exchange::open(id, Event::default(), "arn", Duration::from_secs(1));
            queue.push(exchange);
        }
        queue
    }

    fn next_id(queue: &mut Queue) -> Result<Option<String>, Refusal> {
        let id_of = |exchange: &Exchange| exchange.request_id.clone();
        match queue.begin_next()?.map(id_of) {
            Some(repeated) => Ok(Some(repeated)),
            None => Ok(queue.deliver_next(0).map(id_of)),
        }
    }

    fn respond(queue: &mut Queue, request_id: &str) -> Result<(), Refusal> {
        queue
            .find_running(request_id, None)?
            .answer(Answer::Response(Bytes::new()));
        Ok(())
    }

    fn failure() -> Failure {
        Failure::from_runtime(Some("A.B"), Bytes::new())
    }

    #[test]
    fn next_delivers_the_same_event_until_it_is_answered() {
        let mut queue = queue_of(1, &["first", "second"]);
        assert_eq!(next_id(&mut queue), Ok(Some("first".to_owned())));
        assert_eq!(next_id(&mut queue), Ok(Some("first".to_owned())));
        assert_eq!(respond(&mut queue, "first"), Ok(()));
        assert_eq!(next_id(&mut queue), Ok(Some("second".to_owned())));
    }

    #[test]
    fn as_many_events_run_as_the_capacity_allows() {
        let mut queue = queue_of(2, &["first", "second"]);
        assert_eq!(next_id(&mut queue), Ok(Some("first".to_owned())));
        assert_eq!(next_id(&mut queue), Ok(Some("second".to_owned())));
        assert_eq!(respond(&mut queue, "second"), Ok(()));
        assert_eq!(respond(&mut queue, "first"), Ok(()));
        assert_eq!(respond(&mut queue, "first"), Err(Refusal::REQUEST_ID));
    }

    #[test]
    fn second_answer_is_an_invalid_state_transition() {
        let mut queue = queue_of(1, &["first"]);
        assert!(next_id(&mut queue).is_ok());
        assert_eq!(respond(&mut queue, "first"), Ok(()));
        assert_eq!(respond(&mut queue, "first"), Err(Refusal::STATE));
        assert_eq!(next_id(&mut queue), Ok(None));
    }

    #[test]
    fn unknown_request_id_is_refused_before_and_after_next() {
        let mut queue = queue_of(1, &["first"]);
        assert_eq!(respond(&mut queue, "stray"), Err(Refusal::REQUEST_ID));
        assert!(next_id(&mut queue).is_ok());
        assert_eq!(respond(&mut queue, "stray"), Err(Refusal::REQUEST_ID));
    }

    #[test]
    fn answer_after_the_deadline_is_refused_as_late() {
        let mut queue = queue_of(2, &["first", "second"]);
        assert!(next_id(&mut queue).is_ok());
        queue.expire("first");
        assert_eq!(respond(&mut queue, "first"), Err(Refusal::LATE));
        assert_eq!(next_id(&mut queue), Ok(Some("second".to_owned())));
    }

    #[test]
    fn exchange_can_be_withdrawn_only_before_its_delivery() {
        let mut queue = queue_of(1, &["first", "second"]);
        assert!(next_id(&mut queue).is_ok());
        assert!(queue.withdraw("first").is_none());
        assert!(queue.withdraw("second").is_some());
        assert!(queue.withdraw("second").is_none());
    }

    #[test]
    fn invocation_id_may_be_absent_but_not_wrong() {
        let mut queue = queue_of(1, &["first"]);
        assert!(next_id(&mut queue).is_ok());
        let wrong = HeaderValue::from_static("of another attempt");
        assert_eq!(
            queue.find_running("first", Some(&wrong)).err(),
            Some(Refusal::INVOCATION_ID)
        );
        assert!(queue.find_running("first", None).is_ok());
    }

    #[test]
    fn init_error_is_accepted_only_before_next_and_refuses_all_later_calls() {
        let mut failed = queue_of(1, &["first"]);
        assert_eq!(failed.fail_init(&failure()), Ok(()));
        assert_eq!(failed.fail_init(&failure()), Err(Refusal::STATE));
        assert_eq!(next_id(&mut failed), Err(Refusal::STATE));
        let mut ready = queue_of(1, &["first"]);
        assert!(next_id(&mut ready).is_ok());
        assert_eq!(ready.fail_init(&failure()), Err(Refusal::STATE));
    }
}
