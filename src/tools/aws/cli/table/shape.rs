//! The members of structures, and their types.

use std::rc::Rc;

use crate::aws::cli::names::argument_of;

#[derive(Debug, Default)]
pub(crate) struct Structure {
    pub members: Vec<Member>,
}

/// Where a member goes, or comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Body,
    /// It is the body.
    Payload,
    Path,
    Query,
    Header,
    Headers,
    Status,
    Attribute,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub name: &'static str,
    argument: Option<&'static str>,
    pub is_required: bool,
    /// Made up if it is not given: a repeated request does nothing more.
    pub is_token: bool,
    pub place: Place,
    wire: Option<&'static str>,
    query: Option<&'static str>,
    pub shape: Shape,
}

/// A type.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub kind: Kind,
    /// The least length of a string or a list, the least value of a number.
    pub least: Option<i128>,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    String,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Bytes,
    /// Bytes that are not kept: the content of an object.
    File,
    Timestamp(Option<TimestampFormat>),
    Structure(&'static str),
    List(Rc<List>),
    Map(Rc<Map>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampFormat {
    Iso,
    Unix,
    Http,
}

#[derive(Debug)]
pub(crate) struct List {
    pub is_flat: bool,
    pub wire: Option<&'static str>,
    pub element: Shape,
}

#[derive(Debug)]
pub(crate) struct Map {
    pub is_flat: bool,
    pub key: &'static str,
    pub value: &'static str,
    pub element: Shape,
}

impl Structure {
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The member that is the whole body.
    pub(crate) fn payload(&self) -> Option<&Member> {
        let mut members = self.members.iter();
        members.find(|member| member.place == Place::Payload)
    }
}

impl Member {
    pub(crate) fn argument(&self) -> String {
        let made = || argument_of(self.name);
        self.argument.map_or_else(made, str::to_owned)
    }

    /// The argument that says no to a boolean.
    pub(crate) fn negative_argument(&self) -> String {
        match self.argument().as_str() {
            "no-reboot" => "reboot".to_owned(),
            "enable-execute-command" => "disable-execute-command".to_owned(),
            argument => format!("no-{argument}"),
        }
    }

    /// The name in JSON, XML, headers and paths.
    pub(crate) fn wire(&self) -> &'static str {
        self.wire.unwrap_or(self.name)
    }

    /// The name in a request of the protocol ec2.
    pub(crate) fn ec2_name(&self) -> String {
        let upper = |wire: &str| {
            let mut letters = wire.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        };
        match (self.query, self.wire) {
            (Some(query), _) => query.to_owned(),
            (None, Some(wire)) => upper(wire),
            (None, None) => self.name.to_owned(),
        }
    }
}

/// Reads a member, as the head of this file describes it.
pub(super) fn member(text: &'static str) -> Option<Member> {
    let end = text.find(['/', '!', '#', '@', '=', '|', ':'])?;
    let (name, mut rest) = text.split_at(end);
    let mut member = Member {
        name,
        argument: None,
        is_required: false,
        is_token: false,
        place: Place::Body,
        wire: None,
        query: None,
        shape: Shape {
            kind: Kind::String,
            least: None,
        },
    };
    while let Some(mark) = rest.chars().next() {
        rest = &rest[1..];
        let end = rest
            .find(['!', '#', '@', '=', '|', ':'])
            .unwrap_or(rest.len());
        match mark {
            '!' => member.is_required = true,
            '#' => member.is_token = true,
            ':' => {
                (member.shape, _) = shape(rest)?;
                return Some(member);
            }
            _ => {
                let (word, after) = rest.split_at(end);
                rest = after;
                match mark {
                    '/' => member.argument = Some(word),
                    '=' => member.wire = Some(word),
                    '|' => member.query = Some(word),
                    _ => {
                        let (place, wire) = word.split_at_checked(1)?;
                        member.place = match place {
                            "u" => Place::Path,
                            "q" => Place::Query,
                            "h" => Place::Header,
                            "H" => Place::Headers,
                            "s" => Place::Status,
                            "a" => Place::Attribute,
                            _ => Place::Payload,
                        };
                        member.wire = Some(wire).filter(|wire| !wire.is_empty());
                    }
                }
            }
        }
    }
    None
}

/// Reads a type, and returns what comes behind it.
fn shape(text: &'static str) -> Option<(Shape, &'static str)> {
    let (first, mut rest) = text.split_at_checked(1)?;
    let kind = match first {
        "s" => Kind::String,
        "i" => Kind::Integer,
        "l" => Kind::Long,
        "f" => Kind::Float,
        "d" => Kind::Double,
        "b" => Kind::Boolean,
        "y" => Kind::Bytes,
        "Y" => Kind::File,
        "t" => {
            let format = match rest.as_bytes().first() {
                Some(b'i') => Some(TimestampFormat::Iso),
                Some(b'u') => Some(TimestampFormat::Unix),
                Some(b'r') => Some(TimestampFormat::Http),
                _ => None,
            };
            rest = &rest[usize::from(format.is_some())..];
            Kind::Timestamp(format)
        }
        "$" => {
            let end = rest.find([']', '}', '>']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            rest = after;
            Kind::Structure(name)
        }
        _ => {
            let is_flat = rest.starts_with('~');
            rest = &rest[usize::from(is_flat)..];
            // A colon before the next bracket ends the names.
            let mut wire = None;
            if let Some(end) = rest.find(['[', '{', '$', ']', '}', ':'])
                && rest[end..].starts_with(':')
            {
                wire = Some(&rest[..end]);
                rest = &rest[end + 1..];
            }
            let (element, after) = shape(rest)?;
            rest = after.get(1..)?;
            if first == "[" {
                Kind::List(Rc::new(List {
                    is_flat,
                    wire,
                    element,
                }))
            } else {
                let (key, value) = wire
                    .and_then(|wire| wire.split_once(','))
                    .unwrap_or(("key", "value"));
                Kind::Map(Rc::new(Map {
                    is_flat,
                    key,
                    value,
                    element,
                }))
            }
        }
    };
    let mut least = None;
    if let Some(number) = rest.strip_prefix('>') {
        let end = number.find([']', '}']).unwrap_or(number.len());
        least = number[..end].parse().ok();
        rest = &number[end..];
    }
    Some((Shape { kind, least }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_says_its_name_place_and_type() {
        let member =
            member("Tags/tag-list!#@qtags=x:[~item:{k,v:$Tag}]>1").unwrap_or_else(|| panic!());
        assert_eq!(member.argument(), "tag-list");
        assert!(member.is_required && member.is_token);
        assert_eq!((member.place, member.wire()), (Place::Query, "x"));
        assert_eq!(member.shape.least, Some(1));
        let Kind::List(list) = member.shape.kind else {
            panic!("no list");
        };
        assert_eq!((list.is_flat, list.wire), (true, Some("item")));
        let Kind::Map(map) = &list.element.kind else {
            panic!("no map");
        };
        assert_eq!((map.key, map.value), ("k", "v"));
        assert!(matches!(map.element.kind, Kind::Structure("Tag")));
    }
}
