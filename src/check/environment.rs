//! Exported values that are too large: every program that is started with one fails.
//!
//! Linux allows 128 KiB for each variable, name and `=` and the NUL at its end included
//! (`MAX_ARG_STRLEN`, `execve(2)`). bash exports more without a word, and then each program that
//! it starts fails with `Argument list too long`.

use std::fs;

use crate::finding::{Finding, Source, Subject};
use crate::reader::{self, Assignment, Command, Word};
use crate::script;
use coshell_handler::{Handler, Kind};

const MAX_BYTES: u64 = 128 * 1024;

/// What the scripts export.
pub(crate) fn check(subject: &Subject, handler: &Handler, sources: &[Source]) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources {
        let names = exported_later(source);
        for assignment in &source.reading.assignments {
            let is_exported = assignment.is_exported || names.contains(&assignment.name.as_str());
            if is_exported {
                found.extend(check_size(subject, source, assignment));
            }
            let is_passed = assignment.command.is_some();
            if (is_exported || is_passed) && is_event(handler, source, assignment) {
                found.push(of_event(source, assignment));
            }
        }
    }
    found
}

/// Names that are exported without a value: `export NAME`.
fn exported_later(source: &Source) -> Vec<&str> {
    let commands = source.reading.commands.iter();
    commands
        .filter(|command| command.name() == Some("export"))
        .flat_map(Command::arguments)
        .filter(|word| !word.text.starts_with('-'))
        .map(|word| word.text.as_str())
        .collect()
}

fn check_size(subject: &Subject, source: &Source, assignment: &Assignment) -> Option<Finding> {
    let (bytes, of) = match file_in(&assignment.value) {
        None if assignment.value.is_literal => (
            u64::try_from(assignment.value.text.len()).ok()?,
            String::new(),
        ),
        None => return None,
        Some(word) => {
            let path = script::resolve(subject, source, &word)?;
            let found = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
            let name = subject.relative_path(&path).display();
            (found.len(), format!(", the size of {name}"))
        }
    };
    let name = &assignment.name;
    let whole = bytes + u64::try_from(name.len()).ok()? + 2;
    (whole > MAX_BYTES).then(|| {
        let message = format!(
            "exports {name} with {bytes} bytes{of}: no program starts with a variable of more than {MAX_BYTES}"
        );
        Finding::error("environment", message)
            .at(&source.path, assignment.line)
            .suggest(format!("leave {name} unexported; give it to programs on standard input"))
    })
}

/// The file whose contents a value is: `$(<file)`, `$(cat file)`.
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

/// Whether a value is the whole event.
fn is_event(handler: &Handler, source: &Source, assignment: &Assignment) -> bool {
    let Kind::Function(function) = &handler.kind else {
        // A whole script has it as its argument, too.
        return assignment.function.is_none() && is_argument(&assignment.value.text);
    };
    if source.path != handler.file || assignment.function.as_ref() != Some(function) {
        return false;
    }
    let value = assignment.value.text.as_str();
    let alike = source
        .reading
        .assignments
        .iter()
        .filter(|one| one.function.as_ref() == Some(function) && is_argument(&one.value.text));
    let mut names = alike.map(|one| one.name.as_str());
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

fn of_event(source: &Source, assignment: &Assignment) -> Finding {
    let name = &assignment.name;
    let message = format!(
        "exports the event as {name}: with an event of more than 128 KiB, of 6 MiB that are allowed, no program starts any more"
    );
    Finding::warning("environment", message)
        .at(&source.path, assignment.line)
        .suggest(format!(
            "leave {name} unexported; give the event to programs on standard input"
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
