//! The programs that lie in a package or a layer: whether Linux could start them on Lambda.
//!
//! The handler's own file and what it sources is looked at elsewhere. These may be called by names that nobody can see.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::commands;
use crate::finding::{Finding, Subject};
use coshell_handler::encoding::BadEncoding;
use coshell_handler::files_below;

/// The first line of a script, as far as Linux reads it, is shorter (`execve(2)`).
const START_BYTES: u64 = 4096;

/// Looks at every file below the task root but those of `known`.
pub(crate) fn check(subject: &Subject, known: &[&Path]) -> Vec<Finding> {
    let root = &subject.task_root;
    let expected = start_of(&root.join("bootstrap"))
        .as_deref()
        .and_then(machine_of);
    let mut found = Vec::new();
    for file in files_below(root) {
        if file.is_symlink() || known.contains(&file.as_path()) {
            continue;
        }
        let Some(start) = start_of(&file) else {
            continue;
        };
        let name = subject.relative_path(&file).display().to_string();
        let mode = fs::metadata(&file).map_or(0, |found| found.permissions().mode());
        let is_in_bin = file
            .parent()
            .and_then(Path::file_name)
            .is_some_and(|folder| folder == "bin");
        let is_executable = mode & 0o111 != 0;
        let is_program =
            start.starts_with(b"#!") || machine_of(&start).is_some() && !name.contains(".so");
        let is_meant = is_in_bin || is_executable;
        if let Some(encoding) = BadEncoding::detect(&start)
            .filter(|_| is_meant || file.extension().is_some_and(|kind| kind == "sh"))
        {
            let message = format!("{name}: {}", encoding.cause());
            let finding = Finding::error("encoding", message).at(&file, 1);
            found.push(finding.suggest(encoding.remedy(Path::new(&name))));
            continue;
        }
        if is_program && is_in_bin && !is_executable {
            let message =
                format!("{name} is a program in a folder bin, and cannot be run by anybody");
            let finding = Finding::warning("permissions", message).at(&file, None);
            found.push(finding.suggest(format!("chmod a+rx {name}")));
        }
        if is_meant && let Some(line) = start.strip_prefix(b"#!") {
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
            if line.ends_with(b"\r") {
                let message = format!(
                    "the first line of {name} ends in CR LF: Linux looks for an interpreter with that in its name"
                );
                let finding = Finding::error("line-ends", message).at(&file, 1);
                found.push(finding.suggest(format!("sed -i 's/\\r$//' {name}")));
            } else {
                found.extend(commands::check_first_line(
                    subject,
                    &file,
                    &String::from_utf8_lossy(line),
                ));
            }
        }
        let here = std::env::consts::ARCH;
        if is_meant
            && let Some(machine) = machine_of(&start)
            && machine != expected.unwrap_or(here)
        {
            let message = match expected {
                Some(bootstrap) => {
                    format!("{name} is a program for {machine}, and bootstrap is for {bootstrap}")
                }
                None => format!("{name} is a program for {machine}, and this machine is {here}"),
            };
            found.push(
                Finding::warning("architecture", message)
                    .at(&file, None)
                    .suggest("take the program for the architecture of the function"),
            );
        }
    }
    found
}

fn start_of(file: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    File::open(file)
        .ok()?
        .take(START_BYTES)
        .read_to_end(&mut start)
        .ok()?;
    Some(start)
}

/// What an ELF file is for, of the two machines that Lambda has.
fn machine_of(start: &[u8]) -> Option<&'static str> {
    match (start.get(..4)?, start.get(18..20)?) {
        (b"\x7fELF", [62, 0]) => Some("x86_64"),
        (b"\x7fELF", [183, 0]) => Some("aarch64"),
        _ => None,
    }
}
