//! One `coshell serve` with its own task root, and an HTTP client for it.
//!
//! It listens at an address that no other test uses. When it is dropped, it gets SIGTERM, and must end with status 0 and
//! leave no process behind. [`Emulator::with_test_as_runtime`] starts a bootstrap that does nothing: the test itself then
//! acts as the runtime, through [`Emulator::runtime_client`].

use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::http::PendingRequest;
use crate::{HttpReply, LIMIT, Process, TaskRoot, excerpt, unique_address, wait_until};

pub const INVOCATIONS: &str = "/2015-03-31/functions/function/invocations";
pub const STREAMING_INVOCATIONS: &str =
    "/2021-11-15/functions/function/response-streaming-invocations";
const RUNTIME: &str = "/2018-06-01/runtime";

/// A bootstrap that writes down its pid and the address of its Runtime API, and then does nothing.
const IDLE_BOOTSTRAP: &str = r#"#!/bin/bash
echo "$$ $AWS_LAMBDA_RUNTIME_API" >>"$LAMBDA_TASK_ROOT/sandboxes"
exec sleep 600
"#;

/// A running `coshell serve`.
#[derive(Debug)]
pub struct Emulator {
    pub process: Process,
    pub task_root: TaskRoot,
    /// `host:port`.
    pub address: String,
}

/// Configures an emulator before it starts.
#[derive(Debug)]
pub struct EmulatorBuilder {
    pub task_root: TaskRoot,
    subcommand: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    listen: String,
}

impl Emulator {
    /// An emulator whose `function.sh` is `script`, with the handler `function.handler`.
    pub fn of(script: &str) -> EmulatorBuilder {
        let builder = Self::empty().arg("function.handler");
        builder.task_root.write("function.sh", script);
        builder
    }

    /// An emulator with an empty task root and without a handler.
    pub fn empty() -> EmulatorBuilder {
        EmulatorBuilder {
            task_root: TaskRoot::new(),
            subcommand: "serve",
            arguments: Vec::new(),
            environment: Vec::new(),
            listen: format!("{}:0", unique_address()),
        }
    }

    /// An emulator whose runtime is the test; see [`runtime_client`](Self::runtime_client).
    pub fn with_test_as_runtime() -> EmulatorBuilder {
        let builder = Self::empty().arg("function.handler");
        let bootstrap = builder.task_root.write_program("idle", IDLE_BOOTSTRAP);
        builder.option("--bootstrap", &bootstrap.to_string_lossy())
    }

    /// Runs one invocation. Returns what the caller gets.
    #[track_caller]
    pub fn call(&self, event: impl AsRef<[u8]>) -> HttpReply {
        self.call_with_headers(&[], event)
    }

    #[track_caller]
    pub fn call_with_headers(
        &self,
        headers: &[(&str, &str)],
        event: impl AsRef<[u8]>,
    ) -> HttpReply {
        self.request("POST", INVOCATIONS, headers, event)
    }

    #[track_caller]
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> HttpReply {
        let pending = self.begin(method, path, headers, body);
        self.finish(pending)
    }

    /// Sends a request without waiting for its reply; see [`finish`](Self::finish).
    #[track_caller]
    pub fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> PendingRequest {
        let pending = PendingRequest::send(&self.address, method, path, headers, body.as_ref());
        pending.unwrap_or_else(|error| panic!("cannot call: {error}\n{}", self.process.log()))
    }

    #[track_caller]
    pub fn begin_call(&self, event: impl AsRef<[u8]>) -> PendingRequest {
        self.begin("POST", INVOCATIONS, &[], event)
    }

    #[track_caller]
    pub fn finish(&self, pending: PendingRequest) -> HttpReply {
        let reply = pending.reply(LIMIT);
        reply.unwrap_or_else(|error| panic!("no answer: {error}\n{}", self.process.log()))
    }

    /// Runs one invocation that must succeed. Returns the response.
    #[track_caller]
    pub fn respond(&self, event: impl AsRef<[u8]>) -> Vec<u8> {
        self.expect_response(self.call(event))
    }

    /// As [`respond`](Self::respond), for a response in UTF-8.
    #[track_caller]
    pub fn respond_text(&self, event: impl AsRef<[u8]>) -> String {
        String::from_utf8(self.respond(event)).expect("UTF-8")
    }

    /// Asserts that `reply` is a response, not a function error. Returns the response.
    #[track_caller]
    pub fn expect_response(&self, reply: HttpReply) -> Vec<u8> {
        let is_response = reply.status == 200 && reply.header("X-Amz-Function-Error").is_none();
        let body = excerpt(&reply.body);
        let status = reply.status;
        assert!(is_response, "{status} {body}\n{}", self.process.log());
        reply.body
    }

    /// Runs one invocation that must fail. Returns the error document.
    #[track_caller]
    pub fn fail(&self, event: impl AsRef<[u8]>) -> serde_json::Value {
        self.expect_error(&self.call(event))
    }

    /// Asserts that `reply` is a function error: status 200 and the header. Returns the error document.
    #[track_caller]
    pub fn expect_error(&self, reply: &HttpReply) -> serde_json::Value {
        let error = reply.header("X-Amz-Function-Error");
        let body = excerpt(&reply.body);
        let log = self.process.log();
        assert_eq!(
            (reply.status, error),
            (200, Some("Unhandled")),
            "{body}\n{log}"
        );
        serde_json::from_slice(&reply.body)
            .unwrap_or_else(|_| panic!("not an error document: {body}\n{log}"))
    }

    /// Standard output, which has what Lambda would log.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.process.stdout()).into_owned()
    }

    /// Standard error, which has coshell's own messages.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.process.stderr()).into_owned()
    }

    /// Waits until `text` is `count` times in standard output and error together.
    #[track_caller]
    pub fn wait_log_count(&self, text: &str, count: usize) {
        let deadline = std::time::Instant::now() + LIMIT;
        while self.process.log().matches(text).count() < count {
            let log = self.process.log();
            let is_late = std::time::Instant::now() > deadline;
            assert!(!is_late, "{text:?} is not in the log {count} times:\n{log}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The Runtime API of sandbox `number`, counted from 0 in the order in which they were started.
    #[track_caller]
    pub fn runtime_client(&self, number: usize) -> RuntimeClient {
        let line = || {
            let started = self.task_root.read("sandboxes");
            started.lines().nth(number).map(ToOwned::to_owned)
        };
        wait_until(|| line().is_some(), LIMIT);
        let line = line().expect("waited for it");
        let (pid, api) = line.split_once(' ').expect("pid and address");
        RuntimeClient {
            pid: pid.parse().expect("a pid"),
            api: api.to_owned(),
        }
    }

    /// Sends SIGTERM and waits for the end, with status 0 and no process left behind. Returns the log.
    #[track_caller]
    pub fn stop(self) -> String {
        self.process.signal(Signal::SIGTERM);
        self.process.wait_clean_exit(LIMIT)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if !thread::panicking() && self.process.is_running() {
            self.process.signal(Signal::SIGTERM);
            self.process.wait_clean_exit(LIMIT);
        }
    }
}

impl EmulatorBuilder {
    /// Starts `coshell entrypoint`, the entry point of images, instead of `coshell serve`.
    pub fn entrypoint(mut self) -> Self {
        self.subcommand = "entrypoint";
        self
    }

    /// Listens at `address`, instead of a port that the system chooses.
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// Adds a command line argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.arguments.push(arg.to_owned());
        self
    }

    pub fn option(self, name: &str, value: &str) -> Self {
        self.arg(name).arg(value)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command, with a small, fixed environment.
    pub fn command(&self) -> Command {
        let mut command = coshell(&self.task_root);
        command.arg(self.subcommand).args(&self.arguments);
        let variables = self.environment.iter();
        command.envs(variables.map(|(name, value)| (name, value)));
        command
    }

    /// Starts the emulator, and waits until it has printed its address.
    #[track_caller]
    pub fn start(self) -> Emulator {
        let mut command = self.command();
        command.args(["--listen", &self.listen]);
        let process = Process::start(command);
        let messages = || String::from_utf8_lossy(&process.stderr()).into_owned();
        let is_ready = || messages().contains("http://") && messages().ends_with('\n');
        wait_until(|| is_ready() || !process.is_running(), LIMIT);
        let messages = messages();
        let address = messages.split_once("http://").map(|(_, rest)| rest);
        let address = address.and_then(|rest| rest.split(['/', '\n', ' ']).next());
        let address = address.unwrap_or_else(|| panic!("no address: {}", process.log()));
        Emulator {
            address: address.to_owned(),
            process,
            task_root: self.task_root,
        }
    }

    /// Runs an emulator that cannot start. Returns its exit status and its standard error.
    #[track_caller]
    pub fn expect_start_failure(self) -> (i32, String) {
        let mut command = self.command();
        command.args(["--listen", &self.listen]);
        let process = Process::start(command);
        let status = process.wait_failure(LIMIT);
        let stderr = String::from_utf8_lossy(&process.stderr()).into_owned();
        (status, stderr)
    }
}

/// The command `coshell` in the folder `task_root`, with a small, fixed environment.
pub fn coshell(task_root: &TaskRoot) -> Command {
    let mut command = Command::new(crate::coshell_path());
    command.env_clear().current_dir(task_root.path());
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    if let Ok(bash) = std::env::var("COSHELL_TEST_BASH") {
        command.env("COSHELL_BASH", bash);
    }
    command
}

/// A client for the Runtime API of one sandbox. The test uses it to act as the runtime.
#[derive(Debug)]
pub struct RuntimeClient {
    pub pid: u32,
    pub api: String,
}

impl RuntimeClient {
    /// Sends a request. `path` is relative to `/2018-06-01/runtime`, unless it begins with a year.
    #[track_caller]
    pub fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> PendingRequest {
        let path = if path.starts_with("/20") {
            path.to_owned()
        } else {
            format!("{RUNTIME}{path}")
        };
        let pending = PendingRequest::send(&self.api, method, &path, headers, body.as_ref());
        pending.expect("cannot call the Runtime API")
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> HttpReply {
        wait_reply(self.begin("GET", path, &[], ""))
    }

    #[track_caller]
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> HttpReply {
        wait_reply(self.begin("POST", path, headers, body))
    }

    /// Gets the next invocation. Returns its request id and its event.
    #[track_caller]
    pub fn next(&self) -> (String, Vec<u8>) {
        let reply = self.get("/invocation/next");
        assert_eq!(reply.status, 200, "{}", excerpt(&reply.body));
        let request_id = reply.header("Lambda-Runtime-Aws-Request-Id");
        (request_id.expect("a request id").to_owned(), reply.body)
    }

    /// Requests the next invocation without waiting for it.
    #[track_caller]
    pub fn begin_next(&self) -> PendingRequest {
        self.begin("GET", "/invocation/next", &[], "")
    }

    #[track_caller]
    pub fn respond(&self, request_id: &str, response: impl AsRef<[u8]>) -> HttpReply {
        self.post(&format!("/invocation/{request_id}/response"), &[], response)
    }

    /// The value of a variable in the environment of the bootstrap.
    pub fn environment_variable(&self, name: &str) -> Option<String> {
        let read = || std::fs::read(format!("/proc/{}/environ", self.pid));
        // The file is empty for a moment during execve.
        wait_until(|| read().is_ok_and(|bytes| !bytes.is_empty()), LIMIT);
        let environment = read().expect("the environment");
        let entries = environment.split(|byte| *byte == 0);
        let mut entries = entries.map(|entry| String::from_utf8_lossy(entry).into_owned());
        entries.find_map(|entry| Some(entry.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    }
}

/// Waits for the reply to a request.
#[track_caller]
pub fn wait_reply(pending: PendingRequest) -> HttpReply {
    pending.reply(LIMIT).expect("a reply")
}

/// The `errorType` of an error document.
#[track_caller]
pub fn error_type(body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).expect("a document");
    document["errorType"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
