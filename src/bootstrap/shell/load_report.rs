//! What bash reports when it has sourced the handler's file.

use memchr::{memchr, memmem};

use super::report::Located;
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

/// Finds the record `NONCE ready STATUS VERSION [shutdown] NUL`, `NONCE undefined NAME... NUL` or
/// `NONCE unusable WORD [OPTIONS] NUL`.
pub(crate) fn find_load_report(bytes: &[u8], nonce: &str) -> Option<Located<LoadReport>> {
    let start = memmem::find(bytes, nonce.as_bytes())?;
    let end = start + memchr(b'\0', &bytes[start..])?;
    let text = String::from_utf8_lossy(&bytes[start..end]).into_owned();
    let mut fields = text.split_ascii_whitespace().skip(1);
    let word = fields.next();
    let report = if word == Some(record::READY) {
        let status = fields.next().and_then(|field| field.parse().ok());
        LoadReport::Ready {
            status: status.unwrap_or(1),
            version: parse_version(fields.next().unwrap_or_default()),
            has_shutdown: fields.next().is_some(),
        }
    } else if word == Some(record::UNUSABLE) {
        LoadReport::Unusable(unusable_cause(fields.next(), fields.next()).to_owned())
    } else {
        LoadReport::Undefined(fields.map(ToOwned::to_owned).collect())
    };
    // The driver lists the builtins that are switched off before this record.
    let disabled = find_disabled_builtin(&bytes[..start]);
    Some(Located {
        record: disabled.map_or(report, LoadReport::Unusable),
        end: end + 1,
    })
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

/// The reason why the file is unusable, if one of the lines `enable -n NAME` names a builtin that the driver needs.
pub(crate) fn find_disabled_builtin(bytes: &[u8]) -> Option<String> {
    const NEEDED: [&str; 23] = [
        ".", "builtin", "declare", "disown", "enable", "eval", "exec", "exit", "export", "hash",
        "local", "mapfile", "printf", "read", "readonly", "return", "set", "shift", "shopt",
        "trap", "alias", "umask", "unset",
    ];
    let mut lines = bytes.split(|byte| matches!(byte, b'\n' | b'\0'));
    lines.find_map(|line| {
        let name = str::from_utf8(line.strip_prefix(b"enable -n ")?).ok()?;
        NEEDED
            .contains(&name)
            .then(|| format!("it switches off the builtin {name} (enable -n {name})"))
    })
}
