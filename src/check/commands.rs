//! The programs that a script calls, and whether the image has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::finding::{Finding, Severity, Source, Subject};
use crate::images::{Availability, Commands};
use crate::reader::{Command, Word};
use crate::{permissions, script};
use coshell_handler::{Handler, Kind};

/// Builtin commands of bash 5.2, `enable -a`; and what the grammar takes for commands.
const BUILTINS: &str = ". : [ [[ ]] alias bg bind break builtin caller cd command compgen complete \
    compopt continue coproc declare dirs disown echo enable eval exec exit export false fc fg getopts hash help \
    history jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly \
    return set shift shopt source suspend test times trap true type typeset ulimit umask unalias \
    unset wait time in { } ! then else do done fi esac";

/// What runtime-scripts/driver.bash offers to the file of a function.
const OFFERED: [&str; 4] = [
    "lambda_http_response",
    "lambda_keep",
    "lambda_log",
    "lambda_stream_response",
];

/// Commands that run a command: the options that take a value, and how many words stand in front.
const RUNNERS: [(&str, &[&str], usize); 13] = [
    ("builtin", &[], 0),
    ("command", &[], 0),
    ("env", &["-u", "-C", "-S", "--unset", "--chdir"], 0),
    ("exec", &["-a"], 0),
    ("flock", &["-w", "-E"], 1),
    ("nice", &["-n"], 0),
    ("nohup", &[], 0),
    ("setsid", &[], 0),
    ("stdbuf", &["-i", "-o", "-e"], 0),
    ("sudo", &["-u", "-g"], 0),
    ("time", &["-f", "-o"], 0),
    ("timeout", &["-k", "-s"], 1),
    (
        "xargs",
        &["-n", "-I", "-P", "-L", "-d", "-s", "-a", "-E"],
        0,
    ),
];

/// Who asks for a command before calling it.
const ASKERS: [&str; 4] = ["command", "hash", "type", "which"];

/// Where a command is called.
#[derive(Debug, Default)]
struct Calls<'a> {
    places: Vec<(&'a Path, u32)>,
}

/// What the image lacks of what the scripts call, and what is wrong with programs of their own.
pub(crate) fn check(subject: &Subject, handler: &Handler, sources: &[Source]) -> Vec<Finding> {
    let mut own = BTreeSet::new();
    if matches!(handler.kind, Kind::Function(_)) {
        own.extend(OFFERED);
    }
    let mut asked = BTreeSet::new();
    let mut calls: BTreeMap<&str, Calls> = BTreeMap::new();
    let mut found = Vec::new();
    for source in sources {
        own.extend(
            source
                .reading
                .functions
                .iter()
                .map(|(name, _)| name.as_str()),
        );
        for command in &source.reading.commands {
            asked.extend(asked_by(command));
            if command.name() == Some("alias") {
                let aliases = command.arguments().iter();
                own.extend(aliases.filter_map(|word| Some(word.text.split_once('=')?.0)));
            }
            for word in called_by(&command.words) {
                match place(word) {
                    Place::Path => {
                        let calls = calls.entry(word.text.rsplit('/').next().unwrap_or_default());
                        calls.or_default().places.push((&source.path, command.line));
                    }
                    Place::TaskRoot => found.extend(own_program(subject, source, command, word)),
                    Place::Elsewhere => {}
                }
            }
        }
    }
    let has_gaps = sources
        .iter()
        .any(|source| source.reading.has_gaps || script::is_open(source));
    let Some(image) = subject.image.commands() else {
        return found;
    };
    for (name, calls) in calls {
        let is_own = own.contains(name) || BUILTINS.split(' ').any(|builtin| builtin == name);
        if is_own || name.is_empty() || is_packaged(subject, sources, name) {
            continue;
        }
        let availability = find(subject, &image, name);
        // What is not known may be a function that cannot be seen, or no name at all.
        let is_sure =
            matches!(availability, Availability::Missing(_)) || !has_gaps && is_name(name);
        if availability != Availability::There && is_sure {
            let is_asked = asked.contains(name);
            found.push(lacking(subject, name, &calls, availability, is_asked));
        }
    }
    found
}

/// The interpreter of an executable.
pub(crate) fn check_interpreter(subject: &Subject, handler: &Handler) -> Option<Finding> {
    let start = fs::read(&handler.file).ok()?;
    let line = start
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    check_first_line(subject, &handler.file, &String::from_utf8_lossy(line))
}

/// The interpreter that the first line of `file`, without `#!`, names.
pub(crate) fn check_first_line(subject: &Subject, file: &Path, line: &str) -> Option<Finding> {
    let mut words = line.split_whitespace();
    let mut program = words.next()?.rsplit('/').next()?;
    if program == "env" {
        program = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    }
    if subject.task_root.join("bin").join(program).is_file() {
        return None;
    }
    let availability = find(subject, &subject.image.commands()?, program);
    let calls = Calls {
        places: vec![(file, 1)],
    };
    (availability != Availability::There)
        .then(|| lacking(subject, program, &calls, availability, false))
}

/// What the image is known to have, with what is said to be there besides.
fn find(subject: &Subject, image: &Commands, name: &str) -> Availability {
    if subject.with.iter().any(|with| with == name) {
        return Availability::There;
    }
    image.find(name)
}

fn lacking(
    subject: &Subject,
    name: &str,
    calls: &Calls,
    availability: Availability,
    is_asked: bool,
) -> Finding {
    let image = subject.image.name();
    let (file, line) = calls.places.first().copied().unwrap_or((Path::new(""), 0));
    let more = match calls.places.len() {
        0 | 1 => String::new(),
        count => format!(", and is called in {count} places"),
    };
    let (message, suggestion) = match availability {
        Availability::Missing(package) => (
            format!("{name} is not in the image {image}{more}"),
            format!(
                "in the Dockerfile: RUN dnf install -y {package}; or bring {name} in a layer, in /opt/bin"
            ),
        ),
        _ => (
            format!("{name} is not known to be in the image {image}{more}"),
            format!(
                "bring {name} in the image or in a layer, in /opt/bin; or call it by its path in the package"
            ),
        ),
    };
    let severity = if is_asked {
        Severity::Note
    } else {
        Severity::Warning
    };
    let message = if is_asked {
        message + "; the script asks for it"
    } else {
        message
    };
    Finding::new(severity, "command", message)
        .at(file, line)
        .suggest(suggestion)
}

/// Whether the package has a program of this name, where its PATH may find it.
fn is_packaged(subject: &Subject, sources: &[Source], name: &str) -> bool {
    let sets_path = sources
        .iter()
        .flat_map(|source| &source.reading.assignments)
        .any(|assignment| assignment.name == "PATH");
    let folders = ["", "bin"].map(|folder| subject.task_root.join(folder).join(name));
    sets_path && folders.iter().any(|path| path.is_file())
}

fn is_name(text: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || "_-.+@".contains(letter);
    text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
        && text.chars().all(is_part)
}

enum Place {
    /// Looked for along PATH.
    Path,
    /// In the package.
    TaskRoot,
    /// Not ours to know.
    Elsewhere,
}

fn place(word: &Word) -> Place {
    let text = word.text.as_str();
    let system = ["/usr/bin/", "/bin/", "/usr/local/bin/"];
    if !text.contains('/') {
        return if word.is_literal {
            Place::Path
        } else {
            Place::Elsewhere
        };
    }
    if word.is_literal && system.iter().any(|folder| text.starts_with(folder)) {
        return Place::Path;
    }
    let is_absolute = word.is_literal && text.starts_with('/');
    if is_absolute {
        Place::Elsewhere
    } else {
        Place::TaskRoot
    }
}

/// A program that is called by its path in the package.
fn own_program(subject: &Subject, source: &Source, command: &Command, word: &Word) -> Vec<Finding> {
    // After a `cd` a relative path may be anything.
    let has_cd = || {
        source
            .reading
            .commands
            .iter()
            .any(|one| matches!(one.name(), Some("cd" | "pushd")))
    };
    if word.is_literal && has_cd() {
        return Vec::new();
    }
    let path = script::resolve(subject, source, word);
    let Some(path) = path.filter(|path| path.starts_with(&subject.task_root)) else {
        return Vec::new();
    };
    if path.is_file() {
        return permissions::check_file(subject, &path, true);
    }
    let name = subject.relative_path(&path).display();
    let message = format!("calls {name}, which is not in the task root");
    vec![
        Finding::warning("command", message)
            .at(&source.path, command.line)
            .suggest("package it"),
    ]
}

/// The commands for which `command -v`, `type` and the like ask.
fn asked_by(command: &Command) -> impl Iterator<Item = &str> {
    let name = command.name().unwrap_or_default();
    let asks = ASKERS.contains(&name)
        && (name != "command"
            || command
                .arguments()
                .first()
                .is_some_and(|word| word.text.eq_ignore_ascii_case("-v")));
    let arguments = if asks { command.arguments() } else { &[] };
    arguments
        .iter()
        .filter(|word| word.is_literal && !word.text.starts_with('-'))
        .map(|word| word.text.as_str())
}

/// The words that a command runs: itself, and what it is told to run.
fn called_by(words: &[Word]) -> Vec<&Word> {
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
        let runs =
            |word: &Word| matches!(word.text.as_str(), "-exec" | "-execdir" | "-ok" | "-okdir");
        let run = arguments.iter().zip(arguments.iter().skip(1));
        called.extend(
            run.filter(|(option, _)| runs(option))
                .map(|(_, command)| command),
        );
    }
    let runner = RUNNERS.iter().find(|(runner, ..)| *runner == name.text);
    let Some((runner, options, in_front)) = runner else {
        return called;
    };
    let mut rest = arguments;
    while let Some((word, others)) = rest.split_first() {
        let is_option = word.text.starts_with('-') && word.text.len() > 1;
        let is_assignment = *runner == "env" && word.text.contains('=');
        if *runner == "command" && word.text.eq_ignore_ascii_case("-v") {
            return called;
        }
        if !is_option && !is_assignment {
            break;
        }
        let takes_value = options.contains(&word.text.as_str());
        rest = if takes_value {
            others.get(1..).unwrap_or_default()
        } else {
            others
        };
        if word.text == "--" {
            break;
        }
    }
    if let Some(rest) = rest.get(*in_front..).filter(|rest| !rest.is_empty()) {
        called.extend(called_by(rest));
    }
    called
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
    fn commands_that_are_asked_for_are_known() {
        let reading = reader::read("command -v a b; type -P c >/dev/null; command d; hash e");
        let asked: Vec<_> = reading.commands.iter().flat_map(asked_by).collect();
        assert_eq!(asked, ["a", "b", "c", "e"]);
    }
}
