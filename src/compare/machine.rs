//! Describes the machine, and finds what makes the figures less sure than they look.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::thread;
use std::time::Instant;

use nix::unistd::{Pid, getpid, sync};

use super::results::Machine;
use super::usage::{TICKS_A_SECOND, ticks};
use coshell_process::processes::program_name;

/// A load above this share of the CPUs gets a warning.
const LOADED: f64 = 0.25;
/// Another process above this share of a CPU gets a warning.
const BUSY: f64 = 0.1;
/// Stolen time above this share gets a warning.
const STOLEN: f64 = 0.01;
/// How many busy processes have a warning of their own.
const NAMED: usize = 3;

fn text(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Describes this machine.
pub(crate) fn describe() -> Machine {
    let value = |text: &str, name: &str| {
        let found = text.lines().find_map(|line| {
            line.strip_prefix(name)?
                .trim_start()
                .strip_prefix([':', '='])
        });
        found.map(|value| value.trim().trim_matches('"').to_owned())
    };
    let cpu = text("/proc/cpuinfo");
    // Arm's processors have no name there.
    let cpu = value(&cpu, "model name")
        .or_else(|| value(&cpu, "CPU part").map(|part| format!("Arm, part {part}")));
    Machine {
        cpu: cpu.unwrap_or_default(),
        cpus: thread::available_parallelism().map_or(0, std::num::NonZero::get),
        kernel: text("/proc/sys/kernel/osrelease"),
        os: value(&text("/etc/os-release"), "PRETTY_NAME").unwrap_or_default(),
        coshell: env!("CARGO_PKG_VERSION").to_owned(),
        load: load(),
    }
}

fn load() -> f64 {
    let text = text("/proc/loadavg");
    text.split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or_default()
}

/// Writes files to disk, and then empties the page cache; `proc_sys_vm(5)`.
///
/// # Errors
/// The system's, if that is not permitted.
pub(crate) fn drop_page_cache() -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .open("/proc/sys/vm/drop_caches")?;
    sync();
    file.write_all(b"3")
}

/// The load of the machine when a comparison began.
#[derive(Debug)]
pub(crate) struct Noise {
    began: Instant,
    load: f64,
    /// CPU time of each process, in clock ticks.
    used: BTreeMap<i32, u32>,
    /// Time of all CPUs so far, and the stolen part of it; in ticks.
    times: (u64, u64),
}

impl Noise {
    /// Remembers the load from now on.
    pub(crate) fn watch() -> Self {
        Self {
            began: Instant::now(),
            load: load(),
            used: cpu_times(),
            times: times(),
        }
    }

    /// A sentence for each disturbance since then.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        #[allow(clippy::cast_precision_loss)]
        if self.load > LOADED * cpus as f64 {
            let load = self.load;
            warnings.push(format!(
                "the load average was {load:.2} at the start, on {cpus} CPUs: other programs ran"
            ));
        }
        warnings.extend(self.busy());
        #[allow(clippy::cast_precision_loss)]
        let share = {
            let now = times();
            let [all, stolen] = [
                now.0 - self.times.0.min(now.0),
                now.1 - self.times.1.min(now.1),
            ];
            stolen as f64 / all.max(1) as f64
        };
        if share > STOLEN {
            warnings.push(format!(
                "the hypervisor took {:.0} % of the time",
                share * 100.0
            ));
        }
        let governor = text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        if !governor.is_empty() && governor != "performance" {
            warnings.push(format!(
                "the CPU's frequency is not held: its governor is {governor}"
            ));
        }
        warnings
    }

    /// Processes that have run all the time, and have used much CPU.
    fn busy(&self) -> Vec<String> {
        let elapsed = self.began.elapsed().as_secs_f64() * f64::from(TICKS_A_SECOND);
        #[allow(clippy::cast_precision_loss)]
        let cpus = thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64);
        let own = getpid().as_raw();
        let mut busy: Vec<_> = cpu_times()
            .into_iter()
            .filter(|(pid, _)| *pid != own)
            .filter_map(|(pid, now)| Some((now.checked_sub(*self.used.get(&pid)?)?, pid)))
            .collect();
        busy.sort_unstable();
        let warnings = busy
            .into_iter()
            .rev()
            .take(NAMED)
            .filter_map(|(ticks, pid)| {
                // A child that has ended brings the time of all its life, also from before the comparison.
                let share = (f64::from(ticks) / elapsed.max(1.0)).min(cpus);
                let program = program_name(Pid::from_raw(pid)).filter(|_| share > BUSY)?;
                Some(format!(
                    "process {pid} ({program}) used {:.0} % of a CPU meanwhile",
                    share * 100.0
                ))
            });
        warnings.collect()
    }
}

/// CPU time of each process and of its children that have ended, in ticks.
fn cpu_times() -> BTreeMap<i32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let of = |pid: i32| {
        let (own, children) = ticks(Pid::from_raw(pid))?;
        Some((pid, own + children))
    };
    pids.filter_map(of).collect()
}

/// Time of all CPUs, and the part of it that the hypervisor took; `proc_stat(5)`.
fn times() -> (u64, u64) {
    let text = text("/proc/stat");
    let fields: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    (
        fields.iter().sum(),
        fields.get(7).copied().unwrap_or_default(),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn machine_is_described() {
        let machine = describe();
        assert!(
            !machine.cpu.is_empty() && !machine.kernel.is_empty() && machine.cpus > 0,
            "{machine:?}"
        );
    }
}
