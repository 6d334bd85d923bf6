//! Calls of the shell itself, which gets descriptors for them once it has made one.

use support::Sandbox;

const HAS_DESCRIPTORS: &str =
    "if [[ -e /dev/fd/68 && -e /dev/fd/69 && -e /dev/fd/84 ]]; then echo yes; else echo no; fi";

fn respond_text(sandbox: &Sandbox, event: impl AsRef<[u8]>) -> String {
    String::from_utf8(sandbox.respond(event)).expect("UTF-8")
}

/// Because of the jobs that these handlers start, coshell would run each event in a fork.
fn in_one_shell(body: &str) -> Sandbox {
    Sandbox::of(body).env("COSHELL_ISOLATION", "none").start()
}

#[test]
fn shell_gets_the_same_replies_before_and_after_it_has_descriptors() {
    // There each event runs in a fork, which gets none.
    if support::always_forks() {
        return;
    }
    let body = format!(
        r#"handler() {{
  {HAS_DESCRIPTORS}
  declare -A map; local a b c d e list copy
  lambda_get a .a b .b c .c d .d e .e
  printf '<%s>' "$a" "$b" "$c" "$d" "${{#e}}"
  lambda_get --array list .list --map map .map
  printf '<%s>' "${{list[@]}}" "${{map[x]}}" "${{map[y]}}"
  lambda_get none .none.deeper 2>"$LAMBDA_TASK_ROOT/errors" || echo "status $?"
  lambda_get 2>>"$LAMBDA_TASK_ROOT/errors" || echo "status $?"
  lambda_get .b
  lambda_get --json '{{"k":1}}' copy .k
  copy+=$(lambda_get .b) && lambda_get --in copy 2>>"$LAMBDA_TASK_ROOT/errors" .b || echo "<$copy>"
  lambda_hash sha256 x
  lambda_encode hex <<<"$1" | wc -c
  sed 's/^[^ ]*: line/line/' "$LAMBDA_TASK_ROOT/errors"
  echo "$$"
}}"#
    );
    let event = r#"{"a":"it's $(x) \\ `y`","b":"two\nlines ä","c":"","d":" blanks  ","e":"LONG","list":["a b","","c"],"map":{"x":"1","y":"'"}}"#;
    let long = event.replace("LONG", &"'".repeat(70_000));
    for event in [event, &long, &event.replace("c\"]", "c\\nd\"]")] {
        let sandbox = Sandbox::of(&body).start();
        let first = respond_text(&sandbox, event);
        let rest = first.strip_prefix("no\n").expect(&first);
        assert!(
            rest.contains("<it's $(x) \\ `y`><two\nlines ä><><"),
            "{rest}"
        );
        assert!(
            rest.contains("line 8: lambda_get: cannot read .none.deeper: "),
            "{rest}"
        );
        for _ in 0..2 {
            let next = respond_text(&sandbox, event);
            assert_eq!(next.strip_prefix("yes\n"), Some(rest));
        }
    }
}

#[test]
fn programs_do_not_inherit_the_descriptors_of_calls() {
    // There each event runs in a fork, which gets none.
    if support::always_forks() {
        return;
    }
    let body = format!("handler() {{ lambda_get x .x; {HAS_DESCRIPTORS}; ls /proc/self/fd; }}");
    let sandbox = Sandbox::of(&body).start();
    let first = respond_text(&sandbox, r#"{"x":1}"#);
    let next = respond_text(&sandbox, r#"{"x":1}"#);
    assert_eq!(next, first.replace("no\n", "yes\n"));
}

#[test]
fn callers_at_the_same_time_do_not_use_the_descriptors_of_the_shell() {
    // There each event runs in a fork, which gets none.
    if support::always_forks() {
        return;
    }
    let body = format!(
        r#"handler() {{
  {HAS_DESCRIPTORS}
  for i in {{1..20}}; do
    (lambda_get x ".list[$i]"; [[ $x == "v$i" ]] && echo right) &
  done
  for i in {{1..200}}; do
    lambda_get x ".list[$((i % 20))]" y .long
    [[ $x == "v$((i % 20))" && ${{#y}} == 5000 ]] || echo "$i: $x"
  done
  wait
}}"#
    );
    let list: Vec<_> = (0..=20).map(|number| format!("\"v{number}\"")).collect();
    let long = "x".repeat(5000);
    let event = format!(r#"{{"list":[{}],"long":"{long}"}}"#, list.join(","));
    let sandbox = in_one_shell(&body);
    let right = vec!["right"; 20].join("\n");
    assert_eq!(respond_text(&sandbox, &event), format!("no\n{right}"));
    assert_eq!(respond_text(&sandbox, &event), format!("yes\n{right}"));
}

/// The signals are far apart: bash 5.2 itself crashes now and then when a trap interrupts a trap that reads. The next shell has
/// no descriptors before its first call.
#[test]
fn a_trap_may_call_in_the_middle_of_a_call() {
    // There each event runs in a fork, which gets none.
    if support::always_forks() {
        return;
    }
    let body = format!(
        r#"on_signal() {{ lambda_get t .trap; [[ $t == trapped ]] || echo "in the trap: $t"; }}
handler() {{
  {HAS_DESCRIPTORS}
  local x t killer
  trap on_signal USR1
  (while kill -USR1 "$$"; do read -rt 0.02 <> <(:) || :; done) 2>/dev/null & killer=$!
  for i in {{0..99}} {{0..99}} {{0..99}}; do
    lambda_get x ".list[$i]"
    [[ $x == "v$i" ]] || echo "$i: $x"
  done
  trap '' USR1
  kill -9 "$killer"
  wait "$killer" 2>/dev/null || :
  trap - USR1
}}"#
    );
    let list: Vec<_> = (0..100).map(|number| format!("\"v{number}\"")).collect();
    let event = format!(r#"{{"list":[{}],"trap":"trapped"}}"#, list.join(","));
    let sandbox = in_one_shell(&body);
    assert_eq!(respond_text(&sandbox, &event), "no");
    let answers = [(); 3].map(|()| respond_text(&sandbox, &event));
    assert!(
        answers
            .iter()
            .all(|answer| answer == "yes" || answer == "no"),
        "{answers:?}"
    );
    assert!(answers.contains(&"yes".to_owned()), "{answers:?}");
}

#[test]
fn a_record_that_is_killed_in_a_call_leaves_the_next_calls_right() {
    // There each event runs in a fork, which gets none.
    if support::always_forks() {
        return;
    }
    let body = format!(
        r#"work() {{
  local x large
  lambda_get x .body
  if [[ $x == kill ]]; then
    printf -v large '%*s' 30000000 ''
    (until [[ -e /tmp/calls-shell-$$ ]]; do :; done; kill -9 "$BASH_OWN") &
    : >"/tmp/calls-shell-$$"
    lambda_json -v x text="$large"
    kill -9 "$BASHPID"
  fi
  echo "record $x" >>/tmp/calls-shell-log-$$
}}
handler() {{
  {HAS_DESCRIPTORS}
  local x
  rm -f "/tmp/calls-shell-$$" "/tmp/calls-shell-log-$$"
  lambda_each work | tr -d ' '
  for i in {{1..10}}; do lambda_get x ".Records[$((i % 3))].body"; printf '%s ' "$x"; done
  cat "/tmp/calls-shell-log-$$"
}}"#
    )
    .replace("$BASH_OWN", "$own")
    .replace("local x large", "local x large own=$BASHPID");
    let record =
        |id, body| format!(r#"{{"messageId":"{id}","eventSource":"aws:sqs","body":"{body}"}}"#);
    let records = [record(1, "a"), record(2, "kill"), record(3, "c")].join(",");
    let event = format!(r#"{{"Records":[{records}]}}"#);
    let sandbox = in_one_shell(&body);
    for has_descriptors in ["no", "yes", "yes"] {
        let expected = format!(
            "{has_descriptors}\n{{\"batchItemFailures\":[{{\"itemIdentifier\":\"2\"}}]}}kill c a kill c a kill c a kill record a\nrecord c"
        );
        assert_eq!(respond_text(&sandbox, &event), expected);
    }
}

#[test]
fn a_shell_that_closes_its_descriptors_can_call() {
    let body = format!(
        r"handler() {{
  {HAS_DESCRIPTORS}
  local x
  exec 68>&- 69<&- 70<&-
  lambda_get x .x 2>/dev/null; echo $x
}}"
    );
    let sandbox = Sandbox::of(&body).start();
    for number in 0..4 {
        let text = respond_text(&sandbox, format!(r#"{{"x":{number}}}"#));
        assert!(text.ends_with(&format!("\n{number}")), "{text}");
    }
}

/// A record that leaves a reply unread, here because it has closed the descriptor, must not leave it to the next call, nor to the next event.
#[test]
fn a_reply_that_a_record_leaves_is_for_no_other_call() {
    let body = r#"unread() { exec 69<&-; local x; lambda_get x .s3.secret; [[ $x == record-* ]]; }
ends() { exec 69<&-; lambda_get x .s3.secret; exit 3; }
handler() {
  local a=none b=none c=none
  lambda_get a .secret
  lambda_each unread
  lambda_get b .secret
  lambda_each ends 2>/dev/null || :
  lambda_get c .secret
  echo "$a $b $c"
}"#;
    let sandbox = Sandbox::of(body).start();
    for number in 0..6 {
        let record = format!(r#"{{"eventSource":"aws:s3","s3":{{"secret":"record-{number}"}}}}"#);
        let event = format!(r#"{{"secret":"event-{number}","Records":[{record},{record}]}}"#);
        let expected = [(); 3].map(|()| format!("event-{number}")).join(" ");
        assert_eq!(respond_text(&sandbox, event), expected);
    }
}

/// Only a process that waits may leave its descriptors to its records.
#[test]
fn records_that_run_beside_other_calls_get_their_own_replies() {
    let body = r#"work() { local id i; for i in {1..8}; do id=unset; lambda_get id .messageId; [[ $id == m* ]] || echo "record: $id"; done; }
beside() {
  local i tag
  for i in {1..30}; do tag=unset; lambda_get tag .tag; [[ $tag == the-tag ]] || echo "beside: $tag"; done
}
handler() {
  local tag
  lambda_get tag .tag
  case $2 in
    pipe) { lambda_each work >/dev/null; } | lambda_each work >/dev/null ;;
    lastpipe) shopt -s lastpipe; { lambda_each work >/dev/null; } | beside ;;
    background) { lambda_each work >/dev/null; } & beside; wait ;;
  esac
  echo "$tag"
}"#;
    for kind in ["pipe", "lastpipe", "background"] {
        println!("case: {kind}");
        let sandbox = in_one_shell(&body.replace("$2", kind));
        let record = |id| format!(r#"{{"messageId":"{id}","eventSource":"aws:sqs"}}"#);
        let event = format!(
            r#"{{"tag":"the-tag","Records":[{},{}]}}"#,
            record("m1"),
            record("m2")
        );
        for _ in 0..4 {
            assert_eq!(respond_text(&sandbox, &event), "the-tag");
        }
        assert!(!sandbox.bootstrap.final_log().contains("record: "));
    }
}

#[test]
fn what_a_handler_has_at_a_number_of_ours_is_not_run() {
    let body = r#"handler() {
  local x
  while read -r line <&69; do lambda_get x .x; echo "$x"; done 69<<<"line
echo forged; $(printf 'echo forged; %.0s' {1..40})"
}"#;
    let sandbox = Sandbox::of(body).start();
    for number in 0..4 {
        let text = respond_text(&sandbox, format!(r#"{{"x":{number}}}"#));
        assert!(!text.lines().any(|line| line == "forged"), "{text}");
        assert!(
            text.lines().any(|line| line == number.to_string()),
            "{text}"
        );
    }
}

#[test]
fn replies_are_not_in_the_log_of_a_verbose_shell() {
    let body = "set -v\nhandler() { local x; lambda_get x .password; echo \"${#x}\"; }";
    for isolation in ["none", "restore", "subshell"] {
        let sandbox = Sandbox::of(body)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for _ in 0..3 {
            assert_eq!(respond_text(&sandbox, r#"{"password":"hunter2"}"#), "7");
        }
        let log = sandbox.bootstrap.final_log();
        assert!(!log.contains("hunter2"), "{isolation}: {log}");
    }
}

#[test]
fn a_readonly_variable_is_a_failure() {
    // Before 5.0, bash ends the function at such an assignment.
    if support::bash_version() < (5, 0) {
        return;
    }
    let body = r#"readonly FIXED=before
handler() {
  local list
  { lambda_get FIXED .x; } 2>/dev/null || printf 'a%s ' "$?"
  { lambda_get --array FIXED .list; } 2>/dev/null || printf 'b%s ' "$?"
  { lambda_json -v FIXED x=1; } 2>/dev/null || printf 'c%s ' "$?"
  { lambda_tempdir FIXED; } 2>/dev/null || printf 'd%s ' "$?"
  printf %s "$(lambda_get FIXED .x 2>/dev/null || printf 'e%s ' "$?")"
  printf %s "$FIXED"
}"#;
    let sandbox = Sandbox::of(body).start();
    for _ in 0..3 {
        let text = respond_text(&sandbox, r#"{"x":1,"list":[1,2]}"#);
        assert_eq!(text, "a1 b1 c1 d1 e1 before");
    }
}

/// A process of an event that has ended gets no folder, which nobody would remove.
#[test]
fn a_leftover_process_gets_no_folder() {
    let body = r#"handler() {
  if [[ $1 == first ]]; then
    { read -r _ <"$LAMBDA_TASK_ROOT/gate"; x=none; lambda_tempdir x || :; echo "folder: $x" >"$LAMBDA_TASK_ROOT/found"; } >/dev/null 2>&1 &
  else
    echo go >"$LAMBDA_TASK_ROOT/gate"
    until [[ -s $LAMBDA_TASK_ROOT/found ]]; do :; done
    cat "$LAMBDA_TASK_ROOT/found"
  fi
}"#;
    let builder = Sandbox::of(body).env("COSHELL_ISOLATION", "none");
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    assert_eq!(respond_text(&sandbox, "first"), "");
    assert_eq!(respond_text(&sandbox, "second"), "folder: none");
}

#[test]
fn exit_in_a_trap_in_the_middle_of_a_call_has_its_status() {
    let body = r#"handler() {
  local x
  trap 'exit 9' USR1
  { read -rt 0.1 <> <(:) || kill -USR1 "$$"; } >/dev/null 2>&1 &
  while :; do lambda_get x .x; done
}"#;
    let sandbox = in_one_shell(body);
    for _ in 0..3 {
        let document = sandbox.fail(r#"{"x":1}"#);
        let message = document["errorMessage"].as_str().expect("a message");
        // Between two calls, the trap has a place in the file.
        assert!(
            message.starts_with("handler exited with status 9"),
            "{message}"
        );
    }
}
