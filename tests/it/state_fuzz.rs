//! Random changes to a shell: whatever an event did, the next one finds all as it was when the file had been sourced.
//!
//! The handler of `tests/fixtures/state` shows the whole state of its shell, and evaluates every other event. Between two
//! showings come events of one to five [`MUTATIONS`] each; an event may fail or kill its shell, the next showing has to be
//! equal all the same. What fails is tried once more alone, so that the complaint names the mutation.
//!
//! `COSHELL_TEST_MUTATIONS=100000` makes a long run, `COSHELL_TEST_SEED` repeats one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use support::seeded::{Choices, count, find_problems, seed};
use support::{Event, Process, Sandbox, repository_file};

/// What changes a shell. `<n>` is a new name, `<s>` a scalar of the file's, `<l>` one of its lists, `<m>` a map, `<v>` a
/// value, `<i>` a number, `<f>` a function of the file's, `<h>` a new one, `<g>` a signal, `<d>` a folder, `<b>` a builtin.
#[rustfmt::skip]
const MUTATIONS: &[&str] = &[
    // Variables
    "<n>=<v>",
    "declare -g <n>=<v>",
    "export <n>=<v>",
    "declare -gi <n>=<i>",
    "declare -gl <n>=<v>",
    "declare -gu <n>=<v>",
    "declare -gc <n>=<v>",
    "declare -gt <n>=<v>",
    "declare -ga <n>=(<v> <v> [<i>]=<v>)",
    "declare -gA <n>=([a]=<v> [<v>x]=<v>)",
    "declare -gn <n>=<s>",
    "declare -g <n>",
    "declare -gx <n>",
    "declare -gax <n>",
    "<n>+=<v>",
    "<n>[<i>]=<v>",
    "printf -v <n> '%s' <v>",
    "printf -v '<n>[<i>]' '%s' <v>",
    "read -r <n> <l> <<<\"$1\" || :",
    "mapfile -t <n> <<<\"$1\"",
    ": \"${<n>:=<v>}\"",
    "((<n> = <i>, <n>++)) || :",
    "for <n> in a b; do :; done",
    "local <n>=<v> IFS=x OPTIND=7",
    "local -n <n>=<s>; <n>=<v>",
    "<s>=<v>",
    "<s>+=<v>",
    "unset -v <s>",
    "export <s>",
    "export -n exported",
    "declare -g +x exported=<v>",
    "declare -gi <s>=<i>",
    "declare -gu <s>; <s>=<v>",
    "declare -g +i number; number=<v>",
    "declare -g +l lower; lower=<v>",
    "declare -g +u upper; upper=<v>",
    "unset -v <s>; declare -ga <s>=(<v>)",
    "unset -v <s>; declare -gA <s>=([k]=<v>)",
    "unset -v <s>; declare -gn <s>=list",
    "other=<v>",
    "unset -n other",
    "declare -gn other=number",
    "declare -g +n other",
    "<l>+=(<v>)",
    "<l>=(<v>)",
    "<l>[<i>]=<v>",
    "unset -v '<l>[0]'",
    "unset -v <l>",
    "export <l>",
    "<m>[<v>x]=<v>",
    "<m>=()",
    "unset -v '<m>[a]'",
    "unset -v <m>",
    "unset -v <m>; declare -ga <m>=(<v>)",
    "readonly <n>=<v>",
    "readonly <s>",
    "declare -gr <l>",
    "readonly -A <m>",
    "declare -gr <n>; <n>=<v>",
    "fixed=<v>",
    "unset -v fixed || :",
    // Variables that bash knows
    "OPTIND=<i>",
    "getopts ab option -ab || :",
    "getopts ab: option -b x -a rest || :; getopts ab: option -b x -a rest || :",
    "unset -v OPTIND OPTARG; OPTERR=1",
    "PATH=<v>",
    "PATH=/nowhere:$PATH; tool",
    "unset -v PATH",
    "HOME=<d>; CDPATH=<d>; OLDPWD=/nowhere",
    "unset -v HOME OLDPWD PWD",
    "PWD=<v>",
    "LC_ALL=C",
    "export LC_ALL=C.UTF-8 LC_CTYPE=C",
    "unset -v LANG LC_COLLATE",
    "LANG=<v>",
    "TMOUT=<i>",
    "GLOBIGNORE=<v>",
    "GLOBIGNORE='*'; unset -v GLOBIGNORE",
    "POSIXLY_CORRECT=<v>",
    "BASH_ENV=<v>; export BASH_ENV ENV=<v>",
    "export SHELLOPTS",
    "export BASHOPTS",
    "BASH_COMPAT=4.4",
    "IFS=<v>",
    "unset -v IFS",
    "export IFS=<v>",
    "unset -v IFS; declare -ga IFS=(x)",
    "declare -gi IFS",
    "PS4=<v>; set -x; :",
    "BASH_XTRACEFD=9; set -x; :",
    "REPLY=<v>",
    "read -r <<<\"$1\" || :",
    "mapfile <<<\"$1\"",
    "[[ $1 =~ (.)(.) ]]",
    "BASH_ARGV0=<v>",
    "SECONDS=<i>00000",
    "SECONDS=-<i>",
    "RANDOM=<i>",
    "unset -v RANDOM",
    "unset -v SECONDS",
    "unset -v BASHPID",
    "unset -v LINENO",
    "unset -v FUNCNAME || :",
    "unset -v BASH_COMMAND DIRSTACK GROUPS HISTCMD EPOCHSECONDS EPOCHREALTIME SRANDOM",
    "FUNCNEST=<i>",
    "HISTSIZE=<i>; HISTFILE=<v>; HISTCONTROL=ignoreboth",
    "TIMEFORMAT=<v>; PROMPT_COMMAND=<v>; FIGNORE=<v>; EXECIGNORE=<v>",
    "COLUMNS=<i>; LINES=<i>",
    "DIRSTACK[0]=<d>",
    "readonly LAMBDA_RUNTIME_AWS_REQUEST_ID",
    "unset -v LAMBDA_RUNTIME_AWS_REQUEST_ID LAMBDA_RUNTIME_DEADLINE_MS _X_AMZN_TRACE_ID",
    "unset -v LAMBDA_RUNTIME_TRACE_ID; declare -ga LAMBDA_RUNTIME_TRACE_ID=(x)",
    "export LAMBDA_RUNTIME_CLIENT_CONTEXT=<v>",
    "declare -gi LAMBDA_RUNTIME_DEADLINE_MS",
    "unset -v LAMBDA_TASK_ROOT AWS_REGION; export AWS_REGION=<v>",
    // Functions
    "<h>() { echo <v>; }",
    "<h>() { :; }; export -f <h>",
    "<h>() { :; }; readonly -f <h>",
    "<h>() { :; }; declare -ft <h>",
    "<f>() { echo <v>; }",
    "<f>() { :; }; <f>() { echo again; }",
    "unset -f <f>",
    "export -f <f>",
    "export -fn shared",
    "readonly -f <f>",
    "declare -ft <f>",
    "declare -f +t traced",
    "once",
    "onceagain() { onceagain() { :; }; }; onceagain; onceagain",
    "eval \"$(declare -f greet)\"",
    "handler() { echo another; }",
    "unset -f handler",
    "<b>() { :; }",
    "<b>() { command <b> \"$@\"; }",
    "exit() { :; }",
    "command_not_found_handle() { echo <v>; }; no-such-command || :",
    "lambda_log() { :; }; lambda_http_response() { :; }",
    // Commands, aliases, builtins, completions, history
    "hash -r",
    "hash -d tool",
    "hash -p /bin/false tool",
    "hash -p <d> <h>",
    "ls / >/dev/null; cat /dev/null",
    "alias <h>=<v>",
    "alias <b>='echo never'",
    "alias ll=<v>",
    "unalias ll",
    "unalias -a",
    "BASH_ALIASES[<h>]=<v>",
    "BASH_CMDS[<h>]=/bin/true",
    "enable -n <b>",
    "enable times",
    "complete -W <v> <h>",
    "complete -r",
    "complete -r tool",
    "complete -D -F greet",
    "compopt -o filenames tool || :",
    "history -s <v>",
    "history -c",
    "history -d 1 || :",
    // Options, traps
    "set -o <o>",
    "set +o <o>",
    "set +o noclobber; set -o braceexpand",
    "set -e; set +u",
    "set -- <v> <v>",
    "shopt -s <p>",
    "shopt -u <p>",
    "shopt -u nullglob extglob expand_aliases; shopt -s sourcepath",
    "trap 'echo <g>' <g>",
    "trap '' <g>",
    "trap - <g>",
    "trap - USR1 USR2 WINCH",
    "trap 'echo bye' EXIT",
    "trap 'echo failed' ERR",
    "trap ': debug' DEBUG",
    "trap ': return' RETURN",
    "trap '' EXIT",
    "set -T; trap ': debug' DEBUG RETURN; greet x",
    // The folder, descriptors, limits, processes
    "cd <d>",
    "pushd <d>",
    "popd",
    "popd -n || :",
    "dirs -c",
    "cd /; mkdir -p /tmp/gone-$$; cd /tmp/gone-$$; rmdir /tmp/gone-$$",
    "umask <u>",
    "exec 5>/dev/null",
    "exec 7</dev/null 8<>/dev/null",
    "exec {<n>}</dev/null",
    "exec 9<&-",
    "exec 9</dev/null",
    "exec </dev/null",
    "exec >/dev/null",
    "exec 2>/dev/null",
    "exec <&- >&- 2>&-",
    "ulimit -S -n <i>00",
    "ulimit -S -c 10",
    "ulimit -H -n 2000",
    "ulimit -H -c 0",
    "ulimit -s 4096",
    "ulimit -S -t 3000 -f 100000",
    "renice -n 3 -p $BASHPID",
    "/bin/true &",
    "/bin/true & wait",
    "(sleep 0.01 &)",
    "sleep 0.01 & disown",
    "coproc { cat; }; kill \"$COPROC_PID\"",
    "coproc NAMED { :; }; wait || :",
    "cat <(echo <v>)",
    "echo <v> > >(cat)",
    "x=$(echo <v>; exit 3) || :",
    "echo a | read -r <n> || :",
    // Ends of an event
    "exit <i>",
    "return <i>",
    "false",
    "echo \"$unset_for_sure\"",
    ": \"${<n>:?is missing}\"",
    "kill -9 $$",
    "kill $$",
    "kill -9 $BASHPID",
    "exec true",
    "exec no-such-command",
    "eval 'if ('",
    "echo $((1 / 0))",
    "set -n",
    "source /no/such/file",
    "deep() { if (($1)); then deep $(($1 - 1)); else exit 4; fi; }; deep 20",
];

const NEW_NAMES: [&str; 6] = ["new", "new_2", "result", "option", "x", "_private"];
const SCALARS: [&str; 7] = [
    "text", "bytes", "empty", "declared", "number", "lower", "exported",
];
const LISTS: [&str; 3] = ["list", "bare_list", "numbers"];
const MAPS: [&str; 2] = ["map", "bare_map"];
const VALUES: [&str; 15] = [
    "''",
    "x",
    "'two  words'",
    "'*'",
    "\"it's\"",
    "$'a\\nb'",
    "é漢",
    "-n",
    "'$(id)'",
    "'~'",
    "'%s\\'",
    "$'\\xff\\x01'",
    "17",
    "'[1]=2'",
    "'/tmp:/bin'",
];
const FUNCTIONS: [&str; 7] = [
    "greet",
    "shared",
    "traced",
    "once",
    "removable",
    "state",
    "handler",
];
const NEW_FUNCTIONS: [&str; 4] = ["helper", "with-dash", "find", "tool"];
const BUILTINS: [&str; 15] = [
    "printf", "declare", "trap", "unset", "builtin", "shopt", "set", "eval", "cd", "read",
    "export", "local", "exec", "enable", "true",
];
const SIGNALS: [&str; 7] = ["INT", "TERM", "HUP", "USR1", "USR2", "CHLD", "WINCH"];
const FOLDERS: [&str; 4] = ["/", "/tmp", "/usr/bin", "\"$LAMBDA_TASK_ROOT\""];
const NUMBERS: [&str; 5] = ["1", "3", "4", "7", "20"];
const UMASKS: [&str; 3] = ["0", "077", "u=rwx,g=,o="];
const OPTIONS: [&str; 16] = [
    "allexport",
    "braceexpand",
    "errtrace",
    "functrace",
    "hashall",
    "history",
    "keyword",
    "monitor",
    "noclobber",
    "noglob",
    "nounset",
    "physical",
    "pipefail",
    "posix",
    "verbose",
    "notify",
];
const SHOPTS: [&str; 17] = [
    "autocd",
    "checkhash",
    "compat44",
    "dotglob",
    "extdebug",
    "extglob",
    "failglob",
    "globstar",
    "inherit_errexit",
    "lastpipe",
    "localvar_inherit",
    "localvar_unset",
    "nocaseglob",
    "nocasematch",
    "nullglob",
    "sourcepath",
    "xpg_echo",
];

/// One mutation, with its names and values.
fn mutation(choices: &mut Choices) -> String {
    let template = choices.choose(MUTATIONS);
    choices.fill(template, "vi", |choices, letter| {
        let list: &[&str] = match letter {
            'n' => &NEW_NAMES,
            's' => &SCALARS,
            'l' => &LISTS,
            'm' => &MAPS,
            'v' => &VALUES,
            'f' => &FUNCTIONS,
            'h' => &NEW_FUNCTIONS,
            'b' => &BUILTINS,
            'g' => &SIGNALS,
            'd' => &FOLDERS,
            'i' => &NUMBERS,
            'u' => &UMASKS,
            'o' => &OPTIONS,
            'p' => &SHOPTS,
            _ => return None,
        };
        Some(choices.choose(list).to_owned())
    })
}

// What is shown

/// What changes from event to event by itself: of these only the attributes are compared.
const OF_THE_MOMENT: [&str; 26] = [
    "_",
    // Made of the aliases and of the hash table when they are asked for.
    "BASH_ALIASES",
    "BASH_CMDS",
    "BASHPID",
    "BASH_ARGC",
    "BASH_ARGV",
    "BASH_COMMAND",
    "BASH_LINENO",
    "BASH_SOURCE",
    "BASH_SUBSHELL",
    "COMP_WORDBREAKS",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "LAMBDA_RUNTIME_AWS_REQUEST_ID",
    "LAMBDA_RUNTIME_DEADLINE_MS",
    "LINENO",
    "PIPESTATUS",
    "RANDOM",
    "SECONDS",
    "SRANDOM",
    "BASH_ARGV0",
    "BASH_MONOSECONDS",
];
/// From here on descriptors are ours, or bash's own.
const OUR_DESCRIPTORS: u32 = 60;

type State = BTreeMap<String, Vec<String>>;

fn is_ours(name: &str) -> bool {
    name.starts_with("__driver_") || name.starts_with(',') || name == "exit"
}

/// The sections of what was shown, without what belongs to the moment or to us.
fn state_of(shown: &str, request_id: &str) -> State {
    let mut state = State::new();
    let (mut section, mut within_ours) = (String::new(), false);
    for line in shown.lines() {
        if let Some(title) = line.strip_prefix("== ") {
            title.clone_into(&mut section);
            state.entry(section.clone()).or_default();
            continue;
        }
        if let Some(name) = line.strip_suffix(" () ") {
            within_ours = is_ours(name);
        }
        let is_dropped = within_ours;
        within_ours &= line != "}";
        let line = line.replace(request_id, "REQUEST-ID");
        if let Some(line) = shown_line(&section, line).filter(|_| !is_dropped) {
            state.entry(section.clone()).or_default().push(line);
        }
    }
    for (section, lines) in &mut state {
        if section.starts_with('~') {
            lines.sort();
        }
    }
    state
}

fn shown_line(section: &str, line: String) -> Option<String> {
    let words: Vec<_> = line.split(' ').collect();
    match section {
        "variables" if words[0] == "declare" => {
            let name = words.get(2)?.split('=').next()?;
            // What `local -` of ours remembers.
            if name == "-" {
                return None;
            }
            let is_of_the_moment = OF_THE_MOMENT.contains(&name);
            let attributes = || format!("declare {} {name}", words[1]);
            (!is_ours(name)).then(|| {
                if is_of_the_moment {
                    attributes()
                } else {
                    line.clone()
                }
            })
        }
        "functions" if words[0] == "declare" => (!is_ours(words.last()?)).then_some(line),
        "places" => (!is_ours(words[0])).then_some(line),
        "traps" => (!line.contains("__driver_")).then_some(line),
        "~environment" => {
            let is_moment = line.starts_with("LAMBDA_RUNTIME_DEADLINE_MS=");
            Some(if is_moment {
                "LAMBDA_RUNTIME_DEADLINE_MS".to_owned()
            } else {
                line
            })
        }
        "~descriptors" | "~descriptors of programs" => {
            let number: u32 = words[0].parse().ok()?;
            let letters = line.chars();
            let is_numbered = line.contains(":[") || line.contains("/proc/");
            let bare = letters.filter(|letter| !letter.is_ascii_digit());
            let shown = if is_numbered {
                format!("{number} {}", bare.collect::<String>())
            } else {
                line
            };
            (number < OUR_DESCRIPTORS).then_some(shown)
        }
        _ => Some(line),
    }
}

/// A handler may come to run in a fork: then what says so differs, and nothing else. bash resets traps in every fork.
const OF_A_FORK: [&str; 4] = ["shell", "traps", "~descriptors", "~descriptors of programs"];

fn level(state: &State) -> String {
    let lines = state.get("shell").and_then(|lines| lines.first());
    lines.cloned().unwrap_or_default()
}

fn differences(expected: &State, got: &State, except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let sections: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
    for section in sections {
        if except.contains(&section.as_str()) {
            continue;
        }
        let none = Vec::new();
        let lines = |state: &State| state.get(section).unwrap_or(&none).clone();
        let (expected, got) = (lines(expected), lines(got));
        let only = |these: &[String], those: &[String], sign: &str| {
            let missing = these.iter().filter(|line| !those.contains(line));
            let told = missing.map(|line| format!("{section}: {sign} {line}"));
            told.collect::<Vec<_>>()
        };
        let before = found.len();
        found.extend(only(&expected, &got, "-"));
        found.extend(only(&got, &expected, "+"));
        if found.len() == before && expected != got {
            found.push(format!("{section}: the same lines in another order"));
        }
    }
    found
}

// The run

/// A sandbox and what its shell showed first, in itself and in a fork.
struct Shown {
    sandbox: Sandbox,
    expected: State,
    expected_in_fork: Option<State>,
    /// How often it was shown in a fork.
    forked: usize,
}

impl Shown {
    fn start(isolation: &str) -> Self {
        let file = repository_file("tests/fixtures/state/function.sh");
        let script = fs::read_to_string(file).expect("the fixture");
        let sandbox = Sandbox::of(&script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        let expected = show(&sandbox);
        Self {
            sandbox,
            expected,
            expected_in_fork: None,
            forked: 0,
        }
    }

    /// Does what the event says, as its text or as a file that it sources.
    fn change(&self, event: &[String], is_sourced: bool) {
        let text = event.join("\n");
        let text = if is_sourced {
            let file = self.sandbox.task_root.write("event.bash", text);
            format!(". {}", file.to_string_lossy())
        } else {
            text
        };
        self.sandbox.invoke(Event::fresh(text));
    }

    /// What is not as it was at first; and where it was seen, with what we logged of it.
    fn changes(&mut self) -> Vec<String> {
        let got = show(&self.sandbox);
        let level = level(&got);
        let is_forked = level != self::level(&self.expected);
        let mut found = match &self.expected_in_fork {
            _ if !is_forked => differences(&self.expected, &got, &[]),
            Some(expected) => differences(expected, &got, &[]),
            None => differences(&self.expected, &got, &OF_A_FORK),
        };
        if is_forked {
            self.expected_in_fork.get_or_insert(got);
            self.forked += 1;
        }
        if !found.is_empty() {
            const SHOWN: usize = 12;
            let left = found.len().saturating_sub(SHOWN);
            found.truncate(SHOWN);
            if left > 0 {
                found.push(format!("and {left} more"));
            }
            let log = self.sandbox.bootstrap.log();
            let own = Process::bootstrap_lines(&log);
            let last = own.last().copied().unwrap_or("nothing");
            found.push(format!("at {level}, our last line of the log: {last}"));
        }
        found
    }
}

#[track_caller]
fn show(sandbox: &Sandbox) -> State {
    let event = Event::fresh("show");
    let request_id = event.request_id.clone();
    let shown = sandbox.respond_to(event);
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(shown.ends_with("== end"), "not all is shown: {shown}");
    state_of(&shown, &request_id)
}

/// What becomes of these events, one after another, in a sandbox of their own; nothing if all is as it was.
fn complaint(isolation: &str, events: &[Vec<String>], is_sourced: bool) -> Option<String> {
    let tried = catch_unwind(|| {
        let mut shown = Shown::start(isolation);
        for event in events {
            shown.change(event, is_sourced);
        }
        shown.changes()
    });
    match tried {
        Ok(changes) => (!changes.is_empty()).then(|| changes.join("\n    ")),
        Err(panic) => Some(text_of(&*panic)),
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let lines = text.unwrap_or("a panic").lines();
    lines.take(4).collect::<Vec<_>>().join("\n    ")
}

/// What is wrong, as small as one event of one mutation where that is wrong alone.
fn smallest(isolation: &str, events: &[Vec<String>], is_sourced: bool, whole: &str) -> String {
    let mut told = String::new();
    for mutation in events.iter().flatten() {
        let alone = [vec![mutation.clone()]];
        if let Some(complaint) = complaint(isolation, &alone, is_sourced) {
            let _ = write!(told, "\n  {mutation}\n    {complaint}");
        }
    }
    if told.is_empty() {
        let shown: Vec<_> = events.iter().map(|event| event.join("\n  ")).collect();
        let shown = shown.join("\n  -- the next event\n  ");
        let how = if is_sourced { ", sourced" } else { "" };
        told = format!("\n  together{how}:\n  {shown}\n    {whole}");
    }
    told
}

/// So many mutations between showings; what was found, by the complaint.
fn run_part(isolation: &str, mut choices: Choices, count: usize) -> Vec<String> {
    const ENOUGH: usize = 8;
    let (mut done, mut found) = (0, Vec::new());
    let mut shown = None;
    while done < count && found.len() < ENOUGH {
        let more = choices.below(8);
        let events: Vec<Vec<_>> = (0..if more == 0 { 4 } else { 1 })
            .map(|_| {
                let mutations = 1 + choices.below(5);
                (0..mutations).map(|_| mutation(&mut choices)).collect()
            })
            .collect();
        let is_sourced = choices.below(4) == 0;
        done += events.iter().map(Vec::len).sum::<usize>();
        let tried = catch_unwind(AssertUnwindSafe(|| {
            let shown = shown.get_or_insert_with(|| Shown::start(isolation));
            for event in &events {
                shown.change(event, is_sourced);
            }
            shown.changes()
        }));
        let whole = match tried {
            Ok(changes) if changes.is_empty() => {
                // Once events run in forks they always do; that is enough of them.
                shown = shown.filter(|shown| isolation != "restore" || shown.forked < 5);
                continue;
            }
            Ok(changes) => changes.join("\n    "),
            Err(panic) => text_of(&*panic),
        };
        // It may fail as it is dropped, too.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(shown.take())));
        found.push(smallest(isolation, &events, is_sourced, &whole));
    }
    found
}

fn run(isolation: &str, count: usize) {
    const PARTS: usize = 4;
    let seed = seed();
    let found = find_problems(PARTS, PARTS, |part| {
        let choices = Choices::for_part(seed, part);
        run_part(isolation, choices, count.div_ceil(PARTS))
    });
    assert!(
        found.is_empty(),
        "COSHELL_TEST_SEED={seed}, COSHELL_ISOLATION={isolation}: these events are seen by the next:{}",
        found.concat()
    );
}

/// How many mutations a run has.
fn mutations(share: usize) -> usize {
    count("COSHELL_TEST_MUTATIONS", 2000).div_ceil(share)
}

#[test]
fn whatever_an_event_does_the_next_one_finds_all_as_it_was() {
    assert!(MUTATIONS.len() >= 60, "{} kinds", MUTATIONS.len());
    run("restore", mutations(1));
}

#[test]
fn whatever_an_event_does_in_a_subshell_the_next_one_finds_all_as_it_was() {
    run("subshell", mutations(10));
}

#[test]
fn whatever_an_event_does_in_a_process_the_next_one_finds_all_as_it_was() {
    run("process", mutations(10));
}

/// Without a change in between every showing is the same: else the others would prove nothing.
#[test]
fn what_a_shell_shows_of_itself_is_the_same_again() {
    for isolation in ["none", "subshell", "process"] {
        let mut shown = Shown::start(isolation);
        for _ in 0..3 {
            shown.change(&[":".to_owned()], false);
            let changes = shown.changes();
            assert!(changes.is_empty(), "{isolation}: {changes:#?}");
        }
    }
}

/// Where everything lives on, a change is seen: else the showing would be blind.
#[test]
fn what_lives_on_is_shown() {
    for mutation in [
        "new=1",
        "export new=1",
        "text=changed",
        "map[a]=2",
        "greet() { :; }",
        "helper() { :; }",
        "getopts ab option -ab",
        "hash -p /bin/false tool",
        "complete -r tool",
        "ulimit -S -n 300",
        "dirs -c",
        "enable times",
        "history -s more",
        "readonly number",
        "unset -v RANDOM",
        "sleep 0 &",
        "PATH=/nowhere",
    ] {
        let event = [vec![mutation.to_owned()]];
        assert!(complaint("none", &event, false).is_some(), "{mutation}");
    }
}
