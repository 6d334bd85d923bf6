//! The report as Markdown, for a README or an issue: GitHub's tables, and the pictures beside it.

use super::table::{Document, Table};

/// The whole report. `pictures` are titles and file names of the pictures beside it.
pub(crate) fn render(document: &Document, pictures: &[(&str, &str)]) -> String {
    let mut parts = vec![
        format!("## {}\n", escape(&document.title)),
        format!("{}\n", escape(&document.headline)),
    ];
    let warnings = document.warnings.iter();
    let warnings: Vec<_> = warnings
        .map(|text| format!("> Warning: {}\n", escape(text)))
        .collect();
    if !warnings.is_empty() {
        parts.push(warnings.join(">\n"));
    }
    let pictures = pictures.iter();
    parts.extend(pictures.map(|(title, file)| format!("![{}]({})\n", escape(title), file)));
    for table in &document.tables {
        parts.push(format!("**{}**\n", escape(&table.title)));
        let definition = table.definition.iter();
        parts.extend(definition.map(|text| format!("{}\n", escape(text))));
        parts.push(lines(table));
        parts.extend(table.notes.iter().map(|note| format!("{}\n", escape(note))));
        for log in &table.logs {
            parts.push(format!("{}\n", escape(&log.title)));
            // Indented, and so a block of code, whatever is in it.
            let lines = log.lines.iter().map(|line| format!("    {line}\n"));
            parts.push(lines.collect());
        }
    }
    let facts = document.facts.iter();
    let facts: Vec<_> = facts
        .map(|(name, text)| format!("{name} {}", escape(text)))
        .collect();
    parts.push(facts.join("; ") + "\n");
    parts.join("\n")
}

fn lines(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let titles = table.columns.iter().map(|title| escape(title)).collect();
    let rule = |column| {
        if table.has_words(column) {
            "---"
        } else {
            "--:"
        }
    };
    let rule = |column| rule(column).to_owned();
    let rules = (0..table.columns.len()).map(rule).collect();
    let rows = table.rows.iter();
    let rows = rows.map(|row| row.iter().map(|cell| escape(&cell.text)).collect());
    [titles, rules].into_iter().chain(rows).map(line).collect()
}

/// `text` without markup, and without the end of a cell. It has no line ends.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => escaped.extend(['\\', letter]),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        let text = escape("a|b <script> [x](y) `c` *d* \\ & e");
        assert_eq!(text, r"a\|b &lt;script&gt; \[x\](y) \`c\` \*d\* \\ &amp; e");
    }
}
