//! What a script contains, read without running it: commands, functions, assignments.
//!
//! The grammar does not see backquotes in a here-document. Code in strings (`trap`, `eval`, `bash -c`) is read too, if
//! nothing in the string is expanded.

mod word;

use tree_sitter::Node;

use crate::tree;

pub(crate) use word::Word;

/// Code in a string may contain strings with code, and so on, to this depth.
const MAX_NESTING: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The names of functions, with the lines where they are defined.
    pub functions: Vec<(String, u32)>,
    pub commands: Vec<Command>,
    /// Assignments, also those in front of a command.
    pub assignments: Vec<Assignment>,
    /// Whether an `eval` may define what is not seen.
    pub is_dynamic: bool,
    /// Whether the grammar does not understand a part of the script.
    pub has_gaps: bool,
}

/// A simple command.
#[derive(Debug)]
pub(crate) struct Command {
    /// The name and the arguments; a test (`[ ... ]`) is one word.
    pub words: Vec<Word>,
    pub line: u32,
    pub place: Place,
}

/// Where a command stands, and so whether it runs when the file is sourced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the list of the file itself: it runs, unless one above leaves the file.
    Top,
    /// In a compound command, a list with `&&` or `||`, a pipeline, a subshell: it may run.
    Nested,
    Function,
}

#[derive(Debug)]
pub(crate) struct Assignment {
    /// The variable.
    pub name: String,
    pub value: Word,
    pub line: u32,
    /// The innermost function around it.
    pub function: Option<String>,
    /// By `export` or `declare -x`.
    pub is_exported: bool,
    /// The command whose environment it is for: `A=1 command`.
    pub command: Option<String>,
}

impl Command {
    /// The command's name, if the script spells it out.
    pub(crate) fn name(&self) -> Option<&str> {
        let name = self.words.first()?;
        name.is_literal.then_some(name.text.as_str())
    }

    pub(crate) fn arguments(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }
}

pub(crate) fn read(text: &str) -> Reading {
    let mut reading = Reading::default();
    read_into(&mut reading, text, 0, None, 0);
    reading
}

fn read_into(
    reading: &mut Reading,
    text: &str,
    lines_above: u32,
    function: Option<String>,
    nesting: usize,
) {
    let Some(tree) = tree::parse(text) else {
        reading.has_gaps = true;
        return;
    };
    reading.has_gaps |= tree.root_node().has_error();
    let functions = function
        .map(|name| (usize::MAX, name))
        .into_iter()
        .collect();
    let mut reader = Reader {
        reading,
        text,
        lines_above,
        functions,
        nesting,
    };
    tree::for_each_node(&tree, |node| reader.enter(node));
}

struct Reader<'a> {
    reading: &'a mut Reading,
    text: &'a str,
    /// How many lines of the file come before `text`.
    lines_above: u32,
    /// The functions around the current node, each with the byte at which it ends.
    functions: Vec<(usize, String)>,
    nesting: usize,
}

impl Reader<'_> {
    fn enter(&mut self, node: Node) {
        while self
            .functions
            .last()
            .is_some_and(|(end, _)| *end <= node.start_byte())
        {
            self.functions.pop();
        }
        match node.kind() {
            "function_definition" => {
                if let Some(name) = node.child_by_field_name("name") {
                    let name = self.source(name).to_owned();
                    let line = self.line_of(node);
                    self.reading.functions.push((name.clone(), line));
                    self.functions.push((node.end_byte(), name));
                }
            }
            "command" => self.read_command(node),
            "declaration_command" | "unset_command" => {
                let words = tree::children(node)
                    .into_iter()
                    .filter(|child| !matches!(child.kind(), "variable_assignment" | "comment"));
                let words = words.map(|child| self.word(child)).collect();
                self.add_command(node, words);
            }
            "test_command" => {
                let text = self.source(node).to_owned();
                self.add_command(node, vec![Word::literal(text)]);
            }
            "variable_assignment" => self.read_assignment(node),
            _ => {}
        }
    }

    fn read_command(&mut self, node: Node) {
        let Some(name) = node.child_by_field_name("name") else {
            return;
        };
        let mut words = vec![self.word(name)];
        let mut end = name.end_byte();
        let mut cursor = node.walk();
        for argument in node.children_by_field_name("argument", &mut cursor) {
            let word = self.word(argument);
            // The grammar splits some words: `"a"\b`.
            match words.last_mut().filter(|_| argument.start_byte() == end) {
                Some(last) => last.append(&word),
                None => words.push(word),
            }
            end = argument.end_byte();
        }
        let code = word::code_in(&words).map(ToOwned::to_owned);
        let is_eval = words[0].is_literal && words[0].text == "eval";
        self.reading.is_dynamic |= is_eval && code.is_none();
        let line = self.line_of(node);
        self.add_command(node, words);
        if let Some(code) = code
            && self.nesting < MAX_NESTING
        {
            let function = self.function();
            let lines_above = line.saturating_sub(1);
            read_into(self.reading, &code, lines_above, function, self.nesting + 1);
        }
    }

    fn add_command(&mut self, node: Node, words: Vec<Word>) {
        let line = self.line_of(node);
        let is_top = node
            .parent()
            .is_some_and(|parent| parent.kind() == "program");
        let is_background = node.next_sibling().is_some_and(|next| next.kind() == "&");
        let place = if !self.functions.is_empty() {
            Place::Function
        } else if is_top && !is_background && self.nesting == 0 {
            Place::Top
        } else {
            Place::Nested
        };
        self.reading.commands.push(Command { words, line, place });
    }

    fn read_assignment(&mut self, node: Node) {
        let Some(name) = node.child_by_field_name("name") else {
            return;
        };
        let value = node.child_by_field_name("value");
        let value = value.map(|value| self.word(value)).unwrap_or_default();
        let parent = node.parent();
        let is_exported = parent
            .is_some_and(|parent| parent.kind() == "declaration_command" && self.exports(parent));
        let command = parent
            .filter(|parent| parent.kind() == "command")
            .and_then(|parent| parent.child_by_field_name("name"))
            .map(|name| self.word(name).text);
        let assignment = Assignment {
            name: self.source(name).to_owned(),
            value,
            line: self.line_of(node),
            function: self.function(),
            is_exported,
            command,
        };
        self.reading.assignments.push(assignment);
    }

    fn exports(&self, declaration: Node) -> bool {
        let words = tree::children(declaration);
        let mut words = words.into_iter().map(|word| self.source(word));
        match words.next() {
            Some("export") => !words.any(|word| word == "-n" || word == "-f"),
            Some("declare" | "typeset" | "local" | "readonly") => {
                words.any(|word| word.starts_with('-') && word.contains('x'))
            }
            _ => false,
        }
    }

    fn word(&self, node: Node) -> Word {
        Word::from_node(node, self.text)
    }

    fn source(&self, node: Node) -> &str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    fn line_of(&self, node: Node) -> u32 {
        tree::line_of(node).saturating_add(self.lines_above)
    }

    fn function(&self) -> Option<String> {
        self.functions.last().map(|(_, name)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let commands = read(text).commands;
        let named = commands
            .iter()
            .filter_map(|command| Some(format!("{}:{}", command.line, command.name()?)));
        named.collect()
    }

    #[test]
    fn commands_are_found_wherever_bash_runs_them() {
        let text = "a | b && c\nx=$(d \"$(e)\") f\ncat <<X\n$(g)\nX\n\
                    case $x in (i) j;; esac\nwhile read -r k; do l; done < <(m)\n";
        let found = names(text);
        for name in [
            "1:a", "1:b", "1:c", "2:d", "2:e", "2:f", "3:cat", "4:g", "6:j", "7:read", "7:l", "7:m",
        ] {
            assert!(found.iter().any(|one| one == name), "{name} in {found:?}");
        }
        assert!(
            !found
                .iter()
                .any(|one| one.ends_with(":i") || one.ends_with(":k"))
        );
    }

    #[test]
    fn code_in_strings_is_read_with_its_line() {
        let text = "\ntrap 'a; b' EXIT\neval 'c'\nbash -euc 'x'; bash -c \"d\n e\"\n";
        let found = names(text);
        for name in ["2:a", "2:b", "3:c", "4:d", "5:e"] {
            assert!(found.iter().any(|one| one == name), "{name} in {found:?}");
        }
        assert!(!read(text).is_dynamic && !read(text).has_gaps);
        assert!(read("eval \"$x\"").is_dynamic);
    }

    #[test]
    fn functions_have_their_lines_and_what_is_in_them() {
        let reading = read("f() { a=1; }\nfunction g {\n b=2\n}\nc=3\nh() (d=4)\n");
        let functions: Vec<_> = reading
            .functions
            .iter()
            .map(|(name, line)| (name.as_str(), *line))
            .collect();
        assert_eq!(functions, [("f", 1), ("g", 2), ("h", 6)]);
        let around: Vec<_> = reading
            .assignments
            .iter()
            .map(|one| (one.name.as_str(), one.function.as_deref()))
            .collect();
        assert_eq!(
            around,
            [
                ("a", Some("f")),
                ("b", Some("g")),
                ("c", None),
                ("d", Some("h"))
            ]
        );
    }

    #[test]
    fn quotes_are_taken_off_words_and_expansions_left_in() {
        let reading = read(r#"'a'"b"\c "$x/d" "e\"f" g"$(h)""#);
        let words = &reading.commands[0].words;
        let texts: Vec<_> = words
            .iter()
            .map(|word| (word.text.as_str(), word.is_literal))
            .collect();
        assert_eq!(
            texts,
            [
                ("abc", true),
                ("$x/d", false),
                ("e\"f", true),
                ("g$(h)", false)
            ]
        );
    }

    #[test]
    fn exports_differ_from_other_assignments() {
        let reading = read("export A=1\nB=2\nC=3 cmd\ndeclare -x D=4\nlocal E=5\nexport -n F=6");
        let exported: Vec<_> = reading
            .assignments
            .iter()
            .filter(|one| one.is_exported)
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(exported, ["A", "D"]);
        let for_command = reading.assignments.iter().find(|one| one.name == "C");
        assert_eq!(
            for_command.and_then(|one| one.command.as_deref()),
            Some("cmd")
        );
    }

    #[test]
    fn nothing_is_too_odd_to_be_read() {
        for text in [
            "",
            "}",
            "((((",
            "\"",
            "$(",
            "<<X",
            "\\",
            "é() { ü; }",
            "case",
            "\0\0",
        ] {
            let _ = read(text);
        }
        let deep = "$(".repeat(3000) + "a" + &")".repeat(3000);
        let _ = read(&deep);
    }
}
