//! What the command line does for people: completions, manual pages, help and suggestions.

use std::io;
use std::process::Command;

use support::coshell_path;
use support::{LIMIT, Process};

/// What a program did: its status, its standard output and error.
#[derive(Debug)]
struct Run {
    status: i32,
    stdout: String,
    stderr: String,
}

#[track_caller]
fn run(command: Command) -> Run {
    let process = Process::start(command);
    let status = process.wait_exit(LIMIT).code();
    process.final_log();
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run {
        status: status.expect("an exit status"),
        stdout: text(process.stdout()),
        stderr: text(process.stderr()),
    }
}

#[track_caller]
fn coshell(arguments: &[&str]) -> Run {
    let mut command = Command::new(coshell_path());
    command.args(arguments);
    run(command)
}

/// Standard output of a program that succeeds and says nothing else.
#[track_caller]
fn printed(run: Run) -> String {
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    run.stdout
}

/// What bash prints for `script`, in which `$1` is coshell.
#[track_caller]
fn bash(script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", script, "bash", coshell_path()]);
    printed(run(command))
}

/// The subcommands that `coshell --help` lists; clap's own `help` is not ours to describe.
fn subcommands() -> Vec<String> {
    let help = printed(coshell(&["--help"]));
    let (_, list) = help.split_once("\nCommands:\n").expect("a list");
    let lines = list.lines().take_while(|line| !line.is_empty());
    let words = lines.filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = words
        .filter(|word| *word != "help")
        .map(ToOwned::to_owned)
        .collect();
    for name in ["completions", "invoke", "man"] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
    }
    names
}

#[test]
fn bash_completes_subcommands_options_and_names() {
    let script = r#"
        source <("$1" completions bash)
        complete -p coshell
        answers() { # <words>...
          COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
          _coshell coshell "${@: -1}" "${@: -2:1}"
          echo "${COMPREPLY[*]}"
        }
        answers coshell inv
        answers coshell invoke --task
        answers coshell completions fi
        answers coshell man inv
    "#;
    let printed = bash(script);
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].starts_with("complete ") && lines[0].ends_with("-F _coshell coshell"));
    assert_eq!(lines[1..], ["invoke", "--task-root", "fish", "invoke"]);
}

#[test]
fn every_shell_has_a_script_with_every_subcommand() {
    let names = subcommands();
    for (shell, words) in [
        ("bash", "complete -F _coshell"),
        ("elvish", "set edit:completion:arg-completer[coshell]"),
        ("fish", "complete -c coshell"),
        ("powershell", "Register-ArgumentCompleter"),
        ("zsh", "#compdef coshell"),
    ] {
        let script = printed(coshell(&["completions", shell]));
        assert!(script.contains(words), "{shell}:\n{script}");
        for name in &names {
            assert!(script.contains(name), "{shell}, {name}:\n{script}");
        }
    }
}

#[test]
fn manual_pages_are_without_fault_and_whole() {
    let pages = subcommands().into_iter().map(Some).chain([None]);
    for name in pages {
        let argument = name.as_deref().unwrap_or_default();
        let title = match &name {
            Some(name) => format!("coshell-{name}"),
            None => "coshell".to_owned(),
        };
        let page = bash(&format!("\"$1\" man {argument}"));
        let head = format!(
            ".TH {title} 1 \"\" \"coshell {}\"\n",
            env!("CARGO_PKG_VERSION")
        );
        assert!(page.starts_with(&head), "{page}");

        // groff tells its warnings on standard error, which has to be empty. -c: no colours.
        let text = bash(&format!(
            "\"$1\" man {argument} | groff -ww -man -Tutf8 -P-cbou"
        ));
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"] {
            assert!(text.lines().any(|line| line == heading), "{title}:\n{text}");
        }
        // An example keeps its line.
        let help = match &name {
            Some(name) => coshell(&[name, "--help"]),
            None => coshell(&["--help"]),
        };
        let help = printed(help);
        let (_, examples) = help.split_once("\nExamples:\n").expect("examples");
        let first = examples.lines().next().expect("an example").trim();
        assert!(
            text.lines().any(|line| line.trim() == first),
            "{title}, {first}:\n{text}"
        );
    }
}

#[test]
fn help_of_every_subcommand_has_examples_and_is_not_wide() {
    for name in subcommands() {
        for option in ["-h", "--help"] {
            let mut command = Command::new(coshell_path());
            command.args([&name, option]).env("COLUMNS", "300");
            let help = printed(run(command));
            assert!(help.contains("\nExamples:\n  "), "{name}:\n{help}");
            for line in help.lines() {
                assert!(line.chars().count() <= 100, "{name}: {line}");
            }
        }
    }
}

#[test]
fn name_that_is_almost_right_is_answered_with_a_suggestion() {
    for (arguments, suggestion) in [
        (&["invok"][..], "a similar subcommand exists: 'invoke'"),
        (&["man", "invok"], "a similar value exists: 'invoke'"),
        (&["completions", "bas"], "a similar value exists: 'bash'"),
    ] {
        let run = coshell(arguments);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(run.stderr.starts_with("error: "), "{run:?}");
        assert!(run.stderr.contains(suggestion), "{run:?}");
    }
}

#[test]
fn reader_that_has_seen_enough_is_no_failure() {
    for arguments in [&["man"][..], &["man", "invoke"], &["completions", "zsh"]] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(coshell_path());
        let output = command.args(arguments).stdout(writer).output();
        let output = output.expect("coshell starts");
        assert!(output.status.success(), "{arguments:?}: {}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[test]
fn output_that_cannot_be_written_is_told() {
    let mut command = Command::new("bash");
    command.args(["-c", "\"$1\" man >/dev/full", "bash", coshell_path()]);
    let run = run(command);
    assert_eq!(run.status, 2, "{run:?}");
    assert_eq!(
        run.stderr,
        "coshell: cannot write to standard output: No space left on device (os error 28)\n"
    );
}
