//! The peak memory of one sandbox: of the bootstrap, the extensions, and all their descendants.
//!
//! The kernel keeps a peak for each process as long as the process lives, so a sample sees every peak of the processes
//! that are there. It misses a process that starts and ends between two samples.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use coshell_process::processes::{peak_kib, with_descendants};

/// The time between two samples of a running invocation.
pub(crate) const SAMPLE_PERIOD: Duration = Duration::from_millis(25);

/// After an invocation shorter than [`SAMPLE_PERIOD`], a sample is taken only if the last one of an invocation is older
/// than this, because a sample takes as long as such an invocation. The sample of the init does not count: otherwise
/// `coshell invoke`, which has a single invocation, might measure nothing of it.
const MAX_SAMPLE_AGE: Duration = Duration::from_millis(100);

/// Measures the memory of one sandbox.
#[derive(Debug)]
pub(crate) struct Memory {
    roots: Vec<Pid>,
    peak: Mutex<Peak>,
}

#[derive(Debug, Default)]
struct Peak {
    kib: u64,
    sampled_at: Option<Instant>,
    /// When an invocation was last sampled, the init not counted.
    invocation_sampled_at: Option<Instant>,
}

impl Memory {
    /// Measures these processes and all their descendants.
    pub(crate) fn new(roots: Vec<Pid>) -> Self {
        Self {
            roots,
            peak: Mutex::default(),
        }
    }

    /// Takes the first sample, if there is none yet.
    pub(crate) fn sample_if_never(&self) {
        let is_first = self.peak().sampled_at.is_none();
        if is_first {
            self.sample();
        }
    }

    pub(crate) fn sample(&self) {
        let kib = with_descendants(self.roots.clone(), &[])
            .into_iter()
            .map(|pid| peak_kib(pid).unwrap_or_default())
            .sum();
        let mut peak = self.peak();
        peak.kib = peak.kib.max(kib);
        peak.sampled_at = Some(Instant::now());
    }

    /// The peak in MB, rounded up. Takes a sample first, unless `duration`, that of the invocation that has just ended,
    /// was so short that the last sample is good enough.
    pub(crate) fn peak_mb(&self, duration: Duration) -> u64 {
        let sampled_at = self.peak().invocation_sampled_at;
        let is_fresh = sampled_at.is_some_and(|instant| instant.elapsed() < MAX_SAMPLE_AGE);
        if duration >= SAMPLE_PERIOD || !is_fresh {
            self.sample();
            self.peak().invocation_sampled_at = Some(Instant::now());
        }
        self.peak().kib.div_ceil(1024)
    }

    fn peak(&self) -> MutexGuard<'_, Peak> {
        self.peak.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_stays_when_the_memory_is_freed() {
        let memory = Memory::new(vec![nix::unistd::getpid()]);
        let before = memory.peak_mb(SAMPLE_PERIOD);
        let block = vec![1_u8; 64 << 20];
        assert!(block.iter().step_by(4096).all(|&byte| byte == 1));
        drop(block);
        let after = memory.peak_mb(SAMPLE_PERIOD);
        assert!(before > 0 && after >= before.max(64), "{before} {after}");
    }

    #[test]
    fn first_invocation_is_sampled_even_if_it_is_short() {
        let memory = Memory::new(vec![nix::unistd::getpid()]);
        memory.sample();
        let before = memory.peak().kib.div_ceil(1024);
        let block = vec![1_u8; 96 << 20];
        assert!(block.iter().step_by(4096).all(|&byte| byte == 1));
        // As if the init had been sampled just now, even on a slow machine.
        memory.peak().sampled_at = Some(Instant::now());
        let after = memory.peak_mb(Duration::from_millis(1));
        drop(block);
        assert!(after >= before.max(96), "{before} {after}");
    }

    #[test]
    fn process_that_has_ended_has_no_memory() {
        let memory = Memory::new(vec![Pid::from_raw(i32::MAX)]);
        assert_eq!(memory.peak_mb(SAMPLE_PERIOD), 0);
    }
}
