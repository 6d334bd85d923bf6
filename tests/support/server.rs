//! Serves the scripted Runtime API to the runtime, with a thread for each connection.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use crate::call::{Call, NEXT};
use crate::event::{Event, Gate};
use crate::excerpt;
use crate::http::{self, Head};
use crate::process::ProcessRecord;

/// What a `GET next` gets.
#[derive(Debug, Clone)]
pub enum Next {
    Event(Event),
    /// A status and a body.
    Status(u16, String),
    /// The request is read, then the connection is closed without a reply.
    Close,
    /// The request is not read: the client sees a connection reset.
    Reset,
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// These bytes; the connection stays open.
    RawOpen(Vec<u8>),
}

impl From<Event> for Next {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// What the POST of a response or an error gets, and a `GET restore/next`.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status and a body.
    Status(u16, String),
    /// A status and a body, then the connection is closed.
    StatusThenClose(u16, String),
    /// The POST is read, then the connection is closed without a reply.
    Close,
    /// The body is not read: the connection is reset while the client sends it.
    Unread,
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// These bytes; the connection stays open.
    RawOpen(Vec<u8>),
    /// Nothing until the gate is opened, then 202.
    Late(Gate),
    /// Happens after this many bytes of a chunked body, or before the first byte of another one. If the connection is still
    /// open afterwards, 202.
    Midway(usize, Midway),
}

/// What happens in the middle of a chunked body.
#[derive(Debug, Clone)]
pub enum Midway {
    /// A status and a body, then the connection is closed.
    Status(u16, String),
    /// The connection is closed.
    Close,
    /// Nothing more is read until the gate is opened.
    Stop(Gate),
}

impl Reply {
    /// 202 with AWS's body.
    pub fn accepted() -> Self {
        Self::Status(202, "{\"status\":\"OK\"}\n".to_owned())
    }

    /// 200 with an empty body, as Lambda answers `restore/next`.
    pub fn restored() -> Self {
        Self::Status(200, String::new())
    }

    /// An error status with an error document like AWS's.
    pub fn refused(status: u16, error_type: &str) -> Self {
        Self::Status(
            status,
            format!("{{\"errorMessage\":\"refused\",\"errorType\":\"{error_type}\"}}\n"),
        )
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub started: Instant,
    pub state: Mutex<State>,
    pub changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub nexts: VecDeque<Next>,
    pub replies: VecDeque<Reply>,
    pub init_error_replies: VecDeque<Reply>,
    pub extension_replies: VecDeque<Reply>,
    pub restores: VecDeque<Reply>,
    pub restore_error_replies: VecDeque<Reply>,
    /// How many `GET restore/next` wait.
    pub snapshots: usize,
    pub calls: Vec<Call>,
    /// Requests whose chunked body is being read.
    pub arriving: Vec<Call>,
    pub notes: Vec<String>,
    /// One for each connection; `None` if it was reset.
    pub streams: Vec<Option<TcpStream>>,
    pub closed: usize,
    /// How many `GET next` wait.
    pub parked: usize,
    pub next_count: usize,
    pub delivered: HashMap<String, usize>,
    pub unanswered: Vec<String>,
    /// How many invocations may be unanswered at a time. 0 means 1.
    pub max_unanswered: usize,
    pub violations: Vec<String>,
    pub violations_allowed: bool,
    pub stopped: bool,
    pub process: Option<Arc<ProcessRecord>>,
}

pub(crate) fn answers(state: &State, request_id: &str) -> Vec<Call> {
    let is_answer = |call: &&Call| call.is_whole && call.request_id() == Some(request_id);
    state.calls.iter().filter(is_answer).cloned().collect()
}

pub(crate) fn transcript(state: &State) -> String {
    let log = state
        .process
        .as_ref()
        .map(|process| process.log())
        .unwrap_or_default();
    let mut text = format!("--- Runtime API\n{}\n--- log\n", state.notes.join("\n"));
    let shown = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
    text.push_str(&log[shown..]);
    text.push_str("\n---");
    text
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn note(&self, state: &mut State, connection: usize, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        state
            .notes
            .push(format!("{seconds:9.4} s connection {connection}: {text}"));
        self.changed.notify_all();
    }
}

pub(crate) fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        let mut state = shared.lock();
        if state.stopped {
            return;
        }
        let (Ok(()), Ok(clone)) = (stream.set_nodelay(true), stream.try_clone()) else {
            continue;
        };
        state.streams.push(Some(clone));
        let connection = state.streams.len();
        shared.note(&mut state, connection, "opened");
        drop(state);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let ended = Server {
                shared: &shared,
                connection,
                stream: &stream,
            }
            .serve();
            let text = match ended {
                Ok(End::Reset) => "reset".to_owned(),
                Ok(End::Closed) => "closed".to_owned(),
                Err(error) => format!("closed: {error}"),
            };
            if text != "reset" {
                // The clone in `streams` keeps the connection open, so it is shut down explicitly.
                let _ = stream.shutdown(Shutdown::Both);
            }
            let mut state = shared.lock();
            state.closed += 1;
            shared.note(&mut state, connection, &text);
        });
    }
}

/// How a connection ended.
enum End {
    Closed,
    Reset,
}

struct Server<'a> {
    shared: &'a Shared,
    connection: usize,
    stream: &'a TcpStream,
}

impl Server<'_> {
    fn serve(&self) -> io::Result<End> {
        let mut reader = BufReader::new(self.stream.try_clone()?);
        loop {
            if reader.buffer().is_empty() && self.reset_unread_next()? {
                return Ok(End::Reset);
            }
            let Some(head) = http::read_head(&mut reader)? else {
                return Ok(End::Closed);
            };
            let received_at = self.shared.started.elapsed();
            let mut fields = head.first_line.split(' ').map(ToOwned::to_owned);
            let (method, path) = (
                fields.next().unwrap_or_default(),
                fields.next().unwrap_or_default(),
            );
            let mut call = Call {
                connection: self.connection,
                received_at,
                method,
                path,
                headers: head.headers.clone(),
                body: Vec::new(),
                trailers: Vec::new(),
                is_whole: false,
            };
            let is_open = if call.is_next() {
                call.is_whole = true;
                self.answer_next(call)?
            } else if call.is_extension_next() {
                call.is_whole = true;
                self.hold_extension(call)
            } else if call.is_restore_next() {
                call.is_whole = true;
                match self.wait_for_restore(call) {
                    Some(reply) => self.answer_post(&reply)?,
                    None => false,
                }
            } else if self.reset_unread_post(&call) {
                return Ok(End::Reset);
            } else {
                let read = self.read_body(&mut reader, &head, &mut call);
                call.is_whole = read.is_ok();
                let reply = self.record_post(call);
                read?;
                self.answer_post(&reply)?
            };
            if !is_open {
                return Ok(End::Closed);
            }
        }
    }

    /// Resets the connection without reading if [`Next::Reset`] is first in the queue and a `GET next` comes. Returns true
    /// if it did.
    fn reset_unread_next(&self) -> io::Result<bool> {
        let wanted = format!("GET {NEXT} ");
        let mut start = vec![0; wanted.len()];
        let mut seen = 0;
        // A parked `GET next` was read already, so a reset pushed meanwhile comes too late for it.
        if !matches!(self.shared.lock().nexts.front(), Some(Next::Reset)) {
            return Ok(false);
        }
        while seen < wanted.len() {
            let now = self.stream.peek(&mut start)?;
            if now == 0 || !wanted.as_bytes().starts_with(&start[..now]) {
                return Ok(false);
            }
            if now == seen {
                thread::yield_now();
            }
            seen = now;
        }
        let mut state = self.shared.lock();
        if !matches!(state.nexts.front(), Some(Next::Reset)) {
            return Ok(false);
        }
        state.nexts.pop_front();
        state.next_count += 1;
        // Closing the last handle while bytes are unread resets the connection, see tcp(7).
        state.streams[self.connection - 1] = None;
        self.shared
            .note(&mut state, self.connection, "GET next, not read: reset");
        Ok(true)
    }

    /// Resets the connection if [`Reply::Unread`] is first in the queue for this POST. Returns true if it did.
    fn reset_unread_post(&self, call: &Call) -> bool {
        let mut state = self.shared.lock();
        if call.request_id().is_none() || !matches!(state.replies.front(), Some(Reply::Unread)) {
            return false;
        }
        state.replies.pop_front();
        // The runtime may post it again or not: the test checks that.
        state.unanswered.clear();
        state.streams[self.connection - 1] = None;
        let text = format!("{} {}, body not read: reset", call.method, call.path);
        self.shared.note(&mut state, self.connection, &text);
        true
    }

    fn read_body(&self, reader: &mut impl BufRead, head: &Head, call: &mut Call) -> io::Result<()> {
        if head
            .header("Expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            let mut stream = self.stream;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut midway = self.take_midway(call);
        self.shared.lock().arriving.push(call.clone());
        if head.header("Transfer-Encoding") != Some("chunked") {
            let acted = midway.map_or(Ok(()), |(_, midway)| self.act_midway(midway));
            let read = acted.and_then(|()| http::read_body(reader, head, &mut call.body));
            self.forget_arriving();
            return read;
        }
        let read = http::read_chunks(reader, &mut |bytes| {
            call.body.extend_from_slice(bytes);
            let mut state = self.shared.lock();
            if let Some(arriving) = self.arriving(&mut state) {
                arriving.body.extend_from_slice(bytes);
            }
            drop(state);
            self.shared.changed.notify_all();
            match midway.take_if(|(count, _)| call.body.len() >= *count) {
                Some((_, midway)) => self.act_midway(midway),
                None => Ok(()),
            }
        });
        self.forget_arriving();
        call.trailers = read?;
        Ok(())
    }

    fn forget_arriving(&self) {
        let mut state = self.shared.lock();
        state
            .arriving
            .retain(|call| call.connection != self.connection);
    }

    fn arriving<'a>(&self, state: &'a mut State) -> Option<&'a mut Call> {
        let mut arriving = state.arriving.iter_mut();
        arriving.find(|call| call.connection == self.connection)
    }

    /// Takes the [`Reply::Midway`] from the queue if it is first and this POST is an answer.
    fn take_midway(&self, call: &Call) -> Option<(usize, Midway)> {
        let mut state = self.shared.lock();
        call.request_id()?;
        let Some(Reply::Midway(count, midway)) = state.replies.front().cloned() else {
            return None;
        };
        state.replies.pop_front();
        if !matches!(midway, Midway::Stop(_)) {
            // The answer will be cut off here, and the runtime must not send another.
            state.unanswered.clear();
        }
        Some((count, midway))
    }

    fn act_midway(&self, midway: Midway) -> io::Result<()> {
        let mut state = self.shared.lock();
        let text = format!("  midway: {midway:?}");
        self.shared.note(&mut state, self.connection, &text);
        drop(state);
        match midway {
            Midway::Stop(gate) => gate.wait(),
            Midway::Close => return Err(io::ErrorKind::ConnectionAborted.into()),
            Midway::Status(status, body) => {
                let mut stream = self.stream.try_clone()?;
                write_status(&mut stream, status, &body)?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(())
    }

    /// Waits until the test has pushed something for this `GET next`, and sends it. True if the connection stays open.
    fn answer_next(&self, call: Call) -> io::Result<bool> {
        let mut state = self.shared.lock();
        state.next_count += 1;
        self.shared.note(&mut state, self.connection, "GET next");
        if state.unanswered.len() >= state.max_unanswered.max(1) {
            let unanswered = state.unanswered.join(" and ");
            let violation = format!("GET next came before {unanswered} was answered");
            state.violations.push(violation);
        }
        state.calls.push(call);
        state.parked += 1;
        let next = loop {
            if state.stopped {
                return Ok(false);
            }
            if let Some(next) = state.nexts.pop_front() {
                break next;
            }
            state = self.shared.changed.wait(state).expect("state");
        };
        state.parked -= 1;
        if let Next::Event(event) = &next
            && event.is_whole()
        {
            *state.delivered.entry(event.request_id.clone()).or_default() += 1;
            state.unanswered.push(event.request_id.clone());
        }
        let description = match &next {
            Next::Event(event) => event.describe(),
            other => format!("{other:?}"),
        };
        self.shared
            .note(&mut state, self.connection, &format!("  <- {description}"));
        drop(state);
        let mut stream = self.stream.try_clone()?;
        match next {
            Next::Event(event) => event.write_to(&mut stream),
            Next::Status(status, body) => write_status(&mut stream, status, &body).map(|()| true),
            Next::Close | Next::Reset => Ok(false),
            Next::Raw(bytes) => stream.write_all(&bytes).map(|()| false),
            Next::RawOpen(bytes) => stream.write_all(&bytes).map(|()| true),
        }
    }

    /// An internal extension gets no event: its request waits until the API stops.
    fn hold_extension(&self, call: Call) -> bool {
        let mut state = self.shared.lock();
        state.calls.push(call);
        self.shared
            .note(&mut state, self.connection, "GET extension/event/next");
        while !state.stopped {
            state = self.shared.changed.wait(state).expect("state");
        }
        false
    }

    /// Waits until the test restores the sandbox. `None` if the API stops first.
    fn wait_for_restore(&self, call: Call) -> Option<Reply> {
        let mut state = self.shared.lock();
        state.calls.push(call);
        state.snapshots += 1;
        self.shared
            .note(&mut state, self.connection, "GET restore/next");
        let reply = loop {
            if state.stopped || state.streams[self.connection - 1].is_none() {
                return None;
            }
            if let Some(reply) = state.restores.pop_front() {
                break reply;
            }
            state = self.shared.changed.wait(state).expect("state");
        };
        state.snapshots -= 1;
        self.shared
            .note(&mut state, self.connection, &format!("  <- {reply:?}"));
        Some(reply)
    }

    /// Records a POST and takes its reply from the queue.
    fn record_post(&self, call: Call) -> Reply {
        let mut state = self.shared.lock();
        let whole = if call.is_whole { "" } else { ", cut off" };
        let text = format!(
            "{} {} {}{whole}",
            call.method,
            call.path,
            excerpt(&call.body)
        );
        let reply = if call.is_init_error() {
            state
                .init_error_replies
                .pop_front()
                .unwrap_or_else(Reply::accepted)
        } else if call.is_restore_error() {
            let reply = state.restore_error_replies.pop_front();
            reply.unwrap_or_else(Reply::accepted)
        } else if call.is_extension_register() {
            let registered = "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: an-identifier\r\nContent-Length: 2\r\n\r\n{}";
            let registered = Reply::RawOpen(registered.into());
            state.extension_replies.pop_front().unwrap_or(registered)
        } else if let Some(request_id) = call.request_id() {
            let request_id = request_id.to_owned();
            if call.is_whole {
                Self::count_answer(&mut state, &request_id);
            }
            state.replies.pop_front().unwrap_or_else(Reply::accepted)
        } else {
            state
                .violations
                .push(format!("unknown request: {} {}", call.method, call.path));
            Reply::Status(404, String::new())
        };
        state.calls.push(call);
        self.shared.note(&mut state, self.connection, &text);
        self.shared
            .note(&mut state, self.connection, &format!("  <- {reply:?}"));
        reply
    }

    fn count_answer(state: &mut State, request_id: &str) {
        state
            .unanswered
            .retain(|unanswered| unanswered != request_id);
        let count = 1 + answers(state, request_id).len();
        let delivered = state.delivered.get(request_id).copied().unwrap_or_default();
        if count > delivered {
            state.violations.push(format!(
                "answer {count} to {request_id}, which was delivered {delivered} times"
            ));
        }
    }

    fn answer_post(&self, reply: &Reply) -> io::Result<bool> {
        let mut stream = self.stream.try_clone()?;
        match reply {
            Reply::Status(status, body) => write_status(&mut stream, *status, body).map(|()| true),
            Reply::StatusThenClose(status, body) => {
                write_status(&mut stream, *status, body).map(|()| false)
            }
            // The last two cannot happen here: they are handled before the body is read.
            Reply::Close | Reply::Unread | Reply::Midway(..) => Ok(false),
            Reply::Raw(bytes) => stream.write_all(bytes).map(|()| false),
            Reply::RawOpen(bytes) => stream.write_all(bytes).map(|()| true),
            Reply::Late(gate) => {
                gate.wait();
                write_status(&mut stream, 202, "{\"status\":\"OK\"}\n").map(|()| true)
            }
        }
    }
}

fn write_status(stream: &mut TcpStream, status: u16, body: &str) -> io::Result<()> {
    let reason = match status {
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        410 => "Gone",
        413 => "Request Entity Too Large",
        500 => "Internal Server Error",
        _ => "Status",
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
