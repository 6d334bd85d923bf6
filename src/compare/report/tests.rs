//! Reports: every form has the same figures, and no name can put anything else into one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use crate::report::{self, document, table, words};
use crate::results::{
    Machine, Metric, Problem, ProblemKind, Results, Runtime, Series, Source, VERSION,
};
use crate::statistics::{ratio, summary};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use support::CommandOutput;

/// A name that is markup, a link, a colour and a change of direction, wherever it is not escaped.
const HOSTILE: &str = "</script><script>alert(1)</script>\"'|`*_\n\x1b[31m\u{202e}&amp;";

/// Warm samples of a round: more than a picture has dots, and few enough for quick intervals.
const EACH: usize = 18;

/// Samples with a long tail to the right, as times have it.
fn samples(middle: f64, rounds: usize, each: usize, random: &mut SmallRng) -> Vec<Vec<f64>> {
    let mut round = || -> Vec<_> {
        let displaced = middle * random.random_range(0.97..1.03);
        let mut sample = || {
            let luck: f64 = random.random_range(0.0..1.0);
            displaced * (0.97 + 0.05 * random.random_range(0.0..1.0) + 0.4 * luck.powi(12))
        };
        (0..each).map(|_| sample()).collect()
    };
    (0..rounds).map(|_| round()).collect()
}

struct Made {
    results: Results,
    random: SmallRng,
}

impl Made {
    fn new(source: Source, names: &[&str]) -> Self {
        let runtime = |name: &&str| Runtime {
            name: (*name).to_owned(),
            description: format!("command ./{name}/bootstrap, handler function.handler, 512 MB"),
        };
        let machine = Machine {
            cpu: "AMD EPYC 7763 64-Core Processor".into(),
            cpus: 2,
            kernel: "6.1.0".into(),
            os: "Debian GNU/Linux 12 (bookworm)".into(),
            coshell: "0.1.0".into(),
            load: 0.42,
        };
        let settings = [("rounds", "10"), ("invocations", "200"), ("gap", "0 ms")];
        let results = Results {
            version: VERSION,
            title: "echo, beside the tutorial".into(),
            source,
            begun: "2026-11-26T22:30:26Z".into(),
            is_complete: true,
            machine,
            settings: settings
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            warnings: vec!["2 other processes took 31 % of the CPUs".into()],
            floor: Vec::new(),
            baseline: names[0].to_owned(),
            runtimes: names.iter().map(runtime).collect(),
            series: Vec::new(),
            problems: Vec::new(),
        };
        let random = SmallRng::seed_from_u64(6);
        Self { results, random }
    }

    fn series(
        &mut self,
        name: &str,
        metric: Metric,
        event_bytes: Option<usize>,
        rounds: Vec<Vec<f64>>,
    ) {
        let results = &mut self.results;
        let baseline = results.series(&results.baseline, metric, event_bytes);
        let ratio = baseline.and_then(|one| ratio(&rounds, &one.rounds, metric.is_more_better()));
        results.series.push(Series {
            runtime: name.to_owned(),
            metric,
            event_bytes,
            summary: summary(&rounds),
            rounds,
            ratio,
        });
    }

    fn problem(
        &mut self,
        name: &str,
        kind: ProblemKind,
        is_cold: bool,
        event_bytes: Option<usize>,
        count: usize,
    ) {
        self.results.problems.push(Problem {
            runtime: name.to_owned(),
            kind,
            is_cold,
            event_bytes,
            count,
            detail: "the answer has 31 bytes instead of 32, other from byte 4 on".into(),
            log: match kind {
                ProblemKind::Died => vec!["function.sh: line 3: jq: command not found".into()],
                _ => Vec::new(),
            },
        });
    }
}

/// Four measured runtimes: the second is much faster, the third as fast as the first and wrong three times, and the fourth
/// dies.
fn measured(names: [&str; 4]) -> Results {
    let mut made = Made::new(Source::Measured, &names);
    let [tutorial, ours, wrong, dead] = names;
    for (name, slow) in [(tutorial, 1.0), (ours, 0.1), (wrong, 1.004)] {
        for (metric, middle) in [
            (Metric::Init, 6.0),
            (Metric::FirstAnswer, 30.0),
            (Metric::ColdTotal, 36.0),
        ] {
            let start = if slow < 0.5 { 1.4 } else { slow };
            let rounds = samples(middle * start, 20, 1, &mut made.random);
            made.series(name, metric, None, rounds);
        }
        for (size, more) in [(32, 1.0), (1024, 1.3)] {
            let warm = [
                (Metric::Latency, 22.0 * more * slow * slow, EACH),
                (Metric::Turnaround, 1.5 * slow, EACH),
                (Metric::Throughput, 40.0 / more / slow, 1),
                (Metric::CpuTime, 18.0 * slow, 1),
                (Metric::Processes, 5.0 * slow, 1),
                (Metric::PeakMemory, 9.0, 1),
            ];
            for (metric, middle, each) in warm {
                let rounds = samples(middle, 10, each, &mut made.random);
                made.series(name, metric, Some(size), rounds);
            }
        }
    }
    let rounds = samples(0.02, 10, EACH, &mut made.random);
    made.series("", Metric::Latency, Some(32), rounds);
    let floor = made.results.series.pop();
    made.results.floor.extend(floor);
    made.problem(wrong, ProblemKind::WrongAnswer, false, Some(32), 3);
    made.problem(dead, ProblemKind::Died, true, None, 20);
    made.results
}

fn usual() -> Results {
    static MADE: LazyLock<Results> =
        LazyLock::new(|| measured(["tutorial", "ours", "sometimes wrong", "dies at once"]));
    MADE.clone()
}

/// The same, with a harmful name for the first.
fn hostile() -> Results {
    static MADE: LazyLock<Results> = LazyLock::new(|| measured([HOSTILE, "b", "c", "d"]));
    MADE.clone()
}

fn of_logs() -> Results {
    let mut made = Made::new(Source::Logs, &["tutorial, 128 MB", "ours, 128 MB"]);
    for (name, slow) in [("tutorial, 128 MB", 1.0), ("ours, 128 MB", 0.05)] {
        for (metric, middle, count) in [
            (Metric::InitDuration, 100.0 + 10.0 * slow, 12),
            (Metric::ColdDuration, 300.0 * slow, 12),
            (Metric::Duration, 180.0 * slow, 170),
            (Metric::BilledDuration, 181.0 * slow, 170),
            (Metric::MaxMemoryUsed, 38.0, 170),
        ] {
            let rounds = samples(middle, count, 1, &mut made.random);
            made.series(name, metric, None, rounds);
        }
    }
    made.problem("tutorial, 128 MB", ProblemKind::LogLine, false, None, 1);
    made.results
}

/// Eight runtimes, of which one has a long name.
fn eight() -> Results {
    let names = [
        "tutorial",
        "reporting, with a name that is too long",
        "careful",
        "bare",
        "fork",
        "coshell",
        "python",
        "native",
    ];
    let mut made = Made::new(Source::Measured, &names);
    let speeds = [1.0, 1.5, 1.2, 2.2, 0.13, 0.014, 0.011, 0.0033];
    for (name, slow) in names.into_iter().zip(speeds) {
        for (metric, middle) in [(Metric::Init, 20.0), (Metric::ColdTotal, 40.0)] {
            let rounds = samples(middle * slow, 20, 1, &mut made.random);
            made.series(name, metric, None, rounds);
        }
        let rounds = samples(20.0 * slow, 10, EACH, &mut made.random);
        made.series(name, Metric::Latency, Some(32), rounds);
    }
    made.results
}

/// Results in which every runtime has failed.
fn all_failed() -> Results {
    let mut results = usual();
    results.series.clear();
    results.floor.clear();
    let tell = |runtime: &Runtime| Problem {
        runtime: runtime.name.clone(),
        ..results.problems[1].clone()
    };
    results.problems = results.runtimes.iter().map(tell).collect();
    results
}

/// The files of a report.
struct Written {
    folder: TempDir,
}

impl Written {
    fn of(results: &Results) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        report::write(results, &folder.path().join("report")).expect("a report");
        Self { folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("report").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("text")
    }
}

/// The texts of an SVG file, in order.
fn texts(svg: &str) -> Vec<String> {
    let after = svg.split("<text").skip(1);
    let text = |part: &str| {
        let (text, _) = part.split_once('>')?.1.split_once("</text>")?;
        Some(text.to_owned())
    };
    after.filter_map(text).collect()
}

#[test]
fn every_file_is_there_and_no_other() {
    let written = Written::of(&usual());
    let entries = fs::read_dir(written.path("")).expect("a folder");
    let names: BTreeSet<_> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let expected = [
        "cold.svg",
        "report.html",
        "report.md",
        "results.json",
        "samples.csv",
        "warm.svg",
    ];
    assert_eq!(names, expected.map(ToOwned::to_owned).into());
    // The report can be written again.
    report::write(&all_failed(), &written.path("")).expect("a report");
    assert!(written.text("report.md").contains("dies"));
}

#[test]
fn report_that_cannot_be_written_says_which_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = folder.path().join("taken");
    fs::write(&taken, "").expect("a file");
    let error = report::write(&usual(), &taken).unwrap_err().to_string();
    let expected = format!(
        "cannot make folder {}: File exists (os error 17)",
        taken.display()
    );
    assert_eq!(error, expected);
    let folder = folder.path().join("folder");
    fs::create_dir_all(folder.join("samples.csv/full")).expect("a folder");
    let error = report::write(&usual(), &folder).unwrap_err().to_string();
    let file = folder.join("samples.csv");
    assert_eq!(
        error,
        format!(
            "cannot write {}: Is a directory (os error 21)",
            file.display()
        )
    );
}

#[test]
fn json_reads_back_to_the_same() {
    for results in [usual(), of_logs(), all_failed(), hostile()] {
        let text = Written::of(&results).text("results.json");
        let read: Results = serde_json::from_str(&text).expect("results");
        assert!(read == results, "{text}");
    }
}

#[test]
fn csv_has_every_sample() {
    let results = hostile();
    let bytes = fs::read(Written::of(&results).path("samples.csv")).expect("a file");
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let titles: Vec<_> = reader
        .headers()
        .expect("titles")
        .iter()
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(
        titles.join(","),
        "runtime,metric,unit,event_bytes,round,sample,value"
    );
    let mut records = reader.records().map(|record| record.expect("a record"));
    for series in &results.series {
        let metric = serde_json::to_value(series.metric).expect("a word");
        for (round, samples) in (1..).zip(&series.rounds) {
            for (number, value) in (1..).zip(samples) {
                let record = records.next().expect("a sample");
                let size = series.event_bytes.map(|size| size.to_string());
                let expected = [
                    series.runtime.clone(),
                    metric.as_str().unwrap().to_owned(),
                    series.metric.unit().to_owned(),
                    size.unwrap_or_default(),
                    format!("{round}"),
                    format!("{number}"),
                ];
                assert_eq!(record.iter().take(6).collect::<Vec<_>>(), expected);
                assert_eq!(record[6].parse(), Ok(*value));
            }
        }
    }
    assert!(records.next().is_none());
}

#[test]
fn every_form_has_the_cells_of_the_tables() {
    for results in [usual(), of_logs(), all_failed()] {
        let document = document::document(&results);
        let written = Written::of(&results);
        let (page, markdown) = (written.text("report.html"), written.text("report.md"));
        let terminal = report::terminal(&results, false);
        for one in &document.tables {
            for cell in one.rows.iter().flatten() {
                for (form, text) in [
                    ("page", &page),
                    ("Markdown", &markdown),
                    ("terminal", &terminal),
                ] {
                    assert!(
                        text.contains(&cell.text),
                        "{form} has no {:?} of {}",
                        cell.text,
                        one.title
                    );
                }
            }
            assert!(
                one.rows.iter().all(|row| row.len() == one.columns.len()),
                "{one:?}"
            );
        }
    }
}

#[test]
fn figures_of_pictures_are_those_of_the_tables() {
    for results in [usual(), of_logs()] {
        let written = Written::of(&results);
        let drawn = [written.text("cold.svg"), written.text("warm.svg")]
            .map(|svg| texts(&svg))
            .concat();
        let (mut count, mut verdicts) = (0, 0);
        for one in &document::document(&results).tables {
            let table::Subject::Measure(metric, size) = one.subject else {
                continue;
            };
            if !metric.is_cold() && !matches!(metric, Metric::Latency | Metric::Duration) {
                continue;
            }
            let title = words::measure(metric, size);
            let start = drawn
                .iter()
                .position(|text| *text == title)
                .expect("a panel");
            for row in &one.rows {
                let name = drawn[start..]
                    .iter()
                    .position(|text| Some(text.as_str()) == row[0].text.split(" (").next())
                    .expect("a row");
                let beside = &drawn[start + name + 1..];
                let (p50, _) = row[1].text.split_once(" (").unwrap_or((&row[1].text, ""));
                let expected = if row[2].text == "–" {
                    p50.to_owned()
                } else {
                    format!("{p50} ms")
                };
                assert_eq!(beside[0], expected, "{} in {title}", row[0].text);
                count += 1;
                if row[6].text == "1" {
                    assert_eq!(beside[1], "baseline");
                } else if let Some((verdict, _)) = row[6].text.split_once(" (") {
                    assert_eq!(beside[1], verdict, "{} in {title}", row[0].text);
                    verdicts += 1;
                }
            }
        }
        let is_measured = results.source == Source::Measured;
        assert_eq!(
            (count, verdicts),
            if is_measured { (20, 10) } else { (6, 3) }
        );
    }
}

#[test]
fn what_went_wrong_is_in_the_row_of_the_runtime_too() {
    let document = document::document(&usual());
    let row = |metric, size, name: &str| {
        let subject = table::Subject::Measure(metric, size);
        let found = document
            .tables
            .iter()
            .find(|one| one.subject == subject)
            .expect("a table");
        let row = found
            .rows
            .iter()
            .find(|row| row[0].text == name)
            .expect("a row");
        row.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>()
    };
    let wrong = row(Metric::Latency, Some(32), "sometimes wrong");
    assert_eq!(wrong.last().unwrap(), "answers wrongly: 3 of 183");
    assert!(row(Metric::Latency, Some(1024), "sometimes wrong").len() < wrong.len());
    // It died cold, and was never warm.
    for dead in [
        row(Metric::Init, None, "dies at once"),
        row(Metric::Latency, Some(1024), "dies at once"),
    ] {
        assert_eq!(dead[1..3], ["dies", "–"]);
    }
}

#[test]
fn ratio_whose_interval_has_1_is_no_difference() {
    let document = document::document(&usual());
    let subject = table::Subject::Measure(Metric::Latency, Some(32));
    let found = document
        .tables
        .iter()
        .find(|one| one.subject == subject)
        .expect("a table");
    let texts: Vec<_> = found.rows.iter().map(|row| &row[6]).collect();
    assert_eq!(found.columns[6], "times faster");
    assert_eq!(texts[0].text, "1");
    assert!(
        texts[1].text.contains("× (") && texts[1].tone == table::Tone::Better,
        "{texts:?}"
    );
    assert!(
        texts[2].text.starts_with("no difference (0.9") && texts[2].tone == table::Tone::Plain,
        "{texts:?}"
    );
}

#[test]
fn headline_has_the_result() {
    let headline = |results: &Results| document::document(results).headline;
    assert_eq!(
        headline(&usual()),
        "ours answers an event of 32 B fastest, in 0.218 ms, 101 times faster than tutorial; \
         none starts and gives its first answer faster than tutorial; dies at once has no figures (dies)."
    );
    let two = |slow: f64, rounds: usize| {
        let mut made = Made::new(Source::Measured, &["tutorial", "ours"]);
        for (name, slow) in [("tutorial", 1.0), ("ours", slow)] {
            let rounds = samples(20.0 * slow, rounds, EACH, &mut made.random);
            made.series(name, Metric::Latency, Some(32), rounds);
        }
        headline(&made.results)
    };
    for (slow, rounds, expected) in [
        (0.1, 10, "ours answers an event of 32 B 10."),
        (3.0, 10, "ours answers an event of 32 B "),
        (
            1.0,
            10,
            "ours answers an event of 32 B as fast as tutorial (",
        ),
        (
            0.1,
            5,
            "there are too few samples to tell whether ours answers an event of 32 B faster than tutorial (",
        ),
    ] {
        let found = two(slow, rounds);
        assert!(found.starts_with(expected), "{found}");
        let direction = found.contains(" times faster than ");
        assert_eq!(direction, slow < 1.0 && rounds == 10, "{found}");
        assert_eq!(found.contains(" times slower than "), slow > 2.0, "{found}");
    }
    assert!(headline(&of_logs()).starts_with("ours, 128 MB handles an event 19."));
    assert_eq!(
        headline(&all_failed()),
        "No runtime gave a right answer; tutorial, ours, sometimes wrong and dies at once have no figures (dies)."
    );
    let mut alone = usual();
    alone.runtimes.truncate(1);
    alone.problems.clear();
    assert!(headline(&alone).starts_with("tutorial answers an event of 32 B in 2"));
}

#[test]
fn page_explains_itself() {
    let results = usual();
    let written = Written::of(&results);
    let page = written.text("report.html");
    let (head, tables) = page.split_once("<h2>").expect("a table");
    for text in [
        "<h1>echo, beside the tutorial</h1>",
        "ours answers an event of 32 B fastest",
        "Measured 2026-11-26 22:30 UTC on AMD EPYC 7763 64-Core Processor, 2 CPUs, Debian",
        "<a href=\"#how-to-read\">",
    ] {
        assert!(head.contains(text), "{text}: {head}");
    }
    assert!(tables.contains("id=\"how-to-read\"") && tables.contains("docs/compare-method.md"));
    // Each table of a measure has a definition, and says in which direction that gets better.
    let measured = document::document(&results);
    let measured = measured.tables.iter();
    for table in measured.filter(|one| matches!(one.subject, table::Subject::Measure(..))) {
        let definition = table.definition.as_ref().expect("a definition");
        let beside = format!("<h2>{}</h2><p class=\"note\">{definition}</p>", table.title);
        assert!(page.contains(&beside), "{beside}");
        let direction = if table.title.contains("in a second") {
            ". More is better."
        } else {
            ". Less is better."
        };
        assert!(definition.ends_with(direction), "{definition}");
    }
    for name in ["cold.svg", "warm.svg"] {
        let texts = texts(&written.text(name));
        assert!(
            texts
                .iter()
                .any(|text| text.starts_with("A dot is one measurement")),
            "{texts:?}"
        );
        assert!(
            texts.iter().any(|text| text.ends_with(", less is better")),
            "{texts:?}"
        );
    }
}

#[test]
fn few_rounds_and_an_early_end_are_shown() {
    let mut results = usual();
    results.is_complete = false;
    for series in &mut results.series {
        series.rounds.truncate(4);
    }
    results.compute();
    let text = report::terminal(&results, false);
    assert!(
        text.contains("warning: not complete: written while"),
        "{text}"
    );
    assert!(
        text.contains(
            "Fewer than 6 rounds of tutorial, ours, sometimes wrong: too few to tell, however far apart they are."
        ),
        "{text}"
    );
    assert!(!text.contains("no difference"), "{text}");
    let document = document::document(&results);
    let mut cells = document
        .tables
        .iter()
        .flat_map(|one| one.rows.iter().flatten());
    assert!(cells.all(|cell| !matches!(cell.tone, table::Tone::Better | table::Tone::Worse)));
    assert!(!report::terminal(&usual(), false).contains("Fewer than"));
}

#[test]
fn pictures_of_nothing_say_why() {
    let written = Written::of(&all_failed());
    for name in ["cold.svg", "warm.svg"] {
        let texts = texts(&written.text(name));
        assert!(texts.contains(&"no samples".to_owned()), "{texts:?}");
        assert!(
            texts.contains(&"dies at once: dies".to_owned()),
            "{texts:?}"
        );
    }
}

#[test]
fn hostile_names_are_harmless() {
    let mut results = hostile();
    HOSTILE.clone_into(&mut results.title);
    HOSTILE.clone_into(&mut results.runtimes[1].description);
    HOSTILE.clone_into(&mut results.problems[1].detail);
    results.problems[1].runtime = HOSTILE.to_owned();
    results.warnings.push(HOSTILE.to_owned());
    results
        .settings
        .push((HOSTILE.to_owned(), HOSTILE.to_owned()));
    let written = Written::of(&results);
    let terminal = report::terminal(&results, false);
    assert!(!terminal.contains('\x1b') && !terminal.contains('\u{202e}'));
    let markdown = written.text("report.md");
    assert!(!markdown.contains("<script") && !markdown.contains('\x1b'));
    for (number, line) in markdown
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with('|'))
    {
        assert!(line.ends_with(" |"), "line {number}: {line}");
    }
    for name in ["cold.svg", "warm.svg", "report.html"] {
        let text = written.text(name);
        assert!(
            !text.contains("<script>alert") && !text.contains('\x1b'),
            "{name}"
        );
    }
    let page = written.text("report.html");
    // Two files that it holds, and its own script.
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script").count(), 3);
    // The page offers the same file as the one beside it.
    let held = page
        .split("<script type=\"application/json\"")
        .nth(1)
        .expect("a file");
    let held = held
        .split_once('>')
        .unwrap()
        .1
        .split_once("</script>")
        .unwrap()
        .0;
    assert_eq!(
        serde_json::from_str::<String>(held).expect("a string"),
        written.text("results.json")
    );
}

/// A browser without a network.
fn chromium(home: &Path) -> Command {
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
    ]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-breakpad",
    ]);
    command.args([
        "--no-first-run",
        "--virtual-time-budget=10000",
        "--enable-logging=stderr",
    ]);
    command.args([
        "--proxy-server=127.0.0.1:1",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]);
    command
        .arg(format!("--user-data-dir={}", home.display()))
        .env("HOME", home);
    command
}

#[test]
fn page_is_read_in_a_browser_that_reaches_nothing() {
    let results = hostile();
    let written = Written::of(&results);
    let mut command = chromium(written.folder.path());
    command.arg("--dump-dom");
    command.arg(format!("file://{}", written.path("report.html").display()));
    let output = CommandOutput::of(command);
    assert_eq!(output.status, 0, "{}", output.stderr);
    // The console has errors of scripts, and what the policy refuses.
    assert!(!output.stderr.contains("CONSOLE"), "{}", output.stderr);
    let page = &output.stdout;
    assert!(
        page.contains("<title>echo, beside the tutorial</title>"),
        "{page}"
    );
    let tables = document::document(&results).tables.len();
    assert_eq!(page.matches("<table").count(), tables);
    // Two pictures, each for a wide screen and for a phone.
    assert_eq!(page.matches("<svg").count(), 4);
    for name in ["results.json", "samples.csv"] {
        let link = format!("download=\"{name}\">{name}</a>");
        assert!(
            page.contains("href=\"blob:") && page.contains(&link),
            "{page}"
        );
    }
}

/// At a width of 420 pixels a page needs no scrolling to the side, and shows the ratio of each runtime.
#[test]
fn phone_shows_ratios_without_scrolling_to_the_side() {
    let written = Written::of(&eight());
    let page = written.text("report.html");
    let (head, rest) = page.split_once("<meta http-equiv").expect("a policy");
    let (_, rest) = rest.split_once('>').expect("its end");
    let script = "<script>addEventListener('load', () => {
        const cells = [...document.querySelectorAll('td.ratio')].map(cell => cell.getBoundingClientRect());
        const seen = cells.filter(box => box.width > 0 && box.left >= 0 && box.right <= innerWidth).length;
        const svg = [...document.querySelectorAll('svg')].filter(one => one.getBoundingClientRect().width > 0).length;
        document.title = [innerWidth, document.documentElement.scrollWidth, cells.length, seen, svg].join(' ');
    });</script>";
    let file = written.path("phone.html");
    fs::write(&file, format!("{head}{script}{rest}")).expect("a page");
    let mut command = chromium(written.folder.path());
    command.args(["--window-size=420,2000", "--dump-dom"]);
    command.arg(format!("file://{}", file.display()));
    let output = CommandOutput::of(command);
    let (_, title) = output.stdout.split_once("<title>").expect("a title");
    let (title, _) = title.split_once("</title>").expect("its end");
    let figures: Vec<usize> = title
        .split(' ')
        .map(|figure| figure.parse().expect(title))
        .collect();
    let [width, needed, ratios, seen, pictures] = figures[..] else {
        panic!("{title}")
    };
    assert!(width <= 500 && needed <= width, "{title}");
    assert_eq!((ratios, seen, pictures), (24, 24, 2), "{title}");
}

/// For the eye: `COSHELL_TEST_REPORT=DIR cargo nextest run --run-ignored only -E 'test(/reports_to_look_at/)'`.
#[test]
#[ignore = "writes reports to be looked at"]
fn reports_to_look_at() {
    let folder = std::env::var_os("COSHELL_TEST_REPORT").expect("a folder");
    for (name, results) in [
        ("measured", usual()),
        ("logs", of_logs()),
        ("eight", eight()),
        ("failed", all_failed()),
        ("hostile", hostile()),
    ] {
        let folder = Path::new(&folder).join(name);
        report::write(&results, &folder).expect("a report");
        fs::write(folder.join("terminal"), report::terminal(&results, true)).expect("a file");
    }
}
