//! The function `jq` and the filters of `lambda_get`, which the second program runs.

use std::path::Path;
use std::time::Duration;

use support::{Event, LIMIT, Sandbox, SandboxBuilder, bootstrap_path, wait_until};

/// A handler that gets our function whether or not the program jq is installed.
fn with_jq(body: &str) -> SandboxBuilder {
    Sandbox::of(body).env("COSHELL_COMMANDS", "jq")
}

fn respond(sandbox: &Sandbox, event: impl AsRef<[u8]>) -> String {
    String::from_utf8(sandbox.respond(event)).expect("UTF-8")
}

/// bash has other files at 0 while it waits for a reply.
#[test]
fn standard_input_by_its_name_is_that_of_the_caller() {
    let body = r#"all() {
  local name
  [[ -L link ]] || ln -s /dev/stdin link
  for name in /dev/stdin //dev/./stdin /dev/fd/0 /proc/self/fd/0 link; do
    jq -c . "$name" <<<1
    echo 2 | jq -c . "$name"
    echo 3 | (jq -n --slurpfile x "$name" '$x[0]')
    echo "$(jq . "$name" <<<4)"
    jq . "$name" <<<5 &
    wait "$!"
  done
  (cd /dev; jq . stdin <<<6; cd fd; jq . 0 <<<7)
  jq . /dev/stdin <&- 2>/dev/null || echo "closed $?"
}
handler() {
  cd "$LAMBDA_TASK_ROOT"
  all
  (all)
}"#;
    let once = "1\n2\n3\n4\n5\n".repeat(5) + "6\n7\nclosed 2\n";
    for isolation in ["restore", "subshell", "none"] {
        let sandbox = with_jq(body).env("COSHELL_ISOLATION", isolation).start();
        for _ in 0..3 {
            assert_eq!(
                respond(&sandbox, "x"),
                once.repeat(2).trim_end(),
                "{isolation}"
            );
        }
    }
}

/// Some patterns of bash take the square of a text's length: minutes for this one.
#[test]
fn an_argument_may_be_long() {
    let body = r#"handler() {
  local text=$1
  jq -n --arg text "$text" '$text | length'
  jq -n --arg text "$text" -r 'env.LAMBDA_TASK_ROOT' --args "$text"
}"#;
    let sandbox = with_jq(body).start();
    let root = sandbox.task_root.path().display().to_string();
    for _ in 0..2 {
        let text = respond(&sandbox, "- ".repeat(200_000) + "\u{e4}");
        assert_eq!(text, format!("400001\n{root}"));
    }
}

/// A filter of `lambda_get` comes to jq in another way than those of `jq`, and a path does not come there.
#[test]
fn pairs_of_surrogates_are_one_character_in_each_filter() {
    let body = r#"handler() {
  lambda_get x '.a? + "\ud83d\ude00"' y '."\ud83d\ude00"' z '.["\ud83d\ude00"] + 1'
  jq -r '."\ud83d\ude00", "\ud83d\ude00"' <<<"$1"
  echo "$x $y $z"
}"#;
    let sandbox = with_jq(body).start();
    for _ in 0..2 {
        let text = respond(&sandbox, r#"{"a":"A","\ud83d\ude00":1}"#);
        assert_eq!(text, "1\n\u{1f600}\nA\u{1f600} 1 2");
    }
}

/// Prints the process ids of the second program. A thread of the host may end meanwhile.
const TOOLS: &str = r#"tools() {
  local children child name list
  for children in /proc/$PPID/task/*/children; do
    list=()
    { read -ra list <"$children"; } 2>/dev/null || :
    for child in "${list[@]}"; do
      if { read -r name <"/proc/$child/comm"; } 2>/dev/null && [[ $name == coshell-tools ]]; then echo "$child"; fi
    done
  done
}
"#;

/// Not those of the second program, which is there before the caller sets `TZ`.
#[test]
fn local_times_are_those_of_the_callers_zone() {
    let body = r#"handler() {
  local filter='localtime[2:5], (localtime | mktime), strflocaltime("%d %H:%M %Z %z"), (localtime | strflocaltime("%H:%M %Z"))'
  TZ=CET-1CEST,M3.5.0,M10.5.0/3 jq -c "$filter" <<<"$1"
  export TZ=:EST5EDT,M3.2.0,M11.1.0
  jq -c "$filter" <<<"$1"
  unset TZ
  jq -c 'gmtime[2:5], strftime("%H:%M %Z")' <<<"$1"
}"#;
    let sandbox = with_jq(body).env("TZ", ":UTC").start();
    let expected = "[1,14,0]\n1719842400\n\"01 14:00 CEST +0200\"\n\"14:00 CEST\"\n\
                    [1,8,0]\n1719820800\n\"01 08:00 EDT -0400\"\n\"08:00 EDT\"\n\
                    [1,12,0]\n\"12:00 UTC\"";
    assert_eq!(respond(&sandbox, "1719835200"), expected);
    assert_eq!(
        respond(&sandbox, "1719835200.5").lines().nth(5),
        Some("1719820800")
    );
}

#[test]
fn jq_reads_and_writes_where_its_caller_does() {
    let body = r#"handler() {
  local x file=$LAMBDA_TASK_ROOT/file
  x=$(echo "$1" | jq -r .a)
  echo "pipeline $x"
  jq -c . <<<"$1"
  { jq -n 1; jq -n 2; } >"$file"
  jq -n 3 >>"$file"
  tr '\n' ' ' <"$file"
  echo '{"a":1} {"a":2}' >"$file"
  { jq -n -c input; cat; } <"$file"
  cd "$LAMBDA_TASK_ROOT"
  jq -c .a file /dev/fd/3 3<<<'{"a":3}'
  jq -c .a <(echo '{"a":4}')
  echo '{"a":{"b":[5]}}' | jq -c .a | jq -c .b | jq '.[0]'
  jq -r '.a, $x, env.EXPORTED, $ENV.LOCAL' --arg x 6 <<<'{"a":"ä"}'
}
export EXPORTED=yes"#;
    let sandbox = with_jq(body).start();
    let expected = "pipeline b c\n{\"a\":\"b c\"}\n1 2 3 {\"a\":1}\n1\n2\n3\n4\n5\nä\n6\nyes\nnull";
    for isolation in ["restore", "subshell", "process", "none"] {
        let other = with_jq(body).env("COSHELL_ISOLATION", isolation).start();
        assert_eq!(respond(&other, r#"{"a":"b c"}"#), expected, "{isolation}");
    }
    for _ in 0..2 {
        assert_eq!(respond(&sandbox, r#"{"a":"b c"}"#), expected);
    }
    let log = sandbox.bootstrap.log();
    assert!(!log.contains("still running"), "{log}");
}

#[test]
fn the_statuses_are_those_of_jq() {
    let body = r#"status() { jq "$@" <<<'{"a":null}' >/dev/null 2>>"$LAMBDA_TASK_ROOT/errors"; printf '%s ' "$?"; }
handler() {
  set +e
  status .; status -e .a; status -e empty; status --nope; status . /none; status '.a |'; status 'error("x")'
  status -n 'halt_error(7)'; status -n 'error({"a":1})'; status --argjson x '{' .
  echo '{' | jq . 2>/dev/null; printf '%s ' "$?"
  echo '1 "x"' | jq -n 'inputs | error' 2>/dev/null; printf '%s ' "$?"
  echo '1 "x"' | jq '(-.)' >/dev/null 2>&1; printf '%s ' "$?"
  echo '"x" 1' | jq '(-.)' >/dev/null 2>&1; printf '%s ' "$?"
  jq -n 'range(100000)' | head -1 >/dev/null; printf '%s ' "${PIPESTATUS[0]}"
}"#;
    let sandbox = with_jq(body).start();
    assert_eq!(respond(&sandbox, "x"), "0 1 4 2 2 3 5 7 5 2 2 5 5 0 141 ");
    let errors = sandbox.task_root.read("errors");
    for text in [
        "jq: error: Unknown option: --nope",
        "jq: error: Could not open /none",
        "jq: error (at <stdin>): x",
        "jq: error (at <stdin>) (not a string): {\"a\":1}",
        "jq: 1 compile error",
    ] {
        assert!(errors.contains(text), "{text}\n{errors}");
    }
}

/// The words of jq 1.8. The program that tests have is older.
#[test]
fn errors_are_in_the_words_of_jq() {
    let cases = [
        (
            "1 / 0",
            "number (1) and number (0) cannot be divided because the divisor is zero",
        ),
        (
            "5 % 0.5",
            "number (5) and number (0.5) cannot be divided (remainder) because the divisor is zero",
        ),
        ("[] / 0", "array ([]) and number (0) cannot be divided"),
        ("1 | trim", "trim input must be a string"),
        (
            "[1] | utf8bytelength",
            "array ([1]) only strings have UTF-8 byte length",
        ),
        (
            r#""yes" | toboolean"#,
            r#"string ("yes") cannot be parsed as a boolean"#,
        ),
        ("{} | bsearch(0)", "object ({}) cannot be searched from"),
        ("1 | implode", "implode input must be an array"),
        (
            "[null] | implode",
            "null (null) can't be imploded, unicode codepoint needs to be numeric",
        ),
        (
            r#"["a"] | mktime"#,
            "mktime requires parsed datetime inputs",
        ),
        ("0 | strftime(1)", "strftime/1 requires a string format"),
        ("setpath([range(10001)]; 0)", "Path too deep"),
        (
            "[1] as [[$x]] ?// {$y} | 0",
            r#"Cannot index array with string ("y")"#,
        ),
    ];
    let values = [
        "[infinite % 3, -infinite % infinite, (nan % 1 | isnan)]",
        r#"["true", false | toboolean]"#,
        "[-1, 55296, 65.5] | implode",
        "[2024, 8, 21] | mktime",
        r#"[2024, 2, 15] | strftime("%F %T")"#,
        "[[1, 2] | .[nan], has(nan)]",
        r#"builtins | [length > 150, any(.[]; startswith("_")), (["map/1", "nosuch/0"][] as $name | any(.[]; . == $name))]"#,
        r#"[[1], {"b": 2}, 3] | map(. as [$a] ?// {$b} ?// $c | [$a, $b, $c])"#,
        r#"[[[1, 2]] | .[] as [$a] ?// $a | if ($a | type) == "number" then error("x") else $a end]"#,
        r#"{"a": 1} | .a?//2"#,
    ];
    let expected = [
        "[1,-1,true]",
        "[true,false]",
        r#""\ufffd\ufffdA""#,
        "1726876800",
        r#""2024-03-15 00:00:00""#,
        "[null,false]",
        "[true,false,true,false]",
        "[[1,null,null],[null,2,null],[null,null,3]]",
        "[[1,2]]",
        "1",
    ];
    let body = "handler() { local f; while IFS= read -r f; do jq -nac \"$f\" 2>&1 || :; done; }";
    let sandbox = with_jq(body).start();
    let filters = cases.map(|(filter, _)| format!("try ({filter}) catch ."));
    let answer = respond(&sandbox, filters.join("\n") + "\n");
    let messages = cases.map(|(_, message)| serde_json::Value::from(message).to_string());
    assert_eq!(answer.lines().collect::<Vec<_>>(), messages);
    let answer = respond(&sandbox, values.join("\n") + "\n");
    assert_eq!(answer.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_failing_jq_ends_the_handler_as_a_program_does() {
    let sandbox =
        with_jq("handler() {\n  jq -n 'error(\"no such order\")'\n  echo never\n}").start();
    let error = sandbox.fail("x");
    assert_eq!(error["errorType"], "Function.CommandFailed");
    let message = error["errorMessage"].as_str().expect("a message");
    assert!(message.contains("jq"), "{message}");
    assert!(message.contains("no such order"), "{message}");
}

#[test]
fn values_are_written_as_they_arrive() {
    let body = r#"handler() {
  mkfifo "$TMPDIR/in" "$TMPDIR/out"
  jq -c '.a' <"$TMPDIR/in" >"$TMPDIR/out" &
  exec 5>"$TMPDIR/in" 6<"$TMPDIR/out"
  for i in 1 2 3; do
    echo "{\"a\":$i}" >&5
    read -r value <&6
    printf '%s ' "$value"
  done
  exec 5>&-
  wait "$!"
  exec 6<&-
}"#;
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().to_string_lossy().into_owned();
    let sandbox = with_jq(body).env("TMPDIR", name).start();
    assert_eq!(respond(&sandbox, "x"), "1 2 3 ");
}

#[test]
fn fifty_callers_are_each_answered_rightly() {
    let body = r#"handler() {
  local i
  for i in {1..50}; do
    (x=$(jq ".list[$i]" <<<"$1" | jq '. * 2'); lambda_get y ".list | map(. * 3) | .[$i]"; [[ $x == $((i * 2)) && $y == $((i * 3)) ]] && echo "$i") &
  done
  wait
}"#;
    let list: Vec<_> = (0..=50).map(|number| number.to_string()).collect();
    let event = format!("{{\"list\":[{}]}}", list.join(","));
    let sandbox = with_jq(body).start();
    let text = respond(&sandbox, event);
    let mut numbers: Vec<usize> = text.lines().flat_map(str::parse).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>(), "{text}");
}

#[test]
fn a_filter_ends_with_its_caller() {
    let body = format!(
        "{TOOLS}{}",
        r#"handler() {
  mkfifo "$TMPDIR/in" "$TMPDIR/out"
  jq -c 'if . == 1 then . else def f: f; f end' <"$TMPDIR/in" >"$TMPDIR/out" &
  exec 5>"$TMPDIR/in" 6<"$TMPDIR/out"
  echo 1 >&5; read -r _ <&6; echo 2 >&5
  tools
  kill -KILL "$!"; wait "$!" || :
  exec 5>&- 6<&-
  jq -n '"next"'
}"#
    );
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().to_string_lossy().into_owned();
    let sandbox = with_jq(&body).env("TMPDIR", name).start();
    let text = respond(&sandbox, "x");
    let (pid, next) = text.split_once('\n').expect("two lines");
    assert_eq!(next, "\"next\"");
    let process = Path::new("/proc").join(pid);
    wait_until(|| !process.exists(), LIMIT);
}

#[test]
fn a_second_program_that_is_killed_costs_one_call() {
    let body = format!(
        "{TOOLS}{}",
        r#"handler() {
  mkfifo "$TMPDIR/in" "$TMPDIR/out"
  jq -c . <"$TMPDIR/in" >"$TMPDIR/out" &
  exec 5>"$TMPDIR/in" 6<"$TMPDIR/out"
  echo 1 >&5; read -r _ <&6
  kill -KILL $(tools)
  wait "$!" || printf 'status %s ' "$?"
  exec 5>&- 6<&-
  jq -n '"next"'
  lambda_get x 'if .a then "again" else "no" end'; echo "$x"
}"#
    );
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().to_string_lossy().into_owned();
    let sandbox = with_jq(&body).env("TMPDIR", name).start();
    assert_eq!(respond(&sandbox, r#"{"a":1}"#), "status 5 \"next\"\nagain");
    sandbox
        .bootstrap
        .wait_log("jq: cannot finish: coshell-tools ended with SIGKILL");
}

#[test]
fn what_needs_too_much_costs_one_call() {
    let body = r#"failing() { jq -n "$1" || printf 'status %s ' "$?"; jq -n '"next"'; }
handler() {
  failing '[range(1e12)]'
  failing 'def f: f|f; f'
  failing '"x" * 1e10'
  lambda_get x '[limit(1e12; repeat(1))]' || printf 'status %s ' "$?"
  lambda_get x '[.a] | add'; echo "$x"
}"#;
    let sandbox = with_jq(body).env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
    let sandbox = sandbox.start();
    let next = "status 5 \"next\"\n".repeat(3);
    assert_eq!(respond(&sandbox, r#"{"a":1}"#), format!("{next}status 1 1"));
    let log = sandbox.bootstrap.log();
    assert!(log.contains("it needs more memory than there is"), "{log}");
    assert!(log.contains("nests too deeply"), "{log}");
}

/// Lists in each other.
fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn hostile_documents_are_errors() {
    let body = r#"handler() {
  local document
  for document in "$LAMBDA_TASK_ROOT"/*.json; do
    jq -c 'if type == "array" then length else . end' "$document" 2>/dev/null || printf 'status %s\n' "$?"
  done
  echo '"next"' | jq .
}"#;
    let sandbox = with_jq(body)
        .file("1.json", vec![b'['; 10_000_000])
        .file("2.json", "\"\\ud800\" \"\\udc00x\" \"\\ud83d\\ude00\"")
        .file("3.json", b"\"\0\"".as_slice())
        .file("4.json", "1e999 -1e999 123456789012345678901234567890")
        .file("5.json", "{\"a\":1,\"b\":2,\"a\":3}")
        .file("6.json", b"\"\xff\xfe\"".as_slice())
        .file("7.json", "[1,2")
        .file("8.json", "nope")
        .file("9.json", nested(9000))
        .file("91.json", nested(10_000))
        .file("92.json", nested(10_001))
        .start();
    let expected = [
        "status 2",
        "\"\u{fffd}\"\n\"\u{fffd}x\"\n\"😀\"",
        "status 2",
        "1.7976931348623157e+308\n-1.7976931348623157e+308\n123456789012345678901234567890",
        "{\"a\":3,\"b\":2}",
        "\"\u{fffd}\u{fffd}\"",
        "status 2",
        "status 2",
        "1",
        "1",
        "status 2",
        "\"next\"",
    ];
    assert_eq!(respond(&sandbox, "x"), expected.join("\n"));
}

#[test]
fn a_handler_is_stopped_at_its_deadline_while_a_filter_runs() {
    let body = format!(
        "{TOOLS}handler() {{ if [[ $1 == next ]]; then jq -n 1; else jq -n 'def f: f; f'; fi; }}"
    );
    let sandbox = with_jq(&body)
        .env("COSHELL_DEADLINE_MARGIN_MS", "1000")
        .start();
    let event = Event::fresh("x").with_deadline_in(Duration::from_millis(1500));
    let call = sandbox.invoke(event);
    assert_eq!(call.error_document()["errorType"], "Function.Timeout");
    assert_eq!(respond(&sandbox, "next"), "1");
}

#[test]
fn an_installed_program_and_a_function_of_the_file_are_not_hidden() {
    let program = "#!/bin/sh\necho program\n";
    let body = "handler() { jq -n 1; }";
    let path = |sandbox: &SandboxBuilder| {
        format!("{}:/usr/bin:/bin", sandbox.task_root().path().display())
    };
    let builder = Sandbox::of(body).executable("jq", program);
    let with_program = path(&builder);
    assert_eq!(
        respond(&builder.env("PATH", &with_program).start(), "x"),
        "program"
    );
    let builder = Sandbox::of(body)
        .executable("jq", program)
        .env("COSHELL_COMMANDS", "jq");
    assert_eq!(
        respond(&builder.env("PATH", with_program).start(), "x"),
        "1"
    );
    let own = with_jq("jq() { echo own; }\nhandler() { jq -n 1; }").start();
    assert_eq!(respond(&own, "x"), "own");
}

#[test]
fn jq_is_there_where_no_program_is() {
    let body = "handler() { type -t jq || echo none; }\n# jq";
    // A folder with bash's programs, but no jq.
    let builder = Sandbox::of(body);
    let path = builder.task_root().path().display().to_string();
    let sandbox = builder.env("PATH", &path).start();
    assert_eq!(respond(&sandbox, "x"), "function");
    let builder = Sandbox::of("handler() { type -t 'j''q' || echo none; }");
    let sandbox = builder.env("PATH", path).start();
    assert_eq!(respond(&sandbox, "x"), "none");
}

#[test]
fn an_unknown_command_is_an_init_error() {
    let sandbox = Sandbox::of("handler() { :; }")
        .env("COSHELL_COMMANDS", "jq,awk")
        .start();
    let error = sandbox.api.wait_init_error();
    assert_eq!(
        error.error_document()["errorType"],
        "Runtime.InvalidSetting"
    );
}

#[test]
fn lanes_call_at_the_same_time() {
    let body = r#"handler() { jq -r '.a' <<<"$1"; lambda_get x '.a | ascii_upcase'; echo "$x"; }"#;
    let sandbox = with_jq(body).lanes(4).start();
    for number in 0..12 {
        let text = respond(&sandbox, format!("{{\"a\":\"v{number}\"}}"));
        assert_eq!(text, format!("v{number}\nV{number}"));
    }
}

/// Where the kernel lets no process take the descriptors of another, as before Linux 5.6.
#[test]
fn descriptors_are_opened_where_none_can_be_taken() {
    // A filter for system calls: pidfd_getfd, 438, fails with ENOSYS.
    let script = r"import ctypes, os, struct, sys
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 438), (0x06, 0, 0, 0x50000 | 38), (0x06, 0, 0, 0x7fff0000)]
text = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *each) for each in code))
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
program = Program(len(code), ctypes.addressof(text))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program)) == 0
os.execv(sys.argv[1], sys.argv[1:])";
    let body = r#"handler() {
  local x file=$LAMBDA_TASK_ROOT/file
  x=$(echo "$1" | jq -r .a); echo "$x"
  { jq -n 1; jq -n 2; echo 3; } >"$file"
  jq -n 4 >>"$file"
  cat "$file"
  jq -c . <"$file" | jq -sc .
  jq .x "$file" 2>&1 | head -1 || :
  jq -n 5
}"#;
    let sandbox = with_jq(body)
        .program(&["python3", "-c", script, &bootstrap_path()])
        .start();
    let expected = "b\n1\n2\n3\n4\n[1,2,3,4]\njq: error (at <stdin>): Cannot index number with string (\"x\")\n5";
    assert_eq!(respond(&sandbox, r#"{"a":"b"}"#), expected);
}

#[test]
fn the_second_program_ends_with_bootstrap_and_inherits_nothing() {
    let body = format!(
        "{TOOLS}{}",
        r#"handler() { jq -n 1 >/dev/null; local pid=$(tools); echo "$pid"; readlink "/proc/$pid/cwd"; tr '\0' '\n' <"/proc/$pid/environ" | wc -l; printf '%s\n' /proc/$pid/fd/*; }"#
    );
    let sandbox = with_jq(&body).start();
    let text = respond(&sandbox, "x");
    let lines: Vec<_> = text.lines().collect();
    let process = Path::new("/proc").join(lines[0]);
    assert_eq!(lines[1..3], ["/", "0"], "{text}");
    assert!(lines.len() <= 8, "{text}");
    sandbox.bootstrap.signal(nix::sys::signal::Signal::SIGKILL);
    wait_until(|| !process.exists(), LIMIT);
}
