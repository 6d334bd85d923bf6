//! Scripts: syntax, line ends, files that are sourced, and whether the function is defined.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coshell_handler::{Handler, Kind, check_syntax, undefined_function};

use crate::finding::{Finding, Severity, Source, Subject};
use crate::permissions;
use crate::reader::{self, Reading, Word};
use coshell_handler::encoding::BadEncoding;

/// So many files that source each other are followed.
const MAX_SOURCES: usize = 100;

/// There is no bash to ask.
#[derive(Debug)]
pub struct NoBash {
    /// Which was to be asked.
    bash: PathBuf,
    /// The system's words, or ours.
    cause: String,
}

impl fmt::Display for NoBash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot start shell {}: {}",
            self.bash.display(),
            self.cause
        )
    }
}

impl std::error::Error for NoBash {}

/// Asks bash for its version: without one nothing can be told.
///
/// # Errors
/// Why it does not start.
pub(crate) fn ask_version(bash: &Path) -> Result<(), NoBash> {
    let asked = Command::new(bash)
        .arg("--version")
        .env_remove("BASH_ENV")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let cause = match asked {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => format!("asked for its version, it ended with {status}"),
        Err(error) => error.to_string(),
    };
    Err(NoBash {
        bash: bash.to_owned(),
        cause,
    })
}

/// The handler's script and all that it sources, and what is wrong with each.
pub(crate) fn read_all(subject: &Subject, handler: &Handler) -> (Vec<Source>, Vec<Finding>) {
    let mut sources: Vec<Source> = Vec::new();
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([handler.file.clone()]);
    let mut next = vec![handler.clone()];
    while let Some(one) = next.pop() {
        let Ok(bytes) = fs::read(&one.file) else {
            continue;
        };
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        found.extend(check_line_ends(subject, &one, &text));
        if let Some(encoding) = BadEncoding::detect(&bytes) {
            let name = subject.relative_path(&one.file);
            let message = format!("{}: {}", name.display(), encoding.cause());
            let finding = Finding::error("encoding", message).at(&one.file, 1);
            found.push(finding.suggest(encoding.remedy(name)));
        }
        if let Some(error) = check_syntax(&subject.bash, &one) {
            found.push(Finding::from_load_error("syntax", &error).or_at(&one.file));
        } else if matches!(one.kind, Kind::Script(_)) {
            text = without_tail(&text);
        }
        let reading = reader::read(&text);
        let source = Source {
            path: one.file.clone(),
            text,
            reading,
        };
        if sources.len() < MAX_SOURCES {
            let (paths, lost) = sourced(subject, &source);
            found.extend(lost);
            for path in paths {
                if seen.insert(path.clone()) {
                    found.extend(permissions::check_file(subject, &path, false));
                    next.push(Handler {
                        name: handler.name.clone(),
                        file: path,
                        kind: Kind::Function(String::new()),
                        arguments: Vec::new(),
                    });
                }
            }
        }
        sources.push(source);
    }
    (sources, found)
}

/// What stands behind an `exit` at the start of a line need not be bash.
fn without_tail(text: &str) -> String {
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        kept.push_str(line);
        if line.trim_end() == "exit" || line.starts_with("exit ") {
            break;
        }
    }
    kept
}

/// A file with some lines from Windows; one that has no others is told by the runtime.
fn check_line_ends(subject: &Subject, handler: &Handler, text: &str) -> Option<Finding> {
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let ends = lines.iter().zip(1..);
    let first = ends
        .into_iter()
        .find(|(line, _)| line.ends_with("\r\n"))
        .map(|(_, number)| number)?;
    let count = lines.iter().filter(|line| line.ends_with("\r\n")).count();
    let name = subject.relative_path(&handler.file).display();
    let is_whole = count == lines.len();
    let message = if is_whole {
        format!("the lines of {name} end in CR LF, which bash takes for a part of each command")
    } else {
        format!(
            "{count} of {} lines of {name} end in CR LF, which bash takes for a part of a command",
            lines.len()
        )
    };
    let severity = if is_whole {
        Severity::Error
    } else {
        Severity::Warning
    };
    Some(
        Finding::new(severity, "line-ends", message)
            .at(&handler.file, first)
            .suggest(format!("sed -i 's/\\r$//' {name}")),
    )
}

/// The files that a script sources, and what is told of those that are not found.
fn sourced(subject: &Subject, source: &Source) -> (Vec<PathBuf>, Vec<Finding>) {
    let mut paths = Vec::new();
    let mut found = Vec::new();
    for command in &source.reading.commands {
        let (Some("." | "source"), Some(word)) = (command.name(), command.arguments().first())
        else {
            continue;
        };
        let Some(path) = resolve(subject, source, word) else {
            continue;
        };
        if path.is_file() {
            paths.push(path);
        } else if path.starts_with(&subject.task_root) && !is_tested(&source.reading, &word.text) {
            let name = subject.relative_path(&path).display();
            let message = format!("sources {name}, which is not in the task root");
            found.push(
                Finding::warning("source", message)
                    .at(&source.path, command.line)
                    .suggest("package it, or ask for it first: [[ -r file ]] && . file"),
            );
        }
    }
    (paths, found)
}

/// Whether the script asks for the file before it reads it.
fn is_tested(reading: &Reading, file: &str) -> bool {
    let is_test =
        |name: Option<&str>| name.is_some_and(|name| name == "test" || name.starts_with('['));
    reading
        .commands
        .iter()
        .filter(|command| is_test(command.name()))
        .any(|command| command.words.iter().any(|word| word.text.contains(file)))
}

/// Where a path in a script leads, if that can be told: `file`, `$LAMBDA_TASK_ROOT/file`, beside the
/// script itself.
pub(crate) fn resolve(subject: &Subject, source: &Source, word: &Word) -> Option<PathBuf> {
    let text = word.text.as_str();
    if word.is_literal {
        return Some(normal(&subject.task_root.join(text)));
    }
    let (start, rest) = split_expansion(text)?;
    let rest = rest.trim_start_matches('/');
    if rest.contains(['$', '`', '*', '?']) {
        return None;
    }
    let folder = folder_of(subject, source, start, 0)?;
    Some(normal(&folder.join(rest)))
}

/// The folder that an expansion stands for.
fn folder_of(subject: &Subject, source: &Source, expansion: &str, depth: usize) -> Option<PathBuf> {
    let beside = || source.path.parent().map(Path::to_owned);
    let name = expansion
        .trim_start_matches(['$', '{'])
        .trim_end_matches('}')
        .split(":-")
        .next()?;
    match name {
        "LAMBDA_TASK_ROOT" | "PWD" => return Some(subject.task_root.clone()),
        "BASH_SOURCE%/*" | "BASH_SOURCE[0]%/*" | "0%/*" => return beside(),
        _ => {}
    }
    let names_itself = expansion.contains("BASH_SOURCE") || expansion.contains("$0");
    if expansion.starts_with("$(") {
        let is_plain = !expansion.contains("..");
        return (names_itself && expansion.contains("dirname") && is_plain)
            .then(beside)
            .flatten();
    }
    let assigned = source
        .reading
        .assignments
        .iter()
        .find(|assignment| assignment.name == name && depth < 3)?;
    let value = &assigned.value;
    if value.is_literal {
        return Some(subject.task_root.join(&value.text));
    }
    let (start, rest) = split_expansion(&value.text)?;
    let folder = folder_of(subject, source, start, depth + 1)?;
    (!rest.contains('$')).then(|| folder.join(rest.trim_start_matches('/')))
}

/// The expansion that a word starts with, and the rest.
fn split_expansion(text: &str) -> Option<(&str, &str)> {
    let end = match text.get(..2)? {
        "$(" => text.rfind(')')? + 1,
        "${" => text.find('}')? + 1,
        start if start.starts_with('$') => text[1..]
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .map_or(text.len(), |end| end + 1),
        _ => return None,
    };
    Some(text.split_at(end))
}

/// Without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// Whether the function is there; what defines functions unseen makes that a guess.
pub(crate) fn check_function(
    handler: &Handler,
    function: &str,
    sources: &[Source],
) -> Option<Finding> {
    let names: Vec<_> = sources
        .iter()
        .flat_map(|source| &source.reading.functions)
        .map(|(name, _)| name.clone())
        .collect();
    if names.iter().any(|name| name == function) {
        return None;
    }
    let is_named = |source: &Source| source.reading.has_gaps && source.text.contains(function);
    let is_guess = sources
        .iter()
        .any(|source| is_open(source) || is_named(source));
    let error = undefined_function(handler, &names);
    let mut finding = Finding::from_load_error("function", &error).at(&handler.file, None);
    if is_guess {
        let file = handler.file.display();
        finding.severity = Severity::Warning;
        finding.error_type = None;
        finding.message = format!(
            "cannot see a function {function} in {file}, which may define it by eval or in a file that is not here"
        );
    }
    Some(finding)
}

/// Whether a script may define what is not seen: by `eval`, or in a file whose path is not spelled out.
pub(crate) fn is_open(source: &Source) -> bool {
    let is_source = |name: Option<&str>| matches!(name, Some("." | "source" | "eval"));
    source.reading.is_dynamic
        || source.reading.commands.iter().any(|command| {
            is_source(command.name())
                && command
                    .arguments()
                    .first()
                    .is_some_and(|word| !word.is_literal || word.text.starts_with('/'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Image;

    fn resolved(text: &str) -> Option<String> {
        let subject = Subject {
            handler: "lib/function.handler".into(),
            task_root: "/task".into(),
            with: Vec::new(),
            image: Image::None,
            bash: "bash".into(),
            delivery: None,
        };
        let source = Source {
            path: "/task/lib/function.sh".into(),
            text: text.to_owned(),
            reading: reader::read(text),
        };
        let command = source
            .reading
            .commands
            .iter()
            .find(|one| one.name() == Some("."))?;
        let path = resolve(&subject, &source, command.arguments().first()?)?;
        Some(path.to_string_lossy().into_owned())
    }

    #[test]
    fn paths_of_sourced_files_are_told_where_they_can_be() {
        for (text, path) in [
            (". ./a.sh", Some("/task/a.sh")),
            (". 'lib/a b.sh'", Some("/task/lib/a b.sh")),
            (". /opt/a.sh", Some("/opt/a.sh")),
            (". \"$LAMBDA_TASK_ROOT/a.sh\"", Some("/task/a.sh")),
            (". ${LAMBDA_TASK_ROOT}/x/../a.sh", Some("/task/a.sh")),
            (". \"$(dirname \"$0\")/a.sh\"", Some("/task/lib/a.sh")),
            (". \"${BASH_SOURCE%/*}/a.sh\"", Some("/task/lib/a.sh")),
            (
                "d=\"$(cd \"$(dirname \"${BASH_SOURCE[0]}\")\" && pwd)\"\n. \"$d/a.sh\"",
                Some("/task/lib/a.sh"),
            ),
            ("d=$LAMBDA_TASK_ROOT/x\n. $d/a.sh", Some("/task/x/a.sh")),
            (". \"$where/a.sh\"", None),
            (". \"$LAMBDA_TASK_ROOT/$name\"", None),
            (". <(a)", None),
        ] {
            assert_eq!(resolved(text).as_deref(), path, "{text}");
        }
    }

    #[test]
    fn what_stands_behind_exit_is_left_out() {
        assert_eq!(without_tail("a\nexit 0\n)(\n"), "a\nexit 0\n");
        assert_eq!(without_tail("a\n  exit\nb"), "a\n  exit\nb");
    }
}
