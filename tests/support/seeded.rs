//! Random choices that a seed repeats, and how many of them a run makes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of a run: `COSHELL_TEST_SEED`, a number or `clock`. Without it every run is the same one, so that a push fails for
/// what it changed alone; `make random` takes the clock. Each test prints its seed, with what to set to get the same run.
pub fn seed() -> u64 {
    let given = std::env::var("COSHELL_TEST_SEED").ok();
    let seed = match given.as_deref() {
        None => 1,
        Some("clock") => of_the_clock(),
        Some(number) => number
            .parse()
            .expect("COSHELL_TEST_SEED is a number or clock"),
    };
    println!("COSHELL_TEST_SEED={seed} repeats this run");
    seed
}

fn of_the_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanoseconds = now.unwrap_or_default().as_nanos();
    u64::try_from(nanoseconds % 1_000_000_000_000).unwrap_or_default()
}

/// A count that a longer run sets by the variable `name`.
pub fn count(name: &str, default: usize) -> usize {
    let given = std::env::var(name).ok();
    given.map_or(default, |count| {
        count
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

/// Calls `check` for each number below `count`, `at_a_time` of them at a time; all that it complains of.
pub fn complaints<C: IntoIterator<Item = String>>(
    count: usize,
    at_a_time: usize,
    check: impl Fn(usize) -> C + Sync,
) -> Vec<String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let complaints = check(number);
                    found.lock().expect("complaints").extend(complaints);
                }
            });
        }
    });
    found.into_inner().expect("complaints")
}

/// A sequence of choices; `SplitMix64`, which needs no table and no warming up.
#[derive(Debug, Clone)]
pub struct Choices(u64);

impl Choices {
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The choices of one part of a run, which are the same however many parts it has.
    pub fn of_part(seed: u64, part: usize) -> Self {
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

    pub fn of_list<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    /// `template`, with each `<letter>` replaced by what `fill` makes of the letter, where that is anything: the same for
    /// the same letter, unless it is one of `varied`.
    pub fn fill(
        &mut self,
        template: &str,
        varied: &str,
        mut fill: impl FnMut(&mut Self, char) -> Option<String>,
    ) -> String {
        let mut known: BTreeMap<char, String> = BTreeMap::new();
        let mut filled = String::new();
        let mut rest = template;
        while let Some(at) = rest.find('<') {
            filled.push_str(&rest[..at]);
            let mut letters = rest[at + 1..].chars();
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
                rest = &rest[at + 3..];
            } else {
                filled.push('<');
                rest = &rest[at + 1..];
            }
        }
        filled + rest
    }
}
