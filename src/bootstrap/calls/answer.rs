//! Answers one request: asks `coshell-calls`, and writes the reply. `reply_text.rs` and `shell_reply.rs` have its form.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Mutex;

use super::caller::CallingProcess;
use super::late_reply::LateReply;
use super::reply_text::{error_text, long_text, short_text};
use super::request::{Input, Request};
use super::shell_reply::ShellReply;
use super::slot::ReplyPipe;
use super::{Current, command, lock, tools};
use nix::sys::eventfd::EventFd;

use crate::response::OwnError;
use coshell_calls::{
    Answer, Call, CallError, Caller, Pending, RecordOptions, Reply, Variable, check_name, needs_jq,
};
use coshell_driver::names;
use coshell_process::{memory_file, sys};

/// True if the call may read what another process writes, or a file, which may be a pipe, or runs a filter.
pub(crate) fn may_take_long(request: &Request) -> bool {
    let Some((function, arguments)) = request.arguments.split_first() else {
        return false;
    };
    let reads_file = |argument: &Vec<u8>| {
        let has = |mark: &[u8]| memchr::memmem::find(argument, mark).is_some();
        argument.starts_with(b"--file") || has(b"@=") || has(b"@:=")
    };
    matches!(&function[..], b"encode" | b"decode" | b"hash" | b"run")
        || arguments.iter().any(reads_file)
        || function == b"get" && arguments.iter().any(|argument| needs_jq(argument))
}

/// Answers a call at once.
pub(crate) fn reply_to(request: Request, current: &Mutex<Current>, reply: &ReplyPipe) {
    let written = match reply_text(find_reply(request, current)) {
        ReplyText::Short(text) => {
            reply.write_short(&text);
            Ok(())
        }
        ReplyText::Long { line, fields } => reply.write_long(&line, &fields),
    };
    if let Err(error) = written {
        refuse(reply, &cannot_write(&error));
    }
}

/// Answers a call that may take long, and returns when the caller has the reply, or is gone.
pub(crate) fn reply_late(
    request: Request,
    current: &Mutex<Current>,
    reply: &ReplyPipe,
    wake: &EventFd,
) {
    if command::is_run(&request) {
        return command::answer(&request, reply, wake);
    }
    let opened = || Ok((LateReply::open(request.pid)?, memory_file(c"reply")?));
    let (late, mut file) = match opened() {
        Ok(opened) => opened,
        Err(error) => return refuse(reply, &cannot_write(&error)),
    };
    let number = file.as_raw_fd();
    reply.write_short(format!("w {} {number}\n", late.number()).as_bytes());
    // The server looks when this reply has been read.
    let _ = wake.write(1);
    late.send(&match reply_text(find_reply(request, current)) {
        ReplyText::Short(text) => text,
        ReplyText::Long { line, fields } => match file.write_all(&fields) {
            Ok(()) => line,
            Err(error) => error_text(1, &cannot_write(&error)),
        },
    });
}

fn cannot_write(error: &io::Error) -> String {
    format!("cannot write the reply: {error}")
}

enum ReplyText {
    Short(Vec<u8>),
    /// A line, and what goes into the file.
    Long {
        line: Vec<u8>,
        fields: Vec<u8>,
    },
}

fn reply_text(found: Result<Reply, CallError>) -> ReplyText {
    match found {
        Ok(answer) => match short_text(&answer) {
            Some(text) => ReplyText::Short(text),
            None => ReplyText::Long {
                line: format!("f {}\n\n", answer.status).into_bytes(),
                fields: long_text(&answer),
            },
        },
        Err(error) => ReplyText::Short(error_text(error.status, &error.message)),
    }
}

/// Lets the call fail for a reason that is ours.
pub(crate) fn refuse(reply: &ReplyPipe, cause: &str) {
    reply.write_short(&error_text(1, cause));
}

/// The reply to a call of the shell itself, which must not be long in coming.
pub(crate) fn reply_to_shell(request: Request, current: &Mutex<Current>) -> ShellReply {
    if may_take_long(&request) {
        return ShellReply::take_ticket();
    }
    ShellReply::of(&find_reply(request, current))
}

fn failure(status: i32, message: impl Into<String>) -> CallError {
    CallError {
        status,
        message: message.into(),
    }
}

fn find_reply(request: Request, current: &Mutex<Current>) -> Result<Reply, CallError> {
    let Some((function, arguments)) = request.arguments.split_first() else {
        return Err(failure(2, "the arguments are larger than 64 MiB"));
    };
    let (input, record) = match request.input {
        Input::None => (None, None),
        Input::Variable(value) => (Some(value), None),
        Input::Event(record) => (None, Some(record)),
    };
    let caller = CallingProcess::new(request.pid, request.request_id.clone(), current, record);
    let mut reply = match &function[..] {
        b"tempdir" => make_folder(arguments, &request.request_id, current)?,
        b"records" => find_records(arguments, &request.request_id, &caller, current)?,
        b"error" => keep_error(arguments, &request.request_id, current)?,
        b"failures" => list_failures(arguments),
        function => {
            let call = Call {
                function: str::from_utf8(function).unwrap_or_default(),
                arguments: arguments.iter().map(Vec::as_slice).collect(),
                input: input.as_deref(),
            };
            match coshell_calls::answer(&call, &caller)? {
                Answer::Reply(reply) => reply,
                Answer::NeedsJq(pending) => run_filters(pending, &caller, request.pid)?,
            }
        }
    };
    for (name, variable) in &mut reply.assignments {
        if let Variable::File(bytes) = variable {
            let path = write_file(bytes, &request.request_id, current).map_err(|error| {
                failure(1, format!("cannot write the file for {name}: {error}"))
            })?;
            *variable = Variable::Text(path.into_os_string().into_encoded_bytes());
        }
        variable.check(name)?;
    }
    Ok(reply)
}

/// `lambda_error` of a whole script: type, message and frames.
fn keep_error(
    arguments: &[Vec<u8>],
    request_id: &[u8],
    current: &Mutex<Current>,
) -> Result<Reply, CallError> {
    let texts = arguments.iter();
    let texts: Vec<_> = texts
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect();
    let mut current = lock(current);
    if current.request_id.as_bytes() != request_id {
        return Err(failure(2, "there is no invocation"));
    }
    current.error = OwnError::from_arguments(&texts);
    Ok(Reply::default())
}

/// Filters that are more than paths, for `lambda_get`.
fn run_filters(pending: Pending, caller: &CallingProcess, pid: i32) -> Result<Reply, CallError> {
    let document = match &pending.document {
        Some(document) => document,
        None => caller
            .event()
            .map_err(|cause| failure(1, cause))?
            .text()
            .as_bytes(),
    };
    let values = tools::values_of(&pending, document, pid);
    pending.finish(&values.map_err(|cause| failure(1, cause))?)
}

/// `lambda_tempdir VAR`
fn make_folder(
    arguments: &[Vec<u8>],
    request_id: &[u8],
    current: &Mutex<Current>,
) -> Result<Reply, CallError> {
    let [name] = arguments else {
        return Err(failure(2, "expected the name of one variable"));
    };
    let name = check_name(name)?.to_owned();
    let path = new_folder(request_id, current)
        .map_err(|error| failure(1, format!("cannot make a folder in /tmp: {error}")))?;
    let path = path.into_os_string().into_encoded_bytes();
    Ok(Reply {
        assignments: vec![(name, Variable::Text(path))],
        ..Reply::default()
    })
}

/// A folder that is removed at the end of the invocation that asks.
///
/// # Errors
/// That has ended, or the system's.
fn new_folder(request_id: &[u8], current: &Mutex<Current>) -> io::Result<PathBuf> {
    let mut current = lock(current);
    if current.request_id.as_bytes() != request_id {
        return Err(io::Error::other("there is no invocation"));
    }
    let mut random = [0; 8];
    sys::fill_random(&mut random)?;
    let path = PathBuf::from(format!("/tmp/coshell-{:016x}", u64::from_ne_bytes(random)));
    DirBuilder::new().mode(0o700).create(&path)?;
    current.folders.push(path.clone());
    Ok(path)
}

fn write_file(bytes: &[u8], request_id: &[u8], current: &Mutex<Current>) -> io::Result<PathBuf> {
    let path = new_folder(request_id, current)?.join("body");
    fs::write(&path, bytes)?;
    Ok(path)
}

/// What `lambda_each` needs of an event: source, whether order matters, whether partial failures can be reported, and for each
/// record its JSON or why there is none, and its identifier. Then an empty file, to which the statuses of records go.
fn find_records(
    arguments: &[Vec<u8>],
    request_id: &[u8],
    caller: &CallingProcess,
    current: &Mutex<Current>,
) -> Result<Reply, CallError> {
    let mut options = RecordOptions::default();
    for argument in arguments {
        match &argument[..] {
            b"--unwrap" => options.unwrap = true,
            b"--decode" => options.decode = true,
            other => {
                let other = String::from_utf8_lossy(other);
                return Err(failure(
                    2,
                    format!("cannot use {other}: expected --unwrap or --decode"),
                ));
            }
        }
    }
    let event = caller.event().map_err(|cause| failure(1, cause))?;
    let batch = coshell_calls::records(event, options)?;
    let mut events = Vec::new();
    let mut faults = Vec::new();
    let mut identifiers = Vec::new();
    for record in batch.records {
        match record.event {
            Ok(event) => {
                events.push(event.into_bytes());
                faults.push(Vec::new());
            }
            Err(fault) => {
                events.push(Vec::new());
                faults.push(fault.into_bytes());
            }
        }
        // Lambda takes an empty identifier for the failure of the whole batch.
        let identifier = record.identifier.unwrap_or_else(|| r#""""#.to_owned());
        identifiers.push(identifier.into_bytes());
    }
    let list = |name: &str, values| (name.to_owned(), Variable::List(values));
    let flags = [
        batch.source.is_ordered().then_some("ordered"),
        batch.source.takes_batch_failures().then_some("partial"),
    ];
    let flags = flags.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let progress = write_file(b"", request_id, current)
        .map_err(|error| failure(1, format!("cannot make a file in /tmp: {error}")))?;
    Ok(Reply {
        assignments: vec![
            list(names::RECORDS, events),
            list(names::FAULTS, faults),
            list(names::IDENTIFIERS, identifiers),
            (names::FLAGS.to_owned(), Variable::Text(flags.into_bytes())),
            (
                names::PROGRESS.to_owned(),
                Variable::Text(progress.into_os_string().into_encoded_bytes()),
            ),
        ],
        ..Reply::default()
    })
}

/// The answer of `lambda_each`.
fn list_failures(identifiers: &[Vec<u8>]) -> Reply {
    let identifiers = identifiers
        .iter()
        .filter_map(|text| str::from_utf8(text).ok());
    Reply {
        output: coshell_calls::batch_failures(identifiers).into_bytes(),
        ..Reply::default()
    }
}
