//! `coshell entrypoint`, and what containers need from `coshell serve`: the variable PORT, the function URL alone, and a
//! grace period at the end.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;

use nix::sys::signal::Signal;

use support::coshell_path;
use support::emulator::{INVOCATIONS, STREAMING_INVOCATIONS};
use support::{CommandOutput, Emulator, LIMIT, Sandbox, excerpt, unique_address, wait_until};

const PRINTS_PATH: &str =
    r#"handler() { local path=${1#*'"rawPath":"'}; echo "the path: ${path%%'"'*}"; }"#;
/// Logs that it has begun, and answers half a second after the test opens the gate: later than the 500 ms that a sandbox has
/// after SIGTERM.
const WAITS: &str =
    r#"handler() { echo begun >&2; read -r _ <"$LAMBDA_TASK_ROOT/gate"; sleep 0.5; echo done; }"#;

/// A port of `host` that was free a moment ago.
fn free_port(host: Ipv4Addr) -> String {
    let listener = TcpListener::bind((host, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    address.port().to_string()
}

#[track_caller]
fn get(emulator: &Emulator, path: &str) -> String {
    let reply = emulator.request("GET", path, &[], "");
    assert_eq!(reply.status, 200, "{}", excerpt(&reply.body));
    String::from_utf8(reply.body).expect("UTF-8")
}

#[test]
fn the_entry_point_runs_bootstrap_if_there_is_a_runtime_api() {
    let builder = Sandbox::of("handler() { echo named; }").env("_HANDLER", "another.one");
    let builder = builder.program(&[coshell_path(), "entrypoint", "function.handler"]);
    let sandbox = builder.env("PORT", "no port").start();
    assert_eq!(sandbox.respond("{}"), b"named");
}

#[test]
fn the_entry_point_is_the_emulator_if_there_is_no_runtime_api() {
    let emulator = Emulator::of(PRINTS_PATH)
        .entrypoint()
        .env("AWS_LAMBDA_RUNTIME_API", "");
    let emulator = emulator.start();
    assert_eq!(emulator.respond_text("none"), "the path: none");
    assert_eq!(emulator.request("GET", "/any", &[], "").status, 404);
}

#[test]
fn the_entry_point_serves_only_the_function_url_at_port() {
    let host = unique_address();
    let port = free_port(host);
    let builder = Emulator::of(PRINTS_PATH).entrypoint().env("PORT", &port);
    let emulator = builder.listen(&host.to_string()).start();
    assert_eq!(emulator.address, format!("{host}:{port}"));
    assert_eq!(get(&emulator, "/a/path"), "the path: /a/path");
    let reply = emulator.request("POST", INVOCATIONS, &[], r#"{"forged":true}"#);
    let path = String::from_utf8(reply.body).expect("UTF-8");
    assert_eq!(path, format!("the path: {INVOCATIONS}"));
}

#[test]
fn the_entry_point_serves_the_api_too_if_the_option_says_so() {
    let host = unique_address();
    let builder = Emulator::of(PRINTS_PATH)
        .entrypoint()
        .env("PORT", &free_port(host));
    let emulator = builder
        .arg("--function-url")
        .listen(&host.to_string())
        .start();
    assert_eq!(get(&emulator, "/a/path"), "the path: /a/path");
    assert_eq!(emulator.respond_text("none"), "the path: none");
}

#[test]
fn port_is_used_for_a_function_url_unless_an_option_gives_another() {
    let host = unique_address();
    let (from_variable, from_option) = (free_port(host), free_port(host));
    let serve = || {
        Emulator::of(PRINTS_PATH)
            .arg("--function-url")
            .env("PORT", &from_variable)
    };
    let emulator = serve().listen(&host.to_string()).start();
    assert_eq!(emulator.address, format!("{host}:{from_variable}"));
    emulator.stop();
    let emulator = serve()
        .listen(&host.to_string())
        .option("--port", &from_option)
        .start();
    assert_eq!(emulator.address, format!("{host}:{from_option}"));
    emulator.stop();
    let emulator = serve().listen(&format!("{host}:{from_option}")).start();
    assert_eq!(emulator.address, format!("{host}:{from_option}"));
}

#[test]
fn an_invalid_port_is_an_error_only_where_it_is_used() {
    let with_invalid_port =
        |builder: support::emulator::EmulatorBuilder| builder.env("PORT", "eighty");
    let message = "coshell: cannot use PORT eighty: eighty is not a port number\n";
    let builder = with_invalid_port(Emulator::of(PRINTS_PATH)).arg("--function-url");
    assert_eq!(builder.expect_start_failure(), (2, message.to_owned()));
    let builder = with_invalid_port(Emulator::of(PRINTS_PATH)).entrypoint();
    assert_eq!(builder.expect_start_failure(), (2, message.to_owned()));
    let emulator = with_invalid_port(Emulator::of(PRINTS_PATH)).start();
    assert_eq!(emulator.respond_text("none"), "the path: none");
}

#[test]
fn a_running_invocation_may_end_before_the_server_does() {
    for builder in [
        Emulator::of(WAITS).option("--grace", "30"),
        Emulator::of(WAITS).entrypoint(),
    ] {
        builder.task_root.fifo("gate");
        let emulator = builder.start();
        let pending = emulator.begin_call("{}");
        emulator.process.wait_log("begun\n");
        emulator.process.signal(Signal::SIGTERM);
        // New connections are refused.
        let is_closed = || TcpStream::connect(&emulator.address).is_err();
        wait_until(is_closed, LIMIT);
        assert!(emulator.process.is_running(), "{}", emulator.process.log());
        emulator.task_root.write("gate", "go\n");
        let reply = emulator.finish(pending);
        assert_eq!(emulator.expect_response(reply), b"done");
        emulator.process.wait_clean_exit(LIMIT);
    }
}

#[test]
fn an_invocation_that_takes_longer_than_the_grace_period_is_ended() {
    let builder = Emulator::of(WAITS).option("--grace", "0.05");
    builder.task_root.fifo("gate");
    let emulator = builder.start();
    let pending = emulator.begin_call("{}");
    emulator.process.wait_log("begun\n");
    emulator.stop();
    let answer = pending.reply(LIMIT).map(|reply| reply.body);
    assert!(answer.is_err() || answer.is_ok_and(|body| body.starts_with(b"{\"errorMessage\":")));
}

#[test]
fn an_idle_connection_does_not_delay_the_end() {
    let emulator = Emulator::of(WAITS).option("--grace", "600").start();
    let idle = TcpStream::connect(&emulator.address).expect("a connection");
    emulator.stop();
    drop(idle);
}

#[test]
fn with_the_function_url_only_every_path_belongs_to_the_handler() {
    let emulator = Emulator::of(PRINTS_PATH).arg("--function-url=only").start();
    for path in ["/", INVOCATIONS, STREAMING_INVOCATIONS] {
        let reply = emulator.request("POST", path, &[], "{}");
        let text = String::from_utf8(reply.body).expect("UTF-8");
        assert_eq!(text, format!("the path: {path}"));
    }
}

fn help_of(subcommand: &str) -> String {
    let mut command = Command::new(coshell_path());
    command.args(["help", subcommand]);
    CommandOutput::of(command).stdout
}

/// Options that two subcommands share bring their texts along: examples and defaults are not shared.
#[test]
fn help_of_every_subcommand_is_about_that_subcommand() {
    let mut command = Command::new(coshell_path());
    command.arg("help");
    let overview = CommandOutput::of(command).stdout;
    let list = overview.split("Commands:\n").nth(1).expect("a list");
    let lines = list.lines().take_while(|line| !line.is_empty());
    let words = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<_> = words
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert!(
        names.contains(&"entrypoint") && names.len() > 5,
        "{names:?}"
    );
    for name in &names {
        let help = help_of(name);
        let (_, examples) = help.split_once("Examples:\n").expect("examples");
        for line in examples.lines().take_while(|line| line.starts_with("  ")) {
            let other = names
                .iter()
                .find(|other| line.contains(&format!("coshell {other} ")));
            let is_own = other
                .is_none_or(|other| other == name || line.contains(&format!("coshell {name} ")));
            assert!(is_own, "coshell help {name}: {line}");
        }
        let mut man = Command::new(coshell_path());
        man.args(["man", name]);
        let page = CommandOutput::of(man).stdout;
        let first = examples.lines().next().expect("an example").trim();
        let first = first.replace('-', "\\-");
        assert!(
            page.contains(first.split('\'').next().expect("a part")),
            "{first} is not in {page}"
        );
    }
}

#[test]
fn help_of_the_entry_point_has_the_defaults_of_a_container() {
    let help = help_of("entrypoint")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for part in [
        "The port to listen on [default: $PORT if set, else 8080]",
        "The address to listen on [default: 0.0.0.0]",
        "[default: 8, since docker stop kills after 10]",
        "on Lambda, coshell reads no further argument",
        "ENTRYPOINT [\"/usr/local/bin/coshell\", \"entrypoint\"]",
        "docker run -p 9000:8080 IMAGE",
    ] {
        assert!(help.contains(part), "{part} is not in {help}");
    }
    for part in [
        "9000]",
        "127.0.0.1",
        "as for AWS's emulator",
        "coshell serve",
        "--fault",
    ] {
        assert!(!help.contains(part), "{part} is in {help}");
    }
    assert!(help_of("serve").contains("The port to listen on [default: 9000]"));
}
