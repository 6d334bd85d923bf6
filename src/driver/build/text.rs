//! Changes the text of a script: puts in the values of the table, makes functions of a template, takes comments out.

use std::collections::BTreeMap;

use crate::table::Call;

/// The text without lines that are only comments, and without indentation.
pub(crate) fn without_comments(script: &str) -> String {
    script
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        // What stands behind the name of a function tells its arguments.
        .map(|line| {
            line.find("() { # ")
                .map_or(line, |end| &line[..end + "() {".len()])
        })
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// Replaces each word for which `replacement` has something. A word is a run of letters, digits and underscores; the letter
/// of an escape such as `\n` does not belong to it.
pub(crate) fn replace_words<'a>(
    text: &str,
    mut replacement: impl FnMut(&str) -> Option<&'a str>,
) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '\\' && rest[1..].starts_with(|next: char| next.is_ascii_alphabetic()) {
            result.push_str(&rest[..2]);
            rest = &rest[2..];
        } else if is_part(first) {
            let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
            let word = &rest[..end];
            result.push_str(replacement(word).unwrap_or(word));
            rest = &rest[end..];
        } else {
            result.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    result
}

/// The word before descriptors that are closed. Their names cannot stand where bash wants a number.
const CLOSE: &str = "CLOSE_FDS ";

/// Puts the values of the table in the place of their names. Fails at a name that looks like one of the table and is not in
/// it.
pub(crate) fn insert_values(
    text: &str,
    values: &BTreeMap<String, String>,
) -> Result<String, String> {
    let mut unknown = None;
    let mut value_of = |word: &str| {
        let value = values.get(word).map(String::as_str);
        let is_name = word.ends_with("_FD")
            || word.starts_with("KIND_")
            || word.starts_with("RECORD_")
            || word.ends_with("_CHARS")
            || word.ends_with("STATE_FIELDS");
        if value.is_none() && is_name {
            unknown.get_or_insert_with(|| word.to_owned());
        }
        value
    };
    let text = text
        .split_inclusive('\n')
        .map(|line| {
            if line.trim_start().starts_with('#') {
                return line.to_owned();
            }
            let line = replace_words(line, &mut value_of);
            match line.split_once(CLOSE) {
                // A number that bash closes stands right before the redirection.
                Some((indentation, numbers)) => {
                    let closed = numbers.split_ascii_whitespace();
                    let closed: Vec<_> = closed.map(|number| format!("{number}<&-")).collect();
                    format!("{indentation}\\exec {}\n", closed.join(" "))
                }
                None => line,
            }
        })
        .collect();
    unknown.map_or(Ok(text), |word| Err(format!("protocol.toml has no {word}")))
}

/// The name of the template in `invocation.bash`, and the line before which the functions of `rare.bash` are put in.
const TEMPLATE: &str = "__driver_call_handler() {\n";
const RARE_CALLS: &str =
    "# The rare ones of the functions that call the handler: see invocation.bash.\n";

/// Puts functions of the template in its place.
pub(crate) fn expand_calls(source: &str, calls: &[Call], is_rare: bool) -> Result<String, String> {
    // Both files need the template, which stands in one of them.
    let template = include_str!("../runtime-scripts/invocation.bash");
    let (_, template) = template
        .split_once(TEMPLATE)
        .ok_or("the template is gone")?;
    let (template, _) = template.split_once("\n}\n").ok_or("the template is open")?;
    let functions: String = calls
        .iter()
        .filter(|call| call.rare == is_rare)
        .flat_map(|call| {
            [
                call.name.clone(),
                "() {\n".to_owned(),
                body(template, call),
                "\n}\n".to_owned(),
            ]
        })
        .collect();
    let whole = format!("{TEMPLATE}{template}\n}}\n");
    Ok(source
        .replace(&whole, &functions)
        .replace(RARE_CALLS, &functions))
}

/// The body of one function.
fn body(template: &str, call: &Call) -> String {
    let mut assignments = Vec::new();
    for (index, field) in call.fields.iter().enumerate() {
        for variable in field.variables() {
            assignments.push(format!("{variable}=${{__driver_arguments[{index}]}}"));
        }
    }
    let separator = if call.lines { "-t" } else { "-td ''" };
    template
        .replace("-n FIELD_COUNT", &format!("-n{}", call.fields.len() + 1))
        .replace("-td ''", separator)
        .replace("FIELD_ASSIGNMENTS", &assignments.join(" "))
        .replace("EVENT_FIELD", &call.fields.len().to_string())
}
