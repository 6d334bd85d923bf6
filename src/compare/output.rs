//! What a runtime prints. Its last lines explain in a report why it died; all of it goes to a file if there is one.
//!
//! A thread reads a pipe, once in a millisecond at most: one that woke up at every line would take CPU from the runtime. It keeps
//! a few kilobytes, whatever comes: a line may be a gigabyte long, and a runtime may print without end.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use coshell_process::sys::bytes_ready;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How many of the last bytes are kept.
const KEPT_BYTES: usize = 4096;
/// How many of the last lines a report has, and how many characters of each.
const LINES: usize = 5;
const LINE_LENGTH: usize = 200;
/// A runtime waits when it has printed as much between two looks.
const PIPE_BYTES: i32 = 1 << 20;
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How long what a runtime has printed last may take to get here.
const ARRIVAL_LIMIT: Duration = Duration::from_millis(200);
/// Where a log file is cut, so that a runtime that prints without end leaves room on the disk.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// What all starts of a runtime print together.
#[derive(Debug)]
pub(crate) struct Log {
    /// A file for it, if the user wants one.
    file: Option<PathBuf>,
    printed: AtomicU64,
}

impl Log {
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            printed: AtomicU64::new(0),
        }
    }

    /// What to warn of, if the runtime has printed very much.
    pub(crate) fn warning(&self) -> Option<String> {
        let is_flood = self.printed.load(Ordering::Relaxed) > MAX_FILE_BYTES;
        let mib = MAX_FILE_BYTES >> 20;
        is_flood.then(|| match &self.file {
            Some(file) => format!(
                "printed more than {mib} MiB, which took CPU from all runtimes; {} ends there",
                file.display()
            ),
            None => format!("printed more than {mib} MiB, which took CPU from all runtimes"),
        })
    }

    fn open(&self) -> io::Result<Option<File>> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        self.file.as_ref().map(open).transpose()
    }

    /// Writes as much of `bytes` as the file may still have. A full disk does not end a comparison.
    fn write(&self, file: Option<&mut File>, bytes: &[u8]) {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let before = self.printed.fetch_add(count, Ordering::Relaxed);
        let room = usize::try_from(MAX_FILE_BYTES.saturating_sub(before)).unwrap_or(usize::MAX);
        if let Some(file) = file {
            let _ = file.write_all(&bytes[..bytes.len().min(room)]);
        }
    }
}

/// The output of one start.
#[derive(Debug)]
pub(crate) struct Output {
    pipe: Arc<PipeReader>,
    tail: Arc<Mutex<Tail>>,
}

impl Output {
    /// Begins to read what is written to the second and the third value: standard output and error.
    ///
    /// # Errors
    /// The system's, if there is no pipe or thread left, or the file cannot be opened.
    pub(crate) fn open(log: Arc<Log>) -> io::Result<(Self, Stdio, Stdio)> {
        let mut file = log.open()?;
        let (pipe, writer) = io::pipe()?;
        // Without more room a runtime that prints much waits more often.
        let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        let output = Self {
            pipe: Arc::new(pipe),
            tail: Arc::default(),
        };
        let (pipe, tail) = (Arc::clone(&output.pipe), Arc::clone(&output.tail));
        let thread = thread::Builder::new().name("runtime-output".to_owned());
        thread.spawn(move || read_all(&pipe, &tail, &log, file.as_mut()))?;
        Ok((output, writer.try_clone()?.into(), writer.into()))
    }

    /// The last lines so far, without empty ones. Waits a moment for what was printed just now.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let tail = lock(&self.tail);
            if tail.is_complete || bytes_ready(&*self.pipe) == 0 || begun.elapsed() > ARRIVAL_LIMIT
            {
                return tail.lines();
            }
            drop(tail);
            thread::sleep(LOOK_AGAIN);
        }
    }
}

fn lock(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads until every writer has closed the pipe. While bytes are between pipe and tail the tail is locked.
fn read_all(mut pipe: &PipeReader, tail: &Mutex<Tail>, log: &Log, mut file: Option<&mut File>) {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::NONE).is_err() {
            continue;
        }
        let mut tail = lock(tail);
        let mut room = PIPE_BYTES;
        while room > 0 {
            let count = pipe.read(&mut piece).unwrap_or(0);
            if count == 0 {
                tail.is_complete = true;
                return;
            }
            tail.push(&piece[..count]);
            log.write(file.as_deref_mut(), &piece[..count]);
            if bytes_ready(pipe) == 0 {
                break;
            }
            room = room.saturating_sub(i32::try_from(count).unwrap_or(i32::MAX));
        }
        drop(tail);
        thread::sleep(LOOK_AGAIN);
    }
}

/// The last bytes.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    is_cut: bool,
    /// Nothing can follow.
    is_complete: bool,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(KEPT_BYTES)..];
        let excess = (self.bytes.len() + kept.len()).saturating_sub(KEPT_BYTES);
        self.is_cut |= excess > 0 || kept.len() < bytes.len();
        self.bytes.drain(..excess);
        self.bytes.extend(kept);
    }

    fn lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<_> = text.split('\n').map(readable).collect();
        if let Some(first) = lines.first_mut()
            && self.is_cut
        {
            first.insert(0, '…');
        }
        lines.retain(|line| !line.trim().is_empty());
        lines.split_off(lines.len().saturating_sub(LINES))
    }
}

/// A line that is not too long, each run of control characters in it replaced by one sign.
fn readable(line: &str) -> String {
    let mut text = String::new();
    for (index, letter) in line.trim_end().chars().enumerate() {
        if index >= LINE_LENGTH {
            text.push('…');
            break;
        }
        let letter = match letter {
            '\t' => ' ',
            letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
            letter => letter,
        };
        if letter != char::REPLACEMENT_CHARACTER || !text.ends_with(letter) {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The last lines of a shell that has ended, the log file, and the warning.
    fn outcome_of(script: &str) -> (Vec<String>, Vec<u8>, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Arc::new(Log::new(Some(path.clone())));
        let (output, stdout, stderr) = Output::open(Arc::clone(&log)).unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", script]).stdout(stdout).stderr(stderr);
        command.status().unwrap();
        drop(command);
        let lines = output.last_lines();
        (lines, std::fs::read(path).unwrap(), log.warning())
    }

    #[test]
    fn last_lines_of_both_streams_are_kept() {
        let (lines, log, warning) =
            outcome_of("for i in {1..7}; do echo \"line $i\"; done; echo >&2; echo end >&2");
        assert_eq!(lines, ["line 4", "line 5", "line 6", "line 7", "end"]);
        assert!(log.ends_with(b"line 7\n\nend\n"));
        assert_eq!(warning, None);
        assert!(outcome_of("").0.is_empty());
    }

    #[test]
    fn long_line_is_cut_at_both_ends() {
        let (lines, _, _) = outcome_of("head -c 50000000 /dev/zero | tr '\\0' x; echo; echo end");
        assert_eq!(lines[0], format!("…{}…", "x".repeat(LINE_LENGTH)));
        assert_eq!(lines[1], "end");
        let (lines, _, _) = outcome_of("printf '%0300d\\n\\e[31mred\\n' 0; head -c 1000 /dev/zero");
        let expected = [
            "0".repeat(LINE_LENGTH) + "…",
            "\u{fffd}[31mred".to_owned(),
            "\u{fffd}…".to_owned(),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn output_without_end_is_no_reason_to_wait_or_to_fill_the_disk() {
        let (lines, log, warning) = outcome_of("head -c 100000000 /dev/zero; echo; echo end");
        assert_eq!(lines, ["…\u{fffd}…", "end"]);
        assert_eq!(u64::try_from(log.len()).unwrap(), MAX_FILE_BYTES);
        assert!(warning.unwrap().ends_with("/log ends there"));
        let (output, stdout, stderr) = Output::open(Arc::new(Log::new(None))).unwrap();
        let mut command = Command::new("cat");
        command.arg("/dev/zero").stdout(stdout).stderr(stderr);
        let mut child = command.spawn().unwrap();
        drop(command);
        while lock(&output.tail).bytes.len() < KEPT_BYTES {
            thread::sleep(LOOK_AGAIN);
        }
        assert_eq!(output.last_lines(), ["…\u{fffd}…"]);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
