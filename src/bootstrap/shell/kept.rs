//! The variables that `lambda_keep` names: what they are, and how another shell gets them.

use super::restore::{has_aliases, without_aliases};
use super::state::{Commands, State, read_kept};
use coshell_handler::bash::quote;

/// A name that stands for the open descriptors whose numbers a variable holds.
const DESCRIPTORS: &str = "fd:";

/// The variables that live on, as far as they are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// What `lambda_keep` was given.
    names: Vec<String>,
    /// The lines that make each variable what it is; without them it is unset.
    lines: Commands,
}

impl Kept {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether the variable lives on.
    pub(crate) fn has(&self, variable: &[u8]) -> bool {
        let mut names = self.names.iter();
        names.any(|name| without_prefix(name).as_bytes() == variable)
    }

    /// Remembers what a shell that goes on has of them.
    pub(crate) fn remember(&mut self, state: &State) {
        if state.kept.is_empty() && self.names.is_empty() {
            return;
        }
        self.names.clone_from(&state.kept);
        self.lines.clear();
        for name in &self.names {
            if let Some(shown) = state.variable(name.as_bytes()) {
                self.lines.insert(name.clone(), shown.lines());
            }
        }
    }

    /// Remembers what a fork showed at its end, if it did.
    pub(crate) fn remember_shown(&mut self, shown: &[u8]) {
        if let Some((names, lines)) = read_kept(shown) {
            (self.names, self.lines) = (names, lines);
        }
    }

    /// The numbers of descriptors that stay open.
    pub(crate) fn descriptors(&self, state: &State) -> Vec<i32> {
        let names = self.names.iter();
        let names = names.filter_map(|name| name.strip_prefix(DESCRIPTORS));
        names
            .filter_map(|name| state.variable(name.as_bytes()))
            .flat_map(|shown| {
                // `declare -- db="10"`, `declare -a both=([0]="63" [1]="60")`: the numbers in quotes.
                let quoted = shown.command.split(|byte| *byte == b'"').skip(1).step_by(2);
                let texts = quoted.filter_map(|text| str::from_utf8(text).ok());
                texts.filter_map(|text| text.parse().ok())
            })
            .collect()
    }

    /// The commands that give a fresh shell these variables. A variable that its file has made readonly is
    /// the file's.
    pub(crate) fn commands(&self, fresh: Option<&State>) -> Vec<u8> {
        let mut text = Vec::new();
        for name in self
            .names
            .iter()
            .filter(|name| !name.starts_with(DESCRIPTORS))
        {
            let shown = fresh.and_then(|fresh| fresh.variable(name.as_bytes()));
            if shown.is_some_and(|shown| shown.has(b'r')) {
                continue;
            }
            // A reference itself, and not what it refers to.
            let unset = format!("\\builtin unset -n {name}\n\\builtin unset -v {name}\n");
            text.extend_from_slice(unset.as_bytes());
            if let Some(lines) = self.lines.get(name) {
                text.extend_from_slice(lines);
            }
        }
        // Descriptors are those of a shell that is gone, but for the ones that its file has opened again.
        let own = fresh.map_or(&[][..], |fresh| &fresh.kept);
        let names = self.names.iter();
        let names = names.filter(|name| !name.starts_with(DESCRIPTORS) && !own.contains(name));
        let names: Vec<_> = own.iter().chain(names).map(|name| quote(name)).collect();
        text.extend_from_slice(format!("__driver_kept=({})\n", names.join(" ")).as_bytes());
        let expands = fresh.is_some_and(has_aliases);
        without_aliases(&text, expands, expands)
    }
}

fn without_prefix(name: &str) -> &str {
    name.strip_prefix(DESCRIPTORS).unwrap_or(name)
}
