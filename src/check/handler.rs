//! What the handler's name means, and what was likely meant if it means nothing.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::finding::{Finding, Severity, Subject};
use crate::reader;
use coshell_handler::{Handler, Kind};

/// So many files are looked at for one with a similar name.
const MAX_FILES: usize = 2000;
/// And so deep.
const MAX_DEPTH: usize = 4;

/// What the name means, as the runtime finds it, and why the runtime would not; both, if it may be
/// found on Lambda all the same.
pub(crate) fn find(subject: &Subject) -> (Option<Handler>, Option<Finding>) {
    let name = subject.handler.to_string_lossy().into_owned();
    if let Some(path) = special_file(subject, &name) {
        let message = format!(
            "cannot load handler {name}: {}: it is no regular file",
            path.display()
        );
        let finding = Finding::error("handler", message).at(&path, None);
        return (None, Some(finding));
    }
    let named = Some(subject.handler.as_os_str()).filter(|name| !name.is_empty());
    let error = match Handler::find(named, &subject.task_root) {
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
        Some("Runtime.MalformedHandlerName" | "Runtime.ImportModuleError") => {
            similar(subject, &name).or(finding.suggestion)
        }
        // Their messages say what to do.
        _ => finding.suggestion,
    };
    // This machine is not the one where it is to run.
    let is_of_this_machine = finding.error_type == Some("Runtime.InterpreterNotFound")
        || finding.message.contains("it is a program for");
    let handler = is_of_this_machine.then_some(Handler {
        name,
        file: path,
        kind: Kind::Program,
        arguments: Vec::new(),
    });
    if handler.is_some() {
        finding.severity = Severity::Warning;
    }
    match finding.error_type {
        Some("Runtime.HandlerFileLineEnds") => "line-ends".clone_into(&mut finding.check),
        Some("Runtime.HandlerFileEncoding") => "encoding".clone_into(&mut finding.check),
        _ => {}
    }
    (handler, Some(finding))
}

/// What the runtime would read for ever, or not at all: a FIFO, a device.
fn special_file(subject: &Subject, name: &str) -> Option<PathBuf> {
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

/// Names that mean something, and look like `name`.
fn similar(subject: &Subject, name: &str) -> Option<String> {
    let root = &subject.task_root;
    // The task root is not a part of it.
    for prefix in ["/var/task/", "var/task/"] {
        if let Some(rest) = name.strip_prefix(prefix)
            && is_handler(root, rest)
        {
            return Some(format!("leave out the task root: {rest}"));
        }
    }
    // Other runtimes, and people, separate the function in other ways.
    for separator in ["::", ":", "#", "/", " "] {
        if let Some((file, function)) = name.rsplit_once(separator) {
            let dotted = format!("{}.{function}", file.trim_end_matches(".sh"));
            if is_handler(root, &dotted) {
                return Some(format!("a dot separates the function: {dotted}"));
            }
        }
    }
    // The file alone, without its function.
    let alone = root.join(format!("{}.sh", name.trim_start_matches('/')));
    if alone.is_file() {
        let functions = functions_of(&alone);
        let script = subject.relative_path(&alone).display().to_string();
        return Some(match functions.as_slice() {
            [] => format!("for the whole script: {script}"),
            [first, ..] => format!("for a function of it: {name}.{first}; for all of it: {script}"),
        });
    }
    let (file, function) = name.rsplit_once('.').unwrap_or((name, ""));
    let file = file.trim_start_matches('/');
    let bare = root.join(file);
    if bare.is_file() && Path::new(file).extension().is_none_or(|kind| kind != "sh") {
        return Some(format!("the file has to end in .sh: mv {file} {file}.sh"));
    }
    let stem = file.trim_end_matches(".sh");
    let mut candidates: Vec<_> = files_below(root)
        .into_iter()
        .filter_map(|path| {
            let path = subject.relative_path(&path).to_str()?.to_owned();
            let bare = path.strip_suffix(".sh").unwrap_or(&path).to_owned();
            let likeness = strsim::jaro_winkler(&bare.to_lowercase(), &stem.to_lowercase());
            let same_name = bare.rsplit('/').next() == stem.rsplit('/').next();
            let likeness = if same_name { 0.99 } else { likeness };
            (likeness > 0.8).then_some((likeness, path, bare))
        })
        .collect();
    candidates.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    let (_, path, bare) = candidates.first()?;
    let functions = functions_of(&root.join(path));
    let function = if functions.iter().any(|one| one == function) || path == bare {
        function
    } else {
        nearest(function, &functions)
            .or(functions.first().map(String::as_str))
            .unwrap_or(function)
    };
    Some(if path == bare || function.is_empty() {
        format!("there is {path}")
    } else {
        format!("there is {path}: {bare}.{function}")
    })
}

/// The one of `names` that is most like `name`, if one is.
pub(crate) fn nearest<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let likeness = |one: &str| strsim::jaro_winkler(&one.to_lowercase(), &name.to_lowercase());
    names
        .iter()
        .map(|one| (likeness(one), one.as_str()))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, one)| one)
}

fn is_handler(task_root: &Path, name: &str) -> bool {
    !name.is_empty() && Handler::find(Some(name.as_ref()), task_root).is_ok()
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

/// Regular files, not all of a large tree.
pub(crate) fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            match entry.file_type() {
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                Ok(kind) if kind.is_dir() && depth < MAX_DEPTH && !is_hidden => {
                    folders.push((entry.path(), depth + 1));
                }
                _ => {}
            }
            if found.len() >= MAX_FILES {
                return found;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_like_it_or_there_is_none() {
        let names = ["handler", "greet", "cleanup"].map(str::to_owned);
        assert_eq!(nearest("hander", &names), Some("handler"));
        assert_eq!(nearest("Greet", &names), Some("greet"));
        assert_eq!(nearest("zzz", &names), None);
        assert_eq!(nearest("", &names), None);
    }
}
