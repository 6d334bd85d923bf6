//! `lambda_keep`: variables that live on from event to event, in every isolation, and into a shell that takes another's place.

use crate::deadline::check_all;
use support::{Event, Sandbox, SandboxBuilder};

const ISOLATIONS: [&str; 4] = ["restore", "none", "subshell", "process"];

fn keeping(isolation: &str, script: &str) -> SandboxBuilder {
    Sandbox::of(script).env("COSHELL_ISOLATION", isolation)
}

#[track_caller]
fn ask(sandbox: &Sandbox, event: &str) -> String {
    let response = sandbox.respond(event);
    String::from_utf8_lossy(&response).into_owned()
}

#[track_caller]
fn everywhere(check: impl Fn(&str) + Sync) {
    check_all(&ISOLATIONS, |it| (*it).to_owned(), |it| check(it));
}

/// How a variable of a kind begins, what each event does to it, and how it is shown after the first three.
struct Kind {
    begins: &'static str,
    event: &'static str,
    shown: [&'static str; 3],
}

const KINDS: &[Kind] = &[
    Kind {
        begins: "kept=0",
        event: "kept=$((kept + 1))",
        shown: [
            r#"declare -- kept="1""#,
            r#"declare -- kept="2""#,
            r#"declare -- kept="3""#,
        ],
    },
    Kind {
        begins: ":",
        event: r#"kept="${kept-}it's \"x\"  "$'\n'"#,
        shown: [
            r#"declare -- kept=$'it\'s "x"  \n'"#,
            r#"declare -- kept=$'it\'s "x"  \nit\'s "x"  \n'"#,
            r#"declare -- kept=$'it\'s "x"  \nit\'s "x"  \nit\'s "x"  \n'"#,
        ],
    },
    Kind {
        begins: "declare -gi kept=5",
        event: "kept+=2",
        shown: [
            r#"declare -i kept="7""#,
            r#"declare -i kept="9""#,
            r#"declare -i kept="11""#,
        ],
    },
    Kind {
        begins: "declare -gu kept=a",
        event: "kept+=b",
        shown: [
            r#"declare -u kept="AB""#,
            r#"declare -u kept="ABB""#,
            r#"declare -u kept="ABBB""#,
        ],
    },
    Kind {
        begins: "declare -gx kept=é",
        event: "kept+=-",
        shown: [
            r#"declare -x kept="é-""#,
            r#"declare -x kept="é--""#,
            r#"declare -x kept="é---""#,
        ],
    },
    Kind {
        begins: "kept=()",
        event: "kept+=(\"$1 ${#kept[@]}\")",
        shown: [
            r#"declare -a kept=([0]="change 0")"#,
            r#"declare -a kept=([0]="change 0" [1]="change 1")"#,
            r#"declare -a kept=([0]="change 0" [1]="change 1" [2]="change 2")"#,
        ],
    },
    Kind {
        begins: "kept=([7]=x)",
        event: "unset -v 'kept[7]'; kept[${#kept[@]} * 3]=y",
        shown: [
            r#"declare -a kept=([0]="y")"#,
            r#"declare -a kept=([0]="y" [3]="y")"#,
            r#"declare -a kept=([0]="y" [3]="y" [6]="y")"#,
        ],
    },
    Kind {
        begins: "declare -gA kept",
        event: "kept[one key]+=x",
        shown: [
            r#"declare -A kept=(["one key"]="x" )"#,
            r#"declare -A kept=(["one key"]="xx" )"#,
            r#"declare -A kept=(["one key"]="xxx" )"#,
        ],
    },
    Kind {
        begins: "declare -gai kept=(1)",
        event: "kept[0]+=1",
        shown: [
            r#"declare -ai kept=([0]="2")"#,
            r#"declare -ai kept=([0]="3")"#,
            r#"declare -ai kept=([0]="4")"#,
        ],
    },
];

/// Its file: the variable is named at the top of it, or in the handler.
fn script(kind: &Kind, is_in_handler: bool) -> String {
    let keep = "lambda_keep kept";
    let (top, within) = if is_in_handler {
        (":", keep)
    } else {
        (keep, ":")
    };
    let Kind { begins, event, .. } = kind;
    format!(
        "{begins}\n{top}\nhandler() {{\n  {within}\n  case $1 in\n    change) {event} ;;\n    die) kill -9 $$ ;;\n    leave) leave=ordinary; readonly leave ;;\n    fail) {event}; return 3 ;;\n  esac\n  declare -p kept\n}}\n"
    )
}

#[test]
fn variables_of_each_kind_live_on_in_each_isolation() {
    for is_in_handler in [false, true] {
        everywhere(|isolation| {
            for kind in KINDS {
                let sandbox = keeping(isolation, &script(kind, is_in_handler)).start();
                for shown in kind.shown {
                    assert_eq!(ask(&sandbox, "change"), shown, "{isolation}");
                }
                assert_eq!(ask(&sandbox, "look"), kind.shown[2], "{isolation}");
            }
        });
    }
}

#[test]
fn variables_live_on_in_a_shell_that_takes_the_place_of_one_that_died() {
    for is_in_handler in [false, true] {
        everywhere(|isolation| {
            for kind in KINDS {
                let sandbox = keeping(isolation, &script(kind, is_in_handler)).start();
                assert_eq!(ask(&sandbox, "change"), kind.shown[0], "{isolation}");
                assert_eq!(ask(&sandbox, "change"), kind.shown[1], "{isolation}");
                // A fork of the shell may have answered by the time that shows.
                let die = || drop(sandbox.invoke(Event::fresh("die")));
                die();
                assert_eq!(ask(&sandbox, "change"), kind.shown[2], "{isolation}");
                die();
                die();
                assert_eq!(ask(&sandbox, "look"), kind.shown[2], "{isolation}");
            }
        });
    }
}

/// What cannot be undone costs a fresh shell, and three times in a row a fork for each event.
#[test]
fn variables_live_on_where_the_shell_could_not_be_restored() {
    everywhere(|isolation| {
        // There nothing is restored: the second event would fail.
        if isolation == "none" {
            return;
        }
        for kind in KINDS {
            let script = script(kind, false);
            let sandbox = keeping(isolation, &script).start();
            for shown in kind.shown {
                assert_eq!(ask(&sandbox, "change"), shown, "{isolation}");
                assert_eq!(ask(&sandbox, "leave"), shown, "{isolation}");
            }
            for _ in 0..5 {
                assert_eq!(ask(&sandbox, "leave"), kind.shown[2], "{isolation}");
            }
        }
    });
}

#[test]
fn variables_of_an_event_that_fails_live_on() {
    everywhere(|isolation| {
        let sandbox = keeping(isolation, &script(&KINDS[0], false)).start();
        assert_eq!(ask(&sandbox, "change"), KINDS[0].shown[0]);
        sandbox.fail("fail");
        assert_eq!(ask(&sandbox, "change"), KINDS[0].shown[2], "{isolation}");
    });
}

/// Only what is named: all else is as the isolation has it.
#[test]
fn nothing_else_lives_on() {
    let script = "other=0\nkept=0\nlambda_keep kept\nhandler() { other=$((other + 1)) kept=$((kept + 1)); echo \"$kept $other\"; }";
    everywhere(|isolation| {
        let sandbox = keeping(isolation, script).start();
        for number in 1..6 {
            let other = if isolation == "none" { number } else { 1 };
            assert_eq!(
                ask(&sandbox, ""),
                format!("{number} {other}"),
                "{isolation}"
            );
        }
    });
}

#[test]
fn several_names_are_kept_by_one_call_and_by_several() {
    let script = "lambda_keep a b\nlambda_keep c\nlambda_keep\nhandler() { lambda_keep d a; a+=a b+=b c+=c d+=d e+=e; echo $a $b $c $d $e; }";
    everywhere(|isolation| {
        let sandbox = keeping(isolation, script)
            .env("COSHELL_SHELL_OPTIONS", "-e")
            .start();
        ask(&sandbox, "");
        let e = if isolation == "none" { "ee" } else { "e" };
        assert_eq!(ask(&sandbox, ""), format!("aa bb cc dd {e}"), "{isolation}");
    });
}

/// A name may be kept before there is such a variable, and what was unset stays unset.
#[test]
fn variable_that_is_unset_is_kept_so() {
    let script = "lambda_keep kept\nhandler() { case $1 in set) kept=value ;; unset) unset -v kept ;; empty) kept= ;; esac; echo \"${kept-none}.\"; }";
    everywhere(|isolation| {
        let sandbox = keeping(isolation, script).start();
        for (event, shown) in [
            ("look", "none."),
            ("set", "value."),
            ("look", "value."),
            ("unset", "none."),
            ("look", "none."),
            ("empty", "."),
            ("look", "."),
        ] {
            assert_eq!(ask(&sandbox, event), shown, "{isolation}, {event}");
        }
    });
}

/// The reference is kept as what it is, and so is what it leads to, if it is named.
#[test]
fn references_are_kept() {
    let script = "declare -n way=target\ntarget=0\nlambda_keep way target\nhandler() { way=$((way + 1)); declare -p way target; }";
    everywhere(|isolation| {
        let sandbox = keeping(isolation, script).start();
        for number in 1..4 {
            let shown = format!("declare -n way=\"target\"\ndeclare -- target=\"{number}\"");
            assert_eq!(ask(&sandbox, ""), shown, "{isolation}");
        }
    });
}

#[test]
fn reference_that_an_event_makes_is_kept() {
    let script = "target=0\nlambda_keep way target\nhandler() { [[ $1 != make ]] || declare -gn way=target; way=$((way + 1)); echo \"${!way} $target\"; }";
    everywhere(|isolation| {
        let sandbox = keeping(isolation, script).start();
        assert_eq!(ask(&sandbox, "make"), "target 1", "{isolation}");
        assert_eq!(ask(&sandbox, ""), "target 2", "{isolation}");
    });
}

/// Bytes that are no text, and many of them.
#[test]
fn values_are_kept_byte_for_byte() {
    let script =
        "lambda_keep kept\nhandler() { [[ $1 == look ]] || kept=$1; printf %s \"$kept\"; }";
    let values: [Vec<u8>; 4] = [
        (1..=255).collect(),
        b"\xff".to_vec(),
        "x".repeat(300_000).into_bytes(),
        b"' $(id) `id` \\ \" \r\n\t end".to_vec(),
    ];
    everywhere(|isolation| {
        let sandbox = keeping(isolation, script).start();
        for value in &values {
            assert!(sandbox.respond(value) == *value, "{isolation}");
            assert!(sandbox.respond("look") == *value, "{isolation}");
        }
    });
}

#[test]
fn name_that_is_none_is_refused() {
    for name in ["1st", "a-b", "", "a b", "a=1", "$(id)", "é!"] {
        let script = format!(
            "kept=0\nlambda_keep kept\nhandler() {{\n  lambda_keep kept '{name}' || status=$?\n  kept=$((kept + 1))\n  echo \"status ${{status-0}} kept $kept\"\n}}\n"
        );
        everywhere(|isolation| {
            let sandbox = keeping(isolation, &script).start();
            for number in 1..3 {
                let shown = ask(&sandbox, "");
                assert_eq!(shown, format!("status 2 kept {number}"), "{name:?}");
            }
            sandbox
                .bootstrap
                .wait_log("function.sh: line 4: lambda_keep: cannot keep ");
            let log = sandbox.bootstrap.final_log();
            let named = log
                .lines()
                .filter(|line| line.contains("cannot keep") && line.contains(name));
            assert!(name.is_empty() || named.count() == 2, "{name:?}: {log}");
        });
    }
}

/// As a command that fails: with `set -e` it ends the handler, and at the top of the file the init.
#[test]
fn refused_name_fails_as_a_command_does() {
    let sandbox = Sandbox::of("handler() { lambda_keep a-b; echo never; }").start();
    let document = sandbox.fail("");
    assert_eq!(document["errorType"], "Function.CommandFailed");
    let message = document["errorMessage"].as_str().unwrap_or_default();
    let is_named =
        message.starts_with("`lambda_keep") && message.contains("ended with status 2 in");
    assert!(is_named, "{message}");
    let sandbox = Sandbox::of("lambda_keep a-b\nhandler() { :; }").start();
    sandbox.api.wait_init_error();
    sandbox.bootstrap.wait_log("lambda_keep: cannot keep ");
}

/// What a subshell does to its variables is its own, as always.
#[test]
fn subshells_keep_nothing_of_theirs() {
    let script = "kept=0\nlambda_keep kept\nhandler() { (lambda_keep other kept; other=inner kept=inner); kept=$((kept + 1)); echo \"$kept ${other-none}\" | cat; }";
    everywhere(|isolation| {
        let sandbox = keeping(isolation, script).start();
        for number in 1..4 {
            assert_eq!(ask(&sandbox, ""), format!("{number} none"), "{isolation}");
        }
    });
}

/// Whatever ends the handler: what was assigned by then is kept.
#[test]
fn variables_are_kept_however_the_handler_ends() {
    let script = r"
kept=0
lambda_keep kept
handler() {
  local text=$1
  kept=$((kept + 1))
  case $1 in
    return) return 0 ;;
    exit) exit 0 ;;
    fails) false ;;
    exits) exit 3 ;;
    trap) trap 'kept=$((kept + 10))' EXIT ;;
  esac
  echo $kept
}
";
    everywhere(|isolation| {
        let sandbox = keeping(isolation, script).start();
        for event in ["return", "exit", "fails", "exits", "trap"] {
            sandbox.invoke(Event::fresh(event));
        }
        assert_eq!(ask(&sandbox, "x"), "16", "{isolation}");
    });
}

/// The names of one lane are its own: each has a shell, and so a variable.
#[test]
fn variables_are_kept_in_each_lane() {
    let script =
        "kept=0\nlambda_keep kept\nhandler() { kept=$((kept + 1)); echo \"$COSHELL_LANE $kept\"; }";
    everywhere(|isolation| {
        let sandbox = keeping(isolation, script).lanes(2).start();
        let mut counts = [0; 2];
        for _ in 0..20 {
            let shown = ask(&sandbox, "");
            let (lane, count) = shown.split_once(' ').expect("two words");
            let lane: usize = lane.parse().expect("a lane");
            counts[lane] += 1;
            assert_eq!(count, counts[lane].to_string(), "{isolation}");
        }
    });
}

/// Kept, and not put back: what is readonly, exported or of another kind by then is so for the next event.
#[test]
fn attributes_are_kept_too() {
    let script = "kept=1\nlambda_keep kept\nhandler() { case $1 in export) export kept ;; integer) declare -gi kept ;; array) unset -v kept; kept=(a b) ;; esac; declare -p kept; }";
    everywhere(|isolation| {
        let sandbox = keeping(isolation, script).start();
        for (event, shown) in [
            ("export", "declare -x kept=\"1\""),
            ("integer", "declare -ix kept=\"1\""),
            ("array", "declare -a kept=([0]=\"a\" [1]=\"b\")"),
        ] {
            assert_eq!(ask(&sandbox, event), shown, "{isolation}");
            assert_eq!(ask(&sandbox, "look"), shown, "{isolation}");
        }
    });
}
