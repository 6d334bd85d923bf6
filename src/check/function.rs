//! Whether the file suits the handler's name: it defines the function, and a whole script runs a command.

use crate::finding::{Finding, Severity, Source, Subject};
use crate::reader::{Command, Place};
use coshell_handler::{Handler, Kind, check_runs_commands, shape, undefined_function};

/// Checks that one of the scripts defines the handler. It is only a warning if a script may define more than is seen.
pub(crate) fn check_defined(handler: &Handler, sources: &[Source]) -> Option<Finding> {
    let Kind::Function(function) = &handler.kind else {
        return None;
    };
    let all = || sources.iter().flat_map(|source| &source.reading.functions);
    let is_removed = |name: &str| {
        let own = sources.first();
        let Some(removal) = own.and_then(|source| removal_of(source, name)) else {
            return false;
        };
        let has_name = |(defined, _): &&(String, u32)| defined == name;
        let own = own.into_iter().flat_map(|source| &source.reading.functions);
        let above = own.filter(has_name).filter(|(_, line)| *line < removal);
        above.count() == all().filter(has_name).count()
    };
    let names: Vec<_> = all()
        .map(|(name, _)| name.clone())
        .filter(|name| !is_removed(name))
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

/// The line of the last `unset -f NAME` that surely runs when the file is sourced.
fn removal_of(source: &Source, name: &str) -> Option<u32> {
    let removal = |command: &&Command| {
        let words = command.arguments();
        let is_of_function = words.first().is_some_and(|word| word.text == "-f");
        command.name() == Some("unset")
            && is_of_function
            && words[1..]
                .iter()
                .any(|word| word.is_literal && word.text == name)
    };
    let removal = certain_commands(source).filter(removal).last();
    removal.map(|command| command.line)
}

/// The commands that bash surely runs when it sources the file: those of the list itself, above any that may leave it.
fn certain_commands(source: &Source) -> impl Iterator<Item = &Command> {
    let may_leave = |command: &&Command| {
        command.place != Place::Function && matches!(command.name(), None | Some("return" | "exec"))
    };
    let commands = source.reading.commands.iter();
    let commands = commands.take_while(move |command| !may_leave(command));
    commands.filter(|command| command.place == Place::Top)
}

/// Checks that a file of functions does not end the shell that sources it.
pub(crate) fn check_exit(handler: &Handler, sources: &[Source]) -> Option<Finding> {
    let Kind::Function(_) = &handler.kind else {
        return None;
    };
    let source = sources.first()?;
    if source.reading.has_gaps || source.may_define_more() {
        return None;
    }
    let is_own = |(name, _): &(String, u32)| name == "exit";
    if sources
        .iter()
        .any(|source| source.reading.functions.iter().any(is_own))
    {
        return None;
    }
    let exit = certain_commands(source).find(|command| command.name() == Some("exit"))?;
    let message = "exit ends the shell while the file is sourced, so that no handler is loaded";
    let finding = Finding::error("function", message).at(&source.path, exit.line);
    let finding = finding.with_error_type("Runtime.HandlerFileExited");
    Some(finding.suggest("take it out, or use return"))
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
