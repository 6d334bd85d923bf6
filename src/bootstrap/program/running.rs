//! The process of one event: wait for its end, take its response, find out where it was.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use nix::sys::wait::WaitStatus;

use crate::child::{RESPONSE_READ_DELAY, arguments};
use crate::failure::fill_in_line;
use crate::response::Response;
use crate::wait::{Limit, Overrun};
use coshell_handler::Frame;
use coshell_process::Child;

/// Tells the script's traps, in the file of its exit trace, that the host stops it.
const STOPPED_BY_HOST: &[u8] = b".";
/// The process of one event.
pub(crate) struct EventProcess {
    pub child: Child,
    pub response: File,
    pub event: File,
    /// The file in which bash writes where the script ended; `None` for an executable.
    pub exit_trace: Option<File>,
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
    /// Waits for its end. Takes the response meanwhile if that is more than the pipe holds, or takes long. What a process
    /// that it leaves running writes later is not part of the response.
    pub(crate) fn wait(
        &mut self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> std::result::Result<WaitStatus, Overrun> {
        let mut output_started = Instant::now();
        let (mut control_only, mut is_closed) = (!response.is_streamed(), false);
        loop {
            let takes_output = !control_only && !is_closed;
            let sources = [
                Some(self.child.ended()),
                takes_output.then(|| self.response.as_fd()),
            ];
            let poll_timeout =
                control_only.then(|| RESPONSE_READ_DELAY.saturating_sub(output_started.elapsed()));
            let [has_ended, has_output] = limit.wait_readable(sources, poll_timeout)?;
            if has_ended && let Some(status) = self.child.status() {
                return Ok(status);
            }
            if has_output {
                // A pipe that is ready and empty has no writer any more.
                is_closed = response.read_from(&self.response, limit, <[u8]>::len)? == 0;
                output_started = Instant::now();
            }
            // Let more of it come before it is read, unless it is waited for.
            control_only = has_output && !response.is_streamed();
        }
    }

    /// Takes what is in the response's pipe now.
    pub(crate) fn take_more(
        &self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> std::result::Result<(), Overrun> {
        response
            .read_from(&self.response, limit, <[u8]>::len)
            .map(drop)
    }

    /// Makes a script that is about to be stopped write where it is.
    pub(crate) fn request_exit_trace(&mut self) {
        if let Some(file) = &mut self.exit_trace {
            // If this fails the answer is less precise.
            let _ = arguments::write_at_start(file, &[STOPPED_BY_HOST]);
        }
    }

    pub(crate) fn exit_trace(&self) -> ExitTrace {
        let trace = self.exit_trace.as_ref().map(read_exit_trace);
        trace.unwrap_or_default()
    }
}

/// Reads what `script_end.bash` wrote. That is nothing if the script has an EXIT trap of its own.
fn read_exit_trace(file: &File) -> ExitTrace {
    let mut bytes = vec![0; 16 * 1024];
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    bytes.truncate(length);
    let mut trace = parse_exit_trace(bytes.strip_prefix(STOPPED_BY_HOST).unwrap_or(&bytes));
    fill_in_line(&mut trace.stack, trace.command.as_deref());
    trace
}

/// Parses `command NUL line NUL [status NUL]... NUL [name NUL]... NUL [file NUL]... NUL [line NUL]... NUL`, the innermost
/// frame first. The first frame is that of `script_end.bash`; outside of functions bash has no names. A script may write
/// twice: only the first time counts, since bash knows less later.
fn parse_exit_trace(bytes: &[u8]) -> ExitTrace {
    let text = String::from_utf8_lossy(bytes);
    let mut fields = text.split('\0');
    let command = fields.next().unwrap_or_default().to_owned();
    let line = fields.next().and_then(|line| line.parse().ok());
    let mut list = || -> Vec<&str> {
        let list = fields.by_ref().take_while(|field| !field.is_empty());
        list.collect()
    };
    let (statuses, names, files, lines) = (list(), list(), list(), list());
    let frames = files.iter().enumerate().skip(1);
    let frame = |(at, file): (usize, &&str)| Frame {
        function: names.get(at).map_or("main", |name| *name).to_owned(),
        file: (*file).to_owned(),
        line: match at {
            1 => line.unwrap_or(0),
            // Where the frame before was called.
            _ => lines
                .get(at - 1)
                .and_then(|line| line.parse().ok())
                .unwrap_or(0),
        },
    };
    let statuses = statuses.iter();
    ExitTrace {
        stack: frames.map(frame).collect(),
        command: (!command.is_empty()).then(|| command.chars().take(1024).collect()),
        parts: statuses.filter_map(|status| status.parse().ok()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_trace_has_command_and_frames() {
        let trace = parse_exit_trace(
            b"false\x000\x001\0\0source\0f\0main\0\0/end\0/t/a.sh\0/t/a.sh\0\x001\x007\x000\0\0",
        );
        assert_eq!(trace.command.as_deref(), Some("false"));
        let shown: Vec<_> = trace.stack.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["f (/t/a.sh)", "main (/t/a.sh:7)"]);
    }

    #[test]
    fn frame_outside_of_functions_is_main() {
        let trace = parse_exit_trace(b"exit 3\x000\x003\0\0\0/end\0/t/a.sh\0\x001\x000\0\0");
        assert_eq!(trace.stack.len(), 1);
        assert_eq!(trace.stack[0].to_string(), "main (/t/a.sh)");
        assert_eq!(parse_exit_trace(b"").command, None);
    }

    #[test]
    fn first_exit_trace_counts() {
        let trace = parse_exit_trace(
            b"wc\x004\x001\x000\0\0\0/end\0/t/a.sh\0\x001\x000\0\0exit\x000\x001\0\0\0/end\0/t/a.sh\0\x001\x000\0\0",
        );
        assert_eq!(trace.command.as_deref(), Some("wc"));
        assert_eq!(trace.parts, [1, 0]);
        assert_eq!(trace.stack.len(), 1);
        assert_eq!(trace.stack[0].to_string(), "main (/t/a.sh:4)");
    }
}
