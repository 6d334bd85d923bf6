//! The result of a comparison in one sentence: who answers faster, who starts faster, and who gave no answers.

use super::super::results::{Metric, Results, Runtime, Series};
use super::super::statistics::Verdict;
use super::metrics::{Measure, main_measure};
use super::verdicts::{instead, samples};
use super::words::{clean, figure, list, quantity, size};

pub(crate) fn headline(results: &Results) -> String {
    let halves = [false, true].map(|is_cold| main_measure(results, is_cold));
    let halves: Vec<_> = halves.into_iter().flatten().collect();
    let mut parts: Vec<_> = halves
        .iter()
        .filter_map(|measure| part(results, *measure))
        .collect();
    if parts.is_empty() {
        parts.push("No runtime gave a right answer".to_owned());
    }
    parts.extend(without_samples(results, &halves));
    parts.join("; ") + "."
}

/// What a runtime does while it is measured.
fn action((metric, event_bytes): Measure) -> String {
    match metric {
        Metric::Latency => {
            let size = event_bytes.map(size).unwrap_or_default();
            format!("answers an event of {size}")
        }
        Metric::Duration => "handles an event".to_owned(),
        Metric::ColdTotal => "starts and gives its first answer".to_owned(),
        _ => "starts".to_owned(),
    }
}

/// What one measure shows.
fn part(results: &Results, measure: Measure) -> Option<String> {
    let (metric, event_bytes) = measure;
    let measured: Vec<_> = results
        .runtimes
        .iter()
        .filter_map(|runtime| samples(results, runtime, metric, event_bytes))
        .collect();
    let action = action(measure);
    let median = |series: &Series| quantity(series.summary.p50, metric);
    let (baseline, others): (Vec<&Series>, Vec<&Series>) = measured
        .iter()
        .partition(|series| series.runtime == results.baseline);
    match (others.as_slice(), baseline.first()) {
        ([], None) => None,
        ([only], None) | ([], Some(only)) => {
            let name = clean(&only.runtime);
            Some(format!("{name} {action} in {}", median(only)))
        }
        ([other], Some(baseline)) => {
            let (name, other_name) = (clean(&other.runtime), clean(&baseline.runtime));
            let medians = format!("{} against {}", median(other), median(baseline));
            let ratio = other.ratio?;
            Some(match ratio.verdict {
                Verdict::Better => {
                    let times = figure(ratio.times);
                    format!("{name} {action} {times} times faster than {other_name} ({medians})")
                }
                Verdict::Worse => {
                    let times = figure(1.0 / ratio.times);
                    format!("{name} {action} {times} times slower than {other_name} ({medians})")
                }
                Verdict::NoDifference => {
                    format!("{name} {action} as fast as {other_name} ({medians})")
                }
                Verdict::TooFew => format!(
                    "there are too few samples to tell whether {name} {action} faster than {other_name} ({medians})"
                ),
            })
        }
        _ => {
            let best = measured
                .iter()
                .min_by(|one, other| one.summary.p50.total_cmp(&other.summary.p50))?;
            let (name, baseline) = (clean(&best.runtime), clean(&results.baseline));
            let text = format!("{name} {action} fastest, in {}", median(best));
            Some(match best.ratio.map(|ratio| (ratio.verdict, ratio.times)) {
                Some((Verdict::Better, times)) => {
                    let times = figure(times);
                    format!("{text}, {times} times faster than {baseline}")
                }
                Some((Verdict::TooFew, _)) => {
                    format!("there are too few samples to tell which {action} fastest")
                }
                Some(_) => format!("none {action} faster than {baseline}"),
                None => text,
            })
        }
    }
}

/// Which runtimes are missing from these measures, and why.
fn without_samples(results: &Results, measures: &[Measure]) -> Vec<String> {
    let missing = |runtime: &&Runtime| {
        let mut measures = measures.iter();
        measures
            .all(|&(metric, event_bytes)| samples(results, runtime, metric, event_bytes).is_none())
    };
    let missing: Vec<_> = results.runtimes.iter().filter(missing).collect();
    let reason = |runtime: &Runtime| {
        let metric = measures.first().map_or(Metric::Latency, |one| one.0);
        instead(results, runtime, metric, None).text
    };
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for runtime in missing {
        let (name, reason) = (clean(&runtime.name), reason(runtime));
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => reasons.push((reason, vec![name])),
        }
    }
    let sentence = |(reason, names): (String, Vec<String>)| {
        let verb = if names.len() == 1 { "has" } else { "have" };
        format!("{} {verb} no figures ({reason})", list(&names))
    };
    reasons.into_iter().map(sentence).collect()
}
