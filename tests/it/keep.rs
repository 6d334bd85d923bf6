//! `lambda_keep`: variables that live on from event to event, in every isolation, and also when the shell is replaced.

use std::process::Command;

use crate::deadline::check_all;
use support::{Event, Sandbox, SandboxBuilder};

const ISOLATIONS: [&str; 4] = ["restore", "none", "subshell", "process"];

fn isolated(isolation: &str, script: &str) -> SandboxBuilder {
    Sandbox::of(script).env("COSHELL_ISOLATION", isolation)
}

#[track_caller]
fn respond_text(sandbox: &Sandbox, event: &str) -> String {
    let response = sandbox.respond(event);
    String::from_utf8_lossy(&response).into_owned()
}

#[track_caller]
fn in_every_isolation(check: impl Fn(&str) + Sync) {
    check_all(&ISOLATIONS, |name| (*name).to_owned(), |name| check(name));
}

/// A kind of variable: how the file sets it, how each event changes it, and what `declare -p` prints after the first three
/// events.
struct Kind {
    begins: &'static str,
    event: &'static str,
    shown: [&'static str; 3],
}

impl Kind {
    /// What `declare -p` of the bash that is tested prints for `shown`.
    fn shown(&self) -> [String; 3] {
        self.shown.map(|text| {
            let output = Command::new(support::bash())
                .args(["-c", &format!("{text}\ndeclare -p kept")])
                .output()
                .expect("bash");
            let text = String::from_utf8(output.stdout).expect("a declaration");
            text.strip_suffix('\n').expect("a line").to_owned()
        })
    }
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

/// The file. It calls `lambda_keep` at its top level or in the handler.
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
        in_every_isolation(|isolation| {
            for kind in KINDS {
                let sandbox = isolated(isolation, &script(kind, is_in_handler)).start();
                for shown in kind.shown() {
                    assert_eq!(respond_text(&sandbox, "change"), shown, "{isolation}");
                }
                assert_eq!(
                    respond_text(&sandbox, "look"),
                    kind.shown()[2],
                    "{isolation}"
                );
            }
        });
    }
}

#[test]
fn variables_live_on_in_the_shell_that_replaces_a_dead_one() {
    for is_in_handler in [false, true] {
        in_every_isolation(|isolation| {
            for kind in KINDS {
                let sandbox = isolated(isolation, &script(kind, is_in_handler)).start();
                assert_eq!(
                    respond_text(&sandbox, "change"),
                    kind.shown()[0],
                    "{isolation}"
                );
                assert_eq!(
                    respond_text(&sandbox, "change"),
                    kind.shown()[1],
                    "{isolation}"
                );
                // A fork may answer before the death of its shell shows, so any answer will do.
                let die = || drop(sandbox.invoke(Event::fresh("die")));
                die();
                assert_eq!(
                    respond_text(&sandbox, "change"),
                    kind.shown()[2],
                    "{isolation}"
                );
                die();
                die();
                assert_eq!(
                    respond_text(&sandbox, "look"),
                    kind.shown()[2],
                    "{isolation}"
                );
            }
        });
    }
}

/// A change that cannot be undone costs the shell. After three in a row each event gets a fork.
#[test]
fn variables_live_on_when_the_shell_cannot_be_restored() {
    in_every_isolation(|isolation| {
        // Without isolation the variable stays readonly, and the second event would fail.
        if isolation == "none" {
            return;
        }
        for kind in KINDS {
            let script = script(kind, false);
            let sandbox = isolated(isolation, &script).start();
            for shown in kind.shown() {
                assert_eq!(respond_text(&sandbox, "change"), shown, "{isolation}");
                assert_eq!(respond_text(&sandbox, "leave"), shown, "{isolation}");
            }
            for _ in 0..5 {
                assert_eq!(
                    respond_text(&sandbox, "leave"),
                    kind.shown()[2],
                    "{isolation}"
                );
            }
        }
    });
}

#[test]
fn variables_of_an_event_that_fails_live_on() {
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, &script(&KINDS[0], false)).start();
        assert_eq!(respond_text(&sandbox, "change"), KINDS[0].shown()[0]);
        sandbox.fail("fail");
        assert_eq!(
            respond_text(&sandbox, "change"),
            KINDS[0].shown()[2],
            "{isolation}"
        );
    });
}

#[test]
fn only_the_named_variables_live_on() {
    let script = "other=0\nkept=0\nlambda_keep kept\nhandler() { other=$((other + 1)) kept=$((kept + 1)); echo \"$kept $other\"; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for number in 1..6 {
            let other = if isolation == "none" { number } else { 1 };
            assert_eq!(
                respond_text(&sandbox, ""),
                format!("{number} {other}"),
                "{isolation}"
            );
        }
    });
}

#[test]
fn one_call_or_several_calls_can_name_several_variables() {
    let script = "lambda_keep a b\nlambda_keep c\nlambda_keep\nhandler() { lambda_keep d a; a+=a b+=b c+=c d+=d e+=e; echo $a $b $c $d $e; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script)
            .env("COSHELL_SHELL_OPTIONS", "-e")
            .start();
        respond_text(&sandbox, "");
        let e = if isolation == "none" { "ee" } else { "e" };
        assert_eq!(
            respond_text(&sandbox, ""),
            format!("aa bb cc dd {e}"),
            "{isolation}"
        );
    });
}

/// A name may be kept before the variable exists.
#[test]
fn an_unset_variable_stays_unset() {
    let script = "lambda_keep kept\nhandler() { case $1 in set) kept=value ;; unset) unset -v kept ;; empty) kept= ;; esac; echo \"${kept-none}.\"; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for (event, shown) in [
            ("look", "none."),
            ("set", "value."),
            ("look", "value."),
            ("unset", "none."),
            ("look", "none."),
            ("empty", "."),
            ("look", "."),
        ] {
            assert_eq!(respond_text(&sandbox, event), shown, "{isolation}, {event}");
        }
    });
}

/// Both the reference and its target live on if both are named.
#[test]
fn references_live_on() {
    // Bash before 4.4 has no `declare -n`.
    if support::always_forks() {
        return;
    }
    let script = "declare -n way=target\ntarget=0\nlambda_keep way target\nhandler() { way=$((way + 1)); declare -p way target; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for number in 1..4 {
            let shown = format!("declare -n way=\"target\"\ndeclare -- target=\"{number}\"");
            assert_eq!(respond_text(&sandbox, ""), shown, "{isolation}");
        }
    });
}

#[test]
fn a_reference_made_by_an_event_lives_on() {
    // Bash before 4.4 has no `declare -n`.
    if support::always_forks() {
        return;
    }
    let script = "target=0\nlambda_keep way target\nhandler() { [[ $1 != make ]] || declare -gn way=target; way=$((way + 1)); echo \"${!way} $target\"; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        assert_eq!(respond_text(&sandbox, "make"), "target 1", "{isolation}");
        assert_eq!(respond_text(&sandbox, ""), "target 2", "{isolation}");
    });
}

#[test]
fn values_live_on_byte_for_byte() {
    let script =
        "lambda_keep kept\nhandler() { [[ $1 == look ]] || kept=$1; printf %s \"$kept\"; }";
    let values: [Vec<u8>; 4] = [
        (1..=255).collect(),
        b"\xff".to_vec(),
        "x".repeat(300_000).into_bytes(),
        b"' $(id) `id` \\ \" \r\n\t end".to_vec(),
    ];
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for value in &values {
            assert!(sandbox.respond(value) == *value, "{isolation}");
            assert!(sandbox.respond("look") == *value, "{isolation}");
        }
    });
}

#[test]
fn an_invalid_name_is_rejected() {
    for name in ["1st", "a-b", "", "a b", "a=1", "$(id)", "é!"] {
        let script = format!(
            "kept=0\nlambda_keep kept\nhandler() {{\n  lambda_keep kept '{name}' || status=$?\n  kept=$((kept + 1))\n  echo \"status ${{status-0}} kept $kept\"\n}}\n"
        );
        in_every_isolation(|isolation| {
            let sandbox = isolated(isolation, &script).start();
            for number in 1..3 {
                let shown = respond_text(&sandbox, "");
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

#[test]
fn a_variable_that_is_set_anew_for_each_event_is_rejected() {
    for name in ["OPTIND", "RANDOM", "BASHPID", "IFS", "fd:OPTIND"] {
        let script = format!(
            "kept=0\nlambda_keep kept\nlambda_keep {name} || echo refused >&2\nhandler() {{ [[ $1 != die ]] || kill -9 $$; kept=$((kept + 1)); echo \"$kept\"; }}"
        );
        let sandbox = Sandbox::of(&script).start();
        sandbox.bootstrap.wait_log("refused");
        assert_eq!(sandbox.respond("x"), b"1", "{name}");
        sandbox.fail("die");
        assert_eq!(sandbox.respond("x"), b"2", "{name}");
    }
}

/// With `set -e` it ends the handler, or at the top level the init.
#[test]
fn a_rejected_name_fails_like_any_command() {
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

#[test]
fn changes_in_a_subshell_do_not_live_on() {
    let script = "kept=0\nlambda_keep kept\nhandler() { (lambda_keep other kept; other=inner kept=inner); kept=$((kept + 1)); echo \"$kept ${other-none}\" | cat; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for number in 1..4 {
            assert_eq!(
                respond_text(&sandbox, ""),
                format!("{number} none"),
                "{isolation}"
            );
        }
    });
}

#[test]
fn variables_live_on_however_the_handler_ends() {
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
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for event in ["return", "exit", "fails", "exits", "trap"] {
            sandbox.invoke(Event::fresh(event));
        }
        assert_eq!(respond_text(&sandbox, "x"), "16", "{isolation}");
    });
}

/// Each lane has its own shell, and so its own variables.
#[test]
fn variables_live_on_in_each_lane_separately() {
    let script =
        "kept=0\nlambda_keep kept\nhandler() { kept=$((kept + 1)); echo \"$COSHELL_LANE $kept\"; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).lanes(2).start();
        let mut counts = [0; 2];
        for _ in 0..20 {
            let shown = respond_text(&sandbox, "");
            let (lane, count) = shown.split_once(' ').expect("two words");
            let lane: usize = lane.parse().expect("a lane");
            counts[lane] += 1;
            assert_eq!(count, counts[lane].to_string(), "{isolation}");
        }
    });
}

/// A variable that was exported, or got another type, has this attribute in the next event too.
#[test]
fn attributes_live_on_too() {
    // Bash before 4.4 has no `declare -n`.
    if support::always_forks() {
        return;
    }
    let script = "kept=1\nlambda_keep kept\nhandler() { case $1 in export) export kept ;; integer) declare -gi kept ;; array) unset -v kept; kept=(a b) ;; esac; declare -p kept; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        for (event, shown) in [
            ("export", "declare -x kept=\"1\""),
            ("integer", "declare -ix kept=\"1\""),
            ("array", "declare -a kept=([0]=\"a\" [1]=\"b\")"),
        ] {
            assert_eq!(respond_text(&sandbox, event), shown, "{isolation}");
            assert_eq!(respond_text(&sandbox, "look"), shown, "{isolation}");
        }
    });
}

/// bash gives no value to an array that is readonly already.
#[test]
fn a_readonly_array_lives_on_in_the_shell_that_replaces_a_dead_one() {
    // Bash before 4.4 quotes arrays otherwise.
    if support::always_forks() {
        return;
    }
    let script = "declare -A map=([k]=v); kept=0\nlambda_keep kept map\nhandler() { case $1 in fix) kept=(a b); readonly kept map ;; die) kill -9 $$ ;; esac; declare -p kept map; }";
    in_every_isolation(|isolation| {
        let sandbox = isolated(isolation, script).start();
        let shown = "declare -ar kept=([0]=\"a\" [1]=\"b\")\ndeclare -Ar map=([k]=\"v\" )";
        assert_eq!(respond_text(&sandbox, "fix"), shown, "{isolation}");
        sandbox.fail("die");
        for _ in 0..2 {
            assert_eq!(respond_text(&sandbox, "look"), shown, "{isolation}");
        }
    });
}
