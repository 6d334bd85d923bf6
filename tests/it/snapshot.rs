//! SnapStart: the hooks before the snapshot and after the restore, and state that must differ in every copy.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use support::{Call, Event, LIMIT, Process, Reply, Sandbox, SandboxBuilder, wait_until};

const ISOLATIONS: [&str; 3] = ["none", "subshell", "process"];

/// The file and its hooks write to the file `ran`.
const HOOKS: &str = r#"
ran=$LAMBDA_TASK_ROOT/ran
echo file >>"$ran"
lambda_before_snapshot() { echo before >>"$ran"; }
lambda_after_restore() { echo after >>"$ran"; }
handler() { printf 'healthy %s' "$1"; }
"#;

fn snap_start(script: &str) -> SandboxBuilder {
    Sandbox::of(script).env("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
}

/// Starts a sandbox, waits for the snapshot, and restores it.
#[track_caller]
fn start_restored(builder: SandboxBuilder) -> Sandbox {
    let sandbox = builder.start();
    sandbox.api.wait_snapshot();
    sandbox.api.restore(Reply::restored());
    sandbox
}

fn count(sandbox: &Sandbox, is: fn(&Call) -> bool) -> usize {
    sandbox.api.calls().iter().filter(|call| is(call)).count()
}

/// The open sockets of a process.
fn sockets(pid: u32) -> BTreeSet<PathBuf> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors");
    let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .collect()
}

// The order of events

#[test]
fn hooks_run_before_and_after_the_snapshot_and_their_output_is_logged() {
    let script = r#"
lambda_before_snapshot() { echo "before $#"; cat; echo 'before on stderr' >&2; }
lambda_after_restore() { echo "after $#"; cat; echo 'after on stderr' >&2; }
handler() { printf 'healthy %s' "$1"; }
"#;
    for isolation in ISOLATIONS {
        let sandbox = snap_start(script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        sandbox.api.wait_snapshot();
        // The log is complete before the snapshot.
        let log = "before 0\nbefore on stderr\n";
        sandbox.bootstrap.wait_log(log);
        assert_eq!(sandbox.bootstrap.log(), log);
        assert_eq!(sandbox.api.next_count(), 0);
        sandbox.api.restore(Reply::restored());
        assert_eq!(sandbox.respond("a"), b"healthy a");
        assert_eq!(sandbox.respond("b"), b"healthy b");
        let calls = sandbox.api.calls();
        assert!(calls[0].is_restore_next(), "{}", sandbox.api.transcript());
        assert!(calls[0].body.is_empty());
        assert_eq!(count(&sandbox, Call::is_restore_next), 1);
        let log = "before 0\nbefore on stderr\nafter 0\nafter on stderr\n";
        assert_eq!(sandbox.bootstrap.final_log(), log);
    }
}

#[test]
fn a_function_without_hooks_waits_for_its_restore_too() {
    for isolation in ISOLATIONS {
        let builder = snap_start("handler() { printf 'healthy %s' \"$1\"; }");
        let sandbox = start_restored(builder.env("COSHELL_ISOLATION", isolation));
        assert_eq!(sandbox.respond("a"), b"healthy a");
        assert_eq!(sandbox.bootstrap.final_log(), "");
    }
}

#[test]
fn there_is_no_snapshot_for_other_initialization_types() {
    for kind in [
        None,
        Some("on-demand"),
        Some("provisioned-concurrency"),
        Some("lambda-managed-instances"),
        Some("any"),
    ] {
        let builder = Sandbox::of(HOOKS);
        let sandbox = match kind {
            Some(kind) => builder.env("AWS_LAMBDA_INITIALIZATION_TYPE", kind).start(),
            None => builder
                .without_env("AWS_LAMBDA_INITIALIZATION_TYPE")
                .start(),
        };
        assert_eq!(sandbox.respond("a"), b"healthy a");
        assert_eq!(sandbox.task_root.read("ran"), "file\n", "{kind:?}");
        assert_eq!(count(&sandbox, Call::is_restore_next), 0);
    }
}

#[test]
fn scripts_and_executables_have_no_hooks_but_wait_for_their_restore() {
    let script = "lambda_before_snapshot() { echo before >&2; }\nprintf '%s' \"$$\"\n";
    for spare in ["on", "off"] {
        let builder = snap_start("").file("legacy.sh", script);
        // Before 5.0, bash starts with the event if that is an argument, and so none waits.
        let builder = if support::bash_version() < (5, 0) {
            builder
        } else {
            builder.event_as_argument()
        };
        let builder = builder.handler("legacy.sh").env("COSHELL_SPARE", spare);
        let sandbox = builder.start();
        sandbox.api.wait_snapshot();
        let before = sandbox.bootstrap.shell_pid();
        sandbox.api.restore(Reply::restored());
        sandbox.api.wait_parked();
        // The bash that waited during the snapshot would be the same in every copy, so it is replaced.
        let is_running = |pid: u32| sandbox.bootstrap.processes().contains_key(&pid);
        assert!(!is_running(before));
        assert_ne!(sandbox.respond(""), before.to_string().into_bytes());
        assert_eq!(count(&sandbox, Call::is_restore_next), 1);
        assert_eq!(sandbox.bootstrap.final_log(), "");
    }
    let builder =
        snap_start("").executable("program.py", "#!/usr/bin/env python3\nprint('healthy')\n");
    let sandbox = start_restored(builder.handler("program.py"));
    assert_eq!(sandbox.respond(""), b"healthy");
}

// State that the hooks leave

#[test]
fn each_invocation_finds_the_state_that_the_hooks_set_up() {
    let script = r#"
lambda_before_snapshot() {
  cd /
  umask 027
  exec 7>"$LAMBDA_TASK_ROOT/before"
  before=1
}
lambda_after_restore() {
  exec 7>&- 8>"$LAMBDA_TASK_ROOT/after"
  umask 026
  shopt -s dotglob
  trap 'echo signal >&8' USR1
  trap 'echo end >&8' EXIT
  IFS=:
  sleep 600 &
}
handler() {
  [[ ! -e /proc/self/fd/7 && -e /proc/self/fd/8 ]] || return 7
  [[ $before == 1 && $PWD == / && $IFS == : ]] || return 6
  kill -USR1 $$
  printf '%s %s %s' "$(umask)" "$(shopt -p dotglob)" "$$"
  cd /proc
  umask 077
  shopt -u dotglob
  trap - USR1
  exec 9>/dev/null
  IFS=x
}
"#;
    let sandbox = start_restored(snap_start(script));
    let first = sandbox.respond("");
    let text = String::from_utf8_lossy(&first).into_owned();
    assert!(text.starts_with("0026 shopt -s dotglob "), "{text}");
    for _ in 0..3 {
        assert_eq!(sandbox.respond(""), first);
    }
    sandbox.api.wait_parked();
    assert_eq!(sandbox.task_root.read("after"), "signal\n".repeat(4));
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

#[test]
fn a_new_shell_after_the_restore_runs_no_hooks() {
    let script = format!("{HOOKS}\nhandler() {{ [[ $1 != die ]] || kill -9 $$; }}");
    let sandbox = start_restored(snap_start(&script));
    for _ in 0..2 {
        sandbox.fail("die");
        sandbox.respond("x");
    }
    // The last line comes from the next spare shell.
    sandbox.api.wait_parked();
    let expected = "file\nbefore\nafter\nfile\nfile\n";
    assert_eq!(sandbox.task_root.read("ran"), expected);
}

#[test]
fn a_shell_that_ends_during_the_snapshot_is_replaced() {
    let sandbox = snap_start(HOOKS).start();
    sandbox.api.wait_snapshot();
    sandbox.bootstrap.kill_shell();
    sandbox.api.restore(Reply::restored());
    assert_eq!(sandbox.respond("a"), b"healthy a");
    assert_eq!(sandbox.task_root.read("ran"), "file\nbefore\nfile\nafter\n");
}

// State that must differ in every copy

#[test]
fn random_numbers_differ_after_each_restore() {
    // Bash 4.2 seeds RANDOM anew in each fork.
    if support::always_forks() {
        return;
    }
    let script = "RANDOM=1\nhandler() { printf '%s' \"$RANDOM $RANDOM $RANDOM $RANDOM\"; }\n";
    let seeded = || Sandbox::of(script).start().respond("");
    assert_eq!(seeded(), seeded());
    let copies = [
        start_restored(snap_start(script)),
        start_restored(snap_start(script)),
    ];
    let drawn = copies.map(|copy| copy.respond(""));
    assert_ne!(drawn[0], drawn[1]);
    assert!(!drawn.contains(&seeded()));
    // The hook after the restore gets new random numbers, too.
    let script = r#"
RANDOM=1
lambda_after_restore() { drawn="$RANDOM $RANDOM $RANDOM $RANDOM"; }
handler() { printf '%s' "$drawn"; }
"#;
    let copies = [
        start_restored(snap_start(script)),
        start_restored(snap_start(script)),
    ];
    let drawn = copies.map(|copy| copy.respond(""));
    assert_ne!(drawn[0], drawn[1]);
    assert!(!drawn.contains(&seeded()));
}

#[test]
fn an_ordinary_variable_named_random_is_not_changed() {
    let script = "unset RANDOM\nRANDOM=mine\nhandler() { printf '%s' \"$RANDOM\"; }\n";
    assert_eq!(start_restored(snap_start(script)).respond(""), b"mine");
    let script = "unset RANDOM\nhandler() { printf '%s' \"${RANDOM-unset}\"; }\n";
    assert_eq!(start_restored(snap_start(script)).respond(""), b"unset");
}

#[test]
fn random_numbers_that_cannot_be_seeded_again_are_reported() {
    // Before 5.1, a readonly RANDOM has no value.
    if support::bash_version() < (5, 1) {
        return;
    }
    let script = format!("readonly RANDOM\n{HOOKS}");
    let sandbox = start_restored(snap_start(&script));
    assert_eq!(sandbox.respond("a"), b"healthy a");
    assert_eq!(sandbox.task_root.read("ran"), "file\nbefore\nafter\n");
    let log = sandbox.bootstrap.final_log();
    assert!(log.contains("RANDOM: readonly variable"), "{log}");
}

#[test]
fn new_connections_are_opened_after_the_restore() {
    let script = format!("{HOOKS}\nlambda_shutdown() {{ :; }}");
    let sandbox = snap_start(&script).start();
    sandbox.api.wait_snapshot();
    let extensions = || count(&sandbox, Call::is_extension_next);
    wait_until(|| extensions() == 1, LIMIT);
    let before = sockets(sandbox.bootstrap.pid());
    assert_eq!(before.len(), 2, "{before:?}");
    sandbox.api.restore(Reply::restored());
    sandbox.api.wait_parked();
    wait_until(|| extensions() == 2, LIMIT);
    // The thread that waits on the old connection takes a moment to notice its end.
    wait_until(
        || sockets(sandbox.bootstrap.pid()).is_disjoint(&before),
        LIMIT,
    );
    assert_eq!(sockets(sandbox.bootstrap.pid()).len(), 2);
    assert_eq!(sandbox.respond("a"), b"healthy a");
    assert_eq!(count(&sandbox, Call::is_extension_register), 1);
    let calls = sandbox.api.calls();
    let waited: Vec<_> = calls
        .iter()
        .filter(|call| call.is_extension_next())
        .collect();
    for call in &waited {
        let identifier = call.header("Lambda-Extension-Identifier");
        assert_eq!(identifier, Some("an-identifier"));
        let on_its_connection = calls.iter().filter(|one| one.connection == call.connection);
        assert_eq!(on_its_connection.count(), 1);
    }
    assert_eq!(sandbox.api.connection_count(), 4);
}

#[test]
fn a_restore_over_a_broken_connection_is_requested_again() {
    let script = format!("{HOOKS}\nlambda_shutdown() {{ echo shutdown >>\"$ran\"; }}");
    for reply in [
        Reply::restored(),
        // The Runtime API has replied before, but the reply was lost.
        Reply::refused(403, "InvalidStateTransition"),
    ] {
        let sandbox = snap_start(&script).start();
        sandbox.api.wait_snapshot();
        sandbox.api.close_connections();
        wait_until(|| count(&sandbox, Call::is_restore_next) == 2, LIMIT);
        sandbox.api.restore(Reply::Close);
        sandbox.api.restore(reply);
        assert_eq!(sandbox.respond("a"), b"healthy a");
        sandbox.api.wait_parked();
        sandbox.bootstrap.signal(Signal::SIGTERM);
        assert_eq!(sandbox.bootstrap.wait_clean_exit(LIMIT), "");
        let expected = "file\nbefore\nafter\nshutdown\n";
        assert_eq!(sandbox.task_root.read("ran"), expected);
    }
}

// Failures

#[test]
fn a_rejected_restore_ends_bootstrap() {
    for (reply, cause) in [
        (
            Reply::refused(403, "InvalidStateTransition"),
            "the Runtime API answered 403 (the Runtime API does not expect this call now): InvalidStateTransition: refused",
        ),
        (
            Reply::Status(404, String::new()),
            "the Runtime API answered 404",
        ),
        (
            Reply::Status(500, String::new()),
            "the Runtime API answered 500",
        ),
        (
            Reply::Status(202, String::new()),
            "the Runtime API answered 202",
        ),
    ] {
        let sandbox = snap_start(HOOKS).start();
        let api = sandbox.api.address();
        sandbox.api.restore(reply);
        assert_eq!(sandbox.bootstrap.wait_failure(LIMIT), 1);
        let line = format!("bootstrap: fatal: cannot wait for the restore at {api}: {cause}");
        assert_eq!(Process::bootstrap_lines(&sandbox.bootstrap.log()), [line]);
        assert_eq!(count(&sandbox, Call::is_next), 0);
        assert_eq!(sandbox.task_root.read("ran"), "file\nbefore\n");
    }
}

#[test]
fn a_restore_that_fails_again_and_again_ends_bootstrap() {
    let sandbox = snap_start(HOOKS).start();
    for _ in 0..4 {
        sandbox.api.restore(Reply::Close);
    }
    assert_eq!(sandbox.bootstrap.wait_failure(LIMIT), 1);
    let log = sandbox.bootstrap.log();
    assert!(
        log.starts_with("bootstrap: fatal: cannot wait for the restore at "),
        "{log}"
    );
    assert_eq!(count(&sandbox, Call::is_restore_next), 4);
}

/// The command of a hook, the beginning of the error message, and whether the stack trace has a frame of the hook.
const FAILURES: [(&str, &str, bool); 7] = [
    (
        "grep -q x /dev/null",
        "`grep -q x /dev/null` ended with status 1 in HOOK (FILE:3)",
        true,
    ),
    ("return 3", "returned status 3", false),
    ("exit 4", "exited with status 4 in HOOK (FILE:3)", true),
    (
        "echo \"$NO_SUCH_NAME\"",
        "shell ended with status 1 during `echo \"$NO_SUCH_NAME\"` in HOOK (FILE:3)",
        true,
    ),
    ("kill -9 $$", "shell killed by SIGKILL during HOOK", false),
    (
        "exec /bin/sh -c 'exit 7'",
        "shell ended with status 7 during HOOK",
        false,
    ),
    (
        "fails() { echo why >&2; false; }; fails",
        "`false` ended with status 1 in fails (FILE:3)\nwhy",
        true,
    ),
];

#[test]
fn the_error_of_a_hook_has_the_command_and_the_place_and_bootstrap_ends() {
    for (hook, error_type, status) in [
        ("lambda_before_snapshot", "Runtime.BeforeSnapshotError", 64),
        ("lambda_after_restore", "Runtime.AfterRestoreError", 65),
    ] {
        for (command, text, has_frame) in FAILURES {
            println!("case: {hook}, {command}");
            let script = format!(
                "handler() {{ :; }}\n{hook}() {{\n  {command}\n}}\nsleep 600 &\nlambda_shutdown() {{ :; }}\n"
            );
            let sandbox = snap_start(&script).start();
            if status == 65 {
                sandbox.api.wait_snapshot();
                sandbox.api.restore(Reply::restored());
            }
            let call = if status == 64 {
                sandbox.api.wait_init_error()
            } else {
                sandbox.api.wait_restore_error()
            };
            let header = call.header("Lambda-Runtime-Function-Error-Type");
            assert_eq!(header, Some(error_type));
            assert_eq!(call.header("Content-Type"), Some("application/json"));
            let document = call.error_document();
            assert_eq!(document["errorType"], error_type);
            let file = sandbox.task_root.path().join("function.sh");
            let text = text
                .replace("HOOK", hook)
                .replace("FILE", &file.to_string_lossy());
            let message = document["errorMessage"].as_str().unwrap_or_default();
            let expected = [format!("{hook}: {text}"), format!("{hook} {text}")];
            assert!(
                expected.iter().any(|start| message.starts_with(start)),
                "{message}"
            );
            let stack = document["stackTrace"].as_array().expect("a stack");
            let names_hook = stack
                .iter()
                .any(|frame| frame.as_str().is_some_and(|frame| frame.starts_with(hook)));
            assert_eq!(names_hook, has_frame, "{document}");
            assert_eq!(sandbox.bootstrap.wait_failure(LIMIT), status);
            let log = sandbox.bootstrap.log();
            let first = message.lines().next().unwrap_or_default();
            let fatal = format!("bootstrap: fatal: {first}");
            assert_eq!(Process::bootstrap_lines(&log), [fatal], "{log}");
            assert_eq!(count(&sandbox, Call::is_next), 0);
            let restores = usize::from(status == 65);
            assert_eq!(count(&sandbox, Call::is_restore_next), restores);
        }
    }
}

#[test]
fn the_error_of_a_hook_has_the_place_in_every_isolation() {
    for isolation in ["subshell", "process"] {
        for command in ["false", "exit 1"] {
            let script =
                format!("handler() {{ :; }}\nlambda_after_restore() {{\n  {command}\n}}\n");
            let sandbox = start_restored(snap_start(&script).env("COSHELL_ISOLATION", isolation));
            let document = sandbox.api.wait_restore_error().error_document();
            let message = document["errorMessage"].as_str().unwrap_or_default();
            let place = "function.sh:3)";
            assert!(
                message.contains("status 1") && message.contains(place),
                "{isolation}: {message}"
            );
            assert_eq!(sandbox.bootstrap.wait_failure(LIMIT), 65);
        }
    }
}

#[test]
fn a_hook_may_exit_with_status_0() {
    let script = format!(
        "{HOOKS}\nlambda_before_snapshot() {{ exit; }}\nlambda_after_restore() {{ exit 0; }}"
    );
    let sandbox = start_restored(snap_start(&script));
    assert_eq!(sandbox.respond("a"), b"healthy a");
    assert_eq!(sandbox.respond("b"), b"healthy b");
    assert_eq!(sandbox.task_root.read("ran"), "file\n");
}

#[test]
fn hooks_have_the_options_of_the_handler() {
    let script = format!(
        "{HOOKS}\nlambda_after_restore() {{ false; echo \"$NO_SUCH_NAME\"; echo \"[$-]\"; }}"
    );
    let sandbox = start_restored(snap_start(&script).env("COSHELL_SHELL_OPTIONS", ""));
    assert_eq!(sandbox.respond("a"), b"healthy a");
    let log = sandbox.bootstrap.final_log();
    assert!(log.starts_with("\n["), "{log}");
}

#[test]
fn a_rejected_restore_error_is_logged() {
    let script = format!("{HOOKS}\nlambda_after_restore() {{ return 3; }}");
    let sandbox = snap_start(&script).start();
    sandbox
        .api
        .reply_to_restore_error(Reply::refused(403, "InvalidStateTransition"));
    sandbox.api.wait_snapshot();
    sandbox.api.restore(Reply::restored());
    assert_eq!(sandbox.bootstrap.wait_failure(LIMIT), 65);
    let log = sandbox.bootstrap.log();
    let lines = Process::bootstrap_lines(&log);
    assert_eq!(lines.len(), 2, "{log}");
    let refused =
        "bootstrap: error: Lambda rejected the restore error: the Runtime API answered 403";
    assert!(lines[0].starts_with(refused), "{log}");
    assert_eq!(
        lines[1],
        "bootstrap: fatal: lambda_after_restore returned status 3"
    );
}

// Shutdown

#[test]
fn a_sandbox_that_waits_for_its_restore_ends_cleanly() {
    let script = format!("{HOOKS}\nlambda_shutdown() {{ echo shutdown >>\"$ran\"; }}");
    for isolation in ISOLATIONS {
        let builder = snap_start(&script).env("COSHELL_ISOLATION", isolation);
        let sandbox = builder.start();
        sandbox.api.wait_snapshot();
        sandbox.bootstrap.signal(Signal::SIGTERM);
        assert_eq!(sandbox.bootstrap.wait_clean_exit(LIMIT), "");
        assert_eq!(sandbox.task_root.read("ran"), "file\nbefore\nshutdown\n");
    }
}

#[test]
fn a_running_hook_is_stopped_with_everything_it_started() {
    for isolation in ISOLATIONS {
        for hook in ["lambda_before_snapshot", "lambda_after_restore"] {
            println!("case: {isolation}, {hook}");
            let script = format!(
                "{HOOKS}\nlambda_shutdown() {{ echo shutdown >>\"$ran\"; }}\n\
                 {hook}() {{ sleep 600 & : >\"$LAMBDA_TASK_ROOT/begun\"; sleep 600; }}"
            );
            let builder = snap_start(&script).env("COSHELL_ISOLATION", isolation);
            let sandbox = builder.start();
            if hook == "lambda_after_restore" {
                sandbox.api.wait_snapshot();
                sandbox.api.restore(Reply::restored());
            }
            wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
            sandbox.bootstrap.signal(Signal::SIGTERM);
            let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
            assert!(Process::bootstrap_lines(&log).is_empty(), "{log}");
            // A fresh shell takes the place of the one that was stopped.
            assert!(sandbox.task_root.read("ran").ends_with("file\nshutdown\n"));
            let calls = sandbox.api.calls();
            let is_error = |call: &Call| call.is_init_error() || call.is_restore_error();
            assert!(!calls.iter().any(is_error));
        }
    }
}

#[test]
fn a_hook_that_ends_soon_after_the_signal_is_no_failure() {
    let script = format!(
        "{HOOKS}\nlambda_shutdown() {{ echo shutdown >>\"$ran\"; }}\n\
         lambda_after_restore() {{ : >\"$LAMBDA_TASK_ROOT/begun\"; read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; }}"
    );
    let builder = snap_start(&script);
    builder.task_root().fifo("gate");
    let sandbox = start_restored(builder);
    wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
    sandbox.bootstrap.signal(Signal::SIGTERM);
    sandbox.task_root.release("gate");
    assert_eq!(sandbox.bootstrap.wait_clean_exit(LIMIT), "");
    assert_eq!(sandbox.task_root.read("ran"), "file\nbefore\nshutdown\n");
    assert_eq!(count(&sandbox, Call::is_next), 0);
}

#[test]
fn a_restored_function_ends_cleanly() {
    let script = format!("{HOOKS}\nlambda_shutdown() {{ echo shutdown >>\"$ran\"; }}");
    let sandbox = start_restored(snap_start(&script));
    sandbox.api.push(Event::fresh("a"));
    sandbox.api.wait_parked();
    sandbox.bootstrap.signal(Signal::SIGTERM);
    assert_eq!(sandbox.bootstrap.wait_clean_exit(LIMIT), "");
    let expected = "file\nbefore\nafter\nshutdown\n";
    assert_eq!(sandbox.task_root.read("ran"), expected);
}
