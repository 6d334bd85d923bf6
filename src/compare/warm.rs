//! Invocations: all runtimes are there at once, and take turns; who has none waits for its next event.
//!
//! A turn of a runtime is timed, and then followed by a few invocations that are not: to count the processes of each, and
//! to look at memory while one runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::endpoint::{Ended, Endpoint, Fault, Until};
use super::event::Task;
use super::results::{Metric, ProblemKind};
use super::runtime::{Prepared, Running};
use super::session::{Session, Turns, milliseconds};
use super::usage::{self, Traces};
use coshell_statistics::quantile;

/// What is measured in a turn.
const METRICS: [Metric; 6] = [
    Metric::Latency,
    Metric::Turnaround,
    Metric::Throughput,
    Metric::CpuTime,
    Metric::Processes,
    Metric::PeakMemory,
];
/// Processes are counted for each of so many invocations, and the median is told: other programs start some too.
const COUNTED: usize = 3;

/// How long memory is looked at without a pause.
const WATCHED: Duration = Duration::from_secs(1);

/// A runtime that was started, and what there was of it when it was warm.
struct Warm {
    running: Running,
    traces: Traces,
    invocations: usize,
}

/// What a turn gave: the samples of each of [`METRICS`].
type Figures = [Vec<f64>; METRICS.len()];

/// Measures every runtime with the event of this number. Ends early if we are asked to.
pub(crate) fn measure(session: &mut Session, number: usize, turns: Turns) {
    let event_bytes = Some(session.tasks[0][number].event.len());
    let mut warm: Vec<Option<Warm>> = session.runtimes.iter().map(|_| None).collect();
    for _ in 0..turns.rounds {
        for (at, prepared) in session.runtimes.iter().enumerate() {
            let mut faults = Vec::new();
            let mut figures = Figures::default();
            let is_tried = !session.is_given_up(at);
            let task = &session.tasks[at][number];
            if is_tried && warm[at].is_none() {
                match start(session, prepared, task, turns, &mut faults) {
                    Ok(started) => warm[at] = Some(started),
                    Err(fault) => faults.extend(fault),
                }
            }
            if let Some(started) = &mut warm[at]
                && session.stop.signal().is_none()
                && !turn(session, started, task, turns, &mut figures, &mut faults)
            {
                warm[at] = None;
            }
            if session.stop.signal().is_some() {
                return;
            }
            if is_tried {
                session.note(at, !figures[0].is_empty());
            }
            for fault in faults {
                session.tally.problem(at, fault, false, event_bytes, 1);
            }
            for (metric, samples) in METRICS.into_iter().zip(figures) {
                // With gaps it would tell of the gaps.
                if metric != Metric::Throughput || turns.gap.is_zero() {
                    session.tally.round(at, metric, event_bytes, samples);
                }
            }
            session.bar.inc(1);
        }
    }
    for (at, warm) in warm.iter().enumerate() {
        let Some(warm) = warm else { continue };
        let now = Traces::of(&warm.running.processes(), warm.running.temporary());
        if let Some((count, words)) = now.growth_since(&warm.traces, warm.invocations) {
            let fault = Fault::new(ProblemKind::Leaked, words);
            session.tally.problem(at, fault, false, event_bytes, count);
        }
    }
}

/// Starts a runtime and warms it up. What it answered wrongly meanwhile goes to `faults`.
fn start(
    session: &Session,
    prepared: &Prepared,
    task: &Arc<Task>,
    turns: Turns,
    faults: &mut Vec<Fault>,
) -> Result<Warm, Option<Fault>> {
    let failed = |kind, detail: String| Some(Fault::new(kind, detail));
    let endpoint = Endpoint::open(turns.gap);
    let endpoint = endpoint
        .map_err(|error| failed(ProblemKind::NotStarted, format!("no Runtime API: {error}")))?;
    let mut running = prepared.start(endpoint).map_err(Some)?;
    for count in [0, turns.warmup] {
        if count > 0 {
            running
                .endpoint
                .give(task, count, Some(Instant::now() + turns.budget));
        }
        let ended = session.wait(&mut running, Until::Idle);
        faults.extend(running.endpoint.take().faults);
        match ended {
            Ended::Reached => {}
            Ended::Failed(fault) => return Err(Some(fault)),
            Ended::Stopped => return Err(None),
        }
    }
    let traces = Traces::of(&running.processes(), running.temporary());
    Ok(Warm {
        running,
        traces,
        invocations: 0,
    })
}

/// One turn. Whether the runtime can have another.
fn turn(
    session: &Session,
    warm: &mut Warm,
    task: &Arc<Task>,
    turns: Turns,
    figures: &mut Figures,
    faults: &mut Vec<Fault>,
) -> bool {
    let running = &mut warm.running;
    let cpu_before = usage::cpu_time(&running.tree());
    let begun_at =
        running
            .endpoint
            .give(task, turns.invocations, Some(Instant::now() + turns.budget));
    let ended = session.wait(running, Until::Idle);
    let idle_at = running.endpoint.idle_at();
    let round = running.endpoint.take();
    let cpu = usage::cpu_time(&running.tree()).saturating_sub(cpu_before);
    warm.invocations += round.answers.len() + round.faults.len();
    let latency = |answered: &super::endpoint::Answered| {
        milliseconds(
            answered
                .answered_at
                .saturating_duration_since(answered.sent_at),
        )
    };
    let [
        latencies,
        turnarounds,
        throughput,
        cpu_time,
        processes,
        memory,
    ] = figures;
    latencies.extend(round.answers.iter().map(latency));
    turnarounds.extend(
        round
            .answers
            .iter()
            .filter_map(|answered| answered.turnaround)
            .map(milliseconds),
    );
    // What wrong answers took cannot be told from what the others did.
    let is_clean = round.faults.is_empty() && !round.answers.is_empty();
    faults.extend(round.faults);
    match ended {
        Ended::Reached => {}
        Ended::Failed(fault) => {
            faults.push(fault);
            return false;
        }
        Ended::Stopped => return false,
    }
    let Some(idle_at) = idle_at.filter(|_| is_clean) else {
        return true;
    };
    #[allow(clippy::cast_precision_loss)]
    let count = round.answers.len() as f64;
    throughput.push(count / idle_at.saturating_duration_since(begun_at).as_secs_f64());
    cpu_time.push(milliseconds(cpu) / count);
    let mut counted = Vec::new();
    for _ in 0..COUNTED {
        match single(session, warm, task, faults) {
            Some(count) => counted.push(count),
            None => return false,
        }
    }
    counted.sort_by(f64::total_cmp);
    processes.extend(quantile(&counted, 0.5));
    let Some(peak_mib) = watched(session, warm, task, faults) else {
        return false;
    };
    memory.push(peak_mib);
    true
}

/// The processes of one invocation; `None` if the runtime did not survive it.
fn single(
    session: &Session,
    warm: &mut Warm,
    task: &Arc<Task>,
    faults: &mut Vec<Fault>,
) -> Option<f64> {
    let started =
        |warm: &Warm| usage::started_processes().saturating_sub(warm.running.endpoint.threads());
    let before = started(warm);
    warm.running.endpoint.give(task, 1, None);
    let ended = session.wait(&mut warm.running, Until::Idle);
    let count = started(warm).saturating_sub(before);
    is_survived(warm, ended, faults)
        .then_some(u32::try_from(count).map(f64::from).unwrap_or_default())
}

/// The peak memory of one invocation that is looked at as often as can be, in MiB; `None` if the runtime did not survive.
fn watched(
    session: &Session,
    warm: &mut Warm,
    task: &Arc<Task>,
    faults: &mut Vec<Fault>,
) -> Option<f64> {
    let begun_at = warm.running.endpoint.give(task, 1, None);
    let mut peak_kib = 0;
    while warm.running.endpoint.idle_at().is_none()
        && warm.running.ended().is_none()
        && session.stop.signal().is_none()
    {
        peak_kib = peak_kib.max(usage::memory_kib(&warm.running.tree()));
        if begun_at.elapsed() > WATCHED {
            break;
        }
    }
    let ended = session.wait(&mut warm.running, Until::Idle);
    peak_kib = peak_kib.max(usage::memory_kib(&warm.running.tree()));
    let peak_kib = u32::try_from(peak_kib).map(f64::from).unwrap_or_default();
    is_survived(warm, ended, faults).then_some(peak_kib / 1024.0)
}

fn is_survived(warm: &mut Warm, ended: Ended, faults: &mut Vec<Fault>) -> bool {
    let round = warm.running.endpoint.take();
    warm.invocations += round.answers.len() + round.faults.len();
    faults.extend(round.faults);
    match ended {
        Ended::Reached => true,
        Ended::Stopped => false,
        Ended::Failed(fault) => {
            faults.push(fault);
            false
        }
    }
}
