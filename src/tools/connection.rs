//! The connection to `bootstrap`, and the limits under which calls run.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::unistd::getpid;

use crate::call::Call;
use crate::commands::Commands;
use crate::jq;
use coshell_process::{Message, sys};

/// The socket, as `bootstrap` hands it on.
const SOCKET: i32 = 3;
/// For filters and documents that nest deeply; only what is used of it is memory.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// The number of the resource `RLIMIT_AS`; `getrlimit(2)`.
const ADDRESS_SPACE: usize = 9;
/// A process that has used more than this ends after its call, to give the memory back.
const MAX_KEPT_KIB: i64 = 64 * 1024;

pub(crate) fn serve() -> Result<(), String> {
    let socket = sys::duplicate(SOCKET).map_err(|error| {
        format!("cannot use descriptor {SOCKET}: {error}; bootstrap starts this program")
    })?;
    // If bootstrap is gone already, the socket says so.
    let _ = set_pdeathsig(Signal::SIGKILL);
    let _ = std::env::set_current_dir("/");
    // Where memory runs out, this process is the one that can be spared.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let megabytes = std::env::args().find_map(|argument| {
        let megabytes = argument.strip_prefix("--memory=")?.parse::<u64>();
        megabytes.ok()
    });
    let memory = megabytes.map(|megabytes| megabytes * 1024 * 1024);
    thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || {
            if let Some(memory) = memory {
                limit_memory(memory);
            }
            answer_all(&socket);
        })
        .map_err(|error| format!("cannot start a thread: {error}"))?
        .join()
        .map_err(|_| "a call has panicked".to_owned())
}

/// Allows `memory` bytes more than this process has now.
fn limit_memory(memory: u64) {
    let present = fs::read_to_string("/proc/self/statm").ok();
    let pages = present.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let limit = pages.unwrap_or_default() * 4096 + memory;
    let _ = sys::set_limit(getpid(), ADDRESS_SPACE, (limit, limit));
}

fn answer_all(socket: &OwnedFd) {
    let socket = socket.as_fd();
    let mut commands = Commands::default();
    while let Ok(Some(message)) = Message::receive(socket) {
        let is_sent = match message.fields.first().map(Vec::as_slice) {
            Some(b"filters") => answer_filters(socket, &message, &mut commands),
            Some(b"run") => answer_command(socket, message, &mut commands),
            _ => Message::send(socket, &[b"error", b"there is no such call"], &[]).is_ok(),
        };
        let usage = getrusage(UsageWho::RUSAGE_SELF);
        let has_grown = usage.is_ok_and(|usage| usage.max_rss() > MAX_KEPT_KIB);
        if !is_sent || has_grown {
            return;
        }
    }
}

fn number(field: &[u8]) -> Option<usize> {
    str::from_utf8(field).ok()?.parse().ok()
}

fn answer_filters(socket: BorrowedFd, message: &Message, commands: &mut Commands) -> bool {
    let rest = message.fields.get(1..).unwrap_or_default();
    let mut answer = || {
        let (count, rest) = rest.split_first()?;
        let (filters, rest) = rest.split_at_checked(number(count)?)?;
        Some(jq::values_of(filters, rest.first()?, commands.filters()))
    };
    let sent = match answer().unwrap_or_else(|| Err("the call is not complete".to_owned())) {
        Ok(lists) => {
            let counts: Vec<_> = lists.iter().map(|list| list.len().to_string()).collect();
            let mut fields: Vec<&[u8]> = vec![b"ok"];
            for (list, count) in lists.iter().zip(&counts) {
                fields.push(count.as_bytes());
                fields.extend(list.iter().map(Vec::as_slice));
            }
            Message::send(socket, &fields, &[])
        }
        Err(cause) => Message::send(socket, &[b"error", cause.as_bytes()], &[]),
    };
    sent.is_ok()
}

fn answer_command(socket: BorrowedFd, message: Message, commands: &mut Commands) -> bool {
    let refuse =
        |cause: &str| Message::send(socket, &[b"2", b"", cause.as_bytes(), b"", b""], &[]).is_ok();
    let name = message.fields.get(1).cloned().unwrap_or_default();
    let Some(call) = Call::from(message) else {
        return refuse("the call is not complete");
    };
    if name != b"jq" {
        call.place.take_umask();
    }
    let Some(end) = commands.run(&name, call) else {
        return refuse("there is no such command");
    };
    let status = end.status.to_string();
    let fields = [
        status.as_bytes(),
        &end.output,
        &end.errors,
        end.variable.as_bytes(),
        end.lifetime.as_bytes(),
    ];
    Message::send(socket, &fields, &[]).is_ok()
}
