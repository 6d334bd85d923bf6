//! What of a shell has to be looked at after each event: what the functions of its file could change.
//!
//! To show a state costs time. A file whose functions hold no `trap` sets none, and one that holds neither
//! `eval` nor a definition defines no function. So the bodies of all functions are read once, and bash is
//! given two functions of its own: `__driver_show` shows what may have changed, and `__driver_reset` resets
//! what costs less to reset than to look at. A file with commands that come out of variables, or that sources
//! others, is looked at all over. Neighbour: `restore.rs` compares what is shown.

use memchr::memmem;

use super::observers::{self, Observers};
use super::restore::{is_own, quoted, value};
use super::state::{Resettable, State};

/// What the first state of a shell says about the events to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileTraits {
    /// The commands that make the shell ready for being put back.
    pub commands: Vec<u8>,
    /// A function starts processes that it need not wait for, by which `$!` changes: bash cannot undo that.
    pub changes_last_job: bool,
}

/// Reads the first state of a shell.
pub(crate) fn file_traits(first: &State) -> FileTraits {
    let mut code: Vec<&[u8]> = user_functions(first.all_bodies().unwrap_or_default()).collect();
    // Those of the driver's are not its file's.
    let traps = first.traps().map(|(_, command)| command);
    code.extend(traps.filter(|command| memmem::find(command, b"__driver_").is_none()));
    let has = |words: &[&[u8]]| {
        let mut code = code.iter();
        code.any(|code| words.iter().any(|word| memmem::find(code, word).is_some()))
    };
    let lines = || {
        code.iter()
            .flat_map(|code| code.split(|byte| *byte == b'\n'))
    };
    let is_opaque = has(&[b"eval", b"source", b"enable", b"function ", b" -C", b"fc "])
        || lines().any(may_run_anything);
    let may = |words: &[&[u8]]| is_opaque || has(words);

    let mut text = b"__driver_show() {\nbuiltin :\n".to_vec();
    let mut add = |is_shown: bool, command: &[u8]| {
        if is_shown {
            text.extend_from_slice(command);
            text.push(b'\n');
        }
    };
    add(may(&[b"umask"]), b"builtin umask");
    add(may(&[b"trap"]), b"builtin trap -p");
    add(may(&[b"alias", b"BASH_ALIASES"]), b"builtin alias -p");
    let attributes: [&[u8]; 5] = [
        b"unset",
        b"export -",
        b"declare -",
        b"typeset -",
        b"readonly -",
    ];
    let shows_functions = may(&attributes);
    add(shows_functions, b"builtin printf '\\0'");
    add(is_opaque, b"builtin enable -n");
    add(shows_functions, b"builtin declare -F");
    if is_opaque {
        let names = first.functions().filter(|(_, name)| !is_own(name));
        let names: Vec<_> = names.map(|(_, name)| quoted(name)).collect();
        let names = names.join(&b' ');
        add(true, b"builtin printf '\\0'");
        if !names.is_empty() {
            add(true, &[b"builtin declare -f -- ", &names[..]].concat());
            // With extdebug it tells the line and the file of each. To switch that off unsets -E.
            let has_it = first.shell_options().any(|name| name == b"extdebug");
            add(!has_it, b"builtin shopt -s extdebug");
            add(true, &[b"builtin declare -F -- ", &names[..]].concat());
            add(!has_it, b"builtin shopt -u extdebug\nbuiltin set -E");
        }
        add(true, b"builtin enable -a");
    }
    text.extend_from_slice(b"}\nbuiltin declare -ft __driver_show\n__driver_reset() {\n");
    let of_file = first.resettable();
    let optind = first.variable(b"OPTIND");
    let optind = optind.map_or_else(Vec::new, |shown| {
        let attributes = shown
            .attributes
            .strip_prefix(b"-")
            .unwrap_or(shown.attributes);
        let value = value(shown.command);
        [b"builtin declare -g", attributes, b" OPTIND", value].concat()
    });
    let reset = Reset {
        random: has_random_numbers(first),
        directories: may(&[b"pushd", b"popd", b"dirs"]),
        completions: may(&[b"complete", b"compopt"]),
        history: may(&[b"history", b"fc "]),
    };
    text.extend_from_slice(&reset_commands(reset, of_file, &optind));
    text.extend_from_slice(b"}\n");
    FileTraits {
        commands: text,
        changes_last_job: has(&[b" & ", b"<(", b">(", b"coproc"])
            || lines().any(|line| line.ends_with(b" &")),
    }
}

/// Whether a function may kill its shell: in a fork that is seen only when both have ended.
pub(crate) fn may_kill(first: &State) -> bool {
    user_functions(first.all_bodies().unwrap_or_default()).any(|body| {
        let words: [&[u8]; 3] = [b"kill", b"eval", b"source"];
        words.iter().any(|word| memmem::find(body, word).is_some())
    })
}

/// What watches the shell: of the functions, and of what the file left.
pub(crate) fn observers(first: &State) -> Observers {
    let bodies: Vec<_> = user_functions(first.all_bodies().unwrap_or_default()).collect();
    let traps = first
        .traps_of_file()
        .map(|(signal, _)| observers::of_signal(signal));
    let options = first.variable(b"__driver_options");
    let options = options.map_or(b"".as_slice(), |shown| value(shown.command));
    let found = observers::of_handlers(bodies.into_iter()).or(observers::of_letters(options));
    let found = traps.fold(found, Observers::or);
    if observers::hides_builtin(first) {
        found.or(Observers::COMMANDS)
    } else {
        found
    }
}

/// What may have changed of that which is reset in any case.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools)]
struct Reset {
    random: bool,
    directories: bool,
    completions: bool,
    history: bool,
}

/// Whether RANDOM is what bash makes of it, and can be started anew: it never gives a number twice in a row.
fn has_random_numbers(first: &State) -> bool {
    let computed = String::from_utf8_lossy(first.computed());
    let mut last = computed.rsplit(' ');
    let are_random = last.next() != last.next();
    are_random
        && first
            .variable(b"RANDOM")
            .is_some_and(|shown| !shown.has(b'r'))
}

/// What leads back to what the file left.
fn reset_commands(reset: Reset, of_file: Option<Resettable>, optind: &[u8]) -> Vec<u8> {
    fn lines(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
        let lines = text.split(|byte| *byte == b'\n');
        lines.filter(|line| !line.is_empty())
    }
    let of_file = of_file.unwrap_or_default();
    let mut text = b"builtin hash -r\n".to_vec();
    let mut add = |parts: &[&[u8]]| {
        for part in parts {
            text.extend_from_slice(part);
        }
        text.push(b'\n');
    };
    for line in lines(of_file.hashed).filter(|line| line.starts_with(b"builtin hash")) {
        add(&[line]);
    }
    if reset.directories {
        add(&[b"builtin dirs -c"]);
        // The first is the current directory.
        for directory in lines(of_file.directories)
            .skip(1)
            .collect::<Vec<_>>()
            .iter()
            .rev()
        {
            add(&[b"builtin pushd -n -- ", &quoted(directory), b" >/dev/null"]);
        }
    }
    // A bash without readline has neither of these.
    if reset.completions {
        add(&[b"builtin complete -r 2>/dev/null"]);
        for line in lines(of_file.completions) {
            add(&[b"builtin ", line]);
        }
    }
    if reset.history {
        add(&[b"builtin history -c 2>/dev/null"]);
        for line in lines(of_file.history) {
            // `    1  command`
            let command = line.trim_ascii_start();
            let digits = command.iter().take_while(|byte| byte.is_ascii_digit());
            let command = command[digits.count()..].trim_ascii_start();
            add(&[b"builtin history -s -- ", &quoted(command)]);
        }
    }
    if reset.random {
        add(&[b"RANDOM=$1"]);
    }
    // Also when its value is the same: where `getopts` is within a word is not to be seen.
    add(&[optind]);
    text
}

/// The bodies of the functions that are not the driver's, without their first lines.
fn user_functions(bodies: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    let mut heads: Vec<(usize, usize, &[u8])> = Vec::new();
    for line in bodies.split(|byte| *byte == b'\n') {
        // Functions within functions are indented.
        if !line.starts_with(b" ")
            && let Some(name) = line.strip_suffix(b" () ")
        {
            heads.push((at, at + line.len(), name));
        }
        at += line.len() + 1;
    }
    let next = heads.iter().skip(1).map(|(start, ..)| *start);
    let ends: Vec<_> = next.chain([bodies.len()]).collect();
    let both = heads.into_iter().zip(ends);
    both.filter(|((_, _, name), _)| !is_own(name) && !is_offered(name))
        .map(|((_, body, _), end)| &bodies[body..end])
}

/// Whether a function of this name is offered by the driver to handlers.
fn is_offered(name: &[u8]) -> bool {
    name == b"exit" || name.starts_with(b"lambda_")
}

/// Whether a line may run code that is not in it: a command that comes out of a variable, a file that is
/// sourced, a definition in a text. Rather too often yes than no.
fn may_run_anything(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let before = |at: usize| at.checked_sub(1).map(|at| line[at]);
    let starts_command = |at: usize| {
        const WORDS: [&[u8]; 10] = [
            b"then", b"do", b"else", b"builtin", b"command", b"if", b"while", b"until", b"time",
            b"trap",
        ];
        let before = line[..at].trim_ascii_end();
        follows_assignments(&line[..at])
            || before.is_empty()
            || matches!(
                before.last(),
                Some(b';' | b'&' | b'|' | b'(' | b'{' | b'!' | b')')
            )
            || WORDS
                .iter()
                .any(|word| without_options(before).ends_with(word))
    };
    memmem::find_iter(line, b"()").any(|at| before(at) != Some(b'='))
        || memmem::find_iter(line, b". ").any(starts_command)
        || memchr::memchr_iter(b'$', line).any(|at| {
            let at = if before(at) == Some(b'"') { at - 1 } else { at };
            starts_command(at)
        })
}

/// Whether what follows is the command after assignments, as in `LC_ALL=C "$@"`.
fn follows_assignments(before: &[u8]) -> bool {
    let start = before
        .iter()
        .rposition(|byte| b";&|({!".contains(byte))
        .map_or(0, |at| at + 1);
    let segment = before[start..].trim_ascii_start();
    let name = segment.split(|byte| *byte == b'=').next();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_[]+".contains(byte);
    let is_even = |quote| {
        memchr::memchr_iter(quote, segment)
            .count()
            .is_multiple_of(2)
    };
    segment.ends_with(b" ")
        && name.is_some_and(|name| name.len() < segment.len() && name.iter().all(is_name))
        && is_even(b'"')
        && is_even(b'\'')
}

/// Without the options at its end: `command -p --`.
fn without_options(mut before: &[u8]) -> &[u8] {
    while let Some(at) = before.iter().rposition(u8::is_ascii_whitespace)
        && before[at + 1..].starts_with(b"-")
    {
        before = before[..at].trim_ascii_end();
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_opaque(line: &str) -> bool {
        may_run_anything(line.as_bytes())
    }

    #[test]
    fn commands_out_of_variables_may_run_anything() {
        for line in [
            "    $command x;",
            "    \"$@\";",
            "    if \"$1\"; then",
            "    true && ${hook};",
            "    . ./lib.sh;",
            "    case $1 in a) $2 ;;",
            "    trap 'f(){ :; }' EXIT;",
            "    trap \"$cleanup\" EXIT;",
            "    LC_ALL=C \"$@\"",
            "    IFS=: x='' $command",
            "    time -p $command",
            "    command -- \"$1\"",
            "    helper () ",
        ] {
            assert!(is_opaque(line), "{line}");
        }
    }

    #[test]
    fn words_in_variables_run_nothing() {
        for line in [
            "    local x=() y=$1;",
            "    echo \"$1\" $2;",
            "    x+=();",
            "    echo -n \"$1\"",
            "    if [[ -n $x ]]; then",
            "    text=\"a $b\"",
            "    local a=1 b=$2",
            "    value=$1 other=\"$2\"",
            "    grep -q -- \"$pattern\"",
            "    echo \"a. b\";",
            "    printf '%s' \"${a[@]}\"",
            "    x=$(date)",
        ] {
            assert!(!is_opaque(line), "{line}");
        }
    }

    #[test]
    fn bodies_of_ours_are_left_out() {
        let bodies = b", () \n{ \n    eval x\n}\nlambda_log () \n{ \n    eval\n}\nown () \n{ \n    function f () \n    echo\n}\n";
        let found: Vec<_> = user_functions(bodies).collect();
        assert_eq!(found, [&b"\n{ \n    function f () \n    echo\n}\n"[..]]);
    }
}
