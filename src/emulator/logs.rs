//! What a sandbox logs, carried to our output; and Lambda's own lines around it.
//!
//! Standard output and standard error of the bootstrap are one pipe. It is read as it fills, and to
//! its end when an invocation is over, so that all that the handler wrote stands before END. Lines
//! are written whole: those of several sandboxes do not mix, and one of Lambda's begins a line
//! whatever the handler wrote before it.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::unix::pipe::Receiver;

use super::telemetry::Telemetry;

/// How much of an invocation's log a caller gets that asks for it.
const TAIL_BYTES: usize = 4096;
/// A line is passed on unfinished when it is longer than this.
const MAX_LINE_BYTES: usize = 64 * 1024;
const READ_BYTES: usize = 16 * 1024;

/// Where logs go: a file that is written in whole lines.
#[derive(Debug)]
pub struct Output {
    file: File,
    has_colour: bool,
    has_platform_lines: bool,
}

impl Output {
    /// Our standard output, with Lambda's own lines.
    ///
    /// # Errors
    /// When it is closed.
    pub fn standard_output() -> io::Result<Self> {
        Self::of(io::stdout().as_fd(), io::stdout().is_terminal(), true)
    }

    /// Our standard error, with what the handler logs alone.
    ///
    /// # Errors
    /// When it is closed.
    pub fn standard_error() -> io::Result<Self> {
        Self::of(io::stderr().as_fd(), io::stderr().is_terminal(), false)
    }

    fn of(fd: BorrowedFd, is_terminal: bool, has_platform_lines: bool) -> io::Result<Self> {
        Ok(Self {
            file: File::from(fd.try_clone_to_owned()?),
            has_colour: is_terminal && !is_colour_refused(),
            has_platform_lines,
        })
    }

    /// An output that has gone away is no reason to end: the answers are still wanted.
    fn write(&self, lines: &[u8]) {
        let _ = (&self.file).write_all(lines);
    }
}

/// Whether the user wants no colours: <https://no-color.org>.
pub fn is_colour_refused() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Says something of coshell's own on standard error, in one write: what is logged meanwhile does not
/// get into its midst. That nobody reads it any more is no reason to end.
pub fn say(text: impl Display) {
    // Names of files reach a terminal: not as its orders.
    let is_order = |letter: char| letter.is_control() && letter != '\n';
    let text = text.to_string().replace(is_order, "\u{fffd}");
    let _ = io::stderr().write_all(format!("coshell: {text}\n").as_bytes());
}

/// The log of one sandbox.
#[derive(Debug)]
pub(crate) struct Log {
    pipe: Receiver,
    /// The same pipe, to be read past tokio, which knows only later that something has come.
    same_pipe: File,
    output: Arc<Output>,
    /// Who else wants to know.
    pub telemetry: Telemetry,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The start of a line whose end has not come yet.
    line: Vec<u8>,
    /// What this invocation has logged; cut to its end now and then.
    tail: Vec<u8>,
    /// This invocation; empty if it is not known.
    request_id: String,
}

impl Log {
    /// The log, which is carried on from now, and the end that the bootstrap writes to.
    ///
    /// # Errors
    /// When there is no pipe.
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
        tokio::spawn(Arc::clone(&log).carry());
        Ok((log, writer.into()))
    }

    async fn carry(self: Arc<Self>) {
        while self.pipe.readable().await.is_ok() {
            if self
                .read(|piece| self.pipe.try_read(piece))
                .is_ok_and(|count| count == 0)
            {
                return; // all that could write have ended
            }
        }
    }

    /// Carries on what has been written so far, and ends a line that was begun.
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
        self.telemetry.tell_lines(lines);
    }

    /// Writes lines of Lambda's own.
    pub(crate) fn write_platform_lines(&self, lines: &str) {
        if !self.output.has_platform_lines {
            return;
        }
        self.state().add_to_tail(lines.as_bytes());
        if self.output.has_colour {
            let mut coloured = String::new();
            for line in lines.lines() {
                let (colour, reset) = (colour_of(line), "\x1b[0m");
                coloured.extend([colour, line, reset, "\n"]);
            }
            self.output.write(coloured.as_bytes());
        } else {
            self.output.write(lines.as_bytes());
        }
    }

    /// An invocation begins: the tail is that of this one from here on.
    pub(crate) fn begin(&self, request_id: &str) {
        let mut state = self.state();
        state.tail.clear();
        request_id.clone_into(&mut state.request_id);
    }

    /// The last 4 KiB that were logged since the invocation began, without lines that name another one: a
    /// process that outlives its invocation may log while the next one runs.
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
            if !is_of_another(line, &self.request_id) {
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

/// Whether a line names an invocation, and it is not this one: `[request id] text`, or an object with a
/// `requestId`.
fn is_of_another(line: &[u8], request_id: &str) -> bool {
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

/// Lambda's lines stand back behind the handler's, unless they tell of a failure.
fn colour_of(line: &str) -> &'static str {
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
    async fn line_without_end_is_ended_before_the_next_of_lambda() -> io::Result<()> {
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
    async fn tail_is_of_this_invocation_and_at_most_4_kib() -> io::Result<()> {
        let (output, _reader) = output()?;
        let (log, writer) = Log::open(output)?;
        let mut writer = File::from(writer);
        writer.write_all(b"before\n")?;
        log.drain();
        log.begin("");
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
    fn lines_that_name_another_invocation_are_told_from_others() {
        let (id, other) = (
            "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            "99f5c009-8570-45ec-b226-db5885f68311",
        );
        let is_of_another = |line: String| is_of_another(line.as_bytes(), id);
        assert!(is_of_another(format!("[{other}] late\n")));
        assert!(is_of_another(format!("{{\"requestId\":\"{other}\"}}\n")));
        for own in [
            format!("[{id}] own\n"),
            format!("{{\"requestId\":\"{id}\"}}\n"),
            "[INFO] [x] plain\n".to_owned(),
            "[".to_owned(),
            format!("{{ broken requestId {other}\n"),
            format!("see [{other}] there\n"),
        ] {
            assert!(!is_of_another(own.clone()), "{own}");
        }
    }

    #[test]
    fn failures_stand_out_and_the_rest_stands_back() {
        assert_eq!(colour_of("END RequestId: 1"), "\x1b[2m");
        assert_eq!(
            colour_of("REPORT RequestId: 1\tStatus: timeout"),
            "\x1b[31m"
        );
        assert_eq!(colour_of("RequestId: 1 Error: x"), "\x1b[31m");
    }
}
