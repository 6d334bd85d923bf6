//! Whole scripts do not notice coshell: they start with their event and never before, and the traps by which coshell learns
//! where a script ended run no command of their own.

use std::fs;
use std::process::Command;

use crate::init::fails;
use support::{Sandbox, SandboxBuilder, TaskRoot};

fn script(text: &str) -> SandboxBuilder {
    Sandbox::empty()
        .handler("legacy.sh")
        .file("legacy.sh", text)
}

/// The message of the error with which a script answers.
#[track_caller]
fn message_of(builder: SandboxBuilder) -> String {
    let document = builder.start().fail("event");
    let message = document["errorMessage"].as_str().expect("a message");
    message.to_owned()
}

/// A script that leaves a file behind if it runs.
const LEAVES_A_FILE: &str = "#!/bin/bash\necho ran >\"$MARK\"\n";

#[test]
fn a_script_never_runs_before_its_event() {
    let bash = support::bash();
    for wrapper in [
        format!("#!/bin/sh\nunset BASH_ENV\nexec {bash} \"$@\"\n"),
        format!("#!/bin/sh\nexec {bash} --posix \"$@\"\n"),
        format!("#!/bin/sh\nexec {bash} -p \"$@\"\n"),
        "#!/bin/sh\nexec sh \"$@\"\n".to_owned(),
    ] {
        println!("{wrapper}");
        let marks = TaskRoot::new();
        let mark = marks.path().join("ran");
        let builder = script(LEAVES_A_FILE).executable("wrapper", wrapper);
        let wrapper = builder.task_root().path().join("wrapper");
        let builder = builder
            .env("MARK", mark.to_string_lossy())
            .env("COSHELL_BASH", wrapper.to_string_lossy());
        fails(builder, "Runtime.ShellNotStarted", &["BASH_ENV"]);
        assert!(!mark.exists(), "the script has run");
    }
}

#[test]
fn a_shell_that_does_not_start_is_no_syntax_error() {
    let builder = script(LEAVES_A_FILE).executable("wrapper", "#!/bin/sh\nexit 3\n");
    let wrapper = builder.task_root().path().join("wrapper");
    let builder = builder.env("COSHELL_BASH", wrapper.to_string_lossy());
    fails(
        builder,
        "Runtime.ShellNotStarted",
        &["wrapper: ended when it started"],
    );
}

#[test]
fn shell_options_of_the_environment_hold_from_the_first_line_of_a_script() {
    const TEXT: &str = "#!/bin/bash\nprintf '%s:' \"$1\" \"$SHELLOPTS\"\nprintenv SHELLOPTS\n";
    for options in ["posix", "errexit:posix", "privileged", "xtrace", "verbose"] {
        let sandbox = script(TEXT)
            .env("SHELLOPTS", options)
            .event_as_argument()
            .start();
        let response = sandbox.respond("the-event");
        let shown = String::from_utf8_lossy(&response).into_owned();
        let fields: Vec<_> = shown.trim_end().split(':').collect();
        assert_eq!(fields[0], "the-event", "{options}: {shown}");
        for option in options.split(':') {
            let count = fields.iter().filter(|field| **field == option).count();
            assert_eq!(count, 2, "{options}: {shown}");
        }
        let log = sandbox.bootstrap.final_log();
        let before_the_script = log.split("printf").next().unwrap_or_default();
        assert!(
            !before_the_script.contains("builtin") && !before_the_script.contains("the-event"),
            "{options}: {log}"
        );
    }
}

#[test]
fn shell_options_with_which_bash_runs_no_script_are_an_init_error() {
    for option in ["noexec", "onecmd"] {
        let builder = script(LEAVES_A_FILE).env("SHELLOPTS", format!("errexit:{option}"));
        let expected = format!("SHELLOPTS has {option}");
        fails(builder, "Runtime.ShellNotStarted", &[&expected]);
    }
}

#[test]
fn traps_of_a_script_run_for_its_own_commands_alone() {
    for (text, printed) in [
        ("trap 'echo D' DEBUG\ntrue", "D"),
        ("trap 'echo D' DEBUG\nfalse\ntrue", "D\nD"),
        (
            "trap 'echo \"$BASH_COMMAND\"' DEBUG\nfalse\n[ x = y ]\ntrue",
            "false\n[ x = y ]\ntrue",
        ),
        ("f() { trap 'echo R' RETURN; }\nf\nfalse\ntrue", "R"),
        (
            "set -eET\ntrap 'echo R' RETURN\nif false; then :; fi\nexit 0",
            "",
        ),
    ] {
        for first in ["#!/bin/bash", "#!/bin/sh"] {
            let sandbox = script(&format!("{first}\n{text}\n")).start();
            let response = sandbox.respond("event");
            assert_eq!(
                String::from_utf8_lossy(&response),
                printed,
                "{first}: {text}"
            );
        }
    }
    let text = "#!/bin/bash\nset -e\ntrap 'echo R >&2' RETURN\nfalse\n";
    let message = message_of(script(text));
    assert!(!message.contains("\nR"), "{message}");
}

#[test]
fn the_error_has_the_whole_command_of_a_script() {
    let above = format!("{}/no/such/program", "..");
    for command in ["./prog x", &above, ".hidden/program"] {
        let builder = script(&format!("#!/bin/bash\nset -e; {command}\n"));
        let message = message_of(builder.executable("prog", "#!/bin/sh\nexit 4\n"));
        let expected = format!(" after `{command}` in main (");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn an_error_before_the_first_command_of_a_script_names_no_command() {
    let names_none = |builder: SandboxBuilder| {
        let message = message_of(builder);
        let first = message.lines().next().unwrap_or_default();
        for part in [" after ", "__driver", "builtin", "/fd/"] {
            assert!(!first.contains(part), "{message}");
        }
    };
    for text in [
        "#!/bin/bash -u\nfor f in $FILES; do :; done",
        "#!/bin/bash\nfor f in ${nope?m}; do :; done",
        "#!/bin/sh -u\nfor f in $FILES; do :; done",
    ] {
        names_none(script(text));
    }
    // Bash 4.2 knows the command of that file.
    if support::always_forks() {
        return;
    }
    let builder = script("#!/bin/bash\necho on").file("env", "exit 7\n");
    let env = builder.task_root().path().join("env");
    names_none(builder.env("BASH_ENV", env.to_string_lossy()));
}

#[test]
fn traps_of_coshell_neither_print_nor_end_a_script() {
    for (text, response) in [
        (
            "#!/bin/bash\nBASH_XTRACEFD=1; set -x; false; echo on",
            "+ false\n+ echo on\non",
        ),
        ("#!/bin/bash\nset -r; false; echo on", "on"),
        ("#!/bin/bash -r\nfalse; echo on", "on"),
        ("#!/bin/bash\nulimit -f 0; false; echo on", "on"),
        (
            "#!/bin/bash -e\nif false; then :; fi; echo on; exit 0",
            "on",
        ),
    ] {
        let sandbox = script(text).start();
        let answer = sandbox.respond("event");
        assert_eq!(String::from_utf8_lossy(&answer), response, "{text}");
        assert_eq!(sandbox.bootstrap.final_log(), "", "{text}");
    }
    for (text, log) in [
        ("#!/bin/bash\nset -r; exit 3", "\n"),
        ("#!/bin/bash\nulimit -f 0; exit 3", "\n"),
        (
            "#!/bin/bash\nexec 5>&2; BASH_XTRACEFD=5; set -x; exit 3",
            "\n+ exit 3",
        ),
    ] {
        let message = message_of(script(text));
        assert!(
            message.starts_with("legacy.sh exited with status 3"),
            "{message}"
        );
        let printed = message.find('\n').map_or("\n", |end| &message[end..]);
        assert_eq!(printed, log, "{text}");
    }
}

#[test]
fn the_last_argument_at_the_start_of_a_script_is_the_path_of_bash() {
    for first in ["#!/bin/bash", "#!/bin/bash -eu", "#!/bin/sh"] {
        let sandbox = script(&format!("{first}\nprintf '%s %s' \"$_\" \"$BASH\"\n")).start();
        let response = sandbox.respond("event");
        let shown = String::from_utf8_lossy(&response).into_owned();
        let (last, bash) = shown.split_once(' ').expect("two words");
        assert_eq!(last, bash, "{first}");
    }
}

#[test]
fn the_path_of_a_binary_file_is_named_once() {
    // Before 5.2, bash searches the first line alone for NULs.
    if support::bash_version() < (5, 2) {
        return;
    }
    let expected = "legacy.sh: cannot execute binary file";
    let builder = script("#!/bin/bash\nec\0ho\n");
    let failed = fails(builder, "Runtime.UserCodeSyntaxError", &[expected]);
    let document = failed.call.error_document();
    let message = document["errorMessage"].as_str().expect("a message");
    // The name of the handler, and the path of the file.
    assert_eq!(message.matches("legacy.sh: ").count(), 2, "{message}");
}

#[test]
fn lines_that_end_in_cr_alone_are_an_init_error_with_a_command_that_repairs_them() {
    for text in [
        "#!/bin/bash\recho on\recho off\r",
        "#!/bin/bash\recho on",
        "echo on\recho off\r",
    ] {
        let failed = fails(script(text), "Runtime.HandlerFileLineEnds", &["CR alone"]);
        let document = failed.call.error_document();
        let message = document["errorMessage"].as_str().expect("a message");
        let command = message
            .split("convert it with: ")
            .nth(1)
            .expect("a command");
        let (sed, _) = command.rsplit_once(' ').expect("a path");
        // The task root of the sandbox is gone.
        let folder = TaskRoot::new();
        let file = folder.write("legacy.sh", text);
        let repair = format!("{sed} {}", file.display());
        let status = Command::new("sh").args(["-c", &repair]).status();
        assert!(status.is_ok_and(|status| status.success()), "{repair}");
        let repaired = fs::read_to_string(file).expect("the script");
        assert_eq!(repaired.trim_end(), text.replace('\r', "\n").trim_end());
    }
}
