//! The files below a task root.

use std::fs;
use std::path::{Path, PathBuf};

/// Limits of the search, so that a large tree costs a failing init little time.
const MAX_FILES: usize = 2000;
const MAX_DEPTH: usize = 4;

/// The files below `root` and the links to files, sorted. Skips hidden folders, and what exceeds the limits.
pub fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in entries {
            let path = entry.path();
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if path.is_file() {
                found.push(path);
            } else if is_folder && !is_hidden && depth < MAX_DEPTH {
                folders.push((path, depth + 1));
            }
            if found.len() >= MAX_FILES {
                found.sort();
                return found;
            }
        }
    }
    found.sort();
    found
}
