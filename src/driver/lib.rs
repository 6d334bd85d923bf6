//! The driver: the half of coshell that runs in bash, and the names on which both halves agree.
//!
//! `protocol.toml` has all names and numbers; `runtime-scripts` has the code. The build makes both into the constants here:
//! see `build/main.rs`.

#[allow(clippy::doc_markdown, clippy::needless_raw_string_hashes, missing_docs)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/driver.rs"));
}
pub use generated::*;

/// Whether a function of this name is the driver's.
pub fn is_own_function(name: &str) -> bool {
    name.starts_with(names::PREFIX) || WIRE_NAMES.contains(&name)
}

/// The field of a state that shows the context: whether the deadline and the trace header are set, and the values.
pub fn context_field(
    present: [bool; CONTEXT_PRESENT],
    values: &[String; CONTEXT_VALUES],
) -> String {
    let present = present.map(|is_set| if is_set { "set" } else { "" });
    let values = values.iter().map(String::as_str);
    let parts: Vec<_> = present.into_iter().chain(values).collect();
    parts.join("|")
}

/// The function that calls the handler with these fields. With `has_lines` they end in newlines. Only an invocation with a
/// deadline can have a trace.
pub fn call_for(has_deadline: bool, has_trace: bool, has_lines: bool) -> &'static Call {
    let fewest = CALLS.iter().map(|call| call.field_count).min();
    let count = fewest.unwrap_or_default()
        + usize::from(has_deadline)
        + usize::from(has_deadline && has_trace);
    let mut calls = CALLS.iter();
    let found = calls.find(|call| call.field_count == count && call.has_lines == has_lines);
    found.unwrap_or(&CALLS[0])
}

/// A text for bash 4.2 and 4.3, as what differs from the one for newer versions.
#[derive(Debug)]
pub struct OlderText {
    newer: &'static str,
    /// Of each piece: where it begins in `newer`, its length there, and how much of `own` comes behind it.
    pieces: &'static [[u16; 3]],
    own: &'static str,
}

impl OlderText {
    /// The whole text.
    pub fn text(&self) -> String {
        let (mut text, mut own) = (String::new(), self.own);
        for piece in self.pieces {
            let [start, length, added] = piece.map(usize::from);
            text.push_str(&self.newer[start..start + length]);
            let (next, rest) = own.split_at(added);
            text.push_str(next);
            own = rest;
        }
        text
    }
}

/// A function that calls the handler.
#[derive(Debug)]
pub struct Call {
    pub name: &'static str,
    /// The fields before the event.
    pub field_count: usize,
    /// The fields end in newlines, and not in NULs.
    pub has_lines: bool,
    /// It is in `rare.bash`.
    pub is_rare: bool,
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::script::older::{CALLS, COMMAND, DRIVER, INVOCATION, KEEP, LAMBDA, RARE, SUBSHELL};
    use super::{OlderText, call_for, names};

    #[test]
    fn each_list_of_fields_has_its_function() {
        let name =
            |has_deadline, has_trace, has_lines| call_for(has_deadline, has_trace, has_lines).name;
        assert_eq!(
            [name(true, false, false), name(true, true, false)],
            [",", ",t"]
        );
        assert_eq!(
            [name(false, false, false), name(false, true, false)],
            [",d"; 2]
        );
        assert_eq!(
            [name(true, false, true), name(true, true, true)],
            [",l", ",tl"]
        );
        assert_eq!(name(false, false, true), ",dl");
    }

    #[test]
    fn texts_for_older_versions_call_what_stands_in_for_what_those_lack() {
        for (text, name) in [
            (DRIVER, names::CAN_SET_VARIABLES),
            (CALLS, names::READ_LONGER),
            (SUBSHELL, names::READ_ARGUMENTS),
        ] {
            let text = text.text();
            let mut lines = text.lines().filter(|line| !line.contains("() {"));
            assert!(lines.any(|line| line.contains(name)), "{name}");
        }
    }

    const TEXTS: [OlderText; 8] = [
        DRIVER, INVOCATION, KEEP, RARE, LAMBDA, CALLS, COMMAND, SUBSHELL,
    ];

    #[test]
    fn texts_for_older_versions_are_bash() {
        for text in TEXTS.map(|text| text.text()) {
            let mut bash = Command::new("bash");
            let bash = bash.arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped());
            let mut bash = bash.spawn().expect("bash");
            let mut input = bash.stdin.take().expect("a pipe");
            input.write_all(text.as_bytes()).expect("written");
            drop(input);
            let found = bash.wait_with_output().expect("its end");
            let errors = String::from_utf8_lossy(&found.stderr);
            assert!(found.status.success(), "{errors}");
        }
    }

    #[test]
    fn texts_for_older_versions_have_nothing_that_those_lack() {
        for text in TEXTS.map(|text| text.text()) {
            for newer in [
                "local - ",
                "local -\n",
                "inherit_errexit",
                "@a}",
                "@A}",
                "@Q}",
                "-td",
                "-t -d",
                "+iuln",
            ] {
                assert!(!text.contains(newer), "{newer}");
            }
        }
    }
}
