//! Lists buckets and objects, page by page.

use std::collections::VecDeque;

use percent_encoding::percent_decode_str;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::request;
use super::uri;
use crate::aws::AwsError;
use crate::aws::session::{Operation, Session};
use crate::aws::xml_text::Element;

/// An object, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub key: String,
    pub size: u64,
    pub modified: OffsetDateTime,
    pub storage_class: String,
}

/// What to list.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pub bucket: &'a str,
    pub prefix: &'a str,
    /// Whether keys with one more slash are summed up as prefixes.
    pub is_flat: bool,
    /// How many keys an answer may have.
    pub page_size: Option<i64>,
    pub requester_pays: bool,
}

/// One answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub objects: Vec<Object>,
    pub prefixes: Vec<String>,
    /// What the request for the next page names.
    pub next: Option<String>,
}

/// Asks for one page.
///
/// # Errors
/// S3 refuses, or does not answer.
pub(super) fn page(
    session: &Session,
    query: &Query,
    token: Option<&str>,
) -> Result<Page, AwsError> {
    // A path without a bucket is a list of buckets, which looks like one without objects.
    uri::check_bucket(query.bucket).map_err(AwsError::Other)?;
    let mut parameters = vec![
        ("list-type", "2".to_owned()),
        ("prefix", query.prefix.to_owned()),
    ];
    if query.is_flat {
        parameters.push(("delimiter", "/".to_owned()));
    }
    if let Some(size) = query.page_size {
        parameters.push(("max-keys", size.to_string()));
    }
    // XML has no place for control characters.
    parameters.push(("encoding-type", "url".to_owned()));
    if let Some(token) = token {
        parameters.push(("continuation-token", token.to_owned()));
    }
    let mut headers = Vec::new();
    if query.requester_pays {
        headers.push(("x-amz-request-payer".to_owned(), "requester".to_owned()));
    }
    let operation = Operation {
        name: "ListObjectsV2".to_owned(),
        method: "GET".to_owned(),
        path: uri::request_path(query.bucket, ""),
        query: parameters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        headers,
        ..Operation::default()
    };
    let root = request::read(session, &operation)?;
    read_page(&root).ok_or_else(|| {
        AwsError::Other(format!(
            "cannot read the list of {}: S3's answer is not complete",
            query.bucket
        ))
    })
}

fn read_page(root: &Element) -> Option<Page> {
    let decode = |text: &str| match root.text_of("EncodingType") {
        Some("url") => percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned(),
        _ => text.to_owned(),
    };
    let object = |element: &Element| {
        Some(Object {
            key: decode(element.text_of("Key")?),
            size: element.text_of("Size")?.trim().parse().ok()?,
            modified: time_of(element.text_of("LastModified")?)?,
            storage_class: element
                .text_of("StorageClass")
                .unwrap_or_default()
                .to_owned(),
        })
    };
    let prefixes = root.children_named("CommonPrefixes");
    let is_more = root.text_of("IsTruncated") == Some("true");
    Some(Page {
        objects: root
            .children_named("Contents")
            .map(object)
            .collect::<Option<_>>()?,
        prefixes: prefixes
            .filter_map(|element| element.text_of("Prefix").map(decode))
            .collect(),
        next: match root.text_of("NextContinuationToken") {
            Some(token) if is_more => Some(token.to_owned()),
            _ => None,
        },
    })
}

fn time_of(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text.trim(), &Rfc3339).ok()
}

/// All buckets: their names, and when they were made.
///
/// # Errors
/// S3 refuses, or does not answer.
pub(super) fn buckets(session: &Session) -> Result<Vec<(String, OffsetDateTime)>, AwsError> {
    let operation = Operation {
        name: "ListBuckets".to_owned(),
        method: "GET".to_owned(),
        path: "/".to_owned(),
        ..Operation::default()
    };
    let root = request::read(session, &operation)?;
    let list = root
        .children_named("Buckets")
        .flat_map(|list| list.children_named("Bucket"));
    let bucket = |element: &Element| {
        let name = element.text_of("Name")?.to_owned();
        Some((name, time_of(element.text_of("CreationDate")?)?))
    };
    Ok(list.filter_map(bucket).collect())
}

/// The objects below a prefix, in the order of their keys.
pub(super) struct Objects<'a> {
    session: &'a Session<'a>,
    query: Query<'a>,
    ready: VecDeque<Object>,
    token: Option<String>,
    is_last: bool,
}

impl<'a> Objects<'a> {
    pub(super) fn new(session: &'a Session<'a>, query: Query<'a>) -> Self {
        Self {
            session,
            query,
            ready: VecDeque::new(),
            token: None,
            is_last: false,
        }
    }
}

impl Iterator for Objects<'_> {
    type Item = Result<Object, AwsError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.is_last {
            match page(self.session, &self.query, self.token.as_deref()) {
                Ok(page) => {
                    self.is_last = page.next.is_none();
                    self.token = page.next;
                    self.ready = page.objects.into();
                }
                Err(error) => {
                    self.is_last = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::xml_text;

    #[test]
    fn pages_are_read() {
        let text = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
            <NextContinuationToken>t+</NextContinuationToken>\
            <Contents><Key>a+b%2B%01%C3%A9</Key><Size>5</Size><LastModified>2026-11-29T22:01:28.000Z</LastModified>\
            <StorageClass>GLACIER</StorageClass></Contents>\
            <CommonPrefixes><Prefix>x%2F</Prefix></CommonPrefixes></ListBucketResult>";
        let page = xml_text::read(text).and_then(|root| read_page(&root));
        let page = page.expect("a page");
        assert_eq!(page.next.as_deref(), Some("t+"));
        assert_eq!(page.prefixes, ["x/"]);
        let [object] = &page.objects[..] else {
            panic!("one object");
        };
        assert_eq!(object.key, "a b+\u{1}é");
        assert_eq!((object.size, object.storage_class.as_str()), (5, "GLACIER"));
        assert_eq!(object.modified.unix_timestamp(), 1_795_989_688);
    }

    #[test]
    fn keys_may_come_as_they_are() {
        let text = "<L><Contents><Key>a+b</Key><Size>0</Size><LastModified>2026-11-29T22:01:28Z</LastModified></Contents></L>";
        let page = xml_text::read(text).and_then(|root| read_page(&root));
        assert_eq!(page.expect("a page").objects[0].key, "a+b");
    }

    #[test]
    fn incomplete_objects_are_an_error() {
        let text = "<L><Contents><Key>a</Key></Contents></L>";
        assert_eq!(xml_text::read(text).and_then(|root| read_page(&root)), None);
    }
}
