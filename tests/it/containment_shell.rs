//! Handlers that change the options, the working directory, the umask or the IFS of their shell. Each case is probed before
//! and after; see `containment.rs`.

use serde_json::Value;

use crate::containment::{Case, fails_with};
use support::{Event, Sandbox};

#[test]
fn xtrace_traces_the_handler_but_not_the_driver() {
    let case = Case::of("set -x\n: traced $1\nprintf on");
    case.responds("on").lives_on().logs("+ : traced bad");
    Case::of("set -x\nfalse")
        .run(|sandbox| fails_with(sandbox, &["status 1"]))
        .lives_on()
        .logs("+ false");
    Case::of("set -x\nexit 3")
        .run(|sandbox| fails_with(sandbox, &["status 3"]))
        .lives_on()
        .logs("+ exit 3");
    Case::of("set -x; BASH_XTRACEFD=1; printf on").run(|sandbox| {
        assert!(String::from_utf8_lossy(&sandbox.respond("bad")).contains("on"));
        Value::Null
    });
    Case::of("exec {BASH_XTRACEFD}>\"$LAMBDA_TASK_ROOT/trace\"; set -x; printf on").responds("on");
}

#[test]
fn xtrace_set_in_the_file_traces_each_invocation() {
    let sandbox = Sandbox::of("set -x\nhandler() { : traced $1; printf on; }").start();
    assert_eq!(sandbox.respond("one"), b"on");
    assert_eq!(sandbox.respond("two"), b"on");
    sandbox.bootstrap.wait_log(": traced one");
    sandbox.bootstrap.wait_log(": traced two");
}

#[test]
fn set_options_are_restored() {
    for option in [
        "-f",
        "-v",
        "-o posix",
        "-a",
        "-b",
        "-h",
        "-k",
        "-m",
        "-o noclobber",
        "-B",
        "+B",
        "-o history",
        "-H",
        "-T",
        "-E",
        "+E",
        "-P",
        "-o ignoreeof",
        "-o vi",
        "+euo pipefail",
    ] {
        Case::of(&format!("printf on; set {option}"))
            .responds("on")
            .lives_on();
    }
    Case::of("set -- a b c; printf '%s' \"$*\"")
        .responds("a b c")
        .lives_on();
    Case::of("set -f; set -o posix; false")
        .run(|sandbox| fails_with(sandbox, &["status 1"]))
        .lives_on();
    Case::of("set -f; set -o posix; cd /; exit 4").run(|sandbox| fails_with(sandbox, &["4"]));
}

/// After `set -n` bash reads commands without running them. The answer has the output from before.
#[test]
fn noexec_ends_the_handler_and_harms_nothing() {
    Case::of("printf on; set -n; printf never").run(|sandbox| {
        let answer = sandbox.invoke(Event::fresh("bad"));
        assert!(!answer.body.windows(5).any(|word| word == b"never"));
        Value::Null
    });
}

/// `set -t` ends bash after one more command.
#[test]
fn onecmd_harms_nothing() {
    Case::of("printf on; set -t").run(|sandbox| {
        let answer = sandbox.invoke(Event::fresh("bad"));
        assert!(answer.is_response() || answer.is_error());
        Value::Null
    });
}

#[test]
fn shopt_options_are_restored() {
    for option in [
        "extglob",
        "nullglob",
        "dotglob",
        "failglob",
        "nocasematch",
        "nocaseglob",
        "globstar",
        "lastpipe",
        "extdebug",
        "expand_aliases",
        "inherit_errexit",
        "localvar_inherit",
        "xpg_echo",
        "autocd",
        "cdable_vars",
        "huponexit",
        "execfail",
        "sourcepath",
        "shift_verbose",
    ] {
        if option == "localvar_inherit" && support::bash_version() < (5, 0) {
            continue;
        }
        Case::of(&format!("printf on; shopt -s {option}"))
            .responds("on")
            .lives_on();
    }
    Case::of("shopt -u sourcepath interactive_comments promptvars; printf on")
        .responds("on")
        .lives_on();
    Case::of("shopt -s extglob nullglob; false")
        .run(|sandbox| fails_with(sandbox, &["status 1"]))
        .lives_on();
    Case::of("shopt -s compat42; BASH_COMPAT=4.2; printf on").responds("on");
}

#[test]
fn settings_of_the_file_are_restored_not_the_defaults() {
    // On bash 4.4 the first handler begins with aliases off: docs/bash-versions.md.
    let aliases = if support::bash_version() == (4, 4) {
        ""
    } else {
        "expand_aliases"
    };
    let top_level = format!(
        "cd \"$LAMBDA_TASK_ROOT\"; umask 077; IFS=:; shopt -s extglob {aliases}; set -f; set +u; trap 'echo \"it'\\''s\nhere\"' INT TERM; alias a='b c' q=\"it's\"",
    );
    let case = Case::of("cd /; umask 0; IFS=x; shopt -u extglob; shopt -s dotglob; set +f; trap 'echo other' INT; unalias -a; printf on").with_top_level(&top_level);
    case.responds("on").lives_on();
}

#[test]
fn working_directory_umask_and_ifs_are_restored() {
    Case::of("cd /; printf '%s' \"$PWD\"")
        .responds("/")
        .lives_on();
    Case::of("mkdir -p \"$LAMBDA_TASK_ROOT/gone\"; cd \"$LAMBDA_TASK_ROOT/gone\"; rmdir \"$LAMBDA_TASK_ROOT/gone\"; printf on").responds("on").lives_on();
    Case::of("pushd / >/dev/null; pushd /tmp >/dev/null; printf on")
        .responds("on")
        .lives_on();
    Case::of("cd /; false")
        .run(|sandbox| fails_with(sandbox, &["status 1"]))
        .lives_on();
    Case::of("cd /; kill -9 $$")
        .run(|sandbox| fails_with(sandbox, &["SIGKILL"]))
        .replaces_the_shell();
    Case::of("umask 0; printf on").responds("on").lives_on();
    Case::of("umask 777; exit 5")
        .run(|sandbox| fails_with(sandbox, &["status 5"]))
        .lives_on();
    Case::of("IFS=0123456789; printf on")
        .responds("on")
        .lives_on();
    Case::of("IFS=$'\\n\\'\\\\'; printf on")
        .responds("on")
        .lives_on();
    Case::of("unset IFS; exit 6")
        .run(|sandbox| fails_with(sandbox, &["status 6"]))
        .lives_on();
    Case::of("IFS=; set -f; deep() { exit 6; }; deep")
        .run(|sandbox| fails_with(sandbox, &["status 6"]))
        .lives_on();
}

#[test]
fn a_handler_may_change_its_limits_and_locale() {
    Case::of("ulimit -n 100; printf on").responds("on");
    Case::of("LC_ALL=C; LANG=xx; TZ=nowhere; printf on")
        .responds("on")
        .lives_on();
    Case::of("PATH=/nowhere; PATH=/usr/bin:/bin; hash -r; printf on")
        .responds("on")
        .lives_on();
}
