//! Which runtime is faster, by how much, and how sure that is.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::function::parse_seconds;
use super::{Error, print};
use crate::compare;
use crate::compare::lambda_logs::{self, LogSource};
use crate::compare::results::Results;

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
pub fn run(arguments: &CompareArguments) -> Result<ExitCode, Error> {
    if !arguments.logs.is_empty() {
        return from_logs(arguments);
    }
    Ok(ExitCode::SUCCESS)
}

fn from_logs(arguments: &CompareArguments) -> Result<ExitCode, Error> {
    let sources: Result<Vec<_>, _> = arguments
        .logs
        .iter()
        .map(|text| LogSource::parse(text))
        .collect();
    let mut results =
        lambda_logs::read(&sources.map_err(Error::Compare)?).map_err(Error::Compare)?;
    if let Some(name) = &arguments.baseline {
        results.set_baseline(name).map_err(Error::Compare)?;
    }
    results.compute();
    present(&results, arguments.output.as_deref())
}

/// Prints the report, and writes it. The exit status tells of problems.
fn present(results: &Results, folder: Option<&Path>) -> Result<ExitCode, Error> {
    if let Some(folder) = folder {
        write(results, folder).map_err(Error::Compare)?;
    }
    print(terminal(results).as_bytes())?;
    Ok(ExitCode::from(u8::from(!results.problems.is_empty())))
}

fn write(results: &Results, folder: &Path) -> Result<(), compare::Error> {
    let path = folder.join("results.json");
    let json = serde_json::to_vec_pretty(results).map_err(std::io::Error::other);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, json?));
    written.map_err(|error| {
        let what = format!("cannot write report {}", path.display());
        compare::Error::new(what, error)
    })
}

fn terminal(results: &Results) -> String {
    let series = results.series.iter().map(|series| {
        let (metric, summary) = (series.metric, &series.summary);
        let ratio = series
            .ratio
            .map(|ratio| format!(", {:.2} times", ratio.times));
        format!(
            "{}: {}: {:.3} {} ({}){}\n",
            series.runtime,
            metric.title(),
            summary.p50,
            metric.unit(),
            summary.count,
            ratio.unwrap_or_default()
        )
    });
    let problems = results.problems.iter().map(|problem| {
        let (words, count) = (problem.kind.words(), problem.count);
        format!(
            "{}: {words}: {count}: {}\n",
            problem.runtime, problem.detail
        )
    });
    series.chain(problems).collect()
}
