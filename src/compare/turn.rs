//! One turn of a warm runtime: timed invocations, and then a few that are not timed, to count the processes that they
//! start and to watch the memory while one runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::endpoint::{Fault, TimedAnswer, WaitFor, WaitOutcome};
use super::event::Exchange;
use super::results::Metric;
use super::runtime::RunningRuntime;
use super::session::{Session, milliseconds};
use super::usage::{self, Footprint};

/// What a turn measures.
pub(crate) const METRICS: [Metric; 6] = [
    Metric::Latency,
    Metric::Turnaround,
    Metric::Throughput,
    Metric::CpuTime,
    Metric::Processes,
    Metric::PeakMemory,
];
/// Processes are counted over this number of invocations: a runtime may start some for every other one only.
const COUNTED: u32 = 3;
/// How long memory is read without a pause.
const WATCHED: Duration = Duration::from_secs(1);

/// How the runtimes take turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    /// Turns of each runtime.
    pub rounds: usize,
    /// Invocations in a turn, at most.
    pub invocations: usize,
    /// Duration of a turn, at most.
    pub budget: Duration,
    /// Invocations before the first turn.
    pub warmup: usize,
    /// Pause before each event.
    pub gap: Duration,
}

/// A runtime that was started and warmed up.
pub(crate) struct WarmRuntime {
    pub running: RunningRuntime,
    /// The event that it gets, with the expected answer.
    pub exchange: Arc<Exchange>,
    /// Invocations since it was warm.
    pub invocations: usize,
    /// Its processes, files and descriptors when it was warm.
    pub traces: Footprint,
}

/// What a turn gave.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// The samples of each of [`METRICS`].
    pub samples: [Vec<f64>; METRICS.len()],
    pub faults: Vec<Fault>,
}

impl Turn {
    /// Whether there was a right answer.
    pub(crate) fn has_answers(&self) -> bool {
        !self.samples[0].is_empty()
    }
}

/// Gives `warm` a turn. Whether it can have another.
pub(crate) fn measure(
    session: &mut Session,
    runtime_index: usize,
    warm: &mut WarmRuntime,
    turns: Turns,
    turn: &mut Turn,
) -> bool {
    let [
        latencies,
        turnarounds,
        throughput,
        cpu_time,
        processes,
        memory,
    ] = &mut turn.samples;
    let running = &mut warm.running;
    let cpu_before = usage::cpu_time(&running.tree());
    let begun_at = running.endpoint.give(
        &warm.exchange,
        turns.invocations,
        Some(Instant::now() + turns.budget),
    );
    let ended = session.wait(running, WaitFor::Idle);
    let idle_at = running.endpoint.idle_at();
    let round = running.endpoint.take();
    let cpu = usage::cpu_time(&running.tree()).saturating_sub(cpu_before);
    warm.invocations += round.answers.len() + round.faults.len();
    latencies.extend(round.answers.iter().map(latency));
    let turnaround = round.answers.iter().filter_map(|answer| answer.turnaround);
    turnarounds.extend(turnaround.map(milliseconds));
    // The time of wrong answers cannot be separated from that of the others.
    let is_clean = round.faults.is_empty() && !round.answers.is_empty();
    turn.faults.extend(round.faults);
    match ended {
        WaitOutcome::Reached => {}
        WaitOutcome::Failed(fault) => {
            turn.faults.push(fault);
            return false;
        }
        WaitOutcome::Stopped => return false,
    }
    let Some(idle_at) = idle_at.filter(|_| is_clean) else {
        return true;
    };
    #[allow(clippy::cast_precision_loss)]
    let count = round.answers.len() as f64;
    throughput.push(count / idle_at.saturating_duration_since(begun_at).as_secs_f64());
    cpu_time.push(milliseconds(cpu) / count);
    count_processes(session, runtime_index, warm, processes, &mut turn.faults)
        && watch_memory(session, warm, memory, &mut turn.faults)
}

fn latency(answered: &TimedAnswer) -> f64 {
    let latency = answered
        .answered_at
        .saturating_duration_since(answered.sent_at);
    milliseconds(latency)
}

/// Adds how many processes an invocation starts, if the system permits us to count them. Whether the runtime survived.
fn count_processes(
    session: &mut Session,
    runtime_index: usize,
    warm: &mut WarmRuntime,
    samples: &mut Vec<f64>,
    faults: &mut Vec<Fault>,
) -> bool {
    if session.uncounted.contains_key(&runtime_index) {
        return true;
    }
    if let Err(error) = warm.running.start_counting() {
        session.uncounted.insert(runtime_index, error.to_string());
        return true;
    }
    for _ in 0..COUNTED {
        warm.running.endpoint.give(&warm.exchange, 1, None);
        let ended = session.wait(&mut warm.running, WaitFor::Idle);
        if !has_survived(warm, ended, faults) {
            return false;
        }
    }
    let started = warm.running.stop_counting();
    let started = started.and_then(|started| u32::try_from(started).ok());
    samples.extend(started.map(|started| f64::from(started) / f64::from(COUNTED)));
    true
}

/// Adds the peak memory of an invocation, in MiB, read as often as possible. Whether the runtime survived.
fn watch_memory(
    session: &Session,
    warm: &mut WarmRuntime,
    samples: &mut Vec<f64>,
    faults: &mut Vec<Fault>,
) -> bool {
    let begun_at = warm.running.endpoint.give(&warm.exchange, 1, None);
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
    let ended = session.wait(&mut warm.running, WaitFor::Idle);
    peak_kib = peak_kib.max(usage::memory_kib(&warm.running.tree()));
    let is_alive = has_survived(warm, ended, faults);
    if is_alive {
        let peak_kib = u32::try_from(peak_kib).map(f64::from).unwrap_or_default();
        samples.push(peak_kib / 1024.0);
    }
    is_alive
}

fn has_survived(warm: &mut WarmRuntime, ended: WaitOutcome, faults: &mut Vec<Fault>) -> bool {
    let round = warm.running.endpoint.take();
    warm.invocations += round.answers.len() + round.faults.len();
    faults.extend(round.faults);
    match ended {
        WaitOutcome::Reached => true,
        WaitOutcome::Stopped => false,
        WaitOutcome::Failed(fault) => {
            faults.push(fault);
            false
        }
    }
}
