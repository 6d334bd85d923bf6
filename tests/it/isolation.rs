//! The isolations of functions: in the warm shell, in a fork of it, or in a new shell for each event. Also when a shell is
//! replaced, and the spare shell that takes its place.
//!
//! A [`Case`] is a handler that changes its shell. Before and after, a probe prints everything that a handler can change, and
//! everything that it gets.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::{Signal, kill};

use crate::deadline::check_all;
use support::{
    CONTEXT, Event, LIMIT, Sandbox, SandboxBuilder, as_pid, children, excerpt, repository_file,
    status_field, wait_until,
};

/// The isolations in which an event sees nothing of earlier ones.
const ISOLATED: [&str; 2] = ["subshell", "process"];

fn isolated(isolation: &str, script: &str) -> SandboxBuilder {
    Sandbox::of(script).env("COSHELL_ISOLATION", isolation)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs one invocation that must succeed. Returns the response.
#[track_caller]
fn respond_text(sandbox: &Sandbox, event: &str) -> String {
    text(&sandbox.respond(event))
}

/// Prints what a handler gets and can change. `$1` is the name of the probe.
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

/// A handler that changes its shell.
struct Case {
    body: &'static str,
    expected: Expected,
}

enum Expected {
    Response(&'static str),
    /// The errorType, or empty if bash cannot distinguish it, and parts of the message.
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

/// A sandbox whose handler runs `body`, or the probe for an event `probe-...`.
fn sandbox_with_probe(isolation: &str, body: &str) -> Sandbox {
    let script = format!(
        "{PROBE}handler() {{\n  case $1 in probe-*) probe \"$@\"; return ;; esac\n  kept=yes\n  {body}\n}}\n"
    );
    isolated(isolation, &script)
        .file("lib.sh", ":\nexit 7\n")
        .start()
}

/// The output of a probe, and the line in it that names the shell.
#[track_caller]
fn probe(sandbox: &Sandbox, number: usize) -> (String, String) {
    let name = format!("probe-{number}");
    let mut shown = text(&sandbox.respond_to(Event::new(&name, &name)));
    assert!(shown.ends_with(&format!("end of {name}")), "{shown}");
    let shell = shown.find("\nshell ").expect("the line of the shell");
    let end = shell + 1 + shown[shell + 1..].find('\n').expect("another line");
    let shell = shown.drain(shell..end).collect();
    (shown, shell)
}

/// Runs the case between probes, whose outputs must be equal.
fn check(isolation: &str, case: &Case) {
    let sandbox = sandbox_with_probe(isolation, case.body);
    let (before, shell) = probe(&sandbox, 1);
    let inherits = "\ninherited 0 1 2 3 \n";
    assert!(
        before.contains(inherits),
        "a program inherits more: {before}"
    );
    let answer = sandbox.invoke(Event::fresh("bad"));
    let body = excerpt(&answer.body);
    match case.expected {
        Expected::Response(response) => {
            let is_right = answer.is_response() && answer.body == response.as_bytes();
            assert!(is_right, "{body}, not {response:?}");
        }
        Expected::Failure(error_type, parts) => {
            assert!(answer.is_error(), "{body}");
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
        assert!(
            after == expected,
            "{}",
            describe_differences(&expected, &after)
        );
        assert_eq!(
            now == shell,
            isolation == "subshell",
            "{now}, before {shell}"
        );
    }
    let log = sandbox.bootstrap.final_log();
    for internal in ["__driver_", "/dev/fd/", "builtin trap"] {
        assert!(!log.contains(internal), "{internal} in the log: {log}");
    }
}

fn describe_differences(expected: &str, actual: &str) -> String {
    let pairs = expected.lines().zip(actual.lines());
    let different = pairs.filter(|(expected, actual)| expected != actual);
    let lines: Vec<_> = different
        .map(|(expected, actual)| format!("expected {expected}\n     got {actual}"))
        .collect();
    format!("a probe differs:\n{}", lines.join("\n"))
}

const EXITED: &str = "Function.HandlerExited";
const RETURNED: &str = "Function.HandlerFailed";
const COMMAND: &str = "Function.CommandFailed";

/// Changes that a handler makes to a shell of its own, each with the response.
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
    ("readonly LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_TRACE_ID IFS PATH ${!__driver_*}; printf on", "on"),
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
fn the_next_event_sees_no_change_that_a_handler_made_in_a_subshell() {
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
fn the_next_event_sees_no_change_that_a_handler_made_in_a_process() {
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

/// The error document of a handler with this body. The path of the task root is replaced by ROOT.
#[track_caller]
fn error_document(isolation: &str, body: &str) -> String {
    let script = format!(
        "inner() {{\n  {body}\n  printf never\n}}\nouter() {{\n  inner\n}}\nhandler() {{\n  printf out\n  outer\n}}\n"
    );
    let sandbox = isolated(isolation, &script).start();
    let document = sandbox.fail("an event").to_string();
    let root = sandbox.task_root.path().to_string_lossy().into_owned();
    document.replace(&root, "ROOT")
}

#[test]
fn an_error_in_a_subshell_is_the_same_as_in_the_warm_shell() {
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
        assert_eq!(
            error_document("subshell", body),
            error_document("none", body),
            "{body}"
        );
    }
}

#[test]
fn an_error_in_a_process_is_the_same_as_in_the_warm_shell() {
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
        assert_eq!(
            error_document("process", body),
            error_document("none", body),
            "{body}"
        );
    }
}

/// Prints `$$`, the subshell level, `$BASHPID`, how often the handler was called in this shell, and the type of `exit`.
const PRINTS_ITSELF: &str = "
echo sourced >>\"$LAMBDA_TASK_ROOT/sourced\"
count=0
handler() {
  count=$((count + 1))
  if [[ $1 == fail ]]; then false; fi
  printf '%s %s %s %s %s' \"$$\" \"$BASH_SUBSHELL\" \"$BASHPID\" \"$count\" \"$(type -t exit)\"
}";

/// Runs five invocations of [`PRINTS_ITSELF`], the third of which fails. Returns the fields of the four responses.
fn invoke_five_times(sandbox: &Sandbox) -> Vec<Vec<String>> {
    let events = ["first", "second", "fail", "fourth", "fifth"];
    let mut shown = Vec::new();
    for event in events {
        if event == "fail" {
            sandbox.fail(event);
        } else {
            let response = respond_text(sandbox, event);
            shown.push(response.split(' ').map(ToOwned::to_owned).collect());
        }
    }
    sandbox.api.wait_parked();
    shown
}

/// The shell of the first response. Asserts that it is still a child of bootstrap.
#[track_caller]
fn first_shell(sandbox: &Sandbox, shown: &[Vec<String>]) -> String {
    let shell = shown[0][0].clone();
    let shells = children(sandbox.bootstrap.pid());
    let is_child = shells.iter().any(|pid| pid.to_string() == shell);
    assert!(is_child, "{shell} is not among {shells:?}");
    shell
}

/// How often the file was sourced.
fn source_count(sandbox: &Sandbox) -> usize {
    sandbox.task_root.read("sourced").lines().count()
}

#[test]
fn by_default_a_function_runs_in_the_warm_shell_itself() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    let restored = ["1", "1", "1", "1"];
    for (builder, counts) in [
        (Sandbox::of(PRINTS_ITSELF), restored),
        (isolated("restore", PRINTS_ITSELF), restored),
        (isolated("none", PRINTS_ITSELF), ["1", "2", "4", "5"]),
    ] {
        let sandbox = builder.start();
        let shown = invoke_five_times(&sandbox);
        let shell = first_shell(&sandbox, &shown);
        for (shown, count) in shown.iter().zip(counts) {
            assert_eq!(*shown, [&shell, "0", &shell, count, "function"]);
        }
        assert_eq!(source_count(&sandbox), 1);
    }
}

/// Bash before 4.4 cannot keep a shell: that is a warning at the init, once, and each event runs in a fork.
#[test]
fn isolation_none_is_a_warning_on_a_bash_that_always_forks() {
    let warning = "COSHELL_ISOLATION=none needs bash 4.4 or later, and this is bash 4.";
    let forks =
        "each event runs in a fork of the shell, and only variables that lambda_keep names live on";
    let script = "count=0; handler() { count=$((count + 1)); printf %s \"$count\"; }";
    for isolation in ["none", "restore", "subshell"] {
        let sandbox = isolated(isolation, script).start();
        sandbox.api.wait_parked();
        let shows = |text: &str| text.matches(warning).count();
        let expected = usize::from(isolation == "none" && support::always_forks());
        let log = text(&sandbox.bootstrap.log_bytes());
        assert_eq!(shows(&log), expected, "{isolation}: {log}");
        assert_eq!(log.contains(forks), expected == 1, "{isolation}: {log}");
        sandbox.respond("");
        let count = sandbox.respond("");
        let keeps = isolation == "none" && !support::always_forks();
        assert_eq!(text(&count), if keeps { "2" } else { "1" }, "{isolation}");
        // A shell that takes over does not warn again.
        sandbox.bootstrap.kill_shell();
        sandbox.respond("");
        assert_eq!(
            shows(&text(&sandbox.bootstrap.log_bytes())),
            expected,
            "{isolation}"
        );
    }
}

#[test]
fn with_isolation_subshell_a_function_runs_in_a_fork_of_the_warm_shell() {
    let sandbox = isolated("subshell", PRINTS_ITSELF).start();
    let shown = invoke_five_times(&sandbox);
    let shell = first_shell(&sandbox, &shown);
    for shown in &shown {
        let [pid, level, fork, count, exit] = shown.as_slice() else {
            panic!("{shown:?}");
        };
        assert_eq!([pid, level, count, exit], [&shell, "1", "1", "builtin"]);
        assert_ne!(*fork, shell);
    }
    let forks: BTreeSet<_> = shown.iter().map(|shown| &shown[2]).collect();
    assert_eq!(forks.len(), 4, "not a new one for each event: {shown:?}");
    assert_eq!(source_count(&sandbox), 1);
}

#[test]
fn with_isolation_process_a_function_runs_in_a_new_shell_each_time() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    for spare in ["on", "off"] {
        let builder = isolated("process", PRINTS_ITSELF).env("COSHELL_SPARE", spare);
        let sandbox = builder.start();
        let shown = invoke_five_times(&sandbox);
        for shown in &shown {
            let [pid, level, itself, count, exit] = shown.as_slice() else {
                panic!("{shown:?}");
            };
            assert_eq!([itself, level, count, exit], [pid, "0", "1", "function"]);
        }
        let shells: BTreeSet<_> = shown.iter().map(|shown| &shown[0]).collect();
        assert_eq!(shells.len(), 4, "not a new one for each event: {shown:?}");
        // Once for each of five events, and for the next one.
        assert_eq!(source_count(&sandbox), 6);
        let shells = children(sandbox.bootstrap.pid());
        assert_eq!(shells.len(), 1, "a shell before has not ended: {shells:?}");
    }
}

#[test]
fn each_event_finds_the_state_that_the_file_set_up() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
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
            assert_eq!(
                respond_text(&sandbox, "x"),
                "5 a b v file by the file / 0027"
            );
        }
    }
    // Without isolation it differs, so the handler above does change its shell.
    let sandbox = isolated("none", script).start();
    respond_text(&sandbox, "x");
    assert_eq!(
        respond_text(&sandbox, "x"),
        "6 a b c w handler by the handler / 0027"
    );
}

/// Bash redirects the standard input of a job from /dev/null. So a job that is left over does not have the event open, and
/// costs no shell.
#[test]
fn a_job_does_not_read_the_event_unless_it_is_redirected() {
    let script = "
handler() {
  case $1 in
    read) cat & wait ;;
    redirected) cat <&0 & wait ;;
    leave) sleep 600 >/dev/null 2>&1 & until [[ $(</proc/$!/comm) == sleep ]]; do :; done ;;
  esac
  printf '|%s' \"$$\"
}";
    for isolation in ["none", "subshell"] {
        let sandbox = isolated(isolation, script).start();
        let shell = respond_text(&sandbox, "pid");
        assert_eq!(respond_text(&sandbox, "read"), shell, "{isolation}");
        assert_eq!(
            respond_text(&sandbox, "redirected"),
            format!("redirected{shell}")
        );
        assert_eq!(respond_text(&sandbox, "leave"), shell);
        assert_eq!(
            respond_text(&sandbox, "next"),
            shell,
            "it costs a shell with {isolation}"
        );
    }
}

#[test]
fn a_handler_in_a_subshell_that_kills_its_parent_shell_is_answered_with_an_error() {
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
    let before = respond_text(&sandbox, "pid");
    let document = sandbox.fail("kill");
    assert_eq!(document["errorType"], "Function.ShellKilled", "{document}");
    let message = document["errorMessage"].as_str().unwrap_or_default();
    assert!(message.contains("SIGKILL"), "{message}");
    let after = respond_text(&sandbox, "pid");
    assert_ne!(before, after);
    assert_eq!(source_count(&sandbox), 2);
    // The fork lives on, like any process that a handler leaves running.
    sandbox.task_root.release("gate");
    sandbox.bootstrap.wait_log("late output\n");
    assert_eq!(respond_text(&sandbox, "pid"), after);
    sandbox
        .bootstrap
        .wait_log("is still running after its invocation");
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
fn a_job_of_an_isolated_handler_neither_delays_an_answer_nor_writes_into_one() {
    for isolation in ISOLATED {
        let builder = isolated(isolation, LEAVES_JOB);
        builder.task_root().fifo("gate");
        let sandbox = builder.start();
        assert_eq!(respond_text(&sandbox, "job"), "answer to job");
        assert_eq!(respond_text(&sandbox, "second"), "answer to second");
        sandbox.task_root.release("gate");
        sandbox.bootstrap.wait_log("late output\n");
        assert_eq!(respond_text(&sandbox, "third"), "answer to third");
        let log = sandbox.bootstrap.final_log();
        assert_eq!(
            log.matches("is still running after its invocation").count(),
            1,
            "{log}"
        );
    }
}

#[test]
fn an_isolated_handler_gets_the_exact_event() {
    let long = "{\n  \"k\u{e9}y\": \"%s \\\\ $(id) \u{6f22} * 'q'\",\r\n\n\t\"n\": 1\n}, ";
    let event_of_length = |length: usize| -> Vec<u8> {
        let mut event: Vec<u8> = long.bytes().cycle().take(length).collect();
        event.extend((!event.is_empty()).then_some(b'.'));
        event
    };
    let events = [
        event_of_length(100 * 1024),
        event_of_length(0),
        event_of_length(32),
        event_of_length(6 * 1024 * 1024 - 1),
        event_of_length(32),
        b"\n\n".to_vec(),
        b"no newline at all".to_vec(),
        b"a\0b\n\0c\n".to_vec(),
        b"\0".to_vec(),
        b"\xff\xfe\x01\x7f\xc3\n".to_vec(),
        event_of_length(0),
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
                    expected.truncate(end.map_or(0, |last| last + 1));
                }
                let actual = sandbox.respond(event);
                let (shown, wanted) = (excerpt(&actual), excerpt(&expected));
                assert!(
                    actual == expected,
                    "{isolation} {function}: {shown}, not {wanted}"
                );
            }
        }
    }
}

/// Prints each context variable twice, as bash has it and as a child process gets it; and the variables that were set while
/// the file was sourced.
const PRINTS_CONTEXT: &str = r#"
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
fn an_isolated_handler_has_exactly_the_context_variables_of_its_event() {
    // Without the request id, which every event has.
    let context = &CONTEXT[1..];
    let names: Vec<_> = context.iter().map(|(variable, _)| *variable).collect();
    let names = names.join(" ");
    let script = PRINTS_CONTEXT.replace("NAMES", &names);
    for isolation in ISOLATED {
        let sandbox = isolated(isolation, &script).start();
        let assert_context = |event: Event, is_sent: &dyn Fn(&str) -> bool| {
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
        assert_context(all(), &|_| true);
        assert_context(Event::bare("bare", "x"), &|_| false);
        assert_context(all(), &|_| true);
        for &(_, absent) in context {
            assert_context(all().without(absent), &|header| header != absent);
        }
        assert_context(Event::bare("bare-again", "x"), &|_| false);
    }
}

fn value(header: &str) -> String {
    if header.ends_with("Deadline-Ms") {
        "4102444800000".to_owned()
    } else {
        format!("{{\"of\": \"{header}\", \"it's\": \"$(id) \\\" \u{e9}\"}}")
    }
}

/// Handlers from the comparison with the tutorial that keep nothing from one event to the next, and some that fail.
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

/// The answers to both events in this isolation.
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
                let actual = answers(isolation, handler, *events);
                assert!(
                    actual == expected,
                    "{isolation}: {actual:?}, not {expected:?}"
                );
            }
        },
    );
}

/// Prints `$$`, how often the handler was called in this shell, and the event.
const COUNTS: &str = "
echo sourced >>\"$LAMBDA_TASK_ROOT/sourced\"
count=0
handler() {
  count=$((count + 1))
  case $1 in die) kill -9 $$ ;; fail) false ;; esac
  printf '%s %s %s' \"$$\" \"$count\" \"$1\"
}";

/// Runs one invocation of [`COUNTS`]. Returns the shell and the count.
#[track_caller]
fn count_invocation(sandbox: &Sandbox, event: &str) -> (String, String) {
    let response = respond_text(sandbox, event);
    let mut fields = response.split(' ').map(ToOwned::to_owned);
    let mut field = || fields.next().unwrap_or_default();
    let shell_and_count = (field(), field());
    assert_eq!(field(), event);
    shell_and_count
}

#[test]
fn a_shell_is_replaced_after_the_configured_number_of_invocations() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
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
            // An invocation that fails counts too.
            if number == 4 {
                sandbox.fail("fail");
                continue;
            }
            let (shell, count) = count_invocation(&sandbox, &format!("event-{number}"));
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
        let by_turn: BTreeSet<_> = shells.iter().collect();
        let distinct: BTreeSet<_> = shells.iter().map(|(_, shell)| shell).collect();
        assert_eq!(
            by_turn.len(),
            4,
            "not one shell for three events: {shells:?}"
        );
        assert_eq!(distinct.len(), 4, "a shell was used again: {shells:?}");
        assert_eq!(source_count(&sandbox), 4);
        let calls = sandbox.api.calls();
        assert!(!calls.iter().any(support::Call::is_init_error));
        let log = sandbox.bootstrap.final_log();
        assert_eq!(log.matches("bootstrap: ").count(), 1, "{log}");
    }
}

#[test]
fn the_shell_after_one_that_died_runs_the_full_number_of_invocations() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    let sandbox = isolated("none", COUNTS)
        .env("COSHELL_RECYCLE_AFTER", "3")
        .start();
    count_invocation(&sandbox, "one");
    sandbox.fail("die");
    let shells: Vec<_> = (0..4).map(|_| count_invocation(&sandbox, "x")).collect();
    let counts: Vec<_> = shells.iter().map(|(_, count)| count.as_str()).collect();
    assert_eq!(counts, ["1", "2", "3", "1"]);
}

#[test]
fn a_leftover_process_of_a_replaced_shell_goes_on_and_prints_to_the_log() {
    let builder = isolated("none", LEAVES_JOB).env("COSHELL_RECYCLE_AFTER", "1");
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    assert_eq!(respond_text(&sandbox, "job"), "answer to job");
    assert_eq!(respond_text(&sandbox, "second"), "answer to second");
    sandbox.task_root.release("gate");
    sandbox.bootstrap.wait_log("late output\n");
    assert_eq!(respond_text(&sandbox, "third"), "answer to third");
}

/// The shells of a sandbox, including those that have ended.
fn shells(sandbox: &Sandbox) -> Vec<u32> {
    children(sandbox.bootstrap.pid())
}

/// The spare shell. Asserts that there is exactly one beside the shell `active`.
#[track_caller]
fn spare_of(sandbox: &Sandbox, active: &str) -> u32 {
    sandbox.api.wait_parked();
    let mut others = shells(sandbox);
    others.retain(|pid| pid.to_string() != active);
    let &[spare] = others.as_slice() else {
        panic!("not exactly one spare: {others:?} beside {active}");
    };
    spare
}

#[test]
fn the_spare_shell_replaces_one_that_dies() {
    for isolation in ["none", "subshell"] {
        let sandbox = isolated(isolation, COUNTS).start();
        sandbox.api.wait_parked();
        assert_eq!(shells(&sandbox).len(), 1, "a spare before the first answer");
        let (mut active, _) = count_invocation(&sandbox, "first");
        for turn in 1..4 {
            let spare = spare_of(&sandbox, &active);
            assert_eq!(
                source_count(&sandbox),
                turn,
                "the spare has not sourced the file"
            );
            die(&sandbox, isolation);
            sandbox.api.wait_parked();
            assert_eq!(
                source_count(&sandbox),
                turn + 1,
                "not sourced before the next event was requested"
            );
            let (shell, count) = count_invocation(&sandbox, "next");
            assert_eq!(
                (shell, count.as_str()),
                (spare.to_string(), "1"),
                "{isolation}"
            );
            active = spare.to_string();
        }
    }
}

/// Lets the handler kill its shell. A fork may answer before the death of its shell shows.
fn die(sandbox: &Sandbox, isolation: &str) {
    let answer = sandbox.invoke(Event::fresh("die"));
    if isolation == "none" {
        assert_eq!(answer.error_document()["errorType"], "Function.ShellKilled");
    }
}

#[test]
fn the_spare_shell_stays_while_it_is_not_needed() {
    let sandbox = isolated("none", COUNTS).start();
    let (active, _) = count_invocation(&sandbox, "first");
    let spare = spare_of(&sandbox, &active);
    for _ in 0..5 {
        assert_eq!(count_invocation(&sandbox, "x").0, active);
        assert_eq!(spare_of(&sandbox, &active), spare);
    }
}

#[test]
fn a_spare_shell_that_was_killed_costs_nothing() {
    for isolation in ["none", "subshell"] {
        let sandbox = isolated(isolation, COUNTS).start();
        let (active, _) = count_invocation(&sandbox, "first");
        let spare = spare_of(&sandbox, &active);
        let pid = as_pid(spare);
        kill(pid, Signal::SIGKILL).expect("cannot kill the spare");
        let has_ended = || status_field(spare, "State").is_none_or(|state| state.starts_with('Z'));
        wait_until(has_ended, LIMIT);
        assert_eq!(count_invocation(&sandbox, "second").0, active);
        die(&sandbox, isolation);
        let (shell, count) = count_invocation(&sandbox, "next");
        assert!(shell != active && shell != spare.to_string(), "{shell}");
        assert_eq!(count, "1");
        assert_eq!(source_count(&sandbox), 2);
        let log = sandbox.bootstrap.final_log();
        assert_eq!(log.matches("bootstrap: ").count(), 1, "{log}");
    }
}

#[test]
fn without_a_spare_there_is_one_shell() {
    for isolation in ["none", "subshell"] {
        let builder = isolated(isolation, COUNTS).env("COSHELL_SPARE", "off");
        let sandbox = builder.start();
        for _ in 0..3 {
            let (active, _) = count_invocation(&sandbox, "x");
            sandbox.api.wait_parked();
            assert_eq!(shells(&sandbox), [active.parse::<u32>().expect("a pid")]);
        }
        die(&sandbox, isolation);
        let (active, count) = count_invocation(&sandbox, "next");
        assert_eq!(count, "1");
        sandbox.api.wait_parked();
        assert_eq!(shells(&sandbox), [active.parse::<u32>().expect("a pid")]);
    }
}

/// In a subshell, what the shell itself runs is a text of the driver.
#[test]
fn the_error_of_a_killed_shell_shows_no_command_of_the_driver() {
    for isolation in ["none", "restore", "subshell", "process"] {
        let sandbox = isolated(isolation, "handler() { kill -USR1 $$; echo on; }").start();
        let document = sandbox.fail("x");
        assert_eq!(document["errorType"], "Function.ShellKilled");
        let message = document["errorMessage"].to_string();
        assert!(!message.contains("__driver_"), "{isolation}: {message}");
    }
}
