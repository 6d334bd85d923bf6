//! Whole scripts as handlers. They run once for each event, as if bash had been started by hand, and keep nothing.
//!
//! The fixtures are typical scripts that were written for the command line. Each runs in bash itself, with the event as its
//! argument and on standard input, and through bootstrap. The bytes, the status and the log must be the same. The other tests
//! check what a fixture cannot show: events of any size, init errors, error documents, leftover processes, and that coshell
//! is invisible to the script.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

use nix::sys::signal::Signal;

use crate::init::{HEALTHY, fails};
use support::{
    CONTEXT, Event, Gate, Reply, Sandbox, SandboxBuilder, TaskRoot, excerpt, repository_file,
    set_lambda_environment,
};

const SCRIPTS: &str = "tests/fixtures/scripts";
const EVENTS: [&str; 2] = [
    "{\"name\": \"Ada\",\n \"n\": 3}\n",
    "-v -n 3 file one two\nstop now\nlast line",
];

/// A sandbox whose handler is the file `name`. It has its own folder for temporary files, keeps trailing newlines, and passes
/// the event as an argument too.
fn sandbox_with(name: &str, text: impl AsRef<[u8]>) -> SandboxBuilder {
    let builder = Sandbox::empty()
        .handler(name)
        .file(name, text)
        .file("tmp/here", "");
    let temporary = path_of(&builder, "tmp");
    builder
        .env("TMPDIR", temporary)
        .env("COSHELL_TRAILING_NEWLINES", "keep")
        .event_as_argument()
}

/// As [`sandbox_with`], for a script whose name does not matter.
fn script(text: impl AsRef<[u8]>) -> SandboxBuilder {
    sandbox_with("legacy.sh", text)
}

fn path_of(builder: &SandboxBuilder, name: &str) -> String {
    builder
        .task_root()
        .path()
        .join(name)
        .to_string_lossy()
        .into_owned()
}

/// Runs the script `name` in bash itself, with the options of its first line and with more variables.
#[track_caller]
fn run_in_bash(
    builder: &SandboxBuilder,
    name: &str,
    event: &str,
    environment: &[(&str, &str)],
) -> Output {
    let bash = std::env::var("COSHELL_TEST_BASH").unwrap_or_else(|_| "bash".to_owned());
    let text = fs::read(builder.task_root().path().join(name)).expect("the script");
    let mut command = Command::new(bash);
    set_lambda_environment(&mut command, builder.task_root().path());
    command
        .env("_HANDLER", name)
        .env("TMPDIR", path_of(builder, "tmp"))
        .env("COSHELL_TRAILING_NEWLINES", "keep")
        .env("COSHELL_EVENT", "both")
        .envs(environment.iter().copied());
    let folder = TaskRoot::new();
    let stdin = File::open(folder.write("event", event)).expect("the event");
    command
        .args(options(&text))
        .arg(path_of(builder, name))
        .arg(event.trim_end_matches('\n'))
        .stdin(stdin)
        .process_group(0);
    command.output().expect("bash")
}

/// The options in the first line of a script. `sh` means bash in POSIX mode.
fn options(text: &[u8]) -> Vec<String> {
    let first =
        String::from_utf8_lossy(text.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let mut fields = first
        .strip_prefix("#!")
        .unwrap_or_default()
        .split_whitespace()
        .map(ToOwned::to_owned);
    match fields.next().unwrap_or_default().rsplit('/').next() {
        Some("sh") => std::iter::once("--posix".to_owned())
            .chain(fields)
            .collect(),
        Some("bash") => fields.collect(),
        _ => Vec::new(),
    }
}

/// The files in `folder`, sorted.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository_file(folder)).expect("a folder");
    let paths = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<_> = paths.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// True if the message contains `status N`, where N is not the beginning of a longer number.
fn has_status(message: &str, status: i32) -> bool {
    let words: Vec<_> = message
        .split(|letter: char| !letter.is_alphanumeric())
        .collect();
    let status = status.to_string();
    words
        .windows(2)
        .any(|pair| pair == ["status", status.as_str()])
}

/// Returns everything that is wrong with one fixture. Each event comes twice, to check that nothing is kept.
fn find_problems(fixture: &PathBuf) -> Vec<String> {
    let name = file_name(fixture);
    let mut builder = sandbox_with(&name, fs::read(fixture).expect("a fixture"));
    for sourced in files(&format!("{SCRIPTS}/sourced")) {
        builder = builder.file(&file_name(&sourced), fs::read(&sourced).expect("a fixture"));
    }
    let expected: Vec<_> = EVENTS
        .iter()
        .map(|event| run_in_bash(&builder, &name, event, &[]))
        .collect();
    let sandbox = builder.start();
    let (mut wrong, mut log) = (Vec::new(), String::new());
    for (event, expected) in EVENTS.iter().zip(&expected) {
        for turn in 1..=2 {
            let answer = sandbox.invoke(Event::fresh(event));
            let is_as_expected = match expected.status.code() {
                Some(0) => answer.is_response() && answer.body == expected.stdout,
                Some(status) => {
                    let document = if answer.is_error() {
                        answer.error_document()
                    } else {
                        serde_json::Value::Null
                    };
                    has_status(
                        document["errorMessage"].as_str().unwrap_or_default(),
                        status,
                    )
                }
                None => panic!("{name} was killed: {}", expected.status),
            };
            if !is_as_expected {
                let (status, out) = (expected.status, excerpt(&expected.stdout));
                wrong.push(format!(
                    "{name}, {event:?}, time {turn}:\n  expected {status}, {out}\n  got {} {}",
                    answer.path,
                    excerpt(&answer.body)
                ));
            }
            log.push_str(&String::from_utf8_lossy(&expected.stderr));
        }
    }
    sandbox.api.wait_parked();
    let logged = sandbox.bootstrap.final_log();
    let logged: Vec<_> = logged
        .lines()
        .filter(|line| !line.starts_with("bootstrap: "))
        .collect();
    if logged != log.lines().collect::<Vec<_>>() {
        wrong.push(format!(
            "{name}: the log:\n  expected {log:?}\n  got {:?}",
            logged.join("\n")
        ));
    }
    wrong
}

#[test]
fn scripts_behave_as_in_bash() {
    let fixtures = files(SCRIPTS);
    let wrong: Vec<_> = thread::scope(|scope| {
        let parts = fixtures.chunks(fixtures.len().div_ceil(4));
        let parts: Vec<_> = parts
            .map(|part| scope.spawn(|| part.iter().flat_map(find_problems).collect::<Vec<_>>()))
            .collect();
        let parts = parts.into_iter();
        parts
            .flat_map(|part| part.join().expect("a fixture panicked"))
            .collect()
    });
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_script_larger_than_any_buffer_runs_to_its_end() {
    let functions: String = (0..4000).fold(String::new(), |text, number| {
        text + &format!("f_{number}() {{ # \u{e9}\u{6f22} \n  echo \"{number}: $1\"; }}\n")
    });
    assert!(functions.len() > 128 * 1024);
    let text = format!("#!/bin/bash\n{functions}f_0 \"$1\"\nf_3999 \"$LINENO\"\n");
    let sandbox = script(text).start();
    for event in ["one", "two"] {
        let expected = format!("0: {event}\n3999: 8003\n");
        assert_eq!(String::from_utf8_lossy(&sandbox.respond(event)), expected);
    }
}

#[test]
fn a_script_may_have_any_name() {
    for name in [
        "nightly.sh",
        "jobs/nightly.sh",
        "run",
        "with space.sh",
        "it's.bash",
        "a.b.c",
    ] {
        let builder = sandbox_with(name, "printf '%s' \"$0\"\n");
        let expected = path_of(&builder, name);
        let sandbox = builder.start();
        assert_eq!(String::from_utf8_lossy(&sandbox.respond("x")), expected);
    }
}

#[test]
fn the_name_of_a_file_wins_over_a_function() {
    let sandbox = Sandbox::of(HEALTHY)
        .file("function.handler", "echo \"the file got $(cat)\"\n")
        .start();
    assert_eq!(sandbox.respond("x"), b"the file got x");
    assert_eq!(Sandbox::of(HEALTHY).start().respond("x"), b"healthy x");
}

const PRINTS_ITSELF: &str = r#"
printf '%s\n' "first: $1" "number: $#" "zero: $0" "file: ${BASH_SOURCE[0]} $LINENO" "folder: $PWD $(pwd -P)" \
  "options: $-"
printf 'stdin: '
cat
"#;

#[test]
fn a_script_sees_itself_and_the_event_as_under_bash() {
    let event = "an event\nof lines\n\n";
    for first in [
        "",
        "#!/bin/bash",
        "#!/bin/bash -eu",
        "#!/bin/sh",
        "#! /bin/sh -f",
        "#!/usr/bin/env bash",
    ] {
        let builder = script(format!("{first}{PRINTS_ITSELF}"));
        let (path, root) = (
            path_of(&builder, "legacy.sh"),
            builder.task_root().path().to_path_buf(),
        );
        let expected = run_in_bash(&builder, "legacy.sh", event, &[]).stdout;
        let expected = String::from_utf8_lossy(&expected);
        let sandbox = builder.start();
        let actual = sandbox.respond(event);
        assert_eq!(String::from_utf8_lossy(&actual), expected, "{first}");
        let root = root.display();
        assert!(
            expected.starts_with(&format!(
                "first: an event\nof lines\nnumber: 1\nzero: {path}\nfile: {path} 2\nfolder: {root} {root}\noptions: "
            )) && expected.ends_with("\nstdin: an event\nof lines\n\n"),
            "{expected}"
        );
    }
}

/// For the event `change` it changes its process and its shell in many ways; for any other event it prints them.
const CHANGES: &str = r#"#!/bin/bash
if [[ $1 == change ]]; then
  trap 'echo trapped' USR1 EXIT
  trap '' INT
  exec 7<&0 8>/dev/null
  cd /
  umask 077
  ulimit -S -n 99
  export PATH=/nowhere LEFT=over IFS=:
  alias cat=tac
  ls() { :; }
  set -f -o pipefail
  shopt -s nullglob
  echo "changed"
else
  for ((fd = 0; fd < 256; fd++)); do [[ -e /proc/$$/fd/$fd ]] && echo "descriptor $fd"; done
  pwd
  umask
  ulimit -n
  printf '%q ' "$PATH" "${LEFT-unset}" "$IFS"
  trap -p USR1 INT
  alias
  declare -F
  set +o
  shopt -p
  cat
fi
"#;

#[test]
fn the_next_event_does_not_see_changes_of_a_script() {
    let sandbox = script(CHANGES).start();
    let before = sandbox.respond("show");
    for _ in 0..2 {
        assert_eq!(sandbox.respond("change"), b"changed\ntrapped\n");
        let after = sandbox.respond("show");
        assert_eq!(
            String::from_utf8_lossy(&after),
            String::from_utf8_lossy(&before)
        );
    }
}

#[test]
fn a_counter_starts_anew_for_each_event() {
    let sandbox = script("count=$((${count-0} + 1))\nexport count\necho \"$count\"\n").start();
    for _ in 0..3 {
        assert_eq!(sandbox.respond("x"), b"1\n");
    }
}

#[test]
fn a_script_has_exactly_the_context_variables_of_its_event() {
    let lines = CONTEXT.map(|(variable, _)| {
        format!("printf '%s\\n' \"${{{variable}-unset}} $(printenv {variable} || echo unset)\"\n")
    });
    let value = |header: &str| format!("{{\"of\": \"{header}\", \"it's\": \"$(id) \\\" \u{e9}\"}}");
    for first in ["#!/bin/bash", "#!/bin/sh -eu"] {
        let sandbox = script(format!("{first}\n{}", lines.concat())).start();
        for turn in 0..2 {
            let sent = CONTEXT
                .iter()
                .fold(Event::fresh("x"), |event, (_, header)| {
                    event.header(header, &value(header))
                });
            // The request id is a part of URLs, so it is simple text.
            let (request_id, bare) = (format!("sent-{turn}"), format!("bare-{turn}"));
            let response = sandbox.respond_to(sent.with_request_id(&request_id));
            let others = CONTEXT[1..].iter().map(|(_, header)| value(header));
            let shown = std::iter::once(request_id).chain(others);
            let shown: Vec<_> = shown.map(|value| format!("{value} {value}")).collect();
            let response = String::from_utf8_lossy(&response);
            assert_eq!(response.lines().collect::<Vec<_>>(), shown);
            let response = sandbox.respond_to(Event::bare(&bare, "x"));
            let unset = "unset unset\n".repeat(CONTEXT.len() - 1);
            assert_eq!(
                String::from_utf8_lossy(&response),
                format!("{bare} {bare}\n{unset}")
            );
        }
    }
}

#[test]
fn an_event_of_six_mebibytes_is_exact() {
    const LEN_BYTES: usize = 6 * 1024 * 1024;
    let text = "{\n  \"k\u{e9}y\": \"%s \\\\ $(id) \u{6f22} * 'q'\",\r\n\n\t\"n\": 1\n}, ".bytes();
    let mut event: Vec<u8> = text.cycle().take(LEN_BYTES - 1).collect();
    event.push(b'.');
    // Before 5.0 the system passes the event as an argument, and has a limit for that.
    let is_limited = support::bash_version() < (5, 0);
    for first in ["#!/bin/bash", "#!/bin/sh"] {
        for command in [
            "printf %s \"$1\"",
            "cat",
            "[ ${#1} -gt 5000000 ] && tail -c +1 <&0",
        ] {
            let builder = script(format!("{first}\n{command}\n"));
            if is_limited && command != "cat" {
                continue;
            }
            let sandbox = if is_limited {
                builder.env("COSHELL_EVENT", "stdin").start()
            } else {
                builder.start()
            };
            for _ in 0..2 {
                let response = sandbox.respond(&event);
                assert!(response == event, "{command}: {}", excerpt(&response));
            }
            assert_eq!(
                sandbox.invoke(Event::fresh("small")).is_response(),
                !command.starts_with('[')
            );
        }
    }
}

#[test]
fn nul_bytes_of_an_event_are_on_standard_input_but_not_in_the_argument() {
    let sandbox = script("printf '%s %s|' \"$#\" \"$1\"\ncat\n").start();
    for (event, argument) in [
        (&b"a\0b\n\0c\n"[..], &b"ab\nc"[..]),
        (b"\0", b""),
        (b"a\n\0\n", b"a"),
        (b"", b""),
        (b"\n\n", b""),
        (b"\xff\xfe\x01\x7f\xc3\n", b"\xff\xfe\x01\x7f\xc3"),
    ] {
        let expected = [b"1 ", argument, b"|", event].concat();
        let actual = sandbox.respond(event);
        assert_eq!(
            actual.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }
}

#[test]
fn unread_input_of_a_script_never_reaches_the_next_event() {
    let sandbox =
        script("read -r line\necho \"$line\"\n[[ $line == all ]] && cat\nexit 0\n").start();
    assert_eq!(sandbox.respond("part\nof a secret\n"), b"part\n");
    assert_eq!(sandbox.respond("all\nthe rest"), b"all\nthe rest");
    assert_eq!(sandbox.respond("all"), b"all\n");
}

#[test]
fn newlines_at_the_end_of_a_response_are_dropped_unless_kept() {
    let text = "printf 'a\\n\\0\\n\\n'\n";
    assert_eq!(script(text).start().respond("x"), b"a\n\0\n\n");
    let sandbox = script(text)
        .without_env("COSHELL_TRAILING_NEWLINES")
        .start();
    assert_eq!(sandbox.respond("x"), b"a\n\0");
}

#[test]
fn a_script_that_redirects_its_output_gives_an_empty_response() {
    let sandbox = script("exec >\"$TMPDIR/out\"\necho \"hidden $1\"\n").start();
    assert_eq!(sandbox.respond("x"), b"");
    assert_eq!(sandbox.task_root.read("tmp/out"), "hidden x\n");
    let sandbox = script("exec >&- </dev/null\n:\n").start();
    assert_eq!(sandbox.respond("x"), b"");
    assert_eq!(sandbox.respond("x"), b"");
}

#[test]
fn a_response_that_is_too_large_is_an_error() {
    let sandbox = script("head -c \"$1\" /dev/zero\n").start();
    assert_eq!(
        sandbox.fail("7000000")["errorType"],
        "Function.ResponseSizeTooLarge"
    );
    assert_eq!(sandbox.respond("6291456").len(), 6_291_456);
}

#[test]
fn a_syntax_error_is_an_init_error_that_names_its_line() {
    for first in ["#!/bin/bash", "#!/bin/sh", "#!/bin/bash -eu"] {
        for (text, line) in [
            ("echo a\nif true; then\n", "line 4"),
            ("x() {\n  echo )\n}\n", "line 3"),
            ("echo 'not closed\n\n", "line 2"),
            ("for x in 1; do echo; done done\n", "line 2"),
        ] {
            println!("case: {first} {text:?}");
            let builder = script(format!("{first}\n{text}"));
            let failed = fails(builder, "Runtime.UserCodeSyntaxError", &["legacy.sh", line]);
            assert!(
                !failed.log.contains("\na\n"),
                "a part of the script ran: {}",
                failed.log
            );
        }
    }
}

#[test]
fn text_behind_the_end_of_a_script_is_no_syntax_error() {
    for end in ["exit 0", "exit", "exit $?"] {
        for first in ["#!/bin/bash", "#!/bin/sh -e"] {
            let payload = ")) \"('`${( if then fi ;; <<< && || esac done }\n\u{7f}ELF\0\u{1}\n'";
            let sandbox = script(format!("{first}\necho \"on $1\"\n{end}\n{payload}")).start();
            assert_eq!(sandbox.respond("x"), b"on x\n");
            assert_eq!(sandbox.respond("y"), b"on y\n");
        }
    }
}

#[test]
fn windows_line_ends_in_a_script_are_an_init_error() {
    let builder = script("#!/bin/bash\r\necho on\r\n");
    fails(
        builder,
        "Runtime.HandlerFileLineEnds",
        &["legacy.sh", "CR LF"],
    );
}

#[test]
fn the_error_has_the_exit_status_and_the_log_of_a_script() {
    let sandbox = script("echo partial\necho 'why it failed' >&2\nexit \"$1\"\n").start();
    for status in [1, 3, 255] {
        let document = sandbox.fail(status.to_string());
        assert_eq!(
            document["errorType"], "Function.HandlerExited",
            "{document}"
        );
        let message = document["errorMessage"].as_str().expect("a message");
        assert!(
            has_status(message, status) && message.contains("why it failed"),
            "{message}"
        );
        assert!(!message.contains("partial"), "{message}");
        assert_eq!(sandbox.respond("0"), b"partial\n");
    }
}

#[test]
fn a_killed_script_is_answered_with_an_error_and_the_next_event_runs() {
    for signal in ["KILL", "TERM"] {
        let text = "echo \"got $1\"\n[[ $1 == live ]] || kill -\"$1\" $$\n";
        let sandbox = script(text).start();
        let document = sandbox.fail(signal);
        assert_eq!(
            document["errorType"], "Function.HandlerKilled",
            "{document}"
        );
        let message = document["errorMessage"].as_str().expect("a message");
        assert!(message.contains(&format!("SIG{signal}")), "{message}");
        assert_eq!(sandbox.respond("live"), b"got live\n");
    }
}

#[test]
fn the_error_names_the_command_that_failed_under_errexit_and_its_function() {
    for first in [
        "#!/bin/bash\nset -e",
        "#!/bin/bash -eu\n",
        "#!/bin/sh\nset -eu",
    ] {
        let text =
            format!("{first}\nlooks() {{\n  grep -q needle /dev/null\n}}\nlooks\necho never\n");
        let builder = script(text);
        let path = path_of(&builder, "legacy.sh");
        let sandbox = builder.start();
        for _ in 0..2 {
            let document = sandbox.fail("x");
            let message = document["errorMessage"].as_str().expect("a message");
            assert!(
                message.contains("`grep -q needle /dev/null`") && has_status(message, 1),
                "{message}"
            );
            let frames = document["stackTrace"].as_array().expect("a stack");
            let innermost = frames
                .first()
                .and_then(|frame| frame.as_str())
                .unwrap_or_default();
            assert!(
                innermost.starts_with("looks (") && innermost.contains(&path),
                "{document}"
            );
        }
    }
}

#[test]
fn a_job_with_open_standard_output_neither_delays_an_answer_nor_writes_into_one() {
    let text = r#"
if [[ $1 == leave ]]; then
  { read -r _ <"$LAMBDA_TASK_ROOT/gate"; echo 'late output'; } &
fi
echo "answer to $1"
"#;
    let builder = script(text);
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    assert_eq!(sandbox.respond("leave"), b"answer to leave\n");
    sandbox
        .bootstrap
        .wait_log("is still running after its invocation");
    assert_eq!(sandbox.respond("second"), b"answer to second\n");
    sandbox.task_root.release("gate");
    sandbox.bootstrap.wait_log("late output\n");
    assert_eq!(sandbox.respond("third"), b"answer to third\n");
    assert_eq!(
        sandbox.bootstrap.final_log().matches("bootstrap: ").count(),
        1
    );
}

/// SIGSTOP stops bootstrap as soon as the answer has arrived, so a log line that is missing then was not written before the
/// answer.
#[test]
fn standard_error_is_logged_before_the_answer() {
    for end in ["exit 0", "exit 3", "kill -9 $$", "exec true"] {
        let text = format!(
            "head -c 60000 /dev/zero | tr '\\0' '\\n' >&2\necho 'the last line' >&2\n{end}\n"
        );
        let sandbox = script(text).env("AWS_LAMBDA_LOG_FORMAT", "JSON").start();
        let gate = Gate::new();
        sandbox.api.reply(Reply::Late(gate.clone()));
        sandbox.api.push(Event::new("the-id", "x"));
        sandbox.api.wait_answer("the-id");
        sandbox.bootstrap.signal(Signal::SIGSTOP);
        sandbox.bootstrap.wait_log("the last line");
        sandbox.bootstrap.signal(Signal::SIGCONT);
        gate.open();
    }
}

/// Prints everything that a script can list. `BASH_ARGV` is left out because it shows how bash was started, and `SECONDS`
/// because bash lists it only after it was set, as coshell does for each event.
const LISTS_EVERYTHING: &str = r#"
:
set | grep -vE '^(BASH|BASH_ARGC|BASH_ARGV|PPID|SECONDS|_|COSHELL_TEST_PROCESS)='
compgen -A variable
compgen -A function || :
compgen -A alias || :
declare -F
shopt -p
set +o
env | sort | grep -vE '^(_|COSHELL_TEST_PROCESS)='
bash -c 'compgen -A export; ulimit -a'
trap -p HUP INT QUIT PIPE ALRM TERM CHLD USR1 USR2 XFSZ
grep SigBlk /proc/self/status
echo "$(umask) $SHLVL $BASH_SUBSHELL $LINENO"
"#;

#[test]
fn coshell_is_invisible_in_a_script() {
    for first in ["", "#!/bin/bash -u", "#!/bin/sh", "#! /bin/sh -e"] {
        let builder = script(format!("{first}{LISTS_EVERYTHING}"));
        let address = builder.api().address();
        let environment = [
            ("LAMBDA_RUNTIME_AWS_REQUEST_ID", "the-id"),
            ("AWS_LAMBDA_RUNTIME_API", &address),
            ("COSHELL_TEST_PROCESS", ""),
        ];
        let expected = run_in_bash(&builder, "legacy.sh", "x", &environment);
        assert!(expected.status.success(), "{expected:?}");
        let actual = builder.start().respond_to(Event::bare("the-id", "x"));
        let (expected, actual) = (
            String::from_utf8_lossy(&expected.stdout),
            String::from_utf8_lossy(&actual),
        );
        let added: Vec<_> = actual
            .lines()
            .filter(|line| !expected.lines().any(|other| other == *line))
            .collect();
        let missing: Vec<_> = expected
            .lines()
            .filter(|line| !actual.lines().any(|other| other == *line))
            .collect();
        assert!(
            added.is_empty() && missing.is_empty(),
            "{first}: added {added:#?}, missing {missing:#?}"
        );
        assert_eq!(actual, expected);
        assert!(!actual.contains("driver"), "{actual}");
    }
}

#[test]
fn bash_env_works_as_the_user_set_it() {
    let text = r#"
echo "${BASH_ENV-unset} ${sourced-not sourced}"
printenv BASH_ENV || echo unset
declare -F
bash -c 'echo "${sourced-}"'
"#;
    let sourced = "sourced=\"with $# $1 $0 ${BASH_SOURCE[0]} $-\"\nof_the_user() { :; }\n";
    for first in ["#!/bin/bash", "#!/bin/bash -eu", "#!/bin/sh"] {
        for setting in [
            None,
            Some("$LAMBDA_TASK_ROOT/env.sh"),
            Some("/no/such/file"),
            Some(""),
        ] {
            println!("case: {first} {setting:?}");
            let builder = script(format!("{first}{text}")).file("env.sh", sourced);
            let environment: Vec<_> = setting
                .map(|setting| ("BASH_ENV", setting))
                .into_iter()
                .collect();
            let expected = run_in_bash(&builder, "legacy.sh", "x", &environment).stdout;
            let builder = environment
                .iter()
                .fold(builder, |builder, (name, value)| builder.env(name, value));
            let actual = builder.start().respond("x");
            assert_eq!(
                String::from_utf8_lossy(&actual),
                String::from_utf8_lossy(&expected)
            );
        }
    }
}

#[test]
fn a_script_has_only_the_three_standard_descriptors() {
    let list = "n=0\nwhile [ $n -lt 1024 ]; do [ -e /proc/$1/fd/$n ] && printf '%s ' $n; n=$((n + 1)); done\n";
    for first in ["#!/bin/bash", "#!/bin/sh"] {
        let text = format!(
            "{first}\nset -- $$\n{list}echo\nsh -c 'set -- self\n{}'\n",
            list.replace('\'', "\"")
        );
        let sandbox = script(text).start();
        for _ in 0..2 {
            // Bash itself reads the script from descriptor 255.
            assert_eq!(
                String::from_utf8_lossy(&sandbox.respond("x")),
                "0 1 2 255 \n0 1 2 "
            );
        }
    }
}
