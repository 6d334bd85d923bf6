//! Shutdown: after SIGTERM the running invocation is answered, `lambda_shutdown` runs, and no process is left.
//!
//! Lambda sends SIGTERM only to sandboxes with a registered extension, and kills everything half a second later.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};

use support::{
    Call, Event, Gate, LIMIT, Midway, Process, Reply, Sandbox, SandboxBuilder, as_pid,
    bootstrap_path, children, wait_until, zombies,
};

/// The time between Lambda's SIGTERM and SIGKILL.
const LAMBDA_LIMIT: Duration = Duration::from_millis(500);
const ISOLATIONS: [&str; 3] = ["none", "subshell", "process"];

/// The hook writes to the file `ended`.
const FUNCTION: &str = r#"
ended=$LAMBDA_TASK_ROOT/ended
lambda_shutdown() { echo shutdown >>"$ended"; }
handler() { printf 'healthy %s' "$1"; }
"#;

/// Sends SIGTERM to an idle bootstrap, which must end cleanly and post nothing. Returns its log.
#[track_caller]
fn terminate_idle(sandbox: &Sandbox) -> String {
    sandbox.api.wait_parked();
    let answers = posts(sandbox).len();
    sandbox.bootstrap.signal(Signal::SIGTERM);
    let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
    assert_eq!(
        posts(sandbox).len(),
        answers,
        "{}",
        sandbox.api.transcript()
    );
    log
}

/// All requests except `GET next` and those of the extension.
fn posts(sandbox: &Sandbox) -> Vec<Call> {
    let mut calls = sandbox.api.calls();
    calls.retain(|call| {
        !call.is_next() && !call.is_extension_register() && !call.is_extension_next()
    });
    calls
}

fn count(calls: &[Call], is: fn(&Call) -> bool) -> usize {
    calls.iter().filter(|call| is(call)).count()
}

/// Starts an invocation, and waits until its handler has created the file `begun`.
#[track_caller]
fn begin(sandbox: &Sandbox, request_id: &str, event: &str) {
    sandbox.api.push(Event::new(request_id, event));
    wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
}

// Registration

#[test]
fn an_extension_is_registered_before_the_first_next_if_the_file_defines_lambda_shutdown() {
    for isolation in ISOLATIONS {
        let sandbox = Sandbox::of(FUNCTION)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        // The extension requests an event that never comes.
        assert_eq!(sandbox.respond("x"), b"healthy x");
        let has_requested = || sandbox.api.calls().iter().any(Call::is_extension_next);
        wait_until(has_requested, LIMIT);
        let calls = sandbox.api.calls();
        let find = |is: fn(&Call) -> bool| calls.iter().position(is).expect("a call");
        let (register, next) = (
            find(Call::is_extension_register),
            find(Call::is_extension_next),
        );
        assert!(
            register < find(Call::is_next),
            "{}",
            sandbox.api.transcript()
        );
        let (register, next) = (&calls[register], &calls[next]);
        let name = register.header("Lambda-Extension-Name").unwrap_or_default();
        assert!(!name.is_empty(), "{register:?}");
        let body: serde_json::Value = serde_json::from_slice(&register.body).expect("JSON");
        assert_eq!(body, serde_json::json!({"events": []}));
        assert_eq!(
            next.header("Lambda-Extension-Identifier"),
            Some("an-identifier")
        );
        let on_its_connection = calls
            .iter()
            .filter(|call| call.connection == next.connection);
        assert_eq!(on_its_connection.count(), 1, "{}", sandbox.api.transcript());
    }
}

#[test]
fn the_extension_is_registered_once_even_if_the_shell_is_replaced() {
    let script = format!("{FUNCTION}\nhandler() {{ [[ $1 != die ]] || kill -9 $$; }}");
    let sandbox = Sandbox::of(&script).start();
    for _ in 0..2 {
        sandbox.fail("die");
        sandbox.respond("x");
    }
    let calls = sandbox.api.calls();
    assert_eq!(count(&calls, Call::is_extension_register), 1);
    terminate_idle(&sandbox);
    assert_eq!(sandbox.task_root.read("ended"), "shutdown\n");
}

#[test]
fn no_extension_is_registered_without_lambda_shutdown() {
    let function = "lambda_shutdown=variable\nhandler() { lambda_shutdown; }\n";
    let script = "lambda_shutdown() { :; }\nprintf 'healthy %s' \"$1\"\n";
    for builder in [
        Sandbox::of("handler() { printf 'healthy %s' \"$1\"; }"),
        Sandbox::of(function),
        whole_script(script),
        executable("print('healthy')"),
    ] {
        let sandbox = builder.start();
        sandbox.invoke(Event::fresh("x"));
        sandbox.api.wait_parked();
        let calls = sandbox.api.calls();
        let transcript = sandbox.api.transcript();
        assert_eq!(
            count(&calls, Call::is_extension_register),
            0,
            "{transcript}"
        );
        assert_eq!(count(&calls, Call::is_extension_next), 0, "{transcript}");
    }
}

#[test]
fn a_rejected_registration_is_a_warning() {
    let refused = r#"{"errorMessage":"Too late","errorType":"Extension.RegistrationClosed"}"#;
    for (reply, cause) in [
        (Reply::Status(403, refused.to_owned()), "registrationclosed"),
        (Reply::Status(500, String::new()), "500"),
        (
            Reply::Status(200, "{}".to_owned()),
            "lambda-extension-identifier",
        ),
        (Reply::StatusThenClose(403, refused.to_owned()), "403"),
        (Reply::Close, ""),
        (Reply::Raw(b"no HTTP\r\n\r\n".to_vec()), ""),
    ] {
        println!("case: {reply:?}");
        let builder = Sandbox::of(FUNCTION);
        builder.api().reply_to_extension(reply);
        let sandbox = builder.start();
        assert_eq!(sandbox.respond("x"), b"healthy x");
        assert_eq!(sandbox.respond("y"), b"healthy y");
        // The signal may still come, from something other than Lambda.
        let log = terminate_idle(&sandbox);
        let lines = Process::bootstrap_lines(&log);
        assert_eq!(lines.len(), 1, "{log}");
        assert!(
            lines[0].starts_with("bootstrap: warn: cannot register for SIGTERM, ")
                && lines[0].to_lowercase().contains(cause),
            "{log}"
        );
        assert_eq!(count(&sandbox.api.calls(), Call::is_extension_next), 0);
        assert_eq!(sandbox.task_root.read("ended"), "shutdown\n");
    }
}

// Between events

#[test]
fn lambda_shutdown_runs_once_and_then_the_exit_trap_of_the_file() {
    let script = r#"
ended=$LAMBDA_TASK_ROOT/ended
trap 'echo trap >>"$ended"; echo "the trap" >&2' EXIT
lambda_shutdown() {
  while read -r line; do echo "read $line" >>"$ended"; done
  echo "shutdown $#" >>"$ended"
  echo 'on stdout'
  echo 'on stderr' >&2
}
handler() { printf 'healthy'; }
"#;
    for isolation in ISOLATIONS {
        for (signal, to_group) in [
            (Signal::SIGTERM, false),
            (Signal::SIGINT, false),
            (Signal::SIGTERM, true),
        ] {
            for event_count in [0, 2] {
                println!("case: {isolation}, {signal}, {to_group}, after {event_count}");
                let sandbox = Sandbox::of(script)
                    .env("COSHELL_ISOLATION", isolation)
                    .start();
                for _ in 0..event_count {
                    sandbox.respond("an event");
                }
                sandbox.api.wait_parked();
                let process = as_pid(sandbox.bootstrap.pid());
                let sent = if to_group {
                    killpg(process, signal)
                } else {
                    kill(process, signal)
                };
                sent.expect("cannot send a signal");
                let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
                let ended = sandbox.task_root.read("ended");
                assert_eq!(ended, "shutdown 0\ntrap\n", "{log}");
                for line in ["on stdout\n", "on stderr\n", "the trap\n"] {
                    assert_eq!(log.matches(line).count(), 1, "{line:?} in:\n{log}");
                }
                assert_eq!(Process::bootstrap_lines(&log), [""; 0]);
                assert_eq!(posts(&sandbox).len(), event_count);
            }
        }
    }
}

#[test]
fn the_output_of_the_exit_trap_of_the_file_is_logged() {
    let script = "trap 'echo \"trap on stdout\"' EXIT\nhandler() { :; }\n";
    for isolation in ISOLATIONS {
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        sandbox.respond("x");
        assert_eq!(terminate_idle(&sandbox), "trap on stdout\n", "{isolation}");
    }
}

#[test]
fn log_records_of_lambda_shutdown_have_no_request_id() {
    let script = "lambda_shutdown() { echo 'at the end' >&2; return 3; }\nhandler() { :; }\n";
    let sandbox = Sandbox::of(script)
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .start();
    sandbox.respond("x");
    let log = terminate_idle(&sandbox);
    let records: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(records.len(), 2, "{log}");
    assert!(
        records
            .iter()
            .any(|record| record["message"] == "at the end"),
        "{log}"
    );
    assert!(
        records.iter().all(|record| record["requestId"].is_null()),
        "{log}"
    );
}

#[test]
fn the_exit_trap_of_the_file_runs_without_lambda_shutdown_too() {
    for isolation in ISOLATIONS {
        let script = "trap 'echo trap >>\"$LAMBDA_TASK_ROOT/ended\"' EXIT\nhandler() { :; }\n";
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        sandbox.respond("x");
        let log = terminate_idle(&sandbox);
        assert_eq!(sandbox.task_root.read("ended"), "trap\n", "{isolation}");
        assert_eq!(log, "");
    }
}

#[test]
fn lambda_shutdown_runs_even_if_the_file_traps_sigterm() {
    for trap in [
        "''",
        "'echo term >>\"$ended\"'",
        "'echo term >>\"$ended\"; exit 3'",
    ] {
        let sandbox = Sandbox::of(&format!("{FUNCTION}\ntrap {trap} TERM\n")).start();
        sandbox.respond("x");
        terminate_idle(&sandbox);
        assert!(
            sandbox.task_root.read("ended").starts_with("shutdown\n"),
            "{trap}"
        );
    }
}

/// Even a process that ignores SIGTERM is ended.
#[test]
fn no_leftover_process_survives_the_shutdown() {
    let leave = r#"
leave() {
  exec </dev/null >/dev/null 2>&1
  sleep 600 &
  (sleep 600 &)
  setsid sleep 600 &
  (setsid bash -c 'sleep 600 & wait' &)
  bash -c 'trap "" TERM HUP; : >"$LAMBDA_TASK_ROOT/stubborn"; while :; do sleep 600; done' &
  until [[ -e $LAMBDA_TASK_ROOT/stubborn ]]; do sleep 0.01; done
  sleep 600 &
  until [[ $(<"/proc/$!/comm") == sleep ]]; do :; done
  kill -STOP $!
}
"#;
    let function = format!("{leave}\nhandler() {{ (leave); }}\n");
    let with_shutdown = format!("{function}\nlambda_shutdown() {{ :; }}\n");
    for builder in [
        Sandbox::of(&function),
        Sandbox::of(&with_shutdown),
        Sandbox::of(&with_shutdown).env("COSHELL_ISOLATION", "subshell"),
        Sandbox::of(&with_shutdown).env("COSHELL_ISOLATION", "process"),
        whole_script(&format!("{leave}\n(leave)")),
        executable(&python_that_runs_bash(&format!("{leave}\n(leave)"))),
    ] {
        let sandbox = builder.start();
        sandbox.respond("x");
        sandbox.api.wait_parked();
        // Before execve a process is still called bash.
        let is_sleep = |command: &&String| command.starts_with("sleep 600");
        let sleeping = || {
            sandbox
                .bootstrap
                .processes()
                .values()
                .filter(is_sleep)
                .count()
        };
        wait_until(|| sleeping() == 6, LIMIT);
        terminate_idle(&sandbox);
    }
}

#[test]
fn bootstrap_ends_cleanly_whatever_lambda_shutdown_does() {
    for (body, has_warning, has_trap) in [
        ("return 3", true, true),
        ("false", true, true),
        (
            "nested() { exit 4; }; nested; echo never >>\"$ended\"",
            true,
            true,
        ),
        (
            "nested() { exit 0; }; nested; echo never >>\"$ended\"",
            false,
            true,
        ),
        ("printf '%s' \"$never_set\"", true, true),
        ("kill -9 $$", true, false),
        ("kill $$", true, true),
        ("exec false", true, false),
        ("no_such_command", true, true),
        ("echo $((1 / 0))", true, true),
        ("sleep 600", true, true),
        ("sleep 600 & wait", true, true),
        ("(sleep 600 &)", false, true),
        ("while :; do :; done", true, true),
        ("trap '' TERM INT; while :; do :; done", true, false),
        ("read -r _ < <(sleep 600)", true, true),
        ("cat", false, true),
        (
            "exec >&- 2>&-; for fd in {3..255}; do eval \"exec $fd>&-\"; done",
            true,
            true,
        ),
    ] {
        let script = format!(
            "ended=$LAMBDA_TASK_ROOT/ended\ntrap 'echo trap >>\"$ended\"' EXIT\n\
             lambda_shutdown() {{ echo shutdown >>\"$ended\"; {body}; }}\nhandler() {{ printf on; }}\n"
        );
        let expected = if has_trap {
            "shutdown\ntrap\n"
        } else {
            "shutdown\n"
        };
        // Lambda's half second may be too short on a busy machine, so several sandboxes are tried.
        let is_clean = || {
            let sandbox = Sandbox::of(&script).start();
            assert_eq!(sandbox.respond("x"), b"on");
            let log = terminate_idle(&sandbox);
            let ended = sandbox.task_root.read("ended");
            println!("case: {body}: {ended:?}\n{log}");
            let lines = Process::bootstrap_lines(&log);
            let is_warning = |line: &&str| line.starts_with("bootstrap: warn: lambda_shutdown ");
            ended == expected
                && lines.len() == usize::from(has_warning)
                && lines.iter().all(is_warning)
        };
        wait_until(is_clean, LIMIT);
    }
}

#[test]
fn lambda_shutdown_sees_variables_of_handlers_only_without_isolation() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    let script = r#"
count=0
lambda_shutdown() { echo "$count" >"$LAMBDA_TASK_ROOT/ended"; }
handler() { count=$((count + 1)); }
"#;
    for (isolation, count) in [
        ("none", "2\n"),
        ("restore", "0\n"),
        ("subshell", "0\n"),
        ("process", "0\n"),
    ] {
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        sandbox.respond("x");
        sandbox.respond("x");
        terminate_idle(&sandbox);
        assert_eq!(sandbox.task_root.read("ended"), count, "{isolation}");
    }
}

/// The state of the shell is restored before the end, as it is before the next invocation.
#[test]
fn lambda_shutdown_finds_the_state_that_the_file_set_up() {
    let script = r#"
trap 'echo "trap of the file" >>"$ended"' EXIT
ended=$LAMBDA_TASK_ROOT/ended
lambda_shutdown() {
  printf '%q %s %s %s\n' "$IFS" "${PWD#"$LAMBDA_TASK_ROOT"}" "$(umask)" "${-//[^fu]/}" >>"$ended"
  trap -p TERM USR1 >>"$ended"
  echo 'on stderr' >&2
}
handler() {
  if [[ $1 == change ]]; then
    IFS=x
    cd /
    umask 077
    set -f
    set +u
    trap 'echo "trap of the handler"' EXIT
    trap '' TERM
    trap 'echo usr1' USR1
    exec 2>/dev/null
  fi
}
"#;
    for _ in 0..10 {
        let sandbox = Sandbox::of(script).start();
        let log = {
            sandbox.respond("x");
            assert_eq!(sandbox.respond("change"), b"trap of the handler");
            terminate_idle(&sandbox)
        };
        let ended = sandbox.task_root.read("ended");
        assert_eq!(ended, "$' \\t\\n'  0022 u\ntrap of the file\n", "{log}");
        assert!(log.contains("on stderr\n"), "{log}");
    }
}

#[test]
fn a_second_signal_changes_nothing() {
    let script = r#"
ended=$LAMBDA_TASK_ROOT/ended
lambda_shutdown() {
  echo begun >>"$ended"
  read -r _ <"$LAMBDA_TASK_ROOT/gate"
  echo done >>"$ended"
}
handler() { :; }
"#;
    let sandbox = Sandbox::of(script).start();
    sandbox.task_root.fifo("gate");
    sandbox.respond("x");
    sandbox.api.wait_parked();
    sandbox.bootstrap.signal(Signal::SIGTERM);
    wait_until(|| sandbox.task_root.exists("ended"), LIMIT);
    sandbox.bootstrap.signal(Signal::SIGTERM);
    sandbox.bootstrap.signal(Signal::SIGINT);
    sandbox.task_root.release("gate");
    let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
    assert_eq!(sandbox.task_root.read("ended"), "begun\ndone\n", "{log}");
    let sandbox = Sandbox::of(FUNCTION).start();
    sandbox.api.wait_parked();
    for _ in 0..3 {
        sandbox.bootstrap.signal(Signal::SIGTERM);
    }
    sandbox.bootstrap.wait_clean_exit(LIMIT);
    assert_eq!(sandbox.task_root.read("ended"), "shutdown\n");
}

/// Both may happen at once, when the whole sandbox goes down.
#[test]
fn bootstrap_ends_cleanly_if_the_runtime_api_is_gone_at_the_signal() {
    for builder in [
        Sandbox::of(FUNCTION),
        whole_script("echo on"),
        executable("print('on')"),
    ] {
        let sandbox = builder.start();
        sandbox.respond("x");
        sandbox.api.wait_parked();
        let is_function = sandbox.task_root.exists("function.sh");
        sandbox.bootstrap.signal(Signal::SIGSTOP);
        sandbox.api.shut_down();
        sandbox.bootstrap.signal(Signal::SIGTERM);
        sandbox.bootstrap.signal(Signal::SIGCONT);
        let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
        let expected = if is_function { "shutdown\n" } else { "" };
        assert_eq!(sandbox.task_root.read("ended"), expected, "{log}");
    }
}

// During an invocation

/// A handler of each kind that runs `lines` in bash. The functions have `lambda_shutdown`.
fn handlers(lines: &str) -> Vec<(String, SandboxBuilder)> {
    let function = format!("{FUNCTION}\nhandler() {{\n{lines}\n}}\n");
    let function = |isolation: &str| {
        let builder = Sandbox::of(&function).env("COSHELL_ISOLATION", isolation);
        (format!("function, {isolation}"), builder)
    };
    let mut kinds: Vec<_> = ISOLATIONS.into_iter().map(function).collect();
    kinds.push(("script".to_owned(), whole_script(lines)));
    kinds.push((
        "executable".to_owned(),
        executable(&python_that_runs_bash(lines)),
    ));
    kinds
}

/// Python code that runs `lines` in bash.
fn python_that_runs_bash(lines: &str) -> String {
    format!("import os\nos.execvp('bash', ['bash', '-c', r'''{lines}'''])")
}

fn whole_script(text: &str) -> SandboxBuilder {
    Sandbox::empty()
        .file("legacy.sh", format!("#!/bin/bash\n{text}\n"))
        .handler("legacy.sh")
        .event_as_argument()
}

fn executable(python: &str) -> SandboxBuilder {
    Sandbox::empty()
        .executable("tool", format!("#!/usr/bin/env python3\n{python}\n"))
        .handler("tool")
        .event_as_argument()
}

#[test]
fn a_handler_that_ends_soon_after_the_signal_is_answered_with_its_response() {
    let lines = r#"
: >"$LAMBDA_TASK_ROOT/begun"
read -r _ <"$LAMBDA_TASK_ROOT/gate"
printf 'in time'
"#;
    for (kind, builder) in handlers(lines) {
        println!("case: {kind}");
        let sandbox = builder.start();
        sandbox.task_root.fifo("gate");
        begin(&sandbox, "the-id", "x");
        sandbox.bootstrap.signal(Signal::SIGTERM);
        sandbox.task_root.release("gate");
        let answer = sandbox.api.wait_answer("the-id");
        assert!(answer.is_response(), "{}", sandbox.api.transcript());
        assert_eq!(answer.body, b"in time");
        let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
        assert_eq!(sandbox.api.next_count(), 1, "another event was requested");
        let is_function = kind.starts_with("function");
        let expected = if is_function { "shutdown\n" } else { "" };
        assert_eq!(sandbox.task_root.read("ended"), expected, "{log}");
        assert_eq!(log, "");
    }
}

#[test]
fn a_handler_that_hangs_at_the_signal_is_stopped_and_answered_with_an_error() {
    for hang in [
        "read -r _ <\"$LAMBDA_TASK_ROOT/gate\"",
        "sleep 600",
        "sleep 600 | cat",
        "while :; do :; done",
        "trap '' TERM; while :; do sleep 600; done",
        "setsid sleep 600 & wait",
    ] {
        let lines = format!("echo 'its log' >&2\n: >\"$LAMBDA_TASK_ROOT/begun\"\n{hang}\n");
        for (kind, builder) in handlers(&lines) {
            println!("case: {kind}, {hang}");
            let sandbox = builder.start();
            sandbox.task_root.fifo("gate");
            begin(&sandbox, "the-id", "x");
            sandbox.bootstrap.signal(Signal::SIGTERM);
            let answer = sandbox.api.wait_answer("the-id");
            assert!(answer.is_error(), "{}", sandbox.api.transcript());
            let document = answer.error_document();
            assert_eq!(document["errorType"], "Function.Stopped", "{document}");
            let message = document["errorMessage"].as_str().unwrap_or_default();
            assert!(
                message.contains("stopped") && message.contains("\nits log"),
                "{message}"
            );
            let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
            assert_eq!(sandbox.api.answers("the-id").len(), 1);
            assert_eq!(sandbox.api.next_count(), 1, "another event was requested");
            assert!(
                log.contains("bootstrap: error: Function.Stopped: "),
                "{log}"
            );
            // If the shell itself was stopped, a fresh one runs lambda_shutdown.
            let is_function = kind.starts_with("function");
            let ended = if is_function { "shutdown\n" } else { "" };
            assert_eq!(sandbox.task_root.read("ended"), ended, "{log}");
            assert!(!log.contains("lambda_shutdown"), "{log}");
        }
    }
}

/// Starts a handler of each kind that runs `lines`, with a long margin before the deadline, until the time that `measure`
/// returns is less than Lambda's limit. On a busy machine several tries may be needed.
fn assert_in_time(lines: &str, measure: fn(&Sandbox) -> Duration) {
    for number in 0..handlers(lines).len() {
        let is_in_time = || {
            let (kind, builder) = handlers(lines).swap_remove(number);
            let sandbox = builder.env("COSHELL_DEADLINE_MARGIN_MS", "2000").start();
            begin(&sandbox, "the-id", "x");
            let time = measure(&sandbox);
            println!("{kind}: {time:?}");
            time < LAMBDA_LIMIT
        };
        wait_until(is_in_time, LIMIT);
    }
}

#[test]
fn a_stubborn_handler_is_answered_before_lambda_kills_the_sandbox() {
    let lines = "trap '' TERM\n: >\"$LAMBDA_TASK_ROOT/begun\"\nwhile :; do sleep 600; done\n";
    assert_in_time(lines, |sandbox| {
        let signalled = Instant::now();
        sandbox.bootstrap.signal(Signal::SIGTERM);
        let answer = sandbox.api.wait_answer("the-id");
        let time = signalled.elapsed();
        assert_eq!(answer.error_document()["errorType"], "Function.Stopped");
        sandbox.bootstrap.wait_clean_exit(LIMIT);
        time
    });
}

#[test]
fn stubborn_leftover_processes_are_ended_before_lambda_kills_the_sandbox() {
    let lines = r#"
(bash -c 'trap "" TERM; : >"$LAMBDA_TASK_ROOT/begun"; while :; do sleep 600; done' </dev/null >/dev/null 2>&1 &)
"#;
    assert_in_time(lines, |sandbox| {
        sandbox.api.wait_answer("the-id");
        sandbox.api.wait_parked();
        let signalled = Instant::now();
        sandbox.bootstrap.signal(Signal::SIGTERM);
        sandbox.bootstrap.wait_clean_exit(LIMIT);
        signalled.elapsed()
    });
}

#[test]
fn an_answer_that_is_being_posted_at_the_signal_arrives() {
    // Where the machine is too busy for the reply to come soon, bootstrap does not wait for it.
    let is_confirmed = || {
        let sandbox = Sandbox::of(FUNCTION).start();
        let gate = Gate::new();
        sandbox.api.reply(Reply::Late(gate.clone()));
        sandbox.api.push(Event::new("the-id", "x"));
        sandbox.api.wait_answer("the-id");
        sandbox.bootstrap.signal(Signal::SIGTERM);
        gate.open();
        let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
        assert_eq!(sandbox.api.answers("the-id").len(), 1);
        assert_eq!(sandbox.task_root.read("ended"), "shutdown\n", "{log}");
        log.is_empty()
    };
    wait_until(is_confirmed, LIMIT);
}

/// The Runtime API reads the answer and does not reply, or does not read it.
#[test]
fn bootstrap_does_not_wait_for_the_reply_to_its_answer_after_the_signal() {
    // More than the system takes at once.
    let large = "handler() { printf '%06000000d' 0; }";
    for lanes in [1, 2] {
        for handler in ["", large] {
            let builder = Sandbox::of(&format!("{FUNCTION}\n{handler}\n"));
            let sandbox = builder.lanes(lanes).start();
            let gate = Gate::new();
            sandbox.api.reply(if handler.is_empty() {
                Reply::Late(gate.clone())
            } else {
                Reply::Midway(0, Midway::Stop(gate.clone()))
            });
            sandbox.api.push(Event::new("the-id", "x"));
            if handler.is_empty() {
                sandbox.api.wait_answer("the-id");
            } else {
                sandbox.api.wait_partial_answer("the-id", |_| true);
            }
            sandbox.bootstrap.signal(Signal::SIGTERM);
            // The gate stays closed until then.
            let log = sandbox.bootstrap.wait_clean_exit(LIMIT / 2);
            gate.open();
            assert!(log.contains("io: timed out"), "{log}");
            let ended = sandbox.task_root.read("ended");
            assert_eq!(ended, "shutdown\n".repeat(lanes), "{log}");
        }
    }
}

#[test]
fn bootstrap_ends_cleanly_if_the_runtime_api_is_gone_during_an_invocation() {
    let lines = r#"
sleep 600 </dev/null >/dev/null 2>&1 &
: >"$LAMBDA_TASK_ROOT/begun"
read -r _ <"$LAMBDA_TASK_ROOT/gate"
"#;
    for (kind, builder) in handlers(lines) {
        println!("case: {kind}");
        let sandbox = builder.start();
        sandbox.task_root.fifo("gate");
        begin(&sandbox, "the-id", "x");
        sandbox.api.shut_down();
        sandbox.bootstrap.signal(Signal::SIGTERM);
        sandbox.task_root.release("gate");
        let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
        if kind.starts_with("function") {
            assert_eq!(sandbox.task_root.read("ended"), "shutdown\n", "{log}");
        }
    }
}

// During the init

#[test]
fn a_signal_during_the_init_causes_no_init_error() {
    for body in [
        "sleep 600",
        "read -r _ <\"$LAMBDA_TASK_ROOT/gate\"",
        "while :; do :; done",
        "setsid bash -c 'trap \"\" TERM; sleep 600' & wait",
    ] {
        println!("case: {body}");
        let script = format!("{FUNCTION}\n: >\"$LAMBDA_TASK_ROOT/begun\"\n{body}\n");
        let builder = Sandbox::of(&script);
        builder.task_root().fifo("gate");
        let sandbox = builder.start();
        wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
        sandbox.bootstrap.signal(Signal::SIGTERM);
        let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
        assert!(
            sandbox.api.calls().is_empty(),
            "{}",
            sandbox.api.transcript()
        );
        assert_eq!(Process::bootstrap_lines(&log), [""; 0]);
    }
}

/// Bootstrap has no limit of its own for the start of bash.
#[test]
fn a_signal_while_bash_starts_causes_no_init_error() {
    // This wrapper must not be bash, which would read the commands for the real bash.
    let slow = "#!/bin/sh\n[ \"$1\" != -n ] || exec /bin/bash \"$@\"\n: >\"$LAMBDA_TASK_ROOT/begun\"\nsleep 600\n";
    for builder in [Sandbox::of(FUNCTION), whole_script("echo on")] {
        let bash = builder.task_root().write_program("bash", slow);
        let sandbox = builder.env("COSHELL_BASH", bash.to_string_lossy()).start();
        wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
        sandbox.bootstrap.signal(Signal::SIGTERM);
        let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
        assert!(
            sandbox.api.calls().is_empty(),
            "{}",
            sandbox.api.transcript()
        );
        assert_eq!(log, "");
    }
}

#[test]
fn an_init_that_ends_soon_after_the_signal_is_completed() {
    let script = format!(
        "{FUNCTION}\n: >\"$LAMBDA_TASK_ROOT/begun\"\nread -r _ <\"$LAMBDA_TASK_ROOT/gate\"\n"
    );
    let builder = Sandbox::of(&script);
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
    sandbox.bootstrap.signal(Signal::SIGTERM);
    sandbox.task_root.release("gate");
    let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
    assert_eq!(posts(&sandbox).len(), 0, "{}", sandbox.api.transcript());
    assert_eq!(log, "");
}

/// Lambda gives the event to another sandbox.
#[test]
fn bootstrap_ends_cleanly_while_an_event_arrives() {
    let sandbox = Sandbox::of(FUNCTION).start();
    let gate = Gate::new();
    sandbox
        .api
        .push(Event::new("the-id", "an event").stall_after(3, &gate));
    wait_until(|| sandbox.api.next_count() == 1, LIMIT);
    sandbox.bootstrap.signal(Signal::SIGTERM);
    let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
    gate.open();
    assert_eq!(sandbox.task_root.read("ended"), "shutdown\n", "{log}");
    assert_eq!(posts(&sandbox).len(), 0);
}

#[test]
fn bootstrap_ends_cleanly_while_a_shell_is_replaced() {
    let script = r#"
if [[ -e $LAMBDA_TASK_ROOT/again ]]; then
  : >"$LAMBDA_TASK_ROOT/begun"
  sleep 600
fi
handler() { : >"$LAMBDA_TASK_ROOT/again"; kill -9 $$; }
"#;
    let sandbox = Sandbox::of(script).start();
    sandbox.fail("x");
    wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
    sandbox.bootstrap.signal(Signal::SIGTERM);
    let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
    assert_eq!(posts(&sandbox).len(), 1, "{log}");
    assert!(!log.contains("bootstrap: fatal"), "{log}");
}

#[test]
fn an_event_whose_shell_is_still_loading_at_the_signal_is_answered_with_an_error() {
    let script = format!(
        "{FUNCTION}\nif [[ -e $LAMBDA_TASK_ROOT/slow ]]; then : >\"$LAMBDA_TASK_ROOT/begun\"; sleep 600; fi\n"
    );
    for isolation in ISOLATIONS {
        let sandbox = Sandbox::of(&script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        sandbox.respond("x");
        sandbox.api.wait_parked();
        sandbox.task_root.write("slow", "");
        sandbox.bootstrap.kill_shell();
        begin(&sandbox, "the-id", "x");
        sandbox.bootstrap.signal(Signal::SIGTERM);
        let document = sandbox.api.wait_answer("the-id").error_document();
        assert_eq!(document["errorType"], "Function.Stopped", "{document}");
        let message = document["errorMessage"].as_str().unwrap_or_default();
        assert!(message.contains("was not started: loading "), "{message}");
        sandbox.bootstrap.wait_clean_exit(LIMIT);
    }
}

// Scripts and executables

#[test]
fn bootstrap_ends_cleanly_between_events_of_scripts_and_executables() {
    for event_count in [0, 2] {
        for builder in [whole_script("echo on"), executable("print('on')")] {
            let sandbox = builder.start();
            for _ in 0..event_count {
                assert_eq!(sandbox.respond("x"), b"on");
            }
            assert_eq!(terminate_idle(&sandbox), "");
        }
    }
}

// As process 1

/// Runs bootstrap as process 1 of a new pid namespace, as in a container.
fn as_first_process(builder: SandboxBuilder) -> SandboxBuilder {
    let is_root = fs::metadata("/proc/self").expect("/proc").uid() == 0;
    let mut argv = vec!["unshare", "--mount", "--pid", "--fork", "--kill-child"];
    // Other users become root in a user namespace.
    argv.extend((!is_root).then_some("--map-root-user"));
    let setup = "mount --make-rprivate / && mount -t proc proc /proc && exec \"$@\"";
    let bootstrap = bootstrap_path();
    argv.extend(["bash", "-c", setup, "bash", &bootstrap]);
    builder.program(&argv)
}

/// The pid of the process that `unshare` started, which is bootstrap by the time that it requests an event.
fn first_process(sandbox: &Sandbox) -> u32 {
    sandbox.api.wait_parked();
    let [first] = children(sandbox.bootstrap.pid())[..] else {
        panic!("not one child: {:?}", sandbox.bootstrap.processes());
    };
    first
}

#[test]
fn bootstrap_handles_the_signal_as_process_1() {
    let script =
        format!("{FUNCTION}\nhandler() {{ printf '%s' \"$PPID\"; (setsid sleep 600 &) >&2; }}");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = as_first_process(Sandbox::of(&script)).start();
        assert_eq!(sandbox.respond("x"), b"1");
        let first = first_process(&sandbox);
        kill(as_pid(first), signal).expect("cannot send a signal");
        let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
        assert_eq!(sandbox.task_root.read("ended"), "shutdown\n", "{log}");
    }
}

#[test]
fn bootstrap_reaps_orphans_as_process_1() {
    let script = r#"handler() { ({ read -r _ <"$LAMBDA_TASK_ROOT/gate"; } </dev/null >&2 &); }"#;
    let sandbox = as_first_process(Sandbox::of(script)).start();
    sandbox.task_root.fifo("gate");
    let first = first_process(&sandbox);
    let before = children(first).len();
    sandbox.respond("x");
    // The spare shell and the orphan.
    wait_until(|| children(first).len() == before + 2, LIMIT);
    sandbox.api.wait_parked();
    sandbox.task_root.release("gate");
    wait_until(|| children(first).len() == before + 1, LIMIT);
    assert_eq!(zombies(first), [0; 0]);
}

const BUFFER: &str = r#"buffer=(); lambda_keep buffer
lambda_shutdown() { printf '%s\n' "${buffer[@]}" >"$LAMBDA_TASK_ROOT/buffer"; }
"#;

/// The signal comes while an event runs, which ends in time.
#[test]
fn lambda_shutdown_finds_what_the_last_event_has_kept() {
    // Without forks, with them, and where the shell cannot be used again.
    for (isolation, act) in [
        ("restore", ":"),
        ("restore", ": & wait"),
        ("restore", "readonly FIXED=1"),
        ("subshell", ":"),
        ("none", ":"),
        ("process", ":"),
        ("process", "exit 0"),
    ] {
        println!("case: {isolation}, {act}");
        let script = format!(
            "{BUFFER}handler() {{ buffer+=(\"$1\"); if [[ $1 == two ]]; then kill -TERM \"$PPID\"; fi; {act}; }}"
        );
        let sandbox = Sandbox::of(&script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        sandbox.respond("one");
        sandbox.respond("two");
        let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
        assert_eq!(sandbox.task_root.read("buffer"), "one\ntwo\n", "{log}");
        assert!(!log.contains("lambda_shutdown"), "{log}");
    }
}

/// The shell is stopped with the event. What earlier events have kept is not lost with it.
#[test]
fn lambda_shutdown_finds_what_was_kept_before_an_event_that_was_stopped() {
    for isolation in ["restore", "none", "subshell"] {
        let script = format!(
            "{BUFFER}handler() {{ buffer+=(\"$1\"); if [[ $1 == two ]]; then kill -TERM \"$PPID\"; sleep 600; fi; }}"
        );
        let sandbox = Sandbox::of(&script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        sandbox.respond("one");
        assert_eq!(sandbox.fail("two")["errorType"], "Function.Stopped");
        let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
        // A fork still shows what it has kept.
        let kept = sandbox.task_root.read("buffer");
        assert!(kept.starts_with("one\n"), "{isolation}: {kept} {log}");
    }
}

#[test]
fn the_status_of_the_last_event_is_not_that_of_lambda_shutdown() {
    for isolation in ["restore", "none", "subshell", "process"] {
        let script = "lambda_shutdown() { :; }\nhandler() { kill -TERM \"$PPID\"; exit 3; }";
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        sandbox.fail("x");
        let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
        assert!(!log.contains("lambda_shutdown"), "{isolation}: {log}");
    }
}
