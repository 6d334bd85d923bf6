//! What can be found wrong with a handler before it is deployed.
//!
//! Nothing of the handler's is run. What the runtime would say at init is asked of the runtime's own
//! code, and told in its words; the rest is what shows on Lambda alone: another user, another
//! image, events of megabytes.

pub mod commands;
mod environment;
mod handler;
pub mod images;
mod permissions;
pub mod reader;
mod script;
mod shellcheck;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::handler::{Handler, Kind};
use images::Image;
use reader::Reading;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It fails on Lambda.
    Error,
    /// It is likely to fail, or cannot be told.
    Warning,
    /// Worth knowing.
    Note,
}

/// Something that was found.
#[derive(Debug)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// Which check found it: `handler`, `syntax`, ..., or a code of shellcheck's.
    pub check: String,
    /// The errorType that the runtime would have for it.
    pub error_type: Option<&'static str>,
    /// Where.
    pub file: Option<PathBuf>,
    /// Where in the file.
    pub line: Option<u32>,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub suggestion: Option<String>,
}

/// What is to be checked.
#[derive(Debug)]
pub struct Subject {
    /// The handler's name.
    pub handler: OsString,
    /// Where the code lies.
    pub task_root: PathBuf,
    /// Where it is to run.
    pub image: Image,
    /// Commands that are there besides those of the image.
    pub with: Vec<String>,
    /// Which bash knows the syntax.
    pub bash: PathBuf,
}

/// All that was found.
#[derive(Debug, Default)]
pub struct Report {
    /// What the name means, if it means something.
    pub handler: Option<Handler>,
    /// The gravest first, by place.
    pub findings: Vec<Finding>,
    /// Whether shellcheck looked at it too.
    pub has_shellcheck: bool,
}

/// A script: the handler's file, or one that it sources.
#[derive(Debug)]
pub struct Source {
    /// Where it lies.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
    /// What it says.
    pub reading: Reading,
}

impl Finding {
    fn new(severity: Severity, check: &str, message: impl Into<String>) -> Self {
        Self {
            severity,
            check: check.to_owned(),
            error_type: None,
            file: None,
            line: None,
            message: message.into(),
            suggestion: None,
        }
    }

    fn error(check: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, check, message)
    }

    fn warning(check: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, check, message)
    }

    fn at(mut self, file: &Path, line: impl Into<Option<u32>>) -> Self {
        self.file = Some(file.to_owned());
        self.line = line.into().filter(|line| *line > 0);
        self
    }

    fn of_type(mut self, error_type: &'static str) -> Self {
        self.error_type = Some(error_type);
        self
    }

    fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// What the runtime says of a handler that it cannot load.
    fn of_runtime(check: &str, error: &Error) -> Self {
        let failure = error.to_failure();
        let mut finding = Self::error(check, failure.message).of_type(failure.error_type);
        if let Some(frame) = failure.stack.first() {
            finding = finding.at(Path::new(&frame.file), frame.line);
        }
        finding
    }
}

impl Report {
    /// How many findings are as grave.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let alike = |finding: &&Finding| finding.severity == severity;
        self.findings.iter().filter(alike).count()
    }

    /// Names what lies in `task_root` as it does in a package, for a task root that is a copy which
    /// nobody knows. Places keep their paths: whoever shows them makes them short.
    pub fn name_as_in_package(&mut self, task_root: &Path) {
        let root = task_root.to_string_lossy();
        let rename = |text: &mut String| {
            *text = text.replace(&format!("{root}/"), "");
            *text = text.replace(&*root, "the package");
        };
        for finding in &mut self.findings {
            rename(&mut finding.message);
            finding.suggestion.iter_mut().for_each(rename);
        }
    }

    fn add(&mut self, found: impl IntoIterator<Item = Finding>) {
        self.findings.extend(found);
    }
}

/// Looks at a handler. Blocks for bash and shellcheck, which read its files; runs nothing of it.
///
/// # Errors
/// [`Error::StartShell`] without a bash.
pub fn check(subject: &Subject) -> Result<Report, Error> {
    script::ask_version(&subject.bash)?;
    let mut report = Report::default();
    let (handler, found) = handler::find(subject);
    report.add(found);
    let Some(handler) = handler else {
        return Ok(report);
    };
    report.add(permissions::check(subject, &handler));
    if handler.kind == Kind::Program {
        report.add(commands::check_interpreter(subject, &handler));
    } else {
        check_script(subject, &handler, &mut report);
    }
    report.handler = Some(handler);
    report
        .findings
        .sort_by(|one, other| order(one).cmp(&order(other)));
    Ok(report)
}

fn order(finding: &Finding) -> (Severity, Option<&Path>, Option<u32>) {
    (finding.severity, finding.file.as_deref(), finding.line)
}

fn check_script(subject: &Subject, handler: &Handler, report: &mut Report) {
    let (sources, found) = script::read_all(subject, handler);
    report.add(found);
    let is_readable = report.findings.iter().all(|one| one.check != "syntax");
    if is_readable && let Kind::Function(function) = &handler.kind {
        report.add(script::check_function(handler, function, &sources));
    }
    report.add(commands::check(subject, handler, &sources));
    report.add(environment::check(subject, handler, &sources));
    // It would say what bash has said, at greater length.
    if is_readable && let Some(found) = shellcheck::check(handler, &sources) {
        report.has_shellcheck = true;
        report.add(found);
    }
}

/// A file's path as it is under the task root, for texts.
#[must_use]
pub fn shown<'a>(path: &'a Path, task_root: &Path) -> &'a Path {
    path.strip_prefix(task_root).unwrap_or(path)
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file())
}
