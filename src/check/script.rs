//! Reads the handler's script and the scripts that it sources, and checks their syntax, line ends and encoding.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::finding::{FUNCTIONS_VARIABLE, Finding, Severity, Source, Subject};
use crate::reader::{self, Reading};
use crate::{paths, permissions};
use coshell_handler::bash::shell_word;
use coshell_handler::encoding::BadEncoding;
use coshell_handler::{Handler, Kind, check_syntax};

/// At most this many scripts are read.
const MAX_SOURCES: usize = 100;

/// The handler's script and all that it sources, and what is wrong with each.
pub(crate) fn read_all(subject: &Subject, handler: &Handler) -> (Vec<Source>, Vec<Finding>) {
    let mut sources: Vec<Source> = Vec::new();
    let mut found = Vec::new();
    let mut known = BTreeSet::from([handler.file.clone()]);
    let mut queue = vec![handler.clone()];
    while let Some(script) = queue.pop() {
        let Ok(bytes) = fs::read(&script.file) else {
            continue;
        };
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        found.extend(check_line_ends(subject, &script.file, &text));
        found.extend(check_encoding(subject, &script.file, &bytes));
        if let Some(error) = check_syntax(&subject.bash, &script) {
            found.push(Finding::from_load_error("syntax", &error).or_at(&script.file));
        } else if matches!(script.kind, Kind::Script(_)) {
            text = until_exit(&text);
        }
        let reading = reader::read(&text);
        let source = Source {
            path: script.file,
            text,
            reading,
        };
        if sources.len() < MAX_SOURCES {
            let (paths, missing) = sourced_by(subject, &source);
            found.extend(missing);
            for path in paths {
                if known.insert(path.clone()) {
                    found.extend(permissions::check_file(subject, &path, false));
                    queue.push(Handler {
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

/// The script up to the first `exit` at the start of a line: what follows need not be bash.
fn until_exit(text: &str) -> String {
    let mut script = String::new();
    for line in text.split_inclusive('\n') {
        script.push_str(line);
        if line.trim_end() == "exit" || line.starts_with("exit ") {
            break;
        }
    }
    script
}

fn check_encoding(subject: &Subject, file: &Path, text: &[u8]) -> Option<Finding> {
    let encoding = BadEncoding::detect(text)?;
    let name = subject.relative_path(file);
    let message = format!("{}: {}", name.display(), encoding.cause());
    let finding = Finding::error("encoding", message).at(file, 1);
    Some(finding.suggest(encoding.remedy(name)))
}

/// Finds lines that end in CR LF. If all lines of the handler's own file do, the runtime's error comes first, and the
/// script is not read.
pub(crate) fn check_line_ends(subject: &Subject, file: &Path, text: &str) -> Option<Finding> {
    let is_crlf = |line: &&str| line.ends_with("\r\n");
    let lines = || text.split_inclusive('\n');
    let (_, first) = lines().zip(1..).find(|(line, _)| is_crlf(line))?;
    let (count, all) = (lines().filter(is_crlf).count(), lines().count());
    let name = subject.relative_path(file).display();
    let (severity, message) = if count == all {
        let message = format!(
            "the lines of {name} end in CR LF, and bash reads the CR as part of each command"
        );
        (Severity::Error, message)
    } else {
        let message = format!(
            "{count} of {all} lines of {name} end in CR LF, and bash reads the CR as part of the command"
        );
        (Severity::Warning, message)
    };
    Some(
        Finding::new(severity, "line-ends", message)
            .at(file, first)
            .suggest(format!(
                "sed -i 's/\\r$//' {}",
                shell_word(&name.to_string())
            )),
    )
}

/// The files that a script sources, and a finding for each that is missing.
fn sourced_by(subject: &Subject, source: &Source) -> (Vec<PathBuf>, Vec<Finding>) {
    let mut paths = Vec::new();
    let mut found = Vec::new();
    for command in &source.reading.commands {
        let (Some("." | "source"), Some(word)) = (command.name(), command.arguments().first())
        else {
            continue;
        };
        let Some(path) = paths::resolve(subject, source, word) else {
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
                    .suggest("package it, or check for it first: [[ -r file ]] && . file"),
            );
        }
    }
    (paths, found)
}

/// Whether the script tests for the file before it sources it.
fn is_tested(reading: &Reading, file: &str) -> bool {
    let is_test =
        |name: Option<&str>| name.is_some_and(|name| name == "test" || name.starts_with('['));
    reading
        .commands
        .iter()
        .filter(|command| is_test(command.name()))
        .any(|command| command.words.iter().any(|word| word.text.contains(file)))
}

/// The parts of a script that nobody can see without running it, a text for each.
pub(crate) fn list_unseen(subject: &Subject, source: &Source) -> Vec<String> {
    let name = subject.relative_path(&source.path).display();
    let mut texts = Vec::new();
    for command in &source.reading.commands {
        let line = command.line;
        match (command.name(), command.arguments().first()) {
            (Some("." | "source"), Some(word))
                if paths::resolve(subject, source, word).is_none()
                    && !word.text.contains(FUNCTIONS_VARIABLE) =>
            {
                let text = format!("{name}:{line}: the file that is sourced as {}", word.text);
                texts.push(text);
            }
            (Some("eval"), Some(word)) if !word.is_literal => {
                texts.push(format!("{name}:{line}: what eval runs"));
            }
            _ => {}
        }
    }
    if source.reading.has_gaps {
        texts.push(format!(
            "{name}: a part that the grammar of coshell check does not understand"
        ));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_exit_is_left_out() {
        assert_eq!(until_exit("a\nexit 0\n)(\n"), "a\nexit 0\n");
        assert_eq!(until_exit("a\n  exit\nb"), "a\n  exit\nb");
    }
}
