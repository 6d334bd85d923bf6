//! Keeps web pages from calling the function. The function has the user's credentials, and any page that is open in a
//! browser can send requests to any port of this machine.
//!
//! - DNS rebinding: the owner of a page can let the page's own name resolve to 127.0.0.1, and then the browser takes
//!   page and function for the same origin. But a page cannot choose the `Host` header, which then has the page's name.
//!   So on loopback the server accepts only `localhost` and addresses as the host.
//! - Requests from another origin: the browser reports them in `Sec-Fetch-Site`, which every request has, and in
//!   `Origin`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::refusal::json_response;

/// A middleware that answers 403 unless the `Host` header names this machine.
pub async fn require_local_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST);
    if host.is_none_or(is_local) {
        return next.run(request).await;
    }
    let message = "the Host header does not name this machine: call localhost, or use --listen with another address";
    let document = serde_json::json!({"Type": "User", "message": message});
    json_response(StatusCode::FORBIDDEN, document.to_string())
}

/// Whether a page of another origin sent this request. None may use the Invoke API, not even with an image or a form.
pub(crate) fn is_cross_origin(headers: &HeaderMap) -> bool {
    match fetch_site(headers) {
        Some(site) => !matches!(site, "same-origin" | "none"),
        None => has_other_origin(headers),
    }
}

/// Whether a page of another site sent this request to the function URL. Following a link is allowed, as in a login
/// that redirects. Pages on other ports of this machine are allowed too, as they are the user's own.
pub(crate) fn is_cross_site_call(method: &Method, headers: &HeaderMap) -> bool {
    let is_link = *method == Method::GET
        && headers
            .get("sec-fetch-mode")
            .is_some_and(|mode| mode == "navigate")
        && headers
            .get("sec-fetch-dest")
            .is_some_and(|target| target == "document");
    if let Some(site) = fetch_site(headers) {
        return site == "cross-site" && !is_link;
    }
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let authority = origin.and_then(|origin| Some(origin.split_once("://")?.1));
    let is_from_this_machine =
        authority.is_some_and(|host| HeaderValue::from_str(host).is_ok_and(|host| is_local(&host)));
    has_other_origin(headers) && !is_from_this_machine
}

fn fetch_site(headers: &HeaderMap) -> Option<&str> {
    headers.get("sec-fetch-site")?.to_str().ok()
}

fn has_other_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    origin.map(|(_, authority)| authority) != host
}

/// Whether a host, with or without a port, is `localhost`, a name that ends in `.localhost`, or an IP address.
fn is_local(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers =
            HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost:9000"))]);
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn page_of_another_origin_is_recognized() {
        let is_cross_origin = |pairs: &[_]| is_cross_origin(&headers(pairs));
        assert!(!is_cross_origin(&[]));
        assert!(!is_cross_origin(&[("origin", "http://localhost:9000")]));
        assert!(!is_cross_origin(&[("sec-fetch-site", "same-origin")]));
        assert!(!is_cross_origin(&[("sec-fetch-site", "none")]));
        assert!(is_cross_origin(&[("origin", "https://example.com")]));
        assert!(is_cross_origin(&[("origin", "null")]));
        // Images, forms and scripts may come without Origin.
        assert!(is_cross_origin(&[("sec-fetch-site", "cross-site")]));
        assert!(is_cross_origin(&[("sec-fetch-site", "same-site")]));
    }

    #[test]
    fn page_of_another_site_may_only_link_to_the_function_url() {
        let is_refused = |method, pairs: &[_]| is_cross_site_call(&method, &headers(pairs));
        let cross = ("sec-fetch-site", "cross-site");
        let link = [
            cross,
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(!is_refused(Method::GET, &link));
        assert!(is_refused(Method::POST, &link));
        let frame = [
            cross,
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
        ];
        assert!(is_refused(Method::GET, &frame));
        assert!(is_refused(
            Method::GET,
            &[cross, ("sec-fetch-mode", "no-cors")]
        ));
        assert!(!is_refused(
            Method::POST,
            &[("sec-fetch-site", "same-site")]
        ));
        assert!(!is_refused(
            Method::POST,
            &[("origin", "http://localhost:3000")]
        ));
        assert!(is_refused(
            Method::POST,
            &[("origin", "https://example.com")]
        ));
        assert!(is_refused(Method::POST, &[("origin", "null")]));
        assert!(!is_refused(Method::DELETE, &[]));
    }

    #[test]
    fn names_of_this_machine_are_local() {
        for host in [
            "localhost",
            "localhost:9000",
            "LocalHost:1",
            "app.localhost:9000",
            "127.0.0.1:9000",
            "[::1]:9000",
            "192.0.2.1",
        ] {
            assert!(is_local(&HeaderValue::from_static(host)), "{host}");
        }
        for host in [
            "example.com",
            "example.com:9000",
            "localhost.example.com",
            "",
            "a:b",
        ] {
            assert!(!is_local(&HeaderValue::from_static(host)), "{host}");
        }
    }
}
