//! Uploads files, and standard input.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, mpsc};
use std::thread;

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::content_type;
use super::context::Context;
use super::failure::Failure;
use super::multipart::{self, Upload};
use super::parallel;
use super::request;
use crate::call::wait;
use crate::http::Body;

/// Uploads the file at an absolute path of the caller's as the object `BUCKET/KEY`.
///
/// # Errors
/// The file cannot be read, or S3 refuses. There is no new object then.
pub(super) fn file(context: &Context, path: &str, object: &str) -> Result<(), Failure> {
    let failure = |error: &io::Error| Failure::of_file(error, path);
    let file = File::open(context.path(path)).map_err(|error| failure(&error))?;
    let metadata = file.metadata().map_err(|error| failure(&error))?;
    if metadata.is_dir() {
        return Err(failure(&Errno::EISDIR.into()));
    }
    let mut headers = context.headers.get()?;
    if !context.headers.has("content-type")
        && !context.arguments.has("no-guess-mime-type")
        && let Some(guess) = content_type::guess(path)
    {
        headers.push(("content-type".to_owned(), guess.to_owned()));
    }
    part_of_file(context, &file, 0..metadata.len(), object, headers)
}

fn part_of_file(
    context: &Context,
    file: &File,
    range: std::ops::Range<u64>,
    object: &str,
    headers: Vec<(String, String)>,
) -> Result<(), Failure> {
    let body = |start: u64, length: u64| -> Result<Body, Failure> {
        let file = file.try_clone();
        let file = file.map_err(|error| Failure::Local(format!("cannot use the file: {error}")))?;
        Ok(Body::Part {
            file,
            start,
            length,
        })
    };
    let length = range.end - range.start;
    if length < context.settings.threshold {
        return put(context, object, headers, body(range.start, length)?);
    }
    let part = context.settings.part_bytes(length);
    let _alone = context.lock_parts();
    multipart::make(context, object, headers, |upload| {
        parallel::for_each(
            context.settings.part_requests,
            length.div_ceil(part),
            |index| {
                let start = index * part;
                let body = body(range.start + start, part.min(length - start))?;
                upload.send_part(index + 1, body)
            },
        )
    })
}

fn put(
    context: &Context,
    object: &str,
    headers: Vec<(String, String)>,
    body: Body,
) -> Result<(), Failure> {
    let mut operation = context.operation("PutObject", "PUT", object);
    operation.headers.extend(headers);
    operation.body = body;
    request::finish(context.session, &operation)?;
    Ok(())
}

/// Uploads all that standard input has as the object `BUCKET/KEY`.
///
/// # Errors
/// Standard input cannot be read, or S3 refuses. There is no new object then.
pub(super) fn stream(context: &Context, object: &str) -> Result<(), Failure> {
    let headers = context.headers.get()?;
    let Some(mut input) = context.input.as_ref() else {
        return put(context, object, headers, Body::None);
    };
    let is_file = input.metadata().is_ok_and(|metadata| metadata.is_file());
    if is_file
        && let Ok(start) = input.stream_position()
        && let Ok(end) = input.seek(SeekFrom::End(0))
    {
        // What the file has is read at its place, and nothing has to be kept in memory.
        if start < end {
            return part_of_file(context, input, start..end, object, headers);
        }
        // The files of /proc do not say how long they are.
        let _ = input.seek(SeekFrom::Start(start));
    }
    let expected = context.arguments.number("expected-size").ok().flatten();
    let expected = expected.and_then(|size| u64::try_from(size).ok());
    let part = context.settings.part_bytes(expected.unwrap_or_default());
    let threshold = context.settings.threshold.min(part);
    let first = read_up_to(input, threshold)?;
    if (first.len() as u64) < threshold {
        return put(context, object, headers, Body::Bytes(Arc::new(first)));
    }
    let _alone = context.lock_parts();
    multipart::make(context, object, headers, |upload| {
        let rest = part - first.len() as u64;
        let mut first = first;
        let mut more = read_up_to(input, rest)?;
        first.append(&mut more);
        parts_of_stream(upload, input, first, part)
    })
}

/// Uploads parts while the next one is read, so that two of them are in memory.
fn parts_of_stream(
    upload: &Upload,
    input: &File,
    first: Vec<u8>,
    part: u64,
) -> Result<Vec<String>, Failure> {
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Vec<u8>>(0);
        let send = move || {
            let mut tags = Vec::new();
            for (number, bytes) in (1..).zip(receiver) {
                tags.push(upload.send_part(number, Body::Bytes(Arc::new(bytes)))?);
            }
            Ok(tags)
        };
        let thread = thread::Builder::new()
            .stack_size(parallel::STACK_BYTES)
            .spawn_scoped(scope, send);
        let thread =
            thread.map_err(|error| Failure::Local(format!("cannot start a thread: {error}")))?;
        let mut next = Ok(first);
        let read = loop {
            match next {
                Ok(bytes) if bytes.is_empty() => break Ok(()),
                Ok(bytes) => {
                    let is_last = (bytes.len() as u64) < part;
                    // The thread has failed, and says why.
                    if sender.send(bytes).is_err() || is_last {
                        break Ok(());
                    }
                }
                Err(failure) => break Err(failure),
            }
            next = read_up_to(input, part);
        };
        drop(sender);
        let tags = thread.join();
        read?;
        tags.unwrap_or_else(|_| Err(Failure::Local("the upload stopped".to_owned())))
    })
}

/// Reads this many bytes, or all that there are.
fn read_up_to(mut input: &File, count: u64) -> Result<Vec<u8>, Failure> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    // Memory that is not filled is not used.
    bytes
        .try_reserve_exact(count)
        .map_err(|error| Failure::Local(format!("cannot keep a part of {count} bytes: {error}")))?;
    let mut buffer = vec![0; count.min(64 * 1024)];
    while bytes.len() < count {
        let most = buffer.len().min(count - bytes.len());
        match input.read(&mut buffer[..most]) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(input, PollFlags::POLLIN);
            }
            Err(error) => return Err(Failure::of_stream(&error)),
        }
    }
    Ok(bytes)
}
