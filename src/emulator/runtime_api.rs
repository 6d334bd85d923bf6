//! Bootstrap's door: next, response, error; the restore of SnapStart; extensions.
//!
//! An axum router over a [`Queue`] of exchanges, with the answers that Lambda's own Runtime API
//! gives.
//!
//! Used by [`sandbox`](super::sandbox); paths and headers are those of [`wire`].
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
use super::exchange::{Answer, Exchange, Failure, Piece, Stream};
use super::extensions::Extensions;
use super::faults::{Fault, Faults};
use super::logs::Log;
use super::queue::Queue;
use super::refusal::Refusal;
use super::refusal::json;
use super::telemetry::Telemetry;
use coshell_wire as wire;

/// Pieces of a streamed response that wait for the caller: then the handler has to.
const PIECES_AHEAD: usize = 16;

/// Where the bootstrap and its extensions stand.
#[derive(Debug, Default, Clone)]
pub(crate) struct Standing {
    /// The bootstrap waits for an invocation, and so do the extensions: the sandbox would be frozen.
    pub is_idle: bool,
    /// How often that has begun.
    pub idle_count: u64,
    /// The bootstrap waits for the restore, which ends the init of SnapStart.
    pub awaits_restore: bool,
    /// When it was idle first, or first waited for the restore.
    pub ready_at: Option<Instant>,
    /// The init, or the restore, has failed.
    pub failure: Option<Failure>,
    bootstrap_waits: bool,
}

/// The Runtime API of one sandbox. Give it exchanges by [`push`](Self::push).
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    queue: Mutex<Queue>,
    pushed: Notify,
    standing: watch::Sender<Standing>,
    restored: watch::Sender<bool>,
    /// The extensions of the sandbox.
    pub extensions: Extensions,
    faults: Arc<Faults>,
    log: Arc<Log>,
    capacity: usize,
    timeout: Duration,
}

impl RuntimeApi {
    /// For a bootstrap that has up to `capacity` invocations under way, each for `timeout`.
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
            pushed: Notify::new(),
            standing: watch::Sender::default(),
            restored: watch::Sender::new(false),
            extensions,
            faults,
        }
    }

    /// The exchange waits for the bootstrap to ask for it.
    pub(crate) fn push(&self, exchange: Exchange) {
        self.queue().push(exchange);
        self.pushed.notify_one();
    }

    /// An exchange that was not handed out yet, for another sandbox.
    pub(crate) fn take_back(&self, request_id: &str) -> Option<Exchange> {
        self.queue().take_back(request_id)
    }

    /// Nobody waits for this exchange any more; an answer to it is late.
    pub(crate) fn expire(&self, request_id: &str) {
        self.queue().expire(request_id);
    }

    /// Who wants to know of the sandbox.
    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.log.telemetry
    }

    /// Whether the bootstrap has not asked for an invocation yet.
    pub(crate) fn is_init(&self) -> bool {
        self.queue().is_init()
    }

    /// Whether the sandbox would be frozen now.
    pub(crate) fn is_idle(&self) -> bool {
        self.standing.borrow().is_idle
    }

    /// Whether the init has come to its end.
    pub(crate) fn is_ready(&self) -> bool {
        self.standing.borrow().ready_at.is_some()
    }

    /// Why the init, or the restore, has failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.standing.borrow().failure.clone()
    }

    /// Whether the bootstrap waits for its restore.
    pub(crate) fn awaits_restore(&self) -> bool {
        self.standing.borrow().awaits_restore
    }

    /// Waits until `is_so`.
    pub(crate) async fn until(&self, is_so: impl Fn(&Standing) -> bool) -> Standing {
        let mut watched = self.standing.subscribe();
        // An error means that the sender has gone, which `self` keeps.
        match watched.wait_for(|standing| is_so(standing)).await {
            Ok(standing) => standing.clone(),
            Err(_) => Standing::default(),
        }
    }

    /// The program of an extension has ended: before it registered, that is the end of the init.
    pub(crate) fn end_extension(&self, name: &str, status: ExitStatus) {
        if self.extensions.is_awaited(name) {
            let failure = Failure::extension_crashed(name, status);
            self.queue().fail(&failure);
            self.standing
                .send_modify(|standing| standing.failure = Some(failure));
        }
        self.extensions.end(name);
        self.extension_waits();
    }

    /// Lets a bootstrap go on that waits for its restore, or will do so.
    pub(crate) fn restore(&self) {
        self.restored.send_replace(true);
        self.standing
            .send_modify(|standing| standing.awaits_restore = false);
    }

    /// The routes, to be served at `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn router() -> Router<Arc<Self>> {
        Router::new()
            .route(wire::NEXT, get(next))
            .route(wire::INIT_ERROR, post(init_error))
            .route(&wire::response_path("{request_id}"), post(response))
            .route(&wire::error_path("{request_id}"), post(error))
            .route(wire::RESTORE_NEXT, get(restore_next))
            .route(wire::RESTORE_ERROR, post(restore_error))
    }

    /// Never held over an `await`; a panic elsewhere leaves the queue as good as it was.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bootstrap asks for an invocation; whether it gets one.
    fn bootstrap_waits(&self, waits: bool) {
        self.standing.send_if_modified(|standing| {
            let is_new = standing.bootstrap_waits != waits;
            standing.bootstrap_waits = waits;
            self.update(standing) || is_new
        });
    }

    /// An extension waits for an event, or has given up.
    pub(crate) fn extension_waits(&self) {
        self.standing
            .send_if_modified(|standing| self.update(standing));
        self.pushed.notify_one();
    }

    /// When the sandbox becomes idle, what was logged until now belongs to the invocation before: it
    /// is carried on first.
    fn update(&self, standing: &mut Standing) -> bool {
        let is_idle = standing.bootstrap_waits && self.extensions.are_waiting();
        let is_new = standing.is_idle != is_idle;
        if is_idle && is_new {
            self.log.drain();
        }
        standing.is_idle = is_idle;
        standing.idle_count += u64::from(is_idle && is_new);
        if is_idle {
            standing.ready_at.get_or_insert_with(Instant::now);
        }
        is_new
    }

    /// The bootstrap waits, and gets the exchange that waits longest if the sandbox is idle.
    fn hand_out(&self) -> Option<Response> {
        self.bootstrap_waits(true);
        let idle_count = {
            let standing = self.standing.borrow();
            standing.is_idle.then_some(standing.idle_count)
        }?;
        let mut queue = self.queue();
        let exchange = queue.hand_out(idle_count)?;
        if self.capacity == 1 {
            self.extensions.tell_of_invocation(exchange);
        }
        self.bootstrap_waits(false);
        Some(self.deliver(exchange))
    }

    fn deliver(&self, exchange: &Exchange) -> Response {
        let is_cut = self.faults.take(&[Fault::NextClosed]).is_some();
        response_of(exchange, is_cut)
    }

    /// The exchange that a post is for is answered, by `answer` or as a fault will have it.
    fn take_answer(
        &self,
        request_id: &str,
        headers: &HeaderMap,
        answer: impl FnOnce() -> Result<Answer, Refusal>,
    ) -> Result<(), Refusal> {
        let mut queue = self.queue();
        let exchange = queue.running(request_id, headers.get(wire::INVOCATION_ID))?;
        let Some(fault) = self.faults.take(&Fault::OF_ANSWER) else {
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
            Fault::AnswerMode => exchange.answer(Answer::Error(Failure::response_mode())),
            _ => {}
        }
        Err(fault.refusal())
    }
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Result<Response, Refusal> {
    if let Some(fault) = api.faults.take(&[Fault::Next403, Fault::Next500]) {
        return Err(fault.refusal());
    }
    if let Some(exchange) = api.queue().ask()? {
        return Ok(api.deliver(exchange));
    }
    loop {
        if let Some(response) = api.hand_out() {
            return Ok(response);
        }
        api.pushed.notified().await;
        api.queue().ask()?;
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
            api.take_answer(&request_id, &headers, || {
                Ok(Answer::Error(Failure::response_mode()))
            })?;
            Err(Refusal::RESPONSE_MODE)
        }
        None => {
            let body = read_body(body, wire::MAX_RESPONSE_BYTES).await;
            if body == Err(Refusal::TOO_LARGE) {
                api.take_answer(&request_id, &headers, || {
                    Ok(Answer::Error(Failure::response_too_large()))
                })?;
                return Err(Refusal::TOO_LARGE);
            }
            api.take_answer(&request_id, &headers, || body.map(Answer::Response))?;
            Ok(accepted())
        }
    }
}

/// Passes a streamed response on as it comes.
async fn stream(
    api: &RuntimeApi,
    request_id: &str,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<Response, Refusal> {
    let (pieces, receiver) = mpsc::channel(PIECES_AHEAD);
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|name| name.to_str().ok());
    let content_type = content_type
        .unwrap_or("application/octet-stream")
        .to_owned();
    api.take_answer(request_id, headers, || {
        Ok(Answer::Stream(Stream {
            content_type,
            pieces: receiver,
        }))
    })?;
    let mut failure = None;
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| Refusal::TRUNCATED)?.into_data() {
            // A caller that has gone does not end the handler.
            Ok(data) => drop(pieces.send(Piece::Data(data)).await),
            Err(other) => {
                failure = other
                    .into_trailers()
                    .ok()
                    .and_then(|trailers| told(&trailers));
            }
        }
    }
    let _ = pieces.send(Piece::End(failure)).await;
    Ok(accepted())
}

/// The failure that the trailers of a streamed response tell of.
fn told(trailers: &HeaderMap) -> Option<Failure> {
    let error_type = trailers.get(wire::ERROR_TYPE)?.to_str().ok();
    let document = trailers.get(wire::ERROR_BODY).map(HeaderValue::as_bytes);
    let document = BASE64_STANDARD.decode(document.unwrap_or_default());
    Some(Failure::of_runtime(
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
    api.take_answer(&request_id, &headers, || {
        Ok(Answer::Error(failure(&headers, body?)))
    })?;
    Ok(accepted())
}

fn failure(headers: &HeaderMap, document: Bytes) -> Failure {
    let error_type = headers.get(wire::ERROR_TYPE);
    Failure::of_runtime(error_type.and_then(|name| name.to_str().ok()), document)
}

async fn init_error(
    State(api): State<Arc<RuntimeApi>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let failure = failure(&headers, read_body(body, wire::MAX_RESPONSE_BYTES).await?);
    api.queue().fail_init(&failure)?;
    api.standing
        .send_modify(|standing| standing.failure = Some(failure));
    Ok(accepted())
}

async fn restore_next(State(api): State<Arc<RuntimeApi>>) -> Result<Response, Refusal> {
    if !api.queue().is_init() {
        return Err(Refusal::STATE);
    }
    api.standing.send_modify(|standing| {
        standing.awaits_restore = !*api.restored.borrow();
        standing.ready_at.get_or_insert_with(Instant::now);
    });
    let mut restored = api.restored.subscribe();
    // An error means that the sender has gone, which `api` keeps.
    let _ = restored.wait_for(|is_restored| *is_restored).await;
    Ok(StatusCode::OK.into_response())
}

async fn restore_error(
    State(api): State<Arc<RuntimeApi>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let failure = failure(&headers, read_body(body, wire::MAX_RESPONSE_BYTES).await?);
    if !*api.restored.borrow() {
        return Err(Refusal::STATE);
    }
    api.queue().fail_init(&failure)?;
    api.standing
        .send_modify(|standing| standing.failure = Some(failure));
    Ok(accepted())
}

fn response_of(exchange: &Exchange, is_cut: bool) -> Response {
    let mut response = if is_cut {
        cut_off(&exchange.event.body)
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
        // A function name from the environment may not fit into a header: then it stays out.
        if let Some(Ok(value)) = value.map(|value| HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// An event of which half arrives before the connection is closed.
fn cut_off(event: &Bytes) -> Response {
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
    let half = event.slice(..event.len() / 2);
    tokio::spawn(async move {
        let _ = sender.send_data(half).await;
        sender.abort(io::ErrorKind::ConnectionAborted.into());
    });
    Body::new(body).into_response()
}

/// What a post that is taken is told.
pub(crate) fn accepted() -> Response {
    json(StatusCode::ACCEPTED, r#"{"status":"OK"}"#.to_owned())
}
