//! The Runtime API of one sandbox: *next*, response, error, and the restore of SnapStart.
//!
//! An axum router over a [`Queue`]. It also keeps the [`RuntimeStatus`], from which the rest of the emulator learns
//! when the bootstrap is ready, idle, or has failed. [`extension_api`](super::extension_api) adds the routes of
//! extensions.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use tokio::sync::{Notify, mpsc, watch};

use super::body::read_body;
use super::exchange::{Answer, Exchange, Piece, Stream};
use super::extensions::Extensions;
use super::failure::Failure;
use super::faults::{Fault, Faults};
use super::logs::Log;
use super::queue::Queue;
use super::refusal::{Refusal, json_response};
use super::telemetry::Telemetry;
use coshell_wire as wire;

/// How many pieces of a streamed response may wait for a slow caller. After that the handler has to wait.
const PIECE_BUFFER: usize = 16;

/// What the bootstrap and its extensions are doing.
#[derive(Debug, Default, Clone)]
pub(crate) struct RuntimeStatus {
    /// The bootstrap and all extensions wait for their next event: Lambda would freeze the sandbox.
    pub is_idle: bool,
    /// How often the sandbox has become idle.
    pub idle_count: u64,
    /// The bootstrap waits for the restore. This ends the init of SnapStart.
    pub awaits_restore: bool,
    /// When the init was over: the sandbox became idle, or began to wait for the restore.
    pub ready_at: Option<Instant>,
    /// Why the init or the restore failed.
    pub failure: Option<Failure>,
    is_bootstrap_waiting: bool,
}

/// The Runtime API of one sandbox.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    queue: Mutex<Queue>,
    /// Wakes a call of *next*: an exchange came, or an extension began to wait.
    next_may_continue: Notify,
    status: watch::Sender<RuntimeStatus>,
    is_restored: watch::Sender<bool>,
    pub extensions: Extensions,
    faults: Arc<Faults>,
    log: Arc<Log>,
    capacity: usize,
    timeout: Duration,
}

impl RuntimeApi {
    /// For a bootstrap that runs up to `capacity` invocations at a time.
    pub(crate) fn new(
        capacity: usize,
        timeout: Duration,
        extensions: Extensions,
        faults: Arc<Faults>,
        log: Arc<Log>,
    ) -> Self {
        Self {
            capacity,
            log,
            timeout,
            queue: Mutex::new(Queue::new(capacity)),
            next_may_continue: Notify::new(),
            status: watch::Sender::default(),
            is_restored: watch::Sender::new(false),
            extensions,
            faults,
        }
    }

    /// Queues an exchange until the bootstrap calls *next*.
    pub(crate) fn push(&self, exchange: Exchange) {
        self.lock_queue().push(exchange);
        self.next_may_continue.notify_one();
    }

    /// Takes an exchange out that has not been delivered yet, for another sandbox.
    pub(crate) fn withdraw(&self, request_id: &str) -> Option<Exchange> {
        self.lock_queue().withdraw(request_id)
    }

    /// Forgets an exchange whose caller no longer waits. An answer to it comes too late.
    pub(crate) fn expire(&self, request_id: &str) {
        self.lock_queue().expire(request_id);
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.log.telemetry
    }

    /// Whether the bootstrap has not called *next* yet.
    pub(crate) fn is_init(&self) -> bool {
        self.lock_queue().is_init()
    }

    /// Whether Lambda would freeze the sandbox now.
    pub(crate) fn is_idle(&self) -> bool {
        self.status.borrow().is_idle
    }

    /// Whether the init is over.
    pub(crate) fn is_ready(&self) -> bool {
        self.status.borrow().ready_at.is_some()
    }

    /// Why the init or the restore failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.status.borrow().failure.clone()
    }

    pub(crate) fn awaits_restore(&self) -> bool {
        self.status.borrow().awaits_restore
    }

    /// Waits until the status meets `condition`.
    pub(crate) async fn wait_until(
        &self,
        condition: impl Fn(&RuntimeStatus) -> bool,
    ) -> RuntimeStatus {
        let mut status = self.status.subscribe();
        match status.wait_for(|status| condition(status)).await {
            Ok(status) => status.clone(),
            // Cannot happen: `self` keeps the sender.
            Err(_) => RuntimeStatus::default(),
        }
    }

    /// Notes that the program of an extension has exited. If it had not registered, the init fails.
    pub(crate) fn record_extension_exit(&self, name: &str, status: ExitStatus) {
        if self.extensions.is_expected(name) {
            let failure = Failure::extension_crashed(name, status);
            self.lock_queue().fail(&failure);
            self.status
                .send_modify(|status| status.failure = Some(failure));
        }
        self.extensions.record_exit(name);
        self.update_idle();
    }

    /// Lets the bootstrap continue that waits for its restore, now or later.
    pub(crate) fn restore(&self) {
        self.is_restored.send_replace(true);
        self.status
            .send_modify(|status| status.awaits_restore = false);
    }

    /// The routes to serve at `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn router() -> Router<Arc<Self>> {
        Router::new()
            .route(wire::NEXT, get(next))
            .route(wire::INIT_ERROR, post(init_error))
            .route(&wire::response_path("{request_id}"), post(response))
            .route(&wire::error_path("{request_id}"), post(error))
            .route(wire::RESTORE_NEXT, get(restore_next))
            .route(wire::RESTORE_ERROR, post(restore_error))
    }

    /// Never hold the guard over an `await`.
    fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_bootstrap_waiting(&self, is_waiting: bool) {
        self.status.send_if_modified(|status| {
            let has_changed = status.is_bootstrap_waiting != is_waiting;
            status.is_bootstrap_waiting = is_waiting;
            self.update(status) || has_changed
        });
    }

    /// Call this when an extension has begun to wait for an event, or has ended.
    pub(crate) fn update_idle(&self) {
        self.status.send_if_modified(|status| self.update(status));
        self.next_may_continue.notify_one();
    }

    /// True if `is_idle` has changed. When the sandbox becomes idle, the log so far belongs to the last invocation, so
    /// it is forwarded first.
    fn update(&self, status: &mut RuntimeStatus) -> bool {
        let is_idle = status.is_bootstrap_waiting && self.extensions.are_waiting();
        let has_changed = status.is_idle != is_idle;
        if is_idle && has_changed {
            self.log.drain();
        }
        status.is_idle = is_idle;
        status.idle_count += u64::from(is_idle && has_changed);
        if is_idle {
            status.ready_at.get_or_insert_with(Instant::now);
        }
        has_changed
    }

    /// Delivers the exchange that has waited longest, if there is one and the sandbox is idle. The bootstrap counts as
    /// waiting from now until it gets one.
    fn try_deliver(&self) -> Option<Response> {
        self.set_bootstrap_waiting(true);
        let idle_count = {
            let status = self.status.borrow();
            status.is_idle.then_some(status.idle_count)
        }?;
        let mut queue = self.lock_queue();
        let exchange = queue.deliver_next(idle_count)?;
        if self.capacity == 1 {
            self.extensions.send_invoke(exchange);
        }
        self.set_bootstrap_waiting(false);
        Some(self.event_response(exchange))
    }

    fn event_response(&self, exchange: &Exchange) -> Response {
        let is_truncated = self.faults.take(&[Fault::NextClosed]).is_some();
        build_event_response(exchange, is_truncated)
    }

    /// Answers the exchange that a POST is for: with `answer`, or as the next planned fault has it.
    fn accept_answer(
        &self,
        request_id: &str,
        headers: &HeaderMap,
        answer: impl FnOnce() -> Result<Answer, Refusal>,
    ) -> Result<(), Refusal> {
        let mut queue = self.lock_queue();
        let exchange = queue.find_running(request_id, headers.get(wire::INVOCATION_ID))?;
        let Some(fault) = self.faults.take(&Fault::ANSWER_FAULTS) else {
            exchange.answer(answer()?);
            return Ok(());
        };
        match fault {
            Fault::AnswerTwice => exchange.answer(answer()?),
            Fault::AnswerLate => {
                let failure = Failure::timed_out(request_id, self.timeout);
                exchange.answer(Answer::Error(failure));
            }
            Fault::AnswerTooLarge => exchange.answer(Answer::Error(Failure::response_too_large())),
            Fault::AnswerMode => exchange.answer(Answer::Error(Failure::invalid_response_mode())),
            _ => {}
        }
        Err(fault.refusal())
    }
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Result<Response, Refusal> {
    if let Some(fault) = api.faults.take(&[Fault::Next403, Fault::Next500]) {
        return Err(fault.refusal());
    }
    if let Some(exchange) = api.lock_queue().begin_next()? {
        return Ok(api.event_response(exchange));
    }
    loop {
        if let Some(response) = api.try_deliver() {
            return Ok(response);
        }
        api.next_may_continue.notified().await;
        api.lock_queue().begin_next()?;
    }
}

async fn response(
    State(api): State<Arc<RuntimeApi>>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    match headers.get(wire::RESPONSE_MODE) {
        Some(mode) if mode == wire::STREAMING => stream(&api, &request_id, &headers, body).await,
        Some(_) => {
            api.accept_answer(&request_id, &headers, || {
                Ok(Answer::Error(Failure::invalid_response_mode()))
            })?;
            Err(Refusal::RESPONSE_MODE)
        }
        None => {
            let body = read_body(body, wire::MAX_RESPONSE_BYTES).await;
            if body == Err(Refusal::TOO_LARGE) {
                api.accept_answer(&request_id, &headers, || {
                    Ok(Answer::Error(Failure::response_too_large()))
                })?;
                return Err(Refusal::TOO_LARGE);
            }
            api.accept_answer(&request_id, &headers, || body.map(Answer::Response))?;
            Ok(accepted())
        }
    }
}

/// Forwards a streamed response as it comes.
async fn stream(
    api: &RuntimeApi,
    request_id: &str,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<Response, Refusal> {
    let (pieces, receiver) = mpsc::channel(PIECE_BUFFER);
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|name| name.to_str().ok());
    let content_type = content_type
        .unwrap_or("application/octet-stream")
        .to_owned();
    api.accept_answer(request_id, headers, || {
        Ok(Answer::Stream(Stream {
            content_type,
            pieces: receiver,
        }))
    })?;
    let mut failure = None;
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| Refusal::TRUNCATED)?.into_data() {
            // If the caller has gone, the handler still runs to its end.
            Ok(data) => drop(pieces.send(Piece::Data(data)).await),
            Err(other) => {
                failure = other
                    .into_trailers()
                    .ok()
                    .and_then(|trailers| failure_in_trailers(&trailers));
            }
        }
    }
    let _ = pieces.send(Piece::End(failure)).await;
    Ok(accepted())
}

/// The failure that a handler reports after the beginning of a streamed response.
fn failure_in_trailers(trailers: &HeaderMap) -> Option<Failure> {
    let error_type = trailers.get(wire::ERROR_TYPE)?.to_str().ok();
    let document = trailers.get(wire::ERROR_BODY).map(HeaderValue::as_bytes);
    let document = BASE64_STANDARD.decode(document.unwrap_or_default());
    Some(Failure::from_runtime(
        error_type,
        document.unwrap_or_default().into(),
    ))
}

async fn error(
    State(api): State<Arc<RuntimeApi>>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let body = read_body(body, wire::MAX_RESPONSE_BYTES).await;
    api.accept_answer(&request_id, &headers, || {
        Ok(Answer::Error(parse_failure(&headers, body?)))
    })?;
    Ok(accepted())
}

fn parse_failure(headers: &HeaderMap, document: Bytes) -> Failure {
    let error_type = headers.get(wire::ERROR_TYPE);
    Failure::from_runtime(error_type.and_then(|name| name.to_str().ok()), document)
}

async fn init_error(
    State(api): State<Arc<RuntimeApi>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let failure = parse_failure(&headers, read_body(body, wire::MAX_RESPONSE_BYTES).await?);
    api.lock_queue().fail_init(&failure)?;
    api.status
        .send_modify(|status| status.failure = Some(failure));
    Ok(accepted())
}

async fn restore_next(State(api): State<Arc<RuntimeApi>>) -> Result<Response, Refusal> {
    if !api.lock_queue().is_init() {
        return Err(Refusal::STATE);
    }
    api.status.send_modify(|status| {
        status.awaits_restore = !*api.is_restored.borrow();
        status.ready_at.get_or_insert_with(Instant::now);
    });
    let mut is_restored = api.is_restored.subscribe();
    // Cannot fail: `api` keeps the sender.
    let _ = is_restored.wait_for(|is_restored| *is_restored).await;
    Ok(StatusCode::OK.into_response())
}

async fn restore_error(
    State(api): State<Arc<RuntimeApi>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let failure = parse_failure(&headers, read_body(body, wire::MAX_RESPONSE_BYTES).await?);
    if !*api.is_restored.borrow() {
        return Err(Refusal::STATE);
    }
    api.lock_queue().fail_init(&failure)?;
    api.status
        .send_modify(|status| status.failure = Some(failure));
    Ok(accepted())
}

fn build_event_response(exchange: &Exchange, is_truncated: bool) -> Response {
    let mut response = if is_truncated {
        truncated_response(&exchange.event.body)
    } else {
        exchange.event.body.clone().into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(wire::JSON));
    let deadline_ms = exchange.deadline_ms.to_string();
    for (name, value) in [
        (wire::REQUEST_ID, Some(&exchange.request_id)),
        (wire::DEADLINE_MS, Some(&deadline_ms)),
        (wire::INVOKED_FUNCTION_ARN, Some(&exchange.function_arn)),
        (wire::TRACE_ID, Some(&exchange.trace_id)),
        (wire::INVOCATION_ID, Some(&exchange.invocation_id)),
        (wire::CLIENT_CONTEXT, exchange.event.client_context.as_ref()),
        (wire::TENANT_ID, exchange.event.tenant_id.as_ref()),
    ] {
        // A value from the environment may contain bytes that no header can have. Then the header is left out.
        if let Some(Ok(value)) = value.map(|value| HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// Sends half of an event, and then closes the connection.
fn truncated_response(event: &Bytes) -> Response {
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
    let half = event.slice(..event.len() / 2);
    tokio::spawn(async move {
        let _ = sender.send_data(half).await;
        sender.abort(io::ErrorKind::ConnectionAborted.into());
    });
    Body::new(body).into_response()
}

/// The response to a POST that was accepted.
pub(crate) fn accepted() -> Response {
    json_response(StatusCode::ACCEPTED, r#"{"status":"OK"}"#.to_owned())
}
