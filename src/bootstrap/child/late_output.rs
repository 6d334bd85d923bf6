//! Late output: what processes still write to the response after the handler itself has ended.
//!
//! A filter that the handler sends its output through, `> >(tee log)` or `exec > >(sed ...)`, may still be writing when the
//! handler ends. Its output belongs to the response, so we wait for it, as `$(...)` does. We do not wait for a background
//! job. Both hold the response's pipe; their standard input tells them apart. A filter reads a pipe whose writers are gone:
//! they were the handler, and jobs that started after the filter. bash gives a background job `/dev/null`. A process that
//! bash has just forked has neither yet, but still the event as its input, so it is looked at again.

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

/// How long we wait before we look at the processes again. The interval grows with the time that has passed.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(1);
const MAX_CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a process counts as just forked.
const FORK_TIME: Duration = Duration::from_millis(100);
/// The same on a busy system, for a process that wants to run but gets no processor. One that has run for [`FORK_TIME`] is what
/// it is.
const MAX_FORK_TIME: Duration = Duration::from_secs(5);

/// The pipes and files of a handler that has ended.
#[derive(Clone, Copy)]
pub(crate) struct EndedHandler<'a> {
    /// Our end of the pipe that it wrote its response to.
    pub response: &'a File,
    /// The file that it read its event from.
    pub event: &'a File,
    /// How long we wait for background jobs.
    pub job_wait: Duration,
    /// Whether the process that ran the handler is still exiting, so that it may hold pipes to filters open.
    pub is_runner_exiting: &'a dyn Fn() -> bool,
}

/// A process that holds the response's pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// It writes what the handler has sent through it, and then ends.
    Filter,
    /// It runs on its own.
    Job,
    /// It was just forked: it may become either.
    New,
}

/// Reads the rest of the response. `find_left` returns the processes that the invocation left running, `read_pipe` reads what
/// is in the pipe now. Returns whether a process still holds the pipe, and may write to it later.
///
/// # Errors
/// If the limit is reached before the filters have ended.
pub(crate) fn take_late_output(
    ended: EndedHandler,
    limit: &mut Limit,
    find_left: impl Fn() -> Vec<Pid>,
    mut read_pipe: impl FnMut(&mut Limit) -> Result<(), Overrun>,
) -> Result<bool, Overrun> {
    let started = Instant::now();
    loop {
        let left = find_left();
        let holders = if left.is_empty() {
            Vec::new()
        } else {
            processes::find_holders(left.clone(), ended.response)
        };
        // Read after the search: a process that was gone by then has written all its output.
        read_pipe(limit)?;
        if holders.is_empty() {
            return Ok(false);
        }
        let elapsed = started.elapsed();
        let is_awaited = |pid: &Pid| match classify(*pid, &left, ended.event) {
            Holder::Filter => true,
            Holder::Job => elapsed < ended.job_wait,
            Holder::New => {
                elapsed < ended.job_wait.max(FORK_TIME)
                    || elapsed < MAX_FORK_TIME
                        && (waits_for_processor(*pid) || (ended.is_runner_exiting)())
            }
        };
        // A process that has ended since the read may have written more: read once more.
        let has_ended = |pid: &Pid| processes::program_name(*pid).is_none();
        if !holders.iter().any(is_awaited) && !holders.iter().any(has_ended) {
            return Ok(true);
        }
        limit.pause((elapsed / 8).clamp(MIN_CHECK_INTERVAL, MAX_CHECK_INTERVAL))?;
    }
}

fn waits_for_processor(pid: Pid) -> bool {
    processes::is_runnable(pid) && processes::processor_time(pid) < FORK_TIME
}

/// Classifies `pid`, one of the processes that are `left`, by its standard input.
fn classify(pid: Pid, left: &[Pid], event: &File) -> Holder {
    // Opening the pipe makes us one of its readers for a moment, which disturbs nobody.
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
    // A process that was just forked may not have closed its own write end yet, and the handler's shell may be exiting.
    let mut writers = processes::find_writers(left.to_vec(), &input);
    writers.retain(|writer| *writer != pid);
    if writers.is_empty() {
        Holder::New
    } else if writers.iter().all(|writer| *writer > pid) {
        // Only jobs that started after the filter hold its input open: they have inherited it from the handler. The pipe may
        // still contain output of the handler, so we wait, as `$(...)` would.
        Holder::Filter
    } else {
        // The writer started first: this is the end of a pipeline in the background.
        Holder::Job
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use coshell_process::response_pipe;

    /// The process is no filter; it writes and ends after the pipe was read and before the process is classified.
    #[test]
    fn output_of_a_process_that_just_ended_is_read() -> std::io::Result<()> {
        let (response, theirs) = response_pipe()?;
        // Its standard input is a pipe whose write end is ours: we do not wait for such a process.
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
        let mut reads = 0;
        let is_held = take_late_output(
            ended,
            &mut limit,
            || vec![pid],
            |limit| {
                reads += 1;
                drop(child.stdin.take());
                while processes::program_name(pid).is_some() {
                    limit.pause(MIN_CHECK_INTERVAL)?;
                }
                Ok(())
            },
        );
        assert_eq!(is_held, Ok(false));
        assert!(reads > 1, "{reads}");
        child.wait().map(drop)
    }
}
