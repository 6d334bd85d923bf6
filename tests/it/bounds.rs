//! A handler can print without end, flood coshell's own descriptors, leave processes running, and send signals. `bootstrap`
//! then needs no more memory or threads, stays alive, and answers the next event.

use std::time::Duration;

use support::{Event, Sandbox, SandboxBuilder, status_field, wait_until};

const MAX_MEMORY_KIB: u64 = 16 * 1024;
/// The largest response that Lambda takes.
const MAX_RESPONSE_BYTES: usize = 6_291_556;

/// The peak memory of bootstrap, in KiB.
fn peak_memory(sandbox: &Sandbox) -> u64 {
    let peak = status_field(sandbox.bootstrap.pid(), "VmHWM").expect("its memory");
    let number = peak.split(' ').next().unwrap_or_default();
    number.parse().expect("a number")
}

fn message(document: &serde_json::Value) -> &str {
    document["errorMessage"].as_str().expect("a message")
}

/// A handler of each kind that runs `body`, with the event as `$1`. Each comes with the name of its kind.
fn handlers_of_each_kind(body: &str) -> Vec<(String, SandboxBuilder)> {
    let mut builders = Vec::new();
    for isolation in ["restore", "none", "subshell", "process"] {
        let builder = Sandbox::of(&format!("handler() {{\n{body}\n}}"));
        builders.push((
            isolation.to_owned(),
            builder.env("COSHELL_ISOLATION", isolation),
        ));
    }
    let script = format!("#!/bin/bash\nset -eu\n{body}\n");
    let builder = Sandbox::empty().file("whole.sh", script);
    builders.push((
        "script".to_owned(),
        builder.handler("whole.sh").event_as_argument(),
    ));
    let perl = "#!/usr/bin/env perl\nexec 'bash', \"$ENV{LAMBDA_TASK_ROOT}/body\", <STDIN>;\n";
    let builder = Sandbox::empty()
        .executable("program", perl)
        .file("body", format!("set -eu\n{body}\n"));
    builders.push((
        "executable".to_owned(),
        builder.handler("program").event_as_argument(),
    ));
    builders
}

#[test]
fn a_response_beyond_the_limit_is_counted_but_not_stored() {
    let body = "[[ $1 != large ]] || head -c 300000001 /dev/zero; printf '%s' \"$1\"";
    for (kind, builder) in handlers_of_each_kind(body) {
        let sandbox = builder.start();
        let document = sandbox.fail("large");
        assert_eq!(
            document["errorType"], "Function.ResponseSizeTooLarge",
            "{kind}"
        );
        let wanted = format!(
            "response of 300000006 bytes is larger than the {MAX_RESPONSE_BYTES} bytes that Lambda accepts"
        );
        assert_eq!(message(&document), wanted, "{kind}");
        let peak = peak_memory(&sandbox);
        assert!(peak < MAX_MEMORY_KIB, "{kind}: {peak} KiB");
        assert_eq!(sandbox.respond("small"), b"small", "{kind}");
    }
}

#[test]
fn a_handler_that_prints_until_its_deadline_needs_no_more_memory() {
    for (kind, builder) in handlers_of_each_kind("[[ $1 != endless ]] || yes; printf '%s' \"$1\"") {
        let sandbox = builder.env("COSHELL_DEADLINE_MARGIN_MS", "1000").start();
        let event = Event::fresh("endless").with_deadline_in(Duration::from_secs(2));
        let document = sandbox.invoke(event).error_document();
        assert_eq!(document["errorType"], "Function.Timeout", "{kind}");
        let peak = peak_memory(&sandbox);
        assert!(peak < MAX_MEMORY_KIB, "{kind}: {peak} KiB");
        assert_eq!(sandbox.respond("small"), b"small", "{kind}");
    }
}

#[test]
fn the_largest_http_response_document_needs_little_memory() {
    let script =
        "handler() { lambda_http_response 200; head -c \"$1\" /dev/zero | tr '\\0' \"${2-x}\"; }
binary() { lambda_http_response 200; head -c \"$1\" /dev/zero | tr '\\0' '\\377'; }";
    for (function, count) in [("handler", 6_290_000), ("binary", 4_700_000)] {
        let sandbox = Sandbox::of(script)
            .handler(&format!("function.{function}"))
            .start();
        let response = sandbox.respond(count.to_string());
        let document: serde_json::Value = serde_json::from_slice(&response).expect("JSON");
        let length = document["body"].as_str().expect("a body").len();
        let wanted = if function == "binary" {
            usize::div_ceil(count, 3) * 4
        } else {
            count
        };
        assert_eq!(length, wanted);
        let peak = peak_memory(&sandbox);
        assert!(peak < MAX_MEMORY_KIB, "{function}: {peak} KiB");
        let document = sandbox.fail("6291556");
        assert_eq!(document["errorType"], "Function.ResponseSizeTooLarge");
    }
}

/// Newlines at the end are stripped, as `$(...)` does it.
#[test]
fn newlines_at_the_end_do_not_count_towards_the_size_limit() {
    let body = "printf a; head -c 9000000 /dev/zero | tr '\\0' '\\n'; [[ $1 != more ]] || printf b";
    let sandbox = Sandbox::of(&format!("handler() {{ {body}; }}")).start();
    assert_eq!(sandbox.respond("none"), b"a");
    let document = sandbox.fail("more");
    assert!(
        message(&document).starts_with("response of 9000002 bytes"),
        "{document}"
    );
    let kept = Sandbox::of(&format!("handler() {{ {body}; }}"))
        .env("COSHELL_TRAILING_NEWLINES", "keep")
        .start();
    let document = kept.fail("none");
    assert!(
        message(&document).starts_with("response of 9000001 bytes"),
        "{document}"
    );
}

#[test]
fn a_response_that_is_too_large_already_cannot_be_streamed() {
    let script = "handler() { head -c 9000000 /dev/zero; lambda_stream_response; echo end; }";
    let sandbox = Sandbox::of(script).start();
    let document = sandbox.fail("x");
    assert_eq!(document["errorType"], "Function.ResponseSizeTooLarge");
}

/// The handler floods the descriptor on which the driver reports, also with forged records.
#[test]
fn a_flood_on_the_control_descriptor_needs_no_memory_and_hides_no_report() {
    let floods = [
        "head -c 10000000 /dev/zero >&63",
        "yes | head -c 10000000 >&63",
        "yes 'died?return?1??false?f /no/such:1?died?' | tr '?' '\\0' | head -c 10000000 >&63",
        "yes 'respond?4000?no-such-id?/no/such:1?http?200?' | tr '?' '\\0' | head -c 10000000 >&63",
        "printf 'respond\\x004096\\0' >&63; for i in {1..20000}; do printf 'some words\\0' >&63; done",
        "printf 'died\\0' >&63; for i in {1..20000}; do printf 'some words' >&63; done",
    ];
    for isolation in ["restore", "none", "subshell", "process"] {
        let cases: Vec<_> = floods
            .iter()
            .enumerate()
            .map(|(number, flood)| format!("{number}) {flood} || : ;;\n"))
            .collect();
        let cases = cases.concat();
        let script = format!(
            "handler() {{\ncase $1 in\n{cases}esac\n[[ ${{2-}} ]] || printf '%s' \"$1\"; [[ $1 != 5 ]] || return 7\n}}"
        );
        let sandbox = Sandbox::of(&script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for number in 0..5 {
            let event = number.to_string();
            assert_eq!(sandbox.respond(&event), event.as_bytes());
        }
        let document = sandbox.fail("5");
        assert_eq!(
            message(&document),
            "handler returned status 7",
            "{isolation}"
        );
        assert_eq!(sandbox.respond("end"), b"end", "{isolation}");
        let peak = peak_memory(&sandbox);
        assert!(peak < MAX_MEMORY_KIB, "{isolation}: {peak} KiB");
    }
}

#[test]
fn a_stack_trace_has_the_innermost_frames_of_a_deep_stack() {
    let script = "deeper() { if (($1 == 0)); then false; fi; deeper $(($1 - 1)); }
handler() { deeper 3000; }";
    let sandbox = Sandbox::of(script).start();
    let document = sandbox.fail("x");
    let stack = document["stackTrace"].as_array().expect("an array");
    assert_eq!(stack.len(), 100, "{document}");
    assert!(
        message(&document).starts_with("`false` ended with status 1 in deeper"),
        "{document}"
    );
}

#[test]
fn leftover_processes_need_no_thread_each() {
    let script =
        "handler() { bash -c 'read -r _ <\"$LAMBDA_TASK_ROOT/gate\"' & printf '%s' \"$1\"; }";
    for lanes in [1, 2] {
        let mut builder = Sandbox::of(script).env("COSHELL_ISOLATION", "none");
        if lanes > 1 {
            builder = builder.lanes(lanes);
        }
        builder.task_root().fifo("gate");
        let sandbox = builder.start();
        let threads = || status_field(sandbox.bootstrap.pid(), "Threads");
        sandbox.respond("first");
        sandbox.api.wait_all_parked(lanes);
        let before = threads();
        for number in 0..12 {
            sandbox.respond(number.to_string());
        }
        sandbox.api.wait_all_parked(lanes);
        assert_eq!(threads(), before, "{lanes} lanes");
    }
}

#[test]
fn more_headers_than_can_be_sent_are_an_error() {
    let script = r#"
handler() {
  local headers=() i
  for ((i = 0; i < $1; i++)); do headers+=("X-Header-$i: ${LONG-value}"); done
  lambda_http_response 200 "${headers[@]}"
  echo sent
}
ignoring() {
  local fields=() i
  for ((i = 0; i < $1; i++)); do fields+=("X-Header-$i: value"); done
  printf '%s\0' respond "$(($1 + 4))" "$LAMBDA_RUNTIME_AWS_REQUEST_ID" file:1 http 200 "${fields[@]}" >&63
  echo sent
}"#;
    let sandbox = Sandbox::of(script).start();
    let response = sandbox.respond("4000");
    let document: serde_json::Value = serde_json::from_slice(&response).expect("JSON");
    let headers = document["headers"].as_object().expect("headers");
    assert_eq!(headers.len(), 4000);
    let document = sandbox.fail("4001");
    assert_eq!(
        message(&document).lines().next(),
        Some("`lambda_http_response` ended with status 2 in handler (FILE:5)")
            .map(|text| text.replace(
                "FILE",
                &format!("{}/function.sh", sandbox.task_root.path().display())
            ))
            .as_deref()
    );
    assert!(
        message(&document).contains("lambda_http_response: cannot use 4001 headers"),
        "{document}"
    );
    // A handler that writes to the control descriptor itself meets the same limit.
    let sandbox = Sandbox::of(script).handler("function.ignoring").start();
    let document = sandbox.fail("4094");
    assert_eq!(document["errorType"], "Function.InvalidResponse");
    assert!(
        message(&document).contains("cannot send 4094 headers"),
        "{document}"
    );
    let long = "x".repeat(100_000);
    let sandbox = Sandbox::of(script).env("LONG", &long).start();
    assert!(sandbox.respond("2").len() > 200_000);
    let document = sandbox.fail("3");
    assert!(
        message(&document).contains("cannot use 3 headers of 3000"),
        "{document}"
    );
}

/// These signals end a program that does not handle them. A handler can find the pid of bootstrap.
#[test]
fn signals_from_a_handler_do_not_end_bootstrap() {
    const SIGNALS: [&str; 12] = [
        "HUP", "QUIT", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "XCPU", "RTMIN",
        "RTMAX",
    ];
    let body =
        "[[ $1 == end ]] || kill -s \"$1\" \"$(<\"$LAMBDA_TASK_ROOT/host\")\"; printf '%s' \"$1\"";
    for (kind, builder) in handlers_of_each_kind(body) {
        let sandbox = builder.start();
        let host = sandbox.bootstrap.pid().to_string();
        sandbox.task_root.write("host", host);
        for signal in SIGNALS {
            assert_eq!(sandbox.respond(signal), signal.as_bytes(), "{kind}");
        }
        assert_eq!(sandbox.respond("end"), b"end", "{kind}");
        assert!(sandbox.bootstrap.is_running(), "{kind}");
    }
}

#[test]
fn signals_end_the_programs_of_a_handler_as_usual() {
    let body = "for name in HUP QUIT USR1 ALRM RTMIN; do sh -c \"kill -s $name \\$\\$\" 2>/dev/null && echo \"$name passes\"; done; echo done";
    for (kind, builder) in handlers_of_each_kind(body) {
        assert_eq!(builder.start().respond("x"), b"done", "{kind}");
    }
}

#[test]
fn signals_between_events_do_not_end_bootstrap() {
    let script = "handler() { (until [[ -e $LAMBDA_TASK_ROOT/go ]]; do sleep 0.01; done; kill -HUP $PPID; kill -USR1 $PPID; : >\"$LAMBDA_TASK_ROOT/sent\") >/dev/null 2>&1 & printf '%s' \"$1\"; }";
    let sandbox = Sandbox::of(script).start();
    sandbox.respond("one");
    sandbox.api.wait_parked();
    sandbox.task_root.write("go", "");
    wait_until(|| sandbox.task_root.exists("sent"), support::LIMIT);
    assert_eq!(sandbox.respond("two"), b"two");
}
