//! Waiting: for descriptors, until a limit, or until a signal asks us to shut down.
//!
//! SIGTERM and SIGINT arrive on a descriptor (signal-hook's self-pipe). So the one thread that talks to bash and to the
//! Runtime API can wait for them together with everything else, and shut down in order. SIGCHLD arrives the same way, because
//! `bootstrap` adopts orphans, as PID 1 or as a subreaper, and has to reap them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::unistd::{pipe2, read, write};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// How long a handler may still run after SIGTERM, and how long we then wait for a reply of the Runtime API. The rest of Lambda's
/// 500 ms is for `lambda_shutdown` and for stopping processes.
const STOP_AFTER: Duration = Duration::from_millis(100);

/// Waits until one of `sources` is readable or closed, or until `timeout` has passed. Returns which of them are ready; an
/// absent source never is.
pub(crate) fn wait_readable<const N: usize>(
    sources: [Option<BorrowedFd>; N],
    timeout: Option<Duration>,
) -> [bool; N] {
    let ready = poll_sources(&sources.map(|source| Some(for_reading(source?))), timeout);
    std::array::from_fn(|index| ready[index])
}

/// Like [`wait_readable`], for any number of sources.
pub(crate) fn wait_readable_all(sources: &[BorrowedFd], timeout: Option<Duration>) -> Vec<bool> {
    let sources: Vec<_> = sources
        .iter()
        .map(|source| Some(for_reading(*source)))
        .collect();
    poll_sources(&sources, timeout)
}

fn for_reading(source: BorrowedFd) -> PollFd {
    PollFd::new(source, PollFlags::POLLIN)
}

fn poll_sources(sources: &[Option<PollFd>], timeout: Option<Duration>) -> Vec<bool> {
    let end = timeout.map(|timeout| Instant::now() + timeout);
    let mut polled: Vec<_> = sources.iter().flatten().cloned().collect();
    let mut left = timeout;
    // After an interruption we wait again: a signal that matters has made a descriptor readable.
    while ppoll(&mut polled, left.map(TimeSpec::from_duration), None) == Err(Errno::EINTR) {
        left = end.map(|end| end.saturating_duration_since(Instant::now()));
    }
    let mut ready = polled
        .iter()
        .map(|polled| polled.revents().is_some_and(|events| !events.is_empty()));
    let mut is_ready = |source: &Option<_>| source.is_some() && ready.next().unwrap_or(false);
    sources.iter().map(&mut is_ready).collect()
}

/// The signals that concern us, as descriptors.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Readable once SIGTERM or SIGINT has come. It is never read, so that it stays readable.
    stop: OwnedFd,
    /// The write end of `stop`.
    stop_writer: OwnedFd,
    /// `None` in a thread that reaps no children.
    child: Option<ChildExits>,
}

/// SIGCHLD, and what to do when it comes.
#[derive(Debug)]
struct ChildExits {
    arrived: OwnedFd,
    reap: fn(),
}

impl Signals {
    /// Handles SIGTERM, SIGINT and SIGCHLD from now on. (PID 1 has no default action for the first two.) While
    /// [`Signals::wait_readable`] waits, it calls `reap` when a child may have ended.
    ///
    /// # Errors
    /// The system's, if there is no descriptor left.
    pub(crate) fn listen(reap: fn()) -> io::Result<Self> {
        let (stop, stop_writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let (arrived, child_writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        pipe::register(SIGTERM, stop_writer.try_clone()?)?;
        pipe::register(SIGINT, stop_writer.try_clone()?)?;
        pipe::register(SIGCHLD, child_writer)?;
        Ok(Self {
            stop,
            stop_writer,
            child: Some(ChildExits { arrived, reap }),
        })
    }

    /// The same signals for another thread, which SIGCHLD does not wake.
    ///
    /// # Errors
    /// The system's, if there is no descriptor left.
    pub(crate) fn without_children(&self) -> io::Result<Self> {
        Ok(Self {
            stop: self.stop.try_clone()?,
            stop_writer: self.stop_writer.try_clone()?,
            child: None,
        })
    }

    /// Has the same effect as SIGTERM, in all threads.
    pub(crate) fn request_stop(&self) {
        // If the pipe is full, a stop has been requested before.
        let _ = write(&self.stop_writer, b"!");
    }

    /// Whether we have to shut down. Once true, it stays true.
    pub(crate) fn is_stop_requested(&self) -> bool {
        wait_readable([Some(self.stop.as_fd())], Some(Duration::ZERO)) == [true]
    }

    /// Blocks until `source` is readable, without a limit, and reaps children meanwhile. Returns `false` if SIGTERM or SIGINT
    /// comes first.
    pub(crate) fn wait_readable(&self, source: BorrowedFd) -> bool {
        loop {
            let child = self.child.as_ref();
            let sources = [
                Some(source),
                Some(self.stop.as_fd()),
                child.map(|child| child.arrived.as_fd()),
            ];
            let [is_readable, is_stopped, has_child] = wait_readable(sources, None);
            if has_child && let Some(child) = child {
                let mut bytes = [0; 64];
                while read(&child.arrived, &mut bytes).is_ok_and(|count| count == bytes.len()) {}
                (child.reap)();
            }
            if is_readable || is_stopped {
                return is_readable;
            }
        }
    }

    /// Sleeps for `duration`. Returns `false` at once when we have to shut down.
    pub(crate) fn pause(&self, duration: Duration) -> bool {
        wait_readable([Some(self.stop.as_fd())], Some(duration)) == [false]
    }
}

/// Why a handler has to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overrun {
    /// Its deadline, less the margin, has passed.
    Deadline,
    /// The sandbox shuts down.
    Stop,
}

/// How long we wait for a handler.
#[derive(Debug)]
pub(crate) struct Limit<'a> {
    signals: Option<&'a Signals>,
    deadline: Option<Instant>,
    /// [`STOP_AFTER`] after the signal, once there was one.
    stop: Option<Instant>,
}

impl Limit<'static> {
    /// Until `deadline`, whatever signal comes.
    pub(crate) fn until(deadline: Instant) -> Self {
        Self {
            signals: None,
            deadline: Some(deadline),
            stop: None,
        }
    }
}

impl<'a> Limit<'a> {
    /// Until `deadline`, if there is one, or until shortly after SIGTERM or SIGINT.
    pub(crate) fn new(signals: &'a Signals, deadline: Option<Instant>) -> Self {
        Self {
            signals: Some(signals),
            deadline,
            stop: None,
        }
    }

    /// Like the function [`wait_readable`].
    ///
    /// # Errors
    /// If this limit is reached first.
    pub(crate) fn wait_readable<const N: usize>(
        &mut self,
        sources: [Option<BorrowedFd>; N],
        timeout: Option<Duration>,
    ) -> Result<[bool; N], Overrun> {
        self.wait_for(&sources.map(|source| Some(for_reading(source?))), timeout)
    }

    /// Waits until `socket` is readable or closed, or, if `is_full`, until it is writable.
    ///
    /// # Errors
    /// If this limit is reached first.
    pub(crate) fn wait_socket(&mut self, socket: BorrowedFd, is_full: bool) -> Result<(), Overrun> {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, is_full);
        self.wait_for(&[Some(PollFd::new(socket, events))], None)
            .map(drop)
    }

    /// Sleeps for `duration`.
    ///
    /// # Errors
    /// If this limit is reached first.
    pub(crate) fn pause(&mut self, duration: Duration) -> Result<(), Overrun> {
        self.wait_for(&[], Some(duration)).map(drop)
    }

    fn wait_for<const N: usize>(
        &mut self,
        sources: &[Option<PollFd>; N],
        timeout: Option<Duration>,
    ) -> Result<[bool; N], Overrun> {
        let end = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let now = Instant::now();
            let limits = [
                (self.deadline, Overrun::Deadline),
                (self.stop, Overrun::Stop),
            ];
            let first_limit = limits
                .into_iter()
                .filter_map(|(limit, overrun)| Some((limit?, overrun)))
                .min_by_key(|(limit, _)| *limit);
            if let Some((limit, overrun)) = first_limit
                && limit <= now
            {
                return Err(overrun);
            }
            let ends = [end, first_limit.map(|(limit, _)| limit)];
            let left = ends.into_iter().flatten().min();
            let left = left.map(|end| end.saturating_duration_since(now));
            // The descriptor stays readable after the signal, so it is polled only until then.
            let stop = self.signals.filter(|_| self.stop.is_none());
            let mut polled = sources.to_vec();
            polled.push(stop.map(|signals| for_reading(signals.stop.as_fd())));
            let ready = poll_sources(&polled, left);
            if ready[N] {
                self.stop = Some(Instant::now() + STOP_AFTER);
            }
            let is_over = end.is_some_and(|end| Instant::now() >= end);
            if is_over || ready[..N].contains(&true) {
                return Ok(std::array::from_fn(|index| ready[index]));
            }
        }
    }
}
