//! The second program, `coshell-tools`: what is too large for this one, such as jq.
//!
//! It is started at the first call that needs it, and kept. A process of it answers one call at a time, so calls at the same
//! time have one each; a call that runs away or crashes costs that call alone. The processes are ours and no handler's: they
//! are registered, have a process group of their own, and inherit nothing but a socket.
//! `src/tools/lib.rs` describes the messages.

mod find;
mod pool;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::unistd::Pid;

use crate::wait::wait_readable_all;
use coshell_calls::Pending;
use coshell_process::{Message, sys};
use pool::{Pool, Worker};

pub(crate) use find::{is_installed, set_own_argument};

/// Why the second program has no answer.
#[derive(Debug)]
pub(crate) enum ToolsError {
    /// It is not installed, or cannot be started.
    Start(String),
    /// It ended in the middle of the call.
    Ended(String),
    /// The process that called is gone.
    CallerGone,
}

impl ToolsError {
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Start(cause) | Self::Ended(cause) => cause,
            Self::CallerGone => "the caller is gone",
        }
    }
}

/// A call that a process of the second program has. Either [`finish`](Self::finish) or [`cancel`](Self::cancel) has to follow.
#[derive(Debug)]
pub(crate) struct RunningCall {
    worker: Worker,
}

/// Sends a call to a process that has none; `None` if there is no such process.
pub(crate) fn start_call(fields: &[&[u8]], descriptors: &[BorrowedFd]) -> Option<RunningCall> {
    let worker = Pool::get().take_idle()?;
    // If this fails, the process has ended, which its socket says, too.
    let _ = Message::send(worker.socket.as_fd(), fields, descriptors);
    Some(RunningCall { worker })
}

impl RunningCall {
    /// Readable when the process has answered, or has ended.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.worker.socket.as_fd()
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// `Ended` if the process has ended in the middle of the call, `Start` if it did so before.
    pub(crate) fn finish(self) -> Result<Vec<Vec<u8>>, ToolsError> {
        let mut worker = self.worker;
        if let Ok(Some(message)) = Message::receive(worker.socket.as_fd()) {
            Pool::get().give_back(worker);
            return Ok(message.fields);
        }
        let end = worker.describe_end();
        Pool::get().discard(worker);
        Err(end.map_or_else(
            || ToolsError::Start("it has ended".to_owned()),
            ToolsError::Ended,
        ))
    }

    /// Ends the process: nobody waits for its answer.
    pub(crate) fn cancel(self) {
        Pool::get().discard(self.worker);
    }
}

/// Sends a call, and waits for its reply while the process `caller` runs.
pub(crate) fn call(
    caller: &OwnedFd,
    fields: &[&[u8]],
    descriptors: &[BorrowedFd],
) -> Result<Vec<Vec<u8>>, ToolsError> {
    loop {
        let mut worker = Pool::get().take()?;
        let sent = Message::send(worker.socket.as_fd(), fields, descriptors);
        if sent.is_ok() {
            let sources = [worker.socket.as_fd(), caller.as_fd()];
            let ready = wait_readable_all(&sources, None);
            if ready.first() != Some(&true) {
                // Nobody waits for the reply, and the filter may run for ever.
                Pool::get().discard(worker);
                return Err(ToolsError::CallerGone);
            }
            if let Ok(Some(message)) = Message::receive(worker.socket.as_fd()) {
                Pool::get().give_back(worker);
                return Ok(message.fields);
            }
        }
        let end = worker.describe_end();
        Pool::get().discard(worker);
        // A process that has used much memory ends after its call, when the next one may be on its way.
        if let Some(cause) = end {
            return Err(ToolsError::Ended(cause));
        }
    }
}

/// Ends the processes that have no call, with their connections and what they know.
pub(super) fn end_idle() {
    Pool::end_idle();
}

/// The values of the filters that are more than paths, each as JSON.
///
/// # Errors
/// The message of the call.
pub(crate) fn values_of(
    pending: &Pending,
    document: &[u8],
    caller: i32,
) -> Result<Vec<Vec<Vec<u8>>>, String> {
    let count = pending.filters.len().to_string();
    let mut fields: Vec<&[u8]> = vec![b"filters", count.as_bytes()];
    fields.extend(
        pending
            .filters
            .iter()
            .map(|filter| filter.filter.as_bytes()),
    );
    fields.push(document);
    let first = pending.filters.first().map_or("", |filter| &filter.filter);
    let fails = |cause: &str| format!("cannot read {first}: {cause}");
    let caller =
        sys::open_pidfd(Pid::from_raw(caller)).map_err(|error| fails(&error.to_string()))?;
    let reply = call(&caller, &fields, &[]).map_err(|error| fails(error.message()))?;
    match reply.split_first() {
        Some((kind, lists)) if kind == b"ok" => Ok(split_lists(lists)),
        Some((_, rest)) => Err(rest
            .first()
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .unwrap_or_default()),
        None => Err(fails("coshell-tools sent an empty reply")),
    }
}

/// Lists, each after the count of its values.
fn split_lists(mut fields: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let mut lists = Vec::new();
    while let Some((count, rest)) = fields.split_first() {
        let count = str::from_utf8(count)
            .ok()
            .and_then(|text| text.parse().ok());
        let (list, rest) = rest.split_at(count.unwrap_or(0).min(rest.len()));
        lists.push(list.to_vec());
        fields = rest;
    }
    lists
}
