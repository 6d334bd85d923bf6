//! Reads the XML of S3's answers.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

/// Answers nest by far less than this.
const MAX_DEPTH: usize = 32;

/// An element: its name without a prefix, its own text, and what is inside.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// The text of the first child of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut children = self.children.iter();
        let child = children.find(|child| child.name == name)?;
        Some(&child.text)
    }

    /// The children of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// The outermost element, or `None` if the text is no XML, or not whole.
pub(super) fn parse(text: &[u8]) -> Option<Element> {
    let text = str::from_utf8(text).ok()?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                if open.len() == MAX_DEPTH {
                    return None;
                }
                open.push(named(&start));
            }
            Event::Empty(start) => {
                let element = named(&start);
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => return Some(element),
                }
            }
            Event::End(_) => {
                let element = open.pop()?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => return Some(element),
                }
            }
            Event::Text(part) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&part);
                }
            }
            Event::CData(part) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&part);
                }
            }
            Event::GeneralRef(reference) => {
                let element = open.last_mut()?;
                if let Some(character) = reference.resolve_char_ref().ok()? {
                    element.text.push(character);
                } else {
                    element
                        .text
                        .push_str(resolve_predefined_entity(&reference)?);
                }
            }
            Event::Eof => return None,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => {}
        }
    }
}

fn named(start: &BytesStart) -> Element {
    Element {
        name: start.local_name().as_ref().to_owned(),
        ..Element::default()
    }
}

/// The text with the characters replaced that XML gives a meaning.
pub(super) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_texts_and_children() {
        let text = "<?xml version=\"1.0\"?>\n<R xmlns=\"x\"><K>a &amp;&#x41; b</K><E/><K><![CDATA[<c>]]></K></R>";
        let root = parse(text.as_bytes()).expect("an element");
        assert_eq!(root.name, "R");
        assert_eq!(root.get("K"), Some("a &A b"));
        assert_eq!(root.get("E"), Some(""));
        let texts: Vec<_> = root.all("K").map(|child| child.text.as_str()).collect();
        assert_eq!(texts, ["a &A b", "<c>"]);
        assert_eq!(root.get("N"), None);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let deep = "<a>".repeat(100_000);
        for text in ["", "<a>", "<a><b></a>", "text", "<a>&unknown;</a>", &deep] {
            assert_eq!(parse(text.as_bytes()), None);
        }
        assert_eq!(parse(b"<a>\xff</a>"), None);
    }
}
