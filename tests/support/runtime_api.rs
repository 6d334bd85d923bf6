//! A Runtime API that follows the test's script, including faults that no real server should have, and records every request.
//!
//! Paths and headers are those of <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>. The test uses this
//! file; `server.rs` serves the runtime; `event.rs` and `call.rs` describe what passes between them.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixDatagram};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::LIMIT;
use crate::call::Call;
use crate::process::ProcessRecord;
use crate::server::{Next, Reply, Shared, State, accept, answers, transcript};

/// How long the last request of a process that has ended may still take to arrive here.
const IN_TRANSIT: Duration = Duration::from_millis(300);

/// The API. It stops on drop.
#[derive(Debug)]
pub struct RuntimeApi {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl RuntimeApi {
    pub fn start() -> Self {
        let listener = TcpListener::bind((unique_address(), 0)).expect("cannot listen");
        let address = listener.local_addr().expect("address");
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared {
            started: Instant::now(),
            state,
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &accepting));
        Self {
            shared,
            address,
            acceptor: Mutex::new(Some(acceptor)),
        }
    }

    /// `host:port`, the value of `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Failures will show the log of this process, and waiting stops when it has ended.
    pub(crate) fn attach_process(&self, process: Arc<ProcessRecord>) {
        self.shared.lock().process = Some(process);
    }

    /// Queues what a `GET next` gets.
    pub fn push(&self, next: impl Into<Next>) {
        self.shared.lock().nexts.push_back(next.into());
        self.shared.changed.notify_all();
    }

    /// Queues what the POST of a response or an error gets. The default is 202.
    pub fn reply(&self, reply: Reply) {
        self.shared.lock().replies.push_back(reply);
    }

    pub fn reply_to_init_error(&self, reply: Reply) {
        self.shared.lock().init_error_replies.push_back(reply);
    }

    /// Answers the `GET restore/next` that waits, or the next one that comes; normally with [`Reply::restored`].
    pub fn restore(&self, reply: Reply) {
        self.shared.lock().restores.push_back(reply);
        self.shared.changed.notify_all();
    }

    pub fn reply_to_restore_error(&self, reply: Reply) {
        self.shared.lock().restore_error_replies.push_back(reply);
    }

    /// Closes every open connection, as taking a snapshot does.
    pub fn close_connections(&self) {
        for stream in &mut self.shared.lock().streams {
            if let Some(stream) = stream.take() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
    }

    /// Queues what the registration of an extension gets. The default is 200 with an identifier.
    pub fn reply_to_extension(&self, reply: Reply) {
        self.shared.lock().extension_replies.push_back(reply);
    }

    /// For tests that make bootstrap break the rules of the API.
    pub fn allow_violations(&self) {
        self.shared.lock().violations_allowed = true;
    }

    /// Allows the runtime `count` unanswered invocations at a time.
    pub fn allow_concurrent(&self, count: usize) {
        self.shared.lock().max_unanswered = count;
    }

    /// Every request that was read to its end, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    /// The complete responses and errors for one invocation, in order. Normally there is one.
    pub fn answers(&self, request_id: &str) -> Vec<Call> {
        answers(&self.shared.lock(), request_id)
    }

    /// How many `GET next` requests came, answered or not.
    pub fn next_count(&self) -> usize {
        self.shared.lock().next_count
    }

    pub fn connection_count(&self) -> usize {
        self.shared.lock().streams.len()
    }

    /// How many connections are open on this side.
    pub fn open_connection_count(&self) -> usize {
        let state = self.shared.lock();
        state.streams.len() - state.closed
    }

    /// Waits for the first response or error for an invocation.
    #[track_caller]
    pub fn wait_answer(&self, request_id: &str) -> Call {
        self.wait_answers(request_id, 1).remove(0)
    }

    /// Waits until `is_there` accepts the answer to an invocation. The answer may still be incomplete.
    #[track_caller]
    pub fn wait_partial_answer(&self, request_id: &str, is_there: impl Fn(&Call) -> bool) -> Call {
        self.wait(&format!("a part of an answer to {request_id}"), |state| {
            let mut calls = state.arriving.iter().chain(&state.calls);
            let found = calls.find(|call| call.request_id() == Some(request_id) && is_there(call));
            found.cloned()
        })
    }

    /// Waits for `count` answers to one request id.
    #[track_caller]
    pub fn wait_answers(&self, request_id: &str, count: usize) -> Vec<Call> {
        self.wait(&format!("{count} answers to {request_id}"), |state| {
            let found = answers(state, request_id);
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits for the answer to an invocation, or for the exit of a process that gives none.
    #[track_caller]
    pub fn wait_answer_or_exit(&self, request_id: &str) -> Result<Call, ExitStatus> {
        self.wait(&format!("an answer to {request_id} or the end"), |state| {
            let answer = answers(state, request_id).into_iter().next();
            let exit = || state.process.as_ref()?.exit();
            answer.map(Ok).or_else(|| {
                let (status, at) = exit()?;
                (at.elapsed() > IN_TRANSIT).then_some(Err(status))
            })
        })
    }

    #[track_caller]
    pub fn wait_init_error(&self) -> Call {
        self.wait("an init error", |state| {
            state
                .calls
                .iter()
                .find(|call| call.is_init_error())
                .cloned()
        })
    }

    #[track_caller]
    pub fn wait_restore_error(&self) -> Call {
        self.wait("a restore error", |state| {
            let mut calls = state.calls.iter();
            calls.find(|call| call.is_restore_error()).cloned()
        })
    }

    /// Waits until a `GET restore/next` waits for its reply: the moment when Lambda would take the snapshot.
    #[track_caller]
    pub fn wait_snapshot(&self) {
        self.wait("a parked restore/next", |state| {
            (state.snapshots > 0 && state.restores.is_empty()).then_some(())
        });
    }

    /// Waits until a `GET next` waits and the queue is empty: everything that was pushed has been handled.
    #[track_caller]
    pub fn wait_parked(&self) {
        self.wait_all_parked(1);
    }

    /// As [`wait_parked`](Self::wait_parked), for `count` requests that wait at the same time.
    #[track_caller]
    pub fn wait_all_parked(&self, count: usize) {
        self.wait(&format!("{count} parked next"), |state| {
            (state.parked >= count && state.nexts.is_empty()).then_some(())
        });
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, mut find: impl FnMut(&State) -> Option<T>) -> T {
        const STEP: Duration = Duration::from_millis(20);
        let deadline = Instant::now() + LIMIT;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = find(&state) {
                return found;
            }
            let exit = state.process.as_ref().and_then(|process| process.exit());
            let problem = match exit {
                Some((status, at)) if at.elapsed() > IN_TRANSIT => {
                    format!("the process has ended: {status}")
                }
                _ if Instant::now() > deadline => format!("nothing within {LIMIT:?}"),
                _ => {
                    let waited = self.shared.changed.wait_timeout(state, STEP);
                    state = waited.expect("state").0;
                    continue;
                }
            };
            let transcript = transcript(&state);
            drop(state);
            panic!("waited for {what}: {problem}\n{transcript}");
        }
    }

    /// All requests and replies, and the log of the process, for the message of a failed assertion.
    pub fn transcript(&self) -> String {
        transcript(&self.shared.lock())
    }

    /// Closes every connection and refuses new ones.
    pub fn shut_down(&self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        for stream in state.streams.iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the acceptor thread, which then drops the listener.
        drop(TcpStream::connect(self.address));
        let acceptor = self.acceptor.lock().expect("acceptor").take();
        if let Some(acceptor) = acceptor {
            let _ = acceptor.join();
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.shut_down();
        let state = self.shared.lock();
        if state.violations_allowed || state.violations.is_empty() || thread::panicking() {
            return;
        }
        let (violations, transcript) = (state.violations.join("\n"), transcript(&state));
        drop(state);
        panic!("the rules of the Runtime API were broken:\n{violations}\n{transcript}");
    }
}

/// A loopback address that no other test uses, of this process or of another that runs now. When its server stops, no other
/// test can start one there.
pub fn unique_address() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // Two processes can come to the same address: it has room for a part of their numbers. The first one takes its name.
    static TAKEN: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let number = (std::process::id() << 8).wrapping_add(count);
        let [_, high, middle, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(127, 64 | (high & 63), middle, low);
        if matches!(low, 0 | 1 | 255) {
            continue;
        }
        let name = unix::SocketAddr::from_abstract_name(format!("coshell-test-{address}"));
        match name.and_then(|name| UnixDatagram::bind_addr(&name)) {
            Ok(taken) => {
                TAKEN.lock().expect("no panic").push(taken);
                return address;
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            // There may be too many descriptors.
            Err(_) => return address,
        }
    }
}
