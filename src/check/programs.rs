//! The programs in a package or a layer: whether Linux on Lambda can start them.
//!
//! A handler may call them by names that cannot be seen in its script. Other files check the handler itself and the
//! scripts that it sources.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::finding::{Finding, Subject};
use crate::{commands, script};
use coshell_handler::bash::shell_word;
use coshell_handler::encoding::BadEncoding;
use coshell_handler::{files_below, machine_of};

/// As many bytes of a file as show what it is.
const START_BYTES: u64 = 4096;

/// Checks every file below the task root that is not in `checked`.
pub(crate) fn check(subject: &Subject, checked: &[&Path]) -> Vec<Finding> {
    let bootstrap = start_of(&subject.task_root.join("bootstrap"));
    let expected = bootstrap.as_deref().and_then(machine_of);
    let mut found = Vec::new();
    for file in files_below(&subject.task_root) {
        if file.is_symlink() || checked.contains(&file.as_path()) {
            continue;
        }
        if let Some(program) = Program::read(subject, file) {
            program.check(subject, expected, &mut found);
        }
    }
    found
}

/// A file that may be a program.
struct Program {
    path: PathBuf,
    /// The path below the task root.
    name: String,
    /// The first bytes.
    start: Vec<u8>,
    is_in_bin: bool,
    is_executable: bool,
}

impl Program {
    fn read(subject: &Subject, path: PathBuf) -> Option<Self> {
        let mode = fs::metadata(&path).map_or(0, |found| found.permissions().mode());
        let folder = path.parent().and_then(Path::file_name);
        Some(Self {
            name: subject.relative_path(&path).display().to_string(),
            start: start_of(&path)?,
            is_in_bin: folder.is_some_and(|folder| folder == "bin"),
            is_executable: mode & 0o111 != 0,
            path,
        })
    }

    fn check(&self, subject: &Subject, expected: Option<&str>, found: &mut Vec<Finding>) {
        if let Some(finding) = self.check_encoding() {
            found.push(finding);
            return;
        }
        found.extend(self.check_mode());
        found.extend(self.check_line_ends(subject));
        if self.is_likely_run() {
            found.extend(self.check_first_line(subject));
            found.extend(self.check_machine(expected));
        }
    }

    /// Whether something probably executes the file.
    fn is_likely_run(&self) -> bool {
        self.is_in_bin || self.is_executable
    }

    fn has_script_name(&self) -> bool {
        let kind = self.path.extension();
        kind.is_some_and(|kind| kind == "sh" || kind == "bash")
    }

    /// The first line without `#!`.
    fn first_line(&self) -> Option<&[u8]> {
        self.start
            .strip_prefix(b"#!")?
            .split(|byte| *byte == b'\n')
            .next()
    }

    fn check_encoding(&self) -> Option<Finding> {
        let encoding = BadEncoding::detect(&self.start)?;
        if !self.is_likely_run() && !self.has_script_name() {
            return None;
        }
        let message = format!("{}: {}", self.name, encoding.cause());
        let finding = Finding::error("encoding", message).at(&self.path, 1);
        Some(finding.suggest(encoding.remedy(Path::new(&self.name))))
    }

    fn check_mode(&self) -> Option<Finding> {
        let is_library = self.name.contains(".so");
        let is_program =
            self.start.starts_with(b"#!") || machine_of(&self.start).is_some() && !is_library;
        if !is_program || !self.is_in_bin || self.is_executable {
            return None;
        }
        let name = &self.name;
        let message = format!("{name} is a program in a folder bin, but it is not executable");
        let finding = Finding::warning("permissions", message).at(&self.path, None);
        Some(finding.suggest(format!("chmod a+rx {}", shell_word(name))))
    }

    /// Finds scripts with lines that end in CR LF. For the first line of a program, `check_first_line` reports it.
    fn check_line_ends(&self, subject: &Subject) -> Option<Finding> {
        let first_line = self.first_line().filter(|_| self.is_likely_run());
        let is_script = first_line.is_some() || self.has_script_name();
        if !is_script || first_line.is_some_and(|line| line.ends_with(b"\r")) {
            return None;
        }
        let text = fs::read(&self.path).ok()?;
        script::check_line_ends(subject, &self.path, &String::from_utf8_lossy(&text))
    }

    fn check_first_line(&self, subject: &Subject) -> Option<Finding> {
        let line = self.first_line()?;
        if !line.ends_with(b"\r") {
            let line = String::from_utf8_lossy(line);
            return commands::check_first_line(subject, &self.path, &line);
        }
        let name = &self.name;
        let message = format!(
            "the first line of {name} ends in CR LF, and Linux reads the CR as part of the interpreter's name"
        );
        let finding = Finding::error("line-ends", message).at(&self.path, 1);
        Some(finding.suggest(format!("sed -i 's/\\r$//' {}", shell_word(name))))
    }

    /// Compares the program's processor with that of `bootstrap`, or else of this machine.
    fn check_machine(&self, expected: Option<&str>) -> Option<Finding> {
        let name = &self.name;
        let machine = machine_of(&self.start)?;
        let here = std::env::consts::ARCH;
        if machine == expected.unwrap_or(here) {
            return None;
        }
        let message = match expected {
            Some(bootstrap) => {
                format!("{name} is a program for {machine}, but bootstrap is for {bootstrap}")
            }
            None => format!("{name} is a program for {machine}, but this machine is {here}"),
        };
        let finding = Finding::warning("architecture", message).at(&self.path, None);
        Some(finding.suggest("package the program for the function's architecture"))
    }
}

fn start_of(file: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    let file = File::open(file).ok()?;
    file.take(START_BYTES).read_to_end(&mut start).ok()?;
    Some(start)
}
