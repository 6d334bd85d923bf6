//! `coshell serve` as its callers see it. They get the same answers, headers and errors as from Lambda.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use support::emulator::{INVOCATIONS, STREAMING_INVOCATIONS};
use support::event_stream::parse_response;
use support::http::chunks;
use support::{Emulator, HttpReply, LIMIT, excerpt};

const ECHO: &str = "handler() { cat; }";
const SIX_MIB: usize = 6 << 20;

/// The status, the `X-Amzn-ErrorType` and the document of an API error.
#[track_caller]
fn api_error(reply: &HttpReply) -> (u16, &str, serde_json::Value) {
    let document = serde_json::from_slice(&reply.body);
    let document: serde_json::Value =
        document.unwrap_or_else(|_| panic!("not JSON: {}", excerpt(&reply.body)));
    assert!(document["message"].is_string(), "{document}");
    let error_type = reply.header("X-Amzn-ErrorType").unwrap_or_default();
    (reply.status, error_type, document)
}

#[test]
fn any_function_name_and_any_method_invoke() {
    let emulator = Emulator::of(ECHO).start();
    for name in [
        "function",
        "hello",
        "arn:aws:lambda:us-east-1:012345678912:function:hello",
        "arn%3Aaws%3Alambda%3Aus-east-1%3A012345678912%3Afunction%3Ahello",
    ] {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let reply = emulator.request("POST", &path, &[], name);
        assert_eq!(emulator.expect_response(reply), name.as_bytes());
    }
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let reply = emulator.request(method, INVOCATIONS, &[], method);
        assert_eq!(emulator.expect_response(reply), method.as_bytes());
    }
    let reply = emulator.request("HEAD", INVOCATIONS, &[], "HEAD");
    assert_eq!(emulator.expect_response(reply), b"");
    emulator.wait_log_count("\nREPORT ", 10);
}

#[test]
fn other_paths_are_not_found() {
    let emulator = Emulator::of(ECHO).start();
    for path in ["/", "/2015-03-31/functions/function", "/favicon.ico"] {
        assert_eq!(
            emulator.request("POST", path, &[], "{}").status,
            404,
            "{path}"
        );
    }
    let get = emulator.request("GET", STREAMING_INVOCATIONS, &[], "");
    assert_eq!(get.status, 405);
}

#[test]
fn a_response_has_lambdas_headers_and_an_error_has_one_more() {
    let script = "handler() { [[ $1 == good ]]; printf '%s' \"$LAMBDA_RUNTIME_AWS_REQUEST_ID\"; }";
    let emulator = Emulator::of(script)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "7")
        .start();
    let good = emulator.call("good");
    let request_id = good.header("X-Amzn-RequestId").expect("an id").to_owned();
    assert_eq!(good.body, request_id.as_bytes());
    assert_eq!(good.header("X-Amz-Executed-Version"), Some("7"));
    assert_eq!(good.header("Content-Type"), Some("application/json"));
    emulator
        .process
        .wait_log(&format!("START RequestId: {request_id} Version: 7\n"));
    let bad = emulator.call("bad");
    let document = emulator.expect_error(&bad);
    assert_eq!(document["errorType"], "Function.CommandFailed");
    assert!(document["stackTrace"].is_array(), "{document}");
    assert_eq!(bad.header("Content-Type"), Some("application/json"));
    assert_eq!(bad.header("X-Amz-Executed-Version"), Some("7"));
    assert_ne!(bad.header("X-Amzn-RequestId"), Some(request_id.as_str()));
    assert_eq!(good.header("X-Amz-Function-Error"), None);
    assert_eq!(good.header("X-Amz-Log-Result"), None);
}

#[test]
fn events_and_responses_are_exact_up_to_six_mib() {
    let emulator = Emulator::of(ECHO).start();
    for len_bytes in [0, 1, 1000, 1 << 16, 1 << 20, SIX_MIB] {
        let event: Vec<u8> = (0..=u8::MAX)
            .rev()
            .cycle()
            .skip(3)
            .take(len_bytes)
            .collect();
        for is_chunked in [false, true] {
            let reply = if is_chunked {
                let body = chunks(&event, 60_000, &[]);
                let headers = [("Transfer-Encoding", "chunked")];
                emulator.call_with_headers(&headers, body)
            } else {
                emulator.call(&event)
            };
            let response = emulator.expect_response(reply);
            assert_eq!(excerpt(&response), excerpt(&event));
            assert!(response == event, "{len_bytes} bytes are not exact");
        }
    }
}

/// AWS's emulator silently cuts off such events.
#[test]
fn an_event_that_is_too_large_is_rejected_and_not_run() {
    let script = "handler() { : >\"$LAMBDA_TASK_ROOT/ran\"; }";
    let emulator = Emulator::of(script).start();
    let event = vec![b'x'; SIX_MIB + 1];
    let sent_chunked = [("Transfer-Encoding", "chunked")];
    let replies = [
        emulator.call(&event),
        emulator.call_with_headers(&sent_chunked, chunks(&event, 100_000, &[])),
        emulator.request("POST", STREAMING_INVOCATIONS, &[], &event),
    ];
    for reply in replies {
        let (status, error_type, document) = api_error(&reply);
        assert_eq!((status, error_type), (413, "RequestTooLargeException"));
        let message = document["message"].as_str().unwrap_or_default();
        assert!(message.contains("RequestResponse") && message.contains("6291456"));
    }
    let asynchronous = [("X-Amz-Invocation-Type", "Event")];
    let reply = emulator.call_with_headers(&asynchronous, &event[..=1 << 20]);
    let (status, error_type, document) = api_error(&reply);
    assert_eq!((status, error_type), (413, "RequestTooLargeException"));
    assert!(document.to_string().contains("1048576"), "{document}");
    assert!(!emulator.task_root.exists("ran"));
    let largest = emulator.call_with_headers(&asynchronous, &event[..1 << 20]);
    assert_eq!(largest.status, 202);
    emulator.process.wait_log("REPORT ");
    assert!(emulator.task_root.exists("ran"));
}

#[test]
fn a_dry_run_runs_nothing() {
    let emulator = Emulator::of("handler() { echo ran >&2; }").start();
    for path in [INVOCATIONS, STREAMING_INVOCATIONS] {
        let headers = [("X-Amz-Invocation-Type", "DryRun")];
        let reply = emulator.request("POST", path, &headers, "{}");
        assert_eq!((reply.status, reply.body.len()), (204, 0));
    }
    emulator.respond("{}");
    emulator.wait_log_count("REPORT ", 1);
    let log = emulator.stdout();
    assert_eq!(log.matches("ran\n").count(), 1, "{log}");
}

#[test]
fn an_unknown_invocation_type_is_rejected() {
    let emulator = Emulator::of("handler() { : >\"$LAMBDA_TASK_ROOT/ran\"; }").start();
    for kind in ["requestresponse", "Sync", ""] {
        let reply = emulator.call_with_headers(&[("X-Amz-Invocation-Type", kind)], "{}");
        let (status, error_type, _) = api_error(&reply);
        let expected = (400, "InvalidParameterValueException");
        assert_eq!((status, error_type), expected, "{kind}");
    }
    assert!(!emulator.task_root.exists("ran"));
    let usual = [("X-Amz-Invocation-Type", "RequestResponse")];
    assert_eq!(emulator.call_with_headers(&usual, "{}").status, 200);
}

#[test]
fn the_log_tail_belongs_to_the_invocation_and_has_at_most_4_kib() {
    let script = "handler() { for ((i = 0; i < $1; i++)); do echo \"line $i of $1\" >&2; done; [[ $1 != 3 ]]; }";
    let emulator = Emulator::of(script).start();
    let tail = |event: &str| {
        let reply = emulator.call_with_headers(&[("X-Amz-Log-Type", "Tail")], event);
        let tail = reply.header("X-Amz-Log-Result").expect("a log");
        let tail = BASE64_STANDARD.decode(tail).expect("base64");
        String::from_utf8(tail).expect("UTF-8")
    };
    emulator.respond("1");
    let two = tail("2");
    let lines: Vec<_> = two.lines().collect();
    assert_eq!(lines.len(), 5, "{two}");
    assert!(lines[0].starts_with("START RequestId: "), "{two}");
    assert_eq!(lines[1..3], ["line 0 of 2", "line 1 of 2"]);
    assert!(lines[3].starts_with("END RequestId: "), "{two}");
    assert!(lines[4].starts_with("REPORT RequestId: "), "{two}");
    let failed = tail("3");
    assert!(failed.contains("\nbootstrap: error: Function."), "{failed}");
    let long = tail("1000");
    assert_eq!(long.len(), 4096);
    assert!(long.contains("line 999 of 1000\nEND RequestId: "), "{long}");
    let last = long.lines().last().unwrap_or_default();
    assert!(last.starts_with("REPORT RequestId: "), "{long}");
}

#[test]
fn the_client_context_has_the_same_size_limit_as_on_lambda() {
    let emulator =
        Emulator::of("handler() { printf '%s' \"${#LAMBDA_RUNTIME_CLIENT_CONTEXT}\"; }").start();
    let context = |len_bytes: usize| {
        BASE64_STANDARD.encode(format!("{{\"a\":\"{}\"}}", "x".repeat(len_bytes - 8)))
    };
    let largest = context(2685);
    assert_eq!(largest.len(), 3580);
    let reply = emulator.call_with_headers(&[("X-Amz-Client-Context", &largest)], "{}");
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"2685"[..]));
    let reply = emulator.call_with_headers(&[("X-Amz-Client-Context", &context(2688))], "{}");
    assert_eq!(reply.status, 400);
    let body = String::from_utf8_lossy(&reply.body);
    assert!(
        body.contains("has 3584 bytes of base64; Lambda accepts at most 3583"),
        "{body}"
    );
}

#[test]
fn the_client_context_is_decoded_for_the_handler() {
    let emulator =
        Emulator::of("handler() { printf '%s' \"${LAMBDA_RUNTIME_CLIENT_CONTEXT-none}\"; }");
    let emulator = emulator.start();
    let context = r#"{"custom": {"name": "value"}, "env": {}}"#;
    let encoded = BASE64_STANDARD.encode(context);
    let reply = emulator.call_with_headers(&[("X-Amz-Client-Context", &encoded)], "{}");
    assert_eq!(emulator.expect_response(reply), context.as_bytes());
    for wrong in ["%%%", "{}", &BASE64_STANDARD.encode(b"\xff\xfe")] {
        let reply = emulator.call_with_headers(&[("X-Amz-Client-Context", wrong)], "{}");
        let (status, error_type, _) = api_error(&reply);
        let expected = (400, "InvalidRequestContentException");
        assert_eq!((status, error_type), expected, "{wrong}");
    }
    assert_eq!(emulator.respond_text("{}"), "none");
}

#[test]
fn two_tenants_never_share_a_sandbox() {
    let script = r#"
handler() {
  seen+="${LAMBDA_RUNTIME_AWS_TENANT_ID-none} "
  printf '%s: %s' "$PPID" "$seen"
}"#;
    for concurrency in ["1", "2", "3"] {
        let emulator = Emulator::of(script)
            .option("--concurrency", concurrency)
            .option("--env", "COSHELL_ISOLATION=none")
            .start();
        let mut answers = Vec::new();
        for tenant in ["blue", "green", "blue", "", "green", "blue", "blue"] {
            let headers = [("X-Amz-Tenant-Id", tenant)];
            let headers = if tenant.is_empty() { &[][..] } else { &headers };
            let reply = emulator.call_with_headers(headers, "{}");
            let answer = String::from_utf8(emulator.expect_response(reply)).expect("UTF-8");
            let (_, seen) = answer.split_once(": ").expect("two parts");
            let tenant = if tenant.is_empty() { "none" } else { tenant };
            let is_only_tenant = seen.split_whitespace().all(|one| one == tenant);
            assert!(is_only_tenant, "{tenant} shares a sandbox with: {seen}");
            answers.push(answer);
        }
        let last = answers.last().map(String::as_str).unwrap_or_default();
        assert!(last.ends_with(": blue blue ") || last.contains(": blue blue blue"));
        if concurrency == "3" {
            // There is a sandbox for each tenant, and each tenant keeps it. But the first call may have come before the
            // first sandbox was ready, and got another one.
            assert!(last.contains(": blue blue blue "), "{answers:?}");
        }
    }
}

/// AWS's emulator does neither.
#[test]
fn the_trace_header_is_passed_on_or_generated() {
    let emulator = Emulator::of("handler() { printf '%s' \"$_X_AMZN_TRACE_ID\"; }").start();
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let reply = emulator.call_with_headers(&[("X-Amzn-Trace-Id", trace)], "{}");
    assert_eq!(emulator.expect_response(reply), trace.as_bytes());
    let (first, second) = (emulator.respond_text("{}"), emulator.respond_text("{}"));
    assert!(first.starts_with("Root=1-") && first.contains(";Parent="));
    assert_ne!(first, second);
}

#[test]
fn the_qualifier_is_appended_to_the_arn() {
    let script = "handler() { printf '%s' \"$LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN\"; }";
    let emulator = Emulator::of(script)
        .env("AWS_LAMBDA_FUNCTION_NAME", "mine")
        .start();
    let arn = "arn:aws:lambda:us-east-1:012345678912:function:mine";
    assert_eq!(emulator.respond_text("{}"), arn);
    for (query, qualifier) in [
        ("Qualifier=live", "live"),
        ("x=1&Qualifier=%24LATEST", "$LATEST"),
    ] {
        let path = format!("{INVOCATIONS}?{query}");
        let response = emulator.expect_response(emulator.request("POST", &path, &[], "{}"));
        let response = String::from_utf8(response).expect("UTF-8");
        assert_eq!(response, format!("{arn}:{qualifier}"));
    }
}

#[test]
fn a_web_page_of_another_origin_may_not_invoke() {
    let emulator = Emulator::of("handler() { : >\"$LAMBDA_TASK_ROOT/ran\"; }").start();
    for origin in ["https://example.com", "null", "http://localhost:1"] {
        for path in [INVOCATIONS, STREAMING_INVOCATIONS] {
            let reply = emulator.request("POST", path, &[("Origin", origin)], "{}");
            let (status, error_type, _) = api_error(&reply);
            assert_eq!((status, error_type), (403, "AccessDeniedException"));
        }
    }
    assert!(!emulator.task_root.exists("ran"));
    let own = format!("http://{}", emulator.address);
    assert_eq!(
        emulator.call_with_headers(&[("Origin", &own)], "{}").status,
        200
    );
}

/// A DNS rebinding attack: the name of a web page resolves to this machine. The page cannot change the Host header.
#[test]
fn a_caller_with_a_foreign_host_name_may_not_invoke() {
    let emulator = Emulator::of("handler() { : >\"$LAMBDA_TASK_ROOT/ran\"; }");
    let emulator = emulator.arg("--function-url").start();
    for path in [INVOCATIONS, "/"] {
        let mut stream = TcpStream::connect(&emulator.address).expect("cannot connect");
        let request = format!("GET {path} HTTP/1.0\r\nHost: example.com:9000\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("cannot write");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("cannot read");
        assert!(reply.starts_with("HTTP/1.0 403 "), "{reply}");
    }
    assert!(!emulator.task_root.exists("ran"));
}

#[test]
fn a_buffered_response_can_be_streamed_to_the_caller() {
    let emulator = Emulator::of("handler() { [[ $1 != bad ]]; cat; }").start();
    let headers = [("X-Amz-Log-Type", "Tail")];
    let stream = |headers: &[(&str, &str)], event: &[u8]| {
        let reply = emulator.request("POST", STREAMING_INVOCATIONS, headers, event);
        let content_type = reply.header("Content-Type");
        assert_eq!(content_type, Some("application/vnd.amazon.eventstream"));
        let remapped = reply.header("X-Amzn-Remapped-Content-Type");
        assert_eq!((reply.status, remapped), (200, Some("application/json")));
        assert!(reply.header("X-Amzn-RequestId").is_some());
        parse_response(&reply.body)
    };
    let event: Vec<u8> = (1..=u8::MAX).cycle().take(1 << 20).collect();
    let (response, complete) = stream(&[], &event);
    assert!(response == event, "{}", excerpt(&response));
    assert_eq!(complete, serde_json::json!({}));
    let (response, complete) = stream(&[], b"bad");
    assert_eq!(response, b"");
    assert_eq!(complete["ErrorCode"], "Function.CommandFailed");
    let details = complete["ErrorDetails"].as_str().unwrap_or_default();
    let document: serde_json::Value = serde_json::from_str(details).expect("a document");
    assert_eq!(document["errorType"], "Function.CommandFailed");
    let (_, complete) = stream(&headers, b"{}");
    let tail = complete["LogResult"].as_str().unwrap_or_default();
    let tail = BASE64_STANDARD.decode(tail).expect("base64");
    assert!(tail.starts_with(b"START RequestId: "), "{}", excerpt(&tail));
    assert_eq!(emulator.respond("still"), b"still");
}
