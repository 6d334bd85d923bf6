//! A scenario: what is compared and how, from a TOML file or from the command line.

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

/// A longer file is no scenario.
const MAX_SCENARIO_BYTES: usize = 1 << 20;

/// A scenario as the file has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub title: Option<String>,
    /// The handler of runtimes that name no other. All keys down to `cpus` are defaults for the runtimes.
    pub handler: Option<String>,
    /// The folder with the code, relative to the folder of the file, which is the default.
    pub task_root: Option<PathBuf>,
    /// The expected answer.
    pub expect: Option<String>,
    /// Environment variables beside those of Lambda.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The memory size in MB, which decides on the share of CPU, too.
    pub memory: Option<u32>,
    /// The share of CPU, if the memory size is not to decide.
    pub cpus: Option<f64>,
    /// How long a runtime may do nothing, in seconds.
    pub timeout: Option<f64>,
    /// The runtime that ratios refer to. The default is the first.
    pub baseline: Option<String>,
    #[serde(default)]
    pub cold: ColdTable,
    #[serde(default)]
    pub warm: WarmTable,
    #[serde(default, rename = "runtime")]
    pub runtimes: Vec<RuntimeTable>,
}

/// How cold starts are measured.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdTable {
    /// How many starts of each runtime.
    pub repeats: Option<usize>,
    pub page_cache: Option<PageCache>,
}

/// Whether the files that a runtime reads at its start are in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageCache {
    /// They are, except at the first start.
    #[default]
    Warm,
    /// The page cache is emptied before each start, if the system permits that.
    Dropped,
}

/// How warm invocations are measured.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmTable {
    /// Sizes of generated events, in bytes.
    pub sizes: Option<Vec<usize>>,
    /// Events from files.
    #[serde(default)]
    pub events: Vec<EventEntry>,
    /// Turns of each runtime.
    pub rounds: Option<usize>,
    /// Invocations in a turn, at most.
    pub invocations: Option<usize>,
    /// Duration of a turn, at most, in milliseconds.
    pub budget: Option<u64>,
    /// Invocations before the first turn.
    pub warmup: Option<usize>,
    /// Pause before each event, in milliseconds.
    pub gap: Option<f64>,
}

/// An event from a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum EventEntry {
    /// Answered as the `expect` of the runtime or the scenario says.
    File(PathBuf),
    /// With an `expect` of its own.
    Table(EventTable),
}

/// An event from a file, with its expected answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventTable {
    pub file: PathBuf,
    pub expect: Option<String>,
}

/// A runtime: a command, a zip file or an image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeTable {
    /// Its name in the report.
    pub name: String,
    /// A program and its arguments.
    pub command: Option<Words>,
    /// A zip file with a `bootstrap`.
    pub zip: Option<PathBuf>,
    /// An image that the local Docker engine has.
    pub image: Option<String>,
    /// As in the scenario. The same holds for the other keys.
    pub handler: Option<String>,
    pub task_root: Option<PathBuf>,
    /// In addition to those of the scenario.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub memory: Option<u32>,
    pub cpus: Option<f64>,
    pub expect: Option<String>,
}

/// A command line.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Words {
    /// A shell would split it in the same way.
    Text(String),
    /// A word each.
    List(Vec<String>),
}

/// A valid scenario. All paths are absolute.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub title: String,
    /// How long a runtime may do nothing before it counts as hung.
    pub timeout: Duration,
    /// How many starts of each runtime.
    pub repeats: usize,
    pub(crate) page_cache: PageCache,
    /// No two of them have the same size.
    pub events: Vec<Event>,
    /// Turns of each runtime.
    pub rounds: usize,
    /// Invocations in a turn, at most.
    pub invocations: usize,
    /// Duration of a turn, at most.
    pub budget: Duration,
    /// Invocations before the first turn.
    pub warmup: usize,
    /// Pause before each event.
    pub gap: Duration,
    pub runtimes: Vec<Runtime>,
    /// The name of the runtime that ratios refer to.
    pub baseline: String,
}

/// A runtime of a valid scenario.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub name: String,
    pub program: Program,
    /// The program as the scenario has it. A report has no absolute paths.
    pub written: String,
    /// The value of `_HANDLER`.
    pub handler: String,
    /// Its working directory.
    pub task_root: PathBuf,
    /// Environment variables beside those of Lambda.
    pub env: BTreeMap<String, String>,
    pub(crate) limits: Limits,
    /// The expected answer.
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
    /// Reads a scenario. The path that is returned is the folder of the file, to which its paths are relative.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, or has an unknown key.
    pub fn read(path: &Path) -> Result<(Self, PathBuf), Error> {
        let what = || format!("cannot read scenario {}", path.display());
        let absolute = std::path::absolute(path).map_err(|error| Error::new(what(), error))?;
        let bytes = read_at_most(path, MAX_SCENARIO_BYTES);
        let bytes = bytes.map_err(|error| Error::new(what(), error))?;
        let text = String::from_utf8(bytes).map_err(|error| Error::new(what(), error))?;
        let file = toml::from_str(&text).map_err(|error: toml::de::Error| {
            let position = error.span().map_or(0, |span| span.start);
            let line = text
                .as_bytes()
                .iter()
                .take(position)
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
    /// If it is not valid, or a file that it names is missing.
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
                "two events have {} bytes, and a report tells events apart by their size",
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
            return Err(format!("{name:?} is not the name of a variable"));
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

/// A program and its arguments. The runtime starts in the task root. So a word with a slash that names a file, seen from
/// `folder`, becomes an absolute path.
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
