//! Finds the handler as the runtime does, and says why the runtime would not find it.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::finding::{Finding, Severity, Subject};
use crate::reader;
use coshell_handler::{Handler, Kind, Suggestion, machine_of, nearest, shape};

/// The handler, and what is wrong with its name or its file. There are both if the handler may be found on Lambda, but
/// not on this machine.
pub(crate) fn find(subject: &Subject) -> (Option<Handler>, Option<Finding>) {
    let name = subject.handler.to_string_lossy().into_owned();
    if let Some(path) = find_special_file(subject, &name) {
        let message = format!(
            "cannot load handler {name}: {}: it is not a regular file",
            path.display()
        );
        let finding = Finding::error("handler", message).at(&path, None);
        return (None, Some(finding));
    }
    let setting = Some(subject.handler.as_os_str()).filter(|name| !name.is_empty());
    let error = match Handler::find(setting, &subject.task_root) {
        Ok(handler) => return (Some(handler), None),
        Err(error) => error,
    };
    let mut finding = Finding::from_load_error("handler", &error);
    let path = subject.task_root.join(name.trim_start_matches('/'));
    if path.is_file() {
        finding = finding.at(&path, None);
    }
    finding.suggestion = match finding.error_type {
        Some("Runtime.MissingHandlerName") => Some("name it as Lambda's setting does".to_owned()),
        // The other messages say what to do.
        _ => error
            .suggestion
            .map(|suggestion| advice(subject, *suggestion)),
    };
    match finding.error_type {
        Some("Runtime.HandlerFileLineEnds") => "line-ends".clone_into(&mut finding.check),
        Some("Runtime.HandlerFileEncoding") => "encoding".clone_into(&mut finding.check),
        _ => {}
    }
    // Lambda's image may have the interpreter, and its machines may be of the other kind.
    let may_run_there = match finding.error_type {
        Some("Runtime.InterpreterNotFound") => true,
        Some("Runtime.HandlerFileNotExecutable") => is_for_other_machine(&path),
        _ => false,
    };
    if !may_run_there {
        return (None, Some(finding));
    }
    finding.severity = Severity::Warning;
    let handler = Handler {
        name,
        file: path,
        kind: Kind::Program,
        arguments: Vec::new(),
    };
    (Some(handler), Some(finding))
}

fn is_for_other_machine(program: &Path) -> bool {
    let text = fs::read(program).unwrap_or_default();
    machine_of(&text).is_some_and(|machine| machine != std::env::consts::ARCH)
}

/// A FIFO, a socket or a device in place of the handler's file: reading it could block for ever.
fn find_special_file(subject: &Subject, name: &str) -> Option<PathBuf> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let stem = stem.strip_suffix(".sh").unwrap_or(stem);
    [name.to_owned(), format!("{stem}.sh")]
        .into_iter()
        .map(|name| subject.task_root.join(name.trim_start_matches('/')))
        .find(|path| {
            fs::metadata(path).is_ok_and(|found| {
                let kind = found.file_type();
                kind.is_fifo() || kind.is_socket() || kind.is_char_device()
            })
        })
}

/// The runtime's suggestion, improved by the names of functions: the runtime does not read the file that it suggests.
fn advice(subject: &Subject, suggestion: Suggestion) -> String {
    match suggestion {
        Suggestion::Handler(name) => {
            let found = Handler::find(Some(name.as_ref()), &subject.task_root);
            let Ok(Handler {
                file,
                kind: Kind::Function(function),
                ..
            }) = found
            else {
                return name;
            };
            let functions = functions_of(&file);
            let stem = name.strip_suffix(&function).unwrap_or_default();
            match nearest(&function, functions.iter().map(String::as_str)) {
                Some(similar) if !functions.contains(&function) => format!("{stem}{similar}"),
                _ => name,
            }
        }
        Suggestion::ScriptOrFunction { stem } => {
            let file = format!("{stem}.sh");
            let functions = functions_of(&subject.task_root.join(file.trim_start_matches('/')));
            let function = shape::likely_handler(&functions);
            format!("{stem}.{function}, or {stem}.sh for the whole script")
        }
        Suggestion::Rename { .. } => suggestion.to_string(),
    }
}

fn functions_of(file: &Path) -> Vec<String> {
    let text = fs::read(file).unwrap_or_default();
    let reading = reader::read(&String::from_utf8_lossy(&text));
    reading
        .functions
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}
