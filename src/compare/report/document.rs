//! The whole report: title, result, tables and facts.

use super::super::results::{Problem, Results, Runtime, Series, Source};
use super::headline::headline;
use super::measure_table::measure_table;
use super::table::{Cell, Document, Log, Subject, Table, Tone};
use super::verdicts::{against_baseline, instead, samples};
use super::words::{self, NOTHING, clean, measure, name, quantity};

/// More runtimes than this do not fit beside each other.
const MOST_COLUMNS: usize = 8;

pub(crate) fn document(results: &Results) -> Document {
    let mut warnings = Vec::new();
    if !results.is_complete {
        let text = "not complete: written while the comparison ran, or it was stopped";
        warnings.push(text.to_owned());
    }
    warnings.extend(results.warnings.iter().map(|text| clean(text)));
    let measures = results.measures().into_iter();
    let measures =
        measures.map(|(metric, event_bytes)| measure_table(results, metric, event_bytes));
    let tables = [medians(results), problems(results)]
        .into_iter()
        .flatten()
        .chain(measures)
        .chain(floor(results))
        .chain([runtimes(results)]);
    Document {
        title: clean(&results.title),
        headline: headline(results),
        origin: origin(results),
        warnings,
        tables: tables.collect(),
        facts: facts(results),
    }
}

fn machine(results: &Results) -> String {
    let machine = &results.machine;
    let cpus = if machine.cpus == 1 { "CPU" } else { "CPUs" };
    let text = format!(
        "{}, {} {cpus}, {}, Linux {}, load {:.2} at the start",
        machine.cpu, machine.cpus, machine.os, machine.kernel, machine.load
    );
    clean(&text)
}

fn origin(results: &Results) -> String {
    let begun = clean(&results.begun);
    // 2026-11-26T22:30:26Z
    let date = match begun.split_once('T') {
        Some((day, time)) if time.len() >= 5 && time.is_char_boundary(5) => {
            format!("{day} {} UTC", &time[..5])
        }
        _ => begun,
    };
    match results.source {
        Source::Measured => format!("Measured {date} on {}.", machine(results)),
        Source::Logs => format!("From Lambda's logs, read {date} on {}.", machine(results)),
    }
}

fn facts(results: &Results) -> Vec<(&'static str, String)> {
    let (when, place) = match results.source {
        Source::Measured => ("measured", "on"),
        Source::Logs => ("read from logs", "read on"),
    };
    let setting = |(name, value): &(String, String)| format!("{name} {value}");
    let settings: Vec<_> = results.settings.iter().map(setting).collect();
    let mut facts = vec![
        (when, clean(&results.begun)),
        ("by", clean(&format!("coshell {}", results.machine.coshell))),
        (place, machine(results)),
        ("settings", clean(&settings.join(", "))),
    ];
    facts.retain(|(_, text)| !text.is_empty());
    facts
}

/// A table that fits in a README.
fn medians(results: &Results) -> Option<Table> {
    let measures = results.measures();
    let runtimes = &results.runtimes;
    if measures.len() < 2 || !(2..=MOST_COLUMNS).contains(&runtimes.len()) {
        return None;
    }
    let mut table = Table::new(Subject::Medians, "Medians", &["median"]);
    let names = runtimes.iter().map(|runtime| name(results, &runtime.name));
    table.columns.extend(names);
    for (metric, event_bytes) in measures {
        let cells = runtimes.iter().map(|runtime| {
            let Some(series) = samples(results, runtime, metric, event_bytes) else {
                return instead(results, runtime, metric, event_bytes);
            };
            let p50 = quantity(series.summary.p50, metric);
            if series.ratio.is_none() {
                return Cell::plain(p50);
            }
            let Cell { text, tone } = against_baseline(results, series, false);
            Cell::toned(format!("{p50}, {text}"), tone)
        });
        let title = Cell::plain(measure(metric, event_bytes));
        table.rows.push([title].into_iter().chain(cells).collect());
    }
    let text = "3×: three times better than the baseline, by the medians; 0.5×: half as good. Without ×, the samples show no such difference.";
    table.notes.push(text.to_owned());
    Some(table)
}

fn problems(results: &Results) -> Option<Table> {
    let columns = [
        "runtime",
        "what it did",
        "when",
        "event",
        "times",
        "the first one",
    ];
    let row = |problem: &Problem| {
        let when = match (results.source, problem.is_cold) {
            (Source::Logs, _) => NOTHING,
            (Source::Measured, true) => "cold",
            (Source::Measured, false) => "warm",
        };
        let size = problem.event_bytes.map(words::size);
        vec![
            Cell::plain(name(results, &problem.runtime)),
            Cell::toned(problem.kind.words(), Tone::Bad),
            Cell::plain(when),
            Cell::plain(size.unwrap_or_else(|| NOTHING.to_owned())),
            Cell::plain(words::count(problem.count)),
            Cell::plain(clean(&problem.detail)),
        ]
    };
    let mut table = Table::new(Subject::Problems, "What went wrong", &columns);
    table.rows = results.problems.iter().map(row).collect();
    table.logs = logs(results);
    let text = "Answers that were wrong or never came are not among the samples.";
    table.notes.push(text.to_owned());
    (!results.problems.is_empty()).then_some(table)
}

/// What the runtimes printed before they failed. A runtime that fails in the same way cold and warm says it once.
fn logs(results: &Results) -> Vec<Log> {
    let mut logs: Vec<Log> = Vec::new();
    for problem in results.problems.iter().filter(|one| !one.log.is_empty()) {
        let log = Log {
            title: format!("Last lines of {}'s log:", clean(&problem.runtime)),
            lines: problem.log.iter().map(|line| clean(line)).collect(),
        };
        if !logs.contains(&log) {
            logs.push(log);
        }
    }
    logs
}

fn floor(results: &Results) -> Option<Table> {
    let columns = ["floor", "p50", "p90", "p99", "max", "samples"];
    let row = |series: &Series| {
        let (found, metric) = (&series.summary, series.metric);
        let values = [found.p50, found.p90, found.p99, found.max];
        let title = Cell::plain(measure(metric, series.event_bytes));
        let values = values.map(|value| Cell::plain(quantity(value, metric)));
        let count = Cell::plain(words::count(found.count));
        [title].into_iter().chain(values).chain([count]).collect()
    };
    let has_samples = |series: &&Series| series.summary.count > 0;
    let mut table = Table::new(Subject::Floor, "Floor of the harness", &columns);
    table.rows = results.floor.iter().filter(has_samples).map(row).collect();
    let text = "A runtime that does nothing, measured in the same way: this much of each figure is the measuring itself.";
    table.definition = Some(text.to_owned());
    (!table.rows.is_empty()).then_some(table)
}

fn runtimes(results: &Results) -> Table {
    let row = |runtime: &Runtime| {
        let name = Cell::plain(name(results, &runtime.name));
        vec![name, Cell::plain(clean(&runtime.description))]
    };
    let mut table = Table::new(Subject::Runtimes, "Runtimes", &["runtime", "what it is"]);
    table.rows = results.runtimes.iter().map(row).collect();
    table
}
