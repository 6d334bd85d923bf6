//! Asks what S3 knows of an object.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::context::Context;
use super::item;
use super::request;
use super::uri;
use crate::aws::AwsError;

/// What S3 says about an object.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub size: u64,
    pub modified: Option<OffsetDateTime>,
    pub is_archived: bool,
    pub headers: Vec<(String, String)>,
}

/// Asks about the object `BUCKET/KEY`.
///
/// # Errors
/// There is none, S3 refuses, or it does not answer.
pub(super) fn head(context: &Context, object: &str) -> Result<Head, AwsError> {
    let operation = context.operation("HeadObject", "HEAD", object);
    let (_, key) = uri::split(object);
    let response = request::finish(context.session, &operation);
    let response = response.map_err(|error| match error {
        AwsError::Service {
            status, retries, ..
        } => refusal(status, Some(key), retries),
        error => error,
    })?;
    let text = |name| response.header(name).unwrap_or_default();
    let modified = text("last-modified").replace("GMT", "+0000");
    Ok(Head {
        size: text("content-length").trim().parse().unwrap_or_default(),
        modified: OffsetDateTime::parse(&modified, &Rfc2822).ok(),
        is_archived: item::is_archived(text("x-amz-storage-class"), text("x-amz-restore")),
        headers: response.headers,
    })
}

/// What the AWS CLI says if S3 refuses to tell about an object. An answer to `HEAD` has no message.
pub(super) fn refusal(status: u16, key: Option<&str>, retries: Option<u32>) -> AwsError {
    let message = match (status, key) {
        (404, Some(key)) => format!("Key \"{key}\" does not exist"),
        (404, None) => "Not Found".to_owned(),
        (400, _) => "Bad Request".to_owned(),
        (403, _) => "Forbidden".to_owned(),
        (500, _) => "Internal Server Error".to_owned(),
        (503, _) => "Service Unavailable".to_owned(),
        _ => "Unknown".to_owned(),
    };
    AwsError::Service {
        operation: "HeadObject".to_owned(),
        status,
        code: status.to_string(),
        message,
        retries,
    }
}
