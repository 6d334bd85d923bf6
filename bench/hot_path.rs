//! What a warm invocation is made of, a part at a time: `cargo bench --bench hot_path`.
//!
//! The parts that `bootstrap` does for each event: the talk with the Runtime API over ureq, the
//! lines and the arguments for bash, bash itself with a real handler, its report. `README.md` beside
//! it draws where they lie within an invocation. Takes a few seconds.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use coshell::child::Surroundings;
use coshell::child::arguments::Separator;
use coshell::child::logs::Logs;
use coshell::config::{self, Config, Initialization, Isolation, ResponseMode};
use coshell::handler::Handler;
use coshell::invocation::{Invocation, Outcome};
use coshell::response::Response;
use coshell::runtime_api::{Client, Posted};
use coshell::shell::protocol::{self, Context};
use coshell::shell::{Shell, Starting};
use coshell::wait::{Limit, Signals};
use divan::Bencher;

const SIZES: [usize; 3] = [32, 1024, 102_400];
const HANDLER: &str = "handler() { printf '%s' \"Echoing request: '$1'\"; }\n";

fn main() {
    // As bootstrap does: bash has to start with the descriptors that it is given.
    coshell::sys::close_inherited_on_exec().unwrap();
    divan::main();
}

fn invocation(event_bytes: usize) -> Invocation {
    Invocation {
        request_id: "8476a536-e9f4-11e8-9739-2d7598f27e5c".to_owned(),
        deadline_ms: Some("9999999999999".to_owned()),
        invoked_function_arn: Some("arn:aws:lambda:eu-west-1:123456789012:function:hot".to_owned()),
        trace_id: Some("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0".to_owned()),
        event: vec![b'x'; event_bytes],
        ..Invocation::default()
    }
}

/// A loaded shell, with all that it needs around it for as long as the program runs.
fn shell() -> (&'static Arc<Signals>, Shell<'static>) {
    let folder = tempfile::tempdir().unwrap().keep();
    std::fs::write(folder.join("function.sh"), HANDLER).unwrap();
    let config = Config {
        runtime_api: String::new(),
        handler: Some("function.handler".into()),
        task_root: folder,
        bash: config::bash(None),
        shell_options: ["-euo", "pipefail"].map(ToOwned::to_owned).to_vec(),
        keep_trailing_newlines: false,
        response_mode: ResponseMode::Buffered,
        isolation: Isolation::None,
        deadline_margin: None,
        ends_leftovers: false,
        recycle_after: None,
        keeps_spare: false,
        initialization: Initialization::Direct,
        invalid: None,
        max_concurrency: 1,
        log: config::log(),
    };
    let config = Box::leak(Box::new(config));
    let handler = Handler::find(config.handler.as_deref(), &config.task_root).unwrap();
    let signals = Box::leak(Box::new(Arc::new(Signals::listen().unwrap())));
    let around = Surroundings {
        config,
        handler: Box::leak(Box::new(handler)),
        logs: Box::leak(Box::new(Logs::start(config.log).unwrap())),
        signals,
        lane: None,
    };
    let shell = Starting::start(around).unwrap().load().finish().unwrap();
    (signals, shell)
}

/// Event to response, HTTP left out: two wake-ups and bash. The shell is put in order in between,
/// which is not in the figure.
#[divan::bench(args = SIZES, sample_count = 1000, sample_size = 1)]
fn shell_invokes(bencher: Bencher, event_bytes: usize) {
    let (signals, shell) = shell();
    let (shell, invocation) = (RefCell::new(shell), invocation(event_bytes));
    let invoke = || {
        let outcome = shell.borrow_mut().invoke(
            &invocation,
            &mut Response::unwanted(""),
            &mut Limit::new(signals, None),
        );
        let Outcome::Response(response) = outcome.unwrap() else {
            unreachable!()
        };
        assert_eq!(response.len(), event_bytes + "Echoing request: ''".len());
    };
    invoke();
    bencher
        .with_inputs(|| shell.borrow_mut().settle(&invocation).unwrap())
        .bench_local_values(|()| invoke());
}

/// The whole cycle of the shell, as when the next event is there at once.
#[divan::bench(args = SIZES, sample_count = 1000, sample_size = 1)]
fn shell_invokes_and_settles(bencher: Bencher, event_bytes: usize) {
    let (signals, mut shell) = shell();
    let invocation = invocation(event_bytes);
    bencher.bench_local(|| {
        let mut response = Response::unwanted("");
        let outcome = shell.invoke(&invocation, &mut response, &mut Limit::new(signals, None));
        shell.settle(&invocation).unwrap();
        outcome.unwrap()
    });
}

/// `GET next` and `POST response`, bash left out, with a Runtime API that answers at once.
#[divan::bench(args = SIZES, sample_count = 1000, sample_size = 1)]
fn runtime_api_hands_over_and_takes(bencher: Bencher, event_bytes: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap().to_string();
    thread::spawn(move || answer(&listener.accept().unwrap().0, event_bytes));
    let signals = Arc::new(Signals::listen().unwrap());
    let mut client = Client::open(&api, &signals);
    bencher.bench_local(|| {
        let invocation = client.next_invocation().unwrap().unwrap();
        let outcome = Outcome::Response(invocation.event.clone());
        assert_eq!(
            client.post_outcome(&invocation, &outcome).unwrap(),
            Posted::Accepted
        );
    });
}

fn answer(mut stream: &TcpStream, event_bytes: usize) {
    stream.set_nodelay(true).unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 8476a536\r\n\
         Lambda-Runtime-Deadline-Ms: 9999999999999\r\nContent-Length: {event_bytes}\r\n\r\n"
    );
    let next = [head.into_bytes(), vec![b'x'; event_bytes]].concat();
    let accepted = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
    let mut requests = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        if requests.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let is_next = line.starts_with("GET");
        while line != "\r\n" {
            line.clear();
            requests.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        requests.read_exact(&mut vec![0; length]).unwrap();
        let sent = stream.write_all(if is_next { &next } else { accepted });
        if sent.is_err() {
            return;
        }
    }
}

/// What is written to bash's script, and laid out for it.
#[divan::bench(args = SIZES)]
fn lines_and_arguments(bencher: Bencher, event_bytes: usize) {
    let invocation = invocation(event_bytes);
    let known = Context::of(&invocation);
    bencher.bench(|| {
        let with_context = !known.fits(&invocation);
        let lines = protocol::invocation_lines(&invocation, with_context, Separator::Nul, "tx4hq2");
        (
            lines,
            protocol::arguments(&invocation, None, Separator::Nul).length(),
        )
    });
}

/// What bash tells when the handler has ended.
#[divan::bench]
fn report_found() -> impl Sized {
    let trap = "trap -- '\\__driver_seldom __driver_died \"$?\"' EXIT\n";
    let told = divan::black_box(format!("{trap}tx4hq2\0return\u{0}0\0tx4hq2\0"));
    protocol::find_report(told.as_bytes(), "tx4hq2", trap)
}
