//! The log of a bootstrap that may run several invocations at a time. Each line has the request id of its invocation.

use crate::logs::{messages, records};
use support::{Event, Sandbox, SandboxBuilder};

fn with_two_lanes(script: &str) -> SandboxBuilder {
    Sandbox::of(script).env("AWS_LAMBDA_MAX_CONCURRENCY", "2")
}

#[test]
fn lines_in_text_format_begin_with_the_request_id() {
    let script = "echo sourced >&2\nhandler() { printf 'one of %s\\n\\n  two\\r\\n\\377not ended' \"$1\" >&2; lambda_log ERROR $'a\\nb'; return 3; }";
    let sandbox = with_two_lanes(script).start();
    sandbox.invoke(Event::new("first", "1"));
    sandbox.invoke(Event::new("second", "2"));
    sandbox.api.wait_parked();
    sandbox.bootstrap.final_log();
    // Both shells source the file.
    let mut expected = b"sourced\nsourced\n".to_vec();
    for (id, event) in [("first", "1"), ("second", "2")] {
        let head = format!("[{id}] one of {event}\n[{id}] \n[{id}]   two\r\n[{id}] ");
        expected.extend(head.as_bytes());
        let tail = format!(
            "\n[{id}] a\n[{id}] b\nbootstrap: error: Function.HandlerFailed: handler returned status 3 (request id {id})\n"
        );
        expected.extend([&b"\xffnot ended"[..], tail.as_bytes()].concat());
    }
    assert_eq!(
        sandbox.bootstrap.log_bytes().escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

/// A partial line waits for its end, so that no other invocation can write into it.
#[test]
fn lines_are_written_as_a_whole() {
    let builder = with_two_lanes(
        "handler() { echo early >&2; printf 'not ' >&2; read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; echo torn >&2; }",
    );
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    sandbox.api.push(Event::new("x", ""));
    sandbox.bootstrap.wait_log("[x] early\n");
    sandbox.task_root.release("gate");
    sandbox.api.wait_answer("x");
    sandbox.api.wait_parked();
    assert_eq!(sandbox.bootstrap.final_log(), "[x] early\n[x] not torn\n");
}

#[test]
fn a_line_larger_than_any_buffer_is_cut_into_lines() {
    let sandbox =
        with_two_lanes("handler() { head -c 30000000 /dev/zero | tr '\\0' x >&2; printf on; }")
            .start();
    sandbox.respond_to(Event::new("the-id", ""));
    sandbox.api.wait_parked();
    let log = sandbox.bootstrap.final_log();
    let pieces: Vec<_> = log
        .lines()
        .map(|line| line.strip_prefix("[the-id] ").expect("an id"))
        .collect();
    assert!((2..10).contains(&pieces.len()), "{} lines", pieces.len());
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    assert_eq!(length, 30_000_000);
}

#[test]
fn an_error_quotes_the_log_without_request_ids() {
    let sandbox = with_two_lanes("handler() { printf 'a\\nb' >&2; return 3; }").start();
    assert_eq!(
        sandbox.fail("x")["errorMessage"],
        "handler returned status 3\na\nb"
    );
}

#[test]
fn json_objects_have_no_request_id_before_them() {
    let script = "handler() { echo plain >&2; echo '{\"message\":\"mine\"}' >&2; }";
    let sandbox = with_two_lanes(script)
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .start();
    sandbox.respond_to(Event::new("the-id", ""));
    sandbox.api.wait_parked();
    let found = records(&sandbox.bootstrap.final_log());
    assert_eq!(messages(&found), ["plain", "mine"]);
    assert_eq!(found[0]["requestId"], "the-id");
}

#[test]
fn with_one_event_at_a_time_lines_have_no_request_id() {
    for value in ["", "0", "1"] {
        let sandbox = Sandbox::of("handler() { echo logged >&2; }")
            .env("AWS_LAMBDA_MAX_CONCURRENCY", value)
            .start();
        sandbox.respond("x");
        sandbox.api.wait_parked();
        assert_eq!(sandbox.bootstrap.final_log(), "logged\n", "{value:?}");
    }
}
