//! Handlers that set traps, above all the EXIT trap. Each case is probed before and after; see `containment.rs`.

use serde_json::Value;

use crate::containment::{Case, fails_with};
use support::{Event, Sandbox};

#[test]
fn traps_are_restored() {
    for signal in [
        "INT", "TERM", "HUP", "USR1", "ALRM", "CHLD", "PIPE", "WINCH", "RTMIN+3",
    ] {
        Case::of(&format!("trap 'echo trapped' {signal}; printf on"))
            .responds("on")
            .lives_on();
        Case::of(&format!("trap '' {signal}; printf on"))
            .responds("on")
            .lives_on();
    }
    Case::of("trap 'echo trapped by USR1' USR1; kill -USR1 $$; printf on")
        .responds("trapped by USR1\non")
        .lives_on();
    Case::of("trap 'printf trapped >&2' ERR; printf on")
        .responds("on")
        .lives_on();
    Case::of("trap - ERR; printf on").responds("on").lives_on();
    Case::of("trap '' TERM; kill $$; printf on")
        .responds("on")
        .lives_on();
    Case::of("trap 'printf caught; exit 3' TERM; kill $$; printf never")
        .run(|sandbox| fails_with(sandbox, &["3"]));
    Case::of("trap $'echo \"a\\nb\" \\'c\\' ; : \"$(date)\"' INT; false")
        .run(|sandbox| fails_with(sandbox, &["status 1"]))
        .lives_on();
}

#[test]
fn the_argument_of_an_exit_trap_is_the_event() {
    for isolation in ["restore", "none", "subshell", "process"] {
        let sandbox = Sandbox::of("handler() { trap 'echo \"bye $# ${1-none}\"' EXIT; echo on; }")
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for _ in 0..2 {
            assert_eq!(sandbox.respond("x"), b"on\nbye 1 x", "{isolation}");
        }
    }
}

#[test]
fn debug_and_return_traps_end_with_the_invocation() {
    Case::of("trap 'printf d' DEBUG; : ; printf on")
        .run(|sandbox| {
            assert!(String::from_utf8_lossy(&sandbox.respond("bad")).contains("on"));
            Value::Null
        })
        .lives_on();
    Case::of("trap 'printf r' RETURN; printf on")
        .run(|sandbox| {
            assert!(String::from_utf8_lossy(&sandbox.respond("bad")).starts_with("on"));
            Value::Null
        })
        .lives_on();
    for end in ["return 3", "exit 3", "(exit 3)"] {
        Case::of(&format!(
            "set -T; trap ': d' DEBUG; trap ': r' RETURN; deep() {{ {end}; }}; deep"
        ))
        .run(|sandbox| fails_with(sandbox, &["3"]));
        Case::of(&format!("trap 'return 5' DEBUG; {end}")).run(|sandbox| fails_with(sandbox, &[]));
    }
    Case::of("shopt -s extdebug; trap 'false' DEBUG; printf skipped").run(|sandbox| {
        let _ = sandbox.invoke(Event::fresh("bad"));
        Value::Null
    });
}

#[test]
fn an_exit_trap_runs_once_at_the_end_of_its_invocation() {
    Case::of("trap 'printf \" trapped\"' EXIT; printf on")
        .responds("on trapped")
        .lives_on();
    // After `exit` bash runs the trap and then ends.
    Case::of("trap 'printf \" trapped\"' EXIT; printf on; exit 0")
        .responds("on trapped")
        .replaces_the_shell();
    Case::of("trap 'cat; printf trapped' EXIT")
        .responds("badtrapped")
        .lives_on();
    Case::of("trap 'printf first' EXIT; trap 'printf second' EXIT")
        .responds("second")
        .lives_on();
    Case::of("trap 'printf never' EXIT; trap - EXIT; printf on")
        .responds("on")
        .lives_on();
    Case::of("trap 'printf one; trap \"printf never\" EXIT' EXIT; printf on; ")
        .responds("onone")
        .lives_on();
    Case::of(
        "trap $'printf \" it\\'s\\n\\\"quoted\\\"\\n\"; printf \"$1 \\\\\\\\ x\"' EXIT; printf on",
    )
    .run(|sandbox| {
        let response = sandbox.respond("bad");
        assert!(
            response.starts_with(b"on it's\n"),
            "{}",
            response.escape_ascii()
        );
        Value::Null
    })
    .lives_on();
    Case::of("deep() { trap 'printf \" of a function\"' EXIT; }; deep; printf on")
        .responds("on of a function")
        .lives_on();
    Case::of("(trap 'printf sub' EXIT); printf on")
        .responds("subon")
        .lives_on();
    Case::of("trap '' EXIT; printf on")
        .responds("on")
        .lives_on();
}

#[test]
fn an_exit_trap_sees_the_status_and_keeps_it() {
    for (end, lives_on) in [("return 7", true), ("exit 7", false), ("(exit 7)", false)] {
        let aftermath = Case::of(&format!("trap 'echo \"status=$?\" >&2' EXIT; {end}"))
            .run(|sandbox| fails_with(sandbox, &["status 7", "status=7"]));
        let aftermath = if lives_on {
            aftermath.lives_on()
        } else {
            aftermath.replaces_the_shell()
        };
        aftermath.logs("status=7");
        Case::of(&format!(
            "deep() {{ {end}; }}; trap 'true; echo \"status=$?\" >&2' EXIT; deep"
        ))
        .run(|sandbox| fails_with(sandbox, &["status 7", "status=0"]));
    }
    Case::of("trap 'printf \"status=$?\"' EXIT")
        .responds("status=0")
        .lives_on();
    Case::of("trap 'echo \"status=$?\" >&2' EXIT; x=$never_set")
        .run(|sandbox| fails_with(sandbox, &["never_set", "status=1"]));
}

#[test]
fn an_exit_trap_may_exit_or_fail() {
    Case::of("trap 'exit 4' EXIT; printf on")
        .run(|sandbox| fails_with(sandbox, &["status 4"]))
        .lives_on();
    Case::of("trap 'printf \" saved\"; exit 0' EXIT; printf on; return 7")
        .responds("on saved")
        .lives_on();
    Case::of("trap 'printf \" a\"; exit 0; printf never' EXIT; printf on")
        .responds("on a")
        .lives_on();
    Case::of("trap 'exit 0' EXIT; printf on; exit 7")
        .responds("on")
        .replaces_the_shell();
    Case::of("trap 'false; printf never' EXIT; printf on")
        .run(|sandbox| fails_with(sandbox, &["status 1"]))
        .lives_on();
    Case::of("trap 'printf $never_set' EXIT; printf on")
        .run(|sandbox| fails_with(sandbox, &["never_set"]));
    Case::of("trap 'kill -9 $$' EXIT; printf on")
        .run(|sandbox| fails_with(sandbox, &["SIGKILL"]))
        .replaces_the_shell();
    Case::of("trap 'exec printf \" replaced\"' EXIT; printf on")
        .responds("on replaced")
        .replaces_the_shell();
    Case::of("trap 'if' EXIT; printf on").run(|sandbox| {
        let _ = sandbox.invoke(Event::fresh("bad"));
        Value::Null
    });
    Case::of("trap 'head -c 3000000 /dev/zero' EXIT")
        .run(|sandbox| {
            assert_eq!(sandbox.respond("bad").len(), 3_000_000);
            Value::Null
        })
        .lives_on();
}

/// The trap belongs to the shell, not to the invocation. The tutorial's bootstrap behaves the same: its subshells do not
/// inherit the trap.
#[test]
fn an_exit_trap_set_in_the_file_does_not_run_after_each_invocation() {
    let sandbox = Sandbox::of("trap 'echo file trap >&2' EXIT\nhandler() { printf on; }").start();
    assert_eq!(sandbox.respond("x"), b"on");
    assert_eq!(sandbox.respond("x"), b"on");
    sandbox.api.wait_parked();
    assert_eq!(sandbox.bootstrap.final_log(), "");
}
