//! Which commands a line of a script runs: also those that `timeout`, `env`, `find -exec` and the like run.

use crate::reader::{Command, Word};

/// A command that runs the command in its arguments.
struct Runner {
    name: &'static str,
    /// Its options that take a value, as an argument of their own.
    value_options: &'static [&'static str],
    /// How many arguments come before the command: 1 for `timeout 5 cmd`.
    arguments_before: usize,
}

const fn runner(
    name: &'static str,
    value_options: &'static [&'static str],
    arguments_before: usize,
) -> Runner {
    Runner {
        name,
        value_options,
        arguments_before,
    }
}

const RUNNERS: [Runner; 13] = [
    runner("builtin", &[], 0),
    runner("command", &[], 0),
    runner("env", &["-u", "-C", "-S", "--unset", "--chdir"], 0),
    runner("exec", &["-a"], 0),
    runner("flock", &["-w", "-E"], 1),
    runner("nice", &["-n"], 0),
    runner("nohup", &[], 0),
    runner("setsid", &[], 0),
    runner("stdbuf", &["-i", "-o", "-e"], 0),
    runner("sudo", &["-u", "-g"], 0),
    runner("time", &["-f", "-o"], 0),
    runner("timeout", &["-k", "-s"], 1),
    runner(
        "xargs",
        &["-n", "-I", "-P", "-L", "-d", "-s", "-a", "-E"],
        0,
    ),
];

/// Commands that look for a command.
const LOOKUPS: [&str; 4] = ["command", "hash", "type", "which"];

/// The commands that a script looks for before it calls them, by `command -v`, `type` and the like.
pub(crate) fn looked_up_by(command: &Command) -> impl Iterator<Item = &str> {
    let name = command.name().unwrap_or_default();
    let is_lookup = LOOKUPS.contains(&name)
        && (name != "command"
            || command
                .arguments()
                .first()
                .is_some_and(|word| word.text.eq_ignore_ascii_case("-v")));
    let arguments = if is_lookup { command.arguments() } else { &[] };
    arguments
        .iter()
        .filter(|word| word.is_literal && !word.text.starts_with('-'))
        .map(|word| word.text.as_str())
}

/// The commands that `words` run: the first word, and what it runs in its turn.
pub(crate) fn called_by(words: &[Word]) -> Vec<&Word> {
    let Some((name, arguments)) = words.split_first() else {
        return Vec::new();
    };
    if name.text.starts_with('[') {
        return Vec::new();
    }
    let mut called = vec![name];
    if !name.is_literal {
        return called;
    }
    if name.text == "find" {
        let is_exec =
            |word: &Word| matches!(word.text.as_str(), "-exec" | "-execdir" | "-ok" | "-okdir");
        let pairs = arguments.windows(2);
        called.extend(pairs.filter(|pair| is_exec(&pair[0])).map(|pair| &pair[1]));
    }
    if let Some(runner) = RUNNERS.iter().find(|runner| runner.name == name.text) {
        called.extend(called_by(runner.command_in(arguments)));
    }
    called
}

impl Runner {
    /// The words of the command that it runs; empty if it runs none.
    fn command_in<'a>(&self, arguments: &'a [Word]) -> &'a [Word] {
        let mut rest = arguments;
        while let Some((word, others)) = rest.split_first() {
            let is_option = word.text.starts_with('-') && word.text.len() > 1;
            let is_assignment = self.name == "env" && word.text.contains('=');
            if self.name == "command" && word.text.eq_ignore_ascii_case("-v") {
                return &[];
            }
            if !is_option && !is_assignment {
                break;
            }
            rest = if self.value_options.contains(&word.text.as_str()) {
                others.get(1..).unwrap_or_default()
            } else {
                others
            };
            if word.text == "--" {
                break;
            }
        }
        rest.get(self.arguments_before..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader;

    fn called(text: &str) -> Vec<String> {
        let reading = reader::read(text);
        let commands = reading.commands.iter();
        let called = commands.flat_map(|command| called_by(&command.words));
        called.map(|word| word.text.clone()).collect()
    }

    #[test]
    fn commands_that_run_commands_are_seen_through() {
        for (text, names) in [
            ("timeout -k 5 10 jq .", &["timeout", "jq"][..]),
            ("env A=1 -u B nice -n 5 tar x", &["env", "nice", "tar"]),
            ("xargs -n 1 -I {} zip {}", &["xargs", "zip"]),
            ("find . -name x -exec gzip {} +", &["find", "gzip"]),
            ("command -v jq", &["command"]),
            ("command jq", &["command", "jq"]),
            ("exec 3>&1", &["exec"]),
            ("nohup \"$x\" a", &["nohup", "$x"]),
            ("[[ jq == a ]]", &[]),
        ] {
            assert_eq!(called(text), names, "{text}");
        }
    }

    #[test]
    fn commands_that_a_script_looks_up_are_found() {
        let reading = reader::read("command -v a b; type -P c >/dev/null; command d; hash e");
        let found: Vec<_> = reading.commands.iter().flat_map(looked_up_by).collect();
        assert_eq!(found, ["a", "b", "c", "e"]);
    }
}
