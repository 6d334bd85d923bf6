//! The Invoke API: `POST .../invocations`, for the AWS CLI, the SDKs and curl.
//!
//! It accepts any function name, and requests with any signature or none. Sources:
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>,
//! <https://docs.aws.amazon.com/lambda/latest/api/API_InvokeWithResponseStream.html>.

use std::io;
use std::sync::Arc;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue as EventHeader, Message};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::channel::{Channel, Sender};

use super::body::read_body;
use super::exchange::{Answer, Event, Piece, Stream, new_id};
use super::failure::Failure;
use super::host::is_cross_origin;
use super::http_answer::no_body;
use super::invocation;
use super::logs::eprint;
use super::qualifier::find_qualifier;
use super::refusal::{self, json_response};
use super::running::Reply;
use super::service::Service;
use coshell_wire::JSON;

/// `POST`: one invocation. The answer comes as a whole.
const INVOCATIONS: &str = "/2015-03-31/functions/{name}/invocations";
/// `POST`: one invocation. The answer comes as the function writes it.
const STREAMING_INVOCATIONS: &str = "/2021-11-15/functions/{name}/response-streaming-invocations";

/// The largest client context, as base64: <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>.
const MAX_CLIENT_CONTEXT_BYTES: usize = 3583;
/// The largest event of invocation type `RequestResponse`: 6 MiB.
pub const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;
/// The largest event of invocation type `Event`: 1 MiB.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_ASYNCHRONOUS_EVENT_BYTES: usize = 1024 * 1024;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");
const INVOCATION_TYPE: &str = "x-amz-invocation-type";
const LOG_TYPE: &str = "x-amz-log-type";
const CLIENT_CONTEXT: &str = "x-amz-client-context";
const TENANT_ID: &str = "x-amz-tenant-id";
pub(crate) const TRACE_ID: &str = "x-amzn-trace-id";

pub fn router() -> Router<Arc<Service>> {
    Router::new()
        // Any method, as in AWS's emulator.
        .route(INVOCATIONS, any(invoke))
        .route(STREAMING_INVOCATIONS, post(invoke_with_response_stream))
}

/// A path that works. Any other name of the function works too.
const EXAMPLE: &str = "/2015-03-31/functions/function/invocations";

/// Answers requests that no route matches.
#[expect(clippy::unused_async, reason = "an axum handler is a future")]
pub async fn not_found(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    let similarity = strsim::normalized_damerau_levenshtein(path, EXAMPLE);
    let message = if similarity > 0.5 {
        format!("there is no path {path}; did you mean {EXAMPLE}?")
    } else {
        format!(
            "there is no path {path}; invoke the function at {EXAMPLE}, or use --function-url to serve every path"
        )
    };
    eprint(format_args!(
        "cannot answer {method} {path:?}: there is no such path"
    ));
    let error = CallError {
        status: StatusCode::NOT_FOUND,
        error_type: "ResourceNotFoundException",
        message,
    };
    error.into_response()
}

/// Why a call is refused, in the form in which Lambda reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CallError {
    status: StatusCode,
    error_type: &'static str,
    message: String,
}

impl CallError {
    fn invalid_parameter(message: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error_type: "InvalidParameterValueException",
            message,
        }
    }

    fn invalid_content(message: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error_type: "InvalidRequestContentException",
            message,
        }
    }

    fn too_large(kind: &str, limit: usize) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            error_type: "RequestTooLargeException",
            message: format!(
                "payload is too large for the {kind} invocation type (limit {limit} bytes)"
            ),
        }
    }

    fn too_many_requests() -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            error_type: "TooManyRequestsException",
            message: "Rate Exceeded.".to_owned(),
        }
    }

    fn shutting_down() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error_type: "ServiceException",
            message: "the emulator is shutting down".to_owned(),
        }
    }

    fn cross_origin() -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            error_type: "AccessDeniedException",
            message: "web pages of other origins may not invoke the function".to_owned(),
        }
    }
}

impl IntoResponse for CallError {
    fn into_response(self) -> Response {
        let mut document = serde_json::json!({"Type": "User", "message": self.message});
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            document["Reason"] = "ConcurrentInvocationLimitExceeded".into();
        }
        let mut response = json_response(self.status, document.to_string());
        let headers = response.headers_mut();
        headers.insert(ERROR_TYPE, HeaderValue::from_static(self.error_type));
        insert_header(headers, REQUEST_ID, &new_id());
        response
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InvocationType {
    RequestResponse,
    Event,
    DryRun,
}

impl InvocationType {
    fn from_headers(headers: &HeaderMap) -> Result<Self, CallError> {
        match header_text(headers, INVOCATION_TYPE) {
            None | Some("RequestResponse") => Ok(Self::RequestResponse),
            Some("Event") => Ok(Self::Event),
            Some("DryRun") => Ok(Self::DryRun),
            Some(other) => Err(CallError::invalid_parameter(format!(
                "cannot use invocation type {other}: expected RequestResponse, Event or DryRun"
            ))),
        }
    }
}

async fn invoke(
    State(service): State<Arc<Service>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request_id = new_id();
    match try_invoke(&service, &request_id, &method, &uri, &headers, body).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn try_invoke(
    service: &Arc<Service>,
    request_id: &str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, CallError> {
    let (kind, event) = read_event(uri, headers, body).await?;
    let pool = &service.pool;
    match kind {
        InvocationType::DryRun => {
            let mut response = (StatusCode::NO_CONTENT, no_body()).into_response();
            insert_header(response.headers_mut(), REQUEST_ID, request_id);
            return Ok(response);
        }
        InvocationType::Event => {
            service.events.queue(request_id.to_owned(), event);
            let mut response = StatusCode::ACCEPTED.into_response();
            insert_header(response.headers_mut(), REQUEST_ID, request_id);
            return Ok(response);
        }
        InvocationType::RequestResponse => {}
    }
    let permit = pool.permits.acquire().await;
    let permit = permit.map_err(|_| CallError::too_many_requests())?;
    let reply = invocation::start(pool, permit, request_id.to_owned(), event).await;
    let Reply { answer, report } = reply.map_err(|_| CallError::shutting_down())?;
    let (body, failure) = match answer.whole().await {
        Ok(body) => (body, None),
        Err(failure) => (failure.document.clone(), Some(failure)),
    };
    let wants_log = header_text(headers, LOG_TYPE) == Some("Tail");
    let mut response = if method == Method::HEAD {
        Body::empty().into_response()
    } else {
        body.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    insert_header(headers, REQUEST_ID, request_id);
    insert_header(headers, EXECUTED_VERSION, &pool.function().version);
    if failure.is_some() {
        headers.insert(FUNCTION_ERROR, HeaderValue::from_static("Unhandled"));
    }
    if wants_log {
        let report = report.await.unwrap_or_default();
        insert_header(
            headers,
            LOG_RESULT,
            &BASE64_STANDARD.encode(report.log_tail),
        );
    }
    Ok(response)
}

/// Reads the event from the body, the headers and the query.
async fn read_event(
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<(InvocationType, Event), CallError> {
    if is_cross_origin(headers) {
        return Err(CallError::cross_origin());
    }
    let kind = InvocationType::from_headers(headers)?;
    let client_context = match header_text(headers, CLIENT_CONTEXT) {
        Some(encoded) if encoded.len() > MAX_CLIENT_CONTEXT_BYTES => {
            return Err(CallError::invalid_content(format!(
                "the client context has {} bytes of base64; Lambda accepts at most {MAX_CLIENT_CONTEXT_BYTES}",
                encoded.len()
            )));
        }
        Some(encoded) => Some(decode_client_context(encoded)?),
        None => None,
    };
    let (limit, name) = match kind {
        InvocationType::Event => (MAX_ASYNCHRONOUS_EVENT_BYTES, "Event"),
        _ => (MAX_EVENT_BYTES, "RequestResponse"),
    };
    let body = read_body(body, limit).await;
    let body = body.map_err(|refusal| match refusal {
        refusal::Refusal::TOO_LARGE => CallError::too_large(name, limit),
        _ => CallError::invalid_content("the body ended too soon".to_owned()),
    })?;
    let event = Event {
        body,
        client_context,
        tenant_id: header_text(headers, TENANT_ID).map(ToOwned::to_owned),
        trace_id: header_text(headers, TRACE_ID).map(ToOwned::to_owned),
        qualifier: find_qualifier(uri),
    };
    Ok((kind, event))
}

/// Decodes the base64 of the client context. The Runtime API passes it on as plain text in a header, so it must fit
/// into one.
fn decode_client_context(encoded: &str) -> Result<String, CallError> {
    let decoded = BASE64_STANDARD.decode(encoded).ok();
    let text = decoded.and_then(|decoded| String::from_utf8(decoded).ok());
    let text = text.filter(|text| HeaderValue::from_str(text).is_ok());
    text.ok_or_else(|| {
        CallError::invalid_content(
            "Client context must be a valid Base64-encoded JSON object.".to_owned(),
        )
    })
}

async fn invoke_with_response_stream(
    State(service): State<Arc<Service>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match try_invoke_with_response_stream(&service, &uri, &headers, body).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn try_invoke_with_response_stream(
    service: &Service,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, CallError> {
    let (kind, event) = read_event(uri, headers, body).await?;
    let request_id = new_id();
    let pool = &service.pool;
    if kind == InvocationType::DryRun {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let permit = pool.permits.acquire().await;
    let permit = permit.map_err(|_| CallError::too_many_requests())?;
    let reply = invocation::start(pool, permit, request_id.clone(), event).await;
    let reply = reply.map_err(|_| CallError::shutting_down())?;
    let content_type = match &reply.answer {
        Answer::Stream(stream) => stream.content_type.clone(),
        _ => JSON.to_owned(),
    };
    let wants_log = header_text(headers, LOG_TYPE) == Some("Tail");
    let (sender, body) = Channel::new(1);
    tokio::spawn(send_messages(reply, wants_log, sender));
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    let event_stream = HeaderValue::from_static("application/vnd.amazon.eventstream");
    headers.insert(CONTENT_TYPE, event_stream);
    insert_header(headers, REQUEST_ID, &request_id);
    insert_header(headers, EXECUTED_VERSION, &pool.function().version);
    let name = HeaderName::from_static("x-amzn-remapped-content-type");
    insert_header(headers, name, &content_type);
    Ok(response)
}

/// Sends the answer as messages: a `PayloadChunk` for each part, then `InvokeComplete`.
async fn send_messages(reply: Reply, wants_log: bool, mut sender: Sender<Bytes, io::Error>) {
    let failure = match reply.answer {
        Answer::Response(response) => {
            let _ = sender
                .send_data(encode_message("PayloadChunk", None, response))
                .await;
            None
        }
        Answer::Error(failure) => Some(failure),
        Answer::Stream(stream) => send_pieces(stream, &mut sender).await,
    };
    let mut complete = serde_json::Map::new();
    if let Some(failure) = failure {
        let details = String::from_utf8_lossy(&failure.document).into_owned();
        complete.insert("ErrorCode".to_owned(), failure.error_type.into());
        complete.insert("ErrorDetails".to_owned(), details.into());
    }
    if wants_log {
        let report = reply.report.await.unwrap_or_default();
        let log = BASE64_STANDARD.encode(report.log_tail);
        complete.insert("LogResult".to_owned(), log.into());
    }
    let complete = serde_json::Value::Object(complete).to_string();
    let complete = encode_message("InvokeComplete", Some(JSON), complete.into());
    // An error means that the caller has gone.
    let _ = sender.send_data(complete).await;
}

async fn send_pieces(mut stream: Stream, sender: &mut Sender<Bytes, io::Error>) -> Option<Failure> {
    while let Some(piece) = stream.pieces.recv().await {
        match piece {
            Piece::Data(data) => {
                // An error means that the caller has gone. The function goes on all the same.
                let chunk = encode_message("PayloadChunk", None, data);
                let _ = sender.send_data(chunk).await;
            }
            Piece::End(failure) => return failure,
        }
    }
    Some(Failure::truncated())
}

/// Encodes one message of `application/vnd.amazon.eventstream`.
fn encode_message(
    event_type: &'static str,
    content_type: Option<&'static str>,
    payload: Bytes,
) -> Bytes {
    let content_type = content_type.unwrap_or("application/octet-stream");
    let text = |value: &'static str| EventHeader::String(value.into());
    let message = Message::new(payload)
        .add_header(Header::new(":event-type", text(event_type)))
        .add_header(Header::new(":content-type", text(content_type)))
        .add_header(Header::new(":message-type", text("event")));
    let mut bytes = Vec::new();
    // Fails only for more than 4 GiB.
    let _ = write_message_to(&message, &mut bytes);
    bytes.into()
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Inserts a header, unless its value has bytes that a header cannot have.
fn insert_header(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[test]
    fn invocation_type_is_one_of_three() {
        let parse = |value| InvocationType::from_headers(&headers(&[(INVOCATION_TYPE, value)]));
        assert_eq!(parse("Event"), Ok(InvocationType::Event));
        assert_eq!(parse("DryRun"), Ok(InvocationType::DryRun));
        assert_eq!(
            parse("RequestResponse"),
            Ok(InvocationType::RequestResponse)
        );
        assert_eq!(
            InvocationType::from_headers(&HeaderMap::new()),
            Ok(InvocationType::RequestResponse)
        );
        assert!(parse("event").is_err());
    }

    #[test]
    fn client_context_is_decoded_or_refused() {
        assert_eq!(
            decode_client_context("eyJhIjoxfQ=="),
            Ok(r#"{"a":1}"#.to_owned())
        );
        for wrong in ["{}", "eyJhIjoxfQ", "/w==", "Cg=="] {
            assert!(decode_client_context(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn call_error_has_the_form_of_lambda() {
        let response = CallError::too_many_requests().into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let error_type = response.headers().get(ERROR_TYPE);
        assert!(error_type.is_some_and(|name| name == "TooManyRequestsException"));
    }
}
