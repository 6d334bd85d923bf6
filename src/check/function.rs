//! Whether the file suits the handler's name: it defines the function, and a whole script runs a command.

use crate::finding::{Finding, Severity, Source, Subject};
use coshell_handler::{Handler, Kind, check_runs_commands, shape, undefined_function};

/// Checks that one of the scripts defines the handler. It is only a warning if a script may define more than is seen.
pub(crate) fn check_defined(handler: &Handler, sources: &[Source]) -> Option<Finding> {
    let Kind::Function(function) = &handler.kind else {
        return None;
    };
    let names: Vec<_> = sources
        .iter()
        .flat_map(|source| &source.reading.functions)
        .map(|(name, _)| name.clone())
        .collect();
    if names.contains(function) {
        return None;
    }
    let error = undefined_function(handler, &names);
    let mut finding = Finding::from_load_error("function", &error).at(&handler.file, None);
    let has_name_in_gap =
        |source: &Source| source.reading.has_gaps && source.text.contains(function);
    if sources
        .iter()
        .any(|source| source.may_define_more() || has_name_in_gap(source))
    {
        let file = handler.file.display();
        finding.severity = Severity::Warning;
        finding.error_type = None;
        finding.message = format!(
            "cannot see a function {function} in {file}, which may define it by eval or in a file that is not here"
        );
    }
    Some(finding)
}

/// Checks that a whole script runs a command, and that a function's file does not call the handler when it is sourced.
pub(crate) fn check_shape(
    subject: &Subject,
    handler: &Handler,
    sources: &[Source],
) -> Option<Finding> {
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
