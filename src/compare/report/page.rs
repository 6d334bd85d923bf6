//! The report as a page: one file that holds all of the others, and asks nothing of a network.
//!
//! It is read without its script; that offers the files which the page holds. A browser that is told
//! to load anything refuses: the page's own policy has its style and its script, by their digests,
//! and nothing else.

use base64::prelude::{BASE64_STANDARD, Engine};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::table::{Cell, Document, Subject, Table, Tone};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What a page holds beside tables.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    /// The picture of cold starts.
    pub cold: Markup,
    /// The picture of warm invocations.
    pub warm: Markup,
    /// Files to take out of it: name, media type and text.
    pub files: &'a [(&'a str, &'a str, &'a str)],
}

/// The whole of it.
pub(crate) fn render(document: &Document, held: &Held) -> String {
    let digest = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    );
    let is_first = |table: &&Table| matches!(table.subject, Subject::Medians | Subject::Problems);
    let first = document.tables.iter().filter(is_first);
    let others = document.tables.iter().filter(|one| !is_first(one));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Else a browser asks the server for one.
                link rel="icon" href="data:,";
                title { (document.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (document.title) }
                @for warning in &document.warnings { p.warning { "Warning: " (warning) } }
                @for table in first { (section(table)) }
                .wide { (held.cold) }
                .wide { (held.warm) }
                @for table in others { (section(table)) }
                dl { @for (name, text) in &document.facts { dt { (name) } dd { (text) } } }
                footer #files { "Every sample:" noscript { " in results.json and samples.csv, beside this page." } }
                @for (name, media_type, text) in held.files {
                    script type="application/json" data-file=(name) data-type=(media_type) { (PreEscaped(harmless(text))) }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string() + "\n"
}

/// A JSON string that ends no script: whatever it holds, HTML sees no mark-up in it.
fn harmless(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('<', "\\u003c")
}

fn section(table: &Table) -> Markup {
    let class = |column, cell: Option<&Cell>| {
        let tone = match cell.map(|cell| cell.tone) {
            None | Some(Tone::Plain) => "",
            Some(Tone::Better) => "better",
            Some(Tone::Worse) => "worse",
            Some(Tone::Bad) => "bad",
        };
        let words = if table.is_of_words(column) {
            "words"
        } else {
            ""
        };
        let class = [words, tone].join(" ").trim().to_owned();
        (!class.is_empty()).then_some(class)
    };
    html! {
        h2 { (table.title) }
        .wide { table {
            thead { tr { @for (column, title) in table.columns.iter().enumerate() {
                th scope="col" class=[class(column, None)] { (title) }
            } } }
            tbody { @for row in &table.rows {
                tr { @for (column, cell) in row.iter().enumerate() { td class=[class(column, Some(cell))] { (cell.text) } } }
            } }
        } }
        @for note in &table.notes { p.note { (note) } }
    }
}
