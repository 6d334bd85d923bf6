//! Finds code of a file that observes the shell: traps, and options that show each command.
//!
//! In the live shell, functions of ours surround the handler, and an ERR trap and a function `exit` of ours end it. A
//! trap of the file on EXIT, ERR, DEBUG or RETURN would see these, and so would `set -x`. So the events of such a
//! file run in forks, where bash itself ends the handler. With an isolation without forks, the shell ends with the
//! event instead. The search looks for words: it may find an observer where there is none, which only costs time.

use memchr::memmem;

use super::code_text::{arguments, starts_command, statements, text_after, words};
use super::command_list::quoted;
use super::state::ShellState;
use coshell_driver::names;

/// What the code of a file observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Observers {
    /// EXIT and RETURN traps see how a function ends.
    pub see_ends: bool,
    /// ERR traps see each command that fails.
    pub see_errors: bool,
    /// DEBUG traps, `set -x` and the like see each command.
    pub see_commands: bool,
}

impl Observers {
    const OF_ENDS: Self = Self {
        see_ends: true,
        see_errors: false,
        see_commands: false,
    };
    const OF_ERRORS: Self = Self {
        see_ends: false,
        see_errors: true,
        see_commands: false,
    };
    pub(crate) const OF_COMMANDS: Self = Self {
        see_ends: false,
        see_errors: false,
        see_commands: true,
    };
    const OF_ALL: Self = Self {
        see_ends: true,
        see_errors: true,
        see_commands: true,
    };

    pub(crate) fn any(self) -> bool {
        self.see_ends || self.see_errors || self.see_commands
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            see_ends: self.see_ends || other.see_ends,
            see_errors: self.see_errors || other.see_errors,
            see_commands: self.see_commands || other.see_commands,
        }
    }

    /// Finds the observers in the bodies of functions.
    fn in_functions<'a>(bodies: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut found = Self::default();
        let mut sets_a_trap = false;
        // A trap may get its signal from a variable. Then any name of a signal in the code may be meant.
        let mut named = Self::default();
        for body in bodies {
            sets_a_trap |= text_after(body, b"trap").any(|rest| sets_trap(&arguments(rest)));
            for word in words(body) {
                named = named.or(Self::of_signal(word));
            }
            found = found.or(Self::in_options(body)).or(Self::in_traps(body));
        }
        if sets_a_trap { found.or(named) } else { found }
    }

    /// The same for all functions of a file. Code that would keep the driver from working after the handler counts as
    /// an observer of commands: `set -r`, `enable -n`, a function `builtin`.
    pub(crate) fn in_handler_functions<'a>(bodies: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let hinders_driver = bodies.clone().any(|body| {
            let restricts = text_after(body, b"set").any(|rest| {
                let arguments = arguments(rest);
                let mut options = arguments.iter().take_while(|word| word.starts_with(b"-"));
                options.any(|word| *word != b"--" && word.contains(&b'r'))
            });
            let switches_off = text_after(body, b"enable").any(|rest| {
                let arguments = arguments(rest);
                let option = arguments.first().filter(|word| word.starts_with(b"-"));
                arguments.len() > 1
                    && option.is_some_and(|word| word.iter().any(|byte| b"nfd".contains(byte)))
            });
            restricts
                || switches_off
                || words(body).any(|word| word == b"restricted")
                || memmem::find(body, b"builtin ()").is_some()
        });
        let found = Self::in_functions(bodies);
        if hinders_driver {
            found.or(Self::OF_COMMANDS)
        } else {
            found
        }
    }

    /// What the options observe whose letters are in `letters`, as in `$-`.
    pub(crate) fn of_option_letters(letters: &[u8]) -> Self {
        let mut found = Self::default();
        for letter in letters {
            found = found.or(match letter {
                b'E' => Self::OF_ERRORS,
                b'T' | b'x' | b'k' | b'v' | b'n' | b't' => Self::OF_COMMANDS,
                _ => Self::default(),
            });
        }
        found
    }

    /// What a trap for this signal observes.
    pub(crate) fn of_signal(name: &[u8]) -> Self {
        match name {
            b"ERR" | b"SIGERR" => Self::OF_ERRORS,
            b"DEBUG" | b"SIGDEBUG" => Self::OF_COMMANDS,
            b"EXIT" | b"RETURN" | b"SIGEXIT" | b"SIGRETURN" => Self::OF_ENDS,
            _ => Self::default(),
        }
    }

    /// Finds traps whose signal is `0`, written in lower case, or a variable.
    fn in_traps(body: &[u8]) -> Self {
        let mut found = Self::default();
        for rest in text_after(body, b"trap")
            .filter(|rest| starts_command(&body[..body.len() - rest.len() - 4]))
        {
            let arguments = arguments(rest);
            for word in arguments.iter().skip(1).filter(|_| sets_trap(&arguments)) {
                let is_variable = match word.as_slice() {
                    [b'$', next, ..] => next.is_ascii_alphanumeric() || b"_{(@*".contains(next),
                    word => word.contains(&b'`'),
                };
                found = found.or(match word.to_ascii_uppercase().as_slice() {
                    b"0" => Self::OF_ENDS,
                    _ if is_variable => Self::OF_ALL,
                    name => Self::of_signal(name),
                });
            }
        }
        found
    }

    /// Finds options that show each command, or that make functions inherit traps.
    fn in_options(body: &[u8]) -> Self {
        let mut found = Self::default();
        for word in words(body) {
            found = found.or(match word {
                b"errtrace" => Self::OF_ERRORS,
                b"functrace" | b"xtrace" | b"extdebug" | b"keyword" | b"verbose" | b"noexec"
                | b"onecmd" => Self::OF_COMMANDS,
                _ => Self::default(),
            });
        }
        for rest in text_after(body, b"set") {
            let arguments = arguments(rest);
            let options = arguments
                .iter()
                .take_while(|word| matches!(word.first(), Some(b'-' | b'+')) && *word != b"--");
            for word in options {
                found = found.or(Self::of_option_letters(word));
            }
        }
        found
    }
}

/// What the text of a file shows before bash sources it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextTraits {
    /// The file names the ERR trap. Then its functions inherit that trap only if the file says so.
    pub names_err_trap: bool,
    /// The file may show each command.
    pub may_show_commands: bool,
    /// The file defines a function `builtin`. It would replace the builtin through which the driver calls all others.
    pub defines_builtin: bool,
}

impl TextTraits {
    /// Reads the text of the file, and the options that bash gets before.
    pub(crate) fn of(text: &[u8], options: &[String]) -> Self {
        let mut options = options
            .iter()
            .map(|option| Observers::of_option_letters(option.as_bytes()));
        let observers = Observers::in_functions(std::iter::once(text));
        Self {
            names_err_trap: names_err_trap(text),
            may_show_commands: observers.see_commands
                || options.any(|option| option.see_commands)
                || sets_unknown_options(text)
                || std::env::var("SHELLOPTS").is_ok_and(|names| names.contains("trace")),
            defines_builtin: defines_builtin(text),
        }
    }
}

/// Whether the options of a `set` are in a variable.
fn sets_unknown_options(text: &[u8]) -> bool {
    text_after(text, b"set").any(|rest| {
        let first = arguments(rest).into_iter().next().unwrap_or_default();
        first.first().is_some_and(|byte| b"$`".contains(byte))
    })
}

fn defines_builtin(text: &[u8]) -> bool {
    statements(text).any(|statement| {
        let statement = statement.strip_prefix(b"function ").unwrap_or(statement);
        let rest = statement.strip_prefix(b"builtin");
        let rest = rest.map(<[u8]>::trim_ascii_start);
        rest.is_some_and(|rest| rest.starts_with(b"(") || rest.starts_with(b"{"))
    })
}

fn names_err_trap(text: &[u8]) -> bool {
    words(text)
        .any(|word| word.eq_ignore_ascii_case(b"ERR") || word.eq_ignore_ascii_case(b"SIGERR"))
}

/// Whether the driver has hidden a function `builtin` of the file.
pub(crate) fn hides_builtin(first: &ShellState) -> bool {
    let hidden = first.variable(names::BUILTIN.as_bytes());
    hidden.is_some_and(|variable| !variable.declaration.ends_with(b"=\"\""))
}

/// Whether the function `exit` belongs to the file.
pub(crate) fn defines_exit(first: &ShellState) -> bool {
    let bodies = first.all_bodies().unwrap_or_default();
    let start = memmem::find(bodies, b"\nexit () ").map(|index| index + 1);
    let start = start.or_else(|| bodies.starts_with(b"exit () ").then_some(0));
    start.is_some_and(|start| {
        let body = &bodies[start..];
        let end = memmem::find(body, b"\n}").unwrap_or(body.len());
        memmem::find(&body[..end], names::EXIT.as_bytes()).is_none()
    })
}

/// The commands that tell forks which observers the file itself has set. A fork sets them again before it calls the
/// handler, the DEBUG trap last, since it sees every command after it.
pub(crate) fn fork_commands(first: &ShellState, observers: Observers) -> Vec<u8> {
    if !observers.see_errors && !observers.see_commands {
        return Vec::new();
    }
    let traps = trap_commands(first);
    let (watches, builtin) = (names::WATCHES, names::BUILTIN);
    let mut text = b"builtin declare -g ".to_vec();
    if traps.is_empty() {
        // After a hook the variable may have been set already.
        text.extend_from_slice(format!("\"{watches}=${{{watches}-}}\"\n").as_bytes());
    } else {
        let traps = quoted(&traps);
        text.extend_from_slice(&[watches.as_bytes(), b"=", &traps, b"\n"].concat());
    }
    if hides_builtin(first) {
        // After a hook the function may be there already.
        let add = format!("[[ ${watches} == *\"${builtin}\" ]] || {watches}+=${builtin}\n");
        text.extend_from_slice(add.as_bytes());
    }
    if observers.see_commands {
        let sees = format!("builtin declare -g {}=EXIT\n", names::SEES_COMMANDS);
        text.extend_from_slice(sees.as_bytes());
    }
    text
}

/// The commands that prepare a live shell for observers: they set the traps of the file again, and keep functions from
/// inheriting an ERR trap just because the driver needs that for its own. What calls the handler sets the ERR trap of the file
/// once more, where the handler can inherit it.
pub(crate) fn live_commands(first: &ShellState, observers: Observers) -> Vec<u8> {
    let mut text = trap_commands(first);
    if observers.see_ends {
        let may_trap = format!("builtin declare -g {}=1\n", names::MAY_TRAP);
        text.extend_from_slice(may_trap.as_bytes());
    }
    if observers.see_errors {
        let errtrace = format!(
            "builtin declare -g {}=+E\nbuiltin set +E\n",
            names::ERRTRACE
        );
        text.extend_from_slice(errtrace.as_bytes());
    }
    text
}

/// The commands that set the traps of the file, the DEBUG trap last. The one for ERR stays in a variable.
fn trap_commands(first: &ShellState) -> Vec<u8> {
    let mut traps: Vec<_> = first.traps_of_file().collect();
    traps.sort_by_key(|trap| trap.signal == b"DEBUG");
    let commands = traps.iter();
    let commands: Vec<_> = commands
        .map(|trap| {
            if trap.signal != b"ERR" {
                return [b"builtin ", trap.command, b"\n"].concat();
            }
            let err_trap = names::ERR_TRAP.as_bytes();
            let end = b"[@]}\"\n";
            [
                err_trap,
                b"=(builtin ",
                trap.command,
                b")\n\"${",
                err_trap,
                end,
            ]
            .concat()
        })
        .collect();
    commands.concat()
}

/// Whether `trap` with these arguments sets a trap, and does not only show some.
fn sets_trap(arguments: &[Vec<u8>]) -> bool {
    arguments
        .first()
        .is_some_and(|first| !matches!(first.as_slice(), b"-p" | b"-l"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(body: &str) -> Observers {
        Observers::in_functions(std::iter::once(body.as_bytes()))
    }

    #[test]
    fn trap_for_a_pseudo_signal_observes() {
        for body in [
            "    trap 'rm -f \"$tmp\"' EXIT;",
            "    trap cleanup exit;",
            "    trap -- '' 0",
            "    builtin trap \"a; b\" INT RETURN;",
            "    on_end=EXIT;\n    trap 'x' \"$on_end\"",
        ] {
            assert!(find(body).see_ends, "{body}");
        }
        for body in [
            "    trap 'x' ERR;",
            "    trap 'it'\\''s; so' INT err",
            "    eval 'trap \"x\" ERR'",
            "    set -E",
            "    set -euo errtrace",
        ] {
            assert_eq!(find(body), Observers::OF_ERRORS, "{body}");
        }
        for body in [
            "    trap - DEBUG",
            "    for s in $SIGNALS; do trap x $s; done",
        ] {
            assert!(find(body).see_commands, "{body}");
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
            assert!(!find(body).any(), "{body}");
        }
    }

    #[test]
    fn option_that_shows_commands_observes() {
        for body in [
            "    set -x;",
            "    set -eux",
            "    shopt -s extdebug",
            "    set +e -T",
            "    set -k",
        ] {
            assert_eq!(find(body), Observers::OF_COMMANDS, "{body}");
        }
        for body in [
            "    set -e;",
            "    set -- -x;",
            "    set -f; x=1",
            "    set -o pipefail",
            "    reset -x",
            "    printf %s -x",
        ] {
            assert!(!find(body).any(), "{body}");
        }
    }

    #[test]
    fn err_trap_is_named_by_a_whole_word() {
        assert!(names_err_trap(b"trap 'x' ERR"));
        assert!(names_err_trap(b"trap x err\n"));
        assert!(!names_err_trap(b"echo ERROR >&2; stderr=1"));
    }
}
