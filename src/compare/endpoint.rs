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

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::event::Task;
use super::http::{Connection, Head};
use super::results::ProblemKind;
use crate::runtime_api::wire::{self, ErrorDocument};

/// Threads that wait for connections from the start: one for the runtime, one for its next connection.
const ACCEPTING: usize = 2;
/// Between two looks whether the runtime lives: none of them falls into a short round.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:compared";
const TRACE: &str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0";
/// What an event may take, as the runtime is told; how long it is given is another matter.
const DEADLINE: Duration = Duration::from_secs(300);
const ACKNOWLEDGED: &[u8] =
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";
const UNKNOWN: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

/// Listens at a port of its own. Dropping it closes all of its connections.
#[derive(Debug)]
pub struct Endpoint {
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
    /// Threads ever made.
    threads: AtomicUsize,
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
pub struct Answered {
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
    /// How, without anything of event or answer.
    pub detail: String,
}

impl Fault {
    /// `kind`, in detail.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

/// What happened since it was last asked for.
#[derive(Debug, Default)]
pub struct Round {
    /// The right answers, in their order.
    pub answers: Vec<Answered>,
    /// All else.
    pub faults: Vec<Fault>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All events are answered, and the runtime waits for the next.
    Idle,
    /// All events are answered.
    Answered,
}

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
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
    pub fn open(gap: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            listener,
            state: Mutex::default(),
            work: Condvar::new(),
            news: Condvar::new(),
            connections: Mutex::default(),
            accepting: AtomicUsize::new(0),
            threads: AtomicUsize::new(0),
            gap,
        });
        for _ in 0..ACCEPTING {
            Shared::add_thread(&shared)?;
        }
        Ok(Self { address, shared })
    }

    /// Has `task` handed out so many times, but not later than `until`. When that began.
    pub fn give(&self, task: &Arc<Task>, count: usize, until: Option<Instant>) -> Instant {
        let mut state = self.shared.state();
        state.task = Some(Arc::clone(task));
        (state.left, state.until, state.idle_at) = (count, until, None);
        let begun_at = Instant::now();
        drop(state);
        self.shared.work.notify_all();
        begun_at
    }

    /// Waits; asks `look` now and then for a reason to end. A runtime that does nothing for `limit` hangs.
    pub fn wait(
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
    #[must_use]
    pub fn take(&self) -> Round {
        let mut state = self.shared.state();
        state.acknowledged_at = None;
        std::mem::take(&mut state.round)
    }

    /// When the first `GET next` was read.
    #[must_use]
    pub fn first_next(&self) -> Option<Instant> {
        self.shared.state().first_next
    }

    /// Since when the runtime has had nothing to do.
    #[must_use]
    pub fn idle_at(&self) -> Option<Instant> {
        self.shared.state().idle_at
    }

    /// The threads made for it so far.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.shared.threads.load(Ordering::Relaxed)
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
        shared.threads.fetch_add(1, Ordering::Relaxed);
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

    fn serve(&self, stream: &Arc<TcpStream>) -> io::Result<()> {
        let mut connection = Connection::new(Arc::clone(stream));
        while let Some(head) = connection.head()? {
            let now = Instant::now();
            if head.is_get && head.path == wire::NEXT {
                self.next(&mut connection, now)?;
            } else if head.is_get {
                // Extensions are not compared: without them a runtime goes on, as on a platform that has none.
                connection.send(UNKNOWN, b"")?;
            } else {
                self.post(&mut connection, &head)?;
            }
            if head.is_last {
                break;
            }
        }
        Ok(())
    }

    fn next(&self, connection: &mut Connection, now: Instant) -> io::Result<()> {
        let mut state = self.state();
        state.moves += 1;
        state.first_next.get_or_insert(now);
        if state.in_flight.take().is_some() {
            let detail = "GET next before the answer to the last event";
            state
                .round
                .faults
                .push(Fault::new(ProblemKind::Protocol, detail));
        }
        if let Some(acknowledged_at) = state.acknowledged_at.take()
            && let Some(answered) = state.round.answers.last_mut()
        {
            answered.turnaround = Some(now.saturating_duration_since(acknowledged_at));
        }
        if !self.gap.is_zero() && state.left > 0 {
            drop(state);
            thread::sleep(self.gap);
            state = self.state();
        }
        if state.until.is_some_and(|until| Instant::now() > until) {
            state.left = 0;
        }
        state.waiting += 1;
        let task = loop {
            if state.is_closed {
                return Ok(());
            }
            if state.in_flight.is_none() {
                if state.left > 0
                    && let Some(task) = &state.task
                {
                    break Arc::clone(task);
                }
                state.idle_at.get_or_insert(now);
                self.news.notify_all();
            }
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        state.waiting -= 1;
        state.left -= 1;
        state.sequence += 1;
        let request_id = format!("8476a536-e9f4-11e8-9739-{:012x}", state.sequence);
        let head = next_head(&request_id, task.event.len());
        let mut in_flight = InFlight {
            sequence: state.sequence,
            response_path: wire::response_path(&request_id),
            error_path: wire::error_path(&request_id),
            sent_at: now,
            task: Arc::clone(&task),
        };
        // The answer may come on another connection before `send` returns.
        in_flight.sent_at = Instant::now();
        state.in_flight = Some(in_flight);
        drop(state);
        connection.send(head.as_bytes(), &task.event)
    }

    fn post(&self, connection: &mut Connection, head: &Head) -> io::Result<()> {
        let (body, is_failed) = connection.body(head)?;
        let answered_at = Instant::now();
        let mut state = self.state();
        state.moves += 1;
        let is_response = |one: &InFlight| one.response_path == head.path;
        let is_error = |one: &InFlight| one.error_path == head.path;
        let in_flight = state
            .in_flight
            .take_if(|one| is_response(one) || is_error(one));
        let outcome = match &in_flight {
            Some(in_flight) if is_error(in_flight) => {
                Err(Fault::new(ProblemKind::FunctionError, error_type(body)))
            }
            Some(_) if is_failed => {
                let detail = format!("it failed after {} bytes of its response", body.len());
                Err(Fault::new(ProblemKind::FunctionError, detail))
            }
            Some(in_flight) => {
                let checked = in_flight.task.check(body);
                checked.map_err(|detail| Fault::new(ProblemKind::WrongAnswer, detail))
            }
            None if head.path == wire::INIT_ERROR => {
                Err(Fault::new(ProblemKind::InitError, error_type(body)))
            }
            None if is_of_extensions(&head.path) => {
                drop(state);
                return connection.send(UNKNOWN, b"");
            }
            None => Err(Fault::new(ProblemKind::Protocol, "an answer to no event")),
        };
        match (outcome, &in_flight) {
            (Ok(()), Some(in_flight)) => {
                state.round.answers.push(Answered {
                    sequence: in_flight.sequence,
                    sent_at: in_flight.sent_at,
                    answered_at,
                    turnaround: None,
                });
                // A runtime may ask for the next event before `send` returns.
                state.acknowledged_at = Some(Instant::now());
            }
            (outcome, _) => {
                state.acknowledged_at = None;
                state.round.faults.extend(outcome.err());
            }
        }
        let last = state.round.answers.last().map(|answered| answered.sequence);
        if state.waiting > 0 {
            self.work.notify_all();
        }
        let is_over = state.left == 0;
        drop(state);
        let sent = connection.send(ACKNOWLEDGED, b"");
        let acknowledged_at = Instant::now();
        let mut state = self.state();
        if state.round.answers.last().map(|answered| answered.sequence) == last
            && let Some(noted) = &mut state.acknowledged_at
        {
            *noted = acknowledged_at;
        }
        if is_over {
            self.news.notify_all();
        }
        sent
    }
}

fn next_head(request_id: &str, len_bytes: usize) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let deadline_ms = (now + DEADLINE).as_millis();
    let mut head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {len_bytes}\r\n",
        wire::JSON
    );
    for (name, value) in [
        (wire::REQUEST_ID, request_id),
        (wire::DEADLINE_MS, &deadline_ms.to_string()),
        (wire::INVOKED_FUNCTION_ARN, FUNCTION_ARN),
        (wire::TRACE_ID, TRACE),
    ] {
        push_capitalised(&mut head, name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head
}

/// As Lambda spells them: there are runtimes that look for no other spelling.
fn push_capitalised(head: &mut String, name: &str) {
    let mut is_first = true;
    for letter in name.chars() {
        head.push(if is_first {
            letter.to_ascii_uppercase()
        } else {
            letter
        });
        is_first = letter == '-';
    }
}

fn is_of_extensions(path: &str) -> bool {
    let version = |path: &str| path.split('/').nth(2).map(ToOwned::to_owned);
    version(path) == version(wire::EXTENSION_REGISTER)
}

/// The type that an error document names, and no more of it.
fn error_type(document: &[u8]) -> String {
    let named = ErrorDocument::from_json(document).map(|document| document.error_type);
    let is_name = |name: &String| {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':');
        (1..=100).contains(&name.len()) && name.bytes().all(is_fit)
    };
    let named = named.filter(is_name);
    named.unwrap_or_else(|| format!("a document of {} bytes without a type", document.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_comes_with_the_headers_that_lambda_sends() {
        let head = next_head("id-1", 32);
        for line in [
            "Content-Length: 32",
            "Lambda-Runtime-Aws-Request-Id: id-1",
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:compared",
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
        }
        assert!(head.contains("\r\nLambda-Runtime-Deadline-Ms: ") && head.ends_with("\r\n\r\n"));
    }

    #[test]
    fn error_document_gives_its_type_and_no_more() {
        assert_eq!(
            error_type(br#"{"errorType":"Function.ExitError","errorMessage":"secret"}"#),
            "Function.ExitError"
        );
        assert_eq!(
            error_type(br#"{"errorType":"a secret"}"#),
            "a document of 24 bytes without a type"
        );
        assert_eq!(
            error_type(b"secret"),
            "a document of 6 bytes without a type"
        );
    }
}
