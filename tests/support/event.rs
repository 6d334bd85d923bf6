//! An invocation as the scripted Runtime API writes it to the wire, correctly or with a fault.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use nix::sys::socket::{MsgFlags, send};

use crate::{LIMIT, excerpt};

/// The environment variables of an invocation, each with the header that carries its value. The request id comes first.
pub const CONTEXT: [(&str, &str); 8] = [
    (
        "LAMBDA_RUNTIME_AWS_REQUEST_ID",
        "Lambda-Runtime-Aws-Request-Id",
    ),
    ("LAMBDA_RUNTIME_DEADLINE_MS", "Lambda-Runtime-Deadline-Ms"),
    (
        "LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN",
        "Lambda-Runtime-Invoked-Function-Arn",
    ),
    ("LAMBDA_RUNTIME_TRACE_ID", "Lambda-Runtime-Trace-Id"),
    ("_X_AMZN_TRACE_ID", "Lambda-Runtime-Trace-Id"),
    (
        "LAMBDA_RUNTIME_CLIENT_CONTEXT",
        "Lambda-Runtime-Client-Context",
    ),
    (
        "LAMBDA_RUNTIME_COGNITO_IDENTITY",
        "Lambda-Runtime-Cognito-Identity",
    ),
    (
        "LAMBDA_RUNTIME_AWS_TENANT_ID",
        "Lambda-Runtime-Aws-Tenant-Id",
    ),
];

/// An invocation with its headers and framing.
#[derive(Debug, Clone)]
pub struct Event {
    pub request_id: String,
    body: Vec<u8>,
    headers: Vec<(String, String)>,
    chunk_len: Option<usize>,
    ending: Ending,
    byte_by_byte: bool,
}

#[derive(Debug, Clone)]
enum Ending {
    Whole,
    WholeThenClose,
    CutAfter(usize),
    NoLastChunk,
    StallAfter(usize, Gate),
}

impl Event {
    /// An event with the headers that Lambda always sends, its body framed by Content-Length.
    pub fn new(request_id: &str, body: impl AsRef<[u8]>) -> Self {
        Self::bare(request_id, body)
            .with_deadline_in(Duration::from_secs(60))
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:eu-central-1:012345678912:function:function",
            )
            .header(
                "Lambda-Runtime-Trace-Id",
                "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
            )
    }

    /// As [`new`](Self::new), with a unique request id.
    pub fn fresh(body: impl AsRef<[u8]>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::new(&format!("8476a536-e9f4-11e8-9739-{number:012x}"), body)
    }

    /// An event whose only Lambda header is the request id.
    pub fn bare(request_id: &str, body: impl AsRef<[u8]>) -> Self {
        let event = Self {
            request_id: request_id.to_owned(),
            body: body.as_ref().to_vec(),
            headers: Vec::new(),
            chunk_len: None,
            ending: Ending::Whole,
            byte_by_byte: false,
        };
        event
            .header("Content-Type", "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", request_id)
    }

    /// Sets the deadline to this time from now.
    pub fn with_deadline_in(self, time: Duration) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let deadline_ms = (now.unwrap_or_default() + time).as_millis();
        self.header("Lambda-Runtime-Deadline-Ms", &deadline_ms.to_string())
    }

    /// The same event under another request id.
    pub fn with_request_id(mut self, request_id: &str) -> Self {
        request_id.clone_into(&mut self.request_id);
        self.header("Lambda-Runtime-Aws-Request-Id", request_id)
    }

    /// Adds a header. A header of that name, in any case, is replaced.
    pub fn header(self, name: &str, value: &str) -> Self {
        let mut event = self.without(name);
        event.headers.push((name.to_owned(), value.to_owned()));
        event
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    /// Changes the spelling of every header name, for example to lower case.
    pub fn with_header_spelling(mut self, spelling: fn(&str) -> String) -> Self {
        for (name, _) in &mut self.headers {
            *name = spelling(name);
        }
        self
    }

    /// Sends the body in chunks of `chunk_len` bytes.
    pub fn chunked(mut self, chunk_len: usize) -> Self {
        assert!(chunk_len > 0, "a chunk has bytes");
        self.chunk_len = Some(chunk_len);
        self
    }

    /// Writes head and body one byte per packet.
    pub fn byte_by_byte(mut self) -> Self {
        self.byte_by_byte = true;
        self
    }

    /// Closes the connection after this many bytes of the body.
    pub fn cut_after(mut self, len_bytes: usize) -> Self {
        self.ending = Ending::CutAfter(len_bytes);
        self
    }

    /// Closes the connection before the empty chunk that ends a chunked body.
    pub fn without_last_chunk(mut self) -> Self {
        assert!(
            self.chunk_len.is_some(),
            "only a chunked body has a last chunk"
        );
        self.ending = Ending::NoLastChunk;
        self
    }

    /// Closes the connection together with the last byte of the event: the reader finds end of file right behind it.
    pub fn then_close(mut self) -> Self {
        self.ending = Ending::WholeThenClose;
        self
    }

    /// Stops after this many bytes of the body until `gate` is opened.
    pub fn stall_after(mut self, len_bytes: usize, gate: &Gate) -> Self {
        self.ending = Ending::StallAfter(len_bytes, gate.clone());
        self
    }

    pub fn is_whole(&self) -> bool {
        !matches!(self.ending, Ending::CutAfter(_) | Ending::NoLastChunk)
    }

    /// One line for the transcript.
    pub(crate) fn describe(&self) -> String {
        let framing = match self.chunk_len {
            Some(chunk_len) => format!("in chunks of {chunk_len}"),
            None => "by Content-Length".to_owned(),
        };
        let body = excerpt(&self.body);
        format!(
            "event {} {body} {framing}, {:?}",
            self.request_id, self.ending
        )
    }

    fn head(&self) -> Vec<u8> {
        let mut head = "HTTP/1.1 200 OK\r\n".to_owned();
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let framing = match self.chunk_len {
            Some(_) => "Transfer-Encoding: chunked".to_owned(),
            None => format!("Content-Length: {}", self.body.len()),
        };
        head.extend([&framing, "\r\n\r\n"]);
        head.into_bytes()
    }

    /// Bytes `from..to` of the body, with their framing.
    fn frame_body(&self, from: usize, to: usize) -> Vec<u8> {
        let Some(chunk_len) = self.chunk_len else {
            return self.body[from..to].to_vec();
        };
        let mut wire = Vec::new();
        for (number, chunk) in self.body.chunks(chunk_len).enumerate() {
            let start = number * chunk_len;
            let end = start + chunk.len();
            if from <= start && start < to {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            }
            if start < to && from < end {
                wire.extend_from_slice(&self.body[start.max(from)..end.min(to)]);
            }
            if from < end && end <= to {
                wire.extend_from_slice(b"\r\n");
            }
        }
        wire
    }

    fn last_chunk(&self) -> &'static [u8] {
        if self.chunk_len.is_some() {
            b"0\r\n\r\n"
        } else {
            b""
        }
    }

    /// Writes the event. True if the connection stays open.
    pub fn write_to(&self, stream: &mut TcpStream) -> io::Result<bool> {
        let len = self.body.len();
        let mut first = self.head();
        match &self.ending {
            Ending::Whole => {
                first.extend(self.frame_body(0, len));
                first.extend(self.last_chunk());
                self.write(stream, &first)?;
                Ok(true)
            }
            Ending::WholeThenClose => {
                first.extend(self.frame_body(0, len));
                first.extend(self.last_chunk());
                send_with_end(stream, &first)?;
                Ok(false)
            }
            Ending::CutAfter(end) => {
                first.extend(self.frame_body(0, *end));
                self.write(stream, &first)?;
                Ok(false)
            }
            Ending::NoLastChunk => {
                first.extend(self.frame_body(0, len));
                self.write(stream, &first)?;
                Ok(false)
            }
            Ending::StallAfter(end, gate) => {
                first.extend(self.frame_body(0, *end));
                self.write(stream, &first)?;
                gate.wait();
                let mut rest = self.frame_body(*end, len);
                rest.extend(self.last_chunk());
                self.write(stream, &rest)?;
                Ok(true)
            }
        }
    }

    fn write(&self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        let packet_len = if self.byte_by_byte {
            1
        } else {
            bytes.len().max(1)
        };
        bytes
            .chunks(packet_len)
            .try_for_each(|packet| stream.write_all(packet))
    }
}

/// Sends with `MSG_MORE` (`send(2)`): the kernel keeps the last bytes until the connection is closed, so that they arrive
/// together with end of file.
fn send_with_end(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let flags = MsgFlags::from_bits_retain(libc::MSG_MORE);
        let sent = send(stream.as_raw_fd(), bytes, flags)?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// Stops a thread until the test opens the gate, or until [`LIMIT`] has passed.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn open(&self) {
        *self.0.0.lock().expect("gate") = true;
        self.0.1.notify_all();
    }

    pub(crate) fn wait(&self) {
        let open = self.0.0.lock().expect("gate");
        drop(self.0.1.wait_timeout_while(open, LIMIT, |open| !*open));
    }
}
