//! The command, file, line and stack in an error document. They come from the shell itself, never from a log line that looks
//! like a place. For a pipeline the document names the part that failed.

use std::time::Duration;

use serde_json::Value;

use crate::deadline::check_all;
use support::{Event, LIMIT, Sandbox, SandboxBuilder, wait_until};

/// Prints a message like bash's, with a place that does not exist.
const FORGED: &str = "echo \"$LAMBDA_TASK_ROOT/data.csv: line 12: x: unbound variable\" >&2";

/// The first line of the message, and the stack trace, both without the task root.
fn first_line_and_stack(sandbox: &Sandbox, document: &Value) -> (String, Vec<String>) {
    let root = format!("{}/", sandbox.task_root.path().display());
    let message = document["errorMessage"].as_str().expect("a message");
    let first = message.lines().next().unwrap_or_default();
    let frames = document["stackTrace"].as_array().expect("an array").iter();
    let frames = frames.map(|frame| frame.as_str().expect("a frame").replace(&root, ""));
    (first.replace(&root, ""), frames.collect())
}

#[track_caller]
fn fails(sandbox: &Sandbox, event: &str, message: &str, stack: &[&str]) {
    let document = sandbox.fail(event);
    let (first, frames) = first_line_and_stack(sandbox, &document);
    assert_eq!(
        (first.as_str(), frames),
        (message, stack.iter().map(ToString::to_string).collect()),
        "{event}"
    );
}

fn start_isolated(script: &str, isolation: &str) -> Sandbox {
    let builder = Sandbox::of(script);
    builder.env("COSHELL_ISOLATION", isolation).start()
}

#[test]
fn a_log_line_that_looks_like_a_place_is_not_taken_for_one() {
    let script = format!(
        r#"handler() {{
  {FORGED}
  case $1 in
    unset) echo "$not_set" ;;
    kill) kill -9 "$BASHPID" ;;
    return) return 3 ;;
  esac
}}
"#
    );
    for isolation in ["restore", "none", "process"] {
        let sandbox = start_isolated(&script, isolation);
        let place = "handler (function.sh:4)";
        let message = format!("shell ended with status 1 during `echo \"$not_set\"` in {place}");
        fails(&sandbox, "unset", &message, &[place]);
        let document = sandbox.fail("kill");
        let (first, frames) = first_line_and_stack(&sandbox, &document);
        assert!(
            first.starts_with("shell killed by SIGKILL during handler"),
            "{first}"
        );
        assert_eq!(frames, [""; 0]);
        fails(&sandbox, "return", "handler returned status 3", &[]);
    }
    let sandbox = start_isolated(&script, "subshell");
    for event in ["unset", "kill", "return"] {
        let document = sandbox.fail(event);
        let (first, frames) = first_line_and_stack(&sandbox, &document);
        assert!(!first.contains("data.csv"), "{first}");
        assert!(!frames.concat().contains("data.csv"), "{frames:?}");
    }
}

/// Bash reports the command but not its line. The same command may be in another function too.
#[test]
fn an_unknown_line_is_searched_only_in_its_own_function() {
    let script = "other() {\n  echo \"$not_set\"\n}\nhandler() {\n  : # echo \"$not_set\"\n  deep\n}\ndeep() {\n  # echo \"$not_set\"\n  echo \"$not_set\"\n}\n";
    let sandbox = start_isolated(script, "restore");
    let place = "deep (function.sh:10)";
    let message = format!("shell ended with status 1 during `echo \"$not_set\"` in {place}");
    fails(&sandbox, "x", &message, &[place, "handler (function.sh:6)"]);
    let script =
        "handler() {\n  if false; then\n    echo \"$not_set\"\n  fi\n  echo \"$not_set\"\n}\n";
    let sandbox = start_isolated(script, "restore");
    let place = "handler (function.sh)";
    let message = format!("shell ended with status 1 during `echo \"$not_set\"` in {place}");
    fails(&sandbox, "x", &message, &[place]);
}

const PIPELINES: &str = r#"dump() { echo "cannot dump $1" >&2; return 2; }
handler() {
  dump "$1" |
    gzip |
    cat >/dev/null
}
external() {
  grep nothing /dev/null | gzip -c | wc -c
}
middle() {
  seq 1 3 | sed 's/(/x' 2>/dev/null | wc -l
}
pipe() {
  seq 1 200000 | sort -r | head -1
}
last() {
  seq 1 3 | cat | grep nothing
}
compound() {
  grep nothing /dev/null | while read -r line; do
    echo "$line"
  done
}
twice() {
  grep one /dev/null | wc -l; grep two /dev/null | wc -l
}
without() {
  set +o pipefail
  false | true
  false | grep nothing
}
substituted() {
  local x
  x=$(grep nothing /dev/null | wc -l)
}
"#;

#[test]
fn the_error_names_the_failed_part_of_a_pipeline() {
    let cases = [
        (
            "handler",
            "`dump \"$1\"`, part 1 of 3 of a pipeline, ended with status 2 in handler (function.sh:5)",
        ),
        (
            "external",
            "`grep nothing /dev/null`, part 1 of 3 of a pipeline, ended with status 1 in external (function.sh:8)",
        ),
        (
            "middle",
            "`sed 's/(/x' 2>/dev/null`, part 2 of 3 of a pipeline, ended with status 1 in middle (function.sh:11)",
        ),
        (
            "pipe",
            "`sort -r`, part 2 of 3 of a pipeline, ended with status 141 (SIGPIPE) in pipe (function.sh:14)",
        ),
        (
            "last",
            "`grep nothing` ended with status 1 in last (function.sh:17)",
        ),
        (
            "without",
            "`grep nothing` ended with status 1 in without (function.sh:30)",
        ),
    ];
    for isolation in ["restore", "subshell"] {
        for (function, message) in cases {
            let builder = Sandbox::of(PIPELINES).handler(&format!("function.{function}"));
            let sandbox = builder.env("COSHELL_ISOLATION", isolation).start();
            let (_, place) = message.rsplit_once(" in ").expect("a place");
            fails(&sandbox, "x", message, &[place]);
            fails(&sandbox, "y", message, &[place]);
        }
        // The text of the failed part is ambiguous, so it is left out.
        for function in ["compound", "twice"] {
            let builder = Sandbox::of(PIPELINES).handler(&format!("function.{function}"));
            let sandbox = builder.env("COSHELL_ISOLATION", isolation).start();
            let (first, _) = first_line_and_stack(&sandbox, &sandbox.fail("x"));
            let wanted = "part 1 of 2 of a pipeline ended with status 1 in ";
            assert!(first.starts_with(wanted), "{first}");
        }
    }
    let builder = Sandbox::of(PIPELINES).handler("function.substituted");
    let (first, _) = {
        let sandbox = builder.start();
        first_line_and_stack(&sandbox, &sandbox.fail("x"))
    };
    assert!(
        first.starts_with("`x=$(grep nothing /dev/null | wc -l)` ended with status 1"),
        "{first}"
    );
}

fn start_script(text: &str) -> Sandbox {
    let builder = Sandbox::empty().file("whole.sh", text);
    builder.handler("whole.sh").event_as_argument().start()
}

#[test]
fn the_error_of_a_script_names_the_failed_part_of_a_pipeline() {
    for trap in [":", "trap 'echo cleaned >&2' EXIT"] {
        let script = format!(
            "#!/bin/bash\nset -eo pipefail\n{trap}\ngrep nothing /dev/null | gzip -c | wc -c\n"
        );
        let place = "main (whole.sh:4)";
        let message = format!(
            "whole.sh exited with status 1 after `grep nothing /dev/null`, part 1 of 3 of a pipeline in {place}"
        );
        fails(&start_script(&script), "x", &message, &[place]);
    }
}

/// The trap replaces the EXIT trap by which coshell finds the place.
#[test]
fn the_error_of_a_script_with_its_own_exit_trap_has_the_place() {
    let script = "#!/bin/bash\nset -euo pipefail\ntrap 'rm -f \"$LAMBDA_TASK_ROOT/scratch\"' EXIT\n: >\"$LAMBDA_TASK_ROOT/scratch\"\ncase $1 in\n  fail)\n    false ;;\n  *) echo well ;;\nesac\n";
    let sandbox = start_script(script);
    assert_eq!(sandbox.respond("x"), b"well");
    let place = "main (whole.sh:7)";
    let message = format!("whole.sh exited with status 1 after `false` in {place}");
    fails(&sandbox, "fail", &message, &[place]);
    assert!(!sandbox.task_root.exists("scratch"));
    // With -E functions inherit traps. The end of a subshell is not the end of the script.
    let script = "#!/bin/bash\nset -Eeuo pipefail\ntrap : EXIT\ndeep() {\n  (exit 3) || :\n  x=$(exit 4; echo never) || :\n  ls /no/such 2>/dev/null\n}\nouter() { deep; }\nouter\n";
    let place = "deep (whole.sh:7)";
    let message =
        format!("whole.sh exited with status 2 after `ls /no/such 2> /dev/null` in {place}");
    let frames = [place, "outer (whole.sh:9)", "main (whole.sh:10)"];
    fails(&start_script(script), "x", &message, &frames);
}

/// A command that fails without ending the script is not in the error.
#[test]
fn a_script_goes_on_after_a_command_that_fails() {
    let script = "#!/bin/bash\nfalse\nfalse | true\n(exit 5)\necho \"$? ${PIPESTATUS[*]}\"\nfor i in {1..100}; do ((i < 0)); done\necho \"$?\"\ntrap -p ERR >/dev/null\ntrap - ERR\nexit 6\n";
    let sandbox = start_script(script);
    let message = "whole.sh exited with status 6 after `exit 6` in main (whole.sh:10)";
    fails(&sandbox, "x", message, &["main (whole.sh:10)"]);
    let script = "#!/bin/bash\nfalse\n(exit 5)\necho \"$? ${PIPESTATUS[*]} $LINENO $_\"\nfalse | true | (exit 3)\necho \"${PIPESTATUS[*]}\"\n";
    assert_eq!(start_script(script).respond("x"), b"5 5 4 false\n1 0 3");
}

#[test]
fn the_error_of_a_function_with_its_own_exit_trap_has_the_place() {
    let script = "handler() {\n  trap 'rm -f \"$LAMBDA_TASK_ROOT/scratch\"' EXIT\n  : >\"$LAMBDA_TASK_ROOT/scratch\"\n  case $1 in\n    fail) false ;;\n    exit) exit 3 ;;\n    *) echo well ;;\n  esac\n}\n";
    for isolation in ["restore", "none", "subshell", "process"] {
        let sandbox = start_isolated(script, isolation);
        assert_eq!(sandbox.respond("x"), b"well");
        let place = "handler (function.sh:5)";
        let message = format!("`false` ended with status 1 in {place}");
        fails(&sandbox, "fail", &message, &[place]);
        assert!(!sandbox.task_root.exists("scratch"), "{isolation}");
    }
}

/// Runs a handler that is stopped shortly before its deadline. Returns the first line of the error, and the stack. A handler
/// that did not begin, or did not clean up in time, on a busy machine, is tried again with a later deadline.
fn stop(builder: impl Fn() -> SandboxBuilder) -> (String, Vec<String>) {
    for seconds in [3, 10, 30] {
        let sandbox = builder().env("COSHELL_DEADLINE_MARGIN_MS", "1000").start();
        let event = Event::fresh("x").with_deadline_in(Duration::from_secs(seconds));
        let document = sandbox.invoke(event).error_document();
        assert!(!sandbox.task_root.exists("went-on"));
        if sandbox.task_root.exists("begun") && sandbox.task_root.exists("cleaned") {
            return first_line_and_stack(&sandbox, &document);
        }
    }
    panic!("the handler did not begin, or did not clean up");
}

#[test]
fn the_error_of_a_stopped_handler_has_the_place_whatever_traps_it_sets() {
    const EXIT: &str = "trap ': >\"$LAMBDA_TASK_ROOT/cleaned\"' EXIT";
    const TERM: &str = "trap ': >\"$LAMBDA_TASK_ROOT/cleaned\"; exit 3' TERM";
    let commands = [
        (EXIT, "sleep 600", "sleep 600"),
        (TERM, "sleep 600", "sleep 600"),
        (EXIT, "sleep 600 | cat", "cat"),
        (EXIT, "sleep 600 & wait", "wait"),
        (EXIT, "while :; do :; done", ":"),
    ];
    let kinds = ["restore", "none", "subshell", "process", "script"];
    let all = commands
        .into_iter()
        .flat_map(|case| kinds.map(|kind| (case, kind)));
    let all: Vec<_> = all.collect();
    check_all(
        &all,
        |case| format!("{case:?}"),
        |((trap, command, line), kind)| {
            let body = format!(
                "deep() {{\n  {trap}\n  : >\"$LAMBDA_TASK_ROOT/begun\"\n  {command}\n  echo x >\"$LAMBDA_TASK_ROOT/went-on\"\n}}\n"
            );
            let (label, file, outer) = if *kind == "script" {
                ("whole.sh", "whole.sh", "main (whole.sh:8)")
            } else {
                ("handler", "function.sh", "handler (function.sh:8)")
            };
            let (first, stack) = stop(|| {
                if *kind == "script" {
                    let text = format!("#!/bin/bash\n{body}deep\n");
                    let builder = Sandbox::empty().file("whole.sh", text);
                    builder.handler("whole.sh").event_as_argument()
                } else {
                    let builder = Sandbox::of(&format!("{body}handler() {{\n  deep\n}}\n"));
                    builder.env("COSHELL_ISOLATION", kind)
                }
            });
            let wanted = format!(
                "{label} was stopped 1000 ms before its deadline during `{line}` in deep ({file}"
            );
            assert!(first.starts_with(&wanted), "{first}");
            assert_eq!(stack[1..], [outer]);
        },
    );
}

/// While bash reads the output of a substitution, coshell does not signal it to report its place: bash would go on with a
/// part of the output.
#[test]
fn a_handler_that_is_stopped_in_a_substitution_does_not_go_on_with_a_part_of_it() {
    let body = "trap ': >\"$LAMBDA_TASK_ROOT/cleaned\"' EXIT\n: >\"$LAMBDA_TASK_ROOT/begun\"\n: >\"$LAMBDA_TASK_ROOT/went-on$(printf %s; sleep 600)\"\n:\n";
    let function = || Sandbox::of(&format!("handler() {{\n{body}}}\n"));
    let script = || {
        let builder = Sandbox::empty().file("whole.sh", format!("#!/bin/bash\n{body}"));
        builder.handler("whole.sh").event_as_argument()
    };
    let (first, _) = stop(function);
    assert!(
        first.starts_with(
            "handler was stopped 1000 ms before its deadline with bash, sleep running"
        ),
        "{first}"
    );
    let (first, _) = stop(script);
    assert!(
        first.starts_with(
            "whole.sh was stopped 1000 ms before its deadline with bash, sleep running"
        ),
        "{first}"
    );
}

/// The program handles the signals that coshell uses for bash too, but gets only SIGTERM.
#[test]
fn a_program_that_replaced_bash_is_ended_by_sigterm() {
    let perl = r#"exec perl -e '$SIG{$_} = sub { open F, ">", "$ENV{LAMBDA_TASK_ROOT}/cleaned"; print F @_; exit } for TERM, "NUM63", "RTMAX"; open F, ">", "$ENV{LAMBDA_TASK_ROOT}/begun"; close F; sleep 600'"#;
    // On a busy machine perl may start too late, and then a later deadline is tried.
    for seconds in [3, 10, 30] {
        let builder = Sandbox::of(&format!("handler() {{ {perl}; }}"));
        let sandbox = builder.env("COSHELL_DEADLINE_MARGIN_MS", "1000").start();
        let event = Event::fresh("x").with_deadline_in(Duration::from_secs(seconds));
        sandbox.invoke(event).error_document();
        if sandbox.task_root.exists("begun") {
            wait_until(|| sandbox.task_root.exists("cleaned"), LIMIT);
            assert_eq!(sandbox.task_root.read("cleaned"), "TERM");
            return;
        }
    }
    panic!("perl never started");
}

#[test]
fn the_init_error_has_the_place_of_a_failure_while_sourcing() {
    for trap in [":", "trap : EXIT", "trap 'echo cleaned >&2' EXIT"] {
        for (body, message, stack) in [
            (
                "false",
                "`false` ended with status 1 at function.sh:4",
                &["deep (function.sh:4)", "source (function.sh:6)"][..],
            ),
            (
                "grep x /dev/null",
                "`grep x /dev/null` ended with status 1 at function.sh:4",
                &["deep (function.sh:4)", "source (function.sh:6)"],
            ),
            (
                "exit 7",
                "function.sh exited with status 7 while it was sourced",
                &["deep (function.sh:4)", "source (function.sh:6)"],
            ),
        ] {
            let script = format!("handler() {{ :; }}\n{trap}\ndeep() {{\n  {body}\n}}\ndeep\n");
            let sandbox = Sandbox::of(&script).start();
            let document = sandbox.api.wait_init_error().error_document();
            let (first, frames) = first_line_and_stack(&sandbox, &document);
            assert!(first.contains(message), "{first}");
            assert_eq!(frames, stack, "{trap}: {first}");
        }
    }
}
