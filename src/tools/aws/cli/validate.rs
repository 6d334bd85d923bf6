//! Checks parameters before anything is sent, as botocore does: what is missing, unknown, too short or of a wrong type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::failure::Failure;
use super::protocol::timestamp::Timestamp;
use super::table::{Kind, Operation, Service, Shape, Structure};
use super::unique;
use super::value::Value;

/// Makes bytes of Base64, adds tokens, and checks everything.
pub(crate) fn complete(
    parameters: &mut Value,
    operation: &Operation,
    service: &Service,
    takes_raw_bytes: bool,
) -> Result<(), Failure> {
    read_bytes_of(parameters, &operation.input, service, takes_raw_bytes);
    for member in operation
        .input
        .members
        .iter()
        .filter(|member| member.is_token)
    {
        parameters.entry(member.name, Value::Text(unique::uuid()));
    }
    let mut errors = Vec::new();
    check_structure(parameters, &operation.input, service, "", &mut errors);
    if !errors.is_empty() {
        return Err(Failure::usage(format!(
            "Parameter validation failed:\n{}",
            errors.join("\n")
        )));
    }
    check_bucket(parameters, service)
}

fn check_bucket(parameters: &Value, service: &Service) -> Result<(), Failure> {
    let Some(bucket) = parameters.get("Bucket").and_then(Value::as_text) else {
        return Ok(());
    };
    let is_name = |name: &str| {
        (1..=255).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    if service.command == "s3api" && !bucket.starts_with("arn:") && !is_name(bucket) {
        return Err(Failure::usage(format!(
            "Parameter validation failed:\nInvalid bucket name \"{bucket}\": Bucket name must match the regex \
             \"^[a-zA-Z0-9.\\-_]{{1,255}}$\" or be an ARN"
        )));
    }
    Ok(())
}

fn read_bytes_of(value: &mut Value, structure: &Structure, service: &Service, are_raw: bool) {
    if let Value::Map(entries) = value {
        for (key, value) in entries {
            if let Some(member) = structure.member(key) {
                read_bytes(value, &member.shape, service, are_raw);
            }
        }
    }
}

/// Texts at the places of bytes are Base64. What is no Base64 is taken as it is.
fn read_bytes(value: &mut Value, shape: &Shape, service: &Service, are_raw: bool) {
    match (&shape.kind, &mut *value) {
        (Kind::Bytes, Value::Text(text)) => {
            let plain: Vec<u8> = text
                .bytes()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            let decoded = STANDARD.decode(plain).ok().filter(|_| !are_raw);
            *value = Value::Bytes(decoded.unwrap_or_else(|| std::mem::take(text).into_bytes()));
        }
        (Kind::Structure(name), _) => {
            read_bytes_of(value, &service.structure(name), service, are_raw);
        }
        (Kind::List(list), Value::List(elements)) => {
            for element in elements {
                read_bytes(element, &list.element, service, are_raw);
            }
        }
        (Kind::Map(map), Value::Map(entries)) => {
            for (_, value) in entries {
                read_bytes(value, &map.element, service, are_raw);
            }
        }
        _ => {}
    }
}

fn check_structure(
    value: &Value,
    structure: &Structure,
    service: &Service,
    name: &str,
    errors: &mut Vec<String>,
) {
    let Value::Map(entries) = value else {
        errors.push(invalid_type(name, value, &["dict"]));
        return;
    };
    let place = if name.is_empty() { "input" } else { name };
    for member in structure.members.iter().filter(|member| member.is_required) {
        if value.get(member.name).is_none() {
            errors.push(format!(
                "Missing required parameter in {place}: \"{}\"",
                member.name
            ));
        }
    }
    for (key, value) in entries {
        if let Some(member) = structure.member(key) {
            let name = if name.is_empty() {
                key.clone()
            } else {
                format!("{name}.{key}")
            };
            check(value, &member.shape, service, &name, errors);
        } else {
            let known: Vec<_> = structure.members.iter().map(|member| member.name).collect();
            errors.push(format!(
                "Unknown parameter in {place}: \"{key}\", must be one of: {}",
                known.join(", ")
            ));
        }
    }
}

fn check(value: &Value, shape: &Shape, service: &Service, name: &str, errors: &mut Vec<String>) {
    let too_short = |length: usize| {
        let least = shape.least.unwrap_or_default();
        let is_short = i128::try_from(length).is_ok_and(|length| length < least);
        is_short.then(|| {
            format!(
                "Invalid length for parameter {name}, value: {length}, valid min length: {least}"
            )
        })
    };
    match (&shape.kind, value) {
        (Kind::Structure(structure), _) => {
            check_structure(value, &service.structure(structure), service, name, errors);
        }
        (Kind::List(list), Value::List(elements)) => {
            errors.extend(too_short(elements.len()));
            for (at, element) in elements.iter().enumerate() {
                check(
                    element,
                    &list.element,
                    service,
                    &format!("{name}[{at}]"),
                    errors,
                );
            }
        }
        (Kind::Map(map), Value::Map(entries)) => {
            for (key, value) in entries {
                check(
                    value,
                    &map.element,
                    service,
                    &format!("{name}.{key}"),
                    errors,
                );
            }
        }
        (Kind::String, Value::Text(text)) => errors.extend(too_short(text.chars().count())),
        (Kind::Integer | Kind::Long | Kind::Float | Kind::Double, Value::Integer(integer)) => {
            if let Some(least) = shape.least.filter(|least| integer < least) {
                errors.push(format!(
                    "Invalid range for parameter {name}, value: {integer}, valid min value: {least}"
                ));
            }
        }
        (Kind::Integer | Kind::Long | Kind::Boolean, Value::Bool(_))
        | (Kind::Float | Kind::Double, Value::Float(_))
        | (Kind::Bytes | Kind::File, Value::Bytes(_) | Value::File(..) | Value::Text(_)) => {}
        (Kind::Timestamp(_), _) if Timestamp::from_value(value).is_some() => {}
        (kind, _) => errors.push(invalid_type(name, value, python_types(kind))),
    }
}

fn invalid_type(name: &str, value: &Value, valid: &[&str]) -> String {
    let valid: Vec<_> = valid
        .iter()
        .map(|name| format!("<class '{name}'>"))
        .collect();
    format!(
        "Invalid type for parameter {name}, type: <class '{}'>, valid types: {}",
        value.python_type(),
        valid.join(", ")
    )
}

fn python_types(kind: &Kind) -> &'static [&'static str] {
    match kind {
        Kind::String => &["str"],
        Kind::Integer | Kind::Long => &["int"],
        Kind::Float | Kind::Double => &["float", "decimal.Decimal", "int"],
        Kind::Boolean => &["bool"],
        Kind::Bytes | Kind::File => &["bytes", "bytearray", "file-like object"],
        Kind::Timestamp(_) => &["datetime.datetime", "timestamp-string"],
        Kind::Structure(_) | Kind::Map(_) => &["dict"],
        Kind::List(_) => &["list", "tuple"],
    }
}
