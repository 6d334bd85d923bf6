//! Extensions under `coshell serve`, internal and external, and the restore of SnapStart. The test is the runtime.

use nix::sys::signal::Signal;
use serde_json::Value;

use support::served::{PlayedRuntime, error_type, reply};
use support::{HttpReply, LIMIT, Served, wait_until};

const REGISTER: &str = "/2020-01-01/extension/register";
const EVENT_NEXT: &str = "/2020-01-01/extension/event/next";

#[track_caller]
fn register(runtime: &PlayedRuntime, name: &str, events: &str) -> HttpReply {
    let body = format!(r#"{{"events":[{events}]}}"#);
    runtime.post(REGISTER, &[("Lambda-Extension-Name", name)], body)
}

#[track_caller]
fn identifier(reply: &HttpReply) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    let identifier = reply.header("Lambda-Extension-Identifier");
    identifier.expect("an identifier").to_owned()
}

#[track_caller]
fn refused(reply: &HttpReply, status: u16, name: &str) {
    let told = (reply.status, error_type(&reply.body));
    assert_eq!(told, (status, format!("Extension.{name}")));
}

#[test]
fn internal_extension_is_told_of_invocations_and_waited_for() {
    let served = Served::played().start();
    let runtime = served.runtime(0);
    refused(
        &register(&runtime, "inner", "\"SHUTDOWN\""),
        403,
        "InvalidEventType",
    );
    refused(
        &register(&runtime, "", "\"INVOKE\""),
        403,
        "InvalidExtensionName",
    );
    let inner = identifier(&register(&runtime, "inner", "\"INVOKE\""));
    refused(
        &register(&runtime, "inner", "\"INVOKE\""),
        403,
        "AlreadyRegistered",
    );
    for number in 1..10 {
        let other = identifier(&register(&runtime, &format!("silent {number}"), ""));
        let own = [("Lambda-Extension-Identifier", other.as_str())];
        let gone = runtime.post("/2020-01-01/extension/exit/error", &own, "{}");
        assert_eq!(gone.status, 202);
    }
    refused(
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
    refused(&reply(stray), 403, "UnknownExtensionIdentifier");
    // The init is not over before the extension waits too.
    let next = runtime.begin_next();
    let caller = served.begin_call("an event");
    refused(&register(&runtime, "late", ""), 403, "RegistrationClosed");
    assert!(!next.is_answered());
    let event = wait();
    let next = reply(next);
    let request_id = next.header("Lambda-Runtime-Aws-Request-Id").expect("an id");
    let event: Value = serde_json::from_slice(&reply(event).body).expect("JSON");
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
    // The caller has its answer, but the invocation is not over, nor does another begin.
    assert_eq!(served.response_of(served.finish(caller)), b"on");
    let next = runtime.begin_next();
    let caller = served.begin_call("another");
    assert_eq!(runtime.respond("stray", "").status, 400);
    assert!(!next.is_answered() && !served.stdout().contains("REPORT "));
    let _event = wait();
    let next = reply(next);
    served.wait_count("REPORT ", 1);
    let request_id = next.header("Lambda-Runtime-Aws-Request-Id").expect("an id");
    assert_eq!(runtime.respond(request_id, "on too").status, 202);
    assert_eq!(served.response_of(served.finish(caller)), b"on too");
}

#[test]
fn program_in_the_folder_of_extensions_is_told_of_invocations_and_of_the_end() {
    let extension = r#"#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
body='{"events":["INVOKE","SHUTDOWN"]}'
header=$(curl -s -D - -o /dev/null -d "$body" -H 'Lambda-Extension-Name: outer' "$api/register" |
  tr -d '\r' | grep -i '^lambda-extension-identifier:')
while event=$(curl -sf -H "$header" "$api/event/next"); do
  echo "$event" >>"$LAMBDA_TASK_ROOT/told"
  echo "extension: $event"
  [[ $event != *SHUTDOWN* ]] || exit 0
done
"#;
    let plan = Served::of("handler() { printf on; }");
    plan.task_root.write_program("extensions/outer", extension);
    plan.task_root.write("extensions/README", "is no program");
    let folder = plan.task_root.path().join("extensions");
    let served = plan
        .option("--extensions", &folder.to_string_lossy())
        .start();
    let told = || {
        let lines = served.task_root.read("told");
        let parsed = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        parsed.collect::<Vec<Value>>()
    };
    let mut request_ids = Vec::new();
    for count in 1..=3 {
        let reply = served.call("{}");
        request_ids.push(reply.header("X-Amzn-RequestId").expect("an id").to_owned());
        assert_eq!(served.response_of(reply), b"on");
        served.wait_count("\nREPORT ", count);
        assert_eq!(told().len(), count);
    }
    served.process.signal(Signal::SIGTERM);
    let log = served.process.wait_end(LIMIT);
    assert!(log.contains("extension: {"), "{log}");
    let told = told();
    let ids: Vec<_> = told
        .iter()
        .map(|event| event["requestId"].as_str())
        .collect();
    let mut expected: Vec<_> = request_ids.iter().map(|id| Some(id.as_str())).collect();
    expected.push(None);
    assert_eq!(ids, expected);
    assert_eq!(told[3]["eventType"], "SHUTDOWN");
    assert_eq!(told[3]["shutdownReason"], "spindown");
}

#[test]
fn extension_that_cannot_be_started_is_told() {
    let plan = Served::of("handler() { :; }");
    let path = plan
        .task_root
        .write_program("extensions/broken", "#!/no/such/program\n");
    let folder = plan.task_root.path().join("extensions");
    let (status, said) = plan
        .option("--extensions", &folder.to_string_lossy())
        .refusal();
    assert_eq!(status, 2);
    let expected = format!("{}: No such file or directory", path.display());
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn snapstart_restores_for_the_first_event() {
    let served = Served::played().word("--snapstart").start();
    let runtime = served.runtime(0);
    let kind = runtime.variable("AWS_LAMBDA_INITIALIZATION_TYPE");
    assert_eq!(kind.as_deref(), Some("snap-start"));
    // An error of a restore that has not come is none.
    assert_eq!(runtime.post("/restore/error", &[], "{}").status, 403);
    let restore = runtime.begin("GET", "/restore/next", &[], "");
    assert_eq!(runtime.respond("stray", "").status, 400);
    assert!(!restore.is_answered());
    let caller = served.begin_call("an event");
    assert_eq!(reply(restore).status, 200);
    let (request_id, event) = runtime.next();
    assert_eq!(event, b"an event");
    assert_eq!(runtime.get("/restore/next").status, 403);
    assert_eq!(runtime.respond(&request_id, "on").status, 202);
    assert_eq!(served.response_of(served.finish(caller)), b"on");
    let next = runtime.begin_next();
    served.wait_count("\nREPORT ", 1);
    let log = served.stdout();
    assert!(
        log.starts_with("RESTORE_REPORT Restore Duration: "),
        "{log}"
    );
    let report = log.lines().find(|line| line.starts_with("REPORT "));
    let report = report.unwrap_or_default();
    assert!(report.contains("\tInit Duration: "), "{log}");
    assert!(report.contains("\tRestore Duration: "), "{log}");
    let caller = served.begin_call("another");
    let next = reply(next);
    let request_id = next.header("Lambda-Runtime-Aws-Request-Id").expect("an id");
    runtime.respond(request_id, "on");
    served.finish(caller);
    assert_eq!(served.stdout().matches("Restore Duration").count(), 2);
}

#[test]
fn restore_that_fails_is_the_callers_answer() {
    let served = Served::played().word("--snapstart").start();
    let runtime = served.runtime(0);
    let restore = runtime.begin("GET", "/restore/next", &[], "");
    let caller = served.begin_call("an event");
    assert_eq!(reply(restore).status, 200);
    let document = r#"{"errorType":"Runtime.AfterRestoreError","errorMessage":"why"}"#;
    assert_eq!(runtime.post("/restore/error", &[], document).status, 202);
    assert_eq!(runtime.get("/invocation/next").status, 403);
    let failed = served.finish(caller);
    let document = served.document_of(&failed);
    assert_eq!(document["errorMessage"], "why", "{document}");
    served
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
fn function_is_restored_for_its_first_event_and_the_hook_is_a_part_of_that() {
    let script = r#"
lambda_before_snapshot() { echo "the hook before"; }
lambda_after_restore() { echo "the hook after"; sleep 0.2; }
lambda_shutdown() { echo "the hook at the end"; }
handler() { printf '%s %s' "$AWS_LAMBDA_INITIALIZATION_TYPE" "$1"; }
"#;
    let served = Served::of(script).word("--snapstart").start();
    let log = || served.process.log();
    served.process.wait_log("the hook before\n");
    assert_eq!(served.text("a"), "snap-start a");
    assert_eq!(served.text("b"), "snap-start b");
    served.wait_count("\nREPORT ", 2);
    let stdout = served.stdout();
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
    served.process.signal(Signal::SIGTERM);
    let log = served.process.wait_end(LIMIT);
    assert!(log.contains("the hook at the end\n"), "{log}");
}

#[test]
fn hooks_that_fail_are_the_callers_answer() {
    let script = |hook: &str| {
        format!("{hook}() {{\n  [[ -e $LAMBDA_TASK_ROOT/well ]]\n}}\nhandler() {{ printf on; }}\n")
    };
    for (hook, error_type) in [
        ("lambda_before_snapshot", "Runtime.BeforeSnapshotError"),
        ("lambda_after_restore", "Runtime.AfterRestoreError"),
    ] {
        let served = Served::of(&script(hook)).word("--snapstart").start();
        for count in 1..=2 {
            let failed = served.call("an event");
            let document = served.document_of(&failed);
            assert_eq!(document["errorType"], error_type);
            let message = document["errorMessage"].as_str().unwrap_or_default();
            let told = format!(
                "{hook}: `[[ -e $LAMBDA_TASK_ROOT/well ]]` ended with status 1 in {hook} ("
            );
            assert!(message.starts_with(&told), "{message}");
            served.wait_count("\nREPORT ", count);
        }
        let log = served.process.log();
        let status = format!("\tStatus: error\tError Type: {error_type}");
        assert!(log.contains(&status), "{log}");
        // The next sandbox is restored as any other.
        served.task_root.write("well", "");
        for _ in 0..2 {
            assert_eq!(served.text("an event"), "on");
        }
    }
}
