//! Files that are written outside of /tmp: on Lambda almost everything else is read-only.

use tree_sitter::Node;

use crate::finding::{Finding, Severity, Source};
use crate::habits::{finding_at, program_of, words_of};
use crate::tree;

/// Folders that can be written to on Lambda; file systems are mounted below /mnt.
const WRITABLE: [&str; 4] = ["/tmp", "/dev", "/mnt", "/proc"];
/// Commands that write to all their arguments.
const WRITE_ALL: [&str; 4] = ["mkdir", "mkfifo", "tee", "touch"];
/// Commands that write to their last argument.
const WRITE_LAST: [&str; 4] = ["cp", "install", "ln", "mv"];

pub(super) struct Writes<'a> {
    source: &'a Source,
    /// Whether the script changes its directory: then a relative path may be anywhere.
    changes_directory: bool,
    /// Whether the script may use `HOME`: it sets it, or the finding is made already.
    may_use_home: bool,
}

impl<'a> Writes<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        let mut assignments = source.reading.assignments.iter();
        Self {
            source,
            changes_directory: source.calls("cd") || source.calls("pushd"),
            may_use_home: assignments.any(|assignment| assignment.name == "HOME"),
        }
    }

    pub(super) fn check(&mut self, node: Node) -> Vec<Finding> {
        let paths = match node.kind() {
            "command" => written_by(&words_of(node, self.source)),
            "file_redirect" => self.redirected_to(node).into_iter().collect(),
            "simple_expansion" | "expansion" => {
                return self.check_expansion(node).into_iter().collect();
            }
            _ => return Vec::new(),
        };
        let found = paths.iter().filter_map(|path| self.check_path(node, path));
        found.collect()
    }

    /// The file that a redirection writes to; `None` if it writes to a descriptor or a process.
    fn redirected_to(&self, node: Node) -> Option<String> {
        let children = tree::children(node);
        let operator = children.iter().find(|child| child.kind().contains('>'))?;
        let target = tree::named_children(node)
            .into_iter()
            .rfind(|child| child.kind() != "file_descriptor")?;
        let text = self.source.text_of(target);
        let is_descriptor = text.bytes().all(|byte| byte.is_ascii_digit()) || text == "-";
        if operator.kind() == ">&" && is_descriptor || target.kind() == "process_substitution" {
            return None;
        }
        Some(text.trim_matches(['"', '\'']).to_owned())
    }

    /// Whether Lambda lets the script write to `path`, which is as the script has it.
    fn check_path(&mut self, node: Node, path: &str) -> Option<Finding> {
        let is_in = |folder: &&str| {
            path.strip_prefix(*folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_home = ["$HOME", "${HOME}", "~"].iter().any(is_in);
        if is_home && self.may_use_home {
            return None;
        }
        let task_root = ["$LAMBDA_TASK_ROOT", "${LAMBDA_TASK_ROOT}"];
        let message = if is_home {
            self.may_use_home |= !path.starts_with('~');
            format!("writes to {path}, but there is no home folder on Lambda")
        } else if task_root.iter().any(is_in) {
            format!("writes to {path}, and the task root is read-only on Lambda")
        } else if path.starts_with('/') && !WRITABLE.iter().any(is_in) {
            format!("writes to {path}, which is read-only on Lambda")
        } else if path.starts_with(['/', '$', '`', '<', '>', '&'])
            || path.is_empty()
            || path == "-"
            || self.changes_directory
        {
            return None;
        } else {
            format!(
                "writes to {path} in the current directory, which is the task root and read-only on Lambda"
            )
        };
        let finding = finding_at(node, self.source, Severity::Warning, "write", message);
        Some(finding.suggest("write below /tmp"))
    }

    fn check_expansion(&mut self, node: Node) -> Option<Finding> {
        let text = self.source.text_of(node);
        let has_default = || text.contains([':', '-', '=', '+', '?']);
        // `$HOMES` is another variable.
        let is_longer_name = text.strip_prefix("${HOME").is_some_and(|rest| {
            rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
        });
        let is_home =
            text == "$HOME" || text.starts_with("${HOME") && !has_default() && !is_longer_name;
        if !is_home || self.may_use_home {
            return None;
        }
        self.may_use_home = true;
        let message = "uses HOME, which is not set on Lambda".to_owned();
        let finding = finding_at(node, self.source, Severity::Warning, "write", message);
        Some(finding.suggest("export HOME=/tmp at the top of the file"))
    }
}

/// The arguments of a command that are files which it writes.
fn written_by(words: &[String]) -> Vec<String> {
    let Some((_, arguments)) = words.split_first() else {
        return Vec::new();
    };
    let program = program_of(words);
    let files = || arguments.iter().filter(|word| !word.starts_with('-'));
    let value_of = |options: &[&str]| {
        let mut words = arguments
            .iter()
            .skip_while(|word| !options.contains(&word.as_str()));
        words.nth(1)
    };
    let written: Vec<&String> = match program {
        _ if WRITE_ALL.contains(&program) => files().collect(),
        _ if WRITE_LAST.contains(&program) => files().next_back().into_iter().collect(),
        "curl" => value_of(&["-o", "--output"]).into_iter().collect(),
        "wget" => value_of(&["-O", "--output-document"]).into_iter().collect(),
        "sed" if arguments.iter().any(|word| word.starts_with("-i")) => {
            files().next_back().into_iter().collect()
        }
        _ => Vec::new(),
    };
    written.into_iter().cloned().collect()
}
