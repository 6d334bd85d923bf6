//! Reports of a comparison: tables on the terminal; Markdown, a page, JSON, CSV and pictures in a folder.
//!
//! ```text
//! Results -> document (tables of text) -> terminal, Markdown, page
//!         -> picture (a scene)         -> SVG, page
//!         -> JSON, CSV                 -> page
//! ```

pub(crate) mod document;
pub(crate) mod headline;
pub mod json;
pub mod markdown;
pub(crate) mod measure_table;
pub(crate) mod metrics;
pub mod page;
pub(crate) mod picture;
pub mod samples;
pub mod table;
pub mod terminal;
pub(crate) mod verdicts;
pub mod words;

use std::fmt::Display;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Error;
use super::results::Results;
use picture::chart::chart;
use picture::layout::Screen;
use picture::svg::svg;

/// The report for a terminal.
pub fn terminal(results: &Results, has_colour: bool) -> String {
    terminal::render(&document::document(results), has_colour)
}

/// Writes all files of the report to `folder`, which is made if it is missing. It can be called again and again: at any time
/// each file is a whole one, the former or the new.
///
/// # Errors
/// If a file cannot be made or written.
pub fn write(results: &Results, folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(failed("make folder", folder))?;
    let save = |name: &str, bytes: &[u8]| save(&folder.join(name), bytes);
    // The samples come first: the other files can be made from them again.
    let json = json::json(results).map_err(failed("write", &folder.join("results.json")))?;
    save("results.json", &json)?;
    let csv = samples::csv(results).map_err(failed("write", &folder.join("samples.csv")))?;
    save("samples.csv", &csv)?;
    let document = document::document(results);
    let halves = [("cold", true), ("warm", false)];
    let scenes = halves.map(|(_, is_cold)| {
        [Screen::Wide, Screen::Phone].map(|screen| chart(results, is_cold, screen))
    });
    let names = halves.map(|(name, _)| format!("{name}.svg"));
    let pictures: Vec<_> = scenes
        .iter()
        .zip(&names)
        .map(|([wide, _], name)| (wide.title.as_str(), name.as_str()))
        .collect();
    save(
        "report.md",
        markdown::render(&document, &pictures).as_bytes(),
    )?;
    let pictures = scenes.each_ref().map(|screens| screens.each_ref().map(svg));
    for ([wide, _], name) in pictures.iter().zip(&names) {
        save(name, format!("{}\n", wide.0).as_bytes())?;
    }
    let (json, csv) = (
        String::from_utf8_lossy(&json),
        String::from_utf8_lossy(&csv),
    );
    let files = [
        ("results.json", "application/json", &*json),
        ("samples.csv", "text/csv", &*csv),
    ];
    let parts = page::PageParts {
        pictures,
        files: &files,
    };
    save("report.html", page::render(&document, &parts).as_bytes())
}

fn save(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .prefix(".coshell-")
        // As any other file: the umask takes from it.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(failed("write", file))?;
    temporary.write_all(bytes).map_err(failed("write", file))?;
    temporary
        .persist(file)
        .map_err(|error| failed("write", file)(error.error))?;
    Ok(())
}

fn failed<Cause: Display>(what: &str, file: &Path) -> impl FnOnce(Cause) -> Error {
    let what = format!("cannot {what} {}", file.display());
    move |cause| Error::new(what, cause)
}

#[cfg(test)]
mod tests;
