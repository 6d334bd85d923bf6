//! The Runtime API of `coshell serve`: its states, streamed responses, and the end of a runtime. The test itself is the runtime.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::emulator::{RuntimeClient, STREAMING_INVOCATIONS, error_type, wait_reply};
use support::event_stream::{parse_messages, parse_response};
use support::http::{PendingRequest, chunks};
use support::{Emulator, HttpReply, LIMIT, wait_until};

/// The status and errorType of an error reply.
#[track_caller]
fn error_of(reply: &HttpReply) -> (u16, String) {
    (reply.status, error_type(&reply.body))
}

fn error(status: u16, error_type: &str) -> (u16, String) {
    (status, error_type.to_owned())
}

const STREAMING: [(&str, &str); 3] = [
    ("Lambda-Runtime-Function-Response-Mode", "streaming"),
    ("Transfer-Encoding", "chunked"),
    ("Content-Type", "text/plain"),
];

/// Calls the streaming endpoint. Returns the pending request, and the request id of its invocation.
#[track_caller]
fn begin_streaming_call(emulator: &Emulator, runtime: &RuntimeClient) -> (PendingRequest, String) {
    let caller = emulator.begin("POST", STREAMING_INVOCATIONS, &[], "{}");
    let (request_id, _) = runtime.next();
    (caller, request_id)
}

#[track_caller]
fn begin_stream(runtime: &RuntimeClient, request_id: &str, body: &[u8]) -> PendingRequest {
    let path = format!("/invocation/{request_id}/response");
    let trailers = "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body";
    let mut headers = STREAMING.to_vec();
    headers.push(("Trailer", trailers));
    runtime.begin("POST", &path, &headers, body)
}

#[test]
fn the_reply_to_next_has_all_headers() {
    let emulator = Emulator::with_test_as_runtime()
        .option("--timeout", "7")
        .start();
    let runtime = emulator.runtime_client(0);
    let now_ms = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.expect("the clock is set").as_millis()
    };
    let before_ms = now_ms();
    let caller = emulator.begin_call("{}");
    let next = runtime.get("/invocation/next");
    let after_ms = now_ms();
    let header = |name: &str| next.header(&format!("Lambda-Runtime-{name}"));
    assert_eq!(next.header("Content-Type"), Some("application/json"));
    let arn = "arn:aws:lambda:us-east-1:012345678912:function:test_function";
    assert_eq!(header("Invoked-Function-Arn"), Some(arn));
    assert!(header("Trace-Id").is_some_and(|id| id.starts_with("Root=1-")));
    for absent in ["Client-Context", "Cognito-Identity", "Aws-Tenant-Id"] {
        assert_eq!(header(absent), None, "{absent}");
    }
    let deadline: u128 = header("Deadline-Ms")
        .and_then(|ms| ms.parse().ok())
        .expect("ms");
    let expected = before_ms + 7000..=after_ms + 7000;
    assert!(
        expected.contains(&deadline),
        "{deadline} is not in {expected:?}"
    );
    let request_id = header("Aws-Request-Id").expect("an id");
    let path = format!("/invocation/{request_id}/response");
    let wrong = [("Lambda-Runtime-Invocation-Id", "of another attempt")];
    assert_eq!(
        error_of(&runtime.post(&path, &wrong, "")),
        error(400, "InvalidRequestID")
    );
    let right = header("Invocation-Id").expect("an id");
    let right = [("Lambda-Runtime-Invocation-Id", right)];
    let taken = runtime.post(&path, &right, "on");
    assert_eq!(
        (taken.status, taken.body.as_slice()),
        (202, &br#"{"status":"OK"}"#[..])
    );
    assert_eq!(emulator.expect_response(emulator.finish(caller)), b"on");
}

#[test]
fn an_event_is_delivered_until_it_is_answered_and_can_be_answered_once() {
    let emulator = Emulator::with_test_as_runtime().start();
    let runtime = emulator.runtime_client(0);
    let caller = emulator.begin_call("first");
    let first = runtime.next();
    assert_eq!(runtime.next(), first);
    assert_eq!(
        error_of(&runtime.respond("stray", "")),
        error(400, "InvalidRequestID")
    );
    assert_eq!(runtime.respond(&first.0, "answer").status, 202);
    let twice = runtime.respond(&first.0, "answer");
    assert_eq!(error_of(&twice), error(403, "InvalidStateTransition"));
    let reply = runtime.post(&format!("/invocation/{}/error", first.0), &[], "{}");
    assert_eq!(error_of(&reply), error(403, "InvalidStateTransition"));
    assert_eq!(emulator.expect_response(emulator.finish(caller)), b"answer");
    let caller = emulator.begin_call("second");
    let second = runtime.next();
    assert_eq!(second.1, b"second");
    // The invocation before it is over.
    assert_eq!(
        error_of(&runtime.respond(&first.0, "")),
        error(400, "InvalidRequestID")
    );
    let document = r#"{"errorType":"Some.Type","errorMessage":"why"}"#;
    let path = format!("/invocation/{}/error", second.0);
    assert_eq!(runtime.post(&path, &[], document).status, 202);
    let failed = emulator.finish(caller);
    assert_eq!(emulator.expect_error(&failed)["errorMessage"], "why");
}

#[test]
fn an_init_error_is_accepted_only_during_the_init() {
    let emulator = Emulator::with_test_as_runtime().start();
    let runtime = emulator.runtime_client(0);
    let caller = emulator.begin_call("{}");
    let (request_id, _) = runtime.next();
    let document = r#"{"errorType":"Runtime.Late","errorMessage":"late"}"#;
    let late = runtime.post("/init/error", &[], document);
    assert_eq!(error_of(&late), error(403, "InvalidStateTransition"));
    runtime.respond(&request_id, "on");
    assert_eq!(emulator.expect_response(emulator.finish(caller)), b"on");

    let emulator = Emulator::with_test_as_runtime().start();
    let runtime = emulator.runtime_client(0);
    let named = [("Lambda-Runtime-Function-Error-Type", "Runtime.Named")];
    let document = r#"{"errorType":"Runtime.Other","errorMessage":"why"}"#;
    assert_eq!(runtime.post("/init/error", &named, document).status, 202);
    let state = error(403, "InvalidStateTransition");
    assert_eq!(error_of(&runtime.get("/invocation/next")), state);
    assert_eq!(error_of(&runtime.post("/init/error", &[], document)), state);
    assert_eq!(error_of(&runtime.respond("any", "")), state);
    let line = "\tPhase: init\tStatus: error\tError Type: Runtime.Named\t\n";
    emulator.process.wait_log(line);
    // For the first caller the init runs again, in a new sandbox.
    let caller = emulator.begin_call("{}");
    let again = emulator.runtime_client(1);
    assert_eq!(again.post("/init/error", &named, document).status, 202);
    let failed = emulator.finish(caller);
    assert_eq!(emulator.expect_error(&failed)["errorMessage"], "why");
}

#[test]
fn runtime_and_caller_get_an_error_for_a_response_that_is_too_large() {
    let emulator = Emulator::with_test_as_runtime().start();
    let runtime = emulator.runtime_client(0);
    let caller = emulator.begin_call("{}");
    let (request_id, _) = runtime.next();
    let response = vec![b'x'; 6_291_557];
    let taken = runtime.respond(&request_id, &response);
    assert_eq!(error_of(&taken), error(413, "RequestEntityTooLarge"));
    let document = emulator.expect_error(&emulator.finish(caller));
    assert_eq!(document["errorType"], "Function.ResponseSizeTooLarge");
    let path = format!("/invocation/{request_id}/error");
    assert_eq!(runtime.post(&path, &[], "{}").status, 403);
    let caller = emulator.begin_call("{}");
    let (request_id, _) = runtime.next();
    assert_eq!(runtime.respond(&request_id, &response[1..]).status, 202);
    assert!(emulator.expect_response(emulator.finish(caller)) == response[1..]);
}

#[test]
fn runtime_and_caller_get_an_error_for_an_unknown_response_mode() {
    let emulator = Emulator::with_test_as_runtime().start();
    let runtime = emulator.runtime_client(0);
    let caller = emulator.begin_call("{}");
    let (request_id, _) = runtime.next();
    let path = format!("/invocation/{request_id}/response");
    let headers = [("Lambda-Runtime-Function-Response-Mode", "Streaming")];
    let taken = runtime.post(&path, &headers, "on");
    assert_eq!(error_of(&taken), error(400, "InvalidFunctionResponseMode"));
    let document = emulator.expect_error(&emulator.finish(caller));
    assert_eq!(document["errorType"], "Runtime.InvalidResponseModeHeader");
}

#[test]
fn a_streamed_response_arrives_as_it_is_written() {
    let emulator = Emulator::with_test_as_runtime().start();
    let runtime = emulator.runtime_client(0);
    let (caller, request_id) = begin_streaming_call(&emulator, &runtime);
    let mut response = begin_stream(&runtime, &request_id, b"5\r\nfirst\r\n");
    // The head and the first part arrive before the second part is sent.
    wait_until(|| caller.is_answered(), LIMIT);
    assert!(!response.is_answered());
    response
        .write(b"7\r\n second\r\n0\r\n\r\n")
        .expect("written");
    assert_eq!(wait_reply(response).status, 202);
    let streamed = emulator.finish(caller);
    let remapped = streamed.header("X-Amzn-Remapped-Content-Type");
    assert_eq!(remapped, Some("text/plain"));
    let parts = parse_messages(&streamed.body);
    let types: Vec<_> = parts
        .iter()
        .map(|part| part.event_type().to_owned())
        .collect();
    assert_eq!(types, ["PayloadChunk", "PayloadChunk", "InvokeComplete"]);
    assert_eq!(parts[0].payload, b"first");
    assert_eq!(parts[1].payload, b" second");
    assert_eq!(parts[2].payload, b"{}");
    // A caller that does not stream gets the complete response.
    let caller = emulator.begin_call("{}");
    let (request_id, _) = runtime.next();
    let body = chunks(b"a whole response", 3, &[]);
    assert_eq!(
        wait_reply(begin_stream(&runtime, &request_id, &body)).status,
        202
    );
    assert_eq!(
        emulator.expect_response(emulator.finish(caller)),
        b"a whole response"
    );
}

#[test]
fn a_stream_that_fails_midway_has_the_error_in_its_trailers() {
    let emulator = Emulator::with_test_as_runtime().start();
    let runtime = emulator.runtime_client(0);
    let document = r#"{"errorType":"Function.Midway","errorMessage":"why"}"#;
    let encoded = BASE64_STANDARD.encode(document);
    let trailers = [
        ("Lambda-Runtime-Function-Error-Type", "Function.Midway"),
        ("Lambda-Runtime-Function-Error-Body", &encoded),
    ];
    let body = chunks(b"half", 4, &trailers);
    let (caller, request_id) = begin_streaming_call(&emulator, &runtime);
    assert_eq!(
        wait_reply(begin_stream(&runtime, &request_id, &body)).status,
        202
    );
    let (response, complete) = parse_response(&emulator.finish(caller).body);
    assert_eq!(response, b"half");
    assert_eq!(complete["ErrorCode"], "Function.Midway");
    assert_eq!(complete["ErrorDetails"], document);
    let caller = emulator.begin_call("{}");
    let (request_id, _) = runtime.next();
    assert_eq!(
        wait_reply(begin_stream(&runtime, &request_id, &body)).status,
        202
    );
    let failed = emulator.finish(caller);
    assert_eq!(emulator.expect_error(&failed)["errorMessage"], "why");
}

#[test]
fn the_end_of_its_sandbox_or_a_timeout_cuts_off_a_stream() {
    let emulator = Emulator::with_test_as_runtime()
        .option("--timeout", "3")
        .start();
    for (number, is_killed) in [(0, true), (1, false)] {
        let runtime = emulator.runtime_client(number);
        let (caller, request_id) = begin_streaming_call(&emulator, &runtime);
        let response = begin_stream(&runtime, &request_id, b"4\r\nhalf\r\n");
        wait_until(|| caller.is_answered(), LIMIT);
        if is_killed {
            let pid = Pid::from_raw(runtime.pid.try_into().expect("a pid"));
            kill(pid, Signal::SIGKILL).expect("killed");
            drop(response);
        }
        let (content, complete) = parse_response(&emulator.finish(caller).body);
        assert_eq!(content, b"half");
        assert_eq!(complete["ErrorCode"], "Runtime.TruncatedResponse");
        emulator.wait_log_count("\nREPORT ", number + 1);
        let next = emulator.begin_call("next");
        let runtime = emulator.runtime_client(number + 1);
        let (request_id, _) = runtime.next();
        assert_eq!(runtime.respond(&request_id, "on").status, 202);
        assert_eq!(emulator.expect_response(emulator.finish(next)), b"on");
    }
    let log = emulator.stdout();
    assert!(
        log.contains("\tStatus: error\tError Type: Runtime.ExitError\t\n"),
        "{log}"
    );
    assert!(log.contains("\tStatus: timeout\t\n"), "{log}");
}

/// The messages are those of Lambda, which come from Go.
#[test]
fn the_error_has_the_exit_status_of_a_bootstrap() {
    for (status, expected) in [
        ("0", "Runtime exited without providing a reason"),
        ("7", "Runtime exited with error: exit status 7"),
    ] {
        let builder = Emulator::empty().arg("function.handler");
        let program = "#!/bin/bash\ncurl -s \"http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next\"\nexit \"$STATUS\"\n";
        let bootstrap = builder.task_root.write_program("exits", program);
        let builder = builder.option("--bootstrap", &bootstrap.to_string_lossy());
        let emulator = builder.option("--env", &format!("STATUS={status}")).start();
        let document = emulator.fail("{}");
        assert_eq!(document["errorType"], "Runtime.ExitError");
        let message = document["errorMessage"].as_str().unwrap_or_default();
        assert!(
            message.ends_with(&format!(" Error: {expected}")),
            "{document}"
        );
    }
}

/// AWS's emulator gives the same answer.
#[test]
fn the_logs_api_is_not_supported() {
    let emulator = Emulator::with_test_as_runtime().start();
    let runtime = emulator.runtime_client(0);
    let answer = wait_reply(runtime.begin("PUT", "/2020-08-15/logs", &[], "{}"));
    assert_eq!(error_of(&answer), error(202, "Logs.NotSupported"));
}
