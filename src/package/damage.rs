//! What an editor did to scripts: line ends of Windows, a byte order mark, UTF-16.
//!
//! `coshell check` looks at what the handler is made of, and this at every script, since one that is run by its path fails in the
//! same way. Files are named as they lie here, so that the command that mends them can be copied.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::contents::{Contents, Kind};
use super::error::{Error, Result};
use coshell_handler::bash::shell_word;
use coshell_handler::encoding::BadEncoding;
use coshell_handler::has_crlf_line_ends;

/// The first line of a script, as far as Linux reads it, is shorter (`execve(2)`).
const START_BYTES: u64 = 4096;

/// What is wrong with a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    LineEnds,
    Encoding(BadEncoding),
}

/// # Errors
/// [`Error::Refused`], with the names of all scripts of one fault and the command that mends them.
pub(crate) fn check(contents: &Contents) -> Result<()> {
    let mut found: Vec<(Fault, &Path)> = Vec::new();
    for (name, entry) in contents.iter() {
        let source = &entry.source;
        if let Kind::File { .. } = entry.kind {
            let what = || format!("cannot read {}", source.display());
            let fault = fault_of(name, source).map_err(|cause| Error::io(what())(cause))?;
            found.extend(fault.map(|fault| (fault, source.as_path())));
        }
    }
    let Some((first, _)) = found.first() else {
        return Ok(());
    };
    let alike = found.iter().filter(|(fault, _)| fault == first);
    let files: Vec<_> = alike.map(|(_, file)| *file).collect();
    let names: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
    let cause = match first {
        Fault::LineEnds => {
            let quoted: Vec<_> = names.iter().map(|name| shell_word(name)).collect();
            format!(
                "lines end in CR LF, and bash reads the CR as part of each command; convert with: sed -i 's/\\r$//' {}",
                quoted.join(" ")
            )
        }
        Fault::Encoding(encoding) => {
            let commands: Vec<_> = files.iter().map(|file| encoding.remedy(file)).collect();
            format!(
                "{}; convert with: {}",
                encoding.cause(),
                commands.join("; ")
            )
        }
    };
    let what = format!("cannot package {}", names.join(", "));
    Err(Error::refused(what, cause))
}

/// A script is a file whose first line names an interpreter, or by its name one of a shell's. Of the former the first line counts, of
/// the latter every line.
fn fault_of(name: &str, source: &Path) -> io::Result<Option<Fault>> {
    let mut start = Vec::new();
    File::open(source)?
        .take(START_BYTES)
        .read_to_end(&mut start)?;
    let kind = Path::new(name).extension();
    let is_named = kind.is_some_and(|kind| kind == "sh" || kind == "bash");
    if let Some(encoding) = BadEncoding::detect(&start) {
        let is_script = is_named || names_interpreter(&start);
        return Ok(is_script.then_some(Fault::Encoding(encoding)));
    }
    let first_line = start.split(|byte| *byte == b'\n').next();
    let is_from_windows = first_line
        .is_some_and(|line| line.starts_with(b"#!") && line.ends_with(b"\r"))
        || is_named && has_crlf_line_ends(&fs::read(source)?);
    Ok(is_from_windows.then_some(Fault::LineEnds))
}

/// Whether a file begins with `#!`, in whatever encoding.
fn names_interpreter(start: &[u8]) -> bool {
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
    let stripped = marks.iter().find_map(|mark| start.strip_prefix(*mark));
    let text = stripped.unwrap_or(start).iter().filter(|byte| **byte != 0);
    text.take(2).eq(b"#!")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_line_of_a_script_is_found_in_every_encoding() {
        for start in [
            &b"#!/bin/sh"[..],
            b"\xef\xbb\xbf#!/bin/sh",
            b"\xff\xfe#\0!\0/\0",
            b"\xfe\xff\0#\0!\0/",
            b"#\0!\0/\0",
        ] {
            assert!(names_interpreter(start), "{start:?}");
        }
        for start in [&b""[..], b"\xff\xfea\0,\0", b"\xef\xbb\xbfname,size"] {
            assert!(!names_interpreter(start), "{start:?}");
        }
    }
}
