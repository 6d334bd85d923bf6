//! The lifecycle of a sandbox under `coshell serve`: the init, the START, END and REPORT lines, timeouts, crashes, and the end.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::emulator::error_type;
use support::{Emulator, LIMIT, Process, wait_until};

/// The fields of the REPORT lines so far, in the order of the line.
fn reports(emulator: &Emulator) -> Vec<Vec<(String, String)>> {
    let log = emulator.stdout();
    let lines = log.lines().filter(|line| line.starts_with("REPORT "));
    lines.map(parse_report).collect()
}

/// Parses a line such as `REPORT RequestId: 1\tDuration: 2 ms\t` into names and values.
#[track_caller]
fn parse_report(line: &str) -> Vec<(String, String)> {
    let (_, rest) = line.split_once(' ').expect("a word before the fields");
    let rest = rest.strip_suffix('\t').expect("a tab at the end");
    let parts = rest.split('\t').map(|part| {
        let (name, value) = part.split_once(": ").expect("a name and a value");
        (name.to_owned(), value.to_owned())
    });
    parts.collect()
}

#[track_caller]
fn value<'a>(report: &'a [(String, String)], name: &str) -> &'a str {
    let mut found = report.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.as_str());
    value.unwrap_or_else(|| panic!("no {name}: {report:?}"))
}

#[track_caller]
fn number(report: &[(String, String)], name: &str, unit: &str) -> f64 {
    let digits = value(report, name).strip_suffix(unit).expect("the unit");
    digits.parse().expect("a number")
}

/// Sends a signal to a bootstrap. A handler prints its pid as `$PPID`.
fn signal(pid: &str, signal: Signal) {
    let pid = Pid::from_raw(pid.parse().expect("a pid"));
    kill(pid, signal).expect("cannot send a signal");
}

#[test]
fn the_startup_message_says_whether_the_handler_is_loaded() {
    let emulator = Emulator::of("handlr() { :; }").start();
    emulator.wait_log_count("INIT_REPORT ", 1);
    let cannot_load = format!(
        "coshell: cannot load function.handler: see the log; each call to http://{} tries again\n",
        emulator.address
    );
    assert_eq!(emulator.stderr(), cannot_load);
    assert!(
        emulator.fail("x")["errorMessage"]
            .to_string()
            .contains("did you mean function.handlr?")
    );
    let builder = Emulator::of("read -r _ <\"$LAMBDA_TASK_ROOT/gate\"\nhandler() { printf on; }\n");
    builder.task_root.fifo("gate");
    let emulator = builder.start();
    let loading = format!(
        "coshell: function.handler is still loading; it will be served at http://{}\n",
        emulator.address
    );
    assert_eq!(emulator.stderr(), loading);
    emulator.task_root.release("gate");
    assert_eq!(emulator.respond("x"), b"on");
    wait_until(
        || {
            emulator
                .stderr()
                .contains("serving function.handler; to invoke it: curl ")
        },
        LIMIT,
    );
}

/// AWS's emulator waits for the first invocation.
#[test]
fn the_file_is_sourced_before_the_first_call() {
    let script = "echo sourced\necho sourced >\"$LAMBDA_TASK_ROOT/sourced\"\nhandler() { :; }";
    let emulator = Emulator::of(script).start();
    wait_until(|| emulator.task_root.exists("sourced"), LIMIT);
    emulator.process.wait_log("sourced\n");
    assert!(!emulator.stdout().contains("START "));
}

#[test]
fn the_log_has_lambdas_start_end_and_report_lines() {
    let script = "handler() { printf 'a line without an end' >&2; printf done; }";
    let emulator = Emulator::of(script).option("--memory", "256").start();
    let mut request_ids = Vec::new();
    for count in 1..=3 {
        let reply = emulator.call("{}");
        request_ids.push(reply.header("X-Amzn-RequestId").expect("an id").to_owned());
        emulator.wait_log_count("REPORT ", count);
    }
    let log = emulator.stdout();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 12, "{log}");
    for (lines, request_id) in lines.chunks(4).zip(&request_ids) {
        let expected = [
            &format!("START RequestId: {request_id} Version: $LATEST"),
            "a line without an end",
            &format!("END RequestId: {request_id}"),
        ];
        assert_eq!(lines[..3], expected);
        let start = format!("REPORT RequestId: {request_id}\t");
        assert!(lines[3].starts_with(&start), "{log}");
    }
    for (index, report) in reports(&emulator).iter().enumerate() {
        let names: Vec<_> = report.iter().map(|(name, _)| name.as_str()).collect();
        let usual = [
            "Duration",
            "Billed Duration",
            "Memory Size",
            "Max Memory Used",
        ];
        let init = if index == 0 {
            assert_eq!(names[..2], ["RequestId", "Init Duration"]);
            assert_eq!(names[2..], usual);
            number(report, "Init Duration", " ms")
        } else {
            assert_eq!(names[0], "RequestId");
            assert_eq!(names[1..], usual);
            0.0
        };
        let duration = number(report, "Duration", " ms");
        let billed = number(report, "Billed Duration", " ms");
        assert!(duration > 0.0, "{report:?}");
        // Both values are rounded separately.
        assert!(
            (billed - (init + duration).ceil()).abs() <= 1.0,
            "{report:?}"
        );
        assert_eq!(value(report, "Memory Size"), "256 MB");
        let memory = number(report, "Max Memory Used", " MB");
        assert!((1.0..200.0).contains(&memory), "{report:?}");
    }
}

#[test]
fn the_reported_memory_is_the_peak_of_the_shell_and_its_children() {
    let script = r#"
handler() {
  case $1 in
    shell)
      local block
      printf -v block '%*s' 67108864 ''
      [[ ${#block} == 67108864 ]]
      ;;
    child)
      # tail stores everything that it reads until its input ends.
      { head -c 128M /dev/zero; : >"$LAMBDA_TASK_ROOT/full"; read -r _ <"$LAMBDA_TASK_ROOT/end"; } |
        tail -c 128M >/dev/null &
      read -r _ <"$LAMBDA_TASK_ROOT/gate"
      ;;
  esac
}"#;
    let emulator = Emulator::of(script).start();
    emulator.task_root.fifo("gate");
    emulator.task_root.fifo("end");
    let last = || {
        let reports = reports(&emulator);
        number(reports.last().expect("a report"), "Max Memory Used", " MB")
    };
    emulator.respond("small");
    emulator.wait_log_count("REPORT ", 1);
    let small = last();
    assert!(small < 60.0, "{small} MB");
    emulator.respond("shell");
    emulator.wait_log_count("REPORT ", 2);
    let shell_mb = last();
    assert!((64.0..400.0).contains(&shell_mb), "{shell_mb} MB");
    let pending = emulator.begin_call("child");
    wait_until(|| emulator.task_root.exists("full"), LIMIT);
    emulator.task_root.release("gate");
    emulator.expect_response(emulator.finish(pending));
    emulator.wait_log_count("REPORT ", 3);
    emulator.task_root.release("end");
    let child_mb = last();
    assert!(child_mb >= 128.0 && child_mb >= shell_mb, "{child_mb} MB");
    // Coshell measures at most every 100 ms. After that the memory is measured again.
    let begun_at = Instant::now();
    let is_measured_again = || {
        emulator.respond("small");
        begun_at.elapsed() > Duration::from_millis(150)
    };
    wait_until(is_measured_again, LIMIT);
    assert!(last() >= child_mb, "{} MB after {child_mb} MB", last());
}

#[test]
fn an_invocation_beyond_its_timeout_is_answered_with_an_error_and_ended() {
    let script = r#"
handler() {
  count=$((${count-0} + 1))
  [[ $1 != hang ]] || { setsid sleep 601 & sleep 600; }
  printf 'call %s of %s' "$count" "$PPID"
}"#;
    let emulator = Emulator::of(script).option("--timeout", "3.5").start();
    let first = emulator.respond_text("{}");
    let reply = emulator.call("hang");
    let request_id = reply.header("X-Amzn-RequestId").expect("an id").to_owned();
    let document = emulator.expect_error(&reply);
    let text = "Task timed out after 3.50 seconds";
    let expected = serde_json::json!({
        "errorType": "Sandbox.Timedout",
        "errorMessage": format!("RequestId: {request_id} Error: {text}"),
    });
    assert_eq!(document, expected);
    emulator
        .process
        .wait_log(&format!("Z {request_id} {text}\n"));
    emulator.wait_log_count("REPORT ", 2);
    let report = reports(&emulator).pop().expect("a report");
    assert_eq!(value(&report, "Duration"), "3500.00 ms");
    let status = ("Status".to_owned(), "timeout".to_owned());
    assert_eq!(report.last(), Some(&status));
    let next = emulator.respond_text("{}");
    assert!(
        next.starts_with("call 1 of ") && next != first,
        "{first} {next}"
    );
    let is_sleep = |command: &String| command.starts_with("sleep") || command.starts_with("setsid");
    wait_until(
        || !emulator.process.processes().values().any(is_sleep),
        LIMIT,
    );
    // The init of the new sandbox was a part of the invocation before.
    emulator.wait_log_count("REPORT ", 3);
    let report = reports(&emulator).pop().expect("a report");
    assert!(
        report.iter().all(|(name, _)| name != "Init Duration"),
        "{report:?}"
    );
}

#[test]
fn a_bootstrap_that_ends_during_an_invocation_is_reported_and_replaced() {
    let script = r#"
handler() {
  count=$((${count-0} + 1))
  case $1 in
    kill) kill -9 "$PPID"; sleep 600 ;;
    abort) kill -ABRT "$PPID"; sleep 600 ;;
  esac
  printf 'call %s' "$count"
}"#;
    let emulator = Emulator::of(script).start();
    for (event, cause) in [("kill", "signal: killed"), ("abort", "signal: aborted")] {
        assert_eq!(emulator.respond_text("first"), "call 1");
        let reply = emulator.call(event);
        let request_id = reply.header("X-Amzn-RequestId").expect("an id").to_owned();
        let document = emulator.expect_error(&reply);
        assert_eq!(document["errorType"], "Runtime.ExitError");
        let message = document["errorMessage"].as_str().unwrap_or_default();
        let text = format!("RequestId: {request_id} Error: Runtime exited with error: {cause}");
        assert!(message.starts_with(&text), "{document}");
        emulator
            .process
            .wait_log(&format!("{message}\nRuntime.ExitError\n"));
        emulator
            .process
            .wait_log("\tStatus: error\tError Type: Runtime.ExitError\t\n");
        assert_eq!(emulator.respond_text("after"), "call 1");
        // This ends the new bootstrap too, so that the next case begins with a new bootstrap.
        emulator.fail("kill");
    }
}

#[test]
fn a_bootstrap_that_dies_while_idle_is_replaced_for_the_next_caller() {
    let emulator = Emulator::of("handler() { printf '%s %s' \"$PPID\" \"$1\"; }").start();
    let mut last = String::new();
    for number in 0..20 {
        let answer = emulator.respond_text(format!("event {number}"));
        let (pid, event) = answer.split_once(' ').expect("two parts");
        assert_eq!(event, format!("event {number}"));
        assert_ne!(pid, last);
        signal(pid, Signal::SIGKILL);
        // Until its parent has waited for it.
        wait_until(|| !Path::new("/proc").join(pid).exists(), LIMIT);
        last = pid.to_owned();
    }
    let log = emulator.stop();
    assert!(!log.contains("Runtime.ExitError"), "{log}");
}

/// A bootstrap may get an event before the emulator notices that it has died.
#[test]
fn a_call_at_the_moment_of_a_crash_is_answered() {
    let emulator = Emulator::of("handler() { printf '%s' \"$PPID\"; }").start();
    let mut answers = 0;
    for _ in 0..50 {
        let reply = emulator.call("{}");
        match reply.header("X-Amz-Function-Error") {
            None => signal(&String::from_utf8_lossy(&reply.body), Signal::SIGKILL),
            Some(_) => assert_eq!(error_type(&reply.body), "Runtime.ExitError"),
        }
        answers += 1;
        emulator.wait_log_count("REPORT ", answers);
    }
}

#[test]
fn an_init_error_is_logged_at_once_and_returned_to_every_caller() {
    for (script, error_type) in [
        ("other() { :; }", "Runtime.HandlerNotFound"),
        ("handler() { if; }", "Runtime.UserCodeSyntaxError"),
    ] {
        let emulator = Emulator::of(script).start();
        emulator.process.wait_log("INIT_REPORT ");
        let line = || {
            let log = emulator.stdout();
            let line = log.lines().find(|line| line.starts_with("INIT_REPORT "));
            line.map(parse_report)
        };
        wait_until(|| line().is_some(), LIMIT);
        let line = line().expect("waited for it");
        assert!(number(&line, "Init Duration", " ms") > 0.0);
        let text = |(name, value): &(String, String)| format!("{name}: {value}");
        let rest: Vec<_> = line[1..].iter().map(text).collect();
        let error = format!("Error Type: {error_type}");
        assert_eq!(rest, ["Phase: init", "Status: error", &error]);
        for count in 1..=3 {
            let document = emulator.fail("{}");
            assert_eq!(document["errorType"], error_type, "{document}");
            emulator.wait_log_count("\tPhase: invoke\tStatus: error\t", count);
            emulator.wait_log_count("REPORT RequestId: ", count);
        }
        assert!(!emulator.stdout().contains("\tPhase: init\tStatus: timeout"));
    }
}

#[test]
fn an_emulator_that_cannot_start_says_why_and_ends_with_status_2() {
    let misuse = |builder: support::emulator::EmulatorBuilder, message: &str| {
        let (status, stderr) = builder.expect_start_failure();
        assert!(stderr.contains(message), "no {message} in {stderr}");
        assert_eq!(status, 2, "{stderr}");
    };
    let builder = Emulator::of("handler() { :; }");
    let file = builder.task_root.write("bootstrap", "#!/bin/sh\n");
    let path = file.to_string_lossy().into_owned();
    let cause =
        format!("coshell: cannot start bootstrap {path}: Permission denied (os error 13)\n");
    misuse(builder.option("--bootstrap", &path), &cause);
    let builder = Emulator::of("handler() { :; }").option("--bootstrap", "/no/such/file");
    misuse(
        builder,
        "cannot start bootstrap /no/such/file: No such file or directory",
    );
    misuse(
        Emulator::empty(),
        "cannot serve a function: neither an argument nor _HANDLER",
    );
    let builder = Emulator::of("").option("--task-root", "/no/such/folder");
    misuse(
        builder,
        "cannot use task root /no/such/folder: No such file",
    );
    misuse(
        Emulator::of("").option("--timeout", "0"),
        "not a number of seconds above 0",
    );
    misuse(
        Emulator::of("").option("--timeout", "99999999999999999999"),
        "expected less than 31536000, a year",
    );
    misuse(
        Emulator::of("").option("--function-url", "only"),
        "cannot start bootstrap function.handler: No such file or directory (os error 2); several words are a bootstrap, its \
         arguments and the handler; did you mean --function-url=only?",
    );
    for (value, cause) in [
        ("v1,alb", "expected only one of v2, v1 and alb"),
        ("", "expected only, v1 or alb"),
        ("beside", "expected only, v1 or alb"),
    ] {
        misuse(
            Emulator::of("").arg(&format!("--function-url={value}")),
            cause,
        );
    }
    for (folder, cause) in [
        ("/no/such/folder", "No such file or directory"),
        ("/dev/null", "Not a directory"),
    ] {
        misuse(
            Emulator::of("").option("--extensions", folder),
            &format!("cannot read extensions in {folder}: {cause}"),
        );
    }
    misuse(
        Emulator::of("").env("AWS_LAMBDA_FUNCTION_TIMEOUT", "soon"),
        "cannot use AWS_LAMBDA_FUNCTION_TIMEOUT soon",
    );
}

#[test]
fn an_address_in_use_is_an_error() {
    let taken = TcpListener::bind((support::unique_address(), 0)).expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let builder = Emulator::of("handler() { :; }").option("--listen", &address);
    let process = Process::start(builder.command());
    assert_eq!(process.wait_failure(LIMIT), 2);
    let message = format!("coshell: cannot listen on {address}: Address already in use");
    assert!(process.log().contains(&message), "{}", process.log());
}

#[test]
fn a_signal_shuts_down_an_idle_and_a_busy_emulator() {
    let script = r#"
trap 'echo "the trap" >&2' EXIT
handler() {
  (setsid sleep 601 &) >&2 2>/dev/null
  setsid sleep 602 </dev/null >/dev/null 2>&1 & disown
  [[ $1 != wait ]] || { echo "it waits" >&2; sleep 600; }
}"#;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        for is_busy in [false, true] {
            println!("case: {signal} {is_busy}");
            let emulator = Emulator::of(script).option("--concurrency", "2").start();
            emulator.respond("{}");
            let pending = is_busy.then(|| emulator.begin_call("wait"));
            if is_busy {
                emulator.process.wait_log("it waits");
            }
            emulator.process.signal(signal);
            let log = emulator.process.wait_clean_exit(LIMIT);
            assert!(log.contains("the trap\n"), "{log}");
            drop(pending);
        }
    }
}

#[test]
fn the_emulator_can_end_during_the_init() {
    let script = "echo begun >&2\nread -r _ <\"$LAMBDA_TASK_ROOT/gate\"\nhandler() { :; }";
    let builder = Emulator::of(script);
    builder.task_root.fifo("gate");
    let emulator = builder.start();
    emulator.process.wait_log("begun\n");
    emulator.stop();
}
