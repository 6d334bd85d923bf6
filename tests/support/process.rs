//! A program under test, with every process that it starts: its output is captured, its processes are found through /proc
//! and killed on drop.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::{LIMIT, start_programs_with_default_signals, wait_until};

/// An environment variable that the descendants of a [`Process`] inherit. Orphans are found by it too.
const ENVIRONMENT_TAG: &str = "COSHELL_TEST_PROCESS";

/// The output and exit status of a process. Readable after the process has ended, too.
#[derive(Debug, Default)]
pub struct ProcessRecord {
    output: Mutex<Output>,
    exit: Mutex<Option<(ExitStatus, Instant)>>,
    exited: Condvar,
    /// How many of the two output pipes are still open in some process, 0 to 2.
    open_streams: AtomicUsize,
}

#[derive(Debug, Default)]
struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Both streams, in the order in which they were read.
    both: Vec<u8>,
}

impl ProcessRecord {
    pub fn log(&self) -> String {
        let log = String::from_utf8_lossy(&self.output.lock().expect("log").both).into_owned();
        if !crate::always_forks() {
            return log;
        }
        // A bash that always forks is given other isolations by the tests, too. One test looks at this warning.
        let is_other = |line: &&str| !line.contains("COSHELL_ISOLATION=none needs bash 4.4");
        log.split_inclusive('\n').filter(is_other).collect()
    }

    /// The exit status, and when the process ended. `None` while it runs.
    pub fn exit(&self) -> Option<(ExitStatus, Instant)> {
        *self.exit.lock().expect("exit")
    }
}

/// A running program, in a process group of its own.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    tag: String,
    record: Arc<ProcessRecord>,
}

impl Process {
    /// Starts `command` with empty standard input and with every signal at its default.
    pub fn start(mut command: Command) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        start_programs_with_default_signals();
        let tag = format!(
            "{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        command.env(ENVIRONMENT_TAG, &tag).process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let record = Arc::new(ProcessRecord::default());
        if let Some(stdout) = child.stdout.take() {
            capture(stdout, &record, |output| &mut output.stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            capture(stderr, &record, |output| &mut output.stderr);
        }
        let pid = child.id();
        let watched = Arc::clone(&record);
        thread::spawn(move || {
            let status = child
                .wait()
                .unwrap_or_else(|_| ExitStatus::from_raw(0xff00));
            *watched.exit.lock().expect("exit") = Some((status, Instant::now()));
            watched.exited.notify_all();
        });
        Self { pid, tag, record }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn record(&self) -> Arc<ProcessRecord> {
        Arc::clone(&self.record)
    }

    pub fn stdout(&self) -> Vec<u8> {
        self.record.output.lock().expect("log").stdout.clone()
    }

    pub fn stderr(&self) -> Vec<u8> {
        self.record.output.lock().expect("log").stderr.clone()
    }

    /// Standard output and error together, as Lambda logs them.
    pub fn log(&self) -> String {
        self.record.log()
    }

    /// As [`log`](Self::log), but as raw bytes.
    pub fn log_bytes(&self) -> Vec<u8> {
        self.record.output.lock().expect("log").both.clone()
    }

    /// Kills the program and everything it started. Returns its log, which is complete then.
    #[track_caller]
    pub fn final_log(&self) -> String {
        self.kill();
        wait_until(
            || self.record.open_streams.load(Ordering::SeqCst) == 0,
            LIMIT,
        );
        self.log()
    }

    #[track_caller]
    pub fn wait_log(&self, text: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.log().contains(text) {
            assert!(
                Instant::now() < deadline,
                "the log has no {text:?}:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The lines of `log` that bootstrap wrote, not the handler.
    pub fn bootstrap_lines(log: &str) -> Vec<&str> {
        let lines = log.lines();
        lines
            .filter(|line| line.starts_with("bootstrap: "))
            .collect()
    }

    pub fn is_running(&self) -> bool {
        self.record.exit().is_none()
    }

    /// Waits at most `limit` for the program to end. Returns its exit status.
    #[track_caller]
    pub fn wait_exit(&self, limit: Duration) -> ExitStatus {
        let exit = self.record.exit.lock().expect("exit");
        let waited = self
            .record
            .exited
            .wait_timeout_while(exit, limit, |exit| exit.is_none());
        let (exit, _) = waited.expect("exit");
        let Some((status, _)) = *exit else {
            drop(exit);
            panic!("still running after {limit:?}; its log:\n{}", self.log());
        };
        status
    }

    /// Waits for a program that must end by itself with a status other than 0, and leave no process behind. Returns the
    /// status. The log is complete then.
    #[track_caller]
    pub fn wait_failure(&self, limit: Duration) -> i32 {
        let status = self.wait_exit(limit);
        let code = status.code();
        assert!(
            code.is_some_and(|code| code != 0),
            "ended with {status}; its log:\n{}",
            self.log()
        );
        let deadline = Instant::now() + LIMIT;
        while !self.processes().is_empty() || self.record.open_streams.load(Ordering::SeqCst) > 0 {
            let left = self.processes();
            assert!(Instant::now() < deadline, "left behind: {left:?}");
            thread::sleep(Duration::from_millis(2));
        }
        code.unwrap_or_default()
    }

    /// Waits for a program that must end with status 0 and leave no process behind. Returns its log, which is complete
    /// then.
    #[track_caller]
    pub fn wait_clean_exit(&self, limit: Duration) -> String {
        let status = self.wait_exit(limit);
        let left = self.processes();
        let log = self.final_log();
        assert_eq!(
            status.code(),
            Some(0),
            "ended with {status}; its log:\n{log}"
        );
        assert!(left.is_empty(), "left behind: {left:?}; its log:\n{log}");
        log
    }

    pub fn signal(&self, signal: Signal) {
        kill(as_pid(self.pid), signal).expect("cannot send a signal");
    }

    /// The program and its living descendants, orphans included: pid and command line.
    pub fn processes(&self) -> BTreeMap<u32, String> {
        let variable = format!("{ENVIRONMENT_TAG}={}", self.tag);
        let mut found = BTreeMap::new();
        for pid in all_pids() {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let is_tagged = environment
                .split(|byte| *byte == 0)
                .any(|entry| entry == variable.as_bytes());
            if is_tagged && !is_zombie(pid) {
                found.insert(pid, command_line(pid));
            }
        }
        found
    }

    /// The pid of its child bash. Waits until there is one.
    #[track_caller]
    pub fn shell_pid(&self) -> u32 {
        let mut shell = None;
        wait_until(
            || {
                let is_bash = |pid: &u32| !is_zombie(*pid) && executable(*pid).contains("bash");
                shell = children(self.pid).into_iter().find(is_bash);
                shell.is_some()
            },
            LIMIT,
        );
        shell.expect("waited for it")
    }

    /// Kills the shell from outside, and waits until it has ended.
    pub fn kill_shell(&self) -> u32 {
        let shell = self.shell_pid();
        kill(as_pid(shell), Signal::SIGKILL).expect("a shell");
        // While it ends, it has no environment and does not count as one of ours, but its parent cannot wait for it yet.
        wait_until(|| is_zombie(shell), LIMIT);
        shell
    }

    /// Kills the program and everything it started.
    pub fn kill(&self) {
        if self.is_running() {
            let _ = kill(as_pid(self.pid), Signal::SIGKILL);
            let _ = killpg(as_pid(self.pid), Signal::SIGKILL);
        }
        // A process that forks meanwhile is found in the next round.
        for _ in 0..10 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for pid in left.into_keys() {
                let _ = kill(as_pid(pid), Signal::SIGKILL);
            }
            thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn capture(
    mut stream: impl Read + Send + 'static,
    record: &Arc<ProcessRecord>,
    select: fn(&mut Output) -> &mut Vec<u8>,
) {
    let record = Arc::clone(record);
    record.open_streams.fetch_add(1, Ordering::SeqCst);
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    let mut output = record.output.lock().expect("log");
                    select(&mut output).extend_from_slice(&buffer[..length]);
                    output.both.extend_from_slice(&buffer[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        record.open_streams.fetch_sub(1, Ordering::SeqCst);
    });
}

/// For what takes a [`Pid`].
pub fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a pid"))
}

fn all_pids() -> Vec<u32> {
    let folders = fs::read_dir("/proc").expect("/proc");
    folders
        .filter_map(|folder| folder.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The fields of `/proc/PID/stat` after the command name; the state and the parent come first. See `proc_pid_stat(5)`.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(ToOwned::to_owned).collect())
}

/// The children of `pid` that have ended but were not waited for.
pub fn zombies(pid: u32) -> Vec<u32> {
    let is_zombie = |child: &u32| stat(*child).is_some_and(|fields| fields[0] == "Z");
    children(pid).into_iter().filter(is_zombie).collect()
}

fn is_zombie(pid: u32) -> bool {
    stat(pid).is_none_or(|fields| fields[0] == "Z" || fields[0] == "X")
}

fn executable(pid: u32) -> String {
    let link = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = link.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The pids of the children of `pid`, zombies included, oldest first.
pub fn children(pid: u32) -> Vec<u32> {
    let parent = pid.to_string();
    // Pids wrap around, so the lower pid is not always the older process.
    let start = |child: u32| {
        let fields = stat(child).filter(|fields| fields[1] == parent)?;
        Some((fields[19].parse::<u64>().ok()?, child))
    };
    let mut found: Vec<_> = all_pids().into_iter().filter_map(start).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, child)| child).collect()
}

/// The open file descriptors of `pid`: number and link target.
pub fn open_descriptors(pid: u32) -> BTreeMap<u32, String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).map(|links| links.flatten().collect());
    let links: Vec<_> = links.unwrap_or_default();
    let name = |link: &fs::DirEntry| link.file_name().to_str()?.parse().ok();
    let target = |link: &fs::DirEntry| fs::read_link(link.path()).ok();
    links
        .iter()
        .filter_map(|link| Some((name(link)?, target(link)?.to_string_lossy().into_owned())))
        .collect()
}

/// The value of a field of `/proc/PID/status`, such as `VmHWM`. `None` if the process is gone.
pub fn status_field(pid: u32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mut values = text
        .lines()
        .filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    values.next().map(|value| value.trim().to_owned())
}

/// Resident memory of `pid`; 0 if the process is gone.
pub fn resident_bytes(pid: u32) -> u64 {
    let text = status_field(pid, "VmRSS").unwrap_or_default();
    let kibibytes = text.split(' ').next().unwrap_or_default();
    kibibytes.parse::<u64>().unwrap_or_default() * 1024
}
