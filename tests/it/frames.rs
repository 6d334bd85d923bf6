//! The log as frames, written to the descriptor in `_LAMBDA_TELEMETRY_LOG_FD`.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::Value;

use support::{
    Event, Gate, LIMIT, Reply, Sandbox, SandboxBuilder, bootstrap_path, open_descriptors,
    wait_until,
};

const DEBUG: u32 = 0x08;
const INFO: u32 = 0x0c;
const WARN: u32 = 0x10;
const ERROR: u32 = 0x14;
const FATAL: u32 = 0x18;

/// A frame. `kind` is its type without the bits of the level.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    kind: u32,
    level: u32,
    time: u64,
    record: String,
}

/// A sandbox whose descriptor 9 is a pipe for frames, and the bytes that were read from the pipe.
#[derive(Debug)]
struct FrameSandbox {
    sandbox: Sandbox,
    pipe: File,
    bytes: Vec<u8>,
}

/// Starts bootstrap through `command`, with this redirection for descriptor 9.
fn with_redirection(builder: SandboxBuilder, command: &str, redirection: &str) -> SandboxBuilder {
    let script = format!("exec {command} \"$@\" {redirection}");
    builder
        .program(&["sh", "-c", &script, "sh", &bootstrap_path()])
        .env("_LAMBDA_TELEMETRY_LOG_FD", "9")
}

impl FrameSandbox {
    fn start(builder: SandboxBuilder) -> Self {
        Self::start_by(builder, "")
    }

    fn start_by(builder: SandboxBuilder, command: &str) -> Self {
        let task_root = builder.task_root();
        task_root.fifo("frames");
        let mut options = File::options();
        let options = options.read(true).custom_flags(libc::O_NONBLOCK);
        let pipe = options.open(task_root.path().join("frames"));
        Self {
            pipe: pipe.expect("a pipe"),
            sandbox: with_redirection(builder, command, "9>\"$LAMBDA_TASK_ROOT/frames\"").start(),
            bytes: Vec::new(),
        }
    }

    fn read(&mut self) {
        // The pipe does not block: an error means that it is empty.
        let _ = self.pipe.read_to_end(&mut self.bytes);
    }

    /// Waits for a record that contains `text`.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        wait_until(
            || {
                self.read();
                memchr::memmem::find(&self.bytes, text.as_bytes()).is_some()
            },
            LIMIT,
        );
    }

    /// Runs one event, and reads meanwhile so that the pipe does not fill up. Returns all frames.
    #[track_caller]
    fn frames_of_one_event(mut self) -> Vec<Frame> {
        self.sandbox.api.push(Event::new("x", ""));
        let is_answered = || {
            self.read();
            !self.sandbox.api.answers("x").is_empty()
        };
        wait_until(is_answered, LIMIT);
        self.finish()
    }

    /// Ends the process and returns all frames. Asserts that nothing else was logged.
    #[track_caller]
    fn finish(mut self) -> Vec<Frame> {
        self.sandbox.api.wait_parked();
        self.frames_at_end()
    }

    /// As [`finish`](Self::finish), for a process that fails by itself.
    #[track_caller]
    fn finish_failed(mut self) -> Vec<Frame> {
        self.sandbox.bootstrap.wait_failure(LIMIT);
        self.frames_at_end()
    }

    #[track_caller]
    fn frames_at_end(&mut self) -> Vec<Frame> {
        assert_eq!(self.sandbox.bootstrap.final_log(), "", "standard error");
        self.read();
        parse(&self.bytes)
    }
}

#[track_caller]
fn parse(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        assert!(bytes.len() >= 16, "a header is cut off: {bytes:?}");
        let number =
            |offset: usize| u32::from_be_bytes(bytes[offset..offset + 4].try_into().expect("four"));
        let kind = number(0);
        let length = usize::try_from(number(4)).expect("a length");
        let time = u64::from_be_bytes(bytes[8..16].try_into().expect("eight"));
        assert!(bytes.len() >= 16 + length, "a record is cut off: {bytes:?}");
        let record = String::from_utf8_lossy(&bytes[16..16 + length]).into_owned();
        frames.push(Frame {
            kind: kind & 0xffff_ff03,
            level: kind & 0xfc,
            time,
            record,
        });
        bytes = &bytes[16 + length..];
    }
    frames
}

/// The levels and records of the frames. Asserts that they are all text frames.
#[track_caller]
fn texts(frames: &[Frame]) -> Vec<(u32, &str)> {
    let text = |frame: &'_ Frame| assert_eq!(frame.kind, 0xa55a_0003, "{frame:?}");
    frames.iter().for_each(text);
    let pairs = frames.iter();
    pairs
        .map(|frame| (frame.level, frame.record.as_str()))
        .collect()
}

fn now_us() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    u64::try_from(now.as_micros()).expect("microseconds")
}

#[test]
fn each_line_of_a_handler_is_a_frame() {
    let script =
        "echo sourced >&2\nhandler() { printf 'one\\n\\n two \\r\\nthree' >&2; printf on; }";
    let before = now_us();
    let run = FrameSandbox::start(Sandbox::of(script));
    assert_eq!(run.sandbox.respond("x"), b"on");
    let frames = run.finish();
    assert_eq!(
        texts(&frames),
        [
            (INFO, "sourced"),
            (INFO, "one"),
            (INFO, ""),
            (INFO, " two \r"),
            (INFO, "three")
        ]
    );
    for frame in frames {
        assert!((before..=now_us()).contains(&frame.time), "{frame:?}");
    }
}

#[test]
fn frames_are_written_while_the_handler_runs_and_before_the_answer() {
    let builder = Sandbox::of(
        "handler() { echo early >&2; read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; echo late >&2; }",
    );
    builder.task_root().fifo("gate");
    let mut run = FrameSandbox::start(builder);
    let gate = Gate::new();
    run.sandbox.api.reply(Reply::Late(gate.clone()));
    run.sandbox.api.push(Event::new("x", ""));
    run.wait_for("early");
    run.sandbox.task_root.release("gate");
    run.sandbox.api.wait_answer("x");
    run.sandbox.bootstrap.signal(Signal::SIGSTOP);
    run.wait_for("late");
    run.sandbox.bootstrap.signal(Signal::SIGCONT);
    gate.open();
}

#[test]
fn a_failure_is_one_record_with_its_place_and_without_the_log() {
    let script =
        "load() {\n  echo 'the log' >&2\n  grep \"a\nb\" /no/such/file\n}\nhandler() {\n  load\n}";
    let run = FrameSandbox::start(Sandbox::of(script));
    let answer = run.sandbox.invoke(Event::new("the-id", "x"));
    let message = answer.error_document()["errorMessage"].clone();
    let message = message.as_str().expect("a message");
    assert!(message.contains("\nthe log\n"), "{message}");
    let file = run.sandbox.task_root.path().join("function.sh");
    let file = file.display().to_string();
    let frames = run.finish();
    let texts = texts(&frames);
    let [log, grep, failure] = texts.as_slice() else {
        panic!("{texts:#?}");
    };
    assert_eq!(*log, (INFO, "the log"));
    assert!(grep.0 == INFO && grep.1.starts_with("grep: "), "{grep:?}");
    // From version 5.2 on bash reports the first line of a command with several lines.
    let expected = |line: u32| {
        format!(
            "bootstrap: error: Function.CommandFailed: `grep \"a\nb\" /no/such/file` ended \
             with status 2 in load ({file}:{line}) (request id the-id)\n    at load ({file}:{line})\n    at handler ({file}:7)"
        )
    };
    assert_eq!(failure.0, ERROR);
    assert!(
        [expected(3), expected(4)].contains(&failure.1.to_owned()),
        "{}",
        failure.1
    );
}

#[test]
fn an_init_error_is_one_record() {
    let script = "load() {\n  echo 'the log' >&2\n  false\n}\nload\nhandler() { :; }";
    let run = FrameSandbox::start(Sandbox::of(script));
    let error = run.sandbox.api.wait_init_error().error_document();
    assert!(
        error["errorMessage"].to_string().contains("the log"),
        "{error}"
    );
    let frames = run.finish_failed();
    let texts = texts(&frames);
    let [log, failure] = texts.as_slice() else {
        panic!("{texts:#?}");
    };
    assert_eq!(*log, (INFO, "the log"));
    assert_eq!(failure.0, FATAL);
    assert!(
        failure.1.starts_with("bootstrap: fatal: Runtime.HandlerFileFailed: cannot load handler function.handler: `false` ended with status 1 at /")
            && failure.1.contains("/function.sh:3\n    at load (")
            && failure.1.ends_with("/function.sh:5)"),
        "{}",
        failure.1
    );
}

/// The message of bash has several lines.
#[test]
fn a_syntax_error_of_a_script_is_one_record_with_all_its_lines() {
    let builder = Sandbox::empty()
        .executable("broken.sh", "#!/bin/bash\necho one\nif )\n")
        .handler("broken.sh");
    let frames = FrameSandbox::start(builder).finish_failed();
    let texts = texts(&frames);
    let [(FATAL, text)] = texts.as_slice() else {
        panic!("{texts:#?}");
    };
    assert!(
        text.starts_with("bootstrap: fatal: Runtime.UserCodeSyntaxError: cannot load handler")
            && text.contains("line 3")
            && text.contains("\n    at source (/"),
        "{text}"
    );
    assert!(text.matches("line 3").count() >= 2, "{text}");
}

#[test]
fn json_records_are_frames_with_their_levels() {
    let script = r#"handler() {
  echo plain >&2
  echo '{"level":"debug","n":1}' >&2
  echo '{"level":"fatal"}' >&2
  echo '{ "message" : 1 }' >&2
  lambda_log WARN $'two\nlines'
  sleep 600 >/dev/null 2>&1 </dev/null &
  return 3
}"#;
    let builder = Sandbox::of(script)
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("AWS_LAMBDA_LOG_LEVEL", "DEBUG");
    let run = FrameSandbox::start(builder);
    run.sandbox.invoke(Event::new("the-id", "x"));
    let frames = run.finish();
    let levels: Vec<_> = frames.iter().map(|frame| frame.level).collect();
    assert_eq!(levels, [INFO, DEBUG, FATAL, INFO, WARN, ERROR, WARN]);
    assert!(frames.iter().all(|frame| frame.kind == 0xa55a_0002));
    assert_eq!(frames[1].record, r#"{"level":"debug","n":1}"#);
    assert_eq!(frames[3].record, r#"{ "message" : 1 }"#);
    for (index, message) in [(0, "plain"), (4, "two\nlines")] {
        let value: Value = serde_json::from_str(&frames[index].record).expect("an object");
        assert_eq!(value["message"], message);
        assert_eq!(value["requestId"], "the-id");
    }
    let failure: Value = serde_json::from_str(&frames[5].record).expect("an object");
    assert_eq!(failure["errorType"], "Function.HandlerFailed");
    assert_eq!(failure["errorMessage"], "handler returned status 3");
    assert_eq!(failure["level"], "ERROR");
}

#[test]
fn json_frames_below_the_log_level_are_dropped() {
    let builder = Sandbox::of("handler() { echo '{\"level\":\"warn\"}' >&2; lambda_log WARN no; lambda_log ERROR yes; return 3; }")
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("AWS_LAMBDA_LOG_LEVEL", "ERROR");
    let run = FrameSandbox::start(builder);
    run.sandbox.fail("x");
    let levels: Vec<_> = run.finish().iter().map(|frame| frame.level).collect();
    assert_eq!(levels, [ERROR, ERROR]);
}

#[test]
fn a_message_of_lambda_log_is_one_frame_with_its_level() {
    let script = "handler() { lambda_log ERROR $'first\\nsecond \\\\n \\\\' 'and more'; lambda_log plain; lambda_log \"$1\"; }";
    let run = FrameSandbox::start(Sandbox::of(script));
    run.sandbox.respond("FATAL");
    assert_eq!(
        texts(&run.finish()),
        [
            (ERROR, "first\nsecond \\n \\ and more"),
            (INFO, "plain"),
            (INFO, "FATAL")
        ]
    );
}

#[test]
fn frames_that_a_handler_prints_are_content_of_its_own_frames() {
    let head = r"\xa5\x5a\x00\x1b\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00";
    let script = format!(
        "handler() {{ printf '{head}evil\\n' >&2; printf '0123456789abcdefFATAL evil\\n' >&2; lambda_log $'one\\n\\xa5\\x5a\\x01evil'; }}"
    );
    let run = FrameSandbox::start(Sandbox::of(&script));
    run.sandbox.respond("x");
    let frames = run.finish();
    let levels: Vec<_> = frames
        .iter()
        .map(|frame| (frame.kind, frame.level))
        .collect();
    assert_eq!(levels, [(0xa55a_0003, INFO); 3]);
    assert!(frames.iter().all(|frame| frame.record.ends_with("evil")));
    assert_eq!(frames[1].record, "0123456789abcdefFATAL evil");
}

#[test]
fn child_processes_do_not_inherit_the_descriptor() {
    let script = "handler() { printf '%s|%s|' \"${_LAMBDA_TELEMETRY_LOG_FD-unset}\" \"${_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET-unset}\"; readlink /proc/$$/fd/* /proc/self/fd/* | grep -c frames || :; }";
    for isolation in ["none", "subshell", "process"] {
        let builder = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .env("_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET", "/tmp/socket");
        let run = FrameSandbox::start(builder);
        // That is a warning there, and a frame.
        let warns = isolation == "none" && support::always_forks();
        assert_eq!(run.sandbox.respond("x"), b"unset|unset|0", "{isolation}");
        assert_eq!(run.finish().len(), usize::from(warns), "{isolation}");
    }
    let program = "#!/bin/bash\nreadlink /proc/$$/fd/* /proc/self/fd/* | grep -c frames || :\n";
    for name in ["script.sh", "program"] {
        let interpreter = if name == "program" {
            program.replace("/bin/bash", "/usr/bin/env -S sh")
        } else {
            program.to_owned()
        };
        let builder = Sandbox::empty().executable(name, interpreter).handler(name);
        let run = FrameSandbox::start(builder);
        assert_eq!(run.sandbox.respond("x"), b"0", "{name}");
    }
}

#[test]
fn scripts_and_programs_log_frames() {
    for (name, first) in [
        ("script.sh", "#!/bin/bash"),
        ("program", "#!/usr/bin/env -S sh"),
    ] {
        let text = format!("{first}\necho logged >&2\nexit 3\n");
        let builder = Sandbox::empty().executable(name, text).handler(name);
        let run = FrameSandbox::start(builder);
        run.sandbox.invoke(Event::new("the-id", "x"));
        let frames = run.finish();
        let texts = texts(&frames);
        let [(INFO, "logged"), (ERROR, failure)] = texts.as_slice() else {
            panic!("{texts:#?}");
        };
        assert!(
            failure.starts_with("bootstrap: error: Function.HandlerExited: ")
                && failure.contains(" (request id the-id)"),
            "{failure}"
        );
    }
}

#[test]
fn a_process_that_outlives_its_invocation_logs_frames() {
    let builder = Sandbox::of(
        "handler() { { read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; seq 1 5000; echo done; } >&2 </dev/null & printf on; }",
    );
    builder.task_root().fifo("gate");
    let mut run = FrameSandbox::start(builder);
    assert_eq!(run.sandbox.respond("x"), b"on");
    run.sandbox.api.wait_parked();
    run.sandbox.task_root.release("gate");
    run.wait_for("done");
    let frames = run.finish();
    assert_eq!(frames.len(), 5002);
    assert_eq!((frames[0].kind, frames[0].level), (0xa55a_0003, WARN));
}

#[test]
fn the_frames_of_a_flood_are_complete() {
    let script = "handler() { local w; for w in {1..4}; do { seq -f \"$w %.0f\" 1 5000 >&2; } & done; head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; wait; }";
    let run = FrameSandbox::start(Sandbox::of(script));
    let frames = run.frames_of_one_event();
    let bytes: usize = frames.iter().map(|frame| frame.record.len()).sum();
    let lines = (1..=5000).map(|number: u32| number.to_string().len() + 2);
    assert_eq!(bytes, 300_000 + 4 * lines.sum::<usize>());
    assert!(frames.iter().all(|frame| frame.level == INFO));
}

#[test]
fn a_reader_that_has_gone_does_not_stop_the_handler() {
    let builder = Sandbox::of("handler() { seq 1 100000 >&2; printf '%s' \"$1\"; }");
    let FrameSandbox { sandbox, pipe, .. } = FrameSandbox::start(builder);
    sandbox.api.wait_parked();
    drop(pipe);
    for event in ["one", "two"] {
        assert_eq!(sandbox.respond(event), event.as_bytes());
    }
    sandbox.api.wait_parked();
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

#[test]
fn a_non_blocking_descriptor_loses_nothing() {
    let builder = Sandbox::of("handler() { seq 1 50000 >&2; printf on; }").file(
        "start.py",
        "import os, sys\nos.set_blocking(9, False)\nos.execv(sys.argv[1], sys.argv[1:])\n",
    );
    let run = FrameSandbox::start_by(builder, "python3 \"$LAMBDA_TASK_ROOT/start.py\"");
    let frames = run.frames_of_one_event();
    let expected = (1..=50_000).map(|number: u32| number.to_string());
    assert!(frames.into_iter().map(|frame| frame.record).eq(expected));
}

#[test]
fn an_invalid_descriptor_number_is_reported_and_not_used() {
    for (number, redirection) in [
        ("12", ""),
        ("2", ""),
        ("-1", ""),
        ("nine", ""),
        ("9", "9</dev/null"),
    ] {
        let builder = Sandbox::of("handler() { echo logged >&2; printf on; }");
        let sandbox = with_redirection(builder, "", redirection)
            .env("_LAMBDA_TELEMETRY_LOG_FD", number)
            .start();
        assert_eq!(sandbox.respond("x"), b"on");
        assert_eq!(sandbox.respond("x"), b"on");
        sandbox.api.wait_parked();
        let expected = format!(
            "bootstrap: warn: cannot use _LAMBDA_TELEMETRY_LOG_FD={number}: expected a descriptor above 2 that is open for writing\nlogged\nlogged\n"
        );
        assert_eq!(sandbox.bootstrap.final_log(), expected, "{number}");
    }
}

#[test]
fn invocations_open_no_descriptor_for_frames() {
    let run = FrameSandbox::start(Sandbox::of("handler() { echo logged >&2; return \"$1\"; }"));
    run.sandbox.respond("0");
    run.sandbox.api.wait_parked();
    let before = open_descriptors(run.sandbox.bootstrap.pid());
    for event in ["3", "0", "4", "0"] {
        run.sandbox.invoke(Event::fresh(event));
    }
    run.sandbox.api.wait_parked();
    assert_eq!(open_descriptors(run.sandbox.bootstrap.pid()), before);
}
