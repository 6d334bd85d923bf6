//! Quantiles, and how sure they are.
//!
//! Intervals are bootstrap intervals of whole rounds: a round is drawn again with all its samples,
//! for both sides of a ratio at once. Samples of one round resemble each other more than the
//! machine of another minute does, and counting them one by one would make every difference sure.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use coshell_statistics::quantile;

/// How often rounds are drawn anew for an interval.
const RESAMPLES: usize = 1000;
/// How many rounds are drawn in all, at most, and how often at least: logs have a hundred thousand lines, each a
/// round, whose intervals are narrow after few draws too.
const DRAWN_ROUNDS: usize = 10_000_000;
const LEAST_RESAMPLES: usize = 100;
/// What lies within an interval.
const CONFIDENCE: f64 = 0.95;
/// With fewer rounds there is no such interval: runtimes that are the same fall out alike in five rounds one time
/// in 16.
pub(crate) const MIN_ROUNDS: usize = 6;
/// Drawing starts here, so that the same samples give the same intervals.
const SEED: u64 = 0x5eed;

/// Quantiles of samples, in their unit; all zero if there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Summary {
    /// How many samples there are.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// Half are at most this.
    pub p50: f64,
    /// The 95 % bootstrap interval of `p50`: from.
    pub p50_low: f64,
    /// To.
    pub p50_high: f64,
    /// Nine in ten are at most this.
    pub p90: f64,
    /// 99 in a hundred are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// How many times better than the baseline a runtime is, by the medians.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ratio {
    /// Above 1 it is better than the baseline: baseline to runtime, or runtime to baseline where more
    /// is better.
    pub times: f64,
    /// The 95 % bootstrap interval: from.
    pub low: f64,
    /// To.
    pub high: f64,
}

impl Ratio {
    /// Whether the interval excludes 1: only then are the two said to differ.
    pub fn is_difference(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// What is drawn: the numbers of rounds, as often as is said above.
fn draws(rounds: usize) -> impl Iterator<Item = Vec<usize>> {
    let mut random = SmallRng::seed_from_u64(SEED);
    let often = (DRAWN_ROUNDS / rounds.max(1)).clamp(LEAST_RESAMPLES, RESAMPLES);
    (0..often).map(move |_| {
        (0..rounds)
            .map(|_| random.random_range(0..rounds))
            .collect()
    })
}

fn sorted(samples: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut samples: Vec<_> = samples.collect();
    samples.sort_by(f64::total_cmp);
    samples
}

/// The median of the rounds drawn; `None` if they have no samples.
fn median(rounds: &[Vec<f64>], drawn: &[usize]) -> Option<f64> {
    let mut samples: Vec<f64> = Vec::new();
    for &round in drawn {
        samples.extend(rounds.get(round)?);
    }
    let middle = samples.len().checked_sub(1)? / 2;
    Some(*samples.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// The bounds of what was computed for each draw; `None` if there is nothing.
fn interval(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let values = sorted(values);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some((quantile(&values, tail)?, quantile(&values, 1.0 - tail)?))
}

/// What the samples of these rounds come to.
pub(crate) fn summary(rounds: &[Vec<f64>]) -> Summary {
    let samples = sorted(rounds.iter().flatten().copied());
    let share = |share| quantile(&samples, share).unwrap_or_default();
    let medians = draws(rounds.len()).filter_map(|drawn| median(rounds, &drawn));
    let Some((p50_low, p50_high)) = interval(medians) else {
        return Summary::default();
    };
    Summary {
        count: samples.len(),
        min: share(0.0),
        p50: share(0.5),
        p50_low,
        p50_high,
        p90: share(0.9),
        p99: share(0.99),
        max: share(1.0),
    }
}

/// `runtime` against `baseline`. Where both have as many rounds, the same rounds are drawn for both; else each has
/// its own drawn. Of fewer than six rounds the interval always includes 1. `None` if either has no samples, or a median
/// of 0.
pub(crate) fn ratio(
    runtime: &[Vec<f64>],
    baseline: &[Vec<f64>],
    is_more_better: bool,
) -> Option<Ratio> {
    let all = |rounds: &[Vec<f64>]| median(rounds, &(0..rounds.len()).collect::<Vec<_>>());
    let times = |runtime: f64, baseline: f64| {
        let (above, below) = if is_more_better {
            (runtime, baseline)
        } else {
            (baseline, runtime)
        };
        (above > 0.0 && below > 0.0).then(|| above / below)
    };
    let is_paired = runtime.len() == baseline.len();
    // Different beginnings, or the shorter list would follow the longer one's draws.
    let others = draws(baseline.len())
        .skip(1)
        .chain(draws(baseline.len()).take(1));
    let drawn = draws(runtime.len())
        .zip(others)
        .filter_map(|(drawn, other)| {
            let other = if is_paired { &drawn } else { &other };
            times(median(runtime, &drawn)?, median(baseline, other)?)
        });
    let (mut low, mut high) = interval(drawn)?;
    let is_short =
        |rounds: &[Vec<f64>]| rounds.iter().filter(|round| !round.is_empty()).count() < MIN_ROUNDS;
    if is_short(runtime) || is_short(baseline) {
        (low, high) = (low.min(1.0), high.max(1.0));
    }
    Some(Ratio {
        times: times(all(runtime)?, all(baseline)?)?,
        low,
        high,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;

    /// Rounds of 20 samples around `middle`, each round displaced by up to a tenth, one and the same for
    /// all who ask for `seed`.
    fn noisy(middle: f64, rounds: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut machine = SmallRng::seed_from_u64(1);
        let mut random = SmallRng::seed_from_u64(seed);
        let mut round = || {
            let displaced = middle * machine.random_range(0.9..1.1);
            (0..20)
                .map(|_| displaced * random.random_range(0.9..1.1))
                .collect()
        };
        (0..rounds).map(|_| round()).collect()
    }

    #[test]
    fn quantiles_are_samples_by_the_nearest_rank() {
        let rounds = vec![
            (1..=60).map(f64::from).collect(),
            (61..=100).map(f64::from).collect(),
        ];
        let found = summary(&rounds);
        let expected = (100, 1.0, 50.0, 90.0, 99.0, 100.0);
        assert_eq!(
            (
                found.count,
                found.min,
                found.p50,
                found.p90,
                found.p99,
                found.max
            ),
            expected
        );
    }

    #[test]
    fn nothing_comes_to_nothing() {
        assert_eq!(summary(&[]), Summary::default());
        assert_eq!(summary(&[vec![], vec![]]), Summary::default());
        assert_eq!(ratio(&[vec![]], &[vec![1.0]], false), None);
        assert_eq!(ratio(&[vec![0.0]], &[vec![1.0]], false), None);
    }

    #[test]
    fn five_percent_are_found_in_many_rounds_and_not_in_few_samples() {
        let many = ratio(&noisy(1.0, 30, 2), &noisy(1.05, 30, 3), false).unwrap();
        assert!(
            many.is_difference() && many.low < 1.05 && many.high > 1.05,
            "{many:?}"
        );
        let few: [Vec<f64>; 2] = [2, 3].map(|seed| noisy(1.0, 1, seed)[0][..4].to_vec());
        let single =
            |samples: &[f64], by: f64| samples.iter().map(|one| vec![one * by]).collect::<Vec<_>>();
        let few = ratio(&single(&few[0], 1.0), &single(&few[1], 1.05), false).unwrap();
        assert!(!few.is_difference(), "{few:?}");
    }

    #[test]
    fn few_rounds_are_no_difference_however_many_samples_they_have() {
        let rounds = |value: f64, count| vec![vec![value; 100]; count];
        let found = |count| ratio(&rounds(1.0, count), &rounds(2.0, count), false).unwrap();
        assert!(!found(1).is_difference() && !found(MIN_ROUNDS - 1).is_difference());
        assert!(found(MIN_ROUNDS).is_difference());
        assert_eq!((found(1).low, found(1).times), (1.0, 2.0));
    }

    #[test]
    fn equal_runtimes_do_not_differ() {
        let same = ratio(&noisy(1.0, 30, 2), &noisy(1.0, 30, 3), false).unwrap();
        assert!(!same.is_difference(), "{same:?}");
    }

    #[test]
    fn more_is_better_turns_the_ratio_round() {
        let (slow, fast) = (vec![vec![2.0]; 3], vec![vec![8.0]; 4]);
        assert_eq!(ratio(&fast, &slow, true).unwrap().times, 4.0);
        assert_eq!(ratio(&fast, &slow, false).unwrap().times, 0.25);
    }

    #[test]
    fn same_samples_give_the_same_interval() {
        let (one, other) = (noisy(1.0, 8, 2), noisy(3.0, 8, 3));
        assert_eq!(ratio(&one, &other, false), ratio(&one, &other, false));
        assert_eq!(summary(&one), summary(&one));
    }
}
