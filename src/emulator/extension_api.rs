//! The Extensions API and the Telemetry API of one sandbox: register, next event, errors, subscribe.
//!
//! They share the port of the [`runtime_api`](super::runtime_api).
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};

use super::body::read_body;
use super::exchange::new_id;
use super::failure::platform_document;
use super::refusal::{Refusal, json_response};
use super::runtime_api::{RuntimeApi, accepted};
use coshell_wire as wire;

/// Every extension gets this version when it registers.
const FUNCTION_VERSION: &str = "$LATEST";

pub(crate) fn router() -> Router<Arc<RuntimeApi>> {
    Router::new()
        .route(wire::EXTENSION_REGISTER, post(register_extension))
        .route(wire::EXTENSION_EVENT_NEXT, get(extension_event))
        .route(wire::EXTENSION_INIT_ERROR, post(extension_error))
        .route(wire::EXTENSION_EXIT_ERROR, post(extension_error))
        .route(wire::TELEMETRY, put(subscribe))
        .route(wire::LOGS, put(refuse_logs))
}

async fn register_extension(
    State(api): State<Arc<RuntimeApi>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let body = read_body(body, wire::MAX_RESPONSE_BYTES).await?;
    let name = headers.get(wire::EXTENSION_NAME);
    let name = name.and_then(|name| name.to_str().ok()).unwrap_or_default();
    // An external extension may register until the init is over, even after the bootstrap has called next.
    let is_open = api.is_init() || api.extensions.is_expected(name);
    if !is_open {
        return Err(Refusal::REGISTRATION_CLOSED);
    }
    let identifier = api.extensions.register(name, &body)?;
    let function = serde_json::json!({"functionVersion": FUNCTION_VERSION});
    let mut response = json_response(StatusCode::OK, function.to_string());
    if let Ok(identifier) = HeaderValue::from_str(&identifier) {
        response
            .headers_mut()
            .insert(wire::EXTENSION_IDENTIFIER, identifier);
    }
    Ok(response)
}

async fn extension_event(
    State(api): State<Arc<RuntimeApi>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let identifier = identifier(&headers)?;
    let on_wait = || api.update_idle();
    let event = api.extensions.next_event(identifier, on_wait).await?;
    let mut response = json_response(StatusCode::OK, event.to_string());
    if let Ok(event_id) = HeaderValue::from_str(&new_id()) {
        response
            .headers_mut()
            .insert(wire::EXTENSION_EVENT_ID, event_id);
    }
    Ok(response)
}

async fn extension_error(
    State(api): State<Arc<RuntimeApi>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    api.extensions.deactivate(identifier(&headers)?)?;
    api.update_idle();
    Ok(accepted())
}

/// Subscribes to telemetry. Only possible during the init.
async fn subscribe(
    State(api): State<Arc<RuntimeApi>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let body = read_body(body, wire::MAX_RESPONSE_BYTES).await?;
    let name = api.extensions.name_of(identifier(&headers)?)?;
    if api.is_ready() {
        return Err(Refusal::SUBSCRIPTION_CLOSED);
    }
    api.telemetry().subscribe(&name, &body)?;
    Ok((StatusCode::OK, "OK").into_response())
}

/// Answers the Logs API as AWS's emulator does. The Telemetry API has replaced it.
async fn refuse_logs() -> Response {
    let document = platform_document("Logs.NotSupported", "Logs API is not supported");
    json_response(StatusCode::ACCEPTED, document)
}

fn identifier(headers: &HeaderMap) -> Result<&str, Refusal> {
    let identifier = headers.get(wire::EXTENSION_IDENTIFIER);
    let identifier = identifier.and_then(|identifier| identifier.to_str().ok());
    identifier.ok_or(Refusal::EXTENSION_IDENTIFIER)
}
