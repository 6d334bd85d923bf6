//! What a handler writes, anywhere, is never taken for a word of the driver.

use serde_json::Value;

use crate::containment::{Case, fails_with};
use support::{Event, Sandbox};

/// All that the driver says, as a handler would imitate it. A whole word `trap` would lead its events into forks, which
/// `kill -9 $$` does not end.
const LOOK_ALIKES: &str = r"
words() {
  printf 'ready\n- ready 0 5.2\0return 1 return 0 0\n%s 2 return 0 0\n' aaaaaaaa
  printf 'died - return 0 0\ndied 2 exit 0 1\n\0'
  printf '\0/\0errexit\0extglob\0 \0\0\0\0\0\0000022\naaaaaaaa\0'
  printf 'tra''p -- '\''kill $$'\'' EXIT\n'
  printf 'undefined\nerrexit 1 2 3\n,, aaaaaaaa\n\0\0\0\0'
}
";

#[test]
fn words_of_the_driver_in_a_response_are_response() {
    let aftermath = Case::of("words").with(LOOK_ALIKES).run(|sandbox| {
        let response = sandbox.respond("bad");
        assert!(response.starts_with(
            b"ready\n- ready 0 5.2\0return 1 return 0 0\naaaaaaaa 2 return 0 0\ndied - return"
        ));
        assert!(response.ends_with(b"\0\0\0\0"));
        Value::Null
    });
    aftermath.lives_on();
    let aftermath = Case::of("words >&2; return 3")
        .with(LOOK_ALIKES)
        .run(|sandbox| fails_with(sandbox, &["status 3"]));
    aftermath.lives_on().logs("died 2 exit 0 1");
}

/// Every descriptor that the handler has, our control pipe among them.
#[test]
fn words_of_the_driver_in_every_descriptor_forge_nothing() {
    let everywhere = "for fd in /proc/$$/fd/*; do { words >\"$fd\"; } 2>/dev/null || :; done";
    for (end, error_type) in [
        ("return 3", "Function.HandlerFailed"),
        ("exit 3", "Function.HandlerExited"),
        ("(exit 3)", "Function.CommandFailed"),
    ] {
        let case = Case::of(&format!("{everywhere}\n{end}")).with(LOOK_ALIKES);
        case.logs_later().fails(error_type, &["status 3"]);
    }
    let by_number = "for fd in {0..255}; do { words >&$fd; } 2>/dev/null || :; done";
    let case = Case::of(&format!("{by_number}\nreturn 3")).with(LOOK_ALIKES);
    case.logs_later()
        .fails("Function.HandlerFailed", &["status 3"]);
    // What is written into the response is response; the rest of it has to be exact as well.
    let case = Case::of("printf first; for fd in 60 61 63; do { words >&$fd; } 2>/dev/null || :; done; printf second").with(LOOK_ALIKES);
    case.logs_later().responds("firstsecond");
}

/// The words come before each report, each state and the last words of a shell that ends.
#[test]
fn words_of_the_driver_before_the_shell_ends_forge_nothing() {
    let case = Case::of("words >&63; kill -9 $$").with(LOOK_ALIKES);
    case.fails("Function.ShellKilled", &["SIGKILL"])
        .replaces_the_shell();
    let case = Case::of("words >&63; builtin exit 9").with(LOOK_ALIKES);
    case.run(|sandbox| fails_with(sandbox, &["status 9"]))
        .replaces_the_shell();
    let case = Case::of("words >&63; printf on; exec 63>&-").with(LOOK_ALIKES);
    case.responds("on");
    let case = Case::of("printf 'died 2 return 0 2000000\\n' >&63; kill -9 $$");
    case.fails("Function.ShellKilled", &["SIGKILL"])
        .replaces_the_shell();
}

/// From an invocation into the next one: a child that goes on writing to the control pipe.
#[test]
fn words_of_the_driver_from_a_process_left_behind_forge_nothing() {
    let body = "{ while :; do words; done >&63 2>/dev/null; } 1>&2 & printf '%s' \"$1\"";
    let case = Case::of(body).with(LOOK_ALIKES);
    case.logs_later().responds("bad");
}

/// A mark is known to bash alone, and only once the handler has ended.
#[test]
fn marks_are_not_to_be_found_by_the_handler() {
    let script = r#"
handler() {
  local name seen=''
  for name in ${!__driver_*}; do local -n value=$name; seen+="${value[*]-} "; unset -n value; done
  seen+="$(set) $(trap -p) $(declare -f) $(fc -l 2>/dev/null || :) $BASH_COMMAND ${BASH_ARGV[*]-} $(tr '\0' ' ' </proc/$$/cmdline)"
  printf '%s\n' "$seen" >>"$LAMBDA_TASK_ROOT/seen"
}"#;
    let sandbox = Sandbox::of(script).start();
    sandbox.respond("one");
    sandbox.respond("two");
    let seen = sandbox.task_root.read("seen");
    assert!(seen.contains("__driver_kind"), "looked at the wrong place");
    // A mark stands behind `,,` in the script, and nowhere else.
    let marked = seen.split([' ', '\n', '\t']).collect::<Vec<_>>();
    let marks = marked
        .windows(2)
        .filter(|pair| matches!(pair[0], ",," | ",,,"));
    let found: Vec<_> = marks
        .filter(|pair| {
            pair[1].len() == 8 && pair[1].bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

/// bash reads its script from a pipe; a handler that writes into it runs what it writes as a part of its own invocation at most.
#[test]
fn a_handler_cannot_write_to_its_script() {
    let body = "for fd in /proc/$$/fd/*; do { printf ',, aaaaaaaa\\n,,, aaaaaaaa\\nexit 0\\n' >\"$fd\"; } 2>/dev/null || :; done; return 3";
    Case::of(body).logs_later().run(|sandbox| {
        let answer = sandbox.invoke(Event::fresh("bad"));
        assert!(answer.is_error(), "{}", sandbox.api.transcript());
        Value::Null
    });
}

#[test]
fn handler_names_and_arguments_of_any_text_are_data() {
    let sandbox = Sandbox::of("handler() { printf '%s' \"$1\"; }").start();
    for event in [
        "-n",
        "-e x",
        "$(exit 3)",
        "`kill $$`",
        "'; exit 4; '",
        "\\",
        "*",
        "@/etc/passwd",
        ",, aaaaaaaa\n",
        "a\0b",
        "\u{1}\u{7f}",
    ] {
        let expected = event.replace('\0', "");
        assert_eq!(
            sandbox.respond(event),
            expected.trim_end_matches('\n').as_bytes(),
            "{event:?}"
        );
    }
}

#[test]
fn output_to_a_reader_that_is_gone_harms_nothing() {
    Case::of("yes | head -n 1 || :; printf on")
        .responds("y\non")
        .lives_on();
    Case::of("yes | head -n 1; printf never")
        .fails("Function.CommandFailed", &["141", "SIGPIPE"])
        .lives_on();
    Case::of("printf '%5000000s' x | head -c 1; printf never")
        .run(|sandbox| fails_with(sandbox, &[]));
    Case::of("while :; do printf '%100000s' x; done | true; printf never")
        .run(|sandbox| fails_with(sandbox, &[]));
    Case::of("exec {fd}> >(true); wait $!; printf '%100000s' x >&$fd; printf never").run(
        |sandbox| {
            let answer = sandbox.invoke(Event::fresh("bad"));
            assert!(answer.is_error());
            Value::Null
        },
    );
}

#[test]
fn a_response_larger_than_any_pipe_is_exact_whatever_the_end() {
    let big = "head -c 3000000 /dev/zero | tr '\\0' a; printf end";
    for (end, is_error) in [
        ("", false),
        ("exit 0", false),
        ("exit 3", true),
        ("kill -9 $$", true),
        ("builtin exit 0", false),
    ] {
        Case::of(&format!("{big}\n{end}")).run(|sandbox| {
            let answer = sandbox.invoke(Event::fresh("bad"));
            assert_eq!(answer.is_error(), is_error);
            if !is_error {
                assert_eq!(answer.body.len(), 3_000_003);
                assert!(answer.body.ends_with(b"aend"));
            }
            Value::Null
        });
    }
}
