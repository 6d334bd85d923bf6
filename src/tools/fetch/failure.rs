//! Why a request has no result, in curl's words.

use std::io;

use crate::http::{self, HttpError};

/// Exit statuses of curl.
pub(super) mod status {
    pub(in crate::fetch) const PROTOCOL: i32 = 1;
    pub(in crate::fetch) const USAGE: i32 = 2;
    pub(in crate::fetch) const URL: i32 = 3;
    pub(in crate::fetch) const PROXY: i32 = 5;
    pub(in crate::fetch) const HOST: i32 = 6;
    pub(in crate::fetch) const CONNECT: i32 = 7;
    pub(in crate::fetch) const PARTIAL: i32 = 18;
    pub(in crate::fetch) const REFUSED: i32 = 22;
    pub(in crate::fetch) const WRITE: i32 = 23;
    pub(in crate::fetch) const READ: i32 = 26;
    pub(in crate::fetch) const TIMEOUT: i32 = 28;
    pub(in crate::fetch) const TLS: i32 = 35;
    pub(in crate::fetch) const REDIRECTS: i32 = 47;
    pub(in crate::fetch) const EMPTY: i32 = 52;
    pub(in crate::fetch) const RECEIVE: i32 = 56;
    pub(in crate::fetch) const CERTIFICATE: i32 = 60;
    pub(in crate::fetch) const ENCODING: i32 = 61;
    pub(in crate::fetch) const AUTHORITIES: i32 = 77;
}

/// Why a request has no result: curl's status, and the text.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub status: i32,
    pub message: String,
}

pub(super) fn failure(status: i32, message: impl Into<String>) -> Failure {
    Failure {
        status,
        message: message.into(),
    }
}

/// What an error of the client is to the caller. `proxy` is the URL of a proxy.
pub(super) fn describe(error: &HttpError, url: &str, proxy: Option<&str>) -> Failure {
    let host = host_of(url);
    let peer = proxy.map_or(host, host_of);
    if error.is_host_unknown() && proxy.is_some() {
        failure(status::PROXY, format!("Could not resolve proxy: {peer}"))
    } else if error.is_host_unknown() {
        failure(status::HOST, format!("Could not resolve host: {host}"))
    } else if error.is_bad_proxy() {
        failure(status::PROXY, "cannot use the proxy: its URL is wrong")
    } else if error.is_timeout() {
        failure(status::TIMEOUT, "the time is up")
    } else if error.is_tls() {
        let error = error.to_string();
        let status = if error.contains("certificate") {
            status::CERTIFICATE
        } else {
            status::TLS
        };
        failure(status, format!("no TLS with {host}: {error}"))
    } else if error.is_connection() {
        failure(
            status::CONNECT,
            format!("Failed to connect to {peer}: {error}"),
        )
    } else if error.is_bad_url() {
        failure(
            status::URL,
            format!("the URL or a header is wrong: {error}"),
        )
    } else if error.is_empty() {
        failure(status::EMPTY, format!("Empty reply from {peer}"))
    } else {
        failure(status::RECEIVE, error.to_string())
    }
}

/// The host of a URL and its port.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// Why a body ended early, after `count` bytes.
pub(super) fn broken(error: &io::Error, count: u64) -> Failure {
    use io::ErrorKind::{InvalidData, InvalidInput};
    if http::is_timeout(error) {
        failure(
            status::TIMEOUT,
            format!("the time was up after {count} bytes"),
        )
    } else if matches!(error.kind(), InvalidData | InvalidInput) {
        let message = format!("cannot decode the answer after {count} bytes: {error}");
        failure(status::ENCODING, message)
    } else {
        let message = format!("the answer ended after {count} bytes: {error}");
        failure(status::PARTIAL, message)
    }
}
