//! What works in a terminal and not on Lambda: programs that read the event unasked, writes outside of /tmp,
//! and commands that end a handler under `set -e` without having failed.

use tree_sitter::{Node, Parser};

use crate::finding::{Finding, Severity, Source, Subject};
use coshell_handler::Delivery;
use coshell_handler::{Handler, Kind};

/// Programs that read standard input unasked, and the options with which they do not.
const READERS: [(&str, &[&str]); 6] = [
    ("ffmpeg", &["-nostdin"]),
    ("ssh", &["-n", "-f"]),
    ("mysql", &["-e", "--execute"]),
    ("mariadb", &["-e", "--execute"]),
    ("psql", &["-c", "-f", "--command", "--file"]),
    ("sqlplus", &[]),
];
/// Folders that can be written to on Lambda: /mnt is where file systems are mounted.
const WRITABLE: [&str; 4] = ["/tmp", "/dev", "/mnt", "/proc"];
/// Commands whose arguments are all written to.
const WRITE_ALL: [&str; 4] = ["mkdir", "mkfifo", "tee", "touch"];
/// Commands that write to their last argument.
const WRITE_LAST: [&str; 4] = ["cp", "install", "ln", "mv"];

/// Looks at one script of a handler.
pub(crate) fn check(subject: &Subject, handler: &Handler, source: &Source) -> Vec<Finding> {
    let mut parser = Parser::new();
    let is_ready = parser
        .set_language(&tree_sitter_bash::LANGUAGE.into())
        .is_ok();
    let Some(tree) = parser.parse(&source.text, None).filter(|_| is_ready) else {
        return Vec::new();
    };
    let calls = |name: &str| {
        source
            .reading
            .commands
            .iter()
            .any(|one| one.name() == Some(name))
    };
    let assigns_home = source
        .reading
        .assignments
        .iter()
        .any(|one| one.name == "HOME");
    let usual = match handler.kind {
        Kind::Function(_) => Delivery::Both,
        Kind::Script(_) | Kind::Program => Delivery::Stdin,
    };
    let has_arguments = !handler.arguments.is_empty()
        || subject.delivery.unwrap_or(usual).is_argument()
        || source.path != handler.file
        || calls("set");
    let mut look = Look {
        has_arguments,
        source,
        found: Vec::new(),
        has_event: subject.delivery.unwrap_or(usual).is_on_stdin(),
        has_errexit: has_errexit(handler, source),
        goes_elsewhere: calls("cd") || calls("pushd"),
        has_home: assigns_home,
    };
    // Not by recursion: a script may be nested as deeply as it likes.
    let mut cursor = tree.walk();
    loop {
        look.at(cursor.node());
        if cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return look.found;
            }
        }
    }
}

/// Whether a command that fails ends the handler. A function has that by the options it starts with.
fn has_errexit(handler: &Handler, source: &Source) -> bool {
    let sets = |sign: char| {
        let named = |word: &str| match word.strip_prefix(sign) {
            Some("o") | None => false,
            Some(letters) => letters.contains('e') && !letters.starts_with('-'),
        };
        source.reading.commands.iter().any(|command| {
            let words: Vec<_> = command
                .words
                .iter()
                .map(|word| word.text.as_str())
                .collect();
            let by_name = words.windows(2).any(|pair| {
                pair[0].starts_with(sign) && pair[0].ends_with('o') && pair[1] == "errexit"
            });
            command.name() == Some("set") && (by_name || words.iter().any(|word| named(word)))
        })
    };
    match &handler.kind {
        Kind::Function(_) => !sets('+'),
        Kind::Script(interpreter) => {
            let first = interpreter.options.iter();
            let mut first = first.filter(|word| word.starts_with('-'));
            sets('-') || first.any(|word| word.contains('e'))
        }
        Kind::Program => false,
    }
}

#[allow(
    clippy::struct_excessive_bools,
    reason = "each is known of the script, or not"
)]
struct Look<'a> {
    source: &'a Source,
    found: Vec<Finding>,
    /// There are arguments, or it has been reported that there are none.
    has_arguments: bool,
    /// Standard input is the event.
    has_event: bool,
    /// `set -e` holds.
    has_errexit: bool,
    /// It changes its folder, so that nobody knows what a relative path is.
    goes_elsewhere: bool,
    /// It sets HOME, or has been reported to use it.
    has_home: bool,
}

impl Look<'_> {
    fn at(&mut self, node: Node) {
        match node.kind() {
            "command" => self.command(node),
            "compound_statement" if self.text(node).starts_with("((") => self.arithmetic(node),
            "declaration_command" => self.declaration(node),
            "file_redirect" => self.redirect(node),
            "simple_expansion" | "expansion" => self.expansion(node),
            _ => {}
        }
    }

    fn command(&mut self, node: Node) {
        let mut cursor = node.walk();
        let words: Vec<_> = node
            .named_children(&mut cursor)
            .filter(|child| !child.kind().ends_with("redirect"))
            .map(|child| self.text(child).trim_matches(['"', '\'']).to_owned())
            .collect();
        let Some((name, arguments)) = words.split_first() else {
            return;
        };
        let program = name.rsplit('/').next().unwrap_or_default();
        let reader = READERS.iter().find(|(reader, _)| *reader == program);
        if let Some((_, quiet)) = reader
            && self.has_event
            && !arguments.iter().any(|one| is_option_of(one, quiet))
            && !has_own_input(node)
        {
            let message = format!("{program} reads standard input, which is the event");
            self.add(
                Severity::Warning,
                "input",
                node,
                message,
                match quiet.first() {
                    Some(option) if option.len() > 2 || program == "ssh" => format!(
                        "{program} {option}, or {program} ... </dev/null; or COSHELL_EVENT=argument"
                    ),
                    _ => format!("{program} ... </dev/null; or COSHELL_EVENT=argument"),
                },
            );
        }
        if program == "let"
            && self.has_errexit
            && arguments
                .iter()
                .any(|one| one.ends_with("++") || one.ends_with("--"))
        {
            self.counting(node, arguments[0].trim_end_matches(['+', '-']));
        }
        if matches!(program, "grep" | "egrep" | "fgrep") && self.has_errexit && !is_tested(node) {
            let message = format!(
                "{program} without a match ends with status 1, and set -e ends the handler with it"
            );
            self.add(
                Severity::Note,
                "errexit",
                node,
                message,
                format!("{program} ... || true, if there may be none"),
            );
        }
        let plain = || arguments.iter().filter(|one| !one.starts_with('-'));
        let after = |options: &[&str]| {
            let at = arguments
                .iter()
                .position(|one| options.contains(&one.as_str()));
            at.and_then(|at| arguments.get(at + 1))
        };
        let written: Vec<&String> = match program {
            _ if WRITE_ALL.contains(&program) => plain().collect(),
            _ if WRITE_LAST.contains(&program) => plain().next_back().into_iter().collect(),
            "curl" => after(&["-o", "--output"]).into_iter().collect(),
            "wget" => after(&["-O", "--output-document"]).into_iter().collect(),
            "sed" if arguments.iter().any(|one| one.starts_with("-i")) => {
                plain().next_back().into_iter().collect()
            }
            _ => Vec::new(),
        };
        let written: Vec<_> = written.into_iter().cloned().collect();
        for path in written {
            self.write(node, &path);
        }
    }

    fn arithmetic(&mut self, node: Node) {
        let inner = self
            .text(node)
            .trim_start_matches('(')
            .trim_end_matches(')')
            .trim();
        let name = inner.strip_suffix("++").or(inner.strip_suffix("--"));
        if self.has_errexit
            && let Some(name) = name.map(ToOwned::to_owned)
            && !is_tested(node)
        {
            self.counting(node, name.trim());
        }
    }

    fn counting(&mut self, node: Node, name: &str) {
        if is_tested(node) {
            return;
        }
        let text = self.text(node).trim().to_owned();
        let message = format!("{text} fails when {name} is 0, and set -e ends the handler with it");
        let sign = if text.contains("--") { '-' } else { '+' };
        self.add(
            Severity::Warning,
            "errexit",
            node,
            message,
            format!("{name}=$(({name} {sign} 1))"),
        );
    }

    fn declaration(&mut self, node: Node) {
        let text = self.text(node);
        let word = text
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned();
        let mut cursor = node.walk();
        let substituted = node
            .named_children(&mut cursor)
            .filter(|child| child.kind() == "variable_assignment")
            .find(|child| {
                let value = child.child_by_field_name("value");
                value
                    .is_some_and(|value| self.text(value).trim_start_matches('"').starts_with("$("))
            });
        let Some(assignment) = substituted.filter(|_| self.has_errexit) else {
            return;
        };
        let name = assignment
            .child_by_field_name("name")
            .map_or("", |name| self.text(name))
            .to_owned();
        let message = format!(
            "{word} {name}=$(...) hides the status of the command, so that set -e does not see it fail"
        );
        let suggestion = format!("{word} {name}; {name}=$(...)");
        self.add(Severity::Note, "errexit", node, message, suggestion);
    }

    fn redirect(&mut self, node: Node) {
        let mut cursor = node.walk();
        let operator = node
            .children(&mut cursor)
            .find(|child| child.kind().contains('>'));
        let mut cursor = node.walk();
        let target = node
            .named_children(&mut cursor)
            .filter(|child| child.kind() != "file_descriptor")
            .last();
        let (Some(operator), Some(target)) = (operator, target) else {
            return;
        };
        let text = self.text(target);
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) || text == "-";
        if operator.kind() == ">&" && is_number || target.kind() == "process_substitution" {
            return;
        }
        let path = text.trim_matches(['"', '\'']).to_owned();
        self.write(node, &path);
    }

    /// What is written to, as the script has it.
    fn write(&mut self, node: Node, path: &str) {
        let is_in = |folder: &&str| {
            path.strip_prefix(*folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let home = ["$HOME", "${HOME}", "~"];
        let is_home = home.iter().any(is_in);
        if is_home && self.has_home {
            return;
        }
        let message = if is_home {
            self.has_home |= !path.starts_with('~');
            format!("writes to {path}: there is no home folder on Lambda")
        } else if ["$LAMBDA_TASK_ROOT", "${LAMBDA_TASK_ROOT}"]
            .iter()
            .any(is_in)
        {
            format!("writes to {path}, and the task root is read-only on Lambda")
        } else if path.starts_with('/') && !WRITABLE.iter().any(is_in) {
            format!("writes to {path}, which is read-only on Lambda")
        } else if path.starts_with(['/', '$', '`', '<', '>', '&'])
            || path.is_empty()
            || path == "-"
            || self.goes_elsewhere
        {
            return;
        } else {
            format!(
                "writes to {path} in the current folder, which is the task root, and read-only on Lambda"
            )
        };
        self.add(
            Severity::Warning,
            "write",
            node,
            message,
            "write below /tmp".to_owned(),
        );
    }

    fn expansion(&mut self, node: Node) {
        let text = self.text(node);
        let number = text
            .strip_prefix("${")
            .and_then(|text| text.strip_suffix('}'));
        let number = number.or(text.strip_prefix('$')).unwrap_or_default();
        if matches!(number.as_bytes(), [b'1'..=b'9'])
            && !self.has_arguments
            && !is_in_function(node)
        {
            let message = format!(
                "uses ${number}, and a whole script gets no arguments but those of the handler's name"
            );
            self.add(
                Severity::Warning,
                "input",
                node,
                message,
                "read the event from standard input; or COSHELL_EVENT=argument".to_owned(),
            );
            self.has_arguments = true;
            return;
        }
        let is_plain = text == "$HOME"
            || text.starts_with("${HOME") && !text.contains([':', '-', '=', '+', '?']);
        let is_home = is_plain
            && !text.strip_prefix("${HOME").is_some_and(|rest| {
                rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
            });
        if is_home && !self.has_home {
            self.has_home = true;
            let message = "uses HOME, which is not set on Lambda";
            self.add(
                Severity::Warning,
                "write",
                node,
                message.to_owned(),
                "export HOME=/tmp at the top of the file".to_owned(),
            );
        }
    }

    fn add(
        &mut self,
        severity: Severity,
        check: &str,
        node: Node,
        message: String,
        suggestion: String,
    ) {
        let line = u32::try_from(node.start_position().row + 1).unwrap_or(0);
        let finding = Finding::new(severity, check, message);
        self.found
            .push(finding.at(&self.source.path, line).suggest(suggestion));
    }

    fn text(&self, node: Node) -> &str {
        self.source.text.get(node.byte_range()).unwrap_or_default()
    }
}

/// `-e` stands for `-e`, `-ecommand` and, of a long option, `--execute=command`.
fn is_option_of(word: &str, options: &[&str]) -> bool {
    options
        .iter()
        .any(|option| match word.strip_prefix(option) {
            Some(rest) => rest.is_empty() || rest.starts_with('=') || option.len() == 2,
            None => false,
        })
}

/// Whether the command has another standard input than the handler.
fn has_own_input(command: Node) -> bool {
    let is_input = |node: Node| match node.kind() {
        "heredoc_redirect" | "herestring_redirect" => true,
        "file_redirect" => {
            let mut cursor = node.walk();
            node.children(&mut cursor)
                .any(|child| child.kind().starts_with('<'))
        }
        _ => false,
    };
    let mut node = command;
    loop {
        let mut cursor = node.walk();
        if node.children(&mut cursor).any(is_input) {
            return true;
        }
        // bash gives a job /dev/null.
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

fn is_body(node: Node) -> bool {
    let above = node.parent();
    above.is_some_and(|above| above.kind() == "function_definition")
}

fn is_in_function(node: Node) -> bool {
    let mut above = node.parent();
    while let Some(parent) = above {
        if parent.kind() == "function_definition" {
            return true;
        }
        above = parent.parent();
    }
    false
}

/// Whether a status other than 0 is expected there: it is asked for, or it is what a function returns.
fn is_tested(command: Node) -> bool {
    let mut node = command;
    while let Some(parent) = node.parent() {
        let last = u32::try_from(parent.named_child_count().saturating_sub(1))
            .ok()
            .and_then(|last| parent.named_child(last));
        let is_last = last == Some(node);
        let mut cursor = parent.walk();
        let word = parent
            .children(&mut cursor)
            .find(|child| matches!(child.kind(), "then" | "do_group"));
        match parent.kind() {
            "negated_command" => return true,
            "list" if !is_last => return true,
            "if_statement" | "elif_clause" | "while_statement"
                if word.is_some_and(|word| node.start_byte() < word.start_byte()) =>
            {
                return true;
            }
            "compound_statement" if is_last && is_body(parent) => return true,
            "function_definition" => return false,
            _ => {}
        }
        node = parent;
    }
    false
}
