//! Events whose callers do not wait: queued, and tried three times as Lambda does.
//!
//! Lambda waits a minute before the second attempt and two before the third. The request id stays
//! the same: <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::exchange::Event;
use super::invoke_api::Service;
use super::logs::say;
use super::pool::Pool;

/// How often an event is tried.
const ATTEMPTS: u32 = 3;

/// Those that are not done with.
#[derive(Debug, Default)]
pub struct Events {
    count: AtomicUsize,
}

impl Events {
    /// How many are not done with.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// Invokes the function in a task of its own, and again after `retry_delay` and twice that if it
/// fails.
pub fn queue(service: &Arc<Service>, request_id: String, event: Event) {
    let service = Arc::clone(service);
    tokio::spawn(async move {
        service.events.count.fetch_add(1, Ordering::Relaxed);
        attempt(&service.pool, &request_id, event, service.retry_delay).await;
        service.events.count.fetch_sub(1, Ordering::Relaxed);
    });
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
