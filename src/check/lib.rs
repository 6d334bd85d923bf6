//! `coshell check`: finds what would go wrong with a handler on Lambda, before it is deployed.
//!
//! Runs nothing of the handler. Init errors come from the runtime's own code, so they have the same words. The other
//! checks are for what only shows on Lambda: another user, another image, a read-only task root, events of megabytes.

mod bash;
mod calls;
mod commands;
mod environment;
mod finding;
mod function;
mod habits;
mod handler;
mod iam;
mod images;
mod offered;
mod paths;
mod permissions;
mod policy;
mod programs;
mod reader;
mod script;
mod shellcheck;
mod tree;

use coshell_handler::{Handler, Kind};

pub use bash::NoBash;
pub use finding::{Finding, Report, Severity, Subject};
pub use images::Image;
pub use policy::Policy;

/// Checks a handler. Blocks while bash and shellcheck read its files.
pub fn check(subject: &Subject) -> Result<Report, NoBash> {
    bash::check_bash(&subject.bash)?;
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

/// Checks the programs of a layer, which has no handler.
pub fn check_layer(subject: &Subject) -> Report {
    let mut report = Report::default();
    report.add(programs::check(subject, &[]));
    report.sort();
    report
}

fn check_script(subject: &Subject, handler: &Handler, report: &mut Report) {
    let (sources, found) = script::read_all(subject, handler);
    report.add(found);
    let has_right_syntax = report.findings.iter().all(|one| one.check != "syntax");
    if has_right_syntax {
        report.add(function::check_defined(handler, &sources));
        report.add(function::check_shape(subject, handler, &sources));
        report.add(function::check_exit(handler, &sources));
    }
    report.add(commands::check(subject, handler, &sources));
    report.add(environment::check(subject, handler, &sources));
    let scripts: Vec<_> = sources.iter().map(|source| source.path.as_path()).collect();
    for finding in programs::check(subject, &scripts) {
        // A program that a script calls by its path has the same findings already.
        let is_same = |other: &Finding| other.check == finding.check && other.file == finding.file;
        if !report.findings.iter().any(is_same) {
            report.findings.push(finding);
        }
    }
    report.policy = iam::policy_for(&sources);
    report.unseen = sources
        .iter()
        .flat_map(|source| script::list_unseen(subject, source))
        .collect();
    // Of a syntax error shellcheck reports the same as bash, at greater length.
    if has_right_syntax && let Some(found) = shellcheck::check(handler, &sources) {
        report.has_shellcheck = true;
        report.add(found);
    }
    for source in &sources {
        let found = habits::check(subject, handler, source, &report.findings);
        report.add(found);
    }
}
