//! The command `aws`: what AWS's own CLI does with these arguments, for the operations in the table.
//!
//! ```text
//! words -> globals (--region, --query, ...) -> service, operation -> arguments -> parameters -> validate
//!       -> protocol::request -> session (signs, sends) -> protocol::result -> pages -> search (--query) -> output
//! ```

mod arguments;
mod checksum;
mod configure;
mod customized;
mod failure;
mod files;
mod globals;
mod names;
mod operation;
#[cfg(test)]
mod oracle;
mod output;
mod pages;
mod protocol;
mod search;
mod shorthand;
mod table;
mod unique;
mod validate;
mod value;
mod wait;
mod words;

use std::io::ErrorKind;

use coshell_calls::check_name;

use super::s3;
use super::session::Kept;
use crate::call::{Call, End, Output};
use failure::Failure;
use files::Files;
use globals::Globals;
use words::Words;

/// The word before the name of a variable that takes the output. The AWS CLI has no such option.
const VARIABLE: &str = "-v";

/// Does what the AWS CLI does with these arguments.
pub(crate) fn run(call: Call, kept: &Kept) -> End {
    let words: Result<Vec<_>, _> = call.arguments.into_iter().map(String::from_utf8).collect();
    let words = words
        .map_err(|_| Failure::usage("an argument is no text in UTF-8"))
        .and_then(split_variable);
    let has_variable = matches!(&words, Ok((Some(_), _)));
    let output = Output::new(call.output.filter(|_| !has_variable), call.errors);
    let caller = s3::Caller {
        environment: call.environment,
        place: call.place,
        input: call.input,
    };
    let (variable, words) = match words {
        Ok(words) => words,
        Err(failure) => return report_failure(&failure, output),
    };
    let mut end = run_for(&words, caller, kept, output);
    if let Some(variable) = variable {
        // As `$(...)` does.
        while end.output.ends_with(b"\n") {
            end.output.pop();
        }
        end.variable = variable;
    }
    end
}

/// The variable that takes the output, and the other words.
fn split_variable(mut words: Vec<String>) -> Result<(Option<String>, Vec<String>), Failure> {
    if words.first().is_none_or(|word| word != VARIABLE) {
        return Ok((None, words));
    }
    let rest = words.split_off(words.len().min(2));
    let name = words.pop().filter(|name| name != VARIABLE);
    let name = name.ok_or_else(|| Failure::usage("aws: expected the name of a variable for -v"))?;
    check_name(name.as_bytes())
        .map_err(|error| Failure::usage(format!("aws: {}", error.message)))?;
    Ok((Some(name), rest))
}

fn run_for(words: &[String], caller: s3::Caller, kept: &Kept, output: Output) -> End {
    let result = match Globals::take(words) {
        Ok((globals, words)) if is_for_s3(&globals, &words) => {
            let arguments: Vec<String> = words.rest.into_iter().map(|rest| rest.word).collect();
            return s3::run(&arguments[1..], globals.choices, caller, kept, output);
        }
        Ok((globals, words)) => {
            let files = Files {
                place: caller.place,
                environment: &caller.environment,
            };
            run_words(globals, words, kept, files, &output)
        }
        Err(failure) => Err(failure),
    };
    match result {
        Ok(()) => end(output, 0),
        Err(failure) => report_failure(&failure, output),
    }
}

fn report_failure(failure: &Failure, output: Output) -> End {
    if !failure.message.is_empty() {
        output.write_error(format!("\n{}\n", failure.message).as_bytes());
    }
    end(output, failure.status)
}

fn end(output: Output, status: i32) -> End {
    let status = match output.finish("aws") {
        Some(error) if status == 0 && error != ErrorKind::BrokenPipe => failure::OTHER,
        _ => status,
    };
    output.end(status)
}

/// Whether the first word is `s3`, whose commands are no operations.
fn is_for_s3(globals: &Globals, words: &Words) -> bool {
    !globals.shows_version && words.rest.first().is_some_and(|rest| rest.word == "s3")
}

fn run_words(
    globals: Globals,
    mut words: Words,
    kept: &Kept,
    files: Files,
    output: &Output,
) -> Result<(), Failure> {
    if globals.shows_version {
        let version = concat!("aws-cli/2 coshell/", env!("CARGO_PKG_VERSION"), "\n");
        output.write(|text| text.extend_from_slice(version.as_bytes()), false);
        return Ok(());
    }
    if globals.wants_debug {
        output.write_error(b"aws: --debug is ignored: there is no log of requests\n");
    }
    let command = words.take_first();
    let command = command
        .ok_or_else(|| Failure::usage_error("the following arguments are required: command"))?;
    let rest: Vec<String> = words.rest.into_iter().map(|rest| rest.word).collect();
    if command == "configure" {
        return configure::run(&rest, globals, kept, files, output);
    }
    operation::run(&command, &rest, globals, kept, files, output)
}
