//! Handlers that redefine names: those of builtins, and those that coshell uses. Each case is probed before and after; see
//! `containment.rs`.

use serde_json::Value;

use crate::containment::{Case, fails_with};
use support::{Event, Sandbox};

#[test]
fn functions_named_like_builtins_harm_nothing() {
    for name in [
        "read", "printf", "echo", "local", "trap", "mapfile", "cd", "unset", "export", "declare",
        "readonly", "return", "shopt", "set", "eval", "exec", "umask", "alias", "unalias", "true",
        "test", ":", "[", "disown", "wait", "jobs", "compgen", "command", "type", "kill", "source",
        ".", "let", "break", "continue", "shift", "getopts", "hash", "times",
    ] {
        let case = Case::of(&format!(
            "builtin printf on; {name}() {{ builtin echo redefined $* >&2; builtin return 5; }}"
        ));
        let aftermath = case.responds("on").lives_on();
        assert!(
            !aftermath
                .sandbox
                .bootstrap
                .final_log()
                .contains("redefined"),
            "{name}"
        );
    }
}

/// A handler may define `exit` to do something before it exits.
#[test]
fn a_function_named_exit_harms_nothing() {
    Case::of("exit() { builtin exit \"$@\"; }\nprintf on; exit 0").run(|sandbox| {
        let answer = sandbox.invoke(Event::fresh("bad"));
        assert!(answer.is_response() || answer.is_error());
        Value::Null
    });
    Case::of("builtin exit 7")
        .run(|sandbox| fails_with(sandbox, &["status 7"]))
        .replaces_the_shell();
    Case::of("printf on; builtin exit 0")
        .responds("on")
        .replaces_the_shell();
    Case::of("command exit 7").run(|sandbox| fails_with(sandbox, &["status 7"]));
}

/// The whole driver depends on `builtin`. The invocation is answered, at least with an error, and the next one has a shell.
#[test]
fn a_function_named_builtin_costs_at_most_the_shell() {
    let script =
        "handler() { case $1 in bad) builtin() { return 5; } ;; esac; printf '%s' \"$1\"; }";
    let sandbox = Sandbox::of(script).start();
    assert_eq!(sandbox.respond("first"), b"first");
    let answer = sandbox.invoke(Event::fresh("bad"));
    assert!(answer.is_error() || answer.body == b"bad");
    assert_eq!(sandbox.respond("second"), b"second");
    assert_eq!(sandbox.respond("third"), b"third");
}

#[test]
fn functions_named_like_those_of_the_driver_harm_nothing() {
    for name in [
        ",",
        ",,",
        ",,,",
        ",l",
        "__driver_context",
        "__driver_on_exit",
        "__driver_unwind",
        "__driver_run_exit_trap",
    ] {
        let case = Case::of(&format!(
            "printf on; {name}() {{ echo redefined >&2; }} || :; eval '{name}() {{ echo redefined >&2; }}' || :"
        ));
        case.run(|sandbox| {
            let _ = sandbox.invoke(Event::fresh("bad"));
            Value::Null
        })
        .does_not_log("redefined");
    }
}

#[test]
fn a_handler_may_unset_names_of_the_driver() {
    let functions = "unset -f , ,, ,,, ,l exit __driver_context __driver_run_exit_trap __driver_on_exit __driver_unwind __driver_record_place __driver_on_error __driver_take_descriptor";
    Case::of(&format!("{functions} || :\nprintf on")).responds("on");
    Case::of(&format!("{functions} || :\nexit 3"))
        .run(|sandbox| fails_with(sandbox, &["status 3"]));
    let names = "for name in ${!__driver_*} ${!LAMBDA_RUNTIME_*} _X_AMZN_TRACE_ID; do unset -v \"$name\" || :; done 2>/dev/null";
    Case::of(&format!("{names}\nprintf on")).responds("on");
    Case::of(&format!("{names}\nexit 3")).run(|sandbox| fails_with(sandbox, &["3"]));
    Case::of(&format!("{names}\nfalse")).run(|sandbox| fails_with(sandbox, &["status 1"]));
    Case::of("unset IFS PATH HOME OLDPWD SHELLOPTS BASH_REMATCH 2>/dev/null || :; PATH=/usr/bin:/bin; printf on").responds("on").lives_on();
}

#[test]
fn a_handler_may_set_variables_of_the_driver_to_anything() {
    let case = Case::of(
        "for name in ${!__driver_*}; do eval \"$name='x; kill \\$\\$ \\$(touch \\\"$LAMBDA_TASK_ROOT/ran\\\")'\" || :; done 2>/dev/null; printf on",
    );
    let aftermath = case.run(|sandbox| {
        let _ = sandbox.invoke(Event::fresh("bad"));
        Value::Null
    });
    assert!(!aftermath.sandbox.task_root.exists("ran"));
}

#[test]
fn a_handler_may_make_names_of_the_driver_readonly() {
    for name in [
        "IFS",
        "PWD",
        "OLDPWD",
        "_X_AMZN_TRACE_ID",
        "LAMBDA_RUNTIME_AWS_REQUEST_ID",
        "LAMBDA_RUNTIME_DEADLINE_MS",
        "LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN",
        "LAMBDA_RUNTIME_TRACE_ID",
        "LAMBDA_RUNTIME_CLIENT_CONTEXT",
        "LAMBDA_RUNTIME_COGNITO_IDENTITY",
        "LAMBDA_RUNTIME_AWS_TENANT_ID",
        "__driver_kind",
        "__driver_status",
        "__driver_kept",
        "__driver_arguments",
        "__driver_details",
        "__driver_failed_at",
        "__driver_exit",
        "__driver_trap",
        "__driver_i",
        "__driver_line",
        "BASH_COMMAND",
        "PATH",
        "BASH_ARGV0",
        "FUNCNAME",
        "LINENO",
    ] {
        Case::of(&format!("readonly {name}; printf on")).responds("on");
    }
    Case::of("readonly ${!__driver_*} ${!LAMBDA_RUNTIME_*} _X_AMZN_TRACE_ID IFS PWD; printf on")
        .responds("on");
    Case::of("cd /; IFS=x; readonly PWD OLDPWD IFS; printf on")
        .responds("on")
        .replaces_the_shell();
    // After that the driver cannot describe the failure exactly, but the answer must be an error.
    Case::of("readonly ${!__driver_*} ${!LAMBDA_RUNTIME_*} IFS; false")
        .run(|sandbox| fails_with(sandbox, &["1"]));
    Case::of("readonly ${!__driver_*} ${!LAMBDA_RUNTIME_*} IFS; exit 3")
        .run(|sandbox| fails_with(sandbox, &[]));
}

#[test]
fn a_handler_may_set_attributes_on_names_of_the_driver() {
    // Bash before 4.4 has no `declare -n`.
    if support::always_forks() {
        return;
    }
    Case::of(
        "declare -gi __driver_status LAMBDA_RUNTIME_AWS_REQUEST_ID 2>/dev/null || :; printf on",
    )
    .responds("on");
    Case::of("declare -gu LAMBDA_RUNTIME_AWS_REQUEST_ID _X_AMZN_TRACE_ID; printf on")
        .responds("on");
    Case::of("declare -gl __driver_kind __driver_kept; declare -gn __driver_exit=x; printf on")
        .responds("on");
    Case::of("export -n LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_TRACE_ID _X_AMZN_TRACE_ID; printf on").responds("on");
}

#[test]
fn aliases_end_with_the_invocation_and_do_not_change_the_driver() {
    Case::of("shopt -s expand_aliases; alias ll='ls -l' printf='echo never'; builtin printf on")
        .responds("on")
        .lives_on();
    for name in [
        ",",
        ",,",
        ",,,",
        "builtin",
        "exec",
        "__driver_context",
        "__driver_run_exit_trap",
        "__driver_take_descriptor",
    ] {
        let case = Case::of(&format!(
            "shopt -s expand_aliases; alias {name}='echo aliased; : '; printf on"
        ));
        case.responds("on").does_not_log("aliased");
        let case = Case::of(&format!(
            "shopt -s expand_aliases; alias {name}='echo aliased; : '; trap 'printf trapped' EXIT; cd /; exec 9<>/dev/null; return 3"
        ));
        case.run(|sandbox| fails_with(sandbox, &["status 3"]))
            .does_not_log("aliased");
    }
    Case::of("alias quoted=\"it's \\\" \\$x \\\\ 'two\nlines'\"; printf on")
        .responds("on")
        .lives_on();
}
