//! What `/proc` shows of one process: its state, its program, its environment, its memory.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;

use crate::sys;

/// What `/proc/PID/stat` says of a process; `proc_pid_stat(5)`.
#[derive(Debug)]
pub struct Stat {
    text: String,
    /// Where the name of the program ends, which may hold anything.
    name_end: usize,
}

impl Stat {
    pub fn read(pid: Pid) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let name_end = text.rfind(") ")?;
        Some(Self { text, name_end })
    }

    /// The name of the program.
    fn program(&self) -> Option<&str> {
        self.text[..self.name_end]
            .split_once(" (")
            .map(|(_, name)| name)
    }

    /// The fields from the third one on: state, parent, ...
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.text[self.name_end + 2..].trim_end().split(' ')
    }

    fn state(&self) -> Option<char> {
        self.fields().next()?.chars().next()
    }
}

fn state(pid: Pid) -> Option<char> {
    Stat::read(pid)?.state()
}

/// Whether the process runs, or would if there were a processor for it.
pub fn is_runnable(pid: Pid) -> bool {
    state(pid) == Some('R')
}

/// How long the process has run so far, in user mode and in the kernel, as exact as the kernel's clock ticks; its parent's time is
/// not in it. Zero if it has ended.
pub fn processor_time(pid: Pid) -> Duration {
    let ticks = Stat::read(pid).and_then(|stat| {
        let mut times = stat
            .fields()
            .skip(11)
            .map_while(|field| field.parse::<u64>().ok());
        Some(times.next()? + times.next()?)
    });
    // Linux shows them in hundredths of a second on every processor that Lambda has.
    Duration::from_millis(10 * ticks.unwrap_or(0))
}

/// Whether a signal has stopped the process.
pub fn is_stopped(pid: Pid) -> bool {
    matches!(state(pid), Some('T' | 't'))
}

pub(super) fn parent(pid: Pid) -> Option<Pid> {
    let parent = Stat::read(pid)?.fields().nth(1)?.parse().ok()?;
    Some(Pid::from_raw(parent))
}

/// The name of the program that a process runs, without its arguments, which may contain the event. `None` if the
/// process has ended, also if it is a zombie.
pub fn program_name(pid: Pid) -> Option<String> {
    let stat = Stat::read(pid)?;
    let is_visible = |character: &char| !character.is_control();
    let has_ended = matches!(stat.state()?, 'Z' | 'X');
    let name = stat.program()?.chars();
    (!has_ended).then(|| name.filter(is_visible).collect())
}

/// Whether bash can report at once where it is: it waits for a process, or runs, and has our trap. In any other system
/// call, such as reading what a substitution prints, it would go on with a part of the output. `proc_pid_syscall(5)`.
pub(super) fn can_report_place(pid: Pid) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let call = call.split_ascii_whitespace().next();
    let wait = nix::libc::SYS_wait4.to_string();
    has_our_trap(pid) && call.is_some_and(|call| call == "running" || call == wait)
}

/// Whether the process catches the last realtime signal, and not the one before: a program that catches all signals is
/// no bash of ours. `proc_pid_status(5)`.
pub(super) fn has_our_trap(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| {
        let catches = |signal: i32| mask >> (signal - 1) & 1 == 1;
        catches(sys::last_realtime_signal()) && !catches(sys::last_realtime_signal() - 1)
    })
}

/// All processes but this one with `tag`, a whole `NAME=VALUE`, in their environment; `proc_pid_environ(5)`. Zombies
/// have no environment, and those of other users cannot be read.
pub fn find_tagged(tag: &[u8]) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_other = |pid: &Pid| *pid != Pid::this() && has_tag(*pid, tag);
    pids.map(Pid::from_raw).filter(is_other).collect()
}

/// Whether the process was started with `tag`, a whole `NAME=VALUE`, in its environment.
pub fn has_tag(pid: Pid, tag: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ"));
    environment.is_ok_and(|environment| has_entry(&environment, tag))
}

/// Whether the environment of the process can be read and is not empty.
pub fn shows_environment(pid: Pid) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ"));
    environment.is_ok_and(|environment| !environment.is_empty())
}

/// Whether an environment, with a NUL after each entry, has this entry.
fn has_entry(environment: &[u8], wanted: &[u8]) -> bool {
    environment
        .split(|&byte| byte == 0)
        .any(|entry| entry == wanted)
}

/// The peak memory of one process in KiB; `None` if it has ended.
///
/// Memory that several processes share is divided among them: the proportional set size. The kernel has a peak only of
/// the resident memory, so what that peak exceeds the present by is added. `proc_pid_smaps(5)`, `proc_pid_status(5)`.
pub fn peak_kib(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = field(&status, "VmRSS:")?;
    let resident_peak = field(&status, "VmHWM:")?;
    // A process that ends meanwhile has none. Its resident memory in the place would count twice what it shared.
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let proportional = match rollup {
        Ok(rollup) => field(&rollup, "Pss:")?,
        Err(_) if Path::new("/proc/self/smaps_rollup").exists() => return None,
        // gVisor has no proportional set size; resident memory is the next best.
        Err(_) => resident,
    };
    Some(proportional + resident_peak.saturating_sub(resident))
}

/// The number in the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_compared_by_whole_entries() {
        let environment = b"PATH=/bin\0COSHELL_SANDBOX=1234\0";
        assert!(has_entry(environment, b"COSHELL_SANDBOX=1234"));
        assert!(!has_entry(environment, b"COSHELL_SANDBOX=123"));
    }
}
