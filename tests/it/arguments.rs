//! What a handler gets: the arguments in its name, and its event on standard input or as an argument, as `COSHELL_EVENT`
//! says.
//!
//! Bash itself splits the same names, for comparison. Names and files that make no sense as a handler are rejected before
//! any of their code runs.

use std::process::Command;

use crate::init::fails;
use support::{Event, Sandbox, SandboxBuilder};

/// Prints the number of arguments, the arguments, and standard input.
const SHOW_INPUT: &str = "printf '<%s>' \"$#\" \"$@\"; printf '|'; cat\n";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How bash splits `arguments`, as [`SHOW_INPUT`] prints them, with empty standard input.
fn split_by_bash(arguments: &str) -> String {
    let script = format!("set -f; set -- {arguments}\n{SHOW_INPUT}");
    let mut command = Command::new("bash");
    let output = command
        .args(["-c", &script])
        .stdin(std::process::Stdio::null());
    text(&output.output().expect("bash").stdout)
}

/// Whole scripts and an executable that print their input, with their names.
fn whole_files() -> Vec<(&'static str, SandboxBuilder)> {
    let script = |name: &'static str, first_line: &str| {
        let builder = Sandbox::empty().executable(name, format!("{first_line}\n{SHOW_INPUT}"));
        (name, builder.env("COSHELL_TRAILING_NEWLINES", "keep"))
    };
    let python = "#!/usr/bin/env python3\nimport sys\nwords = sys.argv[1:]\n\
        sys.stdout.write(''.join(f'<{word}>' for word in [len(words), *words]) + '|' + sys.stdin.read())\n";
    vec![
        script("plain.sh", ""),
        script("report.sh", "#!/bin/bash -eu"),
        script("posix.sh", "#!/bin/sh"),
        (
            "bin/report.py",
            Sandbox::empty().executable("bin/report.py", python),
        ),
    ]
}

#[test]
fn the_arguments_in_a_handler_name_are_split_as_bash_splits_them() {
    for arguments in [
        "",
        "-t 80",
        "  -x\t'two words'  \"and \\\"more\\\"\"  ",
        "'' \"\" end",
        "a\\ b 'it'\\''s' \"a\\\\b\\c\"",
        "--name='Ada L' caf\u{e9} \u{6f22}",
        "a#b -- -",
    ] {
        let expected = split_by_bash(arguments);
        for (name, builder) in whole_files() {
            let sandbox = builder.handler(&format!("{name} {arguments}")).start();
            for event in ["-t 5", "x"] {
                let printed = text(&sandbox.respond(event));
                assert_eq!(printed, format!("{expected}{event}"), "{name} {arguments}");
            }
        }
    }
    // A file name with a blank in it, and the handler name as an argument of bootstrap.
    let builder = Sandbox::empty().file("my report.sh", SHOW_INPUT);
    let sandbox = builder.handler("'my report.sh' one").start();
    assert_eq!(text(&sandbox.respond("x")), "<1><one>|x");
    let builder = Sandbox::empty()
        .file("report.sh", SHOW_INPUT)
        .argument("report.sh 'a b'");
    assert_eq!(text(&builder.start().respond("x")), "<1><a b>|x");
}

#[test]
fn nothing_in_a_handler_name_is_expanded_or_run() {
    let arguments = "$HOME ${PATH} $(id) `id` * ~ ; id | id & >out";
    let builder = Sandbox::empty().file("report.sh", SHOW_INPUT);
    let sandbox = builder.handler(&format!("report.sh {arguments}")).start();
    let expected = format!("<{}>", arguments.replace(' ', "><"));
    let count = arguments.split(' ').count();
    assert_eq!(
        text(&sandbox.respond("x")),
        format!("<{count}>{expected}|x")
    );
}

#[test]
fn an_event_is_never_read_as_options_of_a_script() {
    let options = "while getopts t: option; do t=$OPTARG; done\necho \"t=${t-10}\"\n";
    for (handler, answer) in [("report.sh", "t=10"), ("report.sh -t 80", "t=80")] {
        let sandbox = Sandbox::empty()
            .file("report.sh", options)
            .handler(handler)
            .start();
        for event in ["-t 5", "x", "-t"] {
            assert_eq!(text(&sandbox.respond(event)), answer, "{handler}");
        }
    }
    let reads =
        "[ $# -ne 0 ] && { echo 'usage: no arguments' >&2; exit 2; }\ncat \"${1:-/dev/stdin}\"\n";
    let sandbox = Sandbox::empty()
        .file("reads.sh", reads)
        .handler("reads.sh")
        .start();
    assert_eq!(sandbox.respond("/etc/passwd"), b"/etc/passwd");
}

#[test]
fn the_event_arrives_as_coshell_event_says() {
    let function = format!("handler() {{ {} }}\n", SHOW_INPUT.replace('\n', ";"));
    // Traps that watch the shell need forks of another kind.
    let watching = format!("lambda_keep kept\ntrap 'echo end >&2' EXIT\n{function}");
    let kinds_of_functions = ["restore", "none", "subshell", "process", "watching"];
    for setting in ["", "stdin", "argument", "both", "none"] {
        for kind in kinds_of_functions {
            let builder = match kind {
                "watching" => Sandbox::of(&watching),
                isolation => Sandbox::of(&function).env("COSHELL_ISOLATION", isolation),
            };
            let sandbox = builder.env("COSHELL_EVENT", setting).start();
            let expected = match setting {
                "stdin" => "<0>|an event\n\n",
                "argument" => "<1><an event>|",
                "none" => "<0>|",
                _ => "<1><an event>|an event\n\n",
            };
            for _ in 0..2 {
                let printed = text(&sandbox.respond("an event\n\n"));
                assert_eq!(
                    printed,
                    expected.trim_end_matches('\n'),
                    "{kind}, {setting}"
                );
            }
        }
        for (name, builder) in whole_files() {
            let builder = builder
                .handler(&format!("{name} -t"))
                .env("COSHELL_TRAILING_NEWLINES", "keep");
            let sandbox = builder.env("COSHELL_EVENT", setting).start();
            let expected = match setting {
                "argument" => "<2><-t><an event>|",
                "both" => "<2><-t><an event>|an event\n\n",
                "none" => "<1><-t>|",
                _ => "<1><-t>|an event\n\n",
            };
            for _ in 0..2 {
                let printed = text(&sandbox.respond("an event\n\n"));
                assert_eq!(printed, expected, "{name}, {setting}");
            }
        }
    }
}

#[test]
fn standard_input_is_empty_when_the_event_is_an_argument() {
    let reads_answer =
        "handler() { local answer=; read -r answer || :; echo \"${answer:-no answer} to $1\"; }\n";
    let sandbox = Sandbox::of(reads_answer)
        .env("COSHELL_EVENT", "argument")
        .start();
    assert_eq!(text(&sandbox.respond("one")), "no answer to one");
    assert_eq!(
        text(&Sandbox::of(reads_answer).start().respond("one")),
        "one to one"
    );
}

#[test]
fn an_event_that_is_too_large_for_an_argument_is_an_error_that_says_what_to_do() {
    let builder = Sandbox::empty().executable("tool", "#!/usr/bin/env python3\nprint('on')\n");
    let sandbox = builder.handler("tool").event_as_argument().start();
    let document = sandbox.fail("x".repeat(200_000));
    assert_eq!(document["errorType"], "Function.HandlerNotStarted");
    let message = document["errorMessage"].as_str().expect("a message");
    assert!(
        message.contains("at most 131071 bytes, and the event has 200000")
            && message.contains("COSHELL_EVENT=stdin"),
        "{message}"
    );
    assert_eq!(sandbox.respond("x".repeat(131_071)), b"on");
    // Bash itself passes the event to a script, which has no such limit.
    let script = Sandbox::empty()
        .file("report.sh", "echo \"${#1}\"\n")
        .handler("report.sh");
    let sandbox = script.event_as_argument().start();
    // Before 5.0 only the system can pass it.
    if support::bash_version() < (5, 0) {
        let document = sandbox.fail("x".repeat(200_000));
        let message = document["errorMessage"].as_str().unwrap_or_default();
        assert!(message.contains("at most 131071 bytes"), "{message}");
    } else {
        assert_eq!(sandbox.respond("x".repeat(200_000)), b"200000");
    }
}

#[test]
fn an_invalid_handler_name_is_an_init_error_before_anything_is_sourced() {
    let writes_marker = ": >\"$LAMBDA_TASK_ROOT/sourced\"\nhandler() { :; }\n";
    for (handler, part) in [
        (
            "missing.sh -t 95",
            "there is no script or executable missing.sh in ",
        ),
        (
            "missing.sh -t 0.5",
            "there is no script or executable missing.sh in ",
        ),
        (
            "function.handler -t 95",
            "a function takes no arguments; use the name function.handler alone",
        ),
        ("function.sh.handler 'x'", "name function.sh.handler alone"),
        ("function.han'dler", "the quote ' in it is not closed"),
        ("function.\"handler", "the quote \" in it is not closed"),
        ("function.handler\\", "nothing follows the backslash"),
        ("function.a;b", "expected file.function"),
        ("function.$(id)", "expected file.function"),
        ("function.sh:handler", "expected file.function"),
    ] {
        let builder = Sandbox::of(writes_marker).handler(handler);
        let root = builder.task_root().path().to_owned();
        let sandbox = builder.start();
        let document = sandbox.api.wait_init_error().error_document();
        assert_eq!(
            document["errorType"], "Runtime.MalformedHandlerName",
            "{document}"
        );
        let message = document["errorMessage"].as_str().expect("a message");
        assert!(
            message.contains(handler) && message.contains(part),
            "{part} in {message}"
        );
        assert!(!root.join("sourced").exists(), "{handler} sourced the file");
    }
}

#[test]
fn a_file_that_only_defines_functions_is_rejected_as_a_whole_script() {
    let functions = "#!/bin/bash\nset -euo pipefail\nreadonly GREETING=hello\ndeclare -A seen=()\n\
        usage() {\n  cat <<END\nusage: run\nEND\n}\nhandler() {\n  echo \"$GREETING $1\"\n}\n# the end\n";
    for (handler, text, part) in [
        ("function.sh", functions, "did you mean function.handler?"),
        (
            "lib/job.sh -t 80",
            functions,
            "did you mean lib/job.handler?",
        ),
        (
            "one.sh",
            "greet() { echo hi; }\n",
            "did you mean one.greet?",
        ),
        (
            "two.sh",
            "function greet { echo hi; }\nDEFAULT=5\n",
            "did you mean two.greet?",
        ),
        (
            "tool",
            "#!/bin/bash\ngreet() (\n  echo hi\n)\n",
            "mv tool tool.sh, and name the handler tool.greet",
        ),
    ] {
        // Bash before 5.0 cannot show how it parses a file, so that the file counts as a script.
        if support::bash_version() < (5, 0) {
            break;
        }
        let file = handler.split(' ').next().expect("a file");
        let builder = Sandbox::empty().file(file, text).handler(handler);
        fails(
            builder,
            "Runtime.HandlerNotFound",
            &["defines functions and runs no command", part],
        );
    }
    // These look similar, but run a command.
    for text in [
        "greet() { echo hi; }\ngreet\n",
        "greet() { echo hi; }\n{ greet; }\n",
        "if greet() { echo hi; }; then greet; fi\n",
        "greet() { echo hi; }\n[[ ${1-} ]] || greet\n",
        "main() { cat <<END\n}\nEND\n}\nmain \"$@\" # }\n",
        "greet() { echo hi; }\nGREETING=$(greet >&2)\n",
        "trap 'echo hi' EXIT\ngreet() { :; }\n",
        "greet() { echo hi; }\nexit 0\n}}} ((( not bash\n",
        "exec 3>&1\ngreet() { :; }\n",
        // Neither bash itself finds the end of these, nor what an alias makes of them.
        "#!/bin/sh\n''''exec cat # '''\nfor line in (1):\n",
        "#!/bin/sh\n# the next line starts awk \\\nexec awk '{ print }'\n{ print toupper($0) }\n",
        "#!/bin/bash\nshopt -s expand_aliases\nalias begin={ end=}\nf() begin\necho\nend\nf\n",
        "NAME=1\n",
        "",
    ] {
        let builder = Sandbox::empty().file("job.sh", text).handler("job.sh");
        let sandbox = builder.start();
        assert!(sandbox.invoke(Event::fresh("x")).is_response(), "{text}");
    }
}

#[test]
fn a_call_of_the_handler_at_the_end_of_its_file_is_reported() {
    let fails_at_end =
        "set -u\nhandler() {\n  local name\n  name=$1\n  echo \"hello $name\"\n}\nhandler \"$@\"\n";
    let exits_at_end = "main() {\n  [[ ${1-} ]] || { echo usage >&2; exit 2; }\n}\nhandler() { main; }\n\nmain \"$@\"\n\n# by hand\n";
    for (file, error_type, part) in [
        (
            fails_at_end,
            "Runtime.HandlerFileFailed",
            "line 7 calls `handler \"$@\"`",
        ),
        (
            exits_at_end,
            "Runtime.HandlerFileExited",
            "line 6 calls `main \"$@\"`",
        ),
    ] {
        let guard = "[[ $0 != \"$BASH_SOURCE\" ]] || ";
        let failed = fails(Sandbox::of(file), error_type, &[part, guard]);
        let frames = failed.call.error_document()["stackTrace"].to_string();
        assert!(frames.contains("source ("), "{frames}");
    }
    let succeeds = "handler() { echo \"hello ${1-nobody}\"; }\nhandler \"$@\"\n";
    let sandbox = Sandbox::of(succeeds).start();
    assert_eq!(sandbox.respond("Ada"), b"hello Ada");
    sandbox.api.wait_parked();
    let log = sandbox.bootstrap.final_log();
    assert!(
        log.contains("function.sh:2: `handler \"$@\"` ran while the file was sourced"),
        "{log}"
    );
    // The call with the guard that the message suggests, and lines that only look like such a call.
    for text in [
        "handler() { printf 'hello %s' \"$1\"; }\n[[ $0 != \"$BASH_SOURCE\" ]] || handler \"$@\"\n",
        "connect() { :; }\nhandler() { printf 'hello %s' \"$1\"; }\nconnect\n",
        "handler() {\n  printf 'hello %s' \"$1\"\n}\nset -- \"$@\"\n",
    ] {
        let sandbox = Sandbox::of(text).start();
        assert_eq!(sandbox.respond("Ada"), b"hello Ada");
        sandbox.api.wait_parked();
        assert_eq!(sandbox.bootstrap.final_log(), "", "{text}");
    }
}
