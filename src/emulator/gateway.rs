//! The events and answers of API Gateway's REST APIs and of Application Load Balancers.
//!
//! A REST API with the proxy integration (payload format 1.0) decodes the query, and its event has two lists: one with
//! the last value of each name, one with all values. A load balancer decodes nothing and passes on only the last value.
//! Both require an object with `statusCode` as the answer. Sources:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html>,
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html>.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::request::Parts;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::http_answer::{parse_body, parse_head, parse_header};

/// The service whose events and answers `--function-url` uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// A function URL or an HTTP API of API Gateway: payload format 2.0.
    #[default]
    FunctionUrl,
    /// A REST API of API Gateway with the proxy integration: payload format 1.0.
    RestApi,
    /// An Application Load Balancer.
    LoadBalancer,
}

/// The time of a request in the two forms that events have.
#[derive(Debug)]
pub(crate) struct RequestTime {
    /// As in the Common Log Format.
    pub text: String,
    /// Milliseconds since the epoch.
    pub epoch_ms: u64,
}

/// The event of a REST API that sends all paths to the function.
pub(crate) fn rest_event(
    parts: &Parts,
    body: &Bytes,
    caller: SocketAddr,
    request_id: &str,
    time: &RequestTime,
) -> Value {
    let path = parts.uri.path();
    let proxy = path.trim_start_matches('/');
    let resource = if proxy.is_empty() { "/" } else { "/{proxy+}" };
    let headers = parts.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (train_case(name.as_str()), value)
    });
    let query = parts.uri.query().unwrap_or_default();
    let query = form_urlencoded::parse(query.as_bytes()).into_owned();
    let (headers, multi_headers) = last_and_all_values(headers);
    let (query, multi_query) = last_and_all_values(query);
    // A REST API without binary media types treats every body as text. Base64 is the best we can do for other bytes.
    let text = std::str::from_utf8(body);
    let identity = [
        "accessKey",
        "accountId",
        "apiKey",
        "apiKeyId",
        "caller",
        "clientCert",
        "cognitoAuthenticationProvider",
        "cognitoAuthenticationType",
        "cognitoIdentityId",
        "cognitoIdentityPoolId",
        "principalOrgId",
        "user",
        "userArn",
    ];
    let mut identity: Map<String, Value> = identity
        .into_iter()
        .map(|name| (name.to_owned(), Value::Null))
        .collect();
    let header = |name| header_text(parts.headers.get(name)).unwrap_or_default();
    identity.insert("sourceIp".to_owned(), caller.ip().to_string().into());
    identity.insert("userAgent".to_owned(), header(USER_AGENT).into());
    json!({
        "resource": resource,
        "path": path,
        "httpMethod": parts.method.as_str(),
        "headers": headers,
        "multiValueHeaders": multi_headers,
        "queryStringParameters": query,
        "multiValueQueryStringParameters": multi_query,
        "pathParameters": if proxy.is_empty() { Value::Null } else { json!({"proxy": proxy}) },
        "stageVariables": null,
        "requestContext": {
            "accountId": "012345678912",
            "apiId": "coshell",
            "authorizer": null,
            "domainName": header(HOST),
            "domainPrefix": "coshell",
            "extendedRequestId": request_id,
            "httpMethod": parts.method.as_str(),
            "identity": identity,
            "path": path,
            "protocol": format!("{:?}", parts.version),
            "requestId": request_id,
            "requestTime": time.text,
            "requestTimeEpoch": time.epoch_ms,
            "resourceId": "coshell",
            "resourcePath": resource,
            "stage": "$default",
        },
        "body": match text {
            _ if body.is_empty() => Value::Null,
            Ok(text) => text.into(),
            Err(_) => BASE64_STANDARD.encode(body).into(),
        },
        "isBase64Encoded": text.is_err(),
    })
}

pub(crate) fn load_balancer_event(parts: &Parts, body: &Bytes) -> Value {
    let query = parts.uri.query().unwrap_or_default();
    let query = query.split('&').filter(|pair| !pair.is_empty());
    let query = query.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = query.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let headers = parts.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let content_type = header_text(parts.headers.get(CONTENT_TYPE));
    let may_be_text =
        is_text(content_type.as_deref()) && !parts.headers.contains_key(CONTENT_ENCODING);
    let text = std::str::from_utf8(body).ok();
    let text = text.filter(|text| may_be_text || text.is_empty());
    json!({
        "requestContext": {
            "elb": {
                "targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:012345678912:targetgroup/coshell/0123456789abcdef",
            },
        },
        "httpMethod": parts.method.as_str(),
        "path": parts.uri.path(),
        "queryStringParameters": last_and_all_values(query).0.as_object().cloned().unwrap_or_default(),
        "headers": last_and_all_values(headers).0,
        "body": text.map_or_else(|| BASE64_STANDARD.encode(body), ToOwned::to_owned),
        "isBase64Encoded": text.is_none(),
    })
}

/// An object with the last value of each name, and one with all values. Both are null if there are no pairs.
fn last_and_all_values(pairs: impl Iterator<Item = (String, String)>) -> (Value, Value) {
    let (mut last, mut all) = (Map::new(), Map::new());
    for (name, value) in pairs {
        last.insert(name.clone(), value.clone().into());
        let values = all.entry(name).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(value.into());
        }
    }
    if last.is_empty() {
        return (Value::Null, Value::Null);
    }
    (last.into(), all.into())
}

/// `content-type` as `Content-Type`. A REST API keeps the case that the client wrote, but here the names arrive in lower
/// case.
fn train_case(name: &str) -> String {
    let part = |part: &str| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}

/// Turns the answer of a function into a response.
///
/// # Errors
/// When the answer is not a valid object with `statusCode`.
pub(crate) fn to_response(answer: &Bytes) -> Result<Response, String> {
    let value = serde_json::from_slice::<Value>(answer);
    let value = value.map_err(|error| format!("it is not JSON: {error}"))?;
    let object = value
        .as_object()
        .filter(|object| object.contains_key("statusCode"));
    let object = object.ok_or("it is not an object with a statusCode")?;
    let body = parse_body(object)?;
    let mut without_cookies = object.clone();
    without_cookies.remove("cookies");
    let mut response = parse_head(&without_cookies)?;
    let multi_headers = match object.get("multiValueHeaders") {
        None | Some(Value::Null) => &Map::new(),
        Some(Value::Object(multi_headers)) => multi_headers,
        Some(_) => return Err("its multiValueHeaders are not an object".to_owned()),
    };
    for (name, values) in multi_headers {
        let values = values.as_array();
        let values =
            values.ok_or_else(|| format!("its multiValueHeaders have no array for {name}"))?;
        for (index, value) in values.iter().enumerate() {
            let (key, value) = parse_header(name, value)?;
            // They replace a header of the same name in `headers`.
            if index == 0 {
                response.headers_mut().insert(key, value);
            } else {
                response.headers_mut().append(key, value);
            }
        }
    }
    *response.body_mut() = body.into();
    Ok(response)
}

pub(super) fn header_text(value: Option<&HeaderValue>) -> Option<String> {
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Whether a body of this content type is passed on as text, and not as base64. A form is not text, which is surprising
/// but so behind a real function URL.
pub(super) fn is_text(content_type: Option<&str>) -> bool {
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

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(request: axum::http::request::Builder) -> Parts {
        request.body(()).unwrap_or_default().into_parts().0
    }

    fn request() -> axum::http::request::Builder {
        Request::post("/orders/1042?expand=items&tag=new&tag=gift%20wrap")
            .header("Host", "localhost:9000")
            .header("Content-Type", "application/json")
            .header("X-Many", "1")
            .header("X-Many", "2")
    }

    fn rest(parts: &Parts, body: &'static [u8]) -> Value {
        let caller = SocketAddr::from(([127, 0, 0, 1], 40000));
        let time = RequestTime {
            text: "now".to_owned(),
            epoch_ms: 5,
        };
        rest_event(parts, &Bytes::from_static(body), caller, "id", &time)
    }

    /// The keys of an object and, after a dot, of the objects in it. Skips what depends on the client.
    fn keys(value: &Value, prefix: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (name, value) in value.as_object().into_iter().flatten() {
            let name = format!("{prefix}{name}");
            let skipped = [
                "headers",
                "multiValueHeaders",
                "queryStringParameters",
                "multiValueQueryStringParameters",
                "pathParameters",
                "stageVariables",
                "requestContext.authorizer",
                "requestContext.identity.clientCert",
            ];
            if !skipped.contains(&name.as_str()) {
                found.extend(keys(value, &format!("{name}.")));
            }
            found.push(name);
        }
        found
    }

    #[test]
    fn events_have_the_fields_of_the_samples() -> serde_json::Result<()> {
        let parts = parts(request());
        let sample: Value =
            serde_json::from_str(include_str!("../cli/samples/api-gateway-v1.json"))?;
        assert_eq!(keys(&rest(&parts, b"{}"), ""), keys(&sample, ""));
        let sample: Value = serde_json::from_str(include_str!("../cli/samples/alb.json"))?;
        let event = load_balancer_event(&parts, &Bytes::from_static(b"{}"));
        assert_eq!(keys(&event, ""), keys(&sample, ""));
        Ok(())
    }

    #[test]
    fn queries_and_headers_have_the_form_of_each_service() {
        let parts = parts(request());
        let event = rest(&parts, b"{}");
        assert_eq!(
            event["queryStringParameters"],
            json!({"expand": "items", "tag": "gift wrap"})
        );
        assert_eq!(
            event["multiValueQueryStringParameters"]["tag"],
            json!(["new", "gift wrap"])
        );
        assert_eq!(event["headers"]["X-Many"], "2");
        assert_eq!(event["multiValueHeaders"]["X-Many"], json!(["1", "2"]));
        assert_eq!(event["pathParameters"], json!({"proxy": "orders/1042"}));
        let event = load_balancer_event(&parts, &Bytes::new());
        assert_eq!(
            event["queryStringParameters"],
            json!({"expand": "items", "tag": "gift%20wrap"})
        );
        assert_eq!(event["headers"]["x-many"], "2");
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!(""), &json!(false))
        );
        let bare = super::tests::parts(Request::get("/"));
        let event = rest(&bare, b"");
        for name in [
            "queryStringParameters",
            "multiValueQueryStringParameters",
            "pathParameters",
            "body",
        ] {
            assert_eq!(event[name], Value::Null, "{name}");
        }
        assert_eq!(
            load_balancer_event(&bare, &Bytes::new())["queryStringParameters"],
            json!({})
        );
    }

    #[test]
    fn bodies_are_text_or_base64_as_with_each_service() {
        let form =
            parts(Request::post("/").header("Content-Type", "application/x-www-form-urlencoded"));
        let body = Bytes::from_static(b"a=1");
        assert_eq!(rest(&form, b"a=1")["body"], "a=1");
        assert_eq!(load_balancer_event(&form, &body)["body"], "YT0x");
        assert_eq!(rest(&form, b"\xff")["isBase64Encoded"], true);
        let packed = parts(request().header("Content-Encoding", "gzip"));
        assert_eq!(load_balancer_event(&packed, &body)["isBase64Encoded"], true);
    }

    #[test]
    fn answer_has_to_be_an_object_with_a_status_code() {
        let status = |answer: &'static str| {
            to_response(&Bytes::from_static(answer.as_bytes()))
                .map(|answer| answer.status().as_u16())
        };
        assert_eq!(status(r#"{"statusCode": 201, "body": "x"}"#), Ok(201));
        for answer in [
            "Hello",
            "{}",
            "[1]",
            r#"{"statusCode": 200, "body": {}}"#,
            r#"{"statusCode": 200, "multiValueHeaders": {"a": "b"}}"#,
        ] {
            assert!(status(answer).is_err(), "{answer}");
        }
        let both = r#"{"statusCode": 200, "headers": {"A": "1", "B": "2"}, "multiValueHeaders": {"a": ["3", "4"]}}"#;
        let response = to_response(&Bytes::from_static(both.as_bytes())).unwrap_or_default();
        let values: Vec<_> = response.headers().get_all("a").iter().collect();
        assert_eq!(values, ["3", "4"]);
        assert_eq!(response.headers()["b"], "2");
    }
}
