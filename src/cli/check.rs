//! `coshell check`: reports what would go wrong on Lambda, before deployment.
//!
//! [`coshell_check`] finds the problems. This file prints them: in aligned columns for people, or as a JSON object.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, io::IsTerminal};

use clap::Args;
use serde_json::{Value, json};

use crate::error::Error;
use crate::function::TaskRoot;
use crate::terminal::print;
use coshell_check::{self, Finding, Image, Report, Severity, Subject};
use coshell_emulator::logs::is_colour_refused;
use coshell_handler::Kind;
use coshell_handler::{Delivery, bash};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        coshell check examples/echo/function.sh.handler\n  \
        coshell check function.handler --task-root package\n  \
        coshell check function.handler --json | jq '.findings[] | select(.severity == \"error\")'\n  \
        coshell check function.handler --with jq,aws\n  \
        coshell check function.handler --policy >policy.json\n  \
        coshell check jobs/nightly.sh --strict --image none\n  \
        coshell check function.handler --strict --image here   # in a Dockerfile, after what is installed\n\n\
        Exit status:\n  \
        0  no errors; there may be warnings and notes\n  \
        1  there are errors\n  \
        2  nothing was checked: wrong use, or bash cannot be started")]
pub struct CheckArguments {
    /// The handler, as on Lambda: [dir/]file[.sh].function, or a script or an executable with its arguments; relative to the
    /// task root
    pub handler: OsString,

    #[command(flatten)]
    #[allow(missing_docs, reason = "its own are the help")]
    pub task_root: TaskRoot,

    #[command(flatten)]
    #[allow(missing_docs, reason = "their own are the help")]
    pub options: CheckOptions,

    /// Print a JSON object instead of text
    #[arg(long)]
    pub json: bool,

    /// Print the IAM policy that the handler's calls of AWS need, as JSON, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub policy: bool,
}

/// The options for checking a handler, for `check` and `package`.
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// The image that the handler will run in. Commands that the image lacks are reported
    #[arg(long, value_name = "NAME", default_value = "al2023")]
    pub image: Image,

    /// Commands that will be available too: installed in the image, or in a layer
    #[arg(long, value_name = "COMMAND,...", value_delimiter = ',')]
    pub with: Vec<String>,

    /// Treat warnings as errors
    #[arg(long)]
    pub strict: bool,
}

impl CheckOptions {
    /// Describes what to check. The path of the task root must not contain links.
    pub fn subject(&self, handler: OsString, task_root: PathBuf) -> Subject {
        Subject {
            handler,
            task_root,
            image: self.image,
            with: self.with.clone(),
            bash: bash::find_program(env::var_os("COSHELL_BASH")),
            delivery: env::var("COSHELL_EVENT")
                .ok()
                .and_then(|word| Delivery::from_name(&word)),
        }
    }

    /// Whether the handler should not be deployed.
    pub fn is_bad(&self, report: &Report) -> bool {
        report.count(Severity::Error) > 0 || self.strict && report.count(Severity::Warning) > 0
    }
}

pub(crate) fn run(arguments: &CheckArguments) -> Result<ExitCode, Error> {
    let task_root = arguments.task_root.folder()?;
    let what = format!("cannot use task root {}", task_root.display());
    // Paths in scripts are compared with this path.
    let task_root = task_root.canonicalize().map_err(Error::io(what))?;
    let options = &arguments.options;
    let subject = options.subject(arguments.handler.clone(), task_root);
    let report = coshell_check::check(&subject).map_err(Error::Shell)?;
    let text = if arguments.policy {
        for call in &report.policy.unknown {
            eprintln!("coshell: cannot tell what this call needs: {call}");
        }
        format!("{:#}\n", policy_document(&report))
    } else if arguments.json {
        format!("{}\n", as_json(&report, &subject))
    } else {
        let has_colour = std::io::stdout().is_terminal() && !is_colour_refused();
        as_text(&report, &subject, has_colour)
    };
    print(text.as_bytes())?;
    Ok(if options.is_bad(&report) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn severity(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// A policy document for the role of the function.
fn policy_document(report: &Report) -> Value {
    let one_or_list = |texts: &[&str]| match texts {
        [text] => json!(text),
        texts => json!(texts),
    };
    let statements = report.policy.statements();
    let statements = statements.iter().map(|(actions, resources)| {
        json!({
            "Effect": "Allow",
            "Action": one_or_list(actions),
            "Resource": one_or_list(resources),
        })
    });
    json!({
        "Version": "2012-10-17",
        "Statement": statements.collect::<Vec<_>>(),
    })
}

/// A line for every finding: place, severity, check, message. The suggestion is on a line below.
pub(crate) fn as_text(report: &Report, subject: &Subject, has_colour: bool) -> String {
    let paint = |code: &str, text: &str| {
        if has_colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let place = |finding: &Finding| match (&finding.file, finding.line) {
        (Some(file), Some(line)) => format!("{}:{line}", subject.relative_path(file).display()),
        (Some(file), None) => subject.relative_path(file).display().to_string(),
        (None, _) => subject.handler.to_string_lossy().into_owned(),
    };
    let width = |text: &str| text.chars().count();
    let places = report
        .findings
        .iter()
        .map(|finding| width(&place(finding)))
        .max();
    let checks = report
        .findings
        .iter()
        .map(|finding| width(&finding.check))
        .max();
    let (places, checks) = (places.unwrap_or(0), checks.unwrap_or(0));
    let mut lines = Vec::new();
    for finding in &report.findings {
        let colour = match finding.severity {
            Severity::Error => "1;31",
            Severity::Warning => "33",
            Severity::Note => "36",
        };
        let place = printable(&format!("{:places$}", place(finding)));
        let severity = paint(colour, &format!("{:7}", severity(finding)));
        let check = paint("2", &format!("{:checks$}", finding.check));
        let indent = " ".repeat(places + 2 + 7 + 2 + checks + 2);
        let message = printable(&finding.message).replace('\n', &format!("\n{indent}"));
        lines.push(format!("{place}  {severity}  {check}  {message}\n"));
        if let Some(suggestion) = &finding.suggestion {
            let suggestion = format!("try: {}", printable(suggestion));
            lines.push(format!("{indent}{}\n", paint("32", &suggestion)));
        }
    }
    for unseen in &report.unseen {
        lines.push(format!("not checked: {}\n", printable(unseen)));
    }
    lines.push(summary(report, subject) + "\n");
    lines.concat()
}

/// What was checked, and how many findings of each kind there are.
fn summary(report: &Report, subject: &Subject) -> String {
    let name = printable(&subject.handler.to_string_lossy());
    let counts: Vec<_> = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Note, "note"),
    ]
    .into_iter()
    .filter_map(|(severity, noun)| match report.count(severity) {
        0 => None,
        1 => Some(format!("1 {noun}")),
        count => Some(format!("{count} {noun}s")),
    })
    .collect();
    let counts = if counts.is_empty() {
        "nothing found".to_owned()
    } else {
        counts.join(", ")
    };
    let Some(handler) = &report.handler else {
        return format!("{name}: {counts}");
    };
    let file = subject.relative_path(&handler.file).display();
    let without = match &handler.kind {
        Kind::Program => "",
        _ if report.has_shellcheck || report.findings.iter().any(|one| one.check == "syntax") => "",
        _ => " (without shellcheck, which is not installed)",
    };
    let kind = match &handler.kind {
        Kind::Function(function) => printable(&format!("function {function} in {file}")),
        Kind::Script(_) => "a whole script".to_owned(),
        Kind::Program => "an executable".to_owned(),
    };
    format!("{name}: {kind}: {counts}{without}")
}

fn as_json(report: &Report, subject: &Subject) -> Value {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "severity": severity(finding),
                "check": finding.check,
                "errorType": finding.error_type,
                "file": finding.file.as_ref().map(|file| file.to_string_lossy()),
                "line": finding.line,
                "message": finding.message,
                "suggestion": finding.suggestion,
            })
        })
        .collect();
    let handler = report.handler.as_ref();
    json!({
        "handler": subject.handler.to_string_lossy(),
        "taskRoot": subject.task_root.to_string_lossy(),
        "image": subject.image.name(),
        "kind": handler.map(|handler| match handler.kind {
            Kind::Function(_) => "function",
            Kind::Script(_) => "script",
            Kind::Program => "executable",
        }),
        "file": handler.map(|handler| handler.file.to_string_lossy()),
        "function": handler.and_then(|handler| match &handler.kind {
            Kind::Function(function) => Some(function),
            _ => None,
        }),
        "shellcheck": report.has_shellcheck,
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "notes": report.count(Severity::Note),
        "findings": findings,
        "notLookedAt": report.unseen,
    })
}

/// Replaces control characters, so that a text from a script cannot control the terminal.
pub(crate) fn printable(text: &str) -> String {
    let letter = |letter: char| match letter {
        '\n' => letter,
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    };
    text.chars().map(letter).collect()
}
