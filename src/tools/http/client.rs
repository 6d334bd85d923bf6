//! The client: one agent of ureq for each way to reach servers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::http;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, SendBody};

use super::watch::{Watched, watch};
use super::{Body, HttpError, Request, Response, proxy};

/// A server may close a connection that has been idle for some seconds more.
const MAX_IDLE: Duration = Duration::from_secs(15);
/// How many connections in a row may turn out to be closed; curl has the same limit.
const MAX_TRIES: u32 = 6;
/// Enough for large objects: a socket takes this much at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// How to reach servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    /// The URL of a proxy.
    pub proxy: Option<String>,
    /// Authorities in PEM, in place of the built-in ones.
    pub authorities: Option<Arc<Vec<u8>>>,
    /// Takes every certificate.
    pub is_insecure: bool,
}

/// Limits of one request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub connect: Option<Duration>,
    /// For each read.
    pub read: Option<Duration>,
    /// For everything.
    pub total: Option<Duration>,
}

/// Whether a body could not be read because the time was up.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    error.kind() == io::ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_)))
}

/// Connections, by how they are made.
#[derive(Debug, Default)]
pub(crate) struct Client {
    agents: Mutex<HashMap<Route, Agent>>,
}

impl Client {
    /// Sends a request, and reads the head of the answer. Any status is an answer.
    ///
    /// # Errors
    /// No answer came.
    pub(crate) fn send(
        &self,
        request: &Request,
        route: &Route,
        limits: Limits,
    ) -> Result<Response, HttpError> {
        let failed = |cause| HttpError::new(cause, false);
        let relayed = proxy::Relay::of(request, route).map_err(failed)?;
        let direct = Route {
            proxy: None,
            ..route.clone()
        };
        let route = if relayed.is_some() { &direct } else { route };
        let agent = self.agent(route).map_err(failed)?;
        let started = Instant::now();
        let mut tries = MAX_TRIES;
        loop {
            let left = |limit: Duration| limit.saturating_sub(started.elapsed());
            let limits = Limits {
                total: limits.total.map(left),
                ..limits
            };
            let (sent, seen) = watch(relayed.is_some(), || {
                send(&agent, request, relayed.as_ref(), limits)
            });
            let error = match sent {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            tries -= 1;
            // The server closed a connection that it had kept, perhaps while the sandbox was frozen.
            let was_closed = is_disconnected(&error) && !seen.has_received;
            let can_repeat = !matches!(request.body, Body::Stream(_));
            if !was_closed || seen.has_connected || tries == 0 || !can_repeat {
                return Err(HttpError::new(error, was_closed && seen.has_sent));
            }
        }
    }

    fn agent(&self, route: &Route) -> Result<Agent, ureq::Error> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(route) {
            return Ok(agent.clone());
        }
        let agent = new_agent(route)?;
        agents.insert(route.clone(), agent.clone());
        Ok(agent)
    }
}

fn new_agent(route: &Route) -> Result<Agent, ureq::Error> {
    let mut tls = TlsConfig::builder().disable_verification(route.is_insecure);
    if let Some(pem) = &route.authorities {
        let mut certificates: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(pem) {
            if let PemItem::Certificate(certificate) = item? {
                certificates.push(certificate);
            }
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
    }
    let proxy = route.proxy.as_deref().map(proxy::read).transpose()?;
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .tls_config(tls.build())
        .proxy(proxy)
        .user_agent("")
        .accept("")
        .accept_encoding("")
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .max_idle_age(MAX_IDLE)
        .build();
    Ok(Agent::with_parts(
        config,
        Watched::default(),
        DefaultResolver::default(),
    ))
}

fn is_disconnected(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        ),
        _ => false,
    }
}

fn send(
    agent: &Agent,
    request: &Request,
    relay: Option<&proxy::Relay>,
    limits: Limits,
) -> Result<Response, ureq::Error> {
    let mut built = http::Request::builder().method(request.method.as_str());
    built = match relay {
        Some(relay) => built.uri(relay.uri.clone()),
        None => built.uri(&request.url),
    };
    let is_chunked = request.is_chunked();
    for (name, value) in &request.headers {
        // These belong to the body, which knows better.
        let is_framing = match name.as_str() {
            "content-length" => is_chunked || request.body.length().is_some(),
            "transfer-encoding" => matches!(request.body, Body::None),
            _ => false,
        };
        if is_framing {
            continue;
        }
        let is_chunks = is_chunked && name == "transfer-encoding";
        // ureq knows the word in small letters.
        let value = if is_chunks { "chunked" } else { value };
        built = built.header(name, value.as_bytes());
    }
    for (name, value) in relay.iter().flat_map(|relay| &relay.headers) {
        built = built.header(*name, value);
    }
    // Without a length ureq would send these in chunks.
    let takes_body = matches!(request.method.as_str(), "POST" | "PUT" | "PATCH");
    let built = match request.body.length() {
        _ if is_chunked => built,
        Some(0) if !takes_body => built,
        Some(length) => built.header(http::header::CONTENT_LENGTH, length),
        None => built,
    };
    let body = match &request.body {
        Body::None => SendBody::none(),
        body => SendBody::from_owned_reader(reader(body)?),
    };
    let request = built.body(body).map_err(ureq::Error::Http)?;
    let request = agent
        .configure_request(request)
        .timeout_connect(limits.connect)
        .timeout_recv_response(limits.read)
        .timeout_per_read(limits.read)
        .timeout_global(limits.total)
        .build();
    let response = agent.run(request)?;
    let (head, body) = response.into_parts();
    let headers = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    Ok(Response {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: Box::new(body.into_with_config().limit(u64::MAX).reader()),
    })
}

/// Reads a body from its beginning.
fn reader(body: &Body) -> io::Result<Box<dyn Read>> {
    Ok(match body {
        Body::None => Box::new(io::empty()),
        Body::Bytes(bytes) => Box::new(io::Cursor::new(Shared(Arc::clone(bytes)))),
        Body::Part {
            file,
            start,
            length,
        } => Box::new(Part {
            file: file.try_clone()?,
            at: *start,
            left: *length,
        }),
        Body::Pieces(pieces) => {
            let mut all: Box<dyn Read> = Box::new(io::empty());
            for piece in pieces {
                all = Box::new(all.chain(reader(piece)?));
            }
            all
        }
        Body::Stream(file) => Box::new(file.try_clone()?),
    })
}

/// Reads a part of a file, at its own offset.
struct Part {
    file: File,
    at: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter",
            ));
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Bytes that a copy of the request needs, too.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
