//! Syntax trees of bash scripts, by tree-sitter's grammar.
//!
//! The grammar gives every node its place, and a part that it does not understand costs no more than itself. bash itself
//! would have to run a script to find out what it defines.

use tree_sitter::{Node, Parser, Tree};

/// Larger scripts are not parsed.
const MAX_BYTES: usize = 4 << 20;

/// `None` if the script is too large.
pub(crate) fn parse(text: &str) -> Option<Tree> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let mut parser = Parser::new();
    parser
        .set_language(&tree_sitter_bash::LANGUAGE.into())
        .ok()?;
    parser.parse(text, None)
}

/// Visits every node, each before its children. Does not recurse: a script may be nested so deeply that the stack would
/// overflow.
pub(crate) fn for_each_node(tree: &Tree, mut visit: impl FnMut(Node)) {
    let mut cursor = tree.walk();
    loop {
        visit(cursor.node());
        if cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return;
            }
        }
    }
}

pub(crate) fn children(node: Node) -> Vec<Node> {
    let mut cursor = node.walk();
    node.children(&mut cursor).collect()
}

pub(crate) fn named_children(node: Node) -> Vec<Node> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

/// The nodes that contain `node`, the innermost first.
pub(crate) fn ancestors(node: Node) -> impl Iterator<Item = Node> {
    std::iter::successors(node.parent(), Node::parent)
}

/// The line where the node begins, counted from 1.
pub(crate) fn line_of(node: Node) -> u32 {
    let row = u32::try_from(node.start_position().row).unwrap_or(u32::MAX);
    row.saturating_add(1)
}
