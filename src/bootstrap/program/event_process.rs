//! The process of one event: waits for its end, reads its response, and finds out where a script ended.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::unistd::dup2;

use crate::child::RESPONSE_READ_DELAY;
use crate::failure::fill_in_line;
use crate::response::Response;
use crate::wait::{Limit, Overrun};
use coshell_handler::Frame;
use coshell_process::{Child, ExitStatus};

const MAX_TRACE_BYTES: usize = 16 * 1024;
const MAX_COMMAND_CHARS: usize = 1024;

/// The process of one event.
pub(crate) struct EventProcess {
    pub child: Child,
    /// Our end of the pipe that is its standard output.
    pub response: File,
    /// The file that is its standard input.
    pub event: File,
    /// `None` for an executable.
    pub exit_trace: Option<ExitTracePipe>,
}

/// The pipe into which bash writes where the script ended. bash opens it by our number.
#[derive(Debug)]
pub(crate) struct ExitTracePipe {
    pub reader: File,
    pub writer: OwnedFd,
    /// A socket, which bash cannot open. The EXIT trap opens this one if the status is 0.
    pub switch: OwnedFd,
}

/// Where a script ended.
#[derive(Debug, Default)]
pub(crate) struct ExitTrace {
    pub command: Option<String>,
    pub stack: Vec<Frame>,
    /// The statuses of the parts of the pipeline, if the command is one.
    pub parts: Vec<i32>,
}

impl EventProcess {
    /// Waits for the end of the process. Reads the response meanwhile, if it is streamed, is longer than the pipe, or takes
    /// long.
    pub(crate) fn wait(
        &mut self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> std::result::Result<ExitStatus, Overrun> {
        let mut last_read = Instant::now();
        let (mut skips_output, mut is_closed) = (!response.is_streamed(), false);
        loop {
            let output = (!skips_output && !is_closed).then(|| self.response.as_fd());
            let timeout =
                skips_output.then(|| RESPONSE_READ_DELAY.saturating_sub(last_read.elapsed()));
            let [has_ended, has_output] =
                limit.wait_readable([Some(self.child.pidfd()), output], timeout)?;
            if has_ended && let Some(status) = self.child.status() {
                return Ok(status);
            }
            if has_output {
                // A pipe that is ready but empty is closed.
                is_closed = self.read_response(response, limit)? == 0;
                last_read = Instant::now();
            }
            // Let more output arrive before the next read, unless the caller waits for it.
            skips_output = has_output && !response.is_streamed();
        }
    }

    /// Reads what is in the response's pipe now, and returns how many bytes that were.
    pub(crate) fn read_response(
        &self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> std::result::Result<usize, Overrun> {
        response.read_from(&self.response, limit, <[u8]>::len)
    }

    /// Makes a script that is about to be stopped write its exit trace.
    pub(crate) fn request_exit_trace(&mut self) {
        if let Some(pipe) = &mut self.exit_trace {
            // If this fails the error message is only less precise.
            let _ = dup2(&pipe.writer, &mut pipe.switch);
        }
    }

    /// Empty for an executable, and for a script that has an EXIT trap of its own.
    pub(crate) fn exit_trace(&self) -> ExitTrace {
        let trace = (self.exit_trace.as_ref()).map(|pipe| read_exit_trace(&pipe.reader));
        trace.unwrap_or_default()
    }
}

/// Reads what the traps of `script.bash` wrote.
fn read_exit_trace(mut pipe: &File) -> ExitTrace {
    let mut bytes = vec![0; MAX_TRACE_BYTES];
    let length = pipe.read(&mut bytes).unwrap_or(0);
    let mut trace = parse_exit_trace(&bytes[..length]);
    fill_in_line(&mut trace.stack, trace.command.as_deref());
    trace
}

/// Parses an exit trace, whose frames begin with the innermost one:
///
/// ```text
/// command NUL line NUL [status NUL]... NUL [function NUL]... NUL [file NUL]... NUL [line NUL]... NUL
/// ```
/// Outside of functions bash gives no function names. A script may write twice; only the first trace counts, because bash
/// knows less later.
fn parse_exit_trace(bytes: &[u8]) -> ExitTrace {
    let text = String::from_utf8_lossy(bytes);
    let mut fields = text.split('\0');
    let command = fields.next().unwrap_or_default();
    let line = fields.next().and_then(|line| line.parse().ok());
    let mut list = || -> Vec<&str> {
        let list = fields.by_ref().take_while(|field| !field.is_empty());
        list.collect()
    };
    let (statuses, functions, files, lines) = (list(), list(), list(), list());
    // The functions of coshell are in a file of the host. Where the innermost frames are theirs, the command is the function that
    // the script called. script.bash is in such a file too.
    let is_own = |index: usize| files[index].starts_with("/proc/");
    let called = (0..files.len()).take_while(|index| is_own(*index)).last();
    let command = called
        .and_then(|index| functions.get(index))
        .unwrap_or(&command);
    let frames = files
        .iter()
        .enumerate()
        .filter(|(index, _)| !is_own(*index));
    let frame = |(index, file): (usize, &&str)| Frame {
        function: functions
            .get(index)
            .map_or("main", |function| *function)
            .to_owned(),
        file: (*file).to_owned(),
        line: match index {
            0 => line,
            // BASH_LINENO has the line from which the frame before was called.
            _ => lines.get(index - 1).and_then(|line| line.parse().ok()),
        }
        .unwrap_or(0),
    };
    let statuses = statuses.iter();
    ExitTrace {
        stack: frames.map(frame).collect(),
        command: (!command.is_empty()).then(|| command.chars().take(MAX_COMMAND_CHARS).collect()),
        parts: statuses.filter_map(|status| status.parse().ok()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_trace_has_command_and_frames() {
        let trace =
            parse_exit_trace(b"false\x000\x001\0\0f\0main\0\0/t/a.sh\0/t/a.sh\0\x007\x000\0\0");
        assert_eq!(trace.command.as_deref(), Some("false"));
        let shown: Vec<_> = trace.stack.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["f (/t/a.sh)", "main (/t/a.sh:7)"]);
    }

    #[test]
    fn frame_outside_of_functions_is_main() {
        let trace = parse_exit_trace(b"exit 3\x000\x003\0\0\0/t/a.sh\0\x000\0\0");
        assert_eq!(trace.stack.len(), 1);
        assert_eq!(trace.stack[0].to_string(), "main (/t/a.sh)");
        assert_eq!(parse_exit_trace(b"").command, None);
    }

    #[test]
    fn first_exit_trace_counts() {
        let trace = parse_exit_trace(
            b"wc\x004\x001\x000\0\0\0/t/a.sh\0\x000\0\0exit\x000\x001\0\0\0/t/a.sh\0\x000\0\0",
        );
        assert_eq!(trace.command.as_deref(), Some("wc"));
        assert_eq!(trace.parts, [1, 0]);
        assert_eq!(trace.stack.len(), 1);
        assert_eq!(trace.stack[0].to_string(), "main (/t/a.sh:4)");
    }
}
