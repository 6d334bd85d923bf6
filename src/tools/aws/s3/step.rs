//! Does one step of a command, and reports it.

use std::fs;

use super::context::Context;
use super::copy;
use super::download;
use super::failure::Failure;
use super::item::{Item, Location, Verb};
use super::paths;
use super::request;
use super::upload;
use super::uri;

/// Does what an item says, unless something speaks against it.
pub(super) fn run(context: &Context, item: &Item) {
    if is_skipped(context, item) {
        return;
    }
    let title = item.title(
        &context.folder,
        context.is_move && item.verb != Verb::Delete,
    );
    if context.arguments.has("dryrun") {
        context.report.would_do(&title);
        return;
    }
    match transfer(context, item) {
        Ok(()) => context.report.done(&title),
        Err(Failure::Fatal(error)) => context.report.fatal(&Failure::Aws(error)),
        Err(Failure::Archived) => warn_of_archive(context, item),
        Err(failure) => context.report.failed(&title, &failure),
    }
}

fn is_skipped(context: &Context, item: &Item) -> bool {
    let is_read = matches!(item.verb, Verb::Download | Verb::Copy);
    if is_read && item.is_archived && !context.arguments.has("force-glacier-transfer") {
        warn_of_archive(context, item);
        return true;
    }
    if item.verb == Verb::Download && paths::escapes(&item.key) {
        context
            .report
            .skip(&item.key, "File references a parent directory.");
        return true;
    }
    false
}

fn warn_of_archive(context: &Context, item: &Item) {
    if !context.arguments.has("ignore-glacier-warnings") {
        let verb = item.verb.word();
        context.report.skip(
            &item.source.text(&context.folder),
            &format!(
                "Object is of storage class GLACIER. Unable to perform {verb} operations on GLACIER objects. You must \
                 restore the object to be able to perform the operation. See aws s3 {verb} help for additional \
                 parameter options to ignore or force these transfers."
            ),
        );
    }
}

fn transfer(context: &Context, item: &Item) -> Result<(), Failure> {
    for location in std::iter::once(&item.source).chain(&item.target) {
        if let Location::Object(name) = location {
            let (bucket, _) = uri::split(name);
            uri::check_bucket(bucket).map_err(Failure::Local)?;
        }
    }
    match (item.verb, &item.source, &item.target) {
        (Verb::Upload, Location::File(path), Some(Location::Object(object))) => {
            upload::file(context, path, object)?;
        }
        (Verb::Upload, Location::Stream, Some(Location::Object(object))) => {
            upload::stream(context, object)?;
        }
        (Verb::Download, Location::Object(object), Some(Location::File(path))) => {
            download::to_file(context, item, object, path)?;
        }
        // The answer would be a list of the bucket's objects.
        (Verb::Download, Location::Object(object), Some(Location::Stream))
            if uri::split(object).1.is_empty() =>
        {
            let cause = "Parameter validation failed:\nInvalid length for parameter Key, value: 0, valid min length: 1";
            return Err(Failure::Local(cause.to_owned()));
        }
        (Verb::Download, Location::Object(object), Some(Location::Stream)) => {
            download::to_stream(context, item, object)?;
        }
        (Verb::Copy, Location::Object(source), Some(Location::Object(target))) => {
            copy::object(context, item, source, target)?;
        }
        (Verb::Delete, source, None) => delete(context, source)?,
        _ => return Err(Failure::Local("there is no such transfer".to_owned())),
    }
    if context.is_move && item.verb != Verb::Delete {
        delete(context, &item.source)?;
    }
    Ok(())
}

fn delete(context: &Context, location: &Location) -> Result<(), Failure> {
    match location {
        Location::File(path) => {
            fs::remove_file(context.path(path)).map_err(|error| Failure::of_file(&error, path))
        }
        Location::Object(object) => {
            let operation = context.operation("DeleteObject", "DELETE", object);
            request::finish(context.session, &operation)?;
            Ok(())
        }
        Location::Stream => Ok(()),
    }
}
