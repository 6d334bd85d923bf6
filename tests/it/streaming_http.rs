//! `lambda_http_response` and `lambda_stream_response`, with which a handler sets the status, the headers and the content type
//! of its response.

use serde_json::{Value, json};

use crate::streaming::{expect_broken_stream, expect_stream};
use support::{Event, Sandbox};

const PRELUDE: &str = "application/vnd.awslambda.http-integration-response";

/// Splits a streamed body at the eight NULs into the prelude and the rest.
#[track_caller]
fn split_prelude(body: &[u8]) -> (Value, Vec<u8>) {
    let end = body.windows(8).position(|bytes| bytes == [0; 8]);
    let end = end.unwrap_or_else(|| panic!("no prelude: {}", body.escape_ascii()));
    let json = serde_json::from_slice(&body[..end]).expect("JSON");
    (json, body[end + 8..].to_vec())
}

/// Runs one invocation with a buffered response. Returns the proxy document.
#[track_caller]
fn response_document(sandbox: &Sandbox, event: &str) -> Value {
    serde_json::from_slice(&sandbox.respond(event)).expect("JSON")
}

#[test]
fn the_prelude_is_streamed_before_the_body() {
    let script = "handler() {
  lambda_http_response --cookie 'a=1; Secure' 201 'Content-Type: text/html; charset=utf-8' --cookie b=2 \\
    'Set-Cookie: c=3' 'Vary: x' 'vary:y' 'X-Quote: \"it'\\''s\" \\ /'
  printf 'a\\0b\\n\\n'
}
";
    let sandbox = Sandbox::of(script)
        .env("COSHELL_RESPONSE_MODE", "streaming")
        .start();
    let answer = expect_stream(&sandbox, "event");
    assert_eq!(answer.header("Content-Type"), Some(PRELUDE));
    let (json, body) = split_prelude(&answer.body);
    assert_eq!(body, b"a\0b\n\n");
    let headers = json!({
        "Content-Type": "text/html; charset=utf-8",
        "Vary": "x, y",
        "X-Quote": "\"it's\" \\ /",
    });
    let mut cookies: Vec<_> = json["cookies"].as_array().unwrap().clone();
    cookies.sort_by_key(ToString::to_string);
    assert_eq!(json["headers"], headers);
    assert_eq!(json["statusCode"], 201);
    assert_eq!(cookies, ["a=1; Secure", "b=2", "c=3"]);
}

#[test]
fn the_same_call_turns_a_buffered_response_into_a_document() {
    let script = "handler() {
  lambda_http_response 404 'Content-Type: text/plain' --cookie a=1
  printf '%s\\n\\n' \"$1\"
}
";
    let sandbox = Sandbox::of(script).start();
    let text = "\"quotes\"\\ \u{e4}\u{2713} \ttab";
    let wanted = json!({
        "statusCode": 404,
        "headers": {"Content-Type": "text/plain"},
        "cookies": ["a=1"],
        "body": text,
        "isBase64Encoded": false,
    });
    assert_eq!(response_document(&sandbox, text), wanted);
    let kept = Sandbox::of(script)
        .env("COSHELL_TRAILING_NEWLINES", "keep")
        .start();
    assert_eq!(response_document(&kept, "x")["body"], "x\n\n");
}

#[test]
fn a_binary_body_is_base64() {
    let script = "handler() { lambda_http_response 200; printf '\\377\\0'; }";
    let sandbox = Sandbox::of(script).start();
    let wanted = json!({"statusCode": 200, "headers": {}, "body": "/wA=", "isBase64Encoded": true});
    assert_eq!(response_document(&sandbox, "event"), wanted);
}

/// So the caller gets the status before there is a body.
#[test]
fn the_call_begins_the_response() {
    let script = "handler() {
  \"$@\"
  read -r _ <\"$LAMBDA_TASK_ROOT/gate\"
  echo body
}
as_http() { lambda_http_response --stream 202; }
as_stream() { lambda_stream_response text/event-stream; }
as_bytes() { lambda_stream_response; }
";
    let builder = Sandbox::of(script);
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    for (event, content_type) in [
        ("as_http", PRELUDE),
        ("as_stream", "text/event-stream"),
        ("as_bytes", "application/octet-stream"),
    ] {
        sandbox.api.push(Event::new(event, event));
        let begun = sandbox.api.wait_partial_answer(event, |call| {
            event != "as_http" || call.body.ends_with(&[0; 8])
        });
        assert_eq!(begun.header("Content-Type"), Some(content_type));
        sandbox.task_root.release("gate");
        let answer = sandbox.api.wait_answer(event);
        assert!(answer.body.ends_with(b"body\n"), "{event}");
        assert_eq!(answer.trailers, []);
    }
}

#[test]
fn a_handler_can_call_the_functions_anywhere() {
    let script = "handler() { \"$1\"; }
in_subshell() { (lambda_http_response 203 'X-At: subshell'; echo body); }
in_pipeline() { true | lambda_http_response 203 'X-At: pipeline'; echo body; }
in_substitution() { local nothing; nothing=$(lambda_http_response 203 'X-At: substitution'); echo \"body$nothing\"; }
in_group() { { lambda_http_response 203 'X-At: group'; echo body; } 2>/dev/null; }
with_trap() { trap 'lambda_http_response 203 \"X-At: trap\"' EXIT; echo body; }
with_options() { set -f; IFS=:; shopt -s nocasematch; lambda_http_response 203 'X-At: options'; echo body; }
";
    let events = [
        "subshell",
        "pipeline",
        "substitution",
        "group",
        "trap",
        "options",
    ];
    for isolation in ["none", "subshell", "process"] {
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for place in events {
            let event = match place {
                "trap" | "options" => format!("with_{place}"),
                _ => format!("in_{place}"),
            };
            let response = response_document(&sandbox, &event);
            let wanted = (&json!(203), &json!(place), &json!("body"));
            let found = (
                &response["statusCode"],
                &response["headers"]["X-At"],
                &response["body"],
            );
            assert_eq!(found, wanted, "{isolation}");
        }
    }
}

#[test]
fn invalid_arguments_are_an_error_of_the_call() {
    let script = "handler() {
  local status=0
  eval \"$1\" || status=$?
  echo \"status $status\"
}
";
    let sandbox = Sandbox::of(script).start();
    let cases = [
        (
            "lambda_http_response",
            "lambda_http_response: cannot use status : expected 200 to 599",
        ),
        (
            "lambda_http_response ''",
            "cannot use status : expected 200 to 599",
        ),
        (
            "lambda_http_response 199",
            "cannot use status 199: expected 200 to 599",
        ),
        (
            "lambda_http_response 2000",
            "cannot use status 2000: expected 200 to 599",
        ),
        (
            "lambda_http_response OK",
            "cannot use status OK: expected 200 to 599",
        ),
        (
            "lambda_http_response 200 nothing",
            "cannot use header nothing: expected Name: value",
        ),
        (
            "lambda_http_response 200 ': x'",
            "cannot use header : x: expected Name: value",
        ),
        (
            "lambda_http_response 200 'a b: x'",
            "cannot use header a b: x: expected Name: value",
        ),
        (
            "lambda_http_response 200 $'X-A: b\\r\\nX-C: d'",
            "cannot use header X-A: its value is not visible ASCII",
        ),
        (
            "lambda_http_response 200 'X-A: \u{e4}'",
            "cannot use header X-A: its value is not visible ASCII",
        ),
        (
            "lambda_http_response 200 --cookie",
            "cannot use --cookie: a cookie is missing",
        ),
        (
            "lambda_http_response 200 --cookie $'a\\nb'",
            "cannot use header Set-Cookie: its value is not visible ASCII",
        ),
        (
            "lambda_http_response --nothing 200",
            "cannot use --nothing: expected --stream, --cookie, --json, --file or --redirect",
        ),
        (
            "lambda_stream_response ''",
            "lambda_stream_response: cannot use content type : expected one such as text/plain",
        ),
        (
            "lambda_stream_response --stream",
            "cannot use content type --stream: expected one such as text/plain",
        ),
        (
            "lambda_stream_response text/plain x",
            "cannot use x: expected one content type",
        ),
    ];
    for (call, message) in cases {
        let response = sandbox.respond(call);
        assert_eq!(String::from_utf8_lossy(&response), "status 2", "{call}");
        sandbox.bootstrap.wait_log(message);
    }
    let log = sandbox.bootstrap.log();
    assert!(
        log.contains("/function.sh: line 3: lambda_http_response: cannot use status 199"),
        "{log}"
    );
}

#[test]
fn an_invalid_call_ends_the_handler_under_errexit() {
    let script = "handler() {
  lambda_http_response 99
  echo on
}
";
    let sandbox = Sandbox::of(script).start();
    let document = sandbox.fail("event");
    assert_eq!(document["errorType"], "Function.CommandFailed");
    let message = document["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("cannot use status 99: expected 200 to 599"),
        "{message}"
    );
    let wanted = "`lambda_http_response` ended with status 2 in handler (";
    assert!(message.starts_with(wanted), "{message}");
    let innermost = document["stackTrace"][0].as_str().unwrap();
    assert!(!innermost.contains("__driver"), "{document}");
}

#[test]
fn a_call_outside_of_an_invocation_is_an_error() {
    let script = "lambda_http_response 200 || echo \"status $?\"
handler() { echo well; }
lambda_shutdown() { lambda_stream_response || echo \"shutdown status $?\"; }
";
    let sandbox = Sandbox::of(script).start();
    assert_eq!(sandbox.respond("event"), b"well");
    sandbox
        .bootstrap
        .wait_log("line 1: lambda_http_response: there is no invocation");
    sandbox.bootstrap.wait_log("status 2");
    sandbox.api.wait_parked();
    sandbox.bootstrap.signal(nix::sys::signal::Signal::SIGTERM);
    sandbox.bootstrap.wait_log("shutdown status 2");
}

#[test]
fn a_call_after_the_response_has_begun_fails_the_invocation() {
    let script = "handler() {
  echo before
  read -r _ <\"$LAMBDA_TASK_ROOT/gate\"
  lambda_http_response 500
  echo after
}
twice() {
  lambda_stream_response
  lambda_stream_response text/plain
}
";
    let builder = Sandbox::of(script).env("COSHELL_RESPONSE_MODE", "streaming");
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    sandbox.api.push(Event::new("late", ""));
    sandbox
        .api
        .wait_partial_answer("late", |call| call.body == b"before\n");
    sandbox.task_root.release("gate");
    let answer = sandbox.api.wait_answer("late");
    assert_eq!(answer.body, b"before\nafter\n");
    let document = answer.trailer_error_document();
    assert_eq!(document["errorType"], "Function.InvalidResponse");
    let message = document["errorMessage"].as_str().unwrap();
    assert!(message.starts_with("lambda_http_response in "), "{message}");
    assert!(
        message.ends_with("/function.sh:4: the response has already started"),
        "{message}"
    );
    let sandbox = Sandbox::of(script).handler("function.twice").start();
    let (body, document) = expect_broken_stream(&sandbox, "event");
    assert_eq!(body, b"");
    assert_eq!(document["errorType"], "Function.InvalidResponse");
}

/// A handler may begin a page and then turn it into an error.
#[test]
fn the_last_call_counts_while_the_response_is_buffered() {
    let script = "handler() {
  lambda_http_response 200 --cookie a=1
  echo text
  lambda_http_response 500
}
";
    let sandbox = Sandbox::of(script).start();
    let response = response_document(&sandbox, "event");
    assert_eq!(response["statusCode"], 500);
    assert_eq!(response.get("cookies"), None);
    assert_eq!(response["body"], "text");
}

#[test]
fn a_buffered_response_can_become_a_stream() {
    let script = "handler() {
  echo one
  sleep 0.05
  lambda_stream_response text/plain
  read -r _ <\"$LAMBDA_TASK_ROOT/gate\"
  printf 'two\\n\\n'
}
";
    let builder = Sandbox::of(script);
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    sandbox.api.push(Event::new("turned", ""));
    sandbox
        .api
        .wait_partial_answer("turned", |call| call.body == b"one\n");
    sandbox.task_root.release("gate");
    let answer = sandbox.api.wait_answer("turned");
    assert_eq!(answer.body, b"one\ntwo\n\n");
    assert_eq!(answer.header("Content-Type"), Some("text/plain"));
}

#[test]
fn the_file_may_define_functions_of_these_names() {
    let script = "lambda_http_response() { echo \"own $*\"; }
handler() { lambda_http_response 200; }
";
    let sandbox = Sandbox::of(script).start();
    for _ in 0..2 {
        assert_eq!(sandbox.respond("event"), b"own 200");
    }
}

#[test]
fn coshells_functions_are_not_listed_as_functions_of_the_file() {
    let sandbox = Sandbox::of("greet() { :; }").start();
    let document = sandbox.api.wait_init_error().error_document();
    let message = document["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("defines no function handler; it defines greet; did you mean"),
        "{message}"
    );
}

/// Data from the control pipe is never trusted.
#[test]
fn forged_requests_on_the_control_pipe_are_checked() {
    let script = "handler() {
  local id=$LAMBDA_RUNTIME_AWS_REQUEST_ID
  case $1 in
    odd) printf '%s\\0' respond 6 \"$id\" f.sh:1 http 200 $'X-A: b\\r\\nX-C: d' $'Set-Cookie: \\x01e\\xc3\\xa4' >&63 ;;
    status) printf '%s\\0' respond 4 \"$id\" f.sh:1 http 999 >&63 ;;
    name) printf '%s\\0' respond 5 \"$id\" f.sh:1 http 200 $'a\\nb: c' >&63 ;;
    type) printf '%s\\0' respond 4 \"$id\" f.sh:1 stream $'text/plain\\r\\nX-A: b' >&63 ;;
    empty) printf '%s\\0' respond 3 \"$id\" f.sh:1 http >&63 ;;
    other) printf '%s\\0' respond 4 another-id f.sh:1 http 500 >&63 ;;
    endless) printf '%s\\0' respond 4000 \"$id\" f.sh:1 http 200 >&63 ;;
    count) printf '%s\\0' respond 99999999999999999999 x respond -1 respond respond 3 a >&63 ;;
    printed) printf '%s\\0' respond 4 \"$id\" f.sh:1 http 500; printf '%s\\0' respond 4 \"$id\" f.sh:1 http 500 >&2 ;;
  esac
  echo text
}
";
    let sandbox = Sandbox::of(script).start();
    let odd = response_document(&sandbox, "odd");
    assert_eq!(odd["headers"], json!({"X-A": "bX-C: d"}));
    assert_eq!(odd["cookies"], json!(["e"]));
    for event in ["status", "name", "empty"] {
        let document = sandbox.fail(event);
        assert_eq!(document["errorType"], "Function.InvalidResponse", "{event}");
    }
    let answer = expect_stream(&sandbox, "type");
    assert_eq!(answer.header("Content-Type"), Some("text/plainX-A: b"));
    assert_eq!(answer.header("X-A"), None);
    for event in ["other", "endless", "count"] {
        assert_eq!(sandbox.respond(event), b"text", "{event}");
    }
    let printed = sandbox.respond("printed");
    assert!(
        printed.starts_with(b"respond\0"),
        "{}",
        printed.escape_ascii()
    );
    assert_eq!(sandbox.respond("well"), b"text");
}

/// A leftover fork of the shell still has the control pipe open.
#[test]
fn a_leftover_process_cannot_change_the_next_response() {
    let script = "handler() {
  if [[ $1 == leaves ]]; then
    { read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; lambda_http_response --stream 500; echo done >&2; } >/dev/null &
  else
    echo running >&2
    echo \"$1\"
    read -r _ <\"$LAMBDA_TASK_ROOT/next\"
  fi
}
";
    let builder = Sandbox::of(script);
    builder.task_root().fifo("gate");
    builder.task_root().fifo("next");
    let sandbox = builder.start();
    assert_eq!(sandbox.respond("leaves"), b"");
    sandbox.api.push(Event::new("next", "next"));
    sandbox.bootstrap.wait_log("running");
    sandbox.task_root.release("gate");
    sandbox.bootstrap.wait_log("done");
    sandbox.task_root.release("next");
    let answer = sandbox.api.wait_answer("next");
    assert_eq!(
        (answer.body, answer.trailers),
        (b"next".to_vec(), Vec::new())
    );
}
