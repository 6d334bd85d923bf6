//! Where a path in a script leads, as far as that can be seen without running the script.

use std::path::{Component, Path, PathBuf};

use crate::finding::{Source, Subject};
use crate::reader::Word;

/// A variable may be set from another variable, and so on, this often.
const MAX_DEPTH: usize = 3;

/// The file that a word of a script names: `file`, `$LAMBDA_TASK_ROOT/file`, or a file beside the script itself. `None`
/// if only the run time knows.
pub(crate) fn resolve(subject: &Subject, source: &Source, word: &Word) -> Option<PathBuf> {
    let text = word.text.as_str();
    if word.is_literal {
        return Some(normalize(&subject.task_root.join(text)));
    }
    let (expansion, rest) = split_expansion(text)?;
    let rest = rest.trim_start_matches('/');
    if rest.contains(['$', '`', '*', '?']) {
        return None;
    }
    let folder = expand(subject, source, expansion, 0)?;
    Some(normalize(&folder.join(rest)))
}

/// The folder that an expansion stands for.
fn expand(subject: &Subject, source: &Source, expansion: &str, depth: usize) -> Option<PathBuf> {
    let own_folder = || source.path.parent().map(Path::to_owned);
    let name = expansion
        .trim_start_matches(['$', '{'])
        .trim_end_matches('}')
        .split(":-")
        .next()?;
    match name {
        "LAMBDA_TASK_ROOT" | "PWD" => return Some(subject.task_root.clone()),
        "BASH_SOURCE%/*" | "BASH_SOURCE[0]%/*" | "0%/*" => return own_folder(),
        _ => {}
    }
    let names_script = expansion.contains("BASH_SOURCE") || expansion.contains("$0");
    if expansion.starts_with("$(") {
        let stays_in_folder = !expansion.contains("..");
        return (names_script && expansion.contains("dirname") && stays_in_folder)
            .then(own_folder)
            .flatten();
    }
    let assigned = source
        .reading
        .assignments
        .iter()
        .find(|assignment| assignment.name == name && depth < MAX_DEPTH)?;
    let value = &assigned.value;
    if value.is_literal {
        return Some(subject.task_root.join(&value.text));
    }
    let (expansion, rest) = split_expansion(&value.text)?;
    let folder = expand(subject, source, expansion, depth + 1)?;
    (!rest.contains('$')).then(|| folder.join(rest.trim_start_matches('/')))
}

/// The expansion that a word begins with, and the rest of the word.
fn split_expansion(text: &str) -> Option<(&str, &str)> {
    let end = match text.get(..2)? {
        "$(" => text.rfind(')')? + 1,
        "${" => text.find('}')? + 1,
        start if start.starts_with('$') => text[1..]
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .map_or(text.len(), |end| end + 1),
        _ => return None,
    };
    Some(text.split_at(end))
}

/// The path without `.` and `..`; links are not followed.
fn normalize(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Image;
    use crate::reader;

    fn resolved(text: &str) -> Option<String> {
        let subject = Subject {
            handler: "lib/function.handler".into(),
            task_root: "/task".into(),
            with: Vec::new(),
            image: Image::None,
            bash: "bash".into(),
            delivery: None,
        };
        let source = Source {
            path: "/task/lib/function.sh".into(),
            text: text.to_owned(),
            reading: reader::read(text),
        };
        let command = source
            .reading
            .commands
            .iter()
            .find(|one| one.name() == Some("."))?;
        let path = resolve(&subject, &source, command.arguments().first()?)?;
        Some(path.to_string_lossy().into_owned())
    }

    #[test]
    fn paths_of_sourced_files_are_resolved_where_they_can_be() {
        for (text, path) in [
            (". ./a.sh", Some("/task/a.sh")),
            (". 'lib/a b.sh'", Some("/task/lib/a b.sh")),
            (". /opt/a.sh", Some("/opt/a.sh")),
            (". \"$LAMBDA_TASK_ROOT/a.sh\"", Some("/task/a.sh")),
            (". ${LAMBDA_TASK_ROOT}/x/../a.sh", Some("/task/a.sh")),
            (". \"$(dirname \"$0\")/a.sh\"", Some("/task/lib/a.sh")),
            (". \"${BASH_SOURCE%/*}/a.sh\"", Some("/task/lib/a.sh")),
            (
                "d=\"$(cd \"$(dirname \"${BASH_SOURCE[0]}\")\" && pwd)\"\n. \"$d/a.sh\"",
                Some("/task/lib/a.sh"),
            ),
            ("d=$LAMBDA_TASK_ROOT/x\n. $d/a.sh", Some("/task/x/a.sh")),
            (". \"$where/a.sh\"", None),
            (". \"$LAMBDA_TASK_ROOT/$name\"", None),
            (". <(a)", None),
        ] {
            assert_eq!(resolved(text).as_deref(), path, "{text}");
        }
    }
}
