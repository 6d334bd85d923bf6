//! What a table says of one runtime: its samples, how it compares with the baseline, and what it did wrong instead.

use super::super::results::{Metric, Problem, ProblemKind, Results, Runtime, Series, Source};
use super::super::statistics::Verdict;
use super::table::{Cell, Tone};
use super::words::{self, NOTHING};

/// The samples of a runtime, if there are any.
pub(crate) fn samples<'a>(
    results: &'a Results,
    runtime: &Runtime,
    metric: Metric,
    event_bytes: Option<usize>,
) -> Option<&'a Series> {
    results
        .series(&runtime.name, metric, event_bytes)
        .filter(|series| series.summary.count > 0)
}

/// The problems of a runtime while this was measured.
pub(crate) fn problems_of<'a>(
    results: &'a Results,
    runtime: &'a Runtime,
    metric: Metric,
    event_bytes: Option<usize>,
) -> impl Iterator<Item = &'a Problem> {
    let is_of_logs = results.source == Source::Logs;
    results.problems.iter().filter(move |problem| {
        let is_same_size = problem.event_bytes == event_bytes
            || problem.event_bytes.is_none()
            || event_bytes.is_none();
        problem.runtime == runtime.name
            && (is_of_logs || problem.is_cold == metric.is_cold() && is_same_size)
    })
}

/// The cell of a runtime without samples: its problems there or, since one that dies at its start is never warm,
/// anywhere.
pub(crate) fn instead(
    results: &Results,
    runtime: &Runtime,
    metric: Metric,
    event_bytes: Option<usize>,
) -> Cell {
    let mut problems: Vec<_> = problems_of(results, runtime, metric, event_bytes).collect();
    if problems.is_empty() {
        let is_its = |problem: &&Problem| problem.runtime == runtime.name;
        problems = results.problems.iter().filter(is_its).collect();
    }
    let mut kinds: Vec<_> = problems.into_iter().map(|problem| problem.kind).collect();
    // What is left behind does not keep a runtime from being measured.
    kinds.retain(|kind| *kind != ProblemKind::Leaked);
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        return Cell::plain("not measured");
    }
    let words: Vec<_> = kinds.into_iter().map(ProblemKind::words).collect();
    Cell::toned(words.join(", "), Tone::Bad)
}

/// How a series compares with that of the baseline: in short, or with the interval.
pub(crate) fn against_baseline(results: &Results, series: &Series, has_interval: bool) -> Cell {
    let Some(ratio) = &series.ratio else {
        return Cell::plain(if series.runtime == results.baseline {
            "1"
        } else {
            NOTHING
        });
    };
    let tone = match ratio.verdict {
        Verdict::Better => Tone::Better,
        Verdict::Worse => Tone::Worse,
        Verdict::NoDifference | Verdict::TooFew => Tone::Plain,
    };
    let mut verdict = words::verdict(ratio);
    if has_interval {
        verdict = words::with_interval(verdict, ratio.low, ratio.high);
    }
    Cell::toned(verdict, tone)
}
