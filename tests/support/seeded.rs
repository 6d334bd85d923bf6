//! Random choices that can be repeated by their seed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of this run: `COSHELL_TEST_SEED`, which is a number or `clock`. The default is always the same seed, so that a
/// push fails only because of what it changed; `make random` uses the clock. Each test prints the setting that repeats
/// its run.
pub fn seed() -> u64 {
    let setting = std::env::var("COSHELL_TEST_SEED").ok();
    let seed = match setting.as_deref() {
        None => 1,
        Some("clock") => seed_from_clock(),
        Some(number) => number
            .parse()
            .expect("COSHELL_TEST_SEED must be a number or clock"),
    };
    println!("COSHELL_TEST_SEED={seed} repeats this run");
    seed
}

fn seed_from_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanoseconds = now.unwrap_or_default().as_nanos();
    u64::try_from(nanoseconds % 1_000_000_000_000).unwrap_or_default()
}

/// A number of repetitions. A longer run sets it with the environment variable `name`.
pub fn count(name: &str, default: usize) -> usize {
    let setting = std::env::var(name).ok();
    setting.map_or(default, |count| {
        count
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number"))
    })
}

/// Of how many cases a long test takes one, or by what its repetitions are divided: `COSHELL_TEST_SHARE`, by default 1.
pub fn divisor() -> usize {
    count("COSHELL_TEST_SHARE", 1).max(1)
}

/// Every nth of the cases of a long test, where n is the [`divisor`].
pub fn share<C>(cases: impl IntoIterator<Item = C>) -> impl Iterator<Item = C> {
    cases.into_iter().step_by(divisor())
}

/// Calls `check` for every number below `count`, on `threads` threads. Returns all problems that it found.
pub fn find_problems<C: IntoIterator<Item = String>>(
    count: usize,
    threads: usize,
    check: impl Fn(usize) -> C + Sync,
) -> Vec<String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let problems = check(number);
                    found.lock().expect("problems").extend(problems);
                }
            });
        }
    });
    found.into_inner().expect("problems")
}

/// A sequence of random choices (`SplitMix64`, which needs no table and no warm-up).
#[derive(Debug, Clone)]
pub struct Choices(u64);

impl Choices {
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The choices for one part of a run. They do not depend on the number of parts.
    pub fn for_part(seed: u64, part: usize) -> Self {
        let part = u64::try_from(part).unwrap_or_default();
        Self(seed ^ part.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(1);
        usize::try_from(self.next() % limit).unwrap_or_default()
    }

    pub fn choose<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    /// Replaces each `<letter>` of `template` by the text that `fill` returns for the letter, if it returns any. A letter
    /// gets the same text each time, unless it is one of `varied`.
    pub fn fill(
        &mut self,
        template: &str,
        varied: &str,
        mut fill: impl FnMut(&mut Self, char) -> Option<String>,
    ) -> String {
        let mut known: BTreeMap<char, String> = BTreeMap::new();
        let mut filled = String::new();
        let mut rest = template;
        while let Some(start) = rest.find('<') {
            filled.push_str(&rest[..start]);
            let mut letters = rest[start + 1..].chars();
            let letter = match (letters.next(), letters.next()) {
                (Some(letter), Some('>')) => letter,
                _ => '<',
            };
            let value = known.get(&letter).cloned();
            let value = value.or_else(|| fill(self, letter));
            if let Some(value) = value.clone().filter(|_| !varied.contains(letter)) {
                known.insert(letter, value);
            }
            if let Some(value) = value {
                filled.push_str(&value);
                rest = &rest[start + 3..];
            } else {
                filled.push('<');
                rest = &rest[start + 1..];
            }
        }
        filled + rest
    }
}
