//! The log of a handler. It is passed on at once, completely, and before the answer.

use nix::sys::signal::Signal;
use serde_json::Value;

use support::{Event, Gate, LIMIT, Reply, Sandbox, SandboxBuilder, wait_until};

pub(crate) fn json(builder: SandboxBuilder) -> SandboxBuilder {
    builder.env("AWS_LAMBDA_LOG_FORMAT", "JSON")
}

/// Parses a log whose lines must all be JSON objects.
#[track_caller]
pub(crate) fn records(log: &str) -> Vec<Value> {
    let parse = |line: &str| {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value.is_object(), "{line}");
        value
    };
    log.lines().map(parse).collect()
}

/// Runs one invocation and ends the process. Returns the log records.
#[track_caller]
pub(crate) fn records_of(builder: SandboxBuilder, event: Event) -> Vec<Value> {
    let sandbox = builder.start();
    sandbox.invoke(event);
    sandbox.api.wait_parked();
    records(&sandbox.bootstrap.final_log())
}

#[track_caller]
pub(crate) fn messages(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["message"].as_str().expect("a message"))
        .collect()
}

#[test]
fn standard_error_is_passed_on_while_the_handler_runs() {
    for format in ["Text", "JSON"] {
        let builder = Sandbox::of(
            "handler() { echo early >&2; read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; echo late >&2; printf on; }",
        );
        builder.task_root().fifo("gate");
        let sandbox = builder.env("AWS_LAMBDA_LOG_FORMAT", format).start();
        sandbox.api.push(Event::new("x", ""));
        sandbox.bootstrap.wait_log("early");
        assert!(sandbox.api.answers("x").is_empty() && !sandbox.bootstrap.log().contains("late"));
        sandbox.task_root.release("gate");
        assert_eq!(sandbox.api.wait_answer("x").body, b"on");
        sandbox.bootstrap.wait_log("late");
    }
}

#[test]
fn a_partial_line_is_passed_on_in_text_format_and_completed_in_json_format() {
    let script = "handler() { printf 'one ' >&2; read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; printf 'two\\nthree' >&2; printf on; }";
    let builder = Sandbox::of(script);
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    sandbox.api.push(Event::new("x", ""));
    sandbox.bootstrap.wait_log("one ");
    sandbox.task_root.release("gate");
    sandbox.api.wait_answer("x");
    assert_eq!(sandbox.bootstrap.final_log(), "one two\nthree");

    let builder = json(Sandbox::of(script));
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    sandbox.api.push(Event::new("x", ""));
    sandbox.task_root.release("gate");
    sandbox.api.wait_answer("x");
    let records = records(&sandbox.bootstrap.final_log());
    assert_eq!(messages(&records), ["one two", "three"]);
}

#[test]
fn a_line_of_bootstrap_begins_where_a_line_begins() {
    let sandbox = Sandbox::of("handler() { printf 'part of a line' >&2; return 3; }").start();
    for id in ["one", "two"] {
        sandbox.invoke(Event::new(id, ""));
    }
    sandbox.api.wait_parked();
    let expected = ["one", "two"].map(|id| {
        format!(
            "part of a line\nbootstrap: error: Function.HandlerFailed: \
             handler returned status 3 (request id {id})\n"
        )
    });
    assert_eq!(sandbox.bootstrap.final_log(), expected.concat());
}

#[test]
fn no_line_is_lost_at_a_high_rate() {
    let sandbox = Sandbox::of("handler() { seq -f 'line %.0f' 1 200000 >&2; printf on; }").start();
    assert_eq!(sandbox.respond("x"), b"on");
    let log = sandbox.bootstrap.final_log();
    let expected = (1..=200_000).map(|number| format!("line {number}"));
    assert!(
        log.lines().eq(expected),
        "{} lines, {} bytes",
        log.lines().count(),
        log.len()
    );
}

#[test]
fn a_line_of_five_mebibytes_is_passed_on_completely() {
    const LEN_BYTES: usize = 5 * 1024 * 1024;
    let script = "handler() { head -c 5242880 /dev/zero | tr '\\0' x >&2; echo >&2; echo after >&2; printf on; }";
    let sandbox = Sandbox::of(script).start();
    assert_eq!(sandbox.respond("x"), b"on");
    let log = sandbox.bootstrap.final_log();
    let mut lines = log.lines();
    let first = lines.next().expect("a line");
    assert!(
        first.len() == LEN_BYTES && first.bytes().all(|byte| byte == b'x'),
        "{} bytes",
        first.len()
    );
    assert_eq!(lines.collect::<Vec<_>>(), ["after"]);

    let records = records_of(json(Sandbox::of(script)), Event::fresh("x"));
    let messages = messages(&records);
    assert_eq!(
        messages.iter().map(|text| text.len()).collect::<Vec<_>>(),
        [LEN_BYTES, 5]
    );
}

/// A very long line is cut into several records, without losing a byte.
#[test]
fn a_line_larger_than_any_buffer_is_complete() {
    let builder = json(Sandbox::of(
        "handler() { head -c 30000000 /dev/zero | tr '\\0' x >&2; printf on; }",
    ));
    let records = records_of(builder, Event::fresh("x"));
    assert_eq!(
        messages(&records)
            .iter()
            .map(|text| text.len())
            .sum::<usize>(),
        30_000_000
    );
}

/// SIGSTOP stops bootstrap as soon as the answer has arrived, so a log line that is missing then was not written before the
/// answer. 60 KB of empty lines, about as much as a pipe holds, are much work in JSON.
#[test]
fn the_log_is_drained_before_the_answer() {
    for (format, end) in [
        ("Text", "printf on"),
        ("JSON", "printf on"),
        ("JSON", "return 3"),
        ("JSON", "exit 3"),
        ("JSON", "kill -9 $$"),
        ("JSON", "exec true"),
    ] {
        let script = format!(
            "handler() {{ head -c 60000 /dev/zero | tr '\\0' '\\n' >&2; echo 'the last line' >&2; {end}; }}"
        );
        let sandbox = Sandbox::of(&script)
            .env("AWS_LAMBDA_LOG_FORMAT", format)
            .start();
        let gate = Gate::new();
        sandbox.api.reply(Reply::Late(gate.clone()));
        let event = Event::fresh("x");
        let request_id = event.request_id.clone();
        sandbox.api.push(event);
        sandbox.api.wait_answer(&request_id);
        sandbox.bootstrap.signal(Signal::SIGSTOP);
        sandbox.bootstrap.wait_log("the last line");
        sandbox.bootstrap.signal(Signal::SIGCONT);
        gate.open();
    }
}

#[test]
fn bootstrap_itself_logs_nothing_for_a_healthy_invocation() {
    for format in ["Text", "JSON"] {
        let sandbox = Sandbox::of("handler() { printf '%s' \"$1\"; }")
            .env("AWS_LAMBDA_LOG_FORMAT", format)
            .env("AWS_LAMBDA_LOG_LEVEL", "TRACE")
            .start();
        for event in ["one", "two", ""] {
            assert_eq!(sandbox.respond(event), event.as_bytes());
        }
        sandbox.api.wait_parked();
        assert_eq!(sandbox.bootstrap.final_log(), "");
    }
}

#[test]
fn events_and_responses_are_never_logged() {
    let script = "handler() { printf 'RESPONSE-BYTES %s' \"$1\"; case $1 in *return*) return 3 ;; *exit*) exit 3 ;; *false*) false ;; *kill*) kill -9 $$ ;; *unset*) : $never_set ;; *job*) sh -c ': >\"$LAMBDA_TASK_ROOT/started\"; sleep 600' sh \"$1\" & until [[ -e $LAMBDA_TASK_ROOT/started ]]; do :; done ;; esac; }";
    for format in ["Text", "JSON"] {
        let sandbox = Sandbox::of(script)
            .env("AWS_LAMBDA_LOG_FORMAT", format)
            .env("AWS_LAMBDA_LOG_LEVEL", "TRACE")
            .start();
        for kind in ["healthy", "return", "exit", "false", "kill", "unset", "job"] {
            sandbox.invoke(Event::fresh(format!("EVENT-BYTES {kind}")));
        }
        sandbox.api.wait_parked();
        let log = sandbox.bootstrap.final_log();
        assert!(
            log.contains("Function.HandlerFailed")
                && log.contains("is still running after its invocation"),
            "{log}"
        );
        assert!(
            !log.contains("EVENT-BYTES") && !log.contains("RESPONSE-BYTES"),
            "{log}"
        );
    }
}

#[test]
fn in_text_format_the_log_is_passed_on_byte_for_byte() {
    let script =
        r#"handler() { printf 'a\0b\377\376\r\n\033[31m {"level":"debug"}\n\n\n end' >&2; }"#;
    let sandbox = Sandbox::of(script)
        .env("AWS_LAMBDA_LOG_LEVEL", "ERROR")
        .start();
    sandbox.respond("x");
    sandbox.respond("x");
    sandbox.api.wait_parked();
    sandbox.bootstrap.final_log();
    let once = b"a\0b\xff\xfe\r\n\x1b[31m {\"level\":\"debug\"}\n\n\n end";
    assert_eq!(
        sandbox.bootstrap.log_bytes().escape_ascii().to_string(),
        [&once[..], once].concat().escape_ascii().to_string()
    );
}

#[test]
fn no_line_of_several_writers_is_lost() {
    let script = "handler() { local w; for w in {1..8}; do seq -f \"writer $w line %.0f\" 1 2000 >&2 & done; wait; printf on; }";
    for format in ["Text", "JSON"] {
        let sandbox = Sandbox::of(script)
            .env("AWS_LAMBDA_LOG_FORMAT", format)
            .start();
        assert_eq!(sandbox.respond("x"), b"on");
        sandbox.api.wait_parked();
        let log = sandbox.bootstrap.final_log();
        let text = |line: &str| match format {
            "Text" => line.to_owned(),
            _ => records(line)[0]["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        let mut bytes: usize = 0;
        for line in log.lines().map(text) {
            bytes += line.len() + usize::from(format == "Text");
        }
        let expected: usize = (1..=8)
            .flat_map(|writer| {
                (1..=2000).map(move |line| format!("writer {writer} line {line}").len())
            })
            .sum();
        // seq writes whole buffers, which may be interleaved in the pipe. But no byte may be lost.
        let newlines = if format == "Text" {
            log.lines().count()
        } else {
            0
        };
        assert_eq!(bytes - newlines, expected, "{format}");
        assert_eq!(log.lines().count(), 16_000, "{format}");
    }
}

#[test]
fn the_log_of_a_leftover_process_is_passed_on_between_invocations() {
    let sandbox = Sandbox::of(
        "handler() { { read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; seq 1 50000; echo done; } >&2 </dev/null & printf on; }",
    );
    sandbox.task_root().fifo("gate");
    let sandbox = sandbox.start();
    assert_eq!(sandbox.respond_to(Event::new("the-id", "x")), b"on");
    sandbox.api.wait_parked();
    sandbox.task_root.release("gate");
    sandbox
        .bootstrap
        .wait_log("\n[the-id] 50000\n[the-id] done\n");
}

#[test]
fn an_endless_log_does_not_delay_the_answer() {
    let sandbox = Sandbox::of("handler() { { while :; do echo noise || exit; done; } >&2 2>/dev/null </dev/null & printf on; }").start();
    // The noise has no end, so an answer that waited for it would never come.
    assert_eq!(sandbox.respond("x"), b"on");
    wait_until(|| sandbox.api.next_count() == 2, LIMIT);
}
