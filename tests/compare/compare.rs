//! `coshell compare`: its figures of runtimes with programmed delays, the failures that it finds, and that it cleans up.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use coshell_compare::results::{Metric, Problem, ProblemKind, Results};
use nix::sys::signal::Signal;

use support::coshell_path;
use support::{
    CommandOutput, LIMIT, Process, TaskRoot, bootstrap_path, repository_file, wait_until,
};

/// A comparison has many steps, of which each may take LIMIT on a busy machine.
const RUN_LIMIT: Duration = Duration::from_secs(120);
/// A short comparison, for tests that are not about figures.
const FEW: &str = "timeout = 5\ncold = { repeats = 2 }\nwarm = { sizes = [32], rounds = 2, invocations = 10, warmup = 1 }\n";

/// A folder with a scenario in it.
struct Comparison {
    folder: TaskRoot,
}

impl Comparison {
    /// Makes a scenario with these settings and no runtimes.
    fn of(settings: &str) -> Self {
        let folder = TaskRoot::new();
        folder.write("scenario.toml", settings);
        Self { folder }
    }

    /// Adds the fake runtime. The names of the variables are without their prefix `FAKE_`.
    fn fake(self, name: &str, variables: &[(&str, &str)]) -> Self {
        let command = repository_file("tests/fixtures/compare/runtime");
        let variables = variables.iter();
        let lines = variables.map(|(name, value)| format!("env.FAKE_{name} = {value:?}\n"));
        let command = format!("command = ['{}']\n", command.display());
        self.runtime(name, &(command + &lines.collect::<String>()))
    }

    fn runtime(self, name: &str, lines: &str) -> Self {
        let path = self.path().join("scenario.toml");
        let mut file = File::options().append(true).open(path).expect("a scenario");
        write!(file, "[[runtime]]\nname = {name:?}\n{lines}").expect("written");
        self
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self) -> Command {
        let temporary = self.path().join("temporary");
        fs::create_dir_all(&temporary).expect("a folder");
        let mut command = Command::new(coshell_path());
        command
            .args(["compare", "scenario.toml", "-o", "out"])
            .current_dir(self.path())
            .env("TMPDIR", temporary);
        command
    }

    fn results(&self) -> Results {
        let text = fs::read(self.path().join("out/results.json")).expect("results");
        serde_json::from_slice(&text).expect("results")
    }

    /// Runs the comparison, and returns its output and results. No process and no temporary file may be left.
    #[track_caller]
    fn run(&self) -> (CommandOutput, Results) {
        let process = Process::start(self.command());
        let status = process.wait_exit(RUN_LIMIT);
        let status = status.code().expect("an exit status");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        self.assert_nothing_is_left(&process);
        process.final_log();
        let output = CommandOutput {
            status,
            stdout: text(process.stdout()),
            stderr: text(process.stderr()),
        };
        assert!(status < 2, "{output:?}");
        (output, self.results())
    }

    #[track_caller]
    fn assert_nothing_is_left(&self, process: &Process) {
        assert_eq!(process.processes().into_iter().collect::<Vec<_>>(), []);
        let left = fs::read_dir(self.path().join("temporary")).expect("a folder");
        assert_eq!(left.count(), 0);
    }
}

/// The median of a series; `None` if it has no samples.
fn p50(
    results: &Results,
    runtime: &str,
    metric: Metric,
    event_bytes: Option<usize>,
) -> Option<f64> {
    let series = results
        .series(runtime, metric, event_bytes)
        .expect("a series");
    (series.summary.count > 0).then_some(series.summary.p50)
}

#[track_caller]
fn problem<'a>(
    results: &'a Results,
    runtime: &str,
    kind: ProblemKind,
    is_cold: bool,
) -> &'a Problem {
    let is_it =
        |one: &&Problem| one.runtime == runtime && one.kind == kind && one.is_cold == is_cold;
    let found = results.problems.iter().find(is_it);
    found.unwrap_or_else(|| panic!("{runtime} has no {kind:?}: {:#?}", results.problems))
}

/// The times at which a process of the fake runtime did something, in milliseconds on the clock of the figures.
#[derive(Debug)]
struct Journal {
    began: f64,
    requested: Vec<f64>,
    got: Vec<f64>,
    answering: Vec<f64>,
    answered: Vec<f64>,
}

impl Journal {
    /// The last of its times before `limit`.
    fn last_before(&self, limit: f64) -> f64 {
        let all = [&self.requested, &self.got, &self.answering, &self.answered];
        let earlier = all.into_iter().flatten().copied();
        earlier
            .filter(|moment| *moment < limit)
            .fold(self.began, f64::max)
    }
}

/// The journal of every process, in the order in which they began.
fn journals(text: &str) -> Vec<Journal> {
    let mut pids = Vec::new();
    let mut journals: Vec<Journal> = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [pid, word, nanoseconds] = words[..] else {
            panic!("{line}")
        };
        let moment = nanoseconds.parse::<f64>().expect("a number") / 1e6;
        if word == "began" {
            pids.push(pid);
            journals.push(Journal {
                began: moment,
                requested: Vec::new(),
                got: Vec::new(),
                answering: Vec::new(),
                answered: Vec::new(),
            });
            continue;
        }
        // The system reuses pids: the line belongs to the last process with this one.
        let place = pids.iter().rposition(|one| *one == pid).expect("it began");
        let journal = &mut journals[place];
        let moments = match word {
            "requested" => &mut journal.requested,
            "got" => &mut journal.got,
            "answering" => &mut journal.answering,
            _ => &mut journal.answered,
        };
        moments.push(moment);
    }
    journals
}

/// However busy the machine is, a figure is at least the time between two moments within the measured span, and at most the
/// time between two moments around it.
#[track_caller]
fn assert_within(name: &str, figure: f64, least: f64, most: f64) {
    // A figure is rounded.
    let bounds = least - 0.001..=most + 0.001;
    assert!(bounds.contains(&figure), "{name}: {figure}, {bounds:?}");
}

#[test]
fn programmed_delays_are_measured() {
    const STARTS: usize = 6;
    const ROUNDS: usize = 4;
    const INVOCATIONS: usize = 5;
    // Invocations after each turn, for processes and memory.
    const MORE: usize = 4;
    let settings = format!(
        "[cold]\nrepeats = {STARTS}\n[warm]\nsizes = [64]\nrounds = {ROUNDS}\ninvocations = {INVOCATIONS}\nwarmup = 1\n"
    );
    let journal = TaskRoot::new();
    let path = journal.write("journal", "").display().to_string();
    let comparison = Comparison::of(&settings)
        .fake("quick", &[("JOURNAL", &path)])
        .fake(
            "slow",
            &[
                ("START_MS", "150"),
                ("EVENT_MS", "20"),
                ("CHUNKED", "1"),
                ("JOURNAL", &path),
            ],
        );
    let (output, results) = comparison.run();
    assert_eq!(output.status, 0, "{output:?} {:?}", results.problems);
    let journals = journals(&journal.read("journal"));
    // Both are started in turn, and then once more for the warm rounds.
    assert_eq!(journals.len(), 2 * STARTS + 2);
    let series = |metric, event_bytes| {
        let series = results.series("slow", metric, event_bytes);
        series.expect("a series")
    };
    for start in 0..STARTS {
        let figure = |metric, event_bytes| series(metric, event_bytes).rounds[start][0];
        let [quick, slow, next] = [0, 1, 2].map(|number| &journals[2 * start + number]);
        let (began, requested) = (slow.began, slow.requested[0]);
        let (got, answering) = (slow.got[0], slow.answering[0]);
        assert!(requested - began >= 150.0 && answering - got >= 20.0);
        let (before, after) = (quick.answering[0], next.began);
        let init = figure(Metric::Init, None);
        assert_within("init", init, requested - began, got - before);
        let first = figure(Metric::FirstAnswer, Some(64));
        assert_within("first", first, answering - got, after - requested);
        let total = figure(Metric::ColdTotal, Some(64));
        assert_within("total", total, answering - began, after - before);
    }
    let (quick, slow) = (&journals[2 * STARTS], &journals[2 * STARTS + 1]);
    for round in 0..ROUNDS {
        let figures = |metric| &series(metric, Some(64)).rounds[round];
        // One invocation warms the runtime up.
        let first = 1 + round * (INVOCATIONS + MORE);
        let end = first + INVOCATIONS;
        let latencies = figures(Metric::Latency);
        assert_eq!(latencies.len(), INVOCATIONS);
        for (latency, at) in latencies.iter().zip(first..end) {
            let least = slow.answering[at] - slow.got[at];
            assert!(least >= 20.0);
            let most = slow.answered[at] - slow.requested[at];
            assert_within("latency", *latency, least, most);
        }
        let to_next = (first..end)
            .map(|at| slow.got[at + 1] - slow.answering[at])
            .fold(0.0, f64::max);
        for turnaround in figures(Metric::Turnaround) {
            assert_within("turnaround", *turnaround, 0.0, to_next);
        }
        let least = slow.answering[end - 1] - slow.got[first];
        let most = slow.got[end] - quick.last_before(slow.got[first]);
        let throughput = figures(Metric::Throughput)[0];
        assert_within("throughput", throughput, 5000.0 / most, 5000.0 / least);
    }
    // The runtimes sleep.
    let cpu = p50(&results, "slow", Metric::CpuTime, Some(64)).expect("samples");
    assert!(cpu < 19.0, "{cpu}");
    let memory = p50(&results, "slow", Metric::PeakMemory, Some(64)).expect("samples");
    assert!((1.0..100.0).contains(&memory), "{memory}");
    let floor: Vec<_> = results
        .floor
        .iter()
        .filter(|series| series.metric == Metric::Latency)
        .collect();
    assert_eq!((floor.len(), floor[0].summary.count), (1, 20));
}

/// Short children, grandchildren and threads count, and nothing that the machine starts meanwhile.
#[test]
fn processes_are_those_of_the_runtime() {
    let others = ["while :; do (:); done"; 2];
    let others = others.map(|script| {
        let mut command = Command::new("bash");
        command.args(["-c", script]);
        Process::start(command)
    });
    let comparison = Comparison::of(FEW)
        .fake("none", &[])
        .fake("five", &[("PROCESSES", "5")]);
    let (_, results) = comparison.run();
    drop(others);
    for (name, count) in [("none", 0.0), ("five", 5.0)] {
        let series = results.series(name, Metric::Processes, Some(32));
        let rounds = &series.expect("a series").rounds;
        assert_eq!(
            *rounds,
            [[count], [count]],
            "{name}: {:?}",
            results.warnings
        );
    }
}

#[test]
fn five_percent_are_found_with_enough_rounds_and_not_with_few() {
    let found = |rounds: usize| {
        let settings = format!(
            "cold = {{ repeats = 0 }}\nwarm = {{ sizes = [32], rounds = {rounds}, invocations = 9, warmup = 1 }}\n"
        );
        let comparison = Comparison::of(&settings)
            .fake("one", &[("EVENT_MS", "10")])
            .fake("more", &[("EVENT_MS", "10.5")]);
        let (_, results) = comparison.run();
        results
            .series("more", Metric::Latency, Some(32))
            .expect("a series")
            .ratio
            .expect("a ratio")
    };
    // How many rounds are enough depends on the noise of the machine.
    let is_found = |rounds| {
        let many = found(rounds);
        println!("{rounds} rounds: {many:?}");
        many.is_difference() && (0.9..1.0).contains(&many.times)
    };
    assert!([16, 32, 64].into_iter().any(is_found));
    let few = found(2);
    assert!(!few.is_difference(), "{few:?}");
}

/// Three rounds of eight invocations. The timeout holds for a start and for an answer.
fn with_timeout(seconds: u32) -> String {
    format!(
        "timeout = {seconds}\n[cold]\nrepeats = 2\n[warm]\nsizes = [32]\nrounds = 3\ninvocations = 8\nwarmup = 1\n"
    )
}

#[test]
fn hangs_are_rows_with_the_timeout() {
    // Beside other tests, a start may take more than a second.
    let comparison = Comparison::of(&with_timeout(4))
        .fake("hangs", &[("HANG_AT", "4")])
        .fake("never starts", &[("NO_NEXT", "1")]);
    let (output, results) = comparison.run();
    assert_eq!(output.status, 1);
    let found = |runtime, is_cold| {
        let found = problem(&results, runtime, ProblemKind::Hung, is_cold);
        (found.count, found.event_bytes, found.detail.as_str())
    };
    assert_eq!(found("hangs", false), (3, Some(32), "no answer within 4 s"));
    let detail = "no first GET next within 4 s";
    assert_eq!(found("never starts", true), (2, Some(32), detail));
    assert_eq!(found("never starts", false), (1, Some(32), detail));
    let series = results.series("hangs", Metric::Latency, Some(32));
    let rounds = &series.expect("a series").rounds;
    assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
    let is_given_up = |warning: &String| warning.contains("given up");
    assert_eq!(
        results.warnings.iter().filter(|w| is_given_up(w)).count(),
        1,
        "{:?}",
        results.warnings
    );
}

#[test]
fn failures_are_rows_and_good_samples_stay() {
    let comparison = Comparison::of(&with_timeout(10))
        .fake("good", &[])
        .fake("wrong", &[("WRONG_AT", "4")])
        .fake("dies", &[("EXIT_AT", "4")])
        .fake("init error", &[("INIT_ERROR", "1")])
        .fake("error", &[("ERROR_AT", "4")])
        .fake("late error", &[("LATE_ERROR_AT", "4")])
        .fake("garbage", &[("GARBAGE_AT", "4")])
        .runtime("none", "command = \"/etc/passwd\"\n");
    let (output, results) = comparison.run();
    assert_eq!(output.status, 1);
    assert!(results.is_complete);
    let found = |runtime, kind, is_cold| {
        let found = problem(&results, runtime, kind, is_cold);
        (found.count, found.event_bytes, found.detail.as_str())
    };
    assert!(
        results
            .problems
            .iter()
            .all(|problem| problem.runtime != "good"),
        "{:?}",
        results.problems
    );
    let detail = "51 bytes instead of 51, the first difference at byte 50";
    assert_eq!(
        found("wrong", ProblemKind::WrongAnswer, false),
        (1, Some(32), detail)
    );
    // Each is started again in every round, gives a few answers, and fails again.
    let detail = "it ended with exit status 3";
    assert_eq!(
        found("dies", ProblemKind::Died, false),
        (3, Some(32), detail)
    );
    assert_eq!(
        found("init error", ProblemKind::InitError, true),
        (2, Some(32), "Runtime.Fake")
    );
    assert_eq!(
        found("error", ProblemKind::FunctionError, false),
        (1, Some(32), "Function.Fake")
    );
    assert_eq!(found("late error", ProblemKind::FunctionError, false).0, 1);
    assert!(found("garbage", ProblemKind::Protocol, false).0 >= 1);
    let (count, _, detail) = found("none", ProblemKind::NotStarted, true);
    assert_eq!(
        (count, detail),
        (2, "/etc/passwd: Permission denied (os error 13)")
    );
    let counts = |name| {
        let series = results
            .series(name, Metric::Latency, Some(32))
            .expect("a series");
        series.rounds.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(counts("good"), [8, 8, 8]);
    assert_eq!(counts("wrong"), [7, 8, 8]);
    assert_eq!(counts("dies"), [2, 2, 2]);
    assert_eq!(counts("init error"), [0, 0, 0]);
    // A turn with a wrong answer has no throughput.
    let throughput = results
        .series("wrong", Metric::Throughput, Some(32))
        .expect("a series");
    assert_eq!(
        throughput.rounds.iter().map(Vec::len).collect::<Vec<_>>(),
        [0, 1, 1]
    );
    let given_up: Vec<_> = results
        .warnings
        .iter()
        .filter(|warning| warning.contains("given up"))
        .collect();
    assert_eq!(given_up.len(), 2, "{:?}", results.warnings);
    let all = fs::read_to_string(comparison.path().join("out/results.json")).expect("results")
        + &output.stdout;
    assert!(
        !all.contains("secret") && !all.contains("Hello from"),
        "{all}"
    );
}

#[test]
fn last_lines_of_a_log_explain_a_death() {
    let comparison = Comparison::of(FEW)
        .fake("dies", &[("EXIT_AT", "1")])
        .fake("never starts", &[("INIT_ERROR", "1")])
        .runtime(
            "shell",
            "command = ['bash', '-c', 'echo >&2 one; exec nowhere']\n",
        )
        .fake("greedy", &[("EAT_AT", "2")]);
    let scenario = comparison.path().join("scenario.toml");
    let text = fs::read_to_string(&scenario).expect("a scenario") + "memory = 128\n";
    fs::write(scenario, text).expect("written");
    let (output, results) = comparison.run();
    let dies = problem(&results, "dies", ProblemKind::Died, true);
    assert_eq!(dies.detail, "it ended with exit status 3");
    let lines = ["a line of the runtime", "\u{fffd}[31mno such table: 1"];
    assert_eq!(dies.log, lines);
    let never = problem(&results, "never starts", ProblemKind::InitError, true);
    assert_eq!(never.log, lines[..1]);
    let shell = problem(&results, "shell", ProblemKind::Died, true);
    assert_eq!(shell.log, ["one", "bash: line 1: exec: nowhere: not found"]);
    for form in [
        &output.stdout,
        &read(&comparison, "report.md"),
        &read(&comparison, "report.html"),
    ] {
        assert!(
            form.contains("bash: line 1: exec: nowhere: not found"),
            "{form}"
        );
        assert!(!form.contains('\x1b'), "{form}");
    }
    let greedy = problem(&results, "greedy", ProblemKind::Died, false);
    let is_limited = !results
        .warnings
        .iter()
        .any(|one| one.starts_with("greedy runs without its limits"));
    let is_explained = greedy.detail.ends_with(": the memory size was exceeded");
    assert!(is_explained || !is_limited, "{greedy:?}");
}

fn read(comparison: &Comparison, name: &str) -> String {
    fs::read_to_string(comparison.path().join("out").join(name)).expect("a report")
}

/// In a gigabyte of address space.
#[test]
fn log_without_end_is_read_in_little_memory() {
    let comparison = Comparison::of(FEW)
        .fake("floods", &[("FLOOD", "1")])
        .fake("quiet", &[]);
    let mut command = Command::new("bash");
    let script = "ulimit -v 1000000; exec \"$0\" compare scenario.toml -o out --log-dir logs";
    command
        .args(["-c", script, coshell_path()])
        .current_dir(comparison.path());
    let output = CommandOutput::of(command);
    assert_eq!(output.status, 0, "{output:?}");
    let results = comparison.results();
    for name in ["floods", "quiet"] {
        assert!(
            p50(&results, name, Metric::Latency, Some(32)).is_some(),
            "{:?}",
            results.problems
        );
    }
    let log = fs::metadata(comparison.path().join("logs/floods.log")).expect("a log");
    assert!(log.len() <= 64 << 20, "{}", log.len());
    let is_cut = log.len() == 64 << 20;
    let is_reported = results.warnings.iter().any(|one| {
        one.starts_with("floods printed more than 64 MiB, ")
            && one.ends_with("/floods.log ends there")
    });
    // The last megabyte can arrive after the warnings were made.
    assert!(is_cut || !is_reported, "{:?}", results.warnings);
}

#[test]
fn leftovers_of_a_runtime_are_reported_and_removed() {
    let comparison = Comparison::of(FEW)
        .fake("process", &[("LEAVE", "process")])
        .fake("file", &[("LEAVE", "file")])
        .fake("descriptor", &[("LEAVE", "descriptor")])
        .fake("nothing", &[]);
    let (output, results) = comparison.run();
    assert_eq!(output.status, 0, "{:?}", results.problems);
    // Two turns of ten, each followed by four invocations.
    for (name, what) in [
        ("process", "processes"),
        ("file", "files in TMPDIR"),
        ("descriptor", "descriptors"),
    ] {
        let found = problem(&results, name, ProblemKind::Leaked, false);
        // A process that is starting can be counted twice.
        let is_expected = |count| found.detail == format!("{count} {what} after 28 invocations");
        let counts = if name == "process" { 28..=29 } else { 28..=28 };
        assert!(counts.into_iter().any(is_expected), "{}", found.detail);
    }
    assert_eq!(results.problems.len(), 3, "{:?}", results.problems);
}

#[test]
fn tutorial_and_ours_are_compared_from_the_command_line() {
    let folder = TaskRoot::new();
    folder.write(
        "function.sh",
        "handler() { printf '%s' \"Echoing request: '$1'\"; }\n",
    );
    let tutorial = repository_file("bench/baseline/tutorial/bootstrap");
    let mut command = Command::new(coshell_path());
    command
        .args([
            "compare",
            "--repeats",
            "2",
            "--rounds",
            "6",
            "--invocations",
            "3",
            "--sizes",
            "32,1024",
        ])
        .arg(format!("--runtime=tutorial=bash {}", tutorial.display()))
        .arg(format!("--runtime=ours={}", bootstrap_path()))
        .args([
            "--handler",
            "function.handler",
            "--baseline",
            "tutorial",
            "-o",
            "out",
            "--log-dir",
            "logs",
        ])
        .current_dir(folder.path());
    let output = CommandOutput::of(command);
    assert_eq!(output.status, 0, "{output:?}");
    let results = fs::read(folder.path().join("out/results.json")).expect("results");
    let results: Results = serde_json::from_slice(&results).expect("results");
    for size in [32, 1024] {
        let ratio = results
            .series("ours", Metric::Latency, Some(size))
            .expect("a series")
            .ratio
            .expect("a ratio");
        assert!(ratio.is_difference() && ratio.times > 3.0, "{ratio:?}");
    }
    assert!(p50(&results, "tutorial", Metric::Processes, Some(32)) > Some(4.0));
    let left = problem(&results, "tutorial", ProblemKind::Leaked, false);
    assert!(left.detail.contains("files in TMPDIR"), "{left:?}");
    assert!(folder.path().join("logs/ours.log").exists());
}

#[test]
fn share_of_cpu_is_enforced_or_a_warning_is_given() {
    let comparison = Comparison::of("cold = { repeats = 2 }\nwarm = { rounds = 0 }\n")
        .fake("whole", &[("START_SPIN_MS", "40")])
        .fake("tenth", &[("START_SPIN_MS", "40")]);
    let scenario = comparison.path().join("scenario.toml");
    let text = fs::read_to_string(&scenario).expect("a scenario") + "cpus = 0.1\nmemory = 256\n";
    fs::write(scenario, text).expect("written");
    let (_, results) = comparison.run();
    assert!(
        results.runtimes[1]
            .description
            .ends_with("256 MB, 0.10 CPUs"),
        "{:?}",
        results.runtimes
    );
    let init = p50(&results, "tenth", Metric::Init, None).expect("samples");
    let has_warning = results
        .warnings
        .iter()
        .any(|warning| warning.starts_with("tenth runs without its limits: "));
    assert!(has_warning || init > 300.0, "{init} {:?}", results.warnings);
}

#[test]
fn zip_file_is_unpacked_and_its_bootstrap_started() {
    let comparison = Comparison::of(FEW);
    let fake = fs::read(repository_file("tests/fixtures/compare/runtime")).expect("the fixture");
    let zipped = |name: &str, entry: &str, mode| {
        let mut zip =
            zip::ZipWriter::new(File::create(comparison.path().join(name)).expect("a file"));
        zip.start_file(
            entry,
            zip::write::SimpleFileOptions::default().unix_permissions(mode),
        )
        .expect("an entry");
        zip.write_all(&fake).expect("written");
        zip.finish().expect("finished");
    };
    zipped("function.zip", "bootstrap", 0o755);
    zipped("empty.zip", "function.sh", 0o644);
    let comparison = comparison.runtime("zip", "zip = \"function.zip\"\n");
    let (output, results) = comparison.run();
    assert_eq!(output.status, 0, "{:?}", results.problems);
    assert!(p50(&results, "zip", Metric::Latency, Some(32)).is_some());
    let without = comparison.runtime("without", "zip = \"empty.zip\"\n");
    let path = without.path().join("empty.zip").display().to_string();
    let words = format!("coshell: cannot use zip {path} of runtime without: it has no bootstrap\n");
    CommandOutput::of(without.command()).assert_failed(2, &words);
}

#[test]
fn events_come_from_files_and_have_answers_of_their_own() {
    let settings = "expect = \"any\"\n[cold]\nrepeats = 1\n[warm]\nrounds = 1\ninvocations = 4\ngap = 5\n\
                    events = [\"a.json\", { file = \"b.json\", expect = \"file:b.answer\" }]\n";
    let comparison = Comparison::of(settings).fake("one", &[("EXPECT", "1")]);
    comparison.folder.write("a.json", "{}");
    comparison.folder.write("b.json", "[1]");
    comparison
        .folder
        .write("b.answer", "Echoing request: '[1]'");
    let (output, results) = comparison.run();
    assert_eq!(output.status, 0, "{:?}", results.problems);
    for size in [2, 3] {
        assert!(p50(&results, "one", Metric::Latency, Some(size)).is_some());
    }
    // With gaps, throughput would be that of the gaps.
    assert!(results.series("one", Metric::Throughput, Some(2)).is_none());
    comparison.folder.write("b.answer", "another");
    let (output, results) = comparison.run();
    assert_eq!(output.status, 1);
    let found = problem(&results, "one", ProblemKind::WrongAnswer, false);
    assert_eq!(
        found.detail,
        "22 bytes instead of 7, the first difference at byte 0"
    );
}

#[test]
fn page_cache_is_dropped_or_a_warning_is_given() {
    let comparison =
        Comparison::of("cold = { repeats = 1, page_cache = \"dropped\" }\nwarm = { rounds = 0 }\n");
    let (_, results) = comparison.fake("one", &[]).run();
    let is_permitted = File::options()
        .write(true)
        .open("/proc/sys/vm/drop_caches")
        .is_ok();
    let has_warning = results
        .warnings
        .iter()
        .any(|warning| warning.starts_with("the page cache stayed warm: "));
    assert_eq!(has_warning, !is_permitted, "{:?}", results.warnings);
}

#[test]
fn scenarios_that_make_no_sense_are_refused() {
    let runtime = "[[runtime]]\nname = \"a\"\ncommand = \"true\"\n";
    let refused = |text: &str, words: &str| {
        let comparison = Comparison::of(text);
        let folder = comparison.path().display().to_string();
        let words = format!("coshell: {}\n", words.replace("{folder}", &folder));
        CommandOutput::of(comparison.command()).assert_failed(2, &words);
        assert!(!comparison.path().join("out").exists(), "{text}");
    };
    refused("", "cannot compare scenario: there is no runtime");
    refused(
        &format!("{runtime}{runtime}"),
        "cannot compare scenario: two runtimes are called \"a\"",
    );
    refused(
        &format!("[warm]\nround = 3\n{runtime}"),
        "cannot read scenario scenario.toml: line 2: unknown field `round`, expected one of `sizes`, `events`, \
         `rounds`, `invocations`, `budget`, `warmup`, `gap`",
    );
    refused(
        &format!("warm = {{ sizes = [0] }}\n{runtime}"),
        "cannot compare scenario: size 0: expected 1 to 6291556 bytes",
    );
    refused(
        &format!("baseline = \"b\"\n{runtime}"),
        "cannot compare scenario: the baseline \"b\" is none of the runtimes",
    );
    refused(
        &format!("{runtime}zip = \"a.zip\"\n"),
        "cannot compare scenario: runtime \"a\": expected one of command, zip and image",
    );
    refused(
        "[[runtime]]\nname = \"a\"\ncommand = \"./nowhere\"\n",
        "cannot compare scenario: runtime \"a\": {folder}/./nowhere: No such file or directory (os error 2)",
    );
    refused(
        "[[runtime]]\nname = \"a\"\nzip = \"nowhere.zip\"\n",
        "cannot compare scenario: runtime \"a\": {folder}/nowhere.zip: No such file or directory (os error 2)",
    );
    refused(
        "[[runtime]]\nname = \"a\"\ncommand = \"'\"\n",
        "cannot compare scenario: runtime \"a\": command: missing closing quote",
    );
    refused(
        &format!("{runtime}task_root = \"nowhere\"\n"),
        "cannot compare scenario: runtime \"a\": {folder}/nowhere: No such file or directory (os error 2)",
    );
    refused(
        &format!("timeout = 0\n{runtime}"),
        "cannot compare scenario: timeout: expected more than 0 seconds",
    );
    refused(
        &format!("cold.repeats = 0\nwarm.rounds = 0\n{runtime}"),
        "cannot compare scenario: neither cold.repeats nor warm.rounds is above 0",
    );
    refused(
        &format!("warm.events = [\"nowhere.json\"]\n{runtime}"),
        "cannot compare scenario: event nowhere.json: No such file or directory (os error 2)",
    );
    refused(
        &format!("warm.events = [\"/dev/zero\"]\n{runtime}"),
        "cannot compare scenario: event /dev/zero: it has more than 6291556 bytes",
    );
    refused(
        &format!("warm.sizes = [32, 32]\n{runtime}"),
        "cannot compare scenario: two events have 32 bytes, and a report tells events apart by their size",
    );
    let words = |arguments: &[&str]| {
        let mut command = Command::new(coshell_path());
        command.arg("compare").args(arguments);
        CommandOutput::of(command)
    };
    words(&[]).assert_failed(
        2,
        "coshell: cannot compare: expected scenario files, --runtime or --from-logs\n",
    );
    words(&["--runtime", "true"])
        .assert_failed(2, "coshell: cannot use runtime true: expected NAME=WHAT\n");
    words(&["nowhere.toml"]).assert_failed(
        2,
        "coshell: cannot read scenario nowhere.toml: No such file or directory",
    );
    words(&["/dev/zero"]).assert_failed(
        2,
        "coshell: cannot read scenario /dev/zero: it has more than 1048576 bytes\n",
    );
    words(&["--runtime", "a=image:nowhere/at-all"])
        .assert_failed(2, "coshell: cannot use image nowhere/at-all of runtime a: ");
}

#[test]
fn several_scenarios_have_a_folder_each() {
    let comparison = Comparison::of("cold.repeats = 1\nwarm.rounds = 0\n").fake("one", &[]);
    fs::copy(
        comparison.path().join("scenario.toml"),
        comparison.path().join("other.toml"),
    )
    .expect("a copy");
    let mut command = comparison.command();
    command.arg("other.toml");
    assert_eq!(CommandOutput::of(command).status, 0);
    for name in ["scenario", "other"] {
        assert!(
            comparison
                .path()
                .join("out")
                .join(name)
                .join("results.json")
                .exists(),
            "{name}"
        );
    }
}

#[test]
fn folder_that_cannot_be_written_is_reported_before_anything_runs() {
    let comparison = Comparison::of(FEW).fake("one", &[]);
    comparison.folder.write("out", "a file");
    let output = CommandOutput::of(comparison.command());
    output.assert_failed(2, "coshell: cannot make folder out: ");
    assert_eq!(output.stdout, "");
}

#[test]
fn interrupt_ends_it_and_keeps_what_was_measured() {
    let settings = "cold = { repeats = 1 }\nwarm = { sizes = [32], rounds = 2, invocations = 1000000, budget = 600000, warmup = 1 }\n";
    let comparison =
        Comparison::of(settings).fake("endless", &[("EVENT_MS", "1"), ("LEAVE", "process")]);
    let mut quick = comparison.command();
    quick.args(["--rounds", "1"]);
    let process = Process::start(quick);
    // The cold starts are written before the turns begin.
    let has_started = || {
        let text = fs::read(comparison.path().join("out/results.json")).unwrap_or_default();
        let results = serde_json::from_slice::<Results>(&text);
        results.is_ok_and(|results| !results.series.is_empty())
    };
    wait_until(has_started, LIMIT);
    process.signal(Signal::SIGINT);
    assert_eq!(process.wait_exit(LIMIT).code(), Some(130));
    comparison.assert_nothing_is_left(&process);
    let results = comparison.results();
    assert!(!results.is_complete);
    assert!(p50(&results, "endless", Metric::Init, None).is_some());
}

#[test]
fn fixture_is_a_program() {
    let mode = fs::metadata(repository_file("tests/fixtures/compare/runtime"))
        .expect("the fixture")
        .permissions();
    assert_eq!(mode.mode() & 0o111, 0o111);
}
