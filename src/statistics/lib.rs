//! Quantiles, as `coshell invoke --repeat` and `coshell compare` print them.

/// The smallest of `sorted` that at least this share of them does not exceed: the nearest rank. `None` of an empty slice.
pub fn quantile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of samples is far below 2^52, and the share from 0 to 1"
    )]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_is_the_nearest_rank() {
        let hundred: Vec<u32> = (1..=100).collect();
        let shares = [0.0, 0.01, 0.5, 0.501, 0.9, 0.99, 1.0];
        let found = shares.map(|share| quantile(&hundred, share));
        assert_eq!(found, [1, 1, 50, 51, 90, 99, 100].map(Some));
        assert_eq!(quantile(&[7.5], 0.5), Some(7.5));
        assert_eq!(quantile::<u32>(&[], 0.5), None);
    }
}
