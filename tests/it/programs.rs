//! Executables as handlers. Each event gets a new process, which reads the event from standard input and writes the response
//! to standard output.
//!
//! Most executables here run their event as code: `python` runs Python, and `tool`, a copy of bash and so a native binary,
//! runs bash.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::init::fails;
use support::{CONTEXT, Event, LIMIT, Process, Sandbox, SandboxBuilder, excerpt, wait_until};

const PYTHON: &str =
    "#!/usr/bin/env python3\nimport os, signal, sys, time\nexec(sys.stdin.read())\n";
const REPEATS_IN_PYTHON: &str = "#!/usr/bin/python3\nimport shutil, sys\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)\n";
const REPEATS_IN_PERL: &str = "#!/usr/bin/perl\nlocal $/;\nprint <STDIN>;\n";

/// A sandbox whose handler is the executable `name`.
fn sandbox_with(name: &str, content: impl AsRef<[u8]>) -> SandboxBuilder {
    Sandbox::empty().executable(name, content).handler(name)
}

/// An executable that runs its event as Python.
fn python() -> SandboxBuilder {
    sandbox_with("python", PYTHON)
}

/// A copy of a native binary of this machine.
fn binary(name: &str, path: &str) -> SandboxBuilder {
    sandbox_with(name, fs::read(path).expect("a program of the system"))
}

fn message(document: &serde_json::Value) -> &str {
    document["errorMessage"].as_str().expect("a message")
}

#[test]
fn an_executable_may_have_any_name_and_gets_its_event() {
    let cat = fs::read("/bin/cat").expect("cat");
    for (name, content) in [
        ("tool", &cat[..]),
        ("bin/tool", &cat),
        ("tool.x86_64", &cat),
        ("with space", &cat),
        ("it's", &cat),
        ("report.py", REPEATS_IN_PYTHON.as_bytes()),
        ("bin/report.v2.py", REPEATS_IN_PYTHON.as_bytes()),
        ("report", REPEATS_IN_PERL.as_bytes()),
        ("awk.sh", b"#!/usr/bin/awk -f\n{ print }\n"),
        ("sed.handler", b"#! /bin/sed -nf\np\n"),
    ] {
        let sandbox = sandbox_with(name, content).start();
        for event in ["an event", "another\nevent"] {
            let response = sandbox.respond(event);
            assert_eq!(String::from_utf8_lossy(&response), event, "{name}");
        }
    }
    for handler in ["/bin/tool", "./bin/../bin/tool", "bin//tool"] {
        let builder = Sandbox::empty().executable("bin/tool", &cat);
        let sandbox = builder.handler(handler).start();
        assert_eq!(sandbox.respond("x"), b"x", "{handler}");
        let builder = Sandbox::empty().executable("bin/tool", &cat);
        let sandbox = builder.handler("never.named").argument(handler).start();
        assert_eq!(sandbox.respond("x"), b"x", "{handler} as an argument");
    }
}

#[test]
fn the_name_of_an_executable_wins_over_a_function() {
    let function = "handler() { printf 'the function'; }\n";
    let builder = Sandbox::of(function).executable("function.handler", REPEATS_IN_PERL);
    assert_eq!(builder.start().respond("x"), b"x");
}

#[test]
fn an_event_of_any_bytes_is_exact() {
    const MEBIBYTE: usize = 1024 * 1024;
    let text = "{\n  \"k\u{e9}y\": \"%s \\\\ $(id) \u{6f22} * 'q'\",\r\n\n\t\"n\": 1\n}, ";
    let long = |len_bytes| text.bytes().cycle().take(len_bytes).collect::<Vec<u8>>();
    let events = [
        Vec::new(),
        b"\n".to_vec(),
        b"\0".to_vec(),
        b"a\0b\n\0\0c\n\n".to_vec(),
        (0..=255).collect(),
        long(1024),
        long(65_536),
        vec![0; MEBIBYTE],
        long(6 * MEBIBYTE),
        b"short".to_vec(),
        Vec::new(),
    ];
    for builder in [
        binary("tool", "/bin/cat"),
        sandbox_with("report.py", REPEATS_IN_PYTHON),
        sandbox_with("report", REPEATS_IN_PERL),
    ] {
        let sandbox = builder.env("COSHELL_TRAILING_NEWLINES", "keep").start();
        for event in &events {
            let response = sandbox.respond(event);
            assert!(
                response == *event,
                "{}: {}",
                excerpt(event),
                excerpt(&response)
            );
        }
    }
}

#[test]
fn newlines_at_the_end_of_a_response_are_dropped_unless_kept() {
    for (setting, response) in [
        ("", &b"a\n\0"[..]),
        ("strip", b"a\n\0"),
        ("keep", b"a\n\0\n\n"),
    ] {
        let builder = binary("tool", "/bin/cat").env("COSHELL_TRAILING_NEWLINES", setting);
        assert_eq!(builder.start().respond("a\n\0\n\n"), response, "{setting}");
    }
}

#[test]
fn the_only_argument_of_a_program_is_its_path() {
    let show = "import sys; sys.stdout.write(open('/proc/self/cmdline').read())";
    let builder = sandbox_with("bin/python", PYTHON);
    let path = builder.task_root().path().join("bin/python");
    let response = builder.start().respond(show);
    let expected = format!("python3\0{}\0", path.display());
    assert_eq!(String::from_utf8_lossy(&response), expected);
    let builder = binary("bin/tool", "/bin/bash");
    let path = builder.task_root().path().join("bin/tool");
    let response = builder
        .start()
        .respond("cat /proc/$$/cmdline; printf '%s' \"$#\"");
    let expected = format!("{}\x000", path.display());
    assert_eq!(String::from_utf8_lossy(&response), expected);
}

#[test]
fn the_working_directory_of_a_program_is_the_task_root() {
    let builder = sandbox_with("bin/python", PYTHON);
    let root = builder.task_root().path().to_string_lossy().into_owned();
    // Bootstrap itself is started in another directory.
    let bootstrap = support::bootstrap_path();
    let elsewhere = ["bash", "-c", "cd / && exec \"$@\"", "bash", &bootstrap];
    let sandbox = builder.program(&elsewhere).start();
    let response = sandbox.respond("sys.stdout.write(os.getcwd()); os.chdir('/')");
    assert_eq!(String::from_utf8_lossy(&response), root);
    let response =
        sandbox.respond("sys.stdout.write(os.getcwd() + ' ' + os.environ['LAMBDA_TASK_ROOT'])");
    assert_eq!(String::from_utf8_lossy(&response), format!("{root} {root}"));
}

#[test]
fn a_program_has_only_the_three_standard_descriptors() {
    let show = "print(*[fd for fd in range(1024) if os.path.exists(f'/proc/self/fd/{fd}')])";
    let wrapper = "exec 5</dev/null 12<>/dev/null 62</dev/null 200</dev/null; exec \"$@\"";
    let bootstrap = support::bootstrap_path();
    let inheriting = python().program(&["bash", "-c", wrapper, "bash", &bootstrap]);
    for builder in [python(), inheriting] {
        let sandbox = builder.start();
        for _ in 0..2 {
            assert_eq!(sandbox.respond(show), b"0 1 2");
        }
    }
}

#[test]
fn a_program_has_default_signals_and_its_own_process_group() {
    let sandbox = binary("tool", "/bin/bash").start();
    let response = sandbox.respond("exec grep -E 'Sig(Blk|Ign)' /proc/self/status");
    let response = String::from_utf8(response).expect("text");
    let masks = response
        .lines()
        .map(|line| line.split('\t').nth(1).expect("a mask"));
    for mask in masks {
        let mask = u64::from_str_radix(mask, 16).expect("a mask");
        // glibc's posix_spawn leaves its internal signals 32 and 33 ignored.
        assert_eq!(mask & !(3 << 31), 0, "{response}");
    }
    // `kill 0` reaches the program, but not bootstrap.
    let document = sandbox.fail("kill -KILL 0");
    assert_eq!(document["errorType"], "Function.HandlerKilled");
    assert_eq!(sandbox.respond("printf on"), b"on");
}

/// Each variable must be there only once: programs that find it twice disagree about which value counts.
#[test]
fn the_environment_has_exactly_the_context_variables_of_the_event() {
    let show = "grep -zaE '^(LAMBDA_RUNTIME_[A-Z]+_|_X_AMZN)' /proc/$$/environ | sort -z";
    let value = |header: &str| format!("{{\"of\": \"{header}\", \"it's\": \"$(id) \\\" \u{e9}\"}}");
    let stale = |builder: SandboxBuilder| {
        let names = CONTEXT.iter().map(|(name, _)| *name);
        names.fold(builder, |builder, name| builder.env(name, "stale"))
    };
    for builder in [
        binary("tool", "/bin/bash"),
        stale(binary("tool", "/bin/bash")),
    ] {
        let sandbox = builder.start();
        for turn in 0..2 {
            let sent = CONTEXT
                .iter()
                .fold(Event::fresh(show), |event, (_, header)| {
                    event.header(header, &value(header))
                });
            let request_id = format!("sent-{turn}");
            let response = sandbox.respond_to(sent.with_request_id(&request_id));
            let mut expected = CONTEXT.map(|(name, header)| format!("{name}={}\0", value(header)));
            expected[0] = format!("{}={request_id}\0", CONTEXT[0].0);
            expected.sort();
            assert_eq!(String::from_utf8_lossy(&response), expected.concat());
            let request_id = format!("bare-{turn}");
            let response = sandbox.respond_to(Event::bare(&request_id, show));
            let expected = format!("{}={request_id}\0", CONTEXT[0].0);
            assert_eq!(String::from_utf8_lossy(&response), expected);
        }
    }
}

#[test]
fn the_environment_is_passed_on_without_the_variables_of_lambdas_runtime_interface() {
    let builder = python()
        .env("MINE", "a 'b'\n$(id) \\")
        .env("EMPTY", "")
        .env("BASH_ENV", "/no/such/file")
        .env("POSIXLY_CORRECT", "1")
        .env("_LAMBDA_TELEMETRY_LOG_FD", "5");
    let show = "sys.stdout.write('|'.join(os.environ.get(name, 'unset') for name in ['MINE', 'EMPTY', 'BASH_ENV', 'POSIXLY_CORRECT', '_LAMBDA_TELEMETRY_LOG_FD', '_HANDLER', 'AWS_REGION']))";
    let response = builder.start().respond(show);
    assert_eq!(
        String::from_utf8_lossy(&response),
        "a 'b'\n$(id) \\||/no/such/file|1|unset|python|eu-central-1"
    );
}

#[test]
fn each_event_gets_its_own_process() {
    let sandbox = python().start();
    let show = "print(os.getpid(), os.getppid(), os.getpgrp() == os.getpid(), os.environ.get('LEFT')); os.environ['LEFT'] = 'over'; os.umask(0); os.chdir('/')";
    let mut seen = Vec::new();
    for _ in 0..3 {
        let response = String::from_utf8(sandbox.respond(show)).expect("text");
        let fields: Vec<_> = response.split(' ').map(ToOwned::to_owned).collect();
        assert_eq!(
            fields[1..],
            [&sandbox.bootstrap.pid().to_string(), "True", "None"]
        );
        assert!(
            !seen.contains(&fields[0]),
            "{} again, after {seen:?}",
            fields[0]
        );
        seen.push(fields[0].clone());
    }
    sandbox.api.wait_parked();
    assert_eq!(sandbox.bootstrap.processes().len(), 1, "a process is left");
}

// How a program ends

#[test]
fn the_error_has_the_exit_status_and_the_log_of_a_program() {
    let sandbox = python().start();
    for status in [1, 3, 100, 255] {
        let event = format!(
            "print('partial'); print('why it failed', file=sys.stderr); sys.exit({status})"
        );
        let document = sandbox.fail(event);
        assert_eq!(
            document["errorType"], "Function.HandlerExited",
            "{document}"
        );
        assert_eq!(
            message(&document),
            format!("python exited with status {status}\nwhy it failed")
        );
    }
    // The error quotes only the log of its own event.
    let document = sandbox.fail("sys.exit(7)");
    assert_eq!(message(&document), "python exited with status 7");
    let document = sandbox.fail("raise KeyError('name')");
    assert!(
        message(&document).starts_with("python exited with status 1\nTraceback ")
            && message(&document).ends_with("KeyError: 'name'"),
        "{document}"
    );
    assert_eq!(sandbox.respond("print('on')"), b"on");
}

#[test]
fn the_error_names_the_signal_that_killed_a_program() {
    let sandbox = python().start();
    for signal in ["SIGKILL", "SIGSEGV", "SIGTERM", "SIGABRT"] {
        let event = format!(
            "print('its log', file=sys.stderr, flush=True); os.kill(os.getpid(), signal.{signal})"
        );
        let document = sandbox.fail(event);
        assert_eq!(
            document["errorType"], "Function.HandlerKilled",
            "{document}"
        );
        assert_eq!(
            message(&document),
            format!("python killed by {signal}\nits log")
        );
        assert_eq!(sandbox.respond("print('on')"), b"on", "after {signal}");
    }
    // Signals without a name.
    for number in [34, 50, 63] {
        let document = sandbox.fail(format!("os.kill(os.getpid(), {number})"));
        assert_eq!(
            document["errorType"], "Function.HandlerKilled",
            "{document}"
        );
        let expected = format!("python killed by signal {number}");
        assert_eq!(message(&document), expected);
    }
    // This exit status only looks like a signal.
    let document = sandbox.fail("os._exit(137)");
    assert_eq!(
        document["errorType"], "Function.HandlerExited",
        "{document}"
    );
    assert!(message(&document).contains("status 137"), "{document}");
}

#[test]
fn the_log_of_a_program_is_passed_on_at_once_and_in_order() {
    let sandbox = binary("tool", "/bin/bash").start();
    sandbox.task_root.fifo("gate");
    let event =
        "echo first >&2; read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; echo second >&2; printf response";
    sandbox.api.push(Event::new("the-id", event));
    sandbox.bootstrap.wait_log("first\n");
    assert!(sandbox.api.answers("the-id").is_empty());
    sandbox.task_root.release("gate");
    assert_eq!(sandbox.api.wait_answer("the-id").body, b"response");
    sandbox.api.wait_parked();
    assert_eq!(sandbox.bootstrap.final_log(), "first\nsecond\n");
}

#[test]
fn a_large_response_and_a_large_log_at_the_same_time_do_not_block() {
    let sandbox = python().start();
    let event = "for piece in range(5 * 16):\n  os.write(1, b'o' * 65536)\n  os.write(2, (b'e' * 63 + b'\\n') * 1024)\n";
    for _ in 0..2 {
        let response = sandbox.respond(event);
        assert_eq!(response.len(), 5 * 1024 * 1024);
        assert!(
            response.iter().all(|byte| *byte == b'o'),
            "{}",
            excerpt(&response)
        );
    }
    sandbox.api.wait_parked();
    let log = sandbox.bootstrap.final_log();
    assert_eq!(log.len(), 2 * 5 * 1024 * 1024);
}

#[test]
fn a_response_that_is_too_large_is_an_error() {
    let sandbox = python().start();
    let document = sandbox.fail("sys.stdout.write('x' * 6291557)");
    assert_eq!(document["errorType"], "Function.ResponseSizeTooLarge");
    assert!(message(&document).contains("6291557"), "{document}");
    assert_eq!(
        sandbox.respond("sys.stdout.write('x' * 6291556)").len(),
        6_291_556
    );
}

#[test]
fn unread_input_of_a_program_never_reaches_the_next_event() {
    let sandbox = binary("tool", "/bin/true").start();
    for len_bytes in [0, 10, 6 * 1024 * 1024] {
        assert_eq!(sandbox.respond("x".repeat(len_bytes)), b"");
    }
    let sandbox = sandbox_with("head", "#!/usr/bin/awk -f\n{ print; exit }\n").start();
    assert_eq!(sandbox.respond("first\nthe rest of the first"), b"first");
    assert_eq!(sandbox.respond("second\nthe rest of the second"), b"second");
    assert_eq!(sandbox.respond(""), b"");
}

#[test]
fn a_program_that_closes_its_standard_output_may_run_on() {
    let sandbox = python().start();
    sandbox.task_root.fifo("gate");
    for (end, answers) in [("os._exit(0)", "response"), ("os._exit(3)", "error")] {
        let event = format!(
            "os.write(1, b'early'); os.close(1); os.write(2, b'closed\\n')\n\
             open(os.environ['LAMBDA_TASK_ROOT'] + '/gate').readline(); {end}"
        );
        sandbox.api.push(Event::new(answers, event));
        let closed = || sandbox.bootstrap.log().matches("closed\n").count();
        wait_until(|| closed() > usize::from(answers == "error"), LIMIT);
        assert!(
            sandbox.api.answers(answers).is_empty(),
            "{}",
            sandbox.api.transcript()
        );
        sandbox.task_root.release("gate");
        let answer = sandbox.api.wait_answer(answers);
        assert!(answer.path.ends_with(answers), "{}", answer.path);
        if answer.is_response() {
            assert_eq!(answer.body, b"early");
        }
    }
    assert_eq!(
        sandbox.respond("os.close(0); os.close(2); print('on')"),
        b"on"
    );
    assert_eq!(
        sandbox.respond("os.close(0); os.close(1); os.close(2); os._exit(0)"),
        b""
    );
}

#[test]
fn the_output_of_a_program_that_fails_is_not_posted() {
    let sandbox = python().start();
    sandbox.fail("os.write(1, b'x' * 100000); os._exit(1)");
    assert_eq!(sandbox.respond("print('on')"), b"on");
}

// Leftover processes

const LEAVES: &str = r"
if os.fork() == 0:
  open(os.environ['LAMBDA_TASK_ROOT'] + '/gate').readline()
  os.write(1, b'late output\n')
  os.write(2, b'late error\n')
  os._exit(0)
os.write(1, b'in time')
os._exit(0)
";

#[test]
fn a_leftover_process_neither_delays_an_answer_nor_writes_into_one() {
    let sandbox = python().start();
    sandbox.task_root.fifo("gate");
    assert_eq!(sandbox.respond(LEAVES), b"in time");
    sandbox
        .bootstrap
        .wait_log("is still running after its invocation");
    assert_eq!(sandbox.respond("print('second')"), b"second");
    sandbox.task_root.release("gate");
    sandbox.bootstrap.wait_log("late output\n");
    sandbox.bootstrap.wait_log("late error\n");
    assert_eq!(sandbox.respond("print('third')"), b"third");
    let log = sandbox.bootstrap.final_log();
    let lines = Process::bootstrap_lines(&log);
    assert_eq!(lines.len(), 1, "{log}");
    assert!(
        lines[0].starts_with("bootstrap: warn: process ")
            && lines[0].contains(
                "(python3) is still running after its invocation; its output goes to the log"
            ),
        "{log}"
    );
}

/// A filter such as in `exec > >(tee log)` may write just after its program has ended.
#[test]
fn output_of_a_child_just_after_the_end_is_part_of_the_response() {
    let event = "
if os.fork() == 0:
  time.sleep(0.01)
  os.write(1, b' and its child')
  os._exit(0)
os.write(1, b'the program')
os._exit(0)
";
    // On a busy machine the child may be too late, so several sandboxes are tried.
    let is_complete = || {
        let sandbox = python().start();
        let responses: Vec<_> = (0..3).map(|_| sandbox.respond(event)).collect();
        sandbox.api.wait_parked();
        let is_complete = responses
            .iter()
            .all(|response| response == b"the program and its child");
        is_complete && sandbox.bootstrap.final_log().is_empty()
    };
    wait_until(is_complete, LIMIT);
}

#[test]
fn a_leftover_process_that_writes_endlessly_does_not_delay_the_answer() {
    let chatty = "
import sys
print('answer')
sys.stdout.flush()
if os.fork() == 0:
  try:
    while True: os.write(1, b'c')
  except OSError: os._exit(0)
";
    let script = "#!/bin/bash\nif [[ $1 == print* ]]; then printf 'second'; exit; fi\necho answer\n{ while printf c; do :; done 2>/dev/null; } &\n";
    let whole = Sandbox::empty()
        .file("legacy.sh", script)
        .handler("legacy.sh")
        .event_as_argument();
    for builder in [whole, python()] {
        let sandbox = builder.start();
        let answer = sandbox.respond(chatty);
        assert!(
            String::from_utf8_lossy(&answer).contains("answer"),
            "{}",
            excerpt(&answer)
        );
        assert_eq!(sandbox.respond("print('second')"), b"second");
        sandbox
            .bootstrap
            .wait_log("is still running after its invocation");
    }
}

// Files that cannot run

#[test]
fn the_init_error_says_how_to_make_a_file_executable() {
    let cat = fs::read("/bin/cat").expect("cat");
    for (name, content) in [
        ("report.py", PYTHON.as_bytes()),
        ("bin/tool", &cat),
        ("report", b"#!/usr/bin/env python3\n"),
    ] {
        let builder = Sandbox::empty().file(name, content).handler(name);
        let path = builder.task_root().path().join(name).display().to_string();
        let hint = format!("chmod +x {path}");
        fails(builder, "Runtime.HandlerFileNotExecutable", &[name, &hint]);
    }
}

#[test]
fn a_missing_interpreter_is_an_init_error() {
    for first in [
        "#!/no/such/x",
        "#! /no/such/x -o",
        "#!/usr/bin/env no-such-program",
        "#!/usr/bin/env no-such-program -u",
        "#!/bin/env no-such-program",
    ] {
        println!("case: {first}");
        let builder = sandbox_with("report.py", format!("{first}\nprint('on')\n"));
        let parts = ["report.py", first.trim_start_matches(['#', '!', ' '])];
        fails(builder, "Runtime.InterpreterNotFound", &parts);
    }
    // Options of env are not parsed.
    for first in [
        "#!/usr/bin/env -S python3 -u",
        "#!/usr/bin/env -S NAME=value python3",
    ] {
        let sandbox = sandbox_with("report.py", format!("{first}\nprint('on')\n")).start();
        assert_eq!(sandbox.respond("x"), b"on", "{first}");
    }
}

#[test]
fn a_program_for_another_architecture_is_an_init_error() {
    let (machine, name) = match std::env::consts::ARCH {
        "x86_64" => (183, "aarch64"),
        _ => (62, "x86_64"),
    };
    let mut program = vec![0; 64];
    program[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    program[16] = 2;
    program[18] = machine;
    let parts = ["tool", name, std::env::consts::ARCH];
    fails(
        sandbox_with("tool", &program),
        "Runtime.HandlerFileNotExecutable",
        &parts,
    );
}

#[test]
fn windows_line_ends_in_the_first_line_are_an_init_error() {
    for text in [
        "#!/usr/bin/env python3\r\nprint('on')\r\n",
        "#!/usr/bin/python3\r\nprint('on')\n",
    ] {
        let builder = sandbox_with("report.py", text);
        fails(
            builder,
            "Runtime.HandlerFileLineEnds",
            &["report.py", "CR LF"],
        );
    }
}

#[test]
fn an_unsupported_option_of_bash_is_an_init_error() {
    for (first, option) in [
        ("#!/bin/bash -i", "-i"),
        ("#!/bin/bash -c", "-c"),
        ("#!/usr/bin/env -S bash --debugger", "--debugger"),
        ("#!/bin/sh -n", "-n"),
    ] {
        let builder = sandbox_with("report.sh", format!("{first}\necho on\n"));
        fails(builder, "Runtime.UnsupportedOption", &["report.sh", option]);
    }
}

#[test]
fn a_handler_name_that_names_no_file_is_an_init_error() {
    let builder = || Sandbox::empty().file("bin/tool", "").file("lib.d/tool", "");
    let malformed = "Runtime.MalformedHandlerName";
    for (handler, error_type) in [
        ("bin", malformed),
        ("bin/", malformed),
        (".", malformed),
        ("..", malformed),
        ("missing", malformed),
        ("bin/missing", malformed),
        ("lib.d", "Runtime.ImportModuleError"),
        ("report.py", "Runtime.ImportModuleError"),
    ] {
        println!("case: {handler}");
        fails(builder().handler(handler), error_type, &[handler]);
    }
}

/// Makes a file unusable (`true`) or usable again (`false`).
type Change<'a> = &'a dyn Fn(&PathBuf, bool);

/// The file exists during the init, but not when an event comes.
#[test]
fn a_program_that_is_gone_is_an_error_until_it_is_back() {
    let rename = |path: &PathBuf, is_gone: bool| {
        let aside = path.with_extension("aside");
        let (from, to) = if is_gone {
            (path, &aside)
        } else {
            (&aside, path)
        };
        fs::rename(from, to).expect("cannot rename");
    };
    let forbid = |path: &PathBuf, is_forbidden: bool| {
        let mode = if is_forbidden { 0o644 } else { 0o755 };
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
    };
    let ways: [(&str, Change); 2] = [("No such file", &rename), ("Permission denied", &forbid)];
    for (cause, change) in ways {
        let sandbox = python().start();
        let path = sandbox.task_root.path().join("python");
        assert_eq!(sandbox.respond("print('on')"), b"on");
        for _ in 0..2 {
            change(&path, true);
            let document = sandbox.fail("print('on')");
            assert_eq!(
                document["errorType"], "Function.HandlerNotStarted",
                "{document}"
            );
            let message = message(&document);
            assert!(
                message.contains("python") && message.contains(cause),
                "{document}"
            );
            change(&path, false);
            assert_eq!(sandbox.respond("print('on')"), b"on");
        }
        sandbox.bootstrap.signal(Signal::SIGTERM);
        sandbox.bootstrap.wait_clean_exit(LIMIT);
    }
}
