//! `coshell serve --fault`: for every fault, what the caller gets, what bootstrap logs, and that the next events are answered.

use support::emulator::{EmulatorBuilder, INVOCATIONS, coshell, error_type};
use support::{Emulator, LIMIT, Process, TaskRoot};

/// What the caller of the invocation with the fault gets.
enum Expected {
    /// The response, with how often the handler has run in this sandbox.
    Response(u32),
    /// An error document of this type, which the emulator wrote.
    Error(&'static str),
}

struct Case {
    fault: &'static str,
    caller: Expected,
    /// The beginning of the line that bootstrap logs. Empty if it logs nothing.
    logged: &'static str,
    /// True if bootstrap ends, so that a new sandbox runs the next event.
    ends: bool,
}

/// The first `GET next` comes before the first call, so a bootstrap that it ends is still in its init.
const CASES: [Case; 9] = [
    Case {
        fault: "next-closed",
        caller: Expected::Response(1),
        logged: "",
        ends: false,
    },
    Case {
        fault: "next403",
        caller: Expected::Response(1),
        logged: "bootstrap: fatal: cannot read next invocation from 127.0.0.1:",
        ends: true,
    },
    Case {
        fault: "next500",
        caller: Expected::Response(1),
        logged: "bootstrap: fatal: cannot read next invocation from 127.0.0.1:",
        ends: true,
    },
    Case {
        // The event counts as unanswered, so bootstrap gets it again.
        fault: "answer-unknown",
        caller: Expected::Response(2),
        logged: "bootstrap: error: Lambda rejected the response: the Runtime API answered 400: InvalidRequestID",
        ends: false,
    },
    Case {
        fault: "answer-twice",
        caller: Expected::Response(1),
        logged: "bootstrap: error: Lambda rejected the response: the Runtime API answered 403 (",
        ends: false,
    },
    Case {
        fault: "answer-late",
        caller: Expected::Error("Sandbox.Timedout"),
        logged: "bootstrap: error: Lambda rejected the response: the Runtime API answered 410 (",
        ends: false,
    },
    Case {
        fault: "answer-too-large",
        caller: Expected::Error("Function.ResponseSizeTooLarge"),
        logged: "bootstrap: error: Lambda rejected the response: the Runtime API answered 413 (",
        ends: false,
    },
    Case {
        fault: "answer-mode",
        caller: Expected::Error("Runtime.InvalidResponseModeHeader"),
        logged: "bootstrap: error: Lambda rejected the response: the Runtime API answered 400: InvalidFunctionResponseMode",
        ends: false,
    },
    Case {
        fault: "answer500",
        caller: Expected::Error("Runtime.ExitError"),
        logged: "bootstrap: fatal: cannot post response: the Runtime API answered 500",
        ends: true,
    },
];

/// Prints how often it has run in its sandbox. It needs the isolation `none`.
const COUNTS: &str = "handler() { count=$((${count-0} + 1)); printf '%s: %s' \"$count\" \"$1\"; }";

fn counting() -> EmulatorBuilder {
    Emulator::of(COUNTS).option("--env", "COSHELL_ISOLATION=none")
}

#[test]
fn every_fault_is_played_once_and_the_next_events_are_answered() {
    for case in CASES {
        println!("case: {}", case.fault);
        let emulator = counting().option("--fault", case.fault).start();
        let event = "an event that is long enough to be cut in its middle";
        let reply = emulator.call(event);
        let count_so_far = match case.caller {
            Expected::Response(count) => {
                let response = emulator.expect_response(reply);
                assert_eq!(
                    String::from_utf8_lossy(&response),
                    format!("{count}: {event}")
                );
                count
            }
            Expected::Error(expected) => {
                emulator.expect_error(&reply);
                assert_eq!(error_type(&reply.body), expected);
                1
            }
        };
        // A fault of `next` ends bootstrap before the event, so the event is already in the new sandbox.
        let is_new = case.ends && case.fault.starts_with("answer");
        let before = if is_new { 0 } else { count_so_far };
        for count in 1..=3 {
            let text = emulator.respond_text("after");
            assert_eq!(text, format!("{}: after", before + count));
        }
        emulator.wait_log_count("\nREPORT ", 4);
        let log = emulator.stop();
        let lines = Process::bootstrap_lines(&log);
        let expected = usize::from(!case.logged.is_empty());
        assert_eq!(lines.len(), expected, "{log}");
        assert!(
            lines.iter().all(|line| line.starts_with(case.logged)),
            "{log}"
        );
        let ends = log
            .matches("Runtime exited with error: exit status 1")
            .count();
        assert_eq!(ends, usize::from(case.ends), "{log}");
    }
}

#[test]
fn the_log_has_the_status_of_a_rejected_next() {
    for (fault, expected) in [
        (
            "next403",
            "answered 403 (the Runtime API does not expect this call now): InvalidStateTransition",
        ),
        (
            "next500",
            "answered 500: ServiceError: Internal service error",
        ),
    ] {
        let emulator = Emulator::of(COUNTS).option("--fault", fault).start();
        emulator.process.wait_log(expected);
        emulator.process.wait_log("INIT_REPORT Init Duration: ");
        emulator
            .process
            .wait_log("\tPhase: init\tStatus: error\tError Type: Runtime.ExitError\t\n");
    }
}

#[test]
fn faults_can_be_repeated_and_are_played_in_order() {
    let builder = counting().option("--fault", "answer-too-large");
    let builder = builder
        .option("--fault", "answer-mode")
        .option("--fault", "answer-too-large");
    let emulator = builder.start();
    let types = [(); 3].map(|()| error_type(&emulator.call("{}").body));
    let expected = [
        "Function.ResponseSizeTooLarge",
        "Runtime.InvalidResponseModeHeader",
        "Function.ResponseSizeTooLarge",
    ];
    assert_eq!(types, expected);
    assert_eq!(emulator.respond_text("on"), "4: on");
}

#[test]
fn answer_faults_apply_to_errors_too() {
    let emulator = Emulator::of("handler() { false; }").option("--fault", "answer-late");
    let emulator = emulator.start();
    assert_eq!(error_type(&emulator.call("{}").body), "Sandbox.Timedout");
    let next = emulator.request("POST", INVOCATIONS, &[], "{}");
    assert_eq!(error_type(&next.body), "Function.CommandFailed");
}

#[test]
fn the_tested_faults_are_those_in_the_help() {
    let mut command = coshell(&TaskRoot::new());
    command.current_dir("/").args(["serve", "--help"]);
    let process = Process::start(command);
    process.wait_exit(LIMIT);
    let help = process.final_log();
    let (_, list) = help.split_once("--fault <NAME>").expect("the option");
    let (list, _) = list.split_once("\n      --").expect("the option after it");
    let entries = list
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "));
    let listed: Vec<_> = entries
        .filter_map(|entry| entry.split(':').next())
        .collect();
    assert_eq!(listed, CASES.map(|case| case.fault));
    let (status, stderr) = Emulator::of(COUNTS)
        .option("--fault", "none")
        .expect_start_failure();
    assert_eq!(status, 2, "{stderr}");
}
