//! What the parts of a measurement share: what is measured, how it is going, and whether to go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::Error;
use super::endpoint::{Ended, Until};
use super::event::Task;
use super::runtime::{Prepared, Running};
use super::tally::Tally;

/// A runtime that has failed so often in a row is not tried again: each of its hangs costs the whole timeout.
pub(crate) const GIVEN_UP_AFTER: usize = 3;

/// The signals that end a comparison before its time: what was measured is kept then, and nothing is left running.
#[derive(Debug, Default)]
pub struct Stop {
    /// 0 for none.
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Takes them from now on.
    ///
    /// # Errors
    /// When the system does not take the handlers.
    pub fn listen() -> Result<Self, Error> {
        let stop = Self::default();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&stop.signal), number)
                .map_err(|error| Error::new("cannot listen to signals", error))?;
        }
        Ok(stop)
    }

    /// The first that has come.
    pub fn signal(&self) -> Option<u8> {
        u8::try_from(self.signal.load(Ordering::Relaxed))
            .ok()
            .filter(|&signal| signal > 0)
    }
}

/// How runtimes take turns.
#[derive(Debug, Clone, Copy)]
pub struct Turns {
    /// How many each has.
    pub rounds: usize,
    /// How many invocations one has at most.
    pub invocations: usize,
    /// How long it may take.
    pub budget: Duration,
    /// Invocations before the first.
    pub warmup: usize,
    /// What is waited before each event.
    pub gap: Duration,
}

/// What the two halves of a measurement share.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    /// What is measured.
    pub runtimes: &'a [Prepared],
    /// For each runtime, each event with the answer to it.
    pub tasks: Vec<Vec<Arc<Task>>>,
    /// How long a runtime may do nothing.
    pub timeout: Duration,
    /// Whether to go on.
    pub stop: &'a Stop,
    /// How far it is.
    pub bar: &'a ProgressBar,
    /// What was found.
    pub tally: Tally,
    /// How often each has failed in a row.
    failures: Vec<usize>,
}

/// In milliseconds.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        runtimes: &'a [Prepared],
        tasks: Vec<Vec<Arc<Task>>>,
        timeout: Duration,
        stop: &'a Stop,
        bar: &'a ProgressBar,
    ) -> Self {
        let failures = vec![0; runtimes.len()];
        Self {
            runtimes,
            tasks,
            timeout,
            stop,
            bar,
            tally: Tally::default(),
            failures,
        }
    }

    /// Waits for a runtime.
    pub(crate) fn wait(&self, running: &mut Running, until: Until) -> Ended {
        let stop = self.stop;
        running.wait(until, self.timeout, || {
            stop.signal().map(|_| Ended::Stopped)
        })
    }

    /// Whether a runtime has failed too often.
    pub(crate) fn is_given_up(&self, at: usize) -> bool {
        self.failures[at] >= GIVEN_UP_AFTER
    }

    /// Whether a start, or a turn, gave a good answer.
    pub(crate) fn note(&mut self, at: usize, is_good: bool) {
        self.failures[at] = if is_good { 0 } else { self.failures[at] + 1 };
    }
}
