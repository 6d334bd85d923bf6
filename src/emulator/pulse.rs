//! A beat while invocations run, for what has to be looked at now and then.
//!
//! A timer of tokio's that is set for each invocation, and twice, costs a wake-up of its driver each
//! time: one that goes on from one invocation to the next costs nothing. A deadline is waited for
//! beat by beat, and the rest of it exactly.

use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, sleep_until};

/// From one beat to the next.
pub(crate) const PERIOD: Duration = Duration::from_millis(25);

/// Beats as long as somebody listens.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    beats: watch::Sender<u64>,
    wanted: Notify,
}

/// Listens, from now on.
#[derive(Debug)]
pub(crate) struct Listener<'a> {
    pulse: &'a Pulse,
    beats: watch::Receiver<u64>,
}

impl Pulse {
    /// Beats; never returns.
    pub(crate) async fn run(&self) {
        loop {
            if self.beats.receiver_count() == 0 {
                self.wanted.notified().await;
            }
            sleep(PERIOD).await;
            self.beats.send_modify(|beats| *beats += 1);
        }
    }

    /// Waits until `limit`.
    pub(crate) async fn wait_until(&self, limit: Instant) {
        let mut listener = self.listen();
        while !listener.beat_or(limit).await {}
    }

    /// A listener to the beats that are to come.
    pub(crate) fn listen(&self) -> Listener<'_> {
        let beats = self.beats.subscribe();
        self.wanted.notify_one();
        Listener { pulse: self, beats }
    }
}

impl Listener<'_> {
    /// Waits for the next beat, but until `limit` at most; whether that has passed.
    pub(crate) async fn beat_or(&mut self, limit: Instant) -> bool {
        let left = limit.saturating_duration_since(Instant::now());
        if left <= 2 * PERIOD {
            sleep_until(limit.into()).await;
            return true;
        }
        self.pulse.wanted.notify_one();
        // An error means that the sender has gone, which outlives us.
        let _ = self.beats.changed().await;
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn limit_is_met_however_far_it_is() {
        let pulse = Arc::new(Pulse::default());
        let beating = Arc::clone(&pulse);
        tokio::spawn(async move { beating.run().await });
        for ms in [0, 1, 30, 120] {
            let limit = Instant::now() + Duration::from_millis(ms);
            pulse.wait_until(limit).await;
            assert!(Instant::now() >= limit);
        }
    }
}
