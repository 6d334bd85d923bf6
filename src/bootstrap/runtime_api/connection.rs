//! The TCP connection under ureq. It sends a request in one write, and knows whether the request was sent.
//!
//! ureq's own transport writes the head and the body of a request separately, and sets a timeout for each read. This one holds
//! back what ureq sends until ureq waits for the reply. That takes a GET and a POST together from 17 system calls and 46 µs to
//! 6 and 27 µs. No request fails after a time, because the sandbox may be frozen for any time while we read. Only after SIGTERM
//! do we soon give up. The first connection is opened while bash starts. Only `mod.rs` and its neighbours in this folder use
//! this file.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use std::os::fd::{AsFd, AsRawFd};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error};

use crate::wait::{Limit, Signals};

/// How long to wait before each further try if the Runtime API cannot be reached.
pub(crate) const RETRY_AFTER: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
];
/// The Runtime API is on this machine: if connecting takes longer, nothing listens there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a read or a write blocks before we look whether we have to shut down. Most replies come earlier, and so cost no
/// system call for that.
const LOOK_AFTER: Duration = Duration::from_millis(20);
/// Lambda records the first token as the runtime's release.
pub(crate) const USER_AGENT: &str = concat!("coshell/", env!("CARGO_PKG_VERSION"));
/// Room for the largest head of a next invocation.
const INPUT_BYTES: usize = 64 * 1024;
const OUTPUT_BYTES: usize = 64 * 1024;

/// The state of the current request. Whether a failed request may be repeated depends on it.
#[derive(Default)]
pub(crate) struct Progress {
    sent: AtomicBool,
    interruptible: AtomicBool,
    when_sent: Mutex<Option<WhenSent>>,
}

/// Work that is done once, after a request was sent and before its reply is read.
pub(crate) type WhenSent = Box<dyn FnOnce() + Send>;

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress")
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

impl Progress {
    /// Begins a new request.
    pub(crate) fn reset(&self) {
        self.sent.store(false, Ordering::Relaxed);
    }

    /// Sets whether a request to shut down ends the wait for a reply.
    pub(crate) fn set_interruptible(&self, interruptible: bool) {
        self.interruptible.store(interruptible, Ordering::Relaxed);
    }

    /// Sets what to do when the next request was sent.
    pub(crate) fn set_when_sent(&self, action: Option<WhenSent>) {
        *self.when_sent() = action;
    }

    fn when_sent(&self) -> MutexGuard<'_, Option<WhenSent>> {
        self.when_sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the system has taken the whole request, so that it may have arrived.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Opens connections to the Runtime API.
#[derive(Debug)]
pub(crate) struct RuntimeApiConnector {
    api: String,
    opened: Mutex<Option<TcpStream>>,
    progress: Arc<Progress>,
    signals: Arc<Signals>,
}

impl RuntimeApiConnector {
    /// `api` is `host:port`. `opened` is the first connection; without it the first request opens one.
    pub(crate) fn new(
        api: &str,
        opened: Option<TcpStream>,
        progress: Arc<Progress>,
        signals: Arc<Signals>,
    ) -> Self {
        Self {
            api: api.to_owned(),
            opened: Mutex::new(opened),
            progress,
            signals,
        }
    }
}

/// An agent that keeps its connections, without a proxy, redirects or timeouts. `opened` is its first connection.
pub(crate) fn agent(
    api: &str,
    opened: Option<TcpStream>,
    progress: &Arc<Progress>,
    signals: &Arc<Signals>,
) -> Agent {
    let config = Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .max_idle_age(Duration::from_secs(24 * 3600))
        .max_response_header_size(64 * 1024)
        .user_agent(USER_AGENT)
        .accept("")
        .accept_encoding("")
        .build();
    let connector =
        RuntimeApiConnector::new(api, opened, Arc::clone(progress), Arc::clone(signals));
    Agent::with_parts(config, connector, NoResolver)
}

/// Connects to the Runtime API at `api`, for at most a second for each address.
///
/// # Errors
/// The system's, for the last address that was tried.
pub(crate) fn connect(api: &str) -> io::Result<TcpStream> {
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in api.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(LOOK_AFTER))?;
                stream.set_write_timeout(Some(LOOK_AFTER))?;
                return Ok(stream);
            }
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

impl Connector for RuntimeApiConnector {
    type Out = RuntimeApiTransport;

    fn connect(
        &self,
        _: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<RuntimeApiTransport>, Error> {
        let opened = self
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let stream = match opened {
            Some(stream) => stream,
            None => connect(&self.api)?,
        };
        Ok(Some(RuntimeApiTransport {
            stream,
            held: Vec::new(),
            has_just_read: false,
            buffers: LazyBuffers::new(INPUT_BYTES, OUTPUT_BYTES),
            progress: Arc::clone(&self.progress),
            signals: Arc::clone(&self.signals),
        }))
    }
}

/// Saves ureq from resolving the name for every request. The connector resolves it when it connects.
#[derive(Debug)]
pub(crate) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(addresses)
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct RuntimeApiTransport {
    stream: TcpStream,
    /// Output that is held back.
    held: Vec<u8>,
    /// Whether the last call was a read.
    has_just_read: bool,
    buffers: LazyBuffers,
    progress: Arc<Progress>,
    signals: Arc<Signals>,
}

impl RuntimeApiTransport {
    fn send_held(&mut self) -> io::Result<()> {
        if !self.held.is_empty() {
            write_all(&self.stream, &self.signals, &mut [IoSlice::new(&self.held)])?;
            self.held.clear();
        }
        Ok(())
    }
}

impl Transport for RuntimeApiTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let output = &self.buffers.output()[..amount];
        if self.held.len() + amount <= OUTPUT_BYTES / 4 {
            self.held.extend_from_slice(output);
            return Ok(());
        }
        let slices = &mut [IoSlice::new(&self.held), IoSlice::new(output)];
        write_all(&self.stream, &self.signals, slices)?;
        self.held.clear();
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        self.send_held()?;
        self.progress.sent.store(true, Ordering::Relaxed);
        let action = self.progress.when_sent().take();
        if let Some(action) = action {
            action();
        }
        if self.progress.interruptible.load(Ordering::Relaxed)
            && !self.signals.wait_readable(self.stream.as_fd())
        {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        let mut limit = Limit::new(&self.signals, None);
        let count = loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(error) => wait_after(error, &self.stream, &mut limit, false)?,
                Ok(count) => break count,
            }
        };
        self.buffers.input_appended(count);
        self.has_just_read = true;
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        // ureq checks after it has read a reply, and again before the next request. Only the second check matters.
        if std::mem::take(&mut self.has_just_read) {
            return true;
        }
        // Anything to read now is the end of the stream, or a reply without a request.
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.stream.as_raw_fd(), &mut [0], flags) == Err(nix::Error::EAGAIN)
    }
}

fn write_all(
    mut stream: &TcpStream,
    signals: &Signals,
    mut slices: &mut [IoSlice],
) -> io::Result<()> {
    let mut limit = Limit::new(signals, None);
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match stream.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut slices, count),
            Err(error) => wait_after(error, stream, &mut limit, true)?,
        }
    }
    Ok(())
}

/// Waits until `stream` is ready, if a read or, with `is_write`, a write ended with `error` because it is not.
fn wait_after(
    error: io::Error,
    stream: &TcpStream,
    limit: &mut Limit,
    is_write: bool,
) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock => limit
            .wait_socket(stream.as_fd(), is_write)
            .map_err(|_| io::ErrorKind::TimedOut.into()),
        // If a body has no length, ureq would take a reset connection for its end.
        _ => Err(io::Error::other(error)),
    }
}
