//! Several invocations at a time, as on Managed Instances. Each runs in a lane with its own shell, and none affects another.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use support::{
    Call, Emulator, Event, LIMIT, Next, Reply, Sandbox, SandboxBuilder, as_pid, children,
    open_descriptors, status_field, wait_until, zombies,
};

/// For the event `wait NAME` the handler waits until the test releases NAME. Any other event is passed to `act`. The response
/// has the event, the lane, the shell, and how often this shell was called.
const HANDLER: &str = r#"
echo "$$" >>"$LAMBDA_TASK_ROOT/sourced"
count=0
handler() {
  count=$((count + 1))
  case $1 in
    wait*)
      : >"$LAMBDA_TASK_ROOT/begun ${1#wait }"
      read -r _ <"$LAMBDA_TASK_ROOT/${1#wait }"
      ;;
    *) act "$1" ;;
  esac
  printf '%s lane %s shell %s count %s' "$1" "$COSHELL_LANE" "$$" "$count"
}
act() { :; }
"#;

fn sandbox_with_act(act: &str) -> SandboxBuilder {
    Sandbox::of(&format!("{HANDLER}\nact() {{ {act}\n}}\n"))
}

/// Starts an invocation that waits for the release of `name`, and waits until it has begun.
#[track_caller]
fn begin_waiting(sandbox: &Sandbox, name: &str) {
    sandbox.task_root.fifo(name);
    let event = Event::new(name, format!("wait {name}")).with_deadline_in(Duration::from_secs(600));
    sandbox.api.push(event);
    let begun = format!("begun {name}");
    wait_until(|| sandbox.task_root.exists(&begun), LIMIT);
}

#[track_caller]
fn release(sandbox: &Sandbox, name: &str) -> String {
    sandbox.task_root.release(name);
    expect_response(&sandbox.api.wait_answer(name))
}

#[track_caller]
fn expect_response(answer: &Call) -> String {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.is_response(), "{text}");
    text
}

/// The value behind `name` in a response.
fn field<'a>(response: &'a str, name: &str) -> &'a str {
    let mut fields = response.split(' ').skip_while(|field| *field != name);
    fields.nth(1).unwrap_or_default()
}

fn records(log: &str) -> Vec<Value> {
    let records = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    records.collect()
}

#[test]
fn the_maximum_number_of_invocations_run_at_a_time_each_in_its_own_shell() {
    let sandbox = sandbox_with_act(":").lanes(3).start();
    sandbox.api.wait_all_parked(3);
    let names = ["one", "two", "three"];
    for name in names {
        begin_waiting(&sandbox, name);
    }
    // In another order than they began.
    let responses = ["two", "three", "one"].map(|name| {
        let response = release(&sandbox, name);
        assert!(
            response.starts_with(&format!("wait {name} lane ")),
            "{response}"
        );
        response
    });
    let values = |name| {
        responses
            .iter()
            .map(|response| field(response, name))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(values("lane"), BTreeSet::from(["0", "1", "2"]));
    assert_eq!(values("shell").len(), 3);
    assert_eq!(values("count"), BTreeSet::from(["1"]));
    sandbox.api.wait_all_parked(3);
    assert_eq!(sandbox.api.connection_count(), 3);
    assert_eq!(sandbox.task_root.read("sourced").lines().count(), 3);
    assert_eq!(sandbox.bootstrap.log(), "");
}

#[test]
fn there_are_no_lanes_with_one_invocation_at_a_time() {
    for setting in ["", "0", "1", "many"] {
        let script = "handler() { printf '%s' \"${COSHELL_LANE-none}\"; }";
        let sandbox = Sandbox::of(script).env("AWS_LAMBDA_MAX_CONCURRENCY", setting);
        let sandbox = sandbox.start();
        assert_eq!(sandbox.respond("x"), b"none", "{setting:?}");
        assert_eq!(sandbox.api.connection_count(), 1, "{setting:?}");
    }
}

#[test]
fn the_init_error_of_many_lanes_is_posted_once() {
    let sandbox = Sandbox::of("echo sourced >&2; other() { :; }")
        .lanes(8)
        .start();
    let error = sandbox.api.wait_init_error();
    assert_eq!(
        error.error_document()["errorType"],
        "Runtime.HandlerNotFound"
    );
    assert_eq!(sandbox.bootstrap.wait_failure(LIMIT), 1);
    let calls = sandbox.api.calls();
    let errors = calls.iter().filter(|call| call.is_init_error());
    assert_eq!(errors.count(), 1);
    assert_eq!(sandbox.api.next_count(), 0);
    let log = sandbox.bootstrap.final_log();
    let fatal = records(&log)
        .into_iter()
        .filter(|record| record["level"] == "FATAL");
    assert_eq!(fatal.count(), 1, "{log}");
}

/// The other lanes leave no shells behind.
#[test]
fn a_lane_that_cannot_load_the_handler_ends_the_init_of_all() {
    let script = r#"
handler() { :; }
[[ $COSHELL_LANE != 2 ]] || exit 3
[[ $COSHELL_LANE != 1 ]] || read -r _ <"$LAMBDA_TASK_ROOT/never"
"#;
    let builder = Sandbox::of(script).lanes(4);
    builder.task_root().fifo("never");
    let sandbox = builder.start();
    let document = sandbox.api.wait_init_error().error_document();
    assert_eq!(document["errorType"], "Runtime.HandlerFileExited");
    sandbox.bootstrap.wait_failure(LIMIT);
    assert_eq!(sandbox.api.next_count(), 0);
    assert!(sandbox.bootstrap.processes().is_empty());
}

#[test]
fn no_event_is_requested_before_every_lane_has_loaded() {
    let script = r#"
handler() { :; }
[[ $COSHELL_LANE != 1 ]] || read -r _ <"$LAMBDA_TASK_ROOT/slow"
echo >>"$LAMBDA_TASK_ROOT/loaded"
"#;
    let builder = Sandbox::of(script).lanes(3);
    builder.task_root().fifo("slow");
    let sandbox = builder.start();
    wait_until(|| sandbox.task_root.read("loaded").len() == 2, LIMIT);
    assert_eq!(sandbox.api.next_count(), 0);
    sandbox.task_root.release("slow");
    sandbox.api.wait_all_parked(3);
}

#[test]
fn a_shell_that_dies_affects_no_other_lane() {
    let act = r#"case $1 in
        kill) kill -9 $$ ;;
        unset) echo "$no_such_variable" ;;
        exec) exec false ;;
        exit) exit 4 ;;
    esac"#;
    let sandbox = sandbox_with_act(act).lanes(2).start();
    begin_waiting(&sandbox, "held");
    let expected = [
        ("kill", "Function.ShellKilled"),
        ("unset", "Function.ShellExited"),
        ("exec", "Function.ShellExited"),
        ("exit", "Function.HandlerExited"),
    ];
    let mut lanes = BTreeSet::new();
    for (event, error_type) in expected {
        assert_eq!(sandbox.fail(event)["errorType"], error_type, "{event}");
        let after = String::from_utf8(sandbox.respond("healthy")).expect("text");
        assert!(after.starts_with("healthy "), "{after}");
        lanes.insert(field(&after, "lane").to_owned());
    }
    let held = release(&sandbox, "held");
    assert_eq!(field(&held, "count"), "1", "{held}");
    assert!(!lanes.contains(field(&held, "lane")), "{lanes:?} {held}");
}

/// Managed Instances do not end an invocation at its deadline. Bootstrap stops the handler, by default half a second earlier.
#[test]
fn a_handler_is_stopped_before_its_deadline_only_in_its_own_lane() {
    let act = r"case $1 in
        stuck) sleep 600 & sleep 600 ;;
        own) (setsid sleep 601 </dev/null >/dev/null 2>&1 &) ;;
    esac";
    let sandbox = sandbox_with_act(act).lanes(2).start();
    begin_waiting(&sandbox, "held");
    sandbox.respond("own");
    let stuck = Event::fresh("stuck").with_deadline_in(Duration::from_millis(900));
    let document = sandbox.invoke(stuck).error_document();
    assert_eq!(document["errorType"], "Function.Timeout", "{document}");
    let held = release(&sandbox, "held");
    assert_eq!(field(&held, "count"), "1", "{held}");
    sandbox.api.wait_all_parked(2);
    let processes = sandbox.bootstrap.processes();
    let count = |command: &str| {
        processes
            .values()
            .filter(|line| line.starts_with(command))
            .count()
    };
    assert_eq!(
        (count("sleep 600"), count("sleep 601")),
        (0, 1),
        "{processes:?}"
    );
}

/// Orphans of all lanes become children of bootstrap, but each belongs to the lane that started it.
#[test]
fn leftover_processes_are_reported_and_ended_by_their_own_lane() {
    let act = r"case $1 in
        orphan) (sleep 600 </dev/null >/dev/null 2>&1 &) ;;
        daemon) (setsid sleep 600 </dev/null >/dev/null 2>&1 &) ;;
        bare) (env -i setsid sleep 600 </dev/null >/dev/null &) ;;
    esac";
    for fate in ["keep", "kill"] {
        let sandbox = sandbox_with_act(act)
            .env("COSHELL_LEFTOVERS", fate)
            .lanes(2)
            .start();
        begin_waiting(&sandbox, "held");
        let kinds = ["orphan", "daemon", "bare"];
        for kind in kinds {
            sandbox.invoke(Event::new(kind, kind));
        }
        sandbox.respond("nothing");
        release(&sandbox, "held");
        sandbox.api.wait_all_parked(2);
        // A process without an environment can be found only by its parent.
        let leftovers: Vec<_> = children(sandbox.bootstrap.pid())
            .into_iter()
            .filter(|pid| status_field(*pid, "Name").is_some_and(|name| name == "sleep"))
            .collect();
        for pid in &leftovers {
            kill(as_pid(*pid), Signal::SIGKILL).expect("killed");
        }
        let expected = if fate == "keep" { kinds.len() } else { 0 };
        assert_eq!(leftovers.len(), expected, "{fate}");
        let log = sandbox.bootstrap.log();
        let ids: Vec<_> = records(&log)
            .into_iter()
            .map(|record| record["requestId"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(ids, kinds, "{fate}: {log}");
    }
}

/// The process is ended when its own invocation is over, not when another one is.
#[test]
fn a_lane_does_not_end_the_processes_of_another_lane() {
    let script = r#"
handler() {
  case $1 in
    first) (setsid sleep 600 </dev/null >/dev/null 2>&1 &) ; read -r _ <"$LAMBDA_TASK_ROOT/first" ;;
  esac
  printf '%s' "$(pgrep -c -x sleep)"
}"#;
    let sandbox = Sandbox::of(script).env("COSHELL_LEFTOVERS", "kill");
    let sandbox = sandbox.lanes(2).start();
    sandbox.task_root.fifo("first");
    let sleeps = || {
        let processes = sandbox.bootstrap.processes();
        processes
            .values()
            .filter(|line| line.starts_with("sleep 600"))
            .count()
    };
    sandbox.api.push(Event::new("first", "first"));
    wait_until(|| sleeps() == 1, LIMIT);
    for _ in 0..3 {
        sandbox.respond("second");
    }
    sandbox.api.wait_parked();
    assert_eq!(sleeps(), 1);
    assert_eq!(sandbox.bootstrap.log(), "");
    sandbox.task_root.release("first");
    sandbox.api.wait_answer("first");
    sandbox.api.wait_all_parked(2);
    assert_eq!(sleeps(), 0);
}

#[test]
fn orphans_that_end_are_reaped_while_all_lanes_are_idle() {
    let act = "(setsid sleep 0.2 </dev/null >/dev/null 2>&1 &)";
    let sandbox = sandbox_with_act(act).lanes(2).start();
    sandbox.respond("leave");
    sandbox.api.wait_all_parked(2);
    let has_ended = || {
        !sandbox
            .bootstrap
            .processes()
            .values()
            .any(|line| line.starts_with("sleep"))
    };
    wait_until(has_ended, LIMIT);
    wait_until(|| zombies(sandbox.bootstrap.pid()).is_empty(), LIMIT);
}

#[test]
fn every_shell_is_shut_down_when_the_sandbox_ends() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    let shutdown = r#"
trap 'echo trap >>"$LAMBDA_TASK_ROOT/ended"' EXIT
lambda_shutdown() { echo "lane $COSHELL_LANE" >>"$LAMBDA_TASK_ROOT/ended"; }
"#;
    let sandbox = Sandbox::of(&format!("{HANDLER}{shutdown}"))
        .lanes(3)
        .start();
    begin_waiting(&sandbox, "held");
    sandbox.bootstrap.signal(Signal::SIGTERM);
    let answer = sandbox.api.wait_answer("held").error_document();
    assert_eq!(answer["errorType"], "Function.Stopped", "{answer}");
    assert!(sandbox.bootstrap.wait_exit(LIMIT).success());
    assert!(sandbox.bootstrap.processes().is_empty());
    let ended = sandbox.task_root.read("ended");
    let traps = ended.lines().filter(|line| *line == "trap").count();
    let lanes: BTreeSet<_> = ended
        .lines()
        .filter(|line| line.starts_with("lane"))
        .collect();
    // A fresh shell takes the place of the one that was stopped.
    assert_eq!((lanes.len(), traps), (3, 4), "{ended}");
    let calls = sandbox.api.calls();
    let registered = calls.iter().filter(|call| call.is_extension_register());
    assert_eq!(registered.count(), 1);
}

#[test]
fn a_lane_that_cannot_start_its_shell_tries_again_while_the_others_go_on() {
    let sandbox = sandbox_with_act("kill -9 $$").lanes(2).start();
    sandbox.api.wait_all_parked(2);
    let file = sandbox.task_root.path().join("function.sh");
    let script = std::fs::read(&file).expect("script");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(sandbox.fail("kill")["errorType"], "Function.ShellKilled");
    sandbox
        .bootstrap
        .wait_log("cannot restart the shell, retrying in 100ms");
    begin_waiting(&sandbox, "held");
    release(&sandbox, "held");
    std::fs::write(&file, script).expect("written");
    sandbox.api.wait_all_parked(2);
    for name in ["one", "two"] {
        begin_waiting(&sandbox, name);
    }
    for name in ["one", "two"] {
        release(&sandbox, name);
    }
}

#[test]
fn the_error_of_a_file_that_cannot_be_sourced_again_quotes_only_that_try() {
    let script = r#"
if [[ -e $LAMBDA_TASK_ROOT/broken ]]; then echo "sourced in vain" >&2; false; fi
handler() { echo "output of $1" >&2; touch "$LAMBDA_TASK_ROOT/broken"; kill -9 $$; }
"#;
    let sandbox = Sandbox::of(script).lanes(2).start();
    sandbox.api.wait_all_parked(2);
    sandbox.fail("the event");
    sandbox.bootstrap.wait_log("retrying in 1s");
    let log = sandbox.bootstrap.log();
    let records = records(&log);
    let messages = records
        .iter()
        .filter_map(|record| record["message"].as_str());
    let errors: Vec<_> = messages
        .filter(|message| message.contains("cannot restart the shell"))
        .collect();
    assert!(errors.len() >= 2, "{log}");
    for error in errors {
        assert_eq!(error.matches("sourced in vain").count(), 1, "{log}");
        assert!(!error.contains("output of"), "{log}");
    }
}

#[test]
fn a_broken_runtime_api_ends_all_lanes_and_their_invocations_are_answered() {
    let sandbox = sandbox_with_act(":").lanes(2).start();
    begin_waiting(&sandbox, "held");
    sandbox.api.push(Next::Status(500, "{}".to_owned()));
    let answer = sandbox.api.wait_answer("held").error_document();
    assert_eq!(answer["errorType"], "Function.Stopped", "{answer}");
    assert_eq!(sandbox.bootstrap.wait_failure(LIMIT), 1);
    let log = sandbox.bootstrap.final_log();
    assert!(log.contains("cannot read next invocation"), "{log}");
}

#[test]
fn a_rejected_answer_affects_only_its_own_lane() {
    let sandbox = sandbox_with_act(":").lanes(2).start();
    begin_waiting(&sandbox, "held");
    sandbox.api.reply(Reply::refused(400, "InvalidRequestID"));
    sandbox.invoke(Event::new("late", "late"));
    sandbox.bootstrap.wait_log("Lambda rejected the response");
    sandbox.respond("next");
    release(&sandbox, "held");
}

#[test]
fn log_lines_have_the_request_id_of_their_own_invocation() {
    let act = r#"for i in {1..200}; do echo "line $i of $1" >&2; done"#;
    let sandbox = sandbox_with_act(act).lanes(4).start();
    let ids: Vec<_> = (0..40).map(|number| format!("id-{number}")).collect();
    for id in &ids {
        sandbox.api.push(Event::new(id, id));
    }
    for id in &ids {
        expect_response(&sandbox.api.wait_answer(id));
    }
    // Log lines from before the answer may arrive after it.
    let is_complete = || sandbox.bootstrap.log().lines().count() >= ids.len() * 200;
    wait_until(is_complete, LIMIT);
    let log = sandbox.bootstrap.final_log();
    let records = records(&log);
    assert_eq!(records.len(), ids.len() * 200);
    for record in &records {
        let message = record["message"].as_str().unwrap_or_default();
        let id = message.rsplit(' ').next();
        assert_eq!(record["requestId"].as_str(), id, "{record}");
    }
}

#[test]
fn scripts_and_executables_run_side_by_side_too() {
    let script =
        "read -r _ <\"$LAMBDA_TASK_ROOT/$name\"\nprintf '%s in %s' \"$name\" \"$COSHELL_LANE\"\n";
    for handler in ["script.sh", "tool"] {
        let tool = "#!/usr/bin/python3\nimport os, sys\nname = sys.stdin.read()\nopen(os.environ['LAMBDA_TASK_ROOT'] + '/' + name).read()\nprint(name, 'in', os.environ['COSHELL_LANE'], end='')\n";
        let builder = Sandbox::empty()
            .file("script.sh", format!("read -r name || :\n{script}"))
            .executable("tool", tool);
        let sandbox = builder.handler(handler).lanes(2).start();
        for name in ["one", "two"] {
            sandbox.task_root.fifo(name);
            sandbox.api.push(Event::new(name, name));
        }
        // Release waits until the handler has begun, so both run side by side.
        let mut lanes = BTreeSet::new();
        for name in ["two", "one"] {
            let response = release(&sandbox, name);
            let lane = response
                .strip_prefix(&format!("{name} in "))
                .map(ToOwned::to_owned);
            lanes.insert(lane.unwrap_or_else(|| panic!("{handler}: {response}")));
        }
        assert_eq!(
            lanes,
            BTreeSet::from(["0".to_owned(), "1".to_owned()]),
            "{handler}"
        );
    }
}

#[test]
fn responses_are_streamed_side_by_side() {
    let script = r#"
handler() {
  lambda_stream_response text/plain
  printf '%s begins, ' "$1"
  read -r _ <"$LAMBDA_TASK_ROOT/$1"
  [[ $1 != two ]] || return 3
  printf '%s ends' "$1"
}"#;
    let sandbox = Sandbox::of(script).lanes(3).start();
    let names = ["one", "two", "three"];
    for name in names {
        sandbox.task_root.fifo(name);
        sandbox.api.push(Event::new(name, name));
    }
    for name in names {
        let begins = format!("{name} begins, ");
        sandbox
            .api
            .wait_partial_answer(name, |call| call.body == begins.as_bytes());
    }
    for name in ["three", "two", "one"] {
        sandbox.task_root.release(name);
        let answer = sandbox.api.wait_answer(name);
        let (end, error) = match name {
            "two" => ("", Some("Function.HandlerFailed")),
            _ => (" ends", None),
        };
        let own = if end.is_empty() { "" } else { name };
        let whole = format!("{name} begins, {own}{end}");
        assert_eq!(String::from_utf8_lossy(&answer.body), whole);
        let trailer = answer.trailer("Lambda-Runtime-Function-Error-Type");
        assert_eq!(trailer, error, "{name}");
    }
}

/// The usual limit is 1,024 descriptors for a process.
#[test]
fn sixty_four_lanes_stay_below_the_limit_of_descriptors() {
    let sandbox = sandbox_with_act(":").lanes(64).start();
    sandbox.api.wait_all_parked(64);
    for number in 0..64 {
        begin_waiting(&sandbox, &format!("n{number}"));
    }
    let mut lanes = BTreeSet::new();
    for number in 0..64 {
        lanes.insert(field(&release(&sandbox, &format!("n{number}")), "lane").to_owned());
    }
    assert_eq!(lanes.len(), 64);
    sandbox.api.wait_all_parked(64);
    let descriptors = open_descriptors(sandbox.bootstrap.pid());
    assert!(descriptors.len() < 900, "{}", descriptors.len());
}

/// Shells are killed while all lanes are busy. The scripted Runtime API checks that each invocation is answered once.
#[test]
fn a_shell_killed_under_load_fails_only_its_own_invocation() {
    let sandbox = sandbox_with_act(r"[[ $1 != *kill* ]] || kill -9 $$")
        .lanes(4)
        .start();
    let event = |number: usize| match number % 7 {
        3 => format!("kill {number}"),
        _ => format!("event {number}"),
    };
    for number in 0..210 {
        sandbox
            .api
            .push(Event::new(&format!("id-{number}"), event(number)));
    }
    for number in 0..210 {
        let answer = sandbox.api.wait_answer(&format!("id-{number}"));
        if number % 7 == 3 {
            let document = answer.error_document();
            assert_eq!(document["errorType"], "Function.ShellKilled", "{document}");
        } else {
            let response = expect_response(&answer);
            assert!(
                response.starts_with(&format!("event {number} lane ")),
                "{response}"
            );
        }
    }
    sandbox.api.wait_all_parked(4);
}

#[test]
fn a_shell_killed_from_outside_between_events_is_replaced() {
    let sandbox = sandbox_with_act(":").lanes(2).start();
    sandbox.api.wait_all_parked(2);
    let mut shells = BTreeSet::new();
    for _ in 0..2 {
        shells.insert(sandbox.bootstrap.kill_shell());
    }
    assert_eq!(shells.len(), 2);
    for name in ["one", "two"] {
        begin_waiting(&sandbox, name);
    }
    for name in ["one", "two"] {
        assert_eq!(field(&release(&sandbox, name), "count"), "1");
    }
}

#[test]
fn the_emulator_runs_several_invocations_at_a_time_as_a_managed_instance() {
    let script = "handler() { sleep 0.0$((RANDOM % 10)); printf '%s for %s' \"$1\" \"$LAMBDA_RUNTIME_AWS_REQUEST_ID\"; }";
    let emulator = Emulator::of(script)
        .option("--managed-instances", "8")
        .start();
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let emulator = &emulator;
            scope.spawn(move || {
                for number in 0..25 {
                    let event = format!("{caller}/{number}");
                    let response = emulator.respond_text(&event);
                    assert!(response.starts_with(&format!("{event} for ")), "{response}");
                }
            });
        }
    });
}
