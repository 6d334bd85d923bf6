//! The life of a sandbox under `coshell serve`: init, Lambda's lines, deadlines, deaths, the end.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::emulator::error_type;
use support::{Emulator, LIMIT, Process, wait_until};

/// The lines REPORT so far: their parts by name, in the order of the line.
fn reports(emulator: &Emulator) -> Vec<Vec<(String, String)>> {
    let log = emulator.stdout();
    let lines = log.lines().filter(|line| line.starts_with("REPORT "));
    lines.map(parts).collect()
}

/// `REPORT RequestId: 1\tDuration: 2 ms\t`.
#[track_caller]
fn parts(line: &str) -> Vec<(String, String)> {
    let (_, rest) = line.split_once(' ').expect("a word before the parts");
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

/// The pid of the bootstrap, which a handler prints as `$PPID`.
fn signal(pid: &str, signal: Signal) {
    let pid = Pid::from_raw(pid.parse().expect("a pid"));
    kill(pid, signal).expect("cannot send a signal");
}

/// AWS's emulator waits for the first invocation.
/// What cannot be loaded is not served, and what takes long is not yet.
#[test]
fn nothing_is_served_before_its_init_is_over() {
    let emulator = Emulator::of("handlr() { :; }").start();
    emulator.wait_log_count("INIT_REPORT ", 1);
    let greeting = format!(
        "coshell: function.handler cannot be loaded: each call tries again, at http://{}\n",
        emulator.address
    );
    assert_eq!(emulator.stderr(), greeting);
    assert!(
        emulator.fail("x")["errorMessage"]
            .to_string()
            .contains("did you mean function.handlr?")
    );
    let builder = Emulator::of("read -r _ <\"$LAMBDA_TASK_ROOT/gate\"\nhandler() { printf on; }\n");
    builder.task_root.fifo("gate");
    let emulator = builder.start();
    let loading = format!(
        "coshell: function.handler is loading, at http://{}\n",
        emulator.address
    );
    assert_eq!(emulator.stderr(), loading);
    emulator.task_root.release("gate");
    assert_eq!(emulator.respond("x"), b"on");
    wait_until(
        || {
            emulator
                .stderr()
                .contains("function.handler is served: curl ")
        },
        LIMIT,
    );
}

#[test]
fn file_is_sourced_before_the_first_call() {
    let script = "echo sourced\necho sourced >\"$LAMBDA_TASK_ROOT/sourced\"\nhandler() { :; }";
    let emulator = Emulator::of(script).start();
    wait_until(|| emulator.task_root.exists("sourced"), LIMIT);
    emulator.process.wait_log("sourced\n");
    assert!(!emulator.stdout().contains("START "));
}

#[test]
fn lines_have_the_shape_of_lambdas() {
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
    for (number_of, report) in reports(&emulator).iter().enumerate() {
        let names: Vec<_> = report.iter().map(|(name, _)| name.as_str()).collect();
        let usual = [
            "Duration",
            "Billed Duration",
            "Memory Size",
            "Max Memory Used",
        ];
        let init = if number_of == 0 {
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
        // Two figures that are rounded on their own.
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
fn memory_is_the_peak_of_the_shell_and_of_its_children() {
    let script = r#"
handler() {
  case $1 in
    shell)
      local block
      printf -v block '%*s' 67108864 ''
      [[ ${#block} == 67108864 ]]
      ;;
    child)
      # tail keeps all that it has read until its input ends.
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
    let of_shell = last();
    assert!((64.0..400.0).contains(&of_shell), "{of_shell} MB");
    let pending = emulator.begin_call("child");
    wait_until(|| emulator.task_root.exists("full"), LIMIT);
    emulator.task_root.release("gate");
    emulator.expect_response(emulator.finish(pending));
    emulator.wait_log_count("REPORT ", 3);
    emulator.task_root.release("end");
    let of_child = last();
    assert!(of_child >= 128.0 && of_child >= of_shell, "{of_child} MB");
    // A look that is fresh holds for 100 ms: what comes after those is a new one.
    let begun_at = Instant::now();
    let is_seen = || {
        emulator.respond("small");
        begun_at.elapsed() > Duration::from_millis(150)
    };
    wait_until(is_seen, LIMIT);
    assert!(last() >= of_child, "{} MB after {of_child} MB", last());
}

#[test]
fn invocation_that_overruns_is_answered_and_ended() {
    let script = r#"
handler() {
  count=$((${count-0} + 1))
  [[ $1 != hang ]] || { setsid sleep 601 & sleep 600; }
  printf 'call %s of %s' "$count" "$PPID"
}"#;
    let emulator = Emulator::of(script).option("--timeout", "1.5").start();
    let first = emulator.respond_text("{}");
    let reply = emulator.call("hang");
    let request_id = reply.header("X-Amzn-RequestId").expect("an id").to_owned();
    let document = emulator.expect_error(&reply);
    let text = "Task timed out after 1.50 seconds";
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
    assert_eq!(value(&report, "Duration"), "1500.00 ms");
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
    // Its init was a part of the invocation.
    emulator.wait_log_count("REPORT ", 3);
    let report = reports(&emulator).pop().expect("a report");
    assert!(
        report.iter().all(|(name, _)| name != "Init Duration"),
        "{report:?}"
    );
}

#[test]
fn bootstrap_that_ends_in_an_invocation_is_told_and_replaced() {
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
    for (event, told) in [("kill", "signal: killed"), ("abort", "signal: aborted")] {
        assert_eq!(emulator.respond_text("first"), "call 1");
        let reply = emulator.call(event);
        let request_id = reply.header("X-Amzn-RequestId").expect("an id").to_owned();
        let document = emulator.expect_error(&reply);
        assert_eq!(document["errorType"], "Runtime.ExitError");
        let message = document["errorMessage"].as_str().unwrap_or_default();
        let text = format!("RequestId: {request_id} Error: Runtime exited with error: {told}");
        assert!(message.starts_with(&text), "{document}");
        emulator
            .process
            .wait_log(&format!("{message}\nRuntime.ExitError\n"));
        emulator
            .process
            .wait_log("\tStatus: error\tError Type: Runtime.ExitError\t\n");
        assert_eq!(emulator.respond_text("after"), "call 1");
        // In its turn it ends too, so that the next case begins with a fresh one.
        emulator.fail("kill");
    }
}

#[test]
fn bootstrap_that_dies_while_idle_is_replaced_for_the_next_caller() {
    let emulator = Emulator::of("handler() { printf '%s %s' \"$PPID\" \"$1\"; }").start();
    let mut last = String::new();
    for number in 0..20 {
        let answer = emulator.respond_text(format!("event {number}"));
        let (pid, event) = answer.split_once(' ').expect("two parts");
        assert_eq!(event, format!("event {number}"));
        assert_ne!(pid, last);
        signal(pid, Signal::SIGKILL);
        // Until its parent has taken notice.
        wait_until(|| !Path::new("/proc").join(pid).exists(), LIMIT);
        last = pid.to_owned();
    }
    let log = emulator.stop();
    assert!(!log.contains("Runtime.ExitError"), "{log}");
}

/// One whose death is not known yet may get the event.
#[test]
fn caller_in_the_moment_of_a_death_is_answered_all_the_same() {
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
fn init_error_is_told_at_once_and_repeated_for_every_caller() {
    for (script, error_type) in [
        ("other() { :; }", "Runtime.HandlerNotFound"),
        ("handler() { if; }", "Runtime.UserCodeSyntaxError"),
    ] {
        let emulator = Emulator::of(script).start();
        emulator.process.wait_log("INIT_REPORT ");
        let line = || {
            let log = emulator.stdout();
            let line = log.lines().find(|line| line.starts_with("INIT_REPORT "));
            line.map(parts)
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
fn one_that_cannot_start_says_why_and_ends_with_status_2() {
    let misuse = |builder: support::emulator::EmulatorBuilder, said: &str| {
        let (status, text) = builder.expect_start_failure();
        assert!(text.contains(said), "{text} is not {said}");
        assert_eq!(status, 2, "{text}");
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
        Emulator::of("").env("AWS_LAMBDA_FUNCTION_TIMEOUT", "soon"),
        "cannot use AWS_LAMBDA_FUNCTION_TIMEOUT soon",
    );
}

#[test]
fn address_that_is_taken_is_told() {
    let taken = TcpListener::bind((support::unique_address(), 0)).expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let builder = Emulator::of("handler() { :; }").option("--listen", &address);
    let process = Process::start(builder.command());
    assert_eq!(process.wait_failure(LIMIT), 2);
    let said = format!("coshell: cannot listen at {address}: Address already in use");
    assert!(process.log().contains(&said), "{}", process.log());
}

#[test]
fn signals_end_it_in_order_whether_it_is_idle_or_busy() {
    let script = r#"
trap 'echo "the trap" >&2' EXIT
handler() {
  (setsid sleep 601 &) >&2 2>/dev/null
  setsid sleep 602 </dev/null >/dev/null 2>&1 & disown
  [[ $1 != wait ]] || { echo "it waits" >&2; sleep 600; }
}"#;
    for one in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        for is_busy in [false, true] {
            println!("the case: {one} {is_busy}");
            let emulator = Emulator::of(script).option("--concurrency", "2").start();
            emulator.respond("{}");
            let pending = is_busy.then(|| emulator.begin_call("wait"));
            if is_busy {
                emulator.process.wait_log("it waits");
            }
            emulator.process.signal(one);
            let log = emulator.process.wait_clean_exit(LIMIT);
            assert!(log.contains("the trap\n"), "{log}");
            drop(pending);
        }
    }
}

#[test]
fn it_ends_at_once_while_the_init_still_runs() {
    let script = "echo begun >&2\nread -r _ <\"$LAMBDA_TASK_ROOT/gate\"\nhandler() { :; }";
    let builder = Emulator::of(script);
    builder.task_root.fifo("gate");
    let emulator = builder.start();
    emulator.process.wait_log("begun\n");
    emulator.stop();
}
