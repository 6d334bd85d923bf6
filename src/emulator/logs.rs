//! Forwards the log of a sandbox to our output, with Lambda's own lines around it.
//!
//! Standard output and standard error of the bootstrap are one pipe. It is read as it fills. When an invocation is over
//! it is read until it is empty, so that everything the handler wrote comes before END. Only whole lines are forwarded,
//! so lines of several sandboxes never mix, and Lambda's lines always begin a new line.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::unix::pipe::Receiver;

use super::telemetry::Telemetry;

/// How much of an invocation's log a caller can get, as on Lambda.
const TAIL_BYTES: usize = 4096;
/// A longer line is forwarded before its end has come.
const MAX_LINE_BYTES: usize = 64 * 1024;
const READ_BYTES: usize = 16 * 1024;

/// Where the logs go.
#[derive(Debug)]
pub struct Output {
    file: File,
    has_colour: bool,
    has_platform_lines: bool,
}

impl Output {
    /// Our standard output, for the handler's log and Lambda's lines.
    ///
    /// # Errors
    /// When it is closed.
    pub fn standard_output() -> io::Result<Self> {
        Self::new(io::stdout().as_fd(), io::stdout().is_terminal(), true)
    }

    /// Our standard error, for the handler's log without Lambda's lines.
    ///
    /// # Errors
    /// When it is closed.
    pub fn standard_error() -> io::Result<Self> {
        Self::new(io::stderr().as_fd(), io::stderr().is_terminal(), false)
    }

    fn new(fd: BorrowedFd, is_terminal: bool, has_platform_lines: bool) -> io::Result<Self> {
        Ok(Self {
            file: File::from(fd.try_clone_to_owned()?),
            has_colour: is_terminal && !is_colour_refused(),
            has_platform_lines,
        })
    }

    /// Ignores errors: if nobody reads the log any more, the callers still want their answers.
    fn write(&self, lines: &[u8]) {
        let _ = (&self.file).write_all(lines);
    }
}

/// Whether the user has disabled colours, <https://no-color.org>, or the terminal has none.
pub fn is_colour_refused() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_refused || std::env::var_os("TERM").is_some_and(|name| name == "dumb")
}

/// Prints a message of coshell itself on standard error. A single write keeps it apart from the log of a sandbox.
/// Ignores errors: coshell keeps running if nobody reads its messages.
pub fn eprint(message: impl Display) {
    // A message may contain the name of a file, which must not control the terminal.
    let is_unsafe = |letter: char| letter.is_control() && letter != '\n';
    let text = message.to_string().replace(is_unsafe, "\u{fffd}");
    let _ = io::stderr().write_all(format!("coshell: {text}\n").as_bytes());
}

/// The log of one sandbox.
#[derive(Debug)]
pub(crate) struct Log {
    pipe: Receiver,
    /// The same pipe, for reads without tokio: tokio learns with a delay that there is something to read.
    same_pipe: File,
    output: Arc<Output>,
    pub telemetry: Telemetry,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The start of a line whose end has not come yet.
    line: Vec<u8>,
    /// The log of this invocation. Now and then it is cut to its last [`TAIL_BYTES`].
    tail: Vec<u8>,
    /// This invocation. Empty in a sandbox that runs several at a time.
    request_id: String,
}

impl Log {
    /// Starts forwarding. Also returns the end of the pipe that the bootstrap writes to.
    ///
    /// # Errors
    /// When the system gives no pipe.
    pub(crate) fn open(output: Arc<Output>) -> io::Result<(Arc<Self>, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        let reader = OwnedFd::from(reader);
        let same_pipe = File::from(reader.try_clone()?);
        let log = Arc::new(Self {
            pipe: Receiver::from_owned_fd(reader)?,
            same_pipe,
            output,
            telemetry: Telemetry::default(),
            state: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&log).forward());
        Ok((log, writer.into()))
    }

    async fn forward(self: Arc<Self>) {
        while self.pipe.readable().await.is_ok() {
            if self
                .read(|piece| self.pipe.try_read(piece))
                .is_ok_and(|count| count == 0)
            {
                return; // every process that could write has ended
            }
        }
    }

    /// Forwards everything that has been written so far. Ends the last line if it has no newline.
    pub(crate) fn drain(&self) {
        while self
            .read(|piece| (&self.same_pipe).read(piece))
            .is_ok_and(|count| count > 0)
        {}
        let mut state = self.state();
        if !state.line.is_empty() {
            state.line.push(b'\n');
            let line = std::mem::take(&mut state.line);
            state.add_to_tail(&line);
            self.write(&line);
        }
    }

    fn read(&self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let mut piece = [0; READ_BYTES];
        let count = read(&mut piece)?;
        let mut state = self.state();
        state.line.extend_from_slice(&piece[..count]);
        let whole = match memchr::memrchr(b'\n', &state.line) {
            Some(end) => end + 1,
            None if state.line.len() > MAX_LINE_BYTES => state.line.len(),
            None => 0,
        };
        if whole > 0 {
            let lines: Vec<_> = state.line.drain(..whole).collect();
            state.add_to_tail(&lines);
            self.write(&lines);
        }
        Ok(count)
    }

    fn write(&self, lines: &[u8]) {
        self.output.write(lines);
        self.telemetry.send_log_lines(lines);
    }

    /// Writes lines of Lambda itself, such as START, if the output is to have them.
    pub(crate) fn write_platform_lines(&self, lines: &str) {
        if !self.output.has_platform_lines {
            return;
        }
        self.state().add_to_tail(lines.as_bytes());
        if self.output.has_colour {
            let mut coloured = String::new();
            for line in lines.lines() {
                let (colour, reset) = (line_colour(line), "\x1b[0m");
                coloured.extend([colour, line, reset, "\n"]);
            }
            self.output.write(coloured.as_bytes());
        } else {
            self.output.write(lines.as_bytes());
        }
    }

    /// Starts the tail of a new invocation.
    pub(crate) fn start_invocation(&self, request_id: &str) {
        let mut state = self.state();
        state.tail.clear();
        request_id.clone_into(&mut state.request_id);
    }

    /// The last 4 KiB of the invocation's log. Lines that name another invocation are left out, because a process that
    /// is still running after its invocation may log during the next one.
    pub(crate) fn tail(&self) -> Vec<u8> {
        let mut state = self.state();
        state.cut_tail();
        state.tail.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add_to_tail(&mut self, lines: &[u8]) {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if !names_another_invocation(line, &self.request_id) {
                self.tail.extend_from_slice(line);
            }
        }
        if self.tail.len() > 4 * TAIL_BYTES {
            self.cut_tail();
        }
    }

    fn cut_tail(&mut self) {
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
    }
}

/// Whether a line has the request id of another invocation: as `[request id] text`, or as `requestId` of an object.
fn names_another_invocation(line: &[u8], request_id: &str) -> bool {
    if let Some(rest) = line.strip_prefix(b"[") {
        let id = rest.split(|byte| *byte == b']').next().unwrap_or_default();
        let is_id =
            id.len() == 36 && (id.iter()).all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
        return is_id && id != request_id.as_bytes();
    }
    if !line.starts_with(b"{") || memchr::memmem::find(line, b"requestId").is_none() {
        return false;
    }
    let object: Option<serde_json::Value> = serde_json::from_slice(line).ok();
    let named = object
        .as_ref()
        .and_then(|object| object["requestId"].as_str());
    named.is_some_and(|named| named != request_id)
}

/// Lambda's lines are dim, so that the handler's stand out, or red if they report a failure.
fn line_colour(line: &str) -> &'static str {
    let is_framing = ["START ", "END ", "REPORT ", "RESTORE_"];
    let is_framing = is_framing.iter().any(|start| line.starts_with(start));
    if is_framing && !line.contains("\tStatus: ") {
        "\x1b[2m"
    } else {
        "\x1b[31m"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> io::Result<(Arc<Output>, io::PipeReader)> {
        let (reader, writer) = io::pipe()?;
        let output = Output {
            file: File::from(OwnedFd::from(writer)),
            has_colour: false,
            has_platform_lines: true,
        };
        Ok((Arc::new(output), reader))
    }

    #[tokio::test]
    async fn line_without_newline_is_ended_before_a_line_of_lambda() -> io::Result<()> {
        let (output, mut reader) = output()?;
        let (log, writer) = Log::open(output)?;
        File::from(writer).write_all(b"first\nEND Request")?;
        log.drain();
        log.write_platform_lines("END RequestId: 1\n");
        let mut written = [0; 100];
        let count = reader.read(&mut written)?;
        let expected = b"first\nEND Request\nEND RequestId: 1\n";
        assert_eq!(&written[..count], expected);
        assert_eq!(log.tail(), expected);
        Ok(())
    }

    #[tokio::test]
    async fn tail_has_the_last_4_kib_of_this_invocation() -> io::Result<()> {
        let (output, _reader) = output()?;
        let (log, writer) = Log::open(output)?;
        let mut writer = File::from(writer);
        writer.write_all(b"before\n")?;
        log.drain();
        log.start_invocation("");
        assert_eq!(log.tail(), b"");
        for _ in 0..3000 {
            writer.write_all(b"abc\n")?;
            if log.state().line.is_empty() {
                log.drain();
            }
        }
        assert_eq!(log.tail(), b"abc\n".repeat(TAIL_BYTES / 4));
        Ok(())
    }

    #[test]
    fn lines_that_name_another_invocation_are_recognized() {
        let (id, other) = (
            "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            "99f5c009-8570-45ec-b226-db5885f68311",
        );
        let is_foreign = |line: String| names_another_invocation(line.as_bytes(), id);
        assert!(is_foreign(format!("[{other}] late\n")));
        assert!(is_foreign(format!("{{\"requestId\":\"{other}\"}}\n")));
        for own in [
            format!("[{id}] own\n"),
            format!("{{\"requestId\":\"{id}\"}}\n"),
            "[INFO] [x] plain\n".to_owned(),
            "[".to_owned(),
            format!("{{ broken requestId {other}\n"),
            format!("see [{other}] there\n"),
        ] {
            assert!(!is_foreign(own.clone()), "{own}");
        }
    }

    #[test]
    fn failures_of_the_platform_are_red_and_its_other_lines_dim() {
        assert_eq!(line_colour("END RequestId: 1"), "\x1b[2m");
        assert_eq!(
            line_colour("REPORT RequestId: 1\tStatus: timeout"),
            "\x1b[31m"
        );
        assert_eq!(line_colour("RequestId: 1 Error: x"), "\x1b[31m");
    }
}
