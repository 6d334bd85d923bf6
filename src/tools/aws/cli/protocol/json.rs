//! The protocol json, and the bodies of rest-json.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::timestamp::Timestamp;
use crate::aws::cli::failure::Failure;
use crate::aws::cli::output::json;
use crate::aws::cli::table::{Kind, Operation, Place, Service, Shape, Structure, TimestampFormat};
use crate::aws::cli::value::Value;
use crate::aws::session::Operation as Request;
use crate::http::Body;

pub(super) fn request(service: &Service, operation: &Operation, parameters: &Value) -> Request {
    let (version, target) = service.json_target();
    let body = body(service, &operation.input, parameters);
    Request {
        name: operation.name.to_owned(),
        method: operation.method.to_owned(),
        path: operation.path.to_owned(),
        query: Vec::new(),
        headers: vec![
            (
                "x-amz-target".to_owned(),
                format!("{target}.{}", operation.name),
            ),
            (
                "content-type".to_owned(),
                format!("application/x-amz-json-{version}"),
            ),
        ],
        body: Body::Bytes(Arc::new(body)),
    }
}

/// The members of a structure that go into the body.
pub(super) fn body(service: &Service, structure: &Structure, parameters: &Value) -> Vec<u8> {
    json::request(&structure_to_wire(service, structure, parameters)).into_bytes()
}

fn structure_to_wire(service: &Service, structure: &Structure, value: &Value) -> Value {
    let entries = value.entries().iter().filter_map(|(key, value)| {
        let member = structure.member(key)?;
        let in_body = member.place == Place::Body;
        in_body.then(|| {
            (
                member.wire().to_owned(),
                to_wire(service, &member.shape, value),
            )
        })
    });
    Value::Map(entries.collect())
}

fn to_wire(service: &Service, shape: &Shape, value: &Value) -> Value {
    match (&shape.kind, value) {
        (Kind::Structure(name), _) => structure_to_wire(service, &service.structure(name), value),
        (Kind::List(list), Value::List(elements)) => {
            let elements = elements
                .iter()
                .map(|element| to_wire(service, &list.element, element));
            Value::List(elements.collect())
        }
        (Kind::Map(map), Value::Map(entries)) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), to_wire(service, &map.element, value)));
            Value::Map(entries.collect())
        }
        (Kind::Timestamp(format), _) => match Timestamp::from_value(value) {
            Some(time) => time.to_wire(format.unwrap_or(TimestampFormat::Unix)),
            None => value.clone(),
        },
        (Kind::Bytes | Kind::File, Value::Bytes(bytes)) => Value::Text(STANDARD.encode(bytes)),
        (Kind::Bytes | Kind::File, Value::Text(text)) => Value::Text(STANDARD.encode(text)),
        _ => value.clone(),
    }
}

pub(super) fn result(
    service: &Service,
    structure: &Structure,
    body: &[u8],
) -> Result<Value, Failure> {
    Ok(structure_from_wire(service, structure, &parse(body)?))
}

pub(super) fn parse(body: &[u8]) -> Result<Value, Failure> {
    if body.is_empty() {
        return Ok(Value::Map(Vec::new()));
    }
    Value::from_json(body).map_err(|error| {
        Failure::other(format!(
            "Unable to parse response: the service sent no JSON: {error}"
        ))
    })
}

/// The members of the body that the table knows, in its order.
pub(super) fn structure_from_wire(
    service: &Service,
    structure: &Structure,
    value: &Value,
) -> Value {
    let in_body = structure
        .members
        .iter()
        .filter(|member| member.place == Place::Body);
    let entries = in_body.filter_map(|member| {
        let value = value
            .get(member.wire())
            .filter(|value| !matches!(value, Value::Null))?;
        Some((
            member.name.to_owned(),
            from_wire(service, &member.shape, value),
        ))
    });
    Value::Map(entries.collect())
}

pub(super) fn from_wire(service: &Service, shape: &Shape, value: &Value) -> Value {
    match (&shape.kind, value) {
        (Kind::Structure(name), Value::Map(_)) => {
            structure_from_wire(service, &service.structure(name), value)
        }
        (Kind::List(list), Value::List(elements)) => {
            let elements = elements
                .iter()
                .map(|element| from_wire(service, &list.element, element));
            Value::List(elements.collect())
        }
        (Kind::Map(map), Value::Map(entries)) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), from_wire(service, &map.element, value)));
            Value::Map(entries.collect())
        }
        (Kind::Timestamp(_), _) => match Timestamp::from_value(value) {
            Some(time) => Value::Text(time.to_result(service.zone.as_ref())),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}
