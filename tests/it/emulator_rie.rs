//! AWS's own Runtime Interface Emulator in front of bootstrap: the tutorial's way, word for word.
//!
//! The emulator chunks events above 2 KiB, starts the runtime at the first invocation, and tells an error by its
//! document alone, with status 200 (contract #94 to #99).

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::{
    HttpReply, LIMIT, Process, TaskRoot, bootstrap_path, excerpt, lambda_environment, own_address,
    post, repository_file, wait_until,
};

const INVOCATIONS: &str = "/2015-03-31/functions/function/invocations";
/// An invocation may pay for a start.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

struct Emulator {
    process: Process,
    address: String,
    task_root: TaskRoot,
}

impl Emulator {
    fn start(function: impl AsRef<[u8]>, handler: &str) -> Self {
        let task_root = TaskRoot::new();
        task_root.write("function.sh", function);
        let (address, runtime_api) = (
            format!("{}:8080", own_address()),
            format!("{}:9001", own_address()),
        );
        let mut command = Command::new(emulator_path());
        lambda_environment(&mut command, task_root.path());
        command.args(["--runtime-api-address", &runtime_api]);
        command.args(["--runtime-interface-emulator-address", &address]);
        command.args([&bootstrap_path(), handler]);
        let process = Process::start(command);
        wait_until(|| TcpStream::connect(&address).is_ok(), LIMIT);
        Self {
            process,
            address,
            task_root,
        }
    }

    #[track_caller]
    fn invoke(&self, event: impl AsRef<[u8]>) -> HttpReply {
        let reply = post(
            &self.address,
            INVOCATIONS,
            &[],
            event.as_ref(),
            ANSWER_LIMIT,
        );
        reply.unwrap_or_else(|error| panic!("no answer: {error}; the log:\n{}", self.process.log()))
    }

    #[track_caller]
    fn respond(&self, event: impl AsRef<[u8]>) -> Vec<u8> {
        let reply = self.invoke(event);
        assert_eq!(
            reply.status,
            200,
            "{}\n{}",
            excerpt(&reply.body),
            self.process.log()
        );
        reply.body
    }

    #[track_caller]
    fn fail(&self, event: impl AsRef<[u8]>) -> serde_json::Value {
        let reply = self.invoke(event);
        let document = serde_json::from_slice(&reply.body);
        document.unwrap_or_else(|error| {
            panic!(
                "no error document: {error}: {}\n{}",
                excerpt(&reply.body),
                self.process.log()
            )
        })
    }
}

fn emulator_path() -> PathBuf {
    let named = std::env::var_os("COSHELL_TEST_RIE").map(PathBuf::from);
    let path = named.unwrap_or_else(|| repository("target/test-tools/aws-lambda-rie"));
    assert!(
        path.exists(),
        "{} is not there: run make test-tools",
        path.display()
    );
    path
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn tutorial_function() -> Vec<u8> {
    std::fs::read(repository_file("../shared/tutorial/function.sh"))
        .expect("cannot read the tutorial's function.sh")
}

#[test]
fn the_tutorials_function_gives_the_tutorials_answer() {
    let emulator = Emulator::start(tutorial_function(), "function.sh.handler");
    for _ in 0..3 {
        let response = emulator.respond("Hello from Container Lambda!");
        assert_eq!(
            String::from_utf8_lossy(&response),
            "Echoing request: 'Hello from Container Lambda!'"
        );
    }
    let wait = |text: &str| emulator.process.wait_log(text);
    wait("Hello from Container Lambda!\n");
    wait("START RequestId: ");
    wait("END RequestId: ");
    wait("REPORT RequestId: ");
    let log = emulator.process.log();
    assert_eq!(
        log.matches("Hello from Container Lambda!").count(),
        3,
        "{log}"
    );
    assert!(
        !log.contains("Echoing"),
        "the response is in the log:\n{log}"
    );
}

#[test]
fn the_shorter_handler_name_means_the_same() {
    let emulator = Emulator::start(tutorial_function(), "function.handler");
    assert_eq!(emulator.respond("a  b"), b"Echoing request: 'a b'");
}

#[test]
fn events_that_the_emulator_chunks_are_exact() {
    let emulator = Emulator::start("handler() { printf '%s' \"$1\"; }", "function.handler");
    for len_bytes in [0, 1, 1800, 2100, 102_400, 1 << 20, 6 << 20] {
        let text = "{\"key\": \"value with  spaces, \\\\, %s, * and $(id)\",\r\n\t\"\u{e9}\u{1f389}\": 1}, ";
        let event: Vec<u8> = text.bytes().cycle().take(len_bytes).collect();
        assert_eq!(excerpt(&emulator.respond(&event)), excerpt(&event));
        assert!(
            emulator.respond(&event) == event,
            "{len_bytes} bytes are not exact"
        );
    }
}

#[test]
fn a_failing_handler_is_an_error_document_and_the_next_invocation_is_served() {
    let script = r#"
handler() {
  case $1 in
    return) return 3 ;;
    exit) exit 4 ;;
    unset) echo "${no_such_variable}" ;;
    kill) kill -9 "$$" ;;
  esac
  printf '%s' "$1"
}"#;
    let emulator = Emulator::start(script, "function.handler");
    let expected = [
        ("return", "Function.HandlerFailed"),
        ("exit", "Function.HandlerExited"),
        ("unset", "Function.ShellExited"),
        ("kill", "Function.ShellKilled"),
    ];
    for (event, error_type) in expected {
        let document = emulator.fail(event);
        assert_eq!(document["errorType"], error_type, "{event}: {document}");
        assert!(
            document["errorMessage"].is_string() && document["stackTrace"].is_array(),
            "{document}"
        );
        assert_eq!(emulator.respond("healthy"), b"healthy", "after {event}");
    }
    let init_count = emulator.process.log().matches("INIT START").count();
    assert!(
        init_count <= 1,
        "bootstrap was started again:\n{}",
        emulator.process.log()
    );
}

#[test]
fn a_response_that_is_too_large_is_an_error_document() {
    let script = "handler() { head -c \"$1\" /dev/zero | tr '\\0' x; }";
    let emulator = Emulator::start(script, "function.handler");
    assert_eq!(
        emulator.fail("6291557")["errorType"],
        "Function.ResponseSizeTooLarge"
    );
    assert_eq!(emulator.respond("3"), b"xxx");
}

#[test]
fn an_init_error_is_told_to_the_caller() {
    let emulator = Emulator::start("handler() { :; }", "function.missing");
    let document = emulator.fail("event");
    assert_eq!(
        document["errorType"], "Runtime.HandlerNotFound",
        "{document}"
    );
    let told = document["errorMessage"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(told.contains("missing"), "{document}");
    // Contract #48: the same again at the next invocation.
    assert_eq!(
        emulator.fail("event")["errorType"],
        "Runtime.HandlerNotFound"
    );
    assert!(emulator.task_root.exists("function.sh"));
}
