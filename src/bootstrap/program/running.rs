//! The process of one event: wait for its end, take its response, find out where it was.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use nix::sys::wait::WaitStatus;

use crate::child::{RESPONSE_AFTER, arguments};
use crate::failure::find_line;
use crate::response::Response;
use crate::wait::{Limit, Overrun};
use coshell_handler::Frame;
use coshell_process::Child;

/// In the file of the last words: the host stops the script.
pub(crate) const ASKED: &[u8] = b".";
/// One that runs.
struct Running {
    child: Child,
    response: File,
    event: File,
    /// Where bash tells in which command the script ended.
    words: Option<File>,
}

/// In which command a script ended, and where.
#[derive(Debug, Default)]
struct Words {
    command: Option<String>,
    stack: Vec<Frame>,
    /// The statuses of the parts of the pipeline that it was.
    parts: Vec<i32>,
}

impl Running {
    /// Waits for its end, and takes what it writes if that is more than its pipe holds, or takes
    /// long. What a process that it leaves running writes later is not of the response.
    fn wait(
        &mut self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> std::result::Result<WaitStatus, Overrun> {
        let mut since = Instant::now();
        let (mut alone, mut is_closed) = (!response.is_streamed(), false);
        loop {
            let takes_output = !alone && !is_closed;
            let sources = [
                Some(self.child.ended()),
                takes_output.then(|| self.response.as_fd()),
            ];
            let look = alone.then(|| RESPONSE_AFTER.saturating_sub(since.elapsed()));
            let [has_ended, has_output] = limit.ready(sources, look)?;
            if has_ended && let Some(status) = self.child.status() {
                return Ok(status);
            }
            if has_output {
                // A pipe that is ready and empty has no writer any more.
                is_closed = response.take(&self.response, limit, <[u8]>::len)? == 0;
                since = Instant::now();
            }
            // Let more of it come before it is read, unless it is waited for.
            alone = has_output && !response.is_streamed();
        }
    }

    /// Takes what is in its pipe by now.
    fn take_more(
        &self,
        response: &mut Response,
        limit: &mut Limit,
    ) -> std::result::Result<(), Overrun> {
        response.take(&self.response, limit, <[u8]>::len).map(drop)
    }

    /// Makes a script that is about to be stopped tell where it is.
    fn ask_for_words(&mut self) {
        if let Some(words) = &mut self.words {
            // Without them the answer is less precise.
            let _ = arguments::put(words, &[script::ASKED]);
        }
    }

    fn words(&self) -> Words {
        self.words.as_ref().map(script::words).unwrap_or_default()
    }
}

/// What `script_end.bash` wrote; nothing, if the script has an EXIT trap of its own.
pub(crate) fn words(file: &File) -> Words {
    let mut bytes = vec![0; 16 * 1024];
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    bytes.truncate(length);
    let mut words = words_in(bytes.strip_prefix(ASKED).unwrap_or(&bytes));
    find_line(&mut words.stack, words.command.as_deref());
    words
}

/// `command NUL line NUL [status NUL]... NUL [name NUL]... NUL [file NUL]... NUL [line NUL]... NUL`, the innermost frame
/// first. The first is that of `script_end.bash`; outside of functions bash has no names. What comes after that was told
/// later, when bash knew less.
fn words_in(bytes: &[u8]) -> Words {
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
    Words {
        stack: frames.map(frame).collect(),
        command: (!command.is_empty()).then(|| command.chars().take(1024).collect()),
        parts: statuses.filter_map(|status| status.parse().ok()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_command_and_frames() {
        let words = words_in(
            b"false\x000\x001\0\0source\0f\0main\0\0/end\0/t/a.sh\0/t/a.sh\0\x001\x007\x000\0\0",
        );
        assert_eq!(words.command.as_deref(), Some("false"));
        let shown: Vec<_> = words.stack.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["f (/t/a.sh)", "main (/t/a.sh:7)"]);
    }

    #[test]
    fn words_outside_of_functions_are_of_main() {
        let words = words_in(b"exit 3\x000\x003\0\0\0/end\0/t/a.sh\0\x001\x000\0\0");
        assert_eq!(words.stack.len(), 1);
        assert_eq!(words.stack[0].to_string(), "main (/t/a.sh)");
        assert_eq!(words_in(b"").command, None);
    }

    #[test]
    fn words_that_came_first_count() {
        let words = words_in(
            b"wc\x004\x001\x000\0\0\0/end\0/t/a.sh\0\x001\x000\0\0exit\x000\x001\0\0\0/end\0/t/a.sh\0\x001\x000\0\0",
        );
        assert_eq!(words.command.as_deref(), Some("wc"));
        assert_eq!(words.parts, [1, 0]);
        assert_eq!(words.stack.len(), 1);
        assert_eq!(words.stack[0].to_string(), "main (/t/a.sh:4)");
    }
}
