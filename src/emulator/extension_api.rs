//! The extensions' door: register, next event, errors.
//!
//! It is the same port as [`runtime_api`](super::runtime_api)'s, and the same sandbox.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};

use super::body::read_body;
use super::exchange::{new_id, platform_document};
use super::refusal::Refusal;
use super::refusal::json;
use super::runtime_api::{RuntimeApi, accepted};
use coshell_wire as wire;

/// What an extension is told of the function; nothing is made of it here.
const FUNCTION_VERSION: &str = "$LATEST";

/// The routes of the extensions.
pub(crate) fn router() -> Router<Arc<RuntimeApi>> {
    Router::new()
        .route(wire::EXTENSION_REGISTER, post(register_extension))
        .route(wire::EXTENSION_EVENT_NEXT, get(extension_event))
        .route(wire::EXTENSION_INIT_ERROR, post(extension_error))
        .route(wire::EXTENSION_EXIT_ERROR, post(extension_error))
        .route(wire::TELEMETRY, put(subscribe))
        .route(wire::LOGS, put(no_logs))
}

async fn register_extension(
    State(api): State<Arc<RuntimeApi>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let body = read_body(body, wire::MAX_RESPONSE_BYTES).await?;
    let name = headers.get(wire::EXTENSION_NAME);
    let name = name.and_then(|name| name.to_str().ok()).unwrap_or_default();
    // A program has until the end of the init, whatever the bootstrap does meanwhile.
    let is_open = api.is_init() || api.extensions.is_awaited(name);
    if !is_open {
        return Err(Refusal::REGISTRATION_CLOSED);
    }
    let identifier = api.extensions.register(name, &body)?;
    let function = serde_json::json!({"functionVersion": FUNCTION_VERSION});
    let mut response = json(StatusCode::OK, function.to_string());
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
    let waits = || api.extension_waits();
    let event = api.extensions.next_event(identifier, waits).await?;
    let mut response = json(StatusCode::OK, event.to_string());
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
    api.extensions.retire(identifier(&headers)?)?;
    api.extension_waits();
    Ok(accepted())
}

/// May be done during the init alone.
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

/// As in AWS's emulator; the Telemetry API has taken its place.
async fn no_logs() -> Response {
    let document = platform_document("Logs.NotSupported", "Logs API is not supported");
    json(StatusCode::ACCEPTED, document)
}

fn identifier(headers: &HeaderMap) -> Result<&str, Refusal> {
    let identifier = headers.get(wire::EXTENSION_IDENTIFIER);
    let identifier = identifier.and_then(|identifier| identifier.to_str().ok());
    identifier.ok_or(Refusal::EXTENSION_IDENTIFIER)
}
