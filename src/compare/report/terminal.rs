//! The report on a terminal: tables with aligned columns, in colour if that is wanted.

use std::io;

use tabled::builder::Builder;
use tabled::settings::object::{Columns, Rows};
use tabled::settings::peaker::PriorityMax;
use tabled::settings::{Alignment, Modify, Style, Width};
use terminal_size::terminal_size_of;

use super::metrics::direction;
use super::table::{Cell, Document, Subject, Table, Tone};

/// The report, with a line end.
pub(crate) fn render(document: &Document, has_colour: bool) -> String {
    let paint = |code: &str, text: &str| {
        if has_colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let warnings = document.warnings.iter();
    let warnings = warnings.map(|text| format!("{} {text}", paint("33", "warning:")));
    let head: Vec<_> = [paint("1", &document.title), document.headline.clone()]
        .into_iter()
        .chain(warnings)
        .collect();
    let tables = document.tables.iter().map(|table| {
        let title = paint("1", &table.title);
        let (title, definition) = match table.subject {
            // With its definition below each table the report would be twice as long: the documentation has them.
            Subject::Measure(metric, _) => {
                let direction = format!(", {}", direction(metric));
                (title + &paint("2", &direction), None)
            }
            _ => (title, table.definition.as_deref()),
        };
        let notes = definition
            .into_iter()
            .chain(table.notes.iter().map(String::as_str));
        let notes = notes.map(|note| format!("  {}", paint("2", note)));
        let logs = table.logs.iter().flat_map(|log| {
            let lines = log.lines.iter().map(|line| format!("    {line}"));
            [format!("  {}", log.title)].into_iter().chain(lines)
        });
        [title, lines(table, &paint)]
            .into_iter()
            .chain(notes)
            .chain(logs)
            .collect()
    });
    let facts = document.facts.iter();
    let facts: Vec<_> = facts.map(|(name, text)| format!("{name} {text}")).collect();
    let parts = [head].into_iter().chain(tables).chain([facts]);
    let parts: Vec<_> = parts.map(|lines| lines.join("\n") + "\n").collect();
    parts.join("\n")
}

fn lines(table: &Table, paint: &impl Fn(&str, &str) -> String) -> String {
    let cell = |cell: &Cell| match cell.tone {
        Tone::Plain => cell.text.clone(),
        Tone::Better => paint("32", &cell.text),
        Tone::Worse => paint("33", &cell.text),
        Tone::Bad => paint("31", &cell.text),
    };
    let mut builder = Builder::default();
    builder.push_record(table.columns.iter().map(|title| paint("2", title)));
    for row in &table.rows {
        builder.push_record(row.iter().map(cell));
    }
    let mut drawn = builder.build();
    drawn.with(Style::blank());
    for column in 0..table.columns.len() {
        if !table.has_words(column) {
            drawn.with(Modify::new(Columns::one(column)).with(Alignment::right()));
        }
    }
    drawn.with(Modify::new(Rows::first()).with(Alignment::left()));
    // In a file or a pipe, lines can be long.
    if let Some((width, _)) = terminal_size_of(io::stdout()) {
        let width = usize::from(width.0).max(60);
        drawn.with(
            Width::wrap(width)
                .priority(PriorityMax::right())
                .keep_words(true),
        );
    }
    let text = drawn.to_string();
    let lines: Vec<_> = text
        .lines()
        .map(|line| format!(" {}", line.trim_end()))
        .collect();
    lines.join("\n")
}
