//! Calls of the shell itself, which gets descriptors for them once it has made one.

use support::Sandbox;

const HAS_DESCRIPTORS: &str =
    "if [[ -e /dev/fd/68 && -e /dev/fd/69 && -e /dev/fd/70 ]]; then echo yes; else echo no; fi";

fn respond_text(sandbox: &Sandbox, event: impl AsRef<[u8]>) -> String {
    String::from_utf8(sandbox.respond(event)).expect("UTF-8")
}

/// Because of the jobs that these handlers start, coshell would run each event in a fork.
fn in_one_shell(body: &str) -> Sandbox {
    Sandbox::of(body).env("COSHELL_ISOLATION", "none").start()
}

#[test]
fn shell_gets_the_same_replies_before_and_after_it_has_descriptors() {
    let body = format!(
        r#"handler() {{
  {HAS_DESCRIPTORS}
  declare -A map; local a b c d e list copy
  lambda_get a .a b .b c .c d .d e .e
  printf '<%s>' "$a" "$b" "$c" "$d" "${{#e}}"
  lambda_get --array list .list --map map .map
  printf '<%s>' "${{list[@]}}" "${{map[x]}}" "${{map[y]}}"
  lambda_get none .none.deeper 2>/tmp/error || echo "status $?"
  lambda_get 2>>/tmp/error || echo "status $?"
  lambda_get .b
  lambda_get --json '{{"k":1}}' copy .k
  copy+=$(lambda_get .b) && lambda_get --in copy 2>>/tmp/error .b || echo "<$copy>"
  lambda_hash sha256 x
  lambda_encode hex <<<"$1" | wc -c
  sed 's/^[^ ]*: line/line/' /tmp/error
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
    let body = format!("handler() {{ lambda_get x .x; {HAS_DESCRIPTORS}; ls /proc/self/fd; }}");
    let sandbox = Sandbox::of(&body).start();
    let first = respond_text(&sandbox, r#"{"x":1}"#);
    let next = respond_text(&sandbox, r#"{"x":1}"#);
    assert_eq!(next, first.replace("no\n", "yes\n"));
}

#[test]
fn callers_at_the_same_time_do_not_use_the_descriptors_of_the_shell() {
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
