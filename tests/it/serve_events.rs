//! Events whose callers do not wait: accepted at once, tried three times, with one request id.

use std::collections::BTreeSet;

use support::{Emulator, HttpReply, LIMIT, wait_until};

const EVENT: [(&str, &str); 1] = [("X-Amz-Invocation-Type", "Event")];

/// Notes each attempt in the file that the event names, and fails as often as its second word says.
const NOTES: &str = r#"
handler() {
  local name failures attempts
  read -r name failures <<<"$1"
  echo "$LAMBDA_RUNTIME_AWS_REQUEST_ID" >>"$LAMBDA_TASK_ROOT/$name"
  mapfile -t attempts <"$LAMBDA_TASK_ROOT/$name"
  ((${#attempts[@]} > failures)) || return 3
}
"#;

#[track_caller]
fn accepted(reply: &HttpReply) -> String {
    assert_eq!((reply.status, reply.body.len()), (202, 0), "{reply:?}");
    reply.header("X-Amzn-RequestId").expect("an id").to_owned()
}

#[test]
fn event_is_accepted_before_it_is_run() {
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
    let request_ids = events.map(|event| accepted(&emulator.call_with_headers(&EVENT, event)));
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
fn event_that_fails_is_tried_three_times_and_told_of() {
    let emulator = Emulator::of(NOTES).option("--retry-delay", "0.05").start();
    let request_id = accepted(&emulator.call_with_headers(&EVENT, "note 9"));
    let dropped = format!("coshell: event {request_id} has failed 3 times, and is dropped\n");
    emulator.process.wait_log(&dropped);
    let ids = format!("{request_id}\n").repeat(3);
    assert_eq!(emulator.task_root.read("note"), ids);
    let said = emulator.stderr();
    let (_, said) = said.split_once('\n').expect("the greeting");
    let expected = format!(
        "coshell: event {request_id} has failed, attempt 2 of 3 comes in 50ms\n\
         coshell: event {request_id} has failed, attempt 3 of 3 comes in 100ms\n{dropped}"
    );
    assert_eq!(said, expected);
    emulator.wait_log_count(&format!("START RequestId: {request_id} "), 3);
}

#[test]
fn success_ends_the_attempts() {
    let emulator = Emulator::of(NOTES).option("--retry-delay", "0.05").start();
    let never = accepted(&emulator.call_with_headers(&EVENT, "never 0"));
    let once = accepted(&emulator.call_with_headers(&EVENT, "once 1"));
    let twice = accepted(&emulator.call_with_headers(&EVENT, "twice 2"));
    // This one takes as long as any could.
    let always = accepted(&emulator.call_with_headers(&EVENT, "always 3"));
    emulator
        .process
        .wait_log(&format!("{always} has failed 3 times"));
    let attempts = || {
        let names = ["never", "once", "twice", "always"];
        names.map(|name| emulator.task_root.read(name).lines().count())
    };
    wait_until(|| attempts() == [1, 2, 3, 3], LIMIT);
    let said = emulator.stderr();
    assert_eq!(said.matches(&never).count(), 0, "{said}");
    assert_eq!(said.matches(&once).count(), 1, "{said}");
    assert_eq!(said.matches(&twice).count(), 2, "{said}");
    assert_eq!(said.matches("dropped").count(), 1, "{said}");
}

/// Neither the deadline nor a death loses an event.
#[test]
fn event_whose_sandbox_ends_is_tried_again() {
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
    let emulator = builder.option("--timeout", "1").start();
    for event in ["hang", "kill"] {
        let request_id = accepted(&emulator.call_with_headers(&EVENT, event));
        emulator.wait_log_count(&format!("\nREPORT RequestId: {request_id}"), 2);
        assert_eq!(
            emulator.task_root.read(event),
            format!("{event}\n{event}\n")
        );
    }
    let said = emulator.stderr();
    assert_eq!(
        said.matches("attempt 2 of 3 comes in 10ms").count(),
        2,
        "{said}"
    );
    assert!(!said.contains("attempt 3 of 3"), "{said}");
}

#[test]
fn event_that_waits_for_its_next_attempt_is_told_of_at_the_end() {
    let emulator = Emulator::of(NOTES).option("--retry-delay", "600").start();
    accepted(&emulator.call_with_headers(&EVENT, "note 9"));
    emulator.process.wait_log("attempt 2 of 3 comes in 600s\n");
    assert_eq!(emulator.respond("other 0"), b"");
    let log = emulator.stop();
    let told = "coshell: events of type Event that are not done with, and are dropped: 1\n";
    assert!(log.contains(told), "{log}");
}
