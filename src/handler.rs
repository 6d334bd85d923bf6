//! What `_HANDLER` names: a function in a file.
//!
//! Checked before bash is started, so that each fault has a name of its own. What only bash
//! can tell (a syntax error, a missing function) is told by `shell/`, in the same words.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::invocation::{Failure, Frame};

/// A function in a file that bash can source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// As it was named, for texts.
    pub name: String,
    /// The file, under the task root.
    pub file: PathBuf,
    /// The function to call.
    pub function: String,
}

impl Handler {
    /// Finds what `name` means: `file.function` or `file.sh.function`, where the file may lie
    /// in a folder; the last dot separates the function.
    ///
    /// # Errors
    /// [`Error::LoadHandler`] when nothing is named, when a half is empty, and when the file is
    /// missing, cannot be read, or has the line ends of Windows.
    pub fn find(name: Option<&OsStr>, task_root: &Path) -> Result<Self> {
        let Some(name) = name else {
            return Err(load_error(
                "Runtime.MissingHandlerName",
                "cannot load handler: neither an argument nor _HANDLER names one".to_owned(),
            ));
        };
        let name = name.to_string_lossy().into_owned();
        let Some((file, function)) = split(&name) else {
            return Err(load_error(
                "Runtime.MalformedHandlerName",
                format!("cannot load handler {name}: expected file.function or file.sh.function"),
            ));
        };
        let path = task_root.join(format!("{}.sh", file.trim_start_matches('/')));
        let handler = Self {
            file: path,
            function: function.to_owned(),
            name: name.clone(),
        };
        handler.check_file()?;
        Ok(handler)
    }

    fn check_file(&self) -> Result<()> {
        let text = fs::read(&self.file).map_err(|error| {
            let error_type = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    "Runtime.ImportModuleError"
                }
                _ => "Runtime.HandlerFileUnreadable",
            };
            self.fault(error_type, &format!("{}: {error}", self.file.display()))
        })?;
        // A here-document may hold a CRLF; a file in which each line ends so came from Windows.
        let lines = memchr::memchr_iter(b'\n', &text);
        let mut ends = lines.map(|at| at > 0 && text[at - 1] == b'\r').peekable();
        if ends.peek().is_some() && ends.all(|is_crlf| is_crlf) {
            return Err(self.fault(
                "Runtime.HandlerFileLineEnds",
                &format!(
                    "{}: its lines end in CR LF, which bash takes for a part of each command; \
                     convert it with: sed -i 's/\\r$//' {}",
                    self.file.display(),
                    self.file.display()
                ),
            ));
        }
        Ok(())
    }

    /// An init error about this handler: `cannot load handler <name>: <cause>`.
    #[must_use]
    pub fn fault(&self, error_type: &'static str, cause: &str) -> Error {
        load_error(
            error_type,
            format!("cannot load handler {}: {cause}", self.name),
        )
    }

    /// As [`Handler::fault`], with where bash was.
    #[must_use]
    pub fn fault_at(&self, error_type: &'static str, cause: &str, stack: Vec<Frame>) -> Error {
        let message = format!("cannot load handler {}: {cause}", self.name);
        Error::LoadHandler(Failure {
            error_type,
            message,
            stack,
        })
    }
}

fn load_error(error_type: &'static str, message: String) -> Error {
    Error::LoadHandler(Failure {
        error_type,
        message,
        stack: Vec::new(),
    })
}

/// The file, without `.sh`, and the function; `None` if either is empty.
fn split(name: &str) -> Option<(&str, &str)> {
    let (file, function) = name.rsplit_once('.')?;
    let file = file.strip_suffix(".sh").unwrap_or(file);
    let stem = file.rsplit('/').next()?;
    (!stem.is_empty() && !function.is_empty() && !function.contains('/'))
        .then_some((file, function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handler_name_splits_at_its_last_dot() {
        assert_eq!(split("hello.greet"), Some(("hello", "greet")));
        assert_eq!(split("function.sh.handler"), Some(("function", "handler")));
        assert_eq!(split("lib/hello.greet"), Some(("lib/hello", "greet")));
        assert_eq!(split("a.b.greet"), Some(("a.b", "greet")));
    }

    #[test]
    fn half_a_handler_name_is_malformed() {
        for name in [
            "hello",
            "hello.",
            ".greet",
            ".sh.greet",
            "lib/.greet",
            "",
            ".",
            "a.b/c",
        ] {
            assert_eq!(split(name), None, "{name}");
        }
    }
}
