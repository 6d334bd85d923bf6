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

/// Does what the AWS CLI does with these arguments.
pub(crate) fn run(call: Call, kept: &Kept) -> End {
    if s3::is_for_s3(&call.arguments) {
        return s3::run(call, kept);
    }
    let words: Result<Vec<_>, _> = call.arguments.into_iter().map(String::from_utf8).collect();
    let output = Output::new(call.output, call.errors);
    let files = Files {
        place: call.place,
        environment: &call.environment,
    };
    let result = words
        .map_err(|_| Failure::usage("an argument is no text in UTF-8"))
        .and_then(|words| run_words(&words, kept, files, &output));
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

fn run_words(words: &[String], kept: &Kept, files: Files, output: &Output) -> Result<(), Failure> {
    let (globals, mut words) = Globals::take(words)?;
    if globals.shows_version {
        let version = concat!("aws-cli/2 coshell/", env!("CARGO_PKG_VERSION"), "\n");
        output.write(|text| text.extend_from_slice(version.as_bytes()), false);
        return Ok(());
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
