//! Short names for what the driver calls `__driver_...`.

use std::collections::BTreeMap;

/// What every name of the driver begins with, also a short one: handlers leave such names alone.
pub(crate) const PREFIX: &str = "__driver_";

/// Names that people meet: in the traps that a handler sees with `trap -p`, in `FUNCNAME`, and in the pages of the protocol.
const KEPT: [&str; 5] = ["rare", "on_exit", "on_error", "on_stop", "fork"];

/// Each name, with the prefix, and what it is called in the driver that ships.
pub(crate) struct Names {
    short: BTreeMap<String, String>,
}

impl Names {
    /// Gives the shortest names to those that are used most.
    pub(crate) fn shorten<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut uses: BTreeMap<String, usize> = BTreeMap::new();
        for text in texts {
            crate::text::replace_words(text, |word| {
                if word.len() > PREFIX.len() && word.starts_with(PREFIX) {
                    *uses.entry(word.to_owned()).or_default() += 1;
                }
                None
            });
        }
        let mut order: Vec<_> = uses.iter().collect();
        order.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
        let mut short = BTreeMap::new();
        let mut numbers = 0..;
        for (name, _) in order {
            let is_kept = KEPT.iter().any(|kept| name[PREFIX.len()..] == **kept);
            let new = if is_kept {
                name.clone()
            } else {
                let free = numbers
                    .by_ref()
                    .map(letters)
                    .map(|end| format!("{PREFIX}{end}"));
                let mut free = free.filter(|candidate| !uses.contains_key(candidate));
                free.next().unwrap_or_else(|| name.clone())
            };
            short.insert(name.clone(), new);
        }
        Self { short }
    }

    pub(crate) fn short(&self, word: &str) -> Option<&str> {
        self.short.get(word).map(String::as_str)
    }

    /// Each name without the prefix, and its short form with it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.short
            .iter()
            .map(|(long, short)| (&long[PREFIX.len()..], short.as_str()))
    }
}

/// `a` to `z`, then `aa` and so on.
fn letters(number: usize) -> String {
    const ALPHABET: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
    let last = char::from(ALPHABET[number % 26]);
    match number / 26 {
        0 => last.to_string(),
        rest => letters(rest - 1) + &last.to_string(),
    }
}
