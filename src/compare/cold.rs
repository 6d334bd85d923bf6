//! Starts: each with the first event in waiting, the runtimes in turn.

use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Ended, Endpoint, Fault, Until};
use super::event::Task;
use super::machine;
use super::results::{Metric, ProblemKind};
use super::runtime::Prepared;
use super::session::{Session, milliseconds};

/// What a start took.
#[derive(Debug, Clone, Copy)]
struct Start {
    init: Duration,
    first_answer: Duration,
    total: Duration,
}

/// Starts every runtime so many times, each with the first of its tasks, and with nothing in the page cache if `is_dropped`. Ends early if we are asked to.
pub(crate) fn measure(session: &mut Session, repeats: usize, is_dropped: bool) {
    let event_bytes = Some(session.tasks[0][0].event.len());
    let metrics = [
        (Metric::Init, None),
        (Metric::FirstAnswer, event_bytes),
        (Metric::ColdTotal, event_bytes),
    ];
    for _ in 0..repeats {
        for (at, prepared) in session.runtimes.iter().enumerate() {
            let started = if session.is_given_up(at) {
                Err(Vec::new())
            } else {
                if is_dropped {
                    // Whether we may was found out before.
                    let _ = machine::drop_page_cache();
                }
                start(session, prepared, &session.tasks[at][0])
            };
            if session.stop.signal().is_some() {
                return;
            }
            if !session.is_given_up(at) {
                session.note(at, started.is_ok());
            }
            let samples = match started {
                Ok(start) => {
                    [start.init, start.first_answer, start.total].map(|one| vec![milliseconds(one)])
                }
                Err(faults) => {
                    for fault in faults {
                        session.tally.problem(at, fault, true, event_bytes, 1);
                    }
                    [Vec::new(), Vec::new(), Vec::new()]
                }
            };
            for ((metric, event_bytes), samples) in metrics.into_iter().zip(samples) {
                session.tally.round(at, metric, event_bytes, samples);
            }
            session.bar.inc(1);
        }
    }
}

fn start(session: &Session, prepared: &Prepared, task: &Arc<Task>) -> Result<Start, Vec<Fault>> {
    let one = |kind, detail: String| vec![Fault::new(kind, detail)];
    let endpoint = Endpoint::open(Duration::ZERO);
    let endpoint = endpoint
        .map_err(|error| one(ProblemKind::NotStarted, format!("no Runtime API: {error}")))?;
    endpoint.give(task, 1, None);
    let mut running = prepared.start(endpoint).map_err(|fault| vec![fault])?;
    let ended = session.wait(&mut running, Until::Answered);
    let mut round = running.endpoint.take();
    match (ended, round.answers.first(), running.endpoint.first_next()) {
        (Ended::Reached, Some(answered), Some(first_next)) if round.faults.is_empty() => {
            Ok(Start {
                init: first_next.saturating_duration_since(running.started_at),
                first_answer: answered
                    .answered_at
                    .saturating_duration_since(answered.sent_at),
                total: answered
                    .answered_at
                    .saturating_duration_since(running.started_at),
            })
        }
        (Ended::Failed(fault), _, _) => {
            round.faults.push(fault);
            Err(round.faults)
        }
        _ => Err(round.faults),
    }
}
