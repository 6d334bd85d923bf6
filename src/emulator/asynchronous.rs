//! Events whose callers do not wait: queued, and tried three times as Lambda does.
//!
//! Lambda waits a minute before the second attempt and two before the third. The request id stays
//! the same: <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::exchange::Event;
use super::logs::say;
use super::pool::Pool;

/// How often an event is tried.
const ATTEMPTS: u32 = 3;

/// The events whose callers do not wait, and what becomes of them.
#[derive(Debug)]
pub struct Events {
    pool: Arc<Pool>,
    /// How long an event that failed waits for its second attempt; for the third twice that.
    retry_delay: Duration,
    /// Those that are not done with.
    count: AtomicUsize,
}

impl Events {
    /// Events for the function of `pool`.
    pub fn new(pool: Arc<Pool>, retry_delay: Duration) -> Self {
        Self {
            pool,
            retry_delay,
            count: AtomicUsize::new(0),
        }
    }

    /// How many are not done with.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Invokes the function in a task of its own, and again if it fails.
    pub(crate) fn queue(self: &Arc<Self>, request_id: String, event: Event) {
        let events = Arc::clone(self);
        tokio::spawn(async move {
            events.count.fetch_add(1, Ordering::Relaxed);
            attempt(&events.pool, &request_id, event, events.retry_delay).await;
            events.count.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn attempt(pool: &Arc<Pool>, request_id: &str, event: Event, retry_delay: Duration) {
    for attempt in 1..=ATTEMPTS {
        let Ok(turn) = pool.turns.wait().await else {
            return std::future::pending().await; // we are ending
        };
        let reply = pool
            .invoke(turn, request_id.to_owned(), event.clone())
            .await;
        let is_done = match reply {
            Ok(reply) => reply.answer.whole().await.is_ok(),
            Err(_) => false,
        };
        if is_done {
            return;
        }
        if attempt == ATTEMPTS {
            say(format_args!(
                "event {request_id} has failed {ATTEMPTS} times, and is dropped"
            ));
        } else {
            let delay = retry_delay * attempt;
            let next = attempt + 1;
            say(format_args!(
                "event {request_id} has failed, attempt {next} of {ATTEMPTS} comes in {delay:?}"
            ));
            sleep(delay).await;
        }
    }
}
