//! What an event changed by commands that a search in the code of the file does not see is restored, too.

use support::Sandbox;

fn respond_text(sandbox: &Sandbox, event: &str) -> String {
    String::from_utf8_lossy(&sandbox.respond(event)).into_owned()
}

/// A search for words in the functions does not see these commands. The name of the handler is one that many have, and begins
/// as those of our functions do.
#[test]
fn what_a_command_changed_whose_name_is_not_in_the_code_is_restored() {
    const CHANGES: [&str; 19] = [
        "umask 077; eval 'helper() { echo changed; }'",
        r"\. ./lib.sh",
        r"s\ource ./lib.sh",
        "'source' ./lib.sh",
        "\"\"$source ./lib.sh",
        "$'\\x2e' ./lib.sh",
        "`echo \"$source\"` ./lib.sh",
        "if :; then \"$source\" ./lib.sh; fi",
        "case x in 'a b') ;; *) $source ./lib.sh ;; esac",
        "{ $source ./lib.sh; } 2>/dev/null",
        "time LC_ALL=C . ./lib.sh",
        "{.,./lib.sh}",
        "trap 'sour''ce ./lib.sh' USR1; kill -USR1 $BASHPID",
        "trap again HUP; kill -HUP $BASHPID",
        "mapfile -t \"-C\" \"$callback\" -c 1 lines <<<x",
        "while read -r word; do $word ./lib.sh; done <<<\"$source\"",
        "mapfile -c1 -tC \"$callback\" lines <<<x",
        "cat >/dev/null <<EOF\nlambda_x () \n'\nEOF\n\"$source\" ./lib.sh",
        "trap '\\. ./lib.sh' USR1; kill -USR1 $BASHPID",
    ];
    for function in ["handler", "lambda_handler"] {
        for change in CHANGES {
            // There the handler begins without expand_aliases.
            if change.contains("again") && support::bash_version() < (5, 0) {
                continue;
            }
            let body = format!(
                "shopt -s expand_aliases; alias again='. ./lib.sh'\nsource=source callback='source ./lib.sh #'\nhelper() {{ echo unchanged; }}\n{function}() {{\n\
                 while read -r name mask; do if [[ $name == Umask: ]]; then echo \"$mask\"; fi; done </proc/$$/status\n\
                 helper\nif [[ $1 == first ]]; then\n{change}\nfi\n}}"
            );
            let builder = Sandbox::of(&body).handler(&format!("function.{function}"));
            builder
                .task_root()
                .write("lib.sh", "umask 077\nhelper() { echo changed; }\n");
            let sandbox = builder.start();
            let first = respond_text(&sandbox, "first");
            assert!(first.ends_with("\nunchanged"), "{change}: {first}");
            let second = respond_text(&sandbox, "second");
            assert_eq!(second, first, "{function}: {change}");
        }
    }
}

/// What coshell restores is not exported because of it, nor are variables and functions of coshell.
#[test]
fn a_file_that_exports_everything_keeps_its_shell() {
    if support::always_forks() {
        return;
    }
    let sandbox = Sandbox::of(
        "plain=1\nset -a\nhandler() { set +a; plain=2; local names; names=$(printenv); \
         echo \"$BASH_SUBSHELL $- ${#plain} $(grep -cE '^(BASH_FUNC_)?(__driver_|,|plain=)' <<<\"$names\" || :)\"; }",
    )
    .start();
    let first = respond_text(&sandbox, "");
    assert!(
        first.starts_with("0 ") && first.ends_with(" 1 0"),
        "{first}"
    );
    for _ in 0..4 {
        assert_eq!(respond_text(&sandbox, ""), first);
    }
}

/// The flag belongs to the pipe, which the shell keeps. A large response would fail in every later event.
#[test]
fn a_program_that_makes_the_output_non_blocking_harms_no_later_event() {
    let body = r"handler() {
  if [[ $1 == set ]]; then
    python3 -c 'import fcntl
for fd in 1, 2: fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | 2048)'
  else
    printf '%*s' 3000000 ''
  fi
}";
    for isolation in ["restore", "none", "subshell"] {
        let sandbox = Sandbox::of(body)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        for event in ["large", "set", "large", "large"] {
            let length = if event == "set" { 0 } else { 3_000_000 };
            assert_eq!(sandbox.respond(event).len(), length, "{isolation}: {event}");
        }
    }
}

#[test]
fn the_name_of_the_directory_is_restored() {
    let body = r#"handler() {
  if [[ $1 == set ]]; then
    ln -sfn "$PWD" "$PWD/link"
    cd link
  fi
  echo "$(pwd) $PWD ${OLDPWD-none}"
  (cd .. && pwd)
}"#;
    let sandbox = Sandbox::of(body).start();
    let first = respond_text(&sandbox, "first");
    assert!(respond_text(&sandbox, "set").contains("/link "));
    for event in ["second", "third"] {
        assert_eq!(respond_text(&sandbox, event), first);
    }
}

/// bash gives this variable its value when it is first used.
#[test]
fn a_variable_without_a_value_at_first_stays_for_later_events() {
    let sandbox = Sandbox::of(
        "handler() { [[ $1 != show ]] || declare -p COMP_WORDBREAKS >/dev/null; [[ $1 != set ]] || COMP_WORDBREAKS=x; echo \"${#COMP_WORDBREAKS}\"; }",
    )
    .start();
    let first = respond_text(&sandbox, "first");
    assert_eq!(respond_text(&sandbox, "show"), first);
    assert_eq!(respond_text(&sandbox, "second"), first);
    assert_eq!(respond_text(&sandbox, "set"), "1");
    assert_eq!(respond_text(&sandbox, "third"), first);
}
