//! Who may run an invocation: as many at a time as there may be, in the order of asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All turns are taken, and as many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// A turn: leave to run one invocation.
#[derive(Debug)]
pub(crate) struct Turn(
    #[expect(dead_code, reason = "held, and given back when it is dropped")] OwnedSemaphorePermit,
);

/// The turns, some of them taken.
#[derive(Debug)]
pub struct Turns {
    free: Arc<Semaphore>,
    count: usize,
    waiting: AtomicUsize,
    warming: AtomicUsize,
    max_waiting: usize,
}

impl Turns {
    /// So many at a time. When all are taken, `max_waiting` may wait.
    pub fn new(count: usize, max_waiting: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            count,
            waiting: AtomicUsize::new(0),
            warming: AtomicUsize::new(0),
            max_waiting,
        }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// When too many wait already, or there are no turns any more.
    pub(crate) async fn admit(&self) -> Result<Turn, Busy> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(Turn(permit));
        }
        let most = self.max_waiting + self.warming.load(Ordering::Relaxed);
        let _waiting = Counted::join(&self.waiting, most).ok_or(Busy)?;
        self.wait().await
    }

    /// Waits for a turn, however many wait already.
    ///
    /// # Errors
    /// When there are no turns any more.
    pub(crate) async fn wait(&self) -> Result<Turn, Busy> {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        permit.map(Turn).map_err(|_| Busy)
    }

    /// Waits for a turn that no caller has: to start a sandbox before one comes. One who comes
    /// meanwhile waits for it, beyond the limit.
    ///
    /// # Errors
    /// When there are no turns any more.
    pub(crate) async fn warm_up(&self) -> Result<(Turn, Counted<'_>), Busy> {
        let turn = self.wait().await?;
        let warming = Counted::join(&self.warming, usize::MAX).ok_or(Busy)?;
        Ok((turn, warming))
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.count - self.free.available_permits()
    }

    /// There are no turns from now on.
    pub fn close(&self) {
        self.free.close();
    }
}

/// One is counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn join(counter: &'a AtomicUsize, most: usize) -> Option<Self> {
        let join = |count: usize| (count < most).then_some(count + 1);
        let joined = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, join);
        joined.ok().map(|_| Self(counter))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_are_given_back_and_nobody_waits_beyond_the_limit() {
        let turns = Turns::new(1, 0);
        let turn = turns.admit().await;
        assert!(turn.is_ok());
        assert_eq!(turns.taken(), 1);
        assert!(matches!(turns.admit().await, Err(Busy)));
        drop(turn);
        assert_eq!(turns.taken(), 0);
        assert!(turns.admit().await.is_ok());
    }

    #[tokio::test]
    async fn caller_waits_for_a_sandbox_that_is_warmed_up_whatever_the_limit() {
        let turns = Turns::new(1, 0);
        let warm_up = turns.warm_up().await;
        assert!(warm_up.is_ok());
        let (admitted, ()) = tokio::join!(turns.admit(), async { drop(warm_up) });
        assert!(admitted.is_ok());
        assert!(matches!(turns.admit().await, Err(Busy)));
    }

    #[tokio::test]
    async fn who_waits_is_told_of_the_end() {
        let turns = Turns::new(1, 1);
        let _turn = turns.admit().await;
        let (waits, ()) = tokio::join!(turns.admit(), async { turns.close() });
        assert!(matches!(waits, Err(Busy)));
    }
}
