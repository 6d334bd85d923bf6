//! Suggests a handler's name in place of one that means nothing.
//!
//! The runtime appends the suggestion to its init error, and `coshell check` shows it below the finding. Files are
//! listed only after the init has failed, so a healthy start pays nothing for it.

use std::fmt;
use std::path::Path;

use crate::files::files_below;
use crate::name::{as_relative, is_function_name, split_function};
use crate::words;

/// What to do about a handler's name that means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suggestion {
    /// The name of another handler.
    Handler(String),
    /// `stem` is a script's name without `.sh`: add that, or a function.
    ScriptOrFunction { stem: String },
    /// `file` defines functions, which only have names if it ends in `.sh`.
    Rename { file: String, function: String },
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(name) => write!(f, "did you mean {name}?"),
            Self::ScriptOrFunction { stem } => write!(
                f,
                "did you mean {stem}.sh, or a function of it, {stem}.FUNCTION?"
            ),
            Self::Rename { file, function } => write!(
                f,
                "a file of functions must end in .sh: mv {file} {file}.sh, and name the handler {file}.{function}"
            ),
        }
    }
}

impl Suggestion {
    /// A suggestion for `name`, from what lies in `task_root`. `function` is the function that `name` names, if it
    /// names one.
    pub(crate) fn for_name(name: &str, function: Option<&str>, task_root: &Path) -> Option<Self> {
        // A whole script: `reprot.sh`.
        let function = function.filter(|function| *function != "sh");
        let exists = |file: &str| is_file(file, task_root);
        for root in ["/var/task/", "var/task/"] {
            if let Some(rest) = name.strip_prefix(root)
                && names_file(rest, task_root)
            {
                return Some(Self::Handler(rest.to_owned()));
            }
        }
        // Other runtimes, and people, separate the function by other characters.
        for separator in ["::", ":", "#", "/", " "] {
            if let Some((file, function)) = name.rsplit_once(separator) {
                let file = file.trim_end_matches(".sh");
                if exists(&format!("{file}.sh")) && is_function_name(function) {
                    return Some(Self::Handler(format!("{file}.{function}")));
                }
            }
        }
        if exists(&format!("{name}.sh")) {
            let stem = name.to_owned();
            return Some(Self::ScriptOrFunction { stem });
        }
        if let Some(function) = function
            && let Some(file) = name.strip_suffix(function)
            && let Some(file) = file.strip_suffix('.')
            && exists(file)
            && Path::new(file)
                .extension()
                .is_none_or(|kind| kind == "bash")
        {
            return Some(Self::Rename {
                file: file.to_owned(),
                function: function.to_owned(),
            });
        }
        similar_name(name, function, task_root).map(Self::Handler)
    }

    /// A suggestion for the handler `name`, whose `file` defines only other functions than `function`.
    pub(crate) fn for_function(
        name: &str,
        function: &str,
        file: &Path,
        functions: &[String],
    ) -> Option<Self> {
        let similar = nearest(function, functions.iter().map(String::as_str));
        let similar = similar.or(match functions {
            [only] => Some(only.as_str()),
            _ => None,
        });
        if let Some(similar) = similar {
            let stem = name.strip_suffix(function).unwrap_or_default();
            return Some(Self::Handler(format!("{stem}{similar}")));
        }
        // A whole script: `jobs/report.hs`.
        let last = name.rsplit('/').next()?;
        let folder = name.strip_suffix(last)?;
        let file = file.file_name()?.to_string_lossy();
        nearest(last, [&*file]).map(|file| Self::Handler(format!("{folder}{file}")))
    }
}

fn is_file(name: &str, task_root: &Path) -> bool {
    task_root.join(as_relative(name.as_ref())).is_file()
}

/// Whether `name` is a file, a file and its arguments, or a function in a file.
fn names_file(name: &str, task_root: &Path) -> bool {
    let words = words::split(name.as_bytes()).unwrap_or_default();
    let first = words.first().map(|first| first.to_string_lossy());
    is_file(name, task_root)
        || first.is_some_and(|first| !first.is_empty() && is_file(&first, task_root))
        || split_function(name).is_some_and(|(file, _)| is_file(&format!("{file}.sh"), task_root))
}

/// The name of a handler in `task_root` that is spelled almost like `name`.
fn similar_name(name: &str, function: Option<&str>, task_root: &Path) -> Option<String> {
    let files = files_below(task_root);
    let files: Vec<_> = files
        .iter()
        .map(|file| {
            file.strip_prefix(task_root)
                .unwrap_or(file)
                .to_string_lossy()
        })
        .collect();
    let files = || files.iter().map(|file| &**file);
    let stems = || files().filter_map(|file| file.strip_suffix(".sh"));
    let Some(function) = function else {
        return nearest(name, files().chain(stems())).map(ToOwned::to_owned);
    };
    let stem = name.strip_suffix(function).unwrap_or_default();
    let stem = stem.strip_suffix('.').unwrap_or_default();
    let stem = stem.trim_end_matches(".sh").trim_start_matches('/');
    let has_same_name = |one: &&str| one.rsplit('/').next() == stem.rsplit('/').next();
    let stem = nearest(stem, stems()).or_else(|| stems().find(has_same_name));
    let stem = stem.map(|stem| format!("{stem}.{function}"));
    stem.or_else(|| nearest(name, files()).map(ToOwned::to_owned))
}

/// The one of `names` that is spelled almost like `name`: a third of the letters may differ, and at most 3.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let found = names
        .into_iter()
        .map(|one| (strsim::osa_distance(&wanted, &one.to_lowercase()), one));
    let allowed = (wanted.chars().count() / 3).clamp(1, 3);
    let found =
        found.filter(|(distance, one)| *distance <= allowed && *distance < one.chars().count());
    found
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_differs_in_a_few_letters_or_there_is_none() {
        let names = ["handler", "greet", "clean_up", "x", "ü"];
        let find = |name: &str| nearest(name, names);
        assert_eq!(find("hander"), Some("handler"));
        assert_eq!(find("hanlder"), Some("handler"));
        assert_eq!(find("Handler"), Some("handler"));
        assert_eq!(find("cleanup"), Some("clean_up"));
        assert_eq!(find("great"), Some("greet"));
        assert_eq!([find("zzz"), find(""), find("y"), find("gr")], [None; 4]);
    }
}
