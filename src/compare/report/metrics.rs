//! What a reader has to know of each metric.

use super::super::results::{Metric, Results, Source};

/// What is measured, from where to where: a sentence.
pub(crate) fn definition(metric: Metric) -> &'static str {
    match metric {
        Metric::Init => {
            "From before the process is started until its first GET next, the request for an event, is read."
        }
        Metric::FirstAnswer => {
            "From sending the first event to a fresh process until its answer is read."
        }
        Metric::ColdTotal => {
            "From before the process is started until its first answer is read: what the first caller waits for."
        }
        Metric::Latency => {
            "From sending an event until its answer is read: what a caller waits for."
        }
        Metric::Turnaround => {
            "From the acknowledgement of an answer until the runtime requests the next event: until then no other event can start."
        }
        Metric::Throughput => {
            "Invocations in a second while the next event is always ready. One measurement a round."
        }
        Metric::CpuTime => {
            "User and system time of all processes of the runtime for an invocation. One measurement a round."
        }
        Metric::Processes => {
            "Processes and threads that the runtime and its descendants start for an invocation. One measurement a round."
        }
        Metric::PeakMemory => {
            "The most memory that the processes of the runtime have together, shared pages counted once (PSS). One measurement a round."
        }
        Metric::Duration => "Duration in Lambda's log, of invocations that no init came before.",
        Metric::ColdDuration => {
            "Duration in Lambda's log, of invocations that an init or a restore came before."
        }
        Metric::BilledDuration => "Billed Duration in Lambda's log, of all invocations.",
        Metric::InitDuration => "Init Duration in Lambda's log.",
        Metric::RestoreDuration => "Restore Duration in Lambda's log, of SnapStart.",
        Metric::MaxMemoryUsed => {
            "Max Memory Used in Lambda's log, of all invocations: the most that the sandbox has had so far."
        }
    }
}

/// In which direction the metric gets better.
pub(crate) fn direction(metric: Metric) -> &'static str {
    if metric.is_more_better() {
        "more is better"
    } else {
        "less is better"
    }
}

/// The title of a column of ratios.
pub(crate) fn ratio_title(metric: Metric) -> &'static str {
    match metric {
        Metric::Throughput => "times more",
        Metric::CpuTime
        | Metric::Processes
        | Metric::PeakMemory
        | Metric::BilledDuration
        | Metric::MaxMemoryUsed => "times less",
        _ => "times faster",
    }
}

/// Whether each sample is an invocation, and not the figure of a round.
pub(crate) fn has_invocations(metric: Metric) -> bool {
    metric.is_cold() || metric == Metric::Latency
}

/// A metric at one event size, as the tables have it.
pub(crate) type Measure = (Metric, Option<usize>);

/// The measure for one half of a comparison that matters most: a warm invocation of the smallest event, and a cold start to its
/// first answer; or what logs have of these.
pub(crate) fn main_measure(results: &Results, is_cold: bool) -> Option<Measure> {
    let wanted: &[_] = match (results.source, is_cold) {
        (Source::Measured, true) => &[Metric::ColdTotal],
        (Source::Measured, false) => &[Metric::Latency],
        (Source::Logs, true) => &[Metric::InitDuration, Metric::RestoreDuration],
        (Source::Logs, false) => &[Metric::Duration],
    };
    let measures = results.measures();
    let is_wanted = |measure: &&Measure| wanted.contains(&measure.0);
    measures.iter().find(is_wanted).copied()
}
