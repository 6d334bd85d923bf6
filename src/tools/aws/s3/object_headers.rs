//! The headers of requests that make an object, from the options of the command.

use std::path::Path;

use serde_json::Value;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

use super::arguments::Arguments;
use super::failure::{Failure, Stop};
use crate::call::Place;

/// Options that become a header as they are.
const SIMPLE: [(&str, &str); 10] = [
    ("acl", "x-amz-acl"),
    ("storage-class", "x-amz-storage-class"),
    ("website-redirect", "x-amz-website-redirect-location"),
    ("content-type", "content-type"),
    ("cache-control", "cache-control"),
    ("content-disposition", "content-disposition"),
    ("content-encoding", "content-encoding"),
    ("content-language", "content-language"),
    ("sse", "x-amz-server-side-encryption"),
    (
        "sse-kms-key-id",
        "x-amz-server-side-encryption-aws-kms-key-id",
    ),
];
/// What a copy with `x-amz-metadata-directive: REPLACE` has to repeat. Metadata comes with them.
pub(super) const REPLACED: [&str; 6] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
];
pub(super) const METADATA: &str = "x-amz-meta-";

/// Headers that all objects of a command get.
#[derive(Debug, Default, Clone)]
pub(super) struct ObjectHeaders {
    headers: Vec<(String, String)>,
    /// Why no object can be made, such as a time that is none.
    invalid: Option<String>,
}

impl ObjectHeaders {
    /// # Errors
    /// `--metadata` or `--grants` cannot be read.
    pub(super) fn read(arguments: &Arguments, place: Place) -> Result<Self, Stop> {
        let mut read = Self::default();
        for (option, header) in SIMPLE {
            if let Some(value) = arguments.value(option) {
                read.add(header, value);
            }
        }
        if let Some(text) = arguments.value("expires") {
            match http_date(text) {
                Some(date) => read.add("expires", &date),
                None => {
                    read.invalid = Some(format!(
                        "Parameter validation failed:\nInvalid type for parameter Expires, value: {text}, type: \
                         <class 'str'>, valid types: <class 'datetime.datetime'>, timestamp-string"
                    ));
                }
            }
        }
        if let Some(text) = arguments.value("metadata") {
            for (name, value) in metadata(text, place)? {
                read.add(&format!("{METADATA}{}", name.to_ascii_lowercase()), &value);
            }
        }
        Ok(read)
    }

    fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// # Errors
    /// The options cannot be sent.
    pub(super) fn get(&self) -> Result<Vec<(String, String)>, Failure> {
        match &self.invalid {
            Some(cause) => Err(Failure::Local(cause.clone())),
            None => Ok(self.headers.clone()),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(header, _)| header == name)
    }

    /// Whether there is a header that a copy replaces.
    pub(super) fn replaces(&self) -> bool {
        let mut headers = self.headers.iter();
        headers.any(|(name, _)| REPLACED.contains(&name.as_str()) || name.starts_with(METADATA))
    }

    pub(super) fn has_metadata(&self) -> bool {
        let mut headers = self.headers.iter();
        headers.any(|(name, _)| name.starts_with(METADATA))
    }

    /// Adds what `--grants` says, such as `read=uri=...`.
    ///
    /// # Errors
    /// A grant is none: the text for a fatal error.
    pub(super) fn add_grants(&mut self, grants: &[String]) -> Result<(), String> {
        for grant in grants {
            let (permission, grantee) = grant
                .split_once('=')
                .ok_or("grants should be of the form permission=principal")?;
            let header = match permission {
                "read" => "x-amz-grant-read",
                "full" => "x-amz-grant-full-control",
                "readacl" => "x-amz-grant-read-acp",
                "writeacl" => "x-amz-grant-write-acp",
                _ => return Err("permission must be one of: read|readacl|writeacl|full".to_owned()),
            };
            self.add(header, grantee);
        }
        Ok(())
    }
}

/// The value of `--metadata`: `a=b,c=d`, an object in JSON, or `file://` and the path of one of them.
fn metadata(text: &str, place: Place) -> Result<Vec<(String, String)>, Stop> {
    let wrong =
        |cause: &str| Stop::invalid(format!("Error parsing parameter '--metadata': {cause}"));
    let file;
    let text = match text.strip_prefix("file://") {
        Some(path) => {
            let content = place
                .read(Path::new(path))
                .map_err(|error| wrong(&format!("Unable to load paramfile {text}: {error}")))?;
            file = String::from_utf8_lossy(&content).into_owned();
            file.trim()
        }
        None => text,
    };
    if text.starts_with('{') {
        let document: Value = serde_json::from_str(text)
            .map_err(|error| wrong(&format!("Invalid JSON: {error}\nJSON received: {text}")))?;
        let fields = document.as_object().into_iter().flatten();
        let pair = |(name, value): (&String, &Value)| match value.as_str() {
            Some(value) => Ok((name.clone(), value.to_owned())),
            None => Err(wrong(&format!(
                "Invalid type for {name}, expected a string"
            ))),
        };
        return fields.map(pair).collect();
    }
    pairs(text).map_err(|at| {
        let received = text.chars().nth(at).map_or("EOF".to_owned(), String::from);
        wrong(&format!(
            "Expected: '=', received: '{received}' for input:\n{text}\n{}^",
            " ".repeat(at)
        ))
    })
}

/// The pairs of `a=b,c=d`. A value may be quoted, and a backslash keeps a comma. The error is where `=` is missing.
fn pairs(text: &str) -> Result<Vec<(String, String)>, usize> {
    let characters: Vec<char> = text.chars().collect();
    let mut pairs = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let start = at;
        while characters.get(at).is_some_and(|c| !matches!(c, '=' | ',')) {
            at += 1;
        }
        if characters.get(at) != Some(&'=') {
            return Err(at);
        }
        let name: String = characters[start..at].iter().collect();
        at += 1;
        let mut value = String::new();
        let quote = characters
            .get(at)
            .copied()
            .filter(|c| matches!(c, '"' | '\''));
        at += usize::from(quote.is_some());
        while let Some(character) = characters.get(at).copied() {
            at += 1;
            match (character, quote) {
                ('\\', _)
                    if characters
                        .get(at)
                        .is_some_and(|c| matches!(c, ',' | '"' | '\'' | '\\')) =>
                {
                    value.push(characters[at]);
                    at += 1;
                }
                (character, Some(quote)) if character == quote => {
                    at += usize::from(characters.get(at) == Some(&','));
                    break;
                }
                (',', None) => break,
                (character, _) => value.push(character),
            }
        }
        pairs.push((name.trim().to_owned(), value));
    }
    Ok(pairs)
}

/// A time as HTTP has it, from the forms that people write.
fn http_date(text: &str) -> Option<String> {
    let text = text.trim();
    let seconds = text
        .parse()
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let iso = OffsetDateTime::parse(text, &Rfc3339).ok();
    let mail = || OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok();
    let local = || {
        let spaced = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        let joined = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
        let time = PrimitiveDateTime::parse(text, spaced)
            .or_else(|_| PrimitiveDateTime::parse(text, joined));
        time.ok().map(PrimitiveDateTime::assume_utc)
    };
    let day = || {
        let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        Some(date.midnight().assume_utc())
    };
    let time = seconds.or(iso).or_else(mail).or_else(local).or_else(day)?;
    let form = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    time.to_offset(time::UtcOffset::UTC).format(form).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_pairs_or_json() {
        let read = |text| metadata(text, Place::of_this_process()).map_err(|stop| stop.text);
        let both = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            read("a=b,C=d e=,q=\"x,y\",s=1\\,2"),
            Ok(vec![
                both("a", "b"),
                both("C", "d e="),
                both("q", "x,y"),
                both("s", "1,2")
            ])
        );
        assert_eq!(read(r#"{"a":"b"}"#), Ok(vec![both("a", "b")]));
        assert!(read(r#"{"a":1}"#).is_err());
        assert!(read("{").is_err());
        assert!(read("file:///no/such/file").is_err());
        assert_eq!(
            read("foo"),
            Err("Error parsing parameter '--metadata': Expected: '=', received: 'EOF' for input:\nfoo\n   ^".to_owned())
        );
    }

    #[test]
    fn times_are_written_as_http_has_them() {
        let date = Some("Wed, 01 Jan 2031 00:00:00 GMT");
        for text in [
            "2031-01-01T00:00:00Z",
            "2031-01-01T01:00:00+01:00",
            "2031-01-01",
            "2031-01-01 00:00:00",
            "Wed, 01 Jan 2031 00:00:00 GMT",
            "1924992000",
        ] {
            assert_eq!(http_date(text).as_deref(), date, "{text}");
        }
        for text in ["foo", "", "99999999999999999999", "2031-13-01"] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }
}
