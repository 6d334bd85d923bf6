//! A small HTTP/1.1 parser and client, written by hand so that a test sees every byte, and can send malformed messages.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The first line of a message and its headers, in their original spelling.
#[derive(Debug, Clone)]
pub struct Head {
    pub first_line: String,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// The value of a header. The name matches in any case.
pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.as_str())
}

/// Reads a message up to the empty line after its headers. `None` if the peer closed before the first byte.
pub fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        if line.is_empty() && lines.is_empty() {
            return Ok(None);
        }
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "a line of the head does not end in CR LF: {}",
                    line.escape_ascii()
                ),
            ));
        };
        if line.is_empty() {
            break;
        }
        lines.push(String::from_utf8_lossy(line).into_owned());
    }
    if lines.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the head is empty",
        ));
    }
    let first_line = lines.remove(0);
    let headers = lines
        .into_iter()
        .map(|line| match line.split_once(':') {
            Some((name, value)) => Ok((name.to_owned(), value.trim().to_owned())),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("not a header: {line}"),
            )),
        })
        .collect::<io::Result<_>>()?;
    Ok(Some(Head {
        first_line,
        headers,
    }))
}

/// Reads a body into `body`. After an error `body` holds the bytes that came before it.
/// Without a length, a request has no body, and a reply goes on until the connection is closed.
pub fn read_body(reader: &mut impl BufRead, head: &Head, body: &mut Vec<u8>) -> io::Result<()> {
    let chunked = head
        .header("Transfer-Encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    if chunked {
        let mut take = |bytes: &[u8]| {
            body.extend_from_slice(bytes);
            Ok(())
        };
        return read_chunks(reader, &mut take).map(drop);
    }
    match head.header("Content-Length") {
        Some(length) => {
            let length: u64 = length.parse().map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("Content-Length is {length}"),
                )
            })?;
            read_exactly(reader, length, body)
        }
        None if head.first_line.starts_with("HTTP/") => reader.read_to_end(body).map(drop),
        None => Ok(()),
    }
}

fn read_exactly(reader: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = reader.take(length).read_to_end(body)? as u64;
    if read == length {
        return Ok(());
    }
    let text = format!("the body ended after {read} of {length} bytes");
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
}

/// Reads a chunked body, passing each part to `take` as it arrives. Returns the trailers.
pub fn read_chunks(
    reader: &mut impl BufRead,
    take: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Vec<(String, String)>> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let digits = line.trim_end().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(digits, 16).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, format!("chunk size {line:?}"))
        })?;
        if size == 0 {
            // Trailers look like a head without its first line.
            return read_head(&mut io::Cursor::new(b"0\r\n").chain(reader))
                .map(|head| head.map(|head| head.headers).unwrap_or_default());
        }
        let mut left = size;
        while left > 0 {
            let bytes = reader.fill_buf()?;
            if bytes.is_empty() {
                let text = format!("a chunk of {size} bytes lacks {left}");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            take(&bytes[..count])?;
            reader.consume(count);
            left -= count as u64;
        }
        let mut end = String::new();
        reader.read_line(&mut end)?;
        if end != "\r\n" {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a chunk has no CR LF after it",
            ));
        }
    }
}

#[derive(Debug)]
pub struct HttpReply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl HttpReply {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// Sends a POST on a new connection and reads the reply. Each read waits at most `limit`.
pub fn post(
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> io::Result<HttpReply> {
    PendingRequest::send(address, "POST", path, headers, body)?.reply(limit)
}

/// A request that has been sent. Its reply may still be on its way.
#[derive(Debug)]
pub struct PendingRequest {
    stream: TcpStream,
    has_body: bool,
}

impl PendingRequest {
    /// Sends a request on a new connection. If `headers` has `Transfer-Encoding`, `body` must be encoded already; see
    /// [`chunks`].
    pub fn send(
        address: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut message =
            format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        for (name, value) in headers {
            message.extend([name, ": ", value, "\r\n"]);
        }
        let is_encoding = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case("Transfer-Encoding");
        if !headers.iter().any(is_encoding) {
            message.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        message.push_str("\r\n");
        stream.write_all(message.as_bytes())?;
        stream.write_all(body)?;
        let has_body = method != "HEAD";
        Ok(Self { stream, has_body })
    }

    /// Sends more of a chunked body.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// True if the first byte of the reply has arrived, or the connection was closed.
    pub fn is_answered(&self) -> bool {
        let set_nonblocking = |on| self.stream.set_nonblocking(on);
        set_nonblocking(true).expect("a socket");
        let peeked = self.stream.peek(&mut [0]);
        set_nonblocking(false).expect("a socket");
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The bytes of the reply that have arrived so far, head included. Does not wait.
    pub fn received_so_far(&self) -> Vec<u8> {
        let mut bytes = vec![0; 64 * 1024];
        let set_nonblocking = |on| self.stream.set_nonblocking(on);
        set_nonblocking(true).expect("a socket");
        let count = self.stream.peek(&mut bytes).unwrap_or(0);
        set_nonblocking(false).expect("a socket");
        bytes.truncate(count);
        bytes
    }

    /// Reads the reply. Each read waits at most `limit`.
    pub fn reply(self, limit: Duration) -> io::Result<HttpReply> {
        let (mut reply, error) = self.partial_reply(limit)?;
        match error {
            None => Ok(reply),
            Some(error) => {
                reply.body.clear();
                Err(error)
            }
        }
    }

    /// As [`reply`](Self::reply), but a body that was cut off is returned with the error that cut it off.
    pub fn partial_reply(self, limit: Duration) -> io::Result<(HttpReply, Option<io::Error>)> {
        self.stream.set_read_timeout(Some(limit))?;
        let mut reader = BufReader::new(self.stream);
        let head = read_head(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.first_line.split(' ').nth(1);
        let status = status.and_then(|code| code.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let mut body = Vec::new();
        let read = if self.has_body {
            read_body(&mut reader, &head, &mut body)
        } else {
            Ok(())
        };
        let headers = head.headers;
        let reply = HttpReply {
            status,
            headers,
            body,
        };
        Ok((reply, read.err()))
    }
}

/// Encodes `body` in chunks of `size` bytes, followed by `trailers`.
pub fn chunks(body: &[u8], size: usize, trailers: &[(&str, &str)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for piece in body.chunks(size) {
        encoded.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        encoded.extend_from_slice(piece);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        encoded.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    encoded.extend_from_slice(b"\r\n");
    encoded
}
