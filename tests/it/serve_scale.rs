//! `coshell serve` with many callers at once: no call is lost, and no caller gets the answer to another. Also the start of
//! sandboxes on demand, and Managed Instances.

use std::collections::BTreeSet;
use std::thread;

use support::emulator::{error_type, wait_reply};
use support::http::PendingRequest;
use support::{Emulator, LIMIT, excerpt, seeded, wait_until};

/// The number of running bootstraps. It may include, for a moment, a fork of a bootstrap that is about to become bash.
fn bootstrap_count(emulator: &Emulator) -> usize {
    let commands = emulator.process.processes();
    let is_bootstrap = |command: &&String| command.starts_with("coshell bootstrap");
    commands.values().filter(is_bootstrap).count()
}

#[test]
fn each_of_eight_callers_gets_its_own_answers() {
    const CALLERS: usize = 8;
    let calls = 400 / seeded::divisor();
    for concurrency in ["1", "4"] {
        let emulator = Emulator::of("handler() { printf 'answer to %s' \"$1\"; }");
        let emulator = emulator.option("--concurrency", concurrency).start();
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                let emulator = &emulator;
                scope.spawn(move || {
                    for number in 0..calls {
                        let padding = "x".repeat((caller * calls + number) % 3000);
                        let event = format!("call {number} of caller {caller} {padding}");
                        let expected = format!("answer to {event}");
                        let response = emulator.respond(&event);
                        assert!(response == expected.as_bytes(), "{}", excerpt(&response));
                    }
                });
            }
        });
        emulator.wait_log_count("\nREPORT ", CALLERS * calls);
        let log = emulator.stdout();
        let starts = log.lines().filter(|line| line.starts_with("START "));
        let request_ids: BTreeSet<_> = starts.map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(request_ids.len(), CALLERS * calls);
        assert!(!log.contains("bootstrap: "), "{log}");
        let max = concurrency.parse().expect("a number");
        wait_until(|| (1..=max).contains(&bootstrap_count(&emulator)), LIMIT);
        assert!(log.matches("Init Duration").count() <= max, "{log}");
    }
}

#[test]
fn callers_with_large_events_get_their_own_answers_too() {
    let emulator = Emulator::of("handler() { cat; }").option("--concurrency", "3");
    let emulator = emulator.start();
    thread::scope(|scope| {
        for caller in b'a'..b'g' {
            let emulator = &emulator;
            scope.spawn(move || {
                for len_bytes in [3, 1 << 20, 70_000] {
                    let event = vec![caller; len_bytes];
                    assert!(emulator.respond(&event) == event, "caller {caller}");
                }
            });
        }
    });
}

#[test]
fn sandboxes_are_started_on_demand_up_to_the_limit() {
    let script = r#"
echo >>"$LAMBDA_TASK_ROOT/inits"
handler() {
  read -r _ <"$LAMBDA_TASK_ROOT/$1"
  printf '%s' "$PPID"
}"#;
    let emulator = Emulator::of(script).option("--concurrency", "3").start();
    let inits = || emulator.task_root.read("inits").len();
    wait_until(|| inits() == 1, LIMIT);
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        emulator.task_root.fifo(name);
    }
    let mut pending = Vec::new();
    for (number, name) in names.iter().enumerate() {
        pending.push(emulator.begin_call(name));
        emulator.wait_log_count("START ", (number + 1).min(3));
    }
    // The last two events begin only when one of the first three is over.
    let log = emulator.stdout();
    assert_eq!(log.matches("START ").count(), 3, "{log}");
    for name in names {
        emulator.task_root.release(name);
    }
    let answers = pending.into_iter().map(|one| emulator.finish(one));
    let pids: Vec<_> = answers.map(|one| emulator.expect_response(one)).collect();
    let different: BTreeSet<_> = pids.iter().collect();
    assert_eq!(different.len(), 3, "{pids:?}");
    wait_until(|| bootstrap_count(&emulator) == 3, LIMIT);
    assert_eq!(inits(), 3);
}

#[test]
fn callers_beyond_the_queue_limit_get_429() {
    let script =
        "handler() { [[ $1 == on ]] || read -r _ <\"$LAMBDA_TASK_ROOT/$1\"; printf done; }";
    for waiting in [0, 2] {
        let emulator = Emulator::of(script).option("--queue", &waiting.to_string());
        let emulator = emulator.start();
        let names = ["first", "second", "third"];
        for name in names {
            emulator.task_root.fifo(name);
        }
        // While the first sandbox starts, a caller may wait for it whatever the limit is.
        let mut pending = vec![emulator.begin_call(names[0])];
        emulator.wait_log_count("START ", 1);
        // Their requests are in the sockets before the next connection is opened.
        pending.extend((1..=waiting).map(|number| emulator.begin_call(names[number])));
        let refused = emulator.call("one too many");
        let document: serde_json::Value = serde_json::from_slice(&refused.body).expect("JSON");
        assert_eq!(refused.status, 429);
        let error_type = refused.header("X-Amzn-ErrorType");
        assert_eq!(error_type, Some("TooManyRequestsException"));
        assert_eq!(document["Reason"], "ConcurrentInvocationLimitExceeded");
        for (name, one) in names.iter().zip(pending) {
            emulator.task_root.release(name);
            assert_eq!(emulator.expect_response(emulator.finish(one)), b"done");
        }
        wait_until(|| emulator.call("on").status == 200, LIMIT);
    }
}

#[test]
fn a_managed_instance_gets_its_maximum_of_events_at_a_time() {
    let emulator = Emulator::with_test_as_runtime()
        .option("--managed-instances", "2")
        .start();
    let runtime = emulator.runtime_client(0);
    let variable = |name| runtime.environment_variable(name).unwrap_or_default();
    assert_eq!(variable("AWS_LAMBDA_MAX_CONCURRENCY"), "2");
    assert_eq!(variable("AWS_LAMBDA_LOG_FORMAT"), "JSON");
    let kind = variable("AWS_LAMBDA_INITIALIZATION_TYPE");
    assert_eq!(kind, "lambda-managed-instances");
    let nexts = [runtime.begin_next(), runtime.begin_next()];
    let callers: Vec<_> = ["a", "b", "c"]
        .map(|event| emulator.begin_call(event))
        .into();
    let mut running = nexts.map(|next| {
        let next = wait_reply(next);
        let request_id = next.header("Lambda-Runtime-Aws-Request-Id");
        (request_id.expect("an id").to_owned(), next.body)
    });
    running.sort_by_key(|(_, event)| event.clone());
    let [(first, _), (second, _)] = &running;
    assert_ne!(first, second);
    // The third event waits until one of the first two is answered.
    let third = runtime.begin_next();
    let stray = runtime.respond("stray", "");
    assert_eq!((stray.status, third.is_answered()), (400, false));
    emulator.wait_log_count("START ", 2);
    assert_eq!(emulator.stdout().matches("START ").count(), 2);
    let answer = |request_id: &str, event: &[u8]| {
        let text = format!("answer to {}", String::from_utf8_lossy(event));
        runtime.respond(request_id, text).status
    };
    assert_eq!(answer(second, &running[1].1), 202);
    let third = wait_reply(third);
    let request_id = third.header("Lambda-Runtime-Aws-Request-Id");
    assert_eq!(answer(request_id.expect("an id"), &third.body), 202);
    assert_eq!(answer(first, &running[0].1), 202);
    let twice = runtime.respond(first, "");
    let actual = (twice.status, error_type(&twice.body));
    assert_eq!(actual, (400, "InvalidRequestID".to_owned()));
    let answers = callers.into_iter().map(|one| emulator.finish(one));
    let answers: Vec<_> = answers.map(|one| emulator.expect_response(one)).collect();
    let expected = ["a", "b", "c"].map(|event| format!("answer to {event}").into_bytes());
    assert_eq!(answers, expected);
    assert_eq!(emulator.task_root.read("sandboxes").lines().count(), 1);
}

/// A timeout does not end the sandbox of a managed instance.
#[test]
fn a_late_answer_of_a_managed_instance_gets_410() {
    let builder = Emulator::with_test_as_runtime().option("--managed-instances", "2");
    let emulator = builder.option("--timeout", "0.5").start();
    let runtime = emulator.runtime_client(0);
    let next: PendingRequest = runtime.begin_next();
    let caller = emulator.begin_call("slow");
    let slow = wait_reply(next);
    let request_id = slow.header("Lambda-Runtime-Aws-Request-Id");
    let request_id = request_id.expect("an id").to_owned();
    let document = emulator.expect_error(&emulator.finish(caller));
    assert_eq!(document["errorType"], "Sandbox.Timedout", "{document}");
    emulator.process.wait_log("\tStatus: timeout\t");
    let late = runtime.respond(&request_id, "late");
    let actual = (late.status, error_type(&late.body));
    assert_eq!(actual, (410, "InvokeTimeout".to_owned()));
    // On a busy machine this answer may be late too.
    let is_answered = || {
        let caller = emulator.begin_call("next");
        let (request_id, event) = runtime.next();
        assert_eq!(event, b"next");
        let is_accepted = runtime.respond(&request_id, "on").status == 202;
        let reply = emulator.finish(caller);
        assert!(!is_accepted || emulator.expect_response(reply) == b"on");
        is_accepted
    };
    wait_until(is_answered, LIMIT);
    assert_eq!(emulator.task_root.read("sandboxes").lines().count(), 1);
}
