//! Faults of `GET next`: bootstrap never runs an incomplete event, and never tries again endlessly. Paths and headers are
//! those of AWS's documentation.

use crate::wire::{COUNTING, SilentSandbox, event, event_text, response_text};
use nix::sys::signal::Signal;
use support::{LIMIT, Next, Process, Sandbox, resident_bytes, wait_until};

/// The largest number of tries in a row that counts as a few.
const FEW: usize = 10;

/// Replies to `GET next` without an event. Each has a name for what the runtime sees.
fn broken_nexts() -> Vec<(&'static str, Next)> {
    vec![
        ("closed without a byte", Next::Close),
        ("reset", Next::Reset),
        (
            "head cut off",
            Next::Raw(b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Requ".to_vec()),
        ),
        ("status line cut off", Next::Raw(b"HTTP/1.".to_vec())),
    ]
}

/// Replies to `GET next` with a part of an event.
fn cut_nexts(request_id: &str) -> Vec<(&'static str, Next)> {
    let event = event(request_id);
    let len_bytes = event_text(request_id).len();
    vec![
        ("no byte of the body", event.clone().cut_after(0).into()),
        ("half the body", event.clone().cut_after(len_bytes / 2).into()),
        ("one byte short", event.clone().cut_after(len_bytes - 1).into()),
        ("chunked, no chunk", event.clone().chunked(8).cut_after(0).into()),
        ("chunked, cut between chunks", event.clone().chunked(8).cut_after(16).into()),
        ("chunked, cut in a chunk", event.clone().chunked(8).cut_after(19).into()),
        ("chunked, no last chunk", event.clone().chunked(8).without_last_chunk().into()),
        ("one chunk, no last chunk", event.chunked(1 << 16).without_last_chunk().into()),
        (
            "last chunk cut in its size",
            Next::Raw(
                format!(
                    "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {request_id}\r\nTransfer-Encoding: chunked\r\n\r\n\
                     {len_bytes:x}\r\n{}\r\n0",
                    event_text(request_id)
                )
                .into_bytes(),
            ),
        ),
        (
            "an invalid chunk size",
            Next::Raw(
                format!(
                    "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {request_id}\r\nTransfer-Encoding: chunked\r\n\r\n\
                     5\r\n{}\r\nxyz\r\n",
                    &event_text(request_id)[..5]
                )
                .into_bytes(),
            ),
        ),
    ]
}

/// Asserts that the process ends by itself, bash with it, and that the log contains all of `texts`.
#[track_caller]
pub(crate) fn assert_gives_up(bootstrap: &Process, texts: &[&str]) {
    bootstrap.wait_failure(LIMIT);
    let log = bootstrap.log();
    for text in texts {
        assert!(log.contains(text), "no {text:?} in the log:\n{log}");
    }
}

#[test]
fn a_client_error_for_next_is_logged_and_ends_the_process() {
    for (status, error_type) in [
        (403, "InvalidStateTransition"),
        (410, "Gone"),
        (400, "BadRequest"),
        (404, "NotFound"),
    ] {
        let sandbox = SilentSandbox::counting();
        assert_eq!(sandbox.respond_to(event("before")), response_text("before"));
        sandbox.api.push(Next::Status(
            status,
            format!("{{\"errorType\":\"{error_type}\",\"errorMessage\":\"no\"}}"),
        ));
        assert_gives_up(&sandbox.bootstrap, &[&status.to_string(), "next"]);
        assert_eq!(
            (sandbox.api.next_count(), sandbox.runs()),
            (2, 1),
            "{status}"
        );
    }
}

#[test]
fn status_500_for_next_ends_the_process_at_once() {
    let builder = Sandbox::of(COUNTING);
    builder.api().push(Next::Status(500, String::new()));
    builder.api().push(event("never"));
    let sandbox = SilentSandbox::start(builder);
    assert_gives_up(&sandbox.bootstrap, &["500", "next"]);
    assert_eq!((sandbox.api.next_count(), sandbox.runs()), (1, 0));
}

#[test]
fn a_broken_reply_to_next_is_requested_again() {
    for (what, broken) in broken_nexts() {
        let builder = Sandbox::of(COUNTING);
        builder.api().push(broken.clone());
        builder.api().push(event("first"));
        builder.api().push(broken.clone());
        builder.api().push(broken);
        builder.api().push(event("second"));
        let sandbox = SilentSandbox::start(builder);
        assert_eq!(
            sandbox.api.wait_answer("first").body,
            response_text("first"),
            "{what}"
        );
        assert_eq!(
            sandbox.api.wait_answer("second").body,
            response_text("second"),
            "{what}"
        );
        sandbox.api.wait_parked();
        assert_eq!((sandbox.runs(), sandbox.api.next_count()), (2, 6), "{what}");
    }
}

#[test]
fn broken_replies_in_a_row_end_the_process_after_a_few_tries() {
    for (what, broken) in broken_nexts() {
        let builder = Sandbox::of(COUNTING);
        for _ in 0..10_000 {
            builder.api().push(broken.clone());
        }
        let sandbox = SilentSandbox::start(builder);
        assert_gives_up(&sandbox.bootstrap, &["next"]);
        let (nexts, connections) = (sandbox.api.next_count(), sandbox.api.connection_count());
        assert!((2..=FEW).contains(&nexts), "{what}: {nexts} times");
        assert!(connections <= FEW, "{what}: {connections} connections");
        assert_eq!(sandbox.runs(), 0);
    }
}

#[test]
fn a_missing_runtime_api_ends_the_process() {
    let builder = Sandbox::of(COUNTING);
    builder.api().shut_down();
    let address = builder.api().address();
    let sandbox = SilentSandbox::start(builder);
    assert_gives_up(&sandbox.bootstrap, &[&address, "refused"]);
}

#[test]
fn a_runtime_api_that_goes_away_ends_the_process() {
    let sandbox = SilentSandbox::counting();
    assert_eq!(sandbox.respond_to(event("before")), response_text("before"));
    sandbox.api.wait_parked();
    sandbox.api.shut_down();
    assert_gives_up(&sandbox.bootstrap, &[&sandbox.api.address()]);
    assert_eq!(sandbox.runs(), 1);
}

#[test]
fn an_incomplete_event_is_never_run() {
    for (number, (what, cut)) in cut_nexts("cut").into_iter().enumerate() {
        let sandbox = SilentSandbox::counting();
        let before = format!("before-{number}");
        assert_eq!(
            sandbox.respond_to(event(&before)),
            response_text(&before),
            "{what}"
        );
        sandbox.api.wait_parked();
        sandbox.api.push(cut);
        // The event was not answered, so it is delivered again.
        sandbox.api.push(event("cut"));
        assert_eq!(
            sandbox.api.wait_answer("cut").body,
            response_text("cut"),
            "{what}"
        );
        sandbox.api.wait_parked();
        assert_eq!(
            (sandbox.runs(), sandbox.api.answers("cut").len()),
            (2, 1),
            "{what}"
        );
    }
}

/// Without a length, an event ends where the connection does.
#[test]
fn an_event_that_a_shutdown_cuts_off_is_never_run() {
    let sandbox = SilentSandbox::counting();
    sandbox.api.wait_parked();
    let head = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: cut\r\n\r\n";
    let bootstrap = sandbox.bootstrap.pid();
    let before = resident_bytes(bootstrap);
    let part = format!("{head}{}", "x".repeat(32 << 20));
    sandbox.api.push(Next::RawOpen(part.into_bytes()));
    // It has read most of the part.
    wait_until(|| resident_bytes(bootstrap) > before + (16 << 20), LIMIT);
    sandbox.bootstrap.signal(Signal::SIGTERM);
    sandbox.bootstrap.wait_clean_exit(LIMIT);
    assert_eq!((sandbox.runs(), sandbox.api.calls().len()), (0, 1));
}

#[test]
fn events_cut_off_again_and_again_end_the_process() {
    for (what, cut) in cut_nexts("cut") {
        let builder = Sandbox::of(COUNTING);
        for _ in 0..10_000 {
            builder.api().push(cut.clone());
        }
        let sandbox = SilentSandbox::start(builder);
        assert_gives_up(&sandbox.bootstrap, &["next"]);
        let nexts = sandbox.api.next_count();
        assert!((2..=FEW).contains(&nexts), "{what}: {nexts} times");
        assert_eq!(
            (sandbox.runs(), sandbox.api.answers("cut").len()),
            (0, 0),
            "{what}"
        );
    }
}

/// Without a request id no answer can be posted.
#[test]
fn an_event_without_a_request_id_is_never_run() {
    let builder = Sandbox::of(COUNTING);
    builder.api().allow_violations();
    for _ in 0..10_000 {
        builder
            .api()
            .push(event("nameless").without("Lambda-Runtime-Aws-Request-Id"));
    }
    let sandbox = SilentSandbox::start(builder);
    assert_gives_up(&sandbox.bootstrap, &["next", "request-id"]);
    assert!(
        sandbox.api.next_count() <= FEW,
        "{} times",
        sandbox.api.next_count()
    );
    assert!(sandbox.api.calls().iter().all(|call| call.method == "GET"));
    assert_eq!(sandbox.runs(), 0);
}
