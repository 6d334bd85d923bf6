//! The resources of a runtime: CPU time, memory, and what it leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;
use walkdir::WalkDir;

use coshell_process::processes::{Stat, peak_kib};

/// The unit of times in `/proc`: `USER_HZ`, which is 100 on all machines of today.
pub(crate) const TICKS_A_SECOND: u32 = 100;
/// Growth by one in 20 invocations or fewer is a leak; with slower growth a runtime is still settling.
const LEAKED_EVERY: usize = 20;
/// Growth by more than this is a leak, whatever the number of invocations.
const SETTLED: usize = 2;

/// User and system time of these processes and of their children that have ended.
///
/// The kernel counts the time of a process in nanoseconds, and that of ended children in clock ticks: the sum is exact for a
/// runtime that starts no process.
pub(crate) fn cpu_time(pids: &[Pid]) -> Duration {
    let tick = Duration::from_secs(1) / TICKS_A_SECOND;
    pids.iter().filter_map(|&pid| cpu_time_of(pid, tick)).sum()
}

fn cpu_time_of(pid: Pid, tick: Duration) -> Option<Duration> {
    let (own, children) = ticks(pid)?;
    Some(scheduled(pid).unwrap_or(tick * own) + tick * children)
}

/// CPU time of a process, and of its children that have ended, in clock ticks; `None` if it is gone.
pub(crate) fn ticks(pid: Pid) -> Option<(u32, u32)> {
    // Fields 14 to 17: utime, stime, cutime and cstime.
    let fields: Vec<u32> = Stat::read(pid)?
        .fields()
        .skip(11)
        .take(4)
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    let [user, system, children_user, children_system] = fields[..] else {
        return None;
    };
    Some((user + system, children_user + children_system))
}

/// How long the threads of a process have run; `None` if the kernel does not count it.
fn scheduled(pid: Pid) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut sum = Duration::ZERO;
    for thread in threads.flatten() {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        sum += Duration::from_nanos(text.split(' ').next()?.parse().ok()?);
    }
    (!sum.is_zero()).then_some(sum)
}

/// The peak memory of these processes, shared pages counted once.
pub(crate) fn memory_kib(pids: &[Pid]) -> u64 {
    pids.iter().filter_map(|&pid| peak_kib(pid)).sum()
}

/// The processes, files and descriptors of a runtime that waits for an event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Footprint {
    /// For each process, how many descriptors it has.
    processes: BTreeMap<i32, usize>,
    files: usize,
}

impl Footprint {
    /// Counts those of these processes, and the files in `folder`.
    pub(crate) fn of(pids: &[Pid], folder: &Path) -> Self {
        let descriptors = |pid: &Pid| {
            let entries = fs::read_dir(format!("/proc/{pid}/fd"));
            (pid.as_raw(), entries.map_or(0, Iterator::count))
        };
        Self {
            processes: pids.iter().map(descriptors).collect(),
            files: WalkDir::new(folder).min_depth(1).into_iter().count(),
        }
    }

    /// What has leaked since `before` in this number of invocations: how many in total, and a description.
    pub(crate) fn growth_since(
        &self,
        before: &Self,
        invocations: usize,
    ) -> Option<(usize, String)> {
        let processes = self.processes.len().saturating_sub(before.processes.len());
        let files = self.files.saturating_sub(before.files);
        // A new process counts itself, and not its descriptors.
        let both = self
            .processes
            .iter()
            .filter_map(|(pid, now)| Some((now, before.processes.get(pid)?)));
        let descriptors: usize = both.map(|(now, before)| now.saturating_sub(*before)).sum();
        let is_leak =
            |count: usize| count > SETTLED || (count > 0 && count * LEAKED_EVERY >= invocations);
        let leaks = [
            (processes, "processes"),
            (files, "files in TMPDIR"),
            (descriptors, "descriptors"),
        ];
        let leaks: Vec<_> = leaks
            .into_iter()
            .filter(|(count, _)| is_leak(*count))
            .collect();
        let count = leaks.iter().map(|(count, _)| count).sum();
        let words: Vec<_> = leaks
            .iter()
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let words = format!("{} after {invocations} invocations", words.join(", "));
        (!leaks.is_empty()).then_some((count, words))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::unistd::getpid;

    use super::*;

    #[test]
    fn cpu_time_grows_with_work() {
        let before = cpu_time(&[getpid()]);
        let mut sum = 0_u64;
        while cpu_time(&[getpid()]) < before + Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert_eq!(cpu_time(&[Pid::from_raw(i32::MAX)]), Duration::ZERO);
    }

    #[test]
    fn growth_counts_by_invocations() {
        let traces = |files: usize, descriptors: &[usize]| Footprint {
            processes: (1..).zip(descriptors.iter().copied()).collect(),
            files,
        };
        let before = traces(0, &[4]);
        assert_eq!(traces(0, &[4]).growth_since(&before, 100), None);
        assert_eq!(traces(1, &[5]).growth_since(&before, 100), None);
        assert_eq!(
            traces(50, &[6]).growth_since(&before, 50),
            Some((50, "50 files in TMPDIR after 50 invocations".to_owned()))
        );
        assert_eq!(
            traces(0, &[9, 4]).growth_since(&before, 5),
            Some((
                6,
                "1 processes, 5 descriptors after 5 invocations".to_owned()
            ))
        );
    }
}
