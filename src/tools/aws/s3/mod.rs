//! `aws s3`: the AWS CLI's commands for files and objects, with its output and exit status.
//!
//! ```text
//! command line -> arguments -> transfer (what to do) -> route, sync (items) -> pool, step (one item)
//!                                                                               -> upload, download, copy
//! ```

mod arguments;
mod bucket;
mod commands;
mod content_type;
mod context;
mod copy;
mod download;
mod failure;
mod filter;
mod head;
mod item;
mod listing;
mod local_files;
mod ls;
mod multipart;
mod object_headers;
mod parallel;
mod paths;
mod pool;
mod presign;
mod range;
mod report;
mod request;
mod route;
mod settings;
mod step;
mod sync;
mod target_file;
mod transfer;
mod upload;
mod uri;

use std::fs;
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use arguments::{Arguments, Misuse};
use commands::{NAMES, Name};
use context::Context;
use failure::Stop;
use object_headers::ObjectHeaders;
use report::{Level, Report};
use settings::Settings;
use transfer::Plan;

use super::providers;
use super::session::{Kept, Session};
use super::settings::Choices;
use crate::call::{End, Output, Place};
use crate::local_time::LocalTime;

const USAGE: &str = "usage: aws [options] <command> <subcommand> [<subcommand> ...] [parameters]\n\
    To see help text, you can run:\n\n  aws help\n  aws <command> help\n  aws <command> <subcommand> help\n";

/// Who calls.
pub(crate) struct Caller {
    pub environment: Vec<(String, String)>,
    pub place: Place,
    pub input: Option<File>,
}

/// Does what `aws s3` does with these words.
pub(crate) fn run(
    words: &[String],
    choices: Choices,
    caller: Caller,
    kept: &Kept,
    output: Output,
) -> End {
    let (output, result) = match command_line(words) {
        Ok((name, arguments)) => {
            let command = Command {
                name,
                arguments,
                caller,
            };
            command.run(kept, choices, output)
        }
        Err(stop) => (output, Err(stop)),
    };
    let status = result.unwrap_or_else(|stop| {
        output.write_error(format!("\n{}\n", stop.text).as_bytes());
        stop.status
    });
    report::end(output, status)
}

/// What a command line asks for.
fn command_line(words: &[String]) -> Result<(Name, Arguments), Stop> {
    let misuse = |text: &str| Stop::invalid(format!("{USAGE}\naws: error: {text}\n"));
    let Some((word, rest)) = words.split_first() else {
        return Err(Stop::invalid(
            "usage: aws [options] s3 <subcommand> [parameters]\naws: error: too few arguments",
        ));
    };
    let missing = |what: &str| {
        Stop::invalid(format!(
            "aws: {what} is not built in; a layer or an image with the real AWS CLI has everything"
        ))
    };
    if word == "help" || rest.first().is_some_and(|word| word == "help") {
        return Err(missing("help"));
    }
    let Some(name) = Name::of(word) else {
        return Err(if NAMES.contains(&word.as_str()) {
            missing(&format!("s3 {word}"))
        } else {
            misuse(&format!(
                "argument subcommand: {}",
                arguments::invalid_choice(&NAMES)
            ))
        });
    };
    let read = arguments::read(rest, &name.options(), name.paths());
    let arguments = read.map_err(|cause| match cause {
        Misuse::Usage(text) => misuse(&text),
        // Keys that are the caller's own need an MD5.
        Misuse::Unknown(words) if words.iter().any(|word| word.starts_with("--sse-c")) => {
            missing("--sse-c")
        }
        Misuse::Unknown(words) => Stop::invalid(format!("Unknown options: {}", words.join(","))),
    })?;
    Ok((name, arguments))
}

struct Command {
    name: Name,
    arguments: Arguments,
    caller: Caller,
}

impl Command {
    /// Runs the command. Returns the output, which a transfer needs for itself, and the exit status.
    fn run(self, kept: &Kept, choices: Choices, output: Output) -> (Output, Result<i32, Stop>) {
        let Caller {
            environment, place, ..
        } = &self.caller;
        let session = match providers::session(kept, environment, choices, *place) {
            Ok(session) => session,
            Err(error) => return (output, Err(error.into())),
        };
        if let Err(error) = session.settings.check_retry_mode() {
            return (output, Err(error.into()));
        }
        let word = self.arguments.paths.first().cloned().unwrap_or_default();
        let result = match self.name {
            Name::Ls => {
                let zone = LocalTime::new(environment, *place);
                ls::run(&session, &self.arguments, &zone, &output)
            }
            Name::Presign => presign::run(&session, &self.arguments, &output),
            Name::Mb => bucket::make(&session, &word, &output),
            Name::Rb => return self.remove_bucket(&session, &word, output),
            Name::Cp | Name::Mv | Name::Rm | Name::Sync => {
                return transfer(self.name, &self.arguments, self.caller, &session, output);
            }
        };
        (output, result)
    }

    fn remove_bucket(
        self,
        session: &Session,
        word: &str,
        output: Output,
    ) -> (Output, Result<i32, Stop>) {
        let bucket = match bucket::check_removal(word) {
            Ok(bucket) => bucket,
            Err(stop) => return (output, Err(stop)),
        };
        let mut output = output;
        if self.arguments.has("force") {
            let words = [word, "--recursive"].map(ToOwned::to_owned);
            let read = arguments::read(&words, &Name::Rm.options(), Name::Rm.paths());
            let arguments = read.unwrap_or_default();
            let result;
            (output, result) = transfer(Name::Rm, &arguments, self.caller, session, output);
            if !matches!(result, Ok(0)) {
                let text = "remove_bucket failed: Unable to delete all objects in the bucket, bucket will not be deleted.";
                return (output, Err(Stop::other(text)));
            }
        }
        let status = bucket::remove(session, bucket, word, &output);
        (output, Ok(status))
    }
}

fn transfer(
    name: Name,
    arguments: &Arguments,
    caller: Caller,
    session: &Session,
    output: Output,
) -> (Output, Result<i32, Stop>) {
    let place = caller.place;
    let folder = fs::read_link(place.path(Path::new("/proc/self/cwd"))).unwrap_or_default();
    let folder = folder.to_string_lossy().into_owned();
    let prepare = || {
        let headers = ObjectHeaders::read(arguments, place)?;
        let plan = Plan::read(name, arguments, &folder, place)?;
        Ok((headers, plan, Settings::of(session)?))
    };
    let (mut headers, plan, settings) = match prepare() {
        Ok(prepared) => prepared,
        Err(stop) => return (output, Err(stop)),
    };
    let level = if arguments.has("quiet") {
        Level::Nothing
    } else if arguments.has("only-show-errors") || plan.is_stream() && !arguments.has("dryrun") {
        Level::Errors
    } else {
        Level::All
    };
    let report = Report::new(output, level);
    match headers.add_grants(arguments.values("grants")) {
        Err(cause) => report.fatal(&cause),
        Ok(()) => plan.run(&Context {
            session,
            arguments,
            settings,
            headers,
            report: &report,
            place,
            folder,
            input: caller.input,
            is_move: name == Name::Mv,
            parts: Mutex::new(()),
        }),
    }
    let (status, output) = report.into_parts();
    (output, Ok(status))
}
