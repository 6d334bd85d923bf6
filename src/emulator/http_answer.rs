//! Turns the answer of a function into an HTTP response.
//!
//! An answer is an object with `statusCode`, `headers`, `cookies` and `body`, or it is the body itself.
//! The errors complete the sentence "cannot use the response: ...".

use axum::body::{Body, Bytes};
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, Empty};
use serde_json::{Map, Value};

use coshell_wire as wire;

/// # Errors
/// When the answer is an object with `statusCode`, or looks like one, but is not valid.
pub(crate) fn to_response(answer: &Bytes) -> Result<Response, String> {
    let value = serde_json::from_slice::<Value>(answer);
    match value.as_ref().ok().and_then(Value::as_object) {
        Some(object) if object.contains_key("statusCode") => {
            let body = parse_body(object)?;
            let mut response = parse_head(object)?;
            *response.body_mut() = Body::from(body);
            Ok(response)
        }
        _ => {
            if let Err(error) = value
                && looks_like_object(answer)
            {
                return Err(format!(
                    "it has a statusCode but is not JSON: {error}; use lambda_http_response, which quotes its arguments"
                ));
            }
            Ok(([(CONTENT_TYPE, wire::JSON)], answer.clone()).into_response())
        }
    }
}

/// Whether an answer that is not JSON was probably meant as an object with `statusCode`.
fn looks_like_object(answer: &[u8]) -> bool {
    answer.trim_ascii_start().starts_with(b"{")
        && memchr::memmem::find(answer, b"\"statusCode\"").is_some()
}

/// # Errors
/// When `body` is not a string, or is not base64 where it should be.
pub(crate) fn parse_body(object: &Map<String, Value>) -> Result<Bytes, String> {
    let is_encoded = object.get("isBase64Encoded") == Some(&Value::Bool(true));
    match object.get("body") {
        None | Some(Value::Null) => Ok(Bytes::new()),
        Some(Value::String(body)) if is_encoded => {
            let decoded = BASE64_STANDARD.decode(body);
            let decoded = decoded.map_err(|cause| format!("its body is not base64: {cause}"))?;
            Ok(decoded.into())
        }
        Some(Value::String(body)) => Ok(body.clone().into()),
        Some(_) => Err("its body is not a string".to_owned()),
    }
}

/// A response with the status, headers and cookies of an object, and an empty body.
///
/// # Errors
/// When one of them is not valid.
pub(crate) fn parse_head(object: &Map<String, Value>) -> Result<Response, String> {
    let status = match object.get("statusCode") {
        None => Some(200),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(digits)) => digits.parse().ok(),
        Some(_) => None,
    };
    let status = status.and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    // A status below 200 announces an answer, and is none.
    let status = status.filter(|status| !status.is_informational());
    let status = status.ok_or("its statusCode is not an HTTP status from 200 to 999")?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let fields = match object.get("headers") {
        None | Some(Value::Null) => &Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err("its headers are not an object".to_owned()),
    };
    let headers = response.headers_mut();
    for (name, value) in fields {
        let (key, value) = parse_header(name, value)?;
        headers.append(key, value);
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
        let (_, cookie) = parse_header(SET_COOKIE.as_str(), cookie)?;
        headers.append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Headers about the connection, which the server sets itself.
const OF_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes what the function cannot decide: headers about the connection, and a body if the status allows none.
pub(crate) fn make_sendable(mut response: Response) -> Response {
    for name in &OF_CONNECTION {
        response.headers_mut().remove(name);
    }
    if matches!(response.status().as_u16(), 204 | 304) {
        *response.body_mut() = no_body();
    }
    response
}

/// A body of no known length: `content-length: 0` is not allowed in a response that can have no body.
pub(crate) fn no_body() -> Body {
    Body::new(Empty::<Bytes>::new().map_frame(|frame| frame))
}

/// # Errors
/// When the name or the value is not valid in HTTP.
pub(crate) fn parse_header(name: &str, value: &Value) -> Result<(HeaderName, HeaderValue), String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return Err(format!("its header {name} is not a string")),
    };
    let key = HeaderName::from_bytes(name.as_bytes());
    let key = key.map_err(|_| format!("{name:?} is not a header name"))?;
    let value = HeaderValue::from_str(&text);
    let value =
        value.map_err(|_| format!("its header {name} has characters that HTTP does not allow"))?;
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(answer: &'static str) -> Result<u16, String> {
        to_response(&Bytes::from_static(answer.as_bytes())).map(|answer| answer.status().as_u16())
    }

    #[test]
    fn object_with_status_code_becomes_a_response() -> Result<(), String> {
        let answer = r#"{"statusCode":201,"headers":{"X-A":1,"Content-Type":"text/html"},"cookies":["a=1","b=2"],"body":"PGI+","isBase64Encoded":true}"#;
        let response = to_response(&Bytes::from_static(answer.as_bytes()))?;
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["x-a"], "1");
        assert_eq!(response.headers()["content-type"], "text/html");
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        Ok(())
    }

    #[test]
    fn any_other_answer_is_the_body() {
        for answer in ["Hello", "\"Hello\"", "{\"a\":1}", "", "[1]"] {
            assert_eq!(status_of(answer), Ok(200), "{answer}");
        }
    }

    #[test]
    fn invalid_object_is_an_error() {
        for answer in [
            r#"{"statusCode":"x"}"#,
            r#"{"statusCode":99}"#,
            r#"{"statusCode":100}"#,
            r#"{"statusCode":"199"}"#,
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
