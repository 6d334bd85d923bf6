//! Runs random handlers under the tutorial's bootstrap and under ours, with three events each, and compares the response
//! bytes.
//!
//! The handlers are made of typical commands, many of which change the shell: variables without `local`, options, traps,
//! folders, functions. The tutorial drops all of that with its subshell. Names come from a short list, and each handler
//! prints some names that it has not set. So it finds what an earlier event left behind, even an event of another handler,
//! since many handlers share a file. Nothing is generated that `docs/tutorial.md` lists as a difference, or that fails.
//!
//! `COSHELL_TEST_HANDLERS` sets the number of handlers, `COSHELL_TEST_SEED` repeats a run.

use support::seeded::{Choices, count, find_problems, seed};
use support::{Event, Sandbox, SandboxBuilder, excerpt};

/// `<s>` is a scalar, `<a>` an array, `<m>` a map, `<i>` a number, `<v>` a value, `<f>` a function, `<o>` an option of
/// `set`, `<p>` one of `shopt`, `<d>` a folder, `<c>` a character, `<w>` some words, `<u>` a name that no other handler has.
#[rustfmt::skip]
const PARTS: &[&str] = &[
    // Show whether something was left behind
    "echo \"scalars: ${name-unset} ${result-unset} ${value-unset} ${mode-unset}\"",
    "echo \"arrays: ${items[*]-} and ${list[*]-}\"",
    "echo \"maps: ${ages[*]} and ${!seen[*]}\"",
    "echo \"numbers: ${count-0} ${number-0} ${tries-0} ${MORE-unset} ${x-unset}\"",
    "declare -F <f> >/dev/null && <f> \"$1\" || echo 'no <f>'",
    "echo \"$PWD $(umask)\"",
    "echo \"$(shopt <p> || :)\"",
    "[[ -o <o> ]] && echo '<o> is on' || echo '<o> is off'",
    "printf 'IFS is %q\\n' \"$IFS\"",
    "echo \"OPTIND is $OPTIND, REPLY is ${REPLY-unset}, ${BASH_REMATCH[*]-} ${MAPFILE[*]-}\"",
    "echo \"$(printenv <s> || echo '<s> is not exported')\"",
    "echo \"LC_ALL is ${LC_ALL-unset}, ${#1} characters\"",
    "[[ $(trap -p USR1 INT) == *\"''\"* || $(trap -p USR1) == *echo* ]] && echo 'a trap' || echo 'no trap'",
    "hash -t tool 2>/dev/null || echo 'no tool'",
    "echo \"aliases: ${!BASH_ALIASES[*]}\"",
    "dirs -p",
    "set -- <v> \"$@\"; echo \"$# $2\"; shift",
    "echo \"soft limit $(ulimit -S -n), $(ulimit -S -c)\"",
    "echo /etc/host*s \"<w>\"",
    "echo \"a=${<s>:-default} b=${<s>:+set}\"",
    // Change variables
    "<s>=<v>",
    "<s>=\"$1\"",
    "<s>=${<s>-}<v>",
    "export <s>=<v>",
    "count=$((${count:-0} + 1)); echo \"count $count\"",
    "number=$((number + <i>)) 2>/dev/null || number=<i>",
    "local <s>=<v>; echo \"$<s>\"",
    "<a>+=(<v> \"$1\"); echo \"${#<a>[@]} ${<a>[@]}\"",
    "<a>=(<w>); echo \"${<a>[-1]}\"",
    "declare -gA <m>; <m>[k]=<v>; <m>[k$1]=1; echo \"${#<m>[@]}\"",
    "unset -v <s> <a>",
    "read -r <s> REPLY <<<'<w>'; echo \"$<s>, $REPLY\"",
    "read -r -a <a> <<<\"$1\"; echo \"${#<a>[@]}\"",
    "mapfile -t <a> < <(printf '%s\\n' <w>); echo \"${<a>[*]}\"",
    "mapfile <<<'<w>'; echo \"${#MAPFILE[@]} ${MAPFILE[0]}\"",
    "printf -v <s> '%05d' <i>; echo \"$<s>\"",
    ": \"${<s>:=<w>}\"; echo \"$<s>\"",
    "[[ $1 =~ ([a-z]+)([0-9]*) ]] && echo \"${BASH_REMATCH[1]} ${BASH_REMATCH[2]}\" || echo 'no match'",
    "while getopts 'ab:c' option -a -b <i> \"$1\"; do echo \"option $option ${OPTARG-}\"; done",
    "getopts 'abc' option -abc && echo \"$option\"",
    "declare -gi number; number=<i>+1; echo \"$number\"",
    "declare -gu <s>; <s>=<v>; echo \"$<s>\"",
    "readonly <u>=<v>; echo \"$<u>\"",
    "for <s> in <w>; do echo \"<s> $<s>\"; done",
    "<s>=$(echo \"$1\" | tr a-z A-Z); echo \"$<s>\"",
    "IFS=<c>; set -- $1 end; echo \"$#: $*\"",
    "IFS=<c> read -r x y <<<\"a<c>b<c>c\"; echo \"$x $y\"",
    "PATH=$PATH:/nowhere; echo \"${PATH##*:}\"",
    "LC_ALL=C; echo \"${#1}\"",
    "SECONDS=<i>; echo \"$((SECONDS >= <i>))\"",
    "set +u; echo \"[$no_such_name]\"",
    // Functions
    "<f>() { echo \"<f> got $1 <i>\"; }; <f> <v>",
    "count_down() { (($1 > 0)) || return 0; echo \"$1\"; count_down $(($1 - 1)); }; count_down 3",
    "once() { once() { :; }; echo 'only once'; }; once; once",
    "unset -f <f>; declare -F <f> >/dev/null || echo gone",
    "twice() { \"$@\"; \"$@\"; }; twice echo <v>",
    // Options, traps, folders, limits
    "set -o <o>; echo 'with <o>'",
    "set +o <o>; echo 'without <o>'",
    "shopt -s <p>; echo 'with <p>'",
    "shopt -u <p>; echo 'without <p>'",
    "set +e; false; echo 'goes on'; set -e",
    "set -f; echo *; set +f",
    "trap 'echo bye' EXIT",
    "trap 'echo usr1' USR1; kill -USR1 $BASHPID; echo after",
    "trap '' INT",
    "cd <d>; pwd",
    "pushd <d> >/dev/null; dirs -p; popd >/dev/null",
    "pushd <d> >/dev/null; pwd",
    "umask 077; umask",
    "ulimit -S -c 0",
    "hash -p /bin/true tool; hash -t tool",
    "alias tool='echo aliased'; echo \"${BASH_ALIASES[tool]}\"",
    // Text, arithmetic, control flow
    "echo \"${1^^} ${1,,} ${1//a/<w>}\"",
    "echo \"${1:0:2} ${1: -2} ${1%%b*} ${1##*b}\"",
    "printf '%s|%5.2f|%x|%q\\n' \"$1\" <i> 255 '<w>'",
    "printf '%s\\n' <w> | sort -r | head -n 2",
    "echo $((<i> * 7 % 5)) $((<i> << 2)) $((<i> > 3 ? 1 : 0))",
    "for ((i = 0; i < 3; i++)); do printf '%s ' $i; done; echo",
    "case $1 in a*) echo 'begins with a' ;; *[0-9]) echo 'ends in a digit' ;; *) echo other ;; esac",
    "until ((${tries:=0} >= 2)); do tries=$((tries + 1)); done; echo \"tries $tries\"",
    "if grep -q b <<<\"$1\"; then echo 'has b'; elif [ -n \"$1\" ]; then echo 'no b'; else echo empty; fi",
    "echo \"$(echo inner; echo <v>)\"",
    "(<s>=inner; cd /; echo \"$<s> $PWD\")",
    "{ echo out; echo err >&2; } 2>&1",
    "cat <<END\n$1 and ${<s>-nothing}\nEND",
    "paste -s -d, <(printf '%s\\n' <w>)",
    "exec 3>&1; echo 'by three' >&3; exec 3>&-",
    "exec {fd}<<<'<w>'; read -r line <&\"$fd\"; echo \"$line\"; exec {fd}<&-",
    "exec > >(sed 's/^/+ /')",
    "sleep 0 & wait $!; echo \"status $?\"",
    "(exit 3) || echo \"status $?\"",
    "x=$(exit 4) || echo \"status $?\"",
    "echo a b | { read -r x y; echo \"$y $x\"; }",
    "eval 'echo \"evaluated <w>\"'",
    "source \"$LAMBDA_TASK_ROOT/more.sh\"; from_more \"$1\"",
    "declare -n reference=<s>; reference=<v>; echo \"$<s>\"; unset -n reference",
    "local -a parts; IFS=, read -r -a parts <<<'1,2,<i>'; echo \"${parts[@]}\"",
    "printf '\\n'",
    "printf 'no newline at its end'",
];

/// How a handler ends. The output of a filter arrives at any time, so nothing is printed after it, and no trap prints either.
const ENDS: [&str; 7] = [
    ":",
    ":",
    ":",
    "return 0",
    "exit 0",
    ":; exit",
    "trap - EXIT; printf '%s\\n' one two > >(sed 's/^/filtered /')",
];

const SCALARS: [&str; 4] = ["name", "result", "value", "mode"];
const ARRAYS: [&str; 2] = ["items", "list"];
const MAPS: [&str; 2] = ["ages", "seen"];
const FUNCTIONS: [&str; 3] = ["greet", "show", "work"];
const OPTIONS: [&str; 5] = [
    "noglob",
    "noclobber",
    "allexport",
    "physical",
    "braceexpand",
];
const SHOPTS: [&str; 5] = ["nullglob", "dotglob", "extglob", "nocasematch", "globstar"];
const FOLDERS: [&str; 3] = ["/", "/tmp", "/usr/bin"];
const VALUES: [&str; 8] = [
    "x",
    "'two words'",
    "\"it's\"",
    "é",
    "'a\"b'",
    "17",
    "'-n'",
    "''",
];
const WORDS: [&str; 4] = ["a b c", "red green", "1 2 3 4", "one"];
const NUMBERS: [&str; 5] = ["1", "2", "3", "10", "42"];
const CHARACTERS: [&str; 3] = [",", ":", "-"];
const EVENTS: [&str; 8] = ["abc", "b7", "", "two words", "a,b,c", "é-x", "-a", "A b:c"];

/// The code that all handlers of a file share.
const TOP: &str = "
number=1
mode=of-the-file
list=(from file)
declare -A ages=([k]=36) seen=([z]=1)
show() { echo \"show of the file: $1\"; }
umask 022
handler() {
  local which=${1%% *}
  set -- \"${1#* }\"
  \"$which\" \"$1\"
}
";

/// The body of one handler.
fn body(choices: &mut Choices, number: usize) -> String {
    let parts = 3 + choices.below(6);
    let mut lines: Vec<_> = (0..parts)
        .map(|_| {
            let part = choices.choose(PARTS);
            choices.fill(part, "", |choices: &mut Choices, letter| {
                let list: &[&str] = match letter {
                    's' => &SCALARS,
                    'a' => &ARRAYS,
                    'm' => &MAPS,
                    'f' => &FUNCTIONS,
                    'o' => &OPTIONS,
                    'p' => &SHOPTS,
                    'd' => &FOLDERS,
                    'v' => &VALUES,
                    'w' => &WORDS,
                    'i' => &NUMBERS,
                    'c' => &CHARACTERS,
                    'u' => return Some(format!("FIXED_{number}_{}", choices.below(10_000))),
                    _ => return None,
                };
                Some(choices.choose(list).to_owned())
            })
        })
        .collect();
    lines.push(choices.choose(&ENDS).to_owned());
    lines.join("\n")
}

/// A file of several handlers.
struct File {
    bodies: Vec<String>,
    /// Each invocation: the number of the handler, and its event.
    events: Vec<(usize, String)>,
}

impl File {
    /// A file of `handlers` handlers. Each of them gets three events, in a random order.
    fn random(choices: &mut Choices, handlers: usize) -> Self {
        let bodies = (0..handlers).map(|number| body(choices, number));
        let bodies: Vec<_> = bodies.collect();
        let called = (0..handlers * 3).map(|number| {
            let event = choices.choose(&EVENTS);
            (number / 3, event.to_owned())
        });
        let mut events: Vec<_> = called.collect();
        for index in (1..events.len()).rev() {
            events.swap(index, choices.below(index + 1));
        }
        Self { bodies, events }
    }

    fn builder(&self) -> SandboxBuilder {
        let functions = self.bodies.iter().enumerate();
        let functions: Vec<_> = functions
            .map(|(number, body)| format!("handler_{number}() {{\n{body}\n}}\n"))
            .collect();
        let script = format!("{}{TOP}", functions.concat());
        Sandbox::of(&script).file(
            "more.sh",
            "from_more() { echo \"from a file: $1\"; }\nMORE=set\n",
        )
    }

    /// The response of each event. An error message is the last entry.
    fn responses(&self, builder: SandboxBuilder) -> Vec<Result<Vec<u8>, String>> {
        let sandbox = builder.start();
        let root = sandbox.task_root.path().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for (handler, event) in &self.events {
            let event = Event::fresh(format!("handler_{handler} {event}"));
            let request_id = event.request_id.clone();
            sandbox.api.push(event);
            let response = match sandbox.api.wait_answer_or_exit(&request_id) {
                Ok(answer) if answer.is_response() => Ok(replace_task_root(&answer.body, &root)),
                Ok(answer) => Err(excerpt(&answer.body)),
                Err(status) => Err(format!("{status}: {}", sandbox.bootstrap.log())),
            };
            let is_dead = response.is_err();
            found.push(response);
            if is_dead {
                break;
            }
        }
        found
    }

    /// Describes the first event with different responses.
    fn find_difference(&self) -> Option<String> {
        let tutorial = self.responses(self.builder().tutorial());
        let ours = self.responses(self.builder());
        let pairs = tutorial.iter().zip(&ours).enumerate();
        let mut different =
            pairs.filter(|(_, (tutorial, ours))| tutorial.is_err() || tutorial != ours);
        let (number, (tutorial, ours)) = different.next()?;
        let (handler, event) = &self.events[number];
        let shown = |response: &Result<Vec<u8>, String>| match response {
            Ok(bytes) => format!("response {:?}", String::from_utf8_lossy(bytes)),
            Err(text) => format!("no response: {text}"),
        };
        let before: Vec<_> = self.events[..number]
            .iter()
            .map(|(handler, _)| handler)
            .collect();
        Some(format!(
            "handler_{handler} {event:?}, after {before:?}:\n{}\n  tutorial: {}\n  ours:     {}\n",
            self.bodies[*handler],
            shown(tutorial),
            shown(ours)
        ))
    }
}

/// Replaces the task root, which has a different path in each sandbox.
fn replace_task_root(bytes: &[u8], root: &str) -> Vec<u8> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while let Some(start) = memchr::memmem::find(rest, root.as_bytes()) {
        found.extend_from_slice(&rest[..start]);
        found.extend_from_slice(b"ROOT");
        rest = &rest[start + root.len()..];
    }
    found.extend_from_slice(rest);
    found
}

#[test]
fn random_handlers_give_the_same_response_bytes() {
    const HANDLERS_PER_FILE: usize = 10;
    const THREADS: usize = 4;
    let seed = seed();
    let files = count("COSHELL_TEST_HANDLERS", 250).div_ceil(HANDLERS_PER_FILE);
    let problems = find_problems(files, THREADS, |number| {
        File::random(&mut Choices::for_part(seed, number), HANDLERS_PER_FILE).find_difference()
    });
    assert!(
        problems.is_empty(),
        "COSHELL_TEST_SEED={seed}: {} of {files} files:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
