//! The log in JSON format, with one object on each line.

use serde_json::Value;

use crate::logs::{json, messages, records, records_of};
use support::{Event, LIMIT, Sandbox};

#[test]
fn no_line_is_lost_at_a_high_rate_in_json_format() {
    let builder = json(Sandbox::of(
        "handler() { seq -f 'line %.0f' 1 20000 >&2; for i in {1..2000}; do echo \"loop $i\" >&2; done; printf on; }",
    ));
    let records = records_of(builder, Event::fresh("x"));
    let expected = (1..=20_000)
        .map(|number| format!("line {number}"))
        .chain((1..=2000).map(|number| format!("loop {number}")));
    assert!(
        messages(&records).into_iter().eq(expected),
        "{} records",
        records.len()
    );
}

/// True for RFC 3339 in UTC, which `CloudWatch` needs.
fn is_timestamp(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|letter| if letter.is_ascii_digit() { '0' } else { letter })
        .collect();
    shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z')
}

#[test]
fn each_plain_line_becomes_a_json_object() {
    for format in ["JSON", "json", "Json"] {
        let builder = Sandbox::of(
            "echo 'while sourcing' >&2\nhandler() { echo 'plain \"line\" \\ with\ttab' >&2; printf '\\r\\n' >&2; echo '[1]' >&2; echo '{not json' >&2; printf on; }",
        );
        let records = records_of(
            builder.env("AWS_LAMBDA_LOG_FORMAT", format),
            Event::new("the-id", "x").header("Lambda-Runtime-Aws-Tenant-Id", "the tenant"),
        );
        assert_eq!(
            messages(&records),
            [
                "while sourcing",
                "plain \"line\" \\ with\ttab",
                "",
                "[1]",
                "{not json"
            ]
        );
        for record in &records {
            assert!(
                record["timestamp"].as_str().is_some_and(is_timestamp),
                "{record}"
            );
            assert_eq!(record["level"], "INFO", "{record}");
        }
        assert!(
            records[0].get("requestId").is_none() && records[0].get("tenantId").is_none(),
            "{}",
            records[0]
        );
        for record in &records[1..] {
            assert_eq!(record["requestId"], "the-id", "{record}");
            assert_eq!(record["tenantId"], "the tenant", "{record}");
        }
    }
}

#[test]
fn each_json_object_has_the_ids_of_its_invocation() {
    let sandbox = json(Sandbox::of(
        "handler() { echo \"log of $1\" >&2; printf on; }",
    ))
    .start();
    sandbox.respond_to(Event::new("first", "first").header("Lambda-Runtime-Aws-Tenant-Id", "a"));
    sandbox.respond_to(Event::new("second", "second"));
    sandbox.respond_to(Event::new("third", "third").header("Lambda-Runtime-Aws-Tenant-Id", "b"));
    sandbox.api.wait_parked();
    let records = records(&sandbox.bootstrap.final_log());
    assert_eq!(
        messages(&records),
        ["log of first", "log of second", "log of third"]
    );
    let ids: Vec<_> = records
        .iter()
        .map(|record| (record["requestId"].as_str(), record["tenantId"].as_str()))
        .collect();
    assert_eq!(
        ids,
        [
            (Some("first"), Some("a")),
            (Some("second"), None),
            (Some("third"), Some("b"))
        ]
    );
}

/// Lines that are JSON objects already are not encoded again.
#[test]
fn json_objects_of_the_handler_are_unchanged() {
    let lines = [
        r#"{"message":"mine","level":"WARN","n":1e30,"b":1.0,"a":1}"#,
        r#"  { "spaces" : [ 1 , 2 ] }  "#,
        r#"{"message":"é \u00e9 \/ "}"#,
        "{}",
        r#"{"level":5}"#,
        r#"{"level":"nonsense"}"#,
        r#"{"a":1,"a":2}"#,
    ];
    let script = format!(
        "handler() {{ cat >&2 <<'END'\n{}\nEND\nprintf on; }}",
        lines.join("\n")
    );
    let sandbox = json(Sandbox::of(&script)).start();
    assert_eq!(sandbox.respond("x"), b"on");
    sandbox.api.wait_parked();
    let log = sandbox.bootstrap.final_log();
    assert_eq!(log.lines().collect::<Vec<_>>(), lines);
}

/// This applies to bootstrap's own records, and to lines of the handler that have a level.
#[test]
fn records_below_the_log_level_are_dropped_only_in_json_format() {
    let script = r#"handler() {
  local level
  for level in trace DEBUG Info warn WARNING error FATAL Critical; do echo "{\"level\":\"$level\"}" >&2; done
  echo '{"message":"no level"}' >&2
  echo 'a plain line' >&2
  sleep 600 >/dev/null 2>&1 </dev/null &
  return 3
}"#;
    for (level, kept, warns, fails) in [
        (
            "TRACE",
            &[
                "trace", "DEBUG", "Info", "warn", "WARNING", "error", "FATAL", "Critical",
            ][..],
            true,
            true,
        ),
        (
            "DEBUG",
            &[
                "DEBUG", "Info", "warn", "WARNING", "error", "FATAL", "Critical",
            ],
            true,
            true,
        ),
        (
            "",
            &["Info", "warn", "WARNING", "error", "FATAL", "Critical"],
            true,
            true,
        ),
        (
            "Info",
            &["Info", "warn", "WARNING", "error", "FATAL", "Critical"],
            true,
            true,
        ),
        (
            "warn",
            &["warn", "WARNING", "error", "FATAL", "Critical"],
            true,
            true,
        ),
        ("ERROR", &["error", "FATAL", "Critical"], false, true),
        ("FATAL", &["FATAL", "Critical"], false, false),
    ] {
        let builder = json(Sandbox::of(script)).env("AWS_LAMBDA_LOG_LEVEL", level);
        let records = records_of(builder, Event::fresh("x"));
        let bare = |record: &&Value| record.get("message").is_none();
        let levels: Vec<_> = records
            .iter()
            .filter(bare)
            .map(|record| record["level"].as_str().unwrap_or_default())
            .collect();
        assert_eq!(levels, kept, "{level}");
        let has = |text: &str| {
            records.iter().any(|record| {
                record["message"]
                    .as_str()
                    .is_some_and(|message| message.contains(text))
            })
        };
        assert!(has("no level") && has("a plain line"), "{level}");
        assert_eq!(
            has("is still running after its invocation"),
            warns,
            "{level}"
        );
        assert_eq!(has("Function.HandlerFailed"), fails, "{level}");
        let text = Sandbox::of(script)
            .env("AWS_LAMBDA_LOG_LEVEL", level)
            .start();
        text.fail("x");
        text.bootstrap
            .wait_log("is still running after its invocation");
        let log = text.bootstrap.final_log();
        assert!(
            log.contains("\"trace\"") && log.contains("bootstrap: error: Function.HandlerFailed"),
            "{log}"
        );
    }
}

#[test]
fn bootstraps_own_lines_are_json_too() {
    let builder = json(Sandbox::of(
        "handler() { sleep 600 >/dev/null 2>&1 </dev/null & return 3; }",
    ));
    let event = Event::new("the-id", "x").header("Lambda-Runtime-Aws-Tenant-Id", "the tenant");
    let records = records_of(builder, event);
    let levels: Vec<_> = records
        .iter()
        .map(|record| record["level"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(levels, ["ERROR", "WARN"]);
    for record in &records {
        assert_eq!(
            (&record["requestId"], &record["tenantId"]),
            (&Value::from("the-id"), &Value::from("the tenant")),
            "{record}"
        );
        assert!(
            record["timestamp"].as_str().is_some_and(is_timestamp),
            "{record}"
        );
    }
    let sandbox = json(Sandbox::of("false"))
        .env("AWS_LAMBDA_LOG_LEVEL", "maybe")
        .start();
    sandbox.bootstrap.wait_failure(LIMIT);
    let records = self::records(&sandbox.bootstrap.final_log());
    let levels: Vec<_> = records
        .iter()
        .map(|record| record["level"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(levels, ["WARN", "FATAL"]);
}

#[test]
fn json_format_replaces_invalid_utf_8_and_escapes_control_characters() {
    let script = r#"handler() { printf 'bad \377\376 cut \303\n' >&2; printf '{"a":"\377"}\n' >&2; printf 'ctrl \001\033\177\0 end\n' >&2; printf on; }"#;
    let records = records_of(json(Sandbox::of(script)), Event::fresh("x"));
    assert_eq!(
        messages(&records),
        [
            "bad \u{fffd}\u{fffd} cut \u{fffd}",
            "{\"a\":\"\u{fffd}\"}",
            "ctrl \u{1}\u{1b}\u{7f}\0 end"
        ]
    );
}

#[test]
fn a_character_that_arrives_in_two_pieces_stays_one_character() {
    let script = "handler() { printf '\\360\\237' >&2; read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; printf '\\230\\200\\n' >&2; }";
    let builder = json(Sandbox::of(script));
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    sandbox.api.push(Event::new("x", ""));
    sandbox.task_root.release("gate");
    sandbox.api.wait_answer("x");
    let records = records(&sandbox.bootstrap.final_log());
    assert_eq!(messages(&records), ["\u{1f600}"]);
}
