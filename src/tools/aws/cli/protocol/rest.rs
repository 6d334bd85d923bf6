//! The protocols rest-json and rest-xml: parameters in the path, the query, the headers and the body.

use std::sync::Arc;

use super::query::scalar_text;
use super::{json, xml};
use crate::aws::cli::checksum;
use crate::aws::cli::failure::Failure;
use crate::aws::cli::table::{
    Kind, Member, Operation, Place, Protocol, Service, Shape, TimestampFormat,
};
use crate::aws::cli::value::Value;
use crate::aws::session::Operation as Request;
use crate::aws::sign;
use crate::http::{Body, Response};

pub(super) fn request(
    service: &Service,
    operation: &Operation,
    parameters: &Value,
) -> Result<Request, Failure> {
    let (path, fixed) = operation
        .path
        .split_once('?')
        .unwrap_or((operation.path, ""));
    let mut request = Request {
        name: operation.name.to_owned(),
        method: operation.method.to_owned(),
        path: fill_path(path, service, operation, parameters)?,
        ..Request::default()
    };
    for pair in fixed.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        request.query.push((name.to_owned(), value.to_owned()));
    }
    for (key, value) in parameters.entries() {
        if let Some(member) = operation.input.member(key) {
            place(service, member, value, &mut request);
        }
    }
    add_body(service, operation, parameters, &mut request)?;
    checksum::add(service, operation, parameters, &mut request)?;
    Ok(request)
}

/// Puts parameters into `/{Bucket}/{Key+}`; those with a plus sign keep their slashes.
fn fill_path(
    path: &str,
    service: &Service,
    operation: &Operation,
    parameters: &Value,
) -> Result<String, Failure> {
    let mut filled = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let (name, keeps_slashes) = match name.strip_suffix('+') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let mut members = operation.input.members.iter();
        let member = members.find(|member| member.place == Place::Path && member.wire() == name);
        let value = member.and_then(|member| Some((member, parameters.get(member.name)?)));
        let text =
            value.map(|(member, value)| scalar_text(&member.shape, value, TimestampFormat::Iso));
        let mut text = text.unwrap_or_default();
        if service.command == "route53" {
            // Ids come with folders before them, and are taken without.
            text = text.rsplit('/').next().unwrap_or_default().to_owned();
        }
        if text.is_empty() {
            let name = member.map_or(name, |member| member.name);
            return Err(Failure::usage(format!(
                "Parameter validation failed:\nInvalid length for parameter {name}, value: 0, valid min length: 1"
            )));
        }
        filled.push_str(before);
        filled.push_str(&if keeps_slashes {
            sign::encode_path(&text)
        } else {
            sign::encode(&text)
        });
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Adds a parameter of the query or the headers.
fn place(service: &Service, member: &Member, value: &Value, request: &mut Request) {
    match (member.place, value) {
        (Place::Query, Value::List(elements)) => {
            let Kind::List(list) = &member.shape.kind else {
                return;
            };
            for element in elements {
                let text = scalar_text(&list.element, element, TimestampFormat::Iso);
                request.query.push((member.wire().to_owned(), text));
            }
        }
        (Place::Query, Value::Map(entries)) => {
            for (key, value) in entries {
                let texts = match value {
                    Value::List(elements) => elements.as_slice(),
                    one => std::slice::from_ref(one),
                };
                let texts = texts
                    .iter()
                    .filter_map(|text| Some((key.clone(), text.as_text()?.to_owned())));
                request.query.extend(texts);
            }
        }
        (Place::Query, _) => {
            let text = scalar_text(&member.shape, value, TimestampFormat::Iso);
            request.query.push((member.wire().to_owned(), text));
        }
        (Place::Headers, Value::Map(entries)) => {
            for (key, value) in entries {
                let name = format!("{}{key}", member.wire());
                let text = value.as_text().unwrap_or_default();
                request.headers.push((name, text.to_owned()));
            }
        }
        (Place::Header, Value::List(elements)) => {
            let texts: Vec<_> = elements.iter().filter_map(Value::as_text).collect();
            request
                .headers
                .push((member.wire().to_owned(), texts.join(",")));
        }
        (Place::Header, _) => {
            let mut text = scalar_text(&member.shape, value, TimestampFormat::Http);
            if service.command == "s3api" && member.name == "CopySource" {
                text = match text.split_once("?versionId=") {
                    Some((object, version)) => {
                        format!("{}?versionId={version}", sign::encode_path(object))
                    }
                    None => sign::encode_path(&text),
                };
            }
            request.headers.push((member.wire().to_owned(), text));
        }
        _ => {}
    }
}

fn add_body(
    service: &Service,
    operation: &Operation,
    parameters: &Value,
    request: &mut Request,
) -> Result<(), Failure> {
    let is_json = service.protocol == Protocol::RestJson;
    let bytes = |bytes: Vec<u8>| Body::Bytes(Arc::new(bytes));
    let mut has_json = false;
    request.body = if let Some(payload) = operation.input.payload() {
        match (&payload.shape.kind, parameters.get(payload.name)) {
            (_, None) => Body::None,
            (_, Some(Value::Bytes(content))) => bytes(content.clone()),
            (_, Some(Value::Text(text))) => bytes(text.clone().into_bytes()),
            (_, Some(Value::File(file, length))) => {
                let file = file.try_clone();
                let file =
                    file.map_err(|error| Failure::other(format!("cannot use the file: {error}")))?;
                Body::Part {
                    file,
                    start: 0,
                    length: *length,
                }
            }
            (Kind::Structure(name), Some(value)) if is_json => {
                has_json = true;
                bytes(json::body(service, &service.structure(name), value))
            }
            (kind, Some(value)) => bytes(xml::body(service, payload.wire(), kind, value)),
        }
    } else if !operation
        .input
        .members
        .iter()
        .any(|member| member.place == Place::Body)
    {
        Body::None
    } else if is_json {
        has_json = true;
        bytes(json::body(service, &operation.input, parameters))
    } else {
        let root = operation.root.unwrap_or(operation.name);
        bytes(xml::body_of(service, root, &operation.input, parameters))
    };
    let mut headers = request.headers.iter();
    if has_json && !headers.any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        request
            .headers
            .push(("content-type".to_owned(), "application/json".to_owned()));
    }
    Ok(())
}

pub(super) fn result(
    service: &Service,
    operation: &Operation,
    response: &Response,
    body: &[u8],
) -> Result<Value, Failure> {
    let mut result = result_beside_body(operation, response);
    for (key, value) in result_in_body(service, operation, body)?.entries() {
        result.set(key, value.clone());
    }
    Ok(result)
}

/// Status and headers, which come first in a result.
fn result_beside_body(operation: &Operation, response: &Response) -> Value {
    let mut result = Value::Map(Vec::new());
    for member in &operation.output.members {
        match member.place {
            Place::Status => result.set(member.name, Value::Integer(response.status.into())),
            Place::Header => {
                if let Some(text) = response.header(&member.wire().to_ascii_lowercase()) {
                    result.set(member.name, from_header(&member.shape, text));
                }
            }
            Place::Headers => {
                let prefix = member.wire().to_ascii_lowercase();
                let headers = response.headers.iter().filter_map(|(name, value)| {
                    Some((name.strip_prefix(&prefix)?.to_owned(), Value::text(value)))
                });
                result.set(member.name, Value::Map(headers.collect()));
            }
            _ => {}
        }
    }
    result
}

fn result_in_body(service: &Service, operation: &Operation, body: &[u8]) -> Result<Value, Failure> {
    let is_json = service.protocol == Protocol::RestJson;
    let has_body = operation
        .output
        .members
        .iter()
        .any(|member| member.place == Place::Body);
    let one = |name: &str, value| Value::Map(vec![(name.to_owned(), value)]);
    if let Some(payload) = operation.output.payload() {
        let value = match &payload.shape.kind {
            Kind::Bytes | Kind::File => return Ok(Value::Null),
            Kind::String => Value::Text(String::from_utf8_lossy(body).into_owned()),
            _ if body.is_empty() => return Ok(Value::Null),
            _ if is_json => json::from_wire(service, &payload.shape, &json::parse(body)?),
            _ => xml::value(service, &payload.shape, &xml::read(body)?),
        };
        return Ok(one(payload.name, value));
    }
    if !has_body || body.is_empty() {
        return Ok(Value::Null);
    }
    if is_json {
        return Ok(json::structure_from_wire(
            service,
            &operation.output,
            &json::parse(body)?,
        ));
    }
    let root = xml::read(body)?;
    if operation.name == "GetBucketLocation" {
        // The root is the value itself; none stands for us-east-1.
        let region = Some(root.text().trim()).filter(|text| !text.is_empty());
        return Ok(one(
            "LocationConstraint",
            region.map_or(Value::Null, Value::text),
        ));
    }
    Ok(xml::structure(service, &operation.output, &root))
}

fn from_header(shape: &Shape, text: &str) -> Value {
    match &shape.kind {
        Kind::Boolean => Value::Bool(text.eq_ignore_ascii_case("true")),
        Kind::List(_) => Value::List(
            text.split(',')
                .map(|part| Value::text(part.trim()))
                .collect(),
        ),
        kind => xml::scalar(kind, text),
    }
}
