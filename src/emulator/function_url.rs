//! The browser's door: plain HTTP turned into events, and answers into HTTP.
//!
//! What Lambda does behind a function URL, with the same events (payload format 2.0) and the same
//! reading of what the function answers:
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, SET_COOKIE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::channel::{Channel, Sender};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::body::read_body;
use super::exchange::{Answer, Event, Piece, Stream, new_id};
use super::invoke_api::{MAX_EVENT_BYTES, REQUEST_ID, Service, TRACE_ID};
use super::logs::say;
use crate::runtime_api::wire;

/// Between the prelude of a streamed response and its content.
const PRELUDE_END: [u8; 8] = [0; 8];
/// A prelude that is longer than this is none.
const MAX_PRELUDE_BYTES: usize = 64 * 1024;

/// Any request that is not for another door.
pub async fn serve(
    State(service): State<Arc<Service>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let request_id = new_id();
    let (parts, body) = request.into_parts();
    let Ok(body) = read_body(body, MAX_EVENT_BYTES).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Large");
    };
    let trace_id = parts.headers.get(TRACE_ID);
    let trace_id = trace_id.and_then(|value| value.to_str().ok());
    let event = Event {
        body: event(&parts, &body, caller, &request_id).to_string().into(),
        trace_id: trace_id.map(ToOwned::to_owned),
        ..Event::default()
    };
    let Ok(turn) = service.pool.turns.admit().await else {
        return plain(StatusCode::TOO_MANY_REQUESTS, "Rate Exceeded.");
    };
    let reply = service.pool.invoke(turn, request_id.clone(), event).await;
    let response = match reply.map(|reply| reply.answer) {
        Ok(Answer::Response(answer)) => from_answer(&answer),
        Ok(Answer::Stream(stream)) => from_stream(stream).await,
        Ok(Answer::Error(_)) | Err(_) => Err("the function failed".to_owned()),
    };
    let mut response = response.unwrap_or_else(|cause| {
        let (method, path) = (&parts.method, parts.uri.path());
        say(format_args!("cannot answer {method} {path}: {cause}"));
        plain(StatusCode::BAD_GATEWAY, "Internal Server Error")
    });
    if let Ok(request_id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, request_id);
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, [(CONTENT_TYPE, wire::JSON)], text).into_response()
}

/// The event of a request, in payload format 2.0.
fn event(parts: &Parts, body: &Bytes, caller: SocketAddr, request_id: &str) -> Value {
    let header = |name| text_of(parts.headers.get(name));
    let host = header(HOST.as_str()).unwrap_or_default();
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let now = SystemTime::now();
    let epoch_ms = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers(parts),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "coshell",
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
            "time": common_log_time(now),
            "timeEpoch": u64::try_from(epoch_ms.as_millis()).unwrap_or_default(),
        },
        "isBase64Encoded": false,
    });
    let cookies = cookies(parts);
    if !cookies.is_empty() {
        event["cookies"] = cookies.into();
    }
    if !query.is_empty() {
        event["queryStringParameters"] = joined(form_urlencoded::parse(query.as_bytes()));
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

fn text_of(value: Option<&HeaderValue>) -> Option<String> {
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Names in lower case, several values joined by commas, without cookies.
fn headers(parts: &Parts) -> Value {
    let others = parts.headers.iter().filter(|(name, _)| *name != COOKIE);
    joined(others.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))))
}

fn joined<N: AsRef<str>, V: AsRef<str>>(pairs: impl Iterator<Item = (N, V)>) -> Value {
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

/// Whether a body of this type is text; all others are base64. A form is not text, which surprises
/// many, and is so behind a real function URL.
fn is_text(content_type: Option<&str>) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    let known = [
        "application/json",
        "application/javascript",
        "application/xml",
    ];
    essence.starts_with("text/")
        || known.contains(&essence.as_str())
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
}

/// An object with `statusCode` says it all; anything else is the body itself.
fn from_answer(answer: &Bytes) -> Result<Response, String> {
    let value = serde_json::from_slice::<Value>(answer);
    match value.as_ref().ok().and_then(Value::as_object) {
        Some(object) if object.contains_key("statusCode") => {
            let body = body_of(object)?;
            let mut response = head_of(object)?;
            *response.body_mut() = Body::from(body);
            Ok(response)
        }
        _ => Ok(([(CONTENT_TYPE, wire::JSON)], answer.clone()).into_response()),
    }
}

fn body_of(object: &Map<String, Value>) -> Result<Bytes, String> {
    let is_encoded = object.get("isBase64Encoded") == Some(&Value::Bool(true));
    match object.get("body") {
        None | Some(Value::Null) => Ok(Bytes::new()),
        Some(Value::String(body)) if is_encoded => {
            let decoded = BASE64_STANDARD.decode(body);
            let decoded = decoded.map_err(|cause| format!("its body is not base64: {cause}"))?;
            Ok(decoded.into())
        }
        Some(Value::String(body)) => Ok(body.clone().into()),
        Some(_) => Err("its body is JSON, and has to be a string".to_owned()),
    }
}

/// Status, headers and cookies.
fn head_of(object: &Map<String, Value>) -> Result<Response, String> {
    let status = match object.get("statusCode") {
        None => Some(200),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(digits)) => digits.parse().ok(),
        Some(_) => None,
    };
    let status = status.and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.ok_or("its statusCode is no status of HTTP")?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let given = match object.get("headers") {
        None | Some(Value::Null) => &Map::new(),
        Some(Value::Object(given)) => given,
        Some(_) => return Err("its headers are not an object".to_owned()),
    };
    let headers = response.headers_mut();
    for (name, value) in given {
        let (key, value) = header_of(name, value)?;
        // What the body is long, we see ourselves.
        if key != CONTENT_LENGTH {
            headers.append(key, value);
        }
    }
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(wire::JSON));
    }
    let cookies = match object.get("cookies") {
        None | Some(Value::Null) => &Vec::new(),
        Some(Value::Array(cookies)) => cookies,
        Some(_) => return Err("its cookies are not an array".to_owned()),
    };
    for cookie in cookies {
        let (_, cookie) = header_of(SET_COOKIE.as_str(), cookie)?;
        headers.append(SET_COOKIE, cookie);
    }
    Ok(response)
}

fn header_of(name: &str, value: &Value) -> Result<(HeaderName, HeaderValue), String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return Err(format!("its header {name} is not a string")),
    };
    let key = HeaderName::from_bytes(name.as_bytes());
    let key = key.map_err(|_| format!("{name:?} is no name of a header"))?;
    let value = HeaderValue::from_str(&text);
    let value =
        value.map_err(|_| format!("its header {name} has characters that no header has"))?;
    Ok((key, value))
}

/// A stream with a prelude says in that what an object says; another is the body itself.
async fn from_stream(mut stream: Stream) -> Result<Response, String> {
    let mut response = Response::new(Body::empty());
    let mut begun = Vec::new();
    let content_type = HeaderValue::from_str(&stream.content_type);
    if stream.content_type == wire::HTTP_INTEGRATION {
        let prelude = read_prelude(&mut stream, &mut begun).await?;
        let object: Map<String, Value> = serde_json::from_slice(&prelude)
            .map_err(|cause| format!("its prelude is not a JSON object: {cause}"))?;
        response = head_of(&object)?;
    } else if let Ok(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    let (sender, body) = Channel::new(1);
    tokio::spawn(send(stream, begun.into(), sender));
    *response.body_mut() = Body::new(body);
    Ok(response)
}

/// Reads up to the eight NULs; what came after them is left in `begun`.
async fn read_prelude(stream: &mut Stream, begun: &mut Vec<u8>) -> Result<Vec<u8>, String> {
    loop {
        if let Some(at) = memchr::memmem::find(begun, &PRELUDE_END) {
            let rest = begun.split_off(at + PRELUDE_END.len());
            let mut prelude = std::mem::replace(begun, rest);
            prelude.truncate(at);
            return Ok(prelude);
        }
        if begun.len() > MAX_PRELUDE_BYTES {
            return Err("its prelude has no end".to_owned());
        }
        match stream.pieces.recv().await {
            Some(Piece::Data(data)) => begun.extend_from_slice(&data),
            Some(Piece::End(Some(failure))) => {
                return Err(format!("it failed: {}", failure.error_type));
            }
            Some(Piece::End(None)) | None => return Err("it ended in its prelude".to_owned()),
        }
    }
}

/// Sends the content as it comes. A failure midway cuts the connection: the status is out already.
async fn send(mut stream: Stream, begun: Bytes, mut sender: Sender<Bytes, io::Error>) {
    // Errors mean that the caller has gone: the function goes on all the same.
    if !begun.is_empty() {
        let _ = sender.send_data(begun).await;
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
        event(&parts, &Bytes::from_static(body), caller, "id")
    }

    fn status_of(answer: &'static str) -> Result<u16, String> {
        from_answer(&Bytes::from_static(answer.as_bytes())).map(|answer| answer.status().as_u16())
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
    fn time_is_that_of_a_common_log() {
        assert_eq!(common_log_time(UNIX_EPOCH), "01/Jan/1970:00:00:00 +0000");
    }

    #[test]
    fn object_with_status_says_it_all() -> Result<(), String> {
        let answer = r#"{"statusCode":201,"headers":{"X-A":1,"Content-Type":"text/html"},"cookies":["a=1","b=2"],"body":"PGI+","isBase64Encoded":true}"#;
        let response = from_answer(&Bytes::from_static(answer.as_bytes()))?;
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["x-a"], "1");
        assert_eq!(response.headers()["content-type"], "text/html");
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        Ok(())
    }

    #[test]
    fn anything_else_is_the_body() {
        for answer in ["Hello", "\"Hello\"", "{\"a\":1}", "", "[1]"] {
            assert_eq!(status_of(answer), Ok(200), "{answer}");
        }
    }

    #[test]
    fn object_that_makes_no_sense_is_told_of() {
        for answer in [
            r#"{"statusCode":"x"}"#,
            r#"{"statusCode":99}"#,
            r#"{"statusCode":200,"body":{}}"#,
            r#"{"statusCode":200,"body":"?","isBase64Encoded":true}"#,
            r#"{"statusCode":200,"headers":[]}"#,
            r#"{"statusCode":200,"headers":{"a b":"c"}}"#,
            r#"{"statusCode":200,"headers":{"a":"b\nc"}}"#,
            r#"{"statusCode":200,"cookies":"a=1"}"#,
        ] {
            assert!(status_of(answer).is_err(), "{answer}");
        }
        assert_eq!(status_of(r#"{"statusCode":"404"}"#), Ok(404));
    }
}
