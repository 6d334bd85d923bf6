//! The values that `lambda_secret` and `lambda_parameter` have found, for the calls of all shells.
//!
//! The second program has a cache of its own, by names and credentials, and decides how old a value may be. What is here saves
//! the way there: bash would have to list its exported variables, and each process that has to wake up costs as much as the
//! rest of a call. A value is found by the very words of a call, and never outlives the time that the second program gives.
//! It is no more open to the handler here than there: both processes belong to the same user, and no program that the handler
//! starts inherits their memory. It is in no file, and in no text.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// With more values than these, all are forgotten.
const MOST: usize = 256;

/// What a call is known by: the command, the variables that decide who asks whom, and the arguments.
pub(super) type Key = Vec<Vec<u8>>;

/// What a call assigns.
#[derive(Clone)]
pub(super) struct Assignment {
    pub variable: String,
    pub value: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Values(HashMap<Key, (Assignment, Lifetime)>);

/// What the second program says about a value: `new|kept MILLISECONDS NAME`.
#[derive(Clone)]
pub(super) struct Lifetime {
    /// It has just been fetched, so that what was known of this name may be old.
    is_new: bool,
    end: Instant,
    name: Vec<u8>,
}

impl Lifetime {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut words = text.splitn(3, |byte| *byte == b' ');
        let is_new = words.next()? == b"new";
        let left_ms = str::from_utf8(words.next()?).ok()?.parse().ok()?;
        Some(Self {
            is_new,
            end: Instant::now().checked_add(Duration::from_millis(left_ms))?,
            name: words.next()?.to_vec(),
        })
    }
}

impl Values {
    /// Those of this process.
    pub(super) fn lock() -> MutexGuard<'static, Self> {
        static VALUES: OnceLock<Mutex<Values>> = OnceLock::new();
        let values = VALUES.get_or_init(Mutex::default);
        values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the call assigns, if its value is known and not too old.
    pub(super) fn find(&self, key: &[Vec<u8>]) -> Option<Assignment> {
        let (assignment, lifetime) = self.0.get(key)?;
        (Instant::now() < lifetime.end).then(|| assignment.clone())
    }

    pub(super) fn forget_all(&mut self) {
        self.0.clear();
    }

    /// Forgets what a new value replaces.
    pub(super) fn forget_replaced(&mut self, lifetime: &Lifetime) {
        if lifetime.is_new {
            self.0.retain(|_, (_, known)| known.name != lifetime.name);
        }
    }

    pub(super) fn insert(&mut self, key: Key, assignment: Assignment, lifetime: Lifetime) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(key, (assignment, lifetime));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(values: &mut Values, key: &str, lifetime: &str) {
        let lifetime = Lifetime::parse(lifetime.as_bytes()).expect("a lifetime");
        values.forget_replaced(&lifetime);
        let assignment = Assignment {
            variable: "x".to_owned(),
            value: key.into(),
        };
        values.insert(vec![key.into()], assignment, lifetime);
    }

    fn knows(values: &Values, key: &str) -> bool {
        values.find(&[key.into()]).is_some()
    }

    #[test]
    fn values_are_known_until_they_are_too_old_or_replaced() {
        let mut values = Values::default();
        insert(&mut values, "too old", "kept 0 other");
        insert(&mut values, "one", "new 300000 a name");
        insert(&mut values, "other words", "kept 300000 a name");
        insert(&mut values, "other name", "new 300000 a");
        assert!(!knows(&values, "too old"));
        assert!(knows(&values, "one") && knows(&values, "other words"));
        insert(&mut values, "newer", "new 300000 a name");
        assert!(!knows(&values, "one") && !knows(&values, "other words"));
        assert!(knows(&values, "newer") && knows(&values, "other name"));
        assert!(Lifetime::parse(b"").is_none());
        assert!(Lifetime::parse(b"new x name").is_none());
    }
}
