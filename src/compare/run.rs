//! Runs a comparison: the floor, cold starts, warm invocations. Partial results are saved on the way.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Error;
use super::event::{Event, Exchange, Expect};
use super::limits::Limits;
use super::machine::{self, Noise};
use super::results::{self, Results, Source};
use super::runtime::PreparedRuntime;
use super::scenario::{PageCache, Program, Runtime, Scenario};
use super::session::{GIVEN_UP_AFTER, Session, milliseconds};
use super::turn::Turns;
use super::{cold, floor, warm};
use coshell_process::{StopSignal, processes};

/// The floor is steady: it needs fewer samples than the runtimes.
const FLOOR_REPEATS: usize = 10;
const FLOOR_ROUNDS: usize = 5;
const FLOOR_INVOCATIONS: usize = 500;
const FLOOR_BUDGET: Duration = Duration::from_millis(300);
/// Between SIGTERM and SIGKILL for processes that are left at the end.
const GRACE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub struct Options {
    /// Whether standard error, if it is a terminal, has a progress bar.
    pub shows_progress: bool,
    /// A folder for the output of the runtimes.
    pub logs: Option<PathBuf>,
}

/// Compares. `save` gets the results so far: before the first start, after the cold starts, and after each event size.
/// After a signal the results so far are returned, and are not complete.
///
/// # Errors
/// If a runtime cannot be prepared, or `save` fails the first or the last time. Other failures of `save` are warnings.
pub fn run(
    scenario: &Scenario,
    options: &Options,
    stop: &StopSignal,
    mut save: impl FnMut(&Results) -> Result<(), Error>,
) -> Result<Results, Error> {
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|error| Error::new("cannot adopt orphans", error))?;
    let noise = Noise::watch();
    let mut results = empty(scenario);
    let mut prepared = Vec::new();
    for runtime in &scenario.runtimes {
        prepared.push(PreparedRuntime::new(
            runtime,
            options.logs.as_deref(),
            &mut results.warnings,
        )?);
    }
    let mut exchanges = Vec::new();
    for prepared in &prepared {
        let own = exchanges_of(prepared, &scenario.events);
        exchanges.push(own.map_err(|error| {
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
    let mut session = Session::new(&prepared, exchanges, scenario.timeout, stop, &bar);
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
        let logs = session
            .runtimes
            .iter()
            .filter_map(PreparedRuntime::log_warning);
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
    // Orphans that have cleared their environment are found in no other way.
    processes::stop(processes::our_descendants, GRACE);
    keep(&session, stop.signal().is_none(), &mut results);
    match unsaved {
        Some(error) => Err(error),
        None => Ok(results),
    }
}

/// The exchanges of a runtime: one for each event.
fn exchanges_of(prepared: &PreparedRuntime, events: &[Event]) -> Result<Vec<Arc<Exchange>>, Error> {
    let exchanges = events.iter();
    exchanges
        .map(|event| Exchange::new(event, &prepared.runtime.expect).map(Arc::new))
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
    let indices = 0..session.runtimes.len();
    let given_up = indices.filter(|&runtime_index| session.is_given_up(runtime_index));
    let warnings = given_up.map(|runtime_index| {
        let name = &session.runtimes[runtime_index].runtime.name;
        format!("{name} was given up after it had failed {GIVEN_UP_AFTER} times in a row")
    });
    warnings.collect()
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
    stop: &StopSignal,
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
    let prepared = [PreparedRuntime::new(&runtime, None, &mut Vec::new())?];
    let events: Vec<_> = scenario
        .events
        .iter()
        .map(|event| Event {
            expect: None,
            ..event.clone()
        })
        .collect();
    let exchanges = vec![exchanges_of(&prepared[0], &events)?];
    let mut session = Session::new(&prepared, exchanges, scenario.timeout, stop, bar);
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
