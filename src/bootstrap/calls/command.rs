//! The functions of the second program, such as `jq`: hands it the caller's descriptors, and says how the call has ended.
//!
//! ```text
//! request: run | command | numbers of the caller's descriptors for 0, 1, 2 | count | NAME=VALUE... | argument...
//! reply:   w 0 NUMBER LF                the descriptor of ours from which the caller reads the end of the call:
//!          d STATUS LF                  everything is written
//!          o STATUS NUMBER LF - LF      the caller prints what is in that file: standard output NUL standard error NUL
//!                                       variable NUL      (the variable that takes the output, or nothing)
//!          e STATUS MESSAGE LF          the call failed
//! ```
//!
//! A command may run for as long as it gets input, so its slot is free for others once the caller has the first line.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::eventfd::EventFd;
use nix::unistd::{Pid, pipe2};

use super::request::Request;
use super::slot::ReplyPipe;
use super::tools::{self, ToolsError};
use crate::log::Escaped;
use crate::wait::wait_readable_all;
use coshell_process::{memory_file, sys};

/// How often to look whether the caller has read its status.
const UNREAD_PERIOD: Duration = Duration::from_millis(1);
/// bash's status of a command that is not there.
const NOT_FOUND: i32 = 127;

/// Answers a call of a command, and returns when the caller knows how it has ended, or is gone.
pub(super) fn answer(request: &Request, reply: &ReplyPipe, wake: &EventFd) {
    let command = request.arguments.get(1).map(Vec::as_slice);
    let command = command
        .and_then(|name| str::from_utf8(name).ok())
        .unwrap_or_default();
    // What the programs end with after an error.
    let failed = match command {
        "jq" => 5,
        "aws" | "aws-request" => 255,
        _ => 1,
    };
    let opened = || -> io::Result<_> {
        let caller = sys::open_pidfd(Pid::from_raw(request.pid))?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        Ok((caller, reader, writer))
    };
    let (caller, reader, writer) = match opened() {
        Ok(opened) => opened,
        Err(error) => {
            let line = error_line(failed, &format!("cannot run {command}: {error}"));
            return reply.write_short(line.as_bytes());
        }
    };
    reply.write_short(format!("w 0 {}\n", reader.as_raw_fd()).as_bytes());
    // The server looks when this reply has been read.
    let _ = wake.write(1);
    let mut file = None;
    let line = match run(request, command, &caller) {
        Ok(fields) => end_line(&fields, failed, &mut file),
        Err(ToolsError::CallerGone) => return,
        Err(ToolsError::Start(cause)) => error_line(NOT_FOUND, &cause),
        Err(ToolsError::Ended(cause)) => error_line(failed, &format!("cannot finish: {cause}")),
    };
    // If this fails nobody has the pipe.
    let _ = File::from(writer).write_all(line.as_bytes());
    while sys::bytes_ready(&reader) > 0 {
        if wait_readable_all(&[caller.as_fd()], Some(UNREAD_PERIOD)) == [true] {
            break;
        }
    }
}

fn error_line(status: i32, cause: &str) -> String {
    format!("e {status} {}\n", Escaped(&cause))
}

/// The line for a reply of the second program; what the caller has to print goes into `file`.
fn end_line(fields: &[Vec<u8>], failed: i32, file: &mut Option<File>) -> String {
    let [status, output, errors, variable] = fields else {
        return error_line(failed, "coshell-tools sent no status");
    };
    let status = String::from_utf8_lossy(status);
    if output.is_empty() && errors.is_empty() && variable.is_empty() {
        return format!("d {status}\n");
    }
    let write = || -> io::Result<File> {
        let mut file = memory_file(c"output")?;
        for text in [output, errors, variable] {
            // A variable of bash holds no NUL.
            let text: Vec<u8> = text.iter().copied().filter(|byte| *byte != 0).collect();
            file.write_all(&text)?;
            file.write_all(b"\0")?;
        }
        Ok(file)
    };
    match write() {
        Ok(written) => {
            let number = file.insert(written).as_raw_fd();
            format!("o {status} {number}\n-\n")
        }
        Err(error) => error_line(failed, &format!("cannot keep the output: {error}")),
    }
}

fn run(request: &Request, command: &str, caller: &OwnedFd) -> Result<Vec<Vec<u8>>, ToolsError> {
    let incomplete = || ToolsError::Ended("the call is not complete".to_owned());
    let (numbers, rest) = request
        .arguments
        .get(2..)
        .and_then(|rest| rest.split_at_checked(3))
        .ok_or_else(incomplete)?;
    let pid = request.pid.to_string();
    let mut present = String::new();
    let mut descriptors = Vec::new();
    for (number, digit) in numbers.iter().zip(["0", "1", "2"]) {
        let number = str::from_utf8(number)
            .ok()
            .and_then(|text| text.parse().ok());
        let copy = number.and_then(|number| {
            let copied = sys::copy_descriptor(caller.as_fd(), number).ok();
            copied.or_else(|| open_through_proc(request.pid, number, digit != "0"))
        });
        if let Some(copy) = copy {
            present.push_str(digit);
            descriptors.push(copy);
        }
    }
    let mut fields: Vec<&[u8]> = vec![
        b"run",
        command.as_bytes(),
        pid.as_bytes(),
        present.as_bytes(),
    ];
    fields.extend(rest.iter().map(Vec::as_slice));
    let descriptors: Vec<BorrowedFd> = descriptors.iter().map(AsFd::as_fd).collect();
    tools::call(caller, &fields, &descriptors)
}

/// Opens the file of a descriptor of the caller anew, where the kernel lets us take none. Output for a file that others write
/// behind it goes through the caller: our offset would not be theirs.
fn open_through_proc(pid: i32, number: i32, writes: bool) -> Option<OwnedFd> {
    let path = format!("/proc/{pid}/fd/{number}");
    let kind = fs::metadata(&path).ok()?.file_type();
    let about = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
    let field = |name| about.lines().find_map(|line| line.strip_prefix(name));
    let flags = i32::from_str_radix(field("flags:")?.trim(), 8).ok()?;
    let appends = OFlag::from_bits_truncate(flags).contains(OFlag::O_APPEND);
    if writes {
        let is_shared = kind.is_file() && !appends;
        let file = (!is_shared).then(|| File::options().append(appends).write(true).open(&path));
        return file?.ok().map(OwnedFd::from);
    }
    let mut file = File::open(&path).ok()?;
    if kind.is_file() {
        let offset = field("pos:")?.trim().parse().ok()?;
        file.seek(SeekFrom::Start(offset)).ok()?;
    } else if kind.is_socket() {
        return None;
    }
    Some(OwnedFd::from(file))
}
