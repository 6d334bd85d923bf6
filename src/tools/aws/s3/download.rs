//! Downloads objects: large ones in several ranges at once.
//!
//! The first request asks for as much as a small object has. Its answer says how large the object is, so that a small
//! one takes one request. Ranges behind it are of the same version, by its `ETag`.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread;

use nix::errno::Errno;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::context::Context;
use super::failure::Failure;
use super::item::Item;
use super::local_files;
use super::parallel;
use super::range::{self, Object, Range};
use super::target_file::TargetFile;
use crate::aws::AwsError;
use crate::http::Response;

/// Downloads the object `BUCKET/KEY` to an absolute path of the caller's.
///
/// # Errors
/// S3 refuses, what comes is not whole, or it cannot be written. The file is as it was before, then.
pub(super) fn to_file(
    context: &Context,
    item: &Item,
    object: &str,
    path: &str,
) -> Result<(), Failure> {
    let found = context.path(path);
    if fs::metadata(&found).is_ok_and(|metadata| local_files::is_special(&metadata)) {
        return to_special_file(context, item, object, path);
    }
    let failure = |error: &io::Error| Failure::of_file(error, path);
    if found.file_name().is_none() {
        // A key may end with `..`.
        return Err(failure(&Errno::EISDIR.into()));
    }
    // Before the server waits for what it sends to be read.
    let is_large = item
        .size
        .is_some_and(|size| size >= context.settings.threshold);
    let _alone = is_large.then(|| context.lock_parts());
    let (first, whole) = begin(context, item, object)?;
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if !folder.is_empty() {
        fs::create_dir_all(context.path(folder)).map_err(|error| {
            Failure::Local(format!("Could not create directory {folder}: {error}"))
        })?;
    }
    let target = TargetFile::create(found).map_err(|error| failure(&error))?;
    let write = |at: u64, bytes: &[u8]| {
        let written = target.file.write_all_at(bytes, at);
        written.map_err(|error| failure(&error))
    };
    let first_range = whole.first_range();
    match whole.rest() {
        None => range::fetch(context, &whole.object, Some(first), first_range, write)?,
        Some(rest) => {
            let part = context.settings.range_bytes();
            let count = (rest.end - rest.start).div_ceil(part);
            let fetch_rest = || {
                parallel::for_each(context.settings.part_requests, count, |index| {
                    let start = rest.start + index * part;
                    let range = Range {
                        start,
                        end: Some(rest.end.min(start.saturating_add(part))),
                    };
                    range::fetch(context, &whole.object, None, range, write)
                })
            };
            thread::scope(|scope| {
                let thread = thread::Builder::new().stack_size(parallel::STACK_BYTES);
                let thread = thread.spawn_scoped(scope, fetch_rest);
                range::fetch(context, &whole.object, Some(first), first_range, write)?;
                match thread {
                    Ok(thread) => thread
                        .join()
                        .unwrap_or_else(|_| Err(Failure::Local("the download stopped".to_owned()))),
                    Err(_) => fetch_rest(),
                }
            })?;
        }
    }
    let modified = item.modified.or(whole.modified);
    // The AWS CLI leaves out parts of seconds.
    let modified =
        modified.and_then(|time| OffsetDateTime::from_unix_timestamp(time.unix_timestamp()).ok());
    let suffix = target.suffix();
    target.finish(modified.map(Into::into)).map_err(|error| {
        let cause = Failure::of_file(&error, &format!("{path}{suffix}"));
        Failure::Local(format!("{cause} -> '{path}'"))
    })
}

/// A pipe or a device gets the bytes as they come.
fn to_special_file(
    context: &Context,
    item: &Item,
    object: &str,
    path: &str,
) -> Result<(), Failure> {
    let file = fs::OpenOptions::new().write(true).open(context.path(path));
    let file = file.map_err(|error| Failure::of_file(&error, path))?;
    let write = |_, bytes: &[u8]| {
        io::Write::write_all(&mut &file, bytes).map_err(|error| Failure::of_file(&error, path))
    };
    let (object, first) = whole_object(context, item, object)?;
    let all = Range {
        start: 0,
        end: range::length(&first),
    };
    range::fetch(context, &object, Some(first), all, write)
}

/// Downloads the object `BUCKET/KEY` to standard output.
///
/// # Errors
/// S3 refuses, or what comes is not whole. What has been written by then stays.
pub(super) fn to_stream(context: &Context, item: &Item, object: &str) -> Result<(), Failure> {
    let write = |_, bytes: &[u8]| {
        if context.report.write(bytes) {
            return Ok(());
        }
        let cause = context.report.broken();
        Err(match cause {
            Some(error) => Failure::of_stream(&error),
            None => Failure::Local("cannot write to standard output".to_owned()),
        })
    };
    let (object, first) = whole_object(context, item, object).map_err(|failure| match failure {
        Failure::Fatal(error) => Failure::Aws(error),
        failure => failure,
    })?;
    let all = Range {
        start: 0,
        end: range::length(&first),
    };
    range::fetch(context, &object, Some(first), all, write)
}

/// Asks for the whole object in one answer.
fn whole_object<'o>(
    context: &Context,
    item: &Item,
    object: &'o str,
) -> Result<(Object<'o>, Response), Failure> {
    let mut object = Object {
        name: object,
        tag: None,
    };
    let response = range::get(context, &object, None)
        .map_err(|error| explain(context, error, item, &object))?;
    object.tag = response.header("etag").map(ToOwned::to_owned);
    Ok((object, response))
}

/// What the first answer says about an object.
struct Whole<'o> {
    object: Object<'o>,
    /// The end of what the first answer brings; `None` if only the end of its body tells.
    first_end: Option<u64>,
    /// The number of bytes of the object, if the first answer brings a part.
    size: Option<u64>,
    modified: Option<OffsetDateTime>,
}

impl Whole<'_> {
    fn first_range(&self) -> Range {
        Range {
            start: 0,
            end: self.first_end,
        }
    }

    fn rest(&self) -> Option<std::ops::Range<u64>> {
        let (end, size) = (self.first_end?, self.size?);
        (end < size).then_some(end..size)
    }
}

/// Sends the first request.
fn begin<'o>(
    context: &Context,
    item: &Item,
    object: &'o str,
) -> Result<(Response, Whole<'o>), Failure> {
    let threshold = context.settings.threshold;
    let is_small = item.size.is_some_and(|size| size < threshold);
    let mut object = Object {
        name: object,
        tag: None,
    };
    let range = (!is_small).then_some(Range {
        start: 0,
        end: Some(threshold),
    });
    let response = match range::get(context, &object, range) {
        // An empty object has no ranges.
        Err(AwsError::Service { status: 416, .. }) => range::get(context, &object, None),
        other => other,
    };
    let response = response.map_err(|error| explain(context, error, item, &object))?;
    object.tag = response.header("etag").map(ToOwned::to_owned);
    let size = match response.status {
        206 => response.header("content-range").and_then(range::size_of),
        _ => None,
    };
    if response.status == 206 && size.is_none() {
        let cause = "S3 answered with a part of the object, and did not say with which one";
        return Err(Failure::Local(cause.to_owned()));
    }
    let modified = response
        .header("last-modified")
        .and_then(|text| OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok());
    let whole = Whole {
        object,
        first_end: size
            .map(|size| size.min(threshold))
            .or(range::length(&response)),
        size,
        modified,
    };
    Ok((response, whole))
}

/// The AWS CLI asks for the head of an object that it does not know yet: what it says about one that it cannot have.
fn explain(context: &Context, error: AwsError, item: &Item, object: &Object) -> Failure {
    let AwsError::Service {
        status,
        code,
        retries,
        ..
    } = &error
    else {
        return if item.size.is_none() {
            Failure::Fatal(error)
        } else {
            Failure::Aws(error)
        };
    };
    if item.size.is_some() {
        return Failure::Aws(error);
    }
    if code == "InvalidObjectState" {
        let is_forced = context.arguments.has("force-glacier-transfer");
        return if is_forced {
            Failure::Aws(error)
        } else {
            Failure::Archived
        };
    }
    let (_, key) = super::uri::split(object.name);
    let is_stream = matches!(item.target, Some(super::item::Location::Stream));
    Failure::Fatal(super::head::refusal(
        *status,
        (!is_stream).then_some(key),
        *retries,
    ))
}
