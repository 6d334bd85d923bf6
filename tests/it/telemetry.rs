//! The Telemetry API of `coshell serve`: an external extension subscribes and gets records.

use serde_json::Value;

use support::emulator::EmulatorBuilder;
use support::{Emulator, LIMIT, wait_until};

/// An extension. It registers, subscribes, and writes the arrays that it gets to `telemetry`, one on each line. It prints its
/// own events to the log.
const WATCHER: &str = r#"#!/usr/bin/env python3
import http.server, json, os, threading, urllib.request

api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]


class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(os.environ["LAMBDA_TASK_ROOT"] + "/telemetry", "ab") as file:
            file.write(body + b"\n")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass


def call(method, path, headers, body=None):
    request = urllib.request.Request(api + path, method=method, headers=headers, data=body)
    return urllib.request.urlopen(request)


server = http.server.HTTPServer(("127.0.0.1", 0), Sink)
threading.Thread(target=server.serve_forever, daemon=True).start()
events = b'{"events": ["INVOKE", "SHUTDOWN"]}'
registered = call("POST", "/2020-01-01/extension/register", {"Lambda-Extension-Name": "watcher"}, events)
me = {"Lambda-Extension-Identifier": registered.headers["Lambda-Extension-Identifier"]}
subscription = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function"],
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{server.server_port}/"},
}
call("PUT", "/2022-07-01/telemetry", me, json.dumps(subscription).encode())
while True:
    event = json.load(call("GET", "/2020-01-01/extension/event/next", me))
    print("watcher:", event["eventType"], event.get("requestId", event.get("shutdownReason")), flush=True)
    if event["eventType"] == "SHUTDOWN":
        break
"#;

fn emulator_with_extension(script: &str, program: &str) -> EmulatorBuilder {
    let builder = Emulator::of(script);
    builder
        .task_root
        .write_program("extensions/watcher", program);
    let folder = builder.task_root.path().join("extensions");
    builder.option("--extensions", &folder.to_string_lossy())
}

fn records(emulator: &Emulator, event_type: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(emulator.task_root.path().join("telemetry"));
    let text = text.unwrap_or_default();
    // The last line may be incomplete.
    let arrays = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Vec<Value>>(line).ok());
    let events = arrays.flatten().filter(|event| event["type"] == event_type);
    events.map(|event| event["record"].clone()).collect()
}

#[test]
fn a_subscriber_gets_platform_events_and_function_log_lines() {
    let emulator =
        emulator_with_extension("handler() { echo \"seen $1\" >&2; printf '{}'; }", WATCHER)
            .start();
    let reply = emulator.call("one");
    let request_id = reply.header("X-Amzn-RequestId").expect("a request id");
    wait_until(|| !records(&emulator, "platform.report").is_empty(), LIMIT);
    assert_eq!(
        records(&emulator, "platform.start")[0]["requestId"],
        request_id
    );
    assert_eq!(
        records(&emulator, "platform.initReport")[0]["status"],
        "success"
    );
    let lines = records(&emulator, "function");
    assert!(lines.contains(&"seen one".into()), "{lines:?}");
    let report = &records(&emulator, "platform.report")[0];
    assert_eq!(report["requestId"], request_id);
    assert_eq!(report["status"], "success");
    for figure in ["durationMs", "initDurationMs", "maxMemoryUsedMB"] {
        let figure = report["metrics"][figure].as_f64();
        assert!(figure.is_some_and(|figure| figure > 0.0), "{report}");
    }
}

#[test]
fn an_extension_gets_invoke_and_shutdown_events() {
    let emulator = emulator_with_extension("handler() { :; }", WATCHER).start();
    let reply = emulator.call("");
    let request_id = reply
        .header("X-Amzn-RequestId")
        .expect("a request id")
        .to_owned();
    emulator.wait_log_count(&format!("watcher: INVOKE {request_id}\n"), 1);
    let log = emulator.stop();
    assert!(log.contains("watcher: SHUTDOWN spindown\n"), "{log}");
}

#[test]
fn an_extension_that_ends_before_it_registers_fails_the_init() {
    let emulator = emulator_with_extension("handler() { :; }", "#!/bin/sh\nexit 3\n").start();
    emulator.wait_log_count("\tError Type: Extension.Crash\t", 1);
    let reply = emulator.call("");
    let document: Value = serde_json::from_slice(&reply.body).expect("a document");
    assert_eq!(document["errorType"], "Extension.Crash");
    assert_eq!(
        document["errorMessage"],
        "watcher: Extension exited with error: exit status 3"
    );
}
