//! The parts of bash's grammar within a command: words, quotes, expansions, redirections.

use super::{HereDocument, Lexer, Parts, has_hidden_command, is_assignment};
use crate::shell::code_text::unquoted;

impl Lexer<'_> {
    /// Reads a word. It ends at a blank, or at a character of the grammar.
    pub(super) fn word(&mut self) -> Parts {
        let start = self.at;
        let mut parts = Parts::default();
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b')' => break,
                b'<' | b'>' if !self.starts(b"<(") && !self.starts(b">(") => break,
                b'(' => {
                    let before = &self.code[start..self.at];
                    if before.ends_with(b"=") && is_assignment(before) {
                        self.at += 1;
                        self.elements();
                    } else if before.last().is_some_and(|byte| b"?*+@!".contains(byte)) {
                        self.at += 1;
                        self.parentheses();
                    } else {
                        break;
                    }
                }
                _ if self.quote_or_expansion(&mut parts) => {}
                _ => self.at += 1,
            }
        }
        parts
    }

    /// Reads the elements of an array, up to behind the parenthesis.
    fn elements(&mut self) {
        loop {
            self.skip(b" \t\n");
            let start = self.at;
            match self.peek() {
                None => {
                    self.is_hidden = true;
                    return;
                }
                Some(b')') => {
                    self.at += 1;
                    return;
                }
                _ => {
                    self.word();
                }
            }
            if self.at == start {
                self.at += 1;
            }
        }
    }

    /// Reads a pattern up to behind its parenthesis.
    fn parentheses(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            match self.peek() {
                None => {
                    self.is_hidden = true;
                    return;
                }
                Some(b'(') => depth += 1,
                Some(b')') => depth -= 1,
                _ if self.quote_or_expansion(&mut Parts::default()) => continue,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Reads an expression up to behind `))`.
    pub(super) fn arithmetic(&mut self) {
        self.parentheses();
        // Otherwise it was a subshell in a subshell.
        self.is_hidden |= !self.take(b")");
    }

    /// Reads the rest of `[[`.
    pub(super) fn conditional(&mut self) {
        while self.peek().is_some() {
            if self.code[..self.at]
                .last()
                .is_some_and(u8::is_ascii_whitespace)
                && self.take(b"]]")
            {
                return;
            }
            if !self.quote_or_expansion(&mut Parts::default()) {
                self.at += 1;
            }
        }
        self.is_hidden = true;
    }

    /// Reads what begins here, if that is a quote or an expansion.
    pub(super) fn quote_or_expansion(&mut self, parts: &mut Parts) -> bool {
        match self.peek() {
            Some(b'\\') => {
                self.at += 2;
                parts.has_quotes = true;
            }
            Some(b'\'') => {
                self.at += 1;
                self.up_to(b'\'', false);
                parts.has_quotes = true;
            }
            Some(b'"') => {
                self.at += 1;
                self.double_quotes(parts);
                parts.has_quotes = true;
            }
            Some(b'`') => {
                self.backquotes();
                parts.has_expansions = true;
            }
            Some(b'$') => self.dollar(parts, false),
            Some(b'<' | b'>') if self.starts(b"<(") || self.starts(b">(") => {
                self.at += 2;
                self.list(true);
                parts.has_expansions = true;
            }
            _ => return false,
        }
        self.at = self.at.min(self.code.len());
        true
    }

    /// Steps behind the next `end`.
    fn up_to(&mut self, end: u8, has_escapes: bool) {
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == end {
                return;
            }
            if has_escapes && byte == b'\\' {
                self.at += 1;
            }
        }
        self.is_hidden = true;
    }

    /// Reads up to behind the quotation mark.
    fn double_quotes(&mut self, parts: &mut Parts) {
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\\' => self.at += 2,
                b'`' => {
                    self.backquotes();
                    parts.has_expansions = true;
                }
                b'$' => self.dollar(parts, true),
                _ => self.at += 1,
            }
        }
        self.is_hidden = true;
    }

    /// Reads what begins with a dollar.
    fn dollar(&mut self, parts: &mut Parts, is_quoted: bool) {
        self.at += 1;
        if !is_quoted && self.take(b"'") {
            self.up_to(b'\'', true);
            parts.has_quotes = true;
            return;
        }
        if !is_quoted && self.take(b"\"") {
            self.double_quotes(parts);
            parts.has_quotes = true;
            return;
        }
        parts.has_expansions = true;
        if self.take(b"((") {
            self.arithmetic();
        } else if self.take(b"(") {
            self.list(true);
        } else if self.take(b"{") {
            self.braces(is_quoted);
        } else if self.take(b"[") {
            self.up_to(b']', false);
        }
    }

    /// Reads up to behind the brace of `${`.
    fn braces(&mut self, is_quoted: bool) {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_!#@*?$-".contains(&byte);
        let start = self.at;
        while self.peek().is_some_and(is_name) {
            self.at += 1;
        }
        // Between double quotes, an apostrophe quotes in patterns alone.
        let has_pattern = self.code[start..self.at].contains(&b'#')
            || matches!(self.peek(), Some(b'%' | b'/' | b'^' | b',' | b'@'));
        while let Some(byte) = self.peek() {
            match byte {
                b'}' => {
                    self.at += 1;
                    return;
                }
                // Which of them bash pairs depends on POSIX mode.
                b'\'' if is_quoted && !has_pattern => {
                    self.is_hidden = true;
                    self.at += 1;
                }
                b'<' | b'>' => self.at += 1,
                b'$' => self.dollar(&mut Parts::default(), is_quoted),
                _ if self.quote_or_expansion(&mut Parts::default()) => {}
                _ => self.at += 1,
            }
        }
        self.is_hidden = true;
    }

    /// Reads the commands between backquotes.
    fn backquotes(&mut self) {
        self.at += 1;
        let mut code = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match (byte, self.peek()) {
                (b'`', _) => {
                    self.is_hidden |= has_hidden_command(&code);
                    return;
                }
                (b'\\', Some(next @ (b'`' | b'\\' | b'$'))) => {
                    self.at += 1;
                    code.push(next);
                }
                (byte, _) => code.push(byte),
            }
        }
        self.is_hidden = true;
    }

    /// Reads an operator and the word behind it.
    pub(super) fn redirection(&mut self) {
        let is_here_document = self.starts(b"<<") && !self.starts(b"<<<");
        if is_here_document {
            self.at += 2;
            let strips_tabs = self.take(b"-");
            self.skip(b" \t");
            let start = self.at;
            let parts = self.word();
            let word = &self.code[start..self.at];
            self.is_hidden |= parts.has_expansions;
            self.here_documents.push(HereDocument {
                delimiter: unquoted(word),
                strips_tabs,
                expands: !parts.has_quotes,
            });
            return;
        }
        while let Some(b'<' | b'>' | b'&' | b'|') = self.peek() {
            if self.starts(b"<(") || self.starts(b">(") {
                break;
            }
            self.at += 1;
        }
        self.skip(b" \t");
        self.word();
    }

    /// Reads the here-documents that begin here.
    pub(super) fn read_here_documents(&mut self) {
        for document in std::mem::take(&mut self.here_documents) {
            let start = self.at;
            let mut end = self.at;
            loop {
                if self.at >= self.code.len() {
                    self.is_hidden = true;
                    break;
                }
                let rest = &self.code[self.at..];
                let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                let mut line = &rest[..length];
                self.at = (self.at + length + 1).min(self.code.len());
                while document.strips_tabs && line.starts_with(b"\t") {
                    line = &line[1..];
                }
                if line == document.delimiter {
                    break;
                }
                end = self.at;
            }
            if document.expands {
                let mut text = Lexer::of(&self.code[start..end]);
                text.expansions();
                self.is_hidden |= text.is_hidden;
            }
        }
    }

    /// Reads a text in which only expansions mean anything.
    fn expansions(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' => self.at += 2,
                b'`' => self.backquotes(),
                b'$' => self.dollar(&mut Parts::default(), true),
                _ => self.at += 1,
            }
        }
    }
}
