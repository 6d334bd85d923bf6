//! One `coshell serve` with a task root of its own, and a caller.
//!
//! [`Served`] listens at an address that no other test has, and ends by SIGTERM when it is dropped: with status 0, and
//! with no process left. [`Plan::played`] starts a bootstrap that does nothing: then the test itself is the runtime, see
//! [`Served::runtime`].

use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::http::Pending;
use crate::{HttpReply, LIMIT, Process, TaskRoot, excerpt, own_address, wait_until};

pub const INVOCATIONS: &str = "/2015-03-31/functions/function/invocations";
pub const STREAMING_INVOCATIONS: &str =
    "/2021-11-15/functions/function/response-streaming-invocations";
const RUNTIME: &str = "/2018-06-01/runtime";
/// How long an answer may take; a handler may have to be started, or to run into its deadline.
const ANSWER_LIMIT: Duration = LIMIT;

/// A bootstrap that says where its Runtime API is, and leaves the rest to the test.
const PLAYED: &str = r#"#!/bin/bash
echo "$$ $AWS_LAMBDA_RUNTIME_API" >>"$LAMBDA_TASK_ROOT/sandboxes"
exec sleep 600
"#;

/// A running `coshell serve`.
#[derive(Debug)]
pub struct Served {
    pub process: Process,
    pub task_root: TaskRoot,
    /// `host:port`.
    pub address: String,
}

/// One that is not started yet.
#[derive(Debug)]
pub struct Plan {
    pub task_root: TaskRoot,
    subcommand: &'static str,
    words: Vec<String>,
    environment: Vec<(String, String)>,
    listen: String,
}

impl Served {
    /// One whose `function.sh` is `script`; the handler is `function.handler`.
    pub fn of(script: &str) -> Plan {
        let plan = Self::empty().word("function.handler");
        plan.task_root.write("function.sh", script);
        plan
    }

    /// One with nothing in its task root, and without a handler.
    pub fn empty() -> Plan {
        Plan {
            task_root: TaskRoot::new(),
            subcommand: "serve",
            words: Vec::new(),
            environment: Vec::new(),
            listen: format!("{}:0", own_address()),
        }
    }

    /// One whose bootstraps are played by the test: see [`runtime`](Self::runtime).
    pub fn played() -> Plan {
        let plan = Self::empty().word("function.handler");
        let bootstrap = plan.task_root.write_program("played", PLAYED);
        plan.option("--bootstrap", &bootstrap.to_string_lossy())
    }

    /// One invocation: what the caller gets.
    #[track_caller]
    pub fn call(&self, event: impl AsRef<[u8]>) -> HttpReply {
        self.call_with(&[], event)
    }

    #[track_caller]
    pub fn call_with(&self, headers: &[(&str, &str)], event: impl AsRef<[u8]>) -> HttpReply {
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

    /// A call whose answer is not waited for; see [`finish`](Self::finish).
    #[track_caller]
    pub fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Pending {
        let pending = Pending::open(&self.address, method, path, headers, body.as_ref());
        pending.unwrap_or_else(|error| panic!("cannot call: {error}\n{}", self.process.log()))
    }

    #[track_caller]
    pub fn begin_call(&self, event: impl AsRef<[u8]>) -> Pending {
        self.begin("POST", INVOCATIONS, &[], event)
    }

    #[track_caller]
    pub fn finish(&self, pending: Pending) -> HttpReply {
        let reply = pending.reply(ANSWER_LIMIT);
        reply.unwrap_or_else(|error| panic!("no answer: {error}\n{}", self.process.log()))
    }

    /// One invocation that has to succeed: its response.
    #[track_caller]
    pub fn respond(&self, event: impl AsRef<[u8]>) -> Vec<u8> {
        self.response_of(self.call(event))
    }

    /// As [`respond`](Self::respond), for a response of text.
    #[track_caller]
    pub fn text(&self, event: impl AsRef<[u8]>) -> String {
        String::from_utf8(self.respond(event)).expect("UTF-8")
    }

    #[track_caller]
    pub fn response_of(&self, reply: HttpReply) -> Vec<u8> {
        let is_response = reply.status == 200 && reply.header("X-Amz-Function-Error").is_none();
        let told = excerpt(&reply.body);
        let status = reply.status;
        assert!(is_response, "{status} {told}\n{}", self.process.log());
        reply.body
    }

    /// One invocation that has to fail: its error document.
    #[track_caller]
    pub fn fail(&self, event: impl AsRef<[u8]>) -> serde_json::Value {
        self.document_of(&self.call(event))
    }

    /// Status 200, the header, and the document.
    #[track_caller]
    pub fn document_of(&self, reply: &HttpReply) -> serde_json::Value {
        let error = reply.header("X-Amz-Function-Error");
        let told = excerpt(&reply.body);
        let log = self.process.log();
        assert_eq!(
            (reply.status, error),
            (200, Some("Unhandled")),
            "{told}\n{log}"
        );
        serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("no document: {told}\n{log}"))
    }

    /// What Lambda would log.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.process.stdout()).into_owned()
    }

    /// What coshell says of itself.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.process.stderr()).into_owned()
    }

    /// Waits until `text` has been logged or said so many times.
    #[track_caller]
    pub fn wait_count(&self, text: &str, count: usize) {
        let deadline = std::time::Instant::now() + LIMIT;
        while self.process.log().matches(text).count() < count {
            let log = self.process.log();
            let is_late = std::time::Instant::now() > deadline;
            assert!(!is_late, "{text:?} is not there {count} times:\n{log}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The sandbox that was started so many sandboxes after the first, whose bootstrap the test plays.
    #[track_caller]
    pub fn runtime(&self, number: usize) -> PlayedRuntime {
        let line = || {
            let started = self.task_root.read("sandboxes");
            started.lines().nth(number).map(ToOwned::to_owned)
        };
        wait_until(|| line().is_some(), LIMIT);
        let line = line().expect("waited for it");
        let (pid, api) = line.split_once(' ').expect("pid and address");
        PlayedRuntime {
            pid: pid.parse().expect("a pid"),
            api: api.to_owned(),
        }
    }

    /// Asks it to end, and waits until it has: with status 0 and nothing left. Its log.
    #[track_caller]
    pub fn end(self) -> String {
        self.process.signal(Signal::SIGTERM);
        self.process.wait_end(LIMIT)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if !thread::panicking() && self.process.is_running() {
            self.process.signal(Signal::SIGTERM);
            self.process.wait_end(LIMIT);
        }
    }
}

impl Plan {
    /// As the entry point of an image.
    pub fn entrypoint(mut self) -> Self {
        self.subcommand = "entrypoint";
        self
    }

    /// At this address, in place of a port that the system chooses.
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// One word of the command line.
    pub fn word(mut self, word: &str) -> Self {
        self.words.push(word.to_owned());
        self
    }

    pub fn option(self, name: &str, value: &str) -> Self {
        self.word(name).word(value)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command, with an environment of which little is known.
    pub fn command(&self) -> Command {
        let mut command = coshell(&self.task_root);
        command.arg(self.subcommand).args(&self.words);
        let set = self.environment.iter();
        command.envs(set.map(|(name, value)| (name, value)));
        command
    }

    /// Starts it, and waits until it says where it serves.
    #[track_caller]
    pub fn start(self) -> Served {
        let mut command = self.command();
        command.args(["--listen", &self.listen]);
        let process = Process::start(command);
        let greeted = || String::from_utf8_lossy(&process.stderr()).into_owned();
        let is_ready = || greeted().contains("http://") && greeted().ends_with('\n');
        wait_until(|| is_ready() || !process.is_running(), LIMIT);
        let greeting = greeted();
        let address = greeting.split_once("http://").map(|(_, rest)| rest);
        let address = address.and_then(|rest| rest.split(['/', '\n', ' ']).next());
        let address = address.unwrap_or_else(|| panic!("no greeting: {}", process.log()));
        Served {
            address: address.to_owned(),
            process,
            task_root: self.task_root,
        }
    }

    /// Runs one that cannot start: its exit status, and what it says.
    #[track_caller]
    pub fn refusal(self) -> (i32, String) {
        let mut command = self.command();
        command.args(["--listen", &self.listen]);
        let process = Process::start(command);
        let status = process.wait_failure(LIMIT);
        let said = String::from_utf8_lossy(&process.stderr()).into_owned();
        (status, said)
    }
}

/// `coshell` in `task_root`, with an environment of which little is known.
pub fn coshell(task_root: &TaskRoot) -> Command {
    let mut command = Command::new(crate::coshell_path());
    command.env_clear().current_dir(task_root.path());
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    if let Ok(bash) = std::env::var("COSHELL_TEST_BASH") {
        command.env("COSHELL_BASH", bash);
    }
    command
}

/// The Runtime API of one sandbox, whose bootstrap the test plays.
#[derive(Debug)]
pub struct PlayedRuntime {
    pub pid: u32,
    pub api: String,
}

impl PlayedRuntime {
    /// `path` is below `/2018-06-01/runtime`, unless it begins with a year itself.
    #[track_caller]
    pub fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Pending {
        let path = if path.starts_with("/20") {
            path.to_owned()
        } else {
            format!("{RUNTIME}{path}")
        };
        let pending = Pending::open(&self.api, method, &path, headers, body.as_ref());
        pending.expect("cannot call the Runtime API")
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> HttpReply {
        reply(self.begin("GET", path, &[], ""))
    }

    #[track_caller]
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> HttpReply {
        reply(self.begin("POST", path, headers, body))
    }

    /// The next invocation: its request id and its event.
    #[track_caller]
    pub fn next(&self) -> (String, Vec<u8>) {
        let reply = self.get("/invocation/next");
        assert_eq!(reply.status, 200, "{}", excerpt(&reply.body));
        let request_id = reply.header("Lambda-Runtime-Aws-Request-Id");
        (request_id.expect("a request id").to_owned(), reply.body)
    }

    /// Asks for the next invocation and does not wait for it.
    #[track_caller]
    pub fn begin_next(&self) -> Pending {
        self.begin("GET", "/invocation/next", &[], "")
    }

    #[track_caller]
    pub fn respond(&self, request_id: &str, response: impl AsRef<[u8]>) -> HttpReply {
        self.post(&format!("/invocation/{request_id}/response"), &[], response)
    }

    /// A variable of the bootstrap's.
    pub fn variable(&self, name: &str) -> Option<String> {
        let read = || std::fs::read(format!("/proc/{}/environ", self.pid));
        // It has none in the moment in which it becomes another program.
        wait_until(|| read().is_ok_and(|bytes| !bytes.is_empty()), LIMIT);
        let environment = read().expect("the environment");
        let texts = environment.split(|byte| *byte == 0);
        let mut texts = texts.map(|text| String::from_utf8_lossy(text).into_owned());
        texts.find_map(|text| Some(text.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    }
}

#[track_caller]
pub fn reply(pending: Pending) -> HttpReply {
    pending.reply(ANSWER_LIMIT).expect("a reply")
}

/// The `errorType` of a document.
#[track_caller]
pub fn error_type(body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).expect("a document");
    document["errorType"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
