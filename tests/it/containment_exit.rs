//! Everything that can end a handler: `return`, `exit`, `set -e`, unset variables, `exec`, signals, and errors of bash
//! itself. Each case is probed before and after; see `containment.rs`.

use std::process::Command;

use serde_json::Value;
use support::Sandbox;

use crate::containment::{Case, fails_with};

#[test]
fn return_with_a_status_fails_only_the_invocation() {
    let case = Case::of("printf out; return 7");
    case.fails("Function.HandlerFailed", &["handler", "status 7"])
        .lives_on();
    let case = Case::of("printf out; return 300");
    case.fails("Function.HandlerFailed", &["status 44"])
        .lives_on();
    let case = Case::of("fails() { return 9; }\n[[ $1 == x ]] || fails || return");
    case.fails("Function.HandlerFailed", &["status 9"])
        .lives_on();
}

#[test]
fn return_without_failure_is_a_response() {
    Case::of("printf '%s' \"$1\"; return 0; printf never")
        .responds("bad")
        .lives_on();
}

#[test]
fn without_errexit_the_last_command_gives_the_status_of_the_handler() {
    let case = Case::of("false\n printf out\n (exit 5)").options("");
    case.fails("Function.HandlerFailed", &["status 5"])
        .lives_on();
}

#[test]
fn exit_in_the_handler_fails_only_the_invocation() {
    let exited = "Function.HandlerExited";
    Case::of("exit 3; printf never")
        .fails(exited, &["status 3", "handler"])
        .lives_on();
    Case::of("exit 256").responds("").lives_on();
    Case::of("printf a; exit 257")
        .fails(exited, &["status 1"])
        .lives_on();
    Case::of("exit 255")
        .fails(exited, &["status 255"])
        .lives_on();
    Case::of("exit 010")
        .fails(exited, &["status 10"])
        .lives_on();
    Case::of("exit -1").run(|sandbox| {
        let document = sandbox.fail("bad");
        let message = document["errorMessage"].to_string();
        assert!(message.contains("status 255"), "{message}");
        document
    });
}

/// The arguments stand in an array, of which bash itself and a handler are given the same text.
#[test]
fn exit_reads_its_arguments_as_bash_does() {
    let sandbox = Sandbox::of("handler() { eval \"set -- $1\"; false || exit \"$@\"; }").start();
    for arguments in [
        "",
        "--",
        "-- 0",
        "-- 7",
        "-- -1",
        "3 4",
        "-3 4",
        "a b",
        "''",
        "a",
        "3",
        "+3",
        "-1",
        "-0",
        "256",
        "257",
        "010",
        "08",
        "' 3'",
        "'3 '",
        "$'\\t3\\t'",
        "$'\\n3'",
        "$'3\\n'",
        "' '",
        "+",
        "-",
        "+-3",
        "--3",
        "3a",
        "'- 3'",
        "'1 2'",
        "0x10",
        "0000000000000000000000",
        "+00000000000000000000300",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
    ] {
        let script = "eval \"set -- $1\"; false || exit \"$@\"";
        let run = Command::new(support::bash())
            .args(["-c", script, "bash", arguments])
            .output()
            .expect("bash");
        let expected = run.status.code().expect("a status");
        if expected == 0 {
            assert_eq!(sandbox.respond(arguments), b"", "{arguments}");
            continue;
        }
        let document = sandbox.fail(arguments);
        let message = document["errorMessage"].as_str().unwrap_or_default();
        let start = format!("handler exited with status {expected} in handler ");
        assert!(message.starts_with(&start), "{arguments}: {message}");
        let causes = |text: &str| {
            ["numeric argument required", "too many arguments"].map(|cause| text.contains(cause))
        };
        let stderr = String::from_utf8_lossy(&run.stderr);
        assert_eq!(causes(message), causes(&stderr), "{arguments}: {message}");
    }
}

#[test]
fn exit_0_is_success_with_the_output_so_far() {
    Case::of("printf 'so far'; exit 0; printf never")
        .responds("so far")
        .lives_on();
    Case::of("printf 'so far'; exit")
        .responds("so far")
        .lives_on();
}

#[test]
fn exit_without_an_argument_has_the_status_of_the_last_command() {
    Case::of("false || exit")
        .fails("Function.HandlerExited", &["status 1"])
        .lives_on();
    Case::of("set +e\n(exit 42)\nexit")
        .fails("Function.HandlerExited", &["status 42"])
        .lives_on();
}

#[test]
fn exit_with_an_argument_that_is_no_number_fails_as_in_bash() {
    let case = Case::of("exit abc; printf never");
    case.run(|sandbox| {
        let document = sandbox.fail("bad");
        let message = document["errorMessage"].as_str().unwrap_or_default();
        assert!(
            message.contains("status 2") && message.contains("numeric argument required"),
            "{message}"
        );
        document
    });
    Case::of("exit 1 2; printf never").run(|sandbox| {
        let document = sandbox.fail("bad");
        assert!(
            document["errorMessage"]
                .as_str()
                .is_some_and(|text| text.contains("too many arguments"))
        );
        document
    });
}

#[test]
fn exit_deep_in_functions_ends_only_the_handler() {
    let case = Case::of("one; printf never").with_top_level(
        "one() { two; printf never; }\ntwo() { three; printf never; }\nthree() { exit 4; }",
    );
    let aftermath = case
        .fails("Function.HandlerExited", &["status 4"])
        .lives_on();
    let frames = aftermath.document["stackTrace"].to_string();
    let places: Vec<_> = ["three (", "two (", "one (", "handler ("]
        .iter()
        .map(|name| frames.find(name))
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{frames}"
    );
    Case::of("dive 200")
        .with_top_level(
            "dive() { if (($1 == 0)); then exit 6; fi; dive $(($1 - 1)); printf never; }",
        )
        .fails("Function.HandlerExited", &["status 6"])
        .lives_on();
}

#[test]
fn exit_in_loops_and_conditions_ends_only_the_handler() {
    for body in [
        "for i in 1 2 3; do while true; do until false; do exit 3; done; done; done; printf never",
        "if exit 3; then printf never; fi; printf never",
        "if true; then { exit 3; printf never; }; fi",
        "case x in x) exit 3 ;; esac; printf never",
        "exit 3 || printf never; printf never",
        "! exit 3; printf never",
        "while exit 3; do printf never; done",
        "eval 'exit 3; printf never'; printf never",
        "while read -r line; do exit 3; done <<<$'a\\nb'; printf never",
        "{ exit 3; } >/dev/null; printf never",
        "leaves() { exit 3; }\n if leaves; then printf never; fi; leaves || :; printf never",
        "shopt -s lastpipe; true | exit 3; printf never",
    ] {
        Case::of(body)
            .fails("Function.HandlerExited", &["status 3"])
            .lives_on();
    }
}

#[test]
fn exit_in_a_sourced_file_ends_only_the_handler() {
    let case =
        Case::of("lib_exits 5; printf never").with_top_level("source \"$LAMBDA_TASK_ROOT/lib.sh\"");
    let aftermath = case
        .fails("Function.HandlerExited", &["status 5"])
        .lives_on();
    assert!(
        aftermath.document["stackTrace"]
            .to_string()
            .contains("lib.sh:2"),
        "{}",
        aftermath.document
    );
    Case::of("source \"$LAMBDA_TASK_ROOT/lib.sh\"; source /dev/stdin <<<'exit 5'; printf never")
        .fails("Function.HandlerExited", &["status 5"])
        .lives_on();
}

#[test]
fn exit_in_a_subshell_ends_only_the_subshell() {
    Case::of("printf a; (exit 3) || printf ' subshell %s' $?")
        .responds("a subshell 3")
        .lives_on();
    Case::of("x=$(printf inner; exit 3) || printf '%s %s' \"$x\" $?")
        .responds("inner 3")
        .lives_on();
    Case::of("{ printf x; exit 3; } | cat || printf ' %s' $?")
        .responds("x 3")
        .lives_on();
    Case::of("exit 3 & wait $! || printf '%s' $?")
        .responds("3")
        .lives_on();
    Case::of("x=`exit 0`; cat <(printf in; exit 4); printf ' out'")
        .responds("in out")
        .lives_on();
    Case::of("(exit 3); printf never")
        .fails("Function.CommandFailed", &["status 3"])
        .lives_on();
    Case::of("x=$(exit 3); printf never")
        .fails("Function.CommandFailed", &["status 3"])
        .lives_on();
    Case::of("true | exit 3; printf never")
        .fails("Function.CommandFailed", &["status 3"])
        .lives_on();
}

#[test]
fn the_error_names_the_command_that_failed_under_errexit() {
    let failed = "Function.CommandFailed";
    Case::of("printf a; false; printf never")
        .fails(failed, &["false", "status 1", "handler"])
        .lives_on();
    Case::of("grep -q x /dev/null; printf never")
        .fails(failed, &["grep -q x /dev/null", "status 1"])
        .lives_on();
    Case::of("no-such-command-here a b; printf never")
        .fails(
            failed,
            &[
                "no-such-command-here a b",
                "status 127",
                "command not found",
            ],
        )
        .lives_on();
    Case::of("/etc/passwd; printf never")
        .fails(failed, &["/etc/passwd", "status 126"])
        .lives_on();
    Case::of("false | cat; printf never")
        .fails(failed, &["status 1"])
        .lives_on();
    Case::of("x=$(false); printf never")
        .fails(failed, &["x=$(false)", "status 1"])
        .lives_on();
    Case::of("[[ a == b ]]; printf never")
        .fails(failed, &["status 1"])
        .lives_on();
    Case::of("((0)); printf never")
        .fails(failed, &["status 1"])
        .lives_on();
    Case::of("cat /no/such/file; printf never")
        .fails(failed, &["cat /no/such/file", "No such file"])
        .lives_on();
    Case::of("sh -c 'kill -9 $$'; printf never")
        .fails(failed, &["137", "SIGKILL"])
        .lives_on();
    Case::of("read -r x </no/such/file; printf never")
        .fails(failed, &["status 1", "No such file"])
        .lives_on();
}

#[test]
fn errexit_deep_in_functions_ends_only_the_handler() {
    let aftermath = Case::of("one\nprintf never")
        .with_top_level("one() { for i in 1; do two; done; printf never; }\ntwo() {\n  local x=1\n  grep -q needle /dev/null\n  printf never\n}")
        .fails("Function.CommandFailed", &["grep -q needle /dev/null", "status 1", "two"])
        .lives_on();
    let frames = aftermath.document["stackTrace"].to_string();
    assert!(
        frames.contains("two (") && frames.contains("one (") && frames.contains("handler ("),
        "{frames}"
    );
}

#[test]
fn errexit_is_off_where_bash_tests_a_status() {
    Case::of("if false; then :; fi; false || true; ! true; while false; do :; done; printf on")
        .responds("on")
        .lives_on();
    Case::of("deep() { false; printf inside; }\nif deep; then printf on; fi")
        .responds("insideon")
        .lives_on();
}

#[test]
fn a_handler_may_set_and_clear_errexit() {
    Case::of("set +e; false; printf on")
        .responds("on")
        .lives_on();
    Case::of("shopt -s nocasematch; set +e; false; printf on")
        .responds("on")
        .lives_on();
    Case::of("set +o pipefail; false | cat; printf on")
        .responds("on")
        .lives_on();
    Case::of("set +u; printf '%s' \"$never_set on\"")
        .responds(" on")
        .lives_on();
    Case::of("set -e; false; printf never")
        .options("")
        .fails("Function.CommandFailed", &["false"])
        .lives_on();
    Case::of("trap 'printf trapped >&2' ERR; false; printf never").run(|sandbox| {
        let document = sandbox.fail("bad");
        assert!(
            document["errorMessage"]
                .as_str()
                .is_some_and(|text| text.contains("status 1")),
            "{document}"
        );
        sandbox.bootstrap.wait_log("trapped");
        document
    });
}

#[test]
fn the_error_names_an_unset_variable() {
    Case::of("printf a; printf '%s' \"$never_set\"; printf never").run(|sandbox| {
        fails_with(
            sandbox,
            &["never_set", "unbound variable", "status 1", "function.sh"],
        )
    });
    Case::of("deep")
        .with_top_level("deep() {\n  local x=$never_set\n}")
        .run(|sandbox| fails_with(sandbox, &["never_set"]));
    Case::of(": \"${never_set:?is needed}\"; printf never")
        .run(|sandbox| fails_with(sandbox, &["never_set", "is needed"]));
    Case::of("x=$(printf '%s' \"$never_set\"); printf never")
        .fails("Function.CommandFailed", &["never_set", "unbound variable"])
        .lives_on();
}

#[test]
fn after_exec_the_output_and_status_of_the_command_are_the_answer() {
    Case::of("printf 'before '; exec printf '%s\\n\\n' \"got $1\"")
        .responds("before got bad")
        .replaces_the_shell();
    Case::of("exec cat").responds("bad").replaces_the_shell();
    Case::of("exec sh -c 'echo to stderr >&2; exit 9'")
        .fails("Function.ShellExited", &["status 9", "to stderr"])
        .replaces_the_shell();
    Case::of("exec head -c 3000000 /dev/zero")
        .run(|sandbox| {
            assert_eq!(sandbox.respond("bad").len(), 3_000_000);
            Value::Null
        })
        .replaces_the_shell();
}

#[test]
fn exec_of_a_missing_command_is_an_error() {
    Case::of("exec no-such-command-here; printf never")
        .fails(
            "Function.ShellExited",
            &["status 127", "no-such-command-here"],
        )
        .replaces_the_shell();
    Case::of("exec /etc/passwd; printf never")
        .fails("Function.ShellExited", &["status 126"])
        .replaces_the_shell();
}

#[test]
fn the_error_names_the_signal_that_killed_the_shell() {
    let killed = "Function.ShellKilled";
    Case::of("printf a; kill -9 $$; printf never")
        .fails(killed, &["SIGKILL", "handler"])
        .replaces_the_shell();
    Case::of("kill $$; printf never")
        .fails(killed, &["SIGTERM", "kill $$"])
        .replaces_the_shell();
    Case::of("kill 0; printf never")
        .fails(killed, &["SIGTERM"])
        .replaces_the_shell();
    Case::of("kill -SEGV $$; sleep 10; printf never")
        .fails(killed, &["SIGSEGV"])
        .replaces_the_shell();
    Case::of("(kill -9 $$); sleep 10; printf never")
        .fails(killed, &["SIGKILL"])
        .replaces_the_shell();
    Case::of("kill -PIPE $$; printf never")
        .fails(killed, &["SIGPIPE"])
        .replaces_the_shell();
}

#[test]
fn endless_recursion_kills_only_the_shell() {
    // The stack is small because bash takes long to fill a large one.
    Case::of("ulimit -s 512; forever")
        .with_top_level("forever() { forever; }")
        .fails("Function.ShellKilled", &["SIGSEGV"])
        .replaces_the_shell();
    Case::of("FUNCNEST=100; forever")
        .with_top_level("forever() { forever; }")
        .run(|sandbox| fails_with(sandbox, &["maximum function nesting level exceeded"]));
}

/// After these errors bash discards the command that it has read, and the shell goes on.
#[test]
fn errors_that_discard_the_command_fail_only_the_invocation() {
    Case::of("printf a; echo $((1 / 0)); printf never")
        .run(|sandbox| fails_with(sandbox, &["division by 0", "1"]))
        .lives_on();
    Case::of("readonly R=1; R=2; printf never")
        .run(|sandbox| fails_with(sandbox, &["R: readonly variable"]));
    Case::of("deep; printf never")
        .with_top_level("deep() { for i in 1; do x=$((1 / 0)); done; }")
        .run(|sandbox| fails_with(sandbox, &["division by 0"]))
        .lives_on();
    Case::of("eval 'if true; do'; printf never")
        .run(|sandbox| fails_with(sandbox, &["syntax error"]));
    // The status of a syntax error in `eval`.
    let status = if support::bash_version() < (5, 0) {
        1
    } else {
        2
    };
    Case::of("eval 'if true; do' || printf 'on %s' $?")
        .responds(&format!("on {status}"))
        .lives_on();
    Case::of("x=${kept/[}; echo ${!kept*bad}; printf never")
        .run(|sandbox| fails_with(sandbox, &["bad substitution"]));
    Case::of("printf a; echo $((1 / 0)); printf never")
        .options("")
        .run(|sandbox| fails_with(sandbox, &["division by 0"]))
        .lives_on();
}
