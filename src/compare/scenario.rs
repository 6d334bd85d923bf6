//! What is compared, and how: a TOML file, or the same from the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::Error;
use super::event::{Event, Expect, read_at_most};
use super::limits::Limits;
use super::results::title_of;
use coshell_wire::MAX_RESPONSE_BYTES;

/// What is longer is no scenario.
const MAX_SCENARIO_BYTES: usize = 1 << 20;

/// A scenario as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// What is compared, in a few words.
    pub title: Option<String>,
    /// The handler, for runtimes that name no other. The same holds for all down to `cpus`.
    pub handler: Option<String>,
    /// Where the code lies; relative to the file's folder, which it is if it is not said.
    pub task_root: Option<PathBuf>,
    /// What is answered.
    pub expect: Option<String>,
    /// Variables for the runtimes, beside Lambda's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The memory size in MB, which decides on CPU too.
    pub memory: Option<u32>,
    /// The share of CPU, where memory is not to decide.
    pub cpus: Option<f64>,
    /// How long a runtime may do nothing, in seconds.
    pub timeout: Option<f64>,
    /// The runtime that ratios refer to; the first if it is not said.
    pub baseline: Option<String>,
    /// Starts.
    #[serde(default)]
    pub cold: ColdTable,
    /// Invocations.
    #[serde(default)]
    pub warm: WarmTable,
    /// What is compared.
    #[serde(default, rename = "runtime")]
    pub runtimes: Vec<RuntimeTable>,
}

/// How starts are measured.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdTable {
    /// How many of each runtime.
    pub repeats: Option<usize>,
    /// Whether files are in memory: `warm`, or `dropped` before each start.
    pub page_cache: Option<PageCache>,
}

/// Whether what a runtime reads at its start is in memory already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageCache {
    /// It is, but for the first start.
    #[default]
    Warm,
    /// It is not, where the system lets us empty it.
    Dropped,
}

/// How invocations are measured.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmTable {
    /// Sizes of events that are made up, in bytes.
    pub sizes: Option<Vec<usize>>,
    /// Events from files.
    #[serde(default)]
    pub events: Vec<EventEntry>,
    /// How often the runtimes take turns.
    pub rounds: Option<usize>,
    /// How many invocations a turn has at most.
    pub invocations: Option<usize>,
    /// How long a turn may take, in milliseconds.
    pub budget: Option<u64>,
    /// Invocations before the first turn.
    pub warmup: Option<usize>,
    /// What is waited before each event, in milliseconds.
    pub gap: Option<f64>,
}

/// An event from a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum EventEntry {
    /// Answered as the runtime's or scenario's `expect` says.
    File(PathBuf),
    /// Answered in a way of its own.
    Table(EventTable),
}

/// An event from a file, and its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventTable {
    /// Where it is.
    pub file: PathBuf,
    /// What is answered.
    pub expect: Option<String>,
}

/// One of those that are compared: a command, a zip file or an image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeTable {
    /// What it is called in the report.
    pub name: String,
    /// A program and its arguments.
    pub command: Option<Words>,
    /// A zip file that has a `bootstrap`.
    pub zip: Option<PathBuf>,
    /// An image that the local Docker engine has.
    pub image: Option<String>,
    /// As in the scenario, for this one.
    pub handler: Option<String>,
    /// As in the scenario.
    pub task_root: Option<PathBuf>,
    /// As in the scenario, and in addition to it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// As in the scenario.
    pub memory: Option<u32>,
    /// As in the scenario.
    pub cpus: Option<f64>,
    /// As in the scenario.
    pub expect: Option<String>,
}

/// A command line.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Words {
    /// As a shell splits it.
    Text(String),
    /// Split.
    List(Vec<String>),
}

/// A scenario that makes sense; all paths are absolute.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What is compared, in a few words.
    pub title: String,
    /// How long a runtime may do nothing.
    pub timeout: Duration,
    /// How many starts of each runtime.
    pub repeats: usize,
    /// Whether files are in memory at a start.
    pub(crate) page_cache: PageCache,
    /// What is sent; no two are of the same size.
    pub events: Vec<Event>,
    /// How often the runtimes take turns.
    pub rounds: usize,
    /// How many invocations a turn has at most.
    pub invocations: usize,
    /// How long a turn may take.
    pub budget: Duration,
    /// Invocations before the first turn.
    pub warmup: usize,
    /// What is waited before each event.
    pub gap: Duration,
    /// What is compared.
    pub runtimes: Vec<Runtime>,
    /// The name of the one that ratios refer to.
    pub baseline: String,
}

/// One of those that are compared.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// What it is called.
    pub name: String,
    /// How it is started.
    pub program: Program,
    /// The same, as the scenario has it: where that lies is nothing for a report.
    pub written: String,
    /// What it finds in `_HANDLER`.
    pub handler: String,
    /// Where it finds itself.
    pub task_root: PathBuf,
    /// Variables beside Lambda's.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub(crate) limits: Limits,
    /// What it answers.
    pub(crate) expect: Expect,
}

/// How a runtime is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A program and its arguments.
    Command(Vec<String>),
    /// A function's zip file.
    Zip(PathBuf),
    /// A container image.
    Image(String),
}

impl File {
    /// Reads a scenario, and the folder that its paths are relative to.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or has a key that there is not.
    pub fn read(path: &Path) -> Result<(Self, PathBuf), Error> {
        let what = || format!("cannot read scenario {}", path.display());
        let absolute = std::path::absolute(path).map_err(|error| Error::new(what(), error))?;
        let bytes = read_at_most(path, MAX_SCENARIO_BYTES);
        let bytes = bytes.map_err(|error| Error::new(what(), error))?;
        let text = String::from_utf8(bytes).map_err(|error| Error::new(what(), error))?;
        let file = toml::from_str(&text).map_err(|error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text
                .as_bytes()
                .iter()
                .take(at)
                .filter(|&&byte| byte == b'\n')
                .count()
                + 1;
            Error::new(what(), format!("line {line}: {}", error.message().trim()))
        })?;
        let folder = absolute.parent().map(Path::to_path_buf);
        Ok((file, folder.unwrap_or_default()))
    }

    /// The scenario with paths relative to `folder`; errors call it `name`. Without a title it is called after its runtimes.
    ///
    /// # Errors
    /// When it makes no sense, or a file that it names is not there.
    pub fn scenario(&self, folder: &Path, name: &str) -> Result<Scenario, Error> {
        let wrong = |cause: String| Error::new(format!("cannot compare {name}"), cause);
        if self.runtimes.is_empty() {
            return Err(wrong("there is no runtime".to_owned()));
        }
        let mut names = BTreeSet::new();
        for runtime in &self.runtimes {
            if runtime.name.trim().is_empty() {
                return Err(wrong("a runtime has no name".to_owned()));
            }
            if !names.insert(&runtime.name) {
                return Err(wrong(format!("two runtimes are called {:?}", runtime.name)));
            }
        }
        let baseline = self.baseline.as_ref().unwrap_or(&self.runtimes[0].name);
        if !names.contains(baseline) {
            return Err(wrong(format!(
                "the baseline {baseline:?} is none of the runtimes"
            )));
        }
        let runtimes = self.runtimes.iter().map(|runtime| {
            let made = self.runtime(runtime, folder);
            made.map_err(|error| wrong(format!("runtime {:?}: {error}", runtime.name)))
        });
        let scenario = Scenario {
            title: self.title.clone().unwrap_or_else(|| {
                let names = self.runtimes.iter().map(|runtime| runtime.name.clone());
                title_of(&names.collect::<Vec<_>>())
            }),
            timeout: positive("timeout", self.timeout.unwrap_or(10.0)).map_err(wrong)?,
            repeats: self.cold.repeats.unwrap_or(20),
            page_cache: self.cold.page_cache.unwrap_or_default(),
            events: self.events(folder).map_err(wrong)?,
            rounds: self.warm.rounds.unwrap_or(10),
            invocations: self.warm.invocations.unwrap_or(200),
            budget: Duration::from_millis(self.warm.budget.unwrap_or(600)),
            warmup: self.warm.warmup.unwrap_or(10).max(1),
            gap: not_negative("gap", self.warm.gap.unwrap_or(0.0) / 1000.0).map_err(wrong)?,
            runtimes: runtimes.collect::<Result<_, _>>()?,
            baseline: baseline.clone(),
        };
        if scenario.repeats == 0 && scenario.rounds == 0 {
            return Err(wrong(
                "neither cold.repeats nor warm.rounds is above 0".to_owned(),
            ));
        }
        if scenario.invocations == 0 || scenario.budget.is_zero() {
            return Err(wrong(
                "warm.invocations and warm.budget have to be above 0".to_owned(),
            ));
        }
        Ok(scenario)
    }

    fn events(&self, folder: &Path) -> Result<Vec<Event>, String> {
        let sizes = match &self.warm.sizes {
            Some(sizes) => &sizes[..],
            None if self.warm.events.is_empty() => &[32, 1024],
            None => &[],
        };
        let mut events = Vec::new();
        for &size in sizes {
            events.push(Event::of_size(size).map_err(|cause| format!("size {size}: {cause}"))?);
        }
        for entry in &self.warm.events {
            let (path, expect) = match entry {
                EventEntry::File(path) => (path, None),
                EventEntry::Table(table) => (&table.file, table.expect.as_deref()),
            };
            let read = read_at_most(&folder.join(path), MAX_RESPONSE_BYTES);
            let bytes = read.map_err(|error| format!("event {}: {error}", path.display()))?;
            let expect = expect.map(|word| Expect::read(word, folder)).transpose();
            events.push(Event {
                bytes,
                expect: expect.map_err(|error| error.to_string())?,
            });
        }
        if events.is_empty() {
            return Err("there is no event".to_owned());
        }
        let mut seen = BTreeSet::new();
        match events.iter().find(|event| !seen.insert(event.bytes.len())) {
            Some(event) => Err(format!(
                "two events have {} bytes, and figures are told apart by the size",
                event.bytes.len()
            )),
            None => Ok(events),
        }
    }

    fn runtime(&self, table: &RuntimeTable, folder: &Path) -> Result<Runtime, String> {
        let program = match (&table.command, &table.zip, &table.image) {
            (Some(words), None, None) => Program::Command(command(words, folder)?),
            (None, Some(path), None) => Program::Zip(folder.join(path)),
            (None, None, Some(image)) if !image.trim().is_empty() => Program::Image(image.clone()),
            _ => return Err("expected one of command, zip and image".to_owned()),
        };
        if let Program::Zip(path) = &program {
            there(path)?;
        }
        let written = match (&table.command, &table.zip) {
            (Some(Words::Text(text)), _) => format!("command {text}"),
            (Some(Words::List(words)), _) => format!("command {}", shell_words::join(words)),
            (None, Some(path)) => format!("zip {}", path.display()),
            _ => format!("image {}", table.image.as_deref().unwrap_or_default()),
        };
        let task_root = table.task_root.as_ref().or(self.task_root.as_ref());
        let task_root = task_root.map_or_else(|| folder.to_path_buf(), |path| folder.join(path));
        if !there(&task_root)?.is_dir() {
            return Err(format!("{} is not a folder", task_root.display()));
        }
        let memory_mb = table.memory.or(self.memory);
        if memory_mb.is_some_and(|mb| !(64..=32_768).contains(&mb)) {
            return Err("expected 64 to 32768 MB of memory".to_owned());
        }
        let cpus = table.cpus.or(self.cpus);
        if cpus.is_some_and(|cpus| !(0.05..=1024.0).contains(&cpus)) {
            return Err("expected 0.05 to 1024 CPUs".to_owned());
        }
        let mut env = self.env.clone();
        env.extend(table.env.clone());
        let is_variable = |name: &&String| !name.is_empty() && !name.contains(['=', '\0']);
        if let Some(name) = env.keys().find(|name| !is_variable(name)) {
            return Err(format!("{name:?} is no name of a variable"));
        }
        let expect = table.expect.as_ref().or(self.expect.as_ref());
        let expect = expect.map_or(Ok(Expect::Echo), |word| Expect::read(word, folder));
        let handler = table.handler.as_ref().or(self.handler.as_ref());
        Ok(Runtime {
            name: table.name.clone(),
            program,
            written,
            handler: handler
                .cloned()
                .unwrap_or_else(|| "function.handler".to_owned()),
            task_root,
            env,
            limits: Limits::new(memory_mb, cpus),
            expect: expect.map_err(|error| error.to_string())?,
        })
    }
}

fn there(path: &Path) -> Result<fs::Metadata, String> {
    fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn positive(name: &str, seconds: f64) -> Result<Duration, String> {
    let duration = not_negative(name, seconds)?;
    if duration.is_zero() {
        return Err(format!("{name}: expected more than 0 seconds"));
    }
    Ok(duration)
}

fn not_negative(name: &str, seconds: f64) -> Result<Duration, String> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if seconds < 86_400.0 => Ok(duration),
        _ => Err(format!(
            "{name}: expected less than a day, and not less than 0"
        )),
    }
}

/// A program and its arguments. The runtime starts in the task root: what has a slash and is there, seen from `folder`,
/// is meant from there.
fn command(words: &Words, folder: &Path) -> Result<Vec<String>, String> {
    let words = match words {
        Words::List(words) => words.clone(),
        Words::Text(text) => {
            shell_words::split(text).map_err(|error| format!("command: {error}"))?
        }
    };
    let Some(program) = words.first().filter(|program| !program.is_empty()) else {
        return Err("command: there is no program".to_owned());
    };
    if program.contains('/') {
        there(&folder.join(program))?;
    }
    let absolute = |word: String| {
        let path = folder.join(&word);
        let is_path = word.contains('/') && path.exists();
        match path.into_os_string().into_string() {
            Ok(path) if is_path => path,
            _ => word,
        }
    };
    Ok(words.into_iter().map(absolute).collect())
}
