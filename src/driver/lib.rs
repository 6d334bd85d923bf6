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

/// The function that calls the handler with these fields, and whether they end in newlines.
pub fn call_name(has_deadline: bool, has_trace: bool, has_lines: bool) -> &'static str {
    let count = 1 + usize::from(has_deadline) + usize::from(has_trace);
    let found = CALLS
        .iter()
        .find(|call| call.field_count == count && call.has_lines == has_lines);
    found.map_or(CALLS[0].name, |call| call.name)
}

/// Whether this function is in `rare.bash`.
pub fn is_rare_call(name: &str) -> bool {
    CALLS.iter().any(|call| call.name == name && call.is_rare)
}

/// A function that calls the handler.
#[derive(Debug)]
pub struct Call {
    pub name: &'static str,
    /// The fields before the event.
    pub field_count: usize,
    /// The fields end in newlines, and not in NULs.
    pub has_lines: bool,
    pub is_rare: bool,
}

#[cfg(test)]
mod tests {
    use super::script::older::{CALLS, DRIVER, INVOCATION, KEEP, LAMBDA, RARE, SUBSHELL};

    #[test]
    fn texts_for_older_versions_have_nothing_that_those_lack() {
        for text in [DRIVER, INVOCATION, KEEP, RARE, LAMBDA, CALLS, SUBSHELL] {
            for newer in [
                "local - ",
                "local -\n",
                "inherit_errexit",
                "@a}",
                "-td",
                "-t -d",
                "+iuln",
            ] {
                assert!(!text.contains(newer), "{newer}");
            }
        }
    }
}
