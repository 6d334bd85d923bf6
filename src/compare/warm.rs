//! Warm invocations: all runtimes run at once and take turns. While one has its turn the others wait for their next event.

use std::sync::Arc;
use std::time::Instant;

use super::endpoint::{Endpoint, Fault, WaitFor, WaitOutcome};
use super::event::Exchange;
use super::results::{Metric, ProblemKind};
use super::runtime::PreparedRuntime;
use super::session::Session;
use super::turn::{self, METRICS, Turn, Turns, WarmRuntime};
use super::usage::Footprint;

/// Measures every runtime with one of the events. Ends early on a signal.
pub(crate) fn measure(session: &mut Session, event_index: usize, turns: Turns) {
    let event_bytes = Some(session.exchanges[0][event_index].event.len());
    let mut warm: Vec<Option<WarmRuntime>> = session.runtimes.iter().map(|_| None).collect();
    for _ in 0..turns.rounds {
        for (runtime_index, prepared) in session.runtimes.iter().enumerate() {
            let mut turn = Turn::default();
            let is_tried = !session.is_given_up(runtime_index);
            if is_tried && warm[runtime_index].is_none() {
                let exchange = Arc::clone(&session.exchanges[runtime_index][event_index]);
                match start(session, prepared, exchange, turns, &mut turn.faults) {
                    Ok(started) => warm[runtime_index] = Some(started),
                    Err(fault) => turn.faults.extend(fault),
                }
            }
            if let Some(started) = &mut warm[runtime_index]
                && session.stop.signal().is_none()
                && !turn::measure(session, runtime_index, started, turns, &mut turn)
            {
                warm[runtime_index] = None;
            }
            if session.stop.signal().is_some() {
                return;
            }
            if is_tried {
                session.record_attempt(runtime_index, turn.has_answers());
            }
            for fault in turn.faults {
                session
                    .tally
                    .add_problem(runtime_index, fault, false, event_bytes, 1);
            }
            for (metric, samples) in METRICS.into_iter().zip(turn.samples) {
                // With gaps between events, throughput would be that of the gaps.
                if metric != Metric::Throughput || turns.gap.is_zero() {
                    session
                        .tally
                        .add_round(runtime_index, metric, event_bytes, samples);
                }
            }
            session.bar.inc(1);
        }
    }
    for (runtime_index, warm) in warm.iter().enumerate() {
        let Some(warm) = warm else { continue };
        let now = Footprint::of(&warm.running.processes(), warm.running.temporary());
        if let Some((count, words)) = now.growth_since(&warm.traces, warm.invocations) {
            let fault = Fault::new(ProblemKind::Leaked, words);
            session
                .tally
                .add_problem(runtime_index, fault, false, event_bytes, count);
        }
    }
}

/// Starts a runtime and warms it up. Wrong answers meanwhile go to `faults`; the error is none after a signal.
fn start(
    session: &Session,
    prepared: &PreparedRuntime,
    exchange: Arc<Exchange>,
    turns: Turns,
    faults: &mut Vec<Fault>,
) -> Result<WarmRuntime, Option<Fault>> {
    let endpoint = Endpoint::open(turns.gap).map_err(|error| {
        let detail = format!("cannot open a Runtime API for it: {error}");
        Some(Fault::new(ProblemKind::NotStarted, detail))
    })?;
    let mut running = prepared.start(endpoint).map_err(Some)?;
    for count in [0, turns.warmup] {
        if count > 0 {
            running
                .endpoint
                .give(&exchange, count, Some(Instant::now() + turns.budget));
        }
        let ended = session.wait(&mut running, WaitFor::Idle);
        faults.extend(running.endpoint.take().faults);
        match ended {
            WaitOutcome::Reached => {}
            WaitOutcome::Failed(fault) => return Err(Some(fault)),
            WaitOutcome::Stopped => return Err(None),
        }
    }
    let traces = Footprint::of(&running.processes(), running.temporary());
    Ok(WarmRuntime {
        running,
        exchange,
        invocations: 0,
        traces,
    })
}
