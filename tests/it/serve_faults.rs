//! Every fault that `coshell serve --fault` plays: what the caller gets, what bootstrap says, and that it goes on.

use support::emulator::{EmulatorBuilder, INVOCATIONS, coshell, error_type};
use support::{Emulator, LIMIT, Process, TaskRoot};

/// What becomes of the invocation that meets a fault.
enum Meets {
    /// The response of the attempt of this number in its sandbox.
    Response(u32),
    /// An error document of this type, which the platform wrote.
    Error(&'static str),
}

struct Case {
    fault: &'static str,
    caller: Meets,
    /// What bootstrap logs; empty if nothing.
    logged: &'static str,
    /// Whether bootstrap ends, and another sandbox takes the next event.
    ends: bool,
}

/// `next` is asked before the first call: a bootstrap that ends then does so in its init.
const CASES: [Case; 9] = [
    Case {
        fault: "next-closed",
        caller: Meets::Response(1),
        logged: "",
        ends: false,
    },
    Case {
        fault: "next403",
        caller: Meets::Response(1),
        logged: "bootstrap: fatal: cannot read next invocation from 127.0.0.1:",
        ends: true,
    },
    Case {
        fault: "next500",
        caller: Meets::Response(1),
        logged: "bootstrap: fatal: cannot read next invocation from 127.0.0.1:",
        ends: true,
    },
    Case {
        // It is given the event again, as one that was not answered.
        fault: "answer-unknown",
        caller: Meets::Response(2),
        logged: "bootstrap: error: answer not taken: the Runtime API answered 400: InvalidRequestID",
        ends: false,
    },
    Case {
        fault: "answer-twice",
        caller: Meets::Response(1),
        logged: "bootstrap: error: answer not taken: the Runtime API answered 403 (",
        ends: false,
    },
    Case {
        fault: "answer-late",
        caller: Meets::Error("Sandbox.Timedout"),
        logged: "bootstrap: error: answer not taken: the Runtime API answered 410 (",
        ends: false,
    },
    Case {
        fault: "answer-too-large",
        caller: Meets::Error("Function.ResponseSizeTooLarge"),
        logged: "bootstrap: error: answer not taken: the Runtime API answered 413 (",
        ends: false,
    },
    Case {
        fault: "answer-mode",
        caller: Meets::Error("Runtime.InvalidResponseModeHeader"),
        logged: "bootstrap: error: answer not taken: the Runtime API answered 400: InvalidFunctionResponseMode",
        ends: false,
    },
    Case {
        fault: "answer500",
        caller: Meets::Error("Runtime.ExitError"),
        logged: "bootstrap: fatal: cannot post response: the Runtime API answered 500",
        ends: true,
    },
];

/// Says how often it has run in its sandbox, where nothing is put back.
const COUNTS: &str = "handler() { count=$((${count-0} + 1)); printf '%s: %s' \"$count\" \"$1\"; }";

fn counting() -> EmulatorBuilder {
    Emulator::of(COUNTS).option("--env", "COSHELL_ISOLATION=none")
}

#[test]
fn every_fault_is_survived_and_played_once() {
    for case in CASES {
        println!("the case: {}", case.fault);
        let emulator = counting().option("--fault", case.fault).start();
        let event = "an event that is long enough to be cut in its middle";
        let reply = emulator.call(event);
        let met = match case.caller {
            Meets::Response(count) => {
                let response = emulator.expect_response(reply);
                assert_eq!(
                    String::from_utf8_lossy(&response),
                    format!("{count}: {event}")
                );
                count
            }
            Meets::Error(expected) => {
                emulator.expect_error(&reply);
                assert_eq!(error_type(&reply.body), expected);
                1
            }
        };
        // `next` fails before the event that is to be met.
        let is_new = case.ends && case.fault.starts_with("answer");
        let before = if is_new { 0 } else { met };
        for count in 1..=3 {
            let text = emulator.respond_text("after");
            assert_eq!(text, format!("{}: after", before + count));
        }
        emulator.wait_log_count("\nREPORT ", 4);
        let log = emulator.stop();
        let own = Process::bootstrap_lines(&log);
        let expected = usize::from(!case.logged.is_empty());
        assert_eq!(own.len(), expected, "{log}");
        assert!(
            own.iter().all(|line| line.starts_with(case.logged)),
            "{log}"
        );
        let ends = log
            .matches("Runtime exited with error: exit status 1")
            .count();
        assert_eq!(ends, usize::from(case.ends), "{log}");
    }
}

/// The status is told in the line.
#[test]
fn status_of_next_is_told() {
    for (fault, told) in [
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
        emulator.process.wait_log(told);
        emulator.process.wait_log("INIT_REPORT Init Duration: ");
        emulator
            .process
            .wait_log("\tPhase: init\tStatus: error\tError Type: Runtime.ExitError\t\n");
    }
}

#[test]
fn faults_that_are_asked_for_twice_are_played_twice_and_in_order() {
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

/// An error of the handler's meets the same as a response.
#[test]
fn errors_meet_the_faults_of_answers_too() {
    let emulator = Emulator::of("handler() { false; }").option("--fault", "answer-late");
    let emulator = emulator.start();
    assert_eq!(error_type(&emulator.call("{}").body), "Sandbox.Timedout");
    let next = emulator.request("POST", INVOCATIONS, &[], "{}");
    assert_eq!(error_type(&next.body), "Function.CommandFailed");
}

#[test]
fn cases_here_are_the_faults_that_the_help_lists() {
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
    let (status, said) = Emulator::of(COUNTS)
        .option("--fault", "none")
        .expect_start_failure();
    assert_eq!(status, 2, "{said}");
}
