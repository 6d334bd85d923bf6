//! The Runtime API as it should be: what is asked, sent and kept. Paths and headers are spelled as in AWS's
//! documentation. What goes wrong is in `next_faults.rs` and
//! `answer_faults.rs`.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::ops::Deref;
use std::thread;

use support::{
    Call, Event, Gate, LIMIT, Next, Reply, Sandbox, SandboxBuilder, excerpt, wait_until,
};

/// In every event and every response of these tests, so that no log can hold them unseen.
pub(crate) const EVENT_MARK: &str = "bytes-of-an-event";
pub(crate) const RESPONSE_MARK: &str = "bytes-of-a-response";

/// `handler` answers with the event, `fails` fails; both keep count of how often they ran in the file `ran`.
pub(crate) const COUNTING: &str = r#"
handler() {
  echo ran >>"$LAMBDA_TASK_ROOT/ran"
  printf 'bytes-of-a-response %s' "$1"
}
fails() {
  handler "$1" >/dev/null
  return 3
}"#;

/// A sandbox whose log is searched for the bytes of events and responses when the test ends.
pub(crate) struct Silent(Sandbox);

impl Silent {
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

impl Deref for Silent {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.0
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let log = self.bootstrap.final_log();
        let told = log.contains(EVENT_MARK) || log.contains(RESPONSE_MARK);
        assert!(
            !told || thread::panicking(),
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

/// What [`COUNTING`] answers to [`event`].
pub(crate) fn response_text(request_id: &str) -> Vec<u8> {
    format!("{RESPONSE_MARK} {}", event_text(request_id)).into_bytes()
}

#[test]
fn events_are_whole_under_both_framings() {
    let sandbox = Silent::start(Sandbox::of("handler() { cat; }"));
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
fn events_that_dribble_in_are_whole() {
    let sandbox = Silent::counting();
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

/// The sandbox may be frozen at any place for any time.
#[test]
fn an_event_that_stalls_is_waited_for() {
    let sandbox = Silent::counting();
    for (request_id, is_chunked) in [("stall-1", false), ("stall-2", true)] {
        let gate = Gate::new();
        let sent = if is_chunked {
            event(request_id).chunked(4)
        } else {
            event(request_id)
        };
        let asked = std::time::Instant::now();
        sandbox.api.push(sent.stall_after(6, &gate));
        // Longer than the second that a connect may take.
        wait_until(|| asked.elapsed().as_millis() > 1500, LIMIT);
        assert_eq!(
            sandbox.runs(),
            usize::from(is_chunked),
            "ran with a part of the event"
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

/// Echoed on the answer to its own invocation, on nothing else.
#[test]
fn invocation_id_goes_back_with_the_answer_when_it_was_sent() {
    let script = "handler() { [[ $1 != *fail* ]] || return 3; printf 'bytes-of-a-response'; }";
    let sandbox = Silent::start(Sandbox::of(script));
    let name = "Lambda-Runtime-Invocation-Id";
    for (number, body) in ["works", "fail", "works", "fail"].iter().enumerate() {
        let value = format!("attempt-{number}-A/b+c=");
        let with = Event::fresh(body).header(name, &value);
        assert_eq!(
            sandbox.invoke(with).header(name),
            Some(value.as_str()),
            "{body}, sent"
        );
        let without = Event::fresh(body);
        assert_eq!(
            sandbox.invoke(without).header(name),
            None,
            "{body}, not sent"
        );
    }
    let nexts = sandbox.api.calls().into_iter().filter(Call::is_next);
    assert!(nexts.into_iter().all(|next| next.header(name).is_none()));
}

#[test]
fn every_call_has_the_headers_it_should_have() {
    let user_agent = concat!("coshell/", env!("CARGO_PKG_VERSION"));
    let works = Silent::start(Sandbox::of(
        "handler() { [[ $1 != fail ]] || return 3; printf '%s' \"$1\"; }",
    ));
    works.respond(EVENT_MARK);
    works.respond("");
    works.respond(EVENT_MARK.repeat(10_000));
    works.fail("fail");
    works.api.wait_parked();
    let broken = Silent::start(Sandbox::of("handler() {"));
    broken.api.wait_init_error();
    for sandbox in [&works, &broken] {
        let address = sandbox.api.address();
        for call in sandbox.api.calls() {
            let told = format!("{} {}: {:?}", call.method, call.path, call.headers);
            assert_eq!(call.header("User-Agent"), Some(user_agent), "{told}");
            assert_eq!(call.header("Host"), Some(address.as_str()), "{told}");
            assert_eq!(call.header("Transfer-Encoding"), None, "{told}");
            assert_eq!(call.header("Expect"), None, "{told}");
            assert_eq!(
                call.header("Lambda-Runtime-Function-Response-Mode"),
                None,
                "{told}"
            );
            if call.method == "POST" {
                let length = call.body.len().to_string();
                assert_eq!(
                    call.header("Content-Length"),
                    Some(length.as_str()),
                    "{told}"
                );
                assert_eq!(
                    call.header("Content-Type"),
                    Some("application/json"),
                    "{told}"
                );
            }
            let error_type = call.header("Lambda-Runtime-Function-Error-Type");
            assert_eq!(
                error_type.is_some(),
                call.is_error() || call.is_init_error(),
                "{told}"
            );
        }
    }
    assert_eq!(works.api.calls().len(), 9, "{}", works.api.transcript());
}

/// Told once, before any next, then the process ends.
#[test]
fn init_error_is_the_only_call() {
    for reply in [
        Reply::accepted(),
        Reply::refused(403, "InvalidStateTransition"),
        Reply::refused(500, "ServiceError"),
        Reply::Close,
    ] {
        let builder = Sandbox::of("handler() {");
        builder.api().reply_to_init_error(reply.clone());
        builder.api().push(event("never"));
        let sandbox = Silent::start(builder);
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
fn proxies_are_ignored_for_the_runtime_api_and_kept_for_the_handler() {
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
    let sandbox = Silent::start(builder);
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
fn one_connection_serves_many_invocations() {
    let sandbox = Silent::counting();
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

/// The body is of no interest, however it comes.
#[test]
fn the_reply_to_an_answer_is_read_in_any_shape() {
    let sandbox = Silent::counting();
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
    assert_eq!(sandbox.bootstrap.final_log(), "", "202 is nothing to log");
}

#[test]
fn a_late_reply_to_an_answer_is_waited_for() {
    let sandbox = Silent::counting();
    let gate = Gate::new();
    sandbox.api.reply(Reply::Late(gate.clone()));
    sandbox.api.push(event("late"));
    sandbox.api.push(event("after"));
    let answered = sandbox.api.wait_answer("late").received_at;
    let posted = std::time::Instant::now();
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
    let sandbox = Silent::counting();
    for request_id in ["quiet-1", "quiet-2", "quiet-3"] {
        assert_eq!(
            sandbox.respond_to(event(request_id)),
            response_text(request_id)
        );
    }
    sandbox.api.wait_parked();
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

/// A failing handler is an answer like any other.
#[test]
fn an_error_is_the_one_answer_of_its_invocation() {
    let sandbox = Silent::start(Sandbox::of(
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

/// No address is guessed.
#[test]
fn without_an_address_of_the_runtime_api_nothing_is_guessed() {
    let unset = Sandbox::of(COUNTING).without_env("AWS_LAMBDA_RUNTIME_API");
    let empty = Sandbox::of(COUNTING).env("AWS_LAMBDA_RUNTIME_API", "");
    for builder in [unset, empty] {
        builder.api().push(Next::Event(event("never")));
        let sandbox = Silent::start(builder);
        sandbox.bootstrap.wait_failure(LIMIT);
        sandbox.bootstrap.wait_log("AWS_LAMBDA_RUNTIME_API");
        assert_eq!(sandbox.api.connection_count(), 0);
        assert_eq!(sandbox.runs(), 0);
    }
}
