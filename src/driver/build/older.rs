//! Makes the texts for bash 4.2 and 4.3, which lack what the driver does its work with.
//!
//! On these versions every event runs in a fork of the shell. docs/bash-versions.md has what cannot be had on them.

/// A longer line stands at one place of a text.
const SURE_BYTES: usize = 12;

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

/// What differs in `text` from `newer`: pieces with the place and the length of what both have, and the length of what only
/// `text` has behind it; and all of the latter in one. Most lines are the same.
pub(crate) fn differences(newer: &str, text: &str) -> (Vec<[usize; 3]>, String) {
    let mut pieces = vec![[0; 3]];
    let mut own = String::new();
    let mut place = 0;
    for line in text.split_inclusive('\n') {
        let found = newer[place..]
            .split_inclusive('\n')
            .try_fold(place, |start, other| {
                if other == line {
                    Err(start)
                } else {
                    Ok(start + other.len())
                }
            });
        let last = pieces.len() - 1;
        let [start, length, added] = &mut pieces[last];
        match found {
            Err(found) if found == place && *added == 0 && *start + *length == place => {
                *length += line.len();
                place += line.len();
            }
            // A short line, such as a bracket, is the same by chance if lines before it differ.
            Err(found) if found == place || line.len() > SURE_BYTES => {
                pieces.push([found, line.len(), 0]);
                place = found + line.len();
            }
            _ => {
                own.push_str(line);
                *added += line.len();
            }
        }
    }
    let mut rest = own.as_str();
    let mut whole = String::new();
    for [start, length, added] in &pieces {
        let (next, behind) = rest.split_at(*added);
        whole = whole + &newer[*start..start + length] + next;
        rest = behind;
    }
    assert_eq!(whole, text);
    (pieces, own)
}
