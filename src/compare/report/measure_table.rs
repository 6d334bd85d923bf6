//! The table of one measure: a row for each runtime.

use super::super::exact::MIN_ROUNDS;
use super::super::results::{Metric, Problem, ProblemKind, Results, Runtime, Source};
use super::super::statistics::Verdict;
use super::metrics::{definition, direction, has_invocations, ratio_title};
use super::table::{Cell, Subject, Table, Tone};
use super::verdicts::{against_baseline, instead, problems_of, samples};
use super::words::{self, NOTHING, clean, figure, measure, name};

pub(crate) fn measure_table(
    results: &Results,
    metric: Metric,
    event_bytes: Option<usize>,
) -> Table {
    let half = match metric {
        _ if metric.is_cold() => "Cold: ",
        // In logs these are of all invocations.
        Metric::BilledDuration | Metric::MaxMemoryUsed => "",
        _ => "Warm: ",
    };
    let unit = match metric.unit() {
        "" => String::new(),
        "/s" => " (1/s)".to_owned(),
        unit => format!(" ({unit})"),
    };
    let title = format!("{half}{}{unit}", measure(metric, event_bytes));
    let columns = [
        "runtime",
        "p50 (95 % interval)",
        "p90",
        "p99",
        "max",
        "samples",
    ];
    let mut table = Table::new(Subject::Measure(metric, event_bytes), title, &columns);
    let direction = words::capitalised(direction(metric));
    table.definition = Some(format!("{} {direction}.", definition(metric)));
    let has_ratio = results.runtimes.len() > 1;
    if has_ratio {
        table.columns.push(ratio_title(metric).to_owned());
    }
    let runtimes = &results.runtimes;
    let wrong = |runtime| went_wrong(results, runtime, metric, event_bytes);
    let has_wrong = runtimes.iter().any(|runtime| wrong(runtime).is_some());
    if has_wrong {
        table.columns.push("went wrong".to_owned());
    }
    for runtime in runtimes {
        let mut cells = vec![Cell::plain(name(results, &runtime.name))];
        if let Some(series) = samples(results, runtime, metric, event_bytes) {
            let found = &series.summary;
            let p50 = words::with_interval(figure(found.p50), found.p50_low, found.p50_high);
            cells.push(Cell::plain(p50));
            cells.extend([found.p90, found.p99, found.max].map(|value| Cell::plain(figure(value))));
            cells.push(Cell::plain(words::count(found.count)));
            if has_ratio {
                cells.push(against_baseline(results, series, true));
            }
            if has_wrong {
                cells.push(match wrong(runtime) {
                    Some(text) => Cell::toned(text, Tone::Bad),
                    None => Cell::plain(""),
                });
            }
        } else {
            cells.push(instead(results, runtime, metric, event_bytes));
            cells.resize(table.columns.len(), Cell::plain(NOTHING));
        }
        table.rows.push(cells);
    }
    table.notes.extend(few_rounds(results, metric, event_bytes));
    table
        .notes
        .extend(wide_interval(results, metric, event_bytes));
    table
}

/// What a runtime with samples did wrong beside them.
fn went_wrong(
    results: &Results,
    runtime: &Runtime,
    metric: Metric,
    event_bytes: Option<usize>,
) -> Option<String> {
    let is_measured = results.source == Source::Measured;
    if is_measured && !has_invocations(metric) {
        return None;
    }
    let samples = samples(results, runtime, metric, event_bytes)?;
    let good = samples.summary.count;
    let problems = problems_of(results, runtime, metric, event_bytes);
    let problems: Vec<_> = problems
        .map(|problem| in_short(problem, is_measured.then_some(good + problem.count)))
        .collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

/// A problem in a few words; with the number of all invocations, where a sample is an invocation.
fn in_short(problem: &Problem, invocations: Option<usize>) -> String {
    // What is left behind, good invocations have left.
    let invocations = invocations.filter(|_| problem.kind != ProblemKind::Leaked);
    let times = match (problem.count, invocations) {
        (count, Some(all)) => format!(": {} of {}", words::count(count), words::count(all)),
        (1, None) => String::new(),
        (count, None) => format!(": {} times", words::count(count)),
    };
    problem.kind.words().to_owned() + &times
}

fn few_rounds(results: &Results, metric: Metric, event_bytes: Option<usize>) -> Option<String> {
    let has_few = |runtime: &&Runtime| {
        let series = samples(results, runtime, metric, event_bytes);
        series.is_some_and(|series| {
            let rounds = series.rounds.iter().filter(|round| !round.is_empty());
            rounds.count() < MIN_ROUNDS
        })
    };
    let few: Vec<_> = results
        .runtimes
        .iter()
        .filter(has_few)
        .map(|runtime| clean(&runtime.name))
        .collect();
    (!few.is_empty()).then(|| {
        let names = few.join(", ");
        format!("Fewer than {MIN_ROUNDS} rounds of {names}: too few to tell, however far apart they are.")
    })
}

fn wide_interval(results: &Results, metric: Metric, event_bytes: Option<usize>) -> Option<String> {
    let is_wide = |runtime: &Runtime| {
        let ratio = samples(results, runtime, metric, event_bytes)?.ratio?;
        Some(ratio.verdict == Verdict::TooFew && ratio.low.is_some())
    };
    let mut runtimes = results.runtimes.iter();
    let text = "Too few to tell: the interval includes 1, and a difference of a quarter or more. More rounds narrow it.";
    runtimes
        .any(|runtime| is_wide(runtime) == Some(true))
        .then(|| text.to_owned())
}
