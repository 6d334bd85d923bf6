//! The HTTP/1.1 of a Runtime API, over one blocking connection.
//!
//! One `read` reads a head, and one `writev` writes a head with its body: the time between two system calls here is
//! measured as if it were the runtime's.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use coshell_wire as wire;

/// No runtime sends a longer head.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 64;
/// More than Lambda accepts, so that an answer that is too long is read, and counts as wrong.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The head of a request.
#[derive(Debug)]
pub(crate) struct Head {
    /// Whether it is a GET. Any other request has a body.
    pub is_get: bool,
    pub path: String,
    body: Body,
    is_100_expected: bool,
    /// Whether the connection is closed after the answer.
    pub is_last: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Chunked,
    OfLength(usize),
}

/// A connection, and the bytes that were read ahead.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Arc<TcpStream>,
    buffer: Vec<u8>,
    /// How many bytes of the buffer were read, and how many of these are consumed.
    filled: usize,
    consumed: usize,
    body: Vec<u8>,
}

fn invalid(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}

impl Connection {
    pub(crate) fn new(stream: Arc<TcpStream>) -> Self {
        Self {
            stream,
            buffer: vec![0; 16 * 1024],
            filled: 0,
            consumed: 0,
            body: Vec::new(),
        }
    }

    /// Reads once. Returns false at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        if self.consumed == self.filled {
            (self.consumed, self.filled) = (0, 0);
        } else if self.filled == self.buffer.len() {
            if self.consumed == 0 && self.buffer.len() >= MAX_HEAD_BYTES {
                return Err(invalid(format!(
                    "a head of more than {MAX_HEAD_BYTES} bytes"
                )));
            }
            self.buffer.copy_within(self.consumed..self.filled, 0);
            self.filled -= self.consumed;
            self.consumed = 0;
            self.buffer.resize(MAX_HEAD_BYTES, 0);
        }
        let count = (&*self.stream).read(&mut self.buffer[self.filled..])?;
        self.filled += count;
        Ok(count > 0)
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.consumed..self.filled]
    }

    /// Reads the next head, and blocks until it is complete. `None` if the runtime has closed the connection.
    ///
    /// # Errors
    /// The system's, and `InvalidData` for anything that is no HTTP.
    pub(crate) fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if !self.unread().is_empty()
                && let Some((head, len_bytes)) = parse(self.unread())?
            {
                self.consumed += len_bytes;
                return Ok(Some(head));
            }
            if !self.fill()? {
                return match self.unread().len() {
                    0 => Ok(None),
                    count => Err(invalid(format!(
                        "the connection ends after {count} bytes of a head"
                    ))),
                };
            }
        }
    }

    /// Reads the body after `head`, and whether a trailer reports that the function failed meanwhile.
    ///
    /// # Errors
    /// The system's, and `InvalidData` for anything that is no HTTP.
    pub(crate) fn body(&mut self, head: &Head) -> io::Result<(&[u8], bool)> {
        if head.is_100_expected {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n", b"")?;
        }
        let mut len_bytes = 0;
        let mut is_failed = false;
        if let Body::OfLength(length) = head.body {
            len_bytes = self.take(0, length)?;
        } else {
            loop {
                let chunk = self.chunk_size()?;
                if chunk == 0 {
                    is_failed = self.trailers()?;
                    break;
                }
                len_bytes = self.take(len_bytes, chunk)?;
                // The line end after a chunk.
                let _ = self.take(len_bytes, 2)?;
            }
        }
        Ok((&self.body[..len_bytes], is_failed))
    }

    /// Moves `count` bytes to the body, behind its first `start` bytes, and returns where they end. The body is never shortened:
    /// memory that is used again needs no clearing and no new pages while a runtime is measured.
    fn take(&mut self, start: usize, count: usize) -> io::Result<usize> {
        let end = start.saturating_add(count);
        if end > MAX_BODY_BYTES {
            return Err(invalid(format!(
                "a body of more than {MAX_BODY_BYTES} bytes"
            )));
        }
        if self.body.len() < end {
            self.body.resize(end, 0);
        }
        let early = self.unread().len().min(count);
        self.body[start..start + early]
            .copy_from_slice(&self.buffer[self.consumed..self.consumed + early]);
        self.consumed += early;
        (&*self.stream).read_exact(&mut self.body[start + early..end])?;
        Ok(end)
    }

    fn chunk_size(&mut self) -> io::Result<usize> {
        loop {
            let parsed = httparse::parse_chunk_size(self.unread());
            match parsed.map_err(|_| invalid("a chunk without a size"))? {
                httparse::Status::Complete((len_bytes, size)) => {
                    self.consumed += len_bytes;
                    return usize::try_from(size).map_err(invalid);
                }
                httparse::Status::Partial => self.fill_on()?,
            }
        }
    }

    /// Whether a trailer reports a failure.
    fn trailers(&mut self) -> io::Result<bool> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            match httparse::parse_headers(self.unread(), &mut headers).map_err(invalid)? {
                httparse::Status::Complete((len_bytes, found)) => {
                    let is_error = |header: &httparse::Header| {
                        header.name.eq_ignore_ascii_case(wire::ERROR_TYPE)
                    };
                    let is_failed = found.iter().any(is_error);
                    self.consumed += len_bytes;
                    return Ok(is_failed);
                }
                httparse::Status::Partial => self.fill_on()?,
            }
        }
    }

    fn fill_on(&mut self) -> io::Result<()> {
        if self.fill()? {
            return Ok(());
        }
        Err(invalid("the connection ends within a body"))
    }

    /// Writes both, as [`send`] does.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn send(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        send(&self.stream, head, body)
    }
}

/// Writes `head` and `body`, in one system call if the socket has room for them.
///
/// # Errors
/// The system's.
pub fn send(mut stream: &TcpStream, mut head: &[u8], mut body: &[u8]) -> io::Result<()> {
    while !head.is_empty() || !body.is_empty() {
        let count = stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = count.min(head.len());
        head = &head[of_head..];
        body = &body[count - of_head..];
    }
    Ok(())
}

/// The head at the start of `bytes`, and its length; `None` if it is not complete.
fn parse(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len_bytes) = request.parse(bytes).map_err(invalid)? else {
        return Ok(None);
    };
    let is_old = request.version == Some(0);
    let mut head = Head {
        is_get: request.method == Some("GET"),
        path: request.path.unwrap_or_default().to_owned(),
        body: Body::OfLength(0),
        is_100_expected: false,
        is_last: is_old,
    };
    let mut is_chunked = false;
    for header in request.headers.iter() {
        let has = |word: &[u8]| {
            let mut words = header.value.split(|&byte| byte == b',');
            words.any(|one| one.trim_ascii().eq_ignore_ascii_case(word))
        };
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let text = String::from_utf8_lossy(header.value);
            head.body = Body::OfLength(
                text.trim()
                    .parse()
                    .map_err(|_| invalid("a content-length that is not a number"))?,
            );
        } else if is("transfer-encoding") {
            is_chunked |= has(b"chunked");
        } else if is("expect") {
            head.is_100_expected |= has(b"100-continue");
        } else if is("connection") {
            head.is_last = has(b"close") || (is_old && !has(b"keep-alive"));
        }
    }
    if is_chunked {
        head.body = Body::Chunked;
    }
    Ok(Some((head, len_bytes)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// The bodies, and whether a trailer reported a failure.
    type Bodies = Vec<(Vec<u8>, bool)>;

    /// The paths and bodies that a connection reads from `pieces`, each of them written by itself.
    fn received(pieces: &'static [&'static str]) -> (Vec<String>, io::Result<Bodies>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let writer = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
                thread::yield_now();
            }
        });
        let mut connection = Connection::new(Arc::new(listener.accept().unwrap().0));
        let mut paths = Vec::new();
        let mut all = || {
            let mut bodies = Vec::new();
            while let Some(head) = connection.head()? {
                paths.push(head.path.clone());
                let (body, is_failed) = connection.body(&head)?;
                bodies.push((body.to_vec(), is_failed));
            }
            Ok(bodies)
        };
        let bodies = all();
        writer.join().unwrap();
        (paths, bodies)
    }

    #[test]
    fn bodies_come_by_length_and_in_chunks() {
        let (paths, bodies) = received(&[
            "GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nContent-",
            "Length: 5\r\n\r\nhel",
            "loPOST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1",
            "\r\nd\r\n0\r\n\r\nPOST /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
            "Lambda-Runtime-Function-Error-Type: Function.X\r\n\r\n",
        ]);
        assert_eq!(paths, ["/a", "/b", "/c", "/d"]);
        let expected = [("", false), ("hello", false), ("abcd", false), ("x", true)];
        let expected = expected.map(|(body, is_failed)| (body.as_bytes().to_vec(), is_failed));
        assert_eq!(bodies.unwrap(), expected);
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        let wrong: [&'static [&'static str]; 5] = [
            &["hello\r\n\r\n"],
            &["GET /a HTTP/1.1\r\n"],
            &["POST /a HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
            &["POST /a HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"],
            &["POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
        ];
        for pieces in wrong {
            let kind = received(pieces).1.unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::InvalidData, "{pieces:?}");
        }
    }
}
