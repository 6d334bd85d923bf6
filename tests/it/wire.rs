//! The client of the Runtime API when nothing goes wrong: requests, headers, framing and connections. Paths and headers are
//! those of AWS's documentation. `next_faults.rs` and `answer_faults.rs` test faults.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::ops::Deref;
use std::thread;

use support::{
    Call, Event, Gate, LIMIT, Next, Reply, Sandbox, SandboxBuilder, excerpt, wait_until,
};

/// Every event and every response of these tests contains one of these texts, so that a log with them is noticed.
pub(crate) const EVENT_MARK: &str = "bytes-of-an-event";
pub(crate) const RESPONSE_MARK: &str = "bytes-of-a-response";

/// `handler` responds with the event, `fails` fails. Both add a line to the file `ran`.
pub(crate) const COUNTING: &str = r#"
handler() {
  echo ran >>"$LAMBDA_TASK_ROOT/ran"
  printf 'bytes-of-a-response %s' "$1"
}
fails() {
  handler "$1" >/dev/null
  return 3
}"#;

/// A sandbox whose log must not contain events or responses. This is checked on drop.
pub(crate) struct SilentSandbox(Sandbox);

impl SilentSandbox {
    pub(crate) fn start(builder: SandboxBuilder) -> Self {
        Self(builder.start())
    }

    pub(crate) fn counting() -> Self {
        Self::start(Sandbox::of(COUNTING))
    }

    /// How often the handler of [`COUNTING`] ran.
    pub(crate) fn runs(&self) -> usize {
        self.task_root.read("ran").lines().count()
    }
}

impl Deref for SilentSandbox {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.0
    }
}

impl Drop for SilentSandbox {
    fn drop(&mut self) {
        let log = self.bootstrap.final_log();
        let has_payload = log.contains(EVENT_MARK) || log.contains(RESPONSE_MARK);
        assert!(
            !has_payload || thread::panicking(),
            "event or response in the log:\n{log}"
        );
    }
}

pub(crate) fn event(request_id: &str) -> Event {
    Event::new(request_id, event_text(request_id))
}

pub(crate) fn event_text(request_id: &str) -> String {
    format!("{{\"{EVENT_MARK}\": \"{request_id}\"}}")
}

/// The response of [`COUNTING`] to [`event`].
pub(crate) fn response_text(request_id: &str) -> Vec<u8> {
    format!("{RESPONSE_MARK} {}", event_text(request_id)).into_bytes()
}

#[test]
fn events_are_complete_in_both_framings() {
    let sandbox = SilentSandbox::start(Sandbox::of("handler() { cat; }"));
    for len_bytes in [0, 1, 2, 15, 16, 17, 1800, 2100, 8192, 100_000] {
        let body: Vec<u8> = EVENT_MARK.bytes().cycle().take(len_bytes).collect();
        let plain = Event::fresh(&body);
        let framings = [
            ("Content-Length", plain.clone()),
            (
                "chunks of 1",
                plain
                    .clone()
                    .chunked(if len_bytes > 10_000 { 16 } else { 1 }),
            ),
            ("chunks of 7", plain.clone().chunked(7)),
            ("chunks of 1000", plain.clone().chunked(1000)),
            ("chunks of 4096", plain.clone().chunked(4096)),
            ("one chunk", plain.chunked(1 << 20)),
        ];
        for (number, (framing, event)) in framings.into_iter().enumerate() {
            let response =
                sandbox.respond_to(event.with_request_id(&format!("{len_bytes}-{number}")));
            assert_eq!(
                excerpt(&response),
                excerpt(&body),
                "{len_bytes} bytes, {framing}"
            );
        }
    }
}

#[test]
fn events_that_arrive_byte_by_byte_are_complete() {
    let sandbox = SilentSandbox::counting();
    assert_eq!(
        sandbox.respond_to(event("dribble-1").byte_by_byte()),
        response_text("dribble-1")
    );
    assert_eq!(
        sandbox.respond_to(event("dribble-2").chunked(5).byte_by_byte()),
        response_text("dribble-2")
    );
    assert_eq!(sandbox.respond_to(event("plain")), response_text("plain"));
}

/// Lambda may freeze the sandbox at any point for any time.
#[test]
fn bootstrap_waits_for_an_event_that_stalls() {
    let sandbox = SilentSandbox::counting();
    for (request_id, is_chunked) in [("stall-1", false), ("stall-2", true)] {
        let gate = Gate::new();
        let sent = if is_chunked {
            event(request_id).chunked(4)
        } else {
            event(request_id)
        };
        let begun = std::time::Instant::now();
        sandbox.api.push(sent.stall_after(6, &gate));
        // Longer than the limit of one second for connecting, which must not apply to reading.
        wait_until(|| begun.elapsed().as_millis() > 1500, LIMIT);
        assert_eq!(
            sandbox.runs(),
            usize::from(is_chunked),
            "the handler ran with an incomplete event"
        );
        gate.open();
        assert_eq!(
            sandbox.api.wait_answer(request_id).body,
            response_text(request_id)
        );
    }
    sandbox.api.wait_parked();
    assert_eq!(
        (sandbox.api.next_count(), sandbox.api.connection_count()),
        (3, 1)
    );
}

/// No other request has the header.
#[test]
fn an_answer_repeats_the_invocation_id_if_there_is_one() {
    let script = "handler() { [[ $1 != *fail* ]] || return 3; printf 'bytes-of-a-response'; }";
    let sandbox = SilentSandbox::start(Sandbox::of(script));
    let name = "Lambda-Runtime-Invocation-Id";
    for (number, body) in ["works", "fail", "works", "fail"].iter().enumerate() {
        let value = format!("attempt-{number}-A/b+c=");
        let with = Event::fresh(body).header(name, &value);
        assert_eq!(
            sandbox.invoke(with).header(name),
            Some(value.as_str()),
            "{body}, with an id"
        );
        let without = Event::fresh(body);
        assert_eq!(
            sandbox.invoke(without).header(name),
            None,
            "{body}, without an id"
        );
    }
    let nexts = sandbox.api.calls().into_iter().filter(Call::is_next);
    assert!(nexts.into_iter().all(|next| next.header(name).is_none()));
}

#[test]
fn every_request_has_the_right_headers() {
    let user_agent = concat!("coshell/", env!("CARGO_PKG_VERSION"));
    let works = SilentSandbox::start(Sandbox::of(
        "handler() { [[ $1 != fail ]] || return 3; printf '%s' \"$1\"; }",
    ));
    works.respond(EVENT_MARK);
    works.respond("");
    works.respond(EVENT_MARK.repeat(10_000));
    works.fail("fail");
    works.api.wait_parked();
    let broken = SilentSandbox::start(Sandbox::of("handler() {"));
    broken.api.wait_init_error();
    for sandbox in [&works, &broken] {
        let address = sandbox.api.address();
        for call in sandbox.api.calls() {
            let request = format!("{} {}: {:?}", call.method, call.path, call.headers);
            assert_eq!(call.header("User-Agent"), Some(user_agent), "{request}");
            assert_eq!(call.header("Host"), Some(address.as_str()), "{request}");
            assert_eq!(call.header("Transfer-Encoding"), None, "{request}");
            assert_eq!(call.header("Expect"), None, "{request}");
            assert_eq!(
                call.header("Lambda-Runtime-Function-Response-Mode"),
                None,
                "{request}"
            );
            if call.method == "POST" {
                let length = call.body.len().to_string();
                assert_eq!(
                    call.header("Content-Length"),
                    Some(length.as_str()),
                    "{request}"
                );
                assert_eq!(
                    call.header("Content-Type"),
                    Some("application/json"),
                    "{request}"
                );
            }
            let error_type = call.header("Lambda-Runtime-Function-Error-Type");
            assert_eq!(
                error_type.is_some(),
                call.is_error() || call.is_init_error(),
                "{request}"
            );
        }
    }
    assert_eq!(works.api.calls().len(), 9, "{}", works.api.transcript());
}

/// After that the process ends.
#[test]
fn an_init_error_is_the_only_request() {
    for reply in [
        Reply::accepted(),
        Reply::refused(403, "InvalidStateTransition"),
        Reply::refused(500, "ServiceError"),
        Reply::Close,
    ] {
        let builder = Sandbox::of("handler() {");
        builder.api().reply_to_init_error(reply.clone());
        builder.api().push(event("never"));
        let sandbox = SilentSandbox::start(builder);
        let document = sandbox.api.wait_init_error().error_document();
        assert_eq!(
            document["errorType"], "Runtime.UserCodeSyntaxError",
            "{reply:?}"
        );
        assert!(document["stackTrace"].is_array(), "{document}");
        sandbox.bootstrap.wait_failure(LIMIT);
        assert_eq!(sandbox.api.calls().len(), 1, "{}", sandbox.api.transcript());
        assert_eq!(sandbox.api.next_count(), 0, "{reply:?}");
    }
}

#[test]
fn bootstrap_ignores_proxy_variables_and_passes_them_to_the_handler() {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("cannot listen");
    proxy.set_nonblocking(true).expect("nonblocking");
    let url = format!("http://{}", proxy.local_addr().expect("address"));
    let names = [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ];
    let script =
        "handler() { printenv http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY; }";
    let builder = names
        .iter()
        .fold(Sandbox::of(script), |builder, name| builder.env(name, &url));
    let sandbox = SilentSandbox::start(builder);
    for _ in 0..2 {
        let response = String::from_utf8(sandbox.respond(EVENT_MARK)).expect("UTF-8");
        assert_eq!(response.lines().collect::<Vec<_>>(), [url.as_str(); 6]);
    }
    let used = proxy.accept();
    assert!(
        matches!(&used, Err(error) if error.kind() == ErrorKind::WouldBlock),
        "{used:?}"
    );
}

#[test]
fn many_invocations_use_one_connection() {
    let sandbox = SilentSandbox::counting();
    for number in 0..50 {
        let request_id = format!("kept-{number}");
        let sent = if number % 2 == 0 {
            event(&request_id)
        } else {
            event(&request_id).chunked(11)
        };
        assert_eq!(sandbox.respond_to(sent), response_text(&request_id));
    }
    sandbox.api.wait_parked();
    assert_eq!(
        sandbox.api.connection_count(),
        1,
        "{}",
        sandbox.api.transcript()
    );
    assert_eq!((sandbox.runs(), sandbox.api.next_count()), (50, 51));
}

#[test]
fn the_reply_to_an_answer_may_have_any_body_and_framing() {
    let sandbox = SilentSandbox::counting();
    let shapes = [
        "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{\"stat\r\nc\r\nus\": \"OK\" }\n\r\n0\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\ncontent-length: 16\r\n\r\n{\"status\":\"OK\"}\n",
        "HTTP/1.1 202 \r\nContent-Length: 3\r\n\r\n\0\0\0",
    ];
    for (number, shape) in shapes.iter().enumerate() {
        sandbox.api.reply(Reply::RawOpen(shape.as_bytes().to_vec()));
        let request_id = format!("shape-{number}");
        assert_eq!(
            sandbox.respond_to(event(&request_id)),
            response_text(&request_id),
            "{shape}"
        );
    }
    sandbox.api.wait_parked();
    assert_eq!(
        sandbox.api.connection_count(),
        1,
        "{}",
        sandbox.api.transcript()
    );
    assert_eq!(
        sandbox.bootstrap.final_log(),
        "",
        "a reply with status 202 was logged"
    );
}

#[test]
fn bootstrap_waits_for_a_late_reply_to_an_answer() {
    let sandbox = SilentSandbox::counting();
    let gate = Gate::new();
    sandbox.api.reply(Reply::Late(gate.clone()));
    sandbox.api.push(event("late"));
    sandbox.api.push(event("after"));
    let answered = sandbox.api.wait_answer("late").received_at;
    let posted = std::time::Instant::now();
    // Longer than the limit of one second for connecting, which must not apply to reading.
    wait_until(|| posted.elapsed().as_millis() > 1500, LIMIT);
    assert_eq!(
        (sandbox.api.next_count(), sandbox.api.answers("late").len()),
        (1, 1)
    );
    gate.open();
    assert!(sandbox.api.wait_answer("after").received_at > answered);
    assert_eq!(sandbox.api.answers("late").len(), 1);
}

#[test]
fn healthy_invocations_log_nothing() {
    let sandbox = SilentSandbox::counting();
    for request_id in ["quiet-1", "quiet-2", "quiet-3"] {
        assert_eq!(
            sandbox.respond_to(event(request_id)),
            response_text(request_id)
        );
    }
    sandbox.api.wait_parked();
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

#[test]
fn a_handler_that_fails_is_answered_once_with_an_error() {
    let sandbox = SilentSandbox::start(Sandbox::of(
        "handler() { echo 'bytes-of-a-response'; return 3; }",
    ));
    for request_id in ["fails-1", "fails-2"] {
        let answer = sandbox.invoke(event(request_id));
        assert!(answer.is_error());
        assert_eq!(
            answer.header("Lambda-Runtime-Function-Error-Type"),
            Some("Function.HandlerFailed")
        );
        let document = answer.error_document();
        assert_eq!(document["errorType"], "Function.HandlerFailed");
        assert!(
            document["errorMessage"]
                .as_str()
                .is_some_and(|message| message.contains('3')),
            "{document}"
        );
        assert!(document["stackTrace"].is_array(), "{document}");
        sandbox.api.wait_parked();
        assert_eq!(sandbox.api.answers(request_id).len(), 1);
    }
}

#[test]
fn without_an_address_of_the_runtime_api_bootstrap_fails() {
    let unset = Sandbox::of(COUNTING).without_env("AWS_LAMBDA_RUNTIME_API");
    let empty = Sandbox::of(COUNTING).env("AWS_LAMBDA_RUNTIME_API", "");
    for builder in [unset, empty] {
        builder.api().push(Next::Event(event("never")));
        let sandbox = SilentSandbox::start(builder);
        sandbox.bootstrap.wait_failure(LIMIT);
        sandbox.bootstrap.wait_log("AWS_LAMBDA_RUNTIME_API");
        assert_eq!(sandbox.api.connection_count(), 0);
        assert_eq!(sandbox.runs(), 0);
    }
}
