//! Calls where the handler has unusual options, traps and variables: no text of an event runs, and nothing fails that should not.

use support::{Sandbox, always_forks, bash_version};

const ISOLATIONS: [&str; 3] = ["restore", "none", "subshell"];

fn records(count: usize) -> String {
    let record = |number| {
        format!(
            r#"{{"messageId":"id{number}","body":"b{number}","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:1:q"}}"#
        )
    };
    let records: Vec<_> = (0..count).map(record).collect();
    format!(
        r#"{{"text":"t","list":["a"],"Records":[{}]}}"#,
        records.join(",")
    )
}

/// Each handler answers the same to each of several events, in each isolation: later ones use the descriptors of the shell.
#[track_caller]
fn answers(script: &str, event: &str, expected: &str) {
    for isolation in ISOLATIONS {
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for number in 0..3 {
            let answer = sandbox.respond(event);
            let answer = String::from_utf8_lossy(&answer);
            assert_eq!(answer, expected, "{isolation}, event {number}: {script}");
        }
    }
}

/// With it, the attributes of a list match a pattern for those of a map, whose keys are texts of the event.
#[test]
fn keys_of_an_event_never_run_with_nocasematch() {
    if always_forks() {
        return;
    }
    let event = r#"{"version":"2.0","rawPath":"/","rawQueryString":"x%5B%24%28touch%20ran%29%5D=1","headers":{"x":"y"},
        "requestContext":{"http":{"method":"GET","path":"/"}},"map":{"x[$(touch ran)]":"1","k":"v"},"list":["a"]}"#;
    let calls = "shopt -s nocasematch; cd \"$LAMBDA_TASK_ROOT\"; lambda_request; lambda_get --map map .map --array list .list";
    let show =
        "echo \"${!query[*]} ${!headers[*]} ${#map[*]} ${map[k]} ${list[*]}\"; [[ ! -e ran ]]";
    let expected = "x[$(touch ran)] x 2 v a";
    answers(
        &format!("handler() {{ {calls}; {show}; }}"),
        event,
        expected,
    );
    answers(
        &format!("handler() {{ ({calls}; {show}); }}"),
        event,
        expected,
    );
}

#[test]
fn a_batch_is_read_with_nocasematch() {
    let script = "work() { :; }\nhandler() { shopt -s nocasematch; lambda_each work; }";
    answers(script, &records(2), r#"{"batchItemFailures":[]}"#);
}

#[test]
fn an_err_trap_does_not_see_commands_of_a_batch_or_a_guarded_call() {
    if always_forks() {
        return;
    }
    let script = "work() { :; }\nhandler() { set -E; trap 'exit 3' ERR; lambda_get x .nope || true; lambda_each work; }";
    answers(script, &records(2), r#"{"batchItemFailures":[]}"#);
}

#[test]
fn a_request_is_read_from_a_variable() {
    let event = r#"{"version":"2.0","rawPath":"/p","headers":{"x":"y"},"requestContext":{"http":{"method":"GET","path":"/p"}}}"#;
    let script = "handler() { local request=$1; lambda_request --in request; echo \"$path\"; }";
    answers(script, event, "/p");
}

#[test]
fn a_readonly_tmout_is_no_line_in_the_log() {
    let script =
        "readonly TMOUT=60\nhandler() { lambda_get x .text; (lambda_get y .text; echo \"$x$y\"); }";
    let sandbox = Sandbox::of(script).start();
    for _ in 0..2 {
        assert_eq!(sandbox.respond(r#"{"text":"t"}"#), b"tt");
    }
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

#[test]
fn readonly_variables_of_bash_change_no_call() {
    let script = r#"readonly IFS=$'\n\t' LC_ALL=C
handler() {
  lambda_log WARN a 'b  c' ''
  (lambda_error My.Type d e) || :
  case $1 in
    error) lambda_error My.Type f 'g  h' i ;;
    stream) lambda_stream_response text/plain ;;
    *) lambda_http_response 200 --file "$LAMBDA_TASK_ROOT/page.txt" ;;
  esac
}"#;
    let sandbox = Sandbox::of(script)
        .file("page.txt", " \n\ttext \n\n")
        .start();
    let page: serde_json::Value = serde_json::from_slice(&sandbox.respond("x")).expect("JSON");
    assert_eq!(page["body"], " \n\ttext \n\n");
    assert_eq!(sandbox.respond("stream"), b"");
    assert_eq!(sandbox.fail("error")["errorMessage"], "f g  h i");
    let log = sandbox.bootstrap.final_log();
    assert!(!log.contains("readonly"), "{log}");
    assert_eq!(log.matches("a b  c \n").count(), 3, "{log}");
    assert_eq!(
        log.matches("lambda_error: My.Type: d e\n").count(),
        3,
        "{log}"
    );
}

/// In a trap, bash's `return` alone gives the status from before the trap.
#[test]
fn a_refused_call_is_a_failure_in_a_trap_too() {
    let calls = [
        "lambda_http_response 99",
        "lambda_http_response 200 'a: b' --json",
        "lambda_stream_response a b",
        "lambda_keep 1x",
        "lambda_get x .nope",
        "lambda_json a",
        "lambda_request",
        "lambda_tempdir 1",
        "lambda_each nope",
        "lambda_remaining_ms a b",
        "lambda_hash nope",
    ];
    let calls = calls.map(|call| format!("{call} 2>/dev/null || echo failed"));
    let calls = calls.join("; ");
    let expected = ["failed"; 11].join("\n");
    if !always_forks() {
        let script = format!(
            "refused() {{ {calls}; }}\nhandler() {{ trap refused USR1; kill -USR1 $BASHPID; }}"
        );
        answers(&script, "{}", &expected);
    }
    let script = format!("refused() {{ {calls}; }}\nhandler() {{ trap refused EXIT; }}");
    answers(&script, "{}", &expected);
}

/// Nothing from the subshells of records reaches the next event.
#[test]
fn a_record_keeps_no_variable() {
    let script = "n=0\nwork() { n=7; lambda_keep n; }\nhandler() { echo \"$n\" >&2; lambda_each work; x=$(n=8; lambda_keep n); echo \" $n\"; }";
    let script = format!("{script}\nunused() {{ trap true EXIT; }}");
    answers(&script, &records(2), r#"{"batchItemFailures":[]} 0"#);
}

#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let script = "work() { return 1; }\nhandler() {\n  set +e\n  lambda_each work >/dev/full; echo $?\n\
        lambda_json a=\"$(printf %4000s)\" >/dev/full; echo $?\n  (lambda_json a=b >/dev/full); echo $?\n}";
    answers(script, &records(2), "1\n1\n1");
}

#[test]
fn records_run_with_the_options_of_the_call() {
    // An older shell shows the driver's -E, too.
    if always_forks() {
        return;
    }
    let script = "work() { echo \"$-\" >>\"$LAMBDA_TASK_ROOT/options\"; false; }\n\
        handler() { set +eu; lambda_each work >/dev/null; cat \"$LAMBDA_TASK_ROOT/options\"; rm \"$LAMBDA_TASK_ROOT/options\"; }";
    answers(script, &records(2), "hB\nhB");
    let script = script.replace("set +eu", ":");
    answers(&script, &records(1), "ehuB");
}

#[test]
fn a_readonly_target_of_any_kind_is_an_ordinary_failure() {
    // Bash 4 ends a fork at such an assignment.
    if bash_version() < (5, 0) {
        return;
    }
    let script = "handler() {\n  local -r text=1; local -Ar map=([a]=1)\n  lambda_get --array text .list || echo \"$?\"\n\
        lambda_get --map map . || echo \"$?\"\n  lambda_get --array map .list || echo \"$?\"\n  echo \"$text ${map[a]}\"\n}";
    answers(script, &records(1), "1\n1\n1\n1 1");
}

/// Variables that take each value as arithmetic, in which texts run commands, and calls that assign to them.
const INTEGER_TARGETS: &[(&str, &str)] = &[
    ("local -i n", "lambda_get n .text"),
    ("local -i n=5", "lambda_get n .text"),
    ("declare -gi n", "lambda_get n .text"),
    ("local -i m; local -n n=m", "lambda_get n .text"),
    ("local -ai a; local -n n=a[1]", "lambda_get n .text"),
    ("local -i n; local m", "lambda_get m .text n .text"),
    ("local -ix n", "lambda_get n .long"),
    ("local -i n", "lambda_get n .lines"),
    ("local -i n", "lambda_get n .octal"),
    ("local -ai n", "lambda_get --array n .list"),
    ("local -ai n", "lambda_get --array n .long_list"),
    ("local -Ai n", "lambda_get --map n .map"),
    ("local -Ai n", "lambda_get --map n .long_map"),
    ("local -i path", "lambda_request"),
    ("local -i body", "lambda_request"),
    ("local -i lang", "lambda_get lang .text"),
    ("local -i lc_all", "lambda_get lc_all .text"),
    ("local -Ai query", "lambda_request"),
    (
        "local -i n",
        "lambda_decode -v n base64 eFskKHRvdWNoIHJhbildCg==",
    ),
];

/// The oracle is the file that a command in the text would make.
#[test]
fn texts_never_run_in_integer_variables() {
    let text = "x[$(touch ran)]";
    let long = text.repeat(400);
    let event = format!(
        r#"{{"text":"{text}","long":"{long}","lines":"{text}\n{text}","octal":"08","list":["1","{text}"],"long_list":["{long}"],
        "map":{{"k":"{text}"}},"long_map":{{"k":"{long}"}},"version":"2.0","rawPath":"{text}","body":"{text}",
        "rawQueryString":"k=x%5B%24%28touch%20ran%29%5D","requestContext":{{"http":{{"method":"GET","path":"/"}}}}}}"#
    );
    // Bash before 4.3 has no namerefs.
    let has_namerefs = bash_version() >= (4, 3);
    let targets = INTEGER_TARGETS
        .iter()
        .filter(|(target, _)| has_namerefs || !target.contains("-n"));
    let tried = targets.map(|(target, call)| {
        format!("n=''; tried() {{ {target}; {call}; }}; tried; echo $?; [[ ! -e ran ]] || {{ echo ran; rm ran; }}\n")
    });
    let tried: Vec<_> = tried.collect();
    let script = format!(
        "all() {{\n{}}}\nhandler() {{ cd \"$LAMBDA_TASK_ROOT\"; set +e; shopt -s nocasematch; all; (all); all | cat; }}",
        tried.concat()
    );
    answers(&script, &event, "1\n".repeat(3 * tried.len()).trim_end());
}

#[test]
fn integer_variables_take_numbers() {
    let script = "work() { local -i n=5; local -ai list; lambda_get n .n --array list .list; echo \"$((n + 1)) ${list[*]}\"; }\n\
        handler() { work; (work); }";
    let event = r#"{"n":-42,"list":[0,-1,123456789012345678]}"#;
    let expected = "-41 0 -1 123456789012345678";
    answers(script, event, &format!("{expected}\n{expected}"));
}

/// The files of a shell are renewed when a process is left that has them. Its calls have files of their own.
#[test]
fn calls_are_answered_when_the_files_of_the_shell_were_renewed() {
    if always_forks() {
        return;
    }
    let script = r#"one() { echo did >>"$LAMBDA_TASK_ROOT/did"; return 1; }
handler() {
  cd "$LAMBDA_TASK_ROOT"
  if [[ -e job ]]; then kill "$(<job)"; fi
  eval "$JOB"
  lambda_each one 2>/dev/null
  lambda_get long .long
  lambda_get none .none 2>/dev/null || echo " $? ${#long}"
}"#;
    for isolation in ["restore", "none"] {
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .env("JOB", "(read -r _ <>gate; :) & echo \"$!\" >job")
            .start();
        sandbox.task_root.fifo("gate");
        let long = "x".repeat(5000);
        let event = records(1).replacen('{', &format!(r#"{{"long":"{long}","#), 1);
        for number in 1..=8 {
            let answer = sandbox.respond(&event);
            let answer = String::from_utf8_lossy(&answer);
            let expected = r#"{"batchItemFailures":[{"itemIdentifier":"id0"}]} 1 5000"#;
            assert_eq!(answer, expected, "{isolation}, event {number}");
            assert_eq!(sandbox.task_root.read("did").lines().count(), number);
        }
    }
}

/// A file of the handler in the place of ours: nothing of it is a reply, and no record is lost.
#[test]
fn replies_are_not_taken_from_another_file() {
    if always_forks() {
        return;
    }
    let script = r#"one() { return 1; }
handler() {
  lambda_get a .text b .list
  lambda_each one 84<"$LAMBDA_TASK_ROOT/other" 2>/dev/null
  exec 84<"$LAMBDA_TASK_ROOT/other"
  lambda_get --map map . 2>/dev/null
  exec 84<&-
  lambda_get long .long 2>/dev/null
  echo " $a ${map[text]} ${#long}"
}"#;
    let long = "x".repeat(5000);
    let event = records(2).replacen('{', &format!(r#"{{"long":"{long}","a key":1,"#), 1);
    for isolation in ["restore", "none"] {
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .file("other", "0\nt\na\nforged\n3\n".repeat(3))
            .start();
        for _ in 0..6 {
            let answer = sandbox.respond(&event);
            let failures =
                r#"{"batchItemFailures":[{"itemIdentifier":"id0"},{"itemIdentifier":"id1"}]}"#;
            assert_eq!(
                String::from_utf8_lossy(&answer),
                format!("{failures} t t 5000"),
                "{isolation}"
            );
        }
    }
}

#[test]
fn a_call_that_fails_assigns_nothing() {
    let script = r#"try() { local name=old other; local -i n=5; local -r fixed=before; "$@" 2>/dev/null || echo "$? $name ${other-} $n $fixed"; }
all() {
  try lambda_get name .name n .name
  try lambda_get name .name other .name n .name
  try lambda_get n .n name .name fixed .name
  try lambda_get name .n n .n fixed .n
  try lambda_get name .long n .long
  try lambda_get name .name other .none
}
handler() {
  all; (all); all | cat
  local -a list=(old); local -r fixed=before
  lambda_get fixed .name --array list .list 2>/dev/null || echo "$? ${list[*]} $fixed"
}"#;
    // An assignment to a readonly variable ends a function of bash 4.
    if bash_version() < (5, 0) {
        return;
    }
    let long = "x".repeat(5000);
    let event = format!(r#"{{"name":"Ada","n":7,"long":"{long}","list":["a"]}}"#);
    let expected = "1 old  5 before\n".repeat(18);
    answers(script, &event, &format!("{expected}1 old before"));
}

#[test]
fn the_locale_may_come_from_an_event() {
    let script = "handler() { lambda_get LC_ALL .locale; echo \"$LC_ALL\"; }";
    let sandbox = Sandbox::of(script).start();
    for _ in 0..3 {
        assert_eq!(sandbox.respond(r#"{"locale":"C.UTF-8"}"#), b"C.UTF-8");
    }
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

/// All values are in the order in which they came; without --join, the first cookie counts, as that of the narrower path.
#[test]
fn values_of_one_name_are_joined_in_their_order() {
    if always_forks() {
        return;
    }
    let event = r#"{"version":"2.0","rawPath":"/","rawQueryString":"q=1&q=2&q=3","cookies":["s=1","t=0","s=2","s=3"],
        "headers":{"x":"y"},"requestContext":{"http":{"method":"GET","path":"/"}}}"#;
    let script = r#"handler() {
  local -A cookies query
  lambda_request --join ', '
  echo "${cookies[s]}; ${cookies[t]}; ${query[q]}"
  lambda_request
  echo "${cookies[s]}; ${query[q]}"
}"#;
    answers(script, event, "1, 2, 3; 0; 1, 2, 3\n1; 3");
}
