//! What can be found wrong with a handler before it is deployed.
//!
//! Nothing of the handler's is run. What the runtime would say at init is asked of the runtime's own
//! code, and told in its words; the rest is what shows on Lambda alone: another user, another
//! image, events of megabytes.

pub mod commands;
mod environment;
mod habits;
mod handler;
pub mod images;
mod permissions;
mod programs;
pub mod reader;
mod script;
mod shellcheck;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use coshell_handler::no_commands;
use coshell_handler::{DID_YOU_MEAN, Delivery, Handler, Kind, LoadError, shape};
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
    /// How the handler gets its event, if `COSHELL_EVENT` says so.
    pub delivery: Option<Delivery>,
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
    /// What could not be looked at, a text each.
    pub unseen: Vec<String>,
}

/// A script: the handler's file, or one that it sources.
#[derive(Debug)]
pub(crate) struct Source {
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
    fn of_runtime(check: &str, error: &LoadError) -> Self {
        let failure = error.0.clone();
        let mut message = failure.message;
        let mut meant = None;
        // What to do has a line of its own here.
        if let Some((cause, end)) = message.split_once(DID_YOU_MEAN) {
            meant = Some(format!("did you mean {end}"));
            message.truncate(cause.len());
        }
        let mut finding = Self::error(check, message).of_type(failure.error_type);
        finding.suggestion = meant;
        if let Some(frame) = failure.stack.first() {
            finding = finding.at(Path::new(&frame.file), frame.line);
        }
        finding
    }
}

/// There is no bash to ask.
#[derive(Debug)]
pub struct NoBash {
    /// Which was to be asked.
    bash: PathBuf,
    /// The system's words, or ours.
    cause: String,
}

impl fmt::Display for NoBash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot start shell {}: {}",
            self.bash.display(),
            self.cause
        )
    }
}

impl std::error::Error for NoBash {}

impl Report {
    /// How many findings are as grave.
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
/// [`NoBash`] if there is none to ask.
pub fn check(subject: &Subject) -> Result<Report, NoBash> {
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
        report.add(programs::check(subject, &[&handler.file]));
    } else {
        check_script(subject, &handler, &mut report);
    }
    report.handler = Some(handler);
    sort(&mut report);
    Ok(report)
}

/// Looks at the programs of a layer, which has no handler.
pub fn check_layer(subject: &Subject) -> Report {
    let mut report = Report::default();
    report.add(programs::check(subject, &[]));
    sort(&mut report);
    report
}

fn sort(report: &mut Report) {
    report
        .findings
        .sort_by(|one, other| order(one).cmp(&order(other)));
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
    if is_readable {
        report.add(check_shape(subject, handler, &sources));
    }
    report.add(commands::check(subject, handler, &sources));
    report.add(environment::check(subject, handler, &sources));
    let known: Vec<_> = sources.iter().map(|source| source.path.as_path()).collect();
    for finding in programs::check(subject, &known) {
        // Of those that are called by their paths it is known already.
        let is_same = |other: &Finding| other.check == finding.check && other.file == finding.file;
        if !report.findings.iter().any(is_same) {
            report.findings.push(finding);
        }
    }
    report.unseen = sources
        .iter()
        .flat_map(|source| unseen(subject, source))
        .collect();
    // It would say what bash has said, at greater length.
    if is_readable && let Some(found) = shellcheck::check(handler, &sources) {
        report.has_shellcheck = true;
        report.add(found);
    }
    for source in &sources {
        let mut found = habits::check(subject, handler, source);
        // shellcheck has reported it, at the same place.
        let reported = &report.findings;
        found.retain(|one| {
            let is_same = |other: &Finding| {
                other.check == "SC2155" && (&other.file, other.line) == (&one.file, one.line)
            };
            !one.message.contains("hides the status") || !reported.iter().any(is_same)
        });
        report.add(found);
    }
}

/// What of a script nobody can see without running it.
fn unseen(subject: &Subject, source: &Source) -> Vec<String> {
    let name = shown(&source.path, &subject.task_root).display();
    let mut texts = Vec::new();
    for command in &source.reading.commands {
        let word = command.arguments().first();
        match (command.name(), word) {
            (Some("." | "source"), Some(word))
                if script::resolve(subject, source, word).is_none() =>
            {
                texts.push(format!(
                    "{name}:{}: the file that is sourced as {}",
                    command.line, word.text
                ));
            }
            (Some("eval"), Some(word)) if !word.is_literal => {
                texts.push(format!("{name}:{}: what eval runs", command.line));
            }
            _ => {}
        }
    }
    if source.reading.has_gaps {
        texts.push(format!(
            "{name}: a part that the grammar of coshell check does not understand"
        ));
    }
    texts
}

/// Whether the file suits its name: functions are called, and a script runs something.
fn check_shape(subject: &Subject, handler: &Handler, sources: &[Source]) -> Option<Finding> {
    let Kind::Function(function) = &handler.kind else {
        let error = no_commands(&subject.bash, handler)?;
        return Some(Finding::of_runtime("function", &error).at(&handler.file, None));
    };
    let call = shape::call_at_end(sources.first()?.text.as_bytes(), function)?;
    let message = format!(
        "`{}` runs while the file is sourced, when there is no event yet",
        call.text
    );
    let finding = Finding::warning("function", message).at(&handler.file, call.line);
    Some(finding.suggest(call.advice()))
}

/// A file's path as it is under the task root, for texts.
pub fn shown<'a>(path: &'a Path, task_root: &Path) -> &'a Path {
    path.strip_prefix(task_root).unwrap_or(path)
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file())
}
