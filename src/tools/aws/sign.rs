//! Signature Version 4: what AWS checks a request by. `docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html`

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

use super::credentials::Credentials;

/// The hash that stands for a body which is not signed.
pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Everything but letters, digits and `-_.~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const ENCODED_BUT_SLASH: &AsciiSet = &ENCODED.remove(b'/');

/// Encodes a name or a value of a query.
pub(crate) fn encode(text: &str) -> String {
    encode_bytes(text.as_bytes())
}

pub(crate) fn encode_bytes(bytes: &[u8]) -> String {
    percent_encode(bytes, ENCODED).to_string()
}

/// Encodes a path; slashes stay.
pub(crate) fn encode_path(text: &str) -> String {
    utf8_percent_encode(text, ENCODED_BUT_SLASH).to_string()
}

/// The parts of a query, encoded, with `&` between them.
pub(crate) fn encode_query(query: &[(String, String)]) -> String {
    let pair = |(name, value): &(String, String)| format!("{}={}", encode(name), encode(value));
    query.iter().map(pair).collect::<Vec<_>>().join("&")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// What is signed.
#[derive(Debug)]
pub(crate) struct Unsigned<'a> {
    pub method: &'a str,
    /// With the port, if it is not the scheme's.
    pub host: &'a str,
    /// Encoded once.
    pub path: &'a str,
    pub query: &'a [(String, String)],
    pub headers: &'a [(String, String)],
    /// The hash of the body, or [`UNSIGNED`].
    pub payload_hash: &'a str,
}

/// Where and when a signature holds.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub region: &'a str,
    /// As signatures name it, such as `s3`.
    pub service: &'a str,
    pub time: OffsetDateTime,
}

impl Scope<'_> {
    fn day(&self) -> String {
        let form = format_description!("[year][month][day]");
        self.time.format(form).unwrap_or_default()
    }

    fn moment(&self) -> String {
        let form = format_description!("[year][month][day]T[hour][minute][second]Z");
        self.time.format(form).unwrap_or_default()
    }

    fn text(&self) -> String {
        let (day, region, service) = (self.day(), self.region, self.service);
        format!("{day}/{region}/{service}/aws4_request")
    }

    fn signature(&self, secret: &str, canonical: &str) -> String {
        let text = format!(
            "{ALGORITHM}\n{}\n{}\n{}",
            self.moment(),
            self.text(),
            sha256(canonical.as_bytes())
        );
        let parts = [self.day(), self.region.to_owned(), self.service.to_owned()];
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in parts.iter().map(String::as_str).chain(["aws4_request"]) {
            key = keyed_hash(&key, part.as_bytes());
        }
        hex(&keyed_hash(&key, text.as_bytes()))
    }
}

fn keyed_hash(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// The headers that sign a request: the date, the token, and the signature. S3 wants the hash of the body, too.
pub(crate) fn headers(
    request: &Unsigned,
    scope: &Scope,
    credentials: &Credentials,
) -> Vec<(String, String)> {
    let mut added = vec![("x-amz-date".to_owned(), scope.moment())];
    if let Some(token) = &credentials.token {
        added.push(("x-amz-security-token".to_owned(), token.clone()));
    }
    if scope.service == "s3" {
        let hash = request.payload_hash.to_owned();
        added.push(("x-amz-content-sha256".to_owned(), hash));
    }
    let mut signed = request.headers.to_vec();
    signed.extend(added.iter().cloned());
    signed.push(("host".to_owned(), request.host.to_owned()));
    let (names, lines) = canonical_headers(&signed);
    let canonical = canonical_request(
        request,
        scope.service,
        &canonical_query(request.query),
        &names,
        &lines,
    );
    let signature = scope.signature(&credentials.secret, &canonical);
    added.push((
        "authorization".to_owned(),
        format!(
            "{ALGORITHM} Credential={}/{}, SignedHeaders={names}, Signature={signature}",
            credentials.id,
            scope.text()
        ),
    ));
    added
}

/// The query that signs a request for `seconds` from now on.
pub(crate) fn query(
    request: &Unsigned,
    scope: &Scope,
    credentials: &Credentials,
    seconds: u32,
) -> String {
    let mut signed = request.headers.to_vec();
    signed.push(("host".to_owned(), request.host.to_owned()));
    let (names, lines) = canonical_headers(&signed);
    let mut query = request.query.to_vec();
    let mut add = |name: &str, value: String| query.push((name.to_owned(), value));
    add("X-Amz-Algorithm", ALGORITHM.to_owned());
    add(
        "X-Amz-Credential",
        format!("{}/{}", credentials.id, scope.text()),
    );
    add("X-Amz-Date", scope.moment());
    add("X-Amz-Expires", seconds.to_string());
    add("X-Amz-SignedHeaders", names.clone());
    if let Some(token) = &credentials.token {
        add("X-Amz-Security-Token", token.clone());
    }
    let canonical = canonical_request(
        request,
        scope.service,
        &canonical_query(&query),
        &names,
        &lines,
    );
    let signature = scope.signature(&credentials.secret, &canonical);
    format!("{}&X-Amz-Signature={signature}", encode_query(&query))
}

/// The names of the headers that are signed, and their lines.
fn canonical_headers(headers: &[(String, String)]) -> (String, String) {
    // Proxies may change these.
    const CHANGING: [&str; 4] = ["connection", "expect", "user-agent", "x-amzn-trace-id"];
    let mut sorted: Vec<(String, String)> = Vec::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        if CHANGING.contains(&name.as_str()) {
            continue;
        }
        // Headers of one name are joined in their order.
        if let Some((_, values)) = sorted.iter_mut().find(|(other, _)| *other == name) {
            values.push(',');
            values.push_str(&value);
        } else {
            sorted.push((name, value));
        }
    }
    sorted.sort();
    let names: Vec<_> = sorted.iter().map(|(name, _)| name.as_str()).collect();
    let lines = sorted
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"));
    (names.join(";"), lines.collect())
}

fn canonical_query(query: &[(String, String)]) -> String {
    let mut pairs: Vec<_> = query
        .iter()
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn canonical_request(
    request: &Unsigned,
    service: &str,
    query: &str,
    names: &str,
    lines: &str,
) -> String {
    // S3 alone takes the path as it is.
    let path = if service == "s3" {
        request.path.to_owned()
    } else {
        encode_path(&without_dots(request.path))
    };
    format!(
        "{}\n{path}\n{query}\n{lines}\n{names}\n{}",
        request.method, request.payload_hash
    )
}

/// A path without `.`, `..` and double slashes; RFC 3986, section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    /// The credentials of AWS's published vectors.
    fn credentials(secret: &str, id: &str) -> Credentials {
        Credentials {
            id: id.to_owned(),
            secret: secret.to_owned(),
            token: None,
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(pair).collect()
    }

    /// The signature of a request of AWS's test suite for Signature Version 4.
    fn signature(
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        headers_given: &[(&str, &str)],
        body: &str,
    ) -> String {
        let (query, given) = (pairs(query), pairs(headers_given));
        let request = Unsigned {
            method,
            host: "example.amazonaws.com",
            path,
            query: &query,
            headers: &given,
            payload_hash: &sha256(body.as_bytes()),
        };
        let scope = Scope {
            region: "us-east-1",
            service: "service",
            time: datetime!(2015-08-30 12:36:00 UTC),
        };
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let added = headers(&request, &scope, &credentials(secret, "AKIDEXAMPLE"));
        let (_, text) = added.last().expect("a header");
        text.rsplit('=').next().expect("a signature").to_owned()
    }

    #[test]
    fn signatures_are_those_of_the_published_vectors() {
        assert_eq!(
            signature("GET", "/", &[], &[], ""),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        assert_eq!(
            signature(
                "GET",
                "/",
                &[("Param2", "value2"), ("Param1", "value1")],
                &[],
                ""
            ),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
        );
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        assert_eq!(
            signature("POST", "/", &[], &form, "Param1=value1"),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
        // A path with dots is that without.
        for path in ["/example/..", "/./", "//", "/example1/example2/../.."] {
            assert_eq!(
                signature("GET", path, &[], &[], ""),
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
                "{path}"
            );
        }
    }

    #[test]
    fn signatures_for_s3_are_those_of_its_documentation() {
        let credentials = credentials(
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "AKIAIOSFODNN7EXAMPLE",
        );
        let scope = Scope {
            region: "us-east-1",
            service: "s3",
            time: datetime!(2013-05-24 00:00:00 UTC),
        };
        let range = pairs(&[("Range", "bytes=0-9")]);
        let request = Unsigned {
            method: "GET",
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            query: &[],
            headers: &range,
            payload_hash: &sha256(b""),
        };
        let added = headers(&request, &scope, &credentials);
        let (_, authorization) = added.last().expect("a header");
        assert!(
            authorization
                .ends_with("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            "{authorization}"
        );
        let link = Unsigned {
            headers: &[],
            payload_hash: UNSIGNED,
            ..request
        };
        let signed = query(&link, &scope, &credentials, 86400);
        assert!(
            signed.ends_with("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"),
            "{signed}"
        );
    }
}
