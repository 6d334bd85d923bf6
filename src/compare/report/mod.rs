//! What a comparison found, told: a table on the terminal; Markdown, a page, JSON, CSV and pictures in
//! a folder.
//!
//! ```text
//! Results -> table (every cell as text) -> terminal, Markdown, page
//!         -> picture (a scene)          -> SVG, page
//!         -> JSON, CSV                  -> page
//! ```

pub mod json;
pub mod markdown;
pub mod page;
pub(crate) mod picture;
pub mod samples;
pub mod table;
pub mod terminal;
pub mod words;

use std::fmt::Display;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Error;
use super::results::Results;
use picture::{chart::chart, svg::svg};

/// The report for a terminal.
pub fn terminal(results: &Results, has_colour: bool) -> String {
    terminal::render(&table::document(results), has_colour)
}

/// Writes all files of the report to `folder`, which is made if it is not there. Each is whole at any
/// time, the one of before or the new one: this can be called as often as there is something new.
///
/// # Errors
/// When one of them cannot be made or written.
pub fn write(results: &Results, folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(failed("make folder", folder))?;
    let save = |name: &str, bytes: &[u8]| save(&folder.join(name), bytes);
    // What the others are made from comes first.
    let json = json::json(results).map_err(failed("write", &folder.join("results.json")))?;
    save("results.json", &json)?;
    let csv = samples::csv(results).map_err(failed("write", &folder.join("samples.csv")))?;
    save("samples.csv", &csv)?;
    let document = table::document(results);
    let scenes =
        [("cold", true), ("warm", false)].map(|(name, is_cold)| (name, chart(results, is_cold)));
    let pictures = scenes
        .each_ref()
        .map(|(name, scene)| (scene.title.as_str(), format!("{name}.svg")));
    let pictures = pictures
        .each_ref()
        .map(|(title, file)| (*title, file.as_str()));
    save(
        "report.md",
        markdown::render(&document, &pictures).as_bytes(),
    )?;
    let [cold, warm] = scenes.each_ref().map(|(_, scene)| svg(scene));
    for ((name, _), drawn) in scenes.iter().zip([&cold, &warm]) {
        save(&format!("{name}.svg"), format!("{}\n", drawn.0).as_bytes())?;
    }
    let (json, csv) = (
        String::from_utf8_lossy(&json),
        String::from_utf8_lossy(&csv),
    );
    let files = [
        ("results.json", "application/json", &*json),
        ("samples.csv", "text/csv", &*csv),
    ];
    let held = page::Held {
        cold,
        warm,
        files: &files,
    };
    save("report.html", page::render(&document, &held).as_bytes())
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
