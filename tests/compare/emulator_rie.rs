//! AWS's own Runtime Interface Emulator in front of bootstrap: the tutorial's way, word for word.
//!
//! The emulator chunks events above 2 KiB, starts the runtime at the first invocation, and answers an error with its document and
//! status 200.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use coshell_compare::results::{Metric, Results};
use nix::sys::signal::Signal;

use support::coshell_path;
use support::http::PendingRequest;
use support::{
    CommandOutput, HttpReply, LIMIT, Process, TaskRoot, bootstrap_path, excerpt, post, repository,
    repository_file, set_lambda_environment, unique_address, wait_until,
};

const INVOCATIONS: &str = "/2015-03-31/functions/function/invocations";
/// An invocation can include a start.
const ANSWER_LIMIT: Duration = LIMIT;

struct Emulator {
    process: Process,
    address: String,
    task_root: TaskRoot,
}

impl Emulator {
    fn start(function: impl AsRef<[u8]>, handler: &str) -> Self {
        let task_root = TaskRoot::new();
        task_root.write("function.sh", function);
        Self::start_in(task_root, handler, &[])
    }

    fn start_in(task_root: TaskRoot, handler: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_with(task_root, handler, environment, &[])
    }

    /// An emulator that knows `restore/next`. It never restores: it answers with the first event.
    fn start_for_restore(function: &str) -> Self {
        let task_root = TaskRoot::new();
        task_root.write("function.sh", function);
        let environment = [("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")];
        let options = ["--enable-init-caching"];
        Self::start_with(task_root, "function.handler", &environment, &options)
    }

    fn start_with(
        task_root: TaskRoot,
        handler: &str,
        environment: &[(&str, &str)],
        options: &[&str],
    ) -> Self {
        let mut command = Command::new(emulator_path());
        set_lambda_environment(&mut command, task_root.path());
        command.envs(environment.iter().copied());
        let bootstrap = bootstrap_path();
        let words = [options, &[&bootstrap, handler]].concat();
        Self::run(task_root, command, &words)
    }

    /// An emulator in its mode of Managed Instances. It takes the bootstrap from `/var/runtime` and the code from `/var/task`, and
    /// so gets a `/var` of its own.
    fn start_managed(function: &str, count: usize) -> Self {
        const LAY_OUT: &str = r#"
mount -t tmpfs none /var && mkdir /var/task /var/runtime && mount --bind "$1" /var/task &&
  cp "$2" /var/runtime/bootstrap && shift 2 && exec "$@"
"#;
        let task_root = TaskRoot::new();
        task_root.write("function.sh", function);
        let mut command = Command::new("unshare");
        set_lambda_environment(&mut command, task_root.path());
        command.env("AWS_LAMBDA_MAX_CONCURRENCY", count.to_string());
        if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() != 0) {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "sh", "-c", LAY_OUT, "sh"]);
        command.arg(task_root.path()).arg(bootstrap_path());
        command.arg(emulator_path());
        let handler = ["/var/runtime/bootstrap", "function.handler"];
        Self::run(task_root, command, &handler)
    }

    fn run(task_root: TaskRoot, mut command: Command, words: &[&str]) -> Self {
        let (address, runtime_api) = (
            format!("{}:8080", unique_address()),
            format!("{}:9001", unique_address()),
        );
        command.args(["--runtime-api-address", &runtime_api]);
        command.args(["--runtime-interface-emulator-address", &address]);
        command.args(words);
        let process = Process::start(command);
        wait_until(|| TcpStream::connect(&address).is_ok(), LIMIT);
        Self {
            process,
            address,
            task_root,
        }
    }

    #[track_caller]
    fn invoke(&self, event: impl AsRef<[u8]>) -> HttpReply {
        let reply = post(
            &self.address,
            INVOCATIONS,
            &[],
            event.as_ref(),
            ANSWER_LIMIT,
        );
        reply.unwrap_or_else(|error| panic!("no answer: {error}; the log:\n{}", self.process.log()))
    }

    /// In its mode of Managed Instances the emulator refuses an event for which no lane waits.
    #[track_caller]
    fn text_when_idle(&self, event: &str) -> String {
        let mut text = String::new();
        let mut is_taken = || {
            let reply = self.invoke(event);
            text = String::from_utf8(reply.body).expect("text");
            reply.status != 400 || !text.contains("Runtime.Unavailable")
        };
        wait_until(&mut is_taken, LIMIT);
        text
    }

    #[track_caller]
    fn respond(&self, event: impl AsRef<[u8]>) -> Vec<u8> {
        let reply = self.invoke(event);
        assert_eq!(
            reply.status,
            200,
            "{}\n{}",
            excerpt(&reply.body),
            self.process.log()
        );
        reply.body
    }

    #[track_caller]
    fn fail(&self, event: impl AsRef<[u8]>) -> serde_json::Value {
        let reply = self.invoke(event);
        let document = serde_json::from_slice(&reply.body);
        document.unwrap_or_else(|error| {
            panic!(
                "no error document: {error}: {}\n{}",
                excerpt(&reply.body),
                self.process.log()
            )
        })
    }
}

/// The runtime was started once and never again.
#[track_caller]
fn assert_one_init(emulator: &Emulator) {
    let log = emulator.process.log();
    let count = log.matches("INIT START").count();
    assert_eq!(count, 1, "bootstrap was started {count} times:\n{log}");
}

fn emulator_path() -> PathBuf {
    let named = std::env::var_os("COSHELL_TEST_RIE").map(PathBuf::from);
    let path = named.unwrap_or_else(|| repository().join("target/test-tools/aws-lambda-rie"));
    assert!(
        path.exists(),
        "{} is not there: run make test-tools",
        path.display()
    );
    path
}

fn tutorial_function() -> Vec<u8> {
    std::fs::read(repository_file("bench/baseline/tutorial/function.sh"))
        .expect("cannot read the tutorial's function.sh")
}

#[test]
fn the_tutorials_function_gives_the_tutorials_answer() {
    let emulator = Emulator::start(tutorial_function(), "function.sh.handler");
    for _ in 0..3 {
        let response = emulator.respond("Hello from Container Lambda!");
        assert_eq!(
            String::from_utf8_lossy(&response),
            "Echoing request: 'Hello from Container Lambda!'"
        );
    }
    for text in [
        "Hello from Container Lambda!\n",
        "START RequestId: ",
        "\nEND RequestId: ",
        "\nREPORT RequestId: ",
    ] {
        let count = || emulator.process.log().matches(text).count();
        wait_until(|| count() >= 3, LIMIT);
        assert_eq!(count(), 3, "{text:?}: {}", emulator.process.log());
    }
    let log = emulator.process.log();
    assert!(
        !log.contains("Echoing"),
        "the response is in the log:\n{log}"
    );
}

#[test]
fn the_shorter_handler_name_means_the_same() {
    let emulator = Emulator::start(tutorial_function(), "function.handler");
    assert_eq!(emulator.respond("a  b"), b"Echoing request: 'a b'");
}

#[test]
fn events_that_the_emulator_chunks_are_exact() {
    let emulator = Emulator::start("handler() { printf '%s' \"$1\"; }", "function.handler");
    for len_bytes in [0, 1, 1800, 2100, 102_400, 1 << 20, 6 << 20] {
        let text = "{\"key\": \"value with  spaces, \\\\, %s, * and $(id)\",\r\n\t\"\u{e9}\u{1f389}\": 1}, ";
        let event: Vec<u8> = text.bytes().cycle().take(len_bytes).collect();
        assert_eq!(excerpt(&emulator.respond(&event)), excerpt(&event));
        assert!(
            emulator.respond(&event) == event,
            "{len_bytes} bytes are not exact"
        );
    }
}

#[test]
fn a_failing_handler_is_an_error_document_and_the_next_invocation_is_served() {
    let script = r#"
handler() {
  case $1 in
    return) return 3 ;;
    exit) exit 4 ;;
    unset) echo "${no_such_variable}" ;;
    kill) kill -9 "$$" ;;
  esac
  printf '%s' "$1"
}"#;
    let emulator = Emulator::start(script, "function.handler");
    let expected = [
        ("return", "Function.HandlerFailed"),
        ("exit", "Function.HandlerExited"),
        ("unset", "Function.ShellExited"),
        ("kill", "Function.ShellKilled"),
    ];
    for (event, error_type) in expected {
        let document = emulator.fail(event);
        assert_eq!(document["errorType"], error_type, "{event}: {document}");
        assert!(
            document["errorMessage"].is_string() && document["stackTrace"].is_array(),
            "{document}"
        );
        assert_eq!(emulator.respond("healthy"), b"healthy", "after {event}");
    }
    assert_one_init(&emulator);
}

/// The emulator accepts streams, and answers its caller at the end.
#[test]
fn a_streamed_response_is_taken() {
    let task_root = TaskRoot::new();
    let script = "handler() { printf '%s\\n' \"$1\"; head -c 1000000 /dev/zero; }";
    task_root.write("function.sh", script);
    let streaming = [("COSHELL_RESPONSE_MODE", "streaming")];
    let emulator = Emulator::start_in(task_root, "function.handler", &streaming);
    for event in ["first", "second"] {
        let response = emulator.respond(event);
        let wanted = [event.as_bytes(), b"\n", &vec![0; 1_000_000]].concat();
        assert!(response == wanted, "{}", excerpt(&response));
    }
}

#[test]
fn a_response_that_is_too_large_is_an_error_document() {
    let script = "handler() { head -c \"$1\" /dev/zero | tr '\\0' x; }";
    let emulator = Emulator::start(script, "function.handler");
    assert_eq!(
        emulator.fail("6291557")["errorType"],
        "Function.ResponseSizeTooLarge"
    );
    assert_eq!(emulator.respond("3"), b"xxx");
}

#[test]
fn an_init_error_reaches_the_caller() {
    let emulator = Emulator::start("handler() { :; }", "function.missing");
    let document = emulator.fail("event");
    assert_eq!(
        document["errorType"], "Runtime.HandlerNotFound",
        "{document}"
    );
    let text = document["errorMessage"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(text.contains("missing"), "{document}");
    // The next invocation fails in the same way.
    assert_eq!(
        emulator.fail("event")["errorType"],
        "Runtime.HandlerNotFound"
    );
    assert!(emulator.task_root.exists("function.sh"));
}

#[test]
fn a_whole_script_is_run_for_each_event() {
    let task_root = TaskRoot::new();
    let script = "#!/bin/bash -eu\ncount=$((${count-0} + 1))\nexport count\n[[ $1 != fail* ]] || grep -q needle /dev/null\nprintf '%s: ' \"$count\"\ncat\n";
    task_root.write("nightly.sh", script);
    let emulator = Emulator::start_in(task_root, "nightly.sh", &[("COSHELL_EVENT", "both")]);
    for _ in 0..2 {
        assert_eq!(emulator.respond("an event"), b"1: an event");
        let document = emulator.fail("fail");
        assert_eq!(
            document["errorType"], "Function.HandlerExited",
            "{document}"
        );
    }
    let event = "x".repeat(6 << 20);
    assert_eq!(emulator.respond(&event).len(), "1: ".len() + event.len());
    assert_one_init(&emulator);
}

#[test]
fn an_executable_is_run_for_each_event() {
    let task_root = TaskRoot::new();
    let program = "#!/usr/bin/env python3\nimport sys\nevent = sys.stdin.buffer.read()\nif event == b'fail': sys.exit(3)\nsys.stdout.buffer.write(b'the program got ' + event)\n";
    task_root.write_program("bin/report.py", program);
    let emulator = Emulator::start_in(task_root, "bin/report.py", &[]);
    for _ in 0..2 {
        assert_eq!(emulator.respond("an event"), b"the program got an event");
        let document = emulator.fail("fail");
        assert_eq!(
            document["errorType"], "Function.HandlerExited",
            "{document}"
        );
    }
    let event = "x".repeat(3 << 20);
    assert_eq!(
        emulator.respond(&event).len(),
        "the program got ".len() + event.len()
    );
    assert_one_init(&emulator);
}

#[test]
fn handlers_in_subshells_give_the_same_answers_and_keep_nothing() {
    let task_root = TaskRoot::new();
    let script = r#"
handler() {
  count=$((${count-0} + 1))
  case $1 in
    exit) exit 4 ;;
    false) false ;;
    kill) kill -9 "$BASHPID" ;;
  esac
  printf '%s: ' "$count"
  cat
}
"#;
    task_root.write("function.sh", script);
    let environment = [("COSHELL_ISOLATION", "subshell")];
    let emulator = Emulator::start_in(task_root, "function.handler", &environment);
    for (event, error_type) in [
        ("exit", "Function.HandlerExited"),
        ("false", "Function.CommandFailed"),
        ("kill", "Function."),
    ] {
        assert_eq!(emulator.respond("an event"), b"1: an event");
        let document = emulator.fail(event);
        let text = document["errorType"].as_str().unwrap_or_default();
        assert!(text.starts_with(error_type), "{event}: {document}");
    }
    let event = "x".repeat(6 << 20);
    assert_eq!(emulator.respond(&event).len(), "1: ".len() + event.len());
    assert_one_init(&emulator);
}

/// Without the margin the emulator would kill bootstrap, and answer with a text of its own.
#[test]
fn a_handler_that_is_stopped_before_its_deadline_is_answered_for_and_the_next_event_is_served() {
    let lines = "[[ $1 != hang ]] || sleep 600\nprintf 'healthy %s' \"$1\"\n";
    let python = "#!/usr/bin/env python3\nimport os, sys\nos.execvp('bash', ['bash', '-c', r'''LINES''', 'bash', sys.stdin.read()])\n";
    for (handler, isolation) in [
        ("function.handler", "none"),
        ("function.handler", "subshell"),
        ("function.handler", "process"),
        ("legacy.sh", ""),
        ("tool", ""),
    ] {
        println!("the case: {handler} {isolation}");
        let task_root = TaskRoot::new();
        task_root.write("function.sh", format!("handler() {{\n{lines}\n}}\n"));
        task_root.write("legacy.sh", lines);
        task_root.write_program("tool", python.replace("LINES", lines));
        let environment = [
            ("COSHELL_ISOLATION", isolation),
            ("COSHELL_DEADLINE_MARGIN_MS", "1500"),
            ("COSHELL_EVENT", "both"),
            // On a busy machine, the tool takes most of a second to start Python and bash.
            ("AWS_LAMBDA_FUNCTION_TIMEOUT", "4"),
        ];
        let emulator = Emulator::start_in(task_root, handler, &environment);
        // The first event pays for the start.
        assert_eq!(emulator.respond("first"), b"healthy first");
        let document = emulator.fail("hang");
        assert_eq!(document["errorType"], "Function.Timeout", "{document}");
        let message = document["errorMessage"].as_str().unwrap_or_default();
        assert!(
            message.contains("was stopped 1500 ms before its deadline"),
            "{document}"
        );
        assert_eq!(emulator.respond("x"), b"healthy x");
        assert_one_init(&emulator);
        let processes = emulator.process.processes();
        let sleeps = processes
            .values()
            .filter(|command| command.starts_with("sleep"));
        assert_eq!(sleeps.count(), 0, "{processes:?}");
    }
}

/// When the emulator is stopped, it stops the runtime as Lambda does.
#[test]
fn lambda_shutdown_is_registered_and_runs_when_the_emulator_ends() {
    // The emulator soon kills a runtime that has not ended, and a busy machine can be slower than that.
    assert!((0..5).any(|_| lambda_shutdown_runs_in_time()));
}

/// Whether it ran before the emulator killed it. Everything else is asserted in any case.
fn lambda_shutdown_runs_in_time() -> bool {
    let task_root = TaskRoot::new();
    let script = r#"
trap 'echo "the trap" >&2; echo trap >>"$LAMBDA_TASK_ROOT/ended"' EXIT
lambda_shutdown() { echo "at the end"; echo "shutdown after $count" >>"$LAMBDA_TASK_ROOT/ended"; }
handler() { count=$((${count-0} + 1)); (setsid sleep 600 &) >&2; printf 'healthy %s' "$1"; }
"#;
    task_root.write("function.sh", script);
    // The counts of the handlers are there at the end.
    let environment = [("COSHELL_ISOLATION", "none")];
    let emulator = Emulator::start_in(task_root, "function.handler", &environment);
    // The init ends, although no event ever comes for the extension.
    for _ in 0..2 {
        assert_eq!(emulator.respond("x"), b"healthy x");
    }
    let log = emulator.process.log();
    assert_eq!(
        log.matches(" registered, subscribed to []").count(),
        1,
        "{log}"
    );
    assert_one_init(&emulator);
    emulator.process.signal(Signal::SIGTERM);
    emulator.process.wait_exit(LIMIT);
    let left = emulator.process.processes();
    let log = emulator.process.final_log();
    let ended = emulator.task_root.read("ended");
    println!("{ended:?}, left: {left:?}\n{log}");
    ended == "shutdown after 2\ntrap\n"
        && left.is_empty()
        && log.contains("at the end\n")
        && log.contains("the trap\n")
        && !log.contains("bootstrap: warn: lambda_shutdown")
}

#[test]
fn its_log_is_read_by_compare() {
    let emulator = Emulator::start("handler() { printf '%s' \"$1\"; }\n", "function.handler");
    for event in ["one", "two", "three"] {
        assert_eq!(emulator.respond(event), event.as_bytes());
    }
    let reports = || emulator.process.log().matches("\nREPORT ").count();
    wait_until(|| reports() == 3, LIMIT);
    let log = emulator
        .task_root
        .write("emulator.log", emulator.process.log());
    let mut command = Command::new(coshell_path());
    command.current_dir(emulator.task_root.path());
    command
        .args(["compare", "-o", "report", "--from-logs"])
        .arg(log);
    let output = CommandOutput::of(command);
    assert_eq!(output.status, 0, "{output:?}");
    let json = emulator.task_root.read("report/results.json");
    let results: Results = serde_json::from_str(&json).expect("results");
    let count = |metric| {
        results
            .series("emulator", metric, None)
            .map(|it| it.summary.count)
    };
    assert_eq!(count(Metric::InitDuration), Some(1), "{results:?}");
    assert_eq!(count(Metric::Duration), Some(2));
}

#[test]
fn waiting_for_the_restore_is_the_end_of_the_init() {
    let emulator = Emulator::start_for_restore(
        "lambda_before_snapshot() { echo 'the hook before'; }\n\
         lambda_after_restore() { echo 'the hook after'; }\n\
         handler() { :; }\n",
    );
    let _caller = PendingRequest::send(&emulator.address, "POST", INVOCATIONS, &[], b"{}");
    emulator.process.wait_log("the hook after\n");
    let log = emulator.process.final_log();
    // The emulator copies the log of a runtime at its own pace: the place of a line means nothing.
    let found = ["INIT RTDONE(status: success)", "INVOKE START"].map(|text| log.find(text));
    assert!(found.is_sorted() && found[0].is_some(), "{log}");
    assert!(log.contains("the hook before\n"), "{log}");
    assert_eq!(Process::bootstrap_lines(&log), [""; 0]);
}

#[test]
fn errors_of_both_hooks_are_taken() {
    for hook in ["lambda_before_snapshot", "lambda_after_restore"] {
        let function = format!("{hook}() {{ return 3; }}\nhandler() {{ :; }}\n");
        let emulator = Emulator::start_for_restore(&function);
        let _caller = PendingRequest::send(&emulator.address, "POST", INVOCATIONS, &[], b"{}");
        let fatal = format!("bootstrap: fatal: {hook} returned status 3");
        emulator.process.wait_log(&format!("{fatal}\n"));
        let log = emulator.process.final_log();
        assert!(!log.contains("not taken"), "{log}");
        assert_eq!(Process::bootstrap_lines(&log)[0], fatal);
    }
}

/// AWS's emulator in its mode of Managed Instances: eight events at once, and every answer is that of
/// its own event, also while shells die.
#[test]
fn managed_instance_serves_eight_callers_and_crosses_no_answers() {
    let script = r#"
handler() {
  sleep "0.0$((RANDOM % 5))"
  [[ $1 != *kill* ]] || kill -9 $$
  printf '%s in %s' "$1" "$COSHELL_LANE"
  echo "log of $1" >&2
}"#;
    let emulator = Emulator::start_managed(script, 8);
    let lanes = std::sync::Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let (emulator, lanes) = (&emulator, &lanes);
            scope.spawn(move || {
                for number in 0..20 {
                    let is_killed = number % 7 == caller % 7;
                    let kind = if is_killed { "kill" } else { "event" };
                    let event = format!("{kind} {caller} {number}");
                    let text = emulator.text_when_idle(&event);
                    if is_killed {
                        assert!(text.contains("Function.ShellKilled"), "{text}");
                        continue;
                    }
                    let lane = text.strip_prefix(&format!("{event} in "));
                    let lane = lane.unwrap_or_else(|| panic!("for {event}: {text}"));
                    lanes.lock().expect("lanes").insert(lane.to_owned());
                }
            });
        }
    });
    assert_eq!(lanes.into_inner().expect("lanes").len(), 8);
    let log = emulator.process.log();
    let started = log.matches("LocalProcessSupervisor.Exec").count();
    assert_eq!(started, 1, "{log}");
    for line in log.lines().filter(|line| line.contains("log of event")) {
        let record: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(record["requestId"].is_string(), "{line}");
    }
}
