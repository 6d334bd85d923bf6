//! What an event leaves behind that the next event must not find.

use crate::deadline::check_all;
use support::Sandbox;

#[track_caller]
fn respond_text(sandbox: &Sandbox, event: &str) -> String {
    String::from_utf8_lossy(&sandbox.respond(event)).into_owned()
}

/// What the file does, what one event does, and what others print, which has to stay the same.
const LEFT_BEHIND: &[(&str, &str, &str)] = &[
    (
        "",
        "unset BASH_COMMAND; BASH_COMMAND=secret",
        r#"echo "$BASH_COMMAND""#,
    ),
    (
        "",
        "unset BASH_ARGV0; BASH_ARGV0=secret",
        r#"echo "${BASH_ARGV0-unset}""#,
    ),
    (
        "",
        "unset EPOCHSECONDS; EPOCHSECONDS=5",
        "local clock=${EPOCHSECONDS-}; echo ${#clock}",
    ),
    (
        "",
        "unset EPOCHREALTIME; EPOCHREALTIME=5",
        "local clock=${EPOCHREALTIME-}; echo ${#clock}",
    ),
    ("", "export OPTIND", "declare -p OPTIND"),
    (
        "",
        "unset OPTIND; declare -ga OPTIND=(1 secret)",
        "declare -p OPTIND",
    ),
    (
        "",
        "unset OPTIND; declare -gA OPTIND=([a]=secret)",
        "declare -p OPTIND",
    ),
    (
        "",
        "unset OPTIND; declare -gn OPTIND=foo",
        "declare -p OPTIND",
    ),
    ("", "declare -gl OPTIND", "declare -p OPTIND"),
    ("", "readonly OPTIND", "OPTIND=3; echo $OPTIND"),
    ("readonly OPTIND", ":", "declare -p OPTIND"),
    ("", "export PIPESTATUS", "declare -p PIPESTATUS"),
    ("", "readonly PIPESTATUS", "declare -p PIPESTATUS"),
    (
        "hash -p /bin/echo mytool",
        "PATH=$PATH:/opt",
        "mytool found",
    ),
    ("hash -p /bin/echo mytool", "unset PATH", "mytool found"),
    ("", "set -m; sh -c 'kill -STOP $$' || :", "jobs"),
    ("", "set -o monitor; sh -c 'kill -STOP $$' || :", "jobs"),
    (
        "helper() { :; }",
        "local -fx helper",
        "bash -c helper 2>/dev/null || echo none",
    ),
    (
        "helper() { :; }",
        "export {-f,helper}",
        "bash -c helper 2>/dev/null || echo none",
    ),
    (
        "helper() { :; }",
        "declare {-fx,helper}",
        "bash -c helper 2>/dev/null || echo none",
    ),
    (
        "helper() { :; }",
        "export `echo -f` helper",
        "bash -c helper 2>/dev/null || echo none",
    ),
    (
        "",
        "renice -n 5 $$; taskset -p 1 $$; echo 500 >/proc/$$/oom_score_adj; prlimit --pid $$ --nofile=200:1024",
        "nice; taskset -p $$ | tr -d '[:digit:]'; ulimit -n; cat /proc/self/oom_score_adj; sleep 0 & wait",
    ),
    (
        "",
        "exec 65<&- 9</etc/hostname",
        "[[ -e /dev/fd/9 ]] || echo closed",
    ),
    (
        "exec 5</etc/passwd",
        "exec 5>>/etc/passwd",
        "cat <&5 >/dev/null && echo read",
    ),
    (
        "echo old >\"$LAMBDA_TASK_ROOT/f\"; exec 5<\"$LAMBDA_TASK_ROOT/f\"",
        "mv \"$LAMBDA_TASK_ROOT/f\" \"$LAMBDA_TASK_ROOT/g\"; echo secret >\"$LAMBDA_TASK_ROOT/f\"; exec 5<\"$LAMBDA_TASK_ROOT/f\"; cp \"$LAMBDA_TASK_ROOT/g\" \"$LAMBDA_TASK_ROOT/f\"",
        "cat /dev/fd/5",
    ),
    (
        "",
        "python3 -c 'import fcntl, os; fcntl.fcntl(0, fcntl.F_SETFL, os.O_APPEND)'",
        "cat",
    ),
    (
        "",
        "alias key=secret; : \"${BASH_ALIASES[key]}\"",
        "set | grep -c '^BASH_ALIASES.*secret' || :",
    ),
    (
        "",
        "hash -p /bin/true secret; : \"${BASH_CMDS[secret]}\"",
        "set | grep -c '^BASH_CMDS.*secret' || :",
    ),
    ("", "cd /; : \"${DIRSTACK[@]}\"", "set | grep ^DIRSTACK"),
    (
        "",
        "echo \"SRANDOM=$SRANDOM\" >\"$LAMBDA_TASK_ROOT/number\"",
        "set | grep -qxf \"$LAMBDA_TASK_ROOT/number\" || echo other",
    ),
    ("", "declare -gu _", ": foo; echo \"$_\""),
    ("", "read -ra _ <<<\"a secret\"", ": foo; echo \"${_[@]}\""),
    (
        "",
        "declare -gn _=secret",
        ": foo; echo \"$_ ${secret-none}\"",
    ),
    (
        "name='BASH_ALIASES[foo]'",
        "printf -v \"$name\" secret",
        "compgen -a || echo none",
    ),
    (
        "name='BASH_ALIASES[foo]'",
        "local -n reference=$name; reference=secret",
        "compgen -a || echo none",
    ),
    ("pushd / >/dev/null", "DIRSTACK[1]=/etc", "echo ~1"),
    (
        "echo line >\"$LAMBDA_TASK_ROOT/f\"; exec 5<\"$LAMBDA_TASK_ROOT/f\"",
        "exec 5<\"$LAMBDA_TASK_ROOT/f\"; cat <&5",
        "grep pos: \"/proc/$BASHPID/fdinfo/5\"",
    ),
    (
        "command='umask 077'",
        "jobs -x $command",
        "grep Umask \"/proc/$$/status\"",
    ),
    (
        "helper() { :; }",
        "declare +i -fx helper",
        "bash -c helper 2>/dev/null || echo none",
    ),
    (
        "helper() { :; }",
        "option=-f; export \"\"$option helper",
        "bash -c helper 2>/dev/null || echo none",
    ),
    (
        "helper() { :; }",
        "local +i -fx helper",
        "bash -c helper 2>/dev/null || echo none",
    ),
    (
        "set +h",
        "set -h; hash -p /bin/true foo",
        "set -h; foo 2>/dev/null || echo none",
    ),
    (
        "",
        "printf secret >/proc/self/comm",
        "read -r name <\"/proc/$BASHPID/comm\"; echo \"$name\"",
    ),
    (
        "",
        "echo 0x1 >\"/proc/$BASHPID/coredump_filter\"",
        "cat \"/proc/$BASHPID/coredump_filter\"",
    ),
    ("history -s one; history -s two", "HISTSIZE=1", "history"),
    (
        "history -s $'one\\ntwo'; history -s '  three'",
        "history -c",
        "history",
    ),
    (
        "printf 'one\\ntwo\\n' >\"$LAMBDA_TASK_ROOT/f\"",
        "history -n \"$LAMBDA_TASK_ROOT/f\"",
        "history -n \"$LAMBDA_TASK_ROOT/f\"; history",
    ),
    (
        "complete -W $'one\\ntwo' foo; complete -F f -- -x",
        "complete -r",
        "complete -p",
    ),
    (
        "mkdir -p $'/tmp/a\\nb'; pushd $'/tmp/a\\nb' >/dev/null; pushd / >/dev/null",
        "dirs -c",
        "printf %q ~1",
    ),
    (
        "u=Abc n=abc a=(Abc); declare -u u; declare -i n; declare -al a",
        "u=secret n=3 a=(b)",
        "declare -p u n a; echo $$",
    ),
    (
        "lambda_show() { : __driver_; complete -p; }",
        "complete tool",
        "lambda_show",
    ),
    (
        "",
        "unset GROUPS; declare -ga GROUPS=(7 8)",
        "echo \"${GROUPS[*]}\"",
    ),
    (
        "",
        "unset DIRSTACK; declare -ga DIRSTACK=(secret)",
        "cd /; echo \"${DIRSTACK[*]}\"",
    ),
    ("", "HISTCMD=7", "set | grep ^HISTCMD= || :"),
    (
        "",
        "unset BASH_ALIASES; declare -gA BASH_ALIASES=([q]=secret)",
        "alias q=r; echo \"${BASH_ALIASES[q]-none}\"",
    ),
    (
        "",
        "unset BASH_CMDS; declare -gA BASH_CMDS=([q]=secret)",
        "hash -p /bin/true q; echo \"${BASH_CMDS[q]-none}\"",
    ),
    (
        "",
        "unset SRANDOM; declare -gi SRANDOM=7",
        "echo $((SRANDOM == SRANDOM))",
    ),
    (
        "",
        "unset FUNCNAME; FUNCNAME=(7 8)",
        "echo \"${#FUNCNAME[@]}\"",
    ),
    (
        "helper() { :; }",
        "o=fx; local -$o helper",
        "bash -c helper 2>/dev/null || echo none",
    ),
    (
        "helper() { :; }",
        "HOME=-f; export ~ helper",
        "bash -c helper 2>/dev/null || echo none",
    ),
    (
        "",
        "cd /proc/self; printf secret >comm",
        "p=/proc/$$; cat \"$p/comm\"",
    ),
    (
        "",
        "p=/proc/self/core; echo 1 >\"${p}dump_filter\"",
        "p=/proc/$$/core; cat \"${p}dump_filter\"",
    ),
    ("", ":", "tr -cd '[:alpha:] ' <&60"),
    (
        "",
        "python3 -c 'import fcntl, os; fcntl.fcntl(2, fcntl.F_SETOWN, os.getppid()); fcntl.fcntl(2, fcntl.F_SETFL, os.O_ASYNC)'",
        "for i in {1..200}; do echo \"$i\" >&2; done; echo alive",
    ),
    (
        "shopt -s expand_aliases; alias found='echo expanded'",
        "set -o posix",
        "eval found 2>/dev/null || echo none",
    ),
];

#[test]
fn what_one_event_does_is_not_there_in_the_next() {
    // In a fork, as in the tutorial's subshell, bash waits for a stopped process.
    let is_live = |isolation: &str| isolation == "restore" && !support::always_forks();
    let can_end =
        |isolation: &str, change: &str| is_live(isolation) || !change.contains("kill -STOP");
    let items: Vec<_> = LEFT_BEHIND
        .iter()
        .flat_map(|case| ["restore", "subshell"].map(|isolation| (isolation, *case)))
        .filter(|(isolation, (_, change, _))| can_end(isolation, change))
        // Before 5.1 there is no SRANDOM.
        .filter(|(_, (_, change, _))| {
            !change.contains("SRANDOM") || support::bash_version() >= (5, 1)
        })
        .collect();
    check_all(
        &items,
        |item| format!("{item:?}"),
        |(isolation, (file, change, show))| {
            let script = format!(
                "set +e\n{file}\nhandler() {{\n  if [[ $1 == change* ]]; then\n    {{ :; {change}; }} >/dev/null\n    return 0\n  fi\n  {show}\n}}"
            );
            let sandbox = Sandbox::of(&script)
                .env("COSHELL_ISOLATION", isolation)
                .start();
            let before = respond_text(&sandbox, "show");
            for _ in 0..2 {
                sandbox.respond("change, with a text that is longer than the other event");
                for _ in 0..2 {
                    assert_eq!(respond_text(&sandbox, "show"), before, "{script}");
                }
            }
        },
    );
}
