//! `coshell compare --from-logs`: the logs that it reads, those that it refuses, and the log of a real `coshell serve`.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use coshell_compare::results::{Metric, ProblemKind, Results, Source};
use flate2::Compression;
use flate2::write::GzEncoder;

use support::coshell_path;
use support::{CommandOutput, Emulator, TaskRoot, repository_file};

const FIXTURES: &str = "tests/fixtures/lambda-logs";

/// `coshell compare` of these logs, in a folder that has them all.
fn compare(folder: &TaskRoot, logs: &[&str], more: &[&str]) -> CommandOutput {
    let mut command = Command::new(coshell_path());
    command.current_dir(folder.path()).arg("compare");
    for log in logs {
        command.args(["--from-logs", log]);
    }
    command.args(more);
    CommandOutput::of(command)
}

/// The report of a comparison that ends with this status.
#[track_caller]
fn report(folder: &TaskRoot, logs: &[&str], more: &[&str], status: i32) -> Results {
    let folder_option = ["-o", "report"];
    let output = compare(folder, logs, &[more, &folder_option].concat());
    assert_eq!(output.status, status, "{output:?}");
    let json = folder.read("report/results.json");
    let results: Results = serde_json::from_str(&json).expect("results");
    for runtime in &results.runtimes {
        assert!(output.stdout.contains(&runtime.name), "{output:?}");
    }
    results
}

fn with_fixtures(names: &[&str]) -> TaskRoot {
    let folder = TaskRoot::new();
    for name in names {
        let path = repository_file(Path::new(FIXTURES).join(name).to_str().expect("a name"));
        folder.write(name, std::fs::read(path).expect("a fixture"));
    }
    folder
}

fn count(results: &Results, runtime: &str, metric: Metric) -> usize {
    let series = results.series(runtime, metric, None);
    series.map_or(0, |series| series.summary.count)
}

fn names(results: &Results) -> Vec<&str> {
    results.runtimes.iter().map(|it| it.name.as_str()).collect()
}

#[test]
fn labels_are_runtimes_and_the_baseline_is_chosen() {
    let folder = with_fixtures(&["invoke.json", "log-results.txt"]);
    let logs = ["tutorial=invoke.json", "ours=log-results.txt"];
    let results = report(&folder, &logs, &["--baseline", "ours"], 0);
    assert_eq!((results.source, results.is_complete), (Source::Logs, true));
    assert_eq!(names(&results), ["tutorial", "ours"]);
    assert_eq!(results.baseline, "ours");
    assert!(results.floor.is_empty() && results.problems.is_empty());
    for (metric, expected) in [
        (Metric::InitDuration, 1),
        (Metric::ColdDuration, 1),
        (Metric::Duration, 2),
        (Metric::BilledDuration, 3),
        (Metric::MaxMemoryUsed, 3),
    ] {
        assert_eq!(count(&results, "tutorial", metric), expected, "{metric:?}");
    }
    let of = |name| {
        results
            .series(name, Metric::Duration, None)
            .expect("series")
    };
    let (tutorial, ours) = (of("tutorial"), of("ours"));
    assert_eq!((tutorial.summary.min, tutorial.summary.max), (9.5, 10.5));
    assert_eq!(tutorial.rounds, [[9.5], [10.5]]);
    assert!(ours.ratio.is_none() && tutorial.ratio.is_some());
}

#[test]
fn lines_without_labels_are_grouped_by_function() {
    let folder = with_fixtures(&["filter-log-events.json", "two-sizes.log"]);
    let results = report(
        &folder,
        &["filter-log-events.json", "two-sizes.log"],
        &[],
        0,
    );
    assert_eq!(
        names(&results),
        [
            "tutorial",
            "ours",
            "two-sizes, 128 MB",
            "two-sizes, 1024 MB"
        ]
    );
    assert_eq!(results.baseline, "tutorial");
}

#[test]
fn failures_and_unreadable_lines_are_reported_with_status_1() {
    let folder = with_fixtures(&["lines.log"]);
    let results = report(&folder, &["lines.log"], &[], 1);
    assert_eq!(count(&results, "lines", Metric::Duration), 2);
    let problems = results.problems.iter();
    let problems: Vec<_> = problems.map(|one| (one.kind, one.count)).collect();
    assert_eq!(
        problems,
        [
            (ProblemKind::InitError, 1),
            (ProblemKind::FunctionError, 2),
            (ProblemKind::LogLine, 1)
        ]
    );
    assert!(
        results.problems[2]
            .detail
            .starts_with("lines.log, line 22: ")
    );
}

#[test]
fn packed_logs_are_read_and_standard_input_too() {
    let folder = with_fixtures(&["tail.log"]);
    let packed = File::create(folder.path().join("tail.log.gz")).expect("a file");
    let mut packed = GzEncoder::new(packed, Compression::default());
    packed
        .write_all(folder.read("tail.log").as_bytes())
        .and_then(|()| packed.try_finish())
        .expect("packed");
    let results = report(&folder, &["tail.log.gz"], &[], 0);
    assert_eq!(names(&results), ["tail"]);
    assert_eq!(count(&results, "tail", Metric::Duration), 2);

    let mut command = Command::new(coshell_path());
    command.args(["compare", "--from-logs", "piped=-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("coshell");
    let mut stdin = child.stdin.take().expect("standard input");
    io::copy(&mut folder.read("tail.log").as_bytes(), &mut stdin).expect("written");
    drop(stdin);
    let ended = child.wait_with_output().expect("output");
    assert!(ended.status.success(), "{ended:?}");
    assert!(
        String::from_utf8_lossy(&ended.stdout).contains("piped"),
        "{ended:?}"
    );
}

/// In 300 megabytes of address space.
#[test]
fn line_of_a_gigabyte_is_read_in_little_memory_and_one_without_end_is_refused() {
    let folder = with_fixtures(&["tail.log"]);
    let limited = |logs: &str| {
        let mut command = Command::new("bash");
        let script = "ulimit -v 300000; exec \"$0\" compare --from-logs \"$1\"";
        command.args(["-c", script, coshell_path(), logs]);
        command.current_dir(folder.path());
        CommandOutput::of(command)
    };
    let mut large = File::create(folder.path().join("large.log")).expect("a file");
    large.set_len(1_000_000_000).expect("a hole");
    large.seek(SeekFrom::End(0)).expect("its end");
    writeln!(large).expect("written");
    large
        .write_all(folder.read("tail.log").as_bytes())
        .expect("written");
    let output = limited("large.log");
    assert_eq!(output.status, 0, "{output:?}");
    assert!(
        output.stdout.starts_with("large, from Lambda's logs"),
        "{output:?}"
    );
    let words = "coshell: cannot read logs of /dev/zero: a line in it is longer than 2048 MiB: it is no log\n";
    limited("/dev/zero").assert_failed(2, words);
}

#[test]
fn what_cannot_be_compared_is_refused_by_name() {
    let folder = with_fixtures(&["tail.log"]);
    folder.write("other.log", "nothing of Lambda's\n\n");
    folder.write("bad.log", "a line\nREPORT RequestId: 1\tDuration: 5\n");
    folder.write(
        "cut.json",
        r#"{"events": [{"message": "REPORT RequestId: 1"#,
    );
    folder.write("empty.log", "");
    for (logs, more, expected) in [
        (
            &["missing.log"][..],
            &[][..],
            "cannot read logs of missing.log: No such file",
        ),
        (&["."], &[], "cannot read logs of .: Is a directory"),
        (
            &["tail.log", "other.log"],
            &[],
            "cannot read logs of other.log: none of its 2 messages is a REPORT line or a platform.report event",
        ),
        (
            &["empty.log"],
            &[],
            "cannot read logs of empty.log: none of its 0 messages",
        ),
        (
            &["bad.log"],
            &[],
            "cannot read logs of bad.log: no REPORT line in it can be read; the first, line 2: Duration is not a number of ms",
        ),
        (
            &["cut.json"],
            &[],
            "cannot read logs of cut.json: EOF while parsing",
        ),
        (
            &["=tail.log"],
            &[],
            "cannot read logs of =tail.log: the label is empty",
        ),
        (
            &["a=tail.log"],
            &["--baseline", "b"],
            "cannot compare with b: there are a",
        ),
    ] {
        let output = compare(&folder, logs, &[more, &["-o", "report"]].concat());
        output.assert_failed(2, &format!("coshell: {expected}"));
        assert!(!folder.exists("report"), "{logs:?}");
    }
}

#[test]
fn report_that_cannot_be_written_is_an_error() {
    let folder = with_fixtures(&["tail.log"]);
    folder.write("taken", "a file");
    let output = compare(&folder, &["tail.log"], &["-o", "taken"]);
    output.assert_failed(2, "coshell: cannot make folder taken: ");
}

/// The log of a real `coshell serve`, with a handler that prints what looks like a report.
#[test]
fn log_of_serve_is_read_with_its_cold_and_its_failed_invocations() {
    let emulator = Emulator::of(
        r#"handler() {
  case $1 in
    exit) kill -9 $PPID ;;
    fake) printf '{"message":"REPORT RequestId: 1\\tDuration: 0.01 ms\\t"}\n' >&2 ;;
  esac
  printf '%s' "$1"
}
"#,
    )
    .start();
    for event in ["one", "two", "fake", "three"] {
        assert_eq!(emulator.respond_text(event), event);
    }
    let error = emulator.call("exit");
    assert!(error.header("X-Amz-Function-Error").is_some(), "{error:?}");
    assert_eq!(emulator.respond_text("four"), "four");
    let folder = TaskRoot::new();
    folder.write("serve.log", emulator.stop());
    let results = report(&folder, &["serve.log"], &["--baseline", "serve"], 1);
    assert_eq!(names(&results), ["serve"]);
    // The start after the death is a part of the invocation that waited for it, as on Lambda.
    assert_eq!(count(&results, "serve", Metric::InitDuration), 1);
    assert_eq!(count(&results, "serve", Metric::ColdDuration), 1);
    assert_eq!(count(&results, "serve", Metric::Duration), 4);
    assert_eq!(count(&results, "serve", Metric::MaxMemoryUsed), 5);
    let problems: Vec<_> = results
        .problems
        .iter()
        .map(|one| (one.kind, one.count))
        .collect();
    assert_eq!(problems, [(ProblemKind::FunctionError, 1)]);
}
