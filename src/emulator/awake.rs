//! Keeps the thread from sleeping for a moment, while one invocation runs.
//!
//! To wake a thread on a processor that has gone to sleep takes a virtual machine some 30 us, three
//! times for each invocation: half of what a short one takes. With this, one of 32 B took 0.30 ms
//! in place of 0.40 (2026-11-25; bench/README.md, Emulators). Nothing is kept awake where a handler could need
//! the processor: on a machine with one of them, or when several invocations run.

use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::yield_now;

/// How long after something has happened.
const MOMENT: Duration = Duration::from_micros(200);

/// Keeps awake after each call of [`a_moment`](Self::a_moment).
#[derive(Debug, Default)]
pub(crate) struct Awake {
    wanted: Notify,
}

impl Awake {
    /// Does it; never returns.
    pub(crate) async fn run(&self) {
        if available_parallelism().map_or(1, NonZero::get) == 1 {
            return;
        }
        loop {
            self.wanted.notified().await;
            let end = Instant::now() + MOMENT;
            while Instant::now() < end {
                // Whoever needs the processor comes first; then it is looked what has come.
                std::thread::yield_now();
                yield_now().await;
            }
        }
    }

    /// From now on, a moment.
    pub(crate) fn a_moment(&self) {
        self.wanted.notify_one();
    }
}
