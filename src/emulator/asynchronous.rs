//! Events of invocation type `Event`, whose callers do not wait: up to three attempts each, as on Lambda.
//!
//! Lambda waits one minute before the second attempt and two before the third. The request id stays the same:
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::exchange::Event;
use super::invocation;
use super::logs::eprint;
use super::pool::Pool;

const MAX_ATTEMPTS: u32 = 3;

/// The events of invocation type `Event` for one function.
#[derive(Debug)]
pub struct AsynchronousEvents {
    pool: Arc<Pool>,
    /// The wait before the second attempt. The wait before the third is twice as long.
    retry_delay: Duration,
    unfinished: AtomicUsize,
}

impl AsynchronousEvents {
    pub fn new(pool: Arc<Pool>, retry_delay: Duration) -> Self {
        Self {
            pool,
            retry_delay,
            unfinished: AtomicUsize::new(0),
        }
    }

    /// How many events still wait, run, or will be retried.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Invokes the function in a task of its own, and retries if it fails.
    pub(crate) fn queue(self: &Arc<Self>, request_id: String, event: Event) {
        let events = Arc::clone(self);
        tokio::spawn(async move {
            events.unfinished.fetch_add(1, Ordering::Relaxed);
            invoke_with_retries(&events.pool, &request_id, event, events.retry_delay).await;
            events.unfinished.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn invoke_with_retries(
    pool: &Arc<Pool>,
    request_id: &str,
    event: Event,
    retry_delay: Duration,
) {
    for attempt in 1..=MAX_ATTEMPTS {
        let Ok(permit) = pool.permits.acquire_unqueued().await else {
            // The emulator is shutting down. The event stays unfinished, so that it is reported.
            return std::future::pending().await;
        };
        let reply = invocation::start(pool, permit, request_id.to_owned(), event.clone()).await;
        let has_succeeded = match reply {
            Ok(reply) => reply.answer.whole().await.is_ok(),
            Err(_) => false,
        };
        if has_succeeded {
            return;
        }
        if attempt == MAX_ATTEMPTS {
            eprint(format_args!(
                "event {request_id} failed {MAX_ATTEMPTS} times and is dropped"
            ));
        } else {
            let delay = retry_delay * attempt;
            eprint(format_args!(
                "event {request_id} failed in attempt {attempt} of {MAX_ATTEMPTS}, retrying in {delay:?}"
            ));
            sleep(delay).await;
        }
    }
}
