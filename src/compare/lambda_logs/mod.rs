//! Results from the logs of Lambda.
//!
//! ```text
//! sources -> messages (documents, lines) -> records: reports, failures -> groups -> Results
//! ```
//!
//! Files are read as streams: whatever their size, a few megabytes are in memory, and the records.
//!
//! A group is a label, a function or a file. Each memory size of a group is a runtime of its own. Lambda logs neither events nor
//! answers: the user who collects the logs decides what is compared.

pub(crate) mod documents;
pub(crate) mod groups;
pub(crate) mod lines;
pub(crate) mod message;
pub(crate) mod messages;
pub mod records;
pub mod sources;
pub(crate) mod stream;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::groups::Groups;
pub use self::sources::LogSource;
use super::Error;
use super::machine;
use super::results::{Results, Source, VERSION, title_of};

/// Reads logs. Summaries and ratios are not computed yet; the first runtime is the baseline.
///
/// # Errors
/// If a file cannot be read, or has no record of an invocation.
pub fn read(sources: &[LogSource]) -> Result<Results, Error> {
    let mut groups = Groups::default();
    for source in sources {
        groups.add_source(source, sources)?;
    }
    let mut results = Results {
        version: VERSION,
        title: String::new(),
        source: Source::Logs,
        begun: OffsetDateTime::now_utc()
            .format(&Rfc3339)
            .unwrap_or_default(),
        is_complete: true,
        machine: machine::describe(),
        settings: Vec::new(),
        warnings: Vec::new(),
        floor: Vec::new(),
        baseline: String::new(),
        runtimes: Vec::new(),
        series: Vec::new(),
        problems: Vec::new(),
    };
    for source in sources {
        let label = source.label.as_ref().map(|label| format!("{label}="));
        let value = format!("{}{}", label.unwrap_or_default(), source.name());
        results.settings.push(("from-logs".to_owned(), value));
    }
    groups.finish(&mut results);
    let names: Vec<_> = results.runtimes.iter().map(|it| it.name.clone()).collect();
    results.title = format!("{}, from Lambda's logs", title_of(&names));
    results.baseline = names.into_iter().next().unwrap_or_default();
    if results.runtimes.len() > 1 {
        results.warnings.push(
            "logs do not show whether these runtimes had the same events, at the same time"
                .to_owned(),
        );
    }
    Ok(results)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::results::{Metric, ProblemKind};

    fn source(text: &str) -> LogSource {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/lambda-logs"
        );
        let (label, file) = match text.split_once('=') {
            Some((label, file)) => (Some(label.to_owned()), file),
            None => (None, text),
        };
        LogSource {
            label,
            path: Path::new(folder).join(file),
        }
    }

    fn of(names: &[&str]) -> Results {
        let sources: Vec<_> = names.iter().map(|name| source(name)).collect();
        read(&sources).unwrap()
    }

    fn names(results: &Results) -> Vec<&str> {
        results.runtimes.iter().map(|it| it.name.as_str()).collect()
    }

    /// Runtimes with their samples: init or restore, cold, warm.
    fn samples_of(results: &Results) -> Vec<String> {
        let samples = |name: &str, metric| {
            let series = results.series(name, metric, None);
            let rounds = series.map(|series| series.rounds.concat());
            format!("{:?}", rounds.unwrap_or_default())
        };
        let metrics = [Metric::InitDuration, Metric::ColdDuration, Metric::Duration];
        let all = |name: &&str| {
            let samples = metrics.map(|metric| samples(name, metric)).join(" ");
            format!("{name}: {samples}")
        };
        names(results).iter().map(all).collect()
    }

    fn problems(results: &Results) -> Vec<(ProblemKind, bool, usize)> {
        let problems = results.problems.iter();
        problems
            .map(|one| (one.kind, one.is_cold, one.count))
            .collect()
    }

    #[test]
    fn every_kind_of_export_is_read() {
        for (file, expected) in [
            ("tail.log", &["tail: [131.4] [14.2] [9.81, 10.05]"][..]),
            (
                "prefixes.log",
                &["prefixes: [] [] [4.0, 4.1, 4.2, 4.3, 4.4]"],
            ),
            (
                "filter-log-events.json",
                &["tutorial: [131.4] [14.2] [9.8]", "ours: [20.3] [1.1] [0.9]"],
            ),
            ("get-query-results.json", &["echo: [60.5] [5.0] [6.0, 7.0]"]),
            ("insights.json", &["echo: [61.0] [5.5] [4.5]"]),
            ("insights.csv", &["echo: [70.0] [6.0] [7.0, 8.0]"]),
            ("console.csv", &["console: [80.0] [7.0] [8.0, 9.0]"]),
            ("json-format.log", &["greeter: [463.512] [1233.96] [12.5]"]),
            ("tail-json.log", &["tail-json: [] [] [10.5, 11.5]"]),
            ("telemetry.json", &["telemetry: [] [] [2.5, 2.5]"]),
            ("subscription.json", &["streamed: [] [] [3.25, 3.25]"]),
            ("invoke.json", &["invoke: [90.5] [8.5] [9.5, 10.5]"]),
            (
                "log-results.txt",
                &["log-results: [90.5] [8.5] [9.5, 10.5]"],
            ),
            (
                "docker-json-file.log",
                &["docker-json-file: [] [] [1.5, 1.5]"],
            ),
            ("emulator.log", &["emulator: [0.47] [33.3] [13.3]"]),
        ] {
            assert_eq!(samples_of(&of(&[file])), expected, "{file}");
        }
    }

    #[test]
    fn failures_and_lines_that_cannot_be_read_are_problems() {
        let results = of(&["lines.log"]);
        assert_eq!(
            samples_of(&results),
            ["lines: [131.4] [14.2] [9.81, 10.05]"]
        );
        assert_eq!(
            problems(&results),
            [
                (ProblemKind::InitError, true, 1),
                (ProblemKind::FunctionError, false, 2),
                (ProblemKind::LogLine, false, 1),
            ]
        );
        let detail = |index: usize| &results.problems[index].detail;
        assert!(
            detail(0).ends_with("line 16: status error, Runtime.ExitError"),
            "{}",
            detail(0)
        );
        assert!(
            detail(1).ends_with("line 15: Task timed out after 3.00 seconds"),
            "{}",
            detail(1)
        );
        assert!(
            detail(2).ends_with("line 22: Duration is not a number of ms"),
            "{}",
            detail(2)
        );
        let results = of(&["json-format.log"]);
        assert_eq!(
            problems(&results),
            [
                (ProblemKind::FunctionError, false, 1),
                (ProblemKind::LogLine, false, 1)
            ]
        );
    }

    #[test]
    fn memory_sizes_of_one_function_are_runtimes_of_their_own() {
        let results = of(&["two-sizes.log"]);
        assert_eq!(
            samples_of(&results),
            [
                "two-sizes, 128 MB: [] [] [20.0, 20.0]",
                "two-sizes, 1024 MB: [] [] [10.0, 10.0]"
            ]
        );
        assert_eq!(
            results.runtimes[0].description,
            "128 MB, 2 invocations, 0 of them after an init or a restore"
        );
    }

    #[test]
    fn a_label_joins_files_and_what_is_in_both_counts_once() {
        let results = of(&[
            "ours=tail.log",
            "tutorial=invoke.json",
            "ours=tail.log",
            "ours=console.csv",
        ]);
        assert_eq!(
            names(&results),
            ["ours, 128 MB", "ours, 512 MB", "tutorial"]
        );
        assert_eq!(
            samples_of(&results)[1],
            "ours, 512 MB: [131.4] [14.2] [9.81, 10.05]"
        );
        assert!(results.warnings[0].starts_with("ours: 3 records are there more than once"));
        assert_eq!(results.baseline, "ours, 128 MB");
    }

    #[test]
    fn ratios_refer_to_the_baseline() {
        let mut results = of(&["two-sizes.log"]);
        results.set_baseline("two-sizes, 1024 MB").unwrap();
        results.compute();
        let ratio = |name: &str| results.series(name, Metric::Duration, None).unwrap().ratio;
        assert_eq!(ratio("two-sizes, 1024 MB"), None);
        let times = ratio("two-sizes, 128 MB").unwrap().times;
        assert!((times - 0.5).abs() < 1e-9, "{times}");
        let missing = results.set_baseline("another").unwrap_err();
        assert_eq!(
            missing.to_string(),
            "cannot compare with another: there are two-sizes, 128 MB; two-sizes, 1024 MB"
        );
    }

    #[test]
    fn inits_that_no_invocation_waited_for_are_warnings() {
        let results = of(&["telemetry.json"]);
        assert_eq!(
            results.warnings,
            ["telemetry: 1 inits that no invocation waited for are not among the samples"]
        );
    }
}
