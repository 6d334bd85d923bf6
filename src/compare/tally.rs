//! What was measured so far: samples by runtime, metric and size, and what went wrong.

use std::collections::BTreeMap;

use super::endpoint::Fault;
use super::results::{Metric, Problem, Series};
use super::statistics::Summary;

/// Grows round by round.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    series: BTreeMap<(usize, Metric, Option<usize>), Vec<Vec<f64>>>,
    problems: Vec<(usize, Problem)>,
}

impl Tally {
    /// A round of the runtime with the number `at`; without samples if it had no good answer.
    pub(crate) fn round(
        &mut self,
        at: usize,
        metric: Metric,
        event_bytes: Option<usize>,
        samples: Vec<f64>,
    ) {
        self.series
            .entry((at, metric, event_bytes))
            .or_default()
            .push(samples);
    }

    /// Something went wrong: the same again is counted.
    pub(crate) fn problem(
        &mut self,
        at: usize,
        fault: Fault,
        is_cold: bool,
        event_bytes: Option<usize>,
        count: usize,
    ) {
        let is_same = |(other, problem): &&mut (usize, Problem)| {
            (*other, problem.kind, problem.is_cold, problem.event_bytes)
                == (at, fault.kind, is_cold, event_bytes)
        };
        if let Some((_, problem)) = self.problems.iter_mut().find(is_same) {
            problem.count += count;
            return;
        }
        let problem = Problem {
            runtime: String::new(),
            kind: fault.kind,
            is_cold,
            event_bytes,
            count,
            detail: fault.detail,
        };
        self.problems.push((at, problem));
    }

    /// The series as results have them, for runtimes of these names; to be computed.
    pub(crate) fn series(&self, names: &[String]) -> Vec<Series> {
        let all = self.series.iter();
        all.map(|(&(at, metric, event_bytes), rounds)| Series {
            runtime: names.get(at).cloned().unwrap_or_default(),
            metric,
            event_bytes,
            rounds: rounds.clone(),
            summary: Summary::default(),
            ratio: None,
        })
        .collect()
    }

    /// What went wrong, by runtimes.
    pub(crate) fn problems(&self, names: &[String]) -> Vec<Problem> {
        let mut problems = self.problems.clone();
        problems.sort_by_key(|(at, _)| *at);
        let told = problems.into_iter().map(|(at, problem)| Problem {
            runtime: names.get(at).cloned().unwrap_or_default(),
            ..problem
        });
        told.collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::results::ProblemKind;
    use super::*;

    #[test]
    fn same_problem_is_counted_and_the_first_is_told() {
        let mut tally = Tally::default();
        let fault = |detail: &str| Fault::new(ProblemKind::WrongAnswer, detail);
        tally.problem(1, fault("first"), false, Some(32), 1);
        tally.problem(1, fault("second"), false, Some(32), 2);
        tally.problem(0, fault("third"), false, Some(32), 1);
        let problems = tally.problems(&["a".to_owned(), "b".to_owned()]);
        let told: Vec<_> = problems
            .iter()
            .map(|one| (one.runtime.as_str(), one.count, one.detail.as_str()))
            .collect();
        assert_eq!(told, [("a", 1, "third"), ("b", 3, "first")]);
    }

    #[test]
    fn empty_rounds_stay_in_their_place() {
        let mut tally = Tally::default();
        for samples in [vec![1.0], vec![], vec![2.0]] {
            tally.round(0, Metric::Latency, Some(32), samples);
        }
        let series = tally.series(&["a".to_owned()]);
        assert_eq!(series[0].rounds, [vec![1.0], vec![], vec![2.0]]);
    }
}
