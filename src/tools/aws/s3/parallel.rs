//! Does several things at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::failure::Failure;

/// Enough for TLS and a request.
pub(super) const STACK_BYTES: usize = 512 * 1024;

/// Does `work` for each number below `count`, on up to `threads` threads, this one included. Returns the results in order.
///
/// # Errors
/// That of the first `work` that fails. What has begun by then is done to its end, and nothing else begins.
pub(super) fn for_each<T: Send>(
    threads: usize,
    count: u64,
    work: impl Fn(u64) -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    let next = AtomicU64::new(0);
    let results = Mutex::new(Ok(Vec::new()));
    let run = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let result = work(number);
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            match (&mut *results, result) {
                (Ok(results), Ok(result)) => results.push((number, result)),
                (state @ Ok(_), Err(failure)) => {
                    *state = Err(failure);
                    next.store(count, Ordering::Relaxed);
                }
                (Err(_), _) => {}
            }
        }
    };
    let more = u64::try_from(threads.max(1)).unwrap_or(1).min(count);
    thread::scope(|scope| {
        for _ in 1..more {
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            // With fewer threads it takes longer.
            if thread.spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut results = results?;
    results.sort_unstable_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order() {
        let squares = for_each(4, 100, |number| Ok(number * number)).expect("results");
        assert_eq!(
            squares,
            (0..100).map(|number| number * number).collect::<Vec<_>>()
        );
        assert!(for_each(4, 0, Ok).is_ok_and(|results| results.is_empty()));
    }

    #[test]
    fn first_failure_ends_it() {
        let done = AtomicU64::new(0);
        let result = for_each(2, 1_000_000, |number| {
            done.fetch_add(1, Ordering::Relaxed);
            if number == 3 {
                return Err(Failure::Local("three".to_owned()));
            }
            Ok(())
        });
        assert_eq!(result.expect_err("a failure").to_string(), "three");
        assert!(done.load(Ordering::Relaxed) < 1_000_000);
    }
}
