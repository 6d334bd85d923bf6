//! What can be found wrong with a handler before it is deployed.
//!
//! Nothing of the handler's is run. What the runtime would say at init is asked of the runtime's own
//! code, and told in its words; the rest is what shows on Lambda alone: another user, another
//! image, events of megabytes.

mod commands;
mod environment;
mod finding;
mod habits;
mod handler;
mod images;
mod permissions;
mod programs;
mod reader;
mod script;
mod shellcheck;

use coshell_handler::{Handler, Kind, check_runs_commands, shape};

use finding::Source;

pub use finding::{Finding, Report, Severity, Subject};
pub use images::Image;
pub use script::NoBash;

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
    report.sort();
    Ok(report)
}

/// Looks at the programs of a layer, which has no handler.
pub fn check_layer(subject: &Subject) -> Report {
    let mut report = Report::default();
    report.add(programs::check(subject, &[]));
    report.sort();
    report
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
    let name = subject.relative_path(&source.path).display();
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
        let error = check_runs_commands(&subject.bash, handler)?;
        return Some(Finding::from_load_error("function", &error).at(&handler.file, None));
    };
    let call = shape::find_final_call(sources.first()?.text.as_bytes(), function)?;
    let message = format!(
        "`{}` runs while the file is sourced, when there is no event yet",
        call.text
    );
    let finding = Finding::warning("function", message).at(&handler.file, call.line);
    Some(finding.suggest(call.advice()))
}
