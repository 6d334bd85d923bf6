//! The Runtime API in front of which a runtime is measured.
//!
//! ```text
//! GET next read .. event is written | runtime works | answer is read .. acknowledged | runtime works | GET next read
//!                  ^----------- latency -----------^                ^---- turnaround ----^
//! ```
//!
//! The thread that reads a request answers it, too: waking up another costs as much as a fast runtime needs for
//! an event. If a runtime opens a connection for each request, a thread waits for it already. The next event is chosen
//! under a lock for which nothing else competes meanwhile.

pub mod http;
mod serving;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::event::Exchange;
use super::results::ProblemKind;

/// Threads that accept connections from the start: one for the runtime, one for its next connection.
const ACCEPTING: usize = 2;
/// Between two checks whether the runtime lives: a short round has none.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Listens on a port of its own. Dropping it closes all its connections.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    listener: TcpListener,
    state: Mutex<State>,
    /// Signals that there is an event, or that the endpoint is closed.
    work: Condvar,
    /// Signals that the runtime is idle or has failed.
    news: Condvar,
    connections: Mutex<Vec<Arc<TcpStream>>>,
    /// Threads that wait for a connection now.
    accepting: AtomicUsize,
    /// The pause before each event.
    gap: Duration,
}

#[derive(Debug, Default)]
struct State {
    exchange: Option<Arc<Exchange>>,
    /// How many times the event is still due.
    left: usize,
    /// The time after which no event is sent.
    until: Option<Instant>,
    in_flight: Option<InFlight>,
    acknowledged_at: Option<Instant>,
    first_next: Option<Instant>,
    /// Since when the runtime waits and no event is due.
    idle_at: Option<Instant>,
    waiting: usize,
    /// Counts the requests of the runtime.
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
    exchange: Arc<Exchange>,
}

/// The times of a right answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimedAnswer {
    sequence: u64,
    /// Just before the first byte of the event was sent.
    pub sent_at: Instant,
    /// When the end of the answer was read.
    pub answered_at: Instant,
    /// From the acknowledgement to the next `GET next`.
    pub turnaround: Option<Duration>,
}

/// A failure of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: ProblemKind,
    /// Details, without any bytes of the event or the answer.
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

/// The answers and failures since the last [`take`](Endpoint::take).
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// The right answers, in order.
    pub answers: Vec<TimedAnswer>,
    pub faults: Vec<Fault>,
}

/// What [`wait`](Endpoint::wait) waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// The runtime has answered all events, and requests the next.
    Idle,
    /// The runtime has answered all events.
    Answers,
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WaitOutcome {
    /// The runtime has done what was waited for.
    Reached,
    /// The runtime has failed, and cannot go on.
    Failed(Fault),
    /// A signal ends the comparison.
    Stopped,
}

impl Endpoint {
    /// Listens, with a pause of `gap` before each event but the first.
    ///
    /// # Errors
    /// If the system has no port or no thread left.
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

    /// Makes the event of `exchange` due `count` times, but none of them after `until`. Returns the time.
    #[allow(clippy::must_use_candidate, reason = "the event is due either way")]
    pub(crate) fn give(
        &self,
        exchange: &Arc<Exchange>,
        count: usize,
        until: Option<Instant>,
    ) -> Instant {
        let mut state = self.shared.state();
        state.exchange = Some(Arc::clone(exchange));
        (state.left, state.until, state.idle_at) = (count, until, None);
        let begun_at = Instant::now();
        drop(state);
        self.shared.work.notify_all();
        begun_at
    }

    /// Waits. `look` is called every now and then, and can end the wait. A runtime that does nothing for `limit` hangs.
    pub(crate) fn wait(
        &self,
        until: WaitFor,
        limit: Duration,
        mut look: impl FnMut() -> Option<WaitOutcome>,
    ) -> WaitOutcome {
        let mut state = self.shared.state();
        let mut last = (state.moves, Instant::now());
        loop {
            let is_answered =
                state.left == 0 && state.in_flight.is_none() && state.exchange.is_some();
            let is_idle = state.left == 0 && state.in_flight.is_none() && state.waiting > 0;
            if is_idle || until == WaitFor::Answers && is_answered {
                return WaitOutcome::Reached;
            }
            let is_final = |fault: &&Fault| matches!(fault.kind, ProblemKind::InitError);
            if let Some(fault) = state.round.faults.iter().find(is_final) {
                let fault = fault.clone();
                state.round.faults.retain(|one| *one != fault);
                return WaitOutcome::Failed(fault);
            }
            if state.moves != last.0 {
                last = (state.moves, Instant::now());
            } else if last.1.elapsed() > limit {
                return WaitOutcome::Failed(Fault::new(ProblemKind::Hung, state.silence(limit)));
            }
            let step = LOOK_AGAIN.min(limit);
            let waited = self.shared.news.wait_timeout(state, step);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let has_ended = look();
            // Requests that it made before it ended may still be on their way.
            if let Some(ended) = has_ended
                && state.moves == last.0
            {
                return ended;
            }
        }
    }

    /// Takes what happened since the last call.
    pub(crate) fn take(&self) -> Round {
        let mut state = self.shared.state();
        state.acknowledged_at = None;
        std::mem::take(&mut state.round)
    }

    /// When the first `GET next` was read.
    pub(crate) fn first_next(&self) -> Option<Instant> {
        self.shared.state().first_next
    }

    /// Since when the runtime has been idle.
    pub(crate) fn idle_at(&self) -> Option<Instant> {
        self.shared.state().idle_at
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.work.notify_all();
        // Nothing else ends an `accept` in another thread; shutdown(2).
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
    /// What a hanging runtime fails to do.
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
            // First listed, then checked: closing does it the other way round, so that neither misses the other.
            if shared.state().is_closed {
                return;
            }
            if shared.accepting.fetch_sub(1, Ordering::Relaxed) == 1
                && let Err(error) = Self::add_thread(shared)
            {
                shared.fault(
                    ProblemKind::Protocol,
                    format!("cannot start a thread for its connections: {error}"),
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
