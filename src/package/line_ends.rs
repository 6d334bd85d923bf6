//! Scripts with the line ends of Windows: `coshell check` looks at what the handler is made of, and
//! this at every file, since what is run by its path fails in the same way.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::contents::{Contents, Kind};
use super::error::{Error, Result};
use coshell_handler::bash::quote;
use coshell_handler::has_crlf_line_ends;

/// The first line of a script, as far as Linux reads it, is shorter (`execve(2)`).
const START_BYTES: u64 = 4096;

/// # Errors
/// [`Error::Refused`], with the names of all such files and the command that mends them.
pub(crate) fn check(contents: &Contents) -> Result<()> {
    let mut found = Vec::new();
    for (name, entry) in contents.iter() {
        let source = &entry.source;
        if let Kind::File { .. } = entry.kind {
            let is_it = is_from_windows(name, source);
            let what = || format!("cannot read {}", source.display());
            if is_it.map_err(|cause| Error::io(what())(cause))? {
                found.push(source.to_string_lossy());
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let quoted: Vec<_> = found.iter().map(|path| quote(path)).collect();
    Err(Error::refused(
        format!("cannot package {}", found.join(", ")),
        format!(
            "lines end in CR LF, which bash takes for a part of each command; convert with: sed -i \
             's/\\r$//' {}",
            quoted.join(" ")
        ),
    ))
}

/// Whether it is a script whose first line ends so, or by its name one of a shell's, all of whose
/// lines do.
fn is_from_windows(name: &str, source: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(source)?
        .take(START_BYTES)
        .read_to_end(&mut start)?;
    let first_line = start.split(|byte| *byte == b'\n').next();
    if first_line.is_some_and(|line| line.starts_with(b"#!") && line.ends_with(b"\r")) {
        return Ok(true);
    }
    let kind = Path::new(name).extension();
    let is_script = kind.is_some_and(|kind| kind == "sh" || kind == "bash");
    Ok(is_script && has_crlf_line_ends(&fs::read(source)?))
}
