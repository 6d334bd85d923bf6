//! Finds commands that a search for words does not see: those whose names are quoted, come from a variable, or are read
//! from elsewhere.
//!
//! It reads code as `declare -f` shows it, and knows of bash's grammar what it needs to know where a command begins. Where
//! it is not sure, it finds one.

mod words;

use super::code_text::unquoted;

/// Whether the code may run a command that its text does not name.
pub(super) fn has_hidden_command(code: &[u8]) -> bool {
    let mut lexer = Lexer::of(code);
    lexer.list(false);
    lexer.is_hidden || lexer.at < code.len()
}

struct Lexer<'a> {
    code: &'a [u8],
    at: usize,
    is_hidden: bool,
    /// Those that begin behind the next newline.
    here_documents: Vec<HereDocument>,
}

struct HereDocument {
    delimiter: Vec<u8>,
    strips_tabs: bool,
    expands: bool,
}

/// What a word is made of, besides ordinary characters.
#[derive(Default, Clone, Copy)]
struct Parts {
    has_quotes: bool,
    has_expansions: bool,
}

/// What the next words are.
#[derive(PartialEq, Clone, Copy)]
enum Role {
    /// A command may begin.
    Command,
    /// The command that `builtin` or `command` runs may follow, or options.
    Prefixed,
    Argument,
    /// Arguments of a command that can be given code to call.
    Callback,
    /// Arguments of a command that changes functions with some options.
    Declaration,
    /// The arguments of `trap`.
    Trap,
}

impl<'a> Lexer<'a> {
    fn of(code: &'a [u8]) -> Self {
        Self {
            code,
            at: 0,
            is_hidden: false,
            here_documents: Vec::new(),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.code.get(self.at).copied()
    }

    fn starts(&self, text: &[u8]) -> bool {
        self.code[self.at..].starts_with(text)
    }

    /// Steps behind `text`, if it is next.
    fn take(&mut self, text: &[u8]) -> bool {
        let is_next = self.starts(text);
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    fn skip(&mut self, bytes: &[u8]) {
        while self.peek().is_some_and(|byte| bytes.contains(&byte)) {
            self.at += 1;
        }
    }

    /// Reads commands: up to the end of the code, or up to behind the parenthesis that closes them.
    fn list(&mut self, is_in_parentheses: bool) {
        let mut role = Role::Command;
        let mut open_cases = 0;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' => self.at += 1,
                b'\n' => {
                    self.at += 1;
                    self.read_here_documents();
                    role = Role::Command;
                }
                b'#' => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                b';' => {
                    let is_end_of_branch = self.starts(b";;") || self.starts(b";&");
                    self.skip(b";&");
                    if is_end_of_branch && open_cases > 0 {
                        open_cases -= usize::from(self.is_end_of_case());
                    }
                    role = Role::Command;
                }
                b'&' if self.starts(b"&>") => self.redirection(),
                b'&' | b'|' => {
                    self.at += 1;
                    role = Role::Command;
                }
                b'(' if role == Role::Command => {
                    if self.take(b"((") {
                        self.arithmetic();
                    } else {
                        self.at += 1;
                        self.list(true);
                    }
                    role = Role::Argument;
                }
                b')' if is_in_parentheses => {
                    self.at += 1;
                    return;
                }
                b'(' | b')' => {
                    // The head of a function, or nothing that we know.
                    self.is_hidden = true;
                    self.at += 1;
                }
                b'<' | b'>' if !self.starts(b"<(") && !self.starts(b">(") => self.redirection(),
                _ => role = self.word_in_list(role, &mut open_cases),
            }
        }
        self.is_hidden |= is_in_parentheses;
    }

    /// Reads a word, and says what follows it.
    fn word_in_list(&mut self, role: Role, open_cases: &mut usize) -> Role {
        let start = self.at;
        let parts = self.word();
        let word = &self.code[start..self.at];
        if word.is_empty() {
            // A byte that begins no word.
            self.is_hidden = true;
            self.at += 1;
            return role;
        }
        let is_plain = !parts.has_quotes && !parts.has_expansions;
        let is_descriptor = word.iter().all(u8::is_ascii_digit) || word.starts_with(b"{");
        if is_plain && word != b"{" && is_descriptor && matches!(self.peek(), Some(b'<' | b'>')) {
            return role;
        }
        match role {
            Role::Argument => Role::Argument,
            Role::Callback => {
                let option = unquoted(word);
                let calls =
                    option.starts_with(b"-") && option.iter().any(|byte| b"CFx".contains(byte));
                self.is_hidden |= parts.has_expansions || calls;
                Role::Callback
            }
            Role::Declaration => {
                self.is_hidden |= match unquoted(word).first() {
                    Some(b'-' | b'+') => parts.has_quotes || parts.has_expansions,
                    Some(byte) => b"$`{*?[~@!".contains(byte),
                    None => false,
                };
                Role::Declaration
            }
            Role::Trap if word.starts_with(b"-") => Role::Trap,
            Role::Trap => {
                let command = unquoted(word);
                self.is_hidden |=
                    parts.has_expansions || !is_quoted_once(word) || has_hidden_command(&command);
                Role::Argument
            }
            Role::Prefixed if word.starts_with(b"-") => Role::Prefixed,
            Role::Command if is_assignment(word) => Role::Command,
            // Braces and patterns are expanded, too.
            _ if !is_plain || word.len() > 2 && word.iter().any(|byte| b"{*?[".contains(byte)) => {
                self.is_hidden = true;
                Role::Argument
            }
            _ => self.after_command_word(word, open_cases),
        }
    }

    /// What follows a plain word at the place of a command.
    fn after_command_word(&mut self, word: &[u8], open_cases: &mut usize) -> Role {
        match word {
            b"if" | b"then" | b"elif" | b"else" | b"while" | b"until" | b"do" | b"!" | b"{" => {
                Role::Command
            }
            b"time" => {
                self.skip(b" \t");
                self.take(b"-p");
                Role::Command
            }
            // `jobs -x` runs a command, too.
            b"builtin" | b"command" | b"jobs" => Role::Prefixed,
            b"for" | b"select" => {
                self.skip(b" \t");
                if self.take(b"((") {
                    self.arithmetic();
                }
                Role::Argument
            }
            b"case" => {
                self.skip(b" \t");
                self.word();
                self.skip(b" \t\n");
                self.is_hidden |= !self.take(b"in");
                *open_cases += usize::from(!self.is_end_of_case());
                Role::Command
            }
            b"esac" => {
                *open_cases = open_cases.saturating_sub(1);
                Role::Argument
            }
            b"[[" => {
                self.conditional();
                Role::Argument
            }
            b"eval" | b"source" | b"." | b"coproc" | b"function" | b"enable" | b"fc" => {
                self.is_hidden = true;
                Role::Argument
            }
            b"trap" => Role::Trap,
            b"export" | b"declare" | b"typeset" | b"local" | b"readonly" | b"unset" => {
                Role::Declaration
            }
            b"mapfile" | b"readarray" | b"compgen" | b"complete" | b"bind" | b"history" => {
                Role::Callback
            }
            _ => Role::Argument,
        }
    }

    /// Reads the patterns of the next branch of a `case`, or its end. True if it ends.
    fn is_end_of_case(&mut self) -> bool {
        self.skip(b" \t\n");
        let is_end = |byte: &u8| b" \t\n;)&|".contains(byte);
        if self.starts(b"esac") && self.code.get(self.at + 4).is_none_or(is_end) {
            self.at += 4;
            return true;
        }
        self.take(b"(");
        let mut depth = 0;
        while let Some(byte) = self.peek() {
            match byte {
                b'(' => depth += 1,
                b')' if depth == 0 => {
                    self.at += 1;
                    return false;
                }
                b')' => depth -= 1,
                _ if self.quote_or_expansion(&mut Parts::default()) => continue,
                _ => {}
            }
            self.at += 1;
        }
        self.is_hidden = true;
        true
    }
}

/// Whether the text between the quotes is the text of the word, so that a search for words sees it.
fn is_quoted_once(word: &[u8]) -> bool {
    let inner = match word {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        word => word,
    };
    unquoted(word) == inner
}

/// Whether a word is `NAME=VALUE`, also of an element, or with `+=`.
fn is_assignment(word: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = word.iter().take_while(|byte| is_part(byte)).count();
    let (name, mut rest) = word.split_at(length);
    if name.first().is_none_or(u8::is_ascii_digit) {
        return false;
    }
    if rest.starts_with(b"[") {
        let Some(end) =
            memchr::memmem::find(rest, b"]=").or_else(|| memchr::memmem::find(rest, b"]+="))
        else {
            return false;
        };
        rest = &rest[end + 1..];
    }
    rest.starts_with(b"=") || rest.starts_with(b"+=")
}

#[cfg(test)]
mod tests;
