//! Makes an object of several parts, or none at all.

use std::fmt::Write as _;
use std::sync::Arc;

use super::context::Context;
use super::failure::Failure;
use super::request;
use crate::aws::AwsError;
use crate::aws::session::Operation;
use crate::aws::xml_text;
use crate::http::Body;

/// An upload that has begun.
pub(super) struct Upload<'a> {
    context: &'a Context<'a>,
    /// `BUCKET/KEY`.
    object: &'a str,
    id: String,
}

/// Makes `object` of the parts that `send` uploads; it returns their `ETag`s in order.
///
/// # Errors
/// That of S3 or of `send`. S3 keeps nothing of the object then.
pub(super) fn make<'a>(
    context: &'a Context<'a>,
    object: &'a str,
    headers: Vec<(String, String)>,
    send: impl FnOnce(&Upload) -> Result<Vec<String>, Failure>,
) -> Result<(), Failure> {
    let mut create = context.operation("CreateMultipartUpload", "POST", object);
    create.query.push(("uploads".to_owned(), String::new()));
    create.headers.extend(headers);
    let answer = request::read(context.session, &create)?;
    let id = answer.text_of("UploadId").filter(|id| !id.is_empty());
    let id = id
        .ok_or_else(|| incomplete("CreateMultipartUpload"))?
        .to_owned();
    let upload = Upload {
        context,
        object,
        id,
    };
    let result = send(&upload).and_then(|tags| upload.complete(&tags));
    if result.is_err() {
        upload.abort();
    }
    result
}

/// The error for an answer that lacks something.
pub(super) fn incomplete(operation: &str) -> AwsError {
    AwsError::Other(format!(
        "cannot read S3's answer to {operation}: it is not complete"
    ))
}

impl Upload<'_> {
    /// A request for the part with this number, from 1 on.
    pub(super) fn part(&self, name: &str, number: u64) -> Operation {
        let mut operation = self.context.operation(name, "PUT", self.object);
        operation.query = vec![
            ("partNumber".to_owned(), number.to_string()),
            ("uploadId".to_owned(), self.id.clone()),
        ];
        operation
    }

    /// Uploads a part. Returns its `ETag`.
    ///
    /// # Errors
    /// S3 refuses, or does not answer.
    pub(super) fn send_part(&self, number: u64, body: Body) -> Result<String, Failure> {
        let mut operation = self.part("UploadPart", number);
        operation.body = body;
        let response = request::finish(self.context.session, &operation)?;
        let tag = response
            .header("etag")
            .ok_or_else(|| incomplete("UploadPart"))?;
        Ok(tag.to_owned())
    }

    fn complete(&self, tags: &[String]) -> Result<(), Failure> {
        let mut text =
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                .to_owned();
        for (index, tag) in tags.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "<Part><ETag>{}</ETag><PartNumber>{}</PartNumber></Part>",
                xml_text::escape(tag),
                index + 1
            );
        }
        text.push_str("</CompleteMultipartUpload>");
        let mut operation = self
            .context
            .operation("CompleteMultipartUpload", "POST", self.object);
        operation
            .query
            .push(("uploadId".to_owned(), self.id.clone()));
        let content_type = ("content-type".to_owned(), "application/xml".to_owned());
        operation.headers.push(content_type);
        operation.body = Body::Bytes(Arc::new(text.into_bytes()));
        request::read(self.context.session, &operation)?;
        Ok(())
    }

    fn abort(&self) {
        let mut operation = self
            .context
            .operation("AbortMultipartUpload", "DELETE", self.object);
        operation
            .query
            .push(("uploadId".to_owned(), self.id.clone()));
        // The reason for it is what the caller hears of. A rule of the bucket may remove what stays.
        let _ = request::finish(self.context.session, &operation);
    }
}
