//! Handlers that stream under `coshell serve`, through the function URL and through the API. The caller gets the first bytes
//! before the handler ends.

use memchr::memmem::find;
use serde_json::json;

use support::emulator::{EmulatorBuilder, STREAMING_INVOCATIONS};
use support::event_stream::parse_response;
use support::http::PendingRequest;
use support::{Emulator, LIMIT, wait_until};

/// Each function prints `first`, and goes on when the test opens the gate.
const STREAMS: &str = "handler() {
  lambda_http_response --stream 201 'Content-Type: text/html' --cookie 'a=1; Secure' 'X-Tea: pot'
  stream
}
stream() {
  echo first
  read -r _ <\"$LAMBDA_TASK_ROOT/gate\"
  echo second
}
breaks() {
  echo first
  read -r _ <\"$LAMBDA_TASK_ROOT/gate\"
  echo why >&2
  return 3
}
";

fn emulator_of(handler: &str) -> EmulatorBuilder {
    let builder = Emulator::empty().arg(&format!("function.{handler}"));
    builder.task_root.write("function.sh", STREAMS);
    builder.task_root.fifo("gate");
    builder
}

/// Waits until the caller has the first line, and lets the handler go on.
#[track_caller]
fn wait_for_first(emulator: &Emulator, caller: &PendingRequest) {
    wait_until(
        || find(&caller.received_so_far(), b"first\n").is_some(),
        LIMIT,
    );
    assert!(find(&caller.received_so_far(), b"second").is_none());
    emulator.task_root.release("gate");
}

#[test]
fn the_function_url_sends_the_first_bytes_while_the_handler_runs() {
    let emulator = emulator_of("handler").arg("--function-url").start();
    for _ in 0..2 {
        let caller = emulator.begin("GET", "/", &[], "");
        wait_for_first(&emulator, &caller);
        let page = emulator.finish(caller);
        assert_eq!(
            (page.status, page.body.as_slice()),
            (201, &b"first\nsecond\n"[..])
        );
        assert_eq!(page.header("Content-Type"), Some("text/html"));
        assert_eq!(page.header("X-Tea"), Some("pot"));
        assert_eq!(page.header("Set-Cookie"), Some("a=1; Secure"));
    }
}

#[test]
fn a_streaming_invocation_sends_the_first_bytes_while_the_handler_runs() {
    let emulator = emulator_of("stream")
        .option("--env", "COSHELL_RESPONSE_MODE=streaming")
        .start();
    let caller = emulator.begin("POST", STREAMING_INVOCATIONS, &[], "{}");
    wait_for_first(&emulator, &caller);
    let reply = emulator.finish(caller);
    let content_type = reply.header("X-Amzn-Remapped-Content-Type");
    assert_eq!(content_type, Some("application/octet-stream"));
    let (body, complete) = parse_response(&reply.body);
    assert_eq!((body, complete), (b"first\nsecond\n".to_vec(), json!({})));
    // A caller that does not stream gets the complete response.
    let caller = emulator.begin_call("{}");
    emulator.task_root.release("gate");
    assert_eq!(
        emulator.expect_response(emulator.finish(caller)),
        b"first\nsecond\n"
    );
}

#[test]
fn a_failure_midway_reaches_callers_of_the_url_and_of_the_api() {
    let emulator = emulator_of("breaks")
        .arg("--function-url")
        .option("--env", "COSHELL_RESPONSE_MODE=streaming")
        .start();
    let caller = emulator.begin("POST", STREAMING_INVOCATIONS, &[], "{}");
    wait_for_first(&emulator, &caller);
    let (body, complete) = parse_response(&emulator.finish(caller).body);
    assert_eq!(body, b"first\n");
    assert_eq!(complete["ErrorCode"], "Function.HandlerFailed");
    let details = complete["ErrorDetails"].as_str().expect("a text");
    assert!(details.contains("why"), "{details}");
    let caller = emulator.begin("GET", "/", &[], "");
    wait_for_first(&emulator, &caller);
    let (page, error) = caller.partial_reply(LIMIT).expect("a head");
    assert_eq!((page.status, page.body.as_slice()), (200, &b"first\n"[..]));
    assert!(error.is_some(), "the body seems to be complete");
}

#[test]
fn a_buffered_and_a_streamed_response_are_the_same_http() {
    let script = "handler() {
  lambda_http_response 418 'Content-Type: image/png' --cookie a=1
  printf '\\377\\0pot'
}
";
    for mode in ["buffered", "streaming"] {
        let emulator = Emulator::of(script)
            .arg("--function-url")
            .option("--env", &format!("COSHELL_RESPONSE_MODE={mode}"))
            .start();
        let page = emulator.request("GET", "/", &[], "");
        assert_eq!(
            (page.status, page.body.as_slice()),
            (418, &b"\xff\0pot"[..]),
            "{mode}"
        );
        assert_eq!(page.header("Content-Type"), Some("image/png"), "{mode}");
        assert_eq!(page.header("Set-Cookie"), Some("a=1"), "{mode}");
    }
}

#[test]
fn the_example_streams_its_page_and_its_events() {
    let example = support::repository_file("examples/streaming/function.sh");
    let emulator = Emulator::of(&std::fs::read_to_string(example).expect("the example"))
        .arg("--function-url")
        .option("--env", "STEP_SECONDS=0")
        .start();
    let page = emulator.request("GET", "/", &[], "");
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert_eq!(
        page.header("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        text.contains("<li>orders: ") && text.ends_with("</p>\n"),
        "{text}"
    );
    let events = emulator.request("GET", "/events", &[], "");
    let text = String::from_utf8_lossy(&events.body).into_owned();
    assert_eq!(events.header("Content-Type"), Some("text/event-stream"));
    assert_eq!(text.matches("data: ").count(), 3);
    assert!(text.ends_with("\n\n"), "{text}");
    assert_eq!(emulator.request("GET", "/nowhere", &[], "").status, 404);
}
