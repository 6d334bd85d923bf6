//! Processes that an invocation leaves running, for every kind of handler. They are reported once, or ended if the setting
//! says so. Orphans that end are reaped. `containment_processes.rs`, `scripts.rs` and `programs.rs` test their output.

use std::collections::BTreeMap;

use nix::sys::signal::{Signal, kill};

use support::{Event, LIMIT, Sandbox, SandboxBuilder, as_pid, children, wait_until, zombies};

/// Starts the kind of process that `$1` names, and prints its pid. Every leftover process has `sleep 600` in its command line.
const LEAVE: &str = r#"
runs() { until [[ $(<"/proc/$1/comm") == "$2" ]]; do :; done 2>/dev/null; }
is_there() { until [[ -e $LAMBDA_TASK_ROOT/$1 ]]; do sleep 0.01; done; }
leave() {
  case $1 in
    nothing) return ;;
    job)
      sleep 600 </dev/null >/dev/null 2>&1 &
      runs $! sleep
      echo $!
      ;;
    holder)
      sleep 600 &
      runs $! sleep
      echo $!
      ;;
    orphan)
      (
        sleep 600 >/dev/null 2>&1 &
        runs $! sleep
        echo $!
      )
      ;;
    daemon)
      setsid sleep 600 </dev/null >/dev/null 2>&1 &
      runs $! sleep
      echo $!
      ;;
    nohup)
      nohup sleep 600 </dev/null >/dev/null 2>&1 &
      runs $! sleep
      echo $!
      ;;
    stopped)
      sleep 600 </dev/null >/dev/null 2>&1 &
      runs $! sleep
      kill -STOP $!
      echo $!
      ;;
    stubborn)
      bash -c 'trap "" TERM HUP INT; : >"$LAMBDA_TASK_ROOT/stubborn$$"; while :; do sleep 600; done' </dev/null >/dev/null 2>&1 &
      is_there "stubborn$!"
      echo $!
      ;;
    family)
      bash -c '(trap "" TERM; exec sleep 600) & (sleep 600 & setsid sleep 600 & wait) & : >"$LAMBDA_TASK_ROOT/family$$"; wait' </dev/null >/dev/null 2>&1 &
      is_there "family$!"
      echo $!
      ;;
  esac
}
"#;
const KINDS: [&str; 8] = [
    "job", "holder", "orphan", "daemon", "nohup", "stopped", "stubborn", "family",
];

/// A handler of each kind that runs `lines` in bash, with the event as `$1`.
fn handlers(lines: &str) -> Vec<(&'static str, SandboxBuilder)> {
    let function = |isolation: &str| {
        let script = format!("{lines}\nhandler() {{ run \"$1\"; }}\n");
        Sandbox::of(&script).env("COSHELL_ISOLATION", isolation)
    };
    let script = format!("#!/bin/bash\n{lines}\nrun \"$1\"\n");
    // Python runs bash, so that the executable leaves the same processes.
    let program = format!(
        "#!/usr/bin/env python3\nimport os, sys\nos.execvp('bash', ['bash', '-c', r'''{lines}\nrun \"$1\"''', 'bash', sys.stdin.read()])\n"
    );
    vec![
        ("a function", function("restore")),
        ("a function without isolation", function("none")),
        ("a function in a subshell", function("subshell")),
        ("a function in a process", function("process")),
        (
            "a script",
            Sandbox::empty()
                .file("legacy.sh", script)
                .handler("legacy.sh")
                .event_as_argument(),
        ),
        (
            "an executable",
            Sandbox::empty().executable("tool", program).handler("tool"),
        ),
    ]
}

fn leaving_handlers() -> Vec<(&'static str, SandboxBuilder)> {
    handlers(&format!("{LEAVE}\nrun() {{ leave \"$1\"; }}\n"))
}

/// The leftover processes that are running.
fn leftovers(sandbox: &Sandbox) -> BTreeMap<u32, String> {
    let mut processes = sandbox.bootstrap.processes();
    processes.retain(|_, command| command.contains("sleep 600"));
    processes
}

/// Parses the pid that a handler printed.
fn parse_pid(response: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(response);
    text.trim()
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

/// The warnings about leftover processes in the log.
fn warnings(log: &str) -> Vec<&str> {
    log.lines()
        .filter(|line| line.starts_with("bootstrap: warn: process "))
        .collect()
}

/// The expected warning about the process that an event `kind` left.
fn warning(pid: u32, kind: &str, setting: &str) -> String {
    let name = if matches!(kind, "stubborn" | "family") {
        "bash"
    } else {
        "sleep"
    };
    let fate = if setting == "kill" {
        "killed"
    } else {
        "its output goes to the log"
    };
    format!(
        "bootstrap: warn: process {pid} ({name}) is still running after its invocation; {fate} (request id the-{kind})"
    )
}

#[test]
fn with_the_setting_kill_leftover_processes_are_ended_before_the_next_event_is_requested() {
    for (handler, builder) in leaving_handlers() {
        let sandbox = builder.env("COSHELL_LEFTOVERS", "kill").start();
        let mut expected = Vec::new();
        for kind in KINDS {
            println!("case: {handler}, {kind}");
            let pid = parse_pid(&sandbox.respond_to(Event::new(&format!("the-{kind}"), kind)));
            sandbox.api.wait_parked();
            let left = leftovers(&sandbox);
            assert!(left.is_empty(), "{left:?}\n{}", sandbox.bootstrap.log());
            expected.push(warning(pid, kind, "kill"));
            assert_eq!(sandbox.respond("nothing"), b"");
        }
        let log = sandbox.bootstrap.final_log();
        assert_eq!(warnings(&log), expected, "{handler}");
        assert!(!log.contains("sleep 600"), "the log has an argument: {log}");
        assert!(!log.contains("bootstrap: error"), "{log}");
    }
}

/// The process gets SIGTERM first. A stopped process must be continued to handle it.
#[test]
fn a_leftover_process_may_handle_sigterm_even_if_it_was_stopped() {
    let script = r#"
handler() {
  bash -c 'trap ": >\"\$LAMBDA_TASK_ROOT/$0\"; exit" TERM; : >"$LAMBDA_TASK_ROOT/ready-$0"; while :; do :; done' "$1" </dev/null >/dev/null 2>&1 &
  until [[ -e $LAMBDA_TASK_ROOT/ready-$1 ]]; do sleep 0.01; done
  [[ $1 != stopped* ]] || kill -STOP $!
}
"#;
    let sandbox = Sandbox::of(script).env("COSHELL_LEFTOVERS", "kill").start();
    for kind in ["running", "stopped"] {
        // It has 50 ms, which may be too little on a busy machine: then another one is tried.
        let mut number = 0;
        let handles_sigterm = || {
            number += 1;
            let name = format!("{kind}{number}");
            sandbox.respond(&name);
            sandbox.api.wait_parked();
            assert!(sandbox.task_root.exists(&format!("ready-{name}")));
            sandbox.task_root.exists(&name)
        };
        wait_until(handles_sigterm, LIMIT);
    }
}

#[test]
fn a_shell_lives_on_when_leftover_processes_are_ended() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    let script = format!(
        "{LEAVE}\nhandler() {{ count=$((${{count-0}} + 1)); leave \"$1\" >&2; printf '%s %s' $count $$; }}\n"
    );
    let sandbox = Sandbox::of(&script)
        .env("COSHELL_LEFTOVERS", "kill")
        .env("COSHELL_ISOLATION", "none")
        .start();
    let shell = sandbox.bootstrap.shell_pid();
    for (kind, number) in KINDS.iter().zip(1..) {
        let response = sandbox.respond(kind);
        assert_eq!(
            String::from_utf8_lossy(&response),
            format!("{number} {shell}"),
            "{kind}"
        );
    }
}

#[test]
fn wait_and_jobs_of_a_later_invocation_do_not_see_an_ended_job() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    let script = format!(
        "{LEAVE}\nhandler() {{ case $1 in wait) wait; wait -n || echo \"$?\" ;; jobs) jobs ;; *) leave \"$1\" ;; esac; }}\n"
    );
    for isolation in ["none", "subshell", "process"] {
        let sandbox = Sandbox::of(&script)
            .env("COSHELL_LEFTOVERS", "kill")
            .env("COSHELL_ISOLATION", isolation)
            .start();
        sandbox.respond("job");
        assert_eq!(sandbox.respond("jobs"), b"");
        assert_eq!(sandbox.respond("wait"), b"127");
        let log = sandbox.bootstrap.final_log();
        assert!(!log.contains("Terminated"), "{log}");
    }
}

#[test]
fn by_default_leftover_processes_live_on_and_are_reported_once() {
    for setting in [None, Some("keep")] {
        for (handler, builder) in leaving_handlers() {
            let builder = setting.into_iter().fold(builder, |builder, setting| {
                builder.env("COSHELL_LEFTOVERS", setting)
            });
            let sandbox = builder.start();
            let mut pids = Vec::new();
            for kind in KINDS {
                println!("case: {handler}, {kind}, {setting:?}");
                let request_id = format!("the-{kind}");
                pids.push(parse_pid(
                    &sandbox.respond_to(Event::new(&request_id, kind)),
                ));
                for _ in 0..2 {
                    assert_eq!(sandbox.respond("nothing"), b"");
                    sandbox.api.wait_parked();
                    let left = leftovers(&sandbox);
                    assert!(
                        pids.iter().all(|pid| left.contains_key(pid)),
                        "{pids:?}: {left:?}"
                    );
                }
            }
            let log = sandbox.bootstrap.final_log();
            let expected: Vec<_> = KINDS
                .iter()
                .zip(pids)
                .map(|(kind, pid)| warning(pid, kind, "keep"))
                .collect();
            assert_eq!(warnings(&log), expected, "{handler}");
            assert!(!log.contains("sleep 600"), "the log has an argument: {log}");
        }
    }
}

#[test]
fn leftover_processes_of_a_handler_that_fails_are_reported_or_ended_too() {
    for failure in [
        "return 3",
        "exit 3",
        "kill -9 $$",
        "kill -9 $BASHPID",
        "exec false",
    ] {
        let lines = format!(
            "{LEAVE}\nrun() {{ leave \"$1\" >\"$LAMBDA_TASK_ROOT/$1\"; [[ $1 == nothing ]] || {failure}; }}\n"
        );
        for setting in ["keep", "kill"] {
            for (handler, builder) in handlers(&lines) {
                // Here the shell dies. Its fork goes on for a while, and may be reported too.
                let is_forked = matches!(handler, "a function" | "a function in a subshell");
                if is_forked && failure == "kill -9 $$" {
                    continue;
                }
                let sandbox = builder.env("COSHELL_LEFTOVERS", setting).start();
                let mut expected = Vec::new();
                for kind in ["job", "orphan", "stubborn"] {
                    println!("case: {handler}, {failure}, {kind}, {setting}");
                    let answer = sandbox.invoke(Event::new(&format!("the-{kind}"), kind));
                    assert!(answer.is_error(), "{}", sandbox.api.transcript());
                    sandbox.api.wait_parked();
                    let pid = parse_pid(sandbox.task_root.read(kind).as_bytes());
                    let left = leftovers(&sandbox);
                    assert_eq!(left.contains_key(&pid), setting == "keep", "{left:?}");
                    assert!(setting == "keep" || left.is_empty(), "{left:?}");
                    expected.push(warning(pid, kind, setting));
                    assert_eq!(sandbox.respond("nothing"), b"");
                }
                let log = sandbox.bootstrap.final_log();
                assert_eq!(warnings(&log), expected, "{handler}, {failure}");
            }
        }
    }
}

/// Each process starts the next one and ends, like programs that put themselves into the background, only more often. While
/// coshell lists the children one may end, and its own child is not listed yet.
#[test]
fn a_chain_of_processes_that_start_each_other_does_not_escape() {
    let script = r"
chain() { if (($1)); then chain $(($1 - 1)) & exit; fi; exec sleep 600; }
handler() { (chain 12) </dev/null >/dev/null 2>&1; }
";
    for setting in ["keep", "kill"] {
        for isolation in ["none", "subshell", "process"] {
            let sandbox = Sandbox::of(script)
                .env("COSHELL_LEFTOVERS", setting)
                .env("COSHELL_ISOLATION", isolation)
                .start();
            for number in 0..40 {
                let request_id = format!("the-id-{number}");
                sandbox.respond_to(Event::new(&request_id, "x"));
                sandbox.api.wait_parked();
                if setting == "kill" {
                    let left = leftovers(&sandbox);
                    assert!(left.is_empty(), "{isolation}, {request_id}: {left:?}");
                } else {
                    // Only the last process of the chain is left.
                    wait_until(|| !leftovers(&sandbox).is_empty(), LIMIT);
                    kill_leftovers(&sandbox);
                }
            }
            let log = sandbox.bootstrap.final_log();
            let is_reported = |number: &i32| log.contains(&format!("(request id the-id-{number})"));
            let missing: Vec<_> = (0..40).filter(|number| !is_reported(number)).collect();
            assert!(
                missing.is_empty(),
                "{setting}, {isolation}: not reported: {missing:?}"
            );
        }
    }
}

/// Kills the leftover processes, as another program could.
fn kill_leftovers(sandbox: &Sandbox) {
    for pid in leftovers(sandbox).into_keys() {
        let pid = as_pid(pid);
        kill(pid, Signal::SIGKILL).expect("cannot send a signal");
    }
    wait_until(|| leftovers(sandbox).is_empty(), LIMIT);
}

/// The file may start processes that all invocations need.
#[test]
fn processes_that_the_file_started_are_neither_reported_nor_ended() {
    let script = "sleep 600 </dev/null >/dev/null 2>&1 &\nserver=$!\nhandler() { kill -0 $server && printf on; }\n";
    for setting in ["keep", "kill"] {
        for isolation in ["none", "subshell"] {
            let sandbox = Sandbox::of(script)
                .env("COSHELL_LEFTOVERS", setting)
                .env("COSHELL_ISOLATION", isolation)
                .start();
            for _ in 0..3 {
                assert_eq!(sandbox.respond("x"), b"on", "{setting}, {isolation}");
            }
            sandbox.api.wait_parked();
            wait_until(|| leftovers(&sandbox).len() == 1, LIMIT);
            assert_eq!(sandbox.bootstrap.final_log(), "");
        }
    }
}

// Orphans that end

/// Leaves an orphan that waits at the FIFO `gate`. For the event `ends` it opens the gate and waits for the end of the
/// orphan. The response is the state of the orphan.
const LEAVES_ORPHAN: &str = r#"
run() {
  read -r pid < <((bash -c 'echo $$; read -r _ <"$LAMBDA_TASK_ROOT/gate"; exit 3' 2>/dev/null </dev/null &))
  until look && [[ $parent == "$PPID" ]]; do :; done
  if [[ $1 == ends ]]; then
    : >"$LAMBDA_TASK_ROOT/gate"
    until look && [[ $state != [RSD] ]]; do :; done
  fi
  echo "$state"
}
look() {
  local stat=''
  read -r stat 2>/dev/null <"/proc/$pid/stat" || :
  read -r state parent _ <<<"${stat##*) }"
}
"#;

#[test]
fn orphans_that_end_during_an_invocation_are_reaped_after_it() {
    for (handler, builder) in handlers(LEAVES_ORPHAN) {
        println!("case: {handler}");
        let sandbox = builder.start();
        sandbox.task_root.fifo("gate");
        for _ in 0..3 {
            assert_eq!(sandbox.respond("ends"), b"Z");
            sandbox.api.wait_parked();
            assert_eq!(zombies(sandbox.bootstrap.pid()), [0; 0]);
        }
        // Three process substitutions in a row cause one log line about forks.
        let log = sandbox.bootstrap.final_log();
        assert!(
            warnings(&log).is_empty() && log.lines().count() <= 1,
            "{log}"
        );
    }
}

#[test]
fn orphans_that_end_between_events_are_reaped() {
    for (handler, builder) in handlers(LEAVES_ORPHAN) {
        println!("case: {handler}");
        let sandbox = builder.start();
        sandbox.task_root.fifo("gate");
        for _ in 0..2 {
            assert_ne!(sandbox.respond("waits"), b"Z");
            sandbox
                .bootstrap
                .wait_log("is still running after its invocation");
            sandbox.api.wait_parked();
            let bootstrap = sandbox.bootstrap.pid();
            let before = children(bootstrap);
            sandbox.task_root.release("gate");
            // A zombie would still be a child.
            wait_until(|| children(bootstrap).len() == before.len() - 1, LIMIT);
            assert_eq!(zombies(bootstrap), [0; 0]);
        }
        // No other process was taken for an orphan.
        assert_eq!(sandbox.respond("ends"), b"Z");
    }
}

/// Several children that end may cause only one SIGCHLD.
#[test]
fn many_orphans_that_end_at_once_are_reaped() {
    let script = r"handler() {
  for _ in {1..100}; do
    (exec sleep 600 </dev/null >/dev/null 2>&1 &)
  done
}";
    let sandbox = Sandbox::of(script).env("COSHELL_SPARE", "off").start();
    sandbox.respond("x");
    sandbox.api.wait_parked();
    wait_until(|| leftovers(&sandbox).len() == 100, LIMIT);
    let bootstrap = sandbox.bootstrap.pid();
    assert_eq!(children(bootstrap).len(), 101);
    kill_leftovers(&sandbox);
    wait_until(|| children(bootstrap).len() == 1, LIMIT);
    assert_eq!(
        sandbox
            .bootstrap
            .final_log()
            .matches("is still running")
            .count(),
        100
    );
}

/// The fork reports its end when another shell has taken over.
#[test]
fn what_a_fork_reports_after_the_death_of_its_shell_is_not_logged() {
    let script = r#"
handler() {
  if [[ $1 == die ]]; then
    kill -9 $$
    echo "$BASHPID" >"$LAMBDA_TASK_ROOT/begun"
    read -r _ <"$LAMBDA_TASK_ROOT/gate"
    echo late >&2
  fi
  echo "$1"
"#;
    for (isolation, end) in [("subshell", ":"), ("restore", ": & wait")] {
        let builder = Sandbox::of(&format!("{script}  {end}\n}}"));
        builder.task_root().fifo("gate");
        let sandbox = builder.env("COSHELL_ISOLATION", isolation).start();
        sandbox.respond("one");
        assert_eq!(sandbox.fail("die")["errorType"], "Function.ShellKilled");
        sandbox.respond("two");
        let fork = sandbox.task_root.wait_pid("begun");
        sandbox.task_root.release("gate");
        wait_until(|| !sandbox.bootstrap.processes().contains_key(&fork), LIMIT);
        sandbox.bootstrap.wait_log("late\n");
        sandbox.respond("three");
        sandbox.api.wait_parked();
        sandbox.bootstrap.signal(Signal::SIGTERM);
        let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
        assert!(!log.contains('\0'), "{isolation}: {log:?}");
    }
}
