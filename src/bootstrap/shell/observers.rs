//! What of a file watches the shell that runs it: traps, and options that show each command.
//!
//! A handler in the live shell has functions of ours around it, and leaves them by an ERR trap and a function
//! `exit` of ours. A trap on EXIT, ERR, DEBUG or RETURN would see these, and so would `set -x`. A file whose functions hold
//! such words therefore gets what the words mean: its events run in forks, where bash ends them by itself, or with an
//! isolation that has none, the shell ends with the event. Rather too often yes than no. Neighbours: `file_traits.rs`, which asks
//! what the functions can change; `forks.rs`.

use memchr::memmem;

use super::restore::quoted;
use super::state::State;

/// What the functions of a file, or what the file left, watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Observers {
    /// How a function is left: EXIT and RETURN traps.
    pub ends: bool,
    /// Each command that fails: ERR traps.
    pub errors: bool,
    /// Each command: DEBUG traps, `set -x` and the like.
    pub commands: bool,
}

impl Observers {
    const ENDS: Self = Self {
        ends: true,
        errors: false,
        commands: false,
    };
    const ERRORS: Self = Self {
        ends: false,
        errors: true,
        commands: false,
    };
    /// Each command.
    pub(crate) const COMMANDS: Self = Self {
        ends: false,
        errors: false,
        commands: true,
    };
    const ALL: Self = Self {
        ends: true,
        errors: true,
        commands: true,
    };

    /// Whether there is any.
    pub(crate) fn any(self) -> bool {
        self.ends || self.errors || self.commands
    }

    /// What either of them watches.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            ends: self.ends || other.ends,
            errors: self.errors || other.errors,
            commands: self.commands || other.commands,
        }
    }
}

/// What the `bodies` of functions watch.
pub(crate) fn of_bodies<'a>(bodies: impl Iterator<Item = &'a [u8]>) -> Observers {
    let mut found = Observers::default();
    let mut has_trap = false;
    let mut may_name = Observers::default();
    for body in bodies {
        has_trap |= behind(body, b"trap").any(|rest| sets_trap(&arguments(rest)));
        for word in words(body) {
            may_name = may_name.or(of_signal(word));
        }
        found = found.or(of_options(body)).or(of_traps(body));
    }
    if has_trap { found.or(may_name) } else { found }
}

/// As [`of_bodies`], and what takes from a shell what we do when the handler has returned.
pub(crate) fn of_handlers<'a>(bodies: impl Iterator<Item = &'a [u8]> + Clone) -> Observers {
    let takes_away = bodies.clone().any(|body| {
        let restricts = behind(body, b"set").any(|rest| {
            let words = arguments(rest);
            let mut options = words.iter().take_while(|word| word.starts_with(b"-"));
            options.any(|word| *word != b"--" && word.contains(&b'r'))
        });
        let switches_off = behind(body, b"enable").any(|rest| {
            let words = arguments(rest);
            let option = words.first().filter(|word| word.starts_with(b"-"));
            words.len() > 1
                && option.is_some_and(|word| word.iter().any(|byte| b"nfd".contains(byte)))
        });
        restricts
            || switches_off
            || words(body).any(|word| word == b"restricted")
            || memmem::find(body, b"builtin ()").is_some()
    });
    let found = of_bodies(bodies);
    if takes_away {
        found.or(Observers::COMMANDS)
    } else {
        found
    }
}

/// What options that are on, as `$-` shows them, watch.
pub(crate) fn of_letters(letters: &[u8]) -> Observers {
    let mut found = Observers::default();
    for letter in letters {
        found = found.or(match letter {
            b'E' => Observers::ERRORS,
            b'T' | b'x' | b'k' | b'v' | b'n' | b't' => Observers::COMMANDS,
            _ => Observers::default(),
        });
    }
    found
}

/// What a trap for this signal watches.
pub(crate) fn of_signal(name: &[u8]) -> Observers {
    match name {
        b"ERR" | b"SIGERR" => Observers::ERRORS,
        b"DEBUG" | b"SIGDEBUG" => Observers::COMMANDS,
        b"EXIT" | b"RETURN" | b"SIGEXIT" | b"SIGRETURN" => Observers::ENDS,
        _ => Observers::default(),
    }
}

/// What a file may watch while it is sourced, as far as its text says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watching {
    /// It names the ERR trap, so that whether functions inherit one is its own affair.
    pub errors: bool,
    /// It may show each command.
    pub commands: bool,
    /// It defines a function by the name of the builtin through which we reach all others.
    pub builtin: bool,
}

impl Watching {
    /// Looks at the text of the file, and at the options that bash is given before.
    pub(crate) fn of(text: &[u8], options: &[String]) -> Self {
        let mut options = options.iter().map(|option| of_letters(option.as_bytes()));
        let commands = of_bodies(std::iter::once(text)).commands;
        Self {
            errors: names_errors(text),
            commands: commands || options.any(|option| option.commands),
            builtin: defines_builtin(text),
        }
    }
}

fn defines_builtin(text: &[u8]) -> bool {
    behind_start(text).any(|line| {
        let line = line.strip_prefix(b"function ").unwrap_or(line);
        let rest = line.strip_prefix(b"builtin").map(<[u8]>::trim_ascii_start);
        rest.is_some_and(|rest| rest.starts_with(b"(") || rest.starts_with(b"{"))
    })
}

/// The lines of a text, and what follows a semicolon in them.
fn behind_start(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = text.split(|byte| matches!(byte, b'\n' | b';' | b'{'));
    parts.map(<[u8]>::trim_ascii_start)
}

fn names_errors(text: &[u8]) -> bool {
    words(text)
        .any(|word| word.eq_ignore_ascii_case(b"ERR") || word.eq_ignore_ascii_case(b"SIGERR"))
}

/// Whether a function `builtin` of the file's is kept for its handler.
pub(crate) fn hides_builtin(first: &State) -> bool {
    let kept = first.variable(b"__driver_builtin");
    kept.is_some_and(|shown| !shown.command.ends_with(b"=\"\""))
}

/// Whether the function `exit` is the file's.
pub(crate) fn defines_exit(first: &State) -> bool {
    let bodies = first.all_bodies().unwrap_or_default();
    let start = memmem::find(bodies, b"\nexit () ").map(|at| at + 1);
    let start = start.or_else(|| bodies.starts_with(b"exit () ").then_some(0));
    start.is_some_and(|start| {
        let body = &bodies[start..];
        let end = memmem::find(body, b"\n}").unwrap_or(body.len());
        memmem::find(&body[..end], b"__driver_exit").is_none()
    })
}

/// The commands by which forks find what the file has set to watch its commands; DEBUG last, which sees all that
/// follows.
pub(crate) fn watch_commands(first: &State, observers: Observers) -> Vec<u8> {
    if !observers.errors && !observers.commands {
        return Vec::new();
    }
    let traps = file_traps(first, b"builtin ").concat();
    let mut text = if traps.is_empty() {
        // After a hook they are known already.
        b"builtin declare -g \"__driver_watches=${__driver_watches-}\"\n".to_vec()
    } else {
        [
            b"builtin declare -g __driver_watches=",
            &quoted(&traps)[..],
            b"\n",
        ]
        .concat()
    };
    if hides_builtin(first) {
        // Not a second time, after a hook.
        text.extend_from_slice(
            b"[[ $__driver_watches == *\"$__driver_builtin\" ]] || __driver_watches+=$__driver_builtin\n",
        );
    }
    if observers.commands {
        text.extend_from_slice(b"builtin declare -g __driver_sees_commands=EXIT\n");
    }
    text
}

/// The commands by which a live shell has what the file has set to watch its commands, and functions do not inherit its ERR
/// trap because of ours.
pub(crate) fn live_commands(first: &State, observers: Observers) -> Vec<u8> {
    let mut text = file_traps(first, b"builtin ").concat();
    if observers.ends {
        text.extend_from_slice(b"builtin declare -g __driver_may_trap=1\n");
    }
    if observers.errors {
        text.extend_from_slice(b"builtin declare -g __driver_inherits=+E\nbuiltin set +E\n");
    }
    text
}

fn file_traps(first: &State, word: &[u8]) -> Vec<Vec<u8>> {
    let mut traps: Vec<_> = first.traps_of_file().collect();
    traps.sort_by_key(|(signal, _)| *signal == b"DEBUG");
    traps
        .into_iter()
        .map(|(_, command)| [word, command, b"\n"].concat())
        .collect()
}

/// The words of a text, whatever is around them.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.split(move |byte| !is_part(byte))
        .filter(|word| !word.is_empty())
}

/// What stands behind each `name` that is a word.
fn behind<'a>(text: &'a [u8], name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./".contains(byte);
    memmem::find_iter(text, name).filter_map(move |at| {
        let is_whole = !text[..at].last().is_some_and(is_part);
        let rest = &text[at + name.len()..];
        (is_whole && matches!(rest.first(), Some(b' ' | b'\t'))).then_some(rest)
    })
}

/// The words of a command, without quotes, up to where it ends.
fn arguments(text: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(end), byte) if byte == end => quote = None,
            (Some(b'\''), byte) => word.get_or_insert_default().push(byte),
            (_, b'\\') => word.get_or_insert_default().extend(bytes.next()),
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b' ' | b'\t') => found.extend(word.take()),
            (None, b';' | b'&' | b'|' | b')' | b'\n') => break,
            (_, byte) => word.get_or_insert_default().push(byte),
        }
    }
    found.extend(word);
    found
}

/// Whether a command may start behind `before`, also one in quotes.
fn starts_command(before: &[u8]) -> bool {
    const WORDS: [&[u8]; 7] = [
        b"then", b"do", b"else", b"builtin", b"command", b"eval", b"time",
    ];
    let line = before.rsplit(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default().trim_ascii_end();
    line.last()
        .is_none_or(|byte| b";&|({!)'\"`\\".contains(byte))
        || WORDS.iter().any(|word| line.ends_with(word))
}

/// Whether `trap` with these arguments does more than show traps.
fn sets_trap(arguments: &[Vec<u8>]) -> bool {
    arguments
        .first()
        .is_some_and(|first| !matches!(first.as_slice(), b"-p" | b"-l"))
}

/// Traps whose signal is no word in capitals.
fn of_traps(body: &[u8]) -> Observers {
    let mut found = Observers::default();
    for rest in
        behind(body, b"trap").filter(|rest| starts_command(&body[..body.len() - rest.len() - 4]))
    {
        let words = arguments(rest);
        for word in words.iter().skip(1).filter(|_| sets_trap(&words)) {
            let is_variable = match word.as_slice() {
                [b'$', next, ..] => next.is_ascii_alphanumeric() || b"_{(@*".contains(next),
                word => word.contains(&b'`'),
            };
            found = found.or(match word.to_ascii_uppercase().as_slice() {
                b"0" => Observers::ENDS,
                _ if is_variable => Observers::ALL,
                name => of_signal(name),
            });
        }
    }
    found
}

/// Options that show each command, or take our own from us.
fn of_options(body: &[u8]) -> Observers {
    let mut found = Observers::default();
    for word in words(body) {
        found = found.or(match word {
            b"errtrace" => Observers::ERRORS,
            b"functrace" | b"xtrace" | b"extdebug" | b"keyword" | b"verbose" | b"noexec"
            | b"onecmd" => Observers::COMMANDS,
            _ => Observers::default(),
        });
    }
    for rest in behind(body, b"set") {
        let words = arguments(rest);
        let options = words
            .iter()
            .take_while(|word| matches!(word.first(), Some(b'-' | b'+')) && *word != b"--");
        for word in options {
            found = found.or(of_letters(word));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Observers {
        of_bodies(std::iter::once(body.as_bytes()))
    }

    #[test]
    fn a_trap_on_what_bash_makes_up_watches() {
        for body in [
            "    trap 'rm -f \"$tmp\"' EXIT;",
            "    trap cleanup exit;",
            "    trap -- '' 0",
            "    builtin trap \"a; b\" INT RETURN;",
            "    on_end=EXIT;\n    trap 'x' \"$on_end\"",
        ] {
            assert!(of(body).ends, "{body}");
        }
        for body in [
            "    trap 'x' ERR;",
            "    trap 'it'\\''s; so' INT err",
            "    eval 'trap \"x\" ERR'",
            "    set -E",
            "    set -euo errtrace",
        ] {
            assert_eq!(of(body), Observers::ERRORS, "{body}");
        }
        for body in [
            "    trap - DEBUG",
            "    for s in $SIGNALS; do trap x $s; done",
        ] {
            assert!(of(body).commands, "{body}");
        }
        for body in [
            "    trap 'exit 3' TERM INT;",
            "    echo EXIT ERR DEBUG;",
            "    trap '' USR1; exit 0",
            "    trap -p EXIT",
            "    x=$(trap -p); echo EXIT",
            "    entrapment x ERR",
            "    trap 'log \"a trap of ${name-}\"' USR1",
        ] {
            assert!(!of(body).any(), "{body}");
        }
    }

    #[test]
    fn an_option_that_shows_commands_watches() {
        for body in [
            "    set -x;",
            "    set -eux",
            "    shopt -s extdebug",
            "    set +e -T",
            "    set -k",
        ] {
            assert_eq!(of(body), Observers::COMMANDS, "{body}");
        }
        for body in [
            "    set -e;",
            "    set -- -x;",
            "    set -f; x=1",
            "    set -o pipefail",
            "    reset -x",
            "    printf %s -x",
        ] {
            assert!(!of(body).any(), "{body}");
        }
    }

    #[test]
    fn a_file_names_the_err_trap_in_a_word_of_its_own() {
        assert!(names_errors(b"trap 'x' ERR"));
        assert!(names_errors(b"trap x err\n"));
        assert!(!names_errors(b"echo ERROR >&2; stderr=1"));
    }
}
