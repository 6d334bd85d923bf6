//! Asynchronous invocations under `coshell serve`. They are accepted at once, and tried up to three times under the same
//! request id.

use std::collections::BTreeSet;

use support::{Emulator, HttpReply, LIMIT, wait_until};

const EVENT: [(&str, &str); 1] = [("X-Amz-Invocation-Type", "Event")];

/// The event is a file name and a number. Each attempt adds a line to the file. The first attempts fail, as many as the number
/// says.
const RECORDS_ATTEMPTS: &str = r#"
handler() {
  local name failures attempts
  read -r name failures <<<"$1"
  echo "$LAMBDA_RUNTIME_AWS_REQUEST_ID" >>"$LAMBDA_TASK_ROOT/$name"
  mapfile -t attempts <"$LAMBDA_TASK_ROOT/$name"
  ((${#attempts[@]} > failures)) || return 3
}
"#;

/// Asserts that the event was accepted. Returns its request id.
#[track_caller]
fn expect_accepted(reply: &HttpReply) -> String {
    assert_eq!((reply.status, reply.body.len()), (202, 0), "{reply:?}");
    reply.header("X-Amzn-RequestId").expect("an id").to_owned()
}

#[test]
fn an_event_is_accepted_before_it_runs() {
    let script = r#"
handler() {
  read -r _ <"$LAMBDA_TASK_ROOT/gate of $1"
  echo "$LAMBDA_RUNTIME_AWS_REQUEST_ID $1" >>"$LAMBDA_TASK_ROOT/ran"
}"#;
    let emulator = Emulator::of(script).start();
    let events = ["first", "second", "third"];
    for event in events {
        emulator.task_root.fifo(&format!("gate of {event}"));
    }
    let request_ids =
        events.map(|event| expect_accepted(&emulator.call_with_headers(&EVENT, event)));
    assert_eq!(emulator.task_root.read("ran"), "");
    for event in events {
        emulator.task_root.release(&format!("gate of {event}"));
    }
    emulator.wait_log_count("\nREPORT ", 3);
    let ran = emulator.task_root.read("ran");
    let ran: BTreeSet<_> = ran.lines().map(ToOwned::to_owned).collect();
    let expected = request_ids.iter().zip(events);
    let expected = expected.map(|(request_id, event)| format!("{request_id} {event}"));
    assert_eq!(ran, expected.collect());
}

#[test]
fn an_event_that_fails_is_tried_three_times_and_reported() {
    let emulator = Emulator::of(RECORDS_ATTEMPTS)
        .option("--retry-delay", "0.05")
        .start();
    let request_id = expect_accepted(&emulator.call_with_headers(&EVENT, "note 9"));
    let dropped = format!("coshell: event {request_id} failed 3 times and is dropped\n");
    emulator.process.wait_log(&dropped);
    let ids = format!("{request_id}\n").repeat(3);
    assert_eq!(emulator.task_root.read("note"), ids);
    let stderr = emulator.stderr();
    let (_, messages) = stderr.split_once('\n').expect("the startup message");
    let expected = format!(
        "coshell: event {request_id} failed in attempt 1 of 3, retrying in 50ms\n\
         coshell: event {request_id} failed in attempt 2 of 3, retrying in 100ms\n{dropped}"
    );
    assert_eq!(messages, expected);
    emulator.wait_log_count(&format!("START RequestId: {request_id} "), 3);
}

#[test]
fn an_event_is_not_tried_again_after_success() {
    let emulator = Emulator::of(RECORDS_ATTEMPTS)
        .option("--retry-delay", "0.05")
        .start();
    let never = expect_accepted(&emulator.call_with_headers(&EVENT, "never 0"));
    let once = expect_accepted(&emulator.call_with_headers(&EVENT, "once 1"));
    let twice = expect_accepted(&emulator.call_with_headers(&EVENT, "twice 2"));
    // This event needs the most time of all.
    let always = expect_accepted(&emulator.call_with_headers(&EVENT, "always 3"));
    emulator
        .process
        .wait_log(&format!("{always} failed 3 times"));
    let attempts = || {
        let names = ["never", "once", "twice", "always"];
        names.map(|name| emulator.task_root.read(name).lines().count())
    };
    wait_until(|| attempts() == [1, 2, 3, 3], LIMIT);
    let stderr = emulator.stderr();
    assert_eq!(stderr.matches(&never).count(), 0, "{stderr}");
    assert_eq!(stderr.matches(&once).count(), 1, "{stderr}");
    assert_eq!(stderr.matches(&twice).count(), 2, "{stderr}");
    assert_eq!(stderr.matches("dropped").count(), 1, "{stderr}");
}

/// Neither a timeout nor the death of bootstrap loses an event.
#[test]
fn an_event_whose_sandbox_ends_is_tried_again() {
    let script = r#"
handler() {
  echo "$1" >>"$LAMBDA_TASK_ROOT/$1"
  mapfile -t attempts <"$LAMBDA_TASK_ROOT/$1"
  ((${#attempts[@]} > 1)) && return
  case $1 in
    hang) sleep 600 ;;
    kill) kill -9 "$PPID"; sleep 600 ;;
  esac
}"#;
    let builder = Emulator::of(script).option("--retry-delay", "0.01");
    let emulator = builder.option("--timeout", "3").start();
    for event in ["hang", "kill"] {
        let request_id = expect_accepted(&emulator.call_with_headers(&EVENT, event));
        emulator.wait_log_count(&format!("\nREPORT RequestId: {request_id}"), 2);
        assert_eq!(
            emulator.task_root.read(event),
            format!("{event}\n{event}\n")
        );
    }
    let stderr = emulator.stderr();
    assert_eq!(
        stderr.matches("attempt 1 of 3, retrying in 10ms").count(),
        2,
        "{stderr}"
    );
    assert!(!stderr.contains("attempt 3 of 3"), "{stderr}");
}

#[test]
fn an_event_that_waits_for_its_next_attempt_is_reported_at_the_end() {
    let emulator = Emulator::of(RECORDS_ATTEMPTS)
        .option("--retry-delay", "600")
        .start();
    expect_accepted(&emulator.call_with_headers(&EVENT, "note 9"));
    emulator
        .process
        .wait_log("attempt 1 of 3, retrying in 600s\n");
    assert_eq!(emulator.respond("other 0"), b"");
    let log = emulator.stop();
    let message = "coshell: dropped unfinished events of invocation type Event: 1\n";
    assert!(log.contains(message), "{log}");
}
