//! The functions of `examples`: each answers its event, by the command that `examples/README.md` has for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use support::emulator::EmulatorBuilder;
use support::{Emulator, LIMIT, Process, TaskRoot, coshell_path, repository, repository_file};

/// The commands of the page that call an example once.
fn commands() -> Vec<String> {
    let page = fs::read_to_string(repository_file("examples/README.md")).expect("the page");
    let lines = page.lines().filter(|line| line.contains("coshell invoke "));
    lines.map(ToOwned::to_owned).collect()
}

/// The folder of `examples` that a command calls.
fn folder_of(command: &str) -> &str {
    let (_, rest) = command.split_once("coshell invoke ").expect("a call");
    let rest = rest.trim_start_matches('\'');
    let rest = rest.strip_prefix("examples/").expect("an example");
    rest.split('/').next().expect("a folder")
}

/// What the command for `folder` prints: its response and its log.
#[track_caller]
fn run_command_of(folder: &str) -> (String, String) {
    let commands = commands();
    let mut found = commands.iter().filter(|line| folder_of(line) == folder);
    let line = found.next().expect("a command for the example");
    let scratch = TaskRoot::new();
    let programs = Path::new(coshell_path()).parent().expect("a folder");
    let mut command = Command::new("bash");
    command.args(["-euc", line]).current_dir(repository());
    command.env_clear().env("STEP_SECONDS", "0");
    // Bash 4.4 may crash where the locale knows no UTF-8: docs/bash-versions.md.
    command.env("LANG", "C.UTF-8");
    command.env("TMPDIR", scratch.path());
    command.env(
        "PATH",
        format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()),
    );
    if let Ok(bash) = std::env::var("COSHELL_TEST_BASH") {
        command.env("COSHELL_BASH", bash);
    }
    let process = Process::start(command);
    let status = process.wait_exit(LIMIT);
    assert!(status.success(), "{line}: {status}\n{}", process.log());
    process.final_log();
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(process.stdout()), text(process.stderr()))
}

/// A response for HTTP: its status, its content type and its body.
fn http_of(response: &str) -> (u64, String, String) {
    let document: Value = serde_json::from_str(response).expect("a document");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (
        document["statusCode"].as_u64().expect("a status"),
        text(&document["headers"]["Content-Type"]),
        text(&document["body"]),
    )
}

/// An example behind a function URL.
fn at_function_url(folder: &str) -> EmulatorBuilder {
    let task_root = repository_file(&format!("examples/{folder}"));
    Emulator::empty()
        .arg("function.handler")
        .arg("--function-url")
        .option("--task-root", &task_root.to_string_lossy())
}

/// `examples/deploy` has templates, which tests/deploy looks after; tests/aws/recipes.py runs the examples that call AWS.
#[test]
fn every_example_has_an_event_and_one_command() {
    let entries = fs::read_dir(repository_file("examples")).expect("a folder");
    let folders: BTreeSet<_> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir() && entry.file_name() != "deploy")
        .map(|entry| entry.file_name().into_string().expect("UTF-8"))
        .collect();
    let commands = commands();
    let called: Vec<_> = commands.iter().map(|line| folder_of(line)).collect();
    assert_eq!(called.len(), folders.len(), "{called:?}");
    for folder in &folders {
        let command = commands.iter().find(|line| folder_of(line) == folder);
        let command = command.unwrap_or_else(|| panic!("no command calls {folder}"));
        let event = command.split("--event-file ").nth(1).expect("an event");
        repository_file(event);
        assert!(event.starts_with(&format!("examples/{folder}/")), "{event}");
    }
}

#[test]
fn echo_answers_with_its_event() {
    let (response, log) = run_command_of("echo");
    assert_eq!(response, "Echoing request: 'Hello from Container Lambda!'");
    assert_eq!(log, "Hello from Container Lambda!\n");
}

#[test]
fn s3_event_decodes_keys_and_counts_bytes() {
    let (response, log) = run_command_of("s3-event");
    assert_eq!(response, r#"{"objects": 2, "bytes": 49237}"#);
    assert!(
        log.contains("s3://invoices/incoming/March (final).csv: 48213 bytes\n"),
        "{log}"
    );
}

#[test]
fn function_url_greets_the_name_of_the_query() {
    let (status, content_type, body) = http_of(&run_command_of("function-url").0);
    assert_eq!((status, content_type.as_str()), (200, "application/json"));
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["greeting"], r#"Hello Ada "the Countess"!"#);
    assert_eq!(body["served"], json!(1));
}

#[test]
fn function_url_counts_events_and_refuses_other_methods() {
    let served = at_function_url("function-url").start();
    let body_of = |reply: &support::HttpReply| -> Value {
        serde_json::from_slice(&reply.body).expect("JSON")
    };
    for count in 1..3 {
        let reply = served.request("GET", "/", &[], "");
        assert_eq!(reply.status, 200);
        assert_eq!(body_of(&reply)["greeting"], "Hello stranger!");
        assert_eq!(body_of(&reply)["served"], json!(count));
    }
    let refused = served.request("POST", "/", &[], "x");
    assert_eq!(
        (refused.status, refused.header("Allow")),
        (405, Some("GET"))
    );
    assert_eq!(body_of(&refused)["message"], "only GET is served here");
}

#[test]
fn router_takes_the_order_of_the_event() {
    let (status, content_type, body) = http_of(&run_command_of("router").0);
    assert_eq!((status, content_type.as_str()), (201, "application/json"));
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body, json!({"ordered": r#"a "flat" white"#, "count": 2}));
}

#[test]
fn router_leads_method_and_path_to_a_function() {
    let served = at_function_url("router").start();
    let menu = fs::read(repository_file("examples/router/menu.json")).expect("a file");
    assert_eq!(served.request("GET", "/menu", &[], "").body, menu);
    let home = served.request("GET", "/", &[], "");
    assert_eq!((home.status, home.header("Location")), (302, Some("/menu")));
    for (method, path, body, status, expected) in [
        (
            "GET",
            "/drinks/tea",
            "",
            200,
            json!({"name": "tea", "price": 2}),
        ),
        (
            "GET",
            "/drinks/x",
            "",
            404,
            json!({"error": "there is no drink x"}),
        ),
        (
            "GET",
            "/drinks/a\"b",
            "",
            404,
            json!({"error": "there is no drink a\"b"}),
        ),
        (
            "GET",
            "/orders",
            "",
            405,
            json!({"error": "GET is not allowed here"}),
        ),
        (
            "PUT",
            "/nowhere",
            "",
            404,
            json!({"error": "there is no /nowhere"}),
        ),
        (
            "POST",
            "/orders",
            r#"{"drink":"tea"}"#,
            201,
            json!({"ordered": "tea", "count": 1}),
        ),
        (
            "POST",
            "/orders",
            "tea",
            400,
            json!({"error": r#"expected JSON such as {"drink": "tea"}"#}),
        ),
    ] {
        let reply = served.request(method, path, &[], body);
        assert_eq!(reply.status, status, "{method} {path}");
        let found: Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!(found, expected, "{method} {path}");
    }
    assert_eq!(
        served.request("GET", "/orders", &[], "").header("Allow"),
        Some("POST")
    );
}

#[test]
fn site_greets_the_name_that_was_posted() {
    let (status, content_type, body) = http_of(&run_command_of("site").0);
    let expected = "Hello Ada \"the Countess\" \u{2713}! Visits: 7.";
    assert_eq!(
        (status, content_type.as_str(), body.as_str()),
        (200, "text/plain; charset=utf-8", expected)
    );
}

#[test]
fn site_sends_its_files_and_a_cookie() {
    let served = at_function_url("site").start();
    let files = [
        ("/", "page.html", "text/html; charset=utf-8"),
        ("/style.css", "style.css", "text/css; charset=utf-8"),
        ("/script.js", "script.js", "text/javascript; charset=utf-8"),
        ("/prompt.png", "prompt.png", "image/png"),
    ];
    for (path, file, content_type) in files {
        let reply = served.request("GET", path, &[("Cookie", "visits=41")], "");
        let content = fs::read(repository_file(&format!("examples/site/{file}"))).expect("a file");
        let content = content.strip_suffix(b"\n").unwrap_or(&content);
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (200, content),
            "{path}"
        );
        assert_eq!(reply.header("Content-Type"), Some(content_type), "{path}");
        let cookie = (path == "/").then_some("visits=42; Max-Age=31536000; HttpOnly");
        assert_eq!(reply.header("Set-Cookie"), cookie, "{path}");
    }
    assert_eq!(served.request("GET", "/nowhere", &[], "").status, 404);
}

#[test]
fn streaming_sends_an_event_for_every_step() {
    let (response, _) = run_command_of("streaming");
    let (prelude, body) = response.split_once("\0\0\0\0\0\0\0\0").expect("a prelude");
    let prelude: Value = serde_json::from_str(prelude).expect("JSON");
    assert_eq!(prelude["headers"]["Content-Type"], "text/event-stream");
    assert_eq!(body.matches("data: ").count(), 3, "{body}");
}

#[test]
fn nightly_report_adds_up_the_orders_of_every_customer() {
    let (response, log) = run_command_of("nightly-report");
    assert_eq!(response, "ada               19.75\ngrace              8.00");
    assert_eq!(log, "skipped: customer,amount\n");
}

#[test]
fn executable_counts_words() {
    let (response, _) = run_command_of("executable");
    let counts: Value = serde_json::from_str(&response).expect("JSON");
    assert_eq!(counts, json!({"to": 2, "be": 2, "or": 1, "not": 1}));
}

#[test]
fn cleanup_reports_how_many_files_it_deleted() {
    // Bash before 4.4 has no `mapfile -d`.
    if support::always_forks() {
        return;
    }
    let (response, _) = run_command_of("cleanup");
    assert_eq!(response, r#"{"deleted": 0}"#);
}
