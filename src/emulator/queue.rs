//! The exchanges of one sandbox, and where its bootstrap stands.
//!
//! ```text
//! init ---- next ----> ready: hands out the exchange that waits longest, and the same one again
//!   |                         until it is answered; then waits for another
//!   \-- init/error --> failed: everything gets 403
//! ```
//!
//! A sandbox of Managed Instances has up to `capacity` exchanges under way, and hands none out twice.
//! Only states: [`runtime_api`](super::runtime_api) speaks HTTP around it.
//! Source: the states of <https://github.com/aws/aws-lambda-runtime-interface-emulator>.

use std::collections::VecDeque;

use axum::http::HeaderValue;

use super::exchange::{Answer, Exchange, Failure};
use super::refusal::Refusal;

/// How many invocations that ran out of time are remembered, for the answers that come late.
const MAX_EXPIRED: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Init,
    Ready,
    Failed,
}

/// The exchanges, and where the bootstrap stands.
#[derive(Debug)]
pub(crate) struct Queue {
    phase: Phase,
    capacity: usize,
    waiting: VecDeque<Exchange>,
    /// Handed out. With a capacity of 1 the last one stays after its answer, to know a second
    /// answer from a stray one.
    running: Vec<Exchange>,
    /// Why the init has failed.
    failure: Option<Failure>,
    /// Request ids of those that nobody waits for any more.
    expired: VecDeque<String>,
}

impl Queue {
    /// An empty queue, of which `capacity` exchanges may be under way at a time.
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

    /// Whether the bootstrap has not asked for an invocation yet.
    pub(crate) fn is_init(&self) -> bool {
        self.phase == Phase::Init
    }

    /// The exchange waits for the bootstrap to ask for it; after an init error it is answered with
    /// that.
    pub(crate) fn push(&mut self, mut exchange: Exchange) {
        match &self.failure {
            Some(failure) => exchange.answer(Answer::Error(failure.clone())),
            None => self.waiting.push_back(exchange),
        }
    }

    /// The bootstrap asks for an invocation; gives the one that it has not answered, if that is what
    /// it gets.
    ///
    /// # Errors
    /// After an init error.
    pub(crate) fn ask(&mut self) -> Result<Option<&Exchange>, Refusal> {
        if self.phase == Phase::Failed {
            return Err(Refusal::STATE);
        }
        self.phase = Phase::Ready;
        let is_one = self.capacity == 1;
        Ok(self
            .running
            .last()
            .filter(|last| is_one && !last.is_answered()))
    }

    /// The exchange that waits longest, which is handed out now; `None` if there is none.
    pub(crate) fn hand_out(&mut self, idle_count: u64) -> Option<&Exchange> {
        let mut exchange = self.waiting.pop_front()?;
        exchange.hand_out(idle_count);
        self.running.retain(|one| !one.is_answered());
        self.running.push(exchange);
        self.running.last()
    }

    /// The exchange that an answer is for.
    ///
    /// # Errors
    /// When it may not be answered: it is another one that is under way, or none, or it is late.
    pub(crate) fn running(
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
            let of_one = self.capacity == 1;
            return Err(if of_one {
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

    /// Nobody waits for this exchange any more; an answer to it is late.
    pub(crate) fn expire(&mut self, request_id: &str) {
        self.waiting.retain(|one| one.request_id != request_id);
        self.running.retain(|one| one.request_id != request_id);
        self.expired.push_back(request_id.to_owned());
        if self.expired.len() > MAX_EXPIRED {
            self.expired.pop_front();
        }
    }

    /// An exchange that was not handed out yet, for another sandbox.
    pub(crate) fn take_back(&mut self, request_id: &str) -> Option<Exchange> {
        let found = self
            .waiting
            .iter()
            .position(|exchange| exchange.request_id == request_id);
        self.waiting.remove(found?)
    }

    /// The init error answers the exchanges that wait.
    ///
    /// # Errors
    /// After the first *next*, or a second time.
    pub(crate) fn fail_init(&mut self, failure: &Failure) -> Result<(), Refusal> {
        if self.phase != Phase::Init {
            return Err(Refusal::STATE);
        }
        self.fail(failure);
        Ok(())
    }

    /// The sandbox cannot go on: this answers the exchanges that wait.
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
        match queue.ask()?.map(id_of) {
            Some(repeated) => Ok(Some(repeated)),
            None => Ok(queue.hand_out(0).map(id_of)),
        }
    }

    fn respond(queue: &mut Queue, request_id: &str) -> Result<(), Refusal> {
        queue
            .running(request_id, None)?
            .answer(Answer::Response(Bytes::new()));
        Ok(())
    }

    fn failure() -> Failure {
        Failure::of_runtime(Some("A.B"), Bytes::new())
    }

    #[test]
    fn next_hands_out_the_same_event_until_it_is_answered() {
        let mut queue = queue_of(1, &["first", "second"]);
        assert_eq!(next_id(&mut queue), Ok(Some("first".to_owned())));
        assert_eq!(next_id(&mut queue), Ok(Some("first".to_owned())));
        assert_eq!(respond(&mut queue, "first"), Ok(()));
        assert_eq!(next_id(&mut queue), Ok(Some("second".to_owned())));
    }

    #[test]
    fn several_are_under_way_where_there_is_room_for_them() {
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
    fn stray_request_id_is_refused_before_and_after_next() {
        let mut queue = queue_of(1, &["first"]);
        assert_eq!(respond(&mut queue, "stray"), Err(Refusal::REQUEST_ID));
        assert!(next_id(&mut queue).is_ok());
        assert_eq!(respond(&mut queue, "stray"), Err(Refusal::REQUEST_ID));
    }

    #[test]
    fn answer_to_what_has_run_out_of_time_is_late() {
        let mut queue = queue_of(2, &["first", "second"]);
        assert!(next_id(&mut queue).is_ok());
        queue.expire("first");
        assert_eq!(respond(&mut queue, "first"), Err(Refusal::LATE));
        assert_eq!(next_id(&mut queue), Ok(Some("second".to_owned())));
    }

    #[test]
    fn only_what_was_not_handed_out_can_be_taken_back() {
        let mut queue = queue_of(1, &["first", "second"]);
        assert!(next_id(&mut queue).is_ok());
        assert!(queue.take_back("first").is_none());
        assert!(queue.take_back("second").is_some());
        assert!(queue.take_back("second").is_none());
    }

    #[test]
    fn invocation_id_may_be_absent_but_not_wrong() {
        let mut queue = queue_of(1, &["first"]);
        assert!(next_id(&mut queue).is_ok());
        let wrong = HeaderValue::from_static("of another attempt");
        assert_eq!(
            queue.running("first", Some(&wrong)).err(),
            Some(Refusal::INVOCATION_ID)
        );
        assert!(queue.running("first", None).is_ok());
    }

    #[test]
    fn init_error_ends_everything_and_comes_before_next_only() {
        let mut failed = queue_of(1, &["first"]);
        assert_eq!(failed.fail_init(&failure()), Ok(()));
        assert_eq!(failed.fail_init(&failure()), Err(Refusal::STATE));
        assert_eq!(next_id(&mut failed), Err(Refusal::STATE));
        let mut ready = queue_of(1, &["first"]);
        assert!(next_id(&mut ready).is_ok());
        assert_eq!(ready.fail_init(&failure()), Err(Refusal::STATE));
    }
}
