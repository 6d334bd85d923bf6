//! Faults of a streamed response: the Runtime API rejects it, reads it slowly, or is gone.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::next_faults::assert_gives_up;
use support::{Event, Gate, LIMIT, Midway, Reply, Sandbox, children, status_field, wait_until};

/// Writes more than all buffers in between can hold, and then adds the event to the file `through`.
const LONG_STREAM: &str = "handler() {
  head -c 20000000 /dev/zero
  echo \"$1\" >>\"$LAMBDA_TASK_ROOT/through\"
}
";

fn start_streaming(script: &str) -> Sandbox {
    Sandbox::of(script)
        .env("COSHELL_RESPONSE_MODE", "streaming")
        .start()
}

fn rejection(status: u16) -> Midway {
    Midway::Status(
        status,
        "{\"errorMessage\":\"no\",\"errorType\":\"Refused\"}".to_owned(),
    )
}

/// The rest of the output is dropped.
#[test]
fn an_early_rejection_is_logged_and_the_handler_goes_on() {
    let sandbox = start_streaming(LONG_STREAM);
    for status in [400, 403, 410, 413] {
        let request_id = format!("refused-{status}");
        sandbox
            .api
            .reply(Reply::Midway(1_000_000, rejection(status)));
        sandbox.api.push(Event::new(&request_id, &request_id));
        sandbox
            .bootstrap
            .wait_log(&format!("(request id {request_id})\n"));
        let log = sandbox.bootstrap.log();
        let has_id = |line: &&str| line.contains(&format!("(request id {request_id})"));
        let line = log.lines().find(has_id).unwrap_or_default();
        let has_reason = line.contains(&format!("answered {status}"))
            || line.contains("cannot tell whether Lambda received the response");
        assert!(
            has_reason && line.contains(" bytes of the response had been sent"),
            "{line:?}"
        );
        assert!(sandbox.task_root.read("through").contains(&request_id));
        let answer = sandbox.invoke(Event::fresh("well"));
        assert_eq!(answer.body.len(), 20_000_000);
    }
}

#[test]
fn an_early_status_500_ends_the_process() {
    let sandbox = start_streaming(
        "handler() { echo text; read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; echo more; }",
    );
    sandbox.task_root.fifo("gate");
    sandbox.api.reply(Reply::Midway(1, rejection(500)));
    sandbox.api.push(Event::new("last", ""));
    sandbox.task_root.release("gate");
    assert_gives_up(&sandbox.bootstrap, &["500"]);
}

#[test]
fn a_rejection_at_the_end_of_a_stream_is_handled_like_that_of_any_answer() {
    let sandbox = start_streaming("handler() { echo \"$1\"; }");
    sandbox
        .api
        .reply(Reply::refused(413, "RequestEntityTooLarge"));
    sandbox.api.push(Event::new("refused", "text"));
    sandbox.bootstrap.wait_log("Lambda rejected the response: the Runtime API answered 413 (larger than Lambda accepts): RequestEntityTooLarge: refused; 5 bytes of the response had been sent (request id refused)");
    assert_eq!(sandbox.invoke(Event::fresh("well")).body, b"well\n");
    sandbox.api.reply(Reply::refused(500, "ServiceError"));
    sandbox.api.push(Event::new("last", ""));
    assert_gives_up(&sandbox.bootstrap, &["cannot post response", "500"]);
}

#[test]
fn a_connection_that_breaks_midway_is_logged_and_the_handler_goes_on() {
    let sandbox = start_streaming(LONG_STREAM);
    sandbox.api.reply(Reply::Midway(1_000_000, Midway::Close));
    sandbox.api.push(Event::new("cut", "cut"));
    sandbox
        .bootstrap
        .wait_log("cannot tell whether Lambda received the response");
    assert!(
        sandbox
            .bootstrap
            .log()
            .contains(" bytes of the response had been sent")
    );
    assert_eq!(sandbox.task_root.read("through"), "cut\n");
    let answer = sandbox.invoke(Event::fresh("well"));
    assert_eq!(answer.body.len(), 20_000_000);
}

/// Lambda did not get the answer, so it delivers the event again. But the handler has run already.
#[test]
fn an_event_whose_stream_broke_does_not_run_again() {
    let sandbox = start_streaming(LONG_STREAM);
    sandbox.api.reply(Reply::Midway(1_000_000, Midway::Close));
    sandbox.api.push(Event::new("cut", "cut"));
    sandbox.api.push(Event::new("cut", "cut"));
    let answer = sandbox.api.wait_answer("cut");
    assert!(answer.is_error());
    assert_eq!(
        answer.error_document()["errorType"],
        "Function.StreamBroken"
    );
    assert_eq!(sandbox.task_root.read("through"), "cut\n");
}

/// Bootstrap does not buffer the response for a slow reader.
#[test]
fn the_handler_waits_for_a_runtime_api_that_reads_slowly() {
    let sandbox = start_streaming(LONG_STREAM);
    let gate = Gate::new();
    sandbox
        .api
        .reply(Reply::Midway(1_000_000, Midway::Stop(gate.clone())));
    sandbox.api.push(Event::new("slow", "slow"));
    sandbox
        .api
        .wait_partial_answer("slow", |call| call.body.len() >= 1_000_000);
    // `head`, a child of the shell, waits if it has written nothing more for many checks.
    let shell = sandbox.bootstrap.shell_pid();
    let written = || {
        let io = |pid| std::fs::read_to_string(format!("/proc/{pid}/io")).ok();
        let writer = children(shell).first().copied();
        let io = writer.and_then(io).unwrap_or_default();
        io.lines().nth(1).map(ToOwned::to_owned)
    };
    let (mut last, mut checks) = (None, 0);
    wait_until(
        || {
            let now = written();
            checks = if now == last { checks + 1 } else { 0 };
            last = now;
            checks >= 50
        },
        LIMIT,
    );
    assert!(last.is_some_and(|line| line.starts_with("wchar: ")));
    let pid = sandbox.bootstrap.pid();
    let resident = || status_field(pid, "VmRSS").expect("a size");
    let resident: u64 = resident().split(' ').next().unwrap().parse().unwrap();
    assert!(resident < 12 * 1024, "{resident} KiB");
    assert!(!sandbox.task_root.exists("through"));
    gate.open();
    let answer = sandbox.api.wait_answer("slow");
    assert_eq!(answer.body.len(), 20_000_000);
    assert_eq!(answer.trailers, []);
}

/// Sends an event of whose response the Runtime API reads no more than the first bytes, until the gate is opened.
fn start_stuck(script: &str, read_bytes: usize, deadline: Duration) -> (Sandbox, Gate) {
    let sandbox = Sandbox::of(script)
        .env("COSHELL_RESPONSE_MODE", "streaming")
        .env("COSHELL_DEADLINE_MARGIN_MS", "500")
        .start();
    let gate = Gate::new();
    sandbox
        .api
        .reply(Reply::Midway(read_bytes, Midway::Stop(gate.clone())));
    let event = Event::new("stuck", "stuck");
    sandbox.api.push(event.with_deadline_in(deadline));
    (sandbox, gate)
}

#[test]
fn the_handler_is_stopped_before_its_deadline_even_if_the_runtime_api_does_not_read() {
    let (sandbox, gate) = start_stuck(LONG_STREAM, 1_000_000, Duration::from_secs(4));
    sandbox.bootstrap.wait_log("Function.Timeout");
    sandbox.bootstrap.wait_log("did not answer in time");
    assert!(!sandbox.task_root.exists("through"));
    sandbox.api.allow_violations();
    gate.open();
    let answer = sandbox.invoke(Event::fresh("well"));
    assert_eq!(answer.body.len(), 20_000_000);
}

/// The handler has ended, and what it wrote lies in buffers. With several lanes nobody else would end such an event.
#[test]
fn a_response_that_nobody_reads_holds_its_lane_up_to_the_deadline_alone() {
    let script = "handler() { head -c 900000 /dev/zero; }";
    let (sandbox, gate) = start_stuck(script, 1000, Duration::from_secs(2));
    sandbox.bootstrap.wait_log("did not answer in time");
    sandbox.api.allow_violations();
    assert_eq!(sandbox.invoke(Event::fresh("well")).body.len(), 900_000);
    gate.open();
}

#[test]
fn bootstrap_ends_on_sigterm_even_if_the_runtime_api_does_not_read() {
    let sandbox = start_streaming(LONG_STREAM);
    let gate = Gate::new();
    sandbox
        .api
        .reply(Reply::Midway(1_000_000, Midway::Stop(gate.clone())));
    sandbox.api.push(Event::new("stuck", "stuck"));
    sandbox
        .api
        .wait_partial_answer("stuck", |call| call.body.len() >= 1_000_000);
    sandbox.bootstrap.signal(Signal::SIGTERM);
    assert!(sandbox.bootstrap.wait_exit(LIMIT).success());
    gate.open();
}

#[test]
fn the_process_ends_if_the_runtime_api_is_gone_when_a_stream_begins() {
    let script = "handler() { echo >\"$LAMBDA_TASK_ROOT/begun\"; read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; echo text; }";
    let builder = Sandbox::of(script).env("COSHELL_RESPONSE_MODE", "streaming");
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    sandbox.api.push(Event::new("gone", ""));
    wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
    sandbox.api.shut_down();
    sandbox.task_root.release("gate");
    assert_gives_up(&sandbox.bootstrap, &["cannot post response"]);
}
