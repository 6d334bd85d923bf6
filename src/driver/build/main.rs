//! Makes the driver that ships, and the constants of Rust, from `protocol.toml` and the files of `runtime-scripts`.
//!
//! ```text
//! protocol.toml ----------+--> text with values in place of names such as EVENT_FD ("long")
//! runtime-scripts/*.bash -+        |
//!                                  +--> the same without comments, with short names ("shipped")
//!                         +--> constants: numbers, words, and each name of the driver as it ships
//! ```
//!
//! bash parses the driver at every start and copies the body of a function at every call, so what ships has short names.

mod names;
mod older;
mod rust;
mod table;
mod text;

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

use names::Names;
use table::Table;

/// The files of `runtime-scripts`, and what Rust calls their texts. Those that a shell reads first come first.
const FILES: [&str; 13] = [
    "driver",
    "hide_builtin",
    "invocation",
    "restore",
    "keep",
    "rare",
    "lambda",
    "calls",
    "command",
    "subshell",
    "script",
    "functions",
    "older",
];

/// Those for which bash 4.2 and 4.3 have another text, made with the help of `older.bash`.
const HAVE_OLDER: [&str; 8] = [
    "driver",
    "invocation",
    "keep",
    "rare",
    "lambda",
    "calls",
    "command",
    "subshell",
];

/// A file of `runtime-scripts`, for people and as it ships.
struct Script {
    name: &'static str,
    long: String,
    shipped: String,
    /// As it ships for bash 4.2 and 4.3.
    shipped_older: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let scripts = Path::new("runtime-scripts");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=protocol.toml");
    println!("cargo::rerun-if-changed={}", scripts.display());
    let table: Table = toml::from_str(&fs::read_to_string("protocol.toml")?)?;
    let values = table.values()?;
    let mut texts = Vec::new();
    for name in FILES {
        let path = scripts.join(format!("{name}.bash"));
        let source =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let source = text::expand_calls(&source, &table.call, name == "rare")
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let long = text::insert_values(&source, &values)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        texts.push((name, long));
    }
    // The template of the calls stands in one file, and two files get functions of it.
    let names = Names::shorten(texts.iter().map(|(_, text)| text.as_str()));
    let ship = |long: &str| {
        text::replace_words(&text::without_comments(long), |word| names.short(word))
            // A word less in a body that bash copies for every call.
            .replace(" -u 6", " -u6")
    };
    let older = texts.iter().find(|(name, _)| *name == "older");
    let older = older.map_or_else(String::new, |(_, text)| text.clone());
    let files: Vec<_> = texts
        .into_iter()
        .map(|(name, long)| Script {
            name,
            shipped: ship(&long),
            shipped_older: HAVE_OLDER
                .contains(&name)
                .then(|| ship(&older::for_older(&long, &older))),
            long,
        })
        .collect();
    let out = env::var("OUT_DIR")?;
    fs::write(
        Path::new(&out).join("driver.rs"),
        rust::constants(&table, &names, &files),
    )?;
    Ok(())
}
