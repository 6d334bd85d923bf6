//! Who may call the server: the function has the user's credentials, and a web page that is open in a browser
//! can call any port of this machine.
//!
//! On loopback it serves those who call it by a name of this machine. The owner of a web page can make the
//! page's own name lead to 127.0.0.1, and the page would then be of the same origin as the function. But the
//! Host header, which no page can choose, has that name. Clients send `localhost` or an address. A page of
//! another origin is known by what the browser says of it: `Sec-Fetch-Site`, which each request has, and `Origin`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::refusal::json;

/// Lets a request on, or answers it with 403.
pub async fn only_local(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST);
    if host.is_none_or(is_local) {
        return next.run(request).await;
    }
    let message = "the host that is called is not this machine: call localhost, or listen elsewhere than on loopback";
    let document = serde_json::json!({"Type": "User", "message": message});
    json(StatusCode::FORBIDDEN, document.to_string())
}

/// Whether a page of another origin makes this request, of whatever kind: none of them invokes by the Invoke API.
pub(crate) fn is_foreign_page(headers: &HeaderMap) -> bool {
    match site(headers) {
        Some(site) => !matches!(site, "same-origin" | "none"),
        None => has_other_origin(headers),
    }
}

/// Whether a page of another site makes this request to the function URL. A link to it may be followed, as a
/// login that redirects does, and pages of other ports of this machine are the user's own.
pub(crate) fn is_foreign_call(method: &Method, headers: &HeaderMap) -> bool {
    let is_link = *method == Method::GET
        && headers
            .get("sec-fetch-mode")
            .is_some_and(|mode| mode == "navigate")
        && headers
            .get("sec-fetch-dest")
            .is_some_and(|target| target == "document");
    if let Some(site) = site(headers) {
        return site == "cross-site" && !is_link;
    }
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let authority = origin.and_then(|origin| Some(origin.split_once("://")?.1));
    let is_of_this_machine =
        authority.is_some_and(|host| HeaderValue::from_str(host).is_ok_and(|host| is_local(&host)));
    has_other_origin(headers) && !is_of_this_machine
}

fn site(headers: &HeaderMap) -> Option<&str> {
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

/// `localhost`, a name below it, or an address; with a port or without.
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
    fn page_of_another_origin_is_foreign() {
        let is_foreign = |pairs: &[_]| is_foreign_page(&headers(pairs));
        assert!(!is_foreign(&[]));
        assert!(!is_foreign(&[("origin", "http://localhost:9000")]));
        assert!(!is_foreign(&[("sec-fetch-site", "same-origin")]));
        assert!(!is_foreign(&[("sec-fetch-site", "none")]));
        assert!(is_foreign(&[("origin", "https://example.com")]));
        assert!(is_foreign(&[("origin", "null")]));
        // An image, a form and a script have no Origin, or the browser leaves it out.
        assert!(is_foreign(&[("sec-fetch-site", "cross-site")]));
        assert!(is_foreign(&[("sec-fetch-site", "same-site")]));
    }

    #[test]
    fn page_of_another_site_may_link_to_the_function_url_and_no_more() {
        let is_foreign = |method, pairs: &[_]| is_foreign_call(&method, &headers(pairs));
        let cross = ("sec-fetch-site", "cross-site");
        let link = [
            cross,
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(!is_foreign(Method::GET, &link));
        assert!(is_foreign(Method::POST, &link));
        let frame = [
            cross,
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
        ];
        assert!(is_foreign(Method::GET, &frame));
        assert!(is_foreign(
            Method::GET,
            &[cross, ("sec-fetch-mode", "no-cors")]
        ));
        assert!(!is_foreign(
            Method::POST,
            &[("sec-fetch-site", "same-site")]
        ));
        assert!(!is_foreign(
            Method::POST,
            &[("origin", "http://localhost:3000")]
        ));
        assert!(is_foreign(
            Method::POST,
            &[("origin", "https://example.com")]
        ));
        assert!(is_foreign(Method::POST, &[("origin", "null")]));
        assert!(!is_foreign(Method::DELETE, &[]));
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
