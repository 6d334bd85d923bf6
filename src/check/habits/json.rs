//! JSON that a handler reads and makes in ways that start processes or go wrong, where a function of coshell is at hand.
//!
//! In 65 public handlers, 46 called jq, mostly for a plain path; 14 of 16 read the first record alone; 12 of 12 did not decode
//! the key of an S3 object; 17 of 24 put raw text into JSON. All are notes, at most one for a line.

mod command;
mod made;

use std::collections::BTreeMap;

use tree_sitter::{Node, Tree};

use crate::finding::{FUNCTIONS_VARIABLE, Finding, Severity, Source};
use crate::habits::finding_at;
use crate::tree;
use coshell_handler::{Handler, Kind};

/// What was found on a line. The last kind is the most important one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Path,
    TextTools,
    RawText,
    FirstRecord,
    Key,
}

pub(super) struct Json<'a> {
    source: &'a Source,
    /// The function that gets the event; `None` for a whole script.
    handler: Option<&'a str>,
    /// For each line what matters most.
    found: BTreeMap<u32, (Topic, Finding)>,
}

/// Notes about JSON in a script; none if it has none of the functions.
pub(super) fn check(handler: &Handler, source: &Source, tree: &Tree) -> Vec<Finding> {
    let function = match &handler.kind {
        Kind::Function(function) => Some(function.as_str()),
        Kind::Script(_) if source.text.contains(FUNCTIONS_VARIABLE) => None,
        Kind::Script(_) | Kind::Program => return Vec::new(),
    };
    let mut json = Json {
        source,
        handler: function,
        found: BTreeMap::new(),
    };
    tree::for_each_node(tree, |node| match node.kind() {
        "command" => json.check_command(node),
        "string" | "concatenation" | "heredoc_body" => json.check_text(node),
        _ => {}
    });
    let found = json.found.into_values();
    found.map(|(_, finding)| finding).collect()
}

impl<'a> Json<'a> {
    fn add(&mut self, topic: Topic, node: Node, message: String, suggestion: String) {
        let finding = finding_at(node, self.source, Severity::Note, "json", message);
        let finding = finding.suggest(suggestion);
        let line = tree::line_of(node);
        // Of the two that come once for a file, the first place that is free.
        let is_there = |topic: Topic| self.found.values().any(|(other, _)| *other == topic);
        if matches!(topic, Topic::FirstRecord | Topic::Key) && is_there(topic) {
            return;
        }
        match self.found.get(&line) {
            Some((other, _)) if *other >= topic => {}
            _ => {
                self.found.insert(line, (topic, finding));
            }
        }
    }

    fn text(&self, node: Node) -> &'a str {
        self.source.text_of(node)
    }

    /// The name of the innermost function around `node`.
    fn function_of(&self, node: Node) -> Option<&'a str> {
        let function = tree::ancestors(node).find(|node| node.kind() == "function_definition")?;
        Some(self.text(function.child_by_field_name("name")?))
    }

    /// Whether a variable, by its name or number, holds the event.
    fn is_event(&self, node: Node, name: &str) -> bool {
        if matches!(name, "1" | "@" | "*") {
            return self.handler.is_some() && self.function_of(node) == self.handler;
        }
        let mut assignments = self.source.reading.assignments.iter();
        assignments.any(|one| {
            let is_first = one.function.as_deref() == self.handler
                && matches!(
                    one.value.text.as_str(),
                    "$1" | "${1}" | "${1-}" | "$(cat)" | "$(</dev/stdin)"
                );
            one.name == name && is_first
        })
    }
}

/// The name of the variable that `text` is, with or without quotes: `"$name"`, `${name}`.
fn variable_in(text: &str) -> Option<&str> {
    let text = text.trim().trim_matches('"');
    let name = text.strip_prefix('$')?;
    let name = match name.strip_prefix('{') {
        Some(inner) => inner.strip_suffix('}')?,
        None => name,
    };
    let is_word = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_word && !name.is_empty() || matches!(name, "@" | "*")).then_some(name)
}

/// A word without its quotes, if nothing in it is expanded.
fn literal(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'')?;
        return (!inner.contains('\'')).then(|| inner.to_owned());
    }
    if let Some(inner) = text.strip_prefix('"') {
        let inner = inner.strip_suffix('"')?;
        let is_plain = !inner.contains(['$', '`']);
        return is_plain.then(|| inner.replace("\\\"", "\"").replace("\\\\", "\\"));
    }
    (!text.contains(['$', '`', '"', '\'', '\\'])).then(|| text.to_owned())
}
