//! `lambda_error`, with which a handler names its own error, and `lambda_remaining_ms`.

use std::time::Duration;

use support::{Event, Sandbox};

const ISOLATIONS: [&str; 4] = ["restore", "none", "subshell", "process"];

/// What the caller gets: type and message.
#[track_caller]
fn error_of(sandbox: &Sandbox, event: &str) -> (String, String) {
    let document = sandbox.fail(event);
    let text = |name: &str| document[name].as_str().expect("a text").to_owned();
    (text("errorType"), text("errorMessage"))
}

#[test]
fn an_own_error_ends_the_handler_in_every_isolation() {
    let body = r#"find() { lambda_error Order.NotFound "no order \"$1\""$'\nof this year'; echo never; }
handler() { set -x; if ! find "$1"; then echo never >>"$LAMBDA_TASK_ROOT/out"; fi; echo never >>"$LAMBDA_TASK_ROOT/out"; }"#;
    for isolation in ISOLATIONS {
        for options in ["-euo pipefail", ""] {
            let sandbox = Sandbox::of(body)
                .env("COSHELL_ISOLATION", isolation)
                .env("COSHELL_SHELL_OPTIONS", options)
                .file("out", "")
                .start();
            for number in ["7", "8"] {
                let document = sandbox.fail(number);
                assert_eq!(document["errorType"], "Order.NotFound", "{isolation}");
                let message = format!("no order \"{number}\"\nof this year");
                assert_eq!(document["errorMessage"], *message, "{isolation}");
                let stack = document["stackTrace"].as_array().expect("a stack");
                let functions: Vec<_> = stack
                    .iter()
                    .map(|frame| frame.as_str().expect("a text").rsplit('/').next())
                    .collect();
                let expected = [Some("function.sh:1)"), Some("function.sh:2)")];
                assert_eq!(functions, expected, "{isolation}: {document}");
            }
            assert_eq!(sandbox.task_root.read("out"), "", "{isolation}");
            sandbox.bootstrap.wait_log("Order.NotFound: no order \"8\"");
        }
    }
}

/// With `set -k` bash takes every word that looks like an assignment away from a command, also from ours.
#[test]
fn functions_work_with_keyword_assignments() {
    for isolation in ISOLATIONS {
        for (file, first) in [("set -k", ":"), (":", "set -k")] {
            let script = format!(
                "{file}\nhandler() {{ {first}; case $1 in\n\
                 error) lambda_error Foo bar; echo never ;;\n\
                 http) lambda_http_response 404; echo body ;;\n\
                 get) local a; lambda_get --json '{{\"b\":\"c\"}}' a .b; echo \"$a\" ;;\nesac; }}"
            );
            let sandbox = Sandbox::of(&script)
                .env("COSHELL_ISOLATION", isolation)
                .start();
            for _ in 0..2 {
                let expected = ("Foo".to_owned(), "bar".to_owned());
                assert_eq!(error_of(&sandbox, "error"), expected, "{isolation}");
                let response = String::from_utf8(sandbox.respond("http")).expect("a text");
                assert!(
                    response.contains("\"statusCode\":404"),
                    "{isolation}: {response}"
                );
                assert_eq!(sandbox.respond("get"), b"c", "{isolation}");
            }
        }
    }
}

#[test]
fn the_type_is_in_the_header_too() {
    let sandbox = Sandbox::of("handler() { lambda_error OrderNotFound 'no such order'; }").start();
    let call = sandbox.invoke(Event::fresh("x"));
    assert_eq!(
        call.header("Lambda-Runtime-Function-Error-Type"),
        Some("OrderNotFound")
    );
}

#[test]
fn the_error_of_a_subshell_stays_if_it_fails_the_handler() {
    let body = r#"work() { lambda_error Work.Failed "cannot do $1"; }
substitution() { local text; text=$(work this); echo "never $text"; }
subshell() { (work that); echo never; }
pipeline() { work it | cat; echo never; }
job() { work more & wait "$!"; echo never; }
caught() { (work nothing) || echo caught; }
other() { (work nothing) || :; return 3; }
handler() { "$1"; }"#;
    for isolation in ISOLATIONS {
        let sandbox = Sandbox::of(body)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for (way, object) in [
            ("substitution", "this"),
            ("subshell", "that"),
            ("pipeline", "it"),
            ("job", "more"),
        ] {
            let expected = ("Work.Failed".to_owned(), format!("cannot do {object}"));
            assert_eq!(error_of(&sandbox, way), expected, "{isolation}: {way}");
        }
        assert_eq!(sandbox.respond("caught"), b"caught", "{isolation}");
        let (error_type, _) = error_of(&sandbox, "other");
        assert_ne!(error_type, "Work.Failed", "{isolation}");
        // The subshell may be all that fails.
        sandbox
            .bootstrap
            .wait_log("function.sh: line 1: lambda_error: Work.Failed: cannot do nothing");
    }
}

#[test]
fn a_record_that_fails_with_an_own_error_fails_alone_where_that_can_be_reported() {
    let body =
        "work() { lambda_get id .id; [[ $id != 2 ]] || lambda_error Record.Bad \"record $id\"; }
handler() { lambda_each work; }";
    let records = |source: &str| {
        let record = |id: u32| {
            format!(
                r#"{{"messageId":"m{id}","id":{id},"eventSource":"aws:{source}","EventSource":"aws:{source}"}}"#
            )
        };
        format!(r#"{{"Records":[{},{}]}}"#, record(1), record(2))
    };
    let sandbox = Sandbox::of(body).start();
    let answer = sandbox.respond(records("sqs"));
    let expected = br#"{"batchItemFailures":[{"itemIdentifier":"m2"}]}"#;
    assert_eq!(answer, expected);
    sandbox
        .bootstrap
        .wait_log("lambda_error: Record.Bad: record 2");
    let expected = ("Record.Bad".to_owned(), "record 2".to_owned());
    assert_eq!(error_of(&sandbox, &records("ses")), expected);
}

#[test]
fn an_own_error_runs_the_exit_trap() {
    let body =
        r#"handler() { trap 'echo "trapped $?" >&2' EXIT; lambda_error A.B c; echo never; }"#;
    for isolation in ISOLATIONS {
        let sandbox = Sandbox::of(body)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for _ in 0..2 {
            let expected = ("A.B".to_owned(), "c".to_owned());
            assert_eq!(error_of(&sandbox, "x"), expected, "{isolation}");
        }
        sandbox.bootstrap.wait_log("trapped 1");
    }
}

#[test]
fn a_type_that_lambda_does_not_take_ends_the_handler_too() {
    let body = "handler() {\n  lambda_error $1\n  echo never\n}";
    let sandbox = Sandbox::of(body).start();
    let long = format!("{} message", "a".repeat(129));
    for (arguments, cause) in [
        ("", "cannot use : expected a type and a message"),
        ("Only", "cannot use Only: expected a type and a message"),
        ("9a message", "cannot use type 9a: expected a letter"),
        ("a/b message", "cannot use type a/b: expected a letter"),
        (
            "\u{e4} message",
            "cannot use type \u{e4}: expected a letter",
        ),
        (&long, "expected a letter, and then at most 127"),
        (
            "Runtime.Mine message",
            "cannot use type Runtime.Mine: AWS uses",
        ),
        ("States.Timeout message", "choose another one"),
    ] {
        let (error_type, message) = error_of(&sandbox, arguments);
        assert_eq!(error_type, "Function.HandlerExited", "{arguments}");
        let line = format!("function.sh: line 2: lambda_error: {}", "cannot use");
        assert!(message.contains(&line), "{message}");
        assert!(message.contains(cause), "{arguments}: {message}");
    }
    let longest = format!("{} ok", "a".repeat(128));
    assert_eq!(error_of(&sandbox, &longest).1, "ok");
}

/// Only a call of the event itself counts: not what is printed, and not what an earlier event has left running.
#[test]
fn an_own_error_cannot_be_forged() {
    let body = r#"handler() {
  case $1 in
    prints) printf 'respond\0005\0%s\0f.sh:1\0error\0Forged.Type\0message\0' "$LAMBDA_RUNTIME_AWS_REQUEST_ID" | tee /dev/stderr; return 1 ;;
    another) printf 'respond\0005\0%s\0f.sh:1\0error\0Forged.Type\0message\0' of-another-event >&63; return 1 ;;
    odd) printf 'respond\0005\0%s\0f.sh:1\0error\0Odd\r\nType\0message\0' "$LAMBDA_RUNTIME_AWS_REQUEST_ID" >&63; return 1 ;;
    leaves) (until [[ -e $LAMBDA_TASK_ROOT/go ]]; do read -rt 0.01 <>"$LAMBDA_TASK_ROOT/clock" || :; done; (lambda_error Late.Error late) || : >"$LAMBDA_TASK_ROOT/gone") & ;;
    last) : >"$LAMBDA_TASK_ROOT/go"; until [[ -e $LAMBDA_TASK_ROOT/gone ]]; do read -rt 0.01 <>"$LAMBDA_TASK_ROOT/clock" || :; done; return 1 ;;
  esac
}"#;
    let builder = Sandbox::of(body);
    builder.task_root().fifo("clock");
    let sandbox = builder.start();
    assert_eq!(error_of(&sandbox, "prints").0, "Function.HandlerFailed");
    assert_eq!(error_of(&sandbox, "another").0, "Function.HandlerFailed");
    assert_eq!(error_of(&sandbox, "odd").0, "Function.HandlerFailed");
    sandbox.respond("leaves");
    assert_eq!(error_of(&sandbox, "last").0, "Function.HandlerFailed");
    assert_eq!(error_of(&sandbox, "prints").0, "Function.HandlerFailed");
}

#[test]
fn an_error_while_the_file_is_sourced_belongs_to_no_event() {
    let sandbox = Sandbox::of("lambda_error A.B c || :\nhandler() { :; }").start();
    let error = sandbox.api.wait_init_error().error_document();
    assert_eq!(error["errorType"], "Runtime.HandlerFileExited", "{error}");
    let message = error["errorMessage"].as_str().expect("a message");
    assert!(
        message.contains("lambda_error: there is no invocation"),
        "{message}"
    );
}

#[test]
fn the_time_that_is_left_comes_without_a_process() {
    let body = r#"handler() {
  local ms; lambda_remaining_ms ms; lambda_remaining_ms
  unset EPOCHREALTIME; lambda_remaining_ms seconds; echo "$ms $seconds"
}"#;
    for isolation in ISOLATIONS {
        let sandbox = Sandbox::of(body)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        let text = sandbox.respond_to(Event::fresh("x").with_deadline_in(Duration::from_secs(600)));
        let text = String::from_utf8(text).expect("UTF-8");
        let numbers: Vec<u64> = text
            .split_whitespace()
            .map(|word| word.parse().expect("a number"))
            .collect();
        let [printed, ms, seconds] = numbers[..] else {
            panic!("{text}")
        };
        assert!(printed <= ms && ms <= 600_000 && seconds <= ms, "{text}");
        assert!(seconds > 300_000, "{text}");
    }
}

#[test]
fn a_deadline_that_has_passed_leaves_nothing() {
    let body = r#"handler() { LAMBDA_RUNTIME_DEADLINE_MS=$1; lambda_remaining_ms ${2-} || echo "status $?"; }
named() { lambda_remaining_ms "$1" || echo "status $?"; }"#;
    let sandbox = Sandbox::of(body).start();
    assert_eq!(sandbox.respond("1"), b"0");
    assert_eq!(sandbox.respond("none"), b"status 1");
    sandbox
        .bootstrap
        .wait_log("line 1: lambda_remaining_ms: the invocation has no deadline");
    let sandbox = Sandbox::of(body).handler("function.named").start();
    for name in ["9", "a b", "", "__driver_kind", "IFS"] {
        assert_eq!(sandbox.respond(name), b"status 2", "{name}");
    }
}
