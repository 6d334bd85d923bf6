//! The output format `text`: a line for each structure, its values sorted by key and parted by tabs.

use super::json::float_text;
use crate::aws::cli::value::Value;

/// Writes a result.
pub(crate) fn write(text: &mut String, value: &Value) {
    write_value(text, value, None, None);
}

fn write_value(text: &mut String, value: &Value, name: Option<&str>, columns: Option<&[&str]>) {
    match value {
        Value::Map(entries) => write_map(text, value, entries, name, columns),
        Value::List(elements) => write_list(text, elements, name),
        scalar => write_line(text, [scalar_text(scalar)]),
    }
}

fn write_line(text: &mut String, columns: impl IntoIterator<Item = String>) {
    let columns: Vec<_> = columns.into_iter().collect();
    text.push_str(&columns.join("\t"));
    text.push('\n');
}

fn write_list(text: &mut String, elements: &[Value], name: Option<&str>) {
    if elements.is_empty() {
        return;
    }
    if elements
        .iter()
        .any(|element| matches!(element, Value::Map(_)))
    {
        // All structures of a list have the same columns.
        let entries = elements.iter().flat_map(Value::entries);
        let scalars = entries.filter(|(_, value)| !value.is_container());
        let mut columns: Vec<_> = scalars.map(|(key, _)| key.as_str()).collect();
        columns.sort_unstable();
        columns.dedup();
        for element in elements {
            write_value(text, element, name, Some(&columns));
        }
        return;
    }
    let (containers, scalars): (Vec<_>, Vec<_>) =
        elements.iter().partition(|element| element.is_container());
    if let (Some(name), false) = (name, scalars.is_empty()) {
        for scalar in scalars {
            write_line(text, [name.to_uppercase(), scalar_text(scalar)]);
        }
    } else if !scalars.is_empty() {
        write_line(text, scalars.into_iter().map(scalar_text));
    }
    for container in containers {
        write_value(text, container, name, None);
    }
}

fn write_map(
    text: &mut String,
    map: &Value,
    entries: &[(String, Value)],
    name: Option<&str>,
    columns: Option<&[&str]>,
) {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by(|(left, _), (right, _)| left.cmp(right));
    let scalars: Vec<String> = if let Some(columns) = columns {
        sorted.retain(|(key, _)| !columns.contains(&key.as_str()));
        let column = |key: &&str| map.get(key).map(any_text).unwrap_or_default();
        columns.iter().map(column).collect()
    } else {
        let (containers, scalars): (Vec<_>, Vec<_>) = sorted
            .into_iter()
            .partition(|(_, value)| value.is_container());
        sorted = containers;
        scalars
            .into_iter()
            .map(|(_, value)| scalar_text(value))
            .collect()
    };
    if !scalars.is_empty() {
        write_line(text, name.map(str::to_uppercase).into_iter().chain(scalars));
    }
    for (key, value) in sorted {
        write_value(text, value, Some(key), None);
    }
}

/// A value in a column: one element of a list may have a structure where another has a text.
fn any_text(value: &Value) -> String {
    match value {
        Value::List(_) | Value::Map(_) => super::json::compact(value),
        scalar => scalar_text(scalar),
    }
}

/// A value as Python's `str` writes it.
pub(crate) fn scalar_text(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Integer(integer) => integer.to_string(),
        Value::Float(float) => float_text(*float, ["nan", "inf", "-inf"]),
        Value::Text(text) => text.clone(),
        other => super::json::compact(other).trim_matches('"').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(json: &str) -> String {
        let mut text = String::new();
        write(
            &mut text,
            &Value::from_json(json.as_bytes()).unwrap_or_default(),
        );
        text
    }

    #[test]
    fn structures_are_lines_with_the_name_of_their_key() {
        assert_eq!(
            text_of(r#"{"b": "2", "a": 1, "d": [{"z": null}, {"y": true}], "c": ["x", "y"]}"#),
            "1\t2\nC\tx\nC\ty\nD\t\tNone\nD\tTrue\t\n"
        );
    }

    #[test]
    fn scalars_and_lists_of_them_stand_alone() {
        assert_eq!(text_of(r#""a""#), "a\n");
        assert_eq!(text_of(r#"["a", 1.0, null]"#), "a\t1.0\tNone\n");
        assert_eq!(text_of("[]"), "");
        assert_eq!(text_of(r#"[["a", "b"], ["c"]]"#), "a\tb\nc\n");
    }
}
