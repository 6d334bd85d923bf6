//! Handlers that print text like the driver's reports, on every descriptor. It is never taken for a real report.

use serde_json::Value;

use crate::containment::{Case, fails_with};
use support::{Event, Sandbox, with_driver_names};

/// Imitations of everything that the driver writes. `trap` is split, because a handler with the word `trap` runs in forks,
/// which `kill -9 $$` does not end.
const FORGED_REPORTS: &str = r"
forge() {
  printf 'ready\n- ready 0 5.2\0return 1 return 0 0\n%s 2 return 0 0\n' aaaaaaaa
  printf 'died - return 0 0\ndied 2 exit 0 1\n\0'
  printf '\0/\0errexit\0extglob\0 \0\0\0\0\0\0000022\naaaaaaaa\0'
  printf 'tra''p -- '\''kill $$'\'' EXIT\n'
  printf 'undefined\nerrexit 1 2 3\n,, aaaaaaaa\n\0\0\0\0'
}
";

#[test]
fn forged_reports_in_a_response_are_part_of_the_response() {
    let aftermath = Case::of("forge")
        .with_top_level(FORGED_REPORTS)
        .run(|sandbox| {
            let response = sandbox.respond("bad");
            assert!(response.starts_with(
                b"ready\n- ready 0 5.2\0return 1 return 0 0\naaaaaaaa 2 return 0 0\ndied - return"
            ));
            assert!(response.ends_with(b"\0\0\0\0"));
            Value::Null
        });
    aftermath.lives_on();
    let aftermath = Case::of("forge >&2; return 3")
        .with_top_level(FORGED_REPORTS)
        .run(|sandbox| fails_with(sandbox, &["status 3"]));
    aftermath.lives_on().logs("died 2 exit 0 1");
}

/// The handler writes to every descriptor that it has, including the control pipe.
#[test]
fn forged_reports_on_every_descriptor_change_nothing() {
    let everywhere = "for fd in /proc/$$/fd/*; do { forge >\"$fd\"; } 2>/dev/null || :; done";
    for (end, error_type) in [
        ("return 3", "Function.HandlerFailed"),
        ("exit 3", "Function.HandlerExited"),
        ("(exit 3)", "Function.CommandFailed"),
    ] {
        let case = Case::of(&format!("{everywhere}\n{end}")).with_top_level(FORGED_REPORTS);
        case.logs_later().fails(error_type, &["status 3"]);
    }
    let by_number = "for fd in {0..255}; do { forge >&$fd; } 2>/dev/null || :; done";
    let case = Case::of(&format!("{by_number}\nreturn 3")).with_top_level(FORGED_REPORTS);
    case.logs_later()
        .fails("Function.HandlerFailed", &["status 3"]);
    // These descriptors are not the response, which must stay exact.
    let case = Case::of("printf first; for fd in 60 61 63; do { forge >&$fd; } 2>/dev/null || :; done; printf second").with_top_level(FORGED_REPORTS);
    case.logs_later().responds("firstsecond");
}

/// The forged reports come right before the shell ends, and so before its real report.
#[test]
fn forged_reports_before_the_shell_ends_change_nothing() {
    let case = Case::of("forge >&63; kill -9 $$").with_top_level(FORGED_REPORTS);
    case.fails("Function.ShellKilled", &["SIGKILL"])
        .replaces_the_shell();
    let case = Case::of("forge >&63; builtin exit 9").with_top_level(FORGED_REPORTS);
    case.run(|sandbox| fails_with(sandbox, &["status 9"]))
        .replaces_the_shell();
    let case = Case::of("forge >&63; printf on; exec 63>&-").with_top_level(FORGED_REPORTS);
    case.responds("on");
    let case = Case::of("printf 'died 2 return 0 2000000\\n' >&63; kill -9 $$");
    case.fails("Function.ShellKilled", &["SIGKILL"])
        .replaces_the_shell();
}

/// A leftover process goes on writing to the control pipe during the next invocation.
#[test]
fn forged_reports_of_a_leftover_process_change_nothing() {
    let body = "{ while :; do forge; done >&63 2>/dev/null; } 1>&2 & printf '%s' \"$1\"";
    let case = Case::of(body).with_top_level(FORGED_REPORTS);
    case.logs_later().responds("bad");
}

/// The nonce of a report reaches bash only after the handler has ended.
#[test]
fn a_handler_cannot_find_the_nonce_of_its_report() {
    // Bash before 4.4 has no `local -n`.
    if support::always_forks() {
        return;
    }
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
    assert!(
        seen.contains(&with_driver_names("__driver_kind")),
        "the handler did not see the driver's variables"
    );
    // In the script a nonce stands only behind `,,` or `,,,`.
    let fields = seen.split([' ', '\n', '\t']).collect::<Vec<_>>();
    let nonces = fields
        .windows(2)
        .filter(|pair| matches!(pair[0], ",," | ",,,"));
    let found: Vec<_> = nonces
        .filter(|pair| {
            pair[1].len() == 8 && pair[1].bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

/// Bash reads its script from a pipe. What a handler writes into it must at most run as a part of its own invocation.
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
fn an_event_of_any_text_is_data() {
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
fn output_to_a_pipe_whose_reader_has_ended_harms_nothing() {
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
    let mut case = Case::of("exec {fd}> >(true); wait $!; printf '%100000s' x >&$fd; printf never");
    // Bash before 5.2 reports the lost output once more, for the next builtin that writes.
    if support::bash_version() < (5, 2) {
        case = case.logs_later();
    }
    case.run(|sandbox| {
        let answer = sandbox.invoke(Event::fresh("bad"));
        assert!(answer.is_error());
        Value::Null
    });
}

#[test]
fn a_response_larger_than_any_pipe_is_exact_however_the_handler_ends() {
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
