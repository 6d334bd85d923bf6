//! Reads XML: elements, attributes and text, as services write it. Prefixes of elements are dropped.

/// Deeper documents are refused: this recurses.
const MAX_DEPTH: usize = 200;

#[derive(Debug, Default)]
pub(super) struct Element {
    name: String,
    /// A colon in a name is a semicolon, as in the table.
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
    text: String,
}

impl Element {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    pub(super) fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let (_, value) = attributes.find(|(attribute, _)| attribute == name)?;
        Some(value)
    }

    /// The text of the first child of this name.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(Self::text)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Writes a text so that it can stand in an element or an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#xD;"),
            '\n' => escaped.push_str("&#xA;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Reads a document, and returns its root.
pub(super) fn read(text: &str) -> Option<Element> {
    let mut reader = Reader { rest: text };
    reader.skip_to_element()?;
    reader.element(0)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// The text up to `end`, which is skipped.
    fn take(&mut self, end: &str) -> Option<&'a str> {
        let (before, after) = self.rest.split_once(end)?;
        self.rest = after;
        Some(before)
    }

    /// Skips declarations and comments before the root.
    fn skip_to_element(&mut self) -> Option<()> {
        loop {
            self.take("<")?;
            if self.rest.starts_with("!--") {
                self.take("-->")?;
            } else if self.rest.starts_with(['?', '!']) {
                self.take(">")?;
            } else {
                return Some(());
            }
        }
    }

    /// Reads an element, from behind its opening bracket to its end.
    fn element(&mut self, depth: usize) -> Option<Element> {
        if depth > MAX_DEPTH {
            return None;
        }
        let end = self
            .rest
            .find(|letter: char| letter.is_ascii_whitespace() || letter == '>' || letter == '/')?;
        let name = &self.rest[..end];
        self.rest = &self.rest[end..];
        let mut element = Element {
            name: name.rsplit(':').next().unwrap_or_default().to_owned(),
            ..Element::default()
        };
        loop {
            self.rest = self.rest.trim_ascii_start();
            if let Some(rest) = self.rest.strip_prefix("/>") {
                self.rest = rest;
                return Some(element);
            }
            if let Some(rest) = self.rest.strip_prefix('>') {
                self.rest = rest;
                break;
            }
            element.attributes.push(self.attribute()?);
        }
        loop {
            element.text.push_str(&unescape(self.take("<")?));
            if let Some(rest) = self.rest.strip_prefix('/') {
                let (closed, rest) = rest.split_once('>')?;
                self.rest = rest;
                return (closed.trim() == name).then_some(element);
            }
            if let Some(rest) = self.rest.strip_prefix("![CDATA[") {
                self.rest = rest;
                element.text.push_str(self.take("]]>")?);
            } else if self.rest.starts_with("!--") {
                self.take("-->")?;
            } else if self.rest.starts_with('?') {
                self.take("?>")?;
            } else {
                element.children.push(self.element(depth + 1)?);
            }
        }
    }

    fn attribute(&mut self) -> Option<(String, String)> {
        let name = self.take("=")?.trim().replace(':', ";");
        self.rest = self.rest.trim_ascii_start();
        let quote = if self.rest.starts_with('\'') {
            "'"
        } else {
            "\""
        };
        self.rest = self.rest.strip_prefix(quote)?;
        Some((name, unescape(self.take(quote)?)))
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let known = after
            .split_once(';')
            .and_then(|(name, after)| Some((entity(name)?, after)));
        let (letter, after) = known.unwrap_or(('&', after));
        plain.push(letter);
        rest = after;
    }
    plain.push_str(rest);
    plain
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_attributes_and_text_are_read() {
        let root = read(
            "<?xml version='1.0'?><!-- c --><a:r xmlns:a=\"u\"><b xsi:type='T'>1 &lt;&#x41;&amp;&unknown;</b><b/><c><![CDATA[<x>]]></c></a:r>",
        );
        let root = root.unwrap_or_else(|| panic!("no document"));
        let texts: Vec<_> = root.children_named("b").map(Element::text).collect();
        assert_eq!(texts, ["1 <A&&unknown;", ""]);
        assert_eq!(
            root.child("b").and_then(|b| b.attribute("xsi;type")),
            Some("T")
        );
        assert_eq!(root.child("c").map(Element::text), Some("<x>"));
    }

    #[test]
    fn what_is_broken_is_refused_and_nothing_panics() {
        let text = "<a><b c=\"d\">é&amp;</b></a>";
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            assert!(read(&text[..end]).is_none(), "{}", &text[..end]);
        }
        assert!(read("<a></b>").is_none());
        assert!(read(&"<a>".repeat(100_000)).is_none());
    }
}
