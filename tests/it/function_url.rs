//! `coshell serve --function-url`: an HTTP request becomes an event, and the answer becomes an HTTP response, as with a real
//! function URL.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use support::emulator::{INVOCATIONS, wait_reply};
use support::http::chunks;
use support::{Emulator, HttpReply, LIMIT, excerpt, wait_until};

/// Responds with the event in base64. A body with plain events could contain something like a statusCode.
const RETURNS_EVENT: &str =
    "handler() { printf '{\"statusCode\":200,\"body\":\"%s\"}' \"$(base64 -w0)\"; }";
/// Responds with the body of the request.
const RETURNS_BODY: &str =
    r#"handler() { python3 -c 'import json, sys; print(json.load(sys.stdin)["body"])'; }"#;
const TEXT: (&str, &str) = ("Content-Type", "text/plain");

/// Sends a request to [`RETURNS_EVENT`]. Returns the event that the handler got.
#[track_caller]
fn request_event(
    emulator: &Emulator,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Value {
    let reply = emulator.request(method, path, headers, body);
    assert_eq!(reply.status, 200, "{}", excerpt(&reply.body));
    let event = BASE64_STANDARD.decode(&reply.body).expect("base64");
    serde_json::from_slice(&event).expect("JSON")
}

#[track_caller]
/// Lets [`RETURNS_BODY`] respond with `answer`.
fn reply_to_answer(emulator: &Emulator, answer: &str) -> HttpReply {
    emulator.request("POST", "/", &[TEXT], answer)
}

/// Asserts that the log has one line for this request: `start`, the milliseconds, the request id, and `end`.
#[track_caller]
fn assert_logged(emulator: &Emulator, start: &str, reply: &HttpReply, end: &str) {
    let request_id = reply.header("X-Amzn-RequestId").expect("an id");
    emulator.process.wait_log(&format!(" ms {request_id}{end}"));
    let log = emulator.stderr();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains(request_id))
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
    let middle = lines[0].strip_prefix(&format!("coshell: {start} "));
    let ms = middle
        .and_then(|middle| middle.split_once(" ms "))
        .map(|(ms, _)| ms);
    assert!(ms.is_some_and(|ms| ms.parse::<f64>().is_ok()), "{log}");
}

#[test]
fn each_request_is_one_line_in_the_log() {
    let script = "handler() { printf '{\"statusCode\": 404, \"body\": \"none\"}'; }";
    let emulator = Emulator::of(script).arg("--function-url").start();
    let reply = emulator.request("PUT", "/a%1b[31m/b?secret=word", &[TEXT], "secret event");
    assert_logged(&emulator, "PUT /a%1b[31m/b 404", &reply, "\n");
    let foreign = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "no-cors"),
    ];
    let reply = emulator.request("GET", "/image", &foreign, "");
    assert_logged(&emulator, "GET /image 403", &reply, "\n");
    // Invocations through the API have their own lines, and events are never logged.
    assert_eq!(emulator.call("secret event").status, 200);
    let log = emulator.process.log();
    assert!(
        !log.contains("secret") && log.matches(" ms ").count() >= 2,
        "{log}"
    );
    assert_eq!(emulator.stderr().lines().count(), 3, "{log}");
    let quiet = Emulator::of(script)
        .arg("--function-url")
        .env("LOG_LEVEL", "info");
    let quiet = quiet.start();
    assert_eq!(quiet.request("GET", "/", &[], "").status, 404);
}

#[test]
fn the_event_has_headers_about_the_caller() {
    let emulator = Emulator::of(RETURNS_EVENT).arg("--function-url").start();
    let port = emulator.address.rsplit_once(':').expect("a port").1;
    let event = request_event(&emulator, "GET", "/", &[], b"");
    let headers = &event["headers"];
    assert_eq!(
        headers["x-forwarded-for"],
        event["requestContext"]["http"]["sourceIp"]
    );
    assert_eq!(headers["x-forwarded-port"], port);
    assert_eq!(headers["x-forwarded-proto"], "http");
    let trace_id = headers["x-amzn-trace-id"].as_str().expect("a trace header");
    assert!(trace_id.starts_with("Root=1-"), "{trace_id}");
    // Behind a proxy.
    let proxied = [
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Port", "443"),
        ("X-Amzn-Trace-Id", "Root=1-2-3"),
    ];
    let event = request_event(&emulator, "GET", "/", &proxied, b"");
    let headers = &event["headers"];
    let callers = headers["x-forwarded-for"].as_str().expect("callers");
    assert!(callers.starts_with("203.0.113.7, 127."), "{callers}");
    assert_eq!(
        [&headers["x-forwarded-proto"], &headers["x-forwarded-port"]],
        ["https", "443"]
    );
    assert_eq!(headers["x-amzn-trace-id"], "Root=1-2-3");
    // AWS documents these fields too, and sets those that a function URL does not use to null.
    for name in ["pathParameters", "stageVariables"] {
        assert_eq!(event.get(name), Some(&Value::Null), "{name}");
    }
    assert_eq!(
        event["requestContext"].get("authentication"),
        Some(&Value::Null)
    );
    // The variable of the handler has the same trace id.
    let script = "handler() { printf '%s' \"$_X_AMZN_TRACE_ID\" | grep -qF \"$(grep -o 'Root=[^\"]*' <<<\"$1\")\" && printf same; }";
    let emulator = Emulator::of(script).arg("--function-url").start();
    assert_eq!(emulator.request("GET", "/", &[], "").body, b"same");
}

#[test]
fn an_option_chooses_the_event_format_of_a_rest_api_or_a_load_balancer() {
    for (option, is_url_only) in [
        ("--function-url=v1", false),
        ("--function-url=only,v1", true),
    ] {
        let emulator = Emulator::of(RETURNS_EVENT).arg(option).start();
        let headers = [TEXT, ("X-Many", "1"), ("X-Many", "2")];
        let event = request_event(
            &emulator,
            "POST",
            "/orders/1?tag=new&tag=gift%20wrap",
            &headers,
            b"a body",
        );
        assert_eq!(event["httpMethod"], "POST");
        assert_eq!(event["path"], "/orders/1");
        assert_eq!(event["multiValueHeaders"]["X-Many"], json!(["1", "2"]));
        assert_eq!(
            event["multiValueQueryStringParameters"]["tag"],
            json!(["new", "gift wrap"])
        );
        assert_eq!(event["body"], "a body");
        assert_eq!(event["headers"]["X-Forwarded-Proto"], "http");
        let path = "/2015-03-31/functions/function/invocations";
        assert_eq!(emulator.request("POST", path, &[], "x").status, 200);
        assert_eq!(
            emulator
                .request("POST", path, &[], "x")
                .header("X-Amz-Executed-Version")
                .is_none(),
            is_url_only
        );
    }
    let emulator = Emulator::of(RETURNS_EVENT)
        .arg("--function-url=alb")
        .start();
    let event = request_event(&emulator, "GET", "/orders/1?tag=gift%20wrap", &[], b"");
    assert_eq!(
        event["queryStringParameters"],
        json!({"tag": "gift%20wrap"})
    );
    assert!(
        event["requestContext"]["elb"]["targetGroupArn"].is_string(),
        "{event}"
    );
    for (format, answer, status) in [
        (
            "v1",
            r#"{"statusCode": 302, "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"], "Location": ["/x"]}}"#,
            302,
        ),
        (
            "v1",
            r#"{"statusCode": 200, "body": "PGI+", "isBase64Encoded": true}"#,
            200,
        ),
        ("v1", "Hello", 502),
        ("v1", r#"{"hello": 1}"#, 502),
        (
            "alb",
            r#"{"statusCode": 200, "statusDescription": "200 OK", "headers": {"X-A": "b"}}"#,
            200,
        ),
        ("alb", "{}", 502),
    ] {
        let emulator = Emulator::of(&format!("handler() {{ printf '%s' '{answer}'; }}"))
            .arg(&format!("--function-url={format}"))
            .start();
        let reply = emulator.request("GET", "/", &[], "");
        assert_eq!(
            reply.status,
            status,
            "{format} {answer}: {}",
            excerpt(&reply.body)
        );
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        match status {
            302 => assert_eq!(reply.header("Location"), Some("/x")),
            502 => assert!(
                body.contains("\ncannot use the response: it is not "),
                "{body}"
            ),
            _ if answer.contains("Encoded") => assert_eq!(body, "<b>"),
            _ => assert_eq!(reply.header("X-A"), Some("b")),
        }
    }
    let (status, stderr) = Emulator::of(RETURNS_EVENT)
        .arg("--function-url=v3")
        .expect_start_failure();
    assert!(
        status == 2 && stderr.contains("expected only, v1 or alb"),
        "{stderr}"
    );
}

#[test]
fn the_emulator_is_no_proxy() {
    for options in [&["--function-url"][..], &["--function-url=only"], &[]] {
        let builder = options
            .iter()
            .fold(Emulator::of(RETURNS_EVENT), |builder, option| {
                builder.arg(option)
            });
        let emulator = builder.start();
        let mut stream = std::net::TcpStream::connect(&emulator.address).expect("a connection");
        let request = format!(
            "CONNECT example.com:443 HTTP/1.1\r\nHost: {}\r\n\r\n",
            emulator.address
        );
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("written");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(stream);
        std::io::BufRead::read_line(&mut reader, &mut line).expect("an answer");
        let expected = if options.is_empty() {
            "HTTP/1.1 404 "
        } else {
            "HTTP/1.1 405 "
        };
        assert!(line.starts_with(expected), "{options:?}: {line}");
        assert_eq!(emulator.process.log().matches("START").count(), 0);
    }
}

#[test]
fn a_request_becomes_an_event_in_format_2() {
    let emulator = Emulator::of(RETURNS_EVENT).arg("--function-url").start();
    let startup_message = format!(
        "coshell: serving function.handler at http://{}\n",
        emulator.address
    );
    assert_eq!(emulator.stderr(), startup_message);
    let headers = [
        ("X-Many", "1"),
        ("x-many", "2"),
        ("Cookie", "a=1; b=2"),
        ("User-Agent", "a test"),
        ("X-Amzn-Trace-Id", "Root=1-2-3"),
    ];
    let event = request_event(&emulator, "GET", "/a/b%20c?x=1&y=%C3%A9&x=2", &headers, b"");
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
    assert_eq!(event["headers"]["host"], emulator.address.as_str());
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
    let plain = request_event(&emulator, "DELETE", "/", &[], b"");
    assert_eq!(plain.get("cookies"), None);
    assert_eq!(plain.get("queryStringParameters"), None);
    let request_id = plain["requestContext"]["requestId"]
        .as_str()
        .expect("an id");
    emulator
        .process
        .wait_log(&format!("START RequestId: {request_id} "));
}

#[test]
fn the_body_of_an_event_is_text_or_base64() {
    let emulator = Emulator::of(RETURNS_EVENT).arg("--function-url").start();
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
        let event = request_event(&emulator, "POST", "/form", headers, body);
        assert_eq!(event["isBase64Encoded"], !is_text, "{content_type}");
        let text = event["body"].as_str().expect("a body");
        let decoded = if is_text {
            text.as_bytes().to_vec()
        } else {
            BASE64_STANDARD.decode(text).expect("base64")
        };
        assert_eq!(decoded, body, "{content_type}");
    }
    let large = vec![b'x'; (6 << 20) + 1];
    assert_eq!(emulator.request("POST", "/", &[], large).status, 413);
}

#[test]
fn an_object_with_a_status_code_sets_status_headers_cookies_and_body() {
    let emulator = Emulator::of(RETURNS_BODY).arg("--function-url").start();
    let answer = json!({
        "statusCode": 418,
        "headers": {"X-Tea": "pot", "X-Number": 7, "Content-Type": "text/html", "Content-Length": "1"},
        "cookies": ["a=1; Secure", "b=2"],
        "body": "<b>tea</b>",
    });
    let reply = reply_to_answer(&emulator, &answer.to_string());
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
    assert!(reply_to_answer(&emulator, &answer.to_string()).body == bytes);
    let empty = reply_to_answer(&emulator, r#"{"statusCode": 204}"#);
    assert_eq!((empty.status, empty.body.len()), (204, 0));
}

#[test]
fn headers_about_the_connection_are_left_out() {
    for (option, field) in [
        (
            "--function-url",
            r#""headers": {"NAME": "VALUE", "X-A": "1"}"#,
        ),
        (
            "--function-url=v1",
            r#""multiValueHeaders": {"NAME": ["VALUE"], "X-A": ["1"]}"#,
        ),
    ] {
        let emulator = Emulator::of(RETURNS_BODY).arg(option).start();
        for (name, value) in [
            ("Transfer-Encoding", "chunked"),
            ("Transfer-Encoding", "gzip"),
            ("Content-Length", "700"),
            ("Connection", "X-A"),
            ("Keep-Alive", "timeout=5"),
            ("Trailer", "X-B"),
            ("Upgrade", "h2c"),
        ] {
            let field = field.replace("NAME", name).replace("VALUE", value);
            let answer = format!("{{\"statusCode\": 200, {field}, \"body\": \"on\"}}");
            let reply = reply_to_answer(&emulator, &answer);
            assert_eq!((reply.status, reply.body.as_slice()), (200, &b"on"[..]));
            assert_eq!(reply.header("X-A"), Some("1"), "{answer}");
            assert_ne!(reply.header(name), Some(value), "{answer}");
        }
    }
}

#[test]
fn a_response_that_can_have_no_body_has_no_length() {
    let emulator = Emulator::of(RETURNS_BODY).arg("--function-url").start();
    for status in [204, 304] {
        for body in ["", "text"] {
            let answer = format!("{{\"statusCode\": {status}, \"body\": \"{body}\"}}");
            let reply = reply_to_answer(&emulator, &answer);
            assert_eq!((reply.status, reply.body.as_slice()), (status, &b""[..]));
            assert_eq!(reply.header("Content-Length"), None);
            assert_eq!(reply.header("Transfer-Encoding"), None);
        }
    }
    let dry_run = [("X-Amz-Invocation-Type", "DryRun")];
    let reply = emulator.call_with_headers(&dry_run, "x");
    assert_eq!((reply.status, reply.header("Content-Length")), (204, None));
}

#[test]
fn a_request_body_that_is_malformed_or_too_large_is_refused() {
    let emulator = Emulator::of(RETURNS_BODY).arg("--function-url").start();
    let chunked = [("Transfer-Encoding", "chunked")];
    let reply = emulator.request("POST", "/", &chunked, "no length\r\n");
    assert_eq!(reply.status, 400, "{}", excerpt(&reply.body));
    let reply = emulator.request("POST", "/", &[], vec![b'x'; (6 << 20) + 1]);
    assert_eq!(reply.status, 413, "{}", excerpt(&reply.body));
    assert_eq!(emulator.process.log().matches("START").count(), 0);
}

#[test]
fn any_other_answer_is_the_body_of_the_response() {
    let emulator = Emulator::of(RETURNS_BODY).arg("--function-url").start();
    for answer in ["Hello", "\"Hello\"", "{\"a\": 1}", "[1]", "{broken"] {
        let reply = reply_to_answer(&emulator, answer);
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (200, answer.as_bytes())
        );
        assert_eq!(reply.header("Content-Type"), Some("application/json"));
    }
}

#[test]
fn an_invalid_answer_is_a_bad_gateway_with_the_reason() {
    let emulator = Emulator::of(RETURNS_BODY).arg("--function-url").start();
    for (answer, expected) in [
        (
            r#"{"statusCode": "x"}"#,
            "its statusCode is not an HTTP status from 200 to 999",
        ),
        (
            r#"{"statusCode": 200, "body": {}}"#,
            "its body is not a string",
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
            "\"a b\" is not a header name",
        ),
        (
            "{\"statusCode\": 201,\n \"body\": \"say \"hi\"\"}",
            "it has a statusCode but is not JSON: expected `,` or `}` at line 2 column 16; use lambda_http_response, which quotes",
        ),
        (
            "\n {\"body\": \"two\nlines\", \"statusCode\": 200}",
            "it has a statusCode but is not JSON: control character",
        ),
        (
            r#"{"statusCode": 200, "cookies": "a=1"}"#,
            "its cookies are not an array",
        ),
    ] {
        let reply = emulator.request("POST", "/some/path?x=1", &[TEXT], answer);
        assert_eq!(reply.status, 502, "{answer}");
        let body = String::from_utf8_lossy(&reply.body);
        let reason = body.strip_prefix("Internal Server Error\ncannot use the response: ");
        assert!(
            reason.is_some_and(|reason| reason.starts_with(expected)),
            "{body}"
        );
        assert_logged(
            &emulator,
            "POST /some/path 502",
            &reply,
            &format!(": cannot use the response: {expected}"),
        );
    }
}

#[test]
fn a_failure_is_a_bad_gateway_with_the_reason() {
    let script = "handler() { [[ $1 != *rawPath*die* ]] || { kill -9 $PPID; sleep 600; }; false; }";
    let emulator = Emulator::of(script).arg("--function-url").start();
    for path in ["/fails", "/die"] {
        let reply = emulator.request("GET", path, &[], "");
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (502, &b"Internal Server Error\nthe function failed\n"[..])
        );
        assert_logged(
            &emulator,
            &format!("GET {path} 502"),
            &reply,
            ": the function failed",
        );
    }
}

#[test]
fn the_api_and_the_function_url_are_served_side_by_side() {
    let emulator = Emulator::of("handler() { printf '%s' \"${1:0:9}\"; }");
    let emulator = emulator
        .arg("--function-url")
        .option("--queue", "1")
        .start();
    assert_eq!(emulator.respond_text("an event of its own"), "an event ");
    let page = emulator.request("GET", "/2015-03-31/functions", &[], "");
    assert_eq!(
        (page.status, page.body.as_slice()),
        (200, &b"{\"headers"[..])
    );
    // Pages of other local servers, and links, may use a function URL but not the API.
    let foreign = [("Origin", "https://example.com")];
    let image = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "no-cors"),
    ];
    let neighbour = [("Origin", "http://localhost:3000")];
    let link = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    for (headers, url_status) in [
        (&foreign[..], 403),
        (&image, 403),
        (&neighbour, 200),
        (&link, 200),
    ] {
        let status = |path| emulator.request("GET", path, headers, "").status;
        assert_eq!(
            (status("/"), status(INVOCATIONS)),
            (url_status, 403),
            "{headers:?}"
        );
    }
}

const STREAMING: [(&str, &str); 2] = [
    ("Lambda-Runtime-Function-Response-Mode", "streaming"),
    ("Transfer-Encoding", "chunked"),
];

#[test]
fn a_streamed_response_with_a_prelude_arrives_as_it_is_written() {
    let emulator = Emulator::with_test_as_runtime()
        .arg("--function-url")
        .start();
    let runtime = emulator.runtime_client(0);
    let integration = "application/vnd.awslambda.http-integration-response";
    let mut headers = STREAMING.to_vec();
    headers.push(("Content-Type", integration));
    let caller = emulator.begin("GET", "/", &[], "");
    let (request_id, _) = runtime.next();
    let path = format!("/invocation/{request_id}/response");
    let prelude = json!({"statusCode": 201, "headers": {"X-Tea": "pot"}, "cookies": ["a=1"]});
    let begun = [prelude.to_string().as_bytes(), &[0; 8], b"first"].concat();
    // The NULs between prelude and body arrive in two parts.
    let mut encoded = chunks(&begun, prelude.to_string().len() + 3, &[]);
    encoded.truncate(encoded.len() - b"0\r\n\r\n".len());
    let mut response = runtime.begin("POST", &path, &headers, encoded);
    wait_until(|| caller.is_answered(), LIMIT);
    response
        .write(&chunks(b" and last", 100, &[]))
        .expect("written");
    assert_eq!(wait_reply(response).status, 202);
    let page = emulator.finish(caller);
    assert_eq!(
        (page.status, page.body.as_slice()),
        (201, &b"first and last"[..])
    );
    assert_eq!(page.header("X-Tea"), Some("pot"));
    assert_eq!(page.header("Set-Cookie"), Some("a=1"));
    // A response that should have a prelude, but has none.
    let caller = emulator.begin("GET", "/", &[], "");
    let (request_id, _) = runtime.next();
    let path = format!("/invocation/{request_id}/response");
    let body = chunks(b"no prelude", 100, &[]);
    assert_eq!(runtime.post(&path, &headers, body).status, 202);
    let page = emulator.finish(caller);
    let logged = ": cannot use the response: it ended before the end of its prelude";
    assert_logged(&emulator, "GET / 502", &page, logged);
}

#[test]
fn a_streamed_response_without_a_prelude_is_the_body_and_a_failure_cuts_it_off() {
    let emulator = Emulator::with_test_as_runtime()
        .arg("--function-url")
        .start();
    let runtime = emulator.runtime_client(0);
    let mut headers = STREAMING.to_vec();
    headers.push(("Content-Type", "text/css"));
    let caller = emulator.begin("GET", "/", &[], "");
    let (request_id, _) = runtime.next();
    let path = format!("/invocation/{request_id}/response");
    assert_eq!(
        runtime
            .post(&path, &headers, chunks(b"a {}", 2, &[]))
            .status,
        202
    );
    let page = emulator.finish(caller);
    assert_eq!((page.status, page.body.as_slice()), (200, &b"a {}"[..]));
    assert_eq!(page.header("Content-Type"), Some("text/css"));
    let caller = emulator.begin("GET", "/", &[], "");
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
    let (page, error) = caller.partial_reply(LIMIT).expect("a head");
    assert_eq!((page.status, page.body.as_slice()), (200, &b"half"[..]));
    assert!(error.is_some(), "the body seems to be complete");
}
