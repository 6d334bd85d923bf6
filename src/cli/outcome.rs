//! The outcome of `coshell invoke`, as text for people and as JSON.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use coshell_emulator::failure::Failure;
use coshell_emulator::logs::is_colour_refused;
use coshell_emulator::report::{Report, to_ms};
use coshell_statistics::quantile;
use coshell_wire::ErrorDocument;

/// One invocation, as the caller sees it.
pub(crate) struct Call {
    pub answer: Result<Bytes, Failure>,
    /// From the call to the whole answer.
    pub elapsed: Duration,
    /// Empty if it is not known.
    pub request_id: String,
    /// From the sandbox. A server reports only the end of the log.
    pub report: Option<Report>,
}

/// All invocations of one `coshell invoke`.
pub(crate) struct Outcome {
    /// The first failure or, if there is none, the last invocation.
    pub shown: Call,
    /// In the order of the invocations.
    pub elapsed: Vec<Duration>,
    pub failures: usize,
}

impl Outcome {
    /// Adds an invocation to the outcome so far.
    pub(crate) fn add(outcome: Option<Self>, call: Call) -> Self {
        let is_failure = call.answer.is_err();
        let elapsed = call.elapsed;
        let mut outcome = match outcome {
            Some(known) if known.failures > 0 => known,
            Some(known) => Self {
                shown: call,
                ..known
            },
            None => Self {
                shown: call,
                elapsed: Vec::new(),
                failures: 0,
            },
        };
        outcome.elapsed.push(elapsed);
        outcome.failures += usize::from(is_failure);
        outcome
    }
}

/// The object of `--json`. A response that is not UTF-8 is base64.
pub(crate) fn to_json(outcome: &Outcome) -> Value {
    let shown = &outcome.shown;
    let mut object = Map::new();
    object.insert("requestId".to_owned(), shown.request_id.clone().into());
    match &shown.answer {
        Ok(response) => {
            let text = std::str::from_utf8(response);
            object.insert("isBase64Encoded".to_owned(), text.is_err().into());
            let text = text.map(ToOwned::to_owned);
            let text = text.unwrap_or_else(|_| BASE64_STANDARD.encode(response));
            object.insert("response".to_owned(), text.into());
        }
        Err(failure) => {
            let document = serde_json::from_slice::<Value>(&failure.document);
            let text = || {
                String::from_utf8_lossy(&failure.document)
                    .into_owned()
                    .into()
            };
            object.insert("error".to_owned(), document.unwrap_or_else(|_| text()));
        }
    }
    object.insert("elapsedMs".to_owned(), to_ms(shown.elapsed).into());
    if let Some(report) = &shown.report {
        // The report of a server has no figures.
        if report.memory_mb > 0 {
            object.insert("durationMs".to_owned(), to_ms(report.duration).into());
            object.insert("maxMemoryUsedMb".to_owned(), report.max_memory_mb.into());
        }
        let log = String::from_utf8_lossy(&report.log_tail).into_owned();
        object.insert("logTail".to_owned(), log.into());
    }
    if outcome.elapsed.len() > 1 {
        let mut sorted = outcome.elapsed.clone();
        sorted.sort_unstable();
        let figures = FIGURES.map(|(name, share)| {
            let value = quantile(&sorted, share).unwrap_or_default();
            (name.to_owned(), to_ms(value).into())
        });
        object.insert(
            "repeat".to_owned(),
            json!({
                "count": sorted.len(),
                "failures": outcome.failures,
                "latencyMs": Map::from_iter(figures),
            }),
        );
    }
    object.into()
}

/// The figures to show of many latencies, and the share of the latencies that are not longer.
const FIGURES: [(&str, f64); 5] = [
    ("min", 0.0),
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("max", 1.0),
];

/// The latencies of many invocations as text. The first has a line of its own, because it includes the init.
pub(crate) fn latency_summary(outcome: &Outcome) -> String {
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

/// Whether to use colours on standard error.
pub(crate) fn has_colour() -> bool {
    io::stderr().is_terminal() && !is_colour_refused()
}

/// An error document as text: the type and the message, unless the `log` has shown them already, and below them a line for
/// every stack frame.
pub(crate) fn explain_error(document: &[u8], log: &[u8], has_colour: bool) -> String {
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
    fn explanation_has_an_indented_stack() {
        let document = br#"{"errorType":"Function.HandlerFailed","errorMessage":"status 3\nlast words\n","stackTrace":["greet (hello.sh:4)","main (hello.sh:9)"]}"#;
        assert_eq!(
            explain_error(document, b"", false),
            "Function.HandlerFailed: status 3\nlast words\n    greet (hello.sh:4)\n    main (hello.sh:9)\n"
        );
        let log = b"bootstrap: error: Function.HandlerFailed: status 3 (request id x)\n";
        let frames = "    greet (hello.sh:4)\n    main (hello.sh:9)\n";
        assert_eq!(explain_error(document, log, false), frames);
        assert!(
            explain_error(document, b"", true)
                .starts_with("\x1b[1;31mFunction.HandlerFailed\x1b[0m: ")
        );
    }

    #[test]
    fn unexpected_error_document_is_explained_too() {
        assert_eq!(
            explain_error(b"oops", b"", false),
            "coshell: the error document is not a JSON object\n"
        );
        assert_eq!(
            explain_error(br#"{"errorMessage":"no type"}"#, b"", false),
            "Unhandled: no type\n"
        );
    }

    #[test]
    fn first_failure_or_else_the_last_answer_is_shown() {
        let call = |answer: Result<&'static str, &'static str>| Call {
            answer: answer
                .map(|text| Bytes::from_static(text.as_bytes()))
                .map_err(|text| Failure::from_runtime(Some(text), Bytes::new())),
            elapsed: Duration::ZERO,
            request_id: String::new(),
            report: None,
        };
        let shown = |answers: &[Result<&'static str, &'static str>]| {
            let calls = answers.iter().map(|answer| call(*answer));
            let outcome = calls.fold(None, |outcome, call| Some(Outcome::add(outcome, call)));
            outcome.map(|outcome| {
                (
                    outcome.shown.answer.map_err(|failure| failure.error_type),
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
