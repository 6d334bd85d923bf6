//! `lambda_keep` when the shell is replaced, in every isolation, for every cause, with forks and without, and when a fork is
//! killed while it shows what it keeps.

use std::fs;

use nix::sys::signal::{Signal, kill};

use crate::deadline::check_all;
use support::{Event, LIMIT, Sandbox, as_pid, children, wait_until};

const ISOLATIONS: [&str; 4] = ["restore", "none", "subshell", "process"];

/// Counts in a variable that is kept. The hook writes the count to the file `ended`.
const COUNTER: &str = r#"
echo sourced >>"$LAMBDA_TASK_ROOT/sourced"
n=0
lambda_keep n
lambda_shutdown() { echo "$n" >>"$LAMBDA_TASK_ROOT/ended"; }
handler() {
  case $1 in
    count) n=$((n + 1)) ;;
    die) kill -9 $$ ;;
    leave) readonly left ;;
  esac
  echo "$n"
"#;

/// What costs the shell.
#[derive(Debug, Clone, Copy)]
enum Cause {
    /// The shell has served three events.
    Recycled,
    /// An event kills the shell.
    Killed,
    /// Three events in a row leave what bash cannot undo.
    Unrestorable,
    /// The fork that waits for the next event is killed; where there is none, the shell.
    Outside,
}

const CAUSES: [Cause; 4] = [
    Cause::Recycled,
    Cause::Killed,
    Cause::Unrestorable,
    Cause::Outside,
];

/// What the handler does last. With a job or a trap, `restore` runs events in forks from the start.
const ENDS: [&str; 4] = [":", ": & wait", "trap : EXIT", "trap : DEBUG"];

/// Costs the idle sandbox its shell, or its fork.
#[track_caller]
fn replace(sandbox: &Sandbox, cause: Cause) {
    match cause {
        Cause::Recycled => {}
        // A fork may answer before the death of its shell shows, so any answer will do.
        Cause::Killed => drop(sandbox.invoke(Event::fresh("die"))),
        Cause::Unrestorable => {
            for _ in 0..3 {
                sandbox.respond("leave");
            }
        }
        Cause::Outside => {
            sandbox.api.wait_parked();
            let forks = children(sandbox.bootstrap.shell_pid());
            if forks.is_empty() {
                sandbox.bootstrap.kill_shell();
            }
            for fork in forks {
                kill(as_pid(fork), Signal::SIGKILL).expect("a process");
                wait_until(|| !sandbox.bootstrap.processes().contains_key(&fork), LIMIT);
            }
        }
    }
}

#[test]
fn a_count_goes_on_and_the_hook_runs_whatever_costs_the_shell() {
    let mut cases = Vec::new();
    for isolation in ISOLATIONS {
        for cause in CAUSES {
            cases.extend(ENDS.map(|end| (isolation, cause, end)));
        }
    }
    check_all(
        &cases,
        |case| format!("{case:?}"),
        |(isolation, cause, end)| {
            let mut builder =
                Sandbox::of(&format!("{COUNTER}  {end}\n}}")).env("COSHELL_ISOLATION", isolation);
            if matches!(cause, Cause::Recycled) {
                builder = builder.env("COSHELL_RECYCLE_AFTER", "3");
            }
            let sandbox = builder.start();
            for number in 1..=9 {
                let response = sandbox.respond("count");
                assert_eq!(String::from_utf8_lossy(&response), number.to_string());
                if matches!(number, 3 | 6) {
                    replace(&sandbox, *cause);
                }
            }
            sandbox.api.wait_parked();
            sandbox.bootstrap.signal(Signal::SIGTERM);
            let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
            assert_eq!(sandbox.task_root.read("ended"), "9\n", "{log}");
            // The shell that takes over stays.
            let sourced = sandbox.task_root.read("sourced").lines().count();
            assert!(*isolation == "process" || sourced <= 4, "{sourced}: {log}");
        },
    );
}

/// The shell has ended while bootstrap waits for an event.
#[test]
fn the_hook_runs_with_what_was_kept_if_the_shell_has_ended() {
    for isolation in ISOLATIONS {
        for end in ENDS {
            let script = format!("{COUNTER}  {end}\n}}");
            let sandbox = Sandbox::of(&script)
                .env("COSHELL_ISOLATION", isolation)
                .start();
            sandbox.respond("count");
            sandbox.api.wait_parked();
            sandbox.bootstrap.kill_shell();
            sandbox.bootstrap.signal(Signal::SIGTERM);
            let log = sandbox.bootstrap.wait_clean_exit(LIMIT);
            assert_eq!(
                sandbox.task_root.read("ended"),
                "1\n",
                "{isolation}, {end}: {log}"
            );
        }
    }
}

/// Whether a fork is writing to its standard output, and that is the pipe through which it shows variables.
fn is_showing(fork: u32) -> bool {
    let file = |number| fs::read_link(format!("/proc/{fork}/fd/{number}")).ok();
    // The number of the system call, and its first argument.
    let call = fs::read_to_string(format!("/proc/{fork}/syscall")).unwrap_or_default();
    call.split(' ').nth(1) == Some("0x1") && file(1).is_some() && file(1) == file(66)
}

/// The variables are larger than a pipe, so the fork waits in the middle of what it shows as long as bootstrap does not read.
#[test]
fn a_fork_that_is_killed_while_it_shows_its_variables_loses_no_earlier_value() {
    let script = r#"
printf -v filler '%1000000s' x
n=0
lambda_keep filler n
handler() {
  n=$((n + 1))
  if [[ $1 == wait ]]; then
    echo "$BASHPID" >"$LAMBDA_TASK_ROOT/begun"
    read -r _ <"$LAMBDA_TASK_ROOT/gate"
  fi
  echo "$n ${#filler}"
"#;
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        for (isolation, end) in [("subshell", ":"), ("restore", ": & wait")] {
            println!("case: {signal}, {isolation}");
            let builder = Sandbox::of(&format!("{script}  {end}\n}}"));
            builder.task_root().fifo("gate");
            let sandbox = builder.env("COSHELL_ISOLATION", isolation).start();
            assert_eq!(sandbox.respond("count"), b"1 1000000");
            let event = Event::fresh("wait");
            let request_id = event.request_id.clone();
            sandbox.api.push(event);
            let fork = sandbox.task_root.wait_pid("begun");
            sandbox.bootstrap.signal(Signal::SIGSTOP);
            sandbox.task_root.release("gate");
            wait_until(|| is_showing(fork), LIMIT);
            kill(as_pid(fork), signal).expect("a process");
            sandbox.bootstrap.signal(Signal::SIGCONT);
            sandbox.api.wait_answer(&request_id);
            // The change of the event may be lost.
            let response = sandbox.respond("count");
            let text = String::from_utf8_lossy(&response);
            assert!(["2 1000000", "3 1000000"].contains(&&*text), "{text}");
        }
    }
}

#[test]
fn a_kept_variable_that_an_event_made_readonly_is_no_line_in_the_log() {
    for isolation in ["restore", "subshell"] {
        let script =
            "lambda_keep v\nhandler() { [[ $1 != set ]] || readonly v=5; echo \"${v-none}\"; }";
        let sandbox = Sandbox::of(script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for (event, expected) in [("x", "none"), ("set", "5"), ("x", "5"), ("x", "5")] {
            assert_eq!(sandbox.respond(event), expected.as_bytes(), "{isolation}");
        }
        assert_eq!(sandbox.bootstrap.final_log(), "", "{isolation}");
    }
}
