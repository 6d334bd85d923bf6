//! Handlers that cannot be loaded. For each fault bootstrap posts one init error, with an errorType and a message that says
//! what is wrong.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use support::{AS_ANOTHER_USER, Call, LIMIT, Sandbox, SandboxBuilder, bootstrap_path, wait_until};

/// A failed init: the POST of the init error, and the log.
pub(crate) struct FailedInit {
    pub call: Call,
    pub log: String,
}

/// Starts a sandbox that must post one init error of this type, with a message that contains all of `parts`, and end with
/// status 1.
#[track_caller]
pub(crate) fn fails(builder: SandboxBuilder, error_type: &str, parts: &[&str]) -> FailedInit {
    let sandbox = builder.start();
    let call = sandbox.api.wait_init_error();
    assert_eq!(sandbox.bootstrap.wait_failure(LIMIT), 1, "exit status");
    let document = call.error_document();
    assert_eq!(document["errorType"], error_type, "{document}");
    assert_eq!(
        call.header("Lambda-Runtime-Function-Error-Type"),
        Some(error_type)
    );
    assert_eq!(call.header("Content-Type"), Some("application/json"));
    let message = document["errorMessage"].as_str().expect("a message");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message:?}");
    }
    assert!(
        error_type == "Runtime.ShellNotStarted"
            || !message.contains("__driver_") && !message.contains("/dev/fd/"),
        "internals of coshell in {message:?}"
    );
    assert!(
        document["stackTrace"]
            .as_array()
            .is_some_and(|frames| frames.iter().all(serde_json::Value::is_string)),
        "{document}"
    );
    let calls = sandbox.api.calls();
    assert_eq!(
        calls.len(),
        1,
        "not exactly one request: {}",
        sandbox.api.transcript()
    );
    let log = sandbox.bootstrap.final_log();
    let first = message.lines().next().unwrap_or_default();
    assert!(
        log.contains(&format!("bootstrap: fatal: {first}")),
        "the log lacks the message: {log}"
    );
    FailedInit { call, log }
}

fn with_file(name: &str, text: &str) -> SandboxBuilder {
    Sandbox::empty().file(name, text)
}

pub(crate) const HEALTHY: &str = "handler() { printf 'healthy %s' \"$1\"; }\n";

#[test]
fn a_missing_handler_name_is_an_init_error() {
    for builder in [
        Sandbox::of(HEALTHY).without_env("_HANDLER"),
        Sandbox::of(HEALTHY).handler(""),
    ] {
        fails(
            builder,
            "Runtime.MissingHandlerName",
            &["_HANDLER", "argument"],
        );
    }
}

#[test]
fn a_malformed_handler_name_is_an_init_error() {
    for name in [
        "function",
        "function.",
        ".handler",
        "function.sh.",
        ".",
        "..",
        "a/.b",
        "function.sh.a/b",
    ] {
        fails(
            Sandbox::of(HEALTHY).handler(name),
            "Runtime.MalformedHandlerName",
            &[name, "file.function"],
        );
    }
    let failed = fails(
        Sandbox::of("function a=b { :; }").handler("function.a=b"),
        "Runtime.MalformedHandlerName",
        &["function.a=b", "= in its name"],
    );
    assert!(!failed.log.contains("declare"), "{}", failed.log);
}

#[test]
fn the_init_error_has_the_path_of_a_missing_file() {
    let builder = Sandbox::of(HEALTHY).handler("other.handler");
    let path = builder
        .task_root()
        .path()
        .join("other.sh")
        .to_string_lossy()
        .into_owned();
    fails(
        builder,
        "Runtime.ImportModuleError",
        &["other.handler", &path, "No such file"],
    );
    fails(
        Sandbox::of(HEALTHY).handler("no/such/folder.handler"),
        "Runtime.ImportModuleError",
        &["no/such/folder"],
    );
}

#[test]
fn the_init_error_suggests_a_similar_name() {
    let builder = || {
        let builder = Sandbox::of("handler() { :; }\ngreet() { :; }\n");
        builder
            .file("jobs/nightly.sh", "echo on\n")
            .executable("report.py", "#!/bin/sh\n")
    };
    for (handler, error_type, suggestion) in [
        (
            "function.hander",
            "Runtime.HandlerNotFound",
            "function.handler",
        ),
        (
            "function.sh.gret",
            "Runtime.HandlerNotFound",
            "function.sh.greet",
        ),
        (
            "jobs/nightly.hs",
            "Runtime.HandlerNotFound",
            "jobs/nightly.sh",
        ),
        (
            "functoin.handler",
            "Runtime.ImportModuleError",
            "function.handler",
        ),
        (
            "nightly.handler",
            "Runtime.ImportModuleError",
            "jobs/nightly.handler",
        ),
        (
            "jobs/nigthly.sh",
            "Runtime.ImportModuleError",
            "jobs/nightly.sh",
        ),
        ("reprot.py", "Runtime.ImportModuleError", "report.py"),
        (
            "function",
            "Runtime.MalformedHandlerName",
            "function.sh, or a function of it, function.FUNCTION",
        ),
        (
            "function:handler",
            "Runtime.MalformedHandlerName",
            "function.handler",
        ),
        (
            "function.sh:handler",
            "Runtime.MalformedHandlerName",
            "function.handler",
        ),
        (
            "/var/task/function.sh:handler",
            "Runtime.MalformedHandlerName",
            "",
        ),
        (
            "/var/task/function.handler",
            "Runtime.ImportModuleError",
            "function.handler",
        ),
        (
            "jobs/nigthly.sh -t 80",
            "Runtime.MalformedHandlerName",
            "jobs/nightly.sh",
        ),
    ] {
        println!("case: {handler}");
        let end = if suggestion.is_empty() {
            String::new()
        } else {
            format!("; did you mean {suggestion}?")
        };
        let failed = fails(builder().handler(handler), error_type, &[&end]);
        let message = failed.call.error_document()["errorMessage"].to_string();
        assert!(message.ends_with(&format!("{end}\"")), "{message}");
        let count = failed.log.matches("cannot load handler").count();
        assert_eq!(count, 1, "{}", failed.log);
    }
    for handler in [
        "function.completely_different",
        "other.handler",
        "no/such/thing",
    ] {
        let builder = Sandbox::of("handler() { :; }\ngreet() { :; }\n").handler(handler);
        let message =
            builder.start().api.wait_init_error().error_document()["errorMessage"].to_string();
        assert!(!message.contains("did you mean"), "{message}");
    }
    // A letter of two bytes is one letter.
    let builder = Sandbox::of("handler() { :; }\nü() { :; }\n").handler("function.x");
    let message =
        builder.start().api.wait_init_error().error_document()["errorMessage"].to_string();
    assert!(!message.contains("function.ü"), "{message}");
}

#[test]
fn the_init_error_says_how_a_file_of_functions_is_named() {
    for (handler, error_type) in [
        ("bare.greet", "Runtime.ImportModuleError"),
        ("bare", "Runtime.HandlerNotFound"),
    ] {
        // Before 5.0 coshell does not notice that a script only defines functions.
        if handler == "bare" && support::bash_version() < (5, 0) {
            continue;
        }
        let plan = with_file("bare", "greet() { :; }\n").handler(handler);
        let rename = "; a file of functions must end in .sh: mv bare bare.sh, and name the handler bare.greet";
        fails(plan, error_type, &[rename]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_init_error() {
    let builder = Sandbox::empty().file("function.sh/file", "a folder in its place");
    fails(
        builder,
        "Runtime.HandlerFileUnreadable",
        &["function.sh", "directory"],
    );
    let builder = Sandbox::of(HEALTHY);
    let file = builder.task_root().path().join("function.sh");
    fs::set_permissions(&file, Permissions::from_mode(0o200)).expect("permissions");
    fails(
        as_another_user(builder),
        "Runtime.HandlerFileUnreadable",
        &["function.sh", "Permission denied"],
    );
}

/// If the tests run as root, who may read everything, runs bootstrap as another user. That user may be unable to reach
/// cargo's folder, so bootstrap is copied.
pub(crate) fn as_another_user(builder: SandboxBuilder) -> SandboxBuilder {
    let own = fs::metadata("/proc/self").expect("/proc").uid();
    if own != 0 {
        return builder;
    }
    let program = builder.task_root().path().join("bootstrap");
    fs::copy(bootstrap_path(), &program).expect("a copy of bootstrap");
    let program = program.to_string_lossy().into_owned();
    builder.program(&[&AS_ANOTHER_USER[..], &[&program]].concat())
}

#[test]
fn a_handler_file_that_is_no_regular_file_is_an_init_error() {
    for (link, handler) in [
        (None, "pipe.handler"),
        (Some("/dev/zero"), "zero.handler"),
        (Some("/dev/zero"), "zero.sh"),
    ] {
        let builder = Sandbox::empty().handler(handler);
        let stem = handler.split('.').next().unwrap_or_default();
        let file = format!("{stem}.sh");
        match link {
            Some(target) => {
                let link = builder.task_root().path().join(&file);
                std::os::unix::fs::symlink(target, link).expect("a link");
            }
            None => builder.task_root().fifo(&file),
        }
        let cause = format!("/{file}: not a regular file");
        fails(builder, "Runtime.HandlerFileUnreadable", &[&cause]);
    }
}

#[test]
fn windows_line_ends_are_an_init_error() {
    let builder = with_file("function.sh", "handler() {\r\n  printf on\r\n}\r\n");
    fails(
        builder,
        "Runtime.HandlerFileLineEnds",
        &["function.sh", "CR LF"],
    );
}

#[test]
fn a_few_carriage_returns_are_no_error() {
    let sandbox = with_file(
        "function.sh",
        "handler() {\n  cat <<'END'\nGET /\r\nEND\n}\n",
    )
    .start();
    assert_eq!(sandbox.respond(""), b"GET /\r");
}

#[test]
fn the_init_error_has_the_file_and_line_of_a_syntax_error() {
    for (text, line) in [
        ("# a\nhandler() {\n  if true; then\n}\n", "line 4"),
        ("handler() { :; }\nfor x in; do\n", "line 3"),
        ("handler() {\n  echo 'not closed\n}\n", "line 2"),
        ("handler() { :; }\n\necho )\n", "line 3"),
    ] {
        let failed = fails(
            with_file("function.sh", text),
            "Runtime.UserCodeSyntaxError",
            &["function.sh", line, "function.handler"],
        );
        let frames = failed.call.error_document()["stackTrace"].to_string();
        // Before 5.2, bash may name the end of the file.
        let is_exact = support::bash_version() >= (5, 2);
        let place = format!("function.sh:{}", if is_exact { &line[5..] } else { "" });
        assert!(frames.contains(&place), "{frames}");
        let builder = with_file("function.sh", text).env("COSHELL_SHELL_OPTIONS", "");
        fails(
            builder,
            "Runtime.UserCodeSyntaxError",
            &["function.sh", line],
        );
    }
}

#[test]
fn a_syntax_error_in_a_sourced_file_names_that_file() {
    let builder = with_file(
        "function.sh",
        "source \"$LAMBDA_TASK_ROOT/lib.sh\"\nhandler() { :; }\n",
    )
    .file("lib.sh", "x() {\n  if\n}\n");
    let sandbox = builder.start();
    let document = sandbox.api.wait_init_error().error_document();
    assert!(
        document["errorMessage"]
            .as_str()
            .is_some_and(|text| text.contains("lib.sh: line 3")),
        "{document}"
    );
}

#[test]
fn the_init_error_has_status_place_and_log_of_sourcing_that_failed() {
    let text = "echo before >&2\n\ngrep -q needle /no/such/file\nhandler() { :; }\n";
    let failed = fails(
        with_file("function.sh", text),
        "Runtime.HandlerFileFailed",
        &[
            "function.handler",
            "grep -q needle /no/such/file",
            "status 2",
            "function.sh:3",
            "No such file or directory",
        ],
    );
    assert!(failed.log.starts_with("before\n"), "{}", failed.log);
    let text = "deep() {\n  false\n}\nouter() { deep; }\nouter\nhandler() { :; }\n";
    fails(
        with_file("function.sh", text),
        "Runtime.HandlerFileFailed",
        &["`false`", "status 1", "function.sh:2"],
    );
    let text = "source \"$LAMBDA_TASK_ROOT/lib.sh\"\nhandler() { :; }\n";
    fails(
        with_file("function.sh", text).file("lib.sh", "\n\n(exit 9)\n"),
        "Runtime.HandlerFileFailed",
        &["status 9", "lib.sh:3"],
    );
}

#[test]
fn an_unset_variable_while_sourcing_is_an_init_error() {
    let text = "x=1\necho \"$never_set\"\nhandler() { :; }\n";
    fails(
        with_file("function.sh", text),
        "Runtime.HandlerFileFailed",
        &["never_set: unbound variable", "status 1"],
    );
    let text = ": \"${needed:?is not set}\"\nhandler() { :; }\n";
    fails(
        with_file("function.sh", text),
        "Runtime.HandlerFileFailed",
        &["needed: is not set"],
    );
}

#[test]
fn an_exit_while_sourcing_is_an_init_error() {
    let text = "echo giving up >&2\nexit 3\nhandler() { :; }\n";
    fails(
        with_file("function.sh", text),
        "Runtime.HandlerFileExited",
        &["function.sh", "exited", "status 3", "giving up"],
    );
    fails(
        with_file("function.sh", "exit 0\nhandler() { :; }\n"),
        "Runtime.HandlerFileExited",
        &["exited", "status 0"],
    );
    let text = "stop() { exit 4; }\nstop\nhandler() { :; }\n";
    fails(
        with_file("function.sh", text),
        "Runtime.HandlerFileExited",
        &["status 4"],
    );
}

#[test]
fn a_shell_that_is_killed_or_replaced_while_sourcing_is_an_init_error() {
    fails(
        with_file("function.sh", "kill -9 $$\nhandler() { :; }\n"),
        "Runtime.HandlerFileFailed",
        &["function.handler", "SIGKILL"],
    );
    fails(
        with_file("function.sh", "kill $$\nhandler() { :; }\n"),
        "Runtime.HandlerFileFailed",
        &["SIGTERM"],
    );
    fails(
        with_file("function.sh", "exec sh -c 'echo last words >&2; exit 6'\n"),
        "Runtime.HandlerFileExited",
        &["status 6", "last words"],
    );
}

#[test]
fn the_init_error_of_an_undefined_function_lists_the_defined_ones() {
    let text = "greet() { :; }\nwave() { :; }\nhandle() { :; }\n";
    let failed = fails(
        with_file("function.sh", text),
        "Runtime.HandlerNotFound",
        &[
            "function.handler",
            "function.sh defines no function handler",
            "greet",
            "wave",
            "handle",
        ],
    );
    let message = failed.call.error_document()["errorMessage"].to_string();
    for internal in [", ,", "exit"] {
        assert!(!message.contains(internal), "{internal:?} in {message}");
    }
    fails(
        with_file("function.sh", "x=1\n"),
        "Runtime.HandlerNotFound",
        &["defines no function handler", "no function at all"],
    );
    fails(
        with_file("function.sh", ""),
        "Runtime.HandlerNotFound",
        &["no function at all"],
    );
    let many: Vec<_> = (0..2000)
        .map(|number| format!("function_{number}() {{ :; }}\n"))
        .collect();
    let many = many.concat();
    let failed = fails(
        with_file("function.sh", &many),
        "Runtime.HandlerNotFound",
        &["function_0", "..."],
    );
    assert!(failed.call.body.len() < 2000);
}

#[test]
fn builtins_and_functions_of_the_driver_cannot_be_handlers() {
    for name in ["printf", "if", "cat", "exit", ",", ",,", "-f", "a:b", "*"] {
        println!("case: {name}");
        let builder = Sandbox::of("greet() { :; }\n").handler(&format!("function.{name}"));
        fails(builder, "Runtime.HandlerNotFound", &["greet"]);
    }
}

#[test]
fn no_invocation_is_requested_after_a_failed_init() {
    let sandbox = with_file("function.sh", "false\n").start();
    sandbox.bootstrap.wait_failure(LIMIT);
    assert_eq!(sandbox.api.next_count(), 0);
}

#[test]
fn standard_output_while_sourcing_goes_to_the_log() {
    let sandbox = Sandbox::of("echo 'while sourcing'\nprintf 'to stderr\\n' >&2\nhandler() { printf response; }\nprintf 'no newline'").start();
    assert_eq!(sandbox.respond("x"), b"response");
    assert_eq!(sandbox.respond("x"), b"response");
    sandbox.bootstrap.wait_log("no newline");
    let log = sandbox.bootstrap.final_log();
    assert_eq!(log, "while sourcing\nto stderr\nno newline");
}

/// The file must not see the commands that bootstrap writes to bash.
#[test]
fn standard_input_while_sourcing_is_empty() {
    let sandbox = Sandbox::of("early=$(cat)x\nhandler() { printf '%s' \"$early\"; }\n").start();
    assert_eq!(sandbox.respond("an event"), b"x");
}

/// Bootstrap has no limit of its own for the init: Lambda has one.
#[test]
fn bootstrap_waits_for_a_file_that_takes_long_to_source() {
    let script = ": >\"$LAMBDA_TASK_ROOT/begun\"\nread -r _ <\"$LAMBDA_TASK_ROOT/gate\"\nhandler() { printf on; }\n";
    let builder = Sandbox::of(script);
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    wait_until(|| sandbox.task_root.exists("begun"), LIMIT);
    assert_eq!(sandbox.api.calls().len(), 0);
    sandbox.task_root.release("gate");
    assert_eq!(sandbox.respond("x"), b"on");
}
