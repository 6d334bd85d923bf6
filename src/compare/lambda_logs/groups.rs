//! Groups the records of logs into runtimes, and decides which of them are samples.
//!
//! An invocation that failed is a problem and no sample. Exports overlap, so that a record that is there twice counts once. Each
//! memory size of a group is a runtime.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::message::{Message, Place};
use super::records::{self, Record, Report};
use super::sources::LogSource;
use crate::Error;
use crate::results::{Metric, Problem, ProblemKind, Results, Runtime, Series};
use crate::statistics::Summary;

/// A record and its place.
struct PlacedRecord {
    record: Result<Record, String>,
    function: Option<String>,
    stream: Option<String>,
    place: Place,
}

/// The groups, in the order of their first records.
#[derive(Default)]
pub(crate) struct Groups(Vec<Group>);

impl Groups {
    /// Adds the records of a source; `all` are the sources of the comparison.
    ///
    /// # Errors
    /// If it cannot be read, or has no record of an invocation.
    pub(crate) fn add_source(
        &mut self,
        source: &LogSource,
        all: &[LogSource],
    ) -> Result<(), Error> {
        let (mut count, mut found) = (0, Vec::new());
        source.read(|message| {
            count += 1;
            found.extend(record_in(message));
        })?;
        let (mut reports, mut bad) = (0, None);
        for one in &found {
            match &one.record {
                Ok(Record::Report(_)) => reports += 1,
                Err(cause) if bad.is_none() => bad = Some(format!("{}: {cause}", one.place)),
                _ => {}
            }
        }
        if reports == 0 {
            let cause = bad.map_or_else(
                || {
                    format!(
                        "none of its {count} messages is a REPORT line or a platform.report event"
                    )
                },
                |bad| format!("no REPORT line in it can be read; the first, {bad}"),
            );
            return Err(Error::new(
                format!("cannot read logs of {}", source.name()),
                cause,
            ));
        }
        let functions = functions_of_streams(&found);
        let otherwise = source.group(all);
        for one in found {
            let function = one.function.or_else(|| functions.get(&one.stream)?.clone());
            let name = source.label.clone().or(function);
            let name = name.unwrap_or_else(|| otherwise.clone());
            let place = format!("{}, {}", source.name(), one.place);
            self.group(name).add(one.record, place);
        }
        Ok(())
    }

    /// Adds a runtime for each group and memory size.
    pub(crate) fn finish(self, results: &mut Results) {
        for group in self.0 {
            group.finish(results);
        }
    }

    fn group(&mut self, name: String) -> &mut Group {
        let index = self.0.iter().position(|group| group.name == name);
        let index = index.unwrap_or_else(|| {
            self.0.push(Group {
                name,
                ..Group::default()
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }
}

/// The record in a message, if there is one.
fn record_in(message: Message) -> Option<PlacedRecord> {
    let Message {
        body,
        function,
        stream,
        place,
    } = message;
    let body = match body {
        Value::String(text) => Value::String(text.trim_end().to_owned()),
        other => other,
    };
    let record = records::of(&body).transpose()?;
    Some(PlacedRecord {
        record,
        function,
        stream,
        place,
    })
}

/// The function of each stream of a file; none if a stream has several.
fn functions_of_streams(found: &[PlacedRecord]) -> BTreeMap<Option<String>, Option<String>> {
    let mut names: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for one in found {
        if let Ok(Record::Function(name)) = &one.record {
            names.entry(one.stream.clone()).or_default().insert(name);
        }
    }
    let only = |names: BTreeSet<&String>| match names.len() {
        1 => names.first().map(ToString::to_string),
        _ => None,
    };
    names
        .into_iter()
        .map(|(stream, names)| (stream, only(names)))
        .collect()
}

/// The records of one label, function or file.
#[derive(Default)]
struct Group {
    name: String,
    /// Reports with their places.
    reports: Vec<(Report, String)>,
    /// Request ids with durations, to find duplicates: all attempts of one event have the same id.
    known: HashSet<(String, u64)>,
    duplicates: usize,
    /// Why an invocation failed, and the place of that record, by request id.
    failures: HashMap<String, (String, String)>,
    /// Problems that belong to no report.
    others: Vec<(ProblemKind, String)>,
    ahead: usize,
}

impl Group {
    fn add(&mut self, record: Result<Record, String>, place: String) {
        match record {
            Ok(Record::Report(report)) => {
                // In hundredths: the two formats of Lambda's logs round differently beyond them.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let key = (
                    report.request_id.clone(),
                    (report.duration * 100.0).round() as u64,
                );
                if self.known.insert(key) {
                    self.reports.push((report, place));
                } else {
                    self.duplicates += 1;
                }
            }
            Ok(Record::Init { failure, is_ahead }) => {
                self.ahead += usize::from(is_ahead);
                if let Some(failure) = failure {
                    self.others
                        .push((ProblemKind::InitError, format!("{place}: {failure}")));
                }
            }
            Ok(Record::Failure { request_id, what }) => {
                self.failures.entry(request_id).or_insert((what, place));
            }
            Ok(Record::Function(_)) => {}
            Err(cause) => self
                .others
                .push((ProblemKind::LogLine, format!("{place}: {cause}"))),
        }
    }

    /// Adds a runtime for each memory size, with its samples and problems.
    fn finish(mut self, results: &mut Results) {
        self.apply_failures();
        let mut sizes: Vec<_> = self
            .reports
            .iter()
            .map(|(report, _)| report.memory)
            .collect();
        sizes.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
        sizes.dedup();
        for (index, size) in sizes.iter().enumerate() {
            let name = match size {
                Some(size) if sizes.len() > 1 => format!("{}, {size} MB", self.name),
                _ => self.name.clone(),
            };
            let of_size = self
                .reports
                .iter()
                .filter(|(report, _)| report.memory == *size);
            let (good, failed): (Vec<_>, Vec<_>) =
                of_size.partition(|(report, _)| report.failure.is_none());
            let good: Vec<_> = good.into_iter().map(|(report, _)| report).collect();
            results.runtimes.push(Runtime {
                description: description(*size, &good),
                name: name.clone(),
            });
            results.series.extend(series(&name, &good));
            let mut problems: Vec<_> = failed
                .into_iter()
                .map(|(report, place)| {
                    let failure = report.failure.as_deref().unwrap_or_default();
                    let detail = format!("{place}: {failure}");
                    (ProblemKind::FunctionError, report.is_cold(), detail)
                })
                .collect();
            if index == 0 {
                let others = self.others.drain(..);
                problems.extend(
                    others.map(|(kind, detail)| (kind, kind == ProblemKind::InitError, detail)),
                );
            }
            add_problems(results, &name, problems);
        }
        let mut warn = |count: usize, what: &str| {
            if count > 0 {
                results
                    .warnings
                    .push(format!("{}: {count} {what}", self.name));
            }
        };
        warn(
            self.duplicates,
            "records are there more than once, and count once",
        );
        warn(
            self.ahead,
            "inits that no invocation waited for are not among the samples",
        );
    }

    /// Applies the failures that only other lines than the reports have.
    fn apply_failures(&mut self) {
        let mut applied = HashSet::new();
        for (report, _) in &mut self.reports {
            if let Some((what, _)) = self.failures.get(&report.request_id) {
                applied.insert(report.request_id.clone());
                report.failure.get_or_insert_with(|| what.clone());
            }
        }
        let left = self
            .failures
            .drain()
            .filter(|(id, _)| !applied.contains(id));
        let mut left: Vec<_> = left
            .map(|(_, (what, place))| format!("{place}: {what}"))
            .collect();
        left.sort();
        let left = left
            .into_iter()
            .map(|detail| (ProblemKind::FunctionError, detail));
        self.others.extend(left);
    }
}

fn description(memory: Option<f64>, reports: &[&Report]) -> String {
    let cold = reports.iter().filter(|report| report.is_cold()).count();
    let memory = memory
        .map(|size| format!("{size} MB, "))
        .unwrap_or_default();
    format!(
        "{memory}{} invocations, {cold} of them after an init or a restore",
        reports.len()
    )
}

/// Takes a metric from a report.
type Take = fn(&Report) -> Option<f64>;

const METRICS: [(Metric, Take); 6] = [
    (Metric::InitDuration, |report| report.init),
    (Metric::RestoreDuration, |report| report.restore),
    (Metric::ColdDuration, |report| {
        report.is_cold().then_some(report.duration)
    }),
    (Metric::Duration, |report| {
        (!report.is_cold()).then_some(report.duration)
    }),
    (Metric::BilledDuration, |report| report.billed),
    (Metric::MaxMemoryUsed, |report| report.max_memory),
];

fn series(runtime: &str, reports: &[&Report]) -> Vec<Series> {
    let all = METRICS.iter().map(|(metric, take)| Series {
        runtime: runtime.to_owned(),
        metric: *metric,
        event_bytes: None,
        rounds: reports
            .iter()
            .filter_map(|report| take(report))
            .map(|sample| vec![sample])
            .collect(),
        summary: Summary::default(),
        ratio: None,
    });
    all.filter(|series| !series.rounds.is_empty()).collect()
}

/// Adds one problem for each kind, with the details of the first.
fn add_problems(results: &mut Results, runtime: &str, problems: Vec<(ProblemKind, bool, String)>) {
    let mut found: BTreeMap<_, Problem> = BTreeMap::new();
    for (kind, is_cold, detail) in problems {
        let problem = found.entry((kind, is_cold)).or_insert(Problem {
            runtime: runtime.to_owned(),
            kind,
            is_cold,
            event_bytes: None,
            count: 0,
            detail,
            log: Vec::new(),
        });
        problem.count += 1;
    }
    results.problems.extend(found.into_values());
}
