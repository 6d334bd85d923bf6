//! What `invoke` has to show: for people, and for machines.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use coshell_emulator::exchange::Failure;
use coshell_emulator::logs::is_colour_refused;
use coshell_emulator::report::{Report, ms_of};
use coshell_statistics::quantile;
use coshell_wire::ErrorDocument;

/// One invocation, as its caller sees it.
pub(crate) struct Called {
    /// The response, or the failure.
    pub answer: Result<Bytes, Failure>,
    /// From the call to the whole answer.
    pub elapsed: Duration,
    /// Names it; empty if it was not told.
    pub request_id: String,
    /// What it took in the sandbox, if there is one of ours.
    pub report: Option<Report>,
}

/// What all invocations together gave.
pub(crate) struct Outcome {
    /// The last one, but the first failure if there is one.
    pub shown: Called,
    /// How long each took, in their order.
    pub elapsed: Vec<Duration>,
    /// How many failed.
    pub failures: usize,
}

impl Outcome {
    /// The last answer is shown, but the first failure if there is one.
    pub(crate) fn with(outcome: Option<Self>, called: Called) -> Self {
        let is_failure = called.answer.is_err();
        let elapsed = called.elapsed;
        let mut outcome = match outcome {
            Some(known) if known.failures > 0 => known,
            Some(known) => Self {
                shown: called,
                ..known
            },
            None => Self {
                shown: called,
                elapsed: Vec::new(),
                failures: 0,
            },
        };
        outcome.elapsed.push(elapsed);
        outcome.failures += usize::from(is_failure);
        outcome
    }
}

/// The outcome for machines. A response that is not UTF-8 is base64.
pub(crate) fn told(outcome: &Outcome) -> Value {
    let shown = &outcome.shown;
    let mut told = Map::new();
    told.insert("requestId".to_owned(), shown.request_id.clone().into());
    match &shown.answer {
        Ok(response) => {
            let text = std::str::from_utf8(response);
            told.insert("isBase64Encoded".to_owned(), text.is_err().into());
            let text = text.map(ToOwned::to_owned);
            let text = text.unwrap_or_else(|_| BASE64_STANDARD.encode(response));
            told.insert("response".to_owned(), text.into());
        }
        Err(failure) => {
            let document = serde_json::from_slice::<Value>(&failure.document);
            let text = || {
                String::from_utf8_lossy(&failure.document)
                    .into_owned()
                    .into()
            };
            told.insert("error".to_owned(), document.unwrap_or_else(|_| text()));
        }
    }
    told.insert("elapsedMs".to_owned(), ms_of(shown.elapsed).into());
    if let Some(report) = &shown.report {
        // A server tells of nothing but the log.
        if report.memory_mb > 0 {
            told.insert("durationMs".to_owned(), ms_of(report.duration).into());
            told.insert("maxMemoryUsedMb".to_owned(), report.max_memory_mb.into());
        }
        let log = String::from_utf8_lossy(&report.log_tail).into_owned();
        told.insert("logTail".to_owned(), log.into());
    }
    if outcome.elapsed.len() > 1 {
        let mut sorted = outcome.elapsed.clone();
        sorted.sort_unstable();
        let figures = FIGURES.map(|(name, share)| {
            (
                name.to_owned(),
                ms_of(quantile(&sorted, share).unwrap_or_default()).into(),
            )
        });
        told.insert(
            "repeat".to_owned(),
            json!({
                "count": sorted.len(),
                "failures": outcome.failures,
                "latencyMs": Map::from_iter(figures),
            }),
        );
    }
    told.into()
}

/// What is told of many latencies, as shares of them that were not longer.
const FIGURES: [(&str, f64); 5] = [
    ("min", 0.0),
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("max", 1.0),
];

/// How long many invocations took, for people. The first has the init in it, and stands apart.
pub(crate) fn summary(outcome: &Outcome) -> String {
    let ms = |duration: Duration| format!("{:.3} ms", duration.as_secs_f64() * 1e3);
    let count = outcome.elapsed.len();
    let mut text = format!("{count} invocations, {} failed\n", outcome.failures);
    let (first, rest) = outcome.elapsed.split_at(1.min(count));
    let mut sorted = rest.to_vec();
    sorted.sort_unstable();
    let firsts = first.iter().map(|first| ("first", *first));
    let figures = FIGURES.map(|(name, share)| (name, quantile(&sorted, share).unwrap_or_default()));
    for (name, duration) in firsts.chain(figures) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:>6} {:>12}", ms(duration));
    }
    text
}

/// Whether standard error is to have colours.
pub(crate) fn has_colour() -> bool {
    io::stderr().is_terminal() && !is_colour_refused()
}

/// An error document for people: the type and the message, unless the `log` above ends with them, and below them a
/// frame a line.
pub(crate) fn explain(document: &[u8], log: &[u8], has_colour: bool) -> String {
    let Some(document) = ErrorDocument::from_json(document) else {
        return "coshell: the error document is not a JSON object\n".to_owned();
    };
    let (bold_red, dim, reset) = if has_colour {
        ("\x1b[1;31m", "\x1b[2m", "\x1b[0m")
    } else {
        ("", "", "")
    };
    let error_type = match document.error_type.as_str() {
        "" => "Unhandled",
        error_type => error_type,
    };
    let headline = format!(
        "{bold_red}{error_type}{reset}: {}",
        document.message.trim_end()
    );
    let frames = document
        .stack_trace
        .iter()
        .map(|frame| format!("    {dim}{frame}{reset}"));
    let first = document.message.lines().next().unwrap_or_default();
    let is_logged = |line: &str| {
        let line = line.strip_prefix("bootstrap: ");
        !first.is_empty() && line.is_some_and(|line| line.contains(first))
    };
    let is_logged = String::from_utf8_lossy(log).lines().any(is_logged);
    (!is_logged)
        .then_some(headline)
        .into_iter()
        .chain(frames)
        .map(|line| line + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_explained_with_its_stack_indented() {
        let document = br#"{"errorType":"Function.HandlerFailed","errorMessage":"status 3\nlast words\n","stackTrace":["greet (hello.sh:4)","main (hello.sh:9)"]}"#;
        assert_eq!(
            explain(document, b"", false),
            "Function.HandlerFailed: status 3\nlast words\n    greet (hello.sh:4)\n    main (hello.sh:9)\n"
        );
        let log = b"bootstrap: error: Function.HandlerFailed: status 3 (request id x)\n";
        let frames = "    greet (hello.sh:4)\n    main (hello.sh:9)\n";
        assert_eq!(explain(document, log, false), frames);
        assert!(
            explain(document, b"", true).starts_with("\x1b[1;31mFunction.HandlerFailed\x1b[0m: ")
        );
    }

    #[test]
    fn error_document_of_another_kind_is_no_failure_of_ours() {
        assert_eq!(
            explain(b"oops", b"", false),
            "coshell: the error document is not a JSON object\n"
        );
        assert_eq!(
            explain(br#"{"errorMessage":"no type"}"#, b"", false),
            "Unhandled: no type\n"
        );
    }

    #[test]
    fn first_failure_is_shown_and_else_the_last_answer() {
        let called = |answer: Result<&'static str, &'static str>| Called {
            answer: answer
                .map(|text| Bytes::from_static(text.as_bytes()))
                .map_err(|text| Failure::of_runtime(Some(text), Bytes::new())),
            elapsed: Duration::ZERO,
            request_id: String::new(),
            report: None,
        };
        let shown = |answers: &[Result<&'static str, &'static str>]| {
            let outcomes = answers.iter().map(|answer| called(*answer));
            let outcome = outcomes.fold(None, |known, one| Some(Outcome::with(known, one)));
            outcome.map(|outcome| {
                (
                    outcome.shown.answer.map_err(|one| one.error_type),
                    outcome.failures,
                )
            })
        };
        let last = Ok(Bytes::from_static(b"b"));
        assert_eq!(shown(&[Ok("a"), Ok("b")]), Some((last, 0)));
        let failed = Err("first".to_owned());
        assert_eq!(
            shown(&[Ok("a"), Err("first"), Ok("b"), Err("c")]),
            Some((failed, 2))
        );
    }
}
