//! The protocols query and ec2: parameters as a form, `Tag.member.1.Key=a`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::timestamp::Timestamp;
use crate::aws::cli::output::json::float_text;
use crate::aws::cli::table::{
    Kind, List, Map, Member, Operation, Protocol, Service, Shape, Structure, TimestampFormat,
};
use crate::aws::cli::value::Value;
use crate::aws::session::Operation as Request;
use crate::aws::sign;
use crate::http::Body;

pub(super) fn request(service: &Service, operation: &Operation, parameters: &Value) -> Request {
    let mut form = Form {
        service,
        fields: vec![
            ("Action".to_owned(), operation.name.to_owned()),
            ("Version".to_owned(), service.version.to_owned()),
        ],
    };
    form.structure("", &operation.input, parameters);
    Request {
        name: operation.name.to_owned(),
        method: operation.method.to_owned(),
        path: operation.path.to_owned(),
        query: Vec::new(),
        headers: vec![(
            "content-type".to_owned(),
            "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
        )],
        body: Body::Bytes(Arc::new(sign::encode_query(&form.fields).into_bytes())),
    }
}

/// A number, a text or a truth as headers, paths and forms have it.
pub(super) fn scalar_text(shape: &Shape, value: &Value, timestamps: TimestampFormat) -> String {
    let value = match shape.kind {
        Kind::Timestamp(format) => Timestamp::from_value(value).map_or_else(
            || value.clone(),
            |time| time.to_wire(format.unwrap_or(timestamps)),
        ),
        _ => value.clone(),
    };
    match value {
        Value::Bool(is_true) => is_true.to_string(),
        Value::Integer(integer) => integer.to_string(),
        Value::Float(float) => float_text(float, ["nan", "inf", "-inf"]),
        Value::Text(text) if matches!(shape.kind, Kind::Bytes | Kind::File) => {
            STANDARD.encode(text)
        }
        Value::Text(text) => text,
        Value::Bytes(bytes) => STANDARD.encode(bytes),
        _ => String::new(),
    }
}

struct Form<'a> {
    service: &'a Service,
    fields: Vec<(String, String)>,
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

impl Form<'_> {
    fn is_ec2(&self) -> bool {
        self.service.protocol == Protocol::Ec2
    }

    fn structure(&mut self, prefix: &str, structure: &Structure, value: &Value) {
        for (key, value) in value.entries() {
            if let Some(member) = structure.member(key) {
                let name = self.name_of(member);
                self.value(&join(prefix, &name), &member.shape, value);
            }
        }
    }

    fn name_of(&self, member: &Member) -> String {
        if self.is_ec2() {
            return member.ec2_name();
        }
        // The elements of a flat list have the name.
        match &member.shape.kind {
            Kind::List(list) if list.is_flat => list.wire.unwrap_or(member.wire()).to_owned(),
            _ => member.wire().to_owned(),
        }
    }

    fn value(&mut self, name: &str, shape: &Shape, value: &Value) {
        match &shape.kind {
            Kind::Structure(structure) => {
                let structure = self.service.structure(structure);
                self.structure(name, &structure, value);
            }
            Kind::List(list) => self.list(name, list, value.elements()),
            Kind::Map(map) => self.map(name, map, value.entries()),
            _ => {
                let text = scalar_text(shape, value, TimestampFormat::Iso);
                self.fields.push((name.to_owned(), text));
            }
        }
    }

    fn list(&mut self, name: &str, list: &List, elements: &[Value]) {
        if elements.is_empty() && !self.is_ec2() {
            self.fields.push((name.to_owned(), String::new()));
        }
        let is_flat = list.is_flat || self.is_ec2();
        for (at, element) in elements.iter().enumerate() {
            let number = (at + 1).to_string();
            let name = if is_flat {
                join(name, &number)
            } else {
                format!("{name}.{}.{number}", list.wire.unwrap_or("member"))
            };
            self.value(&name, &list.element, element);
        }
    }

    fn map(&mut self, name: &str, map: &Map, entries: &[(String, Value)]) {
        let entry = if map.is_flat { "" } else { ".entry" };
        for (at, (key, value)) in entries.iter().enumerate() {
            let name = format!("{name}{entry}.{}", at + 1);
            self.fields.push((join(&name, map.key), key.clone()));
            self.value(&join(&name, map.value), &map.element, value);
        }
    }
}
