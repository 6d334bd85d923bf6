//! Random commands in the functions of a file, and what the next event sees of them.
//!
//! coshell reads the functions of a file once, and after an event looks only for what they could change. So here the commands
//! stand in a function, each in one of the ways in which bash runs a command or hides it, and each function has a bootstrap of its
//! own. `state_fuzz.rs` gives its commands to `eval`, after which coshell compares everything.
//!
//! `COSHELL_TEST_FUNCTIONS=20000` makes a long run, `COSHELL_TEST_SEED` repeats a run.

use std::fs;
use std::panic::catch_unwind;

use crate::state_fuzz::{State, find_differences, panic_text, parse_state};
use support::seeded::{Choices, count, divisor, find_problems, seed};
use support::{Event, Sandbox, repository_file};

/// Commands that are a name and its arguments.
#[rustfmt::skip]
const COMMANDS: &[&str] = &[
    "export x=5", "export -f helper", "export -n ex", "export SHELLOPTS", "typeset -gx list", "typeset -fx helper",
    "local -fx helper", "declare -g x=5", "declare -gi number=2", "declare -fx helper", "declare -ft helper",
    "declare -gn ref=ex", "declare -gu ex", "declare -gl ex=ABC", "declare -gi _", "declare -gx GROUPS",
    "readonly ro=1", "readonly -f helper", "readonly ex",
    "unset helper", "unset -f helper", "unset ex", "unset -v list", "unset GROUPS", "unset DIRSTACK", "unset SRANDOM",
    "read -r x", "read -ra list", "mapfile list", "readarray -t x", "printf -v x %s text", "printf -v 'list[3]' text",
    "getopts ab option -a -b", "let x=5", "let HISTCMD=7",
    "umask 077", "trap 'echo hi' USR1", "trap '' USR2", "trap 'x=5' EXIT", "cd /", "pushd /tmp", "popd -n", "dirs -c",
    "alias q=r", "unalias -a", "hash -p /bin/true tool", "hash -r", "complete -W a tool", "complete tool",
    "history -s text", "enable -n times", "shopt -s nullglob", "shopt -u sourcepath", "shopt -s expand_aliases",
    "set -o noglob", "set -fu", "set -e", "set -a", "set -m", "set +h", "set -o posix", "set -- a b", "shift",
    "ulimit -S -n 300", "ulimit -c 0", "exec 9</dev/null", "exec 5<&-", "exec {fd}</dev/null", "exec 2>/dev/null",
    "wait", "disown -a", "jobs", "times", "caller", "helper", "fc -l", "compopt -o nospace tool",
    "eval 'umask 077'", "source more.bash", ". more.bash",
    "exit 3", "return 3", "false", "exec true", "kill -USR1 $$", "kill -TERM $$", "cat", "ls /",
    "lambda_keep", "lambda_log hi", "lambda_http_response 200", "lambda_error E text",
];

/// Commands of other kinds.
#[rustfmt::skip]
const STATEMENTS: &[&str] = &[
    "x=text", "ex=text", "list[2]=x", "list+=(text)", "map[k]=text", "x+=5", "x=1 y=2 z", "list=() ex= map=([a]=b)",
    "IFS=,", "PATH=/nowhere", "LC_ALL=C", "TZ=Asia/Tokyo", "GLOBIGNORE='*'", "POSIXLY_CORRECT=1", "OPTERR=0", "OPTIND=3",
    "HOME=/x", "RANDOM=5", "SECONDS=100", "BASH_COMPAT=4.2", "FUNCNEST=100", "TMOUT=5", "PWD=/x", "BASH_ARGV0=zero",
    "HISTCMD=7", "GROUPS=(7 8)", "BASH_ALIASES[q]=r", "BASH_CMDS[tool]=/bin/true", "DIRSTACK[1]=/etc",
    "unset GROUPS; declare -ga GROUPS=(7 8)", "unset DIRSTACK; declare -ga DIRSTACK=(/)", "unset HISTCMD; declare -gi HISTCMD=7",
    "unset BASH_ALIASES; declare -gA BASH_ALIASES=([k]=5)", "unset BASH_CMDS; declare -gA BASH_CMDS=([k]=5)",
    "unset SRANDOM; declare -gi SRANDOM=7", "unset FUNCNAME; FUNCNAME=(7 8)",
    "((x = 5))", ": \"${x:=text}\"", ": \"${list[x = 3]}\"", ": ${ex:x=1}", "[[ $1 =~ (.)(.) ]]", "[[ 1 -eq x=1 ]]",
    "[[ -v list[x=1] ]]", "for x in text; do :; done", "for ((x = 0; x < 3; x++)); do :; done",
    "select x in a b; do break; done <<<1", "case $((x = 5)) in 5) ;; esac", "cat <<END\n${x:=text}\nEND", ": <<<\"${x:=text}\"",
    ": >\"/dev/null${x:=}\"", "local -n r=ex; r=text", "local x=5 IFS=x", "local -; set -f", "o=fx; local -$o helper",
    "HOME=-f; export ~ helper", "f() { :; }", "helper() { :; }", "IFS=, read -r x ex <<<a,b", "LC_ALL=C true",
    "exec 8<>/dev/null 7>&2", "{ :; } {fd}</dev/null", "trap 'cd /' RETURN", "trap 'x=5' ERR", "trap 'x=5' DEBUG",
    "coproc { :; }", "sleep 0.01 &", ": <(:)", "echo a | read x", "x=$(x=5; echo $x)", "(cd /; x=5; exit 3)", "! true",
    "set -o posix; x=5 export ex", "set -a; x=5", "set -T; trap 'x=5' RETURN", "shopt -s extdebug",
    "shopt -s lastpipe; echo a | read -r x", "PS4='${x:=text}'; set -x; :", "kill -9 $BASHPID",
    "mapfile -C helper -c 1 <<<x", "compgen -F helper x", "command_not_found_handle() { :; }; no-such", "[[ a =~ a ]]",
    "p=/proc/self; printf name >$p/comm", "p=/proc/self/core; echo 1 >${p}dump_filter", "cd /proc/self; printf name >comm",
    "ulimit -H -n 900", "exec <&- >&-", "exec </dev/null", "echo \"$no_such_name\"", ": \"${no_such_name?gone}\"", "echo $((1 / 0))",
];

/// Ways to run a command: `{m}` is all of it, `{c}` its name, `{r}` the rest, `{q}` all of it in quotes.
#[rustfmt::skip]
const WAYS_FOR_COMMANDS: &[&str] = &[
    "command {m}", "builtin {m}", "\\{m}", "'{c}' {r}", "\"\"{c} {r}", "$'{c}' {r}", "name={c}; $name {r}", "words={q}; $words",
    "command -p {m}", "builtin command {m}", "command -- {m}", "builtin -- {m}", "zz=5 {m}", "HOME=/h IFS=, {m}", "jobs -x {m}",
    "2>/dev/null {m}", "{m} <<<text", "{m} </etc/hostname", ": | {m}", "{m} | cat", "$no_such_name {m}", "$(:) {m}",
    "time {m}", "! {m}", "\"$(echo {c})\" {r}", "`echo {c}` {r}", "set -- {m}; \"$@\"", "if {m}; then :; fi",
    "while {m}; do break; done", "until {m}; do break; done", "{m} || :", "{m} && :", "hash -p /x {c}; {m}",
];

/// The same for every kind.
#[rustfmt::skip]
const WAYS: &[&str] = &[
    "{m}", "{m}", "{m}", "f() {\n{m}\n}; f", "f() (\n{m}\n); f", "eval {q}", "if {\n{m}\n}; then :; fi",
    "for i in 1; do\n{m}\ndone", "case x in x)\n{m}\n;; esac", "{\n{m}\n} >/dev/null", "{\n{m}\n} || :",
    "shopt -s lastpipe; : | {\n{m}\n}", "trap {q} EXIT", "trap {q} USR1; kill -USR1 $$", "trap {q} ERR; false",
    "trap {q} DEBUG; :", "trap {q} RETURN", "source <(echo {q})", ". /dev/stdin <<<{q}", "(\n{m}\n)", "y=$(\n{m}\n)",
    "{m}\nreturn 3", "{m}\nexit 3", "{m}\nset -e; false; :", "{m}\nset -u; echo $no_such_name", "{m}\nlocal -; set -a",
    "local IFS=, x y ex\n{m}", "set -e\n{m}", "set -o posix\n{m}", "shopt -s localvar_inherit nocasematch\n{m}",
    "select s in a; do\n{m}\nbreak; done <<<1", "mapfile -c 1 -C {q}' #' <<<x", "coproc {\n{m}\n}; wait", "{\n{m}\n} & wait",
    "command() {\n{m}\n}; command x", "ls() {\n{m}\n}; ls", "{m}\n{m}", "exec 3>&1 >/dev/null\n{m}",
];

/// What the file does.
#[rustfmt::skip]
const FILES: &[&str] = &[
    "",
    "export ex=old; list=(a b); declare -A map=([k]=v); helper() { x=text; }; exec 5</etc/hostname",
    "ex=old; list=(a); helper() { :; }; shopt -s extglob nullglob lastpipe; trap 'echo usr1' USR1; trap '' WINCH USR2",
    "export ex=old; declare -i number=3; helper() { :; }; export -f helper; hash -p /bin/true tool; umask 027; cd /tmp",
    "helper() { :; }; shopt -s expand_aliases; alias q=r; ex=1",
    "set -f; IFS=:; ex=old; list=(a); declare -n ref=ex; readonly ro=1; helper() { :; }",
    "set -a; ex=old; list=(a b); helper() { :; }; PATH=$PATH:/x; OPTIND=4",
    "ulimit -S -n 500; exec 9</etc/passwd; ex=1; list=(q); helper() { :; }; history -s x; complete -W 'x y' tool",
];

/// A command in one of the ways.
fn change(choices: &mut Choices) -> String {
    let is_command = choices.below(2) == 0;
    let command = choices.choose(if is_command { COMMANDS } else { STATEMENTS });
    let way = if is_command && choices.below(2) == 0 {
        choices.choose(WAYS_FOR_COMMANDS)
    } else {
        choices.choose(WAYS)
    };
    let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
    let quoted = format!("'{}'", command.replace('\'', "'\\''"));
    way.replace("{c}", name)
        .replace("{r}", rest)
        .replace("{q}", &quoted)
        .replace("{m}", command)
}

/// Prints the state, without being read for what it can change: a function of this name that calls the driver is taken for coshell's.
fn probe() -> String {
    let fixture = repository_file("tests/fixtures/state/function.sh");
    let fixture = fs::read_to_string(fixture).expect("the fixture");
    let (_, rest) = fixture.split_once("\nstate() {\n").expect("the function");
    let (body, _) = rest.split_once("\nhandler() {").expect("its end");
    format!("lambda_show_all() {{\n  : __driver_\n{body}")
}

fn read_state(sandbox: &Sandbox) -> State {
    let event = Event::fresh("show");
    let request_id = event.request_id.clone();
    let shown = sandbox.respond_to(event);
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(
        shown.ends_with("== end"),
        "the state is incomplete: {shown}"
    );
    parse_state(&shown, &request_id)
}

/// What the next event sees of a function, after its first and its second event.
fn find_changes(isolation: &str, file: &str, body: &str) -> Vec<String> {
    let script = format!(
        ". \"$LAMBDA_TASK_ROOT/probe.bash\"\n{file}\nchange() {{\n{body}\n}}\nhandler() {{\n  set -- \"$1\" \"$? ${{PIPESTATUS[*]}}\"\n  if [[ $1 == show ]]; then lambda_show_all é \"$2\"; else change \"$1\"; fi\n}}\n"
    );
    let sandbox = Sandbox::of(&script)
        .file("probe.bash", probe())
        .file("more.bash", "umask 077; x=text\n")
        .env("COSHELL_ISOLATION", isolation)
        .start();
    let expected = read_state(&sandbox);
    let mut found = Vec::new();
    for number in 1..=2 {
        sandbox.invoke(Event::fresh(format!("event {number} of a function")));
        found = find_differences(&expected, &read_state(&sandbox), &[]);
        if !found.is_empty() {
            break;
        }
    }
    found
}

#[test]
fn the_next_event_finds_nothing_of_any_function() {
    const THREADS: usize = 4;
    // Bash before 4.4 has no `declare -n`, and in 4.4 `${!-}` fails under `set -u`.
    if support::bash_version() < (5, 0) {
        return;
    }
    let seed = seed();
    let functions = count("COSHELL_TEST_FUNCTIONS", 120).div_ceil(divisor());
    let problems = find_problems(functions, THREADS, |number| {
        let mut choices = Choices::for_part(seed, number);
        let isolation = choices.choose(&[
            "restore", "restore", "restore", "restore", "subshell", "process",
        ]);
        let file = choices.choose(FILES);
        let lines = 1 + choices.below(3);
        let lines: Vec<_> = (0..lines).map(|_| change(&mut choices)).collect();
        let body = lines.join("\n");
        let found = catch_unwind(|| find_changes(isolation, file, &body));
        let found = found.unwrap_or_else(|panic| vec![panic_text(&*panic)]);
        (!found.is_empty()).then(|| {
            format!(
                "{isolation}, file: {file}\n{body}\n    {}\n",
                found.join("\n    ")
            )
        })
    });
    assert!(
        problems.is_empty(),
        "COSHELL_TEST_SEED={seed}: the next event sees changes of {} of {functions} functions:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
