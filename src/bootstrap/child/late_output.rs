//! The rest of a response: what processes still write when the handler itself has ended.
//!
//! A filter that the handler sent its output through, `> >(tee log)` or `exec > >(sed ...)`, has not
//! written all of it when the handler ends, and is part of the handler: it is waited for, as `$(...)`
//! waits. A background job is not. Both are processes that hold the pipe of the response. What tells them
//! apart is their standard input: that of a filter is a pipe that nobody else writes to, since its
//! writers were the handler and jobs that were started later. bash gives a background job `/dev/null`.
//! A process that bash has just made has neither yet, but the event: it is looked at again.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::unistd::Pid;

use crate::wait::{Limit, Overrun};
use coshell_process::processes;

/// How often it is looked whether a filter has ended; less often the longer it takes.
const LOOK_AFTER: Duration = Duration::from_millis(1);
const LOOK_AFTER_AT_MOST: Duration = Duration::from_millis(20);
/// For how long a process may have just been made; and for how long at most where the system does not let it
/// run, because it has too much to do.
const SETTLED_AFTER: Duration = Duration::from_millis(100);
const SETTLED_AT_LAST: Duration = Duration::from_secs(5);

/// The pipes and files of an invocation that has ended.
#[derive(Clone, Copy)]
pub(crate) struct EndedHandler<'a> {
    /// What it wrote its response to.
    pub response: &'a File,
    /// What it read its event from.
    pub event: &'a File,
    /// How long processes are waited for that hold the pipe, and are no filters.
    pub job_wait: Duration,
    /// Whether what ran the handler is still about to close what it wrote to.
    pub is_runner_exiting: &'a dyn Fn() -> bool,
}

/// What a process that holds the pipe of the response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// It writes what the handler has sent through it, and ends.
    Filter,
    /// It goes on by itself.
    Job,
    /// It is not known yet.
    New,
}

/// Takes the rest of the response. `find` gives the processes that the invocation left, `take` takes
/// what is in the pipe by now. Whether somebody holds the pipe all the same, and may write to it later.
///
/// # Errors
/// When the time is up before the filters have ended.
pub(crate) fn take_late_output(
    ended: EndedHandler,
    limit: &mut Limit,
    find: impl Fn() -> Vec<Pid>,
    mut take: impl FnMut(&mut Limit) -> Result<(), Overrun>,
) -> Result<bool, Overrun> {
    let begun = Instant::now();
    loop {
        let left = find();
        let holders = if left.is_empty() {
            Vec::new()
        } else {
            processes::holders(left.clone(), ended.response)
        };
        // Who is gone by now has written before.
        take(limit)?;
        if holders.is_empty() {
            return Ok(false);
        }
        let elapsed = begun.elapsed();
        let is_waited_for = |pid: &Pid| match kind(*pid, &left, ended.event) {
            Holder::Filter => true,
            Holder::Job => elapsed < ended.job_wait,
            Holder::New => {
                elapsed < ended.job_wait.max(SETTLED_AFTER)
                    || elapsed < SETTLED_AT_LAST
                        && (processes::is_runnable(*pid) || (ended.is_runner_exiting)())
            }
        };
        // One that has ended since may have written more before.
        let has_ended = |pid: &Pid| processes::program(*pid).is_none();
        if !holders.iter().any(is_waited_for) && !holders.iter().any(has_ended) {
            return Ok(true);
        }
        limit.pause((elapsed / 8).clamp(LOOK_AFTER, LOOK_AFTER_AT_MOST))?;
    }
}

/// What the standard input of `pid`, one of those that are `left`, says of it.
fn kind(pid: Pid, left: &[Pid], event: &File) -> Holder {
    // To open a pipe makes us a reader of it for a moment, which nobody notices.
    let mut options = File::options();
    let options = options.read(true).custom_flags(O_NONBLOCK);
    let Ok(input) = options.open(format!("/proc/{pid}/fd/0")) else {
        return Holder::Job;
    };
    let Ok(metadata) = input.metadata() else {
        return Holder::Job;
    };
    let is_event = fstat(event)
        .is_ok_and(|event| (event.st_dev, event.st_ino) == (metadata.dev(), metadata.ino()));
    if is_event {
        return Holder::New;
    }
    let is_pipe = nix::fcntl::readlink(format!("/proc/{pid}/fd/0").as_str())
        .is_ok_and(|link| link.to_string_lossy().starts_with("pipe:"));
    if !is_pipe {
        return Holder::Job;
    }
    let mut polled = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut polled, PollTimeout::ZERO);
    let events = polled[0].revents();
    if events.is_some_and(|events| events.contains(PollFlags::POLLHUP)) {
        return Holder::Filter;
    }
    // It may not have closed the other end itself yet, nor may what ran the handler.
    let mut writers = processes::writers(left.to_vec(), &input);
    writers.retain(|writer| *writer != pid);
    if writers.is_empty() {
        Holder::New
    } else if writers.iter().all(|writer| *writer > pid) {
        // Jobs that were started after it have inherited the handler's way into it. What the handler has written may
        // still be in it, so that it is waited for with them, as by `$(...)`.
        Holder::Filter
    } else {
        // The end of a pipeline in the background was started after its beginning.
        Holder::Job
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use coshell_process::response_pipe;

    /// A process that is no filter, and writes and ends between the look at the pipe and the look at the process.
    #[test]
    fn what_a_process_writes_before_it_ends_is_taken() -> std::io::Result<()> {
        let (response, theirs) = response_pipe()?;
        // Its standard input is a pipe of which the other end is ours: that makes it none that is waited for.
        let child = Command::new("sh")
            .args(["-c", "read -r _; echo late"])
            .stdin(Stdio::piped())
            .stdout(theirs)
            .spawn();
        let mut child = child?;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
        let event = File::open("/dev/null")?;
        let ended = EndedHandler {
            response: &response,
            event: &event,
            job_wait: Duration::ZERO,
            is_runner_exiting: &|| false,
        };
        let mut limit = Limit::until(Instant::now() + Duration::from_secs(60));
        let mut takes = 0;
        let is_held = take_late_output(
            ended,
            &mut limit,
            || vec![pid],
            |limit| {
                takes += 1;
                drop(child.stdin.take());
                while processes::program(pid).is_some() {
                    limit.pause(LOOK_AFTER)?;
                }
                Ok(())
            },
        );
        assert_eq!(is_held, Ok(false));
        assert!(takes > 1, "{takes}");
        child.wait().map(drop)
    }
}
