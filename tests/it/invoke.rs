//! `coshell invoke`: one event or many, text and JSON output, a running server as the target, and signals.

use std::net::TcpListener;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;

use support::emulator::coshell;
use support::{CommandOutput, Emulator, LIMIT, Process, TaskRoot, unique_address};

/// A task root with `function.sh`.
fn function(script: &str) -> TaskRoot {
    let task_root = TaskRoot::new();
    task_root.write("function.sh", script);
    task_root
}

fn start(task_root: &TaskRoot, args: &[&str]) -> Process {
    let mut command = coshell(task_root);
    command.arg("invoke").args(args);
    Process::start(command)
}

/// Runs `coshell invoke` to its end. Asserts that it left no process behind.
#[track_caller]
fn invoke(task_root: &TaskRoot, args: &[&str]) -> CommandOutput {
    let process = start(task_root, args);
    let status = process.wait_exit(LIMIT).code().expect("an exit status");
    let left = process.processes();
    process.final_log();
    assert!(left.is_empty(), "left behind: {left:?}");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    CommandOutput {
        status,
        stdout: text(process.stdout()),
        stderr: text(process.stderr()),
    }
}

fn json(run: &CommandOutput) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}{}", run.stdout, run.stderr))
}

const COUNTS: &str = "handler() { count=$((${count-0} + 1)); echo \"log $count\" >&2; [[ $1 != \"bad $count\" ]]; printf '%s: %s' \"$count\" \"$1\"; }";

#[test]
fn standard_output_has_only_the_response() {
    let task_root = function(COUNTS);
    let run = invoke(&task_root, &["function.handler", "--event", "an event"]);
    assert_eq!((run.status, run.stdout.as_str()), (0, "1: an event"));
    assert_eq!(run.stderr, "log 1\n");
    let path = task_root.write("event.json", "from a file");
    let path = path.to_string_lossy();
    let run = invoke(&task_root, &["function.handler", "--event-file", &path]);
    assert_eq!(run.stdout, "1: from a file");
}

/// `script` of util-linux provides a terminal.
#[test]
fn a_failure_in_a_terminal_is_one_message_without_json() {
    let task_root = function("handler() { return 3; }");
    for (handler, part) in [
        (
            "function.handler",
            "Function.HandlerFailed: handler returned status 3",
        ),
        (
            "function.hander",
            "defines no function hander; it defines handler; did you mean function.handler?",
        ),
        (
            "functoin.handler",
            "functoin.sh: No such file or directory (os error 2); did you mean function.handler?",
        ),
    ] {
        let line = format!("{} invoke {handler} --event x", support::coshell_path());
        let mut command = coshell(&task_root);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command = {
            let mut script = std::process::Command::new("script");
            script
                .args(["-qec", &line, "/dev/null"])
                .current_dir(task_root.path());
            script
                .env_clear()
                .env("PATH", path)
                .env("LAMBDA_TASK_ROOT", task_root.path());
            drop(command);
            script
        };
        let process = Process::start(command);
        let status = process.wait_exit(LIMIT).code();
        process.final_log();
        let shown = String::from_utf8_lossy(&process.stdout()).into_owned();
        assert_eq!(status, Some(1), "{shown}");
        assert_eq!(shown.matches(part).count(), 1, "{part} in {shown}");
        assert!(!shown.contains("errorMessage"), "{shown}");
    }
}

#[test]
fn a_failure_is_explained_and_ends_with_status_1() {
    let task_root = function(COUNTS);
    let run = invoke(&task_root, &["function.handler", "--event", "bad 1"]);
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert_eq!(json(&run)["errorType"], "Function.CommandFailed");
    let count = run.stderr.matches("ended with status 1").count();
    assert_eq!(count, 1, "{}", run.stderr);
    assert!(
        run.stderr.contains("error: Function.CommandFailed: ")
            && run.stderr.ends_with(
                "\n    handler (function.sh:1)\n"
                    .replace(
                        "function.sh",
                        &task_root.path().join("function.sh").to_string_lossy()
                    )
                    .as_str()
            ),
        "{}",
        run.stderr
    );
    let run = invoke(&task_root, &["function.missing", "--event", ""]);
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert_eq!(json(&run)["errorType"], "Runtime.HandlerNotFound");
    let args = ["function.handler", "--event", "", "--timeout", "0.3"];
    let run = invoke(&function("handler() { sleep 600; }"), &args);
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert!(
        run.stderr.contains("Task timed out after 0.30 seconds"),
        "{}",
        run.stderr
    );
}

#[test]
fn an_invocation_that_cannot_start_ends_with_status_2() {
    let task_root = function(COUNTS);
    let bootstrap = task_root
        .write("bootstrap", "")
        .to_string_lossy()
        .into_owned();
    let handler = "function.handler";
    for (args, message) in [
        (&[][..], "neither an argument nor _HANDLER names a handler"),
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
            "cannot invoke the function at localhost:9000: expected a URL like http://localhost:9000",
        ),
        (
            &["--endpoint", "https://localhost:9000", "--event", ""],
            "expected a URL like http://localhost:9000",
        ),
    ] {
        let run = invoke(&task_root, args);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{args:?}");
        assert!(
            run.stderr.contains(message),
            "{message} is not in {}",
            run.stderr
        );
    }
}

#[test]
fn the_variable_handler_can_name_the_handler() {
    let task_root = function("handler() { echo \"got $1\"; }");
    let run = |handler: &str| {
        let mut command = coshell(&task_root);
        command.args(["invoke", "--event", "x"]);
        command.env("_HANDLER", handler);
        command.output().expect("cannot run coshell")
    };
    assert_eq!(run("function.handler").stdout, b"got x");
    let unnamed = run("");
    assert_eq!(unnamed.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&unnamed.stderr);
    let expected = "neither an argument nor _HANDLER names a handler";
    assert!(stderr.contains(expected), "{stderr}");
}

/// `script` of util-linux provides a terminal for coshell, which the handler must not get.
#[test]
fn the_handler_has_no_terminal() {
    let task_root = function(
        "handler() { if (: </dev/tty) 2>/dev/null; then echo 'a terminal'; else echo 'no terminal'; fi; }",
    );
    let mut inner = coshell(&task_root);
    inner.args(["invoke", "function.handler", "--event", "x"]);
    let args = std::iter::once(inner.get_program()).chain(inner.get_args());
    let args: Vec<_> = args.map(|arg| format!("'{}'", arg.display())).collect();
    let script = std::process::Command::new("script")
        .args(["-qec", &args.join(" "), "/dev/null"])
        .env("LAMBDA_TASK_ROOT", task_root.path())
        .env("SHELL", "/bin/sh")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("cannot run script");
    let stdout = String::from_utf8_lossy(&script.stdout);
    assert!(stdout.contains("no terminal"), "{stdout}");
}

#[test]
fn options_set_variables_of_the_function() {
    let task_root = function("handler() { printf '%s %s' \"$STAGE\" \"$TABLE\"; }");
    let file = task_root.write("variables", "STAGE=file\nTABLE=orders\n");
    let file = file.to_string_lossy();
    let args = [
        "function.handler",
        "--event",
        "",
        "--env-file",
        &file,
        "-e",
        "STAGE=test",
    ];
    assert_eq!(invoke(&task_root, &args).stdout, "test orders");
}

#[test]
fn repeated_invocations_share_a_sandbox_and_end_with_a_summary_of_durations() {
    let task_root = function(COUNTS);
    let counting = ["--env", "COSHELL_ISOLATION=none"];
    let args = ["function.handler", "--event", "x", "--repeat", "20"];
    let run = invoke(&task_root, &[&args[..], &counting].concat());
    assert_eq!(
        (run.status, run.stdout.as_str()),
        (0, "20: x"),
        "{}",
        run.stderr
    );
    let (_, summary) = run.stderr.split_once("log 20\n").expect("the complete log");
    let lines: Vec<_> = summary.lines().collect();
    assert_eq!(lines[0], "20 invocations, 0 failed");
    let names = lines[1..].iter().map(|line| line.split_whitespace().next());
    let names: Vec<_> = names.map(Option::unwrap_or_default).collect();
    assert_eq!(names, ["first", "min", "p50", "p90", "p99", "max"]);
    assert!(
        lines[1..].iter().all(|line| line.ends_with(" ms")),
        "{summary}"
    );
    // The first failure is shown.
    let args = ["function.handler", "--event", "bad 3", "--repeat", "5"];
    let run = invoke(&task_root, &[&args[..], &counting].concat());
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
fn the_json_output_has_response_durations_memory_and_log() {
    let task_root = function(COUNTS);
    let args = ["function.handler", "--event", "x", "--json"];
    let run = invoke(&task_root, &args);
    let report = json(&run);
    assert_eq!((run.status, &report["response"]), (0, &"1: x".into()));
    assert_eq!(report["isBase64Encoded"], false);
    assert_eq!(report["requestId"].as_str().map(str::len), Some(36));
    for name in ["elapsedMs", "durationMs", "maxMemoryUsedMb"] {
        assert!(
            report[name].as_f64().is_some_and(|value| value > 0.0),
            "{report}"
        );
    }
    assert!(
        report["logTail"]
            .as_str()
            .is_some_and(|log| log.contains("log 1\n")),
        "{report}"
    );
    assert_eq!(report.get("repeat"), None);
    let args = [
        "function.handler",
        "--event",
        "bad 2",
        "--json",
        "--repeat",
        "3",
        "--env",
        "COSHELL_ISOLATION=none",
    ];
    let run = invoke(&task_root, &args);
    let report = json(&run);
    assert_eq!((run.status, report.get("response")), (1, None));
    assert_eq!(report["error"]["errorType"], "Function.CommandFailed");
    assert_eq!(report["repeat"]["count"], 3);
    assert_eq!(report["repeat"]["failures"], 1);
    assert!(report["repeat"]["latencyMs"]["p99"].is_number(), "{report}");
    let binary = function("handler() { printf '\\377\\0'; }");
    let report = json(&invoke(
        &binary,
        &["function.handler", "--event", "", "--json"],
    ));
    assert_eq!(
        (&report["response"], &report["isBase64Encoded"]),
        (&"/wA=".into(), &true.into())
    );
}

#[test]
fn a_running_server_can_be_invoked() {
    let emulator = Emulator::of(COUNTS)
        .option("--env", "COSHELL_ISOLATION=none")
        .start();
    let nowhere = TaskRoot::new();
    let endpoint = format!("http://{}", emulator.address);
    let run = invoke(&nowhere, &["--endpoint", &endpoint, "--event", "x"]);
    assert_eq!(
        (run.status, run.stdout.as_str(), run.stderr.as_str()),
        (0, "1: x", "")
    );
    let slash = format!("{endpoint}/");
    let args = [
        "--endpoint",
        &slash,
        "--event",
        "x",
        "--json",
        "--repeat",
        "3",
    ];
    let report = json(&invoke(&nowhere, &args));
    assert_eq!(
        (&report["response"], &report["repeat"]["count"]),
        (&"4: x".into(), &3.into())
    );
    let log = report["logTail"].as_str().unwrap_or_default();
    assert!(
        log.starts_with("START RequestId: ") && log.contains("\nlog 4\n"),
        "{log}"
    );
    let id = report["requestId"].as_str().unwrap_or_default();
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
fn a_server_that_does_not_answer_is_an_error() {
    let nowhere = TaskRoot::new();
    let address = format!("{}:9", unique_address());
    let endpoint = format!("http://{address}");
    let run = invoke(&nowhere, &["--endpoint", &endpoint, "--event", ""]);
    assert_eq!((run.status, run.stdout.as_str()), (2, ""));
    let message = format!("coshell: cannot invoke the function at {endpoint}: ");
    assert!(run.stderr.starts_with(&message), "{}", run.stderr);
    assert!(run.stderr.contains("onnection refused"), "{}", run.stderr);
    // A server of another kind.
    let listener = TcpListener::bind((unique_address(), 0)).expect("a port");
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
    let message = format!(
        "coshell: cannot invoke the function at {endpoint}: the server answered 404 Not Found: not here\n"
    );
    assert_eq!((run.status, run.stderr), (2, message));
}

#[test]
fn a_signal_ends_the_invocation_and_all_its_processes() {
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

#[test]
fn the_fields_of_the_json_output_are_those_in_the_documentation() {
    let page = std::fs::read_to_string(support::repository_file("docs/invoke.md"));
    let page = page.expect("the page");
    let table = page
        .split("The object of `--json` has these fields:")
        .nth(1);
    let table = table.expect("a table").split("\n\n").nth(1).expect("rows");
    let mut defined: Vec<_> = table
        .lines()
        .skip(2)
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|names| names.split(", ").map(|name| name.trim().trim_matches('`')))
        .collect();
    let task_root = function(COUNTS);
    let fields = |args: &[&str]| {
        let run = invoke(&task_root, args);
        let object = json(&run).as_object().expect("an object").clone();
        object.keys().cloned().collect::<Vec<_>>()
    };
    let mut found = fields(&[
        "function.handler",
        "--event",
        "x",
        "--json",
        "--repeat",
        "2",
    ]);
    found.extend(fields(&["function.handler", "--event", "bad 1", "--json"]));
    found.sort();
    found.dedup();
    defined.sort_unstable();
    assert_eq!(found, defined);
}

#[test]
fn invoke_and_serve_report_the_same_memory() {
    let fills = "handler() { local x; printf -v x '%040000000d' 0; printf '%s' \"${#x}\"; }";
    let memory_mb = |script: &str| {
        let run = invoke(
            &function(script),
            &["function.handler", "--event", "x", "--json"],
        );
        let by_invoke = json(&run)["maxMemoryUsedMb"].as_u64().expect("a number");
        let emulator = Emulator::of(script).start();
        assert_eq!(emulator.call("x").status, 200);
        emulator.wait_log_count("Max Memory Used: ", 1);
        let log = emulator.stdout();
        let (_, figure) = log.split_once("Max Memory Used: ").expect("a figure");
        let by_serve = figure
            .split_once(" MB")
            .and_then(|(figure, _)| figure.parse::<u64>().ok());
        (by_invoke, by_serve.expect("a number"))
    };
    let (small, other_small) = memory_mb("handler() { :; }");
    let (large, other_large) = memory_mb(fills);
    assert!(small.abs_diff(other_small) <= 4, "{small} {other_small}");
    assert!(
        large.abs_diff(other_large) <= large / 4,
        "{large} {other_large}"
    );
    assert!(large > small + 38, "{large} {small}");
}
