//! What a wait ends with: a descriptor that is ready, a limit, a signal that ends us.
//!
//! SIGTERM and SIGINT are descriptors here (signal-hook's self-pipe), so that the one thread that
//! knows bash and the Runtime API can wait for them beside all else, and take its leave in order.
//! SIGCHLD is one too: whoever adopts orphans, as PID 1 and as a subreaper, has to reap them.

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

/// How long a handler may go on when we are asked to end: what is left of Lambda's 500 ms is for
/// `lambda_shutdown` and for the processes.
const STOP_AFTER: Duration = Duration::from_millis(100);

/// Waits until one of `sources` is readable or closed, or `limit` has passed; which are. An absent
/// source is never ready.
pub(crate) fn wait_readable<const N: usize>(
    sources: [Option<BorrowedFd>; N],
    limit: Option<Duration>,
) -> [bool; N] {
    let found = poll_sources(&sources.map(|source| Some(to_read(source?))), limit);
    std::array::from_fn(|at| found[at])
}

/// Waits until one of `sources` is readable or closed, or `limit` has passed; which are.
pub(crate) fn wait_readable_all(sources: &[BorrowedFd], limit: Option<Duration>) -> Vec<bool> {
    let sources: Vec<_> = sources
        .iter()
        .map(|source| Some(to_read(*source)))
        .collect();
    poll_sources(&sources, limit)
}

fn to_read(source: BorrowedFd) -> PollFd {
    PollFd::new(source, PollFlags::POLLIN)
}

fn poll_sources(sources: &[Option<PollFd>], limit: Option<Duration>) -> Vec<bool> {
    let end = limit.map(|limit| Instant::now() + limit);
    let mut polled: Vec<_> = sources.iter().flatten().cloned().collect();
    let mut left = limit;
    // An interrupted wait is none: a signal that matters has made a descriptor readable.
    while ppoll(&mut polled, left.map(TimeSpec::from_duration), None) == Err(Errno::EINTR) {
        left = end.map(|end| end.saturating_duration_since(Instant::now()));
    }
    let mut found = polled
        .iter()
        .map(|one| one.revents().is_some_and(|events| !events.is_empty()));
    let mut take = |source: &Option<_>| source.is_some() && found.next().unwrap_or(false);
    sources.iter().map(&mut take).collect()
}

/// The signals that concern us, as descriptors.
#[derive(Debug)]
pub(crate) struct Signals {
    stop: OwnedFd,
    /// The other end of `stop`.
    stop_in: OwnedFd,
    /// `None` in a thread that reaps no children.
    child: Option<ChildExits>,
}

/// SIGCHLD, and what to do about it.
#[derive(Debug)]
struct ChildExits {
    arrived: OwnedFd,
    reap: fn(),
}

impl Signals {
    /// Takes SIGTERM, SIGINT and SIGCHLD from here on; PID 1 has no default for the first two. `reap` is called when a child
    /// may have ended while [`Signals::wait_readable`] waits.
    ///
    /// # Errors
    /// The system's, when there is no descriptor left.
    pub(crate) fn listen(reap: fn()) -> io::Result<Self> {
        let (stop, stop_in) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let (arrived, child_in) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        pipe::register(SIGTERM, stop_in.try_clone()?)?;
        pipe::register(SIGINT, stop_in.try_clone()?)?;
        pipe::register(SIGCHLD, child_in)?;
        Ok(Self {
            stop,
            stop_in,
            child: Some(ChildExits { arrived, reap }),
        })
    }

    /// The same for a thread beside the one that reaps: a child's end does not wake it.
    ///
    /// # Errors
    /// The system's, when there is no descriptor left.
    pub(crate) fn without_children(&self) -> io::Result<Self> {
        Ok(Self {
            stop: self.stop.try_clone()?,
            stop_in: self.stop_in.try_clone()?,
            child: None,
        })
    }

    /// As if SIGTERM had come.
    pub(crate) fn request_stop(&self) {
        // A full pipe has been written to before.
        let _ = write(&self.stop_in, b"!");
    }

    /// Whether we were asked to end; stays so.
    pub(crate) fn is_stop_requested(&self) -> bool {
        wait_readable([Some(self.stop.as_fd())], Some(Duration::ZERO)) == [true]
    }

    /// Waits, without a limit, until `source` is readable; `false` if SIGTERM or SIGINT comes first. Reaps children
    /// meanwhile.
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

    /// Waits for `duration`; `false` if we are asked to end meanwhile.
    pub(crate) fn pause(&self, duration: Duration) -> bool {
        wait_readable([Some(self.stop.as_fd())], Some(duration)) == [false]
    }
}

/// Why a handler is not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overrun {
    /// Its time is up.
    Deadline,
    /// We were asked to end.
    Stop,
}

/// Until when a handler is waited for.
#[derive(Debug)]
pub(crate) struct Limit<'a> {
    signals: Option<&'a Signals>,
    deadline: Option<Instant>,
    stop: Option<Instant>,
}

impl Limit<'static> {
    /// Until `deadline`, whatever we are asked to.
    pub(crate) fn until(deadline: Instant) -> Self {
        Self {
            signals: None,
            deadline: Some(deadline),
            stop: None,
        }
    }
}

impl<'a> Limit<'a> {
    /// Until `deadline`, if there is one, and until shortly after we are asked to end.
    pub(crate) fn new(signals: &'a Signals, deadline: Option<Instant>) -> Self {
        Self {
            signals: Some(signals),
            deadline,
            stop: None,
        }
    }

    /// As [`wait_readable`], for at most `limit`.
    ///
    /// # Errors
    /// When the time is up.
    pub(crate) fn wait_readable<const N: usize>(
        &mut self,
        sources: [Option<BorrowedFd>; N],
        limit: Option<Duration>,
    ) -> Result<[bool; N], Overrun> {
        self.wait_for(&sources.map(|source| Some(to_read(source?))), limit)
    }

    /// Waits until `socket` has something to read, or has been closed, or takes bytes again if
    /// `is_full`.
    ///
    /// # Errors
    /// When the time is up.
    pub(crate) fn wait_socket(&mut self, socket: BorrowedFd, is_full: bool) -> Result<(), Overrun> {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, is_full);
        self.wait_for(&[Some(PollFd::new(socket, events))], None)
            .map(drop)
    }

    /// Waits for `duration`.
    ///
    /// # Errors
    /// When the time is up before.
    pub(crate) fn pause(&mut self, duration: Duration) -> Result<(), Overrun> {
        self.wait_for(&[], Some(duration)).map(drop)
    }

    fn wait_for<const N: usize>(
        &mut self,
        sources: &[Option<PollFd>; N],
        limit: Option<Duration>,
    ) -> Result<[bool; N], Overrun> {
        let limit = limit.map(|limit| Instant::now() + limit);
        loop {
            let now = Instant::now();
            let overrun = [
                (self.deadline, Overrun::Deadline),
                (self.stop, Overrun::Stop),
            ];
            let overrun = overrun
                .into_iter()
                .filter_map(|(end, overrun)| Some((end?, overrun)))
                .min_by_key(|(end, _)| *end);
            if let Some((end, overrun)) = overrun
                && end <= now
            {
                return Err(overrun);
            }
            let ends = [limit, overrun.map(|(end, _)| end)];
            let left = ends.into_iter().flatten().min();
            let left = left.map(|end| end.saturating_duration_since(now));
            // Once it is noticed it would be ready at every look.
            let stop = self.signals.filter(|_| self.stop.is_none());
            let mut all = sources.to_vec();
            all.push(stop.map(|signals| to_read(signals.stop.as_fd())));
            let found = poll_sources(&all, left);
            if found[N] {
                self.stop = Some(Instant::now() + STOP_AFTER);
            }
            let is_over = limit.is_some_and(|limit| Instant::now() >= limit);
            if is_over || found[..N].contains(&true) {
                return Ok(std::array::from_fn(|at| found[at]));
            }
        }
    }
}
