//! Quantiles, and how sure they are.
//!
//! An interval is the wider of two:
//! - a bootstrap interval of whole rounds: rounds are drawn again with all their samples, for both sides of a ratio at
//!   once. Samples of one round resemble each other more than the machine of another minute does, and counting
//!   them one by one would make every difference sure.
//! - for few rounds, where the bootstrap is too narrow (it calls one in eleven pairs of equal runtimes different after six
//!   rounds), the exact interval of [`exact`](super::exact), which assumes nothing of the samples' distribution.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exact::{self, CONFIDENCE, MIN_ROUNDS};
use coshell_statistics::quantile;

/// How often rounds are drawn again for an interval.
const RESAMPLES: usize = 1000;
/// How many rounds are drawn in total, at most, and how often at least: logs have a hundred thousand lines, each a
/// round, whose intervals are narrow after few draws too.
const DRAWN_ROUNDS: usize = 10_000_000;
const LEAST_RESAMPLES: usize = 100;
/// Two runtimes are called equal if the interval of their ratio lies within these bounds, and excludes any difference of a
/// quarter: the bounds by which medicines are called equivalent, 80 % and 125 %.
pub(crate) const EQUAL: (f64, f64) = (0.8, 1.25);
/// The seed of all draws, so that the same samples give the same intervals.
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
    /// The lower bound of the 95 % interval of `p50`; none of fewer than six rounds.
    pub p50_low: Option<f64>,
    /// The upper bound.
    pub p50_high: Option<f64>,
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
    /// Above 1 the runtime is better than the baseline: baseline to runtime, or runtime to baseline where more
    /// is better.
    pub times: f64,
    /// The lower bound of the 95 % interval; none where either has fewer than six rounds.
    pub low: Option<f64>,
    /// The upper bound.
    pub high: Option<f64>,
    /// What the samples can tell of the two.
    pub verdict: Verdict,
}

/// What the samples can tell of a runtime and its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The runtime is better: the interval lies above 1.
    Better,
    /// The runtime is worse: the interval lies below 1.
    Worse,
    /// The interval includes 1, and lies between 0.8 and 1.25.
    NoDifference,
    /// The samples cannot tell: there are fewer than six rounds, or the interval includes 1 and more than a quarter
    /// of difference.
    TooFew,
}

impl Ratio {
    fn new(times: f64, interval: Option<(f64, f64)>) -> Self {
        let verdict = match interval {
            Some((low, _)) if low > 1.0 => Verdict::Better,
            Some((_, high)) if high < 1.0 => Verdict::Worse,
            Some((low, high)) if low > EQUAL.0 && high < EQUAL.1 => Verdict::NoDifference,
            _ => Verdict::TooFew,
        };
        Self {
            times,
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            verdict,
        }
    }

    /// Whether the two differ for sure.
    pub fn is_difference(&self) -> bool {
        matches!(self.verdict, Verdict::Better | Verdict::Worse)
    }
}

/// Indices of rounds, drawn with replacement: as many in each draw as there are rounds.
fn draws(rounds: usize) -> impl Iterator<Item = Vec<usize>> {
    let mut random = SmallRng::seed_from_u64(SEED);
    let count = (DRAWN_ROUNDS / rounds.max(1)).clamp(LEAST_RESAMPLES, RESAMPLES);
    (0..count).map(move |_| {
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

/// The median of all samples; `None` if there are none.
fn median<'a>(rounds: impl Iterator<Item = &'a Vec<f64>>) -> Option<f64> {
    let mut samples: Vec<f64> = rounds.flatten().copied().collect();
    let middle = samples.len().checked_sub(1)? / 2;
    Some(*samples.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// The rounds with these indices. Rounds that are not there are left out.
fn drawn<'a>(rounds: &'a [Vec<f64>], indices: &[usize]) -> impl Iterator<Item = &'a Vec<f64>> {
    indices.iter().filter_map(|&index| rounds.get(index))
}

/// The bounds that cut off as much of `values` at either end as lies outside of an interval.
fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let values = sorted(values);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some((quantile(&values, tail)?, quantile(&values, 1.0 - tail)?))
}

/// The smallest interval that holds both.
fn wider(one: Option<(f64, f64)>, other: Option<(f64, f64)>) -> Option<(f64, f64)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    }
}

/// The medians of the rounds that have samples.
fn round_medians(rounds: &[Vec<f64>]) -> Vec<f64> {
    rounds
        .iter()
        .filter_map(|round| median([round].into_iter()))
        .collect()
}

fn has_enough_rounds(rounds: &[Vec<f64>]) -> bool {
    rounds.iter().filter(|round| !round.is_empty()).count() >= MIN_ROUNDS
}

/// The figures of these rounds.
pub(crate) fn summary(rounds: &[Vec<f64>]) -> Summary {
    let samples = sorted(rounds.iter().flatten().copied());
    let share = |share| quantile(&samples, share).unwrap_or_default();
    let interval = has_enough_rounds(rounds).then(|| {
        let medians = draws(rounds.len()).filter_map(|indices| median(drawn(rounds, &indices)));
        wider(bounds(medians), exact::of_median(&round_medians(rounds)))
    });
    let interval = interval.flatten();
    Summary {
        count: samples.len(),
        min: share(0.0),
        p50: share(0.5),
        p50_low: interval.map(|(low, _)| low),
        p50_high: interval.map(|(_, high)| high),
        p90: share(0.9),
        p99: share(0.99),
        max: share(1.0),
    }
}

/// Compares `runtime` with `baseline`. If both have the same number of rounds these are pairs, and the same rounds are
/// drawn for both; else each side has draws of its own. `None` if either has no samples, or a median of 0.
pub(crate) fn ratio(
    runtime: &[Vec<f64>],
    baseline: &[Vec<f64>],
    is_more_better: bool,
) -> Option<Ratio> {
    let times = |runtime: f64, baseline: f64| {
        let (above, below) = if is_more_better {
            (runtime, baseline)
        } else {
            (baseline, runtime)
        };
        (above > 0.0 && below > 0.0).then(|| above / below)
    };
    let found = times(median(runtime.iter())?, median(baseline.iter())?)?;
    if !has_enough_rounds(runtime) || !has_enough_rounds(baseline) {
        return Some(Ratio::new(found, None));
    }
    let is_paired = runtime.len() == baseline.len();
    // Different beginnings, or the shorter list would follow the longer one's draws.
    let others = draws(baseline.len())
        .skip(1)
        .chain(draws(baseline.len()).take(1));
    let resampled = draws(runtime.len())
        .zip(others)
        .filter_map(|(indices, other)| {
            let other = if is_paired { &indices } else { &other };
            times(
                median(drawn(runtime, &indices))?,
                median(drawn(baseline, other))?,
            )
        });
    let resampled = bounds(resampled);
    let exact = if is_paired {
        let pairs = runtime.iter().zip(baseline);
        let ratios: Vec<_> = pairs
            .filter_map(|(runtime, baseline)| {
                times(
                    median([runtime].into_iter())?,
                    median([baseline].into_iter())?,
                )
            })
            .collect();
        if ratios.len() < MIN_ROUNDS {
            return Some(Ratio::new(found, None));
        }
        exact::of_median(&ratios)
    } else {
        exact::of_ratio(&round_medians(runtime), &round_medians(baseline), times)
    };
    Some(Ratio::new(found, wider(resampled, exact)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;

    /// Rounds of 20 samples around `middle`. Each round is displaced by up to a tenth, in the same way whatever the `seed`
    /// of its samples.
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

    fn single(samples: &[f64]) -> Vec<Vec<f64>> {
        samples.iter().map(|&sample| vec![sample]).collect()
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
    fn no_samples_have_no_figures() {
        assert_eq!(summary(&[]), Summary::default());
        assert_eq!(summary(&[vec![], vec![]]), Summary::default());
        assert_eq!(ratio(&[vec![]], &[vec![1.0]], false), None);
        assert_eq!(ratio(&[vec![0.0]], &[vec![1.0]], false), None);
    }

    #[test]
    fn five_percent_are_found_in_many_rounds() {
        let many = ratio(&noisy(1.0, 30, 2), &noisy(1.05, 30, 3), false).unwrap();
        assert_eq!(many.verdict, Verdict::Better);
        assert!(many.low < Some(1.05) && many.high > Some(1.05), "{many:?}");
        let turned = ratio(&noisy(1.05, 30, 3), &noisy(1.0, 30, 2), false).unwrap();
        assert_eq!(turned.verdict, Verdict::Worse);
    }

    #[test]
    fn five_starts_cannot_tell_55_ms_from_20() {
        let slow = single(&[55.0, 54.1, 56.2, 55.5, 54.8, 55.9]);
        let fast = single(&[20.0, 20.4, 19.8, 21.0, 20.2, 20.7]);
        let five = ratio(&fast[..5], &slow[..5], false).unwrap();
        assert_eq!((five.verdict, five.low), (Verdict::TooFew, None));
        assert!((2.5..3.0).contains(&five.times), "{five:?}");
        assert_eq!(ratio(&fast, &slow, false).unwrap().verdict, Verdict::Better);
        // Samples within a round are no rounds, and rounds without a partner are no pairs.
        let rounds = vec![vec![20.0; 100]; 5];
        let found = ratio(&rounds, &vec![vec![55.0; 100]; 5], false).unwrap();
        assert_eq!(found.verdict, Verdict::TooFew);
        let apart = |full: std::ops::Range<usize>| -> Vec<Vec<f64>> {
            let round = |index| {
                if full.contains(&index) {
                    vec![1.0]
                } else {
                    Vec::new()
                }
            };
            (0..12).map(round).collect()
        };
        let found = ratio(&apart(0..7), &apart(5..12), false).unwrap();
        assert_eq!(found.verdict, Verdict::TooFew);
    }

    #[test]
    fn one_round_of_six_that_disagrees_is_enough_to_doubt() {
        let baseline = single(&[1.0; 6]);
        let agree = single(&[0.5, 0.5, 0.5, 0.5, 0.5, 0.99]);
        let disagree = single(&[0.5, 0.5, 0.5, 0.5, 0.5, 1.01]);
        let verdict = |runtime: &[Vec<f64>]| ratio(runtime, &baseline, false).unwrap().verdict;
        assert_eq!(verdict(&agree), Verdict::Better);
        assert_eq!(verdict(&disagree), Verdict::TooFew);
    }

    #[test]
    fn equal_runtimes_do_not_differ_if_the_interval_is_narrow() {
        let same = ratio(&noisy(1.0, 30, 2), &noisy(1.0, 30, 3), false).unwrap();
        assert_eq!(same.verdict, Verdict::NoDifference, "{same:?}");
        let wide = |seed| {
            let mut random = SmallRng::seed_from_u64(seed);
            let samples: Vec<_> = (0..8).map(|_| random.random_range(1.0..3.0)).collect();
            single(&samples)
        };
        let unsure = ratio(&wide(2), &wide(3), false).unwrap();
        assert_eq!(unsure.verdict, Verdict::TooFew, "{unsure:?}");
    }

    /// Of pairs of equal runtimes no more than one in twenty is called different, whatever the number of rounds.
    #[test]
    fn equal_runtimes_seldom_look_different() {
        let mut random = SmallRng::seed_from_u64(9);
        let mut starts = |count: usize| -> Vec<Vec<f64>> {
            let mut start = || {
                let luck: f64 = random.random_range(0.0..1.0);
                vec![1.0 + random.random_range(0.0..0.05) + 3.0 * luck.powi(8)]
            };
            (0..count).map(|_| start()).collect()
        };
        for (runtime, baseline) in [(6, 6), (7, 7), (10, 10), (6, 7), (8, 12)] {
            let is_wrong = |_: &i32| {
                let found = ratio(&starts(runtime), &starts(baseline), false);
                found.unwrap().is_difference()
            };
            let wrong = (0..200).filter(is_wrong).count();
            assert!(
                wrong <= 10,
                "{runtime} and {baseline} rounds: {wrong} of 200"
            );
        }
    }

    #[test]
    fn more_is_better_turns_the_ratio_round() {
        let (slow, fast) = (vec![vec![2.0]; 7], vec![vec![8.0]; 8]);
        let more = ratio(&fast, &slow, true).unwrap();
        assert_eq!((more.times, more.verdict), (4.0, Verdict::Better));
        let less = ratio(&fast, &slow, false).unwrap();
        assert_eq!((less.times, less.verdict), (0.25, Verdict::Worse));
    }

    #[test]
    fn same_samples_give_the_same_interval() {
        let (one, other) = (noisy(1.0, 8, 2), noisy(3.0, 8, 3));
        assert_eq!(ratio(&one, &other, false), ratio(&one, &other, false));
        assert_eq!(summary(&one), summary(&one));
    }
}
