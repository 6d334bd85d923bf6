//! A process that an event left running has the channels of its shell open: files with the event, the pipes of the response
//! and of the reports and of the state. What the next event brings, answers and reports is not to be had from there, nor
//! to be forged.

use serde_json::Value;

use support::{Event, LIMIT, Sandbox, SandboxBuilder, open_descriptors, wait_until};

/// `a` leaves a spy, and `b-...` waits until that has looked and written everywhere. What it would need to know of the
/// other event it is given: so nothing but the channel is in its way.
const HANDLER: &str = r#"
look() {
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
  : >"$LAMBDA_TASK_ROOT/looked"
}
export -f look
spy() { trap '' PIPE; look "$@"; }
handler() {
  case $1 in
    a-fork) spy 60 61 66 62 63 & ;;
    a-orphan) (spy 60 61 66 62 63 &) ;;
    a-program) bash -c 'trap "" PIPE; look 5 6 7 8 9' 5<&60 6<&61 7>&66 8>&62 9>&63 & ;;
    a-hidden) (exec </dev/null >/dev/null 2>&1 64>&- 62>/dev/null; spy 60 61 66 62 63) & ;;
    b-*)
      printf '%s' "$LAMBDA_RUNTIME_AWS_REQUEST_ID" >"$LAMBDA_TASK_ROOT/id"
      : >"$LAMBDA_TASK_ROOT/runs"
      until [[ -e $LAMBDA_TASK_ROOT/looked ]]; do sleep 0.01; done
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

/// Each isolation, and a shell whose events run in forks though nothing in the file says that they have to.
fn plans() -> Vec<(&'static str, SandboxBuilder)> {
    let isolated = ["restore", "none", "subshell", "process"];
    let builder = |isolation| Sandbox::of(HANDLER).env("COSHELL_ISOLATION", isolation);
    let mut plans: Vec<_> = isolated.map(|name| (name, builder(name))).into();
    let hidden = HANDLER.replace("63 & ;;", "63 \"$JOB\" ;;").replace(
        "a-fork) spy 60 61 66 62 63 \"$JOB\"",
        "a-fork) eval \"spy 60 61 66 62 63 $JOB\"",
    );
    let builder = Sandbox::of(&hidden).env("JOB", "&");
    plans.push(("restore by eval", builder));
    plans
}

fn check(name: &str, sandbox: &Sandbox, left: &str, end: &str) {
    let case = format!("{name}, {left}, {end}");
    for file in ["runs", "looked", "seen", "id"] {
        let _ = std::fs::remove_file(sandbox.task_root.path().join(file));
    }
    assert_eq!(
        sandbox.respond(left),
        format!("own {left}").as_bytes(),
        "{case}"
    );
    let event = format!("b-secret-{end}");
    let answer = sandbox.invoke(Event::fresh(&event));
    wait_until(|| sandbox.task_root.exists("looked"), LIMIT);
    let seen = sandbox.task_root.path().join("seen");
    let seen = std::fs::read(seen).expect("it has looked");
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
fn what_an_event_left_neither_reads_nor_forges_what_the_next_one_has() {
    for (name, builder) in plans() {
        let sandbox = builder.start();
        for left in ["a-fork", "a-orphan", "a-program", "a-hidden"] {
            if name == "restore by eval" && left != "a-fork" {
                continue;
            }
            for end in ["returns", "fails", "exits", "dies"] {
                check(name, &sandbox, left, end);
            }
        }
    }
}

/// A shell that lives on keeps its variables, however often its channels are other ones.
#[test]
fn a_shell_lives_on_with_other_channels() {
    let script = "count=0\nhandler() { count=$((count + 1)); (read -r _ <\"$LAMBDA_TASK_ROOT/gate\"; :) >/dev/null 2>&1 & printf '%s %s %s' \"$count\" \"$1\" \"$(cat)\"; }";
    let builder = Sandbox::of(script).env("COSHELL_ISOLATION", "none");
    builder.task_root().fifo("gate");
    let sandbox = builder.start();
    for number in 1..=8 {
        let event = format!("event {number} {}", "x".repeat(1 << number));
        let wanted = format!("{number} {event} {event}");
        assert_eq!(sandbox.respond(&event), wanted.as_bytes());
    }
    assert_eq!(sandbox.respond("short"), b"9 short short");
}

#[test]
fn channels_that_are_renewed_cost_no_descriptor_for_good() {
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
            let most = if isolation == "subshell" { 2 } else { 1 };
            wait_until(|| sandbox.bootstrap.processes().len() <= most + 1, LIMIT);
            std::fs::remove_file(&go).expect("it was there");
            // The thread of the log closes the pipes that nobody holds any more.
            let mut least = usize::MAX;
            wait_until(
                || {
                    let count = open_descriptors(pid).len();
                    let is_settled = count == least;
                    least = count;
                    is_settled
                },
                LIMIT,
            );
            least
        };
        let before = descriptors_after(3);
        wait_until(|| descriptors_after(12) <= before, LIMIT);
    }
}

/// It goes on, as it would beside a shell that is still there.
#[test]
fn what_a_process_that_is_left_tells_the_driver_does_not_end_it() {
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
