//! Output of one event, and of the processes that it leaves running, must never be in the response, the error or the log
//! lines of another event.
//!
//! Each event has a unique name, which is its request id and is in everything that its handler writes. So two names in one
//! response, one error document or one log line are a leak, whatever the handler does. The [`SHAPES`] are ways to write
//! output. Events of all shapes take turns, so that leftover processes of each shape run beside events of the others.
//!
//! `COSHELL_TEST_LEAK_EVENTS` sets the number of events of each shape in each setting.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::deadline::check_all;
use crate::logs::records;
use support::seeded::{Choices, count, seed};
use support::{Call, Emulator, Event, LIMIT, Process, Sandbox, SandboxBuilder, wait_until};

/// Each function gets the name of its event. `gated` leaves a job that waits for the next event; `meets`, the next event, lets
/// the job log, and fails afterwards.
const HANDLERS: &str = r#"
job() { echo "late $1" & echo "own $1"; }
external_job() { /bin/echo "late $1" & echo "own $1"; }
orphan() { (echo "late $1" &); echo "own $1"; }
slow_job() { (sleep 0.01; echo "late $1"; echo "late log of $1" >&2) & echo "own $1"; }
tee_() { echo "own $1" > >(tee /dev/null); }
whole() { exec > >(cat); echo "own $1"; }
filtered() { echo "own $1" > >(sed 's/^/> /'); }
slow() { printf '%s\n' a b "$1" > >(while read -r line; do sleep 0.01; echo "got $line"; done); }
twice() { tee >(sed 's/^/again /') <<<"own $1"; }
piped_twice() { echo "own $1" | tee >(sed 's/^/again /'); }
marked() { { echo "warning about $1" >&2; echo "ok $1"; } 2> >(sed 's/^/marked: /' >&2); }
logs() { echo "log of $1" >&2; echo "ok $1"; }
quick_log() { echo "late log of $1" >&2 & echo "ok $1"; }
gated() { { read -r _ <"$LAMBDA_TASK_ROOT/gate"; echo "late log of $1" >&2; echo >"$LAMBDA_TASK_ROOT/gone"; } >/dev/null & echo "ok $1"; }
meets() { echo >"$LAMBDA_TASK_ROOT/gate"; read -r _ <"$LAMBDA_TASK_ROOT/gone"; echo "log of $1" >&2; return 3; }
fails() { echo "log of $1" >&2; return 3; }
exits() { echo "late $1" & echo "late log of $1" >&2 & echo "log of $1" >&2; exit 4; }
dies() { echo "late $1" & echo "log of $1" >&2; kill -9 $$; }
breaks() { echo "own $1"; echo "log of $1" >&2; return 3; }
silent() { :; }
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// These lines, with `NAME` replaced by the name of the event.
    Lines(&'static [&'static str]),
    /// These lines in any order.
    Unordered(&'static [&'static str]),
    /// The first line. The second line may be before or after it, or in the log.
    Maybe(&'static str, &'static str),
    /// An error that quotes this line of its own log.
    Failure(&'static str),
}

use Expected::{Failure, Lines, Maybe, Unordered};

const SHAPES: &[(&str, Expected)] = &[
    ("job", Maybe("own NAME", "late NAME")),
    ("fails", Failure("log of NAME")),
    ("external_job", Maybe("own NAME", "late NAME")),
    ("tee_", Lines(&["own NAME"])),
    ("orphan", Maybe("own NAME", "late NAME")),
    ("silent", Lines(&[])),
    ("whole", Lines(&["own NAME"])),
    ("filtered", Lines(&["> own NAME"])),
    ("slow_job", Maybe("own NAME", "late NAME")),
    ("logs", Lines(&["ok NAME"])),
    ("slow", Lines(&["got a", "got b", "got NAME"])),
    ("twice", Unordered(&["own NAME", "again own NAME"])),
    ("piped_twice", Maybe("own NAME", "again own NAME")),
    ("quick_log", Lines(&["ok NAME"])),
    ("breaks", Failure("log of NAME")),
    ("marked", Lines(&["ok NAME"])),
    ("exits", Failure("log of NAME")),
    ("gated", Lines(&["ok NAME"])),
    ("meets", Failure("log of NAME")),
    ("dies", Failure("log of NAME")),
];

/// False for shapes that need one event at a time: `meets` could open the gate for a job of another lane.
fn is_for_lanes(shape: &str) -> bool {
    !matches!(shape, "gated" | "meets")
}

const NAME: &str = "event-";
const DIGITS: usize = 6;

/// The names of events in `text`.
fn names(text: &str) -> BTreeSet<String> {
    let found = text.match_indices(NAME).filter_map(|(start, _)| {
        let name = text.get(start..start + NAME.len() + DIGITS)?;
        let number = &name[NAME.len()..];
        let is_name = number.bytes().all(|byte| byte.is_ascii_digit());
        is_name.then(|| name.to_owned())
    });
    found.collect()
}

/// An event: its name, its shape, and the expected answer.
#[derive(Debug, Clone)]
struct LeakEvent {
    name: String,
    shape: &'static str,
    expected: Expected,
}

impl LeakEvent {
    /// Makes `count` events of each shape. The shapes take turns.
    fn all(count: usize, is_wanted: impl Fn(&str) -> bool) -> Vec<Self> {
        let wanted: Vec<_> = SHAPES
            .iter()
            .filter(|(shape, _)| is_wanted(shape))
            .collect();
        let turns = (0..count * wanted.len()).map(|number| {
            let (shape, expected) = *wanted[number % wanted.len()];
            Self {
                name: format!("{NAME}{number:0DIGITS$}"),
                shape,
                expected,
            }
        });
        turns.collect()
    }

    fn text(&self) -> String {
        format!("{} {}", self.shape, self.name)
    }

    fn event(&self) -> Event {
        Event::new(&self.name, self.text())
    }

    /// Describes what is wrong with the answer, if anything. `message` is the message of an error.
    fn find_problem(&self, response: &str, message: Option<&str>) -> Option<String> {
        let own = |text: &str| text.replace("NAME", &self.name);
        let actual: Vec<_> = response.lines().collect();
        let wanted = |lines: &[&str]| lines.iter().map(|line| own(line)).collect::<Vec<_>>();
        let is_right = match self.expected {
            Lines(lines) => message.is_none() && actual == wanted(lines),
            Unordered(lines) => {
                let sorted = |mut lines: Vec<String>| {
                    lines.sort();
                    lines
                };
                let actual = actual.iter().map(|line| (*line).to_owned()).collect();
                message.is_none() && sorted(actual) == sorted(wanted(lines))
            }
            Maybe(line, late) => {
                let (line, late) = (own(line), own(late));
                let forms = [vec![&line], vec![&line, &late], vec![&late, &line]];
                message.is_none() && forms.iter().any(|form| actual == *form)
            }
            Failure(line) => {
                let quoted = message.is_some_and(|message| message.lines().any(|l| l == own(line)));
                quoted || (self.shape == "dies" && message.is_some())
            }
        };
        let found = names(&format!("{response} {}", message.unwrap_or_default()));
        let is_alone = found.iter().all(|name| *name == self.name);
        (!is_right || !is_alone).then(|| format!("{}: {response:?} {message:?}", self.text()))
    }

    /// The line that a job writes, which must be in the response or in the log. The output of an event that fails is dropped.
    fn late_line(&self) -> Option<String> {
        match self.expected {
            Maybe(_, late) => Some(late.replace("NAME", &self.name)),
            _ => None,
        }
    }

    /// The lines that must be in the log in the end.
    fn log_lines(&self) -> Vec<String> {
        let lines: &[_] = match self.shape {
            "marked" => &["marked: warning about NAME"],
            "logs" | "fails" | "breaks" | "meets" => &["log of NAME"],
            "quick_log" | "gated" | "slow_job" => &["late log of NAME"],
            "exits" => &["late log of NAME", "log of NAME"],
            _ => &[],
        };
        lines
            .iter()
            .map(|line| line.replace("NAME", &self.name))
            .collect()
    }
}

/// The number of events of each shape in each setting.
fn events_per_shape(default: usize) -> usize {
    count("COSHELL_TEST_LEAK_EVENTS", default)
}

fn function_sandbox() -> SandboxBuilder {
    Sandbox::of(&format!("{HANDLERS}\nhandler() {{ $1; }}\n"))
}

fn script_sandbox() -> SandboxBuilder {
    let text = format!("#!/bin/bash\n{HANDLERS}\n$1\n");
    Sandbox::empty()
        .file("legacy.sh", text)
        .handler("legacy.sh")
        .event_as_argument()
}

fn executable_sandbox() -> SandboxBuilder {
    // Python runs bash, so that the executable has the same shapes.
    let text = format!(
        "#!/usr/bin/env python3\nimport os, sys\nos.execvp('bash', ['bash', '-c', r'''{HANDLERS}\n$1''', 'bash', sys.stdin.read()])\n"
    );
    Sandbox::empty()
        .executable("tool", text)
        .handler("tool")
        .event_as_argument()
}

/// The response, and the message of the error if there is one.
fn parse_answer(answer: &Call) -> (String, Option<String>) {
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let document = if answer.is_error() {
        Some(answer.error_document())
    } else if answer
        .trailer("Lambda-Runtime-Function-Error-Body")
        .is_some()
    {
        Some(answer.trailer_error_document())
    } else {
        None
    };
    let message = document.map(|document| {
        let message = document["errorMessage"].as_str();
        message.unwrap_or_default().to_owned()
    });
    let response = if answer.is_error() {
        String::new()
    } else {
        body
    };
    (response, message)
}

/// Sends the events, up to two for each lane at a time, and checks every answer and the log.
#[track_caller]
fn check(setting: &str, builder: SandboxBuilder, events: &[LeakEvent], lanes: usize) {
    builder.task_root().fifo("gate");
    builder.task_root().fifo("gone");
    let sandbox = builder.start();
    let mut problems = Vec::new();
    let mut outstanding = Vec::new();
    for batch in events.chunks(lanes * 2) {
        for event in batch {
            sandbox.api.push(event.event());
        }
        for event in batch {
            let (response, message) = parse_answer(&sandbox.api.wait_answer(&event.name));
            problems.extend(event.find_problem(&response, message.as_deref()));
            let late = event.late_line();
            outstanding.extend(late.filter(|late| !response.lines().any(|line| line == late)));
            outstanding.extend(event.log_lines());
        }
        if problems.len() > 5 {
            break;
        }
    }
    assert!(
        problems.is_empty(),
        "{setting}: at least {} of {}:\n{}",
        problems.len(),
        events.len(),
        problems.join("\n")
    );
    check_log(setting, &sandbox, &outstanding, events);
}

/// Asserts that no log line is lost, and that each line has the name and the request id of one event only.
#[track_caller]
fn check_log(setting: &str, sandbox: &Sandbox, outstanding: &[String], events: &[LeakEvent]) {
    let deadline = Instant::now() + LIMIT;
    let missing = || {
        let log = sandbox.bootstrap.log();
        let lines: BTreeSet<_> = log.lines().map(log_message).collect();
        let missing = outstanding.iter().filter(|line| !lines.contains(*line));
        missing.cloned().collect::<Vec<_>>()
    };
    wait_until(
        || missing().is_empty() || Instant::now() > deadline,
        LIMIT * 2,
    );
    let missing = missing();
    assert!(
        missing.is_empty(),
        "{setting}: not in the log: {missing:#?}"
    );
    let log = sandbox.bootstrap.final_log();
    let mixed: Vec<_> = log.lines().filter(|line| names(line).len() > 1).collect();
    assert!(
        mixed.is_empty(),
        "{setting}: lines of two events: {mixed:#?}"
    );
    // A line that is written while another event runs has a request id.
    if !log.starts_with('{') {
        for event in events.iter().filter(|event| event.shape == "gated") {
            let line = format!("[{0}] late log of {0}", event.name);
            let is_there = log.lines().any(|logged| logged == line);
            assert!(is_there, "{setting}: not in the log: {line}");
        }
    }
}

/// The message of a log line, without the request id that bootstrap puts before it.
fn log_message(line: &str) -> String {
    if line.starts_with('{') {
        let record = &records(line)[0];
        return record["message"].as_str().unwrap_or_default().to_owned();
    }
    let rest = line.split_once("] ").filter(|_| line.starts_with('['));
    rest.map_or(line, |(_, rest)| rest).to_owned()
}

const ISOLATIONS: [&str; 4] = ["restore", "none", "subshell", "process"];

/// Selects the shapes for an isolation. `dies` is left out where handlers run in forks: `kill -9 $$` then kills the shell but
/// not the fork. With `restore` these handlers run in forks too, because they start jobs.
fn shapes_for(isolation: &str, lanes: usize) -> impl Fn(&str) -> bool {
    let is_forked = matches!(isolation, "restore" | "subshell");
    move |shape| (lanes == 1 || is_for_lanes(shape)) && !(is_forked && shape == "dies")
}

#[track_caller]
fn check_every_isolation(
    how: &str,
    default: usize,
    lanes: usize,
    change: impl Fn(SandboxBuilder) -> SandboxBuilder + Sync,
) {
    check_all(
        &ISOLATIONS,
        |isolation| format!("{isolation}, {how}"),
        |isolation| {
            let builder = function_sandbox().env("COSHELL_ISOLATION", isolation);
            let events = LeakEvent::all(events_per_shape(default), shapes_for(isolation, lanes));
            let setting = format!("{isolation}, {how}");
            check(&setting, change(builder), &events, lanes);
        },
    );
}

#[test]
fn no_event_gets_output_of_another() {
    check_every_isolation("buffered", 20, 1, |builder| builder);
}

#[test]
fn no_streamed_response_gets_output_of_another_event() {
    check_every_isolation("streamed", 10, 1, |builder| {
        builder.env("COSHELL_RESPONSE_MODE", "streaming")
    });
}

#[test]
fn no_json_log_record_has_the_request_id_of_another_event() {
    check_every_isolation("JSON", 10, 1, |builder| {
        builder.env("AWS_LAMBDA_LOG_FORMAT", "JSON")
    });
}

#[test]
fn no_lane_gets_output_of_another() {
    check_every_isolation("lanes", 9, 3, |builder| builder.lanes(3));
}

#[test]
fn no_lane_gets_output_of_another_in_text_format() {
    check_every_isolation("lanes, as text", 9, 3, |builder| {
        builder.lanes(3).env("AWS_LAMBDA_LOG_FORMAT", "Text")
    });
}

#[test]
fn no_script_or_executable_gets_output_of_another_event() {
    let cases = [
        ("a script", "buffered"),
        ("a script", "streaming"),
        ("an executable", "buffered"),
        ("an executable", "streaming"),
    ];
    check_all(
        &cases,
        |case| format!("{case:?}"),
        |(kind, mode)| {
            let builder = match *kind {
                "a script" => script_sandbox(),
                _ => executable_sandbox(),
            };
            let builder = builder.env("COSHELL_RESPONSE_MODE", mode);
            let events = LeakEvent::all(events_per_shape(10), |_| true);
            check(&format!("{kind}, {mode}"), builder, &events, 1);
        },
    );
}

/// On a busy machine jobs write late, and an answer may overtake output from before it.
#[test]
fn no_event_gets_output_of_another_while_the_machine_is_busy() {
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let mut spinner = Command::new("nice");
            spinner.args(["-n", "1", "bash", "-c", "while :; do :; done"]);
            Process::start(spinner)
        })
        .collect();
    check_every_isolation("busy", 4, 1, |builder| builder);
    drop(busy);
}

#[test]
fn no_event_gets_output_of_another_in_random_order() {
    let seed = seed();
    check_all(
        &ISOLATIONS,
        |isolation| format!("{isolation}, COSHELL_TEST_SEED={seed}"),
        |isolation| {
            let mut choices = Choices::of(seed);
            let is_wanted = shapes_for(isolation, 1);
            let is_free = |shape: &str| is_wanted(shape) && is_for_lanes(shape);
            let mut events = LeakEvent::all(events_per_shape(6), is_free);
            for index in (1..events.len()).rev() {
                events.swap(index, choices.below(index + 1));
            }
            let builder = function_sandbox().env("COSHELL_ISOLATION", isolation);
            check(
                &format!("{isolation}, COSHELL_TEST_SEED={seed}"),
                builder,
                &events,
                1,
            );
        },
    );
}

/// Checks the answers of the emulator, and the tail of the log that it returns on request.
#[test]
fn no_caller_of_the_emulator_gets_output_of_another_event() {
    check_all(
        &ISOLATIONS,
        |isolation| (*isolation).to_owned(),
        |isolation| {
            let emulator = Emulator::of(&format!("{HANDLERS}\nhandler() {{ $1; }}\n"))
                .option("--env", &format!("COSHELL_ISOLATION={isolation}"))
                .start();
            emulator.task_root.fifo("gate");
            emulator.task_root.fifo("gone");
            let mut problems = Vec::new();
            for event in LeakEvent::all(events_per_shape(8), shapes_for(isolation, 1)) {
                let reply = emulator.call_with_headers(&[("X-Amz-Log-Type", "Tail")], event.text());
                let is_error = reply.header("X-Amz-Function-Error").is_some();
                let body = String::from_utf8_lossy(&reply.body).into_owned();
                let message = is_error.then(|| {
                    let document = emulator.expect_error(&reply);
                    document["errorMessage"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned()
                });
                let response = if is_error { "" } else { &body };
                problems.extend(event.find_problem(response, message.as_deref()));
                let tail = reply.header("X-Amz-Log-Result").expect("a log");
                let tail = BASE64_STANDARD.decode(tail).expect("base64");
                let tail = String::from_utf8_lossy(&tail).into_owned();
                if names(&tail).iter().any(|name| *name != event.name) {
                    problems.push(format!("{}, its log: {tail}", event.text()));
                }
            }
            assert!(
                problems.is_empty(),
                "{isolation}, serve: {} events:\n{}",
                problems.len(),
                problems.join("\n")
            );
        },
    );
}
