//! Runs bootstrap under restrictions like Lambda's: a user other than root, only /tmp is writable, and processes of other users
//! are hidden.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use support::{AS_ANOTHER_USER, Event, LIMIT, Sandbox, SandboxBuilder, bootstrap_path, wait_until};

/// Sets up the restrictions in a new mount namespace, and then runs the rest of its arguments, which start bootstrap. `$1` is
/// the task root, which is mounted read-only at /mnt/task.
const RESTRICT: &str = r#"
set -eu
task_root=$1
shift
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/task
mount --bind "$task_root" /mnt/task
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t proc -o hidepid=2 proc /proc
while read -r _ target _; do
  case $target in
    /tmp | /proc | /proc/*) ;;
    # A mount that cannot be changed, for example in a container, is not writable for this user either. The test checks that.
    *) mount -o remount,bind,ro "$target" 2>/dev/null || : ;;
  esac
done </proc/self/mounts
cd /mnt/task
export LAMBDA_TASK_ROOT=/mnt/task
exec "$@"
"#;

/// Makes bootstrap run under the restrictions.
fn restricted(builder: SandboxBuilder) -> SandboxBuilder {
    let is_root = fs::metadata("/proc/self").expect("/proc").uid() == 0;
    // Other users become root in a user namespace. There a new /proc needs a new pid namespace too.
    let unshare: &[&str] = if is_root {
        &["unshare", "--mount"]
    } else {
        &[
            "unshare",
            "--map-root-user",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
        ]
    };
    let another_user: &[&str] = if is_root { &AS_ANOTHER_USER } else { &[] };
    let probe = Command::new(unshare[0])
        .args(&unshare[1..])
        .args(["mount", "--make-rprivate", "/"])
        .stderr(Stdio::inherit())
        .status();
    assert!(
        probe.is_ok_and(|status| status.success()),
        "this test needs unshare and mount of util-linux, and the right to use them: as root with CAP_SYS_ADMIN, or with user namespaces"
    );
    // Without these variables bash looks up the user, and Debian's bash-static crashes if the user has no entry.
    let is_static = std::env::var_os("COSHELL_TEST_BASH").is_some();
    let builder = if is_static {
        builder.env("HOME", "/tmp").env("SHELL", "/bin/sh")
    } else {
        builder
    };
    let task_root = builder.task_root().path().to_string_lossy().into_owned();
    fs::copy(
        bootstrap_path(),
        builder.task_root().path().join("bootstrap"),
    )
    .expect("a copy of bootstrap");
    let mut program = unshare.to_vec();
    program.extend(["bash", "-c", RESTRICT, "bash", &task_root]);
    program.extend(another_user);
    program.push("/mnt/task/bootstrap");
    builder.program(&program)
}

const HANDLER: &str = r#"
late() {
  # Writes only after the next invocation.
  until [[ -e /tmp/go ]]; do sleep 0.01; done
  echo 'late output'
}
deep() { exit 3; }
handler() {
  count=$((${count-0} + 1))
  case $1 in
    restrictions)
      for place in / /mnt/task /dev/shm /var/tmp /run /tmp; do
        if (: >"$place/probe") 2>/dev/null; then printf '%s ' "$place"; fi
      done
      [[ -e /proc/1/status ]] || printf 'hidden '
      printf '%s' "$(id -u)"
      ;;
    exit) deep ;;
    false) grep -q needle /dev/null ;;
    unset) printf '%s' "$never_set" ;;
    kill) kill -9 $$ ;;
    exec) exec printf 'of another program' ;;
    late) late & printf 'early' ;;
    go) : >/tmp/go; printf 'went' ;;
    state) cd /; umask 0; IFS=x; set -f; trap 'printf " trapped"' EXIT; exec 9</dev/null; printf 'changed' ;;
    document) cat <<<"$(printf '%100000s' '')" | wc -c ;;
    *) printf '%s|%s|%s|' "$PWD" "$(umask)" "$count"; cat ;;
  esac
}
"#;

#[test]
fn everything_works_under_lambdas_restrictions() {
    let sandbox = restricted(Sandbox::of(HANDLER)).start();
    let respond = |event: &str| String::from_utf8(sandbox.respond(event)).expect("text");
    let restrictions = respond("restrictions");
    let is_root = fs::metadata("/proc/self").expect("/proc").uid() == 0;
    if is_root {
        assert_eq!(
            restrictions, "/tmp hidden 993",
            "the restrictions were not set up"
        );
    } else {
        assert!(restrictions.starts_with("/tmp "), "{restrictions}");
    }
    assert_eq!(respond("an event"), "/mnt/task|0022|1|an event");
    assert_eq!(respond("state"), "changed trapped");
    assert_eq!(respond("x"), "/mnt/task|0022|1|x");
    assert_eq!(respond("document").trim(), "100001");

    let exited = sandbox.fail("exit");
    assert_eq!(exited["errorType"], "Function.HandlerExited");
    assert_eq!(exited["stackTrace"][0], "deep (/mnt/task/function.sh:7)");
    assert_eq!(sandbox.fail("false")["errorType"], "Function.CommandFailed");
    assert_eq!(respond("x"), "/mnt/task|0022|1|x");

    // A handler that starts jobs runs in forks, so this ends only the fork.
    assert_eq!(sandbox.fail("unset")["errorType"], "Function.CommandFailed");
    assert_eq!(respond("x"), "/mnt/task|0022|1|x");
    // This ends the shell. The fork may answer before that shows.
    sandbox.invoke(Event::fresh("kill"));
    assert_eq!(respond("x"), "/mnt/task|0022|1|x");
    assert_eq!(respond("exec"), "of another program");

    assert_eq!(respond("late"), "early");
    assert_eq!(respond("x"), "/mnt/task|0022|1|x");
    sandbox
        .bootstrap
        .wait_log("is still running after its invocation");
    assert_eq!(respond("go"), "went");
    sandbox.bootstrap.wait_log("late output\n");
    assert_eq!(respond("x"), "/mnt/task|0022|1|x");

    let large = "e".repeat(1 << 20);
    let response = sandbox.respond(&large);
    assert_eq!(response.len(), "/mnt/task|0022|5|".len() + large.len());
    sandbox.api.wait_parked();
}

#[test]
fn a_file_that_needs_more_rights_is_an_init_error() {
    let builder = Sandbox::of("handler() { :; }\n: >\"$LAMBDA_TASK_ROOT/file\"\n");
    let sandbox = restricted(builder).start();
    let document: Value = sandbox.api.wait_init_error().error_document();
    let message = document["errorMessage"].as_str().unwrap_or_default();
    assert!(
        message.contains("Read-only file system") && message.contains("function.sh:2"),
        "{message}"
    );
    assert_eq!(sandbox.bootstrap.wait_failure(LIMIT), 1);
}

/// Lambda may leave descriptors open in bootstrap. Bash and its children must not inherit them.
/// Once bash has these names from its environment, they say no longer which functions run.
#[test]
fn errors_name_command_and_place_whatever_the_environment_contains() {
    let run = "fails() {\n  grep x /no/such/file\n}\n";
    for (builder, expected) in [
        (
            Sandbox::of(&format!("{run}handler() {{ fails; }}")),
            "`grep x /no/such/file` ended with status 2 in fails (",
        ),
        (
            Sandbox::empty()
                .executable("script.sh", format!("#!/bin/bash -e\n{run}fails\n"))
                .handler("script.sh"),
            "script.sh exited with status 2 after `grep x /no/such/file` in fails (",
        ),
    ] {
        let names = ["FUNCNAME", "BASH_SOURCE", "BASH_LINENO"];
        let with_names = names
            .into_iter()
            .fold(builder, |builder, name| builder.env(name, "x"));
        let sandbox = with_names.start();
        let document = sandbox.fail("x");
        let message = document["errorMessage"].as_str().unwrap_or_default();
        assert!(message.starts_with(expected), "{document}");
        assert!(message.contains(".sh:"), "{document}");
        assert!(!sandbox.bootstrap.final_log().contains("unbound"));
    }
}

#[test]
fn inherited_descriptors_do_not_reach_the_handler() {
    let script = "handler() { for fd in {3..300}; do if [[ -e /proc/self/fd/$fd ]]; then printf '%s ' $fd; fi; done; ls /proc/self/fd | tr '\\n' ' '; }";
    let plain = Sandbox::of(script).start();
    let wrapper = "exec 5</dev/null 12</dev/null 13<>/dev/null 62</dev/null 75</dev/null 200</dev/null; exec \"$@\"";
    let program = bootstrap_path();
    let inheriting = Sandbox::of(script)
        .program(&["bash", "-c", wrapper, "bash", &program])
        .start();
    let expected = String::from_utf8(plain.respond("x")).expect("text");
    // 3 is the directory that ls reads.
    assert!(
        expected.contains(" 62 ") && expected.ends_with(" 0 1 2 3 "),
        "{expected}"
    );
    for _ in 0..2 {
        assert_eq!(String::from_utf8_lossy(&inheriting.respond("x")), expected);
    }
}

#[test]
fn the_environment_is_passed_on_without_the_variables_of_lambdas_runtime_interface() {
    let sandbox = Sandbox::of("handler() { printf '%s|%s|%s|%s' \"$MINE\" \"${_LAMBDA_TELEMETRY_LOG_FD-unset}\" \"$TZ\" \"$0\"; }")
        .env("MINE", "a 'b'\n$(id) \\")
        .env("_LAMBDA_TELEMETRY_LOG_FD", "5")
        .env("BASH_ENV", "/no/such/file")
        .start();
    let response = String::from_utf8(sandbox.respond_to(Event::fresh("x"))).expect("text");
    assert!(
        response.starts_with("a 'b'\n$(id) \\|unset|:UTC|"),
        "{response}"
    );
    wait_until(|| sandbox.api.next_count() == 2, LIMIT);
}
