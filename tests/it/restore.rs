//! After the answer all that an event changed is put back: what each event finds is what the file made.
//!
//! `state_fuzz.rs` finds what is not put back; here are the handlers for which that matters, how it is done, and what becomes
//! of a handler that does what bash cannot undo.

use std::collections::BTreeSet;
use std::fs;

use crate::deadline::check_all;
use support::{Event, LIMIT, Sandbox, SandboxBuilder, children, wait_until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn ask(sandbox: &Sandbox, event: &str) -> String {
    text(&sandbox.respond(event))
}

/// The three in which no event sees anything of those before; the first by default.
const SEPARATE: [Option<&str>; 4] = [None, Some("restore"), Some("subshell"), Some("process")];

fn isolated(isolation: Option<&str>, script: &str) -> SandboxBuilder {
    let builder = Sandbox::of(script);
    match isolation {
        Some(isolation) => builder.env("COSHELL_ISOLATION", isolation),
        None => builder,
    }
}

#[track_caller]
fn everywhere(check: impl Fn(Option<&str>) + Sync) {
    check_all(&SEPARATE, |it| format!("{it:?}"), |it| check(*it));
}

/// Nobody sets OPTIND back.
#[test]
fn options_in_each_event_are_parsed() {
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
    everywhere(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for (event, response) in [
            ("-s 200 -f gif", "size=200 format=gif"),
            ("-s 300 -f jpg", "size=300 format=jpg"),
            ("-f bmp", "size=100 format=bmp"),
            ("", "size=100 format=png"),
            ("-s 7", "size=7 format=png"),
        ] {
            assert_eq!(ask(&sandbox, event), response, "{isolation:?}");
        }
    });
}

/// Within a word of several options, too.
#[test]
fn place_in_a_word_of_options_is_forgotten() {
    let script = "handler() { local option; getopts abc option \"$1\"; echo \"$option $OPTIND\"; }";
    everywhere(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for _ in 0..3 {
            assert_eq!(ask(&sandbox, "-abc"), "a 1", "{isolation:?}");
        }
        assert_eq!(ask(&sandbox, "-c"), "c 2", "{isolation:?}");
    });
}

#[test]
fn handler_may_source_a_file_of_readonly_variables() {
    let library = "readonly -a MASKS=([8]=255.0.0.0 [16]=255.255.0.0 [24]=255.255.255.0)\n";
    let script = "handler() { source lib/net.sh; echo \"${MASKS[8]} for $1\"; }";
    everywhere(|isolation| {
        let sandbox = isolated(isolation, script)
            .file("lib/net.sh", library)
            .start();
        for number in 0..8 {
            let expected = format!("255.0.0.0 for {number}");
            assert_eq!(
                ask(&sandbox, &number.to_string()),
                expected,
                "{isolation:?}"
            );
        }
    });
}

#[test]
fn handler_may_make_variables_readonly() {
    let script = "handler() { readonly BUCKET=${1%%/*}; echo \"bucket is $BUCKET\"; }";
    everywhere(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for number in 0..8 {
            let shown = ask(&sandbox, &format!("b{number}/key"));
            assert_eq!(shown, format!("bucket is b{number}"), "{isolation:?}");
        }
    });
}

/// Each does what bash cannot undo, and shows whether it was done before.
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
fn what_bash_cannot_undo_costs_no_event() {
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
                    let shown = ask(&sandbox, "x");
                    // The limit is the machine's.
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

/// A shell that could not be put back is replaced before the next event is asked for, which therefore waits for nothing.
#[test]
fn shell_that_cannot_be_restored_is_replaced_before_the_next_event() {
    let script = "echo sourced >>\"$LAMBDA_TASK_ROOT/sourced\"\nhandler() { [[ $1 != leave ]] || readonly left=1; echo \"$$ ${left-none}\"; }";
    let sandbox = Sandbox::of(script)
        .env("COSHELL_ISOLATION", "restore")
        .start();
    let pid = |shown: &str| shown.split(' ').next().unwrap_or_default().to_owned();
    let first = pid(&ask(&sandbox, "x"));
    assert_eq!(pid(&ask(&sandbox, "x")), first);
    assert_eq!(pid(&ask(&sandbox, "leave")), first);
    sandbox.api.wait_parked();
    assert_eq!(sandbox.task_root.read("sourced").lines().count(), 2);
    let second = ask(&sandbox, "x");
    assert_ne!(pid(&second), first);
    assert!(second.ends_with(" none"), "{second}");
    assert_eq!(pid(&ask(&sandbox, "x")), pid(&second));
}

/// The one that is told of is the cause, and it is told of once.
#[test]
fn handler_that_cannot_be_restored_three_times_in_a_row_runs_in_forks() {
    let script = "echo sourced >>\"$LAMBDA_TASK_ROOT/sourced\"\nhandler() { readonly BUCKET=$1; echo \"$$ $BASHPID $BUCKET\"; }";
    let sandbox = Sandbox::of(script)
        .env("COSHELL_ISOLATION", "restore")
        .start();
    let shown: Vec<_> = (0..20)
        .map(|number| ask(&sandbox, &format!("b{number}")))
        .collect();
    sandbox.api.wait_parked();
    let sourced = sandbox.task_root.read("sourced").lines().count();
    let mut shells = BTreeSet::new();
    for (number, shown) in shown.iter().enumerate() {
        let words: Vec<_> = shown.split(' ').collect();
        assert_eq!(words[2], format!("b{number}"));
        assert_eq!(number < 3, words[0] == words[1], "{number}: {shown}");
        shells.insert(words[0]);
    }
    assert_eq!(shells.len(), 4, "{shown:#?}");
    assert_eq!(sourced, 4, "{shown:#?}");
    let log = sandbox.bootstrap.final_log();
    assert_eq!(log.lines().count(), 1, "{log}");
    let names_the_cause = log.contains("BUCKET") || log.contains("readonly");
    assert!(log.starts_with("bootstrap: ") && names_the_cause, "{log}");
}

/// Not in a row: a fresh shell each time, and none of them is a fork.
#[test]
fn handler_that_seldom_cannot_be_restored_runs_in_no_fork() {
    let script = "handler() { [[ $1 != leave ]] || readonly left=1; echo \"$$ $BASHPID\"; }";
    let sandbox = Sandbox::of(script)
        .env("COSHELL_ISOLATION", "restore")
        .start();
    for _ in 0..6 {
        for event in ["leave", "leave", "x"] {
            let shown = ask(&sandbox, event);
            let (shell, own) = shown.split_once(' ').expect("two words");
            assert_eq!(shell, own);
        }
    }
    sandbox.api.wait_parked();
    assert_eq!(sandbox.bootstrap.final_log(), "");
}

/// The number of the process that was made last, on the whole machine.
const LAST_PROCESS: &str = "handler() { local last; read -r _ _ _ _ last </proc/loadavg; echo \"$last $$ $BASHPID $BASH_SUBSHELL\"; new=1; list+=(x); }";

/// Others make processes too, but never between every two events.
#[test]
fn no_process_is_made_for_an_event() {
    for isolation in ["restore", "none"] {
        let sandbox = Sandbox::of(LAST_PROCESS)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        ask(&sandbox, "warm");
        ask(&sandbox, "warm");
        sandbox.api.wait_parked();
        let shell = sandbox.bootstrap.shell_pid().to_string();
        let known = children(sandbox.bootstrap.pid());
        let mut before = String::new();
        let is_the_same = || {
            let shown = ask(&sandbox, "x");
            let words: Vec<_> = shown.split(' ').map(ToOwned::to_owned).collect();
            assert_eq!(words[1..], [shell.clone(), shell.clone(), "0".to_owned()]);
            let last = words[0].clone();
            std::mem::replace(&mut before, last.clone()) == last
        };
        wait_until(is_the_same, LIMIT);
        sandbox.api.wait_parked();
        assert_eq!(children(sandbox.bootstrap.pid()), known, "{isolation}");
    }
}

#[test]
fn process_is_made_for_each_event_where_that_is_asked_for() {
    let sandbox = Sandbox::of(LAST_PROCESS)
        .env("COSHELL_ISOLATION", "subshell")
        .start();
    let mut forks = BTreeSet::new();
    for _ in 0..10 {
        let shown = ask(&sandbox, "x");
        let words: Vec<_> = shown.split(' ').map(ToOwned::to_owned).collect();
        assert_eq!(words[3], "1", "{shown}");
        assert_ne!(words[1], words[2], "{shown}");
        forks.insert(words[2].clone());
    }
    assert_eq!(forks.len(), 10);
}

/// In `none` what is not put back lives on, as it always did there.
#[test]
fn without_isolation_everything_lives_on() {
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
        assert_eq!(ask(&sandbox, ""), expected);
    }
}

/// An event finds what the file made of its shell, and not what a shell has at first.
#[test]
fn what_the_file_made_is_what_each_event_finds() {
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
    everywhere(|isolation| {
        let sandbox = isolated(isolation, script).start();
        let first = ask(&sandbox, "x");
        assert!(first.starts_with("3 36 a b c fast /bin/true"), "{first}");
        assert!(first.ends_with("once loaded"), "{first}");
        for _ in 0..6 {
            assert_eq!(ask(&sandbox, "x"), first, "{isolation:?}");
        }
    });
}

/// As at the start of any function that is called by itself: nothing has failed yet.
#[test]
fn status_at_the_start_of_an_event_is_0() {
    let script = "handler() { echo \"$?\"; [[ $1 != fail ]] || return 3; false || :; }";
    for isolation in ["restore", "none", "subshell", "process"] {
        let sandbox = isolated(Some(isolation), script).start();
        for event in ["x", "fail", "x", "x", "fail", "x"] {
            if event == "fail" {
                sandbox.fail(event);
            } else {
                assert_eq!(ask(&sandbox, event), "0", "{isolation}");
            }
        }
    }
}

/// A name that is set once in a process, as many libraries do, is set once in each event.
#[test]
fn idiom_of_doing_something_once_holds_for_one_event() {
    let script = r"
calls=0
setup() { setup() { :; }; calls=$((calls + 1)); }
handler() { calls=0; setup; setup; setup; echo $calls; }
";
    everywhere(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for _ in 0..6 {
            assert_eq!(ask(&sandbox, "x"), "1", "{isolation:?}");
        }
    });
}

/// An event that fails changes no more than one that succeeds.
#[test]
fn nothing_of_an_event_that_failed_is_found() {
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
    everywhere(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for event in ["return", "exit", "false", "unset", "kill", "exec", "divide"] {
            let answer = sandbox.invoke(Event::fresh(event));
            // A fork of the shell that it kills may have answered by the time that shows.
            assert!(
                answer.is_error() || event == "kill",
                "{isolation:?}, {event}"
            );
            let shown = ask(&sandbox, "show");
            assert_eq!(shown, "1 none none", "{isolation:?}, {event}");
        }
    });
}

/// Many variables, and large ones, of the file and of events.
#[test]
fn many_variables_are_put_back() {
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
    everywhere(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for _ in 0..4 {
            let shown = ask(&sandbox, "x");
            assert_eq!(shown, "value 7 value 1999 300000 none 499", "{isolation:?}");
        }
    });
}

/// The documented names of the isolations, and which is the default.
#[test]
fn isolation_is_one_of_four() {
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
    let first = ask(&sandbox, "x");
    assert!(first.ends_with(" 1"), "{first}");
    assert_eq!(ask(&sandbox, "x"), first);
}

/// Thousands of events in a row leave nothing behind: neither memory nor descriptors.
#[test]
fn putting_back_leaves_nothing() {
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

/// Variables of the invocation are there, whatever the event before did to them.
#[test]
fn variables_of_the_invocation_are_right_after_any_change() {
    let script = r#"
handler() {
  echo "$LAMBDA_RUNTIME_AWS_REQUEST_ID $(printenv LAMBDA_RUNTIME_AWS_REQUEST_ID)"
  eval "$1"
}
"#;
    everywhere(|isolation| {
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
