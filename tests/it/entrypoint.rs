//! coshell entrypoint, and what containers ask of coshell serve: PORT, one door, time to end.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use nix::sys::signal::Signal;

use support::coshell_path;
use support::served::{INVOCATIONS, STREAMING_INVOCATIONS};
use support::{LIMIT, Sandbox, Served, excerpt, own_address, wait_until};

const PRINTS_PATH: &str =
    r#"handler() { local path=${1#*'"rawPath":"'}; echo "the path: ${path%%'"'*}"; }"#;
/// Says that it has begun, and answers when the test lets it, but later than a sandbox may that is told to end.
const WAITS: &str =
    r#"handler() { echo begun >&2; read -r _ <"$LAMBDA_TASK_ROOT/gate"; sleep 0.5; echo done; }"#;

/// A port of `host` that was free a moment ago.
fn free_port(host: Ipv4Addr) -> String {
    let listener = TcpListener::bind((host, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    address.port().to_string()
}

#[track_caller]
fn get(served: &Served, path: &str) -> String {
    let reply = served.request("GET", path, &[], "");
    assert_eq!(reply.status, 200, "{}", excerpt(&reply.body));
    String::from_utf8(reply.body).expect("UTF-8")
}

#[test]
fn entry_point_is_bootstrap_where_there_is_a_runtime_api() {
    let plan = Sandbox::of("handler() { echo named; }").env("_HANDLER", "another.one");
    let plan = plan.program(&[coshell_path(), "entrypoint", "function.handler"]);
    let sandbox = plan.env("PORT", "no port").start();
    assert_eq!(sandbox.respond("{}"), b"named");
}

#[test]
fn entry_point_serves_callers_elsewhere() {
    let served = Served::of(PRINTS_PATH)
        .entrypoint()
        .env("AWS_LAMBDA_RUNTIME_API", "");
    let served = served.start();
    assert_eq!(served.text("none"), "the path: none");
    assert_eq!(served.request("GET", "/any", &[], "").status, 404);
}

#[test]
fn entry_point_has_the_function_url_alone_at_port() {
    let host = own_address();
    let port = free_port(host);
    let plan = Served::of(PRINTS_PATH).entrypoint().env("PORT", &port);
    let served = plan.listen(&host.to_string()).start();
    assert_eq!(served.address, format!("{host}:{port}"));
    assert_eq!(get(&served, "/a/path"), "the path: /a/path");
    let reply = served.request("POST", INVOCATIONS, &[], r#"{"forged":true}"#);
    let path = String::from_utf8(reply.body).expect("UTF-8");
    assert_eq!(path, format!("the path: {INVOCATIONS}"));
}

#[test]
fn entry_point_keeps_the_doors_that_it_is_given() {
    let host = own_address();
    let plan = Served::of(PRINTS_PATH)
        .entrypoint()
        .env("PORT", &free_port(host));
    let served = plan
        .word("--function-url")
        .listen(&host.to_string())
        .start();
    assert_eq!(get(&served, "/a/path"), "the path: /a/path");
    assert_eq!(served.text("none"), "the path: none");
}

#[test]
fn port_is_that_of_a_function_url_unless_another_is_given() {
    let host = own_address();
    let (set, given) = (free_port(host), free_port(host));
    let serve = || {
        Served::of(PRINTS_PATH)
            .word("--function-url")
            .env("PORT", &set)
    };
    let served = serve().listen(&host.to_string()).start();
    assert_eq!(served.address, format!("{host}:{set}"));
    served.end();
    let served = serve()
        .listen(&host.to_string())
        .option("--port", &given)
        .start();
    assert_eq!(served.address, format!("{host}:{given}"));
    served.end();
    let served = serve().listen(&format!("{host}:{given}")).start();
    assert_eq!(served.address, format!("{host}:{given}"));
}

#[test]
fn port_that_is_none_is_told_where_it_matters() {
    let wrong = |plan: support::served::Plan| plan.env("PORT", "eighty");
    let said = "coshell: cannot use PORT eighty: eighty is not a port number\n";
    let plan = wrong(Served::of(PRINTS_PATH)).word("--function-url");
    assert_eq!(plan.refusal(), (2, said.to_owned()));
    let plan = wrong(Served::of(PRINTS_PATH)).entrypoint();
    assert_eq!(plan.refusal(), (2, said.to_owned()));
    let served = wrong(Served::of(PRINTS_PATH)).start();
    assert_eq!(served.text("none"), "the path: none");
}

#[test]
fn invocation_under_way_may_end_before_the_server_does() {
    for plan in [
        Served::of(WAITS).option("--grace", "30"),
        Served::of(WAITS).entrypoint(),
    ] {
        plan.task_root.fifo("gate");
        let served = plan.start();
        let pending = served.begin_call("{}");
        served.process.wait_log("begun\n");
        served.process.signal(Signal::SIGTERM);
        // Nobody is let in any more.
        let is_closed = || TcpStream::connect(&served.address).is_err();
        wait_until(is_closed, LIMIT);
        assert!(served.process.is_running(), "{}", served.process.log());
        served.task_root.write("gate", "go\n");
        let reply = served.finish(pending);
        assert_eq!(served.response_of(reply), b"done");
        served.process.wait_end(LIMIT);
    }
}

#[test]
fn invocation_that_takes_longer_than_its_grace_is_ended() {
    let plan = Served::of(WAITS).option("--grace", "0.05");
    plan.task_root.fifo("gate");
    let served = plan.start();
    let pending = served.begin_call("{}");
    served.process.wait_log("begun\n");
    served.end();
    let answer = pending.reply(LIMIT).map(|reply| reply.body);
    assert!(answer.is_err() || answer.is_ok_and(|body| body.starts_with(b"{\"errorMessage\":")));
}

/// A caller that keeps its connection open has nothing under way.
#[test]
fn idle_connection_does_not_delay_the_end() {
    let served = Served::of(WAITS).option("--grace", "600").start();
    let idle = TcpStream::connect(&served.address).expect("a connection");
    served.end();
    drop(idle);
}

#[test]
fn function_url_alone_leaves_no_path_to_callers() {
    let served = Served::of(PRINTS_PATH).word("--function-url=only").start();
    for path in ["/", INVOCATIONS, STREAMING_INVOCATIONS] {
        let reply = served.request("POST", path, &[], "{}");
        let told = String::from_utf8(reply.body).expect("UTF-8");
        assert_eq!(told, format!("the path: {path}"));
    }
}
