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

use super::s3;
use super::session::Kept;
use crate::call::{Call, End, Output};
use failure::Failure;
use files::Files;
use globals::Globals;
use words::Words;

/// Does what the AWS CLI does with these arguments.
pub(crate) fn run(call: Call, kept: &Kept) -> End {
    let words: Result<Vec<_>, _> = call.arguments.into_iter().map(String::from_utf8).collect();
    let output = Output::new(call.output, call.errors);
    let files = Files {
        place: call.place,
        environment: &call.environment,
    };
    let taken = words
        .map_err(|_| Failure::usage("an argument is no text in UTF-8"))
        .and_then(|words| Globals::take(&words));
    let result = match taken {
        Ok((globals, words)) if is_for_s3(&globals, &words) => {
            let arguments: Vec<String> = words.rest.into_iter().map(|rest| rest.word).collect();
            let caller = s3::Caller {
                environment: call.environment,
                place: call.place,
                input: call.input,
            };
            return s3::run(&arguments[1..], globals.choices, caller, kept, output);
        }
        Ok((globals, words)) => run_words(globals, words, kept, files, &output),
        Err(failure) => Err(failure),
    };
    let status = match result {
        Ok(()) => 0,
        Err(failure) => {
            if !failure.message.is_empty() {
                output.write_error(format!("\n{}\n", failure.message).as_bytes());
            }
            failure.status
        }
    };
    // A closed pipe ends a program without a word.
    output.flush();
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
