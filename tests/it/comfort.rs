//! What the command line does for people: completions, manual pages, help and suggestions.

use std::io;
use std::process::Command;

use support::{CommandOutput, coshell_path};

#[track_caller]
fn coshell(arguments: &[&str]) -> CommandOutput {
    let mut command = Command::new(coshell_path());
    command.args(arguments);
    CommandOutput::of(command)
}

/// Standard output of a command that must succeed and write nothing to standard error.
#[track_caller]
fn expect_stdout(output: CommandOutput) -> String {
    assert_eq!(
        (output.status, output.stderr.as_str()),
        (0, ""),
        "{}",
        output.stdout
    );
    output.stdout
}

/// Runs `script` in bash, with the path of coshell as `$1`. Returns its standard output.
#[track_caller]
fn bash(script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", script, "bash", coshell_path()]);
    expect_stdout(CommandOutput::of(command))
}

/// The subcommands that `coshell --help` lists, except clap's own `help`.
fn subcommands() -> Vec<String> {
    let help = expect_stdout(coshell(&["--help"]));
    let (_, list) = help.split_once("\nCommands:\n").expect("a list");
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = names
        .filter(|name| *name != "help")
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
        complete_words() { # <words>...
          COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
          _coshell coshell "${@: -1}" "${@: -2:1}"
          echo "${COMPREPLY[*]}"
        }
        complete_words coshell inv
        complete_words coshell invoke --task
        complete_words coshell completions fi
        complete_words coshell man inv
    "#;
    let printed = bash(script);
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].starts_with("complete ") && lines[0].ends_with("-F _coshell coshell"));
    assert_eq!(lines[1..], ["invoke", "--task-root", "fish", "invoke"]);
}

#[test]
fn the_completions_of_every_shell_have_every_subcommand() {
    let names = subcommands();
    for (shell, start) in [
        ("bash", "complete -F _coshell"),
        ("elvish", "set edit:completion:arg-completer[coshell]"),
        ("fish", "complete -c coshell"),
        ("powershell", "Register-ArgumentCompleter"),
        ("zsh", "#compdef coshell"),
    ] {
        let script = expect_stdout(coshell(&["completions", shell]));
        assert!(script.contains(start), "{shell}:\n{script}");
        for name in &names {
            assert!(script.contains(name), "{shell}, {name}:\n{script}");
        }
    }
}

#[test]
fn manual_pages_are_complete_and_groff_has_no_warnings() {
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

        // groff writes its warnings to standard error, which must be empty. -c: no colours.
        let text = bash(&format!(
            "\"$1\" man {argument} | groff -ww -man -Tutf8 -P-cbou"
        ));
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"] {
            assert!(text.lines().any(|line| line == heading), "{title}:\n{text}");
        }
        // An example stays on one line.
        let help = match &name {
            Some(name) => coshell(&[name, "--help"]),
            None => coshell(&["--help"]),
        };
        let help = expect_stdout(help);
        let (_, examples) = help.split_once("\nExamples:\n").expect("examples");
        let first = examples.lines().next().expect("an example").trim();
        assert!(
            text.lines().any(|line| line.trim() == first),
            "{title}, {first}:\n{text}"
        );
    }
}

#[test]
fn the_help_of_every_subcommand_has_examples_and_short_lines() {
    for name in subcommands() {
        for option in ["-h", "--help"] {
            let mut command = Command::new(coshell_path());
            command.args([&name, option]).env("COLUMNS", "300");
            let help = expect_stdout(CommandOutput::of(command));
            assert!(help.contains("\nExamples:\n  "), "{name}:\n{help}");
            for line in help.lines() {
                assert!(line.chars().count() <= 100, "{name}: {line}");
            }
        }
    }
}

#[test]
fn a_misspelled_name_gets_a_suggestion() {
    for (arguments, suggestion) in [
        (&["invok"][..], "a similar subcommand exists: 'invoke'"),
        (&["man", "invok"], "a similar value exists: 'invoke'"),
        (&["completions", "bas"], "a similar value exists: 'bash'"),
    ] {
        let output = coshell(arguments);
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (2, ""),
            "{arguments:?}"
        );
        assert!(output.stderr.starts_with("error: "), "{output:?}");
        assert!(output.stderr.contains(suggestion), "{output:?}");
    }
}

#[test]
fn a_reader_that_closes_the_pipe_early_is_no_failure() {
    for arguments in [
        &["man"][..],
        &["--version"],
        &["help"],
        &["man", "invoke"],
        &["completions", "zsh"],
    ] {
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
fn output_that_cannot_be_written_is_an_error() {
    for words in ["man", "--version", "--help", "help serve", "invoke --help"] {
        let mut command = Command::new("bash");
        let script = format!("\"$1\" {words} >/dev/full");
        command.args(["-c", &script, "bash", coshell_path()]);
        let output = CommandOutput::of(command);
        assert_eq!(output.status, 2, "{words}: {output:?}");
        assert_eq!(
            output.stderr,
            "coshell: cannot write to standard output: No space left on device (os error 28)\n"
        );
    }
}
