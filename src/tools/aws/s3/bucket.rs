//! `aws s3 mb` and `rb`: make and remove buckets.

use std::sync::Arc;

use super::failure::{Failure, Stop};
use super::request;
use super::uri;
use crate::aws::session::{Operation, Session};
use crate::aws::xml_text;
use crate::call::Output;
use crate::http::Body;

/// Buckets of this region have no constraint.
const FIRST_REGION: &str = "us-east-1";

/// The bucket of `s3://BUCKET`, and the key behind it.
fn name_of(word: &str) -> Result<(&str, &str), Stop> {
    let name = uri::without_scheme(word);
    let name = name.ok_or_else(|| Stop::invalid("<S3Uri>\nError: Invalid argument type"))?;
    Ok(uri::split(name))
}

/// Makes a bucket. Returns the exit status.
///
/// # Errors
/// The word is no name of a bucket.
pub(super) fn make(session: &Session, word: &str, output: &Output) -> Result<i32, Stop> {
    let (bucket, _) = name_of(word)?;
    let mut operation = operation("CreateBucket", "PUT", bucket);
    let region = session.settings.region().unwrap_or(FIRST_REGION);
    if region != FIRST_REGION {
        let text = format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{}\
             </LocationConstraint></CreateBucketConfiguration>",
            xml_text::escape(region)
        );
        operation.body = Body::Bytes(Arc::new(text.into_bytes()));
    }
    Ok(finish(
        session,
        &operation,
        bucket,
        ("make_bucket", word),
        output,
    ))
}

/// Checks what `rb` is about, and returns the bucket.
///
/// # Errors
/// The word is no name of a bucket.
pub(super) fn check_removal(word: &str) -> Result<&str, Stop> {
    let (bucket, key) = name_of(word)?;
    if key.is_empty() {
        Ok(bucket)
    } else {
        Err(Stop::invalid(format!(
            "Please specify a valid bucket name only. E.g. s3://{bucket}"
        )))
    }
}

/// Removes a bucket that is empty. Returns the exit status.
pub(super) fn remove(session: &Session, bucket: &str, word: &str, output: &Output) -> i32 {
    let operation = operation("DeleteBucket", "DELETE", bucket);
    finish(session, &operation, bucket, ("remove_bucket", word), output)
}

fn operation(name: &str, method: &str, bucket: &str) -> Operation {
    Operation {
        name: name.to_owned(),
        method: method.to_owned(),
        path: uri::request_path(bucket, ""),
        ..Operation::default()
    }
}

fn finish(
    session: &Session,
    operation: &Operation,
    bucket: &str,
    (verb, word): (&str, &str),
    output: &Output,
) -> i32 {
    let checked = uri::check_bucket(bucket).map_err(Failure::Local);
    let result = checked.and_then(|()| Ok(request::finish(session, operation)?));
    match result {
        Ok(_) => {
            let line = format!("{verb}: {bucket}\n");
            output.write(|text| text.extend_from_slice(line.as_bytes()), false);
            0
        }
        Err(failure) => {
            output.write_error(format!("{verb} failed: {word} {failure}\n").as_bytes());
            1
        }
    }
}
