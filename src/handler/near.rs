//! What a name that means nothing was likely meant to be: "did you mean".
//!
//! Looked for only when the init has failed already.

use std::fs;
use std::path::Path;

/// So many files are looked at, and so deep.
const MAX_FILES: usize = 1000;
const MAX_DEPTH: usize = 3;

/// The one of `names` that differs from `name` in a few letters at most.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let found = names
        .into_iter()
        .map(|one| (strsim::osa_distance(&wanted, &one.to_lowercase()), one));
    let allowed = (wanted.chars().count() / 3).clamp(1, 3);
    let found = found.filter(|(distance, one)| *distance <= allowed && *distance < one.len());
    found
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, one)| one)
}

/// The handler that `name` was likely meant to be, of what lies in `task_root`; `function` is what it has for a
/// function.
pub fn meant(name: &str, function: Option<&str>, task_root: &Path) -> Option<String> {
    let is_there = |file: &str| task_root.join(file).is_file();
    for root in ["/var/task/", "var/task/"] {
        if let Some(rest) = name.strip_prefix(root)
            && (is_there(rest) || super::Handler::find(Some(rest.as_ref()), task_root).is_ok())
        {
            return Some(rest.to_owned());
        }
    }
    // Other runtimes, and people, separate the function in other ways.
    for separator in ["::", ":", "#", "/", " "] {
        if let Some((file, function)) = name.rsplit_once(separator) {
            let file = file.trim_end_matches(".sh");
            if is_there(&format!("{file}.sh")) && super::is_function_name(function) {
                return Some(format!("{file}.{function}"));
            }
        }
    }
    if is_there(&format!("{name}.sh")) {
        return Some(format!("{name}.sh, or a function of it, {name}.FUNCTION"));
    }
    let files = files_below(task_root);
    let all = || files.iter().map(String::as_str);
    let stems = || all().filter_map(|file| file.strip_suffix(".sh"));
    match function {
        // A whole script: `reprot.sh`.
        None | Some("sh") => nearest(name, all().chain(stems())).map(ToOwned::to_owned),
        Some(function) => {
            let end = function.len() + 1;
            let stem = name
                .get(..name.len().saturating_sub(end))
                .unwrap_or_default();
            let stem = stem.trim_end_matches(".sh").trim_start_matches('/');
            // The same name in another folder, or almost the same name.
            let alike = |one: &&str| one.rsplit('/').next() == stem.rsplit('/').next();
            let stem = nearest(stem, stems()).or_else(|| stems().find(alike));
            let stem = stem.map(|stem| format!("{stem}.{function}"));
            stem.or_else(|| nearest(name, all()).map(ToOwned::to_owned))
        }
    }
}

/// The whole script `file`, if `name` has no more than its end wrong.
pub fn meant_script(name: &str, file: &Path) -> Option<String> {
    let (folder, last) = match name.rsplit_once('/') {
        Some((folder, last)) => (format!("{folder}/"), last),
        None => (String::new(), name),
    };
    let file = file.file_name()?.to_string_lossy();
    nearest(last, [&*file]).map(|file| format!("{folder}{file}"))
}

/// The names of regular files, not all of a large tree.
fn files_below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in entries {
            let path = entry.path();
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            if path.is_file() {
                let name = path.strip_prefix(root).unwrap_or(&path);
                found.push(name.to_string_lossy().into_owned());
            } else if depth < MAX_DEPTH
                && !is_hidden
                && entry.file_type().is_ok_and(|kind| kind.is_dir())
            {
                folders.push((path, depth + 1));
            }
            if found.len() >= MAX_FILES {
                return found;
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_differs_in_a_few_letters_or_there_is_none() {
        let names = ["handler", "greet", "clean_up", "x"];
        let of = |name: &str| nearest(name, names);
        assert_eq!(of("hander"), Some("handler"));
        assert_eq!(of("hanlder"), Some("handler"));
        assert_eq!(of("Handler"), Some("handler"));
        assert_eq!(of("cleanup"), Some("clean_up"));
        assert_eq!(of("great"), Some("greet"));
        assert_eq!([of("zzz"), of(""), of("y"), of("gr")], [None; 4]);
    }

    #[test]
    fn distance_counts_the_letters_that_differ() {
        let of = strsim::osa_distance;
        assert_eq!(
            [
                of("", ""),
                of("", "ab"),
                of("ab", "ba"),
                of("kitten", "sitting")
            ],
            [0, 2, 1, 3]
        );
    }
}
