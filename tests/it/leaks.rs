//! What one event prints and logs, and what it leaves running prints and logs: never in what another event gets.
//!
//! Each event has a name that no other has, which is its request id and in all that its handler writes. So two names in
//! one response, one error document or one line of the log are a leak, whatever the handler does. The [`SHAPES`] are the
//! ways to write; they come by turns, so that what one leaves meets each of the others.
//!
//! `COSHELL_TEST_LEAK_EVENTS=300` gives each shape as many events in each setting.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::deadline::check_all;
use crate::logs::records;
use support::seeded::{Choices, count, seed};
use support::{Call, Emulator, Event, LIMIT, Process, Sandbox, SandboxBuilder, wait_until};

/// Each is called with the name of its event. `gated` leaves a job that logs while the event after it runs: `meets` lets
/// it, and fails when it has.
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
    /// These lines, with the event's name for `NAME`.
    Lines(&'static [&'static str]),
    /// In any order.
    Unordered(&'static [&'static str]),
    /// The line, and maybe another one before or after it, which is in the log otherwise.
    Maybe(&'static str, &'static str),
    /// An error, which quotes this line of its own log.
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

/// The shapes that are at home where several events run at a time: `meets` could let the job of another lane go on.
fn is_for_lanes(shape: &str) -> bool {
    !matches!(shape, "gated" | "meets")
}

const NAME: &str = "event-";
const DIGITS: usize = 6;

/// The events that are named in `text`.
fn names(text: &str) -> BTreeSet<String> {
    let found = text.match_indices(NAME).filter_map(|(at, _)| {
        let name = text.get(at..at + NAME.len() + DIGITS)?;
        let number = &name[NAME.len()..];
        let is_name = number.bytes().all(|byte| byte.is_ascii_digit());
        is_name.then(|| name.to_owned())
    });
    found.collect()
}

/// An event: its name, its shape, and what is to be answered.
#[derive(Debug, Clone)]
struct Planned {
    name: String,
    shape: &'static str,
    expected: Expected,
}

impl Planned {
    /// So many events of each shape, by turns.
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

    /// What is wrong with its answer: text, and the message of its error if it is one.
    fn complaint(&self, response: &str, message: Option<&str>) -> Option<String> {
        let own = |text: &str| text.replace("NAME", &self.name);
        let got: Vec<_> = response.lines().collect();
        let wanted = |lines: &[&str]| lines.iter().map(|line| own(line)).collect::<Vec<_>>();
        let is_right = match self.expected {
            Lines(lines) => message.is_none() && got == wanted(lines),
            Unordered(lines) => {
                let sorted = |mut lines: Vec<String>| {
                    lines.sort();
                    lines
                };
                let got = got.iter().map(|line| (*line).to_owned()).collect();
                message.is_none() && sorted(got) == sorted(wanted(lines))
            }
            Maybe(line, late) => {
                let (line, late) = (own(line), own(late));
                let forms = [vec![&line], vec![&line, &late], vec![&late, &line]];
                message.is_none() && forms.iter().any(|form| got == *form)
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

    /// The line that comes from a job, and in the end is in its response or in the log. (What an event that fails has
    /// printed by its end is nowhere.)
    fn late_line(&self) -> Option<String> {
        match self.expected {
            Maybe(_, late) => Some(late.replace("NAME", &self.name)),
            _ => None,
        }
    }

    /// The lines that are in the log in the end.
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

/// How many events each shape has in each setting.
fn events_of_each(default: usize) -> usize {
    count("COSHELL_TEST_LEAK_EVENTS", default)
}

fn functions() -> SandboxBuilder {
    Sandbox::of(&format!("{HANDLERS}\nhandler() {{ $1; }}\n"))
}

/// As a script is one for each event, and a program that is no script of bash's.
fn script() -> SandboxBuilder {
    let text = format!("#!/bin/bash\n{HANDLERS}\n$1\n");
    Sandbox::empty()
        .file("legacy.sh", text)
        .handler("legacy.sh")
        .event_as_argument()
}

fn executable() -> SandboxBuilder {
    // Python becomes a bash, so that all shapes are of the same lines.
    let text = format!(
        "#!/usr/bin/env python3\nimport os, sys\nos.execvp('bash', ['bash', '-c', r'''{HANDLERS}\n$1''', 'bash', sys.stdin.read()])\n"
    );
    Sandbox::empty()
        .executable("tool", text)
        .handler("tool")
        .event_as_argument()
}

/// The body of an answer, and the message of its error.
fn parts(answer: &Call) -> (String, Option<String>) {
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

/// Sends the events, as many at a time as there are lanes, and looks at every answer and at the log.
#[track_caller]
fn check(setting: &str, builder: SandboxBuilder, events: &[Planned], lanes: usize) {
    builder.task_root().fifo("gate");
    builder.task_root().fifo("gone");
    let sandbox = builder.start();
    let mut problems = Vec::new();
    let mut outstanding = Vec::new();
    for some in events.chunks(lanes * 2) {
        for event in some {
            sandbox.api.push(event.event());
        }
        for event in some {
            let (response, message) = parts(&sandbox.api.wait_answer(&event.name));
            problems.extend(event.complaint(&response, message.as_deref()));
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

/// Nothing that was logged is lost, and each line is of one event and carries no other's request id.
#[track_caller]
fn check_log(setting: &str, sandbox: &Sandbox, outstanding: &[String], events: &[Planned]) {
    let deadline = Instant::now() + LIMIT;
    let missing = || {
        let log = sandbox.bootstrap.log();
        let lines: BTreeSet<_> = log.lines().map(message_of).collect();
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
    assert!(mixed.is_empty(), "{setting}: of two events: {mixed:#?}");
    // What is written while another event runs says whose it is.
    if !log.starts_with('{') {
        for event in events.iter().filter(|event| event.shape == "gated") {
            let line = format!("[{0}] late log of {0}", event.name);
            let is_there = log.lines().any(|logged| logged == line);
            assert!(is_there, "{setting}: not in the log: {line}");
        }
    }
}

/// The text of a line of the log, without what we put before it.
fn message_of(line: &str) -> String {
    if line.starts_with('{') {
        let record = &records(line)[0];
        return record["message"].as_str().unwrap_or_default().to_owned();
    }
    let rest = line.split_once("] ").filter(|_| line.starts_with('['));
    rest.map_or(line, |(_, rest)| rest).to_owned()
}

const ISOLATIONS: [&str; 4] = ["restore", "none", "subshell", "process"];

/// `kill -9 $$` in a fork kills the shell and leaves the fork, so that there the event ends otherwise. With `restore`
/// too: these handlers start jobs, and so they run in forks.
fn of_isolation(isolation: &str, lanes: usize) -> impl Fn(&str) -> bool {
    let is_forked = matches!(isolation, "restore" | "subshell");
    move |shape| (lanes == 1 || is_for_lanes(shape)) && !(is_forked && shape == "dies")
}

/// Checks them in every isolation.
#[track_caller]
fn check_everywhere(
    how: &str,
    default: usize,
    lanes: usize,
    change: impl Fn(SandboxBuilder) -> SandboxBuilder + Sync,
) {
    check_all(
        &ISOLATIONS,
        |isolation| format!("{isolation}, {how}"),
        |isolation| {
            let builder = functions().env("COSHELL_ISOLATION", isolation);
            let events = Planned::all(events_of_each(default), of_isolation(isolation, lanes));
            let setting = format!("{isolation}, {how}");
            check(&setting, change(builder), &events, lanes);
        },
    );
}

#[test]
fn no_event_gets_what_another_one_printed_or_logged() {
    check_everywhere("buffered", 20, 1, |builder| builder);
}

#[test]
fn no_event_gets_what_another_one_streamed() {
    check_everywhere("streamed", 10, 1, |builder| {
        builder.env("COSHELL_RESPONSE_MODE", "streaming")
    });
}

#[test]
fn no_record_of_the_log_carries_the_request_id_of_another_event() {
    check_everywhere("JSON", 10, 1, |builder| {
        builder.env("AWS_LAMBDA_LOG_FORMAT", "JSON")
    });
}

#[test]
fn no_lane_gets_what_another_one_printed_or_logged() {
    check_everywhere("lanes", 9, 3, |builder| builder.lanes(3));
}

#[test]
fn no_lane_gets_what_another_one_printed_or_logged_as_text() {
    check_everywhere("lanes, as text", 9, 3, |builder| {
        builder.lanes(3).env("AWS_LAMBDA_LOG_FORMAT", "Text")
    });
}

#[test]
fn no_script_and_no_executable_gets_what_another_one_printed_or_logged() {
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
                "a script" => script(),
                _ => executable(),
            };
            let builder = builder.env("COSHELL_RESPONSE_MODE", mode);
            let events = Planned::all(events_of_each(10), |_| true);
            check(&format!("{kind}, {mode}"), builder, &events, 1);
        },
    );
}

/// With every processor busy a job comes late, and an answer may overtake what was printed before it.
#[test]
fn no_event_gets_what_another_one_printed_while_the_machine_is_busy() {
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let mut spinner = Command::new("nice");
            spinner.args(["-n", "1", "bash", "-c", "while :; do :; done"]);
            Process::start(spinner)
        })
        .collect();
    check_everywhere("busy", 4, 1, |builder| builder);
    drop(busy);
}

/// In no order at all: what meets what is left to chance.
#[test]
fn no_event_gets_what_another_one_printed_in_any_order() {
    let seed = seed();
    check_all(
        &ISOLATIONS,
        |isolation| format!("{isolation}, COSHELL_TEST_SEED={seed}"),
        |isolation| {
            let mut choices = Choices::of(seed);
            let is_wanted = of_isolation(isolation, 1);
            let is_free = |shape: &str| is_wanted(shape) && is_for_lanes(shape);
            let mut events = Planned::all(events_of_each(6), is_free);
            for at in (1..events.len()).rev() {
                events.swap(at, choices.below(at + 1));
            }
            let builder = functions().env("COSHELL_ISOLATION", isolation);
            check(
                &format!("{isolation}, COSHELL_TEST_SEED={seed}"),
                builder,
                &events,
                1,
            );
        },
    );
}

/// Through the emulator: its answers, and the tail of the log that a caller asks for.
#[test]
fn no_caller_of_serve_gets_what_another_event_printed_or_logged() {
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
            for event in Planned::all(events_of_each(8), of_isolation(isolation, 1)) {
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
                problems.extend(event.complaint(response, message.as_deref()));
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
