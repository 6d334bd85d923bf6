//! Processes that a handler leaves running. They never delay an answer, never write into another answer, and are reported in
//! the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::containment::Case;
use support::{Event, LIMIT, Process, Sandbox, TaskRoot, children, open_descriptors, wait_until};

/// The handler starts the kind of process that `$1` names, and answers at once. The process reads the FIFO `gate` before it
/// writes.
const LEAVES_PROCESSES: &str = r#"
late() {
  read -r _ <"$LAMBDA_TASK_ROOT/gate"
  echo "late output"
  echo "late error" >&2
}
handler() {
  count=$((${count-0} + 1))
  case $1 in
    job) late & ;;
    job-with-stdin) cat >"$LAMBDA_TASK_ROOT/stolen" & ;;
    orphan) (late &) ;;
    daemon) setsid bash -c "$(declare -f late); late & exit" ;;
    nohup) nohup bash -c "$(declare -f late); late" & ;;
    disowned) late & disown ;;
    silent) sleep 600 >/dev/null 2>&1 </dev/null & until [[ $(</proc/$!/comm) == sleep ]]; do :; done ;;
    substitution) exec {kept_fd}> >(late) ;;
    chatty) while :; do echo chatter || exit; done 2>/dev/null & ;;
    wait) wait ;;
    jobs) jobs ;;
    die) late & kill -9 $$ ;;
    fail) late & false ;;
    unset) return 3 ;;
  esac
  printf 'answer %s to %s' "$count" "$1"
}
"#;

/// Starts a sandbox without a spare shell, which would be one more process. The count in the responses shows whether the
/// shell lives on.
fn start_sandbox() -> Sandbox {
    let sandbox = Sandbox::of(LEAVES_PROCESSES)
        .env("COSHELL_ISOLATION", "none")
        .env("COSHELL_SPARE", "off")
        .start();
    sandbox.task_root.fifo("gate");
    sandbox
}

/// The running processes except bootstrap and its bash.
fn leftovers(process: &Process) -> BTreeMap<u32, String> {
    let mut processes = process.processes();
    processes.remove(&process.pid());
    processes.remove(&process.shell_pid());
    processes
}

#[test]
fn late_output_of_a_leftover_process_goes_to_the_log_with_a_warning() {
    for kind in ["job", "orphan", "daemon", "nohup", "disowned"] {
        println!("case: {kind}");
        let sandbox = start_sandbox();
        assert_eq!(
            sandbox.respond(kind),
            format!("answer 1 to {kind}").as_bytes()
        );
        sandbox.api.wait_parked();
        // A process cannot be found during execve, while it has no environment.
        wait_until(|| !leftovers(&sandbox.bootstrap).is_empty(), LIMIT);
        let found = leftovers(&sandbox.bootstrap);
        sandbox.bootstrap.wait_log("bootstrap: warn: process ");
        let log = sandbox.bootstrap.log();
        let is_named = found
            .keys()
            .any(|pid| log.contains(&format!("process {pid} (")));
        assert!(is_named, "{found:?} is not named in:\n{log}");
        assert_eq!(log.matches("bootstrap: ").count(), 1, "{log}");
        // One invocation runs before the late output, another one afterwards.
        assert_eq!(
            sandbox.respond("second"),
            format!("answer {} to second", support::count_after(2)).as_bytes()
        );
        sandbox.task_root.release("gate");
        sandbox.bootstrap.wait_log("late output\n");
        sandbox.bootstrap.wait_log("late error\n");
        assert_eq!(
            sandbox.respond("third"),
            format!("answer {} to third", support::count_after(3)).as_bytes(),
            "variables live on"
        );
        wait_until(|| leftovers(&sandbox.bootstrap).is_empty(), LIMIT);
        let log = sandbox.bootstrap.final_log();
        assert_eq!(log.matches("bootstrap: ").count(), 1, "one warning: {log}");
    }
}

#[test]
fn late_output_after_a_failure_is_in_no_response() {
    for kind in ["fail", "die"] {
        println!("case: {kind}");
        let sandbox = start_sandbox();
        sandbox.fail(kind);
        let next = sandbox.respond("second");
        assert!(next.ends_with(b" to second") && next.starts_with(b"answer"));
        sandbox.task_root.release("gate");
        sandbox.bootstrap.wait_log("late output\n");
        assert!(sandbox.respond("third").ends_with(b" to third"));
    }
}

/// The leftover process keeps the pipe of its response full. That must neither block bootstrap nor reach another response.
/// It also has the event open, so that the shell opens a new file for each later event; it must survive that.
#[test]
fn a_leftover_process_that_writes_endlessly_reaches_no_other_response() {
    let sandbox = start_sandbox();
    let first = sandbox.respond("chatty");
    assert!(String::from_utf8_lossy(&first).contains("answer 1 to chatty"));
    for number in 2..200 {
        assert_eq!(
            sandbox.respond("x"),
            format!("answer {number} to x").as_bytes()
        );
    }
    sandbox.bootstrap.wait_log("chatter");
}

#[test]
fn a_leftover_process_does_not_delay_the_answer() {
    let sandbox = start_sandbox();
    sandbox.respond("warm");
    // The job ends only when the gate is opened, so an answer that waited for it would never come.
    sandbox.respond("job");
    assert!(
        !leftovers(&sandbox.bootstrap).is_empty(),
        "the job has ended already"
    );
}

#[test]
fn a_silent_job_costs_no_shell() {
    let sandbox = start_sandbox();
    assert_eq!(sandbox.respond("silent"), b"answer 1 to silent");
    let shell = sandbox.bootstrap.shell_pid();
    assert_eq!(
        sandbox.respond("x"),
        format!("answer {} to x", support::count_after(2)).as_bytes()
    );
    assert_eq!(
        sandbox.respond("x"),
        format!("answer {} to x", support::count_after(3)).as_bytes()
    );
    assert_eq!(sandbox.bootstrap.shell_pid(), shell);
    sandbox.bootstrap.wait_log("(sleep)");
    assert_eq!(sandbox.bootstrap.log().matches("bootstrap: ").count(), 1);
}

#[test]
fn a_job_that_holds_stdin_reads_no_other_event() {
    let sandbox = start_sandbox();
    // Bash redirects the input of a job from /dev/null, unless the job has its own redirection.
    sandbox.respond("job-with-stdin");
    sandbox.respond("second event");
    let sandbox = Sandbox::of(
        "handler() { case $1 in hold) { read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; cat >\"$LAMBDA_TASK_ROOT/stolen\"; : >\"$LAMBDA_TASK_ROOT/done\"; } <&0 >&2 & ;; *) cat ;; esac; }",
    )
    .start();
    sandbox.task_root.fifo("gate");
    assert_eq!(sandbox.respond("hold"), b"");
    assert_eq!(
        sandbox.respond("a secret of the second"),
        b"a secret of the second"
    );
    sandbox.task_root.release("gate");
    wait_until(|| sandbox.task_root.exists("done"), LIMIT);
    assert_eq!(
        sandbox.respond("a secret of the third"),
        b"a secret of the third"
    );
    let stolen = sandbox.task_root.read("stolen");
    assert!(!stolen.contains("secret"), "{stolen}");
}

#[test]
fn wait_and_jobs_see_nothing_of_former_invocations() {
    let sandbox = start_sandbox();
    sandbox.respond("job");
    assert_eq!(
        sandbox.respond("wait"),
        format!("answer {} to wait", support::count_after(2)).as_bytes()
    );
    assert_eq!(
        sandbox.respond("jobs"),
        format!("answer {} to jobs", support::count_after(3)).as_bytes()
    );
    Case::of("true & sleep 600 </dev/null >/dev/null 2>&1 & printf on")
        .logs_later()
        .responds("on")
        .lives_on();
}

#[test]
fn jobs_work_within_an_invocation() {
    Case::of("sleep 0.01 & a=$!; (exit 4) & b=$!; wait $a; wait $b || printf %s $?")
        .responds("4")
        .lives_on();
    Case::of("for i in 1 2 3; do printf $i & done; wait; printf ' on'")
        .run(|sandbox| {
            let mut response = sandbox.respond("bad");
            response[..3].sort_unstable();
            assert_eq!(response, b"123 on");
            Value::Null
        })
        .lives_on();
    Case::of("mapfile -t x < <(printf 'a\\nb'); printf '%s' \"${x[@]}\"")
        .responds("ab")
        .lives_on();
    Case::of(
        "coproc up { tr a-z A-Z; }; printf low >&${up[1]}; exec {up[1]}>&-; cat <&${up[0]}; wait",
    )
    .responds("LOW")
    .lives_on();
    Case::of("timeout 0.05 sleep 60 || printf %s $?")
        .responds("124")
        .lives_on();
    Case::of("set -m; sleep 0.01 & wait; set +m; printf on")
        .responds("on")
        .lives_on();
}

#[test]
fn processes_left_by_a_process_substitution_harm_nothing() {
    Case::of("exec {fd}> >(cat >&2); printf late >&$fd; printf on")
        .logs_later()
        .responds("on");
    // Until it has the pipe as its standard input it has the event open, which would cost a new shell: so wait for it.
    Case::of("tee >(cat >\"$LAMBDA_TASK_ROOT/copy\") <<<on; until [[ -s $LAMBDA_TASK_ROOT/copy ]]; do :; done")
        .logs_later()
        .responds("on")
        .lives_on();
    Case::of("cat <(sleep 600 >/dev/null & printf on)")
        .logs_later()
        .responds("on");
}

/// Each number as the event fails in a different way.
const FAILS_IN_MANY_WAYS: &str = r#"
handler() {
  case $1 in
    0) return 3 ;;
    1) exit 4 ;;
    2) false ;;
    3) printf '%s' "$never_set" ;;
    4) kill -9 $$ ;;
    5) exec false ;;
    6) exec 3<&0 4>/dev/null {fd}>/dev/null; cd /; IFS=x; set -f; return 1 ;;
    7) (sleep 0.05 &); return 1 ;;
    8) trap 'exit 5' EXIT ;;
    9) for fd in {3..255}; do eval "exec $fd>&-"; done; false ;;
    10) x=$(exit 5) ;;
    11) true & exec no-such-command ;;
    12) echo $((1 / 0)) ;;
    *) cat ;;
  esac
}
"#;

#[test]
fn nothing_grows_over_many_failures() {
    const KINDS: usize = 13;
    let temporary = TaskRoot::new();
    let folder = temporary.path().to_string_lossy().into_owned();
    let sandbox = Sandbox::of(FAILS_IN_MANY_WAYS)
        .env("COSHELL_ISOLATION", "none")
        .env("TMPDIR", &folder)
        .start();
    let files = |path: &str| fs::read_dir(path).map_or(0, |entries| entries.flatten().count());
    let descriptor_kinds = |process: u32| {
        let links = open_descriptors(process).into_values();
        let kinds = links.map(|link| link.replace(|letter: char| letter.is_ascii_digit(), ""));
        kinds.collect::<Vec<_>>()
    };
    let state = || {
        sandbox.api.wait_parked();
        let (pid, shell) = (sandbox.bootstrap.pid(), sandbox.bootstrap.shell_pid());
        let threads = fs::read_dir(format!("/proc/{pid}/task"))
            .expect("threads")
            .count();
        let mut ours = descriptor_kinds(pid);
        ours.sort();
        (
            sandbox.bootstrap.processes().len(),
            children(pid).len(),
            children(shell).len(),
            threads,
            ours,
            descriptor_kinds(shell),
        )
    };
    // Each failure happens once first, so that everything that is allocated only once exists.
    for kind in 0..KINDS {
        sandbox.fail(kind.to_string());
        sandbox.respond("between");
    }
    // Leftover processes end soon. A healthy invocation lets bootstrap collect their status.
    let settle = || {
        let is_settled = || {
            sandbox.respond("settle");
            let state = state();
            // bootstrap, bash and the spare.
            (state.0, state.1, state.2) == (3, 2, 0)
        };
        wait_until(is_settled, LIMIT);
        state()
    };
    let before = settle();
    // The folders of other tests and of coshell package begin with coshell-.
    let bootstrap_files_in_tmp = || -> BTreeSet<String> {
        let names = fs::read_dir("/tmp")
            .expect("/tmp")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| {
                (name.contains("bootstrap") || name.contains("coshell"))
                    && !name.starts_with("coshell-")
            })
            .collect()
    };
    let in_tmp_before = bootstrap_files_in_tmp();
    for number in 0..300 {
        if number % 10 == 5 {
            sandbox.fail((number / 10 % KINDS).to_string());
        } else {
            let event = format!("event {number}");
            assert_eq!(sandbox.respond(&event), event.as_bytes());
        }
    }
    assert_eq!(settle(), before);
    assert_eq!(files(&folder), 0, "files left in TMPDIR");
    let new: Vec<_> = bootstrap_files_in_tmp()
        .difference(&in_tmp_before)
        .cloned()
        .collect();
    assert!(new.is_empty(), "new files in /tmp: {new:?}");
}

#[test]
fn an_event_is_exact_after_a_longer_one_and_after_a_failure() {
    let sandbox = Sandbox::of("handler() { if [[ $1 == fail* ]]; then head -c 5 >/dev/null; return 1; fi; printf '%s|' \"$1\"; cat; }").start();
    let long = "x".repeat(300_000);
    assert_eq!(sandbox.respond(&long[..100_000]).len(), 200_001);
    sandbox.fail(format!("fail {long}"));
    assert_eq!(sandbox.respond("short"), b"short|short");
    assert_eq!(sandbox.respond(""), b"|");
    assert_eq!(sandbox.respond_to(Event::fresh("\n\n")), b"|");
}
