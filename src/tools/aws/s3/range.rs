//! Downloads a part of an object, and goes on where an answer breaks off.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use super::context::Context;
use super::failure::Failure;
use super::request;
use super::uri;
use crate::aws::AwsError;
use crate::http::Response;

/// How often to ask for the rest of an answer that broke off.
const ATTEMPTS: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_millis(50);
const BUFFER_BYTES: usize = 64 * 1024;

/// A version of an object.
pub(super) struct Object<'o> {
    /// `BUCKET/KEY`.
    pub name: &'o str,
    /// Its `ETag`, once it is known: all answers have to be of this version.
    pub tag: Option<String>,
}

/// The bytes from `start` up to, and without, `end`; or to the end of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub start: u64,
    pub end: Option<u64>,
}

/// Asks for an object, or for a range of it.
///
/// # Errors
/// S3 refuses, or does not answer.
pub(super) fn get(
    context: &Context,
    object: &Object,
    range: Option<Range>,
) -> Result<Response, AwsError> {
    let mut operation = context.operation("GetObject", "GET", object.name);
    if let Some(Range { start, end }) = range {
        let last = end.map(|end| end.saturating_sub(1).to_string());
        let value = format!("bytes={start}-{}", last.unwrap_or_default());
        operation.headers.push(("range".to_owned(), value));
    }
    if let Some(tag) = &object.tag {
        operation.headers.push(("if-match".to_owned(), tag.clone()));
    }
    request::send(context.session, &operation)
}

/// Where an answer ended.
enum Ended {
    /// It has brought all.
    Whole,
    /// It broke off.
    Early(io::Error),
}

/// Gives a range to `write`: the place in the object, and the bytes. `first` is an answer that has come for it.
///
/// # Errors
/// The answers break off too often, are of another version, or `write` fails.
pub(super) fn fetch(
    context: &Context,
    object: &Object,
    first: Option<Response>,
    range: Range,
    mut write: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut first = first;
    let mut at = range.start;
    let mut attempt = 1;
    loop {
        let response = match first.take() {
            Some(response) => response,
            None => ask_again(context, object, Range { start: at, ..range })?,
        };
        match receive(response, &mut at, range.end, &mut write)? {
            Ended::Whole => return Ok(()),
            Ended::Early(error) if attempt == ATTEMPTS => {
                return Err(Failure::Local(format!("Connection broken: {error}")));
            }
            Ended::Early(_) => {
                thread::sleep(FIRST_DELAY * 2_u32.pow(attempt - 1));
                attempt += 1;
            }
        }
    }
}

fn ask_again(context: &Context, object: &Object, range: Range) -> Result<Response, Failure> {
    get(context, object, Some(range)).map_err(|error| match error {
        AwsError::Service { status: 412, .. } => {
            let (bucket, key) = uri::split(object.name);
            Failure::Local(format!(
                "Contents of stored object \"{key}\" in bucket \"{bucket}\" did not match expected ETag."
            ))
        }
        error => Failure::Aws(error),
    })
}

/// Writes what an answer brings, and moves `at` on.
fn receive(
    mut response: Response,
    at: &mut u64,
    end: Option<u64>,
    write: &mut impl FnMut(u64, &[u8]) -> Result<(), Failure>,
) -> Result<Ended, Failure> {
    // A server that knows no ranges sends everything.
    let mut skipped = match (response.status, response.header("content-range")) {
        (206, Some(text)) if start_of(text) == Some(*at) => 0,
        (206, _) => {
            let cause = format!(
                "S3 answered with another part of the object than the one from byte {at} on"
            );
            return Err(Failure::Local(cause));
        }
        _ => *at,
    };
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = match response.body.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Ended::Early(error)),
        };
        if count == 0 {
            return Ok(match end {
                Some(end) if *at < end => Ended::Early(io::ErrorKind::UnexpectedEof.into()),
                _ => Ended::Whole,
            });
        }
        let bytes = &buffer[..count];
        let skip = usize::try_from(skipped).unwrap_or(usize::MAX).min(count);
        skipped -= skip as u64;
        let bytes = &bytes[skip..];
        let left = end.map_or(u64::MAX, |end| end.saturating_sub(*at));
        let bytes = &bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        if left == 0 {
            return Ok(Ended::Whole);
        }
        if !bytes.is_empty() {
            write(*at, bytes)?;
            *at += bytes.len() as u64;
        }
    }
}

/// The number of bytes that an answer announces.
pub(super) fn length(response: &Response) -> Option<u64> {
    response.header("content-length")?.trim().parse().ok()
}

/// The number of bytes of the whole object, in the header `Content-Range`: `bytes 0-9/100`.
pub(super) fn size_of(text: &str) -> Option<u64> {
    let (_, size) = text.rsplit_once('/')?;
    size.trim().parse().ok()
}

/// The place of the first byte, in the header `Content-Range`.
fn start_of(text: &str) -> Option<u64> {
    let range = text.trim().strip_prefix("bytes")?;
    let (start, _) = range.split_once('-')?;
    start.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, range: &str, body: &'static [u8]) -> Response {
        Response {
            status,
            headers: vec![("content-range".to_owned(), range.to_owned())],
            body: Box::new(body),
        }
    }

    /// What is written, and where it ends, of an answer to a request for the bytes from `at` on.
    fn received(
        response: Response,
        at: u64,
        end: Option<u64>,
    ) -> Result<(String, u64, bool), String> {
        let mut at = at;
        let mut text = String::new();
        let mut write = |_: u64, bytes: &[u8]| {
            text.push_str(&String::from_utf8_lossy(bytes));
            Ok(())
        };
        let ended = receive(response, &mut at, end, &mut write);
        let ended = ended.map_err(|failure| failure.to_string())?;
        Ok((text, at, matches!(ended, Ended::Whole)))
    }

    #[test]
    fn ranges_are_written_and_short_answers_noticed() {
        let whole = |text: &str, at| Ok((text.to_owned(), at, true));
        assert_eq!(
            received(response(206, "bytes 2-4/9", b"cde"), 2, Some(5)),
            whole("cde", 5)
        );
        let early = received(response(206, "bytes 2-4/9", b"c"), 2, Some(5));
        assert_eq!(early, Ok(("c".to_owned(), 3, false)));
        assert_eq!(
            received(response(200, "", b"abcdef"), 2, Some(5)),
            whole("cde", 5)
        );
        assert_eq!(
            received(response(200, "", b"abc"), 0, None),
            whole("abc", 3)
        );
        assert!(received(response(206, "bytes 0-4/9", b"abcde"), 2, Some(5)).is_err());
    }

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(size_of("bytes 0-9/100"), Some(100));
        assert_eq!(size_of("bytes 0-9/*"), None);
        assert_eq!(start_of("bytes 5-9/100"), Some(5));
        assert_eq!(start_of("x"), None);
    }
}
