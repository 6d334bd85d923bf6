//! Counts the processes and threads that a runtime's own process tree starts: `ptrace(2)` reports each of them to us, however
//! short it lives, and whatever else runs on the machine.
//!
//! A thread of ours traces the tree while processes are counted, and at no other time, since each start waits for it then. It
//! needs no privileges: a process may trace what it has started, unless the system forbids that altogether
//! (`kernel.yama.ptrace_scope` of 2 or 3, some sandboxes). What is traced by another is not counted, nor is a process that is
//! started to be not traced (`CLONE_UNTRACED`); and a set-user-ID program that an unprivileged user traces runs without its
//! privileges.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use coshell_process::processes::with_descendants;
use coshell_process::sys::{self, TraceEvent};
use nix::libc;
use nix::unistd::{Pid, gettid};

/// Between two looks for events: a start waits that long at most.
const STEP: Duration = Duration::from_micros(50);
/// How long the kernel may take to let go of what a thread traced that has ended.
const RELEASE_LIMIT: Duration = Duration::from_millis(500);

/// Counts until it is dropped.
#[derive(Debug)]
pub(crate) struct ForkCounter {
    shared: Arc<Shared>,
    root: Pid,
    /// The thread that traces, as the kernel numbers it.
    tracer: Pid,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    started: AtomicUsize,
    /// The first root has ended.
    has_ended: AtomicBool,
    is_dropped: AtomicBool,
}

impl ForkCounter {
    /// Begins to count what `roots` and their descendants start. While it lives no other thread may wait for the first root
    /// by `waitpid(2)`, which would take events for its end: [`has_ended`](Self::has_ended) reports that.
    ///
    /// # Errors
    /// The system's, if it does not permit that.
    pub(crate) fn attach(roots: Vec<Pid>) -> io::Result<Self> {
        let root = *roots
            .first()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("fork-counter".to_owned())
            .spawn(move || {
                let result = trace_all(&roots);
                let is_tracing = result.is_ok();
                let _ = sender.send((gettid(), result));
                if is_tracing {
                    count(&own, root);
                }
            })?;
        let (tracer, result) = receiver.recv().map_err(io::Error::other)?;
        // After a failure, too, it is dropped, and waits until nothing is traced any more.
        let counter = Self {
            shared,
            root,
            tracer,
            thread: Some(thread),
        };
        result.map(|()| counter)
    }

    /// Processes and threads started so far.
    pub(crate) fn started(&self) -> usize {
        self.shared.started.load(Ordering::Acquire)
    }

    /// Whether the first root has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.has_ended.load(Ordering::Acquire)
    }
}

impl Drop for ForkCounter {
    fn drop(&mut self) {
        self.shared.is_dropped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let begun = Instant::now();
        while tracer(self.root) == Some(self.tracer) && begun.elapsed() < RELEASE_LIMIT {
            thread::sleep(STEP);
        }
    }
}

/// Footprint every thread of `roots` and their descendants. What starts meanwhile is traced because its parent is, or is found
/// by another look.
fn trace_all(roots: &[Pid]) -> io::Result<()> {
    let mut known = BTreeSet::new();
    loop {
        let all = with_descendants(roots.to_vec(), &[])
            .into_iter()
            .flat_map(threads);
        let new: Vec<_> = all.filter(|thread| known.insert(*thread)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for thread in new {
            match sys::trace(thread) {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) if tracer(thread) != Some(gettid()) => return Err(error),
                // One that was traced when it started is known to the kernel already.
                _ => {}
            }
        }
    }
}

fn threads(pid: Pid) -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
}

/// The thread that traces `pid`; `proc_pid_status(5)`.
fn tracer(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"))?;
    line.trim()
        .parse()
        .ok()
        .filter(|&pid| pid != 0)
        .map(Pid::from_raw)
}

/// Counts until the counter is dropped, or the first root has ended: a thread that ends lets go of all that it traces.
fn count(shared: &Shared, root: Pid) {
    while !shared.is_dropped.load(Ordering::Acquire) {
        match sys::next_trace_event() {
            None => thread::sleep(STEP),
            Some(TraceEvent::Started(pid)) => {
                shared.started.fetch_add(1, Ordering::Release);
                sys::resume_traced(pid, 0);
            }
            Some(TraceEvent::Stopped(pid, signal)) => sys::resume_traced(pid, signal),
            Some(TraceEvent::GroupStopped(pid)) => sys::leave_stopped(pid),
            Some(TraceEvent::Ended(pid)) if pid == root => {
                // Left for the one who started it, with its exit status.
                shared.has_ended.store(true, Ordering::Release);
                return;
            }
            Some(TraceEvent::Ended(pid)) => sys::reap_traced(pid),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A bash that waits for a line, and then runs it.
    fn bash() -> Child {
        let mut command = Command::new("bash");
        command.args(["-c", "read -r line; eval \"$line\"; read -r"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn root(child: &Child) -> Pid {
        Pid::from_raw(i32::try_from(child.id()).unwrap())
    }

    /// How many processes a bash starts for `line`, and what it prints as its first line.
    fn outcome_of(line: &str) -> (usize, String) {
        use std::io::{BufRead, BufReader};
        let mut child = bash();
        let counter = ForkCounter::attach(vec![root(&child)]).unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{line}").unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        output.read_line(&mut printed).unwrap();
        let count = counter.started();
        drop(counter);
        drop(input);
        assert_eq!(child.wait().unwrap().code(), Some(1));
        (count, printed.trim_end().to_owned())
    }

    fn count_of(line: &str) -> usize {
        outcome_of(line).0
    }

    #[test]
    fn short_children_and_grandchildren_are_counted_and_nothing_else() {
        // What the machine starts meanwhile.
        let others: Vec<_> = (0..3).map(|_| count_others()).collect();
        let counts = [
            "echo",
            "(:); (:); echo",
            "x=$( (:) | (:) ); echo",
            "(:) & wait; (exit 7); echo $?",
        ];
        let counts = counts.map(count_of);
        for mut other in others {
            other.kill().unwrap();
            other.wait().unwrap();
        }
        assert_eq!(counts, [0, 2, 3, 2]);
    }

    fn count_others() -> Child {
        Command::new("bash")
            .args(["-c", "while :; do (:); done"])
            .spawn()
            .unwrap()
    }

    #[test]
    fn signals_and_stops_are_what_they_are_without_us() {
        let line = [
            "trap 'x=$x+' USR1 RTMIN",
            "kill -USR1 $$",
            "kill -RTMIN $$",
            "sleep 600 &",
            "kill -STOP $!",
            // It is stopped before the signal, goes on for a moment, and stays stopped then.
            "n=0",
            "for ((i = 0; i < 300000 && n < 1000; i++)); do read -r stat </proc/$!/stat",
            "if [[ $stat == *') '[tT]' '* ]]; then ((++n)); else n=0; fi; done",
            "kill -CONT $!",
            "kill -TERM $!",
            "wait $!",
            "status=$?",
            "kill -KILL $! 2>/dev/null",
            "echo \"$x $n $status\"",
        ];
        let line = line.join("; ").replace("&;", "&");
        assert_eq!(outcome_of(&line), (1, "++ 1000 143".to_owned()));
    }

    #[test]
    fn end_is_reported_and_its_status_left() {
        let mut child = bash();
        let counter = ForkCounter::attach(vec![root(&child)]).unwrap();
        writeln!(child.stdin.take().unwrap(), "exit 7").unwrap();
        let begun = Instant::now();
        while !counter.has_ended() && begun.elapsed() < Duration::from_secs(30) {
            thread::sleep(STEP);
        }
        assert!(counter.has_ended());
        drop(counter);
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn what_is_gone_or_forbidden_is_an_error() {
        assert!(ForkCounter::attach(Vec::new()).is_err());
        // A process cannot trace itself.
        assert!(ForkCounter::attach(vec![nix::unistd::getpid()]).is_err());
    }
}
