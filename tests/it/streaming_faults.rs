//! What goes wrong with a streamed response: a platform that does not want it, that is slow, or that is gone.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::next_faults::assert_gives_up;
use support::{Event, Gate, LIMIT, Midway, Reply, Sandbox, children, status_field, wait_until};

/// Writes more than all pipes and sockets between us hold, and leaves a trace when it is through.
const LONG: &str = "handler() {
  head -c 20000000 /dev/zero
  echo \"$1\" >>\"$LAMBDA_TASK_ROOT/through\"
}
";

fn long(script: &str) -> Sandbox {
    Sandbox::of(script)
        .env("COSHELL_RESPONSE_MODE", "streaming")
        .start()
}

fn refusal(status: u16) -> Midway {
    Midway::Status(
        status,
        "{\"errorMessage\":\"no\",\"errorType\":\"Refused\"}".to_owned(),
    )
}

/// The handler is not to suffer: what it still writes is dropped, and the next invocation is served.
#[test]
fn early_refusal_is_logged_and_the_handler_goes_on() {
    let sandbox = long(LONG);
    for status in [400, 403, 410, 413] {
        let request_id = format!("refused-{status}");
        sandbox.api.reply(Reply::Midway(1_000_000, refusal(status)));
        sandbox.api.push(Event::new(&request_id, &request_id));
        sandbox
            .bootstrap
            .wait_log(&format!("(request id {request_id})\n"));
        let log = sandbox.bootstrap.log();
        let about = |line: &&str| line.contains(&format!("(request id {request_id})"));
        let line = log.lines().find(about).unwrap_or_default();
        let is_told = line.contains(&format!("answered {status}"))
            || line.contains("cannot tell whether the answer arrived");
        assert!(
            is_told && line.contains(" bytes of the response had been sent"),
            "{line:?}"
        );
        assert!(sandbox.task_root.read("through").contains(&request_id));
        let answer = sandbox.invoke(Event::fresh("well"));
        assert_eq!(answer.body.len(), 20_000_000);
    }
}

#[test]
fn early_500_ends_the_process() {
    let sandbox =
        long("handler() { echo text; read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; echo more; }");
    sandbox.task_root.fifo("gate");
    sandbox.api.reply(Reply::Midway(1, refusal(500)));
    sandbox.api.push(Event::new("last", ""));
    sandbox.task_root.release("gate");
    assert_gives_up(&sandbox.bootstrap, &["500"]);
}

#[test]
fn refusal_at_the_end_is_that_of_any_answer() {
    let sandbox = long("handler() { echo \"$1\"; }");
    sandbox
        .api
        .reply(Reply::refused(413, "RequestEntityTooLarge"));
    sandbox.api.push(Event::new("refused", "text"));
    sandbox.bootstrap.wait_log("answer not taken: the Runtime API answered 413 (larger than Lambda takes): RequestEntityTooLarge: refused; 5 bytes of the response had been sent (request id refused)");
    assert_eq!(sandbox.invoke(Event::fresh("well")).body, b"well\n");
    sandbox.api.reply(Reply::refused(500, "ServiceError"));
    sandbox.api.push(Event::new("last", ""));
    assert_gives_up(&sandbox.bootstrap, &["cannot post response", "500"]);
}

#[test]
fn connection_that_breaks_in_midstream_is_logged_and_the_handler_goes_on() {
    let sandbox = long(LONG);
    sandbox.api.reply(Reply::Midway(1_000_000, Midway::Close));
    sandbox.api.push(Event::new("cut", "cut"));
    sandbox
        .bootstrap
        .wait_log("cannot tell whether the answer arrived");
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

/// The platform that has not got the answer sends the invocation again; the handler has run.
#[test]
fn invocation_whose_stream_broke_is_not_run_again() {
    let sandbox = long(LONG);
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

/// Nothing is kept for a reader that is slow; the handler waits.
#[test]
fn handler_waits_for_a_platform_that_reads_slowly() {
    let sandbox = long(LONG);
    let gate = Gate::new();
    sandbox
        .api
        .reply(Reply::Midway(1_000_000, Midway::Stop(gate.clone())));
    sandbox.api.push(Event::new("slow", "slow"));
    sandbox
        .api
        .wait_partial_answer("slow", |call| call.body.len() >= 1_000_000);
    // `head` is a child of the shell; it waits when it has written no more for many looks.
    let shell = sandbox.bootstrap.shell_pid();
    let written = || {
        let io = |pid| std::fs::read_to_string(format!("/proc/{pid}/io")).ok();
        let writer = children(shell).first().copied();
        let io = writer.and_then(io).unwrap_or_default();
        io.lines().nth(1).map(ToOwned::to_owned)
    };
    let (mut last, mut looks) = (None, 0);
    wait_until(
        || {
            let now = written();
            looks = if now == last { looks + 1 } else { 0 };
            last = now;
            looks >= 50
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

#[test]
fn deadline_holds_while_the_platform_does_not_read() {
    let sandbox = Sandbox::of(LONG)
        .env("COSHELL_RESPONSE_MODE", "streaming")
        .env("COSHELL_DEADLINE_MARGIN_MS", "500")
        .start();
    let gate = Gate::new();
    sandbox
        .api
        .reply(Reply::Midway(1_000_000, Midway::Stop(gate.clone())));
    sandbox
        .api
        .push(Event::new("stuck", "stuck").with_deadline_in(Duration::from_millis(1500)));
    sandbox.bootstrap.wait_log("Function.Timeout");
    sandbox.bootstrap.wait_log("no answer in time");
    assert!(!sandbox.task_root.exists("through"));
    sandbox.api.allow_violations();
    gate.open();
    let answer = sandbox.invoke(Event::fresh("well"));
    assert_eq!(answer.body.len(), 20_000_000);
}

#[test]
fn request_to_end_holds_while_the_platform_does_not_read() {
    let sandbox = long(LONG);
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

/// The Runtime API may not be there when the response is to be opened; it is when it is tried again.
#[test]
fn runtime_api_that_is_gone_ends_the_process() {
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
