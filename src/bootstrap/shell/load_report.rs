//! What bash reports when it has sourced the handler's file.

use memchr::memmem;

use coshell_driver::record;
use coshell_handler::bash::parse_version;

/// What bash reports when it has sourced the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LoadReport {
    /// `ready`: the file defines the handler's function.
    Ready {
        /// The status with which sourcing the file ended. It may differ from 0 if the file did not switch `set -e` on.
        status: i32,
        /// bash's version, major and minor.
        version: (u32, u32),
        /// The file defines `lambda_shutdown`.
        has_shutdown: bool,
    },
    /// `undefined`: the file defines only these functions.
    Undefined(Vec<String>),
    /// `unusable`: the file does something that makes every event impossible; why, in words.
    Unusable(String),
}

impl LoadReport {
    /// Reads `NONCE ready STATUS VERSION [shutdown]`, `NONCE undefined NAME...` or `NONCE unusable WORD [OPTIONS]`. The driver
    /// lists the builtins that are switched off before it. Returns `None` if the nonce is not there.
    pub(crate) fn parse(field: &[u8], nonce: &str) -> Option<Self> {
        let start = memmem::rfind(field, nonce.as_bytes())?;
        if let Some(name) = find_disabled_builtin(&field[..start]) {
            return Some(Self::Unusable(disabled_cause(name)));
        }
        let text = String::from_utf8_lossy(&field[start..]);
        let mut fields = text.split_ascii_whitespace().skip(1);
        let word = fields.next();
        Some(if word == Some(record::READY) {
            let status = fields.next().and_then(|field| field.parse().ok());
            Self::Ready {
                status: status.unwrap_or(1),
                version: parse_version(fields.next().unwrap_or_default()),
                has_shutdown: fields.next().is_some(),
            }
        } else if word == Some(record::UNUSABLE) {
            Self::Unusable(unusable_cause(fields.next(), fields.next()).to_owned())
        } else {
            Self::Undefined(fields.map(ToOwned::to_owned).collect())
        })
    }
}

/// Why a file makes every event impossible, by the words of the driver.
fn unusable_cause(word: Option<&str>, options: Option<&str>) -> &'static str {
    match word {
        Some("options") if options.is_some_and(|options| options.contains('r')) => {
            "it restricts its shell (set -r)"
        }
        Some("options") => "it ends its shell after a command (set -t)",
        Some("builtin") => {
            "it defines a function builtin, for which COSHELL_ISOLATION has to be restore or subshell"
        }
        Some("funcnest") => "it sets FUNCNEST too low",
        _ => "it makes a variable readonly that coshell sets for each event",
    }
}

/// Why a file that has switched off the builtin `name` makes every event impossible.
pub(crate) fn disabled_cause(name: &str) -> String {
    format!("it switches off the builtin {name} (enable -n {name})")
}

/// The builtin that the driver needs, if one of the lines `enable -n NAME` names one.
pub(crate) fn find_disabled_builtin(text: &[u8]) -> Option<&'static str> {
    let mut lines = text.split(|byte| *byte == b'\n');
    lines.find_map(|line| needed_builtin(line.strip_prefix(b"enable -n ")?))
}

/// The builtin `name`, if the driver needs it.
pub(crate) fn needed_builtin(name: &[u8]) -> Option<&'static str> {
    const NEEDED: [&str; 23] = [
        ".", "builtin", "declare", "disown", "enable", "eval", "exec", "exit", "export", "hash",
        "local", "mapfile", "printf", "read", "readonly", "return", "set", "shift", "shopt",
        "trap", "alias", "umask", "unset",
    ];
    NEEDED.into_iter().find(|needed| needed.as_bytes() == name)
}
