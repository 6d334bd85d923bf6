//! The function URL: turns HTTP requests into events, and answers into HTTP responses.
//!
//! Events have payload format 2.0, and answers are interpreted as behind a real function URL:
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::channel::{Channel, Sender};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::body::read_body;
use super::exchange::{Answer, Event, Piece, Stream, new_id, new_trace_id, since_epoch};
use super::gateway::{self, Format, RequestTime, header_text, is_text};
use super::host::is_cross_site_call;
use super::http_answer::{make_sendable, parse_head, to_response};
use super::invocation;
use super::invoke_api::{MAX_EVENT_BYTES, REQUEST_ID, TRACE_ID};
use super::logs::eprint;
use super::refusal::Refusal;
use super::service::Service;
use coshell_wire as wire;

/// Separates the prelude of a streamed response from its content.
const PRELUDE_END: [u8; 8] = [0; 8];
const MAX_PRELUDE_BYTES: usize = 64 * 1024;

/// Handles every request that no other route matches. Logs a line for each: method, path, status, milliseconds, request
/// id and, after a failure, the reason.
pub async fn serve(
    State(service): State<Arc<Service>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (begun_at, request_id) = (Instant::now(), new_id());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let result = invoke(&service, caller, request, &request_id).await;
    let (mut response, cause) = match result {
        Ok(response) => (response, String::new()),
        // Lambda sends only the first line.
        Err(cause) => {
            let text = format!("Internal Server Error\n{cause}\n");
            (plain(StatusCode::BAD_GATEWAY, text), format!(": {cause}"))
        }
    };
    if let Ok(request_id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, request_id);
    }
    if service.logs_access {
        let ms = begun_at.elapsed().as_secs_f64() * 1e3;
        let (path, status) = (uri.path(), response.status().as_u16());
        eprint(format_args!(
            "{method} {path} {status} {ms:.2} ms {request_id}{cause}"
        ));
    }
    response
}

/// # Errors
/// When the status has to be 502, with the reason.
async fn invoke(
    service: &Service,
    caller: SocketAddr,
    request: Request,
    request_id: &str,
) -> Result<Response, String> {
    let (mut parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        let text = "coshell serve is not a proxy";
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    if is_cross_site_call(&parts.method, &parts.headers) {
        let text =
            "web pages of other sites may not call the function, because it has your credentials";
        return Ok(plain(StatusCode::FORBIDDEN, text));
    }
    let body = match read_body(body, MAX_EVENT_BYTES).await {
        Ok(body) => body,
        Err(Refusal::TOO_LARGE) => {
            return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Large"));
        }
        Err(_) => return Ok(plain(StatusCode::BAD_REQUEST, "Bad Request")),
    };
    let trace_id = add_forwarding_headers(&mut parts, caller);
    let format = service.url_format;
    let event = Event {
        body: build_event(&parts, &body, caller, request_id, format)
            .to_string()
            .into(),
        trace_id: Some(trace_id),
        ..Event::default()
    };
    let Ok(permit) = service.pool.permits.acquire().await else {
        return Ok(plain(StatusCode::TOO_MANY_REQUESTS, "Rate Exceeded."));
    };
    let reply = invocation::start(&service.pool, permit, request_id.to_owned(), event).await;
    let failed = || "the function failed".to_owned();
    let answer = reply.map_err(|_| failed())?.answer;
    let response = match answer {
        Answer::Response(answer) if format == Format::FunctionUrl => to_response(&answer),
        Answer::Stream(stream) if format == Format::FunctionUrl => stream_to_response(stream).await,
        // The other formats cannot be streamed.
        answer => gateway::to_response(&answer.whole().await.map_err(|_| failed())?),
    };
    let response = response.map_err(|cause| format!("cannot use the response: {cause}"))?;
    Ok(make_sendable(response))
}

/// Adds the headers that AWS adds: the caller's address, the port, the protocol and the trace header, which it also
/// returns. A proxy in front may have set port and protocol already.
fn add_forwarding_headers(parts: &mut Parts, caller: SocketAddr) -> String {
    let text = |name: &str| header_text(parts.headers.get(name));
    let callers = match text("x-forwarded-for") {
        Some(proxies) => format!("{proxies}, {}", caller.ip()),
        None => caller.ip().to_string(),
    };
    let host = text(HOST.as_str()).unwrap_or_default();
    let port = host.rsplit_once(':').map(|(_, port)| port.to_owned());
    let port = port.filter(|port| port.parse::<u16>().is_ok());
    let port = port.unwrap_or_else(|| "80".to_owned());
    let trace_id = text(TRACE_ID).unwrap_or_else(|| new_trace_id(since_epoch().as_secs()));
    let port = text("x-forwarded-port").unwrap_or(port);
    let protocol = text("x-forwarded-proto").unwrap_or_else(|| "http".to_owned());
    for (name, value) in [
        ("x-forwarded-for", &callers),
        ("x-forwarded-port", &port),
        ("x-forwarded-proto", &protocol),
        (TRACE_ID, &trace_id),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            parts.headers.insert(name, value);
        }
    }
    trace_id
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [(CONTENT_TYPE, wire::JSON)], text.into()).into_response()
}

fn build_event(
    parts: &Parts,
    body: &Bytes,
    caller: SocketAddr,
    request_id: &str,
    format: Format,
) -> Value {
    let now = SystemTime::now();
    let epoch_ms = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = RequestTime {
        text: common_log_time(now),
        epoch_ms: u64::try_from(epoch_ms.as_millis()).unwrap_or_default(),
    };
    match format {
        Format::FunctionUrl => url_event(parts, body, caller, request_id, &time),
        Format::RestApi => gateway::rest_event(parts, body, caller, request_id, &time),
        Format::LoadBalancer => gateway::load_balancer_event(parts, body),
    }
}

/// The event in payload format 2.0.
fn url_event(
    parts: &Parts,
    body: &Bytes,
    caller: SocketAddr,
    request_id: &str,
    time: &RequestTime,
) -> Value {
    let header = |name| header_text(parts.headers.get(name));
    let host = header(HOST.as_str()).unwrap_or_default();
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers(parts),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "coshell",
            "authentication": null,
            "domainName": host,
            "domainPrefix": "coshell",
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": format!("{:?}", parts.version),
                "sourceIp": caller.ip().to_string(),
                "userAgent": header(USER_AGENT.as_str()).unwrap_or_default(),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": time.text,
            "timeEpoch": time.epoch_ms,
        },
        "pathParameters": null,
        "isBase64Encoded": false,
        "stageVariables": null,
    });
    let cookies = cookies(parts);
    if !cookies.is_empty() {
        event["cookies"] = cookies.into();
    }
    if !query.is_empty() {
        event["queryStringParameters"] = join_values(form_urlencoded::parse(query.as_bytes()));
    }
    if !body.is_empty() {
        let text = is_text(header(CONTENT_TYPE.as_str()).as_deref())
            .then(|| std::str::from_utf8(body).ok());
        if let Some(text) = text.flatten() {
            event["body"] = text.into();
        } else {
            event["body"] = BASE64_STANDARD.encode(body).into();
            event["isBase64Encoded"] = true.into();
        }
    }
    event
}

/// The headers without cookies. Several values of a name are joined by commas.
fn headers(parts: &Parts) -> Value {
    let others = parts.headers.iter().filter(|(name, _)| *name != COOKIE);
    join_values(
        others.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))),
    )
}

fn join_values<N: AsRef<str>, V: AsRef<str>>(pairs: impl Iterator<Item = (N, V)>) -> Value {
    let mut object = Map::new();
    for (name, value) in pairs {
        match object.get_mut(name.as_ref()) {
            Some(Value::String(present)) => present.extend([",", value.as_ref()]),
            _ => drop(object.insert(name.as_ref().to_owned(), value.as_ref().into())),
        }
    }
    object.into()
}

fn cookies(parts: &Parts) -> Vec<String> {
    let all = parts.headers.get_all(COOKIE).iter();
    let all = all.filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';'))
        .map(|cookie| cookie.trim().to_owned())
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

/// `25/Nov/2026:07:26:13 +0000`.
fn common_log_time(now: SystemTime) -> String {
    let format =
        format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    let now = OffsetDateTime::from(now).format(&format);
    now.unwrap_or_default()
}

/// If the stream has a prelude, it is an object with status, headers and cookies. Otherwise the stream is the body.
async fn stream_to_response(mut stream: Stream) -> Result<Response, String> {
    let mut response = Response::new(Body::empty());
    let mut content_start = Vec::new();
    let content_type = HeaderValue::from_str(&stream.content_type);
    if stream.content_type == wire::HTTP_INTEGRATION {
        let prelude = read_prelude(&mut stream, &mut content_start).await?;
        let object: Map<String, Value> = serde_json::from_slice(&prelude)
            .map_err(|cause| format!("its prelude is not a JSON object: {cause}"))?;
        response = parse_head(&object)?;
    } else if let Ok(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    let (sender, body) = Channel::new(1);
    tokio::spawn(send_content(stream, content_start.into(), sender));
    *response.body_mut() = Body::new(body);
    Ok(response)
}

/// Reads up to [`PRELUDE_END`]. Puts the bytes that came after it into `content_start`.
async fn read_prelude(stream: &mut Stream, content_start: &mut Vec<u8>) -> Result<Vec<u8>, String> {
    let mut received = Vec::new();
    loop {
        if let Some(index) = memchr::memmem::find(&received, &PRELUDE_END) {
            *content_start = received.split_off(index + PRELUDE_END.len());
            received.truncate(index);
            return Ok(received);
        }
        if received.len() > MAX_PRELUDE_BYTES {
            return Err(format!(
                "its prelude does not end within {MAX_PRELUDE_BYTES} bytes"
            ));
        }
        match stream.pieces.recv().await {
            Some(Piece::Data(data)) => received.extend_from_slice(&data),
            Some(Piece::End(Some(failure))) => {
                return Err(format!(
                    "the function failed in its prelude: {}",
                    failure.error_type
                ));
            }
            Some(Piece::End(None)) | None => {
                return Err("it ended before the end of its prelude".to_owned());
            }
        }
    }
}

/// Sends the content as it comes. After a failure midway it breaks the connection off, because the status has been sent
/// already.
async fn send_content(
    mut stream: Stream,
    content_start: Bytes,
    mut sender: Sender<Bytes, io::Error>,
) {
    // Errors mean that the caller has gone. The function goes on all the same.
    if !content_start.is_empty() {
        let _ = sender.send_data(content_start).await;
    }
    while let Some(piece) = stream.pieces.recv().await {
        match piece {
            Piece::Data(data) => drop(sender.send_data(data).await),
            Piece::End(None) => return,
            Piece::End(Some(_)) => break,
        }
    }
    sender.abort(io::ErrorKind::ConnectionAborted.into());
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn event_of(request: axum::http::request::Builder, body: &'static [u8]) -> Value {
        let (parts, ()) = request.body(()).unwrap_or_default().into_parts();
        let caller = SocketAddr::from(([127, 0, 0, 1], 40000));
        build_event(
            &parts,
            &Bytes::from_static(body),
            caller,
            "id",
            Format::FunctionUrl,
        )
    }

    #[test]
    fn event_has_the_shape_of_format_2() {
        let request = Request::get("/a/b%20c?x=1&y=%20&x=2")
            .header("Host", "localhost:9000")
            .header("X-Many", "1")
            .header("X-Many", "2")
            .header("Cookie", "a=1; b=2")
            .header("User-Agent", "curl");
        let event = event_of(request, b"");
        assert_eq!(event["version"], "2.0");
        assert_eq!(event["rawPath"], "/a/b%20c");
        assert_eq!(event["rawQueryString"], "x=1&y=%20&x=2");
        assert_eq!(
            event["queryStringParameters"],
            json!({"x": "1,2", "y": " "})
        );
        assert_eq!(event["headers"]["x-many"], "1,2");
        assert_eq!(event["headers"]["cookie"], Value::Null);
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        let http = &event["requestContext"]["http"];
        assert_eq!(http["method"], "GET");
        assert_eq!(http["protocol"], "HTTP/1.1");
        assert_eq!(http["sourceIp"], "127.0.0.1");
        assert_eq!(http["userAgent"], "curl");
        assert_eq!(event["body"], Value::Null);
        assert_eq!(event["isBase64Encoded"], false);
    }

    #[test]
    fn body_is_text_or_base64() {
        let body_of = |content_type, body| {
            let request = Request::post("/").header("Content-Type", content_type);
            let event = event_of(request, body);
            (event["body"].clone(), event["isBase64Encoded"].clone())
        };
        let text = |text: &str| (json!(text), json!(true));
        assert_eq!(
            body_of("application/json; charset=utf-8", b"{}"),
            (json!("{}"), json!(false))
        );
        assert_eq!(
            body_of("image/svg+xml", b"<svg/>"),
            (json!("<svg/>"), json!(false))
        );
        assert_eq!(
            body_of("application/x-www-form-urlencoded", b"a=1"),
            text("YT0x")
        );
        assert_eq!(body_of("text/plain", b"\xff"), text("/w=="));
    }

    #[test]
    fn time_has_the_common_log_format() {
        assert_eq!(common_log_time(UNIX_EPOCH), "01/Jan/1970:00:00:00 +0000");
    }
}
