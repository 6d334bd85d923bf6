//! Commands that end a handler under `set -e` although nothing failed, and the opposite: failures that `set -e` does not
//! notice.

use tree_sitter::Node;

use crate::finding::{Finding, Severity, Source};
use crate::habits::{finding_at, program_of, words_of};
use crate::tree;
use coshell_handler::{Handler, Kind};

pub(super) struct Errexit<'a> {
    source: &'a Source,
    known: &'a [Finding],
}

impl<'a> Errexit<'a> {
    /// `None` if a command that fails does not end the handler.
    pub(super) fn new(handler: &Handler, source: &'a Source, known: &'a [Finding]) -> Option<Self> {
        has_errexit(handler, source).then_some(Self { source, known })
    }

    pub(super) fn check(&self, node: Node) -> Option<Finding> {
        match node.kind() {
            "command" => self.check_command(node),
            "compound_statement" => self.check_arithmetic(node),
            "declaration_command" => self.check_declaration(node),
            _ => None,
        }
    }

    fn check_command(&self, node: Node) -> Option<Finding> {
        let words = words_of(node, self.source);
        match program_of(&words) {
            "let" => {
                let arguments = words.get(1..).unwrap_or_default();
                let counts = |word: &String| word.ends_with("++") || word.ends_with("--");
                let name = arguments.first()?.trim_end_matches(['+', '-']);
                let is_count = arguments.iter().any(counts);
                is_count.then(|| self.check_count(node, name)).flatten()
            }
            program @ ("grep" | "egrep" | "fgrep") if !is_tested(node) => {
                let message = format!(
                    "{program} ends with status 1 if nothing matches, and set -e then ends the handler"
                );
                let finding = finding_at(node, self.source, Severity::Note, "errexit", message);
                Some(finding.suggest(format!("{program} ... || true, if nothing may match")))
            }
            _ => None,
        }
    }

    fn check_arithmetic(&self, node: Node) -> Option<Finding> {
        let text = self.source.text_of(node);
        let inner = text.strip_prefix("((")?;
        let inner = inner.trim_start_matches('(').trim_end_matches(')').trim();
        let name = inner.strip_suffix("++").or(inner.strip_suffix("--"))?;
        self.check_count(node, name.trim())
    }

    /// `((n++))` and `let n++` have the status 1 if the old value is 0.
    fn check_count(&self, node: Node, name: &str) -> Option<Finding> {
        if is_tested(node) {
            return None;
        }
        let text = self.source.text_of(node).trim();
        let message = format!("{text} fails if {name} is 0, and set -e then ends the handler");
        let sign = if text.contains("--") { '-' } else { '+' };
        let finding = finding_at(node, self.source, Severity::Warning, "errexit", message);
        Some(finding.suggest(format!("{name}=$(({name} {sign} 1))")))
    }

    /// `local x=$(command)` has the status of `local`.
    fn check_declaration(&self, node: Node) -> Option<Finding> {
        let line = tree::line_of(node);
        let is_known = |one: &Finding| {
            one.check == "SC2155"
                && one.line == Some(line)
                && one.file.as_ref() == Some(&self.source.path)
        };
        if self.known.iter().any(is_known) {
            return None;
        }
        let is_substitution = |value: Node| {
            let text = self.source.text_of(value);
            text.trim_start_matches('"').starts_with("$(")
        };
        let assignment = tree::named_children(node).into_iter().find(|child| {
            child.kind() == "variable_assignment"
                && child
                    .child_by_field_name("value")
                    .is_some_and(is_substitution)
        })?;
        let name = assignment.child_by_field_name("name");
        let name = name.map_or("", |name| self.source.text_of(name));
        let text = self.source.text_of(node);
        let builtin = text.split_whitespace().next().unwrap_or_default();
        let message = format!(
            "{builtin} {name}=$(...) hides the status of the command: set -e does not notice if it fails"
        );
        let finding = finding_at(node, self.source, Severity::Note, "errexit", message);
        Some(finding.suggest(format!("{builtin} {name}; {name}=$(...)")))
    }
}

/// Whether a command that fails ends the handler. Functions start with `set -e`, scripts have to switch it on.
fn has_errexit(handler: &Handler, source: &Source) -> bool {
    let sets = |sign: char| {
        let has_letter = |word: &str| match word.strip_prefix(sign) {
            Some("o") | None => false,
            Some(letters) => letters.contains('e') && !letters.starts_with('-'),
        };
        source.reading.commands.iter().any(|command| {
            let words: Vec<_> = command
                .words
                .iter()
                .map(|word| word.text.as_str())
                .collect();
            let has_name = words.windows(2).any(|pair| {
                pair[0].starts_with(sign) && pair[0].ends_with('o') && pair[1] == "errexit"
            });
            command.name() == Some("set") && (has_name || words.iter().any(|word| has_letter(word)))
        })
    };
    match &handler.kind {
        Kind::Function(_) => !sets('+'),
        Kind::Script(interpreter) => {
            let options = interpreter.options.iter();
            let mut options = options.filter(|word| word.starts_with('-'));
            sets('-') || options.any(|word| word.contains('e'))
        }
        Kind::Program => false,
    }
}

/// Whether `set -e` ignores the command's status, because something tests it, or a function returns it.
fn is_tested(command: Node) -> bool {
    let mut node = command;
    while let Some(parent) = node.parent() {
        let is_last = tree::named_children(parent).last() == Some(&node);
        let body = tree::children(parent)
            .into_iter()
            .find(|child| matches!(child.kind(), "then" | "do_group"));
        match parent.kind() {
            "negated_command" => return true,
            "list" if !is_last => return true,
            "if_statement" | "elif_clause" | "while_statement"
                if body.is_some_and(|body| node.start_byte() < body.start_byte()) =>
            {
                return true;
            }
            "compound_statement" if is_last && is_function_body(parent) => return true,
            "function_definition" => return false,
            _ => {}
        }
        node = parent;
    }
    false
}

fn is_function_body(node: Node) -> bool {
    let parent = node.parent();
    parent.is_some_and(|parent| parent.kind() == "function_definition")
}
