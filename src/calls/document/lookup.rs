//! Fields that AWS's events are known to have.

use std::borrow::Cow;

use super::{Children, Document, Kind, Span};

impl Document<'_> {
    /// The value behind these names, if there is one and it is not null.
    pub(crate) fn find(&self, from: Span, names: &[&str]) -> Option<Span> {
        let mut place = from;
        for name in names {
            let children = self.children(place)?;
            let Children::Object(members) = children.as_ref() else {
                return None;
            };
            place = self.member(members, name)?;
        }
        (self.kind(place) != Kind::Null).then_some(place)
    }

    /// The string behind these names.
    pub(crate) fn find_string(&self, from: Span, names: &[&str]) -> Option<Cow<'_, str>> {
        let found = self.find(from, names)?;
        (self.kind(found) == Kind::String).then(|| self.string(found))
    }

    /// The elements of the array behind these names.
    pub(crate) fn find_elements(&self, from: Span, names: &[&str]) -> Option<Vec<Span>> {
        match self.children(self.find(from, names)?)?.as_ref() {
            Children::Array(elements) => Some(elements.clone()),
            Children::Object(_) => None,
        }
    }

    /// The members of the object behind these names.
    pub(crate) fn find_members(
        &self,
        from: Span,
        names: &[&str],
    ) -> Option<Vec<(Cow<'_, str>, Span)>> {
        match self.children(self.find(from, names)?)?.as_ref() {
            Children::Object(members) => Some(self.members(members)),
            Children::Array(_) => None,
        }
    }

    /// The names of an object's members, for a message: `a, b, c and 3 more`.
    pub(crate) fn listed_names(&self, object: Span) -> String {
        let members = self.find_members(object, &[]).unwrap_or_default();
        let names: Vec<_> = members.iter().map(|(name, _)| shortened(name)).collect();
        match names.get(..LISTED) {
            Some(first) if names.len() > LISTED => {
                format!("{} and {} more", first.join(", "), names.len() - LISTED)
            }
            _ => names.join(", "),
        }
    }
}

/// How many names a message lists.
const LISTED: usize = 12;

/// A name as it stands in a message: on one line, and not long.
fn shortened(name: &str) -> String {
    let visible = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut letters = name.chars();
    let mut short: String = letters.by_ref().take(60).map(visible).collect();
    if letters.next().is_some() {
        short.push_str("...");
    }
    short
}
