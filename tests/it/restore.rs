//! After the answer the state of the shell is restored: each event finds the state that the file set up.
//!
//! `state_fuzz.rs` searches for state that is not restored. This file has typical handlers that need it, tests of how the
//! shell is restored, and handlers that do something that bash cannot undo.

use std::collections::BTreeSet;
use std::fs;

use crate::deadline::check_all;
use support::{Event, LIMIT, Sandbox, SandboxBuilder, children, wait_until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn respond_text(sandbox: &Sandbox, event: &str) -> String {
    text(&sandbox.respond(event))
}

/// The isolations in which an event sees nothing of earlier ones. `None` is the default.
const SEPARATE: [Option<&str>; 4] = [None, Some("restore"), Some("subshell"), Some("process")];

fn isolated(isolation: Option<&str>, script: &str) -> SandboxBuilder {
    let builder = Sandbox::of(script);
    match isolation {
        Some(isolation) => builder.env("COSHELL_ISOLATION", isolation),
        None => builder,
    }
}

#[track_caller]
fn in_every_isolation(check: impl Fn(Option<&str>) + Sync) {
    check_all(&SEPARATE, |name| format!("{name:?}"), |name| check(*name));
}

#[test]
fn the_folder_of_the_file_may_have_a_name_that_is_not_utf_8() {
    let script = "mkdir -p \"$LAMBDA_TASK_ROOT\"/$'a\\xff\\'b'\ncd \"$LAMBDA_TASK_ROOT\"/$'a\\xff\\'b'\nhandler() { printf '%q' \"${PWD##*/}\"; cd /; }";
    let sandbox = isolated(Some("restore"), script).start();
    for _ in 0..2 {
        assert_eq!(respond_text(&sandbox, "x"), r"$'a\377\'b'");
    }
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

/// Handlers rarely reset OPTIND.
#[test]
fn getopts_parses_the_options_of_each_event() {
    let script = r#"
parse() {
  size=100 format=png
  while getopts 's:f:' option; do
    case $option in
      s) size=$OPTARG ;;
      f) format=$OPTARG ;;
      *) return 2 ;;
    esac
  done
}
handler() {
  parse $1
  echo "size=$size format=$format"
}
"#;
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for (event, response) in [
            ("-s 200 -f gif", "size=200 format=gif"),
            ("-s 300 -f jpg", "size=300 format=jpg"),
            ("-f bmp", "size=100 format=bmp"),
            ("", "size=100 format=png"),
            ("-s 7", "size=7 format=png"),
        ] {
            assert_eq!(respond_text(&sandbox, event), response, "{isolation:?}");
        }
    });
}

/// `getopts` also remembers its place within an argument with several options.
#[test]
fn the_place_of_getopts_within_an_argument_is_reset() {
    let script = "handler() { local option; getopts abc option \"$1\"; echo \"$option $OPTIND\"; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for _ in 0..3 {
            assert_eq!(respond_text(&sandbox, "-abc"), "a 1", "{isolation:?}");
        }
        assert_eq!(respond_text(&sandbox, "-c"), "c 2", "{isolation:?}");
    });
}

#[test]
fn a_handler_may_source_a_file_of_readonly_variables() {
    let library = "readonly -a MASKS=([8]=255.0.0.0 [16]=255.255.0.0 [24]=255.255.255.0)\n";
    let script = "handler() { source lib/net.sh; echo \"${MASKS[8]} for $1\"; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script)
            .file("lib/net.sh", library)
            .start();
        for number in 0..8 {
            let expected = format!("255.0.0.0 for {number}");
            assert_eq!(
                respond_text(&sandbox, &number.to_string()),
                expected,
                "{isolation:?}"
            );
        }
    });
}

#[test]
fn a_handler_may_make_variables_readonly() {
    let script = "handler() { readonly BUCKET=${1%%/*}; echo \"bucket is $BUCKET\"; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for number in 0..8 {
            let shown = respond_text(&sandbox, &format!("b{number}/key"));
            assert_eq!(shown, format!("bucket is b{number}"), "{isolation:?}");
        }
    });
}

/// Changes that bash cannot undo: the change, a text that shows whether it was made before, and the expected text.
#[rustfmt::skip]
const NOT_UNDONE: &[(&str, &str, &str)] = &[
    ("readonly fresh=1", "${fresh-none}", "none"),
    ("readonly -a list", "${list[0]}", "item"),
    ("readonly of_file", "$(of_file=x; echo $of_file)", "x"),
    ("unset -v RANDOM; RANDOM=x", "$((RANDOM != RANDOM || RANDOM != RANDOM))", "1"),
    ("unset -v SECONDS; SECONDS=x", "$((SECONDS < 1000))", "1"),
    ("ulimit -n 400", "$(ulimit -H -n)", "LIMIT"),
    ("named() { echo other; }", "$(named)", "named"),
    ("unset -f named", "$(named)", "named"),
    ("handler() { echo other; }", "", ""),
    ("readonly -f named", "$(named() { echo other; }; named)", "other"),
    ("sleep 0 & wait", "${!-none}", "none"),
];

#[test]
fn changes_that_bash_cannot_undo_affect_no_later_event() {
    check_all(
        NOT_UNDONE,
        |(change, ..)| (*change).to_owned(),
        |(change, shown, expected)| {
            let script = format!(
                "of_file=file\nlist=(item)\nnamed() {{ echo named; }}\nhandler() {{ printf '%s' \"{shown}\"; {change}; }}\n"
            );
            for isolation in SEPARATE {
                let sandbox = isolated(isolation, &script).start();
                let mut first = None;
                for event in 0..9 {
                    let shown = respond_text(&sandbox, "x");
                    // The limit depends on the machine.
                    let expected = match *expected {
                        "LIMIT" => first.get_or_insert_with(|| shown.clone()).clone(),
                        expected => expected.to_owned(),
                    };
                    assert_eq!(shown, expected, "{isolation:?}, event {event}: {change}");
                }
            }
        },
    );
}

/// The shell is replaced before the next event is requested, so that the event does not wait.
#[test]
fn a_shell_that_cannot_be_restored_is_replaced_before_the_next_event() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    let script = "echo sourced >>\"$LAMBDA_TASK_ROOT/sourced\"\nhandler() { [[ $1 != leave ]] || readonly left=1; echo \"$$ ${left-none}\"; }";
    let sandbox = Sandbox::of(script)
        .env("COSHELL_ISOLATION", "restore")
        .start();
    let pid = |shown: &str| shown.split(' ').next().unwrap_or_default().to_owned();
    let first = pid(&respond_text(&sandbox, "x"));
    assert_eq!(pid(&respond_text(&sandbox, "x")), first);
    assert_eq!(pid(&respond_text(&sandbox, "leave")), first);
    sandbox.api.wait_parked();
    assert_eq!(sandbox.task_root.read("sourced").lines().count(), 2);
    let second = respond_text(&sandbox, "x");
    assert_ne!(pid(&second), first);
    assert!(second.ends_with(" none"), "{second}");
    assert_eq!(pid(&respond_text(&sandbox, "x")), pid(&second));
}

/// The log names the cause once.
#[test]
fn a_handler_whose_shell_cannot_be_restored_three_times_in_a_row_runs_in_forks() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    let script = "echo sourced >>\"$LAMBDA_TASK_ROOT/sourced\"\nhandler() { readonly BUCKET=$1; echo \"$$ $BASHPID $BUCKET\"; }";
    let sandbox = Sandbox::of(script)
        .env("COSHELL_ISOLATION", "restore")
        .start();
    let shown: Vec<_> = (0..20)
        .map(|number| respond_text(&sandbox, &format!("b{number}")))
        .collect();
    sandbox.api.wait_parked();
    let sourced = sandbox.task_root.read("sourced").lines().count();
    let mut shells = BTreeSet::new();
    for (number, shown) in shown.iter().enumerate() {
        let fields: Vec<_> = shown.split(' ').collect();
        assert_eq!(fields[2], format!("b{number}"));
        assert_eq!(number < 3, fields[0] == fields[1], "{number}: {shown}");
        shells.insert(fields[0]);
    }
    assert_eq!(shells.len(), 4, "{shown:#?}");
    assert_eq!(sourced, 4, "{shown:#?}");
    let log = sandbox.bootstrap.final_log();
    assert_eq!(log.lines().count(), 1, "{log}");
    let names_the_cause = log.contains("BUCKET") || log.contains("readonly");
    assert!(log.starts_with("bootstrap: ") && names_the_cause, "{log}");
}

/// Failures that are not in a row cost a new shell each time.
#[test]
fn a_handler_whose_shell_sometimes_cannot_be_restored_does_not_run_in_forks() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    let script = "handler() { [[ $1 != leave ]] || readonly left=1; echo \"$$ $BASHPID\"; }";
    let sandbox = Sandbox::of(script)
        .env("COSHELL_ISOLATION", "restore")
        .start();
    for _ in 0..6 {
        for event in ["leave", "leave", "x"] {
            let shown = respond_text(&sandbox, event);
            let (shell, own) = shown.split_once(' ').expect("two fields");
            assert_eq!(shell, own);
        }
    }
    sandbox.api.wait_parked();
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

/// Prints the pid that the kernel assigned last, on the whole machine, and the ids of the shell.
const LAST_PROCESS: &str = "handler() { local last; read -r _ _ _ _ last </proc/loadavg; echo \"$last $$ $BASHPID $BASH_SUBSHELL\"; new=1; list+=(x); }";

/// Other programs start processes too. So the test waits for two events between which none was started.
#[test]
fn an_event_starts_no_process() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    for isolation in ["restore", "none"] {
        let sandbox = Sandbox::of(LAST_PROCESS)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        respond_text(&sandbox, "warm");
        respond_text(&sandbox, "warm");
        sandbox.api.wait_parked();
        let shell = sandbox.bootstrap.shell_pid().to_string();
        let known = children(sandbox.bootstrap.pid());
        let mut before = String::new();
        let is_same = || {
            let shown = respond_text(&sandbox, "x");
            let fields: Vec<_> = shown.split(' ').map(ToOwned::to_owned).collect();
            assert_eq!(fields[1..], [shell.clone(), shell.clone(), "0".to_owned()]);
            let last = fields[0].clone();
            std::mem::replace(&mut before, last.clone()) == last
        };
        wait_until(is_same, LIMIT);
        sandbox.api.wait_parked();
        assert_eq!(children(sandbox.bootstrap.pid()), known, "{isolation}");
    }
}

#[test]
fn with_isolation_subshell_each_event_starts_a_process() {
    let sandbox = Sandbox::of(LAST_PROCESS)
        .env("COSHELL_ISOLATION", "subshell")
        .start();
    let mut forks = BTreeSet::new();
    for _ in 0..10 {
        let shown = respond_text(&sandbox, "x");
        let fields: Vec<_> = shown.split(' ').map(ToOwned::to_owned).collect();
        assert_eq!(fields[3], "1", "{shown}");
        assert_ne!(fields[1], fields[2], "{shown}");
        forks.insert(fields[2].clone());
    }
    assert_eq!(forks.len(), 10);
}

#[test]
fn without_isolation_everything_lives_on() {
    // Before bash 4.4 each event runs in a fork, so no shell and no variable lives on.
    if support::always_forks() {
        return;
    }
    let script = r"
handler() {
  count=$((${count-0} + 1))
  if ((count == 1)); then
    later() { echo learned; }
    list=(a) OPTIND=3 option=set
    hash -p /bin/true tool
    readonly fixed=1
  fi
  printf '%s ' $count $(later) ${list[0]} $option $OPTIND $(hash -t tool)
}
";
    let sandbox = Sandbox::of(script).env("COSHELL_ISOLATION", "none").start();
    for number in 1..4 {
        let expected = format!("{number} learned a set 3 /bin/true ");
        assert_eq!(respond_text(&sandbox, ""), expected);
    }
}

#[test]
fn without_isolation_words_are_split_as_before() {
    // Before bash 4.4 each event runs in a fork, so no change lives on.
    if support::always_forks() {
        return;
    }
    let changes = [
        "IFS=:",
        "unset IFS",
        "unset IFS; declare -ga IFS=(x y)",
        "unset IFS; declare -gn IFS=other",
        "unset IFS; declare -gu IFS=a",
        "export IFS",
    ];
    check_all(
        &changes,
        |change| (*change).to_owned(),
        |change| {
            let script = format!(
                "handler() {{\n  count=$((${{count-0}} + 1))\n  if ((count == 2)); then {change}; return; fi\n  \
                 local words='a b c'; set -- $words; echo $#; declare -p IFS\n}}"
            );
            let sandbox = isolated(Some("none"), &script).start();
            let before = respond_text(&sandbox, "");
            assert!(before.starts_with("3\n"), "{before}");
            sandbox.respond("");
            for _ in 0..2 {
                assert_eq!(respond_text(&sandbox, ""), before);
            }
        },
    );
}

/// Not the state that a new shell has.
#[test]
fn each_event_finds_the_state_that_the_file_set_up() {
    let script = r#"
OPTIND=3
declare -A ages=([Ada]=36)
items=(a b c)
export MODE=fast
hash -p /bin/true tool
complete -W 'x y' tool
pushd / >/dev/null
enable -n times
ulimit -S -n 300
umask 027
load() { echo loaded; }
once() { once() { :; }; echo once; }
handler() {
  echo "$OPTIND ${ages[*]} ${items[*]} $(printenv MODE) $(hash -t tool) $(complete -p tool) $(dirs) $(ulimit -S -n) $(umask) $(enable -n) $(once) $(load)"
  once >/dev/null
  OPTIND=1 ages=([Bob]=7) items+=(d) MODE=slow
  unset -f load
  unset -v ages
  hash -r
  complete -r
  popd >/dev/null
  enable times
  ulimit -S -n 200
  umask 0
}
"#;
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        let first = respond_text(&sandbox, "x");
        assert!(first.starts_with("3 36 a b c fast /bin/true"), "{first}");
        assert!(first.ends_with("once loaded"), "{first}");
        for _ in 0..6 {
            assert_eq!(respond_text(&sandbox, "x"), first, "{isolation:?}");
        }
    });
}

/// bash changes these options with a variable, and does not show that in BASHOPTS.
#[test]
fn options_that_variables_change_are_restored() {
    // The file, and what an event does.
    let cases = [
        ("shopt -s dotglob", "GLOBIGNORE=x"),
        ("shopt -s dotglob", "GLOBIGNORE=x; unset GLOBIGNORE"),
        ("", "GLOBIGNORE=x"),
        ("GLOBIGNORE=y", "GLOBIGNORE=x"),
        ("GLOBIGNORE=y", "unset GLOBIGNORE"),
        ("GLOBIGNORE=y; shopt -u dotglob", "GLOBIGNORE=x"),
        ("shopt -s compat43", "BASH_COMPAT=4.2"),
        ("shopt -s compat43", "BASH_COMPAT=4.2; unset BASH_COMPAT"),
        ("BASH_COMPAT=4.3", "unset BASH_COMPAT"),
        ("", "BASH_COMPAT=4.2"),
    ];
    check_all(
        &cases,
        |case| format!("{case:?}"),
        |(file, event)| {
            let script = format!(
                "{file}\nhandler() {{\n  if [[ $1 == change ]]; then {event}; return; fi\n\
             shopt; printf '%s %s' \"${{GLOBIGNORE-unset}}\" \"${{BASH_COMPAT-unset}}\"\n}}"
            );
            // `set -e` would end it: shopt fails where an option is off.
            let sandbox = Sandbox::of(&format!("set +e\n{script}")).start();
            let before = respond_text(&sandbox, "show");
            assert!(before.contains("dotglob"), "{before}");
            for _ in 0..2 {
                sandbox.respond("change");
                assert_eq!(respond_text(&sandbox, "show"), before);
            }
        },
    );
}

/// What a file may set up that keeps bash from restoring something in the usual way.
#[test]
fn restoring_logs_nothing() {
    let files = [
        "readonly OPTIND",
        "enable -n :",
        "set +h",
        "set +h; readonly OPTIND",
    ];
    for file in files {
        let sandbox = Sandbox::of(&format!("{file}\nhandler() {{ echo \"$1\"; }}")).start();
        assert_eq!(respond_text(&sandbox, "first"), "first");
        sandbox.api.wait_parked();
        // bash says once, at the start, that there is no hash table.
        let before = text(&sandbox.bootstrap.log_bytes());
        assert!(before.lines().count() < 2, "{file}: {before}");
        for _ in 0..3 {
            assert_eq!(respond_text(&sandbox, "next"), "next");
        }
        sandbox.api.wait_parked();
        assert_eq!(text(&sandbox.bootstrap.log_bytes()), before, "{file}");
    }
}

#[test]
fn the_status_at_the_start_of_an_event_is_0() {
    let script = "handler() { echo \"$?\"; [[ $1 != fail ]] || return 3; false || :; }";
    for isolation in ["restore", "none", "subshell", "process"] {
        let sandbox = isolated(Some(isolation), script).start();
        for event in ["x", "fail", "x", "x", "fail", "x"] {
            if event == "fail" {
                sandbox.fail(event);
            } else {
                assert_eq!(respond_text(&sandbox, event), "0", "{isolation}");
            }
        }
    }
}

/// Many libraries replace a function by an empty one to run it only once.
#[test]
fn a_function_that_runs_once_runs_once_in_each_event() {
    let script = r"
calls=0
setup() { setup() { :; }; calls=$((calls + 1)); }
handler() { calls=0; setup; setup; setup; echo $calls; }
";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for _ in 0..6 {
            assert_eq!(respond_text(&sandbox, "x"), "1", "{isolation:?}");
        }
    });
}

#[test]
fn the_state_is_restored_after_an_event_that_fails() {
    let script = r#"
size=1
handler() {
  case $1 in
    show) echo "$size ${new-none} $(greet 2>/dev/null || echo none)"; return ;;
  esac
  size=2 new=1
  greet() { echo hello; }
  case $1 in
    return) return 3 ;;
    exit) exit 4 ;;
    false) false ;;
    unset) echo "$no_such_name" ;;
    kill) kill -9 $$ ;;
    exec) exec false ;;
    divide) echo $((1 / 0)) ;;
  esac
}
"#;
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for event in ["return", "exit", "false", "unset", "kill", "exec", "divide"] {
            let answer = sandbox.invoke(Event::fresh(event));
            // A fork may answer before the death of its shell shows.
            assert!(
                answer.is_error() || event == "kill",
                "{isolation:?}, {event}"
            );
            let shown = respond_text(&sandbox, "show");
            assert_eq!(shown, "1 none none", "{isolation:?}, {event}");
        }
    });
}

#[test]
fn many_variables_and_large_ones_are_restored() {
    let script = r#"
for ((i = 0; i < 2000; i++)); do printf -v "of_file_$i" '%s' "value $i"; done
printf -v large '%300000s' x
for ((i = 0; i < 500; i++)); do eval "function_$i() { echo $i; }"; done
handler() {
  local i
  echo "${of_file_7} ${of_file_1999} ${#large} ${new_7-none} $(function_499)"
  for ((i = 0; i < 500; i++)); do printf -v "new_$i" '%s' "$1"; printf -v "of_file_$((i * 4 + 3))" x; done
  large=
}
"#;
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for _ in 0..4 {
            let shown = respond_text(&sandbox, "x");
            assert_eq!(shown, "value 7 value 1999 300000 none 499", "{isolation:?}");
        }
    });
}

#[test]
fn an_unknown_isolation_is_an_init_error_and_the_default_is_restore() {
    let sandbox = Sandbox::of("handler() { :; }")
        .env("COSHELL_ISOLATION", "everything")
        .start();
    let document = sandbox.api.wait_init_error().error_document();
    let message = document["errorMessage"].as_str().unwrap_or_default();
    for name in ["restore", "none", "subshell", "process"] {
        assert!(message.contains(name), "{message}");
    }
    let counting = "handler() { count=$((${count-0} + 1)); echo \"$$ $count\"; }";
    let sandbox = Sandbox::of(counting).start();
    let first = respond_text(&sandbox, "x");
    assert!(first.ends_with(" 1"), "{first}");
    assert_eq!(respond_text(&sandbox, "x"), first);
}

/// After a thousand events no memory, descriptors or files are left.
#[test]
fn restoring_the_state_leaks_nothing() {
    let script = "handler() { new=$1 list+=(\"$1\"); helper() { :; }; export more=$1; hash -p /bin/true x; exec 5>/dev/null; cd /; }";
    let sandbox = Sandbox::of(script)
        .env("COSHELL_ISOLATION", "restore")
        .start();
    let events = |count: usize| {
        for number in 0..count {
            sandbox.respond(number.to_string());
        }
        sandbox.api.wait_parked();
        let shell = sandbox.bootstrap.shell_pid();
        let descriptors = |pid| support::open_descriptors(pid).len();
        let resident = support::resident_bytes(shell);
        (
            shell,
            descriptors(shell),
            descriptors(sandbox.bootstrap.pid()),
            resident,
        )
    };
    let before = events(300);
    let after = events(1000);
    assert_eq!((before.0, before.1, before.2), (after.0, after.1, after.2));
    assert!(after.3 < before.3 + 512 * 1024, "{before:?} {after:?}");
    let files = fs::read_dir(sandbox.task_root.path()).expect("the task root");
    assert_eq!(files.count(), 1);
}

#[test]
fn context_variables_are_right_whatever_the_event_before_did_to_them() {
    // Bash before 4.4 has no `declare -n`.
    if support::always_forks() {
        return;
    }
    let script = r#"
handler() {
  echo "$LAMBDA_RUNTIME_AWS_REQUEST_ID $(printenv LAMBDA_RUNTIME_AWS_REQUEST_ID)"
  eval "$1"
}
"#;
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for (number, change) in [
            "readonly LAMBDA_RUNTIME_AWS_REQUEST_ID",
            "unset -v LAMBDA_RUNTIME_AWS_REQUEST_ID",
            "unset -v LAMBDA_RUNTIME_AWS_REQUEST_ID; declare -ga LAMBDA_RUNTIME_AWS_REQUEST_ID=(x)",
            "declare -gi LAMBDA_RUNTIME_AWS_REQUEST_ID",
            "unset -v LAMBDA_RUNTIME_AWS_REQUEST_ID; declare -gn LAMBDA_RUNTIME_AWS_REQUEST_ID=HOME",
            "export -n LAMBDA_RUNTIME_AWS_REQUEST_ID",
            ":",
        ]
        .into_iter()
        .enumerate()
        {
            let id = format!("id-{number}");
            let shown = text(&sandbox.respond_to(Event::new(&id, change)));
            assert_eq!(shown, format!("{id} {id}"), "{isolation:?}");
        }
    });
}
