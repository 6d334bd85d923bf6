//! `lambda_keep` when the shell is replaced: in every isolation, for every cause, with forks and without.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::deadline::check_all;
use support::{Event, LIMIT, Sandbox, children, wait_until};

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

fn kill_process(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    kill(pid, Signal::SIGKILL).expect("a process");
}

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
                kill_process(fork);
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
