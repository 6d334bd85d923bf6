//! Permits limit how many invocations run at a time. Callers get them in the order in which they ask.
//!
//! A caller that finds no free permit waits in a queue of limited length. When the queue is full the caller is turned
//! away, as Lambda does with 429.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// There is no permit: the queue is full, or the emulator is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoPermit;

/// Permission to run one invocation. Dropping it frees it for the next caller.
#[derive(Debug)]
pub(crate) struct Permit(
    #[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit,
);

/// The permits of one function.
#[derive(Debug)]
pub(crate) struct Permits {
    free: Arc<Semaphore>,
    count: usize,
    queued: AtomicUsize,
    warm_ups: AtomicUsize,
    max_queued: usize,
}

impl Permits {
    /// `count` permits, for which up to `max_queued` callers may wait.
    pub(crate) fn new(count: usize, max_queued: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            count,
            queued: AtomicUsize::new(0),
            warm_ups: AtomicUsize::new(0),
            max_queued,
        }
    }

    /// Waits for a permit, unless the queue is full.
    pub(crate) async fn acquire(&self) -> Result<Permit, NoPermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(Permit(permit));
        }
        let limit = self.max_queued + self.warm_ups.load(Ordering::Relaxed);
        let _queued = CountGuard::enter(&self.queued, limit).ok_or(NoPermit)?;
        self.acquire_unqueued().await
    }

    /// Waits for a permit, however long the queue is. Fails only at shutdown.
    pub(crate) async fn acquire_unqueued(&self) -> Result<Permit, NoPermit> {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        permit.map(Permit).map_err(|_| NoPermit)
    }

    /// Waits for a permit to start a sandbox before the first caller comes. While the guard lives, the queue is one
    /// place longer, so that a caller who comes too early waits and is not turned away. Fails only at shutdown.
    pub(crate) async fn acquire_for_warm_up(&self) -> Result<(Permit, CountGuard<'_>), NoPermit> {
        let permit = self.acquire_unqueued().await?;
        let warm_up = CountGuard::enter(&self.warm_ups, usize::MAX).ok_or(NoPermit)?;
        Ok((permit, warm_up))
    }

    /// How many permits are held.
    pub(crate) fn held(&self) -> usize {
        self.count - self.free.available_permits()
    }

    /// Gives out no more permits, and wakes everyone who waits for one.
    pub(crate) fn close(&self) {
        self.free.close();
    }
}

/// Holds a counter one higher until it is dropped.
#[derive(Debug)]
pub(crate) struct CountGuard<'a>(&'a AtomicUsize);

impl<'a> CountGuard<'a> {
    fn enter(counter: &'a AtomicUsize, limit: usize) -> Option<Self> {
        let increment = |count: usize| (count < limit).then_some(count + 1);
        let entered = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, increment);
        entered.ok().map(|_| Self(counter))
    }
}

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn permit_comes_back_when_dropped_and_a_full_queue_turns_callers_away() {
        let permits = Permits::new(1, 0);
        let permit = permits.acquire().await;
        assert!(permit.is_ok());
        assert_eq!(permits.held(), 1);
        assert!(matches!(permits.acquire().await, Err(NoPermit)));
        drop(permit);
        assert_eq!(permits.held(), 0);
        assert!(permits.acquire().await.is_ok());
    }

    #[tokio::test]
    async fn caller_waits_for_a_warm_up_even_if_the_queue_has_no_room() {
        let permits = Permits::new(1, 0);
        let warm_up = permits.acquire_for_warm_up().await;
        assert!(warm_up.is_ok());
        let (acquired, ()) = tokio::join!(permits.acquire(), async { drop(warm_up) });
        assert!(acquired.is_ok());
        assert!(matches!(permits.acquire().await, Err(NoPermit)));
    }

    #[tokio::test]
    async fn shutdown_wakes_callers_in_the_queue() {
        let permits = Permits::new(1, 1);
        let _permit = permits.acquire().await;
        let (queued, ()) = tokio::join!(permits.acquire(), async { permits.close() });
        assert!(matches!(queued, Err(NoPermit)));
    }
}
