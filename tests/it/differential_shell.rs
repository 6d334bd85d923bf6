//! Random handlers next to a plain bash: what decides where a function is left, and who sees it.
//!
//! The oracle is `( source file; handler "$event" )`: the same commands run, with the same output and the same success,
//! three events each.
//!
//! They are made of what decides where a function is left and who sees it: functions that call each other, with names that
//! bash and the driver use themselves, traps, options, exits, loops, pipelines, sourced files. What a command does is
//! also written to a file, since a handler that fails has no response.
//!
//! `COSHELL_TEST_HANDLERS` sets how many there are, `COSHELL_TEST_SEED` repeats a run.

use std::fmt::Write;
use std::process::{Command, Stdio};

use support::sandbox::set_lambda_environment;
use support::seeded::{Choices, count, find_problems, seed};
use support::{Event, Sandbox, SandboxBuilder};

/// `<g>` is a call of a function further down, `<w>` a word, `<n>` a status, `<e>` what leaves a function, `<c>` a
/// character.
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
    // Without $1: what it is when a function fails there depends on what bash was called with.
    "(trap 'log \"end of a subshell $?\"' EXIT; <g> <w>)",
    "text=$(<g> <w>) || log \"captured $?\"; log \"[${text-}]\"",
    "text=$(<g> <w>); log \"[$text]\"",
    "<g> <w> | cat",
    // The reader takes everything: one that left earlier would end the writer by SIGPIPE, or not, as time has it.
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

/// What leaves a function, or does not.
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

/// What stands at the top of a file.
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

/// Names that a function may have anywhere.
const NAMES: [&str; 18] = [
    "main", "main", "work", "helper", "f", ",f", ",x", ",mine", "Main", "a-b", "a.b", "x:y",
    "start", "stop", "run", "log2", "_", "greet",
];

/// Builtins that a file may wrap, or replace by what has nothing to do with them.
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
            // These two mean nothing in a function around them.
            if !matches!(name, "return" | "local") {
                let _ = writeln!(script, "{name}() {{ {body}; }}");
            }
        }
        for number in (0..3).rev() {
            let body = body(choices, &names[number + 1..]);
            let _ = writeln!(script, "{}() {{\n{body}\n}}", names[number]);
        }
        let _ = writeln!(script, "handler() {{\n{}\n}}", body(choices, &names));
        // What sourcing does is no event's.
        let _ = writeln!(script, "{}\nEFFECTS=$EFFECTS_FILE", choices.choose(&TOPS));
        Self {
            script,
            events: std::array::from_fn(|_| choices.choose(&EVENTS).to_owned()),
        }
    }

    fn builder(&self) -> SandboxBuilder {
        Sandbox::of(&self.script).file("lib.sh", LIB)
    }

    fn difference(&self, isolation: &str) -> Option<String> {
        let builder = self.builder();
        let expected = self
            .events
            .each_ref()
            .map(|event| in_plain_bash(&builder, event));
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
            // How often one that calls itself without an end does so depends on the stack.
            let is_endless = cause.contains("SIGSEGV") && plain.0.is_none();
            if !is_endless && !self.is_alike(&ours, &plain, &cause) {
                return Some(format!(
                    "{}\nevent {number} {event:?}\n  plain bash: {plain:?}\n  ours:       {ours:?}\n  {cause}\n",
                    self.script
                ));
            }
        }
        None
    }

    /// The parts of a pipeline do what they do in an order of their own.
    fn is_alike(&self, ours: &Done, plain: &Done, cause: &str) -> bool {
        let is_fatal = cause.contains("no_such_name: ") && ours.0.is_none() && plain.0.is_none();
        ours == plain
            || is_fatal && without_arguments(&ours.1) == without_arguments(&plain.1)
            || self.script.contains(" | ")
                && ours.0.as_deref().map(sorted) == plain.0.as_deref().map(sorted)
                && sorted(&ours.1) == sorted(&plain.1)
    }
}

/// What was printed, if it succeeded, and what was done.
type Done = (Option<String>, String);

/// Without what `$1` was in EXIT traps: where an unset variable ends bash, that is what some function before was called with.
fn without_arguments(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["exit", "trap", status, .., last] => format!("exit trap {status} {last}"),
            _ => line.to_owned(),
        }
    });
    lines.collect()
}

/// Lines in the order of the alphabet.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// What a plain bash prints, whether it succeeds, and what it does.
fn in_plain_bash(builder: &SandboxBuilder, event: &str) -> Done {
    let root = builder.task_root();
    root.write("effects", "");
    let mut command =
        Command::new(std::env::var("COSHELL_TEST_BASH").unwrap_or_else(|_| "bash".to_owned()));
    set_lambda_environment(&mut command, root.path());
    let output = command
        .args([
            "-c",
            "set -euo pipefail; shopt -s inherit_errexit; ( source \"$0\" >&2; handler \"$1\" )",
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
        // What a part is filled with may have parts of its own.
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
    const PARTS_AT_A_TIME: usize = 3;
    let seed = seed();
    let problems = find_problems(handlers, PARTS_AT_A_TIME, |number| {
        Handler::random(&mut Choices::for_part(seed, number)).difference(isolation)
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
