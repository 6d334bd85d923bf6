//! Whole scripts that source `$COSHELL_FUNCTIONS` have the functions of coshell, and others pay nothing.

use std::process::Command;

use serde_json::json;

use support::{LIMIT, Sandbox, SandboxBuilder, wait_until};

const OPT_IN: &str = ". \"${COSHELL_FUNCTIONS:?this script needs coshell}\"\n";
const SQS: &str = r#"{"Records":[{"messageId":"one","eventSource":"aws:sqs","body":"1"},{"messageId":"two","eventSource":"aws:sqs","body":"2"}]}"#;

fn script(first_line: &str, body: &str) -> SandboxBuilder {
    let text = format!("{first_line}\n{OPT_IN}{body}\n");
    Sandbox::empty()
        .handler("script.sh")
        .file("script.sh", text)
}

#[track_caller]
fn respond_text(sandbox: &Sandbox, event: &str) -> String {
    String::from_utf8(sandbox.respond(event)).expect("UTF-8")
}

#[test]
fn all_functions_are_there_under_any_options() {
    let body = r#"lambda_get name .name 'n' '.n // 3'
lambda_get --map map .map
lambda_json -v made name="$name" n:="$n" k="${map[k]}"
echo "$made"
echo "sub: $(lambda_get .name | lambda_encode hex)" "$(lambda_decode base64 YQ==)"
lambda_hash sha256 '' | cut -c 1-8
lambda_metric --namespace n m 1 >/dev/null
lambda_tempdir dir; [[ -d $dir ]]; echo "$dir" >"$LAMBDA_TASK_ROOT/dir"
lambda_remaining_ms left; ((left > 30000 && left <= 60000)); echo left
(lambda_get name .map.k; echo "$name") &
wait
cat"#;
    let event = r#"{"name":"A \"b\"","map":{"k":"v"}}"#;
    let expected = format!(
        "{}\nsub: 41202262220a a\ne3b0c442\nleft\nv\n{event}",
        r#"{"name":"A \"b\"","n":3,"k":"v"}"#
    );
    for first_line in [
        "#!/bin/bash",
        "#!/bin/bash -euE",
        "#!/bin/sh",
        "#!/bin/bash -a",
        "set +B",
    ] {
        let sandbox = script(first_line, body).start();
        for _ in 0..2 {
            assert_eq!(respond_text(&sandbox, event), expected, "{first_line}");
            let dir = sandbox.task_root.read("dir");
            wait_until(|| !std::path::Path::new(dir.trim()).exists(), LIMIT);
        }
        assert_eq!(sandbox.bootstrap.log(), "", "{first_line}");
    }
}

#[test]
fn requests_and_records_are_read_by_scripts_too() {
    let sandbox = script(
        "#!/bin/bash -e",
        "lambda_request\necho \"$method $path ${query[a]}\"",
    )
    .start();
    let event = json!({"version": "2.0", "rawPath": "/x", "rawQueryString": "a=b%20c", "headers": {},
        "requestContext": {"http": {"method": "GET", "path": "/x"}}});
    assert_eq!(respond_text(&sandbox, &event.to_string()), "GET /x b c");
    let body = r"work() { lambda_get id .messageId; [[ $id == one ]]; echo never; }
false || lambda_each work";
    for (first_line, failed) in [
        ("#!/bin/bash -e", json!([{"itemIdentifier": "two"}])),
        ("#!/bin/bash", json!([])),
    ] {
        let sandbox = script(first_line, body).start();
        let expected = json!({"batchItemFailures": failed}).to_string();
        assert_eq!(respond_text(&sandbox, SQS), expected, "{first_line}");
    }
}

#[test]
fn a_script_fails_with_an_error_of_its_own() {
    let body = r#"find() { lambda_error Order.NotFound "no order" of "$1"; }
case $(lambda_get .way) in
  direct) trap 'echo bye >&2' EXIT; find Ada ;;
  subshell) set -e; order=$(find Grace); echo never ;;
  caught) order=$(find Joan) || exit 3 ;;
  wrong) lambda_error "not a type" x ;;
esac
echo never"#;
    let sandbox = script("#!/bin/bash", body).start();
    let fail = |way: &str| sandbox.fail(json!({"way": way}).to_string());
    for (way, name) in [("direct", "Ada"), ("subshell", "Grace")] {
        let error = fail(way);
        assert_eq!(error["errorType"], "Order.NotFound", "{error}");
        assert_eq!(error["errorMessage"], format!("no order of {name}"));
        let stack = error["stackTrace"].to_string();
        assert!(
            stack.contains("find (") && stack.contains("script.sh:3)"),
            "{stack}"
        );
        assert!(
            stack.contains("main (") && !stack.contains("lambda_error"),
            "{stack}"
        );
    }
    assert_eq!(fail("caught")["errorType"], "Function.HandlerExited");
    let error = fail("wrong");
    assert_eq!(error["errorType"], "Function.HandlerExited");
    let message = error["errorMessage"].as_str().expect("a message");
    assert!(
        message.contains("script.sh: line 8: lambda_error: cannot use type not a type"),
        "{message}"
    );
    assert!(
        message.starts_with("script.sh exited with status 2 after `lambda_error` in main ("),
        "{message}"
    );
}

#[test]
fn a_call_that_fails_names_its_line() {
    let sandbox = script("#!/bin/bash -e", "\nlambda_get x .nothing\necho never").start();
    let error = sandbox.fail("{\"a\":1}");
    let message = error["errorMessage"].as_str().expect("a message");
    let expected = "script.sh exited with status 1 after `lambda_get` in main (";
    assert!(message.starts_with(expected), "{message}");
    assert!(message.contains("script.sh:4)"), "{message}");
    assert!(
        message.contains("script.sh: line 4: lambda_get: cannot read .nothing"),
        "{message}"
    );
}

#[test]
fn outside_of_coshell_the_line_fails_with_its_reason() {
    let builder = script("#!/bin/bash", "echo never");
    let path = builder.task_root().path().join("script.sh");
    let output = Command::new("bash").arg(path).output().expect("bash");
    assert!(!output.status.success() && output.stdout.is_empty());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("line 2: COSHELL_FUNCTIONS: this script needs coshell"),
        "{stderr}"
    );
}

#[test]
fn other_scripts_and_programs_have_nothing_of_it() {
    let text = "#!/bin/bash\ncompgen -A function; env | grep COSHELL_; ls /proc/$PPID/task | wc -l";
    let sandbox = Sandbox::empty()
        .handler("plain.sh")
        .file("plain.sh", text)
        .start();
    let plain = respond_text(&sandbox, "x");
    assert!(!plain.contains("FUNCTIONS"), "{plain}");
    let with = script("#!/bin/bash", "ls /proc/$PPID/task | wc -l").start();
    let threads = |text: &str| {
        text.trim()
            .lines()
            .last()
            .and_then(|line| line.parse::<u32>().ok())
    };
    let (plain, with) = (threads(&plain), threads(&respond_text(&with, "x")));
    assert_eq!(plain.map(|count| count + 1), with);
}

#[test]
fn a_process_of_an_earlier_event_reads_nothing() {
    let body = r#"if [[ $(lambda_get .n) == 1 ]]; then
  (until [[ -e $LAMBDA_TASK_ROOT/go ]]; do sleep 0.01; done; lambda_get s .secret || s=nothing; (lambda_error Late.Error x) || :; echo "$s" >"$LAMBDA_TASK_ROOT/out") >/dev/null 2>&1 &
else
  : >"$LAMBDA_TASK_ROOT/go"
  until [[ -s $LAMBDA_TASK_ROOT/out ]]; do sleep 0.01; done
  exit 1
fi"#;
    let sandbox = script("#!/bin/bash", body).start();
    sandbox.respond(r#"{"n":1,"secret":"first"}"#);
    let error = sandbox.fail(r#"{"n":2,"secret":"second"}"#);
    assert_eq!(error["errorType"], "Function.HandlerExited", "{error}");
    assert_eq!(sandbox.task_root.read("out"), "nothing\n");
}
