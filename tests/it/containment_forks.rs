//! Files whose events have to run in forks of the shell, and settings of a file with which forks are made.
//!
//! In a plain bash, `response=$(handler "$event")` runs the handler in a subshell, which has no jobs of the file and resets its
//! traps. With the isolation `restore`, a file for which that matters gets the same.

use support::{Sandbox, SandboxBuilder};

fn isolated(isolation: &str, script: &str) -> SandboxBuilder {
    println!("{isolation}: {script}");
    Sandbox::of(script).env("COSHELL_ISOLATION", isolation)
}

#[track_caller]
fn respond(sandbox: &Sandbox, event: &str) -> String {
    String::from_utf8_lossy(&sandbox.respond(event)).into_owned()
}

/// Whether the events of a file with this first line run in forks from the first one on.
fn runs_in_forks(top: &str, handler: &str) -> bool {
    let script = format!("{top}\nhandler() {{ {handler}\necho \"$BASH_SUBSHELL\"; }}");
    let sandbox = isolated("restore", &script).start();
    respond(&sandbox, "x").ends_with('1')
}

#[test]
fn forks_take_their_events_whatever_the_file_makes_of_ifs() {
    for top in [
        "readonly IFS=$'\\n\\t'",
        "readonly IFS",
        "declare -n IFS=other; other=q",
        "IFS=$'0123456789abcdefghijklmnopqrstuvwxyz'",
        "declare -i IFS",
        "TMOUT=1",
    ] {
        if support::always_forks() && top.contains("-n") {
            continue;
        }
        for isolation in ["restore", "subshell"] {
            let script = format!("{top}\nhandler() {{ sleep 0 & wait; printf '%s' \"on $1\"; }}");
            let sandbox = isolated(isolation, &script).start();
            assert_eq!(respond(&sandbox, "a b"), "on a b");
            assert_eq!(respond(&sandbox, " c "), "on  c ");
            assert_eq!(respond(&sandbox, "d\n e\n\nf"), "on d\n e\n\nf");
            assert_eq!(sandbox.bootstrap.final_log(), "");
        }
    }
}

#[test]
fn a_file_may_close_its_stderr() {
    for isolation in ["restore", "none", "subshell", "process"] {
        for job in ["", "sleep 0 & wait; "] {
            let script =
                format!("exec 2>&-\nhandler() {{ {job}echo text >&2 || echo \"closed $1\"; }}");
            let sandbox = isolated(isolation, &script).start();
            for event in ["x", "y"] {
                assert_eq!(respond(&sandbox, event), format!("closed {event}"));
            }
            assert_eq!(sandbox.bootstrap.final_log(), "");
        }
    }
}

#[test]
fn traps_of_the_file_for_signals_do_not_run_in_handlers() {
    for trap in ["echo trapped", "echo trapped; false"] {
        let script = format!(
            "trap '{trap}' CHLD USR1\nhandler() {{ /bin/true; kill -0 $$; echo \"on $1\"; }}"
        );
        let sandbox = isolated("restore", &script).start();
        for event in ["x", "y", "z"] {
            assert_eq!(respond(&sandbox, event), format!("on {event}"));
        }
    }
    for signal in ["CHLD", "USR1", "TERM", "INT", "HUP", "ALRM", "RTMIN"] {
        assert!(runs_in_forks(&format!("trap : {signal}"), ""), "{signal}");
    }
    for top in ["trap '' INT", "trap : EXIT", "trap : USR1; trap - USR1"] {
        assert_eq!(runs_in_forks(top, ""), support::always_forks(), "{top}");
    }
}

#[test]
fn jobs_of_the_file_are_not_those_of_a_handler() {
    let script = "sleep 60 >/dev/null 2>&1 &\nhandler() { wait; disown -a; echo \"on $1\"; }";
    let sandbox = isolated("restore", script).start();
    for event in ["x", "y"] {
        assert_eq!(respond(&sandbox, event), format!("on {event}"));
    }
    let reads = "mapfile -t lines < <(echo a)";
    assert!(runs_in_forks(reads, "wait"));
    assert_eq!(runs_in_forks(reads, ""), support::always_forks());
}

#[test]
fn processor_time_of_an_event_does_not_count_for_the_next() {
    assert!(runs_in_forks("ulimit -S -t 600", ""));
    if support::always_forks() {
        return;
    }
    // The shell of the event before has used some of the time.
    let script = "handler() { ulimit -S -t \"$1\"; echo \"$$ $BASH_SUBSHELL\"; }";
    let sandbox = isolated("restore", script).start();
    let mut seen = Vec::new();
    for event in ["600", "600", "600"] {
        let shell = respond(&sandbox, event);
        assert!(!seen.contains(&shell), "{shell} of {seen:?}");
        seen.push(shell);
    }
    assert!(respond(&sandbox, "600").ends_with(" 1"));
}

#[test]
fn exec_that_fails_ends_the_handler_whatever_execfail_is() {
    for (top, first) in [("shopt -s execfail", ":"), (":", "shopt -s execfail")] {
        let script = format!(
            "set +e\n{top}\nhandler() {{ if [[ $1 == bad ]]; then {first}; exec /no/such/program; fi; echo \"on $1\"; }}"
        );
        let sandbox = isolated("restore", &script).start();
        assert_eq!(respond(&sandbox, "x"), "on x");
        sandbox.fail("bad");
        assert_eq!(respond(&sandbox, "y"), "on y");
    }
}
