//! Exported variables that are too large: then no program starts any more.
//!
//! Linux allows 128 KiB for a variable, including its name, the `=` and the NUL at its end (`MAX_ARG_STRLEN`,
//! `execve(2)`). bash exports larger ones without a warning, and every program that it starts then fails with
//! `Argument list too long`.

use std::fs;

use crate::finding::{Finding, Source, Subject};
use crate::paths;
use crate::reader::{self, Assignment, Command, Word};
use coshell_handler::{Handler, Kind};

const MAX_BYTES: u64 = 128 * 1024;

/// Finds variables that are too large, and those that hold the whole event, which may be.
pub(crate) fn check(subject: &Subject, handler: &Handler, sources: &[Source]) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources {
        let names = exported_by_name(source);
        for assignment in &source.reading.assignments {
            let is_exported = assignment.is_exported || names.contains(&assignment.name.as_str());
            if is_exported {
                found.extend(check_size(subject, source, assignment));
            }
            let is_for_command = assignment.command.is_some();
            if (is_exported || is_for_command) && is_event(handler, source, assignment) {
                found.push(exported_event(source, assignment));
            }
        }
    }
    found
}

/// The variables that `export NAME` exports, without a value.
fn exported_by_name(source: &Source) -> Vec<&str> {
    let commands = source.reading.commands.iter();
    commands
        .filter(|command| command.name() == Some("export"))
        .flat_map(Command::arguments)
        .filter(|word| !word.text.starts_with('-'))
        .map(|word| word.text.as_str())
        .collect()
}

fn check_size(subject: &Subject, source: &Source, assignment: &Assignment) -> Option<Finding> {
    let (bytes, origin) = match file_in(&assignment.value) {
        None if assignment.value.is_literal => (
            u64::try_from(assignment.value.text.len()).ok()?,
            String::new(),
        ),
        None => return None,
        Some(word) => {
            let path = paths::resolve(subject, source, &word)?;
            let found = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
            let name = subject.relative_path(&path).display();
            (found.len(), format!(", the size of {name}"))
        }
    };
    let name = &assignment.name;
    let total = bytes + u64::try_from(name.len()).ok()? + 2;
    (total > MAX_BYTES).then(|| {
        let message = format!(
            "exports {name} with {bytes} bytes{origin}: Linux starts no program with a variable of more than {MAX_BYTES} bytes"
        );
        Finding::error("environment", message)
            .at(&source.path, assignment.line)
            .suggest(format!("do not export {name}; pass it to programs on standard input"))
    })
}

/// The file whose contents are the value: `$(<file)`, `$(cat file)`.
fn file_in(value: &Word) -> Option<Word> {
    let inner = value.text.strip_prefix("$(")?.strip_suffix(')')?.trim();
    let file = inner
        .strip_prefix('<')
        .or_else(|| inner.strip_prefix("cat "))?
        .trim();
    let reading = reader::read(&format!("cat {file}"));
    let command = reading.commands.first()?;
    match command.arguments() {
        [file] => Some(file.clone()),
        _ => None,
    }
}

/// Whether the value is the whole event.
fn is_event(handler: &Handler, source: &Source, assignment: &Assignment) -> bool {
    let Kind::Function(function) = &handler.kind else {
        // In a whole script `$1` outside of functions may be the event.
        return assignment.function.is_none() && is_argument(&assignment.value.text);
    };
    if source.path != handler.file || assignment.function.as_ref() != Some(function) {
        return false;
    }
    let value = assignment.value.text.as_str();
    let copies = source
        .reading
        .assignments
        .iter()
        .filter(|one| one.function.as_ref() == Some(function) && is_argument(&one.value.text));
    let mut names = copies.map(|one| one.name.as_str());
    is_argument(value)
        || names.any(|name| value == format!("${name}") || value == format!("${{{name}}}"))
}

fn is_argument(text: &str) -> bool {
    [
        "$1",
        "${1}",
        "$*",
        "$@",
        "$(cat)",
        "$(</dev/stdin)",
        "$(< /dev/stdin)",
        "${1-}",
        "${1:-}",
    ]
    .contains(&text)
}

fn exported_event(source: &Source, assignment: &Assignment) -> Finding {
    let name = &assignment.name;
    let message = format!(
        "exports the event as {name}: an event may have 6 MiB, and above 128 KiB no program starts any more"
    );
    Finding::warning("environment", message)
        .at(&source.path, assignment.line)
        .suggest(format!(
            "do not export {name}; pass the event to programs on standard input"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_a_value_is_found() {
        let file = |text: &str| {
            let value = Word {
                text: text.to_owned(),
                is_literal: false,
            };
            file_in(&value).map(|word| word.text)
        };
        assert_eq!(file("$(<a.json)").as_deref(), Some("a.json"));
        assert_eq!(file("$(cat \"a b\")").as_deref(), Some("a b"));
        assert_eq!(file("$(cat a b)"), None);
        assert_eq!(file("$(jq . a)"), None);
    }
}
