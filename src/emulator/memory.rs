//! The peak memory of one sandbox: the bootstrap, extensions, and all that they have started.
//!
//! A peak between two looks is seen as long as its process lives. A process that came and went
//! between two looks is not seen.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use coshell_process::processes::{peak_kib, trees};

/// How often the memory of an invocation that is under way is looked at.
pub(crate) const SAMPLE_PERIOD: Duration = Duration::from_millis(25);

/// An invocation shorter than [`SAMPLE_PERIOD`] is looked at when the last look at one is older than this: a
/// look costs as much as an invocation. What was seen at the init does not count: of a single
/// invocation, as `coshell invoke` has it, nothing would be seen.
const FRESH: Duration = Duration::from_millis(100);

/// The peak so far.
#[derive(Debug)]
pub(crate) struct Memory {
    roots: Vec<Pid>,
    peak: Mutex<Peak>,
}

#[derive(Debug, Default)]
struct Peak {
    kib: u64,
    looked_at: Option<Instant>,
    /// When an invocation was last looked at.
    invocation_at: Option<Instant>,
}

impl Memory {
    /// Of these processes, and what they start.
    pub(crate) fn of(roots: Vec<Pid>) -> Self {
        Self {
            roots,
            peak: Mutex::default(),
        }
    }

    /// Looks now, if that was never done.
    pub(crate) fn look_once(&self) {
        let peak = || self.peak.lock().unwrap_or_else(PoisonError::into_inner);
        if peak().looked_at.is_none() {
            self.look();
        }
    }

    /// Looks now.
    pub(crate) fn look(&self) {
        let kib = trees(self.roots.clone(), &[])
            .into_iter()
            .map(|pid| peak_kib(pid).unwrap_or_default())
            .sum();
        let mut peak = self.peak.lock().unwrap_or_else(PoisonError::into_inner);
        peak.kib = peak.kib.max(kib);
        peak.looked_at = Some(Instant::now());
    }

    /// The peak in MB, rounded up; looks once more after an invocation that took `duration`, unless
    /// it was so short that the last look holds.
    pub(crate) fn peak_mb(&self, duration: Duration) -> u64 {
        let lock = || self.peak.lock().unwrap_or_else(PoisonError::into_inner);
        let invocation_at = lock().invocation_at;
        let is_fresh = invocation_at.is_some_and(|instant| instant.elapsed() < FRESH);
        if duration >= SAMPLE_PERIOD || !is_fresh {
            self.look();
            lock().invocation_at = Some(Instant::now());
        }
        let kib = lock().kib;
        kib.div_ceil(1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_stays_when_the_memory_is_given_back() {
        let memory = Memory::of(vec![nix::unistd::getpid()]);
        let before = memory.peak_mb(SAMPLE_PERIOD);
        let block = vec![1_u8; 64 << 20];
        assert!(block.iter().step_by(4096).all(|&byte| byte == 1));
        drop(block);
        let after = memory.peak_mb(SAMPLE_PERIOD);
        assert!(before > 0 && after >= before.max(64), "{before} {after}");
    }

    #[test]
    fn first_invocation_is_looked_at_however_short_it_is() {
        let memory = Memory::of(vec![nix::unistd::getpid()]);
        memory.look();
        let before = memory.peak.lock().map_or(0, |peak| peak.kib.div_ceil(1024));
        let block = vec![1_u8; 96 << 20];
        assert!(block.iter().step_by(4096).all(|&byte| byte == 1));
        // As if the look at the init was just now, however long that took.
        if let Ok(mut peak) = memory.peak.lock() {
            peak.looked_at = Some(Instant::now());
        }
        let after = memory.peak_mb(Duration::from_millis(1));
        drop(block);
        assert!(after >= before.max(96), "{before} {after}");
    }

    #[test]
    fn process_that_has_ended_has_none() {
        let memory = Memory::of(vec![Pid::from_raw(i32::MAX)]);
        assert_eq!(memory.peak_mb(SAMPLE_PERIOD), 0);
    }
}
