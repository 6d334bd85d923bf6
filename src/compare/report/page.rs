//! The report as a page: one file that holds all of the others, and loads nothing.
//!
//! It can be read without its script, which only offers the files that the page holds. A browser refuses to load
//! anything for it: the page's own policy permits its style and its script, by their digests, and nothing else.

use base64::prelude::{BASE64_STANDARD, Engine};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::picture::paint::dark_style;
use super::table::{Cell, Document, Subject, Table, Tone};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Where the documentation is, if the package names its repository.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// What a page holds beside tables.
#[derive(Debug)]
pub(crate) struct PageParts<'a> {
    /// Pictures, each for a wide screen and for a phone.
    pub pictures: [[Markup; 2]; 2],
    /// Files to take out of it: name, media type and text.
    pub files: &'a [(&'a str, &'a str, &'a str)],
}

pub(crate) fn render(document: &Document, parts: &PageParts) -> String {
    let style = format!("{STYLE}{}", dark_style());
    let digest = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        digest(&style),
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
                // Without one, a browser requests it from the server.
                link rel="icon" href="data:,";
                title { (document.title) }
                style { (PreEscaped(&style)) }
            }
            body {
                h1 { (document.title) }
                p.headline { (document.headline) }
                p.note { (document.origin) " " a href="#how-to-read" { "How to read this report" } }
                @for warning in &document.warnings { p.warning { "Warning: " (warning) } }
                @for table in first { (section(table)) }
                @for [wide, phone] in &parts.pictures { .wide { (wide) } .phone { (phone) } }
                @for table in others { (section(table)) }
                (how_to_read())
                dl { @for (name, text) in &document.facts { dt { (name) } dd { (text) } } }
                footer #files { "Every sample:" noscript { " in results.json and samples.csv, beside this page." } }
                @for (name, media_type, text) in parts.files {
                    script type="application/json" data-file=(name) data-type=(media_type) { (PreEscaped(harmless(text))) }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string() + "\n"
}

fn how_to_read() -> Markup {
    let terms = [
        (
            "cold, warm",
            "A cold start is measured with a process of its own. Warm invocations follow each other in one process, in which the runtimes take turns: a round is a turn of each.",
        ),
        (
            "p50, p90, p99",
            "p50 is the median: half of the measurements are at most this. Nine in ten are at most p90, and 99 in a hundred at most p99.",
        ),
        (
            "95 % interval",
            "In brackets: where the figure would lie in 95 of 100 comparisons like this one, on this machine. Fewer than six rounds have none.",
        ),
        (
            "3×, 0.5×",
            "Three times better than the baseline, and half as good: the ratio of the medians. It stands there only if the interval excludes 1.",
        ),
        (
            "no difference",
            "The interval includes 1, and excludes a difference of a quarter either way.",
        ),
        (
            "too few to tell",
            "The samples cannot tell: there are fewer than six rounds, or the interval is wide. More rounds narrow it.",
        ),
        (
            "went wrong",
            "Every answer was checked. Wrong answers, errors, deaths and hangs are counted, and are not among the samples.",
        ),
    ];
    html! {
        h2 #how-to-read { "How to read this report" }
        dl.terms { @for (term, text) in terms { dt { (term) } dd { (text) } } }
        p.note {
            "coshell's documentation has all of it: "
            (page_of_docs("compare.md")) " (the command and its report) and "
            (page_of_docs("compare-method.md")) " (what is measured, and how sure it is)."
        }
    }
}

/// A link, if there is an address.
fn page_of_docs(name: &str) -> Markup {
    let path = format!("docs/{name}");
    html! {
        @if REPOSITORY.is_empty() { code { (path) } }
        @else { a href={ (REPOSITORY) "/blob/main/" (path) } { (path) } }
    }
}

/// A JSON string that ends no script: HTML sees no mark-up in it, whatever it holds.
fn harmless(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('<', "\\u003c")
}

fn section(table: &Table) -> Markup {
    html! {
        h2 { (table.title) }
        @if let Some(definition) = &table.definition { p.note { (definition) } }
        .scroll { table class=[(table.subject == Subject::Medians).then_some("medians")] {
            thead { tr { @for (column, title) in table.columns.iter().enumerate() {
                th scope="col" class=[class(table, column, None)] { (title) }
            } } }
            tbody { @for row in &table.rows { tr {
                @for ((column, cell), title) in row.iter().enumerate().zip(&table.columns) {
                    // A phone shows a row as a list, with these labels.
                    td class=[class(table, column, Some(cell))] data-label=(title) { (cell.text) }
                }
            } } }
        } }
        @for note in &table.notes { p.note { (note) } }
        @for log in &table.logs {
            p.note { (log.title) }
            pre { (log.lines.join("\n")) }
        }
    }
}

fn class(table: &Table, column: usize, cell: Option<&Cell>) -> Option<String> {
    let tone = match cell.map(|cell| cell.tone) {
        None | Some(Tone::Plain) => "",
        Some(Tone::Better) => "better",
        Some(Tone::Worse) => "worse",
        Some(Tone::Bad) => "bad",
    };
    let words = if table.has_words(column) { "words" } else { "" };
    let is_ratio = table.columns[column].starts_with("times ");
    let ratio = if is_ratio { "ratio" } else { "" };
    let is_empty =
        cell.is_some_and(|cell| cell.text.is_empty() || cell.text == super::words::NOTHING);
    let empty = if is_empty { "empty" } else { "" };
    let class: Vec<_> = [words, tone, ratio, empty]
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect();
    (!class.is_empty()).then(|| class.join(" "))
}
