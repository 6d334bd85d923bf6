//! ERR traps, in every isolation: each handler has to do what it does in a plain bash, and the trap has to run as often.
//!
//! The oracle is `( source file; handler "$event" )`. The traps write to the log, which is compared as well.

use std::process::{Command, Stdio};

use serde_json::Value;
use support::sandbox::set_lambda_environment;
use support::{Event, Sandbox, SandboxBuilder};

const ISOLATIONS: [&str; 4] = ["restore", "none", "subshell", "process"];

/// What a run gives: the response, or none if it fails.
type Run = Option<String>;

fn run_in_plain_bash(builder: &SandboxBuilder, event: &str) -> (Run, String) {
    let root = builder.task_root().path();
    let mut command = Command::new(support::bash());
    set_lambda_environment(&mut command, root);
    let output = command
        .args([
            "-c",
            "set -euo pipefail; { shopt -s inherit_errexit; } 2>/dev/null || :; ( source \"$0\" >&2; handler \"$1\" )",
        ])
        .args([&*root.join("function.sh").to_string_lossy(), event])
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let response = output
        .status
        .success()
        .then(|| text.trim_end_matches('\n').to_owned());
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    (response, log)
}

/// Runs two events in each isolation, and compares them with a plain bash.
#[track_caller]
fn run_as_in_plain_bash(script: &str) {
    // On 4.2 and 4.3 a subshell inherits no ERR trap, and every event runs in one.
    if support::always_forks() {
        return;
    }
    for isolation in ISOLATIONS {
        let builder = Sandbox::of(script);
        let expected = ["x", "y"].map(|event| run_in_plain_bash(&builder, event));
        let sandbox = builder.env("COSHELL_ISOLATION", isolation).start();
        let responses = ["x", "y"].map(|event| {
            let answer = sandbox.invoke(Event::fresh(event));
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            if !answer.is_response() {
                let document: Value = serde_json::from_str(&text).expect("a JSON document");
                println!("{}", document["errorMessage"]);
            }
            answer.is_response().then_some(text)
        });
        let [first, second] = expected;
        assert_eq!(responses, [first.0, second.0], "{isolation}: {script}");
        sandbox.api.wait_parked();
        let log = sandbox.bootstrap.final_log();
        let lines = log.lines().filter(|line| !line.starts_with("bootstrap: "));
        let expected = format!("{}{}", first.1, second.1);
        assert_eq!(
            lines.collect::<Vec<_>>(),
            expected.lines().collect::<Vec<_>>(),
            "{isolation}: {script}"
        );
    }
}

/// Traps that write to the log, and what they do then.
const TRAPS: [&str; 3] = [
    "trap 'echo \"trap $?\" >&2' ERR",
    "trap 'echo trap >&2; exit 9' ERR",
    "trap 'last=$?; echo \"trap $last\" >&2; exit \"$last\"' ERR",
];

#[test]
fn exit_in_a_nested_function_runs_no_err_trap() {
    for trap in TRAPS {
        for (finish, end) in [
            ("exit 0", "finish"),
            ("exit 3", "finish"),
            ("exit 0", "[[ $1 ]] && finish"),
            ("while :; do exit 0; done", "eval 'finish; echo never'"),
            ("exit 0", "inner() { finish; echo never; }; inner"),
            ("local -; set +e; exit 0", "finish"),
        ] {
            let functions = format!("finish() {{ {finish}; }}");
            let body = format!("echo ok; {end}; echo never");
            for script in [
                format!("{trap}\n{functions}\nhandler() {{ {body}; }}\n"),
                format!("set -Eeuo pipefail\n{trap}\n{functions}\nhandler() {{ {body}; }}\n"),
                format!("set +e\n{trap}\n{functions}\nhandler() {{ {body}; }}\n"),
                format!("{functions}\nhandler() {{ {trap}; {body}; }}\n"),
                format!("{functions}\nhandler() {{ set -E; {trap}; {body}; }}\n"),
            ] {
                run_as_in_plain_bash(&script);
            }
        }
    }
}

#[test]
fn functions_inherit_an_err_trap_if_the_file_sets_errtrace() {
    for trap in TRAPS {
        for top in ["set +e; set -E", "set -Eeuo pipefail", "set +e"] {
            for body in [
                "false; echo later",
                "f; echo later",
                "f || echo no; if ! f; then echo later; fi",
                "for i in 1 2; do f; done; (exit 6); echo \"$i\"",
                "x=$(false; echo y); echo \"later $x\"",
                "(false; echo in); echo later",
                "true | f; echo later",
                "f; return 3",
                "g; echo later",
            ] {
                run_as_in_plain_bash(&format!(
                    "{top}\n{trap}\nf() {{ false; }}\ng() {{ false; exit 0; }}\nhandler() {{ {body}; }}\n"
                ));
            }
        }
    }
    run_as_in_plain_bash(
        "set +e; set -E; trap 'failures=$((failures+1))' ERR; failures=0\n\
         handler() { failures=0; grep -q nope /etc/passwd; ls /nope 2>/dev/null; echo \"failures: $failures\"; }\n",
    );
}

#[test]
fn an_err_trap_of_the_handler_that_exits_runs_once() {
    for top in ["set +e", "set -o errtrace", "set +e; set -o errtrace", ":"] {
        run_as_in_plain_bash(&format!(
            "f() {{ false; true; }}\nhandler() {{\n  {top}\n  trap 'echo \"trap $?\" >&2; exit 7' ERR\n  f\n  echo later\n}}\n"
        ));
    }
}

/// The functions of coshell fail without running the trap in themselves.
#[test]
fn an_err_trap_sees_nothing_of_coshell() {
    if support::always_forks() {
        return;
    }
    for isolation in ISOLATIONS {
        let sandbox = Sandbox::of(
            "set +e; set -E; trap 'echo \"trap ${FUNCNAME-}\" >&2' ERR\nkept=0\n\
             handler() { kept=1; lambda_keep kept; lambda_get none <<<'{}'; lambda_log done; umask 077; cd /; exit 0; }\n",
        )
        .env("COSHELL_ISOLATION", isolation)
        .start();
        for _ in 0..2 {
            sandbox.invoke(Event::fresh("{}"));
        }
        sandbox.api.wait_parked();
        let log = sandbox.bootstrap.final_log();
        let traps = log.lines().filter(|line| line.starts_with("trap"));
        let traps: Vec<_> = traps.collect();
        assert!(
            traps.iter().all(|line| *line == "trap handler"),
            "{isolation}: {log}"
        );
        assert_eq!(
            log.lines().filter(|line| *line == "done").count(),
            2,
            "{isolation}: {log}"
        );
    }
}
