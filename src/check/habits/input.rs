//! Standard input and arguments: programs that read the event although nobody passed it to them, and whole scripts that
//! use arguments which they do not get.

use tree_sitter::Node;

use crate::finding::{Finding, Severity, Source, Subject};
use crate::habits::{finding_at, program_of, words_of};
use crate::tree;
use coshell_handler::{Delivery, Handler, Kind};

/// Programs that read standard input, and the options that stop them.
const READERS: [(&str, &[&str]); 6] = [
    ("ffmpeg", &["-nostdin"]),
    ("ssh", &["-n", "-f"]),
    ("mysql", &["-e", "--execute"]),
    ("mariadb", &["-e", "--execute"]),
    ("psql", &["-c", "-f", "--command", "--file"]),
    ("sqlplus", &[]),
];

pub(super) struct Input<'a> {
    source: &'a Source,
    /// Whether standard input is the event.
    event_is_on_stdin: bool,
    /// Whether the script may use `$1`: it has arguments, or the finding is made already.
    may_use_arguments: bool,
}

impl<'a> Input<'a> {
    pub(super) fn new(subject: &Subject, handler: &Handler, source: &'a Source) -> Self {
        let default = match handler.kind {
            Kind::Function(_) => Delivery::Both,
            Kind::Script(_) | Kind::Program => Delivery::Stdin,
        };
        let delivery = subject.delivery.unwrap_or(default);
        let may_use_arguments = !handler.arguments.is_empty()
            || delivery.is_argument()
            || source.path != handler.file
            || source.calls("set");
        Self {
            source,
            event_is_on_stdin: delivery.is_on_stdin(),
            may_use_arguments,
        }
    }

    pub(super) fn check(&mut self, node: Node) -> Option<Finding> {
        match node.kind() {
            "command" => self.check_command(node),
            "simple_expansion" | "expansion" => self.check_expansion(node),
            _ => None,
        }
    }

    fn check_command(&self, node: Node) -> Option<Finding> {
        let words = words_of(node, self.source);
        let program = program_of(&words);
        let (_, options) = READERS.iter().find(|(reader, _)| *reader == program)?;
        let is_stopped = words.iter().skip(1).any(|word| is_one_of(word, options));
        if !self.event_is_on_stdin || is_stopped || has_own_input(node) {
            return None;
        }
        let message = format!("{program} reads standard input, which is the event");
        let suggestion = match options.first() {
            Some(option) if option.len() > 2 || program == "ssh" => format!(
                "{program} {option}, or {program} ... </dev/null; or COSHELL_EVENT=argument"
            ),
            _ => format!("{program} ... </dev/null; or COSHELL_EVENT=argument"),
        };
        let finding = finding_at(node, self.source, Severity::Warning, "input", message);
        Some(finding.suggest(suggestion))
    }

    fn check_expansion(&mut self, node: Node) -> Option<Finding> {
        let text = self.source.text_of(node);
        let braced = text
            .strip_prefix("${")
            .and_then(|text| text.strip_suffix('}'));
        let name = braced.or(text.strip_prefix('$')).unwrap_or_default();
        let is_argument = matches!(name.as_bytes(), [b'1'..=b'9']);
        if !is_argument || self.may_use_arguments || is_in_function(node) {
            return None;
        }
        self.may_use_arguments = true;
        let message = format!(
            "uses ${name}, but a whole script only gets the arguments in the handler's name"
        );
        let finding = finding_at(node, self.source, Severity::Warning, "input", message);
        Some(finding.suggest("read the event from standard input; or COSHELL_EVENT=argument"))
    }
}

/// Whether `word` is one of `options`: `-e` also stands for `-ecommand`, and `--execute` for `--execute=command`.
fn is_one_of(word: &str, options: &[&str]) -> bool {
    options
        .iter()
        .any(|option| match word.strip_prefix(option) {
            Some(rest) => rest.is_empty() || rest.starts_with('=') || option.len() == 2,
            None => false,
        })
}

/// Whether the command has another standard input than the handler.
fn has_own_input(command: Node) -> bool {
    let is_input = |node: &Node| match node.kind() {
        "heredoc_redirect" | "herestring_redirect" => true,
        "file_redirect" => tree::children(*node)
            .iter()
            .any(|child| child.kind().starts_with('<')),
        _ => false,
    };
    let mut node = command;
    loop {
        if tree::children(node).iter().any(is_input) {
            return true;
        }
        // bash gives /dev/null to a background job.
        if node.next_sibling().is_some_and(|next| next.kind() == "&") {
            return true;
        }
        let Some(parent) = node.parent() else {
            return false;
        };
        match parent.kind() {
            "pipeline" if parent.named_child(0) != Some(node) => return true,
            "function_definition" => return false,
            _ => node = parent,
        }
    }
}

fn is_in_function(node: Node) -> bool {
    tree::ancestors(node).any(|parent| parent.kind() == "function_definition")
}
