//! Log records as frames, on the descriptor that the platform names in `_LAMBDA_TELEMETRY_LOG_FD`.
//!
//! ```text
//! 4 bytes  0xa55a0003 for text, 0xa55a0002 for JSON; plus the level: 0x04 trace, 0x08 debug, ... 0x18 fatal
//! 4        length of the record in bytes
//! 8        microseconds since the epoch
//!          the record
//! ```
//! Numbers are big-endian. Unlike a line on stderr, a frame can hold several lines. AWS does not document the format; its
//! runtime for Python writes it.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Level;
use coshell_process::sys;

const TEXT: u32 = 0xa55a_0003;
const JSON: u32 = 0xa55a_0002;

/// The descriptor that frames are written to. It stays open for the life of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frames(&'static Mutex<File>);

impl Frames {
    /// Opens the descriptor that `number` names, if it is above 2 and open for writing. Our copy is closed on exec.
    pub(crate) fn open(number: &str) -> Option<Self> {
        let number = number.parse().ok().filter(|number| *number > 2)?;
        let file = File::from(sys::duplicate(number).ok()?);
        let flags = fcntl(&file, FcntlArg::F_GETFL).ok()?;
        let is_read_only = flags & OFlag::O_ACCMODE.bits() == OFlag::O_RDONLY.bits();
        (!is_read_only).then(|| Self(Box::leak(Box::new(Mutex::new(file)))))
    }

    /// Writes whole frames; other threads wait until they are written. Blocks while the pipe is full. If nobody reads it any
    /// more the frames are lost, as lines on a closed stderr are.
    pub(crate) fn write_all(self, mut frames: &[u8]) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !frames.is_empty() {
            match file.write(frames) {
                Ok(count) if count > 0 => frames = &frames[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The descriptor may be nonblocking. Half a frame would make all later ones unreadable, so wait.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let _ = poll(
                        &mut [PollFd::new(file.as_fd(), PollFlags::POLLOUT)],
                        PollTimeout::NONE,
                    );
                }
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Adds a frame with `record` to `frames`.
pub(crate) fn push_frame(frames: &mut Vec<u8>, is_json: bool, level: Level, record: &[u8]) {
    let kind = if is_json { JSON } else { TEXT } | (level as u32 + 1) << 2;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = u64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(u64::MAX);
    let record = &record[..record.len().min(u32::MAX as usize)];
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    frames.extend_from_slice(&kind.to_be_bytes());
    frames.extend_from_slice(&length.to_be_bytes());
    frames.extend_from_slice(&now.to_be_bytes());
    frames.extend_from_slice(record);
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::os::fd::AsRawFd;
    use std::thread;

    use super::*;

    /// Each frame is larger than the capacity of the pipe, which is nearly always full.
    #[test]
    fn frames_of_several_threads_are_whole() -> io::Result<()> {
        const LEN: usize = 100_000;
        let (mut ours, theirs) = io::pipe()?;
        let frames = Frames::open(&theirs.as_raw_fd().to_string()).ok_or(ErrorKind::Other)?;
        let writers = b"abcd".map(|letter| {
            thread::spawn(move || {
                let mut two = Vec::new();
                push_frame(&mut two, false, Level::Info, &vec![letter; LEN]);
                push_frame(&mut two, false, Level::Info, &vec![letter; LEN]);
                (0..10).for_each(|_| frames.write_all(&two));
            })
        });
        let mut frame = vec![0; 16 + LEN];
        for _ in 0..80 {
            ours.read_exact(&mut frame)?;
            assert_eq!(frame[..4], [0xa5, 0x5a, 0x00, 0x0f]);
            let letter = frame[16];
            assert!(frame[16..].iter().all(|byte| *byte == letter));
        }
        assert!(writers.into_iter().all(|writer| writer.join().is_ok()));
        Ok(())
    }

    #[test]
    fn frame_has_type_length_time_and_record() {
        for (is_json, level, kind) in [
            (false, Level::Trace, 0xa55a_0007_u32),
            (false, Level::Debug, 0xa55a_000b),
            (false, Level::Info, 0xa55a_000f),
            (true, Level::Warn, 0xa55a_0012),
            (true, Level::Error, 0xa55a_0016),
            (true, Level::Fatal, 0xa55a_001a),
        ] {
            let mut frames = b"before".to_vec();
            push_frame(&mut frames, is_json, level, b"two\nlines");
            let (head, record) = frames[6..].split_at(16);
            assert_eq!(head[..4], kind.to_be_bytes());
            assert_eq!(head[4..8], [0, 0, 0, 9]);
            // Between 2020 and 2100.
            let time = u64::from_be_bytes(head[8..].try_into().unwrap_or_default());
            assert!((1_577_836_800_000_000..4_102_444_800_000_000).contains(&time));
            assert_eq!(record, b"two\nlines");
        }
    }

    #[test]
    fn descriptor_has_to_be_open_for_writing_and_above_2() {
        for number in [
            "",
            "x",
            "-1",
            "0",
            "1",
            "2",
            "1000000",
            "99999999999999999999",
        ] {
            assert!(Frames::open(number).is_none(), "{number}");
        }
        for can_write in [false, true] {
            let mut options = File::options();
            let options = options.read(!can_write).write(can_write);
            let file = options.open("/dev/null").map(|file| {
                let number = file.as_raw_fd().to_string();
                Frames::open(&number).is_some()
            });
            assert!(file.is_ok_and(|is_open| is_open == can_write));
        }
    }
}
