//! How bootstrap ends when it is asked to: the invocation that runs is answered, `lambda_shutdown` runs, nothing is left.
//!
//! Lambda asks those alone who have registered as an extension, and gives them half a second.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use support::{
    Call, Event, Gate, LIMIT, Process, Reply, Sandbox, SandboxBuilder, bootstrap_path, children,
    wait_until, zombies,
};

/// Far above the half second that Lambda gives.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How often that is tried what has to be done within it: a busy machine may need longer for reasons of its own.
const TRIES: usize = 5;
/// What it gives.
const LAMBDA_LIMIT: Duration = Duration::from_millis(500);
const ISOLATIONS: [&str; 3] = ["none", "subshell", "process"];

/// `ended` in the task root tells what ran at the end.
const FUNCTION: &str = r#"
ended=$LAMBDA_TASK_ROOT/ended
lambda_shutdown() { echo shutdown >>"$ended"; }
handler() { printf 'healthy %s' "$1"; }
"#;

/// Asks bootstrap to end while it waits for an event, which has to be in order; its log.
#[track_caller]
fn end(sandbox: &Sandbox) -> String {
    sandbox.api.wait_parked();
    let answers = posts(sandbox).len();
    sandbox.bootstrap.signal(Signal::SIGTERM);
    let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
    assert_eq!(
        posts(sandbox).len(),
        answers,
        "{}",
        sandbox.api.transcript()
    );
    log
}

/// All that was posted but the registration.
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

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a pid"))
}

/// Starts `event`, and waits until its handler has made the file `begun`.
#[track_caller]
fn begin(sandbox: &Sandbox, request_id: &str, event: &str) {
    sandbox.api.push(Event::new(request_id, event));
    wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
}

// Registration

#[test]
fn a_file_that_defines_lambda_shutdown_is_registered_before_the_first_next() {
    for isolation in ISOLATIONS {
        let sandbox = Sandbox::of(FUNCTION)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        // The event that the extension asks for never comes.
        assert_eq!(sandbox.respond("x"), b"healthy x");
        let has_asked = || sandbox.api.calls().iter().any(Call::is_extension_next);
        wait_until(has_asked, LIMIT);
        let calls = sandbox.api.calls();
        let find = |is: fn(&Call) -> bool| calls.iter().position(is).expect("a call");
        let (register, asks) = (
            find(Call::is_extension_register),
            find(Call::is_extension_next),
        );
        assert!(
            register < find(Call::is_next),
            "{}",
            sandbox.api.transcript()
        );
        let (register, asks) = (&calls[register], &calls[asks]);
        let name = register.header("Lambda-Extension-Name").unwrap_or_default();
        assert!(!name.is_empty(), "{register:?}");
        let body: serde_json::Value = serde_json::from_slice(&register.body).expect("JSON");
        assert_eq!(body, serde_json::json!({"events": []}));
        assert_eq!(
            asks.header("Lambda-Extension-Identifier"),
            Some("an-identifier")
        );
        let on_its_connection = calls
            .iter()
            .filter(|call| call.connection == asks.connection);
        assert_eq!(on_its_connection.count(), 1, "{}", sandbox.api.transcript());
    }
}

#[test]
fn an_extension_is_registered_once_however_often_the_shell_is_replaced() {
    let script = format!("{FUNCTION}\nhandler() {{ [[ $1 != die ]] || kill -9 $$; }}");
    let sandbox = Sandbox::of(&script).start();
    for _ in 0..2 {
        sandbox.fail("die");
        sandbox.respond("x");
    }
    let calls = sandbox.api.calls();
    assert_eq!(count(&calls, Call::is_extension_register), 1);
    end(&sandbox);
    assert_eq!(sandbox.task_root.read("ended"), "shutdown\n");
}

#[test]
fn nothing_is_registered_where_there_is_no_lambda_shutdown() {
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
        let told = sandbox.api.transcript();
        assert_eq!(count(&calls, Call::is_extension_register), 0, "{told}");
        assert_eq!(count(&calls, Call::is_extension_next), 0, "{told}");
    }
}

#[test]
fn a_registration_that_is_refused_is_a_warning() {
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
        println!("the case: {reply:?}");
        let builder = Sandbox::of(FUNCTION);
        builder.api().reply_to_extension(reply);
        let sandbox = builder.start();
        assert_eq!(sandbox.respond("x"), b"healthy x");
        assert_eq!(sandbox.respond("y"), b"healthy y");
        // Somebody else may still send the signal.
        let log = end(&sandbox);
        let ours = Process::bootstrap_lines(&log);
        assert_eq!(ours.len(), 1, "{log}");
        assert!(
            ours[0].starts_with("bootstrap: warn: lambda_shutdown ")
                && ours[0].to_lowercase().contains(cause),
            "{log}"
        );
        assert_eq!(count(&sandbox.api.calls(), Call::is_extension_next), 0);
        assert_eq!(sandbox.task_root.read("ended"), "shutdown\n");
    }
}

// While it waits for an event

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
            for served in [0, 2] {
                println!("the case: {isolation}, {signal}, {to_group}, after {served}");
                let sandbox = Sandbox::of(script)
                    .env("COSHELL_ISOLATION", isolation)
                    .start();
                for _ in 0..served {
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
                let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
                let ended = sandbox.task_root.read("ended");
                assert_eq!(ended, "shutdown 0\ntrap\n", "{log}");
                for line in ["on stdout\n", "on stderr\n", "the trap\n"] {
                    assert_eq!(log.matches(line).count(), 1, "{line:?} in:\n{log}");
                }
                assert_eq!(Process::bootstrap_lines(&log), [""; 0]);
                assert_eq!(posts(&sandbox).len(), served);
            }
        }
    }
}

#[test]
fn what_the_exit_trap_of_the_file_prints_is_logged() {
    let script = "trap 'echo \"trap on stdout\"' EXIT\nhandler() { :; }\n";
    for isolation in ISOLATIONS {
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        sandbox.respond("x");
        assert_eq!(end(&sandbox), "trap on stdout\n", "{isolation}");
    }
}

#[test]
fn what_lambda_shutdown_logs_is_of_no_invocation() {
    let script = "lambda_shutdown() { echo 'at the end' >&2; return 3; }\nhandler() { :; }\n";
    let sandbox = Sandbox::of(script)
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .start();
    sandbox.respond("x");
    let log = end(&sandbox);
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
fn without_lambda_shutdown_the_exit_trap_of_the_file_runs_all_the_same() {
    for isolation in ISOLATIONS {
        let script = "trap 'echo trap >>\"$LAMBDA_TASK_ROOT/ended\"' EXIT\nhandler() { :; }\n";
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        sandbox.respond("x");
        let log = end(&sandbox);
        assert_eq!(sandbox.task_root.read("ended"), "trap\n", "{isolation}");
        assert_eq!(log, "");
    }
}

#[test]
fn a_trap_of_the_files_for_sigterm_is_not_in_the_way() {
    for trap in [
        "''",
        "'echo term >>\"$ended\"'",
        "'echo term >>\"$ended\"; exit 3'",
    ] {
        let sandbox = Sandbox::of(&format!("{FUNCTION}\ntrap {trap} TERM\n")).start();
        sandbox.respond("x");
        end(&sandbox);
        assert!(
            sandbox.task_root.read("ended").starts_with("shutdown\n"),
            "{trap}"
        );
    }
}

/// What it is about to leave behind: each ends, also one that takes no notice of SIGTERM.
#[test]
fn nothing_that_invocations_left_running_survives() {
    let leaves = r#"
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
    let function = format!("{leaves}\nhandler() {{ (leave); }}\n");
    let with_shutdown = format!("{function}\nlambda_shutdown() {{ :; }}\n");
    for builder in [
        Sandbox::of(&function),
        Sandbox::of(&with_shutdown),
        Sandbox::of(&with_shutdown).env("COSHELL_ISOLATION", "subshell"),
        Sandbox::of(&with_shutdown).env("COSHELL_ISOLATION", "process"),
        whole_script(&format!("{leaves}\n(leave)")),
        executable(&runs_bash(&format!("{leaves}\n(leave)"))),
    ] {
        let sandbox = builder.start();
        sandbox.respond("x");
        sandbox.api.wait_parked();
        // Those that are about to run another program are still called bash.
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
        end(&sandbox);
    }
}

#[test]
fn lambda_shutdown_that_goes_wrong_ends_bootstrap_in_order() {
    for (body, is_told, has_trap) in [
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
        let is_in_order = |_| {
            let sandbox = Sandbox::of(&script).start();
            assert_eq!(sandbox.respond("x"), b"on");
            let log = end(&sandbox);
            let ended = sandbox.task_root.read("ended");
            println!("the case: {body}: {ended:?}\n{log}");
            let ours = Process::bootstrap_lines(&log);
            let is_warning = |line: &&str| line.starts_with("bootstrap: warn: lambda_shutdown ");
            ended == expected && ours.len() == usize::from(is_told) && ours.iter().all(is_warning)
        };
        assert!((0..TRIES).any(is_in_order), "{body}");
    }
}

#[test]
fn lambda_shutdown_sees_what_handlers_made_of_variables_where_they_live_on() {
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
        end(&sandbox);
        assert_eq!(sandbox.task_root.read("ended"), count, "{isolation}");
    }
}

/// Whatever else a handler changed is put back before the next invocation, and so it is before the end.
#[test]
fn lambda_shutdown_finds_the_shell_as_the_file_left_it() {
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
            end(&sandbox)
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
    let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
    assert_eq!(sandbox.task_root.read("ended"), "begun\ndone\n", "{log}");
    let sandbox = Sandbox::of(FUNCTION).start();
    sandbox.api.wait_parked();
    for _ in 0..3 {
        sandbox.bootstrap.signal(Signal::SIGTERM);
    }
    sandbox.bootstrap.wait_clean_exit(END_LIMIT);
    assert_eq!(sandbox.task_root.read("ended"), "shutdown\n");
}

/// Both come at once, as when the whole sandbox goes down.
#[test]
fn an_end_that_is_asked_for_when_the_runtime_api_is_gone_is_in_order() {
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
        let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
        let expected = if is_function { "shutdown\n" } else { "" };
        assert_eq!(sandbox.task_root.read("ended"), expected, "{log}");
    }
}

// While an invocation runs

/// The kinds of handler, each of which runs `lines` of bash for an event; those that are functions have `lambda_shutdown`.
fn kinds(lines: &str) -> Vec<(String, SandboxBuilder)> {
    let function = format!("{FUNCTION}\nhandler() {{\n{lines}\n}}\n");
    let function = |isolation: &str| {
        let builder = Sandbox::of(&function).env("COSHELL_ISOLATION", isolation);
        (format!("function, {isolation}"), builder)
    };
    let mut kinds: Vec<_> = ISOLATIONS.into_iter().map(function).collect();
    kinds.push(("script".to_owned(), whole_script(lines)));
    kinds.push(("executable".to_owned(), executable(&runs_bash(lines))));
    kinds
}

/// Lines of Python that become a bash which runs `lines`.
fn runs_bash(lines: &str) -> String {
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
fn a_handler_that_is_about_to_end_is_answered_for() {
    let lines = r#"
: >"$LAMBDA_TASK_ROOT/begun"
read -r _ <"$LAMBDA_TASK_ROOT/gate"
printf 'in time'
"#;
    for (kind, builder) in kinds(lines) {
        println!("the case: {kind}");
        let sandbox = builder.start();
        sandbox.task_root.fifo("gate");
        begin(&sandbox, "the-id", "x");
        sandbox.bootstrap.signal(Signal::SIGTERM);
        sandbox.task_root.release("gate");
        let answer = sandbox.api.wait_answer("the-id");
        assert!(answer.is_response(), "{}", sandbox.api.transcript());
        assert_eq!(answer.body, b"in time");
        let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
        assert_eq!(sandbox.api.next_count(), 1, "no more is asked for");
        let is_function = kind.starts_with("function");
        let expected = if is_function { "shutdown\n" } else { "" };
        assert_eq!(sandbox.task_root.read("ended"), expected, "{log}");
        assert_eq!(log, "");
    }
}

#[test]
fn a_handler_that_hangs_is_stopped_and_answered_for() {
    for hang in [
        "read -r _ <\"$LAMBDA_TASK_ROOT/gate\"",
        "sleep 600",
        "sleep 600 | cat",
        "while :; do :; done",
        "trap '' TERM; while :; do sleep 600; done",
        "setsid sleep 600 & wait",
    ] {
        let lines = format!("echo 'its log' >&2\n: >\"$LAMBDA_TASK_ROOT/begun\"\n{hang}\n");
        for (kind, builder) in kinds(&lines) {
            println!("the case: {kind}, {hang}");
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
            let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
            assert_eq!(sandbox.api.answers("the-id").len(), 1);
            assert_eq!(sandbox.api.next_count(), 1, "no more is asked for");
            assert!(
                log.contains("bootstrap: error: Function.Stopped: "),
                "{log}"
            );
            // A shell that was stopped has nothing left that could run it: that is told.
            let runs = kind == "function, subshell";
            let tells = kind.starts_with("function") && !runs;
            assert_eq!(
                sandbox.task_root.read("ended"),
                if runs { "shutdown\n" } else { "" },
                "{log}"
            );
            let warnings = log
                .matches("bootstrap: warn: lambda_shutdown is not run")
                .count();
            assert_eq!(warnings, usize::from(tells), "{log}");
        }
    }
}

/// Whatever the margin before the deadline is, `measure` takes less than Lambda leaves us, for a handler of each kind that
/// does what `lines` say and has begun; in the quickest of four tries, for the machine may be busy.
fn is_in_time(lines: &str, measure: fn(&Sandbox) -> Duration) {
    for number in 0..kinds(lines).len() {
        let mut times = (0..4).map(|_| {
            let (kind, builder) = kinds(lines).swap_remove(number);
            let sandbox = builder.env("COSHELL_DEADLINE_MARGIN_MS", "2000").start();
            begin(&sandbox, "the-id", "x");
            let time = measure(&sandbox);
            println!("{kind}: {time:?}");
            time
        });
        assert!(
            times.any(|time| time < LAMBDA_LIMIT),
            "{}",
            kinds(lines)[number].0
        );
    }
}

/// Lambda kills everything half a second after it has asked.
#[test]
fn a_stubborn_handler_is_answered_for_before_lambda_kills_us_whatever_the_margin() {
    let lines = "trap '' TERM\n: >\"$LAMBDA_TASK_ROOT/begun\"\nwhile :; do sleep 600; done\n";
    is_in_time(lines, |sandbox| {
        let asked = Instant::now();
        sandbox.bootstrap.signal(Signal::SIGTERM);
        let answer = sandbox.api.wait_answer("the-id");
        let time = asked.elapsed();
        assert_eq!(answer.error_document()["errorType"], "Function.Stopped");
        sandbox.bootstrap.wait_clean_exit(END_LIMIT);
        time
    });
}

/// As above, for what was left running before.
#[test]
fn stubborn_leftovers_are_ended_before_lambda_kills_us_whatever_the_margin() {
    let lines = r#"
(bash -c 'trap "" TERM; : >"$LAMBDA_TASK_ROOT/begun"; while :; do sleep 600; done' </dev/null >/dev/null 2>&1 &)
"#;
    is_in_time(lines, |sandbox| {
        sandbox.api.wait_answer("the-id");
        sandbox.api.wait_parked();
        let asked = Instant::now();
        sandbox.bootstrap.signal(Signal::SIGTERM);
        sandbox.bootstrap.wait_clean_exit(END_LIMIT);
        asked.elapsed()
    });
}

#[test]
fn an_answer_that_is_on_its_way_arrives() {
    let sandbox = Sandbox::of(FUNCTION).start();
    let gate = Gate::new();
    sandbox.api.reply(Reply::Late(gate.clone()));
    sandbox.api.push(Event::new("the-id", "x"));
    sandbox.api.wait_answer("the-id");
    sandbox.bootstrap.signal(Signal::SIGTERM);
    gate.open();
    let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
    assert_eq!(sandbox.api.answers("the-id").len(), 1);
    assert_eq!(sandbox.task_root.read("ended"), "shutdown\n", "{log}");
    assert_eq!(log, "");
}

/// Nobody takes the answer any more: that does not change how we end.
#[test]
fn an_end_that_is_asked_for_in_an_invocation_whose_runtime_api_is_gone_is_in_order() {
    let lines = r#"
sleep 600 </dev/null >/dev/null 2>&1 &
: >"$LAMBDA_TASK_ROOT/begun"
read -r _ <"$LAMBDA_TASK_ROOT/gate"
"#;
    for (kind, builder) in kinds(lines) {
        println!("the case: {kind}");
        let sandbox = builder.start();
        sandbox.task_root.fifo("gate");
        begin(&sandbox, "the-id", "x");
        sandbox.api.shut_down();
        sandbox.bootstrap.signal(Signal::SIGTERM);
        sandbox.task_root.release("gate");
        let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
        if kind.starts_with("function") {
            assert_eq!(sandbox.task_root.read("ended"), "shutdown\n", "{log}");
        }
    }
}

// While the handler is loaded

#[test]
fn an_end_that_is_asked_for_during_the_init_is_no_init_error() {
    for body in [
        "sleep 600",
        "read -r _ <\"$LAMBDA_TASK_ROOT/gate\"",
        "while :; do :; done",
        "setsid bash -c 'trap \"\" TERM; sleep 600' & wait",
    ] {
        println!("the case: {body}");
        let script = format!("{FUNCTION}\n: >\"$LAMBDA_TASK_ROOT/begun\"\n{body}\n");
        let builder = Sandbox::of(&script);
        builder.task_root().fifo("gate");
        let sandbox = builder.start();
        wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
        sandbox.bootstrap.signal(Signal::SIGTERM);
        let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
        assert!(
            sandbox.api.calls().is_empty(),
            "{}",
            sandbox.api.transcript()
        );
        assert_eq!(Process::bootstrap_lines(&log), [""; 0]);
    }
}

/// A bash that does not come up is waited for without a limit: by Lambda's own, or until we are asked to end.
#[test]
fn an_end_that_is_asked_for_while_bash_starts_is_no_init_error() {
    // Not in bash, which would read what we have the script's bash read.
    let slow = "#!/bin/sh\n[ \"$1\" != -n ] || exec /bin/bash \"$@\"\n: >\"$LAMBDA_TASK_ROOT/begun\"\nsleep 600\n";
    for builder in [Sandbox::of(FUNCTION), whole_script("echo on")] {
        let bash = builder.task_root().write_program("bash", slow);
        let sandbox = builder.env("COSHELL_BASH", bash.to_string_lossy()).start();
        wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
        sandbox.bootstrap.signal(Signal::SIGTERM);
        let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
        assert!(
            sandbox.api.calls().is_empty(),
            "{}",
            sandbox.api.transcript()
        );
        assert_eq!(log, "");
    }
}

/// An init that is about to end is waited for.
#[test]
fn an_init_that_ends_in_time_is_ended_in_order() {
    let script = format!(
        "{FUNCTION}\n: >\"$LAMBDA_TASK_ROOT/begun\"\nread -r _ <\"$LAMBDA_TASK_ROOT/gate\"\n"
    );
    let builder = Sandbox::of(&script);
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
    sandbox.bootstrap.signal(Signal::SIGTERM);
    sandbox.task_root.release("gate");
    let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
    assert_eq!(posts(&sandbox).len(), 0, "{}", sandbox.api.transcript());
    assert_eq!(log, "");
}

/// The event is not lost: Lambda gives it to another sandbox.
#[test]
fn an_end_that_is_asked_for_while_an_event_arrives_is_in_order() {
    let sandbox = Sandbox::of(FUNCTION).start();
    let gate = Gate::new();
    sandbox
        .api
        .push(Event::new("the-id", "an event").stall_after(3, &gate));
    wait_until(|| sandbox.api.next_count() == 1, LIMIT);
    sandbox.bootstrap.signal(Signal::SIGTERM);
    let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
    gate.open();
    assert_eq!(sandbox.task_root.read("ended"), "shutdown\n", "{log}");
    assert_eq!(posts(&sandbox).len(), 0);
}

#[test]
fn an_end_that_is_asked_for_while_a_shell_is_replaced_is_in_order() {
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
    let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
    assert_eq!(posts(&sandbox).len(), 1, "{log}");
    assert!(!log.contains("bootstrap: fatal"), "{log}");
}

// Other kinds of handler

#[test]
fn scripts_and_executables_end_at_once_while_they_wait() {
    for served in [0, 2] {
        for builder in [whole_script("echo on"), executable("print('on')")] {
            let sandbox = builder.start();
            for _ in 0..served {
                assert_eq!(sandbox.respond("x"), b"on");
            }
            assert_eq!(end(&sandbox), "");
        }
    }
}

// As PID 1

/// bootstrap of `plan` as process 1 of its own, as in a container.
fn as_first_process(builder: SandboxBuilder) -> SandboxBuilder {
    let is_root = fs::metadata("/proc/self").expect("/proc").uid() == 0;
    let mut words = vec!["unshare", "--mount", "--pid", "--fork", "--kill-child"];
    // Who is not root becomes it in a user namespace.
    words.extend((!is_root).then_some("--map-root-user"));
    let surround = "mount --make-rprivate / && mount -t proc proc /proc && exec \"$@\"";
    let bootstrap = bootstrap_path();
    words.extend(["bash", "-c", surround, "bash", &bootstrap]);
    builder.program(&words)
}

/// The process that `unshare` started, which is bootstrap by the time that it asks for an event.
fn first_process(sandbox: &Sandbox) -> u32 {
    sandbox.api.wait_parked();
    let [first] = children(sandbox.bootstrap.pid())[..] else {
        panic!("not one child: {:?}", sandbox.bootstrap.processes());
    };
    first
}

#[test]
fn as_the_first_process_it_takes_the_signal() {
    let script =
        format!("{FUNCTION}\nhandler() {{ printf '%s' \"$PPID\"; (setsid sleep 600 &) >&2; }}");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = as_first_process(Sandbox::of(&script)).start();
        assert_eq!(sandbox.respond("x"), b"1");
        let first = first_process(&sandbox);
        kill(as_pid(first), signal).expect("cannot send a signal");
        let log = sandbox.bootstrap.wait_clean_exit(END_LIMIT);
        assert_eq!(sandbox.task_root.read("ended"), "shutdown\n", "{log}");
    }
}

#[test]
fn as_the_first_process_it_reaps_orphans_while_it_waits() {
    let script = r#"handler() { ({ read -r _ <"$LAMBDA_TASK_ROOT/gate"; } </dev/null >&2 &); }"#;
    let sandbox = as_first_process(Sandbox::of(script)).start();
    sandbox.task_root.fifo("gate");
    let first = first_process(&sandbox);
    let before = children(first).len();
    sandbox.respond("x");
    // The spare, and the orphan.
    wait_until(|| children(first).len() == before + 2, LIMIT);
    sandbox.api.wait_parked();
    sandbox.task_root.release("gate");
    wait_until(|| children(first).len() == before + 1, LIMIT);
    assert_eq!(zombies(first), [0; 0]);
}
