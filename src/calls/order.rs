//! Sorting, for all that is sorted here: each other type would add its own 6 KB to `bootstrap`.

use std::cmp::Ordering;

/// The numbers below `count` in order; equal ones keep theirs.
pub(crate) fn ordered(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    numbers.sort_by(|one, other| compare(*one, *other));
    numbers
}

/// For each of the numbers below `count` the first that is equal to it.
pub(crate) fn firsts(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut firsts: Vec<usize> = (0..count).collect();
    let mut first = None;
    for number in ordered(count, compare) {
        match first {
            Some(first) if compare(first, number).is_eq() => {
                if let Some(place) = firsts.get_mut(number) {
                    *place = first;
                }
            }
            _ => first = Some(number),
        }
    }
    firsts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_keep_their_order_and_know_their_first() {
        let words = ["b", "a", "c", "a", "b", "a"];
        let compare = |one: usize, other: usize| words[one].cmp(words[other]);
        assert_eq!(ordered(words.len(), &compare), [1, 3, 5, 0, 4, 2]);
        assert_eq!(firsts(words.len(), &compare), [0, 1, 2, 1, 0, 1]);
        assert_eq!(firsts(0, &compare), [0; 0]);
    }
}
