//! Streamed responses: when they begin, how they end, and failures midway.

use std::time::Duration;

use nix::sys::signal::Signal;

use support::{Call, Event, LIMIT, Sandbox, resident_bytes, wait_until};

/// Prints `first`, and goes on when the test opens the gate.
const WAITS_AT_GATE: &str = "handler() {
  printf 'first\\n'
  read -r _ <\"$LAMBDA_TASK_ROOT/gate\"
  printf 'second\\n\\n'
}
";

fn streaming_sandbox(script: &str) -> support::sandbox::SandboxBuilder {
    let builder = Sandbox::of(script).env("COSHELL_RESPONSE_MODE", "streaming");
    builder.task_root().fifo("gate");
    builder
}

/// Runs one invocation whose response must be streamed without an error. Returns the POST.
#[track_caller]
pub(crate) fn expect_stream(sandbox: &Sandbox, event: &str) -> Call {
    let answer = sandbox.invoke(Event::fresh(event));
    assert_streamed(&answer, sandbox);
    let transcript = sandbox.api.transcript();
    assert_eq!(answer.trailers, [], "{transcript}");
    answer
}

#[track_caller]
fn assert_streamed(answer: &Call, sandbox: &Sandbox) {
    let mode = answer.header("Lambda-Runtime-Function-Response-Mode");
    let is_streamed = answer.is_response() && mode == Some("streaming");
    assert!(is_streamed, "{answer:?}\n{}", sandbox.api.transcript());
}

/// Runs one invocation that must fail after its response has begun. Returns the body so far and the error document.
#[track_caller]
pub(crate) fn expect_broken_stream(sandbox: &Sandbox, event: &str) -> (Vec<u8>, serde_json::Value) {
    let answer = sandbox.invoke(Event::fresh(event));
    assert_streamed(&answer, sandbox);
    let document = answer.trailer_error_document();
    let error_type = answer.trailer("Lambda-Runtime-Function-Error-Type");
    assert_eq!(error_type, document["errorType"].as_str());
    (answer.body, document)
}

#[test]
fn output_is_sent_while_the_handler_runs() {
    let sandbox = streaming_sandbox(WAITS_AT_GATE).start();
    let event = Event::new("early", "").header("Lambda-Runtime-Invocation-Id", "attempt-1");
    sandbox.api.push(event);
    let begun = sandbox
        .api
        .wait_partial_answer("early", |call| call.body == b"first\n");
    assert!(!begun.is_whole);
    sandbox.task_root.release("gate");
    let answer = sandbox.api.wait_answer("early");
    assert_eq!(answer.body, b"first\nsecond\n\n");
    assert_eq!(answer.trailers, []);
    let wanted = [
        ("Lambda-Runtime-Function-Response-Mode", "streaming"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Type", "application/octet-stream"),
        ("Connection", "close"),
        ("Lambda-Runtime-Invocation-Id", "attempt-1"),
        ("Host", &sandbox.api.address()),
        ("User-Agent", concat!("coshell/", env!("CARGO_PKG_VERSION"))),
    ];
    for (name, value) in wanted {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let announced = answer
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("Trailer"));
    let announced: Vec<_> = announced
        .map(|(_, value)| value.to_ascii_lowercase())
        .collect();
    assert_eq!(
        announced.join(", "),
        "lambda-runtime-function-error-type, lambda-runtime-function-error-body"
    );
    assert_eq!(answer.header("Content-Length"), None);
}

/// All other requests use one connection, which stays open.
#[test]
fn each_stream_has_its_own_connection_which_is_closed() {
    let sandbox = streaming_sandbox("handler() { echo \"$1\"; }").start();
    let used: Vec<_> = (0..3)
        .map(|_| expect_stream(&sandbox, "event").connection)
        .collect();
    sandbox.api.wait_parked();
    assert_eq!(used, [2, 3, 4]);
    wait_until(|| sandbox.api.open_connection_count() == 1, LIMIT);
    let nexts = sandbox.api.calls();
    let mut nexts = nexts.iter().filter(|call| call.is_next());
    assert!(nexts.all(|call| call.connection == 1));
}

#[test]
fn the_bytes_of_a_stream_are_exact() {
    let script = "handler() {
  cat
  head -c 3000000 /dev/zero
  printf 'end\\n\\n\\n'
}
";
    let sandbox = streaming_sandbox(script).start();
    let event: Vec<u8> = (0..=255).collect();
    let answer = sandbox.invoke(Event::fresh(&event));
    let wanted = [event, vec![0; 3_000_000], b"end\n\n\n".to_vec()].concat();
    assert!(answer.body == wanted, "{} bytes", answer.body.len());
}

#[test]
fn a_response_without_output_is_an_empty_stream() {
    let sandbox = streaming_sandbox("handler() { :; }").start();
    assert_eq!(expect_stream(&sandbox, "event").body, b"");
}

#[test]
fn a_failure_before_the_first_byte_is_an_ordinary_error() {
    let script = "handler() { echo 'its log' >&2; return 3; }";
    let sandbox = streaming_sandbox(script).start();
    let document = sandbox.fail("event");
    assert_eq!(document["errorType"], "Function.HandlerFailed");
    assert!(
        document["errorMessage"]
            .as_str()
            .unwrap()
            .contains("its log")
    );
    sandbox.api.wait_parked();
    assert_eq!(sandbox.api.connection_count(), 1);
}

#[test]
fn the_trailers_have_the_error_of_a_failure_after_the_first_byte() {
    let script = "handler() {
  echo before
  case $1 in
    return) return 3 ;;
    exit) exit 4 ;;
    errexit) false ;;
    unset) echo \"$NOPE\" ;;
    kill) kill -9 $$ ;;
    exec) exec sh -c 'echo then; exit 5' ;;
  esac
}
";
    let sandbox = streaming_sandbox(script).start();
    let cases = [
        ("return", "before\n", "Function.HandlerFailed"),
        ("exit", "before\n", "Function.HandlerExited"),
        ("errexit", "before\n", "Function.CommandFailed"),
        ("unset", "before\n", "Function.ShellExited"),
        ("kill", "before\n", "Function.ShellKilled"),
        ("exec", "before\nthen\n", "Function.ShellExited"),
    ];
    for (event, body, error_type) in cases {
        // Bootstrap may see the failure before the first byte, but must stream all the same.
        let broken = expect_broken_stream(&sandbox, event);
        assert_eq!(String::from_utf8_lossy(&broken.0), body, "{event}");
        assert_eq!(broken.1["errorType"], error_type, "{event}");
    }
    let frames = expect_broken_stream(&sandbox, "errexit").1["stackTrace"].clone();
    assert_eq!(
        frames[0].as_str().unwrap().split(" (").next(),
        Some("handler")
    );
    assert_eq!(expect_stream(&sandbox, "well").body, b"before\n");
}

/// Most servers limit the size of trailers. A document that is too long loses its log first.
#[test]
fn a_long_error_document_is_shortened_to_fit_into_its_trailer() {
    let script = "handler() {
  echo before
  deep 90
}
deep() {
  if (($1)); then
    a_function_whose_name_is_as_long_as_names_get_in_scripts_that_have_grown_over_the_years \"$1\"
  else
    head -c 4000 /dev/zero | tr '\\0' x >&2
    false
  fi
}
a_function_whose_name_is_as_long_as_names_get_in_scripts_that_have_grown_over_the_years() { deep $(($1 - 1)); }
";
    let sandbox = streaming_sandbox(script).start();
    let answer = sandbox.invoke(Event::fresh("event"));
    let length = answer
        .trailer("Lambda-Runtime-Function-Error-Body")
        .unwrap()
        .len();
    assert!(length <= 12 * 1024, "{length}");
    let document = answer.trailer_error_document();
    assert_eq!(document["errorType"], "Function.CommandFailed");
    assert!(
        document["stackTrace"][0]
            .as_str()
            .unwrap()
            .starts_with("deep ")
    );
}

#[test]
fn every_isolation_streams() {
    for isolation in ["none", "subshell", "process"] {
        let sandbox = streaming_sandbox(WAITS_AT_GATE)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for round in 0..2 {
            let request_id = format!("{isolation}-{round}");
            sandbox.api.push(Event::new(&request_id, ""));
            sandbox
                .api
                .wait_partial_answer(&request_id, |call| call.body == b"first\n");
            sandbox.task_root.release("gate");
            let answer = sandbox.api.wait_answer(&request_id);
            assert_eq!(answer.body, b"first\nsecond\n\n", "{request_id}");
        }
    }
}

#[test]
fn scripts_and_executables_stream() {
    let body = "printf 'first\\n'\nread -r _ <\"$LAMBDA_TASK_ROOT/gate\"\nprintf 'second\\n\\n'\n[ ! -e \"$LAMBDA_TASK_ROOT/fails\" ]\n";
    for first_line in ["#!/bin/bash", "#!/usr/bin/env -S sh -eu"] {
        let builder = Sandbox::empty()
            .handler("legacy")
            .event_as_argument()
            .executable("legacy", format!("{first_line}\n{body}"))
            .env("COSHELL_RESPONSE_MODE", "streaming");
        builder.task_root().fifo("gate");
        let sandbox = builder.start();
        sandbox.api.push(Event::new("well", ""));
        sandbox
            .api
            .wait_partial_answer("well", |call| call.body == b"first\n");
        sandbox.task_root.release("gate");
        let answer = sandbox.api.wait_answer("well");
        assert_eq!(answer.body, b"first\nsecond\n\n", "{first_line}");
        assert_eq!(answer.trailers, []);
        sandbox.task_root.write("fails", "");
        sandbox.api.push(Event::new("fails", ""));
        sandbox
            .api
            .wait_partial_answer("fails", |call| call.body == b"first\n");
        sandbox.task_root.release("gate");
        let answer = sandbox.api.wait_answer("fails");
        let document = answer.trailer_error_document();
        assert_eq!(
            document["errorType"], "Function.HandlerExited",
            "{first_line}"
        );
    }
}

#[test]
fn a_leftover_process_cannot_write_to_a_stream() {
    let script = "handler() {
  if [[ $1 == leaves ]]; then
    { read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; echo late; echo logged >&2; } &
  fi
  echo \"$1\"
}
";
    let sandbox = streaming_sandbox(script).start();
    assert_eq!(expect_stream(&sandbox, "leaves").body, b"leaves\n");
    sandbox
        .bootstrap
        .wait_log("is still running after its invocation");
    sandbox.task_root.release("gate");
    sandbox.bootstrap.wait_log("logged");
    assert_eq!(expect_stream(&sandbox, "next").body, b"next\n");
    sandbox.bootstrap.wait_log("late");
}

/// If the handler has closed its descriptors, the report of the shell comes through the pipe of the response. It must not
/// reach the caller.
#[test]
fn the_report_of_a_handler_that_closes_everything_is_not_sent() {
    let script = "handler() {
  echo output
  for fd in /proc/$$/fd/*; do
    fd=${fd##*/}
    ((fd < 3 || fd == 255)) || eval \"exec $fd>&-\"
  done
  return \"$1\"
}
";
    for isolation in ["none", "subshell"] {
        let sandbox = streaming_sandbox(script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        assert_eq!(expect_stream(&sandbox, "0").body, b"output\n");
        assert_eq!(expect_broken_stream(&sandbox, "3").0, b"output\n");
        assert_eq!(expect_stream(&sandbox, "0").body, b"output\n");
    }
}

/// The output looks like the beginning of a report.
#[test]
fn a_handler_may_print_its_traps() {
    let script = "handler() { trap -p EXIT; sleep 0.01; trap -p EXIT; }";
    let sandbox = streaming_sandbox(script).start();
    let trap = "trap -- '\\__driver_rare __driver_on_exit \"$?\"' EXIT\n";
    let body = expect_stream(&sandbox, "event").body;
    assert_eq!(String::from_utf8_lossy(&body), trap.repeat(2));
}

#[test]
fn the_output_of_an_exit_trap_is_part_of_the_stream() {
    let script = "handler() { trap 'echo bye' EXIT; echo hello; }";
    let sandbox = streaming_sandbox(script).start();
    assert_eq!(expect_stream(&sandbox, "event").body, b"hello\nbye\n");
}

#[test]
fn the_trailers_have_the_error_of_a_timeout() {
    for (isolation, handler) in [
        ("none", "function.handler"),
        ("subshell", "function.handler"),
        ("none", "legacy.sh"),
    ] {
        let sandbox = streaming_sandbox("handler() { echo before; sleep 60; }")
            .file("legacy.sh", "echo before; sleep 60")
            .handler(handler)
            .env("COSHELL_ISOLATION", isolation)
            .env("COSHELL_DEADLINE_MARGIN_MS", "500")
            .start();
        // On a busy machine the handler may not write before it is stopped. Then a later deadline is tried.
        let begun = [1500, 4000, 15_000].into_iter().find_map(|time_ms| {
            let deadline = Duration::from_millis(time_ms);
            let answer = sandbox.invoke(Event::fresh("").with_deadline_in(deadline));
            answer.is_response().then_some(answer)
        });
        let answer = begun.expect("a response that has begun");
        assert_eq!(answer.body, b"before\n", "{isolation}");
        let document = answer.trailer_error_document();
        assert_eq!(document["errorType"], "Function.Timeout", "{isolation}");
        sandbox.api.wait_parked();
    }
}

#[test]
fn the_trailers_have_the_error_of_a_shutdown() {
    let sandbox = streaming_sandbox("handler() { echo before; sleep 60; }").start();
    sandbox.api.push(Event::new("stopped", ""));
    sandbox
        .api
        .wait_partial_answer("stopped", |call| call.body == b"before\n");
    sandbox.bootstrap.signal(Signal::SIGTERM);
    let answer = sandbox.api.wait_answer("stopped");
    let document = answer.trailer_error_document();
    assert_eq!(document["errorType"], "Function.Stopped");
    assert!(sandbox.bootstrap.wait_exit(LIMIT).success());
}

#[test]
fn an_invalid_response_mode_is_an_init_error() {
    let sandbox = Sandbox::of(WAITS_AT_GATE)
        .env("COSHELL_RESPONSE_MODE", "stream")
        .start();
    let document = sandbox.api.wait_init_error().error_document();
    assert_eq!(
        document["errorMessage"],
        "cannot use COSHELL_RESPONSE_MODE: expected buffered or streaming, found stream"
    );
}

#[test]
fn a_long_stream_needs_little_memory_and_leaks_no_descriptor() {
    let script = "handler() { head -c \"$1\" /dev/zero; }";
    let sandbox = streaming_sandbox(script).start();
    // After the first answer a spare shell starts.
    expect_stream(&sandbox, "10");
    expect_stream(&sandbox, "10");
    sandbox.api.wait_parked();
    let pid = sandbox.bootstrap.pid();
    let before = support::open_descriptors(pid).len();
    let (small, answer) = (resident_bytes(pid), expect_stream(&sandbox, "100000000"));
    assert_eq!(answer.body.len(), 100_000_000);
    sandbox.api.wait_parked();
    let peak = support::status_field(pid, "VmHWM").expect("a peak");
    let peak: u64 = peak.split(' ').next().unwrap().parse().unwrap();
    assert!(
        peak * 1024 < small + 16 * 1024 * 1024,
        "{peak} KiB, {small} bytes"
    );
    assert_eq!(support::open_descriptors(pid).len(), before);
}
