//! Calls of a handler whose shell is not as usual: separators of words, options, signals, descriptors, processes that wait.

use support::Sandbox;

fn respond_text(sandbox: &Sandbox, event: impl AsRef<[u8]>) -> String {
    String::from_utf8(sandbox.respond(event)).expect("UTF-8")
}

fn of_queue(kind: &str, bodies: &[&str]) -> String {
    let records = bodies.iter().enumerate().map(|(number, body)| {
        format!(
            r#"{{"messageId":"m{number}","body":"{body}","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:1:q{kind}"}}"#
        )
    });
    format!(
        r#"{{"Records":[{}]}}"#,
        records.collect::<Vec<_>>().join(",")
    )
}

/// Every call, in the shell itself and in other processes, with an IFS in which digits, letters or our own separators end words.
#[test]
fn separators_of_words_change_no_call() {
    // In 4.2, a hyphen in IFS breaks ranges in patterns, as in [0-9], and `read` splits in another way.
    if support::always_forks() {
        return;
    }
    let body = r#"show() { local LC_ALL=C; printf '<%s>' "$@"; printf '\n'; }
calls() {
  local a=old b=old list number ms
  local -A map=()
  lambda_get a .a b '.b // "x y"'; show "$?" "$a" "$b"
  lambda_get --array list .list --map map .map; show "$?" "${list[@]}" "${map[k]}" "${#map[@]}"
  lambda_get .list; lambda_get --in a . 2>/dev/null || show "$?"
  lambda_get none .none.deeper 2>"$LAMBDA_TASK_ROOT/errors" || show "$?"
  show "$(sed 's/.*: line/line/' "$LAMBDA_TASK_ROOT/errors")"
  lambda_json -v a x=1 'y:=[2]'; show "$a"; lambda_json --array 1 '2 3'
  lambda_encode -v a hex '1 2'; show "$a"; lambda_hash sha256 <<<123
  jq -r .b <<<"$1"; jq -c .list <<<"$1" | jq length
  lambda_remaining_ms ms; ((ms > 1)) && show ms
  lambda_get b .a --json 2>/dev/null || show "$?"
  lambda_tempdir a; [[ -d $a ]] && show folder
  lambda_log "a 1 b 2"
}
handler() {
  SEPARATORS
  calls "$1"
  calls "$1"
  (calls "$1")
  calls "$1" | cat
}"#;
    let event =
        r#"{"a":"1 2\n3 1","b":"value 10","list":["1","21 3",4],"map":{"k":"1:0"},"long":"x"}"#;
    let run = |separators: &str| {
        let body = body.replace("SEPARATORS", separators);
        let sandbox = Sandbox::of(&body).env("COSHELL_COMMANDS", "jq").start();
        let texts = [(); 2].map(|()| respond_text(&sandbox, event));
        assert_eq!(texts[0], texts[1], "{separators}");
        texts.into_iter().next()
    };
    let expected = run(":").expect("a text");
    assert!(expected.contains("<0><1 2\n3 1><value 10>"), "{expected}");
    for separators in [
        "IFS=0123456789",
        "local IFS=abcdefghijklmnopqrstuvwxyz_",
        "IFS='-/. ='",
        "IFS=$'\\037\\n'",
        "IFS=",
        "unset IFS",
        "readonly IFS",
        "IFS=1; readonly IFS",
    ] {
        assert_eq!(run(separators).as_ref(), Some(&expected), "{separators}");
    }
}

#[test]
fn separators_of_words_change_no_batch() {
    let event = of_queue(".fifo", &["a", "a", "a", "bad", "c"]);
    for (separators, compatible) in [(" ", ""), ("1", ""), ("0123456789", ""), (" ", "4.3")] {
        let body = format!(
            r"work() {{ lambda_get b .body; case $b in a) exit 0 ;; bad) return 1 ;; esac; }}
handler() {{ local IFS='{separators}'; BASH_COMPAT={compatible}; lambda_each work; }}"
        );
        let sandbox = Sandbox::of(&body).start();
        assert_eq!(
            respond_text(&sandbox, &event),
            r#"{"batchItemFailures":[{"itemIdentifier":"m3"},{"itemIdentifier":"m4"}]}"#,
            "{separators} {compatible}"
        );
    }
}

/// Until 4.4, `continue` in a function is one of the loop around its call.
#[test]
fn a_record_whose_function_says_continue_is_one_record() {
    let body = r#"work() { lambda_get b .body; echo "$b" >>"$LAMBDA_TASK_ROOT/seen"; case $b in on) continue ;; bad) return 1 ;; esac; }
handler() { BASH_COMPAT=4.3; lambda_each work 2>/dev/null; }"#;
    let sandbox = Sandbox::of(body).start();
    assert_eq!(
        respond_text(&sandbox, of_queue("", &["on", "bad", "good", "on"])),
        r#"{"batchItemFailures":[{"itemIdentifier":"m1"}]}"#
    );
    assert_eq!(sandbox.task_root.read("seen"), "on\nbad\ngood\non\n");
}

#[test]
fn a_call_leaves_the_last_match_alone() {
    let body = r#"handler() {
  [[ $1 =~ \"id\":\"([0-9]+)\" ]]
  lambda_http_response 201 'X-Request: 7' --json id="${BASH_REMATCH[1]}"
  lambda_remaining_ms ms
  lambda_get x .id
  lambda_http_response 30x 2>/dev/null || :
  echo "${BASH_REMATCH[*]}" >&2
}"#;
    let sandbox = Sandbox::of(body).start();
    sandbox.respond(r#"{"id":"17"}"#);
    sandbox.bootstrap.wait_log(r#""id":"17" 17"#);
}

/// Names of descriptors are those of the process that calls, and never ours.
#[test]
fn a_call_reads_the_descriptors_of_its_caller() {
    let body = r#"handler() {
  lambda_hash -v sum --file <(printf abc) sha256; echo "${sum::8}"
  lambda_json x@=<(printf 'a process')
  printf 'standard input' | lambda_json x@=/dev/stdin
  lambda_json x@=/dev/fd/3 3<<<'here' 
  lambda_json x@=/proc/self/fd/3 3<<<'there'
  lambda_get --file <(printf '{"a":"field"}') .a
  lambda_get --file /dev/fd/4 .a 4<<<'{"a":"fields"}'
  exec 59>&-; lambda_json x@=/dev/fd/59 2>/dev/null || echo "$?"
}"#;
    let sandbox = Sandbox::of(body).start();
    let expected = "ba7816bf\n{\"x\":\"a process\"}\n{\"x\":\"standard input\"}\n{\"x\":\"here\\n\"}\n{\"x\":\"there\\n\"}\nfield\nfields\n1";
    for _ in 0..2 {
        assert_eq!(respond_text(&sandbox, "{}"), expected);
    }
}

/// More of them than there are slots.
#[test]
fn calls_that_wait_for_input_keep_no_other_waiting() {
    let body = r"handler() {
  local i
  for i in {1..12}; do { { read -rt 0.1 <><(:) || :; lambda_get .a; } | lambda_encode hex; } & done
  wait
  { read -rt 0.1 <><(:) || :; lambda_get .a; } | lambda_encode hex | lambda_encode hex | lambda_encode hex |
    lambda_encode hex | lambda_encode hex | lambda_encode hex | lambda_encode hex | lambda_encode hex |
    lambda_encode hex | lambda_hash sha256
}";
    let sandbox = Sandbox::of(body).start();
    let text = respond_text(&sandbox, r#"{"a":"x"}"#);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..12], ["780a"; 12]);
    assert_eq!((lines.len(), lines[12].len()), (13, 64));
}

#[test]
fn leftovers_that_wait_for_input_keep_no_event_waiting() {
    let body = r#"handler() {
  case $1 in
    leave) { sleep 1000 | lambda_hash sha256; } </dev/null >/dev/null 2>&1 & echo left ;;
    *) echo "got $(lambda_get .n)" ;;
  esac
}"#;
    let sandbox = Sandbox::of(body).start();
    for _ in 0..10 {
        assert_eq!(respond_text(&sandbox, "leave"), "left");
    }
    for _ in 0..3 {
        assert_eq!(respond_text(&sandbox, r#"{"n":8}"#), "got 8");
    }
}

/// A call whose process was killed while it waited for input takes nothing of what comes later.
#[test]
fn a_call_that_was_killed_reads_no_more() {
    let body = r#"handler() {
  case $1 in
    first)
      exec 9<>"$LAMBDA_TASK_ROOT/fifo"
      sleep 1000 >"$LAMBDA_TASK_ROOT/fifo" 2>/dev/null &
      lambda_hash sha256 <&9 >/dev/null 2>&1 &
      until [[ $(readlink /proc/$PPID/fd/*) == */fifo* ]]; do :; done
      kill -9 $!
      exec 9>&-
      echo killed
      ;;
    *)
      exec 9<>"$LAMBDA_TASK_ROOT/fifo"
      echo data >&9
      until [[ $(readlink /proc/$PPID/fd/*) != */fifo* ]]; do :; done
      read -rt 5 -u 9 line || line=nothing
      exec 9>&-
      echo "$line"
      ;;
  esac
}"#;
    let builder = Sandbox::of(body);
    builder.task_root().fifo("fifo");
    let sandbox = builder.start();
    for _ in 0..3 {
        assert_eq!(respond_text(&sandbox, "first"), "killed");
        assert_eq!(respond_text(&sandbox, "second"), "data");
    }
}

#[test]
fn a_call_without_bashpid_is_an_error() {
    // Before 5.0, bash does not unset it.
    if support::bash_version() < (5, 0) {
        return;
    }
    let body = r#"handler() { unset BASHPID; lambda_get x .a || echo "status $?"; jq . <<<1 || echo "status $?"; }"#;
    let sandbox = Sandbox::of(body).env("COSHELL_COMMANDS", "jq").start();
    for _ in 0..2 {
        assert_eq!(respond_text(&sandbox, r#"{"a":1}"#), "status 1\nstatus 5");
    }
    sandbox
        .bootstrap
        .wait_log("line 1: lambda_get: BASHPID is not set");
}

#[test]
fn a_call_that_cannot_assign_is_the_command_of_the_error() {
    // Before 5.0, bash ends the function at such an assignment.
    if support::bash_version() < (5, 0) {
        return;
    }
    let body = "readonly FIXED=1\nhandler() {\n  lambda_get x .a\n  lambda_get FIXED .a\n}";
    let sandbox = Sandbox::of(body).start();
    for _ in 0..2 {
        let document = sandbox.fail(r#"{"a":1}"#);
        let message = document["errorMessage"].as_str().expect("a message");
        assert!(
            message.starts_with("`lambda_get` ended with status 1"),
            "{message}"
        );
    }
}

/// In POSIX mode a signal interrupts `read`. The trap makes calls of its own, in the middle of others.
#[test]
fn signals_whose_traps_make_calls_change_no_call() {
    // There each event runs in a fork, and the job signals the shell.
    if support::always_forks() {
        return;
    }
    let body = r#"handler() {
  local i list list2 x t u
  trap 'lambda_get t .big u .u; [[ ${#t} == 3000 && $u == u ]] || echo "trap: ${#t} $u"; echo >&9' USR1
  MODE
  exec 9<>"$LAMBDA_TASK_ROOT/traps"
  { while kill -USR1 "$$"; do read -r -u 9; done; } >/dev/null 2>&1 &
  for i in {1..60}; do
    lambda_get --array list .list || echo "status $?"
    lambda_get --array list2 .list2 || echo "status $?"
    x=$(lambda_get .u) || echo "status $?"
    [[ "${list[*]} ${list2[*]} $x" == $'a\nb c d e u' ]] || echo "wrong: ${list[*]} ${list2[*]} $x"
    jq -n '[range(300)] | add' >"$LAMBDA_TASK_ROOT/out" || echo "status $?"
    [[ $(<"$LAMBDA_TASK_ROOT/out") == 44850 ]] || echo "jq: $(<"$LAMBDA_TASK_ROOT/out")"
  done
  kill $!
  trap - USR1
  echo done
}"#;
    let event = format!(
        r#"{{"list":["a\nb","c"],"list2":["d","e"],"u":"u","big":"{}"}}"#,
        "x".repeat(3000)
    );
    for mode in ["", "set -o posix"] {
        let builder = Sandbox::of(&body.replace("MODE", mode))
            .env("COSHELL_COMMANDS", "jq")
            .env("COSHELL_ISOLATION", "none")
            .env("COSHELL_SHELL_OPTIONS", "-uo pipefail");
        builder.task_root().fifo("traps");
        let sandbox = builder.start();
        for _ in 0..2 {
            assert_eq!(respond_text(&sandbox, &event), "done", "{mode}");
        }
    }
}

/// Lambda takes an empty identifier for the failure of the whole batch.
#[test]
fn a_failed_record_without_an_identifier_has_an_empty_one() {
    let sandbox = Sandbox::of("work() { return 1; }\nhandler() { lambda_each work; }").start();
    for id in ["", r#","messageId":null"#, r#","messageId":5"#] {
        let event = format!(r#"{{"Records":[{{"eventSource":"aws:sqs","body":"1"{id}}}]}}"#);
        let expected = r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#;
        assert_eq!(respond_text(&sandbox, event), expected, "{id}");
    }
}

/// The answer that says which records failed is for Lambda. Within a record nobody reads it.
#[test]
fn a_record_fails_if_a_batch_within_it_does() {
    let body = r"inner() { lambda_get b .body; [[ $b != bad ]] || return 1; }
work() { lambda_each inner; }
handler() { lambda_each --unwrap work; }";
    let inner = |body: &str| of_queue("", &["good", body]).replace('"', "\\\"");
    let event = of_queue("", &[&inner("good"), &inner("bad"), &inner("good")]);
    let sandbox = Sandbox::of(body).start();
    assert_eq!(
        respond_text(&sandbox, event),
        r#"{"batchItemFailures":[{"itemIdentifier":"m1"}]}"#
    );
}

/// Some expansions of bash take the square of a text's length: minutes for this one.
#[test]
fn texts_of_megabytes_go_through_every_call() {
    let body = r#"handler() {
  local event=$1 text list document
  lambda_get text .text; printf '%s ' "${#text}"
  lambda_get --array list .list; printf '%s ' "${#list}"
  (lambda_get text .text; printf '%s ' "${#text}")
  lambda_get --in event text .text; printf '%s ' "${#text}"
  lambda_json -v document a="$text"; printf '%s ' "${#document}"
  lambda_request; printf '%s\n' "${#body}"
}"#;
    // Before 5.2, bash reads the replies a byte at a time.
    let count = if support::bash_version() < (5, 2) {
        70_000
    } else {
        700_000
    };
    let length = 4 * count;
    let text = "\u{e4} -b".repeat(count);
    let event = serde_json::json!({
        "version": "2.0", "rawPath": "/", "headers": {}, "requestContext": {"http": {"method": "POST", "path": "/"}},
        "body": "x -y".repeat(50_000), "text": text, "list": [text],
    });
    let sandbox = Sandbox::of(body).start();
    for _ in 0..2 {
        assert_eq!(
            String::from_utf8_lossy(&sandbox.respond(event.to_string())),
            format!("{length} {length} {length} {length} {} 200000", length + 8)
        );
    }
}

/// What is no JSON is the text itself in the argument, and a string for the calls.
#[test]
fn an_unwrapped_record_is_the_message_as_it_was_sent() {
    let body = r#"work() {
  local all filtered
  lambda_get all . filtered '. | [.]'
  printf '<%s> <%s> <%s> %s\n' "$1" "$all" "$filtered" "$(lambda_get '. | type')" >>"$LAMBDA_TASK_ROOT/out"
  (lambda_get . >/dev/null && lambda_get . | cat >/dev/null) || echo failed >>"$LAMBDA_TASK_ROOT/out"
}
handler() {
  : >"$LAMBDA_TASK_ROOT/out"
  lambda_each --unwrap work >/dev/null
  cat "$LAMBDA_TASK_ROOT/out"
}"#;
    let bodies = [
        "b0",
        r#"it's \"here\" \\"#,
        r"two\nlines\n",
        "",
        "-n",
        "7",
        r#"{ \"a\": 1 }"#,
        r#" \"s\" "#,
    ];
    let expected = r#"<b0> <b0> <["b0"]> string
<it's "here" \> <it's "here" \> <["it's \"here\" \\"]> string
<two
lines
> <two
lines
> <["two\nlines\n"]> string
<> <> <[""]> string
<-n> <-n> <["-n"]> string
<7> <7> <[7]> number
<{ "a": 1 }> <{"a":1}> <[{"a":1}]> object
< "s" > <s> <["s"]> string"#;
    for isolation in ["restore", "subshell", "none"] {
        let sandbox = Sandbox::of(body)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for _ in 0..3 {
            let text = respond_text(&sandbox, of_queue("", &bodies));
            assert_eq!(text, expected, "{isolation}");
        }
    }
}
