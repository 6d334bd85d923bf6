//! Extensions under `coshell serve`, internal and external, and SnapStart. In most tests the test itself is the runtime.

use nix::sys::signal::Signal;
use serde_json::Value;

use support::emulator::{RuntimeClient, error_type, wait_reply};
use support::{Emulator, HttpReply, LIMIT, wait_until};

const REGISTER: &str = "/2020-01-01/extension/register";
const EVENT_NEXT: &str = "/2020-01-01/extension/event/next";

#[track_caller]
fn register(runtime: &RuntimeClient, name: &str, events: &str) -> HttpReply {
    let body = format!(r#"{{"events":[{events}]}}"#);
    runtime.post(REGISTER, &[("Lambda-Extension-Name", name)], body)
}

/// Asserts that the registration succeeded. Returns the identifier of the extension.
#[track_caller]
fn expect_identifier(reply: &HttpReply) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    let identifier = reply.header("Lambda-Extension-Identifier");
    identifier.expect("an identifier").to_owned()
}

#[track_caller]
fn assert_rejected(reply: &HttpReply, status: u16, name: &str) {
    let actual = (reply.status, error_type(&reply.body));
    assert_eq!(actual, (status, format!("Extension.{name}")));
}

#[test]
fn an_internal_extension_gets_invoke_events_and_the_emulator_waits_for_it() {
    let emulator = Emulator::with_test_as_runtime().start();
    let runtime = emulator.runtime_client(0);
    assert_rejected(
        &register(&runtime, "inner", "\"SHUTDOWN\""),
        403,
        "InvalidEventType",
    );
    assert_rejected(
        &register(&runtime, "", "\"INVOKE\""),
        403,
        "InvalidExtensionName",
    );
    let inner = expect_identifier(&register(&runtime, "inner", "\"INVOKE\""));
    assert_rejected(
        &register(&runtime, "inner", "\"INVOKE\""),
        403,
        "AlreadyRegistered",
    );
    for number in 1..10 {
        let other = expect_identifier(&register(&runtime, &format!("silent {number}"), ""));
        let own = [("Lambda-Extension-Identifier", other.as_str())];
        let gone = runtime.post("/2020-01-01/extension/exit/error", &own, "{}");
        assert_eq!(gone.status, 202);
    }
    assert_rejected(
        &register(&runtime, "eleventh", ""),
        403,
        "TooManyExtensions",
    );
    let own = [("Lambda-Extension-Identifier", inner.as_str())];
    let wait = || runtime.begin("GET", EVENT_NEXT, &own, "");
    let stray = runtime.begin(
        "GET",
        EVENT_NEXT,
        &[("Lambda-Extension-Identifier", "x")],
        "",
    );
    assert_rejected(&wait_reply(stray), 403, "UnknownExtensionIdentifier");
    // The init is over only when the extension, too, requests its next event.
    let next = runtime.begin_next();
    let caller = emulator.begin_call("an event");
    assert_rejected(&register(&runtime, "late", ""), 403, "RegistrationClosed");
    assert!(!next.is_answered());
    let event = wait();
    let next = wait_reply(next);
    let request_id = next.header("Lambda-Runtime-Aws-Request-Id").expect("an id");
    let event: Value = serde_json::from_slice(&wait_reply(event).body).expect("JSON");
    assert_eq!(event["eventType"], "INVOKE");
    assert_eq!(event["requestId"], request_id);
    let deadline = next
        .header("Lambda-Runtime-Deadline-Ms")
        .expect("a deadline");
    assert_eq!(event["deadlineMs"].to_string(), deadline);
    let arn = next.header("Lambda-Runtime-Invoked-Function-Arn");
    assert_eq!(event["invokedFunctionArn"].as_str(), arn);
    assert_eq!(
        event["tracing"]["value"].as_str(),
        next.header("Lambda-Runtime-Trace-Id")
    );
    assert_eq!(runtime.respond(request_id, "on").status, 202);
    // The caller has its answer. But the invocation is not over yet, and the next one does not begin.
    assert_eq!(emulator.expect_response(emulator.finish(caller)), b"on");
    let next = runtime.begin_next();
    let caller = emulator.begin_call("another");
    assert_eq!(runtime.respond("stray", "").status, 400);
    assert!(!next.is_answered() && !emulator.stdout().contains("REPORT "));
    let _event = wait();
    let next = wait_reply(next);
    emulator.wait_log_count("REPORT ", 1);
    let request_id = next.header("Lambda-Runtime-Aws-Request-Id").expect("an id");
    assert_eq!(runtime.respond(request_id, "on too").status, 202);
    assert_eq!(emulator.expect_response(emulator.finish(caller)), b"on too");
}

#[test]
fn an_external_extension_gets_invoke_and_shutdown_events() {
    let extension = r#"#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
body='{"events":["INVOKE","SHUTDOWN"]}'
header=$(curl -s -D - -o /dev/null -d "$body" -H 'Lambda-Extension-Name: outer' "$api/register" |
  tr -d '\r' | grep -i '^lambda-extension-identifier:')
while event=$(curl -sf -H "$header" "$api/event/next"); do
  # The extension outlives the runtime, as one does that has records to send.
  if [[ $event == *SHUTDOWN* ]]; then
    while [[ -e /proc/$(<"$LAMBDA_TASK_ROOT/runtime") ]]; do :; done
    for ((i = 0; i < 20000; i++)); do :; done
  fi
  echo "$event" >>"$LAMBDA_TASK_ROOT/events"
  echo "extension: $event"
  [[ $event != *SHUTDOWN* ]] || exit 0
done
"#;
    let builder =
        Emulator::of("handler() { printf on; echo $PPID >\"$LAMBDA_TASK_ROOT/runtime\"; }");
    builder
        .task_root
        .write_program("extensions/outer", extension);
    builder
        .task_root
        .write("extensions/README", "is no program");
    let folder = builder.task_root.path().join("extensions");
    let emulator = builder
        .option("--extensions", &folder.to_string_lossy())
        .start();
    let events = || {
        let lines = emulator.task_root.read("events");
        let parsed = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        parsed.collect::<Vec<Value>>()
    };
    let mut request_ids = Vec::new();
    for count in 1..=3 {
        let reply = emulator.call("{}");
        request_ids.push(reply.header("X-Amzn-RequestId").expect("an id").to_owned());
        assert_eq!(emulator.expect_response(reply), b"on");
        emulator.wait_log_count("\nREPORT ", count);
        assert_eq!(events().len(), count);
    }
    emulator.process.signal(Signal::SIGTERM);
    let log = emulator.process.wait_clean_exit(LIMIT);
    assert!(log.contains("extension: {"), "{log}");
    let events = events();
    let ids: Vec<_> = events
        .iter()
        .map(|event| event["requestId"].as_str())
        .collect();
    let mut expected: Vec<_> = request_ids.iter().map(|id| Some(id.as_str())).collect();
    expected.push(None);
    assert_eq!(ids, expected);
    assert_eq!(events[3]["eventType"], "SHUTDOWN");
    assert_eq!(events[3]["shutdownReason"], "spindown");
}

#[test]
fn an_extension_that_cannot_start_is_an_error() {
    let builder = Emulator::of("handler() { :; }");
    let path = builder
        .task_root
        .write_program("extensions/broken", "#!/no/such/program\n");
    let folder = builder.task_root.path().join("extensions");
    let (status, stderr) = builder
        .option("--extensions", &folder.to_string_lossy())
        .expect_start_failure();
    assert_eq!(status, 2);
    let expected = format!("{}: No such file or directory", path.display());
    assert!(stderr.contains(&expected), "{stderr}");
}

#[test]
fn with_snapstart_the_first_event_restores_the_sandbox() {
    let emulator = Emulator::with_test_as_runtime().arg("--snapstart").start();
    let runtime = emulator.runtime_client(0);
    let kind = runtime.environment_variable("AWS_LAMBDA_INITIALIZATION_TYPE");
    assert_eq!(kind.as_deref(), Some("snap-start"));
    // A restore error before the restore is rejected.
    assert_eq!(runtime.post("/restore/error", &[], "{}").status, 403);
    let restore = runtime.begin("GET", "/restore/next", &[], "");
    assert_eq!(runtime.respond("stray", "").status, 400);
    assert!(!restore.is_answered());
    let caller = emulator.begin_call("an event");
    assert_eq!(wait_reply(restore).status, 200);
    let (request_id, event) = runtime.next();
    assert_eq!(event, b"an event");
    assert_eq!(runtime.get("/restore/next").status, 403);
    assert_eq!(runtime.respond(&request_id, "on").status, 202);
    assert_eq!(emulator.expect_response(emulator.finish(caller)), b"on");
    let next = runtime.begin_next();
    emulator.wait_log_count("\nREPORT ", 1);
    let log = emulator.stdout();
    assert!(
        log.starts_with("RESTORE_REPORT Restore Duration: "),
        "{log}"
    );
    let report = log.lines().find(|line| line.starts_with("REPORT "));
    let report = report.unwrap_or_default();
    assert!(report.contains("\tInit Duration: "), "{log}");
    assert!(report.contains("\tRestore Duration: "), "{log}");
    let caller = emulator.begin_call("another");
    let next = wait_reply(next);
    let request_id = next.header("Lambda-Runtime-Aws-Request-Id").expect("an id");
    runtime.respond(request_id, "on");
    emulator.finish(caller);
    assert_eq!(emulator.stdout().matches("Restore Duration").count(), 2);
}

#[test]
fn the_caller_gets_the_error_of_a_restore_that_fails() {
    let emulator = Emulator::with_test_as_runtime().arg("--snapstart").start();
    let runtime = emulator.runtime_client(0);
    let restore = runtime.begin("GET", "/restore/next", &[], "");
    let caller = emulator.begin_call("an event");
    assert_eq!(wait_reply(restore).status, 200);
    let document = r#"{"errorType":"Runtime.AfterRestoreError","errorMessage":"why"}"#;
    assert_eq!(runtime.post("/restore/error", &[], document).status, 202);
    assert_eq!(runtime.get("/invocation/next").status, 403);
    let failed = emulator.finish(caller);
    let document = emulator.expect_error(&failed);
    assert_eq!(document["errorMessage"], "why", "{document}");
    emulator
        .process
        .wait_log("\tStatus: error\tError Type: Runtime.AfterRestoreError\t");
    wait_until(
        || {
            !std::path::Path::new("/proc")
                .join(runtime.pid.to_string())
                .exists()
        },
        LIMIT,
    );
}

#[test]
fn the_restore_duration_includes_the_hook_after_restore() {
    let script = r#"
lambda_before_snapshot() { echo "the hook before"; }
lambda_after_restore() { echo "the hook after"; sleep 0.2; }
lambda_shutdown() { echo "the hook at the end"; }
handler() { printf '%s %s' "$AWS_LAMBDA_INITIALIZATION_TYPE" "$1"; }
"#;
    let emulator = Emulator::of(script).arg("--snapstart").start();
    let log = || emulator.process.log();
    emulator.process.wait_log("the hook before\n");
    assert_eq!(emulator.respond_text("a"), "snap-start a");
    assert_eq!(emulator.respond_text("b"), "snap-start b");
    emulator.wait_log_count("\nREPORT ", 2);
    let stdout = emulator.stdout();
    assert!(
        stdout.contains("the hook before\nthe hook after\nRESTORE_REPORT "),
        "{stdout}"
    );
    assert_eq!(log().matches("the hook after").count(), 1);
    let (_, restore) = log()
        .split_once("\tRestore Duration: ")
        .map(|(before, after)| (before.to_owned(), after.to_owned()))
        .expect("a restore");
    let duration = restore.split_once(" ms").map(|(number, _)| number.parse());
    let duration: f64 = duration.expect("a unit").expect("a number");
    assert!(duration >= 200.0, "{}", log());
    emulator.process.signal(Signal::SIGTERM);
    let log = emulator.process.wait_clean_exit(LIMIT);
    assert!(log.contains("the hook at the end\n"), "{log}");
}

#[test]
fn the_caller_gets_the_error_of_a_hook_that_fails() {
    let script = |hook: &str| {
        format!("{hook}() {{\n  [[ -e $LAMBDA_TASK_ROOT/well ]]\n}}\nhandler() {{ printf on; }}\n")
    };
    for (hook, error_type) in [
        ("lambda_before_snapshot", "Runtime.BeforeSnapshotError"),
        ("lambda_after_restore", "Runtime.AfterRestoreError"),
    ] {
        let emulator = Emulator::of(&script(hook)).arg("--snapstart").start();
        for count in 1..=2 {
            let failed = emulator.call("an event");
            let document = emulator.expect_error(&failed);
            assert_eq!(document["errorType"], error_type);
            let message = document["errorMessage"].as_str().unwrap_or_default();
            let start = format!(
                "{hook}: `[[ -e $LAMBDA_TASK_ROOT/well ]]` ended with status 1 in {hook} ("
            );
            assert!(message.starts_with(&start), "{message}");
            emulator.wait_log_count("\nREPORT ", count);
        }
        let log = emulator.process.log();
        let status = format!("\tStatus: error\tError Type: {error_type}");
        assert!(log.contains(&status), "{log}");
        // The next sandbox is restored as usual.
        emulator.task_root.write("well", "");
        for _ in 0..2 {
            assert_eq!(emulator.respond_text("an event"), "on");
        }
    }
}
