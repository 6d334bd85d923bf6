//! Cold starts: the runtimes are started in turn, and the first event waits for each.

use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, Fault, WaitFor, WaitOutcome};
use super::event::Exchange;
use super::machine;
use super::results::{Metric, ProblemKind};
use super::runtime::PreparedRuntime;
use super::session::{Session, milliseconds};

/// The durations of a start.
#[derive(Debug, Clone, Copy)]
struct Start {
    init: Duration,
    first_answer: Duration,
    total: Duration,
}

/// Starts every runtime `repeats` times, with its first exchange. If `is_dropped` the page cache is emptied before each
/// start. Ends early on a signal.
pub(crate) fn measure(session: &mut Session, repeats: usize, is_dropped: bool) {
    let event_bytes = Some(session.exchanges[0][0].event.len());
    let metrics = [
        (Metric::Init, None),
        (Metric::FirstAnswer, event_bytes),
        (Metric::ColdTotal, event_bytes),
    ];
    for _ in 0..repeats {
        for (runtime_index, prepared) in session.runtimes.iter().enumerate() {
            let is_given_up = session.is_given_up(runtime_index);
            let started = if is_given_up {
                Err(Vec::new())
            } else {
                if is_dropped {
                    // Whether this is permitted was tried before.
                    let _ = machine::drop_page_cache();
                }
                start(session, prepared, &session.exchanges[runtime_index][0])
            };
            if session.stop.signal().is_some() {
                return;
            }
            if !is_given_up {
                session.record_attempt(runtime_index, started.is_ok());
            }
            let samples = match started {
                Ok(start) => {
                    [start.init, start.first_answer, start.total].map(|one| vec![milliseconds(one)])
                }
                Err(faults) => {
                    for fault in faults {
                        session
                            .tally
                            .add_problem(runtime_index, fault, true, event_bytes, 1);
                    }
                    [Vec::new(), Vec::new(), Vec::new()]
                }
            };
            for ((metric, event_bytes), samples) in metrics.into_iter().zip(samples) {
                session
                    .tally
                    .add_round(runtime_index, metric, event_bytes, samples);
            }
            session.bar.inc(1);
        }
    }
}

fn start(
    session: &Session,
    prepared: &PreparedRuntime,
    exchange: &Arc<Exchange>,
) -> Result<Start, Vec<Fault>> {
    let endpoint = Endpoint::open(Duration::ZERO).map_err(|error| {
        let detail = format!("cannot open a Runtime API for it: {error}");
        vec![Fault::new(ProblemKind::NotStarted, detail)]
    })?;
    endpoint.give(exchange, 1, None);
    let mut running = prepared.start(endpoint).map_err(|fault| vec![fault])?;
    let ended = session.wait(&mut running, WaitFor::Answers);
    let mut round = running.endpoint.take();
    match (ended, round.answers.first(), running.endpoint.first_next()) {
        (WaitOutcome::Reached, Some(answered), Some(first_next)) if round.faults.is_empty() => {
            let since = |instant| answered.answered_at.saturating_duration_since(instant);
            Ok(Start {
                init: first_next.saturating_duration_since(running.started_at),
                first_answer: since(answered.sent_at),
                total: since(running.started_at),
            })
        }
        (WaitOutcome::Failed(fault), _, _) => {
            round.faults.push(fault);
            Err(round.faults)
        }
        _ => {
            for fault in &mut round.faults {
                fault.log = running.last_lines();
            }
            Err(round.faults)
        }
    }
}
