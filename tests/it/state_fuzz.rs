//! Makes random changes to a shell. Whatever an event did, the next one must find the state that the file set up.
//!
//! The handler in `tests/fixtures/state` prints the whole state of its shell for the event `show`, and evaluates every other
//! event. Between two snapshots of the state come events of one to five [`MUTATIONS`] each. An event may fail or kill its
//! shell, but the snapshots must be equal. After a difference each mutation is tried alone, so that the failure names it.
//!
//! `COSHELL_TEST_MUTATIONS=100000` makes a long run, `COSHELL_TEST_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use support::seeded::{Choices, count, find_problems, seed};
use support::{Event, Process, Sandbox, repository_file};

/// Commands that change a shell. `<n>` is a new name, `<s>` a scalar of the file, `<l>` a list of the file, `<m>` a map of the
/// file, `<v>` a value, `<i>` a number, `<f>` a function of the file, `<h>` a new function, `<g>` a signal, `<d>` a folder,
/// `<b>` a builtin, `<u>` a umask, `<o>` an option of `set`, `<p>` one of `shopt`.
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
    "'two  fields'",
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

// The state

/// Variables whose values change by themselves. Only their attributes are compared.
const VOLATILE: [&str; 24] = [
    "_",
    // Bash computes these from the aliases and from the hash table.
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
/// Descriptors from here on belong to coshell or to bash itself.
const INTERNAL_DESCRIPTORS: u32 = 60;

pub(crate) type State = BTreeMap<String, Vec<String>>;

/// True for names of the driver.
fn is_internal(name: &str) -> bool {
    name.starts_with("__driver_") || name.starts_with(',') || name == "exit"
}

/// Parses the output of the event `show` into sections, without volatile values and without names of the driver.
pub(crate) fn parse_state(shown: &str, request_id: &str) -> State {
    let mut state = State::new();
    let (mut section, mut is_in_internal) = (String::new(), false);
    // A value may have several lines: BASH_COMMAND has, after a fork of bash 5.1 or earlier.
    let mut is_value_ignored = false;
    for line in shown.lines() {
        if let Some(title) = line.strip_prefix("== ") {
            title.clone_into(&mut section);
            state.entry(section.clone()).or_default();
            continue;
        }
        if let Some(name) = line.strip_suffix(" () ") {
            is_in_internal = is_internal(name);
        }
        if let Some(declared) = line.strip_prefix("declare -") {
            let name = declared.split([' ', '=']).nth(1).unwrap_or_default();
            is_value_ignored = is_internal(name) || VOLATILE.contains(&name);
        }
        let is_rest = section == "variables" && !line.starts_with("declare -");
        let is_dropped = is_in_internal || (is_rest && is_value_ignored);
        is_in_internal &= line != "}";
        let line = line.replace(request_id, "REQUEST-ID");
        if let Some(line) = normalise_line(&section, line).filter(|_| !is_dropped) {
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

/// Returns the line as it is compared, or `None` if it is ignored.
fn normalise_line(section: &str, line: String) -> Option<String> {
    let fields: Vec<_> = line.split(' ').collect();
    match section {
        "variables" if fields[0] == "declare" => {
            let name = fields.get(2)?.split('=').next()?;
            // `local -` in the driver makes this variable.
            if name == "-" {
                return None;
            }
            let is_volatile = VOLATILE.contains(&name);
            let attributes = || format!("declare {} {name}", fields[1]);
            (!is_internal(name)).then(|| {
                if is_volatile {
                    attributes()
                } else {
                    line.clone()
                }
            })
        }
        "functions" if fields[0] == "declare" => (!is_internal(fields.last()?)).then_some(line),
        "places" => (!is_internal(fields[0])).then_some(line),
        "traps" => (!line.contains("__driver_")).then_some(line),
        "~environment" => {
            let is_volatile = line.starts_with("LAMBDA_RUNTIME_DEADLINE_MS=");
            Some(if is_volatile {
                "LAMBDA_RUNTIME_DEADLINE_MS".to_owned()
            } else {
                line
            })
        }
        "~descriptors" | "~descriptors of programs" => {
            let number: u32 = fields[0].parse().ok()?;
            let letters = line.chars();
            let is_numbered = line.contains(":[") || line.contains("/proc/");
            let bare = letters.filter(|letter| !letter.is_ascii_digit());
            let shown = if is_numbered {
                format!("{number} {}", bare.collect::<String>())
            } else {
                line
            };
            (number < INTERNAL_DESCRIPTORS).then_some(shown)
        }
        _ => Some(line),
    }
}

/// The sections that differ if a handler runs in a fork instead of the shell itself. Bash resets traps in every fork.
const FORK_SECTIONS: [&str; 4] = ["shell", "traps", "~descriptors", "~descriptors of programs"];

/// The line that says whether the event ran in a fork.
fn subshell_level(state: &State) -> String {
    let lines = state.get("shell").and_then(|lines| lines.first());
    lines.cloned().unwrap_or_default()
}

pub(crate) fn find_differences(expected: &State, actual: &State, except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let sections: BTreeSet<_> = expected.keys().chain(actual.keys()).collect();
    for section in sections {
        if except.contains(&section.as_str()) {
            continue;
        }
        let none = Vec::new();
        let lines = |state: &State| state.get(section).unwrap_or(&none).clone();
        let (expected, actual) = (lines(expected), lines(actual));
        let only_in = |these: &[String], those: &[String], sign: &str| {
            let missing = these.iter().filter(|line| !those.contains(line));
            let lines = missing.map(|line| format!("{section}: {sign} {line}"));
            lines.collect::<Vec<_>>()
        };
        let before = found.len();
        found.extend(only_in(&expected, &actual, "-"));
        found.extend(only_in(&actual, &expected, "+"));
        if found.len() == before && expected != actual {
            found.push(format!("{section}: the same lines in another order"));
        }
    }
    found
}

// The run

/// A sandbox and the first state of its shell, in the shell itself and in a fork.
struct StateChecker {
    sandbox: Sandbox,
    expected: State,
    expected_in_fork: Option<State>,
    /// How often the state came from a fork.
    fork_count: usize,
}

impl StateChecker {
    fn start(isolation: &str) -> Self {
        let file = repository_file("tests/fixtures/state/function.sh");
        let script = fs::read_to_string(file).expect("the fixture");
        let sandbox = Sandbox::of(&script)
            .env("COSHELL_ISOLATION", isolation)
            .start();
        let expected = read_state(&sandbox);
        Self {
            sandbox,
            expected,
            expected_in_fork: None,
            fork_count: 0,
        }
    }

    /// Runs an event of these mutations, as its text or as a file that it sources.
    fn mutate(&self, event: &[String], is_sourced: bool) {
        let text = event.join("\n");
        let text = if is_sourced {
            let file = self.sandbox.task_root.write("event.bash", text);
            format!(". {}", file.to_string_lossy())
        } else {
            text
        };
        self.sandbox.invoke(Event::fresh(text));
    }

    /// Compares the state with the first one. Returns the differences, with where they were seen and the last log line.
    fn find_changes(&mut self) -> Vec<String> {
        let actual = read_state(&self.sandbox);
        let level = subshell_level(&actual);
        let is_forked = level != subshell_level(&self.expected);
        let mut found = match &self.expected_in_fork {
            _ if !is_forked => find_differences(&self.expected, &actual, &[]),
            Some(expected) => find_differences(expected, &actual, &[]),
            None => find_differences(&self.expected, &actual, &FORK_SECTIONS),
        };
        if is_forked {
            self.expected_in_fork.get_or_insert(actual);
            self.fork_count += 1;
        }
        if !found.is_empty() {
            const MAX_SHOWN: usize = 12;
            let left = found.len().saturating_sub(MAX_SHOWN);
            found.truncate(MAX_SHOWN);
            if left > 0 {
                found.push(format!("and {left} more"));
            }
            let log = self.sandbox.bootstrap.log();
            let lines = Process::bootstrap_lines(&log);
            let last = lines.last().copied().unwrap_or("nothing");
            found.push(format!("at {level}, bootstrap's last log line: {last}"));
        }
        found
    }
}

#[track_caller]
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

/// Runs these events in a new sandbox. Returns the changes of the state, or the text of a panic.
fn find_problem(isolation: &str, events: &[Vec<String>], is_sourced: bool) -> Option<String> {
    let result = catch_unwind(|| {
        let mut checker = StateChecker::start(isolation);
        for event in events {
            checker.mutate(event, is_sourced);
        }
        checker.find_changes()
    });
    match result {
        Ok(changes) => (!changes.is_empty()).then(|| changes.join("\n    ")),
        Err(panic) => Some(panic_text(&*panic)),
    }
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let lines = text.unwrap_or("a panic").lines();
    lines.take(4).collect::<Vec<_>>().join("\n    ")
}

/// Describes a problem by the mutations that cause one alone, or else by all events together.
fn minimise(isolation: &str, events: &[Vec<String>], is_sourced: bool, whole: &str) -> String {
    let mut text = String::new();
    for mutation in events.iter().flatten() {
        let alone = [vec![mutation.clone()]];
        if let Some(problem) = find_problem(isolation, &alone, is_sourced) {
            let _ = write!(text, "\n  {mutation}\n    {problem}");
        }
    }
    if text.is_empty() {
        let shown: Vec<_> = events.iter().map(|event| event.join("\n  ")).collect();
        let shown = shown.join("\n  -- the next event\n  ");
        let how = if is_sourced { ", sourced" } else { "" };
        text = format!("\n  together{how}:\n  {shown}\n    {whole}");
    }
    text
}

/// Runs `count` mutations. Returns the problems that it found, at most `ENOUGH`.
fn run_part(isolation: &str, mut choices: Choices, count: usize) -> Vec<String> {
    const ENOUGH: usize = 8;
    let (mut done, mut found) = (0, Vec::new());
    let mut checker = None;
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
        let result = catch_unwind(AssertUnwindSafe(|| {
            let checker = checker.get_or_insert_with(|| StateChecker::start(isolation));
            for event in &events {
                checker.mutate(event, is_sourced);
            }
            checker.find_changes()
        }));
        let whole = match result {
            Ok(changes) if changes.is_empty() => {
                // Once events run in forks they always do. After a few of those a new sandbox is better.
                checker =
                    checker.filter(|checker| isolation != "restore" || checker.fork_count < 5);
                continue;
            }
            Ok(changes) => changes.join("\n    "),
            Err(panic) => panic_text(&*panic),
        };
        // Dropping the sandbox may panic, too.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(checker.take())));
        found.push(minimise(isolation, &events, is_sourced, &whole));
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
        "COSHELL_TEST_SEED={seed}, COSHELL_ISOLATION={isolation}: the next event sees changes of these:{}",
        found.concat()
    );
}

/// The number of mutations in a run, divided by `share`.
fn mutation_count(share: usize) -> usize {
    count("COSHELL_TEST_MUTATIONS", 2000).div_ceil(share)
}

#[test]
fn the_next_event_finds_the_original_state_after_any_change() {
    // Bash before 4.4 has no `declare -n`, which the file of this test uses.
    if support::always_forks() {
        return;
    }
    assert!(MUTATIONS.len() >= 60, "{} kinds", MUTATIONS.len());
    run("restore", mutation_count(1));
}

#[test]
fn the_next_event_finds_the_original_state_after_any_change_in_a_subshell() {
    // Bash before 4.4 has no `declare -n`, which the file of this test uses.
    if support::always_forks() {
        return;
    }
    run("subshell", mutation_count(10));
}

#[test]
fn the_next_event_finds_the_original_state_after_any_change_in_a_process() {
    // Bash before 4.4 has no `declare -n`, which the file of this test uses.
    if support::always_forks() {
        return;
    }
    run("process", mutation_count(10));
}

/// Otherwise the other tests would find differences that mean nothing.
#[test]
fn the_printed_state_is_stable_without_changes() {
    // Bash before 4.4 has no `declare -n`, which the file of this test uses.
    if support::always_forks() {
        return;
    }
    for isolation in ["none", "subshell", "process"] {
        let mut checker = StateChecker::start(isolation);
        for _ in 0..3 {
            checker.mutate(&[":".to_owned()], false);
            let changes = checker.find_changes();
            assert!(changes.is_empty(), "{isolation}: {changes:#?}");
        }
    }
}

/// Without isolation every change lives on and must be noticed. Otherwise the other tests would prove nothing.
#[test]
fn the_printed_state_shows_changes_that_live_on() {
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
        assert!(find_problem("none", &event, false).is_some(), "{mutation}");
    }
}
