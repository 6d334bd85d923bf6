//! Requests made of parameters, and results made of answers: one module for each protocol of AWS's.

mod json;
mod query;
mod rest;
pub(crate) mod timestamp;
mod xml;

use super::failure::Failure;
use super::table::{Operation, Protocol, Service};
use super::value::Value;
use crate::aws::session::Operation as Request;
use crate::http::Response;

/// The request that an operation sends, for parameters that are checked.
pub(crate) fn request(
    service: &Service,
    operation: &Operation,
    parameters: &Value,
) -> Result<Request, Failure> {
    match service.protocol {
        Protocol::Json => Ok(json::request(service, operation, parameters)),
        Protocol::Query | Protocol::Ec2 => Ok(query::request(service, operation, parameters)),
        Protocol::RestJson | Protocol::RestXml => rest::request(service, operation, parameters),
    }
}

/// The result in an answer, whose body is `body`.
pub(crate) fn result(
    service: &Service,
    operation: &Operation,
    response: &Response,
    body: &[u8],
) -> Result<Value, Failure> {
    match service.protocol {
        Protocol::Json => json::result(service, &operation.output, body),
        Protocol::Query | Protocol::Ec2 => {
            let root = xml::read(body)?;
            let wrapper = operation.wrapper.and_then(|wrapper| root.child(wrapper));
            Ok(xml::structure(
                service,
                &operation.output,
                wrapper.unwrap_or(&root),
            ))
        }
        Protocol::RestJson | Protocol::RestXml => rest::result(service, operation, response, body),
    }
}
