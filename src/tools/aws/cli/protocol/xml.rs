//! The XML of the protocols query, ec2 and rest-xml.

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

use super::query::scalar_text;
use super::timestamp::Timestamp;
use crate::aws::cli::failure::Failure;
use crate::aws::cli::table::{
    Kind, List, Map, Member, Place, Service, Shape, Structure, TimestampFormat,
};
use crate::aws::cli::value::Value;
use crate::aws::xml_text::{self, Element, escape};

/// The members of IAM's results that have a policy.
const POLICIES: [&str; 3] = ["AssumeRolePolicyDocument", "PolicyDocument", "Document"];

/// The root of a document. An empty one has no members.
pub(super) fn read(body: &[u8]) -> Result<Element, Failure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Element::default());
    }
    xml_text::read(&String::from_utf8_lossy(body)).ok_or_else(|| {
        Failure::other(
            "Unable to parse response, invalid XML received. Further retries may succeed.",
        )
    })
}

/// The members of a structure that an element has, in the table's order.
pub(super) fn structure(service: &Service, structure: &Structure, element: &Element) -> Value {
    let mut entries = Vec::new();
    for member in &structure.members {
        let value = match member.place {
            Place::Body | Place::Payload => value_of_member(service, member, element),
            Place::Attribute => element.attribute(member.wire()).map(Value::text),
            _ => None,
        };
        let value = match value {
            Some(Value::Text(text))
                if service.command == "iam" && POLICIES.contains(&member.name) =>
            {
                Some(policy(text))
            }
            value => value,
        };
        entries.extend(value.map(|value| (member.name.to_owned(), value)));
    }
    Value::Map(entries)
}

/// The document in `text`, which is percent-encoded JSON; the text as it is, if it is something else.
fn policy(text: String) -> Value {
    let decoded: Vec<u8> = percent_decode_str(&text).collect();
    Value::from_json(&decoded).unwrap_or(Value::Text(text))
}

fn value_of_member(service: &Service, member: &Member, parent: &Element) -> Option<Value> {
    match &member.shape.kind {
        Kind::List(list) if list.is_flat => {
            let name = list.wire.unwrap_or(member.wire());
            let elements: Vec<_> = parent.children_named(name).collect();
            let values = elements
                .iter()
                .map(|element| value(service, &list.element, element));
            (!elements.is_empty()).then(|| Value::List(values.collect()))
        }
        Kind::Map(map) if map.is_flat => {
            let entries: Vec<_> = parent.children_named(member.wire()).collect();
            (!entries.is_empty()).then(|| map_value(service, map, entries.into_iter()))
        }
        _ => Some(value(service, &member.shape, parent.child(member.wire())?)),
    }
}

/// What an element means.
pub(super) fn value(service: &Service, shape: &Shape, element: &Element) -> Value {
    let text = element.text();
    match &shape.kind {
        Kind::Structure(name) => structure(service, &service.structure(name), element),
        Kind::List(list) => {
            let elements = element.children_named(list.wire.unwrap_or("member"));
            Value::List(
                elements
                    .map(|element| value(service, &list.element, element))
                    .collect(),
            )
        }
        Kind::Map(map) => map_value(service, map, element.children_named("entry")),
        Kind::Boolean => Value::Bool(text == "true"),
        kind => scalar(kind, text),
    }
}

/// A number or a time, or else the text as it is, also where it should have been one of these.
pub(super) fn scalar(kind: &Kind, text: &str) -> Value {
    let found = match kind {
        Kind::Integer | Kind::Long => text.trim().parse().ok().map(Value::Integer),
        Kind::Float | Kind::Double => text.trim().parse().ok().map(Value::Float),
        Kind::Timestamp(_) => {
            Timestamp::from_text(text).map(|time| Value::Text(time.to_result(None)))
        }
        _ => None,
    };
    found.unwrap_or_else(|| Value::text(text))
}

fn map_value<'a>(
    service: &Service,
    map: &Map,
    entries: impl Iterator<Item = &'a Element>,
) -> Value {
    let mut values = Value::Map(Vec::new());
    for entry in entries {
        if let (Some(key), Some(element)) = (entry.child(map.key), entry.child(map.value)) {
            values.set(key.text(), value(service, &map.element, element));
        }
    }
    values
}

/// The body of a request that is one value.
pub(super) fn body(service: &Service, root: &str, kind: &Kind, value: &Value) -> Vec<u8> {
    match kind {
        Kind::Structure(name) => body_of(service, root, &service.structure(name), value),
        _ => Vec::new(),
    }
}

/// The body of a request that is a structure.
pub(super) fn body_of(
    service: &Service,
    root: &str,
    structure: &Structure,
    value: &Value,
) -> Vec<u8> {
    let mut text = String::new();
    let namespace = service.namespace().map(|uri| format!(" xmlns=\"{uri}\""));
    let _ = write!(text, "<{root}{}>", namespace.unwrap_or_default());
    write_structure(service, structure, value, &mut text);
    let _ = write!(text, "</{root}>");
    text.into_bytes()
}

fn write_structure(service: &Service, structure: &Structure, value: &Value, text: &mut String) {
    for (key, value) in value.entries() {
        if let Some(member) = structure.member(key)
            && member.place == Place::Body
        {
            write_value(service, &member.shape, member.wire(), value, text);
        }
    }
}

fn write_value(service: &Service, shape: &Shape, name: &str, value: &Value, text: &mut String) {
    match &shape.kind {
        Kind::Structure(structure) => {
            let structure = service.structure(structure);
            let _ = write!(text, "<{name}{}>", attributes(&structure, value));
            write_structure(service, &structure, value, text);
            let _ = write!(text, "</{name}>");
        }
        Kind::List(list) => write_list(service, list, name, value.elements(), text),
        Kind::Map(map) => {
            let _ = write!(text, "<{name}>");
            for (key, value) in value.entries() {
                let _ = write!(text, "<entry><{0}>{1}</{0}>", map.key, escape(key));
                write_value(service, &map.element, map.value, value, text);
                text.push_str("</entry>");
            }
            let _ = write!(text, "</{name}>");
        }
        _ => {
            let scalar = scalar_text(shape, value, TimestampFormat::Iso);
            let _ = write!(text, "<{name}>{}</{name}>", escape(&scalar));
        }
    }
}

fn write_list(service: &Service, list: &List, name: &str, elements: &[Value], text: &mut String) {
    let usual = if list.is_flat { name } else { "member" };
    if !list.is_flat {
        let _ = write!(text, "<{name}>");
    }
    for element in elements {
        write_value(
            service,
            &list.element,
            list.wire.unwrap_or(usual),
            element,
            text,
        );
    }
    if !list.is_flat {
        let _ = write!(text, "</{name}>");
    }
}

/// The members that are attributes, such as `xsi:type` of a grantee.
fn attributes(structure: &Structure, value: &Value) -> String {
    let mut attributes = String::new();
    for member in &structure.members {
        let text = value.get(member.name).and_then(Value::as_text);
        if let (Place::Attribute, Some(text)) = (member.place, text) {
            let name = member.wire().replace(';', ":");
            let _ = write!(
                attributes,
                " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" {name}=\"{}\"",
                escape(text)
            );
        }
    }
    attributes
}
