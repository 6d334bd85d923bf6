//! Handlers of ours that stream, behind both doors of `coshell serve`: a caller sees bytes before the handler ends.

use memchr::memmem::find;
use serde_json::json;

use support::event_stream::response_of;
use support::http::Pending;
use support::served::{Plan, STREAMING_INVOCATIONS};
use support::{LIMIT, Served, wait_until};

/// Waits for the test in between; the event says how it begins and ends.
const WAITS: &str = "handler() {
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

fn plan(handler: &str) -> Plan {
    let plan = Served::empty().word(&format!("function.{handler}"));
    plan.task_root.write("function.sh", WAITS);
    plan.task_root.fifo("gate");
    plan
}

/// Waits until the caller has the first line, lets the handler go on, and takes the rest.
#[track_caller]
fn wait_for_first(served: &Served, caller: &Pending) {
    wait_until(|| find(&caller.arrived(), b"first\n").is_some(), LIMIT);
    assert!(find(&caller.arrived(), b"second").is_none());
    served.task_root.release("gate");
}

#[test]
fn function_url_shows_the_beginning_while_the_handler_runs() {
    let served = plan("handler").word("--function-url").start();
    for _ in 0..2 {
        let caller = served.begin("GET", "/", &[], "");
        wait_for_first(&served, &caller);
        let page = served.finish(caller);
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
fn streaming_invocation_shows_the_beginning_while_the_handler_runs() {
    let served = plan("stream")
        .option("--env", "COSHELL_RESPONSE_MODE=streaming")
        .start();
    let caller = served.begin("POST", STREAMING_INVOCATIONS, &[], "{}");
    wait_for_first(&served, &caller);
    let reply = served.finish(caller);
    let content_type = reply.header("X-Amzn-Remapped-Content-Type");
    assert_eq!(content_type, Some("application/octet-stream"));
    let (body, complete) = response_of(&reply.body);
    assert_eq!((body, complete), (b"first\nsecond\n".to_vec(), json!({})));
    // A caller that does not stream gets all of it.
    let caller = served.begin_call("{}");
    served.task_root.release("gate");
    assert_eq!(
        served.response_of(served.finish(caller)),
        b"first\nsecond\n"
    );
}

#[test]
fn failure_in_midstream_reaches_both_kinds_of_callers() {
    let served = plan("breaks")
        .word("--function-url")
        .option("--env", "COSHELL_RESPONSE_MODE=streaming")
        .start();
    let caller = served.begin("POST", STREAMING_INVOCATIONS, &[], "{}");
    wait_for_first(&served, &caller);
    let (body, complete) = response_of(&served.finish(caller).body);
    assert_eq!(body, b"first\n");
    assert_eq!(complete["ErrorCode"], "Function.HandlerFailed");
    let details = complete["ErrorDetails"].as_str().expect("a text");
    assert!(details.contains("why"), "{details}");
    let caller = served.begin("GET", "/", &[], "");
    wait_for_first(&served, &caller);
    let (page, error) = caller.reply_as_far_as_it_comes(LIMIT).expect("a head");
    assert_eq!((page.status, page.body.as_slice()), (200, &b"first\n"[..]));
    assert!(error.is_some(), "the body seems to be whole");
}

/// The same handler, kept and streamed, is the same HTTP.
#[test]
fn document_of_a_kept_response_is_http_again() {
    let script = "handler() {
  lambda_http_response 418 'Content-Type: image/png' --cookie a=1
  printf '\\377\\0pot'
}
";
    for mode in ["buffered", "streaming"] {
        let served = Served::of(script)
            .word("--function-url")
            .option("--env", &format!("COSHELL_RESPONSE_MODE={mode}"))
            .start();
        let page = served.request("GET", "/", &[], "");
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
fn example_streams_its_page_and_its_events() {
    let example = support::repository_file("examples/streaming/function.sh");
    let served = Served::of(&std::fs::read_to_string(example).expect("the example"))
        .word("--function-url")
        .option("--env", "STEP_SECONDS=0")
        .start();
    let page = served.request("GET", "/", &[], "");
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert_eq!(
        page.header("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        text.contains("<li>orders: ") && text.ends_with("</p>\n"),
        "{text}"
    );
    let events = served.request("GET", "/events", &[], "");
    let text = String::from_utf8_lossy(&events.body).into_owned();
    assert_eq!(events.header("Content-Type"), Some("text/event-stream"));
    assert_eq!(text.matches("data: ").count(), 3);
    assert!(text.ends_with("\n\n"), "{text}");
    assert_eq!(served.request("GET", "/nowhere", &[], "").status, 404);
}
