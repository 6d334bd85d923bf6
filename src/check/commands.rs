//! The commands and programs that a script calls, and whether the image or the package has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::calls::{called_by, looked_up_by};
use crate::finding::{Finding, Severity, Source, Subject};
use crate::images::{Availability, Commands};
use crate::reader::{Command, Word};
use crate::{offered, paths, permissions};
use coshell_handler::{Handler, Kind};

/// The builtins of bash 5.2 (`enable -a`), and words that the grammar reads as commands.
const BUILTINS: &str = ". : [ [[ ]] alias bg bind break builtin caller cd command compgen complete \
    compopt continue coproc declare dirs disown echo enable eval exec exit export false fc fg getopts hash help \
    history jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly \
    return set shift shopt source suspend test times trap true type typeset ulimit umask unalias \
    unset wait time in { } ! then else do done fi esac";

/// The functions that the driver offers to the file of a function.
const OFFERED: [&str; 19] = [
    "lambda_aws",
    "lambda_decode",
    "lambda_each",
    "lambda_encode",
    "lambda_error",
    "lambda_fetch",
    "lambda_get",
    "lambda_hash",
    "lambda_http_response",
    "lambda_json",
    "lambda_keep",
    "lambda_log",
    "lambda_metric",
    "lambda_parameter",
    "lambda_remaining_ms",
    "lambda_request",
    "lambda_secret",
    "lambda_stream_response",
    "lambda_tempdir",
];

/// Those that a whole script never has.
const OF_FUNCTIONS: [&str; 4] = [
    "lambda_http_response",
    "lambda_keep",
    "lambda_log",
    "lambda_stream_response",
];

/// The program by which bootstrap gives functions these commands where the image has none.
const TOOLS: &str = "coshell-tools";
const OF_TOOLS: [&str; 2] = ["aws", "jq"];

/// The places where the scripts call a command: file and line.
type Calls<'a> = Vec<(&'a Path, u32)>;

/// Finds the commands that the image lacks, and programs of the package that are missing or that another user may not
/// run.
pub(crate) fn check(subject: &Subject, handler: &Handler, sources: &[Source]) -> Vec<Finding> {
    let mut defined = BTreeSet::new();
    let is_function = matches!(handler.kind, Kind::Function(_));
    let has_functions = is_function || offered::has_opted_in(handler, sources);
    let offered = || {
        let names = OFFERED.into_iter();
        names.filter(|name| is_function || !OF_FUNCTIONS.contains(name))
    };
    if has_functions {
        defined.extend(offered());
    }
    let has_tools = is_function && subject.task_root.join(TOOLS).is_file();
    let mut looked_up = BTreeSet::new();
    let mut calls: BTreeMap<&str, Calls> = BTreeMap::new();
    let mut found = Vec::new();
    for source in sources {
        let functions = source.reading.functions.iter();
        defined.extend(functions.map(|(name, _)| name.as_str()));
        for command in &source.reading.commands {
            looked_up.extend(looked_up_by(command));
            if has_functions {
                found.extend(offered::check_options(source, command));
            }
            if command.name() == Some("alias") {
                let aliases = command.arguments().iter();
                defined.extend(aliases.filter_map(|word| Some(word.text.split_once('=')?.0)));
            }
            for (index, word) in called_by(&command.words).into_iter().enumerate() {
                match place(word) {
                    // A program that runs another, as `xargs` does, finds no function.
                    Place::Path if has_tools && index == 0 && OF_TOOLS.contains(&&*word.text) => {}
                    Place::Path => {
                        let name = word.text.rsplit('/').next().unwrap_or_default();
                        let call = (source.path.as_path(), command.line);
                        calls.entry(name).or_default().push(call);
                    }
                    Place::TaskRoot => found.extend(check_program(subject, source, command, word)),
                    Place::Unknown => {}
                }
            }
        }
    }
    let may_define_more = sources
        .iter()
        .any(|source| source.reading.has_gaps || source.may_define_more());
    let Some(image) = subject.image.commands() else {
        return found;
    };
    for (name, calls) in calls {
        let is_defined =
            defined.contains(name) || BUILTINS.split(' ').any(|builtin| builtin == name);
        if is_defined || name.is_empty() || is_packaged(subject, sources, name) {
            continue;
        }
        if has_functions
            && !may_define_more
            && let (Some(finding), Some((file, line))) =
                (offered::unknown_function(name, offered()), calls.first())
        {
            found.push(finding.at(file, *line));
            continue;
        }
        if !has_functions
            && offered().any(|known| known == name)
            && let Some((file, line)) = calls.first()
        {
            found.push(offered::needs_opt_in(name).at(file, *line));
            continue;
        }
        let availability = find(subject, &image, name);
        // An unknown name may be a function that is not seen, or no name at all.
        let is_sure =
            matches!(availability, Availability::Missing(_)) || !may_define_more && is_name(name);
        if availability != Availability::Present && is_sure {
            let is_looked_up = looked_up.contains(name);
            let finding = missing_command(subject, name, &calls, availability);
            found.push(if is_looked_up {
                as_note(finding)
            } else {
                finding
            });
        }
    }
    found
}

/// Checks that the image has the interpreter of an executable.
pub(crate) fn check_interpreter(subject: &Subject, handler: &Handler) -> Option<Finding> {
    let text = fs::read(&handler.file).ok()?;
    let line = text
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    check_first_line(subject, &handler.file, &String::from_utf8_lossy(line))
}

/// Checks that the image has the interpreter in the first line of `file`; the line is without its `#!`.
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
    (availability != Availability::Present)
        .then(|| missing_command(subject, program, &[(file, 1)], availability))
}

/// Whether the image has a command, or the user named it with `--with`.
fn find(subject: &Subject, image: &Commands, name: &str) -> Availability {
    if subject.with.iter().any(|with| with == name) {
        return Availability::Present;
    }
    image.find(name)
}

fn missing_command(
    subject: &Subject,
    name: &str,
    calls: &[(&Path, u32)],
    availability: Availability,
) -> Finding {
    let image = subject.image.name();
    let (file, line) = calls.first().copied().unwrap_or((Path::new(""), 0));
    let places = match calls.len() {
        0 | 1 => String::new(),
        count => format!(", and is called in {count} places"),
    };
    let (message, suggestion) = match availability {
        Availability::Missing(package) => (
            format!("{name} is not in the image {image}{places}"),
            format!(
                "in the Dockerfile: RUN dnf install -y {package}; or add {name} to a layer, in /opt/bin{}",
                own_function(subject, name)
            ),
        ),
        Availability::Absent => (
            format!("{name} is not in this image{places}"),
            format!(
                "install {name} in the image, before this check; or call it by its path in the package"
            ),
        ),
        _ => (
            format!("{name} is not known to be in the image {image}{places}"),
            format!(
                "add {name} to the image, or to a layer, in /opt/bin; or call it by its path in the package"
            ),
        ),
    };
    Finding::warning("command", message)
        .at(file, line)
        .suggest(suggestion)
}

/// What else gives a function this command.
fn own_function(subject: &Subject, name: &str) -> String {
    if !OF_TOOLS.contains(&name) {
        String::new()
    } else if subject.task_root.join(TOOLS).is_file() {
        format!(
            "; the function {name} that {TOOLS} brings is there only for the handler itself, and for no other program"
        )
    } else {
        format!("; or package {TOOLS}, which has {name}")
    }
}

/// The finding for a command that the script does not rely on.
fn as_note(mut finding: Finding) -> Finding {
    finding.severity = Severity::Note;
    finding.message.push_str("; the script checks for it first");
    finding
}

/// Whether the package has a program of this name, and the script sets a `PATH` that may contain it.
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

/// Where a command's program is.
enum Place {
    /// Along `PATH`.
    Path,
    /// In the package.
    TaskRoot,
    Unknown,
}

fn place(word: &Word) -> Place {
    let text = word.text.as_str();
    let system_folders = ["/usr/bin/", "/bin/", "/usr/local/bin/"];
    let is_in_system = system_folders.iter().any(|folder| text.starts_with(folder));
    match (text.contains('/'), word.is_literal) {
        (false, true) => Place::Path,
        (false, false) => Place::Unknown,
        (true, true) if is_in_system => Place::Path,
        (true, true) if text.starts_with('/') => Place::Unknown,
        (true, _) => Place::TaskRoot,
    }
}

/// Checks a program that is called by its path in the package.
fn check_program(
    subject: &Subject,
    source: &Source,
    command: &Command,
    word: &Word,
) -> Vec<Finding> {
    // After a `cd` a relative path may be anywhere.
    if word.is_literal && (source.calls("cd") || source.calls("pushd")) {
        return Vec::new();
    }
    let path = paths::resolve(subject, source, word);
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
