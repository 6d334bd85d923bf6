//! The samples so far by runtime, metric and event size, and what went wrong.

use std::collections::BTreeMap;

use super::endpoint::Fault;
use super::results::{Metric, Problem, Series};
use super::statistics::Summary;

/// Grows round by round. Runtimes are known by their indices.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    series: BTreeMap<(usize, Metric, Option<usize>), Vec<Vec<f64>>>,
    problems: Vec<(usize, Problem)>,
}

impl Tally {
    /// Adds a round of a runtime; without samples if it gave no right answer.
    pub(crate) fn add_round(
        &mut self,
        runtime_index: usize,
        metric: Metric,
        event_bytes: Option<usize>,
        samples: Vec<f64>,
    ) {
        self.series
            .entry((runtime_index, metric, event_bytes))
            .or_default()
            .push(samples);
    }

    /// Adds a problem. Of several of one kind the first is described, and the others are counted.
    pub(crate) fn add_problem(
        &mut self,
        runtime_index: usize,
        fault: Fault,
        is_cold: bool,
        event_bytes: Option<usize>,
        count: usize,
    ) {
        let is_same = |(other, problem): &&mut (usize, Problem)| {
            (*other, problem.kind, problem.is_cold, problem.event_bytes)
                == (runtime_index, fault.kind, is_cold, event_bytes)
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
            log: fault.log,
        };
        self.problems.push((runtime_index, problem));
    }

    /// The series for the results; their summaries are not computed yet. `names` are the runtimes' names.
    pub(crate) fn series(&self, names: &[String]) -> Vec<Series> {
        let all = self.series.iter();
        all.map(|(&(runtime_index, metric, event_bytes), rounds)| Series {
            runtime: names.get(runtime_index).cloned().unwrap_or_default(),
            metric,
            event_bytes,
            rounds: rounds.clone(),
            summary: Summary::default(),
            ratio: None,
        })
        .collect()
    }

    /// The problems, in the order of the runtimes.
    pub(crate) fn problems(&self, names: &[String]) -> Vec<Problem> {
        let mut problems = self.problems.clone();
        problems.sort_by_key(|(runtime_index, _)| *runtime_index);
        let problems = problems
            .into_iter()
            .map(|(runtime_index, problem)| Problem {
                runtime: names.get(runtime_index).cloned().unwrap_or_default(),
                ..problem
            });
        problems.collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::results::ProblemKind;
    use super::*;

    #[test]
    fn same_problems_are_counted_and_the_first_is_described() {
        let mut tally = Tally::default();
        let fault = |detail: &str| Fault::new(ProblemKind::WrongAnswer, detail);
        tally.add_problem(1, fault("first"), false, Some(32), 1);
        tally.add_problem(1, fault("second"), false, Some(32), 2);
        tally.add_problem(0, fault("third"), false, Some(32), 1);
        let problems = tally.problems(&["a".to_owned(), "b".to_owned()]);
        let found: Vec<_> = problems
            .iter()
            .map(|one| (one.runtime.as_str(), one.count, one.detail.as_str()))
            .collect();
        assert_eq!(found, [("a", 1, "third"), ("b", 3, "first")]);
    }

    #[test]
    fn empty_rounds_stay_in_their_place() {
        let mut tally = Tally::default();
        for samples in [vec![1.0], vec![], vec![2.0]] {
            tally.add_round(0, Metric::Latency, Some(32), samples);
        }
        let series = tally.series(&["a".to_owned()]);
        assert_eq!(series[0].rounds, [vec![1.0], vec![], vec![2.0]]);
    }
}
