//! Handlers that send their output through filters, such as `exec > >(sed ...)`. The filtered output is the response, and it
//! is complete however slow the filter is.

use std::time::Duration;

use crate::deadline::check_all;
use support::{Event, Sandbox, SandboxBuilder};

/// A handler of each kind, in each response mode, that runs `body` for each event. Each comes with its name.
fn handlers(top: &str, body: &str) -> Vec<(String, SandboxBuilder)> {
    let function = format!("{top}\nhandler() {{\n{body}\n}}\n");
    let script = format!("#!/bin/bash\n{top}\n{body}\n");
    // Python runs bash, so that the executable can have the same body.
    let program = format!(
        "#!/usr/bin/env python3\nimport os, sys\nos.execvp('bash', ['bash', '-c', r'''{top}\n{body}''', 'bash', sys.stdin.read()])\n"
    );
    let mut found = Vec::new();
    for mode in ["buffered", "streaming"] {
        for isolation in ["restore", "none", "subshell", "process"] {
            let builder = Sandbox::of(&function).env("COSHELL_ISOLATION", isolation);
            found.push((format!("a function, {isolation}"), builder, mode));
        }
        let builder = Sandbox::empty().file("legacy.sh", &script);
        found.push((
            "a script".to_owned(),
            builder.handler("legacy.sh").event_as_argument(),
            mode,
        ));
        let builder = Sandbox::empty().executable("tool", &program);
        found.push((
            "an executable".to_owned(),
            builder.handler("tool").event_as_argument(),
            mode,
        ));
    }
    let streamed = found.into_iter().map(|(kind, builder, mode)| {
        let builder = builder.env("COSHELL_RESPONSE_MODE", mode);
        (format!("{kind}, {mode}"), builder)
    });
    streamed.collect()
}

/// Sends three events to each kind of handler. Each response must be the output of that event's own filter.
#[track_caller]
fn check(top: &str, body: &str, expected: impl Fn(&str) -> String + Sync) {
    check_where(|_| true, top, body, expected);
}

/// As [`check`], only for the kinds of handlers that `is_included` accepts.
#[track_caller]
fn check_where(
    is_included: impl Fn(&str) -> bool,
    top: &str,
    body: &str,
    expected: impl Fn(&str) -> String + Sync,
) {
    let mut kinds = handlers(top, body);
    kinds.retain(|(name, _)| is_included(name));
    let names: Vec<_> = kinds.iter().map(|(name, _)| name.clone()).collect();
    let builders: Vec<_> = kinds
        .into_iter()
        .map(|(_, builder)| std::sync::Mutex::new(Some(builder)))
        .collect();
    let numbers: Vec<usize> = (0..names.len()).collect();
    check_all(
        &numbers,
        |number| names[*number].clone(),
        |number| {
            let builder = builders[*number].lock().expect("a builder").take();
            let builder = builder.expect("each is taken once");
            builder.task_root().fifo("gate");
            let sandbox = builder.start();
            for event in ["Ada", "Bob", "Eve"] {
                let response = sandbox.respond(event);
                let response = String::from_utf8_lossy(&response).into_owned();
                assert_eq!(response.trim_end_matches('\n'), expected(event));
            }
        },
    );
}

#[test]
fn the_response_waits_for_a_filter_that_is_slower_than_its_handler() {
    let body = r#"
exec > >(while IFS= read -r line; do sleep 0.04; printf 'stamp %s\n' "$line"; done)
for i in 1 2 3 4 5 6 7 8; do echo "row $i of $1"; done
"#;
    check("", body, |event| {
        let rows = (1..=8).map(|number| format!("stamp row {number} of {event}"));
        rows.collect::<Vec<_>>().join("\n")
    });
}

#[test]
fn the_output_of_a_handler_may_go_to_a_file_too() {
    let body = r#"
exec > >(tee "$LAMBDA_TASK_ROOT/log")
echo "line one of $1"
/bin/echo "line two of $1"
"#;
    check("", body, |event| {
        format!("line one of {event}\nline two of {event}")
    });
}

#[test]
fn the_output_of_one_command_may_go_to_a_file_too() {
    let body = r#"
echo "before $1"
seq 1 3 > >(tee "$LAMBDA_TASK_ROOT/log")
"#;
    check("", body, |event| format!("before {event}\n1\n2\n3"));
}

#[test]
fn filters_may_be_chained() {
    let body = r#"
exec > >(sed 's/^/outer /')
exec > >(sed 's/^/inner /')
echo "$1"
"#;
    check("", body, |event| format!("outer inner {event}"));
}

/// Without a fork the trap runs after the output of the handler was redirected back to the response, so those kinds are left
/// out.
#[test]
fn the_output_of_an_exit_trap_goes_through_the_filter() {
    let body = r#"
exec > >(sed 's/^/> /')
trap 'echo bye' EXIT
echo "hello $1"
"#;
    check_where(
        |kind| !kind.contains("none") && !kind.contains("process"),
        "",
        body,
        |event| format!("> hello {event}\n> bye"),
    );
}

#[test]
fn a_filter_of_standard_error_may_write_to_the_response() {
    let body = r#"
{ echo "warning about $1" >&2; echo "ok $1" >&2; } 2> >(sed 's/^/marked: /')
"#;
    check("", body, |event| {
        format!("marked: warning about {event}\nmarked: ok {event}")
    });
}

/// The output is larger than a pipe.
#[test]
fn long_output_passes_a_filter_completely() {
    let body = "exec > >(cat)\nhead -c 1000000 /dev/zero | tr '\\0' \"${1:0:1}\"\n";
    check("", body, |event| event[..1].repeat(1_000_000));
}

/// The filters run side by side and end in any order.
#[test]
fn the_response_waits_for_all_filters() {
    let body = r#"
for i in 1 2 3; do echo "$1" > >(sleep 0.02; cat); done
"#;
    check("", body, |event| format!("{event}\n{event}\n{event}"));
}

#[test]
fn the_response_waits_for_a_filter_but_not_for_a_job() {
    let body = r#"
{ read -r _ <"$LAMBDA_TASK_ROOT/gate"; echo "late $1"; } &
echo "own $1" > >(sed 's/^/> /')
"#;
    check("", body, |event| format!("> own {event}"));
}

/// A filter that never ends is stopped with its handler, before the deadline.
#[test]
fn the_response_waits_for_an_endless_filter_up_to_the_deadline() {
    for isolation in ["restore", "none", "subshell", "process"] {
        let script =
            "handler() { [[ $1 != stuck ]] || exec > >(cat; sleep 600); echo \"own $1\"; }";
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .env("COSHELL_DEADLINE_MARGIN_MS", "500")
            .start();
        let event = Event::new("stuck", "stuck").with_deadline_in(Duration::from_millis(1500));
        // Whether it is a response or an error does not matter here.
        sandbox.invoke(event);
        assert_eq!(sandbox.respond("next"), b"own next", "{isolation}");
    }
}

/// A fork has reported before its filters are waited for. If they are stopped, nothing more comes, and the shell is as good as before.
#[test]
fn the_shell_lives_on_when_a_filter_of_its_fork_is_stopped() {
    let script = "handler() { if [[ $1 == stuck ]]; then echo own > >(cat; sleep 600); else echo \"$$\"; fi; }";
    for isolation in ["restore", "subshell"] {
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .env("COSHELL_DEADLINE_MARGIN_MS", "500")
            .start();
        let shell = sandbox.respond("which");
        let event = Event::new("stuck", "stuck").with_deadline_in(Duration::from_millis(1500));
        let answer = sandbox.invoke(event).error_document();
        assert_eq!(answer["errorType"], "Function.Timeout", "{answer}");
        assert_eq!(sandbox.respond("which"), shell, "{isolation}");
    }
}

/// The job inherits the pipe to the filter, so the filter cannot end before the job.
#[test]
fn the_response_waits_for_a_job_that_writes_to_the_filter() {
    let body = r#"
exec > >(sed 's/^/> /')
echo "one of $1"
{ read -r -t 0.2 _ <> <(:) || :; echo "job of $1"; } &
echo "two of $1"
"#;
    check("", body, |event| {
        format!("> one of {event}\n> two of {event}\n> job of {event}")
    });
}
