//! `coshell invoke`: an event in, a response out; many times; for machines; at a server that runs; stopped.

use std::net::TcpListener;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::served::coshell;
use crate::support::{LIMIT, Process, Served, TaskRoot, own_address};

/// What it did: its status, its standard output and error.
struct Run {
    status: i32,
    stdout: String,
    stderr: String,
}

/// A task root with `function.sh`.
fn function(script: &str) -> TaskRoot {
    let task_root = TaskRoot::new();
    task_root.write("function.sh", script);
    task_root
}

fn start(task_root: &TaskRoot, words: &[&str]) -> Process {
    let mut command = coshell(task_root);
    command.arg("invoke").args(words);
    Process::start(command)
}

#[track_caller]
fn invoke(task_root: &TaskRoot, words: &[&str]) -> Run {
    let process = start(task_root, words);
    let status = process.wait_exit(LIMIT).code().expect("an exit status");
    let left = process.processes();
    process.final_log();
    assert!(left.is_empty(), "left behind: {left:?}");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run {
        status,
        stdout: text(process.stdout()),
        stderr: text(process.stderr()),
    }
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}{}", run.stdout, run.stderr))
}

const COUNTS: &str = "handler() { count=$((${count-0} + 1)); echo \"log $count\" >&2; [[ $1 != \"bad $count\" ]]; printf '%s: %s' \"$count\" \"$1\"; }";

#[test]
fn response_alone_is_on_standard_output() {
    let task_root = function(COUNTS);
    let run = invoke(&task_root, &["function.handler", "--event", "an event"]);
    assert_eq!((run.status, run.stdout.as_str()), (0, "1: an event"));
    assert_eq!(run.stderr, "log 1\n");
    let path = task_root.write("event.json", "from a file");
    let path = path.to_string_lossy();
    let run = invoke(&task_root, &["function.handler", "--event-file", &path]);
    assert_eq!(run.stdout, "1: from a file");
}

#[test]
fn failure_is_explained_and_its_status_is_1() {
    let task_root = function(COUNTS);
    let run = invoke(&task_root, &["function.handler", "--event", "bad 1"]);
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert_eq!(json(&run)["errorType"], "Function.CommandFailed");
    assert!(
        run.stderr.contains("\nFunction.CommandFailed: "),
        "{}",
        run.stderr
    );
    let run = invoke(&task_root, &["function.missing", "--event", ""]);
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert_eq!(json(&run)["errorType"], "Runtime.HandlerNotFound");
    let words = ["function.handler", "--event", "", "--timeout", "0.3"];
    let run = invoke(&function("handler() { sleep 600; }"), &words);
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert!(
        run.stderr.contains("Task timed out after 0.30 seconds"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_cannot_be_invoked_has_status_2() {
    let task_root = function(COUNTS);
    let bootstrap = task_root
        .write("bootstrap", "")
        .to_string_lossy()
        .into_owned();
    let handler = "function.handler";
    for (words, said) in [
        (&[][..], "required arguments were not provided"),
        (
            &[handler, "--event-file", "missing.json"],
            "cannot read event from missing.json: No such file",
        ),
        (
            &[handler, "--event", "", "--bootstrap", &bootstrap],
            "cannot start bootstrap ",
        ),
        (
            &[handler, "--event", "", "--task-root", "/no/such"],
            "cannot use task root /no/such: ",
        ),
        (&[handler, "--event", "", "--repeat", "0"], "--repeat"),
        (
            &[handler, "--event", "", "--endpoint", "http://localhost:1"],
            "cannot be used with",
        ),
        (
            &["--endpoint", "localhost:9000", "--event", ""],
            "cannot invoke at localhost:9000: expected a URL like http://localhost:9000",
        ),
        (
            &["--endpoint", "https://localhost:9000", "--event", ""],
            "expected a URL like http://localhost:9000",
        ),
    ] {
        let run = invoke(&task_root, words);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{words:?}");
        assert!(run.stderr.contains(said), "{said} is not in {}", run.stderr);
    }
}

#[test]
fn variables_are_given_to_the_function() {
    let task_root = function("handler() { printf '%s %s' \"$STAGE\" \"$TABLE\"; }");
    let file = task_root.write("variables", "STAGE=file\nTABLE=orders\n");
    let file = file.to_string_lossy();
    let words = [
        "function.handler",
        "--event",
        "",
        "--env-file",
        &file,
        "-e",
        "STAGE=test",
    ];
    assert_eq!(invoke(&task_root, &words).stdout, "test orders");
}

#[test]
fn repeating_is_in_one_sandbox_and_tells_how_long_it_took() {
    let task_root = function(COUNTS);
    let words = ["function.handler", "--event", "x", "--repeat", "20"];
    let run = invoke(&task_root, &words);
    assert_eq!(
        (run.status, run.stdout.as_str()),
        (0, "20: x"),
        "{}",
        run.stderr
    );
    let (_, summary) = run.stderr.split_once("log 20\n").expect("the whole log");
    let lines: Vec<_> = summary.lines().collect();
    assert_eq!(lines[0], "20 invocations, 0 failed");
    let names = lines[1..].iter().map(|line| line.split_whitespace().next());
    let names: Vec<_> = names.map(Option::unwrap_or_default).collect();
    assert_eq!(names, ["first", "min", "p50", "p90", "p99", "max"]);
    assert!(
        lines[1..].iter().all(|line| line.ends_with(" ms")),
        "{summary}"
    );
    // The first failure is what is shown.
    let words = ["function.handler", "--event", "bad 3", "--repeat", "5"];
    let run = invoke(&task_root, &words);
    assert_eq!(run.status, 1);
    let message = json(&run)["errorMessage"].to_string();
    assert!(message.contains("log 3"), "{message}");
    assert!(
        run.stderr.contains("5 invocations, 1 failed\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn object_for_machines_says_it_all() {
    let task_root = function(COUNTS);
    let words = ["function.handler", "--event", "x", "--json"];
    let run = invoke(&task_root, &words);
    let told = json(&run);
    assert_eq!((run.status, &told["response"]), (0, &"1: x".into()));
    assert_eq!(told["isBase64Encoded"], false);
    assert_eq!(told["requestId"].as_str().map(str::len), Some(36));
    for name in ["elapsedMs", "durationMs", "maxMemoryUsedMb"] {
        assert!(
            told[name].as_f64().is_some_and(|value| value > 0.0),
            "{told}"
        );
    }
    assert!(
        told["logTail"]
            .as_str()
            .is_some_and(|log| log.contains("log 1\n")),
        "{told}"
    );
    assert_eq!(told.get("repeat"), None);
    let words = [
        "function.handler",
        "--event",
        "bad 2",
        "--json",
        "--repeat",
        "3",
    ];
    let run = invoke(&task_root, &words);
    let told = json(&run);
    assert_eq!((run.status, told.get("response")), (1, None));
    assert_eq!(told["error"]["errorType"], "Function.CommandFailed");
    assert_eq!(told["repeat"]["count"], 3);
    assert_eq!(told["repeat"]["failures"], 1);
    assert!(told["repeat"]["latencyMs"]["p99"].is_number(), "{told}");
    let binary = function("handler() { printf '\\377\\0'; }");
    let told = json(&invoke(
        &binary,
        &["function.handler", "--event", "", "--json"],
    ));
    assert_eq!(
        (&told["response"], &told["isBase64Encoded"]),
        (&"/wA=".into(), &true.into())
    );
}

#[test]
fn server_that_runs_can_be_called() {
    let served = Served::of(COUNTS).start();
    let nowhere = TaskRoot::new();
    let endpoint = format!("http://{}", served.address);
    let run = invoke(&nowhere, &["--endpoint", &endpoint, "--event", "x"]);
    assert_eq!(
        (run.status, run.stdout.as_str(), run.stderr.as_str()),
        (0, "1: x", "")
    );
    let slash = format!("{endpoint}/");
    let words = [
        "--endpoint",
        &slash,
        "--event",
        "x",
        "--json",
        "--repeat",
        "3",
    ];
    let told = json(&invoke(&nowhere, &words));
    assert_eq!(
        (&told["response"], &told["repeat"]["count"]),
        (&"4: x".into(), &3.into())
    );
    let log = told["logTail"].as_str().unwrap_or_default();
    assert!(
        log.starts_with("START RequestId: ") && log.contains("\nlog 4\n"),
        "{log}"
    );
    let id = told["requestId"].as_str().unwrap_or_default();
    assert!(log.contains(id), "{log}");
    let run = invoke(&nowhere, &["--endpoint", &endpoint, "--event", "bad 5"]);
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert_eq!(json(&run)["errorType"], "Function.CommandFailed");
    let event = "x".repeat(3 << 20);
    let path = nowhere.write("large", &event);
    let path = path.to_string_lossy();
    let run = invoke(&nowhere, &["--endpoint", &endpoint, "--event-file", &path]);
    assert!(run.stdout == format!("6: {event}"));
}

#[test]
fn server_that_does_not_answer_is_told() {
    let nowhere = TaskRoot::new();
    let address = format!("{}:9", own_address());
    let endpoint = format!("http://{address}");
    let run = invoke(&nowhere, &["--endpoint", &endpoint, "--event", ""]);
    assert_eq!((run.status, run.stdout.as_str()), (2, ""));
    let said = format!("coshell: cannot invoke at {endpoint}: ");
    assert!(run.stderr.starts_with(&said), "{}", run.stderr);
    assert!(run.stderr.contains("onnection refused"), "{}", run.stderr);
    // One that is another kind of server.
    let listener = TcpListener::bind((own_address(), 0)).expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let server = thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().expect("a caller");
        let _ = stream.read(&mut [0; 4096]);
        let reply =
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\nConnection: close\r\n\r\nnot here";
        stream.write_all(reply).expect("written");
    });
    let run = invoke(&nowhere, &["--endpoint", &endpoint, "--event", ""]);
    server.join().expect("the server");
    let said =
        format!("coshell: cannot invoke at {endpoint}: it answered 404 Not Found: not here\n");
    assert_eq!((run.status, run.stderr), (2, said));
}

#[test]
fn signal_ends_it_in_order() {
    let script = "handler() { echo begun >&2; setsid sleep 601 & sleep 600; }";
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let task_root = function(script);
        let process = start(&task_root, &["function.handler", "--event", ""]);
        process.wait_log("begun\n");
        process.signal(signal);
        assert_eq!(process.wait_failure(LIMIT), status, "{}", process.log());
        assert_eq!(process.stdout(), b"");
    }
}
