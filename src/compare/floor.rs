//! A runtime that does nothing: its figures are the cost of measuring.
//!
//! `coshell` starts itself with the argument [`WORD`]. It answers each event with the event, over one connection, with
//! one read and one write for an event.

use std::env;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::process::ExitCode;

use super::endpoint::http::send;
use coshell_wire as wire;

/// The first argument that makes `coshell` this runtime. No user types it.
pub const WORD: &str = "compare-floor";
/// Its name in a report.
pub const NAME: &str = "floor";

/// Answers events until the Runtime API closes the connection.
pub fn serve() -> ExitCode {
    match answer_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coshell: cannot answer events: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer_all() -> io::Result<()> {
    let api = env::var("AWS_LAMBDA_RUNTIME_API").map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(&api)?;
    stream.set_nodelay(true)?;
    let next = format!("GET {} HTTP/1.1\r\nHost: {api}\r\n\r\n", wire::NEXT);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        stream.write_all(next.as_bytes())?;
        let Some((request_id, event)) = read_message(&mut stream, &mut buffer)? else {
            return Ok(());
        };
        let len_bytes = event.len();
        let path = wire::response_path(&request_id);
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {api}\r\nContent-Length: {len_bytes}\r\n\r\n");
        send(&stream, head.as_bytes(), &buffer[event])?;
        if read_message(&mut stream, &mut buffer)?.is_none() {
            return Ok(());
        }
    }
}

/// Reads a message: its request id, if it has one, and the place of its body in the buffer. `None` at the end of the stream.
fn read_message(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<(String, Range<usize>)>> {
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..])?;
        if count == 0 {
            return Ok(None);
        }
        filled += count;
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response
            .parse(&buffer[..filled])
            .map_err(io::Error::other)?;
        let httparse::Status::Complete(start) = parsed else {
            continue;
        };
        let value = |name: &str| {
            let found = response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value).into_owned())
        };
        let request_id = value(wire::REQUEST_ID).unwrap_or_default();
        let length = value("content-length").and_then(|length| length.parse::<usize>().ok());
        let end = start + length.unwrap_or_default();
        if buffer.len() <= end {
            buffer.resize(end + 1, 0);
        }
        if filled < end {
            stream.read_exact(&mut buffer[filled..end])?;
        }
        return Ok(Some((request_id, start..end)));
    }
}
