//! Traps and options that watch the shell, functions named like builtins, and files or events that leave the shell unusable.
//!
//! A trap such as DEBUG sees only the handler's own commands, and nothing that a handler does to its shell changes what coshell
//! does. Each case is a complete file. A plain bash that sources the file and calls the function defines the right behaviour.

use support::{Event, LIMIT, Sandbox, SandboxBuilder, wait_until};

const ISOLATIONS: [&str; 4] = ["restore", "none", "subshell", "process"];

fn start(script: &str, isolation: &str) -> Sandbox {
    println!("{isolation}: {script}");
    let builder = Sandbox::of(script).env("COSHELL_ISOLATION", isolation);
    builder.file("lib.sh", "exit 3\n").start()
}

/// Runs one invocation that must succeed. Returns the response as text.
#[track_caller]
fn respond(sandbox: &Sandbox, event: &str) -> String {
    String::from_utf8_lossy(&sandbox.respond(event)).into_owned()
}

#[test]
fn exit_and_errexit_end_functions_with_any_name() {
    for name in [
        "main", "Main", "source", ",mine", ",,mine", "a.b", "_", "printf", "handler2",
    ] {
        for end in [
            "exit 3",
            "false",
            "cd /no/such/folder",
            "source \"$LAMBDA_TASK_ROOT/lib.sh\"",
            "eval 'exit 3'",
        ] {
            // The function `source` replaces the builtin.
            if name == "source" && end.starts_with("source") {
                continue;
            }
            for isolation in ["restore", "none"] {
                let sandbox = start(
                    &format!(
                        "shopt -s nocasematch extglob\n{name}() {{ while :; do {end}; : >\"$LAMBDA_TASK_ROOT/ran\"; break; done; }}\nhandler() {{ if [[ $1 == ok ]]; then echo ok; return; fi; {name}; : >\"$LAMBDA_TASK_ROOT/ran\"; }}"
                    ),
                    isolation,
                );
                sandbox.fail("x");
                assert!(!sandbox.task_root.exists("ran"), "{name}: {end}");
                assert_eq!(respond(&sandbox, "ok"), "ok");
            }
        }
    }
}

#[test]
fn exit_0_in_main_ends_the_handler_with_success() {
    for isolation in ISOLATIONS {
        let sandbox = start(
            "main() { echo before; exit 0; echo after; }\nhandler() { main \"$@\"; echo after; }",
            isolation,
        );
        assert_eq!(respond(&sandbox, "x"), "before");
        assert_eq!(respond(&sandbox, "x"), "before");
    }
}

#[test]
fn command_not_found_handle_may_exit() {
    for isolation in ISOLATIONS {
        let sandbox = start(
            "command_not_found_handle() { exit 9; }\nhandler() { nosuchcommand && echo taken; nosuchcommand || echo \"status $?\"; }",
            isolation,
        );
        assert_eq!(respond(&sandbox, "x"), "status 9");
    }
}

#[test]
fn a_return_trap_runs_where_bash_runs_it() {
    for isolation in ["restore", "subshell"] {
        let sandbox = start(
            "handler() { local file; file=$(mktemp); trap 'rm \"$file\"; echo \"of ${FUNCNAME[0]}\"' RETURN; echo on; }",
            isolation,
        );
        assert_eq!(respond(&sandbox, "x"), "on\nof handler");
        assert_eq!(respond(&sandbox, "x"), "on\nof handler");
        assert_eq!(sandbox.bootstrap.final_log(), "");
    }
}

#[test]
fn an_exit_trap_runs_where_exit_was_called() {
    const SCRIPT: &str = "inner() { local name=local; trap 'echo \"$name $1 ${FUNCNAME[0]}\"' EXIT; exit 0; }\nhandler() { inner argument; echo never; }";
    for isolation in ISOLATIONS {
        let sandbox = start(SCRIPT, isolation);
        for _ in 0..2 {
            assert_eq!(respond(&sandbox, "x"), "local argument inner");
        }
    }
}

#[test]
fn an_err_trap_fires_where_bash_fires_it() {
    const TRAP: &str = "trap 'echo \"line $LINENO: $BASH_COMMAND: $?\" >&2' ERR";
    let sandbox = start(
        &format!(
            "set -Eeuo pipefail\n{TRAP}\nfetch() {{ ls \"/no/such/$1\" 2>/dev/null; }}\nhandler() {{\n  [[ $1 != exit ]] || exit 4\n  [[ $1 != bad ]] || fetch \"$1\"\n  echo ok\n}}"
        ),
        "restore",
    );
    assert_eq!(respond(&sandbox, "x"), "ok");
    sandbox.fail("bad");
    sandbox.fail("exit");
    let sandbox_log = sandbox.bootstrap.final_log();
    let lines: Vec<_> = sandbox_log
        .lines()
        .filter(|line| line.starts_with("line "))
        .collect();
    assert_eq!(
        lines,
        ["line 3: ls \"/no/such/$1\" 2> /dev/null: 2"],
        "{sandbox_log}"
    );
    // Without -E functions do not inherit the trap.
    let sandbox = start(
        &format!(
            "helper() {{ grep -q nothing /dev/null; return 0; }}\nhandler() {{ set +e; {TRAP}; helper; x=$(false; echo y); (false; true); trap - ERR; echo ok; }}"
        ),
        "restore",
    );
    assert_eq!(respond(&sandbox, "x"), "ok");
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

#[test]
fn xtrace_and_debug_traps_see_only_commands_of_the_handler() {
    const HANDLER: &str = "handler() {\n  local n=1\n  echo \"ok $1\"\n}";
    for isolation in ["restore", "subshell"] {
        let sandbox = start(&format!("PS4='+ $LINENO: '\nset -x\n{HANDLER}"), isolation);
        assert_eq!(respond(&sandbox, "a"), "ok a");
        assert_eq!(respond(&sandbox, "b"), "ok b");
        assert_eq!(
            sandbox.bootstrap.final_log(),
            "+ 4: local n=1\n+ 5: echo 'ok a'\n+ 4: local n=1\n+ 5: echo 'ok b'\n"
        );
        let sandbox = start(
            &format!("trap 'echo \"run: $BASH_COMMAND\" >&2' DEBUG\n{HANDLER}"),
            isolation,
        );
        assert_eq!(respond(&sandbox, "a"), "ok a");
        assert_eq!(sandbox.bootstrap.final_log(), "run: handler \"$1\"\n");
        let sandbox = start(
            &format!("set -T\ntrap 'echo \"run: $BASH_COMMAND\" >&2' DEBUG\n{HANDLER}"),
            isolation,
        );
        assert_eq!(respond(&sandbox, "a"), "ok a");
        let log = sandbox.bootstrap.final_log();
        assert!(
            log.ends_with("run: local n=1\nrun: echo \"ok $1\"\n"),
            "{log}"
        );
        assert!(
            !log.contains("__driver") && !log.contains("builtin"),
            "{log}"
        );
    }
}

#[test]
fn xtrace_does_not_trace_inside_lambda_functions() {
    let sandbox = start(
        "set -x\nhandler() { lambda_log hello; echo on; }",
        "restore",
    );
    assert_eq!(respond(&sandbox, "x"), "on");
    assert_eq!(
        sandbox.bootstrap.final_log(),
        "+ lambda_log hello\nhello\n+ echo on\n"
    );
}

/// A standby shell has the options, too, while it reads what is coshell's.
#[test]
fn options_from_outside_of_the_file_show_nothing_of_coshell() {
    for options in ["-x", "-v", "-k", "+h"] {
        for isolation in ISOLATIONS {
            println!("{options} {isolation}");
            let sandbox = Sandbox::of("helper() { local n=1; }\nhandler() { helper; echo on; }\n")
                .env("COSHELL_SHELL_OPTIONS", options)
                .env("COSHELL_ISOLATION", isolation)
                .start();
            for _ in 0..3 {
                assert_eq!(respond(&sandbox, "x"), "on");
            }
            sandbox.api.wait_parked();
            let log = sandbox.bootstrap.final_log();
            for ours in ["__driver", "builtin", "/dev/fd", "\\"] {
                assert!(!log.contains(ours), "{log}");
            }
        }
    }
    let sandbox = start("set +h\nhandler() { echo on; }", "restore");
    assert_eq!(respond(&sandbox, "x"), "on");
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

#[test]
fn options_of_the_environment_and_of_a_handler_show_nothing_of_coshell() {
    let check = |what: &str, builder: SandboxBuilder| {
        let sandbox = builder.start();
        for _ in 0..3 {
            let answer = sandbox.invoke(Event::fresh("x"));
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(
                text == "on"
                    || text.contains("ed with status 3")
                    || text.contains("returned status 3"),
                "{what}: {text}"
            );
        }
        sandbox.api.wait_parked();
        let log = sandbox.bootstrap.final_log();
        for ours in ["__driver", "builtin", "/dev/fd", "declare -", "\\"] {
            assert!(!log.contains(ours), "{what}: {log}");
        }
    };
    for isolation in ISOLATIONS {
        let isolated = |script: &str| Sandbox::of(script).env("COSHELL_ISOLATION", isolation);
        for options in [
            "verbose",
            "keyword",
            "xtrace",
            "braceexpand:keyword:verbose",
        ] {
            let script = "helper() { local n=1; }\nhandler() { helper; echo on; }";
            let builder = isolated(script).env("SHELLOPTS", options);
            check(&format!("{isolation} {options}"), builder);
        }
        for options in ["v", "k"] {
            let script = format!("handler() {{ set -{options}; trap 'echo bye' EXIT; exit 3; }}");
            check(&format!("{isolation} {script}"), isolated(&script));
        }
        let script = "handler() { set -r; echo on; }";
        check(&format!("{isolation} {script}"), isolated(script));
    }
}

/// IFS is each printable character, and each byte from 0x80 on.
#[test]
fn exit_and_responses_work_with_any_ifs() {
    let sandbox = start(
        "handler() {\n  IFS=${1%?}\n  case ${1: -1} in\n    a) exit 0 ;;\n    b) exit 3 ;;\n    c) lambda_http_response 403 'Content-Type: text/plain'; printf denied ;;\n  esac\n}",
        "restore",
    );
    let bytes = (0x20..0x7f_u8).chain(0x80..=0xff);
    for byte in bytes {
        sandbox.respond([byte, b'a']);
        let document = sandbox.fail([byte, b'b']);
        let message = document["errorMessage"].as_str().unwrap_or_default();
        assert!(message.contains("status 3"), "{byte:#x}: {message}");
        let response = String::from_utf8_lossy(&sandbox.respond([byte, b'c'])).into_owned();
        assert!(
            response.contains("\"statusCode\":403"),
            "{byte:#x}: {response}"
        );
    }
}

#[test]
fn a_file_may_set_any_ifs() {
    for separator in [
        "0",
        "1",
        "-",
        "a",
        "$'\\n'",
        "_",
        "/",
        "'\"'",
        "x0123456789abcdef-",
    ] {
        let sandbox = start(
            &format!(
                "IFS={separator}\nhandler() {{ [[ $1 == fail ]] && exit 3; echo \"on $1\"; }}"
            ),
            "restore",
        );
        assert_eq!(respond(&sandbox, "x"), "on x");
        sandbox.fail("fail");
        assert_eq!(respond(&sandbox, "y"), "on y");
    }
}

/// With each such function `exit`, errexit, an EXIT trap, a leftover process and the `lambda_` functions must work.
#[test]
fn functions_may_be_named_like_builtins() {
    const NAMES: [&str; 30] = [
        ".", ":", "[", "alias", "builtin", "cd", "command", "declare", "dirs", "disown", "enable",
        "eval", "exec", "export", "hash", "kill", "local", "mapfile", "printf", "read", "readonly",
        "return", "set", "shift", "shopt", "source", "test", "trap", "umask", "unset",
    ];
    for name in NAMES {
        for wraps in [true, false] {
            // The handler itself needs these.
            let is_used = [
                "[", "builtin", "command", "printf", "return", "shift", "trap", ":", "local",
            ]
            .contains(&name);
            if !wraps && is_used {
                continue;
            }
            let body = match (wraps, name) {
                (true, "builtin") => "command builtin \"$@\"".to_owned(),
                (true, _) => format!("builtin {name} \"$@\""),
                (false, _) => "echo \"not the builtin\" >&2".to_owned(),
            };
            let sandbox = start(
                &format!(
                    "handler() {{\n  case $1 in\n    exit) exit 3 ;;\n    error) false; echo never ;;\n    trap) trap 'echo trapped' EXIT ;;\n    leave) sleep 30 & ;;\n    http) lambda_http_response 201 A:b ;;\n  esac\n  echo \"on $1\"\n}}\n{name}() {{ {body}; }}"
                ),
                "restore",
            );
            assert_eq!(respond(&sandbox, "x"), "on x");
            sandbox.fail("exit");
            sandbox.fail("error");
            assert_eq!(respond(&sandbox, "leave"), "on leave");
            assert_eq!(respond(&sandbox, "y"), "on y");
            let http = respond(&sandbox, "http");
            assert!(http.contains("\"statusCode\":201"), "{name}: {http}");
            if wraps || name != "trap" {
                let trapped = respond(&sandbox, "trap");
                // A trap set by the wrapper belongs to the wrapper's call.
                assert!(trapped.starts_with("on trap"), "{name}: {trapped}");
            }
            assert_eq!(respond(&sandbox, "z"), "on z");
        }
    }
}

#[test]
fn a_file_may_contain_bytes_that_are_not_utf_8() {
    let builder = Sandbox::empty().file(
        "function.sh",
        b"trap 'echo gr\xfc\xdfe' EXIT\nIFS=$'\\xa7'\nalias \xfc=true\nhandler() { printf %s \"$IFS\" | od -An -tx1; IFS=,; trap 'printf \xe4' USR1; }\n",
    );
    let sandbox = builder.start();
    for _ in 0..3 {
        assert_eq!(sandbox.respond("x"), b" a7");
    }
}

#[test]
fn the_init_error_names_the_command_that_made_the_shell_unusable() {
    for (top, reason) in [
        ("set -n", "set -n"),
        ("set -r", "set -r"),
        ("set -t", "function.sh"),
        ("enable -n printf", "printf"),
        ("enable -n mapfile", "enable -n mapfile"),
        ("enable -n builtin", "builtin"),
        ("enable -n trap", "enable -n trap"),
        ("kill -STOP $$", "stopped by a signal"),
        ("FUNCNEST=1", "FUNCNEST"),
        ("ulimit -n 3", "ulimit -n"),
        ("ulimit -S -n 79", "ulimit -n"),
        ("ulimit -S -n 85", "ulimit -n"),
        ("exec 60>&-", "descriptor 60"),
        ("exec 61<&-", "descriptor 61"),
        ("exec 62>&-", "descriptor 62"),
        ("exec 63>&-", "descriptor 63"),
        ("exec 65>&-", "descriptor 65"),
        ("exec 66>&-", "descriptor 66"),
        ("readonly LAMBDA_RUNTIME_AWS_REQUEST_ID=x", "readonly"),
    ] {
        let sandbox = start(&format!("{top}\nhandler() {{ echo ok; }}"), "restore");
        let document = sandbox.api.wait_init_error().error_document();
        let message = document["errorMessage"].as_str().unwrap_or_default();
        assert!(message.contains(reason), "{top}: {message}");
    }
    let function = support::function_variable;
    for (name, value, reason) in [
        ("SHELLOPTS", "noexec", "SHELLOPTS"),
        (
            "COSHELL_SHELL_OPTIONS",
            "-n",
            "COSHELL_SHELL_OPTIONS: with -n",
        ),
        (
            "COSHELL_SHELL_OPTIONS",
            "-er",
            "COSHELL_SHELL_OPTIONS: with -r",
        ),
        (
            "COSHELL_SHELL_OPTIONS",
            "-t",
            "COSHELL_SHELL_OPTIONS: with -t",
        ),
        (
            "COSHELL_SHELL_OPTIONS",
            "-o onecmd",
            "COSHELL_SHELL_OPTIONS: with -t",
        ),
        (&function("builtin"), "() { :; }", "a function builtin "),
        (&function("exec"), "() { :; }", "a function exec "),
    ] {
        println!("{name}={value}");
        let sandbox = Sandbox::of("handler() { echo ok; }")
            .env(name, value)
            .start();
        let document = sandbox.api.wait_init_error().error_document();
        let message = document["errorMessage"].as_str().unwrap_or_default();
        assert!(message.contains(reason), "{name}: {message}");
    }
}

#[test]
fn a_file_may_close_descriptors_of_bash() {
    for isolation in ISOLATIONS {
        let sandbox = start(
            "for fd in {10..19}; do eval \"exec $fd>&-\"; done\nhandler() { echo \"on $1\"; }",
            isolation,
        );
        assert_eq!(respond(&sandbox, "x"), "on x");
        assert_eq!(respond(&sandbox, "y"), "on y");
        assert_eq!(sandbox.bootstrap.final_log(), "");
    }
}

#[test]
fn a_shell_that_an_event_made_unusable_is_replaced_before_the_next() {
    for bad in [
        "FUNCNEST=1",
        "ulimit -n 3",
        "set -r",
        "set -k",
        "enable -n mapfile",
        "enable -n printf",
        "enable -n builtin",
        "readonly LAMBDA_RUNTIME_AWS_REQUEST_ID",
        "builtin() { echo mine; }",
        "exec 60<&- 62>&- 63>&-",
    ] {
        for isolation in ["restore", "none"] {
            let sandbox = start(
                &format!(
                    "handler() {{\n  if [[ $1 == bad ]]; then\n    {bad}\n  fi\n  echo \"on $1\"\n}}"
                ),
                isolation,
            );
            assert_eq!(respond(&sandbox, "x"), "on x");
            for _ in 0..2 {
                let _ = sandbox.invoke(Event::fresh("bad"));
                assert_eq!(respond(&sandbox, "y"), "on y");
                assert_eq!(respond(&sandbox, "z"), "on z");
            }
        }
    }
}

#[test]
fn bootstrap_does_not_wait_for_a_spare_shell_that_was_stopped() {
    let sandbox = start(
        "handler() {\n  if [[ $1 == bad ]]; then\n    for pid in $(</proc/$PPID/task/$PPID/children); do [[ $pid == $$ ]] || kill -STOP \"$pid\"; done\n    exec true\n  fi\n  echo on\n}",
        "none",
    );
    assert_eq!(respond(&sandbox, "x"), "on");
    sandbox.api.wait_parked();
    let pid = sandbox.bootstrap.pid();
    wait_until(|| support::children(pid).len() >= 2, LIMIT);
    assert_eq!(respond(&sandbox, "bad"), "");
    assert_eq!(respond(&sandbox, "x"), "on");
}

#[test]
fn aliases_of_the_file_do_not_change_the_driver() {
    for isolation in ISOLATIONS {
        let sandbox = start(
            "shopt -s expand_aliases\nalias local=false set=false case=false shout='echo loud'\nhandler() { eval 'shout'; exit 0; }",
            isolation,
        );
        assert_eq!(respond(&sandbox, "x"), "loud");
        assert_eq!(respond(&sandbox, "x"), "loud");
    }
}

#[test]
fn an_alias_for_builtin_is_not_expanded_in_the_driver() {
    const ALIAS: &str = "shopt -s expand_aliases\nalias builtin='echo expanded >&2; builtin'\n";
    for isolation in ISOLATIONS {
        for script in [
            "handler() { n=$((n + 1)); umask 077; cd /; echo \"ok ${#n}\"; }\nn=0\nlambda_keep n\n",
            "trap 'echo never >&2' ERR\nhandler() { trap 'x=1' RETURN; n=1; echo \"ok $n\"; }\n",
            "n=1\nlambda_keep n\nhandler() { readonly fixed=1; echo \"ok $n\"; }\n",
        ] {
            if isolation == "none" && script.contains("readonly") {
                // Without isolation the second readonly would fail.
                continue;
            }
            let sandbox = start(&format!("{ALIAS}{script}"), isolation);
            for _ in 0..3 {
                assert_eq!(respond(&sandbox, "x"), "ok 1");
            }
            sandbox.api.wait_parked();
            let log = sandbox.bootstrap.final_log();
            assert!(!log.contains("expanded"), "{log}");
        }
    }
}
