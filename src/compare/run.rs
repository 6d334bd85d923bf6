//! Orders all: the floor, the starts, the invocations; and hands out what is found as it grows.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Error;
use super::event::{Event, Expect, Task};
use super::limits::Limits;
use super::machine::{self, Noise};
use super::results::{self, Results, Source};
use super::runtime::Prepared;
use super::scenario::{PageCache, Program, Runtime, Scenario};
use super::session::{GIVEN_UP_AFTER, Session, Stop, milliseconds};
use super::turn::Turns;
use super::{cold, floor, warm};
use coshell_process::processes;

/// The floor is steady: a part of what the others need is enough.
const FLOOR_REPEATS: usize = 10;
const FLOOR_ROUNDS: usize = 5;
const FLOOR_INVOCATIONS: usize = 500;
const FLOOR_BUDGET: Duration = Duration::from_millis(300);
/// What is left running by then gets this long between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(100);

/// How to go about it.
#[derive(Debug, Default)]
pub struct Options {
    /// Whether a bar is shown, where standard error is a terminal.
    pub shows_progress: bool,
    /// A folder for what the runtimes print.
    pub logs: Option<PathBuf>,
}

/// Compares. `save` is called with what there is so far: before the first start, after the starts, and after each event.
/// When we are asked to end, what there is by then is returned, and is not complete.
///
/// # Errors
/// When a runtime cannot be made ready, or `save` fails the first time; a later failure of it is a warning.
pub fn run(
    scenario: &Scenario,
    options: &Options,
    stop: &Stop,
    mut save: impl FnMut(&Results) -> Result<(), Error>,
) -> Result<Results, Error> {
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|error| Error::new("cannot adopt orphans", error))?;
    let noise = Noise::watch();
    let mut results = empty(scenario);
    let mut prepared = Vec::new();
    for runtime in &scenario.runtimes {
        prepared.push(Prepared::new(
            runtime,
            options.logs.as_deref(),
            &mut results.warnings,
        )?);
    }
    let mut tasks = Vec::new();
    for prepared in &prepared {
        let own = tasks_of(prepared, &scenario.events);
        tasks.push(own.map_err(|error| {
            Error::new(format!("cannot compare {}", prepared.runtime.name), error)
        })?);
        results.runtimes.push(results::Runtime {
            name: prepared.runtime.name.clone(),
            description: prepared.description.clone(),
        });
    }
    save(&results)?;
    let bar = bar(scenario, options);
    results.floor = measure_floor(scenario, stop, &bar)?;
    let is_dropped =
        scenario.page_cache == PageCache::Dropped && is_droppable(&mut results.warnings);
    let mut session = Session::new(&prepared, tasks, scenario.timeout, stop, &bar);
    let names: Vec<_> = scenario
        .runtimes
        .iter()
        .map(|runtime| runtime.name.clone())
        .collect();
    let warnings = results.warnings.clone();
    let mut unsaved = None;
    let mut keep = |session: &Session, is_complete: bool, results: &mut Results| {
        results.series = session.tally.series(&names);
        results.problems = session.tally.problems(&names);
        results.warnings.clone_from(&warnings);
        results.warnings.extend(noise.warnings());
        results.warnings.extend(given_up(session));
        results.warnings.extend(uncounted(session));
        let logs = session.runtimes.iter().filter_map(Prepared::log_warning);
        results.warnings.extend(logs);
        results.is_complete = is_complete;
        results.compute();
        unsaved = save(results).err();
        if let Some(error) = &unsaved {
            results.warnings.push(error.to_string());
        }
    };
    bar.set_message("starts");
    cold::measure(&mut session, scenario.repeats, is_dropped);
    for (number, event) in scenario.events.iter().enumerate() {
        if stop.signal().is_some() || scenario.rounds == 0 {
            break;
        }
        keep(&session, false, &mut results);
        bar.set_message(format!("{} B", event.bytes.len()));
        warm::measure(&mut session, number, turns(scenario));
    }
    bar.finish_and_clear();
    // Orphans that have cleared their environment are known by nothing else.
    processes::stop(processes::all_of_ours, GRACE);
    keep(&session, stop.signal().is_none(), &mut results);
    match unsaved {
        Some(error) => Err(error),
        None => Ok(results),
    }
}

/// Each event, as this runtime answers it.
fn tasks_of(prepared: &Prepared, events: &[Event]) -> Result<Vec<Arc<Task>>, Error> {
    let tasks = events.iter();
    tasks
        .map(|event| Task::new(event, &prepared.runtime.expect).map(Arc::new))
        .collect()
}

fn turns(scenario: &Scenario) -> Turns {
    Turns {
        rounds: scenario.rounds,
        invocations: scenario.invocations,
        budget: scenario.budget,
        warmup: scenario.warmup,
        gap: scenario.gap,
    }
}

fn given_up(session: &Session) -> Vec<String> {
    let given_up = (0..session.runtimes.len()).filter(|&at| session.is_given_up(at));
    let told = given_up.map(|at| {
        let name = &session.runtimes[at].runtime.name;
        format!("{name} was given up after it had failed {GIVEN_UP_AFTER} times in a row")
    });
    told.collect()
}

fn uncounted(session: &Session) -> Vec<String> {
    let warning = |(runtime_index, cause): (&usize, &String)| {
        let name = &session.runtimes[*runtime_index].runtime.name;
        format!("the processes that {name} starts are not counted: cannot trace it: {cause}")
    };
    session.uncounted.iter().map(warning).collect()
}

fn is_droppable(warnings: &mut Vec<String>) -> bool {
    let dropped = machine::drop_page_cache();
    if let Err(error) = &dropped {
        warnings.push(format!(
            "the page cache stayed warm: cannot empty it: {error}"
        ));
    }
    dropped.is_ok()
}

fn measure_floor(
    scenario: &Scenario,
    stop: &Stop,
    bar: &ProgressBar,
) -> Result<Vec<results::Series>, Error> {
    bar.set_message("floor");
    let runtime = Runtime {
        name: floor::NAME.to_owned(),
        program: Program::Command(
            ["/proc/self/exe", floor::WORD]
                .map(ToOwned::to_owned)
                .to_vec(),
        ),
        written: String::new(),
        handler: String::new(),
        task_root: "/".into(),
        env: std::collections::BTreeMap::default(),
        limits: Limits::default(),
        expect: Expect::Raw,
    };
    let prepared = [Prepared::new(&runtime, None, &mut Vec::new())?];
    let events: Vec<_> = scenario
        .events
        .iter()
        .map(|event| Event {
            expect: None,
            ..event.clone()
        })
        .collect();
    let tasks = vec![tasks_of(&prepared[0], &events)?];
    let mut session = Session::new(&prepared, tasks, scenario.timeout, stop, bar);
    cold::measure(&mut session, scenario.repeats.min(FLOOR_REPEATS), false);
    for number in 0..events.len() {
        if stop.signal().is_none() {
            let turns = Turns {
                rounds: scenario.rounds.min(FLOOR_ROUNDS),
                invocations: scenario.invocations.min(FLOOR_INVOCATIONS),
                budget: scenario.budget.min(FLOOR_BUDGET),
                ..turns(scenario)
            };
            warm::measure(&mut session, number, turns);
        }
    }
    Ok(session.tally.series(&[floor::NAME.to_owned()]))
}

fn bar(scenario: &Scenario, options: &Options) -> ProgressBar {
    let (starts, rounds, events) = (scenario.repeats, scenario.rounds, scenario.events.len());
    let of_floor = starts.min(FLOOR_REPEATS) + rounds.min(FLOOR_ROUNDS) * events;
    let steps = of_floor + (starts + rounds * events) * scenario.runtimes.len();
    let target = if options.shows_progress {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(u64::try_from(steps).ok(), target);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}, {eta} left");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

fn empty(scenario: &Scenario) -> Results {
    let sizes: Vec<_> = scenario
        .events
        .iter()
        .map(|event| event.bytes.len().to_string())
        .collect();
    let page_cache = match scenario.page_cache {
        PageCache::Warm => "warm",
        PageCache::Dropped => "dropped",
    };
    let settings = [
        ("timeout", format!("{} s", scenario.timeout.as_secs_f64())),
        ("cold.repeats", scenario.repeats.to_string()),
        ("cold.page_cache", page_cache.to_owned()),
        ("warm.sizes", sizes.join(", ")),
        ("warm.rounds", scenario.rounds.to_string()),
        ("warm.invocations", scenario.invocations.to_string()),
        ("warm.budget", format!("{} ms", scenario.budget.as_millis())),
        ("warm.warmup", scenario.warmup.to_string()),
        ("warm.gap", format!("{} ms", milliseconds(scenario.gap))),
    ];
    let begun = OffsetDateTime::now_utc()
        .replace_nanosecond(0)
        .map_err(io::Error::other);
    let begun = begun.and_then(|begun| begun.format(&Rfc3339).map_err(io::Error::other));
    Results {
        version: results::VERSION,
        title: scenario.title.clone(),
        source: Source::Measured,
        begun: begun.unwrap_or_default(),
        is_complete: false,
        machine: machine::describe(),
        settings: settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        warnings: Vec::new(),
        floor: Vec::new(),
        baseline: scenario.baseline.clone(),
        runtimes: Vec::new(),
        series: Vec::new(),
        problems: Vec::new(),
    }
}
