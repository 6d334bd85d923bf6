//! One invocation, from its event to its report.
//!
//! ```text
//! permit -> sandbox -> START, event -> answer -> wait until frozen -> END, REPORT
//!              ^                         |
//!              \-- back to the pool -----/   unless the sandbox has ended, or is shared
//! ```
//!
//! An invocation runs in a task of its own, so it finishes even if its caller goes away. Its sandbox goes back to the
//! pool with the answer: the next event can wait in the sandbox already for the bootstrap to request it.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use super::exchange::{Answer, Delivery, Event, Exchange, Receivers, new_id};
use super::failure::Failure;
use super::init::restore;
use super::logs::eprint;
use super::permits::Permit;
use super::pool::Pool;
use super::report::{Report, init_report_line, start_line};
use super::running::{Finished, Reply, RunningInvocation};
use super::sandbox::Sandbox;
use super::{Error, Function};

/// Runs one invocation, whose timeout includes the init of a new sandbox.
///
/// # Errors
/// When the bootstrap cannot be started.
pub async fn invoke_once(pool: &Arc<Pool>, event: Event) -> Result<Reply, Error> {
    pool.start_if_none_is_idle().await?;
    let shut_down = || Error::WatchBootstrap(std::io::ErrorKind::Interrupted.into());
    let permit = pool.permits.acquire_unqueued().await;
    let permit = permit.map_err(|_| shut_down())?;
    let reply = start(pool, permit, new_id(), event).await;
    reply.map_err(|_| shut_down())
}

/// Starts an invocation. The receiver gets the reply together with the answer, or with the first bytes of a streamed
/// answer.
pub(crate) fn start(
    pool: &Arc<Pool>,
    permit: Permit,
    request_id: String,
    event: Event,
) -> oneshot::Receiver<Reply> {
    let (caller, reply) = oneshot::channel();
    tokio::spawn(run(Arc::clone(pool), permit, request_id, event, caller));
    reply
}

async fn run(
    pool: Arc<Pool>,
    permit: Permit,
    request_id: String,
    event: Event,
    caller: oneshot::Sender<Reply>,
) {
    let function = pool.function();
    let tenant = event.tenant_id.clone();
    let (mut exchange, mut receivers) =
        Exchange::open(&request_id, event, pool.arn(), function.timeout);
    let (sandbox, delivery) = loop {
        let sandbox = match pool.lend(tenant.as_deref()).await {
            Ok(sandbox) => sandbox,
            Err(error) => return report_start_failure(&request_id, &error, caller),
        };
        match hand_over(function, &sandbox, exchange, &mut receivers).await {
            Ok(delivery) => break (sandbox, delivery),
            Err(returned) => exchange = *returned,
        }
        pool.remove(&sandbox);
    };
    let running = RunningInvocation {
        function,
        sandbox: &sandbox,
        begun_at: delivery.at,
        request_id: &request_id,
    };
    let is_single = function.scale.capacity() == 1;
    write_start(function, &sandbox, &request_id, is_single);
    // Measure the memory now: a bootstrap that exits during this invocation cannot be measured afterwards.
    sandbox.memory.sample_if_never();
    let first = running.wait_for_first(&mut receivers.answer).await;
    let (report, report_receiver) = oneshot::channel();
    let stop_reason = running.answer_caller(first, caller, report_receiver).await;
    let mut permit = Some(permit);
    let was_returned = is_single && stop_reason.is_none() && sandbox.api.failure().is_none();
    if was_returned {
        pool.give_back(Arc::clone(&sandbox));
        permit = None;
    }
    // If the sandbox was not ready, the time began to run before the delivery: only now is its idle count known.
    let delivery = receivers.delivery.try_recv().unwrap_or(delivery);
    let finished = running
        .wait_until_frozen(delivery.idle_count, stop_reason)
        .await;
    let has_failed = finished.stop_reason.is_some();
    // An error means that the caller does not want the report.
    let _ = report.send(write_report(function, &sandbox, &request_id, finished));
    if (is_single && has_failed) || sandbox.has_exited() {
        pool.remove_ended(&sandbox, has_failed);
        sandbox.kill().await;
    } else if !was_returned {
        pool.give_back(sandbox);
    }
    drop(permit);
}

/// Gives the exchange to a sandbox and waits until its time starts to run: when the bootstrap gets the event, or at
/// once if the init is not over yet.
///
/// The invocation before may still be finishing in this sandbox. It waits for the moment at which the sandbox is idle,
/// and we wait for what follows from that, so its END is logged before our START.
///
/// # Errors
/// The exchange itself, if the sandbox ended before the bootstrap got the event.
async fn hand_over(
    function: &Function,
    sandbox: &Sandbox,
    mut exchange: Exchange,
    receivers: &mut Receivers,
) -> Result<Delivery, Box<Exchange>> {
    restore(sandbox).await;
    let now = || Delivery {
        at: Instant::now(),
        idle_count: 0,
    };
    let request_id = exchange.request_id.clone();
    if !sandbox.api.is_ready() {
        exchange.start_clock();
        // Nobody waits for the end of this init, so allow the restore in advance.
        sandbox.api.restore();
        sandbox.api.push(exchange);
        return Ok(now());
    }
    let pushed_at = Instant::now();
    sandbox.api.push(exchange);
    tokio::select! {
        biased;
        // An error means that the exchange was answered without a delivery: the restore failed.
        delivery = &mut receivers.delivery => Ok(delivery.unwrap_or_else(|_| now())),
        _ = sandbox.wait_for_exit() => match sandbox.api.withdraw(&request_id) {
            Some(exchange) => Err(Box::new(exchange)),
            None => Ok(now()),
        },
        // A bootstrap that never requests the event gets no more time than one that does.
        () = sleep_until((pushed_at + function.timeout).into()) => Ok(Delivery {
            at: pushed_at,
            idle_count: 0,
        }),
    }
}

fn write_start(function: &Function, sandbox: &Sandbox, request_id: &str, is_single: bool) {
    if is_single {
        sandbox.log.start_invocation(request_id);
    }
    let start = start_line(request_id, &function.version);
    sandbox.log.write_platform_lines(&start);
    let telemetry = sandbox.api.telemetry();
    telemetry.send_platform_event(
        "platform.start",
        || json!({"requestId": request_id, "version": function.version}),
    );
}

/// Writes the last lines of an invocation, and returns what they report.
fn write_report(
    function: &Function,
    sandbox: &Sandbox,
    request_id: &str,
    finished: Finished,
) -> Report {
    let times = sandbox.take_start_times();
    let mut report = Report {
        request_id: request_id.to_owned(),
        init: times.init,
        restore: times.restore,
        duration: finished.duration,
        memory_mb: function.memory_mb,
        max_memory_mb: sandbox.memory.peak_mb(finished.duration),
        stop_reason: finished.stop_reason,
        log_tail: Vec::new(),
    };
    if let Some(reason) = &report.stop_reason {
        sandbox.log.drain();
        if !sandbox.api.is_ready() {
            let line = init_report_line(sandbox.age(), "invoke", reason);
            sandbox.log.write_platform_lines(&line);
        }
    }
    sandbox.log.write_platform_lines(&report.to_lines());
    let telemetry = sandbox.api.telemetry();
    telemetry.send_platform_event("platform.runtimeDone", || report.to_runtime_done());
    telemetry.send_platform_event("platform.report", || report.to_record());
    report.log_tail = sandbox.log.tail();
    report
}

fn report_start_failure(request_id: &str, error: &Error, caller: oneshot::Sender<Reply>) {
    eprint(error);
    let failure = Failure::not_started(request_id, &error.to_string());
    // There is no report: the receiver sees its sender dropped.
    let (_, report) = oneshot::channel();
    let answer = Answer::Error(failure);
    // An error means that the caller has gone.
    let _ = caller.send(Reply { answer, report });
}
