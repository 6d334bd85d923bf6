//! Runs random handlers under coshell and in a plain bash, and compares control flow.
//!
//! The oracle is `( source file; handler "$event" )`. For three events each, the same commands must run, with the same output
//! and the same success.
//!
//! The handlers are made of everything that decides where a function ends: functions that call each other, some named like
//! functions of bash and of the driver, traps, options, exits, loops, pipelines, sourced files. Each command also writes to a
//! file, because a handler that fails has no response.
//!
//! `COSHELL_TEST_HANDLERS` sets the number of handlers, `COSHELL_TEST_SEED` repeats a run.

use std::fmt::Write;
use std::process::{Command, Stdio};

use support::sandbox::set_lambda_environment;
use support::seeded::{Choices, count, find_problems, seed};
use support::{Event, Sandbox, SandboxBuilder};

/// `<g>` is a call of a function further down, `<w>` a word, `<n>` a status, `<e>` a command that may leave the function,
/// `<c>` a character.
#[rustfmt::skip]
const PARTS: &[&str] = &[
    "log <w>",
    "log \"<w> $1 $#\"",
    "<g> <w>",
    "<g> <w>; log back",
    "<g> <w> \"$@\"",
    "<g> <w> || log \"failed with $?\"",
    "<g> <w> && log fine",
    "if <g> <w>; then log yes; else log \"no $?\"; fi",
    "! <g> <w>",
    "(<g> <w>)",
    "(<g> <w>; log 'in a subshell') || log \"subshell $?\"",
    // Without $1: after a failure its value depends on the arguments of bash itself.
    "(trap 'log \"end of a subshell $?\"' EXIT; <g> <w>)",
    "text=$(<g> <w>) || log \"captured $?\"; log \"[${text-}]\"",
    "text=$(<g> <w>); log \"[$text]\"",
    "<g> <w> | cat",
    // The reader takes everything. If it ended earlier, it would be a matter of time whether SIGPIPE ends the writer.
    "log <w> | { mapfile -t lines; log \"${lines[*]-}\"; <e>; }",
    "{ <g> <w>; log grouped; } 2>/dev/null",
    "<g> <w> >/dev/null",
    "for i in 1 2 3; do log \"$i\"; if [[ $i == 2 ]]; then <e>; fi; done",
    "for i in a b; do <g> \"$i\"; done",
    "while :; do log loop; <e>; break; done",
    "until <g> <w>; do log again; <e>; break; done",
    "case $1 in *) log case; <e> ;; esac",
    "eval '<g> <w>; log evaluated'",
    "eval 'log evaluated; <e>'",
    "source \"$LAMBDA_TASK_ROOT/lib.sh\"",
    "END='<e>'; . \"$LAMBDA_TASK_ROOT/lib.sh\"; log sourced",
    "nosuchcommand && log found",
    "nosuchcommand || log \"not found $?\"",
    "command_not_found_handle() { log missing; exit <n>; }",
    "false",
    "false || log \"false is $?\"",
    "(exit <n>)",
    "log \"$no_such_name\"",
    ": ${no_such_name?}",
    "x=1 y=2; log \"$x $y\"",
    "local here=<w>; log \"$here\"",
    "set -- a b c; log \"$#\"",
    "shift; log \"$#\"",
    "<e>",
    "<e>",
    // Options
    "set +e",
    "set -e",
    "set +u",
    "set -E",
    "set -T",
    "set +T",
    "set -x",
    "set -f",
    "set -eE",
    "set +o pipefail",
    "shopt -s nocasematch",
    "shopt -s extglob",
    "shopt -u inherit_errexit",
    "IFS=<c>",
    "IFS=<c>; log $1",
    "local IFS=<c>; set -- $*; log \"$#\"",
    "LC_ALL=C",
    // Traps
    "trap 'log \"exit trap $? ${1-none} ${here-unset}\"' EXIT",
    "trap 'log \"exit trap\"; exit <n>' EXIT",
    "trap 'log \"exit trap\"; false; log \"after false\"' EXIT",
    "trap 'log \"exit trap of $here\"' EXIT",
    "trap - EXIT",
    "trap '' EXIT",
    "trap 'log \"return trap of ${FUNCNAME[0]}\"' RETURN",
    "trap 'log \"return trap ${here-unset}\"' RETURN; local here=<w>",
    "trap - RETURN",
    "trap 'last=$?; if [[ ${FUNCNAME-__driver_fork} == __driver_fork ]]; then log \"err trap $last\"; else log \"err trap $last in $FUNCNAME at $LINENO\"; fi' ERR",
    "trap 'log \"err trap: $BASH_COMMAND\"' ERR",
    "trap 'log \"err trap\"; exit <n>' ERR",
    "trap - ERR",
    "trap 'count=$((count + 1))' DEBUG; log counting; log \"$count\"",
    "trap 'if [[ $BASH_COMMAND != cat ]]; then log \"debug: $BASH_COMMAND\"; fi' DEBUG",
    "trap - DEBUG",
    "trap 'log usr1; <e>' USR1; kill -USR1 \"$BASHPID\"; log 'after the signal'",
    "trap 'log term' TERM; kill \"$BASHPID\"; log 'after TERM'",
    // Variables that bash computes
    "unset -v FUNCNAME 2>/dev/null",
    "unset -v BASHPID",
    "unset -v BASH_SUBSHELL",
];

/// Commands that leave a function, and some that do not.
const ENDS: [&str; 9] = [
    "exit",
    "exit <n>",
    "exit 0",
    "return",
    "return <n>",
    "false",
    ":",
    "break",
    "<g> <w>",
];

/// The first lines of a file.
const TOPS: [&str; 13] = [
    "",
    "",
    "",
    "",
    "set -E",
    "set +u",
    "shopt -s nocasematch",
    "IFS=0123456789abcdef",
    "shopt -s expand_aliases; alias local='false' set='false' case='false' exit='false' log2='false'",
    "trap 'log \"err trap of the file $?\"' ERR",
    "set -Eeuo pipefail\ntrap 'log \"err trap of the file $?\"' ERR",
    "trap 'log \"debug trap of the file: $BASH_COMMAND\"' DEBUG",
    "command_not_found_handle() { log \"missing $1\"; exit 9; }",
];

/// Names for functions.
const NAMES: [&str; 18] = [
    "main", "main", "work", "helper", "f", ",f", ",x", ",mine", "Main", "a-b", "a.b", "x:y",
    "start", "stop", "run", "log2", "_", "greet",
];

/// Builtins that a file may wrap, or replace by something else.
const WRAPPED: [&str; 24] = [
    "printf", "mapfile", "builtin", "source", "local", "set", "exec", "trap", "eval", "declare",
    "unset", "export", "shopt", "readonly", "command", "disown", "umask", "alias", "enable",
    "hash", "dirs", "test", "exit", "return",
];

const WORDS: [&str; 4] = ["one", "'two words'", "-n", "x"];
const STATUSES: [&str; 5] = ["0", "1", "3", "7", "200"];
const CHARACTERS: [&str; 8] = ["0", "1", "-", ",", "x", "_", "$'\\n'", "' '"];
const EVENTS: [&str; 4] = ["abc", "a0b1", "two words", "-x_,y"];

const LIB: &str = "log 'in the library'\neval \"${END-:}\"\nlog 'end of the library'\n";

struct Handler {
    script: String,
    events: [String; 3],
}

impl Handler {
    fn random(choices: &mut Choices) -> Self {
        let mut names: Vec<&str> = Vec::new();
        while names.len() < 3 {
            let name = choices.choose(&NAMES);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut script =
            "EFFECTS=/dev/null\ncount=0\nlog() { builtin printf '%s\\n' \"$1\" >>\"$EFFECTS\"; builtin printf '%s\\n' \"$1\"; }\n"
                .to_owned();
        if choices.below(4) == 0 {
            let name = choices.choose(&WRAPPED);
            let is_wrapper = choices.below(2) == 0 || matches!(name, "exit" | "builtin");
            let body = if name == "builtin" {
                "command builtin \"$@\"".to_owned()
            } else if is_wrapper {
                format!("builtin {name} \"$@\"")
            } else {
                format!("log '{name} of the file'")
            };
            // A wrapper for these two would act on itself.
            if !matches!(name, "return" | "local") {
                let _ = writeln!(script, "{name}() {{ {body}; }}");
            }
        }
        for number in (0..3).rev() {
            let body = body(choices, &names[number + 1..]);
            let _ = writeln!(script, "{}() {{\n{body}\n}}", names[number]);
        }
        let _ = writeln!(script, "handler() {{\n{}\n}}", body(choices, &names));
        // From here on effects are recorded: those of sourcing belong to no event.
        let mut top = choices.choose(&TOPS);
        // On bash 4.4 aliases are off in a text that a handler gives to `eval`: docs/bash-versions.md.
        if support::bash_version() < (5, 0) && top.contains("expand_aliases") {
            top = "";
        }
        let _ = writeln!(script, "{top}\nEFFECTS=$EFFECTS_FILE");
        Self {
            script,
            events: std::array::from_fn(|_| choices.choose(&EVENTS).to_owned()),
        }
    }

    fn builder(&self) -> SandboxBuilder {
        Sandbox::of(&self.script).file("lib.sh", LIB)
    }

    fn find_difference(&self, isolation: &str) -> Option<String> {
        let builder = self.builder();
        let expected = self
            .events
            .each_ref()
            .map(|event| run_in_plain_bash(&builder, event));
        let effects = builder.task_root().path().join("effects");
        builder.task_root().write("effects", "");
        let sandbox = builder
            .env("EFFECTS_FILE", effects.to_string_lossy())
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for (number, (event, plain)) in self.events.iter().zip(expected).enumerate() {
            let pushed = Event::fresh(event);
            let id = pushed.request_id.clone();
            sandbox.api.wait_parked();
            sandbox.task_root.write("effects", "");
            sandbox.api.push(pushed);
            let (ours, cause) = match sandbox.api.wait_answer_or_exit(&id) {
                Ok(answer) if answer.is_response() => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    (Some(text), String::new())
                }
                Ok(answer) => (None, String::from_utf8_lossy(&answer.body).into_owned()),
                Err(status) => (None, format!("{status}: {}", sandbox.bootstrap.log())),
            };
            let ours = (ours, sandbox.task_root.read("effects"));
            // How deep an endless recursion gets depends on the size of the stack.
            let is_endless = cause.contains("SIGSEGV") && plain.0.is_none();
            if !is_endless && !self.is_equal(&ours, &plain, &cause) {
                return Some(format!(
                    "{}\nevent {number} {event:?}\n  plain bash: {plain:?}\n  ours:       {ours:?}\n  {cause}\n",
                    self.script
                ));
            }
        }
        None
    }

    /// Ignores the order of lines if there is a pipeline, whose parts run in any order.
    fn is_equal(&self, ours: &RunResult, plain: &RunResult, cause: &str) -> bool {
        let is_fatal = cause.contains("no_such_name: ") && ours.0.is_none() && plain.0.is_none();
        ours == plain
            || is_fatal && without_arguments(&ours.1) == without_arguments(&plain.1)
            || self.script.contains(" | ")
                && ours.0.as_deref().map(sorted) == plain.0.as_deref().map(sorted)
                && sorted(&ours.1) == sorted(&plain.1)
    }
}

/// The output, if the run succeeded, and the recorded effects.
type RunResult = (Option<String>, String);

/// Removes `$1` from the lines of EXIT traps. When an unset variable ends bash, `$1` is that of some function before.
fn without_arguments(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        match fields[..] {
            ["exit", "trap", status, .., last] => format!("exit trap {status} {last}"),
            _ => line.to_owned(),
        }
    });
    lines.collect()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn run_in_plain_bash(builder: &SandboxBuilder, event: &str) -> RunResult {
    let root = builder.task_root();
    root.write("effects", "");
    let mut command =
        Command::new(std::env::var("COSHELL_TEST_BASH").unwrap_or_else(|_| "bash".to_owned()));
    set_lambda_environment(&mut command, root.path());
    let output = command
        .args([
            "-c",
            "set -euo pipefail; { shopt -s inherit_errexit; } 2>/dev/null || :; ( source \"$0\" >&2; handler \"$1\" )",
        ])
        .args([&*root.path().join("function.sh").to_string_lossy(), event])
        .env("EFFECTS_FILE", root.path().join("effects"))
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.trim_end_matches('\n').to_owned();
    (
        output.status.success().then_some(text),
        root.read("effects"),
    )
}

/// The body of a function that may call the `others`.
fn body(choices: &mut Choices, others: &[&str]) -> String {
    let parts = 1 + choices.below(5);
    let mut lines = Vec::new();
    for _ in 0..parts {
        let mut line = choices.choose(PARTS).to_owned();
        // The text for a letter may contain letters again.
        for _ in 0..3 {
            line = choices.fill(&line, "gwne", |choices: &mut Choices, letter| {
                let word = match letter {
                    'g' if others.is_empty() => "log",
                    'g' => choices.choose(others),
                    'w' => choices.choose(&WORDS),
                    'n' => choices.choose(&STATUSES),
                    'e' => choices.choose(&ENDS),
                    'c' => choices.choose(&CHARACTERS),
                    _ => return None,
                };
                Some(word.to_owned())
            });
        }
        lines.push(line);
    }
    lines.join("\n")
}

fn compare(handlers: usize, isolation: &str) {
    const THREADS: usize = 3;
    let seed = seed();
    let problems = find_problems(handlers, THREADS, |number| {
        Handler::random(&mut Choices::for_part(seed, number)).find_difference(isolation)
    });
    assert!(
        problems.is_empty(),
        "COSHELL_TEST_SEED={seed}: {} of {handlers} handlers:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn random_handlers_run_as_in_a_plain_bash() {
    compare(count("COSHELL_TEST_HANDLERS", 1000), "restore");
}

#[test]
fn random_handlers_run_as_in_a_plain_bash_in_a_subshell() {
    compare(count("COSHELL_TEST_HANDLERS", 1000) / 10, "subshell");
}
