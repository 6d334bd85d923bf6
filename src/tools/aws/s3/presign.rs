//! `aws s3 presign`: a link to an object that needs no credentials.

use super::arguments::Arguments;
use super::failure::Stop;
use super::uri;
use crate::aws::endpoint::S3;
use crate::aws::session::{Operation, Session};
use crate::call::Output;

/// How long a link is valid without `--expires-in`, in seconds.
const USUAL_SECONDS: i64 = 3600;

/// Writes the link. Returns the exit status.
///
/// # Errors
/// There are no credentials, or there is no key.
pub(super) fn run(session: &Session, arguments: &Arguments, output: &Output) -> Result<i32, Stop> {
    let seconds = arguments.number("expires-in").map_err(Stop::other)?;
    let seconds = seconds.unwrap_or(USUAL_SECONDS);
    let seconds = u32::try_from(seconds).map_err(|_| {
        Stop::invalid(format!(
            "cannot make a link that is valid for {seconds} seconds"
        ))
    })?;
    let word = arguments.paths.first().map_or("", String::as_str);
    let (bucket, key) = uri::split(uri::without_scheme(word).unwrap_or(word));
    uri::check_bucket(bucket).map_err(Stop::invalid)?;
    if key.is_empty() {
        return Err(Stop::invalid(
            "Parameter validation failed:\nInvalid length for parameter Key, value: 0, valid min length: 1",
        ));
    }
    let operation = Operation {
        name: "GetObject".to_owned(),
        method: "GET".to_owned(),
        path: uri::request_path(bucket, key),
        ..Operation::default()
    };
    let url = session.presign(&S3, &operation, seconds)?;
    output.write(
        |text| text.extend_from_slice(format!("{url}\n").as_bytes()),
        false,
    );
    Ok(0)
}
