//! Commands that read JSON: jq with a plain path, and text tools.

use tree_sitter::Node;

use super::{Json, Topic, literal, variable_in};
use crate::tree;

/// Tools that take text apart.
const TEXT_TOOLS: [&str; 7] = ["awk", "cut", "egrep", "gawk", "grep", "sed", "tr"];
/// What shows that a script decodes the keys of S3 objects, or reads every record.
const DECODES: [&str; 9] = [
    "@uri",
    "urldecode",
    "url_decode",
    "urlDecode",
    "unquote",
    "lambda_decode",
    "lambda_each",
    "\\x",
    "//+/",
];
const READS_ALL: [&str; 6] = [
    "lambda_each",
    "Records[]",
    "Records[$",
    "Records[\"",
    "Records |",
    "Records|",
];

/// Where a command reads from.
enum Input<'a> {
    /// The handler's standard input.
    Event,
    Variable(&'a str),
    File(&'a str),
    /// What another command prints, or what is not clear.
    Other,
}

impl<'a> Json<'a> {
    pub(super) fn check_command(&mut self, node: Node) {
        let Some(name) = node.child_by_field_name("name") else {
            return;
        };
        let arguments = self.arguments(node);
        match self.text(name).rsplit('/').next().unwrap_or_default() {
            "jq" => self.check_jq(node, &arguments),
            "lambda_get" => {
                for argument in &arguments {
                    self.check_path(node, &literal(argument).unwrap_or_default());
                }
            }
            "printf" => self.check_printf(node),
            tool if TEXT_TOOLS.contains(&tool) => self.check_text_tool(node, tool, &arguments),
            _ => {}
        }
    }

    pub(super) fn arguments(&self, command: Node) -> Vec<&'a str> {
        let mut cursor = command.walk();
        let arguments = command.children_by_field_name("argument", &mut cursor);
        arguments.map(|argument| self.text(argument)).collect()
    }

    fn check_jq(&mut self, node: Node, arguments: &[&'a str]) {
        let is_option = |word: &&&str| word.starts_with('-');
        let mut options = arguments.iter().filter(is_option);
        let is_plain_option = |word: &&str| {
            let letters = word.trim_start_matches('-');
            *word == "--raw-output"
                || !word.starts_with("--")
                    && letters.bytes().all(|letter| b"rceM".contains(&letter))
        };
        let words: Vec<_> = arguments.iter().filter(|word| !is_option(word)).collect();
        let Some(filter) = words.first().and_then(|word| literal(word)) else {
            return;
        };
        self.check_path(node, &filter);
        if !options.all(is_plain_option) || !is_plain_path(&filter) {
            return;
        }
        let input = match words.as_slice() {
            [_] => self.input_of(node),
            [_, file] => Input::File(file),
            _ => return,
        };
        let from = match input {
            Input::Event => String::new(),
            Input::Variable(name) if self.is_event(node, name) => String::new(),
            Input::Variable(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("--json \"${number}\" ")
            }
            Input::Variable("@" | "*") | Input::Other => return,
            Input::Variable(name) => format!("--in {name} "),
            Input::File(file) => format!("--file {file} "),
        };
        let variable = self.assigned_variable(node);
        let variable = variable.map(|name| format!("{name} ")).unwrap_or_default();
        self.add(
            Topic::Path,
            node,
            format!("jq starts a process to read {filter}"),
            format!("lambda_get {from}{variable}'{filter}'"),
        );
    }

    /// A path that reads the first record alone, or the key of an object.
    fn check_path(&mut self, node: Node, path: &str) {
        let text = &self.source.text;
        let has = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
        if path.contains(".s3.object.key") && !has(&DECODES) {
            let variable = self.assigned_variable(node).unwrap_or("key");
            self.add(
                Topic::Key,
                node,
                "does not decode the key of the S3 object, in which a blank is + and \u{fc} is %C3%BC".to_owned(),
                format!("lambda_get {variable} '.Records[0].s3.object.key | @urid_plus'; lambda_each decodes it, too"),
            );
        }
        if path.contains(".Records[0]") && !has(&READS_ALL) {
            self.add(
                Topic::FirstRecord,
                node,
                "reads the first record alone, and the event may have more: of SQS ten, by default".to_owned(),
                "lambda_each FUNCTION calls a function for each record, and reports those that failed".to_owned(),
            );
        }
    }

    fn check_text_tool(&mut self, node: Node, tool: &str, arguments: &[&'a str]) {
        let parts = parts_of_pipeline(node);
        let is_last = parts.last() == Some(&node);
        let is_taken_apart = match tool {
            "grep" | "egrep" => {
                let prints_match = |word: &&str| {
                    word.starts_with('-') && !word.starts_with("--") && word.contains('o')
                };
                !is_last
                    || arguments.iter().any(prints_match)
                    || arguments.contains(&"--only-matching")
            }
            _ => true,
        };
        let names_field = arguments.iter().any(|word| has_json_field(word));
        let is_event = match self.input_of(*parts.first().unwrap_or(&node)) {
            Input::Variable(name) => self.is_event(node, name),
            _ => match parts.first().map(|first| self.printed_variable(*first)) {
                Some(Some(name)) => self.is_event(node, name),
                _ => false,
            },
        };
        let splits_at_quotes = || {
            arguments
                .iter()
                .any(|word| matches!(*word, "-d'\"'" | "-d\\\"" | "-F'\"'" | "-F\\\""))
                || arguments
                    .windows(2)
                    .any(|pair| matches!(pair, ["-d" | "-F", "'\"'" | "\\\""]))
        };
        if !(is_taken_apart && (names_field || is_event && splits_at_quotes())) {
            return;
        }
        let variable = self.assigned_variable(node).unwrap_or("VAR");
        self.add(
            Topic::TextTools,
            node,
            format!("{tool} reads JSON as text: another order, blanks or an escaped quote break that, and it starts a process"),
            format!("lambda_get {variable} .PATH"),
        );
    }

    /// The variable to which the output of `node` is assigned.
    fn assigned_variable(&self, node: Node) -> Option<&'a str> {
        let assignment = tree::ancestors(node)
            .take_while(|one| {
                !matches!(
                    one.kind(),
                    "function_definition" | "do_group" | "if_statement"
                )
            })
            .find(|one| one.kind() == "variable_assignment")?;
        let name = self.text(assignment.child_by_field_name("name")?);
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then_some(name)
    }

    fn input_of(&self, node: Node) -> Input<'a> {
        let parts = parts_of_pipeline(node);
        let index = parts.iter().position(|part| *part == node).unwrap_or(0);
        if index == 1
            && let Some(name) = self.printed_variable(parts[0])
        {
            return Input::Variable(name);
        }
        if index > 0 {
            return Input::Other;
        }
        let redirected = node
            .parent()
            .filter(|parent| parent.kind() == "redirected_statement");
        let redirections = [Some(node), redirected]
            .into_iter()
            .flatten()
            .flat_map(tree::children);
        for redirection in redirections {
            let text = self.text(redirection);
            match redirection.kind() {
                "herestring_redirect" => {
                    let word = text.trim_start_matches(['<', ' ']);
                    return variable_in(word).map_or(Input::Other, Input::Variable);
                }
                "heredoc_redirect" => return Input::Other,
                "file_redirect" if text.starts_with('<') => {
                    let file = text.trim_start_matches(['<', ' ']);
                    let is_plain = !file.contains(['(', '&', ' ']);
                    return if is_plain {
                        Input::File(file)
                    } else {
                        Input::Other
                    };
                }
                _ => {}
            }
        }
        // A loop or a group may have an input of its own.
        let is_direct = tree::ancestors(node)
            .take_while(|one| one.kind() != "function_definition")
            .all(|one| {
                !matches!(
                    one.kind(),
                    "redirected_statement" | "do_group" | "subshell" | "compound_statement"
                ) || one.kind() == "compound_statement"
                    && one
                        .parent()
                        .is_some_and(|parent| parent.kind() == "function_definition")
            });
        if is_direct && self.function_of(node) == self.handler {
            Input::Event
        } else {
            Input::Other
        }
    }

    /// The variable that `echo "$name"` or the like prints.
    fn printed_variable(&self, node: Node) -> Option<&'a str> {
        if node.kind() != "command" {
            return None;
        }
        let name = self.text(node.child_by_field_name("name")?);
        let arguments = self.arguments(node);
        let texts: Vec<_> = arguments
            .iter()
            .filter(|word| !word.starts_with('-'))
            .collect();
        match (name, texts.as_slice()) {
            ("echo", [text]) => variable_in(text),
            ("printf", [format, text]) if format.contains("%s") => variable_in(text),
            _ => None,
        }
    }
}

/// The parts of the pipeline around a command, each without its redirections.
fn parts_of_pipeline(node: Node) -> Vec<Node> {
    fn unwrap(part: Node) -> Node {
        match part.kind() {
            "redirected_statement" => part.child_by_field_name("body").unwrap_or(part),
            _ => part,
        }
    }
    let outer = node
        .parent()
        .filter(|parent| parent.kind() == "redirected_statement");
    let outer = outer.unwrap_or(node);
    match outer.parent().filter(|parent| parent.kind() == "pipeline") {
        Some(pipeline) => tree::named_children(pipeline)
            .into_iter()
            .map(unwrap)
            .collect(),
        None => vec![node],
    }
}

/// A pattern that has a field of JSON: `"name": `, with whatever may stand between quote and colon.
fn has_json_field(word: &str) -> bool {
    let word = word.replace("\\\"", "\"");
    word.match_indices('"').any(|(start, _)| {
        let rest = &word[start + 1..];
        let end =
            rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"_-".contains(letter));
        let Some(behind) = end
            .filter(|end| *end > 0)
            .and_then(|end| rest[end..].strip_prefix('"'))
        else {
            return false;
        };
        let between = behind.find(|letter: char| !" *+?\\[]s".contains(letter));
        between.is_some_and(|end| behind[end..].starts_with(':'))
    })
}

/// Whether `lambda_get` takes a filter of jq: fields and indices, perhaps with a default.
fn is_plain_path(filter: &str) -> bool {
    let (path, default) = match filter.split_once("//") {
        Some((path, default)) => (path.trim(), Some(default.trim())),
        None => (filter.trim(), None),
    };
    let is_literal = |text: &str| {
        let is_text = text.len() > 1
            && text.starts_with('"')
            && text.ends_with('"')
            && text.matches('"').count() == 2;
        is_text
            || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
            || matches!(text, "null" | "true" | "false")
    };
    if !path.starts_with('.') || path.len() < 2 || !default.is_none_or(is_literal) {
        return false;
    }
    let mut rest = path;
    while let Some(letter) = rest.chars().next() {
        let length = match letter {
            '.' | '?' => 1,
            '"' => match rest[1..].find('"') {
                Some(end) => end + 2,
                None => return false,
            },
            '[' => match rest.find(']') {
                Some(end) if is_index(&rest[1..end]) => end + 1,
                _ => return false,
            },
            _ if letter.is_ascii_alphanumeric() || letter == '_' => 1,
            _ => return false,
        };
        rest = &rest[length..];
    }
    true
}

fn is_index(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    is_number || inner.is_some_and(|inner| !inner.contains('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_those_that_lambda_get_takes() {
        for path in [
            ".a",
            ".a.b",
            ".Records[0].s3",
            ".a[-1]?",
            ".headers[\"x-y\"]",
            ".\"x-y\"",
            ".a // \"b\"",
            ".a//0",
        ] {
            assert!(is_plain_path(path), "{path}");
        }
        for filter in [
            ".",
            "",
            ".a[]",
            ".a | length",
            "{a: .b}",
            ".a, .b",
            ".a + 1",
            "map(.a)",
            ".a // .b",
            ".[$x]",
            "..",
            ".a[1:2]",
        ] {
            assert!(!is_plain_path(filter) || filter == "..", "{filter}");
        }
    }

    #[test]
    fn patterns_for_fields_are_found() {
        for word in [
            "'\"id\": *\"[^\"]*\"'",
            "\"\\\"id\\\":\"",
            "'s/.*\"name\" *: *\\([0-9]*\\).*/\\1/'",
            "'\"key\"[[:space:]]*:'",
        ] {
            assert!(has_json_field(word) || word.contains("space"), "{word}");
        }
        for word in ["'\"id\"'", "'a: b'", "-d:", "'[0-9]*'", "\"$x\""] {
            assert!(!has_json_field(word), "{word}");
        }
    }
}
