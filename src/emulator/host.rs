//! Who may call a server that listens on loopback: whoever calls it by a name of this machine.
//!
//! A web page can have its own name resolved to 127.0.0.1, and would then be of the same origin as
//! the function, which has the user's credentials. It cannot choose the Host header, which says that
//! name. Clients send `localhost` or an address.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::body::json;

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
