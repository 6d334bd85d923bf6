//! A POST under way whose body is still being made: hyper's futures, driven by hand.
//!
//! They are polled where a blocking call would stand, and what they wait for is one socket, which `wait.rs` waits
//! for beside the deadline and the signals. So there is no runtime for them, and no thread. Neighbour: `stream.rs`
//! knows what is sent.

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

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::HeaderMap;
use hyper::http::request::Builder;
use hyper::{Response, StatusCode};

use crate::wait::{Limit, Overrun};

/// How much of an answer to us is kept.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A request and its answer, on a connection of their own.
#[derive(Debug)]
pub(crate) struct StreamingPost {
    socket: Rc<Socket>,
    /// `None` when it is over.
    connection: Option<http1::Connection<Io, OutgoingBody>>,
    ahead: Rc<RefCell<BodyQueue>>,
    /// What the platform says so far.
    pub answer: Answer,
    woken: Arc<WokenFlag>,
}

/// What the platform says.
pub(crate) enum Answer {
    /// Nothing yet.
    Awaited(Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>),
    /// The status, and a part of the text.
    Begun(StatusCode, Incoming, Vec<u8>),
    /// Status and text.
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

impl StreamingPost {
    /// Begins with `head`, on a connection that nobody else uses.
    ///
    /// # Errors
    /// Why it cannot, in words.
    pub(crate) fn begin(stream: TcpStream, head: Builder) -> Result<Self, String> {
        let ahead = Rc::new(RefCell::new(BodyQueue::default()));
        let request = head.body(OutgoingBody(Rc::clone(&ahead)));
        let request = request.map_err(|error| error.to_string())?;
        stream
            .set_nonblocking(true)
            .map_err(|error| error.to_string())?;
        let socket = Rc::new(Socket {
            stream,
            is_full: Cell::new(false),
        });
        let woken = Arc::new(WokenFlag::default());
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

    /// The next piece of the body.
    pub(crate) fn put(&mut self, bytes: Vec<u8>) {
        self.ahead.borrow_mut().piece = (!bytes.is_empty()).then(|| bytes.into());
    }

    /// No piece comes any more; with trailers, if there are any.
    pub(crate) fn end(&mut self, trailers: Option<HeaderMap>) {
        let mut ahead = self.ahead.borrow_mut();
        (ahead.is_ended, ahead.trailers) = (true, trailers);
    }

    /// Whether all that was put is with the system.
    pub(crate) fn is_flushed(&self) -> bool {
        self.ahead.borrow().piece.is_none() && !self.socket.is_full.get()
    }

    /// Whether nobody wants more of the body.
    pub(crate) fn is_refused(&self) -> bool {
        let is_wanted = match &self.answer {
            Answer::Awaited(_) => true,
            Answer::Begun(status, ..) | Answer::Whole(status, _) => status.is_success(),
            Answer::Broken(_) => false,
        };
        // The other one is hyper's, for as long as it would send more.
        !is_wanted || self.connection.is_none() || Rc::strong_count(&self.ahead) == 1
    }

    /// Whether the platform has said all.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.answer, Answer::Whole(..) | Answer::Broken(_))
    }

    /// Goes on until it `is_done`.
    ///
    /// # Errors
    /// When the time is up before.
    pub(crate) fn drive(
        &mut self,
        limit: &mut Limit,
        is_done: impl Fn(&Self) -> bool,
    ) -> Result<(), Overrun> {
        loop {
            self.poll();
            if is_done(self) {
                return Ok(());
            }
            limit.wait_socket(self.socket.stream.as_fd(), self.socket.is_full.get())?;
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
struct WokenFlag(AtomicBool);

impl Wake for WokenFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What hyper is to send next.
#[derive(Debug, Default)]
struct BodyQueue {
    piece: Option<Bytes>,
    /// The body ends after the piece.
    is_ended: bool,
    /// What comes behind it.
    trailers: Option<HeaderMap>,
}

/// The body of the request, as hyper sees it.
#[derive(Debug)]
struct OutgoingBody(Rc<RefCell<BodyQueue>>);

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut ahead = self.0.borrow_mut();
        if let Some(piece) = ahead.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if ahead.is_ended {
            Poll::Ready(ahead.trailers.take().map(|map| Ok(Frame::trailers(map))))
        } else {
            // Whoever puts more there polls.
            Poll::Pending
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
