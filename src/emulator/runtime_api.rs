//! Bootstrap's door: next, response, error; and the extension that it may register.
//!
//! An axum router over a [`Queue`] of exchanges, with the answers that Lambda's own Runtime API
//! gives.
//!
//! Bodies are limited by Lambda's rules and not by axum's (2 MB); what is too large is read to
//! its end all the same, for a client that is still writing would not read its 413.
//! Used by [`emulator`](super); paths and headers are those of [`wire`].
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{Notify, watch};

use super::exchange::{Answer, Exchange, platform_document};
use super::queue::{Queue, Refusal};
use crate::runtime_api::wire;

/// The Runtime API of one sandbox. Give it exchanges by [`push`](Self::push).
#[derive(Debug, Default)]
pub struct RuntimeApi {
    queue: Mutex<Queue>,
    pushed: Notify,
    idle: watch::Sender<bool>,
}

impl RuntimeApi {
    /// The exchange waits for the bootstrap to ask for it.
    pub fn push(&self, exchange: Exchange) {
        self.queue().push(exchange);
        self.pushed.notify_one();
    }

    /// Waits until the bootstrap has answered everything and asks for more: from then on Lambda
    /// would freeze it.
    pub async fn until_idle(&self) {
        // An error means that the sender has gone, which `self` keeps.
        let _ = self.idle.subscribe().wait_for(|idle| *idle).await;
    }

    /// The routes, to be served at `AWS_LAMBDA_RUNTIME_API`.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route(wire::NEXT, get(next))
            .route(wire::INIT_ERROR, post(init_error))
            .route(&wire::response_path("{request_id}"), post(response))
            .route(&wire::error_path("{request_id}"), post(error))
            .route(wire::EXTENSION_REGISTER, post(register_extension))
            .route(wire::EXTENSION_EVENT_NEXT, get(extension_event))
            .with_state(self)
    }

    /// Never held over an `await`; a panic elsewhere leaves the queue as good as it was.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers an exchange with `body`, as `answer` wraps it.
    async fn take_answer(
        &self,
        request_id: &str,
        headers: &HeaderMap,
        body: Body,
        answer: fn(Bytes) -> Answer,
    ) -> Result<(), Refusal> {
        let body = read_body(body, wire::MAX_RESPONSE_BYTES).await;
        let mut queue = self.queue();
        let exchange = queue.running(request_id, headers.get(wire::INVOCATION_ID))?;
        match body {
            Ok(bytes) => exchange.answer(answer(bytes)),
            Err(Refusal::TooLarge) => {
                exchange.answer(Answer::response_too_large());
                return Err(Refusal::TooLarge);
            }
            Err(refusal) => return Err(refusal),
        }
        Ok(())
    }
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Result<Response, Refusal> {
    loop {
        if let Some(exchange) = api.queue().next_exchange()? {
            api.idle.send_replace(false);
            return Ok(hand_out(exchange));
        }
        api.idle.send_replace(true);
        api.pushed.notified().await;
    }
}

async fn response(
    State(api): State<Arc<RuntimeApi>>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    api.take_answer(&request_id, &headers, body, Answer::Response)
        .await?;
    Ok(accepted())
}

async fn error(
    State(api): State<Arc<RuntimeApi>>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    api.take_answer(&request_id, &headers, body, Answer::Error)
        .await?;
    Ok(accepted())
}

async fn init_error(State(api): State<Arc<RuntimeApi>>, body: Body) -> Result<Response, Refusal> {
    let document = read_body(body, wire::MAX_RESPONSE_BYTES).await?;
    api.queue().fail_init(document)?;
    Ok(accepted())
}

/// An internal extension, which is what a bootstrap registers: it gets SIGTERM, and no events.
async fn register_extension(body: Body) -> Result<Response, Refusal> {
    read_body(body, wire::MAX_RESPONSE_BYTES).await?;
    let mut response = json(StatusCode::OK, "{}".to_owned());
    response.headers_mut().insert(
        wire::EXTENSION_IDENTIFIER,
        HeaderValue::from_static("coshell"),
    );
    Ok(response)
}

async fn extension_event() -> Response {
    std::future::pending().await
}

fn hand_out(exchange: &Exchange) -> Response {
    let mut response = exchange.event.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(wire::JSON));
    let deadline_ms = exchange.deadline_ms.to_string();
    for (name, value) in [
        (wire::REQUEST_ID, &exchange.request_id),
        (wire::DEADLINE_MS, &deadline_ms),
        (wire::INVOKED_FUNCTION_ARN, &exchange.function_arn),
        (wire::TRACE_ID, &exchange.trace_id),
        (wire::INVOCATION_ID, &exchange.invocation_id),
    ] {
        // A function name from the environment may not fit into a header: then it stays out.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

fn accepted() -> Response {
    json(StatusCode::ACCEPTED, r#"{"status":"OK"}"#.to_owned())
}

fn json(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, wire::JSON)], text).into_response()
}

/// Reads a body to its end, and keeps it if it has at most `limit_bytes`.
async fn read_body(mut body: Body, limit_bytes: usize) -> Result<Bytes, Refusal> {
    let mut kept = Vec::new();
    let mut is_too_large = false;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| Refusal::Truncated)?.into_data() else {
            continue; // trailers
        };
        is_too_large |= data.len() > limit_bytes - kept.len();
        if !is_too_large {
            kept.extend_from_slice(&data);
        }
    }
    if is_too_large {
        Err(Refusal::TooLarge)
    } else {
        Ok(kept.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let too_large = format!(
            "Exceeded maximum allowed payload size ({} bytes).",
            wire::MAX_RESPONSE_BYTES
        );
        let (status, error_type, message) = match self {
            Self::RequestId => (
                StatusCode::BAD_REQUEST,
                "InvalidRequestID",
                "Invalid request ID",
            ),
            Self::InvocationId => (
                StatusCode::BAD_REQUEST,
                "InvalidRequestID",
                "Invalid invocation ID",
            ),
            Self::State => (
                StatusCode::FORBIDDEN,
                "InvalidStateTransition",
                "State transition is not allowed",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                too_large.as_str(),
            ),
            Self::Truncated => (
                StatusCode::BAD_REQUEST,
                "TruncatedHTTPRequest",
                "HTTP request detected as truncated",
            ),
        };
        json(status, platform_document(error_type, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn body_is_kept_up_to_its_limit() {
        assert_eq!(
            read_body(Body::from("1234"), 4).await,
            Ok(Bytes::from_static(b"1234"))
        );
        assert_eq!(
            read_body(Body::from("12345"), 4).await,
            Err(Refusal::TooLarge)
        );
        assert_eq!(read_body(Body::empty(), 4).await, Ok(Bytes::new()));
    }
}
