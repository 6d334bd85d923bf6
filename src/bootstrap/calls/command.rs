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
//! A call of the shell itself comes through [its own slot](super::shell_slot), and takes no thread: [`ShellCommand`].

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use nix::fcntl::OFlag;
use nix::sys::eventfd::EventFd;
use nix::unistd::Pid;

use super::late_reply::LateReply;
use super::request::Request;
use super::shell_reply::{CommandEnd, ShellReply};
use super::slot::ReplyPipe;
use super::tools::{self, RunningCall, ToolsError};
use super::values::{Assignment, Key, Lifetime, Values};
use crate::log::Escaped;
use coshell_process::{memory_file, sys};

/// bash's status of a command that is not there.
const NOT_FOUND: i32 = 127;
const NO_STATUS: &str = "coshell-tools sent no status";

/// Whether a request is a call of a command.
pub(super) fn is_run(request: &Request) -> bool {
    let function = request.arguments.first();
    function.is_some_and(|function| function == b"run")
}

/// What the shell asks before it calls `lambda_secret` or `lambda_parameter`: whether the value is known.
///
/// ```text
/// request: known | command | variables that decide who asks whom | argument...
/// ```
pub(super) fn known_key(request: &mut Request) -> Option<Key> {
    let function = request.arguments.first();
    let is_known = function.is_some_and(|function| function == b"known");
    is_known.then(|| request.arguments.split_off(1))
}

/// Answers a call of a command, and returns when the caller knows how it has ended, or is gone.
pub(super) fn answer(request: &Request, reply: &ReplyPipe, wake: &EventFd) {
    let (command, failed) = name_and_failure(request);
    let late = match LateReply::open(request.pid) {
        Ok(opened) => opened,
        Err(error) => {
            let line = error_line(failed, &format!("cannot run {command}: {error}"));
            return reply.write_short(line.as_bytes());
        }
    };
    reply.write_short(format!("w 0 {}\n", late.number()).as_bytes());
    // The server looks when this reply has been read.
    let _ = wake.write(1);
    let mut file = None;
    let ran = match Handover::of(request, command, &late.caller) {
        Some(handover) => tools::call(&late.caller, &handover.fields(), &handover.descriptors()),
        None => Err(ToolsError::Ended("the call is not complete".to_owned())),
    };
    let line = match ran {
        Ok(fields) => end_line(fields, failed, &mut file),
        Err(ToolsError::CallerGone) => return,
        Err(ToolsError::Start(cause)) => error_line(NOT_FOUND, &cause),
        Err(ToolsError::Ended(cause)) => error_line(failed, &cannot_finish(&cause)),
    };
    late.send(line.as_bytes());
}

/// The command of a request, and what it ends with after an error of ours, as the program of that name does.
fn name_and_failure(request: &Request) -> (&str, i32) {
    let command = request.arguments.get(1).map(Vec::as_slice);
    let command = command
        .and_then(|name| str::from_utf8(name).ok())
        .unwrap_or_default();
    let failed = match command {
        "jq" => 5,
        "aws" | "aws-request" => 255,
        _ => 1,
    };
    (command, failed)
}

fn cannot_finish(cause: &str) -> String {
    format!("cannot finish: {cause}")
}

/// A call of the shell itself that the second program is working on. Either [`reply`](Self::reply) or
/// [`cancel`](Self::cancel) has to follow.
pub(super) struct ShellCommand {
    /// The process that waits: the shell, or its subshell of `lambda_each`.
    caller: OwnedFd,
    running: RunningCall,
    failed: i32,
    /// By what the value is known later, if the call finds one.
    key: Option<Key>,
}

impl ShellCommand {
    /// Hands a call over; `None` if no process of the second program is free. To start one takes longer than others may wait
    /// for this thread.
    pub(super) fn start(request: &Request, key: Option<Key>) -> Option<Self> {
        let (command, failed) = name_and_failure(request);
        let caller = sys::open_pidfd(Pid::from_raw(request.pid)).ok()?;
        let handover = Handover::of(request, command, &caller)?;
        let running = tools::start_call(&handover.fields(), &handover.descriptors())?;
        Some(Self {
            caller,
            running,
            failed,
            key,
        })
    }

    /// What becomes readable when the second program has answered, and when the caller is gone.
    pub(super) fn sources(&self) -> [BorrowedFd<'_>; 2] {
        [self.running.socket(), self.caller.as_fd()]
    }

    /// Ends the call, because nobody waits for it.
    pub(super) fn cancel(self) {
        self.running.cancel();
    }

    /// The reply, once the second program has answered or has ended.
    pub(super) fn reply(self) -> ShellReply {
        match self.running.finish() {
            Ok(fields) => match command_end(fields) {
                Some(end) => {
                    if let (Some(key), Some(lifetime)) = (self.key, &end.lifetime) {
                        let assignment = Assignment {
                            variable: end.variable.clone(),
                            value: end.output.clone(),
                        };
                        Values::lock().insert(key, assignment, lifetime.clone());
                    }
                    ShellReply::of_command(end)
                }
                None => ShellReply::of_error(self.failed, NO_STATUS),
            },
            Err(ToolsError::Ended(cause)) => {
                ShellReply::of_error(self.failed, &cannot_finish(&cause))
            }
            // It has not begun with this call.
            Err(_) => ShellReply::take_ticket_for_command(),
        }
    }
}

fn error_line(status: i32, cause: &str) -> String {
    format!("e {status} {}\n", Escaped(&cause))
}

/// The second program's reply. A variable of bash holds no NUL, so these are left out.
fn command_end(fields: Vec<Vec<u8>>) -> Option<CommandEnd> {
    let [status, mut output, mut errors, variable, lifetime] = <[_; 5]>::try_from(fields).ok()?;
    let lifetime = Lifetime::parse(&lifetime);
    if let Some(lifetime) = &lifetime {
        Values::lock().forget_replaced(lifetime);
    }
    for text in [&mut output, &mut errors] {
        text.retain(|byte| *byte != 0);
    }
    Some(CommandEnd {
        status: str::from_utf8(&status).ok()?.parse().ok()?,
        output,
        errors,
        variable: String::from_utf8(variable).ok()?,
        lifetime,
    })
}

/// The line for a reply of the second program; what the caller has to print goes into `file`.
fn end_line(fields: Vec<Vec<u8>>, failed: i32, file: &mut Option<File>) -> String {
    let Some(end) = command_end(fields) else {
        return error_line(failed, NO_STATUS);
    };
    let status = end.status;
    if end.output.is_empty() && end.errors.is_empty() && end.variable.is_empty() {
        return format!("d {status}\n");
    }
    let write = || -> io::Result<File> {
        let mut file = memory_file(c"output")?;
        for text in [&end.output[..], &end.errors, end.variable.as_bytes()] {
            file.write_all(text)?;
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

/// What the second program gets of a call.
struct Handover<'a> {
    command: &'a str,
    pid: String,
    /// The digits of the descriptors that follow.
    present: String,
    descriptors: Vec<OwnedFd>,
    /// Count and variables, and then the arguments.
    rest: &'a [Vec<u8>],
}

impl<'a> Handover<'a> {
    /// Copies the caller's descriptors. `None` if the request is not complete.
    fn of(request: &'a Request, command: &'a str, caller: &OwnedFd) -> Option<Self> {
        let rest = request.arguments.get(2..)?;
        let (numbers, rest) = rest.split_at_checked(3)?;
        let mut handover = Self {
            command,
            pid: request.pid.to_string(),
            present: String::new(),
            descriptors: Vec::new(),
            rest,
        };
        for (number, digit) in numbers.iter().zip(["0", "1", "2"]) {
            let number = str::from_utf8(number)
                .ok()
                .and_then(|text| text.parse().ok());
            let copy = number.and_then(|number| {
                let copied = sys::copy_descriptor(caller.as_fd(), number).ok();
                copied.or_else(|| open_through_proc(request.pid, number, digit != "0"))
            });
            if let Some(copy) = copy {
                handover.present.push_str(digit);
                handover.descriptors.push(copy);
            }
        }
        Some(handover)
    }

    fn fields(&self) -> Vec<&[u8]> {
        let (pid, present) = (self.pid.as_bytes(), self.present.as_bytes());
        let mut fields: Vec<&[u8]> = vec![b"run", self.command.as_bytes(), pid, present];
        fields.extend(self.rest.iter().map(Vec::as_slice));
        fields
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.descriptors.iter().map(AsFd::as_fd).collect()
    }
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
