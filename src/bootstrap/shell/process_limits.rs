//! The limits, the priority, the processors and the name of bash, which a handler may change.
//!
//! We read and restore them from outside, without bash. A limit that cannot be raised again costs a fresh shell.

use std::fs;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use coshell_process::sys;

/// The limits of one process; `None` for what the system does not show.
#[derive(Debug, Clone)]
pub(crate) struct ProcessLimits {
    resources: [Option<sys::Limit>; sys::LIMITED_RESOURCES],
    nice: Option<i32>,
    processors: Option<CpuSet>,
    /// How likely the system kills the process when memory runs out; `proc_pid_oom_score_adj(5)`.
    oom_score: Option<String>,
    /// What of its memory a core dump has, in hexadecimal digits; `core(5)`.
    core_dump: Option<String>,
    /// Only the process itself can set it; `proc_pid_comm(5)`.
    name: Option<String>,
}

impl ProcessLimits {
    /// The limits that the process `pid` has now.
    pub(crate) fn of(pid: Pid) -> Self {
        Self {
            resources: std::array::from_fn(|resource| sys::limit(pid, resource).ok()),
            nice: sys::nice(pid).ok(),
            processors: sched_getaffinity(pid).ok(),
            oom_score: fs::read_to_string(proc_file(pid, OOM_SCORE)).ok(),
            core_dump: fs::read_to_string(proc_file(pid, CORE_DUMP)).ok(),
            name: fs::read_to_string(proc_file(pid, "comm")).ok(),
        }
    }

    /// Whether the process may use only so much processor time. What it uses for one event, the next one has not.
    pub(crate) fn ends_by_processor_time(&self) -> bool {
        let limit = self.resources[sys::PROCESSOR_TIME];
        limit.is_some_and(|(soft, _)| soft != sys::NO_LIMIT)
    }

    /// Gives the process `pid` these limits again. Fails with the one that it cannot get, and the system's words.
    pub(crate) fn restore(&self, pid: Pid) -> Result<(), String> {
        let now = Self::of(pid);
        for (resource, (wanted, had)) in self.resources.iter().zip(&now.resources).enumerate() {
            if let Some(wanted) = wanted
                && Some(wanted) != had.as_ref()
            {
                // Even with its former limit, the process has used the time, and ends when an event sets the limit anew.
                if resource == sys::PROCESSOR_TIME {
                    return Err("a limit of processor time (ulimit -t)".to_owned());
                }
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
            set.map_err(|error| format!("the CPU affinity: {error}"))?;
        }
        if let Some(score) = &self.oom_score
            && now.oom_score.as_ref() != Some(score)
        {
            let written = fs::write(proc_file(pid, OOM_SCORE), score);
            written.map_err(|error| format!("{OOM_SCORE}: {error}"))?;
        }
        if let Some(core_dump) = &self.core_dump
            && now.core_dump.as_ref() != Some(core_dump)
        {
            let written = fs::write(proc_file(pid, CORE_DUMP), format!("0x{core_dump}"));
            written.map_err(|error| format!("{CORE_DUMP}: {error}"))?;
        }
        if now.name != self.name {
            return Err("the name of the process (/proc/self/comm)".to_owned());
        }
        Ok(())
    }
}

const OOM_SCORE: &str = "oom_score_adj";
const CORE_DUMP: &str = "coredump_filter";

fn proc_file(pid: Pid, name: &str) -> String {
    format!("/proc/{pid}/{name}")
}
