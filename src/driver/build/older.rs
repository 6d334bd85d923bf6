//! Makes the texts for bash 4.2 and 4.3, which lack what the driver does its work with.
//!
//! On these versions every event runs in a fork of the shell. docs/bash-versions.md has what cannot be had on them.

/// The name of the function that a line defines.
fn defined(line: &str) -> Option<&str> {
    let (name, _) = line.split_once("() {")?;
    (!name.contains(' ')).then_some(name)
}

/// The text of a file of `runtime-scripts`, for an older bash.
///
/// Functions that `older`, the text of `older.bash`, defines are left out. `local -` becomes the declaration of a local variable
/// that nothing uses. Where the handler needs its options again, the functions of `older.bash` set them.
pub(crate) fn for_older(text: &str, older: &str) -> String {
    let replaced: Vec<_> = older.lines().filter_map(defined).collect();
    let mut lines = Vec::new();
    let (mut is_about_version, mut is_replaced) = (false, false);
    for line in text.lines() {
        is_replaced |= defined(line).is_some_and(|name| replaced.contains(&name));
        if is_replaced {
            is_replaced = line != "}";
            continue;
        }
        if line.starts_with("if ((BASH_VERSINFO") && line.contains("< 404") {
            is_about_version = true;
            lines.push(older.to_owned());
        }
        if is_about_version {
            is_about_version = !line.starts_with("builtin shopt -s inherit_errexit");
        } else if line.contains("LAMBDA_RUNTIME_AWS_REQUEST_ID@a}") {
            lines.push("elif ! __driver_can_set_variables; then".to_owned());
        } else if line.contains("${AWS_REGION@A}") {
            // The shell itself asks for no known value: events run in forks.
            lines.push("'' \\".to_owned());
        } else if line.contains("mapfile -td \"$__driver_word\"") {
            lines.push("__driver_read_arguments".to_owned());
        } else {
            lines.push(
                // With a `-` in IFS, bash 4.2 takes that of `[a-z]` in a pattern for a letter.
                line.replace("builtin local LC_ALL=C", "builtin local IFS=' ' LC_ALL=C")
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
