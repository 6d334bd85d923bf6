//! Intervals of few rounds that hold whatever the samples are distributed like: they count ranks.
//!
//! For a median: of `n` values, how many lie below the true median is a binomial number, like the heads of `n` coins. So
//! the interval from the `k`-th value to the `k`-th from the end covers it, with the largest `k` that leaves out no more
//! than 5 % of cases (the sign test, inverted). For two runtimes without pairs, the same with the ratios of all pairs (the
//! Mann-Whitney test, inverted).

/// How sure an interval is.
pub(crate) const CONFIDENCE: f64 = 0.95;
/// The fewest rounds that can show anything at this confidence: two equal runtimes take the same places in all of five
/// rounds one time in 16, and in all of six one time in 32.
pub(crate) const MIN_ROUNDS: usize = 6;
/// Up to this number of rounds intervals are exact too; of more the bootstrap is right by itself.
const FEW: usize = 30;

/// The interval of the median of these values; `None` if they are too few for one, or enough for a bootstrap.
pub(crate) fn of_median(values: &[f64]) -> Option<(f64, f64)> {
    if !(MIN_ROUNDS..=FEW).contains(&values.len()) {
        return None;
    }
    // C(n, heads)
    let mut count = 1.0;
    let counts = (0..values.len()).map(|heads| {
        let known = count;
        #[allow(clippy::cast_precision_loss)]
        {
            count *= (values.len() - heads) as f64 / (heads + 1) as f64;
        }
        known
    });
    let cut = cut_off(
        counts,
        2f64.powi(i32::try_from(values.len()).unwrap_or(i32::MAX)),
    );
    between(values.to_vec(), cut)
}

/// The interval of how many times one side is the other, of every pair that `times` has a figure of; `None` as above.
pub(crate) fn of_ratio(
    runtime: &[f64],
    baseline: &[f64],
    times: impl Fn(f64, f64) -> Option<f64>,
) -> Option<(f64, f64)> {
    let is_few = |values: &[f64]| (MIN_ROUNDS..=FEW).contains(&values.len());
    if !is_few(runtime) || !is_few(baseline) {
        return None;
    }
    let counts = rank_sums(runtime.len(), baseline.len());
    #[allow(clippy::cast_precision_loss)]
    let counts: Vec<_> = counts.into_iter().map(|count| count as f64).collect();
    let total = counts.iter().sum();
    let pairs = runtime.iter().flat_map(|&runtime| {
        let times = &times;
        baseline
            .iter()
            .filter_map(move |&baseline| times(runtime, baseline))
    });
    between(pairs.collect(), cut_off(counts.into_iter(), total))
}

/// How many values may be cut off at one end, when of `total` cases `counts` are such that the truth is among the first 0,
/// 1, 2, ... values.
fn cut_off(counts: impl Iterator<Item = f64>, total: f64) -> usize {
    let tail = total * (1.0 - CONFIDENCE) / 2.0;
    let mut sum = 0.0;
    counts
        .take_while(|count| {
            sum += count;
            sum <= tail
        })
        .count()
}

/// From the `cut`-th of the values to the `cut`-th from the end, counted from 1.
fn between(mut values: Vec<f64>, cut: usize) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let low = cut.checked_sub(1)?;
    let high = values.len().checked_sub(cut)?;
    Some((*values.get(low)?, *values.get(high)?))
}

/// In how many of the orders of `one` and `other` values 0, 1, 2, ... pairs have the first value above the second: the
/// coefficients of a Gaussian binomial.
fn rank_sums(one: usize, other: usize) -> Vec<i128> {
    let mut counts = vec![0_i128; one * other + 1];
    counts[0] = 1;
    for step in 1..=one {
        // Times (1 - q^(other + step)), by (1 - q^step).
        for power in (other + step..counts.len()).rev() {
            counts[power] -= counts[power - other - step];
        }
        for power in step..counts.len() {
            counts[power] += counts[power - step];
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: u32) -> Vec<f64> {
        (1..=count).map(f64::from).collect()
    }

    /// Against the table of every textbook for the sign test at 5 %.
    #[test]
    fn median_lies_between_the_ranks_that_the_sign_test_gives() {
        let expected = [
            (6, 1),
            (8, 1),
            (9, 2),
            (10, 2),
            (12, 3),
            (20, 6),
            (25, 8),
            (30, 10),
        ];
        for (count, rank) in expected {
            let bounds = (f64::from(rank), f64::from(count + 1 - rank));
            assert_eq!(of_median(&values(count)), Some(bounds), "{count}");
        }
        assert_eq!(
            (of_median(&values(5)), of_median(&values(31))),
            (None, None)
        );
    }

    /// Against the table of every textbook for the Mann-Whitney test at 5 %: U is critical up to one less than the rank.
    #[test]
    fn ratio_lies_between_the_ranks_that_the_mann_whitney_test_gives() {
        for (one, other, critical) in [
            (6, 6, 5),
            (6, 10, 11),
            (8, 8, 13),
            (10, 10, 23),
            (20, 20, 127),
        ] {
            let mut rank = 0.0;
            // Every pair has a figure of its own: 1, 2, 3, ...
            let place = |one: f64, two: f64| Some((one - 1.0) * f64::from(other) + two);
            if let Some((low, high)) = of_ratio(&values(one), &values(other), place) {
                assert!((low + high - f64::from(one * other + 1)).abs() < 0.5);
                rank = low;
            }
            assert!(
                (rank - f64::from(critical + 1)).abs() < 0.5,
                "{one}, {other}: {rank}"
            );
        }
    }
}
