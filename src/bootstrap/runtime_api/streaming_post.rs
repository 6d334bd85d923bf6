//! A POST whose body is still being written. It drives hyper's futures without an executor.
//!
//! Its futures wait for nothing but one socket. So they are polled here, and between the polls `wait.rs` waits for the socket,
//! the deadline and the signals. That needs neither an async runtime nor a thread. `response_stream.rs` decides what is sent.

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

/// How much of a reply's body is kept.
const MAX_REPLY_BYTES: usize = 64 * 1024;

/// A request and its reply, on their own connection.
#[derive(Debug)]
pub(crate) struct StreamingPost {
    socket: Rc<Socket>,
    /// `None` when hyper has finished with it.
    connection: Option<http1::Connection<Io, OutgoingBody>>,
    queue: Rc<RefCell<BodyQueue>>,
    pub reply: Reply,
    wake_flag: Arc<WakeFlag>,
}

/// The platform's reply.
pub(crate) enum Reply {
    /// Nothing has come yet.
    Pending(Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>),
    /// The status and a part of the body have come.
    Receiving(StatusCode, Incoming, Vec<u8>),
    /// The status and the body.
    Complete(StatusCode, Vec<u8>),
    /// The connection broke, with hyper's message.
    Failed(String),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pending(_) => "Pending",
            Self::Receiving(..) => "Receiving",
            Self::Complete(..) => "Complete",
            Self::Failed(_) => "Failed",
        })
    }
}

impl StreamingPost {
    /// Starts a request with `head` on the connection `stream`.
    ///
    /// # Errors
    /// The cause, as text.
    pub(crate) fn start(stream: TcpStream, head: Builder) -> Result<Self, String> {
        let queue = Rc::new(RefCell::new(BodyQueue::default()));
        let request = head.body(OutgoingBody(Rc::clone(&queue)));
        let request = request.map_err(|error| error.to_string())?;
        stream
            .set_nonblocking(true)
            .map_err(|error| error.to_string())?;
        let socket = Rc::new(Socket {
            stream,
            is_full: Cell::new(false),
        });
        let wake_flag = Arc::new(WakeFlag::default());
        let waker = Waker::from(Arc::clone(&wake_flag));
        // HTTP/1 has no handshake, so that this is ready at once.
        let handshake = pin!(http1::handshake(Io(Rc::clone(&socket))));
        let (mut sender, connection) = match handshake.poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(pair)) => pair,
            Poll::Ready(Err(error)) => return Err(error.to_string()),
            Poll::Pending => return Err("the connection is not ready".to_owned()),
        };
        Ok(Self {
            socket,
            connection: Some(connection),
            queue,
            reply: Reply::Pending(Box::pin(sender.send_request(request))),
            wake_flag,
        })
    }

    /// Queues the next piece of the body. The one before must have been sent.
    pub(crate) fn queue(&mut self, bytes: Vec<u8>) {
        self.queue.borrow_mut().piece = (!bytes.is_empty()).then(|| bytes.into());
    }

    /// Ends the body, after the queued piece.
    pub(crate) fn end_body(&mut self, trailers: Option<HeaderMap>) {
        let mut queue = self.queue.borrow_mut();
        (queue.is_ended, queue.trailers) = (true, trailers);
    }

    /// Whether the system has taken everything that was queued.
    pub(crate) fn is_flushed(&self) -> bool {
        self.queue.borrow().piece.is_none() && !self.socket.is_full.get()
    }

    /// Whether the platform reads no more of the body.
    pub(crate) fn is_rejected(&self) -> bool {
        let is_wanted = match &self.reply {
            Reply::Pending(_) => true,
            Reply::Receiving(status, ..) | Reply::Complete(status, _) => status.is_success(),
            Reply::Failed(_) => false,
        };
        // hyper drops its reference to the queue when it stops sending the body.
        !is_wanted || self.connection.is_none() || Rc::strong_count(&self.queue) == 1
    }

    /// Whether the reply is complete, or will never be.
    pub(crate) fn has_reply(&self) -> bool {
        matches!(self.reply, Reply::Complete(..) | Reply::Failed(_))
    }

    /// Sends and receives until `is_done`.
    ///
    /// # Errors
    /// If `limit` is reached first.
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

    /// Sends and receives until the socket would block.
    fn poll(&mut self) {
        let waker = Waker::from(Arc::clone(&self.wake_flag));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Some(connection) = &mut self.connection
                && Pin::new(connection).poll(&mut context).is_ready()
            {
                // If it failed, the reply has the error.
                self.connection = None;
            }
            self.poll_reply(&mut context);
            if !self.wake_flag.0.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    }

    fn poll_reply(&mut self, context: &mut Context) {
        if let Reply::Pending(future) = &mut self.reply {
            match future.as_mut().poll(context) {
                Poll::Ready(Ok(reply)) => {
                    let (head, body) = reply.into_parts();
                    self.reply = Reply::Receiving(head.status, body, Vec::new());
                }
                Poll::Ready(Err(error)) => self.reply = Reply::Failed(error_text(&error)),
                Poll::Pending => {}
            }
        }
        while let Reply::Receiving(status, body, text) = &mut self.reply {
            match Pin::new(body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    let room = MAX_REPLY_BYTES.saturating_sub(text.len());
                    text.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                // A body that breaks off does not matter: the status decides.
                Poll::Ready(_) => self.reply = Reply::Complete(*status, std::mem::take(text)),
                Poll::Pending => return,
            }
        }
    }
}

/// hyper's message, with the system's behind it.
fn error_text(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Set if a future became ready while we polled, so that we have to poll again.
#[derive(Debug, Default)]
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What hyper sends next.
#[derive(Debug, Default)]
struct BodyQueue {
    piece: Option<Bytes>,
    /// The body ends after the piece.
    is_ended: bool,
    /// Sent after the end of the body.
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
        let mut queue = self.0.borrow_mut();
        if let Some(piece) = queue.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if queue.is_ended {
            Poll::Ready(queue.trailers.take().map(|map| Ok(Frame::trailers(map))))
        } else {
            // No waker is needed: the code that queues more also polls.
            Poll::Pending
        }
    }
}

/// A nonblocking socket.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    /// Whether the last write would have blocked.
    is_full: Cell<bool>,
}

impl Socket {
    fn note_write(&self, result: io::Result<usize>) -> Poll<io::Result<usize>> {
        let written = to_poll(result);
        self.is_full.set(written.is_pending());
        written
    }
}

/// Turns `EAGAIN` into `Pending`.
fn to_poll<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
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
        // hyper's buffer is not initialised, so read() cannot write to it. A reply is short: a copy costs little.
        let mut piece = [0; 1024];
        let room = buffer.remaining().min(piece.len());
        let mut stream = &self.0.stream;
        to_poll(stream.read(&mut piece[..room])).map_ok(|count| buffer.put_slice(&piece[..count]))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut stream = &self.0.stream;
        self.0.note_write(stream.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context,
        slices: &[IoSlice],
    ) -> Poll<io::Result<usize>> {
        let mut stream = &self.0.stream;
        self.0.note_write(stream.write_vectored(slices))
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
