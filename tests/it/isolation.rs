//! Where a function runs, and for how long its shell serves: the warm shell, a fork of it, a shell for each event; the shell
//! that is replaced in time, and the spare that takes its place.
//!
//! A [`Case`] is a handler with a body that does something to its shell. It is probed before and after: a probe shows what a
//! handler can change, and what it gets.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::deadline::check_all;
use support::{
    CONTEXT, Event, LIMIT, Sandbox, SandboxBuilder, children, excerpt, repository_file,
    status_field, wait_until,
};

/// The two that show an event nothing of those before.
const ISOLATED: [&str; 2] = ["subshell", "process"];

fn isolated(isolation: &str, script: &str) -> SandboxBuilder {
    Sandbox::of(script).env("COSHELL_ISOLATION", isolation)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One invocation, which succeeds: its response.
#[track_caller]
fn ask(sandbox: &Sandbox, event: &str) -> String {
    text(&sandbox.respond(event))
}

/// Shows what a handler gets and can change, under the name that it is given.
const PROBE: &str = r#"
file_level=(one 'two words')
probe() {
  local fd fds='' event
  event=$(cat && printf x)
  for ((fd = 0; fd < 256; fd++)); do
    if [[ -e /proc/self/fd/$fd ]]; then fds+=" $fd"; fi
  done
  printf '%s\n' "argument $*" "stdin ${event%x}" "id $(printenv LAMBDA_RUNTIME_AWS_REQUEST_ID)" "descriptors$fds" \
    "inherited $(ls /proc/self/fd | tr '\n' ' ')" "folder $PWD $(pwd -P)" "umask $(umask)" "options $-" "zero $0" \
    "functions ${FUNCNAME[*]} of $(declare -F | tr '\n' ' ')" "path $PATH" "limit $(ulimit -S -n)" "level $BASH_SUBSHELL" \
    "kept ${kept-nothing} ${LEFT-nothing} $OPTIND $(declare -p file_level)" "positional $#" "jobs $(jobs)" \
    "shell $$"
  printf 'IFS %q\n' "${IFS-unset}"
  set +o
  shopt -p || :
  trap -p
  alias -p
  enable -a
  hash -l 2>&1 || :
  printf 'end of %s\n' "$1"
}
deep() {
  if (($1 == 0)); then "${@:2}"; else deep $(($1 - 1)) "${@:2}"; fi
}
"#;

/// A handler that does something to its shell.
struct Case {
    body: &'static str,
    expected: Expected,
}

enum Expected {
    Response(&'static str),
    /// The errorType, empty if bash cannot tell it from others, and parts of the message.
    Failure(&'static str, &'static [&'static str]),
}

fn responds(body: &'static str, response: &'static str) -> Case {
    Case {
        body,
        expected: Expected::Response(response),
    }
}

fn fails(body: &'static str, error_type: &'static str, parts: &'static [&'static str]) -> Case {
    Case {
        body,
        expected: Expected::Failure(error_type, parts),
    }
}

/// A sandbox whose handler does what `body` says, unless it is probed.
fn probed(isolation: &str, body: &str) -> Sandbox {
    let script = format!(
        "{PROBE}handler() {{\n  case $1 in probe-*) probe \"$@\"; return ;; esac\n  kept=yes\n  {body}\n}}\n"
    );
    isolated(isolation, &script)
        .file("lib.sh", ":\nexit 7\n")
        .start()
}

/// What it shows, and the shell that does.
#[track_caller]
fn probe(sandbox: &Sandbox, number: usize) -> (String, String) {
    let name = format!("probe-{number}");
    let mut shown = text(&sandbox.respond_to(Event::new(&name, &name)));
    assert!(shown.ends_with(&format!("end of {name}")), "{shown}");
    let shell = shown.find("\nshell ").expect("a probe tells its shell");
    let end = shell + 1 + shown[shell + 1..].find('\n').expect("another line");
    let shell = shown.drain(shell..end).collect();
    (shown, shell)
}

/// Runs the case between probes, which have to show the same.
fn check(isolation: &str, case: &Case) {
    let sandbox = probed(isolation, case.body);
    let (before, shell) = probe(&sandbox, 1);
    let inherits = "\ninherited 0 1 2 3 \n";
    assert!(before.contains(inherits), "a program gets more: {before}");
    let answer = sandbox.invoke(Event::fresh("bad"));
    let told = excerpt(&answer.body);
    match case.expected {
        Expected::Response(response) => {
            let is_right = answer.is_response() && answer.body == response.as_bytes();
            assert!(is_right, "{told}, and not {response:?}");
        }
        Expected::Failure(error_type, parts) => {
            assert!(answer.is_error(), "{told}");
            let document = answer.error_document();
            let is_right = error_type.is_empty() || document["errorType"] == error_type;
            assert!(is_right, "not {error_type}: {document}");
            let message = document["errorMessage"].as_str().unwrap_or_default();
            for part in parts {
                assert!(message.contains(part), "no {part:?} in {message:?}");
            }
            assert!(!message.contains("never"), "{message:?}");
        }
    }
    for number in 2..4 {
        let expected = before.replace("probe-1", &format!("probe-{number}"));
        let (after, now) = probe(&sandbox, number);
        assert!(after == expected, "{}", differences(&expected, &after));
        assert_eq!(
            now == shell,
            isolation == "subshell",
            "{now}, and {shell} before"
        );
    }
    let log = sandbox.bootstrap.final_log();
    for ours in ["__driver_", "/dev/fd/", "builtin trap"] {
        assert!(!log.contains(ours), "{ours} in the log: {log}");
    }
}

fn differences(expected: &str, got: &str) -> String {
    let pairs = expected.lines().zip(got.lines());
    let different = pairs.filter(|(expected, got)| expected != got);
    let lines: Vec<_> = different
        .map(|(expected, got)| format!("expected {expected}\n     got {got}"))
        .collect();
    format!("a probe differs:\n{}", lines.join("\n"))
}

const EXITED: &str = "Function.HandlerExited";
const RETURNED: &str = "Function.HandlerFailed";
const COMMAND: &str = "Function.CommandFailed";

/// What a handler does to a shell that is its own.
#[rustfmt::skip]
const CHANGES: &[(&str, &str)] = &[
    ("x=1; export LEFT=over; kept=no; unset file_level; printf on", "on"),
    ("file_level+=(three); readonly file_level; declare -r kept; printf '%s' \"${#file_level[@]}\"", "3"),
    ("probe() { :; }; handler() { :; }; cat() { :; }; unset -f deep; printf on", "on"),
    ("cd /; umask 077; IFS=,; printf '%s' \"$PWD\"", "/"),
    ("set -f -o noclobber +e; shopt -s nullglob extdebug lastpipe; shopt -u inherit_errexit; printf on", "on"),
    ("trap 'printf never' USR1; trap '' INT QUIT HUP; trap : DEBUG RETURN; printf on", "on"),
    ("alias ls='printf never'; enable -n times; hash -p /bin/true ls; echo -n on", "on"),
    ("exec 3</dev/null 7>/dev/null {fd}</dev/null; printf on", "on"),
    ("exec >/dev/null; printf hidden", ""),
    ("exec <&- 2>/dev/null; printf on", "on"),
    ("ulimit -S -n 20; printf on", "on"),
    ("PATH=/nowhere; set -- a b c; OPTIND=5; HOME=/; SECONDS=99; printf '%s' $#", "3"),
    ("readonly LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_TRACE_ID IFS PATH __driver_kind; printf on", "on"),
    ("unset -v LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_TRACE_ID; declare -i LAMBDA_RUNTIME_DEADLINE_MS; printf on", "on"),
    ("coproc cat; exec 8>&\"${COPROC[1]}\"; kill \"$COPROC_PID\"; printf on", "on"),
    ("set -o posix; printf on", "on"),
    ("printf out; exit 0; printf never", "out"),
    ("printf out; exit", "out"),
    ("printf out; return 0; printf never", "out"),
    ("x=$(exit 3) || printf '%s' $?; (exit 4) || printf ' %s' $?", "3 4"),
    ("false || :; ! true || if false; then :; fi; printf on", "on"),
    ("exec printf '%s' program", "program"),
    ("printf before; exec printf ' after'", "before after"),
    ("trap 'printf \" trap %s\" $?' EXIT; printf out", "out trap 0"),
    ("trap 'printf trapped' USR1; kill -USR1 $BASHPID; printf ' on'", "trapped on"),
];

#[rustfmt::skip]
fn cases_of_a_subshell() -> Vec<Case> {
    vec![
        responds("for fd in {3..255}; do eval \"exec $fd>&-\"; done; printf on", "on"),
        responds("exec 60<&-; printf on", "on"),
        responds("enable -n printf builtin; echo -n on", "on"),
        responds("builtin() { printf never; }; printf() { echo -n mine; }; printf x", "mine"),
        responds("trap 'printf \" trap\"; exit 0' EXIT; printf out; exit 3", "out trap"),
        responds("trap 'printf \" trap\"; exit 0' ERR; printf out; false; printf never", "out trap"),

        fails("printf out; exit 3; printf never", EXITED, &["handler exited with status 3 in handler (", "function.sh:"]),
        fails("leave() { exit 250; printf never; }; deep 9 leave", EXITED, &["status 250 in leave ("]),
        fails("false || exit; printf never", EXITED, &["status 1"]),
        fails("set -o posix; exit 6; printf never", EXITED, &["status 6"]),
        fails("source \"$LAMBDA_TASK_ROOT/lib.sh\"; printf never", "", &["status 7", "lib.sh"]),
        fails("eval 'exit 3'; printf never", "", &["status 3 in handler ("]),
        fails("builtin exit 5; printf never", "", &["status 5 in handler ("]),
        fails("trap 'exit 9' EXIT; printf out", "", &["status 9"]),
        fails("return 4; printf never", RETURNED, &["handler returned status 4"]),
        fails("[[ $1 == other ]] && printf never", RETURNED, &["handler returned status 1"]),
        fails("kill -9 $BASHPID; printf never", RETURNED, &["handler returned status 137 (SIGKILL)"]),
        fails("kill -SEGV $BASHPID; printf never", RETURNED, &["handler returned status 139 (SIGSEGV)"]),
        fails("kill $BASHPID; printf never", RETURNED, &["handler returned status 143 (SIGTERM)"]),
        fails("printf out; false; printf never", COMMAND, &["`false` ended with status 1 in handler (", "function.sh:"]),
        fails("looks() { grep -q x /no/such/file; printf never; }; deep 2 looks", COMMAND, &["`grep -q x /no/such/file` ended with status 2 in looks (", "No such file"]),
        fails("x=$(printf inner; false); printf never", COMMAND, &["`x=$(printf inner; false)` ended with status 1"]),
        fails("false | cat; printf never", COMMAND, &["status 1"]),
        fails("(exit 3); printf never", COMMAND, &["status 3"]),
        fails("exec no-such-command; printf never", COMMAND, &["`exec no-such-command` ended with status 127"]),
        fails("printf '%s' \"$no_such_name\"; printf never", "", &["no_such_name: unbound variable", "in handler ("]),
        fails("printf '%s' \"${no_such_name:?is needed}\"; printf never", "", &["no_such_name: is needed", "in handler ("]),
        fails("readonly kept; kept=2; printf never", "", &["kept: readonly variable"]),
        fails("printf '%s' $((1 / 0)); printf never", "", &["division by 0"]),
        fails("trap 'printf trapped >&2' ERR; false; printf never", COMMAND, &["`false` ended with status 1", "trapped"]),
        fails("ulimit -s 512; forever() { forever; }; forever", RETURNED, &["(SIGSEGV)"]),
    ]
}

#[test]
fn nothing_that_a_handler_does_in_a_subshell_is_seen_by_the_next_event() {
    let changes = CHANGES.iter();
    let changes = changes.map(|(body, response)| responds(body, response));
    let cases: Vec<_> = changes.chain(cases_of_a_subshell()).collect();
    check_all(
        &cases,
        |case| case.body.to_owned(),
        |case| check("subshell", case),
    );
}

#[test]
fn nothing_that_a_handler_does_in_a_process_is_seen_by_the_next_event() {
    let changes = CHANGES.iter();
    let mut cases: Vec<_> = changes
        .map(|(body, response)| responds(body, response))
        .collect();
    cases.extend([
        fails("exit 3", EXITED, &["status 3"]),
        fails("false; printf never", COMMAND, &["`false`"]),
        fails("kill -9 $$", "Function.ShellKilled", &["SIGKILL"]),
        fails("builtin exit 5", "Function.ShellExited", &["status 5"]),
    ]);
    check_all(
        &cases,
        |case| case.body.to_owned(),
        |case| check("process", case),
    );
}

/// How one handler fails: all that the caller is told, with the task root under one name.
#[track_caller]
fn document(isolation: &str, body: &str) -> String {
    let script = format!(
        "inner() {{\n  {body}\n  printf never\n}}\nouter() {{\n  inner\n}}\nhandler() {{\n  printf out\n  outer\n}}\n"
    );
    let sandbox = isolated(isolation, &script).start();
    let document = sandbox.fail("an event").to_string();
    let root = sandbox.task_root.path().to_string_lossy().into_owned();
    document.replace(&root, "ROOT")
}

#[test]
fn a_failure_in_a_subshell_is_told_as_in_the_warm_shell() {
    for body in [
        "exit 3",
        "false || exit",
        "false",
        "grep -q needle /dev/null",
        "x=$(printf inner; exit 6)",
        "(exit 7)",
        "no-such-command",
        "true | exit 8 | true",
        "sh -c 'echo why >&2; exit 9'",
        "read -r x </no/such/file",
        "while :; do for x in 1 2; do if exit 9; then :; fi; done; done",
    ] {
        assert_eq!(document("subshell", body), document("none", body), "{body}");
    }
}

#[test]
fn a_failure_in_a_process_is_told_as_in_the_warm_shell() {
    for body in [
        "exit 3",
        "false",
        "printf '%s' \"$no_such_name\"",
        ": \"${no_such_name:?is needed}\"",
        "kill -9 $$",
        "kill $$",
        "exec false",
        "exec no-such-command",
        "builtin exit 5",
        "trap 'exit 6' EXIT",
        "set -o posix; exit 7",
        "printf '%s' $((1 / 0))",
        "readonly x=1; x=2",
        "trap 'echo trapped >&2' ERR; false",
    ] {
        assert_eq!(document("process", body), document("none", body), "{body}");
    }
}

/// `$$`, how deep in subshells, `$BASHPID`, how often it was called, and what a name is.
const SHOWS_ITSELF: &str = "
echo sourced >>\"$LAMBDA_TASK_ROOT/sourced\"
count=0
handler() {
  count=$((count + 1))
  if [[ $1 == fail ]]; then false; fi
  printf '%s %s %s %s %s' \"$$\" \"$BASH_SUBSHELL\" \"$BASHPID\" \"$count\" \"$(type -t exit)\"
}";

/// What [`SHOWS_ITSELF`] says of five invocations, the third of which fails and says nothing.
fn four_of_five(sandbox: &Sandbox) -> Vec<Vec<String>> {
    let events = ["first", "second", "fail", "fourth", "fifth"];
    let mut shown = Vec::new();
    for event in events {
        if event == "fail" {
            sandbox.fail(event);
        } else {
            let response = ask(sandbox, event);
            shown.push(response.split(' ').map(ToOwned::to_owned).collect());
        }
    }
    sandbox.api.wait_parked();
    shown
}

/// The first of them; it is a child of bootstrap still.
#[track_caller]
fn shell_of(sandbox: &Sandbox, shown: &[Vec<String>]) -> String {
    let shell = shown[0][0].clone();
    let shells = children(sandbox.bootstrap.pid());
    let is_child = shells.iter().any(|pid| pid.to_string() == shell);
    assert!(is_child, "{shell} is none of {shells:?}");
    shell
}

fn sourced(sandbox: &Sandbox) -> usize {
    sandbox.task_root.read("sourced").lines().count()
}

#[test]
fn a_function_runs_in_the_warm_shell_itself_by_default() {
    let restored = ["1", "1", "1", "1"];
    for (builder, counts) in [
        (Sandbox::of(SHOWS_ITSELF), restored),
        (isolated("restore", SHOWS_ITSELF), restored),
        (isolated("none", SHOWS_ITSELF), ["1", "2", "4", "5"]),
    ] {
        let sandbox = builder.start();
        let shown = four_of_five(&sandbox);
        let shell = shell_of(&sandbox, &shown);
        for (shown, count) in shown.iter().zip(counts) {
            assert_eq!(*shown, [&shell, "0", &shell, count, "function"]);
        }
        assert_eq!(sourced(&sandbox), 1);
    }
}

#[test]
fn a_function_runs_in_a_fork_of_the_warm_shell_with_subshells() {
    let sandbox = isolated("subshell", SHOWS_ITSELF).start();
    let shown = four_of_five(&sandbox);
    let shell = shell_of(&sandbox, &shown);
    for shown in &shown {
        let [pid, level, fork, count, exit] = shown.as_slice() else {
            panic!("{shown:?}");
        };
        assert_eq!([pid, level, count, exit], [&shell, "1", "1", "builtin"]);
        assert_ne!(*fork, shell);
    }
    let forks: BTreeSet<_> = shown.iter().map(|shown| &shown[2]).collect();
    assert_eq!(forks.len(), 4, "each has its own: {shown:?}");
    assert_eq!(sourced(&sandbox), 1);
}

#[test]
fn a_function_runs_in_a_shell_of_its_own_with_processes() {
    for spare in ["on", "off"] {
        let builder = isolated("process", SHOWS_ITSELF).env("COSHELL_SPARE", spare);
        let sandbox = builder.start();
        let shown = four_of_five(&sandbox);
        for shown in &shown {
            let [pid, level, itself, count, exit] = shown.as_slice() else {
                panic!("{shown:?}");
            };
            assert_eq!([itself, level, count, exit], [pid, "0", "1", "function"]);
        }
        let shells: BTreeSet<_> = shown.iter().map(|shown| &shown[0]).collect();
        assert_eq!(shells.len(), 4, "each has its own: {shown:?}");
        // Once for each of five, and for the one that may come.
        assert_eq!(sourced(&sandbox), 6);
        let shells = children(sandbox.bootstrap.pid());
        assert_eq!(shells.len(), 1, "those before have ended: {shells:?}");
    }
}

#[test]
fn what_the_file_made_is_there_for_each_event_as_it_was() {
    let script = "
counter=5
table=(a b)
declare -A map=([k]=v)
export EXPORTED=file
made() { printf 'by the file'; }
cd /
umask 027
handler() {
  printf '%s %s %s %s %s %s %s' \"$counter\" \"${table[*]}\" \"${map[k]}\" \"$(printenv EXPORTED)\" \"$(made)\" \"$PWD\" \"$(umask)\"
  counter=$((counter + 1)) EXPORTED=handler
  table+=(c)
  map[k]=w
  made() { printf 'by the handler'; }
  cd /tmp
  umask 077
}";
    for isolation in ISOLATED {
        let sandbox = isolated(isolation, script).start();
        for _ in 0..3 {
            assert_eq!(ask(&sandbox, "x"), "5 a b v file by the file / 0027");
        }
    }
    // The contrary, so that the above is no accident.
    let sandbox = isolated("none", script).start();
    ask(&sandbox, "x");
    assert_eq!(
        ask(&sandbox, "x"),
        "6 a b c w handler by the handler / 0027"
    );
}

/// bash gives a job /dev/null as its standard input: so one that is left does not hold the event, and costs no shell.
#[test]
fn a_job_reads_nothing_of_the_event_unless_it_is_told_to() {
    let script = "
handler() {
  case $1 in
    read) cat & wait ;;
    told) cat <&0 & wait ;;
    leave) sleep 600 >/dev/null 2>&1 & until [[ $(</proc/$!/comm) == sleep ]]; do :; done ;;
  esac
  printf '|%s' \"$$\"
}";
    for isolation in ["none", "subshell"] {
        let sandbox = isolated(isolation, script).start();
        let shell = ask(&sandbox, "pid");
        assert_eq!(ask(&sandbox, "read"), shell, "{isolation}");
        assert_eq!(ask(&sandbox, "told"), format!("told{shell}"));
        assert_eq!(ask(&sandbox, "leave"), shell);
        assert_eq!(
            ask(&sandbox, "next"),
            shell,
            "it costs a shell with {isolation}"
        );
    }
}

#[test]
fn a_handler_in_a_subshell_that_kills_the_shell_around_it_is_answered_for() {
    let script = "
echo sourced >>\"$LAMBDA_TASK_ROOT/sourced\"
handler() {
  if [[ $1 == kill ]]; then
    kill -9 $$
    read -r x <\"$LAMBDA_TASK_ROOT/gate\"
    printf 'late output\\n'
  fi
  printf '%s' \"$$\"
}";
    let builder = isolated("subshell", script);
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    let before = ask(&sandbox, "pid");
    let document = sandbox.fail("kill");
    assert_eq!(document["errorType"], "Function.ShellKilled", "{document}");
    let message = document["errorMessage"].as_str().unwrap_or_default();
    assert!(message.contains("SIGKILL"), "{message}");
    let after = ask(&sandbox, "pid");
    assert_ne!(before, after);
    assert_eq!(sourced(&sandbox), 2);
    // The fork lives on, as any process that a handler leaves running.
    sandbox.task_root.release("gate");
    sandbox.bootstrap.wait_log("late output\n");
    assert_eq!(ask(&sandbox, "pid"), after);
    sandbox.bootstrap.wait_log("outlives its invocation");
}

const LEAVES_JOB: &str = r#"
handler() {
  if [[ $1 == job ]]; then
    { read -r x <"$LAMBDA_TASK_ROOT/gate"; echo 'late output'; } &
  fi
  printf 'answer to %s' "$1"
}
"#;

#[test]
fn a_job_of_an_isolated_handler_delays_no_answer_and_reaches_none() {
    for isolation in ISOLATED {
        let builder = isolated(isolation, LEAVES_JOB);
        builder.task_root().fifo("gate");
        let sandbox = builder.start();
        assert_eq!(ask(&sandbox, "job"), "answer to job");
        assert_eq!(ask(&sandbox, "second"), "answer to second");
        sandbox.task_root.release("gate");
        sandbox.bootstrap.wait_log("late output\n");
        assert_eq!(ask(&sandbox, "third"), "answer to third");
        let log = sandbox.bootstrap.final_log();
        assert_eq!(log.matches("outlives its invocation").count(), 1, "{log}");
    }
}

#[test]
fn events_are_exact_in_an_isolated_handler() {
    let long = "{\n  \"k\u{e9}y\": \"%s \\\\ $(id) \u{6f22} * 'q'\",\r\n\n\t\"n\": 1\n}, ";
    let of_length = |length: usize| -> Vec<u8> {
        let mut event: Vec<u8> = long.bytes().cycle().take(length).collect();
        event.extend((!event.is_empty()).then_some(b'.'));
        event
    };
    let events = [
        of_length(100 * 1024),
        of_length(0),
        of_length(32),
        of_length(6 * 1024 * 1024 - 1),
        of_length(32),
        b"\n\n".to_vec(),
        b"no newline at all".to_vec(),
        b"a\0b\n\0c\n".to_vec(),
        b"\0".to_vec(),
        b"\xff\xfe\x01\x7f\xc3\n".to_vec(),
        of_length(0),
    ];
    for isolation in ISOLATED {
        for function in ["argument", "input"] {
            let script = "argument() { printf %s \"$1\"; }\ninput() { cat; }\n";
            let sandbox = isolated(isolation, script)
                .handler(&format!("function.{function}"))
                .env("COSHELL_TRAILING_NEWLINES", "keep")
                .start();
            for event in &events {
                let mut expected = event.clone();
                if function == "argument" {
                    expected.retain(|byte| *byte != 0);
                    let end = expected.iter().rposition(|byte| *byte != b'\n');
                    expected.truncate(end.map_or(0, |at| at + 1));
                }
                let got = sandbox.respond(event);
                let (told, wanted) = (excerpt(&got), excerpt(&expected));
                assert!(
                    got == expected,
                    "{isolation} {function}: {told}, and not {wanted}"
                );
            }
        }
    }
}

/// Each variable as bash has it and as a program that it starts gets it; and those that were there when the file was sourced.
const SHOWS_CONTEXT: &str = r#"
early=$(compgen -v | grep -E '^(LAMBDA_RUNTIME_[^D]|LAMBDA_RUNTIME_DE|_X_AMZN)' || :)
handler() {
  local name
  echo "early: $early."
  for name in LAMBDA_RUNTIME_AWS_REQUEST_ID NAMES; do
    printf '%s: %s: %s\n' "$name" "${!name-unset}" "$(printenv "$name" || echo unset)"
  done
}
"#;

#[test]
fn an_isolated_handler_has_the_variables_that_were_sent_exported_and_no_others() {
    // The request id is told from what was sent with it.
    let context = &CONTEXT[1..];
    let names: Vec<_> = context.iter().map(|(variable, _)| *variable).collect();
    let names = names.join(" ");
    let script = SHOWS_CONTEXT.replace("NAMES", &names);
    for isolation in ISOLATED {
        let sandbox = isolated(isolation, &script).start();
        let shows = |event: Event, is_sent: &dyn Fn(&str) -> bool| {
            let id = event.request_id.clone();
            let values = context.iter().map(|(variable, header)| {
                let value = value(header);
                let value = if is_sent(header) { &value } else { "unset" };
                format!("{variable}: {value}: {value}")
            });
            let values = values.collect::<Vec<_>>().join("\n");
            let expected = format!("early: .\nLAMBDA_RUNTIME_AWS_REQUEST_ID: {id}: {id}\n{values}");
            assert_eq!(text(&sandbox.respond_to(event)), expected, "{isolation}");
        };
        let all = || {
            let headers = context.iter();
            headers.fold(Event::fresh("x"), |event, (_, header)| {
                event.header(header, &value(header))
            })
        };
        shows(all(), &|_| true);
        shows(Event::bare("bare", "x"), &|_| false);
        shows(all(), &|_| true);
        for &(_, absent) in context {
            shows(all().without(absent), &|header| header != absent);
        }
        shows(Event::bare("bare-again", "x"), &|_| false);
    }
}

fn value(header: &str) -> String {
    if header.ends_with("Deadline-Ms") {
        "4102444800000".to_owned()
    } else {
        format!("{{\"of\": \"{header}\", \"it's\": \"$(id) \\\" \u{e9}\"}}")
    }
}

/// Of the comparison with the tutorial, those that keep nothing from one event for the next; and some that fail.
const FIXTURES: &[(&str, [&str; 2])] = &[
    (
        "echoes_argument",
        ["hello", "{\"a\": [1, 2],\n \"b\": \"x  y\"}"],
    ),
    (
        "prints_argument",
        [
            "Hello from Container Lambda!",
            "%s \\n $(id) `id` \"q\" 's'",
        ],
    ),
    ("reads_standard_input", ["abc\n", "x"]),
    ("prints_128_kib", ["x", "y"]),
    ("prints_nul", ["x", "y"]),
    ("recurses", ["1", "10"]),
    ("exits_0_in_nested_function", ["a", "b"]),
    ("exits_subshell", ["a", "b"]),
    ("switches_errexit_off", ["a", "no-such-text"]),
    ("prints_in_exit_trap", ["Ada", "Bob"]),
    ("prints_in_exit_trap_after_exit", ["leave", "stay"]),
    ("cleans_up_in_exit_trap", ["x", "a\nb"]),
    ("traps_err", ["x", "y"]),
    ("traps_signal", ["x", "y"]),
    ("traps_return", ["x", "y"]),
    ("isolates_in_subshell", ["x", "y"]),
    ("works_in_temporary_folder", ["x", "y"]),
    ("changes_folder", ["x", "y"]),
    ("finds_everything_as_at_first", ["first", "second"]),
    ("parses_options", ["-v -n Ada rest", "-x -n"]),
    ("sources_library", ["ab", "x y"]),
    ("compares_processes", ["a b", "a c"]),
    ("waits_for_background", ["x", "y"]),
    ("runs_in_parallel", ["x", "y"]),
    ("collects_background_status", ["x", "y"]),
    ("redirects_for_good", ["x", "y"]),
    ("uses_co_process", ["abc", "x y"]),
    ("limits_time", ["x", "y"]),
    ("overrides_commands", ["x", "y"]),
    ("leaves_child_behind", ["x", "y"]),
    ("returns_3", ["x", "y"]),
    ("exits_4", ["x", "y"]),
    ("fails_in_the_middle", ["x", "y"]),
    ("fails_in_substitution", ["x", "y"]),
    ("ends_with_failing_test", ["no", "yes"]),
];

/// What is answered to both events, in that isolation.
fn answers(isolation: &str, handler: &str, events: [&str; 2]) -> [String; 2] {
    let read = |name: &str| {
        let file = repository_file(&format!("tests/fixtures/handlers/{name}"));
        fs::read_to_string(file).expect("a handler")
    };
    let builder = isolated(isolation, &read(&format!("{handler}.sh")))
        .file("lib/strings.sh", read("lib/strings.sh"))
        .file("tmp/here", "");
    let root = builder.task_root().path().to_string_lossy().into_owned();
    let sandbox = builder.env("TMPDIR", format!("{root}/tmp")).start();
    events.map(|event| {
        let answer = sandbox.invoke(Event::fresh(event));
        let kind = if answer.is_error() {
            "error"
        } else {
            "response"
        };
        format!("{kind}: {}", text(&answer.body).replace(&root, "ROOT"))
    })
}

#[test]
fn handlers_that_keep_nothing_answer_the_same_in_every_isolation() {
    check_all(
        FIXTURES,
        |(handler, _)| (*handler).to_owned(),
        |(handler, events)| {
            let expected = answers("none", handler, *events);
            assert!(
                expected
                    .iter()
                    .all(|answer| answer.len() > "response: ".len())
            );
            for isolation in ISOLATED {
                let got = answers(isolation, handler, *events);
                assert!(
                    got == expected,
                    "{isolation}: {got:?}, and not {expected:?}"
                );
            }
        },
    );
}

/// `$$`, how often it was called, and the event.
const COUNTS: &str = "
echo sourced >>\"$LAMBDA_TASK_ROOT/sourced\"
count=0
handler() {
  count=$((count + 1))
  case $1 in die) kill -9 $$ ;; fail) false ;; esac
  printf '%s %s %s' \"$$\" \"$count\" \"$1\"
}";

/// What [`COUNTS`] says of that event: the shell, and the count.
#[track_caller]
fn counted(sandbox: &Sandbox, event: &str) -> (String, String) {
    let response = ask(sandbox, event);
    let mut words = response.split(' ').map(ToOwned::to_owned);
    let mut word = || words.next().unwrap_or_default();
    let found = (word(), word());
    assert_eq!(word(), event);
    found
}

#[test]
fn a_shell_is_replaced_after_so_many_invocations() {
    for (isolation, spare) in [
        ("none", "on"),
        ("none", "off"),
        ("subshell", "on"),
        ("subshell", "off"),
    ] {
        let sandbox = isolated(isolation, COUNTS)
            .env("COSHELL_RECYCLE_AFTER", "3")
            .env("COSHELL_SPARE", spare)
            .start();
        let mut shells = Vec::new();
        for number in 0..11 {
            // One that fails has served as well.
            if number == 4 {
                sandbox.fail("fail");
                continue;
            }
            let (shell, count) = counted(&sandbox, &format!("event-{number}"));
            let expected = if isolation == "none" {
                number % 3 + 1
            } else {
                1
            };
            assert_eq!(
                count,
                expected.to_string(),
                "{isolation} {spare}: event {number}"
            );
            shells.push((number / 3, shell));
        }
        sandbox.api.wait_parked();
        let of_turn: BTreeSet<_> = shells.iter().collect();
        let distinct: BTreeSet<_> = shells.iter().map(|(_, shell)| shell).collect();
        assert_eq!(of_turn.len(), 4, "one for three events: {shells:?}");
        assert_eq!(distinct.len(), 4, "none twice: {shells:?}");
        assert_eq!(sourced(&sandbox), 4);
        let calls = sandbox.api.calls();
        assert!(!calls.iter().any(support::Call::is_init_error));
        let log = sandbox.bootstrap.final_log();
        assert_eq!(log.matches("bootstrap: ").count(), 1, "{log}");
    }
}

#[test]
fn a_shell_that_died_gives_the_next_one_its_full_time() {
    let sandbox = isolated("none", COUNTS)
        .env("COSHELL_RECYCLE_AFTER", "3")
        .start();
    counted(&sandbox, "one");
    sandbox.fail("die");
    let shells: Vec<_> = (0..4).map(|_| counted(&sandbox, "x")).collect();
    let counts: Vec<_> = shells.iter().map(|(_, count)| count.as_str()).collect();
    assert_eq!(counts, ["1", "2", "3", "1"]);
}

#[test]
fn what_a_worn_shell_left_running_goes_on_and_prints_to_the_log() {
    let builder = isolated("none", LEAVES_JOB).env("COSHELL_RECYCLE_AFTER", "1");
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    assert_eq!(ask(&sandbox, "job"), "answer to job");
    assert_eq!(ask(&sandbox, "second"), "answer to second");
    sandbox.task_root.release("gate");
    sandbox.bootstrap.wait_log("late output\n");
    assert_eq!(ask(&sandbox, "third"), "answer to third");
}

/// The shells of a sandbox, with those that have ended.
fn shells(sandbox: &Sandbox) -> Vec<u32> {
    children(sandbox.bootstrap.pid())
}

/// The one shell that does not serve.
#[track_caller]
fn spare_of(sandbox: &Sandbox, serving: &str) -> u32 {
    sandbox.api.wait_parked();
    let mut others = shells(sandbox);
    others.retain(|pid| pid.to_string() != serving);
    let &[spare] = others.as_slice() else {
        panic!("no single spare: {others:?} beside {serving}");
    };
    spare
}

#[test]
fn a_spare_shell_takes_the_place_of_one_that_dies() {
    for isolation in ["none", "subshell"] {
        let sandbox = isolated(isolation, COUNTS).start();
        sandbox.api.wait_parked();
        assert_eq!(
            shells(&sandbox).len(),
            1,
            "no spare before the first answer"
        );
        let (mut serving, _) = counted(&sandbox, "first");
        for turn in 1..4 {
            let spare = spare_of(&sandbox, &serving);
            assert_eq!(
                sourced(&sandbox),
                turn,
                "the spare has not sourced the file"
            );
            die(&sandbox, isolation);
            sandbox.api.wait_parked();
            assert_eq!(
                sourced(&sandbox),
                turn + 1,
                "before the next event is asked for"
            );
            let (shell, count) = counted(&sandbox, "next");
            assert_eq!(
                (shell, count.as_str()),
                (spare.to_string(), "1"),
                "{isolation}"
            );
            serving = spare.to_string();
        }
    }
}

/// Has the handler kill its shell. A fork of it may have answered by the time that shows.
fn die(sandbox: &Sandbox, isolation: &str) {
    let answer = sandbox.invoke(Event::fresh("die"));
    if isolation == "none" {
        assert_eq!(answer.error_document()["errorType"], "Function.ShellKilled");
    }
}

#[test]
fn a_spare_shell_is_kept_while_it_is_not_needed() {
    let sandbox = isolated("none", COUNTS).start();
    let (serving, _) = counted(&sandbox, "first");
    let spare = spare_of(&sandbox, &serving);
    for _ in 0..5 {
        assert_eq!(counted(&sandbox, "x").0, serving);
        assert_eq!(spare_of(&sandbox, &serving), spare);
    }
}

#[test]
fn a_spare_shell_that_was_killed_costs_nothing() {
    for isolation in ["none", "subshell"] {
        let sandbox = isolated(isolation, COUNTS).start();
        let (serving, _) = counted(&sandbox, "first");
        let spare = spare_of(&sandbox, &serving);
        let pid = Pid::from_raw(i32::try_from(spare).expect("a pid"));
        kill(pid, Signal::SIGKILL).expect("cannot kill the spare");
        let is_over = || status_field(spare, "State").is_none_or(|state| state.starts_with('Z'));
        wait_until(is_over, LIMIT);
        assert_eq!(counted(&sandbox, "second").0, serving);
        die(&sandbox, isolation);
        let (shell, count) = counted(&sandbox, "next");
        assert!(shell != serving && shell != spare.to_string(), "{shell}");
        assert_eq!(count, "1");
        assert_eq!(sourced(&sandbox), 2);
        let log = sandbox.bootstrap.final_log();
        assert_eq!(log.matches("bootstrap: ").count(), 1, "{log}");
    }
}

#[test]
fn there_is_one_shell_without_a_spare() {
    for isolation in ["none", "subshell"] {
        let builder = isolated(isolation, COUNTS).env("COSHELL_SPARE", "off");
        let sandbox = builder.start();
        for _ in 0..3 {
            let (serving, _) = counted(&sandbox, "x");
            sandbox.api.wait_parked();
            assert_eq!(shells(&sandbox), [serving.parse::<u32>().expect("a pid")]);
        }
        die(&sandbox, isolation);
        let (serving, count) = counted(&sandbox, "next");
        assert_eq!(count, "1");
        sandbox.api.wait_parked();
        assert_eq!(shells(&sandbox), [serving.parse::<u32>().expect("a pid")]);
    }
}
