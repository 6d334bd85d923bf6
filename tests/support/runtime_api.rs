//! A scripted Runtime API: does what the test says, also what no server should, and keeps all that it is asked.
//!
//! Paths and headers are spelled as in <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>. This is the
//! test's side; `server.rs` is the runtime's, `event.rs` and `call.rs` are what passes between them.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::LIMIT;
use crate::call::Call;
use crate::process::Record;
use crate::server::{Next, Reply, Shared, State, accept, answers, transcript};

/// How long a call of a process that has ended may still be on its way to us.
const LATE: Duration = Duration::from_millis(300);

/// The API; stops on drop.
#[derive(Debug)]
pub struct RuntimeApi {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl RuntimeApi {
    pub fn start() -> Self {
        let listener = TcpListener::bind((own_address(), 0)).expect("cannot listen");
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

    /// `host:port`, as in `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Shows this process's log in failures, and stops waiting once it has ended.
    pub fn attach(&self, process: Arc<Record>) {
        self.shared.lock().process = Some(process);
    }

    /// Puts `next` behind what waits for a `GET next` already.
    pub fn push(&self, next: impl Into<Next>) {
        self.shared.lock().nexts.push_back(next.into());
        self.shared.changed.notify_all();
    }

    /// What the next response or error gets that has no reply of its own yet; 202 if nothing is said.
    pub fn reply(&self, reply: Reply) {
        self.shared.lock().replies.push_back(reply);
    }

    pub fn reply_to_init_error(&self, reply: Reply) {
        self.shared.lock().init_error_replies.push_back(reply);
    }

    /// What the `restore/next` gets that waits, or comes: [`Reply::restored`] if all is well.
    pub fn restore(&self, reply: Reply) {
        self.shared.lock().restores.push_back(reply);
        self.shared.changed.notify_all();
    }

    pub fn reply_to_restore_error(&self, reply: Reply) {
        self.shared.lock().restore_error_replies.push_back(reply);
    }

    /// Ends every connection that is open, as a snapshot does.
    pub fn close_connections(&self) {
        for stream in &mut self.shared.lock().streams {
            if let Some(stream) = stream.take() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
    }

    /// What the registration of an extension gets; 200 with an identifier if nothing is said.
    pub fn reply_to_extension(&self, reply: Reply) {
        self.shared.lock().extension_replies.push_back(reply);
    }

    /// For tests that make a bootstrap break the rules of the API.
    pub fn allow_violations(&self) {
        self.shared.lock().violations_allowed = true;
    }

    /// For a runtime that may have so many invocations under way.
    pub fn allow_at_a_time(&self, count: usize) {
        self.shared.lock().others = count.saturating_sub(1);
    }

    /// All that was asked and read to its end, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    /// The answers to one invocation that came in whole, in order; one, if all is well.
    pub fn answers(&self, request_id: &str) -> Vec<Call> {
        answers(&self.shared.lock(), request_id)
    }

    /// How often `next` was asked, answered or not.
    pub fn next_count(&self) -> usize {
        self.shared.lock().asked
    }

    pub fn connection_count(&self) -> usize {
        self.shared.lock().streams.len()
    }

    /// How many connections are not closed, on our side at least.
    pub fn open_connection_count(&self) -> usize {
        let state = self.shared.lock();
        state.streams.len() - state.closed
    }

    /// Waits for the first answer to an invocation.
    #[track_caller]
    pub fn wait_answer(&self, request_id: &str) -> Call {
        self.wait_answers(request_id, 1).remove(0)
    }

    /// Waits until the answer to an invocation, of which more may be still to come, `is_there`.
    #[track_caller]
    pub fn wait_arriving(&self, request_id: &str, is_there: impl Fn(&Call) -> bool) -> Call {
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

    /// Waits for the answer to an invocation, or for the end of a process that gives none.
    #[track_caller]
    pub fn wait_answer_or_exit(&self, request_id: &str) -> Result<Call, ExitStatus> {
        self.wait(&format!("an answer to {request_id} or the end"), |state| {
            let answer = answers(state, request_id).into_iter().next();
            let exit = || state.process.as_ref()?.exit();
            answer.map(Ok).or_else(|| {
                let (status, at) = exit()?;
                (at.elapsed() > LATE).then_some(Err(status))
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

    /// Waits until `restore/next` is parked: where the snapshot is taken.
    #[track_caller]
    pub fn wait_snapshot(&self) {
        self.wait("a parked restore/next", |state| {
            (state.snapshots > 0 && state.restores.is_empty()).then_some(())
        });
    }

    /// Waits until `next` is parked and nothing is left to give it: all that was pushed is dealt with.
    #[track_caller]
    pub fn wait_parked(&self) {
        self.wait_all_parked(1);
    }

    /// The same for so many that wait at a time.
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
                Some((status, at)) if at.elapsed() > LATE => {
                    format!("the process has ended: {status}")
                }
                _ if Instant::now() > deadline => format!("not within {LIMIT:?}"),
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

    /// What was asked and replied, and the log of the process, for a failure's text.
    pub fn transcript(&self) -> String {
        transcript(&self.shared.lock())
    }

    /// Goes away: closes every connection, refuses new ones.
    pub fn vanish(&self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        for stream in state.streams.iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the acceptor, which then drops the listener.
        drop(TcpStream::connect(self.address));
        let acceptor = self.acceptor.lock().expect("acceptor").take();
        if let Some(acceptor) = acceptor {
            let _ = acceptor.join();
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.vanish();
        let state = self.shared.lock();
        if state.violations_allowed || state.violations.is_empty() || thread::panicking() {
            return;
        }
        let (violations, transcript) = (state.violations.join("\n"), transcript(&state));
        drop(state);
        panic!("the rules of the Runtime API were broken:\n{violations}\n{transcript}");
    }
}

/// A loopback address that no other test has: once it stops listening, nobody else takes its place.
pub fn own_address() -> Ipv4Addr {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let number = 2 + MADE.fetch_add(1, Ordering::Relaxed) % 250;
    Ipv4Addr::new(
        127,
        64 | (high & 63),
        low,
        u8::try_from(number).unwrap_or(1),
    )
}
