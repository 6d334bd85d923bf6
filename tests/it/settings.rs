//! The handler name, from `_HANDLER` or from an argument, and the settings in environment variables.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::init::{HEALTHY, fails};
use support::{Event, LIMIT, Sandbox, SandboxBuilder, wait_until};

#[test]
fn a_handler_is_found_by_every_form_of_its_name() {
    let name = |file: &str| {
        format!("handler() {{ printf '%s' {file}; }}\nother() {{ printf 'other of %s' {file}; }}\n")
    };
    let folder = || {
        Sandbox::empty()
            .file("function.sh", name("function"))
            .file("lib/deep/file.sh", name("deep"))
            .file("with.dots.sh", name("dots"))
            .file("with space.sh", name("space"))
            .file("it's.sh", name("quote"))
    };
    for (handler, response) in [
        ("function.handler", "function"),
        ("function.sh.handler", "function"),
        ("function.other", "other of function"),
        ("lib/deep/file.handler", "deep"),
        ("lib/deep/file.sh.other", "other of deep"),
        ("./lib/../function.handler", "function"),
        ("/function.handler", "function"),
        ("with.dots.handler", "dots"),
        ("with space.handler", "space"),
        ("it's.handler", "quote"),
    ] {
        let sandbox = folder().handler(handler).start();
        assert_eq!(
            String::from_utf8_lossy(&sandbox.respond("x")),
            response,
            "{handler}"
        );
        let sandbox = folder().handler("never.named").argument(handler).start();
        assert_eq!(
            String::from_utf8_lossy(&sandbox.respond("x")),
            response,
            "{handler} as an argument"
        );
    }
}

#[test]
fn every_function_name_that_bash_allows_can_be_a_handler() {
    let script =
        "do-it() { printf dash; }\na:b() { printf colon; }\n_x9() { printf underscore; }\n";
    for (function, response) in [("do-it", "dash"), ("a:b", "colon"), ("_x9", "underscore")] {
        let sandbox = Sandbox::of(script)
            .handler(&format!("function.{function}"))
            .start();
        assert_eq!(sandbox.respond("x"), response.as_bytes());
    }
}

#[test]
fn the_working_directory_is_the_task_root() {
    let sandbox =
        Sandbox::of("here=$PWD\nhandler() { printf '%s %s' \"$here\" \"$PWD\"; }\n").start();
    let root = sandbox.task_root.path().to_string_lossy().into_owned();
    assert_eq!(
        String::from_utf8_lossy(&sandbox.respond("x")),
        format!("{root} {root}")
    );
    let sandbox = Sandbox::of(HEALTHY).without_env("LAMBDA_TASK_ROOT").start();
    assert_eq!(sandbox.respond("x"), b"healthy x");
}

const PRINTS_OPTIONS: &str =
    "early=$-:$SHELLOPTS\nhandler() { printf '%s|%s' \"$early\" \"$-:$SHELLOPTS\"; }\n";

#[test]
fn shell_options_are_set_before_the_file_is_sourced() {
    let options = |builder: SandboxBuilder| {
        let sandbox = builder.start();
        let shown = String::from_utf8_lossy(&sandbox.respond("x")).into_owned();
        let (early, late) = shown.split_once('|').expect("two halves");
        let names = |text: &str| {
            let text = text.split_once(':').expect("options").1.to_owned();
            text.split(':').map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            names(early),
            names(late),
            "the handler has other options than the file"
        );
        names(early)
    };
    let has = |options: &[String], wanted: &[&str]| {
        wanted
            .iter()
            .all(|name| options.iter().any(|option| option == name))
    };
    let with_setting =
        |setting: &str| Sandbox::of(PRINTS_OPTIONS).env("COSHELL_SHELL_OPTIONS", setting);
    let default = options(Sandbox::of(PRINTS_OPTIONS));
    assert!(
        has(&default, &["errexit", "nounset", "pipefail"]),
        "{default:?}"
    );
    let none = options(with_setting(""));
    assert!(
        !["errexit", "nounset", "pipefail", "noglob"]
            .iter()
            .any(|name| has(&none, &[name])),
        "{none:?}"
    );
    assert_eq!(options(with_setting("  ")), none);
    let some = options(with_setting("-f -o noclobber"));
    assert!(
        has(&some, &["noglob", "noclobber"]) && !has(&some, &["errexit"]),
        "{some:?}"
    );
    assert!(has(&options(with_setting("-eu")), &["errexit", "nounset"]));
}

#[test]
fn shell_options_that_set_rejects_are_an_init_error() {
    for setting in ["-Q", "-o nonsense", "-euo"] {
        let builder = Sandbox::of(HEALTHY).env("COSHELL_SHELL_OPTIONS", setting);
        if setting == "-euo" {
            // `set -euo` alone lists the options, so it is valid.
            assert_eq!(builder.start().respond("x"), b"healthy x");
        } else {
            fails(
                builder,
                "Runtime.InvalidSetting",
                &[
                    "COSHELL_SHELL_OPTIONS",
                    setting.rsplit(' ').next().unwrap_or_default(),
                ],
            );
        }
    }
    let builder = Sandbox::of("handler() { printf ran; }")
        .env("COSHELL_SHELL_OPTIONS", "-- $(kill\u{20}$$) 'x");
    assert_eq!(
        builder.start().respond("x"),
        b"ran",
        "the options were run as commands"
    );
}

#[test]
fn a_setting_chooses_another_bash() {
    let builder = Sandbox::of("handler() { printf '%s' \"$BASH ${wrapped-}\"; }\n");
    let wrapper = builder.task_root().write(
        "my bash",
        "#!/bin/bash\nexport wrapped=yes\nexec /bin/bash \"$@\"\n",
    );
    fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).expect("permissions");
    let sandbox = builder
        .env("COSHELL_BASH", wrapper.to_string_lossy())
        .start();
    assert_eq!(sandbox.respond("x"), b"/bin/bash yes");
    // A name without a slash is searched in PATH.
    assert_eq!(
        Sandbox::of(HEALTHY)
            .env("COSHELL_BASH", "bash")
            .start()
            .respond("x"),
        b"healthy x"
    );
}

#[test]
fn a_bash_that_does_not_start_is_an_init_error() {
    let builder = || Sandbox::of(HEALTHY);
    fails(
        builder().env("COSHELL_BASH", "/no/such/bash"),
        "Runtime.ShellNotStarted",
        &["/no/such/bash", "No such file or directory"],
    );
    fails(
        builder().env("COSHELL_BASH", "/etc/passwd"),
        "Runtime.ShellNotStarted",
        &["/etc/passwd", "Permission denied"],
    );
    fails(
        builder().env("COSHELL_BASH", "/bin/false"),
        "Runtime.ShellNotStarted",
        &["/bin/false"],
    );
    fails(
        builder().env("COSHELL_BASH", "/bin/sh"),
        "Runtime.ShellNotStarted",
        &["/bin/sh"],
    );
}

#[test]
fn invalid_settings_of_the_platform_cause_a_warning() {
    for (name, value) in [
        ("AWS_LAMBDA_LOG_FORMAT", "XML"),
        ("AWS_LAMBDA_LOG_LEVEL", "LOUD"),
        ("AWS_LAMBDA_MAX_CONCURRENCY", "many"),
        ("_LAMBDA_TELEMETRY_LOG_FD", "5"),
    ] {
        let sandbox = Sandbox::of(HEALTHY).env(name, value).start();
        assert_eq!(sandbox.respond("x"), b"healthy x");
        sandbox.bootstrap.wait_log(&format!(
            "bootstrap: warn: cannot use {name}={value}: expected "
        ));
        assert_eq!(sandbox.bootstrap.final_log().lines().count(), 1);
    }
    let sandbox = Sandbox::of(HEALTHY)
        .env("COSHELL_TRAILING_NEWLINES", "KEEP")
        .env("AWS_LAMBDA_LOG_FORMAT", "text")
        .env("AWS_LAMBDA_LOG_LEVEL", "warn")
        .start();
    assert_eq!(sandbox.respond("x"), b"healthy x");
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

#[test]
fn invalid_settings_of_coshell_are_init_errors() {
    for (name, value, expected) in [
        ("COSHELL_TRAILING_NEWLINES", "maybe", "strip or keep"),
        (
            "COSHELL_ISOLATION",
            "proces",
            "restore or none or subshell or process",
        ),
        ("COSHELL_LEFTOVERS", "yes", "keep or kill"),
        ("COSHELL_SPARE", "1", "on or off"),
        ("COSHELL_DEADLINE_MARGIN_MS", "3s", "a whole number"),
        ("COSHELL_DEADLINE_MARGIN_MS", "-1", "a whole number"),
        (
            "COSHELL_RECYCLE_AFTER",
            "99999999999999999999",
            "a whole number",
        ),
    ] {
        fails(
            Sandbox::of(HEALTHY).env(name, value),
            "Runtime.InvalidSetting",
            &[&format!(
                "cannot use {name}: expected {expected}, found {value}"
            )],
        );
    }
    for (name, value) in [
        ("COSHELL_ISOLATION", "None"),
        ("COSHELL_DEADLINE_MARGIN_MS", "0"),
        ("COSHELL_RECYCLE_AFTER", ""),
    ] {
        let sandbox = Sandbox::of(HEALTHY).env(name, value).start();
        assert_eq!(sandbox.respond("x"), b"healthy x", "{name}={value}");
    }
}

/// Managed Instances do not end an invocation at its deadline.
#[test]
fn by_default_handlers_are_stopped_before_their_deadline_only_on_managed_instances() {
    let soon = || Event::fresh("x").with_deadline_in(Duration::from_millis(700));
    let script = "handler() { read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; printf on; }";
    let stuck = |kind: &str| {
        let builder = Sandbox::of(script).env("AWS_LAMBDA_INITIALIZATION_TYPE", kind);
        builder.task_root().fifo("gate");
        builder
    };
    for builder in [
        stuck("lambda-managed-instances"),
        stuck("on-demand").env("AWS_LAMBDA_MAX_CONCURRENCY", "2"),
    ] {
        let document = builder.start().invoke(soon()).error_document();
        assert_eq!(document["errorType"], "Function.Timeout", "{document}");
    }
    for builder in [
        stuck("on-demand"),
        stuck("lambda-managed-instances").env("COSHELL_DEADLINE_MARGIN_MS", "0"),
    ] {
        let sandbox = builder.start();
        let event = soon();
        let (request_id, deadline) = (
            event.request_id.clone(),
            Instant::now() + Duration::from_secs(1),
        );
        sandbox.api.push(event);
        wait_until(|| Instant::now() > deadline, LIMIT);
        sandbox.task_root.release("gate");
        assert_eq!(sandbox.api.wait_answer(&request_id).body, b"on");
    }
}

#[test]
fn a_setting_keeps_the_newlines_at_the_end_of_a_response() {
    for (setting, response) in [
        ("keep", &b"a\n\n"[..]),
        ("strip", b"a"),
        ("", b"a"),
        ("KEEP", b"a\n\n"),
    ] {
        let sandbox = Sandbox::of("handler() { printf 'a\\n\\n'; }")
            .env("COSHELL_TRAILING_NEWLINES", setting)
            .start();
        assert_eq!(sandbox.respond("x"), response, "{setting:?}");
    }
}
