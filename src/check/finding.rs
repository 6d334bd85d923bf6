//! What is checked, and what was found.
//!
//! Each check of this crate reads a [`Subject`] and the [`Source`]s of its handler, and returns [`Finding`]s;
//! [`crate::check`] collects them in a [`Report`].

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tree_sitter::Node;

use coshell_handler::{Delivery, Handler, LoadError, Suggestion};

use crate::images::Image;
use crate::policy::Policy;
use crate::reader::{Command, Reading};

/// The variable with the file that a whole script sources to have the functions of coshell.
pub(crate) const FUNCTIONS_VARIABLE: &str = "COSHELL_FUNCTIONS";

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It fails on Lambda.
    Error,
    /// It is likely to fail, or `check` cannot see enough to be sure.
    Warning,
    /// Worth knowing.
    Note,
}

#[derive(Debug)]
pub struct Finding {
    pub severity: Severity,
    /// The check that found it: `handler`, `syntax`, ..., or a code of shellcheck such as `SC2086`.
    pub check: String,
    /// The errorType that the runtime would post for it.
    pub error_type: Option<&'static str>,
    pub file: Option<PathBuf>,
    /// Counted from 1.
    pub line: Option<u32>,
    pub message: String,
    /// What to do about it.
    pub suggestion: Option<String>,
}

/// A handler, and where it will run.
#[derive(Debug)]
pub struct Subject {
    /// The handler's name, as Lambda's setting has it.
    pub handler: OsString,
    pub task_root: PathBuf,
    /// The image whose commands the handler can call.
    pub image: Image,
    /// Commands that exist besides those of the image.
    pub with: Vec<String>,
    /// The bash that checks the syntax.
    pub bash: PathBuf,
    /// How the handler gets its event, if `COSHELL_EVENT` is set.
    pub delivery: Option<Delivery>,
}

#[derive(Debug, Default)]
pub struct Report {
    /// What the name means, if it means anything.
    pub handler: Option<Handler>,
    /// Sorted by severity, then by place.
    pub findings: Vec<Finding>,
    /// Whether shellcheck checked the scripts too.
    pub has_shellcheck: bool,
    /// What the calls of AWS need.
    pub policy: Policy,
    /// What `check` could not look at, a text for each thing.
    pub unseen: Vec<String>,
}

/// A script: the handler's file, or one that it sources.
#[derive(Debug)]
pub(crate) struct Source {
    pub path: PathBuf,
    pub text: String,
    pub reading: Reading,
}

impl Finding {
    pub(crate) fn new(severity: Severity, check: &str, message: impl Into<String>) -> Self {
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

    pub(crate) fn error(check: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, check, message)
    }

    pub(crate) fn warning(check: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, check, message)
    }

    pub(crate) fn at(mut self, file: &Path, line: impl Into<Option<u32>>) -> Self {
        self.file = Some(file.to_owned());
        self.line = line.into().filter(|line| *line > 0);
        self
    }

    /// At the start of `file`, unless the place is known: bash names none for some errors.
    pub(crate) fn or_at(self, file: &Path) -> Self {
        match self.file {
            Some(_) => self,
            None => self.at(file, None),
        }
    }

    pub(crate) fn with_error_type(mut self, error_type: &'static str) -> Self {
        self.error_type = Some(error_type);
        self
    }

    pub(crate) fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// The init error that the runtime would post.
    pub(crate) fn from_load_error(check: &str, error: &LoadError) -> Self {
        let failure = &error.failure;
        let mut finding = Self::error(check, &failure.message);
        if let Cow::Borrowed(error_type) = failure.error_type {
            finding = finding.with_error_type(error_type);
        }
        finding.suggestion = error
            .suggestion
            .as_ref()
            .map(|suggestion| match &**suggestion {
                // The line begins with `try:`.
                Suggestion::Handler(name) => name.clone(),
                _ => suggestion.to_string(),
            });
        if let Some(frame) = failure.stack.first() {
            finding = finding.at(Path::new(&frame.file), frame.line);
        }
        finding
    }
}

impl Source {
    /// The part of the script that `node` is.
    pub(crate) fn text_of(&self, node: Node) -> &str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    /// Whether the script calls the command `name`.
    pub(crate) fn calls(&self, name: &str) -> bool {
        let mut commands = self.reading.commands.iter();
        commands.any(|command| command.name() == Some(name))
    }

    /// Whether the script may define functions that are not seen: by `eval`, or in a file whose path it does not spell
    /// out.
    pub(crate) fn may_define_more(&self) -> bool {
        let may_define = |command: &Command| {
            matches!(command.name(), Some("." | "source" | "eval"))
                && command.arguments().first().is_some_and(|word| {
                    let is_ours = word.text.contains(FUNCTIONS_VARIABLE);
                    (!word.is_literal || word.text.starts_with('/')) && !is_ours
                })
        };
        self.reading.is_dynamic || self.reading.commands.iter().any(may_define)
    }
}

impl Subject {
    /// `path` as it is under the task root, for texts.
    pub fn relative_path<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.task_root).unwrap_or(path)
    }
}

impl Report {
    /// How many findings have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        let alike = |finding: &&Finding| finding.severity == severity;
        self.findings.iter().filter(alike).count()
    }

    /// Replaces `task_root` in texts by names as they are in the package: users know no copy that was made for
    /// checking. Places keep their paths.
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

    pub(crate) fn add(&mut self, found: impl IntoIterator<Item = Finding>) {
        self.findings.extend(found);
    }

    pub(crate) fn sort(&mut self) {
        self.findings
            .sort_by(|one, other| one.order().cmp(&other.order()));
    }
}

impl Finding {
    fn order(&self) -> (Severity, Option<&Path>, Option<u32>) {
        (self.severity, self.file.as_deref(), self.line)
    }
}
