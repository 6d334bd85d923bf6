//! `coshell check`: each finding is reported where it applies, and not where the code only looks similar. No code of the
//! handler is run.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use support::coshell_path;
use support::{CommandOutput, LIMIT, Process, TaskRoot, repository_file};

fn command(root: &Path, handler: &str) -> Command {
    let mut command = Command::new(coshell_path());
    command
        .args(["check", handler, "--task-root"])
        .arg(root)
        .env_remove("COSHELL_BASH");
    command
}

#[track_caller]
pub(crate) fn run_check(root: &TaskRoot, handler: &str, options: &[&str]) -> CommandOutput {
    let mut command = command(root.path(), handler);
    command.args(options);
    CommandOutput::of(command)
}

/// The JSON report. Asserts that its counts and the exit status agree with its findings.
#[track_caller]
pub(crate) fn check_json(root: &Path, handler: &str) -> Value {
    let mut command = command(root, handler);
    command.arg("--json");
    let output = CommandOutput::of(command);
    assert_eq!(output.stderr, "");
    let document: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let findings = document["findings"].as_array().expect("findings");
    let mut errors = 0;
    for (severity, count) in [
        ("error", "errors"),
        ("warning", "warnings"),
        ("note", "notes"),
    ] {
        let same = findings.iter().filter(|one| one["severity"] == severity);
        let same = same.count();
        assert_eq!(document[count], same, "{document}");
        errors += if severity == "error" { same } else { 0 };
    }
    assert_eq!(output.status, i32::from(errors > 0), "{document}");
    document
}

#[track_caller]
pub(crate) fn findings(root: &TaskRoot, handler: &str) -> Vec<Value> {
    let document = check_json(root.path(), handler);
    document["findings"].as_array().expect("findings").clone()
}

/// The finding of `check` whose message contains `text`. Asserts that there is exactly one.
#[track_caller]
pub(crate) fn single_finding<'a>(findings: &'a [Value], check: &str, text: &str) -> &'a Value {
    let matches = |one: &&Value| {
        let message = one["message"].as_str();
        one["check"] == check && message.is_some_and(|message| message.contains(text))
    };
    let found: Vec<_> = findings.iter().filter(matches).collect();
    assert_eq!(found.len(), 1, "{check}, {text:?} in {findings:#?}");
    found[0]
}

#[track_caller]
pub(crate) fn assert_no_finding(findings: &[Value], check: &str) {
    let found: Vec<_> = findings
        .iter()
        .filter(|one| one["check"] == check)
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// A task root with a `function.sh`.
pub(crate) fn task_root_with(script: &str) -> TaskRoot {
    let root = TaskRoot::new();
    root.write("function.sh", script);
    root
}

const HEALTHY: &str = "# shellcheck shell=bash\nhandler() {\n  printf '%s' \"$1\"\n}\n";

#[test]
fn a_handler_without_findings_is_reported_in_one_line() {
    let root = task_root_with(HEALTHY);
    root.write("jobs/nightly.sh", "#!/bin/bash\ncat\n");
    root.write_program("report", "#!/usr/bin/awk -f\n{ print }\n");
    for (handler, line) in [
        (
            "function.handler",
            "function.handler: function handler in function.sh: nothing found\n",
        ),
        (
            "function.sh.handler",
            "function.sh.handler: function handler in function.sh: nothing found\n",
        ),
        (
            "jobs/nightly.sh",
            "jobs/nightly.sh: a whole script: nothing found\n",
        ),
        ("report", "report: an executable: nothing found\n"),
    ] {
        let output = run_check(&root, handler, &[]);
        assert_eq!(
            (
                output.status,
                output.stdout.as_str(),
                output.stderr.as_str()
            ),
            (0, line, "")
        );
    }
}

#[test]
fn a_file_that_surely_ends_its_shell_or_removes_its_handler_is_an_error() {
    const HANDLER: &str = "handler() { printf on; }\n";
    const HELPER: &str = "helper() { :; }\n";
    for (script, message) in [
        (format!("exit 0\n{HANDLER}"), "exit ends the shell"),
        (
            format!("{HANDLER}helper; exit\n{HELPER}"),
            "exit ends the shell",
        ),
        (
            format!("{HANDLER}{HELPER}unset -f other handler\n"),
            "defines no function handler; it defines helper",
        ),
    ] {
        let root = task_root_with(&script);
        let found = findings(&root, "function.handler");
        let finding = single_finding(&found, "function", message);
        assert_eq!(finding["severity"], "error", "{script}");
    }
    for rest in [
        "[[ -n $HOME ]] || exit 1",
        "if false; then exit 1; fi",
        "helper() { exit 1; }",
        "(exit 1) || :",
        "{ false && exit 1; } || :",
        "exit 1 & wait || :",
        "exit 1 | cat",
        "trap 'exit 1' TERM",
        "[[ ${BASH_SOURCE[0]} == \"$0\" ]] || return 0; handler; exit",
        "exit() { :; }; exit 1",
        "unset handler",
        "unset -f handler; handler() { printf on; }",
        "[[ -n ${NO_SUCH_NAME-} ]] && unset -f handler; :",
    ] {
        let root = task_root_with(&format!("{HANDLER}{rest}\n"));
        let found = findings(&root, "function.handler");
        let errors: Vec<_> = found
            .iter()
            .filter(|one| one["severity"] == "error")
            .collect();
        assert!(errors.is_empty(), "{rest}: {errors:#?}");
    }
}

#[test]
fn a_wrong_handler_name_is_reported_with_a_suggestion() {
    let root = task_root_with(HEALTHY);
    root.write("lib/orders.sh", "total() { :; }\n");
    root.write("bare", "handler() { :; }\n");
    for (handler, error_type, suggestion) in [
        ("", "Runtime.MissingHandlerName", "as Lambda's setting does"),
        (
            "function",
            "Runtime.MalformedHandlerName",
            "function.handler",
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
            "lib/orders/total",
            "Runtime.MalformedHandlerName",
            "lib/orders.total",
        ),
        (
            "functoin.handler",
            "Runtime.ImportModuleError",
            "function.handler",
        ),
        (
            "function.sh.sh.handler",
            "Runtime.ImportModuleError",
            "function.handler",
        ),
        (
            "Function.handler",
            "Runtime.ImportModuleError",
            "function.handler",
        ),
        (
            "orders.total",
            "Runtime.ImportModuleError",
            "lib/orders.total",
        ),
        (
            "/var/task/function.handler",
            "Runtime.ImportModuleError",
            "function.handler",
        ),
        (
            "bare.handler",
            "Runtime.ImportModuleError",
            "mv bare bare.sh",
        ),
        (
            "functoin.hander",
            "Runtime.ImportModuleError",
            "function.handler",
        ),
        (
            "function.hander",
            "Runtime.HandlerNotFound",
            "function.handler",
        ),
        (
            "function.sh.main",
            "Runtime.HandlerNotFound",
            "function.sh.handler",
        ),
    ] {
        let found = findings(&root, handler);
        let error = found
            .first()
            .unwrap_or_else(|| panic!("nothing for {handler:?}"));
        assert_eq!(error["severity"], "error", "{handler}");
        assert_eq!(error["errorType"], error_type, "{handler}");
        let actual = error["suggestion"].as_str().unwrap_or_default();
        assert!(actual.contains(suggestion), "{handler}: {actual:?}");
    }
    let error = &findings(&root, "nothing.like_it")[0];
    assert_eq!(error["suggestion"], Value::Null, "{error}");
}

#[test]
fn errors_have_the_same_message_as_the_init_error() {
    let root = task_root_with("greet() { :; }\nbye() { :; }\n");
    let output = run_check(&root, "function.handler", &[]);
    let path = root.path().join("function.sh");
    let message = format!(
        "cannot load handler function.handler: {} defines no function handler; it defines greet, bye",
        path.display()
    );
    assert!(output.stdout.contains(&message), "{}", output.stdout);
    assert_eq!(output.status, 1);
}

#[test]
fn syntax_errors_have_their_line() {
    let root = task_root_with("handler() {\n  echo \"$1\n}\n");
    let found = findings(&root, "function.handler");
    let error = single_finding(&found, "syntax", "unexpected EOF");
    assert_eq!(error["errorType"], "Runtime.UserCodeSyntaxError");
    assert_eq!(error["line"], 2, "{error}");
    // Bash understands these files when it runs them, so they are no errors.
    let root = task_root_with(
        "shopt -s extglob\nhandler() {\n  case $1 in +([0-9])) echo \"n\" ;; esac\n}\n",
    );
    assert_no_finding(&findings(&root, "function.handler"), "syntax");
    root.write("archive.sh", "#!/bin/bash\ncat\nexit 0\n)) (\" if\n");
    assert!(findings(&root, "archive.sh").is_empty());
}

#[test]
fn windows_line_ends_are_reported() {
    let root = task_root_with(&HEALTHY.replace('\n', "\r\n"));
    let found = findings(&root, "function.handler");
    let error = single_finding(&found, "line-ends", "CR LF");
    assert_eq!(error["errorType"], "Runtime.HandlerFileLineEnds");
    let root = task_root_with(&HEALTHY.replace("\"$1\"\n", "\"$1\"\r\n"));
    let found = findings(&root, "function.handler");
    let warning = single_finding(&found, "line-ends", "1 of 4 lines");
    assert_eq!(
        (&warning["severity"], &warning["line"]),
        (&"warning".into(), &3.into())
    );
}

#[test]
fn files_that_another_user_cannot_read_are_reported() {
    let root = task_root_with(HEALTHY);
    root.write("lib/deep/job.sh", "#!/bin/bash\necho\n");
    root.write_program("program", "#!/usr/bin/awk -f\n");
    assert_no_finding(&findings(&root, "lib/deep/job.sh"), "permissions");
    let set = |name: &str, mode: u32| {
        fs::set_permissions(root.path().join(name), Permissions::from_mode(mode)).expect("a mode");
    };
    set("function.sh", 0o640);
    set("lib", 0o750);
    set("program", 0o744);
    for (handler, text, suggestion, error_type) in [
        (
            "function.handler",
            "not every user can read function.sh",
            "chmod a+r function.sh",
            "Runtime.HandlerFileUnreadable",
        ),
        (
            "lib/deep/job.sh",
            "not every user can enter lib",
            "chmod a+rx lib",
            "Runtime.HandlerFileUnreadable",
        ),
        (
            "program",
            "not every user can run program",
            "chmod a+rx program",
            "Runtime.HandlerFileNotExecutable",
        ),
    ] {
        let found = findings(&root, handler);
        let error = single_finding(&found, "permissions", text);
        assert_eq!(
            (&error["suggestion"], &error["errorType"]),
            (&suggestion.into(), &error_type.into())
        );
        assert_eq!(error["severity"], "error");
    }
    set("lib", 0o755);
    set("program", 0o644);
    assert_eq!(
        findings(&root, "program")[0]["errorType"],
        "Runtime.HandlerFileNotExecutable"
    );
}

#[test]
fn links_that_lead_out_of_the_task_root_are_reported() {
    let (root, other) = (task_root_with(HEALTHY), task_root_with(HEALTHY));
    symlink(other.path().join("function.sh"), root.path().join("out.sh")).expect("a link");
    symlink("function.sh", root.path().join("in.sh")).expect("a link");
    let found = findings(&root, "out.handler");
    single_finding(&found, "permissions", "leads out of the task root");
    assert_no_finding(&findings(&root, "in.handler"), "permissions");
}

#[test]
fn commands_that_the_image_lacks_are_reported_with_line_and_package() {
    let root = task_root_with(
        "# shellcheck shell=bash\nhandler() {\n  jq . <<<\"$1\" | sort\n  x=$(mytool)\n  timeout 3 jq \"$x\"\n  own\n}\nown() { curl \"$1\"; }\n",
    );
    let found = findings(&root, "function.handler");
    let jq = single_finding(
        &found,
        "command",
        "jq is not in the image al2023, and is called in 2 places",
    );
    assert_eq!(
        (&jq["line"], &jq["severity"]),
        (&3.into(), &"warning".into())
    );
    assert!(
        jq["suggestion"]
            .as_str()
            .is_some_and(|it| it.contains("dnf install -y jq"))
    );
    assert_eq!(
        single_finding(&found, "command", "mytool is not known")["line"],
        4
    );
    let all = found.iter().filter(|one| one["check"] == "command");
    assert_eq!(all.count(), 2, "{found:#?}");
    let none = run_check(&root, "function.handler", &["--image", "none"]);
    assert!(!none.stdout.contains("jq is not"), "{}", none.stdout);
    let with_one = run_check(&root, "function.handler", &["--with", "jq"]);
    assert!(
        !with_one.stdout.contains("jq is not"),
        "{}",
        with_one.stdout
    );
    assert!(
        with_one.stdout.contains("mytool is not"),
        "{}",
        with_one.stdout
    );
    let with_both = run_check(&root, "function.handler", &["--with", "jq,mytool"]);
    assert!(!with_both.stdout.contains("is not"), "{}", with_both.stdout);
}

#[test]
fn jq_is_there_if_the_package_has_coshell_tools() {
    let handler = "# shellcheck shell=bash\nhandler() {\n  jq . <<<\"$1\"\n}\n";
    let root = task_root_with(handler);
    let found = findings(&root, "function.handler");
    let jq = single_finding(&found, "command", "jq is not");
    assert!(
        jq["suggestion"]
            .as_str()
            .is_some_and(|it| it.ends_with("; or package coshell-tools, which has jq"))
    );
    root.write("coshell-tools", "");
    assert_no_finding(&findings(&root, "function.handler"), "command");
    // Only the handler's own shell has the function.
    root.write("function.sh", handler.replace("jq", "xargs jq"));
    let found = findings(&root, "function.handler");
    let jq = single_finding(&found, "command", "jq is not");
    assert_eq!(jq["severity"], "warning");
    root.write("script.sh", "#!/bin/bash\njq .\n");
    single_finding(&findings(&root, "script.sh"), "command", "jq is not");
}

#[test]
fn coshell_functions_are_known_in_functions_but_not_in_whole_scripts() {
    let call = "lambda_http_response 200 'X-A: b'\nlambda_stream_response\nlambda_log x\n";
    let root = task_root_with(&format!(
        "# shellcheck shell=bash\nhandler() {{\n{call}}}\n"
    ));
    assert_no_finding(&findings(&root, "function.handler"), "command");
    root.write("legacy.sh", format!("#!/bin/bash\n{call}"));
    let found = findings(&root, "legacy.sh");
    let lines = [
        "lambda_http_response is not known",
        "lambda_stream_response is not known",
        "lambda_log is not known",
    ];
    for (line, text) in (2..).zip(lines) {
        assert_eq!(single_finding(&found, "command", text)["line"], line);
    }
}

/// As in a `RUN` of a Dockerfile.
#[test]
fn image_here_has_the_commands_in_path() {
    let root = task_root_with("handler() {\n  mytool \"$1\" | other\n  sort\n  ./tool\n}\n");
    root.write_program("tool", "#!/usr/bin/env mylanguage\n");
    let folder = TaskRoot::new();
    folder.write_program("mytool", "#!/bin/sh\n");
    folder.write("other", "not a program");
    let own = std::env::var("PATH").expect("a path");
    let path = format!("{}:{own}", folder.path().display());
    let check = |options: &[&str]| {
        let mut command = command(root.path(), "function.handler");
        command
            .args(["--image", "here"])
            .args(options)
            .env("PATH", &path);
        CommandOutput::of(command)
    };
    let result = check(&["--strict"]);
    assert_eq!(result.status, 1, "{}", result.stdout);
    for part in [
        "function.sh:2  warning",
        "other is not in this image",
        "mylanguage is not in this image",
    ] {
        assert!(
            result.stdout.contains(part),
            "{part} is not in {}",
            result.stdout
        );
    }
    assert!(
        !result.stdout.contains("mytool is not") && !result.stdout.contains("sort is not"),
        "{}",
        result.stdout
    );
    for name in ["other", "mylanguage"] {
        folder.write_program(name, "#!/bin/sh\n");
    }
    let result = check(&[]);
    assert!(!result.stdout.contains("is not in"), "{}", result.stdout);
}

#[test]
fn commands_that_the_script_tests_for_are_a_note() {
    let root = task_root_with(
        "if ! command -v jq >/dev/null; then return 1; fi\nhandler() { jq . <<<\"$1\"; }\n",
    );
    let found = findings(&root, "function.handler");
    assert_eq!(single_finding(&found, "command", "jq")["severity"], "note");
}

#[test]
fn interpreters_that_the_image_lacks_are_reported() {
    let root = TaskRoot::new();
    root.write_program("here.py", "#!/usr/bin/env python3\n");
    root.write_program("gone.x", "#!/no/such/interpreter\n");
    let found = findings(&root, "here.py");
    single_finding(&found, "command", "python3 is not in the image al2023");
    let found = findings(&root, "gone.x");
    assert_eq!(
        single_finding(&found, "handler", "does not exist")["severity"],
        "warning"
    );
    single_finding(
        &found,
        "command",
        "interpreter is not known to be in the image",
    );
}

#[test]
fn programs_in_the_task_root_are_found_by_their_paths() {
    let root = task_root_with(
        "handler() {\n  \"$LAMBDA_TASK_ROOT/bin/tool\" a\n  bin/gone\n  ./bin/plain\n}\n",
    );
    root.write_program("bin/tool", "#!/bin/bash\n");
    root.write("bin/plain", "#!/bin/bash\n");
    let found = findings(&root, "function.handler");
    assert_eq!(
        single_finding(&found, "command", "bin/gone, which is not in the task root")["line"],
        3
    );
    single_finding(&found, "permissions", "not every user can run bin/plain");
    assert!(!found.iter().any(|one| {
        one["message"]
            .as_str()
            .is_some_and(|it| it.contains("bin/tool"))
    }));
}

#[test]
fn files_that_are_sourced_are_checked_too() {
    let root = task_root_with(
        ". \"$LAMBDA_TASK_ROOT/lib/a.sh\"\n. ./gone.sh\n[[ -r ./maybe.sh ]] && . ./maybe.sh\n",
    );
    root.write("lib/a.sh", ". \"${BASH_SOURCE%/*}/b.sh\"\n");
    root.write("lib/b.sh", "handler() {\n  zip a b\n}\n");
    let found = findings(&root, "function.handler");
    assert_no_finding(&found, "function");
    let gone = single_finding(&found, "source", "gone.sh");
    assert_eq!(gone["line"], 2, "{gone}");
    let zip = single_finding(&found, "command", "zip");
    assert!(
        zip["file"]
            .as_str()
            .is_some_and(|it| it.ends_with("lib/b.sh")),
        "{zip}"
    );
    root.write("lib/b.sh", "handler() {\n");
    let found = findings(&root, "function.handler");
    assert!(
        single_finding(&found, "syntax", "unexpected end of file")["file"]
            .as_str()
            .is_some_and(|it| it.ends_with("lib/b.sh"))
    );
}

#[test]
fn task_roots_are_found_by_every_kind_of_path() {
    let root = task_root_with(". ./gone.sh\nhandler() { :; }\n");
    root.write("below/file", "");
    for path in ["below/..", "./below/../", "."] {
        let mut command = Command::new(coshell_path());
        command
            .args(["check", "function.handler", "--task-root", path])
            .current_dir(root.path());
        let stdout = CommandOutput::of(command).stdout;
        let line = "function.sh:1  warning  source  sources gone.sh, which is not in the task root";
        assert!(stdout.contains(line), "{path}: {stdout}");
    }
}

#[test]
fn functions_that_the_check_cannot_see_are_no_errors() {
    for script in [
        "eval \"$(printf 'handler() { :; }')\"\n",
        ". /opt/lib.sh\n",
        ". \"$SOMEWHERE\"\n",
    ] {
        let found = findings(&task_root_with(script), "function.handler");
        assert_eq!(
            single_finding(&found, "function", "cannot see")["severity"],
            "warning"
        );
    }
    for script in [
        "eval 'handler() { :; }'\n",
        "if true; then\n  function handler {\n    :\n  }\nfi\n",
    ] {
        assert_no_finding(
            &findings(&task_root_with(script), "function.handler"),
            "function",
        );
    }
    // Text that only looks like a function definition.
    for script in [
        "cat <<X\nhandler() { :; }\nX\n",
        "# handler() { :; }\nother() { :; }\n",
        "echo 'handler() { :; }'\n",
    ] {
        let found = findings(&task_root_with(script), "function.handler");
        assert_eq!(
            single_finding(&found, "function", "defines no function")["severity"],
            "error",
            "{script}"
        );
    }
}

#[test]
fn exported_values_that_are_too_large_are_reported() {
    let root = task_root_with(
        "export TABLE=$(<table.json)\nexport SMALL=$(cat small.json)\nKEPT=$(<table.json)\nhandler() { :; }\n",
    );
    root.write("table.json", "x".repeat(131_072));
    root.write("small.json", "x".repeat(131_072 - "SMALL".len() - 2));
    let found = findings(&root, "function.handler");
    let error = single_finding(
        &found,
        "environment",
        "131072 bytes, the size of table.json",
    );
    assert_eq!(
        (&error["severity"], &error["line"]),
        (&"error".into(), &1.into())
    );
    assert_eq!(
        found
            .iter()
            .filter(|one| one["check"] == "environment")
            .count(),
        1
    );
    // Bash exports a value that is too large, and then cannot start any program.
    let mut bash = Command::new("bash");
    bash.args(["-c", "cd \"$1\" && export SMALL=$(cat small.json) && /bin/true && export TABLE=$(<table.json) && ! /bin/true", "bash"]).arg(root.path());
    let process = Process::start(bash);
    assert_eq!(
        process.wait_exit(LIMIT).code(),
        Some(0),
        "{}",
        process.log()
    );
}

#[test]
fn exporting_the_event_is_reported() {
    for body in [
        "export EVENT=$1",
        "export EVENT=\"$1\"",
        "local event=$1; export EVENT=$event",
        "EVENT=$1; export EVENT",
        "EVENT=$1 curl x",
    ] {
        let root = task_root_with(&format!("handler() {{\n  {body}\n}}\n"));
        let found = findings(&root, "function.handler");
        single_finding(&found, "environment", "exports the event as EVENT");
    }
    for body in [
        "local event=$1",
        "export ID=\"${1%%x}\"",
        "export ID=$(cut -c1 <<<\"$1\")",
        "export ID=1",
    ] {
        let root = task_root_with(&format!(
            "handler() {{\n  {body}\n}}\nother() {{\n  export EVENT=$1\n}}\n"
        ));
        assert_no_finding(&findings(&root, "function.handler"), "environment");
    }
}

#[test]
fn findings_of_shellcheck_are_reported_if_it_is_installed() {
    let root = task_root_with("handler() {\n  local x=$(date)\n  echo $x\n}\n");
    let document = check_json(root.path(), "function.handler");
    assert_eq!(document["shellcheck"], true, "shellcheck is not installed");
    let found = document["findings"].as_array().expect("findings");
    let warning = single_finding(found, "SC2155", "Declare and assign");
    assert_eq!(
        (&warning["severity"], &warning["line"]),
        (&"warning".into(), &2.into())
    );
    assert_eq!(
        single_finding(found, "SC2086", "Double quote")["severity"],
        "note"
    );
    let mut without = command(root.path(), "function.handler");
    without
        .args(["--json"])
        .env("PATH", root.path())
        .env("COSHELL_BASH", "/bin/bash");
    let document: Value = serde_json::from_str(&CommandOutput::of(without).stdout).expect("JSON");
    assert_eq!(document["shellcheck"], false);
}

#[test]
fn no_code_of_the_handler_is_run() {
    let script = "touch \"$LAMBDA_TASK_ROOT/marker\" marker\n$(touch marker)\nexec >marker\nhandler() { touch marker; }\nexit 3\n";
    let root = task_root_with(script);
    root.write("script.sh", format!("#!/bin/bash\n{script}"));
    root.write_program(
        "program",
        "#!/usr/bin/awk -f\nBEGIN { system(\"touch marker\") }\n",
    );
    root.write(
        "braces.sh",
        "touch marker\n}\ntouch marker\nhandler() {\n:\n}\n{\n",
    );
    root.write("profile", "touch \"$MARKER\"\n");
    for handler in ["function.handler", "script.sh", "program", "braces.handler"] {
        let mut command = command(root.path(), handler);
        command
            .env("LAMBDA_TASK_ROOT", root.path())
            .env("BASH_ENV", root.path().join("profile"))
            .env("MARKER", root.path().join("marker"))
            .current_dir(root.path());
        CommandOutput::of(command);
        assert!(!root.exists("marker"), "{handler} was run");
    }
}

#[test]
fn the_json_report_says_what_the_handler_name_means() {
    let root = task_root_with(HEALTHY);
    let document = check_json(root.path(), "function.sh.handler");
    let path = root.path().join("function.sh");
    assert_eq!(document["handler"], "function.sh.handler");
    assert_eq!(document["taskRoot"], root.path().to_string_lossy().as_ref());
    assert_eq!(document["image"], "al2023");
    assert_eq!(
        (&document["kind"], &document["function"]),
        (&"function".into(), &"handler".into())
    );
    assert_eq!(document["file"], path.to_string_lossy().as_ref());
    assert_eq!(document["findings"], Value::Array(Vec::new()));
    let document = check_json(root.path(), "function.sh");
    assert_eq!(
        (&document["kind"], &document["function"]),
        (&"script".into(), &Value::Null)
    );
}

#[test]
fn the_text_report_has_columns_and_no_colour_in_a_pipe() {
    let root = task_root_with(
        "# shellcheck shell=bash\nhandler() {\n  jq . <<<\"$1\"\n  export EVENT=$1\n}\n",
    );
    let output = run_check(&root, "function.handler", &[]);
    assert_eq!(output.status, 0);
    assert!(!output.stdout.contains('\x1b'), "{}", output.stdout);
    let lines: Vec<_> = output.stdout.lines().collect();
    assert!(
        lines[0].starts_with("function.sh:3  warning  command      jq is not"),
        "{}",
        output.stdout
    );
    assert!(
        lines[1].starts_with(&format!("{}try: ", " ".repeat(37))),
        "{}",
        output.stdout
    );
    assert!(
        lines[2].starts_with("function.sh:4  warning  environment  exports"),
        "{}",
        output.stdout
    );
    assert_eq!(
        lines.last(),
        Some(&"function.handler: function handler in function.sh: 2 warnings")
    );
}

#[test]
fn a_terminal_gets_colour_unless_it_has_none_or_no_color_is_set() {
    let root = task_root_with("handler() {\n  jq . <<<\"$1\"\n}\n");
    let typescript = |setting: &str| {
        let mut script = Command::new("script");
        let line = format!(
            "{setting} '{}' check function.handler --task-root '{}'",
            coshell_path(),
            root.path().display()
        );
        script
            .args(["-qec", &line, "/dev/null"])
            .env_remove("NO_COLOR")
            .env("TERM", "xterm");
        CommandOutput::of(script).stdout
    };
    assert!(
        typescript("").contains("\x1b[33mwarning"),
        "{}",
        typescript("")
    );
    assert!(!typescript("NO_COLOR=1").contains('\x1b'));
    assert!(!typescript("TERM=dumb").contains('\x1b'));
}

#[test]
fn the_option_strict_makes_warnings_count_as_errors() {
    let root = task_root_with("handler() {\n  jq . <<<\"$1\"\n}\n");
    assert_eq!(run_check(&root, "function.handler", &[]).status, 0);
    assert_eq!(
        run_check(&root, "function.handler", &["--strict"]).status,
        1
    );
    let clean = task_root_with(HEALTHY);
    assert_eq!(
        run_check(&clean, "function.handler", &["--strict"]).status,
        0
    );
}

#[test]
fn a_check_that_cannot_start_ends_with_status_2() {
    let root = task_root_with(HEALTHY);
    let mut no_bash = command(root.path(), "function.handler");
    no_bash.env("COSHELL_BASH", "/no/such/bash");
    let no_folder = command(&root.path().join("gone"), "function.handler");
    let mut no_image = command(root.path(), "function.handler");
    no_image.args(["--image", "al2"]);
    for (command, message) in [
        (
            no_bash,
            "coshell: cannot start shell /no/such/bash: No such file",
        ),
        (no_folder, "coshell: cannot use task root"),
        (no_image, "possible values: al2023, here, none"),
    ] {
        let output = CommandOutput::of(command);
        assert_eq!((output.status, output.stdout.as_str()), (2, ""));
        assert!(output.stderr.contains(message), "{}", output.stderr);
    }
}

#[test]
fn odd_files_neither_hang_nor_crash_the_check() {
    let root = TaskRoot::new();
    root.fifo("fifo.sh");
    root.write("folder.sh/file", "");
    root.write("empty.sh", "");
    root.write("binary.sh", [0, 159, 146, 150, b'\n', 0xff]);
    root.write(
        "deep.sh",
        format!(
            "handler() {{ echo {}a{}; }}\n",
            "$(".repeat(500),
            ")".repeat(500)
        ),
    );
    root.write("itself.sh", ". ./itself.sh\nhandler() { :; }\n");
    root.write("escape.sh", "\x1b[31m() { :; }\nhandler() { a\x1bb; }\n");
    for handler in [
        "fifo.handler",
        "fifo.sh",
        "folder.handler",
        "empty.handler",
        "binary.handler",
        "binary.sh",
    ] {
        let output = run_check(&root, handler, &[]);
        assert_eq!(output.stderr, "", "{handler}");
        assert!(!output.stdout.contains('\x1b'), "{handler}");
    }
    assert_eq!(run_check(&root, "fifo.handler", &[]).status, 1);
    assert_eq!(run_check(&root, "empty.handler", &[]).status, 1);
    for handler in ["deep.handler", "itself.handler", "escape.handler"] {
        let output = run_check(&root, handler, &[]);
        assert!(
            !output.stdout.contains('\x1b') && output.status < 2,
            "{handler}: {output:?}"
        );
    }
}

fn is_script(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|kind| kind == "sh")
}

#[test]
fn examples_and_fixtures_have_no_errors() {
    let examples = repository_file("examples");
    for handler in [
        "echo/function.sh.handler",
        "s3-event/function.handler",
        "function-url/function.handler",
        "nightly-report/report.sh",
        "executable/wordcount",
        "cleanup/function.handler",
    ] {
        assert_eq!(check_json(&examples, handler)["errors"], 0, "{handler}");
    }
    for (folder, suffix) in [
        ("tests/fixtures/handlers", ".handler"),
        ("tests/fixtures/scripts", ""),
    ] {
        let folder = repository_file(folder);
        for entry in fs::read_dir(&folder).expect("fixtures").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_script(&name) {
                let document = check_json(&folder, &format!("{name}{suffix}"));
                assert_eq!(document["errors"], 0, "{name}: {document:#}");
            }
        }
    }
}

/// The parser of the check sees the same functions as bash.
#[test]
fn the_check_finds_the_functions_that_bash_finds() {
    let folder = repository_file("tests/fixtures/handlers");
    for entry in fs::read_dir(&folder).expect("fixtures").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Bash rejects this file unless its shopt has run.
        if !is_script(&name) || name == "matches_extended_globs.sh" {
            continue;
        }
        let mut bash = Command::new("bash");
        bash.args(["--pretty-print"]).arg(entry.path());
        let printed = CommandOutput::of(bash).stdout;
        let names: Vec<_> = printed
            .lines()
            .filter_map(|line| line.strip_suffix(" () ")?.split_whitespace().last())
            .collect();
        assert!(!names.is_empty(), "{name}: {printed}");
        for function in names {
            assert_no_finding(
                check_json(&folder, &format!("{name}.{function}"))["findings"]
                    .as_array()
                    .expect("findings"),
                "function",
            );
        }
    }
}
