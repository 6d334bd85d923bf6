//! What bootstrap posts when a handler fails: the error document and its headers.

use serde_json::Value;

use support::{Call, Event, LIMIT, Process, Sandbox, SandboxBuilder};

/// Runs one invocation of `script`, which must fail. Returns the POST of the error.
#[track_caller]
fn fail_once(script: &str) -> (Call, Sandbox) {
    let sandbox = Sandbox::of(script).start();
    let call = sandbox.invoke(Event::fresh("an event"));
    assert!(call.is_error(), "{}", sandbox.api.transcript());
    (call, sandbox)
}

fn message(call: &Call) -> String {
    call.error_document()["errorMessage"]
        .as_str()
        .expect("a message")
        .to_owned()
}

fn stack_trace(call: &Call) -> Vec<String> {
    let document = call.error_document();
    let frames = document["stackTrace"].as_array().expect("an array");
    frames
        .iter()
        .map(|frame| frame.as_str().expect("a string").to_owned())
        .collect()
}

/// The X-Ray cause. Asserts that it has the right form.
#[track_caller]
fn cause(call: &Call) -> Value {
    let text = call
        .header("Lambda-Runtime-Function-XRay-Error-Cause")
        .expect("a cause");
    assert!(text.len() < 64 * 1024, "{} bytes", text.len());
    assert!(
        text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "visible ASCII on one line: {text}"
    );
    let cause: Value = serde_json::from_str(text).expect("JSON");
    assert!(
        cause["working_directory"].is_string() && cause["paths"].is_array(),
        "{cause}"
    );
    let exceptions = cause["exceptions"].as_array().expect("exceptions");
    assert!(!exceptions.is_empty());
    for exception in exceptions {
        assert!(
            exception["message"].is_string() && exception["type"].is_string(),
            "{cause}"
        );
        for frame in exception["stack"].as_array().expect("a stack") {
            assert!(
                frame["path"].is_string() && frame["label"].is_string() && frame["line"].is_u64(),
                "{frame}"
            );
        }
    }
    cause
}

#[test]
fn an_error_has_three_fields_and_its_headers() {
    let (call, _sandbox) = fail_once("handler() { echo 'why it failed' >&2; return 3; }");
    let document = call.error_document();
    let keys: Vec<_> = document
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert!(
        ["errorMessage", "errorType", "stackTrace"]
            .iter()
            .all(|key| keys.iter().any(|name| name == key)),
        "{keys:?}"
    );
    assert_eq!(document["errorType"], "Function.HandlerFailed");
    assert_eq!(
        call.header("Lambda-Runtime-Function-Error-Type"),
        Some("Function.HandlerFailed")
    );
    assert_eq!(call.header("Content-Type"), Some("application/json"));
    assert_eq!(message(&call), "handler returned status 3\nwhy it failed");
    let cause = cause(&call);
    assert_eq!(cause["exceptions"][0]["type"], "Function.HandlerFailed");
    assert!(
        cause["exceptions"][0]["message"]
            .as_str()
            .is_some_and(|text| text.contains("status 3")),
        "{cause}"
    );
}

/// Lambda replaces any other form by `Runtime.Unknown`.
#[test]
fn every_error_type_is_a_category_a_dot_and_letters() {
    for body in [
        "return 1",
        "exit 1",
        "false",
        "printf $x",
        "kill -9 $$",
        "exec false",
        "trap 'exit 1' EXIT",
        "head -c 7000000 /dev/zero",
        "echo $((1/0))",
    ] {
        let (call, _sandbox) = fail_once(&format!("handler() {{ {body}; }}"));
        let error_type = call
            .header("Lambda-Runtime-Function-Error-Type")
            .expect("a type");
        let (category, reason) = error_type.split_once('.').expect("a dot");
        assert!(matches!(category, "Function" | "Runtime"), "{error_type}");
        assert!(
            !reason.is_empty() && reason.bytes().all(|byte| byte.is_ascii_alphabetic()),
            "{error_type}"
        );
        assert!(
            reason.starts_with(|letter: char| letter.is_ascii_uppercase()),
            "{error_type}"
        );
        assert_eq!(call.error_document()["errorType"], error_type);
        cause(&call);
    }
}

const TWO_FILES: &str = r#"source "$LAMBDA_TASK_ROOT/lib/deep.sh"

handler() {
  local how=$1
  first "$how"
}

first() {
  # A loop and a condition, which are no frames.
  for x in 1; do
    if true; then
      lib_second "$1"
    fi
  done
}
"#;

const LIB: &str = r#"lib_second() {

  lib_third "$1" || return
}
lib_third() {
  case $1 in
    exit)
      exit 7 ;;
    unset)
      printf '%s' "$never_set" ;;
    kill)
      kill $$ ;;
    eval)
      eval 'exit 8' ;;
    *)
      return 9 ;;
  esac
}
lib_fourth() {
  grep -q needle /no/such/file
}
"#;

#[test]
fn a_stack_trace_has_the_true_lines_of_two_files() {
    let sandbox = Sandbox::of(TWO_FILES).file("lib/deep.sh", LIB).start();
    let root = sandbox.task_root.path().to_string_lossy().into_owned();
    let outer = [
        format!("lib_second ({root}/lib/deep.sh:3)"),
        format!("first ({root}/function.sh:12)"),
        format!("handler ({root}/function.sh:5)"),
    ];
    for (how, line) in [("exit", 8), ("eval", 14)] {
        let call = sandbox.invoke(Event::fresh(how));
        let third = format!("lib_third ({root}/lib/deep.sh:{line})");
        let expected: Vec<_> = std::iter::once(third).chain(outer.clone()).collect();
        assert_eq!(stack_trace(&call), expected, "{how}");
        let cause = cause(&call);
        let stack = cause["exceptions"][0]["stack"].as_array().expect("a stack");
        let labels: Vec<_> = stack
            .iter()
            .map(|frame| {
                format!(
                    "{} ({}:{})",
                    frame["label"].as_str().unwrap_or_default(),
                    frame["path"].as_str().unwrap_or_default(),
                    frame["line"]
                )
            })
            .collect();
        assert_eq!(labels, expected);
        let paths = cause["paths"].to_string();
        assert!(
            paths.contains("lib/deep.sh") && paths.contains("function.sh"),
            "{paths}"
        );
    }
    // In a signal trap bash does not know the line of the innermost frame.
    let killed = stack_trace(&sandbox.invoke(Event::fresh("kill")));
    assert_eq!(killed[1..], outer);
    assert!(
        killed[0].starts_with(&format!("lib_third ({root}/lib/deep.sh")),
        "{killed:?}"
    );
    // Bash has dropped the frames by then, but not the place.
    let unset = sandbox.invoke(Event::fresh("unset"));
    assert!(
        stack_trace(&unset)
            .iter()
            .any(|frame| frame.contains("lib/deep.sh:10")),
        "{:?}",
        stack_trace(&unset)
    );
}

#[test]
fn the_error_names_the_failed_command_and_its_place() {
    let script = "handler() {\n  one\n}\none() {\n  lib_fourth\n  printf never\n}\nsource \"$LAMBDA_TASK_ROOT/lib/deep.sh\"\n";
    let sandbox = Sandbox::of(script).file("lib/deep.sh", LIB).start();
    let root = sandbox.task_root.path().to_string_lossy().into_owned();
    let call = sandbox.invoke(Event::fresh("x"));
    let place = format!("{root}/lib/deep.sh:20");
    assert_eq!(
        stack_trace(&call),
        [
            format!("lib_fourth ({place})"),
            format!("one ({root}/function.sh:5)"),
            format!("handler ({root}/function.sh:2)")
        ]
    );
    assert_eq!(
        message(&call),
        format!(
            "`grep -q needle /no/such/file` ended with status 2 in lib_fourth ({place})\ngrep: /no/such/file: No such file or directory"
        )
    );
}

#[test]
fn the_error_names_multi_line_commands_and_files_with_odd_names() {
    let builder = Sandbox::empty().file(
        "odd name: it's.sh",
        "deep() {\n  sh -c '\n    exit 5\n  ' a \"b c\"\n}\nhandler() { deep; }\n",
    );
    let sandbox = builder.handler("odd name: it's.handler").start();
    let call = sandbox.invoke(Event::fresh("x"));
    assert!(
        message(&call).contains("exit 5") && message(&call).contains("status 5"),
        "{}",
        message(&call)
    );
    let frames = stack_trace(&call);
    assert_eq!(frames.len(), 2, "{frames:?}");
    assert!(
        frames[0].starts_with("deep (") && frames[0].contains("odd name: it's.sh:"),
        "{frames:?}"
    );
    cause(&call);
}

#[test]
fn the_error_quotes_only_the_log_of_its_own_invocation() {
    let sandbox = Sandbox::of(
        "echo 'while sourcing' >&2\nhandler() { echo \"log of $1\" >&2; [[ $1 != bad* ]]; }",
    )
    .start();
    sandbox.respond("good one");
    let call = sandbox.invoke(Event::fresh("bad one"));
    assert!(
        message(&call).ends_with("\nlog of bad one"),
        "{}",
        message(&call)
    );
    assert!(
        !message(&call).contains("good") && !message(&call).contains("sourcing"),
        "{}",
        message(&call)
    );
    let call = sandbox.invoke(Event::fresh("bad two"));
    assert!(!message(&call).contains("bad one"), "{}", message(&call));
}

#[test]
fn the_error_quotes_the_end_of_a_long_log_in_whole_characters() {
    for letter in ["a", "\u{e9}", "\u{6f22}", "\u{1f600}"] {
        let script = format!(
            "handler() {{ printf -v x '%4000s' ''; for i in 1 2 3; do printf '%s' \"${{x// /{letter}}}\" >&2; done; echo ' the end' >&2; return 1; }}"
        );
        let (call, _sandbox) = fail_once(&script);
        let message = message(&call);
        let (_, tail) = message.split_once('\n').expect("a tail");
        assert!(tail.ends_with(&format!("{letter} the end")));
        assert!(
            !message.contains('\u{fffd}'),
            "a character was cut: {}",
            tail.chars().take(4).collect::<String>()
        );
        assert!(
            tail.len() <= 4096 && tail.len() > 3000,
            "{} bytes",
            tail.len()
        );
        assert!(call.body.len() < 32 * 1024);
        cause(&call);
    }
}

#[test]
fn control_characters_and_invalid_utf_8_are_escaped_and_replaced() {
    let script = r#"handler() { printf 'tab\there\001\033[31m\177 quote\" back\\slash \377\376 cut\303\n\r\nlast\0end' >&2; return 1; }"#;
    let (call, _sandbox) = fail_once(script);
    // error_document has parsed it already, and serde_json rejects control characters that are not escaped.
    let text = message(&call);
    assert!(
        call.body.iter().all(|byte| *byte >= 0x20),
        "control characters are escaped"
    );
    assert!(std::str::from_utf8(&call.body).is_ok());
    assert!(
        text.contains(
            "tab\there\u{1}\u{1b}[31m\u{7f} quote\" back\\slash \u{fffd}\u{fffd} cut\u{fffd}\n"
        ),
        "{text:?}"
    );
    assert!(text.contains("last\0end"), "{text:?}");
    cause(&call);
}

#[test]
fn the_error_names_a_command_with_any_bytes() {
    let script = "handler() { local x=$'a\\nb\\377\\001'; sh -c 'exit 3' \"\u{e9}\u{6f22}\" $'\\001\\n\\377' \"$x\"; }";
    let (call, _sandbox) = fail_once(script);
    assert!(
        message(&call).contains("status 3") && message(&call).contains("\u{e9}\u{6f22}"),
        "{}",
        message(&call)
    );
    cause(&call);
}

#[test]
fn the_size_of_an_error_is_limited_whatever_was_logged() {
    let script = "handler() { head -c 10485760 /dev/zero | tr '\\0' '\\001' >&2; return 3; }";
    let (call, _sandbox) = fail_once(script);
    assert!(message(&call).contains("status 3"));
    // Each of these bytes takes six in JSON.
    assert!(call.body.len() < 64 * 1024, "{} bytes", call.body.len());
    cause(&call);
    let headers: usize = call
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert!(headers < 64 * 1024, "{headers} bytes of headers");
}

#[test]
fn long_commands_and_deep_stacks_are_shortened() {
    let command = format!("sh -c 'exit 3' {}", "long ".repeat(100_000));
    let (call, _sandbox) = fail_once(&format!("handler() {{ {command}; }}"));
    assert!(
        message(&call).contains("status 3") && call.body.len() < 64 * 1024,
        "{} bytes",
        call.body.len()
    );
    cause(&call);
    let name = "deep_".repeat(40);
    let (call, _sandbox) = fail_once(&format!(
        "{name}() {{ if (($1 == 0)); then exit 3; fi; {name} $(($1 - 1)); }}\nhandler() {{ {name} 900; }}"
    ));
    assert!(message(&call).contains("status 3"), "{}", message(&call));
    assert!(
        stack_trace(&call)[0].starts_with("deep_"),
        "the innermost frame comes first"
    );
    assert!(call.body.len() < 1024 * 1024, "{} bytes", call.body.len());
    cause(&call);
}

#[test]
fn the_error_names_the_signal_that_ended_a_command() {
    for (body, parts) in [
        ("kill -KILL $$", &["SIGKILL"][..]),
        ("kill -63 $$", &["shell killed by signal 63 "]),
        ("sh -c 'kill -TERM $$'", &["143", "SIGTERM"]),
        ("sh -c 'kill -SEGV $$' 2>/dev/null", &["139", "SIGSEGV"]),
        ("timeout -s KILL 0.05 sleep 60", &["137", "SIGKILL"]),
    ] {
        let (call, _sandbox) = fail_once(&format!("handler() {{ {body}; }}"));
        for part in parts {
            assert!(message(&call).contains(part), "{body}: {}", message(&call));
        }
    }
}

#[test]
fn the_x_ray_cause_has_the_working_directory_of_the_handler() {
    let (call, sandbox) = fail_once("handler() { return 1; }");
    assert_eq!(
        cause(&call)["working_directory"],
        sandbox.task_root.path().to_string_lossy().as_ref()
    );
}

/// An operator can find the line by the request id.
#[test]
fn a_failure_is_one_line_in_the_log() {
    let sandbox = Sandbox::of(
        "handler() { echo \"its own log\" >&2; deep; }\ndeep() { sh -c $'\\nexit 4'; }",
    )
    .start();
    sandbox.invoke(Event::new("the-id", "x"));
    sandbox.api.wait_parked();
    let log = sandbox.bootstrap.final_log();
    let lines = Process::bootstrap_lines(&log);
    assert_eq!(lines.len(), 1, "{log}");
    assert!(
        lines[0].starts_with("bootstrap: error: Function.CommandFailed: ")
            && lines[0].ends_with(" (request id the-id)"),
        "{log}"
    );
    assert!(
        lines[0].contains(r"`sh -c '\nexit 4'` ended with status 4 in deep (/"),
        "{log}"
    );
    // Control characters in the text are escaped: they cannot end the line or reach a terminal.
    let (_, sandbox) = fail_once("handler() { sh -c 'exit 4' '\u{1b}[31m\r'; }");
    sandbox.api.wait_parked();
    let log = sandbox.bootstrap.final_log();
    assert!(
        log.contains("exit 4") && !log.contains(['\u{1b}', '\r']),
        "{log:?}"
    );
}

#[test]
fn the_log_has_the_status_and_the_place_of_a_command_with_several_lines() {
    const COMMAND: &str = "grep '\nbootstrap: b' /no/such/file";
    let expect = |builder: SandboxBuilder, start: &str, command: &str, end: &str| {
        let sandbox = builder.start();
        sandbox.api.push(Event::new("the-id", "x"));
        if end.is_empty() {
            sandbox.bootstrap.wait_failure(LIMIT);
        } else {
            assert!(sandbox.api.wait_answer("the-id").is_error());
            sandbox.api.wait_parked();
        }
        let log = sandbox.bootstrap.final_log();
        let lines = Process::bootstrap_lines(&log);
        assert_eq!(lines.len(), 1, "{log}");
        let parts = [start, command, " status 2 ", ".sh:", end];
        let has_all = parts.iter().all(|part| lines[0].contains(part));
        assert!(has_all && lines[0].ends_with(end), "{log}");
    };
    let handler = format!("handler() {{\n{COMMAND}\n}}\n");
    let escaped = COMMAND.replace('\n', "\\n");
    let (failed, end) = ("bootstrap: error: Function.", " (request id the-id)");
    expect(Sandbox::of(&handler), failed, &escaped, end);
    let script = format!("#!/bin/bash -e\n{COMMAND}\n");
    let script = Sandbox::empty().executable("script.sh", &script);
    expect(script.handler("script.sh"), failed, &escaped, end);
    let file = Sandbox::of(&format!("set -e\n{COMMAND}\n{handler}"));
    let fatal = "bootstrap: fatal: cannot load handler function.handler: ";
    expect(file, fatal, &escaped, "");
}

#[test]
fn an_error_repeats_the_invocation_id() {
    let sandbox = Sandbox::of("handler() { return 1; }").start();
    let call =
        sandbox.invoke(Event::fresh("x").header("Lambda-Runtime-Invocation-Id", "attempt-1"));
    assert_eq!(
        call.header("Lambda-Runtime-Invocation-Id"),
        Some("attempt-1")
    );
}
