//! The tables of a report: every cell as text, computed once, so that no two forms of a report can
//! disagree.

use super::super::exact::MIN_ROUNDS;
use super::super::results::{Metric, Problem, ProblemKind, Results, Runtime, Series, Source};
use super::super::statistics::Verdict;
use super::words::{self, NOTHING, clean, figure, name, quantity, question};

/// More runtimes than this do not fit beside each other.
const MOST_COLUMNS: usize = 8;

/// All that a report says, in the order in which it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// What is compared.
    pub title: String,
    /// What makes the figures less sure than they look.
    pub warnings: Vec<String>,
    /// The tables.
    pub tables: Vec<Table>,
    /// Where, when and how: a name and what it is.
    pub facts: Vec<(&'static str, String)>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// What it is of.
    pub subject: Subject,
    /// What stands above it.
    pub title: String,
    /// What stands above its columns.
    pub columns: Vec<String>,
    /// Its rows, as many cells each as there are columns.
    pub rows: Vec<Vec<Cell>>,
    /// What has to be known of it.
    pub notes: Vec<String>,
}

/// What a table is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The medians of everything, a runtime a column.
    Medians,
    /// What went wrong.
    Problems,
    /// One metric at one size.
    Question(Metric, Option<usize>),
    /// What the harness costs.
    Floor,
    /// What the runtimes are.
    Runtimes,
}

/// What stands in a row of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Its text.
    pub text: String,
    /// What it means.
    pub tone: Tone,
}

/// What a cell means, for the eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing more than it says.
    Plain,
    /// Better than the baseline, for sure.
    Better,
    /// Worse than the baseline, for sure.
    Worse,
    /// Something went wrong.
    Bad,
}

impl Cell {
    fn plain(text: impl Into<String>) -> Self {
        Self::of(text, Tone::Plain)
    }

    fn of(text: impl Into<String>, tone: Tone) -> Self {
        let text = text.into();
        Self { text, tone }
    }
}

impl Table {
    /// Whether the cells of a column are words, which begin at its left.
    pub(crate) fn is_of_words(&self, column: usize) -> bool {
        column == 0 || matches!(self.subject, Subject::Problems | Subject::Runtimes)
    }
}

/// The report of these results.
pub(crate) fn document(results: &Results) -> Document {
    let mut warnings = Vec::new();
    if !results.is_complete {
        let text = "not complete: written while the comparison ran, or it was stopped";
        warnings.push(text.to_owned());
    }
    warnings.extend(results.warnings.iter().map(|text| clean(text)));
    let questions = results.questions();
    let questions = questions
        .into_iter()
        .map(|(metric, event_bytes)| of_question(results, metric, event_bytes));
    let tables = [medians(results), problems(results)]
        .into_iter()
        .flatten()
        .chain(questions)
        .chain(floor(results))
        .chain([runtimes(results)]);
    Document {
        title: clean(&results.title),
        warnings,
        tables: tables.collect(),
        facts: facts(results),
    }
}

fn facts(results: &Results) -> Vec<(&'static str, String)> {
    let machine = &results.machine;
    let (when, place) = match results.source {
        Source::Measured => ("measured", "on"),
        Source::Logs => ("read from logs", "read on"),
    };
    let cpus = if machine.cpus == 1 { "CPU" } else { "CPUs" };
    let place_text = format!(
        "{}, {} {cpus}, {}, Linux {}, load {:.2} at the start",
        machine.cpu, machine.cpus, machine.os, machine.kernel, machine.load
    );
    let setting = |(name, value): &(String, String)| format!("{name} {value}");
    let settings: Vec<_> = results.settings.iter().map(setting).collect();
    let mut facts = vec![
        (when, results.begun.clone()),
        ("by", format!("coshell {}", machine.coshell)),
        (place, place_text),
        ("settings", settings.join(", ")),
    ];
    facts.retain(|(_, text)| !text.is_empty());
    for (_, text) in &mut facts {
        *text = clean(text);
    }
    facts
}

/// The samples of a runtime, if there are any.
fn samples<'a>(
    results: &'a Results,
    runtime: &Runtime,
    metric: Metric,
    event_bytes: Option<usize>,
) -> Option<&'a Series> {
    results
        .series(&runtime.name, metric, event_bytes)
        .filter(|series| series.summary.count > 0)
}

/// What a runtime did wrong where this was to be measured.
fn problems_of<'a>(
    results: &'a Results,
    runtime: &'a Runtime,
    metric: Metric,
    event_bytes: Option<usize>,
) -> impl Iterator<Item = &'a Problem> {
    let is_of_logs = results.source == Source::Logs;
    results.problems.iter().filter(move |problem| {
        let is_same_size = problem.event_bytes == event_bytes
            || problem.event_bytes.is_none()
            || event_bytes.is_none();
        problem.runtime == runtime.name
            && (is_of_logs || problem.is_cold == metric.is_cold() && is_same_size)
    })
}

/// What went wrong, in as few words as there can be: of that many, where a sample is one invocation.
fn in_short(problem: &Problem, of: Option<usize>) -> String {
    // What leaks has answered well before.
    let of = of.filter(|_| problem.kind != ProblemKind::Leaked);
    let times = match (problem.count, of) {
        (count, Some(of)) => format!(": {} of {}", words::count(count), words::count(of)),
        (1, None) => String::new(),
        (count, None) => format!(": {} times", words::count(count)),
    };
    problem.kind.words().to_owned() + &times
}

/// What a runtime has instead of samples: what it did wrong there or, as one that dies at its start is never
/// warm, anywhere.
pub(crate) fn instead(
    results: &Results,
    runtime: &Runtime,
    metric: Metric,
    event_bytes: Option<usize>,
) -> Cell {
    let mut told: Vec<_> = problems_of(results, runtime, metric, event_bytes).collect();
    if told.is_empty() {
        let is_its = |problem: &&Problem| problem.runtime == runtime.name;
        told = results.problems.iter().filter(is_its).collect();
    }
    let mut told: Vec<_> = told.into_iter().map(|problem| problem.kind).collect();
    told.sort_unstable();
    told.dedup();
    if told.is_empty() {
        return Cell::plain("no samples");
    }
    let told: Vec<_> = told.into_iter().map(ProblemKind::words).collect();
    Cell::of(told.join(", "), Tone::Bad)
}

/// How a series compares with the baseline's: in short, or with the interval.
pub(crate) fn against_baseline(results: &Results, series: &Series, has_interval: bool) -> Cell {
    let Some(ratio) = &series.ratio else {
        return Cell::plain(if series.runtime == results.baseline {
            "1"
        } else {
            NOTHING
        });
    };
    let tone = match ratio.verdict {
        Verdict::Better => Tone::Better,
        Verdict::Worse => Tone::Worse,
        Verdict::NoDifference | Verdict::TooFew => Tone::Plain,
    };
    let mut verdict = words::verdict(ratio);
    if has_interval {
        verdict = words::with_interval(verdict, ratio.low, ratio.high);
    }
    Cell::of(verdict, tone)
}

/// Every median, a runtime a column: what fits in a README.
fn medians(results: &Results) -> Option<Table> {
    let questions = results.questions();
    let runtimes = &results.runtimes;
    if questions.len() < 2 || !(2..=MOST_COLUMNS).contains(&runtimes.len()) {
        return None;
    }
    let names = runtimes.iter().map(|runtime| name(results, &runtime.name));
    let row = |(metric, event_bytes)| {
        let cells = runtimes.iter().map(|runtime| {
            let Some(series) = samples(results, runtime, metric, event_bytes) else {
                return instead(results, runtime, metric, event_bytes);
            };
            let p50 = quantity(series.summary.p50, metric);
            if series.ratio.is_none() {
                return Cell::plain(p50);
            }
            let Cell { text, tone } = against_baseline(results, series, false);
            Cell::of(format!("{p50}, {text}"), tone)
        });
        let title = Cell::plain(question(metric, event_bytes));
        [title].into_iter().chain(cells).collect()
    };
    let text = "×: how many times better than the baseline by the medians, where a 95 % interval excludes 1.";
    Some(Table {
        subject: Subject::Medians,
        title: "Medians".to_owned(),
        columns: ["median".to_owned()].into_iter().chain(names).collect(),
        rows: questions.into_iter().map(row).collect(),
        notes: vec![text.to_owned()],
    })
}

fn of_question(results: &Results, metric: Metric, event_bytes: Option<usize>) -> Table {
    let half = match metric {
        _ if metric.is_cold() => "Cold: ",
        // Those of logs are of all invocations.
        Metric::BilledDuration | Metric::MaxMemoryUsed => "",
        _ => "Warm: ",
    };
    let unit = match metric.unit() {
        "" => String::new(),
        "/s" => " (1/s)".to_owned(),
        unit => format!(" ({unit})"),
    };
    let has_ratio = results.runtimes.len() > 1;
    let mut columns = vec![
        "runtime",
        "p50 (95 % interval)",
        "p90",
        "p99",
        "max",
        "samples",
    ];
    if has_ratio {
        columns.push(better(metric));
    }
    let wrong = |runtime: &Runtime| {
        let is_measured = results.source == Source::Measured;
        if is_measured && !is_of_one_invocation(metric) {
            return None;
        }
        let good = samples(results, runtime, metric, event_bytes)?
            .summary
            .count;
        let told = problems_of(results, runtime, metric, event_bytes);
        let told: Vec<_> = told
            .map(|problem| in_short(problem, is_measured.then_some(good + problem.count)))
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    };
    let has_wrong = results.runtimes.iter().any(|one| wrong(one).is_some());
    if has_wrong {
        columns.push("went wrong");
    }
    let row = |runtime: &Runtime| {
        let mut cells = vec![Cell::plain(name(results, &runtime.name))];
        if let Some(series) = samples(results, runtime, metric, event_bytes) {
            let found = &series.summary;
            let p50 = words::with_interval(figure(found.p50), found.p50_low, found.p50_high);
            cells.push(Cell::plain(p50));
            cells.extend([found.p90, found.p99, found.max].map(|value| Cell::plain(figure(value))));
            cells.push(Cell::plain(words::count(found.count)));
            if has_ratio {
                cells.push(against_baseline(results, series, true));
            }
            if has_wrong {
                let text = wrong(runtime);
                let tone = if text.is_some() {
                    Tone::Bad
                } else {
                    Tone::Plain
                };
                cells.push(Cell::of(text.unwrap_or_default(), tone));
            }
        } else {
            cells.push(instead(results, runtime, metric, event_bytes));
            cells.resize(columns.len(), Cell::plain(NOTHING));
        }
        cells
    };
    let rows = results.runtimes.iter().map(row).collect();
    Table {
        subject: Subject::Question(metric, event_bytes),
        title: format!("{half}{}{unit}", question(metric, event_bytes)),
        columns: columns.into_iter().map(ToOwned::to_owned).collect(),
        rows,
        notes: [
            few_rounds(results, metric, event_bytes),
            wide_interval(results, metric, event_bytes),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

/// Whether each sample is an invocation of its own, and not a round.
fn is_of_one_invocation(metric: Metric) -> bool {
    metric.is_cold() || metric == Metric::Latency
}

/// What stands above the ratios.
fn better(metric: Metric) -> &'static str {
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

/// Whose intervals say little, if anyone's do.
fn few_rounds(results: &Results, metric: Metric, event_bytes: Option<usize>) -> Option<String> {
    let rounds = |runtime: &Runtime| {
        let series = samples(results, runtime, metric, event_bytes)?;
        let rounds = series.rounds.iter().filter(|round| !round.is_empty());
        Some(rounds.count()).filter(|count| *count < MIN_ROUNDS)
    };
    let few: Vec<_> = results
        .runtimes
        .iter()
        .filter(|runtime| rounds(runtime).is_some())
        .map(|runtime| clean(&runtime.name))
        .collect();
    (!few.is_empty()).then(|| {
        let names = few.join(", ");
        format!(
            "Fewer than {MIN_ROUNDS} rounds of {names}: too few to tell, however far apart they are."
        )
    })
}

/// What to do about ratios that the samples cannot tell, though there are rounds enough for an interval.
fn wide_interval(results: &Results, metric: Metric, event_bytes: Option<usize>) -> Option<String> {
    let is_wide = |runtime: &Runtime| {
        let ratio = samples(results, runtime, metric, event_bytes)?.ratio?;
        Some(ratio.verdict == Verdict::TooFew && ratio.low.is_some())
    };
    let mut runtimes = results.runtimes.iter();
    let text = "Too few to tell: the interval includes 1, and a difference of a quarter or more. More rounds narrow it.";
    runtimes
        .any(|runtime| is_wide(runtime) == Some(true))
        .then(|| text.to_owned())
}

fn problems(results: &Results) -> Option<Table> {
    let columns = [
        "runtime",
        "what it did",
        "when",
        "event",
        "times",
        "the first one",
    ];
    let row = |problem: &Problem| {
        let when = match (results.source, problem.is_cold) {
            (Source::Logs, _) => NOTHING,
            (Source::Measured, true) => "cold",
            (Source::Measured, false) => "warm",
        };
        let size = problem.event_bytes.map(words::size);
        vec![
            Cell::plain(name(results, &problem.runtime)),
            Cell::of(problem.kind.words(), Tone::Bad),
            Cell::plain(when),
            Cell::plain(size.unwrap_or_else(|| NOTHING.to_owned())),
            Cell::plain(words::count(problem.count)),
            Cell::plain(clean(&problem.detail)),
        ]
    };
    (!results.problems.is_empty()).then(|| Table {
        subject: Subject::Problems,
        title: "What went wrong".to_owned(),
        columns: columns.map(ToOwned::to_owned).to_vec(),
        rows: results.problems.iter().map(row).collect(),
        notes: vec!["Answers that were wrong or never came are not among the samples.".to_owned()],
    })
}

fn floor(results: &Results) -> Option<Table> {
    let columns = ["floor", "p50", "p90", "p99", "max", "samples"];
    let row = |series: &Series| {
        let (found, metric) = (&series.summary, series.metric);
        let values = [found.p50, found.p90, found.p99, found.max];
        let title = Cell::plain(question(metric, series.event_bytes));
        let values = values.map(|value| Cell::plain(quantity(value, metric)));
        let count = Cell::plain(words::count(found.count));
        [title].into_iter().chain(values).chain([count]).collect()
    };
    let has_samples = |series: &&Series| series.summary.count > 0;
    let rows: Vec<_> = results.floor.iter().filter(has_samples).map(row).collect();
    let note = "A runtime that does nothing, in the place of the others: this much of each figure is the measuring itself.";
    (!rows.is_empty()).then(|| Table {
        subject: Subject::Floor,
        title: "Floor of the harness".to_owned(),
        columns: columns.map(ToOwned::to_owned).to_vec(),
        rows,
        notes: vec![note.to_owned()],
    })
}

fn runtimes(results: &Results) -> Table {
    let row = |runtime: &Runtime| {
        let name = Cell::plain(name(results, &runtime.name));
        vec![name, Cell::plain(clean(&runtime.description))]
    };
    Table {
        subject: Subject::Runtimes,
        title: "Runtimes".to_owned(),
        columns: vec!["runtime".to_owned(), "what it is".to_owned()],
        rows: results.runtimes.iter().map(row).collect(),
        notes: Vec::new(),
    }
}
