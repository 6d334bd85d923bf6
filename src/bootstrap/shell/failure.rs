//! Words the failures of a function: of a handler, of its shell, and of loading its file.

use super::report::{ExitTrace, Report};
use crate::child::LaneContext;
use crate::config::Config;
use crate::error::Error;
use crate::failure::{
    describe_failed_part, failure_with_log, fill_in_line, limit_exceeded, status_text,
};
use crate::response::OwnError;
use crate::wait::Overrun;
use coshell_driver::Kind;
use coshell_handler::Failure;
use coshell_handler::{Frame, Handler, shape};
use coshell_handler::{check_syntax, quote_log_tail};
use coshell_process::ExitStatus;

/// The handler failed, and the shell goes on. `error` is what it gave `lambda_error`.
pub(crate) fn handler_failed(
    function: &str,
    report: &Report,
    error: Option<&OwnError>,
    tail: &str,
) -> Failure {
    if let Some(error) = error.filter(|_| report.kind != Kind::Idle) {
        return error.to_failure();
    }
    let status = status_text(report.status);
    let (error_type, what) = match report.kind {
        Kind::Return => (
            "Function.HandlerFailed",
            format!("{function} returned {status}"),
        ),
        Kind::Exit => (
            "Function.HandlerExited",
            format!("{function} exited with {status}"),
        ),
        Kind::Errexit => {
            let command = report.command.as_deref();
            let part = describe_failed_part(&report.parts, report.stack.first(), command);
            let failed = part.unwrap_or_else(|| format!("`{}`", command.unwrap_or("a command")));
            (
                "Function.CommandFailed",
                format!("{failed} ended with {status}"),
            )
        }
        _ => (
            "Function.ShellLost",
            format!("shell cannot call {function} any more"),
        ),
    };
    let mut stack = report.stack.clone();
    fill_in_line(&mut stack, report.command.as_deref());
    failure_with_log(error_type, &what, stack, tail)
}

/// The shell ended while the handler ran.
pub(crate) fn shell_ended(
    function: &str,
    end: ExitStatus,
    trace: ExitTrace,
    tail: &str,
) -> Failure {
    let mut stack = trace.stack;
    fill_in_line(&mut stack, trace.command.as_deref());
    let running = trace
        .command
        .map_or_else(|| function.to_owned(), |command| format!("`{command}`"));
    let (error_type, what) = match end {
        ExitStatus::Killed(signal) => (
            "Function.ShellKilled",
            format!("shell killed by {signal} during {running}"),
        ),
        ExitStatus::Exited(status) => {
            let status = status_text(status);
            (
                "Function.ShellExited",
                format!("shell ended with {status} during {running}"),
            )
        }
    };
    failure_with_log(error_type, &what, stack, tail)
}

/// The handler, or what `label` describes, was stopped while the programs `running` ran. If the handler has an EXIT trap of its
/// own, there is no exit trace.
pub(crate) fn stopped(
    cx: LaneContext,
    label: &str,
    overrun: Overrun,
    mut trace: ExitTrace,
    running: &[String],
) -> Failure {
    // Without a frame, bash ran a command of ours.
    let command = trace.command.filter(|_| !trace.stack.is_empty());
    let command = command.as_deref();
    fill_in_line(&mut trace.stack, command);
    limit_exceeded(
        label,
        overrun,
        cx.config.deadline_margin,
        command,
        trace.stack,
        running,
        &cx.logs.tail(),
    )
}

/// The shell runs, but does not report.
pub(crate) fn shell_lost(function: &str, tail: &str) -> Failure {
    let what = format!(
        "shell does not report after {function}: \
         a function or a setting of the handler blocks a builtin that coshell needs"
    );
    failure_with_log("Function.ShellLost", &what, Vec::new(), tail)
}

/// bash ended while it sourced the file.
pub(crate) fn load_failed(
    config: &Config,
    handler: &Handler,
    end: Option<ExitStatus>,
    trace: Option<ExitTrace>,
    tail: &str,
) -> Error {
    let Some(trace) = trace else {
        let cause = match end {
            Some(ExitStatus::Killed(signal)) => {
                format!("killed by {signal} when it started")
            }
            _ => format!("ended when it started{}", quote_log_tail(tail)),
        };
        return Error::StartShell {
            bash: config.bash.clone(),
            cause,
        };
    };
    if trace.kind == Some(Kind::Options) {
        return Error::ReadConfig {
            variable: "COSHELL_SHELL_OPTIONS",
            cause: match tail.split_once(": set: ") {
                Some((_, reason)) => format!("set rejects it: {}", reason.trim_end()),
                None => format!("set rejects it{}", quote_log_tail(tail)),
            },
        };
    }
    if let Some(error) = check_syntax(&config.bash, handler) {
        return error.into();
    }
    let file = handler.file.display();
    let status = match end {
        Some(ExitStatus::Killed(signal)) => format!("{signal}"),
        Some(ExitStatus::Exited(status)) => status_text(status),
        None => "no status".to_owned(),
    };
    let command = trace.command.unwrap_or_default();
    if trace.kind == Some(Kind::Exited) && !matches!(end, Some(ExitStatus::Killed(_))) {
        let call = explain_call(handler, &trace.stack);
        let cause = format!("{file} exited with {status} while it was sourced{call}");
        return handler
            .load_error_at("Runtime.HandlerFileExited", &cause, trace.stack, tail)
            .into();
    }
    let place = trace
        .failed_at
        .filter(|place| !place.starts_with("/dev/fd/"));
    let call = explain_call(handler, &trace.stack);
    let cause = match place {
        Some(place) => format!("`{command}` ended with {status} at {place}{call}"),
        None => format!("{file} ended with {status} while it was sourced{call}"),
    };
    handler
        .load_error_at("Runtime.HandlerFileFailed", &cause, trace.stack, tail)
        .into()
}

/// Explains the failure if the file calls its handler on its last line, as a script for the command line does.
fn explain_call(handler: &Handler, stack: &[Frame]) -> String {
    let text = std::fs::read(&handler.file).unwrap_or_default();
    match (stack, shape::find_final_call(&text, handler.label())) {
        ([_, .., outermost], Some(call)) if outermost.line == call.line => format!(
            "; line {} calls `{}` while the file is sourced, when there is no event yet: {}",
            call.line,
            call.text,
            call.advice()
        ),
        _ => String::new(),
    }
}
