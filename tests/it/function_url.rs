//! `coshell serve --function-url`: HTTP becomes an event, and the answer HTTP, as behind a real function URL.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::http::chunks;
use crate::support::served::{INVOCATIONS, reply};
use crate::support::{HttpReply, LIMIT, Served, excerpt, wait_until};

/// Answers with the event itself, in base64: the event has no statusCode, but what is in it may look like one.
const TELLS: &str =
    "handler() { printf '{\"statusCode\":200,\"body\":\"%s\"}' \"$(base64 -w0)\"; }";
/// Answers with what the request's body says.
const ANSWERS: &str =
    r#"handler() { python3 -c 'import json, sys; print(json.load(sys.stdin)["body"])'; }"#;
const TEXT: (&str, &str) = ("Content-Type", "text/plain");

#[track_caller]
fn event_of(
    served: &Served,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Value {
    let reply = served.request(method, path, headers, body);
    assert_eq!(reply.status, 200, "{}", excerpt(&reply.body));
    let event = BASE64_STANDARD.decode(&reply.body).expect("base64");
    serde_json::from_slice(&event).expect("JSON")
}

#[track_caller]
fn answered(served: &Served, answer: &str) -> HttpReply {
    served.request("POST", "/", &[TEXT], answer)
}

#[test]
fn request_becomes_an_event_in_format_2() {
    let served = Served::of(TELLS).word("--function-url").start();
    let greeting = format!(
        "coshell: function.handler is served at http://{}\n",
        served.address
    );
    assert_eq!(served.stderr(), greeting);
    let headers = [
        ("X-Many", "1"),
        ("x-many", "2"),
        ("Cookie", "a=1; b=2"),
        ("User-Agent", "a test"),
        ("X-Amzn-Trace-Id", "Root=1-2-3"),
    ];
    let event = event_of(&served, "GET", "/a/b%20c?x=1&y=%C3%A9&x=2", &headers, b"");
    assert_eq!(event["version"], "2.0");
    assert_eq!(event["routeKey"], "$default");
    assert_eq!(event["rawPath"], "/a/b%20c");
    assert_eq!(event["rawQueryString"], "x=1&y=%C3%A9&x=2");
    assert_eq!(
        event["queryStringParameters"],
        json!({"x": "1,2", "y": "\u{e9}"})
    );
    assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
    assert_eq!(event["headers"]["x-many"], "1,2");
    assert_eq!(event["headers"]["host"], served.address.as_str());
    assert_eq!(event["headers"]["cookie"], Value::Null);
    assert_eq!(event["isBase64Encoded"], false);
    assert_eq!(event.get("body"), None);
    let context = &event["requestContext"];
    let http = json!({
        "method": "GET",
        "path": "/a/b%20c",
        "protocol": "HTTP/1.1",
        "sourceIp": context["http"]["sourceIp"],
        "userAgent": "a test",
    });
    assert_eq!(context["http"], http);
    assert!(
        context["http"]["sourceIp"]
            .as_str()
            .is_some_and(|ip| ip.starts_with("127."))
    );
    assert_eq!(context["stage"], "$default");
    assert!(
        context["timeEpoch"]
            .as_u64()
            .is_some_and(|ms| ms > 1_700_000_000_000)
    );
    let plain = event_of(&served, "DELETE", "/", &[], b"");
    assert_eq!(plain.get("cookies"), None);
    assert_eq!(plain.get("queryStringParameters"), None);
    let request_id = plain["requestContext"]["requestId"]
        .as_str()
        .expect("an id");
    served
        .process
        .wait_log(&format!("START RequestId: {request_id} "));
}

#[test]
fn body_is_text_or_base64() {
    let served = Served::of(TELLS).word("--function-url").start();
    let form = "application/x-www-form-urlencoded";
    let cases: [(&str, &[u8], bool); 7] = [
        ("application/json", b"{\"a\": \"\xc3\xa9\"}", true),
        ("application/problem+json; charset=utf-8", b"{}", true),
        ("text/html", b"<b>", true),
        ("text/plain", b"\xff\x00", false),
        (form, b"a=1&b=2", false),
        ("image/png", b"\x89PNG", false),
        ("", b"of no type", false),
    ];
    for (content_type, body, is_text) in cases {
        let headers = [("Content-Type", content_type)];
        let headers = if content_type.is_empty() {
            &[][..]
        } else {
            &headers
        };
        let event = event_of(&served, "POST", "/form", headers, body);
        assert_eq!(event["isBase64Encoded"], !is_text, "{content_type}");
        let told = event["body"].as_str().expect("a body");
        let decoded = if is_text {
            told.as_bytes().to_vec()
        } else {
            BASE64_STANDARD.decode(told).expect("base64")
        };
        assert_eq!(decoded, body, "{content_type}");
    }
    let large = vec![b'x'; (6 << 20) + 1];
    assert_eq!(served.request("POST", "/", &[], large).status, 413);
}

#[test]
fn object_with_a_status_says_it_all() {
    let served = Served::of(ANSWERS).word("--function-url").start();
    let answer = json!({
        "statusCode": 418,
        "headers": {"X-Tea": "pot", "X-Number": 7, "Content-Type": "text/html", "Content-Length": "1"},
        "cookies": ["a=1; Secure", "b=2"],
        "body": "<b>tea</b>",
    });
    let reply = answered(&served, &answer.to_string());
    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (418, &b"<b>tea</b>"[..])
    );
    assert_eq!(reply.header("X-Tea"), Some("pot"));
    assert_eq!(reply.header("X-Number"), Some("7"));
    assert_eq!(reply.header("Content-Type"), Some("text/html"));
    assert!(reply.header("X-Amzn-RequestId").is_some());
    let cookies = reply
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie"));
    let cookies: Vec<_> = cookies.map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies, ["a=1; Secure", "b=2"]);
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    let body = BASE64_STANDARD.encode(&bytes);
    let answer = json!({"statusCode": 200, "isBase64Encoded": true, "body": body});
    assert!(answered(&served, &answer.to_string()).body == bytes);
    let empty = answered(&served, r#"{"statusCode": 204}"#);
    assert_eq!((empty.status, empty.body.len()), (204, 0));
}

#[test]
fn anything_else_is_the_body() {
    let served = Served::of(ANSWERS).word("--function-url").start();
    for answer in ["Hello", "\"Hello\"", "{\"a\": 1}", "[1]", "{broken"] {
        let reply = answered(&served, answer);
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (200, answer.as_bytes())
        );
        assert_eq!(reply.header("Content-Type"), Some("application/json"));
    }
}

#[test]
fn answer_that_makes_no_sense_is_a_bad_gateway_and_told() {
    let served = Served::of(ANSWERS).word("--function-url").start();
    for (answer, told) in [
        (
            r#"{"statusCode": "x"}"#,
            "its statusCode is no status of HTTP",
        ),
        (
            r#"{"statusCode": 200, "body": {}}"#,
            "its body is JSON, and has to be a string",
        ),
        (
            r#"{"statusCode": 200, "body": "?", "isBase64Encoded": true}"#,
            "its body is not base64: ",
        ),
        (
            r#"{"statusCode": 200, "headers": []}"#,
            "its headers are not an object",
        ),
        (
            r#"{"statusCode": 200, "headers": {"a b": "c"}}"#,
            "\"a b\" is no name of a header",
        ),
        (
            r#"{"statusCode": 200, "cookies": "a=1"}"#,
            "its cookies are not an array",
        ),
    ] {
        let reply = served.request("POST", "/some/path?x=1", &[TEXT], answer);
        assert_eq!(reply.status, 502, "{answer}");
        assert_eq!(reply.body, b"Internal Server Error");
        let line = format!("coshell: cannot answer POST /some/path: {told}");
        served.process.wait_log(&line);
    }
}

#[test]
fn failure_is_a_bad_gateway_and_told() {
    let script = "handler() { [[ $1 != *rawPath*die* ]] || { kill -9 $PPID; sleep 600; }; false; }";
    let served = Served::of(script).word("--function-url").start();
    for path in ["/fails", "/die"] {
        let reply = served.request("GET", path, &[], "");
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (502, &b"Internal Server Error"[..])
        );
        let line = format!("coshell: cannot answer GET {path}: the function failed\n");
        served.process.wait_log(&line);
    }
}

#[test]
fn api_and_url_are_served_side_by_side() {
    let served = Served::of("handler() { printf '%s' \"${1:0:9}\"; }");
    let served = served.word("--function-url").option("--queue", "1").start();
    assert_eq!(served.text("an event of its own"), "an event ");
    let page = served.request("GET", "/2015-03-31/functions", &[], "");
    assert_eq!(
        (page.status, page.body.as_slice()),
        (200, &b"{\"headers"[..])
    );
    // A function URL is for other pages too; the API is not.
    let foreign = [("Origin", "https://example.com")];
    assert_eq!(served.request("GET", "/", &foreign, "").status, 200);
    assert_eq!(
        served.request("POST", INVOCATIONS, &foreign, "").status,
        403
    );
}

const STREAMING: [(&str, &str); 2] = [
    ("Lambda-Runtime-Function-Response-Mode", "streaming"),
    ("Transfer-Encoding", "chunked"),
];

/// Contract #36.
#[test]
fn streamed_answer_with_a_prelude_comes_as_it_is_made() {
    let served = Served::played().word("--function-url").start();
    let runtime = served.runtime(0);
    let integration = "application/vnd.awslambda.http-integration-response";
    let mut headers = STREAMING.to_vec();
    headers.push(("Content-Type", integration));
    let caller = served.begin("GET", "/", &[], "");
    let (request_id, _) = runtime.next();
    let path = format!("/invocation/{request_id}/response");
    let prelude = json!({"statusCode": 201, "headers": {"X-Tea": "pot"}, "cookies": ["a=1"]});
    let begun = [prelude.to_string().as_bytes(), &[0; 8], b"first"].concat();
    // The NULs come in two parts.
    let mut encoded = chunks(&begun, prelude.to_string().len() + 3, &[]);
    encoded.truncate(encoded.len() - b"0\r\n\r\n".len());
    let mut response = runtime.begin("POST", &path, &headers, encoded);
    wait_until(|| caller.is_answered(), LIMIT);
    response
        .write(&chunks(b" and last", 100, &[]))
        .expect("written");
    assert_eq!(reply(response).status, 202);
    let page = served.finish(caller);
    assert_eq!(
        (page.status, page.body.as_slice()),
        (201, &b"first and last"[..])
    );
    assert_eq!(page.header("X-Tea"), Some("pot"));
    assert_eq!(page.header("Set-Cookie"), Some("a=1"));
    // A prelude that is none.
    let caller = served.begin("GET", "/", &[], "");
    let (request_id, _) = runtime.next();
    let path = format!("/invocation/{request_id}/response");
    let body = chunks(b"no prelude", 100, &[]);
    assert_eq!(runtime.post(&path, &headers, body).status, 202);
    assert_eq!(served.finish(caller).status, 502);
    served
        .process
        .wait_log("cannot answer GET /: it ended in its prelude\n");
}

#[test]
fn streamed_answer_without_a_prelude_is_the_body_and_a_failure_cuts_it() {
    let served = Served::played().word("--function-url").start();
    let runtime = served.runtime(0);
    let mut headers = STREAMING.to_vec();
    headers.push(("Content-Type", "text/css"));
    let caller = served.begin("GET", "/", &[], "");
    let (request_id, _) = runtime.next();
    let path = format!("/invocation/{request_id}/response");
    assert_eq!(
        runtime
            .post(&path, &headers, chunks(b"a {}", 2, &[]))
            .status,
        202
    );
    let page = served.finish(caller);
    assert_eq!((page.status, page.body.as_slice()), (200, &b"a {}"[..]));
    assert_eq!(page.header("Content-Type"), Some("text/css"));
    let caller = served.begin("GET", "/", &[], "");
    let (request_id, _) = runtime.next();
    let path = format!("/invocation/{request_id}/response");
    headers.push(("Trailer", "Lambda-Runtime-Function-Error-Type"));
    let trailers = [("Lambda-Runtime-Function-Error-Type", "Function.Midway")];
    assert_eq!(
        runtime
            .post(&path, &headers, chunks(b"half", 4, &trailers))
            .status,
        202
    );
    let (page, error) = caller.reply_as_far_as_it_comes(LIMIT).expect("a head");
    assert_eq!((page.status, page.body.as_slice()), (200, &b"half"[..]));
    assert!(error.is_some(), "the body seems to be whole");
}
