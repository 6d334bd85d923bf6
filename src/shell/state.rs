//! What a handler may have changed in the shell, and the lines that put it back.
//!
//! `set` options are given back by bash itself (`local -`); the rest is compared after each
//! invocation, when nobody waits, and put back only if it differs. What cannot be put back (a
//! variable made readonly) costs a new shell.

use std::collections::BTreeMap;

use memchr::memmem;

use super::protocol::{Context, quote};

/// What the driver's `,,,` shows, as bash printed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// A trap's signal, and the `trap` command that sets it.
    traps: BTreeMap<String, String>,
    aliases: Vec<String>,
    /// `idle` and the attributes of variables that we set.
    driver: String,
    directory: String,
    set_options: String,
    shopt_options: String,
    field_separators: String,
    umask: String,
}

/// Finds the state that bears `mark`, and where it ends; `None` while it is not complete.
#[must_use]
pub fn find_state(bytes: &[u8], mark: &str) -> Option<(State, Context, usize)> {
    // A DEBUG trap of the handler's may print our lines: there no NUL follows.
    let mark_at = memmem::find(bytes, format!("{mark}\0").as_bytes())?;
    let end = mark_at + mark.len() + 1;
    let text = String::from_utf8_lossy(&bytes[..mark_at]).into_owned();
    let mut fields = text.split('\0');
    let mut state = State::default();
    for command in commands(fields.next().unwrap_or_default()) {
        if command.starts_with("trap ") {
            let signal = command.rsplit(' ').next().unwrap_or_default();
            if is_signal(signal) {
                state.traps.insert(signal.to_owned(), command.to_owned());
            }
        } else if command.starts_with("alias ") {
            state.aliases.push(command.to_owned());
        }
    }
    let mut field = || fields.next().unwrap_or_default().to_owned();
    state.driver = field();
    state.directory = field();
    state.set_options = field();
    state.shopt_options = field();
    state.field_separators = field();
    let context = Context {
        has_deadline: field() == "set",
        has_trace: field() == "set",
        values: [field(), field(), field(), field()],
    };
    state.umask = field().trim_end().to_owned();
    Some((state, context, end))
}

/// Splits what `trap -p` and `alias -p` print into commands: at newlines outside of quotes.
fn commands(text: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if !quoted => escaped = true,
            b'\'' => quoted = !quoted,
            b'\n' if !quoted => {
                commands.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    commands
}

/// The name of a signal goes back to bash: nothing but a name may.
fn is_signal(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-')
        })
}

impl State {
    /// The lines that lead from `now` back to this state; none if they are alike (the variables
    /// of the context are no part of it: the next invocation sets them).
    #[must_use]
    pub fn lines_back_from(&self, now: &Self) -> String {
        let lines = self.commands_back_from(now);
        lines
            .into_iter()
            .map(|line| format!("\\{line}\n"))
            .collect()
    }

    fn commands_back_from(&self, now: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        // These two run between our lines, and what they print stands in what we read: without
        // them bash shows its state again.
        if self != now && !self.traps.contains_key("DEBUG") {
            lines.push("builtin trap - DEBUG RETURN".to_owned());
        }
        for signal in now
            .traps
            .keys()
            .filter(|signal| !self.traps.contains_key(*signal))
        {
            lines.push(format!("builtin trap - {signal}"));
        }
        for (signal, command) in &self.traps {
            if now.traps.get(signal) != Some(command) {
                lines.push(format!("builtin {command}"));
            }
        }
        if self.aliases != now.aliases {
            lines.push("builtin unalias -a".to_owned());
            lines.extend(self.aliases.iter().map(|alias| format!("builtin {alias}")));
        }
        if self.directory != now.directory {
            lines.push(format!("builtin cd -- {}", quote(&self.directory)));
        }
        // In this order: `shopt -u extdebug` unsets an option of `set`.
        let (wanted, has) = (&self.shopt_options, &now.shopt_options);
        lines.extend(options_back("shopt", ["-s", "-u"], wanted, has));
        let (wanted, has) = (&self.set_options, &now.set_options);
        lines.extend(options_back("set", ["-o", "+o"], wanted, has));
        if self.field_separators != now.field_separators {
            lines.push(match self.field_separators.as_str() {
                "unset" => "builtin unset -v IFS".to_owned(),
                value => format!("builtin eval {}", quote(&format!("IFS={}", quote(value)))),
            });
        }
        if self.umask != now.umask {
            lines.push(format!("builtin umask {}", quote(&self.umask)));
        }
        lines
    }
}

fn options_back(
    command: &str,
    [on, off]: [&str; 2],
    wanted: &str,
    now: &str,
) -> impl Iterator<Item = String> {
    let difference = |of: &str, from: &str, flag: &str| {
        let names: Vec<_> = of
            .split(':')
            .filter(|name| !from.split(':').any(|n| n == *name))
            .collect();
        let names = names.into_iter().filter(|name| !name.is_empty());
        names
            .map(|name| format!("builtin {command} {flag} {}", quote(name)))
            .collect::<Vec<_>>()
    };
    let mut lines = difference(wanted, now, on);
    lines.extend(difference(now, wanted, off));
    lines.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> State {
        find_state(text.as_bytes(), "MARK")
            .map(|(state, _, _)| state)
            .unwrap_or_default()
    }

    const BASE: &str = "trap -- '__driver_died' EXIT\n\0idle\0/var/task\0errexit:nounset\0extquote\0 \t\n\0\0\0\0\0\0\x000022\nMARK\0";

    #[test]
    fn state_that_did_not_change_needs_no_lines() {
        assert_eq!(state(BASE).commands_back_from(&state(BASE)), [""; 0]);
        assert_eq!(state(BASE).umask, "0022");
    }

    #[test]
    fn every_change_is_put_back() {
        let now = "trap -- 'a\nb'\\''' SIGINT\nalias x='y'\n\0idle\0/tmp\0errexit:noglob\0extquote:dotglob\0,\0set\0set\0\0\0\0\x000077\nMARK\0";
        let ifs = format!("builtin eval {}", quote("IFS=' \t\n'"));
        assert_eq!(
            state(BASE).commands_back_from(&state(now)),
            [
                "builtin trap - DEBUG RETURN",
                "builtin trap - SIGINT",
                "builtin trap -- '__driver_died' EXIT",
                "builtin unalias -a",
                "builtin cd -- '/var/task'",
                "builtin shopt -u 'dotglob'",
                "builtin set -o 'nounset'",
                "builtin set +o 'noglob'",
                ifs.as_str(),
                "builtin umask '0022'",
            ]
        );
    }

    #[test]
    fn only_a_name_is_taken_for_a_signal() {
        let now = BASE.replace("EXIT\n", "EXIT\ntrap -- 'x' $(id)\n");
        assert_eq!(state(BASE).commands_back_from(&state(&now)), [""; 0]);
    }
}
