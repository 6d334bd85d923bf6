//! Several invocations at a time: each in a lane, with a shell of its own, and none in another's way.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use support::{
    Call, Emulator, Event, LIMIT, Next, Reply, Sandbox, SandboxBuilder, children, open_descriptors,
    status_field, wait_until, zombies,
};

/// `wait NAME` waits to be released; whatever else the event says is done by `act`, and then all that the
/// shell knows of itself is the response.
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

fn handler(act: &str) -> SandboxBuilder {
    Sandbox::of(&format!("{HANDLER}\nact() {{ {act}\n}}\n"))
}

/// One that waits for `name` to be released; it has begun when this returns.
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
    text(&sandbox.api.wait_answer(name))
}

#[track_caller]
fn text(answer: &Call) -> String {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.is_response(), "{text}");
    text
}

/// The word that stands behind `name` in a response.
fn word<'a>(response: &'a str, name: &str) -> &'a str {
    let mut words = response.split(' ').skip_while(|word| *word != name);
    words.nth(1).unwrap_or_default()
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("pid"))
}

fn records(log: &str) -> Vec<Value> {
    let records = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    records.collect()
}

#[test]
fn as_many_invocations_run_at_a_time_as_may_each_in_a_shell_of_its_own() {
    let sandbox = handler(":").lanes(3).start();
    sandbox.api.wait_all_parked(3);
    let names = ["one", "two", "three"];
    for name in names {
        begin_waiting(&sandbox, name);
    }
    // In another order than they came.
    let told = ["two", "three", "one"].map(|name| {
        let told = release(&sandbox, name);
        assert!(told.starts_with(&format!("wait {name} lane ")), "{told}");
        told
    });
    let of = |name| {
        told.iter()
            .map(|told| word(told, name))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(of("lane"), BTreeSet::from(["0", "1", "2"]));
    assert_eq!(of("shell").len(), 3);
    assert_eq!(of("count"), BTreeSet::from(["1"]));
    sandbox.api.wait_all_parked(3);
    assert_eq!(sandbox.api.connection_count(), 3);
    assert_eq!(sandbox.task_root.read("sourced").lines().count(), 3);
    assert_eq!(sandbox.bootstrap.log(), "");
}

#[test]
fn one_invocation_at_a_time_has_no_lane() {
    for setting in ["", "0", "1", "many"] {
        let script = "handler() { printf '%s' \"${COSHELL_LANE-none}\"; }";
        let sandbox = Sandbox::of(script).env("AWS_LAMBDA_MAX_CONCURRENCY", setting);
        let sandbox = sandbox.start();
        assert_eq!(sandbox.respond("x"), b"none", "{setting:?}");
        assert_eq!(sandbox.api.connection_count(), 1, "{setting:?}");
    }
}

#[test]
fn init_error_of_many_lanes_is_told_once() {
    let sandbox = Sandbox::of("echo sourced >&2; other() { :; }")
        .lanes(8)
        .start();
    let told = sandbox.api.wait_init_error();
    assert_eq!(
        told.error_document()["errorType"],
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
        .filter(|one| one["level"] == "FATAL");
    assert_eq!(fatal.count(), 1, "{log}");
}

/// One of them only: the others are not left behind with their shells.
#[test]
fn lane_that_cannot_load_the_handler_ends_the_init_of_all() {
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
fn no_event_is_asked_for_before_every_lane_has_loaded() {
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
fn shell_that_dies_takes_no_other_lane_with_it() {
    let act = r#"case $1 in
        kill) kill -9 $$ ;;
        unset) echo "$no_such_variable" ;;
        exec) exec false ;;
        exit) exit 4 ;;
    esac"#;
    let sandbox = handler(act).lanes(2).start();
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
        lanes.insert(word(&after, "lane").to_owned());
    }
    let held = release(&sandbox, "held");
    assert_eq!(word(&held, "count"), "1", "{held}");
    assert!(!lanes.contains(word(&held, "lane")), "{lanes:?} {held}");
}

/// The platform ends nothing there: by default the host does, half a second before the deadline.
#[test]
fn handler_beyond_its_deadline_is_stopped_in_its_lane_alone() {
    let act = r"case $1 in
        stuck) sleep 600 & sleep 600 ;;
        own) (setsid sleep 601 </dev/null >/dev/null 2>&1 &) ;;
    esac";
    let sandbox = handler(act).lanes(2).start();
    begin_waiting(&sandbox, "held");
    sandbox.respond("own");
    let stuck = Event::fresh("stuck").with_deadline_in(Duration::from_millis(900));
    let document = sandbox.invoke(stuck).error_document();
    assert_eq!(document["errorType"], "Function.Timeout", "{document}");
    let held = release(&sandbox, "held");
    assert_eq!(word(&held, "count"), "1", "{held}");
    sandbox.api.wait_all_parked(2);
    let processes = sandbox.bootstrap.processes();
    let sleeps = |of: &str| {
        processes
            .values()
            .filter(|words| words.starts_with(of))
            .count()
    };
    assert_eq!(
        (sleeps("sleep 600"), sleeps("sleep 601")),
        (0, 1),
        "{processes:?}"
    );
}

/// Orphans of all lanes become children of one process: each is still told of, and ended, by its own lane alone.
#[test]
fn leftovers_are_told_of_and_ended_by_the_lane_that_left_them() {
    let act = r"case $1 in
        orphan) (sleep 600 </dev/null >/dev/null 2>&1 &) ;;
        daemon) (setsid sleep 600 </dev/null >/dev/null 2>&1 &) ;;
        bare) (env -i setsid sleep 600 </dev/null >/dev/null &) ;;
    esac";
    for fate in ["keep", "kill"] {
        let sandbox = handler(act).env("COSHELL_LEFTOVERS", fate).lanes(2).start();
        begin_waiting(&sandbox, "held");
        let kinds = ["orphan", "daemon", "bare"];
        for kind in kinds {
            sandbox.invoke(Event::new(kind, kind));
        }
        sandbox.respond("nothing");
        release(&sandbox, "held");
        sandbox.api.wait_all_parked(2);
        // One that has thrown its environment away is known by its parent alone.
        let left: Vec<_> = children(sandbox.bootstrap.pid())
            .into_iter()
            .filter(|pid| status_field(*pid, "Name").is_some_and(|name| name == "sleep"))
            .collect();
        for pid in &left {
            kill(as_pid(*pid), Signal::SIGKILL).expect("killed");
        }
        let expected = if fate == "keep" { kinds.len() } else { 0 };
        assert_eq!(left.len(), expected, "{fate}");
        let log = sandbox.bootstrap.log();
        let told: Vec<_> = records(&log)
            .into_iter()
            .map(|one| one["requestId"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(told, kinds, "{fate}: {log}");
    }
}

/// It is ended when its own invocation is over, and not before.
#[test]
fn leftover_of_a_lane_that_runs_is_no_business_of_another() {
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
            .filter(|words| words.starts_with("sleep 600"))
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
fn orphans_that_end_are_reaped_while_all_lanes_wait() {
    let act = "(setsid sleep 0.2 </dev/null >/dev/null 2>&1 &)";
    let sandbox = handler(act).lanes(2).start();
    sandbox.respond("leave");
    sandbox.api.wait_all_parked(2);
    let is_left = || {
        !sandbox
            .bootstrap
            .processes()
            .values()
            .any(|words| words.starts_with("sleep"))
    };
    wait_until(is_left, LIMIT);
    wait_until(|| zombies(sandbox.bootstrap.pid()).is_empty(), LIMIT);
}

#[test]
fn every_shell_is_shut_down_when_the_sandbox_ends() {
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
    // The shell of the one that was stopped is gone, as it is where there is but one.
    assert_eq!((lanes.len(), traps), (2, 3), "{ended}");
    let calls = sandbox.api.calls();
    let registered = calls.iter().filter(|call| call.is_extension_register());
    assert_eq!(registered.count(), 1);
}

#[test]
fn lane_that_gets_no_shell_any_more_tries_again_while_the_others_serve() {
    let sandbox = handler("kill -9 $$").lanes(2).start();
    sandbox.api.wait_all_parked(2);
    let file = sandbox.task_root.path().join("function.sh");
    let script = std::fs::read(&file).expect("script");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(sandbox.fail("kill")["errorType"], "Function.ShellKilled");
    sandbox
        .bootstrap
        .wait_log("no shell, the next try is in 100ms");
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
fn platform_that_breaks_ends_all_lanes_and_their_invocations_are_answered() {
    let sandbox = handler(":").lanes(2).start();
    begin_waiting(&sandbox, "held");
    sandbox.api.push(Next::Status(500, "{}".to_owned()));
    let answer = sandbox.api.wait_answer("held").error_document();
    assert_eq!(answer["errorType"], "Function.Stopped", "{answer}");
    assert_eq!(sandbox.bootstrap.wait_failure(LIMIT), 1);
    let log = sandbox.bootstrap.final_log();
    assert!(log.contains("cannot read next invocation"), "{log}");
}

#[test]
fn answer_that_is_refused_concerns_its_lane_alone() {
    let sandbox = handler(":").lanes(2).start();
    begin_waiting(&sandbox, "held");
    sandbox.api.reply(Reply::refused(400, "InvalidRequestID"));
    sandbox.invoke(Event::new("late", "late"));
    sandbox.bootstrap.wait_log("answer not taken");
    sandbox.respond("next");
    release(&sandbox, "held");
}

#[test]
fn lines_of_log_carry_the_request_id_of_their_own_invocation() {
    let act = r#"for i in {1..200}; do echo "line $i of $1" >&2; done"#;
    let sandbox = handler(act).lanes(4).start();
    let ids: Vec<_> = (0..40).map(|number| format!("id-{number}")).collect();
    for id in &ids {
        sandbox.api.push(Event::new(id, id));
    }
    for id in &ids {
        text(&sandbox.api.wait_answer(id));
    }
    // What was written before the answer may still be on its way to us.
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
        // Both have begun: neither would be released otherwise.
        let mut lanes = BTreeSet::new();
        for name in ["two", "one"] {
            let told = release(&sandbox, name);
            let lane = told
                .strip_prefix(&format!("{name} in "))
                .map(ToOwned::to_owned);
            lanes.insert(lane.unwrap_or_else(|| panic!("{handler}: {told}")));
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
        let told = answer.trailer("Lambda-Runtime-Function-Error-Type");
        assert_eq!(told, error, "{name}");
    }
}

/// 1,024 descriptors are what a process may have where there is no more.
#[test]
fn sixty_four_lanes_need_fewer_descriptors_than_a_process_may_have() {
    let sandbox = handler(":").lanes(64).start();
    sandbox.api.wait_all_parked(64);
    for number in 0..64 {
        begin_waiting(&sandbox, &format!("n{number}"));
    }
    let mut lanes = BTreeSet::new();
    for number in 0..64 {
        lanes.insert(word(&release(&sandbox, &format!("n{number}")), "lane").to_owned());
    }
    assert_eq!(lanes.len(), 64);
    sandbox.api.wait_all_parked(64);
    let descriptors = open_descriptors(sandbox.bootstrap.pid());
    assert!(descriptors.len() < 900, "{}", descriptors.len());
}

/// Shells are killed while all lanes are busy: only their own invocations fail, and each is answered once, which the
/// scripted Runtime API sees to.
#[test]
fn deaths_under_load_fail_their_own_invocations_alone() {
    let sandbox = handler(r"[[ $1 != *kill* ]] || kill -9 $$")
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
            let told = text(&answer);
            assert!(told.starts_with(&format!("event {number} lane ")), "{told}");
        }
    }
    sandbox.api.wait_all_parked(4);
}

#[test]
fn shell_killed_from_outside_between_events_is_replaced() {
    let sandbox = handler(":").lanes(2).start();
    sandbox.api.wait_all_parked(2);
    let mut shells = BTreeSet::new();
    for _ in 0..2 {
        let shell = sandbox.bootstrap.shell_pid();
        kill(as_pid(shell), Signal::SIGKILL).expect("killed");
        wait_until(
            || !sandbox.bootstrap.processes().contains_key(&shell),
            LIMIT,
        );
        shells.insert(shell);
    }
    assert_eq!(shells.len(), 2);
    for name in ["one", "two"] {
        begin_waiting(&sandbox, name);
    }
    for name in ["one", "two"] {
        assert_eq!(word(&release(&sandbox, name), "count"), "1");
    }
}

/// Our own emulator in the place of the platform.
#[test]
fn bash_handler_is_served_as_a_managed_instance() {
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
                    let told = emulator.respond_text(&event);
                    assert!(told.starts_with(&format!("{event} for ")), "{told}");
                }
            });
        }
    });
}
