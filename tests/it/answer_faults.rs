//! Faults while bootstrap posts a response or an error: a delivery never gets two answers, and no answer is lost. Paths
//! and headers are those of AWS's documentation.

use crate::next_faults::assert_gives_up;
use crate::wire::{COUNTING, SilentSandbox, event, event_text, response_text};
use support::{Event, Reply, Sandbox};

/// The largest response that Lambda takes: six MiB and 100 bytes.
const MAX_RESPONSE_BYTES: usize = 6_291_556;

/// Lambda no longer waits for this answer, so bootstrap goes on with the next invocation.
#[test]
fn a_rejected_answer_is_logged_and_the_next_invocation_runs() {
    for handler in ["function.handler", "function.fails"] {
        let refusals = [
            (400, "InvalidRequestID"),
            (403, "InvalidStateTransition"),
            (410, "InvokeTimeout"),
            (413, "RequestEntityTooLarge"),
        ];
        let sandbox = SilentSandbox::start(Sandbox::of(COUNTING).handler(handler));
        for (status, error_type) in refusals {
            let request_id = format!("refused-{status}");
            sandbox.api.reply(Reply::refused(status, error_type));
            sandbox.api.push(event(&request_id));
            sandbox.api.wait_answer(&request_id);
            sandbox.api.wait_parked();
            sandbox
                .bootstrap
                .wait_log(&format!("(request id {request_id})\n"));
            let log = sandbox.bootstrap.log();
            let has_id = |line: &&str| line.contains(&format!("(request id {request_id})"));
            let line = log.lines().find(has_id).unwrap_or_default();
            let is_logged = line.starts_with("bootstrap: ") && line.contains(&status.to_string());
            assert!(is_logged, "no status {status} in {line:?}");
            let after = format!("after-{status}");
            sandbox.api.push(event(&after));
            sandbox.api.wait_answer(&after);
            assert_eq!(sandbox.api.answers(&request_id).len(), 1, "{status}");
        }
        assert_eq!(sandbox.runs(), 2 * refusals.len());
        assert_eq!(
            sandbox.api.connection_count(),
            1,
            "the reply of a rejected answer is read to its end"
        );
    }
}

/// A request id is one segment of the path, whatever it contains.
#[test]
fn a_request_id_with_any_characters_is_answered() {
    let sandbox = SilentSandbox::counting();
    sandbox.api.allow_violations();
    for (id, encoded) in [
        ("a b<c`", "a%20b%3Cc%60"),
        ("x#y?z/%41", "x%23y%3Fz%2F%2541"),
        ("1-2.3_4~:@", "1-2.3_4~:@"),
    ] {
        sandbox.api.push(event(id));
        assert_eq!(sandbox.api.wait_answer(encoded).body, response_text(id));
    }
}

#[test]
fn an_answer_that_gets_500_ends_the_process() {
    for handler in ["function.handler", "function.fails"] {
        let sandbox = SilentSandbox::start(Sandbox::of(COUNTING).handler(handler));
        sandbox.api.reply(Reply::refused(500, "ServiceError"));
        sandbox.api.push(event("last"));
        sandbox.api.push(event("never"));
        sandbox.api.wait_answer("last");
        assert_gives_up(&sandbox.bootstrap, &["500"]);
        assert_eq!(
            (sandbox.runs(), sandbox.api.next_count()),
            (1, 1),
            "{handler}"
        );
        assert_eq!(sandbox.api.answers("last").len(), 1, "{handler}");
    }
}

#[test]
fn a_connection_closed_while_the_handler_runs_loses_nothing() {
    let script = format!("{COUNTING}\nwaits() {{ sleep 0.05; handler \"$1\"; }}");
    let sandbox = SilentSandbox::start(Sandbox::of(&script).handler("function.waits"));
    for request_id in ["closed-1", "closed-2", "closed-3"] {
        let response = sandbox.respond_to(event(request_id).then_close());
        assert_eq!(response, response_text(request_id));
        sandbox.api.wait_parked();
        assert_eq!(sandbox.api.answers(request_id).len(), 1);
    }
    let counts = (
        sandbox.runs(),
        sandbox.api.next_count(),
        sandbox.api.connection_count(),
    );
    assert_eq!(counts, (3, 4, 4));
}

/// The connection ends right behind the event, so a fast handler answers when it is closed already.
#[test]
fn a_connection_closed_while_a_fast_handler_runs_loses_nothing() {
    let sandbox = SilentSandbox::start(Sandbox::of("handler() { printf '%s' \"$1\"; }"));
    for number in 0..30 {
        let request_id = format!("fast-{number}");
        assert_eq!(
            sandbox.respond_to(event(&request_id).then_close()),
            event_text(&request_id).into_bytes()
        );
        sandbox.api.wait_parked();
        assert_eq!(sandbox.api.answers(&request_id).len(), 1);
    }
    assert_eq!(
        (sandbox.api.next_count(), sandbox.api.connection_count()),
        (31, 31)
    );
}

#[test]
fn a_connection_closed_after_the_answer_loses_nothing() {
    let sandbox = SilentSandbox::counting();
    for number in 0..10 {
        let request_id = format!("closed-{number}");
        sandbox.api.reply(Reply::StatusThenClose(
            202,
            "{\"status\":\"OK\"}\n".to_owned(),
        ));
        assert_eq!(
            sandbox.respond_to(event(&request_id)),
            response_text(&request_id)
        );
    }
    sandbox.api.wait_parked();
    for number in 0..10 {
        assert_eq!(sandbox.api.answers(&format!("closed-{number}")).len(), 1);
    }
    assert_eq!(
        (sandbox.runs(), sandbox.api.connection_count()),
        (10, 11),
        "{}",
        sandbox.api.transcript()
    );
}

#[test]
fn a_connection_with_the_header_connection_close_is_not_used_again() {
    let sandbox = SilentSandbox::counting();
    for request_id in ["close-1", "close-2"] {
        assert_eq!(
            sandbox.respond_to(event(request_id).header("Connection", "close")),
            response_text(request_id)
        );
        sandbox.api.wait_parked();
        let answer = sandbox.api.answers(request_id).remove(0);
        let next = sandbox
            .api
            .calls()
            .into_iter()
            .rfind(|call| call.is_next() && call.received_at < answer.received_at);
        assert_ne!(next.map(|next| next.connection), Some(answer.connection));
    }
    assert_eq!(sandbox.runs(), 2);
}

/// It is unknown whether the answer arrived. It is not sent again, and bootstrap goes on.
#[test]
fn an_answer_whose_reply_is_lost_is_not_sent_twice() {
    let lost = [
        Reply::Close,
        Reply::Raw(b"HTTP/1.1 2".to_vec()),
        Reply::Raw(b"HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"sta".to_vec()),
        Reply::Raw(b"this is not HTTP\r\n\r\n".to_vec()),
    ];
    let sandbox = SilentSandbox::counting();
    for (number, reply) in lost.into_iter().enumerate() {
        let (request_id, after) = (format!("lost-{number}"), format!("after-{number}"));
        sandbox.api.reply(reply);
        assert_eq!(
            sandbox.respond_to(event(&request_id)),
            response_text(&request_id)
        );
        assert_eq!(sandbox.respond_to(event(&after)), response_text(&after));
        assert_eq!(
            sandbox.api.answers(&request_id).len(),
            1,
            "{}",
            sandbox.api.transcript()
        );
    }
    assert_eq!(sandbox.runs(), 8);
}

/// `GET next` returns an unanswered event again. Its answer was lost on the way, but bootstrap still has it.
#[test]
fn an_event_that_comes_again_after_its_answer_was_lost_gets_the_same_answer() {
    for handler in ["function.handler", "function.fails"] {
        let sandbox = SilentSandbox::start(Sandbox::of(COUNTING).handler(handler));
        let sent = event("again").header("Lambda-Runtime-Invocation-Id", "attempt-1");
        sandbox.api.reply(Reply::Close);
        sandbox.api.push(sent.clone());
        sandbox.api.wait_answer("again");
        sandbox.api.push(sent);
        let answers = sandbox.api.wait_answers("again", 2);
        sandbox.api.wait_parked();
        assert_eq!(sandbox.runs(), 1, "{handler}: the handler ran again");
        assert_eq!(answers[0].path, answers[1].path);
        assert_eq!(answers[0].body, answers[1].body);
        assert_eq!(
            answers[1].header("Lambda-Runtime-Invocation-Id"),
            Some("attempt-1")
        );
        assert_eq!(sandbox.api.answers("again").len(), 2);
        sandbox.api.push(event("after"));
        sandbox.api.wait_answer("after");
        assert_eq!(sandbox.runs(), 2, "{handler}");
    }
}

/// Lambda retries an asynchronous event that failed under the same request id. Its first answer had arrived.
#[test]
fn an_event_that_comes_again_after_its_answer_was_accepted_runs_again() {
    let sandbox = SilentSandbox::start(Sandbox::of(COUNTING).handler("function.fails"));
    for attempt in 1..=3 {
        sandbox.api.push(event("retried").header(
            "Lambda-Runtime-Invocation-Id",
            &format!("attempt-{attempt}"),
        ));
        let answers = sandbox.api.wait_answers("retried", attempt);
        let sent_back = answers[attempt - 1].header("Lambda-Runtime-Invocation-Id");
        assert_eq!(sent_back, Some(format!("attempt-{attempt}").as_str()));
        assert_eq!(sandbox.runs(), attempt);
    }
}

#[test]
fn bootstrap_survives_a_reset_while_it_sends_a_large_answer() {
    let sandbox = SilentSandbox::start(Sandbox::of(
        "handler() { head -c 5000000 /dev/zero | tr '\\0' x; }",
    ));
    sandbox.api.reply(Reply::Unread);
    sandbox.api.push(event("reset"));
    sandbox.api.push(event("after"));
    assert_eq!(sandbox.api.wait_answer("after").body.len(), 5_000_000);
    assert!(sandbox.api.answers("reset").len() <= 1);
}

/// The size is measured in bytes, before anything is sent.
#[test]
fn a_response_that_is_too_large_is_posted_as_an_error_only() {
    let script = "handler() { head -c \"$1\" /dev/zero | tr '\\0' x; [[ $1 != *0 ]] || echo; }";
    let sandbox = SilentSandbox::start(Sandbox::of(script));
    // Newlines at the end do not count: they are stripped.
    for len_bytes in [MAX_RESPONSE_BYTES - 1, MAX_RESPONSE_BYTES, 6_291_550] {
        assert_eq!(sandbox.respond(len_bytes.to_string()).len(), len_bytes);
    }
    for len_bytes in [
        MAX_RESPONSE_BYTES + 1,
        MAX_RESPONSE_BYTES + 65536,
        5 * MAX_RESPONSE_BYTES,
    ] {
        let sent = Event::fresh(len_bytes.to_string());
        let request_id = sent.request_id.clone();
        let answer = sandbox.invoke(sent);
        assert!(answer.is_error(), "{len_bytes} bytes: {}", answer.path);
        let document = answer.error_document();
        assert_eq!(document["errorType"], "Function.ResponseSizeTooLarge");
        assert_eq!(
            answer.header("Lambda-Runtime-Function-Error-Type"),
            Some("Function.ResponseSizeTooLarge")
        );
        let message: String = document["errorMessage"]
            .as_str()
            .unwrap_or_default()
            .replace([',', '_'], "");
        assert!(
            message.contains(&len_bytes.to_string()),
            "no size in {message:?}"
        );
        assert!(
            message.contains(&MAX_RESPONSE_BYTES.to_string()),
            "no limit in {message:?}"
        );
        sandbox.api.wait_parked();
        assert_eq!(sandbox.api.answers(&request_id).len(), 1);
    }
    assert_eq!(sandbox.respond("5"), b"xxxxx");
}

#[test]
fn the_size_limit_of_a_response_counts_bytes_not_characters() {
    let sandbox = SilentSandbox::start(Sandbox::of(
        "handler() { head -c 3200000 /dev/zero | sed 's/\\x0/\u{e9}/g'; }",
    ));
    assert_eq!(
        sandbox.fail("")["errorType"],
        "Function.ResponseSizeTooLarge"
    );
}

/// After a 413 Lambda reports the error to the caller itself. An error from bootstrap would be a second answer.
#[test]
fn a_response_that_lambda_rejects_as_too_large_is_not_followed_by_an_error() {
    let sandbox = SilentSandbox::counting();
    sandbox
        .api
        .reply(Reply::refused(413, "RequestEntityTooLarge"));
    sandbox.api.push(event("large"));
    assert!(sandbox.api.wait_answer("large").is_response());
    sandbox.api.wait_parked();
    assert_eq!(sandbox.api.answers("large").len(), 1);
    sandbox.bootstrap.wait_log("413");
    assert_eq!(sandbox.respond_to(event("after")), response_text("after"));
}
