//! `lambda_log`, with which handlers write log records that have a level and may have several lines.

use serde_json::Value;

use crate::logs::{json, messages, records, records_of};
use support::{Event, LIMIT, Sandbox, SandboxBuilder, with_driver_names};

/// Runs one invocation with the event `x`. Returns the log.
#[track_caller]
fn log_of_one_invocation(builder: SandboxBuilder) -> String {
    let sandbox = builder.start();
    sandbox.respond_to(Event::new("the-id", "x"));
    sandbox.api.wait_parked();
    sandbox.bootstrap.final_log()
}

#[test]
fn in_text_format_the_message_is_logged_as_it_is() {
    let script = "lambda_log sourced\nhandler() { lambda_log ERROR $'a\\nb \\\\n %s \\\\' \"$1\"; lambda_log WARN; lambda_log DEBUG ''; lambda_log; lambda_log error lower; }";
    assert_eq!(
        log_of_one_invocation(Sandbox::of(script)),
        "sourced\na\nb \\n %s \\ x\nWARN\n\n\nerror lower\n"
    );
}

#[test]
fn in_json_format_a_message_of_several_lines_is_one_record_with_its_level() {
    let script = r#"handler() {
  echo before >&2
  lambda_log ERROR $'first\nsecond "quoted" \\ \t\e \\n é & \\&' 'and' more
  lambda_log TRACE never
  lambda_log "$1"
  lambda_log ''
  printf 'not ended, ' >&2
  lambda_log FATAL $'\n'
  echo after >&2
}"#;
    let event = Event::new("the-id", "WARN").header("Lambda-Runtime-Aws-Tenant-Id", "t");
    let found = records_of(json(Sandbox::of(script)), event);
    assert_eq!(
        messages(&found),
        [
            "before",
            "first\nsecond \"quoted\" \\ \t\u{1b} \\n é & \\& and more",
            "WARN",
            "",
            "not ended, ",
            "\n",
            "after"
        ]
    );
    let levels: Vec<_> = found
        .iter()
        .map(|record| record["level"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        levels,
        ["INFO", "ERROR", "INFO", "INFO", "INFO", "FATAL", "INFO"]
    );
    for record in &found {
        assert_eq!(record["requestId"], "the-id", "{record}");
        assert_eq!(record["tenantId"], "t", "{record}");
        assert!(record["timestamp"].is_string(), "{record}");
    }
}

#[test]
fn records_below_the_log_level_are_dropped_only_in_json_format() {
    let script = "handler() { local level; for level in TRACE DEBUG INFO WARN ERROR FATAL; do lambda_log \"$level\" is \"$level\"; done; }";
    for (level, kept) in [
        ("TRACE", 6),
        ("DEBUG", 5),
        ("", 4),
        ("WARN", 3),
        ("ERROR", 2),
        ("FATAL", 1),
    ] {
        let builder = json(Sandbox::of(script)).env("AWS_LAMBDA_LOG_LEVEL", level);
        let found = records_of(builder, Event::fresh("x"));
        let all = [
            "is TRACE", "is DEBUG", "is INFO", "is WARN", "is ERROR", "is FATAL",
        ];
        assert_eq!(messages(&found), all[6 - kept..], "{level}");
        let builder = Sandbox::of(script).env("AWS_LAMBDA_LOG_LEVEL", level);
        assert_eq!(log_of_one_invocation(builder).lines().count(), 6, "{level}");
    }
}

/// It works with unusual options and descriptors, and changes nothing in the shell of the handler.
#[test]
fn lambda_log_has_no_side_effects() {
    // Bash before 4.4 has no `local -`.
    if support::always_forks() {
        return;
    }
    let script = r#"handler() {
  local -; local IFS=:
  set -f -- a '*'
  exec 2>/dev/null
  set +e; false
  lambda_log INFO "$@"
  [[ $- == *f* && $- == *u* && $- != *e* && $IFS == : && $# == 2 ]] && printf fine
  ( lambda_log 'in a subshell' )
  lambda_log one | cat
  lambda_log two >/dev/null
  set -e
  lambda_log three && printf ', %s' $(lambda_log four; printf on)
  unset -f lambda_log
}"#;
    for isolation in ["none", "subshell", "process"] {
        let builder = json(Sandbox::of(script)).env("COSHELL_ISOLATION", isolation);
        let sandbox = builder.start();
        assert_eq!(sandbox.respond("x"), b"fine, on", "{isolation}");
        sandbox.api.wait_parked();
        let found = records(&sandbox.bootstrap.final_log());
        assert_eq!(
            messages(&found),
            ["a *", "in a subshell", "one", "two", "three", "four"],
            "{isolation}"
        );
    }
}

#[test]
fn the_file_may_define_its_own_lambda_log() {
    for script in [
        "lambda_log() { echo \"mine: $*\" >&2; }\nhandler() { lambda_log ERROR x; }",
        "handler() { lambda_log() { echo \"mine: $*\" >&2; }; lambda_log ERROR x; }",
    ] {
        assert_eq!(
            log_of_one_invocation(Sandbox::of(script)),
            "mine: ERROR x\n"
        );
    }
}

#[test]
fn lambda_log_cannot_be_the_handler() {
    for (handler, defined) in [("missing", "handler"), ("lambda_log", "handler")] {
        let sandbox = Sandbox::of("handler() { :; }")
            .handler(&format!("function.{handler}"))
            .start();
        let error = sandbox.api.wait_init_error().error_document();
        let message = error["errorMessage"].as_str().unwrap_or_default();
        let end = format!(
            "defines no function {handler}; it defines {defined}; did you mean function.{defined}?"
        );
        assert!(message.ends_with(&end), "{message}");
        sandbox.bootstrap.wait_failure(LIMIT);
    }
}

/// An error quotes the end of the log.
#[test]
fn an_error_quotes_messages_in_their_original_form() {
    for format in ["Text", "JSON"] {
        let sandbox =
            Sandbox::of("handler() { echo plain >&2; lambda_log WARN $'a\\nb'; return 3; }")
                .env("AWS_LAMBDA_LOG_FORMAT", format)
                .start();
        let error = sandbox.fail("x");
        assert_eq!(
            error["errorMessage"], "handler returned status 3\nplain\na\nb",
            "{format}"
        );
    }
}

/// A handler that logs its event must not log a record that the caller made up.
#[test]
fn a_line_that_imitates_a_record_is_content() {
    let script = with_driver_names(
        "handler() { printf '%s\\n' \"$1\" >&2; declare -p __driver_log_nonce >&2 || :; }",
    );
    let event = Event::new("x", "0123456789abcdefFATAL evil");
    let found = records_of(json(Sandbox::of(&script)), event);
    assert_eq!(found[0]["message"], "0123456789abcdefFATAL evil");
    let is_info = |record: &Value| record["level"] == "INFO";
    assert!(found.iter().all(is_info), "{found:?}");
}

#[test]
fn a_log_descriptor_that_the_handler_closed_is_no_failure() {
    let script = "handler() { exec 64>&-; lambda_log x; printf on; }";
    let sandbox = Sandbox::of(script).start();
    for _ in 0..2 {
        assert_eq!(sandbox.respond("x"), b"on");
    }
    sandbox.bootstrap.wait_log("64: Bad file descriptor");
}
