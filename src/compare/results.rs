//! The results of a comparison: every sample, what went wrong, and where and how it was measured.
//!
//! This is the JSON that `coshell compare` writes, and the doc comments here are its schema. It includes the figures that
//! follow from the samples, so that a reader needs no statistics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Error;
use super::statistics::{Ratio, Summary, ratio, summary};

/// The version of the document.
pub const VERSION: u32 = 1;

/// A whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Results {
    /// The version of this document: 1.
    pub version: u32,
    /// A title.
    pub title: String,
    /// Where the samples come from.
    pub source: Source,
    /// When it began: RFC 3339, UTC.
    pub begun: String,
    /// Whether the comparison has run to its end. Files that are written on the way say no.
    pub is_complete: bool,
    /// The machine on which it ran or, for logs, on which they were read.
    pub machine: Machine,
    /// How it was measured: the name of each setting, as in the scenario, and its value.
    pub settings: Vec<(String, String)>,
    /// What makes these figures less sure than they look: load, clock, other processes, limits that were not permitted. A
    /// sentence each.
    pub warnings: Vec<String>,
    /// The cost of measuring: the figures of a runtime that does nothing, measured in the same way.
    pub floor: Vec<Series>,
    /// The name of the runtime that ratios refer to.
    pub baseline: String,
    /// The runtimes, in the order of the scenario.
    pub runtimes: Vec<Runtime>,
    /// The samples, ordered by runtime, metric and event size.
    pub series: Vec<Series>,
    /// What went wrong. The samples include none of it.
    pub problems: Vec<Problem>,
}

/// Where samples come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// This machine, with a clock.
    Measured,
    /// REPORT lines of Lambda or of an emulator.
    Logs,
}

/// The machine on which a comparison ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Machine {
    /// The name of the processor.
    pub cpu: String,
    /// How many processors can be used.
    pub cpus: usize,
    /// The release of the kernel.
    pub kernel: String,
    /// The distribution, from /etc/os-release.
    pub os: String,
    /// The version of `coshell`.
    pub coshell: String,
    /// The load average of the last minute, at the start.
    pub load: f64,
}

/// A runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Runtime {
    /// Its name in the scenario, or the label of its log.
    pub name: String,
    /// A description: `command bash bootstrap, handler function.handler, 512 MB`.
    pub description: String,
}

/// What is measured. JSON and CSV have these names in camel case.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Metric {
    /// From before the process is started until its first `GET next` is read. Milliseconds.
    Init,
    /// From sending the first event to a fresh process until its answer is read. Milliseconds.
    FirstAnswer,
    /// From before the process is started until its first answer is read. Milliseconds.
    ColdTotal,
    /// From before the first byte of an event is sent until the end of its answer is read. Milliseconds.
    Latency,
    /// From the acknowledgement of an answer until the next `GET next` is read. Milliseconds.
    Turnaround,
    /// Invocations in a second while the next event is always ready; a sample a round.
    Throughput,
    /// User and system time of the process tree. Milliseconds for each invocation; a sample a round.
    CpuTime,
    /// Processes and threads that the runtime and its descendants start for each invocation; a sample a round.
    Processes,
    /// Peak memory of the process tree, shared pages counted once (PSS). MiB; a sample a round.
    PeakMemory,
    /// Of logs: Duration of invocations without an init. Milliseconds.
    Duration,
    /// Of logs: Duration of invocations after an init or a restore. Milliseconds.
    ColdDuration,
    /// Of logs: Billed Duration. Milliseconds.
    BilledDuration,
    /// Of logs: Init Duration. Milliseconds.
    InitDuration,
    /// Of logs: Restore Duration. Milliseconds.
    RestoreDuration,
    /// Of logs: Max Memory Used. MB.
    MaxMemoryUsed,
}

impl Metric {
    /// All metrics, in the order of reports.
    pub(crate) const ALL: [Self; 15] = [
        Self::Init,
        Self::FirstAnswer,
        Self::ColdTotal,
        Self::InitDuration,
        Self::RestoreDuration,
        Self::ColdDuration,
        Self::Latency,
        Self::Duration,
        Self::BilledDuration,
        Self::Turnaround,
        Self::Throughput,
        Self::CpuTime,
        Self::Processes,
        Self::PeakMemory,
        Self::MaxMemoryUsed,
    ];

    /// Its name in reports.
    pub fn title(self) -> &'static str {
        match self {
            Self::Init => "start to first next",
            Self::FirstAnswer => "first event to its answer",
            Self::ColdTotal => "start to first answer",
            Self::Latency => "event to answer",
            Self::Turnaround => "answer to next",
            Self::Throughput => "invocations in a second",
            Self::CpuTime => "CPU time",
            Self::Processes => "processes",
            Self::PeakMemory => "peak memory",
            Self::Duration => "Duration",
            Self::ColdDuration => "Duration after an init",
            Self::BilledDuration => "Billed Duration",
            Self::InitDuration => "Init Duration",
            Self::RestoreDuration => "Restore Duration",
            Self::MaxMemoryUsed => "Max Memory Used",
        }
    }

    /// The unit of its samples; empty for a count.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Throughput => "/s",
            Self::Processes => "",
            Self::PeakMemory => "MiB",
            Self::MaxMemoryUsed => "MB",
            _ => "ms",
        }
    }

    /// Whether more is better.
    pub fn is_more_better(self) -> bool {
        self == Self::Throughput
    }

    /// Whether it belongs to cold starts.
    pub fn is_cold(self) -> bool {
        matches!(
            self,
            Self::Init
                | Self::FirstAnswer
                | Self::ColdTotal
                | Self::InitDuration
                | Self::RestoreDuration
                | Self::ColdDuration
        )
    }
}

/// The samples of one metric of one runtime, at one event size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Series {
    /// The runtime's name.
    pub runtime: String,
    /// What was measured.
    pub metric: Metric,
    /// The size of the event, in bytes; none if it is unknown.
    pub event_bytes: Option<usize>,
    /// The samples of each round, in the unit of the metric. The runtimes of a comparison take turns within a round, so that the
    /// same round of two runtimes meets the same machine. A round without a right answer is empty. Of logs, a line is a round.
    pub rounds: Vec<Vec<f64>>,
    /// The figures of the samples.
    pub summary: Summary,
    /// The comparison with the same series of the baseline; none for the baseline itself, and if either has no samples.
    pub ratio: Option<Ratio>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Problem {
    /// The runtime's name.
    pub runtime: String,
    pub kind: ProblemKind,
    /// Whether it went wrong in a cold start.
    pub is_cold: bool,
    /// The size of the event, in bytes; none if there was no event.
    pub event_bytes: Option<usize>,
    /// How many times it went wrong.
    pub count: usize,
    /// Details of the first time. Of event and answer it has the sizes and the place of the first difference, and no bytes.
    pub detail: String,
    /// The last lines that the runtime had printed when it failed for the first time, at most five of 200 characters.
    pub log: Vec<String>,
}

/// The kinds of problems.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ProblemKind {
    /// It could not be started.
    NotStarted,
    /// It reported an init error.
    InitError,
    /// It answered with other bytes than expected.
    WrongAnswer,
    /// It reported an error for the event.
    FunctionError,
    /// Its process ended.
    Died,
    /// It did nothing for as long as the scenario allows.
    Hung,
    /// It left processes, files or descriptors behind.
    Leaked,
    /// It sent HTTP that the Runtime API does not know.
    Protocol,
    /// A line of a log could not be read.
    LogLine,
}

impl ProblemKind {
    /// The words of a report for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotStarted => "cannot be started",
            Self::InitError => "reports an init error",
            Self::WrongAnswer => "answers wrongly",
            Self::FunctionError => "reports an error",
            Self::Died => "dies",
            Self::Hung => "hangs",
            Self::Leaked => "leaves something behind",
            Self::Protocol => "breaks the protocol",
            Self::LogLine => "has a log line that cannot be read",
        }
    }
}

/// A title for a comparison of runtimes with these names.
pub(crate) fn title_of(names: &[String]) -> String {
    /// More names than this make no title.
    const MOST: usize = 4;
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first, others @ ..] if names.len() > MOST => {
            format!("{first} and {} other runtimes", others.len())
        }
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

impl Results {
    /// Makes ratios refer to this runtime.
    ///
    /// # Errors
    /// If there is no runtime of that name.
    pub fn set_baseline(&mut self, name: &str) -> Result<(), Error> {
        let mut names = self.runtimes.iter().map(|runtime| runtime.name.as_str());
        if !names.any(|known| known == name) {
            let known: Vec<_> = self.runtimes.iter().map(|it| it.name.as_str()).collect();
            let cause = format!("there are {}", known.join("; "));
            return Err(Error::new(format!("cannot compare with {name}"), cause));
        }
        name.clone_into(&mut self.baseline);
        Ok(())
    }

    /// Computes every summary and every ratio from the samples.
    pub fn compute(&mut self) {
        let against_baseline = |series: &Series| {
            let baseline = self.series(&self.baseline, series.metric, series.event_bytes)?;
            let is_itself = series.runtime == self.baseline;
            let is_more_better = series.metric.is_more_better();
            (!is_itself).then(|| ratio(&series.rounds, &baseline.rounds, is_more_better))?
        };
        let ratios: Vec<_> = self.series.iter().map(against_baseline).collect();
        for (series, ratio) in self.series.iter_mut().zip(ratios) {
            series.ratio = ratio;
        }
        for series in self.series.iter_mut().chain(&mut self.floor) {
            series.summary = summary(&series.rounds);
        }
    }

    /// The series of a runtime, if there is one.
    pub fn series(
        &self,
        runtime: &str,
        metric: Metric,
        event_bytes: Option<usize>,
    ) -> Option<&Series> {
        self.series.iter().find(|series| {
            (series.runtime.as_str(), series.metric, series.event_bytes)
                == (runtime, metric, event_bytes)
        })
    }

    /// The pairs of metric and event size that have samples, in the order of reports.
    pub(crate) fn measures(&self) -> Vec<(Metric, Option<usize>)> {
        let mut measures: Vec<_> = self
            .series
            .iter()
            .map(|series| (series.metric, series.event_bytes))
            .collect();
        measures.sort_by_key(|(metric, size)| {
            (Metric::ALL.iter().position(|one| one == metric), *size)
        });
        measures.dedup();
        measures
    }
}
