//! Shortly before its deadline a handler is stopped, together with everything that it started. The caller gets an error, and
//! the next event runs as usual.
//!
//! A [`StuckHandler`] would not end for ten minutes. Each one runs in every [`Kind`] of handler. It creates the file `begun`
//! at `BEGUN`, to show that it ran that line before it was stopped. A handler that was stopped earlier, on a busy machine, is
//! tried again with more time.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use support::{
    Call, Event, Gate, LIMIT, Reply, Sandbox, SandboxBuilder, as_pid, children, excerpt,
    status_field, wait_until,
};

/// How long before the deadline handlers are stopped. Half of it is for their own traps.
const MARGIN_MS: u64 = 400;
/// The margins of further tries, for a machine that is too busy for the first one.
const MARGINS_MS: [u64; 3] = [MARGIN_MS, 2000, 8000];
/// The time that a handler has before it is stopped, for each try.
const TIMES_MS: [u64; 3] = [150, 1000, 6000];

/// The kinds of handlers, and for functions the isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The warm shell, with its state restored after each event.
    Restored,
    /// The warm shell without isolation.
    Warm,
    Subshell,
    Process,
    Bash,
    Sh,
    /// An executable in Perl that starts a bash.
    Program,
}

use Kind::{Bash, Process, Program, Restored, Sh, Subshell, Warm};

const KINDS: [Kind; 7] = [Restored, Warm, Subshell, Process, Bash, Sh, Program];

impl Kind {
    fn is_function(self) -> bool {
        matches!(self, Restored | Warm | Subshell | Process)
    }

    /// With the isolation `restore` too: these handlers start jobs, and so run in forks.
    fn is_forked(self) -> bool {
        matches!(self, Restored | Subshell) || self.is_function() && support::always_forks()
    }
}

/// A handler that does not end.
struct StuckHandler {
    name: &'static str,
    body: &'static str,
    /// The beginning of the command in the error message; empty where bash does not report it.
    command: &'static str,
}

const fn stuck(name: &'static str, body: &'static str, command: &'static str) -> StuckHandler {
    StuckHandler {
        name,
        body,
        command,
    }
}

#[rustfmt::skip]
const STUCK_HANDLERS: &[StuckHandler] = &[
    stuck("a loop", "BEGUN; while :; do :; done", ":`"),
    stuck("a program", "BEGUN; sleep 600", "sleep 600`"),
    stuck("a pipeline", "BEGUN; sleep 600 | cat", "cat`"),
    stuck("a job that is waited for", "sleep 600 & BEGUN; wait", "wait`"),
    stuck("a FIFO without a writer", "mkfifo \"$LAMBDA_TASK_ROOT/fifo\"; BEGUN; read -r x <\"$LAMBDA_TASK_ROOT/fifo\"", "read -r x"),
    stuck("a FIFO without data", "mkfifo \"$LAMBDA_TASK_ROOT/fifo\"; exec 3<>\"$LAMBDA_TASK_ROOT/fifo\"; BEGUN; read -r x <&3", "read -r x"),
    stuck("a substitution", "BEGUN; x=$(sleep 600)", "x=$(sleep 600)`"),
    stuck("a process substitution", "BEGUN; cat < <(sleep 600)", "cat < <(sleep 600)`"),
    stuck("functions in functions", "inner() { BEGUN; sleep 600; :; }; outer() { inner; :; }; outer", "sleep 600` in inner"),
    stuck("a child that ignores SIGTERM", "bash -c 'trap \"\" TERM; BEGUN; while :; do sleep 0.01; done'", "bash -c"),
    stuck("a child that goes on to start others", "bash -c 'trap \"\" TERM; BEGUN; while :; do sleep 600 & sleep 0.01; done'", "bash -c"),
    stuck("a child in its own process group", "set -m; sleep 600 & set +m; BEGUN; wait", "wait`"),
    stuck("a child in its own session", "setsid -w bash -c 'BEGUN; sleep 600; :'", "setsid -w bash -c"),
    stuck("a child that is suspended", "sleep 600 & until read -r x </proc/$!/comm && [ $x = sleep ]; do :; done; kill -STOP $!; BEGUN; wait", "wait`"),
    stuck("a job beside a program", "sleep 600 & BEGUN; sleep 601", "sleep 601`"),
    stuck("a daemon that hides", "(env -i setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $! >\"$LAMBDA_TASK_ROOT/pid\"); BEGUN; sleep 601", "sleep 601`"),
    stuck("a shell that suspends itself", "BEGUN; kill -STOP $BASHPID; sleep 600", "kill -STOP $BASHPID`"),
    stuck("a TERM trap that goes on", "trap : TERM; BEGUN; while :; do sleep 0.01 || :; done", ""),
    stuck("a TERM trap that exits with 0", "trap 'exit 0' TERM; BEGUN; while :; do sleep 0.01 || :; done", ""),
    stuck("SIGTERM that is ignored", "trap '' TERM; BEGUN; while :; do sleep 0.01 || :; done", ""),
    stuck("an EXIT trap that cleans up", ": >\"$LAMBDA_TASK_ROOT/scratch\"; trap 'rm \"$LAMBDA_TASK_ROOT/scratch\"' EXIT; BEGUN; sleep 600", ""),
    stuck("an EXIT trap that takes a while", ": >\"$LAMBDA_TASK_ROOT/scratch\"; trap 'sleep 0.02 && rm \"$LAMBDA_TASK_ROOT/scratch\"' EXIT; BEGUN; sleep 600", ""),
    stuck("a TERM trap that takes a while", ": >\"$LAMBDA_TASK_ROOT/scratch\"; trap 'sleep 0.02 && rm \"$LAMBDA_TASK_ROOT/scratch\"; exit 1' TERM; BEGUN; sleep 600 & wait", ""),
    stuck("an EXIT trap that hangs", "trap 'sleep 600' EXIT; BEGUN; sleep 601", ""),
    stuck("in its EXIT trap", "trap 'BEGUN; sleep 600' EXIT; exit 0", ""),
    stuck("another program", "BEGUN; exec sleep 600", ""),
    stuck("output without an end", "BEGUN; while :; do echo x; done", ""),
    stuck("a log without an end", "BEGUN; while :; do echo noise >&2; done", ""),
];

/// An executable that runs the body in bash.
const PERL: &str = r#"#!/usr/bin/env perl
my $event = <STDIN>;
print 'partial output' if $event eq 'stuck';
system 'bash', "$ENV{LAMBDA_TASK_ROOT}/body" if $event eq 'stuck';
system 'bash', "$ENV{LAMBDA_TASK_ROOT}/keep" if $event eq 'keep';
print "answer 1 to $event";
"#;

/// A handler of `kind` that runs `body` for the event `stuck`, leaves two processes behind for the event `keep`, and then
/// answers. It has no spare shell, which would be one more process.
fn sandbox_of_kind(kind: Kind, body: &str) -> SandboxBuilder {
    let body = body.replace("BEGUN", ": >\"$LAMBDA_TASK_ROOT/begun\"");
    let keep = "bash -c 'sleep 600; :' </dev/null >/dev/null 2>&1 &";
    let script = format!(
        "if [ \"$1\" = stuck ]; then printf 'partial output'; {body}; fi\nif [ \"$1\" = keep ]; then {keep} fi\n"
    );
    let answer = "printf 'answer %s to %s' \"$count\" \"$1\"";
    let function = || {
        Sandbox::of(&format!(
            "echo sourced >>\"$LAMBDA_TASK_ROOT/sourced\"\ncount=0\nhandler() {{\ncount=$((count + 1))\n{script}{answer}\n}}\n"
        ))
    };
    let builder = match kind {
        Restored => function().env("COSHELL_ISOLATION", "restore"),
        Warm => function().env("COSHELL_ISOLATION", "none"),
        Subshell => function().env("COSHELL_ISOLATION", "subshell"),
        Process => function().env("COSHELL_ISOLATION", "process"),
        Bash => whole_file(&format!("#!/bin/bash\ncount=1\n{script}{answer}\n")),
        Sh => whole_file(&format!("#!/bin/sh -eu\ncount=1\n{script}{answer}\n")),
        Program => whole_file(PERL).file("body", body).file("keep", keep),
    };
    builder.env("COSHELL_SPARE", "off")
}

/// A whole script or executable as the handler.
fn whole_file(text: &str) -> SandboxBuilder {
    let builder = Sandbox::empty().handler("whole").event_as_argument();
    let file = builder.task_root().write("whole", text);
    fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("permissions");
    builder
}

fn with_margin(builder: SandboxBuilder, margin_ms: u64) -> SandboxBuilder {
    builder.env("COSHELL_DEADLINE_MARGIN_MS", margin_ms.to_string())
}

/// The time since the epoch.
fn now() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("the clock is set")
}

fn event_with_deadline(deadline: Duration, body: &str) -> Event {
    let milliseconds = deadline.as_millis().to_string();
    Event::fresh(body).header("Lambda-Runtime-Deadline-Ms", &milliseconds)
}

/// An event whose handler has `time_ms` before it is stopped.
fn event_stopped_after(time_ms: u64, body: &str) -> Event {
    event_with_deadline(now() + Duration::from_millis(MARGIN_MS + time_ms), body)
}

/// An invocation that was stopped after its handler had begun.
struct Stopped {
    sandbox: Sandbox,
    document: Value,
    /// The processes when the answer came, without bootstrap.
    processes: BTreeMap<u32, String>,
    /// The pid of the bash of a function, before the invocation.
    shell: Option<u32>,
    /// The time left until the deadline when the answer came. `None` if the deadline had passed.
    time_left: Option<Duration>,
}

/// Starts a sandbox, answers the event `first`, and then gets stuck. Tries again with more time until the handler has
/// reached `BEGUN` before it was stopped.
#[track_caller]
fn stop(kind: Kind, margin_ms: u64, builder: impl Fn() -> SandboxBuilder) -> Stopped {
    for time_ms in TIMES_MS {
        let sandbox = with_margin(builder(), margin_ms).start();
        assert_eq!(sandbox.respond("first"), b"answer 1 to first");
        sandbox.api.wait_parked();
        let shell = kind.is_function().then(|| sandbox.bootstrap.shell_pid());
        // Bootstrap does nothing after the answer until the processes have been listed.
        let gate = Gate::new();
        sandbox.api.reply(Reply::Late(gate.clone()));
        let deadline = now() + Duration::from_millis(margin_ms + time_ms);
        let answer = sandbox.invoke(event_with_deadline(deadline, "stuck"));
        let time_left = deadline.checked_sub(now());
        let processes = processes_without_bootstrap(&sandbox);
        gate.open();
        let document = expect_timeout(&answer, &sandbox);
        if sandbox.task_root.exists("begun") {
            return Stopped {
                sandbox,
                document,
                processes,
                shell,
                time_left,
            };
        }
    }
    panic!("the handler never reached BEGUN");
}

fn processes_without_bootstrap(sandbox: &Sandbox) -> BTreeMap<u32, String> {
    let mut processes = sandbox.bootstrap.processes();
    processes.remove(&sandbox.bootstrap.pid());
    processes
}

/// Asserts that the answer is a timeout. Returns the error document.
#[track_caller]
fn expect_timeout(answer: &Call, sandbox: &Sandbox) -> Value {
    assert!(answer.is_error(), "{}", sandbox.api.transcript());
    let document = answer.error_document();
    assert_eq!(document["errorType"], "Function.Timeout", "{document}");
    assert_eq!(
        answer.header("Lambda-Runtime-Function-Error-Type"),
        Some("Function.Timeout")
    );
    document
}

fn message(document: &Value) -> &str {
    document["errorMessage"].as_str().unwrap_or_default()
}

/// Calls `check` for every item, four at a time. Fails with the names of the items for which `check` panicked.
#[track_caller]
pub(crate) fn check_all<T: Sync>(
    items: &[T],
    name: impl Fn(&T) -> String + Sync,
    check: impl Fn(&T) + Sync,
) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| check(item))).is_err() {
                        println!("failed: {}", name(item));
                        failed.lock().expect("names").push(name(item));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("names");
    assert!(
        failed.is_empty(),
        "{} of {} failed: {failed:#?}",
        failed.len(),
        items.len()
    );
}

/// Checks a timeout and the event after it. Tries again with a larger margin on a busy machine.
fn check(kind: Kind, stuck: &StuckHandler) {
    let (last, first) = MARGINS_MS.split_last().expect("margins");
    let passes = |margin: &u64| catch_unwind(|| check_with(kind, stuck, *margin)).is_ok();
    if !first.iter().any(passes) {
        check_with(kind, stuck, *last);
    }
}

fn check_with(kind: Kind, stuck: &StuckHandler, margin_ms: u64) {
    let stopped = stop(kind, margin_ms, || sandbox_of_kind(kind, stuck.body));
    let (sandbox, message) = (&stopped.sandbox, message(&stopped.document));
    let stop = format!("was stopped {margin_ms} ms before its deadline");
    let shown = excerpt(message.as_bytes());
    assert!(message.contains(&stop), "{shown}");
    assert!(!message.contains("partial output"), "{shown}");
    if kind == Program {
        let running =
            message.contains(&format!("{stop} with perl, ")) && message.contains(" running");
        assert!(running, "{shown}");
    } else if !stuck.command.is_empty() {
        let during = format!("{stop} during `{}", stuck.command);
        assert!(message.contains(&during), "no {during:?}: {shown}");
    }

    let shell: Vec<_> = stopped.shell.into_iter().collect();
    let alive: Vec<_> = stopped.processes.keys().copied().collect();
    let expected: &[u32] = if kind.is_forked() { &shell } else { &[] };
    assert_eq!(alive, expected, "{:?}", stopped.processes);
    if let Ok(pid) = sandbox.task_root.read("pid").trim().parse() {
        let state = status_field(pid, "State").unwrap_or_default();
        assert!(state.is_empty() || state.starts_with('Z'), "{state}");
    }
    assert!(
        !sandbox.task_root.exists("scratch"),
        "the trap did not clean up"
    );

    assert_eq!(sandbox.respond("next"), b"answer 1 to next");
    sandbox.api.wait_parked();
    // The fork for the next event exists already.
    let expected = usize::from(kind.is_function()) + usize::from(kind.is_forked());
    assert_eq!(
        processes_without_bootstrap(sandbox).len(),
        expected,
        "{:?}",
        processes_without_bootstrap(sandbox)
    );
    let sourced = sandbox.task_root.read("sourced").lines().count();
    let expected = match kind {
        Warm if support::always_forks() => 1,
        Warm => 2,
        Restored | Subshell => 1,
        // For each of three events, and for the next one.
        Process => 4,
        Bash | Sh | Program => 0,
    };
    assert_eq!(sourced, expected, "how often the file was sourced");
    if let Some(shell) = stopped.shell {
        let is_same = sandbox.bootstrap.shell_pid() == shell;
        let lives_on = kind.is_forked() && !matches!(kind, Process);
        assert_eq!(is_same, lives_on, "the shell of forks lives on");
    }

    let log = sandbox.bootstrap.final_log();
    let end = excerpt(&log.as_bytes()[log.len().saturating_sub(150)..]);
    let line = "bootstrap: error: Function.Timeout: ";
    assert_eq!(log.matches(line).count(), 1, "{end}");
    assert_eq!(log.matches("bootstrap: ").count(), 1, "{end}");
    for internal in ["__driver_", "/dev/fd/", "builtin"] {
        assert!(
            !log.contains(internal),
            "{internal} in the log: {}",
            excerpt(log.as_bytes())
        );
        assert!(!message.contains(internal), "{internal} in {shown}");
    }
}

fn check_kind(kind: Kind) {
    check_all(
        STUCK_HANDLERS,
        |stuck| stuck.name.to_owned(),
        |stuck| check(kind, stuck),
    );
}

#[test]
fn a_function_in_the_warm_shell_is_stopped_with_everything_it_started() {
    check_kind(Restored);
}

#[test]
fn a_function_without_isolation_is_stopped_with_everything_it_started() {
    check_kind(Warm);
}

#[test]
fn a_function_in_a_subshell_is_stopped_and_the_shell_lives_on() {
    check_kind(Subshell);
}

#[test]
fn a_function_in_a_process_is_stopped_with_everything_it_started() {
    check_kind(Process);
}

#[test]
fn a_bash_script_is_stopped_with_everything_it_started() {
    check_kind(Bash);
}

#[test]
fn a_posix_shell_script_is_stopped_with_everything_it_started() {
    // Bash before 5.1 has no process substitution in POSIX mode.
    let has_substitution = support::bash_version() >= (5, 1);
    let handlers = STUCK_HANDLERS.iter();
    let handlers: Vec<_> = handlers
        .filter(|stuck| has_substitution || !stuck.body.contains("<("))
        .collect();
    check_all(
        &handlers,
        |stuck| stuck.name.to_owned(),
        |stuck| check(Sh, stuck),
    );
}

#[test]
fn an_executable_is_stopped_with_everything_it_started() {
    check_kind(Program);
}

/// Without an ERR trap bash does not report a subshell as the running command, so the message of a script names another one.
#[test]
fn a_subshell_that_does_not_end_is_stopped() {
    for kind in KINDS {
        let stopped = stop(kind, MARGIN_MS, || {
            sandbox_of_kind(kind, "(BEGUN; sleep 600; :)")
        });
        let message = message(&stopped.document);
        if kind.is_function() {
            assert!(message.contains("during `( : > "), "{kind:?}: {message}");
        }
        assert_eq!(
            stopped.processes.len(),
            usize::from(kind.is_forked()),
            "{kind:?}"
        );
        assert_eq!(stopped.sandbox.respond("next"), b"answer 1 to next");
    }
}

const FRAMES: &str = "
inner() {
  local x=1
  : # The program says that it has begun: a shell that is stopped between two commands has no trace.
  sh -c ': >\"$LAMBDA_TASK_ROOT/begun\"; exec sleep 600'
}
outer() {
  for x in 1; do
    inner
  done
}
";

#[test]
fn the_error_of_a_stopped_handler_has_a_stack_trace() {
    let answers = "if [ $1 = stuck ]; then\n  outer\nfi\nprintf 'answer 1 to %s' \"$1\"\n";
    for kind in [Restored, Warm, Subshell, Process, Bash, Sh] {
        let (file, first) = match kind {
            Sh => ("whole", "#!/bin/sh"),
            Bash => ("whole", "#!/bin/bash"),
            _ => ("function.sh", ""),
        };
        let isolation = match kind {
            Subshell => "subshell",
            Process => "process",
            _ => "none",
        };
        let text = if kind.is_function() {
            format!("{FRAMES}handler() {{ :\n{answers}}}\n")
        } else {
            format!("{first}{FRAMES}:\n{answers}")
        };
        let stopped = stop(kind, MARGIN_MS, || {
            let builder = if kind.is_function() {
                Sandbox::of(&text)
            } else {
                whole_file(&text)
            };
            builder.env("COSHELL_ISOLATION", isolation)
        });
        let file = stopped.sandbox.task_root.path().join(file);
        let frame = |function: &str, line: u32| format!("{function} ({}:{line})", file.display());
        let outermost = if kind.is_function() {
            "handler"
        } else {
            "main"
        };
        let expected = [frame("inner", 5), frame("outer", 9), frame(outermost, 14)];
        assert_eq!(
            stopped.document["stackTrace"],
            Value::from(expected.to_vec()),
            "{kind:?}"
        );
    }
}

#[test]
fn a_process_left_by_an_earlier_invocation_is_not_stopped() {
    check_all(
        &KINDS,
        |kind| format!("{kind:?}"),
        |kind| {
            let sandbox =
                with_margin(sandbox_of_kind(*kind, "sleep 601 & sleep 602"), MARGIN_MS).start();
            let sleeping = || {
                let mut processes = processes_without_bootstrap(&sandbox);
                processes.retain(|_, command| command.contains("sleep"));
                processes
            };
            assert_eq!(sandbox.respond("keep"), b"answer 1 to keep");
            // Both processes have started their programs.
            let has_begun = || {
                sleeping().len() == 2 && sleeping().values().any(|command| command == "sleep 600 ")
            };
            wait_until(has_begun, LIMIT);
            let before = sleeping();
            expect_timeout(&sandbox.invoke(event_stopped_after(300, "stuck")), &sandbox);
            assert_eq!(sleeping(), before);
            assert!(sandbox.respond("next").ends_with(b" to next"));
            expect_timeout(&sandbox.invoke(event_stopped_after(300, "stuck")), &sandbox);
            sandbox.api.wait_parked();
            assert_eq!(sleeping(), before);
            let log = sandbox.bootstrap.final_log();
            assert_eq!(
                log.matches("is still running after its invocation").count(),
                1,
                "{log}"
            );
        },
    );
}

#[test]
fn several_timeouts_in_a_row_are_answered() {
    check_all(
        &KINDS,
        |kind| format!("{kind:?}"),
        |kind| {
            let sandbox = with_margin(sandbox_of_kind(*kind, "sleep 600 | cat"), MARGIN_MS).start();
            for _ in 0..3 {
                for _ in 0..2 {
                    expect_timeout(&sandbox.invoke(event_stopped_after(100, "stuck")), &sandbox);
                }
                assert_eq!(sandbox.respond("next"), b"answer 1 to next");
            }
            let log = sandbox.bootstrap.final_log();
            assert_eq!(
                log.matches("bootstrap: error: Function.Timeout").count(),
                6,
                "{log}"
            );
        },
    );
}

/// A stopped fork leaves the line on which it takes its event. It must not make the next fork run at once: whatever that
/// prints would be in the answer to the next event.
#[test]
fn forks_that_were_stopped_before_they_took_their_event_leave_nothing_to_the_next_fork() {
    let script = "
echo sourced >>\"$LAMBDA_TASK_ROOT/sourced\"
handler() { echo \"$1\" >>\"$LAMBDA_TASK_ROOT/ran\"; printf 'answer to %s' \"$1\"; }";
    let builder = Sandbox::of(script)
        .env("COSHELL_ISOLATION", "subshell")
        .env("COSHELL_SPARE", "off");
    let sandbox = with_margin(builder, MARGIN_MS).start();
    assert_eq!(sandbox.respond("first"), b"answer to first");
    sandbox.api.wait_parked();
    let shell = sandbox.bootstrap.shell_pid();
    for round in 0..3 {
        let event = format!("event {round}");
        assert_eq!(
            sandbox.respond(&*event),
            format!("answer to {event}").as_bytes()
        );
        sandbox.api.wait_parked();
        let &[fork] = children(shell).as_slice() else {
            panic!("not exactly one fork: {:?}", children(shell));
        };
        suspend(fork);
        expect_timeout(
            &sandbox.invoke(event_stopped_after(1000, "stuck")),
            &sandbox,
        );
    }
    assert_eq!(sandbox.respond("next"), b"answer to next");
    let ran = sandbox.task_root.read("ran");
    assert_eq!(ran, "first\nevent 0\nevent 1\nevent 2\nnext\n");
    assert_eq!(sandbox.bootstrap.shell_pid(), shell);
    assert_eq!(sandbox.task_root.read("sourced"), "sourced\n");
}

/// In the pipe between two events may be text of a process that has ended since the shell was cleaned up.
#[test]
fn what_is_in_the_pipe_before_an_event_is_not_in_its_answer() {
    for isolation in ["restore", "none", "subshell"] {
        let sandbox = Sandbox::of("handler() { printf 'answer to %s' \"$1\"; }")
            .env("COSHELL_ISOLATION", isolation)
            .start();
        assert_eq!(sandbox.respond("first"), b"answer to first");
        sandbox.api.wait_parked();
        let pipe = format!("/proc/{}/fd/62", sandbox.bootstrap.shell_pid());
        fs::write(pipe, "text of another event").expect("the pipe of the response");
        assert_eq!(sandbox.respond("next"), b"answer to next", "{isolation}");
    }
}

/// Stops a process by SIGSTOP, and waits until it has stopped.
fn suspend(pid: u32) {
    let process = as_pid(pid);
    kill(process, Signal::SIGSTOP).expect("the process runs");
    let is_stopped = || status_field(pid, "State").is_some_and(|state| state.starts_with('T'));
    wait_until(is_stopped, LIMIT);
}

/// The handler ignores SIGTERM, and gets SIGKILL half a second later. The rest of the margin is for the answer.
#[test]
fn the_answer_comes_before_the_deadline() {
    check_all(
        &KINDS,
        |kind| format!("{kind:?}"),
        |kind| {
            let body = "trap '' TERM; BEGUN; while :; do sleep 0.01 || :; done";
            let is_in_time = |margin_ms: &u64| {
                let stopped = stop(*kind, *margin_ms, || sandbox_of_kind(*kind, body));
                stopped.time_left.is_some()
            };
            let margins_ms = [3000, 10_000, 30_000];
            assert!(
                margins_ms.iter().any(is_in_time),
                "the deadline passed each time"
            );
        },
    );
}

#[test]
fn the_spare_shell_is_not_stopped_and_runs_the_next_event() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    for (kind, isolation) in [
        (Restored, "restore"),
        (Warm, "none"),
        (Subshell, "subshell"),
    ] {
        let script = "handler() { if [[ $1 == stuck ]]; then sleep 600; fi; printf %s $$; }";
        let builder = Sandbox::of(script).env("COSHELL_ISOLATION", isolation);
        let sandbox = with_margin(builder, MARGIN_MS).start();
        let shell = sandbox.bootstrap.shell_pid();
        assert_eq!(sandbox.respond("first"), shell.to_string().as_bytes());
        sandbox.api.wait_parked();
        let mut shells = children(sandbox.bootstrap.pid());
        shells.retain(|pid| *pid != shell);
        let &[spare] = shells.as_slice() else {
            panic!("not exactly one spare shell: {shells:?}");
        };
        expect_timeout(&sandbox.invoke(event_stopped_after(150, "stuck")), &sandbox);
        let next = if kind == Subshell { shell } else { spare };
        assert_eq!(
            sandbox.respond("next"),
            next.to_string().as_bytes(),
            "{kind:?}"
        );
    }
}

/// This is the only handler in a subshell that costs the shell.
#[test]
fn a_handler_that_suspends_its_parent_shell_is_answered_with_an_error() {
    let stopped = stop(Subshell, MARGIN_MS, || {
        sandbox_of_kind(Subshell, "BEGUN; kill -STOP $$; sleep 600")
    });
    assert_eq!(stopped.sandbox.respond("next"), b"answer 1 to next");
    stopped.sandbox.api.wait_parked();
    // A new shell, and the fork for the next event.
    assert_eq!(processes_without_bootstrap(&stopped.sandbox).len(), 2);
}

/// From the second time on, when there is a file `slow`, the file takes ten minutes to load.
const SLOW_FILE: &str = r#"
if [[ -e $LAMBDA_TASK_ROOT/slow ]]; then
  (env -i setsid sleep 600 </dev/null >/dev/null 2>&1 &)
  : >"$LAMBDA_TASK_ROOT/begun"
  sleep 601
fi
handler() { printf 'answer to %s' "$1"; }
"#;

/// The idle shells die, so that the event that comes next waits until the file is loaded again.
fn stop_while_loading(isolation: &str, lanes: usize) {
    for time_ms in TIMES_MS {
        let builder = Sandbox::of(SLOW_FILE).env("COSHELL_ISOLATION", isolation);
        let sandbox = with_margin(builder.lanes(lanes), MARGIN_MS).start();
        sandbox.api.wait_all_parked(lanes);
        assert_eq!(sandbox.respond("first"), b"answer to first");
        sandbox.api.wait_all_parked(lanes);
        sandbox.task_root.write("slow", "");
        for process in processes_without_bootstrap(&sandbox).into_keys() {
            let process = as_pid(process);
            // If this fails, it is a fork that has ended with its shell.
            let _ = kill(process, Signal::SIGKILL);
        }
        let has_ended = || processes_without_bootstrap(&sandbox).is_empty();
        wait_until(has_ended, LIMIT);
        // Bootstrap does nothing after the answer until the file can be loaded again.
        let gate = Gate::new();
        sandbox.api.reply(Reply::Late(gate.clone()));
        let answer = sandbox.invoke(event_stopped_after(time_ms, "waiting"));
        let document = expect_timeout(&answer, &sandbox);
        let processes = processes_without_bootstrap(&sandbox);
        fs::remove_file(sandbox.task_root.path().join("slow")).expect("the file `slow`");
        gate.open();
        assert!(processes.is_empty(), "still running: {processes:?}");
        let text = message(&document);
        assert!(
            text.starts_with("handler was not started: loading "),
            "{text}"
        );
        assert!(!text.contains("builtin"), "{text}");
        for _ in 0..=lanes {
            assert_eq!(sandbox.respond("next"), b"answer to next");
        }
        let log = sandbox.bootstrap.log();
        assert_eq!(log.matches("\"level\":\"ERROR\"").count(), 1, "{log}");
        if sandbox.task_root.exists("begun") {
            let place = " during `sleep 601` in source (";
            // bash before 4.4 knows only the line of `source`.
            let has_place = text.contains(place) && text.contains("/function.sh:5)");
            assert!(has_place || support::always_forks(), "{text}");
            return;
        }
    }
    panic!("the file never reached its end");
}

#[test]
fn an_event_whose_shell_is_still_loading_the_file_is_answered_before_its_deadline() {
    let cases = ["none", "restore", "subshell", "process"]
        .map(|isolation| [(isolation, 1), (isolation, 2)]);
    check_all(
        cases.as_flattened(),
        |(isolation, lanes)| format!("{isolation}, {lanes} at a time"),
        |(isolation, lanes)| stop_while_loading(isolation, *lanes),
    );
}

/// Waits until the test opens the gate.
const GATED: &str = "read -r x <\"$LAMBDA_TASK_ROOT/gate\"";

#[test]
fn nothing_is_stopped_without_a_margin() {
    for margin in [None, Some(0)] {
        check_all(
            &KINDS,
            |kind| format!("{kind:?}"),
            |kind| {
                let builder = sandbox_of_kind(*kind, GATED);
                builder.task_root().fifo("gate");
                let builder = match margin {
                    Some(margin_ms) => with_margin(builder, margin_ms),
                    None => builder,
                };
                let sandbox = builder.start();
                let deadline = now() + Duration::from_millis(50);
                let event = event_with_deadline(deadline, "stuck");
                let request_id = event.request_id.clone();
                sandbox.api.push(event);
                wait_until(|| now() > deadline + Duration::from_millis(100), LIMIT);
                sandbox.task_root.release("gate");
                let answer = sandbox.api.wait_answer(&request_id);
                let expected = "partial outputanswer 1 to stuck";
                let shown = excerpt(&answer.body);
                assert!(
                    answer.is_response() && answer.body == expected.as_bytes(),
                    "{shown}"
                );
                assert_eq!(sandbox.bootstrap.final_log(), "");
            },
        );
    }
}

#[test]
fn a_handler_without_a_deadline_is_not_stopped() {
    let deadlines = [
        None,
        Some(""),
        Some("soon"),
        Some("-1"),
        Some("99999999999999999999999"),
    ];
    for kind in KINDS {
        let builder = sandbox_of_kind(kind, GATED);
        builder.task_root().fifo("gate");
        let sandbox = with_margin(builder, 1000).start();
        for deadline in deadlines {
            let event = match deadline {
                Some(value) => Event::fresh("stuck").header("Lambda-Runtime-Deadline-Ms", value),
                None => Event::fresh("stuck").without("Lambda-Runtime-Deadline-Ms"),
            };
            let request_id = event.request_id.clone();
            sandbox.api.push(event);
            sandbox.task_root.release("gate");
            let answer = sandbox.api.wait_answer(&request_id);
            assert!(answer.is_response(), "{kind:?} {deadline:?}");
        }
        assert_eq!(sandbox.bootstrap.final_log(), "");
    }
}

#[test]
fn a_handler_that_ends_in_time_ends_as_usual() {
    let script = r#"
handler() {
  case $1 in
    fail) return 3 ;;
    exit) exit 4 ;;
    false) false ;;
    job) sleep 600 >/dev/null & ;;
  esac
  printf 'on %s' "$1"
}"#;
    for isolation in ["none", "subshell", "process"] {
        let builder = Sandbox::of(script).env("COSHELL_ISOLATION", isolation);
        let sandbox = with_margin(builder, 1000).start();
        for (event, error_type) in [
            ("fail", "Function.HandlerFailed"),
            ("exit", "Function.HandlerExited"),
            ("false", "Function.CommandFailed"),
        ] {
            assert_eq!(sandbox.fail(event)["errorType"], error_type);
            assert_eq!(sandbox.respond("time"), b"on time");
        }
        assert_eq!(sandbox.respond("job"), b"on job");
        sandbox.api.wait_parked();
        let has_job = || {
            processes_without_bootstrap(&sandbox)
                .values()
                .any(|command| command.contains("sleep"))
        };
        wait_until(has_job, LIMIT);
    }
}

#[test]
fn a_handler_whose_deadline_is_too_near_is_not_started() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    for kind in KINDS {
        let sandbox = with_margin(sandbox_of_kind(kind, "BEGUN"), 30_000).start();
        assert_eq!(sandbox.respond("first"), b"answer 1 to first");
        sandbox.api.wait_parked();
        let shell = kind.is_function().then(|| sandbox.bootstrap.shell_pid());
        for deadline in [
            now() + Duration::from_secs(10),
            now().saturating_sub(Duration::from_secs(1)),
            Duration::ZERO,
        ] {
            let document = expect_timeout(
                &sandbox.invoke(event_with_deadline(deadline, "stuck")),
                &sandbox,
            );
            let message = message(&document);
            assert!(
                message.contains("was not started") && message.contains("30000 ms"),
                "{message}"
            );
        }
        assert!(!sandbox.task_root.exists("begun"), "{kind:?}");
        let count = if kind == Warm { 2 } else { 1 };
        let expected = format!("answer {count} to next");
        assert_eq!(String::from_utf8_lossy(&sandbox.respond("next")), expected);
        if matches!(kind, Restored | Warm | Subshell) {
            assert_eq!(
                Some(sandbox.bootstrap.shell_pid()),
                shell,
                "the shell was replaced"
            );
        }
        let log = sandbox.bootstrap.final_log();
        assert_eq!(
            log.matches("bootstrap: error: Function.Timeout: ").count(),
            3,
            "{log}"
        );
        assert_eq!(log.lines().count(), 3, "{log}");
    }
}
