//! Copies objects inside S3: large ones in parts.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::context::Context;
use super::failure::Failure;
use super::head;
use super::item::Item;
use super::multipart;
use super::object_headers::{METADATA, REPLACED};
use super::parallel;
use super::request;
use crate::aws::sign;
use crate::aws::xml_text;
use crate::http::Body;

/// Longer lists of tags need a request of their own.
const MAX_TAGS_BYTES: usize = 2048;

/// What a copy takes over from its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Properties {
    /// What `--metadata-directive` says, and S3 does.
    Directive,
    None,
    Metadata,
    MetadataAndTags,
}

/// Copies the object `source` to `target`, both `BUCKET/KEY`.
///
/// # Errors
/// S3 refuses, or does not answer. There is no new object then.
pub(super) fn object(
    context: &Context,
    item: &Item,
    source: &str,
    target: &str,
) -> Result<(), Failure> {
    let properties = match (
        context.arguments.value("metadata-directive"),
        context.arguments.value("copy-props"),
    ) {
        (Some(_), _) => Properties::Directive,
        (None, Some("none")) => Properties::None,
        (None, Some("metadata-directive")) => Properties::Metadata,
        _ => Properties::MetadataAndTags,
    };
    let copy = Copy {
        context,
        item,
        source,
        target,
        properties,
    };
    match item.size {
        Some(size) if size >= context.settings.threshold => copy.in_parts(size),
        _ => copy.at_once(),
    }
}

struct Copy<'a> {
    context: &'a Context<'a>,
    item: &'a Item,
    source: &'a str,
    target: &'a str,
    properties: Properties,
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

impl Copy<'_> {
    fn at_once(&self) -> Result<(), Failure> {
        let mut operation = self.context.operation("CopyObject", "PUT", self.target);
        operation.headers.extend(self.context.headers.get()?);
        let replaces = header("x-amz-metadata-directive", "REPLACE");
        match self.properties {
            Properties::Directive => {
                let directive = self.context.arguments.value("metadata-directive");
                operation.headers.push(header(
                    "x-amz-metadata-directive",
                    directive.unwrap_or("COPY"),
                ));
            }
            Properties::None => operation.headers.push(replaces),
            Properties::Metadata | Properties::MetadataAndTags => {
                if self.context.headers.replaces() {
                    operation.headers.push(replaces);
                    self.add_source_headers(&mut operation.headers, &self.head()?);
                }
            }
        }
        if matches!(self.properties, Properties::None | Properties::Metadata) {
            operation
                .headers
                .push(header("x-amz-tagging-directive", "REPLACE"));
        }
        operation.headers.push(self.source_header());
        request::read(self.context.session, &operation)?;
        Ok(())
    }

    fn in_parts(&self, size: u64) -> Result<(), Failure> {
        let mut headers = self.context.headers.get()?;
        let head = self.head()?;
        if matches!(
            self.properties,
            Properties::Metadata | Properties::MetadataAndTags
        ) {
            self.add_source_headers(&mut headers, &head);
        }
        let tags = match self.properties {
            Properties::MetadataAndTags => self.tags()?,
            _ => Vec::new(),
        };
        let tags_header = sign::encode_query(&tags);
        let fits = tags_header.len() <= MAX_TAGS_BYTES;
        if !tags.is_empty() && fits {
            headers.push(("x-amz-tagging".to_owned(), tags_header));
        }
        let tag = head.iter().find(|(name, _)| name == "etag");
        let tag = tag.map(|(_, value)| value.as_str());
        let part = self.context.settings.part_bytes(size);
        let threads = self.context.settings.part_requests;
        let alone = self.context.lock_parts();
        multipart::make(self.context, self.target, headers, |upload| {
            parallel::for_each(threads, size.div_ceil(part), |index| {
                let start = index * part;
                let last = size.min(start + part) - 1;
                let mut operation = upload.part("UploadPartCopy", index + 1);
                operation.headers.push(self.source_header());
                let range = format!("bytes={start}-{last}");
                operation
                    .headers
                    .push(("x-amz-copy-source-range".to_owned(), range));
                if let Some(tag) = tag {
                    operation
                        .headers
                        .push(header("x-amz-copy-source-if-match", tag));
                }
                let answer = request::read(self.context.session, &operation)?;
                let tag = answer
                    .text_of("ETag")
                    .ok_or_else(|| multipart::incomplete("UploadPartCopy"))?;
                Ok(tag.to_owned())
            })
        })?;
        drop(alone);
        if !tags.is_empty() && !fits {
            self.put_tags(&tags)?;
        }
        Ok(())
    }

    fn source_header(&self) -> (String, String) {
        (
            "x-amz-copy-source".to_owned(),
            sign::encode_path(self.source),
        )
    }

    /// What S3 says about the source.
    fn head(&self) -> Result<Vec<(String, String)>, Failure> {
        if self.item.head.is_empty() {
            Ok(head::head(self.context, self.source)?.headers)
        } else {
            Ok(self.item.head.clone())
        }
    }

    /// Adds the properties of the source that the options do not set.
    fn add_source_headers(&self, headers: &mut Vec<(String, String)>, source: &[(String, String)]) {
        for (name, value) in source {
            let is_missing = if name.starts_with(METADATA) {
                !self.context.headers.has_metadata()
            } else {
                REPLACED.contains(&name.as_str()) && !self.context.headers.has(name)
            };
            if is_missing {
                headers.push(header(name, value));
            }
        }
    }

    fn tags(&self) -> Result<Vec<(String, String)>, Failure> {
        let mut operation = self
            .context
            .operation("GetObjectTagging", "GET", self.source);
        operation.query.push(("tagging".to_owned(), String::new()));
        let answer = request::read(self.context.session, &operation)?;
        let tags = answer
            .children_named("TagSet")
            .flat_map(|set| set.children_named("Tag"));
        let tags = tags.filter_map(|tag| {
            let (key, value) = (tag.text_of("Key")?, tag.text_of("Value")?);
            Some((key.to_owned(), value.to_owned()))
        });
        Ok(tags.collect())
    }

    /// Gives the copy its tags. A copy without them is removed.
    fn put_tags(&self, tags: &[(String, String)]) -> Result<(), Failure> {
        let mut text = "<Tagging><TagSet>".to_owned();
        for (key, value) in tags {
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "<Tag><Key>{}</Key><Value>{}</Value></Tag>",
                xml_text::escape(key),
                xml_text::escape(value)
            );
        }
        text.push_str("</TagSet></Tagging>");
        let mut operation = self
            .context
            .operation("PutObjectTagging", "PUT", self.target);
        operation.query.push(("tagging".to_owned(), String::new()));
        // S3 wants a checksum of this request's body.
        let checksum = STANDARD.encode(Sha256::digest(text.as_bytes()));
        operation
            .headers
            .push(("x-amz-checksum-sha256".to_owned(), checksum));
        operation.body = Body::Bytes(Arc::new(text.into_bytes()));
        let put = request::finish(self.context.session, &operation);
        put.map(drop).map_err(|error| {
            let delete = self
                .context
                .operation("DeleteObject", "DELETE", self.target);
            // The first failure is what the caller hears of.
            let _ = request::finish(self.context.session, &delete);
            Failure::Aws(error)
        })
    }
}
