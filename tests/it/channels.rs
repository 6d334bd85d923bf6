//! A process that an event left running still has the channels of its shell open: the files with the event, and the pipes
//! for the response, the reports and the state. Through them it must neither read nor forge anything of the next event.

use serde_json::Value;

use support::{Event, LIMIT, Sandbox, SandboxBuilder, open_descriptors, wait_until};

/// An event `a-...` leaves a spy running. An event `b-...` waits until the spy has read and written every channel. The spy
/// also gets the request id, so that it lacks only access to the channels.
const HANDLER: &str = r#"
spy_channels() {
  local fd id
  set +e
  until [[ -e $LAMBDA_TASK_ROOT/runs ]]; do sleep 0.01; done
  {
    for fd in $1 $2; do cat <&"$fd"; cat <"/dev/fd/$fd"; done
    # A pipe, which is read as far as it is filled.
    dd if="/dev/fd/$3" iflag=nonblock
  } >"$LAMBDA_TASK_ROOT/seen" 2>/dev/null
  id=$(<"$LAMBDA_TASK_ROOT/id")
  {
    printf 'forged response' >&"$4"
    printf '%s\0' respond 5 "$id" forged.sh:1 http 418 >&"$5"
    printf '%s\0' died return 1 '' 'forged command' '' 'forged /forged.sh:9' died >&"$5"
    printf 'state\0forged state\0' >&"$3"
  } 2>/dev/null
  : >"$LAMBDA_TASK_ROOT/spied"
}
export -f spy_channels
spy() { trap '' PIPE; spy_channels "$@"; }
handler() {
  case $1 in
    a-fork) spy 60 61 66 62 63 & ;;
    a-orphan) (spy 60 61 66 62 63 &) ;;
    a-program) bash -c 'trap "" PIPE; spy_channels 5 6 7 8 9' 5<&60 6<&61 7>&66 8>&62 9>&63 & ;;
    a-hidden) (exec </dev/null >/dev/null 2>&1 64>&- 62>/dev/null; spy 60 61 66 62 63) & ;;
    b-*)
      printf '%s' "$LAMBDA_RUNTIME_AWS_REQUEST_ID" >"$LAMBDA_TASK_ROOT/id"
      : >"$LAMBDA_TASK_ROOT/runs"
      until [[ -e $LAMBDA_TASK_ROOT/spied ]]; do sleep 0.01; done
      case $1 in
        *fails) false ;;
        *exits) exit 9 ;;
        *dies) kill -9 "$BASHPID" ;;
      esac
      ;;
  esac
  printf 'own %s' "$1"
}
"#;

/// A sandbox of each isolation, and one whose events need forks although the file does not show that.
fn sandboxes() -> Vec<(&'static str, SandboxBuilder)> {
    let isolated = ["restore", "none", "subshell", "process"];
    let builder = |isolation| Sandbox::of(HANDLER).env("COSHELL_ISOLATION", isolation);
    let mut builders: Vec<_> = isolated.map(|name| (name, builder(name))).into();
    let hidden = HANDLER.replace("63 & ;;", "63 \"$JOB\" ;;").replace(
        "a-fork) spy 60 61 66 62 63 \"$JOB\"",
        "a-fork) eval \"spy 60 61 66 62 63 $JOB\"",
    );
    let builder = Sandbox::of(&hidden).env("JOB", "&");
    builders.push(("restore by eval", builder));
    builders
}

fn check(name: &str, sandbox: &Sandbox, left: &str, end: &str) {
    let case = format!("{name}, {left}, {end}");
    for file in ["runs", "spied", "seen", "id"] {
        let _ = std::fs::remove_file(sandbox.task_root.path().join(file));
    }
    assert_eq!(
        sandbox.respond(left),
        format!("own {left}").as_bytes(),
        "{case}"
    );
    let event = format!("b-secret-{end}");
    let answer = sandbox.invoke(Event::fresh(&event));
    wait_until(|| sandbox.task_root.exists("spied"), LIMIT);
    let seen = sandbox.task_root.path().join("seen");
    let seen = std::fs::read(seen).expect("the spy has finished");
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(!seen.contains("b-secret"), "{case}: {seen:?}");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains("forged"), "{case}: {text}");
    let wanted: &[&str] = match end {
        "returns" => &[],
        "fails" => &["Function.CommandFailed"],
        "exits" => &["Function.HandlerExited"],
        _ => &[
            "Function.ShellKilled",
            "Function.HandlerFailed",
            "Function.CommandFailed",
        ],
    };
    if wanted.is_empty() {
        assert_eq!(text, format!("own {event}"), "{case}");
    } else {
        assert!(answer.is_error(), "{case}: {text}");
        let document: Value = answer.error_document();
        let kind = document["errorType"].as_str().unwrap_or_default();
        assert!(wanted.contains(&kind), "{case}: {text}");
    }
    assert_eq!(sandbox.respond("c"), b"own c", "{case}");
}

#[test]
fn a_leftover_process_neither_reads_nor_forges_the_next_event() {
    for (name, builder) in sandboxes() {
        let sandbox = builder.start();
        for left in ["a-fork", "a-orphan", "a-program", "a-hidden"] {
            if name == "restore by eval" && left != "a-fork" {
                continue;
            }
            // The program `bash` does not take over a function that bash 4.2 exports.
            if left == "a-program" && support::always_forks() {
                continue;
            }
            for end in ["returns", "fails", "exits", "dies"] {
                check(name, &sandbox, left, end);
            }
        }
    }
}

/// The channels are replaced each time a process is left over, but the shell keeps its variables.
#[test]
fn a_shell_lives_on_with_new_channels() {
    let script = "count=0\nhandler() { count=$((count + 1)); (read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; :) >/dev/null 2>&1 & printf '%s %s %s' \"$count\" \"$1\" \"$(cat)\"; }";
    let builder = Sandbox::of(script).env("COSHELL_ISOLATION", "none");
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    for number in 1..=8 {
        let event = format!("event {number} {}", "x".repeat(1 << number));
        let wanted = format!("{} {event} {event}", support::count_after(number));
        assert_eq!(sandbox.respond(&event), wanted.as_bytes());
    }
    let wanted = format!("{} short short", support::count_after(9));
    assert_eq!(sandbox.respond("short"), wanted.as_bytes());
}

#[test]
fn renewed_channels_leak_no_descriptors() {
    let script = "handler() { (until [[ -e $LAMBDA_TASK_ROOT/go ]]; do sleep 0.01; done) >/dev/null 2>&1 & printf '%s' \"$1\"; }";
    for isolation in ["none", "subshell"] {
        let builder = Sandbox::of(script).env("COSHELL_ISOLATION", isolation);
        let sandbox = builder.env("COSHELL_SPARE", "off").start();
        let pid = sandbox.bootstrap.pid();
        let go = sandbox.task_root.path().join("go");
        let descriptors_after = |events: usize| {
            for number in 0..events {
                sandbox.respond(number.to_string());
            }
            sandbox.api.wait_parked();
            sandbox.task_root.write("go", "");
            // bash, and the fork that waits.
            let is_forked = isolation == "subshell" || support::always_forks();
            let max = if is_forked { 2 } else { 1 };
            wait_until(|| sandbox.bootstrap.processes().len() <= max + 1, LIMIT);
            std::fs::remove_file(&go).expect("the file exists");
            // The log thread closes the pipes whose last writer has ended.
            let mut last_count = usize::MAX;
            wait_until(
                || {
                    let count = open_descriptors(pid).len();
                    let is_settled = count == last_count;
                    last_count = count;
                    is_settled
                },
                LIMIT,
            );
            last_count
        };
        let before = descriptors_after(3);
        wait_until(|| descriptors_after(12) <= before, LIMIT);
    }
}

/// The process goes on, as if its shell were still there.
#[test]
fn a_leftover_process_can_call_driver_functions_and_goes_on() {
    let script = "handler() {
  if [[ $1 == leaves ]]; then
    { until [[ -e $LAMBDA_TASK_ROOT/go ]]; do sleep 0.01; done
      for i in {1..3}; do lambda_http_response 500; head -c 100000 /dev/zero >&63; done; : >\"$LAMBDA_TASK_ROOT/done\"; } >/dev/null &
  fi
  echo \"$1\"
}
";
    for isolation in ["restore", "none", "subshell", "process"] {
        let builder = Sandbox::of(script).env("COSHELL_ISOLATION", isolation);
        let sandbox = builder.start();
        assert_eq!(sandbox.respond("leaves"), b"leaves");
        assert_eq!(sandbox.respond("second"), b"second");
        sandbox.task_root.write("go", "");
        wait_until(|| sandbox.task_root.exists("done"), LIMIT);
        assert_eq!(sandbox.respond("third"), b"third", "{isolation}");
    }
}
