//! One streamed response: a POST whose body is sent while the handler makes it, with trailers.
//!
//! hyper speaks the HTTP, since ureq cannot send what comes after a body. It is driven by hand:
//! the futures are polled where a blocking call would stand, and what they wait for is one socket, which
//! `wait.rs` waits for beside the deadline and the signals. No runtime, no thread; and a connection of its own
//! for each response, closed after it, as Lambda wants it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, TRAILER, USER_AGENT};
use hyper::{Request, StatusCode};
use ureq::http::Response;

use super::{Posted, RETRY_AFTER, connection, refusal, wire};
use crate::error::{Error, Result};
use crate::invocation::{Failure, Invocation, Outcome};
use crate::response::{Head, Outlet};
use crate::wait::{Limit, Overrun, Signals};
use wire::ErrorDocument;

/// How long the end of a response may take whose handler was stopped: there is little time left.
const END_LIMIT: Duration = Duration::from_millis(100);
/// Trailers are kept well below what servers take.
const MAX_TRAILER_BYTES: usize = 12 * 1024;
/// How much of an answer to us is kept.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The streamed response of one invocation, if it has one.
#[derive(Debug)]
pub struct Stream<'a> {
    api: &'a str,
    invocation: &'a Invocation,
    signals: &'a Signals,
    state: State,
    sent_bytes: usize,
}

#[derive(Debug)]
enum State {
    Unopened,
    Open(Box<Exchange>),
    /// It could not be opened, for this reason.
    Failed(String),
}

impl<'a> Stream<'a> {
    /// One that is not opened yet, and costs nothing.
    pub(super) fn new(api: &'a str, invocation: &'a Invocation, signals: &'a Signals) -> Self {
        Self {
            api,
            invocation,
            signals,
            state: State::Unopened,
            sent_bytes: 0,
        }
    }

    /// Whether the response, or a part of it, may have gone out: the invocation has its answer then.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Ends the response, in trailers if the handler failed, and waits for what the platform says.
    /// `None` if it was never opened: then `outcome` is still to be posted.
    ///
    /// # Errors
    /// [`Error::PostAnswer`] when the Runtime API answers 500 or above, or could not be reached.
    pub fn finish(self, outcome: &Outcome) -> Result<Option<Posted>> {
        let failed = |cause| Error::PostAnswer {
            answer: "response",
            cause,
        };
        let mut exchange = match self.state {
            State::Unopened => return Ok(None),
            State::Failed(cause) => return Err(failed(cause)),
            State::Open(exchange) => exchange,
        };
        let mut limit = Limit::new(self.signals, None);
        let trailers = match outcome {
            Outcome::Response(_) => None,
            Outcome::Failure(failure) => {
                if failure.is_overrun() {
                    limit = Limit::until(Instant::now() + END_LIMIT);
                }
                Some(trailers(failure))
            }
        };
        exchange.end(trailers);
        // If the time is up there is no answer, which is told.
        let _ = exchange.drive(&mut limit, Exchange::is_answered);
        let count = self.sent_bytes;
        let sent = |cause: String| format!("{cause}; {count} bytes of the response had been sent");
        Ok(Some(match exchange.answer {
            Answer::Whole(StatusCode::ACCEPTED, _) => Posted::Accepted,
            Answer::Whole(status, text) => {
                let cause = sent(refusal(status, &String::from_utf8_lossy(&text)));
                if status.is_server_error() {
                    return Err(failed(cause));
                }
                Posted::Refused(cause)
            }
            Answer::Broken(cause) => Posted::Unknown(sent(cause)),
            Answer::Awaited(_) | Answer::Begun(..) => {
                Posted::Unknown(sent("no answer in time".to_owned()))
            }
        }))
    }

    fn request(
        &self,
        content_type: &str,
        body: Outgoing,
    ) -> hyper::http::Result<Request<Outgoing>> {
        let path = wire::response_path(&self.invocation.request_id);
        let mut request = Request::post(path)
            .header(HOST, self.api)
            .header(USER_AGENT, super::USER_AGENT)
            .header(CONNECTION, "close")
            .header(CONTENT_TYPE, content_type)
            .header(wire::RESPONSE_MODE, wire::STREAMING)
            .header(TRAILER, wire::ERROR_TYPE)
            .header(TRAILER, wire::ERROR_BODY);
        if let Some(attempt) = &self.invocation.invocation_id {
            request = request.header(wire::INVOCATION_ID, attempt);
        }
        request.body(body)
    }
}

impl Outlet for Stream<'_> {
    fn open(
        &mut self,
        head: Head,
        first: Vec<u8>,
        limit: &mut Limit,
    ) -> std::result::Result<(), Overrun> {
        let mut waits = RETRY_AFTER.iter();
        let socket = loop {
            match (connection::connect(self.api), waits.next()) {
                (Ok(socket), _) => break socket,
                (Err(_), Some(wait)) => limit.pause(*wait)?,
                (Err(error), None) => {
                    self.state = State::Failed(error.to_string());
                    return Ok(());
                }
            }
        };
        let (content_type, first) = match head {
            Head::Content(content_type) => (content_type, first),
            Head::Http(json) => {
                let prelude = [json.as_bytes(), &[0; 8], &first].concat();
                (wire::HTTP_INTEGRATION.to_owned(), prelude)
            }
        };
        let ahead = Rc::new(RefCell::new(Ahead::default()));
        let exchange = self
            .request(&content_type, Outgoing(Rc::clone(&ahead)))
            .map_err(|error| error.to_string())
            .and_then(|request| Exchange::begin(socket, request, ahead));
        self.state = match exchange {
            Ok(exchange) => State::Open(Box::new(exchange)),
            Err(cause) => State::Failed(cause),
        };
        self.send(first, limit)
    }

    fn send(&mut self, bytes: Vec<u8>, limit: &mut Limit) -> std::result::Result<(), Overrun> {
        let State::Open(exchange) = &mut self.state else {
            return Ok(());
        };
        let count = bytes.len();
        exchange.put(bytes);
        exchange.drive(limit, |exchange| {
            exchange.is_flushed() || exchange.is_refused()
        })?;
        if !exchange.is_refused() {
            self.sent_bytes += count;
        }
        Ok(())
    }
}

/// What the platform is told of a failure in mid-stream.
fn trailers(failure: &Failure) -> HeaderMap {
    let mut frames = failure.stack.iter().map(ToString::to_string).collect();
    let mut message: &str = &failure.message;
    let body = loop {
        let document = ErrorDocument {
            message: message.to_owned(),
            error_type: failure.error_type.to_owned(),
            stack_trace: frames,
        };
        let body = BASE64_STANDARD.encode(document.to_json());
        frames = document.stack_trace;
        if body.len() <= MAX_TRAILER_BYTES {
            break body;
        }
        // The end of the log goes first, then the outer half of the frames.
        match message.split_once('\n') {
            Some((first, _)) => message = first,
            None if !frames.is_empty() => frames.truncate(frames.len() / 2),
            None => {
                let half = message.len() / 2;
                let cut = (0..=half).rev().find(|at| message.is_char_boundary(*at));
                message = &message[..cut.unwrap_or(0)];
            }
        }
    };
    let mut trailers = HeaderMap::new();
    trailers.insert(
        wire::ERROR_TYPE,
        HeaderValue::from_static(failure.error_type),
    );
    if let Ok(body) = HeaderValue::from_str(&body) {
        trailers.insert(wire::ERROR_BODY, body);
    }
    trailers
}

/// A request and its answer, on a connection of their own.
#[derive(Debug)]
struct Exchange {
    socket: Rc<Socket>,
    /// `None` when it is over.
    connection: Option<http1::Connection<Io, Outgoing>>,
    ahead: Rc<RefCell<Ahead>>,
    answer: Answer,
    woken: Arc<Woken>,
}

/// What the platform says.
enum Answer {
    Awaited(Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>),
    Begun(StatusCode, Incoming, Vec<u8>),
    Whole(StatusCode, Vec<u8>),
    /// The connection broke off, in hyper's words.
    Broken(String),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Awaited(_) => "Awaited",
            Self::Begun(..) => "Begun",
            Self::Whole(..) => "Whole",
            Self::Broken(_) => "Broken",
        })
    }
}

impl Exchange {
    fn begin(
        stream: TcpStream,
        request: Request<Outgoing>,
        ahead: Rc<RefCell<Ahead>>,
    ) -> std::result::Result<Self, String> {
        stream
            .set_nonblocking(true)
            .map_err(|error| error.to_string())?;
        let socket = Rc::new(Socket {
            stream,
            is_full: Cell::new(false),
        });
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        // It waits for nothing.
        let shaken = pin!(http1::handshake(Io(Rc::clone(&socket))));
        let (mut sender, connection) = match shaken.poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(both)) => both,
            Poll::Ready(Err(error)) => return Err(error.to_string()),
            Poll::Pending => return Err("the connection is not ready".to_owned()),
        };
        Ok(Self {
            socket,
            connection: Some(connection),
            ahead,
            answer: Answer::Awaited(Box::pin(sender.send_request(request))),
            woken,
        })
    }

    fn put(&mut self, bytes: Vec<u8>) {
        self.ahead.borrow_mut().piece = (!bytes.is_empty()).then(|| bytes.into());
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.ahead.borrow_mut().end = Some(trailers);
    }

    /// Whether all that was put is with the system.
    fn is_flushed(&self) -> bool {
        self.ahead.borrow().piece.is_none() && !self.socket.is_full.get()
    }

    /// Whether nobody wants more of the body.
    fn is_refused(&self) -> bool {
        let is_wanted = match &self.answer {
            Answer::Awaited(_) => true,
            Answer::Begun(status, ..) | Answer::Whole(status, _) => status.is_success(),
            Answer::Broken(_) => false,
        };
        // The other one is hyper's, for as long as it would send more.
        !is_wanted || self.connection.is_none() || Rc::strong_count(&self.ahead) == 1
    }

    fn is_answered(&self) -> bool {
        matches!(self.answer, Answer::Whole(..) | Answer::Broken(_))
    }

    /// Goes on until it `is_done`, or until the time is up.
    fn drive(
        &mut self,
        limit: &mut Limit,
        is_done: impl Fn(&Self) -> bool,
    ) -> std::result::Result<(), Overrun> {
        loop {
            self.poll();
            if is_done(self) {
                return Ok(());
            }
            limit.socket_ready(self.socket.stream.as_fd(), self.socket.is_full.get())?;
        }
    }

    /// Goes on as far as the socket lets it.
    fn poll(&mut self) {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Some(connection) = &mut self.connection
                && Pin::new(connection).poll(&mut context).is_ready()
            {
                // What was the matter with it is told with the answer.
                self.connection = None;
            }
            self.poll_answer(&mut context);
            if !self.woken.0.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    }

    fn poll_answer(&mut self, context: &mut Context) {
        if let Answer::Awaited(answer) = &mut self.answer {
            match answer.as_mut().poll(context) {
                Poll::Ready(Ok(answer)) => {
                    let (head, body) = answer.into_parts();
                    self.answer = Answer::Begun(head.status, body, Vec::new());
                }
                Poll::Ready(Err(error)) => self.answer = Answer::Broken(words_of(&error)),
                Poll::Pending => {}
            }
        }
        while let Answer::Begun(status, body, text) = &mut self.answer {
            match Pin::new(body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    let room = MAX_ANSWER_BYTES.saturating_sub(text.len());
                    text.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                // The status alone decides.
                Poll::Ready(_) => self.answer = Answer::Whole(*status, std::mem::take(text)),
                Poll::Pending => return,
            }
        }
    }
}

/// hyper's words, and those of the system behind them.
fn words_of(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Whether something that we wait for has happened while we polled.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What hyper is to send next.
#[derive(Debug, Default)]
struct Ahead {
    piece: Option<Bytes>,
    /// The body ends after the piece; with trailers, if there are any.
    end: Option<Option<HeaderMap>>,
}

/// The body of the request, as hyper sees it.
#[derive(Debug)]
struct Outgoing(Rc<RefCell<Ahead>>);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let mut ahead = self.0.borrow_mut();
        if let Some(piece) = ahead.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &mut ahead.end {
            // Whoever puts more there polls.
            None => Poll::Pending,
            Some(trailers) => Poll::Ready(trailers.take().map(|map| Ok(Frame::trailers(map)))),
        }
    }
}

/// A socket that does not block.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    /// It took less than there was, the last time.
    is_full: Cell<bool>,
}

impl Socket {
    fn written(&self, result: io::Result<usize>) -> Poll<io::Result<usize>> {
        let written = when_ready(result);
        self.is_full.set(written.is_pending());
        written
    }
}

fn when_ready<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

/// The socket, as hyper sees it.
#[derive(Debug)]
struct Io(Rc<Socket>);

impl hyper::rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context,
        mut buffer: hyper::rt::ReadBufCursor,
    ) -> Poll<io::Result<()>> {
        // hyper's room is not initialised, and an answer to us is short.
        let mut piece = [0; 1024];
        let room = buffer.remaining().min(piece.len());
        let mut stream = &self.0.stream;
        when_ready(stream.read(&mut piece[..room]))
            .map_ok(|count| buffer.put_slice(&piece[..count]))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut stream = &self.0.stream;
        self.0.written(stream.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context,
        slices: &[IoSlice],
    ) -> Poll<io::Result<usize>> {
        let mut stream = &self.0.stream;
        self.0.written(stream.write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.stream.shutdown(Shutdown::Write))
    }
}
