//! JSON that is put together from text, by hand.

use tree_sitter::Node;

use super::{Json, Topic, literal, variable_in};
use crate::tree;

/// Around what is expanded, in a text that was flattened.
const BEGIN: char = '\u{1}';
const END: char = '\u{2}';
/// Commands whose arguments are patterns and not JSON.
const MATCHERS: [&str; 7] = ["awk", "egrep", "expr", "gawk", "grep", "jq", "sed"];
/// Commands that print no quotes and no backslashes.
const SAFE_COMMANDS: [&str; 11] = [
    "base64",
    "basename",
    "date",
    "hostname",
    "lambda_encode",
    "lambda_hash",
    "nproc",
    "sha256sum",
    "stat",
    "uname",
    "wc",
];
/// Variables whose values have neither.
const SAFE_VARIABLES: [&str; 14] = [
    "AWS_",
    "BASHPID",
    "COSHELL_",
    "EPOCH",
    "HOSTNAME",
    "LAMBDA_RUNTIME_AWS_REQUEST_ID",
    "LAMBDA_RUNTIME_DEADLINE_MS",
    "LAMBDA_TASK_ROOT",
    "LINENO",
    "RANDOM",
    "SECONDS",
    "SRANDOM",
    "UID",
    "_X_AMZN",
];

impl Json<'_> {
    /// A string in quotes, several that belong together, or a here-document.
    pub(super) fn check_text(&mut self, node: Node) {
        let Some(parent) = node.parent() else {
            return;
        };
        let is_part = parent.kind() == "concatenation";
        let is_tested = tree::ancestors(node).any(|one| one.kind() == "test_command");
        if is_part || is_tested || self.is_pattern(parent) {
            return;
        }
        let text = self.flatten(node);
        if let Some((field, value)) = self.raw_value(&text) {
            self.add_raw(node, &field, &value);
        }
    }

    /// `printf '{"a": "%s"}' "$x"`
    pub(super) fn check_printf(&mut self, node: Node) {
        let mut arguments = self.arguments(node).into_iter().peekable();
        while arguments.peek().is_some_and(|word| word.starts_with('-')) {
            let option = arguments.next();
            if option == Some("-v") {
                arguments.next();
            }
        }
        let Some(format) = arguments.next().and_then(literal) else {
            return;
        };
        // Each %s becomes the argument that printf puts there.
        let mut pieces = format.split('%');
        let mut text = pieces.next().unwrap_or_default().to_owned();
        let mut after_percent = false;
        for piece in pieces {
            if after_percent || piece.is_empty() {
                after_percent = !after_percent && piece.is_empty();
                text.push_str(piece);
                continue;
            }
            let argument = arguments.next().unwrap_or_default();
            if let Some(rest) = piece.strip_prefix('s')
                && argument.contains('$')
            {
                text.extend([BEGIN]);
                text.push_str(argument.trim_matches('"'));
                text.extend([END]);
                text.push_str(rest);
            } else {
                text.push_str(piece);
            }
        }
        if let Some((field, value)) = self.raw_value(&text) {
            self.add_raw(node, &field, &value);
        }
    }

    fn add_raw(&mut self, node: Node, field: &str, value: &str) {
        self.add(
            Topic::RawText,
            node,
            format!("puts {value} into JSON as it is: a quote, a backslash or a newline in it makes the JSON invalid"),
            format!("lambda_json {field}=\"{value}\" ... prints JSON that is always valid"),
        );
    }

    fn is_pattern(&self, parent: Node) -> bool {
        let name = parent
            .child_by_field_name("name")
            .filter(|_| parent.kind() == "command");
        name.is_some_and(|name| MATCHERS.contains(&self.text(name)))
    }

    /// The text that a node is, without quotes of bash. What is expanded stands between marks.
    fn flatten(&self, node: Node) -> String {
        match node.kind() {
            "raw_string" => self.text(node).trim_matches('\'').to_owned(),
            "concatenation" => tree::children(node)
                .into_iter()
                .map(|part| self.flatten(part))
                .collect(),
            "string" | "heredoc_body" => {
                let is_string = node.kind() == "string";
                let (mut text, mut at) = (String::new(), node.start_byte());
                let end = node.end_byte();
                let push = |text: &mut String, from: usize, to: usize| {
                    let plain = self.source.text.get(from..to).unwrap_or_default();
                    text.push_str(&if is_string {
                        plain
                            .replace("\\\"", "\u{3}")
                            .replace('"', "")
                            .replace('\u{3}', "\"")
                    } else {
                        plain.to_owned()
                    });
                };
                for child in tree::named_children(node) {
                    if !is_expansion(child) {
                        continue;
                    }
                    push(&mut text, at, child.start_byte());
                    text.push(BEGIN);
                    text.push_str(self.text(child));
                    text.push(END);
                    at = child.end_byte();
                }
                push(&mut text, at, end);
                text
            }
            _ if is_expansion(node) => format!("{BEGIN}{}{END}", self.text(node)),
            _ => self.text(node).replace("\\\"", "\""),
        }
    }

    /// The first `"name": "value"` whose value has something expanded that may hold a quote: name, and what is expanded.
    fn raw_value(&self, text: &str) -> Option<(String, String)> {
        let mut from = 0;
        while let Some(at) = text[from..].find("\":").map(|at| from + at) {
            from = at + 2;
            let Some(value) = text[from..].trim_start().strip_prefix('"') else {
                continue;
            };
            let name = text[..at].rsplit('"').next().unwrap_or_default();
            let is_name = !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            let mut rest = value;
            while let Some(next) = rest.find([BEGIN, '"']) {
                if !rest[next..].starts_with(BEGIN) {
                    break;
                }
                let (expanded, behind) = rest[next + 1..].split_once(END)?;
                if is_name && !self.is_safe(expanded) {
                    return Some((name.to_owned(), expanded.to_owned()));
                }
                rest = behind;
            }
        }
        None
    }

    /// Whether what is expanded can hold no quote: a number, a date, a text that the script spells out.
    fn is_safe(&self, expanded: &str) -> bool {
        let inner = expanded.trim_start_matches("$(").trim_start_matches('`');
        let command = inner.split([' ', ')', '`']).next().unwrap_or_default();
        let is_special = matches!(expanded, "$?" | "$#" | "$$" | "$!");
        if is_special
            || expanded.starts_with("$((")
            || expanded.starts_with("${#")
            || SAFE_COMMANDS.contains(&command)
            || expanded.starts_with("$(") && is_escaped(expanded)
        {
            return true;
        }
        // Replaced by hand, as in ${text//\"/\\\"}.
        if expanded.starts_with("${") && expanded.contains("//") {
            return true;
        }
        let Some(name) = variable_in(expanded) else {
            return false;
        };
        if SAFE_VARIABLES.iter().any(|safe| name.starts_with(safe)) {
            return true;
        }
        let values = || {
            self.source
                .reading
                .assignments
                .iter()
                .filter(|one| one.name == name)
        };
        values().next().is_some()
            && values().all(|one| {
                let text = one.value.text.as_str();
                let command = text
                    .trim_start_matches("$(")
                    .split([' ', ')'])
                    .next()
                    .unwrap_or_default();
                one.value.is_literal
                    || is_escaped(text)
                    || text.starts_with("$((")
                    || text.starts_with("${#")
                    || text.starts_with("$(") && SAFE_COMMANDS.contains(&command)
            })
    }
}

/// Whether a value comes from a function or a command that escapes quotes by hand.
fn is_escaped(value: &str) -> bool {
    let command = value.trim_start_matches("$(");
    let command = command.split([' ', ')']).next().unwrap_or_default();
    let is_named = ["escape", "quote", "json"]
        .iter()
        .any(|word| command.contains(word));
    let replaces = value.contains("sed ") || value.contains("//");
    value.starts_with("$(") && is_named || replaces && value.contains("\\\"")
}

fn is_expansion(node: Node) -> bool {
    matches!(
        node.kind(),
        "simple_expansion" | "expansion" | "command_substitution" | "arithmetic_expansion"
    )
}
