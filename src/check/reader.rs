//! What a script says, read without running it: commands, functions, assignments.
//!
//! tree-sitter's grammar of bash reads it, so that each thing has its line, and a part that the
//! grammar does not understand costs no more than itself. bash itself would have to run the top
//! level to tell what it defines. The grammar does not see backquotes in a here-document. What bash thinks of the syntax is asked elsewhere.

use tree_sitter::{Node, Parser, TreeCursor};

/// Larger ones are not looked into.
const MAX_BYTES: usize = 4 << 20;
/// Code in strings (`trap`, `eval`, `bash -c`) may hold strings with code.
const MAX_NESTING: usize = 4;

/// What a script says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Functions, with the lines where they are defined.
    pub functions: Vec<(String, u32)>,
    /// Simple commands.
    pub commands: Vec<Command>,
    /// Assignments, also those in front of a command.
    pub assignments: Vec<Assignment>,
    /// It may define what is not seen: by `eval`.
    pub is_dynamic: bool,
    /// The grammar is lost in a part of it.
    pub has_gaps: bool,
}

/// A simple command: its words, the first of which is its name.
#[derive(Debug)]
pub(crate) struct Command {
    /// The words; a test (`[ ... ]`) is one word.
    pub words: Vec<Word>,
    /// Where it starts.
    pub line: u32,
}

/// An assignment.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// The variable.
    pub name: String,
    /// What it is set to.
    pub value: Word,
    /// Where.
    pub line: u32,
    /// The innermost function around it.
    pub function: Option<String>,
    /// By `export` or `declare -x`.
    pub is_exported: bool,
    /// In front of this command, and for it alone.
    pub command: Option<String>,
}

/// A word of a script.
#[derive(Debug, Default, Clone)]
pub(crate) struct Word {
    /// Without its quotes; what is expanded stands as it is written.
    pub text: String,
    /// Nothing in it is expanded.
    pub is_literal: bool,
}

impl Command {
    /// Its name, if the script spells it out.
    pub(crate) fn name(&self) -> Option<&str> {
        let name = self.words.first()?;
        name.is_literal.then_some(name.text.as_str())
    }

    /// Its arguments.
    pub(crate) fn arguments(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }
}

impl Word {
    fn append(&mut self, other: &Self) {
        self.text.push_str(&other.text);
        self.is_literal &= other.is_literal;
    }
}

/// Reads a script.
pub(crate) fn read(text: &str) -> Reading {
    let mut reading = Reading::default();
    read_into(&mut reading, text, 0, None, 0);
    reading
}

fn read_into(reading: &mut Reading, text: &str, line: u32, function: Option<&str>, nesting: usize) {
    let mut parser = Parser::new();
    let is_ready = parser
        .set_language(&tree_sitter_bash::LANGUAGE.into())
        .is_ok();
    let tree = parser
        .parse(text, None)
        .filter(|_| is_ready && text.len() <= MAX_BYTES);
    let Some(tree) = tree else {
        reading.has_gaps = true;
        return;
    };
    reading.has_gaps |= tree.root_node().has_error();
    let mut walk = Walk {
        reading,
        text,
        line,
        functions: function
            .map(|name| (usize::MAX, name.to_owned()))
            .into_iter()
            .collect(),
        nesting,
    };
    // Not by recursion: a script may be nested as deeply as it likes.
    let mut cursor = tree.walk();
    loop {
        walk.enter(cursor.node());
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

struct Walk<'a> {
    reading: &'a mut Reading,
    text: &'a str,
    /// How many lines are above the text.
    line: u32,
    /// The functions around, each with its end.
    functions: Vec<(usize, String)>,
    nesting: usize,
}

impl Walk<'_> {
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
            "command" => self.command(node),
            "declaration_command" | "unset_command" => {
                let words = children(node)
                    .into_iter()
                    .filter(|child| !matches!(child.kind(), "variable_assignment" | "comment"));
                let words = words.map(|child| self.word(child)).collect();
                self.add(node, words);
            }
            "test_command" => {
                let text = self.source(node).to_owned();
                let word = Word {
                    text,
                    is_literal: true,
                };
                self.add(node, vec![word]);
            }
            "variable_assignment" => self.assignment(node),
            _ => {}
        }
    }

    fn command(&mut self, node: Node) {
        let Some(name) = node.child_by_field_name("name") else {
            return;
        };
        let mut words = vec![self.word(name)];
        let mut end = name.end_byte();
        let mut cursor = node.walk();
        for argument in node.children_by_field_name("argument", &mut cursor) {
            let word = self.word(argument);
            // The grammar takes some words apart: `"a"\b`.
            match words.last_mut().filter(|_| argument.start_byte() == end) {
                Some(last) => last.append(&word),
                None => words.push(word),
            }
            end = argument.end_byte();
        }
        let code = code_in(&words).map(ToOwned::to_owned);
        let is_eval = words[0].is_literal && words[0].text == "eval";
        self.reading.is_dynamic |= is_eval && code.is_none();
        let line = self.line_of(node);
        self.add(node, words);
        if let Some(code) = code
            && self.nesting < MAX_NESTING
        {
            let function = self.function();
            let above = line.saturating_sub(1);
            read_into(
                self.reading,
                &code,
                above,
                function.as_deref(),
                self.nesting + 1,
            );
        }
    }

    fn add(&mut self, node: Node, words: Vec<Word>) {
        let command = Command {
            words,
            line: self.line_of(node),
        };
        self.reading.commands.push(command);
    }

    fn assignment(&mut self, node: Node) {
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
        let words = children(declaration);
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
        let source = self.source(node);
        let literal = |text: String| Word {
            text,
            is_literal: true,
        };
        match node.kind() {
            "command_name" => match node.child(0) {
                Some(inner) => self.word(inner),
                None => literal(source.to_owned()),
            },
            "word" => literal(unescaped(source, |_| true)),
            "raw_string" => literal(inside(source, '\'').to_owned()),
            "ansi_c_string" => literal(inside(source.trim_start_matches('$'), '\'').to_owned()),
            "string" => {
                let is_literal = children(node)
                    .iter()
                    .all(|child| !child.is_named() || child.kind() == "string_content");
                let inner = inside(source, '"');
                Word {
                    text: if is_literal {
                        unescaped(inner, |letter| "\"\\$`".contains(letter))
                    } else {
                        inner.to_owned()
                    },
                    is_literal,
                }
            }
            "concatenation" => {
                let parts: Vec<_> = children(node)
                    .into_iter()
                    .map(|part| self.word(part))
                    .collect();
                Word {
                    text: parts.iter().map(|part| part.text.as_str()).collect(),
                    is_literal: parts.iter().all(|part| part.is_literal),
                }
            }
            "simple_expansion"
            | "expansion"
            | "command_substitution"
            | "process_substitution"
            | "arithmetic_expansion"
            | "brace_expression"
            | "translated_string"
            | "array"
            | "subscript" => Word {
                text: source.to_owned(),
                is_literal: false,
            },
            _ => literal(source.to_owned()),
        }
    }

    fn source(&self, node: Node) -> &str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    fn line_of(&self, node: Node) -> u32 {
        let row = u32::try_from(node.start_position().row).unwrap_or(u32::MAX);
        row.saturating_add(1).saturating_add(self.line)
    }

    fn function(&self) -> Option<String> {
        self.functions.last().map(|(_, name)| name.clone())
    }
}

/// What a command runs as code that is spelled out in its arguments.
fn code_in(words: &[Word]) -> Option<&str> {
    let name = words.first().filter(|name| name.is_literal)?;
    let at = match name.text.rsplit('/').next()? {
        "eval" if words.len() == 2 => 1,
        "trap" if words.len() > 2 => 1,
        "bash" | "sh" => {
            let option = words.iter().position(|word| word.text == "-c")?;
            option + 1
        }
        _ => return None,
    };
    let code = words.get(at).filter(|code| code.is_literal)?;
    (!code.text.starts_with('-')).then_some(code.text.as_str())
}

fn children(node: Node) -> Vec<Node> {
    let mut cursor: TreeCursor = node.walk();
    node.children(&mut cursor).collect()
}

fn inside(text: &str, quote: char) -> &str {
    let text = text.strip_prefix(quote).unwrap_or(text);
    text.strip_suffix(quote).unwrap_or(text)
}

/// Without the backslashes in front of what they can quote.
fn unescaped(text: &str, is_quoted: impl Fn(char) -> bool) -> String {
    let mut letters = text.chars().peekable();
    let mut plain = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        match letters.peek() {
            Some('\n') if letter == '\\' => {
                letters.next();
            }
            Some(next) if letter == '\\' && is_quoted(*next) => {
                plain.extend(letters.next());
            }
            _ => plain.push(letter),
        }
    }
    plain
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
    fn exports_are_told_from_other_assignments() {
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
