//! The `lambda_` functions that the host answers: from everywhere in a handler, many at once, and about its own event alone.

use support::{LIMIT, Sandbox, wait_until};

const S3: &str = r#"{"Records":[{"eventSource":"aws:s3","s3":{"bucket":{"name":"in"},"object":{"key":"a+b%C3%A4.txt","size":7}}}]}"#;
const SQS: &str = r#"{"Records":[{"messageId":"one","eventSource":"aws:sqs","body":"1"},{"messageId":"two","eventSource":"aws:sqs","body":"2"},{"messageId":"three","eventSource":"aws:sqs","body":"3"}]}"#;

fn respond_text(sandbox: &Sandbox, event: impl AsRef<[u8]>) -> String {
    String::from_utf8(sandbox.respond(event)).expect("UTF-8")
}

#[test]
fn fields_of_the_event_are_read_in_every_isolation() {
    let body = "handler() { lambda_get bucket '.Records[0].s3.bucket.name' size '.Records[0].s3.object.size' none '.x // \"-\"'; echo \"$bucket $size $none\"; }";
    for isolation in ["restore", "none", "subshell", "process"] {
        let sandbox = Sandbox::of(body)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for _ in 0..3 {
            assert_eq!(respond_text(&sandbox, S3), "in 7 -", "{isolation}");
        }
        assert_eq!(
            respond_text(&sandbox, S3.replace("\"in\"", "\"out\"")),
            "out 7 -"
        );
    }
}

#[test]
fn subshells_pipelines_and_jobs_call_at_the_same_time() {
    let body = r#"handler() {
  for i in {1..50}; do
    (lambda_get x ".list[$i]" y '.long'; [[ $x == "v$i" && ${#y} == 5000 ]] && echo "$i") &
  done
  wait
  lambda_get z '.list[0]' | cat
  echo "$(lambda_get w '.list[1]'; echo "$w")"
}"#;
    let list: Vec<_> = (0..=50).map(|number| format!("\"v{number}\"")).collect();
    let event = format!(
        "{{\"list\":[{}],\"long\":\"{}\"}}",
        list.join(","),
        "x".repeat(5000)
    );
    let sandbox = Sandbox::of(body).start();
    let text = respond_text(&sandbox, &event);
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.pop(), Some("v1"));
    let mut numbers: Vec<usize> = lines
        .iter()
        .map(|line| line.parse().expect("a number"))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
}

#[test]
fn an_object_goes_into_an_associative_array_wherever_that_is_declared() {
    // Bash before 4.4 has no `declare -n`.
    if support::always_forks() {
        return;
    }
    let body = r#"new() { lambda_get --map map .; show map; }
local_map() { local -A map=([old]=1); lambda_get --map map .; show map; }
global_map() { lambda_get --map known .; show known; }
indexed() { indexed=(1 2); lambda_get --map indexed .; show indexed; }
show() { declare -n shown=$1; for key in a 00 'x]y' '$(exit)' '@'; do printf '%s=%s ' "$key" "${shown[$key]-none}"; done; echo "${#shown[@]}"; }
declare -A known=([old]=1)
handler() { new; local_map; global_map; indexed; [[ -v map ]] || declare -p map; }"#;
    let event = r#"{"a":"b","00":"zero","x]y":"bracket","$(exit)":"command","@":"at"}"#;
    let sandbox = Sandbox::of(body).start();
    let line = "a=b 00=zero x]y=bracket $(exit)=command @=at 5";
    let expected = [line; 4].join("\n");
    for _ in 0..2 {
        let text = respond_text(&sandbox, event);
        assert!(text.starts_with(&expected), "{text}");
    }
}

/// A list goes into no associative array, and an object into no variable that another one hides. An empty list is a list, too.
#[test]
fn a_variable_of_the_wrong_kind_is_an_error_and_never_a_wrong_value() {
    // Bash before 4.4 has no `declare -n`.
    if support::always_forks() {
        return;
    }
    let body = r#"handler() { declare -A kept=([a]=1); list; hidden; }
list() {
  local -A known=([a]=1)
  lambda_get --array known .list || echo "$? ${!known[*]} ${known[*]}"
  lambda_get --array known .empty || echo "$? ${!known[*]} ${known[*]}"
  (lambda_get --array known .list) || echo "$? ${!known[*]}"
  lambda_get x .list[0] --array kept .list || echo "$? ${kept[*]}"
}
hidden() { local map=outer; inner; echo "$map"; }
inner() { local map=inner; lambda_get --map map .map || echo "$?"; }"#;
    let event = r#"{"list":["b","c"],"empty":[],"map":{"k":"v"}}"#;
    let sandbox = Sandbox::of(body).start();
    let expected = "1 a 1\n1 a 1\n1 a\n1 1\n1\nouter";
    for _ in 0..2 {
        assert_eq!(respond_text(&sandbox, event), expected);
    }
    for cause in [
        "line 4: lambda_get: cannot assign a list to known: it is an associative array",
        "lambda_get: cannot make map an associative array: a variable of a calling function has this name",
    ] {
        sandbox.bootstrap.wait_log(cause);
    }
}

/// Other programs start processes too. So the test waits for an event in which none was started.
#[test]
fn a_call_starts_no_process() {
    let body = r#"handler() {
  read -r _ _ _ _ before </proc/loadavg
  lambda_get --map m . a .a x .long
  lambda_json -v y a="$a"
  lambda_get y .nope 2>/dev/null || :
  read -r _ _ _ _ after </proc/loadavg
  echo "$a ${#x} ${m[a]} $((after - before))"
}"#;
    let event = format!(r#"{{"a":"b","long":"{}"}}"#, "x".repeat(9000));
    let sandbox = Sandbox::of(body).start();
    wait_until(|| respond_text(&sandbox, &event) == "b 9000 b 0", LIMIT);
}

#[test]
fn a_call_that_is_too_large_fails_and_the_next_ones_work() {
    // Bash 4.2 takes minutes for this call.
    if support::always_forks() {
        return;
    }
    let body = r#"handler() {
  printf -v large '%*s' 68000000 ''
  lambda_json text="$large" || echo "status $?"
  large=
  for i in {1..20}; do lambda_get x .a; done
  echo "$x"
}"#;
    let sandbox = Sandbox::of(body).start();
    assert_eq!(respond_text(&sandbox, r#"{"a":1}"#), "status 2\n1");
    sandbox
        .bootstrap
        .wait_log("lambda_json: the arguments are larger than 64 MiB");
}

#[test]
fn a_call_reads_the_standard_input_that_it_was_given() {
    let body = r#"handler() {
  for i in {1..20}; do printf abc | lambda_encode hex; done
  lambda_encode hex <<<"$1"
  lambda_get --file - .a <<<'{"a": "from a here-string"}'
  lambda_get x .a; echo "$x" | lambda_encode hex
  echo "$(printf x | lambda_hash sha256 | { read -r hash; echo "${hash::8}"; })"
}"#;
    let sandbox = Sandbox::of(body).start();
    let expected = format!(
        "{}7b2261223a317d0a\nfrom a here-string\n310a\n2d711642",
        "616263\n".repeat(20)
    );
    assert_eq!(respond_text(&sandbox, r#"{"a":1}"#), expected);
}

#[test]
fn a_field_that_is_missing_is_a_failure_with_its_place() {
    let sandbox =
        Sandbox::of("handler() {\n  lambda_get x .Records[0].s3.objekt\n  echo never\n}").start();
    let error = sandbox.fail(S3);
    let message = error["errorMessage"].as_str().expect("a message");
    assert!(message.contains("lambda_get"), "{message}");
    assert!(
        message.contains("function.sh: line 2: lambda_get: cannot read .Records[0].s3.objekt"),
        "{message}"
    );
    assert!(message.contains("bucket, object"), "{message}");
}

#[test]
fn what_outlives_its_event_reads_nothing_of_the_next_one() {
    let body = r#"handler() {
  if [[ $1 == *first* ]]; then
    (read -r _ <"$LAMBDA_TASK_ROOT/go" || :; lambda_get secret .secret || :; echo "got ${secret-nothing}" >"$LAMBDA_TASK_ROOT/out") &
  else
    : >"$LAMBDA_TASK_ROOT/go"
    until [[ -s $LAMBDA_TASK_ROOT/out ]]; do read -rt 0.01 <>"$LAMBDA_TASK_ROOT/clock" || :; done
    lambda_get secret .secret
    echo "$secret"
  fi
}"#;
    let builder = Sandbox::of(body);
    builder.task_root().fifo("go");
    builder.task_root().fifo("clock");
    let sandbox = builder.start();
    sandbox.respond(r#"{"first":1,"secret":"of the first"}"#);
    assert_eq!(
        respond_text(&sandbox, r#"{"secret":"of the second"}"#),
        "of the second"
    );
    assert_eq!(sandbox.task_root.read("out"), "got nothing\n");
    sandbox
        .bootstrap
        .wait_log("lambda_get: cannot read the event: there is no invocation");
}

#[test]
fn callers_that_are_killed_delay_no_other() {
    let body = r#"handler() {
  for i in {1..40}; do
    (while :; do lambda_get x .a; done) & pids+=("$!")
  done
  for i in {1..20}; do lambda_get x .a; done
  kill -KILL "${pids[@]}"; wait 2>/dev/null || :
  for i in {1..20}; do lambda_get x .a; done
  echo "$x"
}"#;
    let sandbox = Sandbox::of(body).start();
    for number in 0..3 {
        assert_eq!(
            respond_text(&sandbox, format!("{{\"a\":{number}}}")),
            number.to_string()
        );
    }
}

/// A process that is killed at the wrong moment has taken a ticket, which names a slot, and sends no request.
#[test]
fn a_call_is_answered_although_all_tickets_were_lost_without_a_request() {
    let body = r#"handler() {
  local name paths=
  for name in $(compgen -v); do
    if [[ ${!name-} == /proc/*/fd/* ]]; then paths=$name; break; fi
  done
  for i in {1..8}; do (read -r -N 1 <"${!paths}"); done
  (lambda_get x .a; echo "$x")
}"#;
    let sandbox = Sandbox::of(body).start();
    for number in 0..2 {
        assert_eq!(
            respond_text(&sandbox, format!("{{\"a\":{number}}}")),
            number.to_string()
        );
    }
}

#[test]
fn a_folder_is_removed_when_its_event_ends() {
    let sandbox = Sandbox::of("handler() { lambda_tempdir dir; echo x >\"$dir/file\"; printf '%s' \"$dir\"; [[ $1 != fail ]] || exit 3; }").start();
    let folder = respond_text(&sandbox, "ok");
    assert!(folder.starts_with("/tmp/coshell-"), "{folder}");
    wait_until(|| !std::path::Path::new(&folder).exists(), LIMIT);
    sandbox.fail("fail");
    assert_ne!(respond_text(&sandbox, "ok"), folder);
}

#[test]
fn each_record_runs_alone_and_those_that_failed_are_reported() {
    let body = r#"work() {
  lambda_get id .messageId body .body
  echo "working on $id" >>"$LAMBDA_TASK_ROOT/done"
  case $body in
    1) exit 3 ;;
    2) false; echo never >>"$LAMBDA_TASK_ROOT/done" ;;
  esac
  count=$((${count-0} + 1)); echo "count $count" >>"$LAMBDA_TASK_ROOT/done"
}
handler() { lambda_each work; }"#;
    let sandbox = Sandbox::of(body).start();
    assert_eq!(
        respond_text(&sandbox, SQS),
        r#"{"batchItemFailures":[{"itemIdentifier":"one"},{"itemIdentifier":"two"}]}"#
    );
    assert_eq!(
        sandbox.task_root.read("done"),
        "working on one\nworking on two\nworking on three\ncount 1\n"
    );
}

/// The oracle is a bash of its own for each record.
#[test]
fn each_record_ends_as_it_would_in_a_shell_of_its_own() {
    let ends = [
        ":",
        "return 4",
        "exit 5",
        "exit 0",
        "false; :",
        "kill -9 \"$BASHPID\"",
        "kill \"$BASHPID\"",
        "kill -s PIPE \"$BASHPID\"",
        "bash -c 'kill -s USR1 \"$PPID\"'",
        "set +e; false; :",
        "cd /nowhere",
        "(exit 7)",
        "echo ${nothing?}",
    ];
    let numbered = ends.iter().enumerate();
    let arms: Vec<_> = numbered
        .map(|(number, end)| format!("    {number}) {end} ;;\n"))
        .collect();
    let arms = arms.concat();
    let body = format!(
        r"work() {{
  case $n in
{arms}  esac
}}
work_on_record() {{ local n; lambda_get n .body; work; }}
handler() {{ lambda_each work_on_record; }}"
    );
    let numbers: Vec<_> = (0..ends.len()).chain([5, 0, 2, 9, 3, 0]).collect();
    let records: Vec<_> = numbers
        .iter()
        .enumerate()
        .map(|(at, number)| {
            serde_json::json!({"messageId": format!("{at} {number}"), "body": number.to_string(),
                "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q"})
        })
        .collect();
    let event = serde_json::json!({"Records": records}).to_string();
    let sandbox = Sandbox::of(&body).start();
    let failed_records = || {
        let answer: serde_json::Value =
            serde_json::from_str(&respond_text(&sandbox, &event)).expect("JSON");
        let failed = answer["batchItemFailures"].as_array().expect("a list");
        let identifier =
            |one: &serde_json::Value| one["itemIdentifier"].as_str().map(str::to_owned);
        failed.iter().filter_map(identifier).collect::<Vec<_>>()
    };
    let fails = |number: usize| {
        let plain =
            format!("work() {{ case $1 in\n{arms}  esac; }}; set -euo pipefail; work {number}");
        let bash = std::env::var("COSHELL_TEST_BASH").unwrap_or_else(|_| "bash".to_owned());
        let run = std::process::Command::new(bash)
            .args(["-c", &plain])
            .output()
            .expect("bash runs");
        !run.status.success()
    };
    let expected: Vec<_> = numbers
        .iter()
        .enumerate()
        .filter(|(_, number)| fails(**number))
        .map(|(at, number)| format!("{at} {number}"))
        .collect();
    // In the first event the calls take tickets, in later ones the descriptors of the shell.
    for _ in 0..3 {
        assert_eq!(failed_records(), expected);
    }
    assert!(
        expected.len() > 5 && expected.len() < numbers.len(),
        "{expected:?}"
    );
    // bash would log the command of a subshell that was killed, which is coshell's own.
    let log = sandbox.bootstrap.final_log();
    assert!(
        log.contains("failed with status 137") && !log.contains("__driver"),
        "{log}"
    );
}

#[test]
fn a_record_that_a_signal_ends_stops_those_behind_it_in_a_fifo_queue() {
    let body = r#"work() {
  echo "$1" | lambda_get --file - n .body; n=; lambda_get n .body
  echo "$n" >>"$LAMBDA_TASK_ROOT/run"
  if [[ $n == 2 ]]; then kill -s TERM "$BASHPID"; fi
}
handler() { lambda_each work; }"#;
    let record = |number: u32| {
        serde_json::json!({"messageId": number.to_string(), "body": number.to_string(),
            "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q.fifo"})
    };
    let event = serde_json::json!({"Records": [record(1), record(2), record(3)]}).to_string();
    let sandbox = Sandbox::of(body).start();
    for number in 1..=3 {
        assert_eq!(
            respond_text(&sandbox, &event),
            r#"{"batchItemFailures":[{"itemIdentifier":"2"},{"itemIdentifier":"3"}]}"#
        );
        assert_eq!(sandbox.task_root.read("run"), "1\n2\n".repeat(number));
    }
}

/// Short values come in one line, between separators, and long ones in a file.
#[test]
fn values_come_as_they_are_whatever_they_contain() {
    let body = r#"handler() {
  local first value last
  [[ ! -v LAMBDA_NOGLOB ]] || set -f
  lambda_get first .a value .b last .c
  printf '%s|%s|%s|%s' "$first" "$value" "$last" "$(set +o | grep noglob)"
}"#;
    for noglob in [false, true] {
        let sandbox = Sandbox::of(body);
        let sandbox = if noglob {
            sandbox.env("LAMBDA_NOGLOB", "1")
        } else {
            sandbox
        };
        let sandbox = sandbox.start();
        for value in [
            "",
            " ",
            "  a  b ",
            "*",
            "/*",
            "[a-z]?",
            "\\",
            "\\n",
            ".",
            "\u{1f}",
            "a\u{1f}b",
            "\u{1f}.",
            "\n",
            "a\nb\n",
            "\t",
            "\u{1}\u{7f}",
            "é *",
            "$HOME",
            "-n",
            "x y\u{1f}",
        ] {
            let event = serde_json::json!({"a": value, "b": value, "c": value}).to_string();
            let option = if noglob { "-o" } else { "+o" };
            let expected = format!("{value}|{value}|{value}|set {option} noglob");
            assert_eq!(respond_text(&sandbox, &event), expected, "{value:?}");
        }
    }
}

#[test]
fn records_that_succeed_run_in_one_subshell() {
    let body = r#"work() { echo "$BASHPID" >>"$LAMBDA_TASK_ROOT/shells"; }
handler() { lambda_each work; }"#;
    let sandbox = Sandbox::of(body).start();
    respond_text(&sandbox, SQS);
    let shells = sandbox.task_root.read("shells");
    let shells: Vec<_> = shells.lines().collect();
    assert_eq!(shells.len(), 3);
    assert!(shells.iter().all(|shell| *shell == shells[0]), "{shells:?}");
}

#[test]
fn the_first_failure_ends_a_batch_whose_order_matters() {
    let body = r"work() { lambda_get body .body; [[ $body != 2 ]]; }
handler() { lambda_each work; }";
    let arn = r#""eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:1:q.fifo""#;
    let event = SQS.replace(r#""eventSource":"aws:sqs""#, arn);
    let sandbox = Sandbox::of(body).start();
    assert_eq!(
        respond_text(&sandbox, event),
        r#"{"batchItemFailures":[{"itemIdentifier":"two"},{"itemIdentifier":"three"}]}"#
    );
}

#[test]
fn json_and_encodings_are_as_python_has_them() {
    let body = r#"handler() { lambda_json text="$1" count:=3 list:='[1, 2]' a.b=c; lambda_encode base64 "$1"; lambda_hash sha256 "$1"; }"#;
    let sandbox = Sandbox::of(body).start();
    let text = respond_text(&sandbox, "a \"quoted\"\ttext\\ ä");
    let lines: Vec<_> = text.lines().collect();
    let document: serde_json::Value = serde_json::from_str(lines[0]).expect("JSON");
    assert_eq!(document["text"], "a \"quoted\"\ttext\\ ä");
    assert_eq!(document["list"], serde_json::json!([1, 2]));
    assert_eq!(document["a"]["b"], "c");
    // base64 of GNU coreutils.
    assert_eq!(lines[1], "YSAicXVvdGVkIgl0ZXh0XCDDpA==");
}

#[test]
fn a_file_that_calls_none_of_them_has_none() {
    let sandbox = Sandbox::of(
        "handler() { type -t lambda_log || :; compgen -A function lambda_ | tr '\\n' ' '; }",
    )
    .start();
    let text = respond_text(&sandbox, "x");
    assert!(!text.contains("lambda_get"), "{text}");
}
