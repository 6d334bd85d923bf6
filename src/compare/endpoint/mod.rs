//! The Runtime API that a runtime is measured at.
//!
//! ```text
//! GET next read .. event is written | runtime works | answer is read .. acknowledged | runtime works | GET next read
//!                  ^----------- latency -----------^                ^---- turnaround ----^
//! ```
//!
//! A thread reads a request and answers it with no other in between: a wake-up costs as much as a fast runtime needs for
//! an event. A runtime that opens a connection for each request finds a thread that waits for it. The event that
//! is due next is decided under a lock that nobody else wants meanwhile.

pub mod http;
mod serving;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::event::Task;
use super::results::ProblemKind;

/// Threads that wait for connections from the start: one for the runtime, one for its next connection.
const ACCEPTING: usize = 2;
/// Between two looks whether the runtime lives: none of them falls into a short round.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Listens at a port of its own. Dropping it closes all of its connections.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Where.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    listener: TcpListener,
    state: Mutex<State>,
    /// There is an event, or the end.
    work: Condvar,
    /// The runtime has nothing to do, or has failed.
    news: Condvar,
    connections: Mutex<Vec<Arc<TcpStream>>>,
    /// Threads that wait for a connection.
    accepting: AtomicUsize,
    /// Before each event.
    gap: Duration,
}

#[derive(Debug, Default)]
struct State {
    task: Option<Arc<Task>>,
    /// How often the task is still to be handed out, and until when.
    left: usize,
    until: Option<Instant>,
    in_flight: Option<InFlight>,
    acknowledged_at: Option<Instant>,
    first_next: Option<Instant>,
    /// Since when the runtime waits with nothing left for it.
    idle_at: Option<Instant>,
    waiting: usize,
    /// Grows with all that the runtime does.
    moves: u64,
    sequence: u64,
    round: Round,
    is_closed: bool,
}

#[derive(Debug)]
struct InFlight {
    sequence: u64,
    response_path: String,
    error_path: String,
    sent_at: Instant,
    task: Arc<Task>,
}

/// A right answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    sequence: u64,
    /// Before the first byte of the event was sent.
    pub sent_at: Instant,
    /// When the answer was read to its end.
    pub answered_at: Instant,
    /// From the acknowledgement to the next `GET next`.
    pub turnaround: Option<Duration>,
}

/// Something that the runtime did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: ProblemKind,
    /// Details, without anything of event or answer.
    pub detail: String,
    /// The last lines that the runtime had printed.
    pub log: Vec<String>,
}

impl Fault {
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            log: Vec::new(),
        }
    }
}

/// What happened since it was last asked for.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// The right answers, in their order.
    pub answers: Vec<Answered>,
    /// All else.
    pub faults: Vec<Fault>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// All events are answered, and the runtime waits for the next.
    Idle,
    /// All events are answered.
    Answered,
}

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// What was waited for.
    Reached,
    /// The runtime cannot go on.
    Failed(Fault),
    /// We are asked to end.
    Stopped,
}

impl Endpoint {
    /// Opens it, with a pause of `gap` before each event but the first.
    ///
    /// # Errors
    /// The system's, when there is no port or no thread left.
    pub(crate) fn open(gap: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            listener,
            state: Mutex::default(),
            work: Condvar::new(),
            news: Condvar::new(),
            connections: Mutex::default(),
            accepting: AtomicUsize::new(0),
            gap,
        });
        for _ in 0..ACCEPTING {
            Shared::add_thread(&shared)?;
        }
        Ok(Self { address, shared })
    }

    /// Has `task` handed out so many times, but not later than `until`. When that began.
    #[allow(clippy::must_use_candidate, reason = "what is due is done either way")]
    pub(crate) fn give(&self, task: &Arc<Task>, count: usize, until: Option<Instant>) -> Instant {
        let mut state = self.shared.state();
        state.task = Some(Arc::clone(task));
        (state.left, state.until, state.idle_at) = (count, until, None);
        let begun_at = Instant::now();
        drop(state);
        self.shared.work.notify_all();
        begun_at
    }

    /// Waits; asks `look` now and then for a reason to end. A runtime that does nothing for `limit` hangs.
    pub(crate) fn wait(
        &self,
        until: Until,
        limit: Duration,
        mut look: impl FnMut() -> Option<Ended>,
    ) -> Ended {
        let mut state = self.shared.state();
        let mut last = (state.moves, Instant::now());
        loop {
            let is_answered = state.left == 0 && state.in_flight.is_none() && state.task.is_some();
            let is_idle = state.left == 0 && state.in_flight.is_none() && state.waiting > 0;
            if is_idle || until == Until::Answered && is_answered {
                return Ended::Reached;
            }
            let is_final = |fault: &&Fault| matches!(fault.kind, ProblemKind::InitError);
            if let Some(fault) = state.round.faults.iter().find(is_final) {
                let fault = fault.clone();
                state.round.faults.retain(|one| *one != fault);
                return Ended::Failed(fault);
            }
            if state.moves != last.0 {
                last = (state.moves, Instant::now());
            } else if last.1.elapsed() > limit {
                return Ended::Failed(Fault::new(ProblemKind::Hung, state.silence(limit)));
            }
            let step = LOOK_AGAIN.min(limit);
            let waited = self.shared.news.wait_timeout(state, step);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let has_ended = look();
            // What it did before it ended may still be on its way to us.
            if let Some(ended) = has_ended
                && state.moves == last.0
            {
                return ended;
            }
        }
    }

    /// What happened since this was last asked.
    pub(crate) fn take(&self) -> Round {
        let mut state = self.shared.state();
        state.acknowledged_at = None;
        std::mem::take(&mut state.round)
    }

    /// When the first `GET next` was read.
    pub(crate) fn first_next(&self) -> Option<Instant> {
        self.shared.state().first_next
    }

    /// Since when the runtime has had nothing to do.
    pub(crate) fn idle_at(&self) -> Option<Instant> {
        self.shared.state().idle_at
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.work.notify_all();
        // Nothing else ends an `accept` of another thread; shutdown(2).
        let _ = nix::sys::socket::shutdown(
            self.shared.listener.as_raw_fd(),
            nix::sys::socket::Shutdown::Both,
        );
        for stream in self.shared.connections().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    /// What a runtime that hangs does not do.
    fn silence(&self, limit: Duration) -> String {
        let what = match (&self.in_flight, self.first_next) {
            (Some(_), _) => "no answer",
            (None, None) => "no first GET next",
            (None, Some(_)) => "no GET next after an answer",
        };
        format!("{what} within {} s", limit.as_secs_f64())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<TcpStream>>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn add_thread(shared: &Arc<Self>) -> io::Result<()> {
        shared.accepting.fetch_add(1, Ordering::Relaxed);
        let own = Arc::clone(shared);
        let thread = thread::Builder::new().name("runtime-api".to_owned());
        thread.spawn(move || Self::accept(&own)).map(drop)
    }

    /// Serves one connection after another.
    fn accept(shared: &Arc<Self>) {
        while let Ok((stream, _)) = shared.listener.accept() {
            let stream = Arc::new(stream);
            shared.connections().push(Arc::clone(&stream));
            // Looked at after it is listed: whoever closes does it the other way round.
            if shared.state().is_closed {
                return;
            }
            if shared.accepting.fetch_sub(1, Ordering::Relaxed) == 1
                && let Err(error) = Self::add_thread(shared)
            {
                shared.fault(
                    ProblemKind::Protocol,
                    format!("no thread for its connections: {error}"),
                );
            }
            let _ = stream.set_nodelay(true);
            if let Err(error) = shared.serve(&stream)
                && error.kind() == io::ErrorKind::InvalidData
            {
                shared.fault(ProblemKind::Protocol, error.to_string());
            }
            shared
                .connections()
                .retain(|one| !Arc::ptr_eq(one, &stream));
            shared.accepting.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fault(&self, kind: ProblemKind, detail: String) {
        let mut state = self.state();
        if !state.is_closed {
            state.round.faults.push(Fault::new(kind, detail));
            self.news.notify_all();
        }
    }
}
