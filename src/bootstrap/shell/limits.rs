//! What the system holds of a process that a handler may have changed: limits, priority, processors.
//!
//! Read and put back from outside, without bash. What may not be raised again costs a fresh shell.

use std::fs;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use coshell_process::sys;

/// What the system holds of one process; `None` where it does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    resources: [Option<sys::Limit>; sys::LIMITS],
    nice: Option<i32>,
    processors: Option<CpuSet>,
    /// How readily it is killed when there is no memory left; `proc_pid_oom_score_adj(5)`.
    oom_score: Option<String>,
}

impl Limits {
    /// What the process `pid` has now.
    pub(crate) fn of(pid: Pid) -> Self {
        Self {
            resources: std::array::from_fn(|resource| sys::limit(pid, resource).ok()),
            nice: sys::nice(pid).ok(),
            processors: sched_getaffinity(pid).ok(),
            oom_score: fs::read_to_string(oom_score_file(pid)).ok(),
        }
    }

    /// Gives the process `pid` these again, where it has others.
    ///
    /// # Errors
    /// Which of them cannot be had any more.
    pub(crate) fn restore(&self, pid: Pid) -> Result<(), String> {
        let now = Self::of(pid);
        if *self == now {
            return Ok(());
        }
        for (resource, (wanted, had)) in self.resources.iter().zip(&now.resources).enumerate() {
            if let Some(wanted) = wanted
                && Some(wanted) != had.as_ref()
            {
                let set = sys::set_limit(pid, resource, *wanted);
                set.map_err(|error| format!("a limit of ulimit: {error}"))?;
            }
        }
        if let Some(nice) = self.nice
            && now.nice != Some(nice)
        {
            let set = sys::set_nice(pid, nice);
            set.map_err(|error| format!("the nice value: {error}"))?;
        }
        if let Some(processors) = &self.processors
            && now.processors.as_ref() != Some(processors)
        {
            let set = sched_setaffinity(pid, processors);
            set.map_err(|error| format!("the processors that it may use: {error}"))?;
        }
        if let Some(score) = &self.oom_score
            && now.oom_score.as_ref() != Some(score)
        {
            let written = fs::write(oom_score_file(pid), score);
            written.map_err(|error| format!("its oom_score_adj: {error}"))?;
        }
        Ok(())
    }
}

fn oom_score_file(pid: Pid) -> String {
    format!("/proc/{pid}/oom_score_adj")
}
