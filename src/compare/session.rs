//! What the parts of a measurement share: the runtimes, the progress, the results so far, and the signals that end it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;

use super::endpoint::{WaitFor, WaitOutcome};
use super::event::Exchange;
use super::runtime::{PreparedRuntime, RunningRuntime};
use super::tally::Tally;
use coshell_process::StopSignal;

/// A runtime that has failed three times in a row is not tried again: each of its hangs costs the whole timeout.
pub(crate) const GIVEN_UP_AFTER: usize = 3;

/// The state of a measurement, cold and warm.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub runtimes: &'a [PreparedRuntime],
    /// For each runtime, each event with the expected answer.
    pub exchanges: Vec<Vec<Arc<Exchange>>>,
    /// How long a runtime may do nothing before it counts as hung.
    pub timeout: Duration,
    /// A signal ends a comparison early. What was measured by then is kept, and nothing is left running.
    pub stop: &'a StopSignal,
    pub bar: &'a ProgressBar,
    pub tally: Tally,
    /// Why the processes that a runtime starts cannot be counted, by the runtime's index.
    pub uncounted: BTreeMap<usize, String>,
    /// How often each has failed in a row.
    failures: Vec<usize>,
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        runtimes: &'a [PreparedRuntime],
        exchanges: Vec<Vec<Arc<Exchange>>>,
        timeout: Duration,
        stop: &'a StopSignal,
        bar: &'a ProgressBar,
    ) -> Self {
        let failures = vec![0; runtimes.len()];
        Self {
            runtimes,
            exchanges,
            timeout,
            stop,
            bar,
            tally: Tally::default(),
            uncounted: BTreeMap::new(),
            failures,
        }
    }

    /// Waits for a runtime, until a signal comes.
    pub(crate) fn wait(&self, running: &mut RunningRuntime, until: WaitFor) -> WaitOutcome {
        let stop = self.stop;
        running.wait(until, self.timeout, || {
            stop.signal().map(|_| WaitOutcome::Stopped)
        })
    }

    /// Whether a runtime has failed too often.
    pub(crate) fn is_given_up(&self, runtime_index: usize) -> bool {
        self.failures[runtime_index] >= GIVEN_UP_AFTER
    }

    /// Records whether a start, or a turn, gave a right answer.
    pub(crate) fn record_attempt(&mut self, runtime_index: usize, is_good: bool) {
        let failures = &mut self.failures[runtime_index];
        *failures = if is_good { 0 } else { *failures + 1 };
    }
}
