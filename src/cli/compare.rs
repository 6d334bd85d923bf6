//! Which runtime is faster, by how much, and how sure that is.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::error::Error;
use crate::function::{TaskRoot, Variable, absolute, parse_seconds};
use crate::terminal::print;
use coshell_compare::lambda_logs::{self, LogSource};
use coshell_compare::report;
use coshell_compare::results::{ProblemKind, Results};
use coshell_compare::run::{self, Options};
use coshell_compare::scenario::{File, RuntimeTable, Scenario, Words};
use coshell_emulator::logs::is_colour_refused;
use coshell_process::StopSignal;

/// The arguments of `coshell compare`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        coshell compare --runtime tutorial=./a/bootstrap --runtime ours=./bootstrap\n  \
        coshell compare scenario.toml -o comparison\n  \
        coshell compare --runtime zip=function.zip --runtime image=image:hello --memory 128\n  \
        coshell compare --from-logs tutorial=a.log --from-logs ours=b.json -o comparison\n\n\
        Exit status:\n  \
        0  every runtime gave every answer, and each was right\n  \
        1  there is a report, and it has wrong answers, deaths or other problems\n  \
        2  there is no report: the arguments are wrong, or nothing could be measured")]
pub struct CompareArguments {
    /// Scenario files: what is compared, and how
    #[arg(value_name = "SCENARIO", value_hint = ValueHint::FilePath, conflicts_with_all = ["runtimes", "logs"])]
    pub scenarios: Vec<PathBuf>,

    /// A runtime: a program with its arguments, a zip file, or image:NAME; may be repeated. The first is what the
    /// others are compared with
    #[arg(long = "runtime", value_name = "NAME=WHAT")]
    pub runtimes: Vec<OsString>,

    /// The handler, for all runtimes [default: function.handler]
    #[arg(long)]
    pub handler: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "its own are the help")]
    pub task_root: TaskRoot,

    /// The expected answer.
    #[arg(
        long,
        value_name = "ANSWER",
        help = "The expected answer: echo, echo-json, raw, json-raw, any, text:TEXT or file:PATH [default: echo, as the \
                handler of AWS's tutorial answers]"
    )]
    pub expect: Option<String>,

    /// A variable for all runtimes; may be repeated
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub variables: Vec<Variable>,

    /// The memory size, with Lambda's share of CPU for it; enforced where the system permits that
    #[arg(long, value_name = "MB")]
    pub memory: Option<u32>,

    /// The share of CPU, if the memory size is not to decide
    #[arg(long, value_name = "COUNT")]
    pub cpus: Option<f64>,

    /// The sizes of the events, in bytes [default: 32,1024]
    #[arg(long, value_name = "BYTES", value_delimiter = ',')]
    pub sizes: Option<Vec<usize>>,

    /// How often each runtime is started [default: 20]
    #[arg(long, value_name = "COUNT")]
    pub repeats: Option<usize>,

    /// How often the runtimes take turns [default: 10]
    #[arg(long, value_name = "COUNT")]
    pub rounds: Option<usize>,

    /// The invocations in a turn, at most, within 600 ms [default: 200]
    #[arg(long, value_name = "COUNT")]
    pub invocations: Option<usize>,

    /// The pause before each event, in milliseconds [default: 0]
    #[arg(long, value_name = "MILLISECONDS")]
    pub gap: Option<f64>,

    /// Six starts and six short turns, the fewest that can show a difference, unless other options give their number
    #[arg(long)]
    pub quick: bool,

    /// Write the output of each runtime to a file in this folder, up to 64 MiB
    #[arg(long = "log-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub logs_folder: Option<PathBuf>,

    /// Logs to take the figures from, instead of measuring: exports, or what an invocation returned; may be repeated.
    /// With a label the lines of a file are one runtime, without one they are grouped by function
    #[arg(long = "from-logs", value_name = "[LABEL=]FILE", value_hint = ValueHint::FilePath, conflicts_with = "runtimes")]
    pub logs: Vec<OsString>,

    /// Write the report to this folder, as page, Markdown, JSON, CSV and pictures
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,

    /// The runtime that ratios refer to [default: the first]
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,

    /// How long a runtime may do nothing before it counts as hung [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
}

/// Compares, and prints the report.
///
/// # Errors
/// If nothing could be compared, or the report cannot be written.
pub(crate) fn run(arguments: &CompareArguments) -> Result<ExitCode, Error> {
    let has_colour = io::stdout().is_terminal() && !is_colour_refused();
    let save = |results: &Results, folder: &Option<PathBuf>| match folder {
        Some(folder) => report::write(results, folder),
        None => Ok(()),
    };
    if !arguments.logs.is_empty() {
        let results = from_logs(arguments)?;
        save(&results, &arguments.output).map_err(Error::Compare)?;
        print(report::terminal(&results, has_colour).as_bytes())?;
        return Ok(ExitCode::from(u8::from(!is_well(&results))));
    }
    let stop = StopSignal::listen().map_err(Error::io("cannot listen to signals"))?;
    let options = Options {
        shows_progress: true,
        logs: logs_folder(arguments)?,
    };
    let mut is_all_well = true;
    for (scenario, output) in scenarios(arguments)? {
        let results = run::run(&scenario, &options, &stop, |results| save(results, &output));
        let results = results.map_err(Error::Compare)?;
        print(report::terminal(&results, has_colour).as_bytes())?;
        if let Some(signal) = stop.signal() {
            return Ok(ExitCode::from(128 + signal));
        }
        is_all_well &= is_well(&results);
    }
    Ok(ExitCode::from(u8::from(!is_all_well)))
}

fn misuse(what: impl Into<String>, cause: impl Into<String>) -> Error {
    Error::Misuse {
        what: what.into(),
        cause: cause.into(),
    }
}

/// The scenarios, each with the folder for its report.
fn scenarios(arguments: &CompareArguments) -> Result<Vec<(Scenario, Option<PathBuf>)>, Error> {
    if arguments.scenarios.is_empty() {
        if arguments.runtimes.is_empty() {
            return Err(misuse(
                "cannot compare",
                "expected scenario files, --runtime or --from-logs",
            ));
        }
        let folder = absolute(Path::new("."))?;
        let mut file = File::default();
        for runtime in &arguments.runtimes {
            file.runtimes.push(runtime_of(runtime, &folder)?);
        }
        arguments.apply_to(&mut file, Some(arguments.task_root.folder()?))?;
        let scenario = file
            .scenario(&folder, "these runtimes")
            .map_err(Error::Compare)?;
        return Ok(vec![(scenario, arguments.output.clone())]);
    }
    let mut found: Vec<(Scenario, Option<PathBuf>)> = Vec::new();
    for path in &arguments.scenarios {
        let (mut file, folder) = File::read(path).map_err(Error::Compare)?;
        let task_root = arguments.task_root.task_root.as_deref();
        let task_root = task_root.map(absolute).transpose()?;
        arguments.apply_to(&mut file, task_root)?;
        let stem = path.file_stem().unwrap_or_default();
        let scenario = file
            .scenario(&folder, &stem.to_string_lossy())
            .map_err(Error::Compare)?;
        let output = arguments
            .output
            .as_ref()
            .map(|output| match arguments.scenarios.len() {
                1 => output.clone(),
                _ => output.join(stem),
            });
        if output.is_some() && found.iter().any(|(_, other)| *other == output) {
            let cause = "another scenario of that name is written to the same folder";
            return Err(misuse(format!("cannot compare {}", path.display()), cause));
        }
        found.push((scenario, output));
    }
    Ok(found)
}

impl CompareArguments {
    /// Overrides the keys that the file has for all runtimes.
    fn apply_to(&self, file: &mut File, task_root: Option<PathBuf>) -> Result<(), Error> {
        fn set<T>(value: Option<T>, field: &mut Option<T>) {
            if value.is_some() {
                *field = value;
            }
        }
        set(self.handler.clone(), &mut file.handler);
        set(task_root, &mut file.task_root);
        set(self.expect.clone(), &mut file.expect);
        set(self.memory, &mut file.memory);
        set(self.cpus, &mut file.cpus);
        set(
            self.timeout.map(|timeout| timeout.as_secs_f64()),
            &mut file.timeout,
        );
        set(self.baseline.clone(), &mut file.baseline);
        set(self.sizes.clone(), &mut file.warm.sizes);
        set(self.repeats, &mut file.cold.repeats);
        set(self.rounds, &mut file.warm.rounds);
        set(self.invocations, &mut file.warm.invocations);
        set(self.gap, &mut file.warm.gap);
        if self.quick {
            file.cold.repeats.get_or_insert(6);
            file.warm.rounds.get_or_insert(6);
            file.warm.budget.get_or_insert(100);
        }
        for Variable { name, value } in &self.variables {
            let text = |text: &OsString| {
                let what = format!("cannot use variable {}", name.display());
                text.to_str()
                    .map(ToOwned::to_owned)
                    .ok_or_else(|| misuse(what, "it is not UTF-8"))
            };
            file.env.insert(text(name)?, text(value)?);
        }
        Ok(())
    }
}

/// `NAME=WHAT`: a zip file is known by its extension, an image by its prefix; anything else is a command.
fn runtime_of(argument: &OsStr, folder: &Path) -> Result<RuntimeTable, Error> {
    let wrong = |cause: &str| misuse(format!("cannot use runtime {}", argument.display()), cause);
    let text = argument.to_str().ok_or_else(|| wrong("it is not UTF-8"))?;
    let (name, what) = text
        .split_once('=')
        .ok_or_else(|| wrong("expected NAME=WHAT"))?;
    let mut runtime = RuntimeTable {
        name: name.to_owned(),
        ..RuntimeTable::default()
    };
    if let Some(image) = what.strip_prefix("image:") {
        runtime.image = Some(image.to_owned());
    } else if Path::new(what)
        .extension()
        .is_some_and(|kind| kind == "zip")
    {
        runtime.zip = Some(folder.join(what));
    } else {
        runtime.command = Some(Words::Text(what.to_owned()));
    }
    Ok(runtime)
}

fn logs_folder(arguments: &CompareArguments) -> Result<Option<PathBuf>, Error> {
    let Some(folder) = &arguments.logs_folder else {
        return Ok(None);
    };
    let folder = absolute(folder)?;
    let what = format!("cannot make folder {}", folder.display());
    std::fs::create_dir_all(&folder).map_err(Error::io(what))?;
    Ok(Some(folder))
}

fn from_logs(arguments: &CompareArguments) -> Result<Results, Error> {
    let sources = arguments.logs.iter().map(|text| LogSource::parse(text));
    let sources: Result<Vec<_>, _> = sources.collect();
    let mut results =
        lambda_logs::read(&sources.map_err(Error::Compare)?).map_err(Error::Compare)?;
    if let Some(name) = &arguments.baseline {
        results.set_baseline(name).map_err(Error::Compare)?;
    }
    results.compute();
    Ok(results)
}

/// Whether every answer was right. What a runtime leaves behind is no wrong answer.
fn is_well(results: &Results) -> bool {
    let mut kinds = results.problems.iter().map(|problem| problem.kind);
    kinds.all(|kind| kind == ProblemKind::Leaked)
}
