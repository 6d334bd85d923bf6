//! Whether any user may read and run the handler's files: Lambda uses them as a user without rights of its own.
//!
//! The file modes decide, because the user who runs `check` may have more rights.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::finding::{Finding, Subject};
use coshell_handler::{Handler, Kind};

const OTHERS_READ: u32 = 0o004;
const OTHERS_RUN: u32 = 0o001;

/// Checks the handler's file, and the folders between it and the task root.
pub(crate) fn check(subject: &Subject, handler: &Handler) -> Vec<Finding> {
    let is_program = handler.kind == Kind::Program;
    let mut found = check_file(subject, &handler.file, is_program);
    if is_program && !starts_with_interpreter(&handler.file) {
        // Linux runs a program that cannot be read, if it is not a script.
        found.retain(|one| one.error_type != Some("Runtime.HandlerFileUnreadable"));
    }
    found
}

/// Checks that any user may read `file`, and run it if it `is_program`.
pub(crate) fn check_file(subject: &Subject, file: &Path, is_program: bool) -> Vec<Finding> {
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
                .suggest("package the file itself instead of a link to it"),
        );
    }
    for folder in folders_between(task_root, file) {
        if lacks(&folder, OTHERS_RUN) {
            let folder_name = subject.relative_path(&folder).display();
            let message = format!(
                "not every user can enter {folder_name}, and Lambda reads {name} as another user"
            );
            found.push(
                Finding::error("permissions", message)
                    .with_error_type("Runtime.HandlerFileUnreadable")
                    .at(&folder, None)
                    .suggest(format!("chmod a+rx {folder_name}")),
            );
        }
    }
    if lacks(file, OTHERS_READ) {
        let message =
            format!("not every user can read {name}, and Lambda reads it as another user");
        found.push(
            Finding::error("permissions", message)
                .with_error_type("Runtime.HandlerFileUnreadable")
                .at(file, None)
                .suggest(format!("chmod a+r {name}")),
        );
    }
    if is_program && lacks(file, OTHERS_RUN) {
        let message = format!("not every user can run {name}, and Lambda runs it as another user");
        found.push(
            Finding::error("permissions", message)
                .with_error_type("Runtime.HandlerFileNotExecutable")
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

/// Whether the file exists, and users other than its owner and group lack this right.
fn lacks(path: &Path, right: u32) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & right == 0)
}

/// The folders between the task root and the file, the outermost first. The mode of the task root itself is not deployed.
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
    fn folders_between_are_those_below_the_task_root() {
        let between = |file: &str| folders_between(Path::new("/t"), Path::new(file));
        assert_eq!(
            between("/t/a/b/c.sh"),
            [PathBuf::from("/t/a"), PathBuf::from("/t/a/b")]
        );
        assert!(between("/t/c.sh").is_empty() && between("/other/c.sh").is_empty());
    }
}
