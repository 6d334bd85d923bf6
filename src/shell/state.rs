//! What a handler may have changed in the shell, and the lines that put it back.
//!
//! `set` options are given back by bash itself (`local -`), the directory and the descriptors are
//! seen in /proc; the rest is compared after each invocation, when nobody waits, and put back only
//! if it differs. What cannot be put back (a variable made readonly) costs a new shell.

use std::collections::BTreeMap;

use memchr::memmem;

use crate::child::bash::quote;

/// What the driver's `,,,` shows, as bash printed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// A trap's signal, and the `trap` command that sets it.
    traps: BTreeMap<String, String>,
    aliases: Vec<String>,
    /// Those options of `shopt` that are on.
    options: Vec<String>,
    /// The function `exit`, in lines: ours, unless the file has one of its own.
    exit: Vec<String>,
    umask: String,
    field_separators: String,
}

/// Finds the state that bears `mark`, with what the variables of the context hold (see
/// [`Context::shown`](super::protocol::Context::shown)), and where it ends; `None` while it is not
/// complete.
#[must_use]
pub fn find_state(bytes: &[u8], mark: &str) -> Option<(State, String, usize)> {
    // A DEBUG trap of the handler's may print our lines: there no NUL follows.
    let mark_at = memmem::find(bytes, format!("{mark}\0").as_bytes())?;
    let text = String::from_utf8_lossy(&bytes[..mark_at]).into_owned();
    let mut fields = text.split('\0');
    let mut state = State::default();
    for line in lines(fields.next().unwrap_or_default()) {
        if line.starts_with("trap ") {
            let signal = line.rsplit(' ').next().unwrap_or_default();
            if is_signal(signal) {
                state.traps.insert(signal.to_owned(), line.to_owned());
            }
        } else if line.starts_with("alias ") {
            state.aliases.push(line.to_owned());
        } else if line.bytes().all(|byte| byte.is_ascii_digit()) {
            line.clone_into(&mut state.umask);
        } else {
            state.exit.push(line.to_owned());
        }
    }
    let options = fields.next().unwrap_or_default().split(':');
    state.options = options.map(ToOwned::to_owned).collect();
    let separators = fields.next().unwrap_or_default();
    separators.clone_into(&mut state.field_separators);
    let context = fields.next().unwrap_or_default().to_owned();
    Some((state, context, mark_at + mark.len() + 1))
}

/// Splits what bash printed into lines: at newlines outside of quotes.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if !quoted => escaped = true,
            b'\'' => quoted = !quoted,
            b'\n' if !quoted => {
                lines.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    lines
}

/// The name of a signal goes back to bash: nothing but a name may.
fn is_signal(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-')
        })
}

impl State {
    /// The EXIT trap, as bash prints it; empty if there is none.
    #[must_use]
    pub fn exit_trap(&self) -> String {
        self.traps
            .get("EXIT")
            .map(|command| format!("{command}\n"))
            .unwrap_or_default()
    }

    /// The lines that lead from `now` back to this state; none if they are alike.
    #[must_use]
    pub fn lines_back_from(&self, now: &Self) -> String {
        let commands = self.commands_back_from(now);
        commands
            .into_iter()
            .flat_map(|command| ["\\builtin ".to_owned(), command, "\n".to_owned()])
            .collect()
    }

    fn commands_back_from(&self, now: &Self) -> Vec<String> {
        let mut commands = Vec::new();
        // These two run between our lines, and what they print stands in what we read: without
        // them bash shows its state again.
        if self != now && !self.traps.contains_key("DEBUG") {
            commands.push("trap - DEBUG RETURN".to_owned());
        }
        for signal in now
            .traps
            .keys()
            .filter(|signal| !self.traps.contains_key(*signal))
        {
            commands.push(format!("trap - {signal}"));
        }
        for (signal, command) in &self.traps {
            if now.traps.get(signal) != Some(command) {
                commands.push(command.clone());
            }
        }
        if self.aliases != now.aliases {
            commands.push("unalias -a".to_owned());
            commands.extend(self.aliases.iter().cloned());
        }
        if self.options != now.options {
            commands.extend(difference(&self.options, &now.options, "-s"));
            commands.extend(difference(&now.options, &self.options, "-u"));
            // `shopt -u extdebug` unsets this one, without which our ERR trap sees nothing.
            commands.push("set -E".to_owned());
        }
        if self.exit != now.exit {
            commands.push("eval __driver_guard_exit".to_owned());
        }
        if self.field_separators != now.field_separators {
            commands.push(match self.field_separators.as_str() {
                "unset" => "unset -v IFS".to_owned(),
                value => format!("eval {}", quote(&format!("IFS={}", quote(value)))),
            });
        }
        if self.umask != now.umask {
            commands.push(format!("umask {}", quote(&self.umask)));
        }
        commands
    }
}

fn difference<'a>(
    of: &'a [String],
    from: &'a [String],
    flag: &'a str,
) -> impl Iterator<Item = String> + 'a {
    let names = of.iter().filter(move |name| !from.contains(name));
    names.map(move |name| format!("shopt {flag} {}", quote(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> State {
        find_state(text.as_bytes(), "MARK")
            .map(|(state, _, _)| state)
            .unwrap_or_default()
    }

    const BASE: &str = "trap -- '__driver_died' EXIT\n0022\n\0extquote\0 \t\n\0set||arn|||\0MARK\0";

    #[test]
    fn state_that_did_not_change_needs_no_lines() {
        assert_eq!(state(BASE).lines_back_from(&state(BASE)), "");
        assert_eq!(state(BASE).umask, "0022");
    }

    #[test]
    fn every_change_is_put_back() {
        let now = "trap -- 'a\nb' SIGINT\nalias x='y'\n0077\n\0dotglob:extquote\0,\0\0MARK\0";
        let ifs = format!("eval {}", quote("IFS=' \t\n'"));
        assert_eq!(
            state(BASE).commands_back_from(&state(now)),
            [
                "trap - DEBUG RETURN",
                "trap - SIGINT",
                "trap -- '__driver_died' EXIT",
                "unalias -a",
                "shopt -u 'dotglob'",
                "set -E",
                &ifs,
                "umask '0022'",
            ]
        );
    }

    #[test]
    fn only_a_name_is_taken_for_a_signal() {
        let now = BASE.replace("EXIT\n", "EXIT\ntrap -- 'x' $(id)\n");
        assert_eq!(state(BASE).lines_back_from(&state(&now)), "");
    }
}
