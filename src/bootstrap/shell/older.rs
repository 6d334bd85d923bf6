//! The texts for bash 4.2 and 4.3, which lack what the driver does its work with.
//!
//! On these versions every event runs in a fork of the shell. `driver.bash` ends a bash that is too old for it with the
//! record `older VERSION NUL`; then [`Starting`](super::Starting) starts bash again, with the texts of this file. So no
//! other version pays for them. docs/bash-versions.md has what cannot be had on these versions.

use std::sync::atomic::{AtomicBool, Ordering};

use super::protocol::OLDER;
use crate::config::{Config, Isolation};

/// All shells of this process run the same bash.
static IS_OLDER: AtomicBool = AtomicBool::new(false);

/// Whether bash is known to be older than 4.4.
pub(super) fn is_older() -> bool {
    IS_OLDER.load(Ordering::Relaxed)
}

/// The version of a bash that was too old for the driver, if `bytes` begins with its record.
pub(super) fn find_older(bytes: &[u8]) -> Option<String> {
    let version = bytes.strip_prefix(OLDER)?.strip_suffix(b"\0")?;
    Some(String::from_utf8_lossy(version).into_owned())
}

/// Makes all shells from now on use the texts of this file. Warns if bash `version` cannot do what the settings ask for.
pub(super) fn set_older(version: &str, config: &Config) {
    let is_known = IS_OLDER.swap(true, Ordering::Relaxed);
    if config.isolation == Isolation::None && !is_known {
        config.log.warn(format_args!(
            "COSHELL_ISOLATION=none needs bash 4.4 or later, and this is bash {version}: each event runs in a fork of the \
             shell, and only variables that lambda_keep names live on"
        ));
    }
}

/// Makes a text of the driver one for an older bash.
///
/// Functions that `older.bash` defines are left out. `local -` becomes the declaration of a local variable that nothing
/// uses. Where the handler needs its options again, the functions of `older.bash` set them.
pub(super) fn for_older(text: &str) -> String {
    const OLDER: &str = include_str!("../../../runtime-scripts/older.bash");
    let defines = |line: &str| line.ends_with("() {") || line.contains("() { #");
    let name = |line: &str| line.split('(').next().unwrap_or_default().to_owned();
    let replaced: Vec<_> = OLDER
        .lines()
        .filter(|line| defines(line))
        .map(name)
        .collect();
    let mut lines = Vec::new();
    let (mut is_about_version, mut is_replaced) = (false, false);
    for line in text.lines() {
        is_replaced |= defines(line) && replaced.contains(&name(line));
        if is_replaced {
            is_replaced = line != "}";
            continue;
        }
        if line.starts_with("if ((BASH_VERSINFO") && line.contains("< 404") {
            is_about_version = true;
            lines.push(OLDER.to_owned());
        }
        if is_about_version {
            is_about_version = !line.starts_with("builtin shopt -s inherit_errexit");
        } else if line.contains("@a}") {
            lines.push("elif ! __driver_can_set_variables; then".to_owned());
        } else if line.contains("mapfile -td \"$__driver_word\"") {
            lines.push("__driver_read_arguments".to_owned());
        } else {
            lines.push(
                // With a `-` in IFS, bash 4.2 takes that of `[a-z]` in a pattern for a letter.
                line.replace(
                    "builtin local - LC_ALL=C",
                    "builtin local - IFS=' ' LC_ALL=C",
                )
                .replace("builtin local -", "builtin local __driver_unused=")
                .replace(
                    "builtin mapfile -t -d '' __driver_reply",
                    "__driver_read_reply",
                )
                .replace("-td ''", "-t")
                .replace("-t -d \"${1-}\"", "-t")
                .replace("+iuln", "+iul"),
            );
        }
    }
    lines.join("\n") + "\n"
}

/// A function that a handler calls, by which it comes to calls.bash.
pub(super) fn call_stub(function: &str) -> String {
    // lambda_each sets the options of the handler for the function that it calls, and `-e` holds there.
    format!(
        "lambda_{function}() {{ {{ __driver_line=${{BASH_LINENO[0]}} && builtin local \"__driver_letters=${{-//[!euxT]/}}\" && builtin set +euxT; }} 2>/dev/null; \
         __driver_rare __driver_call {function} \"$@\"; \
         {{ __driver_set_letters \"$?\" || builtin return; }} 2>/dev/null; }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::startup_script::{driver_text, rare_text};
    use super::*;
    use coshell_handler::Delivery;

    #[test]
    fn record_of_an_older_bash_has_its_version() {
        assert_eq!(find_older(b"older 4.2\0").as_deref(), Some("4.2"));
        assert_eq!(find_older(b"started\0older 4.2\0"), None);
    }

    #[test]
    fn texts_for_older_versions_have_nothing_that_those_lack() {
        let driver = driver_text(Isolation::Restore, Delivery::Both, true, true);
        let rare = rare_text("handler", Delivery::Both, true);
        for text in [driver, rare] {
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
