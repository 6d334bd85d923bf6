//! Habits that work in a terminal and not on Lambda: programs that read standard input, files that are written outside
//! of /tmp, and commands that end a handler under `set -e` although nothing failed.

mod errexit;
mod input;
mod json;
mod writes;

use tree_sitter::Node;

use crate::finding::{Finding, Severity, Source, Subject};
use crate::tree;
use coshell_handler::Handler;

use errexit::Errexit;
use input::Input;
use writes::Writes;

/// Checks one script of a handler. `known` are the findings of shellcheck, which finds some habits too.
pub(crate) fn check(
    subject: &Subject,
    handler: &Handler,
    source: &Source,
    known: &[Finding],
) -> Vec<Finding> {
    let Some(tree) = tree::parse(&source.text) else {
        return Vec::new();
    };
    let mut input = Input::new(subject, handler, source);
    let mut writes = Writes::new(source);
    let errexit = Errexit::new(handler, source, known);
    let mut found = Vec::new();
    tree::for_each_node(&tree, |node| {
        found.extend(input.check(node));
        if let Some(errexit) = &errexit {
            found.extend(errexit.check(node));
        }
        found.extend(writes.check(node));
    });
    found.extend(json::check(handler, source, &tree));
    found
}

/// The words of a command, without the quotes around each and without redirections; empty if it only redirects.
fn words_of(command: Node, source: &Source) -> Vec<String> {
    tree::named_children(command)
        .into_iter()
        .filter(|child| !child.kind().ends_with("redirect"))
        .map(|child| source.text_of(child).trim_matches(['"', '\'']).to_owned())
        .collect()
}

/// The program that a command word names, without its folder.
fn program_of(words: &[String]) -> &str {
    let name = words.first().map_or("", String::as_str);
    name.rsplit('/').next().unwrap_or_default()
}

fn finding_at(
    node: Node,
    source: &Source,
    severity: Severity,
    check: &str,
    message: String,
) -> Finding {
    Finding::new(severity, check, message).at(&source.path, tree::line_of(node))
}
