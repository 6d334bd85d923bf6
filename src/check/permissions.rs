//! Whether another user may read and run what the handler needs: on Lambda it is one of few rights.
//!
//! Told by the modes, and not by trying: whoever checks may read everything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::finding::{Finding, Subject};
use coshell_handler::{Handler, Kind};

const OTHERS_READ: u32 = 0o004;
const OTHERS_RUN: u32 = 0o001;

/// The handler's file, and the folders on the way to it.
pub(crate) fn check(subject: &Subject, handler: &Handler) -> Vec<Finding> {
    let is_program = handler.kind == Kind::Program;
    let mut found = check_file(subject, &handler.file, is_program);
    if is_program && !starts_with_interpreter(&handler.file) {
        // A program need not be readable to be run.
        found.retain(|one| one.error_type != Some("Runtime.HandlerFileUnreadable"));
    }
    found
}

/// A file below the task root that another user has to read, or to run.
pub(crate) fn check_file(subject: &Subject, file: &Path, is_run: bool) -> Vec<Finding> {
    let task_root = &subject.task_root;
    let mut found = Vec::new();
    let name = subject.relative_path(file).display();
    if let (Ok(real), Ok(root)) = (fs::canonicalize(file), fs::canonicalize(task_root))
        && !real.starts_with(&root)
    {
        let message = format!("{name} leads out of the task root, to {}", real.display());
        found.push(
            Finding::warning("permissions", message)
                .at(file, None)
                .suggest("package the file itself, and not a link to it"),
        );
    }
    for folder in folders_between(task_root, file) {
        if lacks(&folder, OTHERS_RUN) {
            let folder_name = subject.relative_path(&folder).display();
            let message = format!(
                "{folder_name} can be entered by its owner alone: on Lambda {name} is read by another user"
            );
            found.push(
                Finding::error("permissions", message)
                    .of_type("Runtime.HandlerFileUnreadable")
                    .at(&folder, None)
                    .suggest(format!("chmod a+rx {folder_name}")),
            );
        }
    }
    if lacks(file, OTHERS_READ) {
        let message = format!("{name} cannot be read by any user: on Lambda another one reads it");
        found.push(
            Finding::error("permissions", message)
                .of_type("Runtime.HandlerFileUnreadable")
                .at(file, None)
                .suggest(format!("chmod a+r {name}")),
        );
    }
    if is_run && lacks(file, OTHERS_RUN) {
        let message = format!("{name} cannot be run by any user: on Lambda another one runs it");
        found.push(
            Finding::error("permissions", message)
                .of_type("Runtime.HandlerFileNotExecutable")
                .at(file, None)
                .suggest(format!("chmod a+rx {name}")),
        );
    }
    found
}

fn starts_with_interpreter(file: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 2];
    let read = fs::File::open(file).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"#!"
}

/// Whether the file is there, and others lack this right.
fn lacks(path: &Path, right: u32) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & right == 0)
}

/// The outermost first; neither the task root, whose own mode is not deployed, nor the file.
fn folders_between(task_root: &Path, file: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = file
        .ancestors()
        .skip(1)
        .take_while(|folder| folder.starts_with(task_root) && *folder != task_root)
        .map(Path::to_owned)
        .collect();
    folders.reverse();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_on_the_way_are_those_below_the_task_root() {
        let between = |file: &str| folders_between(Path::new("/t"), Path::new(file));
        assert_eq!(
            between("/t/a/b/c.sh"),
            [PathBuf::from("/t/a"), PathBuf::from("/t/a/b")]
        );
        assert!(between("/t/c.sh").is_empty() && between("/other/c.sh").is_empty());
    }
}
